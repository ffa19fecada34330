//! `slicewise timehist`.

use std::io::{self, BufWriter, Write};

use slicewise_analysis::{Timehist, TimehistOptions};

use super::{OUT_BYTES, Trace, cpus, rules, stretch};
use crate::args::{OutputFormat, TimehistArgs};
use crate::failure::{Failure, printable};
use crate::output::print_json;

/// `slicewise timehist`.
pub(crate) fn timehist(args: &TimehistArgs) -> Result<(), Failure> {
    let trace = Trace::open(&args.trace)?.printing_lines();
    let json = matches!(args.format, OutputFormat::Json);
    let (from_ns, to_ns) = match &args.time {
        Some(text) => stretch(text)?,
        None => (None, None),
    };
    let cpus = cpus("--cpu", args.cpu.as_deref())?;
    let cpus = cpus.map(|cpus| cpus.into_iter().map(|cpu| cpu..=cpu).collect());
    let options = TimehistOptions {
        rules: rules(&args.trace),
        wakeups: args.wakeups,
        migrations: args.migrations,
        next: args.next,
        cpu_visual: args.cpu_visual,
        state: args.state,
        summary_only: args.summary || json,
        from_ns,
        to_ns,
        cpus,
        comms: args.comm.clone(),
        pids: args.pid.clone(),
        tids: args.tid.clone(),
    };
    let written = |error| Failure::Output(error, "standard output".to_owned());
    let out = BufWriter::with_capacity(OUT_BYTES, io::stdout().lock());
    let mut timehist = Timehist::new(options, trace.online_cpus(), out);
    timehist.begin().map_err(written)?;
    let threads = trace.each(|threads, event| timehist.event(threads, event))?;
    let summary = timehist.summary(&threads);
    let mut out = timehist.into_inner();
    if args.summary || args.with_summary {
        let text = if json { String::new() } else { printable(&summary.text()) };
        out.write_all(text.as_bytes()).map_err(written)?;
    }
    out.flush().map_err(written)?;
    drop(out);
    if json { print_json(&summary) } else { Ok(()) }
}
