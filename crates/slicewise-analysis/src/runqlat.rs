//! Histograms of waits for a CPU: what bcc's runqlat prints.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use slicewise_ftrace::Event;
use slicewise_report::{Log2Histogram, RunqlatRow, render_runqlat};

use crate::rules::Rules;
use crate::threads::Threads;
use crate::waits::Waits;

/// For whom there is a histogram of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ByWhom {
    /// One for all.
    #[default]
    All,
    /// `-P`: one for each process.
    Process,
    /// `-L`: one for each task.
    Task,
}

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

/// A histogram as values.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct RunqlatHistogram {
    /// Whose: the process or the task; null for all.
    pub id: Option<i32>,
    /// Its name.
    pub comm: Option<String>,
    /// `usecs` or `msecs`.
    pub unit: &'static str,
    /// How many of what length.
    pub rows: Vec<RunqlatRow>,
}

/// Takes in a trace.
#[derive(Clone, Debug, Default)]
pub struct Runqlat {
    options: RunqlatOptions,
    waits: Waits,
    counts: BTreeMap<i32, Log2Histogram>,
}

impl Runqlat {
    /// Nothing yet.
    pub fn new(options: RunqlatOptions) -> Self {
        Self { options, waits: Waits::new(options.rules), counts: BTreeMap::new() }
    }

    /// Takes in an event; `threads` must have seen it.
    #[inline]
    pub fn event(&mut self, threads: &mut Threads, event: &Event) {
        let Some(waited) = self.waits.event(threads, event) else { return };
        let thread = &threads[waited.task];
        if self.options.pid.is_some_and(|pid| thread.tgid != pid && thread.tid != pid) {
            return;
        }
        let whom = match self.options.by {
            ByWhom::All => 0,
            ByWhom::Process if thread.tgid > 0 => thread.tgid,
            ByWhom::Process | ByWhom::Task => thread.tid,
        };
        let divisor = if self.options.ms { 1_000_000 } else { 1_000 };
        self.counts.entry(whom).or_default().record(waited.ns() / divisor);
    }

    /// The histograms, by number.
    pub fn histograms(&self, threads: &Threads) -> Vec<RunqlatHistogram> {
        let one = |(id, counts): (&i32, &Log2Histogram)| {
            let name = threads.get(*id).map(|task| threads[task].name());
            let id = (self.options.by != ByWhom::All).then_some(*id);
            RunqlatHistogram {
                id,
                comm: id.and(name),
                unit: if self.options.ms { "msecs" } else { "usecs" },
                rows: counts
                    .rows()
                    .map(|(low, high, count)| RunqlatRow { low, high, count })
                    .collect(),
            }
        };
        self.counts.iter().map(one).collect()
    }
}

/// The histograms in runqlat's layout.
pub fn runqlat_text(histograms: &[RunqlatHistogram], by: ByWhom) -> String {
    let mut text = String::new();
    for (number, histogram) in histograms.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        if let Some(id) = histogram.id {
            let what = if by == ByWhom::Task { "tid" } else { "pid" };
            let comm = histogram.comm.as_deref().unwrap_or("");
            let _ = writeln!(text, "{what} = {id} {comm}");
        }
        text.push_str(&render_runqlat(&histogram.rows, histogram.unit));
    }
    text
}
