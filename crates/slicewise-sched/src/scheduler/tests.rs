//! The scheduler as a host sees it: classes, real-time lists, counters, and invariants that hold
//! whatever happens.

mod deadline;
mod energy;
mod groups;
mod numa;
mod partitions;
mod rt_groups;
mod smp;
mod stolen;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{FairRules, Feature, GroupId, GroupTimer, LagLimit, Reweight, RtPriority};

const MS: u64 = 1_000_000;

/// A host that does what the core asks, at once.
struct Host {
    sched: Scheduler,
    now_ns: u64,
    hrtick: Vec<Option<u64>>,
    /// All other timers of CPUs, by when they are due.
    timers: BTreeMap<(CpuId, Timer), u64>,
    /// Timers of groups' quotas, by when they are due.
    group_timers: BTreeMap<(GroupId, GroupTimer), u64>,
    /// Where groups are stopped, as the core tells.
    stopped: BTreeSet<(GroupId, CpuId)>,
    /// Every switch: when, where, who.
    switches: Vec<(u64, u32, Option<TaskId>)>,
    migrations: u32,
    /// Budgets used up by tasks that wanted to know.
    overruns: u32,
    /// Whose memory was to be scanned.
    scans: Vec<TaskId>,
}

impl Host {
    fn new(kernel: &str, cpus: u32, hz: u32) -> Self {
        Self::with(Profile::named(kernel).unwrap(), cpus, hz)
    }

    fn with(profile: Profile, cpus: u32, hz: u32) -> Self {
        let config = SchedConfig {
            profile,
            features: profile.features,
            base_slice_ns: None,
            cpus,
            hz,
            smp: SmpConfig::default(),
        };
        Self::of(&config)
    }

    fn of(config: &SchedConfig) -> Self {
        let cpus = config.cpus;
        Self {
            sched: Scheduler::new(config).unwrap(),
            now_ns: 0,
            hrtick: vec![None; cpus as usize],
            timers: BTreeMap::new(),
            group_timers: BTreeMap::new(),
            stopped: BTreeSet::new(),
            switches: Vec::new(),
            migrations: 0,
            overruns: 0,
            scans: Vec::new(),
        }
    }

    fn settle(&mut self) {
        let mut steps = 0;
        while let Some(output) = self.sched.output() {
            steps += 1;
            assert!(steps < 10_000, "the core asks without end");
            match output {
                Output::Reschedule { cpu, .. } => self.schedule(cpu),
                Output::ArmTimer { cpu, timer: Timer::HrTick, at_ns } => {
                    self.hrtick[cpu.index()] = Some(at_ns);
                }
                Output::DisarmTimer { cpu, timer: Timer::HrTick } => {
                    self.hrtick[cpu.index()] = None;
                }
                Output::ArmTimer { cpu, timer, at_ns } => {
                    self.timers.insert((cpu, timer), at_ns);
                }
                Output::DisarmTimer { cpu, timer } => {
                    self.timers.remove(&(cpu, timer));
                }
                Output::DlThrottled { .. } | Output::RtThrottled { .. } => {}
                Output::Overrun { .. } => self.overruns += 1,
                Output::NumaScan { task } => self.scans.push(task),
                Output::Migrated { .. } => self.migrations += 1,
                Output::ArmGroupTimer { group, timer, at_ns } => {
                    self.group_timers.insert((group, timer), at_ns);
                }
                Output::DisarmGroupTimer { group, timer } => {
                    self.group_timers.remove(&(group, timer));
                }
                Output::Park { cpu } => {
                    if self.sched.return_to_user(self.now_ns, cpu).unwrap() {
                        self.schedule(cpu);
                    }
                }
                Output::Throttled { group, cpu, stops } => {
                    let new = match stops {
                        true => self.stopped.insert((group, cpu)),
                        false => self.stopped.remove(&(group, cpu)),
                    };
                    assert!(new, "told twice that {group:?} on {cpu} stops or goes on");
                }
            }
        }
    }

    fn schedule(&mut self, cpu: CpuId) {
        let switch = self.sched.schedule(self.now_ns, cpu).unwrap();
        if switch.prev != switch.next {
            self.switches.push((self.now_ns, cpu.0, switch.next));
        }
    }

    fn spawn(&mut self, policy: Policy, nice: i64) -> TaskId {
        let attr = Attr { policy, nice: Nice::new(nice).unwrap(), ..Attr::default() };
        self.spawn_with(Spawn { attr, ..Spawn::default() })
    }

    fn spawn_with(&mut self, spawn: Spawn) -> TaskId {
        let task = self.sched.spawn(self.now_ns, spawn).unwrap();
        self.settle();
        task
    }

