//! Kernel versions as data: every rule that changed between versions is a field here, and the code
//! asks the field, never the version (fair.md 0.2).

use crate::{Feature, Features};

/// One kernel's scheduler.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Profile {
    /// What users call it: `6.12`.
    pub name: &'static str,
    /// The release whose behaviour was read: point releases differ (fair.md 0.3).
    pub release: &'static str,
    /// The fair class's algorithm and its rules.
    pub fair: FairRules,
    /// The switches this kernel has, at their defaults.
    pub features: Features,
    /// Fair-class reschedule requests are lazy where the machine's preemption model knows lazy.
    pub lazy_preemption: bool,
    /// A CPU tells the others of a group's load at most every millisecond (6.12 and later).
    pub group_load_rate_limited: bool,
    /// What happens to a group that has used up its quota.
    pub throttling: Throttling,
    /// How groups are queued.
    pub groups: GroupQueueing,
    /// Real-time bandwidth: throttling, admission, the fair server.
    pub rt: RtRules,
    /// Never compared with a real kernel, and not all of its rules are here.
    pub experimental: bool,
    /// Several CPUs: placement and balancing.
    pub smp: SmpRules,
    /// Each group's grid of periods begins at a random time (6.3 and later), not at 0 (fair.md E.9).
    pub random_period_phase: bool,
}

/// Placement and balancing of fair tasks on several CPUs (fair.md G).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SmpRules {
    /// How groups that prefer to spread are compared (G.6).
    pub siblings: SiblingRule,
    /// Cores whose siblings are all busy are relieved by cores that idle (6.6 and later).
    pub smt_balance: bool,
    /// Of a group's idle CPUs, one on a core that idles as a whole balances for it (6.6 and later);
    /// otherwise the first.
    pub whole_cores_first: bool,
    /// Delayed tasks count among those a balance compares (up to 6.12).
    pub counts_delayed: bool,
    /// Delayed tasks count when a waker that is about to sleep is asked whether it is alone (6.12.117 and
    /// later do not).
    pub sync_counts_delayed: bool,
    /// Tasks that have had more than their share are not the first to be moved to where others are
    /// queued (6.18 and later).
    pub ineligible_stay: bool,
    /// What the time between balances of a domain goes by.
    pub intervals: IntervalRule,
}

/// What the time between balances of a domain goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntervalRule {
    /// The CPUs it would have if all were in one partition (seen up to 6.18.15).
    WholeSpan,
    /// Its CPUs (seen on 7.2).
    Span,
}

/// How many more tasks a group has than another that it shares a parent with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SiblingRule {
    /// As many as it has more (up to 6.5).
    Plain,
    /// As many as it has more than its cores' share; for an idle destination only (6.6 and later).
    ByCores,
}

/// Real-time bandwidth (classes.md B.4, C.2, C.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtRules {
    /// `sched_rt_runtime_us` at its default; `None` is -1: no limit.
    pub runtime_us: Option<u64>,
    /// `sched_rt_period_us` at its default.
    pub period_us: u64,
    /// FIFO and RR tasks of a CPU are stopped when they have used the runtime (up to 6.11).
    pub throttling: bool,
    /// Built with RT_GROUP_SCHED, as Debian's kernels are not: every group has real-time queues and
    /// a limit of its own, and throttling is that of groups, the root included, on all kernels.
    pub rt_group_sched: bool,
    /// `sched_rr_timeslice_ms` at its default: the slice of RR tasks.
    pub rr_timeslice_ms: u32,
    /// What fair tasks have for sure (6.12 and later).
    pub fair_server: Option<FairServerRules>,
    /// What a reclaiming deadline task is charged.
    pub grub: GrubRule,
    /// The running task is charged before the next is picked (up to 6.11), not after.
    pub charged_before_pick: bool,
}

/// What a deadline task with `SCHED_FLAG_RECLAIM` is charged for running (classes.md C.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GrubRule {
    /// The whole CPU less what is inactive or free, or the own bandwidth as a share of what may be
    /// reserved if that is more (seen on 6.1).
    OfCpu,
    /// As much less of what may be reserved, or the own bandwidth, both as a share of what may be
    /// reserved (6.12 and later).
    OfLimit,
}

