//! Numbers and strings out of bytes, with the order of bytes the file has.

/// The order of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Endian {
    Little,
    Big,
}

impl Endian {
    /// An unsigned number of 1 to 8 bytes at `at`; `None` beyond the end.
    #[inline]
    pub(crate) fn uint(self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        // The usual sizes in one go each.
        match (self, bytes) {
            (Self::Little, &[a, b, c, d]) => return Some(u32::from_le_bytes([a, b, c, d]).into()),
            (Self::Little, &[a, b, c, d, e, f, g, h]) => {
                return Some(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
            }
            (Self::Little, &[a, b]) => return Some(u16::from_le_bytes([a, b]).into()),
            _ if !(1..=8).contains(&size) => return None,
            _ => {}
        }
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self {
            Self::Little => bytes.iter().rev().fold(0, join),
            Self::Big => bytes.iter().fold(0, join),
        })
    }

    #[inline]
    pub(crate) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        self.uint(bytes, at, 4).map(|value| value as u32)
    }

    #[inline]
    pub(crate) fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        self.uint(bytes, at, 8)
    }
}

/// Widens a number of `size` bytes by its sign.
#[inline]
pub(crate) fn sign_extend(value: u64, size: usize) -> i64 {
    let unused = 64 - 8 * size.clamp(1, 8) as u32;
    ((value << unused) as i64) >> unused
}

/// A cursor over bytes that were read completely.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
    endian: Endian,
}

impl<'b> Cursor<'b> {
    pub(crate) fn new(bytes: &'b [u8], endian: Endian) -> Self {
        Self { bytes, at: 0, endian }
    }

    pub(crate) fn take(&mut self, size: u64) -> Option<&'b [u8]> {
        let end = self.at.checked_add(usize::try_from(size).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(crate) fn uint(&mut self, size: usize) -> Option<u64> {
        let value = self.endian.uint(self.bytes, self.at, size)?;
        self.at += size;
        Some(value)
    }

    /// Up to a zero byte, which is passed over.
    pub(crate) fn string(&mut self) -> Option<&'b [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let len = rest.iter().position(|byte| *byte == 0)?;
        self.at += len + 1;
        Some(&rest[..len])
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::{Endian, sign_extend};

    #[test]
    fn numbers_are_read_in_either_order_and_never_beyond_the_end() {
        let bytes = [1, 2, 3, 0xff];
        assert_eq!(Endian::Little.uint(&bytes, 0, 2), Some(0x0201));
        assert_eq!(Endian::Big.uint(&bytes, 0, 2), Some(0x0102));
        assert_eq!(Endian::Big.uint(&bytes, 2, 4), None);
        assert_eq!(Endian::Big.uint(&bytes, usize::MAX, 4), None);
        assert_eq!(sign_extend(0xff, 1), -1);
        assert_eq!(sign_extend(0x7f, 1), 127);
        assert_eq!(sign_extend(u64::MAX, 8), -1);
    }
}
