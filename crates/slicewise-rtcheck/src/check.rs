//! The whole question: does this task set meet its deadlines, and what would the kernel say?

use crate::assign::{Assignment, Candidate, audsley, deadline_monotonic, spread};
use crate::budget::Budget;
use crate::cpu::{Core, FixedTask, all, both};
use crate::edf::{Demand, EdfTask};
use crate::kernel::KernelRules;
use crate::model::{Load, Policy, Task, TaskSet};
use crate::verdict::{KernelVerdict, admission};
use crate::{domain, ratio, slack, words};

/// Steps for the responses and verdicts of a whole set, and for one question of them.
const WORK: u64 = 100_000_000;
const WORK_PART: u64 = 20_000_000;
/// Steps for what comes on top: suggestions, slack, exact responses under EDF.
const WORK_EXTRA: u64 = 30_000_000;

/// What is known of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskVerdict {
    /// The priority it was analysed with.
    pub priority: Option<u8>,
    /// No job takes longer from its nominal release, ns; `None` if no bound is known.
    pub response_bound_ns: Option<u64>,
    /// The bound is reached if everything happens at its worst.
    pub exact: bool,
    /// Every job meets its deadline; `None` if that was neither proven nor refuted.
    pub meets: Option<bool>,
    /// Why there is no bound, or what it rests on.
    pub note: Option<String>,
    /// How much longer each job could run with all deadlines of its CPU still met, ns.
    pub slack_ns: Option<u64>,
}

/// What is known of a CPU, or of all CPUs together for tasks that may use any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreVerdict {
    /// Which CPU; `None` for tasks that may use all.
    pub core: Option<u32>,
    /// How many CPUs these tasks have.
    pub cpus: u32,
    /// Its tasks.
    pub tasks: Vec<usize>,
    /// Utilisation is at most the number of CPUs.
    pub fits: Option<bool>,
    /// Liu and Layland's bound for that many tasks, 10⁻⁹.
    pub liu_layland_ppb: u64,
    /// U is within it.
    pub liu_layland: Option<bool>,
    /// ∏(U + 1) ≤ 2.
    pub hyperbolic: Option<bool>,
    /// These two prove something here: fixed priorities by rate on one CPU, deadlines not shorter
    /// than periods, no jitter, blocking or equals.
    pub bounds_apply: bool,
    /// The processor-demand test of its deadline tasks.
    pub demand: Option<Demand>,
    /// The test of Goossens, Funk and Baruah, for deadline tasks on several CPUs.
    pub gfb: Option<bool>,
    /// How late deadline tasks on several CPUs can be, ns (Devi, Anderson).
    pub tardiness_ns: Option<u64>,
    /// All its deadlines are met.
    pub meets: Option<bool>,
}

/// Priorities that would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suggestion {
    /// Which CPU.
    pub core: u32,
    /// Its tasks with fixed priorities.
    pub tasks: Vec<usize>,
    /// Deadline-monotonic priorities for them, and whether all their deadlines are met with them.
    pub deadline_monotonic: (Vec<u8>, Option<bool>),
    /// Audsley's.
    pub audsley: Assignment,
}

/// Everything that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Analysis {
    /// By task.
    pub tasks: Vec<TaskVerdict>,
    /// By CPU.
    pub cores: Vec<CoreVerdict>,
    /// All deadlines are met; `None` if that was neither proven nor refuted.
    pub schedulable: Option<bool>,
    /// No priorities were given: the analysis chose them.
    pub priorities_chosen: bool,
    /// Priorities for each CPU that has tasks with fixed ones.
    pub suggestions: Vec<Suggestion>,
    /// What the kernel would say.
    pub kernel: KernelVerdict,
    /// Where the kernel's verdict and the true one differ, why; and what else to know.
    pub remarks: Vec<String>,
}

/// A task set with every priority settled.
pub(crate) struct Settled<'s> {
    pub(crate) set: &'s TaskSet,
    /// By task; 0 for deadline tasks.
    pub(crate) priorities: Vec<u8>,
}

