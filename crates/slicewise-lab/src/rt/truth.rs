//! What is kept of a case on a kernel: each run of each thread, and the conditions of each round.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::runs::{Run, Runs, Who};
use super::{QUIET_MS, RtCase};
use crate::failure::{Failure, Result};
use crate::recording::{self, Ran};
use crate::truth::{Conditions, DIRECTORY};

/// zstd's level: the files are written rarely.
const LEVEL: i32 = 19;

/// A case on a kernel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct RtCell {
    pub(crate) case: String,
    /// The kernel's series, as profiles are called.
    pub(crate) series: String,
    /// The package with its version.
    pub(crate) package: String,
    pub(crate) rounds: Vec<Round>,
}

/// One round. The window is that of the conditions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) conditions: Conditions,
    /// By thread, in the case's order.
    pub(crate) runs: Vec<Vec<Run>>,
}

/// What came back from a guest.
pub(super) fn read(case: &RtCase, series: &str, results: &Path) -> Result<RtCell> {
    let broken = |message: String| {
        Failure::with_help(
            format!("case {} on {series}: {message}", case.name),
            format!("see {}", results.display()),
        )
    };
    let text = |name: &str| {
        let path = results.join(name);
        fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))
    };
    if let Some(line) = text("stdout.txt")?.lines().find(|line| line.starts_with("refused: ")) {
        return Err(broken(format!("the guest {line}")));
    }
    let names = case.threads().map_err(broken)?;
    let mut rounds = Vec::new();
    for round in 0..case.rounds {
        let said = text(&format!("{round}/load.txt"))?;
        if !said.trim().is_empty() {
            return Err(broken(format!("the load says: {}", said.trim())));
        }
        let recording = recording::read(&results.join(format!("{round}/trace.txt")))?;
        if !recording.findings.is_clean() {
            return Err(broken(format!("round {round}: {:?}", recording.findings)));
        }
        rounds.push(
            one(case, &names, &recording)
                .ok_or_else(|| broken(format!("round {round}: not all threads ran")))?,
        );
    }
    let (name, series) = (case.name.clone(), series.to_owned());
    let package = text("package.txt")?.trim().to_owned();
    Ok(RtCell { case: name, series, package, rounds })
}

fn one(case: &RtCase, names: &[String], recording: &recording::Recording) -> Option<Round> {
    let watched = recording.watch(names, case.cpus, u64::from(QUIET_MS - 100) * 1_000_000)?;
    let mut conditions = watched.conditions;
    let tasks = case.loaded().ok()?.workload.tasks;
    // The load's begin: when the first thread is woken, less what it starts later by its file.
    let begins = conditions.threads.iter().filter_map(|thread| {
        let task = tasks.iter().find(|task| task.name == thread.group)?;
        thread.woken_ns?.checked_sub(task.start_ns)
    });
    conditions.begin_ns = begins.min()?;
    let end_ns = conditions.begin_ns + u64::from(case.duration_ms) * 1_000_000;
    if conditions.end_ns < end_ns || conditions.threads.len() < names.len() {
        return None;
    }
    conditions.end_ns = end_ns;
    // Nothing after the window matters to the simulation.
    for background in &mut conditions.background {
        background.stints.retain(|stint| stint.woken_ns < end_ns);
    }
    conditions.background.retain(|background| !background.stints.is_empty());
    let who = |ran: Option<Ran>| match ran {
        None => Who::Idle,
        Some(Ran::Other) => Who::Other,
        Some(Ran::Thread(thread)) => Who::Thread(thread),
    };
    let mut runs = Runs::new(names.len(), conditions.begin_ns, end_ns);
    for switch in &watched.switches {
        let (prev, next) = (who(switch.prev), who(switch.next));
        runs.switch(switch.now_ns, switch.cpu, prev, switch.voluntary, next);
    }
    Some(Round { conditions, runs: runs.finish() })
}

/// The truth in the repository, by kernel.
fn path(series: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("rt-{series}.json.zst"))
}

/// The cells of a kernel; none if it has not been recorded.
pub(crate) fn kept(series: &str) -> Result<Vec<RtCell>> {
    let path = path(series);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let broken = |error: &dyn std::fmt::Display| {
        Failure::with_help(
            format!("{} is broken: {error}", path.display()),
            "record it again: `rt`",
        )
    };
    let packed = fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?;
    let text = zstd::decode_all(packed.as_slice()).map_err(|error| broken(&error))?;
    serde_json::from_slice(&text).map_err(|error| broken(&error))
}

/// Keeps a cell beside those that are there already, or in the place of an older one.
pub(crate) fn keep(cell: RtCell) -> Result<()> {
    let mut cells = kept(&cell.series)?;
    let path = path(&cell.series);
    cells.retain(|old| old.case != cell.case);
    cells.push(cell);
    cells.sort_by(|a, b| a.case.cmp(&b.case));
    let packed = serde_json::to_vec(&cells)
        .map_err(std::io::Error::from)
        .and_then(|text| zstd::encode_all(text.as_slice(), LEVEL))
        .map_err(|error| Failure::file("pack", &path, &error))?;
    fs::write(&path, packed).map_err(|error| Failure::file("write", &path, &error))
}
