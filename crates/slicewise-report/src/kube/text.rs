//! The answers, for people.

use std::fmt::Write as _;

use super::{KubeContainer, KubePart, KubeReport, KubeSuggestion, KubeTimes, KubeTrial};
use crate::Style;
use crate::text::{
    Cell, Column, Paint, Table, bar, duration, duration_inline, percent, shown_name,
};

/// More rows than this nobody reads.
const ROWS_MAX: usize = 40;
const BAR_COLUMNS: usize = 12;

/// The answers as text: verdicts, then a table for each thing that was asked. Copies of a pod are
/// one row. Where suggestions were asked for, they are instead of the tables.
pub fn render_kube(report: &KubeReport, style: Style) -> String {
    let shown = shown(report);
    let mut parts = vec![head(report), verdicts(report, &shown, style)];
    if report.suggestions.is_empty() {
        parts.extend([
            containers(&shown, style),
            throttling(report, &shown, style),
            requests(&shown, style),
            jobs(&shown, style),
            devices(&shown, style),
            waits(report, &shown, style),
        ]);
    }
    parts.extend(report.suggestions.iter().map(|it| suggestion(it, style)));
    parts.push(notes(report, &shown, style));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// The rows to show: those with findings first if not all have room.
fn shown(report: &KubeReport) -> Vec<&KubeContainer> {
    let mut rows: Vec<&KubeContainer> = report.workloads.iter().collect();
    if rows.len() > ROWS_MAX {
        let found =
            |row: &&KubeContainer| report.findings.iter().any(|it| it.container == row.label);
        rows.sort_by_key(|row| !found(row));
        rows.truncate(ROWS_MAX);
    }
    rows
}

fn head(report: &KubeReport) -> String {
    let node = &report.node;
    let assumed = if node.cpus_assumed { " (assumed: --cpus says how many)" } else { "" };
    let count = if node.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", node.cpus) };
    let requested = match node.requested_cpus > 0.0 {
        true => format!(
            ", {:.2} of {:.2} allocatable CPUs requested",
            node.requested_cpus, node.allocatable_cpus
        ),
        false => String::new(),
    };
    format!(
        "Node: {count}{assumed}, {} used{requested}\n\
         Linux {} (as of {}), cgroup {}, {} simulated, seed {}, trace {}\n",
        percent(node.busy_share),
        report.kernel,
        report.release,
        node.cgroup_version,
        duration_inline(report.simulated_ns),
        report.seed,
        report.trace_hash,
    )
}

fn is_found(report: &KubeReport, row: &KubeContainer) -> bool {
    report.findings.iter().any(|finding| finding.container == row.label)
}

fn verdicts(report: &KubeReport, rows: &[&KubeContainer], style: Style) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| row.has_load) {
        let (mark, paint) = match (is_found(report, row), row.loses_much()) {
            (true, _) => ("✗", Paint::Bad),
            (false, true) => ("!", Paint::Notable),
            (false, false) => ("✓", Paint::Good),
        };
        let indented = wrap(&row.verdict, style.width.saturating_sub(2)).join("\n  ");
        let _ = writeln!(text, "{} {indented}", style.paint(paint, mark));
    }
    text
}

/// Lines of so many columns at most, broken at spaces. A number stays with its unit.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let is_unit = matches!(
            word.trim_end_matches([';', '.', ',']),
            "%" | "ns" | "us" | "ms" | "s" | "CPUs" | "CPU"
        );
        match words.last_mut() {
            Some(last) if is_unit => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    for word in words {
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word);
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    lines
}

fn label(row: &KubeContainer) -> String {
    match row.copies {
        0 | 1 => shown_name(&row.label),
        copies => format!("{} x{copies}", shown_name(&row.label)),
    }
}

fn cpus(cpus: f64) -> String {
    format!("{cpus:.2}")
}

/// As Kubernetes writes it: `500m`, `2`.
fn amount(cpus: f64) -> String {
    let milli = (cpus * 1000.0).round() as u64;
    match milli % 1000 {
        0 => format!("{}", milli / 1000),
        _ => format!("{milli}m"),
    }
}

