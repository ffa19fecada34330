//! Groups on the machine: who is in them, what their quotas do to tasks, and when.

mod common;

use common::{MS, Recorder, S, US, config, forever, go, kernel, on, repeat, run, sleep, syscall};
use slicewise_machine::{
    GroupSpec, GroupSummary, Machine, MachineConfig, Op, RunSummary, SetupError, TimerMode,
    TimerSpec, Workload,
};
use slicewise_sched::bandwidth::{BandwidthStats, Limit};
use slicewise_sched::{Attr, Nice, Shares};
use slicewise_trace::Event;

const KERNELS: [&str; 5] = ["6.1", "6.6", "6.12", "6.18", "7.2"];

fn limit(quota_ns: u64, period_ns: u64) -> Limit {
    Limit { quota_ns: Some(quota_ns), period_ns, burst_ns: 0 }
}

/// A group in the root whose periods begin at 0.
fn group(workload: &mut Workload, name: &str, limit: Limit) -> u32 {
    let group = workload.add_group(None, name);
    let spec = &mut workload.groups[group as usize];
    (spec.limit, spec.phase_ns) = (limit, Some(0));
    group
}

/// Tasks with these programs, all in one group with this limit.
fn limited(programs: Vec<Vec<Op>>, limit: Limit) -> Workload {
    let mut workload = common::workload(programs);
    let group = group(&mut workload, "g", limit);
    workload.tasks.iter_mut().for_each(|task| task.group = Some(group));
    workload
}

/// The slot of the task of this number: groups have slots too.
fn slot(got: &Recorder, task: u32) -> u32 {
    let name = format!("t{task}");
    got.tasks.iter().find(|(_, info)| info.name == name).expect("it started").1.slot.0
}

/// CPU time of the task of this number.
fn used(got: &Recorder, task: u32) -> u64 {
    got.cpu_time(slot(got, task))
}

/// When groups stopped and went on: time, group, CPU.
fn stops(got: &Recorder) -> Vec<(u64, u32, u32, bool)> {
    let stop = |(at, event): &(u64, Event)| match event {
        Event::Throttle { group, cpu, stops } => Some((*at, *group, cpu.0, *stops)),
        _ => None,
    };
    got.events.iter().filter_map(stop).collect()
}

#[test]
fn wx28_a_hog_of_20_in_100_ms_runs_for_24_ms_and_then_20() {
    let workload = limited(vec![vec![Op::RunForever]], limit(20 * MS, 100 * MS));
    for name in KERNELS {
        let (summary, got) = go(&kernel(config(1, 300 * MS), name), &workload);
        let expected = [24, 100, 120, 200, 220, 300].map(|ms| ms * MS);
        let times: Vec<u64> = stops(&got).iter().map(|stop| stop.0).collect();
        assert_eq!(times, expected, "{name}");
        assert_eq!(used(&got, 0), 64 * MS, "{name}");
        let bandwidth = BandwidthStats {
            nr_periods: 3,
            nr_throttled: 3,
            throttled_ns: 236 * MS,
            ..BandwidthStats::default()
        };
        let group =
            GroupSummary { bandwidth, limit: limit(20 * MS, 100 * MS), ..GroupSummary::default() };
        assert_eq!(summary.groups, [group], "{name}");
    }
}

#[test]
fn a_group_that_waits_for_quota_is_not_stuck() {
    // Everyone waits, and nothing but the group's timer will ever happen.
    let workload = limited(vec![vec![run(50 * MS)]], limit(5 * MS, 50 * MS));
    for name in KERNELS {
        let (summary, got) = go(&kernel(config(1, 10 * S), name), &workload);
        assert_eq!(summary.exited, 1, "{name}");
        assert_eq!(used(&got, 0), 50 * MS, "{name}");
        assert!((400 * MS..550 * MS).contains(&summary.end_ns), "{name}: {}", summary.end_ns);
    }
}

