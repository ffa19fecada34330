//! Reading a file without trusting it.

use std::io::Read;
use std::path::Path;

use crate::{Diagnostic, Format, Loaded, Rejected, Sources, load_with};

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
    #[error("{path} is a directory; name a scenario (.toml) or an rt-app file (.json) in it")]
    Directory {
        /// The directory.
        path: String,
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

/// Why a file was not loaded.
#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum LoadFileError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It was read, but it is no workload.
    #[error("not a workload: {}", .diagnostics.first().map_or("", |d| d.message.as_str()))]
    Invalid {
        /// Its text, and those of the files it names.
        sources: Sources,
        /// What is wrong with it, at least one error.
        diagnostics: Vec<Diagnostic>,
    },
}

/// Reads and loads a file; the extension tells the format, or else its text. Files it names are
/// those of the directory it is in.
///
/// # Errors
/// If it cannot be read or is not a workload.
pub fn load_file(path: &Path) -> Result<Loaded, LoadFileError> {
    let text = read_file(path)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    load_in(&text, Format::of_path(path), directory).map_err(LoadFileError::from)
}

/// Reads a workload; files it names are those of this directory.
///
/// # Errors
/// Everything wrong with the text and with the files it names.
pub fn load_in(text: &str, format: Format, directory: &Path) -> Result<Loaded, Rejected> {
    load_with(text, format, &mut |name| named_file(directory, name))
}

/// The text of a file that a workload names. Only of a file: a workload must not hold up the
/// program at a pipe or a terminal.
pub(crate) fn named_file(directory: &Path, name: &str) -> Result<String, String> {
    let path = directory.join(name);
    if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return Err(format!("{} is no file", path.display()));
    }
    read_file(&path).map_err(|error| error.to_string())
}

impl From<Rejected> for LoadFileError {
    fn from(rejected: Rejected) -> Self {
        let Rejected { sources, diagnostics } = rejected;
        Self::Invalid { sources, diagnostics }
    }
}

/// Reads a file that is not too large and text.
pub(crate) fn read_file(path: &Path) -> Result<String, ReadError> {
    let shown = path.display().to_string();
    let io = |source| ReadError::Io { path: shown.clone(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if metadata.is_dir() {
        return Err(ReadError::Directory { path: shown });
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
