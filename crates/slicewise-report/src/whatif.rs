//! A recorded load under other conditions: plain values, and as text.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Style;
use crate::text::{
    Cell, Column, Paint, Table, duration, duration_inline, percent, shown_name, signed_duration,
};

/// How many worse tasks are shown as text.
const WORSE_SHOWN: usize = 10;
/// A change is marked if it is more than this part, and more than 1 us.
const MARKED_CHANGE: f64 = 0.05;
const MARKED_NS: u64 = 1_000;

/// What a load did, and would have done.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct WhatifReport {
    /// Where the load is from.
    pub recording: WhatifRecording,
    /// What the replay takes it to be.
    pub rebuilt: WhatifRebuilt,
    /// How far a replay under the same conditions is from the recording.
    pub replay_error: WhatifError,
    /// What was changed; nothing if only the replay was asked about.
    pub changes: Vec<String>,
    /// Names of tasks (or tasks), those that waited most first.
    pub tasks: Vec<WhatifTask>,
    /// How many more there are.
    pub tasks_left_out: usize,
    /// When the last task was done, ns since the beginning: recorded.
    pub recorded_end_ns: u64,
    /// The same, replayed under the same conditions.
    pub before_end_ns: u64,
    /// The same, under the others; absent without changes.
    pub after_end_ns: Option<u64>,
    /// What the reader should know before trusting the figures.
    pub notes: Vec<String>,
}

/// Where a load is from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhatifRecording {
    /// The file.
    pub file: String,
    /// The kernel's release, if the trace says so.
    pub release: Option<String>,
    /// The kernel that is simulated for it.
    pub kernel: String,
    /// CPUs.
    pub cpus: u32,
    /// Ticks a second.
    pub hz: u32,
    /// How long the stretch is.
    pub length_ns: u64,
    /// The trace is longer: this is its beginning.
    pub is_cut: bool,
}

/// What a replay takes a load to be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhatifRebuilt {
    /// Tasks.
    pub tasks: usize,
    /// Steps of their programs.
    pub steps: usize,
    /// Wakeups of tasks by tasks.
    pub woken_by_tasks: u64,
    /// Wakeups from outside.
    pub woken_from_outside: u64,
    /// Of them, of tasks on periodic timers.
    pub periodic: u64,
    /// Of tasks that sleep for a time of their own choice.
    pub sleeps: u64,
    /// Of tasks that wait for devices.
    pub devices: u64,
    /// At times of their own.
    pub arrivals: u64,
    /// Tasks that ran again though the trace has no wakeup.
    pub unseen_wakeups: u64,
    /// Periodic timers that were recognised, by task.
    pub timers: Vec<WhatifTimer>,
    /// Tasks that are bound to a CPU, as far as the trace shows.
    pub bound: usize,
    /// How long an idle CPU took to run a woken task, in the middle of all.
    pub idle_exit_ns: Option<u64>,
}

/// A periodic timer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhatifTimer {
    /// Whose.
    pub task: String,
    /// Its period.
    pub period_ns: u64,
}

/// How far a replay under the same conditions is from the recording.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhatifError {
    /// Tasks with 100 delays or more after wakeups.
    pub tasks: usize,
    /// Those whose p50 and p99 are within 15 % of the recording or within a tick.
    pub tasks_close: usize,
    /// CPU time of all tasks.
    pub recorded_cpu_ns: u64,
    /// The same, replayed.
    pub replayed_cpu_ns: u64,
    /// All waiting of all tasks.
    pub recorded_waited_ns: u64,
    /// The same, replayed.
    pub replayed_waited_ns: u64,
    /// Those that are not close, the furthest off first.
    pub worse: Vec<WhatifWorse>,
}

/// A task whose delays the replay does not meet.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhatifWorse {
    /// Which.
    pub task: String,
    /// Its delays after wakeups.
    pub wakeups: u64,
    /// The same, replayed.
    pub replayed_wakeups: u64,
    /// Recorded.
    pub recorded_p50_ns: u64,
    /// Replayed.
    pub replayed_p50_ns: u64,
    /// Recorded.
    pub recorded_p99_ns: u64,
    /// Replayed.
    pub replayed_p99_ns: u64,
    /// Why, as far as it can be told.
    pub cause: String,
}

