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
use crate::file::{named_file, read_file};
use crate::{
    Diagnostic, Format, Inputs, LoadFileError, Loaded, Rejected, Sources, has_sane_size, rtapp,
    scenario,
};

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
    /// The text, and those of the files it names.
    pub sources: Sources,
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
    load_rt_with(text, format, &mut crate::no_files).map_err(|rejected| rejected.diagnostics)
}

/// The same; files that it names are those of this directory.
///
/// # Errors
/// Everything wrong with the text and the files it names.
pub fn load_rt_in(text: &str, format: Format, directory: &Path) -> Result<LoadedRt, Rejected> {
    load_rt_with(text, format, &mut |name| named_file(directory, name))
}

fn load_rt_with(
    text: &str,
    format: Format,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<LoadedRt, Rejected> {
    let format = if format == Format::Auto { Format::of_text(text) } else { format };
    let mut sink = Sink::default();
    let mut inputs = Inputs { sources: Sources::new(text), read };
    let read = match has_sane_size(text, &mut sink) {
        true => read_set(text, format, &mut inputs, &mut sink),
        false => None,
    };
    let sources = inputs.sources;
    match read {
        Some(loaded) if !sink.has_errors() => {
            Ok(LoadedRt { warnings: sink.finish(&sources), sources, ..loaded })
        }
        _ => {
            if !sink.has_errors() {
                sink.error(0..0, "the text holds no task set");
            }
            Err(Rejected { diagnostics: sink.finish(&sources), sources })
        }
    }
}

fn read_set(
    text: &str,
    format: Format,
    inputs: &mut Inputs<'_>,
    sink: &mut Sink,
) -> Option<LoadedRt> {
    let parts = match format {
        Format::RtApp => rtapp::read(text, sink)?,
        _ if table::is_scenario(text) => scenario::read(text, inputs, sink)?,
        Format::Scenario | Format::Auto => return table::read(text, sink),
    };
    if sink.has_errors() {
        return None;
    }
    let loaded: Loaded = crate::finish(parts, format, inputs.sources.clone(), Sink::default());
    derive::derive(&loaded, sink)
}

/// Reads a file with a task set; the extension tells the format, or else its text. Files that it
/// names are those of the directory it is in.
///
/// # Errors
/// If it cannot be read or holds no task set.
pub fn load_rt_file(path: &Path) -> Result<LoadedRt, LoadFileError> {
    let text = read_file(path)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    load_rt_in(&text, Format::of_path(path), directory).map_err(LoadFileError::from)
}