/// The fair server of each CPU (classes.md C.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FairServerRules {
    /// CPU time in every period, ns.
    pub runtime_ns: u64,
    /// Period and deadline, ns.
    pub period_ns: u64,
    /// An idle CPU's server charges the time at once and goes off when its timer finds the CPU still
    /// idle (7.x); otherwise it is charged when fair work comes back.
    pub waits_idle: bool,
    /// Its bandwidth is taken twice from what reclaiming finds free (seen on 6.12.117).
    pub counted_twice: bool,
}

/// Which algorithm the fair class runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum FairRules {
    /// Up to 6.5.
    Cfs(CfsRules),
    /// From 6.6.
    Eevdf(EevdfRules),
}

/// CFS tunables, before scaling by the number of CPUs (A.5, B).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CfsRules {
    /// `latency_ns`: the period of up to eight tasks.
    pub latency_ns: u64,
    /// `min_granularity_ns`.
    pub min_granularity_ns: u64,
    /// `wakeup_granularity_ns`.
    pub wakeup_granularity_ns: u64,
    /// `idle_min_granularity_ns`: not scaled.
    pub idle_min_granularity_ns: u64,
}

/// EEVDF rules (C).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EevdfRules {
    /// `base_slice_ns` before scaling by the number of CPUs.
    pub base_slice_ns: u64,
    /// Weights in the averages are full (20-bit scale), not scaled down by 2^10.
    pub full_weights: bool,
    /// Virtual time is a plain division, not a multiplication by an inverse (A.2).
    pub exact_division: bool,
    /// What the weighted sums are relative to (C.2).
    pub zero_point: ZeroPoint,
    /// How far lag may go (C.4).
    pub lag_limit: LagLimit,
    /// How long a picked task is left alone (C.8).
    pub protection: Protection,
    /// Among equal deadlines the current task goes on (6.6), rather than the queued one (C.7).
    pub current_wins_ties: bool,
    /// Tasks may ask for a slice of their own (C.6).
    pub custom_slice: bool,
    /// The half first deadline of a fork is lost again at the enqueue (C.9, 6.6).
    pub initial_deadline_lost: bool,
    /// How lag is stretched for the queue a task joins (C.9).
    pub inflation: Inflation,
    /// What a weight change does to a queued entity (C.12).
    pub reweight: Reweight,
    /// What a yield gives up (C.14).
    pub yields: YieldRule,
    /// When a waking task preempts (C.13).
    pub wakeup: WakeupRule,
    /// A delayed task's lag never falls below what it had when it was delayed (C.4, 7.2).
    pub delayed_lag_kept: bool,
    /// The running task is charged before a delayed one is woken and perhaps placed anew (7.2);
    /// otherwise the average is that of the last charge.
    pub delayed_wakeup_charges: bool,
    /// HRTICK ends the slice at the virtual deadline, not after a slice of running (C.15, 7.2).
    pub hrtick_by_deadline: bool,
    /// A pick that needs no HRTICK leaves the one that is armed, unless the CPU goes idle (7.2).
    pub hrtick_outlives_pick: bool,
}

/// What happens to a group that has used up its quota on a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Throttling {
    /// Its entity leaves the queue, and with it everyone in it (up to 6.17).
    Group,
    /// Each task is taken off when it returns to user mode (6.18 and later).
    Task,
}

/// How groups are queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupQueueing {
    /// A group has a queue of its own on each CPU, and an entity in its parent's (up to 7.2).
    Nested,
    /// All tasks of a CPU are in one queue, with the weights their groups leave them (7.3).
    Flat(GroupWeight),
}

/// What the shares of a group are multiplied by before they are parted among its CPUs (fair.md D.5;
/// debugfs `sched/cgroup_mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupWeight {
    /// `up`: the group weighs its shares on every CPU.
    Up,
    /// `smp`: its shares, parted among CPUs by load, as up to 7.2.
    Smp,
    /// `concur`: times as many tasks as can run at once.
    Concurrency,
    /// `max`: times its CPUs.
    Cpus,
    /// `tasks`: times its runnable tasks.
    Tasks,
}

