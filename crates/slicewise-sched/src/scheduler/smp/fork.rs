//! Where a new fair task starts: from the widest domain down, the idlest group, then its idlest CPU
//! (fair.md G.3).

use super::super::Scheduler;
use super::busiest::{GroupKind, GroupStats, Idleness};
use super::rules::{UNIT, numa_imbalance};
use crate::domains::{Domain, DomainFlags};
use crate::{CpuId, CpuSet};

impl Scheduler {
    /// The CPU for a task that `cpu` forks. `None` if the chain of domains leads nowhere it may run.
    pub(in super::super) fn select_fork_fair(&self, cpu: u32, allowed: &CpuSet) -> Option<u32> {
        let mut here = cpu;
        let chain = &self.smp.domains.chains[here as usize];
        let mut step = (0..chain.len())
            .rev()
            .find(|step| self.smp.link(here, *step).1.flags.has(DomainFlags::BALANCE_FORK));
        while let Some(at) = step {
            let (link, domain) = self.smp.link(here, at);
            if !domain.flags.has(DomainFlags::BALANCE_FORK) {
                step = at.checked_sub(1);
                continue;
            }
            let group = self.idlest_group(link.domain, link.local_group as usize, allowed);
            let next = group.and_then(|group| self.idlest_cpu(&domain.groups[group].cpus, allowed));
            let Some(next) = next.filter(|next| *next != here) else {
                step = at.checked_sub(1);
                continue;
            };
            // On with the domains of the new CPU that are narrower than this one.
            let weight = domain.weight;
            here = next;
            let chain = &self.smp.domains.chains[here as usize];
            step = (0..chain.len()).rev().find(|step| {
                let narrower = self.smp.link(here, *step).1;
                narrower.weight < weight && narrower.flags.has(DomainFlags::BALANCE_FORK)
            });
        }
        Some(here).filter(|cpu| allowed.contains(CpuId(*cpu)))
    }

    /// The group that is better than the local one, if one is.
    fn idlest_group(&self, number: u32, local_at: usize, allowed: &CpuSet) -> Option<usize> {
        let domain = &self.smp.domains.list[number as usize];
        let groups = domain.groups.len();
        let mut idlest: Option<(usize, GroupStats)> = None;
        let mut local_stats = None;
        for at in (0..groups).map(|step| (local_at + step) % groups) {
            let group = &domain.groups[at];
            let may = group.cpus.iter().any(|cpu| allowed.contains(CpuId(cpu)));
            // The local group counts even if the task may not run there.
            if !may && at != local_at {
                continue;
            }
            let stats = self.group_stats(number, at, None, Idleness::Busy);
            if at == local_at {
                local_stats = may.then_some(stats);
            } else if idlest.as_ref().is_none_or(|(_, best)| stats.is_idler(best)) {
                idlest = Some((at, stats));
            }
        }
        let (at, idlest) = idlest?;
        let Some(local) = local_stats else { return Some(at) };
        let within =
            domain.groups[local_at].cpus.iter().filter(|cpu| allowed.contains(CpuId(*cpu)));
        let imbalance = domain.imb_numa_nr.min(within.count() as u32);
        idlest.beats_local(&local, domain, imbalance).then_some(at)
    }

    /// The CPU of a group that is free, or else has the least load.
    fn idlest_cpu(&self, cpus: &crate::mask::CpuMask, allowed: &CpuSet) -> Option<u32> {
        let mut latest: Option<(u64, u32)> = None;
        let mut least: Option<(u64, u32)> = None;
        for cpu in cpus.iter().filter(|cpu| allowed.contains(CpuId(*cpu))) {
            if self.only_idle_policy(cpu) {
                return Some(cpu);
            }
            if self.idles(cpu) {
                // The one that went idle last has the warmest cache.
                let since = self.smp.cpus[cpu as usize].idle_since_ns;
                if latest.is_none_or(|(best, _)| since > best) {
                    latest = Some((since, cpu));
                }
            } else if latest.is_none() {
                let load = self.cpu_load(cpu);
                if least.is_none_or(|(best, _)| load < best) {
                    least = Some((load, cpu));
                }
            }
        }
        latest.or(least).map(|(_, cpu)| cpu)
    }
}

impl GroupStats {
    /// Whether a new task does better here than in another group.
    fn is_idler(&self, other: &Self) -> bool {
        if self.kind != other.kind {
            return self.kind < other.kind;
        }
        match self.kind {
            GroupKind::Overloaded | GroupKind::FullyBusy => self.avg_load < other.avg_load,
            GroupKind::HasSpare => {
                self.idle_cpus > other.idle_cpus
                    || self.idle_cpus == other.idle_cpus && self.util < other.util
            }
            GroupKind::Misfit => self.max_capacity > other.max_capacity,
            _ => false,
        }
    }

    /// Whether a new task leaves the local group for this one.
    fn beats_local(&self, local: &Self, domain: &Domain, allowed: u32) -> bool {
        if local.kind != self.kind {
            return self.kind < local.kind;
        }
        let numa = domain.flags.has(DomainFlags::NUMA);
        match local.kind {
            GroupKind::Overloaded | GroupKind::FullyBusy => {
                let margin = UNIT * u64::from(domain.imbalance_pct - 100) / 100;
                let pct = u64::from(domain.imbalance_pct);
                if numa && self.avg_load + margin >= local.avg_load {
                    return false;
                }
                self.avg_load < local.avg_load + margin
                    && 100 * local.avg_load > pct * self.avg_load
            }
            GroupKind::Misfit => local.max_capacity < self.max_capacity,
            GroupKind::HasSpare => {
                if numa {
                    let more = u64::from(self.idle_cpus.abs_diff(local.idle_cpus));
                    if numa_imbalance(more, local.running + 1, allowed) == 0 {
                        return false;
                    }
                }
                local.idle_cpus < self.idle_cpus
            }
            _ => false,
        }
    }
}
