//! The path simulations live on: a fair task wakes where it slept, goes to sleep or makes way, on a CPU
//! that a fair task runs on, where there are no groups and nobody of a higher class is queued.
//!
//! What happens and in which order is told in [`super::classes`]; this only borrows what it needs once
//! and leaves out what cannot matter here. Whatever is not plain goes the long way.

use super::smp::load::counted_at_root;
use super::{Cpu, Resched, Scheduler};
use crate::deadline::entity::DlEntity;
use crate::fair::{Dequeue, Enqueue, Entity, FairParams, Wakeup};
use crate::task::State;
use crate::{Class, CpuId, Feature, Output, Switch, TaskId, Timer};

impl Cpu {
    /// Fair tasks have run since the server was last told; a fair task is the running one. Whether its
    /// budget has ended.
    #[inline(always)]
    fn tell_server(&mut self, entities: &[Entity], servers: &mut [DlEntity], current: u32) -> bool {
        if !self.server_active {
            return false;
        }
        let sum_exec = entities[current as usize].sum_exec;
        let delta_ns = sum_exec.wrapping_sub(self.server_mark);
        if delta_ns == 0 {
            return false;
        }
        self.server_mark = sum_exec;
        let server = &mut servers[self.server as usize];
        server.runtime = server.runtime.saturating_sub_unsigned(delta_ns);
        server.server.idle = false;
        server.runtime <= 0
    }

    /// As [`tell_server`](Self::tell_server), unless that ends its budget. False if it does, or has
    /// ended; then nothing has been done.
    #[inline(always)]
    fn tell_lasting_server(
        &mut self,
        entities: &[Entity],
        servers: &mut [DlEntity],
        current: u32,
    ) -> bool {
        if !self.server_active {
            return true;
        }
        let sum_exec = entities[current as usize].sum_exec;
        let delta_ns = sum_exec.wrapping_sub(self.server_mark);
        let server = &mut servers[self.server as usize];
        let left = server.runtime.saturating_sub_unsigned(delta_ns);
        if left <= 0 {
            return false;
        }
        if delta_ns > 0 {
            (server.runtime, server.server.idle) = (left, false);
            self.server_mark = sum_exec;
        }
        true
    }

    /// Arms or disarms the slice timer for who runs at the root.
    #[inline(always)]
    pub(super) fn update_hrtick(
        &mut self,
        params: &FairParams,
        entities: &[Entity],
        outputs: &mut Vec<Output>,
        at: Moment,
        after_pick: bool,
    ) {
        let delay = self.fair.hrtick_delay(params, entities, self.nr_fair_queued());
        let short = match delay {
            Some(Ok(delay_ns)) => self.fair.hrtick_falls_short(params, entities, delay_ns),
            _ => false,
        };
        let outlives = self.fair.hrtick_outlives_pick(params);
        self.set_hrtick(outputs, at, after_pick, (delay, short, outlives));
    }

    /// The same of any level, by what its queue says: the delay, whether that falls short of the end of
    /// the slice, and whether an armed timer outlives a pick that needs none.
    #[inline(always)]
    pub(super) fn set_hrtick(
        &mut self,
        outputs: &mut Vec<Output>,
        Moment { now_ns, cpu, lazy }: Moment,
        after_pick: bool,
        (delay, short, outlives): (Option<Result<u64, ()>>, bool, bool),
    ) {
        match delay {
            Some(Ok(delay_ns)) => {
                self.hrtick_armed = true;
                // The delay is rounded down, and a timer never fires early: one ns later the
                // deadline is reached.
                let at_ns = now_ns.saturating_add(delay_ns + u64::from(short));
                outputs.push(Output::ArmTimer { cpu: CpuId(cpu), timer: Timer::HrTick, at_ns });
            }
            // A pick has just been made: the next tick or event decides again, not this instant.
            Some(Err(())) if !after_pick => {
                self.fair.resched = true;
                self.take_fair_resched(cpu, lazy, outputs);
            }
            // Seen on 7.2: armed for a task that has left since, it fires on the next one.
            _ if self.current.is_some() && outlives => {}
            _ if self.hrtick_armed => {
                self.hrtick_armed = false;
                outputs.push(Output::DisarmTimer { cpu: CpuId(cpu), timer: Timer::HrTick });
            }
            _ => {}
        }
    }
}

/// When and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now_ns: u64,
    pub(super) cpu: u32,
    /// Requests of the fair class are lazy.
    pub(super) lazy: bool,
}

