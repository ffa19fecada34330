//! One line.

use std::sync::Arc;

use super::CPUS_MAX;
use crate::event::{
    Comm, Event, Exec, Exit, Fork, HrtimerExpire, Kind, Migrate, Other, PiSetprio, SleepState,
    StatRuntime, Switch, SwitchState, TaskRef, Value, Wakeup,
};
use crate::format::timer_function;

/// What a line is.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Line {
    /// A comment, or empty.
    Nothing,
    /// `# entries-in-buffer/entries-written: 1650/1700   #P:1`: events that were overwritten.
    Head { lost: u64 },
    /// `CPU:0 [LOST 123 EVENTS]`, or without a number.
    Lost { cpu: u32, count: Option<u64> },
    /// An event; with its name if it is known but has unexpected fields.
    Event { event: Event, unexpected: Option<String> },
    /// None of these.
    Malformed,
}

impl Line {
    pub(super) fn parse(line: &str) -> Self {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return Self::Nothing;
        }
        if let Some(comment) = line.strip_prefix('#') {
            let lost = overwritten(comment).unwrap_or(0);
            return if lost > 0 { Self::Head { lost } } else { Self::Nothing };
        }
        if trimmed.starts_with("##### CPU ") && trimmed.ends_with("buffer started ####") {
            return Self::Nothing;
        }
        if let Some((cpu, count)) = lost(trimmed) {
            return Self::Lost { cpu, count };
        }
        match event(line) {
            Some((event, unexpected)) => Self::Event { event, unexpected },
            None => Self::Malformed,
        }
    }
}

fn overwritten(comment: &str) -> Option<u64> {
    let rest = comment.trim().strip_prefix("entries-in-buffer/entries-written:")?;
    let (kept, written) = rest.split_whitespace().next()?.split_once('/')?;
    Some(written.parse::<u64>().ok()?.saturating_sub(kept.parse().ok()?))
}

fn lost(line: &str) -> Option<(u32, Option<u64>)> {
    let (cpu, rest) = line.strip_prefix("CPU:")?.split_once(" [LOST ")?;
    let cpu = cpu.trim().parse().ok().filter(|cpu| *cpu < CPUS_MAX)?;
    rest.ends_with("EVENTS]").then(|| (cpu, rest.split(' ').next().and_then(|n| n.parse().ok())))
}

/// `   comm-pid   [000] d..2.  3.253569: sched_switch: …`. The name of the task may have anything
/// in it: the first place that fits is taken.
fn event(line: &str) -> Option<(Event, Option<String>)> {
    line.match_indices(" [").find_map(|(at, _)| {
        let (cpu, rest) = line[at + 2..].split_once("] ")?;
        let cpu = cpu.parse().ok().filter(|cpu| *cpu < CPUS_MAX)?;
        let rest = rest.trim_start();
        // The column of flags can be switched off.
        let (first, after) = rest.split_once(' ')?;
        let (flags, time_ns, rest) = match time_ns(first) {
            Some(time) => (None, time, after),
            None => {
                let (second, after) = after.trim_start().split_once(' ')?;
                (Some(first), time_ns(second)?, after)
            }
        };
        let (name, fields) = rest.trim_start().split_once(':')?;
        if name.is_empty() || name.contains(' ') {
            return None;
        }
        let fields = fields.strip_prefix(' ').unwrap_or(fields);
        let (kind, unexpected) = kind(name, fields);
        let flag = |at: usize| flags.and_then(|flags| flags.chars().nth(at));
        let in_interrupt = flag(2).map(|letter| matches!(letter, 'h' | 'H' | 'z' | 'Z'));
        // One letter for each set of flags: at once, lazily, by the preemption count.
        let need_resched =
            flag(1).map(|letter| matches!(letter, 'N' | 'n' | 'B' | 'b' | 'L' | 'l'));
        let pid = pid_of(&line[..at]);
        let tgid = tgid_of(&line[..at]);
        let event = Event { time_ns, cpu, pid, tgid, in_interrupt, need_resched, kind };
        Some((event, unexpected))
    })
}

