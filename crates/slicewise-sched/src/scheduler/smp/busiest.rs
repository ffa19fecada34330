//! Which group of a domain is the busiest, whether that is an imbalance, and what to move to even it
//! out (fair.md G.5, G.6).

use super::super::Scheduler;
use super::load::Member;
use super::rules::{Crowd, UNIT, capacity_greater, numa_imbalance, sibling_imbalance};
use crate::domains::{Domain, DomainFlags};
use crate::mask::CpuMask;
use crate::profile::SiblingRule;

/// What the CPU that balances is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Idleness {
    /// It runs something.
    Busy,
    /// It idles, and was woken to balance.
    Idle,
    /// It is about to idle.
    Newly,
}

/// How full a group is, from little to much.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum GroupKind {
    /// It can run more.
    HasSpare,
    /// All its CPUs are in use, no task waits long.
    FullyBusy,
    /// A task needs a faster CPU than it has here.
    Misfit,
    /// Siblings of a core are busy while whole cores idle.
    SmtBalance,
    /// CPUs that fill up first are free elsewhere.
    AsymPacking,
    /// A balance below failed because of affinities.
    Imbalanced,
    /// Tasks want more than its CPUs can do.
    Overloaded,
}

/// What CPUs of a group do, in sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupStats {
    pub(super) kind: GroupKind,
    pub(super) load: u64,
    pub(super) util: u64,
    pub(super) runnable: u64,
    /// Tasks of all classes, and of the fair class alone.
    pub(super) running: u32,
    pub(super) fair: u32,
    pub(super) idle_cpus: u32,
    pub(super) weight: u32,
    pub(super) cores: u32,
    pub(super) capacity: u64,
    pub(super) max_capacity: u64,
    pub(super) min_capacity: u64,
    pub(super) misfit_load: u64,
    /// Load for each unit of capacity, where that is compared.
    pub(super) avg_load: u64,
}

/// What is to be moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Migration {
    /// So much load.
    Load,
    /// So much utilisation.
    Util,
    /// So many tasks.
    Tasks,
    /// The task that does not fit.
    Misfit,
}

/// A balance of a CPU in one of its domains.
#[derive(Clone, Debug)]
pub(super) struct Balance {
    pub(super) dst: u32,
    /// Of the destination's chain.
    pub(super) step: usize,
    pub(super) idle: Idleness,
    pub(super) migration: Migration,
    /// How much of it.
    pub(super) imbalance: u64,
    pub(super) busiest: usize,
    pub(super) nr_failed: u32,
}

/// Room that balances use, kept to allocate nothing.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// CPUs of the domain that are still worth looking at.
    pub(super) cpus: CpuMask,
    /// Tasks taken off a CPU and not yet put on another.
    pub(super) taken: Vec<u32>,
    /// Tasks of a CPU.
    pub(super) listed: Vec<Member>,
}

impl Scratch {
    pub(super) fn new(cpus: u32) -> Self {
        Self { cpus: CpuMask::none(cpus), taken: Vec::new(), listed: Vec::new() }
    }
}

impl GroupStats {
    fn crowd(&self) -> Crowd {
        Crowd { running: self.running, cores: self.cores }
    }

    fn has_capacity(&self, pct: u64) -> bool {
        self.running < self.weight
            || self.capacity * pct >= self.runnable * 100 && self.capacity * 100 > self.util * pct
    }

    fn is_overloaded(&self, pct: u64) -> bool {
        self.running > self.weight
            && (self.capacity * 100 < self.util * pct || self.capacity * pct < self.runnable * 100)
    }

    fn load_per_capacity(&self) -> u64 {
        self.load * UNIT / self.capacity.max(1)
    }
}

