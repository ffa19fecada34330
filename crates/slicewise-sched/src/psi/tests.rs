use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const PERIOD: u64 = 2_004 * MS;

/// One (group, CPU) after changes of tasks that slept before, all at time 0.
fn with(tasks: &[Task]) -> CpuPressure {
    let mut cpu = CpuPressure::new(0);
    for task in tasks {
        cpu.change(0, Task::SLEEPS, *task);
    }
    cpu
}

/// some and full of a resource in 1000 ns.
fn share(cpu: &CpuPressure, resource: Resource) -> (u64, u64) {
    (cpu.some_ns(1000, resource), cpu.full_ns(1000, resource))
}

#[test]
fn w26_one_on_the_cpu_and_one_queued_is_some_but_not_full() {
    assert_eq!(share(&with(&[Task::ON_CPU, Task::QUEUED]), Resource::Cpu), (1000, 0));
}

#[test]
fn w26_a_group_whose_only_task_waits_for_another_group_is_full() {
    assert_eq!(share(&with(&[Task::QUEUED]), Resource::Cpu), (1000, 1000));
}

#[test]
fn w26_a_throttled_group_is_full() {
    let mut cpu = with(&[Task::ON_CPU, Task::QUEUED]);
    cpu.change(400, Task::ON_CPU, Task::QUEUED);
    assert_eq!(share(&cpu, Resource::Cpu), (1000, 600));
}

#[test]
fn w26_a_task_on_the_cpu_that_is_held_up_by_memory_is_full() {
    let stalled = Task { memory_stall: true, ..Task::ON_CPU };
    assert_eq!(share(&with(&[stalled]), Resource::Memory), (1000, 1000));
    assert_eq!(share(&with(&[stalled, Task::QUEUED]), Resource::Memory), (1000, 1000));
    let queued = Task { memory_stall: true, ..Task::QUEUED };
    assert_eq!(share(&with(&[queued, Task::ON_CPU]), Resource::Memory), (1000, 0));
    let asleep = Task { memory_stall: true, ..Task::SLEEPS };
    assert_eq!(share(&with(&[asleep]), Resource::Memory), (1000, 1000));
}

#[test]
fn w26_waiting_for_a_device_is_full_once_nobody_runs() {
    let mut cpu = with(&[Task::IO_WAIT, Task::ON_CPU]);
    cpu.change(700, Task::ON_CPU, Task::SLEEPS);
    assert_eq!(share(&cpu, Resource::Io), (1000, 300));
    assert_eq!(share(&cpu, Resource::Cpu), (0, 0));
}

#[test]
fn a_switch_between_two_tasks_of_a_group_changes_nothing_for_it() {
    let mut cpu = with(&[Task::ON_CPU, Task::QUEUED]);
    let before = cpu;
    cpu.change(0, Task::ON_CPU, Task::QUEUED);
    cpu.change(0, Task::QUEUED, Task::ON_CPU);
    assert_eq!(cpu, before);
}

#[test]
fn the_order_in_which_a_switch_is_told_does_not_matter() {
    let (mut first, mut second) = (with(&[Task::ON_CPU, Task::QUEUED]), CpuPressure::new(0));
    second.clone_from(&first);
    first.change(10, Task::ON_CPU, Task::SLEEPS);
    first.change(10, Task::QUEUED, Task::ON_CPU);
    second.change(10, Task::ON_CPU, Task::QUEUED);
    second.change(10, Task::QUEUED, Task::ON_CPU);
    second.change(10, Task::QUEUED, Task::SLEEPS);
    assert_eq!(first, second);
}

fn averages(group: &Pressure) -> [u64; 3] {
    group.some(Resource::Cpu).averages
}

fn printed(group: &Pressure) -> String {
    let text = group.some(Resource::Cpu).to_string();
    text.split_once(" total").map_or_else(String::new, |(averages, _)| averages.to_owned())
}

