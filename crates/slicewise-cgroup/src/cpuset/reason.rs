//! Why a partition is invalid, and why a write or a move is refused.

use core::fmt;

use super::{CpusetRules, ListError};

/// Why a partition is invalid, as `cpuset.cpus.partition` says it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// None of its CPUs can be its own.
    InvalidCpus,
    /// Its parent wants to be a partition and is none.
    InvalidParent,
    /// Its parent is a member.
    NotPartition,
    /// A sibling has or claims some of its CPUs.
    NotExclusive,
    /// Tasks of its parent, or its own, would be left without a CPU.
    NoCpus,
    /// All its CPUs went offline.
    Hotplug,
    /// It has no CPUs said to be its own.
    Empty,
    /// Boot parameters keep all or some of its CPUs out of domains.
    Housekeeping,
    /// The caller has no CAP_SYS_ADMIN, which a remote partition needs.
    Access,
    /// There is a remote partition below it.
    RemoteBelow,
}

impl Reason {
    /// What the kernel prints.
    pub fn text(self, rules: &CpusetRules) -> &'static str {
        match self {
            Self::InvalidCpus if rules.exclusive => "Invalid cpu list in cpuset.cpus.exclusive",
            Self::InvalidCpus => "Invalid cpu list in cpuset.cpus",
            Self::InvalidParent => "Parent is an invalid partition root",
            Self::NotPartition => "Parent is not a partition root",
            Self::NotExclusive => "Cpu list in cpuset.cpus not exclusive",
            Self::NoCpus => "Parent unable to distribute cpu downstream",
            Self::Hotplug => "No cpu available due to hotplug",
            Self::Empty if rules.exclusive => "cpuset.cpus and cpuset.cpus.exclusive are empty",
            Self::Empty => "cpuset.cpus is empty",
            Self::Housekeeping => "partition config conflicts with housekeeping setup",
            Self::Access => "Enable partition not permitted",
            Self::RemoteBelow => "Have remote partition underneath",
        }
    }

    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            Self::InvalidCpus => {
                "its cpuset.cpus.exclusive must be allowed by cpuset.cpus.exclusive of every group \
                 above it up to the nearest partition, and no other partition may have them"
            }
            Self::InvalidParent => "repair the parent's partition first",
            Self::NotPartition => {
                "make the parent a partition, or set cpuset.cpus.exclusive in it and all above it"
            }
            Self::NotExclusive => "take the CPUs out of cpuset.cpus of the siblings",
            Self::NoCpus => {
                "leave the parent a CPU for the tasks in it and in its groups that are no partitions"
            }
            Self::Hotplug => "bring one of its CPUs online",
            Self::Empty => "write cpuset.cpus or cpuset.cpus.exclusive first",
            Self::Housekeeping => {
                "boot parameters (isolcpus, nohz_full) already decide about these CPUs"
            }
            Self::Access => "be root",
            Self::RemoteBelow => "make the partitions below it members first",
        }
    }
}

/// What the cpuset controller refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpusetWhy {
    /// The list.
    List(ListError),
    /// CPUs or nodes the group cannot have, as they are not there.
    NotThere,
    /// The file cannot be written.
    ReadOnly,
    /// Not `member`, `root` or `isolated`.
    NotAPartition,
    /// Not 0 or 1.
    NotAFlag,
    /// A sibling claims some of these CPUs or nodes for itself.
    Siblings,
    /// A child has CPUs or nodes that would not be here.
    Children,
    /// The parent has not all of these.
    Parent,
    /// Exclusive without the parent being so.
    ParentNotExclusive,
    /// Tasks would be left without CPUs or memory.
    NoRoom,
    /// The root group's cannot be changed.
    Root,
    /// Bandwidth that is admitted would not fit.
    Bandwidth,
    /// There are groups or tasks in it.
    NotEmpty,
    /// The group has groups with the controller in it (v2): no task can be in it too.
    InternalProcess,
    /// The group is in one that has both tasks and groups (v2).
    InvalidDomain,
    /// A mask without a CPU the task may use.
    EmptyMask,
    /// No such task.
    NoTask,
    /// The last CPU stays.
    LastCpu,
}

impl fmt::Display for CpusetWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List(error) => return error.fmt(f),
            Self::NotThere => "some of these are not there",
            Self::ReadOnly => "the file cannot be written",
            Self::NotAPartition => "must be `member`, `root` or `isolated`",
            Self::NotAFlag => "must be 0 or 1",
            Self::Siblings => "a sibling has or claims some of them for itself",
            Self::Children => "a group in it has some that it would not have any more",
            Self::Parent => "the parent has not all of them",
            Self::ParentNotExclusive => "the parent is not exclusive, or a child is",
            Self::NoRoom => "tasks would be left without a CPU or memory: the list is empty",
            Self::Root => "the root group's cannot be changed",
            Self::Bandwidth => "admitted deadline bandwidth would not fit",
            Self::NotEmpty => "there are groups or tasks in it",
            Self::InternalProcess => {
                "there are tasks in groups below it, and it hands the controller down to them: put \
                 the task into a group of its own"
            }
            Self::InvalidDomain => {
                "a group above it has tasks of its own and hands the controller down: move those first"
            }
            Self::EmptyMask => "none of these CPUs is online and allowed by the cpuset",
            Self::NoTask => "there is no such task",
            Self::LastCpu => "the last CPU stays online",
        })
    }
}
