//! The replay: events in, decisions compared.

mod attrs;
mod picks;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};

use slicewise_ftrace::{
    Event, Findings, HrtimerExpire, Kind, Other, Reader, StatRuntime, TaskRef, TimerFunction,
    Value, Wakeup,
};
use slicewise_sched::{
    CpuId, CpuSet, Output, SchedConfig, Scheduler, SmpConfig, Spawn, TaskId, Timer, Wake,
};

use crate::ShadowError;
use crate::config::ShadowConfig;
use crate::cpu::{Asked, CpuState, Pending};
use crate::gaps::DRIFT_NS_MAX;
use crate::judge::Judge;
use crate::report::{Clock, HrtickReport, PickKind, ShadowReport, TickSource, Values};
use crate::survey::{Survey, Ticks, is_attribute_call, is_tick, is_yield};
use crate::tasks::{Doing, Known, Tasks, attr_of};

/// A timer this close to where it is expected is the one that was asked for.
const TIMER_SLACK_NS: u64 = 50_000;
/// After a tick and this, a preemption that was due has been missed.
const PREEMPT_SLACK_NS: u64 = 500_000;
/// Parents of tasks not started yet that are remembered.
const FORKS_MAX: usize = 1 << 12;

/// Replays a trace against the core. The survey must be of the same trace.
///
/// # Errors
/// If the trace cannot be read, or the configuration or the trace has no HZ.
pub fn replay<R: Read + Seek>(
    reader: &mut Reader<R>,
    survey: &Survey,
    config: &ShadowConfig,
) -> Result<ShadowReport, ShadowError> {
    let mut replay = Replay::new(survey, config)?;
    while let Some(event) = reader.next_event()? {
        replay.feed(&event)?;
    }
    let recorded_on = reader.info().uname.clone();
    Ok(replay.report(reader.findings(), recorded_on))
}

struct Replay<'c> {
    config: &'c ShadowConfig,
    survey: &'c Survey,
    hz: u32,
    nr_cpus: u32,
    tick_ns: u64,
    sched: Scheduler,
    tasks: Tasks,
    cpus: Vec<CpuState>,
    /// Children that have not started yet, and their parents.
    parents: HashMap<i32, i32>,
    judge: Judge,
    /// Time of the event at hand.
    now_ns: u64,
    /// When it was recorded, a new pick was due.
    need_resched: Option<bool>,
    /// Timers of budgets, of the fair server and of real-time throttling, by when they are due.
    bandwidth: BTreeMap<(CpuId, Timer), u64>,
}

impl<'c> Replay<'c> {
    fn new(survey: &'c Survey, config: &'c ShadowConfig) -> Result<Self, ShadowError> {
        let hz = config.hz.or(survey.hz).ok_or(ShadowError::NoHz)?;
        let nr_cpus = config.cpus.unwrap_or(0).max(survey.cpus);
        let sched = Scheduler::new(&SchedConfig {
            profile: config.profile,
            features: config.features,
            base_slice_ns: config.base_slice_ns,
            cpus: nr_cpus,
            hz,
            smp: SmpConfig::default(),
        })?;
        let next_tick_ns = match survey.ticks {
            Ticks::Inferred { first_ns } => Some(first_ns),
            Ticks::Recorded | Ticks::Unknown => None,
        };
        let cpu = CpuState { next_tick_ns, ..CpuState::default() };
        Ok(Self {
            config,
            survey,
            hz,
            nr_cpus,
            tick_ns: 1_000_000_000 / u64::from(hz),
            sched,
            tasks: Tasks::default(),
            cpus: vec![cpu; nr_cpus as usize],
            parents: HashMap::new(),
            judge: Judge::default(),
            now_ns: 0,
            need_resched: None,
            bandwidth: BTreeMap::new(),
        })
    }

