//! Durations, rates and numbers as people write them, read exactly: no rounding, no guessing.

pub(crate) use slicewise_input::show_ns;

/// The longest duration a workload may name: longer ones are mistakes, and sums of these cannot
/// overflow.
pub(crate) const DURATION_MAX_NS: u64 = 365 * 24 * 3600 * 1_000_000_000;

/// Why a text is not a duration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BadUnit {
    pub(crate) message: String,
    pub(crate) help: String,
}

fn bad(message: String, help: impl Into<String>) -> BadUnit {
    BadUnit { message, help: help.into() }
}

const UNITS: &str = "ns, us, ms, s, m or h";

fn unit_ns(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `10ms`, `1.5us`, `2 s`. Zero needs no unit.
pub(crate) fn parse_duration(text: &str) -> Result<u64, BadUnit> {
    let shown = crate::diagnostic::shorten(text);
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'));
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let unit = unit.trim();
    if text.starts_with('-') {
        return Err(bad(
            format!("`{shown}` is negative"),
            "a duration is 0 or more, such as `10ms`",
        ));
    }
    if number.is_empty() {
        return Err(bad(
            format!("`{shown}` is not a duration"),
            "write a number and a unit: `10ms`",
        ));
    }
    if unit.is_empty() {
        if number == "0" {
            return Ok(0);
        }
        let help = format!("write `{number}ms` or another of {UNITS}");
        return Err(bad(format!("`{shown}` has no unit"), help));
    }
    let Some(factor) = unit_ns(unit) else {
        let unit = crate::diagnostic::shorten(unit);
        return Err(bad(
            format!("`{unit}` is not a unit of time"),
            format!("the units are {UNITS}"),
        ));
    };
    let ns = scale(number, factor).map_err(|problem| match problem {
        Problem::Syntax => bad(format!("`{shown}` is not a duration"), "write it like `1.5ms`"),
        Problem::Fraction => bad(
            format!("`{shown}` is not a whole number of nanoseconds"),
            "the simulator counts in whole nanoseconds: round it",
        ),
        Problem::Range => too_long(&shown),
    })?;
    if ns > DURATION_MAX_NS {
        return Err(too_long(&shown));
    }
    Ok(ns)
}

fn too_long(shown: &str) -> BadUnit {
    bad(format!("`{shown}` is longer than a year"), "a duration is 8760h at most")
}

enum Problem {
    Syntax,
    Fraction,
    Range,
}

/// `number * factor` where `number` is a decimal fraction, exactly.
fn scale(number: &str, factor: u64) -> Result<u64, Problem> {
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(Problem::Syntax);
    }
    let fraction = fraction.trim_end_matches('0');
    let parse = |digits: &str| -> Result<u128, Problem> {
        match digits {
            "" => Ok(0),
            _ if digits.len() > 25 => Err(Problem::Range),
            _ => digits.parse().map_err(|_| Problem::Syntax),
        }
    };
    if fraction.len() > 18 {
        return Err(Problem::Fraction);
    }
    let whole = parse(whole.trim_start_matches('0'))? * u128::from(factor);
    let part = parse(fraction)? * u128::from(factor);
    let power = 10_u128.pow(fraction.len() as u32);
    if part % power != 0 {
        return Err(Problem::Fraction);
    }
    u64::try_from(whole + part / power).map_err(|_| Problem::Range)
}

/// `200/s`, `5/ms`, `0.5/s`: the mean gap between events, ns.
pub(crate) fn parse_rate(text: &str) -> Result<f64, BadUnit> {
    let shown = crate::diagnostic::shorten(text);
    let wrong = |message: String| bad(message, "write events per unit of time: `200/s`");
    let Some((number, unit)) = text.split_once('/') else {
        return Err(wrong(format!("`{shown}` is not a rate")));
    };
    let unit = unit.trim();
    let factor = unit_ns(unit)
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
            ("200ns", 200),
            ("2s", 2_000_000_000),
            ("1m", 60_000_000_000),
            ("0.000000001s", 1),
            ("1_000 us", 1_000_000),
            ("0", 0),
            ("0.30ms", 300_000),
            ("8760h", DURATION_MAX_NS),
        ] {
            assert_eq!(parse_duration(text), Ok(ns), "{text}");
        }
    }

    #[test]
    fn a_bad_duration_names_itself_and_the_fix() {
        for (text, message, help) in [
            ("10", "`10` has no unit", "`10ms`"),
            ("", "not a duration", "10ms"),
            ("1.5ns", "whole number of nanoseconds", "round"),
            ("10 sec", "`sec` is not a unit", "ns, us, ms"),
            ("-1ms", "negative", "0 or more"),
            ("1.2.3ms", "not a duration", "1.5ms"),
            ("8761h", "longer than a year", "8760h"),
            ("99999999999999999999999999999999h", "longer than a year", "8760h"),
            ("0.1234567890123456789s", "whole number", "round"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error:?}");
            assert!(error.help.contains(help), "{text}: {error:?}");
        }
    }

    #[test]
    fn rates_become_mean_gaps() {
        assert_eq!(parse_rate("200/s"), Ok(5_000_000.0));
        assert_eq!(parse_rate("0.5 / ms"), Ok(2_000_000.0));
        for wrong in ["200", "0/s", "-1/s", "inf/s", "nan/s", "2/ns", "1/fortnight", "/s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
