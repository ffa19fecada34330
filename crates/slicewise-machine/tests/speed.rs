//! How fast programs get on.

mod common;

use common::*;
use proptest::prelude::*;
use slicewise_machine::{
    Costs, MachineConfig, MemoryNode, Op, Share, SpeedModel, TaskMemory, WarmUp, Workload,
};
use slicewise_sched::SmpConfig;
use slicewise_sched::topology::{CpuPlace, Topology};

const KIB: u64 = 1024;

fn share(ppm: u32) -> Share {
    Share::from_ppm(ppm).expect("at most all")
}

/// A machine of these CPUs, with nodes 21 apart.
fn machine(places: Vec<CpuPlace>, nodes: usize, duration_ns: u64) -> MachineConfig {
    let row = |from| (0..nodes).map(|to| if from == to { 10 } else { 21 }).collect();
    let cpus = places.len() as u32;
    let topology = Topology::new(places, (0..nodes).map(row).collect()).expect("a topology");
    let smp = SmpConfig { topology: Some(topology), ..SmpConfig::default() };
    MachineConfig { smp, ..config(cpus, duration_ns) }
}

/// Two siblings of one core, and two of another, on sockets of their own.
fn two_sockets(duration_ns: u64) -> MachineConfig {
    let place = |core| CpuPlace { llc: core, package: core, node: core, ..CpuPlace::alone(core) };
    machine(vec![place(0), place(0), place(1), place(1)], 2, duration_ns)
}

fn with(config: MachineConfig, speed: SpeedModel) -> MachineConfig {
    MachineConfig { speed, ..config }
}

fn pinned(mut workload: Workload, cpus: &[u32]) -> Workload {
    for (task, cpu) in workload.tasks.iter_mut().zip(cpus) {
        task.affinity = on(*cpu);
    }
    workload
}

fn exit_of(got: &Recorder, task: u32) -> u64 {
    got.exits().into_iter().find(|exit| exit.1 == task).expect("it has ended").0
}

#[test]
fn siblings_slow_each_other_while_both_run_and_only_then() {
    let model = SpeedModel { smt: Some(share(500_000)), ..SpeedModel::default() };
    let config = with(two_sockets(S), model);
    // The second runs from 4 to 8 ms in twice the time: the first does half of its work then.
    let second = vec![sleep(4 * MS), run(2 * MS)];
    let workload = pinned(workload(vec![vec![run(10 * MS)], second]), &[0, 1]);
    let (summary, got) = go(&config, &workload);
    assert_eq!(exit_of(&got, 1), 8 * MS);
    assert_eq!(exit_of(&got, 0), 12 * MS);
    assert_eq!(summary.lost_ns, [2 * MS, 2 * MS]);
}

#[test]
fn more_than_two_siblings_get_no_more_done_together_than_two() {
    let model = SpeedModel { smt: Some(share(600_000)), ..SpeedModel::default() };
    let config = with(machine(vec![CpuPlace::alone(0); 4], 1, S), model);
    let workload = pinned(workload(vec![vec![run(3 * MS)]; 4]), &[0, 1, 2, 3]);
    let (_, got) = go(&config, &workload);
    // 2 · 0.6 / 4 = 0.3 each; the share of full speed is cut to 2⁻²⁰.
    let units = (300_000_u64 << 20) / 1_000_000;
    assert_eq!(exit_of(&got, 3), ((3 * MS) << 20).div_ceil(units));
}

#[test]
fn slower_cpus_take_longer_by_their_capacity() {
    let slow = CpuPlace { capacity: 256, ..CpuPlace::alone(1) };
    let config = machine(vec![CpuPlace::alone(0), slow], 1, S);
    let workload = pinned(workload(vec![vec![run(5 * MS)]; 2]), &[0, 1]);
    let model = SpeedModel { capacity: true, ..SpeedModel::default() };
    let (_, got) = go(&with(config.clone(), model), &workload);
    assert_eq!((exit_of(&got, 0), exit_of(&got, 1)), (5 * MS, 20 * MS));
    let (_, got) = go(&config, &workload);
    assert_eq!((exit_of(&got, 0), exit_of(&got, 1)), (5 * MS, 5 * MS));
}