/// What the weighted sums are relative to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZeroPoint {
    /// A minimum of virtual runtimes that never falls (6.6).
    MinVruntime,
    /// The average itself, moved whenever it is read.
    Average,
}

/// How far lag may go, in real time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LagLimit {
    /// The greater of two own slices and a tick.
    OwnSlice,
    /// The longest slice on the queue plus a tick.
    LongestSlice,
}

/// How long a picked task is left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Until its deadline changes.
    WholeSlice,
    /// Until it has run the shortest slice on the queue.
    ShortestSlice,
}

/// How lag is stretched for the queue a task joins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inflation {
    /// lag · (W + w) / W.
    Product,
    /// lag + lag · w / W.
    Sum,
}

/// What a weight change does to a queued entity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reweight {
    /// Lag and deadline distance scale around V; lag is not clamped (6.6).
    AroundAverage,
    /// The same with the lag clamped first (6.12).
    AroundAverageClamped,
    /// The entity leaves, scales, and is placed again among the others (6.18).
    Placed,
    /// Lag, deadline and protection scale around V, which stays (7.2).
    AverageKept,
}

/// What a yield gives up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum YieldRule {
    /// The deadline moves a slice away (6.6).
    Deadline,
    /// The rest of the slice, as if it had been run, if the task is eligible.
    Slice,
}

/// When a waking task preempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WakeupRule {
    /// If the pick would choose it (6.6).
    Pick,
    /// A shorter slice cancels protection first; then if the pick would choose it (6.12).
    CancelThenPick,
    /// A shorter slice is judged without protection, and shortens it if that was not enough; the
    /// test leaves delayed tasks where they are (6.18.15).
    ShortOrPlainPick,
    /// A shorter slice is judged without protection; the test dequeues delayed tasks it meets, and
    /// shortens protection whoever wakes; forks never preempt (6.18.35, 7.2).
    ShortOrPick,
}

impl Profile {
    /// Every kernel there is a profile for, oldest first.
    pub const ALL: &[Profile] = &[V6_1, V6_6, V6_12, V6_18_15, V6_18, V7_2, V7_3];

    /// The profile users call by this name, with or without a point release: `6.12`, `6.12.117`.
    pub fn named(name: &str) -> Option<Profile> {
        Self::ALL.iter().copied().find(|profile| profile.name == name || profile.release == name)
    }

    /// Whether the fair class is EEVDF.
    pub fn is_eevdf(&self) -> bool {
        matches!(self.fair, FairRules::Eevdf(_))
    }
}

/// On in every kernel.
const SMP_ON: [Feature; 5] =
    [Feature::SIS_UTIL, Feature::WA_IDLE, Feature::WA_WEIGHT, Feature::WA_BIAS, Feature::UTIL_EST];

const SMP_6_1: SmpRules = SmpRules {
    siblings: SiblingRule::Plain,
    smt_balance: false,
    whole_cores_first: false,
    counts_delayed: true,
    sync_counts_delayed: true,
    ineligible_stay: false,
    intervals: IntervalRule::WholeSpan,
};

const SMP_6_6: SmpRules = SmpRules {
    siblings: SiblingRule::ByCores,
    smt_balance: true,
    whole_cores_first: true,
    ..SMP_6_1
};

const SMP_6_12: SmpRules = SmpRules { sync_counts_delayed: false, ..SMP_6_6 };

const SMP_6_18: SmpRules = SmpRules { counts_delayed: false, ineligible_stay: true, ..SMP_6_12 };

const SMP_7_2: SmpRules = SmpRules { intervals: IntervalRule::Span, ..SMP_6_18 };

/// Up to 6.11.
const RT_THROTTLED: RtRules = RtRules {
    runtime_us: Some(950_000),
    period_us: 1_000_000,
    throttling: true,
    rt_group_sched: false,
    rr_timeslice_ms: 100,
    fair_server: None,
    grub: GrubRule::OfCpu,
    charged_before_pick: true,
};

/// From 6.12.
const RT_SERVED: RtRules = RtRules {
    throttling: false,
    fair_server: Some(FairServerRules {
        runtime_ns: 50_000_000,
        period_ns: 1_000_000_000,
        waits_idle: false,
        counted_twice: false,
    }),
    grub: GrubRule::OfLimit,
    charged_before_pick: false,
    ..RT_THROTTLED
};

