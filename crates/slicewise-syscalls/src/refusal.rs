//! Which rule a refused call broke. The kernel only tells the error number.

use core::fmt;

use crate::Errno;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal $errno:ident $words:literal $fix:literal;)*) => {
        /// A rule of the kernel that a call can break. Each gives one error number.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Rule {
            $(#[doc = $words] $(#[$doc])* $name,)*
        }

        impl Rule {
            /// All rules, in about the order in which the kernel checks them.
            pub const ALL: &[Rule] = &[$(Rule::$name),*];

            /// The error number it gives.
            pub fn errno(self) -> Errno {
                match self { $(Self::$name => Errno::$errno,)* }
            }

            /// A name for programs: `bandwidth-exceeded`.
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// What is not allowed, as the end of a sentence.
            pub fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }

            /// What to change.
            pub fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)* }
            }
        }
    };
}

rules! {
    NullPointer = "null-pointer" EINVAL
        "a pointer that is needed is NULL"
        "pass the structure";
    NegativePid = "negative-pid" EINVAL
        "the pid is negative"
        "pass a thread's number, or 0 for the calling thread";
    CallFlags = "call-flags" EINVAL
        "the flags argument of the call is not 0 (flags belong into sched_flags)"
        "pass 0 as the last argument";
    BadAddress = "bad-address" EFAULT
        "the pointer leads to memory that is not the caller's"
        "pass the address of a structure as large as its size says";
    AttrSize = "attr-size" E2BIG
        "the structure's size is below 48 or above 4096"
        "set size to sizeof(struct sched_attr)";
    AttrTail = "attr-tail" E2BIG
        "bytes of the structure beyond the 56 the kernel knows are not 0"
        "clear the structure before it is filled in, or use the size the kernel has written back";
    ClampNeedsSize = "clamp-needs-size" EINVAL
        "clamps are asked for in a structure too small to hold them"
        "set size to 56";
    NegativePolicy = "negative-policy" EINVAL
        "the policy is negative"
        "use a policy of sched(7)";
    NoSuchTask = "no-such-task" ESRCH
        "there is no such thread"
        "check the number: it is a thread's, and it is counted in the caller's PID namespace";
    UnknownPolicy = "unknown-policy" EINVAL
        "there is no such policy"
        "use 0 (OTHER), 1 (FIFO), 2 (RR), 3 (BATCH), 5 (IDLE), 6 (DEADLINE)";
    PolicyNotBuilt = "policy-not-built" EINVAL
        "the kernel was built without sched_ext"
        "use another policy, or a kernel with CONFIG_SCHED_CLASS_EXT";
    UnknownFlags = "unknown-flags" EINVAL
        "sched_flags has bits the kernel does not know"
        "use the flags 0x01 to 0x40 only";
    PriorityTooHigh = "priority-too-high" EINVAL
        "the priority is above 99"
        "use 1 to 99";
    DeadlineZero = "deadline-zero" EINVAL
        "the deadline is 0"
        "set sched_deadline (chrt: -D)";
    RuntimeTooShort = "runtime-too-short" EINVAL
        "the runtime is below 1024 ns"
        "reserve 1024 ns or more; times are in ns";
    TimeTooLong = "time-too-long" EINVAL
        "the deadline or the period has its highest bit set"
        "use times below 2^63 ns";
    DeadlineAfterPeriod = "deadline-after-period" EINVAL
        "the deadline is longer than the period"
        "keep runtime <= deadline <= period";
    RuntimeAfterDeadline = "runtime-after-deadline" EINVAL
        "the runtime is longer than the deadline"
        "keep runtime <= deadline <= period";
    PeriodTooShort = "period-too-short" EINVAL
        "the period is below sched_deadline_period_min_us"
        "use a longer period, or lower /proc/sys/kernel/sched_deadline_period_min_us";
    PeriodTooLong = "period-too-long" EINVAL
        "the period is above sched_deadline_period_max_us"
        "use a shorter period, or raise /proc/sys/kernel/sched_deadline_period_max_us";
    PriorityNeeded = "priority-needed" EINVAL
        "SCHED_FIFO and SCHED_RR need a priority"
        "use a priority of 1 to 99";
    PriorityNotTaken = "priority-not-taken" EINVAL
        "only SCHED_FIFO and SCHED_RR have a priority"
        "set the priority to 0";
    NiceNotAllowed = "nice-not-allowed" EPERM
        "without CAP_SYS_NICE the nice value may not fall below what RLIMIT_NICE allows"
        "raise RLIMIT_NICE of the target (systemd: LimitNICE=), or give the caller CAP_SYS_NICE";
    RtPolicyNotAllowed = "rt-policy-not-allowed" EPERM
        "without CAP_SYS_NICE a task cannot get another real-time policy while its RLIMIT_RTPRIO is 0"
        "raise RLIMIT_RTPRIO of the target (limits.conf: rtprio; systemd: LimitRTPRIO=), or give the \
         caller CAP_SYS_NICE";
    RtPriorityNotAllowed = "rt-priority-not-allowed" EPERM
        "without CAP_SYS_NICE a priority may not rise above RLIMIT_RTPRIO"
        "raise RLIMIT_RTPRIO of the target (limits.conf: rtprio; systemd: LimitRTPRIO=), or give the \
         caller CAP_SYS_NICE";
    DeadlineNotAllowed = "deadline-not-allowed" EPERM
        "only callers with CAP_SYS_NICE may ask for SCHED_DEADLINE: no limit helps"
        "give the caller CAP_SYS_NICE (systemd: AmbientCapabilities=CAP_SYS_NICE; containers: --cap-add \
         SYS_NICE)";
    IdleStays = "idle-stays" EPERM
        "without CAP_SYS_NICE a SCHED_IDLE task may only leave if RLIMIT_NICE allows its nice value"
        "raise RLIMIT_NICE of the target to 20 - nice, or give the caller CAP_SYS_NICE";
    NotOwner = "not-owner" EPERM
        "the caller's effective user is neither the real nor the effective user of the target"
        "call as that user, or give the caller CAP_SYS_NICE";
    ResetOnForkStays = "reset-on-fork-stays" EPERM
        "without CAP_SYS_NICE reset-on-fork cannot be taken back"
        "keep SCHED_FLAG_RESET_ON_FORK set, or give the caller CAP_SYS_NICE";
    InternalFlag = "internal-flag" EINVAL
        "sched_flags has 0x10000000, which is the kernel's own"
        "use the flags 0x01 to 0x40 only";
    MoreCapable = "more-capable" EPERM
        "the target has capabilities the caller has not, and the caller lacks CAP_SYS_NICE"
        "give the caller CAP_SYS_NICE, or drop the target's capabilities";
    ClampNotBuilt = "clamp-not-built" EOPNOTSUPP
        "the kernel was built without utilisation clamps"
        "leave the clamp flags out, or use a kernel with CONFIG_UCLAMP_TASK";
    ClampRange = "clamp-range" EINVAL
        "a clamp is above 1024"
        "use 0 to 1024, or all bits set for the default";
    ClampOrder = "clamp-order" EINVAL
        "the lower clamp would be above the upper one"
        "set both, the lower one not above the upper one";
    StopTask = "stop-task" EINVAL
        "the target is a CPU's stopper thread"
        "leave the kernel's migration/N threads alone";
    ExtDisallowed = "ext-disallowed" EACCES
        "the BPF scheduler has barred this task from SCHED_EXT"
        "use another policy for it, or another BPF scheduler";
    GroupWithoutRuntime = "group-without-runtime" EPERM
        "the task's cgroup has cpu.rt_runtime_us of 0 (kernels with RT_GROUP_SCHED)"
        "give the group a cpu.rt_runtime_us (docker: --cpu-rt-runtime), or move the task to the root \
         group";
    AffinityNotWhole = "affinity-not-whole" EPERM
        "a deadline task must be allowed on all CPUs of its root domain"
        "set the affinity to all CPUs first; to keep it to some, make them an exclusive cpuset \
         (cpuset.cpus.partition = root)";
    NoDeadlineBandwidth = "no-deadline-bandwidth" EPERM
        "nothing may be reserved: sched_rt_runtime_us is 0"
        "raise /proc/sys/kernel/sched_rt_runtime_us";
    BandwidthExceeded = "bandwidth-exceeded" EBUSY
        "the deadline tasks of the root domain would have reserved more than may be reserved"
        "reserve less, end other reservations, or raise /proc/sys/kernel/sched_rt_runtime_us";
    FixedAffinity = "fixed-affinity" EINVAL
        "the target is a kernel thread whose CPUs are fixed"
        "leave it where it is";
    DeadlineAffinity = "deadline-affinity" EBUSY
        "a deadline task must stay allowed on all CPUs of its root domain"
        "to keep it to some CPUs, make them an exclusive cpuset and move the task there, or set \
         sched_rt_runtime_us to -1";
    NoUsableCpu = "no-usable-cpu" EINVAL
        "no CPU of the mask is online and in the task's cpuset"
        "name CPUs that are there: /sys/devices/system/cpu/online, cpuset.cpus.effective";
    MaskTooShort = "mask-too-short" EINVAL
        "the mask has room for fewer CPUs than there may be"
        "use a larger mask: CPU_ALLOC(3)";
    MaskUneven = "mask-uneven" EINVAL
        "the length of the mask is not a multiple of 8"
        "round the length up to a multiple of sizeof(long)";
    GetAttrSize = "getattr-size" EINVAL
        "the size is below 48 or above 4096"
        "pass sizeof(struct sched_attr)";
    UnknownWhich = "unknown-which" EINVAL
        "neither PRIO_PROCESS, PRIO_PGRP nor PRIO_USER"
        "use 0, 1 or 2";
    NiceLowered = "nice-lowered" EACCES
        "without CAP_SYS_NICE the nice value may not fall below what RLIMIT_NICE allows"
        "raise RLIMIT_NICE of the target (systemd: LimitNICE=), or give the caller CAP_SYS_NICE";
    NotANumber = "not-a-number" EINVAL
        "the text is not a number the file takes"
        "write a whole number";
    OutOfRange = "out-of-range" EINVAL
        "the number is outside what the file takes"
        "see the range";
    RuntimeAbovePeriod = "runtime-above-period" EINVAL
        "the runtime would be longer than the period"
        "keep sched_rt_runtime_us <= sched_rt_period_us";
    BelowReserved = "below-reserved" EBUSY
        "deadline tasks (and fair servers) have reserved more than would be left"
        "end some reservations first, or leave more";
    DeadlineFork = "deadline-fork" EAGAIN
        "a deadline task cannot fork or start threads"
        "set SCHED_FLAG_RESET_ON_FORK (chrt: -R), or start the threads before";
}

/// A refused call. What it was about is as before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The rule that is broken.
    pub rule: Rule,
    /// The same with the numbers of this call, a sentence without its capital and full stop.
    pub detail: String,
    /// The numbers, with names that carry their units.
    pub facts: Vec<(&'static str, i128)>,
}

impl Refusal {
    pub(crate) fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into(), facts: Vec::new() }
    }

    pub(crate) fn fact(mut self, name: &'static str, value: i128) -> Self {
        self.facts.push((name, value));
        self
    }

    /// What the program sees.
    pub fn errno(&self) -> Errno {
        self.rule.errno()
    }

    /// What the kernel writes into the caller's `sched_attr.size`, if it does.
    pub fn size_written(&self) -> Option<u32> {
        matches!(self.rule, Rule::AttrSize | Rule::AttrTail).then_some(crate::raw::ATTR_SIZE)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.errno(), self.rule.words(), self.detail)
    }
}

impl core::error::Error for Refusal {}
