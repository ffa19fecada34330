//! What a child begins with (classes.md A.4).

use slicewise_sched::Nice;

use crate::refusal::{Refusal, Rule};
use crate::system::System;
use crate::task::{CLAMPS_NONE, Pid, Task, policy};

impl System {
    /// fork(2), clone(2), pthread_create(3): the parent's thread `child` begins.
    ///
    /// # Errors
    /// A deadline task without reset-on-fork gets `EAGAIN`.
    pub fn fork(&mut self, parent: Pid, child: Pid) -> Result<(), Refusal> {
        let task = self.found(parent)?;
        let mut young = Task { prio: task.normal_prio, ..task.clone() };
        if task.reset_on_fork {
            if task.is_deadline() || policy::is_rt(task.policy) {
                young.policy = policy::OTHER;
                young.rt_priority = 0;
                young.nice = Nice::default();
            } else if task.nice < Nice::default() {
                young.nice = Nice::default();
            }
            young.prio = Task::prio_of(young.policy, 0, young.nice);
            young.normal_prio = young.prio;
            young.slice_ns = None;
            young.clamps = CLAMPS_NONE;
            young.reset_on_fork = false;
        }
        if young.prio < 0 {
            let detail = format!("thread {parent} is SCHED_DEADLINE without reset-on-fork");
            return Err(Refusal::new(Rule::DeadlineFork, detail));
        }
        self.insert(child, young);
        self.note_attr(child);
        Ok(())
    }
}
