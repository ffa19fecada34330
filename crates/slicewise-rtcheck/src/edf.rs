//! Earliest deadline first on one CPU: the processor-demand test (QPA) and exact responses.
//!
//! In any interval of length `t` the jobs released and due inside it need
//!
//! ```text
//! h(t) = Σ max(0, ⌊(t + Jᵢ + Tᵢ − Dᵢ) / Tᵢ⌋) · Cᵢ
//! ```
//!
//! and one of them may be held up once, by `B(t)`, the longest blocking of tasks with a deadline
//! within `t`. All deadlines are met if and only if U ≤ 1 and h(t) + B(t) ≤ t for every t that is a
//! deadline within the first busy period (Baruah, Rosier, Howell). QPA walks those from the end and
//! skips most of them (Zhang, Burns).

use crate::budget::Budget;
use crate::model::Load;
use crate::ratio::{BITS, ONE, fits, hyperperiod_ns, utilisation};

/// Times beyond this (146 years) are not followed.
const HORIZON_NS: u128 = 1 << 62;

/// A task under EDF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EdfTask {
    /// Its work.
    pub load: Load,
    /// From nominal release, ns.
    pub deadline_ns: u64,
    /// How long it may be held up by tasks with later deadlines, ns.
    pub blocking_ns: u64,
}

impl EdfTask {
    /// From the latest moment a job can become ready to its deadline.
    fn distance(&self) -> Option<u64> {
        self.deadline_ns.checked_sub(self.load.jitter_ns).filter(|distance| *distance > 0)
    }

    fn demand(&self, interval_ns: u64) -> u128 {
        // Nominal releases that fit, the first one as late as it may be.
        let shifted = u128::from(interval_ns) + u128::from(self.load.jitter_ns);
        let jobs = match shifted.checked_sub(u128::from(self.deadline_ns)) {
            Some(rest) => rest / u128::from(self.load.period_ns) + 1,
            None => 0,
        };
        jobs * u128::from(self.load.wcet_ns)
    }
}

/// What the processor-demand test found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    /// Every deadline is met.
    Fits,
    /// More work than the CPU has, in the long run.
    Overload,
    /// In an interval of this length more work is released and due than fits.
    Exceeds {
        /// The interval, ns.
        interval_ns: u64,
        /// The work, ns.
        demand_ns: u128,
    },
    /// The work allowed was not enough to tell.
    Undecided,
}

impl Demand {
    /// Whether every deadline is met, if that was decided.
    pub fn verdict(self) -> Option<bool> {
        match self {
            Self::Fits => Some(true),
            Self::Overload | Self::Exceeds { .. } => Some(false),
            Self::Undecided => None,
        }
    }
}

/// The work with blocking that must be done within an interval.
pub fn demand_ns(tasks: &[EdfTask], interval_ns: u64) -> u128 {
    let blocked = tasks
        .iter()
        .filter(|task| task.distance().is_some_and(|distance| distance <= interval_ns))
        .map(|task| u128::from(task.blocking_ns));
    let blocking = blocked.max().unwrap_or(0);
    tasks.iter().map(|task| task.demand(interval_ns)).sum::<u128>() + blocking
}

/// The processor-demand test, exact for sporadic tasks.
pub fn processor_demand(tasks: &[EdfTask], budget: &mut Budget) -> Demand {
    let loads: Vec<Load> = tasks.iter().map(|task| task.load).collect();
    match fits(&loads, 1) {
        Some(true) => {}
        Some(false) => return Demand::Overload,
        None => return Demand::Undecided,
    }
    let mut first_ns = u64::MAX;
    for task in tasks {
        match task.distance() {
            Some(distance) => first_ns = first_ns.min(distance),
            // Ready only when its deadline is over.
            None => {
                let demand_ns = u128::from(task.load.wcet_ns);
                return Demand::Exceeds { interval_ns: 0, demand_ns };
            }
        }
    }
    if tasks.is_empty() {
        return Demand::Fits;
    }
    let Some(end_ns) = search_end(tasks, &loads, budget) else { return Demand::Undecided };
    let Some(mut t) = last_deadline_before(tasks, end_ns.saturating_add(1)) else {
        return Demand::Fits;
    };
    loop {
        if !budget.spend(2 * tasks.len()) {
            return Demand::Undecided;
        }
        let demand = demand_ns(tasks, t);
        if demand > u128::from(t) {
            return Demand::Exceeds { interval_ns: t, demand_ns: demand };
        }
        if demand <= u128::from(first_ns) {
            return Demand::Fits;
        }
        let next = if demand < u128::from(t) {
            Some(demand as u64)
        } else {
            last_deadline_before(tasks, t)
        };
        match next {
            Some(next) => t = next,
            None => return Demand::Fits,
        }
    }
}

