//! Protobuf as bytes: fields, one after the other, nothing copied and nothing allocated.

/// The value of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value<'b> {
    /// Of any number, or a `fixed32` or `fixed64`.
    Number(u64),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'b [u8]),
}

impl<'b> Value<'b> {
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Bytes(_) => None,
        }
    }

    pub(super) fn bytes(self) -> Option<&'b [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) => None,
        }
    }
}

/// A number of up to ten bytes from the beginning, and what follows.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    if let [byte @ 0..0x80, rest @ ..] = bytes {
        return Some((u64::from(*byte), rest));
    }
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// The fields of a message: number and value. Ends with an error where they make no sense.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'b> {
    rest: &'b [u8],
}

/// Bytes that are no field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoField;

impl<'b> Fields<'b> {
    pub(super) fn new(message: &'b [u8]) -> Self {
        Self { rest: message }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    #[inline]
    fn field(&mut self) -> Option<(u32, Value<'b>)> {
        let (tag, rest) = varint(self.rest)?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number))?;
        let (value, rest) = match tag & 7 {
            0 => {
                let (value, rest) = varint(rest)?;
                (Value::Number(value), rest)
            }
            1 => {
                let (fixed, rest) = rest.split_first_chunk()?;
                (Value::Number(u64::from_le_bytes(*fixed)), rest)
            }
            2 => {
                let (size, rest) = varint(rest)?;
                let (bytes, rest) = rest.split_at_checked(usize::try_from(size).ok()?)?;
                (Value::Bytes(bytes), rest)
            }
            5 => {
                let (fixed, rest) = rest.split_first_chunk()?;
                (Value::Number(u32::from_le_bytes(*fixed).into()), rest)
            }
            // Groups are not used by anybody who writes traces.
            _ => return None,
        };
        self.rest = rest;
        Some((number, value))
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u32, Value<'b>), NoField>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(NoField))
    }
}

/// The last values of the fields 1 to `N` of a small message; fields beyond are passed over.
#[inline]
pub(super) fn first<const N: usize>(message: &[u8]) -> Option<[Option<Value<'_>>; N]> {
    let mut values = [None; N];
    for field in Fields::new(message) {
        let (number, value) = field.ok()?;
        if let Some(slot) = values.get_mut(number as usize - 1) {
            *slot = Some(value);
        }
    }
    Some(values)
}

/// Appends a field of repeated numbers, packed or not.
pub(super) fn numbers(value: Value<'_>, out: &mut Vec<u64>) -> Option<()> {
    match value {
        Value::Number(number) => out.push(number),
        Value::Bytes(mut bytes) => {
            while !bytes.is_empty() {
                let (number, rest) = varint(bytes)?;
                out.push(number);
                bytes = rest;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{Fields, NoField, Value, varint};

    #[test]
    fn numbers_have_at_most_ten_bytes() {
        assert_eq!(varint(&[0x96, 1, 7]), Some((150, &[7][..])));
        assert_eq!(varint(&[0xff; 9]), None);
        let mut all = [0xff; 10];
        all[9] = 1;
        assert_eq!(varint(&all), Some((u64::MAX, &[][..])));
        assert_eq!(varint(&[0xff; 11]), None);
    }

    #[test]
    fn what_is_no_field_ends_the_message() {
        let fields = |bytes: &'static [u8]| Fields::new(bytes).collect::<Vec<_>>();
        assert_eq!(
            fields(&[0x08, 1, 0x12, 1, b'a', 0x19]),
            [Ok((1, Value::Number(1))), Ok((2, Value::Bytes(b"a"))), Err(NoField)]
        );
        // A length beyond the end, a group, number 0.
        for bytes in [&[0x12, 2, 1][..], &[0x0b], &[0x00, 1]] {
            assert_eq!(fields(bytes), [Err(NoField)]);
        }
    }
}
