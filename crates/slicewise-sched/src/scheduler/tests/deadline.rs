//! Deadline tasks, the fair server, real-time throttling and lent priorities, as a host sees them.

use proptest::prelude::*;

use super::*;
use crate::deadline::Refusal;
use crate::{DlParams, Feature};

const TICK: u64 = 4 * MS;

/// Everything due up to `until_ns`, with ticks of 250 Hz at multiples of 4 ms; ticks come first.
pub(super) fn play(host: &mut Host, until_ns: u64) {
    loop {
        let tick_ns = (host.now_ns / TICK + 1) * TICK;
        let timer_ns = host.timers.values().copied().min().unwrap_or(u64::MAX);
        let slice_ns = host.hrtick.iter().flatten().copied().min().unwrap_or(u64::MAX);
        let next_ns = tick_ns.min(timer_ns).min(slice_ns);
        if next_ns > until_ns {
            host.now_ns = until_ns;
            return;
        }
        if slice_ns == next_ns {
            host.now_ns = next_ns;
            for cpu in 0..host.sched.nr_cpus() {
                if host.hrtick[cpu as usize] == Some(next_ns) {
                    host.hrtick[cpu as usize] = None;
                    host.sched.timer_fired(next_ns, CpuId(cpu), Timer::HrTick).unwrap();
                    host.settle();
                }
            }
        }
        if tick_ns == next_ns {
            // The budgets' timers of this moment come after the tick.
            host.now_ns = next_ns;
            for cpu in 0..host.sched.nr_cpus() {
                host.sched.tick(next_ns, CpuId(cpu)).unwrap();
                host.settle();
            }
            host.run_to(next_ns);
        } else if slice_ns != next_ns {
            host.run_to(next_ns);
        }
    }
}

pub(super) fn dl(runtime: u64, deadline: u64, period: u64) -> Policy {
    Policy::Deadline(DlParams {
        runtime_ns: runtime * MS,
        deadline_ns: deadline * MS,
        period_ns: period * MS,
        ..DlParams::default()
    })
}

/// When a task had CPU 0, ms.
pub(super) fn stretches(host: &Host, task: TaskId) -> Vec<(f64, f64)> {
    let mut found = Vec::new();
    let mut since = None;
    let end = (host.now_ns, 0, None);
    for (at_ns, _, next) in host.switches.iter().chain([&end]) {
        let at = *at_ns as f64 / MS as f64;
        match (since, *next == Some(task)) {
            (None, true) => since = Some(at),
            (Some(from), false) => {
                found.push((from, at));
                since = None;
            }
            _ => {}
        }
    }
    found
}

fn exact(kernel: &str) -> Profile {
    let mut profile = Profile::named(kernel).unwrap();
    profile.features.set("HRTICK_DL").unwrap();
    profile
}

#[test]
fn w8_the_tick_notices_the_end_of_the_budget_and_debt_is_paid() {
    let mut host = Host::new("6.12", 1, 250);
    let hog = host.spawn(dl(10, 100, 100), 0);
    play(&mut host, 400 * MS);
    let expected = [(0.0, 12.0), (100.0, 108.0), (200.0, 212.0), (300.0, 308.0), (400.0, 400.0)];
    assert_eq!(stretches(&host, hog), expected);
}

#[test]
fn w8_with_a_timer_the_budget_ends_to_the_ns() {
    let mut host = Host::with(exact("7.2"), 1, 250);
    let hog = host.spawn(dl(10, 100, 100), 0);
    play(&mut host, 399 * MS);
    let expected = [(0.0, 10.0), (100.0, 110.0), (200.0, 210.0), (300.0, 310.0)];
    assert_eq!(stretches(&host, hog), expected);
}

