//! `slicewise rt check`.

use std::io::IsTerminal;
use std::path::Path;

use slicewise_machine::{
    Costs, Dist, Machine, MachineConfig, Mode, Op, Origin, Preemption, Program, TaskSpec,
    TimerMode, TimerSpec, Workload,
};
use slicewise_report::{Metrics, RtReport, RunInfo, render_rt};
use slicewise_rtcheck::{Analysis, KernelRules, Policy, Task, TaskSet, check as analyse, show_ns};
use slicewise_rtcheck::{most_critical, worst_case};
use slicewise_sched::deadline::PeriodLimits;
use slicewise_sched::{Attr, CpuId, CpuSet, DlParams, Policy as Scheduled, Profile, RtPriority};
use slicewise_workload::{
    Format, LoadFileError, LoadedRt, Rejected, load_rt_file, load_rt_in, parse_duration_ns,
    parse_priorities, read_text,
};

use crate::args::{OutputFormat, RtCheckArgs};
use crate::failure::{Failure, printable, render};
use crate::output::{print, print_json, stdout_style};
use crate::prepare::KERNEL_DEFAULT;

/// Checks a task set. True if every deadline is proven to be met.
pub(crate) fn check(args: &RtCheckArgs) -> Result<bool, Failure> {
    let (name, mut loaded) = read(args)?;
    let rules = override_settings(args, &mut loaded)?;
    let set = &loaded.set;
    let analysis =
        analyse(set, &rules).map_err(|fault| Failure::plain(format!("{name}: {fault}")))?;
    let drawn = match &args.timeline {
        None => most_critical(set, &analysis),
        Some(task) => Some(named(set, task)?),
    };
    let timeline = drawn.and_then(|at| worst_case(set, &analysis, at));
    let run = match args.simulate {
        true => Some(simulate_if_valid(set, &analysis, &rules)?),
        false => None,
    };
    let observed = run.as_ref().map(|run| run.observed_ns.as_slice());
    let mut report = RtReport::new(set, &analysis, timeline.as_ref(), observed);
    report.remarks.extend(run.into_iter().flat_map(|run| run.remarks));
    report.remarks.extend(left_out(&loaded));
    match args.format {
        OutputFormat::Json => {
            let warnings: Vec<&str> = loaded.warnings.iter().map(|w| w.message.as_str()).collect();
            report.remarks.extend(warnings.into_iter().map(str::to_owned));
            print_json(&report)?;
        }
        OutputFormat::Table => {
            let warnings = render(&name, &loaded.sources, &loaded.warnings);
            let title = loaded.title.iter().map(|title| printable(title.trim()).replace('\n', " "));
            let title: String = title.map(|title| format!("{title}\n")).collect();
            print(&format!("{warnings}{title}{}", render_rt(&report, stdout_style())))?;
        }
    }
    Ok(report.schedulable)
}

fn read(args: &RtCheckArgs) -> Result<(String, LoadedRt), Failure> {
    if args.file.as_os_str() == "-" {
        let name = "<standard input>".to_owned();
        if std::io::stdin().is_terminal() {
            return Err(Failure::plain("standard input is a terminal: pipe a task table into it"));
        }
        let source = read_text(std::io::stdin().lock(), &name)
            .map_err(|error| Failure::plain(error.to_string()))?;
        return match load_rt_in(&source, Format::Auto, Path::new("")) {
            Ok(loaded) => Ok((name, loaded)),
            Err(Rejected { sources, diagnostics }) => {
                Err(Failure::Input { name, sources, diagnostics })
            }
        };
    }
    let name = args.file.display().to_string();
    match load_rt_file(&args.file) {
        Ok(loaded) => Ok((name, loaded)),
        Err(LoadFileError::Invalid { sources, diagnostics }) => {
            Err(Failure::Input { name, sources, diagnostics })
        }
        Err(error) => Err(Failure::plain(error.to_string())),
    }
}

/// Applies the command line on top of the file.
fn override_settings(args: &RtCheckArgs, loaded: &mut LoadedRt) -> Result<KernelRules, Failure> {
    let kernel = args.kernel.as_deref().or(loaded.kernel.as_deref()).unwrap_or(KERNEL_DEFAULT);
    // Point releases are names of their version here as elsewhere.
    let profile = Profile::named(kernel).map_or(kernel, |profile| profile.name);
    let rules = KernelRules::named(profile).ok_or_else(|| {
        let known = KernelRules::NAMES;
        Failure::with_help(
            format!("there is no profile for kernel `{kernel}`"),
            format!("the kernels are {}", known.join(", ")),
        )
    })?;
    let set = &mut loaded.set;
    if let Some(cpus) = args.cpus {
        if let Some(task) = set.tasks.iter().find(|task| task.core.is_some_and(|c| c >= cpus)) {
            return Err(Failure::with_help(
                format!("--cpus {cpus}: {} is kept to a CPU that does not exist", task.name),
                format!("cores are 0 to {}", cpus - 1),
            ));
        }
        set.cpus = cpus;
    }
    if let Some(text) = &args.priorities {
        set.band = parse_priorities(text)
            .map_err(|message| Failure::plain(format!("--priorities {text}: {message}")))?;
    }
    if let Some(text) = &args.context_switch {
        set.context_switch_ns = parse_duration_ns(text)
            .map_err(|message| Failure::plain(format!("--context-switch {text}: {message}")))?;
    }
    Ok(rules)
}