#[test]
fn a_wakeup_in_a_stopped_group_runs_when_the_group_goes_on() {
    let sleeper = forever(vec![sleep(50 * MS), run(MS)]);
    let workload = limited(vec![vec![Op::RunForever], sleeper], limit(20 * MS, 100 * MS));
    for name in KERNELS {
        let (_, got) = go(&kernel(config(1, 150 * MS), name), &workload);
        let sleeper = slot(&got, 1);
        let woken = got.wakeups(sleeper)[0].0;
        assert!((50 * MS..60 * MS).contains(&woken), "{name}: {woken}");
        // The first pick after its wakeup that it could do anything with.
        let ran: Vec<u64> = got
            .gets(sleeper)
            .into_iter()
            .zip(got.leaves(sleeper))
            .filter(|(came, (left, _))| left > came && *came >= woken)
            .map(|(came, _)| came)
            .collect();
        assert!(ran[0] >= 100 * MS, "{name}: {ran:?}");
        let stopped: Vec<u64> = stops(&got).iter().map(|stop| stop.0).collect();
        assert_eq!(stopped[..2], [24 * MS, 100 * MS], "{name}");
    }
}

#[test]
fn inside_a_system_call_a_task_of_newer_kernels_runs_on_into_debt() {
    // 44 ms in the kernel: 6.12 takes the task off at the first tick without quota, 6.18 when it
    // returns to user mode.
    let workload = limited(vec![vec![syscall(44 * MS), run(MS)]], limit(20 * MS, 100 * MS));
    let left = |name: &str| {
        let (summary, got) = go(&kernel(config(1, S), name), &workload);
        (got.leaves(0)[0].0, got.gets(0)[1], summary.groups[0])
    };
    let (left_at, back_at, _) = left("6.12");
    assert_eq!((left_at, back_at), (24 * MS, 100 * MS));
    let (left_at, back_at, group) = left("6.18");
    // It owes 24 ms then: the first refill does not pay all of them, the second does.
    assert_eq!(left_at, 44 * MS);
    assert_eq!(back_at, 200 * MS);
    assert_eq!(group.bandwidth.nr_throttled, 2);
    assert_eq!(group.system_ns, 44 * MS);
}

#[test]
fn groups_share_by_weight_whatever_is_in_them() {
    // Case 14: two equal groups, three tasks against one.
    let mut workload = common::workload(vec![vec![Op::RunForever]; 4]);
    let (many, one) = (workload.add_group(None, "many"), workload.add_group(None, "one"));
    for (index, task) in workload.tasks.iter_mut().enumerate() {
        task.group = Some(if index < 3 { many } else { one });
    }
    for name in KERNELS {
        let (_, got) = go(&kernel(config(1, 10 * S), name), &workload);
        let times: Vec<u64> = (0..4).map(|task| used(&got, task)).collect();
        assert!(times[3].abs_diff(5 * S) <= 20 * MS, "{name}: {times:?}");
        for time in &times[..3] {
            assert!(time.abs_diff(10 * S / 6) <= 20 * MS, "{name}: {times:?}");
        }
        // Cases 11 and 12: weights decide, not what the tasks of one are.
        let mut weighted = workload.clone();
        weighted.groups[0].shares = Shares::from_weight(300).expect("a weight");
        weighted.tasks[3].attr.nice = Nice::new(-20).expect("a nice value");
        let (_, got) = go(&kernel(config(1, 10 * S), name), &weighted);
        assert!(used(&got, 3).abs_diff(10 * S / 4) <= 30 * MS, "{name}: {}", used(&got, 3));
    }
}

#[test]
fn an_idle_group_gets_next_to_nothing() {
    let mut workload = common::workload(vec![vec![Op::RunForever]; 2]);
    let idle = workload.add_group(None, "idle");
    workload.groups[idle as usize].idle = true;
    workload.tasks[1].group = Some(idle);
    for name in KERNELS {
        let (_, got) = go(&kernel(config(1, 10 * S), name), &workload);
        assert!(used(&got, 1) < 100 * MS, "{name}: {}", used(&got, 1));
    }
}

