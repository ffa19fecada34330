//! From the cgroups of a node to what the machine runs: groups, threads, request queues, devices.
//!
//! | of a load | becomes |
//! |---|---|
//! | `requests` | a queue with an open loop of arrivals, and `workers` threads that serve it |
//! | `batch` | `threads` threads that compute for ever, or compute and sleep in turn |
//! | `launch` | a device, shared in its pod by name, and `threads` threads that submit to it |
//!
//! Groups below which nothing has a load are left out: they change nothing for the others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use slicewise_containers::{
    Batch, CgroupVersion, CpuList, Dist as LoadDist, Launch, Load, Manifest, Node, Part, QosClass,
    Quantity, Requests, Role, Tree,
};
use slicewise_machine::{
    Barrier, Device, Dist, EmpiricalBin, GroupSpec, Mode, Op, Origin, Program, ProgramId, Queue,
    TaskSpec, Workload,
};
use slicewise_sched::bandwidth::Limit;
use slicewise_sched::{Attr, CpuId, CpuSet, Shares};

use crate::error::Error;

/// The most threads all containers of a node may have together.
pub const THREADS_MAX: u64 = 200_000;

/// Everything the machine runs, and whose it is.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// For the machine.
    pub workload: Workload,
    /// The containers, in the order of the tree's.
    pub containers: Vec<Mapped>,
    /// The groups of the tree.
    pub groups: Vec<slicewise_containers::Group>,
    /// By group of the machine: the group of the tree.
    pub tree_group: Vec<usize>,
}

/// A container.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// Who it is.
    pub identity: Identity,
    /// A name for people, which no other has: `pod/container`, or one name if both are called the
    /// same.
    pub label: String,
    /// The same for all copies together.
    pub label_of_all: String,
    /// The CPU it asks for; `None` if it does not.
    pub request: Option<Quantity>,
    /// The limit it is held to; `None` for no limit.
    pub limit: Option<Quantity>,
    /// Its group in the tree.
    pub group: usize,
    /// Its group on the machine, if it has a load.
    pub machine_group: Option<u32>,
    /// The CPUs it has for itself.
    pub exclusive: Option<CpuList>,
    /// What it does.
    pub parts: Vec<MappedPart>,
}

/// What tells a container from others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Identity {
    /// Which of the manifest's workloads it is of; `None` for those that no pod holds.
    pub workload: Option<usize>,
    /// `Deployment`, `Pod`; `Container` for those that no pod holds.
    pub kind: &'static str,
    /// Namespace, empty for those that no pod holds.
    pub namespace: String,
    /// Name of the object that makes the pod.
    pub object: String,
    /// Which copy, from 0.
    pub copy: u32,
    /// How many copies there are.
    pub copies: u32,
    /// The container's name.
    pub container: String,
    /// The pod's class, if there is a pod.
    pub class: Option<QosClass>,
}

impl Identity {
    /// The pod's name: that of its object, with a number if there are several.
    pub fn pod(&self) -> String {
        match self.copies {
            0 | 1 => self.object.clone(),
            _ => format!("{}-{}", self.object, self.copy),
        }
    }

    /// What all copies have in common.
    pub(crate) fn family(&self) -> Family<'_> {
        (self.workload, &self.object, &self.container)
    }
}

/// What copies of a container have in common: the workload, and the names of the object and the
/// container.
pub(crate) type Family<'n> = (Option<usize>, &'n str, &'n str);

/// Names for people: as short as tells them apart.
fn labels(of: &[Identity], pod: impl Fn(&Identity) -> String) -> Vec<String> {
    let short = |it: &Identity| match it.object == it.container {
        true => pod(it),
        false => format!("{}/{}", pod(it), it.container),
    };
    let spell: [&dyn Fn(&Identity) -> String; 3] =
        [&short, &|it| format!("{}/{}", it.namespace, short(it)), &|it| {
            format!("{}/{}/{}/{}", it.namespace, it.kind, pod(it), it.container)
        }];
    let mut chosen: Vec<String> = of.iter().map(spell[0]).collect();
    for longer in &spell[1..] {
        // Copies of a pod may share a name, different pods may not.
        let mut owners: BTreeMap<&str, BTreeSet<Family<'_>>> = BTreeMap::new();
        for (name, identity) in chosen.iter().zip(of) {
            owners.entry(name).or_default().insert(identity.family());
        }
        let shared: Vec<bool> = chosen.iter().map(|name| owners[name.as_str()].len() > 1).collect();
        for ((name, identity), shared) in chosen.iter_mut().zip(of).zip(shared) {
            if shared {
                *name = longer(identity);
            }
        }
    }
    chosen
}

