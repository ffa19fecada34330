//! The JSON Schema of scenarios, for editors. These types are never read into: the reader works on
//! the spanned tree so that it can report several mistakes with their places. A test holds their
//! keys and the reader's together.

#![expect(dead_code, reason = "the types exist for their schema")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

/// A duration with a unit: ns, us, ms, s, m or h.
#[derive(JsonSchema)]
struct Duration(
    #[schemars(regex(pattern = r"^\s*([0-9_]*\.?[0-9_]+\s*(ns|us|µs|ms|s|m|min|h)|0)\s*$"))] String,
);

/// A duration, or how to draw one.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Dist {
    /// Always this long.
    Constant(Duration),
    /// Drawn anew at every use.
    Drawn(Drawn),
}

/// How to draw a duration.
#[derive(JsonSchema)]
#[schemars(tag = "dist", rename_all = "lowercase")]
enum Drawn {
    /// Always this long.
    Constant {
        /// How long.
        value: Duration,
    },
    /// Everything between two values equally often.
    Uniform {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// The gaps of a Poisson process.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// The logarithm is normal.
    Lognormal {
        /// Half of all values are below.
        median: Duration,
        /// Standard deviation of the logarithm.
        #[schemars(range(min = 0.0, max = 20.0))]
        sigma: f64,
    },
    /// A heavy tail.
    Pareto {
        /// The shortest.
        min: Duration,
        /// Tail index: smaller is heavier.
        #[schemars(range(min = 0.01, max = 1000.0))]
        shape: f64,
        /// Longer values are cut to this.
        max: Duration,
    },
    /// One of these values, each as often as its weight says.
    Empirical {
        /// Values with their weights.
        values: Vec<(Duration, u64)>,
    },
}

/// A list such as "0,2-3", or an array of CPU numbers.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Cpus {
    /// The kernel's list format.
    List(String),
    /// CPU numbers.
    Numbers(Vec<u32>),
}

/// A Slicewise scenario: a machine and the tasks it runs.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Scenario {
    /// What this scenario is called.
    title: Option<String>,
    /// The question it answers.
    question: Option<String>,
    /// What the machine is like.
    machine: Option<Machine>,
    /// Task groups (cgroups).
    group: Option<Vec<Group>>,
    /// Nice values of sessions; those of nice 0 need no entry.
    session: Option<Vec<Session>>,
    /// The tasks; may be missing where groups have workloads of their own.
    task: Option<Vec<Task>>,
    /// Devices that work on what tasks submit.
    device: Option<Vec<Device>>,
    /// Queues of requests.
    queue: Option<Vec<Queue>>,
    /// Barriers whose parties are not simply all tasks that meet there.
    barrier: Option<Vec<Barrier>>,
    /// Mutexes that are more than a name.
    mutex: Option<Vec<Mutex>>,
    /// Interrupts that take time from CPUs.
    interrupt: Option<Vec<Interrupt>>,
    /// Memory that tasks share.
    memory: Option<Vec<Memory>>,
}

/// An amount of memory: B, KiB, MiB, GiB or TiB.
#[derive(JsonSchema)]
struct Amount(#[schemars(regex(pattern = r"^\s*[0-9]+\s*(B|KiB|MiB|GiB|TiB)\s*$"))] String);

/// Memory that tasks share: threads of one process.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Memory {
    /// Its name.
    name: String,
    /// How much there is.
    size: Amount,
    /// Where it is at first; where it is first touched if not given.
    node: Option<MemoryNode>,
}

/// A machine: by name, in a file, or described.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Topology {
    /// A preset, a layout, or a file.
    Named(String),
    /// What the CPUs share. Sets of CPUs are lists such as "0-3,8".
    Described(Box<TopologyTable>),
}

