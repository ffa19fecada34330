//! Words and numbers out of bytes, without copies.

use memchr::memrchr;

/// A decimal number with nothing around it; also a hexadecimal one with `0x` before it.
pub(super) fn number<T: TryFrom<i128>>(text: &[u8]) -> Option<T> {
    let value = match text {
        [b'0', b'x' | b'X', hex @ ..] => digits(hex, 16)?.into(),
        [b'-', rest @ ..] => -i128::from(digits(rest, 10)?),
        _ => digits(text, 10)?.into(),
    };
    T::try_from(value).ok()
}

fn digits(text: &[u8], base: u32) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(base)?;
        value.checked_mul(base.into())?.checked_add(digit.into())
    })
}

/// Words taken from the end: names at the beginning may have anything in them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail<'l>(pub(super) &'l [u8]);

impl<'l> Tail<'l> {
    /// The last word.
    pub(super) fn pop(&mut self) -> Option<&'l [u8]> {
        let text = self.0.trim_ascii_end();
        if text.is_empty() {
            return None;
        }
        let (rest, word) = text.split_at(memrchr(b' ', text).map_or(0, |space| space + 1));
        self.0 = rest;
        Some(word)
    }

    /// The value of the last word, which has to have this key.
    pub(super) fn value(&mut self, key: &str) -> Option<&'l [u8]> {
        self.pop()?.strip_prefix(key.as_bytes())?.strip_prefix(b"=")
    }

    /// The same as a number.
    pub(super) fn number<T: TryFrom<i128>>(&mut self, key: &str) -> Option<T> {
        number(self.value(key)?)
    }

    /// The same, but up to `others` other words may stand behind it.
    pub(super) fn number_before<T: TryFrom<i128>>(&mut self, key: &str, others: u32) -> Option<T> {
        (0..=others).find_map(|_| self.number(key))
    }

    /// A value with anything in it: from the last place where its key stands up to the end.
    pub(super) fn text(&mut self, key: &str) -> Option<&'l [u8]> {
        let all = self.0.trim_ascii_end();
        let mut end = all.len();
        while let Some(equals) = memrchr(b'=', &all[..end]) {
            if let Some(before) = all[..equals].strip_suffix(key.as_bytes())
                && before.last().is_none_or(|byte| *byte == b' ')
            {
                self.0 = before;
                return Some(&all[equals + 1..]);
            }
            end = equals;
        }
        None
    }

    /// The same for what has to stand at the beginning.
    pub(super) fn first(&mut self, key: &str) -> Option<&'l [u8]> {
        let value = self.0.trim_ascii_end().strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
        self.0 = b"";
        Some(value)
    }

    /// `[120]`
    pub(super) fn bracketed<T: TryFrom<i128>>(&mut self) -> Option<T> {
        number(self.pop()?.strip_prefix(b"[")?.strip_suffix(b"]")?)
    }

    /// All of it: `comm:12`.
    pub(super) fn comm_and_pid(self) -> Option<(&'l [u8], i32)> {
        let text = self.0.trim_ascii_end();
        let colon = memrchr(b':', text)?;
        Some((&text[..colon], number(&text[colon + 1..])?))
    }
}

#[cfg(test)]
mod tests {
    use super::{Tail, number};

    #[test]
    fn numbers_are_whole_words_that_fit() {
        assert_eq!(number::<u32>(b"003"), Some(3));
        assert_eq!(number::<i32>(b"-12"), Some(-12));
        assert_eq!(number::<u64>(b"0xffffffffffffffff"), Some(u64::MAX));
        assert_eq!(number::<u32>(b"-1"), None);
        assert_eq!(number::<u32>(b"4294967296"), None);
        assert_eq!(number::<u64>(b"18446744073709551616"), None);
        assert_eq!(number::<u32>(b""), None);
        assert_eq!(number::<u32>(b"1 "), None);
    }

    #[test]
    fn values_are_taken_from_the_end() {
        let mut tail = Tail(b"comm=a pid=1 b pid=2 prio=3 more=4");
        assert_eq!(tail.number_before::<i32>("prio", 1), Some(3));
        assert_eq!(tail.number::<i32>("pid"), Some(2));
        assert_eq!(tail.first("comm"), Some(&b"a pid=1 b"[..]));
        assert_eq!(Tail(b"x comm=a=b").text("comm"), Some(&b"a=b"[..]));
        assert_eq!(Tail(b"xcomm=a").text("comm"), None);
    }
}
