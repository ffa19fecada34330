//! What `slicewise convert` is asked.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

/// What follows the help of `slicewise convert`.
pub(super) const CONVERT_HELP: &str = "\
Examples:
  slicewise convert perf.data trace.pftrace
  slicewise convert perf.data runs.csv --table runs
  slicewise convert trace.dat - --to csv | head
  slicewise convert t.swtrace t.json";

/// `slicewise convert`.
#[derive(ClapArgs, Debug)]
pub(crate) struct ConvertArgs {
    /// perf.data, trace.dat, a Perfetto trace, the text of tracefs' `trace`, of `perf script` or of `trace-cmd
    /// report`, or .swtrace of `run --trace`; - for standard input
    #[arg(value_name = "TRACE")]
    pub(crate) input: PathBuf,

    /// What to write; the format is that of its ending: .pftrace or .perfetto-trace, .json, .csv,
    /// .parquet, .txt or .ftrace, .swtrace. `-` is standard output
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// The format, whatever the ending
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) to: Option<ToFormat>,

    /// What a row of CSV or Parquet is [default: events]
    #[arg(long, value_enum, value_name = "TABLE")]
    pub(crate) table: Option<ToTable>,
}

/// Formats.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ToFormat {
    /// For ui.perfetto.dev; of .swtrace with lag, devices and groups, of others with the viewer's own
    /// scheduling tracks
    Perfetto,
    /// For ui.perfetto.dev with the viewer's own scheduling tracks, of any trace
    PerfettoFtrace,
    /// The JSON of the Trace Event Format, for chrome://tracing and other viewers
    Chrome,
    /// Comma-separated values
    Csv,
    /// Apache Parquet
    Parquet,
    /// The text of tracefs' `trace` file
    Ftrace,
    /// Slicewise's own, of .swtrace only
    Swtrace,
}

/// Tables.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ToTable {
    /// A row for each event
    Events,
    /// A row for each run of a task, with the wait before it
    Runs,
}
