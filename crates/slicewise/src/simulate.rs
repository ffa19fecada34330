//! Running a prepared workload, with a progress bar when it takes long.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use slicewise_machine::{
    CpuSummary, End, GroupSpec, GroupSummary, Machine, MemorySummaries, RunSummary,
};
use slicewise_report::{
    GroupFacts, GroupMeter, InterruptedReport, MemoryReport, Metrics, PressureReport, QueueReport,
    RunInfo, RunReport, SharedMemoryReport, TaskMemoryReport,
};
use slicewise_sched::psi::Line;
use slicewise_trace::{Sink, Slot, TaskInfo, TraceHash};
use slicewise_workload::{cgroup_rules, job_periods};

use crate::cgroup_files;
use crate::failure::{Failure, run_error, setup_error};
use crate::prepare::Prepared;

/// Runs shorter than this show no progress.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);
/// Simulated steps between looks at the clock.
const STEPS: u64 = 1000;

/// Builds the machine.
pub(crate) fn machine<S: Sink>(prepared: &Prepared, sink: S) -> Result<Machine<'_, S>, Failure> {
    Machine::new(&prepared.config, &prepared.loaded.workload, sink)
        .map_err(|error| setup_error(&error, &prepared.name, &prepared.loaded.sources))
}

/// Runs to the end, or to `until_ns`.
pub(crate) fn run_until<S: Sink>(
    machine: &mut Machine<'_, S>,
    prepared: &Prepared,
    until_ns: u64,
    progress: bool,
) -> Result<(), Failure> {
    let end_ns = until_ns.min(prepared.config.duration_ns);
    let step_ns = (end_ns / STEPS).max(1);
    let began = Instant::now();
    let mut bar = None;
    loop {
        let next_ns = machine.now_ns().saturating_add(step_ns).min(end_ns);
        let more = machine
            .run_until(next_ns)
            .map_err(|error| run_error(&error, &prepared.name, &prepared.loaded.sources))?;
        if !more || next_ns >= end_ns {
            return Ok(());
        }
        if progress && bar.is_none() && began.elapsed() > PROGRESS_AFTER {
            bar = Some(progress_bar(end_ns));
        }
        if let Some(bar) = &bar {
            bar.set_position(next_ns / 1_000_000);
        }
    }
}

fn progress_bar(end_ns: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(end_ns / 1_000_000);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} ms simulated, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

/// Runs a workload and reports; `more` gets the events too.
pub(crate) fn report<S: Sink>(
    prepared: &Prepared,
    more: S,
    progress: bool,
) -> Result<(RunReport, S), Failure> {
    // Without groups nobody asks for pressure, and the run is faster.
    if prepared.loaded.workload.groups.is_empty() && !prepared.cgroup_files {
        return measure(prepared, more, progress).map(|(report, _, more)| (report, more));
    }
    let meter = GroupMeter::new(prepared.config.cpus, prepared.config.hz);
    let (mut report, summary, (meter, more)) = measure(prepared, (meter, more), progress)?;
    let facts = group_facts(prepared, &summary);
    report.groups = meter.report(&facts);
    report.pressure = Some(PressureReport::new(&meter.system_pressure(), &Line::default()));
    if prepared.cgroup_files {
        report.cgroup_files = cgroup_files::read(prepared, &meter, &facts);
    }
    Ok((report, more))
}

/// What the machine and the workload know of groups.
fn group_facts(prepared: &Prepared, summary: &RunSummary) -> Vec<GroupFacts> {
    let rules = cgroup_rules(&prepared.config.profile);
    let facts = |(spec, did): (&GroupSpec, &GroupSummary)| GroupFacts {
        weight: if spec.idle && rules.idle_weighs_0 { 0 } else { spec.shares.weight() },
        idle: spec.idle,
        limit: did.limit,
        bandwidth: did.bandwidth,
        system_ns: did.system_ns,
        nice_ns: did.nice_ns,
    };
    prepared.loaded.workload.groups.iter().zip(&summary.groups).map(facts).collect()
}

