//! What rt-app files become.

#![allow(clippy::unwrap_used, reason = "a test may")]

use slicewise_sched::Policy;
use slicewise_workload::{Format, Loaded, load};

fn read(text: &str) -> Loaded {
    load(text, Format::Auto).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

fn threads(inside: &str) -> Loaded {
    read(&format!("{{\"tasks\": {{{inside}}}}}"))
}

fn ops(loaded: &Loaded, task: &str) -> Vec<String> {
    let task = loaded.workload.tasks.iter().find(|t| t.name == task).unwrap();
    let program = &loaded.workload.programs[task.program as usize];
    program.ops.iter().map(|op| format!("{op:?}")).collect()
}

fn warnings(loaded: &Loaded) -> Vec<&str> {
    loaded.warnings.iter().map(|d| d.message.as_str()).collect()
}

#[test]
fn global_becomes_settings() {
    let loaded = read(include_str!("fixtures/events.json"));
    assert_eq!(loaded.settings.duration_ns, Some(2_000_000_000));
    assert_eq!(loaded.settings.log_dir.as_deref(), Some("./logs"));
    assert_eq!(loaded.settings.log_basename.as_deref(), Some("mix"));
    assert!(loaded.settings.cumulative_slack);
    assert!(loaded.workload.stuck_is_end);
    let endless = read("{\"tasks\":{\"a\":{\"run\":1}},\"global\":{\"duration\":-1}}");
    assert_eq!(endless.settings.duration_ns, None);
}

#[test]
fn instances_count_across_threads_as_in_the_log() {
    let loaded = read(include_str!("fixtures/events.json"));
    let list: Vec<(&str, u32)> =
        loaded.workload.tasks.iter().map(|task| (task.name.as_str(), task.index)).collect();
    let wanted = [("ticker-0", 0), ("ticker-1", 1), ("waiter", 2), ("waker", 3), ("pair1", 4)];
    assert_eq!(list[..5], wanted);
}

#[test]
fn repeated_keys_are_all_kept_in_their_order() {
    let loaded = threads(r#""a": {"run": 1, "sleep": 2, "run": 3, "run9": 4, "runtime": 5}"#);
    assert_eq!(
        ops(&loaded, "a")[2..8],
        [
            "LogBegin",
            "Run { work: Constant(1000), mode: User }",
            "Sleep { duration: Constant(2000) }",
            "Run { work: Constant(3000), mode: User }",
            "Run { work: Constant(4000), mode: User }",
            "RunUntil { elapsed: Constant(5000) }",
        ]
    );
}

#[test]
fn a_thread_with_phases_loops_over_them_and_a_phase_over_its_events() {
    let loaded =
        threads(r#""a": {"loop": 2, "phases": {"p": {"loop": 3, "run": 1}, "q": {"run": 2}}}"#);
    let ops = ops(&loaded, "a");
    assert_eq!(ops[0], "LoopBegin { count: Some(2), end: 11 }");
    assert_eq!(ops[1], "LoopBegin { count: Some(3), end: 5 }");
    assert_eq!(ops[6], "LoopBegin { count: Some(1), end: 10 }");
    assert_eq!(warnings(&loaded), [""; 0]);
}

#[test]
fn a_thread_without_phases_starts_over_for_ever_as_in_rt_app_1_0() {
    let loaded = threads(r#""a": {"loop": 3, "run": 1}"#);
    assert_eq!(
        ops(&loaded, "a")[..2],
        ["LoopBegin { count: None, end: 6 }", "LoopBegin { count: Some(3), end: 5 }"]
    );
    assert!(warnings(&loaded)[0].contains("for ever, whatever its `loop`"));
}

#[test]
fn a_timer_is_one_for_all_unless_unique_and_absolute_for_all_its_events() {
    let loaded = threads(
        r#""a": {"instance": 2, "run": 1, "timer": {"ref": "unique", "period": 10}},
           "b": {"run": 1, "timer": {"ref": "t", "period": 10}},
           "c": {"run": 1, "timer": {"ref": "t", "period": 20, "mode": "absolute"}}"#,
    );
    let timers: Vec<(&str, bool)> =
        loaded.workload.timers.iter().map(|t| (t.name.as_str(), t.shared)).collect();
    assert_eq!(timers, [("t", true), ("a/unique", false)]);
    assert_eq!(ops(&loaded, "a-1")[4], "Timer { timer: 1, period_ns: 10000, mode: Relative }");
    assert_eq!(ops(&loaded, "b")[4], "Timer { timer: 0, period_ns: 10000, mode: Absolute }");
}

#[test]
fn suspend_waits_for_its_name_which_is_the_threads_own_if_none_is_given() {
    let plain = read(include_str!("fixtures/pingpong.json"));
    assert_eq!(ops(&plain, "left")[3..6][1..], ["Resume(1)", "Suspend"]);
    let bare = threads(r#""a": {"suspend", "run": 1}, "b": {"sleep": 1, "resume": "a"}"#);
    assert_eq!(ops(&bare, "a")[3], "Suspend");
    assert_eq!(ops(&bare, "b")[4], "Resume(0)");
    // One name for several threads: all of them are resumed.
    let shared = threads(
        r#""a": {"suspend": "x", "run": 1}, "b": {"suspend": "x", "run": 1},
           "c": {"sleep": 1, "resume": "x"}"#,
    );
    assert_eq!(ops(&shared, "c")[4..6], ["Resume(0)", "Resume(1)"]);
}

#[test]
fn a_thread_that_suspends_on_several_names_waits_on_conditions() {
    let loaded = threads(
        r#""a": {"suspend": "x", "suspend": "y", "run": 1},
           "b": {"sleep": 1, "resume": "x", "resume": "y"}"#,
    );
    assert_eq!(
        ops(&loaded, "a")[3..6],
        ["Lock(0)", "Wait { condition: 0, mutex: 0 }", "Unlock(0)"]
    );
    assert_eq!(ops(&loaded, "b")[4..7], ["Lock(0)", "Broadcast(0)", "Unlock(0)"]);
}

#[test]
fn what_never_comes_is_only_a_warning_because_the_duration_ends_it() {
    let loaded = threads(r#""a": {"suspend": "x", "run": 1}, "b": {"sleep": 1, "resume": "z"}"#);
    let warnings = warnings(&loaded);
    assert!(warnings.iter().any(|w| w.contains("no other task ever resumes `a`")), "{warnings:?}");
    assert!(warnings.iter().any(|w| w.contains("nobody suspends on `z`")), "{warnings:?}");
}

#[test]
fn policies_have_rt_apps_defaults() {
    let loaded = read(
        r#"{"tasks": {"a": {"run": 1}, "b": {"run": 1, "policy": "SCHED_OTHER", "priority": -5},
            "c": {"run": 1, "priority": 7}, "d": {"run": 1, "policy": "SCHED_BATCH"}},
            "global": {"default_policy": "SCHED_FIFO"}}"#,
    );
    let policy = |at: usize| loaded.workload.tasks[at].attr.policy.to_string();
    assert_eq!((policy(0), policy(1)), ("SCHED_FIFO 10".to_owned(), "SCHED_OTHER".to_owned()));
    assert_eq!(loaded.workload.tasks[1].attr.nice.get(), -5);
    assert_eq!((policy(2), policy(3)), ("SCHED_FIFO 7".to_owned(), "SCHED_BATCH".to_owned()));
}

#[test]
fn phases_may_change_cpus_and_policy() {
    let loaded = threads(
        r#""a": {"cpus": [2], "phases": {
            "p": {"cpus": [0], "run": 1}, "q": {"run": 1, "policy": "SCHED_RR", "priority": 9}}}"#,
    );
    let task = &loaded.workload.tasks[0];
    assert_eq!(task.affinity.to_string(), "0");
    assert_eq!(task.attr.policy, Policy::Normal);
    let ops = ops(&loaded, "a");
    let sets: Vec<&String> = ops.iter().filter(|op| op.starts_with("Set")).collect();
    assert_eq!(sets[..2], ["SetAffinity(Inline(1))", "SetAffinity(Inline(4))"]);
    assert!(sets[2].contains("Rr(RtPriority(9))"), "{sets:?}");
}

#[test]
fn a_barrier_counts_its_mentions_once_for_every_instance() {
    let loaded = threads(
        r#""a": {"instance": 3, "run": 1, "barrier": "B"}, "b": {"run": 1, "barrier": "B"}"#,
    );
    assert_eq!(loaded.workload.barriers[0].parties, 4);
}

#[test]
fn bytes_become_cpu_time_with_a_warning() {
    let loaded = threads(r#""a": {"mem": 1048576, "iorun": 10000000, "sleep": 1}"#);
    assert_eq!(
        ops(&loaded, "a")[3..5],
        [
            "Run { work: Constant(51200), mode: User }",
            // Three writes: the buffer has 4 MiB.
            "Run { work: Constant(1500), mode: Kernel }",
        ]
    );
    assert_eq!(warnings(&loaded).len(), 2);
}

#[test]
fn delay_moves_the_start_and_a_thread_without_instances_is_for_forks() {
    let loaded = threads(
        r#""a": {"delay": 500, "run": 1, "fork": "t", "fork": "a"}, "t": {"instance": 0, "run": 1}"#,
    );
    let tasks = &loaded.workload.tasks;
    assert_eq!(tasks[0].start_ns, 500_000);
    let list: Vec<(&str, bool)> = tasks.iter().map(|t| (t.name.as_str(), t.template)).collect();
    // A thread that starts by itself and is forked too has a template beside it.
    assert_eq!(list, [("a", false), ("t", true), ("a-fork", true)]);
    assert_eq!(ops(&loaded, "a")[4..6], ["Fork(1)", "Fork(2)"]);
}

#[test]
fn unknown_keys_are_warnings_with_the_key_that_was_meant() {
    let loaded = threads(r#""a": {"run": 1, "prioritty": 5}"#);
    assert_eq!(warnings(&loaded), ["unknown key `prioritty` in `a` is ignored"]);
    assert_eq!(loaded.warnings[0].help.as_deref(), Some("did you mean `priority`?"));
}

#[test]
fn comments_and_trailing_commas_are_fine() {
    let loaded = read("/* c */ {\"tasks\": {\"a\": {\"run\": 1, // x\n},},}");
    assert_eq!(loaded.workload.tasks.len(), 1);
}
