//! What is asked of traces.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::OutputFormat;

/// What a trace is, and what of it counts.
#[derive(ClapArgs, Debug)]
pub(crate) struct TraceArgs {
    /// perf.data, trace.dat, a Perfetto trace, the text of tracefs' `trace`, of `perf script` or of `trace-cmd
    /// report`, or .swtrace of `run --trace`; - for standard input
    #[arg(value_name = "TRACE")]
    pub(crate) trace: PathBuf,

    /// Count delays as this version of perf does, to compare: 6.1
    #[arg(long, value_name = "VERSION", value_parser = ["6.1"])]
    pub(crate) as_perf: Option<String>,
}

/// What follows the help of `slicewise latency`.
pub(super) const LATENCY_HELP: &str = "\
Examples:
  perf sched record -- sleep 10 && slicewise latency perf.data
  slicewise latency perf.data -p -s max
  slicewise run examples/nice-levels.toml --trace t.swtrace && slicewise latency t.swtrace";

/// `slicewise latency`.
#[derive(ClapArgs, Debug)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    pub(crate) trace: TraceArgs,

    /// Each task by itself, not those of one name together
    #[arg(short = 'p', long)]
    pub(crate) pids: bool,

    /// Sort by these: avg, max, switch, runtime
    #[arg(short, long, value_name = "KEYS", value_delimiter = ',')]
    pub(crate) sort: Vec<String>,

    /// Only this CPU
    #[arg(short = 'C', long = "CPU", value_name = "CPU")]
    pub(crate) cpu: Option<u32>,

    /// Only what happens in this stretch, in seconds of the trace's clock: START,END, START, or ,END
    #[arg(long, value_name = "START,END")]
    pub(crate) time: Option<String>,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// What follows the help of `slicewise timehist`.
pub(super) const TIMEHIST_HELP: &str = "\
Examples:
  slicewise timehist perf.data
  slicewise timehist perf.data -wMn --state --time 50945.95,50945.96
  slicewise timehist perf.data -s --tid 4711";

/// `slicewise timehist`.
#[derive(ClapArgs, Debug)]
pub(crate) struct TimehistArgs {
    #[command(flatten)]
    pub(crate) trace: TraceArgs,

    /// Wakeups, too
    #[arg(short, long)]
    pub(crate) wakeups: bool,

    /// Migrations, too
    #[arg(short = 'M', long)]
    pub(crate) migrations: bool,

    /// Who comes next
    #[arg(short, long)]
    pub(crate) next: bool,

    /// A column for each CPU
    #[arg(short = 'V', long)]
    pub(crate) cpu_visual: bool,

    /// How the task left its CPU
    #[arg(long)]
    pub(crate) state: bool,

    /// Only a summary
    #[arg(short, long)]
    pub(crate) summary: bool,

    /// A summary, too
    #[arg(short = 'S', long)]
    pub(crate) with_summary: bool,

    /// Only this stretch, in seconds of the trace's clock: START,END, START, or ,END
    #[arg(long, value_name = "START,END")]
    pub(crate) time: Option<String>,

    /// Only these CPUs: 0-1,3
    #[arg(short = 'C', long, value_name = "CPUS")]
    pub(crate) cpu: Option<String>,

    /// Only tasks of these names
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) comm: Vec<String>,

    /// Only tasks of these processes
    #[arg(short, long, value_name = "PIDS", value_delimiter = ',')]
    pub(crate) pid: Vec<i32>,

    /// Only these tasks
    #[arg(short, long, value_name = "TIDS", value_delimiter = ',')]
    pub(crate) tid: Vec<i32>,

    /// How to print the summary; JSON has no lines
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// `slicewise map`.
#[derive(ClapArgs, Debug)]
pub(crate) struct MapArgs {
    #[command(flatten)]
    pub(crate) trace: TraceArgs,

    /// Columns only for CPUs with switches, in the order of their first
    #[arg(long)]
    pub(crate) compact: bool,

