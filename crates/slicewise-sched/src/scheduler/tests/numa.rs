//! NUMA balancing: which node a task prefers, and how it gets there (fair.md G.11).

use super::smp::{host_with, sockets};
use super::*;
use crate::numa::{NumaConfig, NumaCounts, NumaFault, NumaScan, NumaSpace};

const KERNELS: [&str; 5] = ["6.1", "6.6", "6.12", "6.18", "7.2"];
/// 64 MiB.
const PAGES: u64 = 16_384;

/// Two nodes of so many CPUs.
fn two_nodes(kernel: &str, cores: u32) -> Host {
    host_with(
        kernel,
        SmpConfig {
            topology: Some(sockets(2, cores, 1)),
            numa: Some(NumaConfig::default()),
            ..SmpConfig::default()
        },
    )
}

impl Host {
    /// A task with memory of its own.
    fn with_memory(&mut self, cpu: u32) -> (TaskId, NumaSpace) {
        let task = self.hog_on(cpu);
        let space = self.sched.numa_space(self.now_ns).unwrap();
        self.sched.numa_join(task, space).unwrap();
        (task, space)
    }

    /// Ticks until a task's memory is to be scanned; a scan goes over all of it.
    fn until_scan(&mut self, task: TaskId, ticks_max: u32) -> bool {
        for _ in 0..ticks_max {
            self.scans.clear();
            self.pass(1);
            for scanned in self.scans.clone() {
                let scan = NumaScan { resident_pages: PAGES, wrapped: true, took_ns: 0 };
                self.sched.numa_scanned(self.now_ns, scanned, scan).unwrap();
            }
            if self.scans.contains(&task) {
                return true;
            }
        }
        false
    }

    /// The task accesses marked pages of a node, that it alone uses from CPUs of `by`.
    fn fault(&mut self, task: TaskId, node: u32, by: u32) -> bool {
        self.fault_after(task, node, Some((task, by)))
    }

    fn fault_after(&mut self, task: TaskId, node: u32, last: Option<(TaskId, u32)>) -> bool {
        let fault = NumaFault { node, last, pages: 512, movable: true };
        let moved = self.sched.numa_fault(self.now_ns, task, fault).unwrap();
        self.settle();
        moved
    }

    /// Passes of which all faults are on memory of one node, last used from there: long enough to
    /// be no longer early.
    fn learn(&mut self, task: TaskId, node: u32) {
        for _ in 0..6 {
            assert!(self.until_scan(task, 20_000), "no scan");
            for _ in 0..8 {
                self.fault(task, node, node);
            }
        }
    }

    /// Moves a task away, but does not keep it there.
    fn exile(&mut self, task: TaskId, cpu: u32) {
        for set in [CpuSet::of([CpuId(cpu)]), CpuSet::All] {
            self.sched.set_affinity(self.now_ns, task, set).unwrap();
            self.settle();
        }
        assert_eq!(self.cpu_of(task), cpu);
    }

    fn preferred(&self, task: TaskId) -> Option<u32> {
        self.sched.numa_view(task).unwrap().preferred_node
    }
}

#[test]
fn without_memory_or_with_one_node_nothing_is_scanned() {
    let mut host = two_nodes("6.12", 2);
    host.hog_on(0);
    host.pass(2000);
    assert!(host.scans.is_empty(), "no address space");
    let config = SmpConfig { numa: Some(NumaConfig::default()), ..SmpConfig::default() };
    let one_node = SmpConfig { topology: Some(sockets(1, 4, 1)), ..config };
    assert_eq!(host_with("6.12", one_node).sched.numa_space(0), None);
    let off = SmpConfig { topology: Some(sockets(2, 2, 1)), ..SmpConfig::default() };
    assert_eq!(host_with("6.12", off).sched.numa_space(0), None);
}

#[test]
fn the_first_scan_comes_after_the_delay_of_running_and_later_ones_a_period_apart() {
    let mut host = two_nodes("6.12", 2);
    let (task, _) = host.with_memory(0);
    assert!(!host.until_scan(task, 250), "1 s");
    assert!(host.until_scan(task, 2));
    let first_ns = host.now_ns;
    host.fault_after(task, 0, None);
    // The first fault after a pass finds nothing counted yet: the period doubles to 2 s, and two
    // ticks more.
    assert!(host.until_scan(task, 1000));
    let gap_ms = (host.now_ns - first_ns) / MS;
    assert!((2000..=2016).contains(&gap_ms), "{gap_ms} ms");
}

