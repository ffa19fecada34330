//! What the machine is like: CPUs, tick, preemption model, costs, kernel.

use slicewise_sched::{CpuSet, Features, Profile, SmpConfig};

use crate::SpeedModel;

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
    /// Lazy requests (fair class) at the end of the system call or at the next tick, whichever comes
    /// first; others at once.
    Lazy,
}

/// What the machine itself costs. Most of it is CPU time that the running task does not get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Costs {
    /// From one task to the next, before the next makes progress.
    pub context_switch_ns: u64,
    /// For waking a task: the waker pays, or, for a timer, whoever runs where it fires.
    pub wakeup_ns: u64,
    /// Of a scheduler tick.
    pub tick_ns: u64,
    /// How late the slice timer (HRTICK) is: from the end of a slice until the scheduler has been
    /// told. The running task has the CPU meanwhile. How often tasks switch on kernels with HRTICK
    /// depends on it: a few microseconds decide whether a slice ends before or after a tick.
    pub slice_timer_ns: u64,
    /// From the wakeup of another task until the system call that did it ends: with voluntary and
    /// lazy preemption, the woken task gets the CPU then at the earliest.
    pub wakeup_return_ns: u64,
    /// How long it takes an idle CPU from the request to choose until it does: the interrupt that tells it,
    /// and its way out of its idle state.
    pub idle_exit_ns: u64,
    /// How long interrupts go on.
    pub interrupts: Interrupts,
}

/// From what an interrupt tells the scheduler until the interrupt ends, and with it the pick that was
/// asked for comes. Whoever runs has the CPU meanwhile. 0: picks come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interrupts {
    /// Of a tick.
    pub tick_ns: u64,
    /// Of the slice timer (HRTICK).
    pub slice_timer_ns: u64,
    /// Of a timer or a device that wakes a task, or of a start from outside.
    pub wakeup_ns: u64,
    /// They are as long, and the slice timer as late, as these numbers say, give or take half of this:
    /// drawn evenly. Interrupts of an idle CPU do not spread. With HRTICK, two equal tasks are served equally to the ns; without a spread, all
    /// their ties would be decided the same way.
    pub spread_ns: u64,
}

impl Interrupts {
    /// Picks come at once.
    pub const NONE: Self = Self { tick_ns: 0, slice_timer_ns: 0, wakeup_ns: 0, spread_ns: 0 };
}

impl Costs {
    /// A machine that costs nothing.
    pub const NONE: Self = Self {
        context_switch_ns: 0,
        wakeup_ns: 0,
        tick_ns: 0,
        slice_timer_ns: 0,
        wakeup_return_ns: 0,
        idle_exit_ns: 0,
        interrupts: Interrupts::NONE,
    };
}

impl Default for Costs {
    /// Round figures of the right size for a server, not measurements of yours: 1.5 us for a
    /// switch, 1 us for a wakeup, 1 us for a tick. `perf bench sched pipe` on one CPU, whose
    /// operation is two switches, two wakeups and four system calls, took 7.7 us on the 2 CPU
    /// virtual machine this was written on: 2 · (1.5 + 1.0) us and four calls of 0.7 us.
    fn default() -> Self {
        Self { context_switch_ns: 1_500, wakeup_ns: 1_000, tick_ns: 1_000, ..Self::NONE }
    }
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
    /// What they are like, and how they are balanced. The run's seed takes the place of its own. Where
    /// its partitions leave CPUs out (`isolcpus`), tasks that may run anywhere
    /// ([`CpuSet::All`]) may run on all others only: so does all that init starts.
    pub smp: SmpConfig,
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
    /// What slows programs.
    pub speed: SpeedModel,
    /// The CPUs that do without ticks while at most one task wants to run there (`nohz_full`). One must
    /// be left to look after them.
    pub nohz_full: CpuSet,
    /// Seeds every random draw.
    pub seed: u64,
    /// How long to run, ns.
    pub duration_ns: u64,
}
