//! SKELETON: signatures for hosts to compile against; the real one replaces it.
use crate::*;

/// What the scheduler is built for.
#[derive(Clone, Debug)]
pub struct SchedConfig {
    /// The kernel.
    pub profile: Profile,
    /// Its switches.
    pub features: Features,
    /// Effective base slice (EEVDF) or minimum granularity (CFS), instead of the scaled default.
    pub base_slice_ns: Option<u64>,
    /// How many CPUs, 1 to [`CPUS_MAX`].
    pub cpus: u32,
    /// Ticks a second, 1 to 10,000.
    pub hz: u32,
}

/// Why no scheduler can be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// Not 1 to [`CPUS_MAX`].
    Cpus(u32),
    /// Not 1 to 10,000.
    Hz(u32),
}

/// The scheduler.
pub struct Scheduler;

#[allow(unused_variables, missing_docs, clippy::todo)]
impl Scheduler {
    pub fn new(config: &SchedConfig) -> Result<Self, ConfigError> {
        todo!()
    }
    /// Creates a task and makes it runnable (fork + wake_up_new_task).
    pub fn spawn(&mut self, now_ns: u64, spawn: Spawn) -> Result<TaskId, Error> {
        todo!()
    }
    /// Wakes a blocked task; returns the CPU it is queued on, or `None` if it was not asleep.
    pub fn wake(&mut self, now_ns: u64, task: TaskId, wake: Wake) -> Result<Option<CpuId>, Error> {
        todo!()
    }
    /// The running task of `cpu` goes to sleep. Call `schedule(cpu)` next.
    pub fn block(&mut self, now_ns: u64, cpu: CpuId) -> Result<(), Error> {
        todo!()
    }
    /// The running task of `cpu` calls sched_yield. Call `schedule(cpu)` next.
    pub fn yield_now(&mut self, now_ns: u64, cpu: CpuId) -> Result<(), Error> {
        todo!()
    }
    /// The task ends. If it was running, call `schedule` for its CPU next; its id is refused from now on,
    /// and appears once more as `Switch::prev`.
    pub fn exit(&mut self, now_ns: u64, task: TaskId) -> Result<(), Error> {
        todo!()
    }
    pub fn tick(&mut self, now_ns: u64, cpu: CpuId) -> Result<(), Error> {
        todo!()
    }
    pub fn timer_fired(&mut self, now_ns: u64, cpu: CpuId, timer: Timer) -> Result<(), Error> {
        todo!()
    }
    pub fn set_attr(&mut self, now_ns: u64, task: TaskId, attr: Attr) -> Result<(), Error> {
        todo!()
    }
    pub fn set_affinity(
        &mut self,
        now_ns: u64,
        task: TaskId,
        affinity: CpuSet,
    ) -> Result<(), Error> {
        todo!()
    }
    pub fn migrate(&mut self, now_ns: u64, task: TaskId, to: CpuId) -> Result<(), Error> {
        todo!()
    }
    /// Picks the next task of `cpu` and makes it current (pulling from other CPUs if it would idle).
    pub fn schedule(&mut self, now_ns: u64, cpu: CpuId) -> Result<Switch, Error> {
        todo!()
    }
    pub fn schedule_to(
        &mut self,
        now_ns: u64,
        cpu: CpuId,
        next: Option<TaskId>,
    ) -> Result<Switch, Error> {
        todo!()
    }
    pub fn would_pick(&self, now_ns: u64, cpu: CpuId) -> Result<(Option<TaskId>, Rule), Error> {
        todo!()
    }
    /// Next thing the host has to do; `None` when there is none. Take all after each call.
    pub fn output(&mut self) -> Option<Output> {
        todo!()
    }
    /// Who runs on `cpu`.
    pub fn current(&self, cpu: CpuId) -> Option<TaskId> {
        todo!()
    }
    pub fn attr(&self, task: TaskId) -> Option<Attr> {
        todo!()
    }
    /// Virtual runtime and lag right now (running task charged up to its last accounting).
    pub fn fair_values(&self, task: TaskId) -> Option<(u64, i64)> {
        todo!()
    }
    pub fn inspect(&self, now_ns: u64, cpu: CpuId) -> Result<QueueView, Error> {
        todo!()
    }
    /// Keep every `Decision` of this CPU from now on (last one wins), for `decision()`.
    pub fn record_decisions(&mut self, cpu: CpuId, on: bool) {
        todo!()
    }
    pub fn last_decision(&self, cpu: CpuId) -> Option<&Decision> {
        todo!()
    }
}
