//! `docs/fidelity.md`: every case on every kernel, beside Slicewise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;

use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::figures::Summary;
use crate::kernels::SERIES;
use crate::simulate::Guest;
use crate::truth::{self, Cell};
use crate::verdict::{self, Figure, Row};
use crate::{case, simulate};

/// Why cells stay short.
const CAUSES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/causes.toml");
/// Which cells were met when the truth was last compared.
const MET: &str = "met.txt";

/// A cell's verdict.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) case: Case,
    pub(crate) cell: Cell,
    pub(crate) rows: Vec<Row>,
}

/// The file of causes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Causes {
    #[serde(default)]
    pub(crate) cause: Vec<Cause>,
}

impl Causes {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        let broken = |error| Failure::new(format!("{}: {error}", path.display()));
        toml::from_str(&text).map_err(broken)
    }
}

/// A cause, and the cells it is for. What is not named is any.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cause {
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) cases: Vec<String>,
    #[serde(default)]
    pub(crate) kernels: Vec<String>,
    #[serde(default)]
    figures: Vec<String>,
}

impl Cause {
    pub(crate) fn covers(&self, case: &str, series: &str, figure: &str) -> bool {
        let fits = |list: &[String], value| list.is_empty() || list.iter().any(|one| one == value);
        fits(&self.cases, case) && fits(&self.kernels, series) && fits(&self.figures, figure)
    }
}

/// What shadow agreement is called in the file of causes.
const SHADOW: &str = "shadow agreement";
/// Shadow agreement that is demanded on one CPU, in percent.
const SHADOW_PERCENT: f64 = 99.0;

/// Simulates every recorded cell.
pub(crate) fn compare(cases: &Path, directory: &Path) -> Result<Vec<Compared>> {
    let cases = case::select(cases, &[])?;
    let mut cells = Vec::new();
    for series in SERIES {
        for cell in truth::read(directory, series)? {
            let case = cases.iter().find(|case| case.name == cell.case);
            // A case that was removed leaves its truth behind until it is recorded again.
            cells.extend(case.map(|case| (case.clone(), cell)));
        }
    }
    cells.into_par_iter().map(|(case, cell)| one(case, cell)).collect()
}

fn one(case: Case, cell: Cell) -> Result<Compared> {
    let ours = match case.command {
        Some(_) => Summary::default(),
        None => simulate::run(&case, &cell, &Guest::of(&cell.series))?,
    };
    let rows = verdict::rows(&case, &cell.series, &cell.kernel, &ours);
    Ok(Compared { case, cell, rows })
}

/// The cells that are met, one a line: `case kernel task: figure`.
pub(crate) fn met(compared: &[Compared]) -> BTreeSet<String> {
    let mut met = BTreeSet::new();
    for Compared { case, cell, rows } in compared {
        for row in rows.iter().filter(|row| row.met == Some(true)) {
            met.insert(format!(
                "{} {} {}: {}",
                case.name,
                cell.series,
                row.task,
                row.figure.name()
            ));
        }
    }
    met
}

/// Writes the document and the list of met cells.
pub(crate) fn write(compared: &[Compared], document: &Path, directory: &Path) -> Result<()> {
    let causes = read_causes()?;
    let text = render(compared, &causes);
    fs::write(document, text).map_err(|error| Failure::file("write", document, &error))?;
    let path = directory.join(MET);
    let mut list = String::new();
    for line in met(compared) {
        list.push_str(&line);
        list.push('\n');
    }
    fs::write(&path, list).map_err(|error| Failure::file("write", &path, &error))
}

fn read_causes() -> Result<Causes> {
    Causes::read(Path::new(CAUSES))
}

/// How many limits a cell keeps, of how many.
fn score(rows: &[Row]) -> (usize, usize) {
    let of = |wanted| rows.iter().filter(|row| row.met == Some(wanted)).count();
    (of(true), of(true) + of(false))
}

fn shadow_percent(cell: &Cell) -> Option<f64> {
    cell.shadow.as_ref().and_then(truth::Shadow::percent)
}

const INTRODUCTION: &str = "\
# Fidelity

