//! One CPU with everything that may run on it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::assign::Candidate;
use crate::budget::Budget;
use crate::edf::{EdfTask, processor_demand};
use crate::fixed::{Response, meets_deadline, response_time};
use crate::model::Load;
use crate::ratio::fits;

/// A task with a fixed priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FixedTask {
    pub(crate) load: Load,
    pub(crate) deadline_ns: u64,
    pub(crate) blocking_ns: u64,
    pub(crate) priority: u8,
    /// `SCHED_FIFO`; otherwise `SCHED_RR`.
    pub(crate) fifo: bool,
}

impl FixedTask {
    pub(crate) fn candidate(&self) -> Candidate {
        let Self { load, deadline_ns, blocking_ns, .. } = *self;
        Candidate { load, deadline_ns, blocking_ns }
    }
}

/// What shares one CPU: deadline tasks above tasks with fixed priorities (classes.md A.1).
#[derive(Clone, Default, Debug)]
pub(crate) struct Core {
    pub(crate) edf: Vec<EdfTask>,
    pub(crate) fixed: Vec<FixedTask>,
    /// By task with a fixed priority: work of tasks from elsewhere that may come in above it.
    pub(crate) visitors: Vec<Vec<Load>>,
    /// Responses of levels that several tasks share, by priority and blocking.
    pub(crate) levels: RefCell<BTreeMap<(u8, u64), Response>>,
    /// Whether the tasks of such a level go strictly in order of arrival.
    pub(crate) orderly: RefCell<BTreeMap<u8, bool>>,
}

impl Core {
    /// Everything more important than a task, and its equals.
    fn above(&self, at: usize) -> (Vec<Load>, Vec<FixedTask>) {
        let own = &self.fixed[at];
        let mut higher: Vec<Load> = self.edf.iter().map(|task| task.load).collect();
        higher.extend(self.visitors.get(at).into_iter().flatten());
        let mut equal = Vec::new();
        for (other, task) in self.fixed.iter().enumerate() {
            if task.priority > own.priority {
                higher.push(task.load);
            } else if task.priority == own.priority && other != at {
                equal.push(*task);
            }
        }
        (higher, equal)
    }

    /// Whether the bound that was found is reached in the worst case, as far as the parameters are.
    pub(crate) fn is_exact(&self, at: usize) -> bool {
        let own = &self.fixed[at];
        let visited = self.visitors.get(at).is_some_and(|visitors| !visitors.is_empty());
        let equals = self.fixed.iter().filter(|task| task.priority == own.priority).count() > 1;
        let orderly = self.orderly.borrow().get(&own.priority) == Some(&true);
        let by_arrival = own.load.jitter_ns == 0 && orderly;
        !visited && (!equals || by_arrival)
    }

    fn equals_are_fifo(&self, priority: u8) -> bool {
        self.fixed.iter().filter(|task| task.priority == priority).all(|task| task.fifo)
    }

    /// The longest response of a task with a fixed priority.
    pub(crate) fn response(&self, at: usize, budget: &mut Budget) -> Response {
        let own = &self.fixed[at];
        // Every task is looked at to tell who is above and who is equal.
        budget.spend(self.fixed.len());
        let (mut higher, equal) = self.above(at);
        if equal.is_empty() {
            return response_time(own.load, own.blocking_ns, &higher, budget);
        }
        if self.equals_are_fifo(own.priority) {
            let response = self.among_equals(own, &higher, budget);
            self.orderly.borrow_mut().insert(own.priority, response.is_some());
            if let Some(response) = response {
                return response.later_by(own.load.jitter_ns);
            }
        }
        // RR may rotate an equal before the task at any time, and so may one that is late go on
        // with its next job: as if it were more important.
        higher.extend(equal.iter().map(|task| task.load));
        response_time(own.load, own.blocking_ns, &higher, budget)
    }

    /// The response in order of arrival, without own jitter. A task whose next job is due before
    /// the last one is done goes on with it at the head of the list, whoever came before: `None`
    /// unless all equals answer within their periods.
    fn among_equals(
        &self,
        own: &FixedTask,
        higher: &[Load],
        budget: &mut Budget,
    ) -> Option<Response> {
        let equals = || self.fixed.iter().filter(|task| task.priority == own.priority);
        let level: Vec<Load> = equals().map(|task| task.load).collect();
        let mut of = |blocking_ns: u64| {
            let key = (own.priority, blocking_ns);
            let known = self.levels.borrow().get(&key).copied();
            let response =
                known.unwrap_or_else(|| in_arrival_order(blocking_ns, higher, &level, budget));
            if self.visitors.is_empty() {
                self.levels.borrow_mut().insert(key, response);
            }
            response
        };
        let longest = of(equals().map(|task| task.blocking_ns).max().unwrap_or(0));
        let in_period = |load: &Load| {
            let response = longest.later_by(load.jitter_ns).bound_ns();
            response.is_some_and(|response_ns| response_ns <= load.period_ns)
        };
        level.iter().all(in_period).then(|| of(own.blocking_ns))
    }

    pub(crate) fn meets(&self, at: usize, budget: &mut Budget) -> Option<bool> {
        let own = &self.fixed[at];
        budget.spend(self.fixed.len());
        let (higher, equal) = self.above(at);
        if equal.is_empty() {
            let (deadline_ns, blocking_ns) = (own.deadline_ns, own.blocking_ns);
            return meets_deadline(own.load, deadline_ns, blocking_ns, &higher, budget);
        }
        self.response(at, budget).meets(own.deadline_ns)
    }

