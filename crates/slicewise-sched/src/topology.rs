//! What a machine looks like to its scheduler: which CPUs share a core, a cluster, a last-level cache,
//! a package and a memory node, how far nodes are from each other, and how fast CPUs are.

use core::fmt;

use crate::{CPUS_MAX, CpuId};

/// The distance of a node from itself, as firmware tells it (SLIT).
pub const LOCAL_DISTANCE: u32 = 10;
/// Memory further away than this is not worth it, unless the processor says otherwise.
pub const RECLAIM_DISTANCE: u32 = 30;
/// The greatest distance that is none at all: firmware says so of nodes that cannot be reached.
pub const DISTANCE_MAX: u32 = 254;
/// The most memory nodes (the kernel's largest `MAX_NUMNODES`).
pub const NODES_MAX: u32 = 1024;
/// The capacity of the fastest CPU.
pub const CAPACITY_MAX: u32 = 1024;

/// Where a CPU is. Numbers name things of one machine and need not be dense: CPUs with the same
/// `core` share a core, whatever their packages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuPlace {
    /// The core. CPUs that share one are SMT siblings.
    pub core: u32,
    /// The cluster: cores that share a level 2 cache or a bus, where the machine has such.
    pub cluster: Option<u32>,
    /// The last-level cache.
    pub llc: u32,
    /// The package (socket).
    pub package: u32,
    /// The memory node: a row of the distances.
    pub node: u32,
    /// How fast it is: 1 to [`CAPACITY_MAX`], which the fastest CPUs have.
    pub capacity: u32,
    /// Which CPUs fill up first where a machine packs tasks (`SD_ASYM_PACKING`: hybrid x86): a higher
    /// number first; `None` where it does not.
    pub packing_priority: Option<i32>,
}

impl CpuPlace {
    /// A CPU with a core of its own, in the only cache, package and node there is.
    pub fn alone(core: u32) -> Self {
        Self {
            core,
            cluster: None,
            llc: 0,
            package: 0,
            node: 0,
            capacity: CAPACITY_MAX,
            packing_priority: None,
        }
    }
}

/// A machine's CPUs and memory nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    places: Vec<CpuPlace>,
    nodes: u32,
    /// Row by row: from a node to each.
    distances: Vec<u32>,
    reclaim_distance: u32,
}

/// Why something is no topology.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopologyError {
    /// No CPUs, or more than [`CPUS_MAX`].
    Cpus(usize),
    /// No nodes, or more than [`NODES_MAX`].
    Nodes(usize),
    /// A row of distances has not as many entries as there are rows.
    Row {
        /// Which, from 0.
        row: usize,
        /// Its entries.
        entries: usize,
    },
    /// A distance is out of range: [`LOCAL_DISTANCE`] from a node to itself, more but no more than
    /// [`DISTANCE_MAX`] to others.
    Distance {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// What it says.
        distance: u32,
    },
    /// A CPU is in a node that has no row of distances.
    NoSuchNode(CpuId, u32),
    /// A capacity is not 1 to [`CAPACITY_MAX`].
    Capacity(CpuId, u32),
    /// Siblings of a core have something that siblings share, and not the same.
    Core(CpuId, CpuId, &'static str),
    /// CPUs of a cluster have not the same last-level cache.
    Cluster(CpuId, CpuId),
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpus(cpus) => write!(f, "{cpus} CPUs: must be 1 to {CPUS_MAX}"),
            Self::Nodes(nodes) => write!(f, "{nodes} memory nodes: must be 1 to {NODES_MAX}"),
            Self::Row { row, entries } => {
                write!(
                    f,
                    "the distances from node {row} are {entries}: one is needed for each node"
                )
            }
            Self::Distance { from, to, distance } if from == to => {
                write!(f, "node {from} is {distance} from itself: must be {LOCAL_DISTANCE}")
            }
            Self::Distance { from, to, distance } => write!(
                f,
                "node {from} is {distance} from node {to}: must be {} to {DISTANCE_MAX}",
                LOCAL_DISTANCE + 1
            ),
            Self::NoSuchNode(cpu, node) => {
                write!(f, "CPU {cpu} is in node {node}, which has no distances")
            }
            Self::Capacity(cpu, capacity) => {
                write!(f, "CPU {cpu} has capacity {capacity}: must be 1 to {CAPACITY_MAX}")
            }
            Self::Core(one, other, what) => {
                write!(f, "CPUs {one} and {other} share a core, but not the {what}")
            }
            Self::Cluster(one, other) => {
                write!(f, "CPUs {one} and {other} share a cluster, but not the last-level cache")
            }
        }
    }
}

