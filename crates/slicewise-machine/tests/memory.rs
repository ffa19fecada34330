//! Memory page by page, and NUMA balancing.

mod common;

use common::*;
use proptest::prelude::*;
use slicewise_machine::{
    MachineConfig, MemoryNode, MemorySpec, MemorySummaries, Op, PageCosts, RunSummary, Share,
    SpeedModel, TaskMemory, TaskPages, Workload,
};
use slicewise_sched::numa::NumaConfig;
use slicewise_sched::topology::{CpuPlace, Topology};
use slicewise_sched::{CpuSet, SmpConfig};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const KERNELS: [&str; 5] = ["6.1", "6.6", "6.12", "6.18", "7.2"];

/// Two nodes of so many CPUs.
fn two_nodes(per_node: u32, duration_ns: u64) -> MachineConfig {
    let place = |cpu: u32| {
        let node = cpu / per_node;
        CpuPlace { llc: node, package: node, node, ..CpuPlace::alone(cpu) }
    };
    let places = (0..2 * per_node).map(place).collect();
    let topology = Topology::new(places, vec![vec![10, 21], vec![21, 10]]).expect("a topology");
    let smp = SmpConfig {
        topology: Some(topology),
        numa: Some(NumaConfig::default()),
        ..SmpConfig::default()
    };
    MachineConfig { smp, ..config(2 * per_node, duration_ns) }
}

fn off(config: &MachineConfig) -> MachineConfig {
    let smp = SmpConfig { numa: None, ..config.smp.clone() };
    MachineConfig { smp, ..config.clone() }
}

fn own(bytes: u64, node: MemoryNode) -> TaskMemory {
    let pages = TaskPages { bytes, rate: GIB, shared: None, shared_part: Share::NONE };
    TaskMemory { node, bound: None, pages: Some(pages) }
}

fn memory(summary: &RunSummary) -> &MemorySummaries {
    summary.memory.as_ref().expect("tasks have memory")
}

/// A hog with memory of its own.
fn hogs(memories: &[TaskMemory]) -> Workload {
    let mut workload = workload(vec![vec![Op::RunForever]; memories.len()]);
    for (task, memory) in workload.tasks.iter_mut().zip(memories) {
        task.memory = *memory;
    }
    workload
}

/// Runs on one node first, then a moment on the other, then anywhere.
fn exile(home: u32, home_ns: u64, away: u32) -> Vec<Op> {
    vec![
        Op::SetAffinity(on(home)),
        run(home_ns),
        Op::SetAffinity(on(away)),
        run(20 * MS),
        Op::SetAffinity(CpuSet::All),
        Op::RunForever,
    ]
}

fn moves_of(got: &Recorder, task: u32) -> Vec<(u64, u32)> {
    let moved = |(at, event): &(u64, slicewise_trace::Event)| match event {
        slicewise_trace::Event::Migrate { task: who, to, .. } if who.0 == task => Some((*at, to.0)),
        _ => None,
    };
    got.events.iter().filter_map(moved).collect()
}

#[test]
fn pages_come_to_be_where_they_are_first_touched() {
    let mut workload = hogs(&[own(64 * MIB, MemoryNode::FirstTouch)]);
    workload.tasks[0].affinity = on(2);
    // 64 MiB at 1 GiB/s is done after 62.5 ms; half of it at the tick of 32 ms.
    for (duration_ns, pages) in [(32 * MS + 1, 16), (100 * MS, 32)] {
        let (summary, _) = go(&two_nodes(2, duration_ns), &workload);
        let did = &memory(&summary).tasks[0];
        assert_eq!(did.on_node, [0, pages * 2 * MIB]);
        assert_eq!(did.accessed, did.local);
    }
}

#[test]
fn memory_far_from_a_young_task_comes_to_it() {
    for name in KERNELS {
        let config = kernel(two_nodes(2, 3 * S), name);
        let (summary, got) = go(&config, &hogs(&[own(64 * MIB, MemoryNode::Node(1))]));
        let did = &memory(&summary).tasks[0];
        assert_eq!(did.on_node, [64 * MIB, 0], "{name}");
        assert_eq!((did.faults, did.local_faults, did.migrated), (16_384, 0, 16_384), "{name}");
        // As on a booted 6.1: the task stays, and no node is preferred yet.
        assert_eq!((moves_of(&got, 0), did.preferred_node), (vec![], None), "{name}");
        let (summary, _) = go(&off(&config), &hogs(&[own(64 * MIB, MemoryNode::Node(1))]));
        assert_eq!(memory(&summary).tasks[0].on_node, [0, 64 * MIB], "{name}");
        assert_eq!(memory(&summary).tasks[0].local, 0, "{name}");
    }
}

