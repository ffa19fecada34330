//! The interval in which a task has its worst case, moment by moment.

use std::cmp::Reverse;

use crate::budget::Budget;
use crate::check::{Analysis, Settled};
use crate::edf::{EdfTask, worst_release};
use crate::model::{Load, TaskSet};
use crate::schedule::{Entry, Rank, Schedule, Stretch};

/// Steps to draw a timeline.
const WORK: u64 = 2_000_000;

/// From the critical instant, when everything that matters is released together, to the end of the
/// job that takes longest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeline {
    /// Whose worst case it is.
    pub task: usize,
    /// The CPU.
    pub core: u32,
    /// The tasks that take part, the most important first; `task` is the last.
    pub rows: Vec<usize>,
    /// Who had the CPU when. `None` is less important work that cannot be interrupted (blocking).
    pub stretches: Vec<(Option<usize>, Stretch)>,
    /// Releases of every task, ns.
    pub releases: Vec<(usize, u64)>,
    /// The job: its nominal release, when it was due, when it ended.
    pub release_ns: i128,
    /// By when it should have ended, ns.
    pub due_ns: i128,
    /// When it ended, or where the drawing ends, ns.
    pub end_ns: u64,
    /// It did end.
    pub ended: bool,
}

impl Timeline {
    /// How long the job took from its nominal release, ns.
    pub fn response_ns(&self) -> u64 {
        u64::try_from(i128::from(self.end_ns) - self.release_ns).unwrap_or(u64::MAX)
    }
}

/// The task whose worst case is worth looking at: the first that is late, else the one that comes
/// closest to its deadline. Only tasks with a CPU of their own.
pub fn most_critical(set: &TaskSet, analysis: &Analysis) -> Option<usize> {
    let drawn = |at: &usize| set.cpus == 1 || set.tasks[*at].core.is_some();
    let late = |at: &usize| analysis.tasks[*at].meets == Some(false);
    let all = || (0..set.tasks.len()).filter(drawn);
    // Smaller is closer: the share of the deadline that is left, in 2^-40.
    let room = |at: &usize| {
        let deadline_ns = set.tasks[*at].deadline_ns;
        let bound_ns = analysis.tasks[*at].response_bound_ns?;
        let left = u128::from(deadline_ns.saturating_sub(bound_ns));
        Some((left << 40) / u128::from(deadline_ns))
    };
    let closest = || all().filter_map(|at| Some((room(&at)?, Reverse(at)))).min();
    all().find(late).or_else(|| closest().map(|(_, Reverse(at))| at))
}

/// Draws the worst case of a task that has a CPU of its own.
pub fn worst_case(set: &TaskSet, analysis: &Analysis, at: usize) -> Option<Timeline> {
    set.tasks.get(at)?;
    let settled = Settled {
        set,
        priorities: analysis.tasks.iter().map(|task| task.priority.unwrap_or(0)).collect(),
    };
    let core = settled.core_of(at)?;
    let (edf, fixed) = settled.members(Some(core));
    let deadline = settled.is_deadline(at);
    let mut rows: Vec<usize> = edf.into_iter().filter(|other| *other != at).collect();
    if !deadline {
        let own = settled.priorities[at];
        let mut above: Vec<usize> =
            fixed.into_iter().filter(|o| *o != at && settled.priorities[*o] >= own).collect();
        above.sort_by_key(|other| Reverse(settled.priorities[*other]));
        rows.extend(above);
    }
    // Last, so that equals that come with it go first.
    rows.push(at);
    let mut entries: Vec<Entry> = rows
        .iter()
        .map(|task| Entry {
            load: settled.load(*task),
            deadline_ns: settled.task(*task).deadline_ns,
            rank: match settled.is_deadline(*task) {
                true => Rank::Deadline,
                false => Rank::Fixed(settled.priorities[*task]),
            },
            first_ns: 0,
            once: false,
        })
        .collect();
    if deadline {
        // Its worst case may begin after that of the others.
        let model: Vec<EdfTask> = rows.iter().map(|at| settled.edf(*at)).collect();
        let own = rows.len() - 1;
        let release = worst_release(&model, own, &mut Budget::new(WORK)).unwrap_or(0);
        entries[own].first_ns = release % entries[own].load.period_ns;
    }
    let blocking_ns = set.tasks[at].blocking_ns;
    if blocking_ns > 0 {
        let load = Load { wcet_ns: blocking_ns, period_ns: 1, jitter_ns: 0 };
        let holder = Entry { load, deadline_ns: 1, rank: Rank::Holds, first_ns: 0, once: true };
        entries.push(holder);
    }
    draw(&entries, rows, core, analysis.tasks[at].response_bound_ns)
}

fn draw(entries: &[Entry], rows: Vec<usize>, core: u32, bound_ns: Option<u64>) -> Option<Timeline> {
    let own = rows.len() - 1;
    let mut schedule = Schedule::new(entries, 1, true);
    // Without an end to wait for, a few periods say enough.
    let entry = &entries[own];
    let until_ns = (entry.deadline_ns.max(entry.load.period_ns)).saturating_mul(4);
    let until_ns = if bound_ns.is_some() { until_ns.saturating_mul(16) } else { until_ns };
    let reached = |job: &crate::schedule::Job| {
        let response = job.end_ns.map(|end_ns| i128::from(end_ns) - job.release_ns);
        job.task == own
            && match bound_ns {
                Some(bound_ns) => response == Some(i128::from(bound_ns)),
                None => job.end_ns.is_some_and(|end_ns| i128::from(end_ns) > job.due_ns),
            }
    };
    schedule.run(until_ns, false, reached, &mut Budget::new(WORK));
    let ended = schedule.jobs.iter().filter(|job| job.task == own);
    let longest = ended.max_by_key(|job| {
        (i128::from(job.end_ns.unwrap_or(0)) - job.release_ns, Reverse(job.ready_ns))
    });
    let job = match longest {
        Some(job) => *job,
        None => schedule.unfinished().into_iter().find(|job| job.task == own)?,
    };
    let drawn_ns = schedule.stretches.last().map_or(0, |stretch| stretch.end_ns);
    let end_ns = job.end_ns.unwrap_or(drawn_ns);
    let name = |entry: usize| rows.get(entry).copied();
    let stretches = schedule.stretches.iter().filter(|stretch| stretch.start_ns < end_ns);
    let stretches = stretches.map(|stretch| {
        let end_ns = stretch.end_ns.min(end_ns);
        (name(stretch.task), Stretch { end_ns, ..*stretch })
    });
    let open = schedule.unfinished();
    let releases = schedule.jobs.iter().chain(&open).filter(|job| job.ready_ns < end_ns);
    let releases = releases.filter_map(|job| Some((name(job.task)?, job.ready_ns)));
    let timeline = Timeline {
        task: rows[own],
        core,
        stretches: stretches.collect(),
        releases: releases.collect(),
        release_ns: job.release_ns,
        due_ns: job.due_ns,
        end_ns,
        ended: job.end_ns.is_some(),
        rows: Vec::new(),
    };
    Some(Timeline { rows, ..timeline })
}
