//! Tasks on and off the queues of their class; class order; the pick and the switch.

use super::groups::Level;
use super::plain::Moment;
use super::{Resched, Scheduler};
use crate::deadline::entity::Owner;
use crate::fair::{Algorithm, Dequeue, Enqueue, FairQueue, Wakeup};
use crate::rt::Position;
use crate::task::{PolicyKind, ROOT, State, class_with};
use crate::weight::Load;
use crate::{
    Attr, Class, CpuId, CpuSet, Decision, DlParams, Feature, Policy, Rule, Switch, TaskId,
};

impl Scheduler {
    #[inline]
    fn class_of(&self, slot: u32) -> Class {
        self.tasks.slots[slot as usize].class
    }

    /// Whether the task is on the queue of its class, running or delayed included.
    #[inline]
    pub(super) fn queued(&self, slot: u32) -> bool {
        let task = &self.tasks.slots[slot as usize];
        match task.class {
            Class::Fair => self.entities[slot as usize].on_rq,
            Class::Rt => task.rt.queued,
            // One that waits for its next period is on no tree, but runnable.
            Class::Deadline => task.state == State::Runnable,
            _ => self.cpus[task.cpu as usize].stop.contains(&slot),
        }
    }

    #[inline]
    pub(super) fn rt_prio(&self, slot: u32) -> u8 {
        self.tasks.slots[slot as usize].prio.clamp(0, 99) as u8
    }

    /// Onto the queue of its class on `cpu`.
    pub(super) fn activate(&mut self, now_ns: u64, cpu: u32, slot: u32, how: Enqueue) {
        self.activate_inlined(now_ns, cpu, slot, how);
    }

    /// [`activate`](Self::activate), as part of a wakeup. This and its likes are inlined by force
    /// into the one path that simulations live on: calls with that many arguments are a fifth of it.
    #[inline(always)]
    pub(super) fn activate_inlined(&mut self, now_ns: u64, cpu: u32, slot: u32, how: Enqueue) {
        self.note_idle(cpu, false);
        self.activate_in_class(now_ns, cpu, slot, how);
        self.note_crowd(cpu);
        if self.class_of(slot) != Class::Fair {
            self.note_priority(cpu);
        }
    }

    #[inline(always)]
    fn activate_in_class(&mut self, now_ns: u64, cpu: u32, slot: u32, how: Enqueue) {
        match self.class_of(slot) {
            Class::Fair => {
                if self.groups.any() {
                    self.enqueue_in_groups(now_ns, cpu, slot, how);
                    self.tell_server(now_ns, cpu);
                    self.fair_arrives(now_ns, cpu);
                    self.update_hrtick(now_ns, cpu, false);
                    return;
                }
                if self.loads.on() {
                    self.load_arrives(now_ns, slot, Level { cpu, queue: ROOT });
                }
                let rq = &mut self.cpus[cpu as usize];
                rq.fair.enqueue(&self.params, &mut self.entities, slot, how, now_ns);
                rq.take_fair_resched(cpu, self.profile.lazy_preemption, &mut self.outputs);
                self.tell_server(now_ns, cpu);
                self.fair_arrives(now_ns, cpu);
                self.update_hrtick(now_ns, cpu, false);
            }
            Class::Rt => {
                let prio = self.rt_prio(slot);
                self.enqueue_rt(cpu, slot, prio, Position::Tail);
            }
            Class::Deadline => self.enqueue_dl(now_ns, cpu, slot, how),
            _ => self.cpus[cpu as usize].stop.push_back(slot),
        }
    }

    /// Off the queue of its class. Returns whether it really left (a fair sleeper may not).
    pub(super) fn deactivate(&mut self, now_ns: u64, cpu: u32, slot: u32, how: Dequeue) -> bool {
        self.deactivate_inlined(now_ns, cpu, slot, how)
    }