/// What CPUs share.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TopologyTable {
    /// What it is called.
    name: Option<String>,
    /// How many of what: s sockets, n memory nodes, l last-level caches, k clusters, c cores,
    /// t threads, each of the one before.
    layout: Option<String>,
    /// How many CPUs, or which.
    cpus: Option<CpusOrCount>,
    /// CPUs that share a core; others are alone.
    cores: Option<Vec<String>>,
    /// CPUs that share a cluster.
    clusters: Option<Vec<String>>,
    /// CPUs that share a last-level cache.
    llcs: Option<Vec<String>>,
    /// CPUs that share a die.
    dies: Option<Vec<String>>,
    /// CPUs that share a package.
    packages: Option<Vec<String>>,
    /// Memory nodes.
    nodes: Option<Vec<TopologyNode>>,
    /// Memory of each node, such as "64GiB".
    memory: Option<String>,
    /// From each node to each: 10 is itself.
    distances: Option<Vec<Vec<u32>>>,
    /// How long CPUs of each node wait for memory of each, ns.
    latencies_ns: Option<Vec<Vec<u32>>>,
    /// Capacities by CPUs; the fastest have 1024.
    capacities: Option<BTreeMap<String, u32>>,
    /// Which CPUs fill up first: a higher number first.
    packing: Option<BTreeMap<String, i32>>,
    /// Fast cores of a hybrid machine.
    performance_cpus: Option<String>,
    /// Its small cores.
    efficiency_cpus: Option<String>,
    /// CPUs out of load balancing.
    isolated: Option<String>,
    /// CPUs without ticks while one task runs.
    nohz_full: Option<String>,
    /// CPUs that exist but are offline.
    offline: Option<String>,
    /// Caches.
    caches: Option<Vec<TopologyCache>>,
    /// What CPUs draw: each CPU in one entry.
    energy: Option<Vec<TopologyEnergy>>,
}

/// CPUs that change frequency together.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TopologyEnergy {
    /// The CPUs.
    cpus: String,
    /// Capacity and power at each frequency, slowest first; the last capacity is the CPUs' own.
    states: Vec<(u32, u32)>,
}

/// How many CPUs, or which.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum CpusOrCount {
    /// How many.
    Count(u32),
    /// Which.
    List(String),
}

/// A memory node.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TopologyNode {
    /// Its CPUs.
    cpus: Option<String>,
    /// Its memory, such as "64GiB".
    memory: Option<String>,
    /// What it is called.
    name: Option<String>,
    /// Its number.
    number: Option<u32>,
}

/// Caches alike.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TopologyCache {
    /// Their level.
    #[schemars(range(min = 1, max = 9))]
    level: u32,
    /// data, instruction or unified.
    kind: Option<String>,
    /// Their size, such as "2MiB".
    size: Option<String>,
    /// Who shares each.
    cpus: Vec<String>,
}

/// What the machine is like.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Machine {
    /// How many CPUs.
    #[schemars(range(min = 1, max = 8192))]
    cpus: Option<u32>,
    /// What it looks like: a preset, a layout such as "2s:24c:2t", a file, or a table. It says how many
    /// CPUs there are.
    topology: Option<Topology>,
    /// Ticks a second.
    #[schemars(range(min = 1, max = 10000))]
    hz: Option<u32>,
    /// The kernel, such as "6.12".
    kernel: Option<String>,
    /// How long to run.
    duration: Option<Duration>,
    /// Seeds every random draw.
    seed: Option<u64>,
    /// Whether each session is a task group.
    autogroup: Option<bool>,
    /// The preemption model.
    preemption: Option<Preemption>,
    /// Scheduler features to switch: NAME or NO_NAME.
    features: Option<Vec<String>>,
    /// The base slice.
    base_slice: Option<Duration>,
    /// When CPU 0 has its first tick.
    tick_phase: Option<Duration>,
    /// How much later each further CPU ticks.
    tick_skew: Option<Duration>,
    /// Microseconds of a period that real-time tasks may run for; -1 for no limit, neither for them
    /// (kernels up to 6.11) nor for what deadline tasks may reserve.
    #[schemars(range(min = -1, max = 2147483647))]
    sched_rt_runtime_us: Option<i32>,
    /// That period, us.
    #[schemars(range(min = 1, max = 2147483647))]
    sched_rt_period_us: Option<i32>,
    /// The slice of RR tasks, ms.
    #[schemars(range(min = 1, max = 1000000))]
    sched_rr_timeslice_ms: Option<u32>,
    /// The kernel is built with RT_GROUP_SCHED: groups have real-time limits of their own.
    rt_group_sched: Option<bool>,
    /// What the fair server of each CPU may use of its period (kernels from 6.12); "0ms" switches it
    /// off.
    fair_server_runtime: Option<Duration>,
    /// The period of the fair server.
    fair_server_period: Option<Duration>,
    /// CPUs set apart at boot, as behind `isolcpus=`: "2-3", or with flags "domain,2-3".
    isolcpus: Option<String>,
    /// CPUs whose tick stops while at most one task is runnable, as behind `nohz_full=`.
    nohz_full: Option<String>,
    /// Whether memory and tasks follow each other (NUMA balancing); true if not given.
    numa_balancing: Option<bool>,
    /// Whether tasks wake where that costs the least energy, if the topology has an energy model; true
    /// if not given.
    sched_energy_aware: Option<bool>,
    /// What the machine itself costs.
    costs: Option<Costs>,
    /// What slows programs; nothing if not given.
    speed: Option<SpeedChoice>,
}

