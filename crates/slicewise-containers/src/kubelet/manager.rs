//! The managers of a node, and the admission of pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assign::{Order, assign};
use super::hints::{Hint, Mask, Merge, Provider, TopologyPolicy, hints};
use super::topology::{NodeDevice, NodeTopology};
use crate::cpus::CpuList;
use crate::kube::QosClass;
use crate::model::{Container, Pod};
use crate::node::{Node, StaticPolicy, TopologyManager};
use crate::quantity::Quantity;

/// What is free on a node, and by which rules it is given away.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    policy: Option<StaticPolicy>,
    manager: TopologyManager,
    topology: Arc<NodeTopology>,
    reserved: CpuList,
    /// CPUs nobody has for itself, without the reserved ones.
    free: CpuList,
    devices: Arc<[NodeDevice]>,
    /// Indices of devices nobody has.
    free_devices: BTreeSet<usize>,
}

/// Why a node's kubelet does not start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuManagerError {
    /// The kubelet refuses to start without.
    #[error(
        "the static CPU manager needs a reservation: reserve CPUs for the kubelet or the system"
    )]
    NothingReserved,
    /// More is reserved than there is.
    #[error("{reserved} CPUs are reserved, of {cpus}")]
    TooMuchReserved {
        /// How many.
        reserved: u64,
        /// Of how many.
        cpus: u32,
    },
    /// A reserved CPU is not there.
    #[error("CPU {cpu} is reserved, but the node has {cpus} CPUs")]
    NoSuchCpu {
        /// Which.
        cpu: u32,
        /// Of how many.
        cpus: u32,
    },
    /// Not every core has all its threads.
    #[error("{cpus} CPUs are not cores of {threads} threads each")]
    Threads {
        /// How many CPUs.
        cpus: u32,
        /// How many threads a core.
        threads: u32,
    },
    /// The topology is of another number of CPUs.
    #[error("the topology has {topology} CPUs, but the node has {cpus}")]
    OtherTopology {
        /// CPUs of the topology.
        topology: u32,
        /// CPUs of the node.
        cpus: u32,
    },
    /// Two options of the static policy exclude each other.
    #[error("the CPU manager's options `{one}` and `{other}` exclude each other: leave one out")]
    Options {
        /// An option.
        one: &'static str,
        /// Another, or a policy of the topology manager.
        other: &'static str,
    },
    /// Sockets are smaller than NUMA nodes.
    #[error(
        "`align-by-socket` needs sockets no smaller than NUMA nodes: there are {sockets} sockets and {nodes} NUMA nodes"
    )]
    Sockets {
        /// How many.
        sockets: u32,
        /// How many.
        nodes: u32,
    },
    /// The topology manager does not take so many NUMA nodes.
    #[error(
        "the topology manager takes {most} NUMA nodes at most, and there are {nodes}: set `max-allowable-numa-nodes`"
    )]
    TooManyNumaNodes {
        /// How many there are.
        nodes: u32,
        /// How many it takes.
        most: u32,
    },
}

/// Why a pod is not admitted: the kubelet's word for it, and what is behind it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Refused {
    NotEnough { wanted: u32, free: u32 },
    NoWholeCores { wanted: u32, threads: u32 },
    NoDevices { resource: String, wanted: u64, free: u64 },
    Topology { policy: &'static str, of: String, why: String },
}

/// What a container has for itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Granted {
    pub(crate) cpus: Option<CpuList>,
    /// Identities of devices, by resource.
    pub(crate) devices: Vec<(String, Vec<String>)>,
}

/// What a container or a pod asks for that is given away as a whole.
struct Request {
    cpus: u32,
    devices: BTreeMap<String, u64>,
}