impl Settled<'_> {
    pub(crate) fn task(&self, at: usize) -> &Task {
        &self.set.tasks[at]
    }

    /// The one CPU a task runs on.
    pub(crate) fn core_of(&self, at: usize) -> Option<u32> {
        if self.set.cpus == 1 { Some(0) } else { self.set.tasks[at].core }
    }

    pub(crate) fn is_deadline(&self, at: usize) -> bool {
        self.set.tasks[at].policy == Policy::Deadline
    }

    pub(crate) fn load(&self, at: usize) -> Load {
        self.set.load(&self.set.tasks[at])
    }

    pub(crate) fn fixed(&self, at: usize) -> FixedTask {
        let task = self.task(at);
        FixedTask {
            load: self.load(at),
            deadline_ns: task.deadline_ns,
            blocking_ns: task.blocking_ns,
            priority: self.priorities[at],
            fifo: task.policy == Policy::Fifo,
        }
    }

    pub(crate) fn edf(&self, at: usize) -> EdfTask {
        let Task { deadline_ns, blocking_ns, .. } = *self.task(at);
        EdfTask { load: self.load(at), deadline_ns, blocking_ns }
    }

    /// Tasks of one CPU, deadline tasks and others, in the order of the set.
    pub(crate) fn members(&self, core: Option<u32>) -> (Vec<usize>, Vec<usize>) {
        let all = (0..self.set.tasks.len()).filter(|at| self.core_of(*at) == core);
        all.partition(|at| self.is_deadline(*at))
    }

    /// The CPUs that have tasks of their own.
    pub(crate) fn cores(&self) -> Vec<u32> {
        let mut cores: Vec<u32> =
            (0..self.set.tasks.len()).filter_map(|at| self.core_of(at)).collect();
        cores.sort_unstable();
        cores.dedup();
        cores
    }

    /// A CPU without what may come in from elsewhere.
    pub(crate) fn core(&self, core: u32) -> (Core, Vec<usize>, Vec<usize>) {
        let (edf, fixed) = self.members(Some(core));
        let model = Core {
            edf: edf.iter().map(|at| self.edf(*at)).collect(),
            fixed: fixed.iter().map(|at| self.fixed(*at)).collect(),
            ..Core::default()
        };
        (model, edf, fixed)
    }
}

/// Analyses a task set and asks the kernel's rules about it.
///
/// The work is bounded: where it does not suffice, verdicts are `None`.
///
/// # Errors
/// If the set is not one that can be analysed; the message says why.
pub fn check(set: &TaskSet, rules: &KernelRules) -> Result<Analysis, String> {
    if let Some(fault) = set.fault() {
        return Err(fault);
    }
    let (mut budget, mut extra) = (Budget::new(WORK), Budget::new(WORK_EXTRA));
    let (settled, priorities_chosen) = settle(set, &mut extra)?;
    let mut tasks: Vec<TaskVerdict> = (0..set.tasks.len())
        .map(|at| TaskVerdict {
            priority: (!settled.is_deadline(at)).then_some(settled.priorities[at]),
            response_bound_ns: None,
            exact: false,
            meets: None,
            note: None,
            slack_ns: None,
        })
        .collect();
    let cores = domain::analyse(&settled, &mut tasks, &mut budget, &mut extra, WORK_PART);
    let mut schedulable = all(tasks.iter().map(|task| task.meets));
    if !set.unknown.is_empty() {
        schedulable = both(schedulable, None);
    }
    let suggestions = suggest(&settled, &mut extra);
    slack::fill(&settled, &mut tasks, &mut extra);
    let kernel = admission(&settled, &tasks, rules);
    let remarks = words::remarks(&settled, &tasks, &cores, schedulable, &kernel, rules);
    Ok(Analysis { tasks, cores, schedulable, priorities_chosen, suggestions, kernel, remarks })
}

