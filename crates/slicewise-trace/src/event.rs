//! The events every source speaks: the simulated machine now, trace files and live kernels later.

use slicewise_sched::{Attr, CpuId, Policy};

/// A task in the event stream: its slot, a small number that is dense over living tasks and used
/// again after an exit. [`TaskInfo`] says who holds the slot from [`Sink::task`] until
/// [`Event::Exit`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u32);

impl Slot {
    /// The slot as an index into side arrays.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Who a task is. Announced before its first event and again when its attributes change.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskInfo {
    /// The slot that names it in events.
    pub slot: Slot,
    /// Its process id: never used twice in one stream; 0 stands for idle and is no task.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: String,
    /// Policy, nice, slice.
    pub attr: Attr,
    /// The program it was made from, for tasks that are forked over and over: their figures are
    /// added up by this number. `None` for tasks that are there from the start.
    pub forked_from: Option<u32>,
    /// The group it is in, by its number in [`GroupInfo`]; `None` is the root.
    pub group: Option<u32>,
}

/// A task group (a cgroup), announced before the first task in it or in one below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupInfo {
    /// The number that names it in events: groups are announced in this order, from 0.
    pub group: u32,
    /// The group it is in, one announced before; `None` is the root.
    pub parent: Option<u32>,
    /// Its path below the root: `kubepods/pod1`.
    pub path: String,
}

/// How a task left a CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Left {
    /// Still runnable, taken off by the scheduler (`R+`): an involuntary switch.
    Preempted,
    /// Still runnable, gave way itself (`R`): counted involuntary, as the kernel does.
    Yielded,
    /// Went to sleep (`S`): a voluntary switch.
    Blocked,
    /// Ended (`X`): counted voluntary.
    Exited,
    /// The idle task made way.
    Idle,
}

impl Left {
    /// Whether the kernel counts the switch as voluntary (classes.md A.7).
    #[inline]
    pub fn voluntary(self) -> bool {
        matches!(self, Self::Blocked | Self::Exited)
    }

    /// The number it has in fingerprints and recordings; frozen.
    #[inline(always)]
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Preempted => 0,
            Self::Yielded => 1,
            Self::Blocked => 2,
            Self::Exited => 3,
            Self::Idle => 4,
        }
    }

    /// The letter of `prev_state` in `sched_switch`.
    pub fn state_letter(self) -> &'static str {
        match self {
            Self::Preempted => "R+",
            Self::Yielded | Self::Idle => "R",
            Self::Blocked => "S",
            Self::Exited => "X",
        }
    }
}

/// Policy and priority as fingerprints and recordings number them; frozen.
pub(crate) fn policy_numbers(policy: Policy) -> (u8, u8) {
    match policy {
        Policy::Normal => (0, 0),
        Policy::Batch => (1, 0),
        Policy::Idle => (2, 0),
        Policy::Fifo(priority) => (3, priority.get()),
        Policy::Rr(priority) => (4, priority.get()),
        Policy::Stop => (5, 0),
        Policy::Deadline(_) => (6, 0),
    }
}

/// One loop of one phase, as rt-app's log has it. All times in ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoopRecord {
    /// Number of the thread in the whole workload, as rt-app prints it in column `idx`.
    pub index: u32,
    /// Amount of work asked for by `run` events (not `runtime`).
    pub work_ns: u64,
    /// Time from start to end of the run events, waiting included.
    pub run_ns: u64,
    /// When the loop began.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// Time left when the last timer was armed; negative when it had already passed.
    pub slack_ns: i64,
    /// Configured duration of run and runtime events.
    pub configured_run_ns: u64,
    /// Configured period of the timers.
    pub configured_period_ns: u64,
    /// Sum of the wakeup latencies after timers.
    pub wakeup_latency_ns: u64,
}

