//! What is wrong with an input, and where: never rendered here, always with a byte range.

use std::ops::Range;

pub(crate) use slicewise_input::shorten;
pub use slicewise_input::{LineCol, Severity, line_col};
use slicewise_input::{closest, floor_boundary};

/// One thing that is wrong with an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: the offending value, and what is allowed.
    pub message: String,
    /// In which of the inputs, counted from 0.
    pub file: usize,
    /// Where, as byte offsets into that input; always within it and on character boundaries.
    pub span: Range<usize>,
    /// What to write instead.
    pub help: Option<String>,
}

/// A stretch of one of the inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Which input, counted from 0.
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

/// A stretch of the text that is being read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// Inputs are shorter than 4 GiB: [`crate::FILE_BYTES_MAX`].
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let cut = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { start: cut(start), end: cut(end.max(start)) }
    }
}

/// Where the characters of a text inside a text are.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// Line by line: the inner offset a line starts at, and the outer one.
    Lines(Vec<(u32, u32)>),
    /// Somewhere in there.
    Whole(Span),
}

impl Origin {
    fn outer(&self, span: Span) -> Span {
        match self {
            Self::Whole(whole) => *whole,
            Self::Lines(lines) => {
                let outer = |offset: u32| {
                    let line = lines.partition_point(|(inner, _)| *inner <= offset);
                    let (inner, outer) = lines.get(line.saturating_sub(1)).copied()?;
                    Some(outer.saturating_add(offset.saturating_sub(inner)))
                };
                let start = outer(span.start).unwrap_or(0);
                // The end belongs to the line of the last character, not to the next line.
                let last = outer(span.end.saturating_sub(1).max(span.start)).unwrap_or(start);
                Span { start, end: last.saturating_add(u32::from(span.end > span.start)) }
            }
        }
    }
}

/// More than this many and the reader has stopped reporting.
const DIAGNOSTICS_MAX: usize = 100;

/// Collects diagnostics, so that one run reports as many of them as it can.
#[derive(Default, Debug)]
pub(crate) struct Sink {
    list: Vec<Diagnostic>,
    errors: usize,
    dropped: usize,
    /// The input that is being read.
    pub(crate) file: usize,
    inside: Option<Origin>,
    /// How many values aliases have repeated so far, in all inputs together.
    pub(crate) aliased: usize,
}

impl Sink {
    pub(crate) fn error(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Error, span, message.into(), help.into());
    }

    pub(crate) fn warn(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, span, message.into(), help.into());
    }

    fn push(&mut self, severity: Severity, span: Span, message: String, help: String) {
        let span = self.outer(span);
        let span = span.start as usize..span.end as usize;
        self.errors += usize::from(severity == Severity::Error);
        let file = self.file;
        if self.list.iter().any(|d| d.file == file && d.span == span && d.message == message) {
            return;
        }
        // Warnings must not crowd out the error that stops everything.
        if self.list.len() >= DIAGNOSTICS_MAX && (severity == Severity::Warning || self.errors > 1)
        {
            self.dropped += 1;
            return;
        }
        let help = (!help.is_empty()).then_some(help);
        self.list.push(Diagnostic { severity, message, file, span, help });
    }

    fn outer(&self, span: Span) -> Span {
        self.inside.as_ref().map_or(span, |origin| origin.outer(span))
    }

    /// Where something is, in terms of the inputs.
    pub(crate) fn place(&self, span: Span) -> Place {
        let span = self.outer(span);
        Place { file: u32::try_from(self.file).unwrap_or(0), start: span.start, end: span.end }
    }

    /// Reads a text that stands inside another.
    pub(crate) fn within<R>(&mut self, origin: Origin, read: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.inside.replace(origin);
        let result = read(self);
        self.inside = before;
        result
    }

    /// Speaks of another input for a while.
    pub(crate) fn at(&mut self, place: Place, tell: impl FnOnce(&mut Self, Span)) {
        let (file, inside) = (self.file, self.inside.take());
        self.file = place.file as usize;
        tell(self, Span { start: place.start, end: place.end });
        (self.file, self.inside) = (file, inside);
    }

    /// Whether further problems are counted only.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= DIAGNOSTICS_MAX
    }

    /// The help for an unknown word among perhaps many. Nothing once nobody will read it.
    pub(crate) fn hint<'a>(&self, word: &str, allowed: impl Iterator<Item = &'a str>) -> String {
        if self.is_full() {
            return String::new();
        }
        let allowed: Vec<&str> = allowed.take(ALLOWED_MAX).collect();
        did_you_mean(word, &allowed)
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All of them, in the order of the inputs, with spans that fit these.
    pub(crate) fn finish(mut self, texts: &[&str]) -> Vec<Diagnostic> {
        for diagnostic in &mut self.list {
            let text = texts.get(diagnostic.file).copied().unwrap_or("");
            let start = floor_boundary(text, diagnostic.span.start);
            let end = floor_boundary(text, diagnostic.span.end).max(start);
            diagnostic.span = start..end;
        }
        self.list.sort_by_key(|d| (d.file, d.span.start, d.severity));
        if self.dropped > 0 {
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            let file = texts.len().saturating_sub(1);
            let end = texts.last().map_or(0, |text| text.len());
            let message = format!("{} more problems are not shown", self.dropped);
            self.list.push(Diagnostic { severity, message, file, span: end..end, help: None });
        }
        self.list
    }
}

