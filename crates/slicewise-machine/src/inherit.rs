//! Priority inheritance of mutexes (classes.md A.11): who waits for whom, and what that lends.
//!
//! A mutex that inherits is given to its waiters by priority. Its owner runs with the priority of the
//! first of them, and if it waits for such a mutex itself, so does that one's owner, and so on.

use slicewise_trace::Sink;

use crate::error::Done;
use crate::machine::Machine;
use crate::task::NONE;

/// How important a waiter is: the kernel's priority number, and the deadline among deadline tasks.
/// All fair tasks are equal.
type Importance = (i32, u64);

/// The priority number that stands for all fair tasks.
const FAIR: i32 = 120;

impl<S: Sink> Machine<'_, S> {
    #[inline]
    pub(crate) fn inherits(&self, mutex: u32) -> bool {
        self.any_inherits && self.workload.mutexes[mutex as usize].inherits
    }

    fn importance(&self, task: u32) -> Importance {
        let id = self.tasks[task as usize].id;
        let prio = self.sched.effective_prio(id).unwrap_or(FAIR);
        let deadline = self.sched.deadline_values(id).map_or(0, |view| view.deadline_ns);
        (if prio >= 100 { FAIR } else { prio }, deadline)
    }

    /// Behind all waiters that are at least as important.
    pub(crate) fn join_by_priority(&mut self, mutex: u32, task: u32) {
        let own = self.importance(task);
        let (mut before, mut next) = (NONE, self.waits[mutex as usize].first);
        while next != NONE && self.importance(next) <= own {
            (before, next) = (next, self.tasks[next as usize].next_waiter);
        }
        self.join_after(mutex, before, task);
    }

    /// What the waiters for its mutexes lend a task; then the same for whom it waits for itself.
    /// Circles have been reported as deadlocks.
    pub(crate) fn lend_along(&mut self, task: u32) -> Done {
        let mut owner = task;
        loop {
            let state = &self.tasks[owner as usize];
            if !state.alive {
                return Ok(());
            }
            let held = self.held.get(&owner).map_or(&[][..], Vec::as_slice);
            let first = |mutex: &u32| self.waits[*mutex as usize].first;
            let waiters = held.iter().map(first).filter(|first| *first != NONE);
            let top = waiters.min_by_key(|waiter| self.importance(*waiter));
            let waiter = top.map(|top| self.tasks[top as usize].id);
            let (id, waits_in) = (state.id, state.waits_in);
            let lent = self.sched.lend(self.now, id, waiter);
            lent.map_err(|error| self.refused(error))?;
            self.take_outputs();
            if waits_in as usize >= self.owners.len() || !self.inherits(waits_in) {
                return Ok(());
            }
            self.leave(waits_in, owner);
            self.join_by_priority(waits_in, owner);
            match self.owners[waits_in as usize] {
                Some(next) => owner = next.slot,
                None => return Ok(()),
            }
        }
    }

    /// The task has given the mutex back.
    pub(crate) fn lets_go(&mut self, mutex: u32, task: u32) {
        if let Some(held) = self.held.get_mut(&task) {
            held.retain(|other| *other != mutex);
            if held.is_empty() {
                self.held.remove(&task);
            }
        }
    }

    /// From its owner to the waiter that is about to be woken: what was lent goes back first.
    pub(crate) fn pass_on(&mut self, mutex: u32, from: u32, to: Option<u32>) -> Done {
        self.lets_go(mutex, from);
        self.lend_along(from)?;
        if let Some(to) = to {
            self.held.entry(to).or_default().push(mutex);
            self.lend_along(to)?;
        }
        Ok(())
    }

    /// Takes a task out of the wait queue it is in, wherever it stands.
    fn leave(&mut self, queue: u32, task: u32) {
        let (mut before, mut next) = (NONE, self.waits[queue as usize].first);
        while next != NONE && next != task {
            (before, next) = (next, self.tasks[next as usize].next_waiter);
        }
        if next == task {
            self.leave_after(queue, before);
        }
    }
}
