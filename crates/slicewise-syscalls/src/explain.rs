//! Which rules can be behind an error number, and how to tell them apart.

use crate::errno::Errno;
use crate::refusal::Rule;
use crate::rules::Rules;

/// A call whose failure is to be explained.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallName {
    /// sched_setattr(2).
    SetAttr,
    /// sched_setscheduler(2).
    SetScheduler,
    /// sched_setparam(2).
    SetParam,
    /// sched_setaffinity(2).
    SetAffinity,
    /// setpriority(2).
    SetPriority,
    /// fork(2), clone(2), pthread_create(3).
    Fork,
}

impl CallName {
    /// `sched_setattr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SetAttr => "sched_setattr",
            Self::SetScheduler => "sched_setscheduler",
            Self::SetParam => "sched_setparam",
            Self::SetAffinity => "sched_setaffinity",
            Self::SetPriority => "setpriority",
            Self::Fork => "fork",
        }
    }
}

impl Rule {
    /// Whether this call can break it on this kernel, as it is built.
    pub fn concerns(self, call: CallName, rules: &Rules) -> bool {
        use CallName::{Fork, SetAffinity, SetAttr, SetParam, SetPriority, SetScheduler};
        let policy = matches!(call, SetAttr | SetScheduler | SetParam);
        match self {
            Self::NullPointer | Self::NegativePid => policy,
            Self::BadAddress => policy || call == SetAffinity,
            Self::CallFlags
            | Self::AttrSize
            | Self::AttrTail
            | Self::ClampNeedsSize
            | Self::UnknownFlags
            | Self::InternalFlag
            | Self::RuntimeTooShort
            | Self::TimeTooLong
            | Self::DeadlineAfterPeriod
            | Self::RuntimeAfterDeadline
            | Self::PeriodTooShort
            | Self::PeriodTooLong
            | Self::AffinityNotWhole
            | Self::NoDeadlineBandwidth
            | Self::BandwidthExceeded
            | Self::DeadlineNotAllowed => call == SetAttr,
            Self::ClampRange | Self::ClampOrder => call == SetAttr && rules.build.uclamp,
            Self::ClampNotBuilt => call == SetAttr && !rules.build.uclamp,
            Self::NegativePolicy | Self::UnknownPolicy | Self::DeadlineZero => {
                matches!(call, SetAttr | SetScheduler)
            }
            Self::PolicyNotBuilt => matches!(call, SetAttr | SetScheduler) && !rules.build.ext,
            Self::ExtDisallowed => matches!(call, SetAttr | SetScheduler) && rules.build.ext,
            Self::IdleStays | Self::ResetOnForkStays | Self::RtPolicyNotAllowed => {
                matches!(call, SetAttr | SetScheduler)
            }
            Self::NiceNotAllowed => call == SetAttr,
            Self::PriorityTooHigh
            | Self::PriorityNeeded
            | Self::PriorityNotTaken
            | Self::RtPriorityNotAllowed
            | Self::StopTask => policy,
            Self::GroupWithoutRuntime => policy,
            Self::NoSuchTask | Self::NotOwner | Self::MoreCapable => call != Fork,
            Self::FixedAffinity | Self::DeadlineAffinity | Self::NoUsableCpu => call == SetAffinity,
            Self::UnknownWhich | Self::NiceLowered => call == SetPriority,
            Self::DeadlineFork => call == Fork,
            Self::MaskTooShort
            | Self::MaskUneven
            | Self::GetAttrSize
            | Self::NotANumber
            | Self::OutOfRange
            | Self::RuntimeAbovePeriod
            | Self::BelowReserved => false,
        }
    }

    /// How to see, on the system in question, whether it is this rule.
    pub fn test(self) -> Option<&'static str> {
        Some(match self {
            Self::NoSuchTask => "ls /proc/PID/task: is the thread there?",
            Self::NotOwner => "grep Uid /proc/PID/status: the first two numbers, against `id -u`",
            Self::MoreCapable => {
                "grep CapPrm /proc/PID/status of both: bits of the target that the caller lacks"
            }
            Self::RtPolicyNotAllowed | Self::RtPriorityNotAllowed => {
                "prlimit --rtprio --pid PID (of the target); grep CapEff /proc/self/status: bit 23, \
                 0x800000, is CAP_SYS_NICE"
            }
            Self::NiceNotAllowed | Self::NiceLowered | Self::IdleStays => {
                "prlimit --nice --pid PID (of the target); grep CapEff /proc/self/status: bit 23, \
                 0x800000, is CAP_SYS_NICE"
            }
            Self::DeadlineNotAllowed => {
                "grep CapEff /proc/self/status: bit 23, 0x800000, is CAP_SYS_NICE"
            }
            Self::ResetOnForkStays => "chrt -p PID shows SCHED_RESET_ON_FORK",
            Self::AffinityNotWhole | Self::DeadlineAffinity => {
                "taskset -cp PID against /sys/devices/system/cpu/online, or against the cpuset \
                 partition's cpuset.cpus.effective"
            }
            Self::NoDeadlineBandwidth => "sysctl kernel.sched_rt_runtime_us",
            Self::BandwidthExceeded => {
                "grep dl_bw /sys/kernel/debug/sched/debug: total_bw is in use, bw times CPUs is the \
                 limit; what was taken from sleeping tasks is never given back and shows only there"
            }
            Self::GroupWithoutRuntime => {
                "cat /proc/PID/cgroup, then cpu.rt_runtime_us of that cgroup v1 group; only kernels \
                 built with RT_GROUP_SCHED have it"
            }
            Self::NoUsableCpu => "cat /proc/PID/cgroup, then cpuset.cpus.effective of that group",
            Self::FixedAffinity => "grep Kthread /proc/PID/status, or a name in [brackets] in ps",
            Self::StopTask => "cat /proc/PID/comm: migration/N",
            Self::DeadlineFork => "chrt -p PID: SCHED_DEADLINE without SCHED_RESET_ON_FORK",
            Self::PeriodTooShort | Self::PeriodTooLong => {
                "sysctl kernel.sched_deadline_period_min_us kernel.sched_deadline_period_max_us"
            }
            Self::AttrTail => "print size after the call: the kernel has written its own into it",
            _ => return None,
        })
    }
}

/// The rules that give this error for this call on this kernel, in about the order of the checks.
/// `RT_GROUP_SCHED` is taken to be possible, as distributions differ.
pub fn candidates(errno: Errno, call: CallName, rules: &Rules) -> Vec<Rule> {
    let possible = |rule: &&Rule| rule.errno() == errno && rule.concerns(call, rules);
    Rule::ALL.iter().filter(possible).copied().collect()
}