    /// [`deactivate`](Self::deactivate), as part of going to sleep.
    #[inline(always)]
    pub(super) fn deactivate_inlined(
        &mut self,
        now_ns: u64,
        cpu: u32,
        slot: u32,
        how: Dequeue,
    ) -> bool {
        let left = self.deactivate_in_class(now_ns, cpu, slot, how);
        self.note_crowd(cpu);
        if self.class_of(slot) != Class::Fair {
            self.note_priority(cpu);
        }
        left
    }

    #[inline(always)]
    fn deactivate_in_class(&mut self, now_ns: u64, cpu: u32, slot: u32, how: Dequeue) -> bool {
        let class = self.tasks.slots[slot as usize].class;
        if class == Class::Fair && self.groups.any() {
            let left = self.dequeue_in_groups(now_ns, cpu, slot, how);
            if left {
                self.leave_load(now_ns, slot, how);
            }
            self.tell_server(now_ns, cpu);
            return left;
        }
        if class == Class::Fair {
            if self.loads.on() {
                self.update_root_load(now_ns, cpu);
                self.load_leaves(now_ns, slot, how == Dequeue::Sleep);
            }
            let rq = &mut self.cpus[cpu as usize];
            let left = rq.fair.dequeue_inlined(&self.params, &mut self.entities, slot, how, now_ns);
            rq.take_fair_resched(cpu, self.profile.lazy_preemption, &mut self.outputs);
            if left {
                self.leave_load(now_ns, slot, how);
            }
            self.tell_server(now_ns, cpu);
            return left;
        }
        let rq = &mut self.cpus[cpu as usize];
        match class {
            Class::Deadline => {
                self.dequeue_dl(now_ns, cpu, slot, how);
                true
            }
            Class::Rt => {
                if rq.current == Some(slot) && self.limits_rt() {
                    self.charge_current(now_ns, cpu);
                }
                if self.groups.has_rt() {
                    self.dequeue_rt_in_groups(slot);
                } else {
                    self.cpus[cpu as usize].rt.dequeue(&mut self.tasks.slots, slot);
                }
                let rq = &self.cpus[cpu as usize];
                self.nr_rt_queued -= 1;
                self.nr_rt_waiting -= u32::from(rq.current != Some(slot));
                true
            }
            _ => {
                rq.stop.retain(|other| *other != slot);
                true
            }
        }
    }

    /// A fair task has left its queue.
    #[inline]
    fn leave_load(&mut self, now_ns: u64, slot: u32, how: Dequeue) {
        if let Dequeue::Move | Dequeue::Leave = how {
            // It goes to another queue, or is no fair task any more.
            self.detach_load(now_ns, slot);
        }
    }

    fn enqueue_rt(&mut self, cpu: u32, slot: u32, prio: u8, position: Position) {
        if self.groups.has_rt() {
            self.enqueue_rt_in_groups(cpu, slot, position);
        } else {
            self.cpus[cpu as usize].rt.enqueue(&mut self.tasks.slots, slot, prio, position);
        }
        self.nr_rt_queued += 1;
        self.nr_rt_waiting += u32::from(self.cpus[cpu as usize].current != Some(slot));
        if self.rt_bandwidth.is_some() {
            self.start_rt_period(self.now_ns, cpu);
        }
    }

    /// Moves a queued real-time task within its list, and its groups within theirs.
    pub(super) fn requeue_rt(&mut self, cpu: u32, slot: u32, position: Position) {
        if self.groups.has_rt() {
            return self.requeue_rt_in_groups(slot, position);
        }
        self.cpus[cpu as usize].rt.requeue(&mut self.tasks.slots, slot, position);
    }

    /// Whether nobody else is on a list with it, or its groups on theirs.
    fn alone_rt(&self, cpu: u32, slot: u32) -> bool {
        if self.groups.has_rt() {
            return self.alone_rt_in_groups(slot);
        }
        self.cpus[cpu as usize].rt.alone(&self.tasks.slots, slot)
    }