#[test]
fn a_task_driven_away_from_its_memory_goes_back_at_its_next_scan() {
    for name in KERNELS {
        // A thread that sleeps makes it a process of two, whose local pages are scanned too.
        let mut workload = workload(vec![exile(2, 12 * S, 0), vec![sleep(30 * S)]]);
        let shared =
            MemorySpec { name: "heap".to_owned(), bytes: 64 * MIB, node: MemoryNode::FirstTouch };
        workload.memories = vec![shared];
        for task in &mut workload.tasks {
            task.memory.pages =
                Some(TaskPages { bytes: 0, rate: GIB, shared: Some(0), shared_part: Share::FULL });
        }
        let config = kernel(two_nodes(2, 25 * S), name);
        let (summary, got) = go(&config, &workload);
        let moves = moves_of(&got, 0);
        let home = moves.iter().find(|(at, to)| *at > 12 * S && *to >= 2).expect("it went home");
        // On a booted 6.1 it took 1.66 s, on 6.12 1.13 s.
        assert!((12 * S..15 * S).contains(&home.0), "{name}: {moves:?}");
        assert_eq!(memory(&summary).tasks[0].preferred_node, Some(1), "{name}");
        assert_eq!(memory(&summary).numa.task_moves, 1, "{name}");
        let near = memory(&summary).shared[0][1];
        assert!(near >= 60 * MIB, "{name}: only {near} bytes stayed");
        let (summary, got) = go(&off(&config), &workload);
        assert!(moves_of(&got, 0).iter().all(|(at, _)| *at < 13 * S), "{name}");
        assert_eq!(memory(&summary).numa.faults, 0, "{name}");
    }
}

#[test]
fn two_tasks_driven_to_each_others_nodes_are_back_within_a_period() {
    for name in KERNELS {
        let mut workload = workload(vec![
            exile(1, 12 * S, 0),
            vec![sleep(60 * S)],
            exile(0, 12 * S, 1),
            vec![sleep(60 * S)],
        ]);
        let heap = |name: &str| MemorySpec {
            name: name.to_owned(),
            bytes: 48 * MIB,
            node: MemoryNode::FirstTouch,
        };
        workload.memories = vec![heap("a"), heap("b")];
        for (at, task) in workload.tasks.iter_mut().enumerate() {
            task.memory.pages = Some(TaskPages {
                bytes: 0,
                rate: GIB,
                shared: Some(at as u32 / 2),
                shared_part: Share::FULL,
            });
        }
        let (summary, got) = go(&kernel(two_nodes(1, 30 * S), name), &workload);
        for (task, home) in [(0, 1), (2, 0)] {
            let last = moves_of(&got, task).last().copied().expect("it moved");
            assert_eq!(last.1, home, "{name}: it ended at home");
            // On booted kernels: 0.4 s (6.1), 0.06 s (6.12), 0.6 s (7.2).
            assert!(last.0 < 15 * S, "{name}: {} ns", last.0);
        }
        assert_eq!(memory(&summary).shared, [[0, 48 * MIB], [48 * MIB, 0]], "{name}");
    }
}

#[test]
fn counts_of_faults_are_those_of_a_booted_kernel() {
    // 64 MiB of a process with two threads, one of them at work, on 6.1: 16,384 pages in each pass,
    // of which a quarter, a half and all still count after 12 s.
    let mut workload = workload(vec![vec![Op::RunForever], vec![sleep(30 * S)]]);
    workload.memories =
        vec![MemorySpec { name: "heap".to_owned(), bytes: 64 * MIB, node: MemoryNode::FirstTouch }];
    for task in &mut workload.tasks {
        task.affinity = on(2);
        task.memory.pages =
            Some(TaskPages { bytes: 0, rate: GIB, shared: Some(0), shared_part: Share::FULL });
    }
    let config = kernel(two_nodes(2, 12 * S), "6.1");
    let mut machine = slicewise_machine::Machine::new(&config, &workload, Recorder::default())
        .expect("a machine");
    machine.run_until(12 * S).expect("it runs");
    let task = machine.scheduler().current(slicewise_sched::CpuId(2)).expect("the hog");
    let view = machine.scheduler().numa_view(task).expect("it has memory");
    assert_eq!(view.faults, [0, 28_672]);
    assert_eq!(view.preferred_node, Some(1));
    assert_eq!(machine.scheduler().numa_counts().faults, 65_536);
}

#[test]
fn without_pages_balancing_memory_changes_nothing() {
    for name in KERNELS {
        let config = kernel(two_nodes(2, S), name);
        let mut workload = hogs(&[TaskMemory::default(); 5]);
        workload.programs[1].ops = forever(vec![run(3 * MS), sleep(2 * MS)]);
        let (on, with) = go(&config, &workload);
        let (off, without) = go(&off(&config), &workload);
        assert_eq!(with, without, "{name}");
        assert_eq!(on, off, "{name}");
        assert_eq!(on.memory, None);
    }
}

