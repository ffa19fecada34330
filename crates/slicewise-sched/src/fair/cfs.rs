//! CFS, as of 6.1 (fair.md B): the least virtual runtime runs.

use super::{CfsParams, Dequeue, Enqueue, Entity, FairParams, FairQueue, Wakeup};
use crate::ordered::before;
use crate::weight::{Load, scaled_division};
use crate::{Feature, Rule};

/// Entities up to which the period is the latency: latency / min_granularity, rounded up.
fn nr_latency(cfs: &CfsParams) -> u64 {
    cfs.latency_ns.div_ceil(cfs.min_granularity_ns)
}

/// The period in which everyone should run once (B.3).
pub(super) fn period_ns(cfs: &CfsParams, nr_running: u64) -> u64 {
    if nr_running > nr_latency(cfs) {
        nr_running.saturating_mul(cfs.min_granularity_ns)
    } else {
        cfs.latency_ns
    }
}

impl FairQueue {
    /// The slice of an entity, queued or about to be (B.3).
    pub(super) fn cfs_slice(&self, params: &FairParams, cfs: &CfsParams, entity: &Entity) -> u64 {
        let joining = u64::from(!entity.on_rq);
        let nr_queued = match &self.outer {
            Some(outer) if params.has(Feature::ALT_PERIOD) => outer.nr_queued,
            _ => self.nr_queued,
        };
        let period = period_ns(cfs, u64::from(nr_queued) + joining);
        let load = self.load_weight + joining * entity.load.weight;
        let mut slice = scaled_division(period, entity.load.weight, Load::summed(load));
        for (weight, load) in self.outer.iter().flat_map(|outer| &outer.shares) {
            slice = scaled_division(slice, *weight, Load::summed(*load));
        }
        if !params.has(Feature::BASE_SLICE) {
            return slice;
        }
        let all_idle = self.nr_queued > 0 && self.nr_idle == self.nr_queued;
        let floor = if entity.idle && !all_idle {
            cfs.idle_min_granularity_ns
        } else {
            cfs.min_granularity_ns
        };
        slice.max(floor)
    }

    /// B.2: the minimum follows the least vruntime and never falls.
    pub(super) fn cfs_update_min_vruntime(&mut self, entities: &[Entity]) {
        let curr = self.queued_curr(entities).map(|(_, curr)| curr.vruntime);
        let first = self.tree.first().map(|entry| entry.vruntime);
        let least = match (curr, first) {
            (Some(a), Some(b)) => crate::ordered::earlier(a, b),
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => return,
        };
        if before(self.zero, least) {
            self.zero = least;
        }
    }

    /// What a forked entity takes from its parent's queue, before it is enqueued anywhere (B.4).
    /// The result is relative to that queue's minimum.
    pub(crate) fn cfs_fork(
        &mut self,
        params: &FairParams,
        cfs: &CfsParams,
        entities: &mut [Entity],
        child: u32,
        now_ns: u64,
    ) {
        self.account(params, entities, now_ns);
        let start = match self.queued_curr(entities) {
            Some((_, parent)) => parent.vruntime,
            None => self.zero,
        };
        let mut place = self.zero;
        if params.has(Feature::START_DEBIT) {
            let entity = &entities[child as usize];
            let slice = self.cfs_slice(params, cfs, entity);
            place = place.wrapping_add(params.virtual_delta(slice, entity));
        }
        let vruntime = if before(start, place) { place } else { start };
        entities[child as usize].vruntime = vruntime.wrapping_sub(self.zero);
    }

