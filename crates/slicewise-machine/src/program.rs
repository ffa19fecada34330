//! What tasks do: programs for the simulated machine, and the workload that holds them.
//!
//! A [`Workload`] is complete and checked: names have become indices, durations nanoseconds,
//! instances single tasks. Formats (scenario files, rt-app JSON) are read elsewhere and end here.

use slicewise_sched::bandwidth::Limit;
use slicewise_sched::{Attr, CpuSet, RtLimit, Shares};

use crate::{Dist, InterruptSource, Share};

/// Index of a [`Program`] in [`Workload::programs`].
pub type ProgramId = u32;
/// Index of an [`Op`] in [`Program::ops`].
pub type OpIndex = u32;

/// Everything the machine runs.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Programs, shared by the tasks that run them.
    pub programs: Vec<Program>,
    /// The tasks there are from the start, and those that only exist as templates for
    /// [`Op::Fork`].
    pub tasks: Vec<TaskSpec>,
    /// Task groups, by index: each after the one it is in.
    pub groups: Vec<GroupSpec>,
    /// Mutexes, by index.
    pub mutexes: Vec<MutexSpec>,
    /// Names of condition variables, by index.
    pub conditions: Vec<String>,
    /// Barriers, by index.
    pub barriers: Vec<Barrier>,
    /// Timers, by index.
    pub timers: Vec<TimerSpec>,
    /// Semaphores, by index.
    pub semaphores: Vec<Semaphore>,
    /// Devices, by index.
    pub devices: Vec<Device>,
    /// Request queues, by index.
    pub queues: Vec<Queue>,
    /// Sources of interrupts, by index.
    pub interrupts: Vec<InterruptSource>,
    /// Memory that tasks share, by index.
    pub memories: Vec<MemorySpec>,
    /// When nothing can ever happen again, but tasks still wait, the run just ends
    /// ([`End::Stuck`](crate::End::Stuck)) instead of failing.
    pub stuck_is_end: bool,
}

impl Workload {
    /// Adds a group with default settings to another, or to the root, and gives its number.
    ///
    /// ```
    /// use slicewise_machine::Workload;
    ///
    /// let mut workload = Workload::default();
    /// let pods = workload.add_group(None, "kubepods");
    /// let pod = workload.add_group(Some(pods), "pod1");
    /// assert_eq!(workload.groups[pod as usize].path, "kubepods/pod1");
    /// ```
    pub fn add_group(&mut self, parent: Option<u32>, name: &str) -> u32 {
        let above = parent.and_then(|parent| self.groups.get(parent as usize));
        let path = above.map_or(name.to_owned(), |above| format!("{}/{name}", above.path));
        self.groups.push(GroupSpec { path, parent, ..GroupSpec::default() });
        self.groups.len() as u32 - 1
    }
}

/// A task group: a cgroup with the cpu controller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupSpec {
    /// Its path below the root: `kubepods/pod1`.
    pub path: String,
    /// The group it is in, a lower index of [`Workload::groups`]; `None` is the root.
    pub parent: Option<u32>,
    /// Its weight.
    pub shares: Shares,
    /// `cpu.idle`: it weighs next to nothing, whatever `shares` says.
    pub idle: bool,
    /// Quota, period and burst.
    pub limit: Limit,
    /// A point of the grid its periods are on, ns. `None` is as on the kernel: 0 up to 6.2, random
    /// from 6.3 on.
    pub phase_ns: Option<u64>,
    /// Its real-time limit, where the kernel has them for groups (RT_GROUP_SCHED).
    pub rt: RtLimit,
    /// Of a session (autogroup), whose real-time tasks are the root's.
    pub session: bool,
}

/// A sequence of operations.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The operations. Running off the end is an exit.
    pub ops: Vec<Op>,
}

