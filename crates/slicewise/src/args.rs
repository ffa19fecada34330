//! The command line.

mod convert;
mod replay;
mod traces;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use self::convert::CONVERT_HELP;
pub(crate) use self::convert::{ConvertArgs, ToFormat, ToTable};
pub(crate) use self::replay::{RecordedArgs, WhatifArgs, WhyArgs};
use self::replay::{WHATIF_HELP, WHY_HELP};
pub(crate) use self::traces::{
    CpudistArgs, LatencyArgs, MapArgs, RowsBy, RunqlatArgs, RunqslowerArgs, SummaryArgs,
    TimehistArgs, TraceArgs,
};
use self::traces::{LATENCY_HELP, SUMMARY_HELP, TIMEHIST_HELP};

/// How Linux would schedule your workload, on the kernel you name.
#[derive(Parser, Debug)]
#[command(
    version,
    about,
    after_help = "Exit status: 0 if all went well, 1 if `rt check` proves no guarantee, `rt \
                  explain` finds no cause, `k8s` has findings or `place --check` finds a better \
                  placement, 2 if the input or the command line is bad."
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
    /// Convert a trace to another format: Perfetto, Chrome JSON, CSV, Parquet, ftrace text
    #[command(after_help = CONVERT_HELP)]
    Convert(ConvertArgs),
    /// Real-time guarantees
    #[command(subcommand)]
    Rt(RtCommand),
    /// What a node does with the containers of Kubernetes manifests, Compose files or `docker run`
    #[command(after_help = K8S_HELP)]
    K8s(Box<K8sArgs>),
    /// Replay a recorded kernel trace and count how often the core decides the same
    Shadow(ShadowArgs),
    /// Scheduling delay by task, as `perf sched latency` prints it
    #[command(after_help = LATENCY_HELP)]
    Latency(LatencyArgs),
    /// Every switch with what came before it, as `perf sched timehist` prints it
    #[command(after_help = TIMEHIST_HELP)]
    Timehist(TimehistArgs),
    /// Who ran where, switch by switch, as `perf sched map` prints it
    Map(MapArgs),
    /// A histogram of waits for a CPU, as bcc's runqlat prints it
    Runqlat(RunqlatArgs),
    /// Waits for a CPU that were long, as bcc's runqslower prints them
    Runqslower(RunqslowerArgs),
    /// What tasks of a recording waited for, and what would help, as simulated
    #[command(after_help = WHY_HELP)]
    Why(WhyArgs),
    /// A recorded load under other conditions: another kernel, limit, policy, slice, number of CPUs
    #[command(after_help = WHATIF_HELP)]
    Whatif(WhatifArgs),
    /// A histogram of time on a CPU, or off it, as bcc's cpudist prints it
    Cpudist(CpudistArgs),
    /// What a trace comes to: CPU time, delays, why tasks left their CPUs, who made whom wait
    #[command(after_help = SUMMARY_HELP)]
    Summary(SummaryArgs),
    /// Draw a machine: packages, memory nodes, caches, cores, and which tasks may run where
    #[command(after_help = TOPOLOGY_HELP)]
    Topology(TopologyArgs),
    /// Try placements of a workload on a machine: who may run where, what comes of it, and how to do it
    #[command(after_help = PLACE_HELP)]
    Place(PlaceArgs),
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

    /// What the machine looks like: a preset (`slicewise topology list`), a layout such as 2s:24c:2t,
    /// or a file [default: what the file says, or CPUs that are all alike]
    #[arg(long, value_name = "PRESET|LAYOUT|FILE")]
    pub(crate) topology: Option<String>,

    /// How long to run, with a unit: 500ms, 10s [default: what the file says, or 10s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) duration: Option<String>,

    /// Scheduler ticks a second [default: what the file says, or 250]
    #[arg(long, value_name = "HZ")]
    pub(crate) hz: Option<String>,
}

