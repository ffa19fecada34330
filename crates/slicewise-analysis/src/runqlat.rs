//! Histograms of waits for a CPU: what bcc's runqlat prints.

use slicewise_ftrace::Event;

use crate::distribution::{ByWhom, CountOptions, Counts, Distribution};
use crate::rules::Rules;
use crate::threads::Threads;
use crate::waits::Waits;

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunqlatOptions {
    /// What counts as a wait.
    pub rules: Rules,
    /// Milliseconds instead of microseconds.
    pub ms: bool,
    /// For whom.
    pub by: ByWhom,
    /// Only tasks of this process.
    pub pid: Option<i32>,
}

/// Takes in a trace.
#[derive(Clone, Debug, Default)]
pub struct Runqlat {
    waits: Waits,
    counts: Counts,
}

impl Runqlat {
    /// Nothing yet.
    pub fn new(options: RunqlatOptions) -> Self {
        let RunqlatOptions { rules, ms, by, pid } = options;
        Self { waits: Waits::new(rules), counts: Counts::new(CountOptions { ms, by, pid }) }
    }

    /// Takes in an event; `threads` must have seen it.
    #[inline]
    pub fn event(&mut self, threads: &mut Threads, event: &Event) {
        if let Some(waited) = self.waits.event(threads, event) {
            self.counts.add(threads, waited.task, waited.ns());
        }
    }

    /// The histograms, by number.
    pub fn distributions(&self, threads: &Threads) -> Vec<Distribution> {
        self.counts.distributions(threads)
    }
}
