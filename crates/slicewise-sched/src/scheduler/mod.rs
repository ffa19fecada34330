//! The scheduler: runqueues of all CPUs, the order of the classes, and what each input does.
//!
//! This file holds the state and the inputs; [`classes`] puts tasks on and off the queues of their
//! class and picks, and [`plain`] does so where nothing special is to be minded; [`groups`] is for the
//! fair class where there are task groups; [`deadline`] has budgets and timers of deadline tasks,
//! [`fair_server`] and [`rt_bandwidth`] what protects fair tasks from all above them, [`inherit`]
//! priorities that are lent; [`placement`] chooses CPUs; [`inspect`] shows what is inside.

mod adopt;
mod classes;
mod deadline;
mod fair_server;
mod groups;
mod inherit;
mod inspect;
mod placement;
mod plain;
mod rt_bandwidth;
mod smp;
mod stolen;
#[cfg(test)]
mod tests;

use core::fmt;
use std::collections::VecDeque;

use self::deadline::{Deadlines, Timers};
use self::groups::Groups;
use self::placement::IdleCpus;
use self::rt_bandwidth::RtBandwidth;
pub use self::smp::SmpConfig;
use self::smp::load::{CpuLoad, Loads};
use self::smp::wake::Waking;
use self::smp::{Smp, TopologySize};
use crate::deadline::queue::DlQueue;
use crate::deadline::{Refusal, RootDomain};
use crate::fair::{Algorithm, Entity, FairParams, FairQueue, Wakeup};
use crate::pelt::LoadAverage;
use crate::rt::{RtEntity, RtQueue};
use crate::task::{NO_DL, PolicyKind, ROOT, State, Task, Tasks};
use crate::weight::Load;
use crate::{
    Attr, CPUS_MAX, Class, CpuId, CpuSet, Decision, Error, Features, GroupQueueing, Input, Nice,
    Output, Policy, Profile, Rule, Spawn, Switch, TaskId, Timer, Wake,
};

/// What a scheduler is built for.
#[derive(Clone, Debug)]
pub struct SchedConfig {
    /// The kernel.
    pub profile: Profile,
    /// Its switches; start from `profile.features`.
    pub features: Features,
    /// Effective base slice (EEVDF) or minimum granularity (CFS), ns, instead of the profile's,
    /// which is scaled by the number of CPUs.
    pub base_slice_ns: Option<u64>,
    /// How many CPUs, 1 to [`CPUS_MAX`].
    pub cpus: u32,
    /// Ticks a second, 1 to 10,000.
    pub hz: u32,
    /// What several CPUs are like, and how they are balanced.
    pub smp: SmpConfig,
}

/// Why no scheduler can be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// Not 1 to [`CPUS_MAX`].
    Cpus(u32),
    /// Not 1 to 10,000.
    Hz(u32),
    /// The topology is of another machine.
    Topology(TopologySize),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpus(cpus) => write!(f, "{cpus} CPUs: must be 1 to {CPUS_MAX}"),
            Self::Hz(hz) => write!(f, "{hz} ticks a second: must be 1 to 10000"),
            Self::Topology(size) => size.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Whether a CPU has been asked to reschedule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Resched {
    No,
    Lazy,
    Now,
}

/// One CPU's runqueue. What nearly all events touch comes first.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Cpu {
    /// Who runs.
    current: Option<u32>,
    resched: Resched,
    hrtick_armed: bool,
    /// Its real-time tasks have used up what they may of this period.
    rt_throttled: bool,
    /// The fair server counts what fair tasks get.
    server_active: bool,
    record: bool,
    /// Two or more are queued, and balancing has been told.
    crowded: bool,
    /// The deadline entity of its fair server, if the kernel has those.
    server: u32,
    /// What the running fair task had run in all when the server was told last.
    server_mark: u64,
    /// Fair tasks below the root less group entities at the root: what the root queue's own counts
    /// are off by. Always 0 without groups.
    below: groups::Below,
    /// Real-time tasks that groups have ready to run, less the entities of these groups. Always 0
    /// without RT_GROUP_SCHED.
    rt_below: i32,
    dl: DlQueue,
    load: CpuLoad,
    fair: FairQueue,
    /// Utilisation by real-time and deadline tasks.
    load_above: LoadAverage,
    rt: RtQueue,
    stop: VecDeque<u32>,
    /// Up to when the running task of another class, or idleness, is accounted.
    exec_start_ns: u64,
    /// What real-time tasks have used of the period.
    rt_time_ns: u64,
    /// Of deadline tasks, and of the fair server.
    dl_timers: Box<[Timers; 2]>,
    decision: Option<Box<Decision>>,
}