/// What commands take that run several simulations.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct JobsArgs {
    /// How many simulations to run at once; the results are the same [default: as many as there are
    /// CPUs]
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) jobs: Option<u32>,
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

    /// Write a trace: small and fast if the name ends in .swtrace; .json, .csv, .parquet, .txt as
    /// `convert` writes them; any other for ui.perfetto.dev
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

    /// Show these tasks only, separated by commas
    #[arg(long = "task", value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) tasks: Vec<String>,

    /// How to print the comparison
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,

    #[command(flatten)]
    pub(crate) jobs: JobsArgs,
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

/// What follows the help of `slicewise topology`.
const TOPOLOGY_HELP: &str = "\
Examples:
  slicewise topology list
  slicewise topology two-socket
  slicewise topology 2s:4n:2l:8c:2t --format svg > nps4.svg
  slicewise topology --host --save here.toml
  slicewise topology two-socket examples/periodic-among-hogs.toml
  slicewise topology --host --cpu-manager-state /var/lib/kubelet/cpu_manager_state

A FILE is TOML that says what CPUs share, what `lscpu -J -e`, `lscpu -J`, `lscpu -e` or `lscpu -p` printed,
what `grep -rs . /sys/devices/system/cpu /sys/devices/system/node` printed, a tar of these two directories,
or a directory that is a copy of them. docs/topology.md says more.";

/// `slicewise topology`.
#[derive(ClapArgs, Debug)]
pub(crate) struct TopologyArgs {
    /// A preset, a layout such as 2s:24c:2t, a file, or a scenario with a machine; `list` lists the presets
    #[arg(value_name = "PRESET|LAYOUT|FILE")]
    pub(crate) machine: Option<String>,

    /// A scenario (.toml) or an rt-app file (.json): show which of its tasks may run where
    pub(crate) scenario: Option<PathBuf>,

    /// This machine, as its kernel tells it
    #[arg(long)]
    pub(crate) host: bool,

    /// A kubelet's cpu_manager_state: show which containers have which CPUs, and what is odd about it
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    pub(crate) cpu_manager_state: Option<PathBuf>,

    /// How to draw
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: TopologyFormat,

    /// Also write the machine to a file (TOML) that can be named instead of it
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) save: Option<PathBuf>,
}

/// How a machine is drawn.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum TopologyFormat {
    /// For terminals
    #[default]
    Text,
    /// For programs: a stable contract, units in the names
    Json,
    /// A figure, for pages and slides
    Svg,
}

/// What follows the help of `slicewise place`.
const PLACE_HELP: &str = "\
Examples:
  slicewise place examples/place/training-two-sockets.toml
  slicewise place examples/place/training-two-sockets.toml --emit numactl
  slicewise place examples/place/inference-loop.toml --placement isolated --emit cpuset
  slicewise place examples/place/eight-ranks.toml --gpu-nodes 0,0,1,1,4,4,5,5

What a task is for is told by its program, its policy and its name (rank0-launch, nccl, loader):
docs/place.md has the rules.

Exit status: 0 if placements were compared, 1 with --check if one is better than what is written, 2 if the
input or the command line is bad.";

/// `slicewise place`.
#[derive(ClapArgs, Debug)]
pub(crate) struct PlaceArgs {
    #[command(flatten)]
    pub(crate) simulation: SimulationArgs,

    /// Whose scheduler: one of `slicewise kernels` [default: what the file says, or 6.12]
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,

    /// Seeds every random draw [default: what the file says, or 1]
    #[arg(long, value_name = "SEED", allow_hyphen_values = true)]
    pub(crate) seed: Option<String>,

    /// Change a setting or a task before anything is placed: hz=1000, task/web.nice=5
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,

    /// The memory node of each rank's GPU [default: ranks are spread evenly over the nodes]
    #[arg(long, value_name = "NODE,…", value_delimiter = ',')]
    pub(crate) gpu_nodes: Vec<u32>,

    /// Print only the lines that make a machine do as the best placement, or as --placement
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) emit: Option<EmitArg>,

    /// Whose lines to print instead of those of the best: own-cores, by-node, …
    #[arg(long, value_name = "NAME", requires = "emit")]
    pub(crate) placement: Option<String>,

    /// Exit with status 1 if a placement is better than what is written
    #[arg(long)]
    pub(crate) check: bool,

    /// How to print the result
    #[arg(long, value_enum, default_value_t, conflicts_with = "emit")]
    pub(crate) format: PlaceFormat,

    #[command(flatten)]
    pub(crate) jobs: JobsArgs,
}

