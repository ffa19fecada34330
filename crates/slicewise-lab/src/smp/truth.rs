//! What is kept of a case on a kernel by a clock: its figures and the conditions of each round.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::figures::{self, Figures};
use super::{ClockKind, LEAD_MS, SmpCase};
use crate::failure::{Failure, Result};
use crate::truth::{Conditions, DIRECTORY};
use crate::{qemu, recording};

/// Threads that slept until the begin are woken within.
const TOGETHER_NS: u64 = 50_000_000;
/// zstd's level: the files are written rarely.
const LEVEL: i32 = 19;

/// A case on a kernel, by a clock.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct SmpCell {
    pub(crate) case: String,
    /// The kernel's series, as profiles are called.
    pub(crate) series: String,
    /// The package with its version.
    pub(crate) package: String,
    pub(crate) clock: ClockKind,
    pub(crate) rounds: Vec<Round>,
}

/// One round.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) conditions: Conditions,
    pub(crate) figures: Figures,
    /// Of the time the guest's CPUs wanted to run on the host, the part they had to wait.
    pub(crate) stolen: f64,
}

/// What came back from a guest.
pub(super) fn read(
    case: &SmpCase,
    series: &str,
    clock: ClockKind,
    results: &Path,
) -> Result<SmpCell> {
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
    // A recording of before the guest looked itself.
    if !text("stdout.txt")?.lines().any(|line| line == format!("cpus {}", case.cpus)) {
        return Err(broken("not all CPUs came up".to_owned()));
    }
    let processes = case.groups().map_err(broken)?.len();
    let host = text(qemu::HOST_TIMES)?;
    let mut rounds = Vec::new();
    for round in 0..case.rounds {
        let mut figures = Figures::default();
        for process in (0..processes).map(Some).chain([None]) {
            let of = |file: &str| {
                let number = process.map_or(String::new(), |number| format!("-{number}"));
                text(&format!("{round}/{file}{number}.txt"))
            };
            let said = of("load")?;
            if !said.trim().is_empty() {
                return Err(broken(format!("the load says: {}", said.trim())));
            }
            let window_ns = u64::from(case.duration_ms) * 1_000_000;
            let part = figures::difference(&of("accounts")?, window_ns)
                .ok_or_else(|| broken(format!("round {round}: the accounts cannot be read")))?;
            figures.tasks.extend(part.tasks);
            (figures.window_ns, figures.idle) = (part.window_ns, part.idle);
        }
        let recording = recording::read(&results.join(format!("{round}/trace.txt")))?;
        if !recording.findings.is_clean() {
            return Err(broken(format!("round {round}: {:?}", recording.findings)));
        }
        let conditions = conditions(case, &recording).ok_or_else(|| {
            broken(format!("round {round}: not all threads were there at the begin"))
        })?;
        let names = case.alike().map_err(broken)?;
        let names: Vec<String> = names.into_iter().flat_map(|alike| alike.tasks).collect();
        figures.tasks.retain(|name, _| names.contains(name));
        if figures.tasks.len() < names.len() {
            return Err(broken(format!("round {round}: threads are missing in the accounts")));
        }
        let stolen = stolen(&host, &case.name, round).unwrap_or(0.0);
        rounds.push(Round { conditions, figures, stolen });
    }
    let (name, series) = (case.name.clone(), series.to_owned());
    let package = text("package.txt")?.trim().to_owned();
    Ok(SmpCell { case: name, series, package, clock, rounds })
}

fn conditions(case: &SmpCase, recording: &recording::Recording) -> Option<Conditions> {
    let tasks = case.loaded().ok()?.workload.tasks;
    let names: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
    let watched = recording.watch(&names, case.cpus, u64::from(LEAD_MS) * 1_000_000)?;
    let mut conditions = watched.conditions;
    let begins = conditions.threads.iter().filter_map(|thread| {
        let task = tasks.iter().find(|task| task.name == thread.group)?;
        thread.woken_ns?.checked_sub(task.start_ns)
    });
    let begins: Vec<u64> = begins.collect();
    conditions.begin_ns = *begins.iter().min()?;
    // Threads that were made too late did not wait for the begin, and when they came is not known.
    if begins.iter().max()? - conditions.begin_ns > TOGETHER_NS {
        return None;
    }
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
    Some(conditions)
}

/// From the host's accounts at the marks of a round.
fn stolen(host: &str, case: &str, round: u32) -> Option<f64> {
    let at = |when: &str| {
        let mark = format!("mark {case} {round} {when} ");
        let mut lines = host.lines().skip_while(|line| !line.starts_with(&mark));
        lines.next()?;
        let cpus = lines.map_while(|line| line.strip_prefix("cpu "));
        cpus.map(|cpu| {
            let (ran, waited) = cpu.split_once(' ')?;
            Some((ran.parse::<u64>().ok()?, waited.parse::<u64>().ok()?))
        })
        .try_fold((0, 0), |sum, cpu| cpu.map(|cpu| (sum.0 + cpu.0, sum.1 + cpu.1)))
    };
    let (begin, end) = (at("begin")?, at("end")?);
    let (ran_ns, waited_ns) = (end.0.checked_sub(begin.0)?, end.1.checked_sub(begin.1)?);
    Some(waited_ns as f64 / (ran_ns + waited_ns).max(1) as f64)
}

/// The truth in the repository, by kernel.
fn path(series: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("smp-{series}.json.zst"))
}

/// The cells of a kernel; none if it has not been recorded.
pub(crate) fn kept(series: &str) -> Result<Vec<SmpCell>> {
    let path = path(series);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let broken = |error: &dyn std::fmt::Display| {
        Failure::with_help(
            format!("{} is broken: {error}", path.display()),
            "record it again: `smp`",
        )
    };
    let packed = fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?;
    let text = zstd::decode_all(packed.as_slice()).map_err(|error| broken(&error))?;
    serde_json::from_slice(&text).map_err(|error| broken(&error))
}

/// Keeps a cell beside those that are there already, or in the place of an older one.
pub(crate) fn keep(cell: SmpCell) -> Result<()> {
    let mut cells = kept(&cell.series)?;
    let path = path(&cell.series);
    cells.retain(|old| (&old.case, old.clock) != (&cell.case, cell.clock));
    cells.push(cell);
    cells.sort_by(|a, b| (&a.case, a.clock).cmp(&(&b.case, b.clock)));
    let packed = serde_json::to_vec(&cells)
        .map_err(std::io::Error::from)
        .and_then(|text| zstd::encode_all(text.as_slice(), LEVEL))
        .map_err(|error| Failure::file("pack", &path, &error))?;
    fs::write(&path, packed).map_err(|error| Failure::file("write", &path, &error))
}

#[cfg(test)]
mod tests {
    use super::stolen;

    #[test]
    fn what_is_stolen_is_the_part_of_the_time_that_was_waited() {
        let host = "mark a 0 begin 1\ncpu 100 10\ncpu 200 0\nmark a 0 end 2\ncpu 400 10\n\
                    cpu 200 100\nmark a 1 begin 3\ncpu 400 10\n";
        assert_eq!(stolen(host, "a", 0), Some(0.25));
        assert_eq!(stolen(host, "a", 1), None);
    }
}
