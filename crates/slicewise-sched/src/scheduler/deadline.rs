//! Deadline tasks on and off the queues of their CPUs, what running costs them, and their timers
//! (classes.md C). The rules of a single entity are in [`crate::deadline`].

use super::{Resched, Scheduler};
use crate::deadline::entity::{DlEntity, Owner};
use crate::deadline::{PeriodLimits, Refusal, RootDomain};
use crate::fair::{Dequeue, Enqueue};
use crate::ordered::{Entry, Ordered, before};
use crate::task::{NO_DL, PolicyKind, State};
use crate::{Attr, Class, CpuId, DlParams, Error, Feature, Output, Policy, TaskId, Timer};

/// All deadline entities and the bandwidth they share.
#[derive(Clone, Debug)]
pub(super) struct Deadlines {
    pub(super) entities: Vec<DlEntity>,
    free: Vec<u32>,
    /// By root domain.
    pub(super) domains: Vec<RootDomain>,
    /// Tasks in the queues of all CPUs.
    pub(super) nr_queued: u32,
    next_seq: u64,
}

impl Deadlines {
    pub(super) fn new(domains: Vec<RootDomain>) -> Self {
        Self { entities: Vec::new(), free: Vec::new(), domains, nr_queued: 0, next_seq: 0 }
    }

    pub(super) fn add(&mut self, entity: DlEntity) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.entities[number as usize] = entity;
                number
            }
            None => {
                self.entities.push(entity);
                (self.entities.len() - 1) as u32
            }
        }
    }
}

/// Timers of one kind on one CPU; the host has one timer, for the first of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    list: Ordered,
    /// What the host was asked for last, and has not answered yet.
    armed_ns: Option<u64>,
}

/// What an entity's timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// The next period.
    Replenish,
    /// Its bandwidth stops being active.
    ZeroLag,
}

impl Scheduler {
    /// The parameters of a deadline task.
    pub(super) fn dl_params(&self, slot: u32) -> Option<DlParams> {
        let task = &self.tasks.slots[slot as usize];
        if task.policy != PolicyKind::Deadline {
            return None;
        }
        self.deadlines.entities.get(task.dl as usize).map(|entity| entity.params)
    }

    /// What the task asked for.
    pub(super) fn attr_of(&self, slot: u32) -> Attr {
        self.tasks.slots[slot as usize].attr(self.dl_params(slot))
    }

    /// Whether the kernel would make this task (none yet, for a new one) a deadline task, on a CPU of this
    /// root domain.
    pub(super) fn check_dl(
        &self,
        slot: Option<u32>,
        attr: &Attr,
        affinity: &crate::CpuSet,
        cpu: u32,
    ) -> Result<(), Error> {
        let Policy::Deadline(params) = attr.policy else { return Ok(()) };
        let refused = |refusal| Error::Deadline(refusal);
        params.check(PeriodLimits::default()).map_err(|f| refused(Refusal::Invalid(f)))?;
        let number = self.smp.root_domain(cpu);
        let Some(domain) = self.deadlines.domains.get(number as usize) else { return Ok(()) };
        if domain.limit().is_none() {
            return Ok(());
        }
        let mut span = (0..self.nr_cpus()).filter(|cpu| self.smp.root_domain(*cpu) == number);
        if !span.all(|cpu| affinity.contains(CpuId(cpu))) {
            return Err(refused(Refusal::Affinity));
        }
        let old = match slot {
            Some(slot) if self.tasks.slots[slot as usize].policy == PolicyKind::Deadline => {
                let number = self.tasks.slots[slot as usize].dl;
                self.deadlines.entities.get(number as usize).map_or(0, |entity| entity.admitted)
            }
            _ => 0,
        };
        domain.check(old, &params).map_err(refused)
    }