#[test]
fn w27_averages_of_full_pressure_from_zero_and_of_idle_periods_after() {
    let mut cpu = with(&[Task::ON_CPU, Task::QUEUED]);
    let mut group = Pressure::new(0, 1, 250);
    let mut seen = Vec::new();
    for period in 1..=6 {
        group.sample(period * PERIOD, [&cpu]);
        seen.push((averages(&group), printed(&group)));
    }
    assert_eq!(seen[0], ([37_100, 6_700, 1_400], "avg10=18.11 avg60=3.27 avg300=0.68".to_owned()));
    assert_eq!(seen[1], ([67_480, 13_181, 2_791], "avg10=32.94 avg60=6.43 avg300=1.36".to_owned()));
    assert_eq!(seen[2], ([92_356, 19_450, 4_172], "avg10=45.09 avg60=9.49 avg300=2.03".to_owned()));
    assert_eq!(seen[5].0, [143_064, 37_054, 8_260]);
    assert_eq!(seen[5].1, "avg10=69.85 avg60=18.09 avg300=4.03");
    cpu.change(6 * PERIOD, Task::QUEUED, Task::SLEEPS);
    group.sample(7 * PERIOD, [&cpu]);
    assert_eq!(averages(&group), [117_147, 35_841, 8_203]);
    assert_eq!(printed(&group), "avg10=57.20 avg60=17.50 avg300=4.00");
    group.sample(8 * PERIOD, [&cpu]);
    assert_eq!(averages(&group), [95_925, 34_668, 8_146]);
    assert_eq!(printed(&group), "avg10=46.83 avg60=16.92 avg300=3.97");
}

/// Two busy loops in a group, then none; averages as `cpu.pressure` read them. The loops began
/// within the first period and ended within the ninth: how far, to the per cent, is read off the
/// averages themselves, the rest is not.
#[test]
fn averages_are_those_of_linux_6_1_192_period_by_period() {
    let mut cpu = with(&[Task::ON_CPU]);
    let mut group = Pressure::new(0, 1, 250);
    cpu.change(PERIOD / 100, Task::SLEEPS, Task::QUEUED);
    for (period, averages) in (1..).zip([
        "avg10=17.93 avg60=3.23 avg300=0.67",
        "avg10=32.80 avg60=6.40 avg300=1.35",
        "avg10=44.97 avg60=9.46 avg300=2.03",
        "avg10=54.94 avg60=12.42 avg300=2.70",
        "avg10=63.10 avg60=15.29 avg300=3.36",
        "avg10=69.78 avg60=18.06 avg300=4.02",
        "avg10=75.26 avg60=20.74 avg300=4.68",
        "avg10=79.74 avg60=23.33 avg300=5.33",
        "avg10=65.47 avg60=22.60 avg300=5.30",
        "avg10=53.61 avg60=21.86 avg300=5.26",
    ]) {
        if period == 9 {
            cpu.change(8 * PERIOD + PERIOD / 100, Task::QUEUED, Task::SLEEPS);
        }
        group.sample(period * PERIOD, [&cpu]);
        assert_eq!(printed(&group), averages);
    }
}

#[test]
fn w27_per_cents_are_whole_and_a_steady_half_is_50() {
    let mut cpu = with(&[Task::ON_CPU]);
    let mut group = Pressure::new(0, 1, 250);
    for period in 0..2000 {
        let begin = period * PERIOD;
        cpu.change(begin, Task::SLEEPS, Task::QUEUED);
        cpu.change(begin + PERIOD / 2, Task::QUEUED, Task::SLEEPS);
        group.sample(begin + PERIOD, [&cpu]);
    }
    assert_eq!(printed(&group), "avg10=50.00 avg60=50.00 avg300=50.00");
    let mut cpu = with(&[Task::ON_CPU, Task::QUEUED]);
    let mut group = Pressure::new(0, 1, 250);
    cpu.change(PERIOD / 1000 * 999, Task::QUEUED, Task::SLEEPS);
    group.sample(PERIOD, [&cpu]);
    assert_eq!(averages(&group)[0], 99 * (ONE - 1677));
}

#[test]
fn the_period_is_two_seconds_and_a_tick() {
    let period = |hz| Pressure::new(0, 1, hz).period_ns();
    assert_eq!([100, 250, 1000].map(period), [2_010 * MS, 2_004 * MS, 2_001 * MS]);
}

#[test]
fn missed_periods_decay_as_idle_ones_and_what_is_too_much_is_carried_over() {
    let cpu = with(&[Task::ON_CPU, Task::QUEUED]);
    let mut group = Pressure::new(0, 1, 250);
    // 3 periods at once: 2 count as idle, 1 as full, and 2 periods of pressure are left over.
    group.sample(3 * PERIOD, [&cpu]);
    assert_eq!(averages(&group), [37_100, 6_700, 1_400]);
    assert_eq!(group.next_update_ns(), 4 * PERIOD);
    let mut idle = cpu;
    idle.change(3 * PERIOD, Task::QUEUED, Task::SLEEPS);
    group.sample(4 * PERIOD, [&idle]);
    group.sample(5 * PERIOD, [&idle]);
    assert_eq!(averages(&group), [92_356, 19_450, 4_172], "as after three full periods");
    group.sample(6 * PERIOD, [&idle]);
    assert!(averages(&group)[0] < 92_356, "and then no more");
}

