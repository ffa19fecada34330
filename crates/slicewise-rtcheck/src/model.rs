//! Tasks as schedulability analysis sees them.

/// The longest duration a task may have, ns: a year. Sums of a few of these cannot overflow.
pub const DURATION_MAX_NS: u64 = 365 * 24 * 3600 * 1_000_000_000;

/// The most tasks one analysis takes.
pub const TASKS_MAX: usize = 10_000;

/// The most CPUs a machine may have, as Linux can be configured.
pub const CPUS_MAX: u32 = 8192;

/// The policy a task runs under.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Policy {
    /// `SCHED_FIFO`.
    #[default]
    Fifo,
    /// `SCHED_RR`: as FIFO, but tasks of equal priority take turns.
    Rr,
    /// `SCHED_DEADLINE`: earliest deadline first, each task within its reservation.
    Deadline,
}

impl Policy {
    /// The name in `sched(7)`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fifo => "SCHED_FIFO",
            Self::Rr => "SCHED_RR",
            Self::Deadline => "SCHED_DEADLINE",
        }
    }
}

/// A sporadic task: jobs are released at least a period apart, each needs the CPU for at most its
/// worst-case execution time, and must be done within its deadline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// How it is scheduled.
    pub policy: Policy,
    /// Worst-case execution time of a job, ns.
    pub wcet_ns: u64,
    /// Least time between releases, ns.
    pub period_ns: u64,
    /// From nominal release to the latest allowed end, ns. May be longer than the period.
    pub deadline_ns: u64,
    /// 1 to 99, more is more important; `None` for `Deadline`, and where a priority is to be found.
    pub priority: Option<u8>,
    /// The only CPU it may use; `None` for all CPUs.
    pub core: Option<u32>,
    /// How long it may be held up by something less important (a mutex, a section without
    /// preemption), at most once a job, ns.
    pub blocking_ns: u64,
    /// How late after its nominal release a job may become ready, ns.
    pub jitter_ns: u64,
    /// The reservation's runtime, ns, for `Deadline`; `None` takes the worst-case execution time.
    pub runtime_ns: Option<u64>,
}

impl Task {
    /// A FIFO task with a deadline as long as its period and nothing special.
    pub fn new(name: impl Into<String>, wcet_ns: u64, period_ns: u64) -> Self {
        Self {
            name: name.into(),
            policy: Policy::Fifo,
            wcet_ns,
            period_ns,
            deadline_ns: period_ns,
            priority: None,
            core: None,
            blocking_ns: 0,
            jitter_ns: 0,
            runtime_ns: None,
        }
    }

    /// What `SCHED_DEADLINE` reserves for it, ns a period.
    pub fn reserved_ns(&self) -> u64 {
        self.runtime_ns.unwrap_or(self.wcet_ns)
    }
}

/// A real-time task whose parameters are not known. Nothing it could delay can be proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownTask {
    /// Its name.
    pub name: String,
    /// How it is scheduled.
    pub policy: Policy,
    /// Its priority, for FIFO and RR.
    pub priority: Option<u8>,
    /// The only CPU it may use, if it is only one.
    pub core: Option<u32>,
    /// Why they are not known.
    pub reason: String,
}

/// Everything an analysis looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskSet {
    /// The tasks, in the order in which they ask the kernel for their policies.
    pub tasks: Vec<Task>,
    /// Real-time tasks there are besides.
    pub unknown: Vec<UnknownTask>,
    /// How many CPUs, all of one root domain, at least 1.
    pub cpus: u32,
    /// Of a context switch, ns. Every job is charged two: to it and back.
    pub context_switch_ns: u64,
    /// The FIFO and RR priorities that may be given to tasks: lowest, highest.
    pub band: (u8, u8),
}

impl TaskSet {
    /// These tasks on one CPU, no cost of switching, every priority allowed.
    pub fn new(tasks: Vec<Task>) -> Self {
        Self { tasks, unknown: Vec::new(), cpus: 1, context_switch_ns: 0, band: (1, 99) }
    }

    /// A task as a load on a CPU, with the context switches it causes.
    pub(crate) fn load(&self, task: &Task) -> Load {
        Load {
            wcet_ns: task.wcet_ns.saturating_add(2 * self.context_switch_ns.min(DURATION_MAX_NS)),
            period_ns: task.period_ns,
            jitter_ns: task.jitter_ns,
        }
    }

    /// What is wrong with it, if anything: analyses rely on the ranges.
    pub fn fault(&self) -> Option<String> {
        if self.cpus == 0 || self.cpus > CPUS_MAX {
            return Some(format!("{} CPUs: allowed are 1 to {CPUS_MAX}", self.cpus));
        }
        if self.tasks.len() > TASKS_MAX {
            return Some(format!("{} tasks: allowed are {TASKS_MAX}", self.tasks.len()));
        }
        let (low, high) = self.band;
        if low < 1 || high > 99 || low > high {
            return Some(format!("priorities {low} to {high}: allowed are 1 to 99"));
        }
        if self.context_switch_ns > DURATION_MAX_NS {
            return Some("a context switch takes longer than a year".to_owned());
        }
        self.tasks.iter().find_map(|task| {
            let fault = task_fault(task, self.cpus)?;
            Some(format!("task {}: {fault}", task.name))
        })
    }
}

fn task_fault(task: &Task, cpus: u32) -> Option<&'static str> {
    let needed = [task.wcet_ns, task.period_ns, task.deadline_ns];
    let all = [task.blocking_ns, task.jitter_ns, task.runtime_ns.unwrap_or(0)];
    if needed.contains(&0) {
        Some("wcet, period and deadline are more than 0")
    } else if needed.iter().chain(&all).any(|ns| *ns > DURATION_MAX_NS) {
        Some("a duration is longer than a year")
    } else if task.priority.is_some_and(|priority| !(1..=99).contains(&priority)) {
        Some("priorities are 1 to 99")
    } else if task.core.is_some_and(|core| core >= cpus) {
        Some("its core does not exist")
    } else {
        None
    }
}

/// A source of work for a CPU: what a task is to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Work of one job, ns.
    pub wcet_ns: u64,
    /// Least time between releases, ns.
    pub period_ns: u64,
    /// How late a job may become ready, ns.
    pub jitter_ns: u64,
}

impl Load {
    /// Work released in any window of this length that begins with a critical instant: its first
    /// job at its latest, all others as early as they can be.
    #[inline]
    pub(crate) fn demand(&self, window_ns: u64) -> u128 {
        let jobs = (window_ns + self.jitter_ns).div_ceil(self.period_ns);
        u128::from(jobs) * u128::from(self.wcet_ns)
    }
}
