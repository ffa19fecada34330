//! EEVDF, as of 6.6 to 7.2 (fair.md C): of those who have had no more than their share, the one
//! with the earliest virtual deadline runs.
//!
//! With v the virtual runtime and w the weight of everyone queued, V = Σ w·v / Σ w is how far
//! everyone would be had service been perfectly even. An entity's lag is V − v: positive when it is
//! owed service. It is *eligible* when its lag is not negative. A request of `slice` real ns made at
//! v has its virtual deadline at v + slice / w.
//!
//! The queue keeps Σ w and Σ w·(v − zero) over everyone queued, the running entity included, whose
//! part grows as it is charged. Eligibility is decided on the sums, without division.

use super::{Dequeue, EevdfParams, Entity, FairParams, FairQueue, Wakeup};
use crate::ordered::{before, earlier};
use crate::profile::{Inflation, LagLimit, Protection, Reweight, WakeupRule, YieldRule, ZeroPoint};
use crate::weight::Load;
use crate::{Feature, Rule};

/// ⌊sum / weight⌋, 0 for an empty queue.
#[inline(always)]
pub(super) fn floor_quotient(sum: i128, weight: u64) -> i64 {
    if weight == 0 {
        return 0;
    }
    // Nearly always the sum fits a machine word, where division is several times faster.
    let narrow = sum as i64;
    if i128::from(narrow) != sum {
        return wide_floor_quotient(sum, weight);
    }
    // Below 0 it is rounded away from 0.
    if narrow < 0 { !((!narrow as u64 / weight) as i64) } else { (narrow as u64 / weight) as i64 }
}

#[cold]
fn wide_floor_quotient(sum: i128, weight: u64) -> i64 {
    sum.div_euclid(i128::from(weight)) as i64
}

/// value · num / den, towards zero.
#[inline]
fn scale(value: i64, num: u64, den: u64) -> i64 {
    let den = den.max(1);
    match (value.checked_mul(num as i64), i64::try_from(den)) {
        (Some(product), Ok(den)) => product / den,
        _ => wide_scale(value, num, den),
    }
}

#[cold]
fn wide_scale(value: i64, num: u64, den: u64) -> i64 {
    (i128::from(value) * i128::from(num) / i128::from(den)) as i64
}

/// Whether `curr`, running, is protected (C.8). What `vprot` holds depends on the rule: for
/// [`Protection::WholeSlice`] the deadline at which protection began, so that a new deadline ends
/// it; for [`Protection::ShortestSlice`] the virtual runtime at which it ends.
pub(super) fn is_protected(params: &FairParams, eevdf: &EevdfParams, curr: &Entity) -> bool {
    match eevdf.rules.protection {
        Protection::WholeSlice => params.has(Feature::RUN_TO_PARITY) && curr.vprot == curr.deadline,
        Protection::ShortestSlice => before(curr.vruntime, curr.vprot),
    }
}

fn cancel_protection(eevdf: &EevdfParams, curr: &mut Entity) {
    curr.vprot = match eevdf.rules.protection {
        Protection::WholeSlice => curr.deadline.wrapping_add(1),
        Protection::ShortestSlice => curr.vruntime,
    };
}

/// C.12, off the queue: what was owed in real time stays owed.
pub(super) fn rescale_off_queue(eevdf: &EevdfParams, entity: &mut Entity, old: u64, new: u64) {
    entity.vlag = scale(entity.vlag, old, new);
    let scales_deadline = matches!(eevdf.rules.reweight, Reweight::Placed | Reweight::AverageKept);
    if scales_deadline && entity.rel_deadline {
        entity.deadline = scale(entity.deadline as i64, old, new) as u64;
    }
}

/// The test of C.3 for one state of a queue: S ≥ (v − v0)·W. The product of two words is one
/// instruction, and exact.
#[derive(Clone, Copy)]
struct Eligibility {
    zero: u64,
    sum: i128,
    weight: u64,
}

impl Eligibility {
    #[inline(always)]
    fn admits(&self, vruntime: u64) -> bool {
        let distance = vruntime.wrapping_sub(self.zero) as i64;
        self.sum >= i128::from(distance) * i128::from(self.weight as i64)
    }
}

