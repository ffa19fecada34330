//! What a run was, in numbers.

use slicewise_sched::bandwidth::{BandwidthStats, Limit};

use crate::error::Waiting;
use crate::pages::MemorySummaries;

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The configured duration was over.
    Duration,
    /// All tasks have exited.
    Exited,
    /// Every task left waits for requests, and none will come.
    Served,
    /// Nothing could ever happen again, and the workload says that this is an end
    /// ([`Workload::stuck_is_end`](crate::Workload::stuck_is_end)). The first of those that wait.
    Stuck(Vec<Waiting>),
}

/// What a run was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunSummary {
    /// When it ended, ns.
    pub end_ns: u64,
    /// Why.
    pub end: End,
    /// Events handled (ticks, timers, ends of work, arrivals, completions, starts).
    pub events: u64,
    /// Context switches, those to and from idle included.
    pub switches: u64,
    /// Wakeups, forks not counted.
    pub wakeups: u64,
    /// Tasks made, those from the start included.
    pub spawned: u64,
    /// Tasks that exited.
    pub exited: u64,
    /// Moves between CPUs.
    pub migrations: u64,
    /// By CPU.
    pub cpus: Vec<CpuSummary>,
    /// By request queue.
    pub queues: Vec<QueueSummary>,
    /// By group.
    pub groups: Vec<GroupSummary>,
    /// Tasks that waited for a mutex, a signal, a barrier or a resume for more than half of the run
    /// when it ended, and since when, ns: perhaps for ever. The first of them.
    pub forsaken: Vec<(Waiting, u64)>,
    /// CPU time that was no work of programs, ns, of all tasks made from each of
    /// [`Workload::tasks`](crate::Workload::tasks); empty without a
    /// [`SpeedModel`](crate::SpeedModel).
    pub lost_ns: Vec<u64>,
    /// Memory of tasks; `None` where none has any.
    pub memory: Option<MemorySummaries>,
}

/// What a CPU did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuSummary {
    /// Time with a task on it, ns.
    pub busy_ns: u64,
    /// Of it, what the machine itself cost, ns.
    pub overhead_ns: u64,
    /// Ticks that interrupted it.
    pub ticks: u64,
    /// Interrupts of the workload's sources.
    pub interrupts: u64,
    /// How long they took, busy or idle, ns.
    pub interrupt_ns: u64,
}

/// What a request queue saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueSummary {
    /// Requests that arrived, dropped ones included.
    pub arrived: u64,
    /// Requests that were answered.
    pub served: u64,
    /// Requests dropped because the queue was full.
    pub dropped: u64,
}

/// What a group did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupSummary {
    /// CPU time of its tasks, and of those in groups below, inside system calls and for what the
    /// machine itself cost, ns.
    pub system_ns: u64,
    /// The same in user mode, of tasks with a nice value above 0, ns.
    pub nice_ns: u64,
    /// The limit at the end: a period too short to be kept gets longer.
    pub limit: Limit,
    /// What its quota did. Stops that had not ended are not in it.
    pub bandwidth: BandwidthStats,
}
