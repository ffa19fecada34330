//! Fixed priorities on one CPU: exact response-time analysis.
//!
//! The worst response of a task is found in the busy period that begins when it and everything more
//! important are released together, those with jitter at their latest (Joseph and Pandya; Audsley,
//! Burns, Richardson, Tindell, Wellings; Tindell, Burns, Wellings for jitter and deadlines beyond
//! the period). Job `q` of that busy period ends at the least `w` with
//!
//! ```text
//! w = B + (q + 1)·C + Σ ⌈(w + Jⱼ) / Tⱼ⌉ · Cⱼ      over everything more important
//! ```
//!
//! and answers after `J + w − q·T`; the busy period is over when a job ends before the next one can
//! be released.

use crate::budget::Budget;
use crate::model::Load;
use crate::ratio::{BITS, ONE, fits, hyperperiod_ns, utilisation};

/// Times beyond this (146 years) are not followed.
const HORIZON_NS: u128 = 1 << 62;

/// The worst response of a task, from its nominal release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response {
    /// No job takes longer, ns. `job` is the first one of the critical instant's busy period that
    /// takes that long, counted from 0.
    Bound {
        /// Longest response, ns.
        ns: u64,
        /// Which job.
        job: u64,
    },
    /// The load is more than the CPU: responses grow for ever.
    Unbounded,
    /// The work allowed was not enough to tell; at least one job takes this long.
    Undecided {
        /// Longest response seen, ns.
        at_least_ns: u64,
    },
}

impl Response {
    /// Whether a deadline is always met; `None` if that was not decided.
    pub fn meets(self, deadline_ns: u64) -> Option<bool> {
        match self {
            Self::Bound { ns, .. } => Some(ns <= deadline_ns),
            Self::Unbounded => Some(false),
            Self::Undecided { at_least_ns } => (at_least_ns > deadline_ns).then_some(false),
        }
    }

    /// The same for a task that becomes ready later after its nominal release.
    pub(crate) fn later_by(self, jitter_ns: u64) -> Self {
        match self {
            Self::Bound { ns, job } => Self::Bound { ns: ns.saturating_add(jitter_ns), job },
            Self::Undecided { at_least_ns } => {
                Self::Undecided { at_least_ns: at_least_ns.saturating_add(jitter_ns) }
            }
            Self::Unbounded => Self::Unbounded,
        }
    }

    /// The bound, if there is one.
    pub fn bound_ns(self) -> Option<u64> {
        match self {
            Self::Bound { ns, .. } => Some(ns),
            _ => None,
        }
    }
}

/// The worst response of a task on a CPU it shares with everything in `higher`.
pub fn response_time(
    own: Load,
    blocking_ns: u64,
    higher: &[Load],
    budget: &mut Budget,
) -> Response {
    search(own, blocking_ns, higher, None, budget)
}

/// Whether it always meets its deadline: as [`response_time`], but stops as soon as that is clear.
pub fn meets_deadline(
    own: Load,
    deadline_ns: u64,
    blocking_ns: u64,
    higher: &[Load],
    budget: &mut Budget,
) -> Option<bool> {
    search(own, blocking_ns, higher, Some(deadline_ns), budget).meets(deadline_ns)
}

fn search(
    own: Load,
    blocking_ns: u64,
    higher: &[Load],
    deadline_ns: Option<u64>,
    budget: &mut Budget,
) -> Response {
    let mut all = higher.to_vec();
    all.push(own);
    if fits(&all, 1) == Some(false) {
        return Response::Unbounded;
    }
    let (period, jitter) = (u128::from(own.period_ns), u128::from(own.jitter_ns));
    let linear = LinearBound::new(higher);
    let (mut longest, mut worst_job, mut w, mut last_job) = (0_u64, 0_u64, 0_u64, u64::MAX);
    for job in 0_u64.. {
        let own_work = u128::from(blocking_ns) + (u128::from(job) + 1) * u128::from(own.wcet_ns);
        w = w.saturating_add(own.wcet_ns).max(linear.start(own_work));
        loop {
            let seen = (jitter + u128::from(w)).saturating_sub(u128::from(job) * period);
            let seen = u64::try_from(seen).unwrap_or(u64::MAX);
            // `w` only grows: what it says now is a lower bound already.
            if deadline_ns.is_some_and(|deadline_ns| seen > deadline_ns) {
                return Response::Undecided { at_least_ns: seen };
            }
            if !budget.spend(higher.len() + 1) {
                return Response::Undecided { at_least_ns: longest.max(seen) };
            }
            let next = own_work + higher.iter().map(|load| load.demand(w)).sum::<u128>();
            if next > HORIZON_NS {
                return Response::Undecided { at_least_ns: longest.max(seen) };
            }
            if next as u64 == w {
                if seen > longest {
                    (longest, worst_job) = (seen, job);
                }
                break;
            }
            w = next as u64;
        }
        // What a job waits for a hyperperiod later is no more: with U ≤ 1 the whole recurrence
        // moves on by at most that much.
        if job == 0 && seen_late(w, own) {
            let hyperperiod = hyperperiod_ns(&all, HORIZON_NS);
            last_job = hyperperiod.map_or(u64::MAX, |all| all / own.period_ns);
        }
        let over = u128::from(w) + jitter <= (u128::from(job) + 1) * period;
        if over || job >= last_job {
            return Response::Bound { ns: longest, job: worst_job };
        }
    }
    Response::Undecided { at_least_ns: longest }
}

/// The first job ends after the second one can be ready.
fn seen_late(end_ns: u64, own: Load) -> bool {
    u128::from(end_ns) + u128::from(own.jitter_ns) > u128::from(own.period_ns)
}