impl core::error::Error for TopologyError {}

impl Topology {
    /// A machine of so many alike CPUs, each a core of its own, in one package with one last-level
    /// cache and one memory node.
    ///
    /// # Errors
    /// If there are none, or more than [`CPUS_MAX`].
    pub fn uniform(cpus: u32) -> Result<Self, TopologyError> {
        Self::new((0..cpus).map(CpuPlace::alone).collect(), vec![vec![LOCAL_DISTANCE]])
    }

    /// A machine of these CPUs, numbered as they come, and nodes with these distances: a row for
    /// each, with an entry for each. Nodes may have no CPUs.
    ///
    /// # Errors
    /// The first thing that is not possible.
    pub fn new(places: Vec<CpuPlace>, distances: Vec<Vec<u32>>) -> Result<Self, TopologyError> {
        if places.is_empty() || places.len() > CPUS_MAX as usize {
            return Err(TopologyError::Cpus(places.len()));
        }
        let nodes = distances.len();
        if nodes == 0 || nodes > NODES_MAX as usize {
            return Err(TopologyError::Nodes(nodes));
        }
        for (from, row) in distances.iter().enumerate() {
            if row.len() != nodes {
                return Err(TopologyError::Row { row: from, entries: row.len() });
            }
            for (to, distance) in row.iter().copied().enumerate() {
                let possible = match from == to {
                    true => distance == LOCAL_DISTANCE,
                    false => distance > LOCAL_DISTANCE && distance <= DISTANCE_MAX,
                };
                if !possible {
                    return Err(TopologyError::Distance { from, to, distance });
                }
            }
        }
        for (cpu, place) in (0..).map(CpuId).zip(&places) {
            if place.node as usize >= nodes {
                return Err(TopologyError::NoSuchNode(cpu, place.node));
            }
            if !(1..=CAPACITY_MAX).contains(&place.capacity) {
                return Err(TopologyError::Capacity(cpu, place.capacity));
            }
        }
        check_shared(&places)?;
        let distances = distances.into_iter().flatten().collect();
        let reclaim_distance = RECLAIM_DISTANCE;
        Ok(Self { places, nodes: nodes as u32, distances, reclaim_distance })
    }

    /// The same with another distance beyond which forks, execs and wakeups stay on their node:
    /// kernels take [`RECLAIM_DISTANCE`], and 32 on AMD's Zen (seen on 6.1, 6.12, 7.2).
    pub fn with_reclaim_distance(mut self, distance: u32) -> Self {
        self.reclaim_distance = distance;
        self
    }

    /// Tasks are not moved further than this when they start or wake.
    pub fn reclaim_distance(&self) -> u32 {
        self.reclaim_distance
    }

    /// How many CPUs.
    pub fn nr_cpus(&self) -> u32 {
        self.places.len() as u32
    }

    /// How many memory nodes, those without CPUs included.
    pub fn nr_nodes(&self) -> u32 {
        self.nodes
    }

    /// Where each CPU is.
    pub fn places(&self) -> &[CpuPlace] {
        &self.places
    }

    /// Where a CPU is, if it exists.
    pub fn place(&self, cpu: CpuId) -> Option<&CpuPlace> {
        self.places.get(cpu.index())
    }