#[test]
fn far_memory_slows_a_task_less_as_it_comes_nearer() {
    let speed = SpeedModel {
        memory_bound: Share::FULL,
        pages: PageCosts { fault_ns: 1000, move_ns: 100 * US, scan_ns: 0 },
        ..SpeedModel::default()
    };
    let config = MachineConfig { speed, ..two_nodes(1, 60 * S) };
    let mut workload = hogs(&[own(64 * MIB, MemoryNode::Node(1))]);
    workload.programs[0].ops = vec![run(4 * S)];
    let (summary, got) = go(&config, &workload);
    let took_ns = got.exits()[0].0;
    let (_, got) = go(&off(&config), &workload);
    // All of it at 150 instead of 80 ns.
    assert!(got.exits()[0].0.abs_diff(7500 * MS) < MS, "{}", got.exits()[0].0);
    // A second and a little at that speed, then local, and 32 pages moved for 3.2 ms.
    let lost_ns = summary.lost_ns[0];
    assert!((450 * MS..600 * MS).contains(&lost_ns), "{lost_ns}");
    assert_eq!(took_ns, 4 * S + lost_ns);
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let refused = |workload: &Workload| {
        let recorder = Recorder::default();
        let machine = slicewise_machine::Machine::new(&two_nodes(1, S), workload, recorder);
        machine.expect_err("it is refused").to_string()
    };
    let far = hogs(&[own(MIB, MemoryNode::Node(2))]);
    assert!(refused(&far).contains("on a node that does not exist"), "{}", refused(&far));
    let huge = hogs(&[own(1 << 45, MemoryNode::Node(0))]);
    assert_eq!(refused(&huge), "`memory`: more than 16 TiB in all");
    let mut stray = hogs(&[own(MIB, MemoryNode::Node(0))]);
    if let Some(pages) = &mut stray.tasks[0].memory.pages {
        pages.shared = Some(3);
    }
    assert_eq!(refused(&stray), "task `t0`: the memory it shares does not exist");
    let mut template = hogs(&[own(MIB, MemoryNode::Node(0)); 2]);
    template.tasks[1].template = true;
    assert!(refused(&template).contains("only shared memory"), "{}", refused(&template));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// No page is lost, nobody runs where it may not, and the same seed gives the same run.
    #[test]
    fn pages_are_conserved_and_affinities_hold(
        name in proptest::sample::select(KERNELS.to_vec()),
        tasks in prop::collection::vec((1_u32..16, 0_u64..96, 0_u32..3, 0_u32..=1_000_000), 1..7),
        shared_mib in 2_u64..200,
        work_ms in 1_u64..40,
    ) {
        let mut workload = workload(vec![forever(vec![run(work_ms * MS), sleep(MS)]); tasks.len()]);
        let spec = |bytes| MemorySpec {
            name: "heap".to_owned(),
            bytes,
            node: MemoryNode::Interleave,
        };
        workload.memories = vec![spec(shared_mib * MIB)];
        for (task, (mask, mib, node, part)) in workload.tasks.iter_mut().zip(&tasks) {
            task.affinity = CpuSet::of((0..4).filter(|cpu| mask >> cpu & 1 == 1).map(slicewise_sched::CpuId));
            task.memory = TaskMemory {
                node: [MemoryNode::Node(0), MemoryNode::Node(1), MemoryNode::Interleave][*node as usize],
                bound: None,
                pages: Some(TaskPages {
                    bytes: mib * MIB,
                    rate: GIB,
                    shared: (part % 2 == 0).then_some(0),
                    shared_part: Share::from_ppm(*part).unwrap_or(Share::FULL),
                }),
            };
        }
        let config = kernel(two_nodes(2, 6 * S), name);
        let (summary, got) = go(&config, &workload);
        let did = memory(&summary);
        for (did, (_, mib, ..)) in did.tasks.iter().zip(&tasks) {
            prop_assert_eq!(did.on_node.iter().sum::<u64>(), mib.div_ceil(2) * 2 * MIB);
            prop_assert!(did.local <= did.accessed && did.local_faults <= did.faults);
            prop_assert!(did.migrated + did.local_faults <= did.faults);
        }
        prop_assert_eq!(did.shared[0].iter().sum::<u64>(), shared_mib.div_ceil(2) * 2 * MIB);
        prop_assert_eq!(did.numa.faults, did.tasks.iter().map(|did| did.faults).sum::<u64>());
        for (_, cpu, _, _, next) in got.switches() {
            if let Some(next) = next {
                prop_assert!(tasks[next as usize].0 >> cpu & 1 == 1);
            }
        }
        prop_assert_eq!(go(&config, &workload).1, got);
    }
}
