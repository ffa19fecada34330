//! Why a trace cannot be read.

use std::io;

/// Why a trace cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read the trace: {0}")]
    Io(#[from] io::Error),
    /// The file is not what it says it is. Offsets are bytes from its beginning.
    #[error("byte {offset}: {what}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What is wrong, with the value and what is allowed.
        what: String,
    },
    /// The file ends before something that has to be there. Offsets are bytes from its beginning.
    #[error(
        "byte {offset}: {what} of {size} bytes expected, but the file ends at byte {file_bytes}"
    )]
    Truncated {
        /// Where it should begin.
        offset: u64,
        /// What is expected.
        what: String,
        /// How much.
        size: u64,
        /// The file's size.
        file_bytes: u64,
    },
    /// The file is sound, but of a kind that is not read.
    #[error("{what}")]
    Unsupported {
        /// What it is, and what is read instead.
        what: String,
    },
}

impl Error {
    /// What to do about it, if anything can be said.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Truncated { .. } => Some(
                "it was not written or copied completely: copy it again, or record again and wait \
                 until the recorder has ended",
            ),
            Self::Io(_) | Self::Malformed { .. } | Self::Unsupported { .. } => None,
        }
    }

    pub(crate) fn malformed(offset: u64, what: impl Into<String>) -> Self {
        Self::Malformed { offset, what: what.into() }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }
}