#[test]
fn idle_periods_at_once_decay_as_one_after_the_other_up_to_rounding() {
    let mut cpu = with(&[Task::ON_CPU, Task::QUEUED]);
    let mut group = Pressure::new(0, 1, 250);
    (1..=6).for_each(|period| group.sample(period * PERIOD, [&cpu]));
    cpu.change(6 * PERIOD, Task::QUEUED, Task::SLEEPS);
    let mut at_once = group.clone();
    (7..=9).for_each(|period| group.sample(period * PERIOD, [&cpu]));
    at_once.sample(9 * PERIOD, [&cpu]);
    for (one, other) in averages(&group).into_iter().zip(averages(&at_once)) {
        assert!(one.abs_diff(other) <= ONE / 16, "{one} {other}");
    }
}

#[test]
fn a_read_within_a_period_adds_to_the_total_but_not_to_the_averages() {
    let cpu = with(&[Task::ON_CPU, Task::QUEUED]);
    let mut group = Pressure::new(0, 1, 250);
    group.sample(1_000 * MS, [&cpu]);
    assert_eq!(
        group.some(Resource::Cpu).to_string(),
        "avg10=0.00 avg60=0.00 avg300=0.00 total=1000000"
    );
    assert_eq!(group.next_update_ns(), PERIOD);
}

/// A CPU with some pressure and so much time with tasks within 2 s.
fn cpu_of(some_ms: u64, non_idle_ms: u64) -> CpuPressure {
    let mut cpu = CpuPressure::new(0);
    cpu.change(0, Task::SLEEPS, Task::ON_CPU);
    cpu.change(0, Task::SLEEPS, Task::QUEUED);
    cpu.change(some_ms * MS, Task::QUEUED, Task::SLEEPS);
    cpu.change(non_idle_ms * MS, Task::ON_CPU, Task::SLEEPS);
    cpu
}

#[test]
fn w28_cpus_count_by_how_long_they_were_not_idle() {
    let total_ns = |cpus: [CpuPressure; 2]| {
        let mut group = Pressure::new(0, 2, 250);
        group.sample(2_000 * MS, &cpus);
        group.some(Resource::Cpu).total_ns
    };
    assert_eq!(total_ns([cpu_of(2_000, 2_000), cpu_of(0, 2_000)]), 1_000 * MS);
    assert_eq!(total_ns([cpu_of(2_000, 2_000), cpu_of(0, 0)]), 2_000 * MS);
    assert_eq!(total_ns([cpu_of(1_000, 2_000), cpu_of(500, 1_000)]), 833_333_333);
}

#[test]
fn less_than_a_tick_of_work_on_a_cpu_is_nothing() {
    let mut group = Pressure::new(0, 2, 250);
    group.sample(2_000 * MS, &[cpu_of(3, 3), cpu_of(0, 2_000)]);
    assert_eq!(group.some(Resource::Cpu).total_ns, 0);
}

#[test]
fn a_trigger_fires_when_its_threshold_is_reached_and_once_a_window() {
    let mut trigger = Trigger::new(0, 0, 150 * MS, 1_000 * MS);
    assert!(!trigger.update(100 * MS, 100 * MS));
    assert!(trigger.update(200 * MS, 150 * MS));
    assert!(!trigger.update(300 * MS, 250 * MS), "once a window");
    assert!(!trigger.update(1_100 * MS, 250 * MS));
    assert!(trigger.update(1_200 * MS, 250 * MS), "the one that was due is told later");
    assert!(!trigger.update(9_000 * MS, 250 * MS), "and nothing more without growth");
}

#[test]
fn a_trigger_guesses_the_begin_of_a_window_from_the_one_before() {
    let mut trigger = Trigger::new(0, 0, 500 * MS, 1_000 * MS);
    // 400 ms in a window, then 200 ms in the first half of the next: 200 + 400 / 2 are not enough.
    assert!(!trigger.update(1_001 * MS, 400 * MS));
    assert!(!trigger.update(1_501 * MS, 600 * MS));
    assert!(trigger.update(1_501 * MS, 700 * MS));
}

