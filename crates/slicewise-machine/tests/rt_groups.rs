//! Real-time limits of groups beside what a kernel with RT_GROUP_SCHED did (`rt_groups/*.txt`;
//! docs/fidelity-rt-groups.md). `PRINT=1` prints both.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use std::collections::BTreeMap;

use common::{MS, Recorder, US, config, forever, kernel, sleep};
use slicewise_machine::{
    Dist, GroupSpec, Machine, Mode, Op, Origin, Program, TaskSpec, TimerMode, TimerSpec, Workload,
};
use slicewise_sched::{Attr, CpuSet, Policy, RtLimit, RtPriority};
use slicewise_trace::Event;

/// The recorded runs begin this long after the simulated machine, whose ticks are at multiples of
/// 4 ms as there.
const LEAD_NS: u64 = 400 * MS;
/// And its threads wake so much later than they wanted.
const BEGIN_NS: u64 = LEAD_NS + 100 * US;
const TICK_MS: f64 = 4.0;
/// Of the host: interrupts, and threads of the kernel and of other builds that stand before a thread.
const NOISE_MS: f64 = 1.0;

type Stretches = BTreeMap<String, Vec<(f64, f64)>>;

/// A recording: the workload, how long, and when each real-time thread had the CPU, ms.
struct Recorded {
    workload: Workload,
    until_ns: u64,
    had: Stretches,
    /// CPU time of each thread, ms.
    cpu: BTreeMap<String, f64>,
}

fn at_ns(ms: &str) -> u64 {
    let us = (ms.parse::<f64>().unwrap() * 1000.0).round() as i64;
    (LEAD_NS as i64 + us * US as i64) as u64
}

fn read(text: &str) -> Recorded {
    let mut recorded = Recorded {
        workload: Workload::default(),
        until_ns: 0,
        had: BTreeMap::new(),
        cpu: BTreeMap::new(),
    };
    let Recorded { workload, until_ns, had, cpu } = &mut recorded;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["group", path, runtime, period] => {
                let us = |word: &str| word.parse::<u64>().unwrap() * US;
                let rt = RtLimit { runtime_ns: Some(us(runtime)), period_ns: us(period) };
                let parent = path.rsplit_once('/').map(|(above, _)| group(workload, above));
                workload.groups.push(GroupSpec {
                    path: path.to_owned(),
                    parent,
                    rt,
                    ..GroupSpec::default()
                });
            }
            ["until", ms] => *until_ns = ms.parse::<u64>().unwrap() * MS,
            ["thread", name, policy, priority, place, since, work] => {
                let rt = || RtPriority::new(priority.parse().unwrap()).unwrap();
                let policy = match policy {
                    "fifo" => Policy::Fifo(rt()),
                    "rr" => Policy::Rr(rt()),
                    _ => Policy::Normal,
                };
                add(workload, name, policy, place, at_ns(since), work);
            }
            ["cpu", name, ms] => drop(cpu.insert(name.to_owned(), ms.parse().unwrap())),
            [name, from, to] => {
                let stretch = (from.parse().unwrap(), to.parse().unwrap());
                had.entry(name.to_owned()).or_default().push(stretch);
            }
            _ => panic!("{line}"),
        }
    }
    recorded
}

fn group(workload: &Workload, path: &str) -> u32 {
    workload.groups.iter().position(|group| group.path == path).unwrap() as u32
}

/// A thread as the recording's: it becomes a real-time one, sleeps until the beginning, and works.
fn add(workload: &mut Workload, name: &str, policy: Policy, place: &str, since: u64, work: &str) {
    let run = |ns| Op::Run { work: Dist::Constant(ns), mode: Mode::User };
    let startup = 30 * US;
    let mut start_ns = since;
    let mut ops = vec![run(startup), sleep(BEGIN_NS - since - startup), Op::RunForever];
    match work.split_once('/') {
        // It is there before, but other threads of the host have kept the fair server going.
        None if policy == Policy::Normal => (start_ns, ops) = (BEGIN_NS, vec![Op::RunForever]),
        None => {}
        Some((work, period)) => {
            let ms = |word: &str| word.parse::<u64>().unwrap() * MS;
            let timer = workload.timers.len() as u32;
            workload.timers.push(TimerSpec { name: "release".to_owned(), shared: false });
            start_ns = BEGIN_NS;
            let mode = TimerMode::Absolute;
            ops = forever(vec![run(ms(work)), Op::Timer { timer, period_ns: ms(period), mode }]);
        }
    }
    workload.programs.push(Program { ops });
    workload.tasks.push(TaskSpec {
        name: name.to_owned(),
        attr: Attr { policy, ..Attr::default() },
        program: workload.programs.len() as u32 - 1,
        start_ns,
        group: (place != "-").then(|| group(workload, place)),
        affinity: CpuSet::All,
        template: false,
        rttime: None,
        memory: slicewise_machine::TaskMemory::default(),
        index: 0,
        origin: Origin { start: 0, end: 0 },
    });
}