    /// Gives a task the bandwidth it has been admitted for, and an entity if it has none.
    pub(super) fn admit_dl(&mut self, slot: u32, params: DlParams) {
        let task = &mut self.tasks.slots[slot as usize];
        if task.dl == NO_DL {
            let entity = DlEntity::new(Owner::Task(slot), task.cpu, params);
            task.dl = self.deadlines.add(entity);
        }
        let number = task.dl;
        let home = self.smp.root_domain(self.tasks.slots[slot as usize].cpu);
        let Deadlines { entities, domains, .. } = &mut self.deadlines;
        let entity = &mut entities[number as usize];
        let (old, bandwidth) = (entity.bandwidth, params.bandwidth());
        // What it had may still be on its way to zero lag where it was before.
        let before = core::mem::replace(&mut entity.domain, home);
        if before == home {
            domains[home as usize].replace(entity.admitted, bandwidth);
        } else {
            domains[before as usize].replace(entity.admitted, 0);
            domains[home as usize].replace(0, bandwidth);
        }
        (entity.params, entity.admitted, entity.bandwidth) = (params, bandwidth, bandwidth);
        // Only of a sleeper: others have left their queue for the change.
        let rq = &mut self.cpus[entity.cpu as usize].dl;
        if entity.attached {
            rq.this_bw = rq.this_bw.saturating_sub(old) + bandwidth;
        }
        if entity.active {
            rq.running_bw = rq.running_bw.saturating_sub(old) + bandwidth;
        }
        if entity.zero_lag.is_some() && !entity.non_contending {
            // It comes back before what it had was given up.
            self.stop_timer(number, Due::ZeroLag);
        }
    }

    /// Its bandwidth belongs to this CPU from now on, and is active.
    pub(super) fn attach_dl(&mut self, number: u32, cpu: u32) {
        let entity = &mut self.deadlines.entities[number as usize];
        entity.cpu = cpu;
        let rq = &mut self.cpus[cpu as usize].dl;
        if !core::mem::replace(&mut entity.attached, true) {
            rq.this_bw += entity.bandwidth;
        }
        if !core::mem::replace(&mut entity.active, true) {
            rq.running_bw += entity.bandwidth;
        }
    }

    pub(super) fn deactivate_bw(&mut self, number: u32) {
        let entity = &mut self.deadlines.entities[number as usize];
        if core::mem::replace(&mut entity.active, false) {
            let rq = &mut self.cpus[entity.cpu as usize].dl;
            rq.running_bw = rq.running_bw.saturating_sub(entity.bandwidth);
        }
    }

    /// Its bandwidth belongs to no CPU any more.
    pub(super) fn detach_dl(&mut self, number: u32) {
        self.deactivate_bw(number);
        let entity = &mut self.deadlines.entities[number as usize];
        if core::mem::replace(&mut entity.attached, false) {
            let rq = &mut self.cpus[entity.cpu as usize].dl;
            rq.this_bw = rq.this_bw.saturating_sub(entity.bandwidth);
        }
    }

    /// A sleeper that moves to another CPU before it wakes.
    pub(super) fn detach_dl_sleeper(&mut self, slot: u32) {
        let number = self.tasks.slots[slot as usize].dl;
        if self.deadlines.entities[number as usize].non_contending {
            self.deadlines.entities[number as usize].non_contending = false;
            self.stop_timer(number, Due::ZeroLag);
        }
        self.detach_dl(number);
        // A timer for the next period goes on where it was set.
    }

    /// A task of the deadline class becomes runnable on `cpu` (C.5).
    pub(super) fn enqueue_dl(&mut self, now_ns: u64, cpu: u32, slot: u32, how: Enqueue) {
        let number = self.tasks.slots[slot as usize].dl;
        let Some(entity) = self.deadlines.entities.get_mut(number as usize) else { return };
        let boosted = entity.lent.is_some();
        if boosted && core::mem::replace(&mut entity.throttled, false) {
            self.stop_timer(number, Due::Replenish);
        }
        match how {
            Enqueue::Wakeup | Enqueue::WakeupMigrated => {
                self.contend(number, cpu);
                let entity = &mut self.deadlines.entities[number as usize];
                if !entity.throttled && !boosted && entity.wakes_between_periods(now_ns) {
                    entity.throttled = true;
                    entity.runtime = entity.runtime.min(0);
                    let at_ns = entity.next_period_ns();
                    self.start_timer(number, Due::Replenish, at_ns);
                }
                let entity = &mut self.deadlines.entities[number as usize];
                if !entity.throttled {
                    entity.wake(now_ns, boosted, false);
                }
            }
            Enqueue::Migrated => self.attach_dl(number, cpu),
            Enqueue::Initial | Enqueue::Restore => {
                self.attach_dl(number, cpu);
                let entity = &mut self.deadlines.entities[number as usize];
                let fresh = entity.deadline == 0 || before(entity.deadline, now_ns);
                if boosted {
                    entity.replenish(now_ns);
                } else if fresh && !entity.throttled {
                    entity.start_period(now_ns);
                }
            }
        }
        if self.deadlines.entities[number as usize].throttled {
            // Nothing to run yet.
            let rq = &self.cpus[cpu as usize];
            let idle = rq.current.is_none() && rq.nr_running() == 0;
            self.note_idle(cpu, idle);
        } else {
            self.insert_dl(cpu, number);
        }
    }

