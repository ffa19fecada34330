//! What each command does.

use rayon::prelude::*;
use slicewise_machine::Op;
use slicewise_report::{
    CompareReport, ExplainReport, RunReport, render_compare, render_explain, render_run,
};
use slicewise_sched::{CpuId, Profile, TaskId};
use slicewise_trace::RtAppLogs;
use slicewise_workload::{Loaded, parse_duration_ns};

use crate::args::{CompareArgs, ExplainArgs, KernelsArgs, OneRunArgs, OutputFormat, RunArgs};
use crate::failure::{Failure, printable};
use crate::jobs::with_jobs;
use crate::output::{print, print_json, stdout_style};
use crate::prepare::{Prepared, override_settings, prepare, read};
use crate::simulate::{self, Names};
use crate::trace_file::TraceFile;

/// Reads and prepares what a single run takes.
fn prepare_one(args: &OneRunArgs) -> Result<Prepared, Failure> {
    let (name, mut loaded) = read(&args.simulation.file)?;
    let sets: Vec<&str> = args.sets.iter().map(String::as_str).collect();
    let (kernel, seed) = (args.kernel.as_deref(), args.seed.as_deref());
    override_settings(&mut loaded, &args.simulation, kernel, seed, &sets)?;
    prepare(name, loaded)
}

/// `slicewise run`.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let mut prepared = prepare_one(&args.one)?;
    prepared.cgroup_files = args.cgroup_files;
    let report = run_with_files(args, &prepared)?;
    match args.one.format {
        OutputFormat::Json => print_json(&report),
        OutputFormat::Table => {
            let mut text = String::new();
            for line in [&prepared.loaded.title, &prepared.loaded.question].into_iter().flatten() {
                text.push_str(printable(line.trim()).replace('\n', " ").as_str());
                text.push('\n');
            }
            text.push_str(&render_run(&report, stdout_style()));
            print(&text)
        }
    }
}

/// Runs, writing the trace and the logs asked for.
fn run_with_files(args: &RunArgs, prepared: &Prepared) -> Result<RunReport, Failure> {
    let devices = prepared.loaded.workload.devices.iter().map(|device| device.name.clone());
    let trace = match &args.trace {
        Some(path) => Some(TraceFile::create(path, &args.one.simulation.file, devices.collect())?),
        None => None,
    };
    let logs = match &args.logs {
        Some(dir) => {
            check_there_are_logs(prepared)?;
            let basename = prepared.loaded.settings.log_basename.as_deref().unwrap_or("rt-app");
            let logs = RtAppLogs::create(dir, basename)
                .map_err(|error| Failure::Output(error, dir.display().to_string()))?;
            let loop_ns = prepared.loaded.settings.rtapp_loop_ns.unwrap_or(1);
            Some(logs.loop_ns(loop_ns).thread_names(thread_names(&prepared.loaded)))
        }
        None => None,
    };
    if trace.is_none() && logs.is_none() {
        // The common case without anything to write is also the fast one.
        return simulate::report(prepared, (), true).map(|(report, ())| report);
    }
    let (report, (trace, logs)) = simulate::report(prepared, (trace, logs), true)?;
    if let Some(trace) = trace {
        trace.finish_writing()?;
    }
    if let (Some(logs), Some(dir)) = (logs, &args.logs) {
        logs.finish_writing().map_err(|error| Failure::Output(error, dir.display().to_string()))?;
    }
    Ok(report)
}

/// Only rt-app files say what a line of a log is.
fn check_there_are_logs(prepared: &Prepared) -> Result<(), Failure> {
    let mut ops = prepared.loaded.workload.programs.iter().flat_map(|program| &program.ops);
    if ops.any(|op| matches!(op, Op::LogBegin)) {
        return Ok(());
    }
    let message = format!("--logs: {} has no threads that write rt-app logs", prepared.name);
    let help = "rt-app files (.json) have; for a scenario, --trace and --format json tell more";
    Err(Failure::with_help(message, help))
}

/// The names of the thread objects in the file, by the number of each of their threads.
fn thread_names(loaded: &Loaded) -> Vec<(u32, String)> {
    let tasks = &loaded.workload.tasks;
    let of_group = |group: &slicewise_workload::Group| {
        let name = group.name.clone();
        let members = tasks.iter().skip(group.first as usize).take(group.count as usize);
        members.map(move |task| (task.index, name.clone())).collect::<Vec<_>>()
    };
    loaded.groups.iter().flat_map(of_group).collect()
}