impl Cpu {
    fn new() -> Self {
        Self {
            stop: VecDeque::new(),
            dl: DlQueue::default(),
            rt: RtQueue::new(),
            fair: FairQueue::new(),
            below: groups::Below::default(),
            rt_below: 0,
            current: None,
            resched: Resched::No,
            hrtick_armed: false,
            rt_throttled: false,
            server_active: false,
            server: NO_DL,
            server_mark: 0,
            exec_start_ns: 0,
            rt_time_ns: 0,
            dl_timers: Default::default(),
            decision: None,
            record: false,
            load: CpuLoad::default(),
            load_above: LoadAverage::default(),
            crowded: false,
        }
    }

    /// Asks the host to reschedule, once. A request to an idle CPU is never lazy.
    #[inline(always)]
    fn request_resched(&mut self, cpu: u32, how: Resched, outputs: &mut Vec<Output>) {
        let how = if self.current.is_none() { Resched::Now } else { how };
        if self.resched < how {
            self.resched = how;
            let lazy = how == Resched::Lazy;
            outputs.push(Output::Reschedule { cpu: CpuId(cpu), lazy });
        }
    }

    /// Turns the fair queue's wish for a new pick into a request to the host.
    #[inline(always)]
    fn take_fair_resched(&mut self, cpu: u32, lazy: bool, outputs: &mut Vec<Output>) {
        if core::mem::replace(&mut self.fair.resched, false) {
            let how = if lazy { Resched::Lazy } else { Resched::Now };
            self.request_resched(cpu, how, outputs);
        }
    }

    /// Everyone queued, delayed ones included: the kernel's `nr_running`.
    #[inline]
    fn nr_running(&self) -> u32 {
        self.nr_above_fair() + self.nr_fair_queued()
    }

    /// Everyone who wants to run and may.
    #[inline]
    fn nr_runnable(&self) -> u32 {
        self.nr_above_fair() + self.nr_fair_runnable()
    }

    #[inline]
    fn nr_above_fair(&self) -> u32 {
        let rt = self.rt.nr_queued.wrapping_add_signed(self.rt_below);
        let rt = if self.rt_throttled { 0 } else { rt };
        self.stop.len() as u32 + self.dl.nr_tasks + rt
    }

    #[inline]
    fn has_server(&self) -> bool {
        self.server != NO_DL
    }

    /// Fair tasks queued at any level.
    #[inline]
    fn nr_fair_queued(&self) -> u32 {
        self.fair.nr_queued.wrapping_add_signed(self.below.queued)
    }

    /// Of those, not delayed.
    #[inline]
    fn nr_fair_runnable(&self) -> u32 {
        self.fair.nr_runnable.wrapping_add_signed(self.below.runnable)
    }
}

/// The scheduler. See [`host`](crate::host) for how it is driven.
#[derive(Clone, Debug)]
pub struct Scheduler {
    profile: Profile,
    params: FairParams,
    rr_ticks: u16,
    now_ns: u64,
    cpus: Vec<Cpu>,
    tasks: Tasks,
    /// By the slot of the task.
    entities: Vec<Entity>,
    outputs: Vec<Output>,
    /// How many of them the host has taken; when it has all, the list is emptied.
    outputs_taken: usize,
    /// CPUs that run nothing and have nothing queued.
    idle: IdleCpus,
    /// Some task has or had policy IDLE; policy STOP.
    any_idle_policy: bool,
    any_stop_policy: bool,
    /// Real-time tasks queued, running ones included, on all CPUs.
    nr_rt_queued: u32,
    /// Of those, not running.
    nr_rt_waiting: u32,
    /// Tasks that run where they may not any more.
    nr_must_move: u32,
    groups: Groups,
    loads: Loads,
    smp: Smp,
    deadlines: Deadlines,
    /// Real-time throttling, where the kernel has it and it is on.
    rt_bandwidth: Option<RtBandwidth>,
}