#[test]
fn a_debt_of_more_than_a_budget_skips_periods_and_moves_the_deadline() {
    // Seen on 6.1 and 6.12 with Q 3, D 7, P 20: one of five or so periods is skipped.
    let mut host = Host::new("6.12", 1, 250);
    let hog = host.spawn(dl(3, 7, 20), 0);
    play(&mut host, 219 * MS);
    let starts: Vec<f64> = stretches(&host, hog).iter().map(|(from, _)| *from).collect();
    assert_eq!(starts, [0.0, 20.0, 40.0, 60.0, 100.0, 120.0, 140.0, 180.0, 200.0]);
}

#[test]
fn w9_who_wakes_early_goes_on_with_the_rest_and_who_wakes_late_starts_anew() {
    for (wakes_at, budget, deadline) in
        [(40 * MS, 5.0, 100.0), (50 * MS + MS / 2, 10.0, 150.5), (120 * MS, 10.0, 220.0)]
    {
        let mut host = Host::with(exact("7.2"), 1, 250);
        let task = host.spawn(dl(10, 100, 100), 0);
        play(&mut host, 5 * MS);
        host.block(0);
        play(&mut host, wakes_at);
        host.wake(task);
        let view = host.sched.deadline_values(task).unwrap();
        assert_eq!(view.deadline_ns as f64 / 1e6, deadline);
        play(&mut host, wakes_at + 30 * MS);
        let ran = stretches(&host, task)[1];
        assert_eq!(ran.1 - ran.0, budget, "woken at {wakes_at} ns");
    }
}

#[test]
fn w10_and_w11_a_constrained_task_never_runs_denser_than_it_asked_for() {
    let mut host = Host::with(exact("7.2"), 1, 250);
    let task = host.spawn(dl(10, 50, 100), 0);
    play(&mut host, 2 * MS);
    host.block(0);
    play(&mut host, 30 * MS);
    host.wake(task);
    play(&mut host, 99 * MS);
    let (from, to) = stretches(&host, task)[1];
    assert_eq!((from, ((to - from) * 1e6).round()), (30.0, 3_999_996.0));

    let mut host = Host::with(exact("7.2"), 1, 250);
    let task = host.spawn(dl(10, 50, 100), 0);
    play(&mut host, 2 * MS);
    host.block(0);
    play(&mut host, 60 * MS);
    host.wake(task);
    play(&mut host, 150 * MS);
    assert_eq!(stretches(&host, task)[1], (100.0, 110.0));
}

#[test]
fn w14_a_yield_gives_the_rest_of_the_budget_away() {
    let mut host = Host::new("6.12", 1, 250);
    let task = host.spawn(dl(10, 100, 100), 0);
    for period in 0..4 {
        play(&mut host, period * 100 * MS);
        assert!(host.runs(task));
        host.yield_now(0);
        assert!(!host.runs(task));
    }
    let starts: Vec<f64> = stretches(&host, task).iter().map(|(from, _)| *from).collect();
    assert_eq!(starts, [0.0, 100.0, 200.0, 300.0]);
}

#[test]
fn w15_the_earliest_deadline_runs_and_a_newcomer_with_an_earlier_one_preempts() {
    let mut profile = exact("7.2");
    // C comes on top of what could be admitted.
    profile.rt.runtime_us = None;
    let mut host = Host::with(profile, 1, 250);
    let b = host.spawn(dl(3, 8, 8), 0);
    let a = host.spawn(dl(2, 10, 10), 0);
    play(&mut host, 9 * MS);
    let c = host.spawn(dl(1, 4, 4), 0);
    play(&mut host, 10 * MS);
    host.sched.exit(host.now_ns, c).unwrap();
    host.schedule(CpuId(0));
    host.settle();
    play(&mut host, 15 * MS);
    assert_eq!(stretches(&host, b), [(0.0, 3.0), (8.0, 9.0), (10.0, 12.0)]);
    assert_eq!(stretches(&host, a), [(3.0, 5.0), (12.0, 14.0)]);
    assert_eq!(stretches(&host, c), [(9.0, 10.0)]);
}

