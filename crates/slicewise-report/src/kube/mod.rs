//! What a node does with its containers: the answers as plain values.

mod text;
mod verdict;

use serde::{Deserialize, Serialize};

use crate::Histogram;

pub use text::render_kube;

/// What happened to the containers of a node.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeReport {
    /// The kernel, as `slicewise kernels` lists it.
    pub kernel: String,
    /// The release whose behaviour it is.
    pub release: String,
    /// Ticks a second.
    pub hz: u32,
    /// The seed of the run.
    pub seed: u64,
    /// How long the run was.
    pub simulated_ns: u64,
    /// Fingerprint of the event stream, 16 hexadecimal digits.
    pub trace_hash: String,
    /// The node.
    pub node: KubeNode,
    /// What was found; nothing if all is well.
    pub findings: Vec<KubeFinding>,
    /// The containers, those of all copies of a pod added up.
    pub workloads: Vec<KubeContainer>,
    /// Every container.
    pub containers: Vec<KubeContainer>,
    /// What would be better, if it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<KubeSuggestion>,
    /// What the reader should know.
    pub remarks: Vec<String>,
}

/// The node.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeNode {
    /// How many CPUs.
    pub cpus: u32,
    /// Nobody said how many.
    pub cpus_assumed: bool,
    /// What pods can have.
    pub allocatable_cpus: f64,
    /// What the pods ask for together.
    pub requested_cpus: f64,
    /// `v1` or `v2`.
    pub cgroup_version: String,
    /// `systemd` or `cgroupfs`.
    pub cgroup_driver: String,
    /// How `cpu.shares` of containers became weights: `old` or `new`.
    pub weight_formula: String,
    /// The period of quotas.
    pub quota_period_ns: u64,
    /// Whether integer Guaranteed containers get CPUs for themselves.
    pub static_cpu_manager: bool,
    /// Part of the CPU time that was used.
    pub busy_share: f64,
}

/// A finding.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KubeFinding {
    /// Which rule: `throttled`, `dropped`, `overloaded`, `target`, `rejected`.
    pub rule: String,
    /// Which container, or pod.
    pub container: String,
    /// What is wrong, with the threshold.
    pub message: String,
}

/// A container, or all copies of it together: then counts and times are sums.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeContainer {
    /// A name for people.
    pub label: String,
    /// Namespace, empty outside of Kubernetes.
    pub namespace: String,
    /// What made the pod: `Deployment`; `Container` outside of Kubernetes.
    pub kind: String,
    /// The pod; of several copies, the object that made them.
    pub pod: String,
    /// The container.
    pub container: String,
    /// How many copies are added up here.
    pub copies: u32,
    /// Its cgroup; of several copies that of the first.
    pub cgroup: String,
    /// `Guaranteed`, `Burstable` or `BestEffort`; absent outside of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_class: Option<String>,
    /// CPUs it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_cpus: Option<f64>,
    /// CPUs it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_cpus: Option<f64>,
    /// `cpu.weight` of its cgroup.
    pub weight: u64,
    /// The tightest quota it is under; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<KubeQuota>,
    /// CPUs it has for itself: `2-5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive_cpus: Option<String>,
    /// The NUMA nodes those are of; absent where there is only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numa_nodes: Vec<u32>,
    /// Devices it has for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// What it gets when every container wants all it can get.
    pub saturated: KubeSaturated,
    /// Whether anybody said what it does. Without, nothing below means anything.
    pub has_load: bool,
    /// CPU time.
    pub cpu_ns: u64,
    /// CPUs in use on average: `cpu_ns / simulated_ns`.
    pub used_cpus: f64,
    /// Periods in which the quota's timer ran.
    pub nr_periods: u64,
    /// Of those, with a CPU that was stopped.
    pub nr_throttled: u64,
    /// `nr_throttled / nr_periods`, what `CPUThrottlingHigh` looks at.
    pub throttled_share: f64,
    /// How long CPUs were stopped, added up over CPUs as in `cpu.stat`.
    pub throttled_ns: u64,
    /// `throttled_ns / nr_throttled`: more than a period is no error, since CPUs are added up.
    pub throttled_per_hit_ns: u64,
    /// How long a thread that wanted to run stood still, each time.
    pub stalls: KubeTimes,
    /// What its threads waited for.
    pub wait: KubeWait,
    /// What it does, part by part.
    pub parts: Vec<KubePart>,
    /// What to make of it, in a sentence.
    pub verdict: String,
}

impl KubeContainer {
    /// Works out the shares from the counts, as they are in `cpu.stat`.
    pub fn settle_throttling(&mut self) {
        self.throttled_share = match self.nr_periods {
            0 => 0.0,
            periods => self.nr_throttled as f64 / periods as f64,
        };
        self.throttled_per_hit_ns = self.throttled_ns.checked_div(self.nr_throttled).unwrap_or(0);
    }
}

/// A quota.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeQuota {
    /// `quota_ns / period_ns`.
    pub cpus: f64,
    /// CPU time in a period.
    pub quota_ns: u64,
    /// The period.
    pub period_ns: u64,
    /// Where it is written.
    pub cgroup: String,
    /// It is the container's own, not that of a group around it.
    pub is_own: bool,
}

/// What weights give when every container wants all CPUs.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeSaturated {
    /// Part of the CPUs it shares with others, by weight alone.
    pub share: f64,
    /// In CPUs, the quota considered; or as many as it has for itself.
    pub cpus: f64,
}

