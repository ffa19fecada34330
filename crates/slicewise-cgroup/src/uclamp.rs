//! Utilisation clamps: percentages of the files as the kernel's 0 to 1024, and what is in force
//! for a group and for a task (classes.md A.13).
//!
//! Values only: nothing in Slicewise chooses CPU frequencies.

use core::fmt;

use crate::number::{Scanner, stripped};
use crate::{Overflow, Refused, Why};

/// The greatest utilisation.
const SCALE: u16 = 1024;
/// 100.00 %.
const CENTI_MAX: u64 = 10_000;

/// What `cpu.uclamp.min` or `cpu.uclamp.max` holds; displayed as it reads, without the newline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Percent {
    centi: u16,
}

impl Percent {
    /// 100 %, which reads `max`.
    pub const MAX: Self = Self { centi: CENTI_MAX as u16 };

    /// Hundredths of a per cent; `None` above 10000.
    pub fn from_centi(centi: u64) -> Option<Self> {
        (centi <= CENTI_MAX).then_some(Self { centi: centi as u16 })
    }

    /// Hundredths of a per cent.
    pub fn centi(self) -> u16 {
        self.centi
    }

    /// The utilisation, 0 to 1024: rounded to the nearest.
    pub fn value(self) -> u16 {
        let product = u64::from(self.centi) * u64::from(SCALE);
        ((product + CENTI_MAX / 2) / CENTI_MAX) as u16
    }

    /// What a write makes of a text: `max`, or a number of which two decimals count, rounded.
    ///
    /// The kernel scans loosely: what follows the number is ignored (`5%`), a sign in front of a
    /// whole part of 0 too (`-0.5` is 0.5), and with 10 decimals or more it divides by 32 bits of a
    /// larger number, which mostly ends out of range. From 34 decimals on those bits are 0: kernels
    /// divide by zero there. Here it is refused.
    ///
    /// # Errors
    /// `EINVAL` if there is no number, `ERANGE` above 100.
    pub fn parse(text: &[u8], overflow: Overflow) -> Result<Self, Refused> {
        let text = stripped(text);
        if text == b"max" {
            return Ok(Self::MAX);
        }
        let not_one = Refused::invalid(Why::NotAPercentage);
        let mut scanner = Scanner::new(text, overflow);
        let whole = scanner.signed().ok_or(not_one)?;
        let mut fraction = 0;
        if scanner.literal(b".").is_some() {
            let begin = scanner.at();
            let digits = scanner.signed().unwrap_or(0);
            // White space before the digits counts as digits.
            let length = scanner.at() - begin;
            let digits = u64::try_from(digits).map_err(|_| not_one)?;
            fraction = centi_of(digits, length).ok_or(not_one)?;
        }
        let centi = whole.cast_unsigned().wrapping_mul(100).wrapping_add(fraction);
        Self::from_centi(centi).ok_or(Refused::range(Why::Percentage))
    }
}

/// Two decimals of a fraction of `length` digits, in the kernel's arithmetic; `None` where it
/// divides by zero.
fn centi_of(digits: u64, length: usize) -> Option<u64> {
    let ten_to_the = |power: usize| (0..power).fold(1_u64, |value, _| value.wrapping_mul(10));
    if length < 2 {
        return Some(digits.wrapping_mul(ten_to_the(2 - length)));
    }
    let divisor = ten_to_the(length - 2);
    digits.wrapping_add(divisor / 2).checked_div(u64::from(divisor as u32))
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value() == SCALE {
            return f.write_str("max");
        }
        write!(f, "{}.{:02}", self.centi / 100, self.centi % 100)
    }
}

/// A pair of clamps as utilisation, 0 to 1024: of a task, a group, or the system
/// (`sched_util_clamp_min` and `_max`, both 1024 by default).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Clamp {
    /// No less than this.
    pub min: u16,
    /// No more than this.
    pub max: u16,
}

impl Clamp {
    /// A task that asks for nothing. One of the RT class asks for a minimum of
    /// `sched_util_clamp_min_rt_default`, 1024.
    pub const UNREQUESTED: Self = Self { min: 0, max: SCALE };
    /// The system's caps by default.
    pub const SYSTEM: Self = Self { min: SCALE, max: SCALE };

