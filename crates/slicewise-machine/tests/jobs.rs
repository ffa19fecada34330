//! Timers, logs, requests, devices, forks.

mod common;

use common::{MS, S, US, config, forever, go, kernel, on, repeat, run, sleep};
use slicewise_machine::{
    Device, Dist, End, Machine, Op, Queue, RunError, SetupError, TimerMode, TimerSpec, Workload,
};

fn timer(period_ns: u64, mode: TimerMode) -> Op {
    Op::Timer { timer: 0, period_ns, mode }
}

fn with_timer(programs: Vec<Vec<Op>>) -> Workload {
    let mut workload = common::workload(programs);
    workload.timers = vec![TimerSpec { name: "tick".to_owned(), shared: true }];
    workload
}

fn logged(body: Vec<Op>) -> Vec<Op> {
    let mut ops = vec![Op::LogBegin];
    ops.extend(body);
    ops.push(Op::LogEnd { cumulative_slack: false });
    ops
}

/// The tutorial's example: 10 ms of work every 20 ms, except 30 ms in the third period.
fn overrun(mode: TimerMode) -> Vec<(u64, u64, i64)> {
    let mut ops = Vec::new();
    for work in [10, 10, 30, 10, 10, 10] {
        ops.extend(logged(vec![run(work * MS), timer(20 * MS, mode)]));
    }
    let (_, got) = go(&config(1, S), &with_timer(vec![ops]));
    let line =
        |r: &slicewise_trace::LoopRecord| (r.start_ns / MS, r.end_ns / MS, r.slack_ns / MS as i64);
    got.loops(0).iter().map(line).collect()
}

#[test]
fn a_relative_timer_starts_a_new_period_after_an_overrun() {
    assert_eq!(
        overrun(TimerMode::Relative),
        [(0, 20, 10), (20, 40, 10), (40, 70, -10), (70, 90, 10), (90, 110, 10), (110, 130, 10)]
    );
}

#[test]
fn an_absolute_timer_keeps_its_grid_and_catches_up() {
    assert_eq!(
        overrun(TimerMode::Absolute),
        [(0, 20, 10), (20, 40, 10), (40, 70, -10), (70, 80, 0), (80, 100, 10), (100, 120, 10)]
    );
}

#[test]
fn responses_run_from_the_nominal_expiry() {
    let body = |work: u64| vec![run(work * MS), timer(20 * MS, TimerMode::Absolute)];
    let ops = [body(10), body(30), body(5), body(5)].concat();
    let (_, got) = go(&config(1, S), &with_timer(vec![ops]));
    // Due at 0, 20, 40, 60: the third job starts 10 ms late.
    let want = [(10, 10), (50, 30), (55, 15), (65, 5), (80, 0)];
    assert_eq!(got.responses(0), want.map(|(at, response)| (at * MS, response * MS)));
}

#[test]
fn a_log_line_has_all_of_rt_apps_columns() {
    let mut config = config(1, S);
    config.costs.context_switch_ns = 10 * US;
    let body = vec![
        run(2 * MS),
        Op::RunUntil { elapsed: Dist::Constant(3 * MS) },
        timer(20 * MS, TimerMode::Relative),
    ];
    let mut tasks = with_timer(vec![repeat(Some(2), logged(body))]);
    tasks.tasks[0].index = 3;
    let (_, got) = go(&config, &tasks);
    let [first, second] = got.loops(0)[..] else { panic!("two lines") };
    assert_eq!((first.index, first.work_ns), (3, 2 * MS));
    assert_eq!((first.run_ns, first.configured_run_ns), (5 * MS, 5 * MS));
    assert_eq!(first.configured_period_ns, 20 * MS);
    // It began 10 µs after its first wakeup: that is when its periods begin.
    assert_eq!((first.start_ns, first.end_ns), (10 * US, 20 * MS + 20 * US));
    assert_eq!((first.slack_ns, first.wakeup_latency_ns), (15 * MS as i64, 10 * US));
    assert_eq!((second.start_ns, second.slack_ns), (first.end_ns, 15 * MS as i64 - 10_000));
}

#[test]
fn slack_adds_up_on_demand() {
    let mut ops = vec![Op::LogBegin];
    for _ in 0..2 {
        ops.extend([run(5 * MS), timer(20 * MS, TimerMode::Relative)]);
    }
    ops.push(Op::LogEnd { cumulative_slack: true });
    let (_, got) = go(&config(1, S), &with_timer(vec![ops]));
    assert_eq!(got.loops(0)[0].slack_ns, 30 * MS as i64);
}

#[test]
fn run_until_counts_waiting_and_run_does_not() {
    // Both start together on one CPU.
    let until = vec![Op::RunUntil { elapsed: Dist::Constant(30 * MS) }];
    let tasks = common::workload(vec![until, vec![Op::RunForever]]);
    let (_, got) = go(&config(1, S), &tasks);
    let (end, _) = *got.exits().first().expect("it ends");
    assert!((30 * MS..38 * MS).contains(&end), "{end}");
    assert!(got.cpu_time(0) < 20 * MS);
}