impl Scheduler {
    /// What the CPUs of a group of a domain do. `balance` is the CPU that balances, and whether the
    /// group is its own; forks have none.
    pub(super) fn group_stats(
        &self,
        number: u32,
        group: usize,
        balance: Option<(u32, bool)>,
        idle: Idleness,
    ) -> GroupStats {
        let domain = &self.smp.domains.list[number as usize];
        let group_of = &domain.groups[group];
        let mut stats = GroupStats {
            kind: GroupKind::HasSpare,
            load: 0,
            util: 0,
            runnable: 0,
            running: 0,
            fair: 0,
            idle_cpus: 0,
            weight: group_of.weight,
            cores: group_of.cores,
            capacity: 0,
            max_capacity: 0,
            min_capacity: u64::MAX,
            misfit_load: 0,
            avg_load: 0,
        };
        let asymmetric = domain.flags.has(DomainFlags::ASYM_CPUCAPACITY);
        for cpu in group_of.cpus.iter() {
            let capacity = self.smp.capacity_left(cpu);
            stats.capacity += capacity;
            stats.max_capacity = stats.max_capacity.max(capacity);
            stats.min_capacity = stats.min_capacity.min(capacity);
            if balance.is_some() && !self.smp.scratch.cpus.contains(cpu) {
                continue;
            }
            stats.load += self.cpu_load(cpu);
            stats.util += self.cpu_util(cpu);
            stats.runnable += self.cpu_runnable(cpu);
            let running = self.rq(cpu).nr_running();
            stats.running += running;
            let fair = self.nr_balanced(cpu);
            stats.fair += fair;
            if running == 0 && self.idles(cpu) {
                stats.idle_cpus += 1;
                continue;
            }
            let Some((_, local)) = balance else { continue };
            if local {
                continue;
            }
            if asymmetric {
                stats.misfit_load = stats.misfit_load.max(self.smp.cpus[cpu as usize].misfit_load);
            } else if idle != Idleness::Busy && self.has_reduced_capacity(cpu, domain) {
                stats.misfit_load = stats.misfit_load.max(self.cpu_load(cpu));
            }
        }
        stats.kind = self.kind_of(&stats, number, group, balance, idle);
        if matches!(stats.kind, GroupKind::Overloaded)
            || balance.is_none() && stats.kind == GroupKind::FullyBusy
        {
            stats.avg_load = stats.load_per_capacity();
        }
        stats
    }

    fn kind_of(
        &self,
        stats: &GroupStats,
        number: u32,
        group: usize,
        balance: Option<(u32, bool)>,
        idle: Idleness,
    ) -> GroupKind {
        let domain = &self.smp.domains.list[number as usize];
        let pct = domain.imbalance_pct.into();
        if stats.is_overloaded(pct) {
            return GroupKind::Overloaded;
        }
        if let Some((dst, local)) = balance {
            let of = &domain.groups[group];
            if self.smp.imbalanced[number as usize].get(group).copied().unwrap_or(false) {
                return GroupKind::Imbalanced;
            }
            let from_others = !local && idle != Idleness::Busy && stats.fair > 0;
            if from_others
                && domain.flags.has(DomainFlags::ASYM_PACKING)
                && self.smp.fills_first(dst, of.preferred_cpu)
            {
                return GroupKind::AsymPacking;
            }
            if from_others
                && self.profile.smp.smt_balance
                && of.flags.has(DomainFlags::SHARE_CPUCAPACITY)
                && stats.fair > 1
            {
                return GroupKind::SmtBalance;
            }
        }
        if stats.misfit_load > 0 {
            return GroupKind::Misfit;
        }
        if stats.has_capacity(pct) { GroupKind::HasSpare } else { GroupKind::FullyBusy }
    }

    /// Whether classes above the fair one leave noticeably less than a CPU has.
    pub(super) fn has_reduced_capacity(&self, cpu: u32, domain: &Domain) -> bool {
        self.smp.capacity_left(cpu) * u64::from(domain.imbalance_pct)
            < self.smp.capacity_of(cpu) * 100
    }

