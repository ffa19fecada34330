//! Names for things: tasks, groups and CPUs.

use core::fmt;
use core::num::NonZeroU64;

/// One CPU, numbered from 0 as the kernel numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CpuId(pub u32);

impl CpuId {
    /// The number as an index into per-CPU arrays.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One task group (a cgroup with the cpu controller). The root group has no number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId(pub(crate) u32);

impl GroupId {
    /// The number as an index into arrays: groups are numbered in the order they were made.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One task. Slots are used again after a task has exited; the generation tells the old task from
/// the new one, so that a stale wakeup or timer is refused and never reaches the wrong task.
///
/// One word, never 0, so that `Option<TaskId>` is a word too: slot + 1 above, generation below.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    #[inline]
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        let word = (u64::from(slot) + 1) << 32 | u64::from(generation);
        Self(NonZeroU64::new(word).unwrap_or(NonZeroU64::MIN))
    }

    /// The slot: a small number, good for side arrays. Living tasks and the entities of groups
    /// share the slots.
    #[inline]
    pub fn slot(self) -> usize {
        ((self.0.get() >> 32) - 1) as usize
    }

    /// How many tasks used this slot before.
    #[inline]
    pub fn generation(self) -> u32 {
        self.0.get() as u32
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}
