//! Time that no task had: interrupts, on kernels that account them (IRQ_TIME_ACCOUNTING).
//!
//! A kernel charges by `clock_task`, which stands still in interrupts (fair.md 0.4). This core has one
//! clock. A host that knows how long an interrupt goes on says so when it begins: the running task is
//! charged up to then, and its next charge begins that much later.
//!
//! *Simplifications.* Load averages go on in interrupts, and capacity does not shrink by them
//! (`avg_irq`). Who gets the CPU before the interrupt is over is charged for the rest of it: hosts have
//! picks wait for its end, as they do in a kernel.

use super::Scheduler;
use crate::{Class, CpuId, Error};

impl Scheduler {
    /// An interrupt has this CPU from now on for `length_ns`, beginning after those that have it
    /// already. The running task is not charged for it.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn steal(&mut self, now_ns: u64, cpu: CpuId, length_ns: u64) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        self.check_cpu(cpu)?;
        let Some(current) = self.cpus[cpu.index()].current else { return Ok(()) };
        match self.tasks.slots[current as usize].class {
            Class::Fair => {
                self.charge(now_ns, cpu)?;
                let (mut entity, mut level) = (current, self.running_level(cpu.0));
                loop {
                    let state = &mut self.entities[entity as usize];
                    state.exec_start = state.exec_start.wrapping_add(length_ns);
                    match self.groups.above(level) {
                        Some(above) => (entity, level) = above,
                        None => return Ok(()),
                    }
                }
            }
            Class::Deadline | Class::Rt => {
                self.charge_current(now_ns, cpu.0);
                let rq = &mut self.cpus[cpu.index()];
                rq.exec_start_ns = rq.exec_start_ns.saturating_add(length_ns);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
