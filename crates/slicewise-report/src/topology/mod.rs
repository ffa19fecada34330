//! Machines drawn: as text, as a figure, as JSON.

mod svg;
mod text;
mod tree;

use serde::Serialize;
use slicewise_sched::{CpuId, CpuSet};
use slicewise_topology::{CacheKind, Kind, Machine, format_list};

pub use svg::topology_svg;
pub use text::render_topology;

/// Tasks alike, and where they may run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskPlaces {
    /// Their name.
    pub name: String,
    /// How many there are.
    pub tasks: u32,
    /// Where they may run: CPUs of the topology, numbered without holes.
    pub cpus: CpuSet,
}

impl TaskPlaces {
    /// Whether they may run on fewer CPUs than there are.
    fn is_pinned(&self, machine: &Machine) -> bool {
        let all = machine.topology().nr_cpus();
        self.cpus.count_within(all) < all
    }

    /// The CPUs, by their numbers on the machine.
    fn numbers(&self, machine: &Machine) -> Vec<u32> {
        let cpus = (0..).map(CpuId).zip(machine.cpus());
        cpus.filter(|(at, _)| self.cpus.contains(*at)).map(|(_, cpu)| cpu.number).collect()
    }
}

/// A machine as values. Lists of CPUs are such as `0-3,8`, by their numbers on the machine.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct TopologyReport {
    /// What it is called.
    pub name: String,
    /// The CPUs that are online, in order.
    pub cpus: Vec<TopologyCpu>,
    /// The others.
    pub offline_cpus: String,
    /// Memory nodes, in order.
    pub nodes: Vec<TopologyNode>,
    /// Whether latencies follow from the distances, and nobody measured them.
    pub latencies_derived: bool,
    /// Caches that are known.
    pub caches: Vec<TopologyCache>,
    /// Where the scenario's tasks may run.
    pub tasks: Vec<TopologyTasks>,
    /// What is odd about who has which CPUs.
    pub findings: Vec<String>,
    /// What was taken for granted.
    pub notes: Vec<String>,
}

/// A CPU.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct TopologyCpu {
    /// Its number on the machine.
    pub cpu: u32,
    /// Its number where it is simulated: another one where CPUs before it are offline.
    pub simulated_cpu: u32,
    /// Its core. Cores, clusters, caches and packages are numbered from 0, by their first CPUs.
    pub core: u32,
    /// Its cluster.
    pub cluster: Option<u32>,
    /// Its last-level cache.
    pub last_level_cache: u32,
    /// Its package.
    pub package: u32,
    /// Its memory node, by number.
    pub node: u32,
    /// `performance` or `efficiency`, on hybrid machines.
    pub kind: Option<&'static str>,
    /// Its capacity; the fastest have 1024.
    pub capacity: u32,
    /// Which CPUs fill up first: a higher number first.
    pub packing_priority: Option<i32>,
    /// Out of load balancing.
    pub isolated: bool,
    /// Without ticks while one task runs.
    pub nohz_full: bool,
}

/// A memory node.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct TopologyNode {
    /// Its number.
    pub node: u32,
    /// What people call it.
    pub name: Option<String>,
    /// Its CPUs.
    pub cpus: String,
    /// Its memory.
    pub memory_bytes: Option<u64>,
    /// To each node, in order; 10 is itself.
    pub distances: Vec<u32>,
    /// Of its CPUs to each node's memory, in order.
    pub latencies_ns: Vec<u32>,
}

/// A cache.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct TopologyCache {
    /// 1 and up.
    pub level: u32,
    /// `data`, `instruction` or `unified`.
    pub kind: &'static str,
    /// Its size.
    pub size_bytes: Option<u64>,
    /// Who shares it.
    pub cpus: String,
}

/// Tasks and where they may run.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct TopologyTasks {
    /// Their name.
    pub name: String,
    /// How many.
    pub tasks: u32,
    /// Where they may run.
    pub cpus: String,
    /// Whether those are fewer than all.
    pub pinned: bool,
}

impl TopologyReport {
    /// The machine, tasks on it, and what is odd about them.
    pub fn new(machine: &Machine, tasks: &[TaskPlaces], findings: &[String]) -> Self {
        let topology = machine.topology();
        let ids = tree::Ids::new(machine);
        let cpu = |at: usize| {
            let (cpu, place) = (&machine.cpus()[at], &topology.places()[at]);
            TopologyCpu {
                cpu: cpu.number,
                simulated_cpu: at as u32,
                core: ids.cores[at],
                cluster: ids.clusters[at],
                last_level_cache: ids.llcs[at],
                package: ids.packages[at],
                node: machine.nodes()[place.node as usize].number,
                kind: cpu.kind.map(kind_name),
                capacity: place.capacity,
                packing_priority: place.packing_priority,
                isolated: cpu.isolated,
                nohz_full: cpu.nohz_full,
            }
        };
        let node = |row: usize| {
            let node = &machine.nodes()[row];
            let to = 0..topology.nr_nodes();
            TopologyNode {
                node: node.number,
                name: node.name.clone(),
                cpus: format_list(machine.numbers(|_, place| place.node as usize == row)),
                memory_bytes: node.memory_bytes,
                distances: to.filter_map(|to| topology.distance(row as u32, to)).collect(),
                latencies_ns: machine.latencies_ns()[row].clone(),
            }
        };
        let caches = machine.caches().iter().map(|cache| TopologyCache {
            level: cache.level,
            kind: match cache.kind {
                CacheKind::Data => "data",
                CacheKind::Instruction => "instruction",
                CacheKind::Unified => "unified",
            },
            size_bytes: cache.size_bytes,
            cpus: format_list(cache.cpus.iter().map(|cpu| machine.cpus()[cpu.index()].number)),
        });
        let tasks = tasks.iter().map(|tasks| TopologyTasks {
            name: tasks.name.clone(),
            tasks: tasks.tasks,
            cpus: format_list(tasks.numbers(machine)),
            pinned: tasks.is_pinned(machine),
        });
        Self {
            name: machine.name().to_owned(),
            cpus: (0..machine.cpus().len()).map(cpu).collect(),
            offline_cpus: format_list(machine.offline().iter().copied()),
            nodes: (0..machine.nodes().len()).map(node).collect(),
            latencies_derived: machine.latencies_are_derived(),
            caches: caches.collect(),
            tasks: tasks.collect(),
            findings: findings.to_vec(),
            notes: machine.notes().to_vec(),
        }
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Performance => "performance",
        Kind::Efficiency => "efficiency",
    }
}

/// An amount of memory: `32 MiB`, `1.5 TiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, unit)) = units.into_iter().find(|(shift, _)| bytes >> shift > 0) else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10 + (1 << (shift - 1))) >> shift;
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}

/// One thing, or several.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
