//! Whatever a user names: a preset, a layout, a file, a directory, this machine.

use std::io::Read;
use std::path::{Path, PathBuf};

use slicewise_input::{ReadError, read_file};

use crate::{Machine, Problem, SysFiles, SysPlace, from_lscpu, from_sysfs, from_toml, named};

/// Why nothing came of what was named.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// The name is neither known nor that of a file, or it is a layout with a mistake.
    Name(Problem),
    /// It could not be read.
    Read(String),
    /// It was read, and is wrong.
    Invalid {
        /// The text: empty where it was no text.
        text: String,
        /// What is wrong, at least one error.
        problems: Vec<Problem>,
    },
}

/// The machine of a preset's name, a layout, or a path: what there is a preset of is one; a word without
/// `/` or `.` that no file has is a layout, or a mistake.
///
/// # Errors
/// What is wrong with it.
pub fn find(word: &str, directory: &Path) -> Result<Machine, SourceError> {
    match named(word) {
        Ok(machine) => Ok(machine),
        Err(problem) => {
            let path = directory.join(word);
            if path.exists() || looks_like_path(word) {
                read_path(&path)
            } else {
                Err(SourceError::Name(problem))
            }
        }
    }
}

fn looks_like_path(word: &str) -> bool {
    word.contains(['/', '\\']) || Path::new(word).extension().is_some()
}

/// This machine.
///
/// # Errors
/// If its `/sys` cannot be read, or tells of what cannot be.
pub fn host() -> Result<Machine, SourceError> {
    let files = SysPlace::Host.read().map_err(SourceError::Read)?;
    let invalid = |problem| SourceError::Invalid { text: String::new(), problems: vec![problem] };
    from_sysfs(&files, "this machine").map_err(invalid)
}

/// The machine of a file or directory: a copy of `/sys/devices/system`, a tar of one, its files as lines,
/// what `lscpu` printed, or TOML.
///
/// # Errors
/// If it cannot be read, or is none of these.
pub fn read_path(path: &Path) -> Result<Machine, SourceError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let metadata = std::fs::metadata(path)
        .map_err(|error| SourceError::Read(format!("cannot read {}: {error}", path.display())))?;
    let invalid = |problem| SourceError::Invalid { text: String::new(), problems: vec![problem] };
    if metadata.is_dir() {
        let files = SysPlace::Directory(PathBuf::from(path)).read().map_err(SourceError::Read)?;
        return from_sysfs(&files, &name).map_err(invalid);
    }
    if !metadata.is_file() {
        return Err(SourceError::Read(format!("{} is no file", path.display())));
    }
    if is_tar(path) {
        let file = std::fs::File::open(path).map_err(|error| {
            SourceError::Read(format!("cannot read {}: {error}", path.display()))
        })?;
        let files = SysFiles::from_tar(std::io::BufReader::new(file))
            .map_err(|error| SourceError::Read(format!("{}: {error}", path.display())))?;
        return from_sysfs(&files, &name).map_err(invalid);
    }
    let text = read_file(path, "a machine").map_err(|error| {
        let help = match (&error, path.extension().and_then(|extension| extension.to_str())) {
            (ReadError::NotText { .. }, Some("gz" | "tgz" | "xz" | "zst" | "bz2")) => {
                " (unpack it first: a plain tar is read)"
            }
            _ => "",
        };
        SourceError::Read(format!("{error}{help}"))
    })?;
    read_text(&text, &name).map_err(|problems| SourceError::Invalid { text, problems })
}

/// Whether a file begins like a tar.
fn is_tar(path: &Path) -> bool {
    let Ok(file) = std::fs::File::open(path) else { return false };
    let mut head = Vec::new();
    file.take(512).read_to_end(&mut head).is_ok() && head.get(257..262) == Some(b"ustar")
}

/// The machine of a text: TOML, what `lscpu` printed, or files of `/sys/devices/system` as lines
/// `PATH:CONTENT`. Which of them shows in how it begins.
///
/// # Errors
/// Everything wrong with it.
pub fn read_text(text: &str, name: &str) -> Result<Machine, Vec<Problem>> {
    let text_start = text.trim_start_matches('\u{feff}').trim_start();
    let of_lscpu = |text: &str| from_lscpu(text, name).map_err(|problem| vec![problem]);
    if text_start.starts_with('{')
        || text_start.starts_with("# The following is the parsable format")
    {
        return of_lscpu(text);
    }
    let is_content = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
    let first = text_start.lines().find(is_content).unwrap_or_default();
    if first.starts_with("CPU ")
        || first.starts_with(|c: char| c.is_ascii_digit()) && first.contains(',')
    {
        return of_lscpu(text);
    }
    // A path before a colon, and no key before a sign of equality.
    let is_line =
        first.split_once(':').is_some_and(|(path, _)| path.contains('/') && !path.contains('='));
    if is_line {
        let files = SysFiles::from_lines(text).map_err(|error| vec![Problem::of_all(error)])?;
        return from_sysfs(&files, name).map_err(|problem| vec![problem]);
    }
    from_toml(text, name)
}
