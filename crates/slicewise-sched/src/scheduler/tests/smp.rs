//! Several CPUs: where tasks wake and start, and how they even out (fair.md G).

use super::*;
use crate::topology::CpuPlace;
use crate::{SmpConfig, Topology};

const KERNELS: [&str; 5] = ["6.1", "6.6", "6.12", "6.18", "7.2"];

/// Sockets, each a node with one cache, of cores of threads. CPUs of a core follow each other.
pub(super) fn sockets(sockets: u32, cores: u32, threads: u32) -> Topology {
    let per_socket = cores * threads;
    let place = |cpu: u32| {
        let socket = cpu / per_socket;
        CpuPlace { llc: socket, package: socket, node: socket, ..CpuPlace::alone(cpu / threads) }
    };
    let row = |from| (0..sockets).map(|to| if from == to { 10 } else { 20 }).collect();
    let places = (0..sockets * per_socket).map(place).collect();
    Topology::new(places, (0..sockets).map(row).collect()).unwrap()
}

fn host(kernel: &str, topology: Topology) -> Host {
    host_with(kernel, SmpConfig { topology: Some(topology), ..SmpConfig::default() })
}

pub(super) fn host_with(kernel: &str, smp: SmpConfig) -> Host {
    let profile = Profile::named(kernel).unwrap();
    let cpus = smp.topology.as_ref().unwrap().nr_cpus();
    let config = SchedConfig {
        profile,
        features: profile.features,
        base_slice_ns: None,
        cpus,
        hz: 250,
        smp,
    };
    Host::of(&config)
}

impl Host {
    fn hog(&mut self) -> TaskId {
        self.spawn(Policy::Normal, 0)
    }

    pub(super) fn hog_on(&mut self, cpu: u32) -> TaskId {
        self.spawn_with(Spawn { cpu: Some(CpuId(cpu)), ..Spawn::default() })
    }

    pub(super) fn cpu_of(&self, task: TaskId) -> u32 {
        self.sched.tasks.slots[task.slot()].cpu
    }

    pub(super) fn sleep(&mut self, task: TaskId) {
        let cpu = self.cpu_of(task);
        assert_eq!(self.sched.cpus[cpu as usize].current, Some(task.slot() as u32), "it runs");
        self.block(cpu);
    }

    /// Time passes; CPUs that run something tick.
    pub(super) fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now_ns += 4 * MS;
            for cpu in 0..self.sched.nr_cpus() {
                if self.sched.cpus[cpu as usize].current.is_some() {
                    self.sched.tick(self.now_ns, CpuId(cpu)).unwrap();
                    self.settle();
                }
            }
        }
    }

    pub(super) fn counts(&self) -> Vec<u32> {
        self.sched.cpus.iter().map(Cpu::nr_running).collect()
    }
}

#[test]
fn forks_take_idle_cpus_one_by_one() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(1, 8, 1));
        (0..8).for_each(|_| _ = host.hog());
        assert_eq!(host.counts(), [1; 8], "{kernel}");
    }
}

#[test]
fn forks_take_whole_cores_before_siblings() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(1, 4, 2));
        let tasks: Vec<TaskId> = (0..4).map(|_| host.hog()).collect();
        let mut cores: Vec<u32> = tasks.iter().map(|task| host.cpu_of(*task) / 2).collect();
        cores.sort_unstable();
        assert_eq!(cores, [0, 1, 2, 3], "{kernel}");
    }
}

#[test]
fn a_few_forks_stay_on_their_node_many_spread() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(2, 16, 1));
        let first: Vec<TaskId> = (0..2).map(|_| host.hog()).collect();
        assert!(first.iter().all(|task| host.cpu_of(*task) < 16), "{kernel}");
        (0..14).for_each(|_| _ = host.hog());
        let here: u32 = host.counts()[..16].iter().sum();
        assert!((7..=9).contains(&here), "{kernel}: {here} of 16");
    }
}

#[test]
fn a_sleeper_wakes_where_it_was_if_that_is_idle() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(1, 4, 1));
        let task = host.hog_on(2);
        host.pass(1);
        host.sleep(task);
        host.now_ns += MS;
        host.wake(task);
        assert_eq!(host.cpu_of(task), 2, "{kernel}");
    }
}

#[test]
fn a_sleeper_whose_cpu_is_taken_wakes_on_an_idle_one_with_the_same_cache() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(2, 2, 1));
        let task = host.hog_on(2);
        host.pass(1);
        host.sleep(task);
        host.now_ns += 50 * MS;
        host.hog_on(2);
        host.wake(task);
        assert_eq!(host.cpu_of(task), 3, "{kernel}: not 0 or 1 of the other socket");
    }
}

