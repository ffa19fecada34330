//! What the machine knows of each task and each CPU.

use slicewise_sched::TaskId;
use slicewise_trace::{Event, LoopRecord, Sink, Slot};
use smallvec::SmallVec;

use crate::groups::{GroupTimes, count_group_time};
use crate::rng::Rng;
use crate::speed::Pace;

/// No task, no CPU, no wait queue.
pub(crate) const NONE: u32 = u32::MAX;

/// How the time the task needs now is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Span {
    /// `left` is CPU time.
    Work,
    /// `left` is a point in time.
    Until,
    /// Never done.
    Forever,
}

/// What comes when the time the task needs now is spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    /// The first step of the program.
    Begin,
    /// The next step of the program.
    Fetch,
    /// A run step is over.
    EndRun,
    /// Leave the system call.
    EndCall,
    /// Wake the first of `wake_queue`, then the rest of the series.
    Wake,
    /// Go to sleep on the condition variable, which the task has joined already.
    SleepOnCondition,
    /// Take the mutex again after a condition wait.
    Reacquire,
    /// Make a task from the template `argument`.
    Fork,
    /// A periodic timer has woken the task: note how late it is.
    AfterTimer,
    /// The end, after its beginning.
    Exit,
}

/// The part of a task that most events touch: a cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// CPU time or point in time, as `span` says.
    pub(crate) left: u64,
    /// The next step.
    pub(crate) pc: u32,
    /// Where it runs or ran last.
    pub(crate) cpu: u32,
    pub(crate) span: Span,
    pub(crate) then: Then,
    /// What comes when the series of wakeups is over.
    pub(crate) after_wakes: Then,
    /// Inside a system call.
    pub(crate) kernel: bool,
    pub(crate) alive: bool,
    /// Made by a fork, not there from the start.
    pub(crate) forked: bool,
    pub(crate) blocked: bool,
    /// Taken out of the wait queue it had joined, before it could go to sleep.
    pub(crate) woken_early: bool,
    /// A job is under way, released at `release_ns`.
    pub(crate) job: bool,
    /// Only replies end jobs.
    pub(crate) replies: bool,
    /// It has taken a request.
    pub(crate) has_request: bool,
    pub(crate) release_ns: u64,
    /// The next in the same wait queue.
    pub(crate) next_waiter: u32,
    /// The wait queue it is in.
    pub(crate) waits_in: u32,
    /// Mutex to take again, template to fork: as `then` says.
    pub(crate) argument: u32,
    /// Its group, or [`NONE`] for the root.
    pub(crate) group: u32,
    /// Its nice value is above 0.
    pub(crate) nice: bool,
    /// Has used up its deadline budget, and a signal is to be sent at a tick.
    pub(crate) overrun: bool,
    /// A signal waits for it to be in user mode.
    pub(crate) signalled: bool,
}

/// The rest; what periodic timers need comes first.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct TaskDetail {
    /// The last expiry of each timer of its own, by number.
    pub(crate) timers: SmallVec<[(u32, u64); 1]>,
    /// When the task began to execute its program.
    pub(crate) first_ns: u64,
    /// When the timer the task sleeps on expires.
    pub(crate) expiry_ns: u64,
    /// When the task went to sleep last in a wait queue.
    pub(crate) blocked_ns: u64,
    pub(crate) spec: u32,
    pub(crate) pid: u32,
    pub(crate) rng: Rng,
    /// The wait queue it wakes from, and how many of it.
    pub(crate) wake_queue: u32,
    pub(crate) wakes_left: u32,
    /// How often each open loop has still to run.
    pub(crate) loops: SmallVec<[u64; 2]>,
    /// The log line under way, for programs that write a log.
    pub(crate) log: Option<Box<Log>>,
    /// Requests and devices, which most tasks have nothing to do with.
    pub(crate) dealings: Option<Box<Dealings>>,
}

/// What a task has to do with request queues and devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dealings {
    /// The request taken last: arrival and service time.
    pub(crate) request: Request,
    /// Work that waits for room in a device's queue.
    pub(crate) submission_ns: u64,
    /// By device the task has used: the number of its last submission.
    pub(crate) submissions: SmallVec<[(u32, u64); 1]>,
}

/// A log line under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) record: LoopRecord,
    /// The slack of all timers since the line began.
    pub(crate) slack_sum: i64,
    /// When the run step under way began.
    pub(crate) run_started_ns: u64,
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Request {
    /// In [`Workload::queues`](crate::Workload::queues).
    pub(crate) queue: u32,
    pub(crate) arrival_ns: u64,
    pub(crate) service_ns: u64,
}

/// Whether the scheduler wants this CPU to choose again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Pending {
    Nothing,
    Lazy,
    Now,
}