#[test]
fn w12_bandwidth_of_a_sleeper_is_active_until_its_zero_lag() {
    let mut host = Host::with(exact("7.2"), 1, 250);
    let task = host.spawn(dl(10, 100, 100), 0);
    let running_bw = |host: &Host| host.sched.cpus[0].dl.running_bw;
    play(&mut host, 5 * MS);
    host.block(0);
    play(&mut host, 50 * MS - 1);
    assert_eq!(running_bw(&host), 104_857);
    play(&mut host, 50 * MS);
    assert_eq!(running_bw(&host), 0);
    host.wake(task);
    assert_eq!(running_bw(&host), 104_857);
    assert_eq!(host.sched.cpus[0].dl.this_bw, 104_857 + 52_428);
}

#[test]
fn bandwidth_is_free_again_at_the_zero_lag_of_who_leaves() {
    let mut host = Host::new("6.12", 1, 250);
    let task = host.spawn(dl(60, 100, 100), 0);
    play(&mut host, 30 * MS);
    let other = host.spawn(Policy::Normal, 0);
    let set = |host: &mut Host, task, policy| {
        let done = host.sched.set_attr(host.now_ns, task, Attr { policy, ..Attr::default() });
        host.settle();
        done
    };
    set(&mut host, task, Policy::Normal).unwrap();
    let busy = Err(Error::Deadline(Refusal::Busy));
    assert_eq!(set(&mut host, other, dl(60, 100, 100)), busy);
    // Zero lag at 100 - 30 / 0.6 ms.
    play(&mut host, 50 * MS - 1);
    assert_eq!(set(&mut host, other, dl(60, 100, 100)), busy);
    play(&mut host, 50 * MS);
    assert_eq!(set(&mut host, other, dl(60, 100, 100)), Ok(()));
    host.sched.exit(host.now_ns, task).unwrap();
    host.schedule(CpuId(0));
    host.settle();
    assert!(host.runs(other));
}

#[test]
fn w7_affinity_and_forks_of_deadline_tasks() {
    let mut host = Host::new("6.18", 2, 250);
    let spawn = |affinity, policy| Spawn {
        attr: Attr { policy, ..Attr::default() },
        affinity,
        ..Spawn::default()
    };
    let one = CpuSet::one(CpuId(0));
    let refused = host.sched.spawn(0, spawn(one.clone(), dl(1, 10, 10)));
    assert_eq!(refused, Err(Error::Deadline(Refusal::Affinity)));
    let pinned = host.spawn_with(spawn(one.clone(), Policy::Normal));
    let attr = Attr { policy: dl(1, 10, 10), ..Attr::default() };
    assert_eq!(host.sched.set_attr(0, pinned, attr), Err(Error::Deadline(Refusal::Affinity)));
    let task = host.spawn_with(spawn(CpuSet::All, dl(1, 10, 10)));
    assert_eq!(host.sched.set_affinity(0, task, one), Err(Error::Deadline(Refusal::Shrunk)));
    let child = Spawn { parent: Some(task), ..spawn(CpuSet::All, Policy::Normal) };
    assert_eq!(host.sched.spawn(0, child.clone()), Err(Error::Deadline(Refusal::Fork)));
    let resets = Attr { reset_on_fork: true, ..attr };
    host.sched.set_attr(0, task, resets).unwrap();
    let child = host.sched.spawn(0, Spawn { attr, ..child }).unwrap();
    assert_eq!(host.sched.attr(child), Some(Attr::default()));
}

#[test]
fn overruns_are_told_to_who_wants_to_know() {
    let mut host = Host::new("6.12", 1, 250);
    let params = DlParams { overrun_signal: true, ..DlParams::implicit(10 * MS, 100 * MS) };
    host.spawn(Policy::Deadline(params), 0);
    play(&mut host, 1_050 * MS);
    assert_eq!(host.overruns, 11);
}

/// A FIFO hog and a fair one on a CPU.
fn starving(kernel: &str) -> (Host, TaskId, TaskId) {
    let mut host = Host::new(kernel, 1, 250);
    let fair = host.spawn(Policy::Normal, 0);
    let hog = host.spawn(fifo(50), 0);
    (host, fair, hog)
}

