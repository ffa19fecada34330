//! `docs/fidelity-rt.md`: every real-time case on every kernel, beside Slicewise.

use std::fmt::Write as _;
use std::path::Path;

use rayon::prelude::*;

use super::runs::Run;
use super::truth::kept;
use super::{RtCase, RtCell, select, simulate};
use crate::TICK_NS;
use crate::failure::Result;
use crate::page::{Judged, Limit, Page};

/// Where the cases are.
pub(crate) const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases-rt");
/// Why cells stay short.
const CAUSES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/causes-rt.toml");
/// Which limits were kept when the truth was last compared.
const MET: &str = "met-rt.txt";

/// Runs: one in a hundred, or one a round.
const RUNS_PART: f64 = 0.01;
/// CPU share of a thread: half a percentage point.
const SHARE_POINTS: f64 = 0.5;

/// A case on a kernel and in Slicewise.
#[derive(Debug)]
pub(crate) struct Compared {
    case: RtCase,
    cell: RtCell,
    /// Round by round, thread by thread.
    ours: Vec<Vec<Vec<Run>>>,
}

/// A run shorter than this is left out where the other side has none at that time: of two timers some
/// microseconds apart, the first may wake a thread that the second takes the CPU from.
const RESOLUTION_NS: u64 = 100_000;

/// Leaves out the short runs of either side that have no counterpart: the next run of the same side
/// begins closer to the one they would be compared with.
fn aligned(kernel: &[Run], ours: &[Run]) -> (Vec<Run>, Vec<Run>) {
    let alone = |side: &[Run], other: Run| match side {
        [one, next, ..] if one.length_ns() < RESOLUTION_NS => {
            let apart_ns = |run: &Run| run.begin_ns.abs_diff(other.begin_ns);
            apart_ns(next) < apart_ns(one)
        }
        _ => false,
    };
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let (mut kernel, mut ours) = (kernel, ours);
    while let ([one, kernel_rest @ ..], [other, ours_rest @ ..]) = (kernel, ours) {
        if alone(kernel, *other) {
            kernel = kernel_rest;
        } else if alone(ours, *one) {
            ours = ours_rest;
        } else {
            left.push(*one);
            right.push(*other);
            (kernel, ours) = (kernel_rest, ours_rest);
        }
    }
    let long = |run: &&Run| run.length_ns() >= RESOLUTION_NS;
    left.extend(kernel.iter().filter(long));
    right.extend(ours.iter().filter(long));
    (left, right)
}

/// What is compared of a thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Figure {
    Share,
    Runs,
    Budget,
    Gap,
}

impl Figure {
    const ALL: [Self; 4] = [Self::Share, Self::Runs, Self::Budget, Self::Gap];

    fn name(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Runs => "runs",
            Self::Budget => "budget",
            Self::Gap => "gap",
        }
    }

    fn value(self, value: f64) -> String {
        match self {
            Self::Share => format!("{value:.2} %"),
            Self::Runs => format!("{value:.0}"),
            Self::Budget | Self::Gap => format!("{:.2} ms", value / 1e6),
        }
    }
}

/// A figure of a thread, on both sides.
#[derive(Clone, Debug)]
struct Row {
    thread: String,
    figure: Figure,
    kernel: f64,
    ours: f64,
    /// How far they are apart: of budgets and gaps, the furthest of all pairs.
    off: f64,
    /// How far they may be.
    limit: f64,
}

impl Row {
    fn kept(&self) -> bool {
        self.off <= self.limit
    }
}

/// Simulates recorded cells: of the named cases, or all.
pub(crate) fn compare(cases: &Path, names: &[String], kernels: &[&str]) -> Result<Vec<Compared>> {
    let cases = select(cases, names)?;
    let mut cells = Vec::new();
    for series in kernels {
        for cell in kept(series)? {
            let case = cases.iter().find(|case| case.name == cell.case);
            cells.extend(case.map(|case| (case.clone(), cell)));
        }
    }
    let one = |(case, cell): (RtCase, RtCell)| {
        let ours = simulate::run(&case, &cell)?;
        Ok(Compared { case, cell, ours })
    };
    cells.into_par_iter().map(one).collect()
}

/// From the window's begin, or the end of a run, to the begin of the next.
fn gaps(runs: &[Run]) -> Vec<u64> {
    let mut last_ns = 0;
    let mut gaps = Vec::with_capacity(runs.len());
    for run in runs {
        gaps.push(run.begin_ns.saturating_sub(last_ns));
        last_ns = run.end_ns;
    }
    gaps
}

fn lengths(runs: &[Run]) -> Vec<u64> {
    runs.iter().map(|run| run.length_ns()).collect()
}

