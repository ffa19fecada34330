//! Kernel and Slicewise side by side.

use std::fmt::Write as _;

use crate::case::Case;
use crate::figures::{Figures, Group};
use crate::measure::Measured;

/// A value of both sides.
struct Row<'a> {
    task: &'a str,
    what: &'static str,
    kernel: f64,
    slicewise: f64,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    /// Of the window, in percent: the error is in points.
    Share,
    /// The error is in percent.
    PerSecond,
    /// The error is in microseconds and percent.
    Us,
}

fn rows<'a>(kernel: &'a Figures, slicewise: &'a Figures) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (real, ours) in kernel.groups.iter().zip(&slicewise.groups) {
        let mut row = |what, unit, of: &dyn Fn(&Figures, &Group) -> f64| {
            rows.push(Row {
                task: &real.name,
                what,
                kernel: of(kernel, real),
                slicewise: of(slicewise, ours),
                unit,
            });
        };
        let seconds = |figures: &Figures| (figures.window_ns.max(1)) as f64 / 1e9;
        row("CPU share", Unit::Share, &|figures, group| {
            100.0 * group.cpu_ns as f64 / 1e9 / seconds(figures)
        });
        row("voluntary switches", Unit::PerSecond, &|figures, group| {
            group.voluntary as f64 / seconds(figures)
        });
        row("involuntary switches", Unit::PerSecond, &|figures, group| {
            group.involuntary as f64 / seconds(figures)
        });
        if real.disturbed > 0 {
            row("… for kernel threads", Unit::PerSecond, &|figures, group| {
                group.disturbed as f64 / seconds(figures)
            });
        }
        if real.latency.count() > 0 || ours.latency.count() > 0 {
            let us = |ns: u64| ns as f64 / 1e3;
            row("wakeup latency p50", Unit::Us, &|_, group| us(group.latency.quantile_ns(500)));
            row("wakeup latency p99", Unit::Us, &|_, group| us(group.latency.quantile_ns(990)));
            row("wakeup latency max", Unit::Us, &|_, group| us(group.latency.max_ns()));
        }
        if real.job.count() > 0 || ours.job.count() > 0 {
            let us = |ns: u64| ns as f64 / 1e3;
            row("CPU of a job p50", Unit::Us, &|_, group| us(group.job.quantile_ns(500)));
        }
    }
    rows
}

fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Share => format!("{value:.2} %"),
        Unit::PerSecond => format!("{value:.1} /s"),
        Unit::Us => format!("{value:.0} us"),
    }
}

fn error(row: &Row<'_>) -> String {
    let difference = row.slicewise - row.kernel;
    let percent = match row.kernel.abs() > f64::EPSILON {
        true => format!("{:+.1} %", 100.0 * difference / row.kernel),
        false if difference.abs() <= f64::EPSILON => "+0.0 %".to_owned(),
        false => "new".to_owned(),
    };
    match row.unit {
        Unit::Share => format!("{difference:+.2} points"),
        Unit::PerSecond => percent,
        Unit::Us => format!("{difference:+.0} us, {percent}"),
    }
}

/// The table of a case on a kernel.
pub(crate) fn render(case: &Case, series: &str, measured: &Measured, ours: &Figures) -> String {
    let mut text = format!(
        "{} on {series} ({})\n{}\n",
        case.name,
        measured.package.trim(),
        case.question.trim()
    );
    let _ = writeln!(
        text,
        "measured: {:.2} s of the kernel, {:.2} s of Slicewise in {} run(s)",
        measured.figures.window_ns as f64 / 1e9,
        ours.window_ns as f64 / 1e9,
        case.runs
    );
    let _ = writeln!(
        text,
        "{:<12} {:<22} {:>12} {:>12}   error",
        "TASK", "FIGURE", "KERNEL", "SLICEWISE"
    );
    let mut last = "";
    for row in rows(&measured.figures, ours) {
        let task = if row.task == last { "" } else { row.task };
        last = row.task;
        let _ = writeln!(
            text,
            "{task:<12} {:<22} {:>12} {:>12}   {}",
            row.what,
            value(row.kernel, row.unit),
            value(row.slicewise, row.unit),
            error(&row)
        );
    }
    text.push_str(&doubts(measured));
    text
}

/// What makes the kernel's side doubtful, if anything.
pub(crate) fn doubts(measured: &Measured) -> String {
    let doubts = measured.doubts;
    let mut text = String::new();
    if !doubts.is_empty() {
        let _ = writeln!(
            text,
            "warning: the trace has lost {} events, {} lines that are no event, {} events of \
             other kinds, {} events out of order{}",
            doubts.lost,
            doubts.malformed,
            doubts.unknown,
            doubts.backwards,
            if doubts.truncated { ", and was cut off" } else { "" }
        );
    }
    if measured.log_doubts > 0 {
        let _ =
            writeln!(text, "warning: {} lines of rt-app's logs are broken", measured.log_doubts);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Row, Unit, error};

    #[test]
    fn errors_are_in_the_unit_of_the_tolerance() {
        let row = |kernel, slicewise, unit| Row { task: "", what: "", kernel, slicewise, unit };
        assert_eq!(error(&row(75.0, 75.25, Unit::Share)), "+0.25 points");
        assert_eq!(error(&row(200.0, 190.0, Unit::PerSecond)), "-5.0 %");
        assert_eq!(error(&row(100.0, 150.0, Unit::Us)), "+50 us, +50.0 %");
        assert_eq!(error(&row(0.0, 1.0, Unit::PerSecond)), "new");
    }
}