/// Stretches with gaps below 3 ms taken as one, as far as they are longer than 2 ms.
fn joined(stretches: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut joined: Vec<(f64, f64)> = Vec::new();
    for (from, to) in stretches {
        match joined.last_mut() {
            Some(last) if from - last.1 < 3.0 => last.1 = *to,
            _ => joined.push((*from, *to)),
        }
    }
    joined.retain(|(from, to)| to - from > 2.0);
    joined
}

fn simulate(recorded: &Recorded, release: &str) -> Stretches {
    let mut config = kernel(config(1, LEAD_NS + recorded.until_ns), release);
    config.profile.rt.rt_group_sched = true;
    let mut recorder = Recorder::default();
    Machine::new(&config, &recorded.workload, &mut recorder).unwrap().run().unwrap();
    let names: BTreeMap<u32, String> =
        recorder.tasks.iter().map(|(_, info)| (info.slot.0, info.name.clone())).collect();
    let mut had = Stretches::new();
    let mut since = 0;
    let end = (LEAD_NS + recorded.until_ns, None, None);
    let switches = recorder.events.iter().filter_map(|(at, event)| match event {
        Event::Switch { prev, next, .. } => Some((*at, *prev, *next)),
        _ => None,
    });
    let mut runs = None;
    for (at, _, next) in switches.chain([end]) {
        let ms = |ns: u64| (ns as f64 - LEAD_NS as f64) / MS as f64;
        if let Some(slot) = runs.replace(next).flatten()
            && at > LEAD_NS
        {
            let name = &names[&slot.0];
            had.entry(name.clone()).or_default().push((ms(since), ms(at)));
        }
        since = at;
    }
    had
}

/// Holds the simulation against the recording: whether the CPU times of all real-time threads are within a
/// tick and one per cent, and how many of the recorded stretches are, within a tick, where one of ours
/// is. What is kept is in the table of the page, and here.
fn compare(name: &str, text: &str, kept: (bool, usize)) {
    let recorded = read(text);
    let ours = simulate(&recorded, "6.18");
    let (mut sums, mut stretches) = (true, 0);
    for (thread, theirs) in &recorded.had {
        let had_ms: f64 = ours[thread].iter().map(|(from, to)| to - from).sum();
        let (theirs, ours) = (joined(theirs), joined(&ours[thread]));
        let near = |one: f64, other: f64| (one - other).abs() <= TICK_MS + NOISE_MS;
        let matched = theirs.iter().filter(|(from, to)| {
            ours.iter().any(|(begin, end)| near(*from, *begin) && near(*to, *end))
        });
        let (matched, cpu_ms) = (matched.count(), recorded.cpu[thread]);
        let (there, here) = (theirs.len(), ours.len());
        println!(
            "| {name} | {thread} | {cpu_ms:.1} | {had_ms:.1} | {there} | {here} | {matched} |"
        );
        if std::env::var_os("PRINT").is_some() {
            println!("{theirs:.1?}\n{ours:.1?}");
        }
        stretches += matched;
        sums &= (cpu_ms - had_ms).abs() <= TICK_MS + cpu_ms / 100.0;
    }
    assert_eq!((sums, stretches), kept, "{name}");
}

macro_rules! cases {
    ($($test:ident: $name:literal $kept:expr),* $(,)?) => { $(
        #[test]
        fn $test() {
            compare($name, include_str!(concat!("rt_groups/", $name, ".txt")), $kept);
        }
    )* };
}

cases! {
    a_group_with_100_ms_of_1_s: "c100" (true, 6),
    a_group_with_20_ms_of_100_ms: "c20" (true, 50),
    a_group_in_another: "nest" (true, 44),
    two_groups: "two" (true, 15),
    a_group_beside_a_hog_of_the_root: "root" (true, 22),
    two_groups_of_rr_threads: "rr" (false, 15),
    a_group_that_sleeps: "job" (true, 32),
}
