//! The report as text for a terminal.

use std::fmt::Write as _;

use crate::report::{
    Agreement, Clock, Divergence, QueuedTask, ShadowReport, TaskName, TickSource, ValueErrors,
};

/// The report as text.
pub fn render(report: &ShadowReport) -> String {
    let mut text = String::new();
    head(&mut text, report);
    table(&mut text, report);
    rest(&mut text, report);
    doubts(&mut text, report);
    for divergence in &report.divergences {
        text.push('\n');
        diverged(&mut text, report, divergence);
    }
    text
}

/// A duration with three significant digits.
fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let digits = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

fn signed(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "+" };
    format!("{sign}{}", duration(ns.unsigned_abs()))
}

/// Rounded down: 100 % means all.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let hundredths = u128::from(part) * 10_000 / u128::from(whole);
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn name(task: &TaskName) -> String {
    if task.pid == 0 { "idle".to_owned() } else { format!("{}-{}", task.comm, task.pid) }
}

fn head(text: &mut String, report: &ShadowReport) {
    let ShadowReport { kernel, kernel_release, cpus, hz, .. } = report;
    if let Some(recorded_on) = &report.recorded_on {
        let shown: String = recorded_on.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(text, "Recorded on {shown}");
    }
    let plural = if *cpus == 1 { "CPU" } else { "CPUs" };
    let span = duration(report.to_ns.saturating_sub(report.from_ns));
    let _ = writeln!(
        text,
        "Against Linux {kernel} (as of {kernel_release}), {cpus} {plural}, {hz} Hz; {span}, {} events, \
         the first {} not judged",
        report.events,
        duration(report.warm_up_ns),
    );
    if report.ticks == TickSource::Inferred {
        text.push_str("Ticks are inferred: the trace does not have them.\n");
    }
    if report.clock == Clock::Events {
        text.push_str(
            "Times are those of the events: the trace has no charges (sched_stat_runtime).\n",
        );
    }
    text.push('\n');
}

fn line(text: &mut String, label: &str, agreement: &Agreement) {
    let Agreement { picks, agreed, with_choice, with_choice_agreed } = *agreement;
    let _ = writeln!(
        text,
        "{label:24} {picks:>8} {agreed:>8} {:>9} {with_choice:>12} {with_choice_agreed:>8} {:>9}",
        percent(agreed, picks),
        percent(with_choice_agreed, with_choice)
    );
}

fn table(text: &mut String, report: &ShadowReport) {
    let _ = writeln!(
        text,
        "{:24} {:>8} {:>8} {:>9} {:>12} {:>8} {:>9}",
        "KERNEL'S PICKS", "ALL", "AGREE", "", "WITH CHOICE", "AGREE", ""
    );
    for (kind, agreement) in &report.by_kind {
        line(text, kind.text(), agreement);
    }
    line(text, "all", &report.total);
    text.push('\n');
}

fn rest(text: &mut String, report: &ShadowReport) {
    let _ = writeln!(
        text,
        "{:8}  preemptions due for a tick or longer that the kernel did not make",
        report.missed_preemptions
    );
    let _ = writeln!(
        text,
        "{:8}  preemptions by the kernel when the core had not asked for a new pick",
        report.unasked_preemptions
    );
    let differs = report.differs_for;
    if differs.times > 0 {
        let _ = writeln!(
            text,
            "{:8}  spans in which core and kernel differ: {} in all, median {}, longest {}",
            differs.times,
            duration(differs.total_ns),
            duration(differs.p50_ns),
            duration(differs.max_ns)
        );
    }
    if let Some(hrtick) = report.hrtick {
        let _ = writeln!(
            text,
            "{:8}  slice timers fired: {} as the core asked, {} at another time, {} unasked; {} did not fire",
            hrtick.fired, hrtick.as_asked, hrtick.off, hrtick.unasked, hrtick.missing
        );
    }
    let mut values = |label: &str, errors: Option<ValueErrors>| {
        if let Some(errors) = errors {
            let _ = writeln!(
                text,
                "{:8}  {label} compared: off by {} (median), {} (99 of 100), {} (most)",
                errors.compared,
                duration(errors.p50_ns),
                duration(errors.p99_ns),
                duration(errors.max_ns)
            );
        }
    };
    values("differences of virtual runtimes", report.values.vruntime);
    values("distances to the virtual deadline", report.values.deadline);
    let excluded = report.excluded;
    let reasons = [
        (excluded.warm_up, "in the warm-up"),
        (excluded.first_seen, "first sight of a task or CPU"),
        (excluded.other_class, "of a class the core does not have"),
        (excluded.unannounced, "of a task whose wakeup is missing"),
        (excluded.inconsistent, "after a missing switch"),
    ];
    for (count, reason) in reasons {
        if count > 0 {
            let _ = writeln!(text, "{count:8}  picks not judged: {reason}");
        }
    }
}