/// A task, or a template for forked tasks.
#[derive(Clone, Debug)]
pub struct TaskSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub program: ProgramId,
    /// Policy, nice, slice at the start.
    pub attr: Attr,
    /// Where it may run at the start.
    pub affinity: CpuSet,
    /// When it is forked, ns from the start of the run.
    pub start_ns: u64,
    /// The group it starts in, in [`Workload::groups`]; `None` is that of its parent if it is
    /// forked, else the root.
    pub group: Option<u32>,
    /// Only made by [`Op::Fork`], never at the start.
    pub template: bool,
    /// How long it may run in a real-time policy without sleeping (`RLIMIT_RTTIME`).
    pub rttime: Option<RtTimeLimit>,
    /// Where its memory is.
    pub memory: TaskMemory,
    /// Number among the instances of one thread object (rt-app's log needs it).
    pub index: u32,
    /// Where it was written, for error messages.
    pub origin: Origin,
}

/// Where a task's memory is, and how much it matters. Where it is means something with a
/// [`SpeedModel`](crate::SpeedModel), or where there are [`pages`](Self::pages), only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TaskMemory {
    /// On which node.
    pub node: MemoryNode,
    /// How much of its time with local memory the task waits for memory; `None` is
    /// [`SpeedModel::memory_bound`](crate::SpeedModel::memory_bound).
    pub bound: Option<Share>,
    /// How much there is, page by page; `None` is memory of no size, which nothing moves.
    pub pages: Option<TaskPages>,
}

/// Memory that is accessed page by page, and may move. One page is 2 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskPages {
    /// Memory of its own, bytes; 0 is none.
    pub bytes: u64,
    /// How fast it walks through memory while it has a CPU, bytes a second.
    pub rate: u64,
    /// The memory it shares, in [`Workload::memories`]. Tasks that share one are threads of a process.
    pub shared: Option<u32>,
    /// How much of its accesses are to that; the others are to its own.
    pub shared_part: Share,
}

/// Memory that tasks share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemorySpec {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Where it is at first.
    pub node: MemoryNode,
}

/// The node of a task's memory: a row of the topology's distances.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemoryNode {
    /// That of the CPU it runs on first.
    #[default]
    FirstTouch,
    /// This one.
    Node(u32),
    /// All of them, in equal parts.
    Interleave,
}

/// `RLIMIT_RTTIME`. The soft limit sends `SIGXCPU`, which the task is taken to handle, and again
/// every second; the hard one kills.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtTimeLimit {
    /// Soft limit, us.
    pub soft_us: u64,
    /// Hard limit, us.
    pub hard_us: u64,
}

/// Where something was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// First byte in the input file.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A periodic timer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimerSpec {
    /// Its name.
    pub name: String,
    /// One for all tasks that use it; otherwise each task has its own.
    pub shared: bool,
}

/// A mutex.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MutexSpec {
    /// Its name.
    pub name: String,
    /// Its owner runs with the priority of the most important task that waits for it, and they get it
    /// by priority (`PTHREAD_PRIO_INHERIT`); otherwise first come, first served.
    pub inherits: bool,
}

/// A barrier: the last of `parties` tasks to arrive lets all go.
#[derive(Clone, Debug)]
pub struct Barrier {
    /// Its name.
    pub name: String,
    /// How many tasks meet, at least 1.
    pub parties: u32,
}

/// A counting semaphore. A post that nobody waits for is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Semaphore {
    /// Its name.
    pub name: String,
    /// How many may take it before anybody posts.
    pub value: u32,
}

/// A device that takes submissions and completes them in order, one at a time (a GPU stream, say).
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// How many submissions may be pending (the one being worked on included) before a submitter
    /// has to wait; `u32::MAX` for no limit.
    pub depth: u32,
}

/// Requests that arrive whether or not anyone is ready for them (an open loop).
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Time between arrivals.
    pub interarrival: Dist,
    /// CPU time each request needs. Drawn at arrival, so that every kernel serves the same load.
    pub service: Dist,
    /// First arrival is one interarrival time after this, ns from the start.
    pub start_ns: u64,
    /// How many requests arrive in all; `None` for no end.
    pub requests: Option<u64>,
    /// How many may wait; arrivals beyond that are dropped and counted.
    pub depth: u32,
}

/// Whether code can be preempted anywhere (user mode) or as the preemption model says (kernel).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// User mode.
    #[default]
    User,
    /// Inside a system call: see [`Preemption`](crate::Preemption).
    Kernel,
}

