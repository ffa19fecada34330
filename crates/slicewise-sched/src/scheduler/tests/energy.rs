//! Energy-aware placement on big and small CPUs (fair.md G.9).

use super::smp::host_with;
use super::*;
use crate::energy::{CapacityState, EnergyModel, PerfDomain};
use crate::topology::{CpuPlace, Topology};

const KERNELS: [&str; 5] = ["6.1", "6.6", "6.12", "6.18", "7.2"];

/// Two small CPUs, then two big ones that draw much more for what they do.
fn big_little(kernel: &str, aware: bool) -> Host {
    let place = |cpu: u32| {
        let capacity = if cpu < 2 { 446 } else { 1024 };
        CpuPlace { llc: cpu / 2, capacity, ..CpuPlace::alone(cpu) }
    };
    let topology = Topology::new((0..4).map(place).collect(), vec![vec![10]]).unwrap();
    let states = |states: [(u32, u32); 2]| {
        states.map(|(capacity, power)| CapacityState { capacity, power }).to_vec()
    };
    let domains = vec![
        PerfDomain { cpus: vec![0, 1], states: states([(223, 40), (446, 150)]) },
        PerfDomain { cpus: vec![2, 3], states: states([(512, 400), (1024, 1600)]) },
    ];
    let energy = aware.then_some(EnergyModel { domains });
    host_with(kernel, SmpConfig { topology: Some(topology), energy, ..SmpConfig::default() })
}

impl Host {
    /// Runs for so long of every 16 ms, and sleeps else.
    fn rounds(&mut self, task: TaskId, run_ms: u64, rounds: u32) {
        for _ in 0..rounds {
            self.now_ns += run_ms * MS;
            self.sleep(task);
            self.now_ns += (16 - run_ms) * MS;
            self.wake(task);
        }
    }
}

#[test]
fn a_small_task_wakes_on_a_small_cpu_and_only_with_a_model() {
    for kernel in KERNELS {
        let mut host = big_little(kernel, true);
        let task = host.hog_on(3);
        // New tasks count as half a CPU: it has to show that it is small first.
        host.rounds(task, 1, 40);
        assert!(host.cpu_of(task) < 2, "{kernel}: on {}", host.cpu_of(task));
        let mut host = big_little(kernel, false);
        let task = host.hog_on(3);
        host.rounds(task, 1, 40);
        assert_eq!(host.cpu_of(task), 3, "{kernel}: it stays where it was");
    }
}

#[test]
fn a_task_that_fits_no_small_cpu_wakes_on_a_big_one() {
    for kernel in KERNELS {
        let mut host = big_little(kernel, true);
        let task = host.hog_on(2);
        // Half of a big CPU is more than a small one has.
        host.rounds(task, 8, 60);
        assert!(host.cpu_of(task) >= 2, "{kernel}");
    }
}

#[test]
fn a_task_stays_where_it_was_if_no_other_cpu_saves_energy() {
    for kernel in KERNELS {
        let mut host = big_little(kernel, true);
        let task = host.hog_on(0);
        host.rounds(task, 1, 60);
        assert_eq!(host.cpu_of(task), 0, "{kernel}: CPU 1 would cost the same");
    }
}

#[test]
fn an_overutilised_cpu_ends_placement_by_energy() {
    for kernel in KERNELS {
        let mut host = big_little(kernel, true);
        let hog = host.hog_on(2);
        host.pass(200);
        assert_eq!(host.cpu_of(hog), 2);
        assert!(!host.sched.saves_energy_for_test(0), "{kernel}: it uses more than 80 %");
        let task = host.hog_on(3);
        host.rounds(task, 1, 40);
        assert_eq!(host.cpu_of(task), 3, "{kernel}: as without a model");
    }
}

#[test]
fn tasks_placed_by_energy_are_not_balanced_away() {
    for kernel in KERNELS {
        for aware in [true, false] {
            let mut host = big_little(kernel, aware);
            let small = Spawn { affinity: CpuSet::of([CpuId(0)]), ..Spawn::default() };
            let tasks: Vec<TaskId> = (0..2).map(|_| host.spawn_with(small.clone())).collect();
            // They show how small they are, then have more to do, and may run anywhere.
            for _ in 0..60 {
                for _ in 0..2 {
                    host.now_ns += MS;
                    host.block(0);
                }
                host.now_ns += 30 * MS;
                tasks.iter().for_each(|task| host.wake(*task));
            }
            for task in &tasks {
                host.sched.set_affinity(host.now_ns, *task, CpuSet::All).unwrap();
                host.settle();
            }
            host.pass(4);
            let stayed = tasks.iter().filter(|task| host.cpu_of(**task) == 0).count();
            assert_eq!(stayed == 2, aware, "{kernel}, {aware}");
        }
    }
}

#[test]
fn a_model_of_another_machine_is_ignored() {
    let alike = Topology::uniform(2).unwrap();
    let domain =
        PerfDomain { cpus: vec![0, 1], states: vec![CapacityState { capacity: 1024, power: 100 }] };
    let energy = Some(EnergyModel { domains: vec![domain] });
    let smp = SmpConfig { topology: Some(alike), energy, ..SmpConfig::default() };
    assert!(!host_with("6.12", smp).sched.saves_energy_for_test(0));
}