/// `   comm-12` or `   comm-12   (  12)` with the thread group.
fn pid_of(head: &str) -> Option<i32> {
    let head = head.trim_end();
    let head = match head.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')) {
        Some((head, _)) => head.trim_end(),
        None => head,
    };
    head.rsplit_once('-')?.1.parse().ok()
}

/// The thread group of `   comm-12   (  12)`.
fn tgid_of(head: &str) -> Option<i32> {
    let (_, group) = head.trim_end().strip_suffix(')')?.rsplit_once('(')?;
    group.trim().parse().ok()
}

/// `3.253569:`, in seconds.
fn time_ns(word: &str) -> Option<u64> {
    let (seconds, fraction) = word.strip_suffix(':')?.split_once('.')?;
    let digits = fraction.len();
    if digits == 0 || digits > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u64 = fraction.parse().ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction * 10_u64.pow(9 - digits as u32))
}

/// What happened, and the event's name if its fields are not as expected.
fn kind(name: &str, fields: &str) -> (Kind, Option<String>) {
    let known = match name {
        "sched_switch" => switch(fields).map(Kind::Switch),
        "sched_wakeup" => wakeup(fields).map(Kind::Wakeup),
        "sched_wakeup_new" => wakeup(fields).map(Kind::WakeupNew),
        "sched_waking" => wakeup(fields).map(Kind::Waking),
        "sched_process_fork" => fork(fields).map(Kind::Fork),
        "sched_process_exec" => exec(fields).map(Kind::Exec),
        "sched_process_exit" => exit(fields).map(Kind::Exit),
        "sched_migrate_task" => migrate(fields).map(Kind::Migrate),
        "sched_stat_runtime" => stat_runtime(fields).map(Kind::StatRuntime),
        "sched_pi_setprio" => pi_setprio(fields).map(Kind::PiSetprio),
        "hrtimer_expire_entry" => hrtimer_expire(fields).map(Kind::HrtimerExpire),
        _ => return (Kind::Other(other(name, fields)), None),
    };
    match known {
        Some(kind) => (kind, None),
        None => (Kind::Other(other(name, fields)), Some(name.to_owned())),
    }
}

/// Splits `a=1 b=2 c=3` at the given keys, from the right: only the first value may have spaces
/// and equals signs in it.
fn split<const N: usize>(fields: &str, keys: [&str; N]) -> Option<[String; N]> {
    let mut values = [const { String::new() }; N];
    let mut rest = fields;
    for (index, key) in keys.iter().enumerate().rev() {
        let at = if index == 0 {
            rest.starts_with(&format!("{key}=")).then_some(0)?
        } else {
            rest.rfind(&format!(" {key}="))?
        };
        let from = at + key.len() + 1 + usize::from(index > 0);
        values[index] = rest[from..].trim_end().to_owned();
        rest = &rest[..at];
    }
    Some(values)
}

/// The first word, as a number.
fn number<T: std::str::FromStr>(value: &str) -> Option<T> {
    value.split(' ').next()?.parse().ok()
}

fn task([comm, pid, prio]: [&str; 3]) -> Option<TaskRef> {
    Some(TaskRef { pid: number(pid)?, comm: Comm::new(comm.as_bytes()), prio: number(prio)? })
}

fn switch(fields: &str) -> Option<Switch> {
    let (left, right) = fields.rsplit_once(" ==> ")?;
    let [comm, pid, prio, state] =
        split(left, ["prev_comm", "prev_pid", "prev_prio", "prev_state"])?;
    let [next_comm, next_pid, next_prio] = split(right, ["next_comm", "next_pid", "next_prio"])?;
    Some(Switch {
        prev: task([&comm, &pid, &prio])?,
        prev_state: state_of(&state)?,
        prev_letter: state.bytes().next()?,
        next: task([&next_comm, &next_pid, &next_prio])?,
    })
}