    pub(super) fn wake_delayed(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        if let Algorithm::Eevdf(eevdf) = self.params.algorithm {
            if self.groups.any() {
                self.wake_delayed_in_groups(now_ns, cpu, slot);
                return;
            }
            let rq = &mut self.cpus[cpu as usize];
            rq.fair.eevdf_wake_delayed(&self.params, &eevdf, &mut self.entities, slot, now_ns);
            self.take_fair_resched(cpu);
        }
    }

    /// Turns the fair queue's wish for a new pick into a request to the host.
    #[inline(always)]
    pub(super) fn take_fair_resched(&mut self, cpu: u32) {
        let rq = &mut self.cpus[cpu as usize];
        rq.take_fair_resched(cpu, self.profile.lazy_preemption, &mut self.outputs);
    }

    /// Asks the host to reschedule, once. A request to an idle CPU is never lazy.
    #[inline]
    pub(super) fn request_resched(&mut self, cpu: u32, how: Resched) {
        self.cpus[cpu as usize].request_resched(cpu, how, &mut self.outputs);
    }

    /// Whether `slot`, just queued on `cpu`, should replace who runs there (classes.md A.5).
    pub(super) fn check_preempt(&mut self, now_ns: u64, cpu: u32, slot: u32, wakeup: Wakeup) {
        self.check_preempt_inlined(now_ns, cpu, slot, wakeup);
    }

    /// [`check_preempt`](Self::check_preempt), as part of a wakeup.
    #[inline(always)]
    pub(super) fn check_preempt_inlined(
        &mut self,
        now_ns: u64,
        cpu: u32,
        slot: u32,
        wakeup: Wakeup,
    ) {
        let rq = &mut self.cpus[cpu as usize];
        let Some(current) = rq.current else {
            rq.request_resched(cpu, Resched::Now, &mut self.outputs);
            return;
        };
        if current == slot {
            return;
        }
        let class = self.tasks.slots[slot as usize].class;
        let current_class = self.tasks.slots[current as usize].class;
        if class == Class::Deadline {
            self.check_preempt_dl_task(now_ns, cpu, slot);
        } else if class < current_class {
            rq.request_resched(cpu, Resched::Now, &mut self.outputs);
        } else if class > current_class {
            // A lower class never preempts.
        } else if class == Class::Fair {
            let wakeup = Wakeup { resched_pending: rq.resched != Resched::No, ..wakeup };
            if self.groups.any() {
                self.preempt_in_groups(now_ns, cpu, current, slot, wakeup);
                return;
            }
            rq.fair.wakeup_preempt(&self.params, &mut self.entities, slot, wakeup, now_ns);
            rq.take_fair_resched(cpu, self.profile.lazy_preemption, &mut self.outputs);
        } else if class == Class::Rt {
            self.check_preempt_rt(cpu, slot, current);
        }
    }

    /// classes.md B.3.
    fn check_preempt_rt(&mut self, cpu: u32, slot: u32, current: u32) {
        let (prio, current_prio) = (self.rt_prio(slot), self.rt_prio(current));
        if prio < current_prio {
            self.request_resched(cpu, Resched::Now);
        } else if prio == current_prio
            && self.cpus[cpu as usize].resched == Resched::No
            && self.find_lowest_rt(current, cpu, cpu).is_some()
            && self.find_lowest_rt(slot, cpu, cpu).is_none()
        {
            self.requeue_rt(cpu, slot, Position::Head);
            self.request_resched(cpu, Resched::Now);
        }
    }

    /// RR accounting (classes.md B.2).
    pub(super) fn tick_rt(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        if self.limits_rt() {
            self.charge_current(now_ns, cpu);
        }
        let task = &mut self.tasks.slots[slot as usize];
        task.rt.ticks_run = task.rt.ticks_run.saturating_add(1);
        if task.policy != PolicyKind::Rr || !task.rt.queued {
            return;
        }
        task.rt.ticks_left = task.rt.ticks_left.saturating_sub(1);
        if task.rt.ticks_left > 0 {
            return;
        }
        task.rt.ticks_left = self.rr_ticks;
        if !self.alone_rt(cpu, slot) {
            self.requeue_rt(cpu, slot, Position::Tail);
            self.request_resched(cpu, Resched::Now);
        }
    }