#[test]
fn loops_nest_and_a_count_of_zero_skips() {
    let ops = vec![
        Op::LoopBegin { count: Some(3), end: 7 },
        run(MS),
        Op::LoopBegin { count: Some(2), end: 4 },
        run(10 * MS),
        Op::LoopEnd { begin: 2 },
        Op::LoopBegin { count: Some(0), end: 6 },
        Op::LoopEnd { begin: 5 },
        Op::LoopEnd { begin: 0 },
    ];
    assert_eq!(go(&config(1, S), &common::workload(vec![ops])).0.end_ns, 63 * MS);
}

fn queue(interarrival_ns: u64, service_ns: u64, requests: u64, depth: u32) -> Queue {
    Queue {
        name: "requests".to_owned(),
        interarrival: Dist::Constant(interarrival_ns),
        service: Dist::Constant(service_ns),
        start_ns: 0,
        requests: Some(requests),
        depth,
    }
}

fn server() -> Vec<Op> {
    forever(vec![Op::Receive(0), Op::Serve, Op::Reply])
}

#[test]
fn requests_queue_and_their_responses_count_from_arrival() {
    let mut tasks = common::workload(vec![server()]);
    tasks.queues = vec![queue(10 * MS, 15 * MS, 3, 10)];
    let (summary, got) = go(&config(1, S), &tasks);
    assert_eq!(got.responses(0), [(25 * MS, 15 * MS), (40 * MS, 20 * MS), (55 * MS, 25 * MS)]);
    assert_eq!((&summary.end, summary.end_ns), (&End::Served, 55 * MS));
    assert_eq!((summary.queues[0].arrived, summary.queues[0].dropped), (3, 0));
}

#[test]
fn requests_beyond_the_depth_are_dropped() {
    let mut tasks = common::workload(vec![server()]);
    tasks.queues = vec![queue(MS, 10 * MS, 20, 2)];
    let (summary, got) = go(&config(1, S), &tasks);
    let counts = summary.queues[0];
    assert_eq!(counts.arrived, 20);
    assert_eq!(got.responses(0).len() as u64, counts.arrived - counts.dropped);
    assert!(counts.dropped >= 15);
}

#[test]
fn every_kernel_serves_the_same_load() {
    let arrivals = |name: &str| {
        let mut tasks = common::workload(vec![server(), server(), vec![Op::RunForever]]);
        let mut requests = queue(0, 0, 1_000, u32::MAX);
        requests.interarrival = Dist::Exponential { mean_ns: 2e6 };
        requests.service = Dist::LogNormal { median_ns: 5e5, sigma: 1.0 };
        tasks.queues = vec![requests];
        let (summary, got) = go(&kernel(config(1, 10 * S), name), &tasks);
        let served = got.responses(0).len() + got.responses(1).len();
        (summary.queues[0], served)
    };
    assert_eq!(arrivals("6.1"), arrivals("6.12"));
}

#[test]
fn a_device_works_in_order_and_synchronize_waits_for_ones_own() {
    let submit = |ns| Op::Submit { device: 0, work: Dist::Constant(ns) };
    let mut tasks = common::workload(vec![
        vec![submit(10 * MS), submit(10 * MS), run(MS), Op::Synchronize(0), run(MS)],
        vec![run(2 * MS), submit(5 * MS), Op::Synchronize(0), Op::Synchronize(0)],
    ]);
    tasks.devices = vec![Device { name: "gpu".to_owned(), depth: u32::MAX }];
    let (_, got) = go(&config(2, S), &tasks);
    assert_eq!(got.exits(), [(21 * MS, 0), (25 * MS, 1)]);
    assert_eq!(got.devices(), [(0, 0, true), (25 * MS, 0, false)]);
}

#[test]
fn a_full_device_makes_the_submitter_wait() {
    let submit = || Op::Submit { device: 0, work: Dist::Constant(10 * MS) };
    let mut tasks = common::workload(vec![vec![submit(), submit(), submit(), Op::Synchronize(0)]]);
    tasks.devices = vec![Device { name: "gpu".to_owned(), depth: 1 }];
    let (_, got) = go(&config(1, S), &tasks);
    let wakeups: Vec<u64> = got.wakeups(0).iter().map(|(at, _)| *at).collect();
    assert_eq!(wakeups, [10 * MS, 20 * MS, 30 * MS]);
    // The device never ran dry in between.
    assert_eq!(got.devices(), [(0, 0, true), (30 * MS, 0, false)]);
}

#[test]
fn fork_storms_use_slots_again_and_pids_never() {
    let mut tasks = common::workload(vec![
        repeat(Some(1_000), vec![Op::Fork(1), sleep(MS)]),
        vec![run(100 * US)],
    ]);
    tasks.tasks[1].template = true;
    let (summary, got) = go(&config(1, 10 * S), &tasks);
    assert_eq!((summary.spawned, summary.exited), (1_001, 1_001));
    assert!(got.tasks.iter().all(|(_, info)| info.slot.0 <= 1));
    let pids: Vec<u32> = got.tasks.iter().map(|(_, info)| info.pid).collect();
    assert_eq!(pids, (1..=1_001).collect::<Vec<u32>>());
    assert_eq!(got.tasks[0].1.forked_from, None);
    assert!(got.tasks[1..].iter().all(|(_, info)| info.forked_from == Some(1)));
    // A forked task's job runs from fork to exit.
    assert_eq!(got.responses(1).len(), 1_000);
}