fn dash() -> Cell {
    Cell::painted("-", Paint::Faint)
}

fn or_dash(text: Option<String>) -> Cell {
    text.map_or_else(dash, Cell::from)
}

fn containers(rows: &[&KubeContainer], style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("CONTAINER"),
        Column::left("QOS").expendable(2),
        Column::right("REQUEST"),
        Column::right("LIMIT"),
        Column::right("WEIGHT").expendable(1),
        Column::right("SHARE").group("if all are busy").expendable(3),
        Column::right("CPUS").group("if all are busy").expendable(3),
        Column::right("CPUS USED"),
        Column::left("OF WHAT IT MAY").paint(Paint::Bar).expendable(1),
    ]);
    for row in rows {
        let may = row.limit_or_quota().unwrap_or(row.saturated.cpus) * f64::from(row.copies.max(1));
        let share = if may > 0.0 { row.used_cpus / may } else { 0.0 };
        let limit = match (&row.exclusive_cpus, row.limit_cpus) {
            (Some(cpus), _) if row.numa_nodes.is_empty() => Some(format!("CPUs {cpus}")),
            (Some(cpus), _) => {
                let nodes: Vec<String> = row.numa_nodes.iter().map(u32::to_string).collect();
                Some(format!("CPUs {cpus} (node {})", nodes.join("+")))
            }
            (None, limit) => limit.map(amount),
        };
        let saturated = |text: String| match row.exclusive_cpus {
            Some(_) => dash(),
            None => text.into(),
        };
        table.row(vec![
            label(row).into(),
            or_dash(row.qos_class.clone()),
            or_dash(row.request_cpus.map(amount)),
            or_dash(limit),
            row.weight.to_string().into(),
            saturated(percent(row.saturated.share)),
            saturated(cpus(row.saturated.cpus)),
            if row.has_load { cpus(row.used_cpus).into() } else { dash() },
            bar(share, BAR_COLUMNS).into(),
        ]);
    }
    table.render(style)
}

impl KubeContainer {
    /// What a copy may use, if that is bounded.
    fn limit_or_quota(&self) -> Option<f64> {
        self.quota.as_ref().map(|quota| quota.cpus)
    }
}

fn throttling(report: &KubeReport, rows: &[&KubeContainer], style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("CONTAINER"),
        Column::right("QUOTA"),
        Column::left("FROM").expendable(2),
        Column::right("PERIODS"),
        Column::right("THROTTLED"),
        Column::right(""),
        Column::left("").paint(Paint::Bar).expendable(1),
        Column::right("STOPPED").expendable(3),
        Column::right("MEDIAN").group("stall per hit"),
        Column::right("MAX").group("stall per hit"),
    ]);
    let mut any = false;
    for row in rows {
        let Some(quota) = row.quota.as_ref().filter(|_| row.has_load) else { continue };
        any = true;
        let from = if quota.is_own { "own limit" } else { "around it" };
        let paint = is_found(report, row).then_some(Paint::Bad);
        let painted = |text: String| match paint {
            Some(paint) => Cell::painted(text, paint),
            None => text.into(),
        };
        let stalls = |ns: u64| match row.stalls.count {
            0 => dash(),
            _ => duration(ns).into(),
        };
        let period = duration_inline(quota.period_ns);
        table.row(vec![
            label(row).into(),
            format!("{} / {period}", duration_inline(quota.quota_ns)).into(),
            from.into(),
            row.nr_periods.to_string().into(),
            row.nr_throttled.to_string().into(),
            painted(percent(row.throttled_share)),
            bar(row.throttled_share, BAR_COLUMNS).into(),
            duration(row.throttled_ns).into(),
            stalls(row.stalls.p50_ns),
            stalls(row.stalls.max_ns),
        ]);
    }
    if any { table.render(style) } else { String::new() }
}

