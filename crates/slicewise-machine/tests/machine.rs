//! Time, ticks, costs, preemption models.

mod common;

use common::{MS, S, US, config, fifo, forever, go, kernel, on, repeat, run, sleep, syscall};
use slicewise_machine::{Costs, End, Interrupts, Machine, Op, Preemption, Workload};
use slicewise_trace::{Event, Left};

#[test]
fn a_lone_task_runs_its_work_and_exits() {
    let (summary, got) = go(&config(1, S), &common::workload(vec![vec![run(3 * MS)]]));
    assert_eq!((summary.end_ns, &summary.end), (3 * MS, &End::Exited));
    assert_eq!(
        got.switches(),
        [(0, 0, None, Left::Idle, Some(0)), (3 * MS, 0, Some(0), Left::Exited, None)]
    );
    assert_eq!(got.exits(), [(3 * MS, 0)]);
    assert_eq!(got.finished, Some(3 * MS));
    assert_eq!(got.responses(0), [(3 * MS, 3 * MS)]);
    assert_eq!(got.tasks[0].1.pid, 1);
    assert!(matches!(got.events[0], (0, Event::Wakeup { new: true, waker: None, .. })));
    let last = got.events.last().expect("there are events");
    assert!(matches!(last.1, Event::Exit { .. }), "the exit follows the last switch");
}

#[test]
fn without_hrtick_slices_end_at_ticks() {
    // fair.md 0.5: two hogs at 250 Hz take turns every 4 ms.
    let hogs = common::workload(vec![vec![Op::RunForever], vec![Op::RunForever]]);
    let (summary, got) = go(&config(1, 40 * MS), &hogs);
    assert_eq!(summary.end, End::Duration);
    let times: Vec<u64> = got.switches().iter().map(|switch| switch.0).collect();
    assert!(times.iter().all(|at| at % (4 * MS) == 0), "{times:?}");
    assert!(times.len() >= 8, "{times:?}");
    assert_eq!(got.cpu_time(0) + got.cpu_time(1), 40 * MS);
    assert!(got.cpu_time(0).abs_diff(got.cpu_time(1)) <= 4 * MS);
}

#[test]
fn hrtick_ends_slices_between_ticks() {
    let hogs = common::workload(vec![vec![Op::RunForever], vec![Op::RunForever]]);
    let (_, got) = go(&kernel(config(1, 40 * MS), "7.2"), &hogs);
    assert!(got.switches().iter().any(|switch| switch.0 % (4 * MS) != 0));
}