/// A part of a load, at work.
#[derive(Clone, Debug)]
pub struct MappedPart {
    /// What it is.
    pub part: Part,
    /// Its threads, indices into [`Workload::tasks`].
    pub tasks: Range<usize>,
    /// Its queue, if it has one.
    pub queue: Option<u32>,
    /// Its device, if it has one.
    pub device: Option<u32>,
}

/// Makes a workload of a tree.
///
/// # Errors
/// If there are more threads than there may be.
pub fn map(manifest: &Manifest, node: &Node, tree: &Tree<'_>) -> Result<Mapping, Error> {
    let mut builder = Builder {
        node,
        tree,
        machine_group: vec![None; tree.groups.len()],
        devices: BTreeMap::new(),
        threads: 0,
        mapping: Mapping {
            workload: Workload::default(),
            containers: Vec::with_capacity(tree.containers.len()),
            groups: tree.groups.clone(),
            tree_group: Vec::new(),
        },
    };
    let described: Vec<_> =
        (0..tree.containers.len()).map(|index| describe(manifest, tree, index)).collect();
    let identities: Vec<Identity> = described.iter().map(|it| it.0.clone()).collect();
    let names = labels(&identities, Identity::pod);
    let names_of_all = labels(&identities, |it| it.object.clone());
    for (index, running) in tree.containers.iter().enumerate() {
        let (identity, request, limit) = described[index].clone();
        let machine_group = running.load.map(|_| builder.group(running.group));
        let cpus = tree.groups[running.group].cpuset.clone();
        let mut mapped = Mapped {
            identity,
            label: names[index].clone(),
            label_of_all: names_of_all[index].clone(),
            request,
            limit,
            group: running.group,
            machine_group,
            exclusive: cpus.clone().filter(|_| running.is_exclusive),
            parts: Vec::new(),
        };
        if let (Some(load), Some(group)) = (running.load, machine_group) {
            let affinity = cpus.map_or(CpuSet::All, |cpus| CpuSet::of(cpus.iter().map(CpuId)));
            builder.load(&mut mapped, load, group, &affinity)?;
        }
        builder.mapping.containers.push(mapped);
    }
    Ok(builder.mapping)
}

/// Who a container is, what it asks for, and what it is held to.
fn describe(
    manifest: &Manifest,
    tree: &Tree<'_>,
    index: usize,
) -> (Identity, Option<Quantity>, Option<Quantity>) {
    let running = &tree.containers[index];
    let container = running.name.to_owned();
    let Some(number) = running.workload else {
        // Of those without a pod only the quota is known, not how it was written.
        let group = &tree.groups[running.group];
        let milli = |quota: u64| quota.saturating_mul(1000).div_ceil(group.period_us.max(1));
        let limit = group.quota_us.and_then(|quota| u32::try_from(milli(quota)).ok());
        let copies = manifest.standalone.iter().find(|it| it.name == running.name);
        let identity = Identity {
            workload: None,
            kind: "Container",
            namespace: String::new(),
            object: container.clone(),
            copy: running.copy,
            copies: copies.map_or(1, |it| it.copies),
            container,
            class: None,
        };
        return (identity, None, limit.map(Quantity::milli));
    };
    let workload = &manifest.workloads[number];
    let pod = &workload.pod;
    let found = pod.running().find(|it| it.name == running.name);
    let request = found.and_then(|it| it.resources.cpu_request.or(pod.container_cpu_limit(it)));
    let limit = found.and_then(|it| pod.container_cpu_limit(it));
    debug_assert!(found.is_none_or(|it| it.role != Role::Init), "it runs as long as the pod does");
    let identity = Identity {
        workload: Some(number),
        kind: workload.kind.name(),
        namespace: workload.namespace.clone(),
        object: workload.name.clone(),
        copy: running.copy,
        copies: workload.copies,
        container,
        class: Some(pod.qos_class()),
    };
    (identity, request, limit)
}

