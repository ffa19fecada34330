//! The numbered cases and worked examples as whole sets.

#![allow(clippy::unwrap_used, reason = "a test may")]

use slicewise_rtcheck::{
    Analysis, Assignment, Demand, Errno, KernelRules, Policy, Task, TaskSet, UnknownTask, check,
    most_critical, worst_case,
};

const MS: u64 = 1_000_000;

fn rules(name: &str) -> KernelRules {
    KernelRules::named(name).unwrap()
}

fn analyse(set: &TaskSet) -> Analysis {
    check(set, &rules("6.12")).unwrap()
}

/// FIFO tasks in order of priority, in ms.
fn fifo(tasks: &[(u64, u64)]) -> TaskSet {
    let task = |(at, (wcet, period)): (usize, &(u64, u64))| Task {
        priority: Some(90 - at as u8),
        ..Task::new(format!("t{at}"), wcet * MS, period * MS)
    };
    TaskSet::new(tasks.iter().enumerate().map(task).collect())
}

/// Deadline tasks: (runtime, deadline, period) in ms.
fn deadline(tasks: &[(u64, u64, u64)]) -> TaskSet {
    let task = |(at, (wcet, deadline, period)): (usize, &(u64, u64, u64))| Task {
        policy: Policy::Deadline,
        deadline_ns: deadline * MS,
        ..Task::new(format!("d{at}"), wcet * MS, period * MS)
    };
    TaskSet::new(tasks.iter().enumerate().map(task).collect())
}

fn responses_ms(analysis: &Analysis) -> Vec<Option<u64>> {
    analysis.tasks.iter().map(|task| task.response_bound_ns.map(|ns| ns / MS)).collect()
}

#[test]
fn case_87_a_set_over_the_bound_misses_by_two() {
    let set = fifo(&[(10, 30), (10, 40), (12, 50)]);
    let analysis = analyse(&set);
    assert_eq!(responses_ms(&analysis), [Some(10), Some(20), Some(52)]);
    assert_eq!(analysis.schedulable, Some(false));
    let core = &analysis.cores[0];
    assert_eq!((core.liu_layland, core.hyperbolic), (Some(false), Some(false)));
    assert!(core.bounds_apply && core.liu_layland_ppb / 1000 == 779_763);
    assert!(analysis.kernel.admitted, "FIFO is never refused");
    assert!(analysis.remarks.iter().any(|remark| remark.contains("never refuses SCHED_FIFO")));
    let timeline = worst_case(&set, &analysis, most_critical(&set, &analysis).unwrap()).unwrap();
    assert_eq!((timeline.task, timeline.response_ns()), (2, 52 * MS));
    assert_eq!((timeline.ended, timeline.due_ns), (true, i128::from(50 * MS)));
}

#[test]
fn case_87_a_set_within_the_bound_meets() {
    let analysis = analyse(&fifo(&[(4, 16), (5, 40), (32, 80)]));
    assert_eq!(responses_ms(&analysis), [Some(4), Some(9), Some(58)]);
    assert_eq!((analysis.schedulable, analysis.cores[0].liu_layland), (Some(true), Some(true)));
    assert!(analysis.tasks.iter().all(|task| task.exact && task.slack_ns.is_some()));
}

#[test]
fn case_87_constrained_deadlines_by_deadline_and_by_rate() {
    let named = [("d", 3, 5, 20), ("c", 3, 7, 15), ("b", 4, 10, 10), ("a", 3, 20, 20)];
    let tasks = |priorities: [u8; 4]| -> TaskSet {
        let task = |(at, (name, wcet, deadline, period)): (usize, &(&str, u64, u64, u64))| Task {
            deadline_ns: deadline * MS,
            priority: Some(priorities[at]),
            ..Task::new(*name, wcet * MS, period * MS)
        };
        TaskSet::new(named.iter().enumerate().map(task).collect())
    };
    let by_deadline = analyse(&tasks([54, 53, 52, 51]));
    assert_eq!(responses_ms(&by_deadline), [Some(3), Some(6), Some(10), Some(20)]);
    assert_eq!(by_deadline.schedulable, Some(true));
    let by_rate = analyse(&tasks([52, 53, 54, 51]));
    assert_eq!(by_rate.tasks[0].meets, Some(false));
    let suggestion = &by_rate.suggestions[0];
    assert_eq!(suggestion.deadline_monotonic, (vec![99, 98, 97, 96], Some(true)));
    assert_eq!(suggestion.audsley, Assignment::Found(vec![99, 98, 97, 96]));
    // Without priorities the analysis chooses these.
    let mut open = tasks([1; 4]);
    open.tasks.iter_mut().for_each(|task| task.priority = None);
    open.band = (51, 54);
    let chosen = analyse(&open);
    assert!(chosen.priorities_chosen && chosen.schedulable == Some(true));
    let priorities: Vec<_> = chosen.tasks.iter().map(|task| task.priority).collect();
    assert_eq!(priorities, [Some(54), Some(53), Some(52), Some(51)]);
}