    pub(super) fn insert_dl(&mut self, cpu: u32, number: u32) {
        let entity = &mut self.deadlines.entities[number as usize];
        if !entity.queued {
            self.cpus[cpu as usize].dl.insert(number, entity);
            self.deadlines.nr_queued += u32::from(!entity.is_server());
            self.note_priority(cpu);
        }
    }

    pub(super) fn remove_dl(&mut self, cpu: u32, number: u32) {
        let entity = &mut self.deadlines.entities[number as usize];
        if entity.queued {
            self.cpus[cpu as usize].dl.remove(entity);
            self.deadlines.nr_queued -= u32::from(!entity.is_server());
            self.note_priority(cpu);
        }
    }

    /// A task of the deadline class leaves its queue.
    pub(super) fn dequeue_dl(&mut self, now_ns: u64, cpu: u32, slot: u32, how: Dequeue) {
        if self.cpus[cpu as usize].current == Some(slot) {
            self.charge_current(now_ns, cpu);
        }
        let number = self.tasks.slots[slot as usize].dl;
        if self.deadlines.entities.get(number as usize).is_none() {
            return;
        }
        self.remove_dl(cpu, number);
        match how {
            Dequeue::Move | Dequeue::Save => self.detach_dl(number),
            _ => self.stop_contending(now_ns, number),
        }
    }

    /// A sleeper wakes: its bandwidth is active.
    pub(super) fn contend(&mut self, number: u32, cpu: u32) {
        let entity = &mut self.deadlines.entities[number as usize];
        if core::mem::replace(&mut entity.non_contending, false) {
            self.stop_timer(number, Due::ZeroLag);
        }
        self.attach_dl(number, cpu);
    }

    /// A task blocks or leaves: its bandwidth stays active until its zero-lag time (C.6).
    pub(super) fn stop_contending(&mut self, now_ns: u64, number: u32) {
        let entity = &mut self.deadlines.entities[number as usize];
        if entity.bandwidth == 0 || entity.non_contending {
            return;
        }
        let zero_lag_ns = entity.zero_lag_ns();
        if before(now_ns, zero_lag_ns) {
            entity.non_contending = true;
            self.start_timer(number, Due::ZeroLag, zero_lag_ns);
        } else {
            self.at_zero_lag(number);
        }
    }

    /// The zero-lag time of an entity has come.
    fn at_zero_lag(&mut self, number: u32) {
        self.deadlines.entities[number as usize].non_contending = false;
        self.deactivate_bw(number);
        let leaves = match self.deadlines.entities[number as usize].owner {
            Owner::Server => false,
            Owner::Gone => true,
            Owner::Task(slot) => self.tasks.slots[slot as usize].policy != PolicyKind::Deadline,
        };
        if leaves {
            self.release_dl(number);
        }
    }

    /// The bandwidth of a task that is no deadline task any more is free again.
    fn release_dl(&mut self, number: u32) {
        self.detach_dl(number);
        let entity = &mut self.deadlines.entities[number as usize];
        let (admitted, domain) = (core::mem::replace(&mut entity.admitted, 0), entity.domain);
        self.deadlines.domains[domain as usize].replace(admitted, 0);
        let entity = &mut self.deadlines.entities[number as usize];
        (entity.deadline, entity.runtime) = (0, 0);
        (entity.bandwidth, entity.params) = (0, DlParams::default());
        if entity.lent.is_none() {
            self.free_dl(number);
        }
    }

