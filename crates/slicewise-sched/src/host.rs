//! What goes in and what comes out: the words the core and its hosts speak.
//!
//! The core never acts. A host tells it what happened and when; the core answers with
//! [`Output`]s, and with a [`Switch`] when the host says that a CPU can change tasks now. Four
//! hosts are meant, and the same words serve all:
//!
//! | host | tasks | CPUs | time | who places tasks | who picks |
//! |---|---|---|---|---|---|
//! | simulated machine | programs | simulated | simulated | core | core: [`schedule`] |
//! | recorded trace | pids | as recorded | as recorded | recording: [`Wake::cpu`], [`Spawn::cpu`], [`migrate`] | core asked with [`would_pick`], then the recording: [`schedule_to`] |
//! | gate before an async runtime | futures | slots | measured ns of polling | core | core: a slot calls [`schedule`] between polls; [`Output::Reschedule`] is advice to a future that can be asked to give way |
//! | sched_ext agent | threads | real | the kernel's clock | core or kernel | core: [`schedule`] in `dispatch`; `running`/`stopping` report with [`schedule_to`] |
//!
//! What a host must do:
//! 1. Call with times that never go back (a call with an earlier time counts as the latest so far).
//! 2. After every call, take all [`Output`]s.
//! 3. After [`block`], [`yield_now`] or [`exit`] of a running task, call [`schedule`] for that CPU
//!    before anything else.
//! 4. On [`Output::Reschedule`], call [`schedule`] for that CPU as soon as its preemption model
//!    allows; the core remembers that it asked and does not ask twice.
//! 5. Call [`tick`] `hz` times a second for every CPU that runs a task.
//!
//! [`schedule`]: crate::Scheduler::schedule
//! [`schedule_to`]: crate::Scheduler::schedule_to
//! [`would_pick`]: crate::Scheduler::would_pick
//! [`migrate`]: crate::Scheduler::migrate
//! [`block`]: crate::Scheduler::block
//! [`yield_now`]: crate::Scheduler::yield_now
//! [`exit`]: crate::Scheduler::exit
//! [`tick`]: crate::Scheduler::tick

use core::fmt;

use crate::bandwidth::LimitError;
use crate::deadline::Refusal;
use crate::{Attr, CpuId, CpuSet, GroupId, RtLimitError, TaskId};

/// A time-stamped thing that happened, for hosts that keep or ship their inputs. Each has a method
/// of [`Scheduler`](crate::Scheduler) of the same name.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A task was forked and is runnable.
    Spawn(Spawn),
    /// The running task of this CPU begins to end.
    BeginExit(CpuId),
    /// A task ended.
    Exit(TaskId),
    /// A sleeping task is runnable again.
    Wake(TaskId, Wake),
    /// The running task of this CPU goes to sleep.
    Block(CpuId),
    /// The running task of this CPU gives way.
    Yield(CpuId),
    /// The scheduler tick of this CPU.
    Tick(CpuId),
    /// A timer the core had armed fired.
    TimerFired(CpuId, Timer),
    /// Policy, nice or slice of a task changed.
    SetAttr(TaskId, Attr),
    /// The CPUs a task may run on changed.
    SetAffinity(TaskId, CpuSet),
    /// A runnable task that is not running was moved by someone else.
    Migrate(TaskId, CpuId),
    /// This CPU can change tasks now.
    Schedule(CpuId),
}