    /// What is in force for a group that requests `self` in a parent where `parent` is in force
    /// (for the root: the system's caps): neither is above the parent's, and the minimum not above
    /// the maximum.
    #[must_use]
    pub fn in_group(self, parent: Self) -> Self {
        let max = self.max.min(parent.max);
        Self { min: self.min.min(parent.min).min(max), max }
    }

    /// What is in force for a task that requests `self` in a group where `group` is in force;
    /// `None` in the root group and in autogroups. The system caps both.
    #[must_use]
    pub fn of_task(self, group: Option<Self>, system: Self) -> Self {
        let within = |value: u16| {
            let Some(group) = group else { return value };
            value.max(group.min).min(group.max)
        };
        Self { min: within(self.min).min(system.min), max: within(self.max).min(system.max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clamp(min: &str, max: &str) -> Clamp {
        let value = |text: &str| Percent::parse(text.as_bytes(), Overflow::Saturates).unwrap();
        Clamp { min: value(min).value(), max: value(max).value() }
    }

    #[test]
    fn a_percentage_is_rounded_to_the_nearest_of_1024() {
        let of = |centi| Percent::from_centi(centi).unwrap().value();
        assert_eq!(
            [0, 4, 5, 3333, 5000, 9995, 9996, 10_000].map(of),
            [0, 0, 1, 341, 512, 1023, 1024, 1024]
        );
        assert_eq!(Percent::from_centi(10_001), None);
    }

    #[test]
    fn what_amounts_to_1024_reads_max() {
        let read = |centi| Percent::from_centi(centi).unwrap().to_string();
        assert_eq!([0, 10, 5055, 9995, 9996].map(read), ["0.00", "0.10", "50.55", "99.95", "max"]);
    }

    /// Linux 7.2.12: `effective uclamp.min` and `.max` in `/proc/PID/sched` of a shell in h/leaf.
    #[test]
    fn in_force_is_what_a_real_kernel_showed() {
        for (group, leaf, min, max) in [
            (("20", "60"), ("0", "max"), 0, 614),
            (("20", "60"), ("10", "max"), 102, 614),
            (("20", "60"), ("30", "max"), 205, 614),
            (("20", "60"), ("30", "10"), 102, 102),
            (("50", "30"), ("40", "max"), 307, 307),
            (("33.33", "66.67"), ("12.34", "max"), 126, 683),
            (("max", "max"), ("99.95", "99.95"), 1023, 1023),
            (("0", "0"), ("max", "max"), 0, 0),
        ] {
            let group = clamp(group.0, group.1).in_group(Clamp::SYSTEM);
            let leaf = clamp(leaf.0, leaf.1).in_group(group);
            let task = Clamp::UNREQUESTED.of_task(Some(leaf), Clamp::SYSTEM);
            assert_eq!(task, Clamp { min, max });
        }
    }

    /// The same shell with other values of `sched_util_clamp_min` and `_max`, and one in the root
    /// group.
    #[test]
    fn the_system_caps_both_as_on_a_real_kernel() {
        for (system, min, max, root) in [
            (Clamp { min: 512, max: 1024 }, 154, 614, (0, 1024)),
            (Clamp { min: 100, max: 100 }, 100, 100, (0, 100)),
        ] {
            let leaf = clamp("15", "max").in_group(clamp("20", "60").in_group(system));
            let task = Clamp::UNREQUESTED.of_task(Some(leaf), system);
            assert_eq!(task, Clamp { min, max });
            let in_root = Clamp::UNREQUESTED.of_task(None, system);
            assert_eq!((in_root.min, in_root.max), root);
        }
    }

    #[test]
    fn decimals_are_rounded_and_from_34_on_refused() {
        let centi = |text: &str| {
            Percent::parse(text.as_bytes(), Overflow::Saturates).map(Percent::centi).ok()
        };
        assert_eq!(centi("5.000000001"), Some(500));
        assert_eq!(centi("5.12345678901"), Some(512));
        // 10^11 does not fit the 32 bits it is divided by.
        assert_eq!(centi("5.1234567890123"), Some(1556));
        for decimals in 0..60 {
            let text = format!("5.{}", "0".repeat(decimals));
            assert!(decimals > 11 || centi(&text) == Some(500), "{text}");
            assert!(decimals < 34 || centi(&text).is_none(), "{text}");
        }
    }
}