fn doubts(text: &mut String, report: &ShadowReport) {
    let mut doubt = |count: u64, what: &str| {
        if count > 0 {
            let _ = writeln!(text, "{count:8}  {what}");
        }
    };
    doubt(report.lost_events, "events lost by the recording");
    doubt(report.lost_places, "places where events are missing");
    doubt(report.unmarked_gaps, "places where charges do not fit the time: events are missing");
    doubt(
        report.stale_tasks,
        "tasks forgotten: by the events they waited for a CPU that went idle",
    );
    doubt(report.malformed, "records that make no sense");
    doubt(report.unknown_formats, "records of events without a format");
    doubt(report.backwards, "events earlier than the one before");
    for (name, count) in &report.unexpected_layouts {
        doubt(*count, &format!("{name} events with unexpected fields"));
    }
    if report.truncated {
        text.push_str("          the trace is cut off\n");
    }
}

fn diverged(text: &mut String, report: &ShadowReport, divergence: &Divergence) {
    let at = divergence.at_ns;
    let into = divergence.at_ns.saturating_sub(report.from_ns);
    let kind = divergence.kind.map_or("preemption not made", |kind| kind.text());
    let _ = writeln!(
        text,
        "{}.{:09} (after {}), CPU {}, {kind} of {}: the kernel {} {}, the core {} ({})",
        at / 1_000_000_000,
        at % 1_000_000_000,
        duration(into),
        divergence.cpu,
        name(&divergence.prev),
        if divergence.kernel == divergence.prev { "kept" } else { "chose" },
        name(&divergence.kernel),
        name(&divergence.core),
        divergence.rule
    );
    let _ = writeln!(
        text,
        "    {:22} {:14} {:>6} {:>8} {:>11} {:>11} {:>11}",
        "TASK", "POLICY", "WEIGHT", "SLICE", "VRUNTIME", "DEADLINE", "LAG"
    );
    for queued in &divergence.queue {
        row(text, divergence, queued);
    }
}

fn row(text: &mut String, divergence: &Divergence, queued: &QueuedTask) {
    let mark = match (queued.task == divergence.kernel, queued.task == divergence.core) {
        (true, true) => "=> ",
        (true, false) => "K> ",
        (false, true) => "C> ",
        (false, false) => "   ",
    };
    let show = |value: Option<i64>| value.map_or("-".to_owned(), signed);
    let mut notes = Vec::new();
    if queued.current {
        notes.push("had the CPU");
    }
    if queued.protected {
        notes.push("protected");
    }
    if queued.delayed {
        notes.push("asleep, delayed");
    }
    if queued.eligible == Some(false) {
        notes.push("not eligible");
    }
    let _ = writeln!(
        text,
        " {mark}{:22} {:14} {:>6} {:>8} {:>11} {:>11} {:>11}  {}",
        name(&queued.task),
        if queued.weight.is_some() {
            format!("nice {}", queued.nice)
        } else {
            queued.policy.clone()
        },
        queued.weight.map_or("-".to_owned(), |weight| weight.to_string()),
        queued.slice_ns.map_or("-".to_owned(), duration),
        show(queued.vruntime_ns),
        show(queued.deadline_ns),
        show(queued.lag_ns),
        notes.join(", ")
    );
}
