//! The result as data. Field names are a contract; units are in the names.

use std::collections::BTreeMap;

use serde::Serialize;

/// What made the kernel choose a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PickKind {
    /// The running task was replaced after a tick.
    TickPreemption,
    /// The running task was replaced after its slice timer fired.
    HrtickPreemption,
    /// The running task was replaced after a wakeup.
    WakeupPreemption,
    /// The running task was replaced after a fork.
    ForkPreemption,
    /// The running task was replaced, and nothing of the above came before.
    OtherPreemption,
    /// The running task went to sleep.
    Block,
    /// The running task gave way.
    Yield,
    /// The running task ended.
    Exit,
    /// Nothing ran before.
    FromIdle,
    /// The kernel picked, and kept who ran. Seen only where charges are recorded.
    Kept,
}

impl PickKind {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::TickPreemption => "tick preemption",
            Self::HrtickPreemption => "hrtick preemption",
            Self::WakeupPreemption => "wakeup preemption",
            Self::ForkPreemption => "fork preemption",
            Self::OtherPreemption => "other preemption",
            Self::Block => "block",
            Self::Yield => "yield",
            Self::Exit => "exit",
            Self::FromIdle => "from idle",
            Self::Kept => "kept the running task",
        }
    }
}

/// How many picks, and how many of them the core would have made too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Agreement {
    /// Picks of the kernel.
    pub picks: u64,
    /// The core's pick was the same.
    pub agreed: u64,
    /// Picks with at least two tasks to choose from.
    pub with_choice: u64,
    /// Of those, the same.
    pub with_choice_agreed: u64,
}

impl Agreement {
    /// `agreed` of `picks`, in percent; `None` if there were none.
    pub fn percent(&self) -> Option<f64> {
        (self.picks > 0).then(|| self.agreed as f64 * 100.0 / self.picks as f64)
    }

    /// `with_choice_agreed` of `with_choice`, in percent; `None` if there were none.
    pub fn with_choice_percent(&self) -> Option<f64> {
        (self.with_choice > 0)
            .then(|| self.with_choice_agreed as f64 * 100.0 / self.with_choice as f64)
    }

    pub(crate) fn count(&mut self, agreed: bool, choice: bool) {
        self.picks += 1;
        self.agreed += u64::from(agreed);
        self.with_choice += u64::from(choice);
        self.with_choice_agreed += u64::from(choice && agreed);
    }
}

/// Where the ticks come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TickSource {
    /// Each is in the trace.
    Recorded,
    /// Rate and phase follow from when running tasks were charged or replaced.
    Inferred,
}

/// Where the core's time comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The recorded charges: the kernel's own task clock, to the ns.
    Charges,
    /// The times of the events, some microseconds after the kernel took its clock.
    Events,
}

/// A task in the report.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct TaskName {
    /// Its id; 0 for the idle task.
    pub pid: i32,
    /// Its name when it was seen last.
    pub comm: String,
}

/// One queued task as the core sees it at a divergence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct QueuedTask {
    /// Who.
    pub task: TaskName,
    /// Its policy, as `sched(7)` names it.
    pub policy: String,
    /// Its nice value.
    pub nice: i8,
    /// It had the CPU.
    pub current: bool,
    /// Fair tasks: weight, nice 0 is 1024.
    pub weight: Option<u64>,
    /// Fair tasks: slice, ns.
    pub slice_ns: Option<u64>,
    /// Virtual runtime relative to the average (EEVDF) or the minimum (CFS), ns.
    pub vruntime_ns: Option<i64>,
    /// EEVDF: virtual deadline relative to the average, ns.
    pub deadline_ns: Option<i64>,
    /// EEVDF: lag, virtual ns.
    pub lag_ns: Option<i64>,
    /// EEVDF: has had no more than its share.
    pub eligible: Option<bool>,
    /// Running and protected from being replaced by an earlier deadline.
    pub protected: bool,
    /// Asleep, but still queued.
    pub delayed: bool,
}

/// A moment at which core and kernel differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Divergence {
    /// When, by the trace's clock.
    pub at_ns: u64,
    /// Where.
    pub cpu: u32,
    /// What made the kernel choose; `None` if it did not, and the core would have.
    pub kind: Option<PickKind>,
    /// Who had the CPU.
    pub prev: TaskName,
    /// Whom the kernel chose.
    pub kernel: TaskName,
    /// Whom the core would have chosen.
    pub core: TaskName,
    /// By which rule.
    pub rule: String,
    /// What it would have chosen from.
    pub queue: Vec<QueuedTask>,
}

