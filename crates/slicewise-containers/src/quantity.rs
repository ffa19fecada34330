//! Kubernetes quantities (`500m`, `1.5`, `2e3`, `64Mi`), exactly.
//!
//! A quantity is a decimal number with one suffix: `n u m k M G T P E`, `Ki Mi Gi Ti Pi Ei`, or an
//! exponent (`e3`, `E-3`). It is kept in billionths; what is finer is rounded up, as the API server
//! does. Two things the API server takes are refused here, because nobody means them: a quantity
//! without any digit (`m`, `.`), which it reads as 0, and one of more than 2⁶³ − 1 units.

use crate::diagnostic::shorten;

/// Billionths in one.
const NANO: i128 = 1_000_000_000;

/// The most a quantity can be.
const UNITS_MAX: i128 = i64::MAX as i128;

/// The longest text that is looked at.
const TEXT_BYTES_MAX: usize = 64;

/// A number of CPUs or bytes, in billionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Quantity {
    nano: i128,
}

/// A text that is no quantity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadQuantity {
    /// What is wrong with it.
    pub message: String,
    /// What to write.
    pub help: String,
}

fn bad(message: String, help: impl Into<String>) -> BadQuantity {
    BadQuantity { message, help: help.into() }
}

impl Quantity {
    /// None.
    pub const ZERO: Self = Self { nano: 0 };

    /// So many thousandths.
    pub const fn milli(milli: u32) -> Self {
        Self { nano: milli as i128 * 1_000_000 }
    }

    /// So many whole units.
    pub const fn units(units: u32) -> Self {
        Self { nano: units as i128 * NANO }
    }

    /// In billionths.
    pub const fn as_nano(self) -> i128 {
        self.nano
    }

    /// Rounded up to thousandths, as the kubelet reads CPU quantities.
    ///
    /// ```
    /// use slicewise_containers::Quantity;
    /// assert_eq!(Quantity::parse("1.5").unwrap().as_milli(), 1500);
    /// assert_eq!(Quantity::parse("1.0001").unwrap().as_milli(), 1001);
    /// ```
    pub fn as_milli(self) -> u64 {
        let milli = self.nano / 1_000_000 + i128::from(self.nano % 1_000_000 > 0);
        u64::try_from(milli).unwrap_or(u64::MAX)
    }

    /// Whether it is a whole number of thousandths.
    pub const fn is_whole_milli(self) -> bool {
        self.nano % 1_000_000 == 0
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// The sum, which stays within what a quantity can be.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        // Both are at most 2^63 · 10^9: no overflow.
        Self { nano: (self.nano + other.nano).min(UNITS_MAX * NANO) }
    }

    /// The difference, at least nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { nano: (self.nano - other.nano).max(0) }
    }

    /// Reads a quantity. It is never negative.
    ///
    /// # Errors
    /// Says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, BadQuantity> {
        let shown = shorten(text);
        if text.len() > TEXT_BYTES_MAX {
            return Err(bad(
                format!("`{shown}` is no quantity: it has {} bytes", text.len()),
                format!("a quantity has {TEXT_BYTES_MAX} characters at most"),
            ));
        }
        let (number, suffix) = split(text);
        let (sign, digits) = match number.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            let message = format!("`{shown}` is no quantity");
            return Err(bad(message, "write a number, with a suffix if need be: `500m`, `1.5`"));
        }
        if let Some((second, rest)) = fraction.split_once('.') {
            let message = format!("`{shown}` has two decimal points");
            let help = match rest {
                "" => format!("write `{whole}.{second}`"),
                _ => format!("write `{whole}.{second}` or `{whole}.{}`", rest.replace('.', "")),
            };
            return Err(bad(message, help));
        }
        let factor = factor(suffix).ok_or_else(|| bad_suffix(&shown, digits, suffix))?;
        let quantity = scale(whole, fraction, factor).ok_or_else(|| {
            let message = format!("`{shown}` is too large");
            bad(message, format!("a quantity is {UNITS_MAX} at most"))
        })?;
        if sign == "-" && quantity.nano > 0 {
            return Err(bad(format!("`{shown}` is negative"), "a quantity is 0 or more"));
        }
        Ok(quantity)
    }
}

impl std::fmt::Display for Quantity {
    /// As few characters as say it exactly: `1500m`, `2`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (divisor, suffix) in [(NANO, ""), (1_000_000, "m"), (1_000, "u")] {
            if self.nano % divisor == 0 {
                return write!(f, "{}{suffix}", self.nano / divisor);
            }
        }
        write!(f, "{}n", self.nano)
    }
}

