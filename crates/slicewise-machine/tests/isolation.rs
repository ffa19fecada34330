//! Interrupts of devices, CPUs without ticks, isolated CPUs.

mod common;

use common::*;
use proptest::prelude::*;
use slicewise_machine::{
    Costs, Delivery, Dist, InterruptSource, Machine, MachineConfig, Op, Workload,
};
use slicewise_sched::bandwidth::Limit;
use slicewise_sched::{Attr, CpuId, CpuSet, DlParams, Policy, SmpConfig};

fn every(period_ns: u64, duration_ns: u64, cpus: CpuSet) -> InterruptSource {
    InterruptSource {
        name: "nic".to_owned(),
        cpus,
        delivery: Delivery::First,
        interarrival: Dist::Constant(period_ns),
        duration: Dist::Constant(duration_ns),
        start_ns: 0,
        wakes: Vec::new(),
    }
}

fn cpus(list: &str) -> CpuSet {
    CpuSet::parse_list(list).expect("a list")
}

fn interrupted(mut workload: Workload, source: InterruptSource) -> Workload {
    workload.interrupts.push(source);
    workload
}

#[test]
fn an_interrupt_takes_its_time_from_whoever_runs() {
    let alone = workload(vec![vec![run(10 * MS)]]);
    // Every 2 ms: 10 ms of work need 12.5 ms with those up to 10 ms, and the one of 12 ms puts that off.
    let (summary, got) = go(&config(1, S), &interrupted(alone, every(2 * MS, MS / 2, on(0))));
    assert_eq!(got.exits(), [(13 * MS, 0)]);
    let cpu = summary.cpus[0];
    assert_eq!((cpu.interrupts, cpu.interrupt_ns, cpu.busy_ns), (6, 3 * MS, 13 * MS));
}

#[test]
fn interrupts_that_come_together_wait_for_each_other() {
    let mut both = workload(vec![vec![run(10 * MS)]]);
    both.interrupts = vec![every(4 * MS, 2 * MS, on(0)), every(5 * MS, 2 * MS, on(0))];
    both.interrupts.iter_mut().for_each(|source| source.name = "one of two".to_owned());
    // 4 to 6 ms, and from there to 8 ms the one of 5 ms, and so on.
    let (summary, got) = go(&config(1, S), &both);
    assert_eq!(got.exits()[0].0, 10 * MS + summary.cpus[0].interrupt_ns);
}

#[test]
fn an_interrupt_of_an_idle_cpu_puts_off_whoever_wakes_there() {
    let sleeper = workload(vec![vec![sleep(3 * MS), run(MS)]]);
    let source = InterruptSource { start_ns: 0, ..every(5 * MS / 2, MS, on(0)) };
    let (_, got) = go(&config(1, 4 * MS), &interrupted(sleeper, source));
    // Woken at 3 ms, in the interrupt of 2.5 to 3.5 ms.
    assert_eq!(got.gets(0), [0, 3 * MS + MS / 2]);
}

#[test]
fn interrupts_go_to_the_first_cpu_or_round() {
    let hogs = workload(vec![vec![Op::RunForever]; 3]);
    let count = |delivery| {
        let source = InterruptSource { delivery, ..every(MS, 1000, cpus("1-2,7")) };
        let (summary, _) = go(&config(3, 10 * MS), &interrupted(hogs.clone(), source));
        summary.cpus.iter().map(|cpu| cpu.interrupts).collect::<Vec<_>>()
    };
    assert_eq!(count(Delivery::First), [0, 10, 0]);
    assert_eq!(count(Delivery::RoundRobin), [0, 5, 5]);
}

#[test]
fn an_interrupt_resumes_the_task_it_is_for() {
    let mut pair = workload(vec![forever(vec![Op::Suspend, run(MS / 4)]), vec![Op::RunForever]]);
    pair.tasks[0].attr = fifo(50);
    let source = InterruptSource { wakes: vec![0], ..every(2 * MS, MS / 2, on(0)) };
    let (_, got) = go(&config(1, 7 * MS), &interrupted(pair, source));
    let woken: Vec<u64> = got.wakeups(0).into_iter().map(|wakeup| wakeup.0).collect();
    assert_eq!(woken, [2 * MS, 4 * MS, 6 * MS]);
    // It runs when the interrupt is over.
    let gets = got.gets(0);
    assert_eq!(gets[1..], [5 * MS / 2, 9 * MS / 2, 13 * MS / 2]);
}

#[test]
fn tasks_are_not_charged_for_interrupts() {
    // One CPU's hog is interrupted half of the time: its virtual time is half of the other's.
    let mut hogs = workload(vec![vec![Op::RunForever]; 2]);
    hogs.tasks[0].affinity = on(0);
    hogs.tasks[1].affinity = on(1);
    let hogs = interrupted(hogs, every(2 * MS, MS, on(0)));
    let config = config(2, 20 * MS);
    let mut machine = Machine::new(&config, &hogs, Recorder::default()).expect("it makes sense");
    machine.run_until(11 * MS).expect("it runs");
    for cpu in [0, 1] {
        machine.scheduler_mut().charge(11 * MS, CpuId(cpu)).expect("it exists");
    }
    let vruntime = |cpu| {
        let view = machine.scheduler().inspect(CpuId(cpu)).expect("it exists");
        view.candidates[0].fair.expect("a fair task").vruntime_ns
    };
    assert_eq!(vruntime(1) - vruntime(0), 5 * MS as i64);
}

