//! Events for tests.

use proptest::collection::vec;
use proptest::prelude::*;
use slicewise_ftrace::{
    Cloned, Comm, Event, Exec, Exit, Fork, Gone, HrtimerExpire, Kind, Migrate, Named, Other,
    PiSetprio, SleepState, StatRuntime, Switch, SwitchState, TaskRef, TimerFunction, Value, Wakeup,
};

fn event(time_ns: u64, cpu: u32, pid: Option<i32>, kind: Kind) -> Event {
    Event { time_ns, cpu, pid, tgid: None, in_interrupt: None, need_resched: None, kind }
}

/// A thread of `server` runs, named as `perf` notes it.
pub(crate) fn with_processes() -> Vec<Event> {
    let named = |pid, comm: &[u8]| Named { pid, tgid: 40, comm: Comm::new(comm), is_exec: false };
    let task = |pid, comm: &[u8]| TaskRef { pid, comm: Comm::new(comm), prio: 120 };
    let (idle, worker) = (task(0, b"swapper/0"), task(41, b"worker"));
    let switch = |prev, prev_letter, prev_state, next| {
        Kind::Switch(Switch { prev, prev_state, prev_letter, next })
    };
    let asleep = SwitchState::Asleep(SleepState::Waiting);
    vec![
        event(0, 0, None, Kind::Named(named(40, b"server"))),
        event(0, 0, None, Kind::Named(named(41, b"worker"))),
        event(1_000, 0, Some(0), switch(idle, b'R', SwitchState::Runnable, worker)),
        event(5_500, 0, Some(41), switch(worker, b'S', asleep, idle)),
    ]
}

/// Names that are awkward in texts.
fn plain_comm() -> BoxedStrategy<Comm> {
    let names = [
        "a",
        "b c",
        "x=y",
        "kworker/0:1-ev",
        "[000] a",
        "a [1] b",
        "é-7",
        "==>",
        "a: b",
        "\"q\",",
        "(9)",
    ];
    proptest::sample::select(names.to_vec()).prop_map(|name| Comm::new(name.as_bytes())).boxed()
}

fn any_comm() -> BoxedStrategy<Comm> {
    prop_oneof![plain_comm(), vec(any::<u8>(), 0..16).prop_map(|bytes| Comm::new(&bytes))].boxed()
}

fn task(comm: BoxedStrategy<Comm>) -> impl Strategy<Value = TaskRef> {
    (0..6_i32, comm, -1..140_i32).prop_map(|(pid, comm, prio)| TaskRef { pid, comm, prio })
}

fn state() -> impl Strategy<Value = (SwitchState, u8)> {
    let waiting = SwitchState::Asleep(SleepState::Waiting);
    let stopped = SwitchState::Asleep(SleepState::Stopped);
    proptest::sample::select(vec![
        (SwitchState::Runnable, b'R'),
        (SwitchState::Preempted, b'R'),
        (waiting, b'S'),
        (waiting, b'D'),
        (waiting, b'I'),
        (stopped, b'T'),
        (stopped, b't'),
        (stopped, b'P'),
        (SwitchState::Dead, b'X'),
        (SwitchState::Dead, b'Z'),
    ])
}

