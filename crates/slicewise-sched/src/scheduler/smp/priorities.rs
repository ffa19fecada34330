//! How important the work of each CPU is, for real-time and deadline tasks that look for a CPU
//! (classes.md B.5, cpupri): a mask of CPUs for each level, so that nobody looks at all CPUs.
//!
//! *Simplifications*: where groups have real-time queues of their own (RT_GROUP_SCHED) all CPUs are
//! looked at. Of CPUs that are as good, the one that comes after the task's own is taken, where
//! kernels go on from their last choice.

use super::super::Scheduler;
use super::Smp;
use crate::domains::DomainFlags;
use crate::mask::CpuMask;
use crate::{CpuId, CpuSet};

/// Nothing above the fair class.
const FREE: u8 = 0;
/// Deadline tasks, or the stop class.
const DEADLINE: u8 = 100;
const LEVELS: usize = 101;

/// The levels of all CPUs.
#[derive(Clone, Debug)]
pub(super) struct Priorities {
    level: Vec<u8>,
    /// CPUs of each level; made when the first comes.
    members: Vec<Option<Box<CpuMask>>>,
    /// A bit for each level that has any.
    inhabited: u128,
    /// CPUs above [`FREE`].
    pub(super) busy: CpuMask,
}

impl Priorities {
    pub(super) fn new(cpus: u32) -> Self {
        let mut members = vec![None; LEVELS];
        members[usize::from(FREE)] = Some(Box::new(CpuMask::all(cpus)));
        Self { level: vec![FREE; cpus as usize], members, inhabited: 1, busy: CpuMask::none(cpus) }
    }

    fn set(&mut self, cpu: u32, level: u8) {
        let old = core::mem::replace(&mut self.level[cpu as usize], level);
        if old == level {
            return;
        }
        if let Some(mask) = &mut self.members[usize::from(old)] {
            mask.remove(cpu);
            if mask.is_empty() {
                self.inhabited &= !(1 << old);
            }
        }
        let cpus = self.level.len() as u32;
        let mask = &mut self.members[usize::from(level)];
        mask.get_or_insert_with(|| Box::new(CpuMask::none(cpus))).insert(cpu);
        self.inhabited |= 1 << level;
        if level == FREE {
            self.busy.remove(cpu);
        } else {
            self.busy.insert(cpu);
        }
    }
}

impl Smp {
    /// CPUs with real-time or deadline tasks queued that do not have to be looked at in vain.
    pub(in super::super) fn busy_above(&self) -> &CpuMask {
        &self.priorities.busy
    }

    /// Of CPUs that will do, the one closest to the task's, or the waker's if that is as close.
    fn closest(&self, cpu: u32, this: u32, will_do: impl Fn(u32) -> bool) -> Option<u32> {
        if will_do(cpu) {
            return Some(cpu);
        }
        for (_, domain) in self.domains.of(cpu) {
            if !domain.flags.has(DomainFlags::WAKE_AFFINE) {
                continue;
            }
            if domain.span.contains(this) && will_do(this) {
                return Some(this);
            }
            if let Some(other) = domain.span.iter_from(cpu + 1).find(|other| will_do(*other)) {
                return Some(other);
            }
        }
        if will_do(this) {
            return Some(this);
        }
        (0..self.cpus.len() as u32).find(|other| will_do(*other))
    }

    /// Whether tasks of one CPU may move to the other at all.
    pub(in super::super) fn same_partition(&self, one: u32, other: u32) -> bool {
        self.domains.partition[one as usize] == self.domains.partition[other as usize]
    }
}

impl Scheduler {
    /// What is queued on a CPU above the fair class may have changed.
    pub(in super::super) fn note_priority(&mut self, cpu: u32) {
        if self.cpus.len() == 1 {
            return;
        }
        let rq = &self.cpus[cpu as usize];
        let level = if !rq.stop.is_empty() || rq.dl.nr_queued > 0 {
            DEADLINE
        } else {
            match rq.rt.best().filter(|_| !rq.rt_throttled) {
                Some(prio) => 99 - prio.min(98),
                None => FREE,
            }
        };
        self.smp.priorities.set(cpu, level);
    }

    /// An allowed CPU with the least important work, if that is less important than this kernel
    /// priority (B.5).
    pub(in super::super) fn find_lowest(
        &self,
        prio: u8,
        cpu: u32,
        this: u32,
        allowed: &CpuSet,
    ) -> Option<u32> {
        let own = 99 - prio.min(98);
        let priorities = &self.smp.priorities;
        let mut levels = priorities.inhabited & ((1 << own) - 1);
        while levels != 0 {
            let level = levels.trailing_zeros() as u8;
            levels &= levels - 1;
            let will_do = |other: u32| {
                priorities.level[other as usize] == level
                    && allowed.contains(CpuId(other))
                    && self.smp.same_partition(cpu, other)
            };
            let members = &priorities.members[usize::from(level)];
            let any = members.as_ref().is_some_and(|mask| mask.iter().any(will_do));
            if any {
                return self.smp.closest(cpu, this, will_do);
            }
        }
        None
    }

    /// An allowed CPU without deadline tasks.
    pub(in super::super) fn find_free_of_deadlines(
        &self,
        cpu: u32,
        this: u32,
        allowed: &CpuSet,
    ) -> Option<u32> {
        self.smp.closest(cpu, this, |other| {
            other != cpu
                && self.cpus[other as usize].dl.nr_queued == 0
                && self.cpus[other as usize].stop.is_empty()
                && allowed.contains(CpuId(other))
                && self.smp.same_partition(cpu, other)
        })
    }
}
