//! The analysis against simulation and exhaustive search on small numbers.
//!
//! The simulators here know nothing of the library's: time moves in steps of 1, and in every step
//! the rules are applied from scratch.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use slicewise_rtcheck::assign::{Candidate, audsley};
use slicewise_rtcheck::edf::{EdfTask, demand_ns, processor_demand, response_times};
use slicewise_rtcheck::fixed::response_time;
use slicewise_rtcheck::global::{GlobalTask, passes_gfb, tardiness_bound_ns};
use slicewise_rtcheck::{
    Assignment, Budget, Demand, KernelRules, Load, Policy, Task, TaskSet, check,
};

fn budget() -> Budget {
    Budget::new(50_000_000)
}

fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

fn hyperperiod(loads: impl Iterator<Item = Load>) -> u64 {
    loads.fold(1, |all, load| lcm(all, load.period_ns))
}

fn load(wcet_ns: u64, period_ns: u64, jitter_ns: u64) -> Load {
    Load { wcet_ns, period_ns, jitter_ns }
}

/// Exactly: Σ C·(H/T) against H.
fn demand_of_hyperperiod(loads: &[Load]) -> (u64, u64) {
    let all = hyperperiod(loads.iter().copied());
    (loads.iter().map(|load| load.wcet_ns * (all / load.period_ns)).sum(), all)
}

/// The longest response, from nominal release, of the last task under fixed priorities in order,
/// when all are first ready at 0, late by their jitter, after a section of that length.
fn simulate_fixed(tasks: &[Load], blocking: u64, until: u64) -> u64 {
    let own = tasks.len() - 1;
    // Per task: nominal releases (plus jitter) of the jobs that wait, and what is left of the first.
    let mut queues: Vec<Vec<u64>> = vec![Vec::new(); tasks.len()];
    let mut left: Vec<u64> = tasks.iter().map(|task| task.wcet_ns).collect();
    let (mut held, mut longest) = (blocking, 0);
    for now in 0..until {
        for (task, queue) in tasks.iter().zip(&mut queues) {
            let job = (0..).map(|k: u64| (k * task.period_ns, k * task.period_ns));
            let mut ready = job.map(|(at, nominal)| (at.saturating_sub(task.jitter_ns), nominal));
            let fresh = ready.by_ref().take_while(|(at, _)| *at <= now);
            queue.extend(fresh.filter(|(at, _)| *at == now).map(|(_, nominal)| nominal));
        }
        if held > 0 {
            held -= 1;
            continue;
        }
        let Some(runs) = queues.iter().position(|queue| !queue.is_empty()) else { continue };
        left[runs] -= 1;
        if left[runs] == 0 {
            left[runs] = tasks[runs].wcet_ns;
            let nominal = queues[runs].remove(0);
            if runs == own {
                // Nominal times are later by the jitter than they are in this clock.
                longest = longest.max(now + 1 + tasks[own].jitter_ns - nominal);
            }
        }
    }
    longest
}

