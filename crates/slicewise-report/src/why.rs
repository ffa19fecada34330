//! Why tasks waited: plain values, and as text.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Style;
use crate::text::{
    Cell, Column, Paint, Table, bar, duration, duration_inline, percent, shown_name,
};

const BAR_COLUMNS: usize = 12;
const LINE_COLUMNS: usize = 40;
/// Parts of a long wait that are shown as text.
const PARTS_SHOWN: usize = 6;

/// Why tasks waited.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct WhyReport {
    /// The file.
    pub file: String,
    /// What was asked for.
    pub asked: String,
    /// The tasks that are meant.
    pub tasks: Vec<WhyTask>,
    /// How long the trace (or the stretch) is.
    pub length_ns: u64,
    /// CPU time of the tasks.
    pub cpu_ns: u64,
    /// Their waits.
    pub waits: u64,
    /// All their waiting.
    pub waited_ns: u64,
    /// Half of the waits are shorter; absent without waits.
    pub p50_ns: Option<u64>,
    /// 99 of 100 are shorter.
    pub p99_ns: Option<u64>,
    /// The longest.
    pub max_ns: Option<u64>,
    /// What they waited for, the most first.
    pub causes: Vec<WhyCause>,
    /// The longest waits, the longest first.
    pub worst: Vec<WhyWait>,
    /// What comes out, in words.
    pub verdict: String,
    /// What to try, each with what a simulation says of it.
    pub next: Vec<WhyTrial>,
    /// How far the simulation is from the recording, in a sentence; absent if nothing was simulated.
    pub replay: Option<String>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// A task that is meant.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhyTask {
    /// Its name.
    pub name: String,
    /// Its number.
    pub tid: i32,
    /// Its process; absent if unknown.
    pub pid: Option<i32>,
}

/// What tasks waited for.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct WhyCause {
    /// `own_quota`, `same_group`, `other_group`, `real_time`, `deadline`, `kernel_thread`, `interrupt`,
    /// `idle_elsewhere`, `idle_exit`, `unknown`.
    pub cause: String,
    /// In words.
    pub text: String,
    /// How long.
    pub ns: u64,
    /// Its part of all waiting.
    pub share: f64,
    /// In how many waits.
    pub waits: u64,
    /// Who it was, the most first.
    pub who: Vec<WhyWho>,
}

/// Who had the CPU.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhyWho {
    /// The name.
    pub name: String,
    /// How long.
    pub ns: u64,
}

/// A long wait.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhyWait {
    /// Who waited.
    pub task: String,
    /// When, by the trace's clock.
    pub from_ns: u64,
    /// How long.
    pub ns: u64,
    /// `wakeup`, `fork`, `preempted`.
    pub begun: String,
    /// Where it got a CPU in the end.
    pub cpu: u32,
    /// What happened meanwhile, in order.
    pub parts: Vec<WhyPart>,
}

/// A part of a wait.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WhyPart {
    /// As in [`WhyCause`].
    pub cause: String,
    /// The letter that stands for it in the line.
    pub letter: char,
    /// Who had the CPU; absent if nobody did.
    pub who: Option<String>,
    /// Which CPU.
    pub cpu: u32,
    /// How long.
    pub ns: u64,
    /// So much of it while another CPU was idle.
    pub beside_idle_ns: u64,
}

/// Something to try.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct WhyTrial {
    /// What.
    pub what: String,
    /// What to give to `slicewise whatif` for it.
    pub whatif: String,
    /// What the kernel is to be told; empty if there is no one line for it.
    pub how: String,
    /// The p99 of the tasks' delays after wakeups in the simulation, without it.
    pub before_p99_ns: Option<u64>,
    /// And with it.
    pub after_p99_ns: Option<u64>,
    /// All their waiting in the simulation, without it.
    pub before_waited_ns: u64,
    /// And with it.
    pub after_waited_ns: u64,
    /// All waiting of all other tasks in the simulation, without it.
    pub others_before_ns: u64,
    /// And with it.
    pub others_after_ns: u64,
    /// Whether it helps: by a tenth or more, less waiting, or a shorter p99 with about as much waiting.
    pub helps: bool,
    /// Why it could not be tried.
    pub failed: Option<String>,
}

/// As text.
pub fn render_why(report: &WhyReport, style: Style) -> String {
    let mut parts = vec![head(report), format!("{}\n", report.verdict)];
    parts.push(causes(report, style));
    parts.push(worst(report, style));
    parts.push(next(report, style));
    if !report.notes.is_empty() {
        parts.push(report.notes.iter().map(|note| format!("note: {note}\n")).collect());
    }
    parts.retain(|part| !part.trim().is_empty());
    parts.join("\n")
}

fn head(report: &WhyReport) -> String {
    let who = match report.tasks.as_slice() {
        [task] => match task.pid {
            Some(pid) if pid != task.tid => {
                format!("{} (task {} of process {pid})", shown_name(&task.name), task.tid)
            }
            _ => format!("{} (task {})", shown_name(&task.name), task.tid),
        },
        tasks => format!("{}: {} tasks", shown_name(&report.asked), tasks.len()),
    };
    let figure = |ns: Option<u64>| ns.map_or("-".to_owned(), duration_inline);
    format!(
        "{who} in {} of {}: ran {}, waited {} in {} waits (p50 {}, p99 {}, max {})\n",
        duration_inline(report.length_ns),
        report.file,
        duration_inline(report.cpu_ns),
        duration_inline(report.waited_ns),
        report.waits,
        figure(report.p50_ns),
        figure(report.p99_ns),
        figure(report.max_ns),
    )
}

