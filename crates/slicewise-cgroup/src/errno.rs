//! How the kernel says no, and why.

use core::fmt;

use slicewise_sched::RtLimitError;
use slicewise_sched::bandwidth::LimitError;

use crate::cpuset::CpusetWhy;

/// The error of a write(2) or open(2), by its name in errno(3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(clippy::upper_case_acronyms, reason = "these are the names")]
pub enum Errno {
    /// There is no such file in this group, or no such group.
    ENOENT,
    /// The text is too long.
    E2BIG,
    /// The text or the value is not acceptable.
    EINVAL,
    /// The number is out of range.
    ERANGE,
    /// The number has too many bits.
    EOVERFLOW,
    /// It is in use.
    EBUSY,
    /// There is no room.
    ENOSPC,
    /// Not allowed there.
    EACCES,
    /// Not possible there.
    EOPNOTSUPP,
    /// There is no such task.
    ESRCH,
}

impl Errno {
    /// `EINVAL`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ENOENT => "ENOENT",
            Self::E2BIG => "E2BIG",
            Self::EINVAL => "EINVAL",
            Self::ERANGE => "ERANGE",
            Self::EOVERFLOW => "EOVERFLOW",
            Self::EBUSY => "EBUSY",
            Self::ENOSPC => "ENOSPC",
            Self::EACCES => "EACCES",
            Self::EOPNOTSUPP => "EOPNOTSUPP",
            Self::ESRCH => "ESRCH",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a text. The kernel only tells the error number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// There is no such file in this group, or no such group.
    NoFile,
    /// More than a page.
    TooLong,
    /// Not a whole number, or something around it.
    NotANumber,
    /// A number of more than 64 bits.
    NumberTooLarge,
    /// A `cpu.weight` that is not 1 to 10000.
    Weight(u64),
    /// A `cpu.weight.nice` that is not -20 to 19.
    Nice(i64),
    /// A `cpu.idle` that is not 0 or 1.
    Idle(i64),
    /// The group is idle: its weight is fixed.
    WeightOfIdle,
    /// The root group's settings are fixed.
    Root,
    /// Neither a number nor `max`.
    NotAQuota,
    /// More microseconds than 64 bits hold as nanoseconds.
    TooManyMicroseconds(u64),
    /// The quota, period or burst.
    Limit(LimitError),
    /// The real-time runtime or period.
    RtLimit(RtLimitError),
    /// Neither a number with decimals nor `max`.
    NotAPercentage,
    /// A percentage that is not 0 to 100.
    Percentage,
    /// Not `some THRESHOLD WINDOW` or `full THRESHOLD WINDOW`.
    NotATrigger,
    /// A trigger's window of so many us.
    Window(u32),
    /// A trigger's threshold of so many us, for a window of so many us.
    Threshold(u32, u32),
    /// The cpuset controller.
    Cpuset(CpusetWhy),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("there is no such file in this group"),
            Self::TooLong => f.write_str("more than 4096 bytes"),
            Self::NotANumber => f.write_str("not a whole number with nothing around it"),
            Self::NumberTooLarge => f.write_str("a number of more than 64 bits"),
            Self::Weight(weight) => write!(f, "a weight of {weight}: must be 1 to 10000"),
            Self::Nice(nice) => write!(f, "a nice value of {nice}: must be -20 to 19"),
            Self::Idle(idle) => write!(f, "cpu.idle of {idle}: must be 0 or 1"),
            Self::WeightOfIdle => {
                f.write_str("the group is idle, which fixes its weight: write 0 to cpu.idle first")
            }
            Self::Root => f.write_str("the root group's settings cannot be changed"),
            Self::NotAQuota => {
                f.write_str("not a quota: must be `max` or microseconds, then perhaps the period")
            }
            Self::TooManyMicroseconds(us) => write!(f, "{us} us are too much"),
            Self::Limit(error) => error.fmt(f),
            Self::RtLimit(error) => error.fmt(f),
            Self::NotAPercentage => f.write_str("not a percentage: must be `max` or as in 12.34"),
            Self::Percentage => f.write_str("a percentage that is not 0 to 100"),
            Self::NotATrigger => f.write_str(
                "not a trigger: must be `some THRESHOLD WINDOW` or `full THRESHOLD WINDOW` in us",
            ),
            Self::Cpuset(why) => why.fmt(f),
            Self::Window(us) => write!(
                f,
                "a window of {us} us: must be at most 10000000, and without CAP_SYS_RESOURCE a \
                 multiple of 2000000"
            ),
            Self::Threshold(threshold, window) => write!(
                f,
                "a threshold of {threshold} us: must be more than 0 and at most the window, \
                 {window} us"
            ),
        }
    }
}

/// A refused write or a file that is not there: the error the program sees, and what it means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// What write(2) or open(2) returns.
    pub errno: Errno,
    /// What is wrong.
    pub why: Why,
}

impl Refused {
    pub(crate) fn invalid(why: Why) -> Self {
        Self { errno: Errno::EINVAL, why }
    }

    pub(crate) fn range(why: Why) -> Self {
        Self { errno: Errno::ERANGE, why }
    }

    pub(crate) const NO_FILE: Self = Self { errno: Errno::ENOENT, why: Why::NoFile };
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.errno)
    }
}

impl core::error::Error for Refused {}
