//! From sums to a report.

use rustc_hash::FxHashMap;
use slicewise_report::{
    Histogram, SummaryCpu, SummaryDelay, SummaryMatrix, SummaryReport, SummaryRow,
};

use super::bins::Bins;
use super::rows::{Key, Pair, Row, RowId};
use super::{Doing, Summary, SummaryBy};
use crate::perf_text::seconds;
use crate::threads::Threads;

/// Waits on a queue that turns out to be another's are worth a note from this part on.
const MISPLACED_PER_CENT: u64 = 1;

/// So many that wait still are named.
const WAITING_STILL_MAX: usize = 3;

pub(super) fn of(summary: &Summary, threads: &Threads) -> SummaryReport {
    let (begin_ns, end_ns) = (summary.begin_ns(), summary.end_ns());
    let span_ns = end_ns - begin_ns;
    let shift = Bins::shift_for(span_ns);
    let ranked = summary.rows.ranked();
    let (top, rest) = ranked.split_at(summary.options.top.min(ranked.len()));
    let figures = |row: &Row| figures(row, summary, shift, span_ns);
    let rows = top.iter().map(|id| {
        let mut row = figures(summary.rows.row(*id));
        (row.name, row.tid, row.pid) = name(summary, threads, *id);
        row
    });
    let rows = rows.collect();
    let mut others = summary.rows.row(RowId::OTHERS).clone();
    rest.iter().for_each(|id| others.merge(summary.rows.row(*id)));
    let others = (others.tasks > 0).then(|| {
        let mut row = figures(&others);
        row.name = "others".to_owned();
        row
    });
    let cpus: Vec<SummaryCpu> = (0..)
        .zip(&summary.cpus)
        .filter(|(cpu, of_cpu)| summary.wants(*cpu) && of_cpu.since_ns.is_some())
        .map(|(cpu, of_cpu)| SummaryCpu {
            cpu,
            known_ns: of_cpu.known_ns,
            busy_ns: of_cpu.busy_ns,
            share: share(of_cpu.busy_ns, of_cpu.known_ns),
            switches: of_cpu.switches,
            utilisation: of_cpu.bins.shares(shift, span_ns),
        })
        .collect();
    SummaryReport {
        begin_ns,
        end_ns,
        events: summary.events,
        switches: cpus.iter().map(|cpu| cpu.switches).sum(),
        lost_events: summary.lost_events,
        by: summary.options.by.word(),
        bin_ns: 1 << shift,
        cpus,
        rows,
        others,
        sched_delay_ns: delay(&summary.delays),
        matrix: matrix(summary, threads),
        notes: notes(summary, threads),
    }
}

fn share(part_ns: u64, whole_ns: u64) -> f64 {
    if whole_ns == 0 { 0.0 } else { part_ns as f64 / whole_ns as f64 }
}

fn delay(delays: &Histogram) -> SummaryDelay {
    SummaryDelay {
        count: delays.count(),
        sum: delays.sum_ns(),
        mean: delays.mean_ns(),
        p50: delays.quantile_ns(500),
        p95: delays.quantile_ns(950),
        p99: delays.quantile_ns(990),
        max: delays.max_ns(),
    }
}

fn figures(row: &Row, summary: &Summary, shift: u32, span_ns: u64) -> SummaryRow {
    SummaryRow {
        tasks: row.tasks,
        run_ns: row.run_ns,
        share: share(row.run_ns, span_ns),
        utilisation: row.bins.shares(shift, span_ns),
        wakeups: row.wakeups,
        switches: row.switches,
        left: row.left,
        // Not every recording has the events.
        migrations: match summary.migration_events {
            0 => row.cpu_changes,
            _ => row.migrations,
        },
        sched_delay_ns: delay(&row.delays),
        ..SummaryRow::default()
    }
}

/// Its name, task and process.
fn name(summary: &Summary, threads: &Threads, id: RowId) -> (String, Option<i32>, Option<i32>) {
    let known = |tgid: i32| Some(tgid).filter(|tgid| *tgid > 0);
    match summary.rows.key(id) {
        Key::Task(task) => {
            let thread = &threads[task];
            (thread.name(), Some(thread.tid), known(thread.tgid))
        }
        Key::Process(pid) => {
            let name = threads.get(pid).map(|task| threads[task].name());
            (name.unwrap_or_else(|| format!(":{pid}")), None, Some(pid))
        }
        Key::Comm(comm) if comm.as_bytes().is_empty() => ("no name".to_owned(), None, None),
        Key::Comm(comm) => (comm.to_text(), None, None),
        Key::Group(group) => (summary.groups[group as usize].clone(), None, None),
        Key::NoGroup => ("unknown group".to_owned(), None, None),
        Key::Others => ("others".to_owned(), None, None),
        Key::Idle => ("<idle>".to_owned(), None, None),
        Key::Unknown => ("unknown".to_owned(), None, None),
    }
}

