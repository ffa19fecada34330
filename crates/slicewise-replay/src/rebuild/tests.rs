//! Scripts of traces written by hand in the text of tracefs.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Cursor;

use slicewise_analysis::{Naming, Threads};
use slicewise_ftrace::Reader;

use super::*;

const MS: u64 = 1_000_000;

fn rebuild(text: &str) -> Rebuilt {
    let mut reader = Reader::new(Cursor::new(text.as_bytes())).unwrap();
    let mut threads = Threads::new(Naming::Events);
    let mut rebuilder = Rebuilder::new(Vec::new());
    while let Some(event) = reader.next_event().unwrap() {
        threads.event(&event);
        rebuilder.event(&mut threads, &event);
    }
    rebuilder.finish(&threads)
}

fn script(rebuilt: &Rebuilt, tid: i32) -> &Script {
    &rebuilt.scripts[rebuilt.by_tid[&tid] as usize]
}

fn switch(cpu: u32, ms: u64, prev: (&str, i32), state: &str, next: (&str, i32)) -> String {
    format!(
        "  {}-{} [{cpu:03}] d..2. 1.{ms:03}000: sched_switch: prev_comm={} prev_pid={} prev_prio=120 prev_state={state} \
         ==> next_comm={} next_pid={} next_prio=120\n",
        prev.0, prev.1, prev.0, prev.1, next.0, next.1
    )
}

fn waking(cpu: u32, ms: u64, by: (&str, i32), flags: &str, who: (&str, i32)) -> String {
    format!(
        "  {}-{} [{cpu:03}] {flags} 1.{ms:03}000: sched_waking: comm={} pid={} prio=120 target_cpu=000\n",
        by.0, by.1, who.0, who.1
    )
}

const IDLE: (&str, i32) = ("<idle>", 0);
const A: (&str, i32) = ("a", 7);
const B: (&str, i32) = ("b", 8);

#[test]
fn a_burst_is_cut_where_a_task_wakes_another_and_not_where_it_is_preempted() {
    let text = switch(0, 0, IDLE, "R", A)
        + &waking(0, 2, A, "d..2.", B)
        + &switch(0, 5, A, "R+", B)
        + &switch(0, 6, B, "S", A)
        + &switch(0, 9, A, "S", IDLE);
    let rebuilt = rebuild(&text);
    let b = rebuilt.by_tid[&8];
    assert_eq!(script(&rebuilt, 7).steps, [Step::Run(2 * MS), Step::Wake(b), Step::Run(6 * MS)]);
    assert_eq!(script(&rebuilt, 8).steps, [Step::Wait, Step::Run(MS)]);
    assert!(script(&rebuilt, 7).begins_runnable && !script(&rebuilt, 8).begins_runnable);
    assert_eq!((rebuilt.woken_by_tasks, rebuilt.woken_from_outside), (1, 0));
}

#[test]
fn a_wakeup_in_an_interrupt_is_from_outside_whoever_it_interrupts() {
    let text = switch(0, 0, IDLE, "R", A) + &waking(0, 2, A, "d.h2.", B) + &switch(0, 5, A, "S", B);
    let rebuilt = rebuild(&text);
    assert_eq!(script(&rebuilt, 7).steps, [Step::Run(5 * MS)]);
    assert_eq!(script(&rebuilt, 8).steps, [Step::Outside { from_ns: 0, to_ns: 2 * MS }]);
}

#[test]
fn a_wakeup_of_a_running_task_counts_if_it_sleeps_without_another() {
    // b is woken while it still runs, sleeps, and runs again: it was that wakeup.
    let text = switch(0, 0, IDLE, "R", A)
        + &switch(1, 0, IDLE, "R", B)
        + &waking(0, 2, A, "d..2.", B)
        + &switch(1, 3, B, "S", IDLE)
        + &switch(1, 4, IDLE, "R", B)
        + &switch(1, 5, B, "S", IDLE);
    let rebuilt = rebuild(&text);
    let b = rebuilt.by_tid[&8];
    assert_eq!(script(&rebuilt, 7).steps[..2], [Step::Run(2 * MS), Step::Wake(b)]);
    assert_eq!(script(&rebuilt, 8).steps, [Step::Run(3 * MS), Step::Wait, Step::Run(MS)]);
    // And here it was not: it goes on without sleeping.
    let text = switch(0, 0, IDLE, "R", A)
        + &switch(1, 0, IDLE, "R", B)
        + &waking(0, 2, A, "d..2.", B)
        + &switch(1, 3, B, "R", IDLE)
        + &switch(1, 4, IDLE, "R", B);
    let rebuilt = rebuild(&text);
    assert_eq!(script(&rebuilt, 7).steps[..2], [Step::Run(2 * MS), Step::Nothing]);
}

#[test]
fn a_fork_starts_its_child_where_the_parent_is() {
    let text = switch(0, 0, IDLE, "R", A)
        + "  a-7 [000] d..2. 1.003000: sched_wakeup_new: comm=a pid=9 prio=120 target_cpu=001\n"
        + &switch(1, 4, IDLE, "R", ("a", 9))
        + &switch(1, 6, ("a", 9), "X", IDLE)
        + &switch(0, 8, A, "S", IDLE);
    let rebuilt = rebuild(&text);
    let child = rebuilt.by_tid[&9];
    assert_eq!(
        script(&rebuilt, 7).steps,
        [Step::Run(3 * MS), Step::Fork(child), Step::Run(5 * MS)]
    );
    assert_eq!(script(&rebuilt, 9).steps, [Step::Run(2 * MS), Step::Exit]);
    assert!(script(&rebuilt, 9).is_forked);
}

#[test]
fn every_wait_for_a_task_has_a_wakeup_of_its_own() {
    // The premise of a replay that always comes to its end.
    let text = switch(0, 0, IDLE, "R", A)
        + &waking(0, 1, A, "d..2.", B)
        + &waking(0, 2, A, "d..2.", B)
        + &switch(1, 2, IDLE, "R", B)
        + &waking(0, 3, A, "d..2.", B)
        + &switch(1, 4, B, "S", IDLE)
        + &waking(0, 5, A, "d..2.", B)
        + &switch(1, 6, IDLE, "R", B)
        + &switch(1, 7, B, "S", IDLE);
    let rebuilt = rebuild(&text);
    let b = rebuilt.by_tid[&8];
    let count =
        |tid: i32, step: Step| script(&rebuilt, tid).steps.iter().filter(|it| **it == step).count();
    assert_eq!(count(7, Step::Wake(b)), count(8, Step::Wait));
    assert_eq!(count(8, Step::Wait), 2);
}

#[test]
fn threads_of_the_kernel_that_belong_to_a_cpu_stay_there() {
    assert_eq!(bound_by_name("kworker/3:1H"), Some(3));
    assert_eq!(bound_by_name("migration/12"), Some(12));
    assert_eq!(bound_by_name("kworker/u8:1"), None);
    assert_eq!(bound_by_name("java/3"), None);
}

#[test]
fn what_comes_after_lost_events_is_not_counted_twice() {
    let text = switch(0, 0, IDLE, "R", A)
        + "CPU:0 [LOST 5 EVENTS]\n"
        + &switch(0, 10, B, "S", A)
        + &switch(0, 12, A, "S", IDLE);
    let rebuilt = rebuild(&text);
    // Until events are missing, and from where they are there again.
    assert_eq!(script(&rebuilt, 7).cpu_ns, 12 * MS);
    assert_eq!(script(&rebuilt, 8).cpu_ns, 0);
}