/// How placements are shown.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum PlaceFormat {
    /// For people
    #[default]
    Text,
    /// For programs: a stable contract, units in the names
    Json,
}

/// How a placement is done.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EmitArg {
    /// taskset -c
    Taskset,
    /// numactl, with memory where CPUs are of one node
    Numactl,
    /// Files of cgroup v2
    Cpuset,
    /// Pods of a Kubernetes node, and the kubelet's configuration
    Pod,
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
    /// Which rule a scheduling system call broke: EBUSY, EPERM, EINVAL and others
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Box<RtExplainArgs>),
}

/// What follows the help of `slicewise rt explain`.
const EXPLAIN_HELP: &str = "\
Examples:
  slicewise rt explain EBUSY --policy deadline --runtime 10ms --period 30ms --others 5ms/10ms --cpus 1
  slicewise rt explain EPERM --policy deadline --runtime 10ms --period 30ms --cpus '0-1 of 4'
  slicewise rt explain EPERM --policy fifo --priority 50 --uid 1000 --rlimit-rtprio 20
  slicewise rt explain EAGAIN --policy deadline --runtime 10ms --period 30ms

Exit status: 0 if the parameters lead to the error, 1 if not, 2 if the command line is bad.";

/// `slicewise rt explain`.
#[derive(ClapArgs, Debug)]
pub(crate) struct RtExplainArgs {
    /// The error, by name or number
    pub(crate) errno: String,

    /// The system call [default: sched_setattr; fork for EAGAIN, setpriority for EACCES]
    #[arg(long, value_enum, value_name = "CALL")]
    pub(crate) call: Option<CallArg>,

    /// What is asked for: other, fifo, rr, batch, idle, deadline, ext, or a number
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,

    /// Runtime (or a slice), with a unit, or in ns
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) runtime: Option<String>,

    /// Relative deadline, with a unit, or in ns [default: the period]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) deadline: Option<String>,

    /// Period, with a unit, or in ns [default: the deadline]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) period: Option<String>,

    /// Real-time priority
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) priority: Option<i32>,

    /// Nice value
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) nice: Option<i32>,

    /// sched_flags: reset-on-fork,reclaim,dl-overrun,keep-policy,keep-params,util-clamp-min,util-clamp-max
    /// or a number
    #[arg(long, value_name = "FLAGS")]
    pub(crate) flags: Option<String>,

    /// Lower clamp of utilisation, 0 to 1024
    #[arg(long, value_name = "N")]
    pub(crate) util_min: Option<u32>,

    /// Upper clamp of utilisation, 0 to 1024
    #[arg(long, value_name = "N")]
    pub(crate) util_max: Option<u32>,

    /// Size of the structure
    #[arg(long, value_name = "BYTES")]
    pub(crate) size: Option<u32>,

    /// How many CPUs there are, or which of them the task may use: `4`, `0-1 of 4` [default: 1]
    #[arg(long, value_name = "CPUS")]
    pub(crate) cpus: Option<String>,

    /// Whose rules: one of `slicewise kernels`, as Debian builds it [default: 6.12]
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,

    /// User of the caller [default: 0]
    #[arg(long, value_name = "UID")]
    pub(crate) uid: Option<u32>,

    /// User of the target [default: the caller's]
    #[arg(long, value_name = "UID")]
    pub(crate) target_uid: Option<u32>,

    /// Whether the caller has CAP_SYS_NICE [default: only user 0]
    #[arg(long, value_name = "BOOL")]
    pub(crate) cap_sys_nice: Option<bool>,

    /// RLIMIT_RTPRIO of the target [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) rlimit_rtprio: Option<u64>,

    /// RLIMIT_NICE of the target, 20 minus the nice value allowed [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) rlimit_nice: Option<u64>,

    /// The target's policy before the call [default: other]
    #[arg(long, value_name = "POLICY")]
    pub(crate) from: Option<String>,

    /// The target's priority before the call [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) from_priority: Option<u32>,

    /// The target's nice value before the call [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub(crate) from_nice: Option<i32>,

    /// The target does not exist
    #[arg(long)]
    pub(crate) no_such_task: bool,

    /// Reservations that are there already: a file with deadline tasks, or a list such as
    /// 10ms/100ms,5ms/20ms/50msx3
    #[arg(long, value_name = "FILE|LIST")]
    pub(crate) others: Option<String>,

    /// sched_rt_runtime_us, -1 for no limit [default: the kernel's]
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub(crate) rt_runtime_us: Option<i64>,

    /// cpu.rt_runtime_us of the target's cgroup, on a kernel with RT_GROUP_SCHED
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub(crate) group_rt_runtime_us: Option<i64>,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: OutputFormat,
}