    /// The pick: highest class first; a CPU with nothing to do looks elsewhere first.
    #[inline(always)]
    pub(super) fn pick(&mut self, now_ns: u64, cpu: u32) -> (Option<u32>, Rule) {
        if self.profile.rt.charged_before_pick && self.nr_rt_queued + self.deadlines.nr_queued > 0 {
            self.charge_current(now_ns, cpu);
        }
        if self.nr_must_move > 0 {
            self.move_displaced(now_ns, cpu);
        }
        if self.smp.nr_pushes > 0 {
            self.push_away(now_ns, cpu);
        }
        if self.deadlines.nr_queued > 0 {
            self.pull_dl(now_ns, cpu);
        }
        if self.nr_rt_waiting > 0 {
            self.pull_before_pick(now_ns, cpu);
        }
        if self.cpus[cpu as usize].record {
            return self.pick_recorded(now_ns, cpu);
        }
        self.pick_here(now_ns, cpu)
    }

    #[inline(always)]
    fn pick_here(&mut self, now_ns: u64, cpu: u32) -> (Option<u32>, Rule) {
        let rq = &mut self.cpus[cpu as usize];
        if (!rq.stop.is_empty() || rq.dl.nr_queued > 0 || rq.rt.nr_queued > 0)
            && let Some(picked) = self.pick_above_fair(now_ns, cpu)
        {
            return picked;
        }
        let rq = &mut self.cpus[cpu as usize];
        let picked = if self.groups.any() {
            self.pick_in_groups(now_ns, cpu)
        } else {
            rq.fair.pick_inlined(&self.params, &mut self.entities, now_ns)
        };
        if let Some((slot, rule)) = picked {
            return (Some(slot), rule);
        }
        self.pick_elsewhere(now_ns, cpu)
    }

    /// The pick of the classes above the fair one, where one of them has someone queued.
    #[inline(never)]
    fn pick_above_fair(&mut self, now_ns: u64, cpu: u32) -> Option<(Option<u32>, Rule)> {
        let rq = &mut self.cpus[cpu as usize];
        if let Some(slot) = rq.stop.front() {
            return Some((Some(*slot), Rule::StopClass));
        }
        if rq.dl.nr_queued > 0
            && let Some(picked) = self.pick_deadline(now_ns, cpu)
        {
            return Some(picked);
        }
        let rq = &mut self.cpus[cpu as usize];
        let first = rq.rt.first().filter(|_| !rq.rt_throttled)?;
        let slot = if self.groups.has_rt() { self.rt_leaf(first) } else { first };
        Some((Some(slot), Rule::RtPriority))
    }

    /// The pick of the deadline class, or of the fair class in its name.
    #[cold]
    fn pick_deadline(&mut self, now_ns: u64, cpu: u32) -> Option<(Option<u32>, Rule)> {
        loop {
            let number = self.cpus[cpu as usize].dl.first()?;
            match self.deadlines.entities[number as usize].owner {
                Owner::Task(slot) => return Some((Some(slot), Rule::DlDeadline)),
                Owner::Gone => self.remove_dl(cpu, number),
                Owner::Server => {
                    let picked = if self.groups.any() {
                        self.pick_in_groups(now_ns, cpu)
                    } else {
                        let rq = &mut self.cpus[cpu as usize];
                        rq.fair.pick(&self.params, &mut self.entities, now_ns)
                    };
                    self.tell_server(now_ns, cpu);
                    match picked {
                        Some((slot, _)) if self.cpus[cpu as usize].dl.first() == Some(number) => {
                            return Some((Some(slot), Rule::FairServer));
                        }
                        // Its budget has just ended.
                        Some(_) => {}
                        None => self.stop_server(now_ns, cpu),
                    }
                }
            }
        }
    }