    /// Whether every deadline on this CPU is met.
    pub(crate) fn all_meet(&self, budget: &mut Budget) -> Option<bool> {
        let demand = processor_demand(&self.edf, budget).verdict();
        if demand == Some(false) {
            return demand;
        }
        both(demand, all((0..self.fixed.len()).map(|at| self.meets(at, budget))))
    }
}

/// Both hold; what is known to fail wins over what is not known.
pub(crate) fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// All hold; what is known to fail wins, and nothing is asked after it.
pub(crate) fn all(verdicts: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut together = Some(true);
    for verdict in verdicts {
        together = both(together, verdict);
        if together == Some(false) {
            break;
        }
    }
    together
}

/// FIFO among equals: a job waits for those that came before it or with it, and for no later one
/// (Martin, Minet, George). Its worst case may come at any arrival of the level within its busy
/// period. The answer is the same for all equals with the same blocking; own jitter comes on top.
fn in_arrival_order(
    blocking_ns: u64,
    higher: &[Load],
    level: &[Load],
    budget: &mut Budget,
) -> Response {
    let all = [higher, level].concat();
    if fits(&all, 1) == Some(false) {
        return Response::Unbounded;
    }
    let blocking = u128::from(blocking_ns);
    let arrival_of = |load: &Load, job: u64| {
        let nominal = u128::from(job) * u128::from(load.period_ns);
        nominal.saturating_sub(u128::from(load.jitter_ns))
    };
    let mut next: Vec<u64> = vec![0; level.len()];
    let (mut longest, mut end) = (0_u64, 0_u128);
    loop {
        // The next arrival of anyone, and all that has come by then.
        let arrival = level.iter().zip(&next).map(|(load, job)| arrival_of(load, *job)).min();
        let arrival = arrival.unwrap_or(0);
        if arrival > 0 && arrival >= end {
            // What this level and those above had to do was done before.
            return Response::Bound { ns: longest, job: 0 };
        }
        let mut work = blocking;
        for (load, job) in level.iter().zip(&mut next) {
            let shifted = arrival + u128::from(load.jitter_ns);
            *job = (shifted / u128::from(load.period_ns)) as u64 + 1;
            work += u128::from(*job) * u128::from(load.wcet_ns);
        }
        // Ends only move on, so the last one is where to go on from.
        end = end.max(work);
        loop {
            if end > 1 << 62 || !budget.spend(all.len()) {
                return Response::Undecided { at_least_ns: longest };
            }
            let later = work + higher.iter().map(|load| load.demand(end as u64)).sum::<u128>();
            if later == end {
                break;
            }
            end = later;
        }
        longest = longest.max((end - arrival) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(priority: u8, wcet_ns: u64, period_ns: u64) -> FixedTask {
        let load = Load { wcet_ns, period_ns, jitter_ns: 0 };
        FixedTask { load, deadline_ns: period_ns, blocking_ns: 0, priority, fifo: true }
    }

    fn bounds(fixed: Vec<FixedTask>) -> Vec<Option<u64>> {
        let core = Core { fixed, ..Core::default() };
        let mut budget = Budget::new(1 << 20);
        (0..core.fixed.len()).map(|at| core.response(at, &mut budget).bound_ns()).collect()
    }

    #[test]
    fn equals_in_arrival_order_wait_for_one_job_of_each_other() {
        assert_eq!(bounds(vec![task(50, 1, 6), task(50, 7, 20)]), [Some(8), Some(9)]);
        assert_eq!(bounds(vec![task(50, 1, 8), task(50, 7, 20)]), [Some(8), Some(8)]);
        // In order of arrival 9 + 2; below a more important one, 9 + 2 · 2.
        assert_eq!(bounds(vec![task(50, 2, 11), task(50, 9, 30)]), [Some(11), Some(11)]);
        assert_eq!(bounds(vec![task(51, 2, 10), task(50, 9, 30)]), [Some(2), Some(13)]);
    }

    #[test]
    fn a_late_equal_goes_on_with_its_next_job_at_the_head() {
        // The one of period 6 answers after 8: its second job may go before the other's first.
        let core = Core { fixed: vec![task(50, 1, 6), task(50, 7, 20)], ..Core::default() };
        assert_eq!(core.response(1, &mut Budget::new(1000)).bound_ns(), Some(9));
        assert!(!core.is_exact(1));
    }

    #[test]
    fn equals_by_turns_are_as_good_as_more_important() {
        let rr = |task: FixedTask| FixedTask { fifo: false, ..task };
        let found = bounds(vec![rr(task(50, 1, 4)), rr(task(50, 5, 20))]);
        assert_eq!(found, [Some(6), Some(7)]);
        assert_eq!(bounds(vec![task(50, 1, 4), rr(task(50, 5, 20))]), [Some(6), Some(7)]);
    }

    #[test]
    fn deadline_tasks_come_before_every_fixed_priority() {
        let load = Load { wcet_ns: 3, period_ns: 10, jitter_ns: 0 };
        let edf = vec![EdfTask { load, deadline_ns: 10, blocking_ns: 0 }];
        let core = Core { edf, fixed: vec![task(99, 2, 20)], ..Core::default() };
        assert_eq!(core.response(0, &mut Budget::new(1000)).bound_ns(), Some(5));
        assert_eq!(core.all_meet(&mut Budget::new(1000)), Some(true));
    }

    #[test]
    fn an_overload_among_equals_is_unbounded() {
        assert_eq!(bounds(vec![task(50, 3, 4), task(50, 5, 10)]), [None, None]);
        assert_eq!(both(None, Some(false)), Some(false));
        assert_eq!(both(Some(true), None), None);
    }
}