fn parts<'r>(
    rows: &'r [&'r KubeContainer],
    kind: &'static str,
) -> impl Iterator<Item = (&'r KubeContainer, &'r KubePart)> {
    rows.iter().flat_map(move |row| {
        row.parts.iter().filter(move |part| part.kind == kind).map(move |part| (*row, part))
    })
}

fn times(times: Option<&KubeTimes>, pick: impl Fn(&KubeTimes) -> u64) -> Cell {
    match times {
        Some(times) if times.count > 0 => duration(pick(times)).into(),
        _ => dash(),
    }
}

fn requests(rows: &[&KubeContainer], style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("REQUESTS"),
        Column::right("WORKERS").expendable(2),
        Column::right("SERVED").expendable(3),
        Column::right("DROPPED").expendable(4),
        Column::right("P50").group("response").expendable(1),
        Column::right("P99").group("response"),
        Column::right("P99.9").group("response"),
        Column::right("ALONE P99").group("work").expendable(5),
        Column::right("P99").group("without limits"),
        Column::right("P99.9").group("without limits").expendable(6),
        Column::right("P99").group("bare metal"),
    ]);
    let mut any = false;
    for (row, part) in parts(rows, "requests") {
        any = true;
        let counts = part.requests.unwrap_or_default();
        let without = part.without_limits.as_ref().map(|it| &it.durations);
        let alone = part.alone.as_ref().map(|it| &it.durations);
        table.row(vec![
            label(row).into(),
            part.threads.to_string().into(),
            counts.served.to_string().into(),
            counts.dropped.to_string().into(),
            times(Some(&part.durations), |it| it.p50_ns),
            times(Some(&part.durations), |it| it.p99_ns),
            times(Some(&part.durations), |it| it.p999_ns),
            or_dash(part.service.map(|it| duration(it.p99_ns))),
            times(without, |it| it.p99_ns),
            times(without, |it| it.p999_ns),
            times(alone, |it| it.p99_ns),
        ]);
    }
    if any { table.render(style) } else { String::new() }
}

fn jobs(rows: &[&KubeContainer], style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("JOBS"),
        Column::right("THREADS"),
        Column::right("COUNT"),
        Column::right("P50").group("from wakeup to sleep"),
        Column::right("P99").group("from wakeup to sleep"),
        Column::right("P99").group("without limits"),
        Column::right("P99").group("bare metal"),
    ]);
    let mut any = false;
    for (row, part) in parts(rows, "batch").filter(|(_, part)| part.durations.count > 0) {
        any = true;
        table.row(vec![
            label(row).into(),
            part.threads.to_string().into(),
            part.durations.count.to_string().into(),
            times(Some(&part.durations), |it| it.p50_ns),
            times(Some(&part.durations), |it| it.p99_ns),
            times(part.without_limits.as_ref().map(|it| &it.durations), |it| it.p99_ns),
            times(part.alone.as_ref().map(|it| &it.durations), |it| it.p99_ns),
        ]);
    }
    if any { table.render(style) } else { String::new() }
}

fn devices(rows: &[&KubeContainer], style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("LAUNCHES"),
        Column::left("DEVICE"),
        Column::right("STEPS/S"),
        Column::right("BUSY"),
        Column::left("").paint(Paint::Bar).expendable(3),
        Column::right("STEP P50").expendable(2),
        Column::right("STEP P99").expendable(2),
        Column::right("STEPS/S").group("without limits").expendable(1),
        Column::right("BUSY").group("without limits").expendable(1),
        Column::right("STEPS/S").group("bare metal"),
        Column::right("BUSY").group("bare metal"),
    ]);
    let rate = |rate: Option<f64>| or_dash(rate.map(|rate| format!("{rate:.1}")));
    let mut any = false;
    for (row, part) in parts(rows, "launch") {
        let Some(launch) = &part.launch else { continue };
        any = true;
        let (without, alone) = (part.without_limits.as_ref(), part.alone.as_ref());
        table.row(vec![
            label(row).into(),
            shown_name(&launch.device).into(),
            rate(Some(launch.steps_per_s)),
            percent(launch.device_busy_share).into(),
            bar(launch.device_busy_share, BAR_COLUMNS).into(),
            times(Some(&part.durations), |it| it.p50_ns),
            times(Some(&part.durations), |it| it.p99_ns),
            rate(without.and_then(|it| it.steps_per_s)),
            or_dash(without.and_then(|it| it.device_busy_share).map(percent)),
            rate(alone.and_then(|it| it.steps_per_s)),
            or_dash(alone.and_then(|it| it.device_busy_share).map(percent)),
        ]);
    }
    if any { table.render(style) } else { String::new() }
}

