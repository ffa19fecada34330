//! The figures of one run, as they are written to JSON. Field names and meanings are a contract:
//! fields may be added, never renamed or given another meaning.

use serde::{Deserialize, Serialize};

/// One run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// The kernel as users call it: `6.12`.
    pub kernel: String,
    /// The release whose behaviour it is: `6.12.117`.
    pub release: String,
    /// The seed of the run.
    pub seed: u64,
    /// How much time passed in the run.
    pub simulated_ns: u64,
    /// Fingerprint of the event stream, 16 hexadecimal digits.
    pub trace_hash: String,
    /// Scheduler ticks a second.
    pub hz: u32,
    /// Tasks by pid; tasks forked from one template are one row.
    pub tasks: Vec<TaskReport>,
    /// Groups, each after the one it is in.
    #[serde(default)]
    pub groups: Vec<GroupReport>,
    /// The pressure on all CPUs, as `/proc/pressure/cpu` has it; absent where nobody measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<PressureReport>,
    /// CPUs by number.
    pub cpus: Vec<CpuReport>,
    /// All waits for a CPU by powers of two of us, up to the last row that is not empty.
    pub runqlat_us: Vec<RunqlatRow>,
    /// Devices by number.
    pub devices: Vec<DeviceReport>,
    /// Request queues.
    pub queues: Vec<QueueReport>,
    /// Memory of tasks, and NUMA balancing; absent where no task has memory of a size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryReport>,
    /// Files of cgroups as they read at the end; only where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cgroup_files: Vec<CgroupFile>,
    /// What the reader should know before trusting the figures.
    pub warnings: Vec<String>,
}

/// One task, or all tasks forked from one template.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskReport {
    /// Its name.
    pub name: String,
    /// Its process id; of forked tasks that of the first.
    pub pid: u32,
    /// The path of the group it is in at the end; of forked tasks that of the first. Absent in the
    /// root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How many tasks were forked and added up here; absent for a single task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forks: Option<u64>,
    /// Policy at the end: `SCHED_OTHER`, `SCHED_FIFO`.
    pub policy: String,
    /// Nice value at the end. Without effect for real-time policies.
    pub nice: i8,
    /// Priority at the end, real-time policies only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Of tasks that were deadline tasks: parameters and what came of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DeadlineReport>,
    /// Of tasks whose period is known: what came of their jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobReport>,
    /// Signals it got for using too much CPU time; absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<SignalReport>,
    /// Time on a CPU.
    pub cpu_time_ns: u64,
    /// `cpu_time_ns / simulated_ns`, as `top` has it: 1.0 is one CPU all the time. More than 1 is
    /// possible only for the sum of forked tasks.
    pub share: f64,
    /// How often it woke up, forks not counted.
    pub wakeups: u64,
    /// How often it changed CPU.
    pub migrations: u64,
    /// Context switches away from it.
    pub switches: SwitchReport,
    /// From becoming runnable (waking up, being forked, being taken off the CPU, yielding) to
    /// getting a CPU. Waits that had not ended with the run are not in here.
    pub sched_delay_ns: DelayReport,
    /// From the release of a job to its completion.
    pub response_ns: DelayReport,
    /// How long it had been waiting for a CPU when the run ended; of several forked tasks the
    /// longest. Absent if it was not waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished_wait_ns: Option<u64>,
}

/// `SCHED_DEADLINE`: what a task asked for last, and what came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadlineReport {
    /// CPU time in every period.
    pub runtime_ns: u64,
    /// Relative deadline.
    pub deadline_ns: u64,
    /// Period.
    pub period_ns: u64,
    /// How often its budget was used up, or given away by a yield.
    pub throttled: u64,
    /// Jobs that took longer than the deadline, from their release on. The kernel knows nothing of
    /// them.
    pub misses: u64,
}

/// Jobs of a task that does one job in a period, as its program says, whatever its policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobReport {
    /// The period of its timer.
    pub period_ns: u64,
    /// Jobs that took longer than that, from their release on: the next one was due by then.
    pub late: u64,
}

/// Signals of the kernel for using too much CPU time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SignalReport {
    /// `SIGXCPU`: a budget with `dl_overrun` was used up, or the soft limit of `RLIMIT_RTTIME` was
    /// reached.
    pub sigxcpu: u64,
    /// `SIGKILL`: the hard limit of `RLIMIT_RTTIME` was reached.
    pub sigkill: u64,
}

/// Context switches, counted as in `/proc/PID/status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SwitchReport {
    /// It went to sleep or ended.
    pub voluntary: u64,
    /// It was taken off the CPU or yielded.
    pub involuntary: u64,
}

