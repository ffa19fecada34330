//! Real-time limits of groups (RT_GROUP_SCHED), as a host sees them.

use proptest::prelude::*;

use super::deadline::{dl, play, stretches};
use super::*;
use crate::{RtLimit, RtLimitError};

fn built(kernel: &str) -> Profile {
    let mut profile = Profile::named(kernel).unwrap();
    profile.rt.rt_group_sched = true;
    profile
}

fn machine(kernel: &str, cpus: u32) -> Host {
    Host::with(built(kernel), cpus, 250)
}

fn ms(runtime: u64, period: u64) -> RtLimit {
    RtLimit { runtime_ns: Some(runtime * MS), period_ns: period * MS }
}

fn group(host: &mut Host, parent: Option<GroupId>, runtime: u64, period: u64) -> GroupId {
    let group = host.sched.create_group(parent).unwrap();
    host.sched.set_rt_limit(Some(group), ms(runtime, period)).unwrap();
    group
}

fn spawn(host: &mut Host, group: Option<GroupId>, policy: Policy) -> TaskId {
    let attr = Attr { policy, ..Attr::default() };
    host.spawn_with(Spawn { attr, group, ..Spawn::default() })
}

fn ran(host: &Host, task: TaskId) -> f64 {
    stretches(host, task).iter().map(|(from, to)| to - from).sum()
}

#[test]
fn w23_with_rt_group_sched_the_root_is_throttled_on_every_kernel_up_to_6_18() {
    for kernel in ["6.1", "6.6", "6.12", "6.18"] {
        let mut profile = built(kernel);
        profile.rt.fair_server = None;
        let mut host = Host::with(profile, 1, 250);
        let fair = host.spawn(Policy::Normal, 0);
        host.spawn(fifo(50), 0);
        play(&mut host, 4_000 * MS);
        let expected = [(952.0, 1000.0), (1952.0, 2000.0), (2948.0, 3000.0), (3952.0, 4000.0)];
        assert_eq!(stretches(&host, fair)[1..], expected, "{kernel}");
    }
}

#[test]
fn on_7_2_the_root_may_have_all_of_a_cpu_and_is_never_throttled() {
    let mut profile = built("7.2");
    profile.rt.fair_server = None;
    let mut host = Host::with(profile, 1, 250);
    let fair = host.spawn(Policy::Normal, 0);
    host.spawn(fifo(50), 0);
    play(&mut host, 3_000 * MS);
    assert_eq!(ran(&host, fair), 0.0);
}

#[test]
fn a_group_runs_its_runtime_of_each_period_and_pays_back_what_the_tick_let_pass() {
    let mut host = machine("6.18", 1);
    let group = group(&mut host, None, 10, 100);
    let hog = spawn(&mut host, Some(group), fifo(10));
    play(&mut host, 400 * MS);
    // 12 used at the tick; 2 left at 100, 10 more make 12 only after 8.
    let expected = [(0.0, 12.0), (100.0, 112.0), (200.0, 208.0), (300.0, 308.0), (400.0, 400.0)];
    assert_eq!(stretches(&host, hog).len(), expected.len());
    let total = ran(&host, hog);
    assert!((40.0..=44.0).contains(&total), "{total}");
}

#[test]
fn periods_begin_with_the_first_real_time_task_of_the_group() {
    let mut host = machine("6.18", 1);
    let group = group(&mut host, None, 10, 100);
    host.run_to(30 * MS);
    let hog = spawn(&mut host, Some(group), fifo(10));
    play(&mut host, 300 * MS);
    let starts: Vec<f64> = stretches(&host, hog).iter().map(|(from, _)| *from).collect();
    assert_eq!(starts, [30.0, 130.0, 230.0]);
}

#[test]
fn each_cpu_has_the_whole_runtime() {
    let mut host = machine("6.18", 2);
    let group = group(&mut host, None, 20, 100);
    for cpu in 0..2u32 {
        let attr = Attr { policy: fifo(10), ..Attr::default() };
        let affinity = CpuSet::Inline(1 << cpu);
        host.spawn_with(Spawn { attr, affinity, group: Some(group), ..Spawn::default() });
    }
    play(&mut host, 96 * MS);
    for cpu in 0..2 {
        let (used_ns, stopped) = host.sched.rt_used(Some(group), CpuId(cpu)).unwrap();
        assert!(stopped && used_ns == 24 * MS, "CPU {cpu}: {used_ns}");
    }
}

