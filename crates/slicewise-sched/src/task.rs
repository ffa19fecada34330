//! What the core knows of a task, and the arena that holds them.

use crate::rt::RtEntity;
use crate::weight::Load;
use crate::{Attr, Class, CpuSet, DlParams, Error, Nice, Policy, RtPriority, TaskId};

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

/// A policy without its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PolicyKind {
    Normal,
    Batch,
    Idle,
    Fifo,
    Rr,
    Deadline,
    Stop,
}

impl PolicyKind {
    fn of(policy: Policy) -> Self {
        match policy {
            Policy::Normal => Self::Normal,
            Policy::Batch => Self::Batch,
            Policy::Idle => Self::Idle,
            Policy::Fifo(_) => Self::Fifo,
            Policy::Rr(_) => Self::Rr,
            Policy::Deadline(_) => Self::Deadline,
            Policy::Stop => Self::Stop,
        }
    }
}

/// Nobody lends anything.
pub(crate) const NOT_LENT: i16 = i16::MAX;

/// The class a task is scheduled in with these attributes and what is lent to it.
pub(crate) fn class_with(attr: &Attr, lent_prio: i16) -> Class {
    let class = match lent_prio {
        ..0 => Class::Deadline,
        0..100 => Class::Rt,
        _ => Class::Fair,
    };
    class.min(attr.policy.class())
}

/// No deadline entity.
pub(crate) const NO_DL: u32 = u32::MAX;

/// A task. What it asked for is kept in few bytes, with the deadline parameters elsewhere: there are
/// many tasks, and few of them have any. One is a cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Task {
    pub(crate) generation: u32,
    pub(crate) state: State,
    /// The class that schedules it now: of its policy, or of who waits for it (priority
    /// inheritance).
    pub(crate) class: Class,
    /// The kernel's priority number it is scheduled with now, inheritance included.
    pub(crate) prio: i16,
    pub(crate) policy: PolicyKind,
    /// Of the policy, if it has one.
    rt_priority: u8,
    pub(crate) nice: Nice,
    pub(crate) reset_on_fork: bool,
    /// The priority number that who waits for it lends it, or [`NOT_LENT`].
    pub(crate) lent_prio: i16,
    /// The slice it asked for, ns; 0 for none.
    slice_ns: u32,
    /// Its deadline entity, or [`NO_DL`].
    pub(crate) dl: u32,
    /// Where it runs, waits, or last ran.
    pub(crate) cpu: u32,
    pub(crate) affinity: CpuSet,
    pub(crate) rt: RtEntity,
    /// Running where it may not any more: it moves at the next switch.
    pub(crate) must_move: bool,
    /// Runnable, but taken off its queue until its group has quota again.
    pub(crate) parked: bool,
    /// The group it is in, or [`ROOT`]; of a group's entity, the queue it stands for.
    pub(crate) group: u32,
}

impl Task {
    /// A task that nobody lends a priority to.
    pub(crate) fn new(state: State, cpu: u32, attr: &Attr, affinity: CpuSet, rt: RtEntity) -> Self {
        let mut task = Self {
            generation: 0,
            state,
            class: Class::Fair,
            prio: 0,
            policy: PolicyKind::Normal,
            rt_priority: 0,
            nice: attr.nice,
            reset_on_fork: false,
            lent_prio: NOT_LENT,
            slice_ns: 0,
            dl: NO_DL,
            cpu,
            affinity,
            rt,
            must_move: false,
            parked: false,
            group: ROOT,
        };
        task.set_attr(attr);
        task
    }

    /// Takes over what was asked for, except deadline parameters.
    pub(crate) fn set_attr(&mut self, attr: &Attr) {
        self.policy = PolicyKind::of(attr.policy);
        self.rt_priority = match attr.policy {
            Policy::Fifo(priority) | Policy::Rr(priority) => priority.get(),
            _ => 0,
        };
        (self.nice, self.reset_on_fork) = (attr.nice, attr.reset_on_fork);
        self.slice_ns = match attr.slice_ns {
            Some(slice) => u32::try_from(slice).unwrap_or(u32::MAX),
            None => 0,
        };
        self.prio = self.prio_with(attr, self.lent_prio);
        self.class = class_with(attr, self.lent_prio);
    }

    /// The priority number it has with these attributes and what is lent to it.
    pub(crate) fn prio_with(&self, attr: &Attr, lent_prio: i16) -> i16 {
        lent_prio.min(attr.policy.kernel_prio(attr.nice) as i16)
    }

    /// What was asked for; `dl` are its deadline parameters.
    pub(crate) fn attr(&self, dl: Option<DlParams>) -> Attr {
        let rt = RtPriority::new(i64::from(self.rt_priority));
        let policy = match (self.policy, rt, dl) {
            (PolicyKind::Batch, ..) => Policy::Batch,
            (PolicyKind::Idle, ..) => Policy::Idle,
            (PolicyKind::Fifo, Some(priority), _) => Policy::Fifo(priority),
            (PolicyKind::Rr, Some(priority), _) => Policy::Rr(priority),
            (PolicyKind::Deadline, _, Some(params)) => Policy::Deadline(params),
            (PolicyKind::Stop, ..) => Policy::Stop,
            _ => Policy::Normal,
        };
        Attr {
            policy,
            nice: self.nice,
            slice_ns: (self.slice_ns > 0).then_some(u64::from(self.slice_ns)),
            reset_on_fork: self.reset_on_fork,
        }
    }

    /// The load of its policy and nice value.
    #[inline]
    pub(crate) fn load(&self) -> Load {
        match self.policy {
            PolicyKind::Idle => Load::of(Policy::Idle, self.nice),
            _ => Load::of(Policy::Normal, self.nice),
        }
    }
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