    fn feed(&mut self, event: &Event) -> Result<(), ShadowError> {
        self.now_ns = self.now_ns.max(event.time_ns);
        let cpu = event.cpu as usize;
        if cpu >= self.cpus.len() {
            // The survey was of another trace; nothing can be said of such a CPU.
            return Ok(());
        }
        self.need_resched = event.need_resched;
        self.bandwidth_timers()?;
        self.inferred_ticks(cpu)?;
        self.overdue(cpu)?;
        match &event.kind {
            Kind::StatRuntime(stat) => self.charge(cpu, stat)?,
            Kind::Switch(switch) => self.switch(cpu, switch)?,
            Kind::Wakeup(wakeup) => self.wakeup(wakeup)?,
            Kind::WakeupNew(wakeup) => self.wakeup_new(wakeup)?,
            Kind::Waking(waking) => {
                self.settle(cpu)?;
                let target = waking.target_cpu as usize;
                // CFS charges before anything else, and its values are compared at the charge.
                if target < self.cpus.len() && self.config.profile.is_eevdf() {
                    self.settle(target)?;
                    self.cpus[target].waking = true;
                }
            }
            Kind::HrtimerExpire(HrtimerExpire { function }) => match function {
                TimerFunction::Tick => self.pend(cpu, Pending::Tick)?,
                TimerFunction::HrTick => self.pend(cpu, Pending::Hrtick)?,
                TimerFunction::Other => self.settle(cpu)?,
            },
            Kind::Fork(fork) => {
                if self.parents.len() < FORKS_MAX {
                    self.parents.insert(fork.child, fork.parent);
                }
            }
            Kind::Migrate(migrate) => self.migrate(&migrate.task, migrate.to)?,
            Kind::PiSetprio(pi) => {
                let task = TaskRef { pid: pi.pid, comm: pi.comm, prio: pi.new_prio };
                self.set_attr(&task)?;
            }
            Kind::Lost(_) => self.gap(cpu)?,
            Kind::Named(_) | Kind::Cloned(_) | Kind::Gone(_) => {}
            Kind::Exit(exit) => {
                if self.cpus[cpu].current == exit.task.pid {
                    self.pend(cpu, Pending::Exit)?;
                }
            }
            Kind::Exec(_) => {}
            Kind::Other(other) => self.other(cpu, event.pid, other)?,
        }
        Ok(())
    }

    fn core<T>(&self, result: Result<T, slicewise_sched::Error>) -> Result<T, ShadowError> {
        result.map_err(|error| ShadowError::Core { at_ns: self.now_ns, error })
    }

    /// The kernel's clock of a CPU for what happens there now: where charges are recorded it is the
    /// one of the last charge, else the event's time.
    fn clock(&mut self, cpu: usize) -> u64 {
        let state = &mut self.cpus[cpu];
        if !state.charged {
            state.clock_ns = state.clock_ns.max(self.now_ns);
            state.skew_ns = Some(self.now_ns.wrapping_sub(state.clock_ns) as i64);
        }
        state.unclaimed = false;
        state.waking = false;
        state.clock_ns
    }

    /// Those that are due by now have fired.
    fn bandwidth_timers(&mut self) -> Result<(), ShadowError> {
        while let Some((key, at_ns)) = self.bandwidth.iter().min_by_key(|(_, at_ns)| **at_ns)
            && *at_ns <= self.now_ns
        {
            let (key, at_ns) = (*key, *at_ns);
            self.bandwidth.remove(&key);
            let fired = self.sched.timer_fired(at_ns, key.0, key.1);
            self.core(fired)?;
            self.outputs();
        }
        Ok(())
    }

    /// Takes what the core asks for.
    fn outputs(&mut self) {
        while let Some(output) = self.sched.output() {
            match output {
                Output::Reschedule { cpu, .. } => {
                    let at_ns = self.now_ns;
                    self.cpus[cpu.index()].asked.get_or_insert(Asked { at_ns });
                }
                Output::ArmTimer { cpu, timer: Timer::HrTick, at_ns } => {
                    self.cpus[cpu.index()].armed_ns = Some(at_ns);
                }
                Output::DisarmTimer { cpu, timer: Timer::HrTick } => {
                    self.cpus[cpu.index()].armed_ns = None;
                }
                Output::ArmTimer { cpu, timer, at_ns } => {
                    self.bandwidth.insert((cpu, timer), at_ns);
                }
                Output::DisarmTimer { cpu, timer } => {
                    self.bandwidth.remove(&(cpu, timer));
                }
                // Placement is the recording's.
                // No quotas and no memory are known here.
                Output::DlThrottled { .. }
                | Output::RtThrottled { .. }
                | Output::Overrun { .. }
                | Output::NumaScan { .. }
                | Output::Migrated { .. }
                | Output::ArmGroupTimer { .. }
                | Output::DisarmGroupTimer { .. }
                | Output::Park { .. }
                | Output::Throttled { .. } => {}
            }
        }
    }