#[test]
fn a_wakee_comes_to_a_waker_that_is_about_to_sleep_and_alone() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(2, 2, 1));
        let wakee = host.hog_on(2);
        host.pass(1);
        host.sleep(wakee);
        let waker = host.hog_on(0);
        host.hog_on(2);
        host.hog_on(3);
        host.now_ns += MS;
        let how = Wake { waker: Some(waker), sync: true, cpu: None };
        host.sched.wake(host.now_ns, wakee, how).unwrap();
        host.settle();
        assert!(host.cpu_of(wakee) < 2, "{kernel}: to the waker's socket");
    }
}

#[test]
fn a_wakeup_looks_for_a_whole_idle_core_first() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(1, 3, 2));
        let task = host.hog_on(0);
        host.pass(1);
        host.sleep(task);
        host.hog_on(0);
        host.hog_on(2);
        host.now_ns += 50 * MS;
        host.wake(task);
        assert_eq!(host.cpu_of(task), 4, "{kernel}: not the siblings 1 or 3");
    }
}

#[test]
fn a_task_that_may_run_on_one_cpu_only_is_never_moved() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(2, 2, 2));
        let affinity = CpuSet::one(CpuId(5));
        let pinned: Vec<TaskId> = (0..3)
            .map(|_| host.spawn_with(Spawn { affinity: affinity.clone(), ..Spawn::default() }))
            .collect();
        (0..9).for_each(|_| _ = host.hog());
        host.pass(500);
        assert!(pinned.iter().all(|task| host.cpu_of(*task) == 5), "{kernel}");
        let others: u32 = host.counts().iter().sum();
        assert_eq!(others, 12, "{kernel}");
    }
}

#[test]
fn hogs_heaped_on_one_cpu_even_out() {
    for kernel in KERNELS {
        for topology in [sockets(1, 8, 1), sockets(2, 2, 2), sockets(4, 2, 1)] {
            let mut host = host(kernel, topology);
            (0..16).for_each(|_| _ = host.hog_on(0));
            host.pass(500);
            let counts = host.counts();
            assert!(counts.iter().all(|count| (1..=3).contains(count)), "{kernel}: {counts:?}");
            assert_eq!(counts.iter().sum::<u32>(), 16, "{kernel}");
        }
    }
}

#[test]
fn a_cpu_about_to_idle_takes_a_waiting_task() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(1, 2, 1));
        (0..3).for_each(|_| _ = host.hog_on(0));
        let short = host.hog_on(1);
        // Long enough that caches are cold; the throw decides whether it looks at all.
        let mut moved = false;
        for _ in 0..8 {
            host.now_ns += MS;
            host.sleep(short);
            moved |= host.counts()[1] > 0;
            if moved {
                break;
            }
            host.sched
                .wake(host.now_ns, short, Wake { cpu: Some(CpuId(1)), ..Wake::default() })
                .unwrap();
            host.settle();
        }
        assert!(moved, "{kernel}");
    }
}

#[test]
fn two_hogs_on_one_core_part_when_a_core_idles() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(1, 2, 2));
        let (one, other) = (host.hog_on(0), host.hog_on(1));
        host.pass(100);
        assert_ne!(host.cpu_of(one) / 2, host.cpu_of(other) / 2, "{kernel}");
    }
}

#[test]
fn a_hog_on_a_slow_cpu_is_moved_to_a_fast_one() {
    let place = |core: u32| CpuPlace {
        capacity: if core < 2 { 446 } else { 1024 },
        ..CpuPlace::alone(core)
    };
    for kernel in KERNELS {
        let topology = Topology::new((0..4).map(place).collect(), vec![vec![10]]).unwrap();
        let mut host = host(kernel, topology);
        let hog = host.hog_on(0);
        host.pass(100);
        assert!(host.cpu_of(hog) >= 2, "{kernel}");
    }
}

#[test]
fn where_tasks_are_packed_the_cpus_with_priority_fill_up_first() {
    let place = |core: u32| CpuPlace {
        packing_priority: Some(if core == 3 { 20 } else { 10 }),
        ..CpuPlace::alone(core)
    };
    for kernel in KERNELS {
        let topology = Topology::new((0..4).map(place).collect(), vec![vec![10]]).unwrap();
        let mut host = host(kernel, topology);
        let hog = host.hog_on(0);
        host.pass(100);
        assert_eq!(host.cpu_of(hog), 3, "{kernel}");
    }
}

