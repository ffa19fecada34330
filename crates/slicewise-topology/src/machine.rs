//! A machine: what its scheduler needs to know, and what only people and models do.

use std::collections::BTreeMap;

use slicewise_sched::energy::{EnergyModel, PerfDomain};
use slicewise_sched::topology::{CAPACITY_MAX, CpuPlace, LOCAL_DISTANCE, NODES_MAX, Topology};
use slicewise_sched::{CPUS_MAX, CpuId};

use crate::format_list;

/// Latency of local memory where nobody says another, ns.
pub const LOCAL_LATENCY_NS: u32 = 80;
/// The distance between nodes where nobody says another (what kernels assume without a SLIT).
pub const REMOTE_DISTANCE: u32 = 20;

/// What cores a hybrid machine has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A fast core.
    Performance,
    /// A small one.
    Efficiency,
}

/// What is known of a CPU beyond its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// Its number on the machine. CPUs of a [`Topology`] are numbered without holes, those that are online
    /// only: where some are offline, the two numbers differ.
    pub number: u32,
    /// The die, where packages have several. Numbers are those of the package or of the machine.
    pub die: Option<u32>,
    /// What core it is (of), where there are several kinds.
    pub kind: Option<Kind>,
    /// Out of load balancing (`isolcpus`, or an isolated cpuset partition).
    pub isolated: bool,
    /// Without ticks while one task runs (`nohz_full`).
    pub nohz_full: bool,
}

/// A memory node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its number on the machine: not its row, where some numbers are missing.
    pub number: u32,
    /// What people call it.
    pub name: Option<String>,
    /// Its memory, where known.
    pub memory_bytes: Option<u64>,
}

/// What a cache holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CacheKind {
    /// Data alone.
    Data,
    /// Instructions alone.
    Instruction,
    /// Both.
    Unified,
}

/// A cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    /// 1 to 9.
    pub level: u32,
    /// What it holds.
    pub kind: CacheKind,
    /// How large it is, where known.
    pub size_bytes: Option<u64>,
    /// Who shares it, in order.
    pub cpus: Vec<CpuId>,
}

/// A machine, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    name: String,
    topology: Topology,
    cpus: Vec<Cpu>,
    offline: Vec<u32>,
    nodes: Vec<Node>,
    latencies_ns: Vec<Vec<u32>>,
    latencies_derived: bool,
    caches: Vec<Cache>,
    energy: Option<EnergyModel>,
    notes: Vec<String>,
}

impl Machine {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a scheduler needs to know.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// What else is known of CPUs, in the topology's order.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// The CPUs that exist but are offline, by their numbers on the machine. They are not in the topology.
    pub fn offline(&self) -> &[u32] {
        &self.offline
    }

    /// Whether CPUs have other numbers in the topology than on the machine: some in between are offline.
    pub fn is_renumbered(&self) -> bool {
        (0..).zip(&self.cpus).any(|(at, cpu)| cpu.number != at)
    }

    /// Memory nodes, in the order of the topology's distances.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How long CPUs of one node (row) wait for memory of each, ns.
    pub fn latencies_ns(&self) -> &[Vec<u32>] {
        &self.latencies_ns
    }

    /// Whether the latencies follow from distances: [`LOCAL_LATENCY_NS`] for 10, and in proportion.
    /// Firmware's distances are no measurements; neither are these latencies.
    pub fn latencies_are_derived(&self) -> bool {
        self.latencies_derived
    }

    /// Caches that are known, lowest first, by their first CPU.
    pub fn caches(&self) -> &[Cache] {
        &self.caches
    }

    /// What CPUs draw, where that is known. CPUs are as the topology numbers them.
    pub fn energy(&self) -> Option<&EnergyModel> {
        self.energy.as_ref()
    }

