//! `docs/fidelity-groups.md`: every case with cgroups on every kernel, beside Slicewise.

use std::fmt::Write as _;
use std::path::Path;

use rayon::prelude::*;

use super::figures::{Figure, GroupFigures, kept};
use super::{Cell, Figures, GroupCase, select, simulate};
use crate::failure::Result;
use crate::kernels::SERIES;
use crate::page::{Judged, Limit, Page};

/// Why cells stay short.
const CAUSES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/causes-groups.toml");
/// Which limits were kept when the truth was last compared.
const MET: &str = "met-groups.txt";

/// CPU share of a group: a percentage point.
const SHARE_POINTS: f64 = 1.0;
/// CPU time: 1 %.
const USAGE_PART: f64 = 0.01;
/// Periods, and throttled ones: one in 60.
const PERIODS_PART: f64 = 1.0 / 60.0;
/// Pressure: 5 %.
const PRESSURE_PART: f64 = 0.05;

/// A case on a kernel and in Slicewise.
#[derive(Debug)]
pub(crate) struct Compared {
    case: GroupCase,
    cell: Cell,
    ours: Figures,
}

/// A figure of a group, on both sides.
#[derive(Clone, Debug)]
struct Row {
    group: String,
    figure: String,
    kernel: f64,
    ours: f64,
    /// How far apart they may be.
    limit: Option<f64>,
}

impl Row {
    fn kept(&self) -> Option<bool> {
        self.limit.map(|limit| (self.kernel - self.ours).abs() <= limit)
    }
}

/// Simulates every recorded cell.
pub(crate) fn compare(cases: &Path) -> Result<Vec<Compared>> {
    let cases = select(cases, &[])?;
    let mut cells = Vec::new();
    for series in SERIES {
        for cell in kept(series)? {
            let case = cases.iter().find(|case| case.name == cell.case);
            cells.extend(case.map(|case| (case.clone(), cell)));
        }
    }
    let one = |(case, cell): (GroupCase, Cell)| {
        let ours = simulate(&case, &cell)?;
        Ok(Compared { case, cell, ours })
    };
    cells.into_par_iter().map(one).collect()
}

impl Compared {
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (group, kernel) in &self.cell.kernel.groups {
            let none = GroupFigures::default();
            let ours = self.ours.groups.get(group).unwrap_or(&none);
            rows.push(self.share(group, kernel, ours));
            for figure in Figure::ALL {
                let (kernel, ours) = (figure.of(kernel) as f64, figure.of(ours) as f64);
                // What neither side counts, and what 6.1 does not have, is left out.
                let missing = figure == Figure::LocalTime && self.cell.series == "6.1";
                if missing || (kernel == 0.0 && ours == 0.0) {
                    continue;
                }
                let limit = match figure {
                    Figure::Usage => Some(USAGE_PART * kernel),
                    Figure::Periods => Some((PERIODS_PART * kernel).max(1.0)),
                    Figure::Throttled => {
                        let of = self.cell.kernel.groups[group].nr_periods as f64;
                        Some((PERIODS_PART * of).max(1.0))
                    }
                    Figure::Some | Figure::Full => Some(PRESSURE_PART * kernel),
                    _ => None,
                };
                let (group, figure) = (group.clone(), figure.name().to_owned());
                rows.push(Row { group, figure, kernel, ours, limit });
            }
        }
        rows
    }

    /// Of all CPUs, in percent.
    fn share(&self, group: &str, kernel: &GroupFigures, ours: &GroupFigures) -> Row {
        let all_us = (self.cell.kernel.elapsed_us * u64::from(self.case.cpus)).max(1) as f64;
        let percent = |figures: &GroupFigures| 100.0 * figures.usage_us as f64 / all_us;
        Row {
            group: group.to_owned(),
            figure: "share".to_owned(),
            kernel: percent(kernel),
            ours: percent(ours),
            limit: Some(SHARE_POINTS),
        }
    }
}

impl Judged for Compared {
    fn case(&self) -> &str {
        &self.case.name
    }

    fn kernel(&self) -> (&str, &str) {
        (&self.cell.series, &self.cell.package)
    }

    fn limits(&self) -> Vec<Limit> {
        let limit = |row: Row| {
            let kept = row.kept()?;
            Some(Limit { of: row.group, figure: row.figure, kept })
        };
        self.rows().into_iter().filter_map(limit).collect()
    }

    fn render(text: &mut String, name: &str, cells: &[&Self]) {
        render_case(text, name, cells);
    }
}

/// The page.
pub(crate) const PAGE: Page = Page {
    head: HEAD,
    note: "\nA number in bold is further from the kernel's than it may be. What is not bold and has no \
           limit is only shown.\n",
    causes: CAUSES,
    met: MET,
};

const HEAD: &str = "# Groups on real kernels and in Slicewise

*Written by `slicewise-lab groups`; do not edit.*

Each case runs in cgroups (v2) of a booted Debian kernel, one process for each group, and as one scenario
in Slicewise. The files of all groups are read twice, some seconds apart; figures are the differences.
Nothing is recorded meanwhile. The simulation is given the kernel's profile, 250 ticks a second, the
costs that were measured in the guest, and nothing of what the kernel did. At which moments periods
begin is random from 6.3 on, there as here.

What is demanded: the share of all CPUs within 1 percentage point; `usage_usec` within 1 %; `nr_periods`
and `nr_throttled` within 1 in 60 periods; totals of `cpu.pressure` within 5 %.

| kernel | package | limits kept |
|---|---|---|
";

fn render_case(text: &mut String, name: &str, cells: &[&Compared]) {
    let question = &cells[0].case.question;
    let _ = write!(text, "\n## {name}\n\n{question}\n\n| group | figure |");
    for one in cells {
        let _ = write!(text, " {} | ours |", one.cell.series);
    }
    let _ = write!(text, "\n|---|---|{}\n", "---:|---:|".repeat(cells.len()));
    let rows: Vec<Vec<Row>> = cells.iter().map(|one| one.rows()).collect();
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for row in rows.iter().flatten() {
        let key = (row.group.as_str(), row.figure.as_str());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by_key(|key| key.0);
    for (group, figure) in keys {
        let _ = write!(text, "| {group} | {figure} |");
        for rows in &rows {
            match rows.iter().find(|row| row.group == group && row.figure == figure) {
                Some(row) => {
                    let mark = if row.kept() == Some(false) { "**" } else { "" };
                    let (kernel, ours) = (number(figure, row.kernel), number(figure, row.ours));
                    let _ = write!(text, " {kernel} | {mark}{ours}{mark} |");
                }
                None => text.push_str(" | |"),
            }
        }
        text.push('\n');
    }
}

fn number(figure: &str, value: f64) -> String {
    if figure == "share" { format!("{value:.2} %") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fidelity::Causes;
    use crate::page;

    /// The recorded kernels are the referee, without booting them. `groups --recorded` takes what has
    /// become better into the list.
    #[test]
    fn no_limit_that_was_kept_is_lost() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases-groups");
        let lost = page::lost(&compare(&cases).unwrap(), MET);
        assert!(lost.is_empty(), "kept before, not now:\n{}", lost.join("\n"));
    }

    #[test]
    fn the_file_of_causes_names_cases_and_kernels_that_exist() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases-groups");
        let cases = select(&directory, &[]).unwrap();
        for cause in Causes::read(Path::new(CAUSES)).unwrap().cause {
            for case in &cause.cases {
                assert!(cases.iter().any(|known| known.name == *case), "no case {case}");
            }
            assert!(cause.kernels.iter().all(|series| SERIES.contains(&series.as_str())));
        }
    }
}
