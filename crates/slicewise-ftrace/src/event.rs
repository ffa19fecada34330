//! The events.

use std::fmt;
use std::sync::Arc;

/// A task's name: up to 15 bytes, as the kernel keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Comm {
    bytes: [u8; 15],
    len: u8,
}

impl Comm {
    /// The bytes up to the first zero, at most 15.
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        // As the kernel records it, in one go.
        if let Ok(all) = <[u8; 16]>::try_from(bytes) {
            let word = u128::from_le_bytes(all);
            const LOW: u128 = u128::from_le_bytes([1; 16]);
            // The top bit of each byte that is zero, and perhaps of some above the first.
            let zeros = word.wrapping_sub(LOW) & !word & (LOW << 7);
            let len = (zeros.trailing_zeros() / 8).min(15);
            let kept = word & ((1 << (len * 8)) - 1);
            let mut own = [0; 15];
            own.copy_from_slice(&kept.to_le_bytes()[..15]);
            return Self { bytes: own, len: len as u8 };
        }
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()).min(15);
        let mut own = [0; 15];
        own[..len].copy_from_slice(&bytes[..len]);
        Self { bytes: own, len: len as u8 }
    }

    /// As text; bytes that are not UTF-8 are replaced, control characters too.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(self.as_bytes())
            .chars()
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect()
    }

    /// As it was recorded.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_text(), f)
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_text())
    }
}

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// By the trace's clock, ns.
    pub time_ns: u64,
    /// The CPU that recorded it.
    pub cpu: u32,
    /// The task that ran there, 0 for the idle task; `None` where the trace does not say.
    pub pid: Option<i32>,
    /// The process that task is a thread of; `None` where the trace does not say.
    pub tgid: Option<i32>,
    /// It happened in a hardware interrupt; `None` where the trace does not say.
    pub in_interrupt: Option<bool>,
    /// A new pick was due on the CPU, now or lazily; `None` where the trace does not say.
    pub need_resched: Option<bool>,
    /// What.
    pub kind: Kind,
}

impl Event {
    /// Events of a CPU are missing before this time; how many, if it is known.
    pub(crate) fn lost(time_ns: u64, cpu: u32, count: Option<u64>) -> Self {
        let kind = Kind::Lost(count);
        Self { time_ns, cpu, pid: None, tgid: None, in_interrupt: None, need_resched: None, kind }
    }
}

/// A task in an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskRef {
    /// Its id; 0 is the idle task of the CPU.
    pub pid: i32,
    /// Its name.
    pub comm: Comm,
    /// The kernel's priority number: 0 to 98 real-time (99 − priority), 100 to 139 fair
    /// (120 + nice), below 0 deadline.
    pub prio: i32,
}

/// In what state a task left the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwitchState {
    /// Runnable: it was preempted, it yielded, or it was about to return to its program.
    Runnable,
    /// Runnable, and preempted inside the kernel.
    Preempted,
    /// Asleep, with the kernel's letters: `S`, `D`, `I`, `T`, `t`, `P` or several.
    Asleep(SleepState),
    /// Its end: it never comes back.
    Dead,
}

/// The kind of sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SleepState {
    /// Waits for something: `S`, `D`, `I`.
    Waiting,
    /// Stopped, traced or parked: `T`, `t`, `P`.
    Stopped,
}

/// `sched_switch`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Switch {
    /// Who had the CPU.
    pub prev: TaskRef,
    /// How it left.
    pub prev_state: SwitchState,
    /// The kernel's letter for that, the first if there are several: `R` (also preempted), `S`, `D`,
    /// `T`, `t`, `X`, `Z`, `P`, `I`.
    pub prev_letter: u8,
    /// Who has it now.
    pub next: TaskRef,
}

/// `sched_wakeup`, `sched_wakeup_new`, `sched_waking`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wakeup {
    /// Who is woken.
    pub task: TaskRef,
    /// Where it will run.
    pub target_cpu: u32,
}

/// `sched_process_fork`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fork {
    /// Who forks.
    pub parent: i32,
    /// The new task.
    pub child: i32,
    /// Its name.
    pub child_comm: Comm,
}

/// `sched_process_exec`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exec {
    /// The task.
    pub pid: i32,
    /// Its id before.
    pub old_pid: i32,
}

/// `sched_process_exit`: the task will leave its CPU for ever soon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// The task.
    pub task: TaskRef,
}

