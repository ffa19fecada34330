//! Places in a text.

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineCol {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// The line and column of a byte offset. An offset past the end is the end.
///
/// ```
/// let place = slicewise_input::line_col("one\ntwo", 5);
/// assert_eq!((place.line, place.column), (2, 2));
/// ```
pub fn line_col(text: &str, offset: usize) -> LineCol {
    let before = &text[..floor_boundary(text, offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    LineCol {
        line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// The character boundary at or before an offset.
pub fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_inside_a_character_and_past_the_end_still_have_a_place() {
        assert_eq!(line_col("ä\nb", 1), LineCol { line: 1, column: 1 });
        assert_eq!(line_col("ä\nb", 99), LineCol { line: 2, column: 2 });
    }
}
