//! Interrupts as a part of the workload: what devices take from CPUs.
//!
//! An interrupt takes its time from whoever runs on the CPU it comes to, or from idleness. Further ones
//! that come meanwhile wait for its end, and so does any pick there. The task it interrupts is not
//! charged: kernels with IRQ_TIME_ACCOUNTING, as distributions build them, take interrupts out of the
//! clock that charges (fair.md 0.4), and [`Scheduler::steal`](slicewise_sched::Scheduler::steal) does
//! so here. In figures by task, the time counts as time on the CPU all the same: there, the task was
//! on it.
//!
//! *Simplifications.* An interrupt is one stretch of time, hard and soft part together; `ksoftirqd`
//! never takes over. Whom it wakes is runnable from its beginning, and on its own CPU runs at its end.

use slicewise_sched::{CpuId, CpuSet};
use slicewise_trace::Sink;

use crate::Dist;
use crate::error::{Done, RunError, SetupError};
use crate::machine::{Machine, RESCHEDULE};
use crate::program::{Origin, Workload};
use crate::rng::{Rng, Stream};
use crate::task::{NONE, Span};

/// A source of interrupts: a device, say.
#[derive(Clone, PartialEq, Debug)]
pub struct InterruptSource {
    /// Its name.
    pub name: String,
    /// The CPUs it may interrupt (`/proc/irq/N/smp_affinity_list`).
    pub cpus: CpuSet,
    /// Which of them it does.
    pub delivery: Delivery,
    /// Time between two.
    pub interarrival: Dist,
    /// How long each takes.
    pub duration: Dist,
    /// The first comes one interarrival time after this, ns from the start.
    pub start_ns: u64,
    /// Each resumes these tasks, indices of [`Workload::tasks`], as far as they are suspended
    /// ([`Op::Suspend`](crate::Op::Suspend)).
    pub wakes: Vec<u32>,
}

/// Where interrupts go that may go to several CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delivery {
    /// All to the first, as interrupt controllers of today are set up.
    #[default]
    First,
    /// To one after the other, as many queues of a device do together.
    RoundRobin,
}

/// A source at work.
#[derive(Clone, Debug)]
pub(crate) struct IrqState {
    arrivals: Rng,
    durations: Rng,
    cpus: Vec<u32>,
    /// In `cpus`.
    next: usize,
}

/// All sources, if they make sense.
pub(crate) fn sources(
    workload: &Workload,
    cpus: u32,
    seed: u64,
) -> Result<Vec<IrqState>, SetupError> {
    let state = |(index, source): (u64, &InterruptSource)| {
        let fault = |what: &str| {
            Err(SetupError::Object { name: source.name.clone(), what: what.to_owned() })
        };
        if let Some(what) = source.interarrival.fault().or(source.duration.fault()) {
            return fault(what);
        }
        if source.wakes.iter().any(|task| *task as usize >= workload.tasks.len()) {
            return fault("a task it wakes does not exist");
        }
        let cpus: Vec<u32> = (0..cpus).filter(|cpu| source.cpus.contains(CpuId(*cpu))).collect();
        if cpus.is_empty() {
            return fault("none of the CPUs it may interrupt exists");
        }
        Ok(IrqState {
            arrivals: Rng::stream(seed, Stream::IrqArrival, index),
            durations: Rng::stream(seed, Stream::IrqDuration, index),
            cpus,
            next: 0,
        })
    };
    (0..).zip(&workload.interrupts).map(state).collect()
}

impl<S: Sink> Machine<'_, S> {
    pub(crate) fn arm_first_interrupts(&mut self) {
        for index in 0..self.irqs.len() as u32 {
            let start_ns = self.workload.interrupts[index as usize].start_ns;
            self.arm_next_interrupt(index, start_ns);
        }
    }

    fn arm_next_interrupt(&mut self, index: u32, after_ns: u64) {
        let source = &self.workload.interrupts[index as usize];
        let state = &mut self.irqs[index as usize];
        let at_ns = after_ns.saturating_add(source.interarrival.sample(&mut state.arrivals));
        self.events.arm(self.layout.interrupt(index), at_ns);
        // Where it wakes nobody, it never makes anything happen on its own.
        self.cpu_timers += usize::from(source.wakes.is_empty() && at_ns != u64::MAX);
    }

    /// A source interrupts a CPU.
    pub(crate) fn device_interrupt(&mut self, index: u32) -> Done {
        let source = &self.workload.interrupts[index as usize];
        self.cpu_timers -= usize::from(source.wakes.is_empty());
        self.instant_steps += 1;
        if self.instant_steps > self.instant_limit() {
            let (task, at_ns) = (source.name.clone(), self.now);
            return Err(Box::new(RunError::NoProgress { task, origin: Origin::default(), at_ns }));
        }
        let state = &mut self.irqs[index as usize];
        let cpu = state.cpus[state.next];
        if source.delivery == Delivery::RoundRobin {
            state.next = (state.next + 1) % state.cpus.len();
        }
        let length_ns = source.duration.sample(&mut state.durations);
        let wakes = &source.wakes;
        self.arm_next_interrupt(index, self.now);
        self.interrupt_cpu(cpu, length_ns)?;
        for spec in wakes {
            while let Some(task) = self.leave_first(self.map.suspended + spec) {
                self.interrupt_wake(task)?;
            }
        }
        Ok(())
    }

    /// The CPU is the interrupt's for so long, after those that have it already.
    fn interrupt_cpu(&mut self, cpu: u32, length_ns: u64) -> Done {
        self.account(cpu);
        let state = &mut self.cpus[cpu as usize];
        state.irq_count += 1;
        if length_ns == 0 {
            return Ok(());
        }
        state.irq_ns = state.irq_ns.saturating_add(length_ns);
        state.irq_until_ns = state.irq_until_ns.max(self.now).saturating_add(length_ns);
        state.overhead_left = state.overhead_left.saturating_add(length_ns);
        let (until_ns, current) = (state.irq_until_ns, state.current);
        let stolen = self.sched.steal(self.now, CpuId(cpu), length_ns);
        stolen.map_err(|error| self.refused(error))?;
        self.take_outputs();
        let slot = self.layout.cpu(cpu, RESCHEDULE);
        let until_ns = until_ns.max(self.events.time_ns(slot).unwrap_or(0));
        self.events.arm(slot, until_ns);
        let endless = |current: u32| self.tasks[current as usize].span == Span::Forever;
        if current != NONE && !endless(current) {
            self.make_ready(cpu);
        }
        Ok(())
    }
}