#[test]
fn case_88_rate_monotonic_misses_what_edf_meets_and_the_kernel_refuses() {
    let analysis = analyse(&fifo(&[(1, 4), (2, 6), (3, 8)]));
    assert_eq!(responses_ms(&analysis), [Some(1), Some(3), Some(10)]);
    assert_eq!(analysis.schedulable, Some(false));
    assert_eq!(analysis.suggestions[0].audsley, Assignment::Impossible);
    let analysis = analyse(&deadline(&[(1, 4, 4), (2, 6, 6), (3, 8, 8)]));
    assert_eq!(analysis.schedulable, Some(true));
    let kernel = &analysis.kernel;
    assert_eq!((kernel.first_refused, kernel.errno()), (Some(2), Some(Errno::Ebusy)));
    assert!(
        analysis.remarks[0].contains("EDF would meet every deadline"),
        "{:?}",
        analysis.remarks
    );
}

#[test]
fn case_89_the_kernel_documents_set_meets_and_is_admitted() {
    let analysis = analyse(&deadline(&[(50, 50, 100), (10, 100, 100)]));
    assert_eq!(responses_ms(&analysis), [Some(50), Some(60)]);
    assert_eq!((analysis.schedulable, analysis.kernel.admitted), (Some(true), true));
    assert!(analysis.remarks.is_empty(), "{:?}", analysis.remarks);
}

fn analysis_of_two() -> TaskSet {
    deadline(&[(9, 10, 1000), (9, 10, 1000)])
}

#[test]
fn a_deadline_tasks_worst_case_may_begin_after_the_others() {
    let set = deadline(&[(3, 5, 30), (6, 8, 30), (10, 30, 30)]);
    let analysis = analyse(&set);
    let timeline = worst_case(&set, &analysis, 0).unwrap();
    assert_eq!((timeline.release_ns, timeline.response_ns()), (i128::from(3 * MS), 6 * MS));
    assert_eq!(analysis.tasks[0].response_bound_ns, Some(6 * MS));
}

#[test]
fn case_89_admitted_is_not_schedulable() {
    let analysis = analyse(&analysis_of_two());
    assert_eq!((analysis.schedulable, analysis.kernel.admitted), (Some(false), true));
    let witness = Demand::Exceeds { interval_ns: 10 * MS, demand_ns: 18 * u128::from(MS) };
    assert_eq!(analysis.cores[0].demand, Some(witness));
    let timeline = worst_case(&analysis_of_two(), &analysis, 0).unwrap();
    assert_eq!(timeline.response_ns(), 18 * MS);
    let remark = &analysis.remarks[0];
    assert!(remark.contains("18 ms") && remark.contains("admitted is not schedulable"), "{remark}");
}

#[test]
fn case_92_four_dense_tasks_on_two_cpus_are_admitted_and_late() {
    let mut set = deadline(&[(9, 10, 1000); 4]);
    set.cpus = 2;
    let analysis = analyse(&set);
    assert_eq!((analysis.schedulable, analysis.kernel.admitted), (Some(false), true));
    assert_eq!(analysis.cores[0].gfb, Some(false));
    assert!(analysis.remarks[0].contains("admitted is not schedulable"));
}

#[test]
fn w16_dhalls_set_is_refuted_by_its_schedule() {
    let mut set = deadline(&[(1, 999, 999), (1, 999, 999), (1000, 1000, 1000)]);
    set.cpus = 2;
    let analysis = check(&set, &rules("6.1")).unwrap();
    assert_eq!(analysis.tasks[2].meets, Some(false));
    assert!(analysis.kernel.admitted);
    assert!(analysis.remarks[0].contains("Dhall"), "{:?}", analysis.remarks);
}

