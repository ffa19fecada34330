//! What the analyses count, on traces written by hand in the text of tracefs.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Cursor;

use slicewise_analysis::{
    Begun, ByWhom, Latency, LatencyOptions, LatencyReport, Naming, Rules, Runqlat, RunqlatOptions,
    Threads, Timehist, TimehistOptions, TimehistSummary, Waits, distributions_text,
};
use slicewise_ftrace::{Event, Reader};

/// `a` sleeps and is woken at 2 ms while `b` runs, gets the CPU at 5 ms, is preempted inside the kernel at 9 ms
/// and gets it back at 10 ms.
const TRACE: &str = "
 <idle>-0 [000] d..2. 0.001000: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=b next_pid=8 next_prio=120
      b-8 [000] d..2. 0.002000: sched_waking: comm=a pid=7 prio=120 target_cpu=000
      b-8 [000] d..2. 0.002001: sched_wakeup: comm=a pid=7 prio=120 target_cpu=000
      b-8 [000] d..2. 0.005000: sched_stat_runtime: comm=b pid=8 runtime=4000000 [ns]
      b-8 [000] d..2. 0.005000: sched_switch: prev_comm=b prev_pid=8 prev_prio=120 prev_state=S ==> next_comm=a next_pid=7 next_prio=120
      a-7 [000] d..2. 0.009000: sched_switch: prev_comm=a prev_pid=7 prev_prio=120 prev_state=R+ ==> next_comm=m next_pid=9 next_prio=0
      m-9 [000] d..2. 0.010000: sched_switch: prev_comm=m prev_pid=9 prev_prio=0 prev_state=S ==> next_comm=a next_pid=7 next_prio=120
      a-7 [000] d..2. 0.012000: sched_switch: prev_comm=a prev_pid=7 prev_prio=120 prev_state=D ==> next_comm=swapper/0 next_pid=0 next_prio=120
";

const MS: u64 = 1_000_000;

fn events(text: &str) -> Vec<Event> {
    let mut reader = Reader::new(Cursor::new(text.as_bytes())).unwrap();
    std::iter::from_fn(|| reader.next_event().unwrap()).collect()
}

fn each(mut take: impl FnMut(&mut Threads, &Event)) -> Threads {
    let mut threads = Threads::new(Naming::Events);
    for event in events(TRACE) {
        threads.event(&event);
        take(&mut threads, &event);
    }
    threads
}

fn latency(options: LatencyOptions) -> LatencyReport {
    let mut latency = Latency::new(options);
    let threads = each(|threads, event| latency.event(threads, event));
    latency.report(&threads)
}

#[test]
fn a_delay_goes_from_the_waking_or_the_preemption_to_the_cpu() {
    let report = latency(LatencyOptions::default());
    let a = report.rows.iter().find(|row| row.comm == "a").unwrap();
    assert_eq!((a.delays, a.delay_ns), (2, 4 * MS));
    assert_eq!((a.max.start_ns, a.max.end_ns), (2 * MS, 5 * MS));
    let b = report.rows.iter().find(|row| row.comm == "b").unwrap();
    assert_eq!((b.runtime_ns, b.delays), (4 * MS, 1));
}

#[test]
fn perf_6_1_does_not_count_wakings_nor_preemption_in_the_kernel() {
    let report = latency(LatencyOptions { rules: Rules::Perf6_1, ..LatencyOptions::default() });
    let a = report.rows.iter().find(|row| row.comm == "a").unwrap();
    // From sched_wakeup, a microsecond later.
    assert_eq!((a.delays, a.delay_ns), (1, 3 * MS - 1_000));
}

#[test]
fn delays_that_end_on_another_cpu_do_not_count_for_one() {
    let report = latency(LatencyOptions { cpu: Some(1), ..LatencyOptions::default() });
    assert!(report.rows.is_empty());
    assert_eq!(
        latency(LatencyOptions { cpu: Some(0), ..LatencyOptions::default() }).total_delays,
        4
    );
}

fn timehist(options: TimehistOptions) -> (String, TimehistSummary) {
    let mut timehist = Timehist::new(options, None, Vec::new());
    let threads = each(|threads, event| timehist.event(threads, event).unwrap());
    let summary = timehist.summary(&threads);
    (String::from_utf8(timehist.into_inner()).unwrap(), summary)
}

#[test]
fn a_run_is_told_with_the_wait_before_it() {
    let (text, summary) = timehist(TimehistOptions { state: true, ..TimehistOptions::default() });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1],
        "       0.005000 [0000]  b[8]                                0.000      0.000      4.000      S "
    );
    // Off its CPU since before the trace; runnable for 3 ms; then runs for 4 ms.
    assert_eq!(
        lines[2],
        "       0.009000 [0000]  a[7]                                0.000      3.000      4.000      R "
    );
    assert_eq!(
        lines[4],
        "       0.012000 [0000]  a[7]                                1.000      1.000      2.000      D "
    );
    let a = summary.tasks.iter().find(|task| task.comm == "a").unwrap();
    assert_eq!((a.runs, a.run_ns, a.min_run_ns, a.max_run_ns), (2, 6 * MS, 2 * MS, 4 * MS));
    assert_eq!(summary.span_ns, 11 * MS);
}

#[test]
fn a_stretch_cuts_runs_at_its_borders() {
    let options = TimehistOptions {
        from_ns: Some(6 * MS),
        to_ns: Some(8 * MS),
        ..TimehistOptions::default()
    };
    let (text, _) = timehist(options);
    assert_eq!(
        text,
        "       0.008000 [0000]  a[7]                                0.000      4.000      2.000 \n"
    );
}

#[test]
fn tasks_are_chosen_by_name_and_by_number() {
    for options in [
        TimehistOptions { comms: vec!["a".to_owned()], ..TimehistOptions::default() },
        TimehistOptions { tids: vec![7], ..TimehistOptions::default() },
    ] {
        let (text, summary) = timehist(options);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(summary.is_filtered && text.lines().all(|line| line.contains("a[7]")), "{text}");
    }
}

#[test]
fn waits_say_how_they_began_and_who_was_in_the_way() {
    let mut waits = Waits::new(Rules::All);
    let mut found = Vec::new();
    let threads = each(|threads, event| found.extend(waits.event(threads, event)));
    let shown: Vec<(String, Begun, u64, String)> = found
        .iter()
        .map(|wait| (threads[wait.task].name(), wait.begun, wait.ns(), threads[wait.prev].name()))
        .collect();
    assert_eq!(
        shown,
        [
            ("a".to_owned(), Begun::Wakeup, 3 * MS, "b".to_owned()),
            ("a".to_owned(), Begun::Preempted, MS, "m".to_owned()),
        ]
    );
}

#[test]
fn runqlat_counts_waits_by_powers_of_two() {
    let options = RunqlatOptions { ms: true, by: ByWhom::Task, ..RunqlatOptions::default() };
    let mut runqlat = Runqlat::new(options);
    let threads = each(|threads, event| runqlat.event(threads, event));
    let histograms = runqlat.distributions(&threads);
    assert_eq!(histograms.len(), 1);
    assert_eq!((histograms[0].id, histograms[0].comm.as_deref()), (Some(7), Some("a")));
    let text = distributions_text(&histograms, ByWhom::Task);
    assert_eq!(
        text,
        "tid = 7 a\n     msecs               : count     distribution\n         0 -> 1          : 1        \
         |****************************************|\n         2 -> 3          : 1        \
         |****************************************|\n"
    );
}
