//! Stretches without events that nobody announced: a kernel switches events off and on while it boots.
//!
//! That events are missing shows at a charge that is much shorter than the time since the last one. Who
//! waited before may have run and gone to sleep meanwhile. What the trace says of it later tells: who
//! is woken, or is not taken when the CPU goes idle, had gone to sleep; who is taken had not.

use std::collections::{BTreeMap, HashMap};

use slicewise_ftrace::{StatRuntime, Switch, SwitchState};

/// Charges and the times of events drift apart by no more than this while one task runs.
pub(crate) const DRIFT_NS_MAX: u64 = 1_000_000;
/// Tasks that are remembered.
const TASKS_MAX: usize = 1 << 16;

/// By the time of the charge that showed it: who went to sleep unseen.
pub(crate) type Slept = HashMap<u64, Vec<i32>>;

/// The search for gaps.
#[derive(Default)]
pub(crate) struct Gaps {
    /// By CPU: who runs, and since when it has not been charged.
    running: HashMap<u32, (i32, u64)>,
    /// Who waits, and where; with the gap that may have seen it run.
    waiting: BTreeMap<i32, (u32, Option<u64>)>,
    slept: Slept,
    nr_slept: usize,
}

impl Gaps {
    pub(crate) fn switch(&mut self, cpu: u32, time_ns: u64, switch: &Switch) {
        let (prev, next) = (switch.prev.pid, switch.next.pid);
        if matches!(switch.prev_state, SwitchState::Runnable | SwitchState::Preempted) && prev != 0
        {
            self.wait(prev, cpu);
        } else {
            self.waiting.remove(&prev);
        }
        self.waiting.remove(&next);
        if next == 0 {
            let here: Vec<i32> =
                self.waiting.iter().filter(|(_, at)| at.0 == cpu).map(|(pid, _)| *pid).collect();
            for pid in here {
                self.asleep(pid);
            }
        }
        self.running.insert(cpu, (next, time_ns));
    }

    pub(crate) fn wakeup(&mut self, pid: i32, cpu: u32) {
        self.asleep(pid);
        self.wait(pid, cpu);
    }

    pub(crate) fn charge(&mut self, cpu: u32, time_ns: u64, stat: &StatRuntime) {
        let Some((pid, since_ns)) = self.running.get_mut(&cpu) else { return };
        if *pid != stat.pid {
            return;
        }
        let elapsed_ns = time_ns.saturating_sub(std::mem::replace(since_ns, time_ns));
        if elapsed_ns > stat.runtime_ns.saturating_add(DRIFT_NS_MAX) {
            for (at, gap) in self.waiting.values_mut() {
                if *at == cpu {
                    gap.get_or_insert(time_ns);
                }
            }
        }
    }

    fn wait(&mut self, pid: i32, cpu: u32) {
        if self.waiting.len() < TASKS_MAX {
            self.waiting.insert(pid, (cpu, None));
        }
    }

    /// It does not wait any more, and was not seen to run: it ran in a gap.
    fn asleep(&mut self, pid: i32) {
        if let Some((_, Some(gap_ns))) = self.waiting.remove(&pid)
            && self.nr_slept < TASKS_MAX
        {
            self.nr_slept += 1;
            self.slept.entry(gap_ns).or_default().push(pid);
        }
    }

    pub(crate) fn slept(self) -> Slept {
        self.slept
    }
}
