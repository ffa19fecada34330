//! What the figures of groups mean, one stream each.

use slicewise_sched::Attr;
use slicewise_trace::Left;

use super::*;

const MS: u64 = 1_000_000;

/// `a`, `a/b` and `c`; tasks 0 in `a`, 1 in `a/b`, 2 in `c`, 3 in none.
fn meter(cpus: u32, events: &[(u64, Event)], end_ns: u64) -> GroupMeter {
    let mut meter = GroupMeter::new(cpus, 1000);
    for (group, parent, path) in [(0, None, "a"), (1, Some(0), "a/b"), (2, None, "c")] {
        meter.group(0, &GroupInfo { group, parent, path: path.into() });
    }
    for slot in 0..4 {
        let group = (slot < 3).then_some(slot);
        let (name, attr) = (format!("t{slot}"), Attr::default());
        let info =
            TaskInfo { slot: Slot(slot), pid: slot + 1, name, attr, forked_from: None, group };
        meter.task(0, &info);
    }
    events.iter().for_each(|(at, event)| meter.event(*at, event));
    meter.finish(end_ns);
    meter
}

fn wakeup(task: u32, cpu: u32) -> Event {
    Event::Wakeup { task: Slot(task), cpu: CpuId(cpu), waker: None, new: false }
}

fn switch(cpu: u32, prev: Option<u32>, left: Left, next: Option<u32>) -> Event {
    Event::Switch { cpu: CpuId(cpu), prev: prev.map(Slot), left, next: next.map(Slot) }
}

fn throttle(group: u32, stops: bool) -> Event {
    Event::Throttle { group, cpu: CpuId(0), stops }
}

fn usage(meter: &GroupMeter) -> Vec<u64> {
    meter.figures().iter().map(|figures| figures.usage_ns / MS).collect()
}

/// Some and full pressure of each group, ms.
fn pressure(meter: &GroupMeter) -> Vec<(u64, u64)> {
    let figures = meter.figures();
    figures.iter().map(|f| (f.some.total_ns / MS, f.full.total_ns / MS)).collect()
}

fn local(meter: &GroupMeter) -> Vec<u64> {
    meter.figures().iter().map(|figures| figures.local_throttled_ns / MS).collect()
}

#[test]
fn usage_is_of_tasks_in_a_group_and_below_up_to_the_end() {
    let events = [
        (0, wakeup(0, 0)),
        (0, switch(0, None, Left::Idle, Some(0))),
        (10 * MS, wakeup(1, 0)),
        (10 * MS, switch(0, Some(0), Left::Blocked, Some(1))),
        (30 * MS, wakeup(3, 0)),
        (30 * MS, switch(0, Some(1), Left::Preempted, Some(3))),
        (35 * MS, switch(0, Some(3), Left::Exited, Some(1))),
    ];
    assert_eq!(usage(&meter(1, &events, 100 * MS)), [95, 85, 0]);
}

#[test]
fn waiting_for_someone_else_is_full_pressure_and_beside_an_own_task_some() {
    // t0 of `a` runs all the time; t1 of `a/b` and t2 of `c` wait from 10 to 60 ms.
    let events = [
        (0, wakeup(0, 0)),
        (0, switch(0, None, Left::Idle, Some(0))),
        (10 * MS, wakeup(1, 0)),
        (10 * MS, wakeup(2, 0)),
        (60 * MS, switch(0, Some(0), Left::Blocked, Some(1))),
        (70 * MS, switch(0, Some(1), Left::Blocked, Some(2))),
    ];
    let meter = meter(1, &events, 100 * MS);
    // `a` has one of its own on the CPU as long as one of its own waits; nobody of the others.
    assert_eq!(pressure(&meter), [(50, 0), (50, 50), (60, 60)]);
    assert_eq!(meter.system_pressure().total_ns, 60 * MS);
}