#[test]
fn a_waker_pays_for_forks() {
    let mut config = config(2, S);
    config.costs.wakeup_ns = 50 * US;
    let mut tasks = common::workload(vec![vec![run(MS), Op::Fork(1), run(MS)], vec![run(MS)]]);
    tasks.tasks[1].template = true;
    let (_, got) = go(&config, &tasks);
    assert_eq!(got.gets(1), [MS + 50 * US]);
    assert_eq!(got.exits(), [(2 * MS + 50 * US, 0), (2 * MS + 50 * US, 1)]);
}

#[test]
fn forking_without_end_is_stopped() {
    let mut tasks = common::workload(vec![forever(vec![Op::Fork(1), run(1)]), vec![Op::Suspend]]);
    tasks.tasks[1].template = true;
    tasks.tasks[0].affinity = on(0);
    tasks.tasks[1].affinity = on(1);
    let machine = Machine::new(&config(2, u64::MAX), &tasks, ());
    let result = machine.expect("a sound workload").run();
    assert!(matches!(result, Err(RunError::TooManyTasks { .. })), "{result:?}");
}

#[test]
fn tasks_start_when_they_should() {
    let mut tasks = common::workload(vec![vec![run(MS)], vec![run(MS)], vec![run(MS)]]);
    tasks.tasks[0].start_ns = 10 * MS;
    tasks.tasks[1].start_ns = 5 * MS;
    let (_, got) = go(&config(1, S), &tasks);
    let starts: Vec<(u64, String)> =
        got.tasks.iter().map(|(at, info)| (*at, info.name.clone())).collect();
    let want = [(0, "t2"), (5 * MS, "t1"), (10 * MS, "t0")];
    assert_eq!(starts, want.map(|(at, name)| (at, name.to_owned())));
}

#[test]
fn workloads_that_make_no_sense_are_refused() {
    let refused = |tasks: &Workload| Machine::new(&config(2, S), tasks, ()).err();
    let step = |op: Op| {
        let error = refused(&common::workload(vec![vec![run(1), op]]));
        assert!(matches!(error, Some(SetupError::Step { step: 1, .. })), "{error:?}");
    };
    step(Op::Lock(0));
    step(Op::Unlock(0));
    step(Op::Signal(0));
    step(Op::Wait { condition: 0, mutex: 0 });
    step(Op::Barrier(0));
    step(Op::Resume(1));
    step(Op::Fork(1));
    step(Op::Receive(0));
    step(Op::Submit { device: 0, work: Dist::Constant(1) });
    step(Op::Synchronize(0));
    step(timer(1, TimerMode::Relative));
    step(Op::SetAffinity(on(2)));
    step(Op::LoopEnd { begin: 0 });
    step(Op::LoopBegin { count: None, end: 2 });
    step(Op::Sleep { duration: Dist::Uniform(2, 1) });
    let mut tasks = common::workload(vec![vec![]]);
    tasks.tasks[0].affinity = on(7);
    assert!(matches!(refused(&tasks), Some(SetupError::Task { .. })));
    tasks.tasks[0].affinity = on(0);
    tasks.tasks[0].program = 1;
    assert!(matches!(refused(&tasks), Some(SetupError::Task { .. })));
    assert!(Machine::new(&config(0, S), &Workload::default(), ()).is_err());
    let mut late = config(1, S);
    late.tick_phase_ns = 4 * MS;
    assert!(matches!(
        Machine::new(&late, &Workload::default(), ()).err(),
        Some(SetupError::TickPhase(_))
    ));
}

#[test]
fn nothing_to_do_is_no_error() {
    let (summary, got) = go(&config(4, S), &Workload::default());
    assert_eq!(summary.end_ns, S);
    assert!(got.events.is_empty());
}

#[test]
fn tasks_of_one_program_share_a_timer_only_if_it_is_shared() {
    let wakeups = |shared: bool| {
        let body = vec![
            Op::LoopBegin { count: Some(10), end: 2 },
            timer(10 * MS, TimerMode::Absolute),
            Op::LoopEnd { begin: 0 },
        ];
        let mut workload = with_timer(vec![body]);
        workload.timers[0].shared = shared;
        let mut second = workload.tasks[0].clone();
        second.name = "second".to_owned();
        workload.tasks.push(second);
        let config = common::config(1, 1_000 * MS);
        let mut machine = Machine::new(&config, &workload, ()).unwrap();
        machine.run().unwrap().end_ns
    };
    assert_eq!(wakeups(false), 100 * MS, "each has its ten periods");
    assert_eq!(wakeups(true), 200 * MS, "both take their turns on one grid");
}
