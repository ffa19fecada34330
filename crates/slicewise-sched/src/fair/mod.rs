//! The fair class: one queue of entities and what the algorithms have in common.
//!
//! [`FairQueue`] holds a runqueue of one level; the rules of CFS are in [`cfs`], those of EEVDF in
//! [`eevdf`]. Times named `vruntime`, `deadline`, `vprot` are virtual, wrap around, and are only
//! compared by their difference (fair.md 0.4).

mod cfs;
mod eevdf;
#[cfg(test)]
mod tests;

use crate::ordered::{Entry, Ordered, before};
use crate::pelt::{LoadAverage, Signals};
use crate::profile::{CfsRules, EevdfRules, FairRules};
use crate::weight::{Load, NICE_0_LOAD, scale_down, tunable_factor, virtual_delta};
use crate::{Feature, Features, Rule};

/// Where every queue's virtual time starts: shortly before the wrap-around, as in the kernel.
const VRUNTIME_START: u64 = 0u64.wrapping_sub(1 << 20);

/// No entity.
const NOBODY: u32 = u32::MAX;

/// The shortest hrtick that is programmed (C.15).
pub(crate) const HRTICK_MIN_NS: u64 = 10_000;

/// Rules and effective tunables of the fair class on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FairParams {
    pub(crate) features: Features,
    pub(crate) tick_ns: u64,
    pub(crate) algorithm: Algorithm,
}

/// The algorithm with its effective (scaled) tunables.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    Cfs(CfsParams),
    Eevdf(EevdfParams),
}

/// Effective tunables of CFS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CfsParams {
    pub(crate) latency_ns: u64,
    pub(crate) min_granularity_ns: u64,
    pub(crate) wakeup_granularity_ns: u64,
    pub(crate) idle_min_granularity_ns: u64,
}

/// Rules and effective tunables of EEVDF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EevdfParams {
    pub(crate) rules: EevdfRules,
    pub(crate) base_slice_ns: u64,
    pub(crate) unscaled_base_slice_ns: u64,
}

impl FairParams {
    /// Scales the tunables for `cpus` CPUs (A.5). `base_slice_ns` replaces the effective base slice
    /// (EEVDF) or minimum granularity (CFS).
    pub(crate) fn new(
        rules: FairRules,
        features: Features,
        cpus: u32,
        hz: u32,
        base_slice_ns: Option<u64>,
    ) -> Self {
        let factor = tunable_factor(cpus);
        let algorithm = match rules {
            FairRules::Cfs(rules) => {
                Algorithm::Cfs(CfsParams::scaled(rules, factor, base_slice_ns))
            }
            FairRules::Eevdf(rules) => {
                let base_slice_ns = base_slice_ns.unwrap_or(rules.base_slice_ns * factor).max(1);
                Algorithm::Eevdf(EevdfParams {
                    rules,
                    base_slice_ns,
                    unscaled_base_slice_ns: base_slice_ns / factor,
                })
            }
        };
        Self { features, tick_ns: 1_000_000_000 / u64::from(hz.max(1)), algorithm }
    }

    #[inline]
    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    #[inline]
    fn exact(&self) -> bool {
        matches!(self.algorithm, Algorithm::Eevdf(EevdfParams { rules, .. }) if rules.exact_division)
    }

    /// Real to virtual ns for an entity.
    #[inline(always)]
    pub(crate) fn virtual_delta(&self, delta_ns: u64, entity: &Entity) -> u64 {
        virtual_delta(delta_ns, entity.load, self.exact())
    }
}

impl CfsParams {
    fn scaled(rules: CfsRules, factor: u64, min_granularity_ns: Option<u64>) -> Self {
        Self {
            latency_ns: rules.latency_ns * factor,
            min_granularity_ns: min_granularity_ns
                .unwrap_or(rules.min_granularity_ns * factor)
                .max(1),
            wakeup_granularity_ns: rules.wakeup_granularity_ns * factor,
            idle_min_granularity_ns: rules.idle_min_granularity_ns,
        }
    }
}

