//! How much longer a task may run.

use crate::budget::Budget;
use crate::check::{Settled, TaskVerdict};
use crate::cpu::Core;

/// By task: the most that can be added to its worst-case execution time with all deadlines of its
/// CPU still met, to the nanosecond. Only for CPUs whose deadlines are met and that are known
/// exactly; `None` elsewhere, and where the budget did not reach.
pub(crate) fn fill(settled: &Settled<'_>, tasks: &mut [TaskVerdict], budget: &mut Budget) {
    let several = settled.set.cpus > 1;
    let visited = several && settled.set.tasks.iter().any(|task| task.core.is_none());
    if visited || !settled.set.unknown.is_empty() {
        return;
    }
    for core in settled.cores() {
        let (model, edf, fixed) = settled.core(core);
        let met = |at: &usize| tasks[*at].meets == Some(true);
        if !edf.iter().chain(&fixed).all(met) {
            continue;
        }
        for (place, at) in edf.iter().chain(&fixed).enumerate() {
            tasks[*at].slack_ns = slack_ns(&model, place, budget);
        }
    }
}

/// The work and room of the task at this place, deadline tasks first.
fn slack_ns(model: &Core, place: usize, budget: &mut Budget) -> Option<u64> {
    let (wcet_ns, deadline_ns) = match model.edf.get(place) {
        Some(task) => (task.load.wcet_ns, task.deadline_ns),
        None => {
            let task = &model.fixed[place - model.edf.len()];
            (task.load.wcet_ns, task.deadline_ns)
        }
    };
    // More work is never better, so the verdict changes once.
    let (mut fits_ns, mut fails_ns) = (0, deadline_ns.saturating_sub(wcet_ns) + 1);
    while fails_ns - fits_ns > 1 {
        let middle_ns = fits_ns + (fails_ns - fits_ns) / 2;
        if !budget.spend(model.edf.len() + model.fixed.len()) {
            return None;
        }
        let mut trial = model.clone();
        trial.levels.take();
        match trial.edf.get_mut(place) {
            Some(task) => task.load.wcet_ns += middle_ns,
            None => trial.fixed[place - model.edf.len()].load.wcet_ns += middle_ns,
        }
        match trial.all_meet(budget)? {
            true => fits_ns = middle_ns,
            false => fails_ns = middle_ns,
        }
    }
    Some(fits_ns)
}
