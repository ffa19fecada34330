//! Tasks that wait for one another.

mod common;

use common::{MS, S, US, config, fifo, forever, go, on, repeat, run, sleep, try_go};
use slicewise_machine::{
    Barrier, End, Mode, MutexSpec, Op, RunError, Semaphore, WaitsFor, Workload,
};
use slicewise_sched::{Attr, DlParams, Policy};
use slicewise_trace::Left;

fn with_mutexes(programs: Vec<Vec<Op>>, names: &[&str]) -> Workload {
    let mut workload = common::workload(programs);
    let mutex = |name: &&str| MutexSpec { name: (*name).to_owned(), inherits: false };
    workload.mutexes = names.iter().map(mutex).collect();
    workload
}

/// The same, with mutexes that lend priorities.
fn inheriting(programs: Vec<Vec<Op>>, names: &[&str]) -> Workload {
    let mut workload = with_mutexes(programs, names);
    workload.mutexes.iter_mut().for_each(|mutex| mutex.inherits = true);
    workload
}

fn with_condition(programs: Vec<Vec<Op>>) -> Workload {
    let mut workload = with_mutexes(programs, &["m"]);
    workload.conditions = vec!["c".to_owned()];
    workload
}

#[test]
fn a_mutex_is_handed_over_in_order_of_arrival() {
    let hold = |first: u64| vec![run(first), Op::Lock(0), run(10 * MS), Op::Unlock(0), run(MS)];
    let tasks = with_mutexes(vec![hold(MS), hold(3 * MS), hold(2 * MS)], &["m"]);
    let (_, got) = go(&config(3, S), &tasks);
    assert_eq!(got.wakeups(2), [(11 * MS, Some(0))]);
    assert_eq!(got.wakeups(1), [(21 * MS, Some(2))]);
    assert_eq!(got.exits(), [(12 * MS, 0), (22 * MS, 2), (32 * MS, 1)]);
}

#[test]
fn nobody_takes_a_mutex_that_was_handed_over() {
    // Task 0 unlocks and locks again at once: it has to queue behind task 1.
    let tasks = with_mutexes(
        vec![
            vec![Op::Lock(0), run(5 * MS), Op::Unlock(0), Op::Lock(0), run(MS), Op::Unlock(0)],
            vec![run(MS), Op::Lock(0), run(MS), Op::Unlock(0)],
        ],
        &["m"],
    );
    let (_, got) = go(&config(2, S), &tasks);
    assert_eq!(got.exits(), [(6 * MS, 1), (7 * MS, 0)]);
}

#[test]
fn waiting_for_a_mutex_is_part_of_the_job() {
    let tasks = with_mutexes(
        vec![
            vec![sleep(2 * MS), Op::Lock(0), run(MS), Op::Unlock(0), sleep(MS)],
            vec![Op::Lock(0), run(5 * MS), Op::Unlock(0)],
        ],
        &["m"],
    );
    let (_, got) = go(&config(2, S), &tasks);
    assert_eq!(got.responses(0), [(0, 0), (6 * MS, 4 * MS), (7 * MS, 0)]);
}

#[test]
fn a_signal_wakes_the_first_waiter_who_takes_the_mutex_again() {
    let wait = |first: u64| {
        vec![run(first), Op::Lock(0), Op::Wait { condition: 0, mutex: 0 }, run(MS), Op::Unlock(0)]
    };
    let signal = vec![
        run(5 * MS),
        Op::Lock(0),
        Op::Signal(0),
        run(2 * MS),
        Op::Unlock(0),
        run(10 * MS),
        Op::Signal(0),
        Op::Signal(0),
    ];
    let (_, got) = go(&config(3, S), &with_condition(vec![wait(2 * MS), wait(MS), signal]));
    // Task 1 came first; it wakes at 5 ms, but the mutex is free at 7 ms only.
    assert_eq!(got.wakeups(1), [(5 * MS, Some(2)), (7 * MS, Some(2))]);
    assert_eq!(got.wakeups(0), [(17 * MS, Some(2))]);
    assert_eq!(got.exits(), [(8 * MS, 1), (17 * MS, 2), (18 * MS, 0)]);
}

#[test]
fn a_broadcast_wakes_all_and_they_take_the_mutex_one_by_one() {
    let wait = vec![Op::Lock(0), Op::Wait { condition: 0, mutex: 0 }, run(MS), Op::Unlock(0)];
    let programs = vec![wait.clone(), wait.clone(), wait, vec![run(3 * MS), Op::Broadcast(0)]];
    let (_, got) = go(&config(4, S), &with_condition(programs));
    let exits: Vec<u64> = got.exits().iter().map(|(at, _)| *at).collect();
    assert_eq!(exits, [3 * MS, 4 * MS, 5 * MS, 6 * MS]);
}