impl Scheduler {
    /// A machine with idle CPUs and no tasks.
    ///
    /// # Errors
    /// If the number of CPUs or ticks is out of range.
    pub fn new(config: &SchedConfig) -> Result<Self, ConfigError> {
        if !(1..=CPUS_MAX).contains(&config.cpus) {
            return Err(ConfigError::Cpus(config.cpus));
        }
        if !(1..=10_000).contains(&config.hz) {
            return Err(ConfigError::Hz(config.hz));
        }
        let params = FairParams::new(
            config.profile.fair,
            config.features,
            config.cpus,
            config.hz,
            config.base_slice_ns,
        );
        let rt = config.profile.rt;
        let smp = Smp::new(&config.smp, config.profile.smp.intervals, config.cpus, config.hz)
            .map_err(ConfigError::Topology)?;
        let root_domains = smp.root_domain_sizes();
        let mut scheduler = Self {
            profile: config.profile,
            params,
            rr_ticks: rr_ticks(rt.rr_timeslice_ms, config.hz),
            now_ns: 0,
            cpus: (0..config.cpus).map(|_| Cpu::new()).collect(),
            tasks: Tasks::default(),
            entities: Vec::new(),
            outputs: Vec::new(),
            outputs_taken: 0,
            idle: IdleCpus::all(config.cpus),
            any_idle_policy: false,
            any_stop_policy: false,
            nr_rt_queued: 0,
            nr_rt_waiting: 0,
            nr_must_move: 0,
            groups: Groups::new(&rt, config.cpus),
            loads: Loads::new(config.cpus, matches!(config.profile.groups, GroupQueueing::Flat(_))),
            smp,
            deadlines: Deadlines::new(
                root_domains.into_iter().map(|cpus| RootDomain::new(&rt, cpus)).collect(),
            ),
            rt_bandwidth: RtBandwidth::new(&rt),
        };
        if let Some(server) = rt.fair_server {
            scheduler.add_servers(server);
        }
        Ok(scheduler)
    }

    /// Any input, for hosts that keep them as values.
    ///
    /// # Errors
    /// As the method named like the input.
    pub fn handle(&mut self, now_ns: u64, input: Input) -> Result<(), Error> {
        match input {
            Input::Spawn(spawn) => self.spawn(now_ns, spawn).map(drop),
            Input::BeginExit(cpu) => self.begin_exit(now_ns, cpu),
            Input::Exit(task) => self.exit(now_ns, task),
            Input::Wake(task, wake) => self.wake(now_ns, task, wake).map(drop),
            Input::Block(cpu) => self.block(now_ns, cpu),
            Input::Yield(cpu) => self.yield_now(now_ns, cpu),
            Input::Tick(cpu) => self.tick(now_ns, cpu),
            Input::TimerFired(cpu, timer) => self.timer_fired(now_ns, cpu, timer),
            Input::SetAttr(task, attr) => self.set_attr(now_ns, task, attr),
            Input::SetAffinity(task, affinity) => self.set_affinity(now_ns, task, affinity),
            Input::Migrate(task, cpu) => self.migrate(now_ns, task, cpu),
            Input::Schedule(cpu) => self.schedule(now_ns, cpu).map(drop),
        }
    }

    /// Makes room for this many tasks in all, so that spawning them allocates nothing.
    pub fn reserve(&mut self, tasks: usize) {
        self.tasks.slots.reserve(tasks.saturating_sub(self.tasks.slots.len()));
        self.entities.reserve(tasks.saturating_sub(self.entities.len()));
        self.reserve_lists(tasks);
    }

    /// Whether the host has anything to do.
    #[inline]
    pub fn has_output(&self) -> bool {
        self.outputs_taken < self.outputs.len()
    }

    /// As [`output`](Self::output), in place: cheaper where most are told apart by a field or two.
    /// To be called until there is no more.
    #[inline]
    pub fn next_output(&mut self) -> Option<&Output> {
        if self.outputs_taken >= self.outputs.len() {
            self.outputs.clear();
            self.outputs_taken = 0;
            return None;
        }
        self.outputs_taken += 1;
        self.outputs.get(self.outputs_taken - 1)
    }

    /// The next thing the host has to do, in order; `None` when there is no more.
    #[inline]
    pub fn output(&mut self) -> Option<Output> {
        let output = *self.outputs.get(self.outputs_taken)?;
        self.outputs_taken += 1;
        if self.outputs_taken == self.outputs.len() {
            self.outputs.clear();
            self.outputs_taken = 0;
        }
        Some(output)
    }