/// A CPU.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Cpu {
    /// Slot of the running task, or [`NONE`].
    pub(crate) current: u32,
    pub(crate) pending: Pending,
    /// The running task is to be parked as soon as it is in user mode.
    pub(crate) park: bool,
    /// In the list of CPUs to reschedule.
    pub(crate) listed: bool,
    /// In the list of CPUs to go on with.
    pub(crate) ready: bool,
    /// CPU time the machine itself has still to spend here before the running task goes on.
    pub(crate) overhead_left: u64,
    /// Up to when everything is accounted.
    pub(crate) since_ns: u64,
    /// How fast the running task gets on.
    pub(crate) pace: Pace,
    /// Until when interrupts of the workload have it.
    pub(crate) irq_until_ns: u64,
    /// How many came, and their time.
    pub(crate) irq_count: u64,
    pub(crate) irq_ns: u64,
    /// Ticks that interrupted it.
    pub(crate) tick_count: u64,
    /// Does without ticks where it can.
    pub(crate) nohz_full: bool,
    /// And does now: another CPU looks after it once a second.
    pub(crate) tickless: bool,
    /// Total time not idle.
    pub(crate) busy_ns: u64,
    /// Of it, spent by the machine itself.
    pub(crate) overhead_ns: u64,
    /// The next tick on the grid, and the part of a ns it is late, in 1/hz.
    pub(crate) tick_ns: u64,
    pub(crate) tick_fraction: u64,
    /// Where the grid begins.
    pub(crate) tick_base_ns: u64,
}

impl Task {
    pub(crate) fn new(id: TaskId, cpu: u32, entry: u32, replies: bool, now: u64) -> Self {
        Self {
            id,
            left: 0,
            pc: entry,
            cpu,
            span: Span::Work,
            then: Then::Begin,
            after_wakes: Then::Fetch,
            kernel: false,
            alive: true,
            forked: false,
            blocked: false,
            woken_early: false,
            job: true,
            replies,
            has_request: false,
            release_ns: now,
            next_waiter: NONE,
            waits_in: NONE,
            argument: 0,
            group: NONE,
            nice: false,
            overrun: false,
            signalled: false,
        }
    }
}

impl Task {
    /// The job under way, if any, is done.
    #[inline(always)]
    pub(crate) fn end_job(&mut self, slot: u32, now: u64, sink: &mut impl Sink) {
        if core::mem::replace(&mut self.job, false) && !self.replies {
            let response_ns = now - self.release_ns;
            sink.event(now, &Event::Response { task: Slot(slot), response_ns });
        }
    }
}

impl Cpu {
    /// Counts the time since the last call, first against what the machine itself costs, then for
    /// the task, which is the current one.
    #[inline(always)]
    pub(crate) fn account(&mut self, now: u64, task: Option<&mut Task>, groups: &mut [GroupTimes]) {
        let elapsed = now - self.since_ns;
        if elapsed == 0 {
            return;
        }
        self.since_ns = now;
        let overhead = elapsed.min(self.overhead_left);
        self.overhead_left -= overhead;
        let Some(task) = task else { return };
        self.busy_ns += elapsed;
        self.overhead_ns += overhead;
        let mut work = elapsed - overhead;
        if !self.pace.is_full() {
            work = self.pace.work_of(work);
        }
        if task.span == Span::Work {
            task.left = task.left.saturating_sub(work);
        }
        if task.group != NONE {
            count_group_time(groups, task, elapsed, overhead);
        }
    }
}

impl TaskDetail {
    /// Requests and devices of this task.
    pub(crate) fn dealings(&mut self) -> &mut Dealings {
        self.dealings.get_or_insert_default()
    }

    pub(crate) fn new(spec: u32, pid: u32, rng: Rng) -> Self {
        Self {
            rng,
            spec,
            pid,
            wake_queue: NONE,
            wakes_left: 0,
            first_ns: 0,
            loops: SmallVec::new(),
            blocked_ns: 0,
            timers: SmallVec::new(),
            log: None,
            expiry_ns: 0,
            dealings: None,
        }
    }

    /// For the next task in the slot, which takes over the room of the last one's loops, log and dealings.
    pub(crate) fn reset(&mut self, spec: u32, pid: u32, rng: Rng) {
        let mut loops = core::mem::take(&mut self.loops);
        loops.clear();
        let mut log = self.log.take();
        if let Some(log) = &mut log {
            **log = Log::default();
        }
        let mut dealings = self.dealings.take();
        if let Some(dealings) = &mut dealings {
            **dealings = Dealings::default();
        }
        *self = Self { loops, log, dealings, ..Self::new(spec, pid, rng) };
    }
}
