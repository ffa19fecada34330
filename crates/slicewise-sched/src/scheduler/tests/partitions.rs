//! Real-time and deadline tasks where CPUs are parted (cpuset partitions, isolated CPUs).

use super::deadline::{dl, play};
use super::smp::{host_with, sockets};
use super::*;
use crate::deadline::Refusal;

/// Of four CPUs, 0 and 1 are balanced, the others isolated, or a partition of their own.
fn parted(kernel: &str, sets: &[&[u32]]) -> Host {
    let set = |cpus: &&[u32]| CpuSet::of(cpus.iter().copied().map(CpuId));
    host_with(
        kernel,
        SmpConfig {
            topology: Some(sockets(1, 4, 1)),
            partitions: Some(sets.iter().map(set).collect()),
            ..SmpConfig::default()
        },
    )
}

fn on(cpus: &[u32]) -> CpuSet {
    CpuSet::of(cpus.iter().copied().map(CpuId))
}

impl Host {
    fn reserve(&mut self, runtime: u64, cpus: &[u32]) -> Result<TaskId, Error> {
        let attr = Attr { policy: dl(runtime, 100, 100), ..Attr::default() };
        let spawn = Spawn { attr, affinity: on(cpus), ..Spawn::default() };
        let task = self.sched.spawn(self.now_ns, spawn);
        self.settle();
        task
    }
}

#[test]
fn each_root_domain_gives_its_own_bandwidth() {
    // 0.95 of each CPU; from 6.12 on less what its fair server has, on 7.2 all but that.
    for (kernel, most) in [("6.1", 95), ("6.12", 90), ("7.2", 95)] {
        for sets in [&[&[0, 1][..], &[2, 3]][..], &[&[0, 1]]] {
            let mut host = parted(kernel, sets);
            for cpus in [[0, 1], [2, 3]] {
                let first = host.reserve(most, &cpus).unwrap();
                host.reserve(most, &cpus).unwrap();
                let full = Err(Error::Deadline(Refusal::Busy));
                assert_eq!(host.reserve(1, &cpus), full, "{kernel} {cpus:?}");
                assert!(cpus.contains(&host.cpu_of(first)), "{kernel}");
            }
        }
    }
}

#[test]
fn a_deadline_task_has_to_be_allowed_on_its_root_domain_and_no_more() {
    for kernel in ["6.1", "6.12", "7.2"] {
        let mut host = parted(kernel, &[&[0, 1], &[2, 3]]);
        let refused = Err(Error::Deadline(Refusal::Affinity));
        assert_eq!(host.reserve(10, &[0]), refused, "{kernel}");
        assert!(host.reserve(10, &[1, 2]).is_err(), "{kernel}: of two, all of none");
        let task = host.reserve(10, &[0, 1]).unwrap();
        let shrunk = host.sched.set_affinity(host.now_ns, task, on(&[1]));
        assert_eq!(shrunk, Err(Error::Deadline(Refusal::Shrunk)), "{kernel}");
        host.sched.set_affinity(host.now_ns, task, CpuSet::All).unwrap();
    }
}

#[test]
fn bandwidth_goes_back_to_the_root_domain_that_gave_it() {
    let mut host = parted("6.1", &[&[0, 1], &[2, 3]]);
    let before = host.sched.deadlines.domains.clone();
    let task = host.reserve(50, &[0, 1]).unwrap();
    assert_ne!(host.sched.deadlines.domains[0], before[0]);
    assert_eq!(host.sched.deadlines.domains[1], before[1]);
    // No deadline task any more, it goes to the other partition and becomes one there.
    let now_ns = host.now_ns;
    host.sched.set_attr(now_ns, task, Attr::default()).unwrap();
    host.sched.set_affinity(now_ns, task, on(&[2, 3])).unwrap();
    host.settle();
    let attr = Attr { policy: dl(30, 100, 100), ..Attr::default() };
    host.sched.set_attr(host.now_ns, task, attr).unwrap();
    host.settle();
    play(&mut host, 1_000 * MS);
    assert_eq!(host.sched.deadlines.domains[0], before[0]);
    let given = host.sched.deadlines.domains[1].total() - before[1].total();
    assert_eq!(given, 314_572, "0.3 of 2^20");
}

#[test]
fn no_real_time_or_deadline_task_crosses_into_another_partition() {
    for kernel in ["6.1", "6.12", "7.2"] {
        let mut host = parted(kernel, &[&[0, 1], &[2, 3]]);
        let rt = Policy::Fifo(RtPriority::new(10).unwrap());
        // May run anywhere, and wait while the other partition idles or does less important work.
        let mut here = Vec::new();
        for (policy, count) in [(rt, 3), (dl(20, 100, 100), 3)] {
            for at in 0..count {
                let attr = Attr { policy, ..Attr::default() };
                let cpu = Some(CpuId(at % 2));
                here.push(host.spawn_with(Spawn { attr, cpu, ..Spawn::default() }));
            }
        }
        let other = host.spawn_with(Spawn { cpu: Some(CpuId(3)), ..Spawn::default() });
        play(&mut host, 500 * MS);
        let sleeper = host.sched.current(CpuId(3)).unwrap();
        assert_eq!(sleeper, other);
        // CPU 3 is about to idle: it would pull, if it might.
        host.block(3);
        play(&mut host, 1_000 * MS);
        assert!(here.iter().all(|task| host.cpu_of(*task) < 2), "{kernel}");
        assert!(host.sched.is_idle(CpuId(2)) && host.sched.is_idle(CpuId(3)), "{kernel}");
    }
}
