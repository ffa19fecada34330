//! The definitions of the figures, one stream each.

use super::*;

fn info(slot: u32, pid: u32, forked_from: Option<u32>) -> TaskInfo {
    let name = format!("t{}", forked_from.unwrap_or(pid));
    TaskInfo { slot: Slot(slot), pid, name, attr: Attr::default(), forked_from, group: None }
}

fn wakeup(task: u32, new: bool) -> Event {
    Event::Wakeup { task: Slot(task), cpu: CpuId(0), waker: None, new }
}

fn switch(prev: Option<u32>, left: Left, next: Option<u32>) -> Event {
    Event::Switch { cpu: CpuId(0), prev: prev.map(Slot), left, next: next.map(Slot) }
}

/// Tasks 1 and 2 in slots 0 and 1, these events, and the end at 100.
fn report(events: &[(u64, Event)]) -> RunReport {
    let mut metrics = Metrics::new();
    metrics.task(0, &info(0, 1, None));
    metrics.task(0, &info(1, 2, None));
    for (at, event) in events {
        metrics.event(*at, event);
    }
    metrics.finish(100);
    metrics.report(RunInfo { cpus: 1, ..RunInfo::default() })
}

#[test]
fn cpu_time_and_busy_time_run_up_to_the_end() {
    let report = report(&[(10, wakeup(0, true)), (10, switch(None, Left::Idle, Some(0)))]);
    assert_eq!(report.tasks[0].cpu_time_ns, 90);
    assert_eq!(report.tasks[0].share, 0.9);
    assert_eq!((report.cpus[0].busy_ns, report.cpus[0].idle_ns), (90, 10));
}

#[test]
fn a_wait_begins_with_a_wakeup_or_a_fork_and_with_leaving_while_runnable() {
    let report = report(&[
        (0, wakeup(0, true)),
        (3, switch(None, Left::Idle, Some(0))),
        (5, wakeup(1, false)),
        (9, switch(Some(0), Left::Preempted, Some(1))),
        (15, switch(Some(1), Left::Yielded, Some(0))),
        (22, switch(Some(0), Left::Blocked, Some(1))),
    ]);
    let delays = report.tasks.iter().map(|task| task.sched_delay_ns);
    let figures: Vec<_> = delays.map(|delay| (delay.count, delay.mean, delay.max)).collect();
    assert_eq!(figures, [(2, (3 + 6) / 2, 6), (2, (4 + 7) / 2, 7)]);
    assert_eq!(report.runqlat_us, [RunqlatRow { low: 0, high: 1, count: 4 }]);
}

#[test]
fn blocking_and_exiting_are_voluntary_and_the_rest_is_not() {
    let report = report(&[
        (0, switch(None, Left::Idle, Some(0))),
        (1, switch(Some(0), Left::Preempted, Some(1))),
        (2, switch(Some(1), Left::Yielded, Some(0))),
        (3, switch(Some(0), Left::Blocked, Some(1))),
        (4, switch(Some(1), Left::Exited, None)),
        (4, Event::Exit { task: Slot(1) }),
    ]);
    let switches: Vec<_> = report.tasks.iter().map(|task| task.switches).collect();
    assert_eq!(switches, [SwitchReport { voluntary: 1, involuntary: 1 }; 2]);
    assert_eq!(report.cpus[0].switches, 5);
}

#[test]
fn an_unfinished_wait_is_reported_apart() {
    let report = report(&[(40, wakeup(1, false))]);
    assert_eq!(report.tasks[1].unfinished_wait_ns, Some(60));
    assert_eq!(report.tasks[1].sched_delay_ns.count, 0);
    assert_eq!(report.tasks[0].unfinished_wait_ns, None);
    assert!(report.runqlat_us.is_empty());
}

#[test]
fn forks_are_no_wakeups_and_waking_twice_is_once() {
    let report = report(&[
        (0, wakeup(0, true)),
        (1, switch(None, Left::Idle, Some(0))),
        (2, switch(Some(0), Left::Blocked, None)),
        (3, wakeup(0, false)),
        (4, wakeup(0, false)),
        (5, switch(None, Left::Idle, Some(0))),
    ]);
    assert_eq!(report.tasks[0].wakeups, 1);
    assert_eq!(report.tasks[0].sched_delay_ns.max, 2);
}