#[test]
fn a_signal_nobody_waits_for_is_lost() {
    let programs =
        vec![vec![Op::Signal(0)], vec![run(MS), Op::Lock(0), Op::Wait { condition: 0, mutex: 0 }]];
    let (result, _) = try_go(&config(2, S), &with_condition(programs));
    assert!(matches!(result, Err(RunError::Stuck { .. })), "{result:?}");
}

#[test]
fn a_signal_between_the_unlock_and_the_sleep_of_a_wait_is_not_lost() {
    // Handing the mutex to task 0 takes task 1 from 1.0 to 1.1 ms, were it not for task 3, which
    // takes its CPU away at 1.05 ms; task 2 signals meanwhile.
    let mut config = config(3, S);
    config.costs.wakeup_ns = 100 * US;
    let mut tasks = with_condition(vec![
        vec![run(500 * US), Op::Lock(0), run(MS), Op::Unlock(0)],
        vec![Op::Lock(0), run(MS), Op::Wait { condition: 0, mutex: 0 }, run(MS), Op::Unlock(0)],
        vec![run(2 * MS), Op::Signal(0)],
        vec![sleep(1_050 * US), run(5 * MS)],
    ]);
    for (task, cpu) in tasks.tasks.iter_mut().zip([0, 1, 2, 1]) {
        task.affinity = on(cpu);
    }
    tasks.tasks[3].attr = fifo(1);
    let (summary, got) = go(&config, &tasks);
    assert_eq!(summary.end, End::Exited);
    // It hands the mutex over at 6.2 ms, does not sleep for the signal, but waits for the mutex.
    assert_eq!(got.wakeups(1), [(7_300 * US, Some(0))]);
    assert_eq!(got.exits().last(), Some(&(8_300 * US, 1)));
}

#[test]
fn the_last_to_arrive_at_a_barrier_releases_the_others() {
    let meet = |first: u64| repeat(Some(2), vec![run(first), Op::Barrier(0)]);
    let mut tasks = common::workload(vec![meet(MS), meet(2 * MS), meet(5 * MS)]);
    tasks.barriers = vec![Barrier { name: "b".to_owned(), parties: 3 }];
    let (_, got) = go(&config(3, S), &tasks);
    assert_eq!(got.wakeups(0), [(5 * MS, Some(2)), (10 * MS, Some(2))]);
    assert_eq!(got.exits().iter().map(|(at, _)| *at).collect::<Vec<_>>(), [10 * MS; 3]);
}

#[test]
fn a_barrier_of_one_lets_everyone_pass() {
    let mut tasks = common::workload(vec![vec![Op::Barrier(0), run(MS), Op::Barrier(0)]]);
    tasks.barriers = vec![Barrier { name: "b".to_owned(), parties: 1 }];
    assert_eq!(go(&config(1, S), &tasks).0.end_ns, MS);
}

#[test]
fn a_resume_that_comes_before_the_suspend_is_lost() {
    let programs = vec![vec![run(MS), Op::Suspend], vec![Op::Resume(0)]];
    let (result, _) = try_go(&config(2, S), &common::workload(programs.clone()));
    let Err(RunError::Stuck { at_ns, tasks, waiting }) = result else { panic!("{result:?}") };
    assert_eq!((at_ns, tasks, waiting[0].waits_for.clone()), (MS, 1, WaitsFor::Resume));
    assert_eq!(waiting[0].task, "t0");

    let mut tolerant = common::workload(programs);
    tolerant.stuck_is_end = true;
    let (summary, got) = go(&config(2, S), &tolerant);
    assert!(matches!(summary.end, End::Stuck(waiting) if waiting.len() == 1));
    assert_eq!(got.finished, Some(MS));
}

#[test]
fn a_resume_wakes_every_task_of_the_template() {
    let mut tasks = common::workload(vec![
        vec![Op::Fork(1), Op::Fork(1), sleep(MS), Op::Resume(1)],
        vec![Op::Suspend, run(MS)],
    ]);
    tasks.tasks[1].template = true;
    let (summary, got) = go(&config(2, S), &tasks);
    assert_eq!((summary.spawned, summary.exited), (3, 3));
    assert_eq!(got.wakeups(1), [(MS, Some(0))]);
    assert_eq!(got.wakeups(2), [(MS, Some(0))]);
}