    fn wake(&mut self, task: TaskId) {
        self.sched.wake(self.now_ns, task, Wake::default()).unwrap();
        self.settle();
    }

    fn block(&mut self, cpu: u32) {
        self.sched.block(self.now_ns, CpuId(cpu)).unwrap();
        self.schedule(CpuId(cpu));
        self.settle();
    }

    fn yield_now(&mut self, cpu: u32) {
        self.sched.yield_now(self.now_ns, CpuId(cpu)).unwrap();
        self.schedule(CpuId(cpu));
        self.settle();
    }

    /// Lets the timers of groups and CPUs fire until then, but for slice timers.
    fn run_to(&mut self, until_ns: u64) {
        loop {
            let group = self.group_timers.iter().min_by_key(|(_, at)| **at);
            let cpu = self.timers.iter().min_by_key(|(_, at)| **at);
            let group = group.map(|(key, at)| (*key, *at)).filter(|(_, at)| *at <= until_ns);
            let cpu = cpu.map(|(key, at)| (*key, *at)).filter(|(_, at)| *at <= until_ns);
            match (group, cpu) {
                (Some((key, at_ns)), other) if other.is_none_or(|(_, other)| at_ns <= other) => {
                    self.group_timers.remove(&key);
                    self.now_ns = self.now_ns.max(at_ns);
                    self.sched.group_timer_fired(self.now_ns, key.0, key.1).unwrap();
                }
                (_, Some((key, at_ns))) => {
                    self.timers.remove(&key);
                    self.now_ns = self.now_ns.max(at_ns);
                    self.sched.timer_fired(self.now_ns, key.0, key.1).unwrap();
                }
                _ => break,
            }
            self.settle();
        }
        self.now_ns = until_ns;
    }

    fn tick_after(&mut self, ns: u64) {
        let tick_ns = self.now_ns + ns;
        self.run_to(tick_ns);
        for cpu in 0..self.sched.nr_cpus() {
            if self.hrtick[cpu as usize].is_some_and(|at| at <= self.now_ns) {
                self.hrtick[cpu as usize] = None;
                self.sched.timer_fired(self.now_ns, CpuId(cpu), Timer::HrTick).unwrap();
                self.settle();
            }
            self.sched.tick(self.now_ns, CpuId(cpu)).unwrap();
            self.settle();
        }
    }

    fn runs(&self, task: TaskId) -> bool {
        self.sched.cpu_of(task).is_some_and(|cpu| self.sched.current(cpu) == Some(task))
    }

    fn rt_order(&self) -> Vec<TaskId> {
        let view = self.sched.inspect(CpuId(0)).unwrap();
        view.candidates.iter().filter(|c| c.class == Class::Rt).map(|c| c.task).collect()
    }
}

fn fifo(priority: i64) -> Policy {
    Policy::Fifo(RtPriority::new(priority).unwrap())
}

fn rr(priority: i64) -> Policy {
    Policy::Rr(RtPriority::new(priority).unwrap())
}

#[test]
fn w20_real_time_lists_keep_their_order() {
    let mut host = Host::new("6.12", 1, 250);
    let [a, b, c] = [(); 3].map(|()| host.spawn(fifo(50), 0));
    assert_eq!(host.rt_order(), [a, b, c]);
    let x = host.spawn(fifo(60), 0);
    assert!(host.runs(x));
    host.block(0);
    assert!(host.runs(a), "the preempted task resumes first");
    host.yield_now(0);
    assert_eq!(host.rt_order(), [b, c, a]);
    assert!(host.runs(b));
    let set = |host: &mut Host, task, policy| {
        host.sched.set_attr(host.now_ns, task, Attr { policy, ..Attr::default() }).unwrap();
        host.settle();
    };
    set(&mut host, b, fifo(40));
    assert!(host.runs(c));
    assert_eq!(host.rt_order(), [c, a, b]);
    set(&mut host, b, fifo(50));
    assert_eq!(host.rt_order(), [c, a, b], "raised: to the tail");
    let d = host.spawn(fifo(40), 0);
    set(&mut host, a, fifo(40));
    assert_eq!(host.rt_order(), [c, b, a, d], "lowered: to the head");
}

#[test]
fn w21_rr_tasks_rotate_every_25_ticks_at_250_hz() {
    let mut host = Host::new("6.12", 1, 250);
    let (p, c) = (host.spawn(rr(10), 0), host.spawn(rr(10), 0));
    host.switches.clear();
    for _ in 0..100 {
        host.tick_after(4 * MS);
    }
    let expected =
        [(100, c), (200, p), (300, c), (400, p)].map(|(ms, task)| (ms * MS, 0, Some(task)));
    assert_eq!(host.switches, expected);
}

