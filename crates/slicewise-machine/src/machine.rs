//! The machine: CPUs, time, and the loop that drives the scheduler core.
//!
//! Time stands still while an event is handled. What follows from it at the same moment is kept in
//! two lists and done before the next event: CPUs the scheduler wants to choose again
//! (`resched`), and CPUs whose task may go on (`ready`). Switching never runs a program and a
//! program never switches another CPU's task, so nothing here calls itself.

use core::hint::cold_path;
use std::collections::BTreeMap;

use slicewise_sched::{
    Attr, CpuId, CpuSet, GroupId, GroupTimer, Output, SchedConfig, Scheduler, SmpConfig, Switch,
    TaskId, Timer, Wake,
};
use slicewise_trace::{Event, Left, Sink, Slot, TaskInfo};

use crate::compile::Code;
use crate::config::{Costs, Interrupts, MachineConfig, Preemption};
use crate::device::DeviceState;
use crate::error::{Done, RunError, SetupError, Waiting};
use crate::event_queue::{EventQueue, SLOTS_MAX};
use crate::groups::{self, GroupTimes};
use crate::interrupt::{cpus_without_ticks, default_affinity, housekeeper, new_cpu};
use crate::irq::{self, IrqState};
use crate::pages::{Pages, has_pages};
use crate::program::{Origin, Workload};
use crate::requests::QueueState;
use crate::rng::{Rng, Stream};
use crate::speed::Speed;
use crate::summary::{CpuSummary, End, RunSummary};
use crate::sync::{Owner, QueueMap, WaitQueue};
use crate::task::{Cpu, NONE, Pending, Span, Task, TaskDetail};

/// The most tasks that may live at the same time.
pub const TASKS_MAX: usize = 1_000_000;

/// Steps and switches at one moment that never count as endless.
const INSTANT_STEPS_MIN: u64 = 10_000_000;

/// How many waiting tasks [`RunError::Stuck`] names.
const NAMED_WAITERS: usize = 16;

/// Which slot of the event queue is whose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) queues: u32,
    pub(crate) devices: u32,
    pub(crate) groups: u32,
    pub(crate) interrupts: u32,
    pub(crate) starter: u32,
    pub(crate) tasks: u32,
}

/// Event slots of a CPU: work done, tick, end of slice, end of an interrupt, budgets, fair server,
/// periods of real-time throttling. One is left over: a power of two is taken apart in no time.
pub(crate) const CPU_SLOTS: u32 = 8;
pub(crate) const TICK: u32 = 1;
pub(crate) const HRTICK: u32 = 2;
/// The end of an interrupt that has asked for a new pick.
pub(crate) const RESCHEDULE: u32 = 3;
pub(crate) const DEADLINE: u32 = 4;
pub(crate) const FAIR_SERVER: u32 = 5;
pub(crate) const RT_PERIOD: u32 = 6;
/// Event slots of a group: its period and its slack timer.
pub(crate) const GROUP_SLOTS: u32 = 2;

impl Layout {
    fn new(cpus: u32, workload: &Workload) -> Self {
        let queues = cpus * CPU_SLOTS;
        let devices = queues + workload.queues.len() as u32;
        let groups = devices + workload.devices.len() as u32;
        let interrupts = groups + workload.groups.len() as u32 * GROUP_SLOTS;
        let starter = interrupts + workload.interrupts.len() as u32;
        Self { queues, devices, groups, interrupts, starter, tasks: starter + 1 }
    }

    #[inline]
    pub(crate) fn cpu(self, cpu: u32, which: u32) -> usize {
        (cpu * CPU_SLOTS + which) as usize
    }

    #[inline]
    pub(crate) fn queue(self, queue: u32) -> usize {
        (self.queues + queue) as usize
    }

    #[inline]
    pub(crate) fn device(self, device: u32) -> usize {
        (self.devices + device) as usize
    }

    pub(crate) fn interrupt(self, source: u32) -> usize {
        (self.interrupts + source) as usize
    }

    pub(crate) fn group_timer(self, group: GroupId, timer: GroupTimer) -> usize {
        let which = match timer {
            GroupTimer::Period => 0,
            GroupTimer::Slack => 1,
        };
        self.groups as usize + group.index() * GROUP_SLOTS as usize + which
    }

    #[inline]
    pub(crate) fn task(self, task: u32) -> usize {
        (self.tasks + task) as usize
    }
}

/// CPUs, the first to be dealt with first. It is emptied within the moment it was filled in.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuList {
    cpus: Vec<u32>,
    taken: usize,
}

impl CpuList {
    #[inline(always)]
    fn push(&mut self, cpu: u32) {
        self.cpus.push(cpu);
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<u32> {
        let cpu = *self.cpus.get(self.taken)?;
        self.taken += 1;
        if self.taken == self.cpus.len() {
            self.cpus.clear();
            self.taken = 0;
        }
        Some(cpu)
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.cpus.is_empty()
    }
}

/// Counts for the summary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) switches: u64,
    pub(crate) wakeups: u64,
    pub(crate) spawned: u64,
    pub(crate) exited: u64,
    pub(crate) migrations: u64,
}

