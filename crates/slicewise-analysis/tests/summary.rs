//! What `summary` and `cpudist` count, on traces written by hand in the text of tracefs.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Cursor;

use proptest::prelude::*;
use slicewise_analysis::{
    ByWhom, Cpudist, CpudistOptions, Naming, Summary, SummaryBy, SummaryOptions, Threads,
    distributions_text,
};
use slicewise_ftrace::Reader;
use slicewise_report::{Style, SummaryReport, SummaryRow, render_summary};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// A line of tracefs' text.
fn line(cpu: u32, us: u64, current: &str, flags: &str, event: &str) -> String {
    let (seconds, us) = (us / 1_000_000, us % 1_000_000);
    format!("{current} [{cpu:03}] {flags} {seconds}.{us:06}: {event}\n")
}

fn switch(cpu: u32, us: u64, prev: &str, state: &str, next: &str) -> String {
    let ((prev, prev_pid), (next, next_pid)) = (numbered(prev), numbered(next));
    let event = format!(
        "sched_switch: prev_comm={prev} prev_pid={prev_pid} prev_prio=120 prev_state={state} ==> \
         next_comm={next} next_pid={next_pid} next_prio=120"
    );
    line(cpu, us, &format!("{prev}-{prev_pid}"), "d..2.", &event)
}

fn wakes(cpu: u32, us: u64, waker: &str, task: &str, target: u32) -> String {
    let (task, pid) = numbered(task);
    let event = format!("sched_wakeup: comm={task} pid={pid} prio=120 target_cpu={target:03}");
    line(cpu, us, waker, "dN.2.", &event)
}

fn charged(cpu: u32, us: u64, task: &str, flags: &str) -> String {
    let (name, pid) = numbered(task);
    let event = format!("sched_stat_runtime: comm={name} pid={pid} runtime=1 [ns]");
    line(cpu, us, task, flags, &event)
}

fn migrates(us: u64, task: &str, from: u32, to: u32) -> String {
    let (task, pid) = numbered(task);
    let event =
        format!("sched_migrate_task: comm={task} pid={pid} prio=120 orig_cpu={from} dest_cpu={to}");
    line(to, us, "<idle>-0", "d..2.", &event)
}

/// `a-7`; the idle task is `-0`.
fn numbered(task: &str) -> (&str, &str) {
    match task.rsplit_once('-').unwrap() {
        ("", pid) => ("swapper/0", pid),
        named => named,
    }
}

fn summary(options: SummaryOptions, text: &str) -> SummaryReport {
    let mut reader = Reader::new(Cursor::new(text.as_bytes())).unwrap();
    let mut threads = Threads::new(Naming::Events);
    let mut summary = Summary::new(options);
    while let Some(event) = reader.next_event().unwrap() {
        threads.event(&event);
        summary.event(&mut threads, &event);
    }
    assert!(reader.findings().malformed == 0, "{:?}", reader.findings());
    summary.report(&threads)
}

fn row<'r>(report: &'r SummaryReport, name: &str) -> &'r SummaryRow {
    report.rows.iter().find(|row| row.name == name).unwrap()
}

/// How long one waited while the other had the CPU.
fn waited(report: &SummaryReport, waiter: &str, runner: &str) -> u64 {
    let place = |list: &[String], name: &str| list.iter().position(|known| known == name);
    let matrix = &report.matrix;
    match (place(&matrix.waiters, waiter), place(&matrix.runners, runner)) {
        (Some(row), Some(column)) => matrix.wait_ns[row][column],
        _ => 0,
    }
}

/// `a` waits for `b`, is preempted inside the kernel by `m`, and goes on.
fn short() -> String {
    [
        switch(0, 1_000, "-0", "R", "b-8"),
        wakes(0, 2_000, "b-8", "a-7", 0),
        switch(0, 5_000, "b-8", "S", "a-7"),
        switch(0, 9_000, "a-7", "R+", "m-9"),
        switch(0, 10_000, "m-9", "S", "a-7"),
        switch(0, 12_000, "a-7", "D", "-0"),
    ]
    .concat()
}

#[test]
fn time_on_a_cpu_is_from_switch_to_switch() {
    let report = summary(SummaryOptions::default(), &short());
    assert_eq!((report.begin_ns, report.end_ns), (MS, 12 * MS));
    assert_eq!(row(&report, "a").run_ns, 6 * MS);
    assert_eq!(row(&report, "b").run_ns, 4 * MS);
    assert_eq!(row(&report, "m").run_ns, MS);
    let cpu = &report.cpus[0];
    assert_eq!((cpu.known_ns, cpu.busy_ns, cpu.switches), (11 * MS, 11 * MS, 5));
    assert!((row(&report, "a").share - 6.0 / 11.0).abs() < 1e-9);
}