fn waits(report: &KubeReport, rows: &[&KubeContainer], style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("WAITING"),
        Column::right("PER SECOND"),
        Column::right("QUOTA"),
        Column::right("OWN THREADS"),
        Column::right("OTHERS"),
        Column::right("NOBODY").expendable(2),
        Column::left("MOSTLY FOR").expendable(1),
    ]);
    let mut any = false;
    for row in rows.iter().filter(|row| row.wait.total_ns > 0) {
        any = true;
        let wait = &row.wait;
        let share = |ns: u64| percent(ns as f64 / wait.total_ns.max(1) as f64);
        let per_second =
            u128::from(wait.total_ns) * 1_000_000_000 / u128::from(report.simulated_ns.max(1));
        let others = wait.others.iter().take(2).map(|other| {
            let share = share(other.wait_ns);
            format!("{} {share}", shown_name(&other.container))
        });
        table.row(vec![
            label(row).into(),
            duration(per_second as u64).into(),
            share(wait.quota_ns).into(),
            share(wait.same_container_ns).into(),
            share(wait.other_containers_ns).into(),
            share(wait.nobody_ns).into(),
            others.collect::<Vec<_>>().join(", ").into(),
        ]);
    }
    if any { table.render(style) } else { String::new() }
}

fn suggestion(suggestion: &KubeSuggestion, style: Style) -> String {
    let title = format!("{}: what keeps {}", suggestion.container, suggestion.target);
    let mut text = format!("{}\n", style.paint(Paint::Heading, &title));
    let has_device =
        suggestion.trials.iter().any(|trial| trial.figures.device_busy_share.is_some());
    let mut columns = vec![
        Column::left("CHANGE"),
        Column::left(""),
        Column::right("THROTTLED"),
        Column::right("P50").expendable(2),
        Column::right("P99"),
        Column::right("P99.9").expendable(3),
    ];
    if has_device {
        columns.push(Column::right("DEVICE BUSY"));
    }
    let trials: Vec<&KubeTrial> = shown_trials(&suggestion.trials).collect();
    // What nobody has to pay needs no column.
    let costs = Costs {
        requests: trials.iter().any(|it| it.request_cpus_change.abs() >= CHANGE_MIN),
        exclusive: trials.iter().any(|it| it.exclusive_cpus > 0),
        neighbour: trials.iter().any(|it| it.neighbour.is_some()),
    };
    if costs.neighbour {
        columns.push(Column::left("NEIGHBOUR WORST OFF").expendable(1));
    }
    if costs.requests {
        columns.push(Column::right("REQUESTS").expendable(4));
    }
    if costs.exclusive {
        columns.push(Column::right("EXCLUSIVE").expendable(5));
    }
    let mut table = Table::new(columns);
    for trial in trials {
        table.row(trial_row(trial, has_device, &costs));
    }
    text.push_str(&table.render(style));
    if !suggestion.widths.is_empty() {
        text.push('\n');
        text.push_str(&widths(suggestion, style));
    }
    for advice in &suggestion.advice {
        let _ = writeln!(text, "→ {}", wrap(advice, style.width.saturating_sub(2)).join("\n  "));
    }
    text
}