/// A simulated machine, running a workload on the scheduler core and telling a [`Sink`] all that
/// happens. The same configuration, workload and seed give the same events.
#[derive(Debug)]
pub struct Machine<'w, S: Sink> {
    pub(crate) sched: Scheduler,
    pub(crate) sink: S,
    pub(crate) now: u64,
    pub(crate) events: EventQueue,
    pub(crate) layout: Layout,
    pub(crate) tasks: Vec<Task>,
    pub(crate) details: Vec<TaskDetail>,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) code: Code,
    pub(crate) workload: &'w Workload,
    pub(crate) waits: Vec<WaitQueue>,
    pub(crate) map: QueueMap,
    pub(crate) owners: Vec<Option<Owner>>,
    /// Some mutex lends priorities.
    pub(crate) any_inherits: bool,
    /// Mutexes that lend priorities, by their owner.
    pub(crate) held: BTreeMap<u32, Vec<u32>>,
    pub(crate) arrived: Vec<u32>,
    /// By semaphore: how many may take it.
    pub(crate) semaphores: Vec<u32>,
    /// The last expiry of each shared timer.
    pub(crate) timers: Vec<Option<u64>>,
    pub(crate) devices: Vec<DeviceState>,
    pub(crate) queues: Vec<QueueState>,
    pub(crate) group_ids: Vec<GroupId>,
    /// By group: what its own tasks, not those below it, have used beside plain user time.
    pub(crate) group_times: Vec<GroupTimes>,
    pub(crate) costs: Costs,
    /// What slows programs, if anything does.
    pub(crate) speed: Option<Box<Speed>>,
    /// Memory of tasks, if any has some.
    pub(crate) pages: Option<Box<Pages>>,
    /// Tasks whose memory the core wants scanned.
    pub(crate) scans: Vec<TaskId>,
    /// Interrupts take time.
    pub(crate) interrupts: bool,
    /// Sources of interrupts.
    pub(crate) irqs: Vec<IrqState>,
    /// Some CPU does without ticks.
    pub(crate) any_nohz_full: bool,
    /// The CPU that looks after those, and has unbound timers.
    pub(crate) housekeeper: u32,
    /// What tasks may use that may run anywhere, if some CPUs are isolated.
    pub(crate) default_affinity: Option<CpuSet>,
    /// How long the one under way goes on.
    pub(crate) interrupt_ns: u64,
    pub(crate) interrupt_rng: Rng,
    pub(crate) instant_steps: u64,
    /// Steps of each task at one moment, since they have been suspiciously many, and that moment.
    pub(crate) idle_steps: BTreeMap<u32, u32>,
    pub(crate) idle_steps_at: u64,
    pub(crate) counts: Counts,
    pub(crate) preemption: Preemption,
    pub(crate) seed: u64,
    pub(crate) hz: u64,
    pub(crate) duration_ns: u64,
    pub(crate) wants_values: bool,
    pub(crate) wants_loops: bool,
    /// Some task may get a signal.
    pub(crate) signals: bool,
    /// Soft `RLIMIT_RTTIME` of tasks that have had their signal, by slot, us.
    pub(crate) rttime_us: BTreeMap<u32, u64>,
    /// The CPU whose program is being executed; its task is looked at when the step is over.
    pub(crate) active: u32,
    pub(crate) resched: CpuList,
    pub(crate) ready: CpuList,
    /// CPUs that run a task.
    pub(crate) running: u32,
    /// Ticks and slice ends that are armed: they never make anything happen on their own.
    pub(crate) cpu_timers: usize,
    pub(crate) living: usize,
    pub(crate) next_pid: u32,
    /// Tasks to start, the latest first.
    pub(crate) starts: Vec<u32>,
    /// How often each template was forked.
    pub(crate) forks: Vec<u64>,
    pub(crate) info: TaskInfo,
    pub(crate) end: Option<End>,
}

