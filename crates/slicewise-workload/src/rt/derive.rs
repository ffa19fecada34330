//! The worst case of tasks that are described by what they do.

use std::ops::Range;

use slicewise_machine::{Dist, Op, Program, TaskSpec};
use slicewise_rtcheck::{Policy, TASKS_MAX, Task, TaskSet, UnknownTask};
use slicewise_sched::{CPUS_MAX, CpuId, CpuSet, DlParams, Policy as Scheduled};

use super::LoadedRt;
use crate::Loaded;
use crate::diagnostic::Sink;

/// A job of a task, and how often there is one.
struct Worst {
    wcet_ns: u64,
    period_ns: u64,
}

pub(super) fn derive(loaded: &Loaded, sink: &mut Sink) -> Option<LoadedRt> {
    let workload = &loaded.workload;
    let cpus = loaded.settings.cpus.unwrap_or_else(|| cpus_named(loaded));
    let (mut tasks, mut unknown, mut origins) = (Vec::new(), Vec::new(), Vec::new());
    let mut ordinary = Vec::new();
    for group in &loaded.groups {
        let first = group.first as usize;
        let Some(spec) = workload.tasks.get(first) else { continue };
        let reserved = match spec.attr.policy {
            Scheduled::Deadline(params) => Some(params),
            _ => None,
        };
        let (policy, priority) = match spec.attr.policy {
            Scheduled::Deadline(_) => (Policy::Deadline, None),
            Scheduled::Fifo(priority) => (Policy::Fifo, Some(priority.get())),
            Scheduled::Rr(priority) => (Policy::Rr, Some(priority.get())),
            _ => {
                ordinary.push(group.name.clone());
                continue;
            }
        };
        if tasks.len() + unknown.len() + group.count as usize > TASKS_MAX {
            let span = spec.origin.start..spec.origin.end;
            let message = "the file has more real-time tasks than can be analysed";
            sink.error_help(span, message, format!("{TASKS_MAX} at most"));
            return None;
        }
        let worst = worst_case(&workload.programs[spec.program as usize], loaded);
        let worst = if group.template { Err(FORKED.to_owned()) } else { worst };
        let core = core_of(spec, cpus);
        if let Some(reserved) = &reserved {
            check_reservation(reserved, &worst, spec, sink);
        }
        let worst = match (reserved, core) {
            (_, Err(reason)) => Err(reason),
            (Some(r), Ok(core)) => Ok((r.runtime_ns, r.period(), r.deadline_ns, core)),
            (None, Ok(core)) => worst.map(|w| (w.wcet_ns, w.period_ns, w.period_ns, core)),
        };
        for spec in workload.tasks.iter().skip(first).take(group.count as usize) {
            let name = spec.name.clone();
            match &worst {
                Ok((wcet_ns, period_ns, deadline_ns, core)) => {
                    origins.push(spec.origin.start..spec.origin.end);
                    tasks.push(Task {
                        policy,
                        priority,
                        deadline_ns: *deadline_ns,
                        core: *core,
                        ..Task::new(name, *wcet_ns, *period_ns)
                    });
                }
                Err(reason) => {
                    let core = core_of(spec, cpus).ok().flatten();
                    let reason = reason.clone();
                    unknown.push(UnknownTask { name, policy, priority, core, reason });
                }
            }
        }
    }
    if tasks.is_empty() && unknown.is_empty() {
        let help = "add `policy = \"fifo\"` and a `priority` to one, or write a task table";
        sink.error_help(0..0, "the file has no real-time task", help);
        return None;
    }
    let context_switch_ns = loaded.settings.costs.context_switch_ns.unwrap_or(0);
    Some(LoadedRt {
        set: TaskSet { unknown, cpus, context_switch_ns, ..TaskSet::new(tasks) },
        origins,
        kernel: loaded.settings.kernel.clone(),
        title: loaded.title.clone(),
        ordinary,
        warnings: Vec::new(),
        sources: crate::Sources::default(),
    })
}

const FORKED: &str = "it is forked again and again";

/// A reservation that does not suit what its thread does.
fn check_reservation(
    reserved: &DlParams,
    worst: &Result<Worst, String>,
    spec: &TaskSpec,
    sink: &mut Sink,
) {
    let Ok(worst) = worst else { return };
    if worst.wcet_ns > reserved.runtime_ns || worst.period_ns < reserved.period() {
        let message = format!(
            "`{}` runs {} every {}, but reserves {} every {}",
            crate::diagnostic::shorten(&spec.name),
            crate::units::show_ns(worst.wcet_ns),
            crate::units::show_ns(worst.period_ns),
            crate::units::show_ns(reserved.runtime_ns),
            crate::units::show_ns(reserved.period()),
        );
        let help = "the kernel stops it in the middle: the analysis is of the reservation";
        sink.warn(spec.origin.start..spec.origin.end, message, help);
    }
}

fn highest(set: &CpuSet) -> Option<u32> {
    match set {
        CpuSet::All => None,
        set => (0..CPUS_MAX).rev().find(|cpu| set.contains(CpuId(*cpu))),
    }
}

/// One CPU, or as many as it takes for every CPU that is named to exist.
fn cpus_named(loaded: &Loaded) -> u32 {
    let named = loaded.workload.tasks.iter().filter_map(|task| highest(&task.affinity)).max();
    named.map_or(1, |cpu| cpu + 1)
}