    /// The pick of a CPU that has nothing of its own.
    #[inline(never)]
    fn pick_elsewhere(&mut self, now_ns: u64, cpu: u32) -> (Option<u32>, Rule) {
        if self.cpus.len() == 1 || !self.balance_newidle(now_ns, cpu) {
            return (None, Rule::Idle);
        }
        let rq = &mut self.cpus[cpu as usize];
        let picked = if self.groups.any() {
            self.pick_in_groups(now_ns, cpu)
        } else {
            rq.fair.pick(&self.params, &mut self.entities, now_ns)
        };
        match picked {
            Some((slot, rule)) => (Some(slot), rule),
            None => (None, Rule::Idle),
        }
    }

    #[cold]
    fn pick_recorded(&mut self, now_ns: u64, cpu: u32) -> (Option<u32>, Rule) {
        let rq = &mut self.cpus[cpu as usize];
        rq.fair.account(&self.params, &mut self.entities, now_ns);
        let mut paid = Vec::new();
        let fair_picks = rq.stop.is_empty() && rq.dl.nr_queued == 0 && rq.rt.first().is_none();
        if fair_picks && !self.groups.any() {
            // The pick would do this itself, but then nobody could tell what it chose from.
            rq.fair.drop_paid(&self.params, &mut self.entities, now_ns, |slot| paid.push(slot));
        }
        let paid = paid.into_iter().map(|slot| self.tasks.id(slot)).collect();
        let queue = self.queue_view(cpu);
        let (next, rule) = self.pick_here(now_ns, cpu);
        let picked = next.map(|slot| self.tasks.id(slot));
        self.cpus[cpu as usize].decision = Some(Box::new(Decision { queue, paid, picked, rule }));
        (next, rule)
    }

    /// Puts the task that ran back and sets the next one running.
    #[inline(always)]
    pub(super) fn switch_to(
        &mut self,
        now_ns: u64,
        cpu: u32,
        next: Option<u32>,
        rule: Rule,
    ) -> Switch {
        let rq = &mut self.cpus[cpu as usize];
        let prev = rq.current;
        rq.resched = Resched::No;
        rq.fair.resched = false;
        let next_id = next.map(|slot| self.tasks.id(slot));
        if prev == next {
            self.stay(now_ns, cpu);
            return Switch { prev: next_id, next: next_id, rule };
        }
        self.charge_idle_before_switch(now_ns, cpu);
        let mut prev_id = None;
        let mut leaves = None;
        if self.loads.on() {
            self.load_switches(now_ns, cpu, prev, next);
        }
        let grouped = self.groups.any();
        if grouped {
            self.switch_in_groups(now_ns, cpu, next);
        }
        let rq = &mut self.cpus[cpu as usize];
        if let Some(slot) = prev {
            if !grouped {
                rq.fair.put_prev_inlined(&self.params, &mut self.entities, now_ns);
            }
            self.put_in_class(now_ns, cpu, slot);
            let rq = &mut self.cpus[cpu as usize];
            // Accounting may have asked for what is just being done.
            rq.fair.resched = false;
            let task = &self.tasks.slots[slot as usize];
            prev_id = Some(TaskId::new(slot, task.generation));
            leaves = (task.state == State::Exiting || task.must_move).then_some(slot);
        }
        let rq = &mut self.cpus[cpu as usize];
        rq.current = next;
        if let Some(slot) = next
            && self.tasks.slots[slot as usize].class == Class::Fair
        {
            if !grouped {
                rq.fair.set_next_inlined(&self.params, &mut self.entities, slot, now_ns);
            }
            rq.server_mark = self.entities[slot as usize].sum_exec;
        } else {
            rq.exec_start_ns = now_ns;
        }
        if next.is_none() || prev.is_none() {
            self.note_idle(cpu, next.is_none() && self.cpus[cpu as usize].nr_running() == 0);
        }
        // Seen on 7.2: a pick that keeps the running task does not arm the timer again; the regular
        // tick or an enqueue does.
        self.update_hrtick(now_ns, cpu, true);
        if leaves.is_some() || self.nr_rt_queued + self.deadlines.nr_queued > 0 {
            self.finish_switch(now_ns, cpu, prev, next, leaves);
        }
        Switch { prev: prev_id, next: next_id, rule }
    }

