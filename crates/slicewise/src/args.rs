//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// How Linux would schedule your workload, on the kernel you name.
#[derive(Parser, Debug)]
#[command(
    version,
    about,
    after_help = "Exit status: 0 if all went well, 1 if `rt check` proves no guarantee, 2 if the \
                  input or the command line is bad."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a workload and report CPU time, switches, delays and response times
    Run(RunArgs),
    /// Run a workload several ways and show the figures side by side
    Compare(CompareArgs),
    /// Show the scheduling decision in force at a moment, and why it was made
    Explain(ExplainArgs),
    /// Convert a trace of Slicewise's own (.swtrace) to another format
    Convert(ConvertArgs),
    /// Real-time guarantees
    #[command(subcommand)]
    Rt(RtCommand),
    /// Replay a recorded kernel trace and count how often the core decides the same
    Shadow(ShadowArgs),
    /// List the kernels there are profiles for, with their features
    Kernels(KernelsArgs),
    /// Print the JSON Schema of scenario files, for editors
    Schema,
}

/// What every simulation takes.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct SimulationArgs {
    /// A scenario (.toml) or an rt-app file (.json); `-` reads standard input
    pub(crate) file: PathBuf,

    /// How many CPUs [default: what the file says, or as few as it needs]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) cpus: Option<String>,

    /// How long to run, with a unit: 500ms, 10s [default: what the file says, or 10s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) duration: Option<String>,

    /// Scheduler ticks a second [default: what the file says, or 250]
    #[arg(long, value_name = "HZ")]
    pub(crate) hz: Option<String>,
}

/// Terminal or machine.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum OutputFormat {
    /// For people
    #[default]
    Table,
    /// For programs: a stable contract, units in the names
    Json,
}

/// What a single run takes.
#[derive(ClapArgs, Debug)]
pub(crate) struct OneRunArgs {
    #[command(flatten)]
    pub(crate) simulation: SimulationArgs,

    /// Whose scheduler: one of `slicewise kernels` [default: what the file says, or 6.12]
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,

    /// Seeds every random draw [default: what the file says, or 1]
    #[arg(long, value_name = "SEED", allow_hyphen_values = true)]
    pub(crate) seed: Option<String>,

    /// Change a setting or a task: hz=1000, features=NO_RUN_TO_PARITY, task/web.nice=5
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// `slicewise run`.
#[derive(ClapArgs, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) one: OneRunArgs,

    /// Write a trace: for ui.perfetto.dev, or small and fast if the name ends in .swtrace
    #[arg(long, value_name = "OUT.pftrace")]
    pub(crate) trace: Option<PathBuf>,

    /// Print what cpu.stat, cpu.stat.local and cpu.pressure of each group read at the end, and
    /// /proc/pressure/cpu
    #[arg(long)]
    pub(crate) cgroup_files: bool,

    /// Write rt-app's log files, one for each thread, into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) logs: Option<PathBuf>,
}

/// `slicewise compare`.
#[derive(ClapArgs, Debug)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) simulation: SimulationArgs,

    /// Kernels to compare, separated by commas: 6.1,6.12,7.2
    #[arg(long, value_name = "VERSION,…", value_delimiter = ',')]
    pub(crate) kernel: Vec<String>,

    /// Seeds to compare, separated by commas
    #[arg(long, value_name = "SEED,…", value_delimiter = ',')]
    pub(crate) seed: Vec<String>,

    /// A variant to compare with the file as it is; several settings of one variant are separated
    /// by `;`. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,

    /// How to print the comparison
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// `slicewise explain`.
#[derive(ClapArgs, Debug)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) one: OneRunArgs,

    /// The moment, with a unit: 12.345ms
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) at: String,

    /// The CPU whose decision to explain
    #[arg(long, value_name = "CPU", default_value_t = 0)]
    pub(crate) cpu: u32,
}

/// `slicewise convert`.
#[derive(ClapArgs, Debug)]
pub(crate) struct ConvertArgs {
    /// A .swtrace file
    #[arg(value_name = "IN.swtrace")]
    pub(crate) input: PathBuf,

    /// What to write: .swtrace for Slicewise's own format, any other ending for Perfetto
    #[arg(value_name = "OUT.pftrace")]
    pub(crate) output: PathBuf,
}

/// `slicewise shadow`.
#[derive(ClapArgs, Debug)]
pub(crate) struct ShadowArgs {
    /// A trace.dat of trace-cmd, or the text of tracefs' `trace`
    pub(crate) trace: PathBuf,

    /// The kernel that was recorded: one of `slicewise kernels`
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: String,

    /// Judge this CPU alone [default: all]
    #[arg(long, value_name = "CPU")]
    pub(crate) cpu: Option<u32>,

    /// How many CPUs the recorded machine has [default: those of the trace]
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<u32>,

    /// Scheduler ticks a second [default: what the trace shows]
    #[arg(long, value_name = "HZ")]
    pub(crate) hz: Option<u32>,

    /// The recorded machine's base slice (6.6 and later) or minimum granularity, with a unit
    /// [default: the kernel's, scaled by the number of CPUs]
    #[arg(long, value_name = "TIME")]
    pub(crate) base_slice: Option<String>,

    /// Do not judge so long after the first event
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(crate) warm_up: String,

    /// What the trace does not say of tasks, by name or pid: `worker=policy=rr`,
    /// `42=slice=3ms`, `batch=policy=batch,slice=10ms`
    #[arg(long = "task", value_name = "NAME=KEY=VALUE,…")]
    pub(crate) tasks: Vec<String>,

    /// Scheduler features that were switched: `NO_RUN_TO_PARITY`
    #[arg(long = "feature", value_name = "FEATURE")]
    pub(crate) features: Vec<String>,

    /// Show so many divergences with the core's view
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) divergences: usize,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// `slicewise kernels`.
#[derive(ClapArgs, Debug)]
pub(crate) struct KernelsArgs {
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// `slicewise rt`.
#[derive(Subcommand, Debug)]
pub(crate) enum RtCommand {
    /// Check whether real-time tasks meet all deadlines, and what the kernel would say
    #[command(after_help = "Exit status: 0 if every deadline is proven to be met, 1 if not, 2 if \
                            the input or the command line is bad.")]
    Check(RtCheckArgs),
}

/// `slicewise rt check`.
#[derive(ClapArgs, Debug)]
pub(crate) struct RtCheckArgs {
    /// A task table or a scenario (.toml), or an rt-app file (.json); `-` reads standard input
    pub(crate) file: PathBuf,

    /// Whose admission: one of `slicewise kernels` [default: what the file says, or 6.12]
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,

    /// How many CPUs [default: what the file says, or as few as it needs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub(crate) cpus: Option<u32>,

    /// The priorities that may be given to tasks, such as 51-60 [default: what the file says, or
    /// 1-99]
    #[arg(long, value_name = "LOW-HIGH")]
    pub(crate) priorities: Option<String>,

    /// What a context switch costs, with a unit; every job is charged two [default: what the file
    /// says, or 0]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) context_switch: Option<String>,

    /// Draw the worst case of this task [default: the most critical one]
    #[arg(long, value_name = "TASK")]
    pub(crate) timeline: Option<String>,

    /// Run the tasks on the simulated machine, all released together, and show the longest
    /// responses beside the bounds
    #[arg(long)]
    pub(crate) simulate: bool,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}
