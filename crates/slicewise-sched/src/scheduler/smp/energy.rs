//! Energy-aware placement: of CPUs where a waking task fits, the one that costs the least energy
//! (fair.md G.9).
//!
//! Only with an energy model, on a machine whose CPUs differ in capacity, and while none of its CPUs is
//! over-utilised (more than 80 % of its capacity); then balancing leaves tasks alone too. Frequencies are
//! taken to follow utilisation, as with the governor schedutil, without which kernels do not do this.
//!
//! *Simplification*: kernels note that a CPU is over-utilised at enqueues and ticks and forget it at the
//! next balance of the widest domain; here all CPUs are looked at anew.

use super::rules;
use super::wake::Waking;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Whether tasks are placed by energy in the partition of a CPU right now.
    #[cold]
    pub(super) fn saves_energy(&self, cpu: u32) -> bool {
        let Some((_, widest)) = self.smp.domains.of(cpu).next_back() else { return false };
        self.smp.energy.is_some()
            && widest
                .span
                .iter()
                .all(|cpu| rules::fits(self.cpu_util(cpu), self.smp.capacity_left(cpu)))
    }

    #[cfg(test)]
    pub(in super::super) fn saves_energy_for_test(&self, cpu: u32) -> bool {
        self.saves_energy(cpu)
    }

    /// Where a task wakes that is placed by energy; `None` if it is not.
    #[cold]
    pub(super) fn select_by_energy(&self, waking: Waking) -> Option<u32> {
        let Waking { slot, prev, this, .. } = waking;
        let model = self.smp.energy.as_deref()?;
        if self.smp.partition(prev) != self.smp.partition(this) || !self.saves_energy(this) {
            return None;
        }
        if self.task_util(slot) == 0 {
            return Some(prev);
        }
        // What it costs to have the task on the previous CPU, and on the best other one.
        let mut stay = None;
        let mut best: Option<(u64, u32)> = None;
        for domain in &model.domains {
            let mut prev_left = None;
            let mut most_left: Option<(u64, u32)> = None;
            for cpu in domain.cpus.iter().copied() {
                if !self.allows(slot, cpu) || self.smp.partition(cpu) != self.smp.partition(prev) {
                    continue;
                }
                let (util, capacity) =
                    (self.util_for(slot, cpu, true), self.smp.capacity_left(cpu));
                if !rules::fits(util, capacity) {
                    continue;
                }
                let left = capacity.saturating_sub(util);
                if cpu == prev {
                    prev_left = Some(left);
                } else if most_left.is_none_or(|(most, _)| left > most) {
                    most_left = Some((left, cpu));
                }
            }
            let with = |here: Option<u32>| {
                let (mut most, mut sum) = (0, 0);
                for cpu in domain.cpus.iter().copied() {
                    let fair = self.util_for(slot, cpu, here == Some(cpu));
                    let busy = (fair + self.util_above(cpu)).min(self.smp.capacity_of(cpu));
                    most = most.max(busy);
                    sum += busy;
                }
                domain.energy(most, sum)
            };
            let without = with(None);
            if prev_left.is_some() {
                stay = Some(with(Some(prev)).saturating_sub(without));
            }
            let other = most_left.filter(|(left, _)| prev_left.is_none_or(|prev| *left > prev));
            if let Some((_, cpu)) = other {
                let more = with(Some(cpu)).saturating_sub(without);
                if best.is_none_or(|(least, _)| more < least) {
                    best = Some((more, cpu));
                }
            }
        }
        Some(match best {
            Some((more, cpu)) if stay.is_none_or(|stay| more < stay) => cpu,
            _ => prev,
        })
    }

    /// The utilisation of a CPU by fair tasks, as it would be with a sleeping one there, or elsewhere.
    fn util_for(&self, slot: u32, cpu: u32, here: bool) -> u64 {
        let (util, estimate) = self.utils_of_cpu(cpu);
        let (own, own_estimate) = self.utils_of_task(slot);
        let counted = self.tasks.slots[slot as usize].cpu == cpu && self.is_counted(slot);
        let util = if counted { util.saturating_sub(own) } else { util };
        match here {
            true => (util + own).max(estimate + own_estimate),
            false => util.max(estimate),
        }
    }
}
