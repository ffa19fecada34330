//! The verdict for people.

use super::{RtCore, RtPriority, RtReport, RtSuggestion, RtTask};
use crate::Style;
use crate::table::policy;
use crate::text::{Cell, Column, Paint, Table, duration, duration_inline, percent, shown_name};

/// The report as text: the verdict, tasks, CPUs, the kernel, what to know, suggestions, the worst
/// case, and how to start the tasks.
pub fn render_rt(report: &RtReport, style: Style) -> String {
    let mut parts = vec![head(report, style), tasks(report, style), cores(report, style)];
    parts.push(kernel(report, style));
    parts.push(remarks(report, style));
    parts.push(suggestions(report));
    parts.extend(report.timeline.as_ref().map(|timeline| {
        let response = duration_inline(timeline.response_ns);
        let title = format!(
            "Worst case of {} on CPU {}: {response} from its release",
            shown_name(&timeline.name),
            timeline.core
        );
        format!("{}\n{}", style.paint(Paint::Heading, &title), timeline.drawing)
    }));
    parts.push(commands(report, style));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn head(report: &RtReport, style: Style) -> String {
    let (paint, verdict) = match (report.schedulable, report.decided) {
        (true, _) => (Paint::Good, "schedulable: every deadline is met"),
        (false, true) => (Paint::Bad, "not schedulable: deadlines can be missed"),
        (false, false) => (Paint::Notable, "not proven: no guarantee can be given"),
    };
    let chosen = match report.priorities_chosen {
        true => "\nThe file gives no priorities; these were chosen.",
        false => "",
    };
    format!("{}{chosen}\n", style.paint(paint, verdict))
}

fn tasks(report: &RtReport, style: Style) -> String {
    let observed = report.tasks.iter().any(|task| task.observed_ns.is_some());
    let mut columns = vec![
        Column::left("TASK"),
        Column::left("POLICY"),
        Column::right("CPU"),
        Column::right("WCET").expendable(2),
        Column::right("PERIOD").expendable(3),
        Column::right("DEADLINE"),
        Column::right("RESPONSE"),
    ];
    if observed {
        columns.push(Column::right("OBSERVED"));
    }
    columns.extend([Column::right("SLACK").expendable(1), Column::left("MEETS")]);
    columns.push(Column::left("").expendable(4).paint(Paint::Faint));
    let mut table = Table::new(columns);
    for task in &report.tasks {
        table.row(task_row(task, report.cpus, observed));
    }
    table.render(style)
}

fn optional(ns: Option<u64>) -> Cell {
    ns.map_or_else(|| Cell::painted("-", Paint::Faint), |ns| duration(ns).into())
}

fn task_row(task: &RtTask, cpus: u32, observed: bool) -> Vec<Cell> {
    let cpu = match task.core {
        Some(core) => core.to_string(),
        None if cpus == 1 => "0".to_owned(),
        None => "any".to_owned(),
    };
    let mut cells: Vec<Cell> = vec![
        shown_name(&task.name).into(),
        policy(task.policy, 0, task.priority).into(),
        cpu.into(),
        duration(task.wcet_ns).into(),
        duration(task.period_ns).into(),
        duration(task.deadline_ns).into(),
        optional(task.response_bound_ns),
    ];
    if observed {
        cells.push(optional(task.observed_ns));
    }
    cells.push(optional(task.slack_ns));
    cells.push(match task.meets {
        Some(true) => Cell::painted("yes", Paint::Good),
        Some(false) => Cell::painted("NO", Paint::Bad),
        None => Cell::painted("?", Paint::Notable),
    });
    cells.push(task.note.clone().unwrap_or_default().into());
    cells
}

fn test(applies: bool, passes: Option<bool>) -> &'static str {
    match (applies, passes) {
        (false, _) => "does not apply",
        (true, Some(true)) => "passed",
        (true, Some(false)) => "not passed",
        (true, None) => "not decided",
    }
}

fn cores(report: &RtReport, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::right("CPU"),
        Column::right("LOAD"),
        Column::right("LIU-LAYLAND"),
        Column::left("").expendable(2),
        Column::right("HYPERBOLIC"),
        Column::left("").expendable(2),
        Column::left("DEADLINE TASKS").expendable(1),
    ]);
    for core in &report.cores {
        table.row(vec![
            core.core.map_or_else(|| "any".to_owned(), |core| core.to_string()).into(),
            percent(core.utilisation).into(),
            format!("{:.3}", core.liu_layland).into(),
            test(core.bounds_apply, core.liu_layland_passes).into(),
            format!("{:.3}", core.hyperbolic).into(),
            test(core.bounds_apply, core.hyperbolic_passes).into(),
            deadline_tasks(core).into(),
        ]);
    }
    table.render(style)
}