impl Manager {
    pub(crate) fn new(node: &Node) -> Result<Self, CpuManagerError> {
        let (cpus, threads) = (node.cpus, node.threads_per_core);
        let topology = match &node.topology {
            Some(topology) if topology.cpus().len() != cpus as usize => {
                let topology = u32::try_from(topology.cpus().len()).unwrap_or(u32::MAX);
                return Err(CpuManagerError::OtherTopology { topology, cpus });
            }
            Some(topology) => topology.clone(),
            None => NodeTopology::uniform(cpus, threads)
                .ok_or(CpuManagerError::Threads { cpus, threads })?,
        };
        check_options(node, &topology)?;
        let mut manager = Self {
            policy: node.static_cpus,
            manager: node.topology_manager,
            reserved: CpuList::default(),
            free: topology.all(),
            devices: node.devices.clone().into(),
            free_devices: (0..node.devices.len()).collect(),
            topology: Arc::new(topology),
        };
        if node.static_cpus.is_none() {
            return Ok(manager);
        }
        manager.reserved = match &node.reserved_cpus {
            Some(list) => match list.iter().find(|cpu| !manager.free.contains(*cpu)) {
                Some(cpu) => return Err(CpuManagerError::NoSuchCpu { cpu, cpus }),
                None => list.clone(),
            },
            None => {
                let reserved = node.kube_reserved.plus(node.system_reserved);
                let count = reserved.as_milli().div_ceil(1000);
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                assign(&manager.topology, &manager.free, count, Order::default())
                    .ok_or(CpuManagerError::TooMuchReserved { reserved: u64::from(count), cpus })?
            }
        };
        if manager.reserved.is_empty() {
            return Err(CpuManagerError::NothingReserved);
        }
        manager.free = manager.free.without(&manager.reserved);
        Ok(manager)
    }

    /// The CPUs of everyone else; `None` if everyone has all.
    pub(crate) fn shared(&self) -> Option<CpuList> {
        let policy = self.policy?;
        Some(match policy.strict_cpu_reservation {
            true => self.free.clone(),
            false => self.free.with(&self.reserved),
        })
    }

    pub(crate) fn policy(&self) -> StaticPolicy {
        self.policy.unwrap_or_default()
    }

    /// Gives the containers of a pod that run with it what they ask for, all or none of it. Init
    /// containers that end give theirs to the others, and so take nothing away.
    pub(crate) fn admit(&mut self, pod: &Pod, class: QosClass) -> Result<Vec<Granted>, Refused> {
        let before = self.clone();
        let result = self.try_admit(pod, class);
        if result.is_err() {
            *self = before;
        }
        result
    }

    fn try_admit(&mut self, pod: &Pod, class: QosClass) -> Result<Vec<Granted>, Refused> {
        let requests: Vec<Request> =
            pod.running().map(|container| self.request(pod, container, class)).collect();
        let aligns = self.manager.policy != TopologyPolicy::None;
        let of_pod = match aligns && self.manager.is_pod_scope {
            true => {
                let mut whole = Request { cpus: 0, devices: BTreeMap::new() };
                for request in &requests {
                    whole.cpus = whole.cpus.saturating_add(request.cpus);
                    for (resource, count) in &request.devices {
                        *whole.devices.entry(resource.clone()).or_default() += count;
                    }
                }
                Some(self.align(&whole, "the pod")?)
            }
            false => None,
        };
        let mut granted = Vec::new();
        for (request, container) in requests.iter().zip(pod.running()) {
            let mask = match of_pod {
                Some(mask) => mask,
                None if aligns => self.align(request, &format!("container {}", container.name))?,
                None => None,
            };
            granted.push(self.give(request, mask)?);
        }
        Ok(granted)
    }

    fn request(&self, pod: &Pod, container: &Container, class: QosClass) -> Request {
        let milli = container.resources.cpu_request.unwrap_or(Quantity::ZERO).as_milli();
        let has_own =
            self.policy.is_some() && class == QosClass::Guaranteed && pod.resources.is_none();
        let cpus = match has_own && milli.is_multiple_of(1000) {
            true => u32::try_from(milli / 1000).unwrap_or(u32::MAX),
            false => 0,
        };
        // A resource no device here is of is not the device manager's.
        let known = |resource: &str| self.devices.iter().any(|it| it.resource == resource);
        let devices = container.devices.iter().filter(|(resource, _)| known(resource));
        Request { cpus, devices: devices.map(|(resource, n)| (resource.clone(), *n)).collect() }
    }