#[test]
fn isolated_cpus_get_no_tasks_but_those_put_there() {
    for kernel in KERNELS {
        let partitions = Some(vec![CpuSet::of((0..3).map(CpuId))]);
        let topology = Some(sockets(1, 4, 1));
        let mut host =
            host_with(kernel, SmpConfig { topology, partitions, ..SmpConfig::default() });
        let inference = host.hog_on(3);
        (0..12).for_each(|_| _ = host.hog());
        host.pass(500);
        assert_eq!(host.counts()[3], 1, "{kernel}");
        assert_eq!(host.cpu_of(inference), 3, "{kernel}");
        let wakes = host.hog_on(3);
        host.pass(2);
        assert_eq!(host.cpu_of(wakes), 3, "{kernel}: nobody takes it away either");
    }
}

#[test]
fn real_time_work_leaves_less_for_fair_tasks() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(1, 2, 1));
        let fifo = Attr { policy: Policy::Fifo(RtPriority::new(50).unwrap()), ..Attr::default() };
        let spawn = Spawn { attr: fifo, cpu: Some(CpuId(0)), ..Spawn::default() };
        host.spawn_with(Spawn { affinity: CpuSet::one(CpuId(0)), ..spawn });
        let (one, other) = (host.hog_on(0), host.hog_on(0));
        host.pass(100);
        assert_eq!([one, other].map(|task| host.cpu_of(task)), [1, 1], "{kernel}");
    }
}

#[test]
fn a_new_tasks_estimate_is_what_its_cpu_has_left() {
    let mut host = host("6.12", sockets(1, 2, 1));
    let tasks: Vec<TaskId> = (0..3).map(|_| host.hog_on(0)).collect();
    // WX-35: 512, then half of what is left.
    let utils = tasks.iter().map(|task| host.sched.util_of(*task).unwrap());
    assert_eq!(utils.collect::<Vec<_>>(), [512, 256, 128]);
}

#[test]
fn wx42_a_task_that_has_just_run_stays_until_balancing_has_failed_often() {
    let mut host = host("6.1", sockets(1, 2, 1));
    let (stays, other) = (host.hog_on(0), host.hog_on(0));
    host.now_ns = 100 * MS;
    host.schedule(CpuId(0));
    host.settle();
    let waiting =
        if host.sched.cpus[0].current == Some(stays.slot() as u32) { other } else { stays };
    let hot = |host: &Host, ago_us: u64| {
        let mut sched = host.sched.clone();
        sched.entities[waiting.slot()].exec_start = host.now_ns - ago_us * 1_000;
        sched.hot_for_test(host.now_ns, waiting.slot() as u32)
    };
    assert!(hot(&host, 400));
    assert!(!hot(&host, 500));
    // One that has come from elsewhere and not run yet has nothing in the cache.
    host.sched.migrate(host.now_ns, waiting, CpuId(1)).unwrap();
    assert!(!host.sched.hot_for_test(host.now_ns, waiting.slot() as u32));
}

#[test]
fn wx53_a_cpu_with_two_tasks_sees_to_idle_ones_at_its_tick() {
    for kernel in KERNELS {
        let mut host = host(kernel, sockets(1, 4, 1));
        let affinity = CpuSet::one(CpuId(0));
        for _ in 0..2 {
            host.spawn_with(Spawn { affinity: affinity.clone(), ..Spawn::default() });
        }
        host.pass(1);
        let next = host.sched.nohz_next_balance();
        assert!((2..=1 + 60 * 250).contains(&next), "{kernel}: {next}");
        let idle = host.sched.nohz_next_balance();
        host.pass(idle as u32);
        assert!(host.sched.nohz_next_balance() > idle, "{kernel}: again when it is due");
    }
}

/// What happens on a machine with ticks.
#[derive(Clone, Debug)]
enum Happens {
    Fork,
    Exit(prop::sample::Index),
    Sleep(prop::sample::Index),
    Wake(prop::sample::Index, bool),
    Pin(prop::sample::Index, u8),
    Ticks(u8),
}

fn happenings() -> impl Strategy<Value = Vec<Happens>> {
    let index = any::<prop::sample::Index>;
    let one = prop_oneof![
        4 => Just(Happens::Fork),
        1 => index().prop_map(Happens::Exit),
        4 => index().prop_map(Happens::Sleep),
        4 => (index(), any::<bool>()).prop_map(|(who, sync)| Happens::Wake(who, sync)),
        1 => (index(), any::<u8>()).prop_map(|(who, cpus)| Happens::Pin(who, cpus)),
        4 => (1_u8..20).prop_map(Happens::Ticks),
    ];
    prop::collection::vec(one, 1..120)
}

