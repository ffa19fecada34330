//! What the inputs say, checked: pods and other containers, and what runs in them.

use crate::cpus::CpuList;
use crate::diagnostic::{Diagnostic, Place};
use crate::load::Load;
use crate::node::NodeSettings;
use crate::quantity::Quantity;

/// Everything that was read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Manifest {
    /// Pods, and what makes pods.
    pub workloads: Vec<Workload>,
    /// Containers of Docker or Compose.
    pub standalone: Vec<Standalone>,
    /// What a kubelet configuration or a node object said about the node.
    pub node: NodeSettings,
    /// Objects that are not read, every one of them.
    pub skipped: Vec<Skipped>,
    /// What may not be as its author meant.
    pub warnings: Vec<Diagnostic>,
}

/// An object that was not read, or does not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// Its kind.
    pub kind: String,
    /// Its name, if it has one.
    pub name: String,
    /// Why.
    pub why: SkipReason,
    /// Where it is.
    pub place: Place,
}

/// Why an object counts for nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SkipReason {
    /// Its kind makes no pods, or none that is known here.
    Kind,
    /// It belongs to another object of the input, whose pods are counted already.
    Owned {
        /// `Deployment/api`, say.
        owner: String,
    },
    /// The pod has ended.
    Ended,
    /// It asks for no pods: 0 replicas, or suspended.
    Nothing,
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kind => f.write_str("it makes no pods"),
            Self::Owned { owner } => write!(f, "it belongs to {owner}, which is counted"),
            Self::Ended => f.write_str("it has ended"),
            Self::Nothing => f.write_str("it asks for no pods"),
        }
    }
}

/// What makes pods.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// One pod.
    Pod,
    /// `replicas` pods.
    Deployment,
    /// `replicas` pods.
    StatefulSet,
    /// One pod on each node: one here.
    DaemonSet,
    /// `replicas` pods.
    ReplicaSet,
    /// `replicas` pods.
    ReplicationController,
    /// `parallelism` pods.
    Job,
    /// `parallelism` pods: one run of the job.
    CronJob,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::Job,
        Self::CronJob,
    ];

    /// As manifests write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    /// As `kubectl` abbreviates it.
    pub(crate) const fn short(self) -> &'static str {
        match self {
            Self::Pod => "po",
            Self::Deployment => "deploy",
            Self::StatefulSet => "sts",
            Self::DaemonSet => "ds",
            Self::ReplicaSet => "rs",
            Self::ReplicationController => "rc",
            Self::Job => "job",
            Self::CronJob => "cj",
        }
    }
}

/// Pods of one kind.
#[derive(Clone, PartialEq, Debug)]
pub struct Workload {
    /// What made them.
    pub kind: Kind,
    /// Namespace, `default` if none is named.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The pod's own identity, where the input is from a live cluster.
    pub uid: Option<String>,
    /// The node it runs on, where the input is from a live cluster.
    pub node_name: Option<String>,
    /// How many pods.
    pub copies: u32,
    /// What is in each.
    pub pod: Pod,
    /// Where it is.
    pub place: Place,
}

/// The CPU side of a pod.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Pod {
    /// The ordinary containers.
    pub containers: Vec<Container>,
    /// Init containers, in the order they start in: those that end, and sidecars.
    pub init: Vec<Container>,
    /// Resources of the pod as a whole, where it has them.
    pub resources: Option<Resources>,
    /// What the runtime class adds to the request, and to a limit there is.
    pub overhead_cpu: Quantity,
}

/// What part a container has in its pod.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// An ordinary container.
    Main,
    /// An init container that ends.
    Init,
    /// An init container with `restartPolicy: Always`: it goes on running.
    Sidecar,
}

/// A container of a pod.
#[derive(Clone, PartialEq, Debug)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What part it has.
    pub role: Role,
    /// What it asks for and may use. Requests that are not written are the limits already.
    pub resources: Resources,
    /// Devices it asks for, by resource: `nvidia.com/gpu` and how many.
    pub devices: Vec<(String, u64)>,
    /// What it does, if anybody said so.
    pub load: Option<Load>,
    /// Where it is.
    pub place: Place,
}

/// Requests and limits; `None` for what is not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Resources {
    /// CPUs it asks for.
    pub cpu_request: Option<Quantity>,
    /// CPUs it may use.
    pub cpu_limit: Option<Quantity>,
    /// Bytes it asks for: for the QoS class.
    pub memory_request: Option<Quantity>,
    /// Bytes it may use: for the QoS class.
    pub memory_limit: Option<Quantity>,
}

/// A container that no pod holds.
#[derive(Clone, PartialEq, Debug)]
pub struct Standalone {
    /// Its name.
    pub name: String,
    /// How many of it.
    pub copies: u32,
    /// Whether its containers have numbers behind the name, from 1, as Compose gives them.
    pub is_numbered: bool,
    /// `cpu.shares`; `None` for the default.
    pub shares: Option<u64>,
    /// µs of CPU in a period; `None` for no limit.
    pub quota_us: Option<u64>,
    /// The period, µs.
    pub period_us: u64,
    /// Where it may run; `None` for anywhere.
    pub cpuset: Option<CpuList>,
    /// The cgroup it is put into, if one was named.
    pub cgroup_parent: Option<String>,
    /// What it does, if anybody said so.
    pub load: Option<Load>,
    /// Where it is.
    pub place: Place,
}
