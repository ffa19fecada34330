//! Ticks, ends of slices, and what interrupts cost.

use slicewise_sched::{CpuId, Timer};
use slicewise_trace::{Event, Sink, Slot};

use crate::MachineConfig;
use crate::error::Done;
use crate::machine::{DEADLINE, FAIR_SERVER, HRTICK, Machine, RT_PERIOD, TICK};
use crate::program::RtTimeLimit;
use crate::task::{Cpu, NONE, Pending, Span};

const NS_PER_S: u128 = 1_000_000_000;

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
        busy_ns: 0,
        overhead_ns: 0,
        tick_ns: 0,
        tick_fraction: 0,
        tick_base_ns,
    }
}

impl<S: Sink> Machine<'_, S> {
    pub(crate) fn arm_cpu_timer(&mut self, cpu: u32, which: u32, at_ns: u64) {
        let was_armed = self.events.arm(self.layout.cpu(cpu, which), at_ns);
        self.cpu_timers -= usize::from(was_armed);
        self.cpu_timers += usize::from(at_ns != u64::MAX);
    }

    /// The CPU has left idle: its tick goes on, on its grid.
    pub(crate) fn start_ticking(&mut self, cpu: u32) {
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
        if self.signals {
            self.signals_of_tick(cpu)?;
        }
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
        let spec = self.tasks[current as usize].spec;
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
    #[inline]
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