#[test]
fn a_circle_of_mutexes_is_a_deadlock() {
    let take = |a, b| vec![Op::Lock(a), run(MS), Op::Lock(b)];
    let tasks = with_mutexes(vec![take(0, 1), take(1, 2), take(2, 0)], &["a", "b", "c"]);
    let (result, _) = try_go(&config(3, S), &tasks);
    let Err(error) = result else { panic!("a deadlock") };
    let text = error.to_string();
    assert!(text.contains("`t0` (pid 1) waits for mutex `b`, held by `t1` (pid 2)"), "{text}");
    let RunError::Deadlock { at_ns, cycle } = error else { panic!("{text}") };
    assert_eq!((at_ns, cycle.len()), (MS, 3));
    for (index, member) in cycle.iter().enumerate() {
        let holder = member.held_by.as_ref().expect("a mutex has a holder");
        assert_eq!(holder.task, cycle[(index + 1) % 3].task);
        assert_eq!(member.origin.start + 1, member.origin.end);
    }
}

#[test]
fn locking_twice_is_a_deadlock_with_oneself() {
    let tasks = with_mutexes(vec![vec![Op::Lock(0), Op::Lock(0)]], &["a"]);
    let (result, _) = try_go(&config(1, S), &tasks);
    assert!(matches!(result, Err(RunError::Deadlock { cycle, .. }) if cycle.len() == 1));
}

#[test]
fn a_mutex_taken_to_the_grave_is_reported() {
    let tasks = with_mutexes(vec![vec![Op::Lock(0)], vec![run(MS), Op::Lock(0)]], &["a"]);
    let (result, _) = try_go(&config(2, S), &tasks);
    let Err(RunError::Stuck { waiting, .. }) = result else { panic!("{result:?}") };
    let holder = waiting[0].held_by.as_ref().expect("a holder");
    assert_eq!((holder.task.as_str(), holder.exited), ("t0", true));
}

#[test]
fn using_what_one_does_not_hold_is_an_error() {
    let misuse = |ops: Vec<Op>| {
        let (result, _) = try_go(&config(1, S), &with_condition(vec![ops]));
        matches!(result, Err(RunError::Misuse { .. }))
    };
    assert!(misuse(vec![Op::Unlock(0)]));
    assert!(misuse(vec![Op::Wait { condition: 0, mutex: 0 }]));
    assert!(misuse(vec![Op::Lock(0), Op::Unlock(0), Op::Unlock(0)]));
    assert!(misuse(vec![Op::Serve]));
    assert!(misuse(vec![Op::Reply]));
}

#[test]
fn programs_that_use_no_time_do_not_hang() {
    let endless = |programs: Vec<Vec<Op>>| {
        let (result, _) = try_go(&config(1, S), &with_condition(programs));
        let Err(RunError::NoProgress { at_ns, .. }) = result else { panic!("{result:?}") };
        at_ns
    };
    assert_eq!(endless(vec![forever(vec![Op::Yield])]), 0);
    assert_eq!(endless(vec![forever(vec![])]), 0);
    let mut late = vec![run(MS)];
    late.push(Op::LoopBegin { count: None, end: 4 });
    late.extend([sleep(0), Op::Signal(0), Op::LoopEnd { begin: 1 }]);
    assert_eq!(endless(vec![late]), MS);
}

#[test]
fn many_steps_at_one_moment_are_fine_if_they_end() {
    let tasks = common::workload(vec![repeat(Some(400_000), vec![Op::Yield])]);
    assert_eq!(go(&config(1, S), &tasks).0.end, End::Exited);
}

#[test]
fn a_waker_inside_its_call_is_preempted_as_the_model_says() {
    use slicewise_machine::Preemption;
    let wakes = |preemption| {
        let mut config = config(1, S);
        config.preemption = preemption;
        config.costs.wakeup_ns = MS;
        let mut tasks = with_condition(vec![
            vec![Op::Lock(0), Op::Wait { condition: 0, mutex: 0 }, Op::Unlock(0), run(MS)],
            vec![Op::Lock(0), Op::Wait { condition: 0, mutex: 0 }, Op::Unlock(0), run(MS)],
            vec![run(MS), Op::Broadcast(0), run(MS)],
        ]);
        tasks.tasks[0].attr = fifo(20);
        tasks.tasks[1].attr = fifo(20);
        let (_, got) = go(&config, &tasks);
        got.leaves(2)
    };
    // Full: after each wakeup. None: when the broadcast is over.
    let full = wakes(Preemption::Full);
    assert_eq!(full[..2], [(2 * MS, Left::Preempted), (4 * MS, Left::Preempted)]);
    let none = wakes(Preemption::None);
    assert_eq!(none[0], (3 * MS, Left::Preempted));
}