    /// The NUMA nodes to take all of a request from; `None` for any.
    fn align(&self, request: &Request, of: &str) -> Result<Option<Mask>, Refused> {
        let providers = self.providers(request);
        let merge = Merge {
            topology: &self.topology,
            policy: self.manager.policy,
            closest: self.manager.prefer_closest_numa_nodes,
        };
        let best = match providers.is_empty() {
            true => Hint { mask: None, preferred: true },
            false => merge.merge(&providers),
        };
        if merge.admits(best) {
            return Ok(best.mask);
        }
        let why = self.why_not(&providers);
        Err(Refused::Topology { policy: self.manager.policy.name(), of: of.to_owned(), why })
    }

    fn providers(&self, request: &Request) -> Vec<Provider> {
        let nodes = self.topology.numa_nodes();
        let mut providers = Vec::new();
        if request.cpus > 0 {
            let count = |cpus: &CpuList| -> Vec<u64> {
                let of = |node: &u32| {
                    self.topology.places(cpus).filter(|cpu| cpu.numa == *node).count() as u64
                };
                nodes.iter().map(of).collect()
            };
            let (total, free) = (count(&self.topology.all()), count(&self.free));
            let wanted = u64::from(request.cpus);
            let by_socket = self.policy().align_by_socket;
            let hints = hints(&total, &free, wanted, |mask, least| match by_socket {
                false => mask.count() == least,
                true => self.sockets(mask) == self.sockets_needed(wanted),
            });
            let what = format!("{} CPUs", request.cpus);
            providers.push(Provider { what, hints, free });
        }
        for (resource, wanted) in request.devices.iter().filter(|(_, wanted)| **wanted > 0) {
            let own = || self.devices.iter().enumerate().filter(|(_, it)| it.resource == *resource);
            if own().all(|(_, device)| device.numa.is_none()) {
                continue;
            }
            let count = |only_free: bool| -> Vec<u64> {
                let of = |node: &u32| {
                    let here = own().filter(|(at, device)| {
                        device.numa == Some(*node) && (!only_free || self.free_devices.contains(at))
                    });
                    here.count() as u64
                };
                nodes.iter().map(of).collect()
            };
            let (total, free) = (count(false), count(true));
            let hints = hints(&total, &free, *wanted, |mask, least| mask.count() == least);
            providers.push(Provider { what: format!("{wanted} {resource}"), hints, free });
        }
        providers
    }

    fn sockets(&self, mask: Mask) -> usize {
        let node = |numa: u32| self.topology.numa_nodes().iter().position(|node| *node == numa);
        let within = self
            .topology
            .cpus()
            .iter()
            .filter(|cpu| node(cpu.numa).is_some_and(|node| mask.contains(node)));
        within.map(|cpu| cpu.socket).collect::<BTreeSet<u32>>().len()
    }

    /// The fewest sockets that have so many CPUs.
    fn sockets_needed(&self, wanted: u64) -> usize {
        let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
        for cpu in self.topology.cpus() {
            *sizes.entry(cpu.socket).or_default() += 1;
        }
        let mut sizes: Vec<u64> = sizes.into_values().collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        let mut sum = 0;
        let enough = sizes.iter().position(|size| {
            sum += size;
            sum >= wanted
        });
        enough.map_or(usize::MAX, |last| last + 1)
    }

    /// What each provider could do, for a person to see where they part.
    fn why_not(&self, providers: &[Provider]) -> String {
        let nodes = self.topology.numa_nodes();
        let show = |mask: Mask| {
            let names: Vec<String> =
                mask.nodes().filter_map(|at| nodes.get(at)).map(u32::to_string).collect();
            names.join("+")
        };
        let mut parts = Vec::new();
        for provider in providers {
            let preferred: Vec<String> = provider
                .hints
                .iter()
                .filter(|hint| hint.preferred)
                .filter_map(|hint| hint.mask)
                .map(show)
                .collect();
            let free: Vec<String> = nodes
                .iter()
                .zip(&provider.free)
                .map(|(node, free)| format!("{free} at node {node}"))
                .collect();
            let could = match (preferred.is_empty(), provider.hints.first().and_then(|it| it.mask))
            {
                (false, _) => format!("fit well at node {}", preferred.join(" or ")),
                (true, Some(mask)) => format!("only fit at nodes {}", show(mask)),
                (true, None) => "fit nowhere".to_owned(),
            };
            parts.push(format!("{} {could} (free: {})", provider.what, free.join(", ")));
        }
        parts.join("; ")
    }

