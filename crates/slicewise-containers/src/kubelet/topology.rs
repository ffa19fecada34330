//! Where a node's CPUs and devices are: what the kubelet knows of them.

use std::collections::BTreeSet;

use crate::cpus::{CPUS_MAX, CpuList};

/// The most NUMA nodes a node may have here.
pub const NUMA_NODES_MAX: usize = 64;

/// Where a CPU is. Numbers name things of the whole machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeCpu {
    /// The CPU.
    pub cpu: u32,
    /// The core; threads of a core have the same.
    pub core: u32,
    /// The last-level ("uncore") cache.
    pub uncore: u32,
    /// The socket.
    pub socket: u32,
    /// The NUMA node.
    pub numa: u32,
}

/// A device of a plugin, such as a GPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeDevice {
    /// The resource it is of, such as `nvidia.com/gpu`.
    pub resource: String,
    /// Its identity.
    pub id: String,
    /// The NUMA node it is at; `None` if its plugin does not say.
    pub numa: Option<u32>,
}

/// Why something is no topology of a node.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeTopologyError {
    /// There are no CPUs, or too many.
    #[error("{0} CPUs: 1 to {CPUS_MAX} are possible")]
    Cpus(usize),
    /// The same CPU twice.
    #[error("CPU {0} is there twice")]
    Twice(u32),
    /// A number that no machine has.
    #[error("there is no CPU {0}: the highest is {max}", max = CPUS_MAX - 1)]
    TooHigh(u32),
    /// Threads of a core that are in different places.
    #[error("CPU {0} shares a core with another, but not the {1}")]
    Core(u32, &'static str),
    /// Too many NUMA nodes.
    #[error("{0} NUMA nodes: {NUMA_NODES_MAX} are the most")]
    Nodes(usize),
    /// The distances are not a row for each node.
    #[error("the distances must be a number from each NUMA node to each")]
    Distances,
}

/// The CPUs of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeTopology {
    /// By CPU.
    cpus: Vec<NodeCpu>,
    /// NUMA nodes with CPUs, ascending.
    nodes: Vec<u32>,
    /// From node to node, in the order of `nodes`; empty if unknown.
    distances: Vec<Vec<u32>>,
}

impl NodeTopology {
    /// A node with these CPUs.
    ///
    /// # Errors
    /// The first thing that is not possible.
    pub fn new(mut cpus: Vec<NodeCpu>) -> Result<Self, NodeTopologyError> {
        if cpus.is_empty() || cpus.len() > CPUS_MAX as usize {
            return Err(NodeTopologyError::Cpus(cpus.len()));
        }
        cpus.sort_unstable();
        if let Some(cpu) = cpus.iter().find(|cpu| cpu.cpu >= CPUS_MAX) {
            return Err(NodeTopologyError::TooHigh(cpu.cpu));
        }
        if let Some(pair) = cpus.windows(2).find(|pair| pair[0].cpu == pair[1].cpu) {
            return Err(NodeTopologyError::Twice(pair[0].cpu));
        }
        let mut by_core = cpus.clone();
        by_core.sort_by_key(|cpu| cpu.core);
        for pair in by_core.windows(2).filter(|pair| pair[0].core == pair[1].core) {
            let differs = [
                (pair[0].uncore != pair[1].uncore, "cache"),
                (pair[0].socket != pair[1].socket, "socket"),
                (pair[0].numa != pair[1].numa, "NUMA node"),
            ];
            if let Some((_, what)) = differs.into_iter().find(|(differs, _)| *differs) {
                return Err(NodeTopologyError::Core(pair[1].cpu, what));
            }
        }
        let nodes: BTreeSet<u32> = cpus.iter().map(|cpu| cpu.numa).collect();
        if nodes.len() > NUMA_NODES_MAX {
            return Err(NodeTopologyError::Nodes(nodes.len()));
        }
        Ok(Self { cpus, nodes: nodes.into_iter().collect(), distances: Vec::new() })
    }

    /// One socket, one NUMA node, one cache; CPU `i` is a thread of core `i % (cpus / threads)`, as
    /// Linux numbers them on x86. `None` unless each core has all its threads.
    pub fn uniform(cpus: u32, threads: u32) -> Option<Self> {
        if threads == 0 || !cpus.is_multiple_of(threads) {
            return None;
        }
        let cores = cpus / threads;
        let place = |cpu| NodeCpu { cpu, core: cpu % cores.max(1), uncore: 0, socket: 0, numa: 0 };
        Self::new((0..cpus).map(place).collect()).ok()
    }

    /// Sockets with NUMA nodes with caches with cores of so many threads, all alike. Cores are
    /// numbered through, and then their second threads, as Linux does on x86.
    pub fn regular(
        sockets: u32,
        nodes: u32,
        caches: u32,
        cores: u32,
        threads: u32,
    ) -> Option<Self> {
        let all =
            [nodes, caches, cores].iter().try_fold(sockets, |n, more| n.checked_mul(*more))?;
        if all.checked_mul(threads)? > CPUS_MAX {
            return None;
        }
        let place = |cpu: u32| {
            let core = cpu % all;
            let uncore = core / cores;
            let numa = uncore / caches;
            NodeCpu { cpu, core, uncore, numa, socket: numa / nodes }
        };
        (all > 0).then(|| Self::new((0..all * threads).map(place).collect()).ok()).flatten()
    }

    /// The same with distances between NUMA nodes: a row for each node with CPUs, ascending.
    ///
    /// # Errors
    /// If they are not as many as there are nodes.
    pub fn with_distances(mut self, distances: Vec<Vec<u32>>) -> Result<Self, NodeTopologyError> {
        let count = self.nodes.len();
        if distances.len() != count || distances.iter().any(|row| row.len() != count) {
            return Err(NodeTopologyError::Distances);
        }
        self.distances = distances;
        Ok(self)
    }

    /// The CPUs, ascending.
    pub fn cpus(&self) -> &[NodeCpu] {
        &self.cpus
    }

    /// All CPUs as a list.
    pub fn all(&self) -> CpuList {
        self.cpus.iter().map(|cpu| cpu.cpu).collect()
    }

    /// The NUMA nodes with CPUs, ascending.
    pub fn numa_nodes(&self) -> &[u32] {
        &self.nodes
    }

    /// The NUMA nodes that these CPUs are of, ascending.
    pub fn numa_nodes_of(&self, cpus: &CpuList) -> Vec<u32> {
        let nodes: BTreeSet<u32> = self.places(cpus).map(|cpu| cpu.numa).collect();
        nodes.into_iter().collect()
    }

    pub(crate) fn places<'s>(
        &'s self,
        cpus: &'s CpuList,
    ) -> impl Iterator<Item = &'s NodeCpu> + 's {
        self.cpus.iter().filter(|cpu| cpus.contains(cpu.cpu))
    }

    pub(crate) fn count(&self, key: impl Fn(&NodeCpu) -> u32) -> usize {
        self.cpus.iter().map(key).collect::<BTreeSet<u32>>().len()
    }

    pub(crate) fn threads_per_core(&self) -> u32 {
        let cores = self.count(|cpu| cpu.core).max(1);
        u32::try_from(self.cpus.len() / cores).unwrap_or(1).max(1)
    }

    /// From the node of one index to another's; 10 and 20 if nothing is known.
    pub(crate) fn distance(&self, from: usize, to: usize) -> u32 {
        let known = self.distances.get(from).and_then(|row| row.get(to)).copied();
        known.unwrap_or(if from == to { 10 } else { 20 })
    }
}