    /// What was taken for granted, or is unusual: sentences for people.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The topology's CPUs that fulfil a condition, by their numbers on the machine.
    pub fn numbers(&self, is: impl Fn(&Cpu, &CpuPlace) -> bool) -> Vec<u32> {
        let cpus = self.cpus.iter().zip(self.topology.places());
        cpus.filter(|(cpu, place)| is(cpu, place)).map(|(cpu, _)| cpu.number).collect()
    }

    /// The same under another name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

/// A CPU that is being described.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DraftCpu {
    pub(crate) core: u32,
    pub(crate) cluster: Option<u32>,
    pub(crate) llc: u32,
    pub(crate) package: u32,
    pub(crate) die: Option<u32>,
    pub(crate) node: u32,
    pub(crate) capacity: u32,
    pub(crate) packing_priority: Option<i32>,
    pub(crate) kind: Option<Kind>,
    pub(crate) isolated: bool,
    pub(crate) nohz_full: bool,
}

impl DraftCpu {
    /// A CPU with a core of its own.
    pub(crate) fn alone(number: u32) -> Self {
        Self {
            core: number,
            cluster: None,
            llc: 0,
            package: 0,
            die: None,
            node: 0,
            capacity: CAPACITY_MAX,
            packing_priority: None,
            kind: None,
            isolated: false,
            nohz_full: false,
        }
    }
}

/// What a node is being said to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct DraftNode {
    pub(crate) name: Option<String>,
    pub(crate) memory_bytes: Option<u64>,
}

/// A cache with its CPUs by their numbers on the machine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct DraftCache {
    pub(crate) level: u32,
    pub(crate) kind: CacheKind,
    pub(crate) cpus: Vec<u32>,
    pub(crate) size_bytes: Option<u64>,
}

/// A machine that is being described, by the numbers of its CPUs and nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) cpus: BTreeMap<u32, DraftCpu>,
    pub(crate) offline: Vec<u32>,
    pub(crate) nodes: BTreeMap<u32, DraftNode>,
    /// From a node to another.
    pub(crate) distances: BTreeMap<(u32, u32), u32>,
    pub(crate) latencies_ns: BTreeMap<(u32, u32), u32>,
    pub(crate) caches: Vec<DraftCache>,
    /// CPUs by their numbers on the machine.
    pub(crate) energy: Vec<PerfDomain>,
    pub(crate) notes: Vec<String>,
}

impl Draft {
    /// Puts the machine together.
    ///
    /// # Errors
    /// Says why there can be no such machine.
    pub(crate) fn finish(mut self) -> Result<Machine, String> {
        if self.cpus.len() > CPUS_MAX as usize {
            return Err(format!("{} CPUs: must be 1 to {CPUS_MAX}", self.cpus.len()));
        }
        if self.nodes.is_empty() {
            self.nodes.insert(0, DraftNode::default());
        }
        if self.nodes.len() > NODES_MAX as usize {
            return Err(format!("{} memory nodes: must be 1 to {NODES_MAX}", self.nodes.len()));
        }
        let numbers: Vec<u32> = self.nodes.keys().copied().collect();
        let row_of = |number: u32| numbers.binary_search(&number).map(|row| row as u32);
        let mut places = Vec::with_capacity(self.cpus.len());
        for (number, cpu) in &self.cpus {
            let node = row_of(cpu.node).map_err(|_| {
                format!("CPU {number} is in node {}, which does not exist", cpu.node)
            })?;
            places.push(CpuPlace {
                core: cpu.core,
                cluster: cpu.cluster,
                llc: cpu.llc,
                package: cpu.package,
                node,
                capacity: cpu.capacity,
                packing_priority: cpu.packing_priority,
            });
        }
        let distances = self.distances(&numbers);
        let topology =
            Topology::new(places, distances.clone()).map_err(|error| error.to_string())?;
        let latencies_derived = self.latencies_ns.is_empty();
        let latencies_ns = self.latencies(&numbers, &distances);
        let caches = self.caches();
        let energy = self.energy_model()?;
        let cpu = |(number, cpu): (&u32, &DraftCpu)| Cpu {
            number: *number,
            die: cpu.die,
            kind: cpu.kind,
            isolated: cpu.isolated,
            nohz_full: cpu.nohz_full,
        };
        let cpus: Vec<Cpu> = self.cpus.iter().map(cpu).collect();
        let node = |(number, node): (u32, DraftNode)| Node {
            number,
            name: node.name,
            memory_bytes: node.memory_bytes,
        };
        let nodes = self.nodes.into_iter().map(node).collect();
        let mut machine = Machine {
            name: self.name,
            topology,
            cpus,
            offline: self.offline,
            nodes,
            latencies_ns,
            latencies_derived,
            caches,
            energy,
            notes: self.notes,
        };
        if machine.is_renumbered() {
            let numbers = format_list(machine.cpus.iter().map(|cpu| cpu.number));
            let last = machine.cpus.len() - 1;
            let note = format!(
                "CPUs {numbers} are online; where they are simulated, they are numbered 0 to {last} without holes"
            );
            machine.notes.push(note);
        }
        Ok(machine)
    }