const RT_SERVED_6_12: RtRules = RtRules {
    fair_server: Some(FairServerRules {
        runtime_ns: 50_000_000,
        period_ns: 1_000_000_000,
        waits_idle: false,
        counted_twice: true,
    }),
    ..RT_SERVED
};

/// From 7.2, where nothing is kept from real-time tasks but for the fair server.
const RT_SERVED_7_2: RtRules = RtRules {
    runtime_us: Some(1_000_000),
    fair_server: Some(FairServerRules {
        runtime_ns: 50_000_000,
        period_ns: 1_000_000_000,
        waits_idle: true,
        counted_twice: false,
    }),
    ..RT_SERVED
};

const V6_1: Profile = Profile {
    name: "6.1",
    release: "6.1.192",
    fair: FairRules::Cfs(CfsRules {
        latency_ns: 6_000_000,
        min_granularity_ns: 750_000,
        wakeup_granularity_ns: 1_000_000,
        idle_min_granularity_ns: 750_000,
    }),
    features: Features::new(
        &[
            Feature::WAKEUP_PREEMPTION,
            Feature::GENTLE_FAIR_SLEEPERS,
            Feature::START_DEBIT,
            Feature::LAST_BUDDY,
            Feature::ALT_PERIOD,
            Feature::BASE_SLICE,
            SMP_ON[0],
            SMP_ON[1],
            SMP_ON[2],
            SMP_ON[3],
            SMP_ON[4],
            Feature::NI_RANDOM,
        ],
        &[Feature::NEXT_BUDDY, Feature::HRTICK_DL, Feature::CFS_SLICE_EXPIRY],
    ),
    lazy_preemption: false,
    group_load_rate_limited: false,
    throttling: Throttling::Group,
    groups: GroupQueueing::Nested,
    rt: RT_THROTTLED,
    experimental: false,
    smp: SMP_6_1,
    random_period_phase: false,
};

const EEVDF_6_6: EevdfRules = EevdfRules {
    base_slice_ns: 750_000,
    full_weights: false,
    exact_division: false,
    zero_point: ZeroPoint::MinVruntime,
    lag_limit: LagLimit::OwnSlice,
    protection: Protection::WholeSlice,
    current_wins_ties: true,
    custom_slice: false,
    initial_deadline_lost: true,
    inflation: Inflation::Product,
    reweight: Reweight::AroundAverage,
    yields: YieldRule::Deadline,
    wakeup: WakeupRule::Pick,
    delayed_lag_kept: false,
    delayed_wakeup_charges: false,
    hrtick_by_deadline: false,
    hrtick_outlives_pick: false,
};

const EEVDF_6_12: EevdfRules = EevdfRules {
    base_slice_ns: 700_000,
    zero_point: ZeroPoint::Average,
    current_wins_ties: false,
    custom_slice: true,
    initial_deadline_lost: false,
    reweight: Reweight::AroundAverageClamped,
    yields: YieldRule::Slice,
    wakeup: WakeupRule::CancelThenPick,
    ..EEVDF_6_6
};

const EEVDF_6_18: EevdfRules = EevdfRules {
    lag_limit: LagLimit::LongestSlice,
    protection: Protection::ShortestSlice,
    reweight: Reweight::Placed,
    wakeup: WakeupRule::ShortOrPick,
    ..EEVDF_6_12
};

const EEVDF_7_2: EevdfRules = EevdfRules {
    full_weights: true,
    exact_division: true,
    inflation: Inflation::Sum,
    reweight: Reweight::AverageKept,
    delayed_lag_kept: true,
    delayed_wakeup_charges: true,
    hrtick_by_deadline: true,
    hrtick_outlives_pick: true,
    ..EEVDF_6_18
};

