//! Kernel versions as data: what changed between them.

use slicewise_sched::RtLimit;

use crate::cpuset::CpusetRules;

/// In what the numbers of `cpu.max` are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaxUnits {
    /// In ns: what is too much for 64 bits wraps around, and may then be accepted.
    Nanoseconds,
    /// In us, and the greatest number of 64 bits is `max`.
    Microseconds,
}

/// What becomes of a number of more than 64 bits where the kernel scans a text loosely (`cpu.max`,
/// `cpu.uclamp.*`, triggers). Single numbers are refused everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// Its low 64 bits.
    Wraps,
    /// The greatest number of 64 bits.
    Saturates,
}

/// What a kernel's CPU files differ in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// `6.12`.
    pub name: &'static str,
    /// `cpu.weight` of an idle group reads 0, not 1.
    pub idle_weighs_0: bool,
    /// How `cpu.max` is compared.
    pub max_units: MaxUnits,
    /// What becomes of large numbers.
    pub overflow: Overflow,
    /// v2 `cpu.stat` has `nice_usec`.
    pub nice_usec: bool,
    /// There is a `cpu.stat.local`.
    pub stat_local: bool,
    /// The shortest window of a pressure trigger, us.
    pub window_us_min: u32,
    /// Built with CONFIG_UCLAMP_TASK, as Debian does it: there are `cpu.uclamp.min` and `.max`.
    pub uclamp: bool,
    /// Built with CONFIG_RT_GROUP_SCHED, as Debian does not: there are v1's `cpu.rt_runtime_us` and
    /// `cpu.rt_period_us`. What the sysctls `sched_rt_runtime_us` and `sched_rt_period_us` say, which
    /// the root group begins with and no group may exceed.
    pub rt_group_sched: Option<RtLimit>,
    /// The cpuset controller.
    pub cpusets: CpusetRules,
}

const V6_1: Rules = Rules {
    name: "6.1",
    idle_weighs_0: true,
    max_units: MaxUnits::Nanoseconds,
    overflow: Overflow::Wraps,
    nice_usec: false,
    stat_local: false,
    window_us_min: 500_000,
    uclamp: false,
    rt_group_sched: None,
    cpusets: CpusetRules::V6_1,
};

const V6_6: Rules = Rules { name: "6.6", stat_local: true, window_us_min: 1, ..V6_1 };

const V6_12: Rules = Rules {
    name: "6.12",
    idle_weighs_0: false,
    nice_usec: true,
    cpusets: CpusetRules::V6_12,
    ..V6_6
};

const V6_18: Rules = Rules {
    name: "6.18",
    max_units: MaxUnits::Microseconds,
    uclamp: true,
    cpusets: CpusetRules::V6_18,
    ..V6_12
};

const V7_2: Rules =
    Rules { name: "7.2", overflow: Overflow::Saturates, cpusets: CpusetRules::V7_2, ..V6_18 };

impl Rules {
    /// The kernels there are rules for, oldest first. All but 6.6 were booted (6.1.192, 6.12.117,
    /// 6.18.15, 7.2.12); of 6.6, `stat_local` is fair.md E.12, and the rest taken from its
    /// neighbours, unchecked.
    pub const ALL: &[Rules] = &[V6_1, V6_6, V6_12, V6_18, V7_2];

    /// The rules of a kernel by its series, `6.12`.
    pub fn named(name: &str) -> Option<Rules> {
        Self::ALL.iter().copied().find(|rules| rules.name == name)
    }
}