How far Slicewise is from Linux. The same cases run on real kernels, booted under QEMU, and in
Slicewise. This page is written by the lab (`cargo run --release -p slicewise-lab -- fidelity`);
nothing on it is written by hand but the causes.

";

/// How it is compared; what the guest costs is filled in.
fn method() -> String {
    let us = |ns: u64| format!("{:.1}", ns as f64 / 1e3);
    let own = simulate::CONTEXT_SWITCH_NS + simulate::SYSTEM_CALL_NS;
    let wakeups: Vec<String> = simulate::PICK_TO_WAKEUP_NS
        .iter()
        .map(|(series, ns)| format!("{} us ({series})", us(ns.saturating_sub(own))))
        .collect();
    METHOD
        .replace("{late}", &us(simulate::SLICE_TIMER_NS))
        .replace("{switch}", &us(simulate::CONTEXT_SWITCH_NS))
        .replace("{tick}", &us(simulate::TICK_COST_NS))
        .replace("{call}", &us(simulate::SYSTEM_CALL_NS))
        .replace("{wakeup}", &wakeups.join(", "))
        .replace("{return}", &us(simulate::WAKEUP_RETURN_NS))
        .replace("{pick_tick}", &us(simulate::INTERRUPTS.tick_ns))
        .replace("{pick_slice}", &us(simulate::INTERRUPTS.slice_timer_ns))
        .replace("{pick_wakeup}", &us(simulate::INTERRUPTS.wakeup_ns))
        .replace("{seeds}", &simulate::SEEDS.to_string())
        .replace("{spread}", &us(simulate::INTERRUPTS.spread_ns))
}

const METHOD: &str = "\
## How it is compared

* The guest has Debian's kernel as it is, 250 ticks a second, a clock that counts instructions (2 ns
  each; 6.1 with several CPUs runs on real time instead), and no load but the case. Each round of a
  case has a machine of its own, which records from boot: no task has a past that the replay does not
  know.
* Figures are of the window from shortly after the last thread has started to the end of the trace, of
  all rounds together.
* The simulation is told the conditions of each round: when ticks come, when each thread of the case
  starts and its timer expires, when kernel threads and others (`sleep` of the script, say) were woken
  and how much CPU time they used, and, for tasks with one `run` step that a timer wakes or a fork makes,
  the CPU time of a job without preemptions and interrupts, and after how much of it the job makes
  threads, because rt-app's and the kernel's own work come on top of what the file asks for. It is not
  told anything that the scheduler decides.
* It is told what the guest's machine costs, measured once and the same for all cases: a switch {switch} us,
  a tick or slice timer {tick} us, {call} us from a thread's own code to what a system call does, {wakeup}
  more to a wakeup in it, and {return} us from there to its end. The slice timer is {late} us late. The pick that an interrupt
  asks for comes {pick_tick} us after a tick, {pick_slice} us after a slice timer and {pick_wakeup} us after a
  timer's wakeup, each give or take half of {spread} us; what is
  compared is the mean of {seeds} seeds.
* Both sides become switches and wakeups of threads; one code makes the figures of both. Threads of
  one description are added up.
* Limits, the same for every cell: CPU share within 0.5 percentage points; involuntary switches
  within 5 % or 3; wakeup latency p50 and p99 within 10 % or a tick (4 ms), with HRTICK (7.2) within
  10 % or 0.5 ms. Involuntary switches are counted as the kernel counts them; those that made way for
  kernel threads are also shown apart. Other figures are shown, and nothing is demanded of them. The
  latency of a task that never sleeps by its program is not judged.
* Shadow agreement: the recorded events (wakeups, blocks, forks, ticks, charges) go into the core,
  and at each pick of the kernel the core is asked whom it would have taken; at least 99 % is wanted
  on one CPU. What is before the window is not judged.
* The limits are for one CPU. Cases with several CPUs are shown, and counted apart.
  What tasks get and how often they move over 10 s, by this clock and by the host's, is in
  [fidelity-smp.md](fidelity-smp.md).

";

fn render(compared: &[Compared], causes: &Causes) -> String {
    let mut text = INTRODUCTION.to_owned();
    kernels(&mut text, compared);
    summary(&mut text, compared);
    text.push_str(&method());
    short(&mut text, compared, causes);
    every_cell(&mut text, compared);
    text
}

