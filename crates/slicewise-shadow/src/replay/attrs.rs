//! Changes of priority, nice, policy and name: when they happened, as near as the trace tells.

use slicewise_ftrace::{Other, TaskRef, Value};

use super::Replay;
use crate::ShadowError;
use crate::cpu::Pending;

/// `setpriority(PRIO_PROCESS, …)`.
const PRIO_PROCESS: u64 = 0;

fn argument(other: &Other, name: &str) -> Option<u64> {
    other.field(name).and_then(Value::as_u64)
}

impl Replay<'_> {
    /// System calls that change attributes. A call of `setpriority` says what it does; of the
    /// others only the end is known, and what the task is like when it leaves the CPU next.
    pub(super) fn attribute_call(
        &mut self,
        cpu: usize,
        pid: Option<i32>,
        other: &Other,
    ) -> Result<(), ShadowError> {
        let name = &*other.name;
        if name.contains("sys_enter_") {
            self.settle(cpu)?;
            self.cpus[cpu].change = if name.ends_with("setpriority") {
                self.renice(pid, other)
            } else {
                self.cpus[cpu].becomes.filter(|task| Some(task.pid) == pid)
            };
            return self.pend(cpu, Pending::Attributes);
        }
        let failed = argument(other, "ret").is_some_and(|result| (result as i64) < 0);
        if failed && self.cpus[cpu].pending == Some(Pending::Attributes) {
            self.cpus[cpu].pending = None;
        }
        self.settle(cpu)?;
        match self.cpus[cpu].becomes {
            // Where only ends of calls are in the trace.
            Some(task) if !failed && Some(task.pid) == pid && !name.ends_with("setpriority") => {
                self.set_attr(&task)
            }
            _ => Ok(()),
        }
    }

    /// Whom a call of `setpriority` is about, and what it will be.
    fn renice(&self, pid: Option<i32>, other: &Other) -> Option<TaskRef> {
        let target = match argument(other, "who")? as i32 {
            0 => pid?,
            target => target,
        };
        let nice = (argument(other, "niceval")? as i32).clamp(-20, 19);
        let known = self.tasks.get(target)?;
        // A nice value means nothing to a real-time task for now.
        let is_meant = argument(other, "which") == Some(PRIO_PROCESS) && known.fair;
        is_meant.then_some(TaskRef { pid: target, comm: known.comm, prio: 120 + nice })
    }

    /// A task comes to the CPU that will have changed when it leaves. If the calls that do so are
    /// not in the trace, it changes at once.
    pub(super) fn will_change(&mut self, cpu: usize, pid: i32) -> Result<(), ShadowError> {
        let becomes = self.survey.changes.get(&(pid, self.now_ns)).copied();
        self.cpus[cpu].becomes = becomes;
        match becomes {
            Some(task) if !self.survey.has_attribute_calls => self.set_attr(&task),
            _ => Ok(()),
        }
    }
}
