//! The real-time class: a list for each of the priorities 1 to 99, the head of the best list runs
//! (classes.md B.1 to B.3).
//!
//! With groups (RT_GROUP_SCHED) each group has such lists as well, and an entity in its parent's.
//! The running task stays where it is on its list. FIFO and RR tasks of one priority share a list;
//! only RR tasks move to its tail when their slice is used up.

use crate::task::Task;

/// Lists: kernel priorities 0 (best) to 98, and 99, which nobody has.
const LISTS: usize = 100;
const NONE: u32 = u32::MAX;

/// Where a task goes on its list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Position {
    /// Behind all others of its priority.
    Tail,
    /// Before all others of its priority.
    Head,
}

/// Links of a task on its list, and what is left of its RR slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtEntity {
    prev: u32,
    next: u32,
    /// The list, while queued.
    list: u8,
    pub(crate) queued: bool,
    /// Ticks left of the RR slice.
    pub(crate) ticks_left: u16,
    /// Ticks run since it last woke, for RLIMIT_RTTIME (classes.md B.2).
    pub(crate) ticks_run: u32,
}

impl RtEntity {
    pub(crate) fn new(rr_ticks: u16) -> Self {
        Self { prev: NONE, next: NONE, list: 0, queued: false, ticks_left: rr_ticks, ticks_run: 0 }
    }
}

/// The real-time queue of a CPU.
#[derive(Clone, Debug)]
pub(crate) struct RtQueue {
    head: Box<[u32; LISTS]>,
    tail: Box<[u32; LISTS]>,
    /// Bit `p`: list `p` has tasks.
    bitmap: u128,
    pub(crate) nr_queued: u32,
}

impl RtQueue {
    pub(crate) fn new() -> Self {
        Self {
            head: Box::new([NONE; LISTS]),
            tail: Box::new([NONE; LISTS]),
            bitmap: 0,
            nr_queued: 0,
        }
    }

    /// The best kernel priority queued.
    #[inline]
    pub(crate) fn best(&self) -> Option<u8> {
        (self.bitmap != 0).then(|| self.bitmap.trailing_zeros() as u8)
    }

    /// The task that should run.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        self.best().map(|list| self.head[list as usize])
    }

    /// Everyone queued, best first.
    pub(crate) fn iter<'t>(&'t self, tasks: &'t [Task]) -> impl Iterator<Item = u32> + 't {
        (0..LISTS).filter(|list| self.bitmap >> list & 1 == 1).flat_map(move |list| {
            core::iter::successors(Some(self.head[list]), |id| {
                let next = tasks[*id as usize].rt.next;
                (next != NONE).then_some(next)
            })
        })
    }

    pub(crate) fn enqueue(&mut self, tasks: &mut [Task], id: u32, prio: u8, position: Position) {
        let list = usize::from(prio).min(LISTS - 1);
        self.link(tasks, id, list, position);
        self.bitmap |= 1 << list;
        self.nr_queued += 1;
    }

    fn link(&mut self, tasks: &mut [Task], id: u32, list: usize, position: Position) {
        let (prev, next) = match position {
            Position::Tail => (self.tail[list], NONE),
            Position::Head => (NONE, self.head[list]),
        };
        let rt = &mut tasks[id as usize].rt;
        (rt.prev, rt.next, rt.list, rt.queued) = (prev, next, list as u8, true);
        match prev {
            NONE => self.head[list] = id,
            prev => tasks[prev as usize].rt.next = id,
        }
        match next {
            NONE => self.tail[list] = id,
            next => tasks[next as usize].rt.prev = id,
        }
    }

    fn unlink(&mut self, tasks: &mut [Task], id: u32) -> usize {
        let rt = &mut tasks[id as usize].rt;
        rt.queued = false;
        let (prev, next, list) = (rt.prev, rt.next, usize::from(rt.list));
        match prev {
            NONE => self.head[list] = next,
            prev => tasks[prev as usize].rt.next = next,
        }
        match next {
            NONE => self.tail[list] = prev,
            next => tasks[next as usize].rt.prev = prev,
        }
        list
    }

    pub(crate) fn dequeue(&mut self, tasks: &mut [Task], id: u32) {
        let list = self.unlink(tasks, id);
        if self.head[list] == NONE {
            self.bitmap &= !(1 << list);
        }
        self.nr_queued -= 1;
    }

    /// Moves a queued task within its list.
    pub(crate) fn requeue(&mut self, tasks: &mut [Task], id: u32, position: Position) {
        let list = self.unlink(tasks, id);
        self.link(tasks, id, list, position);
    }

    /// Whether the task is alone at its priority.
    pub(crate) fn alone(&self, tasks: &[Task], id: u32) -> bool {
        let rt = &tasks[id as usize].rt;
        rt.prev == NONE && rt.next == NONE
    }
}
