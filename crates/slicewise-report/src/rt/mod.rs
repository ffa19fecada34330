//! Verdicts on real-time task sets: the JSON contract, and what people see.

mod text;
mod timeline;

use serde::Serialize;
use slicewise_rtcheck::{
    Analysis, Assignment, CoreVerdict, Demand, KernelVerdict, Task, TaskSet, Timeline, chrt_line,
    systemd_lines,
};

pub use text::render_rt;

/// Whether deadlines are met, and what the kernel would say. Field names are a contract.
#[derive(Clone, Debug, Serialize)]
pub struct RtReport {
    /// Every deadline is proven to be met.
    pub schedulable: bool,
    /// That was decided: if not, deadlines are neither proven nor refuted.
    pub decided: bool,
    /// Of all tasks together, in CPUs.
    pub utilisation: f64,
    /// Liu and Layland's bound for the number of tasks of the busiest CPU.
    pub liu_layland: f64,
    /// ∏(U + 1) of the busiest CPU; the hyperbolic test is that it is at most 2.
    pub hyperbolic: f64,
    /// How many CPUs.
    pub cpus: u32,
    /// What was charged for a context switch, ns, twice a job.
    pub context_switch_ns: u64,
    /// The priorities were chosen by the analysis: the file gives none.
    pub priorities_chosen: bool,
    /// By task.
    pub tasks: Vec<RtTask>,
    /// By CPU.
    pub cores: Vec<RtCore>,
    /// The kernel's verdict.
    pub kernel: RtKernel,
    /// Real-time tasks whose demand could not be derived.
    pub unknown: Vec<RtUnknown>,
    /// Priorities that would do, by CPU.
    pub suggestions: Vec<RtSuggestion>,
    /// The worst case of one task.
    pub timeline: Option<RtTimeline>,
    /// Why verdicts differ, and what else to know.
    pub remarks: Vec<String>,
}

/// A task.
#[derive(Clone, Debug, Serialize)]
pub struct RtTask {
    /// Its name.
    pub name: String,
    /// `SCHED_FIFO`, `SCHED_RR` or `SCHED_DEADLINE`.
    pub policy: &'static str,
    /// 1 to 99.
    pub priority: Option<u8>,
    /// The only CPU it may use.
    pub core: Option<u32>,
    /// Worst-case execution time, ns.
    pub wcet_ns: u64,
    /// Least time between releases, ns.
    pub period_ns: u64,
    /// From nominal release, ns.
    pub deadline_ns: u64,
    /// No job takes longer, ns.
    pub response_bound_ns: Option<u64>,
    /// The bound is reached in the worst case.
    pub exact: bool,
    /// Every job meets its deadline; null if neither proven nor refuted.
    pub meets: Option<bool>,
    /// How much longer each job could run with all deadlines of its CPU met, ns.
    pub slack_ns: Option<u64>,
    /// The longest response of a simulated run, ns.
    pub observed_ns: Option<u64>,
    /// Why there is no bound, or what it rests on.
    pub note: Option<String>,
    /// A command line that starts it.
    pub chrt: String,
    /// Settings of a systemd unit.
    pub systemd: Vec<String>,
}

/// A CPU, or all of them for tasks that may use any.
#[derive(Clone, Debug, Serialize)]
pub struct RtCore {
    /// Which; null for all.
    pub core: Option<u32>,
    /// Names of its tasks.
    pub tasks: Vec<String>,
    /// Of these tasks, in CPUs.
    pub utilisation: f64,
    /// Liu and Layland's bound.
    pub liu_layland: f64,
    /// U is within it.
    pub liu_layland_passes: Option<bool>,
    /// ∏(U + 1).
    pub hyperbolic: f64,
    /// It is at most 2.
    pub hyperbolic_passes: Option<bool>,
    /// These two prove something for these tasks.
    pub bounds_apply: bool,
    /// The processor-demand test of deadline tasks on one CPU: `fits`, `overload`, `exceeds`,
    /// `not decided`.
    pub demand: Option<&'static str>,
    /// Where that test fails: an interval, ns.
    pub demand_interval_ns: Option<u64>,
    /// And the work in it, ns.
    pub demand_ns: Option<u64>,
    /// The test of Goossens, Funk and Baruah, for deadline tasks on several CPUs.
    pub gfb_passes: Option<bool>,
    /// How late those can be, ns.
    pub tardiness_ns: Option<u64>,
    /// All deadlines of these tasks are met.
    pub meets: Option<bool>,
}

