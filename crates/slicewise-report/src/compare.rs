//! Several runs of one workload side by side.

use serde::Serialize;

use crate::table::policy;
use crate::text::{Cell, Column, Paint, Table, duration, percent, shown_name, shown_path};
use crate::{GroupReport, RunReport, Style, TaskReport};

/// A change has to be more than this part of the first value to be marked.
const MARKED_CHANGE: f64 = 0.05;
/// And durations have to differ by more than this: less is the length of a few instructions.
const MARKED_NS: f64 = 1_000.0;
/// And shares by more than this: half a percent of a CPU.
const MARKED_SHARE: f64 = 0.005;

/// What is left out where it never happened in any run.
const RARE: [&str; 3] = ["late_jobs", "sigxcpu", "sigkill"];

/// What a value counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A part of one CPU.
    Share,
    /// A number of times.
    Count,
    /// A duration in ns.
    Ns,
}

/// Which way is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less is better.
    Lower,
    /// It depends on what one wants.
    Neither,
}

/// A figure: whole, or a share.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A count or a duration in ns.
    Whole(u64),
    /// A share.
    Share(f64),
}

impl Value {
    fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Share(value) => value,
        }
    }
}

/// One figure in all runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// Its name: `delay_p99`.
    pub metric: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Which way is good.
    pub better: Better,
    /// One for each run; `None` where there is no such task or nothing was measured.
    pub values: Vec<Option<Value>>,
    /// Change against the first run: 0.25 is a quarter more. `None` where either value is missing
    /// or the first is 0.
    pub changes: Vec<Option<f64>>,
    /// The change is worth a look: more than 5 %, and more than 1 us, 0.5 % of a CPU, or for counts
    /// twice the square root of the greater one, which is what counts differ by anyway.
    pub marked: Vec<bool>,
}

/// One task in all runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ComparedTask {
    /// Its name.
    pub name: String,
    /// The path of its group in the first run that has it; absent in the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Policy, nice value or priority in the first run that has it: `OTHER nice 5`.
    pub policy: String,
    /// Its figures.
    pub figures: Vec<Comparison>,
}

/// One group in all runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ComparedGroup {
    /// Its path.
    pub path: String,
    /// Its figures.
    pub figures: Vec<Comparison>,
}

/// Several runs side by side; changes are against the first.
///
/// Tasks are matched by name; of several with the same name the first goes with the first, in
/// order of pid. Groups are matched by path.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CompareReport {
    /// What the runs are called.
    pub labels: Vec<String>,
    /// Figures of whole runs.
    pub system: Vec<Comparison>,
    /// Groups, in the order of the first run that has them.
    pub groups: Vec<ComparedGroup>,
    /// Tasks, in the order of the first run that has them.
    pub tasks: Vec<ComparedTask>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl CompareReport {
    /// Puts runs side by side. Runs without a label are called by their kernel; more labels than
    /// runs are ignored.
    pub fn new(labels: &[String], reports: &[RunReport]) -> Self {
        let label = |at: usize| labels.get(at).unwrap_or(&reports[at].kernel).clone();
        let labels: Vec<String> = (0..reports.len()).map(label).collect();
        let tasks = matched_tasks(reports).into_iter().map(|tasks| ComparedTask::new(&tasks));
        Self {
            system: system_figures(reports),
            groups: compared_groups(reports),
            tasks: tasks.collect(),
            warnings: warnings(&labels, reports),
            labels,
        }
    }
}

/// Each task in all runs, `None` where it is missing.
fn matched_tasks(reports: &[RunReport]) -> Vec<Vec<Option<&TaskReport>>> {
    // A task is its name and how many of that name came before it.
    let mut rows: Vec<Vec<Option<&TaskReport>>> = Vec::new();
    let mut index = std::collections::BTreeMap::new();
    for (run, report) in reports.iter().enumerate() {
        let mut seen = std::collections::BTreeMap::new();
        for task in &report.tasks {
            let number = seen.entry(task.name.as_str()).or_insert(0);
            let key = (task.name.as_str(), *number);
            *number += 1;
            let row = *index.entry(key).or_insert_with(|| {
                rows.push(vec![None; reports.len()]);
                rows.len() - 1
            });
            rows[row][run] = Some(task);
        }
    }
    rows
}

