//! One run of a node, as it is or changed.

use slicewise_machine::{
    Costs, End, Machine, MachineConfig, Preemption, QueueSummary, RunSummary, Workload,
};
use slicewise_sched::bandwidth::BandwidthStats;
use slicewise_sched::{CpuSet, Profile, SmpConfig, Topology};
use slicewise_trace::{Sink, TraceHash};

use crate::error::Error;
use crate::mapping::Mapping;
use crate::measure::{Figures, Measure};

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The kernel.
    pub profile: Profile,
    /// How many CPUs the node has.
    pub cpus: u32,
    /// Where they are; `None` for CPUs that are alike and share a cache.
    pub topology: Option<Topology>,
    /// Ticks a second.
    pub hz: u32,
    /// How long, ns.
    pub duration_ns: u64,
    /// Seeds every random draw.
    pub seed: u64,
}

/// Which way a node is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// As it is.
    AsItIs,
    /// Without any quota.
    WithoutQuotas,
    /// One container's pod alone, without quota, on all CPUs of the node: bare metal. The
    /// container is an index into [`Mapping::containers`].
    Alone(usize),
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How long it was, ns.
    pub simulated_ns: u64,
    /// By container.
    pub containers: Vec<Figures>,
    /// By group of the machine.
    pub bandwidth: Vec<BandwidthStats>,
    /// By request queue.
    pub queues: Vec<QueueSummary>,
    /// By device: how long it worked, ns.
    pub device_busy_ns: Vec<u64>,
    /// By CPU: how long it ran tasks, ns.
    pub cpu_busy_ns: Vec<u64>,
    /// The fingerprint of the stream.
    pub trace_hash: u64,
    /// Events handled.
    pub events: u64,
}

/// Says how far a run has come: ns simulated since the last time.
pub type Progress<'p> = dyn Fn(u64) + Sync + 'p;

/// Steps between looks at the progress.
const STEPS: u64 = 500;

/// Runs a node. `more` gets the events too.
///
/// # Errors
/// If the machine refuses it.
pub fn run<S: Sink>(
    mapping: &Mapping,
    settings: &Settings,
    way: Way,
    more: S,
    progress: &Progress<'_>,
) -> Result<(Outcome, S), Error> {
    let changed;
    let workload = match way {
        Way::AsItIs => &mapping.workload,
        Way::WithoutQuotas => {
            changed = without_quotas(&mapping.workload);
            &changed
        }
        Way::Alone(container) => {
            changed = alone(mapping, container);
            &changed
        }
    };
    let config = config(settings);
    let measure = Measure::new(mapping, settings.cpus);
    let mut machine = Machine::new(&config, workload, ((TraceHash::new(), measure), more))?;
    let step_ns = (settings.duration_ns / STEPS).max(1);
    let mut at_ns = 0;
    loop {
        let next_ns = (at_ns + step_ns).min(settings.duration_ns);
        let goes_on = machine.run_until(next_ns).map_err(Box::new)?;
        progress(next_ns - at_ns);
        at_ns = next_ns;
        if !goes_on || at_ns >= settings.duration_ns {
            break;
        }
    }
    progress(settings.duration_ns - at_ns);
    machine.finish();
    let summary = machine.summary();
    let ((hash, measure), more) = machine.into_sink();
    Ok((outcome(settings, &summary, hash.value(), &measure), more))
}

fn config(settings: &Settings) -> MachineConfig {
    let profile = settings.profile;
    MachineConfig {
        profile,
        features: profile.features,
        base_slice_ns: None,
        cpus: settings.cpus,
        hz: settings.hz,
        smp: SmpConfig { topology: settings.topology.clone(), ..SmpConfig::default() },
        tick_phase_ns: 0,
        tick_skew_ns: 0,
        preemption: if profile.lazy_preemption { Preemption::Lazy } else { Preemption::Full },
        costs: Costs::default(),
        speed: slicewise_machine::SpeedModel::default(),
        nohz_full: slicewise_sched::CpuSet::Inline(0),
        seed: settings.seed,
        duration_ns: settings.duration_ns,
    }
}

fn outcome(settings: &Settings, summary: &RunSummary, hash: u64, measure: &Measure) -> Outcome {
    // Where nothing is left to happen, the rest of the time passes in silence.
    let simulated_ns = match summary.end {
        End::Duration => summary.end_ns,
        _ => settings.duration_ns,
    };
    Outcome {
        simulated_ns,
        containers: measure.containers().to_vec(),
        bandwidth: summary.groups.iter().map(|group| group.bandwidth).collect(),
        queues: summary.queues.clone(),
        device_busy_ns: measure.device_busy_ns(),
        cpu_busy_ns: summary.cpus.iter().map(|cpu| cpu.busy_ns).collect(),
        trace_hash: hash,
        events: summary.events,
    }
}

fn without_quotas(workload: &Workload) -> Workload {
    let mut workload = workload.clone();
    for group in &mut workload.groups {
        group.limit.quota_ns = None;
    }
    workload
}

/// Everyone else's threads never start and their requests never come, but all keep their numbers:
/// the random draws of those that are left are the same.
fn alone(mapping: &Mapping, container: usize) -> Workload {
    let mut workload = without_quotas(&mapping.workload);
    for task in &mut workload.tasks {
        task.template = true;
    }
    for queue in &mut workload.queues {
        queue.requests = Some(0);
    }
    let of = &mapping.containers[container].identity;
    let pod = |it: &&crate::mapping::Mapped| {
        let it = &it.identity;
        it.workload == of.workload && it.object == of.object && it.copy == of.copy
    };
    for part in mapping.containers.iter().filter(pod).flat_map(|it| &it.parts) {
        for task in &mut workload.tasks[part.tasks.clone()] {
            task.template = false;
            task.affinity = CpuSet::All;
        }
        if let Some(queue) = part.queue {
            workload.queues[queue as usize].requests = None;
        }
    }
    workload
}