/// What the kernel says.
#[derive(Clone, Debug, Serialize)]
pub struct RtKernel {
    /// The version asked.
    pub profile: &'static str,
    /// Nobody is refused.
    pub admitted: bool,
    /// The first task that is, in the order of the file.
    pub first_refused: Option<String>,
    /// How.
    pub errno: Option<&'static str>,
    /// The rule that is broken.
    pub rule: Option<&'static str>,
    /// Reserved after everyone asked, fair servers included, in 2⁻²⁰ of a CPU.
    pub bandwidth_total: u64,
    /// What may be reserved, in 2⁻²⁰ of a CPU.
    pub bandwidth_limit: u64,
    /// CPUs on which RT throttling or the fair server may step in.
    pub safety_net_cores: Vec<u32>,
}

/// A real-time task that is not in the analysis.
#[derive(Clone, Debug, Serialize)]
pub struct RtUnknown {
    /// Its name.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// Priorities for the tasks of a CPU.
#[derive(Clone, Debug, Serialize)]
pub struct RtSuggestion {
    /// Which CPU.
    pub core: u32,
    /// Deadline-monotonic priorities.
    pub deadline_monotonic: Vec<RtPriority>,
    /// All deadlines are met with them.
    pub deadline_monotonic_meets: Option<bool>,
    /// Audsley's, if any order meets all deadlines.
    pub audsley: Option<Vec<RtPriority>>,
    /// `found`, `impossible`, `band too narrow`, `not decided`.
    pub audsley_outcome: &'static str,
}

/// A task's priority.
#[derive(Clone, Debug, Serialize)]
pub struct RtPriority {
    /// The task.
    pub name: String,
    /// 1 to 99.
    pub priority: u8,
}

/// The worst case of a task, from the critical instant.
#[derive(Clone, Debug, Serialize)]
pub struct RtTimeline {
    /// Whose.
    pub name: String,
    /// On which CPU.
    pub core: u32,
    /// How long the job took, ns.
    pub response_ns: u64,
    /// When it was due, ns after the critical instant.
    pub due_ns: i64,
    /// Who had the CPU when.
    pub stretches: Vec<RtStretch>,
    #[serde(skip)]
    drawing: String,
}

/// A time on the CPU.
#[derive(Clone, Debug, Serialize)]
pub struct RtStretch {
    /// The task; null for less important work that cannot be interrupted.
    pub name: Option<String>,
    /// From, ns.
    pub start_ns: u64,
    /// To, ns.
    pub end_ns: u64,
}

/// The most stretches a report lists.
const STRETCHES_MAX: usize = 1_000;

fn utilisation(set: &TaskSet, members: impl Iterator<Item = usize>) -> f64 {
    members.map(|at| share(set, at)).sum()
}

fn share(set: &TaskSet, at: usize) -> f64 {
    let task = &set.tasks[at];
    (task.wcet_ns + 2 * set.context_switch_ns) as f64 / task.period_ns as f64
}

impl RtReport {
    /// The report of an analysis. `observed_ns` are the longest responses of a run, if there was
    /// one, by task.
    pub fn new(
        set: &TaskSet,
        analysis: &Analysis,
        timeline: Option<&Timeline>,
        observed_ns: Option<&[u64]>,
    ) -> Self {
        let cores: Vec<RtCore> = analysis.cores.iter().map(|core| self::core(set, core)).collect();
        // Busiest: by what each CPU has to do.
        let load = |core: &CoreVerdict| {
            utilisation(set, core.tasks.iter().copied()) / f64::from(core.cpus)
        };
        let busiest = analysis
            .cores
            .iter()
            .zip(&cores)
            .fold(None, |best: Option<(f64, &RtCore)>, (verdict, core)| match best {
                Some((most, _)) if most >= load(verdict) => best,
                _ => Some((load(verdict), core)),
            })
            .map(|(_, core)| core);
        Self {
            schedulable: analysis.schedulable == Some(true),
            decided: analysis.schedulable.is_some(),
            utilisation: utilisation(set, 0..set.tasks.len()),
            liu_layland: busiest.map_or(1.0, |core| core.liu_layland),
            hyperbolic: busiest.map_or(1.0, |core| core.hyperbolic),
            cpus: set.cpus,
            context_switch_ns: set.context_switch_ns,
            priorities_chosen: analysis.priorities_chosen,
            tasks: (0..set.tasks.len()).map(|at| task(set, analysis, at, observed_ns)).collect(),
            cores,
            kernel: kernel(set, &analysis.kernel),
            unknown: set
                .unknown
                .iter()
                .map(|task| RtUnknown { name: task.name.clone(), reason: task.reason.clone() })
                .collect(),
            suggestions: suggestions(set, analysis),
            timeline: timeline.map(|timeline| self::timeline(set, timeline)),
            remarks: analysis.remarks.clone(),
        }
    }
}

fn task(set: &TaskSet, analysis: &Analysis, at: usize, observed_ns: Option<&[u64]>) -> RtTask {
    let (task, verdict): (&Task, _) = (&set.tasks[at], &analysis.tasks[at]);
    let priority = verdict.priority.unwrap_or(0);
    RtTask {
        name: task.name.clone(),
        policy: task.policy.name(),
        priority: verdict.priority,
        core: task.core,
        wcet_ns: task.wcet_ns,
        period_ns: task.period_ns,
        deadline_ns: task.deadline_ns,
        response_bound_ns: verdict.response_bound_ns,
        exact: verdict.exact,
        meets: verdict.meets,
        slack_ns: verdict.slack_ns,
        observed_ns: observed_ns.and_then(|observed| observed.get(at).copied()),
        note: verdict.note.clone(),
        chrt: chrt_line(task, priority),
        systemd: systemd_lines(task, priority),
    }
}

fn core(set: &TaskSet, verdict: &CoreVerdict) -> RtCore {
    let exceeds = match verdict.demand {
        Some(Demand::Exceeds { interval_ns, demand_ns }) => {
            Some((interval_ns, u64::try_from(demand_ns).unwrap_or(u64::MAX)))
        }
        _ => None,
    };
    RtCore {
        core: verdict.core,
        tasks: verdict.tasks.iter().map(|at| set.tasks[*at].name.clone()).collect(),
        utilisation: utilisation(set, verdict.tasks.iter().copied()),
        liu_layland: verdict.liu_layland_ppb as f64 / 1e9,
        liu_layland_passes: verdict.liu_layland,
        hyperbolic: verdict.tasks.iter().map(|at| 1.0 + share(set, *at)).product(),
        hyperbolic_passes: verdict.hyperbolic,
        bounds_apply: verdict.bounds_apply,
        demand: verdict.demand.map(|demand| match demand {
            Demand::Fits => "fits",
            Demand::Overload => "overload",
            Demand::Exceeds { .. } => "exceeds",
            Demand::Undecided => "not decided",
        }),
        demand_interval_ns: exceeds.map(|(interval_ns, _)| interval_ns),
        demand_ns: exceeds.map(|(_, demand_ns)| demand_ns),
        gfb_passes: verdict.gfb,
        tardiness_ns: verdict.tardiness_ns,
        meets: verdict.meets,
    }
}

fn kernel(set: &TaskSet, verdict: &KernelVerdict) -> RtKernel {
    RtKernel {
        profile: verdict.rules.name,
        admitted: verdict.admitted,
        first_refused: verdict.first_refused.map(|at| set.tasks[at].name.clone()),
        errno: verdict.errno().map(|errno| errno.name()),
        rule: verdict.refusal.map(|refusal| refusal.rule),
        bandwidth_total: verdict.total,
        bandwidth_limit: verdict.limit,
        safety_net_cores: verdict
            .safety_net
            .iter()
            .filter(|net| !net.stays_out())
            .map(|net| net.core)
            .collect(),
    }
}

fn suggestions(set: &TaskSet, analysis: &Analysis) -> Vec<RtSuggestion> {
    let named = |tasks: &[usize], priorities: &[u8]| -> Vec<RtPriority> {
        let pair = |(at, priority): (&usize, &u8)| RtPriority {
            name: set.tasks[*at].name.clone(),
            priority: *priority,
        };
        tasks.iter().zip(priorities).map(pair).collect()
    };
    let one = |suggestion: &slicewise_rtcheck::Suggestion| RtSuggestion {
        core: suggestion.core,
        deadline_monotonic: named(&suggestion.tasks, &suggestion.deadline_monotonic.0),
        deadline_monotonic_meets: suggestion.deadline_monotonic.1,
        audsley: match &suggestion.audsley {
            Assignment::Found(priorities) => Some(named(&suggestion.tasks, priorities)),
            _ => None,
        },
        audsley_outcome: match suggestion.audsley {
            Assignment::Found(_) => "found",
            Assignment::Impossible => "impossible",
            Assignment::BandTooNarrow { .. } => "band too narrow",
            Assignment::Undecided => "not decided",
        },
    };
    analysis.suggestions.iter().map(one).collect()
}

fn timeline(set: &TaskSet, timeline: &Timeline) -> RtTimeline {
    let name = |at: usize| set.tasks[at].name.clone();
    let stretches = timeline.stretches.iter().take(STRETCHES_MAX);
    RtTimeline {
        name: name(timeline.task),
        core: timeline.core,
        response_ns: timeline.response_ns(),
        due_ns: i64::try_from(timeline.due_ns).unwrap_or(i64::MAX),
        stretches: stretches
            .map(|(task, stretch)| RtStretch {
                name: task.map(name),
                start_ns: stretch.start_ns,
                end_ns: stretch.end_ns,
            })
            .collect(),
        drawing: timeline::draw(set, timeline),
    }
}
