//! A write to a pressure file: `some 150000 2000000` (classes.md E.4).

use crate::number::{Scanner, until_nul};
use crate::{Overflow, Refused, Rules, Why};

/// The longest window, us.
const WINDOW_US_MAX: u32 = 10_000_000;
/// What windows are multiples of for who has no CAP_SYS_RESOURCE, us.
const WINDOW_US_STEP: u32 = 2_000_000;

/// Which line of a pressure file a trigger watches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stall {
    /// `some`.
    Some,
    /// `full`.
    Full,
}

/// What a trigger asks for: an event when pressure lasts for `threshold_us` within `window_us`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TriggerRequest {
    /// The line.
    pub stall: Stall,
    /// The pressure, us.
    pub threshold_us: u32,
    /// The window, us.
    pub window_us: u32,
}

impl TriggerRequest {
    /// What the kernel makes of a write to a cgroup's pressure file. `privileged` is
    /// CAP_SYS_RESOURCE.
    ///
    /// # Errors
    /// `EINVAL` for all that is not one.
    pub fn parse(text: &[u8], rules: &Rules, privileged: bool) -> Result<Self, Refused> {
        let text = until_nul(text);
        let request = scan(text, b"some", Stall::Some, rules.overflow)
            .or_else(|| scan(text, b"full", Stall::Full, rules.overflow))
            .ok_or(Refused::invalid(Why::NotATrigger))?;
        let Self { threshold_us, window_us, .. } = request;
        let allowed = (rules.window_us_min..=WINDOW_US_MAX).contains(&window_us)
            && (privileged || window_us.is_multiple_of(WINDOW_US_STEP));
        if !allowed {
            return Err(Refused::invalid(Why::Window(window_us)));
        }
        if threshold_us == 0 || threshold_us > window_us {
            return Err(Refused::invalid(Why::Threshold(threshold_us, window_us)));
        }
        Ok(request)
    }

    /// The same for a write to `/proc/pressure`: only 32 bytes count, and the last of them not, so
    /// that a number at the end without a newline loses a digit.
    ///
    /// # Errors
    /// `EINVAL` for all that is not one.
    pub fn parse_proc(text: &[u8], rules: &Rules, privileged: bool) -> Result<Self, Refused> {
        let length = text.len().min(32);
        Self::parse(&text[..length.saturating_sub(1)], rules, privileged)
    }
}

fn scan(text: &[u8], word: &[u8], stall: Stall, overflow: Overflow) -> Option<TriggerRequest> {
    let mut scanner = Scanner::new(text, overflow);
    scanner.literal(word)?;
    // Numbers of 32 bits: the rest is cut off.
    let threshold_us = scanner.unsigned()? as u32;
    let window_us = scanner.unsigned()? as u32;
    Some(TriggerRequest { stall, threshold_us, window_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(name: &str) -> Rules {
        Rules::named(name).unwrap()
    }

    /// classes.md E.4, tried on Linux 6.18 without CAP_SYS_RESOURCE.
    #[test]
    fn a_write_to_proc_loses_its_last_byte() {
        let parse = |text: &str| TriggerRequest::parse_proc(text.as_bytes(), &rules("6.18"), false);
        let request =
            TriggerRequest { stall: Stall::Some, threshold_us: 150_000, window_us: 2_000_000 };
        assert_eq!(parse("some 150000 2000000\n"), Ok(request));
        assert_eq!(parse("full 150000 2000000\n").map(|request| request.stall), Ok(Stall::Full));
        let window = |us| Err(Refused::invalid(Why::Window(us)));
        assert_eq!(parse("some 150000 2000000"), window(200_000));
        assert_eq!(parse("some 150000 1000000\n"), window(1_000_000));
        assert_eq!(parse("some 1 12000000\n"), window(12_000_000));
        let threshold = |us| Err(Refused::invalid(Why::Threshold(us, 2_000_000)));
        assert_eq!(parse("some 2000001 2000000\n"), threshold(2_000_001));
        assert_eq!(parse("some 0 2000000\n"), threshold(0));
        assert_eq!(parse(""), Err(Refused::invalid(Why::NotATrigger)));
    }

    #[test]
    fn windows_under_half_a_second_came_after_6_1() {
        let parse = |name| TriggerRequest::parse(b"some 1 499999\n", &rules(name), true).is_ok();
        assert_eq!(["6.1", "6.12"].map(parse), [false, true]);
    }
}