#[test]
fn forks_start_in_the_group_of_their_parent_or_in_their_own() {
    let mut workload = common::workload(vec![
        vec![run(MS), Op::Fork(1), Op::Fork(2), run(MS)],
        vec![run(MS)],
        vec![run(MS)],
        vec![run(MS)],
    ]);
    let outer = workload.add_group(None, "outer");
    let inner = workload.add_group(Some(outer), "inner");
    workload.tasks[0].group = Some(outer);
    (workload.tasks[1].template, workload.tasks[2].template) = (true, true);
    workload.tasks[2].group = Some(inner);
    let (_, got) = go(&config(1, S), &workload);
    let groups: Vec<(&str, Option<u32>)> =
        got.tasks.iter().map(|(_, info)| (info.name.as_str(), info.group)).collect();
    let expected = [("t0", Some(outer)), ("t3", None), ("t1", Some(outer)), ("t2", Some(inner))];
    assert_eq!(groups, expected);
    let paths: Vec<&str> = got.groups.iter().map(|info| info.path.as_str()).collect();
    assert_eq!(paths, ["outer", "outer/inner"]);
    assert_eq!(got.groups[1].parent, Some(outer));
}

#[test]
fn case_48_the_limit_of_a_parent_holds_below_and_stops_are_its_own() {
    let mut workload = common::workload(vec![vec![Op::RunForever]]);
    let parent = group(&mut workload, "p", limit(MS, 100 * MS));
    let child = workload.add_group(Some(parent), "c");
    workload.tasks[0].group = Some(child);
    for name in KERNELS {
        let config = MachineConfig { hz: 1000, ..kernel(config(1, S), name) };
        let (summary, got) = go(&config, &workload);
        assert!((10 * MS..=11 * MS).contains(&used(&got, 0)), "{name}: {}", used(&got, 0));
        let [parent, child] = [0, 1].map(|at: usize| summary.groups[at].bandwidth);
        assert!(parent.nr_throttled >= 9, "{name}: {parent:?}");
        assert_eq!(child, BandwidthStats::default(), "{name}");
        assert!(stops(&got).iter().all(|stop| stop.1 == 0), "{name}");
    }
}

#[test]
fn periods_begin_at_0_on_6_1_and_where_the_seed_says_later() {
    let mut workload = limited(vec![vec![Op::RunForever]; 2], limit(20 * MS, 100 * MS));
    let other = group(&mut workload, "h", limit(20 * MS, 100 * MS));
    workload.tasks[1].group = Some(other);
    workload.tasks[1].affinity = on(1);
    workload.groups.iter_mut().for_each(|group| group.phase_ns = None);
    // When each group goes on, in its period.
    let phases = |name: &str, seed| {
        let config = MachineConfig { seed, ..kernel(config(2, S), name) };
        let (_, got) = go(&config, &workload);
        let phase = |group| {
            let on: Vec<u64> = stops(&got)
                .iter()
                .filter(|stop| stop.1 == group && !stop.3)
                .map(|stop| stop.0 % (100 * MS))
                .collect();
            assert!(on.len() > 5 && on.iter().all(|at| *at == on[0]), "{name}: {on:?}");
            on[0]
        };
        (phase(0), phase(1))
    };
    assert_eq!(phases("6.1", 1), (0, 0));
    for name in &KERNELS[1..] {
        let first = phases(name, 1);
        assert_ne!(first.0, first.1, "{name}");
        assert_ne!(first, phases(name, 2), "{name}");
        assert_eq!(first, phases("6.12", 1), "the seed alone decides");
    }
}

#[test]
fn where_time_goes_is_counted_by_group_and_adds_up_towards_the_root() {
    let body = || repeat(Some(10), vec![run(3 * MS), syscall(2 * MS)]);
    let mut workload = common::workload(vec![body(), body()]);
    let outer = workload.add_group(None, "outer");
    let inner = workload.add_group(Some(outer), "inner");
    workload.tasks[0].group = Some(outer);
    workload.tasks[1].group = Some(inner);
    workload.tasks[1].attr = Attr { nice: Nice::new(1).expect("nice"), ..Attr::default() };
    let (summary, _) = go(&config(2, S), &workload);
    let times = summary.groups.iter().map(|group| (group.system_ns, group.nice_ns));
    assert_eq!(times.collect::<Vec<_>>(), [(40 * MS, 30 * MS), (20 * MS, 30 * MS)]);
}