/// Runs to the end, without the figures of groups.
fn measure<S: Sink>(
    prepared: &Prepared,
    more: S,
    progress: bool,
) -> Result<(RunReport, RunSummary, S), Failure> {
    let metrics = Metrics::with_periods(job_periods(&prepared.loaded.workload));
    let mut machine = machine(prepared, ((TraceHash::new(), metrics), more))?;
    run_until(&mut machine, prepared, u64::MAX, progress)?;
    machine.finish();
    let summary = machine.summary();
    let ((hash, metrics), more) = machine.into_sink();
    let mut report = metrics.report(run_info(prepared, &summary, &hash));
    let quiet = prepared.config.nohz_full.is_empty();
    if !quiet || !prepared.loaded.workload.interrupts.is_empty() {
        for (cpu, did) in report.cpus.iter_mut().zip(&summary.cpus) {
            let CpuSummary { ticks, interrupts, interrupt_ns, .. } = *did;
            cpu.interrupted = Some(InterruptedReport { ticks, interrupts, interrupt_ns });
        }
    }
    report.memory = summary.memory.as_ref().map(|memory| memory_report(prepared, memory));
    Ok((report, summary, more))
}

/// Of the tasks that have memory.
fn memory_report(prepared: &Prepared, memory: &MemorySummaries) -> MemoryReport {
    let workload = &prepared.loaded.workload;
    let tasks = workload.tasks.iter().zip(&memory.tasks);
    let tasks = tasks.filter(|(spec, _)| spec.memory.pages.is_some());
    let topology = prepared.config.smp.topology.as_ref();
    let nodes = topology.map_or(1, |topology| topology.nr_nodes());
    let shared = workload.memories.iter().zip(&memory.shared);
    MemoryReport {
        numa_balancing: prepared.config.smp.numa.is_some() && nodes > 1,
        tasks: tasks
            .map(|(spec, did)| TaskMemoryReport {
                name: spec.name.clone(),
                on_node_bytes: did.on_node.clone(),
                accessed_bytes: did.accessed,
                local_share: did.local as f64 / did.accessed.max(1) as f64,
                numa_faults: did.faults,
                numa_faults_local: did.local_faults,
                pages_migrated: did.migrated,
                preferred_node: did.preferred_node,
            })
            .collect(),
        shared: shared
            .map(|(spec, on_node)| SharedMemoryReport {
                name: spec.name.clone(),
                on_node_bytes: on_node.clone(),
            })
            .collect(),
        task_moves: memory.numa.task_moves,
        task_swaps: memory.numa.task_swaps,
    }
}

fn run_info(prepared: &Prepared, summary: &RunSummary, hash: &TraceHash) -> RunInfo {
    let (config, workload) = (&prepared.config, &prepared.loaded.workload);
    let mut warnings = prepared.warnings.clone();
    match &summary.end {
        End::Stuck(waiting) => {
            let names: Vec<&str> = waiting.iter().map(|w| w.task.as_str()).collect();
            warnings.push(format!(
                "from {:.3} ms on nothing could happen any more: {} waited for ever",
                summary.end_ns as f64 / 1e6,
                names.join(", ")
            ));
        }
        End::Duration | End::Exited | End::Served => {
            warnings.extend(summary.forsaken.iter().map(|(waiting, since_ns)| {
                format!("{waiting} since {:.3} ms, to the end", *since_ns as f64 / 1e6)
            }));
        }
    }
    RunInfo {
        kernel: config.profile.name.to_owned(),
        release: config.profile.release.to_owned(),
        seed: config.seed,
        trace_hash: format!("{:016x}", hash.value()),
        hz: config.hz,
        cpus: config.cpus,
        devices: workload.devices.iter().map(|device| device.name.clone()).collect(),
        queues: workload
            .queues
            .iter()
            .zip(&summary.queues)
            .map(|(queue, counts)| QueueReport {
                name: queue.name.clone(),
                arrived: counts.arrived,
                served: counts.served,
                dropped: counts.dropped,
            })
            .collect(),
        warnings,
    }
}

/// Remembers who holds which slot.
#[derive(Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    /// The name of the task that held the slot last.
    pub(crate) fn of(&self, slot: usize) -> String {
        self.0.get(slot).cloned().unwrap_or_else(|| format!("task {slot}"))
    }
}

impl Sink for Names {
    fn task(&mut self, _: u64, info: &TaskInfo) {
        let Slot(slot) = info.slot;
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, String::new());
        }
        self.0[slot].clone_from(&info.name);
    }

    fn event(&mut self, _: u64, _: &slicewise_trace::Event) {}
}
