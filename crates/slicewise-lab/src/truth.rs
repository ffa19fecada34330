//! What is kept of a case on a kernel: enough to compare Slicewise with it without booting.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::figures::Summary;

/// The directory in the repository.
pub(crate) const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/truth");
/// zstd's level: the files are written rarely.
const LEVEL: i32 = 19;

/// Where the cells of a kernel are.
fn path(directory: &Path, series: &str) -> PathBuf {
    directory.join(format!("{series}.json.zst"))
}

/// The cells of a kernel; none if it has not been recorded.
pub(crate) fn read(directory: &Path, series: &str) -> Result<Vec<Cell>> {
    let path = path(directory, series);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let broken = |error: &dyn std::fmt::Display| {
        Failure::with_help(
            format!("{} is broken: {error}", path.display()),
            "record it again: `fidelity`",
        )
    };
    let packed = fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?;
    let text = zstd::decode_all(packed.as_slice()).map_err(|error| broken(&error))?;
    serde_json::from_slice(&text).map_err(|error| broken(&error))
}

/// Puts cells beside those that are there already, or in their place.
pub(crate) fn write(directory: &Path, series: &str, new: Vec<Cell>) -> Result<()> {
    let mut cells = read(directory, series)?;
    cells.retain(|old| new.iter().all(|cell| cell.case != old.case));
    cells.extend(new);
    cells.sort_by(|a, b| a.case.cmp(&b.case));
    let path = path(directory, series);
    fs::create_dir_all(directory).map_err(|error| Failure::file("create", directory, &error))?;
    let packed = serde_json::to_vec(&cells)
        .map_err(std::io::Error::from)
        .and_then(|text| zstd::encode_all(text.as_slice(), LEVEL))
        .map_err(|error| Failure::file("pack", &path, &error))?;
    fs::write(&path, packed).map_err(|error| Failure::file("write", &path, &error))
}

/// A case on a kernel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) case: String,
    /// The kernel's series, as profiles are called.
    pub(crate) series: String,
    /// The package with its version.
    pub(crate) package: String,
    /// What the kernel did, all rounds together.
    pub(crate) kernel: Summary,
    /// What each round was like.
    pub(crate) rounds: Vec<Conditions>,
    /// How often the core makes the kernel's decisions, replaying the recorded events.
    #[serde(default)]
    pub(crate) shadow: Option<Shadow>,
    /// What makes the recording doubtful, if anything.
    pub(crate) doubts: Vec<String>,
}

/// Shadow agreement of all rounds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Shadow {
    /// The kernel's picks in the window.
    pub(crate) picks: u64,
    /// The core's pick was the same.
    pub(crate) agreed: u64,
    /// Picks with at least two tasks to choose from.
    pub(crate) with_choice: u64,
    pub(crate) with_choice_agreed: u64,
    /// By kind of event: name, picks, agreed.
    pub(crate) by_kind: BTreeMap<String, (u64, u64)>,
}

/// The conditions of one round, that the simulation is given: the lab does not guess phases.
/// All times are from its origin.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Conditions {
    /// When CPU 0 ticks, modulo a tick.
    pub(crate) tick_phase_ns: u64,
    /// How much later CPU 1 does.
    pub(crate) tick_skew_ns: u64,
    /// The window that is measured.
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) threads: Vec<Thread>,
    /// Kernel threads and whoever else ran.
    pub(crate) background: Vec<Background>,
}

/// A thread of the case that is there from the start.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub(crate) group: String,
    /// When it first ran under its name.
    pub(crate) start_ns: u64,
    /// When it was first woken: threads of the load program sleep until all are there.
    pub(crate) woken_ns: Option<u64>,
    /// An expiry of its timer soon after, if it has one.
    pub(crate) expiry_ns: Option<u64>,
    /// On which CPU it slept until it was first woken, where that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slept_on: Option<u32>,
}

/// A task that is not of the case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Background {
    pub(crate) comm: String,
    /// The kernel's priority number.
    pub(crate) prio: i32,
    pub(crate) cpus: Vec<u32>,
    pub(crate) stints: Vec<Stint>,
}

/// From a wakeup to the next sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Stint {
    pub(crate) woken_ns: u64,
    /// CPU time used.
    pub(crate) run_ns: u64,
}
