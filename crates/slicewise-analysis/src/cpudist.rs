//! Histograms of how long tasks stay on a CPU, or off it: what bcc's cpudist prints.

use slicewise_ftrace::{Event, Kind, Switch};

use crate::distribution::{ByWhom, CountOptions, Counts, Distribution};
use crate::threads::{ThreadId, Threads};

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpudistOptions {
    /// `-O`: time off the CPU, from one run to the next, whatever it was for; not time on it.
    pub off_cpu: bool,
    /// Milliseconds instead of microseconds.
    pub ms: bool,
    /// For whom.
    pub by: ByWhom,
    /// Only tasks of this process.
    pub pid: Option<i32>,
}

/// Takes in a trace. As with bcc, the idle task does not count, and neither does what began before the trace or
/// had not ended with it; a gap in the trace ends what was going on at its CPU.
#[derive(Clone, Debug, Default)]
pub struct Cpudist {
    off_cpu: bool,
    counts: Counts,
    /// By CPU: who runs there, since when.
    running: Vec<Option<(ThreadId, u64)>>,
    /// By task: since when it is off its CPU.
    left_ns: Vec<Option<u64>>,
}

impl Cpudist {
    /// Nothing yet.
    pub fn new(options: CpudistOptions) -> Self {
        let CpudistOptions { off_cpu, ms, by, pid } = options;
        Self { off_cpu, counts: Counts::new(CountOptions { ms, by, pid }), ..Self::default() }
    }

    /// Takes in an event; `threads` must have seen it.
    #[inline]
    pub fn event(&mut self, threads: &mut Threads, event: &Event) {
        match &event.kind {
            Kind::Switch(switch) => self.switch(threads, event, switch),
            Kind::Lost(_) => {
                if let Some(running) = self.running.get_mut(event.cpu as usize) {
                    *running = None;
                }
            }
            _ => {}
        }
    }

    fn switch(&mut self, threads: &mut Threads, event: &Event, switch: &Switch) {
        let (cpu, now_ns) = (event.cpu as usize, event.time_ns);
        if self.running.len() <= cpu {
            self.running.resize(cpu + 1, None);
        }
        let (prev, next) = (threads.of(&switch.prev), threads.of(&switch.next));
        let (goes, comes) = (switch.prev.pid != 0, switch.next.pid != 0);
        let ran = std::mem::replace(&mut self.running[cpu], comes.then_some((next, now_ns)));
        if self.off_cpu {
            if goes {
                *self.left_ns(prev) = Some(now_ns);
            }
            if comes && let Some(left_ns) = self.left_ns(next).take() {
                self.counts.add(threads, next, now_ns.saturating_sub(left_ns));
            }
        } else if goes
            && let Some((task, since_ns)) = ran
            && task == prev
        {
            self.counts.add(threads, prev, now_ns.saturating_sub(since_ns));
        }
    }

    fn left_ns(&mut self, task: ThreadId) -> &mut Option<u64> {
        let index = task.index();
        if self.left_ns.len() <= index {
            self.left_ns.resize(index + 1, None);
        }
        &mut self.left_ns[index]
    }

    /// The histograms, by number.
    pub fn distributions(&self, threads: &Threads) -> Vec<Distribution> {
        self.counts.distributions(threads)
    }
}
