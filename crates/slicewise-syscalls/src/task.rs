//! A task as the system calls see it.

use slicewise_sched::{Attr, CpuSet, DlParams, Nice, Policy, RtPriority};

/// A thread's number.
pub type Pid = i32;

/// The numbers of policies.
pub mod policy {
    /// `SCHED_OTHER`.
    pub const OTHER: u32 = 0;
    /// `SCHED_FIFO`.
    pub const FIFO: u32 = 1;
    /// `SCHED_RR`.
    pub const RR: u32 = 2;
    /// `SCHED_BATCH`.
    pub const BATCH: u32 = 3;
    /// `SCHED_IDLE`.
    pub const IDLE: u32 = 5;
    /// `SCHED_DEADLINE`.
    pub const DEADLINE: u32 = 6;
    /// `SCHED_EXT`.
    pub const EXT: u32 = 7;
    /// May be added to the policy of `sched_setscheduler`, and comes with that of
    /// `sched_getscheduler`.
    pub const RESET_ON_FORK: u32 = 0x4000_0000;

    /// `SCHED_FIFO`, or the number if there is no such policy.
    pub fn name(policy: u32) -> String {
        match policy {
            OTHER => "SCHED_OTHER".to_owned(),
            FIFO => "SCHED_FIFO".to_owned(),
            RR => "SCHED_RR".to_owned(),
            BATCH => "SCHED_BATCH".to_owned(),
            IDLE => "SCHED_IDLE".to_owned(),
            DEADLINE => "SCHED_DEADLINE".to_owned(),
            EXT => "SCHED_EXT".to_owned(),
            other => format!("policy {other}"),
        }
    }

    pub(crate) fn is_rt(policy: u32) -> bool {
        matches!(policy, FIFO | RR)
    }
}

/// `CAP_SYS_NICE`, as a bit of a set of capabilities.
pub const CAP_SYS_NICE: u64 = 1 << 23;

/// Who a task is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Real user.
    pub uid: u32,
    /// Effective user.
    pub euid: u32,
    /// Capabilities it could use.
    pub permitted: u64,
    /// Capabilities it uses.
    pub effective: u64,
}

impl Credentials {
    /// The superuser, with all capabilities.
    pub const ROOT: Self = Self { uid: 0, euid: 0, permitted: u64::MAX, effective: u64::MAX };

    /// A user without any capability.
    pub fn user(uid: u32) -> Self {
        Self { uid, euid: uid, permitted: 0, effective: 0 }
    }

    /// Has `CAP_SYS_NICE`.
    pub fn may_nice(&self) -> bool {
        self.effective & CAP_SYS_NICE != 0
    }
}

/// Soft limits of setrlimit(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// `RLIMIT_NICE`: the nice value may fall to 20 minus this.
    pub nice: u64,
    /// `RLIMIT_RTPRIO`: the highest real-time priority.
    pub rtprio: u64,
}

/// A cgroup, as far as `RT_GROUP_SCHED` looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtGroup {
    /// `cpu.rt_runtime_us`; -1 is no limit.
    pub runtime_us: i64,
}

/// A utilisation clamp that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clamp {
    /// 0 to 1024.
    pub value: u32,
    /// Somebody has set it; otherwise it follows the policy.
    pub user_defined: bool,
}

