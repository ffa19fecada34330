//! Placements of a workload side by side: plain values, and as text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::Style;
use crate::text::{Cell, Column, Paint, Table, duration, duration_inline, percent, shown_name};

/// What was tried, and what is best.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PlaceReport {
    /// What the machine is called.
    pub machine: String,
    /// How many CPUs it has.
    pub cpus: u32,
    /// The kernel as users call it: `6.12`.
    pub kernel: String,
    /// The release whose behaviour it is.
    pub release: String,
    /// Scheduler ticks a second.
    pub hz: u32,
    /// The seed of all runs.
    pub seed: u64,
    /// How much time passed in each run.
    pub simulated_ns: u64,
    /// What tasks are for, as they are described in the file.
    pub roles: Vec<PlaceRole>,
    /// The role whose tasks the figures are about: `launch`, `real-time`, `serving`, or `all`.
    pub focus: String,
    /// The candidates, in the order in which they were made.
    pub candidates: Vec<PlaceCandidate>,
    /// The name of the best.
    pub best: String,
    /// What comes out, in a sentence.
    pub verdict: String,
    /// The lines that make a machine do as the best, by form: `taskset`, `numactl`, `cpuset`, `pod`.
    pub lines: Vec<PlaceLines>,
    /// What the reader should know before trusting the figures.
    pub notes: Vec<String>,
}

/// What the tasks of a description are for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PlaceRole {
    /// Their name in the file.
    pub name: String,
    /// How many there are.
    pub tasks: u32,
    /// `launch`, `communication`, `real-time`, `serving`, `loader`, `other`.
    pub role: String,
    /// The ranks they work for, `0-3`; empty if they work for none.
    pub ranks: String,
    /// The memory nodes of these ranks' GPUs.
    pub nodes: String,
}

/// A placement and what came of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PlaceCandidate {
    /// What it is called.
    pub name: String,
    /// What it does.
    pub about: String,
    /// 1 is the best.
    pub rank: u32,
    /// Who may run where.
    pub masks: Vec<PlaceMask>,
    /// CPUs that are isolated at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated_cpus: Option<String>,
    /// The masks, drawn small.
    pub strip: String,
    /// What came of it; absent if it could not be run.
    pub figures: Option<PlaceFigures>,
    /// Why it could not be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Tasks that may run on the same CPUs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PlaceMask {
    /// The CPUs, as the kernel writes lists.
    pub cpus: String,
    /// Their memory nodes.
    pub nodes: String,
    /// They are all CPUs there are.
    pub everywhere: bool,
    /// How many tasks.
    pub tasks: u32,
    /// Who they are.
    pub names: Vec<String>,
}

/// What placements are judged by. Durations are those of the tasks a workload is about; of several
/// tasks the worst.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PlaceFigures {
    /// How much of the time devices worked, all together; absent without devices.
    pub device_busy_share: Option<f64>,
    /// How many responses there were.
    pub responses: u64,
    /// Absent without responses.
    pub response_p50_ns: Option<u64>,
    /// Absent without responses.
    pub response_p99_ns: Option<u64>,
    /// Absent without responses.
    pub response_max_ns: Option<u64>,
    /// From runnable to running.
    pub sched_delay_p99_ns: u64,
    /// How often tasks changed CPU, all together.
    pub migrations: u64,
    /// How much of the time CPUs were busy, all together.
    pub cpu_busy_share: f64,
    /// CPU time of all other tasks.
    pub others_cpu_time_ns: u64,
    /// Fingerprint of the run.
    pub trace_hash: String,
}

/// Lines of one form.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PlaceLines {
    /// `taskset`, `numactl`, `cpuset`, `pod`.
    pub form: String,
    /// What to do.
    pub text: String,
}

