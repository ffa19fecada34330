//! What is known of one CPU of the trace.

use slicewise_ftrace::TaskRef;

use crate::report::PickKind;

/// Something in the trace that the core is told once the kernel has charged the running task for
/// it: the charge comes after the event and says what time the kernel took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pending {
    Tick,
    Hrtick,
    Yield,
    /// A system call that changes attributes.
    Attributes,
    /// The running task is about to end.
    Exit,
}

impl Pending {
    /// Of an interrupt, that may come between the begin of a system call and what it does.
    pub(crate) fn interrupts(self) -> bool {
        matches!(self, Self::Tick | Self::Hrtick)
    }
}

/// The core has asked for a new pick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// When, by the trace's clock.
    pub(crate) at_ns: u64,
}

/// One CPU.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuState {
    /// A switch was seen: who runs is known.
    pub(crate) known: bool,
    /// Who runs, 0 for the idle task.
    pub(crate) current: i32,
    /// The kernel's clock of this CPU as of its last known reading.
    pub(crate) clock_ns: u64,
    /// The running task's charges are in the trace: they move the clock, not the events.
    pub(crate) charged: bool,
    /// How far the events are after the clock: it hardly changes while one task runs.
    pub(crate) skew_ns: Option<i64>,
    /// A charge that no event has claimed yet.
    pub(crate) unclaimed: bool,
    /// A wakeup has begun here: its charge is made with it, at the place the core's rules say.
    pub(crate) waking: bool,
    pub(crate) pending: Option<Pending>,
    /// A system call that an interrupt came in front of: what it does comes after the interrupt.
    pub(crate) put_off: Option<Pending>,
    pub(crate) asked: Option<Asked>,
    /// What happened last since the last pick, as far as it leads to preemption.
    pub(crate) cause: Option<PickKind>,
    /// The running task gave way.
    pub(crate) yielded: bool,
    /// When the core wants its slice timer to fire, by the kernel's clock.
    pub(crate) armed_ns: Option<u64>,
    /// Next inferred tick, by the trace's clock.
    pub(crate) next_tick_ns: Option<u64>,
    /// Since when core and kernel differ, by the trace's clock.
    pub(crate) differs_since_ns: Option<u64>,
    /// What the system call at hand makes of a task.
    pub(crate) change: Option<TaskRef>,
    /// What the running task is when it leaves, if that is not what it was when it came.
    pub(crate) becomes: Option<TaskRef>,
    /// (kernel − core) of the virtual runtime compared last.
    pub(crate) vruntime_offset_ns: Option<i64>,
}