    /// The kernel charged the task that runs.
    fn charge(&mut self, event_cpu: usize, stat: &StatRuntime) -> Result<(), ShadowError> {
        // A wakeup from another CPU charges there what runs here.
        let cpu = if self.cpus[event_cpu].current == stat.pid {
            event_cpu
        } else {
            match self.tasks.get(stat.pid) {
                Some(known) if known.doing == Doing::Running => known.cpu as usize,
                _ => return Ok(()),
            }
        };
        if !self.cpus[cpu].known {
            return Ok(());
        }
        if !self.cpus[cpu].waking {
            self.claim(cpu)?;
        }
        let state = &mut self.cpus[cpu];
        let before_ns = state.clock_ns;
        state.clock_ns = before_ns.saturating_add(stat.runtime_ns);
        let skew_ns = self.now_ns.wrapping_sub(state.clock_ns) as i64;
        let mut unmarked_gap = false;
        match state.skew_ns {
            Some(before) if skew_ns.saturating_sub(before).unsigned_abs() > DRIFT_NS_MAX => {
                // Charges are missing: the time between is charged all the same.
                unmarked_gap = true;
                if skew_ns < before {
                    state.skew_ns = Some(skew_ns);
                }
                state.clock_ns = self.now_ns.saturating_add_signed(-before).max(before_ns);
            }
            _ => state.skew_ns = Some(skew_ns),
        }
        state.charged = true;
        let clock_ns = state.clock_ns;
        let waking = state.waking;
        state.unclaimed = !waking;
        self.judge.unmarked_gaps += u64::from(unmarked_gap && self.is_judged(cpu));
        if unmarked_gap {
            self.slept_unseen(cpu)?;
        }
        if waking {
            return Ok(());
        }
        let charged = self.sched.charge(clock_ns, CpuId(cpu as u32));
        self.core(charged)?;
        self.outputs();
        if let Some(vruntime_ns) = stat.vruntime_ns {
            self.compare_vruntime(cpu, stat.pid, vruntime_ns);
        }
        self.settle_pending(cpu)
    }

    /// Events are missing up to now, and some of those who waited have gone to sleep meanwhile: as if
    /// each had come to the CPU for no time.
    fn slept_unseen(&mut self, cpu: usize) -> Result<(), ShadowError> {
        let survey = self.survey;
        let (id, clock_ns) = (CpuId(cpu as u32), self.cpus[cpu].clock_ns);
        for pid in survey.slept.get(&self.now_ns).into_iter().flatten() {
            let Some(known) = self.tasks.get_mut(*pid) else { continue };
            if known.doing != Doing::Waiting || known.cpu != id.0 {
                continue;
            }
            known.doing = Doing::Sleeping;
            let task = known.id;
            let current = self.tasks.get(self.cpus[cpu].current).map(|known| known.id);
            let came = self.sched.schedule_to(clock_ns, id, Some(task));
            self.core(came)?;
            let left = self.sched.block(clock_ns, id);
            self.core(left)?;
            let back = self.sched.schedule_to(clock_ns, id, current);
            self.core(back)?;
            self.outputs();
        }
        Ok(())
    }

    /// A wakeup had begun and has come to nothing: what was charged for it is charged now.
    fn end_waking(&mut self, cpu: usize) -> Result<(), ShadowError> {
        let state = &mut self.cpus[cpu];
        if std::mem::replace(&mut state.waking, false) {
            let clock_ns = state.clock_ns;
            let charged = self.sched.charge(clock_ns, CpuId(cpu as u32));
            self.core(charged)?;
            self.outputs();
        }
        Ok(())
    }

    /// Events of this CPU are missing: who runs and who waits there is not known any more.
    fn gap(&mut self, cpu: usize) -> Result<(), ShadowError> {
        let id = CpuId(cpu as u32);
        let clock_ns = self.cpus[cpu].clock_ns;
        for (pid, task) in self.tasks.on_queue(id.0) {
            self.forget(pid, task)?;
        }
        let switched = self.sched.schedule_to(clock_ns, id, None);
        self.core(switched)?;
        self.outputs();
        let next_tick_ns = self.cpus[cpu].next_tick_ns;
        self.cpus[cpu] = CpuState { clock_ns, next_tick_ns, ..CpuState::default() };
        Ok(())
    }

