//! A row for each event.

use slicewise_analysis::Threads;
use slicewise_ftrace::{Event, Kind, TaskRef, TimerFunction, Value};

use super::{Cell, Column, number, text};
use crate::names::{event_name, hex, state_text, timer_name};

pub(super) const COLUMNS: [Column; 27] = [
    number("time_ns"),
    number("cpu"),
    text("event"),
    number("current_pid"),
    number("current_tgid"),
    number("in_interrupt"),
    number("need_resched"),
    number("pid"),
    number("tgid"),
    text("comm"),
    number("prio"),
    text("prev_state"),
    number("next_pid"),
    text("next_comm"),
    number("next_prio"),
    number("target_cpu"),
    number("orig_cpu"),
    number("dest_cpu"),
    number("runtime_ns"),
    number("vruntime_ns"),
    number("new_prio"),
    number("child_pid"),
    number("child_tgid"),
    text("child_comm"),
    number("old_pid"),
    number("lost"),
    text("fields"),
];

const PID: usize = 7;
const TGID: usize = 8;
const COMM: usize = 9;
const PRIO: usize = 10;
const PREV_STATE: usize = 11;
const NEXT_PID: usize = 12;
const NEXT_COMM: usize = 13;
const NEXT_PRIO: usize = 14;
const TARGET_CPU: usize = 15;
const ORIG_CPU: usize = 16;
const DEST_CPU: usize = 17;
const RUNTIME_NS: usize = 18;
const VRUNTIME_NS: usize = 19;
const NEW_PRIO: usize = 20;
const CHILD_PID: usize = 21;
const CHILD_TGID: usize = 22;
const CHILD_COMM: usize = 23;
const OLD_PID: usize = 24;
const LOST: usize = 25;
const FIELDS: usize = 26;

type Row<'a> = [Cell<'a>; COLUMNS.len()];

pub(super) fn row<'a>(threads: &Threads, event: &'a Event) -> Row<'a> {
    let mut row = [const { Cell::Null }; COLUMNS.len()];
    row[0] = event.time_ns.into();
    row[1] = event.cpu.into();
    row[2] = event_name(&event.kind).into();
    row[3] = event.pid.into();
    row[4] = event.tgid.into();
    row[5] = event.in_interrupt.into();
    row[6] = event.need_resched.into();
    let about = |row: &mut Row<'_>, task: &TaskRef| {
        row[PID] = task.pid.into();
        row[COMM] = task.comm.to_text().into();
        row[PRIO] = task.prio.into();
    };
    match &event.kind {
        Kind::Switch(switch) => {
            about(&mut row, &switch.prev);
            row[PREV_STATE] = state_text(switch).into();
            row[NEXT_PID] = switch.next.pid.into();
            row[NEXT_COMM] = switch.next.comm.to_text().into();
            row[NEXT_PRIO] = switch.next.prio.into();
        }
        Kind::Wakeup(wakeup) | Kind::WakeupNew(wakeup) | Kind::Waking(wakeup) => {
            about(&mut row, &wakeup.task);
            row[TARGET_CPU] = wakeup.target_cpu.into();
        }
        Kind::Fork(fork) => {
            row[PID] = fork.parent.into();
            row[CHILD_PID] = fork.child.into();
            row[CHILD_COMM] = fork.child_comm.to_text().into();
        }
        Kind::Exec(exec) => {
            row[PID] = exec.pid.into();
            row[OLD_PID] = exec.old_pid.into();
        }
        Kind::Exit(exit) => about(&mut row, &exit.task),
        Kind::Migrate(migrate) => {
            about(&mut row, &migrate.task);
            row[ORIG_CPU] = migrate.from.into();
            row[DEST_CPU] = migrate.to.into();
        }
        Kind::StatRuntime(stat) => {
            row[PID] = stat.pid.into();
            row[COMM] = stat.comm.to_text().into();
            row[RUNTIME_NS] = stat.runtime_ns.into();
            row[VRUNTIME_NS] = stat.vruntime_ns.into();
        }
        Kind::PiSetprio(pi) => {
            row[PID] = pi.pid.into();
            row[COMM] = pi.comm.to_text().into();
            row[PRIO] = pi.old_prio.into();
            row[NEW_PRIO] = pi.new_prio.into();
        }
        Kind::HrtimerExpire(expire) => {
            if expire.function != TimerFunction::Other {
                let name = timer_name(expire.function);
                row[FIELDS] = format!("{{\"function\":\"{name}\"}}").into();
            }
        }
        Kind::Named(named) => {
            row[PID] = named.pid.into();
            row[TGID] = named.tgid.into();
            row[COMM] = named.comm.to_text().into();
        }
        Kind::Cloned(cloned) => {
            row[PID] = cloned.parent.into();
            row[TGID] = cloned.parent_tgid.into();
            row[CHILD_PID] = cloned.pid.into();
            row[CHILD_TGID] = cloned.tgid.into();
        }
        Kind::Gone(gone) => {
            row[PID] = gone.pid.into();
            row[TGID] = gone.tgid.into();
        }
        Kind::Lost(count) => row[LOST] = (*count).into(),
        Kind::Other(other) => row[FIELDS] = json(&other.fields).into(),
    }
    if let (Cell::Number(pid), Cell::Null) = (&row[PID], &row[TGID]) {
        row[TGID] = process(threads, *pid).into();
    }
    row
}

/// The process of a task as far as it is known.
fn process(threads: &Threads, pid: i64) -> Option<i32> {
    let task = threads.get(i32::try_from(pid).ok()?)?;
    Some(threads[task].tgid).filter(|tgid| *tgid > 0)
}

/// The fields of an event without a type of its own as a JSON object, in their order.
fn json(fields: &[(std::sync::Arc<str>, Value)]) -> String {
    let mut text = String::from("{");
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&quoted(name));
        text.push(':');
        match value {
            Value::Signed(number) => text.push_str(&number.to_string()),
            Value::Unsigned(number) => text.push_str(&number.to_string()),
            Value::Text(value) => text.push_str(&quoted(value)),
            Value::Bytes(bytes) => text.push_str(&quoted(&hex(bytes))),
        }
    }
    text.push('}');
    text
}

fn quoted(text: &str) -> String {
    // Text has no way not to be JSON.
    serde_json::to_string(text).unwrap_or_default()
}