/// A session: what `setsid` begins.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Session {
    /// Its name.
    name: String,
    /// What was written to `/proc/PID/autogroup`.
    #[schemars(range(min = -20, max = 19))]
    nice: Option<i8>,
}

/// What is written to a file: text, or a number.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum FileText {
    /// As one would write it.
    Text(String),
    /// A number.
    Number(f64),
}

/// A task group: a cgroup with the cpu controller. Keys are named as its files.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Group {
    /// Its path from the root, such as "pods/web". Groups above it need no entry.
    path: String,
    /// An rt-app file, beside the scenario, whose threads run in this group.
    workload: Option<String>,
    /// Where the grid of its periods lies; random from Linux 6.3 on, and 0 before, if not given.
    period_phase: Option<Duration>,
    /// The files, as dotted keys.
    cpu: Option<CpuFiles>,
    /// v2: its weight, 1 to 10000; 100 if not given.
    #[serde(rename = "cpu.weight")]
    weight: Option<FileText>,
    /// v2: its weight as a nice value.
    #[serde(rename = "cpu.weight.nice")]
    weight_nice: Option<FileText>,
    /// v2: "QUOTA PERIOD" or "max" in us.
    #[serde(rename = "cpu.max")]
    max: Option<FileText>,
    /// v2: how much unused quota is kept, us.
    #[serde(rename = "cpu.max.burst")]
    max_burst: Option<FileText>,
    /// 1: it runs when nobody else wants to.
    #[serde(rename = "cpu.idle")]
    idle: Option<FileText>,
    /// The least utilisation its tasks ask for, per cent.
    #[serde(rename = "cpu.uclamp.min")]
    uclamp_min: Option<FileText>,
    /// The greatest utilisation its tasks ask for, per cent.
    #[serde(rename = "cpu.uclamp.max")]
    uclamp_max: Option<FileText>,
    /// v1: its weight; 1024 if not given.
    #[serde(rename = "cpu.shares")]
    shares: Option<FileText>,
    /// v1: its quota in us, -1 for none.
    #[serde(rename = "cpu.cfs_quota_us")]
    cfs_quota_us: Option<FileText>,
    /// v1: its period in us.
    #[serde(rename = "cpu.cfs_period_us")]
    cfs_period_us: Option<FileText>,
    /// v1: how much unused quota is kept, us.
    #[serde(rename = "cpu.cfs_burst_us")]
    cfs_burst_us: Option<FileText>,
    /// v1 with RT_GROUP_SCHED: what its real-time tasks may use of each period and CPU, us; 0, the
    /// default, lets it have none.
    #[serde(rename = "cpu.rt_runtime_us")]
    rt_runtime_us: Option<FileText>,
    /// v1 with RT_GROUP_SCHED: that period, us; 1000000 if not given.
    #[serde(rename = "cpu.rt_period_us")]
    rt_period_us: Option<FileText>,
    /// The cpuset files, as dotted keys: `cpuset.mems`, or `cpuset.cpus` alone.
    cpuset: Option<CpusetFiles>,
    /// The CPUs its tasks may use, "0-3"; all of the group it is in if not given.
    #[serde(rename = "cpuset.cpus")]
    cpuset_cpus: Option<FileText>,
    /// v2: CPUs it may have for itself, or hand down to partitions below it.
    #[serde(rename = "cpuset.cpus.exclusive")]
    cpuset_cpus_exclusive: Option<FileText>,
    /// v2: member, root (its CPUs are its own) or isolated (and not balanced).
    #[serde(rename = "cpuset.cpus.partition")]
    cpuset_cpus_partition: Option<FileText>,
    /// The memory nodes its tasks may use: there is one, 0.
    #[serde(rename = "cpuset.mems")]
    cpuset_mems: Option<FileText>,
}