    /// The group to take from, what, and how much; `None` if the domain is balanced.
    pub(super) fn find_busiest_group(
        &mut self,
        dst: u32,
        step: usize,
        idle: Idleness,
    ) -> Option<Balance> {
        let (link, domain) = self.smp.link(dst, step);
        let number = link.domain;
        let widest = step + 1 == self.smp.domains.chains[dst as usize].len();
        let whole_llc = domain.weight == self.smp.llc(dst).size;
        // Nobody to take, and nobody else wants to know what the groups do.
        if !widest && !whole_llc && self.idle.has_all(&domain.span) {
            return None;
        }
        let local_at = link.local_group as usize;
        let groups = domain.groups.len();
        let mut local = None;
        let mut busiest: Option<(usize, GroupStats)> = None;
        let (mut load, mut capacity, mut util) = (0, 0, 0);
        let mut waiting = false;
        for at in (0..groups).map(|step| (local_at + step) % groups) {
            let is_local = at == local_at;
            let stats = self.group_stats(number, at, Some((dst, is_local)), idle);
            load += stats.load;
            capacity += stats.capacity;
            util += stats.util;
            waiting |= stats.running > stats.weight - stats.idle_cpus;
            if is_local {
                local = Some(stats);
            } else if self.is_busier(domain, at, &stats, busiest.as_ref(), local.as_ref(), dst) {
                busiest = Some((at, stats));
            }
        }
        let pct = domain.imbalance_pct;
        let found = match (local, busiest) {
            (Some(local), Some((at, busiest))) => {
                self.imbalance(number, dst, idle, local, at, busiest, (load, capacity))
            }
            _ => None,
        };
        if widest {
            let partition = self.smp.partition(dst);
            self.smp.overloaded[partition] = waiting;
        }
        if whole_llc && idle != Idleness::Newly {
            let llc = self.smp.llc_mut(dst);
            llc.nr_idle_scan = super::rules::idle_scan(util, llc.size, pct);
        }
        let (at, migration, imbalance) = found?;
        let nr_failed = self.smp.cpus[dst as usize].steps[step].nr_failed;
        Some(Balance { dst, step, idle, migration, imbalance, busiest: at, nr_failed })
    }

    /// Whether a group is busier than the busiest so far.
    fn is_busier(
        &self,
        domain: &Domain,
        at: usize,
        stats: &GroupStats,
        busiest: Option<&(usize, GroupStats)>,
        local: Option<&GroupStats>,
        dst: u32,
    ) -> bool {
        if stats.fair == 0 {
            return false;
        }
        let asymmetric = domain.flags.has(DomainFlags::ASYM_CPUCAPACITY);
        let dst_capacity = self.smp.capacity_left(dst);
        // A misfit is of no use to a CPU that is no faster, or is itself full.
        if asymmetric
            && stats.kind == GroupKind::Misfit
            && (!capacity_greater(dst_capacity, stats.max_capacity)
                || local.is_some_and(|local| local.kind != GroupKind::HasSpare))
        {
            return false;
        }
        let Some((best_at, best)) = busiest else {
            // Faster CPUs are not emptied onto slower ones for one task each.
            return !(asymmetric
                && stats.kind <= GroupKind::FullyBusy
                && capacity_greater(stats.min_capacity, dst_capacity));
        };
        if stats.kind != best.kind {
            let busier = stats.kind > best.kind;
            return busier
                && !(asymmetric
                    && stats.kind <= GroupKind::FullyBusy
                    && capacity_greater(stats.min_capacity, dst_capacity));
        }
        let busier = match stats.kind {
            GroupKind::Overloaded => stats.avg_load > best.avg_load,
            GroupKind::Imbalanced => false,
            GroupKind::AsymPacking => {
                let preferred = |at: usize| domain.groups[at].preferred_cpu;
                self.smp.fills_first(preferred(*best_at), preferred(at))
            }
            GroupKind::Misfit => stats.misfit_load > best.misfit_load,
            GroupKind::SmtBalance if stats.idle_cpus == 0 && best.idle_cpus == 0 => {
                self.is_smt_busier(domain, at, *best_at)
            }
            GroupKind::FullyBusy => self.is_smt_busier(domain, at, *best_at),
            GroupKind::SmtBalance | GroupKind::HasSpare => {
                let smt = |at: usize| domain.groups[at].flags.has(DomainFlags::SHARE_CPUCAPACITY);
                if self.profile.smp.smt_balance && smt(at) != smt(*best_at) {
                    // A core with one task is not emptied for the sake of its siblings.
                    return !smt(at) || stats.fair > 1;
                }
                stats.idle_cpus < best.idle_cpus
                    || stats.idle_cpus == best.idle_cpus && stats.running > best.running
            }
        };
        busier
            && !(asymmetric
                && stats.kind <= GroupKind::FullyBusy
                && capacity_greater(stats.min_capacity, dst_capacity))
    }