#[test]
fn kernel_mode_shows_only_in_preemption() {
    let body = |mode| Op::Run { work: slicewise_machine::Dist::Constant(3 * MS), mode };
    let mut tasks = common::workload(vec![vec![body(Mode::Kernel)], vec![body(Mode::User)]]);
    for task in &mut tasks.tasks {
        task.affinity = on(0);
    }
    assert_eq!(go(&config(1, S), &tasks).0.end_ns, 6 * MS);
}

/// A fair owner, a FIFO 20 hog that comes in between, and a FIFO 50 waiter, as on Mars.
fn inversion(inherits: bool) -> Vec<(u64, u32)> {
    let owner = vec![Op::Lock(0), run(15 * MS), Op::Unlock(0), run(MS)];
    let middle = vec![sleep(5 * MS), run(40 * MS)];
    let waiter = vec![sleep(8 * MS), Op::Lock(0), run(3 * MS), Op::Unlock(0)];
    let mut tasks = match inherits {
        true => inheriting(vec![owner, middle, waiter], &["m"]),
        false => with_mutexes(vec![owner, middle, waiter], &["m"]),
    };
    tasks.tasks[1].attr = fifo(20);
    tasks.tasks[2].attr = fifo(50);
    let (_, got) = go(&config(1, S), &tasks);
    got.exits()
}

#[test]
fn a_mutex_that_inherits_lets_its_owner_run_before_those_in_between() {
    // The owner has run 5 ms when the middle one comes and 8 - 5 = 3 of the middle's when it is lent
    // priority 50: 10 ms more until it unlocks.
    assert_eq!(inversion(true), [(21 * MS, 2), (58 * MS, 1), (59 * MS, 0)]);
    assert_eq!(inversion(false), [(45 * MS, 1), (58 * MS, 2), (59 * MS, 0)]);
}

#[test]
fn waiters_get_an_inheriting_mutex_by_priority_not_by_arrival() {
    let waiter = |at: u64| vec![sleep(at), Op::Lock(0), run(MS), Op::Unlock(0)];
    let owner = vec![Op::Lock(0), run(10 * MS), Op::Unlock(0)];
    let mut tasks = inheriting(vec![owner, waiter(MS), waiter(2 * MS), waiter(3 * MS)], &["m"]);
    tasks.tasks[2].attr = fifo(10);
    tasks.tasks[3].attr = fifo(10);
    let (_, got) = go(&config(1, S), &tasks);
    assert_eq!(got.exits(), [(11 * MS, 2), (12 * MS, 3), (12 * MS, 0), (13 * MS, 1)]);
}

#[test]
fn a_lent_priority_goes_along_a_chain_of_owners() {
    // Task 0 holds m; task 1 holds n and waits for m; task 2, FIFO 50, waits for n. The hog has 30.
    let first = vec![Op::Lock(0), run(10 * MS), Op::Unlock(0), run(MS)];
    let second = vec![sleep(MS), Op::Lock(1), Op::Lock(0), run(MS), Op::Unlock(0), Op::Unlock(1)];
    let third = vec![sleep(2 * MS), Op::Lock(1), run(MS), Op::Unlock(1)];
    let hog = vec![sleep(3 * MS), run(20 * MS)];
    let mut tasks = inheriting(vec![first, second, third, hog], &["m", "n"]);
    tasks.tasks[1].attr = fifo(5);
    tasks.tasks[2].attr = fifo(50);
    tasks.tasks[3].attr = fifo(30);
    let (_, got) = go(&config(1, S), &tasks);
    assert_eq!(got.exits(), [(12 * MS, 2), (32 * MS, 3), (32 * MS, 1), (33 * MS, 0)]);
}

#[test]
fn a_deadline_waiter_lends_its_deadline() {
    let owner = vec![Op::Lock(0), run(12 * MS), Op::Unlock(0), run(MS)];
    let waiter = vec![sleep(2 * MS), Op::Lock(0), run(MS), Op::Unlock(0)];
    let hog = vec![sleep(3 * MS), run(30 * MS)];
    let mut tasks = inheriting(vec![owner, waiter, hog], &["m"]);
    let params = DlParams::implicit(3 * MS, 20 * MS);
    tasks.tasks[1].attr = Attr { policy: Policy::Deadline(params), ..Attr::default() };
    tasks.tasks[2].attr = fifo(99);
    let (_, got) = go(&config(1, S), &tasks);
    assert_eq!(got.exits(), [(13 * MS, 1), (43 * MS, 2), (44 * MS, 0)]);
}

