//! How long tasks waited for a CPU: recordings and simulations by the same rules.

use slicewise_analysis::{Begun, Rules, Threads, Waits};
use slicewise_ftrace::{Event, Kind};

/// How long a task waited and ran.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskDelays {
    /// Each delay after a wakeup, ns, the shortest first.
    pub wakeups_ns: Vec<u64>,
    /// Delays after it was taken off its CPU: how many, and how long together, ns.
    pub preempted: u64,
    /// See there.
    pub preempted_ns: u64,
    /// CPU time, ns.
    pub cpu_ns: u64,
}

impl TaskDelays {
    /// The delay after a wakeup that so many of a thousand do not exceed, ns; `None` without wakeups.
    pub fn permille(&self, permille: u64) -> Option<u64> {
        let all = self.wakeups_ns.len() as u64;
        let rank = (all * permille).div_ceil(1000).max(1);
        self.wakeups_ns.get(rank as usize - 1).copied()
    }

    /// All time it waited, ns.
    pub fn waited_ns(&self) -> u64 {
        self.wakeups_ns.iter().fold(self.preempted_ns, |sum, ns| sum.saturating_add(*ns))
    }

    /// The mean delay after a wakeup, ns.
    pub fn mean_ns(&self) -> Option<u64> {
        let sum: u64 = self.wakeups_ns.iter().fold(0, |sum, ns| sum.saturating_add(*ns));
        sum.checked_div(self.wakeups_ns.len() as u64)
    }

    /// Both, as of one task.
    pub fn add(&mut self, other: &Self) {
        self.wakeups_ns.extend(&other.wakeups_ns);
        self.wakeups_ns.sort_unstable();
        self.preempted += other.preempted;
        self.preempted_ns += other.preempted_ns;
        self.cpu_ns += other.cpu_ns;
    }
}

/// Measures the delays of all tasks of a trace.
#[derive(Clone, Debug, Default)]
pub struct DelayMeter {
    waits: Waits,
    tasks: Vec<TaskDelays>,
    /// By CPU: who runs there, and since when.
    running: Vec<Option<(usize, u64)>>,
}

impl DelayMeter {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { waits: Waits::new(Rules::All), ..Self::default() }
    }

    /// Takes in an event. `threads` must have seen it.
    pub fn event(&mut self, threads: &mut Threads, event: &Event) {
        if let Some(waited) = self.waits.event(threads, event) {
            let task = self.of(waited.task.index());
            match waited.begun {
                Begun::Wakeup | Begun::New => task.wakeups_ns.push(waited.ns()),
                Begun::Preempted => {
                    task.preempted += 1;
                    task.preempted_ns += waited.ns();
                }
            }
        }
        if let Kind::Switch(switch) = &event.kind {
            let cpu = event.cpu as usize;
            if self.running.len() <= cpu {
                self.running.resize(cpu + 1, None);
            }
            let next = (switch.next.pid != 0).then(|| threads.of(&switch.next).index());
            let next = next.map(|task| (task, event.time_ns));
            if let Some((task, since_ns)) = std::mem::replace(&mut self.running[cpu], next) {
                self.of(task).cpu_ns += event.time_ns.saturating_sub(since_ns);
            }
        }
    }

    fn of(&mut self, task: usize) -> &mut TaskDelays {
        if self.tasks.len() <= task {
            self.tasks.resize(task + 1, TaskDelays::default());
        }
        &mut self.tasks[task]
    }

    /// The end, at this time. By the index of [`ThreadId`](slicewise_analysis::ThreadId); the last may be
    /// missing.
    pub fn finish(mut self, now_ns: u64) -> Vec<TaskDelays> {
        for (task, since_ns) in std::mem::take(&mut self.running).into_iter().flatten() {
            self.of(task).cpu_ns += now_ns.saturating_sub(since_ns);
        }
        for task in &mut self.tasks {
            task.wakeups_ns.sort_unstable();
        }
        self.tasks
    }
}