/// ⌈x⌉ ≥ x turns the recurrence into an inequality with a solution in closed form: every fixed
/// point is at least (work + Σ Jⱼ·Uⱼ) / (1 − Σ Uⱼ). Starting there saves most steps at high load.
struct LinearBound {
    /// Σ Jⱼ·Uⱼ, rounded down.
    jitter_work: u128,
    /// 1 − Σ Uⱼ, rounded up, in 2⁻⁵⁶.
    rest: u128,
}

impl LinearBound {
    fn new(higher: &[Load]) -> Self {
        let jitter_work = |load: &Load| {
            u128::from(load.jitter_ns) * u128::from(load.wcet_ns) / u128::from(load.period_ns)
        };
        Self {
            jitter_work: higher.iter().map(jitter_work).sum(),
            rest: ONE.saturating_sub(utilisation(higher).low),
        }
    }

    fn start(&self, own_work: u128) -> u64 {
        let work = own_work + self.jitter_work;
        if self.rest == 0 || work > HORIZON_NS {
            return 0;
        }
        ((work << BITS) / self.rest).min(HORIZON_NS) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(wcet_ns: u64, period_ns: u64) -> Load {
        Load { wcet_ns, period_ns, jitter_ns: 0 }
    }

    /// Responses of tasks in order of priority, highest first.
    fn responses(tasks: &[(u64, u64)]) -> Vec<Option<u64>> {
        let loads: Vec<Load> = tasks.iter().map(|(wcet, period)| load(*wcet, *period)).collect();
        let of = |at: usize| {
            response_time(loads[at], 0, &loads[..at], &mut Budget::new(1 << 30)).bound_ns()
        };
        (0..loads.len()).map(of).collect()
    }

    #[test]
    fn case_87_rate_monotonic_responses() {
        assert_eq!(responses(&[(10, 30), (10, 40), (12, 50)]), [Some(10), Some(20), Some(52)]);
        assert_eq!(responses(&[(4, 16), (5, 40), (32, 80)]), [Some(4), Some(9), Some(58)]);
    }

    #[test]
    fn case_87_deadline_monotonic_responses() {
        // d(20,3,D5) c(15,3,D7) b(10,4,D10) a(20,3,D20).
        let dm = responses(&[(3, 20), (3, 15), (4, 10), (3, 20)]);
        assert_eq!(dm, [Some(3), Some(6), Some(10), Some(20)]);
        // By rate: b, c, then d and a: d answers after 10, beyond its deadline of 5.
        assert_eq!(responses(&[(4, 10), (3, 15), (3, 20)])[2], Some(10));
    }

    #[test]
    fn case_88_a_miss_by_rate_at_23_24ths() {
        assert_eq!(responses(&[(1, 4), (2, 6), (3, 8)])[2], Some(10));
    }

    #[test]
    fn the_first_job_is_not_always_the_worst() {
        // Lehoczky: (26,70), (62,100): the fifth job of the busy period takes 118.
        let found = response_time(load(62, 100), 0, &[load(26, 70)], &mut Budget::new(1 << 20));
        let first = 62 + 26 + 26;
        assert_eq!(found, Response::Bound { ns: 118, job: 4 });
        assert!(first < 118);
    }

    #[test]
    fn jitter_of_others_and_own_and_blocking_all_count() {
        let jittery = Load { wcet_ns: 2, period_ns: 10, jitter_ns: 5 };
        let budget = &mut Budget::new(1 << 20);
        // Two jobs of the other one fall into 2·2 + 4 = 8.
        let own = Load { wcet_ns: 4, period_ns: 40, jitter_ns: 0 };
        assert_eq!(response_time(own, 0, &[jittery], budget).bound_ns(), Some(8));
        assert_eq!(response_time(own, 3, &[jittery], budget).bound_ns(), Some(11));
        let late = Load { jitter_ns: 7, ..own };
        assert_eq!(response_time(late, 3, &[jittery], budget).bound_ns(), Some(18));
    }

    #[test]
    fn more_than_the_cpu_is_unbounded_and_exactly_the_cpu_is_not() {
        let budget = &mut Budget::new(1 << 20);
        assert_eq!(response_time(load(6, 10), 0, &[load(5, 10)], budget), Response::Unbounded);
        assert_eq!(response_time(load(5, 10), 0, &[load(5, 10)], budget).bound_ns(), Some(10));
    }

    #[test]
    fn huge_coprime_periods_end_with_a_statement() {
        // 1/2 − 1/(2·T₁) + 1/2 + 1/(2·T₂): below 1 by 10⁻¹⁸, so the busy period holds 10⁹ jobs.
        let (other, own) = (load(500_000_003, 1_000_000_007), load(500_000_005, 1_000_000_009));
        let mut budget = Budget::new(2_000_000);
        let found = response_time(own, 1, &[other], &mut budget);
        assert!(matches!(found, Response::Undecided { .. }), "{found:?}");
        let verdicts = (found.meets(own.period_ns), found.meets(2 * own.period_ns));
        assert_eq!((budget.left(), verdicts), (0, (Some(false), None)));
        let full = load(1, 2);
        let found = response_time(full, 1, &[full], &mut Budget::new(1_000));
        assert_eq!(found, Response::Bound { ns: 4, job: 0 }, "held up for ever, but not longer");
    }

    #[test]
    fn a_deadline_is_refuted_without_following_the_busy_period() {
        let mut budget = Budget::new(100);
        let full = load(1, 2);
        assert_eq!(meets_deadline(full, 2, 10, &[full], &mut budget), Some(false));
        assert!(budget.left() > 50);
    }
}