/// How a periodic timer goes on after an overrun (rt-app's `mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimerMode {
    /// A late task starts a new period from now (rt-app's default).
    #[default]
    Relative,
    /// The grid stays where it was; a late task does not sleep until it has caught up.
    Absolute,
}

/// One step of a program.
#[derive(Clone, Debug)]
pub enum Op {
    /// Use the CPU for this much work.
    Run {
        /// How much, at the speed of the simulated CPU.
        work: Dist,
        /// In user mode or inside a system call.
        mode: Mode,
    },
    /// Use the CPU until this much time has passed since the step began, waiting included
    /// (rt-app's `runtime`).
    RunUntil {
        /// Elapsed time.
        elapsed: Dist,
    },
    /// Use the CPU for ever.
    RunForever,
    /// Sleep for this long, from now.
    Sleep {
        /// How long.
        duration: Dist,
    },
    /// Sleep until this time, ns from the start of the run. Who comes too late does not sleep, and is late.
    SleepUntil {
        /// When.
        at_ns: u64,
    },
    /// Sleep until the next expiry of a periodic timer. Its first expiry is one period after the
    /// task that uses it first began its program.
    Timer {
        /// Which, in [`Workload::timers`].
        timer: u32,
        /// Added to the last expiry.
        period_ns: u64,
        /// What an overrun does.
        mode: TimerMode,
    },
    /// Take a mutex, waiting for it in order of arrival. Not recursive.
    Lock(u32),
    /// Give a mutex back; the first waiter, if any, takes it.
    Unlock(u32),
    /// Give the mutex back, wait for a signal, take the mutex again (`pthread_cond_wait`).
    Wait {
        /// In [`Workload::conditions`].
        condition: u32,
        /// In [`Workload::mutexes`]; must be held.
        mutex: u32,
    },
    /// Wake the first waiter, if any. A signal nobody waits for is lost.
    Signal(u32),
    /// Wake all waiters.
    Broadcast(u32),
    /// Meet the other parties.
    Barrier(u32),
    /// Take a semaphore, waiting for a post if it is at 0 (`sem_wait`).
    SemWait(u32),
    /// Post a semaphore: the first waiter takes it, if there is one (`sem_post`).
    SemPost(u32),
    /// Sleep until another task resumes this one. A resume that came before is lost, as in rt-app,
    /// where suspend is a condition wait.
    Suspend,
    /// Wake a suspended task: every living task made from this index of [`Workload::tasks`].
    Resume(u32),
    /// `sched_yield`.
    Yield,
    /// Make a task from a template in [`Workload::tasks`].
    Fork(u32),
    /// Take the next request of a queue, waiting for one. What `Serve` runs is that request.
    Receive(u32),
    /// Use the CPU for the service time of the request taken last.
    Serve,
    /// The request taken last is answered: its response time ends here.
    Reply,
    /// Hand work to a device and go on; wait only when the device's queue is full.
    Submit {
        /// In [`Workload::devices`].
        device: u32,
        /// How long the device works on it.
        work: Dist,
    },
    /// Wait until the device has completed everything this task submitted to it.
    Synchronize(u32),
    /// Change policy, nice or slice of this task.
    SetAttr(Attr),
    /// Change where this task may run.
    SetAffinity(CpuSet),
    /// Begin a loop: the body runs `count` times (`None`: for ever; 0: not at all) up to the
    /// matching [`Op::LoopEnd`].
    LoopBegin {
        /// How often.
        count: Option<u64>,
        /// Index of the matching `LoopEnd`.
        end: OpIndex,
    },
    /// Back to the matching [`Op::LoopBegin`], or on.
    LoopEnd {
        /// Index of the matching `LoopBegin`.
        begin: OpIndex,
    },
    /// Start of a log line (rt-app: a loop of a phase).
    LogBegin,
    /// End of a log line.
    LogEnd {
        /// rt-app's `cumulative_slack`: add up the slack of all timers of the phase.
        cumulative_slack: bool,
    },
    /// End the task.
    Exit,
}