#[test]
fn w17_starving_fair_tasks_get_a_twentieth_from_6_12_on() {
    for kernel in ["6.12", "6.18", "7.2"] {
        let (mut host, fair, _) = starving(kernel);
        play(&mut host, 3_100 * MS);
        // Found by ticks: 950 and its like are no multiples of 4 ms.
        let expected = [(950.0, 1000.0), (1950.0, 2000.0), (2950.0, 3000.0)];
        assert_eq!(stretches(&host, fair)[1..], expected, "{kernel}");
    }
}

#[test]
fn the_next_help_comes_950_ms_after_the_tick_that_ended_the_last() {
    let mut host = Host::new("6.12", 1, 250);
    play(&mut host, MS);
    let fair = host.spawn(Policy::Normal, 0);
    host.spawn(fifo(50), 0);
    play(&mut host, 3_100 * MS);
    // From 951 on; the tick at 1004 finds it, 3 ms late.
    let expected = [(951.0, 1004.0), (1954.0, 2004.0), (2954.0, 3004.0)];
    assert_eq!(stretches(&host, fair)[1..], expected);
}

#[test]
fn w18_what_fair_tasks_got_anyway_puts_the_help_off() {
    let mut host = Host::new("6.12", 1, 250);
    let fair = host.spawn(Policy::Normal, 0);
    play(&mut host, 30 * MS);
    host.spawn(fifo(50), 0);
    play(&mut host, 2_100 * MS);
    let ran = stretches(&host, fair);
    assert_eq!(ran[0], (0.0, 30.0));
    assert_eq!(ran[1].0, 980.0);
    // The tick at 1032 ends it; 950 ms later it is helped again.
    assert_eq!((ran[1].1, ran[2].0), (1032.0, 1982.0));
}

#[test]
fn w19_a_fair_server_never_acts_where_fair_tasks_run_anyway() {
    let mut host = Host::new("6.12", 1, 250);
    host.spawn(Policy::Normal, 0);
    host.spawn(Policy::Normal, 0);
    for ms in 0..3000 {
        play(&mut host, ms * MS);
        let (_, _, in_line) = host.sched.fair_server(CpuId(0)).unwrap();
        assert!(!in_line, "at {ms} ms");
    }
}

#[test]
fn a_fair_task_that_sleeps_is_served_as_it_wakes_once_it_was_starving() {
    // Seen on 6.12: five times 10 ms at once, then nothing until the deadline.
    let mut host = Host::new("6.12", 1, 250);
    play(&mut host, MS);
    let fair = host.spawn(Policy::Normal, 0);
    host.spawn(fifo(50), 0);
    play(&mut host, 951 * MS);
    let mut begins = Vec::new();
    for job in 0..8_u64 {
        let at_ns = (951 + job * 110) * MS;
        play(&mut host, at_ns);
        if job > 0 {
            host.wake(fair);
        }
        play(&mut host, at_ns + MS / 2);
        if !host.runs(fair) {
            break;
        }
        begins.push(at_ns / MS);
        play(&mut host, at_ns + 10 * MS);
        host.block(0);
    }
    assert_eq!(begins, [951, 1061, 1171, 1281, 1391]);
    play(&mut host, 1_960 * MS);
    assert_eq!(stretches(&host, fair).last().unwrap().0, 1951.0);
}

#[test]
fn case_93_without_a_fair_server_or_throttling_fair_tasks_starve() {
    for (kernel, share) in [("6.1", 0.05), ("6.12", 0.05), ("7.2", 0.05)] {
        let (mut host, fair, _) = starving(kernel);
        play(&mut host, 5_000 * MS);
        let ran: f64 = stretches(&host, fair).iter().map(|(from, to)| to - from).sum();
        assert!((ran / 5_000.0 - share).abs() < 0.011, "{kernel}: {ran} ms");

        let mut profile = Profile::named(kernel).unwrap();
        (profile.rt.runtime_us, profile.rt.fair_server) = (None, None);
        let mut host = Host::with(profile, 1, 250);
        let fair = host.spawn(Policy::Normal, 0);
        host.spawn(fifo(50), 0);
        play(&mut host, 5_000 * MS);
        let ran: f64 = stretches(&host, fair).iter().map(|(from, to)| to - from).sum();
        assert_eq!(ran, 0.0, "{kernel}");
    }
}