#[test]
fn a_wait_is_laid_at_whoever_had_the_cpu_meanwhile() {
    let report = summary(SummaryOptions::default(), &short());
    let delay = row(&report, "a").sched_delay_ns;
    assert_eq!((delay.count, delay.sum, delay.max), (2, 4 * MS, 3 * MS));
    assert_eq!(waited(&report, "a", "b"), 3 * MS);
    assert_eq!(waited(&report, "a", "m"), MS);
    assert_eq!(report.matrix.waiters, ["a"]);
}

#[test]
fn a_waiting_task_that_is_moved_waits_on_the_other_queue_from_then_on() {
    let text = [
        switch(0, 500, "-0", "R", "h-1"),
        switch(1, 500, "-0", "R", "k-2"),
        wakes(1, 1_000, "k-2", "x-3", 0),
        migrates(3_000, "x-3", 0, 1),
        switch(1, 4_000, "k-2", "S", "x-3"),
        switch(0, 6_000, "h-1", "S", "-0"),
    ]
    .concat();
    let report = summary(SummaryOptions::default(), &text);
    assert_eq!(waited(&report, "x", "h"), 2 * MS);
    assert_eq!(waited(&report, "x", "k"), MS);
    assert_eq!(row(&report, "x").migrations, 1);
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[test]
fn a_wait_that_ends_on_a_cpu_nobody_named_is_noted() {
    let text = [
        switch(1, 500, "-0", "R", "k-2"),
        wakes(1, 1_000, "k-2", "x-3", 0),
        switch(1, 4_000, "k-2", "S", "x-3"),
    ]
    .concat();
    let report = summary(SummaryOptions::default(), &text);
    assert!(report.notes[0].contains("1 of 1 waits ended on another CPU"), "{:?}", report.notes);
}

#[test]
fn waiting_while_the_cpu_is_idle_is_told_as_such() {
    let text = [
        switch(0, 500, "b-8", "S", "-0"),
        wakes(1, 1_000, "<idle>-0", "a-7", 0),
        switch(0, 1_050, "-0", "R", "a-7"),
    ]
    .concat();
    assert_eq!(waited(&summary(SummaryOptions::default(), &text), "a", "<idle>"), 50 * US);
}

#[test]
fn why_a_task_left_is_told_apart() {
    let text = [
        switch(0, 1_000, "-0", "R", "p-1"),
        // Woken while `p` runs: it takes the CPU.
        wakes(0, 2_000, "p-1", "w-2", 0),
        charged(0, 2_100, "p-1", "dN.2."),
        switch(0, 2_100, "p-1", "R", "w-2"),
        // `p` has been waiting since before: the slice is over.
        charged(0, 5_000, "w-2", "dN.2."),
        switch(0, 5_000, "w-2", "R", "p-1"),
        // Nobody asked `p` to leave: it gives way.
        charged(0, 6_000, "p-1", "d..2."),
        switch(0, 6_000, "p-1", "R", "w-2"),
        switch(0, 7_000, "w-2", "X", "p-1"),
        // It could go on, but the CPU goes idle.
        charged(0, 8_000, "p-1", "dN.2."),
        switch(0, 8_000, "p-1", "R", "-0"),
        switch(0, 9_000, "-0", "R", "p-1"),
        switch(0, 9_500, "p-1", "S", "-0"),
    ]
    .concat();
    let report = summary(SummaryOptions::default(), &text);
    let (p, w) = (row(&report, "p"), row(&report, "w"));
    assert_eq!((p.left.preempted_by_wakeup, p.left.yielded, p.left.to_idle), (1, 1, 1));
    assert_eq!((p.left.slept, p.left.slice_over, p.left.otherwise), (1, 0, 0));
    assert_eq!((w.left.slice_over, w.left.exited), (1, 1));
    assert_eq!((p.switches.voluntary, p.switches.involuntary), (1, 3));
    let matrix = &report.matrix;
    let place = |list: &[String], name| list.iter().position(|known| known == name).unwrap();
    let (waiter, runner) = (place(&matrix.waiters, "p"), place(&matrix.runners, "w"));
    assert_eq!(matrix.preemptions[waiter][runner], 1, "a yield is no preemption");
}

#[test]
fn a_wakeup_on_the_way_to_the_switch_makes_it_no_yield() {
    let text = [
        switch(0, 1_000, "-0", "R", "p-1"),
        charged(0, 2_000, "p-1", "d..2."),
        wakes(0, 2_003, "p-1", "w-2", 0),
        switch(0, 2_008, "p-1", "R", "w-2"),
    ]
    .concat();
    let report = summary(SummaryOptions::default(), &text);
    let left = row(&report, "p").left;
    assert_eq!((left.yielded, left.preempted_by_wakeup), (0, 1));
}

#[test]
fn whoever_waits_longer_at_the_end_than_anyone_before_is_named() {
    let text = [
        switch(0, 1_000, "-0", "R", "h-1"),
        wakes(0, 2_000, "h-1", "x-3", 0),
        switch(0, 9_000_000, "h-1", "S", "-0"),
    ]
    .concat();
    let report = summary(SummaryOptions::default(), &text);
    assert!(report.notes[0].starts_with("x:3 waits since 0.002000 s"), "{:?}", report.notes);
}

#[test]
fn only_what_is_within_the_stretch_counts() {
    let options = SummaryOptions {
        from_ns: Some(3 * MS),
        to_ns: Some(9_500 * US),
        ..SummaryOptions::default()
    };
    let report = summary(options, &short());
    assert_eq!((report.begin_ns, report.end_ns, report.events), (3 * MS, 9_500 * US, 2));
    assert_eq!(row(&report, "b").run_ns, 2 * MS);
    assert_eq!(row(&report, "a").run_ns, 4 * MS);
    assert_eq!(waited(&report, "a", "b"), 2 * MS);
    assert_eq!(waited(&report, "a", "m"), 500 * US);
    // It began before, but ended within.
    assert_eq!(row(&report, "a").sched_delay_ns.max, 3 * MS);
}

#[test]
fn only_what_is_on_the_chosen_cpus_counts() {
    let text = short() + &switch(1, 13_000, "z-5", "S", "-0");
    let options = SummaryOptions { cpus: Some(vec![1]), ..SummaryOptions::default() };
    let report = summary(options, &text);
    assert_eq!(report.cpus.len(), 1);
    assert_eq!((report.cpus[0].cpu, report.switches), (1, 1));
    assert!(report.rows.iter().all(|row| row.run_ns == 0 && row.sched_delay_ns.count == 0));
}

#[test]
fn after_a_gap_nobody_is_known_to_run() {
    let text = [
        switch(0, 1_000, "-0", "R", "b-8"),
        wakes(0, 2_000, "b-8", "a-7", 0),
        "CPU:0 [LOST 5 EVENTS]\n".to_owned(),
        switch(0, 6_000, "c-9", "S", "a-7"),
        switch(0, 8_000, "a-7", "S", "-0"),
    ]
    .concat();
    let report = summary(SummaryOptions::default(), &text);
    assert_eq!(row(&report, "b").run_ns, MS);
    assert_eq!(report.cpus[0].known_ns, 3 * MS);
    assert_eq!(waited(&report, "a", "unknown"), 4 * MS);
    assert_eq!(report.lost_events, 5);
}

#[test]
fn rows_are_gathered_as_asked_and_the_rest_is_added_up() {
    let text = [
        switch(0, 0, "-0", "R", "a-1"),
        switch(0, 1_000, "a-1", "S", "a-2"),
        switch(0, 3_000, "a-2", "S", "c-3"),
        switch(0, 4_000, "c-3", "S", "-0"),
    ]
    .concat();
    let by_comm = summary(SummaryOptions::default(), &text);
    assert_eq!((row(&by_comm, "a").tasks, row(&by_comm, "a").run_ns), (2, 3 * MS));
    let options = SummaryOptions { by: SummaryBy::Task, top: 1, ..SummaryOptions::default() };
    let by_task = summary(options, &text);
    assert_eq!((by_task.rows.len(), by_task.rows[0].tid), (1, Some(2)));
    let others = by_task.others.unwrap();
    assert_eq!((others.tasks, others.run_ns), (2, 2 * MS));
}

#[test]
fn tasks_are_in_the_cgroup_they_were_put_into_and_their_children_too() {
    let attach = "cgroup_attach_task: dst_root=1 dst_id=9 dst_level=1 dst_path=/web pid=1 comm=a";
    let fork = "sched_process_fork: comm=a pid=1 child_comm=a child_pid=2";
    let text = [
        line(0, 0, "x-9", "d..2.", attach),
        line(0, 10, "a-1", "d..2.", fork),
        switch(0, 1_000, "-0", "R", "a-1"),
        switch(0, 2_000, "a-1", "S", "a-2"),
        switch(0, 4_000, "a-2", "S", "z-3"),
        switch(0, 5_000, "z-3", "S", "-0"),
    ]
    .concat();
    let options = SummaryOptions { by: SummaryBy::Cgroup, ..SummaryOptions::default() };
    let report = summary(options, &text);
    assert_eq!((row(&report, "/web").run_ns, row(&report, "/web").tasks), (3 * MS, 2));
    assert_eq!(row(&report, "unknown group").run_ns, MS);
}

#[test]
fn the_report_is_shown_as_tables_that_line_up() {
    let mut text = String::new();
    // A job every 10 ms beside a hog, which is taken off its CPU for it.
    for round in 0..50 {
        let at = round * 10_000;
        text += &switch(0, at, "-0", "R", "hog-1");
        text += &wakes(0, at + 4_000, "hog-1", "job-2", 0);
        text += &charged(0, at + 4_000 + round, "hog-1", "dN.2.");
        text += &switch(0, at + 4_000 + round, "hog-1", "R", "job-2");
        text += &switch(0, at + 5_000, "job-2", "S", "hog-1");
        text += &switch(0, at + 8_000, "hog-1", "S", "-0");
    }
    let report = summary(SummaryOptions::default(), &text);
    insta::assert_snapshot!(render_summary(&report, Style { color: false, width: 160 }));
    for width in [40, 80, 100] {
        let text = render_summary(&report, Style { color: false, width });
        assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
    }
}

#[test]
fn the_field_names_of_the_json_are_a_contract() {
    let mut report = summary(SummaryOptions::default(), &short());
    let lists = report.rows.iter_mut().map(|row| &mut row.utilisation);
    let lists = lists.chain(report.cpus.iter_mut().map(|cpu| &mut cpu.utilisation));
    lists.for_each(|utilisation| utilisation.truncate(1));
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}

fn cpudist(options: CpudistOptions) -> String {
    let mut reader = Reader::new(Cursor::new(short())).unwrap();
    let mut threads = Threads::new(Naming::Events);
    let mut cpudist = Cpudist::new(options);
    while let Some(event) = reader.next_event().unwrap() {
        threads.event(&event);
        cpudist.event(&mut threads, &event);
    }
    distributions_text(&cpudist.distributions(&threads), options.by)
}

#[test]
fn cpudist_counts_stays_on_a_cpu_by_powers_of_two() {
    let options = CpudistOptions { ms: true, by: ByWhom::Task, ..CpudistOptions::default() };
    insta::assert_snapshot!(cpudist(options), @r"
    tid = 7 a
         msecs               : count     distribution
             0 -> 1          : 0        |                                        |
             2 -> 3          : 1        |****************************************|
             4 -> 7          : 1        |****************************************|

    tid = 8 b
         msecs               : count     distribution
             0 -> 1          : 0        |                                        |
             2 -> 3          : 0        |                                        |
             4 -> 7          : 1        |****************************************|

    tid = 9 m
         msecs               : count     distribution
             0 -> 1          : 1        |****************************************|
    ");
}

#[test]
fn cpudist_counts_time_off_the_cpu_whatever_it_was_for() {
    let options = CpudistOptions { ms: true, off_cpu: true, ..CpudistOptions::default() };
    insta::assert_snapshot!(cpudist(options), @r"
         msecs               : count     distribution
             0 -> 1          : 1        |****************************************|
    ");
}

proptest! {
    #[test]
    fn rows_have_all_the_time_that_cpus_were_busy(
        steps in proptest::collection::vec((0..5_000_u64, 0..2_u32, 0..5_usize, 0..5_usize, 0..4_usize), 1..80),
        by in 0..2_usize,
        window in proptest::option::of((0..200_000_u64, 0..200_000_u64)),
    ) {
        let names = ["-0", "a-1", "b-2", "a-3", "d-4"];
        let states = ["R", "R+", "S", "X"];
        let mut at = 0;
        let mut text = String::new();
        for (gap, cpu, prev, next, what) in steps {
            at += gap;
            if prev == next {
                text += &wakes(cpu, at, names[prev], names[prev.max(1)], (what % 2) as u32);
            } else {
                text += &switch(cpu, at, names[prev], states[what], names[next]);
            }
        }
        let (from_ns, to_ns) = match window {
            Some((from, length)) => (Some(from * US), Some((from + length) * US)),
            None => (None, None),
        };
        let by = [SummaryBy::Task, SummaryBy::Comm][by];
        let report = summary(SummaryOptions { by, from_ns, to_ns, top: 2, ..SummaryOptions::default() }, &text);
        let ran: u64 = report.rows.iter().chain(&report.others).map(|row| row.run_ns).sum();
        prop_assert_eq!(ran, report.cpus.iter().map(|cpu| cpu.busy_ns).sum::<u64>());
        let waits: u64 = report.rows.iter().chain(&report.others).map(|row| row.sched_delay_ns.count).sum();
        prop_assert_eq!(waits, report.sched_delay_ns.count);
        for cpu in &report.cpus {
            prop_assert!(cpu.busy_ns <= cpu.known_ns);
            prop_assert!(cpu.known_ns <= report.end_ns - report.begin_ns);
            prop_assert!(cpu.utilisation.len() <= 64);
            prop_assert!(cpu.utilisation.iter().all(|share| (0.0..=1.0).contains(share)));
        }
    }
}
