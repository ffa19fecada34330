//! What a trace comes to: who ran, who waited, for whom, and why tasks left their CPUs.

use serde::Serialize;

use crate::text::{
    Cell, Column, Paint, Table, bar, duration, duration_inline, percent, shown_name, shown_path,
    sparkline,
};
use crate::{Style, SwitchReport};

const CPU_BAR_COLUMNS: usize = 10;
/// Who is in the way has so many columns at most.
const RUNNERS_MAX: usize = 8;

/// A trace, or a stretch of it. All times are ns of the trace's clock.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct SummaryReport {
    /// The stretch that was looked at.
    pub begin_ns: u64,
    /// Its end.
    pub end_ns: u64,
    /// Events in it.
    pub events: u64,
    /// Switches among them.
    pub switches: u64,
    /// Events that are missing, as far as the trace says how many.
    pub lost_events: u64,
    /// What a row is: `task`, `process`, `comm` or `cgroup`.
    pub by: &'static str,
    /// The width of a bin of `utilisation`.
    pub bin_ns: u64,
    /// The CPUs.
    pub cpus: Vec<SummaryCpu>,
    /// Whoever had most CPU time and waited most, those with most of both first.
    pub rows: Vec<SummaryRow>,
    /// All that are not among the rows; null if there are none.
    pub others: Option<SummaryRow>,
    /// All waits for a CPU.
    pub sched_delay_ns: SummaryDelay,
    /// Who made whom wait.
    pub matrix: SummaryMatrix,
    /// What to know before trusting the figures.
    pub notes: Vec<String>,
}

/// A CPU.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct SummaryCpu {
    /// Its number.
    pub cpu: u32,
    /// For how long it is known who ran there, the idle task included.
    pub known_ns: u64,
    /// For how long it was somebody else.
    pub busy_ns: u64,
    /// `busy_ns / known_ns`.
    pub share: f64,
    /// Switches there.
    pub switches: u64,
    /// How busy it was, by bin: 1.0 is all the time.
    pub utilisation: Vec<f64>,
}

/// A task, or several.
#[derive(Clone, PartialEq, Serialize, Debug, Default)]
pub struct SummaryRow {
    /// The task's name, or the name that the tasks have in common, or the path of their group.
    pub name: String,
    /// Of a task: its number.
    pub tid: Option<i32>,
    /// Of a task or process: the process.
    pub pid: Option<i32>,
    /// How many tasks.
    pub tasks: u64,
    /// Time on CPUs.
    pub run_ns: u64,
    /// `run_ns` by the length of the stretch: 1.0 is one whole CPU, as in `top`.
    pub share: f64,
    /// The same by bin.
    pub utilisation: Vec<f64>,
    /// Wakeups and first wakeups.
    pub wakeups: u64,
    /// Went to sleep or ended; could have gone on.
    pub switches: SwitchReport,
    /// Why it left its CPU.
    pub left: SummaryLeft,
    /// Changes of CPU.
    pub migrations: u64,
    /// Waits for a CPU that ended in the stretch.
    pub sched_delay_ns: SummaryDelay,
}

/// How often tasks left their CPU, by why.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug, Default)]
pub struct SummaryLeft {
    /// Went to sleep, or was stopped.
    pub slept: u64,
    /// Ended.
    pub exited: u64,
    /// Taken off for somebody who was woken or made while it ran.
    pub preempted_by_wakeup: u64,
    /// Taken off for somebody who had been waiting there since before it came.
    pub slice_over: u64,
    /// Gave way.
    pub yielded: u64,
    /// Could have gone on, but its CPU went idle: a quota, or it was on its way to another CPU.
    pub to_idle: u64,
    /// Taken off for somebody else of whom the trace does not tell when he came.
    pub otherwise: u64,
}