#[test]
fn an_owner_that_ends_with_an_inheriting_mutex_leaves_its_waiter_stuck_not_the_machine() {
    let owner = vec![Op::Lock(0), run(5 * MS)];
    let waiter = vec![sleep(MS), Op::Lock(0), run(MS)];
    let mut tasks = inheriting(vec![owner, waiter], &["m"]);
    tasks.tasks[1].attr = fifo(50);
    let error = try_go(&config(1, S), &tasks).0.unwrap_err();
    assert!(matches!(error, RunError::Stuck { tasks: 1, .. }), "{error}");
}

fn with_semaphore(programs: Vec<Vec<Op>>, value: u32) -> Workload {
    let mut workload = common::workload(programs);
    workload.semaphores = vec![Semaphore { name: "s".to_owned(), value }];
    workload
}

#[test]
fn a_post_that_nobody_waits_for_is_kept() {
    let take = |first: u64| vec![run(first), Op::SemWait(0), run(MS)];
    let post = vec![run(2 * MS), Op::SemPost(0), run(5 * MS), Op::SemPost(0), run(MS)];
    // Task 0 comes when one post is there, task 1 finds none left and waits for the second.
    let (_, got) = go(&config(3, S), &with_semaphore(vec![take(3 * MS), take(4 * MS), post], 0));
    assert_eq!(got.wakeups(0), []);
    assert_eq!(got.wakeups(1), [(7 * MS, Some(2))]);
    assert_eq!(got.exits(), [(4 * MS, 0), (8 * MS, 2), (8 * MS, 1)]);
}

#[test]
fn a_semaphore_can_be_taken_as_often_as_its_value_says() {
    let take = |first: u64| vec![run(first), Op::SemWait(0), run(MS)];
    let mut tasks = with_semaphore(vec![take(MS), take(2 * MS), take(3 * MS)], 2);
    tasks.stuck_is_end = true;
    let (summary, got) = go(&config(3, S), &tasks);
    assert_eq!(got.exits(), [(2 * MS, 0), (3 * MS, 1)]);
    let End::Stuck(waiting) = &summary.end else { panic!("{:?}", summary.end) };
    assert_eq!(waiting[0].waits_for, WaitsFor::Semaphore("s".to_owned()));
}

#[test]
fn two_posts_at_once_for_one_waiter_leave_one() {
    let post = || vec![run(2 * MS), Op::SemPost(0)];
    let take = vec![Op::SemWait(0), run(MS), Op::SemWait(0), run(MS)];
    let mut config = config(3, S);
    config.costs.wakeup_ns = 10 * US;
    let (_, got) = go(&config, &with_semaphore(vec![take, post(), post()], 0));
    assert_eq!(got.exits().last(), Some(&(4 * MS + 10 * US, 0)));
}

#[test]
fn who_comes_too_late_for_a_time_does_not_sleep() {
    let at = |ms: u64| Op::SleepUntil { at_ns: ms * MS };
    let tasks = common::workload(vec![vec![at(5), run(7 * MS), at(10), run(MS), at(20), run(MS)]]);
    let (_, got) = go(&config(1, S), &tasks);
    assert_eq!(got.gets(0), [0, 5 * MS, 20 * MS]);
    // The second job is as late as it is: from 10 ms on.
    assert_eq!(got.responses(0), [(0, 0), (12 * MS, 7 * MS), (13 * MS, 3 * MS), (21 * MS, MS)]);
}

#[test]
fn an_idle_cpu_takes_its_time_to_begin_and_a_busy_one_does_not() {
    let mut config = config(1, S);
    config.costs.idle_exit_ns = 50 * US;
    let tasks = common::workload(vec![vec![sleep(5 * MS), run(MS)]]);
    let (_, got) = go(&config, &tasks);
    // Both times it begins to run: at the start, and after its sleep.
    assert_eq!(got.gets(0), [50 * US, 5 * MS + 100 * US]);
    let mut tasks = common::workload(vec![vec![sleep(5 * MS), run(MS)], vec![run(20 * MS)]]);
    tasks.tasks[0].attr = fifo(1);
    let (_, got) = go(&config, &tasks);
    // After the start nobody is idle any more.
    assert_eq!(got.gets(0), [50 * US, 5 * MS + 50 * US]);
}