#[test]
fn a_switch_to_itself_is_no_switch() {
    let report = report(&[
        (0, switch(None, Left::Idle, Some(0))),
        (5, switch(Some(0), Left::Yielded, Some(0))),
    ]);
    assert_eq!(report.tasks[0].switches, SwitchReport::default());
    assert_eq!(report.tasks[0].cpu_time_ns, 100);
    assert_eq!(report.cpus[0].switches, 1);
}

#[test]
fn migrations_responses_and_devices_are_counted() {
    let report = report(&[
        (0, Event::Migrate { task: Slot(0), from: CpuId(0), to: CpuId(1) }),
        (0, Event::Response { task: Slot(0), response_ns: 40 }),
        (10, Event::Device { device: 0, busy: true }),
        (30, Event::Device { device: 0, busy: false }),
        (90, Event::Device { device: 0, busy: true }),
    ]);
    assert_eq!(report.tasks[0].migrations, 1);
    assert_eq!(report.tasks[0].response_ns.max, 40);
    assert_eq!(report.devices, [DeviceReport { name: "device 0".into(), busy_ns: 30 }]);
}

#[test]
fn forked_tasks_are_one_row_for_each_template() {
    let mut metrics = Metrics::new();
    for pid in 1..=50 {
        let at = u64::from(pid) * 10;
        metrics.task(at, &info(0, pid, Some(pid % 2)));
        metrics.event(at, &wakeup(0, true));
        metrics.event(at + 1, &switch(None, Left::Idle, Some(0)));
        if pid < 50 {
            metrics.event(at + 4, &switch(Some(0), Left::Exited, None));
            metrics.event(at + 4, &Event::Exit { task: Slot(0) });
        }
    }
    metrics.finish(504);
    assert_eq!(metrics.tasks.len(), 1);
    let report = metrics.report(RunInfo::default());
    let rows: Vec<_> =
        report.tasks.iter().map(|row| (row.label(), row.pid, row.cpu_time_ns)).collect();
    assert_eq!(rows, [("t1 (x25)".into(), 1, 75), ("t0 (x25)".into(), 2, 75)]);
    assert_eq!(report.tasks[0].sched_delay_ns.count, 25);
}

#[test]
fn forked_tasks_that_live_at_the_end_are_in_the_sum() {
    let mut metrics = Metrics::new();
    for pid in 1..=3 {
        metrics.task(0, &info(pid, pid, Some(9)));
        metrics.event(u64::from(pid) * 10, &wakeup(pid, true));
    }
    metrics.event(40, &switch(None, Left::Idle, Some(1)));
    metrics.finish(100);
    let row = &metrics.report(RunInfo::default()).tasks[0];
    assert_eq!((row.label().as_str(), row.cpu_time_ns), ("t9 (x3)", 60));
    assert_eq!((row.sched_delay_ns.max, row.unfinished_wait_ns), (30, Some(80)));
}

#[test]
fn a_slot_taken_over_without_an_exit_is_another_task() {
    let mut metrics = Metrics::new();
    metrics.task(0, &info(0, 1, None));
    metrics.event(0, &switch(None, Left::Idle, Some(0)));
    metrics.task(10, &info(0, 2, None));
    metrics.finish(20);
    let report = metrics.report(RunInfo::default());
    let times: Vec<_> = report.tasks.iter().map(|row| (row.pid, row.cpu_time_ns)).collect();
    assert_eq!(times, [(1, 10), (2, 0)]);
}