#[test]
fn a_stopped_group_makes_way_for_groups_of_lower_priority() {
    let mut host = machine("6.18", 1);
    let [a, b] = [30, 20].map(|runtime| group(&mut host, None, runtime, 100));
    let high = spawn(&mut host, Some(a), fifo(50));
    let low = spawn(&mut host, Some(b), fifo(10));
    let fair = spawn(&mut host, None, Policy::Normal);
    play(&mut host, 100 * MS);
    assert_eq!(stretches(&host, high)[0], (0.0, 32.0));
    assert_eq!(stretches(&host, low), [(32.0, 56.0)]);
    assert_eq!(stretches(&host, fair), [(56.0, 100.0)]);
}

#[test]
fn a_group_in_another_is_charged_to_both_and_stopped_by_either() {
    let mut host = machine("6.18", 1);
    let outer = group(&mut host, None, 40, 100);
    let inner = group(&mut host, Some(outer), 20, 100);
    let [low, high] = [(outer, 10), (inner, 50)]
        .map(|(group, priority)| spawn(&mut host, Some(group), fifo(priority)));
    play(&mut host, 99 * MS);
    assert_eq!(stretches(&host, high), [(0.0, 24.0)], "its own limit, at the tick");
    assert_eq!(stretches(&host, low)[1..], [(24.0, 44.0)], "what the outer has left");
    let inner_left = host.sched.rt_used(Some(inner), CpuId(0)).unwrap();
    assert_eq!(inner_left, (24 * MS, true));
    assert_eq!(host.sched.rt_used(Some(outer), CpuId(0)).unwrap(), (44 * MS, true));
    assert_eq!(host.sched.rt_used(None, CpuId(0)).unwrap(), (44 * MS, false));
}

#[test]
fn the_best_task_of_a_group_decides_where_its_entity_is() {
    let mut host = machine("6.18", 1);
    let [a, b] = [300, 300].map(|runtime| group(&mut host, None, runtime, 1000));
    let a_low = spawn(&mut host, Some(a), fifo(10));
    let b_mid = spawn(&mut host, Some(b), fifo(20));
    assert!(host.runs(b_mid));
    let a_high = spawn(&mut host, Some(a), fifo(30));
    assert!(host.runs(a_high));
    host.block(0);
    assert!(host.runs(b_mid));
    host.block(0);
    assert!(host.runs(a_low));
}

#[test]
fn who_comes_to_a_group_sends_it_to_the_tail_of_its_list() {
    // Seen on 6.18.44, also where the new task is less important (ord1, ord2 of the recording).
    for priority in [10, 5] {
        let mut host = machine("6.18", 1);
        let [a, b] = [300, 300].map(|runtime| group(&mut host, None, runtime, 1000));
        let a1 = spawn(&mut host, Some(a), fifo(10));
        let b1 = spawn(&mut host, Some(b), fifo(10));
        spawn(&mut host, Some(a), fifo(priority));
        assert!(host.runs(a1), "equals do not preempt");
        spawn(&mut host, None, fifo(20));
        host.block(0);
        assert!(host.runs(b1));
    }
    let mut host = machine("6.18", 1);
    let [a, b] = [300, 300].map(|runtime| group(&mut host, None, runtime, 1000));
    let a1 = spawn(&mut host, Some(a), fifo(10));
    spawn(&mut host, Some(b), fifo(10));
    spawn(&mut host, None, fifo(20));
    host.block(0);
    assert!(host.runs(a1), "preempted, it goes on first");
}

#[test]
fn rr_rotates_where_any_level_has_others() {
    let mut host = machine("6.18", 1);
    let [a, b] = [300, 300].map(|runtime| group(&mut host, None, runtime, 1000));
    let a1 = spawn(&mut host, Some(a), rr(10));
    let b1 = spawn(&mut host, Some(b), rr(10));
    play(&mut host, 96 * MS);
    assert!(host.runs(a1));
    play(&mut host, 100 * MS);
    assert!(host.runs(b1), "alone in its group, but the group is not");
    play(&mut host, 200 * MS);
    assert!(host.runs(a1));
    host.yield_now(0);
    assert!(host.runs(b1), "a yield moves the group, too");
}