fn named(set: &TaskSet, task: &str) -> Result<usize, Failure> {
    let Some(at) = set.tasks.iter().position(|known| known.name == task) else {
        let known: Vec<&str> = set.tasks.iter().take(20).map(|task| task.name.as_str()).collect();
        return Err(Failure::with_help(
            format!("--timeline {task}: there is no such task in the analysis"),
            printable(&format!("the tasks are {}", known.join(", "))),
        ));
    };
    if set.cpus > 1 && set.tasks[at].core.is_none() {
        return Err(Failure::with_help(
            format!("--timeline {task}: it may use any CPU, where no single worst case is known"),
            "give it a `core`",
        ));
    }
    Ok(at)
}

fn left_out(loaded: &LoadedRt) -> Option<String> {
    const NAMED: usize = 8;
    let names = &loaded.ordinary;
    let more = names.len().saturating_sub(NAMED);
    let shown = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| {
        format!("Ordinary tasks are left out, they cannot delay real-time ones: {shown}{more}.")
    })
}

/// What a run has shown.
struct Run {
    /// The longest response of each task, ns.
    observed_ns: Vec<u64>,
    remarks: Vec<String>,
}

/// All tasks are released for the first time when each has begun its program, …
const BEGIN_NS: u64 = 1_000_000;
/// … no run is longer, …
const DURATION_MAX_NS: u64 = 60_000_000_000;
/// … or has more jobs.
const JOBS_MAX: u64 = 2_000_000;

fn simulate_if_valid(
    set: &TaskSet,
    analysis: &Analysis,
    rules: &KernelRules,
) -> Result<Run, Failure> {
    let reserved = set.tasks.iter().filter(|task| task.policy == Policy::Deadline);
    let faults = reserved.filter_map(|task| {
        let fault = reservation(task).check(PeriodLimits::default()).err()?;
        Some((&task.name, fault))
    });
    match faults.take(1).next() {
        None => simulate(set, analysis, rules),
        Some((name, fault)) => {
            let name = printable(name);
            let remark = format!("Not simulated: the kernel does not take {name}, {fault}.");
            Ok(Run { observed_ns: Vec::new(), remarks: vec![remark] })
        }
    }
}

/// Runs the tasks on the simulated machine, all released together. Nothing is refused there: what the
/// kernel would admit is said apart.
fn simulate(set: &TaskSet, analysis: &Analysis, rules: &KernelRules) -> Result<Run, Failure> {
    let release_ns = first_release_ns(set);
    let (duration_ns, whole) = run_length(set, release_ns);
    let workload = workload(set, analysis, release_ns);
    let mut profile = Profile::named(rules.name).ok_or_else(|| Failure::plain("unknown kernel"))?;
    profile.rt.runtime_us = None;
    let config = MachineConfig {
        profile,
        features: profile.features,
        base_slice_ns: None,
        cpus: set.cpus,
        hz: 250,
        smp: slicewise_sched::SmpConfig::default(),
        tick_phase_ns: 0,
        tick_skew_ns: 0,
        preemption: Preemption::Full,
        // Nothing but the tasks: what the machine costs would move their releases apart.
        costs: Costs::NONE,
        speed: slicewise_machine::SpeedModel::default(),
        nohz_full: slicewise_sched::CpuSet::Inline(0),
        seed: 1,
        duration_ns,
    };
    let mut machine = Machine::new(&config, &workload, Metrics::new())
        .map_err(|error| Failure::plain(error.to_string()))?;
    machine.run().map_err(|error| Failure::plain(error.to_string()))?;
    let info = RunInfo {
        kernel: profile.name.to_owned(),
        release: profile.release.to_owned(),
        seed: 1,
        trace_hash: String::new(),
        hz: config.hz,
        cpus: config.cpus,
        devices: Vec::new(),
        queues: Vec::new(),
        warnings: Vec::new(),
    };
    let report = machine.into_sink().report(info);
    let observed_ns: Vec<u64> = report.tasks.iter().map(|task| task.response_ns.max).collect();
    let remarks = run_remarks(set, analysis, &observed_ns, duration_ns, whole);
    Ok(Run { observed_ns, remarks })
}

/// … and no deadline task has a deadline left from its beginning: the next wakeup starts afresh.
fn first_release_ns(set: &TaskSet) -> u64 {
    let reserved = set.tasks.iter().filter(|task| task.policy == Policy::Deadline);
    let longest_ns = reserved.map(|task| task.period_ns.max(task.deadline_ns)).max();
    BEGIN_NS.saturating_add(longest_ns.unwrap_or(0))
}

