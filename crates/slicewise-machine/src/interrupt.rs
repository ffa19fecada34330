//! Ticks, ends of slices, and what interrupts cost.

use slicewise_sched::{CpuId, CpuSet, Policy, Timer};
use slicewise_trace::{Event, Sink, Slot};

use crate::MachineConfig;
use crate::error::{Done, SetupError};
use crate::machine::{DEADLINE, FAIR_SERVER, HRTICK, Machine, RT_PERIOD, TICK};
use crate::program::RtTimeLimit;
use crate::speed::Pace;
use crate::task::{Cpu, NONE, Pending, Span};

const NS_PER_S: u128 = 1_000_000_000;
/// How often a CPU without ticks has one from afar.
const TICKLESS_NS: u64 = 1_000_000_000;

/// An idle CPU.
pub(crate) fn new_cpu(config: &MachineConfig, cpu: u32) -> Cpu {
    // A shift by whole ticks changes nothing.
    let shift =
        u128::from(config.tick_phase_ns) + u128::from(cpu) * u128::from(config.tick_skew_ns);
    let hz = u128::from(config.hz);
    let tick_base_ns = (shift - (shift * hz / NS_PER_S) * NS_PER_S / hz) as u64;
    Cpu {
        current: NONE,
        pending: Pending::Nothing,
        park: false,
        listed: false,
        ready: false,
        overhead_left: 0,
        since_ns: 0,
        pace: Pace::FULL,
        irq_until_ns: 0,
        irq_count: 0,
        irq_ns: 0,
        tick_count: 0,
        nohz_full: config.nohz_full.contains(CpuId(cpu)),
        tickless: false,
        busy_ns: 0,
        overhead_ns: 0,
        tick_ns: 0,
        tick_fraction: 0,
        tick_base_ns,
    }
}

/// How many CPUs do without ticks.
pub(crate) fn cpus_without_ticks(config: &MachineConfig) -> u32 {
    config.nohz_full.count_within(config.cpus)
}

/// The CPU that looks after those without ticks: the first that has them, one that is not isolated if
/// there is one.
pub(crate) fn housekeeper(config: &MachineConfig) -> Result<u32, SetupError> {
    let ticks = |cpu: &u32| !config.nohz_full.contains(CpuId(*cpu));
    let shared = default_affinity(config).unwrap_or_default();
    let first = (0..config.cpus).filter(ticks).find(|cpu| shared.contains(CpuId(*cpu)));
    first.or_else(|| (0..config.cpus).find(ticks)).ok_or(SetupError::NohzFull)
}

/// Where tasks may run that may run anywhere, if some CPUs are isolated.
pub(crate) fn default_affinity(config: &MachineConfig) -> Option<CpuSet> {
    let partitions = config.smp.partitions.as_ref()?;
    let shared = |cpu: &CpuId| partitions.iter().any(|set| set.contains(*cpu));
    let cpus = CpuSet::of((0..config.cpus).map(CpuId).filter(shared));
    let some = !cpus.is_empty() && cpus.count_within(config.cpus) < config.cpus;
    some.then_some(cpus)
}