/// What tasks of a name (or a task) waited and ran.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhatifTask {
    /// The name.
    pub name: String,
    /// How many tasks have it.
    pub tasks: usize,
    /// Recorded.
    pub recorded: WhatifFigures,
    /// Replayed under the same conditions.
    pub before: WhatifFigures,
    /// Replayed under the others; absent without changes.
    pub after: Option<WhatifFigures>,
}

/// What a task waited and ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhatifFigures {
    /// Delays after wakeups.
    pub wakeups: u64,
    /// Half are shorter; absent without delays.
    pub p50_ns: Option<u64>,
    /// 99 of 100 are shorter; absent without delays.
    pub p99_ns: Option<u64>,
    /// The longest; absent without delays.
    pub max_ns: Option<u64>,
    /// How often it was taken off its CPU though it could go on.
    pub preemptions: u64,
    /// All waiting, that after preemptions included.
    pub waited_ns: u64,
    /// CPU time.
    pub cpu_ns: u64,
}

/// As text.
pub fn render_whatif(report: &WhatifReport, style: Style) -> String {
    let mut parts = vec![head(report), error(report, style), tasks(report, style)];
    if !report.notes.is_empty() {
        let notes = report.notes.iter().map(|note| format!("note: {note}\n"));
        parts.push(notes.collect());
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn head(report: &WhatifReport) -> String {
    let WhatifReport { recording, rebuilt, .. } = report;
    let release = match &recording.release {
        Some(release) => format!("recorded on {release}, simulated as {}", recording.kernel),
        None => format!("simulated as {}", recording.kernel),
    };
    let mut text = format!(
        "{}: {}{}, {release}, {}, {} Hz\n",
        recording.file,
        duration_inline(recording.length_ns),
        if recording.is_cut { " (the beginning of it)" } else { "" },
        plural(u64::from(recording.cpus), "CPU", "CPUs"),
        recording.hz,
    );
    let mut outside = Vec::new();
    for (count, what) in [
        (rebuilt.periodic, "by periodic timers"),
        (rebuilt.sleeps, "by sleeps of one length"),
        (rebuilt.devices, "by devices"),
        (rebuilt.arrivals, "at times of their own"),
    ] {
        if count > 0 {
            outside.push(format!("{count} {what}"));
        }
    }
    let _ = write!(
        text,
        "rebuilt: {}, {}; {} by tasks",
        plural(rebuilt.tasks as u64, "task", "tasks"),
        plural(rebuilt.steps as u64, "step", "steps"),
        plural(rebuilt.woken_by_tasks, "wakeup", "wakeups"),
    );
    if !outside.is_empty() {
        let _ = write!(text, ", {}", outside.join(", "));
    }
    text.push('\n');
    if !rebuilt.timers.is_empty() {
        let timer = |timer: &WhatifTimer| {
            format!("{} {}", shown_name(&timer.task), duration_inline(timer.period_ns))
        };
        let shown: Vec<String> = rebuilt.timers.iter().take(6).map(timer).collect();
        let more = match rebuilt.timers.len().saturating_sub(6) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(text, "timers: {}{more}", shown.join(", "));
    }
    text
}

fn error(report: &WhatifReport, style: Style) -> String {
    let error = &report.replay_error;
    let title = style.paint(Paint::Heading, "How far the replay is from the recording");
    let mut text = format!("{title} (same conditions)\n");
    if error.tasks > 0 {
        let _ = writeln!(
            text,
            "  {} of {} with 100 wakeups or more have p50 and p99 within 15 % or a tick ({})",
            error.tasks_close,
            plural(error.tasks as u64, "task", "tasks"),
            duration_inline(1_000_000_000 / u64::from(report.recording.hz.max(1))),
        );
    } else {
        text.push_str("  no task was woken 100 times: there is nothing to hold it to\n");
    }
    let part = |of: u64, all: u64| match all {
        0 => "nothing".to_owned(),
        _ => percent(of as f64 / all as f64),
    };
    let _ = writeln!(
        text,
        "  CPU time {} ({} recorded), all waiting {} recorded, {} replayed",
        part(error.replayed_cpu_ns, error.recorded_cpu_ns),
        duration_inline(error.recorded_cpu_ns),
        duration_inline(error.recorded_waited_ns),
        duration_inline(error.replayed_waited_ns),
    );
    if error.worse.is_empty() {
        return text;
    }
    let mut table = Table::new(vec![
        Column::left("  NOT CLOSE"),
        Column::right("WAKEUPS").expendable(2),
        Column::right("RECORDED").group("p50"),
        Column::right("REPLAYED").group("p50"),
        Column::right("RECORDED").group("p99"),
        Column::right("REPLAYED").group("p99"),
    ]);
    for worse in error.worse.iter().take(WORSE_SHOWN) {
        table.row(vec![
            format!("  {}", shown_name(&worse.task)).into(),
            worse.wakeups.to_string().into(),
            duration(worse.recorded_p50_ns).into(),
            duration(worse.replayed_p50_ns).into(),
            duration(worse.recorded_p99_ns).into(),
            duration(worse.replayed_p99_ns).into(),
        ]);
    }
    text.push_str(&table.render(style));
    for worse in error.worse.iter().take(WORSE_SHOWN) {
        let _ = writeln!(text, "  {}: {}", shown_name(&worse.task), worse.cause);
    }
    let more = error.worse.len().saturating_sub(WORSE_SHOWN);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

/// A figure, and its change if it is worth a look.
fn changed(before: Option<u64>, after: Option<u64>) -> [Cell; 2] {
    let shown = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
    let (Some(from), Some(to)) = (before, after) else {
        return [shown(before).into(), shown(after).into()];
    };
    let off = from.abs_diff(to);
    let marked = off > MARKED_NS && off as f64 > from as f64 * MARKED_CHANGE;
    let paint = match to < from {
        _ if !marked => return [duration(from).into(), duration(to).into()],
        true => Paint::Good,
        false => Paint::Bad,
    };
    [duration(from).into(), Cell::painted(duration(to), paint)]
}

fn tasks(report: &WhatifReport, style: Style) -> String {
    if report.tasks.is_empty() {
        return String::new();
    }
    let with_after = report.after_end_ns.is_some();
    let mut columns = vec![Column::left("TASK"), Column::right("TASKS").expendable(4)];
    let figures = ["p50", "p99", "max", "waited", "CPU"];
    let ranks = [0, 0, 3, 1, 2];
    let heads = if with_after { ["BEFORE", "AFTER"] } else { ["RECORDED", "REPLAYED"] };
    for (figure, rank) in figures.into_iter().zip(ranks) {
        for head in heads {
            columns.push(Column::right(head).group(figure).expendable(rank));
        }
    }
    let mut table = Table::new(columns);
    for task in &report.tasks {
        let (from, to) = match &task.after {
            Some(after) => (&task.before, after),
            None => (&task.recorded, &task.before),
        };
        let mut row: Vec<Cell> = vec![shown_name(&task.name).into(), task.tasks.to_string().into()];
        row.extend(changed(from.p50_ns, to.p50_ns));
        row.extend(changed(from.p99_ns, to.p99_ns));
        row.extend(changed(from.max_ns, to.max_ns));
        row.extend(changed(Some(from.waited_ns), Some(to.waited_ns)));
        row.extend([duration(from.cpu_ns).into(), duration(to.cpu_ns).into()]);
        table.row(row);
    }
    let title = match with_after {
        true => format!("What if {}", report.changes.join(", ")),
        false => "Delays after wakeups, and time".to_owned(),
    };
    let mut text = format!("{}\n{}", style.paint(Paint::Heading, &title), table.render(style));
    if report.tasks_left_out > 0 {
        let _ = writeln!(text, "and {} more that waited less", report.tasks_left_out);
    }
    if let Some(after) = report.after_end_ns {
        let by = i128::from(after) - i128::from(report.before_end_ns);
        let _ = writeln!(
            text,
            "all done after {} before, {} after ({})",
            duration_inline(report.before_end_ns),
            duration_inline(after),
            signed_duration(by).replace("  ", " "),
        );
    }
    text
}