#[test]
fn w23_real_time_throttling_stops_at_the_tick_beyond_950_ms() {
    let (mut host, fair, _) = starving("6.1");
    play(&mut host, 4_000 * MS);
    let expected = [(952.0, 1000.0), (1952.0, 2000.0), (2948.0, 3000.0), (3952.0, 4000.0)];
    assert_eq!(stretches(&host, fair)[1..], expected);
}

#[test]
fn a_throttled_cpu_without_fair_tasks_stands_still() {
    let mut host = Host::new("6.1", 1, 250);
    let hog = host.spawn(fifo(50), 0);
    play(&mut host, 2_100 * MS);
    assert_eq!(stretches(&host, hog), [(0.0, 952.0), (1000.0, 1952.0), (2000.0, 2100.0)]);
}

#[test]
fn deadline_tasks_count_for_throttling_and_run_through_it() {
    let mut host = Host::new("6.1", 1, 250);
    let reserved = host.spawn(dl(8, 40, 40), 0);
    host.spawn(fifo(50), 0);
    let fair = host.spawn(Policy::Normal, 0);
    play(&mut host, 1_000 * MS);
    assert_eq!(stretches(&host, fair)[0].0, 952.0);
    let served: f64 = stretches(&host, reserved).iter().map(|(from, to)| to - from).sum();
    assert_eq!(served, 200.0);
}

#[test]
fn a_lent_priority_beats_what_is_between_and_goes_back_to_the_head() {
    let mut host = Host::new("6.12", 1, 250);
    let owner = host.spawn(fifo(10), 0);
    let peer = host.spawn(fifo(10), 0);
    let waiter = host.spawn(fifo(50), 0);
    host.block(0);
    assert!(host.runs(owner));
    let middle = host.spawn(fifo(20), 0);
    assert!(host.runs(middle));
    host.sched.lend(host.now_ns, owner, Some(waiter)).unwrap();
    host.settle();
    assert!(host.runs(owner));
    assert_eq!(host.sched.effective_prio(owner), Some(49));
    host.sched.lend(host.now_ns, owner, None).unwrap();
    host.settle();
    assert!(host.runs(middle));
    assert_eq!(host.rt_order(), [middle, owner, peer], "before its peer");
}

#[test]
fn a_fair_task_that_is_lent_a_deadline_runs_by_it_and_is_never_stopped() {
    let mut host = Host::with(exact("7.2"), 1, 250);
    let owner = host.spawn(Policy::Normal, 0);
    let donor = host.spawn(dl(5, 10, 10), 0);
    play(&mut host, MS);
    host.block(0);
    host.sched.lend(host.now_ns, owner, Some(donor)).unwrap();
    host.settle();
    assert_eq!(host.sched.effective_prio(owner), Some(-1));
    // Budgets of 5 ms, each with a deadline 10 ms from its begin, one right after the other.
    for budget in 0..6 {
        let view = host.sched.deadline_values(owner).unwrap();
        assert_eq!(view.deadline_ns, (1 + 5 * budget + 10) * MS);
        assert!(host.runs(owner));
        play(&mut host, (6 + 5 * budget) * MS);
    }
    host.sched.lend(host.now_ns, owner, None).unwrap();
    host.settle();
    assert_eq!(host.sched.effective_prio(owner), Some(120));
    assert_eq!(host.sched.attr(owner), Some(Attr::default()));
    assert_eq!(host.sched.cpus[0].dl.running_bw, 52_428, "of the fair server alone");
    assert!(host.sched.tasks.slots[owner.slot()].dl == crate::task::NO_DL);
}