    /// Of groups that are fully busy, whose loads are not taken, cores with siblings need help most.
    fn is_smt_busier(&self, domain: &Domain, at: usize, best_at: usize) -> bool {
        let smt = |at: usize| domain.groups[at].flags.has(DomainFlags::SHARE_CPUCAPACITY);
        self.profile.smp.smt_balance && !smt(best_at) && smt(at)
    }

    /// Whether local and busiest group differ enough, and what is to be moved if so.
    #[expect(clippy::too_many_arguments)]
    fn imbalance(
        &self,
        number: u32,
        dst: u32,
        idle: Idleness,
        local: GroupStats,
        at: usize,
        busiest: GroupStats,
        (total_load, total_capacity): (u64, u64),
    ) -> Option<(usize, Migration, u64)> {
        let domain = &self.smp.domains.list[number as usize];
        let pct = u64::from(domain.imbalance_pct);
        let prefers = domain.groups[at].flags.has(DomainFlags::PREFER_SIBLING);
        let mut local = local;
        let average = total_load * UNIT / total_capacity.max(1);
        let siblings = self.siblings_of(idle, &local, &busiest);
        let forced = matches!(
            busiest.kind,
            GroupKind::Misfit | GroupKind::AsymPacking | GroupKind::Imbalanced
        );
        if busiest.kind != GroupKind::Misfit && self.smp.energy.is_some() && self.saves_energy(dst)
        {
            // Where tasks are placed by energy, balancing would undo it.
            return None;
        }
        if !forced {
            if local.kind > busiest.kind {
                return None;
            }
            if local.kind == GroupKind::Overloaded
                && (local.avg_load >= busiest.avg_load
                    || local.avg_load >= average
                    || 100 * busiest.avg_load <= pct * local.avg_load)
            {
                return None;
            }
            let spread = prefers && local.kind == GroupKind::HasSpare && siblings > 1;
            if !spread && busiest.kind != GroupKind::Overloaded {
                let smt = |at: usize| domain.groups[at].flags.has(DomainFlags::SHARE_CPUCAPACITY);
                let local_at = domain.groups.iter().position(|group| group.cpus.contains(dst));
                let to_whole_core =
                    busiest.kind == GroupKind::SmtBalance && smt(at) && !local_at.is_some_and(smt);
                if idle == Idleness::Busy {
                    return None;
                }
                if !to_whole_core
                    && (busiest.weight > 1 && local.idle_cpus <= busiest.idle_cpus + 1
                        || busiest.fair == 1)
                {
                    return None;
                }
            }
        }
        let (migration, imbalance) = match busiest.kind {
            GroupKind::Misfit if domain.flags.has(DomainFlags::ASYM_CPUCAPACITY) => {
                (Migration::Misfit, 1)
            }
            GroupKind::Misfit => (Migration::Load, busiest.misfit_load),
            GroupKind::AsymPacking => (Migration::Tasks, busiest.fair.into()),
            GroupKind::SmtBalance | GroupKind::Imbalanced => (Migration::Tasks, 1),
            _ if local.kind == GroupKind::HasSpare => {
                if busiest.kind > GroupKind::FullyBusy && !domain.flags.has(DomainFlags::SHARE_LLC)
                {
                    let spare = local.capacity.max(local.util) - local.util;
                    match spare == 0 && idle != Idleness::Busy {
                        true => (Migration::Tasks, 1),
                        false => (Migration::Util, spare),
                    }
                } else {
                    let more = match busiest.weight == 1 || prefers {
                        true => siblings,
                        false => local.idle_cpus.saturating_sub(busiest.idle_cpus).into(),
                    };
                    let more = match domain.flags.has(DomainFlags::NUMA) {
                        true => numa_imbalance(more, local.running + 1, domain.imb_numa_nr),
                        false => more,
                    };
                    (Migration::Tasks, more >> 1)
                }
            }
            _ => {
                if local.kind < GroupKind::Overloaded {
                    local.avg_load = local.load_per_capacity();
                    if local.avg_load >= busiest.avg_load || local.avg_load >= average {
                        return None;
                    }
                }
                let above = busiest.avg_load.saturating_sub(average) * busiest.capacity;
                let below = average.saturating_sub(local.avg_load) * local.capacity;
                (Migration::Load, above.min(below) / UNIT)
            }
        };
        (imbalance > 0).then_some((at, migration, imbalance))
    }