/// Waits. All times are ns.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug, Default)]
pub struct SummaryDelay {
    /// How many.
    pub count: u64,
    /// All together.
    pub sum: u64,
    /// The mean, rounded down.
    pub mean: u64,
    /// Half are no longer.
    pub p50: u64,
    /// 95 of 100 are no longer.
    pub p95: u64,
    /// 99 of 100 are no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// For how long each waiter was runnable on a CPU's queue while each runner had that CPU.
#[derive(Clone, PartialEq, Eq, Serialize, Debug, Default)]
pub struct SummaryMatrix {
    /// Who waited: names of rows, those who waited longest first, and `others`.
    pub waiters: Vec<String>,
    /// Who ran meanwhile: names of rows, those who made others wait longest first, and `others`, `<idle>` (the CPU
    /// had not come to it yet) and `unknown`, if there is any time to say of them.
    pub runners: Vec<String>,
    /// By waiter and runner.
    pub wait_ns: Vec<Vec<u64>>,
    /// How often the runner took the CPU from the waiter, who could have gone on.
    pub preemptions: Vec<Vec<u64>>,
}

/// The report as text.
pub fn render_summary(report: &SummaryReport, style: Style) -> String {
    let mut parts = vec![head(report), rows(report, style), left(report, style)];
    parts.push(cpus(report, style));
    parts.push(matrix(report, style));
    let notes: String = report.notes.iter().map(|note| format!("note: {note}\n")).collect();
    parts.push(notes);
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn head(report: &SummaryReport) -> String {
    let cpus = match report.cpus.len() {
        1 => "1 CPU".to_owned(),
        cpus => format!("{cpus} CPUs"),
    };
    let lost = match report.lost_events {
        0 => String::new(),
        lost => format!(", {lost} lost"),
    };
    format!(
        "{} on {cpus}, {} events{lost}, {} switches\n",
        duration_inline(report.end_ns.saturating_sub(report.begin_ns)),
        report.events,
        report.switches
    )
}

/// Rows, and others below.
fn all_rows(report: &SummaryReport) -> impl Iterator<Item = &SummaryRow> {
    report.rows.iter().chain(&report.others)
}

fn shown(report: &SummaryReport, name: &str) -> String {
    if report.by == "cgroup" { shown_path(name) } else { shown_name(name) }
}

fn heading(report: &SummaryReport) -> &'static str {
    match report.by {
        "process" => "PROCESS",
        "comm" => "NAME",
        "cgroup" => "GROUP",
        _ => "TASK",
    }
}

fn rows(report: &SummaryReport, style: Style) -> String {
    let mut columns = vec![Column::left(heading(report))];
    match report.by {
        "task" => columns.push(Column::right("TID")),
        "process" => {
            columns.push(Column::right("PID"));
            columns.push(Column::right("TASKS").expendable(6));
        }
        _ => columns.push(Column::right("TASKS").expendable(6)),
    }
    columns.extend([
        Column::right("CPU"),
        Column::right("TIME").expendable(4),
        Column::left("OVER TIME").expendable(5).paint(Paint::Bar),
        Column::right("VOL").group("switches").expendable(3),
        Column::right("INVOL").group("switches").expendable(3),
        Column::right("MIGR").expendable(3),
        Column::right("WAITS").group("sched delay").expendable(2),
        Column::right("P50").group("sched delay").expendable(2),
        Column::right("P95").group("sched delay").expendable(1),
        Column::right("P99").group("sched delay").expendable(1),
        Column::right("MAX").group("sched delay"),
    ]);
    let mut table = Table::new(columns);
    for row in all_rows(report) {
        let mut cells: Vec<Cell> = vec![shown(report, &row.name).into()];
        let number = |id: Option<i32>| id.map_or(String::new(), |id| id.to_string());
        match report.by {
            "task" => cells.push(number(row.tid).into()),
            "process" => {
                cells.push(number(row.pid).into());
                cells.push(row.tasks.to_string().into());
            }
            _ => cells.push(row.tasks.to_string().into()),
        }
        let top = row.utilisation.iter().copied().fold(1.0, f64::max);
        let delay = &row.sched_delay_ns;
        let time = |ns: u64| match delay.count {
            0 => Cell::painted("-", Paint::Faint),
            _ => duration(ns).into(),
        };
        cells.extend([
            percent(row.share).into(),
            duration(row.run_ns).into(),
            sparkline(&row.utilisation, top).trim_end().into(),
            row.switches.voluntary.to_string().into(),
            row.switches.involuntary.to_string().into(),
            row.migrations.to_string().into(),
            delay.count.to_string().into(),
            time(delay.p50),
            time(delay.p95),
            time(delay.p99),
            time(delay.max),
        ]);
        table.row(cells);
    }
    table.render(style)
}

fn left(report: &SummaryReport, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left(heading(report)),
        Column::right("SLEPT"),
        Column::right("EXITED"),
        Column::right("YIELDED"),
        Column::right("FOR WOKEN").group("taken off"),
        Column::right("SLICE OVER").group("taken off"),
        Column::right("TO IDLE").group("taken off"),
        Column::right("OTHERWISE").group("taken off"),
    ]);
    let mut any = false;
    for row in all_rows(report) {
        if row.left == SummaryLeft::default() {
            continue;
        }
        any = true;
        let SummaryLeft {
            slept,
            exited,
            preempted_by_wakeup,
            slice_over,
            yielded,
            to_idle,
            otherwise,
        } = row.left;
        let counts = [slept, exited, yielded, preempted_by_wakeup, slice_over, to_idle, otherwise];
        let count = |count: u64| match count {
            0 => Cell::painted("-", Paint::Faint),
            _ => count.to_string().into(),
        };
        let mut cells: Vec<Cell> = vec![shown(report, &row.name).into()];
        cells.extend(counts.map(count));
        table.row(cells);
    }
    if !any {
        return String::new();
    }
    let title = style.paint(Paint::Heading, "Why tasks left their CPUs");
    format!("{title}\n{}", table.render(style))
}

