//! What scenarios become.

#![allow(clippy::unwrap_used, reason = "a test may")]

use slicewise_machine::{Dist, Mode, Op, Preemption, TimerMode};
use slicewise_sched::{Policy, Profile};
use slicewise_workload::{Format, Loaded, apply_set, check_against_machine, load, set_keys};

const MS: u64 = 1_000_000;

fn read(text: &str) -> Loaded {
    load(text, Format::Scenario).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

fn ops(loaded: &Loaded, task: &str) -> Vec<String> {
    let task = loaded.workload.tasks.iter().find(|t| t.name == task).unwrap();
    let program = &loaded.workload.programs[task.program as usize];
    program.ops.iter().map(|op| format!("{op:?}")).collect()
}

/// The operations of a task whose only line is `program = [steps]`, without the loop around.
fn steps(steps: &str) -> Vec<String> {
    let text = format!("[[task]]\nname = \"a\"\nprogram = [{steps}]\n");
    let all = ops(&read(&text), "a");
    all[1..all.len() - 1].to_vec()
}

#[test]
fn every_key_of_the_machine_becomes_a_setting() {
    let loaded = read(include_str!("fixtures/full.toml"));
    let settings = &loaded.settings;
    assert_eq!(loaded.title.as_deref(), Some("A bit of everything"));
    assert_eq!(loaded.question.as_deref(), Some("Does every key read?"));
    assert_eq!((settings.cpus, settings.hz, settings.seed), (Some(4), Some(250), Some(7)));
    assert_eq!(settings.kernel.as_deref(), Some("6.12"));
    assert_eq!(settings.duration_ns, Some(2_000_000_000));
    assert_eq!(settings.preemption, Some(Preemption::Full));
    assert_eq!(settings.features, ["NO_RUN_TO_PARITY", "NEXT_BUDDY"]);
    assert_eq!(settings.base_slice_ns, Some(3_000_000));
    assert_eq!((settings.tick_phase_ns, settings.tick_skew_ns), (Some(100_000), Some(10_000)));
    assert_eq!(settings.costs.context_switch_ns, Some(2_000));
    assert_eq!((settings.costs.wakeup_ns, settings.costs.tick_ns), (Some(1_000), Some(500)));
    assert_eq!(loaded.warnings, []);
    assert!(!loaded.workload.stuck_is_end, "a scenario that hangs is a mistake");
}

#[test]
fn tasks_carry_their_attributes_and_instances_are_numbered() {
    let loaded = read(include_str!("fixtures/full.toml"));
    let names: Vec<&str> = loaded.workload.tasks.iter().map(|task| task.name.as_str()).collect();
    let wanted =
        ["worker-0", "worker-1", "trainer", "producer", "consumer", "child", "control", "burn"];
    assert_eq!(names, wanted);
    let task = |name: &str| loaded.workload.tasks.iter().find(|task| task.name == name).unwrap();
    assert_eq!(task("worker-1").index, 1);
    assert_eq!(task("worker-1").program, task("worker-0").program, "instances share a program");
    assert_eq!(task("worker-0").attr.nice.get(), -5);
    assert_eq!(task("worker-0").attr.slice_ns, Some(500_000));
    assert_eq!(task("worker-0").affinity.to_string(), "0-1");
    assert_eq!(task("trainer").attr.policy, Policy::Batch);
    assert_eq!(task("trainer").start_ns, 5_000_000);
    assert_eq!(task("control").attr.policy.to_string(), "SCHED_FIFO 50");
    assert!(task("child").template && task("child").attr.reset_on_fork);
    assert_eq!(
        &loaded.sources.main()[task("burn").origin.start..task("burn").origin.end],
        "\"burn\""
    );
}

#[test]
fn a_program_loops_for_ever_unless_it_says_how_often() {
    let forever = read("[[task]]\nname = \"a\"\nprogram = [{ run = \"1ms\" }]\n");
    assert_eq!(ops(&forever, "a")[0], "LoopBegin { count: None, end: 2 }");
    let once = read("[[task]]\nname = \"a\"\nloop = 1\nprogram = [{ run = \"1ms\" }]\n");
    assert_eq!(ops(&once, "a")[0], "LoopBegin { count: Some(1), end: 2 }");
}

#[test]
fn shorthands_become_plain_operations() {
    let hog = read("[[task]]\nname = \"a\"\nhog = true\n");
    assert!(matches!(hog.workload.programs[0].ops[..], [Op::RunForever]));
    let text =
        "[[task]]\nname = \"a\"\ncount = 2\nperiodic = { run = \"2ms\", period = \"10ms\" }\n";
    let periodic = read(text);
    let [_, Op::Run { work, mode }, Op::Timer { timer, period_ns, mode: grid }, _] =
        &periodic.workload.programs[0].ops[..]
    else {
        panic!("{:?}", periodic.workload.programs)
    };
    assert_eq!((work, *mode), (&Dist::Constant(2_000_000), Mode::User));
    assert_eq!((*timer, *period_ns, *grid), (0, 10_000_000, TimerMode::Absolute));
    let timers: Vec<(&str, bool)> =
        periodic.workload.timers.iter().map(|t| (t.name.as_str(), t.shared)).collect();
    assert_eq!(timers, [("a/periodic", false)], "each instance has its own");
}

#[test]
fn serve_alone_receives_before_and_replies_after() {
    let loaded = read(include_str!("fixtures/full.toml"));
    let ops = ops(&loaded, "worker-0");
    let served: Vec<&String> = ops
        .iter()
        .filter(|op| ["Receive", "Serve", "Reply"].iter().any(|word| op.starts_with(word)))
        .collect();
    assert_eq!(served, ["Receive(0)", "Serve", "Reply", "Receive(1)", "Serve", "Reply"]);
}

#[test]
fn set_keeps_what_it_does_not_name() {
    let ops = steps("{ run = \"1ms\" }, { set = { nice = 5 } }, { set = { slice = \"2ms\" } }");
    assert!(ops[1].contains("nice: Nice(5), slice_ns: None"), "{}", ops[1]);
    assert!(ops[2].contains("nice: Nice(5), slice_ns: Some(2000000)"), "{}", ops[2]);
}

#[test]
fn sync_signals_and_waits_and_loops_nest() {
    let ops = steps(
        "{ lock = \"m\" }, { sync = { condition = \"c\", mutex = \"m\" } }, { unlock = \"m\" }, \
         { loop = { count = 3, body = [{ run = \"1ms\", kernel = true }] } }",
    );
    assert_eq!(ops[0..4], ["Lock(0)", "Signal(0)", "Wait { condition: 0, mutex: 0 }", "Unlock(0)"]);
    assert_eq!(ops[4], "LoopBegin { count: Some(3), end: 7 }");
    assert_eq!(ops[5], "Run { work: Constant(1000000), mode: Kernel }");
    assert_eq!(ops[6], "LoopEnd { begin: 5 }");
}

#[test]
fn a_barrier_waits_for_every_task_that_goes_there() {
    let text = "[[task]]\nname = \"a\"\ncount = 3\nprogram = [{ run = \"1ms\" }, { barrier = \"b\" }]\n\
                [[task]]\nname = \"c\"\nprogram = [{ barrier = \"b\" }]\n";
    assert_eq!(read(text).workload.barriers[0].parties, 4);
}

#[test]
fn resume_reaches_every_instance_or_the_one_that_is_named() {
    let text = "[[task]]\nname = \"w\"\ncount = 2\nprogram = [{ suspend = true }]\n\
                [[task]]\nname = \"all\"\nprogram = [{ sleep = \"1ms\" }, { resume = \"w\" }]\n\
                [[task]]\nname = \"one\"\nprogram = [{ sleep = \"1ms\" }, { resume = \"w-1\" }]\n";
    let loaded = read(text);
    assert_eq!(ops(&loaded, "all")[2..4], ["Resume(0)", "Resume(1)"]);
    assert_eq!(ops(&loaded, "one")[2..3], ["Resume(1)"]);
}

#[test]
fn assignments_change_the_machine_and_the_tasks() {
    let mut loaded = read(include_str!("fixtures/full.toml"));
    for assignment in [
        "hz=1000",
        "cpus=2",
        "kernel=6.6",
        "features=NO_PLACE_LAG",
        "base_slice=0.7ms",
        "costs.context_switch=0",
        "preemption=lazy",
        "task/worker.nice=5",
        "task/worker-1.nice=7",
        "task/burn.policy=fifo",
        "task/burn.priority=50",
        "task/burn.cpus=0-1",
        "task/trainer.slice=0.5ms",
        "task/trainer.policy=rr:3",
    ] {
        apply_set(&mut loaded, assignment).unwrap_or_else(|e| panic!("{assignment}: {e}"));
    }
    let settings = &loaded.settings;
    assert_eq!((settings.hz, settings.cpus), (Some(1000), Some(2)));
    assert_eq!(settings.kernel.as_deref(), Some("6.6"));
    assert_eq!(settings.features.last().map(String::as_str), Some("NO_PLACE_LAG"));
    assert_eq!(settings.costs.context_switch_ns, Some(0));
    assert_eq!(settings.preemption, Some(Preemption::Lazy));
    let tasks = &loaded.workload.tasks;
    assert_eq!((tasks[0].attr.nice.get(), tasks[1].attr.nice.get()), (5, 7));
    assert_eq!(tasks[7].attr.policy.to_string(), "SCHED_FIFO 50");
    assert_eq!(tasks[7].affinity.to_string(), "0-1");
    assert_eq!(tasks[2].attr.policy.to_string(), "SCHED_RR 3");
}

#[test]
fn assignments_reach_what_real_time_tasks_have() {
    let text = "[[task]]\nname = \"a\"\nprogram = [{ lock = \"m\" }, { run = \"1ms\" }, \
                { unlock = \"m\" }, { timer = { period = \"5ms\" } }]\n";
    let mut loaded = read(text);
    for assignment in [
        "task/a.policy=deadline:1ms/4ms/5ms",
        "task/a.reclaim=true",
        "task/a.policy=deadline:2ms/5ms",
        "task/a.dl_overrun=true",
        "task/a.rttime=200ms",
        "mutex/m.priority_inheritance=true",
    ] {
        apply_set(&mut loaded, assignment).unwrap_or_else(|e| panic!("{assignment}: {e}"));
    }
    let task = &loaded.workload.tasks[0];
    let Policy::Deadline(params) = task.attr.policy else { panic!("{:?}", task.attr.policy) };
    assert_eq!((params.runtime_ns, params.deadline_ns, params.period_ns), (2 * MS, 5 * MS, 5 * MS));
    assert!(params.reclaim && params.overrun_signal);
    assert_eq!(task.rttime.map(|limit| (limit.soft_us, limit.hard_us)), Some((200_000, 200_000)));
    assert!(loaded.workload.mutexes[0].inherits);
    for (assignment, message) in [
        ("task/a.policy=deadline:6ms/5ms", "EINVAL"),
        ("task/a.policy=deadline:6ms", "RUNTIME/PERIOD"),
        ("task/a.reclaim=yes", "true, false"),
        ("mutex/n.priority_inheritance=true", "no mutex `n`"),
        ("mutex/m.colour=true", "add .priority_inheritance"),
    ] {
        let error = apply_set(&mut loaded, assignment).unwrap_err();
        assert!(error.contains(message), "{assignment}: {error}");
    }
}

#[test]
fn a_bad_assignment_says_what_is_allowed_and_changes_nothing() {
    let mut loaded = read(include_str!("fixtures/full.toml"));
    for (assignment, message) in [
        ("hzz=1000", "did you mean `hz`?"),
        ("nothing_like_it=1", "task/NAME.nice"),
        ("hz", "not of the form key=value"),
        ("cpus=0", "allowed: 1 to 8192"),
        ("kernel=5.4", "6.1, 6.6"),
        ("base_slice=3", "has no unit"),
        ("task/burn.nice=25", "allowed: -20 to 19"),
        ("task/burn.priority=5", "set policy=fifo first"),
        ("task/burnn.nice=5", "did you mean `burn`?"),
        ("task/burn.colour=5", "tasks have no `colour`"),
        ("task/burn=1", "says nothing to set"),
        ("features=NO_SUCH_THING", "no kernel has"),
    ] {
        let before = format!("{:?}{:?}", loaded.settings, loaded.workload);
        let error = apply_set(&mut loaded, assignment).unwrap_err();
        assert!(error.contains(message), "{assignment}: {error}");
        assert_eq!(before, format!("{:?}{:?}", loaded.settings, loaded.workload));
    }
    assert!(set_keys().iter().any(|key| key == "costs.tick"));
}

#[test]
fn what_the_machine_lacks_is_found_when_it_is_known() {
    let loaded = read(include_str!("fixtures/full.toml"));
    let kernel = |name| Profile::named(name).unwrap();
    assert_eq!(check_against_machine(&loaded, 4, &kernel("6.12")), []);
    let small = check_against_machine(&loaded, 2, &kernel("6.12"));
    let messages: Vec<&str> = small.iter().map(|d| d.message.as_str()).collect();
    let wanted = [
        "task `trainer` may run on CPUs 2-3, but there is no CPU 2: the machine has 2",
        "CPUs 2 are asked for, but there is no CPU 2: the machine has 2",
    ];
    assert_eq!(messages, wanted);
    assert_eq!(small[0].help.as_deref(), Some("name CPUs 0 to 1, or set `cpus` to 3"));
    let old = check_against_machine(&loaded, 4, &kernel("6.6"));
    assert!(
        old.iter().any(|d| d.message == "kernel 6.6 ignores slices of single tasks"),
        "{old:?}"
    );
    let cfs = check_against_machine(&loaded, 4, &kernel("6.1"));
    assert!(cfs.iter().any(|d| d.message.contains("no feature of this kernel")), "{cfs:?}");
}