fn deadline_tasks(core: &RtCore) -> String {
    let mut words = Vec::new();
    match (core.demand, core.demand_interval_ns, core.demand_ns) {
        (Some(_), Some(interval_ns), Some(demand_ns)) => words.push(format!(
            "demand of {} in {}",
            duration_inline(demand_ns),
            duration_inline(interval_ns)
        )),
        (Some(demand), ..) => words.push(format!("demand {demand}")),
        _ => {}
    }
    words.extend(core.gfb_passes.map(|passes| format!("GFB {}", test(true, Some(passes)))));
    let tardiness = core.tardiness_ns.map(|ns| format!("late by {} at most", duration_inline(ns)));
    words.extend(tardiness.filter(|_| core.gfb_passes != Some(true)));
    words.join(", ")
}

fn kernel(report: &RtReport, style: Style) -> String {
    let kernel = &report.kernel;
    let verdict = match (&kernel.first_refused, kernel.errno) {
        (Some(name), Some(errno)) => {
            style.paint(Paint::Bad, &format!("refuses {} with {errno}", shown_name(name)))
        }
        _ => style.paint(Paint::Good, "admits every task"),
    };
    format!("Linux {} {verdict}\n", kernel.profile)
}

fn remarks(report: &RtReport, style: Style) -> String {
    let lines = report.remarks.iter().map(|remark| {
        let remark: String = remark.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        wrapped(&format!("- {remark}"), style.width.clamp(40, 100))
    });
    lines.collect()
}

/// Lines of words, all but the first indented.
fn wrapped(text: &str, width: usize) -> String {
    let (mut out, mut columns) = (String::new(), 0);
    for word in text.split(' ') {
        let length = word.chars().count();
        if columns > 0 && columns + 1 + length > width {
            out.push_str("\n  ");
            columns = 2;
        } else if columns > 0 {
            out.push(' ');
            columns += 1;
        }
        out.push_str(word);
        columns += length;
    }
    out.push('\n');
    out
}

fn suggestions(report: &RtReport) -> String {
    report.suggestions.iter().map(|suggestion| suggested(report, suggestion)).collect()
}

fn suggested(report: &RtReport, suggestion: &RtSuggestion) -> String {
    let core = suggestion.core;
    let list = |priorities: &[RtPriority]| {
        let mut sorted: Vec<&RtPriority> = priorities.iter().collect();
        sorted.sort_by_key(|task| std::cmp::Reverse(task.priority));
        let words =
            sorted.iter().map(|task| format!("{} {}", shown_name(&task.name), task.priority));
        words.collect::<Vec<_>>().join(", ")
    };
    let meets = match suggestion.deadline_monotonic_meets {
        Some(true) => "meets all deadlines",
        Some(false) => "misses deadlines",
        None => "not decided",
    };
    let mut text = format!(
        "CPU {core}: deadline-monotonic priorities, {meets}: {}\n",
        list(&suggestion.deadline_monotonic)
    );
    let fine = report.schedulable || suggestion.deadline_monotonic_meets == Some(true);
    let line = match (&suggestion.audsley, suggestion.audsley_outcome) {
        (Some(_), _) if fine => return text,
        (Some(priorities), _) => {
            format!("CPU {core}: Audsley's priorities meet all deadlines: {}\n", list(priorities))
        }
        (None, "impossible") => {
            format!("CPU {core}: no order of priorities meets all deadlines (Audsley)\n")
        }
        (None, "band too narrow") => {
            format!("CPU {core}: only more priority levels than are allowed meet all deadlines\n")
        }
        (None, _) => format!("CPU {core}: whether other priorities would do was not decided\n"),
    };
    text.push_str(&line);
    text
}

/// More tasks than this make a list nobody reads; JSON has it.
const COMMANDS_MAX: usize = 40;

fn commands(report: &RtReport, style: Style) -> String {
    if report.tasks.is_empty() {
        return String::new();
    }
    let visible = |text: &str| -> String {
        text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    };
    let mut out = style.paint(Paint::Heading, "To start them");
    out.push('\n');
    for task in report.tasks.iter().take(COMMANDS_MAX) {
        out.push_str(&format!("  {}\n", visible(&task.chrt)));
    }
    out.push_str(&style.paint(Paint::Heading, "As systemd services"));
    out.push('\n');
    for task in report.tasks.iter().take(COMMANDS_MAX) {
        let name = shown_name(&task.name);
        out.push_str(&format!("  {name}: {}\n", visible(&task.systemd.join(" "))));
    }
    let more = report.tasks.len().saturating_sub(COMMANDS_MAX);
    if more > 0 {
        out.push_str(&format!("  and {more} more: --format json lists them\n"));
    }
    out
}