fn kernels(text: &mut String, compared: &[Compared]) {
    text.push_str("| kernel | package | limits kept, one CPU | picks agreed, one CPU | limits kept, several CPUs |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for series in SERIES {
        let cells = || compared.iter().filter(|one| one.cell.series == *series);
        let packages: BTreeSet<&str> = cells().map(|one| one.cell.package.as_str()).collect();
        let packages: Vec<&str> = packages.into_iter().collect();
        let sum = |several: bool| {
            cells()
                .filter(|one| (one.case.cpus > 1) == several)
                .map(|one| score(&one.rows))
                .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
        };
        let (picks, agreed) = cells()
            .filter(|one| one.case.cpus == 1)
            .filter_map(|one| one.cell.shadow.as_ref())
            .fold((0, 0), |sum, one| (sum.0 + one.picks, sum.1 + one.agreed));
        let percent = (agreed * 10_000).checked_div(picks).unwrap_or(0) as f64 / 100.0;
        let (one, several) = (sum(false), sum(true));
        let _ = writeln!(
            text,
            "| {series} | {} | {} of {} | {percent:.2} % of {picks} | {} of {} |",
            packages.join(", "),
            one.0,
            one.1,
            several.0,
            several.1
        );
    }
    text.push('\n');
}

/// The cases, in the order of their names, those with one CPU first.
fn cases(compared: &[Compared]) -> Vec<&Case> {
    let mut cases: BTreeMap<(bool, &str), &Case> = BTreeMap::new();
    for one in compared {
        cases.insert((one.case.cpus > 1, &one.case.name), &one.case);
    }
    cases.into_values().collect()
}

fn find<'a>(compared: &'a [Compared], case: &str, series: &str) -> Option<&'a Compared> {
    compared.iter().find(|one| one.cell.case == case && one.cell.series == series)
}

fn summary(text: &mut String, compared: &[Compared]) {
    text.push_str(
        "Limits kept of all limits of the case, and shadow agreement. **Bold** is short of what is \
         wanted.\n\n| case |",
    );
    for series in SERIES {
        let _ = write!(text, " {series} |");
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(SERIES.len()));
    text.push('\n');
    for case in cases(compared) {
        let _ = write!(text, "| [{0}](#{0}) |", case.name);
        for series in SERIES {
            match find(compared, &case.name, series) {
                None => text.push_str(" - |"),
                Some(one) => {
                    let (met, all) = score(&one.rows);
                    let bold = if met < all { "**" } else { "" };
                    let limits = match all {
                        0 => String::new(),
                        _ => format!("{bold}{met} of {all}{bold}, "),
                    };
                    let shadow = match shadow_percent(&one.cell) {
                        None => "-".to_owned(),
                        Some(percent) if percent < SHADOW_PERCENT => format!("**{percent:.2} %**"),
                        Some(percent) => format!("{percent:.2} %"),
                    };
                    let _ = write!(text, " {limits}{shadow} |");
                }
            }
        }
        text.push('\n');
    }
    text.push('\n');
}

/// Cells that stay short, by cause.
fn short(text: &mut String, compared: &[Compared], causes: &Causes) {
    let mut by_cause: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for Compared { case, cell, rows } in compared {
        let mut add = |task: &str, figure: &str, what: String| {
            let covers = |cause: &Cause| cause.covers(&case.name, &cell.series, figure);
            let cause = causes.cause.iter().position(covers).unwrap_or(causes.cause.len());
            let task = if task.is_empty() { String::new() } else { format!(" {task},") };
            by_cause
                .entry(cause)
                .or_default()
                .push(format!("{} on {}:{task} {figure} {what}", case.name, cell.series));
        };
        for row in rows.iter().filter(|row| row.met == Some(false)) {
            let what = format!(
                "{} on the kernel, {} here",
                row.figure.value(row.kernel),
                row.figure.value(row.slicewise)
            );
            add(&row.task, row.figure.name(), what);
        }
        if let Some(percent) = shadow_percent(cell).filter(|percent| *percent < SHADOW_PERCENT) {
            add("", SHADOW, format!("{percent:.2} %"));
        }
    }
    text.push_str("## What stays short, and why\n\n");
    for (cause, cells) in by_cause {
        let why = causes.cause.get(cause).map_or("**No cause known yet.**", |cause| &cause.text);
        let _ = writeln!(text, "{}\n", why.trim());
        for cell in cells {
            let _ = writeln!(text, "* {cell}");
        }
        text.push('\n');
    }
}

