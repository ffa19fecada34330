//! Figures of what a real kernel did, from the files it brought back.

use std::fs;
use std::path::Path;

use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::figures::Figures;
use crate::ftrace::{Doubts, Kind, Trace};
use crate::{ftrace, rtapp_log};

/// `comm` has 15 bytes.
const COMM_BYTES: usize = 15;

/// What a kernel did.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The package with its version.
    pub(crate) package: String,
    pub(crate) figures: Figures,
    pub(crate) doubts: Doubts,
    /// Lines of rt-app's logs that could not be understood.
    pub(crate) log_doubts: u64,
}

/// Reads the results of a case.
pub(crate) fn read(case: &Case, results: &Path) -> Result<Measured> {
    let text = |name: &str| {
        let path = results.join(name);
        fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))
    };
    let package = text("package.txt")?;
    let trace = ftrace::parse(&text("trace.txt")?);
    let figures = figures(case, &trace).ok_or_else(|| {
        Failure::with_help(
            format!("{}: no thread of the case ever ran", results.display()),
            "rt-app.txt and stdout.txt there say why",
        )
    })?;
    let mut log_doubts = 0;
    let listing = fs::read_dir(results).map_err(|error| Failure::file("list", results, &error))?;
    for path in listing.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("rt-") && name.ends_with(".log") {
            let log =
                fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))?;
            log_doubts += rtapp_log::parse(&log).1;
        }
    }
    Ok(Measured { package, figures, doubts: trace.doubts, log_doubts })
}

/// The window begins `warmup_ms` after the last thread of the case has first run under its name,
/// and ends with the trace.
fn figures(case: &Case, trace: &Trace) -> Option<Figures> {
    let names = case.groups();
    let group_of = |comm: &str| {
        names.iter().position(|name| {
            let mut end = name.len().min(COMM_BYTES);
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name[..end] == *comm
        })
    };
    let mut threads: Vec<(u32, usize)> = Vec::new();
    let mut started_ns = None;
    for record in &trace.records {
        let Kind::Switch { prev, prev_comm, next, next_comm, .. } = &record.kind else { continue };
        for (pid, comm) in [(*prev, prev_comm), (*next, next_comm)] {
            let Some(group) = group_of(comm) else { continue };
            if !threads.iter().any(|(known, _)| *known == pid) {
                threads.push((pid, group));
                started_ns = Some(record.now_ns);
            }
        }
    }
    let end_ns = trace.records.last()?.now_ns;
    let begin_ns = started_ns? + u64::from(case.warmup_ms) * 1_000_000;
    let mut figures = Figures::new(&names, begin_ns, end_ns);
    for (pid, group) in threads {
        figures.thread(pid, group);
    }
    for record in &trace.records {
        match &record.kind {
            Kind::Switch { prev, voluntary, next, .. } => {
                figures.switch(record.now_ns, record.cpu as usize, *prev, *voluntary, *next);
            }
            Kind::Wakeup { pid } => figures.wakeup(record.now_ns, *pid),
            Kind::Migrate => {}
        }
    }
    figures.finish(end_ns);
    Some(figures)
}
