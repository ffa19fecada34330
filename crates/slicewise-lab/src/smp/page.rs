//! `docs/fidelity-smp.md`: every case with several CPUs on every kernel, by both clocks, beside Slicewise.

use std::fmt::Write as _;
use std::path::Path;

use rayon::prelude::*;

use super::figures::Figures;
use super::truth::{Round, kept};
use super::{Alike, ClockKind, SmpCase, SmpCell, select, simulate};
use crate::failure::Result;
use crate::kernels::SERIES;
use crate::page::{Judged, Limit, Page};

/// Where the cases are.
pub(crate) const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases-smp");
/// Why cells stay short.
const CAUSES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/causes-smp.toml");
/// Which limits were kept when the truth was last compared.
const MET: &str = "met-smp.txt";

/// CPU share of a thread: points of one CPU; of one that is bound to a CPU, where all are.
const SHARE_POINTS: f64 = 2.0;
const BOUND_POINTS: f64 = 0.5;
/// Migrations: a factor; and one more or less is none.
const MIGRATIONS_FACTOR: f64 = 2.0;

/// A case on a kernel and in Slicewise.
#[derive(Debug)]
pub(crate) struct Compared {
    case: SmpCase,
    /// By clock.
    sides: Vec<Side>,
}

/// A case by one clock.
#[derive(Debug)]
struct Side {
    cell: SmpCell,
    /// By round and seed.
    ours: Vec<Figures>,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Share,
    /// Of all threads of the case together.
    Migrations,
    /// Of all CPUs.
    Busy,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Migrations => "migrations",
            Self::Busy => "busy",
        }
    }

    fn value(self, value: f64) -> String {
        match self {
            Self::Share | Self::Busy => format!("{value:.2} %"),
            Self::Migrations => format!("{value:.1}"),
        }
    }
}

/// A mean, and how far its single values are apart.
#[derive(Clone, Copy, Debug)]
struct Figure {
    mean: f64,
    least: f64,
    most: f64,
}

impl Figure {
    fn of(values: &[f64]) -> Self {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { mean, least, most }
    }
}

/// A figure by one clock.
#[derive(Clone, Copy, Debug)]
struct ByClock {
    clock: ClockKind,
    kernel: Figure,
    ours: Figure,
    /// What makes the kernel's useless, whatever the other clock says.
    doubt: Option<Doubt>,
}

/// Why a figure of a kernel cannot be used to hold anybody to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doubt {
    /// It is another from run to run.
    Random,
    /// CPUs stood still, and nobody was charged.
    Lost,
    /// The clocks disagree.
    Clock,
}

/// A row of the page.
#[derive(Clone, Debug)]
struct Row {
    of: String,
    kind: Kind,
    by: Vec<ByClock>,
    /// How far apart; none for what is only shown.
    limit: Option<f64>,
}

impl Row {
    /// Whether two values are as close as they have to be.
    fn close(&self, one: f64, other: f64) -> bool {
        let Some(limit) = self.limit else { return true };
        match self.kind {
            Kind::Migrations => {
                let (less, more) = (one.min(other), one.max(other));
                more <= less * limit || more - less <= 1.0
            }
            Kind::Share | Kind::Busy => (one - other).abs() <= limit,
        }
    }

    /// Which clocks' figures count.
    fn judge(&mut self) {
        let random = |row: &Self, by: &ByClock| !row.close(by.kernel.least, by.kernel.most);
        for at in 0..self.by.len() {
            if self.by[at].doubt.is_none() && random(self, &self.by[at]) {
                self.by[at].doubt = Some(Doubt::Random);
            }
        }
        if let [one, other] = self.by[..]
            && one.doubt.is_none()
            && other.doubt.is_none()
            && !self.close(one.kernel.mean, other.kernel.mean)
        {
            for by in self.by.iter_mut().filter(|by| by.clock == ClockKind::Instructions) {
                by.doubt = Some(Doubt::Clock);
            }
        }
    }

    /// Whether the limit is kept; none if there is none, or nothing to hold it against.
    fn kept(&self) -> Option<bool> {
        self.limit?;
        let mut good = self.by.iter().filter(|by| by.doubt.is_none()).peekable();
        good.peek()?;
        Some(good.all(|by| self.close(by.kernel.mean, by.ours.mean)))
    }