#[test]
fn ticks_lie_on_a_grid_without_drift() {
    // 300 Hz does not divide a second: tick k is at the whole ns below k/300 s.
    let mut config = config(2, S);
    config.hz = 300;
    config.tick_phase_ns = 700_000;
    config.tick_skew_ns = 11_000;
    let mut hogs = common::workload(vec![vec![Op::RunForever]; 4]);
    for (index, task) in hogs.tasks.iter_mut().enumerate() {
        task.affinity = on(index as u32 % 2);
    }
    let (_, got) = go(&config, &hogs);
    let mut seen = 0;
    for (at, cpu, prev, ..) in got.switches() {
        if prev.is_some() {
            let since = at - 700_000 - u64::from(cpu) * 11_000;
            let k = (since * 300).div_ceil(S);
            assert_eq!(since, k * S / 300, "at {at}");
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn the_grid_survives_idleness() {
    // Idle until 101 ms, then two hogs: the next tick is at 104 ms.
    let mut hogs = common::workload(vec![vec![Op::RunForever], vec![Op::RunForever]]);
    for task in &mut hogs.tasks {
        task.start_ns = 101 * MS;
    }
    let (summary, got) = go(&config(1, 200 * MS), &hogs);
    assert_eq!(got.switches()[0].0, 101 * MS);
    assert_eq!(got.switches()[1].0, 104 * MS);
    // No tick while idle: a start, then 25 ticks.
    assert_eq!(summary.events, 26);
}

#[test]
fn a_late_slice_timer_lengthens_the_stint() {
    let hogs = common::workload(vec![vec![Op::RunForever], vec![Op::RunForever]]);
    let first_stint_ns = |slice_timer_ns| {
        let mut config = kernel(config(1, 40 * MS), "7.2");
        config.costs.slice_timer_ns = slice_timer_ns;
        let (_, got) = go(&config, &hogs);
        got.leaves(0)[0].0
    };
    assert_eq!(first_stint_ns(10 * US), first_stint_ns(0) + 10 * US);
}

#[test]
fn the_pick_an_interrupt_asks_for_comes_at_its_end() {
    let hogs = common::workload(vec![vec![Op::RunForever], vec![Op::RunForever]]);
    let first_stint_ns = |kernel_name: &str, interrupts| {
        let mut config = kernel(config(1, 40 * MS), kernel_name);
        config.costs.interrupts = interrupts;
        go(&config, &hogs).1.leaves(0)[0].0
    };
    let of_ticks = Interrupts { tick_ns: 5 * US, ..Interrupts::NONE };
    let of_slices = Interrupts { slice_timer_ns: 4 * US, ..Interrupts::NONE };
    let at_once = |name: &str| first_stint_ns(name, Interrupts::NONE);
    assert_eq!(first_stint_ns("6.12", of_ticks), at_once("6.12") + 5 * US);
    assert_eq!(first_stint_ns("6.12", of_slices), at_once("6.12"), "no HRTICK");
    assert_eq!(first_stint_ns("7.2", of_slices), at_once("7.2") + 4 * US);
    // A sleeper that wakes among hogs has the CPU when the interrupt ends.
    let mut tasks = common::workload(vec![vec![run(9 * MS)], vec![sleep(2 * MS), run(MS)]]);
    tasks.tasks[1].attr = fifo(1);
    let mut config = config(1, S);
    config.costs.interrupts.wakeup_ns = 8 * US;
    let (_, got) = go(&config, &tasks);
    // It begins to sleep when the interrupt that started it ends.
    assert_eq!(got.leaves(0)[0], (2 * MS + 16 * US, Left::Preempted));
    assert_eq!(got.leaves(1).last(), Some(&(3 * MS + 16 * US, Left::Exited)));
}

#[test]
fn interrupts_spread_about_their_length_and_repeat_with_the_seed() {
    let hogs = common::workload(vec![vec![Op::RunForever], vec![Op::RunForever]]);
    let switches_ns = |seed| {
        let mut config = kernel(config(1, 400 * MS), "6.12");
        config.costs.interrupts =
            Interrupts { tick_ns: 5 * US, spread_ns: 400, ..Interrupts::NONE };
        config.seed = seed;
        let switches = go(&config, &hogs).1.switches().to_vec();
        switches.into_iter().map(|switch| switch.0).filter(|at| *at > 0).collect::<Vec<u64>>()
    };
    let got = switches_ns(1);
    let late = |at: &u64| at % (4 * MS);
    assert!(got.iter().all(|at| (4_800..=5_200).contains(&late(at))), "{got:?}");
    assert!(got.iter().any(|at| late(at) != late(&got[0])));
    assert_eq!(switches_ns(1), got);
    assert_ne!(switches_ns(2), got);
}

#[test]
fn who_is_woken_by_a_system_call_waits_for_its_end_where_preemption_is_voluntary() {
    let mut tasks =
        common::workload(vec![vec![run(MS), Op::Resume(1), run(MS)], vec![Op::Suspend, run(MS)]]);
    tasks.tasks[1].attr = fifo(1);
    let left_ns = |preemption| {
        let mut config = config(1, S);
        config.preemption = preemption;
        config.costs.wakeup_return_ns = 7 * US;
        // At first it makes way for the other to go to sleep.
        go(&config, &tasks).1.leaves(0)[1].0
    };
    assert_eq!(left_ns(Preemption::Full), MS);
    assert_eq!(left_ns(Preemption::Voluntary), MS + 7 * US);
}

#[test]
fn a_switch_costs_the_next_task_exactly() {
    let mut config = config(1, S);
    config.costs.context_switch_ns = 5 * US;
    let tasks = common::workload(vec![vec![run(MS), sleep(MS), run(MS)]]);
    let (summary, got) = go(&config, &tasks);
    let c = 5 * US;
    assert_eq!(got.leaves(0), [(MS + c, Left::Blocked), (3 * MS + 2 * c, Left::Exited)]);
    assert_eq!(summary.cpus[0].overhead_ns, 2 * c);
    assert_eq!(summary.cpus[0].busy_ns, 2 * MS + 2 * c);
}

#[test]
fn ticks_and_timer_wakeups_delay_the_running_task() {
    let mut config = config(1, S);
    config.costs = Costs { wakeup_ns: 3 * US, tick_ns: US, ..Costs::NONE };
    // Ticks at 4 and 8 ms; the sleeper wakes at 2 ms, does nothing, and exits.
    let mut tasks = common::workload(vec![vec![run(9 * MS)], vec![sleep(2 * MS)]]);
    tasks.tasks[1].attr = fifo(1);
    let (_, got) = go(&config, &tasks);
    assert_eq!(got.wakeups(1), [(2 * MS, None)]);
    // The interrupt's time passes before the sleeper can exit.
    assert_eq!(got.leaves(1).last(), Some(&(2 * MS + 3 * US, Left::Exited)));
    assert_eq!(got.leaves(0).last(), Some(&(9 * MS + 3 * US + 2 * US, Left::Exited)));
}

#[test]
fn a_waker_pays_before_the_wakeup_takes_effect() {
    let mut config = config(2, S);
    config.costs.wakeup_ns = 10 * US;
    let mut tasks =
        common::workload(vec![vec![run(MS), Op::Resume(1), run(MS)], vec![Op::Suspend, run(MS)]]);
    tasks.tasks[0].affinity = on(0);
    tasks.tasks[1].affinity = on(1);
    let (_, got) = go(&config, &tasks);
    assert_eq!(got.wakeups(1), [(MS + 10 * US, Some(0))]);
    assert_eq!(got.leaves(0), [(2 * MS + 10 * US, Left::Exited)]);
    assert_eq!(got.leaves(1).last(), Some(&(2 * MS + 10 * US, Left::Exited)));
}

#[test]
fn a_preempted_task_keeps_its_remaining_work() {
    let mut config = config(1, S);
    config.costs.context_switch_ns = 7 * US;
    let sleeper = forever(vec![sleep(3 * MS), run(MS)]);
    let mut tasks = common::workload(vec![sleeper, vec![run(50 * MS)]]);
    tasks.tasks[0].attr = fifo(10);
    let (summary, got) = go(&config, &tasks);
    assert_eq!(summary.end, End::Duration);
    let stints = got.gets(1).len() as u64;
    assert!(stints > 10);
    assert_eq!(got.cpu_time(1), 50 * MS + stints * 7 * US);
}

/// W25: a task is inside a system call; another wakes at 1 ms and wants the CPU.
fn system_call(preemption: Preemption, call_ns: u64, real_time: bool) -> u64 {
    let mut config = kernel(config(1, 20 * MS), "6.18");
    config.preemption = preemption;
    let mut tasks = common::workload(vec![
        vec![syscall(call_ns), Op::RunForever],
        vec![sleep(MS), Op::RunForever],
    ]);
    // A shorter slice and a clean sheet make the sleeper preempt when it wakes.
    tasks.tasks[1].attr.slice_ns = Some(100_000);
    if real_time {
        tasks.tasks[1].attr = fifo(1);
    }
    // Already asleep when the call begins; so it has the first slot.
    tasks.tasks[0].start_ns = 1;
    let (_, got) = go(&config, &tasks);
    got.gets(0)[1]
}

#[test]
fn w25_preemption_models_honour_requests_where_they_should() {
    let calls = |preemption| [2 * MS, 9 * MS].map(|call| system_call(preemption, call - 1, false));
    assert_eq!(calls(Preemption::Full), [MS, MS]);
    assert_eq!(calls(Preemption::Lazy), [2 * MS, 4 * MS]);
    assert_eq!(calls(Preemption::None), [2 * MS, 9 * MS]);
    assert_eq!(calls(Preemption::Voluntary), [2 * MS, 9 * MS]);
    let real_time = |preemption| system_call(preemption, 9 * MS - 1, true);
    assert_eq!(real_time(Preemption::Full), MS);
    assert_eq!(real_time(Preemption::Lazy), MS);
    assert_eq!(real_time(Preemption::None), 9 * MS);
}

#[test]
fn user_mode_is_preempted_at_once_whatever_the_model() {
    for preemption in [Preemption::None, Preemption::Voluntary, Preemption::Lazy, Preemption::Full]
    {
        let mut config = config(1, 20 * MS);
        config.preemption = preemption;
        let mut tasks =
            common::workload(vec![vec![Op::RunForever], vec![sleep(1_234_567), run(MS)]]);
        tasks.tasks[1].attr = fifo(1);
        let (_, got) = go(&config, &tasks);
        assert_eq!(got.gets(1).last(), Some(&1_234_567));
    }
}

#[test]
fn time_is_conserved_and_no_work_waits_while_a_cpu_idles() {
    let mut tasks = Workload::default();
    for index in 0..6 {
        let body = vec![run(700 * US + index * 13 * US), sleep(900 * US + index * 7 * US)];
        let more = common::workload(vec![forever(body)]);
        tasks.programs.extend(more.programs);
        tasks.tasks.extend(more.tasks);
        tasks.tasks[index as usize].program = index as u32;
    }
    let (summary, got) = go(&config(2, S), &tasks);
    for cpu in 0..2 {
        assert_eq!(got.busy(cpu), summary.cpus[cpu as usize].busy_ns);
    }
    let by_task: u64 = (0..6).map(|task| got.cpu_time(task)).sum();
    assert_eq!(by_task, summary.cpus.iter().map(|cpu| cpu.busy_ns).sum::<u64>());
    assert_work_conserved(&got, 2);
}

/// Between events, no task waits for a CPU while one idles.
fn assert_work_conserved(got: &common::Recorder, cpus: usize) {
    let mut running = vec![None; cpus];
    let mut runnable = 0_i64;
    let mut last = 0;
    for (at, event) in &got.events {
        let on = running.iter().flatten().count() as i64;
        assert!(*at == last || on == runnable.min(cpus as i64), "from {last} to {at}");
        last = *at;
        match event {
            Event::Wakeup { .. } => runnable += 1,
            Event::Switch { cpu, next, left, .. } => {
                running[cpu.index()] = *next;
                runnable -= i64::from(left.voluntary());
            }
            _ => {}
        }
    }
}

#[test]
fn stepping_gives_the_same_stream_as_running_through() {
    let tasks = common::workload(vec![forever(vec![run(3 * MS), sleep(MS)]), vec![Op::RunForever]]);
    let config = config(1, 100 * MS);
    let (_, through) = go(&config, &tasks);
    let mut machine =
        Machine::new(&config, &tasks, common::Recorder::default()).expect("the workload is sound");
    let mut until = 0;
    while machine.run_until(until).expect("it runs") {
        assert_eq!(machine.now_ns(), until);
        until += 777_777;
    }
    machine.finish();
    assert_eq!(machine.into_sink(), through);
}

#[test]
fn yields_are_involuntary_switches() {
    let mut tasks = common::workload(vec![
        repeat(Some(3), vec![run(MS), Op::Yield]),
        repeat(Some(3), vec![run(MS), Op::Yield]),
    ]);
    for task in &mut tasks.tasks {
        task.attr = fifo(5);
    }
    let (_, got) = go(&config(1, S), &tasks);
    assert_eq!(got.gets(0)[..3], [0, 2 * MS, 4 * MS]);
    let left: Vec<Left> = got.leaves(0).iter().map(|(_, left)| *left).collect();
    assert_eq!(left, [Left::Yielded, Left::Yielded, Left::Yielded, Left::Exited]);
}

#[test]
fn moves_and_changes_are_announced() {
    use slicewise_sched::{Attr, Nice};
    let nice = Nice::new(5).expect("a nice value");
    let attr = Attr { nice, ..Attr::default() };
    let mut tasks = common::workload(vec![vec![
        run(MS),
        Op::SetAffinity(on(1)),
        run(MS),
        Op::SetAttr(attr),
        run(MS),
    ]]);
    tasks.tasks[0].affinity = on(0);
    let (_, got) = go(&config(2, S), &tasks);
    assert_eq!(got.tasks.len(), 2);
    assert_eq!((got.tasks[1].0, got.tasks[1].1.attr), (2 * MS, attr));
    assert!(got.events.iter().any(|(at, event)| {
        matches!(event, Event::Migrate { from, to, .. } if from.0 == 0 && to.0 == 1 && *at == MS)
    }));
    let cpus: Vec<u32> = got.switches().iter().map(|switch| switch.1).collect();
    assert_eq!(cpus, [0, 0, 1, 1]);
    assert_eq!(got.exits(), [(3 * MS, 0)]);
}