/// What the core asks of its host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Call `schedule` for this CPU.
    Reschedule {
        /// Which.
        cpu: CpuId,
        /// A machine that preempts lazily may wait for the end of a system call or the next tick.
        lazy: bool,
    },
    /// Call `timer_fired` at this time. Replaces an earlier request for the same timer.
    ArmTimer {
        /// Whose.
        cpu: CpuId,
        /// Which.
        timer: Timer,
        /// When, ns.
        at_ns: u64,
    },
    /// The timer is no longer needed.
    DisarmTimer {
        /// Whose.
        cpu: CpuId,
        /// Which.
        timer: Timer,
    },
    /// Call `group_timer_fired` at this time. Replaces an earlier request for the same timer.
    ArmGroupTimer {
        /// Whose.
        group: GroupId,
        /// Which.
        timer: GroupTimer,
        /// When, ns.
        at_ns: u64,
    },
    /// The timer is no longer needed.
    DisarmGroupTimer {
        /// Whose.
        group: GroupId,
        /// Which.
        timer: GroupTimer,
    },
    /// The running task is in a group that has used up its quota: as soon as it runs in user mode,
    /// call `return_to_user` (6.18 and later; earlier kernels take it off at once).
    Park {
        /// Where it runs.
        cpu: CpuId,
    },
    /// A group has used up its quota on a CPU and stops there, or goes on. Nothing has to be done.
    Throttled {
        /// Which.
        group: GroupId,
        /// Where.
        cpu: CpuId,
        /// It stops.
        stops: bool,
    },
    /// A deadline task has used up its budget, or given it away, and stops, or has its next one and
    /// goes on. Nothing has to be done.
    DlThrottled {
        /// Who.
        task: TaskId,
        /// Where.
        cpu: CpuId,
        /// It stops.
        stops: bool,
    },
    /// A deadline task that asked for it has used up its budget: `SIGXCPU` is due at the next tick.
    Overrun {
        /// Who.
        task: TaskId,
    },
    /// The real-time tasks of a CPU, or of a group there, have used up what they may use of the period
    /// and stop, or go on. Nothing has to be done.
    RtThrottled {
        /// Whose; `None` is all of the CPU: the root group's.
        group: Option<GroupId>,
        /// Where.
        cpu: CpuId,
        /// They stop.
        stops: bool,
    },
    /// The next part of this task's address space is to be scanned
    /// ([`numa`](crate::numa)): call `numa_scanned`.
    NumaScan {
        /// Who pays for it.
        task: TaskId,
    },
    /// A task now belongs to another CPU.
    Migrated {
        /// Who.
        task: TaskId,
        /// From where.
        from: CpuId,
        /// To where.
        to: CpuId,
    },
}

/// The core's timers, at most one of each kind for every CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// End of the running fair task's slice (fair.md C.15), or of the running deadline task's budget
    /// (feature HRTICK_DL).
    HrTick,
    /// Deadline tasks get their next budget, or give up bandwidth (classes.md C.4, C.6). A host may
    /// ask [`timer_due`](crate::Scheduler::timer_due) whether it is still needed.
    Deadline,
    /// The fair server has to act (classes.md C.10). Never makes anything happen where no fair task
    /// waits; may not be needed any more when it fires.
    FairServer,
    /// A period of real-time throttling is over (classes.md B.4). One for all CPUs; with
    /// RT_GROUP_SCHED one for each group, the first of those that began on this CPU.
    RtPeriod,
}

/// The timers of a group's bandwidth (fair.md E.9, E.11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupTimer {
    /// The end of a period: quota is refilled.
    Period,
    /// Quota that was returned is handed out again.
    Slack,
}

/// A new task.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Spawn {
    /// Policy, nice, slice.
    pub attr: Attr,
    /// Where it may run.
    pub affinity: CpuSet,
    /// Who forks it; `None` for a task that was there before.
    pub parent: Option<TaskId>,
    /// Put it there instead of choosing a CPU.
    pub cpu: Option<CpuId>,
    /// The group it starts in; `None` is its parent's, or the root.
    pub group: Option<GroupId>,
}

/// How a task is woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wake {
    /// Who wakes it; `None` for an interrupt.
    pub waker: Option<TaskId>,
    /// The waker says that it is about to sleep.
    pub sync: bool,
    /// Put it there instead of choosing a CPU.
    pub cpu: Option<CpuId>,
}