/// How many words are looked at for one that was meant.
pub(crate) const ALLOWED_MAX: usize = 1000;

/// The allowed word closest to what was written, if any is close.
pub(crate) fn suggest<'a>(word: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let allowed = allowed.iter().copied().take(ALLOWED_MAX).filter(|other| other.len() <= 256);
    closest(word, allowed)
}

/// The help for an unknown word: the close one, or all of them.
pub(crate) fn did_you_mean(word: &str, allowed: &[&str]) -> String {
    const LISTED_MAX: usize = 12;
    match suggest(word, allowed) {
        Some(close) => format!("did you mean `{}`?", shorten(close)),
        None if allowed.len() > LISTED_MAX => format!(
            "allowed: {} and {} more",
            shorten_all(&allowed[..LISTED_MAX]),
            allowed.len() - LISTED_MAX
        ),
        None => format!("allowed: {}", shorten_all(allowed)),
    }
}

fn shorten_all(words: &[&str]) -> String {
    words.iter().map(|word| shorten(word)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_never_crowded_out_by_warnings() {
        let mut sink = Sink::default();
        for i in 0..200 {
            sink.warn(Span::new(i, i + 1), "w", "");
        }
        sink.error(Span::new(300, 301), "broken", "");
        let list = sink.finish(&[""]);
        assert!(list.iter().any(|d| d.message == "broken"));
        assert!(list.iter().any(|d| d.message.contains("100 more problems")));
    }

    #[test]
    fn a_place_in_an_inner_text_is_a_place_in_the_outer_one() {
        // The outer text is "x: |\n  ab\n  cd\n", the inner "ab\ncd\n".
        let origin = Origin::Lines(vec![(0, 7), (3, 12), (6, 15)]);
        assert_eq!(origin.outer(Span { start: 3, end: 5 }), Span { start: 12, end: 14 });
        assert_eq!(origin.outer(Span { start: 0, end: 2 }), Span { start: 7, end: 9 });
        assert_eq!(origin.outer(Span { start: 1, end: 1 }), Span { start: 8, end: 8 });
        let whole = Span { start: 3, end: 9 };
        assert_eq!(Origin::Whole(whole).outer(Span { start: 0, end: 1 }), whole);
    }

    #[test]
    fn a_close_word_is_suggested_and_a_distant_one_is_not() {
        let allowed = ["Deployment", "DaemonSet", "Pod"];
        assert_eq!(suggest("Deploymnet", &allowed), Some("Deployment"));
        assert_eq!(suggest("ConfigMap", &allowed), None);
        assert_eq!(suggest(&"p".repeat(1000), &allowed), None);
    }
}
