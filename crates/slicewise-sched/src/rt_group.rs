//! Real-time limits of groups (kernels built with RT_GROUP_SCHED; classes.md B.4): what
//! `cpu.rt_runtime_us` and `cpu.rt_period_us` say, and which of it the kernel accepts.
//!
//! The order of the checks, the limits and the rounding were seen on 6.18.44.

use core::fmt;

use crate::deadline::to_ratio;

/// The longest runtime, ns: 2^44 - 1.
const RUNTIME_NS_MAX: u64 = (1 << 44) - 1;
/// All of a CPU in the fixed point ratios are compared in.
const WHOLE_CPU: u64 = 1 << 20;

/// How long the real-time tasks of a group may run on each CPU in every period.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtLimit {
    /// `cpu.rt_runtime_us` in ns; `None` is -1: no limit. With 0 the group can have no real-time
    /// tasks.
    pub runtime_ns: Option<u64>,
    /// `cpu.rt_period_us` in ns.
    pub period_ns: u64,
}

impl Default for RtLimit {
    /// What a new group has: 0 of 1 s.
    fn default() -> Self {
        Self { runtime_ns: Some(0), period_ns: 1_000_000_000 }
    }
}

impl RtLimit {
    /// The share of a CPU in the kernel's fixed point of 2^20, rounded down.
    pub fn ratio(&self) -> u64 {
        self.runtime_ns.map_or(WHOLE_CPU, |runtime_ns| to_ratio(self.period_ns, runtime_ns))
    }

    /// Checks what the kernel checks of a limit by itself.
    ///
    /// # Errors
    /// What it refuses with `EINVAL`.
    pub fn check(&self) -> Result<(), RtLimitError> {
        if self.period_ns == 0 {
            return Err(RtLimitError::NoPeriod);
        }
        let runtime_ns = self.runtime_ns.unwrap_or(0);
        if runtime_ns > RUNTIME_NS_MAX {
            return Err(RtLimitError::TooLong(runtime_ns));
        }
        if runtime_ns > self.period_ns { Err(RtLimitError::AbovePeriod) } else { Ok(()) }
    }

    /// Whether it can have no real-time tasks.
    pub fn is_none(&self) -> bool {
        self.runtime_ns == Some(0)
    }

    /// Whether it never stops anyone.
    pub(crate) fn never_stops(&self) -> bool {
        self.runtime_ns.is_none_or(|runtime_ns| runtime_ns >= self.period_ns)
    }
}

/// Why the kernel refuses a limit, a task or a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RtLimitError {
    /// The root group must be able to have real-time tasks.
    RootWithout,
    /// The period is 0.
    NoPeriod,
    /// More than 2^44 - 1 ns.
    TooLong(u64),
    /// The runtime is more than the period.
    AbovePeriod,
    /// The group has real-time tasks, which a runtime of 0 would leave without any.
    HasTasks,
    /// More than `sched_rt_runtime_us` of `sched_rt_period_us`.
    AboveSystem,
    /// More than the group has that it is in: all groups there together.
    AboveParent,
    /// Less than the groups in it have together.
    BelowChildren,
    /// A real-time task does not go into a group whose runtime is 0.
    NoEntry,
    /// A task of a group whose runtime is 0 does not become a real-time task.
    NoPolicy,
    /// This kernel is built without RT_GROUP_SCHED.
    NotBuilt,
}

impl RtLimitError {
    /// What the kernel calls it.
    pub fn errno(self) -> &'static str {
        match self {
            Self::HasTasks => "EBUSY",
            Self::NoPolicy => "EPERM",
            Self::NotBuilt => "ENOENT",
            _ => "EINVAL",
        }
    }
}

impl fmt::Display for RtLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RootWithout => "the root group's real-time runtime cannot be 0",
            Self::NoPeriod => "a period of 0: must be 1 us or more",
            Self::TooLong(ns) => {
                return write!(f, "a runtime of {} us: must be 17592186044 or less", ns / 1000);
            }
            Self::AbovePeriod => "the real-time runtime is more than the period",
            Self::HasTasks => "the group has real-time tasks: its runtime cannot be 0",
            Self::AboveSystem => {
                "a larger part of the CPU than sched_rt_runtime_us of sched_rt_period_us"
            }
            Self::AboveParent => {
                "the groups of its parent would have more real-time runtime than the parent"
            }
            Self::BelowChildren => "the groups in it have more real-time runtime together",
            Self::NoEntry => "a real-time task cannot enter a group whose real-time runtime is 0",
            Self::NoPolicy => {
                "no real-time policy in a group whose real-time runtime (cpu.rt_runtime_us) is 0"
            }
            Self::NotBuilt => "this kernel has no real-time limits of groups (RT_GROUP_SCHED)",
        })
    }
}

impl core::error::Error for RtLimitError {}

