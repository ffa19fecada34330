//! What is compared: what each thread got, how often it moved, how idle the CPUs were.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One round, on one side.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) window_ns: u64,
    /// By name of the thread.
    pub(crate) tasks: BTreeMap<String, Task>,
    /// By CPU: the part of the window it was idle.
    pub(crate) idle: Vec<f64>,
}

/// A thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) ran_ns: u64,
    pub(crate) migrations: u64,
}

/// One reading of the accounts.
#[derive(Default)]
struct Reading {
    clock_ns: u64,
    tasks: BTreeMap<String, Task>,
    /// By CPU: idle, in hundredths of a second.
    cpus: BTreeMap<usize, u64>,
}

fn reading(text: &str) -> Option<Reading> {
    let mut reading = Reading::default();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ')?;
        let mut words = rest.splitn(3, ' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        match kind {
            "clock" => reading.clock_ns = number()?,
            "task" => {
                let task = Task { ran_ns: number()?, migrations: number()? };
                reading.tasks.insert(words.next()?.to_owned(), task);
            }
            "cpu" => {
                let cpu = number()? as usize;
                let _busy = number()?;
                reading.cpus.insert(cpu, number()?);
            }
            _ => return None,
        }
    }
    Some(reading)
}

/// What a process's accounts say of a round.
pub(super) fn difference(text: &str, window_ns: u64) -> Option<Figures> {
    let (before, after) = text.strip_prefix("== before\n")?.split_once("== after\n")?;
    let (before, after) = (reading(before)?, reading(after)?);
    let since = |(name, after): (&String, &Task)| {
        let before = before.tasks.get(name).copied().unwrap_or_default();
        let task = Task {
            ran_ns: after.ran_ns.checked_sub(before.ran_ns)?,
            migrations: after.migrations.checked_sub(before.migrations)?,
        };
        Some((name.clone(), task))
    };
    // A reading takes its time, with many threads and slow CPUs.
    after.clock_ns.checked_sub(before.clock_ns).filter(|between_ns| *between_ns > window_ns)?;
    let tasks = after.tasks.iter().map(since).collect::<Option<_>>()?;
    // Some busy time is lost where ticks are, idle time is measured.
    let hundredth_ns = 10_000_000.0;
    let idle = after.cpus.iter().map(|(cpu, after)| {
        let before = before.cpus.get(cpu).copied().unwrap_or_default();
        (after.saturating_sub(before) as f64 * hundredth_ns / window_ns as f64).min(1.0)
    });
    Some(Figures { window_ns, tasks, idle: idle.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_differences_of_two_readings() {
        let text = "== before\nclock 1000\ntask 5 1 hog-0\ntask 7 0 a b\ncpu 0 10 90\n\
                    == after\nclock 12000\ntask 905 4 hog-0\ntask 7 0 a b\ncpu 0 40 100\n";
        let figures = difference(&text.replace("12000", "1000002000"), 1_000_000_000).unwrap();
        assert_eq!(figures.tasks["hog-0"], Task { ran_ns: 900, migrations: 3 });
        assert_eq!(figures.tasks["a b"], Task::default());
        assert_eq!(figures.idle, [0.1]);
        assert_eq!(difference("== before\nclock\n== after\n", 1), None);
    }
}