/// `sched_migrate_task`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migrate {
    /// Who moves.
    pub task: TaskRef,
    /// From where.
    pub from: u32,
    /// To where.
    pub to: u32,
}

/// `sched_stat_runtime`: the running task is charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatRuntime {
    /// Who.
    pub pid: i32,
    /// Its name.
    pub comm: Comm,
    /// For how long it ran since it was charged last, ns.
    pub runtime_ns: u64,
    /// Its virtual runtime after that, ns; older kernels only.
    pub vruntime_ns: Option<u64>,
}

/// `sched_pi_setprio`: priority inheritance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PiSetprio {
    /// Who.
    pub pid: i32,
    /// Its name.
    pub comm: Comm,
    /// Kernel priority number before.
    pub old_prio: i32,
    /// And after.
    pub new_prio: i32,
}

/// The function of a high-resolution timer, as far as it matters to scheduling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerFunction {
    /// The scheduler tick.
    Tick,
    /// The end of a slice.
    HrTick,
    /// Any other, or one whose name the trace does not have.
    Other,
}

/// `hrtimer_expire_entry`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HrtimerExpire {
    /// What it calls.
    pub function: TimerFunction,
}

/// The value of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A signed number.
    Signed(i64),
    /// An unsigned number.
    Unsigned(u64),
    /// Text.
    Text(String),
    /// Anything else, as it is.
    Bytes(Vec<u8>),
}

impl Value {
    /// The number's 64 bits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Signed(value) => Some(*value as u64),
            Self::Unsigned(value) => Some(*value),
            _ => None,
        }
    }

    /// The number's 64 bits, as a signed one.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_u64().map(|value| value as i64)
    }
}

/// A task's name, as `perf` notes it: for those that live when a recording begins, and when one is
/// renamed or starts another program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named {
    /// The task.
    pub pid: i32,
    /// Its process.
    pub tgid: i32,
    /// Its name from now on.
    pub comm: Comm,
    /// Because it starts another program.
    pub is_exec: bool,
}

/// A new task, as `perf` notes it; with the name of its parent until it is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cloned {
    /// The task.
    pub pid: i32,
    /// Its process.
    pub tgid: i32,
    /// The task that made it.
    pub parent: i32,
    /// That one's process.
    pub parent_tgid: i32,
}

/// A task is gone, as `perf` notes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone {
    /// The task.
    pub pid: i32,
    /// Its process.
    pub tgid: i32,
}

/// Any other event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Other {
    /// Its group (`syscalls`, or one's own for probes); empty in text traces, which do not say.
    pub system: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Fields by name, in the order of the format.
    pub fields: Vec<(Arc<str>, Value)>,
}

impl Other {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| &**field == name).map(|(_, value)| value)
    }
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// A CPU changed tasks.
    Switch(Switch),
    /// A task is queued again.
    Wakeup(Wakeup),
    /// A forked task is queued for the first time.
    WakeupNew(Wakeup),
    /// A wakeup begins.
    Waking(Wakeup),
    /// A task is made.
    Fork(Fork),
    /// A task starts another program.
    Exec(Exec),
    /// A task is about to end.
    Exit(Exit),
    /// A task gets another CPU.
    Migrate(Migrate),
    /// The running task is charged.
    StatRuntime(StatRuntime),
    /// A priority is lent or given back.
    PiSetprio(PiSetprio),
    /// A high-resolution timer expires.
    HrtimerExpire(HrtimerExpire),
    /// A task has a name.
    Named(Named),
    /// There is a new task.
    Cloned(Cloned),
    /// A task is gone.
    Gone(Gone),
    /// Events of this CPU are missing before this place; how many, if it is known.
    Lost(Option<u64>),
    /// Any other event.
    Other(Other),
}

#[cfg(test)]
mod tests {
    use super::Comm;

    #[test]
    fn a_name_ends_at_its_first_zero() {
        for text in ["", "a", "kworker/0:1H-kb", "fourteen chars"] {
            let mut padded = [0; 16];
            padded[..text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(Comm::new(&padded).as_bytes(), text.as_bytes());
            assert_eq!(Comm::new(&padded), Comm::new(text.as_bytes()));
        }
        // What is behind the zero is rubbish; a 1 after a 0 must not be taken for one.
        assert_eq!(Comm::new(b"ab\0\x01\x01cdefghijklm"), Comm::new(b"ab"));
        assert_eq!(Comm::new(b"0123456789abcdef").as_bytes(), b"0123456789abcde");
    }
}
