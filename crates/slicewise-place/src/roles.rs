//! What tasks are for, by their programs, policies and names.

use slicewise_machine::{Op, TaskSpec};
use slicewise_sched::Policy;
use slicewise_topology::Machine;
use slicewise_workload::{Loaded, job_periods};

/// What a task is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Hands work to a GPU or another device.
    Launch,
    /// Moves data between ranks: NCCL, RCCL, Gloo, MPI.
    Communication,
    /// Does one job in a period, or has a real-time policy.
    RealTime,
    /// Answers requests.
    Serving,
    /// Prepares data for a rank: a DataLoader's worker.
    Loader,
    /// Anything else.
    Other,
}

impl Role {
    /// What people and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Communication => "communication",
            Self::RealTime => "real-time",
            Self::Serving => "serving",
            Self::Loader => "loader",
            Self::Other => "other",
        }
    }
}

/// What is known of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Task {
    /// What it is for.
    pub role: Role,
    /// The rank it works for.
    pub rank: Option<u32>,
    /// `SCHED_DEADLINE`: kernels refuse to bind it, and so it stays as it is.
    pub is_deadline: bool,
}

/// The tasks of a workload, and the nodes of its ranks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tasks {
    /// As in [`Workload::tasks`](slicewise_machine::Workload::tasks).
    pub tasks: Vec<Task>,
    /// The node of each rank's GPU: a row of the machine's nodes. Ranks are numbered without holes here.
    pub nodes: Vec<u32>,
}