    fn give(&mut self, request: &Request, mask: Option<Mask>) -> Result<Granted, Refused> {
        let mut granted = Granted::default();
        if request.cpus > 0 {
            granted.cpus = Some(self.take(request.cpus, mask)?);
        }
        for (resource, wanted) in &request.devices {
            let ids = self.take_devices(resource, *wanted, mask)?;
            if !ids.is_empty() {
                granted.devices.push((resource.clone(), ids));
            }
        }
        Ok(granted)
    }

    /// Takes CPUs out of the shared pool: first those of these NUMA nodes.
    pub(crate) fn take(&mut self, wanted: u32, mask: Option<Mask>) -> Result<CpuList, Refused> {
        let policy = self.policy();
        let threads = self.topology.threads_per_core();
        if policy.full_pcpus_only && !wanted.is_multiple_of(threads) {
            return Err(Refused::NoWholeCores { wanted, threads });
        }
        let order = Order {
            whole_cores: policy.full_pcpus_only,
            across_numa: policy.distribute_cpus_across_numa,
            across_cores: policy.distribute_cpus_across_cores,
            align_uncore: policy.prefer_align_cpus_by_uncorecache,
        };
        let free = u32::try_from(self.free.len()).unwrap_or(u32::MAX);
        let refused = Refused::NotEnough { wanted, free };
        if wanted > free {
            return Err(refused);
        }
        let near = self.near(mask);
        let aligned = wanted.min(u32::try_from(near.len()).unwrap_or(u32::MAX));
        let first = assign(&self.topology, &near, aligned, order).unwrap_or_default();
        let rest = self.free.without(&first);
        let more = assign(&self.topology, &rest, wanted - aligned, order).ok_or(refused)?;
        let taken = first.with(&more);
        self.free = self.free.without(&taken);
        Ok(taken)
    }

    /// Free CPUs of some NUMA nodes, or of their sockets.
    fn near(&self, mask: Option<Mask>) -> CpuList {
        let Some(mask) = mask else { return CpuList::default() };
        let nodes = self.topology.numa_nodes();
        let is_in = |numa: u32| {
            nodes.iter().position(|node| *node == numa).is_some_and(|at| mask.contains(at))
        };
        let all = self.topology.cpus().iter();
        let sockets: BTreeSet<u32> =
            all.filter(|cpu| is_in(cpu.numa)).map(|cpu| cpu.socket).collect();
        let by_socket = self.policy().align_by_socket;
        let free = self.topology.places(&self.free);
        free.filter(|cpu| match by_socket {
            true => sockets.contains(&cpu.socket),
            false => is_in(cpu.numa),
        })
        .map(|cpu| cpu.cpu)
        .collect()
    }

    fn take_devices(
        &mut self,
        resource: &str,
        wanted: u64,
        mask: Option<Mask>,
    ) -> Result<Vec<String>, Refused> {
        let nodes = self.topology.numa_nodes();
        let rank = |device: &NodeDevice| {
            let at = device.numa.and_then(|numa| nodes.iter().position(|node| *node == numa));
            match (mask, at) {
                (Some(mask), Some(at)) if mask.contains(at) => 0,
                (Some(_), Some(_)) => 2,
                _ => 1,
            }
        };
        let own = self.free_devices.iter().filter(|at| self.devices[**at].resource == resource);
        let mut own: Vec<(u32, usize)> = own.map(|at| (rank(&self.devices[*at]), *at)).collect();
        own.sort_unstable();
        if wanted > own.len() as u64 {
            let free = own.len() as u64;
            return Err(Refused::NoDevices { resource: resource.to_owned(), wanted, free });
        }
        own.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        for (_, at) in &own {
            self.free_devices.remove(at);
        }
        Ok(own.iter().map(|(_, at)| self.devices[*at].id.clone()).collect())
    }
}