impl<'w, S: Sink> Machine<'w, S> {
    /// A machine at time 0, with nothing started yet.
    ///
    /// # Errors
    /// If the configuration or the workload makes no sense.
    pub fn new(
        config: &MachineConfig,
        workload: &'w Workload,
        sink: S,
    ) -> Result<Self, SetupError> {
        let mut sched = Scheduler::new(&SchedConfig {
            profile: config.profile,
            features: config.features,
            base_slice_ns: config.base_slice_ns,
            cpus: config.cpus,
            hz: config.hz,
            smp: SmpConfig {
                seed: config.seed,
                numa: config.smp.numa.filter(|_| has_pages(workload)),
                ..config.smp.clone()
            },
        })
        .map_err(SetupError::Scheduler)?;
        if config.tick_phase_ns >= 1_000_000_000_u64.div_ceil(u64::from(config.hz)) {
            return Err(SetupError::TickPhase(config.tick_phase_ns));
        }
        check_sizes(config.cpus, workload)?;
        let group_ids = groups::create(&mut sched, config, workload)?;
        let code = Code::new(workload, config.cpus, sink.wants_loops())?;
        let layout = Layout::new(config.cpus, workload);
        let map = QueueMap::new(workload);
        let starts = starts(workload)?;
        sched.reserve(starts.len());
        let mut machine = Self {
            sched,
            now: 0,
            events: EventQueue::new(layout.tasks as usize + starts.len()),
            layout,
            tasks: Vec::with_capacity(starts.len()),
            details: Vec::with_capacity(starts.len()),
            cpus: (0..config.cpus).map(|cpu| new_cpu(config, cpu)).collect(),
            code,
            waits: vec![WaitQueue::default(); map.end as usize],
            map,
            owners: vec![None; workload.mutexes.len()],
            any_inherits: workload.mutexes.iter().any(|mutex| mutex.inherits),
            held: BTreeMap::new(),
            arrived: vec![0; workload.barriers.len()],
            semaphores: workload.semaphores.iter().map(|semaphore| semaphore.value).collect(),
            timers: vec![None; workload.timers.len()],
            devices: vec![DeviceState::default(); workload.devices.len()],
            queues: (0..workload.queues.len()).map(|i| QueueState::new(config.seed, i)).collect(),
            group_ids,
            group_times: vec![GroupTimes::default(); workload.groups.len()],
            costs: config.costs,
            speed: Speed::new(&config.speed, config.smp.topology.as_ref(), config.cpus, workload)?,
            pages: Pages::new(config, workload)?,
            scans: Vec::new(),
            interrupts: config.costs.idle_exit_ns > 0
                || config.costs.interrupts != Interrupts::NONE
                || !workload.interrupts.is_empty(),
            irqs: irq::sources(workload, config.cpus, config.seed)?,
            any_nohz_full: cpus_without_ticks(config) > 0,
            housekeeper: housekeeper(config)?,
            default_affinity: default_affinity(config),
            interrupt_ns: 0,
            interrupt_rng: Rng::stream(config.seed, Stream::Interrupt, 0),
            instant_steps: 0,
            idle_steps: BTreeMap::new(),
            idle_steps_at: 0,
            counts: Counts::default(),
            preemption: config.preemption,
            seed: config.seed,
            hz: u64::from(config.hz),
            duration_ns: config.duration_ns,
            wants_values: sink.wants_values(),
            wants_loops: sink.wants_loops(),
            signals: workload.tasks.iter().any(|task| task.rttime.is_some()),
            rttime_us: BTreeMap::new(),
            sink,
            active: NONE,
            resched: CpuList::default(),
            ready: CpuList::default(),
            running: 0,
            cpu_timers: 0,
            living: 0,
            next_pid: 1,
            starts,
            forks: vec![0; workload.tasks.len()],
            info: TaskInfo {
                slot: Slot(0),
                pid: 0,
                name: String::new(),
                attr: Attr::default(),
                forked_from: None,
                group: None,
            },
            workload,
            end: None,
        };
        machine.announce_groups();
        machine.take_outputs();
        machine.arm_starter();
        machine.arm_first_arrivals();
        machine.arm_first_interrupts();
        Ok(machine)
    }

    fn arm_first_arrivals(&mut self) {
        for (index, state) in self.queues.iter_mut().enumerate() {
            let queue = &self.workload.queues[index];
            let slot = self.layout.queue(index as u32);
            self.events.arm(slot, state.next_arrival(queue, queue.start_ns).unwrap_or(u64::MAX));
        }
    }

    /// Runs to the configured duration, or until all tasks have exited, whichever is first.
    ///
    /// # Errors
    /// If the workload cannot go on, or the core refuses an input.
    pub fn run(&mut self) -> Result<RunSummary, RunError> {
        self.run_until(self.duration_ns)?;
        self.finish();
        Ok(self.summary())
    }

    /// Handles everything up to and including this time, but not beyond the configured duration.
    /// False when the run is over. A caller that steps calls [`finish`](Self::finish) at the end.
    ///
    /// # Errors
    /// If the workload cannot go on, or the core refuses an input.
    pub fn run_until(&mut self, until_ns: u64) -> Result<bool, RunError> {
        self.run_loop(until_ns).map_err(|error| *error)
    }

    fn run_loop(&mut self, until_ns: u64) -> Done<bool> {
        let until_ns = until_ns.min(self.duration_ns);
        while self.end.is_none() {
            match self.events.take_until(until_ns) {
                Some((time_ns, slot)) => {
                    if time_ns != self.now {
                        self.now = time_ns;
                        self.instant_steps = 0;
                    }
                    self.handle(slot as u32)?;
                    self.settle()?;
                    self.check_end()?;
                }
                None => {
                    self.now = self.now.max(until_ns);
                    if self.now >= self.duration_ns {
                        self.end = Some(End::Duration);
                    }
                    return Ok(self.end.is_none());
                }
            }
        }
        Ok(false)
    }

