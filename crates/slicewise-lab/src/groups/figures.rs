//! What the files of cgroups say, and what is kept of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::GroupCase;
use crate::failure::{Failure, Result};

/// What a group did between two moments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct GroupFigures {
    pub(crate) usage_us: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) nr_periods: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) nr_throttled: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) throttled_us: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) nr_bursts: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) burst_us: u64,
    /// `cpu.stat.local`, where the kernel has it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) throttled_local_us: u64,
    pub(crate) some_us: u64,
    pub(crate) full_us: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// All groups of a case between two moments; the root is not among them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) elapsed_us: u64,
    pub(crate) groups: BTreeMap<String, GroupFigures>,
}

impl Figures {
    /// What came on top of what was there before.
    pub(super) fn since(&self, before: &Self) -> Self {
        let less = |path: &String, now: &GroupFigures| {
            let before = before.groups.get(path).copied().unwrap_or_default();
            let mut figures = GroupFigures::default();
            for figure in Figure::ALL {
                *figure.of_mut(&mut figures) = figure.of(now).saturating_sub(figure.of(&before));
            }
            (path.clone(), figures)
        };
        Self {
            elapsed_us: self.elapsed_us.saturating_sub(before.elapsed_us),
            groups: self.groups.iter().map(|(path, now)| less(path, now)).collect(),
        }
    }
}

/// A number of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Figure {
    Usage,
    Periods,
    Throttled,
    ThrottledTime,
    Bursts,
    BurstTime,
    LocalTime,
    Some,
    Full,
}

impl Figure {
    pub(crate) const ALL: [Self; 9] = [
        Self::Usage,
        Self::Periods,
        Self::Throttled,
        Self::ThrottledTime,
        Self::Bursts,
        Self::BurstTime,
        Self::LocalTime,
        Self::Some,
        Self::Full,
    ];

    /// As the kernel's files call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage_usec",
            Self::Periods => "nr_periods",
            Self::Throttled => "nr_throttled",
            Self::ThrottledTime => "throttled_usec",
            Self::Bursts => "nr_bursts",
            Self::BurstTime => "burst_usec",
            Self::LocalTime => "local throttled_usec",
            Self::Some => "pressure some",
            Self::Full => "pressure full",
        }
    }

    fn named(file: &str, name: &str) -> Option<Self> {
        Some(match (file, name) {
            ("cpu.stat.local", "throttled_usec") => Self::LocalTime,
            ("cpu.pressure", "some") => Self::Some,
            ("cpu.pressure", "full") => Self::Full,
            ("cpu.stat", name) => *Self::ALL.iter().find(|figure| figure.name() == name)?,
            _ => return None,
        })
    }

    pub(crate) fn of(self, figures: &GroupFigures) -> u64 {
        *self.of_mut(&mut figures.clone())
    }

    fn of_mut(self, figures: &mut GroupFigures) -> &mut u64 {
        match self {
            Self::Usage => &mut figures.usage_us,
            Self::Periods => &mut figures.nr_periods,
            Self::Throttled => &mut figures.nr_throttled,
            Self::ThrottledTime => &mut figures.throttled_us,
            Self::Bursts => &mut figures.nr_bursts,
            Self::BurstTime => &mut figures.burst_us,
            Self::LocalTime => &mut figures.throttled_local_us,
            Self::Some => &mut figures.some_us,
            Self::Full => &mut figures.full_us,
        }
    }
}

/// A case on a kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) case: String,
    pub(crate) series: String,
    /// The package with its version.
    pub(crate) package: String,
    pub(crate) kernel: Figures,
}

/// One reading of all files: the time, and all groups below the root.
fn reading(text: &str) -> Option<(u64, Figures)> {
    let mut lines = text.lines();
    let now_ns: u64 = lines.next()?.strip_prefix("clock_ns ")?.parse().ok()?;
    let mut figures = Figures { elapsed_us: now_ns / 1_000, ..Figures::default() };
    let (mut group, mut file) = ("", "");
    for line in lines {
        if let Some(head) = line.strip_prefix("== ") {
            let (path, name) = head.rsplit_once(' ')?;
            (group, file) = (path.trim_matches('/'), name);
            continue;
        }
        let (name, rest) = line.split_once(' ')?;
        let number = rest.rsplit_once("total=").map_or(rest, |(_, total)| total);
        let number = number.trim().parse().ok()?;
        if let Some(figure) = Figure::named(file, name).filter(|_| !group.is_empty()) {
            *figure.of_mut(figures.groups.entry(group.to_owned()).or_default()) = number;
        }
    }
    Some((now_ns, figures))
}

fn difference(before: &str, after: &str) -> Option<Figures> {
    let ((begin_ns, before), (end_ns, after)) = (reading(before)?, reading(after)?);
    let elapsed_us = end_ns.checked_sub(begin_ns)? / 1_000;
    Some(Figures { elapsed_us, ..after.since(&before) })
}

/// What came back from a guest.
pub(super) fn read(case: &GroupCase, series: &str, results: &Path) -> Result<Cell> {
    let text = |name: &str| {
        let path = results.join(name);
        fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))
    };
    let said = text("0/stdout.txt")?;
    if let Some(line) = said.lines().find(|line| line.contains("cannot write")) {
        return Err(Failure::new(format!("case {} on {series}: the guest {line}", case.name)));
    }
    let kernel = difference(&text("0/before.txt")?, &text("0/after.txt")?).ok_or_else(|| {
        Failure::with_help(
            format!("case {} on {series}: the files of its cgroups cannot be read", case.name),
            format!("see {}", results.display()),
        )
    })?;
    let (name, series) = (case.name.clone(), series.to_owned());
    Ok(Cell { case: name, series, package: text("package.txt")?, kernel })
}

/// The truth in the repository, by kernel.
fn path(series: &str) -> PathBuf {
    Path::new(crate::truth::DIRECTORY).join(format!("groups-{series}.json"))
}

/// The cells of a kernel; none if it has not been recorded.
pub(crate) fn kept(series: &str) -> Result<Vec<Cell>> {
    let path = path(series);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?;
    serde_json::from_slice(&text).map_err(|error| {
        Failure::with_help(
            format!("{} is broken: {error}", path.display()),
            "record it again: `groups`",
        )
    })
}

/// Keeps a cell beside those that are there already, or in the place of an older one.
pub(crate) fn keep(cell: Cell) -> Result<()> {
    let mut cells = kept(&cell.series)?;
    let path = path(&cell.series);
    cells.retain(|old| old.case != cell.case);
    cells.push(cell);
    cells.sort_by(|a, b| a.case.cmp(&b.case));
    let lines: Vec<String> = cells.iter().map(|cell| serde_json::json!(cell).to_string()).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    fs::write(&path, text).map_err(|error| Failure::file("write", &path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_differences_of_what_the_files_read() {
        let text = |at: u64, usage: u64, some: u64| {
            format!(
                "clock_ns {at}\n== /a/b cpu.stat\nusage_usec {usage}\nnr_periods 3\n\
                 == /a/b cpu.pressure\nsome avg10=1.00 avg60=0.50 avg300=0.10 total={some}\n\
                 full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n== / cpu.stat\nusage_usec 9\n"
            )
        };
        let found = difference(&text(1_000, 5, 10), &text(3_001_000, 905, 17)).unwrap();
        let expected = GroupFigures { usage_us: 900, some_us: 7, ..GroupFigures::default() };
        assert_eq!(found.elapsed_us, 3_000);
        assert_eq!(found.groups, BTreeMap::from([("a/b".to_owned(), expected)]));
        assert_eq!(difference("clock", ""), None);
    }
}