impl PlaceReport {
    /// What comes out of the candidates, in a sentence: of the best against the first.
    pub fn verdict_of(&self) -> String {
        let written = self.candidates.first();
        let best = self.candidates.iter().find(|it| it.name == self.best);
        let (Some(written), Some(best)) = (written, best) else { return String::new() };
        let (Some(before), Some(after)) = (&written.figures, &best.figures) else {
            return format!("{} is the best that could be run.", best.name);
        };
        if written.name == best.name {
            return "No placement is better than what is written.".to_owned();
        }
        let mut gains = Vec::new();
        if let (Some(before), Some(after)) = (before.device_busy_share, after.device_busy_share) {
            gains.push(format!("devices busy {} (was {})", percent(after), percent(before)));
        }
        let mut times = |what: &str, before: Option<u64>, after: Option<u64>| {
            let shown = |ns: Option<u64>| ns.map_or("none".to_owned(), duration_inline);
            gains.push(format!("{what} {} (was {})", shown(after), shown(before)));
        };
        times("response p99", before.response_p99_ns, after.response_p99_ns);
        let (delay_before, delay_after) = (before.sched_delay_p99_ns, after.sched_delay_p99_ns);
        times("sched delay p99", Some(delay_before), Some(delay_after));
        if before.others_cpu_time_ns > 0 {
            let (was, is) = (before.others_cpu_time_ns as f64, after.others_cpu_time_ns as f64);
            gains.push(format!("the others get {:+.1} % CPU time", (is / was - 1.0) * 100.0));
        }
        let verb = if best.name.starts_with("own cores") { "are" } else { "is" };
        format!("{} {verb} best: {}.", capital(&best.name), gains.join(", "))
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The report for people.
pub fn render_place(report: &PlaceReport, style: Style) -> String {
    let mut text = format!(
        "{}, {} CPUs; Linux {} (as of {}), {} simulated for each placement, seed {}\n\n",
        printable(&report.machine),
        report.cpus,
        report.kernel,
        report.release,
        duration_inline(report.simulated_ns),
        report.seed
    );
    text.push_str(&roles(report, style));
    text.push('\n');
    text.push_str(&candidates(report, style));
    for it in &report.candidates {
        if let Some(refused) = &it.refused {
            let _ = writeln!(text, "{}: {}", it.name, printable(refused));
        }
    }
    let _ = write!(
        text,
        "\n  █ everyone  c those the figures are about, or alone by intent  w the others  ▒ some of both\n  \
         ▀ one thread of each core  · nobody; a column is one or more cores, | is between nodes\n\n"
    );
    for line in wrapped(&report.verdict, style.width) {
        let _ = writeln!(text, "{}", style.paint(Paint::Heading, &line));
    }
    if let Some(best) = report.candidates.iter().find(|it| it.name == report.best) {
        text.push_str(&masks(best));
    }
    for note in &report.notes {
        let _ = writeln!(
            text,
            "\n{}",
            wrapped(&format!("note: {}", printable(note)), style.width).join("\n")
        );
    }
    text
}

/// Lines of no more columns, as far as words allow.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// So many rows of tasks are shown.
const ROWS_MAX: usize = 40;

fn roles(report: &PlaceReport, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("TASKS"),
        Column::right("COUNT"),
        Column::left("ROLE"),
        Column::left("RANK"),
        Column::left("NODE"),
    ]);
    for role in report.roles.iter().take(ROWS_MAX) {
        table.row(vec![
            shown_name(&role.name).into(),
            role.tasks.to_string().into(),
            role.role.clone().into(),
            role.ranks.clone().into(),
            role.nodes.clone().into(),
        ]);
    }
    let mut text = table.render(style);
    if report.roles.len() > ROWS_MAX {
        let _ = writeln!(text, "and {} more", report.roles.len() - ROWS_MAX);
    }
    text
}

fn candidates(report: &PlaceReport, style: Style) -> String {
    let about = match report.focus.as_str() {
        "launch" => "response (launch)",
        "real-time" => "response (real-time)",
        "serving" => "response (serving)",
        _ => "response (all)",
    };
    let with_devices = report
        .candidates
        .iter()
        .any(|it| it.figures.as_ref().is_some_and(|it| it.device_busy_share.is_some()));
    let mut columns = vec![Column::left("PLACEMENT"), Column::left("")];
    if with_devices {
        columns.push(Column::right("DEVICES"));
    }
    columns.extend([
        Column::right("P50").group(about),
        Column::right("P99").group(about),
        Column::right("MAX").group(about),
        Column::right("DELAY P99"),
        Column::right("MIGRATIONS"),
        Column::right("CPUS").expendable(1),
    ]);
    let mut table = Table::new(columns);
    let strips = report.candidates.iter().map(|it| it.strip.chars().count()).max().unwrap_or(0);
    // Where the drawings are wide, they get a line of their own.
    let beside = strips <= STRIP_BESIDE_MAX;
    for it in &report.candidates {
        let is_best = it.name == report.best;
        let name = match is_best {
            true => Cell::painted(it.name.clone(), Paint::Good),
            false => it.name.clone().into(),
        };
        let mut cells = vec![name, if is_best { "←".into() } else { "".into() }];
        match &it.figures {
            None => cells.push("not possible".into()),
            Some(figures) => {
                let time = |ns: Option<u64>| Cell::from(ns.map_or("-".to_owned(), duration));
                if with_devices {
                    let share = figures.device_busy_share;
                    cells.push(share.map_or("-".to_owned(), percent).into());
                }
                cells.extend([
                    time(figures.response_p50_ns),
                    time(figures.response_p99_ns),
                    time(figures.response_max_ns),
                    time(Some(figures.sched_delay_p99_ns)),
                    figures.migrations.to_string().into(),
                    percent(figures.cpu_busy_share).into(),
                ]);
            }
        }
        table.row(cells);
    }
    let mut text = table.render(style);
    text.push('\n');
    let names = report.candidates.iter().map(|it| it.name.chars().count()).max().unwrap_or(0);
    for it in &report.candidates {
        match beside {
            true => {
                let _ = writeln!(text, "  {:names$}  {}", it.name, it.strip);
            }
            false => {
                let _ = writeln!(text, "  {}\n    {}", it.name, it.strip);
            }
        }
    }
    text
}