    /// Accounts everything up to now and tells the sink that the stream has ended. [`run`](Self::run)
    /// does this itself.
    pub fn finish(&mut self) {
        for cpu in 0..self.cpus.len() as u32 {
            self.account(cpu);
        }
        self.sink.finish(self.now);
    }

    /// What the run was so far.
    pub fn summary(&self) -> RunSummary {
        let counts = self.counts;
        RunSummary {
            end_ns: self.now,
            end: self.end.clone().unwrap_or(End::Duration),
            events: counts.events,
            switches: counts.switches,
            wakeups: counts.wakeups,
            spawned: counts.spawned,
            exited: counts.exited,
            migrations: counts.migrations,
            cpus: self
                .cpus
                .iter()
                .map(|cpu| CpuSummary {
                    busy_ns: cpu.busy_ns,
                    overhead_ns: cpu.overhead_ns,
                    ticks: cpu.tick_count,
                    interrupts: cpu.irq_count,
                    interrupt_ns: cpu.irq_ns,
                })
                .collect(),
            queues: self.queues.iter().map(|queue| queue.counts).collect(),
            groups: self.group_summaries(),
            forsaken: self.forsaken(),
            lost_ns: self.lost_times(),
            memory: self.memory_summaries(),
        }
    }

    /// Tasks that have waited for other tasks for more than half of the time so far.
    fn forsaken(&self) -> Vec<(Waiting, u64)> {
        let waits = |task: &u32| {
            let state = &self.tasks[*task as usize];
            let since_ns = self.details[*task as usize].blocked_ns;
            state.alive
                && state.blocked
                && state.waits_in < self.map.receivers
                && since_ns < self.now / 2
        };
        let forsaken = (0..self.tasks.len() as u32).filter(waits).take(NAMED_WAITERS);
        forsaken.map(|task| (self.waiting(task), self.details[task as usize].blocked_ns)).collect()
    }

    /// The simulated time.
    pub fn now_ns(&self) -> u64 {
        self.now
    }

    /// When the next event is due, if anything is.
    pub fn next_event_ns(&self) -> Option<u64> {
        self.events.first_ns()
    }

    /// The scheduler core.
    pub fn scheduler(&self) -> &Scheduler {
        &self.sched
    }

    /// The scheduler core, to have it record decisions. Inputs belong to the machine.
    pub fn scheduler_mut(&mut self) -> &mut Scheduler {
        &mut self.sched
    }

    /// The sink.
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Gives the sink back.
    pub fn into_sink(self) -> S {
        self.sink
    }

    #[inline(always)]
    pub(crate) fn emit(&mut self, event: Event) {
        self.sink.event(self.now, &event);
    }

    #[cold]
    pub(crate) fn refused(&self, error: slicewise_sched::Error) -> Box<RunError> {
        Box::new(RunError::Scheduler { at_ns: self.now, error })
    }

    /// The same, where a task may have asked for what a kernel refuses.
    #[cold]
    pub(crate) fn refused_to(&self, spec: u32, error: slicewise_sched::Error) -> Box<RunError> {
        let spec = &self.workload.tasks[spec as usize];
        let (task, origin, at_ns) = (spec.name.clone(), spec.origin, self.now);
        match error {
            slicewise_sched::Error::Deadline(refusal) => {
                Box::new(RunError::Refused { task, origin, at_ns, refusal })
            }
            slicewise_sched::Error::RtLimit(refusal) => {
                Box::new(RunError::RtRefused { task, origin, at_ns, refusal })
            }
            _ => self.refused(error),
        }
    }

    #[cold]
    pub(crate) fn misuse(&self, task: u32, what: String) -> Box<RunError> {
        let (task, origin) = self.name(task);
        Box::new(RunError::Misuse { task, origin, at_ns: self.now, what })
    }

    pub(crate) fn name(&self, task: u32) -> (String, Origin) {
        let spec = &self.workload.tasks[self.details[task as usize].spec as usize];
        (spec.name.clone(), spec.origin)
    }

    /// Handles one event. Its slot is disarmed already.
    #[inline]
    fn handle(&mut self, slot: u32) -> Done {
        self.counts.events += 1;
        self.interrupt_ns = self.costs.interrupts.wakeup_ns;
        if slot >= self.layout.tasks {
            self.interrupt_wake(slot - self.layout.tasks)
        } else if slot < self.layout.queues {
            let cpu = slot / CPU_SLOTS;
            match slot % CPU_SLOTS {
                TICK => {
                    self.interrupt_ns = self.costs.interrupts.tick_ns;
                    self.tick(cpu)
                }
                HRTICK => {
                    self.interrupt_ns = self.costs.interrupts.slice_timer_ns;
                    self.hrtick(cpu)
                }
                RESCHEDULE => self.reschedule(cpu),
                DEADLINE => self.bandwidth_timer(cpu, Timer::Deadline),
                FAIR_SERVER => self.bandwidth_timer(cpu, Timer::FairServer),
                RT_PERIOD => self.bandwidth_timer(cpu, Timer::RtPeriod),
                _ => self.advance(cpu),
            }
        } else {
            self.handle_other(slot)
        }
    }