    /// The rest of a switch, where anyone leaves or there are tasks of classes above the fair one.
    #[inline(never)]
    fn finish_switch(
        &mut self,
        now_ns: u64,
        cpu: u32,
        prev: Option<u32>,
        next: Option<u32>,
        leaves: Option<u32>,
    ) {
        if self.deadlines.nr_queued > 0 {
            self.arm_dl_hrtick(now_ns, cpu);
        }
        if self.nr_rt_queued > 0 {
            self.count_rt_waiting(cpu, prev, next);
        }
        if let Some(slot) = leaves {
            self.leave_after_switch(now_ns, slot);
        }
        if self.nr_rt_waiting > 0 {
            self.push_rt(now_ns, cpu);
        }
        if self.deadlines.nr_queued > 0 {
            self.push_dl(now_ns, cpu);
        }
    }

    /// A running task is charged for the last time before it is taken off.
    #[inline(always)]
    fn put_in_class(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        match self.tasks.slots[slot as usize].class {
            Class::Fair => self.fair_put(now_ns, cpu, slot),
            Class::Deadline | Class::Rt if !self.profile.rt.charged_before_pick => {
                self.charge_current(now_ns, cpu);
            }
            _ => {}
        }
    }

    /// An idle CPU gets to work.
    #[inline(always)]
    fn charge_idle_before_switch(&mut self, now_ns: u64, cpu: u32) {
        let rq = &self.cpus[cpu as usize];
        if rq.current.is_none() && rq.has_server() {
            self.charge_idle(now_ns, cpu);
        }
    }

    /// The pick kept what runs, or the CPU idle.
    fn stay(&mut self, now_ns: u64, cpu: u32) {
        let rq = &self.cpus[cpu as usize];
        if rq.current.is_none() {
            let idle = rq.nr_running() == 0;
            self.note_idle(cpu, idle);
        }
        if self.nr_rt_waiting > 0 {
            self.push_rt(now_ns, cpu);
        }
    }

    /// Who runs does not wait, and the other way round.
    fn count_rt_waiting(&mut self, cpu: u32, prev: Option<u32>, next: Option<u32>) {
        let waits = |slot: u32| {
            let task = &self.tasks.slots[slot as usize];
            u32::from(task.rt.queued && task.cpu == cpu)
        };
        self.nr_rt_waiting += prev.map_or(0, waits);
        self.nr_rt_waiting -= next.map_or(0, waits);
    }

    /// What had to wait until the task was off its CPU.
    #[cold]
    fn leave_after_switch(&mut self, now_ns: u64, slot: u32) {
        let task = &mut self.tasks.slots[slot as usize];
        match task.state {
            State::Exiting => {
                self.nr_must_move -= u32::from(core::mem::replace(&mut task.must_move, false));
                self.tasks.free(slot);
            }
            State::Runnable => self.move_displaced_task(now_ns, slot),
            _ => {}
        }
    }

    /// Arms or disarms the slice timer: always after a pick, otherwise only if it is not armed.
    #[inline(always)]
    pub(super) fn update_hrtick(&mut self, now_ns: u64, cpu: u32, after_pick: bool) {
        if self.params.has(Feature::HRTICK) && (after_pick || !self.cpus[cpu as usize].hrtick_armed)
        {
            self.update_hrtick_armed(now_ns, cpu, after_pick);
        }
    }

    fn update_hrtick_armed(&mut self, now_ns: u64, cpu: u32, after_pick: bool) {
        let level = self.groups.any().then(|| self.running_level(cpu));
        let rq = &mut self.cpus[cpu as usize];
        let lazy = self.profile.lazy_preemption;
        let at = Moment { now_ns, cpu, lazy };
        let Some(level) = level else {
            rq.update_hrtick(&self.params, &self.entities, &mut self.outputs, at, after_pick);
            return;
        };
        let fair = self.groups.fair(&rq.fair, level);
        let delay = fair.hrtick_delay(&self.params, &self.entities, rq.nr_fair_queued());
        let short = match delay {
            Some(Ok(delay_ns)) => fair.hrtick_falls_short(&self.params, &self.entities, delay_ns),
            _ => false,
        };
        let outlives = fair.hrtick_outlives_pick(&self.params);
        rq.set_hrtick(&mut self.outputs, at, after_pick, (delay, short, outlives));
    }

