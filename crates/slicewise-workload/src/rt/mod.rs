//! Real-time task sets for analysis: task tables, and what scenarios and rt-app files say.
//!
//! A task table names the worst case of every task. In the other formats it is derived from what a
//! task does, if that has a worst case: a loop that runs for bounded times and then waits for its
//! timer. Ordinary tasks are left out, because they cannot delay real-time ones.

mod derive;
mod table;

pub(crate) use table::parse_band;

use std::ops::Range;
use std::path::Path;

use slicewise_rtcheck::TaskSet;

use crate::diagnostic::Sink;
use crate::file::read_file;
use crate::{Diagnostic, Format, LoadFileError, Loaded, has_sane_size, rtapp, scenario};

/// A task set that was read and checked.
#[derive(Clone, Debug)]
pub struct LoadedRt {
    /// The tasks.
    pub set: TaskSet,
    /// Where each task is in the text.
    pub origins: Vec<Range<usize>>,
    /// The kernel the file names.
    pub kernel: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Names of ordinary tasks that are left out.
    pub ordinary: Vec<String>,
    /// What may not be as its author meant.
    pub warnings: Vec<Diagnostic>,
    /// The text.
    pub source: String,
}

/// Reads a task set: a task table, a scenario or an rt-app file.
///
/// ```
/// let table = "[[task]]\nname = \"control\"\nwcet = \"2ms\"\nperiod = \"10ms\"\npriority = 50\n";
/// let loaded = slicewise_workload::load_rt(table, Default::default()).unwrap();
/// assert_eq!(loaded.set.tasks[0].deadline_ns, 10_000_000);
/// ```
///
/// # Errors
/// Everything wrong with the text, in its order, warnings included.
pub fn load_rt(text: &str, format: Format) -> Result<LoadedRt, Vec<Diagnostic>> {
    let format = if format == Format::Auto { Format::of_text(text) } else { format };
    let mut sink = Sink::default();
    let read = match has_sane_size(text, &mut sink) {
        true => read(text, format, &mut sink),
        false => None,
    };
    match read {
        Some(loaded) if !sink.has_errors() => {
            Ok(LoadedRt { warnings: sink.finish(text), source: text.to_owned(), ..loaded })
        }
        _ => {
            if !sink.has_errors() {
                sink.error(0..0, "the text holds no task set");
            }
            Err(sink.finish(text))
        }
    }
}

fn read(text: &str, format: Format, sink: &mut Sink) -> Option<LoadedRt> {
    let (parts, reserved) = match format {
        Format::RtApp => rtapp::read_with_reservations(text, sink)?,
        _ if table::is_scenario(text) => (scenario::read(text, sink)?, Vec::new()),
        Format::Scenario | Format::Auto => return table::read(text, sink),
    };
    if sink.has_errors() {
        return None;
    }
    let loaded: Loaded = crate::finish(parts, format, text, Sink::default());
    derive::derive(&loaded, &reserved, sink)
}

/// Reads a file with a task set; the extension tells the format, or else its text.
///
/// # Errors
/// If it cannot be read or holds no task set.
pub fn load_rt_file(path: &Path) -> Result<LoadedRt, LoadFileError> {
    let text = read_file(path)?;
    load_rt(&text, Format::of_path(path))
        .map_err(|diagnostics| LoadFileError::Invalid { source_text: text, diagnostics })
}