    /// A tick, a slice timer or a yield: what it does is done once the kernel has taken its clock.
    fn pend(&mut self, cpu: usize, pending: Pending) -> Result<(), ShadowError> {
        let has_charges = self.survey.has_charges;
        let state = &mut self.cpus[cpu];
        if pending.interrupts() && state.charged && has_charges {
            let call = state.pending.take_if(|before| !before.interrupts());
            state.put_off = state.put_off.take().or(call);
        }
        self.settle(cpu)?;
        let state = &mut self.cpus[cpu];
        if state.known && state.current != 0 {
            state.pending = Some(pending);
            if !(state.charged && has_charges) {
                self.settle_pending(cpu)?;
            }
        }
        Ok(())
    }

    /// What was waiting is done now at the latest, and a charge that nothing claimed was a pick.
    fn settle(&mut self, cpu: usize) -> Result<(), ShadowError> {
        self.settle_pending(cpu)?;
        self.claim(cpu)
    }

    fn settle_pending(&mut self, cpu: usize) -> Result<(), ShadowError> {
        let Some(pending) = self.cpus[cpu].pending.take() else { return Ok(()) };
        if pending.interrupts() {
            let state = &mut self.cpus[cpu];
            state.pending = state.put_off.take();
        }
        let clock_ns = self.clock(cpu);
        let id = CpuId(cpu as u32);
        let result = match pending {
            Pending::Tick => {
                self.cpus[cpu].cause = Some(PickKind::TickPreemption);
                self.sched.tick(clock_ns, id)
            }
            Pending::Hrtick => {
                self.cpus[cpu].cause = Some(PickKind::HrtickPreemption);
                self.hrtick_fired(cpu, clock_ns);
                self.sched.timer_fired(clock_ns, id, Timer::HrTick)
            }
            Pending::Attributes => {
                return match self.cpus[cpu].change.take() {
                    Some(task) => self.set_attr(&task),
                    None => Ok(()),
                };
            }
            Pending::Exit => self.sched.begin_exit(clock_ns, id),
            Pending::Yield => {
                self.cpus[cpu].yielded = true;
                self.sched.yield_now(clock_ns, id)
            }
        };
        self.core(result)?;
        self.outputs();
        Ok(())
    }

    fn hrtick_fired(&mut self, cpu: usize, clock_ns: u64) {
        let state = &mut self.cpus[cpu];
        let armed = state.armed_ns.take();
        if !self.is_judged(cpu) || !self.is_fair(self.cpus[cpu].current) {
            return;
        }
        let HrtickReport { fired, as_asked, unasked, off, .. } = &mut self.judge.hrtick;
        *fired += 1;
        match armed {
            Some(at_ns) if at_ns.abs_diff(clock_ns) <= TIMER_SLACK_NS => *as_asked += 1,
            Some(_) => *off += 1,
            None => *unasked += 1,
        }
    }

    /// Ticks that are not in the trace, up to now.
    fn inferred_ticks(&mut self, cpu: usize) -> Result<(), ShadowError> {
        let Some(mut next) = self.cpus[cpu].next_tick_ns else { return Ok(()) };
        if next > self.now_ns {
            return Ok(());
        }
        let now_ns = self.now_ns;
        // After a long silence only the last tick matters.
        next += (now_ns - next) / self.tick_ns * self.tick_ns;
        self.cpus[cpu].next_tick_ns = Some(next + self.tick_ns);
        self.now_ns = next;
        let result = self.pend(cpu, Pending::Tick);
        self.now_ns = now_ns;
        result
    }

    fn other(&mut self, cpu: usize, pid: Option<i32>, other: &Other) -> Result<(), ShadowError> {
        if is_attribute_call(other) {
            return self.attribute_call(cpu, pid, other);
        }
        if is_yield(other) {
            return self.pend(cpu, Pending::Yield);
        }
        if is_tick(other) && self.survey.ticks == Ticks::Recorded {
            // The timer's own event, if there is one, has announced it.
            if self.cpus[cpu].pending != Some(Pending::Tick) {
                return self.pend(cpu, Pending::Tick);
            }
            return Ok(());
        }
        if &*other.name == "sched_wait_task" {
            return self.wait_task(other);
        }
        self.compare_probe(cpu, other);
        Ok(())
    }

