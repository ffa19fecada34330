//! Random small workloads: nothing panics, everything repeats, all time is accounted for.

mod common;

use common::{MS, US, config, fifo, kernel, on, try_go};
use proptest::prelude::*;
use slicewise_machine::{
    Barrier, Costs, Device, Dist, GroupSpec, MachineConfig, Mode, MutexSpec, Op, Preemption, Queue,
    TimerMode, TimerSpec, Workload,
};
use slicewise_sched::bandwidth::Limit;
use slicewise_sched::{Attr, DlParams, Policy, Shares};
use slicewise_trace::Event;

fn dist() -> impl Strategy<Value = Dist> {
    prop_oneof![
        (0..3 * MS).prop_map(Dist::Constant),
        (0..MS, 0..MS).prop_map(|(low, more)| Dist::Uniform(low, low + more)),
        (1..MS).prop_map(|mean| Dist::Exponential { mean_ns: mean as f64 }),
        (1..MS).prop_map(|median| Dist::LogNormal { median_ns: median as f64, sigma: 1.0 }),
    ]
}

/// Indices are below two everywhere; there are two of everything.
fn op() -> impl Strategy<Value = Vec<Op>> {
    let two = 0..2_u32;
    let mode = prop_oneof![Just(Mode::User), Just(Mode::Kernel)];
    let timers = prop_oneof![Just(TimerMode::Relative), Just(TimerMode::Absolute)];
    prop_oneof![
        4 => (dist(), mode).prop_map(|(work, mode)| vec![Op::Run { work, mode }]),
        1 => dist().prop_map(|elapsed| vec![Op::RunUntil { elapsed }]),
        3 => dist().prop_map(|duration| vec![Op::Sleep { duration }]),
        2 => (two.clone(), 1..5 * MS, timers)
            .prop_map(|(timer, period_ns, mode)| vec![Op::Timer { timer, period_ns, mode }]),
        2 => (two.clone(), dist()).prop_map(|(mutex, work)| {
            vec![Op::Lock(mutex), Op::Run { work, mode: Mode::User }, Op::Unlock(mutex)]
        }),
        1 => two.clone().prop_map(|mutex| vec![Op::Lock(mutex)]),
        1 => (two.clone(), two.clone()).prop_map(|(condition, mutex)| {
            vec![Op::Lock(mutex), Op::Wait { condition, mutex }, Op::Unlock(mutex)]
        }),
        2 => two.clone().prop_map(|condition| vec![Op::Signal(condition)]),
        1 => two.clone().prop_map(|condition| vec![Op::Broadcast(condition)]),
        1 => two.clone().prop_map(|barrier| vec![Op::Barrier(barrier)]),
        1 => Just(vec![Op::Suspend]),
        2 => two.clone().prop_map(|spec| vec![Op::Resume(spec)]),
        1 => Just(vec![Op::Yield]),
        1 => two.clone().prop_map(|spec| vec![Op::Fork(2 + spec)]),
        1 => two.clone().prop_map(|queue| vec![Op::Receive(queue), Op::Serve, Op::Reply]),
        1 => (two.clone(), dist()).prop_map(|(device, work)| vec![Op::Submit { device, work }]),
        1 => two.clone().prop_map(|device| vec![Op::Synchronize(device)]),
        1 => two.prop_map(|cpu| vec![Op::SetAffinity(on(cpu))]),
        1 => (1..90_i64).prop_map(|priority| vec![Op::SetAttr(fifo(priority))]),
        1 => (1..40_u64, 1..40_u64, any::<bool>()).prop_map(|(runtime, more, reclaim)| {
            let params = DlParams { reclaim, overrun_signal: reclaim,
                ..DlParams::implicit(runtime * 100 * US, (runtime + more) * 100 * US) };
            let policy = Policy::Deadline(params);
            vec![Op::SetAttr(Attr { policy, reset_on_fork: true, ..Attr::default() })]
        }),
        1 => Just(vec![Op::SetAttr(Attr::default())]),
    ]
}