/// The CPU a task is kept to, `None` for all of them.
fn core_of(spec: &TaskSpec, cpus: u32) -> Result<Option<u32>, String> {
    if spec.affinity == CpuSet::All {
        return Ok(None);
    }
    let count = spec.affinity.count_within(cpus);
    match spec.affinity.first_within(cpus) {
        Some(CpuId(core)) if count == 1 => Ok(Some(core)),
        Some(_) if count == cpus => Ok(None),
        Some(_) => Err("it may use some CPUs but not all; one or all can be analysed".to_owned()),
        None => Err("its CPUs do not exist".to_owned()),
    }
}

/// The longest time a draw can give.
fn most_ns(dist: &Dist) -> Option<u64> {
    match dist {
        Dist::Constant(ns) | Dist::Uniform(_, ns) | Dist::Pareto { max_ns: ns, .. } => Some(*ns),
        Dist::Empirical(bins) => bins.iter().map(|bin| bin.value_ns).max(),
        Dist::Exponential { .. } | Dist::LogNormal { .. } => None,
    }
}

/// A loop that runs for bounded times and then waits for its own timer, once a round.
fn worst_case(program: &Program, loaded: &Loaded) -> Result<Worst, String> {
    let ops = &program.ops;
    let mut timers = ops.iter().enumerate().filter(|(_, op)| matches!(op, Op::Timer { .. }));
    let at = match (timers.next(), timers.next()) {
        (Some((at, _)), None) => at,
        (None, _) => return Err(without_timer(ops).to_owned()),
        (Some(_), Some(_)) => return Err("it waits for a timer at several places".to_owned()),
    };
    let Op::Timer { timer, period_ns, .. } = ops[at] else {
        return Err("it waits for no timer".to_owned());
    };
    if loaded.workload.timers.get(timer as usize).is_some_and(|timer| timer.shared) {
        return Err("its timer is shared with other tasks".to_owned());
    }
    if period_ns == 0 {
        return Err("its timer has no period".to_owned());
    }
    let body = innermost_loop(ops, at).ok_or("it waits for its timer only once")?;
    for (place, op) in ops.iter().enumerate() {
        if !body.contains(&place) {
            plain_step(op)?;
        }
    }
    let wcet_ns = work_ns(ops, body)?;
    if wcet_ns == 0 {
        return Err("it does nothing between its timer's expiries".to_owned());
    }
    Ok(Worst { wcet_ns, period_ns })
}

fn without_timer(ops: &[Op]) -> &'static str {
    let has = |wanted: fn(&Op) -> bool| ops.iter().any(wanted);
    if has(|op| matches!(op, Op::RunForever)) {
        "it runs for ever"
    } else if has(|op| matches!(op, Op::Sleep { .. })) {
        "it sleeps from when it is done instead of waiting for a timer, so it has no period"
    } else {
        "it waits for no timer, so it has no period"
    }
}

/// The steps between the beginning and the end of the loop around a step.
fn innermost_loop(ops: &[Op], at: usize) -> Option<Range<usize>> {
    let around = |place: &usize| match ops[*place] {
        Op::LoopBegin { end, .. } => end as usize > at,
        _ => false,
    };
    let begin = (0..at).rev().find(around)?;
    match ops[begin] {
        Op::LoopBegin { end, .. } => Some(begin + 1..(end as usize).min(ops.len())),
        _ => None,
    }
}

/// Outside its loop a task does nothing that takes time.
fn plain_step(op: &Op) -> Result<(), String> {
    match op {
        Op::LoopBegin { .. }
        | Op::LoopEnd { .. }
        | Op::LogBegin
        | Op::LogEnd { .. }
        | Op::Yield
        | Op::Exit => Ok(()),
        Op::SetAttr(_) | Op::SetAffinity(_) => {
            Err("it changes its policy or its CPUs on the way".to_owned())
        }
        _ => Err("it does more than one loop of work and timer".to_owned()),
    }
}

/// What one round of these steps takes at most.
fn work_ns(ops: &[Op], steps: Range<usize>) -> Result<u64, String> {
    // The rounds of the loops around, innermost last.
    let mut rounds: Vec<(usize, u64)> = vec![(steps.end, 1)];
    let mut work_ns = 0_u64;
    for place in steps {
        while rounds.len() > 1 && rounds.last().is_some_and(|(end, _)| place >= *end) {
            rounds.pop();
        }
        let times = rounds.last().map_or(1, |(_, times)| *times);
        match &ops[place] {
            Op::Run { work, .. } => {
                let most_ns = most_ns(work).ok_or("its work has no upper limit")?;
                work_ns = work_ns.saturating_add(most_ns.saturating_mul(times));
            }
            Op::Timer { .. } | Op::LoopEnd { .. } | Op::LogBegin | Op::LogEnd { .. } => {}
            Op::LoopBegin { count, end } => {
                let count = count.ok_or("it has a loop without an end in its loop")?;
                rounds.push((*end as usize, times.saturating_mul(count)));
            }
            Op::RunUntil { .. } => {
                return Err("it uses the CPU until a time, however long it has waited".to_owned());
            }
            Op::Sleep { .. } => return Err("it sleeps in the middle of a job".to_owned()),
            Op::Lock(_) | Op::Unlock(_) => {
                return Err("it takes mutexes, and how long it can be blocked is not derived; \
                            write a task table with `blocking`"
                    .to_owned());
            }
            Op::SetAttr(_) | Op::SetAffinity(_) => {
                return Err("it changes its policy or its CPUs on the way".to_owned());
            }
            _ => return Err("it waits for other tasks or devices".to_owned()),
        }
    }
    if work_ns > slicewise_rtcheck::DURATION_MAX_NS {
        return Err("a job takes longer than a year".to_owned());
    }
    Ok(work_ns)
}