#[test]
fn w21_fifo_never_rotates_and_a_lone_rr_task_never_switches() {
    let mut host = Host::new("6.12", 1, 250);
    let (r, f) = (host.spawn(rr(10), 0), host.spawn(fifo(10), 0));
    assert!(host.runs(r));
    for _ in 0..100 {
        host.tick_after(4 * MS);
    }
    assert!(host.runs(f));
    assert_eq!(host.switches.len(), 2, "R for one slice, then F for ever");

    let mut host = Host::new("6.12", 1, 250);
    host.spawn(rr(10), 0);
    (0..100).for_each(|_| host.tick_after(4 * MS));
    assert_eq!(host.switches.len(), 1);
}

#[test]
fn w21_an_rr_task_that_sleeps_before_every_tick_keeps_its_slice() {
    let mut host = Host::new("6.12", 1, 250);
    let (sleeper, other) = (host.spawn(rr(10), 0), host.spawn(rr(10), 0));
    for _ in 0..60 {
        host.now_ns += 3 * MS;
        if host.runs(sleeper) {
            host.block(0);
        }
        host.now_ns += MS;
        host.sched.tick(host.now_ns, CpuId(0)).unwrap();
        host.settle();
        host.wake(sleeper);
    }
    let slot = sleeper.slot();
    assert_eq!(host.sched.tasks.slots[slot].rt.ticks_left, 25);
    let _ = other;
}

#[test]
fn equal_priority_wakes_behind_and_higher_preempts_at_once() {
    let mut host = Host::new("6.12", 1, 250);
    let low = host.spawn(fifo(10), 0);
    let equal = host.spawn(fifo(10), 0);
    assert!(host.runs(low));
    let high = host.spawn(fifo(11), 0);
    assert!(host.runs(high));
    host.block(0);
    assert!(host.runs(low));
    host.block(0);
    assert!(host.runs(equal));
}

#[test]
fn w22_a_waking_fifo_task_goes_where_less_important_work_runs() {
    let mut host = Host::new("6.12", 2, 250);
    let pin = |cpu| CpuSet::one(CpuId(cpu));
    let with = |policy, affinity| Spawn {
        attr: Attr { policy, ..Attr::default() },
        affinity,
        ..Spawn::default()
    };
    let waker = host.spawn_with(with(fifo(40), CpuSet::All));
    assert_eq!(host.sched.cpu_of(waker), Some(CpuId(0)));
    host.block(0);
    host.spawn_with(with(fifo(50), pin(0)));
    let thirty = host.spawn_with(with(fifo(30), pin(1)));
    assert!(host.runs(thirty));
    host.wake(waker);
    assert_eq!(host.sched.cpu_of(waker), Some(CpuId(1)));
    assert!(host.runs(waker) && !host.runs(thirty));
}

#[test]
fn b3_a_pinned_equal_takes_the_cpu_from_one_that_can_move() {
    let mut host = Host::new("6.12", 2, 250);
    let mobile = host.spawn(fifo(50), 0);
    assert_eq!(host.sched.cpu_of(mobile), Some(CpuId(0)));
    let pinned = host.spawn_with(Spawn {
        attr: Attr { policy: fifo(50), ..Attr::default() },
        affinity: CpuSet::one(CpuId(0)),
        ..Spawn::default()
    });
    assert!(host.runs(pinned) && host.runs(mobile));
    assert_eq!(host.sched.cpu_of(mobile), Some(CpuId(1)));
}

#[test]
fn classes_run_in_their_order() {
    let mut host = Host::new("6.12", 1, 250);
    let fair = host.spawn(Policy::Normal, -20);
    let rt = host.spawn(fifo(1), 0);
    assert!(host.runs(rt), "the lowest real-time priority beats the best nice value");
    let stop = host.spawn(Policy::Stop, 0);
    assert!(host.runs(stop));
    host.block(0);
    host.block(0);
    assert!(host.runs(fair));
    host.block(0);
    assert!(host.sched.is_idle(CpuId(0)));
}

#[test]
fn wx24_and_case_40_custom_slices_are_clamped() {
    for (asked, got) in [
        (1, 100_000),
        (50_000, 100_000),
        (99_999, 100_000),
        (100_001, 100_001),
        (1_000_000, 1_000_000),
        (250_000_000, 100_000_000),
        (1_000_000_000, 100_000_000),
        (0, 1_400_000),
    ] {
        let mut host = Host::new("6.18", 2, 250);
        let attr = Attr { slice_ns: Some(asked), ..Attr::default() };
        let task = host.spawn_with(Spawn { attr, ..Spawn::default() });
        let cpu = host.sched.cpu_of(task).unwrap();
        let view = host.sched.inspect(cpu).unwrap();
        assert_eq!(view.candidates[0].fair.unwrap().slice_ns, got, "{asked}");
    }
}

