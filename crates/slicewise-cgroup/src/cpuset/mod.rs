//! The cpuset controller's files, v2 and v1: which CPUs groups and their tasks may use, and which
//! CPUs the scheduler balances among each other.
//!
//! [`Cpusets`] is all groups, tasks and CPUs of a machine. What is written to a file moves through the
//! groups as it does in a kernel: from a group down, siblings and parents included where partitions
//! are made or lost.

mod boot;
mod list;
mod partition;
mod reason;
mod rules;
mod tasks;
mod v1;

pub use boot::{Boot, BootError, BootProblem};
pub use list::{ListError, ListProblem, parse_list};
pub use reason::{CpusetWhy, Reason};
pub use rules::{BootConflict, CpusetRules, OldCpus};
pub use tasks::CpusetTask;

use slicewise_sched::{CpuId, CpuSet};

use crate::{Errno, Refused, Rules, Version, Why, number};
use tasks::Task;

/// A group of [`Cpusets`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CpusetId(pub(crate) usize);

/// A file of the controller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CpusetFile {
    /// `cpuset.cpus`.
    Cpus,
    /// v2 `cpuset.cpus.effective`, v1 `cpuset.effective_cpus`.
    CpusEffective,
    /// v2 `cpuset.cpus.exclusive`.
    CpusExclusive,
    /// v2 `cpuset.cpus.exclusive.effective`.
    CpusExclusiveEffective,
    /// v2 `cpuset.cpus.isolated`, in the root alone.
    CpusIsolated,
    /// v2 `cpuset.cpus.partition`.
    CpusPartition,
    /// `cpuset.mems`.
    Mems,
    /// v2 `cpuset.mems.effective`, v1 `cpuset.effective_mems`.
    MemsEffective,
    /// v1 `cpuset.cpu_exclusive`.
    CpuExclusive,
    /// v1 `cpuset.mem_exclusive`.
    MemExclusive,
    /// v1 `cpuset.sched_load_balance`.
    SchedLoadBalance,
}

impl CpusetFile {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Cpus,
        Self::CpusEffective,
        Self::CpusExclusive,
        Self::CpusExclusiveEffective,
        Self::CpusIsolated,
        Self::CpusPartition,
        Self::Mems,
        Self::MemsEffective,
        Self::CpuExclusive,
        Self::MemExclusive,
        Self::SchedLoadBalance,
    ];

    /// What the file is called; `None` where the interface has none.
    pub fn name(self, version: Version) -> Option<&'static str> {
        let (v2, v1) = match self {
            Self::Cpus => (Some("cpuset.cpus"), Some("cpuset.cpus")),
            Self::CpusEffective => (Some("cpuset.cpus.effective"), Some("cpuset.effective_cpus")),
            Self::CpusExclusive => (Some("cpuset.cpus.exclusive"), None),
            Self::CpusExclusiveEffective => (Some("cpuset.cpus.exclusive.effective"), None),
            Self::CpusIsolated => (Some("cpuset.cpus.isolated"), None),
            Self::CpusPartition => (Some("cpuset.cpus.partition"), None),
            Self::Mems => (Some("cpuset.mems"), Some("cpuset.mems")),
            Self::MemsEffective => (Some("cpuset.mems.effective"), Some("cpuset.effective_mems")),
            Self::CpuExclusive => (None, Some("cpuset.cpu_exclusive")),
            Self::MemExclusive => (None, Some("cpuset.mem_exclusive")),
            Self::SchedLoadBalance => (None, Some("cpuset.sched_load_balance")),
        };
        match version {
            Version::V2 => v2,
            Version::V1 => v1,
        }
    }

    /// The file of this name.
    pub fn named(name: &str, version: Version) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name(version) == Some(name))
    }

    fn exists(self, version: Version, rules: &CpusetRules, is_root: bool) -> bool {
        self.name(version).is_some()
            && match self {
                Self::CpusExclusive | Self::CpusExclusiveEffective => rules.exclusive && !is_root,
                Self::CpusIsolated => rules.exclusive && is_root,
                Self::CpusPartition => !is_root,
                Self::Cpus | Self::Mems => !is_root || version == Version::V1,
                _ => true,
            }
    }
}