#[test]
fn a_group_without_runtime_has_no_real_time_tasks() {
    let refused = Error::RtLimit(RtLimitError::NoPolicy);
    assert_eq!(RtLimitError::NoPolicy.errno(), "EPERM");
    let mut host = machine("6.18", 1);
    let group = host.sched.create_group(None).unwrap();
    let attr = Attr { policy: fifo(10), ..Attr::default() };
    let into = Spawn { attr, group: Some(group), ..Spawn::default() };
    assert_eq!(host.sched.spawn(0, into).unwrap_err(), refused);
    let task = spawn(&mut host, Some(group), Policy::Normal);
    assert_eq!(host.sched.set_attr(0, task, attr).unwrap_err(), refused);
    let outside = host.spawn(fifo(20), 0);
    let entry = Error::RtLimit(RtLimitError::NoEntry);
    assert_eq!(host.sched.set_group(0, outside, Some(group)).unwrap_err(), entry);
    host.sched.set_attr(0, task, Attr { policy: dl(1, 10, 10), ..Attr::default() }).unwrap();

    host.sched.set_rt_limit(Some(group), ms(1, 1000)).unwrap();
    host.sched.set_attr(0, task, attr).unwrap();
    host.settle();
    let busy = Error::RtLimit(RtLimitError::HasTasks);
    assert_eq!(host.sched.set_rt_limit(Some(group), ms(0, 1000)).unwrap_err(), busy);
    let root = Error::RtLimit(RtLimitError::RootWithout);
    assert_eq!(host.sched.set_rt_limit(None, ms(0, 1000)).unwrap_err(), root);
}

#[test]
fn without_rt_group_sched_groups_have_no_limits_and_hold_real_time_tasks() {
    let mut host = Host::new("6.18", 1, 250);
    let group = host.sched.create_group(None).unwrap();
    let refused = host.sched.set_rt_limit(Some(group), ms(100, 1000)).unwrap_err();
    assert_eq!(refused, Error::RtLimit(RtLimitError::NotBuilt));
    let hog = spawn(&mut host, Some(group), fifo(10));
    play(&mut host, 400 * MS);
    assert!(host.runs(hog));
}

#[test]
fn with_a_runtime_of_minus_1_for_the_system_nobody_is_stopped_or_refused() {
    let mut profile = built("6.18");
    profile.rt.runtime_us = None;
    let mut host = Host::with(profile, 1, 250);
    let group = host.sched.create_group(None).unwrap();
    let hog = spawn(&mut host, Some(group), fifo(10));
    play(&mut host, 2_000 * MS);
    assert_eq!(ran(&host, hog), 2_000.0);
}

#[test]
fn a_session_has_its_real_time_tasks_in_the_root() {
    let mut host = machine("6.18", 1);
    let session = host.sched.create_group(None).unwrap();
    host.sched.set_rt_of_root(session).unwrap();
    let hog = spawn(&mut host, Some(session), fifo(10));
    play(&mut host, 900 * MS);
    assert!(host.runs(hog));
    assert_eq!(host.sched.rt_used(None, CpuId(0)).unwrap(), (900 * MS, false));
}

#[test]
fn a_lent_priority_keeps_a_stopped_group_going() {
    let mut host = machine("6.18", 1);
    let group = group(&mut host, None, 10, 1000);
    let owner = spawn(&mut host, Some(group), fifo(10));
    let waiter = spawn(&mut host, None, fifo(50));
    host.block(0);
    play(&mut host, 20 * MS);
    assert!(!host.runs(owner), "stopped");
    host.sched.lend(host.now_ns, owner, Some(waiter)).unwrap();
    host.settle();
    assert!(host.runs(owner));
    play(&mut host, 60 * MS);
    assert!(host.runs(owner));
    host.sched.lend(host.now_ns, owner, None).unwrap();
    host.settle();
    assert!(!host.runs(owner), "stopped again");
}

#[test]
fn a_fair_task_of_a_group_without_runtime_is_not_stopped_while_it_is_boosted() {
    let mut host = machine("6.18", 1);
    let group = host.sched.create_group(None).unwrap();
    let owner = spawn(&mut host, Some(group), Policy::Normal);
    let waiter = spawn(&mut host, None, fifo(50));
    host.block(0);
    host.sched.lend(host.now_ns, owner, Some(waiter)).unwrap();
    host.settle();
    play(&mut host, 100 * MS);
    assert!(host.runs(owner));
    assert_eq!(host.sched.rt_used(Some(group), CpuId(0)).unwrap(), (0, false));
}