impl FairQueue {
    /// Σ w·(v − zero) and Σ w over everyone queued, the running entity included (C.2).
    #[inline(always)]
    pub(super) fn eevdf_sums(&self) -> (i128, u64) {
        (self.sum, self.sum_weight)
    }

    /// The entity counts as queued from now on.
    #[inline(always)]
    pub(super) fn join_sums(&mut self, entity: &Entity) {
        self.sum_weight += entity.average_weight;
        self.sum += self.weighted(entity);
    }

    /// The entity does not count as queued any more.
    #[inline(always)]
    pub(super) fn leave_sums(&mut self, entity: &Entity) {
        self.sum_weight -= entity.average_weight;
        self.sum -= self.weighted(entity);
    }

    /// C.3: v ≤ V, decided without rounding.
    #[inline]
    pub(super) fn vruntime_eligible(&self, (sum, weight): (i128, u64), vruntime: u64) -> bool {
        Eligibility { zero: self.zero, sum, weight }.admits(vruntime)
    }

    /// V, moving the zero point where the kernel does (C.2), after which sums are others.
    #[inline]
    fn eevdf_average(&mut self, eevdf: &EevdfParams, (sum, weight): (i128, u64)) -> u64 {
        let distance = floor_quotient(sum, weight);
        let average = self.zero.wrapping_add(distance as u64);
        if eevdf.rules.zero_point == ZeroPoint::Average {
            self.move_zero(distance);
        }
        average
    }

    #[inline]
    fn move_zero(&mut self, distance: i64) {
        self.sum -= i128::from(self.sum_weight as i64) * i128::from(distance);
        self.zero = self.zero.wrapping_add(distance as u64);
    }

    /// 6.6: the zero point follows the least virtual runtime and never falls.
    #[inline(never)]
    pub(super) fn eevdf_update_min_vruntime(&mut self, entities: &[Entity]) {
        let curr = self.queued_curr(entities).map(|(_, curr)| curr.vruntime);
        let waiting = self.tree.least_vruntime();
        let least = match (curr, waiting) {
            (Some(a), Some(b)) => earlier(a, b),
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => return,
        };
        if before(self.zero, least) {
            self.move_zero(least.wrapping_sub(self.zero) as i64);
        }
    }

    /// After the running entity was charged: deadline roll-over, and whether it has had enough
    /// (C.5).
    #[inline(always)]
    pub(super) fn eevdf_charged(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
        virtual_ns: u64,
    ) {
        let curr = &mut entities[id as usize];
        if curr.on_rq {
            let weight = i128::from(curr.average_weight as i64);
            self.sum += weight * i128::from(virtual_ns as i64);
        }
        if !before(curr.vruntime, curr.deadline) {
            self.eevdf_request_met(params, eevdf, entities, id);
            return;
        }
        if eevdf.rules.zero_point == ZeroPoint::MinVruntime {
            self.eevdf_update_min_vruntime(entities);
        }
        if self.nr_queued < 2 {
            return;
        }
        let curr = &entities[id as usize];
        let enough = match eevdf.rules.wakeup {
            WakeupRule::Pick => false,
            WakeupRule::CancelThenPick => {
                params.has(Feature::PREEMPT_SHORT)
                    && curr.vprot != curr.deadline
                    && curr.on_rq
                    && !self.vruntime_eligible(self.eevdf_sums(), curr.vruntime)
            }
            WakeupRule::ShortOrPlainPick | WakeupRule::ShortOrPick => {
                !before(curr.vruntime, curr.vprot)
            }
        };
        if enough {
            self.resched = true;
            self.clear_buddies(id);
        }
    }

