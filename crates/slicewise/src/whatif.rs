//! `slicewise whatif`: a recorded load under other conditions.

use std::collections::BTreeMap;

use rayon::prelude::*;
use slicewise_analysis::{ByCause, Cause, TaskPattern};
use slicewise_replay::{Outside, ReplayError, Replayed, Script, Step, TaskDelays};
use slicewise_report::{
    WhatifError, WhatifFigures, WhatifRebuilt, WhatifRecording, WhatifReport, WhatifTask,
    WhatifTimer, WhatifWorse, render_whatif,
};
use slicewise_sched::CpuSet;

use crate::args::{OutputFormat, WhatifArgs};
use crate::failure::{Failure, printable};
use crate::jobs::with_jobs;
use crate::output::{print, print_json, stdout_style};
use crate::prepare::Prepared;
use crate::replay::{Conditions, Recorded};

/// `slicewise whatif`.
pub(crate) fn whatif(args: &WhatifArgs) -> Result<(), Failure> {
    let patterns = patterns(&args.tasks)?;
    let recorded = Recorded::read(&args.recorded, |_, _, _| {})?;
    let others = Conditions {
        kernel: args.kernel.as_deref(),
        cpus: args.cpus.as_deref(),
        topology: args.topology.as_deref(),
        sets: args.sets.iter().map(String::as_str).collect(),
    };
    let changes = others.words();
    let same = recorded.prepared(&Conditions::default())?;
    let mut runs = vec![same];
    if !changes.is_empty() {
        runs.push(recorded.prepared(&others)?);
    }
    let replays: Vec<Result<Replayed, Failure>> = with_jobs(&args.recorded.jobs, || {
        let run = |(at, prepared): (usize, &Prepared)| recorded.run(prepared, at == 0);
        Ok(runs.par_iter().enumerate().with_max_len(1).map(run).collect())
    })?;
    let mut replays = replays.into_iter();
    let before = replays.next().transpose()?;
    let Some(before) = before else { return Ok(()) };
    let after = replays.next().transpose()?;
    let error = recorded.error(&before, runs[0].config.hz);
    let mut report = WhatifReport {
        recording: recording(&recorded, &runs[0]),
        rebuilt: rebuilt(&recorded),
        replay_error: whatif_error(&recorded, &before, &error),
        changes,
        recorded_end_ns: recorded.rebuilt.length_ns(),
        before_end_ns: before.end_ns,
        after_end_ns: after.as_ref().map(|after| after.end_ns),
        notes: notes(&recorded, &runs),
        ..WhatifReport::default()
    };
    let wanted = |script: &Script| {
        let Script { tid, tgid, comm, .. } = script;
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.is(*tid, *tgid, comm))
    };
    let mut rows = rows(&recorded, &before, after.as_ref(), args.by_task, wanted);
    if rows.is_empty() {
        let message = format!("--task {}: no task of the trace is meant", args.tasks.join(","));
        return Err(Failure::with_help(message, "`slicewise latency` lists the tasks of a trace"));
    }
    report.tasks_left_out = rows.len().saturating_sub(args.top);
    rows.truncate(args.top);
    report.tasks = rows;
    match args.format {
        OutputFormat::Json => print_json(&report),
        OutputFormat::Table => {
            let name = printable(&report.recording.file);
            report.recording.file = name;
            print(&render_whatif(&report, stdout_style()))
        }
    }
}

/// Which tasks are meant.
pub(crate) fn patterns(words: &[String]) -> Result<Vec<TaskPattern>, Failure> {
    let one = |word: &String| {
        TaskPattern::parse(word).map_err(|what| Failure::plain(format!("--task {word}: {what}")))
    };
    words.iter().map(one).collect()
}

fn recording(recorded: &Recorded, same: &Prepared) -> WhatifRecording {
    WhatifRecording {
        file: recorded.name.clone(),
        release: recorded.release.clone(),
        kernel: same.config.profile.name.to_owned(),
        cpus: same.config.cpus,
        hz: same.config.hz,
        length_ns: recorded.rebuilt.length_ns(),
        is_cut: recorded.rebuilt.is_cut,
    }
}

fn rebuilt(recorded: &Recorded) -> WhatifRebuilt {
    let scripts = &recorded.rebuilt.scripts;
    let mut told = WhatifRebuilt {
        tasks: scripts.len(),
        steps: scripts.iter().map(|script| script.steps.len()).sum(),
        woken_by_tasks: recorded.rebuilt.woken_by_tasks,
        woken_from_outside: recorded.rebuilt.woken_from_outside,
        unseen_wakeups: recorded.rebuilt.unseen_wakeups,
        bound: scripts.iter().filter(|script| script.affinity != CpuSet::All).count(),
        idle_exit_ns: recorded.rebuilt.idle_exit_ns,
        ..WhatifRebuilt::default()
    };
    for script in scripts {
        let outside =
            script.steps.iter().filter(|step| matches!(step, Step::Outside { .. })).count() as u64;
        match script.outside {
            Outside::None => {}
            Outside::Periodic { period_ns } => {
                told.periodic += outside;
                told.timers.push(WhatifTimer { task: script.label(), period_ns });
            }
            Outside::Sleep { .. } => told.sleeps += outside,
            Outside::Device => told.devices += outside,
            Outside::Arrival => told.arrivals += outside,
        }
    }
    told
}

