//! The node the pods are on: its CPUs, and how its kubelet and runtime are set up.

use crate::cgroup::{PERIOD_DEFAULT_US, WeightFormula};
use crate::cpus::{CPUS_MAX, CpuList};
use crate::kubelet::{NodeDevice, NodeTopology, TopologyPolicy};
use crate::quantity::Quantity;

/// Who makes the cgroups: it decides their names, and systemd rounds quotas.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Driver {
    /// Slices and scopes: `kubepods.slice/kubepods-burstable.slice/…`.
    Systemd,
    /// Plain directories: `kubepods/burstable/…`.
    Cgroupfs,
}

/// Which interface the kernel's groups have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CgroupVersion {
    /// `cpu.shares`, `cpu.cfs_quota_us`.
    V1,
    /// `cpu.weight`, `cpu.max`.
    V2,
}

/// What the inputs say about the node; `None` for what they do not.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NodeSettings {
    /// Its name.
    pub name: Option<String>,
    /// Its CPUs.
    pub cpus: Option<u32>,
    /// `kubeReserved.cpu`.
    pub kube_reserved: Option<Quantity>,
    /// `systemReserved.cpu`.
    pub system_reserved: Option<Quantity>,
    /// `reservedSystemCPUs`.
    pub reserved_cpus: Option<CpuList>,
    /// Whether `enforceNodeAllocatable` names `pods`.
    pub enforce_allocatable: Option<bool>,
    /// Whether `cpuManagerPolicy` is `static`.
    pub static_cpus: Option<bool>,
    /// The option `full-pcpus-only`.
    pub full_pcpus_only: Option<bool>,
    /// The option `strict-cpu-reservation`.
    pub strict_cpu_reservation: Option<bool>,
    /// The option `distribute-cpus-across-numa`.
    pub distribute_cpus_across_numa: Option<bool>,
    /// The option `align-by-socket`.
    pub align_by_socket: Option<bool>,
    /// The option `distribute-cpus-across-cores`.
    pub distribute_cpus_across_cores: Option<bool>,
    /// The option `prefer-align-cpus-by-uncorecache`.
    pub prefer_align_cpus_by_uncorecache: Option<bool>,
    /// `topologyManagerPolicy`.
    pub topology_policy: Option<TopologyPolicy>,
    /// Whether `topologyManagerScope` is `pod`.
    pub topology_pod_scope: Option<bool>,
    /// The option `prefer-closest-numa-nodes`.
    pub prefer_closest_numa_nodes: Option<bool>,
    /// The option `max-allowable-numa-nodes`.
    pub max_allowable_numa_nodes: Option<u32>,
    /// Whether the gate `DisableCPUQuotaWithExclusiveCPUs` is off.
    pub quota_with_exclusive_cpus: Option<bool>,
    /// `cpuCFSQuota`.
    pub cfs_quota: Option<bool>,
    /// `cpuCFSQuotaPeriod`, µs.
    pub period_us: Option<u64>,
    /// `cgroupDriver`.
    pub driver: Option<Driver>,
}

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// How many CPUs, 0 to `cpus - 1`.
    pub cpus: u32,
    /// Hardware threads in a core. CPU `i` is a thread of core `i % (cpus / threads)`, as Linux
    /// numbers them on x86.
    pub threads_per_core: u32,
    /// Where each CPU is; `None` for one socket, NUMA node and cache of alike cores.
    pub topology: Option<NodeTopology>,
    /// Devices of plugins, such as GPUs. Resources that none is of are not looked at.
    pub devices: Vec<NodeDevice>,
    /// The topology manager.
    pub topology_manager: TopologyManager,
    /// Only pods of this node (`spec.nodeName`), and those that are not bound yet.
    pub only_pods_of: Option<String>,
    /// CPUs kept for the kubelet and the runtime.
    pub kube_reserved: Quantity,
    /// CPUs kept for the system.
    pub system_reserved: Quantity,
    /// CPUs that are never exclusive; from the reserved amounts if not given.
    pub reserved_cpus: Option<CpuList>,
    /// Whether `kubepods` gets the shares of what is allocatable, or of all CPUs.
    pub enforce_allocatable: bool,
    /// The CPU manager's static policy: exclusive CPUs.
    pub static_cpus: Option<StaticPolicy>,
    /// Whether limits become quotas (`--cpu-cfs-quota`).
    pub cfs_quota: bool,
    /// The period of quotas, µs.
    pub period_us: u64,
    /// Who makes the cgroups.
    pub driver: Driver,
    /// Whether quotas are rounded up to whole per cents of a CPU with the systemd driver. Runtimes
    /// that write `cpu.max` after systemd did (older runc) undo it.
    pub systemd_rounds: bool,
    /// The kernel's interface.
    pub cgroups: CgroupVersion,
    /// How the kubelet makes weights for `kubepods`, QoS classes and pods.
    pub kubelet_formula: WeightFormula,
    /// How the runtime makes weights for containers.
    pub runtime_formula: WeightFormula,
}

/// The topology manager's policy and options.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TopologyManager {
    /// What it rejects.
    pub policy: TopologyPolicy,
    /// Whether it aligns a pod's containers together (`pod`), or each by itself (`container`).
    pub is_pod_scope: bool,
    /// Among as many NUMA nodes, those near each other.
    pub prefer_closest_numa_nodes: bool,
    /// The kubelet does not start with more NUMA nodes.
    pub max_allowable_numa_nodes: u32,
}