    /// The running entity has got what it asked for: it asks again, and others come first.
    #[inline(never)]
    fn eevdf_request_met(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
    ) {
        let curr = &mut entities[id as usize];
        refresh_slice(eevdf, curr);
        curr.deadline = curr.vruntime.wrapping_add(params.virtual_delta(curr.slice, curr));
        self.eevdf_average(eevdf, self.eevdf_sums());
        if eevdf.rules.zero_point == ZeroPoint::MinVruntime {
            self.eevdf_update_min_vruntime(entities);
        }
        if self.nr_queued > 1 {
            self.resched = true;
            self.clear_buddies(id);
        }
    }

    /// The shortest slice queued, the running entity included.
    #[inline]
    pub(super) fn shortest_slice(&self, eevdf: &EevdfParams, entities: &[Entity]) -> Option<u64> {
        if self.nr_custom_slice == 0 {
            return Some(eevdf.base_slice_ns);
        }
        self.shortest_of_all(entities)
    }

    #[inline(never)]
    fn shortest_of_all(&self, entities: &[Entity]) -> Option<u64> {
        let curr = self.queued_curr(entities).map(|(_, curr)| curr.slice);
        let waiting = self.tree.summary().map(|summary| summary.min_slice);
        curr.into_iter().chain(waiting).min()
    }

    #[inline]
    fn longest_slice(&self, eevdf: &EevdfParams, entities: &[Entity]) -> Option<u64> {
        if self.nr_custom_slice == 0 {
            return Some(eevdf.base_slice_ns);
        }
        self.longest_of_all(entities)
    }

    #[inline(never)]
    fn longest_of_all(&self, entities: &[Entity]) -> Option<u64> {
        let curr = self.queued_curr(entities).map(|(_, curr)| curr.slice);
        let waiting = self.tree.summary().map(|summary| summary.max_slice);
        curr.into_iter().chain(waiting).max()
    }

    /// Protection of a fresh pick (C.8).
    #[inline(always)]
    pub(super) fn eevdf_protect(
        &self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
    ) {
        let shortest = match eevdf.rules.protection {
            Protection::WholeSlice => {
                entities[id as usize].vprot = entities[id as usize].deadline;
                return;
            }
            Protection::ShortestSlice if params.has(Feature::RUN_TO_PARITY) => {
                self.shortest_slice(eevdf, entities)
            }
            Protection::ShortestSlice => Some(eevdf.unscaled_base_slice_ns),
        };
        let entity = &mut entities[id as usize];
        let slice = shortest.unwrap_or(entity.slice).min(entity.slice);
        entity.vprot = if slice == entity.slice {
            entity.deadline
        } else {
            earlier(
                entity.deadline,
                entity.vruntime.wrapping_add(params.virtual_delta(slice, entity)),
            )
        };
    }

    /// C.4: lag of an entity about to leave, within its limit.
    pub(super) fn eevdf_lag(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &[Entity],
        id: u32,
        sums: (i128, u64),
    ) -> i64 {
        self.eevdf_lag_inlined(params, eevdf, entities, id, sums)
    }

    #[inline(always)]
    pub(super) fn eevdf_lag_inlined(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &[Entity],
        id: u32,
        sums: (i128, u64),
    ) -> i64 {
        let average = self.eevdf_average(eevdf, sums);
        let entity = &entities[id as usize];
        let limit = self.lag_limit(params, eevdf, entities, entity);
        let lag = (average.wrapping_sub(entity.vruntime) as i64).clamp(-limit, limit);
        if entity.delayed && eevdf.rules.delayed_lag_kept {
            let kept = lag.max(entity.vlag);
            return if params.has(Feature::DELAY_ZERO) { kept.min(0) } else { kept };
        }
        lag
    }

    #[inline(always)]
    fn lag_limit(
        &self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &[Entity],
        entity: &Entity,
    ) -> i64 {
        let real = match eevdf.rules.lag_limit {
            LagLimit::OwnSlice => entity.slice.saturating_mul(2).max(params.tick_ns),
            LagLimit::LongestSlice => {
                let longest = self.longest_slice(eevdf, entities);
                longest.unwrap_or(entity.slice).saturating_add(params.tick_ns)
            }
        };
        i64::try_from(params.virtual_delta(real, entity)).unwrap_or(i64::MAX)
    }