const STRIP_BESIDE_MAX: usize = 76;

fn masks(best: &PlaceCandidate) -> String {
    let mut text = String::new();
    if let Some(list) = &best.isolated_cpus {
        let _ = writeln!(text, "  isolcpus={list} nohz_full={list} on the kernel's command line");
    }
    let mut rows: Vec<(String, String)> = Vec::new();
    for mask in best.masks.iter().filter(|mask| !mask.everywhere).take(ROWS_MAX) {
        const NAMED: usize = 3;
        let mut names: Vec<String> =
            mask.names.iter().take(NAMED).map(|name| shown_name(name)).collect();
        if mask.names.len() > NAMED {
            names.push(format!("… ({} kinds)", mask.names.len()));
        }
        let cpus = match mask.nodes.contains([',', '-']) {
            true => mask.cpus.clone(),
            false => format!("{}  (node {})", mask.cpus, mask.nodes),
        };
        rows.push((names.join(", "), cpus));
    }
    let columns = rows.iter().map(|(names, _)| names.chars().count()).max().unwrap_or(0);
    for (names, cpus) in rows {
        let _ = writeln!(text, "  {names:columns$}  {cpus}");
    }
    let bound = best.masks.iter().filter(|mask| !mask.everywhere).count();
    if bound > ROWS_MAX {
        let _ = writeln!(text, "  and {} more", bound - ROWS_MAX);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, rank: u32, figures: Option<(u64, f64)>) -> PlaceCandidate {
        let figures = figures.map(|(p99, busy)| PlaceFigures {
            device_busy_share: Some(busy),
            responses: 100,
            response_p50_ns: Some(1_000_000),
            response_p99_ns: Some(p99),
            response_max_ns: Some(p99 + 1_000_000),
            sched_delay_p99_ns: p99 - 1_000_000,
            migrations: 12,
            cpu_busy_share: 0.5,
            others_cpu_time_ns: 2_000_000_000 - p99,
            trace_hash: "0123456789abcdef".to_owned(),
        });
        let mask = |cpus: &str, names: &[&str]| PlaceMask {
            cpus: cpus.to_owned(),
            nodes: "0".to_owned(),
            everywhere: false,
            tasks: names.len() as u32,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        PlaceCandidate {
            name: name.to_owned(),
            about: "what it does".to_owned(),
            rank,
            masks: vec![mask("0", &["launch", "nccl"]), mask("1-3", &["a", "b", "c", "d", "e"])],
            isolated_cpus: (name == "isolated").then(|| "0".to_owned()),
            strip: "cwww".to_owned(),
            refused: figures.is_none().then(|| "task `a` has no CPU\u{1b}[2J".to_owned()),
            figures,
        }
    }

    fn report(best: &str) -> PlaceReport {
        let mut report = PlaceReport {
            machine: "box".to_owned(),
            cpus: 4,
            kernel: "6.12".to_owned(),
            release: "6.12.117".to_owned(),
            hz: 250,
            seed: 1,
            simulated_ns: 2_000_000_000,
            roles: vec![PlaceRole {
                name: "launch".to_owned(),
                tasks: 1,
                role: "launch".to_owned(),
                ranks: "0".to_owned(),
                nodes: "0".to_owned(),
            }],
            focus: "launch".to_owned(),
            candidates: vec![
                candidate("as written", 2, Some((9_000_000, 0.7))),
                candidate("own cores", 1, Some((2_000_000, 0.99))),
                candidate("isolated", 3, None),
            ],
            best: best.to_owned(),
            notes: vec!["taken for granted".to_owned()],
            ..PlaceReport::default()
        };
        report.verdict = report.verdict_of();
        report
    }

    #[test]
    fn placements_stand_side_by_side_and_the_best_is_marked() {
        let text = render_place(&report("own cores"), Style { color: false, width: 100 });
        insta::assert_snapshot!(text);
    }

    #[test]
    fn no_placement_may_write_to_the_terminal_but_text() {
        let text = render_place(&report("own cores"), Style { color: false, width: 60 });
        assert!(!text.contains('\u{1b}'));
        assert!(text.contains("has no CPU"));
    }

    #[test]
    fn what_is_written_may_be_the_best() {
        assert_eq!(report("as written").verdict, "No placement is better than what is written.");
    }
}
