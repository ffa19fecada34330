//! The kernel's names of events, states and timers.

use slicewise_ftrace::{Event, Kind, Switch, SwitchState, TimerFunction};

/// The task that ran. `perf` has −1 for those at their end; most events tell, too.
pub(crate) fn current_pid(event: &Event) -> Option<i32> {
    match (event.pid, &event.kind) {
        (Some(pid @ 0..), _) => Some(pid),
        (_, Kind::Switch(switch)) => Some(switch.prev.pid),
        (_, Kind::StatRuntime(stat)) => Some(stat.pid),
        (_, Kind::Exit(exit)) => Some(exit.task.pid),
        _ => None,
    }
}

/// The tracepoint; of what perf notes beside tracepoints, `perf_comm`, `perf_fork`, `perf_exit`, as perf's tools
/// call these records; `lost` for a gap.
pub(crate) fn event_name(kind: &Kind) -> &str {
    match kind {
        Kind::Switch(_) => "sched_switch",
        Kind::Wakeup(_) => "sched_wakeup",
        Kind::WakeupNew(_) => "sched_wakeup_new",
        Kind::Waking(_) => "sched_waking",
        Kind::Fork(_) => "sched_process_fork",
        Kind::Exec(_) => "sched_process_exec",
        Kind::Exit(_) => "sched_process_exit",
        Kind::Migrate(_) => "sched_migrate_task",
        Kind::StatRuntime(_) => "sched_stat_runtime",
        Kind::PiSetprio(_) => "sched_pi_setprio",
        Kind::HrtimerExpire(_) => "hrtimer_expire_entry",
        Kind::Named(_) => "perf_comm",
        Kind::Cloned(_) => "perf_fork",
        Kind::Gone(_) => "perf_exit",
        Kind::Lost(_) => "lost",
        Kind::Other(other) => &other.name,
    }
}

/// As tracefs prints how a task left: a letter, and `+` if it was preempted inside the kernel.
pub(crate) fn state_text(switch: &Switch) -> &'static str {
    let preempted = switch.prev_state == SwitchState::Preempted;
    match (switch.prev_letter, preempted) {
        (b'S', false) => "S",
        (b'D', false) => "D",
        (b'T', false) => "T",
        (b't', false) => "t",
        (b'X', false) => "X",
        (b'Z', false) => "Z",
        (b'P', false) => "P",
        (b'I', false) => "I",
        (b'S', true) => "S+",
        (b'D', true) => "D+",
        (b'T', true) => "T+",
        (b't', true) => "t+",
        (b'X', true) => "X+",
        (b'Z', true) => "Z+",
        (b'P', true) => "P+",
        (b'I', true) => "I+",
        (_, false) => "R",
        (_, true) => "R+",
    }
}

/// `prev_state` as kernels from 4.14 on record it: a bit for the letter, and one for preempted.
pub(crate) fn state_bits(switch: &Switch) -> i64 {
    let letter = match switch.prev_letter {
        b'S' => 0x01,
        b'D' => 0x02,
        b'T' => 0x04,
        b't' => 0x08,
        b'X' => 0x10,
        b'Z' => 0x20,
        b'P' => 0x40,
        b'I' => 0x80,
        _ => 0,
    };
    let preempted = switch.prev_state == SwitchState::Preempted;
    letter | if preempted { 0x100 } else { 0 }
}

/// The function of a timer; `?` for those whose name was not kept.
pub(crate) fn timer_name(function: TimerFunction) -> &'static str {
    match function {
        TimerFunction::Tick => "tick_nohz_handler",
        TimerFunction::HrTick => "hrtick",
        TimerFunction::Other => "?",
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