#[test]
fn a_task_that_sleeps_is_not_scanned() {
    let mut host = two_nodes("6.12", 2);
    let (task, _) = host.with_memory(0);
    host.pass(100);
    host.sleep(task);
    host.now_ns += 10_000 * MS;
    host.wake(task);
    // Since it has run for 0.4 s only; wall time alone does not count.
    assert!(!host.until_scan(task, 140));
    assert!(host.until_scan(task, 20));
}

#[test]
fn pages_of_a_young_task_come_to_where_it_runs() {
    for kernel in KERNELS {
        let mut host = two_nodes(kernel, 2);
        let (task, _) = host.with_memory(0);
        assert!(host.until_scan(task, 300));
        assert!(host.fault_after(task, 1, None), "{kernel}: nobody has used it before");
        assert!(host.fault(task, 1, 1), "{kernel}: it has itself");
        assert!(!host.fault_after(task, 0, None), "{kernel}: it is there");
        let counts = host.sched.numa_counts();
        assert_eq!((counts.faults, counts.local_faults, counts.pages_migrated), (1536, 512, 1024));
        assert_eq!(host.preferred(task), None);
    }
}

#[test]
fn a_task_goes_home_to_its_memory_when_a_cpu_idles_there() {
    for kernel in KERNELS {
        let mut host = two_nodes(kernel, 2);
        let (task, _) = host.with_memory(2);
        host.learn(task, 1);
        assert_eq!(host.preferred(task), Some(1), "{kernel}");
        // Somebody has moved it away.
        host.exile(task, 0);
        assert!(host.until_scan(task, 20_000));
        assert!(!host.fault(task, 1, 1), "{kernel}: the page stays");
        assert!(host.cpu_of(task) >= 2, "{kernel}: the task does not");
        assert_eq!(host.sched.numa_counts().task_moves, 1, "{kernel}");
    }
}

#[test]
fn two_tasks_on_the_wrong_nodes_swap() {
    for kernel in KERNELS {
        let mut host = two_nodes(kernel, 1);
        let (one, _) = host.with_memory(0);
        let (other, _) = host.with_memory(1);
        for _ in 0..6 {
            for (task, node) in [(one, 0), (other, 1)] {
                assert!(host.until_scan(task, 20_000));
                (0..8).for_each(|_| _ = host.fault(task, node, node));
            }
        }
        host.exile(one, 1);
        host.exile(other, 0);
        assert_eq!([host.cpu_of(one), host.cpu_of(other)], [1, 0], "{kernel}");
        assert!(host.until_scan(one, 20_000));
        host.fault(one, 0, 0);
        assert_eq!([host.cpu_of(one), host.cpu_of(other)], [0, 1], "{kernel}");
        let NumaCounts { task_moves, task_swaps, .. } = host.sched.numa_counts();
        assert_eq!((task_moves, task_swaps), (0, 1), "{kernel}: there was no room");
        assert_eq!(host.counts(), [1, 1]);
    }
}

#[test]
fn a_task_stays_away_from_its_memory_where_it_may_not_run_or_nobody_gains() {
    for kernel in KERNELS {
        let mut host = two_nodes(kernel, 1);
        let (task, _) = host.with_memory(1);
        host.learn(task, 1);
        // It is kept away while another comes to have its memory there too.
        let only = |cpu| CpuSet::of([CpuId(cpu)]);
        host.sched.set_affinity(host.now_ns, task, only(0)).unwrap();
        host.settle();
        let (home, _) = host.with_memory(1);
        host.sched.set_affinity(host.now_ns, home, only(1)).unwrap();
        host.learn(home, 1);
        for task in [task, home] {
            host.sched.set_affinity(host.now_ns, task, CpuSet::All).unwrap();
        }
        assert!(host.until_scan(task, 20_000));
        host.fault(task, 1, 1);
        // As much would be lost as won.
        assert_eq!([host.cpu_of(task), host.cpu_of(home)], [0, 1], "{kernel}");
        assert_eq!(host.sched.numa_counts().task_swaps, 0, "{kernel}");
        let mut host = two_nodes(kernel, 2);
        let (task, _) = host.with_memory(0);
        host.sched.set_affinity(0, task, CpuSet::of([CpuId(0), CpuId(1)])).unwrap();
        host.learn(task, 1);
        assert!(host.cpu_of(task) < 2, "{kernel}");
    }
}

#[test]
fn later_a_page_moves_after_two_accesses_from_the_same_node() {
    for kernel in KERNELS {
        let mut host = two_nodes(kernel, 2);
        let (task, _) = host.with_memory(0);
        host.learn(task, 0);
        assert!(!host.fault(task, 1, 1), "{kernel}: it was last used from there");
        assert!(host.fault(task, 1, 0), "{kernel}");
    }
}

