//! The picks: the core is asked, the kernel's choice is made, and both are compared.

use slicewise_ftrace::{Switch, SwitchState};
use slicewise_sched::{CpuId, Rule, TaskId};

use super::{PREEMPT_SLACK_NS, Replay, TIMER_SLACK_NS};
use crate::ShadowError;
use crate::report::{Divergence, PickKind, QueuedTask};
use crate::tasks::Doing;

/// A choice of the core, and whether there was one.
#[derive(Clone, Copy)]
struct Pick {
    task: Option<TaskId>,
    rule: Rule,
    choice: bool,
}

impl Replay<'_> {
    fn would_pick(&self, cpu: usize, clock_ns: u64) -> Result<Pick, ShadowError> {
        let id = CpuId(cpu as u32);
        let choice = self.sched.nr_runnable(id) > 1;
        let (task, rule) = self.core(self.sched.would_pick(clock_ns, id))?;
        Ok(Pick { task, rule, choice })
    }

    /// `sched_switch`.
    pub(super) fn switch(&mut self, cpu: usize, switch: &Switch) -> Result<(), ShadowError> {
        self.settle_pending(cpu)?;
        let clock_ns = self.clock(cpu);
        let id = CpuId(cpu as u32);
        let mut exclude = self.arrive(cpu, clock_ns, switch)?;
        self.set_attr(&switch.prev)?;
        let first_sight = switch.next.pid != 0 && self.know(&switch.next, cpu as u32)?;
        self.set_attr(&switch.next)?;
        let kind = self.kind_of(cpu, switch);
        let preempted = !self.leave(cpu, clock_ns, switch)? && switch.prev.pid != 0;
        let unasked = preempted && self.cpus[cpu].asked.is_none() && kind != PickKind::Yield;

        let next = self.tasks.get(switch.next.pid).copied();
        let other_class = |pid| self.tasks.get(pid).is_some_and(|known| known.other_class);
        if other_class(switch.next.pid) || other_class(switch.prev.pid) {
            exclude.get_or_insert(|excluded| &mut excluded.other_class);
        }
        if let Some(next) = next
            && (next.doing == Doing::Sleeping || next.cpu as usize != cpu)
        {
            if first_sight {
                exclude.get_or_insert(|excluded| &mut excluded.first_seen);
            } else if !next.other_class {
                exclude.get_or_insert(|excluded| &mut excluded.unannounced);
            }
            self.fetch(switch.next.pid, cpu)?;
        }
        let pick = self.would_pick(cpu, clock_ns)?;
        let wanted = next.map(|next| next.id);
        let agreed = pick.task == wanted;
        if !self.is_judged(cpu) {
            exclude.get_or_insert(|excluded| &mut excluded.warm_up);
        }
        match exclude {
            Some(counter) => {
                if self.config.cpu.is_none_or(|only| only as usize == cpu) {
                    *counter(&mut self.judge.excluded) += 1;
                }
            }
            None => {
                self.judge.unasked += u64::from(unasked);
                self.compare(
                    cpu,
                    clock_ns,
                    Some(kind),
                    agreed,
                    pick,
                    switch.prev.pid,
                    switch.next.pid,
                );
            }
        }
        let switched = if agreed {
            self.sched.schedule(clock_ns, id)
        } else {
            self.sched.schedule_to(clock_ns, id, wanted)
        };
        self.core(switched)?;
        self.after_pick(cpu);
        self.outputs();
        self.gone(switch);
        if switch.next.pid == 0 {
            self.nobody_waits(cpu)?;
        }
        if let Some(next) = self.tasks.get_mut(switch.next.pid) {
            next.doing = Doing::Running;
        }
        let fair = self.is_fair(switch.next.pid);
        let state = &mut self.cpus[cpu];
        state.current = switch.next.pid;
        state.charged = fair && self.survey.has_charges;
        self.will_change(cpu, switch.next.pid)
    }

    /// Makes the task that the trace says had the CPU have it in the core, too.
    fn arrive(
        &mut self,
        cpu: usize,
        clock_ns: u64,
        switch: &Switch,
    ) -> Result<Option<Exclude>, ShadowError> {
        let state = &self.cpus[cpu];
        if state.known && state.current == switch.prev.pid {
            return Ok(None);
        }
        let first = !state.known;
        let before = state.current;
        self.cpus[cpu].known = true;
        let pid = switch.prev.pid;
        if pid != 0 {
            self.know(&switch.prev, cpu as u32)?;
            self.fetch(pid, cpu)?;
        }
        let prev = self.tasks.get(pid).map(|known| known.id);
        let switched = self.sched.schedule_to(clock_ns, CpuId(cpu as u32), prev);
        self.core(switched)?;
        // Whoever ran by the events has left unseen: asleep or waiting, nobody knows.
        if let Some(gone) = self.tasks.get(before).filter(|known| known.cpu as usize == cpu) {
            self.forget(before, gone.id)?;
        }
        if let Some(prev) = self.tasks.get_mut(pid) {
            prev.doing = Doing::Running;
        }
        self.cpus[cpu].current = pid;
        self.outputs();
        self.after_pick(cpu);
        Ok(Some(if first {
            |excluded| &mut excluded.first_seen
        } else {
            |excluded| &mut excluded.inconsistent
        }))
    }

    /// Puts a task on the queue of a CPU, whatever was known of it.
    fn fetch(&mut self, pid: i32, cpu: usize) -> Result<(), ShadowError> {
        let Some(known) = self.tasks.get(pid).copied() else { return Ok(()) };
        match known.doing {
            Doing::Sleeping => self.wake(pid, cpu),
            _ if known.cpu as usize == cpu => Ok(()),
            Doing::Waiting | Doing::Running => {
                let clock_ns = self.clock(cpu);
                let from = CpuId(known.cpu);
                if known.doing == Doing::Running {
                    let left = self.sched.schedule_to(clock_ns, from, None);
                    self.core(left)?;
                    self.cpus[from.index()].known = false;
                    self.cpus[from.index()].current = 0;
                }
                let affinity = slicewise_sched::CpuSet::one(CpuId(cpu as u32));
                let moved = self.sched.set_affinity(clock_ns, known.id, affinity);
                self.core(moved)?;
                if let Some(known) = self.tasks.get_mut(pid) {
                    known.cpu = cpu as u32;
                    known.doing = Doing::Waiting;
                }
                self.outputs();
                Ok(())
            }
        }
    }

    fn kind_of(&self, cpu: usize, switch: &Switch) -> PickKind {
        let state = &self.cpus[cpu];
        match switch.prev_state {
            _ if switch.prev.pid == 0 => PickKind::FromIdle,
            SwitchState::Dead => PickKind::Exit,
            SwitchState::Asleep(_) => PickKind::Block,
            SwitchState::Runnable if state.yielded => PickKind::Yield,
            SwitchState::Runnable | SwitchState::Preempted => {
                state.cause.unwrap_or(PickKind::OtherPreemption)
            }
        }
    }

    /// The task that had the CPU leaves its queue, if it does; says whether it did.
    fn leave(&mut self, cpu: usize, clock_ns: u64, switch: &Switch) -> Result<bool, ShadowError> {
        let Some(prev) = self.tasks.get(switch.prev.pid).copied() else { return Ok(true) };
        let (left, doing) = match switch.prev_state {
            SwitchState::Dead => (self.sched.exit(clock_ns, prev.id), Doing::Sleeping),
            SwitchState::Asleep(_) => {
                (self.sched.block(clock_ns, CpuId(cpu as u32)), Doing::Sleeping)
            }
            _ if prev.other_class => {
                (self.sched.block(clock_ns, CpuId(cpu as u32)), Doing::Sleeping)
            }
            SwitchState::Runnable | SwitchState::Preempted => (Ok(()), Doing::Waiting),
        };
        self.core(left)?;
        if let Some(prev) = self.tasks.get_mut(switch.prev.pid) {
            prev.doing = doing;
        }
        Ok(doing == Doing::Sleeping)
    }

    /// A task that ended is forgotten after its last switch.
    fn gone(&mut self, switch: &Switch) {
        if switch.prev_state == SwitchState::Dead {
            self.tasks.remove(switch.prev.pid);
        }
    }

    /// The CPU goes idle: whoever the core still thinks to wait there does not.
    fn nobody_waits(&mut self, cpu: usize) -> Result<(), ShadowError> {
        for (pid, task) in self.tasks.on_queue(cpu as u32) {
            self.judge.stale += 1;
            self.forget(pid, task)?;
        }
        Ok(())
    }

    /// A charge that no event claimed: if a new pick was due and is not any more, it was one, and
    /// the running task stayed.
    pub(super) fn claim(&mut self, cpu: usize) -> Result<(), ShadowError> {
        self.end_waking(cpu)?;
        if !std::mem::replace(&mut self.cpus[cpu].unclaimed, false) {
            return Ok(());
        }
        let still_due = self.need_resched == Some(true);
        if self.cpus[cpu].asked.is_some() && !still_due { self.kept(cpu) } else { Ok(()) }
    }

    /// The kernel picked, and kept who ran.
    fn kept(&mut self, cpu: usize) -> Result<(), ShadowError> {
        let state = &self.cpus[cpu];
        let (clock_ns, current) = (state.clock_ns, state.current);
        let pick = self.would_pick(cpu, clock_ns)?;
        let wanted = self.tasks.get(current).map(|known| known.id);
        let agreed = pick.task == wanted;
        if self.is_judged(cpu) {
            let kind = Some(PickKind::Kept);
            self.compare(cpu, clock_ns, kind, agreed, pick, current, current);
        }
        self.keep(cpu, clock_ns, wanted, agreed)
    }

    fn keep(
        &mut self,
        cpu: usize,
        clock_ns: u64,
        current: Option<TaskId>,
        agreed: bool,
    ) -> Result<(), ShadowError> {
        let id = CpuId(cpu as u32);
        let kept = if agreed {
            self.sched.schedule(clock_ns, id)
        } else {
            self.sched.schedule_to(clock_ns, id, current)
        };
        self.core(kept)?;
        self.after_pick(cpu);
        self.outputs();
        Ok(())
    }

    /// The core asked for a new pick and the kernel has done nothing for a tick.
    pub(super) fn overdue(&mut self, cpu: usize) -> Result<(), ShadowError> {
        let state = &mut self.cpus[cpu];
        if let Some(armed_ns) = state.armed_ns
            && state.clock_ns > armed_ns.saturating_add(TIMER_SLACK_NS)
        {
            state.armed_ns = None;
            if self.is_judged(cpu) {
                self.judge.hrtick.missing += 1;
            }
        }
        let state = &self.cpus[cpu];
        let Some(asked) = state.asked else { return Ok(()) };
        let due_ns = asked.at_ns.saturating_add(self.tick_ns + PREEMPT_SLACK_NS);
        if !state.known || self.now_ns <= due_ns {
            return Ok(());
        }
        let current = state.current;
        let clock_ns = self.clock(cpu);
        let pick = self.would_pick(cpu, clock_ns)?;
        let wanted = self.tasks.get(current).map(|known| known.id);
        let agreed = pick.task == wanted;
        if !agreed && self.is_judged(cpu) {
            self.judge.missed += 1;
            self.diverged(cpu, clock_ns, None, pick, current, current);
        }
        self.keep(cpu, clock_ns, wanted, agreed)
    }

    fn after_pick(&mut self, cpu: usize) {
        let state = &mut self.cpus[cpu];
        state.asked = None;
        state.cause = None;
        state.yielded = false;
    }

    #[allow(clippy::too_many_arguments, reason = "one call for all that is known of a pick")]
    fn compare(
        &mut self,
        cpu: usize,
        clock_ns: u64,
        kind: Option<PickKind>,
        agreed: bool,
        pick: Pick,
        prev: i32,
        kernel: i32,
    ) {
        if let Some(kind) = kind {
            self.judge.pick(kind, agreed, pick.choice);
        }
        let now_ns = self.now_ns;
        let since = &mut self.cpus[cpu].differs_since_ns;
        if agreed {
            if let Some(since) = since.take() {
                self.judge.differs.add(now_ns.saturating_sub(since));
            }
        } else {
            since.get_or_insert(now_ns);
            self.diverged(cpu, clock_ns, kind, pick, prev, kernel);
        }
    }

    /// Keeps a divergence with the core's view, if there is room.
    fn diverged(
        &mut self,
        cpu: usize,
        clock_ns: u64,
        kind: Option<PickKind>,
        pick: Pick,
        prev: i32,
        kernel: i32,
    ) {
        if self.judge.divergences.len() >= self.config.divergences {
            return;
        }
        let divergence = Divergence {
            at_ns: self.now_ns,
            cpu: cpu as u32,
            kind,
            prev: self.tasks.name(prev),
            kernel: self.tasks.name(kernel),
            core: self.tasks.name(self.tasks.pid(pick.task)),
            rule: pick.rule.explain().to_owned(),
            queue: self.queue(cpu, clock_ns),
        };
        self.judge.divergences.push(divergence);
    }

    /// What the core would pick from.
    fn queue(&self, cpu: usize, clock_ns: u64) -> Vec<QueuedTask> {
        let id = CpuId(cpu as u32);
        let mut copy = self.sched.clone();
        let _ = copy.record_decisions(id, true);
        let _ = copy.schedule(clock_ns, id);
        let Some(decision) = copy.last_decision(id) else { return Vec::new() };
        let queue = &decision.queue;
        let base = queue.average_vruntime_ns.or(queue.min_vruntime_ns).unwrap_or(0);
        let tasks = queue.candidates.iter().map(|candidate| {
            let fair = candidate.fair;
            QueuedTask {
                task: self.tasks.name(self.tasks.pid(Some(candidate.task))),
                policy: candidate.attr.policy.to_string(),
                nice: candidate.attr.nice.get(),
                current: candidate.current,
                weight: fair.map(|fair| fair.weight >> 10),
                slice_ns: fair.map(|fair| fair.slice_ns),
                vruntime_ns: fair.map(|fair| fair.vruntime_ns.wrapping_sub(base)),
                deadline_ns: fair
                    .and_then(|fair| fair.deadline_ns)
                    .map(|deadline| deadline.wrapping_sub(base)),
                lag_ns: fair.and_then(|fair| fair.lag_ns),
                eligible: fair.and_then(|fair| fair.eligible),
                protected: fair.is_some_and(|fair| fair.protected),
                delayed: fair.is_some_and(|fair| fair.delayed),
            }
        });
        tasks.collect()
    }
}

/// Which counter a pick that is not judged goes to.
type Exclude = fn(&mut crate::report::Excluded) -> &mut u64;