    /// Creates a task and makes it runnable. Without [`Spawn::cpu`], the core chooses where.
    ///
    /// # Errors
    /// If it may run nowhere, the CPU does not exist or is not allowed, the parent is unknown, or the
    /// kernel would refuse it its policy.
    pub fn spawn(&mut self, now_ns: u64, spawn: Spawn) -> Result<TaskId, Error> {
        let now_ns = self.advance(now_ns);
        let parent = spawn.parent.map(|parent| self.tasks.find(parent)).transpose()?;
        if let Some(parent) = parent.map(|parent| &self.tasks.slots[parent as usize])
            && parent.policy == PolicyKind::Deadline
            && !parent.reset_on_fork
        {
            return Err(Error::Deadline(Refusal::Fork));
        }
        let attr = match parent.map(|parent| &self.tasks.slots[parent as usize]) {
            Some(parent) if parent.reset_on_fork => reset_on_fork(spawn.attr),
            _ => spawn.attr,
        };
        if let Some(cpu) = spawn.cpu {
            self.check_cpu(cpu)?;
            if !spawn.affinity.contains(cpu) {
                return Err(Error::NoAllowedCpu);
            }
        }
        let parent_cpu = parent.map_or(0, |parent| self.tasks.slots[parent as usize].cpu);
        let cpu = match spawn.cpu {
            Some(cpu) => cpu.0,
            None => self.select_fork_cpu(&attr, &spawn.affinity, parent_cpu)?,
        };
        self.check_dl(None, &attr, &spawn.affinity, cpu)?;
        let group = match (spawn.group, parent) {
            (Some(group), _) => self.groups.find(group)?,
            (None, Some(parent)) => self.tasks.slots[parent as usize].group,
            (None, None) => ROOT,
        };
        self.check_rt_group(group, &attr)?;
        let slot = self.add_task(State::Runnable, parent_cpu, attr, spawn.affinity);
        self.tasks.slots[slot as usize].group = group;
        self.fork_into(now_ns, slot, parent_cpu);
        self.tasks.slots[slot as usize].cpu = cpu;
        if let Policy::Deadline(params) = attr.policy {
            self.admit_dl(slot, params);
        }
        self.activate(now_ns, cpu, slot, crate::fair::Enqueue::Initial);
        self.check_preempt(now_ns, cpu, slot, Wakeup { fork: true, ..Wakeup::default() });
        Ok(self.tasks.id(slot))
    }

