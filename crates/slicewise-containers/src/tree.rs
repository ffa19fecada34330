//! The cgroup tree of a node.
//!
//! ```text
//! /                                      /
//! └ kubepods.slice                       └ kubepods
//!   ├ kubepods-besteffort.slice            ├ besteffort
//!   │ └ kubepods-besteffort-podUID.slice   │ └ podUID
//!   │   └ cri-containerd-NAME.scope        │   └ NAME
//!   ├ kubepods-burstable.slice             ├ burstable
//!   │ └ …                                  │ └ …
//!   └ kubepods-podUID.slice (Guaranteed)   └ podUID
//! ```
//!
//! A group here is what a scenario's group needs to be: a path, a weight, a quota with its period
//! and burst, CPUs, and whether it is idle. Sources: specification F.4, F.5.

use std::collections::{BTreeMap, HashMap};

use crate::cgroup::{
    PERIOD_DEFAULT_US, QUOTA_MIN_US, SHARES_MIN, WEIGHT_DEFAULT, kernel_shares, kernel_weight,
    quota_of_milli, shares_of_milli, systemd_quota,
};
use crate::cpus::CpuList;
use crate::kube::QosClass;
use crate::kubelet::{CpuManagerError, Granted, Manager, Refused, TopologyPolicy};
use crate::load::Load;
use crate::model::{Manifest, Pod, Standalone, Workload};
use crate::node::{CgroupVersion, Driver, Node};
use crate::quantity::Quantity;

/// The most pods and other containers on a node.
pub const PODS_MAX: u64 = 100_000;

/// The most groups in a tree.
pub const GROUPS_MAX: usize = 1_000_000;

/// What a group is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum GroupKind {
    /// All pods.
    Kubepods,
    /// All pods of a class.
    Qos(QosClass),
    /// A pod.
    Pod(QosClass),
    /// A container.
    Container,
    /// What holds containers that no pod holds.
    Parent,
}

/// A cgroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its path below the root of the hierarchy, such as `/kubepods.slice`. No two are the same.
    pub path: String,
    /// The group it is in, an index into [`Tree::groups`] lower than its own; `None` for the root.
    pub parent: Option<usize>,
    /// What it is for.
    pub kind: GroupKind,
    /// `cpu.shares` that were asked for; `None` if nobody did.
    pub shares: Option<u64>,
    /// `cpu.weight`, 1 to 10,000: what is written on cgroup v2.
    pub weight: u64,
    /// The kernel's own weight of the group, 1024 for the default: from `cpu.weight` on cgroup v2,
    /// from `cpu.shares` on v1.
    pub kernel_weight: u64,
    /// µs of CPU in a period; `None` for no limit.
    pub quota_us: Option<u64>,
    /// The period, µs.
    pub period_us: u64,
    /// What may be saved up, µs. Neither Kubernetes nor Docker can set it: 0.
    pub burst_us: u64,
    /// Where its tasks may run; `None` for where its parent's may.
    pub cpuset: Option<CpuList>,
    /// `cpu.idle`. Neither Kubernetes nor Docker can set it: false.
    pub idle: bool,
}

/// A container in its group.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Running<'m> {
    /// Its group, an index into [`Tree::groups`].
    pub group: usize,
    /// The workload it is of, an index into [`Manifest::workloads`]; `None` for one that no pod
    /// holds.
    pub workload: Option<usize>,
    /// Which of the workload's pods, from 0.
    pub copy: u32,
    /// Its name.
    pub name: &'m str,
    /// CPUs it has for itself.
    pub is_exclusive: bool,
    /// What it does, if anybody said so.
    pub load: Option<&'m Load>,
}

/// Devices a container has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceGrant {
    /// The container, an index into [`Tree::containers`].
    pub container: usize,
    /// The resource, such as `nvidia.com/gpu`.
    pub resource: String,
    /// The devices' identities.
    pub ids: Vec<String>,
}

/// Something worth knowing about a tree.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Note {
    /// The scheduler would not put all these pods on one node.
    #[error(
        "the pods ask for {request} CPUs, but {allocatable} are allocatable: a scheduler would not put all of them on this node"
    )]
    TooMuchRequested {
        /// What they ask for together.
        request: Quantity,
        /// What there is.
        allocatable: Quantity,
    },
    /// A pod is not admitted.
    #[error("{pod} is not admitted: {why}")]
    Rejected {
        /// `namespace/kind/name`.
        pod: String,
        /// Why.
        why: String,
    },
    /// A limit that cannot limit.
    #[error(
        "{pod}, container {container}: the limit of {limit} CPUs is above the {cpus} of the node"
    )]
    LimitAboveNode {
        /// `namespace/kind/name`.
        pod: String,
        /// Which container.
        container: String,
        /// Its limit.
        limit: Quantity,
        /// What there is.
        cpus: u32,
    },
    /// The input is of several nodes.
    #[error("the pods run on {count} nodes, and are all put on one: {names}")]
    SeveralNodes {
        /// How many.
        count: usize,
        /// The first of them.
        names: String,
    },
    /// Pods of other nodes were left out.
    #[error("{count} pods of other nodes are left out")]
    OtherNodes {
        /// How many.
        count: u64,
    },
}

