//! Reading a file without trusting it.

use std::io::Read;
use std::path::Path;

use slicewise_input::read_text;
pub use slicewise_input::{FILE_BYTES_MAX, ReadError};

/// A text to read, and what messages call it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The file's name.
    pub name: String,
    /// Its text.
    pub text: String,
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
        let text = slicewise_input::read_file(path, "the YAML files")?;
        Ok(Self::new(path.display().to_string(), text))
    }

    /// Reads text from anywhere (a pipe, say), and stops at the limit.
    ///
    /// # Errors
    /// If it cannot be read, is too large or is not UTF-8.
    pub fn read(reader: impl Read, name: &str) -> Result<Self, ReadError> {
        let text = read_text(reader, name)?;
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