impl Tasks {
    /// Tells what the tasks of a workload are for.
    ///
    /// - *Role*: a program that submits to a device launches, one that receives requests serves, one with
    ///   a period or a real-time policy is real-time. Names tell communication and loaders, and launching
    ///   where no device is described: `role_of_name`.
    /// - *Rank*: the number after `rank` or `gpu` in the name. Where no name has one, tasks that launch
    ///   are ranks in their order, and communication and loaders are dealt out to them evenly.
    /// - *Node*: `gpu_nodes` has that of each rank's GPU; without it, ranks are spread over the nodes that
    ///   have CPUs in order, as many on each.
    pub fn of(loaded: &Loaded, machine: &Machine, gpu_nodes: Option<&[u32]>) -> Self {
        let periods = job_periods(&loaded.workload);
        let mut tasks: Vec<Task> = Vec::with_capacity(loaded.workload.tasks.len());
        for group in &loaded.groups {
            let members = &loaded.workload.tasks[group.first as usize..][..group.count as usize];
            for (number, spec) in (0..).zip(members) {
                let role = role_of(loaded, spec, &group.name, periods.contains_key(&spec.name));
                // `rank` with eight instances are eight ranks.
                let alone = (group.count > 1).then_some(number).filter(|_| is_rank(&group.name));
                let rank = rank_of_name(&group.name).or(alone);
                let is_deadline = matches!(spec.attr.policy, Policy::Deadline(_));
                tasks.push(Task { role, rank, is_deadline });
            }
        }
        // Tasks are described in the order of the workload; if not, nothing is known of the others.
        tasks.resize(
            loaded.workload.tasks.len(),
            Task { role: Role::Other, rank: None, is_deadline: false },
        );
        if tasks.iter().all(|task| task.rank.is_none()) {
            deal_out(loaded, &mut tasks);
        }
        let ranks = number_ranks(&mut tasks);
        let with_cpus = nodes_with_cpus(machine);
        let node = |rank: u32| match gpu_nodes.and_then(|nodes| nodes.get(rank as usize)) {
            Some(node) => *node,
            None => with_cpus[rank as usize * with_cpus.len() / ranks as usize],
        };
        Self { nodes: (0..ranks).map(node).collect(), tasks }
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Whether a task has this role.
    pub(crate) fn any(&self, role: Role) -> bool {
        self.tasks.iter().any(|task| task.role == role)
    }
}

/// The nodes that have CPUs.
pub(crate) fn nodes_with_cpus(machine: &Machine) -> Vec<u32> {
    let mut nodes: Vec<u32> = machine.topology().places().iter().map(|place| place.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

fn role_of(loaded: &Loaded, spec: &TaskSpec, name: &str, is_periodic: bool) -> Role {
    let ops =
        loaded.workload.programs.get(spec.program as usize).map_or(&[][..], |program| &program.ops);
    if ops.iter().any(|op| matches!(op, Op::Submit { .. })) {
        return Role::Launch;
    }
    if ops.iter().any(|op| matches!(op, Op::Receive(_))) {
        return Role::Serving;
    }
    let is_real_time =
        matches!(spec.attr.policy, Policy::Fifo(_) | Policy::Rr(_) | Policy::Deadline(_));
    match role_of_name(name) {
        _ if is_real_time => Role::RealTime,
        Some(role) => role,
        None if is_periodic => Role::RealTime,
        None => Role::Other,
    }
}

/// What a name says, by its words: runs of letters.
fn role_of_name(name: &str) -> Option<Role> {
    const COMMUNICATION: [&str; 10] = [
        "nccl",
        "rccl",
        "gloo",
        "mpi",
        "ucx",
        "comm",
        "comms",
        "communication",
        "allreduce",
        "proxy",
    ];
    const LOADER: [&str; 9] = [
        "loader",
        "loaders",
        "dataloader",
        "worker",
        "workers",
        "data",
        "prefetch",
        "decode",
        "preprocess",
    ];
    const LAUNCH: [&str; 6] = ["launch", "launcher", "trainer", "train", "rank", "gpu"];
    let lower = name.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    // `gpu0-loader` is a loader: what a task does says more than whose it is.
    if has(&COMMUNICATION) {
        Some(Role::Communication)
    } else if has(&LOADER) {
        Some(Role::Loader)
    } else if has(&LAUNCH) {
        Some(Role::Launch)
    } else {
        None
    }
}

/// A name that says no more than that it is a rank.
fn is_rank(name: &str) -> bool {
    matches!(name.to_lowercase().as_str(), "rank" | "ranks" | "gpu" | "trainer")
}

/// The number after `rank` or `gpu`: `rank3-loader`, `loader_gpu_1`.
fn rank_of_name(name: &str) -> Option<u32> {
    let lower = name.to_lowercase();
    ["rank", "gpu"].into_iter().find_map(|word| {
        let (_, after) = lower.split_once(word)?;
        let digits = after.strip_prefix(['-', '_', '.']).unwrap_or(after);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    })
}

/// Ranks for tasks whose names say nothing of them.
fn deal_out(loaded: &Loaded, tasks: &mut [Task]) {
    let mut ranks = 0;
    for task in tasks.iter_mut().filter(|task| task.role == Role::Launch) {
        task.rank = Some(ranks);
        ranks += 1;
    }
    for group in &loaded.groups {
        let members = &mut tasks[group.first as usize..][..group.count as usize];
        for (number, task) in members.iter_mut().enumerate() {
            let is_theirs = matches!(task.role, Role::Communication | Role::Loader);
            if is_theirs && group.count >= ranks {
                task.rank =
                    (number as u64 * u64::from(ranks) / u64::from(group.count)).try_into().ok();
                task.rank = task.rank.filter(|_| ranks > 0);
            }
        }
    }
}

/// Numbers the ranks from 0 without holes. How many there are.
fn number_ranks(tasks: &mut [Task]) -> u32 {
    let mut known: Vec<u32> = tasks.iter().filter_map(|task| task.rank).collect();
    known.sort_unstable();
    known.dedup();
    for task in tasks {
        task.rank =
            task.rank.and_then(|rank| known.binary_search(&rank).ok()).map(|rank| rank as u32);
    }
    known.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_task_is_for_and_for_whom() {
        let of = |name| (role_of_name(name), rank_of_name(name));
        assert_eq!(of("rank0-launch"), (Some(Role::Launch), Some(0)));
        assert_eq!(of("rank_12_nccl"), (Some(Role::Communication), Some(12)));
        assert_eq!(of("gpu3-DataLoader"), (Some(Role::Loader), Some(3)));
        assert_eq!(of("pt_data_worker"), (Some(Role::Loader), None));
        assert_eq!(of("commander"), (None, None), "words, not parts of them");
        assert_eq!(of("frank7"), (None, Some(7)));
    }
}