#[test]
fn a_move_costs_what_its_distance_says_and_a_stay_nothing() {
    let warm_up = WarmUp { core_ns: 10 * KIB, llc_ns: 100 * KIB };
    let place = |core, llc| CpuPlace { llc, ..CpuPlace::alone(core) };
    let config = machine(vec![place(0, 0), place(0, 0), place(1, 0), place(2, 1)], 1, S);
    let config = with(config, SpeedModel { warm_up, ..SpeedModel::default() });
    let to = |cpu| vec![run(MS), Op::SetAffinity(on(cpu)), run(MS)];
    for (cpu, cost_ns) in [(0, 0), (1, 0), (2, 10 * KIB), (3, 100 * KIB)] {
        let workload = pinned(workload(vec![to(cpu)]), &[0]);
        let (summary, got) = go(&config, &workload);
        assert_eq!(exit_of(&got, 0), 2 * MS + cost_ns, "to CPU {cpu}");
        assert_eq!(summary.lost_ns, [cost_ns]);
    }
    // Each is paid for before the program gets on.
    let twice = vec![run(MS), Op::SetAffinity(on(3)), Op::SetAffinity(on(0)), run(MS)];
    let (_, got) = go(&config, &pinned(workload(vec![twice]), &[0]));
    assert_eq!(exit_of(&got, 0), 2 * MS + 200 * KIB);
}

#[test]
fn remote_memory_slows_the_part_that_waits_for_memory() {
    let model = SpeedModel { memory_bound: share(400_000), ..SpeedModel::default() };
    let config = with(two_sockets(S), model);
    let far = |node, bound| TaskMemory { node, bound, pages: None };
    let memories = [
        // On the node of the CPU it runs on first.
        (far(MemoryNode::FirstTouch, None), 4 * MS),
        // 0.6 + 0.4 · 150/80 = 1.35
        (far(MemoryNode::Node(1), None), 4 * MS * 135 / 100),
        // Half of it is remote: 0.6 + 0.4 · (80 + 150)/160 = 1.175
        (far(MemoryNode::Interleave, None), 4 * MS * 1175 / 1000),
        (far(MemoryNode::Node(1), Some(Share::NONE)), 4 * MS),
        (far(MemoryNode::Node(1), Some(Share::FULL)), 4 * MS * 150 / 80),
    ];
    for (memory, takes_ns) in memories {
        let mut workload = pinned(workload(vec![vec![run(4 * MS)]]), &[0]);
        workload.tasks[0].memory = memory;
        let (_, got) = go(&config, &workload);
        let took_ns = exit_of(&got, 0);
        // The share is cut to 2⁻²⁰ of full speed: less than 2 · 10⁻⁶ of the time.
        let late_ns = took_ns.checked_sub(takes_ns).expect("no faster than that");
        assert!(late_ns <= 1 + takes_ns / 500_000, "{memory:?}: {took_ns}, not {takes_ns}");
    }
}

#[test]
fn memory_stays_where_it_was_touched_first() {
    let model = SpeedModel { memory_bound: Share::FULL, ..SpeedModel::default() };
    let config = with(two_sockets(S), model);
    let moves = vec![run(MS), Op::SetAffinity(on(2)), run(8 * MS)];
    let (_, got) = go(&config, &pinned(workload(vec![moves]), &[0]));
    let took_ns = exit_of(&got, 0);
    assert!((16 * MS..16 * MS + 100).contains(&took_ns), "{took_ns}");
}

#[test]
fn latencies_of_the_machine_count_instead_of_the_usual_ones() {
    let latencies_ns = vec![vec![100, 300], vec![300, 100]];
    let model = SpeedModel { memory_bound: Share::FULL, latencies_ns, ..SpeedModel::default() };
    let mut workload = pinned(workload(vec![vec![run(MS)]]), &[0]);
    workload.tasks[0].memory.node = MemoryNode::Node(1);
    let (_, got) = go(&with(two_sockets(S), model), &workload);
    assert!((3 * MS..3 * MS + 20).contains(&exit_of(&got, 0)));
}

