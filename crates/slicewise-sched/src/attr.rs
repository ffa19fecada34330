//! What user space asks for a task: policy, nice, priority, slice.

use core::fmt;

use crate::DlParams;

/// A nice value, −20 (most CPU) to 19 (least).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nice(i8);

impl Nice {
    /// The lowest nice value: the greatest weight.
    pub const MIN: Nice = Nice(-20);
    /// The highest nice value: the least weight.
    pub const MAX: Nice = Nice(19);

    /// `None` outside −20 to 19.
    pub fn new(nice: i64) -> Option<Self> {
        (-20..=19).contains(&nice).then_some(Self(nice as i8))
    }

    /// The number.
    #[inline]
    pub fn get(self) -> i8 {
        self.0
    }
}

/// The priority of a FIFO or RR task, 1 (lowest) to 99 (highest).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RtPriority(u8);

impl RtPriority {
    /// `None` outside 1 to 99.
    pub fn new(priority: i64) -> Option<Self> {
        (1..=99).contains(&priority).then_some(Self(priority as u8))
    }

    /// The number user space knows.
    #[inline]
    pub fn get(self) -> u8 {
        self.0
    }
}

/// The scheduling policies (`sched(7)`), and the kernel's own for its per-CPU stopper.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Policy {
    /// `SCHED_OTHER`, called `SCHED_NORMAL` in the kernel.
    #[default]
    Normal,
    /// `SCHED_BATCH`: weighs the same, never preempts by waking.
    Batch,
    /// `SCHED_IDLE`: weight 3 whatever the nice value.
    Idle,
    /// `SCHED_FIFO`.
    Fifo(RtPriority),
    /// `SCHED_RR`.
    Rr(RtPriority),
    /// `SCHED_DEADLINE`.
    Deadline(DlParams),
    /// The stop class: above all others, one task a CPU at most makes sense.
    Stop,
}

impl Policy {
    /// The name in `sched(7)`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "SCHED_OTHER",
            Self::Batch => "SCHED_BATCH",
            Self::Idle => "SCHED_IDLE",
            Self::Fifo(_) => "SCHED_FIFO",
            Self::Rr(_) => "SCHED_RR",
            Self::Deadline(_) => "SCHED_DEADLINE",
            Self::Stop => "stop",
        }
    }

    /// The priority of a FIFO or RR task.
    #[inline]
    pub fn rt_priority(self) -> Option<RtPriority> {
        match self {
            Self::Fifo(priority) | Self::Rr(priority) => Some(priority),
            _ => None,
        }
    }

    /// The class that schedules this policy.
    #[inline]
    pub fn class(self) -> Class {
        match self {
            Self::Normal | Self::Batch | Self::Idle => Class::Fair,
            Self::Fifo(_) | Self::Rr(_) => Class::Rt,
            Self::Deadline(_) => Class::Deadline,
            Self::Stop => Class::Stop,
        }
    }

    /// The kernel's effective priority number: smaller is more important (classes.md A.2).
    #[inline]
    pub fn kernel_prio(self, nice: Nice) -> i32 {
        match self {
            Self::Normal | Self::Batch | Self::Idle => 120 + i32::from(nice.get()),
            Self::Fifo(p) | Self::Rr(p) => 99 - i32::from(p.get()),
            Self::Deadline(_) => -1,
            Self::Stop => -2,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fifo(p) | Self::Rr(p) => write!(f, "{} {}", self.name(), p.get()),
            Self::Deadline(params) => {
                let DlParams { runtime_ns, deadline_ns, .. } = params;
                write!(f, "{} {runtime_ns}/{deadline_ns}/{}", self.name(), params.period())
            }
            _ => f.write_str(self.name()),
        }
    }
}

/// The scheduling classes, highest first. Each CPU asks them in this order for its next task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// The per-CPU stopper.
    Stop,
    /// `SCHED_DEADLINE`.
    Deadline,
    /// `SCHED_FIFO` and `SCHED_RR`.
    Rt,
    /// `SCHED_OTHER`, `SCHED_BATCH`, `SCHED_IDLE`.
    Fair,
    /// `sched_ext`. The place is kept; no policy leads here yet.
    Ext,
    /// Nothing to run.
    Idle,
}

impl Class {
    /// The kernel's short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Deadline => "dl",
            Self::Rt => "rt",
            Self::Fair => "fair",
            Self::Ext => "ext",
            Self::Idle => "idle",
        }
    }
}

/// Everything `sched_setattr` sets for the classes there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attr {
    /// Policy, with the priority where the policy has one.
    pub policy: Policy,
    /// Kept, without effect, while the policy is a real-time one.
    pub nice: Nice,
    /// A slice of one's own in ns (`sched_attr.sched_runtime`, kernels that know it: 6.12 and
    /// later), clamped to 0.1 ms to 100 ms; `None` takes the base slice.
    pub slice_ns: Option<u64>,
    /// Children start as `SCHED_OTHER`, at nice 0 if this task's nice is negative.
    pub reset_on_fork: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w1_priorities_map_to_kernel_numbers() {
        let nice = Nice::default();
        let rt = |p| RtPriority::new(p).unwrap();
        assert_eq!(Policy::Fifo(rt(1)).kernel_prio(nice), 98);
        assert_eq!(Policy::Fifo(rt(99)).kernel_prio(nice), 0);
        assert_eq!(Policy::Rr(rt(50)).kernel_prio(nice), 49);
        assert_eq!(Policy::Normal.kernel_prio(Nice::MIN), 100);
        assert_eq!(Policy::Normal.kernel_prio(Nice::MAX), 139);
        assert_eq!(Policy::Normal.kernel_prio(nice), 120);
    }

    #[test]
    fn numbers_out_of_range_are_not_priorities() {
        assert_eq!((Nice::new(-21), Nice::new(20)), (None, None));
        assert_eq!((RtPriority::new(0), RtPriority::new(100)), (None, None));
    }
}
