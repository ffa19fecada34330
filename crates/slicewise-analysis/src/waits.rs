//! Waits for a CPU: from when a task could run to when it does.

use slicewise_ftrace::{Event, Kind, SwitchState};

use crate::rules::Rules;
use crate::threads::{ThreadId, Threads};

/// How a wait began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// With a wakeup.
    Wakeup,
    /// With a fork.
    New,
    /// The task was taken off its CPU though it could go on.
    Preempted,
}

/// A wait that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waited {
    /// Who waited.
    pub task: ThreadId,
    /// Where it runs now.
    pub cpu: u32,
    /// How it began.
    pub begun: Begun,
    /// When it began.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    /// Who ran there until now.
    pub prev: ThreadId,
}

impl Waited {
    /// How long it was.
    pub fn ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }
}

/// Finds waits in a trace.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    rules: Rules,
    by_waking: bool,
    /// By task: since when it waits.
    waiting: Vec<Option<(u64, Begun)>>,
    running: Vec<bool>,
}

impl Waits {
    /// Nothing yet. With [`Rules::Perf6_1`], `sched_waking` and `R+` begin none: that is what bpftrace's
    /// runqlat.bt counts, too.
    pub fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Takes in an event; the wait that it ends. `threads` must have seen it.
    #[inline]
    pub fn event(&mut self, threads: &mut Threads, event: &Event) -> Option<Waited> {
        match &event.kind {
            Kind::Switch(switch) => {
                let prev = threads.of(&switch.prev);
                let next = threads.of(&switch.next);
                let goes_on = match switch.prev_state {
                    SwitchState::Runnable => true,
                    SwitchState::Preempted => self.rules == Rules::All,
                    _ => false,
                };
                if switch.prev.pid != 0 {
                    let (waiting, running) = self.of(prev);
                    *running = false;
                    *waiting = goes_on.then_some((event.time_ns, Begun::Preempted));
                }
                if switch.next.pid == 0 {
                    return None;
                }
                let (waiting, running) = self.of(next);
                *running = true;
                let (from_ns, begun) = waiting.take()?;
                Some(Waited {
                    task: next,
                    cpu: event.cpu,
                    begun,
                    from_ns,
                    to_ns: event.time_ns,
                    prev,
                })
            }
            Kind::Waking(wakeup) if self.rules == Rules::All => {
                self.by_waking = true;
                let task = threads.of(&wakeup.task);
                self.begins(task, event.time_ns, Begun::Wakeup);
                None
            }
            Kind::Wakeup(wakeup) if !self.by_waking => {
                let task = threads.of(&wakeup.task);
                self.begins(task, event.time_ns, Begun::Wakeup);
                None
            }
            Kind::WakeupNew(wakeup) => {
                let task = threads.of(&wakeup.task);
                self.begins(task, event.time_ns, Begun::New);
                None
            }
            _ => None,
        }
    }

    /// A wakeup of a task that runs or waits already begins nothing; by bpftrace's count, it begins anew.
    fn begins(&mut self, task: ThreadId, now_ns: u64, begun: Begun) {
        let anew = self.rules == Rules::Perf6_1;
        let (waiting, running) = self.of(task);
        if anew || (waiting.is_none() && !*running) {
            *waiting = Some((now_ns, begun));
        }
    }

    #[inline]
    fn of(&mut self, task: ThreadId) -> (&mut Option<(u64, Begun)>, &mut bool) {
        let index = task.index();
        if self.waiting.len() <= index {
            self.waiting.resize(index + 1, None);
            self.running.resize(index + 1, false);
        }
        (&mut self.waiting[index], &mut self.running[index])
    }
}