#[test]
fn what_the_machine_costs_is_system_time_of_who_pays() {
    let mut config = config(1, S);
    config.costs.context_switch_ns = 5 * US;
    let mut workload = common::workload(vec![vec![run(MS), sleep(MS), run(MS)]]);
    let group = workload.add_group(None, "g");
    workload.tasks[0].group = Some(group);
    let (summary, _) = go(&config, &workload);
    assert_eq!(summary.groups[0].system_ns, 10 * US);
}

#[test]
fn groups_that_cannot_be_are_refused() {
    let refused = |change: fn(&mut Workload)| {
        let mut workload = limited(vec![vec![run(MS)]], limit(20 * MS, 100 * MS));
        change(&mut workload);
        match Machine::new(&config(4, S), &workload, ()) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    };
    let message = refused(|workload| workload.groups[0].parent = Some(0));
    assert!(message.contains("`g`") && message.contains("comes later"), "{message}");
    let message = refused(|workload| workload.groups[0].limit.quota_ns = Some(1));
    assert!(message.contains("`g`") && message.contains("must be 1000 or more"), "{message}");
    let message = refused(|workload| workload.tasks[0].group = Some(1));
    assert!(message.contains("`t0`") && message.contains("group does not exist"), "{message}");
    let many = |workload: &mut Workload| {
        workload.groups = vec![GroupSpec::default(); 1 << 19];
    };
    assert_eq!(refused(many), SetupError::TooMany("groups for so many CPUs").to_string());
}

/// What a run of these programs in one group did.
fn run_limited(config: &MachineConfig, programs: Vec<Vec<Op>>, limit: Limit) -> (RunSummary, u64) {
    let tasks = programs.len() as u32;
    let mut workload = limited(programs, limit);
    workload.timers.push(TimerSpec { name: "t".to_owned(), shared: false });
    let (summary, got) = go(config, &workload);
    (summary, (0..tasks).map(|task| used(&got, task)).sum())
}

#[test]
fn case_50_a_hog_overruns_by_a_tick_and_the_average_holds() {
    // 1 of 100 ms at 250 Hz: one tick of 4 ms, then about four periods without anything.
    for name in KERNELS {
        let config = kernel(config(1, 10 * S), name);
        let workload = limited(vec![vec![Op::RunForever]], limit(MS, 100 * MS));
        let (_, got) = go(&config, &workload);
        let ran = used(&got, 0);
        assert!((100 * MS..=104 * MS).contains(&ran), "{name}: {ran}");
        let waits: Vec<u64> =
            got.leaves(0).iter().zip(&got.gets(0)[1..]).map(|(left, came)| came - left.0).collect();
        let longest = waits.iter().max().copied().unwrap_or(0);
        assert!((290 * MS..=400 * MS).contains(&longest), "{name}: {waits:?}");
    }
}

#[test]
fn case_51_hogs_on_k_cpus_stall_for_the_period_less_their_part_of_the_quota() {
    for (quota_ms, cpus, stall_ms) in [
        (400, 4, 0.0),
        (400, 8, 50.0),
        (400, 16, 75.0),
        (200, 8, 75.0),
        (200, 16, 87.5),
        (50, 1, 50.0),
    ] {
        for name in ["6.1", "6.12", "7.2"] {
            let config = MachineConfig { hz: 1000, ..kernel(config(cpus, 2 * S), name) };
            let hogs: Vec<Vec<Op>> = vec![vec![Op::RunForever]; cpus as usize];
            let mut workload = limited(hogs, limit(quota_ms * MS, 100 * MS));
            for (cpu, task) in (0..).zip(&mut workload.tasks) {
                task.affinity = on(cpu);
            }
            let (_, got) = go(&config, &workload);
            // The mean over tasks: slices of 5 ms make one stop earlier and another later.
            let busy: u64 = (0..cpus).map(|task| used(&got, task)).sum();
            let stalled_ms = 100.0 - busy as f64 / f64::from(cpus) / (20 * MS) as f64;
            assert!((stalled_ms - stall_ms).abs() <= 1.0, "{name} {quota_ms}/{cpus}: {stalled_ms}");
        }
    }
}