#[test]
fn global_edf_is_proven_by_density_and_bounded_by_tardiness() {
    let mut set = deadline(&[(5, 20, 20), (5, 20, 20), (5, 20, 20)]);
    set.cpus = 2;
    let analysis = analyse(&set);
    assert_eq!((analysis.schedulable, analysis.cores[0].gfb), (Some(true), Some(true)));
    let mut set = deadline(&[(10, 20, 20), (10, 20, 20), (10, 20, 20), (1, 20, 20)]);
    set.cpus = 2;
    let analysis = analyse(&set);
    assert_eq!((analysis.schedulable, analysis.cores[0].gfb), (None, Some(false)));
    assert!(analysis.kernel.admitted);
    // ((2 − 1)·10 − 1) / 2 + 10.
    assert_eq!(analysis.cores[0].tardiness_ns, Some(14_500_000));
    assert_eq!(analysis.tasks[0].response_bound_ns, Some(34_500_000));
}

#[test]
fn each_kernel_admits_by_its_own_cap() {
    let set = deadline(&[(46, 100, 100), (46, 100, 100)]);
    for (kernel, admitted) in
        [("6.1", true), ("6.6", true), ("6.12", false), ("6.18", false), ("7.2", true)]
    {
        let analysis = check(&set, &rules(kernel)).unwrap();
        assert_eq!(analysis.kernel.admitted, admitted, "{kernel}");
        assert_eq!(analysis.schedulable, Some(true), "{kernel}");
    }
    let refused = check(&set, &rules("6.12")).unwrap();
    assert_eq!(
        (refused.kernel.first_refused, refused.kernel.errno()),
        (Some(1), Some(Errno::Ebusy))
    );
}

#[test]
fn the_first_broken_rule_is_the_kernels_errno() {
    let mut set = deadline(&[(1, 10, 10), (1, 20, 10)]);
    let analysis = analyse(&set);
    assert_eq!(
        (analysis.kernel.first_refused, analysis.kernel.errno()),
        (Some(1), Some(Errno::Einval))
    );
    assert_eq!(analysis.schedulable, Some(true));
    set = deadline(&[(1, 10, 10)]);
    (set.cpus, set.tasks[0].core) = (2, Some(1));
    let analysis = analyse(&set);
    assert_eq!(analysis.kernel.errno(), Some(Errno::Eperm));
    assert!(analysis.remarks[0].contains("exclusive cpuset"));
}

#[test]
fn deadline_tasks_come_before_fifo_on_the_same_cpu() {
    let mut set = fifo(&[(2, 20)]);
    set.tasks.extend(deadline(&[(3, 10, 10)]).tasks);
    let analysis = analyse(&set);
    assert_eq!(responses_ms(&analysis), [Some(5), Some(3)]);
}

#[test]
fn a_reservation_smaller_than_its_work_is_late_for_that_reason() {
    let mut set = deadline(&[(5, 20, 20)]);
    set.tasks[0].runtime_ns = Some(4 * MS);
    let analysis = analyse(&set);
    assert_eq!((analysis.schedulable, analysis.kernel.admitted), (Some(false), true));
    assert!(analysis.remarks.iter().any(|r| r.contains("reserves 4 ms")), "{:?}", analysis.remarks);
}

#[test]
fn cores_are_judged_one_by_one() {
    let mut set = fifo(&[(10, 30), (10, 40), (12, 50)]);
    set.cpus = 2;
    for (task, core) in set.tasks.iter_mut().zip([0, 0, 1]) {
        task.core = Some(core);
    }
    let analysis = analyse(&set);
    assert_eq!(responses_ms(&analysis), [Some(10), Some(20), Some(12)]);
    assert_eq!(analysis.cores.len(), 2);
    assert_eq!(analysis.schedulable, Some(true));
}

#[test]
fn a_task_without_a_core_weighs_on_every_core() {
    let mut set = fifo(&[(5, 100), (10, 40), (10, 40)]);
    set.cpus = 2;
    (set.tasks[1].core, set.tasks[2].core) = (Some(0), Some(1));
    let analysis = analyse(&set);
    assert_eq!(responses_ms(&analysis), [Some(5), Some(15), Some(15)]);
    assert!(!analysis.tasks[1].exact && analysis.schedulable == Some(true));
}