fn every_cell(text: &mut String, compared: &[Compared]) {
    text.push_str(
        "## Every cell\n\nKernel → Slicewise. ✓ keeps its limit, ✗ does not; without a mark nothing is \
         demanded.\n",
    );
    for case in cases(compared) {
        let cells: Vec<&Compared> =
            SERIES.iter().filter_map(|series| find(compared, &case.name, series)).collect();
        let _ =
            write!(text, "\n### {}\n\n{}\n\n| task | figure |", case.name, case.question.trim());
        for one in &cells {
            let seconds = one.cell.kernel.window_ns as f64 / 1e9;
            let rounds = one.cell.rounds.len();
            let _ = write!(text, " {} ({seconds:.1} s, {rounds} round", one.cell.series);
            text.push_str(if rounds == 1 { ") |" } else { "s) |" });
        }
        text.push_str("\n| --- | --- |");
        text.push_str(&" --- |".repeat(cells.len()));
        text.push('\n');
        let mut lines: Vec<(String, Figure)> = Vec::new();
        for row in cells.iter().flat_map(|one| &one.rows) {
            if !lines.iter().any(|(task, figure)| *task == row.task && *figure == row.figure) {
                lines.push((row.task.clone(), row.figure));
            }
        }
        let order: Vec<String> = case.groups();
        lines.sort_by_key(|(task, figure)| (order.iter().position(|name| name == task), *figure));
        for (task, figure) in lines {
            let _ = write!(text, "| {task} | {} |", figure.name());
            for one in &cells {
                let row = one.rows.iter().find(|row| row.task == task && row.figure == figure);
                let _ = write!(text, " {} |", row.map_or_else(String::new, |row| value(case, row)));
            }
            text.push('\n');
        }
        text.push_str("| all | shadow agreement |");
        for one in &cells {
            let _ = match &one.cell.shadow {
                Some(shadow) => write!(text, " {} of {} |", shadow.agreed, shadow.picks),
                None => write!(text, " - |"),
            };
        }
        text.push('\n');
        for one in &cells {
            for doubt in &one.cell.doubts {
                let _ = writeln!(text, "\nDoubtful on {}: {doubt}", one.cell.series);
            }
        }
    }
}

fn value(case: &Case, row: &Row) -> String {
    let kernel = row.figure.value(row.kernel);
    if case.command.is_some() {
        return kernel;
    }
    let mark = match row.met {
        Some(true) => " ✓",
        Some(false) => " ✗",
        None => "",
    };
    format!("{kernel} → {}{mark}", row.figure.value(row.slicewise))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{MET, compare, met, read_causes};
    use crate::truth;

    /// The recorded kernels are the referee, without booting them. Cells that were short and are
    /// not any more are welcome: `fidelity --recorded` takes them into the list.
    #[test]
    fn no_cell_that_was_met_becomes_short() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let directory = Path::new(truth::DIRECTORY);
        let now = met(&compare(&cases, directory).unwrap());
        let before = std::fs::read_to_string(directory.join(MET)).unwrap();
        let lost: Vec<&str> = before.lines().filter(|line| !now.contains(*line)).collect();
        assert!(before.lines().count() > 100, "the list of met cells is nearly empty");
        assert!(lost.is_empty(), "met before, short now:\n{}", lost.join("\n"));
    }

    #[test]
    fn the_file_of_causes_names_cases_and_kernels_that_exist() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let cases = crate::case::select(&directory, &[]).unwrap();
        for cause in read_causes().unwrap().cause {
            assert!(!cause.text.trim().is_empty());
            for case in &cause.cases {
                assert!(cases.iter().any(|known| known.name == *case), "no case {case}");
            }
            for series in &cause.kernels {
                assert!(crate::kernels::SERIES.contains(&series.as_str()), "no kernel {series}");
            }
        }
    }
}