fn check_options(node: &Node, topology: &NodeTopology) -> Result<(), CpuManagerError> {
    let manager = &node.topology_manager;
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let nodes = count(topology.numa_nodes().len());
    if manager.policy != TopologyPolicy::None && nodes > manager.max_allowable_numa_nodes {
        let most = manager.max_allowable_numa_nodes;
        return Err(CpuManagerError::TooManyNumaNodes { nodes, most });
    }
    let Some(policy) = node.static_cpus else { return Ok(()) };
    let across_cores = policy.distribute_cpus_across_cores;
    let across_numa = policy.distribute_cpus_across_numa;
    let uncore = policy.prefer_align_cpus_by_uncorecache;
    let single = manager.policy == TopologyPolicy::SingleNumaNode;
    for (both, one, other) in [
        (across_cores && policy.full_pcpus_only, "distribute-cpus-across-cores", "full-pcpus-only"),
        (
            across_cores && across_numa,
            "distribute-cpus-across-cores",
            "distribute-cpus-across-numa",
        ),
        (
            uncore && across_cores,
            "prefer-align-cpus-by-uncorecache",
            "distribute-cpus-across-cores",
        ),
        (uncore && across_numa, "prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"),
        (policy.align_by_socket && single, "align-by-socket", "single-numa-node"),
    ] {
        if both {
            return Err(CpuManagerError::Options { one, other });
        }
    }
    let sockets = count(topology.count(|cpu| cpu.socket));
    if policy.align_by_socket && sockets > nodes {
        return Err(CpuManagerError::Sockets { sockets, nodes });
    }
    Ok(())
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotEnough { wanted, free } => {
                write!(f, "it needs {wanted} CPUs for itself, and {free} are free")
            }
            Self::NoWholeCores { wanted, threads } => write!(
                f,
                "SMTAlignmentError: {wanted} CPUs are not whole cores of {threads} threads"
            ),
            Self::NoDevices { resource, wanted, free } => {
                write!(f, "it needs {wanted} {resource}, and {free} are free")
            }
            Self::Topology { policy, of, why } => {
                write!(f, "TopologyAffinityError ({policy}): {of}: {why}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(node: &Node) -> Manager {
        Manager::new(node).unwrap()
    }

    fn node(cpus: u32, threads: u32, reserved: &str, policy: StaticPolicy) -> Node {
        let mut node = Node::new(cpus);
        node.threads_per_core = threads;
        node.kube_reserved = Quantity::parse(reserved).unwrap();
        node.static_cpus = Some(policy);
        node
    }

    fn with(topology: NodeTopology, reserved: &str, policy: StaticPolicy) -> Node {
        let mut node = node(topology.cpus().len() as u32, 1, "0", policy);
        node.reserved_cpus = Some(CpuList::parse(reserved).unwrap());
        node.topology = Some(topology);
        node
    }

    fn taken(manager: &mut Manager, wanted: u32) -> String {
        manager.take(wanted, None).unwrap().to_string()
    }

    #[test]
    fn whole_cores_go_first_and_then_threads_of_cores_in_use() {
        // Cores are (0,4) (1,5) (2,6) (3,7); one CPU is reserved: thread 0.
        let mut it = manager(&node(8, 2, "500m", StaticPolicy::default()));
        assert_eq!(it.reserved.to_string(), "0");
        assert_eq!(taken(&mut it, 2), "1,5");
        assert_eq!(taken(&mut it, 3), "2,4,6");
        assert_eq!(it.shared().unwrap().to_string(), "0,3,7");
        assert_eq!(it.take(3, None), Err(Refused::NotEnough { wanted: 3, free: 2 }));
        assert_eq!(it.shared().unwrap().to_string(), "0,3,7");
    }

    #[test]
    fn full_pcpus_only_refuses_halves_of_cores() {
        let policy = StaticPolicy { full_pcpus_only: true, ..StaticPolicy::default() };
        let mut it = manager(&node(8, 2, "2", policy));
        assert_eq!(it.take(3, None), Err(Refused::NoWholeCores { wanted: 3, threads: 2 }));
        assert_eq!(it.take(4, None).unwrap().len(), 4);
    }

    #[test]
    fn strict_reservation_keeps_reserved_cpus_out_of_the_pool() {
        let policy = StaticPolicy { strict_cpu_reservation: true, ..StaticPolicy::default() };
        let shared = |policy| manager(&node(4, 1, "1", policy)).shared().unwrap().to_string();
        assert_eq!(shared(policy), "1-3");
        assert_eq!(shared(StaticPolicy::default()), "0-3");
    }

    #[test]
    fn the_kubelets_conditions_are_checked() {
        let mut it = node(4, 1, "0", StaticPolicy::default());
        let error = |node: &Node| Manager::new(node).unwrap_err();
        assert_eq!(error(&it), CpuManagerError::NothingReserved);
        it.kube_reserved = Quantity::units(5);
        assert_eq!(error(&it), CpuManagerError::TooMuchReserved { reserved: 5, cpus: 4 });
        it.reserved_cpus = Some(CpuList::parse("4").unwrap());
        assert_eq!(error(&it), CpuManagerError::NoSuchCpu { cpu: 4, cpus: 4 });
        it.threads_per_core = 3;
        assert_eq!(error(&it), CpuManagerError::Threads { cpus: 4, threads: 3 });
        let topology = NodeTopology::regular(2, 1, 1, 4, 2).unwrap();
        let socket = StaticPolicy { align_by_socket: true, ..StaticPolicy::default() };
        let mut it = with(topology, "0", socket);
        assert!(Manager::new(&it).is_ok());
        it.topology_manager.policy = TopologyPolicy::SingleNumaNode;
        let both = CpuManagerError::Options { one: "align-by-socket", other: "single-numa-node" };
        assert_eq!(error(&it), both);
        it.topology = NodeTopology::regular(1, 16, 1, 1, 1);
        assert_eq!(error(&it), CpuManagerError::TooManyNumaNodes { nodes: 16, most: 8 });
    }

    #[test]
    fn a_whole_socket_goes_before_parts_of_one() {
        // Sockets 0-3,8-11 and 4-7,12-15.
        let topology = NodeTopology::regular(2, 1, 1, 4, 2).unwrap();
        let mut it = manager(&with(topology, "0", StaticPolicy::default()));
        assert_eq!(taken(&mut it, 8), "4-7,12-15");
        let topology = NodeTopology::regular(2, 1, 1, 4, 2).unwrap();
        let mut it = manager(&with(topology, "0", StaticPolicy::default()));
        // The socket with fewer free CPUs fills up first.
        assert_eq!(taken(&mut it, 4), "1-2,9-10");
        assert_eq!(taken(&mut it, 3), "3,8,11");
        assert_eq!(taken(&mut it, 2), "4,12");
    }

    #[test]
    fn requests_are_divided_evenly_among_as_few_numa_nodes_as_can_give_them() {
        let policy = StaticPolicy { distribute_cpus_across_numa: true, ..StaticPolicy::default() };
        let mut it = manager(&with(NodeTopology::regular(2, 1, 1, 8, 1).unwrap(), "0", policy));
        assert_eq!(taken(&mut it, 10), "1-5,8-12");
        // 2 and 1 are left then; from the first node, nothing and 3 would be.
        assert_eq!(taken(&mut it, 2), "13-14");
    }

    #[test]
    fn threads_are_spread_over_cores_where_that_is_asked_for() {
        let policy = StaticPolicy { distribute_cpus_across_cores: true, ..StaticPolicy::default() };
        let mut it = manager(&with(NodeTopology::regular(1, 1, 1, 4, 2).unwrap(), "0", policy));
        assert_eq!(taken(&mut it, 3), "1-2,4");
    }

    #[test]
    fn a_cache_that_has_room_is_not_left() {
        // Caches 0-3, 4-7, 8-11; CPU 0 is reserved.
        let topology = NodeTopology::regular(1, 1, 3, 4, 1).unwrap();
        let policy =
            StaticPolicy { prefer_align_cpus_by_uncorecache: true, ..StaticPolicy::default() };
        let mut it = manager(&with(topology.clone(), "0", policy));
        assert_eq!(taken(&mut it, 2), "1-2");
        assert_eq!(taken(&mut it, 3), "4-6");
        let mut plain = manager(&with(topology, "0", StaticPolicy::default()));
        assert_eq!(taken(&mut plain, 2), "1-2");
        assert_eq!(taken(&mut plain, 3), "3-5");
    }
}