/// A distribution of durations. Quantiles are off by at most 1.6 %, count and max are exact.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KubeTimes {
    /// How many.
    pub count: u64,
    /// Half took no longer.
    pub p50_ns: u64,
    /// 99 in 100 took no longer.
    pub p99_ns: u64,
    /// 999 in 1000 took no longer.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl KubeTimes {
    /// The figures of a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            p50_ns: histogram.quantile_ns(500),
            p99_ns: histogram.quantile_ns(990),
            p999_ns: histogram.quantile_ns(999),
            max_ns: histogram.max_ns(),
        }
    }
}

/// Time threads wanted to run and did not, added up over threads.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeWait {
    /// All of it.
    pub total_ns: u64,
    /// A quota had stopped them, their own or that of a group around it.
    pub quota_ns: u64,
    /// The same container had the CPU.
    pub same_container_ns: u64,
    /// Other containers had it.
    pub other_containers_ns: u64,
    /// Nobody had it: costs of the machine, and what was about to end.
    pub nobody_ns: u64,
    /// Which others, those first that took the most.
    pub others: Vec<KubeOther>,
}

/// A container that others waited for.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeOther {
    /// Its label.
    pub container: String,
    /// How long they waited for it.
    pub wait_ns: u64,
}

/// A part of what a container does.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubePart {
    /// `requests`, `batch` or `launch`.
    pub kind: String,
    /// How many threads each copy has for it.
    pub threads: u32,
    /// Requests from arrival to answer, jobs from wakeup to sleep, steps from begin to end.
    pub durations: KubeTimes,
    /// The same if there were no waiting at all: quantiles of the service time alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<KubeService>,
    /// `requests`: how many came, were answered, and found the queue full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<KubeRequests>,
    /// `launch`: the device and the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<KubeLaunch>,
    /// The same load without any quota on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_limits: Option<KubeBaseline>,
    /// The pod alone on the node, without quota, on all CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<KubeBaseline>,
}

/// Quantiles of a service time, exact.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KubeService {
    /// Half need no more.
    pub p50_ns: u64,
    /// 99 in 100 need no more.
    pub p99_ns: u64,
    /// 999 in 1000 need no more.
    pub p999_ns: u64,
}

/// Requests, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KubeRequests {
    /// Came, dropped ones included.
    pub arrived: u64,
    /// Were answered.
    pub served: u64,
    /// Found the queue full.
    pub dropped: u64,
    /// Were still waiting or being served at the end.
    pub unanswered: u64,
}

/// Launches on a device.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeLaunch {
    /// The device.
    pub device: String,
    /// Steps a second, of all copies.
    pub steps_per_s: f64,
    /// Part of the time the device works, on average over copies.
    pub device_busy_share: f64,
}

/// The same part in another run.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeBaseline {
    /// Its durations.
    pub durations: KubeTimes,
    /// `launch`: steps a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_per_s: Option<f64>,
    /// `launch`: part of the time the device works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_busy_share: Option<f64>,
}

/// What was tried for a container, and what would do.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeSuggestion {
    /// Which container.
    pub container: String,
    /// What was to be reached: `p99 <= 20 ms`.
    pub target: String,
    /// What runtimes make of its limit.
    pub widths: Vec<KubeWidth>,
    /// What was tried, in order.
    pub trials: Vec<KubeTrial>,
    /// The advice, in sentences.
    pub advice: Vec<String>,
}

/// How many threads a runtime starts for a limit.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeWidth {
    /// Which runtime, and its rule.
    pub runtime: String,
    /// How many.
    pub threads: u32,
    /// The figures with so many, if they were tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<KubeTrialFigures>,
}

/// A change that was tried.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeTrial {
    /// `as it is`, `limit`, `request`, `threads` or `qos`.
    pub kind: String,
    /// The change for people.
    pub change: String,
    /// Whether it keeps the target.
    pub keeps_target: bool,
    /// It is the one of its kind that is suggested.
    pub is_suggested: bool,
    /// What happened.
    pub figures: KubeTrialFigures,
    /// CPUs more (or less) that the scheduler sets aside for all copies.
    pub request_cpus_change: f64,
    /// CPUs taken from the shared pool.
    pub exclusive_cpus: u32,
    /// The other container that fares worst by it, if any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<KubeNeighbour>,
}

/// The figures of a trial.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeTrialFigures {
    /// Part of the periods with a stop.
    pub throttled_share: f64,
    /// CPUs in use.
    pub used_cpus: f64,
    /// Durations of the part that is looked at.
    pub durations: KubeTimes,
    /// Part of the time its device works, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_busy_share: Option<f64>,
}

/// What a change does to another container.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KubeNeighbour {
    /// Which.
    pub container: String,
    /// Its 99th percentile before.
    pub p99_before_ns: u64,
    /// And after.
    pub p99_after_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 53: figures of a real server with 24 CPUs. A hit of 672 ms in a period of 100 ms is no
    /// nonsense: it is 28 ms on each of 24 CPUs.
    #[test]
    fn a_hit_may_be_longer_than_a_period_because_cpus_are_added_up() {
        let mut server = KubeContainer {
            nr_periods: 42_227_334,
            nr_throttled: 131_923,
            throttled_ns: 88_613_212_216_618,
            ..KubeContainer::default()
        };
        server.settle_throttling();
        assert_eq!((server.throttled_share * 1e5).round(), 312.0);
        assert_eq!(server.throttled_per_hit_ns / 100_000, 6_717);
        assert_eq!(server.throttled_per_hit_ns / 24 / 100_000, 279);
    }

    #[test]
    fn nothing_throttled_is_no_division_by_zero() {
        let mut idle = KubeContainer::default();
        idle.settle_throttling();
        assert_eq!((idle.throttled_share, idle.throttled_per_hit_ns), (0.0, 0));
    }
}
