//! The fields of events of interest, in the layouts they are printed in: the kernel's own, the plain list of
//! fields (`trace-cmd report -R`), and that of libtraceevent's plugin for `sched_switch` and `sched_wakeup`.

use memchr::memrchr;

use super::words::{Tail, number};
use crate::event::{
    Comm, Exec, Exit, Fork, HrtimerExpire, Kind, Migrate, PiSetprio, SleepState, StatRuntime,
    Switch, SwitchState, TaskRef, TimerFunction, Wakeup,
};
use crate::format;

/// Which letters libtraceevent's plugin has for states. Up to 1.7 they are those of kernels before 4.14: `W` for
/// `I`, `x` for `P`, `X` and `Z` the other way round; and `R` stands for `R+`, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Plugin {
    /// A letter was seen that only later ones have.
    is_new: bool,
}

/// The event, if its fields are as expected; `None` of `None` if it is of no interest.
pub(super) fn kind(name: &[u8], fields: &[u8], plugin: &mut Plugin) -> Option<Option<Kind>> {
    Some(match name {
        b"sched_switch" => switch(fields, plugin).map(Kind::Switch),
        b"sched_wakeup" => wakeup(fields).map(Kind::Wakeup),
        b"sched_wakeup_new" => wakeup(fields).map(Kind::WakeupNew),
        b"sched_waking" => wakeup(fields).map(Kind::Waking),
        b"sched_process_fork" => fork(fields).map(Kind::Fork),
        b"sched_process_exec" => exec(fields).map(Kind::Exec),
        b"sched_process_exit" => exit(fields).map(Kind::Exit),
        b"sched_migrate_task" => migrate(fields).map(Kind::Migrate),
        b"sched_stat_runtime" => stat_runtime(fields).map(Kind::StatRuntime),
        b"sched_pi_setprio" => pi_setprio(fields).map(Kind::PiSetprio),
        b"hrtimer_expire_entry" => hrtimer_expire(fields).map(Kind::HrtimerExpire),
        _ => return None,
    })
}

fn switch(fields: &[u8], plugin: &mut Plugin) -> Option<Switch> {
    switch_of_kernel(fields).or_else(|| switch_of_plugin(fields, plugin))
}

fn switch_of_kernel(fields: &[u8]) -> Option<Switch> {
    let mut tail = Tail(fields);
    let next_prio = tail.number_before("next_prio", 2)?;
    let next_pid = tail.number("next_pid")?;
    let next_comm = Comm::new(tail.text("next_comm")?);
    let left = tail.0.trim_ascii_end();
    tail.0 = left.strip_suffix(b"==>").unwrap_or(left);
    let (prev_state, prev_letter) = state_of(tail.value("prev_state")?)?;
    let prio = tail.number("prev_prio")?;
    let pid = tail.number("prev_pid")?;
    let comm = Comm::new(tail.first("prev_comm")?);
    Some(Switch {
        prev: TaskRef { pid, comm, prio },
        prev_state,
        prev_letter,
        next: TaskRef { pid: next_pid, comm: next_comm, prio: next_prio },
    })
}

/// `a:1 [120] S ==> b:2 [120]`
fn switch_of_plugin(fields: &[u8], plugin: &mut Plugin) -> Option<Switch> {
    const ARROW: &[u8] = b" ==> ";
    let mut end = fields.len();
    // Names may have arrows in them: the last one that fits.
    while let Some(equals) = memrchr(b'=', &fields[..end]) {
        end = equals;
        let at = equals.saturating_sub(1);
        let Some(right) = fields[at..].strip_prefix(ARROW) else { continue };
        let mut left = Tail(&fields[..at]);
        let found = (|| {
            let next = task_of_plugin(Tail(right))?;
            let letters = left.pop()?;
            let prev = task_of_plugin(left)?;
            let (prev_state, prev_letter) = plugin.state_of(letters)?;
            Some(Switch { prev, prev_state, prev_letter, next })
        })();
        if found.is_some() {
            return found;
        }
    }
    None
}

/// `a:1 [120]`
fn task_of_plugin(mut tail: Tail<'_>) -> Option<TaskRef> {
    let prio = tail.bracketed()?;
    let (comm, pid) = tail.comm_and_pid()?;
    Some(TaskRef { pid, comm: Comm::new(comm), prio })
}

impl Plugin {
    fn state_of(&mut self, letters: &[u8]) -> Option<(SwitchState, u8)> {
        self.is_new |= letters.iter().any(|letter| b"PIp+".contains(letter));
        if letters == b"p" {
            return Some((SwitchState::Preempted, b'R'));
        }
        if self.is_new {
            return state_of(letters);
        }
        let mut own = [0; 16];
        let own = own.get_mut(..letters.len())?;
        own.copy_from_slice(letters);
        for letter in &mut *own {
            *letter = match *letter {
                b'W' => b'I',
                b'x' => b'P',
                b'X' => b'Z',
                b'Z' => b'X',
                other => other,
            };
        }
        state_of(own)
    }
}