/// A distribution of durations in ns.
///
/// Quantiles are of the nearest rank and off by at most 1.6 %; `count`, `mean` (rounded down) and
/// `max` are exact. Without values everything is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DelayReport {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: u64,
    /// Half of them took no longer.
    pub p50: u64,
    /// 99 in 100 took no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// One group (a cgroup with the cpu controller).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupReport {
    /// Its path below the root.
    pub path: String,
    /// As `cpu.weight` reads.
    pub weight: u64,
    /// `cpu.idle` is 1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// CPU time it may use in a period; null without a limit of its own.
    pub quota_ns: Option<u64>,
    /// Length of a period.
    pub period_ns: u64,
    /// CPU time of its tasks and of those in groups below.
    pub usage_ns: u64,
    /// `usage_ns / simulated_ns`: 1.0 is one CPU all the time.
    pub share: f64,
    /// Periods in which it was active.
    pub nr_periods: u64,
    /// Of those, with a CPU on which it was stopped.
    pub nr_throttled: u64,
    /// How long its own quota stopped it, all CPUs added up.
    pub throttled_ns: u64,
    /// How long its own quota or one above stopped it, all CPUs added up.
    #[serde(default)]
    pub local_throttled_ns: u64,
    /// Periods in which saved quota was used.
    pub nr_bursts: u64,
    /// How much of it.
    pub burst_ns: u64,
    /// Pressure on its CPU.
    pub pressure: PressureReport,
}

/// Pressure on the CPU: `some` task waited for it, or tasks waited and none got on (`full`).
/// Averages are per cent of the last 10, 60 and 300 s, as the kernel rounds them.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PressureReport {
    /// How long in all.
    pub some_total_ns: u64,
    /// Over 10 s.
    pub some_avg10: f64,
    /// Over 60 s.
    pub some_avg60: f64,
    /// Over 300 s.
    pub some_avg300: f64,
    /// How long in all.
    pub full_total_ns: u64,
    /// Over 10 s.
    pub full_avg10: f64,
    /// Over 60 s.
    pub full_avg60: f64,
    /// Over 300 s.
    pub full_avg300: f64,
}

/// A file of a cgroup, as it reads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CgroupFile {
    /// The group's path and the file's name: `pods/web/cpu.stat`.
    pub path: String,
    /// What it reads.
    pub text: String,
}

/// One CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CpuReport {
    /// Its number.
    pub cpu: u32,
    /// Time it ran tasks.
    pub busy_ns: u64,
    /// Time it did not.
    pub idle_ns: u64,
    /// Context switches, those to and from idle included.
    pub switches: u64,
    /// Its FIFO and RR tasks were stopped because they had used up what they may of a period;
    /// absent if they never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rt_throttled: Option<RtThrottleReport>,
    /// What interrupted it; there if the workload has interrupts, or CPUs without ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<InterruptedReport>,
}

/// What interrupted a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct InterruptedReport {
    /// Ticks.
    pub ticks: u64,
    /// Interrupts of devices.
    pub interrupts: u64,
    /// How long those took, ns.
    pub interrupt_ns: u64,
}

/// Real-time throttling of one CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RtThrottleReport {
    /// How often its FIFO and RR tasks were stopped.
    pub count: u64,
    /// For how long in all.
    pub time_ns: u64,
}

/// Memory that is accessed page by page, and what NUMA balancing did.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct MemoryReport {
    /// It was on.
    pub numa_balancing: bool,
    /// Tasks with memory, as in the workload; those made from one template are one row.
    pub tasks: Vec<TaskMemoryReport>,
    /// Memory that tasks share.
    pub shared: Vec<SharedMemoryReport>,
    /// Tasks that NUMA balancing moved to a free place nearer to their memory.
    pub task_moves: u64,
    /// Pairs of tasks that it had swap places.
    pub task_swaps: u64,
}

/// Memory of a task.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TaskMemoryReport {
    /// The task's name.
    pub name: String,
    /// Bytes of its own memory on each node at the end.
    pub on_node_bytes: Vec<u64>,
    /// Bytes it accessed, own and shared.
    pub accessed_bytes: u64,
    /// The part of that which was on the node it ran on.
    pub local_share: f64,
    /// Pages of 4 KiB that faulted because a scan had marked them (`numa_hint_faults`).
    pub numa_faults: u64,
    /// Of those, on the node it ran on.
    pub numa_faults_local: u64,
    /// Pages of 4 KiB that came to its node.
    pub pages_migrated: u64,
    /// The node it prefers, if its faults have told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_node: Option<u32>,
}

/// Memory that tasks share.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SharedMemoryReport {
    /// Its name.
    pub name: String,
    /// Bytes on each node at the end.
    pub on_node_bytes: Vec<u64>,
}

/// One row of a histogram by powers of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunqlatRow {
    /// Least value.
    pub low: u64,
    /// Greatest value.
    pub high: u64,
    /// How many.
    pub count: u64,
}

/// One device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Its name.
    pub name: String,
    /// Time it worked.
    pub busy_ns: u64,
}

/// One request queue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueueReport {
    /// Its name.
    pub name: String,
    /// Requests that arrived, dropped ones included.
    pub arrived: u64,
    /// Requests that were answered.
    pub served: u64,
    /// Requests that found the queue full.
    pub dropped: u64,
}

impl GroupReport {
    /// The part of its periods in which it was throttled.
    pub fn throttled_part(&self) -> f64 {
        match self.nr_periods {
            0 => 0.0,
            periods => self.nr_throttled as f64 / periods as f64,
        }
    }
}

impl TaskReport {
    /// The name for people: of forked tasks with their number, `worker (x12)`.
    pub fn label(&self) -> String {
        match self.forks {
            Some(forks) => format!("{} (x{forks})", self.name),
            None => self.name.clone(),
        }
    }
}
