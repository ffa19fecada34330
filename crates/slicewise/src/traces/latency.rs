//! `slicewise latency`.

use slicewise_analysis::{Latency, LatencyOptions, SortKey, latency_text};

use super::{Trace, rules, within};
use crate::args::{LatencyArgs, OutputFormat};
use crate::failure::{Failure, printable};
use crate::output::{print, print_json};

/// `slicewise latency`.
pub(crate) fn latency(args: &LatencyArgs) -> Result<(), Failure> {
    let mut sort = Vec::new();
    for word in &args.sort {
        let key = SortKey::named(word).ok_or_else(|| {
            let message = format!("--sort {word}: there is no such key");
            Failure::with_help(message, "the keys are avg, max, switch, runtime")
        })?;
        sort.push(key);
    }
    if sort.is_empty() {
        sort = SortKey::DEFAULT.to_vec();
    }
    let options =
        LatencyOptions { rules: rules(&args.trace), by_pid: args.pids, cpu: args.cpu, sort };
    let mut latency = Latency::new(options);
    let within = within(args.time.as_deref())?;
    let threads = Trace::open(&args.trace)?.each(|threads, event| {
        if within(event) {
            latency.event(threads, event);
        }
        Ok(())
    })?;
    let report = latency.report(&threads);
    match args.format {
        OutputFormat::Json => print_json(&report),
        OutputFormat::Table => print(&printable(&latency_text(&report))),
    }
}