/// A task (later: a group) in the fair class. What picks and charges touch is a cache line, what its
/// averages are made of another.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Entity {
    pub(crate) vruntime: u64,
    pub(crate) deadline: u64,
    /// Slice, real ns.
    pub(crate) slice: u64,
    /// Tie-breaker among equal keys of the queue.
    pub(crate) seq: u64,
    /// Slice protection: see [`eevdf`].
    pub(crate) vprot: u64,
    pub(crate) exec_start: u64,
    pub(crate) sum_exec: u64,
    /// `sum_exec` when it last became current.
    pub(crate) prev_sum_exec: u64,
    pub(crate) load: Load,
    /// The weight as the EEVDF averages count it.
    pub(crate) average_weight: u64,
    /// Lag kept while not queued, virtual ns.
    pub(crate) vlag: i64,
    /// Queued: waiting, running, or delayed.
    pub(crate) on_rq: bool,
    /// Asleep but still queued (C.10).
    pub(crate) delayed: bool,
    /// `deadline` is a distance, not a point (C.11).
    pub(crate) rel_deadline: bool,
    pub(crate) custom_slice: bool,
    /// Never places or preempts by waking: policy BATCH.
    pub(crate) batch: bool,
    /// Policy IDLE.
    pub(crate) idle: bool,
    pub(crate) past: Past,
}

/// What is known of a task's past where several CPUs are balanced (fair.md F, G.2).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Past {
    pub(crate) flips_ns: u64,
    /// How often it has woken another task than the last time, halved every second (G.2).
    pub(crate) flips: u32,
    pub(crate) last_wakee: u32,
    /// Where it was before its previous CPU (G.2).
    pub(crate) recent_cpu: u32,
    /// Its averages go back to its start.
    pub(crate) begun: bool,
    /// They have changed since the estimate was made.
    pub(crate) changed: bool,
    /// Its estimate is part of its CPU's.
    pub(crate) estimated: bool,
    pub(crate) average: LoadAverage,
    /// What it may use when it wakes (util_est).
    pub(crate) estimate: u32,
    /// Whose average it is part of: a group's queue, a CPU's root queue, or nobody's.
    pub(crate) counted: u32,
    /// The CPU whose list it is in, and its place there.
    pub(crate) list: u32,
    pub(crate) place: u32,
}

impl Past {
    /// Nothing is known.
    pub(crate) const NONE: Self = Self {
        flips_ns: 0,
        flips: 0,
        last_wakee: NOBODY,
        recent_cpu: NOBODY,
        begun: false,
        changed: false,
        estimated: false,
        average: LoadAverage::NONE,
        estimate: 0,
        counted: NOBODY,
        list: NOBODY,
        place: 0,
    };
}

impl Entity {
    pub(crate) fn new(load: Load, params: &FairParams) -> Self {
        let mut entity = Self {
            load,
            average_weight: 0,
            vruntime: 0,
            deadline: 0,
            slice: 0,
            vlag: 0,
            vprot: 0,
            exec_start: 0,
            sum_exec: 0,
            prev_sum_exec: 0,
            seq: 0,
            on_rq: false,
            delayed: false,
            rel_deadline: false,
            custom_slice: false,
            batch: false,
            idle: false,
            past: Past::NONE,
        };
        entity.set_load(load, params);
        if let Algorithm::Eevdf(eevdf) = &params.algorithm {
            entity.slice = eevdf.base_slice_ns;
        }
        entity
    }

    /// Brings its averages up to now, before what it does changes. `running` only matters while it is
    /// queued; `weight` is the one it has by itself.
    #[inline(always)]
    pub(crate) fn update_past(
        &mut self,
        now_ns: u64,
        running: bool,
        weight: impl FnOnce(&Load) -> u64,
    ) {
        let Self { load, on_rq, delayed, past, .. } = self;
        let signals = || Signals {
            load: u64::from(*on_rq),
            runnable: u64::from(*on_rq && !*delayed),
            running: *on_rq && running,
        };
        past.changed |= past.average.update_with(now_ns, || scale_down(weight(load)), signals);
    }

    /// The same of a task that is not queued.
    #[inline(always)]
    pub(crate) fn update_past_asleep(&mut self, now_ns: u64) {
        let Self { load, past, .. } = self;
        let weight = || scale_down(load.weight);
        past.changed |= past.average.decay(now_ns, weight);
    }

    pub(crate) fn set_load(&mut self, load: Load, params: &FairParams) {
        self.load = load;
        self.average_weight = match &params.algorithm {
            Algorithm::Eevdf(eevdf) if eevdf.rules.full_weights => load.weight,
            _ => scale_down(load.weight),
        };
    }
}