    /// Changes attributes: off the queue, change, on again (classes.md A.9).
    pub(super) fn change_attr(&mut self, now_ns: u64, slot: u32, attr: Attr) {
        self.change_class(now_ns, slot, attr, None);
    }

    /// Changes what a task has asked for, or what is lent to it: a priority and, of a deadline task,
    /// its parameters.
    pub(super) fn change_class(
        &mut self,
        now_ns: u64,
        slot: u32,
        attr: Attr,
        lend: Option<(i16, Option<DlParams>)>,
    ) {
        let old = self.attr_of(slot);
        if self.entities[slot as usize].delayed {
            // Not worth keeping queued under new attributes: it leaves for good.
            let cpu = self.tasks.slots[slot as usize].cpu;
            self.deactivate(now_ns, cpu, slot, Dequeue::Delayed);
        }
        let task = &self.tasks.slots[slot as usize];
        let (cpu, old_class, old_prio) = (task.cpu, task.class, task.prio);
        let lent_prio = lend.map_or(task.lent_prio, |(prio, _)| prio);
        let (class, prio) = (class_with(&attr, lent_prio), task.prio_with(&attr, lent_prio));
        let running = self.cpus[cpu as usize].current == Some(slot);
        // Among real-time tasks of one priority it stays where it is.
        let stays = class == Class::Rt && old_class == Class::Rt && prio == old_prio;
        let queued = self.queued(slot) && !stays;
        if queued {
            // `setpriority` saves, `sched_setattr` moves (B.2).
            let only_nice = Attr { nice: attr.nice, ..old } == attr;
            let how = match class == old_class {
                true if only_nice => Dequeue::Save,
                true => Dequeue::Move,
                false => Dequeue::Leave,
            };
            if running {
                self.charge_current(now_ns, cpu);
            }
            self.deactivate(now_ns, cpu, slot, how);
            if running && old_class == Class::Fair {
                self.put_prev_fair(now_ns, cpu);
            }
        }
        if !queued && class != old_class {
            self.change_class_asleep(now_ns, slot, old_class, class);
        }
        let load = Load::of(attr.policy, attr.nice);
        self.note_load(now_ns, slot);
        self.note_policy(attr.policy);
        FairQueue::reweight_off_queue(&self.params, &mut self.entities, slot, load);
        let mut entity = self.entities[slot as usize];
        if class != old_class {
            (entity.vlag, entity.rel_deadline) = (0, false);
        }
        self.apply_fair_attr(&mut entity, &attr);
        self.entities[slot as usize] = entity;
        self.tasks.slots[slot as usize].lent_prio = lent_prio;
        self.tasks.slots[slot as usize].set_attr(&attr);
        match (old.policy, attr.policy) {
            (_, Policy::Deadline(params)) if lend.is_none() => self.admit_dl(slot, params),
            (Policy::Deadline(_), policy) if policy.class() != Class::Deadline => {
                self.leave_dl(now_ns, slot);
            }
            _ => {}
        }
        if let Some((_, params)) = lend {
            self.lend_dl(slot, params);
        }
        if class == Class::Fair {
            self.tasks.slots[slot as usize].rt.ticks_run = 0;
        }
        if queued {
            self.requeue_changed(now_ns, cpu, slot, (old_class, old_prio), running);
        }
    }