    fn held(&self) -> String {
        if self.limit.is_none() {
            return String::new();
        }
        let good = self.by.iter().filter(|by| by.doubt.is_none());
        let good: Vec<&str> = good.map(|by| by.clock.name()).collect();
        if !good.is_empty() {
            return good.join(" and ");
        }
        let why = |by: &ByClock| match by.doubt {
            Some(Doubt::Random) => "random",
            Some(Doubt::Lost) => "time lost",
            Some(Doubt::Clock) => "clocks disagree",
            None => "",
        };
        let why: Vec<String> =
            self.by.iter().map(|by| format!("{} {}", by.clock.name(), why(by))).collect();
        format!("none: {}", why.join(", "))
    }
}

/// Simulates every recorded cell.
pub(crate) fn compare(cases: &Path) -> Result<Vec<Compared>> {
    let cases = select(cases, &[])?;
    let mut compared = Vec::new();
    for series in SERIES {
        let cells = kept(series)?;
        for case in &cases {
            let of_case = cells.iter().filter(|cell| cell.case == case.name);
            let of_case: Vec<SmpCell> = of_case.cloned().collect();
            if !of_case.is_empty() {
                compared.push((case.clone(), of_case));
            }
        }
    }
    let one = |(case, cells): (SmpCase, Vec<SmpCell>)| {
        let side = |cell: SmpCell| Ok(Side { ours: simulate::run(&case, &cell)?, cell });
        let sides = cells.into_iter().map(side).collect::<Result<_>>()?;
        Ok(Compared { case, sides })
    };
    compared.into_par_iter().map(one).collect()
}

/// Shares of threads that are alike, the largest first, in percent of a CPU.
fn ranked(figures: &Figures, alike: &Alike) -> Vec<f64> {
    let share = |name: &String| {
        let ran_ns = figures.tasks.get(name).map_or(0, |task| task.ran_ns);
        100.0 * ran_ns as f64 / figures.window_ns.max(1) as f64
    };
    let mut shares: Vec<f64> = alike.tasks.iter().map(share).collect();
    shares.sort_by(|a, b| b.total_cmp(a));
    shares
}

fn migrations(figures: &Figures) -> f64 {
    figures.tasks.values().map(|task| task.migrations).sum::<u64>() as f64
}

fn busy(figures: &Figures) -> f64 {
    100.0 * figures.idle.iter().map(|idle| 1.0 - idle).sum::<f64>()
}

/// What all other threads of the guest got, in percent of a CPU.
fn others(round: &Round) -> f64 {
    let conditions = &round.conditions;
    let stints = conditions.background.iter().flat_map(|background| &background.stints);
    let in_window = stints.filter(|stint| stint.woken_ns >= conditions.begin_ns);
    let ran_ns: u64 = in_window.map(|stint| stint.run_ns).sum();
    100.0 * ran_ns as f64 / round.figures.window_ns.max(1) as f64
}

/// Time that CPUs were not idle and nobody was charged for, in percent of a CPU.
fn lost(round: &Round) -> f64 {
    let figures = &round.figures;
    let own_ns: u64 = figures.tasks.values().map(|task| task.ran_ns).sum();
    busy(figures) - 100.0 * own_ns as f64 / figures.window_ns.max(1) as f64 - others(round)
}

impl Compared {
    fn first(&self) -> &SmpCell {
        &self.sides[0].cell
    }

    /// The most that a round of a clock has.
    fn most(&self, clock: ClockKind, of: impl Fn(&Round) -> f64) -> f64 {
        let side = self.sides.iter().find(|side| side.cell.clock == clock);
        let rounds = side.map_or(&[][..], |side| &side.cell.rounds);
        rounds.iter().map(of).fold(0.0, f64::max)
    }

    fn stolen(&self, clock: ClockKind) -> f64 {
        self.most(clock, |round| round.stolen)
    }

    fn rows(&self) -> Vec<Row> {
        let alike = self.case.alike().unwrap_or_default();
        let threads = alike.iter().map(|alike| alike.tasks.len()).sum::<usize>().max(1) as f64;
        let all_bound = alike.iter().all(|alike| alike.bound);
        let points = if all_bound { BOUND_POINTS } else { SHARE_POINTS };
        let mut rows = Vec::new();
        for alike in &alike {
            for rank in 0..alike.tasks.len() {
                let of = match alike.tasks.len() {
                    1 => alike.name.clone(),
                    _ => format!("{} {}", alike.name, rank + 1),
                };
                let value = |figures: &Figures| ranked(figures, alike)[rank];
                let limit = (!alike.given).then_some(points);
                rows.push(self.row(of, Kind::Share, limit, threads, value));
            }
        }
        let all = || "all".to_owned();
        rows.push(self.row(all(), Kind::Migrations, Some(MIGRATIONS_FACTOR), threads, migrations));
        rows.push(self.row(all(), Kind::Busy, None, threads, busy));
        rows
    }