/// The number in front, and what is behind it.
fn split(text: &str) -> (&str, &str) {
    let sign = usize::from(text.starts_with(['+', '-']));
    let length = text[sign..].find(|c: char| !(c.is_ascii_digit() || c == '.'));
    text.split_at(length.map_or(text.len(), |length| sign + length))
}

#[derive(Clone, Copy)]
enum Factor {
    Ten(i32),
    Two(u32),
}

fn factor(suffix: &str) -> Option<Factor> {
    Some(match suffix {
        "n" => Factor::Ten(-9),
        "u" => Factor::Ten(-6),
        "m" => Factor::Ten(-3),
        "" => Factor::Ten(0),
        "k" => Factor::Ten(3),
        "M" => Factor::Ten(6),
        "G" => Factor::Ten(9),
        "T" => Factor::Ten(12),
        "P" => Factor::Ten(15),
        "E" => Factor::Ten(18),
        "Ki" => Factor::Two(10),
        "Mi" => Factor::Two(20),
        "Gi" => Factor::Two(30),
        "Ti" => Factor::Two(40),
        "Pi" => Factor::Two(50),
        "Ei" => Factor::Two(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            // No larger exponent makes a difference to 64 characters.
            let size = digits.trim_start_matches('0');
            let size = if size.len() > 3 { 1000 } else { size.parse().unwrap_or(0) };
            Factor::Ten(if exponent.starts_with('-') { -size } else { size })
        }
    })
}

/// The number times its factor, rounded up to billionths; `None` if it is too large.
fn scale(whole: &str, fraction: &str, factor: Factor) -> Option<Quantity> {
    let fraction = fraction.trim_end_matches('0');
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(Quantity::ZERO);
    }
    let (exponent, digits) = match factor {
        Factor::Ten(exponent) => (exponent, digits.to_owned()),
        Factor::Two(bits) => (0, times_1024(digits, bits / 10)),
    };
    let tens = exponent - i32::try_from(fraction.len()).ok()? + 9;
    // How many digits are in front of the unit that counts; the most is 2^63 · 10^9 < 10^28.
    let length = i32::try_from(digits.len()).ok()? + tens;
    if length > 28 {
        return None;
    }
    let nano = if tens >= 0 {
        let number: i128 = digits.parse().ok()?;
        number * 10_i128.pow(u32::try_from(tens).ok()?)
    } else {
        let (kept, lost) = digits.split_at(usize::try_from(length).unwrap_or(0));
        let kept: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
        kept + i128::from(lost.bytes().any(|byte| byte != b'0'))
    };
    (nano <= UNITS_MAX * NANO).then_some(Quantity { nano })
}

/// Decimal digits times 1024, so often: exact for any number of digits.
fn times_1024(digits: &str, times: u32) -> String {
    let mut reversed: Vec<u32> = digits.bytes().rev().map(|byte| u32::from(byte - b'0')).collect();
    for _ in 0..times {
        let mut carry = 0;
        for digit in &mut reversed {
            carry += *digit * 1024;
            *digit = carry % 10;
            carry /= 10;
        }
        while carry > 0 {
            reversed.push(carry % 10);
            carry /= 10;
        }
    }
    reversed.iter().rev().filter_map(|digit| char::from_digit(*digit, 10)).collect()
}

