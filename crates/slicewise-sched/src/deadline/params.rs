//! What a task asks of `SCHED_DEADLINE`, and whether it makes sense (classes.md C.1).

use core::fmt;

use super::to_ratio;

/// Runtimes are counted in units of about a microsecond: less than one is refused, ns.
pub const RUNTIME_MIN_NS: u64 = 1024;
/// `sched_deadline_period_min_us` at its default, in ns.
pub const PERIOD_MIN_NS: u64 = 100_000;
/// `sched_deadline_period_max_us` at its default, in ns.
pub const PERIOD_MAX_NS: u64 = 4_194_304_000;

/// The shortest and longest period the system takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeriodLimits {
    /// `sched_deadline_period_min_us`, in ns.
    pub min_ns: u64,
    /// `sched_deadline_period_max_us`, in ns.
    pub max_ns: u64,
}

impl Default for PeriodLimits {
    fn default() -> Self {
        Self { min_ns: PERIOD_MIN_NS, max_ns: PERIOD_MAX_NS }
    }
}

/// What a task asks of `SCHED_DEADLINE`: `sched_runtime`, `sched_deadline`, `sched_period` and flags
/// of `sched_attr`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DlParams {
    /// CPU time in every period, ns.
    pub runtime_ns: u64,
    /// Relative deadline, ns.
    pub deadline_ns: u64,
    /// Period, ns; 0 stands for the deadline.
    pub period_ns: u64,
    /// `SCHED_FLAG_RECLAIM`: may use bandwidth that others leave (GRUB).
    pub reclaim: bool,
    /// `SCHED_FLAG_DL_OVERRUN`: wants `SIGXCPU` when the budget is used up.
    pub overrun_signal: bool,
}

impl DlParams {
    /// With the deadline at the end of the period, and without flags.
    #[must_use]
    pub fn implicit(runtime_ns: u64, period_ns: u64) -> Self {
        Self { runtime_ns, deadline_ns: period_ns, period_ns, ..Self::default() }
    }

    /// The period in force, ns.
    #[inline]
    #[must_use]
    pub fn period(&self) -> u64 {
        if self.period_ns == 0 { self.deadline_ns } else { self.period_ns }
    }

    /// Runtime / period in 2^-20 of a CPU.
    #[must_use]
    pub fn bandwidth(&self) -> u64 {
        to_ratio(self.period(), self.runtime_ns)
    }

    /// Runtime / deadline in 2^-20 of a CPU.
    #[must_use]
    pub fn density(&self) -> u64 {
        to_ratio(self.deadline_ns, self.runtime_ns)
    }

    /// The deadline is the end of the period.
    #[inline]
    #[must_use]
    pub fn is_implicit(&self) -> bool {
        self.deadline_ns == self.period()
    }

    /// The first check that fails, in the kernel's order, each of them `EINVAL`.
    ///
    /// # Errors
    /// If the kernel would not take these parameters whatever the load.
    pub fn check(&self, limits: PeriodLimits) -> Result<(), Fault> {
        let (period, top) = (self.period(), 1_u64 << 63);
        if self.deadline_ns == 0 {
            Err(Fault::NoDeadline)
        } else if self.runtime_ns < RUNTIME_MIN_NS {
            Err(Fault::RuntimeTooShort)
        } else if self.deadline_ns & top != 0 || period & top != 0 {
            Err(Fault::TopBit)
        } else if period < self.deadline_ns {
            Err(Fault::DeadlineAfterPeriod)
        } else if self.deadline_ns < self.runtime_ns {
            Err(Fault::RuntimeAfterDeadline)
        } else if period < limits.min_ns {
            Err(Fault::PeriodTooShort)
        } else if period > limits.max_ns {
            Err(Fault::PeriodTooLong)
        } else {
            Ok(())
        }
    }
}

/// Why parameters are invalid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// `sched_deadline` is 0.
    NoDeadline,
    /// `sched_runtime` is below [`RUNTIME_MIN_NS`].
    RuntimeTooShort,
    /// The highest bit of the deadline or the period is set.
    TopBit,
    /// The deadline is longer than the period.
    DeadlineAfterPeriod,
    /// The runtime is longer than the deadline.
    RuntimeAfterDeadline,
    /// The period is below `sched_deadline_period_min_us`.
    PeriodTooShort,
    /// The period is above `sched_deadline_period_max_us`.
    PeriodTooLong,
}

impl Fault {
    /// What is wrong, in words.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::NoDeadline => "the deadline is 0",
            Self::RuntimeTooShort => "the runtime is below 1024 ns",
            Self::TopBit => "the deadline or the period has its highest bit set",
            Self::DeadlineAfterPeriod => "the deadline is longer than the period",
            Self::RuntimeAfterDeadline => "the runtime is longer than the deadline",
            Self::PeriodTooShort => "the period is below 100 us (sched_deadline_period_min_us)",
            Self::PeriodTooLong => "the period is above 4.194304 s (sched_deadline_period_max_us)",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn w4_ratios_are_rounded_down() {
        let cases = [
            (1_000 * MS, 950 * MS, 996_147),
            (1_000 * MS, 50 * MS, 52_428),
            (10 * MS, MS, 104_857),
            (30 * MS, 10 * MS, 349_525),
            (10 * MS, 9_500_000, 996_147),
            (50 * MS, 10 * MS, 209_715),
        ];
        for (period, runtime, ratio) in cases {
            assert_eq!(to_ratio(period, runtime), ratio);
        }
        assert_eq!(to_ratio(0, 5), 0);
    }

    #[test]
    fn w5_and_case_92_parameters_are_checked() {
        let cases = [
            (1023, MS, MS, Err(Fault::RuntimeTooShort)),
            (1024, MS, MS, Ok(())),
            (MS, 0, 10 * MS, Err(Fault::NoDeadline)),
            (2 * MS, MS, 10 * MS, Err(Fault::RuntimeAfterDeadline)),
            (MS, 10 * MS, 5 * MS, Err(Fault::DeadlineAfterPeriod)),
            (MS, 10 * MS, 0, Ok(())),
            (2000, 99_999, 99_999, Err(Fault::PeriodTooShort)),
            (2000, 100_000, 100_000, Ok(())),
            (MS, 10 * MS, 4_194_304_000, Ok(())),
            (MS, 10 * MS, 4_194_304_001, Err(Fault::PeriodTooLong)),
            (MS, 10 * MS, 4_200_000_000, Err(Fault::PeriodTooLong)),
            (MS, 1 << 63, 1 << 63, Err(Fault::TopBit)),
            (10 * MS, 30 * MS, 30 * MS, Ok(())),
        ];
        for (runtime_ns, deadline_ns, period_ns, verdict) in cases {
            let params = DlParams { runtime_ns, deadline_ns, period_ns, ..DlParams::default() };
            assert_eq!(params.check(PeriodLimits::default()), verdict, "{params:?}");
        }
        let no_period = DlParams { period_ns: 0, ..DlParams::implicit(MS, 10 * MS) };
        assert_eq!(no_period.period(), 10 * MS);
    }
}