    fn free_dl(&mut self, number: u32) {
        self.stop_timer(number, Due::Replenish);
        self.stop_timer(number, Due::ZeroLag);
        let entity = &mut self.deadlines.entities[number as usize];
        if let Owner::Task(slot) = core::mem::replace(&mut entity.owner, Owner::Gone) {
            self.tasks.slots[slot as usize].dl = NO_DL;
        }
        self.deadlines.free.push(number);
    }

    /// The task has another policy from now on. It is on no queue.
    pub(super) fn leave_dl(&mut self, now_ns: u64, slot: u32) {
        let number = self.tasks.slots[slot as usize].dl;
        let Some(entity) = self.deadlines.entities.get_mut(number as usize) else { return };
        (entity.throttled, entity.yielded) = (false, false);
        self.stop_timer(number, Due::Replenish);
        // It may go anywhere now: only what it has been admitted for is held until its zero lag.
        self.detach_dl(number);
        let entity = &mut self.deadlines.entities[number as usize];
        if core::mem::replace(&mut entity.non_contending, false) {
            return;
        }
        let zero_lag_ns = entity.zero_lag_ns();
        if entity.admitted > 0 && before(now_ns, zero_lag_ns) {
            self.start_timer(number, Due::ZeroLag, zero_lag_ns);
        } else {
            self.release_dl(number);
        }
    }

    /// The task ends. It is on no queue.
    pub(super) fn exit_dl(&mut self, slot: u32) {
        let number = core::mem::replace(&mut self.tasks.slots[slot as usize].dl, NO_DL);
        let Some(entity) = self.deadlines.entities.get_mut(number as usize) else { return };
        (entity.owner, entity.lent, entity.throttled) = (Owner::Gone, None, false);
        self.stop_timer(number, Due::Replenish);
        if self.deadlines.entities[number as usize].zero_lag.is_none() {
            self.release_dl(number);
        }
    }

    /// What a donor lends, or takes back.
    pub(super) fn lend_dl(&mut self, slot: u32, lent: Option<DlParams>) {
        let task = &mut self.tasks.slots[slot as usize];
        if task.dl == NO_DL {
            if lent.is_none() {
                return;
            }
            let entity = DlEntity::new(Owner::Task(slot), task.cpu, DlParams::default());
            task.dl = self.deadlines.add(entity);
        }
        let number = task.dl;
        let entity = &mut self.deadlines.entities[number as usize];
        entity.lent = lent;
        if lent.is_none() && entity.admitted == 0 && entity.zero_lag.is_none() {
            self.free_dl(number);
        }
    }

    /// Charges the running task of the deadline or the real-time class for the time since it was
    /// last charged.
    pub(super) fn charge_current(&mut self, now_ns: u64, cpu: u32) {
        let rq = &mut self.cpus[cpu as usize];
        let Some(slot) = rq.current else { return };
        let class = self.tasks.slots[slot as usize].class;
        if !matches!(class, Class::Deadline | Class::Rt) {
            return;
        }
        let delta_ns = now_ns.saturating_sub(rq.exec_start_ns);
        // Later than now while an interrupt has the CPU.
        rq.exec_start_ns = rq.exec_start_ns.max(now_ns);
        if class == Class::Deadline {
            self.charge_dl(now_ns, cpu, slot, delta_ns);
        }
        if delta_ns > 0 && self.limits_rt() {
            self.charge_rt(cpu, class, delta_ns);
        }
    }

    fn charge_dl(&mut self, now_ns: u64, cpu: u32, slot: u32, delta_ns: u64) {
        let number = self.tasks.slots[slot as usize].dl;
        let Some(entity) = self.deadlines.entities.get(number as usize) else { return };
        if !entity.queued || delta_ns == 0 && !entity.yielded {
            return;
        }
        let cost_ns = if entity.params.reclaim {
            let rq = &self.cpus[cpu as usize].dl;
            let (this, running) = (rq.this_bw, rq.running_bw);
            let domain = &self.deadlines.domains[self.smp.root_domain(cpu) as usize];
            domain.reclaimed(delta_ns, entity.bandwidth, this, running)
        } else {
            delta_ns
        };
        let entity = &mut self.deadlines.entities[number as usize];
        entity.runtime = entity.runtime.saturating_sub_unsigned(cost_ns);
        if entity.runtime > 0 && !entity.yielded {
            return;
        }
        let task = self.tasks.id(slot);
        if entity.runtime <= 0 && entity.params.overrun_signal {
            self.outputs.push(Output::Overrun { task });
        }
        self.throttle_dl(now_ns, cpu, number);
        if self.deadlines.entities[number as usize].throttled {
            self.outputs.push(Output::DlThrottled { task, cpu: CpuId(cpu), stops: true });
        }
    }