/// A system call.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallArg {
    Setattr,
    Setscheduler,
    Setparam,
    Setaffinity,
    Setpriority,
    Fork,
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

/// What follows the help of `slicewise k8s`.
const K8S_HELP: &str = "\
What each container does stands in the annotation `slicewise.dev/load` of its pod, or in a document of \
kind Load: docs/kubernetes.md.

Examples:
  slicewise k8s deploy.yaml --cpus 16
  slicewise k8s deploy.yaml --cpus 16 --suggest --target p99=20ms
  kubectl get deploy,node -o yaml | slicewise k8s - loads.yaml
  slicewise k8s --cpus 8 --docker-run 'docker run --cpus 1.5 --label slicewise.dev/load=… nginx'

Exit status: 0 if all is well, 1 if there are findings, 2 if the input or the command line is bad.";

/// `kubectl slicewise`: the command under the name of a plugin.
#[derive(Parser, Debug)]
#[command(
    name = "kubectl-slicewise",
    bin_name = "kubectl slicewise",
    display_name = "kubectl slicewise",
    version,
    about = "What a node does with the containers of your manifests: throttling, response times, and \
             what would end it",
    after_help = K8S_HELP
)]
pub(crate) struct KubectlArgs {
    #[command(flatten)]
    pub(crate) k8s: K8sArgs,
}

/// `slicewise k8s`.
#[derive(ClapArgs, Debug)]
pub(crate) struct K8sArgs {
    /// Manifests, Compose files, nodes, kubelet configurations, loads; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// The same, as `kubectl` takes files
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) filenames: Vec<PathBuf>,

    /// A `docker run` command, quoted
    #[arg(long, value_name = "COMMAND")]
    pub(crate) docker_run: Vec<String>,

    /// Whose scheduler: one of `slicewise kernels`
    #[arg(long, value_name = "VERSION", default_value = crate::prepare::KERNEL_DEFAULT)]
    pub(crate) kernel: String,

    /// How long to run, with a unit
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) duration: String,

    /// Seeds every random draw
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Scheduler ticks a second
    #[arg(long, value_name = "HZ", default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) hz: u32,

    /// Part of the periods that may be throttled without being a finding
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    pub(crate) max_throttled: String,

    /// What every container has to keep: p99=20ms (or p50, p99.9), throttled=1% (at most), device=90% (at least)
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,

    /// Search the smallest limit, the number of threads and the QoS class that keep the target
    /// [target: what --target says, or --max-throttled]
    #[arg(long)]
    pub(crate) suggest: bool,

    /// Only the containers whose name this is, or contains, with --suggest
    #[arg(long, value_name = "NAME", requires = "suggest")]
    pub(crate) container: Option<String>,

    /// Only the run itself, none without limits and alone to compare with
    #[arg(long)]
    pub(crate) quick: bool,

    /// Write a trace: for ui.perfetto.dev, or small and fast if the name ends in .swtrace
    #[arg(long, value_name = "OUT.pftrace")]
    pub(crate) trace: Option<PathBuf>,

    /// How to print the result
    #[arg(long, short = 'o', visible_alias = "output", value_enum, default_value_t)]
    pub(crate) format: OutputFormat,

    #[command(flatten)]
    pub(crate) jobs: JobsArgs,

    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// The node, where the input does not say what it is.