impl Scheduler {
    /// A fair task wakes on the CPU it slept on, and is not delayed. False if that is not plain; then
    /// nothing has been done.
    #[inline(always)]
    pub(super) fn wake_plain(&mut self, now_ns: u64, cpu: u32, slot: u32) -> bool {
        if self.groups.any() {
            return false;
        }
        let Self { params, profile, cpus, tasks, entities, outputs, deadlines, loads, smp, .. } =
            self;
        let (entities, slots) = (entities.as_mut_slice(), tasks.slots.as_slice());
        let Some(rq) = cpus.get_mut(cpu as usize) else { return false };
        let Some(current) = rq.current else { return false };
        let past = &entities[slot as usize].past;
        if slots[slot as usize].class != Class::Fair
            || slots[current as usize].class != Class::Fair
            || rq.server_active != rq.has_server()
            || loads.on() && (past.counted != counted_at_root(cpu) || past.list != cpu)
        {
            return false;
        }
        if loads.on() {
            rq.update_load(now_ns);
            let entity = &mut entities[slot as usize];
            entity.update_past_asleep(now_ns);
            rq.load.join_estimate(&mut entity.past);
            loads.enlist(&mut rq.load, &entity.past, cpu);
        }
        rq.fair.enqueue(params, entities, slot, Enqueue::Wakeup, now_ns);
        rq.take_fair_resched(cpu, profile.lazy_preemption, outputs);
        if rq.tell_server(entities, &mut deadlines.entities, current) {
            self.wake_ends_server(now_ns, cpu, slot);
            return true;
        }
        let at = Moment { now_ns, cpu, lazy: profile.lazy_preemption };
        if params.has(Feature::HRTICK) && !rq.hrtick_armed {
            rq.update_hrtick(params, entities, outputs, at, false);
        }
        if loads.on() {
            smp.note_crowd(rq, cpu);
        }
        if current != slot {
            let wakeup = Wakeup { resched_pending: rq.resched != Resched::No, ..Wakeup::default() };
            rq.fair.wakeup_preempt(params, entities, slot, wakeup, now_ns);
            rq.take_fair_resched(cpu, profile.lazy_preemption, outputs);
        }
        true
    }

    /// The rest of a wakeup that has used up the fair server's budget.
    #[cold]
    fn wake_ends_server(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        self.end_server_budget(now_ns, cpu);
        self.update_hrtick(now_ns, cpu, false);
        self.note_crowd(cpu);
        self.check_preempt(now_ns, cpu, slot, Wakeup::default());
    }

    /// The running task, a fair one, goes to sleep. False if that is not plain; then nothing has been
    /// done.
    #[inline(always)]
    pub(super) fn block_plain(&mut self, now_ns: u64, cpu: u32, slot: u32) -> bool {
        if self.groups.any() {
            return false;
        }
        let Self { params, profile, cpus, tasks, entities, outputs, deadlines, loads, smp, .. } =
            self;
        let Some(rq) = cpus.get_mut(cpu as usize) else { return false };
        if tasks.slots[slot as usize].class != Class::Fair {
            return false;
        }
        let entities = entities.as_mut_slice();
        if loads.on() {
            rq.update_load(now_ns);
            let entity = &mut entities[slot as usize];
            entity.update_past(now_ns, true, |load| load.weight);
            rq.load.leave_estimate(&mut entity.past);
            if params.has(Feature::UTIL_EST) {
                entity.past.estimate_again();
            }
        }
        rq.fair.dequeue_inlined(params, entities, slot, Dequeue::Sleep, now_ns);
        rq.take_fair_resched(cpu, profile.lazy_preemption, outputs);
        if rq.tell_server(entities, &mut deadlines.entities, slot) {
            self.end_server_budget(now_ns, cpu);
            self.note_crowd(cpu);
        } else if loads.on() {
            smp.note_crowd(rq, cpu);
        }
        true
    }

    /// The pick and the switch from one fair task to another. `None` if that is not plain; then nothing
    /// but the pick of the fair class has been done, which can be repeated.
    #[inline(always)]
    pub(super) fn schedule_plain(&mut self, now_ns: u64, cpu: u32) -> Option<Switch> {
        let above = self.nr_rt_queued + self.deadlines.nr_queued + self.nr_must_move;
        if self.groups.any() || above + self.smp.nr_pushes > 0 || self.any_stop_policy {
            return None;
        }
        let Self { params, profile, cpus, tasks, entities, outputs, deadlines, loads, .. } = self;
        let rq = cpus.get_mut(cpu as usize)?;
        let prev = rq.current?;
        let (entities, slots) = (entities.as_mut_slice(), tasks.slots.as_slice());
        let leaves = &slots[prev as usize];
        if leaves.class != Class::Fair
            || leaves.state == State::Exiting
            || rq.record
            || rq.dl.nr_queued > 0
        {
            return None;
        }
        let prev_id = TaskId::new(prev, leaves.generation);
        let (next, rule) = rq.fair.pick_inlined(params, entities, now_ns)?;
        let next_id = TaskId::new(next, slots[next as usize].generation);
        if prev == next {
            (rq.resched, rq.fair.resched) = (Resched::No, false);
            return Some(Switch { prev: Some(prev_id), next: Some(next_id), rule });
        }
        // Who sleeps has been accounted to the server.
        let waits = entities[prev as usize].on_rq;
        if waits && !rq.tell_lasting_server(entities, &mut deadlines.entities, prev) {
            return None;
        }
        let mut listed = true;
        if loads.on() {
            rq.update_load(now_ns);
            if waits {
                entities[prev as usize].update_past(now_ns, true, |load| load.weight);
            }
            let entity = &mut entities[next as usize];
            entity.update_past(now_ns, false, |load| load.weight);
            listed = loads.enlist(&mut rq.load, &entity.past, cpu);
        }
        rq.fair.put_charged(params, entities);
        (rq.resched, rq.fair.resched) = (Resched::No, false);
        rq.current = Some(next);
        rq.fair.set_next_inlined(params, entities, next, now_ns);
        rq.server_mark = entities[next as usize].sum_exec;
        if params.has(Feature::HRTICK) {
            let at = Moment { now_ns, cpu, lazy: profile.lazy_preemption };
            rq.update_hrtick(params, entities, outputs, at, true);
        }
        if !listed {
            core::hint::cold_path();
            self.enlist_anew(next, cpu);
        }
        Some(Switch { prev: Some(prev_id), next: Some(next_id), rule })
    }
}
