//! What to replay against.

use slicewise_sched::{Features, Profile};

/// What the trace does not say about tasks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskRule {
    /// Which tasks: their name as the trace has it (at most 15 bytes), or their pid in digits.
    pub name: String,
    /// Their policy, where the recorded priority leaves a choice.
    pub policy: Option<RulePolicy>,
    /// Their own slice, ns.
    pub slice_ns: Option<u64>,
}

/// A policy that a recorded priority does not tell from its neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RulePolicy {
    /// `SCHED_BATCH`, for tasks with fair priorities.
    Batch,
    /// `SCHED_IDLE`, for tasks with fair priorities.
    Idle,
    /// `SCHED_RR`, for tasks with real-time priorities; without a rule they are `SCHED_FIFO`.
    Rr,
}

/// What to replay against, and what to report.
#[derive(Clone, Debug)]
pub struct ShadowConfig {
    /// The kernel.
    pub profile: Profile,
    /// Its switches.
    pub features: Features,
    /// Effective base slice (EEVDF) or minimum granularity (CFS), ns; `None` scales the profile's
    /// by the number of CPUs.
    pub base_slice_ns: Option<u64>,
    /// Judge the picks of this CPU alone; `None` judges all.
    pub cpu: Option<u32>,
    /// How many CPUs the machine has; `None` takes those of the trace.
    pub cpus: Option<u32>,
    /// Ticks a second; `None` takes them from the trace.
    pub hz: Option<u32>,
    /// Picks so soon after the first event are not judged, ns.
    pub warm_up_ns: u64,
    /// How many divergences to keep with all details.
    pub divergences: usize,
    /// What the trace does not say about tasks. The first that fits is taken.
    pub tasks: Vec<TaskRule>,
}

impl ShadowConfig {
    /// The kernel as it ships, a warm-up of one second, ten divergences.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            features: profile.features,
            base_slice_ns: None,
            cpu: None,
            cpus: None,
            hz: None,
            warm_up_ns: 1_000_000_000,
            divergences: 10,
            tasks: Vec::new(),
        }
    }
}