const V6_6: Profile = Profile {
    name: "6.6",
    release: "6.6.17",
    fair: FairRules::Eevdf(EEVDF_6_6),
    features: Features::new(
        &[
            Feature::PLACE_LAG,
            Feature::PLACE_DEADLINE_INITIAL,
            Feature::RUN_TO_PARITY,
            Feature::WAKEUP_PREEMPTION,
            SMP_ON[0],
            SMP_ON[1],
            SMP_ON[2],
            SMP_ON[3],
            SMP_ON[4],
        ],
        &[Feature::NEXT_BUDDY, Feature::HRTICK, Feature::HRTICK_DL],
    ),
    lazy_preemption: false,
    group_load_rate_limited: false,
    throttling: Throttling::Group,
    groups: GroupQueueing::Nested,
    rt: RT_THROTTLED,
    experimental: false,
    smp: SMP_6_6,
    random_period_phase: true,
};

const MODERN_ON: [Feature; 15] = [
    Feature::PLACE_LAG,
    Feature::PLACE_DEADLINE_INITIAL,
    Feature::PLACE_REL_DEADLINE,
    Feature::RUN_TO_PARITY,
    Feature::PREEMPT_SHORT,
    Feature::PICK_BUDDY,
    Feature::DELAY_DEQUEUE,
    Feature::DELAY_ZERO,
    Feature::WAKEUP_PREEMPTION,
    SMP_ON[0],
    SMP_ON[1],
    SMP_ON[2],
    SMP_ON[3],
    SMP_ON[4],
    Feature::NI_RANDOM,
];

const MODERN: Features =
    Features::new(&MODERN_ON, &[Feature::NEXT_BUDDY, Feature::HRTICK, Feature::HRTICK_DL]);

const V6_12: Profile = Profile {
    name: "6.12",
    release: "6.12.117",
    fair: FairRules::Eevdf(EEVDF_6_12),
    features: MODERN,
    lazy_preemption: false,
    group_load_rate_limited: true,
    throttling: Throttling::Group,
    groups: GroupQueueing::Nested,
    rt: RT_SERVED_6_12,
    experimental: false,
    smp: SMP_6_12,
    random_period_phase: true,
};

const V6_18: Profile = Profile {
    name: "6.18",
    release: "6.18.35",
    fair: FairRules::Eevdf(EEVDF_6_18),
    features: MODERN,
    lazy_preemption: true,
    group_load_rate_limited: true,
    throttling: Throttling::Task,
    groups: GroupQueueing::Nested,
    rt: RT_SERVED,
    experimental: false,
    smp: SMP_6_18,
    random_period_phase: true,
};

/// As a booted 6.18.15 behaves: the limit of lag and the test at a wakeup are still the older ones.
/// (What else fair.md 0.3 tells of 6.18.2 was not seen there.)
const V6_18_15: Profile = Profile {
    name: "6.18.15",
    release: "6.18.15",
    fair: FairRules::Eevdf(EevdfRules {
        lag_limit: LagLimit::OwnSlice,
        wakeup: WakeupRule::ShortOrPlainPick,
        ..EEVDF_6_18
    }),
    ..V6_18
};

const V7_2: Profile = Profile {
    name: "7.2",
    release: "7.2.13",
    fair: FairRules::Eevdf(EEVDF_7_2),
    features: Features::new(
        &[
            MODERN_ON[0],
            MODERN_ON[1],
            MODERN_ON[2],
            MODERN_ON[3],
            MODERN_ON[4],
            MODERN_ON[5],
            MODERN_ON[6],
            MODERN_ON[7],
            MODERN_ON[8],
            MODERN_ON[9],
            MODERN_ON[10],
            MODERN_ON[11],
            MODERN_ON[12],
            MODERN_ON[13],
            MODERN_ON[14],
            Feature::HRTICK,
            Feature::HRTICK_DL,
        ],
        &[Feature::NEXT_BUDDY],
    ),
    lazy_preemption: true,
    group_load_rate_limited: true,
    throttling: Throttling::Task,
    groups: GroupQueueing::Nested,
    rt: RT_SERVED_7_2,
    experimental: false,
    smp: SMP_7_2,
    random_period_phase: true,
};

/// *Experimental*: 7.2 with the flat groups of 7.3, from the text alone. What 7.3 changes for single
/// tasks is not here: slice protection where slices differ, and a next buddy for short slices.
const V7_3: Profile = Profile {
    name: "7.3",
    release: "7.3.4",
    groups: GroupQueueing::Flat(GroupWeight::Concurrency),
    experimental: true,
    ..V7_2
};
