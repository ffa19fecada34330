//! What is wrong with an input, and where: never rendered here, always with a byte range.

use std::ops::Range;

use slicewise_input::closest;
pub(crate) use slicewise_input::shorten;
pub use slicewise_input::{LineCol, Severity, line_col};

use crate::Sources;

/// One thing that is wrong with an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: the offending value, and what is allowed.
    pub message: String,
    /// Where, as byte offsets into the input and the files it names ([`Sources`]); always within one
    /// of them and on character boundaries.
    pub span: Range<usize>,
    /// What to write instead.
    pub help: Option<String>,
}

/// More than this many and the reader has stopped reading.
const DIAGNOSTICS_MAX: usize = 100;

/// Collects diagnostics, so that one run reports as many of them as it can.
#[derive(Default, Debug)]
pub(crate) struct Sink {
    list: Vec<Diagnostic>,
    errors: usize,
    dropped: usize,
}

impl Sink {
    pub(crate) fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.push(Severity::Error, span, message.into(), None);
    }

    pub(crate) fn error_help(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Error, span, message.into(), Some(help.into()));
    }

    pub(crate) fn warn(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let help = help.into();
        let help = (!help.is_empty()).then_some(help);
        self.push(Severity::Warning, span, message.into(), help);
    }

    fn push(
        &mut self,
        severity: Severity,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        self.errors += usize::from(severity == Severity::Error);
        let same = |d: &Diagnostic| d.span == span && d.message == message;
        if self.list.iter().any(same) {
            return;
        }
        // Warnings must not crowd out the error that stops everything.
        if self.list.len() >= DIAGNOSTICS_MAX && (severity == Severity::Warning || self.errors > 1)
        {
            self.dropped += 1;
            return;
        }
        self.list.push(Diagnostic { severity, message, span, help });
    }

    /// Whether another diagnostic would be shown: help that takes long to find can be left out if
    /// not.
    pub(crate) fn has_room(&self) -> bool {
        self.list.len() < DIAGNOSTICS_MAX
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Takes over what is wrong with a text that begins at `start` of the space of offsets.
    pub(crate) fn take_over(&mut self, other: Self, start: usize) {
        for Diagnostic { severity, message, span, help } in other.list {
            self.push(severity, span.start + start..span.end + start, message, help);
        }
        self.dropped += other.dropped;
    }

    /// All of them, in the order of the texts, with spans that fit them.
    pub(crate) fn finish(mut self, sources: &Sources) -> Vec<Diagnostic> {
        for diagnostic in &mut self.list {
            diagnostic.span = sources.clamp(diagnostic.span.clone());
        }
        self.list.sort_by_key(|d| (d.span.start, d.severity));
        if self.dropped > 0 {
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            let message = format!("{} more problems are not shown", self.dropped);
            let end = sources.main().len();
            self.list.push(Diagnostic { severity, message, span: end..end, help: None });
        }
        self.list
    }
}

/// The allowed word closest to what was written, if any is close.
pub(crate) fn suggest<'a>(word: &str, allowed: &[&'a str]) -> Option<&'a str> {
    closest(word, allowed.iter().copied())
}

/// The help for an unknown word: the close one, or all of them.
pub(crate) fn did_you_mean(word: &str, allowed: &[&str]) -> String {
    match suggest(word, allowed) {
        Some(close) => format!("did you mean `{close}`?"),
        None => format!("allowed: {}", allowed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_word_is_suggested_and_a_distant_one_is_not() {
        let allowed = ["policy", "priority", "period"];
        assert_eq!(suggest("polciy", &allowed), Some("policy"));
        assert_eq!(suggest("Priority", &allowed), Some("priority"));
        assert_eq!(suggest("zzz", &allowed), None);
        assert_eq!(suggest(&"p".repeat(1000), &allowed), None);
    }

    #[test]
    fn an_error_is_never_crowded_out_by_warnings() {
        let mut sink = Sink::default();
        for i in 0..200 {
            sink.warn(i..i + 1, "w", "");
        }
        sink.error(300..301, "broken");
        let list = sink.finish(&Sources::new(""));
        assert!(list.iter().any(|d| d.message == "broken"));
        assert!(list.iter().any(|d| d.message.contains("100 more problems")));
    }

    #[test]
    fn offsets_inside_a_character_and_past_the_end_still_have_a_place() {
        assert_eq!(line_col("ä\nb", 1), LineCol { line: 1, column: 1 });
        assert_eq!(line_col("ä\nb", 99), LineCol { line: 2, column: 2 });
    }
}