    /// An event of neither a task nor a CPU.
    #[inline(never)]
    fn handle_other(&mut self, slot: u32) -> Done {
        let layout = self.layout;
        if slot < layout.devices {
            self.arrival(slot - layout.queues)
        } else if slot < layout.groups {
            self.device_done(slot - layout.devices)
        } else if slot < layout.interrupts {
            self.group_timer(slot - layout.groups)
        } else if slot < layout.starter {
            self.device_interrupt(slot - layout.interrupts)
        } else {
            self.start_due()
        }
    }

    /// Does all that follows from an event at the same moment.
    #[inline]
    fn settle(&mut self) -> Done {
        self.flush_resched()?;
        while let Some(cpu) = self.ready.pop() {
            self.cpus[cpu as usize].ready = false;
            self.advance(cpu)?;
            self.flush_resched()?;
        }
        Ok(())
    }

    /// Has the task of this CPU go on, or the slot of its work set right, before the next event.
    #[inline]
    pub(crate) fn make_ready(&mut self, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        if !core::mem::replace(&mut state.ready, true) {
            self.ready.push(cpu);
        }
    }

    /// Executes the program of whoever runs on `cpu` until it uses time, and notes when that ends.
    fn advance(&mut self, cpu: u32) -> Done {
        self.active = cpu;
        let done_at = loop {
            let state = &mut self.cpus[cpu as usize];
            let current = state.current;
            let mut task = self.tasks.get_mut(current as usize);
            state.account(self.now, task.as_deref_mut(), &mut self.group_times);
            let Some(task) = task else {
                // Another CPU may have pushed a task here since this one began to idle.
                if state.pending != Pending::Nothing && self.make_way(cpu)? {
                    continue;
                }
                break u64::MAX;
            };
            let overhead_done = self.now.saturating_add(state.overhead_left);
            let done_at = match task.span {
                Span::Work => overhead_done.saturating_add(state.pace.time_for(task.left)),
                Span::Until => overhead_done.max(task.left),
                Span::Forever => u64::MAX,
            };
            let only_overhead = task.left == 0 && task.span == Span::Work && !state.pace.in_debt();
            if (state.pending != Pending::Nothing || state.park) && self.make_way(cpu)? {
                continue;
            }
            if done_at > self.now {
                // Nothing but the machine's own costs is left: the work that comes after them can
                // often be told now, which saves an event.
                if only_overhead && self.foresee(current, done_at)? {
                    let pace = &self.cpus[cpu as usize].pace;
                    break done_at.saturating_add(pace.time_for(self.tasks[current as usize].left));
                }
                break done_at;
            }
            self.step(cpu, current)?;
            // Others first: what this task has just done may concern them.
            self.flush_resched()?;
        };
        self.active = NONE;
        self.events.arm(self.layout.cpu(cpu, 0), done_at);
        Ok(())
    }

    /// The task that runs on `cpu` has been asked to make way: whether it did.
    #[inline(never)]
    fn make_way(&mut self, cpu: u32) -> Done<bool> {
        let state = &self.cpus[cpu as usize];
        let may_park = state.park;
        if state.pending != Pending::Nothing && self.may_switch(cpu) && !self.interrupt_goes_on(cpu)
        {
            self.switch(cpu, Left::Preempted)?;
            return Ok(true);
        }
        Ok(may_park && self.park(cpu)?)
    }

    /// Counts the time since the last call, first against what the machine itself costs, then for
    /// the task.
    #[inline(always)]
    pub(crate) fn account(&mut self, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        let task = self.tasks.get_mut(state.current as usize);
        state.account(self.now, task, &mut self.group_times);
    }

    /// Whether the preemption model lets the current task of `cpu` be taken off now.
    #[inline]
    fn may_switch(&self, cpu: u32) -> bool {
        let state = &self.cpus[cpu as usize];
        if state.current == NONE || !self.tasks[state.current as usize].kernel {
            return true;
        }
        match self.preemption {
            Preemption::None | Preemption::Voluntary => false,
            Preemption::Full => true,
            Preemption::Lazy => state.pending == Pending::Now,
        }
    }

    /// Takes what the core wants done. Requests to reschedule are only noted.
    #[inline(always)]
    pub(crate) fn take_outputs(&mut self) {
        if self.sched.has_output() {
            self.take_all_outputs();
        }
    }

    #[inline(never)]
    fn take_all_outputs(&mut self) {
        while let Some(output) = self.sched.next_output() {
            match *output {
                Output::Reschedule { cpu, lazy } => self.note_resched(cpu, lazy),
                Output::ArmTimer { cpu, timer: Timer::HrTick, at_ns } => {
                    self.arm_slice_timer(cpu, at_ns);
                }
                other => {
                    cold_path();
                    self.take_output(other);
                }
            }
        }
    }