    /// Only these CPUs: 0-1,3
    #[arg(long, value_name = "CPUS")]
    pub(crate) cpus: Option<String>,
}

/// `slicewise runqlat`.
#[derive(ClapArgs, Debug)]
pub(crate) struct RunqlatArgs {
    #[command(flatten)]
    pub(crate) trace: TraceArgs,

    /// Milliseconds instead of microseconds
    #[arg(short, long)]
    pub(crate) milliseconds: bool,

    /// A histogram for each process
    #[arg(short = 'P', long)]
    pub(crate) pids: bool,

    /// A histogram for each task
    #[arg(short = 'L', long, conflicts_with = "pids")]
    pub(crate) tids: bool,

    /// Only this process
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<i32>,

    /// Only what happens in this stretch, in seconds of the trace's clock: START,END, START, or ,END
    #[arg(long, value_name = "START,END")]
    pub(crate) time: Option<String>,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// `slicewise runqslower`.
#[derive(ClapArgs, Debug)]
pub(crate) struct RunqslowerArgs {
    #[command(flatten)]
    pub(crate) trace: TraceArgs,

    /// Waits longer than this, in microseconds
    #[arg(value_name = "MIN_US", default_value_t = 10_000)]
    pub(crate) min_us: u64,

    /// Who ran before, too
    #[arg(short = 'P', long)]
    pub(crate) previous: bool,

    /// Only this process
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<i32>,

    /// Only this task
    #[arg(short, long, value_name = "TID")]
    pub(crate) tid: Option<i32>,
}

/// `slicewise cpudist`.
#[derive(ClapArgs, Debug)]
pub(crate) struct CpudistArgs {
    /// perf.data, trace.dat, a Perfetto trace, the text of tracefs' `trace`, of `perf script` or of `trace-cmd
    /// report`, or .swtrace of `run --trace`; - for standard input
    #[arg(value_name = "TRACE")]
    pub(crate) trace: PathBuf,

    /// Time off the CPU, from one run to the next, and not time on it
    #[arg(short = 'O', long)]
    pub(crate) offcpu: bool,

    /// Milliseconds instead of microseconds
    #[arg(short, long)]
    pub(crate) milliseconds: bool,

    /// A histogram for each process
    #[arg(short = 'P', long)]
    pub(crate) pids: bool,

    /// A histogram for each task
    #[arg(short = 'L', long, conflicts_with = "pids")]
    pub(crate) tids: bool,

    /// Only this process
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<i32>,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// What follows the help of `slicewise summary`.
pub(super) const SUMMARY_HELP: &str = "\
Examples:
  slicewise summary perf.data
  slicewise summary perf.data --by task --top 20
  slicewise summary perf.data --time 50945.95,50946.2 -C 0-3";

/// `slicewise summary`.
#[derive(ClapArgs, Debug)]
pub(crate) struct SummaryArgs {
    /// perf.data, trace.dat, a Perfetto trace, the text of tracefs' `trace`, of `perf script` or of `trace-cmd
    /// report`, or .swtrace of `run --trace`; - for standard input
    #[arg(value_name = "TRACE")]
    pub(crate) trace: PathBuf,

    /// What a row is
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) by: RowsBy,

    /// How many rows; the rest is added up
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) top: u16,

    /// Only this stretch, in seconds of the trace's clock: START,END, START, or ,END
    #[arg(long, value_name = "START,END")]
    pub(crate) time: Option<String>,

    /// Only what happens on these CPUs: 0-1,3
    #[arg(short = 'C', long, value_name = "CPUS")]
    pub(crate) cpu: Option<String>,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// What a row of `slicewise summary` is.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum RowsBy {
    /// A task
    Task,
    /// A process; where the trace does not tell processes, a task
    Process,
    /// All tasks of a name
    #[default]
    Comm,
    /// A cgroup, where the trace tells who is in it
    Cgroup,
}