/// Kinds that have a tracepoint.
fn kind(comm: BoxedStrategy<Comm>) -> impl Strategy<Value = Kind> {
    let task = || task(comm.clone());
    let wakeup = || (task(), 0..4_u32).prop_map(|(task, target_cpu)| Wakeup { task, target_cpu });
    let timers = vec![TimerFunction::Tick, TimerFunction::HrTick, TimerFunction::Other];
    prop_oneof![
        4 => (task(), state(), task()).prop_map(|(prev, (prev_state, prev_letter), next)| {
            Kind::Switch(Switch { prev, prev_state, prev_letter, next })
        }),
        2 => wakeup().prop_map(Kind::Wakeup),
        1 => wakeup().prop_map(Kind::WakeupNew),
        2 => wakeup().prop_map(Kind::Waking),
        1 => (0..6_i32, 0..9_i32, comm.clone()).prop_map(|(parent, child, child_comm)| {
            Kind::Fork(Fork { parent, child, child_comm })
        }),
        1 => (0..6_i32, 0..6_i32).prop_map(|(pid, old_pid)| Kind::Exec(Exec { pid, old_pid })),
        1 => task().prop_map(|task| Kind::Exit(Exit { task })),
        1 => (task(), 0..4_u32, 0..4_u32)
            .prop_map(|(task, from, to)| Kind::Migrate(Migrate { task, from, to })),
        1 => (0..6_i32, comm.clone(), any::<u64>(), any::<Option<u64>>()).prop_map(
            |(pid, comm, runtime_ns, vruntime_ns)| {
                Kind::StatRuntime(StatRuntime { pid, comm, runtime_ns, vruntime_ns })
            }
        ),
        1 => (0..6_i32, comm, 0..140_i32, 0..140_i32).prop_map(|(pid, comm, old_prio, new_prio)| {
            Kind::PiSetprio(PiSetprio { pid, comm, old_prio, new_prio })
        }),
        1 => proptest::sample::select(timers)
            .prop_map(|function| Kind::HrtimerExpire(HrtimerExpire { function })),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Signed),
        any::<u64>().prop_map(Value::Unsigned),
        any::<String>().prop_map(Value::Text),
        vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
    ]
}

/// Kinds that texts have no way to tell.
fn rare_kind() -> impl Strategy<Value = Kind> {
    let other =
        (any::<String>(), vec((any::<String>(), value()), 0..4)).prop_map(|(name, fields)| {
            let fields = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
            Kind::Other(Other { system: "x".into(), name: name.into(), fields })
        });
    prop_oneof![
        other,
        (0..9_i32, 0..6_i32, any_comm(), any::<bool>()).prop_map(|(pid, tgid, comm, is_exec)| {
            Kind::Named(Named { pid, tgid, comm, is_exec })
        }),
        (0..9_i32, 0..6_i32, 0..6_i32, 0..6_i32).prop_map(|(pid, tgid, parent, parent_tgid)| {
            Kind::Cloned(Cloned { pid, tgid, parent, parent_tgid })
        }),
        (0..9_i32, 0..6_i32).prop_map(|(pid, tgid)| Kind::Gone(Gone { pid, tgid })),
        any::<Option<u64>>().prop_map(Kind::Lost),
    ]
}

/// Any events, in the order of time.
pub(crate) fn anything() -> impl Strategy<Value = Vec<Event>> {
    let kind = prop_oneof![4 => kind(any_comm()), 1 => rare_kind()];
    let flags = (proptest::option::of(0..6_i32), any::<Option<bool>>(), any::<Option<bool>>());
    vec((0..3_000_u64, 0..4_u32, flags, kind), 0..60).prop_map(|list| {
        let mut time_ns = 0;
        let one = |(gap_ns, cpu, (pid, in_interrupt, need_resched), kind)| {
            time_ns += gap_ns;
            Event { in_interrupt, need_resched, ..event(time_ns, cpu, pid, kind) }
        };
        list.into_iter().map(one).collect()
    })
}

/// Events that the text of tracefs has all of, in whole microseconds.
pub(crate) fn of_ftrace() -> impl Strategy<Value = Vec<Event>> {
    let flags = (
        proptest::option::of(0..6_i32),
        proptest::option::of(1..6_i32),
        any::<Option<(bool, bool)>>(),
    );
    vec((0..3_000_u64, 0..4_u32, flags, kind(plain_comm())), 0..60).prop_map(|list| {
        let mut time_us = 0;
        let one = |(gap_us, cpu, (pid, tgid, flags), kind): (_, _, (Option<i32>, _, _), _)| {
            time_us += gap_us;
            let (in_interrupt, need_resched) = Option::<(bool, bool)>::unzip(flags);
            // Such events tell it themselves.
            let pid = match &kind {
                Kind::Switch(switch) => Some(pid.unwrap_or(switch.prev.pid)),
                Kind::StatRuntime(stat) => Some(pid.unwrap_or(stat.pid)),
                Kind::Exit(exit) => Some(pid.unwrap_or(exit.task.pid)),
                _ => pid,
            };
            let event = event(time_us * 1_000, cpu, pid, kind);
            Event { tgid, in_interrupt, need_resched, ..event }
        };
        list.into_iter().map(one).collect()
    })
}