/// Letters joined by `|`, and `+` for preempted.
fn state_of(state: &str) -> Option<SwitchState> {
    if state.ends_with('+') {
        return Some(SwitchState::Preempted);
    }
    let mut found = SwitchState::Runnable;
    for letter in state.split('|') {
        let one = match letter {
            "R" => SwitchState::Runnable,
            "X" | "Z" => SwitchState::Dead,
            "S" | "D" | "I" => SwitchState::Asleep(SleepState::Waiting),
            "T" | "t" | "P" => SwitchState::Asleep(SleepState::Stopped),
            _ => return None,
        };
        let stays = matches!(found, SwitchState::Dead | SwitchState::Asleep(SleepState::Stopped));
        if !stays || one == SwitchState::Dead {
            found = one;
        }
    }
    Some(found)
}

fn wakeup(fields: &str) -> Option<Wakeup> {
    let [comm, pid, prio, cpu] = split(fields, ["comm", "pid", "prio", "target_cpu"])?;
    Some(Wakeup { task: task([&comm, &pid, &prio])?, target_cpu: number(&cpu)? })
}

fn fork(fields: &str) -> Option<Fork> {
    let [_, parent, comm, child] = split(fields, ["comm", "pid", "child_comm", "child_pid"])?;
    let child_comm = Comm::new(comm.as_bytes());
    Some(Fork { parent: number(&parent)?, child: number(&child)?, child_comm })
}

fn exec(fields: &str) -> Option<Exec> {
    let [_, pid, old_pid] = split(fields, ["filename", "pid", "old_pid"])?;
    Some(Exec { pid: number(&pid)?, old_pid: number(&old_pid)? })
}

fn exit(fields: &str) -> Option<Exit> {
    // Newer kernels add `group_dead=`; `number` stops before it.
    let [comm, pid, prio] = split(fields, ["comm", "pid", "prio"])?;
    Some(Exit { task: task([&comm, &pid, &prio])? })
}

fn migrate(fields: &str) -> Option<Migrate> {
    let [comm, pid, prio, from, to] =
        split(fields, ["comm", "pid", "prio", "orig_cpu", "dest_cpu"])?;
    Some(Migrate { task: task([&comm, &pid, &prio])?, from: number(&from)?, to: number(&to)? })
}

fn stat_runtime(fields: &str) -> Option<StatRuntime> {
    let [comm, pid, runtime] = split(fields, ["comm", "pid", "runtime"])?;
    let vruntime_ns = match runtime.split_once(" vruntime=") {
        Some((_, vruntime)) => Some(number(vruntime)?),
        None => None,
    };
    Some(StatRuntime {
        pid: number(&pid)?,
        comm: Comm::new(comm.as_bytes()),
        runtime_ns: number(&runtime)?,
        vruntime_ns,
    })
}

fn pi_setprio(fields: &str) -> Option<PiSetprio> {
    let [comm, pid, old, new] = split(fields, ["comm", "pid", "oldprio", "newprio"])?;
    Some(PiSetprio {
        pid: number(&pid)?,
        comm: Comm::new(comm.as_bytes()),
        old_prio: number(&old)?,
        new_prio: number(&new)?,
    })
}

fn hrtimer_expire(fields: &str) -> Option<HrtimerExpire> {
    let [_, function] = split(fields, ["hrtimer", "function"])?;
    let name = function.split([' ', '/', '+']).next()?;
    Some(HrtimerExpire { function: timer_function(name) })
}

/// Any event: words of the form `name=value`.
fn other(name: &str, fields: &str) -> Other {
    let fields = fields.split_whitespace().filter_map(|word| {
        let (key, value) = word.split_once('=')?;
        Some((Arc::from(key), value_of(value)))
    });
    Other { system: Arc::from(""), name: Arc::from(name), fields: fields.collect() }
}

fn value_of(text: &str) -> Value {
    let hex = text.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    if let Some(value) = hex.or_else(|| text.parse().ok()) {
        return Value::Unsigned(value);
    }
    match text.parse() {
        Ok(value) => Value::Signed(value),
        Err(_) => Value::Text(text.trim_matches('"').to_owned()),
    }
}

#[cfg(test)]
mod tests;