fn causes(report: &WhyReport, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("WAITED FOR"),
        Column::right("TIME"),
        Column::right("PART"),
        Column::left("").expendable(2).paint(Paint::Bar),
        Column::right("WAITS").expendable(3),
        Column::left("WHO").expendable(1),
    ]);
    for cause in &report.causes {
        let who: Vec<String> = cause
            .who
            .iter()
            .take(2)
            .map(|who| format!("{} {}", shown_name(&who.name), duration_inline(who.ns)))
            .collect();
        table.row(vec![
            cause.text.as_str().into(),
            duration(cause.ns).into(),
            percent(cause.share).into(),
            bar(cause.share, BAR_COLUMNS).into(),
            cause.waits.to_string().into(),
            who.join(", ").into(),
        ]);
    }
    if report.causes.is_empty() { String::new() } else { table.render(style) }
}

/// The parts of a wait as a line of letters, each as long as its part.
fn line(wait: &WhyWait) -> String {
    let mut text = String::new();
    let mut done_ns = 0_u64;
    for part in &wait.parts {
        done_ns += part.ns;
        let to = (u128::from(done_ns) * LINE_COLUMNS as u128).div_ceil(u128::from(wait.ns.max(1)));
        while (text.chars().count() as u128) < to.min(LINE_COLUMNS as u128) {
            text.push(part.letter);
        }
    }
    text
}

fn worst(report: &WhyReport, style: Style) -> String {
    if report.worst.is_empty() {
        return String::new();
    }
    let mut text = format!("{}\n", style.paint(Paint::Heading, "The longest waits"));
    let several = report.tasks.len() > 1;
    for wait in &report.worst {
        let seconds = wait.from_ns as f64 / 1e9;
        let who = if several { format!("{} ", shown_name(&wait.task)) } else { String::new() };
        let begun = match wait.begun.as_str() {
            "preempted" => "after it was taken off its CPU",
            "fork" => "after its fork",
            _ => "after a wakeup",
        };
        let _ = writeln!(
            text,
            "  {seconds:.6} {who}{} {begun}  {}",
            style.paint(Paint::Notable, &duration(wait.ns)),
            style.paint(Paint::Bar, &line(wait)),
        );
        for part in wait.parts.iter().take(PARTS_SHOWN) {
            let who = match &part.who {
                Some(who) => shown_name(who),
                None => "nobody".to_owned(),
            };
            let beside = match part.beside_idle_ns {
                0 => String::new(),
                ns => format!(", {} of it beside an idle CPU", duration_inline(ns)),
            };
            let _ = writeln!(
                text,
                "      {} {}  {who} on CPU {}{beside}",
                part.letter,
                duration(part.ns),
                part.cpu
            );
        }
        let more = wait.parts.len().saturating_sub(PARTS_SHOWN);
        if more > 0 {
            let _ = writeln!(text, "      and {more} more");
        }
    }
    let mut legend: Vec<(char, &str)> = Vec::new();
    for part in report.worst.iter().flat_map(|wait| &wait.parts) {
        if !legend.iter().any(|(letter, _)| *letter == part.letter) {
            let cause = report.causes.iter().find(|cause| cause.cause == part.cause);
            legend.push((part.letter, cause.map_or(part.cause.as_str(), |cause| &cause.text)));
        }
    }
    let legend: Vec<String> =
        legend.iter().map(|(letter, cause)| format!("{letter} {cause}")).collect();
    let _ = writeln!(text, "  {}", style.paint(Paint::Faint, &legend.join(", ")));
    text
}

fn next(report: &WhyReport, style: Style) -> String {
    let mut text = String::new();
    if report.next.is_empty() {
        return text;
    }
    let _ = writeln!(text, "{}", style.paint(Paint::Heading, "What to try, as simulated"));
    let mut table = Table::new(vec![
        Column::left("  TRY"),
        Column::right("BEFORE").group("p99"),
        Column::right("AFTER").group("p99"),
        Column::right("BEFORE").group("waited"),
        Column::right("AFTER").group("waited"),
        Column::right("OTHERS").group("waited").expendable(1),
        Column::left(""),
    ]);
    let shown = |ns: Option<u64>| ns.map_or("-".to_owned(), duration);
    for trial in &report.next {
        if let Some(failed) = &trial.failed {
            let failed = format!("not tried: {failed}");
            let mut row: Vec<Cell> = vec![format!("  {}", trial.what).into()];
            row.extend((0..5).map(|_| Cell::from("")));
            row.push(Cell::painted(failed, Paint::Faint));
            table.row(row);
            continue;
        }
        let others = match trial.others_before_ns {
            0 => "-".to_owned(),
            before => {
                let change = trial.others_after_ns as f64 / before as f64 - 1.0;
                format!("{:+.0} %", change * 100.0)
            }
        };
        let verdict = match trial.helps {
            true => Cell::painted("helps", Paint::Good),
            false => Cell::painted("does not help", Paint::Faint),
        };
        table.row(vec![
            format!("  {}", trial.what).into(),
            shown(trial.before_p99_ns).into(),
            shown(trial.after_p99_ns).into(),
            duration(trial.before_waited_ns).into(),
            duration(trial.after_waited_ns).into(),
            others.into(),
            verdict,
        ]);
    }
    text.push_str(&table.render(style));
    for trial in report.next.iter().filter(|trial| trial.helps) {
        if !trial.how.is_empty() {
            let _ = writeln!(text, "  {}: {}", trial.what, trial.how);
        }
        let _ = writeln!(text, "    slicewise whatif {} {}", report.file, trial.whatif);
    }
    if let Some(replay) = &report.replay {
        let _ = writeln!(text, "  {replay}");
    }
    text
}