/// Why there is no tree.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The node has none.
    #[error("the node has no CPUs: say how many there are")]
    NoCpus,
    /// Too many for one node.
    #[error("{pods} pods and containers are too many for one node: {PODS_MAX} at most")]
    TooManyPods {
        /// How many.
        pods: u64,
    },
    /// Too many containers.
    #[error("the containers make more than {GROUPS_MAX} groups")]
    TooManyGroups,
    /// The period is none the kernel takes.
    #[error("a period of {period_us} us is none the kernel takes: 1000 to 1000000")]
    Period {
        /// Which.
        period_us: u64,
    },
    /// A container may only run where there are no CPUs.
    #[error("container {name}: none of its CPUs {cpus} is there")]
    NoSuchCpus {
        /// Which container.
        name: String,
        /// Which CPUs.
        cpus: CpuList,
    },
    /// Two containers of the same name, say.
    #[error("two groups would be {path}: give them different names")]
    SameGroup {
        /// Their path.
        path: String,
    },
    /// The CPU manager cannot work.
    #[error(transparent)]
    CpuManager(#[from] CpuManagerError),
}

/// The cgroups of a node, and the containers in them.
#[derive(Clone, PartialEq, Debug)]
pub struct Tree<'m> {
    /// Parents before their children.
    pub groups: Vec<Group>,
    /// The containers.
    pub containers: Vec<Running<'m>>,
    /// Devices that containers have.
    pub devices: Vec<DeviceGrant>,
    /// What is worth knowing.
    pub notes: Vec<Note>,
}

/// Builds the tree for all that was read. [`Node::apply`] first, if the input's own settings count.
///
/// # Errors
/// If the node cannot hold it.
pub fn tree<'m>(manifest: &'m Manifest, node: &Node) -> Result<Tree<'m>, TreeError> {
    if node.cpus == 0 {
        return Err(TreeError::NoCpus);
    }
    if !(QUOTA_MIN_US..=crate::cgroup::PERIOD_MAX_US).contains(&node.period_us) {
        return Err(TreeError::Period { period_us: node.period_us });
    }
    let aligns = node.topology_manager.policy != TopologyPolicy::None;
    let manager = match node.static_cpus.is_some() || aligns || !node.devices.is_empty() {
        true => Some(Manager::new(node)?),
        false => None,
    };
    let tree =
        Tree { groups: Vec::new(), containers: Vec::new(), devices: Vec::new(), notes: Vec::new() };
    let mut builder =
        Builder { node, manifest, manager, shared: None, tree, paths: HashMap::new() };
    builder.kubepods()?;
    builder.standalone()?;
    Ok(builder.tree)
}

struct Builder<'m, 'n> {
    node: &'n Node,
    manifest: &'m Manifest,
    manager: Option<Manager>,
    /// The CPUs of those that have none for themselves, once that is known.
    shared: Option<CpuList>,
    tree: Tree<'m>,
    /// Groups by their paths.
    paths: HashMap<String, usize>,
}

/// What is set for a group.
struct Cpu {
    shares: Option<u64>,
    quota_us: Option<u64>,
    period_us: u64,
    cpuset: Option<CpuList>,
}

/// A pod that is to be placed.
struct Placing<'m> {
    index: usize,
    workload: &'m Workload,
    class: QosClass,
    /// One tells what its copies have for themselves, container by container.
    copies: Vec<Vec<Granted>>,
}