    /// Gives an entity its place among those queued, from the lag it left with (C.9).
    pub(super) fn eevdf_place(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
        initial: bool,
    ) {
        self.eevdf_place_inlined(params, eevdf, entities, id, initial);
    }

    #[inline(always)]
    pub(super) fn eevdf_place_inlined(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
        initial: bool,
    ) {
        let sums = self.eevdf_sums();
        let (average, weight) = (self.eevdf_average(eevdf, sums), sums.1);
        let others = self.nr_queued;
        let entity = &mut entities[id as usize];
        refresh_slice(eevdf, entity);
        let mut lag = 0;
        if params.has(Feature::PLACE_LAG) && others > 0 && entity.vlag != 0 {
            let own = entity.average_weight;
            lag = match eevdf.rules.inflation {
                Inflation::Product => scale(entity.vlag, weight + own, weight),
                Inflation::Sum => entity.vlag.saturating_add(scale(entity.vlag, own, weight)),
            };
        }
        entity.vruntime = average.wrapping_sub(lag as u64);
        if entity.rel_deadline {
            entity.deadline = entity.deadline.wrapping_add(entity.vruntime);
            entity.rel_deadline = false;
            return;
        }
        let mut request = params.virtual_delta(entity.slice, entity);
        if initial && params.has(Feature::PLACE_DEADLINE_INITIAL) {
            request /= 2;
        }
        entity.deadline = entity.vruntime.wrapping_add(request);
    }

    /// C.10: whether a sleeper has to stay queued; if so, it is marked.
    #[inline]
    pub(super) fn eevdf_delays(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
        sums: (i128, u64),
    ) -> bool {
        let sleeper = &entities[id as usize];
        if !params.has(Feature::DELAY_DEQUEUE)
            || sleeper.delayed
            || self.vruntime_eligible(sums, sleeper.vruntime)
        {
            return false;
        }
        if eevdf.rules.delayed_lag_kept {
            entities[id as usize].vlag = self.eevdf_lag(params, eevdf, entities, id, sums);
        }
        entities[id as usize].delayed = true;
        true
    }

    /// C.11, once off the queue: a move keeps the distance to the deadline; what was won while
    /// delayed is dropped (C.10, exit A).
    pub(super) fn eevdf_left(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
        how: Dequeue,
    ) {
        let entity = &mut entities[id as usize];
        if matches!(how, Dequeue::Move | Dequeue::Save) && params.has(Feature::PLACE_REL_DEADLINE) {
            entity.deadline = entity.deadline.wrapping_sub(entity.vruntime);
            entity.rel_deadline = true;
        }
        if entity.delayed {
            entity.delayed = false;
            if params.has(Feature::DELAY_ZERO) {
                entity.vlag = entity.vlag.min(0);
            }
        }
        if eevdf.rules.zero_point == ZeroPoint::MinVruntime && how != Dequeue::Save {
            self.eevdf_update_min_vruntime(entities);
        }
    }

    /// A delayed entity is woken: it stays, perhaps in another place (C.10, exit B).
    pub(crate) fn eevdf_wake_delayed(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
        now_ns: u64,
    ) {
        if eevdf.rules.delayed_wakeup_charges {
            self.account(params, entities, now_ns);
        }
        self.preemptor = None;
        let was = entities[id as usize].vruntime;
        let average = self.eevdf_average(eevdf, self.eevdf_sums());
        let sums = self.eevdf_sums();
        let lag = self.eevdf_lag(params, eevdf, entities, id, sums);
        let replaced = if eevdf.rules.delayed_lag_kept {
            average.wrapping_sub(lag as u64) != was
        } else {
            params.has(Feature::DELAY_ZERO) && lag > 0
        };
        if replaced {
            let current = self.curr == id;
            if !current {
                self.tree_remove(params, entities, id);
            }
            self.step_out(entities, id);
            let entity = &mut entities[id as usize];
            entity.vlag = if eevdf.rules.delayed_lag_kept { lag } else { 0 };
            entity.rel_deadline = false;
            self.eevdf_place(params, eevdf, entities, id, false);
            self.step_in(entities, id);
            if !current {
                self.tree_insert(params, entities, id);
            }
        }
        entities[id as usize].delayed = false;
        self.nr_runnable += 1;
    }