#[test]
fn a_task_off_the_cpu_for_want_of_quota_is_under_full_pressure() {
    let events = [
        (0, wakeup(0, 0)),
        (0, switch(0, None, Left::Idle, Some(0))),
        (24 * MS, throttle(0, true)),
        (24 * MS, switch(0, Some(0), Left::Preempted, None)),
        (100 * MS, throttle(0, false)),
        (100 * MS, switch(0, None, Left::Idle, Some(0))),
    ];
    let meter = meter(1, &events, 100 * MS);
    assert_eq!(pressure(&meter)[0], (76, 76));
    assert_eq!(local(&meter), [76, 0, 0], "nobody was in `a/b`");
    assert_eq!(meter.system_pressure().total_ns, 76 * MS);
}

#[test]
fn a_stop_counts_below_from_when_somebody_there_is_held_up() {
    let events = [
        (0, wakeup(0, 0)),
        (0, switch(0, None, Left::Idle, Some(0))),
        (20 * MS, throttle(0, true)),
        // In the kernel until 30 ms: it parks late.
        (30 * MS, switch(0, Some(0), Left::Preempted, None)),
        (50 * MS, wakeup(1, 0)),
        (60 * MS, throttle(1, true)),
        (100 * MS, throttle(0, false)),
        // `a/b` has a quota of its own.
        (120 * MS, throttle(1, false)),
        (130 * MS, throttle(0, true)),
    ];
    assert_eq!(
        local(&meter(1, &events, 200 * MS)),
        [70, 70, 0],
        "a stop that goes on is not in it"
    );
}

#[test]
fn a_migration_takes_the_wait_along() {
    let events = [
        (0, wakeup(0, 0)),
        (0, switch(0, None, Left::Idle, Some(0))),
        (0, wakeup(2, 0)),
        (40 * MS, Event::Migrate { task: Slot(2), from: CpuId(0), to: CpuId(1) }),
        (40 * MS, switch(1, None, Left::Idle, Some(2))),
    ];
    let meter = meter(2, &events, 100 * MS);
    assert_eq!(usage(&meter), [100, 0, 60]);
    // Each CPU counts by how long it was not idle: 40 ms of `c` on CPU 0, 60 on CPU 1.
    assert_eq!(pressure(&meter)[2], (16, 16));
}

#[test]
fn averages_are_sampled_while_the_run_goes_on() {
    let events = [(0, wakeup(0, 0)), (0, switch(0, None, Left::Idle, Some(0))), (0, wakeup(2, 0))];
    // As psi's own example: a wait all the time, three periods of 2.001 s.
    let meter = meter(1, &events, 6_003 * MS);
    let report = meter.report(&[GroupFacts { weight: 100, ..GroupFacts::default() }; 3]);
    assert_eq!(report[2].pressure.some_avg10, 45.09);
    assert_eq!((report[2].pressure.full_avg60, report[2].pressure.full_avg300), (9.49, 2.03));
    assert_eq!(report[0].pressure.some_avg10, 0.0);
    assert_eq!((report[0].share, report[0].weight, report[0].quota_ns), (1.0, 100, None));
}

#[test]
fn a_task_that_changes_its_group_is_counted_in_the_new_one() {
    let mut meter = meter(
        1,
        &[(0, wakeup(0, 0)), (0, switch(0, None, Left::Idle, Some(0))), (0, wakeup(1, 0))],
        10 * MS,
    );
    let moved = |slot, group| TaskInfo {
        slot: Slot(slot),
        pid: slot + 1,
        name: "moved".into(),
        attr: Attr::default(),
        forked_from: None,
        group,
    };
    meter.task(10 * MS, &moved(0, Some(2)));
    meter.task(10 * MS, &moved(1, None));
    meter.finish(30 * MS);
    assert_eq!(usage(&meter), [10, 0, 20]);
    assert_eq!(pressure(&meter), [(10, 0), (10, 10), (0, 0)]);
    assert_eq!(meter.system_pressure().total_ns, 30 * MS);
}

#[test]
fn a_stream_that_names_what_was_never_announced_is_no_problem() {
    let mut meter = GroupMeter::new(1, 250);
    for event in [wakeup(7, 9), switch(3, Some(1), Left::Idle, Some(2)), throttle(5, true)] {
        meter.event(5, &event);
    }
    meter.finish(10);
    assert_eq!(meter.figures(), []);
}