    /// The budget is used up: the entity waits for its next period, unless that has begun (C.4).
    pub(super) fn throttle_dl(&mut self, now_ns: u64, cpu: u32, number: u32) {
        self.remove_dl(cpu, number);
        let entity = &mut self.deadlines.entities[number as usize];
        entity.throttled = true;
        let at_ns = entity.next_period_ns();
        if entity.lent.is_some() || !before(now_ns, at_ns) {
            entity.replenish(now_ns);
            self.insert_dl(cpu, number);
        } else {
            self.start_timer(number, Due::Replenish, at_ns);
        }
        if self.cpus[cpu as usize].dl.first() != Some(number) {
            self.request_resched(cpu, Resched::Now);
        }
    }

    /// Whether `number`, just queued, goes before what runs on its CPU (C.3).
    pub(super) fn check_preempt_dl(&mut self, cpu: u32, number: u32) {
        let rq = &self.cpus[cpu as usize];
        let Some(current) = rq.current else {
            return self.request_resched(cpu, Resched::Now);
        };
        let task = &self.tasks.slots[current as usize];
        match task.class {
            Class::Stop => {}
            Class::Deadline if task.dl != number => self.check_preempt_deadlines(cpu, number),
            Class::Deadline => {}
            _ => self.request_resched(cpu, Resched::Now),
        }
    }

    fn check_preempt_deadlines(&mut self, cpu: u32, number: u32) {
        let rq = &self.cpus[cpu as usize];
        let Some(current) = rq.current else { return };
        let entity = &self.deadlines.entities[number as usize];
        let other = &self.deadlines.entities[self.tasks.slots[current as usize].dl as usize];
        let earlier = before(entity.deadline, other.deadline);
        let equal = entity.deadline == other.deadline && rq.resched == Resched::No;
        let makes_way = || match entity.owner {
            Owner::Task(slot) => {
                self.find_later_dl(current, cpu, cpu).is_some()
                    && self.find_later_dl(slot, cpu, cpu).is_none()
            }
            _ => false,
        };
        if earlier || equal && makes_way() {
            self.request_resched(cpu, Resched::Now);
        }
    }

    /// `sched_yield` of a deadline task: the rest of the budget is lost (C.7).
    pub(super) fn yield_dl(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        let number = self.tasks.slots[slot as usize].dl;
        if let Some(entity) = self.deadlines.entities.get_mut(number as usize) {
            entity.yielded = true;
            self.charge_current(now_ns, cpu);
        }
    }

    /// A timer tells when the budget of the running task ends (HRTICK_DL).
    pub(super) fn arm_dl_hrtick(&mut self, now_ns: u64, cpu: u32) {
        let Some(slot) = self.cpus[cpu as usize].current else { return };
        let task = &self.tasks.slots[slot as usize];
        if task.class != Class::Deadline || !self.params.has(Feature::HRTICK_DL) {
            return;
        }
        let Some(entity) = self.deadlines.entities.get(task.dl as usize) else { return };
        if entity.queued && entity.runtime > 0 {
            let delay_ns = (entity.runtime as u64).max(crate::fair::HRTICK_MIN_NS);
            self.cpus[cpu as usize].hrtick_armed = true;
            let at_ns = now_ns.saturating_add(delay_ns);
            self.outputs.push(Output::ArmTimer { cpu: CpuId(cpu), timer: Timer::HrTick, at_ns });
        }
    }

    /// A deadline task has been queued on `cpu`: who runs there may have to make way (C.3), and if
    /// not, the task may go elsewhere (C.9).
    pub(super) fn check_preempt_dl_task(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        let number = self.tasks.slots[slot as usize].dl;
        let queued = self.deadlines.entities.get(number as usize).is_some_and(|dl| dl.queued);
        if queued {
            self.check_preempt_dl(cpu, number);
            if self.cpus[cpu as usize].resched == Resched::No {
                self.push_dl(now_ns, cpu);
            }
        }
    }