#[test]
fn threads_that_touch_the_same_pages_are_one_group() {
    for kernel in KERNELS {
        let mut host = two_nodes(kernel, 2);
        let (one, space) = host.with_memory(0);
        let other = host.hog_on(1);
        host.sched.numa_join(other, space).unwrap();
        assert!(host.until_scan(one, 300));
        host.fault_after(one, 0, Some((other, 0)));
        host.fault_after(other, 0, Some((one, 0)));
        let group = |host: &Host, task| host.sched.numa_view(task).unwrap().group;
        assert_eq!(group(&host, one), group(&host, other), "{kernel}");
        assert!(group(&host, one).is_some(), "{kernel}");
        // Of another process: not seen as one, whatever pages it is told to share.
        let (stranger, _) = host.with_memory(2);
        assert!(host.until_scan(stranger, 600));
        host.fault_after(stranger, 0, Some((one, 0)));
        assert_ne!(group(&host, stranger), group(&host, one), "{kernel}");
        // A group ends with its last task.
        host.sched.exit(host.now_ns, other).unwrap();
        host.schedule(CpuId(1));
        host.sched.exit(host.now_ns, one).unwrap();
        host.schedule(CpuId(0));
        assert_eq!(host.sched.numa_view(one), None, "{kernel}");
    }
}

#[test]
fn balancing_between_nodes_takes_those_that_are_not_at_home_first() {
    for kernel in KERNELS {
        let mut host = two_nodes(kernel, 2);
        let (home, _) = host.with_memory(0);
        host.learn(home, 0);
        // Four on its CPU; node 1 idles until now.
        (0..3).for_each(|_| _ = host.hog_on(0));
        let moved = (0..500).any(|_| {
            host.pass(1);
            host.counts()[2..].iter().sum::<u32>() > 0
        });
        assert!(moved, "{kernel}: nobody went");
        assert!(host.cpu_of(home) < 2, "{kernel}: it stayed");
    }
}

proptest! {
    /// Whatever faults say: no task is lost, none runs where it may not, and counts add up.
    #[test]
    fn faults_never_break_affinity_nor_lose_a_task(
        kernel in proptest::sample::select(KERNELS.to_vec()),
        masks in prop::collection::vec(1_u32..16, 1..7),
        steps in prop::collection::vec((0_usize..6, 0_u32..3, 0_usize..6, 0_u32..2, any::<bool>()), 1..120),
    ) {
        let mut host = two_nodes(kernel, 2);
        let shared = host.sched.numa_space(0).unwrap();
        let mut tasks = Vec::new();
        for (at, mask) in masks.iter().enumerate() {
            let affinity = CpuSet::of((0..4).filter(|cpu| mask >> cpu & 1 == 1).map(CpuId));
            let task = host.spawn_with(Spawn { affinity, ..Spawn::default() });
            let space = match at % 2 {
                0 => shared,
                _ => host.sched.numa_space(0).unwrap(),
            };
            host.sched.numa_join(task, space).unwrap();
            tasks.push((task, *mask));
        }
        let mut pages = 0;
        for (who, node, last, by, movable) in steps {
            host.pass(60);
            for scanned in core::mem::take(&mut host.scans) {
                let scan = NumaScan { resident_pages: PAGES, wrapped: true, took_ns: 1000 };
                host.sched.numa_scanned(host.now_ns, scanned, scan).unwrap();
            }
            let (task, _) = tasks[who % tasks.len()];
            let last = tasks.get(last).map(|(last, _)| (*last, by));
            let fault = NumaFault { node, last, pages: 512, movable };
            let before = host.sched.numa_counts();
            let moved = host.sched.numa_fault(host.now_ns, task, fault).unwrap();
            host.settle();
            let after = host.sched.numa_counts();
            // Node 2 does not exist.
            pages += if node < 2 { 512 } else { 0 };
            prop_assert_eq!(after.faults, pages);
            prop_assert_eq!(after.pages_migrated - before.pages_migrated, if moved { 512 } else { 0 });
            prop_assert!(!moved || movable && node < 2);
            for (task, mask) in &tasks {
                prop_assert!(mask >> host.cpu_of(*task) & 1 == 1);
                let view = host.sched.numa_view(*task).unwrap();
                prop_assert!(view.preferred_node.is_none_or(|node| node < 2));
            }
            prop_assert_eq!(host.counts().iter().sum::<u32>() as usize, tasks.len());
        }
    }
}