/// A task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// Process group.
    pub pgrp: Pid,
    /// Who it is.
    pub credentials: Credentials,
    /// What it is limited to.
    pub limits: Limits,
    /// Policy number, without reset-on-fork.
    pub policy: u32,
    /// Nice value, kept while the policy is a real-time one.
    pub nice: Nice,
    /// 1 to 99 for `SCHED_FIFO` and `SCHED_RR`, else 0.
    pub rt_priority: u32,
    /// The kernel's effective priority, as field 18 of `/proc/PID/stat` plus 100.
    pub prio: i32,
    /// What children begin with.
    pub normal_prio: i32,
    /// Children start as `SCHED_OTHER`.
    pub reset_on_fork: bool,
    /// A slice of its own, ns.
    pub slice_ns: Option<u64>,
    /// The reservation, while the policy is `SCHED_DEADLINE`.
    pub deadline: DlParams,
    /// A deadline task that sleeps, and whose zero-lag time is past; so is one that has been asleep
    /// since before it became one. See [`crate::System::zero_lag`].
    pub inactive: bool,
    /// Clamps of utilisation from below and above.
    pub clamps: [Clamp; 2],
    /// The CPUs it may use, as sched_setaffinity(2) and its cpuset leave them.
    pub cpus: CpuSet,
    /// The CPUs of its cpuset.
    pub cpuset: CpuSet,
    /// Which root domain it is in.
    pub domain: usize,
    /// Its cgroup, if that is not the root group or an autogroup.
    pub group: Option<RtGroup>,
    /// Its CPUs are fixed, as those of many kernel threads are.
    pub fixed_cpus: bool,
    /// It is a CPU's stopper.
    pub stopper: bool,
    /// A BPF scheduler has barred it from `SCHED_EXT`.
    pub ext_disallowed: bool,
    /// CFS kernels: its slice in ns, which depends on who else is queued. Told by
    /// sched_rr_get_interval(2).
    pub cfs_slice_ns: u64,
    /// No fair task is queued on its CPU: then it has no slice.
    pub cpu_without_fair: bool,
}

/// What nobody has set.
pub(crate) const CLAMPS_NONE: [Clamp; 2] =
    [Clamp { value: 0, user_defined: false }, Clamp { value: 1024, user_defined: false }];

impl Task {
    /// An ordinary task at nice 0 that may run anywhere.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            pgrp: 0,
            credentials,
            limits: Limits::default(),
            policy: policy::OTHER,
            nice: Nice::default(),
            rt_priority: 0,
            prio: 120,
            normal_prio: 120,
            reset_on_fork: false,
            slice_ns: None,
            deadline: DlParams::default(),
            inactive: false,
            clamps: CLAMPS_NONE,
            cpus: CpuSet::All,
            cpuset: CpuSet::All,
            domain: 0,
            group: None,
            fixed_cpus: false,
            stopper: false,
            ext_disallowed: false,
            cfs_slice_ns: 0,
            cpu_without_fair: false,
        }
    }

    /// What the scheduler needs to know. Without a BPF scheduler, `SCHED_EXT` is `SCHED_OTHER`.
    pub fn attr(&self) -> Attr {
        let priority = RtPriority::new(self.rt_priority.into()).or(RtPriority::new(1));
        let policy = match (self.policy, priority) {
            (policy::FIFO, Some(priority)) => Policy::Fifo(priority),
            (policy::RR, Some(priority)) => Policy::Rr(priority),
            (policy::BATCH, _) => Policy::Batch,
            (policy::IDLE, _) => Policy::Idle,
            (policy::DEADLINE, _) => Policy::Deadline(self.deadline),
            _ => Policy::Normal,
        };
        Attr { policy, nice: self.nice, slice_ns: self.slice_ns, reset_on_fork: self.reset_on_fork }
    }

    pub(crate) fn is_deadline(&self) -> bool {
        self.policy == policy::DEADLINE
    }

    /// What it has reserved.
    pub fn bandwidth(&self) -> u64 {
        if self.is_deadline() { self.deadline.bandwidth() } else { 0 }
    }

    /// The kernel's priority for a policy, a real-time priority and a nice value.
    pub(crate) fn prio_of(policy: u32, rt_priority: u32, nice: Nice) -> i32 {
        match policy {
            policy::DEADLINE => -1,
            policy if policy::is_rt(policy) => 99 - rt_priority.min(99) as i32,
            _ => 120 + i32::from(nice.get()),
        }
    }

    /// A new nice value for a task whose policy stays.
    pub(crate) fn renice(&mut self, nice: Nice) {
        if self.nice == nice {
            return;
        }
        self.nice = nice;
        if !self.is_deadline() && !policy::is_rt(self.policy) {
            self.prio = Self::prio_of(self.policy, 0, nice);
            self.normal_prio = self.prio;
        }
    }
}
