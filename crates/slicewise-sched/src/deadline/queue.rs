//! The deadline queue of a CPU: tasks and the fair server, by absolute deadline (classes.md C.3).

use super::entity::DlEntity;
use crate::ordered::{Entry, Ordered};

/// Who is queued on a CPU, the running entity included, and the bandwidth that belongs there.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct DlQueue {
    /// Everyone queued.
    pub(crate) nr_queued: u32,
    /// Tasks queued; servers do not count.
    pub(crate) nr_tasks: u32,
    /// Apart: few CPUs ever have any.
    tree: Box<Ordered>,
    /// Bandwidth of all entities of this CPU, and of the active ones.
    pub(crate) this_bw: u64,
    pub(crate) running_bw: u64,
    next_seq: u64,
}

impl DlQueue {
    /// The entity with the earliest deadline.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        self.tree.first().map(|entry| entry.entity)
    }

    /// Everyone queued, by deadline.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.tree.iter().map(|entry| entry.entity)
    }

    /// Behind all with the same deadline.
    pub(crate) fn insert(&mut self, number: u32, entity: &mut DlEntity) {
        self.next_seq += 1;
        (entity.seq, entity.queued) = (self.next_seq, true);
        self.tree.insert(Entry {
            key: entity.deadline,
            seq: entity.seq,
            vruntime: 0,
            slice: 0,
            entity: number,
        });
        self.nr_queued += 1;
        self.nr_tasks += u32::from(!entity.is_server());
    }

    pub(crate) fn remove(&mut self, entity: &mut DlEntity) {
        if core::mem::replace(&mut entity.queued, false) {
            self.tree.remove(entity.deadline, entity.seq);
            self.nr_queued -= 1;
            self.nr_tasks -= u32::from(!entity.is_server());
        }
    }
}