    /// The CPU is to choose again.
    #[inline(always)]
    fn note_resched(&mut self, cpu: CpuId, lazy: bool) {
        let state = &mut self.cpus[cpu.index()];
        let wanted = if lazy { Pending::Lazy } else { Pending::Now };
        state.pending = state.pending.max(wanted);
        if !core::mem::replace(&mut state.listed, true) {
            self.resched.push(cpu.0);
        }
    }

    #[inline(always)]
    fn arm_slice_timer(&mut self, cpu: CpuId, at_ns: u64) {
        let late_ns = self.spread(self.costs.slice_timer_ns);
        let at_ns = at_ns.saturating_add(late_ns);
        self.arm_cpu_timer(cpu.0, HRTICK, at_ns.max(self.now));
    }

    /// Any but the commonest.
    #[inline(never)]
    fn take_output(&mut self, output: Output) {
        match output {
            Output::Reschedule { cpu, lazy } => self.note_resched(cpu, lazy),
            Output::ArmTimer { cpu, timer: Timer::HrTick, at_ns } => {
                self.arm_slice_timer(cpu, at_ns);
            }
            Output::DisarmTimer { cpu, timer: Timer::HrTick } => {
                self.arm_cpu_timer(cpu.0, HRTICK, u64::MAX);
            }
            Output::ArmTimer { cpu, timer, at_ns } => {
                self.arm_bandwidth_timer(cpu.0, timer, at_ns);
            }
            Output::DisarmTimer { cpu, timer } => {
                self.arm_bandwidth_timer(cpu.0, timer, u64::MAX);
            }
            Output::DlThrottled { task, cpu, stops } => {
                let task = Slot(task.slot() as u32);
                self.emit(Event::Budget { task, cpu, stops });
            }
            Output::RtThrottled { group, cpu, stops } => {
                let group = group.map(|group| group.index() as u32);
                self.emit(Event::RtThrottle { group, cpu, stops });
            }
            Output::Overrun { task } => self.overrun(task.slot() as u32),
            Output::Migrated { task, from, to } => {
                let slot = Slot(task.slot() as u32);
                self.tasks[slot.index()].cpu = to.0;
                self.counts.migrations += 1;
                self.emit(Event::Migrate { task: slot, from, to });
                self.note_queued(to.0);
            }
            Output::NumaScan { task } => self.scans.push(task),
            Output::ArmGroupTimer { group, timer, at_ns } => {
                let slot = self.layout.group_timer(group, timer);
                self.events.arm(slot, at_ns);
            }
            Output::DisarmGroupTimer { group, timer } => {
                let slot = self.layout.group_timer(group, timer);
                self.events.disarm(slot);
            }
            Output::Park { cpu } => {
                self.cpus[cpu.index()].park = true;
                self.list(cpu.0);
            }
            Output::Throttled { group, cpu, stops } => {
                self.emit(Event::Throttle { group: group.index() as u32, cpu, stops });
            }
        }
    }

    pub(crate) fn list(&mut self, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        if !core::mem::replace(&mut state.listed, true) {
            self.resched.push(cpu);
        }
    }

    /// Reschedules the CPUs that are to, where the preemption model allows it now.
    #[inline]
    pub(crate) fn flush_resched(&mut self) -> Done {
        if self.resched.is_empty() { Ok(()) } else { self.resched_listed() }
    }

    fn resched_listed(&mut self) -> Done {
        while let Some(cpu) = self.resched.pop() {
            let state = &mut self.cpus[cpu as usize];
            state.listed = false;
            if cpu == self.active {
                continue;
            }
            if state.park {
                cold_path();
                self.account(cpu);
                self.park(cpu)?;
            }
            if self.cpus[cpu as usize].pending != Pending::Nothing && self.may_switch(cpu) {
                // An idle CPU has to be told and to come out of its idle state.
                if self.costs.idle_exit_ns > 0 && self.cpus[cpu as usize].current == NONE {
                    cold_path();
                    self.reschedule_later(cpu);
                    continue;
                }
                // No program is being executed: an interrupt asks.
                if self.interrupt_ns > 0 && self.active == NONE {
                    cold_path();
                    self.reschedule_later(cpu);
                    continue;
                }
                // It will at the end of that.
                if self.cpus[cpu as usize].irq_until_ns > self.now {
                    continue;
                }
                self.account(cpu);
                self.switch(cpu, Left::Preempted)?;
            }
        }
        Ok(())
    }

    /// The pick an interrupt has asked for comes at its end.
    fn reschedule_later(&mut self, cpu: u32) {
        if !self.interrupt_goes_on(cpu) {
            let idle = self.cpus[cpu as usize].current == NONE;
            let length_ns = match idle {
                true if self.active == NONE => self.interrupt_ns.max(self.costs.idle_exit_ns),
                true => self.costs.idle_exit_ns,
                false => self.spread(self.interrupt_ns),
            };
            let at_ns = self.now.saturating_add(length_ns);
            self.events.arm(self.layout.cpu(cpu, RESCHEDULE), at_ns);
        }
    }