/// What most of the waiting was due to, in words.
fn most(causes: &ByCause) -> String {
    let total = causes.total_ns();
    let Some((cause, ns)) = causes.most() else { return "nothing".to_owned() };
    let what = match cause {
        Cause::Quota => "its quota",
        Cause::SameGroup | Cause::OtherGroup => "other tasks",
        Cause::RealTime => "real-time tasks",
        Cause::Deadline => "deadline tasks",
        Cause::KernelThread => "kernel threads",
        Cause::Interrupt => "interrupts",
        Cause::IdleExit => "an idle CPU to come",
        Cause::IdleElsewhere => "a busy CPU beside an idle one",
        Cause::Unknown => "nobody known",
    };
    format!("{what} {:.0} %", ns as f64 * 100.0 / total.max(1) as f64)
}

/// Why the delays of a task are not met.
fn cause_of(wakeups: u64, recorded: &Recorded, replayed: &Replayed, script: usize) -> String {
    let slept = replayed.delays[script].wakeups_ns.len() as u64;
    let waited = format!(
        "waited for {} (recorded), {} (replayed)",
        most(&recorded.causes[script]),
        most(&replayed.causes[script])
    );
    if slept * 5 < wakeups * 4 {
        // Who gets on faster is woken before it sleeps.
        return format!(
            "sleeps {slept} times instead of {wakeups}, as others come to wake it before it does; {waited}"
        );
    }
    waited
}

fn whatif_error(recorded: &Recorded, replayed: &Replayed, error: &ReplayError) -> WhatifError {
    let (tasks_close, tasks) = error.held();
    let worse = error.tasks.iter().filter(|task| !task.holds).map(|task| {
        let script = task.script as usize;
        WhatifWorse {
            task: recorded.rebuilt.scripts[script].label(),
            wakeups: task.wakeups,
            recorded_p50_ns: task.p50_ns.0,
            replayed_p50_ns: task.p50_ns.1,
            recorded_p99_ns: task.p99_ns.0,
            replayed_p99_ns: task.p99_ns.1,
            replayed_wakeups: replayed.delays[script].wakeups_ns.len() as u64,
            cause: cause_of(task.wakeups, recorded, replayed, script),
        }
    });
    WhatifError {
        tasks,
        tasks_close,
        recorded_cpu_ns: error.cpu_ns.0,
        replayed_cpu_ns: error.cpu_ns.1,
        recorded_waited_ns: error.waited_ns.0,
        replayed_waited_ns: error.waited_ns.1,
        worse: worse.collect(),
    }
}

fn figures(delays: &TaskDelays) -> WhatifFigures {
    WhatifFigures {
        wakeups: delays.wakeups_ns.len() as u64,
        p50_ns: delays.permille(500),
        p99_ns: delays.permille(990),
        max_ns: delays.wakeups_ns.last().copied(),
        preemptions: delays.preempted,
        waited_ns: delays.waited_ns(),
        cpu_ns: delays.cpu_ns,
    }
}

fn rows(
    recorded: &Recorded,
    before: &Replayed,
    after: Option<&Replayed>,
    by_task: bool,
    wanted: impl Fn(&Script) -> bool,
) -> Vec<WhatifTask> {
    let mut together: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, script) in recorded.rebuilt.scripts.iter().enumerate() {
        if wanted(script) {
            let name = if by_task { script.label() } else { script.comm.clone() };
            together.entry(name).or_default().push(at);
        }
    }
    let sum = |delays: &[TaskDelays], members: &[usize]| {
        let mut all = TaskDelays::default();
        for member in members {
            let TaskDelays { wakeups_ns, preempted, preempted_ns, cpu_ns } = &delays[*member];
            all.wakeups_ns.extend(wakeups_ns);
            all.preempted += preempted;
            all.preempted_ns += preempted_ns;
            all.cpu_ns += cpu_ns;
        }
        all.wakeups_ns.sort_unstable();
        figures(&all)
    };
    let row = |(name, members): (String, Vec<usize>)| WhatifTask {
        name,
        tasks: members.len(),
        recorded: sum(&recorded.delays, &members),
        before: sum(&before.delays, &members),
        after: after.map(|after| sum(&after.delays, &members)),
    };
    let mut rows: Vec<WhatifTask> = together.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.recorded.waited_ns.max(row.before.waited_ns)));
    rows
}

/// What may not be as the reader thinks.
fn notes(recorded: &Recorded, runs: &[Prepared]) -> Vec<String> {
    let mut notes = Vec::new();
    let rebuilt = &recorded.rebuilt;
    if rebuilt.is_cut {
        notes.push(format!(
            "the replay has room for {} steps: choose another stretch with --time",
            slicewise_replay::STEPS_MAX
        ));
    }
    let wakeups = rebuilt.woken_by_tasks + rebuilt.woken_from_outside;
    if rebuilt.unseen_wakeups * 20 > wakeups {
        notes.push(format!(
            "{} of {wakeups} wakeups are not in the trace: record sched_waking, too",
            rebuilt.unseen_wakeups
        ));
    }
    if recorded.release.is_none() {
        notes.push(
            "the trace does not name its kernel: say it with --recorded kernel=6.12".to_owned(),
        );
    }
    for run in runs {
        notes.extend(run.warnings.iter().cloned());
    }
    notes
}