/// For how many ticks a CPU may idle while someone waits elsewhere who may run there: as long as
/// balances that fail a few times take.
const PATIENCE: u32 = 40;
/// Where affinities have kept a domain from being balanced, it is left alone for up to 512 ms, each
/// time.
const PATIENCE_PINNED: u32 = 300;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tasks_are_conserved_stay_where_they_may_and_no_cpu_idles_for_long(
        kernel in 0..KERNELS.len(),
        shape in 0..4_usize,
        happenings in happenings(),
    ) {
        let topology =
            [sockets(1, 8, 1), sockets(2, 4, 1), sockets(1, 4, 2), sockets(2, 2, 2)][shape].clone();
        let mut host = host(KERNELS[kernel], topology);
        let mut tasks: Vec<TaskId> = Vec::new();
        let mut idle_for = [0_u32; 8];
        let mut patience = PATIENCE;
        for what in happenings {
            let pick = |index: prop::sample::Index| {
                (!tasks.is_empty()).then(|| tasks[index.index(tasks.len())])
            };
            match what {
                Happens::Fork => tasks.push(host.hog()),
                Happens::Exit(index) => {
                    if let Some(task) = pick(index) {
                        let cpu = host.cpu_of(task);
                        let ran = host.sched.cpus[cpu as usize].current == Some(task.slot() as u32);
                        host.sched.exit(host.now_ns, task).unwrap();
                        if ran {
                            host.schedule(CpuId(cpu));
                        }
                        host.settle();
                        tasks.retain(|other| *other != task);
                    }
                }
                Happens::Sleep(index) => {
                    if let Some(task) = pick(index) {
                        let cpu = host.cpu_of(task);
                        if host.sched.cpus[cpu as usize].current == Some(task.slot() as u32) {
                            host.block(cpu);
                        }
                    }
                }
                Happens::Wake(index, sync) => {
                    let waker = host.sched.cpus[0].current.map(|slot| host.sched.tasks.id(slot));
                    if let Some(task) = pick(index) {
                        let how = Wake { waker, sync, cpu: None };
                        host.sched.wake(host.now_ns, task, how).unwrap();
                        host.settle();
                    }
                }
                Happens::Pin(index, cpus) => {
                    patience = PATIENCE_PINNED;
                    if let Some(task) = pick(index) {
                        let bits = (0..8).filter(|bit| cpus >> bit & 1 == 1).map(CpuId);
                        if host.sched.set_affinity(host.now_ns, task, CpuSet::of(bits)).is_ok() {
                            host.settle();
                        }
                    }
                }
                Happens::Ticks(ticks) => {
                    for _ in 0..ticks {
                        host.pass(1);
                        check_idle(&host, &tasks, &mut idle_for, patience)?;
                    }
                }
            }
            check_invariants(&host, &tasks)?;
        }
    }
}

/// No CPU idles for long while a task that may run there waits elsewhere.
fn check_idle(
    host: &Host,
    tasks: &[TaskId],
    idle_for: &mut [u32; 8],
    patience: u32,
) -> Result<(), TestCaseError> {
    for (cpu, idle_for) in (0..).zip(idle_for) {
        let waits = |task: &&TaskId| {
            let task = &host.sched.tasks.slots[task.slot()];
            let rq = &host.sched.cpus[task.cpu as usize];
            task.state == State::Runnable
                && task.affinity.contains(CpuId(cpu))
                && rq.nr_runnable() > 1
                && rq.current.is_some_and(|running| {
                    !std::ptr::eq(&host.sched.tasks.slots[running as usize], task)
                })
        };
        let idles = host.sched.cpus[cpu as usize].current.is_none();
        *idle_for = if idles && tasks.iter().any(|task| waits(&task)) { *idle_for + 1 } else { 0 };
        prop_assert!(*idle_for < patience, "CPU {cpu} idles, {:?}", host.counts());
    }
    Ok(())
}

#[test]
fn a_task_that_was_there_before_counts_in_the_averages_once_it_wakes() {
    for profile in Profile::ALL {
        let mut host = Host::with(*profile, 2, 250);
        let task = host.sched.adopt(CpuId(1), Attr::default(), CpuSet::All).unwrap();
        let wake = Wake { cpu: Some(CpuId(1)), ..Wake::default() };
        assert_eq!(host.sched.wake(MS, task, wake), Ok(Some(CpuId(1))));
        assert_eq!(host.sched.schedule(MS, CpuId(1)).unwrap().next, Some(task));
        host.sched.block(2 * MS, CpuId(1)).unwrap();
        assert_eq!(host.sched.schedule(2 * MS, CpuId(1)).unwrap().next, None);
    }
}
