//! What a real kernel did with a case, from the files it brought back.

use std::fs;
use std::path::Path;

use slicewise_machine::Op;

use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::figures::{Figures, Summary};
use crate::kernels::profile_of;
use crate::recording::Groups;
use crate::truth::{Cell, Shadow};
use crate::{TICK_NS, recording, rtapp_log, shadow};

/// Reads the results of a case.
pub(crate) fn read(case: &Case, series: &str, results: &Path) -> Result<Cell> {
    let package = results.join("package.txt");
    let package =
        fs::read_to_string(&package).map_err(|error| Failure::file("read", &package, &error))?;
    let mut cell = Cell {
        case: case.name.clone(),
        series: series.to_owned(),
        package: package.trim().to_owned(),
        kernel: Summary::default(),
        rounds: Vec::new(),
        shadow: Some(Shadow::default()),
        doubts: Vec::new(),
    };
    let groups = groups(case)?;
    let profile = profile_of(series, &cell.package)?;
    let mut all: Option<Figures> = None;
    for round in 0..case.rounds {
        let directory = results.join(round.to_string());
        let whole = directory.join("trace.dat");
        let trace = if whole.exists() { whole } else { directory.join("trace.txt") };
        let recording = recording::read(&trace)?;
        let found =
            recording.figures(&groups, case.cpus, u64::from(case.warmup_ms) * 1_000_000, TICK_NS);
        let measured = found.ok_or_else(|| {
            Failure::with_help(
                format!("{}: no thread of the case ever ran", directory.display()),
                "load.txt there and stdout.txt above say why",
            )
        })?;
        let (figures, conditions) = (measured.figures, measured.conditions);
        if figures.window_ns == 0 {
            return Err(Failure::new(format!("{}: the trace is too short", directory.display())));
        }
        match &mut all {
            Some(all) => all.merge(&figures),
            None => all = Some(figures),
        }
        cell.rounds.push(conditions);
        match shadow::replay_trace(case, profile, &trace, measured.begin_ns) {
            Ok(report) => {
                if let Some(shadow) = &mut cell.shadow {
                    shadow.add(&report);
                }
            }
            Err(message) => {
                cell.shadow = None;
                cell.doubts.push(format!("round {round}: shadow: {message}"));
            }
        }
        if !recording.findings.is_clean() {
            cell.doubts.push(format!("round {round}: {:?}", recording.findings));
        }
        let broken = broken_log_lines(&directory)?;
        if broken > 0 {
            cell.doubts.push(format!("round {round}: {broken} broken lines in rt-app's logs"));
        }
    }
    cell.kernel = all.as_ref().map(Summary::from).unwrap_or_default();
    Ok(cell)
}

/// The case's threads, and what is known about them from its file.
pub(crate) fn groups(case: &Case) -> Result<Groups> {
    if case.command.is_some() {
        let count = case.threads.len();
        return Ok(Groups {
            names: case.threads.clone(),
            templates: vec![false; count],
            periods_ns: vec![None; count],
        });
    }
    let loaded =
        case.loaded().map_err(|message| Failure::new(format!("case {}: {message}", case.name)))?;
    let mut groups = Groups { names: Vec::new(), templates: Vec::new(), periods_ns: Vec::new() };
    for group in &loaded.groups {
        let program = loaded.workload.tasks[group.first as usize].program;
        let ops = &loaded.workload.programs[program as usize].ops;
        groups.names.push(group.name.clone());
        groups.templates.push(group.template);
        groups.periods_ns.push(ops.iter().find_map(|op| match op {
            Op::Timer { period_ns, .. } => Some(*period_ns),
            _ => None,
        }));
    }
    Ok(groups)
}

fn broken_log_lines(directory: &Path) -> Result<u64> {
    let mut broken = 0;
    let listing =
        fs::read_dir(directory).map_err(|error| Failure::file("list", directory, &error))?;
    for path in listing.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("rt-") && name.ends_with(".log") {
            let log =
                fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))?;
            broken += rtapp_log::parse(&log).1;
        }
    }
    Ok(broken)
}