fn loads(most: usize, jitter: u64) -> impl Strategy<Value = Vec<Load>> {
    let one = (1_u64..5, 2_u64..13, 0..=jitter).prop_map(|(c, t, j)| load(c.min(t), t, j));
    prop::collection::vec(one, 1..=most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn the_response_is_that_of_the_schedule_from_the_critical_instant(tasks in loads(4, 0)) {
        let (work, all) = demand_of_hyperperiod(&tasks);
        let (own, higher) = tasks.split_last().unwrap();
        let found = response_time(*own, 0, higher, &mut budget()).bound_ns();
        match work <= all {
            true => prop_assert_eq!(found, Some(simulate_fixed(&tasks, 0, all))),
            false => prop_assert_eq!(found, None),
        }
    }

    #[test]
    fn jitter_and_blocking_take_exactly_what_they_take_in_the_schedule(
        tasks in loads(3, 15),
        blocking in 0_u64..6,
    ) {
        let (work, all) = demand_of_hyperperiod(&tasks);
        prop_assume!(work <= all);
        let (own, higher) = tasks.split_last().unwrap();
        let found = response_time(*own, blocking, higher, &mut budget()).bound_ns();
        // By then the backlog of the beginning is gone: each hyperperiod works off at least 1.
        let backlog: u64 =
            blocking + tasks.iter().map(|t| (t.jitter_ns / t.period_ns + 1) * t.wcet_ns).sum::<u64>();
        // At exactly 1 it never is, and everything repeats.
        let until = all * (backlog.div_ceil((all - work).max(1)).min(200) + 2);
        prop_assert_eq!(found, Some(simulate_fixed(&tasks, blocking, until)));
    }
}

/// Jobs of a task with this offset, up to `until`: (release, task).
fn releases(tasks: &[Load], offsets: &[u64], until: u64) -> Vec<(u64, usize)> {
    let mut all = Vec::new();
    for (at, task) in tasks.iter().enumerate() {
        all.extend(
            (0..).map(|k| (offsets[at] + k * task.period_ns, at)).take_while(|j| j.0 < until),
        );
    }
    all
}

/// The longest responses when jobs run in the order of a key, smaller first, on some CPUs.
fn simulate(
    tasks: &[Load],
    offsets: &[u64],
    cpus: usize,
    until: u64,
    key: impl Fn(u64, usize) -> (u64, u64),
) -> Vec<u64> {
    let mut jobs: Vec<(u64, usize, u64)> = releases(tasks, offsets, until)
        .into_iter()
        .map(|(release, task)| (release, task, tasks[task].wcet_ns))
        .collect();
    jobs.sort_by_key(|(release, task, _)| key(*release, *task));
    let mut longest = vec![0; tasks.len()];
    let mut now = 0;
    while !jobs.is_empty() {
        let mut running = Vec::new();
        let mut busy = vec![false; tasks.len()];
        for (at, (release, task, _)) in jobs.iter().enumerate() {
            // A task's jobs go one after the other.
            if *release <= now && running.len() < cpus && !busy[*task] {
                busy[*task] = true;
                running.push(at);
            }
        }
        now += 1;
        for at in running.into_iter().rev() {
            jobs[at].2 -= 1;
            if jobs[at].2 == 0 {
                let (release, task, _) = jobs.remove(at);
                longest[task] = longest[task].max(now - release);
            }
        }
    }
    longest
}

/// Every combination of offsets below the periods.
fn all_offsets(tasks: &[Load]) -> Vec<Vec<u64>> {
    tasks.iter().fold(vec![Vec::new()], |combined, task| {
        let with = |offsets: &Vec<u64>| {
            let offsets = offsets.clone();
            (0..task.period_ns).map(move |offset| [offsets.clone(), vec![offset]].concat())
        };
        combined.iter().flat_map(with).collect()
    })
}

fn tiny(most: usize) -> impl Strategy<Value = Vec<Load>> {
    let one = (1_u64..5, 2_u64..8).prop_map(|(c, t)| load(c.min(t), t, 0));
    prop::collection::vec(one, 2..=most)
}

fn edf_task(load: Load, deadline_ns: u64, blocking_ns: u64) -> EdfTask {
    EdfTask { load, deadline_ns, blocking_ns }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn fifo_equals_wait_exactly_as_long_as_in_the_worst_of_all_offsets(tasks in tiny(3)) {
        let (work, all) = demand_of_hyperperiod(&tasks);
        prop_assume!(work <= all);
        let fifo = |(at, load): (usize, &Load)| Task {
            priority: Some(50),
            deadline_ns: 1000,
            ..Task::new(format!("t{at}"), load.wcet_ns, load.period_ns)
        };
        let set = TaskSet::new(tasks.iter().enumerate().map(fifo).collect());
        let analysis = check(&set, &KernelRules::named("6.1").unwrap()).unwrap();
        let mut longest = vec![0; tasks.len()];
        for offsets in all_offsets(&tasks) {
            for own in 0..tasks.len() {
                // Of those that come together, the one looked at goes last.
                let last = |release, task| (release, u64::from(task == own));
                let found = simulate(&tasks, &offsets, 1, 2 * all + 16, last);
                longest[own] = longest[own].max(found[own]);
            }
        }
        for (verdict, longest) in analysis.tasks.iter().zip(longest) {
            let bound = verdict.response_bound_ns.unwrap();
            let wrong = if verdict.exact { bound != longest } else { bound < longest };
            prop_assert!(!wrong, "{verdict:?} {longest}");
            // Order of arrival is all there is while nobody is late for the next job.
            let orderly = tasks.iter().all(|task| longest <= task.period_ns);
            prop_assert_eq!(verdict.exact, orderly);
        }
    }

    #[test]
    fn edf_responses_are_those_of_the_worst_offsets_and_agree_with_the_demand_test(
        set in tiny(3).prop_flat_map(|tasks| {
            let deadlines = prop::collection::vec(1_u64..14, tasks.len());
            (Just(tasks), deadlines)
        }),
    ) {
        let (tasks, deadlines) = set;
        let (work, all) = demand_of_hyperperiod(&tasks);
        prop_assume!(work <= all);
        let edf: Vec<EdfTask> =
            tasks.iter().zip(&deadlines).map(|(load, d)| edf_task(*load, *d, 0)).collect();
        let found = response_times(&edf, &mut budget());
        let mut longest = vec![0; tasks.len()];
        for offsets in all_offsets(&tasks) {
            for own in 0..tasks.len() {
                let due = |release, task: usize| (release + deadlines[task], u64::from(task == own));
                let responses = simulate(&tasks, &offsets, 1, 2 * all + 32, due);
                longest[own] = longest[own].max(responses[own]);
            }
        }
        let longest: Vec<Option<u64>> = longest.into_iter().map(Some).collect();
        prop_assert_eq!(&found, &longest);
        let met = found.iter().zip(&deadlines).all(|(r, d)| r.is_some_and(|r| r <= *d));
        prop_assert_eq!(processor_demand(&edf, &mut budget()).verdict(), Some(met));
    }

    #[test]
    fn what_passes_gfb_is_never_late_and_tardiness_is_never_exceeded(
        tasks in prop::collection::vec((1_u64..6, 2_u64..9, 0_u64..9), 2..6),
        cpus in 2_usize..4,
    ) {
        let loads: Vec<Load> = tasks.iter().map(|(c, t, _)| load(*c.min(t), *t, 0)).collect();
        let offsets: Vec<u64> = tasks.iter().map(|(.., offset)| *offset).collect();
        let global: Vec<GlobalTask> = loads
            .iter()
            .map(|l| GlobalTask { wcet_ns: l.wcet_ns, period_ns: l.period_ns, deadline_ns: l.period_ns })
            .collect();
        let due = |release, task: usize| (release + loads[task].period_ns, task as u64);
        let longest = simulate(&loads, &offsets, cpus, 200, due);
        let late: Vec<u64> =
            longest.iter().zip(&loads).map(|(r, l)| r.saturating_sub(l.period_ns)).collect();
        if passes_gfb(&global, cpus as u32) == Some(true) {
            prop_assert!(late.iter().all(|late| *late == 0), "{late:?}");
        }
        if let Some(bound) = tardiness_bound_ns(&global, cpus as u32) {
            prop_assert!(late.iter().all(|late| *late <= bound), "{late:?} {bound}");
        }
    }

    #[test]
    fn global_fixed_priority_bounds_hold_for_any_offsets(
        tasks in prop::collection::vec((1_u64..6, 4_u64..12, 0_u64..9), 2..6),
        cpus in 2_usize..4,
    ) {
        let loads: Vec<Load> = tasks.iter().map(|(c, t, _)| load(*c.min(t), *t, 0)).collect();
        let offsets: Vec<u64> = tasks.iter().map(|(.., offset)| *offset).collect();
        let fifo = |(at, load): (usize, &Load)| Task {
            priority: Some(90 - at as u8),
            ..Task::new(format!("t{at}"), load.wcet_ns, load.period_ns)
        };
        let mut set = TaskSet::new(loads.iter().enumerate().map(fifo).collect());
        set.cpus = cpus as u32;
        let analysis = check(&set, &KernelRules::named("6.1").unwrap()).unwrap();
        let longest = simulate(&loads, &offsets, cpus, 200, |release, task| (task as u64, release));
        for (at, verdict) in analysis.tasks.iter().enumerate() {
            // Tasks below one that is late may be late for that reason.
            if analysis.tasks[..=at].iter().all(|task| task.meets == Some(true)) {
                prop_assert!(verdict.response_bound_ns.unwrap() >= longest[at], "{at} {analysis:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn qpa_finds_what_looking_at_every_interval_finds(
        tasks in prop::collection::vec((1_u64..5, 2_u64..13, 1_u64..30, 0_u64..6, 0_u64..4), 1..5),
    ) {
        let edf: Vec<EdfTask> =
            tasks.iter().map(|(c, t, d, j, b)| edf_task(load(*c, *t, *j), *d, *b)).collect();
        let all: Vec<Load> = edf.iter().map(|task| task.load).collect();
        let (work, hyper) = demand_of_hyperperiod(&all);
        let too_late = edf.iter().any(|task| task.deadline_ns <= task.load.jitter_ns);
        // Demand beyond this only repeats: h(t + H) = h(t) + U·H.
        let until = hyper + 64;
        let exceeds = (1..=until).any(|t| demand_ns(&edf, t) > u128::from(t));
        let fits = work <= hyper && !too_late && !exceeds;
        let found = processor_demand(&edf, &mut budget());
        prop_assert_eq!(found.verdict(), Some(fits), "{:?}", found);
        if let Demand::Exceeds { interval_ns, demand_ns: demand } = found
            && interval_ns > 0
        {
            prop_assert_eq!(demand_ns(&edf, interval_ns), demand);
        }
    }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let insert = |order: Vec<usize>| {
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, count - 1);
            order
        })
    };
    permutations(count - 1).into_iter().flat_map(insert).collect()
}

/// Whether these levels meet all deadlines, with equals as bad as more important ones.
fn levels_meet(tasks: &[Candidate], levels: &[usize]) -> bool {
    (0..tasks.len()).all(|at| {
        let above = (0..tasks.len()).filter(|other| *other != at && levels[*other] >= levels[at]);
        let above: Vec<Load> = above.map(|other| tasks[other].load).collect();
        let task = &tasks[at];
        response_time(task.load, task.blocking_ns, &above, &mut budget()).meets(task.deadline_ns)
            == Some(true)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn audsley_finds_priorities_whenever_any_order_has_them(
        tasks in prop::collection::vec((1_u64..5, 4_u64..16, 2_u64..30, 0_u64..4, 0_u64..3), 1..5),
        room in 1_u8..4,
    ) {
        let candidate = |(c, t, deadline_ns, j, blocking_ns): &(u64, u64, u64, u64, u64)| Candidate {
            load: load(*c, *t, *j),
            deadline_ns: *deadline_ns,
            blocking_ns: *blocking_ns,
        };
        let tasks: Vec<Candidate> = tasks.iter().map(candidate).collect();
        let all: Vec<Load> = tasks.iter().map(|task| task.load).collect();
        let (work, hyper) = demand_of_hyperperiod(&all);
        prop_assume!(work <= hyper);
        let any = permutations(tasks.len()).iter().any(|order| levels_meet(&tasks, order));
        match audsley(&tasks, &[], (1, 99), &mut budget()) {
            Assignment::Found(priorities) => {
                let levels: Vec<usize> = priorities.iter().map(|p| usize::from(*p)).collect();
                prop_assert!(any && levels_meet(&tasks, &levels));
            }
            other => prop_assert!(!any && other == Assignment::Impossible, "{other:?}"),
        }
        // A narrow band: every way to put the tasks on its levels.
        let count = usize::from(room);
        let ways = count.pow(tasks.len() as u32);
        let way = |mut code: usize| -> Vec<usize> {
            tasks.iter().map(|_| { let level = code % count; code /= count; level }).collect()
        };
        let any = (0..ways).any(|code| levels_meet(&tasks, &way(code)));
        let found = audsley(&tasks, &[], (10, 9 + room), &mut budget());
        prop_assert_eq!(matches!(found, Assignment::Found(_)), any, "{:?}", found);
    }
}

fn hostile_ns() -> impl Strategy<Value = u64> {
    prop_oneof![
        1_u64..10,
        999_999_000_u64..1_000_001_000,
        1_u64..31_536_000_000_000_000,
        Just(31_536_000_000_000_000),
    ]
}

fn hostile_task() -> impl Strategy<Value = Task> {
    let policy = prop_oneof![Just(Policy::Fifo), Just(Policy::Rr), Just(Policy::Deadline)];
    let times = (hostile_ns(), hostile_ns(), hostile_ns(), hostile_ns(), hostile_ns());
    let rest = (policy, 1_u8..100, prop::option::of(0_u32..2), prop::option::of(hostile_ns()));
    (times, rest).prop_map(|((c, t, d, b, j), (policy, priority, core, runtime_ns))| Task {
        name: "t".into(),
        policy,
        wcet_ns: c,
        period_ns: t,
        deadline_ns: d,
        priority: (policy != Policy::Deadline).then_some(priority),
        core,
        blocking_ns: if b % 2 == 0 { 0 } else { b },
        jitter_ns: if j % 2 == 0 { 0 } else { j },
        runtime_ns,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_numbers_make_the_analysis_panic_or_contradict_itself(
        tasks in prop::collection::vec(hostile_task(), 0..8),
        cpus in 2_u32..5,
        context_switch_ns in hostile_ns(),
    ) {
        let set = TaskSet { cpus, context_switch_ns, ..TaskSet::new(tasks) };
        let analysis = check(&set, &KernelRules::named("6.12").unwrap()).unwrap();
        for (task, verdict) in set.tasks.iter().zip(&analysis.tasks) {
            if let (Some(bound), Some(true)) = (verdict.response_bound_ns, verdict.meets) {
                prop_assert!(bound <= task.deadline_ns);
            }
        }
        for at in 0..set.tasks.len() {
            slicewise_rtcheck::worst_case(&set, &analysis, at);
        }
    }
}

#[test]
fn a_thousand_tasks_are_decided_within_the_work_allowed() {
    // Periods of 10 ms to 1 s that share few factors, 90 % load.
    let task = |at: u64| {
        let period = 10_000_000 + at * 990_001;
        let mut task = Task::new(format!("t{at}"), period * 9 / 10_000, period);
        task.priority = Some(99 - (at / 11) as u8);
        task
    };
    let set = TaskSet::new((0..1000).map(task).collect());
    let analysis = check(&set, &KernelRules::named("6.12").unwrap()).unwrap();
    assert!(analysis.tasks.iter().all(|task| task.response_bound_ns.is_some()));
    assert!(analysis.schedulable.is_some());
}

#[test]
fn a_thousand_light_tasks_that_share_priorities_are_proven_and_slack_is_left_where_work_ends() {
    let task = |at: u64| {
        let mut task =
            Task::new(format!("t{at}"), 1_000 * (1 + at % 3), 1_000_000 * (10 + at * 7 % 990));
        task.priority = Some(1 + (at % 99) as u8);
        task
    };
    let set = TaskSet::new((0..1000).map(task).collect());
    let analysis = check(&set, &KernelRules::named("6.12").unwrap()).unwrap();
    assert_eq!(analysis.schedulable, Some(true));
    assert!(analysis.tasks.last().is_some_and(|task| task.slack_ns.is_none()));
}
