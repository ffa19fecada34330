//! What changed about cpusets between kernels.

/// Which of a partition's CPUs before a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldCpus {
    /// None.
    None,
    /// Those it was granted.
    Granted,
    /// Those it claimed.
    Claimed,
}

/// Which partitions conflict with `isolcpus=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootConflict {
    /// None.
    None,
    /// All.
    Any,
    /// Those that are balanced.
    Root,
}

/// What a kernel's cpusets differ in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpusetRules {
    /// There are `cpuset.cpus.exclusive`, remote partitions and `cpuset.cpus.isolated` (6.7).
    pub exclusive: bool,
    /// Fair servers have deadline bandwidth on each CPU, which needs a CPU to be on.
    pub fair_server: bool,
    /// What a task asked for by sched_setaffinity(2) is kept, and its mask is made of that and its
    /// cpuset whenever that changes (6.2). Before, a changed cpuset replaces the mask.
    pub keeps_requested_masks: bool,
    /// Tasks of the root group may have CPUs in their masks that are offline; before, the mask
    /// becomes the root's effective CPUs with each change of those.
    pub root_masks_have_offline_cpus: bool,
    /// Writing `root` or `isolated` to an invalid partition tries again; before, it stays invalid.
    pub write_revives: bool,
    /// A partition that hotplug took all CPUs from says so.
    pub hotplug_reason: bool,
    /// A partition lost to a sibling's new CPUs says so.
    pub exclusive_reason: bool,
    /// A write to `cpuset.cpus` tells an invalid partition that it would get no CPUs, whatever its
    /// parent is.
    pub judges_cpus: bool,
    /// By which CPUs, besides the new ones, a write to `cpuset.cpus` judges whether an invalid
    /// partition's tasks would be left without: one that had none of them online stays invalid.
    pub judges_also: OldCpus,
    /// Partitions do not mind siblings that have their CPUs in `cpuset.cpus`: the partition gets
    /// them, and of CPUs of siblings' partitions or `cpuset.cpus.exclusive` it gets none.
    pub siblings_share: bool,
    /// Which partitions may not have CPUs that `isolcpus=` sets apart.
    pub boot_conflict: BootConflict,
    /// That is looked at, too, when a partition changes between `root` and `isolated`.
    pub switch_checks_boot: bool,
    /// Of partitions' domains, CPUs that `isolcpus=` sets apart are left out, as they always are of
    /// the root group's.
    pub isolcpus_in_partitions: bool,
    /// CPUs that `isolcpus=` sets apart are always in `cpuset.cpus.isolated`; before, partitions that
    /// had them take them out.
    pub boot_stays_isolated: bool,
    /// A task that moves between groups with the same effective CPUs and nodes keeps its mask as it
    /// is, offline CPUs included.
    pub attach_keeps_same: bool,
}

impl CpusetRules {
    pub(crate) const V6_1: Self = Self {
        exclusive: false,
        fair_server: false,
        keeps_requested_masks: false,
        root_masks_have_offline_cpus: false,
        write_revives: false,
        hotplug_reason: true,
        exclusive_reason: true,
        judges_cpus: false,
        judges_also: OldCpus::None,
        boot_conflict: BootConflict::None,
        switch_checks_boot: false,
        isolcpus_in_partitions: true,
        boot_stays_isolated: false,
        siblings_share: false,
        attach_keeps_same: false,
    };
    pub(crate) const V6_12: Self = Self {
        exclusive: true,
        fair_server: true,
        keeps_requested_masks: true,
        root_masks_have_offline_cpus: true,
        write_revives: true,
        hotplug_reason: false,
        exclusive_reason: false,
        attach_keeps_same: true,
        judges_also: OldCpus::Granted,
        boot_conflict: BootConflict::Any,
        isolcpus_in_partitions: false,
        ..Self::V6_1
    };
    pub(crate) const V6_18: Self = Self {
        judges_cpus: true,
        judges_also: OldCpus::Claimed,
        boot_conflict: BootConflict::Root,
        ..Self::V6_12
    };
    pub(crate) const V7_2: Self = Self {
        siblings_share: true,
        judges_also: OldCpus::None,
        boot_stays_isolated: true,
        switch_checks_boot: true,
        ..Self::V6_18
    };
}