#[test]
fn wx45_an_idle_policy_task_is_preempted_by_any_other_and_preempts_none() {
    for profile in Profile::ALL {
        let mut host = Host::new(profile.name, 1, 250);
        let normal = host.spawn(Policy::Normal, 0);
        host.block(0);
        let idle = host.spawn(Policy::Idle, 0);
        host.tick_after(4 * MS);
        assert!(host.runs(idle));
        host.wake(normal);
        assert!(host.runs(normal), "{}", profile.name);
        host.tick_after(100_000);
        host.block(0);
        assert!(host.runs(idle));
        // It may owe a few ns from before (6.6), but not beyond the next tick.
        host.wake(normal);
        host.tick_after(4 * MS);
        assert!(host.runs(normal), "{}", profile.name);
        let mut ran = [0u64; 2];
        for _ in 0..20_000 {
            host.tick_after(4 * MS);
            ran[usize::from(host.runs(idle))] += 1;
        }
        let share = ran[1] as f64 / 20_000.0;
        assert!((share - 3.0 / 1027.0).abs() < 0.0006, "{}: {share}", profile.name);
    }
}

#[test]
fn batch_tasks_weigh_the_same_but_never_preempt_by_waking() {
    for profile in Profile::ALL {
        let mut host = Host::new(profile.name, 1, 250);
        let hog = host.spawn(Policy::Normal, 0);
        let batch = host.spawn(Policy::Batch, 0);
        while !host.runs(batch) {
            host.tick_after(4 * MS);
        }
        host.block(0);
        (0..10).for_each(|_| host.tick_after(4 * MS));
        host.wake(batch);
        assert!(host.runs(hog), "{}", profile.name);
    }
}

#[test]
fn case_2_two_hogs_share_by_weight_on_every_kernel() {
    for profile in Profile::ALL {
        for (a, b, share) in [
            (0, 1, 0.5553),
            (0, 5, 0.7535),
            (0, 10, 0.9030),
            (-5, 0, 0.7530),
            (-2, -1, 0.5540),
            (0, 19, 0.9856),
        ] {
            let mut host = Host::new(profile.name, 1, 1000);
            let first = host.spawn(Policy::Normal, a);
            host.spawn(Policy::Normal, b);
            let mut ran = 0;
            for _ in 0..10_000 {
                let runs = host.runs(first);
                host.tick_after(MS);
                ran += u64::from(runs);
            }
            let got = ran as f64 / 10_000.0;
            assert!((got - share).abs() < 0.002, "{} {a}/{b}: {got}", profile.name);
        }
    }
}

#[test]
fn hrtick_ends_slices_between_ticks_on_7_2() {
    let mut host = Host::new("7.2", 8, 250);
    let pin = Spawn { affinity: CpuSet::one(CpuId(0)), ..Spawn::default() };
    host.spawn_with(pin.clone());
    host.spawn_with(pin);
    host.switches.clear();
    // Only the slice timer, no tick.
    while host.now_ns < 60 * MS {
        host.now_ns = host.hrtick[0].expect("two tasks: the slice timer is armed");
        host.hrtick[0] = None;
        host.sched.timer_fired(host.now_ns, CpuId(0), Timer::HrTick).unwrap();
        host.settle();
    }
    let stints: Vec<u64> = host.switches.windows(2).map(|w| w[1].0 - w[0].0).collect();
    assert!(stints.len() > 15 && stints[2..].iter().all(|ns| *ns == 2_800_000), "{stints:?}");
}

#[test]
fn hrtick_ends_slices_at_their_deadline_whatever_the_weight() {
    for nice in [-20, -7, 1, 3, 5, 10, 19] {
        let mut host = Host::new("7.2", 1, 250);
        host.spawn(Policy::Normal, nice);
        host.spawn(Policy::Normal, nice);
        host.switches.clear();
        for _ in 0..200 {
            host.now_ns = host.hrtick[0].expect("two tasks: the slice timer is armed");
            host.hrtick[0] = None;
            host.sched.timer_fired(host.now_ns, CpuId(0), Timer::HrTick).unwrap();
            host.settle();
        }
        let stints: Vec<u64> = host.switches.windows(2).map(|w| w[1].0 - w[0].0).collect();
        // A virtual ns of a heavy task is up to 87 real ones.
        let whole = |ns: &u64| ns.abs_diff(700_000) < 90;
        assert!(stints.len() > 150 && stints[2..].iter().all(whole), "nice {nice}: {stints:?}");
    }
}