struct Builder<'t, 'm> {
    node: &'t Node,
    tree: &'t Tree<'m>,
    /// By group of the tree.
    machine_group: Vec<Option<u32>>,
    /// By pod (workload and copy) and name.
    devices: BTreeMap<(Option<usize>, String, u32, String), u32>,
    threads: u64,
    mapping: Mapping,
}

impl Builder<'_, '_> {
    /// The machine's group for a group of the tree, made with those it is in.
    fn group(&mut self, index: usize) -> u32 {
        if let Some(known) = self.machine_group[index] {
            return known;
        }
        let group = &self.tree.groups[index];
        let parent = group.parent.map(|parent| self.group(parent));
        let shares = match self.node.cgroups {
            CgroupVersion::V2 => Shares::from_weight(group.weight).unwrap_or_default(),
            CgroupVersion::V1 => Shares::from_shares(group.kernel_weight),
        };
        let workload = &mut self.mapping.workload;
        workload.groups.push(GroupSpec {
            path: group.path.trim_start_matches('/').to_owned(),
            parent,
            shares,
            idle: group.idle,
            limit: Limit {
                quota_ns: group.quota_us.map(|us| us * 1000),
                period_ns: group.period_us * 1000,
                burst_ns: group.burst_us * 1000,
            },
            ..GroupSpec::default()
        });
        self.mapping.tree_group.push(index);
        let number = workload.groups.len() as u32 - 1;
        self.machine_group[index] = Some(number);
        number
    }

    fn load(
        &mut self,
        mapped: &mut Mapped,
        load: &Load,
        group: u32,
        affinity: &CpuSet,
    ) -> Result<(), Error> {
        let mut used: BTreeMap<&str, u32> = BTreeMap::new();
        for part in &load.parts {
            let (word, threads) = match part {
                Part::Requests(requests) => ("worker", requests.workers),
                Part::Batch(batch) => ("thread", batch.threads),
                Part::Launch(launch) => ("launch", launch.threads),
                _ => continue,
            };
            self.threads += u64::from(threads);
            if self.threads > THREADS_MAX {
                return Err(Error::TooManyThreads);
            }
            let label = mapped.label.clone();
            let (queue, device) = match part {
                Part::Requests(requests) => (Some(self.queue(&label, requests)), None),
                Part::Launch(launch) => (None, Some(self.device(&mapped.identity, launch))),
                _ => (None, None),
            };
            let program = self.program(part, queue, device, &label);
            let tasks = &mut self.mapping.workload.tasks;
            let first = tasks.len();
            let number = used.entry(word).or_insert(0);
            for _ in 0..threads {
                // Every name is used once: figures are told apart by it.
                let name = format!("{label}:{word}-{number}");
                *number += 1;
                tasks.push(TaskSpec {
                    name,
                    program,
                    attr: Attr::default(),
                    affinity: affinity.clone(),
                    start_ns: 0,
                    group: Some(group),
                    template: false,
                    rttime: None,
                    memory: slicewise_machine::TaskMemory::default(),
                    index: 0,
                    origin: Origin::default(),
                });
            }
            let tasks = first..tasks.len();
            mapped.parts.push(MappedPart { part: part.clone(), tasks, queue, device });
        }
        Ok(())
    }

    fn queue(&mut self, label: &str, requests: &Requests) -> u32 {
        let queues = &mut self.mapping.workload.queues;
        queues.push(Queue {
            name: label.to_owned(),
            interarrival: dist(&requests.arrivals),
            service: dist(&requests.service),
            start_ns: 0,
            requests: None,
            depth: requests.depth.unwrap_or(u32::MAX),
        });
        queues.len() as u32 - 1
    }

