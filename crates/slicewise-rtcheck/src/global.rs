//! Tasks that may use any of several CPUs: sufficient tests, and how late EDF can be.
//!
//! No exact test of bounded cost is known here: a set that passes is proven, one that does not may
//! still be fine.

use crate::budget::Budget;
use crate::model::Load;
use crate::ratio::sum_at_most;

/// A task under global EDF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GlobalTask {
    /// Work of one job, ns.
    pub wcet_ns: u64,
    /// Least time between releases, ns.
    pub period_ns: u64,
    /// From the latest moment a job can become ready, ns.
    pub deadline_ns: u64,
}

impl GlobalTask {
    fn density(&self) -> (u128, u64) {
        (u128::from(self.wcet_ns), self.period_ns.min(self.deadline_ns).max(1))
    }
}

fn greater(a: (u128, u64), b: (u128, u64)) -> bool {
    a.0 * u128::from(b.1) > b.0 * u128::from(a.1)
}

fn greatest(fractions: impl Iterator<Item = (u128, u64)>) -> Option<(u128, u64)> {
    fractions.fold(None, |best: Option<(u128, u64)>, fraction| match best {
        Some(best) if !greater(fraction, best) => Some(best),
        _ => Some(fraction),
    })
}

/// The test of Goossens, Funk and Baruah for global EDF, with densities for deadlines shorter than
/// periods: Σδ ≤ M − (M − 1)·δmax. `Some(true)` proves that all deadlines are met.
pub fn passes_gfb(tasks: &[GlobalTask], cpus: u32) -> Option<bool> {
    let Some((most, over)) = greatest(tasks.iter().map(GlobalTask::density)) else {
        return Some(true);
    };
    if most > u128::from(over) {
        return Some(false);
    }
    let mut terms: Vec<(u128, u64)> = tasks.iter().map(GlobalTask::density).collect();
    terms.push((most * u128::from(cpus.saturating_sub(1)), over));
    sum_at_most(&terms, u64::from(cpus))
}

/// How late jobs can be under global EDF with deadlines equal to periods (Devi, Anderson), ns,
/// rounded up, as the kernel's documentation of SCHED_DEADLINE gives it:
/// ((M − 1)·Cmax − Cmin) / (M − (M − 2)·Umax) + Cmax. It needs U ≤ M and Umax ≤ 1; `None`
/// otherwise, and for M = 1, where EDF is exact.
pub fn tardiness_bound_ns(tasks: &[GlobalTask], cpus: u32) -> Option<u64> {
    let cpus_wide = u128::from(cpus);
    let shares: Vec<(u128, u64)> =
        tasks.iter().map(|task| (u128::from(task.wcet_ns), task.period_ns)).collect();
    let (most, period) = greatest(shares.iter().copied())?;
    let period = u128::from(period);
    if cpus < 2 || most > period || sum_at_most(&shares, u64::from(cpus)) != Some(true) {
        return None;
    }
    let longest = tasks.iter().map(|task| u128::from(task.wcet_ns)).max()?;
    let shortest = tasks.iter().map(|task| u128::from(task.wcet_ns)).min()?;
    // Both sides of the fraction times the period of the task with Umax.
    let numerator = ((cpus_wide - 1) * longest - shortest) * period;
    let denominator = cpus_wide * period - (cpus_wide - 2) * most;
    u64::try_from(numerator.div_ceil(denominator) + longest).ok()
}

/// A task more important than another one, on CPUs both may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    /// Its work.
    pub load: Load,
    /// Its longest response, from nominal release, ns.
    pub response_ns: u64,
}

impl Carried {
    /// The most it can run in a window of this length: one job as late as it can be, the next ones
    /// as early as they can be (Bertogna, Cirinei, Lipari).
    pub(crate) fn workload(&self, window_ns: u64) -> u128 {
        let wcet = u128::from(self.load.wcet_ns);
        let span = u128::from(window_ns) + u128::from(self.response_ns.max(self.load.wcet_ns));
        let rest = span - wcet;
        let jobs = rest / u128::from(self.load.period_ns);
        let left = rest - jobs * u128::from(self.load.period_ns);
        (jobs * wcet + wcet.min(left)).min(u128::from(window_ns))
    }
}

/// A response no job exceeds under global fixed priorities (Bertogna, Cirinei), from nominal
/// release; `None` if there is none within the deadline, or the budget did not reach. The task's
/// deadline must not be longer than its period.
pub fn global_response_ns(
    own: Load,
    deadline_ns: u64,
    blocking_ns: u64,
    higher: &[Carried],
    cpus: u32,
    budget: &mut Budget,
) -> Option<u64> {
    let room = deadline_ns.checked_sub(own.jitter_ns)?;
    let own_work = own.wcet_ns.checked_add(blocking_ns)?;
    let mut response = own_work;
    loop {
        if response > room || deadline_ns > own.period_ns || !budget.spend(higher.len() + 1) {
            return None;
        }
        // Where the task waits, all CPUs run others: no task can take part in more than that.
        let most = u128::from(response - own_work) + 1;
        let work: u128 = higher.iter().map(|task| task.workload(response).min(most)).sum();
        let next = u128::from(own_work) + work / u128::from(cpus);
        if next == u128::from(response) {
            return Some(response + own.jitter_ns);
        }
        response = u64::try_from(next).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(wcet_ns: u64, deadline_ns: u64, period_ns: u64) -> GlobalTask {
        GlobalTask { wcet_ns, period_ns, deadline_ns }
    }

    #[test]
    fn case_89_tardiness_of_the_kernels_formula() {
        // M 4, Cmax 10, Cmin 2, Umax 0.5: 28/3 + 10 = 19.33.
        let set = [task(10_000, 20_000, 20_000), task(2_000, 8_000, 8_000)];
        assert_eq!(tardiness_bound_ns(&set, 4), Some(19_334));
        assert_eq!(tardiness_bound_ns(&set, 1), None);
        assert_eq!(tardiness_bound_ns(&[task(3, 2, 2)], 4), None);
    }

    #[test]
    fn case_89_gfb_is_met_with_equality_and_missed_a_hair_above() {
        // M 2, Umax 1/2: Σ ≤ 3/2.
        let half = task(1, 2, 2);
        assert_eq!(passes_gfb(&[half; 3], 2), Some(true));
        let more = task(1, 1_000_000_000_000, 1_000_000_000_000);
        assert_eq!(passes_gfb(&[half, half, half, more], 2), Some(false));
        assert_eq!(passes_gfb(&[], 2), Some(true));
    }

    #[test]
    fn w16_dhalls_set_fails_gfb_though_it_is_light() {
        let light = task(1, 999, 999);
        let set = [light, light, light, light, task(1000, 1000, 1000)];
        assert_eq!(passes_gfb(&set, 4), Some(false));
    }

    #[test]
    fn case_92_four_dense_tasks_on_two_cpus_fail_gfb() {
        assert_eq!(passes_gfb(&[task(9, 10, 1000); 4], 2), Some(false));
    }

    #[test]
    fn as_many_tasks_as_cpus_never_wait_for_each_other() {
        let load = |wcet_ns, period_ns| Load { wcet_ns, period_ns, jitter_ns: 0 };
        let higher = [Carried { load: load(9, 10), response_ns: 9 }];
        let mut budget = Budget::new(1000);
        assert_eq!(global_response_ns(load(9, 10), 10, 0, &higher, 2, &mut budget), Some(9));
        let higher = [higher[0]; 2];
        assert_eq!(global_response_ns(load(9, 10), 10, 0, &higher, 2, &mut budget), None);
    }
}
