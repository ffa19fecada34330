//! Kernel and Slicewise side by side, for the terminal.

use std::fmt::Write as _;

use crate::case::Case;
use crate::figures::Summary;
use crate::truth::Cell;
use crate::verdict;

/// The table of a case on a kernel; without Slicewise's side for a case that is not simulated.
pub(crate) fn render(case: &Case, cell: &Cell, ours: Option<&Summary>) -> String {
    let mut text =
        format!("{} on {} ({})\n{}\n", case.name, cell.series, cell.package, case.question.trim());
    let seconds = cell.kernel.window_ns as f64 / 1e9;
    let _ = writeln!(text, "measured: {seconds:.2} s in {} round(s)", cell.rounds.len());
    let _ = writeln!(
        text,
        "{:<12} {:<22} {:>12} {:>12}   error",
        "TASK", "FIGURE", "KERNEL", "SLICEWISE"
    );
    let nothing = Summary::default();
    let mut last = String::new();
    for row in verdict::rows(case, &cell.series, &cell.kernel, ours.unwrap_or(&nothing)) {
        let task = if row.task == last { "" } else { &row.task };
        let (error, met) = match ours {
            Some(_) => (row.error(), row.met),
            None => (String::new(), None),
        };
        let _ = writeln!(
            text,
            "{task:<12} {:<22} {:>12} {:>12}   {error}{}",
            row.figure.name(),
            row.figure.value(row.kernel),
            row.figure.value(ours.and(row.slicewise)),
            match met {
                Some(false) => "  NOT MET",
                _ => "",
            }
        );
        last = row.task;
    }
    if let Some(shadow) = &cell.shadow
        && let Some(percent) = shadow.percent()
    {
        let _ = writeln!(
            text,
            "shadow agreement: {percent:.2} % of {} picks ({} of {} with a choice)",
            shadow.picks, shadow.with_choice_agreed, shadow.with_choice
        );
    }
    text.push_str(&doubts(cell));
    text
}

/// What makes the kernel's side doubtful, if anything.
pub(crate) fn doubts(cell: &Cell) -> String {
    cell.doubts.iter().map(|doubt| format!("warning: {doubt}\n")).collect()
}
