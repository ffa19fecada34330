//! What all readers of people's texts share: files that are not trusted, places in them, and words in
//! messages about them.

mod file;
mod place;
mod words;

pub use file::{FILE_BYTES_MAX, ReadError, read_file, read_text};
pub use place::{LineCol, floor_boundary, line_col};
pub use words::{closest, shorten, show_ns};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The input cannot be used.
    Error,
    /// The input can be used, but perhaps not as its author meant.
    Warning,
}
