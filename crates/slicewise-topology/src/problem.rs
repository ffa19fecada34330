//! What is wrong with a description of a machine.

use std::ops::Range;

use slicewise_input::Severity;

/// One thing that is wrong with a description, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: the offending value, and what is allowed.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Where in the text, bytes; empty at 0 where no place in it is meant.
    pub span: Range<usize>,
}

impl Problem {
    pub(crate) fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), help: None, span }
    }

    /// Something that is wrong with the whole.
    pub(crate) fn of_all(message: impl Into<String>) -> Self {
        Self::error(0..0, message)
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