#[test]
fn deadline_tasks_are_charged_to_the_root() {
    let mut profile = built("6.18");
    profile.rt.fair_server = None;
    let mut host = Host::with(profile, 1, 250);
    host.spawn(dl(8, 40, 40), 0);
    host.spawn(fifo(50), 0);
    let fair = host.spawn(Policy::Normal, 0);
    play(&mut host, 1_000 * MS);
    assert_eq!(stretches(&host, fair)[0].0, 952.0);
}

#[test]
fn a_running_task_takes_what_it_used_to_no_other_group() {
    let mut host = machine("6.18", 1);
    let [a, b] = [10, 30].map(|runtime| group(&mut host, None, runtime, 100));
    let hog = spawn(&mut host, Some(a), fifo(10));
    host.run_to(6 * MS);
    host.sched.set_group(host.now_ns, hog, Some(b)).unwrap();
    host.settle();
    assert_eq!(host.sched.rt_used(Some(a), CpuId(0)).unwrap().0, 6 * MS);
    play(&mut host, 99 * MS);
    assert_eq!(stretches(&host, hog), [(0.0, 40.0)]);
}

#[derive(Clone, Debug)]
enum Step {
    Spawn(usize, u8, u8),
    Wake(usize),
    Block(u32),
    Yield(u32),
    Move(usize, usize),
    Attr(usize, u8),
    Lend(usize, Option<usize>),
    Exit(usize),
    Tick,
    Later(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6usize, 0..8u8, any::<u8>()).prop_map(|(g, p, m)| Step::Spawn(g, p, m)),
        3 => (0..20usize).prop_map(Step::Wake),
        3 => (0..2u32).prop_map(Step::Block),
        1 => (0..2u32).prop_map(Step::Yield),
        1 => (0..20usize, 0..6usize).prop_map(|(t, g)| Step::Move(t, g)),
        2 => (0..20usize, 0..8u8).prop_map(|(t, p)| Step::Attr(t, p)),
        1 => (0..20usize, prop::option::of(0..20usize)).prop_map(|(t, w)| Step::Lend(t, w)),
        1 => (0..20usize).prop_map(Step::Exit),
        8 => Just(Step::Tick),
        2 => (1..3 * MS).prop_map(Step::Later),
    ];
    prop::collection::vec(step, 1..250)
}

fn policy(number: u8) -> Policy {
    match number {
        0..3 => fifo(i64::from(number) * 10 + 10),
        3..6 => rr(i64::from(number) * 10 - 20),
        _ => Policy::Normal,
    }
}