    /// About this long.
    #[inline]
    fn spread(&mut self, length_ns: u64) -> u64 {
        match self.costs.interrupts.spread_ns {
            0 => length_ns,
            spread_ns => {
                cold_path();
                self.spread_by(length_ns, spread_ns)
            }
        }
    }

    #[inline(never)]
    fn spread_by(&mut self, length_ns: u64, spread_ns: u64) -> u64 {
        let drawn_ns = self.interrupt_rng.below(spread_ns.saturating_add(1));
        length_ns.saturating_add(drawn_ns).saturating_sub(spread_ns / 2)
    }

    fn interrupt_goes_on(&self, cpu: u32) -> bool {
        self.interrupts && self.events.is_armed(self.layout.cpu(cpu, RESCHEDULE))
    }

    fn reschedule(&mut self, cpu: u32) -> Done {
        if self.cpus[cpu as usize].pending != Pending::Nothing && self.may_switch(cpu) {
            self.account(cpu);
            self.switch(cpu, Left::Preempted)?;
        }
        Ok(())
    }

    /// Lets the core choose for a CPU. The CPU must be accounted.
    pub(crate) fn switch(&mut self, cpu: u32, left: Left) -> Done {
        self.instant_steps += 1;
        if self.instant_steps > INSTANT_STEPS_MIN && self.instant_steps > self.instant_limit() {
            return Err(self.no_progress(self.cpus[cpu as usize].current));
        }
        let state = &mut self.cpus[cpu as usize];
        (state.pending, state.park) = (Pending::Nothing, false);
        let prev = state.current;
        if self.interrupts {
            self.events.disarm(self.layout.cpu(cpu, RESCHEDULE));
        }
        let result = self.sched.schedule(self.now, CpuId(cpu));
        let Switch { next: next_id, .. } = result.map_err(|error| self.refused(error))?;
        self.take_outputs();
        let next = next_id.map_or(NONE, |task| task.slot() as u32);
        if prev == next {
            return Ok(());
        }
        self.counts.switches += 1;
        if self.wants_values {
            self.emit_values(cpu, prev);
        }
        if prev != NONE && next != NONE {
            let (prev, next) = (Some(Slot(prev)), Some(Slot(next)));
            self.emit(Event::Switch { cpu: CpuId(cpu), prev, left, next });
        } else {
            self.emit_idle_switch(cpu, prev, left, next);
        }
        if self.wants_values {
            self.emit_values(cpu, next);
        }
        let state = &mut self.cpus[cpu as usize];
        state.current = next;
        if next != NONE {
            state.overhead_left = state.overhead_left.saturating_add(self.costs.context_switch_ns);
        }
        if cpu != self.active && !core::mem::replace(&mut state.ready, true) {
            self.ready.push(cpu);
        }
        if self.speed.is_some() || self.pages.is_some() {
            cold_path();
            self.change_pace(cpu, prev, next);
            self.pages_switch(cpu, prev, next)?;
        }
        if next == NONE {
            self.running -= 1;
            return Ok(());
        }
        self.tasks[next as usize].cpu = cpu;
        if self.signals {
            cold_path();
            self.send_signal(next);
        }
        if prev == NONE {
            self.running += 1;
            self.start_ticking(cpu);
        } else {
            self.note_queued(cpu);
        }
        Ok(())
    }

    /// A switch from or to idleness.
    #[inline(never)]
    fn emit_idle_switch(&mut self, cpu: u32, prev: u32, left: Left, next: u32) {
        let slot = |task: u32| (task != NONE).then_some(Slot(task));
        let left = if prev != NONE { left } else { Left::Idle };
        self.emit(Event::Switch { cpu: CpuId(cpu), prev: slot(prev), left, next: slot(next) });
    }

    #[cold]
    fn emit_values(&mut self, cpu: u32, task: u32) {
        let Some(state) = self.tasks.get(task as usize) else { return };
        if let Some((vruntime_ns, lag_ns)) = self.sched.fair_values(state.id) {
            let task = Slot(task);
            self.emit(Event::Values { task, cpu: CpuId(cpu), vruntime_ns, lag_ns });
        }
    }

    /// Wakes a blocked task.
    #[inline]
    pub(crate) fn wake(&mut self, task: u32, waker: Option<u32>) -> Done {
        let now = self.now;
        let by = waker.map(|waker| self.tasks[waker as usize].id);
        let woken = &mut self.tasks[task as usize];
        woken.blocked = false;
        if !woken.job {
            woken.job = true;
            woken.release_ns = now;
        }
        let cpu = match self.sched.wake(now, woken.id, Wake { waker: by, ..Wake::default() }) {
            Ok(cpu) => cpu.unwrap_or(CpuId(woken.cpu)),
            Err(error) => return Err(self.refused(error)),
        };
        woken.cpu = cpu.0;
        while let Some(output) = self.sched.next_output() {
            match *output {
                Output::Reschedule { cpu, lazy } => self.note_resched(cpu, lazy),
                other => {
                    cold_path();
                    self.take_output(other);
                }
            }
        }
        self.counts.wakeups += 1;
        self.emit(Event::Wakeup { task: Slot(task), cpu, waker: waker.map(Slot), new: false });
        self.note_queued(cpu.0);
        self.flush_resched()
    }