/// How far deadlines have to be looked at: the lesser of the synchronous busy period and the
/// interval beyond which the long-run load cannot exceed the CPU any more.
fn search_end(tasks: &[EdfTask], loads: &[Load], budget: &mut Budget) -> Option<u64> {
    let blocking = tasks.iter().map(|task| task.blocking_ns).max().unwrap_or(0);
    let linear = linear_end(tasks, loads, blocking);
    // A full CPU with blocking is never idle, but demand repeats: h(t + H) = h(t) + U·H.
    let repeats = || {
        let longest_ns = tasks.iter().map(|task| task.deadline_ns).max()?;
        hyperperiod_ns(loads, HORIZON_NS)?.checked_add(longest_ns)
    };
    let linear = linear.or_else(repeats);
    let busy = busy_period(loads, blocking, linear, budget);
    match (linear, busy) {
        (Some(linear), Some(busy)) => Some(linear.min(busy)),
        (linear, busy) => linear.or(busy),
    }
}

/// For t ≥ max(D): h(t) + B ≤ t·U + Σ max(0, T + J − D)·U + B, which is at most t from here on.
fn linear_end(tasks: &[EdfTask], loads: &[Load], blocking_ns: u64) -> Option<u64> {
    let rest = ONE.checked_sub(utilisation(loads).high).filter(|rest| *rest > 0)?;
    let mut surplus = u128::from(blocking_ns);
    let mut longest_ns = 0;
    for task in tasks {
        let Load { wcet_ns, period_ns, jitter_ns } = task.load;
        longest_ns = longest_ns.max(task.deadline_ns);
        let early = (u128::from(period_ns) + u128::from(jitter_ns))
            .saturating_sub(u128::from(task.deadline_ns));
        surplus += (early * u128::from(wcet_ns)).div_ceil(u128::from(period_ns));
    }
    if surplus >= HORIZON_NS {
        return None;
    }
    let end = (surplus << BITS).div_ceil(rest).max(u128::from(longest_ns));
    (end < HORIZON_NS).then_some(end as u64)
}

/// When the CPU is idle for the first time after everything was released at once and held up
/// first. `None` if the budget did not reach; the limit if that comes first.
fn busy_period(
    loads: &[Load],
    blocking_ns: u64,
    limit_ns: Option<u64>,
    budget: &mut Budget,
) -> Option<u64> {
    let mut length = u128::from(blocking_ns);
    length += loads.iter().map(|load| u128::from(load.wcet_ns)).sum::<u128>();
    loop {
        if length > HORIZON_NS || !budget.spend(loads.len()) {
            return None;
        }
        if limit_ns.is_some_and(|limit| length >= u128::from(limit)) {
            return limit_ns;
        }
        let released = loads.iter().map(|load| load.demand(length as u64)).sum::<u128>();
        let next = u128::from(blocking_ns) + released;
        if next == length {
            return Some(length as u64);
        }
        length = next;
    }
}

/// The last absolute deadline before `t`, when everything is released at 0 as late as it may be.
fn last_deadline_before(tasks: &[EdfTask], t: u64) -> Option<u64> {
    let last = |task: &EdfTask| {
        let distance = task.distance()?;
        let rest = t.checked_sub(1)?.checked_sub(distance)?;
        Some(distance + rest / task.load.period_ns * task.load.period_ns)
    };
    tasks.iter().filter_map(last).max()
}

/// The longest response of each task, exact for tasks without jitter and blocking (Spuri): the
/// worst case of a task begins with everything else released together, and with itself released
/// so that its deadline falls on another one's. `None` where the budget did not reach or the test
/// does not apply.
pub fn response_times(tasks: &[EdfTask], budget: &mut Budget) -> Vec<Option<u64>> {
    let plain = |task: &EdfTask| task.blocking_ns == 0 && task.load.jitter_ns == 0;
    let loads: Vec<Load> = tasks.iter().map(|task| task.load).collect();
    if !tasks.iter().all(plain) || fits(&loads, 1) != Some(true) {
        return vec![None; tasks.len()];
    }
    let Some(busy_ns) = busy_period(&loads, 0, None, budget) else {
        return vec![None; tasks.len()];
    };
    let of = |own| Some(response(tasks, own, busy_ns, budget)?.0);
    (0..tasks.len()).map(of).collect()
}

/// When the job of a task that takes longest is released, after everything else was at once.
pub(crate) fn worst_release(tasks: &[EdfTask], own: usize, budget: &mut Budget) -> Option<u64> {
    let loads: Vec<Load> = tasks.iter().map(|task| task.load).collect();
    if fits(&loads, 1) != Some(true) {
        return None;
    }
    let busy_ns = busy_period(&loads, 0, None, budget)?;
    response(tasks, own, busy_ns, budget).map(|(_, release)| release)
}

