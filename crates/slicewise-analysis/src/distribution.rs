//! Histograms by powers of two, in all or for each process or task: what bcc's tools print.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use slicewise_report::{Log2Histogram, RunqlatRow, render_runqlat};

use crate::threads::{ThreadId, Threads};

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

impl ByWhom {
    /// As the options `-P` and `-L` choose.
    pub fn chosen(pids: bool, tids: bool) -> Self {
        match (pids, tids) {
            (true, _) => Self::Process,
            (_, true) => Self::Task,
            _ => Self::All,
        }
    }
}

/// A histogram as values.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct Distribution {
    /// Whose: the process or the task; null for all.
    pub id: Option<i32>,
    /// Its name.
    pub comm: Option<String>,
    /// `usecs` or `msecs`.
    pub unit: &'static str,
    /// How many of what length.
    pub rows: Vec<RunqlatRow>,
}

/// What is counted, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CountOptions {
    pub(crate) ms: bool,
    pub(crate) by: ByWhom,
    /// Only tasks of this process.
    pub(crate) pid: Option<i32>,
}

/// Histograms being filled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    options: CountOptions,
    counts: BTreeMap<i32, Log2Histogram>,
}

impl Counts {
    pub(crate) fn new(options: CountOptions) -> Self {
        Self { options, counts: BTreeMap::new() }
    }

    /// A task waited, ran or slept for so long.
    #[inline]
    pub(crate) fn add(&mut self, threads: &Threads, task: ThreadId, ns: u64) {
        let thread = &threads[task];
        if self.options.pid.is_some_and(|pid| thread.tgid != pid && thread.tid != pid) {
            return;
        }
        let whom = match self.options.by {
            ByWhom::All => 0,
            ByWhom::Process if thread.tgid > 0 => thread.tgid,
            ByWhom::Process | ByWhom::Task => thread.tid,
        };
        let divisor = if self.options.ms { 1_000_000 } else { 1_000 };
        self.counts.entry(whom).or_default().record(ns / divisor);
    }

    /// The histograms, by number.
    pub(crate) fn distributions(&self, threads: &Threads) -> Vec<Distribution> {
        let one = |(id, counts): (&i32, &Log2Histogram)| {
            let name = threads.get(*id).map(|task| threads[task].name());
            let id = (self.options.by != ByWhom::All).then_some(*id);
            let row = |(low, high, count)| RunqlatRow { low, high, count };
            Distribution {
                id,
                comm: id.and(name),
                unit: if self.options.ms { "msecs" } else { "usecs" },
                rows: counts.rows().map(row).collect(),
            }
        };
        self.counts.iter().map(one).collect()
    }
}

/// Histograms in bcc's layout.
pub fn distributions_text(distributions: &[Distribution], by: ByWhom) -> String {
    let mut text = String::new();
    for (number, distribution) in distributions.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        if let Some(id) = distribution.id {
            let what = if by == ByWhom::Task { "tid" } else { "pid" };
            let comm = distribution.comm.as_deref().unwrap_or("");
            let _ = writeln!(text, "{what} = {id} {comm}");
        }
        text.push_str(&render_runqlat(&distribution.rows, distribution.unit));
    }
    text
}