/// One thing that happened. Its time and order are those of the stream.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event {
    /// A blocked or new task became runnable on `cpu` (`sched_wakeup`, `sched_wakeup_new`).
    Wakeup {
        /// Who.
        task: Slot,
        /// On which CPU it is queued.
        cpu: CpuId,
        /// Who woke it, if a task did.
        waker: Option<Slot>,
        /// A fork, not a wakeup.
        new: bool,
    },
    /// `cpu` went from one task to another (`sched_switch`). `None` is the idle task.
    Switch {
        /// Where.
        cpu: CpuId,
        /// Who ran.
        prev: Option<Slot>,
        /// Why it no longer does.
        left: Left,
        /// Who runs now.
        next: Option<Slot>,
    },
    /// A runnable or waking task changed CPU (`sched_migrate_task`).
    Migrate {
        /// Who.
        task: Slot,
        /// From where.
        from: CpuId,
        /// To where.
        to: CpuId,
    },
    /// Policy, nice or slice changed; the new [`TaskInfo`] was announced just before.
    Changed {
        /// Whose.
        task: Slot,
    },
    /// The task is gone and its slot may be used again. Follows its last `Switch`.
    Exit {
        /// Who.
        task: Slot,
    },
    /// A job was answered: from its release (timer expiry, request arrival, wakeup) to its end
    /// (the task blocks again, or replies). `response_ns` is the time between.
    Response {
        /// Who did the job.
        task: Slot,
        /// From release to completion.
        response_ns: u64,
    },
    /// A loop of a phase ended (rt-app's log line). Only sent to sinks that ask with
    /// [`Sink::wants_loops`].
    Loop {
        /// Whose.
        task: Slot,
        /// The line.
        record: LoopRecord,
    },
    /// The scheduler's own figures for a fair task at this moment; only sent to sinks that ask
    /// with [`Sink::wants_values`], on every switch for the tasks that leave and come.
    Values {
        /// Whose.
        task: Slot,
        /// Its CPU.
        cpu: CpuId,
        /// Virtual runtime, ns.
        vruntime_ns: u64,
        /// Lag in virtual ns, positive when service is owed; 0 for CFS.
        lag_ns: i64,
    },
    /// A group has used up its quota on a CPU and stops there, or goes on.
    Throttle {
        /// Which.
        group: u32,
        /// Where.
        cpu: CpuId,
        /// It stops.
        stops: bool,
    },
    /// A deadline task has used up its budget, or given it away, and stops, or goes on with its next.
    Budget {
        /// Who.
        task: Slot,
        /// Where.
        cpu: CpuId,
        /// It stops.
        stops: bool,
    },
    /// The FIFO and RR tasks of a CPU, or of a group there, have used up what they may of a period and
    /// stop, or go on.
    RtThrottle {
        /// Whose; `None` is all of the CPU.
        group: Option<u32>,
        /// Where.
        cpu: CpuId,
        /// They stop.
        stops: bool,
    },
    /// The kernel sends a signal for using too much CPU time.
    Signal {
        /// To whom.
        task: Slot,
        /// `SIGKILL`, not `SIGXCPU`.
        kills: bool,
    },
    /// A device began to work on a submission, or (`busy: false`) has run out of work.
    Device {
        /// Its number.
        device: u32,
        /// Whether it works.
        busy: bool,
    },
}

/// Takes the stream in. Times never decrease.
pub trait Sink {
    /// There is a group.
    fn group(&mut self, now_ns: u64, info: &GroupInfo) {
        let _ = (now_ns, info);
    }

    /// A task appeared (before its first event) or changed its attributes.
    fn task(&mut self, now_ns: u64, info: &TaskInfo);

    /// Something happened.
    fn event(&mut self, now_ns: u64, event: &Event);

    /// Whether [`Event::Values`] should be computed and sent. Asked once, at the start.
    fn wants_values(&self) -> bool {
        false
    }

    /// Whether [`Event::Loop`] should be sent. Asked once, at the start.
    fn wants_loops(&self) -> bool {
        false
    }

    /// The stream has ended at this time.
    fn finish(&mut self, now_ns: u64) {
        let _ = now_ns;
    }
}

/// Takes nothing in.
impl Sink for () {
    fn task(&mut self, _: u64, _: &TaskInfo) {}
    fn event(&mut self, _: u64, _: &Event) {}
}

/// Both get everything.
impl<A: Sink, B: Sink> Sink for (A, B) {
    fn group(&mut self, now_ns: u64, info: &GroupInfo) {
        self.0.group(now_ns, info);
        self.1.group(now_ns, info);
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.0.task(now_ns, info);
        self.1.task(now_ns, info);
    }

    #[inline(always)]
    fn event(&mut self, now_ns: u64, event: &Event) {
        self.0.event(now_ns, event);
        self.1.event(now_ns, event);
    }

    fn wants_values(&self) -> bool {
        self.0.wants_values() || self.1.wants_values()
    }

    fn wants_loops(&self) -> bool {
        self.0.wants_loops() || self.1.wants_loops()
    }

    fn finish(&mut self, now_ns: u64) {
        self.0.finish(now_ns);
        self.1.finish(now_ns);
    }
}

impl<S: Sink> Sink for &mut S {
    fn group(&mut self, now_ns: u64, info: &GroupInfo) {
        (**self).group(now_ns, info);
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        (**self).task(now_ns, info);
    }

    #[inline(always)]
    fn event(&mut self, now_ns: u64, event: &Event) {
        (**self).event(now_ns, event);
    }

    fn wants_values(&self) -> bool {
        (**self).wants_values()
    }

    fn wants_loops(&self) -> bool {
        (**self).wants_loops()
    }

    fn finish(&mut self, now_ns: u64) {
        (**self).finish(now_ns);
    }
}

impl<S: Sink> Sink for Option<S> {
    fn group(&mut self, now_ns: u64, info: &GroupInfo) {
        if let Some(sink) = self {
            sink.group(now_ns, info);
        }
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        if let Some(sink) = self {
            sink.task(now_ns, info);
        }
    }

    #[inline(always)]
    fn event(&mut self, now_ns: u64, event: &Event) {
        if let Some(sink) = self {
            sink.event(now_ns, event);
        }
    }

    fn wants_values(&self) -> bool {
        self.as_ref().is_some_and(Sink::wants_values)
    }

    fn wants_loops(&self) -> bool {
        self.as_ref().is_some_and(Sink::wants_loops)
    }

    fn finish(&mut self, now_ns: u64) {
        if let Some(sink) = self {
            sink.finish(now_ns);
        }
    }
}