/// Letters joined by `|`, and `+` for preempted; or the number behind them. And the first letter.
pub(super) fn state_of(state: &[u8]) -> Option<(SwitchState, u8)> {
    let first = *state.first()?;
    if first.is_ascii_digit() {
        let bits = number(state)?;
        return Some((format::state_of(bits), format::letter_of(bits)));
    }
    if state.ends_with(b"+") {
        return Some((SwitchState::Preempted, first));
    }
    let mut found = SwitchState::Runnable;
    for letter in state.split(|byte| *byte == b'|') {
        let one = match letter {
            b"R" => SwitchState::Runnable,
            b"X" | b"Z" => SwitchState::Dead,
            b"S" | b"D" | b"I" => SwitchState::Asleep(SleepState::Waiting),
            b"T" | b"t" | b"P" => SwitchState::Asleep(SleepState::Stopped),
            _ => return None,
        };
        let stays = matches!(found, SwitchState::Dead | SwitchState::Asleep(SleepState::Stopped));
        if !stays || one == SwitchState::Dead {
            found = one;
        }
    }
    Some((found, first))
}

/// Older kernels say `success=1` before the CPU.
fn wakeup(fields: &[u8]) -> Option<Wakeup> {
    let of_kernel = || {
        let mut tail = Tail(fields);
        let target_cpu = tail.number_before("target_cpu", 2)?;
        let prio = tail.number_before("prio", 1)?;
        let pid = tail.number("pid")?;
        let comm = Comm::new(tail.first("comm")?);
        Some(Wakeup { task: TaskRef { pid, comm, prio }, target_cpu })
    };
    of_kernel().or_else(|| wakeup_of_plugin(fields))
}

/// `a:1 [120] success=1 CPU:003`, or without the success; or with a remark that there is none.
fn wakeup_of_plugin(fields: &[u8]) -> Option<Wakeup> {
    let colon = memrchr(b':', fields)?;
    let target_cpu = number(fields[colon + 1..].trim_ascii_end())?;
    let before = fields[..colon].strip_suffix(b"CPU")?;
    let end = memrchr(b']', before)?;
    let task = task_of_plugin(Tail(&before[..=end]))?;
    Some(Wakeup { task, target_cpu })
}

fn fork(fields: &[u8]) -> Option<Fork> {
    let mut tail = Tail(fields);
    let child = tail.number_before("child_pid", 1)?;
    let child_comm = Comm::new(tail.text("child_comm")?);
    let mut plain = tail;
    let parent = match plain.number("parent_pid") {
        Some(parent) => {
            plain.first("parent_comm")?;
            parent
        }
        None => {
            let parent = tail.number("pid")?;
            tail.first("comm")?;
            parent
        }
    };
    Some(Fork { parent, child, child_comm })
}

fn exec(fields: &[u8]) -> Option<Exec> {
    let mut tail = Tail(fields);
    let old_pid = tail.number_before("old_pid", 1)?;
    let pid = tail.number("pid")?;
    tail.first("filename")?;
    Some(Exec { pid, old_pid })
}

fn exit(fields: &[u8]) -> Option<Exit> {
    let mut tail = Tail(fields);
    // Newer kernels add `group_dead=`.
    let prio = tail.number_before("prio", 1)?;
    let pid = tail.number("pid")?;
    let comm = Comm::new(tail.first("comm")?);
    Some(Exit { task: TaskRef { pid, comm, prio } })
}

fn migrate(fields: &[u8]) -> Option<Migrate> {
    let mut tail = Tail(fields);
    let to = tail.number_before("dest_cpu", 2)?;
    let from = tail.number("orig_cpu")?;
    let prio = tail.number("prio")?;
    let pid = tail.number("pid")?;
    let comm = Comm::new(tail.first("comm")?);
    Some(Migrate { task: TaskRef { pid, comm, prio }, from, to })
}

fn stat_runtime(fields: &[u8]) -> Option<StatRuntime> {
    let mut tail = Tail(fields);
    let mut vruntime_ns = None;
    let runtime_ns = loop {
        let word = tail.pop()?;
        if let Some(vruntime) = word.strip_prefix(b"vruntime=") {
            vruntime_ns = Some(number(vruntime)?);
        } else if let Some(runtime) = word.strip_prefix(b"runtime=") {
            break number(runtime)?;
        } else if word != b"[ns]" {
            return None;
        }
    };
    let pid = tail.number("pid")?;
    let comm = Comm::new(tail.first("comm")?);
    Some(StatRuntime { pid, comm, runtime_ns, vruntime_ns })
}

fn pi_setprio(fields: &[u8]) -> Option<PiSetprio> {
    let mut tail = Tail(fields);
    let new_prio = tail.number_before("newprio", 1)?;
    let old_prio = tail.number("oldprio")?;
    let pid = tail.number("pid")?;
    let comm = Comm::new(tail.first("comm")?);
    Some(PiSetprio { pid, comm, old_prio, new_prio })
}

/// `function=hrtick`; or, as trace-cmd has it, `function=hrtick/0x0`: the nearest symbol, and how far that is.
fn hrtimer_expire(fields: &[u8]) -> Option<HrtimerExpire> {
    let mut words = fields.split(|byte| *byte == b' ');
    let word = words.find_map(|word| word.strip_prefix(b"function="))?;
    let end = word.iter().position(|byte| b"/+".contains(byte)).unwrap_or(word.len());
    let is_at = word.get(end + 1..).is_none_or(|offset| number::<u64>(offset) == Some(0));
    let name = std::str::from_utf8(&word[..end]).unwrap_or("");
    let function = if is_at { format::timer_function(name) } else { TimerFunction::Other };
    Some(HrtimerExpire { function })
}