#[test]
fn a_pick_that_keeps_the_running_task_leaves_the_slice_timer_alone() {
    let mut host = Host::new("7.2", 1, 250);
    let (heavy, light) = (host.spawn(Policy::Normal, 0), host.spawn(Policy::Normal, 19));
    // The light task's deadlines are far away: sooner or later the heavy one is picked again when
    // its slice ends.
    let mut kept = false;
    while !kept {
        assert!(host.now_ns < 1_000 * MS, "the heavy task is kept within a second");
        match host.hrtick[0].take() {
            Some(at_ns) => {
                host.now_ns = at_ns;
                let heavy_ran = host.runs(heavy);
                host.sched.timer_fired(host.now_ns, CpuId(0), Timer::HrTick).unwrap();
                host.settle();
                kept = heavy_ran && host.runs(heavy);
            }
            None => host.tick_after(4 * MS),
        }
    }
    assert!(!host.runs(light));
    assert_eq!(host.hrtick[0], None, "not armed again, as seen on a real 7.2");
    host.spawn(Policy::Normal, 0);
    assert!(host.hrtick[0].is_some(), "an enqueue arms it");
}

/// Seen on 6.1: the minimum waits for a task that renices itself, and does not run ahead of it.
#[test]
fn a_change_of_nice_keeps_virtual_runtimes_on_6_1() {
    let mut host = Host::new("6.1", 1, 250);
    let tasks = [host.spawn(Policy::Normal, 0), host.spawn(Policy::Normal, 0)];
    let values = |host: &Host| tasks.map(|task| host.sched.fair_values(task).unwrap().0);
    let mut behind = None;
    for _ in 0..10 {
        host.tick_after(4 * MS);
        let [first, second] = values(&host);
        let least = tasks[usize::from(second < first)];
        behind = behind.or(host.runs(least).then_some((host.now_ns, least)));
        if behind.is_some() {
            break;
        }
    }
    let (now_ns, running) = behind.expect("whoever comes to the CPU is behind");
    let before = values(&host);
    let attr = Attr { nice: Nice::new(5).unwrap(), ..Attr::default() };
    host.sched.set_attr(now_ns, running, attr).unwrap();
    assert_eq!(values(&host), before);
}

#[test]
fn a_slice_timer_outlives_the_task_it_was_armed_for_but_not_the_last_one() {
    let mut host = Host::new("7.2", 1, 250);
    host.spawn(Policy::Normal, 0);
    let short = host.spawn(Policy::Normal, 0);
    while !host.runs(short) {
        host.tick_after(4 * MS);
    }
    let armed = host.hrtick[0].expect("two tasks: armed for the one that runs");
    host.now_ns += 1_000;
    // It is eligible or not; in the end it is gone and the other is alone.
    host.sched.exit(host.now_ns, short).unwrap();
    host.schedule(CpuId(0));
    host.settle();
    assert_eq!(host.sched.nr_runnable(CpuId(0)), 1);
    assert_eq!(host.hrtick[0], Some(armed), "as seen on a real 7.2");
    host.sched.block(host.now_ns, CpuId(0)).unwrap();
    host.schedule(CpuId(0));
    host.settle();
    assert_eq!(host.hrtick[0], None, "an idle CPU has none");
}

#[test]
fn the_beginning_of_an_end_asks_for_a_new_pick_and_leaves_the_task_where_it_is() {
    for kernel in ["6.1", "6.12", "6.18", "7.2"] {
        let mut host = Host::new(kernel, 1, 250);
        assert_eq!(host.sched.begin_exit(0, CpuId(0)), Ok(()), "an idle CPU has nothing to do");
        let tasks = [(); 3].map(|()| host.spawn(Policy::Normal, 0));
        host.tick_after(4 * MS);
        let running = host.sched.current(CpuId(0)).unwrap();
        let now_ns = host.now_ns + 1_000;
        host.sched.begin_exit(now_ns, CpuId(0)).unwrap();
        let mut asked = false;
        while let Some(output) = host.sched.output() {
            asked |= matches!(output, Output::Reschedule { cpu: CpuId(0), lazy: false });
        }
        assert!(asked, "{kernel}");
        assert_eq!(host.sched.current(CpuId(0)), Some(running), "{kernel}");
        assert_eq!(host.sched.nr_runnable(CpuId(0)), tasks.len() as u32, "{kernel}");
    }
    let mut host = Host::new("6.12", 1, 250);
    assert_eq!(host.sched.begin_exit(0, CpuId(1)), Err(Error::NoSuchCpu(CpuId(1))));
}