/// The cpuset files of a group as dotted keys; `cpuset.cpus` beside `cpuset.cpus.partition` must be
/// quoted.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CpusetFiles {
    /// `cpuset.cpus`, or what is below it.
    cpus: Option<CpusetCpusFiles>,
    /// `cpuset.mems`.
    mems: Option<FileText>,
}

/// `cpuset.cpus`, `cpuset.cpus.exclusive` and `cpuset.cpus.partition`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum CpusetCpusFiles {
    /// `cpuset.cpus`.
    Cpus(FileText),
    /// What is below it.
    Below {
        /// `cpuset.cpus.exclusive`.
        exclusive: Option<FileText>,
        /// `cpuset.cpus.partition`.
        partition: Option<FileText>,
    },
}

/// The files of a group as dotted keys. `cpu.max` and `cpu.max.burst` cannot both be dotted keys in
/// TOML, nor can `cpu.weight` and `cpu.weight.nice`: quote them.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CpuFiles {
    /// `cpu.weight`, or `cpu.weight.nice`.
    weight: Option<WeightFiles>,
    /// `cpu.max`, or `cpu.max.burst`.
    max: Option<MaxFiles>,
    /// `cpu.idle`.
    idle: Option<FileText>,
    /// `cpu.uclamp.min`, `cpu.uclamp.max`.
    uclamp: Option<UclampFiles>,
    /// `cpu.shares`.
    shares: Option<FileText>,
    /// `cpu.cfs_quota_us`.
    cfs_quota_us: Option<FileText>,
    /// `cpu.cfs_period_us`.
    cfs_period_us: Option<FileText>,
    /// `cpu.cfs_burst_us`.
    cfs_burst_us: Option<FileText>,
    /// `cpu.rt_runtime_us`.
    rt_runtime_us: Option<FileText>,
    /// `cpu.rt_period_us`.
    rt_period_us: Option<FileText>,
}

/// `cpu.weight`, or `cpu.weight.nice`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum WeightFiles {
    /// `cpu.weight`.
    Weight(FileText),
    /// `cpu.weight.nice`.
    Below {
        /// The nice value.
        nice: FileText,
    },
}

/// `cpu.max`, or `cpu.max.burst`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum MaxFiles {
    /// `cpu.max`.
    Max(FileText),
    /// `cpu.max.burst`.
    Below {
        /// The burst.
        burst: FileText,
    },
}

/// `cpu.uclamp.min`, `cpu.uclamp.max`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct UclampFiles {
    /// The least.
    min: Option<FileText>,
    /// The greatest.
    max: Option<FileText>,
}

/// A preemption model.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Preemption {
    /// System calls are not preempted.
    None,
    /// Likewise.
    Voluntary,
    /// Everything is preempted at once.
    Full,
    /// The fair class waits for the next tick.
    Lazy,
}

/// What the machine itself costs.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Costs {
    /// Of a context switch.
    context_switch: Option<Duration>,
    /// Of a wakeup.
    wakeup: Option<Duration>,
    /// Of a tick.
    tick: Option<Duration>,
    /// From the request until an idle CPU chooses: the interrupt that tells it, and its way out of its idle
    /// state.
    idle_exit: Option<Duration>,
}

/// RLIMIT_RTTIME.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is of use")]
enum RtTime {
    /// Soft and hard limit.
    Both(Duration),
    /// One each: SIGXCPU at the soft one, SIGKILL at the hard one.
    Each {
        /// SIGXCPU, and again every second.
        soft: Option<Duration>,
        /// SIGKILL.
        hard: Option<Duration>,
    },
}

