//! Where a fair task wakes up (fair.md G.2).
//!
//! *Simplification*: whether a waker is a thread bound to its CPU by the kernel is
//! not known (step 3 of the search is left out).

use super::super::Scheduler;
use super::rules;
use crate::Feature;
use crate::domains::DomainFlags;

/// How often changes of partners are halved.
const FLIPS_HALVED_NS: u64 = 1_000_000_000;

/// A wakeup.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Waking {
    pub(in super::super) slot: u32,
    pub(in super::super) prev: u32,
    /// Where the waker runs, or the interrupt came.
    pub(in super::super) this: u32,
    /// The waker is about to sleep.
    pub(in super::super) sync: bool,
}

impl Scheduler {
    /// The CPU a fair task wakes on; it may not be allowed, if no better was found.
    pub(in super::super) fn select_wake_fair(&mut self, now_ns: u64, waking: Waking) -> u32 {
        let Waking { slot, prev, this, .. } = waking;
        self.meets(now_ns, this, slot);
        if self.smp.energy.is_some()
            && let Some(cpu) = self.select_by_energy(waking)
        {
            return cpu;
        }
        let mut target = prev;
        if this != prev
            && !self.is_wide(this, slot)
            && self.allows(slot, this)
            && let Some(step) = self.smp.step_with(this, DomainFlags::WAKE_AFFINE, Some(prev))
        {
            let (_, domain) = self.smp.link(this, step);
            if self.is_affine(waking, domain.imbalance_pct) {
                target = this;
            }
        }
        self.select_idle_near(slot, prev, target)
    }

    /// Whether a fair task that may run anywhere stays where it was, if it is woken there.
    #[inline(always)]
    pub(in super::super) fn wakes_at_home(&self, prev: u32) -> bool {
        self.smp.energy.is_none() && self.nobody_is_free(prev)
    }

    /// What its wakeup leaves behind then.
    #[inline(always)]
    pub(in super::super) fn wake_at_home(&mut self, now_ns: u64, slot: u32, prev: u32) {
        self.meets(now_ns, prev, slot);
        self.entities[slot as usize].past.recent_cpu = prev;
    }

    /// Who runs on `this` wakes `slot`: how often partners change.
    #[inline(always)]
    fn meets(&mut self, now_ns: u64, this: u32, slot: u32) {
        let Some(waker) = self.cpus[this as usize].current else { return };
        let waker = &mut self.entities[waker as usize].past;
        if now_ns.saturating_sub(waker.flips_ns) > FLIPS_HALVED_NS {
            waker.flips >>= 1;
            waker.flips_ns = now_ns;
        }
        if waker.last_wakee != slot {
            waker.last_wakee = slot;
            waker.flips = waker.flips.saturating_add(1);
        }
    }

    /// Whether who runs on `this` and `slot` both have many partners.
    fn is_wide(&self, this: u32, slot: u32) -> bool {
        let flips = |slot: u32| self.entities[slot as usize].past.flips;
        let waker = self.cpus[this as usize].current;
        waker.is_some_and(|waker| {
            rules::wake_wide(flips(waker), flips(slot), self.smp.llc(this).size)
        })
    }

    /// Whether the waker's CPU is the better place to look from.
    fn is_affine(&self, waking: Waking, imbalance_pct: u32) -> bool {
        let Waking { slot, prev, this, sync } = waking;
        let rq = self.rq(this);
        if self.params.has(Feature::WA_IDLE)
            && let Some(affine) = self.is_affine_by_idleness(waking)
        {
            return affine;
        }
        if !self.params.has(Feature::WA_WEIGHT) {
            return false;
        }
        let side =
            |cpu| rules::Side { load: self.cpu_load(cpu), capacity: self.smp.capacity_left(cpu) };
        let waker = rq.current.filter(|_| sync).map(|waker| self.task_load(waker));
        let pct = if self.params.has(Feature::WA_BIAS) { imbalance_pct } else { 100 };
        rules::wakes_here(side(this), side(prev), self.task_load(slot), waker, pct)
    }

    /// Whether idleness decides between the waker's CPU and the previous one, and how.
    fn is_affine_by_idleness(&self, waking: Waking) -> Option<bool> {
        let Waking { prev, this, sync, .. } = waking;
        if self.idles(this) && self.smp.share_cache(this, prev) {
            return Some(!self.idles(prev));
        }
        let rq = self.rq(this);
        let queued = match self.profile.smp.sync_counts_delayed {
            true => rq.nr_running(),
            false => rq.nr_runnable(),
        };
        if sync && queued == 1 {
            return Some(true);
        }
        self.idles(prev).then_some(false)
    }

    /// An idle CPU close to `target`, or that itself.
    fn select_idle_near(&mut self, slot: u32, prev: u32, target: u32) -> u32 {
        if self.nobody_is_free(target) {
            self.entities[slot as usize].past.recent_cpu = prev;
            return target;
        }
        let util = if self.smp.asymmetric { self.task_util(slot) } else { 0 };
        let fits = |sched: &Self, cpu: u32| {
            !sched.smp.asymmetric || rules::fits(util, sched.smp.capacity_left(cpu))
        };
        if self.is_free(target) && fits(self, target) {
            return target;
        }
        if prev != target
            && self.smp.share_cache(prev, target)
            && self.is_free(prev)
            && fits(self, prev)
        {
            return prev;
        }
        let recent = core::mem::replace(&mut self.entities[slot as usize].past.recent_cpu, prev);
        if recent != prev
            && recent != target
            && (recent as usize) < self.cpus.len()
            && self.smp.share_cache(recent, target)
            && self.is_free(recent)
            && self.allows(slot, recent)
            && fits(self, recent)
        {
            return recent;
        }
        if self.smp.asymmetric
            && let Some(step) = self.smp.step_with(target, DomainFlags::ASYM_CPUCAPACITY_FULL, None)
        {
            return self.select_idle_capacity(slot, target, step, util).unwrap_or(target);
        }
        if self.smp.link_count(target) == 0 {
            return target;
        }
        let mut idle_core = self.smp.has_smt && self.smp.llc(target).has_idle_core;
        if self.smp.has_smt
            && !idle_core
            && self.smp.share_cache(prev, target)
            && let Some(sibling) = self.select_idle_sibling(slot, prev)
        {
            return sibling;
        }
        let found = if idle_core {
            self.select_idle_core(slot, target, &mut idle_core)
        } else {
            self.scan_idle(slot, target)
        };
        found.unwrap_or(target)
    }