#[test]
fn stale_ids_and_missing_cpus_are_refused() {
    let mut host = Host::new("6.12", 2, 250);
    let task = host.spawn(Policy::Normal, 0);
    host.sched.exit(0, task).unwrap();
    host.schedule(CpuId(0));
    let next = host.spawn(Policy::Normal, 0);
    assert_eq!(next.slot(), task.slot(), "the slot is used again");
    assert_eq!(host.sched.wake(0, task, Wake::default()), Err(Error::NoSuchTask(task)));
    assert_eq!(host.sched.exit(0, task), Err(Error::NoSuchTask(task)));
    assert_eq!(host.sched.tick(0, CpuId(2)), Err(Error::NoSuchCpu(CpuId(2))));
    assert_eq!(host.sched.block(0, CpuId(1)), Err(Error::CpuIdle(CpuId(1))));
    let nowhere = Spawn { affinity: CpuSet::one(CpuId(7)), ..Spawn::default() };
    assert_eq!(host.sched.spawn(0, nowhere), Err(Error::NoAllowedCpu));
}

#[test]
fn a_host_may_overrule_the_pick_and_ask_what_it_would_have_been() {
    let mut host = Host::new("6.12", 1, 250);
    let (a, b) = (host.spawn(Policy::Normal, 0), host.spawn(Policy::Normal, 0));
    host.now_ns = 6 * MS;
    let (would, rule) = host.sched.would_pick(host.now_ns, CpuId(0)).unwrap();
    assert_eq!((would, rule), (Some(b), Rule::EarliestDeadline));
    assert!(host.runs(a), "asking changes nothing");
    let switch = host.sched.schedule_to(host.now_ns, CpuId(0), Some(a)).unwrap();
    assert_eq!((switch.next, switch.rule), (Some(a), Rule::Host));
    assert!(host.sched.schedule_to(0, CpuId(0), None).is_ok());
}

#[test]
fn a_recorded_decision_names_everyone_and_the_rule() {
    let mut host = Host::new("6.12", 1, 250);
    let (a, b) = (host.spawn(Policy::Normal, 0), host.spawn(Policy::Normal, 5));
    host.sched.record_decisions(CpuId(0), true).unwrap();
    host.tick_after(4 * MS);
    let decision = host.sched.last_decision(CpuId(0)).unwrap();
    assert_eq!((decision.picked, decision.rule), (Some(b), Rule::EarliestDeadline));
    let names: Vec<TaskId> = decision.queue.candidates.iter().map(|c| c.task).collect();
    assert_eq!(names, [a, b]);
    let (left, came) = (decision.queue.candidates[0], decision.queue.candidates[1]);
    assert!(left.current && left.fair.unwrap().eligible == Some(false));
    assert!(!came.current && came.fair.unwrap().eligible == Some(true));
    assert_eq!(came.fair.unwrap().weight, 343_040);
}

// ---- Invariants ----

#[derive(Clone, Debug)]
enum Op {
    Spawn(u8, i8, u64, u8),
    Wake(usize),
    Block(u32),
    Yield(u32),
    Tick(u64),
    BeginExit(u32),
    Exit(usize),
    Attr(usize, u8, i8, u64),
    Affinity(usize, u64),
    Migrate(usize, u32),
    Idle(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0u8..8, -20i8..=19, 0u64..5_000_000, any::<u8>())
            .prop_map(|(p, n, s, m)| Op::Spawn(p, n, s, m)),
        8 => any::<usize>().prop_map(Op::Wake),
        8 => (0u32..3).prop_map(Op::Block),
        2 => (0u32..3).prop_map(Op::Yield),
        10 => (1u64..5_000_000).prop_map(Op::Tick),
        1 => (0u32..3).prop_map(Op::BeginExit),
        1 => any::<usize>().prop_map(Op::Exit),
        2 => (any::<usize>(), 0u8..8, -20i8..=19, 0u64..5_000_000)
            .prop_map(|(i, p, n, s)| Op::Attr(i, p, n, s)),
        2 => (any::<usize>(), 1u64..8).prop_map(|(i, m)| Op::Affinity(i, m)),
        2 => (any::<usize>(), 0u32..3).prop_map(|(i, c)| Op::Migrate(i, c)),
        3 => (1u64..500_000).prop_map(Op::Idle),
    ];
    prop::collection::vec(op, 1..300)
}

fn attr_of(policy: u8, nice: i8, slice_ns: u64) -> Attr {
    let policy = match policy {
        0 => fifo(10),
        1 => rr(10),
        2 => fifo(11),
        3 => Policy::Idle,
        4 => Policy::Batch,
        _ => Policy::Normal,
    };
    let slice_ns = (slice_ns > 2_500_000).then_some(slice_ns);
    Attr { policy, nice: Nice::new(nice.into()).unwrap(), slice_ns, reset_on_fork: false }
}