/// A task, or several alike.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Task {
    /// Its name; instances are called NAME-0, NAME-1, ….
    name: String,
    /// How many instances.
    #[schemars(range(min = 1, max = 1000000))]
    count: Option<u32>,
    /// Only made by `fork`.
    template: Option<bool>,
    /// "other", "batch", "idle", "fifo", "rr" or "deadline", or as in sched(7).
    policy: Option<String>,
    /// The nice value.
    #[schemars(range(min = -20, max = 19))]
    nice: Option<i8>,
    /// The priority, for fifo and rr.
    #[schemars(range(min = 1, max = 99))]
    priority: Option<u8>,
    /// A slice of its own (kernels from 6.12).
    slice: Option<Duration>,
    /// CPU time reserved in every period (policy deadline).
    runtime: Option<Duration>,
    /// Relative deadline; the period if it is not given (policy deadline).
    deadline: Option<Duration>,
    /// The period (policy deadline).
    period: Option<Duration>,
    /// May use bandwidth that others leave (policy deadline, GRUB).
    reclaim: Option<bool>,
    /// Gets SIGXCPU when its budget is used up (policy deadline).
    dl_overrun: Option<bool>,
    /// How long it may run in a real-time policy without sleeping (RLIMIT_RTTIME): "200ms", or
    /// { soft, hard }.
    rttime: Option<RtTime>,
    /// Memory of its own, that is accessed page by page and may move.
    memory: Option<Amount>,
    /// How fast it walks through memory while it runs, such as "2GiB/s"; 1GiB/s if not given.
    #[schemars(regex(pattern = r"^\s*[0-9]+\s*(B|KiB|MiB|GiB|TiB)/s\s*$"))]
    memory_rate: Option<String>,
    /// The memory it shares with others, by its name.
    shared_memory: Option<String>,
    /// How much of its accesses are to that; half if it has memory of its own, else all.
    #[schemars(range(min = 0.0, max = 1.0))]
    shared_part: Option<f64>,
    /// Where its memory is; on the node of the CPU it first runs on if not given. Matters with
    /// `memory_bound`.
    memory_node: Option<MemoryNode>,
    /// How much of its time with local memory it waits for memory.
    #[schemars(range(min = 0.0, max = 1.0))]
    memory_bound: Option<f64>,
    /// Where it may run.
    cpus: Option<Cpus>,
    /// When it starts.
    start: Option<Duration>,
    /// The path of the group it starts in.
    group: Option<String>,
    /// The session it is in (`setsid`): one task group for each. Not together with `group`.
    session: Option<String>,
    /// Its children start with the default policy.
    reset_on_fork: Option<bool>,
    /// How often it does what it does; for ever if not given.
    #[serde(rename = "loop")]
    #[schemars(range(min = 1))]
    rounds: Option<u64>,
    /// What it does, over and over.
    program: Option<Vec<Step>>,
    /// What it does, one after the other.
    phases: Option<Vec<Phase>>,
    /// It uses the CPU for ever.
    hog: Option<bool>,
    /// It runs once a period.
    periodic: Option<Periodic>,
}

/// A part of a task's life.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Phase {
    /// What it is called.
    name: Option<String>,
    /// How often; once if not given.
    #[serde(rename = "loop")]
    #[schemars(range(min = 1))]
    rounds: Option<u64>,
    /// What it does.
    program: Vec<Step>,
}

/// Work once a period.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Periodic {
    /// How long it runs.
    run: Dist,
    /// How often it starts.
    period: Duration,
    /// What a late task does.
    mode: Option<TimerMode>,
    /// It runs inside a system call.
    kernel: Option<bool>,
}

/// What a late task does.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum TimerMode {
    /// It catches up.
    Absolute,
    /// It starts a new period from now.
    Relative,
}

/// One thing to do: exactly one of the keys (`kernel` goes with `run`).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1, "maxProperties" = 2))]
struct Step {
    /// Use the CPU for this much work, or "forever".
    run: Option<Run>,
    /// The work is inside a system call.
    kernel: Option<bool>,
    /// Use the CPU until this much time has passed, waiting included.
    spin: Option<Dist>,
    /// Sleep this long.
    sleep: Option<Dist>,
    /// Sleep until the next expiry of a periodic timer.
    timer: Option<Timer>,
    /// Take a mutex.
    lock: Option<String>,
    /// Give a mutex back.
    unlock: Option<String>,
    /// Wait for a signal.
    wait: Option<Wait>,
    /// Wake the first that waits on a condition.
    signal: Option<String>,
    /// Wake all that wait on a condition.
    broadcast: Option<String>,
    /// Signal a condition, then wait on it.
    sync: Option<Wait>,
    /// Meet other tasks.
    barrier: Option<String>,
    /// Sleep until resumed.
    suspend: Option<bool>,
    /// Wake a suspended task.
    resume: Option<String>,
    /// sched_yield.
    #[serde(rename = "yield")]
    give_way: Option<bool>,
    /// Make a task from a template.
    fork: Option<String>,
    /// Take the next request of a queue.
    receive: Option<String>,
    /// Do what the request needs; alone, receive before and reply after.
    serve: Option<String>,
    /// Answer the request.
    reply: Option<String>,
    /// Hand work to a device.
    submit: Option<Submit>,
    /// Wait until a device has done all this task submitted.
    synchronize: Option<String>,
    /// Change this task.
    set: Option<Set>,
    /// Repeat steps.
    #[serde(rename = "loop")]
    repeat: Option<Loop>,
    /// End the task.
    exit: Option<bool>,
}

