//! The figures of all tasks, at the end.

use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;

use super::Timehist;
use crate::threads::Threads;

/// A task's figures.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct TimehistTask {
    /// Its name.
    pub comm: String,
    /// Its number.
    pub tid: i32,
    /// Its process; −1 if unknown.
    pub pid: i32,
    /// Who made it; −1 if unknown.
    pub parent: i32,
    /// Times it had a CPU.
    pub runs: u64,
    /// How long in all.
    pub run_ns: u64,
    /// The shortest run.
    pub min_run_ns: u64,
    /// The mean run.
    pub mean_run_ns: u64,
    /// The longest run.
    pub max_run_ns: u64,
    /// The standard error of the mean run, per cent of it.
    pub deviation_percent: f64,
    /// Changes of CPU; counted only where they are shown.
    pub migrations: u64,
    /// Its end was seen.
    pub is_gone: bool,
}

/// The figures of all tasks.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct TimehistSummary {
    /// Those that ran, in the order in which perf has them.
    pub tasks: Vec<TimehistTask>,
    /// By CPU: how long it was idle; `None` if never.
    pub idle_ns: Vec<Option<u64>>,
    /// From the first switch to the last.
    pub span_ns: u64,
    /// Switches of tasks and of idle CPUs.
    pub switches: u64,
    /// Some tasks were left out.
    pub is_filtered: bool,
}

/// Buckets of perf's table of threads: within one they are in order of their numbers.
const BUCKETS: u32 = 256;

pub(super) fn of<W: Write>(timehist: &Timehist<W>, threads: &Threads) -> TimehistSummary {
    let mut known: Vec<usize> =
        (0..timehist.tasks.len()).filter(|at| timehist.tasks[*at].runs.count > 0).collect();
    known.sort_by_key(|at| {
        let tid = threads.all()[*at].tid;
        (tid as u32 % BUCKETS, tid, *at)
    });
    let tasks: Vec<TimehistTask> = known
        .into_iter()
        .map(|at| {
            let (past, thread) = (&timehist.tasks[at], &threads.all()[at]);
            let runs = &past.runs;
            TimehistTask {
                comm: thread.name(),
                tid: thread.tid,
                pid: thread.tgid,
                parent: thread.parent,
                runs: runs.count,
                run_ns: runs.total_ns,
                min_run_ns: runs.min_ns,
                mean_run_ns: runs.mean as u64,
                max_run_ns: runs.max_ns,
                deviation_percent: runs.deviation_percent(),
                migrations: past.migrations,
                is_gone: thread.is_gone,
            }
        })
        .collect();
    let idle = timehist.idle.iter().map(|idle| (idle.runs.count > 0).then_some(idle.runs));
    let idle: Vec<Option<super::Runs>> = idle.collect();
    TimehistSummary {
        switches: tasks.iter().map(|task| task.runs).sum::<u64>()
            + idle.iter().flatten().map(|runs| runs.count).sum::<u64>(),
        tasks,
        idle_ns: idle.iter().map(|runs| runs.map(|runs| runs.total_ns)).collect(),
        span_ns: timehist.last_ns.saturating_sub(timehist.first_ns.unwrap_or(0)),
        is_filtered: timehist.skipped > 0,
    }
}

impl TimehistSummary {
    /// In the layout of `perf sched timehist -s`.
    pub fn text(&self) -> String {
        let name = |task: &TimehistTask| match task.tid == task.pid || task.pid == -1 {
            true => format!("{}[{}]", task.comm, task.tid),
            false => format!("{}[{}/{}]", task.comm, task.tid, task.pid),
        };
        let columns = self.tasks.iter().map(|task| name(task).len()).max().unwrap_or(0).max(30);
        let mut text = String::from("\nRuntime summary\n");
        let _ = writeln!(
            text,
            "{:>columns$}  parent   sched-in     run-time    min-run     avg-run     max-run  stddev  \
             migrations",
            "comm"
        );
        let _ = writeln!(
            text,
            "{:>columns$}            (count)       (msec)     (msec)      (msec)      (msec)       %",
            ""
        );
        let _ = writeln!(text, "{}", "-".repeat(117));
        let mut rows = |gone: bool, none: &str| {
            let mut any = false;
            for task in self.tasks.iter().filter(|task| task.is_gone == gone) {
                any = true;
                let _ = writeln!(
                    text,
                    "{:>columns$}   {:5}  {:9} {} {}  {}  {}   {:5.2}   {:5}",
                    name(task),
                    task.parent,
                    task.runs,
                    time(task.run_ns, 8),
                    time(task.min_run_ns, 6),
                    time(task.mean_run_ns, 6),
                    time(task.max_run_ns, 6),
                    task.deviation_percent,
                    task.migrations
                );
            }
            if !any {
                let _ = writeln!(text, "{none}");
            }
            if !gone {
                text.push_str("\nTerminated tasks:\n");
            }
        };
        rows(false, "<no still running tasks>");
        rows(true, "<no terminated tasks>");
        if self.is_filtered {
            return text;
        }
        text.push_str("\nIdle stats:\n");
        for (cpu, idle_ns) in self.idle_ns.iter().enumerate() {
            let _ = match idle_ns {
                Some(ns) => writeln!(
                    text,
                    "    CPU {cpu:2} idle for {}  msec  ({:6.2}%)",
                    time(*ns, 6),
                    100.0 * *ns as f64 / self.span_ns as f64
                ),
                None => writeln!(text, "    CPU {cpu:2} idle entire time window"),
            };
        }
        let run_ns: u64 = self.tasks.iter().map(|task| task.run_ns).sum();
        let _ = write!(
            text,
            "\n    Total number of unique tasks: {}\nTotal number of context switches: {}\n           Total \
             run time (msec): {} \n    Total scheduling time (msec): {}  (x {})\n",
            self.tasks.len(),
            self.switches,
            time(run_ns, 2),
            time(self.span_ns, 2),
            self.idle_ns.len()
        );
        text
    }
}

/// Milliseconds with microseconds, cut off.
fn time(ns: u64, columns: usize) -> String {
    format!("{:columns$}.{:03}", ns / 1_000_000, ns % 1_000_000 / 1_000)
}
