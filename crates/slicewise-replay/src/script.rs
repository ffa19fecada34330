//! What a task did.

use slicewise_sched::CpuSet;

use crate::outside::Outside;

/// Index of a [`Script`].
pub type ScriptId = u32;

/// One step of a script. Times are ns since the beginning of the stretch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Had a CPU for this long, in one go or in several.
    Run(u64),
    /// Woke this one.
    Wake(ScriptId),
    /// Made this one.
    Fork(ScriptId),
    /// Slept until it was woken by another task.
    Wait,
    /// Slept and was woken from outside.
    Outside {
        /// When it went to sleep.
        from_ns: u64,
        /// When it was woken.
        to_ns: u64,
    },
    /// Got another priority (the kernel's number).
    Priority(i32),
    /// Ended.
    Exit,
    /// Nothing.
    Nothing,
}

/// What a task did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// Its number in the trace.
    pub tid: i32,
    /// Its process; −1 if unknown.
    pub tgid: i32,
    /// Its name, the last it had.
    pub comm: String,
    /// The path of its cgroup, if that is known.
    pub group: Option<String>,
    /// The kernel's priority number it began with: below 0 deadline, 0 to 98 real-time, 100 to 139 fair.
    pub prio: i32,
    /// Another task made it within the stretch.
    pub is_forked: bool,
    /// It ran when the stretch began, or waited for a CPU.
    pub begins_runnable: bool,
    /// Where it may run, as far as the trace shows.
    pub affinity: CpuSet,
    /// How its wakeups from outside come.
    pub outside: Outside,
    /// What it did, in order.
    pub steps: Vec<Step>,
    /// How often it was woken.
    pub wakeups: u64,
    /// For how long it had a CPU, ns.
    pub cpu_ns: u64,
}

impl Script {
    /// Name and number: `postgres-812`. No two tasks have the same, unless a number was given again.
    pub fn label(&self) -> String {
        format!("{}-{}", self.comm, self.tid)
    }
}