    fn row(
        &self,
        of: String,
        kind: Kind,
        limit: Option<f64>,
        threads: f64,
        value: impl Fn(&Figures) -> f64,
    ) -> Row {
        let by = self.sides.iter().map(|side| {
            let clock = side.cell.clock;
            let kernel: Vec<f64> =
                side.cell.rounds.iter().map(|round| value(&round.figures)).collect();
            let ours: Vec<f64> = side.ours.iter().map(&value).collect();
            let is_lost = kind == Kind::Share
                && limit.is_some_and(|limit| self.most(clock, lost) / threads > limit);
            let doubt = is_lost.then_some(Doubt::Lost);
            ByClock { clock, kernel: Figure::of(&kernel), ours: Figure::of(&ours), doubt }
        });
        let mut row = Row { of, kind, by: by.collect(), limit };
        row.judge();
        row
    }
}

impl Judged for Compared {
    fn case(&self) -> &str {
        &self.case.name
    }

    fn kernel(&self) -> (&str, &str) {
        (&self.first().series, &self.first().package)
    }

    fn limits(&self) -> Vec<Limit> {
        let limit = |row: Row| {
            let kept = row.kept()?;
            Some(Limit { kept, figure: row.kind.name().to_owned(), of: row.of })
        };
        self.rows().into_iter().filter_map(limit).collect()
    }

    fn render(text: &mut String, name: &str, cells: &[&Self]) {
        render_case(text, name, cells);
    }
}

/// The page.
pub(crate) const PAGE: Page = Page { head: HEAD, note: NOTE, causes: CAUSES, met: MET };

const HEAD: &str = "# Several CPUs on real kernels and in Slicewise

*Written by `slicewise-lab smp`; do not edit.*

