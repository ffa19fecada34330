//! `slicewise summary`.

use slicewise_analysis::{Summary, SummaryBy, SummaryOptions};
use slicewise_report::render_summary;

use super::{Trace, cpus, stretch};
use crate::args::{OutputFormat, RowsBy, SummaryArgs};
use crate::failure::Failure;
use crate::output::{print, print_json, stdout_style};

/// `slicewise summary`.
pub(crate) fn summary(args: &SummaryArgs) -> Result<(), Failure> {
    let (from_ns, to_ns) = match &args.time {
        Some(text) => stretch(text)?,
        None => (None, None),
    };
    let options = SummaryOptions {
        by: match args.by {
            RowsBy::Task => SummaryBy::Task,
            RowsBy::Process => SummaryBy::Process,
            RowsBy::Comm => SummaryBy::Comm,
            RowsBy::Cgroup => SummaryBy::Cgroup,
        },
        top: args.top.into(),
        from_ns,
        to_ns,
        cpus: cpus("--cpu", args.cpu.as_deref())?,
    };
    let mut summary = Summary::new(options);
    let threads = Trace::open_as(&args.trace)?.each(|threads, event| {
        summary.event(threads, event);
        Ok(())
    })?;
    let report = summary.report(&threads);
    match args.format {
        OutputFormat::Json => print_json(&report),
        OutputFormat::Table => print(&render_summary(&report, stdout_style())),
    }
}