/// Checks a new limit of one group against all others, as the kernel does.
///
/// `groups` yields each group's parent and the limit it has, parents before those in them; the number
/// of a group is its place. `None` for a parent, and for `changed`, is the root, whose limit is
/// `root`; `system` is what the sysctls say, `None` if they limit nothing. `has_tasks`: the group that
/// changes has real-time tasks.
///
/// # Errors
/// What the kernel refuses.
pub fn check(
    groups: impl Iterator<Item = (Option<u32>, RtLimit)>,
    root: RtLimit,
    system: Option<RtLimit>,
    changed: (Option<u32>, RtLimit),
    has_tasks: bool,
) -> Result<(), RtLimitError> {
    let (number, new) = changed;
    if number.is_none() && new.is_none() {
        return Err(RtLimitError::RootWithout);
    }
    new.check()?;
    if new.is_none() && has_tasks && system.is_some() {
        return Err(RtLimitError::HasTasks);
    }
    if new.ratio() > system.map_or(WHOLE_CPU, |system| system.ratio()) {
        return Err(RtLimitError::AboveSystem);
    }
    let limits: Vec<(Option<u32>, u64)> = (0..)
        .zip(groups)
        .map(|(at, (of, limit))| (of, if number == Some(at) { new } else { limit }.ratio()))
        .collect();
    let within = |group: Option<u32>| -> u64 {
        limits.iter().filter(|(of, _)| *of == group).map(|(_, ratio)| ratio).sum()
    };
    if within(number) > new.ratio() {
        return Err(RtLimitError::BelowChildren);
    }
    let of = |group: u32| limits.get(group as usize);
    let Some((parent, _)) = number.and_then(of) else { return Ok(()) };
    let above = match parent {
        Some(parent) => of(*parent).map_or(0, |(_, ratio)| *ratio),
        None => root.ratio(),
    };
    if within(*parent) > above { Err(RtLimitError::AboveParent) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(runtime: u64, period: u64) -> RtLimit {
        RtLimit { runtime_ns: Some(runtime * 1000), period_ns: period * 1000 }
    }

    const ROOT: RtLimit = us(950_000, 1_000_000);

    /// `a` and `b` in `r`, as on the host.
    fn check_one(limits: &mut [RtLimit; 3], number: u32, new: RtLimit) -> Result<(), RtLimitError> {
        let parents = [None, Some(0), Some(0)];
        let groups = parents.into_iter().zip(*limits);
        check(groups, ROOT, Some(ROOT), (Some(number), new), false)?;
        limits[number as usize] = new;
        Ok(())
    }

    #[test]
    fn limits_are_refused_as_6_18_44_did() {
        use RtLimitError::*;
        let s = 1_000_000;
        let mut limits = [RtLimit::default(); 3];
        for (group, new, result) in [
            (1, us(10_000, s), Err(AboveParent)),
            (0, us(950_001, s), Err(AboveSystem)),
            (0, us(950_000, s), Ok(())),
            (0, RtLimit { runtime_ns: None, period_ns: 1_000_000_000 }, Err(AboveSystem)),
            (0, us(1_000_001, s), Err(AbovePeriod)),
            (0, us(16, s), Ok(())),
            (0, us(500_000, s), Ok(())),
            (1, us(300_000, s), Ok(())),
            // Ratios are rounded down.
            (2, us(200_001, s), Ok(())),
            (2, us(200_000, s), Ok(())),
            (0, us(499_999, s), Err(BelowChildren)),
            (0, us(0, s), Err(BelowChildren)),
            (0, us(500_000, 2 * s), Err(BelowChildren)),
            (2, us(200_000, 0), Err(NoPeriod)),
            (2, us(200_000, 100_000), Err(AbovePeriod)),
            (2, us(200_000, 200_000), Err(AboveSystem)),
            (2, us(200_000, 2 * s), Ok(())),
            (2, us(17_592_186_044, 18_446_744_073_709_551), Ok(())),
            (2, us(17_592_186_045, 18_446_744_073_709_551), Err(TooLong(17_592_186_045_000))),
            (2, us(5_000, 5_000), Err(AboveSystem)),
        ] {
            assert_eq!(check_one(&mut limits, group, new), result, "{group} {new:?}");
        }
    }

    #[test]
    fn the_root_and_groups_with_tasks_keep_some_runtime() {
        let none = us(0, 1_000_000);
        let groups = || [(None, us(1000, 1_000_000))].into_iter();
        let root = check(groups(), ROOT, Some(ROOT), (None, none), false);
        assert_eq!(root, Err(RtLimitError::RootWithout));
        let used = check(groups(), ROOT, Some(ROOT), (Some(0), none), true);
        assert_eq!(used, Err(RtLimitError::HasTasks));
        assert_eq!(RtLimitError::HasTasks.errno(), "EBUSY");
        // With sched_rt_runtime_us of -1, nobody looks.
        assert_eq!(check(groups(), ROOT, None, (Some(0), none), true), Ok(()));
    }
}