/// One way to run the workload.
struct Variant<'a> {
    kernel: Option<&'a str>,
    seed: Option<&'a str>,
    /// Settings of one `--set`, none for the file as it is.
    sets: Vec<&'a str>,
}

impl Variant<'_> {
    /// What sets it apart from the others.
    fn label(&self, args: &CompareArgs) -> String {
        let mut parts = Vec::new();
        if args.kernel.len() > 1 || (args.seed.len() < 2 && args.sets.is_empty()) {
            parts.extend(self.kernel.map(str::to_owned));
        }
        if args.seed.len() > 1 {
            parts.extend(self.seed.map(|seed| format!("seed {seed}")));
        }
        if !args.sets.is_empty() {
            let sets = self.sets.join(" ");
            parts.push(if sets.is_empty() { "as it is".to_owned() } else { sets });
        }
        if parts.is_empty() { "as it is".to_owned() } else { parts.join(" ") }
    }
}

fn variants(args: &CompareArgs) -> Vec<Variant<'_>> {
    let choices = |given: &'_ [String]| -> Vec<Option<usize>> {
        if given.is_empty() { vec![None] } else { (0..given.len()).map(Some).collect() }
    };
    let mut sets: Vec<Vec<&str>> = vec![Vec::new()];
    for set in &args.sets {
        sets.push(set.split(';').map(str::trim).filter(|part| !part.is_empty()).collect());
    }
    let mut variants = Vec::new();
    for kernel in choices(&args.kernel) {
        for seed in choices(&args.seed) {
            for sets in &sets {
                variants.push(Variant {
                    kernel: kernel.map(|at| args.kernel[at].as_str()),
                    seed: seed.map(|at| args.seed[at].as_str()),
                    sets: sets.clone(),
                });
            }
        }
    }
    variants
}

/// `slicewise compare`.
pub(crate) fn compare(args: &CompareArgs) -> Result<(), Failure> {
    let (name, loaded) = read(&args.simulation.file)?;
    let variants = variants(args);
    if variants.len() < 2 {
        return Err(Failure::with_help(
            "there is nothing to compare",
            "name two or more: --kernel 6.1,6.12 or --seed 1,2, or a variant: --set task/NAME.nice=5",
        ));
    }
    let prepared = |variant: &Variant<'_>| -> Result<Prepared, Failure> {
        let mut loaded: Loaded = loaded.clone();
        let sets = &variant.sets;
        override_settings(&mut loaded, &args.simulation, variant.kernel, variant.seed, sets)?;
        prepare(name.clone(), loaded)
    };
    let prepared: Vec<Prepared> = variants.iter().map(prepared).collect::<Result<_, _>>()?;
    // Runs know nothing of each other; the order of the results is that of the variants.
    let mut reports: Vec<RunReport> = with_jobs(&args.jobs, || {
        prepared
            .par_iter()
            .enumerate()
            .with_max_len(1)
            .map(|(at, prepared)| {
                simulate::report(prepared, (), at == 0).map(|(report, ())| report)
            })
            .collect()
    })?;
    if !args.tasks.is_empty() {
        keep_tasks(&mut reports, &args.tasks, &loaded)?;
    }
    let labels: Vec<String> = variants.iter().map(|variant| variant.label(args)).collect();
    match args.format {
        OutputFormat::Json => print_json(&serde_json::json!({
            "comparison": CompareReport::new(&labels, &reports),
            "runs": reports,
        })),
        OutputFormat::Table => print(&render_compare(&labels, &reports, stdout_style())),
    }
}

/// Leaves the rows of these tasks, or of the instances of what a file has under these names.
fn keep_tasks(
    reports: &mut [RunReport],
    wanted: &[String],
    loaded: &Loaded,
) -> Result<(), Failure> {
    let tasks = &loaded.workload.tasks;
    let mut kept = std::collections::BTreeSet::new();
    for name in wanted {
        let groups = loaded.groups.iter().filter(|group| group.name == *name);
        let of_group = |group: &slicewise_workload::Group| {
            tasks.iter().skip(group.first as usize).take(group.count as usize)
        };
        let mut found: Vec<&str> = groups.flat_map(of_group).map(|task| &*task.name).collect();
        found.extend(tasks.iter().filter(|task| task.name == *name).map(|task| &*task.name));
        if found.is_empty() {
            let known: Vec<&str> =
                loaded.groups.iter().take(20).map(|group| &*group.name).collect();
            return Err(Failure::with_help(
                printable(&format!("--task {name}: there is no such task")),
                printable(&format!("the tasks are {}", known.join(", "))),
            ));
        }
        kept.extend(found);
    }
    for report in reports {
        report.tasks.retain(|task| kept.contains(&*task.name));
    }
    Ok(())
}