    /// Accounts, renormalises and places; the common part follows (B.4).
    pub(super) fn cfs_enqueue(
        &mut self,
        params: &FairParams,
        cfs: &CfsParams,
        entities: &mut [Entity],
        id: u32,
        how: Enqueue,
        now_ns: u64,
    ) {
        let current = self.curr == id;
        let relative = how != Enqueue::Wakeup;
        if relative && current {
            entities[id as usize].vruntime = entities[id as usize].vruntime.wrapping_add(self.zero);
        }
        self.account(params, entities, now_ns);
        if relative && !current {
            entities[id as usize].vruntime = entities[id as usize].vruntime.wrapping_add(self.zero);
        }
        if matches!(how, Enqueue::Wakeup | Enqueue::WakeupMigrated) {
            self.cfs_place_sleeper(params, cfs, &mut entities[id as usize], now_ns);
        }
    }

    /// A sleeper gets up to half a latency of credit (B.4).
    fn cfs_place_sleeper(
        &self,
        params: &FairParams,
        cfs: &CfsParams,
        entity: &mut Entity,
        now_ns: u64,
    ) {
        let mut credit = if entity.idle { cfs.min_granularity_ns } else { cfs.latency_ns };
        if params.has(Feature::GENTLE_FAIR_SLEEPERS) {
            credit >>= 1;
        }
        let place = self.zero.wrapping_sub(credit);
        let slept = now_ns.wrapping_sub(entity.exec_start);
        let long_sleeper = entity.exec_start != 0 && slept > (1 << 63) / 1024;
        if long_sleeper || before(entity.vruntime, place) {
            entity.vruntime = place;
        }
    }

    /// A sleeper goes to another class: it is placed as if it woke up, and its vruntime becomes
    /// relative, as that of every task outside the class is.
    pub(crate) fn cfs_leave_class(
        &self,
        params: &FairParams,
        cfs: &CfsParams,
        entity: &mut Entity,
        now_ns: u64,
    ) {
        self.cfs_place_sleeper(params, cfs, entity, now_ns);
        self.cfs_detach_sleeper(entity);
    }

    /// A sleeper comes from another class.
    pub(crate) fn cfs_join_class(&self, entity: &mut Entity) {
        entity.vruntime = entity.vruntime.wrapping_add(self.zero);
    }

    /// What a sleeper waking on another CPU does first: its vruntime becomes relative.
    pub(crate) fn cfs_detach_sleeper(&self, entity: &mut Entity) {
        entity.vruntime = entity.vruntime.wrapping_sub(self.zero);
    }

    pub(super) fn cfs_left(&mut self, entities: &mut [Entity], id: u32, how: Dequeue) {
        if !matches!(how, Dequeue::Sleep | Dequeue::Throttle) {
            let entity = &mut entities[id as usize];
            entity.vruntime = entity.vruntime.wrapping_sub(self.zero);
        }
        if how != Dequeue::Save {
            self.cfs_update_min_vruntime(entities);
        }
    }

    /// Tick preemption (B.5).
    pub(super) fn cfs_tick(&mut self, params: &FairParams, cfs: &CfsParams, entities: &[Entity]) {
        if self.nr_queued < 2 {
            return;
        }
        let Some((id, curr)) = self.queued_curr(entities) else { return };
        let ran = curr.sum_exec.wrapping_sub(curr.prev_sum_exec);
        let ideal = self.cfs_slice(params, cfs, curr).min(cfs.latency_ns);
        if ran > ideal {
            self.resched = true;
            self.clear_buddies(id);
            return;
        }
        if ran < cfs.min_granularity_ns {
            return;
        }
        if let Some(first) = self.tree.first() {
            let ahead = curr.vruntime.wrapping_sub(first.vruntime) as i64;
            if ahead >= 0 && ahead as u64 > ideal {
                self.resched = true;
            }
        }
    }

    /// B.6 `cmp`: negative or zero keeps `curr`, 1 says `wakee` is far enough behind it.
    fn cfs_compare(
        params: &FairParams,
        cfs: &CfsParams,
        curr: u64,
        wakee: &Entity,
    ) -> core::cmp::Ordering {
        let behind = curr.wrapping_sub(wakee.vruntime) as i64;
        let granularity = params.virtual_delta(cfs.wakeup_granularity_ns, wakee);
        if behind <= 0 {
            core::cmp::Ordering::Less
        } else if behind as u64 > granularity {
            core::cmp::Ordering::Greater
        } else {
            core::cmp::Ordering::Equal
        }
    }