#[test]
fn interrupts_alone_keep_no_run_going() {
    let source = every(MS, 1000, on(0));
    let (summary, _) = go(&config(1, S), &interrupted(workload(vec![vec![run(MS / 2)]]), source));
    assert_eq!(summary.end_ns, MS / 2);
    let source = every(MS, 1000, on(0));
    let stuck = interrupted(workload(vec![vec![Op::Suspend]]), source);
    let (result, _) = try_go(&config(1, S), &stuck);
    let message = result.expect_err("nobody resumes it").to_string();
    assert!(message.starts_with("nothing can happen after"), "{message}");
}

#[test]
fn interrupts_that_never_cease_are_an_error_and_impossible_ones_are_refused() {
    let refused = |source| {
        let workload = interrupted(workload(vec![vec![Op::RunForever]]), source);
        let machine = Machine::new(&config(1, S), &workload, Recorder::default());
        machine.map(|_| ()).expect_err("it makes no sense").to_string()
    };
    assert_eq!(refused(every(MS, 0, on(1))), "`nic`: none of the CPUs it may interrupt exists");
    let wakes = vec![1];
    assert_eq!(
        refused(InterruptSource { wakes, ..every(MS, 0, on(0)) }),
        "`nic`: a task it wakes does not exist"
    );
    let storm = interrupted(workload(vec![vec![Op::RunForever]]), every(0, 0, on(0)));
    let (result, _) = try_go(&config(1, S), &storm);
    assert!(result.expect_err("it never ends").to_string().contains("`nic` goes on without"));
}

/// CPU 1 of two does without ticks.
fn tickless(duration_ns: u64) -> MachineConfig {
    MachineConfig { nohz_full: on(1), ..config(2, duration_ns) }
}

fn on_cpu_1(programs: Vec<Vec<Op>>) -> Workload {
    let mut workload = workload(programs);
    workload.tasks.iter_mut().for_each(|task| task.affinity = on(1));
    workload
}

fn ticks(config: &MachineConfig, workload: &Workload) -> Vec<u64> {
    go(config, workload).0.cpus.iter().map(|cpu| cpu.ticks).collect()
}

#[test]
fn a_task_alone_on_a_nohz_full_cpu_is_not_ticked() {
    let alone = on_cpu_1(vec![vec![Op::RunForever]]);
    assert_eq!(ticks(&config(2, S), &alone), [0, 250]);
    assert_eq!(ticks(&tickless(S), &alone), [0, 0]);
}

#[test]
fn the_tick_is_back_while_a_second_task_is_queued() {
    let second = vec![sleep(500 * MS), run(100 * MS)];
    let two = on_cpu_1(vec![vec![Op::RunForever], second]);
    let ticks = ticks(&tickless(S), &two)[1];
    // Together for about 200 ms, at 250 Hz.
    assert!((48..=54).contains(&ticks), "{ticks}");
    // And they share as they would with ticks all the time.
    let (_, with) = go(&config(2, S), &two);
    let (_, without) = go(&tickless(S), &two);
    let (with, without) = (with.exits()[0].0, without.exits()[0].0);
    assert!(with.abs_diff(without) <= 8 * MS, "{with} {without}");
}

#[test]
fn fifo_tasks_need_no_tick_and_deadline_tasks_do() {
    let mut fifo_and_fair = on_cpu_1(vec![vec![Op::RunForever]; 2]);
    fifo_and_fair.tasks[0].attr = fifo(10);
    assert_eq!(ticks(&tickless(S / 2), &fifo_and_fair), [0, 0]);
    let mut deadline = workload(vec![vec![Op::RunForever]]);
    let params = DlParams::implicit(50 * MS, 100 * MS);
    deadline.tasks[0].attr = Attr { policy: Policy::Deadline(params), ..Attr::default() };
    let all = MachineConfig { nohz_full: on(0), ..tickless(S) };
    assert!(ticks(&all, &deadline)[0] > 100);
}

#[test]
fn tasks_of_groups_with_quotas_are_ticked() {
    let mut limited = on_cpu_1(vec![vec![Op::RunForever]]);
    let group = limited.add_group(None, "web");
    let quota = Limit { quota_ns: Some(100 * MS), period_ns: 100 * MS, ..Limit::default() };
    limited.groups[group as usize].limit = quota;
    limited.tasks[0].group = Some(group);
    assert_eq!(ticks(&tickless(S), &limited)[1], 250);
}

