//! What many CPUs and many tasks cost, beside few of both in the same run.
//!
//!     cargo bench -p slicewise --bench scale

#![expect(clippy::print_stdout, reason = "printing figures is what a bench is for")]

use std::hint::black_box;
use std::time::Instant;

use slicewise_machine::{
    Costs, Dist, Machine, MachineConfig, Mode, Op, Preemption, Program, TaskSpec, TimerMode,
    TimerSpec, Workload,
};
use slicewise_report::Metrics;
use slicewise_sched::{Attr, CpuSet, Profile, SmpConfig};
use slicewise_trace::TraceHash;

const MS: u64 = 1_000_000;
const US: u64 = 1_000;

fn main() {
    println!("slicewise bench: many CPUs, metrics on, one thread\n");
    memory();
    cost_per_event();
}

fn config(kernel: &str, machine: &str, duration_ns: u64) -> MachineConfig {
    let profile = Profile::named(kernel).expect("a kernel there is a profile for");
    let topology =
        slicewise_topology::named(machine).expect("a machine there is").topology().clone();
    MachineConfig {
        profile,
        features: profile.features,
        base_slice_ns: None,
        cpus: topology.nr_cpus(),
        hz: 250,
        smp: SmpConfig { topology: Some(topology), ..SmpConfig::default() },
        tick_phase_ns: 0,
        tick_skew_ns: 0,
        preemption: Preemption::Full,
        costs: Costs::default(),
        speed: Default::default(),
        nohz_full: CpuSet::Inline(0),
        seed: 1,
        duration_ns,
    }
}

/// Half hogs, half periodic threads of different periods, as in the bench of speed.
fn half_and_half(tasks: u32) -> Workload {
    let mut workload = Workload {
        programs: vec![Program { ops: vec![Op::RunForever] }],
        timers: vec![TimerSpec { name: "period".to_owned(), shared: false }],
        ..Workload::default()
    };
    for i in 0..tasks {
        let program = match i % 2 {
            0 => 0,
            _ => {
                let period_ns = 20 * MS + u64::from(i % 1000) * 37 * US;
                workload.programs.push(Program {
                    ops: vec![
                        Op::LoopBegin { count: None, end: 3 },
                        Op::Run { work: Dist::Constant(50 * US), mode: Mode::User },
                        Op::Timer { timer: 0, period_ns, mode: TimerMode::Absolute },
                        Op::LoopEnd { begin: 0 },
                    ],
                });
                workload.programs.len() as u32 - 1
            }
        };
        workload.tasks.push(TaskSpec {
            name: format!("task-{i}"),
            program,
            attr: Attr::default(),
            affinity: CpuSet::All,
            start_ns: 0,
            group: None,
            template: false,
            rttime: None,
            memory: Default::default(),
            index: 0,
            origin: Default::default(),
        });
    }
    workload
}

/// ns of real time for an event of the machine, events, and switches.
fn run(config: &MachineConfig, workload: &Workload, rounds: u32) -> (f64, u64, u64) {
    let mut best = f64::MAX;
    let mut counts = (0, 0);
    for _ in 0..rounds {
        let sink = (TraceHash::new(), Metrics::new());
        let mut machine = Machine::new(config, workload, sink).expect("a valid workload");
        // Starting so many tasks at once is another question.
        machine.run_until(config.duration_ns / 2).expect("it runs");
        let before = machine.summary();
        let began = Instant::now();
        let summary = machine.run().expect("it runs");
        let events = summary.events - before.events;
        best = best.min(began.elapsed().as_nanos() as f64 / events.max(1) as f64);
        counts = (events, summary.switches - before.switches);
        black_box(machine.into_sink());
    }
    (best, counts.0, counts.1)
}

fn cost_per_event() {
    println!("cost of an event: 8 CPUs with 160 tasks, 512 CPUs with 10,000");
    let (few, many) = (half_and_half(160), half_and_half(10_000));
    for kernel in ["6.1", "6.12", "6.18", "7.2"] {
        let (small, ..) = run(&config(kernel, "1s:8c", 20_000 * MS), &few, 3);
        let (large, events, switches) = run(&config(kernel, "large-512", 1_000 * MS), &many, 3);
        println!(
            "  {kernel:<6} {small:>6.0} ns, {large:>6.0} ns ({events} events, {switches} switches): {:.2} times   (target at most 3.00)",
            large / small
        );
    }
    println!();
}

fn memory() {
    println!("memory: 1,024 CPUs with 100,000 tasks, 100 ms");
    let before = peak_kib();
    let workload = half_and_half(100_000);
    let config = config("6.12", "large-1024", 100 * MS);
    let sink = (TraceHash::new(), Metrics::new());
    let mut machine = Machine::new(&config, &workload, sink).expect("a valid workload");
    let began = Instant::now();
    let summary = machine.run().expect("it runs");
    let seconds = began.elapsed().as_secs_f64();
    black_box(machine.into_sink());
    println!(
        "  {:.0} MiB at most, {:.0} MiB before (target at most 1024), {} switches in {seconds:.1} s\n",
        peak_kib() as f64 / 1024.0,
        before as f64 / 1024.0,
        summary.switches,
    );
}

/// The most memory this process has had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