/// Picks that were not judged, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Excluded {
    /// Before the end of the warm-up.
    pub warm_up: u64,
    /// First sight of a task or a CPU: the core learnt of it by this pick.
    pub first_seen: u64,
    /// A task of a class the core does not have (deadline) was chosen or had the CPU.
    pub other_class: u64,
    /// The task chosen should have been asleep: its wakeup is not in the trace.
    pub unannounced: u64,
    /// The task that left was not the one that had come: a switch is missing.
    pub inconsistent: u64,
}

/// How long core and kernel differ when they differ: from a pick that differs to the next that does
/// not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DiffersFor {
    /// How often.
    pub times: u64,
    /// In all, ns.
    pub total_ns: u64,
    /// The median, ns.
    pub p50_ns: u64,
    /// The longest, ns.
    pub max_ns: u64,
}

/// The slice timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct HrtickReport {
    /// Times the kernel's timer fired on a running fair task.
    pub fired: u64,
    /// Of those, when the core had asked for it, to within 50 us.
    pub as_asked: u64,
    /// Of those, when the core had asked for no timer.
    pub unasked: u64,
    /// Of those, more than 50 us from when the core had asked for it.
    pub off: u64,
    /// Timers the core had asked for that did not fire within 50 us.
    pub missing: u64,
}

/// How far the core's values are from the kernel's, absolute, virtual ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ValueErrors {
    /// Values compared.
    pub compared: u64,
    /// The median.
    pub p50_ns: u64,
    /// 99 of 100 are no farther.
    pub p99_ns: u64,
    /// The farthest.
    pub max_ns: u64,
}

/// Values in the trace against the core's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Values {
    /// Virtual runtime, as differences between tasks: the change of (kernel − core) from the task
    /// compared before on the same CPU.
    pub vruntime: Option<ValueErrors>,
    /// Distance from virtual runtime to virtual deadline.
    pub deadline: Option<ValueErrors>,
}

/// The result.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ShadowReport {
    /// The profile: `6.12`.
    pub kernel: String,
    /// The release it was made from.
    pub kernel_release: String,
    /// The machine of the trace, if it says so.
    pub recorded_on: Option<String>,
    /// CPUs of the machine.
    pub cpus: u32,
    /// Ticks a second.
    pub hz: u32,
    /// Where the ticks come from.
    pub ticks: TickSource,
    /// Where the core's time comes from.
    pub clock: Clock,
    /// First and last event, by the trace's clock.
    pub from_ns: u64,
    /// The last event.
    pub to_ns: u64,
    /// Nothing is judged so long after the first event.
    pub warm_up_ns: u64,
    /// Events of the trace.
    pub events: u64,
    /// All picks that were judged.
    pub total: Agreement,
    /// The same by kind.
    pub by_kind: BTreeMap<PickKind, Agreement>,
    /// Moments at which the core asked for a new pick, would have replaced the running task, and
    /// the kernel kept it for a tick or longer. Not among the picks.
    pub missed_preemptions: u64,
    /// Preemptions of the kernel at moments when the core had not asked for a new pick, whether or
    /// not the pick agreed.
    pub unasked_preemptions: u64,
    /// Picks not judged.
    pub excluded: Excluded,
    /// How long core and kernel differ when they differ.
    pub differs_for: DiffersFor,
    /// The slice timer, where it is in the trace.
    pub hrtick: Option<HrtickReport>,
    /// Values against values, where they are in the trace.
    pub values: Values,
    /// The first divergences.
    pub divergences: Vec<Divergence>,
    /// Events lost by the recording, and places where they were lost.
    pub lost_events: u64,
    /// Places where events were lost.
    pub lost_places: u64,
    /// Places where the charges do not fit the times between the events: events are missing there,
    /// though the trace does not say so.
    pub unmarked_gaps: u64,
    /// Tasks that by the events waited for a CPU that went idle. They are forgotten.
    pub stale_tasks: u64,
    /// Records or lines that could not be understood.
    pub malformed: u64,
    /// Records of unknown events.
    pub unknown_formats: u64,
    /// Known events whose fields were not as expected, by name.
    pub unexpected_layouts: BTreeMap<String, u64>,
    /// Events earlier than the one before on the same CPU.
    pub backwards: u64,
    /// The trace ends before it should.
    pub truncated: bool,
}