impl<S: Sink> Machine<'_, S> {
    /// Where a task may run that asks for this.
    pub(crate) fn affinity_of(&self, asked: &CpuSet) -> CpuSet {
        match (asked, &self.default_affinity) {
            (CpuSet::All, Some(shared)) => shared.clone(),
            _ => asked.clone(),
        }
    }

    pub(crate) fn arm_cpu_timer(&mut self, cpu: u32, which: u32, at_ns: u64) {
        let was_armed = self.events.arm(self.layout.cpu(cpu, which), at_ns);
        self.cpu_timers -= usize::from(was_armed);
        self.cpu_timers += usize::from(at_ns != u64::MAX);
    }

    /// The CPU has left idle: its tick goes on, on its grid.
    pub(crate) fn start_ticking(&mut self, cpu: u32) {
        if self.cpus[cpu as usize].nohz_full {
            self.settle_tick(cpu);
            return;
        }
        self.arm_tick(cpu);
    }

    fn arm_tick(&mut self, cpu: u32) {
        // A tick that was armed before a short time of idleness is the right one still.
        if self.events.is_armed(self.layout.cpu(cpu, TICK)) {
            return;
        }
        let (now, hz) = (u128::from(self.now), u128::from(self.hz));
        let state = &mut self.cpus[cpu as usize];
        let base = u128::from(state.tick_base_ns);
        // The first grid point base + ⌊k · 10⁹ / hz⌋ after now.
        let k = if now < base { 0 } else { ((now - base + 1) * hz).div_ceil(NS_PER_S) };
        let since = k * NS_PER_S;
        state.tick_ns = (base + since / hz).min(u128::from(u64::MAX)) as u64;
        state.tick_fraction = (since % hz) as u64;
        let at_ns = state.tick_ns;
        self.arm_cpu_timer(cpu, TICK, at_ns);
    }

    pub(crate) fn tick(&mut self, cpu: u32) -> Done {
        self.cpu_timers -= 1;
        let state = &mut self.cpus[cpu as usize];
        if state.current == NONE {
            // No tick on an idle CPU.
            return Ok(());
        }
        if state.tickless {
            return self.tick_from_afar(cpu);
        }
        state.tick_count += 1;
        let whole = 1_000_000_000 / self.hz;
        state.tick_fraction += 1_000_000_000 % self.hz;
        let carry = u64::from(state.tick_fraction >= self.hz);
        state.tick_fraction -= carry * self.hz;
        state.tick_ns = state.tick_ns.saturating_add(whole + carry);
        let (pending, next_ns) = (state.pending, state.tick_ns);
        self.arm_cpu_timer(cpu, TICK, next_ns);
        // Promotion comes before the tick hook of the class (classes.md A.6).
        if pending == Pending::Lazy {
            self.cpus[cpu as usize].pending = Pending::Now;
            self.list(cpu);
        }
        self.interrupt_cost(cpu, self.costs.tick_ns);
        self.sched.tick(self.now, CpuId(cpu)).map_err(|error| self.refused(error))?;
        self.take_outputs();
        if self.pages.is_some() {
            self.pages_tick(cpu)?;
        }
        if self.signals {
            self.signals_of_tick(cpu)?;
        }
        if self.cpus[cpu as usize].nohz_full {
            self.settle_tick(cpu);
        }
        Ok(())
    }

    /// Stops the tick of a `nohz_full` CPU that can do without, or has it go on.
    fn settle_tick(&mut self, cpu: u32) {
        let may_stop = self.tick_may_stop(cpu);
        let armed = self.events.is_armed(self.layout.cpu(cpu, TICK));
        let state = &mut self.cpus[cpu as usize];
        let was_tickless = core::mem::replace(&mut state.tickless, may_stop);
        if may_stop && !(was_tickless && armed) {
            let at_ns = self.now.saturating_add(TICKLESS_NS);
            self.arm_cpu_timer(cpu, TICK, at_ns);
        } else if !may_stop && was_tickless {
            self.arm_cpu_timer(cpu, TICK, u64::MAX);
            self.arm_tick(cpu);
        } else if !may_stop {
            self.arm_tick(cpu);
        }
    }

    /// Whether nobody on the CPU needs the tick: a task alone that has no budget to watch, or one of
    /// policy FIFO, which keeps the CPU whoever else waits.
    fn tick_may_stop(&self, cpu: u32) -> bool {
        let Some(task) = self.tasks.get(self.cpus[cpu as usize].current as usize) else {
            return true;
        };
        let policy = self.sched.attr(task.id).unwrap_or_default().policy;
        match policy {
            Policy::Deadline(_) => false,
            Policy::Fifo(_) => true,
            _ => self.sched.nr_runnable(CpuId(cpu)) <= 1 && !self.has_quota(task.group),
        }
    }

    /// Whether a group, or one it is in, has a quota.
    fn has_quota(&self, group: u32) -> bool {
        let mut next = Some(group);
        while let Some(group) = next {
            let Some(spec) = self.workload.groups.get(group as usize) else { return false };
            if spec.limit.quota_ns.is_some() {
                return true;
            }
            next = spec.parent;
        }
        false
    }

    /// Somebody has come to the queue of a CPU: its tick may have to go on.
    #[inline(always)]
    pub(crate) fn note_queued(&mut self, cpu: u32) {
        if self.any_nohz_full {
            self.note_queued_tickless(cpu);
        }
    }

    #[inline(never)]
    fn note_queued_tickless(&mut self, cpu: u32) {
        let state = &self.cpus[cpu as usize];
        if state.tickless && state.current != NONE && !self.tick_may_stop(cpu) {
            self.settle_tick(cpu);
        }
    }

    /// Somebody may have come to any.
    pub(crate) fn note_all_queued(&mut self) {
        if self.any_nohz_full {
            (0..self.cpus.len() as u32).for_each(|cpu| self.note_queued_tickless(cpu));
        }
    }

    /// Once a second, a housekeeping CPU does the tick of one that has none.
    fn tick_from_afar(&mut self, cpu: u32) -> Done {
        let next_ns = self.now.saturating_add(TICKLESS_NS);
        self.arm_cpu_timer(cpu, TICK, next_ns);
        self.interrupt_cost(self.housekeeper, self.costs.tick_ns);
        self.sched.tick(self.now, CpuId(cpu)).map_err(|error| self.refused(error))?;
        self.take_outputs();
        if self.pages.is_some() {
            self.pages_tick(cpu)?;
        }
        self.settle_tick(cpu);
        Ok(())
    }

    pub(crate) fn hrtick(&mut self, cpu: u32) -> Done {
        self.cpu_timers -= 1;
        self.interrupt_cost(cpu, self.costs.tick_ns);
        let fired = self.sched.timer_fired(self.now, CpuId(cpu), Timer::HrTick);
        fired.map_err(|error| self.refused(error))?;
        self.take_outputs();
        Ok(())
    }

    /// Budgets of deadline tasks, the fair server, and real-time throttling. What can only keep tasks
    /// from starving never makes anything happen on its own.
    pub(crate) fn arm_bandwidth_timer(&mut self, cpu: u32, timer: Timer, at_ns: u64) {
        let at_ns = at_ns.max(self.now);
        match timer {
            Timer::HrTick => self.arm_cpu_timer(cpu, HRTICK, at_ns),
            Timer::FairServer => self.arm_cpu_timer(cpu, FAIR_SERVER, at_ns),
            Timer::Deadline => {
                self.events.arm(self.layout.cpu(cpu, DEADLINE), at_ns);
            }
            Timer::RtPeriod => {
                self.events.arm(self.layout.cpu(cpu, RT_PERIOD), at_ns);
            }
        }
    }

    pub(crate) fn bandwidth_timer(&mut self, cpu: u32, timer: Timer) -> Done {
        if timer == Timer::FairServer {
            self.cpu_timers -= 1;
        }
        // One that was armed for what is not needed any more does not exist in a kernel.
        if self.sched.timer_due(self.now, CpuId(cpu), timer) {
            self.interrupt_cost(cpu, self.costs.tick_ns);
        }
        let fired = self.sched.timer_fired(self.now, CpuId(cpu), timer);
        fired.map_err(|error| self.refused(error))?;
        self.take_outputs();
        self.note_all_queued();
        Ok(())
    }

    /// A deadline task has used up its budget and asked to be told: by a signal that the next tick
    /// sends which finds it running, or has just found it so (seen on 6.12 and 7.2).
    pub(crate) fn overrun(&mut self, task: u32) {
        self.tasks[task as usize].overrun = true;
        self.signals = true;
    }

    /// What a tick finds that the running task has used too much of.
    fn signals_of_tick(&mut self, cpu: u32) -> Done {
        let current = self.cpus[cpu as usize].current;
        let Some(task) = self.tasks.get_mut(current as usize) else { return Ok(()) };
        if core::mem::replace(&mut task.overrun, false) {
            task.signalled = true;
        }
        if task.signalled && self.cpus[cpu as usize].pending == Pending::Nothing {
            self.send_signal(current);
        }
        let spec = self.details[current as usize].spec;
        match self.workload.tasks[spec as usize].rttime {
            Some(limit) => self.check_rttime(cpu, current, limit),
            None => Ok(()),
        }
    }

    /// The task is in user mode and takes its signal.
    pub(crate) fn send_signal(&mut self, task: u32) {
        if core::mem::replace(&mut self.tasks[task as usize].signalled, false) {
            self.emit(Event::Signal { task: Slot(task), kills: false });
        }
    }

    /// `RLIMIT_RTTIME`: CPU time without sleep in a real-time policy, in ticks (classes.md B.2).
    fn check_rttime(&mut self, cpu: u32, task: u32, limit: RtTimeLimit) -> Done {
        let ticks = u64::from(self.sched.rt_ticks_run(self.tasks[task as usize].id));
        let tick_us = 1_000_000 / self.hz;
        let soft_us = self.rttime_us.get(&task).copied().unwrap_or(limit.soft_us);
        if ticks <= soft_us.min(limit.hard_us).div_ceil(tick_us) {
            return Ok(());
        }
        let run_us = ticks * tick_us;
        if run_us >= limit.hard_us {
            self.emit(Event::Signal { task: Slot(task), kills: true });
            let state = &mut self.tasks[task as usize];
            (state.left, state.span) = (0, Span::Work);
            self.begin_exit(cpu, task)?;
            self.make_ready(cpu);
        } else if run_us >= soft_us {
            self.emit(Event::Signal { task: Slot(task), kills: false });
            self.rttime_us.insert(task, soft_us.saturating_add(1_000_000));
        }
        Ok(())
    }

    /// An interrupt takes time from whoever runs on `cpu` next.
    #[inline]
    pub(crate) fn interrupt_cost(&mut self, cpu: u32, cost_ns: u64) {
        if cost_ns == 0 {
            return;
        }
        self.take_time(cpu, cost_ns);
        // Work that never ends does not end later.
        let current = self.tasks.get(self.cpus[cpu as usize].current as usize);
        if current.is_none_or(|task| task.span != Span::Forever) {
            self.make_ready(cpu);
        }
    }

    /// The next so many ns of a CPU are the machine's own.
    #[inline(always)]
    fn take_time(&mut self, cpu: u32, cost_ns: u64) {
        self.account(cpu);
        let state = &mut self.cpus[cpu as usize];
        state.overhead_left = state.overhead_left.saturating_add(cost_ns);
    }

    /// Wakes a task from an interrupt on the CPU it ran on.
    #[inline(always)]
    pub(crate) fn interrupt_wake(&mut self, task: u32) -> Done {
        let (cpu, cost_ns) = (self.tasks[task as usize].cpu, self.costs.wakeup_ns);
        if cost_ns == 0 {
            return self.wake(task, None);
        }
        self.take_time(cpu, cost_ns);
        self.wake(task, None)?;
        if !self.cpus[cpu as usize].ready {
            self.work_ends_later(cpu, cost_ns);
        }
        Ok(())
    }

    /// An interrupt has put off the end of the work under way, and nothing else has changed.
    #[inline(never)]
    fn work_ends_later(&mut self, cpu: u32, by_ns: u64) {
        let current = self.cpus[cpu as usize].current;
        let Some(task) = self.tasks.get(current as usize) else { return };
        let slot = self.layout.cpu(cpu, 0);
        match (task.span, self.events.time_ns(slot)) {
            // Work that never ends does not end later.
            (Span::Forever, _) => {}
            (Span::Work, Some(at_ns)) => {
                self.events.arm(slot, at_ns.saturating_add(by_ns));
            }
            _ => self.make_ready(cpu),
        }
    }
}