/// What a group asks `cpuset.cpus.partition` to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Partition {
    /// Its CPUs are its parent's.
    Member,
    /// Its CPUs are its own, balanced among each other.
    Root,
    /// Its CPUs are its own, and not balanced.
    Isolated,
}

impl Partition {
    fn word(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Root => "root",
            Self::Isolated => "isolated",
        }
    }
}

/// A group.
#[derive(Clone, Debug)]
struct Set {
    parent: usize,
    depth: u32,
    /// In the order they were made.
    children: Vec<usize>,
    exists: bool,
    /// It hands the controller down: it had a child.
    hands_down: bool,
    cpus: CpuSet,
    exclusive: CpuSet,
    /// What of its exclusive CPUs it is granted.
    granted: CpuSet,
    effective: CpuSet,
    partition: Partition,
    is_valid: bool,
    is_remote: bool,
    reason: Option<Reason>,
    mems: CpuSet,
    mems_effective: CpuSet,
    cpu_exclusive: bool,
    mem_exclusive: bool,
    load_balance: bool,
}

impl Set {
    fn is_partition(&self) -> bool {
        self.partition != Partition::Member && self.is_valid
    }

    fn is_broken(&self) -> bool {
        self.partition != Partition::Member && !self.is_valid
    }

    /// The CPUs it would have for itself: `cpuset.cpus.exclusive`, else `cpuset.cpus`.
    fn claimed(&self) -> &CpuSet {
        if self.exclusive.is_empty() { &self.cpus } else { &self.exclusive }
    }
}

/// The CPUs and memory nodes of a machine, for its cpusets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpusetMachine {
    /// CPUs 0 to `cpus - 1` are there.
    pub cpus: u32,
    /// Memory nodes 0 to `nodes - 1` are there and have memory.
    pub nodes: u32,
}

/// All cpusets, tasks and CPUs of a machine.
#[derive(Clone, Debug)]
pub struct Cpusets {
    version: Version,
    rules: CpusetRules,
    machine: CpusetMachine,
    boot: Boot,
    online: CpuSet,
    sets: Vec<Set>,
    tasks: Vec<Task>,
    /// The mask of tasks in the root group that asked for nothing: new ones inherit it.
    root_mask: CpuSet,
    /// As the scheduler knows them; not every change of a group tells it.
    domains: Vec<CpuSet>,
    are_domains_stale: bool,
    /// `cpuset.cpus.isolated`: what `isolcpus=` says, and what isolated partitions add and take away.
    isolated_list: CpuSet,
}

const NONE: CpuSet = CpuSet::Inline(0);
/// Debian's `MAX_NUMNODES`.
const NODES_POSSIBLE: u32 = 1024;

impl Cpusets {
    /// The root group.
    pub const ROOT: CpusetId = CpusetId(0);

    /// A machine after boot: the root group alone, no tasks but the kernel's, all CPUs online.
    pub fn new(version: Version, rules: &Rules, machine: CpusetMachine, boot: Boot) -> Self {
        let all = CpuSet::first(machine.cpus);
        let online = boot.online(machine.cpus);
        let nodes = CpuSet::first(machine.nodes);
        let root = Set {
            parent: 0,
            depth: 0,
            children: Vec::new(),
            exists: true,
            hands_down: true,
            cpus: all.clone(),
            exclusive: NONE,
            granted: all.clone(),
            effective: online.clone(),
            partition: Partition::Root,
            is_valid: true,
            is_remote: false,
            reason: None,
            mems: nodes.clone(),
            mems_effective: nodes,
            cpu_exclusive: true,
            mem_exclusive: true,
            load_balance: true,
        };
        let rules = rules.cpusets;
        let isolated_list = boot.isolated_domain.clone();
        let boot_isolated = isolated_list.clone();
        let mut it = Self {
            version,
            rules,
            machine,
            boot,
            online,
            sets: vec![root],
            tasks: Vec::new(),
            root_mask: all.minus(&boot_isolated),
            domains: Vec::new(),
            are_domains_stale: true,
            isolated_list,
        };
        it.rebuild_domains();
        it
    }

