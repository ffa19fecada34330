//! The candidates: which CPUs each task may use.

use std::collections::BTreeMap;

use slicewise_machine::TaskSpec;
use slicewise_sched::{CpuId, CpuSet};
use slicewise_topology::{Machine, format_list};
use slicewise_workload::{Loaded, apply_set};

use crate::roles::{Role, Tasks, nodes_with_cpus};

/// One way to place all tasks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// What it is called.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Where each task may run, as in [`Workload::tasks`](slicewise_machine::Workload::tasks).
    pub masks: Vec<CpuSet>,
    /// CPUs that the kernel is told at boot to keep everyone else off (`isolcpus`, `nohz_full`). `None`
    /// leaves what the workload says.
    pub isolated: Option<Vec<CpuId>>,
    /// Tasks that share no CPU with any task outside the list: what the placement claims.
    pub exclusive: Vec<usize>,
    /// It is what the workload says.
    pub is_written: bool,
}

impl Placement {
    /// Has the workload run like this.
    ///
    /// # Errors
    /// If the machine's CPUs cannot be named at boot.
    pub fn apply(&self, loaded: &mut Loaded) -> Result<(), String> {
        if self.is_written {
            return Ok(());
        }
        for (task, mask) in loaded.workload.tasks.iter_mut().zip(&self.masks) {
            task.affinity.clone_from(mask);
        }
        if let Some(isolated) = &self.isolated {
            (loaded.settings.isolcpus, loaded.settings.nohz_full) = (None, None);
            if !isolated.is_empty() {
                let list = format_list(isolated.iter().map(|cpu| cpu.0));
                apply_set(loaded, &format!("isolcpus={list}"))?;
                apply_set(loaded, &format!("nohz_full={list}"))?;
            }
        }
        Ok(())
    }
}

/// The placements that make sense for a workload on a machine, the simplest first, and what the file
/// says before them. Two that are the same are one.
pub fn placements(loaded: &Loaded, machine: &Machine, tasks: &Tasks) -> Vec<Placement> {
    let builder = Builder { specs: &loaded.workload.tasks, machine, tasks };
    let settings = &loaded.settings;
    let nothing_isolated = settings.isolcpus.is_none() && settings.nohz_full.is_none();
    let written = Placement {
        name: "as written",
        about: "what the file says",
        masks: builder.specs.iter().map(|spec| spec.affinity.clone()).collect(),
        isolated: None,
        exclusive: Vec::new(),
        is_written: true,
    };
    let mut all = vec![written];
    let more = [
        Some(builder.free()),
        builder.by_node(),
        builder.own_cores(1, "own core"),
        builder.own_cores(u32::MAX, "own cores"),
        builder.isolated(),
        builder.one_thread(),
    ];
    for placement in more.into_iter().flatten() {
        let is_isolating = |it: &Placement| match &it.isolated {
            None => !nothing_isolated,
            Some(cpus) => !cpus.is_empty(),
        };
        let same = |known: &Placement| {
            known.masks == placement.masks && !is_isolating(known) && !is_isolating(&placement)
        };
        if !all.iter().any(same) {
            all.push(placement);
        }
    }
    all
}

/// CPUs of a core.
type Core = Vec<CpuId>;

/// The cores of a node, or of the machine, by their first CPUs.
pub(crate) fn cores(machine: &Machine, node: Option<u32>) -> Vec<Core> {
    let mut cores: Vec<Core> = Vec::new();
    let mut known: BTreeMap<u32, usize> = BTreeMap::new();
    for (cpu, place) in (0..).map(CpuId).zip(machine.topology().places()) {
        if node.is_some_and(|node| node != place.node) {
            continue;
        }
        let at = *known.entry(place.core).or_insert(cores.len());
        match cores.get_mut(at) {
            Some(core) => core.push(cpu),
            None => cores.push(vec![cpu]),
        }
    }
    cores
}

struct Builder<'a> {
    specs: &'a [TaskSpec],
    machine: &'a Machine,
    tasks: &'a Tasks,
}

