//! Reading a file without trusting it.

use std::path::Path;

pub use slicewise_input::{FILE_BYTES_MAX, ReadError, read_text};

use crate::{Diagnostic, Format, Loaded, Rejected, Sources, load_with};

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
    slicewise_input::read_file(path, "a scenario (.toml) or an rt-app file (.json)")
}