    fn is_v2(&self) -> bool {
        self.version == Version::V2
    }

    /// mkdir(2) of a group. On v2 this includes `+cpuset` in `cgroup.subtree_control` of the parent.
    ///
    /// # Errors
    /// `ENOENT` for a parent that does not exist; `EOPNOTSUPP` where the parent is in a group that has
    /// both tasks and groups, so that it cannot hand the controller down (v2).
    pub fn mkdir(&mut self, parent: CpusetId) -> Result<CpusetId, Refused> {
        let at = self.existing(parent)?;
        if self.is_v2() && !self.sets[at].hands_down && !self.is_valid_domain(at) {
            return Err(refused(Errno::EOPNOTSUPP, CpusetWhy::InvalidDomain));
        }
        self.sets[at].hands_down = true;
        let above = &self.sets[at];
        let is_v2 = self.is_v2();
        let inherited = |set: &CpuSet| if is_v2 { set.clone() } else { NONE };
        let set = Set {
            parent: at,
            depth: above.depth + 1,
            children: Vec::new(),
            exists: true,
            hands_down: false,
            cpus: NONE,
            exclusive: NONE,
            granted: NONE,
            effective: inherited(&above.effective),
            partition: Partition::Member,
            is_valid: false,
            is_remote: false,
            reason: None,
            mems: NONE,
            mems_effective: inherited(&above.mems_effective),
            cpu_exclusive: false,
            mem_exclusive: false,
            load_balance: true,
        };
        let id = self.sets.len();
        self.sets.push(set);
        self.sets[at].children.push(id);
        Ok(CpusetId(id))
    }

    /// rmdir(2) of a group; a partition's CPUs go back to its parent.
    ///
    /// # Errors
    /// `ENOENT` for one that does not exist; `EBUSY` for the root and for groups with groups or tasks
    /// in them.
    pub fn rmdir(&mut self, group: CpusetId) -> Result<(), Refused> {
        let at = self.existing(group)?;
        if at == 0 || !self.sets[at].children.is_empty() || self.has_tasks(at) {
            return Err(refused(Errno::EBUSY, CpusetWhy::NotEmpty));
        }
        let before = self.partitioned();
        if self.sets[at].is_partition() {
            self.are_domains_stale = true;
            self.become_member(at);
        }
        let parent = self.sets[at].parent;
        self.sets[at].exists = false;
        self.sets[parent].children.retain(|child| *child != at);
        self.note_partitions(&before);
        self.rebuild_domains();
        Ok(())
    }

    fn existing(&self, group: CpusetId) -> Result<usize, Refused> {
        match self.sets.get(group.0) {
            Some(set) if set.exists => Ok(group.0),
            _ => Err(Refused::NO_FILE),
        }
    }

    /// A group's parent; `None` for the root and what does not exist.
    pub fn parent(&self, group: CpusetId) -> Option<CpusetId> {
        let set = self.sets.get(group.0).filter(|set| set.exists && group != Self::ROOT)?;
        Some(CpusetId(set.parent))
    }

