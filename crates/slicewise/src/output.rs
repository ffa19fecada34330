//! Standard output, terminals, and files that are either whole or not there.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use slicewise_report::Style;

use crate::failure::Failure;

/// Columns when nobody says how many there are.
const WIDTH_DEFAULT: usize = 100;

fn color_wanted(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .filter(|columns| (40..=1000).contains(columns))
        .unwrap_or(WIDTH_DEFAULT)
}

/// How text on standard output is to look.
pub(crate) fn stdout_style() -> Style {
    Style { color: color_wanted(io::stdout().is_terminal()), width: width() }
}

/// How text on standard error is to look.
pub(crate) fn stderr_style() -> Style {
    Style { color: color_wanted(io::stderr().is_terminal()), width: width() }
}

/// Prints to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") })
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Output(error, "standard output".to_owned()))
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::plain(format!("cannot write JSON: {error}")))?;
    print(&text)
}

/// The unfinished file, for the case that the user interrupts.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Status of a program that was interrupted, as shells report it.
const INTERRUPTED: i32 = 130;

fn note_unfinished(partial: Option<&Path>) {
    if let Ok(mut unfinished) = UNFINISHED.lock() {
        *unfinished = partial.map(Path::to_owned);
    }
}

/// An interrupt leaves no unfinished file behind.
fn clean_up_when_interrupted() {
    // If there is a handler already, it is this one.
    let _ = ctrlc::set_handler(|| {
        if let Ok(unfinished) = UNFINISHED.lock()
            && let Some(partial) = &*unfinished
        {
            let _ = std::fs::remove_file(partial);
        }
        std::process::exit(INTERRUPTED);
    });
}

/// A file that appears under its name only when it is complete. Where there is a device, a pipe or
/// anything else that is no ordinary file, it is written to as it is: it cannot be replaced.
pub(crate) struct WholeFile {
    path: PathBuf,
    partial: Option<PathBuf>,
}

impl WholeFile {
    /// Begins the file. A link is followed: it stays, and what it leads to is replaced. The input
    /// is never overwritten.
    pub(crate) fn create(path: &Path, input: &Path) -> Result<(Self, File), Failure> {
        let shown = || path.display().to_string();
        if path.as_os_str() == "-" {
            let help = "name a file, or /dev/stdout together with --format json";
            return Err(Failure::with_help("a trace cannot be written to `-`", help));
        }
        let target = std::fs::canonicalize(path);
        if target.is_ok() && target.as_ref().ok() == std::fs::canonicalize(input).ok().as_ref() {
            return Err(Failure::plain(format!("{} is the input: not overwritten", shown())));
        }
        let path = &target.unwrap_or_else(|_| path.to_owned());
        let special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let partial = if special {
            None
        } else {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            if name.is_empty() {
                return Err(Failure::plain(format!("{} is no file name", shown())));
            }
            name.push(format!(".{}.partial", std::process::id()));
            Some(path.with_file_name(name))
        };
        if partial.is_some() {
            clean_up_when_interrupted();
            note_unfinished(partial.as_deref());
        }
        let opened = match &partial {
            Some(partial) => File::create(partial),
            None => File::options().write(true).open(path),
        };
        let file = opened.map_err(|error| Failure::Output(error, shown()))?;
        Ok((Self { path: path.to_owned(), partial }, file))
    }

    /// Gives the complete file its name.
    pub(crate) fn commit(mut self, file: &File) -> Result<(), Failure> {
        let Some(partial) = self.partial.take() else { return Ok(()) };
        let renamed = file.sync_all().and_then(|()| std::fs::rename(&partial, &self.path));
        note_unfinished(None);
        renamed.map_err(|error| {
            let _ = std::fs::remove_file(&partial);
            Failure::Output(error, self.path.display().to_string())
        })
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // After a commit there is nothing left to remove.
        if let Some(partial) = &self.partial {
            let _ = std::fs::remove_file(partial);
        }
    }
}
