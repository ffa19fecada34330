//! The lines that make a machine place tasks like this.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use slicewise_report::PlaceMask;
use slicewise_sched::{CpuId, CpuSet};
use slicewise_topology::{Machine, format_list};
use slicewise_workload::Loaded;

use crate::placements::{Placement, cores};
use crate::roles::{Tasks, nodes_with_cpus};

/// How it is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `taskset -c`.
    Taskset,
    /// `numactl`, with memory where a set is within one node.
    Numactl,
    /// Files of cgroup v2.
    Cpuset,
    /// Pods of a Kubernetes node, and what its kubelet has to be told.
    Pod,
}

/// Tasks with the same CPUs.
struct Bound {
    /// By their numbers on the machine.
    cpus: Vec<u32>,
    /// Nodes, by number.
    nodes: Vec<u32>,
    /// They are all CPUs of these nodes.
    is_whole_nodes: bool,
    /// They are all there are.
    is_everywhere: bool,
    names: Vec<String>,
    tasks: u32,
}

impl Bound {
    fn list(&self) -> String {
        format_list(self.cpus.iter().copied())
    }

    fn node_list(&self) -> String {
        format_list(self.nodes.iter().copied())
    }

    /// Who they are, short enough for the end of a line.
    fn who(&self) -> String {
        const NAMED: usize = 6;
        let mut who = self.names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if self.names.len() > NAMED {
            let _ = write!(who, " and {} more", self.names.len() - NAMED);
        }
        // Nothing in a name may end a comment.
        who.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    }
}

impl Placement {
    /// Who may run where, for reports: tasks with the same CPUs together. CPUs are by their numbers on
    /// the machine.
    pub fn masks_named(&self, loaded: &Loaded, machine: &Machine) -> Vec<PlaceMask> {
        let mask = |bound: Bound| PlaceMask {
            cpus: bound.list(),
            nodes: bound.node_list(),
            everywhere: bound.is_everywhere,
            tasks: bound.tasks,
            names: bound.names,
        };
        bound(self, loaded, machine).into_iter().map(mask).collect()
    }

    /// The CPUs that are isolated at boot, by their numbers on the machine.
    pub fn isolated_list(&self, machine: &Machine) -> Option<String> {
        let cpus = self.isolated.as_ref().filter(|cpus| !cpus.is_empty())?;
        Some(format_list(cpus.iter().map(|cpu| number(machine, *cpu))))
    }
}

fn number(machine: &Machine, cpu: CpuId) -> u32 {
    machine.cpus().get(cpu.index()).map_or(cpu.0, |cpu| cpu.number)
}

/// The tasks by their CPUs, in the order of the first of each.
fn bound(placement: &Placement, loaded: &Loaded, machine: &Machine) -> Vec<Bound> {
    let mut at: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
    let mut found: Vec<Bound> = Vec::new();
    let all = machine.topology().nr_cpus();
    for group in &loaded.groups {
        let members = group.first as usize..(group.first + group.count) as usize;
        let mut first = members.start;
        // Neighbours with the same CPUs are named together.
        while first < members.end {
            let mask = &placement.masks[first];
            let run = (first..members.end).take_while(|task| placement.masks[*task] == *mask);
            let end = first + run.count();
            let known = CpuSet::contains;
            let inside: Vec<u32> = (0..all).filter(|cpu| known(mask, CpuId(*cpu))).collect();
            let slot = *at.entry(inside.clone()).or_insert(found.len());
            if slot == found.len() {
                found.push(describe(machine, &inside));
            }
            found[slot].tasks += (end - first) as u32;
            let name = |task: usize| loaded.workload.tasks[task].name.clone();
            found[slot].names.push(match (first, end) {
                _ if (first..end) == members => group.name.clone(),
                _ if end - first == 1 => name(first),
                _ => format!("{} to {}", name(first), name(end - 1)),
            });
            first = end;
        }
    }
    found
}

fn describe(machine: &Machine, inside: &[u32]) -> Bound {
    let places = machine.topology().places();
    let mut rows: Vec<u32> = inside.iter().map(|cpu| places[*cpu as usize].node).collect();
    rows.sort_unstable();
    rows.dedup();
    let of_nodes = places.iter().filter(|place| rows.binary_search(&place.node).is_ok()).count();
    Bound {
        cpus: inside.iter().map(|cpu| number(machine, CpuId(*cpu))).collect(),
        nodes: rows.iter().map(|row| machine.nodes()[*row as usize].number).collect(),
        is_whole_nodes: of_nodes == inside.len(),
        is_everywhere: inside.len() == places.len(),
        names: Vec::new(),
        tasks: 0,
    }
}

/// What has to be done for a placement. A comment says so if it is nothing.
pub fn emit(
    form: Form,
    placement: &Placement,
    loaded: &Loaded,
    machine: &Machine,
    tasks: &Tasks,
) -> String {
    let mut text = format!("# {}: {}\n", placement.name, placement.about);
    if let Some(list) = placement.isolated_list(machine) {
        let _ = writeln!(text, "# kernel command line: isolcpus={list} nohz_full={list}");
    }
    let bound: Vec<Bound> = bound(placement, loaded, machine);
    if form == Form::Pod {
        pods(&mut text, placement, machine, tasks);
        return text;
    }
    let bound: Vec<Bound> =
        bound.into_iter().filter(|it| !it.is_everywhere && !it.cpus.is_empty()).collect();
    if bound.is_empty() {
        text.push_str("# nothing to bind: every task may run everywhere\n");
        return text;
    }
    match form {
        Form::Taskset => taskset(&mut text, &bound),
        Form::Numactl => numactl(&mut text, &bound),
        Form::Cpuset | Form::Pod => cpusets(&mut text, &bound),
    }
    text
}

