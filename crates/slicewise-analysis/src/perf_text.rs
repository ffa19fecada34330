//! The layouts of `perf sched`, to the letter: scripts read them.

use std::fmt::Write as _;

use crate::latency::{LatencyReport, LatencyRow};

/// ` ----…`, as long as the table of `perf sched latency`.
const LINE: usize = 139;
const TASK_COLUMNS: usize = 24;

/// Seconds with microseconds, cut off, as `perf` prints times.
pub fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1_000)
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// The table of `perf sched latency`.
pub fn latency_text(report: &LatencyReport) -> String {
    let mut text = String::new();
    let line = "-".repeat(LINE);
    let _ = write!(
        text,
        "\n {line}\n  Task                  |   Runtime ms  | Switches | Avg delay ms    | Max delay ms    \
         | Max delay start           | Max delay end          |\n {line}\n"
    );
    for row in &report.rows {
        latency_row(row, &mut text);
    }
    let _ = write!(
        text,
        " {}\n  TOTAL:                |{:11.3} ms |{:9} |\n {}\n",
        "-".repeat(113),
        ms(report.total_runtime_ns),
        report.total_delays,
        "-".repeat(51)
    );
    let share = |part: u64, of: u64| part as f64 * 100.0 / of as f64;
    if report.unordered_wakeups > 0 && report.wakeups > 0 {
        let (part, of) = (report.unordered_wakeups, report.wakeups);
        let _ = writeln!(
            text,
            "  INFO: {:.3}% unordered timestamps ({part} out of {of})",
            share(part, of)
        );
    }
    if report.lost_events > 0 && report.events > 0 {
        let (part, of) = (report.lost_events, report.events);
        let _ = writeln!(
            text,
            "  INFO: {:.3}% lost events ({part} out of {of}, in {} chunks)",
            share(part, of),
            report.lost_chunks
        );
    }
    if report.context_switch_bugs > 0 && report.wakeups > 0 {
        let (part, of) = (report.context_switch_bugs, report.wakeups);
        let lost = if report.lost_events > 0 { " (due to lost events?)" } else { "" };
        let _ = writeln!(
            text,
            "  INFO: {:.3}% context switch bugs ({part} out of {of}){lost}",
            share(part, of)
        );
    }
    text.push('\n');
    text
}

fn latency_row(row: &LatencyRow, text: &mut String) {
    let task = match row.tasks {
        1 => format!("  {}:{} ", row.comm, row.pid),
        tasks => format!("  {}:({tasks}) ", row.comm),
    };
    let _ = writeln!(
        text,
        "{task:TASK_COLUMNS$}|{:11.3} ms |{:9} | avg:{:8.3} ms | max:{:8.3} ms | max start: {:>12} s | max \
         end: {:>12} s",
        ms(row.runtime_ns),
        row.delays,
        // In whole ns, as perf divides.
        ms(row.mean_ns()),
        ms(row.max.delay_ns),
        seconds(row.max.start_ns),
        seconds(row.max.end_ns),
    );
}