    /// How far memory of node `to` is from CPUs of node `from`: [`LOCAL_DISTANCE`] or more.
    /// `None` where there is no such node.
    pub fn distance(&self, from: u32, to: u32) -> Option<u32> {
        let known = from < self.nodes && to < self.nodes;
        known.then(|| self.distances[(from * self.nodes + to) as usize])
    }

    /// Whether CPUs differ in capacity.
    pub fn is_asymmetric(&self) -> bool {
        self.places.iter().any(|place| place.capacity != self.places[0].capacity)
    }
}

/// Siblings share all that a core has, clusters are within a cache.
fn check_shared(places: &[CpuPlace]) -> Result<(), TopologyError> {
    let mut by_core: Vec<u32> = (0..places.len() as u32).collect();
    by_core.sort_by_key(|cpu| places[*cpu as usize].core);
    for pair in by_core.windows(2) {
        let (one, other) = (&places[pair[0] as usize], &places[pair[1] as usize]);
        if one.core != other.core {
            continue;
        }
        let differs = [
            (one.cluster != other.cluster, "cluster"),
            (one.llc != other.llc, "last-level cache"),
            (one.package != other.package, "package"),
            (one.node != other.node, "memory node"),
            (one.capacity != other.capacity, "capacity"),
        ];
        if let Some((_, what)) = differs.into_iter().find(|(differs, _)| *differs) {
            return Err(TopologyError::Core(CpuId(pair[0]), CpuId(pair[1]), what));
        }
    }
    let mut by_cluster = by_core;
    by_cluster.retain(|cpu| places[*cpu as usize].cluster.is_some());
    by_cluster.sort_by_key(|cpu| (places[*cpu as usize].cluster, *cpu));
    for pair in by_cluster.windows(2) {
        let (one, other) = (&places[pair[0] as usize], &places[pair[1] as usize]);
        if one.cluster == other.cluster && one.llc != other.llc {
            return Err(TopologyError::Cluster(CpuId(pair[0]), CpuId(pair[1])));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_of_what_cannot_be_is_refused_with_the_reason() {
        let alone = |core| CpuPlace::alone(core);
        let local = || vec![vec![10]];
        let refused = |places, distances| Topology::new(places, distances).unwrap_err().to_string();
        assert_eq!(refused(vec![], local()), "0 CPUs: must be 1 to 8192");
        assert_eq!(refused(vec![alone(0)], vec![]), "0 memory nodes: must be 1 to 1024");
        assert_eq!(
            refused(vec![alone(0)], vec![vec![10, 20], vec![20]]),
            "the distances from node 1 are 1: one is needed for each node"
        );
        assert_eq!(
            refused(vec![alone(0)], vec![vec![10, 10], vec![20, 10]]),
            "node 0 is 10 from node 1: must be 11 to 254"
        );
        assert_eq!(
            refused(vec![CpuPlace { node: 1, ..alone(0) }], local()),
            "CPU 0 is in node 1, which has no distances"
        );
        assert_eq!(
            refused(vec![CpuPlace { capacity: 0, ..alone(0) }], local()),
            "CPU 0 has capacity 0: must be 1 to 1024"
        );
        assert_eq!(
            refused(vec![alone(3), CpuPlace { llc: 1, ..alone(3) }], local()),
            "CPUs 0 and 1 share a core, but not the last-level cache"
        );
        let clustered = |core, llc| CpuPlace { cluster: Some(0), llc, ..alone(core) };
        assert_eq!(
            refused(vec![clustered(0, 0), clustered(1, 1)], local()),
            "CPUs 0 and 1 share a cluster, but not the last-level cache"
        );
    }

    #[test]
    fn distances_are_asked_for_by_node() {
        let place =
            |core, node| CpuPlace { node, llc: node, package: node, ..CpuPlace::alone(core) };
        let topology =
            Topology::new(vec![place(0, 0), place(1, 1)], vec![vec![10, 21], vec![31, 10]])
                .unwrap();
        assert_eq!(topology.distance(0, 1), Some(21));
        assert_eq!(topology.distance(1, 0), Some(31));
        assert_eq!(topology.distance(0, 2), None);
    }
}
