//! What the machine is like: CPUs, tick, preemption model, costs, kernel.

use slicewise_sched::{Features, Profile};

/// When a request to reschedule is honoured while the current task is inside a system call. User
/// mode is always preempted at once (classes.md A.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preemption {
    /// At the end of the system call.
    None,
    /// At the end of the system call; the explicit `might_sleep` points are not modelled.
    Voluntary,
    /// At once.
    #[default]
    Full,
    /// Lazy requests (fair class) at the end of the system call or the next tick but one at the
    /// latest; others at once.
    Lazy,
}

/// What the machine itself costs. All of it is CPU time that the running task does not get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Costs {
    /// From one task to the next, before the next makes progress.
    pub context_switch_ns: u64,
    /// For waking a task: the waker pays, or, for a timer, whoever runs where it fires.
    pub wakeup_ns: u64,
    /// Of a scheduler tick.
    pub tick_ns: u64,
}

/// What the machine is like.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// The kernel whose scheduler runs.
    pub profile: Profile,
    /// Scheduler features, as switched.
    pub features: Features,
    /// Base slice in ns instead of the profile's scaled one (`debugfs sched/base_slice_ns`).
    pub base_slice_ns: Option<u64>,
    /// How many CPUs, 1 or more.
    pub cpus: u32,
    /// Ticks a second.
    pub hz: u32,
    /// When CPU 0 has its first tick, ns; less than a tick.
    pub tick_phase_ns: u64,
    /// How much later each further CPU ticks than the one before, ns.
    pub tick_skew_ns: u64,
    /// The preemption model.
    pub preemption: Preemption,
    /// What the machine costs.
    pub costs: Costs,
    /// Seeds every random draw.
    pub seed: u64,
    /// How long to run, ns.
    pub duration_ns: u64,
}