    /// Whether a search from `target` would find nobody and change nothing.
    #[inline(always)]
    fn nobody_is_free(&self, target: u32) -> bool {
        let llc = self.smp.llc(target);
        // Where CPUs differ in capacity, one of another cache would do.
        let all_busy =
            if self.smp.asymmetric { self.idle.count() == 0 } else { llc.nr_busy >= llc.size };
        let may_have_core = self.smp.has_smt && llc.has_idle_core;
        all_busy && !may_have_core && !self.any_idle_policy && !self.groups.any()
    }

    /// Any free sibling.
    fn select_idle_sibling(&self, slot: u32, cpu: u32) -> Option<u32> {
        let siblings = self.smp.siblings(cpu).iter().copied();
        let mut others = siblings.filter(|sibling| *sibling != cpu);
        others.find(|sibling| self.allows(slot, *sibling) && self.is_free(*sibling))
    }

    /// A core with nobody on it, or else the first free CPU met on the way.
    fn select_idle_core(&mut self, slot: u32, target: u32, idle_core: &mut bool) -> Option<u32> {
        let llc = self.smp.domains.llc[target as usize] as usize;
        let mut first_free = None;
        let span = &self.smp.domains.llcs[llc];
        for cpu in span.iter_from(target + 1) {
            if !self.allows(slot, cpu) {
                continue;
            }
            // A core is looked at once, from the first of its CPUs that comes.
            let siblings = self.smp.siblings(cpu);
            let met = |other: u32| {
                other != cpu && self.allows(slot, other) && comes_before(other, cpu, target + 1)
            };
            if siblings.iter().any(|sibling| met(*sibling)) {
                continue;
            }
            if siblings.iter().all(|sibling| self.idles(*sibling)) {
                return Some(cpu);
            }
            if first_free.is_none() {
                let mut allowed = siblings.iter().filter(|sibling| self.allows(slot, **sibling));
                first_free = allowed.find(|sibling| self.is_free(**sibling)).copied();
            }
        }
        *idle_core = false;
        self.smp.llcs[llc].has_idle_core = false;
        first_free
    }

    /// The first free CPU of the cache, but only so many are looked at as its utilisation leaves hope.
    fn scan_idle(&self, slot: u32, target: u32) -> Option<u32> {
        let llc = self.smp.llc(target);
        let limited = self.params.has(Feature::SIS_UTIL);
        if limited && llc.nr_idle_scan == 0 {
            return None;
        }
        let span = &self.smp.domains.llcs[self.smp.domains.llc[target as usize] as usize];
        let mut left = if limited { llc.nr_idle_scan } else { u32::MAX };
        let cluster = self.smp.cluster_of(target);
        if let Some(cluster) = cluster
            && let Some(free) = self.scan_free(slot, cluster.iter_from(target + 1), &mut left)
        {
            return Some(free);
        }
        let far = span.iter_from(target + 1);
        match cluster {
            None => self.scan_free(slot, far, &mut left),
            Some(cluster) => {
                self.scan_free(slot, far.filter(|cpu| !cluster.contains(*cpu)), &mut left)
            }
        }
    }

    /// The first free one of these CPUs, looking at so many.
    #[inline]
    fn scan_free(&self, slot: u32, cpus: impl Iterator<Item = u32>, left: &mut u32) -> Option<u32> {
        for cpu in cpus {
            if !self.allows(slot, cpu) {
                continue;
            }
            *left = left.checked_sub(1)?;
            if self.is_free(cpu) {
                return Some(cpu);
            }
        }
        None
    }

    /// CPUs of different capacities: the first free one that fits, else the free one with the most.
    fn select_idle_capacity(&self, slot: u32, target: u32, step: usize, util: u64) -> Option<u32> {
        let (_, domain) = self.smp.link(target, step);
        let mut best = None;
        for cpu in domain.span.iter_from(target) {
            if !self.allows(slot, cpu) || !self.is_free(cpu) {
                continue;
            }
            let capacity = self.smp.capacity_left(cpu);
            if rules::fits(util, capacity) {
                return Some(cpu);
            }
            if best.is_none_or(|(most, _)| capacity > most) {
                best = Some((capacity, cpu));
            }
        }
        best.map(|(_, cpu)| cpu)
    }
}

/// Which of two CPUs comes first, counting from `from` and round.
fn comes_before(one: u32, other: u32, from: u32) -> bool {
    (one < from, one) < (other < from, other)
}

impl super::Smp {
    fn link_count(&self, cpu: u32) -> usize {
        self.domains.chains[cpu as usize].len()
    }

    /// The cluster of a CPU, where its machine has such.
    fn cluster_of(&self, cpu: u32) -> Option<&crate::mask::CpuMask> {
        let cluster =
            self.domains.of(cpu).find(|(_, domain)| domain.flags.has(DomainFlags::CLUSTER));
        cluster.map(|(_, domain)| &domain.span)
    }
}
