//! A worst case as a drawing.

use std::collections::BTreeMap;

use slicewise_rtcheck::{TaskSet, Timeline, show_ns};

use crate::text::shown_name;

const COLUMNS: u64 = 64;

/// Rows of tasks over time: `█` runs, `·` waits, `↑` released here, blank: nothing to do.
pub(super) fn draw(set: &TaskSet, timeline: &Timeline) -> String {
    let due_ns = u64::try_from(timeline.due_ns).unwrap_or(0);
    let span_ns = timeline.end_ns.max(due_ns).max(1);
    let cell_ns = span_ns.div_ceil(COLUMNS);
    let columns = span_ns.div_ceil(cell_ns) as usize;
    let column = |ns: u64| ((ns / cell_ns) as usize).min(columns - 1);
    let names: BTreeMap<usize, String> =
        timeline.rows.iter().map(|at| (*at, shown_name(&set.tasks[*at].name))).collect();
    let blocked = timeline.stretches.iter().any(|(task, _)| task.is_none());
    let widest = names.values().map(|name| name.chars().count()).max().unwrap_or(0);
    let widest = widest.max(if blocked { BLOCKING.len() } else { 0 });
    let mut out = String::new();
    if blocked {
        out.push_str(&row(timeline, None, BLOCKING, widest, &vec![' '; columns], cell_ns));
    }
    for at in &timeline.rows {
        let mut cells = vec![' '; columns];
        for (_, ready_ns) in timeline.releases.iter().filter(|(task, _)| task == at) {
            // Waiting from its release until it runs for the last time for this job.
            let done_ns = timeline
                .stretches
                .iter()
                .filter(|(task, stretch)| *task == Some(*at) && stretch.start_ns >= *ready_ns)
                .map(|(_, stretch)| stretch.start_ns)
                .next()
                .unwrap_or(timeline.end_ns);
            for cell in &mut cells[column(*ready_ns)..=column(done_ns)] {
                *cell = '·';
            }
        }
        if *at == timeline.task {
            let from = column(u64::try_from(timeline.release_ns).unwrap_or(0));
            for cell in &mut cells[from..=column(timeline.end_ns.saturating_sub(1))] {
                *cell = '·';
            }
        }
        out.push_str(&row(timeline, Some(*at), &names[at], widest, &cells, cell_ns));
    }
    let mut marks = vec![' '; columns + 1];
    if timeline.due_ns >= 0 {
        marks[column(due_ns)] = '!';
    }
    let marks: String = marks.into_iter().collect();
    let late = if timeline.ended && timeline.due_ns < i128::from(timeline.end_ns) {
        format!(", {} late", show_ns(timeline.end_ns.saturating_sub(due_ns)))
    } else {
        String::new()
    };
    out.push_str(&format!("{:widest$}  {}\n", "", marks.trim_end()));
    out.push_str(&format!(
        "{:widest$}  0 to {}, {} a column; ! is the deadline at {}{late}\n",
        "",
        show_ns(span_ns),
        show_ns(cell_ns),
        show_ns(due_ns),
    ));
    out
}

const BLOCKING: &str = "(blocking)";

/// A row: more than half of a column makes it run, and so does the most of it.
fn row(
    timeline: &Timeline,
    task: Option<usize>,
    name: &str,
    widest: usize,
    waiting: &[char],
    cell_ns: u64,
) -> String {
    let mut used_ns = vec![0_u64; waiting.len()];
    for (_, stretch) in timeline.stretches.iter().filter(|(whose, _)| *whose == task) {
        let mut from_ns = stretch.start_ns;
        while from_ns < stretch.end_ns {
            let cell = from_ns / cell_ns;
            let to_ns = stretch.end_ns.min((cell + 1) * cell_ns);
            if let Some(used_ns) = used_ns.get_mut(cell as usize) {
                *used_ns += to_ns - from_ns;
            }
            from_ns = to_ns;
        }
    }
    let cells = waiting.iter().zip(used_ns).map(|(waits, used_ns)| match used_ns {
        0 => *waits,
        used_ns if used_ns * 2 >= cell_ns => '█',
        _ => '▌',
    });
    let cells: String = cells.collect();
    format!("{name:<widest$}  {}\n", cells.trim_end())
}