/// What `schedule` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Switch {
    /// Who had the CPU.
    pub prev: Option<TaskId>,
    /// Who has it now; the same as `prev` if nothing changed.
    pub next: Option<TaskId>,
    /// Which rule chose `next`.
    pub rule: Rule,
}

/// The rule that decided a pick.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// Nothing to run anywhere.
    Idle,
    /// A task of the stop class comes before all others.
    StopClass,
    /// The earliest absolute deadline of the deadline class (classes.md C.3).
    DlDeadline,
    /// The fair server has the earliest deadline, so the fair class chooses (classes.md C.10).
    FairServer,
    /// The best real-time priority; the head of its list.
    RtPriority,
    /// Only one fair task is queued: no test is made (C.7 step 1).
    OnlyTask,
    /// The next buddy, eligible (C.7 step 2; B.7).
    NextBuddy,
    /// The last buddy (B.7).
    LastBuddy,
    /// The current task is eligible and still protected (C.7 step 4, C.8).
    Protected,
    /// The earliest virtual deadline of the eligible (C.7 step 5).
    EarliestDeadline,
    /// The current task: eligible, and no queued task has an earlier deadline (C.7 step 6).
    CurrentDeadline,
    /// The least virtual runtime (B.7).
    LeastVruntime,
    /// The least virtual runtime had just yielded, so the second (B.7, B.8).
    SecondVruntime,
    /// The host said so.
    Host,
}

impl Rule {
    /// What it means, for people.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Idle => "nothing is runnable",
            Self::StopClass => "the stop class comes before every other",
            Self::DlDeadline => "earliest deadline of the SCHED_DEADLINE tasks",
            Self::FairServer => "the fair server's turn: fair tasks were starving",
            Self::RtPriority => "highest real-time priority, first in its list",
            Self::OnlyTask => "the only fair task queued",
            Self::NextBuddy => "next buddy, and eligible",
            Self::LastBuddy => "last buddy: it was preempted a moment ago",
            Self::Protected => "running, eligible, and its slice protection still holds",
            Self::EarliestDeadline => "earliest virtual deadline among the eligible",
            Self::CurrentDeadline => "running, eligible, and nobody queued has an earlier deadline",
            Self::LeastVruntime => "least virtual runtime",
            Self::SecondVruntime => "second least virtual runtime: the least has just yielded",
            Self::Host => "chosen by the host",
        }
    }
}

/// Why an input was refused. A refused input changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// No such CPU.
    NoSuchCpu(CpuId),
    /// No such task: it never was, or has exited.
    NoSuchTask(TaskId),
    /// The CPU runs no task that could do this.
    CpuIdle(CpuId),
    /// The task may run on no CPU of this machine.
    NoAllowedCpu,
    /// The task may not run on this CPU.
    NotAllowed(TaskId, CpuId),
    /// The task is not queued and waiting.
    NotWaiting(TaskId),
    /// No such group.
    NoSuchGroup(GroupId),
    /// The kernel refuses such a limit.
    Limit(LimitError),
    /// The kernel refuses to make it such a deadline task, or to move one.
    Deadline(Refusal),
    /// The kernel refuses a real-time limit, or a task what its group's does not allow.
    RtLimit(RtLimitError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchCpu(cpu) => write!(f, "CPU {cpu} does not exist"),
            Self::NoSuchTask(task) => write!(f, "task {task} does not exist"),
            Self::CpuIdle(cpu) => write!(f, "CPU {cpu} is idle"),
            Self::NoAllowedCpu => f.write_str("none of the allowed CPUs exists"),
            Self::NotAllowed(task, cpu) => write!(f, "task {task} may not run on CPU {cpu}"),
            Self::NotWaiting(task) => write!(f, "task {task} is not waiting for a CPU"),
            Self::NoSuchGroup(group) => write!(f, "group {} does not exist", group.0),
            Self::Limit(error) => error.fmt(f),
            Self::Deadline(refusal) => refusal.fmt(f),
            Self::RtLimit(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}
