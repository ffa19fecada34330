//! The same round in Slicewise: from the quiet before the load to the end of the window.

use slicewise_machine::{Machine, MachineConfig, Op, Preemption, TimerMode, TimerSpec};
use slicewise_sched::Profile;
use slicewise_trace::{Event, Left, Sink, Slot, TaskInfo};
use slicewise_workload::Loaded;

use super::runs::{Run, Runs, Who};
use super::truth::Round;
use super::{RtCase, RtCell};
use crate::failure::{Failure, Result};
use crate::kernels::profile_of;
use crate::simulate::{EarlyStarts, Guest, add_background, prepend, take_calls};
use crate::truth::Thread;
use crate::{HZ, TICK_NS};

/// The runs of all threads, round by round.
pub(super) fn run(case: &RtCase, cell: &RtCell) -> Result<Vec<Vec<Vec<Run>>>> {
    let profile = profile_of(&cell.series, &cell.package)?;
    let guest = Guest::of(&cell.series);
    let one = |round: &Round| {
        run_round(case, &profile, round, &guest)
            .map_err(|message| Failure::new(format!("case {}: {message}", case.name)))
    };
    cell.rounds.iter().map(one).collect()
}

fn run_round(
    case: &RtCase,
    profile: &Profile,
    round: &Round,
    guest: &Guest,
) -> std::result::Result<Vec<Vec<Run>>, String> {
    let mut loaded = case.loaded()?;
    let conditions = &round.conditions;
    take_calls(&mut loaded, guest.system_call_ns);
    let latency_ns = guest.costs.interrupts.wakeup_ns + guest.costs.context_switch_ns;
    let mut early = EarlyStarts { next_ns: 0, latency_ns };
    take_wakeups(&mut loaded, &conditions.threads, &mut early);
    let mut features = profile.features;
    for word in &loaded.settings.features {
        features.set(word)?;
    }
    let names: Vec<String> = loaded.workload.tasks.iter().map(|task| task.name.clone()).collect();
    for background in &conditions.background {
        add_background(&mut loaded.workload, background, &guest.costs, &mut early);
    }
    let preemption = if profile.lazy_preemption { Preemption::Lazy } else { Preemption::Voluntary };
    let config = MachineConfig {
        profile: Profile { rt: loaded.settings.rt.over(profile.rt), ..*profile },
        features,
        base_slice_ns: loaded.settings.base_slice_ns,
        cpus: case.cpus,
        hz: HZ,
        smp: slicewise_sched::SmpConfig::default(),
        tick_phase_ns: conditions.tick_phase_ns % TICK_NS,
        tick_skew_ns: conditions.tick_skew_ns,
        preemption,
        costs: guest.costs,
        speed: slicewise_machine::SpeedModel::default(),
        nohz_full: slicewise_sched::CpuSet::Inline(0),
        seed: 1,
        duration_ns: conditions.end_ns,
    };
    let runs = Runs::new(names.len(), conditions.begin_ns, conditions.end_ns);
    let sink = Listener { runs, names, slots: Vec::new() };
    loaded.workload.stuck_is_end = true;
    let mut machine =
        Machine::new(&config, &loaded.workload, sink).map_err(|error| error.to_string())?;
    machine.run().map_err(|error| error.to_string())?;
    machine.finish();
    Ok(machine.into_sink().runs.finish())
}

/// Threads start early, on an idle machine, and sleep until they are woken as they were on the kernel.
/// The making of the threads, which starts the fair server and the period of real-time throttling, is
/// in the background: the load's first thread makes the others, and the one that ends it is of FIFO.
pub(crate) fn take_wakeups(loaded: &mut Loaded, threads: &[Thread], early: &mut EarlyStarts) {
    let workload = &mut loaded.workload;
    for index in 0..workload.tasks.len() {
        let name = workload.tasks[index].name.clone();
        let Some(thread) = threads.iter().find(|thread| thread.group == name) else { continue };
        let Some(woken_ns) = thread.woken_ns else { continue };
        let (start_ns, began_ns) = early.take();
        workload.tasks[index].start_ns = start_ns;
        // The periods of its own timer count from when it is woken.
        let program = workload.tasks[index].program as usize;
        let own = workload.programs[program].ops.iter().find_map(|op| match op {
            Op::Timer { timer, mode, .. } => Some((*timer, *mode)),
            _ => None,
        });
        let (timer, mode) = own.unwrap_or_else(|| {
            workload.timers.push(TimerSpec { name: format!("start of {name}"), shared: false });
            (workload.timers.len() as u32 - 1, TimerMode::Absolute)
        });
        let period_ns = woken_ns.saturating_sub(began_ns);
        prepend(workload, index as u32, Op::Timer { timer, period_ns, mode });
    }
}

/// Turns Slicewise's stream into runs.
struct Listener {
    runs: Runs,
    names: Vec<String>,
    /// By slot: the thread of the case.
    slots: Vec<Option<usize>>,
}

impl Listener {
    fn who(&self, slot: Option<Slot>) -> Who {
        let Some(slot) = slot else { return Who::Idle };
        self.slots.get(slot.index()).copied().flatten().map_or(Who::Other, Who::Thread)
    }
}

impl Sink for Listener {
    fn task(&mut self, _: u64, info: &TaskInfo) {
        let at = info.slot.index();
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        self.slots[at] = self.names.iter().position(|name| *name == info.name);
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        if let Event::Switch { cpu, prev, next, left, .. } = event {
            let voluntary = matches!(left, Left::Blocked | Left::Exited);
            self.runs.switch(now_ns, cpu.0, self.who(*prev), voluntary, self.who(*next));
        }
    }
}