    /// The running task of `cpu` goes to sleep. Waiting for a mutex is part of the job it does; any
    /// other sleep ends it.
    #[inline]
    pub(crate) fn block(&mut self, cpu: u32, task: u32) -> Done {
        let state = &mut self.tasks[task as usize];
        if state.waits_in as usize >= self.owners.len() {
            state.end_job(task, self.now, &mut self.sink);
        }
        state.blocked = true;
        state.kernel = false;
        if state.waits_in != NONE {
            self.details[task as usize].blocked_ns = self.now;
        }
        self.sched.block(self.now, CpuId(cpu)).map_err(|error| self.refused(error))?;
        self.take_outputs();
        self.switch(cpu, Left::Blocked)
    }

    /// The job under way, if any, is done.
    #[inline]
    pub(crate) fn end_job(&mut self, task: u32) {
        self.tasks[task as usize].end_job(task, self.now, &mut self.sink);
    }

    /// Steps and switches there may be at one moment before they count as endless.
    #[inline]
    pub(crate) fn instant_limit(&self) -> u64 {
        INSTANT_STEPS_MIN + 100 * self.living as u64
    }

    #[cold]
    pub(crate) fn no_progress(&self, task: u32) -> Box<RunError> {
        let (task, origin) = match self.tasks.get(task as usize) {
            Some(_) => self.name(task),
            None => ("idle".to_owned(), Origin::default()),
        };
        Box::new(RunError::NoProgress { task, origin, at_ns: self.now })
    }

    #[inline]
    fn check_end(&mut self) -> Done {
        if self.running > 0 {
            return Ok(());
        }
        if self.living == 0 && self.starts.is_empty() {
            self.end = Some(End::Exited);
        } else if self.events.armed() <= self.cpu_timers {
            return self.stuck();
        }
        Ok(())
    }

    /// Nothing can happen any more, but tasks still wait.
    #[cold]
    fn stuck(&mut self) -> Done {
        let waiters = || (0..self.tasks.len() as u32).filter(|t| self.tasks[*t as usize].alive);
        let (receivers, rooms) = (self.map.receivers, self.map.rooms);
        let served = |task: u32| (receivers..rooms).contains(&self.tasks[task as usize].waits_in);
        if waiters().all(served) {
            self.end = Some(End::Served);
            return Ok(());
        }
        // Those that cause it first: servers without requests only wait for the others.
        let named = waiters().filter(|task| !served(*task));
        let waiting: Vec<Waiting> =
            named.take(NAMED_WAITERS).map(|task| self.waiting(task)).collect();
        if self.workload.stuck_is_end {
            self.end = Some(End::Stuck(waiting));
            return Ok(());
        }
        Err(Box::new(RunError::Stuck { at_ns: self.now, tasks: self.living, waiting }))
    }
}

/// The tasks to start, the latest first; of those that start together the last first.
fn starts(workload: &Workload) -> Result<Vec<u32>, SetupError> {
    let mut starts: Vec<u32> = (0..workload.tasks.len() as u32)
        .filter(|spec| !workload.tasks[*spec as usize].template)
        .collect();
    if starts.len() > TASKS_MAX {
        return Err(SetupError::TooMany("tasks"));
    }
    starts.sort_by_key(|spec| workload.tasks[*spec as usize].start_ns);
    starts.reverse();
    Ok(starts)
}

/// Everything must fit into 32-bit indices and the event queue.
fn check_sizes(cpus: u32, workload: &Workload) -> Result<(), SetupError> {
    let lists = [
        ("tasks", workload.tasks.len()),
        ("programs", workload.programs.len()),
        ("mutexes", workload.mutexes.len()),
        ("condition variables", workload.conditions.len()),
        ("barriers", workload.barriers.len()),
        ("semaphores", workload.semaphores.len()),
        ("timers", workload.timers.len()),
        ("devices", workload.devices.len()),
        ("queues", workload.queues.len()),
        ("groups", workload.groups.len()),
        ("interrupts", workload.interrupts.len()),
    ];
    // Those that events are of fill half of the event queue's numbers at most; living tasks and
    // groups' places among them take the rest.
    match lists.iter().find(|(_, length)| *length > SLOTS_MAX / 16) {
        Some((what, _)) => Err(SetupError::TooMany(what)),
        None if cpus as usize * CPU_SLOTS as usize > SLOTS_MAX / 16 => {
            Err(SetupError::TooMany("CPUs"))
        }
        None => Ok(()),
    }
}
