//! What can go wrong: before the run, and during it.

use core::fmt;

use slicewise_sched::deadline::Refusal;
use slicewise_sched::{ConfigError, RtLimitError};

use crate::Origin;

/// Why a machine cannot be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SetupError {
    /// CPUs or ticks out of range.
    #[error("the machine cannot have {0}")]
    Scheduler(ConfigError),
    /// The tick phase is as long as a tick or longer.
    #[error("the tick phase of {0} ns is not less than a tick")]
    TickPhase(u64),
    /// All CPUs are to do without ticks.
    #[error("all CPUs are in `nohz_full`: one must be left to look after the others")]
    NohzFull,
    /// A step of a program makes no sense.
    #[error("program {program}, step {step}: {what}")]
    Step {
        /// Index in [`Workload::programs`](crate::Workload::programs).
        program: usize,
        /// Index in [`Program::ops`](crate::Program::ops).
        step: usize,
        /// What is wrong.
        what: String,
    },
    /// A task makes no sense.
    #[error("task `{name}`: {what}")]
    Task {
        /// Its name.
        name: String,
        /// Where it was written.
        origin: Origin,
        /// What is wrong.
        what: String,
    },
    /// A barrier, device or queue makes no sense.
    #[error("`{name}`: {what}")]
    Object {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// More than the machine can number.
    #[error("there are too many {0}")]
    TooMany(&'static str),
}

/// Why a run cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RunError {
    /// A task (or a request queue) goes on and on without using any time.
    #[error("at {at_ns} ns `{task}` goes on without using any time")]
    NoProgress {
        /// Its name.
        task: String,
        /// Where it was written.
        origin: Origin,
        /// When.
        at_ns: u64,
    },
    /// Tasks wait for each other's mutexes in a circle.
    #[error("deadlock at {at_ns} ns: {}", list(cycle))]
    Deadlock {
        /// When the circle closed.
        at_ns: u64,
        /// Each waits for what the next one holds, the last for what the first one holds.
        cycle: Vec<Waiting>,
    },
    /// Nothing can ever happen again, but tasks still wait.
    #[error("nothing can happen after {at_ns} ns, but {tasks} tasks still wait: {}", list(waiting))]
    Stuck {
        /// The time of the last event.
        at_ns: u64,
        /// How many tasks wait.
        tasks: usize,
        /// The first of them.
        waiting: Vec<Waiting>,
    },
    /// A program used a mutex or a request it does not have.
    #[error("at {at_ns} ns `{task}` {what}")]
    Misuse {
        /// Who.
        task: String,
        /// Where it was written.
        origin: Origin,
        /// When.
        at_ns: u64,
        /// What it did.
        what: String,
    },
    /// More living tasks than there may be.
    #[error("at {at_ns} ns there would be more than {} living tasks", crate::TASKS_MAX)]
    TooManyTasks {
        /// Name of the template that was to be forked.
        task: String,
        /// Where it was written.
        origin: Origin,
        /// When.
        at_ns: u64,
    },
    /// The kernel refuses what a task asks for: admission of deadline tasks, say.
    #[error("the kernel refuses `{task}` at {at_ns} ns, {refusal}")]
    Refused {
        /// Who.
        task: String,
        /// Where it was written.
        origin: Origin,
        /// When.
        at_ns: u64,
        /// The error it gets, and why.
        refusal: Refusal,
    },
    /// The kernel refuses a real-time policy in a group without real-time runtime.
    #[error("the kernel refuses `{task}` at {at_ns} ns: {refusal} ({})", refusal.errno())]
    RtRefused {
        /// Who.
        task: String,
        /// Where it was written.
        origin: Origin,
        /// When.
        at_ns: u64,
        /// Why.
        refusal: RtLimitError,
    },
    /// The scheduler refused what the machine told it: a defect in one of the two.
    #[error("the scheduler refused an input at {at_ns} ns: {error}")]
    Scheduler {
        /// When.
        at_ns: u64,
        /// Why.
        error: slicewise_sched::Error,
    },
}

/// How everything inside the machine ends: errors are boxed, so that success costs nothing.
pub(crate) type Done<T = ()> = Result<T, Box<RunError>>;

/// A task that waits, and what for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its name.
    pub task: String,
    /// Its process id.
    pub pid: u32,
    /// Where it was written.
    pub origin: Origin,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// Who holds it, if it is a mutex.
    pub held_by: Option<Holder>,
}

/// Who holds a mutex.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its name.
    pub task: String,
    /// Its process id.
    pub pid: u32,
    /// Where it was written.
    pub origin: Origin,
    /// It ended without giving the mutex back.
    pub exited: bool,
}

/// What a task waits for, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WaitsFor {
    /// A mutex.
    Mutex(String),
    /// A signal.
    Condition(String),
    /// The other parties of a barrier.
    Barrier(String),
    /// A post of this semaphore.
    Semaphore(String),
    /// To be resumed.
    Resume,
    /// A request of this queue.
    Request(String),
    /// Room in the queue of this device.
    DeviceRoom(String),
    /// This device to be done with the task's submissions.
    Device(String),
    /// Nothing but time.
    Time,
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mutex(name) => write!(f, "mutex `{name}`"),
            Self::Condition(name) => write!(f, "a signal of `{name}`"),
            Self::Barrier(name) => write!(f, "barrier `{name}`"),
            Self::Semaphore(name) => write!(f, "a post of `{name}`"),
            Self::Resume => f.write_str("a resume"),
            Self::Request(name) => write!(f, "a request from `{name}`"),
            Self::DeviceRoom(name) => write!(f, "room in the queue of device `{name}`"),
            Self::Device(name) => write!(f, "device `{name}`"),
            Self::Time => f.write_str("a timer"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (pid {}) waits for {}", self.task, self.pid, self.waits_for)?;
        match &self.held_by {
            Some(holder) if holder.exited => {
                write!(f, ", which `{}` (pid {}) took with it", holder.task, holder.pid)
            }
            Some(holder) => write!(f, ", held by `{}` (pid {})", holder.task, holder.pid),
            None => Ok(()),
        }
    }
}

fn list(waiting: &[Waiting]) -> String {
    let lines: Vec<String> = waiting.iter().map(Waiting::to_string).collect();
    lines.join("; ")
}