/// Those who waited longest, and those who made others wait longest; the rest together.
fn matrix(summary: &Summary, threads: &Threads) -> SummaryMatrix {
    let pairs = summary.rows.pairs();
    let mut totals: [FxHashMap<RowId, u64>; 2] = [FxHashMap::default(), FxHashMap::default()];
    for ((waiter, runner), pair) in &pairs {
        *totals[0].entry(*waiter).or_default() += pair.wait_ns;
        *totals[1].entry(*runner).or_default() += pair.wait_ns;
    }
    let ranked = summary.rows.ranked();
    let [waiters, runners] = totals.map(|totals| {
        let special = [RowId::OTHERS, RowId::IDLE, RowId::UNKNOWN];
        // The order of rows is that of the trace; that of a map is nobody's.
        let mut named: Vec<RowId> =
            ranked.iter().copied().filter(|id| totals.get(id).is_some_and(|ns| *ns > 0)).collect();
        named.sort_by_key(|id| std::cmp::Reverse(totals[id]));
        let cut = named.len() > summary.options.top;
        named.truncate(summary.options.top);
        let special = special.into_iter().filter(|id| {
            let some = totals.get(id).is_some_and(|ns| *ns > 0);
            some || (*id == RowId::OTHERS && cut)
        });
        named.extend(special);
        named
    });
    let place = |list: &[RowId], id: RowId| {
        let found = list.iter().position(|known| *known == id);
        found.or_else(|| list.iter().position(|known| *known == RowId::OTHERS))
    };
    let mut cells = vec![vec![Pair::default(); runners.len()]; waiters.len()];
    for ((waiter, runner), pair) in &pairs {
        if let (Some(row), Some(column)) = (place(&waiters, *waiter), place(&runners, *runner)) {
            cells[row][column].wait_ns += pair.wait_ns;
            cells[row][column].preemptions += pair.preemptions;
        }
    }
    let numbered = summary.options.by == SummaryBy::Task;
    let names = |list: &[RowId]| {
        let shown = |id: &RowId| match name(summary, threads, *id) {
            (name, Some(tid), _) if numbered => format!("{name}:{tid}"),
            (name, _, Some(pid)) => format!("{name}:{pid}"),
            (name, ..) => name,
        };
        list.iter().map(shown).collect()
    };
    let values = |of: fn(&Pair) -> u64| {
        cells.iter().map(|row| row.iter().map(of).collect()).collect::<Vec<Vec<u64>>>()
    };
    SummaryMatrix {
        waiters: names(&waiters),
        runners: names(&runners),
        wait_ns: values(|pair| pair.wait_ns),
        preemptions: values(|pair| pair.preemptions),
    }
}

fn notes(summary: &Summary, threads: &Threads) -> Vec<String> {
    let mut notes = waiting_still(summary, threads);
    let (count, misplaced) = (summary.delays.count(), summary.misplaced);
    if misplaced * 100 > count * MISPLACED_PER_CENT {
        notes.push(format!(
            "{misplaced} of {count} waits ended on another CPU than the trace had them queued on: who \
             made them wait is uncertain; record sched_wakeup and sched_migrate_task, too"
        ));
    }
    if summary.gaps > 0 {
        notes.push(format!(
            "{} gaps: who ran in them is unknown, and counts as nobody",
            summary.gaps
        ));
    }
    if summary.options.by == SummaryBy::Cgroup && summary.groups.is_empty() {
        notes.push(
            "the trace does not tell cgroups: record cgroup:cgroup_attach_task before the tasks \
             are put into them"
                .to_owned(),
        );
    }
    notes
}

/// Whoever has waited longer at the end than anyone whose wait ended: it starves, or events are missing.
fn waiting_still(summary: &Summary, threads: &Threads) -> Vec<String> {
    let end_ns = summary.end_ns();
    let since_ns = |place: &Option<super::Task>| match place.as_ref()?.doing {
        Doing::Waiting { since_ns, cpu, .. } if summary.wants(cpu) => Some(since_ns),
        _ => None,
    };
    let tasks = threads.all().iter().zip(&summary.tasks);
    let waiting = tasks.filter_map(|(thread, place)| Some((since_ns(place)?, thread)));
    let mut waiting: Vec<_> = waiting
        .filter(|(since_ns, _)| end_ns.saturating_sub(*since_ns) > summary.delays.max_ns())
        .collect();
    waiting.sort_by_key(|(since_ns, thread)| (*since_ns, thread.tid));
    let all = waiting.len();
    let shown = waiting.iter().take(WAITING_STILL_MAX).map(|(since_ns, thread)| {
        let name = thread.name();
        format!(
            "{name}:{} waits since {} s, to the end; no delay includes that, the matrix does",
            thread.tid,
            seconds(*since_ns)
        )
    });
    let mut notes: Vec<String> = shown.collect();
    if all > WAITING_STILL_MAX {
        notes.push(format!("so do {} more", all - WAITING_STILL_MAX));
    }
    notes
}