    fn siblings_of(&self, idle: Idleness, local: &GroupStats, busiest: &GroupStats) -> u64 {
        match self.profile.smp.siblings {
            SiblingRule::Plain => u64::from(busiest.running.saturating_sub(local.running)),
            SiblingRule::ByCores if idle == Idleness::Busy || busiest.running == 0 => 0,
            SiblingRule::ByCores => sibling_imbalance(local.crowd(), busiest.crowd()),
        }
    }

    /// The CPU of the busiest group to take from.
    pub(super) fn find_busiest_cpu(&self, balance: &Balance) -> Option<u32> {
        let (_, domain) = self.smp.link(balance.dst, balance.step);
        let asymmetric = domain.flags.has(DomainFlags::ASYM_CPUCAPACITY);
        let numa = self.numa_group_kind(balance);
        let mut busiest: Option<(u128, u128, u32)> = None;
        for cpu in domain.groups[balance.busiest].cpus.iter() {
            let running = self.nr_balanced(cpu);
            if !self.smp.scratch.cpus.contains(cpu) || running == 0 {
                continue;
            }
            if numa.is_some_and(|kind| self.numa_spares(cpu, kind)) {
                continue;
            }
            let capacity = self.smp.capacity_left(cpu);
            if running == 1
                && asymmetric
                && !capacity_greater(self.smp.capacity_left(balance.dst), capacity)
                && balance.migration != Migration::Misfit
            {
                continue;
            }
            if running == 1
                && domain.flags.has(DomainFlags::ASYM_PACKING)
                && balance.idle != Idleness::Busy
                && self.smp.fills_first(cpu, balance.dst)
            {
                continue;
            }
            let (amount, per) = match balance.migration {
                Migration::Load => {
                    let load = self.cpu_load(cpu);
                    if running == 1
                        && load > balance.imbalance
                        && !self.has_reduced_capacity(cpu, domain)
                    {
                        continue;
                    }
                    (load, capacity.max(1))
                }
                Migration::Util if running <= 1 => continue,
                Migration::Util => (self.cpu_util(cpu).max(self.cpu_runnable(cpu)), 1),
                Migration::Tasks => (u64::from(running), 1),
                Migration::Misfit => (self.smp.cpus[cpu as usize].misfit_load, 1),
            };
            let (amount, per) = (u128::from(amount), u128::from(per));
            let more = match busiest {
                None => amount > 0,
                Some((best, best_per, _)) => amount * best_per > best * per,
            };
            if more {
                busiest = Some((amount, per, cpu));
            }
        }
        busiest.map(|(_, _, cpu)| cpu)
    }
}
