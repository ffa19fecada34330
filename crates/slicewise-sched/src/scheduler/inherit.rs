//! Priority inheritance: a task that someone waits for runs with that one's priority (classes.md
//! A.11, C.8). Who waits for whom is the host's business; the core is told the most important waiter.

use super::Scheduler;
use crate::ordered::before;
use crate::task::NOT_LENT;
use crate::{Class, DlParams, Error, TaskId};

impl Scheduler {
    /// The most important task that waits for this one, or none any more: its priority is lent to
    /// it. Call it again when the waiter's own priority changes.
    ///
    /// # Errors
    /// If a task is unknown.
    pub fn lend(&mut self, now_ns: u64, task: TaskId, waiter: Option<TaskId>) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.tasks.find(task)?;
        let waiter = waiter.map(|waiter| self.tasks.find(waiter)).transpose()?;
        let prio = waiter.map_or(NOT_LENT, |waiter| self.tasks.slots[waiter as usize].prio);
        let deadline = waiter.and_then(|waiter| self.lends_deadline(slot, waiter));
        let lent = &self.tasks.slots[slot as usize];
        let has = self.deadlines.entities.get(lent.dl as usize).and_then(|entity| entity.lent);
        if lent.lent_prio == prio && has == deadline {
            return Ok(());
        }
        let attr = self.attr_of(slot);
        if lent.prio == lent.prio_with(&attr, prio) && has == deadline {
            self.tasks.slots[slot as usize].lent_prio = prio;
            return Ok(());
        }
        self.while_unparked(now_ns, slot, |sched| {
            sched.change_class(now_ns, slot, attr, Some((prio, deadline)));
        });
        Ok(())
    }

    /// What a deadline task lends: its parameters, unless the other's own deadline is earlier.
    fn lends_deadline(&self, slot: u32, waiter: u32) -> Option<DlParams> {
        let (task, waiter) = (&self.tasks.slots[slot as usize], &self.tasks.slots[waiter as usize]);
        if waiter.class != Class::Deadline {
            return None;
        }
        let entity = self.deadlines.entities.get(waiter.dl as usize)?;
        let own = self.deadlines.entities.get(task.dl as usize);
        let earlier = own
            .is_none_or(|own| own.params.deadline_ns == 0 || before(entity.deadline, own.deadline));
        earlier.then(|| entity.in_force())
    }

    /// The priority number a task is scheduled with now, inheritance included (classes.md A.2).
    pub fn effective_prio(&self, task: TaskId) -> Option<i32> {
        let slot = self.tasks.find(task).ok()?;
        Some(i32::from(self.tasks.slots[slot as usize].prio))
    }
}