    /// The energy model with CPUs as the topology numbers them.
    pub(crate) fn energy_model(&self) -> Result<Option<EnergyModel>, String> {
        if self.energy.is_empty() {
            return Ok(None);
        }
        let numbers: Vec<u32> = self.cpus.keys().copied().collect();
        let mut domains = self.energy.clone();
        for domain in &mut domains {
            let known = |cpu: &u32| numbers.binary_search(cpu).ok().map(|at| at as u32);
            domain.cpus = domain.cpus.iter().filter_map(known).collect();
        }
        let model = EnergyModel { domains };
        let capacities: Vec<u32> = self.cpus.values().map(|cpu| cpu.capacity).collect();
        match model.fits(&capacities) {
            true => Ok(Some(model)),
            false => Err("the energy model is of another machine".to_owned()),
        }
    }

    fn distances(&mut self, numbers: &[u32]) -> Vec<Vec<u32>> {
        if self.distances.is_empty() && numbers.len() > 1 {
            self.notes.push(format!(
                "the distances between nodes are not known: taken to be {REMOTE_DISTANCE}"
            ));
        }
        let of = |from: u32, to: u32| match self.distances.get(&(from, to)) {
            Some(distance) => *distance,
            None if from == to => LOCAL_DISTANCE,
            None => REMOTE_DISTANCE,
        };
        let row = |from: &u32| numbers.iter().map(|to| of(*from, *to)).collect();
        numbers.iter().map(row).collect()
    }

    /// The latencies that are given, and in proportion to the distances where none are.
    fn latencies(&self, numbers: &[u32], distances: &[Vec<u32>]) -> Vec<Vec<u32>> {
        let local = self.latencies_ns.iter().find(|((from, to), _)| from == to);
        let local = local.map_or(LOCAL_LATENCY_NS, |(_, ns)| *ns);
        let of = |from: usize, to: usize| match self.latencies_ns.get(&(numbers[from], numbers[to]))
        {
            Some(ns) => *ns,
            None => (u64::from(local) * u64::from(distances[from][to]) / u64::from(LOCAL_DISTANCE))
                .min(u64::from(u32::MAX)) as u32,
        };
        let all = 0..numbers.len();
        all.clone().map(|from| all.clone().map(|to| of(from, to)).collect()).collect()
    }

    /// Caches with CPUs as the topology numbers them; those of CPUs that are offline alone are left out.
    fn caches(&mut self) -> Vec<Cache> {
        let index: BTreeMap<u32, CpuId> = self.cpus.keys().copied().zip((0..).map(CpuId)).collect();
        self.caches.sort();
        self.caches.dedup();
        let cache = |cache: &DraftCache| Cache {
            level: cache.level,
            kind: cache.kind,
            size_bytes: cache.size_bytes,
            cpus: cache.cpus.iter().filter_map(|cpu| index.get(cpu).copied()).collect(),
        };
        self.caches.iter().map(cache).filter(|cache| !cache.cpus.is_empty()).collect()
    }
}