    /// The groups that exist, the root first, parents before their children.
    pub fn groups(&self) -> impl Iterator<Item = CpusetId> + '_ {
        let ids = 0..self.sets.len();
        ids.filter(|id| self.sets[*id].exists).map(CpusetId)
    }

    /// A write(2) of this text to a group's file. Nothing changes if it is refused.
    ///
    /// # Errors
    /// What the kernel refuses; `ENOENT` for a group or file that does not exist.
    pub fn write(&mut self, group: CpusetId, file: CpusetFile, text: &[u8]) -> Result<(), Refused> {
        let at = self.existing(group)?;
        if !file.exists(self.version, &self.rules, at == 0) {
            return Err(Refused::NO_FILE);
        }
        if text.is_empty() {
            return Ok(());
        }
        let before = self.partitioned();
        let written = match (self.version, file) {
            (
                _,
                CpusetFile::CpusEffective
                | CpusetFile::CpusExclusiveEffective
                | CpusetFile::CpusIsolated
                | CpusetFile::MemsEffective,
            ) => Err(refused(Errno::EINVAL, CpusetWhy::ReadOnly)),
            (Version::V2, CpusetFile::Cpus) => self.write_cpus(at, text),
            (Version::V2, CpusetFile::CpusExclusive) => self.write_exclusive(at, text),
            (Version::V2, CpusetFile::CpusPartition) => self.write_partition(at, text),
            (Version::V2, _) => self.write_mems(at, text),
            (Version::V1, _) => self.write_v1(at, file, text),
        };
        self.note_partitions(&before);
        self.rebuild_domains();
        written
    }

    /// What a group's file reads.
    ///
    /// # Errors
    /// `ENOENT` for a group or file that does not exist.
    pub fn read(&self, group: CpusetId, file: CpusetFile) -> Result<String, Refused> {
        let at = self.existing(group)?;
        if !file.exists(self.version, &self.rules, at == 0) {
            return Err(Refused::NO_FILE);
        }
        let set = &self.sets[at];
        let flag = |on: bool| u8::from(on).to_string();
        let text = match file {
            CpusetFile::Cpus => set.cpus.to_string(),
            CpusetFile::CpusEffective => set.effective.to_string(),
            CpusetFile::CpusExclusive => set.exclusive.to_string(),
            CpusetFile::CpusExclusiveEffective => set.granted.to_string(),
            CpusetFile::CpusIsolated => self.isolated_list.to_string(),
            CpusetFile::CpusPartition => self.partition_text(at),
            CpusetFile::Mems => set.mems.to_string(),
            CpusetFile::MemsEffective => set.mems_effective.to_string(),
            CpusetFile::CpuExclusive => flag(set.cpu_exclusive),
            CpusetFile::MemExclusive => flag(set.mem_exclusive),
            CpusetFile::SchedLoadBalance => flag(set.load_balance),
        };
        Ok(text + "\n")
    }

    fn partition_text(&self, at: usize) -> String {
        let set = &self.sets[at];
        let word = set.partition.word();
        match (set.is_broken(), set.reason) {
            (false, _) => word.to_owned(),
            (true, None) => format!("{word} invalid"),
            (true, Some(reason)) => format!("{word} invalid ({})", reason.text(&self.rules)),
        }
    }

    /// A group's effective CPUs; `None` if it does not exist.
    pub fn effective(&self, group: CpusetId) -> Option<&CpuSet> {
        self.existing(group).ok().map(|at| &self.sets[at].effective)
    }

    /// The CPUs a group leaves its tasks, before what they ask for themselves; `None` if it does not
    /// exist.
    pub fn allowed(&self, group: CpusetId) -> Option<CpuSet> {
        self.existing(group).ok().map(|at| self.allowed_in(at))
    }

    /// Why a group's partition is invalid, where the kernel says so.
    pub fn partition_reason(&self, group: CpusetId) -> Option<Reason> {
        let set = self.sets.get(group.0).filter(|set| set.exists && set.is_broken())?;
        set.reason
    }

    /// Takes a CPU offline.
    ///
    /// # Errors
    /// `ENOENT` for one that is not there; `EBUSY` for the last.
    pub fn offline(&mut self, cpu: CpuId) -> Result<(), Refused> {
        if cpu.0 >= self.machine.cpus {
            return Err(Refused::NO_FILE);
        }
        let left = self.online.minus(&CpuSet::one(cpu));
        if left.is_empty() {
            return Err(refused(Errno::EBUSY, CpusetWhy::LastCpu));
        }
        self.hotplug(left);
        Ok(())
    }

    /// Brings a CPU back.
    ///
    /// # Errors
    /// `ENOENT` for one that is not there.
    pub fn online(&mut self, cpu: CpuId) -> Result<(), Refused> {
        if cpu.0 >= self.machine.cpus {
            return Err(Refused::NO_FILE);
        }
        self.hotplug(self.online.or(&CpuSet::one(cpu)));
        Ok(())
    }

    fn hotplug(&mut self, online: CpuSet) {
        if online == self.online {
            return;
        }
        self.online = online;
        let before = self.partitioned();
        match self.version {
            Version::V2 => self.hotplug_v2(),
            Version::V1 => self.hotplug_v1(),
        }
        self.note_partitions(&before);
        self.rebuild_domains();
    }

    /// The CPUs that are online.
    pub fn online_cpus(&self) -> &CpuSet {
        &self.online
    }

    /// The sets of CPUs that are balanced among each other: root domains in the kernel, lowest CPU
    /// first. What is in none is in [`Cpusets::isolated`] or offline.
    pub fn sched_domains(&self) -> &[CpuSet] {
        &self.domains
    }

    /// What partitions have: isolated CPUs, and all they took from the root group.
    fn partitioned(&self) -> (CpuSet, CpuSet) {
        match self.version {
            Version::V2 => (self.isolated_by_partitions(), self.taken_from_root()),
            Version::V1 => (NONE, NONE),
        }
    }

    fn note_partitions(&mut self, (isolated, taken): &(CpuSet, CpuSet)) {
        let (now, now_taken) = self.partitioned();
        let list = self.isolated_list.minus(&isolated.minus(&now)).or(&now.minus(isolated));
        self.isolated_list = match self.rules.boot_stays_isolated {
            true => list.or(&self.boot.isolated_domain),
            false => list,
        };
        if now_taken != *taken {
            self.update_tasks(0);
        }
    }

    fn rebuild_domains(&mut self) {
        if !core::mem::take(&mut self.are_domains_stale) && self.is_v2() {
            return;
        }
        let mut sets = match self.version {
            Version::V2 => self.domains_v2(),
            Version::V1 => self.domains_v1(),
        };
        for set in &mut sets {
            *set = set.and(&self.online);
        }
        sets.retain(|set| !set.is_empty());
        sets.sort_by_key(|set| set.iter().next());
        self.domains = sets;
    }

    /// The online CPUs no load balancing looks at: each is alone.
    pub fn isolated(&self) -> CpuSet {
        self.sched_domains().iter().fold(self.online.clone(), |left, set| left.minus(set))
    }

    /// A group and all below it, parents before their children.
    fn subtree(&self, at: usize) -> Vec<usize> {
        let mut list = vec![at];
        let mut next = 0;
        // Depth first, in the order of making.
        let mut stack: Vec<usize> = self.sets[at].children.iter().rev().copied().collect();
        while let Some(id) = stack.pop() {
            list.push(id);
            stack.extend(self.sets[id].children.iter().rev());
            next += 1;
            debug_assert!(next <= self.sets.len());
        }
        list
    }

    /// Whether it is in or the same as another.
    fn is_within(&self, mut at: usize, above: usize) -> bool {
        while self.sets[at].depth > self.sets[above].depth {
            at = self.sets[at].parent;
        }
        at == above
    }
}

fn refused(errno: Errno, why: CpusetWhy) -> Refused {
    Refused { errno, why: Why::Cpuset(why) }
}

/// A text as the kernel reads it: up to a NUL, without white space around it.
fn stripped(text: &[u8]) -> &[u8] {
    number::stripped(number::until_nul(text))
}

/// A list of CPUs or nodes that may be empty.
fn list(text: &[u8], size: u32) -> Result<CpuSet, Refused> {
    if text.len() > 4096 * 16 {
        return Err(Refused { errno: Errno::E2BIG, why: Why::TooLong });
    }
    parse_list(stripped(text), size).map_err(|error| refused(error.errno, CpusetWhy::List(error)))
}