#[test]
fn a_housekeeping_cpu_ticks_for_the_others_once_a_second() {
    let alone = on_cpu_1(vec![vec![run(3 * S + S / 2)]]);
    let costs = Costs { tick_ns: 1000, ..Costs::NONE };
    // From 6.12 on, the timer of the fair server comes once a second.
    let config = kernel(MachineConfig { costs, ..tickless(10 * S) }, "6.6");
    let (summary, got) = go(&config, &alone);
    assert_eq!(got.exits(), [(3 * S + S / 2, 0)], "it is never interrupted");
    assert_eq!(summary.cpus[1].overhead_ns, 0);
    // Work of the housekeeping CPU, which has three ticks to do, puts off what runs there.
    let mut busy = workload(vec![vec![run(3 * S + S / 2)], vec![run(3 * S + S / 4)]]);
    busy.tasks[0].affinity = on(1);
    busy.tasks[1].affinity = on(0);
    let own = 3250 / 4;
    let (summary, _) = go(&config, &busy);
    assert_eq!(summary.cpus[0].overhead_ns, (own + 3) * 1000);
}

#[test]
fn one_cpu_must_keep_its_tick() {
    let all = MachineConfig { nohz_full: CpuSet::All, ..config(2, S) };
    let workload = workload(vec![vec![Op::RunForever]]);
    let error = Machine::new(&all, &workload, Recorder::default()).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "all CPUs are in `nohz_full`: one must be left to look after the others"
    );
}

#[test]
fn a_loop_on_a_cpu_without_ticks_and_interrupts_takes_the_same_time_every_round() {
    let rounds = on_cpu_1(vec![forever(vec![run(3 * MS), sleep(7 * MS)])]);
    let rounds = interrupted(rounds, every(MS + MS / 3, 20_000, cpus("0-1")));
    let costs = Costs::default();
    let spread = |config: MachineConfig, source: CpuSet| {
        let mut rounds = rounds.clone();
        rounds.interrupts[0].cpus = source;
        let (_, got) = go(&MachineConfig { costs, ..config }, &rounds);
        let times: Vec<u64> = got.responses(0).into_iter().skip(1).map(|r| r.1).collect();
        assert!(times.len() > 50);
        times.iter().max().expect("some") - times.iter().min().expect("some")
    };
    assert!(spread(config(2, S), on(1)) >= 20_000, "interrupts and ticks are seen");
    assert_eq!(spread(tickless(S), on(0)), 0);
}

fn isolated(list: &str, cpus_: u32, duration_ns: u64) -> MachineConfig {
    let shared = CpuSet::first(cpus_).minus(&cpus(list));
    let smp = SmpConfig { partitions: Some(vec![shared]), ..SmpConfig::default() };
    MachineConfig { smp, ..config(cpus_, duration_ns) }
}

#[test]
fn tasks_that_name_no_cpus_never_run_on_isolated_ones() {
    let mut many = workload(vec![vec![Op::RunForever]; 8]);
    many.tasks[7].affinity = on(3);
    let (summary, got) = go(&isolated("2-3", 4, S), &many);
    let used: Vec<bool> = summary.cpus.iter().map(|cpu| cpu.busy_ns > 0).collect();
    assert_eq!(used, [true, true, false, true]);
    assert_eq!(got.cpu_time(7), S, "the one that names an isolated CPU has it alone");
}

#[test]
fn where_all_cpus_are_isolated_tasks_run_all_the_same() {
    let (summary, _) = go(&isolated("0-1", 2, S), &workload(vec![vec![run(MS)]]));
    assert_eq!(summary.exited, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn interrupts_make_work_longer_by_their_time_and_no_more(
        works in prop::collection::vec((1..5_000_000_u64, 0..2_000_000_u64), 1..6),
        period_ns in 50_000..3_000_000_u64,
        share in 0..90_u64,
        round_robin in any::<bool>(),
        nohz in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mean_ns = (period_ns * share / 100) as f64;
        let ops = |(work, pause): &(u64, u64)| {
            vec![run(*work), sleep(*pause), run(*work)]
        };
        let workload = interrupted(workload(works.iter().map(ops).collect()), InterruptSource {
            delivery: if round_robin { Delivery::RoundRobin } else { Delivery::First },
            duration: Dist::Exponential { mean_ns },
            ..every(period_ns, 0, CpuSet::All)
        });
        let mut config = config(2, 60 * S);
        config.seed = seed;
        if nohz {
            config.nohz_full = on(1);
        }
        let (summary, got) = go(&config, &workload);
        prop_assert_eq!(summary.exited, works.len() as u64);
        let work_ns: u64 = works.iter().map(|(work, _)| 2 * work).sum();
        let busy_ns: u64 = summary.cpus.iter().map(|cpu| cpu.busy_ns).sum();
        let overhead_ns: u64 = summary.cpus.iter().map(|cpu| cpu.overhead_ns).sum();
        let interrupt_ns: u64 = summary.cpus.iter().map(|cpu| cpu.interrupt_ns).sum();
        prop_assert_eq!(busy_ns, work_ns + overhead_ns);
        prop_assert!(overhead_ns <= interrupt_ns);
        prop_assert_eq!(go(&config, &workload), (summary, got));
    }
}