#[test]
fn the_wire_names_are_a_contract() {
    let mut metrics = Metrics::new();
    metrics.task(0, &info(0, 1, None));
    metrics.event(0, &wakeup(0, true));
    metrics.event(5_000, &switch(None, Left::Idle, Some(0)));
    metrics.event(6_000, &Event::Response { task: Slot(0), response_ns: 77 });
    metrics.finish(10_000);
    let queues = vec![QueueReport { name: "q".into(), arrived: 3, served: 2, dropped: 1 }];
    let mut report =
        metrics.report(RunInfo { devices: vec!["gpu".into()], queues, ..RunInfo::default() });
    report.groups.push(crate::table::tests::group("pods/web"));
    report.pressure = Some(crate::PressureReport::default());
    report.tasks[0].group = Some("pods/web".into());
    let json = serde_json::to_string(&report).unwrap();
    let lines = json.replace("],\"", "],\n\"").replace("},\"", "},\n\"").replace("[{\"", "[{\n\"");
    insta::assert_snapshot!(lines, @r#"
        {"kernel":"","release":"","seed":0,"simulated_ns":10000,"trace_hash":"","hz":0,"tasks":[{
        "name":"t1","pid":1,"group":"pods/web","policy":"SCHED_OTHER","nice":0,"cpu_time_ns":5000,"share":0.5,"wakeups":0,"migrations":0,"switches":{"voluntary":0,"involuntary":0},
        "sched_delay_ns":{"count":1,"mean":5000,"p50":5000,"p99":5000,"max":5000},
        "response_ns":{"count":1,"mean":77,"p50":77,"p99":77,"max":77}}],
        "groups":[{
        "path":"pods/web","weight":39,"quota_ns":50000000,"period_ns":100000000,"usage_ns":4810000000,"share":0.481,"nr_periods":100,"nr_throttled":42,"throttled_ns":2310000000,"local_throttled_ns":2310000000,"nr_bursts":0,"burst_ns":0,"pressure":{"some_total_ns":3000000000,"some_avg10":30.12,"some_avg60":5.0,"some_avg300":1.0,"full_total_ns":2310000000,"full_avg10":23.0,"full_avg60":4.0,"full_avg300":0.5}}],
        "pressure":{"some_total_ns":0,"some_avg10":0.0,"some_avg60":0.0,"some_avg300":0.0,"full_total_ns":0,"full_avg10":0.0,"full_avg60":0.0,"full_avg300":0.0},
        "cpus":[{
        "cpu":0,"busy_ns":5000,"idle_ns":5000,"switches":1}],
        "runqlat_us":[{
        "low":0,"high":1,"count":0},{"low":2,"high":3,"count":0},{"low":4,"high":7,"count":1}],
        "devices":[{
        "name":"gpu","busy_ns":0}],
        "queues":[{
        "name":"q","arrived":3,"served":2,"dropped":1}],
        "warnings":[]}
        "#);
    assert_eq!(serde_json::from_str::<RunReport>(&json).unwrap(), report);
}

#[test]
fn cpus_and_devices_that_did_nothing_are_reported() {
    let info = RunInfo { cpus: 2, devices: vec!["gpu".into()], ..RunInfo::default() };
    let report = Metrics::new().report(info);
    assert_eq!(report.cpus.len(), 2);
    assert_eq!(report.devices, [DeviceReport { name: "gpu".into(), busy_ns: 0 }]);
}

#[test]
fn jobs_are_late_when_they_take_longer_than_their_period() {
    let mut metrics = Metrics::with_periods([("t1".to_owned(), 50)]);
    metrics.task(0, &info(0, 1, None));
    metrics.task(0, &info(1, 2, None));
    for response_ns in [49, 50, 51, 70] {
        for slot in [0, 1] {
            metrics.event(0, &Event::Response { task: Slot(slot), response_ns });
        }
    }
    let report = metrics.report(RunInfo::default());
    assert_eq!(report.tasks[0].jobs, Some(JobReport { period_ns: 50, late: 2 }));
    assert_eq!(report.tasks[1].jobs, None, "nobody knows its period");
    let json = serde_json::to_string(&report.tasks[0]).unwrap();
    assert!(json.contains(r#""jobs":{"period_ns":50,"late":2},"cpu_time_ns""#), "{json}");
}

#[test]
fn signals_are_counted_by_kind() {
    let signal = |slot, kills| (0, Event::Signal { task: Slot(slot), kills });
    let report = report(&[signal(0, false), signal(0, false), signal(0, true)]);
    assert_eq!(report.tasks[0].signals, Some(SignalReport { sigxcpu: 2, sigkill: 1 }));
    assert_eq!(report.tasks[1].signals, None);
    let json = serde_json::to_string(&report.tasks[0]).unwrap();
    assert!(json.contains(r#""signals":{"sigxcpu":2,"sigkill":1}"#), "{json}");
}

#[test]
fn real_time_throttling_is_counted_up_to_the_end() {
    let throttle = |at, stops| (at, Event::RtThrottle { group: None, cpu: CpuId(0), stops });
    let stopped = report(&[throttle(10, true), throttle(15, false), throttle(60, true)]);
    assert_eq!(stopped.cpus[0].rt_throttled, Some(RtThrottleReport { count: 2, time_ns: 45 }));
    assert_eq!(report(&[]).cpus[0].rt_throttled, None);
}