fn bad_suffix(shown: &str, digits: &str, suffix: &str) -> BadQuantity {
    const ALLOWED: &str =
        "suffixes are n u m k M G T P E, Ki Mi Gi Ti Pi Ei, and exponents (`2e3`)";
    let message = format!("`{shown}` has the unknown suffix `{}`", shorten(suffix));
    let better = match suffix {
        "K" => Some("k"),
        "mcpu" | "millicpu" | "mc" | "mCPU" | "millicores" => Some("m"),
        "cpu" | "cpus" | "core" | "cores" | "vcpu" | "c" => Some(""),
        "KB" | "kB" | "kb" => Some("Ki"),
        "MB" | "mb" | "Mb" | "mi" => Some("Mi"),
        "GB" | "gb" | "Gb" | "gi" | "g" => Some("Gi"),
        "MiB" => Some("Mi"),
        "GiB" => Some("Gi"),
        _ => None,
    };
    if let Some(better) = better {
        return bad(message, format!("write `{digits}{better}`; {ALLOWED}"));
    }
    if suffix.starts_with(['e', 'E']) && suffix.ends_with('m') {
        return bad(message, format!("an exponent and a suffix exclude each other; {ALLOWED}"));
    }
    if suffix.trim() != suffix {
        return bad(message, format!("no space stands in a quantity; {ALLOWED}"));
    }
    if suffix.contains(',') {
        return bad(message, "write the decimal point as `.`: `1.5`");
    }
    bad(message, ALLOWED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_are_what_the_api_server_reads() {
        for (text, nano) in [
            ("0", 0),
            ("500m", 500_000_000),
            ("1.5", 1_500_000_000),
            ("2e3", 2_000_000_000_000),
            ("2E3", 2_000_000_000_000),
            ("1e-3", 1_000_000),
            ("1e+3", 1_000_000_000_000),
            ("+1", 1_000_000_000),
            ("0.1", 100_000_000),
            (".5", 500_000_000),
            ("1.", 1_000_000_000),
            ("00012m", 12_000_000),
            ("100u", 100_000),
            ("1n", 1),
            ("0.1n", 1),
            ("1.1n", 2),
            ("1e-100", 1),
            ("0e999999999", 0),
            ("-0", 0),
            ("2k", 2_000_000_000_000),
            ("500M", 500_000_000_000_000_000),
            ("1Ki", 1_024_000_000_000),
            ("1.5Gi", 1_610_612_736_000_000_000),
            ("0.0000000001Ki", 103),
            ("7Ei", 7 * (1_i128 << 60) * NANO),
            ("9223372036854775807", UNITS_MAX * NANO),
        ] {
            assert_eq!(Quantity::parse(text), Ok(Quantity { nano }), "{text}");
        }
    }

    #[test]
    fn a_bad_quantity_names_itself_and_the_fix() {
        for (text, message, help) in [
            ("1.5.2", "two decimal points", "`1.5` or `1.2`"),
            ("2e3m", "unknown suffix `e3m`", "exclude each other"),
            ("500K", "unknown suffix `K`", "write `500k`"),
            ("500 m", "unknown suffix ` m`", "no space"),
            ("1,5", "unknown suffix `,5`", "`1.5`"),
            ("2cpu", "unknown suffix `cpu`", "write `2`"),
            ("64MB", "unknown suffix `MB`", "write `64Mi`"),
            ("1e", "unknown suffix `e`", "exponents"),
            ("1ee3", "unknown suffix", "exponents"),
            ("", "no quantity", "500m"),
            ("m", "no quantity", "500m"),
            (".", "no quantity", "500m"),
            ("-", "no quantity", "500m"),
            ("-1", "is negative", "0 or more"),
            ("-1n", "is negative", "0 or more"),
            ("9223372036854775808", "too large", "9223372036854775807 at most"),
            ("8Ei", "too large", "at most"),
            ("1e1000000000", "too large", "at most"),
            ("٣", "no quantity", "500m"),
            ("1_000m", "unknown suffix `_000m`", "suffixes"),
        ] {
            let error = Quantity::parse(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error:?}");
            assert!(error.help.contains(help), "{text}: {error:?}");
        }
        let long = Quantity::parse(&"1".repeat(1 << 20)).unwrap_err();
        assert!(long.message.len() < 200 && long.help.contains("64 characters"), "{long:?}");
    }

    #[test]
    fn milli_values_are_rounded_up_and_shown_briefly() {
        let milli = |text: &str| Quantity::parse(text).unwrap().as_milli();
        assert_eq!(
            (milli("0.1m"), milli("1.0001"), milli("100m"), milli("2")),
            (1, 1001, 100, 2000)
        );
        let show = |text: &str| Quantity::parse(text).unwrap().to_string();
        assert_eq!(
            (show("1.5"), show("2.0"), show("0.1m"), show("1n")),
            ("1500m".to_owned(), "2".to_owned(), "100u".to_owned(), "1n".to_owned())
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same(nano in 0..(UNITS_MAX * NANO)) {
            let quantity = Quantity { nano };
            prop_assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[-+]?[0-9.]{0,20}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,12}") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn a_binary_suffix_multiplies_exactly_and_rounds_up(
            whole in 0_u64..1_000, fraction in 0_u64..1_000_000_000_000, bits in 1_u32..=4,
        ) {
            let suffix = ["", "Ki", "Mi", "Gi", "Ti"][bits as usize];
            let text = format!("{whole}.{fraction:012}{suffix}");
            // Exact in 128 bits: 10^15 · 10^9 · 2^40 / 10^12.
            let number = i128::from(whole) * 1_000_000_000_000 + i128::from(fraction);
            let nano = number * (1_i128 << (10 * bits));
            let expected = nano / 1_000 + i128::from(nano % 1_000 > 0);
            prop_assert_eq!(Quantity::parse(&text), Ok(Quantity { nano: expected }), "{}", text);
        }
    }
}
