use super::{Line, Lines};
use crate::event::{Kind, SleepState, SwitchState, TimerFunction, Value};
use crate::text::fields::state_of;
use crate::text::head::Dialect;

fn parse(line: &str) -> Line {
    Lines::default().parse(line.as_bytes())
}

fn event(line: &str) -> (Kind, crate::Event) {
    match parse(line) {
        Line::Event { event, unexpected: None, .. } => (event.kind.clone(), event),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_switch_has_its_states_and_tasks() {
    let (kind, event) = event(
        "          rt-app-108     [003] d.h2.     3.825368: sched_switch: prev_comm=rt-app \
         prev_pid=108 prev_prio=120 prev_state=R+ ==> next_comm=a [000] b next_pid=9 next_prio=49",
    );
    assert_eq!((event.time_ns, event.cpu), (3_825_368_000, 3));
    assert_eq!((event.pid, event.in_interrupt), (Some(108), Some(true)));
    let Kind::Switch(switch) = kind else { panic!("{kind:?}") };
    assert_eq!(switch.prev_state, SwitchState::Preempted);
    assert_eq!((switch.prev.pid, switch.next.pid, switch.next.prio), (108, 9, 49));
    assert_eq!(switch.next.comm.to_text(), "a [000] b");
}

#[test]
fn a_task_may_be_called_like_a_trace() {
    let (kind, event) = event(
        "x [001] y-7     [000] d..2.     1.5: sched_wakeup: comm=a pid=2 pid=3 prio=1 target_cpu=000",
    );
    assert_eq!((event.cpu, event.time_ns, event.pid), (0, 1_500_000_000, Some(7)));
    let Kind::Wakeup(wakeup) = kind else { panic!("{kind:?}") };
    assert_eq!(wakeup.task.pid, 3);
}

#[test]
fn states_are_read_from_their_letters() {
    let state = |text: &str| state_of(text.as_bytes()).unwrap().0;
    assert_eq!(state("R"), SwitchState::Runnable);
    assert_eq!(state("R+"), SwitchState::Preempted);
    assert_eq!(state("S"), SwitchState::Asleep(SleepState::Waiting));
    assert_eq!(state("D|P"), SwitchState::Asleep(SleepState::Stopped));
    assert_eq!(state("Z"), SwitchState::Dead);
    assert_eq!(state_of(b"Q"), None);
    // As a number, where fields are printed as they are.
    assert_eq!(state("256"), SwitchState::Preempted);
    assert_eq!(state("0x80"), SwitchState::Asleep(SleepState::Waiting));
}

#[test]
fn every_event_of_interest_is_read() {
    let line = |rest: &str| format!(" a-1 [000] d..2. 1.000001: {rest}");
    let kind = |rest: &str| event(&line(rest)).0;
    assert!(matches!(
        kind("sched_stat_runtime: comm=h pid=7 runtime=42 [ns] vruntime=99 [ns]"),
        Kind::StatRuntime(s) if (s.pid, s.runtime_ns, s.vruntime_ns) == (7, 42, Some(99))
    ));
    assert!(matches!(
        kind("sched_stat_runtime: comm=h pid=7 runtime=42 [ns]"),
        Kind::StatRuntime(s) if s.vruntime_ns.is_none()
    ));
    assert!(matches!(
        kind("sched_process_exit: comm=h pid=7 prio=120 group_dead=true"),
        Kind::Exit(exit) if exit.task.pid == 7
    ));
    assert!(matches!(
        kind("sched_process_fork: comm=a b pid=7 child_comm=a b child_pid=8"),
        Kind::Fork(fork) if (fork.parent, fork.child) == (7, 8)
    ));
    assert!(matches!(
        kind("sched_process_exec: filename=/bin/a pid=7 old_pid=7"),
        Kind::Exec(exec) if exec.pid == 7
    ));
    assert!(matches!(
        kind("sched_migrate_task: comm=a pid=7 prio=120 orig_cpu=0 dest_cpu=1"),
        Kind::Migrate(migrate) if (migrate.from, migrate.to) == (0, 1)
    ));
    assert!(matches!(
        kind("sched_pi_setprio: comm=a pid=7 oldprio=120 newprio=49"),
        Kind::PiSetprio(pi) if (pi.old_prio, pi.new_prio) == (120, 49)
    ));
    assert!(matches!(
        kind("hrtimer_expire_entry: hrtimer=0000 function=tick_nohz_handler now=12"),
        Kind::HrtimerExpire(timer) if timer.function == TimerFunction::Tick
    ));
    let Kind::Other(other) = kind("put: (put_prev_task_fair+0x4/0x60) pid=7 vr=-5 fl=0x10") else {
        panic!("a probe");
    };
    assert_eq!(other.field("vr"), Some(&Value::Signed(-5)));
    assert_eq!(other.field("fl"), Some(&Value::Unsigned(16)));
}

#[test]
fn what_is_not_understood_is_not_an_event() {
    assert_eq!(parse("nonsense"), Line::Malformed);
    assert_eq!(parse(" a-1 [000] d..2. 42: sched_wakeup: comm=a"), Line::Malformed);
    assert_eq!(parse("CPU:1 [LOST 12 EVENTS]"), Line::Lost { cpu: 1, count: Some(12) });
    assert_eq!(parse("CPU:1 [LOST EVENTS]"), Line::Lost { cpu: 1, count: None });
    assert_eq!(parse("# entries-in-buffer/entries-written: 3/5   #P:1"), Line::Head { lost: 2 });
    let line = parse(" a-1 [000] d... 5.0: sched_switch: prev_comm=a prev_p");
    assert!(matches!(line, Line::Event { unexpected: Some(name), .. } if name == "sched_switch"));
}

#[test]
fn the_same_switch_is_read_in_every_layout() {
    let kernel = "prev_comm=a b prev_pid=7 prev_prio=120 prev_state=S ==> next_comm=c:1 next_pid=8 \
                  next_prio=49";
    let plain = "prev_comm=a b prev_pid=7 prev_prio=120 prev_state=1 next_comm=c:1 next_pid=8 \
                 next_prio=49";
    let plugin = "a b:7 [120] S ==> c:1:8 [49]";
    let lines = [
        format!("  a b-7     [001] d..2.   3.250000: sched_switch: {kernel}"),
        format!("  a b-7     (   5) [001]   3.250000: sched_switch: {kernel}"),
        format!("  a b-7     [001]     3.250000: sched_switch:         {plugin}"),
        format!("  a b-7     [001]     3.250000000: sched_switch:         {plain}"),
        format!("  a b-7       1d..2.    3.250000: sched_switch:         {plugin}"),
        format!("    a b     7 [001]     3.250000:       sched:sched_switch: {kernel}"),
        format!("    a b   5/7 [001]     3.250000000:       sched:sched_switch: {plugin}"),
        format!("    a b     7 [001]     3.250000:          1   sched:sched_switch: {kernel}"),
        format!("    a b     7   1     3.250000:       sched:sched_switch: {kernel}"),
    ];
    for line in &lines {
        let (kind, event) = event(line);
        assert_eq!((event.time_ns, event.cpu, event.pid), (3_250_000_000, 1, Some(7)), "{line}");
        let Kind::Switch(switch) = kind else { panic!("{line}: {kind:?}") };
        assert_eq!((switch.prev.pid, switch.prev.prio), (7, 120), "{line}");
        assert_eq!((switch.next.pid, switch.next.prio), (8, 49), "{line}");
        let names = (switch.prev.comm.to_text(), switch.next.comm.to_text());
        assert_eq!(names, ("a b".to_owned(), "c:1".to_owned()), "{line}");
        assert_eq!(switch.prev_state, SwitchState::Asleep(SleepState::Waiting), "{line}");
        assert_eq!(
            event.tgid,
            line.contains("5/7").then_some(5).or(line.contains("(   5)").then_some(5))
        );
        assert_eq!(event.in_interrupt, line.contains("d..2.").then_some(false), "{line}");
    }
}

#[test]
fn the_same_wakeup_is_read_in_every_layout() {
    for fields in [
        "comm=a:b pid=7 prio=120 target_cpu=003",
        "comm=a:b pid=7 prio=120 success=1 target_cpu=003",
        "a:b:7 [120] CPU:003",
        "a:b:7 [120] success=1 CPU:003",
        "a:b:7 [120]<CANT FIND FIELD success> CPU:003",
    ] {
        let (kind, _) = event(&format!(" x-1 [000] 1.000001: sched_wakeup: {fields}"));
        let Kind::Wakeup(wakeup) = kind else { panic!("{fields}: {kind:?}") };
        assert_eq!((wakeup.task.pid, wakeup.task.prio, wakeup.target_cpu), (7, 120, 3));
        assert_eq!(wakeup.task.comm.to_text(), "a:b");
    }
}

#[test]
fn letters_of_the_plugin_are_those_of_old_kernels_unless_it_shows_new_ones() {
    let letters = |lines: &mut Lines, letter: &str| {
        let line =
            format!(" x-1 [000]     1.000001: sched_switch:    a:1 [120] {letter} ==> b:2 [120]");
        match lines.parse(line.as_bytes()) {
            Line::Event { event: crate::Event { kind: Kind::Switch(switch), .. }, .. } => {
                (switch.prev_letter, switch.prev_state)
            }
            other => panic!("{line}: {other:?}"),
        }
    };
    let waiting = SwitchState::Asleep(SleepState::Waiting);
    let mut lines = Lines::default();
    assert_eq!(letters(&mut lines, "W"), (b'I', waiting));
    assert_eq!(letters(&mut lines, "x"), (b'P', SwitchState::Asleep(SleepState::Stopped)));
    assert_eq!(letters(&mut lines, "X"), (b'Z', SwitchState::Dead));
    let mut lines = Lines::default();
    assert_eq!(letters(&mut lines, "I"), (b'I', waiting));
    assert_eq!(letters(&mut lines, "X"), (b'X', SwitchState::Dead));
    assert_eq!(letters(&mut lines, "p"), (b'R', SwitchState::Preempted));
}

#[test]
fn fields_as_they_are_in_the_record_are_read() {
    let line = |rest: &str| format!(" a-1 [000] 1.000001: {rest}");
    let kind = |rest: &str| event(&line(rest)).0;
    assert!(matches!(
        kind("sched_process_fork:   parent_comm=a b parent_pid=7 child_comm=a b child_pid=8"),
        Kind::Fork(fork) if (fork.parent, fork.child) == (7, 8)
    ));
    assert!(matches!(
        kind("sched_stat_runtime:    comm=h pid=7 runtime=42 vruntime=99"),
        Kind::StatRuntime(s) if (s.runtime_ns, s.vruntime_ns) == (42, Some(99))
    ));
}

#[test]
fn what_perf_says_of_tasks_is_read() {
    let line = |rest: &str| format!("     a b     7 [001]     0.000000: {rest}");
    let kind = |rest: &str| event(&line(rest)).0;
    assert!(matches!(
        kind("PERF_RECORD_COMM: a:b:10/12"),
        Kind::Named(n) if (n.tgid, n.pid, n.comm.to_text().as_str(), n.is_exec) == (10, 12, "a:b", false)
    ));
    assert!(matches!(kind("PERF_RECORD_COMM exec: a:10/12"), Kind::Named(n) if n.is_exec));
    assert!(matches!(
        kind("PERF_RECORD_FORK(10:12):(1:2)"),
        Kind::Cloned(c) if (c.tgid, c.pid, c.parent_tgid, c.parent) == (10, 12, 1, 2)
    ));
    assert_eq!(kind("PERF_RECORD_LOST lost 9"), Kind::Lost(Some(9)));
    assert!(matches!(
        kind("PERF_RECORD_EXIT(10:12):(1:2)"),
        Kind::Gone(gone) if (gone.tgid, gone.pid) == (10, 12)
    ));
}

#[test]
fn what_goes_with_events_is_no_event_and_no_damage() {
    for line in [
        "",
        "# TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION",
        "\tffffffff81a0 schedule+0x10 ([kernel.kallsyms])",
        " => schedule",
        "  perf   7 [001]  1.500000:     250000 cycles:P:  ffffffff81a0 f ([kernel])",
        "  perf   7 [001]  1.500000:     250000    cpu-clock:  ffffffff81a0 f ([kernel])",
        "  perf   7 [001]  1.500000: PERF_RECORD_MMAP2 7/7: [0x1(0x2) @ 0 0:1 2 3]: r-xp /bin/a",
    ] {
        assert_eq!(parse(line), Line::Nothing, "{line}");
    }
    for line in ["cpus=2", "version = 7", "CPU 1 is empty"] {
        assert_eq!(parse(line), Line::Begin(Some(Dialect::TraceCmd)), "{line}");
    }
    let dropped = |count| Line::Lost { cpu: 1, count };
    assert_eq!(parse("CPU:1 [EVENTS DROPPED]"), dropped(None));
    assert_eq!(parse("CPU:1 [12 EVENTS DROPPED]"), dropped(Some(12)));
}

#[test]
fn names_are_kept_as_they_are_even_if_they_are_no_text() {
    let line = b"  a-1 [000] d..2. 3.25: sched_wakeup: comm=\xff\xfe pid=2 prio=120 target_cpu=000";
    let Line::Event { event, .. } = Lines::default().parse(line) else { panic!("an event") };
    let Kind::Wakeup(wakeup) = event.kind else { panic!("a wakeup") };
    assert_eq!(wakeup.task.comm.as_bytes(), b"\xff\xfe");
}