#[test]
fn deadline_tasks_spread_over_cpus_and_the_latest_deadline_makes_way() {
    let mut profile = exact("7.2");
    profile.rt.runtime_us = None;
    let mut host = Host::with(profile, 2, 250);
    let early = host.spawn(dl(9, 10, 10), 0);
    let late = host.spawn(dl(15, 30, 30), 0);
    assert!(host.runs(early) && host.runs(late));
    assert_ne!(host.sched.cpu_of(early), host.sched.cpu_of(late));
    let middle = host.spawn(dl(15, 20, 20), 0);
    assert!(host.runs(early) && host.runs(middle) && !host.runs(late));
    play(&mut host, 9 * MS + MS / 2);
    assert!(host.runs(late), "it is pulled where the first has used up its budget");
}

#[test]
fn w16_dhall_the_long_task_is_late_by_the_short_ones() {
    let mut profile = exact("7.2");
    profile.rt.runtime_us = None;
    let mut host = Host::with(profile, 2, 250);
    let short = [(); 2].map(|()| host.spawn(dl(1, 99, 99), 0));
    let long = host.spawn(dl(100, 100, 100), 0);
    assert!(short.iter().all(|task| host.runs(*task)));
    play(&mut host, MS + MS / 2);
    assert!(host.runs(long), "it starts after them and so ends 1 ms after its deadline");
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    runtime: u64,
    period: u64,
    offset: u64,
}