#[test]
fn case_62_the_examples_of_the_kernels_page_on_bandwidth() {
    // Quota and period in ms, and how many CPUs that is; with a burst in the long run no more.
    let cases = [(250, 250, 0, 1.0), (1000, 500, 0, 2.0), (10, 50, 0, 0.2), (20, 50, 10, 0.4)];
    for (quota_ms, period_ms, burst_ms, worth) in cases {
        for name in KERNELS {
            let config = MachineConfig { hz: 1000, ..kernel(config(4, 10 * S), name) };
            let limit = Limit { burst_ns: burst_ms * MS, ..limit(quota_ms * MS, period_ms * MS) };
            let (_, used_ns) = run_limited(&config, vec![vec![Op::RunForever]; 4], limit);
            // The quota of the period it begins in comes on top, and of each CPU a tick.
            let most_ns = (10.0 * S as f64 * worth) as u64 + quota_ms * MS + 4 * MS;
            let least_ns = (10.0 * S as f64 * worth) as u64 - quota_ms * MS;
            assert!((least_ns..=most_ns).contains(&used_ns), "{name} {quota_ms}: {used_ns}");
        }
    }
}

#[test]
fn case_62_burst_lets_unused_quota_be_used_later_and_no_more() {
    // 20 ms in 50 ms with a burst of 10 ms: a task that needs 10 ms in one period and 30 in the
    // next gets both with the burst, and has to wait without.
    let wait = || Op::Timer { timer: 0, period_ns: 50 * MS, mode: TimerMode::Absolute };
    let body = || forever(vec![run(10 * MS), wait(), run(30 * MS), wait()]);
    for name in KERNELS {
        let config = MachineConfig { hz: 1000, ..kernel(config(1, S), name) };
        let (without, _) = run_limited(&config, vec![body()], limit(20 * MS, 50 * MS));
        let with = Limit { burst_ns: 10 * MS, ..limit(20 * MS, 50 * MS) };
        let (with, used) = run_limited(&config, vec![body()], with);
        let [without, with] = [without, with].map(|summary| summary.groups[0].bandwidth);
        assert!(without.nr_throttled >= 9 && without.nr_bursts == 0, "{name}: {without:?}");
        assert!(with.nr_throttled <= 2, "{name}: {with:?}");
        assert!(with.nr_bursts >= 8 && with.burst_ns >= 70 * MS, "{name}: {with:?}");
        assert!(used <= 10 * MS + 20 * 20 * MS, "the law: quota and burst");
    }
}

#[test]
fn case_64_periods_count_only_while_the_group_is_active() {
    // 1 ms each second: the timer runs on for two periods and stops.
    let body = forever(vec![run(MS), sleep(999 * MS)]);
    for name in KERNELS {
        let (summary, used) = run_limited(
            &kernel(config(1, 10 * S), name),
            vec![body.clone()],
            limit(20 * MS, 100 * MS),
        );
        let stats = summary.groups[0].bandwidth;
        assert!((10..=30).contains(&stats.nr_periods), "{name}: {stats:?}");
        assert_eq!((stats.nr_throttled, used), (0, 10 * MS), "{name}");
    }
}

#[test]
fn case_66_a_burn_below_the_limit_is_never_held_up() {
    // bobrik's cfs.go: 5 ms every second, far below 20 of 100 ms.
    let body = forever(vec![run(5 * MS), sleep(995 * MS)]);
    for name in KERNELS {
        let workload = limited(vec![body.clone()], limit(20 * MS, 100 * MS));
        let config = MachineConfig { hz: 1000, ..kernel(config(1, 20 * S), name) };
        let (_, got) = go(&config, &workload);
        let responses: Vec<u64> = got.responses(0).iter().map(|response| response.1).collect();
        assert_eq!(responses.len(), 20, "{name}");
        assert!(responses.iter().all(|response| *response == 5 * MS), "{name}: {responses:?}");
    }
}