impl Builder<'_> {
    fn placement(&self, name: &'static str, about: &'static str) -> Placement {
        let stays = |(spec, task): (&TaskSpec, &crate::Task)| match task.is_deadline {
            true => spec.affinity.clone(),
            false => CpuSet::All,
        };
        Placement {
            name,
            about,
            masks: self.specs.iter().zip(&self.tasks.tasks).map(stays).collect(),
            isolated: Some(Vec::new()),
            exclusive: Vec::new(),
            is_written: false,
        }
    }

    fn bind(&self, placement: &mut Placement, task: usize, cpus: &CpuSet) {
        if !self.tasks.tasks[task].is_deadline {
            placement.masks[task] = cpus.clone();
        }
    }

    /// All CPUs of these cores.
    fn set_of(cores: &[Core]) -> CpuSet {
        CpuSet::of(cores.iter().flatten().copied())
    }

    fn cores(&self, node: Option<u32>) -> Vec<Core> {
        cores(self.machine, node)
    }

    fn free(&self) -> Placement {
        self.placement("free", "every task may run everywhere")
    }

    /// Each rank on its GPU's node.
    fn by_node(&self) -> Option<Placement> {
        if self.tasks.ranks() == 0 || nodes_with_cpus(self.machine).len() < 2 {
            return None;
        }
        let mut placement = self.placement("by node", "each rank on the node of its GPU");
        let nodes = self.tasks.nodes.iter().map(|node| Self::set_of(&self.cores(Some(*node))));
        let nodes: Vec<CpuSet> = nodes.collect();
        for (at, task) in self.tasks.tasks.iter().enumerate() {
            if let Some(rank) = task.rank {
                self.bind(&mut placement, at, &nodes[rank as usize]);
            }
        }
        Some(placement)
    }

    /// Which tasks must not wait.
    fn critical(&self) -> Vec<bool> {
        let critical = match () {
            () if self.tasks.any(Role::Launch) => &[Role::Launch, Role::Communication][..],
            () if self.tasks.any(Role::RealTime) => &[Role::RealTime],
            () => &[Role::Serving],
        };
        let tasks = self.tasks.tasks.iter();
        tasks.map(|task| critical.contains(&task.role) && !task.is_deadline).collect()
    }

    /// Those that must not wait on cores of their own, as many as there are threads and no more than
    /// `most`, and the others on the rest of the node, or of the machine if they are nobody's.
    fn own_cores(&self, most: u32, name: &'static str) -> Option<Placement> {
        let all: Vec<usize> = (0..self.specs.len()).collect();
        let is_critical = self.critical();
        let critical: Vec<usize> = all.iter().copied().filter(|at| is_critical[*at]).collect();
        if critical.is_empty() || critical.len() == all.len() {
            return None;
        }
        let about = match most {
            1 => "threads that must not wait on a core of each rank's own, the others on the rest",
            _ => "threads that must not wait on a core each, the others on the rest",
        };
        let mut placement = self.placement(name, about);
        // Without ranks, all are of one, which has the whole machine.
        let ranks = self.tasks.ranks().max(1);
        let home = |rank: u32| self.tasks.nodes.get(rank as usize).copied();
        let mut own: Vec<Vec<Core>> = Vec::new();
        for rank in 0..ranks {
            let cores = self.cores(home(rank));
            let neighbours: Vec<u32> = (0..ranks).filter(|it| home(*it) == home(rank)).collect();
            let (at, of) = (neighbours.iter().position(|it| *it == rank)?, neighbours.len());
            let share = &cores[at * cores.len() / of..(at + 1) * cores.len() / of];
            let is_its =
                |task: usize| self.tasks.tasks[task].rank == Some(rank) || self.tasks.ranks() == 0;
            let threads = critical.iter().filter(|task| is_its(**task)).count();
            let count = threads.min(most as usize).min(share.len() / 2);
            if threads > 0 && count == 0 {
                return None;
            }
            own.push(share[..count].to_vec());
        }
        let taken = CpuSet::of(own.iter().flatten().flatten().copied());
        let rest = |node: Option<u32>| {
            let cpus = self.cores(node).into_iter().flatten();
            CpuSet::of(cpus.filter(|cpu| !taken.contains(*cpu)))
        };
        let rests: Vec<CpuSet> = (0..ranks).map(|rank| rest(home(rank))).collect();
        let own: Vec<CpuSet> = own.iter().map(|cores| Self::set_of(cores)).collect();
        let nobodys = rest(None);
        for at in all {
            let rank = self.tasks.tasks[at].rank;
            if is_critical[at] && (rank.is_some() || self.tasks.ranks() == 0) {
                self.bind(&mut placement, at, &own[rank.unwrap_or(0) as usize]);
                placement.exclusive.push(at);
            } else {
                let cpus = rank.map_or(&nobodys, |rank| &rests[rank as usize]);
                self.bind(&mut placement, at, cpus);
            }
        }
        self.is_possible(&placement).then_some(placement)
    }

    /// Nobody is left without a CPU, and no deadline task may run where others are to be alone.
    fn is_possible(&self, placement: &Placement) -> bool {
        let cpus = self.machine.topology().nr_cpus();
        placement.masks.iter().all(|mask| mask.count_within(cpus) > 0)
            && (placement.exclusive.is_empty() || self.tasks.tasks.iter().all(|it| !it.is_deadline))
    }

    /// Real-time threads on cores that are kept free at boot.
    fn isolated(&self) -> Option<Placement> {
        let cores = self.cores(None);
        let wanted: Vec<usize> = (0..self.specs.len())
            .filter(|at| {
                let task = self.tasks.tasks[*at];
                task.role == Role::RealTime && !task.is_deadline
            })
            .collect();
        let count = wanted.len().min(cores.len() / 2);
        if count == 0 {
            return None;
        }
        // The last cores: the first CPU does the kernel's own work on most machines.
        let own = &cores[cores.len() - count..];
        let about = "real-time threads pinned to cores that isolcpus keeps everyone else off";
        let mut placement = self.placement("isolated", about);
        let mut isolated: Vec<CpuId> = own.iter().flatten().copied().collect();
        isolated.sort_unstable();
        let others = Self::set_of(&cores[..cores.len() - count]);
        for at in 0..self.specs.len() {
            match wanted.binary_search(&at) {
                // Isolated CPUs are not balanced: a task has to be put on one of them.
                Ok(number) => {
                    let cpus = CpuSet::of(own[number % count].first().copied());
                    self.bind(&mut placement, at, &cpus);
                }
                Err(_) => self.bind(&mut placement, at, &others),
            }
        }
        placement.isolated = Some(isolated);
        placement.exclusive = wanted;
        self.is_possible(&placement).then_some(placement)
    }

    /// Siblings stay idle.
    fn one_thread(&self) -> Option<Placement> {
        let cores = self.cores(None);
        if cores.iter().all(|core| core.len() == 1) {
            return None;
        }
        let about = "every task anywhere, but on the first thread of each core only";
        let mut placement = self.placement("one thread per core", about);
        let first = CpuSet::of(cores.iter().filter_map(|core| core.first().copied()));
        for at in 0..self.specs.len() {
            self.bind(&mut placement, at, &first);
        }
        Some(placement)
    }
}
