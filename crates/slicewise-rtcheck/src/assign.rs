//! Priorities for tasks: deadline-monotonic and Audsley's.

use crate::budget::Budget;
use crate::fixed::meets_deadline;
use crate::model::Load;

/// A task that wants a priority on a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its work.
    pub load: Load,
    /// From nominal release, ns.
    pub deadline_ns: u64,
    /// How long it may be held up by less important tasks, whatever its priority, ns.
    pub blocking_ns: u64,
}

/// What a search for priorities came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Assignment {
    /// These priorities, in the order of the tasks, meet all deadlines.
    Found(Vec<u8>),
    /// No order of the tasks meets all deadlines.
    Impossible,
    /// An order exists, but it needs this many levels and the band has fewer.
    BandTooNarrow {
        /// The fewest priority levels that do.
        levels: usize,
    },
    /// The work allowed was not enough to tell.
    Undecided,
}

/// Tasks from the most to the least important, by the time a job has from the latest moment it can
/// become ready to its deadline. Optimal for deadlines within periods without blocking
/// (Leung, Whitehead).
pub fn deadline_monotonic(tasks: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    let room = |at: &usize| {
        let task = &tasks[*at];
        i128::from(task.deadline_ns) - i128::from(task.load.jitter_ns)
    };
    order.sort_by_key(room);
    order
}

/// Priorities within a band for tasks in this order, the first the most important. With more
/// tasks than levels, neighbours share one.
pub fn spread(order: &[usize], band: (u8, u8)) -> Vec<u8> {
    let levels = usize::from(band.1 - band.0) + 1;
    let mut priorities = vec![0; order.len()];
    for (rank, task) in order.iter().enumerate() {
        let step = if order.len() <= levels { rank } else { rank * levels / order.len() };
        priorities[*task] = band.1 - step as u8;
    }
    priorities
}

/// Audsley's assignment, optimal for everything response-time analysis knows: a task that is fine
/// below all others may have the lowest priority, whatever the order of the others. All tasks that
/// are fine there share that level, so the levels are as few as can be; where the band has room,
/// every task gets one of its own. `above` is work that is more important than all of them.
pub fn audsley(
    tasks: &[Candidate],
    above: &[Load],
    band: (u8, u8),
    budget: &mut Budget,
) -> Assignment {
    let mut open = deadline_monotonic(tasks);
    let mut levels: Vec<Vec<usize>> = Vec::new();
    while !open.is_empty() {
        let mut level = Vec::new();
        // The one with most room first: it is the likeliest to fit, and alone enough to go on.
        for at in (0..open.len()).rev() {
            let others = open.iter().enumerate().filter(|(other, _)| *other != at);
            budget.spend(open.len());
            let mut higher: Vec<Load> = others.map(|(_, task)| tasks[*task].load).collect();
            higher.extend_from_slice(above);
            let task = &tasks[open[at]];
            let (deadline_ns, blocking_ns) = (task.deadline_ns, task.blocking_ns);
            match meets_deadline(task.load, deadline_ns, blocking_ns, &higher, budget) {
                Some(true) => level.push(open[at]),
                Some(false) => {}
                None => return Assignment::Undecided,
            }
        }
        if level.is_empty() {
            return Assignment::Impossible;
        }
        open.retain(|task| !level.contains(task));
        levels.push(level);
    }
    let room = usize::from(band.1 - band.0) + 1;
    if levels.len() > room {
        return Assignment::BandTooNarrow { levels: levels.len() };
    }
    if tasks.len() <= room {
        // Within a level any order will do: whoever moves up is only held up by fewer.
        let order: Vec<usize> = levels.into_iter().flatten().rev().collect();
        return Assignment::Found(spread(&order, band));
    }
    let mut priorities = vec![0; tasks.len()];
    for (height, level) in levels.iter().rev().enumerate() {
        for task in level {
            priorities[*task] = band.1 - height as u8;
        }
    }
    Assignment::Found(priorities)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(wcet_ns: u64, deadline_ns: u64, period_ns: u64) -> Candidate {
        let load = Load { wcet_ns, period_ns, jitter_ns: 0 };
        Candidate { load, deadline_ns, blocking_ns: 0 }
    }

    fn budget() -> Budget {
        Budget::new(1 << 24)
    }

    #[test]
    fn case_87_deadline_monotonic_order() {
        let set =
            [candidate(3, 20, 20), candidate(4, 10, 10), candidate(3, 7, 15), candidate(3, 5, 20)];
        assert_eq!(deadline_monotonic(&set), [3, 2, 1, 0]);
        let found = audsley(&set, &[], (51, 54), &mut budget());
        assert_eq!(found, Assignment::Found(vec![51, 52, 53, 54]));
    }

    #[test]
    fn jitter_moves_a_task_up() {
        let mut late = candidate(1, 20, 20);
        late.load.jitter_ns = 18;
        assert_eq!(deadline_monotonic(&[candidate(1, 5, 20), late]), [1, 0]);
    }

    #[test]
    fn audsley_finds_an_order_where_deadline_monotonic_fails() {
        // With a deadline beyond its period a task may need to stand above one with less room.
        let set = [candidate(52, 110, 100), candidate(52, 154, 140)];
        let meets = |order: [usize; 2]| {
            let low = set[order[1]];
            let higher = [set[order[0]].load];
            meets_deadline(low.load, low.deadline_ns, 0, &higher, &mut budget()) == Some(true)
        };
        assert_eq!(deadline_monotonic(&set), [0, 1]);
        assert!(!meets([0, 1]) && meets([1, 0]));
        assert_eq!(audsley(&set, &[], (1, 99), &mut budget()), Assignment::Found(vec![98, 99]));
    }

    #[test]
    fn a_band_is_kept_and_too_narrow_a_band_is_named() {
        let loose = [candidate(1, 100, 100); 5];
        let found = audsley(&loose, &[], (10, 11), &mut budget());
        assert_eq!(found, Assignment::Found(vec![11; 5]));
        let tight = [candidate(1, 1, 10), candidate(1, 2, 10), candidate(1, 3, 10)];
        let found = audsley(&tight, &[], (10, 11), &mut budget());
        assert_eq!(found, Assignment::BandTooNarrow { levels: 3 });
        let hopeless = [candidate(1, 1, 10), candidate(1, 1, 10)];
        assert_eq!(audsley(&hopeless, &[], (1, 99), &mut budget()), Assignment::Impossible);
        assert_eq!(audsley(&tight, &[], (1, 99), &mut Budget::new(2)), Assignment::Undecided);
    }

    #[test]
    fn more_tasks_than_levels_share_in_order() {
        assert_eq!(spread(&[2, 0, 1, 3], (50, 51)), [51, 50, 51, 50]);
    }
}