fn program() -> impl Strategy<Value = Vec<Op>> {
    let body = prop::collection::vec(op(), 0..8).prop_map(|ops| ops.concat());
    (body, any::<bool>()).prop_map(|(mut body, forever)| {
        if forever {
            // Some time goes by in every round.
            body.push(Op::Sleep { duration: Dist::Constant(100 * US) });
            body = common::forever(body);
        }
        body
    })
}

fn workload() -> impl Strategy<Value = Workload> {
    let programs = prop::collection::vec(program(), 4..8);
    let child = prop::collection::vec(dist(), 2);
    (programs, child, dist(), dist(), 0..5_u32).prop_map(|(mut programs, child, a, b, depth)| {
        // Templates run and end, so that forks do not pile up.
        for (index, work) in child.into_iter().enumerate() {
            programs[2 + index] = vec![Op::Run { work, mode: Mode::User }];
        }
        let mut workload = common::workload(programs);
        for task in &mut workload.tasks[2..4] {
            task.template = true;
        }
        let names = || vec!["a".to_owned(), "b".to_owned()];
        workload.mutexes =
            names().into_iter().map(|name| MutexSpec { inherits: name == "b", name }).collect();
        workload.conditions = names();
        workload.timers =
            names().into_iter().map(|name| TimerSpec { shared: name == "a", name }).collect();
        workload.barriers = names().into_iter().map(|name| Barrier { name, parties: 2 }).collect();
        workload.devices =
            names().into_iter().map(|name| Device { name, depth: depth + 1 }).collect();
        let queue = |name, service| Queue {
            name,
            interarrival: Dist::Uniform(50 * US, 5 * MS),
            service,
            start_ns: 0,
            requests: Some(20),
            depth,
        };
        workload.queues = vec![queue("a".to_owned(), a), queue("b".to_owned(), b)];
        workload
    })
}

/// A few groups, nested or not, with and without quotas, and who is in which.
fn groups() -> impl Strategy<Value = (Vec<GroupSpec>, Vec<Option<u32>>)> {
    let quota = prop::option::weighted(0.7, MS..20 * MS);
    let group = (2..2000_u64, quota, 4..30_u64, 0..20 * MS, any::<u32>(), 0..8_u8);
    let groups = prop::collection::vec(group, 0..4).prop_map(|list| {
        let mut workload = Workload::default();
        for (shares, quota_ns, period_ms, burst_ns, parent, idle) in list {
            let parent = parent.checked_rem(workload.groups.len() as u32 + 1);
            let parent = parent.and_then(|parent| parent.checked_sub(1));
            let group = workload.add_group(parent, "g") as usize;
            let spec = &mut workload.groups[group];
            spec.shares = Shares::from_shares(shares);
            spec.idle = idle == 0;
            let burst_ns = burst_ns.min(quota_ns.unwrap_or(0));
            spec.limit = Limit { quota_ns, period_ns: period_ms * MS, burst_ns };
        }
        workload.groups
    });
    groups.prop_flat_map(|groups| {
        let of_task = 0..=groups.len() as u32;
        let of_tasks = prop::collection::vec(of_task.prop_map(|group| group.checked_sub(1)), 8);
        (Just(groups), of_tasks)
    })
}