fn cpus(report: &SummaryReport, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::right("CPU"),
        Column::right("BUSY"),
        Column::left("").expendable(2).paint(Paint::Bar),
        Column::left("OVER TIME").expendable(1).paint(Paint::Bar),
        Column::right("SWITCHES"),
    ]);
    for cpu in &report.cpus {
        table.row(vec![
            cpu.cpu.to_string().into(),
            percent(cpu.share).into(),
            format!("{:<CPU_BAR_COLUMNS$}", bar(cpu.share, CPU_BAR_COLUMNS)).into(),
            sparkline(&cpu.utilisation, 1.0).into(),
            cpu.switches.to_string().into(),
        ]);
    }
    if report.cpus.is_empty() {
        return String::new();
    }
    let bin = duration_inline(report.bin_ns);
    let text = table.render(style);
    format!("{text}{}\n", style.paint(Paint::Faint, &format!("Over time: {bin} a column.")))
}

fn matrix(report: &SummaryReport, style: Style) -> String {
    let matrix = &report.matrix;
    if matrix.waiters.is_empty() {
        return String::new();
    }
    // As many columns as fit, and at least one beside the others.
    let mut tables = (2..=RUNNERS_MAX).rev().map(|columns| matrix_table(report, columns));
    let fits = |table: &Table| table.width() <= style.width;
    let widest = tables.clone().find(fits);
    let table = widest.or_else(|| tables.next_back()).unwrap_or_default();
    let title = style.paint(Paint::Heading, "Who made whom wait");
    format!("{title}\n{}", table.render(style))
}

fn matrix_table(report: &SummaryReport, columns: usize) -> Table {
    let matrix = &report.matrix;
    let runners = folded(matrix, columns);
    let mut columns = vec![Column::left("WAITING"), Column::right("IN ALL")];
    let runner = |(name, _): &(String, Vec<usize>)| {
        Column::right(shown(report, name)).group("ran meanwhile")
    };
    columns.extend(runners.iter().map(runner));
    let mut table = Table::new(columns);
    for (name, waits_ns) in matrix.waiters.iter().zip(&matrix.wait_ns) {
        let total: u64 = waits_ns.iter().sum();
        let mut cells: Vec<Cell> = vec![shown(report, name).into(), duration(total).into()];
        cells.extend(runners.iter().map(|(_, places)| {
            match places.iter().map(|place| waits_ns[*place]).sum::<u64>() {
                0 => Cell::painted("-", Paint::Faint),
                // The half that matters.
                ns if ns * 2 >= total => Cell::painted(duration(ns), Paint::Notable),
                ns => duration(ns).into(),
            }
        }));
        table.row(cells);
    }
    table
}

/// So many columns at most: of runners that have a name the first, the rest together with the others.
fn folded(matrix: &SummaryMatrix, columns: usize) -> Vec<(String, Vec<usize>)> {
    let mut all: Vec<(String, Vec<usize>)> =
        matrix.runners.iter().enumerate().map(|(at, name)| (name.clone(), vec![at])).collect();
    let is_special = |name: &str| matches!(name, "others" | "<idle>" | "unknown");
    while all.len() > columns {
        let Some(last) = all.iter().rposition(|(name, _)| !is_special(name)) else { break };
        let (_, folded) = all.remove(last);
        match all.iter_mut().find(|(name, _)| name == "others") {
            Some((_, others)) => others.extend(folded),
            None => all.insert(last, ("others".to_owned(), folded)),
        }
        if !all.iter().any(|(name, _)| !is_special(name)) {
            break;
        }
    }
    all
}