    /// Wakeup preemption (B.6).
    pub(super) fn cfs_wakeup_preempt(
        &mut self,
        params: &FairParams,
        cfs: &CfsParams,
        entities: &mut [Entity],
        wakee: u32,
        wakeup: Wakeup,
        now_ns: u64,
    ) {
        let Some(curr) = self.curr() else { return };
        if curr == wakee {
            return;
        }
        let enough = u64::from(self.nr_queued) >= nr_latency(cfs);
        let buddies = params.has(Feature::NEXT_BUDDY) && enough && !wakeup.fork;
        if buddies && !entities[wakee as usize].idle {
            (self.next_buddy, self.any_buddy) = (Some(wakee), true);
        }
        if wakeup.resched_pending {
            return;
        }
        let (curr_idle, wakee_idle, batch) = (
            entities[curr as usize].idle,
            entities[wakee as usize].idle,
            entities[wakee as usize].batch,
        );
        if !curr_idle || wakee_idle {
            let unfit = match wakeup.normal {
                None => wakee_idle || batch,
                Some(normal) => !normal || wakee_idle && !curr_idle,
            };
            if unfit || !params.has(Feature::WAKEUP_PREEMPTION) {
                return;
            }
            self.account(params, entities, now_ns);
            let (running, waking) = (&entities[curr as usize], &entities[wakee as usize]);
            if Self::cfs_compare(params, cfs, running.vruntime, waking).is_le() {
                return;
            }
            if !buddies {
                (self.next_buddy, self.any_buddy) = (Some(wakee), true);
            }
        }
        self.resched = true;
        let running = &entities[curr as usize];
        if params.has(Feature::LAST_BUDDY) && enough && running.on_rq && !running.idle {
            (self.last_buddy, self.any_buddy) = (Some(curr), true);
        }
    }

    /// The pick (B.7).
    pub(super) fn cfs_pick(
        &mut self,
        params: &FairParams,
        cfs: &CfsParams,
        entities: &[Entity],
    ) -> Option<(u32, Rule)> {
        let curr = self.queued_curr(entities);
        let first = self.tree.first();
        let left = match (first, curr) {
            (Some(first), Some((id, curr))) if before(curr.vruntime, first.vruntime) => id,
            (Some(first), _) => first.entity,
            (None, Some((id, _))) => id,
            (None, None) => return None,
        };
        let close = |id: u32| {
            let other = entities[id as usize].vruntime;
            Self::cfs_compare(params, cfs, other, &entities[left as usize]).is_le()
        };
        if self.nr_queued == 1 {
            return Some((left, Rule::OnlyTask));
        }
        let mut picked = (left, Rule::LeastVruntime);
        if self.skip_buddy == Some(left) {
            let second = match curr {
                Some((id, _)) if id == left => first.map(|entry| entry.entity),
                _ => {
                    let next = self.tree.iter().nth(1).map(|entry| entry.entity);
                    match (next, curr) {
                        (None, Some((id, _))) => Some(id),
                        (Some(next), Some((id, curr)))
                            if before(curr.vruntime, entities[next as usize].vruntime) =>
                        {
                            Some(id)
                        }
                        (next, _) => next,
                    }
                }
            };
            if let Some(second) = second.filter(|id| close(*id)) {
                picked = (second, Rule::SecondVruntime);
            }
        }
        if let Some(next) = self.next_buddy.filter(|id| close(*id)) {
            picked = (next, Rule::NextBuddy);
        } else if let Some(last) = self.last_buddy.filter(|id| close(*id)) {
            picked = (last, Rule::LastBuddy);
        }
        Some(picked)
    }
}
