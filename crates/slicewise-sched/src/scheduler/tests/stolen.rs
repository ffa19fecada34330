//! Interrupts are charged to nobody.

use super::deadline::dl;
use super::*;

#[test]
fn a_fair_task_is_not_charged_for_interrupts() {
    for profile in Profile::ALL.iter().filter(|profile| profile.name != "7.3") {
        let mut host = Host::new(profile.name, 1, 250);
        let task = host.spawn(Policy::Normal, 0);
        let start = host.sched.fair_values(task).unwrap().0;
        for (at_ns, length_ns) in [(MS, MS / 2), (MS + MS / 4, MS / 4)] {
            host.sched.steal(at_ns, CpuId(0), length_ns).unwrap();
        }
        // Both are over at 1.75 ms; before that, nothing is charged.
        for (at_ns, charged_ns) in [(MS + MS / 2, MS), (2 * MS, MS + MS / 4)] {
            host.sched.charge(at_ns, CpuId(0)).unwrap();
            let ran = host.sched.fair_values(task).unwrap().0.wrapping_sub(start);
            assert_eq!(ran, charged_ns, "{} at {at_ns}", profile.name);
        }
    }
}

#[test]
fn budgets_of_deadline_tasks_do_not_shrink_in_interrupts() {
    let mut host = Host::new("6.12", 1, 250);
    let task = host.spawn(dl(5, 20, 20), 0);
    host.sched.steal(MS, CpuId(0), 2 * MS).unwrap();
    for (at_ns, left_ns) in [(2 * MS, 4 * MS), (4 * MS, 3 * MS)] {
        host.sched.tick(at_ns, CpuId(0)).unwrap();
        let left = host.sched.deadline_values(task).unwrap().runtime_left_ns;
        assert_eq!(left, left_ns as i64, "at {at_ns}");
    }
}

#[test]
fn quotas_of_groups_do_not_shrink_in_interrupts() {
    let mut host = Host::new("6.12", 1, 250);
    let group = host.sched.create_group(None).unwrap();
    host.spawn_with(Spawn { group: Some(group), ..Spawn::default() });
    let averages = |host: &Host| host.sched.inspect(CpuId(0)).unwrap().average_vruntime_ns;
    let start = averages(&host).unwrap();
    host.sched.steal(MS, CpuId(0), 2 * MS).unwrap();
    host.sched.charge(4 * MS, CpuId(0)).unwrap();
    // A group of one full task weighs as much as one.
    assert_eq!(averages(&host).unwrap() - start, 2 * MS as i64);
}

#[test]
fn interrupts_of_idle_cpus_change_nothing() {
    let mut host = Host::new("6.12", 1, 250);
    host.sched.steal(MS, CpuId(0), MS).unwrap();
    assert!(host.sched.steal(MS, CpuId(1), MS).is_err());
    host.now_ns = MS + MS / 2;
    let task = host.spawn(Policy::Normal, 0);
    let start = host.sched.fair_values(task).unwrap().0;
    host.sched.charge(2 * MS, CpuId(0)).unwrap();
    let ran = host.sched.fair_values(task).unwrap().0.wrapping_sub(start);
    assert_eq!(ran, MS / 2);
}