/// A group and how long its run was, ns; `None` where it is missing.
type GroupOfRun<'r> = Option<(&'r GroupReport, u64)>;

/// Each group in all runs.
fn compared_groups(reports: &[RunReport]) -> Vec<ComparedGroup> {
    let mut rows: Vec<(&str, Vec<GroupOfRun<'_>>)> = Vec::new();
    let mut index = std::collections::BTreeMap::new();
    for (run, report) in reports.iter().enumerate() {
        for group in &report.groups {
            let row = *index.entry(group.path.as_str()).or_insert_with(|| {
                rows.push((&group.path, vec![None; reports.len()]));
                rows.len() - 1
            });
            rows[row].1[run] = Some((group, report.simulated_ns));
        }
    }
    let compared = |(path, groups): (&str, Vec<GroupOfRun<'_>>)| ComparedGroup {
        path: path.to_owned(),
        figures: group_figures(&groups),
    };
    rows.into_iter().map(compared).collect()
}

/// A figure of a group in a run of so many ns, if it was measured.
type GroupFigure = fn(&GroupReport, u64) -> Option<Value>;

fn group_figures(groups: &[GroupOfRun<'_>]) -> Vec<Comparison> {
    use Better::{Lower, Neither};
    use Unit::{Count, Ns, Share};
    // Who has no limit in any run is not throttled: nobody asks.
    let limited = groups.iter().flatten().any(|(group, _)| group.quota_ns.is_some());
    let figures: [(&'static str, Unit, Better, GroupFigure); 7] = [
        ("share", Share, Neither, |group, _| Some(Value::Share(group.share))),
        ("nr_periods", Count, Neither, |group, _| {
            group.quota_ns.map(|_| Value::Whole(group.nr_periods))
        }),
        ("nr_throttled", Count, Lower, |group, _| Some(Value::Whole(group.nr_throttled))),
        ("throttled", Ns, Lower, |group, _| Some(Value::Whole(group.throttled_ns))),
        ("nr_bursts", Count, Neither, |group, _| {
            (group.nr_bursts > 0).then_some(Value::Whole(group.nr_bursts))
        }),
        ("pressure_some", Share, Lower, |group, run_ns| {
            Some(part_of(group.pressure.some_total_ns, run_ns))
        }),
        ("pressure_full", Share, Lower, |group, run_ns| {
            Some(part_of(group.pressure.full_total_ns, run_ns))
        }),
    ];
    figures
        .into_iter()
        .map(|(metric, unit, better, of)| {
            let value =
                |group: &GroupOfRun<'_>| group.and_then(|(group, run_ns)| of(group, run_ns));
            Comparison::new(metric, unit, better, groups.iter().map(value))
        })
        .filter(|figure| limited || !figure.metric.ends_with("throttled"))
        .filter(|figure| figure.values.iter().any(Option::is_some))
        .collect()
}

fn part_of(part_ns: u64, whole_ns: u64) -> Value {
    Value::Share(if whole_ns == 0 { 0.0 } else { part_ns as f64 / whole_ns as f64 })
}

fn system_figures(reports: &[RunReport]) -> Vec<Comparison> {
    let busy = |report: &RunReport| {
        let busy_ns: u64 = report.cpus.iter().map(|cpu| cpu.busy_ns).sum();
        let all_ns = report.simulated_ns.saturating_mul(report.cpus.len() as u64);
        (all_ns > 0).then(|| Value::Share(busy_ns as f64 / all_ns as f64))
    };
    let switches =
        |report: &RunReport| Some(Value::Whole(report.cpus.iter().map(|cpu| cpu.switches).sum()));
    vec![
        Comparison::new("busy", Unit::Share, Better::Neither, reports.iter().map(busy)),
        Comparison::new("switches", Unit::Count, Better::Neither, reports.iter().map(switches)),
    ]
}

fn warnings(labels: &[String], reports: &[RunReport]) -> Vec<String> {
    let mut warnings = Vec::new();
    let facts: [(&str, Fact); 4] = [
        ("seed", |report| report.seed),
        ("length", |report| report.simulated_ns),
        ("number of CPUs", |report| report.cpus.len() as u64),
        ("tick rate", |report| report.hz.into()),
    ];
    for (name, fact) in facts {
        if reports.iter().any(|report| fact(report) != fact(&reports[0])) {
            warnings.push(format!("the runs differ in their {name}"));
        }
    }
    // What is to be known of all runs is said once.
    let of_all = |warning: &&String| reports.iter().all(|report| report.warnings.contains(warning));
    let common: Vec<&String> =
        reports.first().into_iter().flat_map(|report| &report.warnings).filter(of_all).collect();
    warnings.extend(common.iter().copied().cloned());
    for (label, report) in labels.iter().zip(reports) {
        let own = report.warnings.iter().filter(|warning| !common.contains(warning));
        warnings.extend(own.map(|warning| format!("{label}: {warning}")));
    }
    warnings
}

impl ComparedTask {
    fn new(tasks: &[Option<&TaskReport>]) -> Self {
        let first = tasks.iter().flatten().next();
        let shape = first.map(|task| policy(&task.policy, task.nice, task.priority));
        Self {
            name: first.map(|task| task.name.clone()).unwrap_or_default(),
            group: first.and_then(|task| task.group.clone()),
            policy: shape.unwrap_or_default(),
            figures: task_figures(tasks),
        }
    }
}

/// What runs have to have in common.
type Fact = fn(&RunReport) -> u64;
/// A figure of a task, if it was measured.
type Figure = fn(&TaskReport) -> Option<Value>;

fn task_figures(tasks: &[Option<&TaskReport>]) -> Vec<Comparison> {
    use Better::{Lower, Neither};
    use Unit::{Count, Ns, Share};
    let figures: [(&'static str, Unit, Better, Figure); 15] = [
        ("share", Share, Neither, |task| Some(Value::Share(task.share))),
        ("switches_voluntary", Count, Neither, |task| Some(Value::Whole(task.switches.voluntary))),
        ("switches_involuntary", Count, Neither, |task| {
            Some(Value::Whole(task.switches.involuntary))
        }),
        ("delay_p50", Ns, Lower, |task| {
            measured(task.sched_delay_ns.count, task.sched_delay_ns.p50)
        }),
        ("delay_p99", Ns, Lower, |task| {
            measured(task.sched_delay_ns.count, task.sched_delay_ns.p99)
        }),
        ("delay_max", Ns, Lower, |task| {
            measured(task.sched_delay_ns.count, task.sched_delay_ns.max)
        }),
        ("unfinished_wait", Ns, Lower, |task| task.unfinished_wait_ns.map(Value::Whole)),
        ("response_p50", Ns, Lower, |task| measured(task.response_ns.count, task.response_ns.p50)),
        ("response_p99", Ns, Lower, |task| measured(task.response_ns.count, task.response_ns.p99)),
        ("response_max", Ns, Lower, |task| measured(task.response_ns.count, task.response_ns.max)),
        ("late_jobs", Count, Lower, |task| task.jobs.map(|jobs| Value::Whole(jobs.late))),
        ("deadline_misses", Count, Lower, |task| {
            task.deadline.map(|deadline| Value::Whole(deadline.misses))
        }),
        ("deadline_throttled", Count, Neither, |task| {
            task.deadline.map(|deadline| Value::Whole(deadline.throttled))
        }),
        ("sigxcpu", Count, Neither, |task| {
            task.signals.map(|signals| Value::Whole(signals.sigxcpu))
        }),
        ("sigkill", Count, Lower, |task| task.signals.map(|signals| Value::Whole(signals.sigkill))),
    ];
    figures
        .into_iter()
        .map(|(metric, unit, better, of)| {
            Comparison::new(metric, unit, better, tasks.iter().map(|task| task.and_then(of)))
        })
        .filter(|figure| figure.values.iter().any(Option::is_some))
        .filter(|figure| !RARE.contains(&figure.metric) || figure.happened())
        .collect()
}

fn measured(count: u64, value: u64) -> Option<Value> {
    (count > 0).then_some(Value::Whole(value))
}

impl Comparison {
    /// Not 0 in all runs.
    fn happened(&self) -> bool {
        self.values.iter().flatten().any(|value| value.as_f64() > 0.0)
    }

    fn new(
        metric: &'static str,
        unit: Unit,
        better: Better,
        values: impl Iterator<Item = Option<Value>>,
    ) -> Self {
        let values: Vec<Option<Value>> = values.collect();
        let first = values.first().copied().flatten().map(Value::as_f64);
        let pair = |value: &Option<Value>| Some((first?, value.as_ref()?.as_f64()));
        let change = |value: &Option<Value>| {
            let (first, value) = pair(value)?;
            (first != 0.0).then(|| (value - first) / first)
        };
        let marked = |value: &Option<Value>| {
            pair(value).is_some_and(|(first, value)| is_marked(unit, first, value))
        };
        let changes = values.iter().map(change).collect();
        let marked = values.iter().map(marked).collect();
        Self { metric, unit, better, values, changes, marked }
    }
}

fn is_marked(unit: Unit, first: f64, value: f64) -> bool {
    let difference = (value - first).abs();
    let least = match unit {
        Unit::Share => MARKED_SHARE,
        Unit::Count => 2.0 * first.max(value).sqrt(),
        Unit::Ns => MARKED_NS,
    };
    difference > least && difference > MARKED_CHANGE * first
}

/// Runs side by side as text: a block for each task, a column for each run, and a mark at what
/// changed against the first. Too many runs for the width are shown in several tables.
pub fn render_compare(labels: &[String], reports: &[RunReport], style: Style) -> String {
    let report = CompareReport::new(labels, reports);
    let runs = report.labels.len();
    let mut parts = Vec::new();
    if runs > 1 {
        let first = shown_name(&report.labels[0]);
        parts.push(format!("Changes of more than 5 % against {first} are marked.\n"));
    }
    let others: Vec<usize> = (1..runs).collect();
    let mut count = others.len().max(1);
    while count > 1 && others.chunks(count).any(|runs| table(&report, runs).width() > style.width) {
        count -= 1;
    }
    if others.is_empty() && runs > 0 {
        parts.push(table(&report, &[]).render(style));
    }
    parts.extend(others.chunks(count).map(|runs| table(&report, runs).render(style)));
    let warning = style.paint(Paint::Notable, "warning:");
    if !report.warnings.is_empty() {
        parts.push(report.warnings.iter().map(|line| format!("{warning} {line}\n")).collect());
    }
    parts.join("\n")
}

/// The first run and these others.
fn table(report: &CompareReport, others: &[usize]) -> Table {
    let label = |run: usize| Column::right(shown_name(&report.labels[run]));
    let mut columns = vec![Column::left(""), label(0)];
    for run in others {
        columns.push(label(*run));
        columns.push(Column::left(""));
    }
    let mut table = Table::new(columns);
    table.row(vec![Cell::painted("all CPUs", Paint::Heading)]);
    for figure in &report.system {
        table.row(figure_row(figure, others));
    }
    for group in &report.groups {
        let name = format!("group {}", shown_path(&group.path));
        table.row(vec![Cell::painted(name, Paint::Heading)]);
        for figure in &group.figures {
            table.row(figure_row(figure, others));
        }
    }
    for task in &report.tasks {
        let group = task.group.as_deref().map(|path| format!(" in {}", shown_path(path)));
        let group = group.unwrap_or_default();
        let name = format!("{} ({}){group}", shown_name(&task.name), task.policy);
        table.row(vec![Cell::painted(name, Paint::Heading)]);
        for figure in &task.figures {
            // Other tables may have what these runs do not.
            let measured = |run: &usize| figure.values.get(*run).is_some_and(Option::is_some);
            if measured(&0) || others.iter().any(measured) {
                table.row(figure_row(figure, others));
            }
        }
    }
    table
}

fn figure_row(figure: &Comparison, others: &[usize]) -> Vec<Cell> {
    let name = match figure.metric {
        "share" => "CPU",
        "busy" => "busy",
        "switches" => "switches",
        "switches_voluntary" => "voluntary switches",
        "switches_involuntary" => "involuntary switches",
        "delay_p50" => "sched delay p50",
        "delay_p99" => "sched delay p99",
        "delay_max" => "sched delay max",
        "unfinished_wait" => "still waiting at the end",
        "response_p50" => "response p50",
        "response_p99" => "response p99",
        "response_max" => "response max",
        "late_jobs" => "late jobs",
        "deadline_misses" => "deadlines missed",
        "deadline_throttled" => "stopped by its budget",
        "sigxcpu" => "SIGXCPU",
        "sigkill" => "SIGKILL",
        "nr_periods" => "periods",
        "nr_throttled" => "throttled periods",
        "throttled" => "throttled time",
        "nr_bursts" => "periods with a burst",
        "pressure_some" => "pressure, some",
        "pressure_full" => "pressure, full",
        other => other,
    };
    let mut cells = vec![format!("  {name}").into(), value_cell(figure, 0)];
    for run in others {
        cells.push(value_cell(figure, *run));
        cells.push(change_cell(figure, *run));
    }
    cells
}

fn value_cell(figure: &Comparison, run: usize) -> Cell {
    match figure.values.get(run).copied().flatten() {
        None => Cell::painted("-", Paint::Faint),
        Some(Value::Share(share)) => percent(share).into(),
        Some(Value::Whole(ns)) if figure.unit == Unit::Ns => duration(ns).into(),
        Some(Value::Whole(count)) => count.to_string().into(),
    }
}

fn change_cell(figure: &Comparison, run: usize) -> Cell {
    if !figure.marked[run] {
        return "".into();
    }
    let change = figure.changes[run];
    let more = change.is_none_or(|change| change > 0.0);
    let arrow = if more { '▲' } else { '▼' };
    let text = match change {
        None => arrow.to_string(),
        Some(change) if change >= 9.0 => format!("{arrow} x{:.0}", change + 1.0),
        Some(change) => format!("{arrow} {:+.0} %", change * 100.0),
    };
    let paint = match (figure.better, more) {
        (Better::Neither, _) => Paint::Notable,
        (Better::Lower, true) => Paint::Bad,
        (Better::Lower, false) => Paint::Good,
    };
    Cell::painted(text, paint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::{PLAIN, delay, run, task};

    fn reports() -> [RunReport; 3] {
        let first = run();
        let mut second = run();
        second.kernel = "6.18".into();
        second.warnings.clear();
        second.tasks[0].share = 0.6;
        second.tasks[0].sched_delay_ns = delay(170, 800_000);
        second.tasks[1].response_ns = delay(100, 1_000_000);
        second.tasks[2].unfinished_wait_ns = None;
        let mut third = run();
        third.kernel = "7.2".into();
        third.seed = 43;
        third.tasks.remove(0);
        third.tasks.push(task("extra", 9, 0.1));
        [first, second, third]
    }

    #[test]
    fn groups_are_compared_by_path() {
        let first = crate::table::tests::grouped_run();
        let mut second = first.clone();
        second.groups.remove(0);
        let web = &mut second.groups[0];
        (web.quota_ns, web.share) = (None, 0.9);
        (web.nr_periods, web.nr_throttled, web.throttled_ns) = (0, 0, 0);
        web.pressure.some_total_ns = 100_000_000;
        let batch = &mut second.groups[1];
        (batch.nr_throttled, batch.throttled_ns) = (30, 900_000_000);
        let text = render_compare(&["limit".into(), "none".into()], &[first, second], PLAIN);
        let groups: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with("group"))
            .take_while(|line| !line.starts_with("hog"))
            .collect();
        insta::assert_snapshot!(groups.join("\n"), @r"
        group pods
          CPU                        48.1 %        -
          pressure, some              0.0 %        -
          pressure, full              0.0 %        -
        group pods/web
          CPU                        48.1 %   90.0 %  ▲ +87 %
          periods                       100        -
          throttled periods              42        0  ▼ -100 %
          throttled time            2.31  s     0 ns  ▼ -100 %
          pressure, some             30.0 %    1.0 %  ▼ -97 %
          pressure, full             23.1 %   23.1 %
        group batch
          CPU                       120.0 %  120.0 %
          periods                       100      100
          throttled periods               0       30  ▲
          throttled time            2.31  s   900 ms  ▼ -61 %
          periods with a burst            7        7
          pressure, some             30.0 %   30.0 %
          pressure, full             23.1 %   23.1 %
        ");
    }

    #[test]
    fn runs_stand_side_by_side() {
        insta::assert_snapshot!(render_compare(&[], &reports(), PLAIN), @r"
        Changes of more than 5 % against 6.12 are marked.

                                       6.12     6.18               7.2
        all CPUs
          busy                       83.5 %   83.5 %            83.5 %
          switches                     2468     2468              2468
        hog (OTHER)
          CPU                        90.0 %   60.0 %  ▼ -33 %        -
          voluntary switches            120      120                 -
          involuntary switches           48       48                 -
          sched delay p50           52.0 us   800 us  ▲ x15          -
          sched delay p99            156 us  2.40 ms  ▲ x15          -
          sched delay max            208 us  3.20 ms  ▲ x15          -
        control (FIFO 50)
          CPU                         5.0 %    5.0 %             5.0 %
          voluntary switches            120      120               120
          involuntary switches           48       48                48
          sched delay p50           52.0 us  52.0 us           52.0 us
          sched delay p99            156 us   156 us            156 us
          sched delay max            208 us   208 us            208 us
          response p50              1.25 ms  1.00 ms  ▼ -20 %  1.25 ms
          response p99              3.75 ms  3.00 ms  ▼ -20 %  3.75 ms
          response max              5.00 ms  4.00 ms  ▼ -20 %  5.00 ms
        cc (OTHER nice 5)
          CPU                        72.0 %   72.0 %            72.0 %
          voluntary switches            120      120               120
          involuntary switches           48       48                48
          sched delay p50           52.0 us  52.0 us           52.0 us
          sched delay p99            156 us   156 us            156 us
          sched delay max            208 us   208 us            208 us
          still waiting at the end  2.50  s        -           2.50  s
        extra (OTHER)
          CPU                             -        -            10.0 %
          voluntary switches              -        -               120
          involuntary switches            -        -                48
          sched delay p50                 -        -           52.0 us
          sched delay p99                 -        -            156 us
          sched delay max                 -        -            208 us

        warning: the runs differ in their seed
        warning: 6.12: throttling is not modelled
        warning: 7.2: throttling is not modelled
        ");
    }

    #[test]
    fn too_many_runs_for_the_width_take_several_tables() {
        let narrow = render_compare(&[], &reports(), Style { color: false, width: 62 });
        assert_eq!(narrow.matches("all CPUs").count(), 2);
        assert!(narrow.lines().filter(|line| !line.contains(':')).all(|l| l.chars().count() <= 62));
    }

    #[test]
    fn what_real_time_tasks_suffered_is_compared_where_it_happened() {
        let mut first = crate::table::tests::real_time_run();
        let mut second = first.clone();
        second.tasks[0].signals = None;
        second.tasks[1].jobs =
            second.tasks[1].jobs.map(|jobs| crate::JobReport { late: 0, ..jobs });
        second.tasks[2].deadline = None;
        first.tasks[0].response_ns = crate::DelayReport::default();
        let report = CompareReport::new(&[], &[first, second]);
        let named = |task: usize| -> Vec<(&str, Vec<Option<Value>>)> {
            let figures = &report.tasks[task].figures;
            let rt = figures.iter().skip_while(|figure| figure.metric != "response_max").skip(1);
            rt.map(|figure| (figure.metric, figure.values.clone())).collect()
        };
        let whole = |value| Some(Value::Whole(value));
        assert_eq!(named(1), [("late_jobs", vec![whole(5), whole(0)])]);
        let reserved = [
            ("deadline_misses", vec![whole(3), None]),
            ("deadline_throttled", vec![whole(7), None]),
        ];
        assert_eq!(named(2), reserved, "no job of it was late, and nobody asks");
        let killed = report.tasks[0].figures.iter().filter(|f| f.metric.starts_with("sig"));
        let killed: Vec<_> = killed.map(|figure| (figure.metric, figure.values[0])).collect();
        assert_eq!(killed, [("sigxcpu", whole(4)), ("sigkill", whole(1))]);
    }

    #[test]
    fn one_run_and_none_are_no_special_cases() {
        let labels = ["mine".to_owned()];
        assert!(render_compare(&labels, &[run()], PLAIN).contains("mine"));
        assert_eq!(render_compare(&labels, &[], PLAIN), "");
    }

    #[test]
    fn small_changes_are_not_marked() {
        let marked = |unit, first, value| is_marked(unit, first, value);
        assert!(!marked(Unit::Ns, 100_000.0, 105_000.0), "5 % is not more than 5 %");
        assert!(marked(Unit::Ns, 100_000.0, 105_001.0));
        assert!(!marked(Unit::Ns, 100.0, 1_100.0), "1 us is little");
        assert!(!marked(Unit::Count, 4.0, 8.0), "counts differ by their root");
        assert!(marked(Unit::Count, 0.0, 5.0));
        assert!(!marked(Unit::Share, 0.001, 0.005), "half a percent of a CPU is little");
    }

    #[test]
    fn tasks_of_one_name_are_matched_in_order() {
        let mut first = run();
        first.tasks = vec![task("a", 1, 0.1), task("a", 2, 0.2)];
        let mut second = run();
        second.tasks = vec![task("a", 7, 0.3), task("a", 8, 0.4), task("a", 9, 0.5)];
        let report = CompareReport::new(&[], &[first, second]);
        let shares: Vec<_> =
            report.tasks.iter().map(|task| task.figures[0].values.clone()).collect();
        let share = |share| Some(Value::Share(share));
        let expected = [[share(0.1), share(0.3)], [share(0.2), share(0.4)], [None, share(0.5)]];
        assert_eq!(shares, expected);
    }

    #[test]
    fn the_wire_names_are_a_contract() {
        let report = CompareReport::new(&[], &reports());
        let json = serde_json::to_string_pretty(&report.tasks[0].figures[0]).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "metric": "share",
          "unit": "share",
          "better": "neither",
          "values": [
            0.9,
            0.6,
            null
          ],
          "changes": [
            0.0,
            -0.33333333333333337,
            null
          ],
          "marked": [
            false,
            true,
            false
          ]
        }
        "#);
    }
}