    /// Wakes a sleeping task and returns the CPU it is queued on; `None` if it was not asleep.
    ///
    /// # Errors
    /// If the task, its waker or the CPU is unknown, or the task may not run there.
    #[inline(always)]
    pub fn wake(&mut self, now_ns: u64, task: TaskId, wake: Wake) -> Result<Option<CpuId>, Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.tasks.find(task)?;
        if let Some(cpu) = wake.cpu {
            self.check_cpu(cpu)?;
            if !self.tasks.slots[slot as usize].affinity.contains(cpu) {
                return Err(Error::NotAllowed(task, cpu));
            }
        }
        if self.tasks.slots[slot as usize].state != State::Sleeping {
            return Ok(None);
        }
        self.tasks.slots[slot as usize].state = State::Runnable;
        self.tasks.slots[slot as usize].rt.ticks_run = 0;
        let prev_cpu = self.tasks.slots[slot as usize].cpu;
        if self.entities[slot as usize].delayed {
            self.wake_delayed(now_ns, prev_cpu, slot);
            self.check_preempt(now_ns, prev_cpu, slot, Wakeup::default());
            return Ok(Some(CpuId(prev_cpu)));
        }
        let waker_cpu = wake
            .waker
            .and_then(|waker| self.tasks.find(waker).ok())
            .map_or(prev_cpu, |waker| self.tasks.slots[waker as usize].cpu);
        let cpu = match wake.cpu {
            Some(cpu) => cpu.0,
            None => self.select_wake_cpu(
                now_ns,
                Waking { slot, prev: prev_cpu, this: waker_cpu, sync: wake.sync },
            ),
        };
        if self.cpus.len() > 1 {
            self.note_idle_end(now_ns, cpu);
        }
        if cpu != prev_cpu || !self.wake_plain(now_ns, cpu, slot) {
            self.wake_on(now_ns, prev_cpu, cpu, slot);
        }
        Ok(Some(CpuId(cpu)))
    }

    /// A sleeper is queued on a CPU.
    #[inline(never)]
    fn wake_on(&mut self, now_ns: u64, prev_cpu: u32, cpu: u32, slot: u32) {
        let how = if cpu == prev_cpu {
            crate::fair::Enqueue::Wakeup
        } else {
            self.detach_sleeper(prev_cpu, slot);
            self.tasks.slots[slot as usize].cpu = cpu;
            self.push_migrated(slot, prev_cpu, cpu);
            crate::fair::Enqueue::WakeupMigrated
        };
        self.activate(now_ns, cpu, slot, how);
        self.check_preempt(now_ns, cpu, slot, Wakeup::default());
    }

    /// The running task goes to sleep. [`schedule`](Self::schedule) must follow.
    ///
    /// # Errors
    /// If the CPU does not exist or is idle.
    #[inline(always)]
    pub fn block(&mut self, now_ns: u64, cpu: CpuId) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.running(cpu)?;
        self.tasks.slots[slot as usize].state = State::Sleeping;
        if !self.block_plain(now_ns, cpu.0, slot) {
            self.deactivate(now_ns, cpu.0, slot, crate::fair::Dequeue::Sleep);
        }
        Ok(())
    }

    /// The running task calls `sched_yield`. [`schedule`](Self::schedule) must follow.
    ///
    /// # Errors
    /// If the CPU does not exist or is idle.
    pub fn yield_now(&mut self, now_ns: u64, cpu: CpuId) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.running(cpu)?;
        let rq = &mut self.cpus[cpu.index()];
        match self.tasks.slots[slot as usize].class {
            Class::Rt => self.requeue_rt(cpu.0, slot, crate::rt::Position::Tail),
            Class::Deadline => self.yield_dl(now_ns, cpu.0, slot),
            Class::Fair if rq.nr_running() > 1 => self.yield_fair(now_ns, cpu.0, slot),
            _ => {}
        }
        Ok(())
    }

    /// The task ends and its id is refused from now on. If it was running,
    /// [`schedule`](Self::schedule) must follow for its CPU; there it appears once more as the
    /// task that left.
    ///
    /// # Errors
    /// If the task is unknown.
    pub fn exit(&mut self, now_ns: u64, task: TaskId) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.tasks.find(task)?;
        let cpu = self.tasks.slots[slot as usize].cpu;
        self.leave_parked(slot);
        if self.queued(slot) {
            self.deactivate(now_ns, cpu, slot, crate::fair::Dequeue::Leave);
        }
        self.detach_load(now_ns, slot);
        self.numa_leave(slot);
        self.exit_dl(slot);
        if self.cpus[cpu as usize].current == Some(slot) {
            self.tasks.slots[slot as usize].state = State::Exiting;
        } else {
            self.tasks.free(slot);
        }
        Ok(())
    }

    /// The running task of a CPU begins to end. It leaves its autogroup first: off its queue and on
    /// again, and a new pick is due, whether or not it is in such a group. Seen on 6.12, 6.18 and
    /// 7.2; without effect on the values of CFS. Once it is done, [`exit`](Self::exit) follows.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn begin_exit(&mut self, now_ns: u64, cpu: CpuId) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        self.check_cpu(cpu)?;
        let Some(slot) = self.cpus[cpu.index()].current else { return Ok(()) };
        let attr = self.attr_of(slot);
        if self.tasks.slots[slot as usize].class == Class::Fair && self.queued(slot) {
            self.change_attr(now_ns, slot, attr);
        }
        self.request_resched(cpu.0, Resched::Now);
        Ok(())
    }

    /// The scheduler tick of a CPU. Does nothing on an idle one.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn tick(&mut self, now_ns: u64, cpu: CpuId) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        self.check_cpu(cpu)?;
        let rq = &mut self.cpus[cpu.index()];
        if rq.resched == Resched::Lazy {
            self.request_resched(cpu.0, Resched::Now);
        }
        let rq = &mut self.cpus[cpu.index()];
        let Some(slot) = rq.current else { return Ok(()) };
        match self.tasks.slots[slot as usize].class {
            Class::Deadline => self.charge_current(now_ns, cpu.0),
            Class::Rt => self.tick_rt(now_ns, cpu.0, slot),
            Class::Fair if self.groups.any() => {
                self.tick_in_groups(now_ns, cpu.0);
                self.tell_server(now_ns, cpu.0);
            }
            Class::Fair => {
                rq.fair.tick(&self.params, &mut self.entities, now_ns);
                self.take_fair_resched(cpu.0);
                self.tell_server(now_ns, cpu.0);
                if self.loads.on() {
                    self.load_ticks(now_ns, cpu.0);
                }
            }
            _ => {}
        }
        if self.cpus.len() > 1 {
            self.balance_at_tick(now_ns, cpu.0);
        }
        Ok(())
    }

    /// A timer the core had armed has fired.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn timer_fired(&mut self, now_ns: u64, cpu: CpuId, timer: Timer) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        self.check_cpu(cpu)?;
        match timer {
            Timer::HrTick => self.hrtick_fired(now_ns, cpu),
            Timer::Deadline => self.dl_timers_fired(now_ns, cpu.0, 0),
            Timer::FairServer => self.dl_timers_fired(now_ns, cpu.0, 1),
            Timer::RtPeriod => self.rt_period_ends(now_ns, cpu.0),
        }
        Ok(())
    }

    /// Whether a timer that fires now has anything to do: one that is not needed any more is not
    /// always disarmed.
    pub fn timer_due(&self, now_ns: u64, cpu: CpuId, timer: Timer) -> bool {
        match timer {
            _ if cpu.index() >= self.cpus.len() => false,
            Timer::HrTick | Timer::RtPeriod => true,
            Timer::Deadline => self.dl_timer_due(now_ns, cpu.0, 0),
            Timer::FairServer => self.dl_timer_due(now_ns, cpu.0, 1),
        }
    }

    fn hrtick_fired(&mut self, now_ns: u64, cpu: CpuId) {
        let rq = &mut self.cpus[cpu.index()];
        rq.hrtick_armed = false;
        self.charge_current(now_ns, cpu.0);
        self.arm_dl_hrtick(now_ns, cpu.0);
        let rq = &mut self.cpus[cpu.index()];
        let fair_runs =
            rq.current.is_some_and(|slot| self.tasks.slots[slot as usize].class == Class::Fair);
        if fair_runs {
            if self.groups.any() {
                self.account_in_groups(now_ns, cpu.0);
            }
            let rq = &mut self.cpus[cpu.index()];
            rq.fair.account(&self.params, &mut self.entities, now_ns);
            rq.fair.resched = true;
            self.take_fair_resched(cpu.0);
            self.tell_server(now_ns, cpu.0);
        }
    }

    /// Changes policy, nice, slice or deadline parameters (`sched_setattr`, `setpriority`), without
    /// checking rights.
    ///
    /// # Errors
    /// If the task is unknown, or the kernel would not make it such a deadline task or, in its group,
    /// a real-time task.
    pub fn set_attr(&mut self, now_ns: u64, task: TaskId, attr: Attr) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.tasks.find(task)?;
        let affinity = &self.tasks.slots[slot as usize].affinity;
        let cpu = self.tasks.slots[slot as usize].cpu;
        self.check_dl(Some(slot), &attr, affinity, cpu)?;
        self.check_rt_group(self.tasks.slots[slot as usize].group, &attr)?;
        if attr.policy.class() == self.tasks.slots[slot as usize].class {
            self.change_attr(now_ns, slot, attr);
        } else {
            self.while_unparked(now_ns, slot, |sched| sched.change_attr(now_ns, slot, attr));
        }
        Ok(())
    }

    /// Changes where a task may run (`sched_setaffinity`). One that runs or waits elsewhere moves.
    ///
    /// # Errors
    /// If the task is unknown or none of the CPUs exists, or it is a deadline task and may not run
    /// everywhere any more.
    pub fn set_affinity(
        &mut self,
        now_ns: u64,
        task: TaskId,
        affinity: CpuSet,
    ) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.tasks.find(task)?;
        if affinity.first_within(self.nr_cpus()).is_none() {
            return Err(Error::NoAllowedCpu);
        }
        let cpu = self.tasks.slots[slot as usize].cpu;
        if self.check_dl(Some(slot), &self.attr_of(slot), &affinity, cpu).is_err() {
            return Err(Error::Deadline(Refusal::Shrunk));
        }
        self.while_unparked(now_ns, slot, |sched| sched.change_affinity(now_ns, slot, affinity));
        Ok(())
    }

    /// Moves a task that waits for a CPU to another (a recorded migration, a balancer outside).
    ///
    /// # Errors
    /// If the task is unknown, not waiting, or may not run there.
    pub fn migrate(&mut self, now_ns: u64, task: TaskId, to: CpuId) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.tasks.find(task)?;
        self.check_cpu(to)?;
        let from = self.tasks.slots[slot as usize].cpu;
        if self.cpus[from as usize].current == Some(slot)
            || self.tasks.slots[slot as usize].parked
            || self.tasks.slots[slot as usize].state != State::Runnable
        {
            return Err(Error::NotWaiting(task));
        }
        if !self.tasks.slots[slot as usize].affinity.contains(to) {
            return Err(Error::NotAllowed(task, to));
        }
        if from != to.0 {
            self.move_waiting(now_ns, slot, to.0);
        }
        Ok(())
    }

    /// Picks the next task of a CPU and makes it current. A CPU that would idle first looks for a
    /// waiting task elsewhere.
    ///
    /// # Errors
    /// If the CPU does not exist.
    #[inline(always)]
    pub fn schedule(&mut self, now_ns: u64, cpu: CpuId) -> Result<Switch, Error> {
        let now_ns = self.advance(now_ns);
        if let Some(switch) = self.schedule_plain(now_ns, cpu.0) {
            return Ok(switch);
        }
        self.schedule_any(now_ns, cpu)
    }

    #[inline(never)]
    fn schedule_any(&mut self, now_ns: u64, cpu: CpuId) -> Result<Switch, Error> {
        self.check_cpu(cpu)?;
        let (next, rule) = self.pick(now_ns, cpu.0);
        Ok(self.switch_to(now_ns, cpu.0, next, rule))
    }

    /// Makes this task (or none) current, whatever the core would pick: for hosts that report what
    /// another scheduler did.
    ///
    /// # Errors
    /// If the CPU does not exist, or the task is not waiting there and not current.
    pub fn schedule_to(
        &mut self,
        now_ns: u64,
        cpu: CpuId,
        next: Option<TaskId>,
    ) -> Result<Switch, Error> {
        let now_ns = self.advance(now_ns);
        self.check_cpu(cpu)?;
        let next = match next {
            None => None,
            Some(task) => {
                let slot = self.tasks.find(task)?;
                let found = &self.tasks.slots[slot as usize];
                if found.cpu != cpu.0 || found.state != State::Runnable || !self.queued(slot) {
                    return Err(Error::NotWaiting(task));
                }
                Some(slot)
            }
        };
        Ok(self.switch_to(now_ns, cpu.0, next, Rule::Host))
    }

    /// What [`schedule`](Self::schedule) would pick, changing nothing. Works on a copy: meant for
    /// comparing decisions, not for the hot path.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn would_pick(&self, now_ns: u64, cpu: CpuId) -> Result<(Option<TaskId>, Rule), Error> {
        self.check_cpu(cpu)?;
        let mut copy = self.clone();
        let now_ns = copy.advance(now_ns);
        let (next, rule) = copy.pick(now_ns, cpu.0);
        Ok((next.map(|slot| self.tasks.id(slot)), rule))
    }

    #[inline]
    fn advance(&mut self, now_ns: u64) -> u64 {
        self.now_ns = self.now_ns.max(now_ns);
        self.now_ns
    }

    #[inline]
    fn nr_cpus(&self) -> u32 {
        self.cpus.len() as u32
    }

    #[inline]
    fn check_cpu(&self, cpu: CpuId) -> Result<(), Error> {
        if cpu.index() < self.cpus.len() { Ok(()) } else { Err(Error::NoSuchCpu(cpu)) }
    }

    /// The task that runs on `cpu` and has neither blocked nor ended since the last switch.
    #[inline]
    fn running(&self, cpu: CpuId) -> Result<u32, Error> {
        self.check_cpu(cpu)?;
        self.cpus[cpu.index()]
            .current
            .filter(|slot| self.tasks.slots[*slot as usize].state == State::Runnable)
            .ok_or(Error::CpuIdle(cpu))
    }

    /// A task with its entity, on no queue.
    fn add_task(&mut self, state: State, cpu: u32, attr: Attr, affinity: CpuSet) -> u32 {
        let entity = self.new_entity(&attr);
        let rt = RtEntity::new(self.rr_ticks);
        self.note_policy(attr.policy);
        let slot = self.tasks.add(Task::new(state, cpu, &attr, affinity, rt));
        self.unlist(slot);
        match self.entities.get_mut(slot as usize) {
            Some(place) => *place = entity,
            None => self.entities.push(entity),
        }
        slot
    }

    /// A task has a policy from now on.
    fn note_policy(&mut self, policy: Policy) {
        self.any_idle_policy |= matches!(policy, Policy::Idle);
        self.any_stop_policy |= matches!(policy, Policy::Stop);
    }

    fn new_entity(&self, attr: &Attr) -> Entity {
        let mut entity = Entity::new(Load::of(attr.policy, attr.nice), &self.params);
        self.apply_fair_attr(&mut entity, attr);
        entity
    }

    /// Policy and slice of a fair task, onto its entity.
    fn apply_fair_attr(&self, entity: &mut Entity, attr: &Attr) {
        entity.idle = matches!(attr.policy, Policy::Idle);
        entity.batch = matches!(attr.policy, Policy::Batch);
        if let Algorithm::Eevdf(eevdf) = &self.params.algorithm
            && eevdf.rules.custom_slice
        {
            let own = attr.slice_ns.filter(|slice| *slice > 0 && !entity.idle);
            entity.custom_slice = own.is_some();
            entity.slice = match own {
                Some(slice) => slice.clamp(SLICE_NS_MIN, SLICE_NS_MAX),
                None => eevdf.base_slice_ns,
            };
        }
    }

    /// The wake flags' share in CFS: a sleeper that changes CPU leaves its old queue's clock.
    fn detach_sleeper(&mut self, from: u32, slot: u32) {
        let fair = self.tasks.slots[slot as usize].class == Class::Fair;
        if fair && matches!(self.params.algorithm, Algorithm::Cfs(_)) {
            let level = self.level_on(slot, from);
            let (fair, entities) = self.fair_and_entities(level);
            fair.cfs_detach_sleeper(&mut entities[slot as usize]);
        }
        if fair {
            self.detach_load(self.now_ns, slot);
        }
        if self.tasks.slots[slot as usize].class == Class::Deadline {
            self.detach_dl_sleeper(slot);
        }
    }

    fn fork_into(&mut self, now_ns: u64, slot: u32, parent_cpu: u32) {
        if let Algorithm::Cfs(cfs) = self.params.algorithm {
            let level = self.level_on(slot, parent_cpu);
            self.set_outer(level);
            let params = self.params;
            let (fair, entities) = self.fair_and_entities(level);
            fair.cfs_fork(&params, &cfs, entities, slot, now_ns);
            self.take_level_resched(level);
        }
    }

    fn push_migrated(&mut self, slot: u32, from: u32, to: u32) {
        // Its cache is cold there.
        self.entities[slot as usize].exec_start = 0;
        let task = self.tasks.id(slot);
        self.outputs.push(Output::Migrated { task, from: CpuId(from), to: CpuId(to) });
    }
}

/// Shortest and longest slice a task may ask for (C.6).
pub(crate) const SLICE_NS_MIN: u64 = 100_000;
pub(crate) const SLICE_NS_MAX: u64 = 100_000_000;

/// The slice of RR tasks in ticks, rounded up (classes.md B.1).
fn rr_ticks(ms: u32, hz: u32) -> u16 {
    let ticks = (u64::from(ms) * u64::from(hz)).div_ceil(1000);
    ticks.clamp(1, u64::from(u16::MAX)) as u16
}

/// classes.md A.4, step 2.
fn reset_on_fork(mut attr: Attr) -> Attr {
    if matches!(attr.policy, Policy::Fifo(_) | Policy::Rr(_) | Policy::Deadline(_)) {
        attr.policy = Policy::Normal;
        attr.nice = Nice::default();
    } else if attr.nice < Nice::default() {
        attr.nice = Nice::default();
    }
    attr.slice_ns = None;
    attr.reset_on_fork = false;
    attr
}