impl<'m> Builder<'m, '_> {
    fn kubepods(&mut self) -> Result<(), TreeError> {
        let placed = self.admit()?;
        self.shared = self.manager.as_ref().and_then(Manager::shared);
        if self.manifest.workloads.is_empty() {
            return Ok(());
        }
        let all = match self.node.enforce_allocatable {
            true => self.node.allocatable(),
            false => Quantity::units(self.node.cpus),
        };
        let cpu = self.kubelet_cpu(shares_of_milli(all.as_milli()), None);
        let kubepods = self.add(None, self.name("kubepods", None), GroupKind::Kubepods, cpu)?;
        // As the kubelet does it: the class weighs what its pods ask for together.
        let mut burstable = Quantity::ZERO;
        for placing in placed.iter().filter(|placing| placing.class == QosClass::Burstable) {
            for _ in &placing.copies {
                burstable = burstable.plus(placing.workload.pod.cpu_request());
            }
        }
        let shares = shares_of_milli(burstable.as_milli());
        let mut class = |class: QosClass, name: &str, shares: u64| {
            let cpu = self.kubelet_cpu(shares, None);
            let path = self.name(name, Some(kubepods));
            self.add(Some(kubepods), path, GroupKind::Qos(class), cpu)
        };
        let besteffort = class(QosClass::BestEffort, "besteffort", SHARES_MIN)?;
        let burstable = class(QosClass::Burstable, "burstable", shares)?;
        for placing in &placed {
            let parent = match placing.class {
                QosClass::Guaranteed => kubepods,
                QosClass::Burstable => burstable,
                QosClass::BestEffort => besteffort,
            };
            for (copy, granted) in placing.copies.iter().enumerate() {
                let copy = u32::try_from(copy).unwrap_or(u32::MAX);
                self.pod(parent, placing, copy, granted)?;
            }
        }
        Ok(())
    }

    /// Which pods come to this node, and which CPUs they get for themselves.
    fn admit(&mut self) -> Result<Vec<Placing<'m>>, TreeError> {
        let mut total = 0_u64;
        let (mut others, mut nodes) = (0_u64, BTreeMap::<&str, ()>::new());
        let mut request = Quantity::ZERO;
        let mut placed = Vec::new();
        for standalone in &self.manifest.standalone {
            total += u64::from(standalone.copies);
        }
        for (index, workload) in self.manifest.workloads.iter().enumerate() {
            let here = self.node.only_pods_of.as_deref();
            if let (Some(here), Some(there)) = (here, workload.node_name.as_deref())
                && here != there
            {
                others += u64::from(workload.copies);
                continue;
            }
            nodes.extend(workload.node_name.as_deref().map(|name| (name, ())));
            total += u64::from(workload.copies);
            if total > PODS_MAX {
                return Err(TreeError::TooManyPods { pods: total });
            }
            let class = workload.pod.qos_class();
            let mut placing = Placing { index, workload, class, copies: Vec::new() };
            for _ in 0..workload.copies {
                match self.exclusive(&workload.pod, class) {
                    Ok(exclusive) => placing.copies.push(exclusive),
                    Err(refused) => {
                        let note = rejected(workload, &refused);
                        if self.tree.notes.last() != Some(&note) {
                            self.tree.notes.push(note);
                        }
                        continue;
                    }
                }
                request = request.plus(workload.pod.cpu_request());
            }
            self.note_limits(workload);
            placed.push(placing);
        }
        let allocatable = self.node.allocatable();
        if request > allocatable {
            self.tree.notes.push(Note::TooMuchRequested { request, allocatable });
        }
        if others > 0 {
            self.tree.notes.push(Note::OtherNodes { count: others });
        }
        if nodes.len() > 1 {
            let names: Vec<&str> = nodes.keys().take(3).copied().collect();
            let names = crate::diagnostic::shorten(&names.join(", "));
            self.tree.notes.push(Note::SeveralNodes { count: nodes.len(), names });
        }
        Ok(placed)
    }

    fn note_limits(&mut self, workload: &Workload) {
        for container in workload.pod.running() {
            if let Some(limit) = container.resources.cpu_limit
                && limit > Quantity::units(self.node.cpus)
            {
                self.tree.notes.push(Note::LimitAboveNode {
                    pod: show(workload),
                    container: container.name.clone(),
                    limit,
                    cpus: self.node.cpus,
                });
            }
        }
    }

    fn exclusive(&mut self, pod: &Pod, class: QosClass) -> Result<Vec<Granted>, Refused> {
        match &mut self.manager {
            Some(manager) => manager.admit(pod, class),
            None => Ok(vec![Granted::default(); pod.running().count()]),
        }
    }

    fn pod(
        &mut self,
        parent: usize,
        placing: &Placing<'m>,
        copy: u32,
        granted: &[Granted],
    ) -> Result<(), TreeError> {
        let (workload, class) = (placing.workload, placing.class);
        let pod = &workload.pod;
        let policy = self.manager.as_ref().map(Manager::policy).unwrap_or_default();
        let has_quota = |is_exclusive: bool| {
            self.node.cfs_quota && (!is_exclusive || policy.quota_with_exclusive_cpus)
        };
        let any = granted.iter().any(|granted| granted.cpus.is_some());
        let shares = match class {
            QosClass::BestEffort => SHARES_MIN,
            _ => shares_of_milli(pod.cpu_request().as_milli()),
        };
        let limit = pod.cpu_limit().filter(|_| has_quota(any) && class != QosClass::BestEffort);
        let cpu = self.kubelet_cpu(shares, limit);
        let path = self.name(&format!("pod{}", identity(workload, copy)), Some(parent));
        let group = self.add(Some(parent), path, GroupKind::Pod(class), cpu)?;
        for (container, granted) in pod.running().zip(granted) {
            let exclusive = &granted.cpus;
            // A request that is written counts, even if it is 0; else the limit does.
            let limit = pod.container_cpu_limit(container);
            let request = container.resources.cpu_request.or(limit).unwrap_or(Quantity::ZERO);
            let cpuset = exclusive.clone().or_else(|| self.shared.clone());
            let limit = limit.filter(|_| has_quota(exclusive.is_some()));
            let cpu = Cpu {
                shares: Some(shares_of_milli(request.as_milli())),
                quota_us: self.quota(limit),
                period_us: self.node.period_us,
                cpuset,
            };
            let path = self.container_path(group, "cri-containerd", &container.name);
            let group = self.add(Some(group), path, GroupKind::Container, cpu)?;
            for (resource, ids) in &granted.devices {
                self.tree.devices.push(DeviceGrant {
                    container: self.tree.containers.len(),
                    resource: resource.clone(),
                    ids: ids.clone(),
                });
            }
            self.tree.containers.push(Running {
                group,
                workload: Some(placing.index),
                copy,
                name: &container.name,
                is_exclusive: exclusive.is_some(),
                load: container.load.as_ref(),
            });
        }
        Ok(())
    }

    fn standalone(&mut self) -> Result<(), TreeError> {
        let total: u64 = self.manifest.standalone.iter().map(|it| u64::from(it.copies)).sum();
        if total > PODS_MAX {
            return Err(TreeError::TooManyPods { pods: total });
        }
        for standalone in &self.manifest.standalone {
            let parent = self.parent_of(standalone)?;
            let cpuset = match &standalone.cpuset {
                Some(cpus) => {
                    let there: CpuList = cpus.iter().filter(|cpu| *cpu < self.node.cpus).collect();
                    if there.is_empty() {
                        let (name, cpus) = (standalone.name.clone(), cpus.clone());
                        return Err(TreeError::NoSuchCpus { name, cpus });
                    }
                    Some(there)
                }
                None => None,
            };
            for copy in 0..standalone.copies {
                let name = match standalone.is_numbered {
                    false => standalone.name.clone(),
                    true => format!("{}-{}", standalone.name, copy + 1),
                };
                let cpu = Cpu {
                    shares: standalone.shares,
                    quota_us: self.rounded(standalone.quota_us, standalone.period_us),
                    period_us: standalone.period_us,
                    cpuset: cpuset.clone(),
                };
                let path = self.container_path(parent, "docker", &name);
                let group = self.add(Some(parent), path, GroupKind::Container, cpu)?;
                self.tree.containers.push(Running {
                    group,
                    workload: None,
                    copy,
                    name: &standalone.name,
                    is_exclusive: false,
                    load: standalone.load.as_ref(),
                });
            }
        }
        Ok(())
    }

    fn parent_of(&mut self, standalone: &Standalone) -> Result<usize, TreeError> {
        let default = match self.node.driver {
            Driver::Systemd => "system.slice",
            Driver::Cgroupfs => "docker",
        };
        let name = standalone.cgroup_parent.as_deref().unwrap_or(default);
        let mut parent = None;
        for path in self.levels(name) {
            parent = Some(match self.paths.get(&path) {
                Some(index) => *index,
                None => {
                    let period_us = PERIOD_DEFAULT_US;
                    let cpu = Cpu { shares: None, quota_us: None, period_us, cpuset: None };
                    self.add(parent, path, GroupKind::Parent, cpu)?
                }
            });
        }
        parent.ok_or_else(|| TreeError::SameGroup { path: name.to_owned() })
    }

    /// The paths of a group and of what it is in: `a/b`, or with systemd `a-b.slice`, is in `a`.
    fn levels(&self, name: &str) -> Vec<String> {
        let mut path = String::new();
        let name = name.trim_matches('/');
        let slice = name.strip_suffix(".slice").filter(|_| self.node.driver == Driver::Systemd);
        let parts: Vec<String> = match slice.filter(|slice| !slice.contains('/')) {
            Some(slice) => {
                let ends = slice.match_indices('-').map(|(at, _)| at).chain([slice.len()]);
                ends.map(|end| format!("{}.slice", &slice[..end])).collect()
            }
            None => name.split('/').map(str::to_owned).collect(),
        };
        let mut levels = Vec::new();
        for part in parts {
            path = format!("{path}/{part}");
            levels.push(path.clone());
        }
        levels
    }

    /// A group that the kubelet makes.
    fn kubelet_cpu(&self, shares: u64, limit: Option<Quantity>) -> Cpu {
        let quota_us = self.quota(limit);
        // Without a quota the period stays what the kernel made it.
        let period_us = quota_us.map_or(PERIOD_DEFAULT_US, |_| self.node.period_us);
        Cpu { shares: Some(shares), quota_us, period_us, cpuset: None }
    }

    fn quota(&self, limit: Option<Quantity>) -> Option<u64> {
        let period_us = self.node.period_us;
        self.rounded(quota_of_milli(limit?.as_milli(), period_us), period_us)
    }

    fn rounded(&self, quota_us: Option<u64>, period_us: u64) -> Option<u64> {
        let rounds = self.node.driver == Driver::Systemd && self.node.systemd_rounds;
        quota_us.map(|quota| if rounds { systemd_quota(quota, period_us) } else { quota })
    }

    /// The path of one of the kubelet's groups: with systemd, a slice has its parents in its name.
    fn name(&self, name: &str, parent: Option<usize>) -> String {
        let above = parent.map_or("", |parent| self.tree.groups[parent].path.as_str());
        match self.node.driver {
            Driver::Cgroupfs => format!("{above}/{name}"),
            Driver::Systemd => {
                let last = above.rsplit('/').next().unwrap_or_default();
                let prefix = last.strip_suffix(".slice").unwrap_or(last);
                let dash = if prefix.is_empty() { "" } else { "-" };
                // A dash in a slice's name would be another level.
                format!("{above}/{prefix}{dash}{}.slice", name.replace('-', "_"))
            }
        }
    }

    fn container_path(&self, parent: usize, prefix: &str, name: &str) -> String {
        let above = &self.tree.groups[parent].path;
        match self.node.driver {
            Driver::Systemd => format!("{above}/{prefix}-{name}.scope"),
            Driver::Cgroupfs => format!("{above}/{name}"),
        }
    }

    fn add(
        &mut self,
        parent: Option<usize>,
        path: String,
        kind: GroupKind,
        cpu: Cpu,
    ) -> Result<usize, TreeError> {
        if self.tree.groups.len() == GROUPS_MAX {
            return Err(TreeError::TooManyGroups);
        }
        if self.paths.insert(path.clone(), self.tree.groups.len()).is_some() {
            return Err(TreeError::SameGroup { path });
        }
        let formula = match kind {
            GroupKind::Container | GroupKind::Parent => self.node.runtime_formula,
            _ => self.node.kubelet_formula,
        };
        let weight = cpu.shares.map_or(WEIGHT_DEFAULT, |shares| formula.weight(shares));
        let kernel_weight = match self.node.cgroups {
            CgroupVersion::V2 => kernel_weight(weight),
            CgroupVersion::V1 => kernel_shares(cpu.shares.unwrap_or(crate::cgroup::SHARES_DEFAULT)),
        };
        self.tree.groups.push(Group {
            path,
            parent,
            kind,
            shares: cpu.shares,
            weight,
            kernel_weight,
            quota_us: cpu.quota_us,
            period_us: cpu.period_us,
            burst_us: 0,
            cpuset: cpu.cpuset,
            idle: false,
        });
        Ok(self.tree.groups.len() - 1)
    }
}

/// What tells a pod apart: its own identity where there is one, else its name.
fn identity(workload: &Workload, copy: u32) -> String {
    if let Some(uid) = &workload.uid {
        return uid.clone();
    }
    let Workload { kind, namespace, name, copies, .. } = workload;
    let kind = kind.name().to_lowercase();
    let number = if *copies > 1 { format!(":{copy}") } else { String::new() };
    // No name has a colon: no two pods are the same.
    format!("{namespace}:{kind}:{name}{number}")
}

fn show(workload: &Workload) -> String {
    format!("{}/{}/{}", workload.namespace, workload.kind.name(), workload.name)
}

fn rejected(workload: &Workload, refused: &Refused) -> Note {
    Note::Rejected { pod: show(workload), why: refused.to_string() }
}