fn machine() -> impl Strategy<Value = MachineConfig> {
    let kernels = prop::sample::select(vec!["6.1", "6.6", "6.12", "6.18", "7.2"]);
    let models = prop::sample::select(vec![
        Preemption::None,
        Preemption::Voluntary,
        Preemption::Full,
        Preemption::Lazy,
    ]);
    let costs = prop_oneof![Just((0, 0, 0)), (0..20 * US, 0..20 * US, 0..20 * US)];
    (kernels, models, costs, 2..4_u32, any::<u64>()).prop_map(
        |(name, preemption, (context_switch_ns, wakeup_ns, tick_ns), cpus, seed)| {
            let mut config = MachineConfig {
                preemption,
                costs: Costs { context_switch_ns, wakeup_ns, tick_ns, ..Costs::NONE },
                speed: slicewise_machine::SpeedModel::default(),
                nohz_full: slicewise_sched::CpuSet::Inline(0),
                seed,
                tick_skew_ns: 123_456,
                ..kernel(config(cpus, 60 * MS), name)
            };
            // Short periods, so that throttling and the fair server are seen; mostly without
            // admission, which would end many runs.
            config.profile.rt.period_us = 5_000;
            config.profile.rt.runtime_us = (seed % 4 == 0).then_some(4_000);
            if let Some(server) = &mut config.profile.rt.fair_server {
                (server.runtime_ns, server.period_ns) = (MS, 10 * MS);
            }
            config
        },
    )
}

/// What must hold of every stream.
fn check_stream(got: &common::Recorder, cpus: u32) {
    let mut running = vec![None; cpus as usize];
    let mut announced = std::collections::BTreeSet::new();
    let mut stopped = std::collections::BTreeSet::new();
    let mut infos = got.tasks.iter().peekable();
    for (at, event) in &got.events {
        while let Some((_, info)) = infos.next_if(|(announced_at, _)| announced_at <= at) {
            announced.insert(info.slot);
        }
        match event {
            Event::Switch { cpu, prev, next, .. } => {
                assert_ne!(prev, next, "at {at}");
                assert_eq!(running[cpu.index()], *prev, "at {at} on CPU {cpu}");
                assert!(next.is_none_or(|next| !running.contains(&Some(next))), "at {at}");
                assert!(next.is_none_or(|next| announced.contains(&next)));
                running[cpu.index()] = *next;
            }
            Event::Exit { task } => assert!(!running.contains(&Some(*task))),
            Event::Throttle { group, cpu, stops } => {
                let changed = match stops {
                    true => stopped.insert((*group, *cpu)),
                    false => stopped.remove(&(*group, *cpu)),
                };
                assert!(changed, "at {at} group {group} on CPU {cpu}");
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_workloads_run_repeatably_and_account_for_all_time(
        workload in workload(),
        (groups, of_tasks) in groups(),
        config in machine(),
    ) {
        let mut workload = workload;
        workload.groups = groups;
        for (task, group) in workload.tasks.iter_mut().zip(of_tasks) {
            task.group = group;
        }
        let (result, got) = try_go(&config, &workload);
        let (again, same) = try_go(&config, &workload);
        prop_assert_eq!(&result, &again);
        prop_assert!(got == same, "the same input gave another stream");
        check_stream(&got, config.cpus);
        if let Ok(summary) = result {
            for cpu in 0..config.cpus {
                prop_assert_eq!(got.busy(cpu), summary.cpus[cpu as usize].busy_ns);
            }
            prop_assert_eq!(got.finished, Some(summary.end_ns));
        }
    }

    #[test]
    fn a_task_more_leaves_the_draws_of_others_as_they_were(
        seed in any::<u64>(),
        work in dist(),
    ) {
        let alone = common::workload(vec![common::repeat(
            Some(5),
            vec![Op::Run { work: work.clone(), mode: Mode::User }],
        )]);
        let mut both = alone.clone();
        let other = common::workload(vec![vec![], common::repeat(
            Some(9),
            vec![Op::Run { work, mode: Mode::User }],
        )]);
        both.programs.push(other.programs[1].clone());
        both.tasks.push(other.tasks[1].clone());
        both.tasks[1].affinity = on(1);
        let config = MachineConfig { seed, ..config(2, 1_000 * MS) };
        let end = |workload| {
            let (_, got) = try_go(&config, workload);
            got.exits().into_iter().find(|(_, task)| *task == 0)
        };
        prop_assert_eq!(end(&alone), end(&both));
    }
}
