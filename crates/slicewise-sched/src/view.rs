//! Decisions and queues as plain values, for people and programs that ask why.

use crate::{Attr, Class, CpuId, Rule, TaskId};

/// The fair class's figures for one task at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FairView {
    /// Virtual runtime, ns. Queues start a little below 0, as in the kernel.
    pub vruntime_ns: i64,
    /// Weight at the kernel's 20-bit scale: nice 0 is 1,048,576.
    pub weight: u64,
    /// EEVDF: how far the average is ahead, in virtual ns; positive when service is owed. `None`
    /// for CFS.
    pub lag_ns: Option<i64>,
    /// EEVDF: has had no more than its share. `None` for CFS.
    pub eligible: Option<bool>,
    /// EEVDF: virtual deadline, ns. `None` for CFS.
    pub deadline_ns: Option<i64>,
    /// Slice, real ns: the request (EEVDF), or what CFS would give now.
    pub slice_ns: u64,
    /// The slice is the task's own.
    pub custom_slice: bool,
    /// Running, and protected from being replaced by an earlier deadline.
    pub protected: bool,
    /// Asleep, but kept queued until its debt is paid (delayed dequeue).
    pub delayed: bool,
}

/// The deadline class's figures for one task at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeadlineView {
    /// Absolute deadline, ns.
    pub deadline_ns: u64,
    /// Budget left, ns; negative when it was overrun.
    pub runtime_left_ns: i64,
}

/// One candidate of a decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Who.
    pub task: TaskId,
    /// What it asked for.
    pub attr: Attr,
    /// The class it is queued in.
    pub class: Class,
    /// It had the CPU before the decision.
    pub current: bool,
    /// Its group, or one that is in, has used up its real-time runtime on this CPU
    /// (RT_GROUP_SCHED).
    pub rt_group_throttled: bool,
    /// Deadline class only.
    pub deadline: Option<DeadlineView>,
    /// Fair class only.
    pub fair: Option<FairView>,
}

/// A CPU's queue at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueView {
    /// Which.
    pub cpu: CpuId,
    /// When, ns.
    pub at_ns: u64,
    /// EEVDF: the weighted average of virtual runtimes, ns. `None` for CFS.
    pub average_vruntime_ns: Option<i64>,
    /// CFS and 6.6: the monotonic minimum of virtual runtimes, ns.
    pub min_vruntime_ns: Option<i64>,
    /// The CPU's real-time tasks have used up what they may of this period.
    pub rt_throttled: bool,
    /// Everyone queued, the running task included, in the order the classes would look at them.
    pub candidates: Vec<Candidate>,
}

/// A pick and all it was made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The queue the pick was made from: after the running task was charged and those of `paid`
    /// had left.
    pub queue: QueueView,
    /// Sleepers the pick came upon that owed nothing any more: they left the queue (delayed
    /// dequeue), and it was picked again.
    pub paid: Vec<TaskId>,
    /// Who was picked.
    pub picked: Option<TaskId>,
    /// By which rule.
    pub rule: Rule,
}