/// Of a search by halving only the border is of interest: what keeps the target and what just does
/// not.
fn shown_trials(trials: &[KubeTrial]) -> impl Iterator<Item = &KubeTrial> {
    let is_border = |at: usize| {
        let (trial, next) = (&trials[at], trials.get(at + 1));
        let halved = |it: &KubeTrial| {
            ["limit", "request"].contains(&it.kind.as_str()) || it.exclusive_cpus > 0
        };
        let before_best = next.is_some_and(|next| {
            next.is_suggested && next.kind == trial.kind && halved(next) && !trial.keeps_target
        });
        // Where nothing keeps it, the most that was tried.
        let last_of_its_kind = next.is_none_or(|next| !halved(next) || next.kind != trial.kind);
        let hopeless = last_of_its_kind && !trial.keeps_target;
        !halved(trial) || trial.is_suggested || before_best || hopeless
    };
    (0..trials.len()).filter(move |at| is_border(*at)).map(|at| &trials[at])
}

/// Less of a CPU is none.
const CHANGE_MIN: f64 = 0.000_5;

/// Which costs there are to show.
struct Costs {
    requests: bool,
    exclusive: bool,
    neighbour: bool,
}

fn trial_row(trial: &KubeTrial, has_device: bool, costs: &Costs) -> Vec<Cell> {
    let figures = &trial.figures;
    let mark = match (trial.keeps_target, trial.is_suggested) {
        (true, true) => Cell::painted("✓ ←", Paint::Good),
        (true, false) => Cell::painted("✓", Paint::Good),
        (false, _) => Cell::painted("✗", Paint::Bad),
    };
    let mut cells = vec![
        trial.change.clone().into(),
        mark,
        percent(figures.throttled_share).into(),
        times(Some(&figures.durations), |it| it.p50_ns),
        times(Some(&figures.durations), |it| it.p99_ns),
        times(Some(&figures.durations), |it| it.p999_ns),
    ];
    if has_device {
        cells.push(or_dash(figures.device_busy_share.map(percent)));
    }
    if costs.neighbour {
        cells.push(or_dash(trial.neighbour.as_ref().map(|it| {
            let (before, after) = (it.p99_before_ns, it.p99_after_ns);
            let (before, after) = (duration_inline(before), duration_inline(after));
            format!("{}: p99 {before} → {after}", shown_name(&it.container))
        })));
    }
    if costs.requests {
        let change = trial.request_cpus_change;
        cells.push(or_dash((change.abs() >= CHANGE_MIN).then(|| format!("{change:+.2} CPUs"))));
    }
    if costs.exclusive {
        cells.push(match trial.exclusive_cpus {
            0 => dash(),
            1 => "1 CPU".into(),
            count => format!("{count} CPUs").into(),
        });
    }
    cells
}

fn widths(suggestion: &KubeSuggestion, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("RUNTIME WOULD START"),
        Column::right("THREADS"),
        Column::right("THROTTLED"),
        Column::right("P99"),
        Column::right("P99.9"),
    ]);
    for width in &suggestion.widths {
        let trial = width.trial.as_ref();
        table.row(vec![
            width.runtime.clone().into(),
            width.threads.to_string().into(),
            or_dash(trial.map(|it| percent(it.throttled_share))),
            times(trial.map(|it| &it.durations), |it| it.p99_ns),
            times(trial.map(|it| &it.durations), |it| it.p999_ns),
        ]);
    }
    table.render(style)
}

fn notes(report: &KubeReport, rows: &[&KubeContainer], style: Style) -> String {
    let mut text = String::new();
    let hidden = report.workloads.len().saturating_sub(rows.len());
    if hidden > 0 {
        let _ = writeln!(text, "{hidden} more are not shown; --format json has all of them.");
    }
    for finding in &report.findings {
        let lines = wrap(
            &format!("{}: {}", finding.container, finding.message),
            style.width.saturating_sub(9),
        );
        let word = style.paint(Paint::Bad, "finding:");
        let _ = writeln!(text, "{word} {}", lines.join("\n         "));
    }
    for remark in &report.remarks {
        let _ = writeln!(
            text,
            "note: {}",
            wrap(remark, style.width.saturating_sub(6)).join("\n      ")
        );
    }
    text
}
