use super::Line;
use crate::event::{Kind, SleepState, SwitchState, TimerFunction, Value};

fn event(line: &str) -> (Kind, crate::Event) {
    match Line::parse(line) {
        Line::Event { event, unexpected: None } => (event.kind.clone(), event),
        other => panic!("{other:?}"),
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
    let state = |text| super::state_of(text).unwrap();
    assert_eq!(state("R"), SwitchState::Runnable);
    assert_eq!(state("R+"), SwitchState::Preempted);
    assert_eq!(state("S"), SwitchState::Asleep(SleepState::Waiting));
    assert_eq!(state("D|P"), SwitchState::Asleep(SleepState::Stopped));
    assert_eq!(state("Z"), SwitchState::Dead);
    assert_eq!(super::state_of("Q"), None);
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
    assert_eq!(Line::parse("nonsense"), Line::Malformed);
    assert_eq!(Line::parse(" a-1 [000] d..2. 42: sched_wakeup: comm=a"), Line::Malformed);
    assert_eq!(Line::parse("CPU:1 [LOST 12 EVENTS]"), Line::Lost { cpu: 1, count: Some(12) });
    assert_eq!(Line::parse("CPU:1 [LOST EVENTS]"), Line::Lost { cpu: 1, count: None });
    assert_eq!(
        Line::parse("# entries-in-buffer/entries-written: 3/5   #P:1"),
        Line::Head { lost: 2 }
    );
    let line = Line::parse(" a-1 [000] d... 5.0: sched_switch: prev_comm=a prev_p");
    assert!(matches!(line, Line::Event { unexpected: Some(name), .. } if name == "sched_switch"));
}
