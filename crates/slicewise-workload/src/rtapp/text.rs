//! rt-app's JSON as a syntax tree: C comments, trailing commas, repeated keys, and the bare
//! `"suspend",` that workgen completes.

use std::borrow::Cow;
use std::ops::Range;

use jsonc_parser::ast::{NumberLit, Object, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::diagnostic::{Sink, shorten};

/// What a bare key gets, so that it parses.
const COMPLETION: &str = ":null";

/// Text with every bare key completed.
pub(super) struct Completed<'t> {
    text: Cow<'t, str>,
    /// Where in the completed text the completions begin.
    at: Vec<usize>,
}

impl<'t> Completed<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let bare = bare_keys(text.as_bytes());
        if bare.is_empty() {
            return Self { text: Cow::Borrowed(text), at: bare };
        }
        let mut completed = String::with_capacity(text.len() + bare.len() * COMPLETION.len());
        let (mut from, mut at) = (0, Vec::with_capacity(bare.len()));
        for end in bare {
            completed.push_str(&text[from..end]);
            at.push(completed.len());
            completed.push_str(COMPLETION);
            from = end;
        }
        completed.push_str(&text[from..]);
        Self { text: Cow::Owned(completed), at }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A range of the completed text as one of the original.
    pub(super) fn original(&self, range: Range<usize>) -> Range<usize> {
        let offset = |offset: usize| {
            let before = self.at.partition_point(|at| *at < offset);
            let whole = before.saturating_sub(1) * COMPLETION.len();
            match before.checked_sub(1).map(|last| self.at[last]) {
                Some(at) => offset - whole - (offset - at).min(COMPLETION.len()),
                None => offset,
            }
        };
        offset(range.start)..offset(range.end)
    }
}

/// Ends of the strings that stand where a key must but have no value.
fn bare_keys(text: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    // The brackets around; whether a key may come next; the end of a string that may be bare.
    let mut around: Vec<u8> = Vec::new();
    let (mut key_next, mut candidate) = (false, None);
    let mut i = 0;
    while i < text.len() {
        match text[i] {
            b'"' => {
                let end = string_end(text, i);
                candidate = (key_next && around.last() == Some(&b'{')).then_some(end);
                key_next = false;
                i = end;
                continue;
            }
            b'/' if matches!(text.get(i + 1), Some(b'/' | b'*')) => {
                i = comment_end(text, i);
                continue;
            }
            open @ (b'{' | b'[') => {
                around.push(open);
                (key_next, candidate) = (true, None);
            }
            close @ (b'}' | b']' | b',') => {
                found.extend(candidate.take());
                if close != b',' {
                    around.pop();
                }
                key_next = close == b',';
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => (key_next, candidate) = (false, None),
        }
        i += 1;
    }
    found
}

fn string_end(text: &[u8], start: usize) -> usize {
    let mut i = start + 1;
    while i < text.len() {
        match text[i] {
            b'\\' => i += 1,
            b'"' => return i + 1,
            _ => {}
        }
        i += 1;
    }
    text.len()
}

fn comment_end(text: &[u8], start: usize) -> usize {
    let (end, skip): (&[u8], _) = if text[start + 1] == b'/' { (b"\n", 1) } else { (b"*/", 2) };
    let body = &text[start + 2..];
    let found = body.windows(end.len()).position(|window| window == end);
    found.map_or(text.len(), |at| start + 2 + at + skip)
}

/// The tree, unless the text is not JSON even by rt-app's standards.
pub(super) fn parse<'c>(completed: &'c Completed<'_>, sink: &mut Sink) -> Option<Object<'c>> {
    let options = ParseOptions {
        allow_comments: true,
        allow_loose_object_property_names: false,
        allow_trailing_commas: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    match parse_to_ast(completed.text(), &CollectOptions::default(), &options) {
        Ok(result) => match result.value {
            Some(Value::Object(object)) => Some(object),
            value => {
                let range = value.map_or(0..0, |value| value.range().start..value.range().end);
                let help = "an rt-app file is an object: `{ \"tasks\": { … } }`";
                sink.error_help(completed.original(range), "the file holds no JSON object", help);
                None
            }
        },
        Err(problem) => {
            let range = problem.range().start..problem.range().end;
            let message = shorten(&problem.kind().to_string());
            let end = completed.text().trim_end().len();
            let message = if range.start >= end {
                format!("{message}: the file ends too early")
            } else {
                message
            };
            sink.error(completed.original(range), message);
            None
        }
    }
}

/// A whole number, if it is one.
pub(super) fn whole(number: &NumberLit<'_>) -> Option<i128> {
    // Beyond i128 any extreme is as wrong as the number itself.
    match number.value.parse::<i128>() {
        Ok(number) => Some(number),
        Err(_) if number.value.bytes().all(|b| b.is_ascii_digit() || b == b'-') => Some(i128::MAX),
        Err(_) => None,
    }
}

/// What a value is, with an article.
pub(super) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "true or false",
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::NullKeyword(_) => "null",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_key_is_completed_and_offsets_lead_back() {
        let text = r#"{"a": {"suspend", "run": 1, "yield" /* , */ }, "b": ["x", "y"], "c": "d"}"#;
        let completed = Completed::new(text);
        let wanted = r#"{"a": {"suspend":null, "run": 1, "yield":null /* , */ }, "b": ["x", "y"], "c": "d"}"#;
        assert_eq!(completed.text(), wanted);
        for word in ["\"run\"", "\"yield\"", "\"d\"", "\"a\""] {
            let (new, old) = (wanted.find(word).unwrap(), text.find(word).unwrap());
            let original = completed.original(new..new + word.len());
            assert_eq!(original, old..old + word.len(), "{word}");
        }
        let null = wanted.find("null").unwrap();
        assert_eq!(completed.original(null..null + 4), 16..16);
    }
}