#[test]
fn three_long_global_fifo_tasks_on_two_cpus_are_refuted_by_example() {
    let mut set = fifo(&[(6, 10), (6, 10), (6, 10)]);
    set.cpus = 2;
    let analysis = analyse(&set);
    assert_eq!(analysis.tasks[2].meets, Some(false));
    assert!(analysis.tasks[2].note.as_deref().unwrap().contains("released together"));
}

#[test]
fn what_an_unknown_task_may_delay_is_not_proven() {
    let mut set = fifo(&[(1, 10), (1, 20)]);
    set.unknown.push(UnknownTask {
        name: "hog".into(),
        policy: Policy::Fifo,
        priority: Some(89),
        core: None,
        reason: "it runs for ever".into(),
    });
    let analysis = analyse(&set);
    assert_eq!(analysis.tasks[0].meets, Some(true));
    assert_eq!(analysis.tasks[1].meets, None);
    assert_eq!(analysis.schedulable, None);
    assert!(analysis.remarks.iter().any(|remark| remark.contains("hog")));
}

#[test]
fn context_switches_are_charged_twice_a_job() {
    let mut set = fifo(&[(1, 10), (2, 20)]);
    set.context_switch_ns = 5_000;
    let analysis = analyse(&set);
    let bounds: Vec<_> = analysis.tasks.iter().map(|task| task.response_bound_ns).collect();
    assert_eq!(bounds, [Some(MS + 10_000), Some(3 * MS + 20_000)]);
}

#[test]
fn slack_is_exact_to_the_nanosecond() {
    let mut set = fifo(&[(4, 16), (5, 40), (32, 80)]);
    let slack = |set: &TaskSet| -> Vec<u64> {
        analyse(set).tasks.iter().map(|task| task.slack_ns.unwrap()).collect()
    };
    let found = slack(&set);
    for (at, more) in found.into_iter().enumerate() {
        let wcet = set.tasks[at].wcet_ns;
        set.tasks[at].wcet_ns = wcet + more;
        assert_eq!(analyse(&set).schedulable, Some(true), "{at} + {more}");
        set.tasks[at].wcet_ns = wcet + more + 1;
        assert_eq!(analyse(&set).schedulable, Some(false), "{at} + {more} + 1");
        set.tasks[at].wcet_ns = wcet;
    }
}

#[test]
fn the_safety_net_is_named_only_where_it_can_open() {
    let heavy = fifo(&[(96, 100)]);
    let analysis = check(&heavy, &rules("6.1")).unwrap();
    assert!(analysis.remarks.iter().any(|remark| remark.contains("RT throttling")));
    let analysis = check(&heavy, &rules("6.12")).unwrap();
    assert!(analysis.remarks.iter().any(|remark| remark.contains("fair server")));
    let light = check(&fifo(&[(50, 100)]), &rules("6.1")).unwrap();
    assert!(light.remarks.is_empty(), "{:?}", light.remarks);
}

#[test]
fn priorities_are_given_to_all_or_to_none() {
    let mut set = fifo(&[(1, 10), (1, 20)]);
    set.tasks[0].priority = None;
    let fault = check(&set, &rules("6.12")).unwrap_err();
    assert!(fault.contains("t0") && fault.contains("t1"), "{fault}");
}

#[test]
fn faults_are_refused_by_name() {
    let base = || fifo(&[(1, 10)]);
    let spoil = |change: fn(&mut TaskSet)| {
        let mut set = base();
        change(&mut set);
        check(&set, &rules("6.12")).unwrap_err()
    };
    assert!(spoil(|set| set.cpus = 0).contains("0 CPUs"));
    assert!(spoil(|set| set.tasks[0].wcet_ns = 0).contains("t0"));
    assert!(spoil(|set| set.tasks[0].period_ns = u64::MAX).contains("a year"));
    assert!(spoil(|set| set.tasks[0].core = Some(1)).contains("core"));
    assert!(spoil(|set| set.tasks[0].priority = Some(100)).contains("1 to 99"));
    assert!(spoil(|set| set.band = (9, 8)).contains("9 to 8"));
    let none = analyse(&TaskSet::new(Vec::new()));
    assert_eq!(none.schedulable, Some(true));
}