Each case runs on booted Debian kernels with 2 or 4 CPUs (one socket, as QEMU's machine says), three times 10 s,
each time at another place between two ticks, and in Slicewise. What a thread got and how often it moved is what
the kernel counted (`schedstat`, `se.nr_migrations`), shortly before the load begins and at its end. Switches
among the load's threads are not recorded.

The simulation is given the kernel's profile, the guest's CPUs, 250 ticks a second and where they are, the
costs that were measured in the guest, where the load's threads sleep and when they are first woken, when all other
threads of the guest were woken and how long they ran, and how long jobs of periodic threads take (their
shares are shown and not counted). It is not told who is moved, nor where anybody is later. Each run of a kernel is
simulated with three seeds.

Every case is run by two clocks, for there is no hardware help for virtual machines here:

* *instructions*: the guest's time is a count of instructions, and its CPUs take turns on one thread of the
  host. Runs do not depend on the host. But a CPU that waits for its turn stands still while the clock goes
  on: ticks are taken late, and a kernel thread of microseconds that has to wait for a turn is charged some
  milliseconds (below each table: what other threads than the load's got). Work is instructions too: a job
  takes the longer the more CPUs are busy.
* *free*: each of the guest's CPUs is a thread of the host, and time is the host's. CPUs run at once, as in
  life, unless the host is busy: *stolen* is the part of the time in which a CPU of the guest wanted to run
  and the host let it wait.

6.1 with several CPUs does not boot by instructions.

Threads that are alike (of one description in the case) are compared by rank: the largest share on the kernel
with the largest here, and so on. Who of them has it is chance. Numbers are means of the runs; behind ± is
half of how far the runs are apart. What is demanded: each share within 2 points of a CPU; within 0.5
where all threads of a case are bound to a CPU; migrations of all threads together within a factor of 2 (or 1
apart).

**What counts.** A kernel's figure cannot hold anybody to it if three runs of the same kernel are further apart
than the limit (\"random\"), or if more time than the limit was charged to nobody, for each thread of the case
(\"time lost\"). Where both clocks repeat and agree, both count. Where both repeat and do not agree, QEMU's
clock decides the figure, and the free-running one counts alone: what is stolen differs from run to run, and
what it changed would not repeat. The last column says which count; a row without any is shown and not
counted.

| kernel | package | limits kept |
|---|---|---|
";

const NOTE: &str = "\nA number in bold is further from the kernel's than it may be.\n";

fn render_case(text: &mut String, name: &str, cells: &[&Compared]) {
    let question = &cells[0].case.question;
    let _ = write!(
        text,
        "\n## {name}\n\n{question}\n\n\
         | kernel | threads | figure | instructions | ours | free | ours | counts |\n\
         |---|---|---|---:|---:|---:|---:|---|\n"
    );
    for one in cells {
        for row in one.rows() {
            let _ = write!(text, "| {} | {} | {} |", one.first().series, row.of, row.kind.name());
            for clock in ClockKind::ALL {
                let Some(by) = row.by.iter().find(|by| by.clock == clock) else {
                    text.push_str(" | |");
                    continue;
                };
                let far = !row.close(by.kernel.mean, by.ours.mean);
                let mark = if by.doubt.is_none() && far { "**" } else { "" };
                let number = |figure: Figure| {
                    let half = (figure.most - figure.least) / 2.0;
                    format!("{} ± {half:.1}", row.kind.value(figure.mean))
                };
                let (kernel, ours) = (number(by.kernel), number(by.ours));
                let _ = write!(text, " {kernel} | {mark}{ours}{mark} |");
            }
            let _ = writeln!(text, " {} |", row.held());
        }
    }
    text.push('\n');
    for one in cells {
        let said = one.sides.iter().map(|side| {
            let clock = side.cell.clock;
            let (lost, others) = (one.most(clock, lost), one.most(clock, others));
            let stolen = match clock {
                ClockKind::Instructions => String::new(),
                ClockKind::Free => format!(", stolen {:.0} %", 100.0 * one.stolen(clock)),
            };
            format!("{}: other threads {others:.1} %, nobody {lost:.1} %{stolen}", clock.name())
        });
        let said: Vec<String> = said.collect();
        let _ = writeln!(
            text,
            "* {}, at most, of a CPU's time: {}",
            one.first().series,
            said.join("; ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fidelity::Causes;
    use crate::page;

    /// The recorded kernels are the referee, without booting them. `smp --recorded` takes what has
    /// become better into the list.
    #[test]
    fn no_limit_that_was_kept_is_lost() {
        let lost = page::lost(&compare(Path::new(CASES)).unwrap(), MET);
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

    fn row(kind: Kind, limit: f64, by: &[(ClockKind, [f64; 2], f64)]) -> Row {
        let by = by.iter().map(|(clock, kernel, ours)| ByClock {
            clock: *clock,
            kernel: Figure::of(kernel),
            ours: Figure::of(&[*ours]),
            doubt: None,
        });
        let mut row = Row { of: String::new(), kind, by: by.collect(), limit: Some(limit) };
        row.judge();
        row
    }

    #[test]
    fn a_figure_that_does_not_repeat_holds_nobody() {
        use ClockKind::{Free, Instructions};
        let by = [(Instructions, [50.0, 53.0], 50.0), (Free, [50.0, 51.0], 52.0)];
        let one = row(Kind::Share, 2.0, &by);
        assert_eq!(one.by[0].doubt, Some(Doubt::Random));
        assert_eq!((one.held().as_str(), one.kept()), ("free", Some(true)));
        let none = row(Kind::Share, 2.0, &by[..1]);
        assert_eq!((none.held().as_str(), none.kept()), ("none: instructions random", None));
    }

    #[test]
    fn where_the_clocks_disagree_the_free_one_counts() {
        use ClockKind::{Free, Instructions};
        let by = [(Instructions, [50.0, 51.0], 50.5), (Free, [60.0, 61.0], 50.5)];
        let one = row(Kind::Share, 2.0, &by);
        assert_eq!((one.held().as_str(), one.kept()), ("free", Some(false)));
    }

    #[test]
    fn migrations_are_within_a_factor_or_one_apart() {
        let by = |ours| [(ClockKind::Free, [20.0, 22.0], ours)];
        assert_eq!(row(Kind::Migrations, 2.0, &by(42.0)).kept(), Some(true));
        assert_eq!(row(Kind::Migrations, 2.0, &by(43.0)).kept(), Some(false));
        let few = [(ClockKind::Free, [0.0, 1.0], 1.5)];
        assert_eq!(row(Kind::Migrations, 2.0, &few).kept(), Some(true));
    }
}
