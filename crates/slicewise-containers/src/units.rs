//! Durations and rates, spelt as in scenario files.

use crate::diagnostic::shorten;
pub(crate) use slicewise_input::show_ns;

/// A value that does not parse: what is wrong, and what to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BadUnit {
    pub(crate) message: String,
    pub(crate) help: String,
}

fn bad(message: impl Into<String>, help: impl Into<String>) -> BadUnit {
    BadUnit { message: message.into(), help: help.into() }
}

/// The longest duration: a year.
const DURATION_MAX_NS: u64 = 8760 * 3600 * 1_000_000_000;

const UNITS: &str = "ns, us, ms, s, m, h";

fn unit_ns(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `10ms`, `1.5us`, `2s`: a whole number of nanoseconds. Only 0 needs no unit.
pub(crate) fn parse_duration(text: &str) -> Result<u64, BadUnit> {
    let shown = shorten(text);
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'));
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let unit = unit.trim();
    if text.starts_with('-') {
        return Err(bad(format!("`{shown}` is negative"), "a duration is 0 or more: `10ms`"));
    }
    if number.is_empty() {
        let message = format!("`{shown}` is not a duration");
        return Err(bad(message, "write a number and a unit: `10ms`"));
    }
    if unit.is_empty() {
        if number == "0" {
            return Ok(0);
        }
        let help = format!("write `{}ms` or another of {UNITS}", shorten(number));
        return Err(bad(format!("`{shown}` has no unit"), help));
    }
    let Some(factor) = unit_ns(unit) else {
        let message = format!("`{}` is not a unit of time", shorten(unit));
        return Err(bad(message, format!("the units are {UNITS}")));
    };
    let too_long =
        || bad(format!("`{shown}` is longer than a year"), "a duration is 8760h at most");
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        let message = format!("`{shown}` is not a duration");
        return Err(bad(message, "write it like `1.5ms`"));
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let number = |digits: &str| digits.parse::<u128>().unwrap_or(0);
    if whole.len() > 20 {
        return Err(too_long());
    }
    let unfit = || {
        let message = format!("`{shown}` is not a whole number of nanoseconds");
        bad(message, "the simulator counts in whole nanoseconds: round it")
    };
    if fraction.len() > 18 {
        return Err(unfit());
    }
    let power = 10_u128.pow(fraction.len() as u32);
    let part = number(fraction) * u128::from(factor);
    if part % power != 0 {
        return Err(unfit());
    }
    let ns = number(whole) * u128::from(factor) + part / power;
    u64::try_from(ns).ok().filter(|ns| *ns <= DURATION_MAX_NS).ok_or_else(too_long)
}

/// `200/s`, `5/ms`, `0.5/s`: the mean gap between events, ns.
pub(crate) fn parse_rate(text: &str) -> Result<f64, BadUnit> {
    let shown = shorten(text);
    let wrong = |message: String| bad(message, "write events per unit of time: `200/s`");
    let Some((number, unit)) = text.split_once('/') else {
        return Err(wrong(format!("`{shown}` is not a rate")));
    };
    let factor = unit_ns(unit.trim())
        .ok_or_else(|| bad(format!("`{shown}` has no unit of time"), format!("per {UNITS}")))?;
    let number: f64 =
        number.trim().parse().map_err(|_| wrong(format!("`{shown}` is not a rate")))?;
    let gap_ns = factor as f64 / number;
    if number.is_finite() && number > 0.0 && (1.0..=DURATION_MAX_NS as f64).contains(&gap_ns) {
        Ok(gap_ns)
    } else {
        Err(wrong(format!("the rate `{shown}` is out of range: more than 0, at most 1/ns")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_integers_of_ns() {
        for (text, ns) in [
            ("10ms", 10_000_000),
            ("1.5us", 1_500),
            ("2s", 2_000_000_000),
            ("0.000000001s", 1),
            ("1_000 us", 1_000_000),
            ("0", 0),
            ("8760h", DURATION_MAX_NS),
        ] {
            assert_eq!(parse_duration(text), Ok(ns), "{text}");
        }
        assert_eq!((show_ns(1_500), show_ns(2_000_000)), ("1500ns".into(), "2ms".into()));
    }

    #[test]
    fn a_bad_duration_or_rate_names_itself_and_the_fix() {
        for (text, message, help) in [
            ("10", "`10` has no unit", "`10ms`"),
            ("1.5ns", "whole number of nanoseconds", "round"),
            ("10 sec", "`sec` is not a unit", "ns, us, ms"),
            ("-1ms", "negative", "0 or more"),
            ("1.2.3ms", "not a duration", "1.5ms"),
            ("ms", "not a duration", "10ms"),
            ("8761h", "longer than a year", "8760h"),
            ("99999999999999999999999999999999h", "longer than a year", "8760h"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error:?}");
            assert!(error.help.contains(help), "{text}: {error:?}");
        }
        assert_eq!(parse_rate("200/s"), Ok(5_000_000.0));
        for wrong in ["200", "0/s", "-1/s", "inf/s", "nan/s", "2/ns", "1/fortnight", "/s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
