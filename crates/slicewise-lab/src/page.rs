//! What the pages of the lab's families (groups, real time) have in common: limits that are kept or
//! not, by case and kernel, why not, and the list of those that are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::fidelity::{Cause, Causes};
use crate::kernels::SERIES;
use crate::truth::DIRECTORY;

/// A figure with a limit.
pub(crate) struct Limit {
    /// Whose figure: a group, a thread.
    pub(crate) of: String,
    /// Which.
    pub(crate) figure: String,
    /// The two sides are no further apart than they may be.
    pub(crate) kept: bool,
}

/// A case on a kernel and in Slicewise.
pub(crate) trait Judged {
    /// The case's name.
    fn case(&self) -> &str;
    /// The kernel, as users call it, and its package.
    fn kernel(&self) -> (&str, &str);
    /// Everything that has a limit.
    fn limits(&self) -> Vec<Limit>;
    /// A case on all its kernels, as the page shows it.
    fn render(text: &mut String, name: &str, cells: &[&Self]);
}

/// A family's page.
pub(crate) struct Page {
    /// What comes before the table of kernels, with the head of that.
    pub(crate) head: &'static str,
    /// What comes after it.
    pub(crate) note: &'static str,
    /// The file of causes.
    pub(crate) causes: &'static str,
    /// The list of what is kept, in the truth's directory.
    pub(crate) met: &'static str,
}

impl Page {
    /// Writes the page and the list of what is kept; how many limits are not.
    pub(crate) fn write<J: Judged>(&self, compared: &[J], page: &Path) -> Result<usize> {
        let (text, short) = self.render(compared, &Causes::read(Path::new(self.causes))?);
        fs::write(page, text).map_err(|error| Failure::file("write", page, &error))?;
        let list: String = met(compared).into_iter().map(|line| line + "\n").collect();
        let path = Path::new(DIRECTORY).join(self.met);
        fs::write(&path, list).map_err(|error| Failure::file("write", &path, &error))?;
        Ok(short)
    }

    fn render<J: Judged>(&self, compared: &[J], causes: &Causes) -> (String, usize) {
        let mut by_case: BTreeMap<&str, Vec<&J>> = BTreeMap::new();
        // By kernel: kept, all.
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for one in compared {
            by_case.entry(one.case()).or_default().push(one);
            let (kept, all) = counts.entry(one.kernel().0).or_default();
            let limits = one.limits();
            *kept += limits.iter().filter(|limit| limit.kept).count();
            *all += limits.len();
        }
        let mut text = String::from(self.head);
        for series in SERIES {
            let Some((kept, all)) = counts.get(series) else { continue };
            let package = compared.iter().map(J::kernel).find(|(of, _)| of == series);
            let package = package.map_or("", |(_, package)| package);
            let _ = writeln!(text, "| {series} | {package} | {kept} of {all} |");
        }
        text.push_str(self.note);
        for (name, cells) in by_case {
            J::render(&mut text, name, &cells);
            render_causes(&mut text, &cells, causes);
        }
        (text, counts.values().map(|(kept, all)| all - kept).sum())
    }
}

/// The limits that are kept, one a line: `case kernel whose: figure`.
pub(crate) fn met<J: Judged>(compared: &[J]) -> BTreeSet<String> {
    let mut met = BTreeSet::new();
    for one in compared {
        for limit in one.limits().into_iter().filter(|limit| limit.kept) {
            met.insert(format!("{} {} {}: {}", one.case(), one.kernel().0, limit.of, limit.figure));
        }
    }
    met
}

/// Why limits of a case are not kept: each cause once, with what it is for.
fn render_causes<J: Judged>(text: &mut String, cells: &[&J], causes: &Causes) {
    let mut said: Vec<(&str, Vec<String>)> = Vec::new();
    for one in cells {
        let series = one.kernel().0;
        for limit in one.limits().into_iter().filter(|limit| !limit.kept) {
            let fits = |cause: &&Cause| cause.covers(one.case(), series, &limit.figure);
            let cause = causes.cause.iter().find(fits);
            let cause = cause.map_or("No cause is known.", |cause| cause.text.trim());
            let cell = format!("{series} {}: {}", limit.of, limit.figure);
            match said.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, cells)) => cells.push(cell),
                None => said.push((cause, vec![cell])),
            }
        }
    }
    for (cause, cells) in said {
        let _ = writeln!(text, "\n*Not kept*: {}. {cause}", cells.join("; "));
    }
}

/// What was kept when the truth was last compared and is not now. For tests: the recorded kernels are
/// the referee, without booting them.
#[cfg(test)]
pub(crate) fn lost<J: Judged>(compared: &[J], list: &str) -> Vec<String> {
    let now = met(compared);
    let before = fs::read_to_string(Path::new(DIRECTORY).join(list)).unwrap();
    assert!(before.lines().count() > 100, "the list of what is kept is nearly empty");
    before.lines().filter(|line| !now.contains(*line)).map(str::to_owned).collect()
}