fn apply(host: &mut Host, tasks: &mut Vec<TaskId>, op: Op) {
    let pick = |tasks: &[TaskId], i: usize| (!tasks.is_empty()).then(|| tasks[i % tasks.len()]);
    let now_ns = host.now_ns;
    match op {
        Op::Spawn(policy, nice, slice, mask) => {
            let affinity = CpuSet::Inline(u64::from(mask % 7 + 1));
            let attr = attr_of(policy, nice, slice);
            tasks.push(host.spawn_with(Spawn { attr, affinity, ..Spawn::default() }));
        }
        Op::Wake(i) => {
            if let Some(task) = pick(tasks, i) {
                host.wake(task);
            }
        }
        Op::Block(cpu) if host.sched.current(CpuId(cpu)).is_some() => host.block(cpu),
        Op::Yield(cpu) if host.sched.current(CpuId(cpu)).is_some() => host.yield_now(cpu),
        Op::Block(_) | Op::Yield(_) => {}
        Op::Tick(ns) => host.tick_after(ns),
        Op::BeginExit(cpu) => {
            host.sched.begin_exit(now_ns, CpuId(cpu)).unwrap();
            host.settle();
        }
        Op::Exit(i) => {
            if let Some(task) = pick(tasks, i) {
                let cpu = host.sched.cpu_of(task).unwrap();
                let running = host.sched.current(cpu) == Some(task);
                host.sched.exit(now_ns, task).unwrap();
                if running {
                    host.schedule(cpu);
                }
                host.settle();
                tasks.retain(|other| *other != task);
            }
        }
        Op::Attr(i, policy, nice, slice) => {
            if let Some(task) = pick(tasks, i) {
                host.sched.set_attr(now_ns, task, attr_of(policy, nice, slice)).unwrap();
                host.settle();
            }
        }
        Op::Affinity(i, mask) => {
            if let Some(task) = pick(tasks, i) {
                host.sched.set_affinity(now_ns, task, CpuSet::Inline(mask)).unwrap();
                host.settle();
            }
        }
        Op::Migrate(i, cpu) => {
            if let Some(task) = pick(tasks, i) {
                let _ = host.sched.migrate(now_ns, task, CpuId(cpu));
                host.settle();
            }
        }
        Op::Idle(ns) => host.now_ns += ns,
    }
}

fn check_invariants(host: &Host, tasks: &[TaskId]) -> Result<(), TestCaseError> {
    let sched = &host.sched;
    for (cpu, rq) in sched.cpus.iter().enumerate() {
        let here = |slot: &u32| sched.tasks.slots[*slot as usize].cpu == cpu as u32;
        let living: Vec<u32> = tasks.iter().map(|task| task.slot() as u32).filter(here).collect();
        let fair: Vec<&Entity> =
            living.iter().map(|slot| &sched.entities[*slot as usize]).filter(|e| e.on_rq).collect();
        prop_assert_eq!(rq.fair.nr_queued as usize, fair.len());
        let awake = fair.iter().filter(|entity| !entity.delayed).count();
        prop_assert_eq!(rq.fair.nr_runnable as usize, awake);
        let runnable = living
            .iter()
            .filter(|slot| sched.tasks.slots[**slot as usize].state == State::Runnable)
            .count();
        prop_assert_eq!(rq.nr_runnable() as usize, runnable, "nobody is lost");
        prop_assert!(runnable == 0 || rq.current.is_some(), "no idle CPU with work queued");
        for slot in &living {
            let task = &sched.tasks.slots[*slot as usize];
            prop_assert!(
                task.state != State::Runnable || task.affinity.contains(CpuId(cpu as u32)),
                "affinity holds"
            );
        }
        match &sched.params.algorithm {
            Algorithm::Eevdf(eevdf) => {
                check_eevdf(rq, &fair)?;
                check_lags_and_deadlines(sched, eevdf, &living, rq.current)?;
            }
            Algorithm::Cfs(cfs) => {
                let least = rq.fair.zero_vruntime().wrapping_sub(cfs.latency_ns);
                for entity in &fair {
                    let above = entity.vruntime.wrapping_sub(least) as i64;
                    prop_assert!(above >= 0, "placed {} ns too far back", -above);
                }
            }
        }
    }
    let waiting: u32 = sched
        .cpus
        .iter()
        .map(|rq| {
            let runs_rt = rq.current.is_some_and(|slot| sched.tasks.slots[slot as usize].rt.queued);
            rq.rt.nr_queued - u32::from(runs_rt)
        })
        .sum();
    prop_assert_eq!(waiting, sched.nr_rt_waiting);
    Ok(())
}

