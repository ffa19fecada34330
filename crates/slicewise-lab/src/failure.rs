//! What went wrong and what to do about it.

use std::fmt;
use std::path::Path;

/// A message that names the file or tool, and a fix where there is one.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    help: Option<String>,
}

/// Most functions here can fail.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Something that has no known fix.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// Something with a fix.
    pub(crate) fn with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()) }
    }

    /// A file that could not be read or written: `doing` is the verb.
    pub(crate) fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(format!("cannot {doing} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error: {}", self.message)?;
        if let Some(help) = &self.help {
            write!(out, "\nhelp: {help}")?;
        }
        Ok(())
    }
}
