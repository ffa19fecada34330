//! Reading a file without trusting it.

use std::io::Read;
use std::path::Path;

/// The largest file that is read, bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// A text to read, and what messages call it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The file's name.
    pub name: String,
    /// Its text.
    pub text: String,
}

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
    #[error("{path} is a directory; name the YAML files in it")]
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

impl Source {
    /// A text with a name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Reads a file that is not too large and text.
    ///
    /// # Errors
    /// If it cannot be read, is too large or is not UTF-8.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let shown = path.display().to_string();
        let io = |source| ReadError::Io { path: shown.clone(), source };
        let metadata = std::fs::metadata(path).map_err(io)?;
        if metadata.is_dir() {
            return Err(ReadError::Directory { path: shown });
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(ReadError::TooLarge { path: shown });
        }
        Self::read(std::fs::File::open(path).map_err(io)?, &shown)
    }

    /// Reads text from anywhere (a pipe, say), and stops at the limit.
    ///
    /// # Errors
    /// If it cannot be read, is too large or is not UTF-8.
    pub fn read(reader: impl Read, name: &str) -> Result<Self, ReadError> {
        let mut bytes = Vec::new();
        reader
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| ReadError::Io { path: name.to_owned(), source })?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ReadError::TooLarge { path: name.to_owned() });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            let newlines = error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n');
            ReadError::NotText { path: name.to_owned(), line: newlines.count() + 1, offset }
        })?;
        Ok(Self::new(name, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_or_too_long_is_refused_with_its_name() {
        let error = Source::read(&b"a: 1\nb: \xff\n"[..], "x.yaml").unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.yaml is not UTF-8 text: line 2 has an invalid byte (offset 8)"
        );
        let endless = std::io::repeat(b'a');
        let error = Source::read(endless, "endless").unwrap_err();
        assert!(error.to_string().contains("larger than 67108864 bytes"), "{error}");
        assert!(Source::open(Path::new("/")).unwrap_err().to_string().contains("is a directory"));
    }
}