    /// Somebody waits until a task is off its CPU (a new kernel thread's maker, before it pins it): a
    /// task that is only still queued to pay off its lag leaves at once, and keeps what it owes.
    fn wait_task(&mut self, other: &Other) -> Result<(), ShadowError> {
        let pid = other.field("pid").and_then(Value::as_u64);
        let known = pid.and_then(|pid| self.tasks.get(pid as i32)).copied();
        let Some(known) = known.filter(|known| known.doing == Doing::Sleeping) else {
            return Ok(());
        };
        self.settle_pending(known.cpu as usize)?;
        let clock_ns = self.clock(known.cpu as usize);
        let pinned = CpuSet::one(CpuId(known.cpu));
        let gone = self.sched.set_affinity(clock_ns, known.id, pinned);
        self.core(gone)?;
        self.outputs();
        Ok(())
    }

    /// A wakeup: on its CPU, unless it is there already.
    fn wakeup(&mut self, wakeup: &Wakeup) -> Result<(), ShadowError> {
        let cpu = wakeup.target_cpu as usize;
        if cpu >= self.cpus.len() || wakeup.task.pid == 0 {
            return Ok(());
        }
        self.settle_pending(cpu)?;
        self.know(&wakeup.task, cpu as u32)?;
        self.set_attr(&wakeup.task)?;
        let Some(known) = self.tasks.get(wakeup.task.pid).copied() else { return Ok(()) };
        if known.doing != Doing::Sleeping || known.other_class {
            self.cpus[cpu].unclaimed = false;
            return self.end_waking(cpu);
        }
        self.wake(wakeup.task.pid, cpu)?;
        self.cpus[cpu].cause = Some(PickKind::WakeupPreemption);
        Ok(())
    }

    /// Wakes a sleeping task in the core.
    fn wake(&mut self, pid: i32, cpu: usize) -> Result<(), ShadowError> {
        let clock_ns = self.clock(cpu);
        let target = CpuId(cpu as u32);
        let Some(known) = self.tasks.get_mut(pid) else { return Ok(()) };
        let id = known.id;
        known.doing = Doing::Waiting;
        let moved = known.cpu != target.0;
        known.cpu = target.0;
        if moved {
            // Where tasks go is the recording's business: the core may run them there alone.
            let moved = self.sched.set_affinity(clock_ns, id, CpuSet::one(target));
            self.core(moved)?;
        }
        let wake = Wake { cpu: Some(target), ..Wake::default() };
        let woken = self.sched.wake(clock_ns, id, wake);
        self.core(woken)?;
        self.outputs();
        Ok(())
    }

    fn wakeup_new(&mut self, wakeup: &Wakeup) -> Result<(), ShadowError> {
        let cpu = wakeup.target_cpu as usize;
        let pid = wakeup.task.pid;
        if cpu >= self.cpus.len() || pid == 0 {
            return Ok(());
        }
        self.settle_pending(cpu)?;
        if let Some(stale) = self.tasks.get(pid).copied() {
            // Its end is missing: the number is used again.
            self.forget(pid, stale.id)?;
        }
        let clock_ns = self.clock(cpu);
        let (attr, other_class) = attr_of(&wakeup.task, &self.config.tasks);
        let parent = self.parents.remove(&pid);
        let parent = parent.and_then(|parent| self.tasks.get(parent)).map(|parent| parent.id);
        let target = CpuId(cpu as u32);
        let affinity = CpuSet::one(target);
        let spawn = Spawn { attr, affinity, parent, cpu: Some(target), group: None };
        let spawned = self.sched.spawn(clock_ns, spawn);
        let id = self.core(spawned)?;
        self.insert(&wakeup.task, id, target.0, Doing::Waiting, other_class);
        self.outputs();
        self.cpus[cpu].cause = Some(PickKind::ForkPreemption);
        Ok(())
    }

    fn insert(&mut self, task: &TaskRef, id: TaskId, cpu: u32, doing: Doing, other_class: bool) {
        let known = Known {
            id,
            comm: task.comm,
            prio: task.prio,
            cpu,
            doing,
            other_class,
            fair: (100..140).contains(&task.prio),
        };
        self.tasks.insert(task.pid, known);
    }

    /// Makes a task known that was there before; returns whether it was not known.
    fn know(&mut self, task: &TaskRef, cpu: u32) -> Result<bool, ShadowError> {
        if let Some(known) = self.tasks.get_mut(task.pid) {
            known.comm = task.comm;
            return Ok(false);
        }
        let (attr, other_class) = attr_of(task, &self.config.tasks);
        let target = CpuId(cpu);
        let adopted = self.sched.adopt(target, attr, CpuSet::one(target));
        let id = self.core(adopted)?;
        self.insert(task, id, cpu, Doing::Sleeping, other_class);
        Ok(true)
    }