/// How an entity comes onto a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Enqueue {
    /// First time, after a fork.
    Initial,
    /// From sleep, on the queue it slept on.
    Wakeup,
    /// From sleep, on another queue.
    WakeupMigrated,
    /// Back after a change of attributes.
    Restore,
    /// Runnable, from another queue.
    Migrated,
}

/// How an entity leaves a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dequeue {
    /// Goes to sleep.
    Sleep,
    /// Goes for good, or changes class: not to be delayed.
    Leave,
    /// Stays runnable: moves, or changes attributes.
    Move,
    /// Stays runnable and is put back at once under another nice value: the queue's minimum waits
    /// for it (CFS, 6.6).
    Save,
    /// The end of a delayed dequeue.
    Delayed,
    /// Its group has used up its quota: as if it slept, but never delayed.
    Throttle,
}

/// What the slices of a group's queue depend on in CFS (B.3): the period is that of the whole CPU,
/// and every level above takes its part.
#[derive(Clone, Debug, Default)]
pub(crate) struct CfsOuter {
    /// Tasks queued on the CPU.
    pub(crate) nr_queued: u32,
    /// Of each entity above, from this queue's own up: its weight, and the sum of the weights of
    /// the queue it is in or about to join.
    pub(crate) shares: Vec<(u64, u64)>,
}

/// A runqueue of one level. Entities live outside; the queue names them by index. What nearly all events
/// touch comes first.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct FairQueue {
    /// EEVDF: Σ w · (v − zero) over everyone queued.
    sum: i128,
    /// EEVDF: Σ w over everyone queued.
    sum_weight: u64,
    /// CFS `min_vruntime`; EEVDF: what the sums are relative to (C.2).
    zero: u64,
    /// Sum of weights, running entity included.
    load_weight: u64,
    next_seq: u64,
    /// What was charged since the owner last took it, for the group's quota.
    pub(crate) charged_ns: u64,
    /// The running entity, if it is of this queue, or [`NOBODY`]; it may have left the queue
    /// already.
    curr: u32,
    /// Everyone queued, running and delayed included.
    pub(crate) nr_queued: u32,
    /// Of those, not delayed.
    pub(crate) nr_runnable: u32,
    /// Of those queued, with policy IDLE.
    nr_idle: u32,
    /// Of those queued, with a slice of their own; all others have the base slice (EEVDF).
    nr_custom_slice: u32,
    /// EEVDF: what a preemption test has just picked, until anything changes.
    preemptor: Option<(u32, Rule)>,
    /// Accounting or a preemption test asks for a new pick; the owner takes it.
    pub(crate) resched: bool,
    /// Whether any of the three buddies is marked.
    any_buddy: bool,
    /// Everyone waiting; not the running entity.
    tree: Ordered,
    next_buddy: Option<u32>,
    last_buddy: Option<u32>,
    skip_buddy: Option<u32>,
    /// With groups: the delayed entities a preemption test has dequeued, for the owner to take.
    pub(crate) paid: Vec<u32>,
    /// CFS: what slices depend on beyond this queue; `None` at the root.
    pub(crate) outer: Option<Box<CfsOuter>>,
}

impl FairQueue {
    pub(crate) fn new() -> Self {
        Self {
            tree: Ordered::default(),
            curr: NOBODY,
            zero: VRUNTIME_START,
            sum_weight: 0,
            sum: 0,
            load_weight: 0,
            nr_queued: 0,
            nr_runnable: 0,
            nr_idle: 0,
            nr_custom_slice: 0,
            preemptor: None,
            next_buddy: None,
            last_buddy: None,
            skip_buddy: None,
            any_buddy: false,
            next_seq: 0,
            charged_ns: 0,
            paid: Vec::new(),
            outer: None,
            resched: false,
        }
    }

