//! `slicewise runqlat`.

use slicewise_analysis::{ByWhom, Distribution, Runqlat, RunqlatOptions, distributions_text};

use super::{Trace, rules, within};
use crate::args::{OutputFormat, RunqlatArgs};
use crate::failure::{Failure, printable};
use crate::output::{print, print_json};

/// `slicewise runqlat`.
pub(crate) fn runqlat(args: &RunqlatArgs) -> Result<(), Failure> {
    let by = ByWhom::chosen(args.pids, args.tids);
    let options =
        RunqlatOptions { rules: rules(&args.trace), ms: args.milliseconds, by, pid: args.pid };
    let mut runqlat = Runqlat::new(options);
    let within = within(args.time.as_deref())?;
    let threads = Trace::open(&args.trace)?.each(|threads, event| {
        if within(event) {
            runqlat.event(threads, event);
        }
        Ok(())
    })?;
    print_distributions(&runqlat.distributions(&threads), by, args.format, "nobody waited")
}

/// Prints histograms, or why there are none.
pub(super) fn print_distributions(
    distributions: &[Distribution],
    by: ByWhom,
    format: OutputFormat,
    nobody: &str,
) -> Result<(), Failure> {
    match format {
        OutputFormat::Json => print_json(&distributions),
        OutputFormat::Table if distributions.is_empty() => {
            print(&distributions_text(&[], by))?;
            Failure::Shown(format!("note: {nobody}\n")).report();
            Ok(())
        }
        OutputFormat::Table => print(&printable(&distributions_text(distributions, by))),
    }
}