    fn timers(&mut self, number: u32) -> (u32, usize) {
        let entity = &self.deadlines.entities[number as usize];
        (entity.cpu, usize::from(entity.is_server()))
    }

    pub(super) fn start_timer(&mut self, number: u32, due: Due, at_ns: u64) {
        self.stop_timer(number, due);
        let (cpu, kind) = self.timers(number);
        self.deadlines.next_seq += 1;
        let seq = self.deadlines.next_seq;
        let entity = &mut self.deadlines.entities[number as usize];
        // Timers stay where they were set.
        let place = Some((at_ns, seq, cpu));
        match due {
            Due::Replenish => entity.replenish_at = place,
            Due::ZeroLag => entity.zero_lag = place,
        }
        let timers = &mut self.cpus[cpu as usize].dl_timers[kind];
        timers.list.insert(Entry {
            key: at_ns,
            seq,
            vruntime: 0,
            slice: 0,
            entity: number << 1 | u32::from(due == Due::ZeroLag),
        });
        self.arm_timers(cpu, kind);
    }

    pub(super) fn stop_timer(&mut self, number: u32, due: Due) {
        let kind = usize::from(self.deadlines.entities[number as usize].is_server());
        let entity = &mut self.deadlines.entities[number as usize];
        let place = match due {
            Due::Replenish => entity.replenish_at.take(),
            Due::ZeroLag => entity.zero_lag.take(),
        };
        if let Some((at_ns, seq, cpu)) = place {
            // The host's timer stays armed: it finds nothing due.
            self.cpus[cpu as usize].dl_timers[kind].list.remove(at_ns, seq);
        }
    }

    /// Asks the host for an earlier timer if one is needed.
    fn arm_timers(&mut self, cpu: u32, kind: usize) {
        let timers = &mut self.cpus[cpu as usize].dl_timers[kind];
        let Some(first) = timers.list.first() else { return };
        if timers.armed_ns.is_none_or(|armed_ns| first.key < armed_ns) {
            timers.armed_ns = Some(first.key);
            let timer = if kind == 0 { Timer::Deadline } else { Timer::FairServer };
            self.outputs.push(Output::ArmTimer { cpu: CpuId(cpu), timer, at_ns: first.key });
        }
    }

    /// Whether anything is due; a timer may have been armed for what is not needed any more.
    pub(super) fn dl_timer_due(&self, now_ns: u64, cpu: u32, kind: usize) -> bool {
        let timers = &self.cpus[cpu as usize].dl_timers[kind];
        timers.list.first().is_some_and(|first| first.key <= now_ns)
    }

    pub(super) fn dl_timers_fired(&mut self, now_ns: u64, cpu: u32, kind: usize) {
        self.cpus[cpu as usize].dl_timers[kind].armed_ns = None;
        while let Some(first) = self.cpus[cpu as usize].dl_timers[kind].list.first().copied()
            && first.key <= now_ns
        {
            let number = first.entity >> 1;
            if first.entity & 1 == 1 {
                self.stop_timer(number, Due::ZeroLag);
                self.at_zero_lag(number);
            } else {
                self.stop_timer(number, Due::Replenish);
                if kind == 0 {
                    self.replenish_due(now_ns, number);
                } else {
                    self.server_due(now_ns, cpu, number);
                }
            }
        }
        self.arm_timers(cpu, kind);
    }

    /// The next period of a throttled task begins.
    fn replenish_due(&mut self, now_ns: u64, number: u32) {
        let entity = &mut self.deadlines.entities[number as usize];
        let Owner::Task(slot) = entity.owner else { return };
        if !core::mem::replace(&mut entity.throttled, false) {
            return;
        }
        entity.replenish(now_ns);
        let task = &self.tasks.slots[slot as usize];
        let cpu = task.cpu;
        self.outputs.push(Output::DlThrottled {
            task: TaskId::new(slot, task.generation),
            cpu: CpuId(cpu),
            stops: false,
        });
        if task.state != State::Runnable || task.class != Class::Deadline {
            return;
        }
        self.note_idle(cpu, false);
        self.insert_dl(cpu, number);
        self.check_preempt_dl(cpu, number);
        self.push_dl(now_ns, cpu);
    }
}
