//! Reading a file without trusting it.

use std::io::Read;
use std::path::Path;

/// The largest file that is read, bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why a file was not read.
#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The system said no.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is a directory.
    #[error("{path} is a directory; name {wanted} in it")]
    Directory {
        /// The directory.
        path: String,
        /// What was wanted.
        wanted: &'static str,
    },
    /// It is too large.
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes, the most that is read")]
    TooLarge {
        /// The file.
        path: String,
    },
    /// It is not text.
    #[error("{path} is not UTF-8 text: line {line} has an invalid byte (offset {offset})")]
    NotText {
        /// The file.
        path: String,
        /// The line of the first invalid byte.
        line: usize,
        /// Its offset.
        offset: usize,
    },
}

/// Reads a file that is not too large and text; of a directory, says which of its files are `wanted`.
///
/// # Errors
/// If it cannot be read, is too large or is not UTF-8.
pub fn read_file(path: &Path, wanted: &'static str) -> Result<String, ReadError> {
    let shown = path.display().to_string();
    let io = |source| ReadError::Io { path: shown.clone(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if metadata.is_dir() {
        return Err(ReadError::Directory { path: shown, wanted });
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(ReadError::TooLarge { path: shown });
    }
    read_text(std::fs::File::open(path).map_err(io)?, &shown)
}

/// Reads text from anywhere (a pipe, say), and stops at the limit.
///
/// # Errors
/// If it cannot be read, is too large or is not UTF-8. `name` is what messages call it.
pub fn read_text(reader: impl Read, name: &str) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    reader
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| ReadError::Io { path: name.to_owned(), source })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ReadError::TooLarge { path: name.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
        ReadError::NotText { path: name.to_owned(), line, offset }
    })
}