/// Everything said in one place is what the others say; and, unless someone has been lent a priority,
/// groups are within their limits and who could run does. (Who is boosted runs on, and sets the others
/// of a stopped group free, but nobody looks whether they should preempt.)
fn check(
    host: &Host,
    tasks: &[TaskId],
    groups: &[Option<GroupId>],
    lends: bool,
) -> Result<(), TestCaseError> {
    let sched = &host.sched;
    prop_assert_eq!(sched.check_rt_queues(), Ok(()));
    for cpu in 0..2 {
        let rq = &sched.cpus[cpu as usize];
        let current = rq.current.map(|slot| sched.tasks.slots[slot as usize].prio);
        for task in tasks {
            let slot = task.slot() as u32;
            let found = &sched.tasks.slots[slot as usize];
            prop_assert_eq!(
                found.class == Class::Rt && found.state == State::Runnable,
                found.rt.queued
            );
            if !lends && found.cpu == cpu && found.rt.queued && !sched.rt_throttled_in_group(slot) {
                prop_assert!(current.is_some_and(|prio| prio <= found.prio), "{} waits", slot);
            }
        }
        for group in groups {
            let limit = sched.rt_limit(*group).unwrap();
            let (used_ns, _) = sched.rt_used(*group, CpuId(cpu)).unwrap();
            let most_ns = limit.runtime_ns.unwrap();
            prop_assert!(lends || used_ns <= most_ns + 4 * MS, "{}", used_ns);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_groups_stay_within_their_runtime_and_nobody_else_waits(
        kernel in prop::sample::select(vec!["6.1", "6.12", "6.18", "7.2"]),
        steps in steps(),
        lends in any::<bool>(),
    ) {
        let mut host = machine(kernel, 2);
        let outer = group(&mut host, None, 30, 100);
        let inner = group(&mut host, Some(outer), 10, 50);
        let beside = group(&mut host, None, 12, 40);
        let none = host.sched.create_group(Some(outer)).unwrap();
        let session = host.sched.create_group(None).unwrap();
        host.sched.set_rt_of_root(session).unwrap();
        let places = [None, Some(outer), Some(inner), Some(beside), Some(none), Some(session)];
        let limited = [None, Some(outer), Some(inner), Some(beside)];
        let mut tasks: Vec<TaskId> = Vec::new();
        let mut next_tick_ns = 4 * MS;
        for step in steps {
            let at = |i: usize| (!tasks.is_empty()).then(|| tasks[i % tasks.len()]);
            let now_ns = host.now_ns;
            match step {
                Step::Spawn(place, number, mask) if tasks.len() < 12 => {
                    let attr = Attr { policy: policy(number), ..Attr::default() };
                    let affinity = CpuSet::Inline(u64::from(mask % 3 + 1));
                    let spawn =
                        Spawn { attr, affinity, group: places[place], ..Spawn::default() };
                    if let Ok(task) = host.sched.spawn(now_ns, spawn) {
                        tasks.push(task);
                    }
                }
                Step::Wake(i) => {
                    if let Some(task) = at(i) {
                        host.wake(task);
                    }
                }
                Step::Block(cpu) if host.sched.current(CpuId(cpu)).is_some() => host.block(cpu),
                Step::Yield(cpu) if host.sched.current(CpuId(cpu)).is_some() => {
                    host.yield_now(cpu);
                }
                Step::Move(i, place) => {
                    if let Some(task) = at(i) {
                        let _ = host.sched.set_group(now_ns, task, places[place]);
                    }
                }
                Step::Attr(i, number) => {
                    if let Some(task) = at(i) {
                        let attr = Attr { policy: policy(number), ..Attr::default() };
                        let _ = host.sched.set_attr(now_ns, task, attr);
                    }
                }
                Step::Lend(i, waiter) if lends => {
                    if let Some(task) = at(i) {
                        let waiter = waiter.and_then(at).filter(|waiter| *waiter != task);
                        host.sched.lend(now_ns, task, waiter).unwrap();
                    }
                }
                Step::Exit(i) => {
                    if let Some(task) = at(i) {
                        let cpu = host.sched.cpu_of(task).unwrap();
                        let running = host.sched.current(cpu) == Some(task);
                        host.sched.exit(now_ns, task).unwrap();
                        if running {
                            host.schedule(cpu);
                        }
                        tasks.retain(|other| *other != task);
                    }
                }
                Step::Tick => {
                    play(&mut host, next_tick_ns);
                    next_tick_ns += 4 * MS;
                }
                Step::Later(ns) => {
                    let until_ns = (host.now_ns + ns).min(next_tick_ns - 1);
                    host.run_to(until_ns);
                }
                Step::Spawn(..) | Step::Block(_) | Step::Yield(_) | Step::Lend(..) => {}
            }
            host.settle();
            check(&host, &tasks, &limited, lends)?;
        }
    }

    #[test]
    fn over_time_a_group_has_its_runtime_of_each_period_and_a_tick(
        kernel in prop::sample::select(vec!["6.1", "6.12", "6.18", "7.2"]),
        limits in prop::collection::vec((1..30u64, 30..200u64), 1..4),
        periods in 1..20u64,
    ) {
        let mut host = machine(kernel, 1);
        let hogs: Vec<(TaskId, RtLimit)> = limits
            .iter()
            .filter_map(|(runtime, period)| {
                let group = host.sched.create_group(None).unwrap();
                let limit = ms(*runtime, *period);
                host.sched.set_rt_limit(Some(group), limit).ok()?;
                Some((spawn(&mut host, Some(group), fifo(10)), limit))
            })
            .collect();
        prop_assume!(!hogs.is_empty());
        let until_ns = periods * 200 * MS;
        play(&mut host, until_ns);
        for (hog, limit) in hogs {
            let runtime = limit.runtime_ns.unwrap();
            let most_ns = until_ns.div_ceil(limit.period_ns) * runtime + 4 * MS;
            let had_ns = (ran(&host, hog) * MS as f64) as u64;
            prop_assert!(had_ns <= most_ns, "{} of {}", had_ns, most_ns);
        }
    }
}