/// The longest response of a task, and a release at which it comes.
fn response(
    tasks: &[EdfTask],
    own: usize,
    busy_ns: u64,
    budget: &mut Budget,
) -> Option<(u64, u64)> {
    let own_deadline = tasks[own].deadline_ns;
    let mut longest = (0, 0);
    for other in tasks {
        // Releases of the own job at which its deadline is one of the other's.
        let (step, offset) = (other.load.period_ns, other.deadline_ns);
        let skipped = own_deadline.saturating_sub(offset).div_ceil(step);
        for job in skipped.. {
            let release = u128::from(job) * u128::from(step) + u128::from(offset);
            let release = release.saturating_sub(u128::from(own_deadline));
            if release >= u128::from(busy_ns) {
                break;
            }
            let end = end_of_job(tasks, own, release as u64, budget)?;
            let response = end.saturating_sub(release as u64);
            if response > longest.0 {
                longest = (response, release as u64);
            }
        }
    }
    let alone = (tasks[own].load.wcet_ns, 0);
    Some(if longest.0 >= alone.0 { longest } else { alone })
}

/// When the job released at `release` ends, in the busy period of everything due no later.
fn end_of_job(tasks: &[EdfTask], own: usize, release: u64, budget: &mut Budget) -> Option<u64> {
    let task = &tasks[own];
    let due = u128::from(release) + u128::from(task.deadline_ns);
    let own_jobs = release / task.load.period_ns + 1;
    let own_work = u128::from(own_jobs) * u128::from(task.load.wcet_ns);
    let mut end = 0_u64;
    loop {
        if !budget.spend(tasks.len()) {
            return None;
        }
        let mut next = own_work;
        for (at, other) in tasks.iter().enumerate() {
            let Some(rest) = due.checked_sub(u128::from(other.deadline_ns)) else { continue };
            if at != own {
                let due_in_time =
                    (rest / u128::from(other.load.period_ns) + 1) * u128::from(other.load.wcet_ns);
                next += other.load.demand(end).min(due_in_time);
            }
        }
        if next > HORIZON_NS {
            return None;
        }
        if next as u64 == end {
            return Some(end);
        }
        end = next as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(wcet_ns: u64, deadline_ns: u64, period_ns: u64) -> EdfTask {
        EdfTask { load: Load { wcet_ns, period_ns, jitter_ns: 0 }, deadline_ns, blocking_ns: 0 }
    }

    fn verdict(tasks: &[EdfTask]) -> Demand {
        processor_demand(tasks, &mut Budget::new(1 << 24))
    }

    #[test]
    fn case_88_edf_meets_what_rate_monotonic_misses() {
        assert_eq!(verdict(&[task(1, 4, 4), task(2, 6, 6), task(3, 8, 8)]), Demand::Fits);
    }

    #[test]
    fn case_89_a_density_above_one_can_fit() {
        let set = [task(50, 50, 100), task(10, 100, 100)];
        assert_eq!(verdict(&set), Demand::Fits);
        let responses = response_times(&set, &mut Budget::new(1 << 20));
        assert_eq!(responses, [Some(50), Some(60)]);
    }

    #[test]
    fn an_interval_with_too_much_demand_is_the_witness() {
        let found = verdict(&[task(9, 10, 1000), task(9, 10, 1000)]);
        assert_eq!(found, Demand::Exceeds { interval_ns: 10, demand_ns: 18 });
        assert_eq!(verdict(&[task(6, 10, 10), task(5, 10, 10)]), Demand::Overload);
    }

    #[test]
    fn a_full_cpu_with_implicit_deadlines_fits() {
        assert_eq!(verdict(&[task(1, 2, 2), task(1, 3, 3), task(1, 6, 6)]), Demand::Fits);
    }

    #[test]
    fn jitter_shortens_deadlines_and_blocking_adds_to_demand() {
        let mut late = task(2, 4, 10);
        late.load.jitter_ns = 2;
        assert_eq!(verdict(&[late]), Demand::Fits);
        late.load.jitter_ns = 3;
        assert!(matches!(verdict(&[late]), Demand::Exceeds { interval_ns: 1, .. }));
        late.load.jitter_ns = 4;
        assert!(matches!(verdict(&[late]), Demand::Exceeds { interval_ns: 0, .. }));
        let mut held = task(2, 4, 10);
        held.blocking_ns = 2;
        assert_eq!(verdict(&[held]), Demand::Fits);
        held.blocking_ns = 3;
        assert!(matches!(verdict(&[held]), Demand::Exceeds { interval_ns: 4, demand_ns: 5 }));
    }

    #[test]
    fn w15_responses_under_edf() {
        // A(2,10), B(3,8): the worst of each within its deadline, B's with A due just before it.
        let set = [task(2, 10, 10), task(3, 8, 8)];
        assert_eq!(response_times(&set, &mut Budget::new(1 << 20)), [Some(5), Some(3)]);
    }

    #[test]
    fn a_budget_ends_the_search_with_a_statement() {
        let set = [
            task(249_999_984, 999_999_937, 999_999_937),
            task(249_999_982, 999_999_929, 999_999_929),
            task(249_999_973, 900_000_000, 999_999_893),
            task(249_999_970, 800_000_000, 999_999_883),
        ];
        let mut budget = Budget::new(20);
        assert_eq!(processor_demand(&set, &mut budget), Demand::Undecided);
        assert_eq!(response_times(&set, &mut Budget::new(20)), [None; 4]);
    }
}