    /// For the time of a placement the entity does not count as queued.
    fn step_out(&mut self, entities: &mut [Entity], id: u32) {
        self.leave_sums(&entities[id as usize]);
        entities[id as usize].on_rq = false;
        self.nr_queued -= 1;
    }

    fn step_in(&mut self, entities: &mut [Entity], id: u32) {
        self.join_sums(&entities[id as usize]);
        entities[id as usize].on_rq = true;
        self.nr_queued += 1;
    }

    /// Changes the weight of a queued entity (C.12).
    pub(crate) fn eevdf_reweight_queued(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
        load: Load,
        now_ns: u64,
    ) {
        self.account(params, entities, now_ns);
        let current = self.curr == id;
        self.preemptor = None;
        let average = self.eevdf_average(eevdf, self.eevdf_sums());
        let sums = self.eevdf_sums();
        let entity = &entities[id as usize];
        let lag = match eevdf.rules.reweight {
            Reweight::AroundAverage => average.wrapping_sub(entity.vruntime) as i64,
            _ => self.eevdf_lag(params, eevdf, entities, id, sums),
        };
        let entity = &entities[id as usize];
        let (old, new) = (entity.load.weight, load.weight);
        let from = match eevdf.rules.reweight {
            Reweight::Placed => entity.vruntime,
            _ => average,
        };
        let deadline = scale(entity.deadline.wrapping_sub(from) as i64, old, new) as u64;
        let protection = is_protected(params, eevdf, entity);
        let vprot = scale(entity.vprot.wrapping_sub(from) as i64, old, new) as u64;
        let lag = scale(lag, old, new);
        if !current {
            self.tree_remove(params, entities, id);
        }
        self.step_out(entities, id);
        self.load_weight = self.load_weight - old + new;
        let entity = &mut entities[id as usize];
        entity.set_load(load, params);
        match eevdf.rules.reweight {
            Reweight::Placed => {
                entity.vlag = lag;
                entity.deadline = deadline;
                entity.rel_deadline = true;
                self.eevdf_place(params, eevdf, entities, id, false);
            }
            _ => {
                entity.vruntime = average.wrapping_sub(lag as u64);
                entity.deadline = average.wrapping_add(deadline);
            }
        }
        let entity = &mut entities[id as usize];
        if current && protection {
            let base =
                if eevdf.rules.reweight == Reweight::Placed { entity.vruntime } else { average };
            entity.vprot = match eevdf.rules.protection {
                Protection::WholeSlice => entity.deadline,
                Protection::ShortestSlice => base.wrapping_add(vprot),
            };
        }
        self.step_in(entities, id);
        if !current {
            self.tree_insert(params, entities, id);
        }
    }

    /// The pick (C.7). With `protect` false, slice protection is ignored.
    #[inline(always)]
    pub(super) fn eevdf_pick(
        &self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &[Entity],
        protect: bool,
    ) -> Option<(u32, Rule)> {
        let curr = self.queued_curr(entities);
        if self.nr_queued == 1 {
            let only = match curr {
                Some((id, _)) => Some(id),
                None => self.tree.first().map(|entry| entry.entity),
            };
            return only.map(|id| (id, Rule::OnlyTask));
        }
        let (sum, weight) = self.eevdf_sums();
        let eligibility = Eligibility { zero: self.zero, sum, weight };
        let eligible = |vruntime| eligibility.admits(vruntime);
        let buddy_feature = if eevdf.rules.wakeup == WakeupRule::Pick {
            Feature::NEXT_BUDDY
        } else {
            Feature::PICK_BUDDY
        };
        if let Some(next) = self.next_buddy
            && params.has(buddy_feature)
            && entities[next as usize].on_rq
            && eligible(entities[next as usize].vruntime)
        {
            return Some((next, Rule::NextBuddy));
        }
        let curr = curr.filter(|(_, curr)| eligible(curr.vruntime));
        if let Some((id, entity)) = curr
            && protect
            && is_protected(params, eevdf, entity)
        {
            return Some((id, Rule::Protected));
        }
        match (self.tree.first_passing(eligible), curr) {
            (Some(best), Some((id, curr))) => {
                let stays = before(curr.deadline, best.key)
                    || eevdf.rules.current_wins_ties && curr.deadline == best.key;
                Some(if stays {
                    (id, Rule::CurrentDeadline)
                } else {
                    (best.entity, Rule::EarliestDeadline)
                })
            }
            (Some(best), None) => Some((best.entity, Rule::EarliestDeadline)),
            (None, Some((id, _))) => Some((id, Rule::CurrentDeadline)),
            // Someone is always eligible; this is only here so that no input can get past it.
            (None, None) => self.tree.first().map(|entry| (entry.entity, Rule::EarliestDeadline)),
        }
    }

