//! What differs between kernels and how they were built: data, asked by name.

use slicewise_sched::{FairRules, Profile, RtRules};

/// How a kernel was configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Build {
    /// `CONFIG_UCLAMP_TASK`: utilisation clamps.
    pub uclamp: bool,
    /// `CONFIG_SCHED_CLASS_EXT`: `SCHED_EXT`.
    pub ext: bool,
    /// `CONFIG_RT_GROUP_SCHED`: groups have a real-time runtime of their own.
    pub rt_group_sched: bool,
    /// Ticks a second.
    pub hz: u32,
}

/// How reservations are counted anew where root domains are rebuilt. In any case, what was taken from
/// sleepers and never given back is free then (see [`System::zero_lag`](crate::System::zero_lag)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recount {
    /// Not at all.
    Never,
    /// The tasks only: fair servers are forgotten, and what they had can be reserved. Seen on
    /// 6.12.117.
    Tasks,
    /// Tasks and fair servers. Seen on 6.18.15 and 7.2.12.
    TasksAndServers,
}

/// The system calls of one kernel version.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rules {
    /// What users call it: `6.12`.
    pub name: &'static str,
    /// Real-time bandwidth at its defaults.
    pub rt: RtRules,
    /// `sched_setattr` sets a slice of `SCHED_OTHER` and `SCHED_BATCH` tasks, and `sched_getattr`
    /// tells every fair task's (6.12 and later).
    pub slices: bool,
    /// `base_slice_ns` before scaling by the number of CPUs, where slices are told.
    pub base_slice_ns: u64,
    /// What any access to `sched_rt_runtime_us` or `sched_rt_period_us`, even reading it, does to what
    /// is reserved.
    pub recount: Recount,
    /// `sched_getattr` takes flag 1 for deadline tasks (7.x).
    pub tells_budget: bool,
    /// `sched_getattr` clears what the caller's structure has beyond the kernel's (6.16 and later).
    pub clears_beyond: bool,
    /// `sched_get_priority_min` and `_max` know `SCHED_EXT`, built in or not.
    pub range_of_ext: bool,
    /// As Debian builds it.
    pub build: Build,
}

const PLAIN: Build = Build { uclamp: false, ext: false, rt_group_sched: false, hz: 250 };
const FULL: Build = Build { uclamp: true, ext: true, ..PLAIN };

impl Rules {
    /// The versions there are, oldest first.
    pub const NAMES: &[&str] = &["6.1", "6.6", "6.12", "6.18", "7.2"];

    /// The version of this name, with or without a point release: `6.12`, `6.12.117`.
    pub fn named(name: &str) -> Option<Self> {
        let profile = Profile::named(name)?;
        let base_slice_ns = match profile.fair {
            FairRules::Cfs(_) => 0,
            FairRules::Eevdf(rules) => rules.base_slice_ns,
        };
        let oldest = Self {
            name: profile.name,
            rt: profile.rt,
            slices: false,
            base_slice_ns,
            recount: Recount::Never,
            tells_budget: false,
            clears_beyond: false,
            range_of_ext: false,
            build: PLAIN,
        };
        let from_6_12 =
            Self { slices: true, range_of_ext: true, recount: Recount::Tasks, ..oldest };
        let from_6_18 = Self {
            clears_beyond: true,
            recount: Recount::TasksAndServers,
            build: FULL,
            ..from_6_12
        };
        match profile.name {
            "6.1" | "6.6" => Some(oldest),
            "6.12" => Some(from_6_12),
            "6.18" | "6.18.15" => Some(from_6_18),
            "7.2" | "7.3" => Some(Self { tells_budget: true, ..from_6_18 }),
            _ => None,
        }
    }

    /// The slice of a task that has none of its own, with this many CPUs (fair.md A.5).
    pub fn default_slice_ns(&self, cpus: u32) -> u64 {
        self.base_slice_ns * u64::from(1 + cpus.clamp(1, 8).ilog2())
    }
}