/// Work, or "forever".
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Run {
    /// This much.
    Work(Dist),
    /// Without end.
    Forever(Forever),
}

/// Without end.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Forever {
    /// Without end.
    Forever,
}

/// A periodic timer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Timer {
    /// The period.
    period: Duration,
    /// What a late task does; absolute if not given.
    mode: Option<TimerMode>,
    /// Steps of a task that name the same timer share it.
    name: Option<String>,
}

/// A condition and its mutex.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Wait {
    /// The condition.
    condition: String,
    /// The mutex, which must be locked.
    mutex: String,
}

/// Work for a device.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Submit {
    /// The device.
    device: String,
    /// How long it works on it.
    work: Dist,
}

/// What changes about the task.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Set {
    /// The nice value.
    #[schemars(range(min = -20, max = 19))]
    nice: Option<i8>,
    /// The policy.
    policy: Option<String>,
    /// The priority, for fifo and rr.
    #[schemars(range(min = 1, max = 99))]
    priority: Option<u8>,
    /// A slice of its own.
    slice: Option<Duration>,
    /// CPU time reserved in every period (policy deadline).
    runtime: Option<Duration>,
    /// Relative deadline; the period if it is not given (policy deadline).
    deadline: Option<Duration>,
    /// The period (policy deadline).
    period: Option<Duration>,
    /// May use bandwidth that others leave (policy deadline, GRUB).
    reclaim: Option<bool>,
    /// Gets SIGXCPU when its budget is used up (policy deadline).
    dl_overrun: Option<bool>,
    /// Where it may run.
    cpus: Option<Cpus>,
    /// Its children start with the default policy.
    reset_on_fork: Option<bool>,
}

/// Steps to repeat.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Loop {
    /// How often; for ever if not given.
    #[schemars(range(min = 1))]
    count: Option<u64>,
    /// What.
    body: Vec<Step>,
}

/// A device that works on submissions, one after the other.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Device {
    /// Its name.
    name: String,
    /// How many submissions may be pending before a submitter waits; no limit if not given.
    #[schemars(range(min = 1))]
    depth: Option<u32>,
}

/// Requests that arrive whether or not anyone is ready.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Queue {
    /// Its name.
    name: String,
    /// Time between arrivals.
    interarrival: Option<Dist>,
    /// Arrivals at random at this mean rate, such as "200/s".
    rate: Option<String>,
    /// CPU time a request needs.
    service: Dist,
    /// How many arrive in all; no end if not given.
    #[schemars(range(min = 1))]
    requests: Option<u64>,
    /// How many may wait; further ones are dropped. No limit if not given.
    #[schemars(range(min = 1))]
    depth: Option<u32>,
    /// When arrivals begin.
    start: Option<Duration>,
}

/// Interrupts of a device: they take time from whoever runs on the CPU they come to.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Interrupt {
    /// Its name.
    name: String,
    /// The CPUs it may interrupt; all if not given.
    cpus: Option<Cpus>,
    /// Which of them it does: "first" if not given.
    delivery: Option<Delivery>,
    /// Time between two.
    interarrival: Option<Dist>,
    /// At random at this mean rate, such as "2000/s".
    rate: Option<String>,
    /// How long each takes.
    duration: Dist,
    /// When they begin.
    start: Option<Duration>,
    /// The task that each resumes, if it is suspended.
    wakes: Option<String>,
}

/// Where interrupts go.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Delivery {
    /// All to the first of `cpus`.
    First,
    /// To one after the other.
    RoundRobin,
}

/// The node of memory.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum MemoryNode {
    /// This one.
    Node(#[schemars(range(min = 0, max = 1023))] u32),
    /// Not a single one, or not yet known.
    Policy(MemoryPolicy),
}

