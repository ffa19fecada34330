//! Numbers as the kernel reads them: strictly where a file is one number, loosely where it scans a
//! text.

use crate::{Overflow, Refused, Why};

/// What a value is to the kernel: the bytes before the first NUL.
pub(crate) fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The kernel's white space: ASCII's, and the no-break space of Latin-1.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

/// Without white space at both ends.
pub(crate) fn stripped(text: &[u8]) -> &[u8] {
    let begin = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(begin, |last| last + 1);
    &text[begin..end]
}

/// Digits in a base, and whether they are too much for 64 bits; the value wraps around then.
fn digits(text: &[u8], base: u64) -> (u64, bool, usize) {
    let (mut value, mut overflows, mut length) = (0_u64, false, 0);
    for byte in text {
        let Some(digit) = char::from(*byte).to_digit(base as u32) else { break };
        let (product, too_much) = value.overflowing_mul(base);
        let (sum, too_much_too) = product.overflowing_add(u64::from(digit));
        (value, overflows, length) = (sum, overflows || too_much || too_much_too, length + 1);
    }
    (value, overflows, length)
}

/// A whole number and at most a newline: decimal, `0x` hexadecimal, or octal with a 0 in front.
fn unsigned_without_sign(text: &[u8]) -> Result<u64, Refused> {
    let (base, rest) = match text {
        [b'0', b'x' | b'X', third, ..] if third.is_ascii_hexdigit() => (16, &text[2..]),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let (value, overflows, length) = digits(rest, base);
    // Too large comes first, whatever follows.
    if overflows {
        return Err(Refused::range(Why::NumberTooLarge));
    }
    match &rest[length..] {
        [] | [b'\n'] if length > 0 => Ok(value),
        _ => Err(Refused::invalid(Why::NotANumber)),
    }
}

/// A file that is one number of 0 or more.
pub(crate) fn unsigned(text: &[u8]) -> Result<u64, Refused> {
    unsigned_without_sign(text.strip_prefix(b"+").unwrap_or(text))
}

/// A file that is one number that may be negative.
pub(crate) fn signed(text: &[u8]) -> Result<i64, Refused> {
    let too_large = |_| Refused::range(Why::NumberTooLarge);
    match text.strip_prefix(b"-") {
        Some(rest) => {
            let value = i128::from(unsigned_without_sign(rest)?);
            i64::try_from(-value).map_err(too_large)
        }
        None => i64::try_from(unsigned(text)?).map_err(too_large),
    }
}

/// Scans a text from its begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    overflow: Overflow,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8], overflow: Overflow) -> Self {
        Self { text, at: 0, overflow }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// How much was read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn skip_space(&mut self) {
        self.at += self.rest().iter().take_while(|byte| is_space(**byte)).count();
    }

    /// Exactly these bytes.
    pub(crate) fn literal(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest().starts_with(bytes).then(|| self.at += bytes.len())
    }

    /// Up to so many bytes that are not white space, after white space.
    pub(crate) fn word(&mut self, length_max: usize) -> Option<&'a [u8]> {
        self.skip_space();
        let rest = self.rest();
        let length = rest.iter().take(length_max).take_while(|byte| !is_space(**byte)).count();
        self.at += length;
        (length > 0).then(|| &rest[..length])
    }

    /// Decimal digits without a sign, after white space.
    pub(crate) fn unsigned(&mut self) -> Option<u64> {
        let mut ahead = *self;
        ahead.skip_space();
        let (value, overflows, length) = digits(ahead.rest(), 10);
        if length == 0 {
            return None;
        }
        self.at = ahead.at + length;
        Some(match self.overflow {
            Overflow::Saturates if overflows => u64::MAX,
            _ => value,
        })
    }

    /// Decimal digits, perhaps after a `-`, after white space. The magnitude is that of
    /// [`unsigned`](Self::unsigned), cast.
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let mut ahead = *self;
        ahead.skip_space();
        let negative = ahead.literal(b"-").is_some();
        if !ahead.rest().first()?.is_ascii_digit() {
            return None;
        }
        let value = ahead.unsigned()?.cast_signed();
        *self = ahead;
        Some(if negative { value.wrapping_neg() } else { value })
    }
}