    /// The pick, after dequeuing every delayed entity it comes upon (C.10, exit A); these are named
    /// to `paid`.
    #[inline(always)]
    pub(super) fn eevdf_settled_pick(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        protect: bool,
        now_ns: u64,
        paid: impl FnMut(u32),
    ) -> Option<(u32, Rule)> {
        let picked = self.eevdf_pick(params, eevdf, entities, protect)?;
        if entities[picked.0 as usize].delayed {
            return self.pay_and_pick(params, eevdf, entities, protect, now_ns, paid);
        }
        Some(picked)
    }

    #[inline(never)]
    fn pay_and_pick(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        protect: bool,
        now_ns: u64,
        mut paid: impl FnMut(u32),
    ) -> Option<(u32, Rule)> {
        loop {
            let (id, rule) = self.eevdf_pick(params, eevdf, entities, protect)?;
            if !entities[id as usize].delayed {
                return Some((id, rule));
            }
            self.dequeue(params, entities, id, Dequeue::Delayed, now_ns);
            paid(id);
        }
    }

    /// As a preemption test does it, where it comes upon a delayed entity.
    #[inline(never)]
    fn pay_in_test(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        protect: bool,
        now_ns: u64,
        grouped: bool,
    ) -> Option<(u32, Rule)> {
        let mut paid = core::mem::take(&mut self.paid);
        let best = self.pay_and_pick(params, eevdf, entities, protect, now_ns, |id| {
            if grouped {
                paid.push(id);
            }
        });
        self.paid = paid;
        best
    }

    /// C.14.
    pub(super) fn eevdf_yield(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        id: u32,
    ) {
        if eevdf.rules.yields == YieldRule::Slice && !self.eligible(entities, id) {
            return;
        }
        let curr = &mut entities[id as usize];
        let request = params.virtual_delta(curr.slice, curr);
        match eevdf.rules.yields {
            YieldRule::Deadline => curr.deadline = curr.deadline.wrapping_add(request),
            YieldRule::Slice => {
                let skipped = curr.deadline.wrapping_sub(curr.vruntime) as i64;
                let weight = i128::from(curr.average_weight as i64);
                self.sum += weight * i128::from(skipped);
                curr.vruntime = curr.deadline;
                curr.deadline = curr.vruntime.wrapping_add(request);
            }
        }
    }

    /// Wakeup preemption (C.13).
    #[inline(always)]
    pub(super) fn eevdf_wakeup_preempt(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        wakee: u32,
        wakeup: Wakeup,
        now_ns: u64,
    ) {
        let Some(curr) = self.curr() else { return };
        if curr == wakee {
            return;
        }
        let buddies = params.has(Feature::NEXT_BUDDY) && !wakeup.fork;
        if buddies && !entities[wakee as usize].delayed {
            self.mark_next_buddy(eevdf, entities, wakee);
        }
        if wakeup.resched_pending || !params.has(Feature::WAKEUP_PREEMPTION) {
            return;
        }
        let (running, waking) = (&entities[curr as usize], &entities[wakee as usize]);
        if running.idle && !waking.idle {
            cancel_protection(eevdf, &mut entities[curr as usize]);
            self.resched = true;
            return;
        }
        let unfit = match wakeup.normal {
            None => waking.idle || waking.batch,
            Some(normal) => !normal || waking.idle && !running.idle,
        };
        if unfit {
            return;
        }
        self.account(params, entities, now_ns);
        match eevdf.rules.wakeup {
            WakeupRule::Pick => {}
            WakeupRule::CancelThenPick => {
                self.cancel_for_short(params, eevdf, entities, curr, wakee)
            }
            WakeupRule::ShortOrPlainPick | WakeupRule::ShortOrPick => {
                self.preempt_short_or_pick(params, eevdf, entities, wakee, wakeup, now_ns);
                return;
            }
        }
        let best = self.eevdf_pick(params, eevdf, entities, true);
        if best.is_some_and(|(id, _)| id == wakee) {
            self.preemptor = if entities[wakee as usize].delayed { None } else { best };
            self.resched = true;
        }
    }

