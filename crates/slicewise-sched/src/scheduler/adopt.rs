//! For hosts that watch another scheduler at work: tasks that were there before, and charges that
//! come with no decision.

use super::Scheduler;
use crate::task::State;
use crate::{Attr, CpuId, CpuSet, Error, TaskId};

impl Scheduler {
    /// Makes a task known that sleeps and last ran on `cpu`: for hosts that come upon a machine at
    /// work. Of its past nothing is known: it is owed nothing and owes nothing (EEVDF: lag 0), and
    /// stands at the queue's minimum (CFS).
    ///
    /// # Errors
    /// If the CPU does not exist or is not in `affinity`.
    pub fn adopt(&mut self, cpu: CpuId, attr: Attr, affinity: CpuSet) -> Result<TaskId, Error> {
        self.check_cpu(cpu)?;
        if !affinity.contains(cpu) {
            return Err(Error::NoAllowedCpu);
        }
        let slot = self.add_task(State::Sleeping, cpu.0, attr, affinity);
        // Means nothing to EEVDF, which places a waking task by its lag.
        let zero = self.cpus[cpu.index()].fair.zero_vruntime();
        self.entities[slot as usize].vruntime = zero;
        Ok(self.tasks.id(slot))
    }

    /// The running task is charged for its time, and nothing else happens: as when someone reads
    /// how much CPU time it had. That may show that it has had enough.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn charge(&mut self, now_ns: u64, cpu: CpuId) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        self.check_cpu(cpu)?;
        if self.groups.any() {
            self.account_in_groups(now_ns, cpu.0);
        }
        self.cpus[cpu.index()].fair.account(&self.params, &mut self.entities, now_ns);
        self.take_fair_resched(cpu.0);
        Ok(())
    }
}
