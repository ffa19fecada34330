//! What is asked of recorded loads: why they waited, and what if.

use clap::Args as ClapArgs;

use super::traces::TraceArgs;
use super::{JobsArgs, OutputFormat};

/// What a recording does not say, and what of it counts.
#[derive(ClapArgs, Debug)]
pub(crate) struct RecordedArgs {
    #[command(flatten)]
    pub(crate) trace: TraceArgs,

    /// Only this stretch, in seconds of the trace's clock: START,END, START, or ,END
    #[arg(long, value_name = "START,END")]
    pub(crate) time: Option<String>,

    /// Tasks that are in a cgroup: web=nginx,pid:812. May be given several times
    #[arg(long = "group", value_name = "PATH=TASKS")]
    pub(crate) groups: Vec<String>,

    /// A condition under which it was recorded, where the trace does not say: kernel=6.12, hz=1000,
    /// 'group/web.cpu.max=50000 100000'. May be given several times
    #[arg(long = "recorded", value_name = "KEY=VALUE")]
    pub(crate) recorded: Vec<String>,

    #[command(flatten)]
    pub(crate) jobs: JobsArgs,
}

/// What follows the help of `slicewise whatif`.
pub(super) const WHATIF_HELP: &str = "\
Examples:
  slicewise whatif perf.data
  slicewise whatif perf.data --kernel 7.2 --cpus 4
  slicewise whatif perf.data --set task/worker.slice=1ms --set task/batch.nice=10
  slicewise whatif perf.data --group web=nginx,pid:812 \\
      --recorded 'group/web.cpu.max=50000 100000' --set 'group/web.cpu.max=max'";

/// `slicewise whatif`.
#[derive(ClapArgs, Debug)]
pub(crate) struct WhatifArgs {
    #[command(flatten)]
    pub(crate) recorded: RecordedArgs,

    /// Another kernel
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,

    /// Another number of CPUs
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<String>,

    /// Another machine: a preset, a layout, or a file
    #[arg(long, value_name = "MACHINE")]
    pub(crate) topology: Option<String>,

    /// Another condition, as `slicewise run --set` takes it. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,

    /// A row for each task, not for all of one name
    #[arg(long)]
    pub(crate) by_task: bool,

    /// Only these: name, begin*, pid:812, tid:812
    #[arg(long = "task", value_name = "TASKS", value_delimiter = ',')]
    pub(crate) tasks: Vec<String>,

    /// How many rows
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) top: usize,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// What follows the help of `slicewise why`.
pub(super) const WHY_HELP: &str = "\
Examples:
  slicewise why perf.data postgres
  slicewise why perf.data tid:812 --time 50945.95,50946.95
  slicewise why perf.data pid:812 --group web=pid:812 --recorded 'group/web.cpu.max=50000 100000'
  slicewise why t.swtrace group/pods/web";

/// `slicewise why`.
#[derive(ClapArgs, Debug)]
pub(crate) struct WhyArgs {
    #[command(flatten)]
    pub(crate) recorded: RecordedArgs,

    /// Whose waits: a name, begin*, pid:812, tid:812, or group/PATH
    #[arg(value_name = "TASK")]
    pub(crate) task: String,

    /// How many of the longest waits to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) worst: usize,

    /// Suggest nothing, and simulate nothing
    #[arg(long)]
    pub(crate) no_simulation: bool,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}