/// `slicewise explain`.
pub(crate) fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let at_ns = parse_duration_ns(&args.at)
        .map_err(|message| Failure::plain(format!("--at {}: {message}", args.at)))?;
    let prepared = prepare_one(&args.one)?;
    if args.cpu >= prepared.config.cpus {
        return Err(Failure::with_help(
            format!("--cpu {}: there is no such CPU", args.cpu),
            format!("the machine has CPUs 0 to {}", prepared.config.cpus - 1),
        ));
    }
    if at_ns > prepared.config.duration_ns {
        return Err(Failure::with_help(
            format!("--at {}: the run ends before", args.at),
            "make it longer with --duration",
        ));
    }
    let mut machine = simulate::machine(&prepared, Names::default())?;
    let cpu = CpuId(args.cpu);
    machine
        .scheduler_mut()
        .record_decisions(cpu, true)
        .map_err(|error| Failure::plain(error.to_string()))?;
    simulate::run_until(&mut machine, &prepared, at_ns, true)?;
    let Some(decision) = machine.scheduler().last_decision(cpu).cloned() else {
        return Err(Failure::plain(format!(
            "CPU {cpu} has made no decision up to {}: it was idle from the start",
            args.at
        )));
    };
    let names = machine.into_sink();
    let name_of = |task: TaskId| names.of(task.slot());
    match args.one.format {
        OutputFormat::Json => print_json(&ExplainReport::new(&decision, &name_of, at_ns)),
        OutputFormat::Table => print(&render_explain(&decision, &name_of, at_ns, stdout_style())),
    }
}

/// `slicewise kernels`.
pub(crate) fn kernels(args: &KernelsArgs) -> Result<(), Failure> {
    let left_for_fair = |profile: &Profile| match (profile.rt.fair_server, profile.rt.runtime_us) {
        (Some(server), _) => {
            let (runtime, period) = (server.runtime_ns / 1_000_000, server.period_ns / 1_000_000);
            format!("{runtime} of {period} ms (server)")
        }
        (None, Some(runtime_us)) if profile.rt.throttling => {
            let period_us = profile.rt.period_us;
            format!("{} of {} ms (throttling)", (period_us - runtime_us) / 1000, period_us / 1000)
        }
        _ => "nothing".to_owned(),
    };
    let algorithm = |profile: &Profile| if profile.is_eevdf() { "EEVDF" } else { "CFS" };
    match args.format {
        OutputFormat::Json => {
            let kernels: Vec<serde_json::Value> = Profile::ALL
                .iter()
                .map(|profile| {
                    serde_json::json!({
                        "kernel": profile.name,
                        "release": profile.release,
                        "fair_class": algorithm(profile),
                        "features": profile.features.to_string(),
                        "sched_rt_runtime_us": profile.rt.runtime_us,
                        "sched_rt_period_us": profile.rt.period_us,
                        "rt_throttling": profile.rt.throttling,
                        "fair_server_runtime_ns": profile.rt.fair_server.map(|it| it.runtime_ns),
                        "fair_server_period_ns": profile.rt.fair_server.map(|it| it.period_ns),
                        "experimental": profile.experimental,
                    })
                })
                .collect();
            print_json(&kernels)
        }
        OutputFormat::Table => {
            let mut text = format!(
                "{:<8} {:<10} {:<6} {:<28} {}\n",
                "kernel", "modelled", "fair", "beside FIFO, fair tasks get", "features"
            );
            for profile in Profile::ALL {
                text.push_str(&format!(
                    "{:<8} {:<10} {:<6} {:<28} {}\n",
                    profile.name,
                    profile.release,
                    algorithm(profile),
                    left_for_fair(profile),
                    profile.features
                ));
            }
            let experimental = Profile::ALL.iter().filter(|profile| profile.experimental);
            for profile in experimental {
                text.push_str(&format!(
                    "\n{} is experimental: written from the text alone, not compared with a kernel.\n",
                    profile.name
                ));
            }
            print(&text)
        }
    }
}
