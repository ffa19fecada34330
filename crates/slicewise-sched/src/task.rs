//! What the core knows of a task, and the arena that holds them.

use crate::rt::RtEntity;
use crate::{Attr, CpuSet, Error, TaskId};

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Wants a CPU or has one.
    Runnable,
    /// Waits for something else. A delayed fair task sleeps, though its entity is still queued.
    Sleeping,
    /// Has ended, but its CPU has not switched away yet.
    Exiting,
    /// The slot is free.
    Free,
    /// Not a task: the entity of a group on a CPU.
    Group,
}

/// No group, and no queue of a group: the root.
pub(crate) const ROOT: u32 = u32::MAX;

/// A task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) generation: u32,
    pub(crate) state: State,
    /// Where it runs, waits, or last ran.
    pub(crate) cpu: u32,
    pub(crate) attr: Attr,
    pub(crate) affinity: CpuSet,
    pub(crate) rt: RtEntity,
    /// Running where it may not any more: it moves at the next switch.
    pub(crate) must_move: bool,
    /// Runnable, but taken off its queue until its group has quota again.
    pub(crate) parked: bool,
    /// The group it is in, or [`ROOT`]; of a group's entity, the queue it stands for.
    pub(crate) group: u32,
}

/// All tasks, by slot. Freed slots are used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    pub(crate) slots: Vec<Task>,
    free: Vec<u32>,
}

impl Tasks {
    /// The slot of a living task.
    #[inline]
    pub(crate) fn find(&self, task: TaskId) -> Result<u32, Error> {
        match self.slots.get(task.slot()) {
            Some(found)
                if found.generation == task.generation()
                    && matches!(found.state, State::Runnable | State::Sleeping) =>
            {
                Ok(task.slot() as u32)
            }
            _ => Err(Error::NoSuchTask(task)),
        }
    }

    #[inline]
    pub(crate) fn id(&self, slot: u32) -> TaskId {
        TaskId::new(slot, self.slots[slot as usize].generation)
    }

    pub(crate) fn add(&mut self, mut task: Task) -> u32 {
        match self.free.pop() {
            Some(slot) => {
                task.generation = self.slots[slot as usize].generation;
                self.slots[slot as usize] = task;
                slot
            }
            None => {
                self.slots.push(task);
                (self.slots.len() - 1) as u32
            }
        }
    }

    pub(crate) fn free(&mut self, slot: u32) {
        let task = &mut self.slots[slot as usize];
        task.state = State::Free;
        task.generation = task.generation.wrapping_add(1);
        self.free.push(slot);
    }
}