#[test]
fn a_model_that_cannot_be_is_refused() {
    let refused = |speed: SpeedModel, memory: MemoryNode| {
        let mut workload = workload(vec![vec![run(MS)]]);
        workload.tasks[0].memory.node = memory;
        let config = with(two_sockets(S), speed);
        slicewise_machine::Machine::new(&config, &workload, Recorder::default())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let none = SpeedModel { smt: Some(Share::NONE), ..SpeedModel::default() };
    assert_eq!(
        refused(none, MemoryNode::FirstTouch),
        "`speed`: siblings cannot have no speed at all"
    );
    let short = SpeedModel { latencies_ns: vec![vec![80]], ..SpeedModel::default() };
    assert_eq!(
        refused(short, MemoryNode::FirstTouch),
        "`speed`: latencies need a row and a column for each of 2 nodes"
    );
    assert_eq!(
        refused(SpeedModel::default(), MemoryNode::Node(2)),
        "task `t0`: its memory is on a node that does not exist: there are 2"
    );
}

/// Runs of work and sleeps for up to six tasks that may run anywhere.
fn programs() -> impl Strategy<Value = Vec<Vec<(u64, u64)>>> {
    let part = (1..3_000_000_u64, 0..1_000_000_u64);
    prop::collection::vec(prop::collection::vec(part, 1..6), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn work_is_never_more_than_cpu_time_and_all_of_it_is_done(
        programs in programs(),
        smt in prop::option::of(1..=1_000_000_u32),
        bound in 0..=1_000_000_u32,
        core_ns in 0..100_000_u64,
        costs in any::<bool>(),
    ) {
        let model = SpeedModel {
            smt: smt.map(share),
            capacity: true,
            warm_up: WarmUp { core_ns, llc_ns: 3 * core_ns },
            memory_bound: share(bound),
            ..SpeedModel::default()
        };
        let small = |core| CpuPlace { capacity: 400, llc: 1, node: 1, ..CpuPlace::alone(core) };
        let places = vec![CpuPlace::alone(0), CpuPlace::alone(0), small(1), small(2)];
        let mut config = with(machine(places, 2, u64::MAX >> 1), model);
        if costs {
            config.costs = Costs::default();
        }
        let ops = |parts: &Vec<(u64, u64)>| {
            parts.iter().flat_map(|(work, pause)| [run(*work), sleep(*pause)]).collect::<Vec<Op>>()
        };
        let workload = workload(programs.iter().map(ops).collect());
        let (summary, got) = go(&config, &workload);
        for (slot, (_, info)) in got.tasks.iter().enumerate() {
            let spec = info.name[1..].parse::<usize>().expect("t and a number");
            let work_ns: u64 = programs[spec].iter().map(|part| part.0).sum();
            let cpu_ns = got.cpu_time(slot as u32);
            prop_assert!(cpu_ns >= work_ns);
            // What is neither work nor lost is the machine's own.
            prop_assert!(costs || cpu_ns == work_ns + summary.lost_ns[spec]);
        }
        // And the same once more.
        prop_assert_eq!(go(&config, &workload), (summary, got));
    }

    #[test]
    fn a_model_that_slows_nothing_changes_nothing(programs in programs()) {
        let ops = |parts: &Vec<(u64, u64)>| {
            parts.iter().flat_map(|(work, pause)| [run(*work), sleep(*pause)]).collect::<Vec<Op>>()
        };
        let workload = workload(programs.iter().map(ops).collect());
        let off = two_sockets(S);
        let full = SpeedModel { smt: Some(share(1_000_000)), capacity: true, ..SpeedModel::default() };
        let (mut with_model, events) = go(&with(off.clone(), full), &workload);
        prop_assert!(with_model.lost_ns.iter().all(|lost_ns| *lost_ns == 0));
        with_model.lost_ns.clear();
        let (without, expected) = go(&off, &workload);
        prop_assert_eq!((with_model, events), (without, expected));
    }
}