fn asked() -> impl Strategy<Value = Asked> {
    (1_u64..20, 1_u64..5, 0_u64..30).prop_map(|(runtime, factor, offset)| Asked {
        runtime,
        period: runtime * (factor + 1) + offset % 7,
        offset,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Bandwidth is given back to the last unit, and nobody has more than the domain.
    #[test]
    fn bandwidth_is_conserved_whatever_comes_and_goes(
        tasks in prop::collection::vec(asked(), 1..12),
        leaves in prop::collection::vec(any::<bool>(), 12),
    ) {
        let mut host = Host::new("6.18", 1, 250);
        let before = host.sched.deadlines.domains[0];
        let mut living = Vec::new();
        for (task, leaves) in tasks.iter().zip(leaves) {
            let attr = Attr { policy: dl(task.runtime, task.period, task.period), ..Attr::default() };
            let Ok(id) = host.sched.spawn(host.now_ns, Spawn { attr, ..Spawn::default() }) else {
                continue;
            };
            host.settle();
            let next_ns = host.now_ns + task.offset * MS;
            play(&mut host, next_ns);
            let limit = host.sched.deadlines.domains[0].limit().unwrap();
            prop_assert!(host.sched.deadlines.domains[0].total() <= limit);
            let rq = &host.sched.cpus[0].dl;
            prop_assert!(rq.running_bw <= rq.this_bw);
            living.push(id);
            if leaves {
                host.sched.set_attr(host.now_ns, id, Attr::default()).unwrap();
                host.settle();
            }
        }
        for task in living {
            let cpu = host.sched.cpu_of(task).unwrap();
            let runs = host.runs(task);
            host.sched.exit(host.now_ns, task).unwrap();
            if runs {
                host.schedule(cpu);
            }
            host.settle();
        }
        let end_ns = host.now_ns + 1_000 * MS;
        play(&mut host, end_ns);
        prop_assert_eq!(host.sched.deadlines.domains[0], before);
        let rq = &host.sched.cpus[0].dl;
        prop_assert_eq!((rq.this_bw, rq.running_bw, rq.nr_queued), (52_428, 0, 0));
    }

    /// On one CPU, with budgets that end to the ns, an admitted set with deadlines at the end of
    /// periods is always in time, whatever others try to use.
    #[test]
    fn an_admitted_implicit_set_never_misses_and_a_hog_harms_nobody(
        tasks in prop::collection::vec(asked(), 1..8),
        hogs in prop::collection::vec(any::<bool>(), 8),
    ) {
        let mut host = Host::with(exact("7.2"), 1, 250);
        let mut admitted = Vec::new();
        for (task, hog) in tasks.iter().zip(hogs) {
            let attr = Attr { policy: dl(task.runtime, task.period, task.period), ..Attr::default() };
            if let Ok(id) = host.sched.spawn(0, Spawn { attr, ..Spawn::default() }) {
                admitted.push((id, *task, hog));
                host.settle();
            }
        }
        host.spawn(fifo(99), 0);
        host.spawn(Policy::Normal, 0);
        // Every period, each gets its whole budget by its deadline.
        let horizon = 600_u64;
        for (id, task, hog) in &admitted {
            if !hog {
                continue;
            }
            let mut copy = Host { sched: host.sched.clone(), hrtick: host.hrtick.clone(),
                timers: host.timers.clone(), group_timers: Default::default(),
                stopped: Default::default(), switches: host.switches.clone(), ..Host::with(exact("7.2"), 1, 250) };
            play(&mut copy, horizon * MS);
            for period in 0..horizon / task.period {
                let (from, to) = ((period * task.period) as f64, ((period + 1) * task.period) as f64);
                let got: f64 = stretches(&copy, *id).iter()
                    .map(|(a, b)| (b.min(to) - a.max(from)).max(0.0)).sum();
                prop_assert!((got - task.runtime as f64).abs() < 1e-6,
                    "{:?} in period {}: {} ms", task, period, got);
            }
        }
    }
}

#[test]
fn hrtick_dl_is_a_switch_of_every_kernel() {
    for profile in Profile::ALL {
        assert!(profile.features.knows(Feature::HRTICK_DL), "{}", profile.name);
    }
}

#[test]
fn who_blocks_with_no_budget_left_waits_for_the_next_period_even_if_it_wakes_before() {
    let mut host = Host::new("6.12", 1, 250);
    play(&mut host, MS);
    let task = host.spawn(dl(10, 100, 100), 0);
    host.spawn(Policy::Normal, 0);
    // 9.5 ms up to 10.5 ms, then 1 ms more without a tick in between: the block finds the overrun.
    for (run_us, sleep_us) in [(9_500, 1_500), (1_400, 20_000)] {
        let until_ns = host.now_ns + run_us * 1_000;
        play(&mut host, until_ns);
        host.block(0);
        let until_ns = host.now_ns + sleep_us * 1_000;
        play(&mut host, until_ns);
        host.wake(task);
    }
    assert!(!host.runs(task));
    play(&mut host, 110 * MS);
    assert_eq!(stretches(&host, task).last().unwrap().0, 101.0);
}

#[test]
fn a_cpu_whose_only_task_waits_for_its_next_period_is_idle() {
    let mut host = Host::with(exact("7.2"), 2, 250);
    let task = host.spawn(dl(10, 50, 100), 0);
    let cpu = host.sched.cpu_of(task).unwrap();
    play(&mut host, 2 * MS);
    host.block(cpu.0);
    play(&mut host, 60 * MS);
    host.wake(task);
    assert!(host.sched.is_idle(cpu) && !host.runs(task));
    // A fair task goes there as to any idle CPU.
    let fair = [(); 2].map(|()| host.spawn(Policy::Normal, 0));
    assert!(fair.iter().all(|task| host.runs(*task)));
}

#[test]
fn on_7_2_the_budget_ends_to_the_ns_beside_fair_tasks_too() {
    let mut host = Host::new("7.2", 1, 250);
    let task = host.spawn(dl(3, 20, 20), 0);
    host.spawn(Policy::Normal, 0);
    host.spawn(Policy::Normal, 0);
    play(&mut host, 79 * MS);
    let expected = [(0.0, 3.0), (20.0, 23.0), (40.0, 43.0), (60.0, 63.0)];
    assert_eq!(stretches(&host, task), expected);
}