/// What a deadline task reserves. Its period ends a nanosecond early: a real job is never released at
/// the very moment at which the deadline of the last one comes, with a nanosecond of its budget left.
fn reservation(task: &Task) -> DlParams {
    let period_ns = task.period_ns.saturating_sub(1);
    DlParams {
        runtime_ns: task.runtime_ns.unwrap_or(task.wcet_ns).min(period_ns),
        deadline_ns: task.deadline_ns.min(period_ns),
        period_ns,
        ..DlParams::default()
    }
}

/// A hyperperiod if that is not too long, and whether it is.
fn run_length(set: &TaskSet, release_ns: u64) -> (u64, bool) {
    let mut hyperperiod_ns = 1_u64;
    let mut jobs_in_second = 0.0_f64;
    for task in &set.tasks {
        let period_ns = task.period_ns;
        jobs_in_second += 1e9 / period_ns as f64;
        let (mut a, mut b) = (hyperperiod_ns, period_ns);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        hyperperiod_ns = (hyperperiod_ns / a).saturating_mul(period_ns);
    }
    let room_ns = (JOBS_MAX as f64 / jobs_in_second * 1e9).min(DURATION_MAX_NS as f64) as u64;
    // The last job of the hyperperiod has to end as well.
    let longest_ns = set.tasks.iter().map(|task| task.period_ns).max().unwrap_or(0);
    let whole_ns = hyperperiod_ns.saturating_add(longest_ns).saturating_add(release_ns);
    match whole_ns <= room_ns {
        true => (whole_ns, true),
        false => (room_ns.saturating_add(release_ns), false),
    }
}

fn workload(set: &TaskSet, analysis: &Analysis, release_ns: u64) -> Workload {
    let mut workload = Workload::default();
    for (index, task) in set.tasks.iter().enumerate() {
        let timer = index as u32;
        // A nanosecond less than it could take: who is done at the very moment at which somebody
        // more important is released has met that moment, on paper; a machine would preempt it.
        let work_ns = task.wcet_ns.saturating_sub(1).max(1);
        let wait = |period_ns| Op::Timer { timer, period_ns, mode: TimerMode::Absolute };
        let ops = vec![
            wait(release_ns),
            Op::LoopBegin { count: None, end: 4 },
            Op::Run { work: Dist::Constant(work_ns), mode: Mode::User },
            wait(task.period_ns),
            Op::LoopEnd { begin: 1 },
        ];
        let priority = analysis.tasks[index].priority.unwrap_or(1);
        let priority = RtPriority::new(i64::from(priority));
        let policy = match (task.policy, priority) {
            (Policy::Deadline, _) => Some(Scheduled::Deadline(reservation(task))),
            (Policy::Rr, Some(priority)) => Some(Scheduled::Rr(priority)),
            (Policy::Fifo, Some(priority)) => Some(Scheduled::Fifo(priority)),
            (_, None) => None,
        };
        workload.timers.push(TimerSpec { name: task.name.clone(), shared: false });
        workload.programs.push(Program { ops });
        workload.tasks.push(TaskSpec {
            name: task.name.clone(),
            program: index as u32,
            attr: Attr { policy: policy.unwrap_or_default(), ..Attr::default() },
            affinity: task.core.map_or(CpuSet::All, |core| CpuSet::one(CpuId(core))),
            start_ns: 0,
            group: None,
            template: false,
            rttime: None,
            memory: slicewise_machine::TaskMemory::default(),
            index: 0,
            origin: Origin::default(),
        });
    }
    workload
}

fn run_remarks(
    set: &TaskSet,
    analysis: &Analysis,
    observed_ns: &[u64],
    duration_ns: u64,
    whole: bool,
) -> Vec<String> {
    let length = if whole {
        "a whole hyperperiod".to_owned()
    } else {
        format!("the first {}", show_ns(duration_ns / 1_000_000 * 1_000_000))
    };
    let mut left_out = Vec::new();
    if set.tasks.iter().any(|task| task.blocking_ns > 0) {
        left_out.push("blocking");
    }
    if set.tasks.iter().any(|task| task.jitter_ns > 0) {
        left_out.push("jitter");
    }
    if set.context_switch_ns > 0 {
        left_out.push("context switches");
    }
    if !set.unknown.is_empty() {
        left_out.push("tasks of unknown demand");
    }
    let without = match left_out[..] {
        [] => String::new(),
        _ => format!(", without {}", left_out.join(", ")),
    };
    let mut remarks = vec![format!(
        "Observed: {length} on the simulated machine, all released together{without}."
    )];
    for ((task, verdict), observed_ns) in set.tasks.iter().zip(&analysis.tasks).zip(observed_ns) {
        if verdict.response_bound_ns.is_some_and(|bound_ns| *observed_ns > bound_ns) {
            remarks.push(format!(
                "{} took longer than its bound: this is a defect of slicewise, please report it.",
                task.name
            ));
        }
    }
    remarks
}