fn mean(values: impl Iterator<Item = u64>) -> f64 {
    let (mut sum, mut count) = (0_u64, 0_u64);
    for value in values {
        sum += value;
        count += 1;
    }
    sum as f64 / count.max(1) as f64
}

impl Compared {
    fn rows(&self) -> Vec<Row> {
        let names = self.case.threads().unwrap_or_default();
        let mut rows = Vec::new();
        for (thread, name) in names.iter().enumerate() {
            let rounds = self.cell.rounds.iter().zip(&self.ours);
            let (kernel, ours): (Vec<Vec<Run>>, Vec<Vec<Run>>) =
                rounds.map(|(kernel, ours)| aligned(&kernel.runs[thread], &ours[thread])).unzip();
            for figure in Figure::ALL {
                rows.push(self.row(name, figure, &kernel, &ours));
            }
        }
        rows
    }

    fn row(&self, name: &str, figure: Figure, kernel: &[Vec<Run>], ours: &[Vec<Run>]) -> Row {
        let row = |kernel: f64, ours: f64, off: f64, limit: f64| Row {
            thread: name.to_owned(),
            figure,
            kernel,
            ours,
            off,
            limit,
        };
        let windows = self.cell.rounds.iter().map(|round| &round.conditions);
        let window_ns: u64 = windows.map(|window| window.end_ns - window.begin_ns).sum();
        let of = match figure {
            Figure::Share => {
                let percent = |rounds: &[Vec<Run>]| {
                    let runs = rounds.iter().flatten();
                    let ran_ns: u64 = runs.map(|run| run.length_ns()).sum();
                    100.0 * ran_ns as f64 / window_ns.max(1) as f64
                };
                let (kernel, ours) = (percent(kernel), percent(ours));
                return row(kernel, ours, (kernel - ours).abs(), SHARE_POINTS);
            }
            Figure::Runs => {
                let count = |rounds: &[Vec<Run>]| rounds.iter().map(Vec::len).sum::<usize>();
                let (count, ours) = (count(kernel) as f64, count(ours) as f64);
                let limit = (RUNS_PART * count).max(kernel.len() as f64);
                return row(count, ours, (count - ours).abs(), limit);
            }
            Figure::Budget => lengths,
            Figure::Gap => gaps,
        };
        let pairs = kernel.iter().zip(ours).flat_map(|(kernel, ours)| {
            let (kernel, ours) = (of(kernel), of(ours));
            kernel.into_iter().zip(ours).collect::<Vec<_>>()
        });
        let off = pairs.map(|(kernel, ours)| kernel.abs_diff(ours)).max().unwrap_or(0);
        let all = |rounds: &[Vec<Run>]| mean(rounds.iter().flat_map(|runs| of(runs)));
        row(all(kernel), all(ours), off as f64, TICK_NS as f64)
    }

    /// The runs of both sides, side by side.
    fn show(&self, text: &mut String) {
        let names = self.case.threads().unwrap_or_default();
        let rounds = self.cell.rounds.iter().zip(&self.ours).enumerate();
        for (number, (kernel, ours)) in rounds {
            let _ = writeln!(text, "== {} {} round {number}", self.case.name, self.cell.series);
            let window = &kernel.conditions;
            let tick_ns = (window.tick_phase_ns + TICK_NS - window.begin_ns % TICK_NS) % TICK_NS;
            let _ = writeln!(text, "ticks from {:.3}", tick_ns as f64 / 1e6);
            for (thread, name) in names.iter().enumerate() {
                for (side, runs) in [("kernel", &kernel.runs[thread]), ("ours", &ours[thread])] {
                    let _ = write!(text, "{name:<10} {side:<6}");
                    for run in runs.iter().take(400) {
                        let ms = |ns: u64| ns as f64 / 1e6;
                        let _ = write!(text, " {:.3}-{:.3}", ms(run.begin_ns), ms(run.end_ns));
                        if self.case.cpus > 1 {
                            let _ = write!(text, "@{}", run.cpu);
                        }
                    }
                    text.push('\n');
                }
            }
        }
        for row in self.rows().iter().filter(|row| !row.kept()) {
            let (figure, off) = (row.figure.name(), row.figure.value(row.off));
            let _ = writeln!(text, "NOT KEPT {} {figure}: off {off}", row.thread);
        }
    }
}

/// Both sides' runs of cases, for who looks for a cause.
pub(crate) fn show(cases: &Path, names: &[String], kernels: &[&str]) -> Result<String> {
    let mut text = String::new();
    for one in compare(cases, names, kernels)? {
        one.show(&mut text);
    }
    Ok(text)
}

impl Judged for Compared {
    fn case(&self) -> &str {
        &self.case.name
    }

    fn kernel(&self) -> (&str, &str) {
        (&self.cell.series, &self.cell.package)
    }