    /// CFS keeps the vruntime of its sleepers absolute and that of all others relative.
    fn change_class_asleep(&mut self, now_ns: u64, slot: u32, from: Class, to: Class) {
        let Algorithm::Cfs(cfs) = self.params.algorithm else { return };
        let cpu = self.tasks.slots[slot as usize].cpu;
        let level = self.level_on(slot, cpu);
        let params = self.params;
        let (fair, entities) = self.fair_and_entities(level);
        let entity = &mut entities[slot as usize];
        if from == Class::Fair {
            fair.cfs_leave_class(&params, &cfs, entity, now_ns);
        } else if to == Class::Fair {
            fair.cfs_join_class(entity);
        }
    }

    fn requeue_changed(
        &mut self,
        now_ns: u64,
        cpu: u32,
        slot: u32,
        (old_class, old_prio): (Class, i16),
        running: bool,
    ) {
        let task = &self.tasks.slots[slot as usize];
        let (class, prio) = (task.class, task.prio);
        match class {
            Class::Rt => {
                // Lowered: to the head of the new list; raised or new here: to the tail.
                let position = if prio > old_prio { Position::Head } else { Position::Tail };
                let rt_prio = self.rt_prio(slot);
                self.enqueue_rt(cpu, slot, rt_prio, position);
                self.note_priority(cpu);
            }
            _ => self.activate(now_ns, cpu, slot, Enqueue::Restore),
        }
        if running {
            if class == Class::Fair {
                self.set_next_fair(now_ns, cpu, slot);
                self.cpus[cpu as usize].server_mark = self.entities[slot as usize].sum_exec;
            } else {
                self.cpus[cpu as usize].exec_start_ns = now_ns;
            }
            if prio > old_prio || class != old_class || class == Class::Deadline {
                self.request_resched(cpu, Resched::Now);
            }
        } else {
            self.check_preempt(now_ns, cpu, slot, Wakeup::default());
        }
    }

    pub(super) fn change_affinity(&mut self, now_ns: u64, slot: u32, affinity: CpuSet) {
        let task = &mut self.tasks.slots[slot as usize];
        task.affinity = affinity;
        let cpu = task.cpu;
        let allowed = task.affinity.contains(CpuId(cpu));
        if self.entities[slot as usize].delayed {
            self.deactivate(now_ns, cpu, slot, Dequeue::Delayed);
        }
        self.set_must_move(slot, false);
        if allowed || !self.queued(slot) {
            return;
        }
        if self.cpus[cpu as usize].current == Some(slot) {
            self.set_must_move(slot, true);
            self.request_resched(cpu, Resched::Now);
        } else {
            self.move_displaced_task(now_ns, slot);
        }
    }

    fn set_must_move(&mut self, slot: u32, must_move: bool) {
        let old = core::mem::replace(&mut self.tasks.slots[slot as usize].must_move, must_move);
        self.nr_must_move = self.nr_must_move + u32::from(must_move) - u32::from(old);
    }

    /// A running task that may not stay makes way before the pick: like a yield to everyone.
    fn move_displaced(&mut self, now_ns: u64, cpu: u32) {
        let Some(slot) = self.cpus[cpu as usize].current else { return };
        let task = &self.tasks.slots[slot as usize];
        if !task.must_move || task.state != State::Runnable || !self.queued(slot) {
            return;
        }
        if self.tasks.slots[slot as usize].class == Class::Fair {
            self.put_prev_fair(now_ns, cpu);
        }
        self.move_displaced_task(now_ns, slot);
    }

    fn move_displaced_task(&mut self, now_ns: u64, slot: u32) {
        let Some(to) = self.fallback_cpu(slot) else { return };
        self.set_must_move(slot, false);
        self.move_waiting(now_ns, slot, to);
    }

    /// Moves a task that is queued but not running.
    pub(super) fn move_waiting(&mut self, now_ns: u64, slot: u32, to: u32) {
        let from = self.tasks.slots[slot as usize].cpu;
        self.deactivate(now_ns, from, slot, Dequeue::Move);
        self.tasks.slots[slot as usize].cpu = to;
        self.push_migrated(slot, from, to);
        self.activate(now_ns, to, slot, Enqueue::Migrated);
        self.check_preempt(now_ns, to, slot, Wakeup::default());
    }
}
