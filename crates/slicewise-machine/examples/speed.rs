//! How fast the machine runs: context switches per second of real time on a few workloads.
//!
//! `cargo run --release -p slicewise-machine --example speed [SIMULATED_MS [CASE]]`

use std::time::Instant;

use slicewise_machine::{
    Costs, Dist, Machine, MachineConfig, Mode, Op, Origin, Preemption, Program, TaskSpec, Workload,
};
use slicewise_sched::{Attr, CpuSet, Profile};

fn config(cpus: u32, duration_ms: u64) -> Option<MachineConfig> {
    let profile = Profile::named("6.12")?;
    Some(MachineConfig {
        profile,
        features: profile.features,
        base_slice_ns: None,
        cpus,
        hz: 250,
        smp: slicewise_sched::SmpConfig::default(),
        tick_phase_ns: 0,
        tick_skew_ns: 0,
        preemption: Preemption::Full,
        costs: Costs::NONE,
        speed: slicewise_machine::SpeedModel::default(),
        nohz_full: slicewise_sched::CpuSet::Inline(0),
        seed: 1,
        duration_ns: duration_ms * 1_000_000,
    })
}

fn sleepers(tasks: u32, run: Dist, sleep: Dist) -> Workload {
    let body = vec![
        Op::LoopBegin { count: None, end: 3 },
        Op::Run { work: run, mode: Mode::User },
        Op::Sleep { duration: sleep },
        Op::LoopEnd { begin: 0 },
    ];
    let task = |index: u32| TaskSpec {
        name: format!("sleeper {index}"),
        program: 0,
        attr: Attr::default(),
        affinity: CpuSet::All,
        start_ns: u64::from(index) * 1_000,
        group: None,
        template: false,
        rttime: None,
        memory: slicewise_machine::TaskMemory::default(),
        index,
        origin: Origin::default(),
    };
    Workload {
        programs: vec![Program { ops: body }],
        tasks: (0..tasks).map(task).collect(),
        ..Workload::default()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let duration_ms = std::env::args().nth(1).map_or(Ok(2_000), |ms| ms.parse())?;
    let random = |mean_ns| Dist::Exponential { mean_ns };
    let cases = [
        ("1 CPU, 1 task", 1, sleepers(1, Dist::Constant(1_000), Dist::Constant(1_000))),
        ("1 CPU, 10 tasks", 1, sleepers(10, Dist::Constant(1_000), Dist::Constant(9_000))),
        ("8 CPUs, 64 tasks", 8, sleepers(64, random(1e3), random(7e3))),
        ("64 CPUs, 1000 tasks", 64, sleepers(1_000, random(1e4), random(1.5e5))),
    ];
    let only = std::env::args().nth(2).unwrap_or_default();
    for (name, cpus, workload) in cases.into_iter().filter(|case| case.0.contains(&only)) {
        let config = config(cpus, duration_ms).ok_or("no such kernel")?;
        let mut machine = Machine::new(&config, &workload, ())?;
        let start = Instant::now();
        let summary = machine.run()?;
        let seconds = start.elapsed().as_secs_f64();
        let rate = summary.switches as f64 / seconds / 1e6;
        let ns = seconds * 1e9 / summary.switches as f64;
        writeln(name, summary.switches, rate, ns)?;
    }
    Ok(())
}

fn writeln(name: &str, switches: u64, rate: f64, ns: f64) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(
        std::io::stdout(),
        "{name:22} {switches:>10} switches  {rate:6.2} M/s  {ns:6.1} ns each"
    )
}