    fn limits(&self) -> Vec<Limit> {
        let limit = |row: Row| Limit {
            kept: row.kept(),
            figure: row.figure.name().to_owned(),
            of: row.thread,
        };
        self.rows().into_iter().map(limit).collect()
    }

    fn render(text: &mut String, name: &str, cells: &[&Self]) {
        render_case(text, name, cells);
    }
}

/// The page.
pub(crate) const PAGE: Page = Page { head: HEAD, note: "", causes: CAUSES, met: MET };

const HEAD: &str = "# Real time on real kernels and in Slicewise

*Written by `slicewise-lab rt`; do not edit.*

FIFO and RR, SCHED_DEADLINE, real-time throttling (6.1) and the fair server (6.12 and later): each case runs
on booted Debian kernels and in Slicewise. A *run* is how long a thread has a CPU without a sleep, an idle
CPU or another thread of the case in between. Its length is called *budget* here, what is between two runs,
or before the first, *gap*. The first run of the kernel is compared with the first of the simulation, the
second with the second, and so on. A run shorter than 0.1 ms that only one
side has is left out.

The simulation begins 3 s before the load. It is given the kernel's profile, 250 ticks a second and where
they are, the costs that were measured in the guest, when the threads of the case are made and first
woken, and when all other threads of the guest were woken and how long they ran. It is not told anything
that the scheduler decides: when a budget ends, a throttle begins or ends, or the fair server runs.

What is demanded, of each thread: the CPU share within 0.5 percentage points; as many runs, give or take
one a round or 1 %; **each single budget and each single gap within one tick (4 ms)**. \"Off\" is how far
the two sides are apart, of budgets and gaps the furthest pair; the other numbers are means.

| kernel | package | limits kept |
|---|---|---|
";

fn render_case(text: &mut String, name: &str, cells: &[&Compared]) {
    let question = &cells[0].case.question;
    let _ = write!(text, "\n## {name}\n\n{question}\n\n| thread | figure |");
    for one in cells {
        let _ = write!(text, " {} | ours | off |", one.cell.series);
    }
    let _ = write!(text, "\n|---|---|{}\n", "---:|---:|---:|".repeat(cells.len()));
    let rows: Vec<Vec<Row>> = cells.iter().map(|one| one.rows()).collect();
    // All cells of a case have the same rows.
    for at in 0..rows.first().map_or(0, Vec::len) {
        let first = &rows[0][at];
        let _ = write!(text, "| {} | {} |", first.thread, first.figure.name());
        for rows in &rows {
            let row = &rows[at];
            let mark = if row.kept() { "" } else { "**" };
            let value = |value| row.figure.value(value);
            let (kernel, ours, off) = (value(row.kernel), value(row.ours), value(row.off));
            let _ = write!(text, " {kernel} | {ours} | {mark}{off}{mark} |");
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fidelity::Causes;
    use crate::kernels::SERIES;
    use crate::page;

    /// The recorded kernels are the referee, without booting them. `rt --recorded` takes what has
    /// become better into the list.
    #[test]
    fn no_limit_that_was_kept_is_lost() {
        let lost = page::lost(&compare(Path::new(CASES), &[], SERIES).unwrap(), MET);
        assert!(lost.is_empty(), "kept before, not now:\n{}", lost.join("\n"));
    }

    #[test]
    fn the_file_of_causes_names_cases_and_kernels_that_exist() {
        let cases = select(Path::new(CASES), &[]).unwrap();
        for cause in Causes::read(Path::new(CAUSES)).unwrap().cause {
            for case in &cause.cases {
                assert!(cases.iter().any(|known| known.name == *case), "no case {case}");
            }
            assert!(cause.kernels.iter().all(|series| SERIES.contains(&series.as_str())));
        }
    }

    #[test]
    fn a_run_of_microseconds_that_one_side_has_alone_is_left_out() {
        let run = |begin_ms: u64, length_us: u64| {
            let begin_ns = begin_ms * 1_000_000;
            Run { begin_ns, end_ns: begin_ns + length_us * 1_000, cpu: 0 }
        };
        let kernel = [run(0, 90), run(10, 8), run(20, 3_000), run(40, 9)];
        let ours = [run(0, 110), run(20, 4_000)];
        let (left, right) = aligned(&kernel, &ours);
        assert_eq!(left, [kernel[0], kernel[2]]);
        assert_eq!(right, ours);
        // What is long stays, wherever it is.
        let (left, _) = aligned(&[run(10, 2_000)], &ours);
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn a_gap_is_from_the_end_of_a_run_to_the_begin_of_the_next() {
        let run = |begin_ns, end_ns| Run { begin_ns, end_ns, cpu: 0 };
        assert_eq!(gaps(&[run(3, 5), run(9, 10)]), [3, 4]);
        assert_eq!(lengths(&[run(3, 5), run(9, 10)]), [2, 1]);
    }
}
