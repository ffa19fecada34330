//! The numbers system calls fail with.

use core::fmt;

/// An error of a system call, by its name in errno(3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(clippy::upper_case_acronyms, reason = "these are the names")]
pub enum Errno {
    /// Not permitted.
    EPERM,
    /// No such task.
    ESRCH,
    /// Something larger than the kernel knows.
    E2BIG,
    /// Try again: here, a deadline task may not fork.
    EAGAIN,
    /// Not allowed.
    EACCES,
    /// An address that is not the caller's.
    EFAULT,
    /// Not enough bandwidth, or CPUs that are in use.
    EBUSY,
    /// Not acceptable.
    EINVAL,
    /// The kernel was built without it.
    EOPNOTSUPP,
}

impl Errno {
    /// All there are.
    pub const ALL: [Errno; 9] = [
        Self::EPERM,
        Self::ESRCH,
        Self::E2BIG,
        Self::EAGAIN,
        Self::EACCES,
        Self::EFAULT,
        Self::EBUSY,
        Self::EINVAL,
        Self::EOPNOTSUPP,
    ];

    /// `EINVAL`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EPERM => "EPERM",
            Self::ESRCH => "ESRCH",
            Self::E2BIG => "E2BIG",
            Self::EAGAIN => "EAGAIN",
            Self::EACCES => "EACCES",
            Self::EFAULT => "EFAULT",
            Self::EBUSY => "EBUSY",
            Self::EINVAL => "EINVAL",
            Self::EOPNOTSUPP => "EOPNOTSUPP",
        }
    }

    /// The number on x86-64, arm64 and most others.
    pub fn number(self) -> i32 {
        match self {
            Self::EPERM => 1,
            Self::ESRCH => 3,
            Self::E2BIG => 7,
            Self::EAGAIN => 11,
            Self::EACCES => 13,
            Self::EFAULT => 14,
            Self::EBUSY => 16,
            Self::EINVAL => 22,
            Self::EOPNOTSUPP => 95,
        }
    }

    /// What strerror(3) prints for it, which is what tools show.
    pub fn message(self) -> &'static str {
        match self {
            Self::EPERM => "Operation not permitted",
            Self::ESRCH => "No such process",
            Self::E2BIG => "Argument list too long",
            Self::EAGAIN => "Resource temporarily unavailable",
            Self::EACCES => "Permission denied",
            Self::EFAULT => "Bad address",
            Self::EBUSY => "Device or resource busy",
            Self::EINVAL => "Invalid argument",
            Self::EOPNOTSUPP => "Operation not supported",
        }
    }

    /// The error of this name; `ENOTSUP` is another name of `EOPNOTSUPP`. Case does not matter.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_uppercase();
        if name == "ENOTSUP" {
            return Some(Self::EOPNOTSUPP);
        }
        Self::ALL.into_iter().find(|errno| errno.name() == name)
    }

    /// The error of this number.
    pub fn numbered(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|errno| errno.number() == number)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
