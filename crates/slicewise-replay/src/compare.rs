//! How far a replay is from the recording.

use crate::delays::TaskDelays;
use crate::script::ScriptId;

/// Tasks with fewer wakeups are not held to anything.
const WAKEUPS_MIN: usize = 100;
/// How far off a replay may be: so many of a hundred, or a tick.
const OFF_PERCENT: u64 = 15;

/// A task, recorded and replayed under the same conditions. Delays after wakeups, ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskComparison {
    /// Which.
    pub script: ScriptId,
    /// Delays in the recording.
    pub wakeups: u64,
    /// Recorded and replayed: half of the delays are below.
    pub p50_ns: (u64, u64),
    /// Recorded and replayed: 99 of 100 are below.
    pub p99_ns: (u64, u64),
    /// Whether each is within 15 % of the recording, or within a tick.
    pub holds: bool,
}

/// How far a replay under the same conditions is from the recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayError {
    /// Tasks with 100 delays after wakeups or more, the furthest off first.
    pub tasks: Vec<TaskComparison>,
    /// CPU time of all tasks, recorded and replayed, ns.
    pub cpu_ns: (u64, u64),
    /// All time that tasks waited, recorded and replayed, ns.
    pub waited_ns: (u64, u64),
}

fn is_close(recorded: u64, replayed: u64, tick_ns: u64) -> bool {
    let off = recorded.abs_diff(replayed);
    off <= tick_ns || off <= recorded / 100 * OFF_PERCENT
}

impl ReplayError {
    /// Compares by script.
    pub fn new(recorded: &[TaskDelays], replayed: &[TaskDelays], tick_ns: u64) -> Self {
        let pairs = || recorded.iter().zip(replayed);
        let mut tasks: Vec<TaskComparison> = pairs()
            .enumerate()
            .filter(|(_, (recorded, _))| recorded.wakeups_ns.len() >= WAKEUPS_MIN)
            .map(|(script, (recorded, replayed))| {
                let both = |permille| {
                    let of = |delays: &TaskDelays| delays.permille(permille).unwrap_or(0);
                    (of(recorded), of(replayed))
                };
                let (p50_ns, p99_ns) = (both(500), both(990));
                let holds =
                    is_close(p50_ns.0, p50_ns.1, tick_ns) && is_close(p99_ns.0, p99_ns.1, tick_ns);
                let (script, wakeups) = (script as ScriptId, recorded.wakeups_ns.len() as u64);
                TaskComparison { script, wakeups, p50_ns, p99_ns, holds }
            })
            .collect();
        let off = |task: &TaskComparison| task.p99_ns.0.abs_diff(task.p99_ns.1);
        tasks.sort_by_key(|task| (task.holds, std::cmp::Reverse(off(task)), task.script));
        let sum = |of: fn(&TaskDelays) -> u64| {
            let add = |sums: (u64, u64), (recorded, replayed): (&TaskDelays, &TaskDelays)| {
                (sums.0 + of(recorded), sums.1 + of(replayed))
            };
            pairs().fold((0, 0), add)
        };
        Self { tasks, cpu_ns: sum(|task| task.cpu_ns), waited_ns: sum(TaskDelays::waited_ns) }
    }

    /// How many tasks are close to the recording, and of how many.
    pub fn held(&self) -> (usize, usize) {
        (self.tasks.iter().filter(|task| task.holds).count(), self.tasks.len())
    }
}