/// Gives every task its priority; where none has one, the analysis chooses.
pub(crate) fn settle<'s>(
    set: &'s TaskSet,
    extra: &mut Budget,
) -> Result<(Settled<'s>, bool), String> {
    let mut settled = Settled {
        set,
        priorities: set.tasks.iter().map(|task| task.priority.unwrap_or(0)).collect(),
    };
    let fixed: Vec<&Task> =
        set.tasks.iter().filter(|task| task.policy != Policy::Deadline).collect();
    let missing = fixed.iter().find(|task| task.priority.is_none());
    let given = fixed.iter().find(|task| task.priority.is_some());
    match (missing, given) {
        (None, _) => return Ok((settled, false)),
        (Some(missing), Some(given)) => {
            let (missing, given) = (&missing.name, &given.name);
            return Err(format!("{missing} has no priority, but {given} has one"));
        }
        (Some(_), None) => {}
    }
    let mut domains: Vec<Option<u32>> = settled.cores().into_iter().map(Some).collect();
    if set.cpus > 1 {
        domains.push(None);
    }
    for domain in domains {
        let (_, members) = settled.members(domain);
        let chosen = match domain {
            Some(core) => suggest_core(&settled, core, extra),
            None => None,
        };
        let priorities = match chosen {
            Some(Suggestion { audsley: Assignment::Found(priorities), .. }) => priorities,
            Some(Suggestion { deadline_monotonic: (priorities, _), .. }) => priorities,
            None => {
                let all: Vec<Candidate> =
                    members.iter().map(|at| settled.fixed(*at).candidate()).collect();
                spread(&deadline_monotonic(&all), set.band)
            }
        };
        for (at, priority) in members.iter().zip(priorities) {
            settled.priorities[*at] = priority;
        }
    }
    Ok((settled, true))
}

fn suggest(settled: &Settled<'_>, extra: &mut Budget) -> Vec<Suggestion> {
    settled.cores().into_iter().filter_map(|core| suggest_core(settled, core, extra)).collect()
}

fn suggest_core(settled: &Settled<'_>, core: u32, extra: &mut Budget) -> Option<Suggestion> {
    let (model, _, members) = settled.core(core);
    let visited = settled.set.cpus > 1 && settled.set.tasks.iter().any(|task| task.core.is_none());
    if members.is_empty() || visited || !settled.set.unknown.is_empty() {
        return None;
    }
    let candidates: Vec<Candidate> = model.fixed.iter().map(FixedTask::candidate).collect();
    let band = settled.set.band;
    let order = deadline_monotonic(&candidates);
    let priorities = spread(&order, band);
    let mut trial = model.clone();
    trial.levels.take();
    for (task, priority) in trial.fixed.iter_mut().zip(&priorities) {
        task.priority = *priority;
    }
    let meets = all((0..trial.fixed.len()).map(|at| trial.meets(at, extra)));
    let above: Vec<Load> = model.edf.iter().map(|task| task.load).collect();
    let mut part = extra.part(extra.left() / 2);
    let audsley = audsley(&candidates, &above, band, &mut part);
    extra.give_back(part);
    Some(Suggestion { core, tasks: members, deadline_monotonic: (priorities, meets), audsley })
}

/// The sufficient tests by utilisation, for the tasks of a CPU.
pub(crate) fn bounds(
    settled: &Settled<'_>,
    members: &[usize],
) -> (u64, Option<bool>, Option<bool>) {
    let loads: Vec<Load> = members.iter().map(|at| settled.load(*at)).collect();
    (
        ratio::liu_layland_bound_ppb(members.len()),
        ratio::passes_liu_layland(&loads),
        ratio::passes_hyperbolic(&loads),
    )
}

/// Whether those tests prove anything about these tasks on one CPU.
pub(crate) fn bounds_apply(settled: &Settled<'_>, members: &[usize]) -> bool {
    let mut fixed: Vec<FixedTask> = members.iter().map(|at| settled.fixed(*at)).collect();
    fixed.sort_by_key(|task| std::cmp::Reverse(task.priority));
    let plain = |at: &usize| {
        let task = settled.task(*at);
        !settled.is_deadline(*at)
            && task.deadline_ns >= task.period_ns
            && task.jitter_ns == 0
            && task.blocking_ns == 0
    };
    let by_rate = |pair: &[FixedTask]| {
        pair[0].priority > pair[1].priority && pair[0].load.period_ns <= pair[1].load.period_ns
    };
    members.iter().all(plain) && fixed.windows(2).all(by_rate)
}