#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "The node (over what the input says)")]
pub(crate) struct NodeArgs {
    /// How many CPUs [default: those of the Node object in the input, or 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub(crate) cpus: Option<u32>,

    /// Hardware threads in a core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) threads_per_core: Option<u32>,

    /// Only pods of this node, and those that are not bound to one
    #[arg(long = "node", value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// CPUs kept for the kubelet and the system: 500m
    #[arg(long, value_name = "CPUS")]
    pub(crate) reserved: Option<String>,

    /// Which CPUs are never exclusive: 0-1
    #[arg(long, value_name = "LIST")]
    pub(crate) reserved_cpus: Option<String>,

    /// Its hardware: a preset (`slicewise topology list`), a layout such as 2s:16c:2t, a file, or
    /// sockets, NUMA nodes in each, caches in each, cores in each, threads in each: 2x1x1x16x2
    #[arg(long, value_name = "MACHINE", conflicts_with_all = ["cpus", "threads_per_core"])]
    pub(crate) topology: Option<String>,

    /// Devices with the NUMA nodes they are at, `-` if unknown: nvidia.com/gpu=0,0,1,1
    #[arg(long, value_name = "RESOURCE=NODES")]
    pub(crate) devices: Vec<String>,

    /// The CPU manager: `static` gives Guaranteed containers of whole CPUs their own
    #[arg(long, visible_alias = "cpu-manager-policy", value_enum, value_name = "POLICY")]
    pub(crate) cpu_manager: Option<CpuManagerArg>,

    /// Options of the static policy: align-by-socket,distribute-cpus-across-numa
    #[arg(long, value_name = "OPTIONS", value_delimiter = ',')]
    pub(crate) cpu_manager_options: Vec<String>,

    /// Which pods the topology manager rejects: none, best-effort, restricted, single-numa-node
    #[arg(long, value_name = "POLICY")]
    pub(crate) topology_manager_policy: Option<String>,

    /// Whether it aligns containers or whole pods: container, pod
    #[arg(long, value_name = "SCOPE")]
    pub(crate) topology_manager_scope: Option<String>,

    /// Static CPU manager: only whole cores
    #[arg(long)]
    pub(crate) full_pcpus_only: bool,

    /// Static CPU manager: nobody else on reserved CPUs
    #[arg(long)]
    pub(crate) strict_cpu_reservation: bool,

    /// Static CPU manager: exclusive CPUs keep their quota, as kubelets before 1.33
    #[arg(long)]
    pub(crate) quota_with_exclusive_cpus: bool,

    /// Limits are no quotas
    #[arg(long)]
    pub(crate) no_cpu_quota: bool,

    /// The period of quotas, with a unit [default: 100ms]
    #[arg(long, value_name = "TIME")]
    pub(crate) quota_period: Option<String>,

    /// The kernel's interface [default: v2]
    #[arg(long, value_enum, value_name = "VERSION")]
    pub(crate) cgroup: Option<CgroupArg>,

    /// Who makes the cgroups [default: systemd]
    #[arg(long, value_enum, value_name = "DRIVER")]
    pub(crate) cgroup_driver: Option<DriverArg>,

    /// Quotas are as exact as they are, not rounded up to per cents of a CPU by systemd
    #[arg(long)]
    pub(crate) exact_quota: bool,

    /// How weights of containers are made: old, by runc before 1.3.2 [default: new]
    #[arg(long, value_enum, value_name = "FORMULA")]
    pub(crate) weight_formula: Option<FormulaArg>,

    /// How weights of pods and QoS classes are made [default: old]
    #[arg(long, value_enum, value_name = "FORMULA")]
    pub(crate) kubelet_weight_formula: Option<FormulaArg>,
}

/// A CPU manager's policy.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CpuManagerArg {
    None,
    Static,
}

/// A version of the cgroup interface.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CgroupArg {
    V1,
    V2,
}

/// A cgroup driver.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DriverArg {
    Systemd,
    Cgroupfs,
}

/// A formula from shares to weights.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FormulaArg {
    Old,
    New,
}