    /// The device of this name in this pod. Where several say how much may be pending, the least
    /// counts.
    fn device(&mut self, identity: &Identity, launch: &Launch) -> u32 {
        let pod = identity.pod();
        let key = (identity.workload, pod.clone(), identity.copy, launch.device.clone());
        let devices = &mut self.mapping.workload.devices;
        let depth = launch.depth.unwrap_or(u32::MAX);
        match self.devices.get(&key) {
            Some(index) => {
                let device = &mut devices[*index as usize];
                device.depth = device.depth.min(depth);
                *index
            }
            None => {
                let name = format!("{pod}:{}", launch.device);
                devices.push(Device { name, depth });
                let index = devices.len() as u32 - 1;
                self.devices.insert(key, index);
                index
            }
        }
    }

    /// Threads that begin their rounds together meet at a barrier, and a round is a log line: that is
    /// how it is timed.
    fn batch(&mut self, batch: &Batch, label: &str) -> Vec<Op> {
        let work = |run| Op::Run { work: dist(run), mode: Mode::User };
        let pause = |sleep| Op::Sleep { duration: dist(sleep) };
        match (&batch.run, &batch.sleep) {
            (Some(run), sleep) if batch.together => {
                let barriers = &mut self.mapping.workload.barriers;
                barriers.push(Barrier { name: label.to_owned(), parties: batch.threads });
                let meet = Op::Barrier(barriers.len() as u32 - 1);
                let end = Op::LogEnd { cumulative_slack: false };
                let mut body = vec![meet, Op::LogBegin, work(run), end];
                body.extend(sleep.as_ref().map(pause));
                forever(body)
            }
            (Some(run), Some(sleep)) => forever(vec![work(run), pause(sleep)]),
            // Without pauses it does not matter how it is divided.
            _ => vec![Op::RunForever],
        }
    }

    fn program(
        &mut self,
        part: &Part,
        queue: Option<u32>,
        device: Option<u32>,
        label: &str,
    ) -> ProgramId {
        let ops = match part {
            Part::Requests(_) => {
                forever(vec![Op::Receive(queue.unwrap_or(0)), Op::Serve, Op::Reply])
            }
            Part::Batch(batch) => self.batch(batch, label),
            Part::Launch(launch) => launch_ops(launch, device.unwrap_or(0)),
            _ => Vec::new(),
        };
        let programs = &mut self.mapping.workload.programs;
        programs.push(Program { ops });
        programs.len() as ProgramId - 1
    }
}

fn forever(body: Vec<Op>) -> Vec<Op> {
    let end = body.len() as u32 + 1;
    let mut ops = vec![Op::LoopBegin { count: None, end }];
    ops.extend(body);
    ops.push(Op::LoopEnd { begin: 0 });
    ops
}

/// Each step is a log line of the machine: that is how steps are counted and timed.
fn launch_ops(launch: &Launch, device: u32) -> Vec<Op> {
    forever(vec![
        Op::LogBegin,
        Op::LoopBegin { count: Some(u64::from(launch.kernels)), end: 5 },
        Op::Run { work: dist(&launch.cpu), mode: Mode::User },
        Op::Submit { device, work: dist(&launch.work) },
        Op::LoopEnd { begin: 2 },
        Op::Synchronize(device),
        Op::LogEnd { cumulative_slack: false },
    ])
}

/// The machine's distribution for one of a load.
fn dist(dist: &LoadDist) -> Dist {
    match dist {
        LoadDist::Constant(ns) => Dist::Constant(*ns),
        LoadDist::Uniform(min, max) => Dist::Uniform(*min, *max),
        LoadDist::Exponential { mean_ns } => Dist::Exponential { mean_ns: *mean_ns },
        LoadDist::LogNormal { median_ns, sigma } => {
            Dist::LogNormal { median_ns: *median_ns, sigma: *sigma }
        }
        LoadDist::Pareto { scale_ns, shape, max_ns } => {
            Dist::Pareto { scale_ns: *scale_ns, shape: *shape, max_ns: *max_ns }
        }
        LoadDist::Empirical(values) => {
            let mut cumulative_weight = 0_u64;
            let bins = values.iter().map(|(value_ns, weight)| {
                cumulative_weight = cumulative_weight.saturating_add(*weight);
                EmpiricalBin { value_ns: *value_ns, cumulative_weight }
            });
            Dist::Empirical(bins.collect())
        }
    }
}