    /// The running entity, if it is still queued.
    #[inline]
    fn queued_curr<'e>(&self, entities: &'e [Entity]) -> Option<(u32, &'e Entity)> {
        let entity = entities.get(self.curr as usize)?;
        entity.on_rq.then_some((self.curr, entity))
    }

    /// Everyone waiting, in the order of the queue.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = u32> {
        self.tree.iter().map(|entry| entry.entity)
    }

    #[inline(always)]
    fn tree_insert(&mut self, params: &FairParams, entities: &mut [Entity], id: u32) {
        let entry = self.entry(params, &mut entities[id as usize], id);
        self.tree.insert(entry);
    }

    /// What stands for an entity in the tree, behind its equals there.
    #[inline(always)]
    fn entry(&mut self, params: &FairParams, entity: &mut Entity, id: u32) -> Entry {
        self.next_seq += 1;
        entity.seq = self.next_seq;
        let key = match params.algorithm {
            Algorithm::Cfs(_) => entity.vruntime,
            Algorithm::Eevdf(_) => entity.deadline,
        };
        let Entity { seq, vruntime, slice, .. } = *entity;
        Entry { key, seq, vruntime, slice, entity: id }
    }

    #[inline(always)]
    fn tree_remove(&mut self, params: &FairParams, entities: &[Entity], id: u32) {
        let entity = &entities[id as usize];
        let key = match params.algorithm {
            Algorithm::Cfs(_) => entity.vruntime,
            Algorithm::Eevdf(_) => entity.deadline,
        };
        let found = self.tree.remove(key, entity.seq);
        debug_assert!(found, "a waiting entity is in the tree");
    }

    /// w · (v − zero).
    #[inline]
    fn weighted(&self, entity: &Entity) -> i128 {
        i128::from(entity.average_weight as i64)
            * i128::from(entity.vruntime.wrapping_sub(self.zero) as i64)
    }

    /// Charges the running entity for the time since it was last charged (0.5, event 1).
    #[inline(always)]
    pub(crate) fn account(&mut self, params: &FairParams, entities: &mut [Entity], now_ns: u64) {
        let Some(curr) = entities.get(self.curr as usize) else { return };
        let delta = now_ns.wrapping_sub(curr.exec_start) as i64;
        if delta > 0 {
            self.charge(params, entities, self.curr, delta as u64);
        }
    }

    /// As [`account`](Self::account), where there mostly is something to charge.
    #[inline(always)]
    fn account_inlined(&mut self, params: &FairParams, entities: &mut [Entity], now_ns: u64) {
        let Some(curr) = entities.get(self.curr as usize) else { return };
        let delta = now_ns.wrapping_sub(curr.exec_start) as i64;
        if delta > 0 {
            self.charge_inlined(params, entities, self.curr, delta as u64);
        }
    }

    #[inline(never)]
    fn charge(&mut self, params: &FairParams, entities: &mut [Entity], curr: u32, delta: u64) {
        self.charge_inlined(params, entities, curr, delta);
    }

    #[inline(always)]
    fn charge_inlined(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        curr: u32,
        delta: u64,
    ) {
        let entity = &mut entities[curr as usize];
        self.preemptor = None;
        self.charged_ns = self.charged_ns.wrapping_add(delta);
        entity.exec_start = entity.exec_start.wrapping_add(delta);
        entity.sum_exec = entity.sum_exec.wrapping_add(delta);
        let virtual_ns = params.virtual_delta(delta, entity);
        entity.vruntime = entity.vruntime.wrapping_add(virtual_ns);
        match &params.algorithm {
            Algorithm::Cfs(_) => self.cfs_update_min_vruntime(entities),
            Algorithm::Eevdf(eevdf) => {
                self.eevdf_charged(params, eevdf, entities, curr, virtual_ns);
            }
        }
    }

    /// Puts an entity on the queue. Whether it has to be placed is the algorithm's business.
    #[inline(always)]
    pub(crate) fn enqueue(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        id: u32,
        how: Enqueue,
        now_ns: u64,
    ) {
        self.preemptor = None;
        let current = self.curr == id;
        match &params.algorithm {
            Algorithm::Cfs(cfs) => self.cfs_enqueue(params, cfs, entities, id, how, now_ns),
            Algorithm::Eevdf(eevdf) => {
                let initial = how == Enqueue::Initial && !eevdf.rules.initial_deadline_lost;
                // The running entity is placed before it is charged, all others after (C.9).
                if current {
                    core::hint::cold_path();
                    self.eevdf_place(params, eevdf, entities, id, initial);
                }
                self.account_inlined(params, entities, now_ns);
                if !current {
                    self.eevdf_place_inlined(params, eevdf, entities, id, initial);
                }
            }
        }
        let entity = &mut entities[id as usize];
        if matches!(how, Enqueue::Migrated | Enqueue::WakeupMigrated) {
            entity.exec_start = 0;
        }
        entity.on_rq = true;
        self.nr_queued += 1;
        self.nr_runnable += 1;
        self.nr_idle += u32::from(entity.idle);
        self.nr_custom_slice += u32::from(entity.custom_slice);
        self.load_weight += entity.load.weight;
        if !current {
            let entry = self.entry(params, entity, id);
            self.tree.insert_beside(entry);
        }
        if let Algorithm::Eevdf(_) = params.algorithm {
            self.join_sums(&entities[id as usize]);
        }
    }

    /// Takes an entity off the queue. Returns whether it really left: a sleeper may be delayed.
    pub(crate) fn dequeue(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        id: u32,
        how: Dequeue,
        now_ns: u64,
    ) -> bool {
        self.dequeue_inlined(params, entities, id, how, now_ns)
    }

    #[inline(always)]
    pub(crate) fn dequeue_inlined(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        id: u32,
        how: Dequeue,
        now_ns: u64,
    ) -> bool {
        self.account_inlined(params, entities, now_ns);
        self.preemptor = None;
        self.clear_buddies(id);
        if let Algorithm::Eevdf(eevdf) = &params.algorithm {
            let sums = self.eevdf_sums();
            if how == Dequeue::Sleep && self.eevdf_delays(params, eevdf, entities, id, sums) {
                self.nr_runnable -= 1;
                return false;
            }
            let lag = self.eevdf_lag_inlined(params, eevdf, entities, id, sums);
            entities[id as usize].vlag = lag;
        }
        if self.curr != id {
            self.tree_remove(params, entities, id);
        }
        let entity = &mut entities[id as usize];
        entity.on_rq = false;
        self.nr_queued -= 1;
        self.nr_runnable -= u32::from(!entity.delayed);
        self.nr_idle -= u32::from(entity.idle);
        self.nr_custom_slice -= u32::from(entity.custom_slice);
        self.load_weight -= entity.load.weight;
        match &params.algorithm {
            Algorithm::Cfs(_) => self.cfs_left(entities, id, how),
            Algorithm::Eevdf(eevdf) => {
                self.leave_sums(&entities[id as usize]);
                self.eevdf_left(params, eevdf, entities, id, how);
            }
        }
        true
    }

    /// The pick, after charging the running entity. Delayed entities it meets are dequeued; `None`
    /// when nobody is left.
    pub(crate) fn pick(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        now_ns: u64,
    ) -> Option<(u32, Rule)> {
        self.pick_inlined(params, entities, now_ns)
    }

    #[inline(always)]
    pub(crate) fn pick_inlined(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        now_ns: u64,
    ) -> Option<(u32, Rule)> {
        self.account_queued(params, entities, now_ns);
        match &params.algorithm {
            Algorithm::Cfs(cfs) => self.cfs_pick(params, cfs, entities),
            Algorithm::Eevdf(eevdf) => {
                if let Some(picked) = self.preemptor {
                    debug_assert_eq!(self.eevdf_pick(params, eevdf, entities, true), Some(picked));
                    return Some(picked);
                }
                self.eevdf_settled_pick(params, eevdf, entities, true, now_ns, |_paid| {})
            }
        }
    }

    /// The part of the pick that dequeues delayed entities, alone; names them to `paid`.
    pub(crate) fn drop_paid(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        now_ns: u64,
        paid: impl FnMut(u32),
    ) {
        if let Algorithm::Eevdf(eevdf) = &params.algorithm {
            self.eevdf_settled_pick(params, eevdf, entities, true, now_ns, paid);
        }
    }

    /// With groups: the pick of this level, whose running entity has been charged. It may be a
    /// delayed entity, which is the owner's to dequeue.
    pub(crate) fn pick_level(
        &mut self,
        params: &FairParams,
        entities: &[Entity],
    ) -> Option<(u32, Rule)> {
        match &params.algorithm {
            Algorithm::Cfs(cfs) => self.cfs_pick(params, cfs, entities),
            Algorithm::Eevdf(eevdf) => self.eevdf_pick(params, eevdf, entities, true),
        }
    }

    /// Charges the running entity, if it is still queued.
    #[inline(always)]
    pub(crate) fn account_queued(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        now_ns: u64,
    ) {
        if self.queued_curr(entities).is_some() {
            self.account(params, entities, now_ns);
        }
    }

    /// Who runs, or is about to be put back.
    #[inline]
    pub(crate) fn curr(&self) -> Option<u32> {
        (self.curr != NOBODY).then_some(self.curr)
    }

    /// Whether all who are queued are idle.
    #[inline]
    pub(crate) fn all_idle(&self) -> bool {
        self.nr_idle == self.nr_queued
    }

    /// Sum of the weights queued.
    #[inline]
    pub(crate) fn load_weight(&self) -> u64 {
        self.load_weight
    }

    /// The shortest slice queued, for the group's entity (6.12 and later).
    pub(crate) fn shortest_queued_slice(
        &self,
        params: &FairParams,
        entities: &[Entity],
    ) -> Option<u64> {
        match &params.algorithm {
            Algorithm::Eevdf(eevdf) if eevdf.rules.custom_slice => {
                self.shortest_slice(eevdf, entities)
            }
            _ => None,
        }
    }

    /// A group's entity takes the slice of its queue (D.1). Its deadline stays.
    pub(crate) fn set_group_slice(&mut self, entities: &mut [Entity], id: u32, slice: u64) {
        let entity = &mut entities[id as usize];
        let old = core::mem::replace(&mut entity.slice, slice);
        let was_custom = core::mem::replace(&mut entity.custom_slice, true);
        if !entity.on_rq {
            return;
        }
        self.nr_custom_slice += u32::from(!was_custom);
        self.preemptor = None;
        if self.curr != id && old != slice && self.tree.remove(entity.deadline, entity.seq) {
            self.tree.insert(Entry {
                key: entity.deadline,
                seq: entity.seq,
                vruntime: entity.vruntime,
                slice,
                entity: id,
            });
        }
    }

    /// Changes the weight of an entity, queued or not (C.12; CFS keeps virtual runtimes).
    pub(crate) fn reweight(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        id: u32,
        load: Load,
        now_ns: u64,
    ) {
        if !entities[id as usize].on_rq {
            Self::reweight_off_queue(params, entities, id, load);
            return;
        }
        match &params.algorithm {
            Algorithm::Eevdf(eevdf) => {
                self.eevdf_reweight_queued(params, eevdf, entities, id, load, now_ns);
            }
            Algorithm::Cfs(_) => {
                if self.curr == id {
                    self.account(params, entities, now_ns);
                }
                let entity = &mut entities[id as usize];
                self.load_weight = self.load_weight - entity.load.weight + load.weight;
                entity.set_load(load, params);
            }
        }
    }

    /// Next and last buddy.
    pub(crate) fn buddies(&self) -> (Option<u32>, Option<u32>) {
        (self.next_buddy, self.last_buddy)
    }

    /// As [`mark_next`](Self::mark_next), for the last buddy.
    pub(crate) fn mark_last(&mut self, entities: &[Entity], id: u32) -> bool {
        let entity = &entities[id as usize];
        if !entity.on_rq || entity.idle {
            return false;
        }
        (self.last_buddy, self.any_buddy) = (Some(id), true);
        true
    }

    /// A group becomes idle or stops being so.
    pub(crate) fn set_idle(&mut self, entities: &mut [Entity], id: u32, idle: bool) {
        let entity = &mut entities[id as usize];
        let was = core::mem::replace(&mut entity.idle, idle);
        if entity.on_rq {
            self.nr_idle = self.nr_idle + u32::from(idle) - u32::from(was);
        }
    }

    /// The entity becomes the next buddy, unless it is idle or not queued: whether it did.
    pub(crate) fn mark_next(&mut self, entities: &[Entity], id: u32) -> bool {
        let entity = &entities[id as usize];
        if !entity.on_rq || entity.idle {
            return false;
        }
        (self.next_buddy, self.any_buddy) = (Some(id), true);
        true
    }

    /// The running entity stops running; if still queued, it waits.
    pub(crate) fn put_prev(&mut self, params: &FairParams, entities: &mut [Entity], now_ns: u64) {
        self.put_prev_inlined(params, entities, now_ns);
    }

    #[inline(always)]
    pub(crate) fn put_prev_inlined(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        now_ns: u64,
    ) {
        let Some(curr) = entities.get(self.curr as usize) else { return };
        if curr.on_rq {
            self.account(params, entities, now_ns);
            self.tree_insert(params, entities, self.curr);
        }
        self.preemptor = None;
        self.curr = NOBODY;
    }

    /// As [`put_prev`](Self::put_prev), right after a pick, which has charged it.
    #[inline(always)]
    pub(crate) fn put_charged(&mut self, params: &FairParams, entities: &mut [Entity]) {
        if let Some(curr) = entities.get(self.curr as usize)
            && curr.on_rq
        {
            self.tree_insert(params, entities, self.curr);
        }
        self.preemptor = None;
        self.curr = NOBODY;
    }

    /// The entity starts to run.
    pub(crate) fn set_next(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        id: u32,
        now_ns: u64,
    ) {
        self.set_next_inlined(params, entities, id, now_ns);
    }

    #[inline(always)]
    pub(crate) fn set_next_inlined(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        id: u32,
        now_ns: u64,
    ) {
        self.clear_buddies(id);
        if entities[id as usize].on_rq {
            self.tree_remove(params, entities, id);
            if let Algorithm::Eevdf(eevdf) = &params.algorithm {
                self.eevdf_protect(params, eevdf, entities, id);
            }
        }
        let entity = &mut entities[id as usize];
        entity.exec_start = now_ns;
        entity.prev_sum_exec = entity.sum_exec;
        self.preemptor = None;
        self.curr = id;
    }

    /// The scheduler tick of a CPU that runs a fair task.
    pub(crate) fn tick(&mut self, params: &FairParams, entities: &mut [Entity], now_ns: u64) {
        self.account(params, entities, now_ns);
        if let Algorithm::Cfs(cfs) = &params.algorithm {
            self.cfs_tick(params, cfs, entities);
        }
    }

    /// Whether `wakee`, just queued, should replace the running entity: sets `resched`.
    #[inline(always)]
    pub(crate) fn wakeup_preempt(
        &mut self,
        params: &FairParams,
        entities: &mut [Entity],
        wakee: u32,
        wakeup: Wakeup,
        now_ns: u64,
    ) {
        self.preemptor = None;
        match &params.algorithm {
            Algorithm::Cfs(cfs) => {
                self.cfs_wakeup_preempt(params, cfs, entities, wakee, wakeup, now_ns);
            }
            Algorithm::Eevdf(eevdf) => {
                self.eevdf_wakeup_preempt(params, eevdf, entities, wakee, wakeup, now_ns);
            }
        }
    }

    /// `sched_yield` of the running entity, which is not alone on the CPU.
    pub(crate) fn yield_curr(&mut self, params: &FairParams, entities: &mut [Entity], now_ns: u64) {
        let Some(curr) = self.curr() else { return };
        self.preemptor = None;
        self.clear_buddies(curr);
        match &params.algorithm {
            Algorithm::Cfs(_) => {
                if !entities[curr as usize].batch {
                    self.account(params, entities, now_ns);
                }
                self.skip_buddy = Some(curr);
                self.any_buddy = true;
            }
            Algorithm::Eevdf(eevdf) => {
                self.account(params, entities, now_ns);
                self.eevdf_yield(params, eevdf, entities, curr);
            }
        }
    }

    /// Changes the weight of an entity that is not queued (C.12).
    pub(crate) fn reweight_off_queue(
        params: &FairParams,
        entities: &mut [Entity],
        id: u32,
        load: Load,
    ) {
        let entity = &mut entities[id as usize];
        let (old, new) = (entity.load.weight, load.weight);
        if let Algorithm::Eevdf(eevdf) = &params.algorithm {
            eevdf::rescale_off_queue(eevdf, entity, old, new);
        }
        entity.set_load(load, params);
    }

    #[inline(always)]
    fn clear_buddies(&mut self, id: u32) {
        if self.any_buddy {
            core::hint::cold_path();
            self.clear_marked_buddies(id);
        }
    }

    #[inline(never)]
    fn clear_marked_buddies(&mut self, id: u32) {
        self.any_buddy = false;
        for buddy in [&mut self.next_buddy, &mut self.last_buddy, &mut self.skip_buddy] {
            if *buddy == Some(id) {
                *buddy = None;
            }
            self.any_buddy |= buddy.is_some();
        }
    }

    /// `nr_queued` tasks are queued on the CPU. When the running entity's slice ends, as a delay from now in real ns: `Ok(delay)`, or
    /// `Err(())` if it has ended already (C.15). `None` when no timer is wanted.
    #[inline(always)]
    pub(crate) fn hrtick_delay(
        &self,
        params: &FairParams,
        entities: &[Entity],
        nr_queued: u32,
    ) -> Option<Result<u64, ()>> {
        if !params.has(Feature::HRTICK) || nr_queued < 2 {
            return None;
        }
        let (_, entity) = self.queued_curr(entities)?;
        let ran = entity.sum_exec.wrapping_sub(entity.prev_sum_exec);
        match &params.algorithm {
            Algorithm::Eevdf(eevdf) if eevdf.rules.hrtick_by_deadline => {
                if !before(entity.vruntime, entity.deadline) {
                    return Some(Err(()));
                }
                let left = entity.deadline.wrapping_sub(entity.vruntime);
                if entity.load.weight == NICE_0_LOAD {
                    return Some(Ok(left.max(HRTICK_MIN_NS)));
                }
                let delay = (u128::from(entity.load.weight) * u128::from(left)) >> 20;
                Some(Ok((delay as u64).max(HRTICK_MIN_NS)))
            }
            Algorithm::Eevdf(_) => Some(slice_left(entity.slice, ran)),
            Algorithm::Cfs(cfs) => Some(slice_left(self.cfs_slice(params, cfs, entity), ran)),
        }
    }

    /// Whether an armed HRTICK stays armed when a pick needs none.
    pub(crate) fn hrtick_outlives_pick(&self, params: &FairParams) -> bool {
        matches!(&params.algorithm, Algorithm::Eevdf(eevdf) if eevdf.rules.hrtick_outlives_pick)
    }

    /// Whether so much running, rounded as it is, leaves the entity before its deadline (C.15).
    #[inline(always)]
    pub(crate) fn hrtick_falls_short(
        &self,
        params: &FairParams,
        entities: &[Entity],
        delay_ns: u64,
    ) -> bool {
        let Algorithm::Eevdf(eevdf) = &params.algorithm else { return false };
        self.queued_curr(entities).is_some_and(|(_, entity)| {
            if entity.load.weight == NICE_0_LOAD {
                // Real and virtual ns are the same: nothing was rounded.
                return false;
            }
            let reached = entity.vruntime.wrapping_add(params.virtual_delta(delay_ns, entity));
            eevdf.rules.hrtick_by_deadline && before(reached, entity.deadline)
        })
    }

    /// EEVDF: the weighted average of all vruntimes, without moving what it is relative to.
    pub(crate) fn average_vruntime(&self) -> u64 {
        let (sum, weight) = self.eevdf_sums();
        self.zero.wrapping_add(eevdf::floor_quotient(sum, weight) as u64)
    }

    /// CFS `min_vruntime`, or the zero point of EEVDF's sums.
    pub(crate) fn zero_vruntime(&self) -> u64 {
        self.zero
    }

    /// CFS: what slice the entity would get now. EEVDF: its request.
    pub(crate) fn slice_of(&self, params: &FairParams, entities: &[Entity], id: u32) -> u64 {
        let entity = &entities[id as usize];
        match &params.algorithm {
            Algorithm::Cfs(cfs) => self.cfs_slice(params, cfs, entity),
            Algorithm::Eevdf(_) => entity.slice,
        }
    }

    /// EEVDF: whether the entity has had no more than its share.
    pub(crate) fn eligible(&self, entities: &[Entity], id: u32) -> bool {
        self.vruntime_eligible(self.eevdf_sums(), entities[id as usize].vruntime)
    }

    /// EEVDF: whether the running entity is protected from a pick.
    pub(crate) fn protected(&self, params: &FairParams, entities: &[Entity]) -> bool {
        match (&params.algorithm, self.queued_curr(entities)) {
            (Algorithm::Eevdf(eevdf), Some((_, curr))) => eevdf::is_protected(params, eevdf, curr),
            _ => false,
        }
    }
}

fn slice_left(slice_ns: u64, ran_ns: u64) -> Result<u64, ()> {
    match slice_ns.checked_sub(ran_ns) {
        Some(left) if left > 0 => Ok(left.max(HRTICK_MIN_NS)),
        _ => Err(()),
    }
}

/// How the wakee came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wakeup {
    /// It was forked, not woken.
    pub(crate) fork: bool,
    /// A reschedule of this CPU is pending already.
    pub(crate) resched_pending: bool,
    /// Where entities of groups are compared: whether the task that came has policy NORMAL.
    pub(crate) normal: Option<bool>,
}