fn taskset(text: &mut String, bound: &[Bound]) {
    text.push_str("# for a thread that runs already: taskset -cp LIST TID\n");
    for it in bound {
        let _ = writeln!(text, "taskset -c {} COMMAND  # {}", it.list(), it.who());
    }
}

fn numactl(text: &mut String, bound: &[Bound]) {
    for it in bound {
        let cpus = match it.is_whole_nodes {
            true => format!("--cpunodebind={}", it.node_list()),
            false => format!("--physcpubind={}", it.list()),
        };
        // With CPUs of several nodes, each thread is to take memory where it runs.
        let memory = match it.nodes.len() {
            1 => format!(" --membind={}", it.node_list()),
            _ => String::new(),
        };
        let _ = writeln!(text, "numactl {cpus}{memory} COMMAND  # {}", it.who());
    }
}

fn cpusets(text: &mut String, bound: &[Bound]) {
    text.push_str(
        "# as root, where cgroup v2 is mounted. Then: processes to slicewise/cgroup.procs, and their\n\
         # threads to slicewise/N/cgroup.threads\n\
         cd /sys/fs/cgroup\n\
         echo +cpuset > cgroup.subtree_control\n\
         mkdir slicewise\n\
         echo +cpuset > slicewise/cgroup.subtree_control\n",
    );
    for (number, it) in bound.iter().enumerate() {
        let _ = write!(
            text,
            "mkdir slicewise/{number}  # {}\n\
             echo threaded > slicewise/{number}/cgroup.type\n\
             echo {} > slicewise/{number}/cpuset.cpus\n\
             echo {} > slicewise/{number}/cpuset.mems\n",
            it.who(),
            it.list(),
            it.node_list(),
        );
    }
}

/// A pod for each rank, or one for all. The kubelet chooses the CPUs itself: of this, only their number
/// and what they have in common can be asked for.
fn pods(text: &mut String, placement: &Placement, machine: &Machine, tasks: &Tasks) {
    let cpus = machine.topology().nr_cpus();
    let all_cores = cores(machine, None);
    let used_by = |rank: Option<u32>| -> Vec<u32> {
        let of = tasks.tasks.iter().zip(&placement.masks).filter(|(task, _)| task.rank == rank);
        let mut used = vec![false; cpus as usize];
        for (_, mask) in of {
            for (cpu, used) in (0..).zip(&mut used) {
                *used |= mask.contains(CpuId(cpu));
            }
        }
        (0..cpus).filter(|cpu| used[*cpu as usize]).collect()
    };
    // The kubelet and the system need a core that pods cannot have.
    let reserved = &all_cores[0];
    let per_core = reserved.len() as u32;
    let ranks: Vec<Option<u32>> = match tasks.ranks() {
        0 => vec![None],
        ranks => (0..ranks).map(Some).collect(),
    };
    let sets: Vec<Vec<u32>> = ranks.iter().map(|rank| used_by(*rank)).collect();
    let places = machine.topology().places();
    let within_node = |set: &Vec<u32>| {
        set.windows(2).all(|two| places[two[0] as usize].node == places[two[1] as usize].node)
    };
    let is_aligned = nodes_with_cpus(machine).len() > 1 && sets.iter().all(within_node);
    let reserved_cpus: Vec<u32> = reserved.iter().map(|cpu| cpu.0).collect();
    let _ = write!(
        text,
        "# the kubelet takes CPUs itself: their number and their node can be asked for, not which ones;\n\
         # threads within a container are bound by taskset in it\n\
         apiVersion: kubelet.config.k8s.io/v1beta1\n\
         kind: KubeletConfiguration\n\
         cpuManagerPolicy: static\n\
         cpuManagerPolicyOptions:\n  full-pcpus-only: \"true\"\n\
         topologyManagerPolicy: {}\n\
         reservedSystemCPUs: \"{}\"\n",
        if is_aligned { "single-numa-node" } else { "best-effort" },
        format_list(reserved_cpus.iter().map(|cpu| number(machine, CpuId(*cpu)))),
    );
    for (rank, set) in ranks.iter().zip(&sets) {
        // Ranks that may use the same CPUs share them evenly; whole cores only.
        let sharing = sets.iter().filter(|other| *other == set).count() as u32;
        let free = set.iter().filter(|cpu| !reserved_cpus.contains(cpu)).count() as u32;
        let count = (free / sharing / per_core * per_core).max(per_core);
        let name = rank.map_or("workload".to_owned(), |rank| format!("rank{rank}"));
        let device = match rank {
            Some(_) => ", nvidia.com/gpu: 1",
            None => "",
        };
        // Requests that equal limits make the pod Guaranteed.
        let _ = write!(
            text,
            "---\n\
             apiVersion: v1\n\
             kind: Pod\n\
             metadata:\n  name: {name}\n\
             spec:\n  containers:\n  - name: {name}\n    image: IMAGE\n    resources:\n      \
             requests: {{ cpu: {count}, memory: MEMORY{device} }}\n      \
             limits: {{ cpu: {count}, memory: MEMORY{device} }}\n"
        );
    }
}