    fn mark_next_buddy(&mut self, eevdf: &EevdfParams, entities: &[Entity], wakee: u32) {
        let keeps_earlier =
            matches!(eevdf.rules.wakeup, WakeupRule::ShortOrPlainPick | WakeupRule::ShortOrPick);
        let earlier_buddy = self.next_buddy.is_some_and(|buddy| {
            before(entities[buddy as usize].deadline, entities[wakee as usize].deadline)
        });
        if !(entities[wakee as usize].idle || keeps_earlier && earlier_buddy) {
            (self.next_buddy, self.any_buddy) = (Some(wakee), true);
        }
    }

    /// 6.12: a shorter slice, eligible and first, ends the protection of the running entity.
    #[inline(always)]
    fn cancel_for_short(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        curr: u32,
        wakee: u32,
    ) {
        let (running, waking) = (&entities[curr as usize], &entities[wakee as usize]);
        if waking.slice < running.slice
            && params.has(Feature::PREEMPT_SHORT)
            && self.eligible(entities, wakee)
            && (before(waking.deadline, running.deadline) || !self.eligible(entities, curr))
        {
            cancel_protection(eevdf, &mut entities[curr as usize]);
        }
    }

    /// 6.18 and 7.2; a test that leaves delayed tasks alone may still find one of them first.
    fn preempt_short_or_pick(
        &mut self,
        params: &FairParams,
        eevdf: &EevdfParams,
        entities: &mut [Entity],
        wakee: u32,
        wakeup: Wakeup,
        now_ns: u64,
    ) {
        let Some(curr) = self.curr() else { return };
        let short = params.has(Feature::PREEMPT_SHORT)
            && entities[wakee as usize].slice < entities[curr as usize].slice;
        let plain = eevdf.rules.wakeup == WakeupRule::ShortOrPlainPick;
        if !short && wakeup.fork && !plain {
            return;
        }
        let best = if plain {
            self.eevdf_pick(params, eevdf, entities, !short)
        } else {
            match self.eevdf_pick(params, eevdf, entities, !short) {
                Some((id, _)) if entities[id as usize].delayed => {
                    let grouped = wakeup.normal.is_some();
                    self.pay_in_test(params, eevdf, entities, !short, now_ns, grouped)
                }
                best => best,
            }
        };
        if best.is_some_and(|(id, _)| id == wakee) {
            if short {
                cancel_protection(eevdf, &mut entities[curr as usize]);
            }
            self.preemptor = if entities[wakee as usize].delayed { None } else { best };
            self.resched = true;
            return;
        }
        if params.has(Feature::RUN_TO_PARITY)
            && (short || !plain)
            && let Some(shortest) = self.shortest_slice(eevdf, entities)
        {
            let running = &mut entities[curr as usize];
            let end = running.vruntime.wrapping_add(params.virtual_delta(shortest, running));
            running.vprot = earlier(running.vprot, end);
        }
    }
}

/// The base slice may have been changed since; a slice of one's own stays (C.5).
#[inline]
fn refresh_slice(eevdf: &EevdfParams, entity: &mut Entity) {
    if !entity.custom_slice {
        entity.slice = eevdf.base_slice_ns;
    }
}