/// Lag kept off the queue is within its limit, and a deadline is at most a slice away.
fn check_lags_and_deadlines(
    sched: &Scheduler,
    eevdf: &crate::fair::EevdfParams,
    living: &[u32],
    current: Option<u32>,
) -> Result<(), TestCaseError> {
    let longest = SLICE_NS_MAX.max(eevdf.base_slice_ns);
    for slot in living {
        let entity = &sched.entities[*slot as usize];
        let virtually = |ns| sched.params.virtual_delta(ns, entity) as i64;
        if !entity.on_rq {
            let limit = match eevdf.rules.lag_limit {
                LagLimit::OwnSlice => longest * 2,
                LagLimit::LongestSlice => longest + sched.params.tick_ns,
            };
            prop_assert!(entity.vlag.abs() <= virtually(limit) + 1, "lag {}", entity.vlag);
        } else if current != Some(*slot)
            && matches!(eevdf.rules.reweight, Reweight::Placed | Reweight::AverageKept)
        {
            // Older kernels do not scale the distance when the weight changes off the queue.
            let distance = entity.deadline.wrapping_sub(entity.vruntime) as i64;
            prop_assert!(distance <= virtually(longest) + 2, "deadline {distance} ns away");
        }
    }
    Ok(())
}

fn check_eevdf(rq: &Cpu, fair: &[&Entity]) -> Result<(), TestCaseError> {
    if fair.is_empty() {
        return Ok(());
    }
    let zero = rq.fair.zero_vruntime();
    let distance = |entity: &Entity| i128::from(entity.vruntime.wrapping_sub(zero) as i64);
    let weight: i128 = fair.iter().map(|e| i128::from(e.average_weight)).sum();
    let sum: i128 = fair.iter().map(|e| i128::from(e.average_weight) * distance(e)).sum();
    let average = i128::from(rq.fair.average_vruntime().wrapping_sub(zero) as i64);
    // Σ w·(V − v) is zero up to the rounding of V, which goes down.
    let residual = average * weight - sum;
    prop_assert!(-weight < residual && residual <= 0, "residual {residual} for weight {weight}");
    prop_assert!(
        fair.iter().any(|entity| distance(entity) * weight <= sum),
        "someone is always eligible"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn invariants_hold_whatever_happens(
        kernel in 0usize..Profile::ALL.len(),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ops in ops(),
    ) {
        let mut host = Host::new(Profile::ALL[kernel].name, 3, 250);
        for flip in flips {
            let feature = flip.get(Feature::ALL);
            let no = if host.sched.params.has(*feature) { "NO_" } else { "" };
            let _ = host.sched.params.features.set(&format!("{no}{}", feature.name()));
        }
        let mut tasks = Vec::new();
        let mut minima = [i64::MIN; 3];
        for op in ops {
            apply(&mut host, &mut tasks, op);
            check_invariants(&host, &tasks)?;
            if let FairRules::Cfs(_) = host.sched.profile.fair {
                for (cpu, least) in minima.iter_mut().enumerate() {
                    let now = host.sched.cpus[cpu].fair.zero_vruntime() as i64;
                    prop_assert!(now >= *least, "min_vruntime never falls");
                    *least = now;
                }
            }
        }
    }

    #[test]
    fn picks_are_eligible_and_the_same_inputs_give_the_same_switches(
        kernel in 1usize..Profile::ALL.len(),
        ops in ops(),
    ) {
        let run = || {
            let mut host = Host::new(Profile::ALL[kernel].name, 3, 250);
            (0..3).for_each(|cpu| host.sched.record_decisions(CpuId(cpu), true).unwrap());
            let mut tasks = Vec::new();
            for op in ops.clone() {
                apply(&mut host, &mut tasks, op);
                for cpu in 0..3 {
                    let Some(decision) = host.sched.last_decision(CpuId(cpu)) else { continue };
                    let found = |c: &&crate::Candidate| Some(c.task) == decision.picked;
                    let Some(picked) = decision.queue.candidates.iter().find(found) else {
                        continue;
                    };
                    // A delayed task met on the way leaves, and the average moves.
                    let delayed = |c: &crate::Candidate| c.fair.is_some_and(|view| view.delayed);
                    if let Some(view) = picked.fair
                        && decision.rule != Rule::OnlyTask
                        && !decision.queue.candidates.iter().any(delayed)
                    {
                        prop_assert_eq!(view.eligible, Some(true));
                    }
                }
            }
            Ok(host.switches)
        };
        prop_assert_eq!(run()?, run()?);
    }
}