    fn forget(&mut self, pid: i32, id: TaskId) -> Result<(), ShadowError> {
        let clock_ns =
            self.tasks.get(pid).map_or(0, |known| self.cpus[known.cpu as usize].clock_ns);
        let exited = self.sched.exit(clock_ns, id);
        self.core(exited)?;
        self.outputs();
        self.tasks.remove(pid);
        Ok(())
    }

    /// Priority or name changed: policy and nice may have.
    fn set_attr(&mut self, task: &TaskRef) -> Result<(), ShadowError> {
        let Some(known) = self.tasks.get(task.pid).copied() else { return Ok(()) };
        if known.prio == task.prio && known.comm == task.comm {
            return Ok(());
        }
        let (attr, other_class) = attr_of(task, &self.config.tasks);
        self.insert(task, known.id, known.cpu, known.doing, other_class);
        if self.sched.attr(known.id) != Some(attr) {
            let clock_ns = self.cpus[known.cpu as usize].clock_ns;
            let set = self.sched.set_attr(clock_ns, known.id, attr);
            self.core(set)?;
            self.outputs();
        }
        Ok(())
    }

    fn migrate(&mut self, task: &TaskRef, to: u32) -> Result<(), ShadowError> {
        let Some(known) = self.tasks.get(task.pid).copied() else { return Ok(()) };
        if to as usize >= self.cpus.len() || known.doing != Doing::Waiting || known.cpu == to {
            // A sleeper moves when it is woken.
            return Ok(());
        }
        self.settle_pending(known.cpu as usize)?;
        let clock_ns = self.clock(known.cpu as usize).max(self.clock(to as usize));
        // It may run nowhere else: the core moves it.
        let moved = self.sched.set_affinity(clock_ns, known.id, CpuSet::one(CpuId(to)));
        self.core(moved)?;
        if let Some(known) = self.tasks.get_mut(task.pid) {
            known.cpu = to;
        }
        self.outputs();
        Ok(())
    }

    fn is_fair(&self, pid: i32) -> bool {
        self.tasks.get(pid).is_some_and(|known| known.fair)
    }

    /// Whether what happens on this CPU now counts.
    fn is_judged(&self, cpu: usize) -> bool {
        self.config.cpu.is_none_or(|only| only as usize == cpu)
            && self.now_ns >= self.survey.first_ns.saturating_add(self.config.warm_up_ns)
    }

    fn report(mut self, findings: &Findings, recorded_on: Option<String>) -> ShadowReport {
        let judge = &mut self.judge;
        ShadowReport {
            kernel: self.config.profile.name.to_owned(),
            kernel_release: self.config.profile.release.to_owned(),
            recorded_on,
            cpus: self.nr_cpus,
            hz: self.hz,
            ticks: match self.survey.ticks {
                Ticks::Recorded => TickSource::Recorded,
                Ticks::Inferred { .. } | Ticks::Unknown => TickSource::Inferred,
            },
            clock: if self.survey.has_charges { Clock::Charges } else { Clock::Events },
            from_ns: self.survey.first_ns,
            to_ns: self.survey.last_ns,
            warm_up_ns: self.config.warm_up_ns,
            events: findings.events,
            total: judge.total,
            by_kind: std::mem::take(&mut judge.by_kind),
            missed_preemptions: judge.missed,
            unasked_preemptions: judge.unasked,
            excluded: judge.excluded,
            differs_for: judge.differs.differs_for(),
            hrtick: self.survey.has_hrticks.then_some(judge.hrtick),
            values: Values {
                vruntime: judge.vruntime.value_errors(),
                deadline: judge.deadline.value_errors(),
            },
            divergences: std::mem::take(&mut judge.divergences),
            lost_events: findings.lost_events,
            lost_places: findings.lost_places,
            unmarked_gaps: judge.unmarked_gaps,
            stale_tasks: judge.stale,
            malformed: findings.malformed,
            unknown_formats: findings.unknown_formats,
            unexpected_layouts: findings.unexpected_layouts.clone(),
            backwards: findings.backwards,
            truncated: findings.truncated,
        }
    }
}