impl Default for TopologyManager {
    fn default() -> Self {
        Self {
            policy: TopologyPolicy::None,
            is_pod_scope: false,
            prefer_closest_numa_nodes: false,
            max_allowable_numa_nodes: 8,
        }
    }
}

/// The CPU manager's static policy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct StaticPolicy {
    /// Containers that do not ask for whole cores are rejected.
    pub full_pcpus_only: bool,
    /// Reserved CPUs are not in the shared pool either.
    pub strict_cpu_reservation: bool,
    /// A request is divided evenly among as few NUMA nodes as can give it.
    pub distribute_cpus_across_numa: bool,
    /// CPUs are near a device if they are in its socket, whatever the NUMA node.
    pub align_by_socket: bool,
    /// A thread of each core in turn, instead of whole cores.
    pub distribute_cpus_across_cores: bool,
    /// CPUs of as few last-level caches as possible.
    pub prefer_align_cpus_by_uncorecache: bool,
    /// Containers with exclusive CPUs keep their quota: kubelets before 1.33, or the gate
    /// `DisableCPUQuotaWithExclusiveCPUs` off.
    pub quota_with_exclusive_cpus: bool,
}

impl StaticPolicy {
    /// The names of the kubelet's options.
    pub const OPTIONS: [&str; 6] = [
        "full-pcpus-only",
        "strict-cpu-reservation",
        "distribute-cpus-across-numa",
        "align-by-socket",
        "distribute-cpus-across-cores",
        "prefer-align-cpus-by-uncorecache",
    ];

    /// The option of this name.
    pub fn option(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "full-pcpus-only" => &mut self.full_pcpus_only,
            "strict-cpu-reservation" => &mut self.strict_cpu_reservation,
            "distribute-cpus-across-numa" => &mut self.distribute_cpus_across_numa,
            "align-by-socket" => &mut self.align_by_socket,
            "distribute-cpus-across-cores" => &mut self.distribute_cpus_across_cores,
            "prefer-align-cpus-by-uncorecache" => &mut self.prefer_align_cpus_by_uncorecache,
            _ => return None,
        })
    }
}

impl Node {
    /// A node with so many CPUs and the defaults: nothing reserved, no CPU manager, quotas of
    /// 100 ms, systemd with cgroup v2, weights of kubelets and runtimes of 2026.
    pub fn new(cpus: u32) -> Self {
        Self {
            cpus: cpus.min(CPUS_MAX),
            threads_per_core: 1,
            topology: None,
            devices: Vec::new(),
            topology_manager: TopologyManager::default(),
            only_pods_of: None,
            kube_reserved: Quantity::ZERO,
            system_reserved: Quantity::ZERO,
            reserved_cpus: None,
            enforce_allocatable: true,
            static_cpus: None,
            cfs_quota: true,
            period_us: PERIOD_DEFAULT_US,
            driver: Driver::Systemd,
            systemd_rounds: true,
            cgroups: CgroupVersion::V2,
            kubelet_formula: WeightFormula::Linear,
            runtime_formula: WeightFormula::Curved,
        }
    }

    /// Takes over what the inputs say.
    pub fn apply(&mut self, settings: &NodeSettings) {
        fn set<T: Clone>(slot: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *slot = value.clone();
            }
        }
        set(&mut self.cpus, &settings.cpus);
        set(&mut self.kube_reserved, &settings.kube_reserved);
        set(&mut self.system_reserved, &settings.system_reserved);
        set(&mut self.enforce_allocatable, &settings.enforce_allocatable);
        set(&mut self.cfs_quota, &settings.cfs_quota);
        set(&mut self.period_us, &settings.period_us);
        set(&mut self.driver, &settings.driver);
        if settings.name.is_some() {
            self.only_pods_of.clone_from(&settings.name);
        }
        if settings.reserved_cpus.is_some() {
            self.reserved_cpus.clone_from(&settings.reserved_cpus);
        }
        let manager = &mut self.topology_manager;
        set(&mut manager.policy, &settings.topology_policy);
        set(&mut manager.is_pod_scope, &settings.topology_pod_scope);
        set(&mut manager.prefer_closest_numa_nodes, &settings.prefer_closest_numa_nodes);
        set(&mut manager.max_allowable_numa_nodes, &settings.max_allowable_numa_nodes);
        match settings.static_cpus {
            Some(true) => {
                self.static_cpus.get_or_insert_default();
            }
            Some(false) => self.static_cpus = None,
            None => {}
        }
        if let Some(policy) = &mut self.static_cpus {
            set(&mut policy.full_pcpus_only, &settings.full_pcpus_only);
            set(&mut policy.strict_cpu_reservation, &settings.strict_cpu_reservation);
            set(&mut policy.distribute_cpus_across_numa, &settings.distribute_cpus_across_numa);
            set(&mut policy.align_by_socket, &settings.align_by_socket);
            set(&mut policy.distribute_cpus_across_cores, &settings.distribute_cpus_across_cores);
            let uncore = &settings.prefer_align_cpus_by_uncorecache;
            set(&mut policy.prefer_align_cpus_by_uncorecache, uncore);
            set(&mut policy.quota_with_exclusive_cpus, &settings.quota_with_exclusive_cpus);
        }
    }

    /// CPUs that pods can have.
    pub fn allocatable(&self) -> Quantity {
        Quantity::units(self.cpus).minus(self.kube_reserved).minus(self.system_reserved)
    }
}