/// What may happen to one of some tasks.
const CHOICES: [Task; 6] = [
    Task::SLEEPS,
    Task::QUEUED,
    Task::ON_CPU,
    Task::IO_WAIT,
    Task { memory_stall: true, ..Task::QUEUED },
    Task { memory_stall: true, ..Task::SLEEPS },
];

proptest! {
    #[test]
    fn times_are_those_of_the_states_counted_anew_each_time(
        steps in proptest::collection::vec((0..5_usize, 0..6_usize, 0..10_000_000_u64), 1..80),
    ) {
        let mut cpu = CpuPressure::new(0);
        let mut tasks = [Task::SLEEPS; 5];
        let mut now_ns = 0;
        let (mut some, mut full, mut idle, mut gets_on) = (0, 0, 0, 0);
        for (who, what, passes_ns) in steps {
            let runner = tasks.iter().position(|task| task.on_cpu);
            if let (Some(runner), true) = (runner, CHOICES[what].on_cpu) {
                cpu.change(now_ns, tasks[runner], Task::QUEUED);
                tasks[runner] = Task::QUEUED;
            }
            cpu.change(now_ns, tasks[who], CHOICES[what]);
            tasks[who] = CHOICES[what];
            let waits = tasks.iter().any(|task| task.runnable && !task.on_cpu);
            let runs = tasks.iter().any(|task| task.on_cpu);
            let counts = tasks.iter().any(|task| *task != Task::SLEEPS);
            some += if waits { passes_ns } else { 0 };
            full += if waits && !runs { passes_ns } else { 0 };
            idle += if counts { 0 } else { passes_ns };
            gets_on += if counts && !waits { passes_ns } else { 0 };
            now_ns += passes_ns;
        }
        prop_assert_eq!(cpu.some_ns(now_ns, Resource::Cpu), some);
        prop_assert_eq!(cpu.full_ns(now_ns, Resource::Cpu), full);
        prop_assert_eq!(cpu.non_idle_ns(now_ns) + idle, now_ns, "all time is accounted for");
        prop_assert_eq!(some + gets_on + idle, now_ns);
        for resource in [Resource::Io, Resource::Memory, Resource::Cpu] {
            prop_assert!(cpu.full_ns(now_ns, resource) <= cpu.some_ns(now_ns, resource));
        }
    }

    #[test]
    fn totals_never_fall_full_is_never_above_some_and_averages_stay_within_100_per_cent(
        steps in proptest::collection::vec(
            (0..2_usize, 0..3_usize, any::<u64>(), any::<bool>()), 1..120),
        hz in 1..2000_u32,
    ) {
        let mut cpus = [CpuPressure::new(0), CpuPressure::new(0)];
        let mut tasks = [[Task::SLEEPS; 2]; 2];
        let mut group = Pressure::new(0, 2, hz);
        let mut now_ns = 0_u64;
        for (cpu, what, passes, sampled) in steps {
            let to = CHOICES[what];
            cpus[cpu].change(now_ns, tasks[cpu][what % 2], to);
            tasks[cpu][what % 2] = to;
            now_ns = now_ns.saturating_add(passes >> (24 + passes % 40));
            if !sampled {
                continue;
            }
            let before = group.clone();
            group.sample(now_ns, &cpus);
            for resource in [Resource::Io, Resource::Memory, Resource::Cpu] {
                let (some, full) = (group.some(resource), group.full(resource));
                prop_assert!(some.total_ns >= before.some(resource).total_ns);
                prop_assert!(full.total_ns >= before.full(resource).total_ns);
                prop_assert!(full.total_ns <= some.total_ns);
                prop_assert!(some.total_ns <= now_ns);
                prop_assert!(some.averages.iter().all(|average| *average <= 100 * ONE));
            }
            prop_assert!(group.next_update_ns() > now_ns || group.next_update_ns() == u64::MAX);
        }
    }

    #[test]
    fn no_order_of_inputs_breaks_it(
        steps in proptest::collection::vec((0..6_usize, 0..6_usize, any::<u64>()), 1..60),
        hz in any::<u32>(),
    ) {
        let mut cpu = CpuPressure::new(u64::MAX / 2);
        let mut group = Pressure::new(u64::MAX / 3, 1, hz);
        let mut trigger = Trigger::new(5, 7, 11, 0);
        for (from, to, now_ns) in steps {
            cpu.change(now_ns, CHOICES[from], CHOICES[to]);
            group.sample(now_ns, [&cpu]);
            trigger.update(now_ns, group.some(Resource::Cpu).total_ns);
        }
    }
}