/// Where memory comes to be.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum MemoryPolicy {
    /// On the node of the CPU the task first runs on.
    FirstTouch,
    /// On all nodes, in equal parts.
    Interleave,
}

/// What slows programs.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum SpeedChoice {
    /// Typical figures for everything but memory.
    Typical(bool),
    /// What is given, and nothing else.
    Table(Speed),
}

/// What slows programs.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Speed {
    /// Typical figures for what is not given.
    typical: Option<bool>,
    /// The speed of each of two siblings of a core that both run something.
    #[schemars(range(min = 0.01, max = 1.0))]
    smt: Option<f64>,
    /// CPUs are as fast as their capacity says.
    capacity: Option<bool>,
    /// Extra work after a move to another core with the same last-level cache.
    warm_up_core: Option<Duration>,
    /// Extra work after a move to one with another.
    warm_up_llc: Option<Duration>,
    /// How much of their time tasks wait for memory, where they do not say.
    #[schemars(range(min = 0.0, max = 1.0))]
    memory_bound: Option<f64>,
}

/// A mutex. Those that only have a name need not be listed.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Mutex {
    /// Its name.
    name: String,
    /// Its owner runs with the priority of the most important task that waits for it, and they get
    /// it by priority (PTHREAD_PRIO_INHERIT).
    priority_inheritance: Option<bool>,
}

/// Where tasks meet.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Barrier {
    /// Its name.
    name: String,
    /// How many meet.
    #[schemars(range(min = 1))]
    parties: Option<u32>,
}

/// The JSON Schema (draft 2020-12) of scenario files, as committed in `schema/`.
pub fn schema_json() -> String {
    let schema = schemars::schema_for!(Scenario);
    // The order must not depend on how a JSON library was built.
    let sorted = sorted(schema.as_value());
    let mut text = serde_json::to_string_pretty(&sorted).unwrap_or_default();
    text.push('\n');
    text
}

/// The same value with the keys of all objects in alphabetical order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let by_name: BTreeMap<&String, &Value> = object.iter().collect();
            Value::Object(by_name.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{fields, group, machine, program, task};
    use super::*;

    fn keys_of(schema: &serde_json::Value) -> BTreeSet<String> {
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        properties.keys().cloned().collect()
    }

    #[test]
    fn the_schema_has_exactly_the_keys_that_the_reader_knows() {
        let schema: serde_json::Value = serde_json::from_str(&schema_json()).unwrap();
        let steps = [program::STEP_KEYS, program::RUN_KEYS].concat();
        let tables: [(&str, &[&str]); 19] = [
            ("Speed", machine::SPEED_KEYS),
            ("Memory", super::super::memory::MEMORY_KEYS),
            ("Interrupt", super::super::interrupt::INTERRUPT_KEYS),
            ("Group", group::GROUP_KEYS),
            ("Machine", machine::MACHINE_KEYS),
            ("TopologyTable", slicewise_topology::MACHINE_KEYS),
            ("Costs", machine::COST_KEYS),
            ("Session", super::super::group::SESSION_KEYS),
            ("Task", task::TASK_KEYS),
            ("Phase", task::PHASE_KEYS),
            ("Periodic", task::PERIODIC_KEYS),
            ("Step", &steps),
            ("Timer", program::TIMER_KEYS),
            ("Wait", program::WAIT_KEYS),
            ("Submit", program::SUBMIT_KEYS),
            ("Set", program::SET_KEYS),
            ("Loop", program::LOOP_KEYS),
            ("Device", super::super::DEVICE_KEYS),
            ("Queue", super::super::QUEUE_KEYS),
        ];
        for (name, keys) in tables {
            let wanted: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(keys_of(&schema["$defs"][name]), wanted, "{name}");
        }
        let root: BTreeSet<String> =
            super::super::SCENARIO_KEYS.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(keys_of(&schema), root);
        let mut drawn = BTreeSet::new();
        for variant in schema["$defs"]["Drawn"]["oneOf"].as_array().unwrap() {
            drawn.extend(keys_of(variant));
        }
        let known: BTreeSet<String> = fields::dist_keys().into_iter().map(str::to_owned).collect();
        assert_eq!(drawn, known);
    }

    #[test]
    fn the_committed_schema_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema/scenario.schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema")).unwrap();
            std::fs::write(path, schema_json()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == schema_json(), "run the tests with UPDATE_SCHEMA=1 to rewrite {path}");
    }
}
