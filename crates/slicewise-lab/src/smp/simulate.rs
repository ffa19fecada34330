//! The same round in Slicewise: threads are made and sleep, and are woken when they were.

use slicewise_machine::{Costs, Dist, Machine, MachineConfig, Op, Preemption, Program};
use slicewise_sched::{CpuId, CpuSet, Profile};
use slicewise_trace::{Event, Sink, Slot, TaskInfo};
use slicewise_workload::{Loaded, Severity, settle_cgroups};

use super::figures::{Figures, Task};
use super::truth::Round;
use super::{SmpCase, SmpCell};
use crate::failure::{Failure, Result};
use crate::kernels::profile_of;
use crate::rt::take_wakeups;
use crate::simulate::{EarlyStarts, Guest, add_background, prepend, take_calls};
use crate::truth::Thread;
use crate::{HZ, TICK_NS};

/// Each round is simulated so often: what is random on a kernel is random here.
const SEEDS: u64 = 3;

/// The figures of all rounds, with several seeds each.
pub(super) fn run(case: &SmpCase, cell: &SmpCell) -> Result<Vec<Figures>> {
    let profile = profile_of(&cell.series, &cell.package)?;
    let guest = Guest::of(&cell.series);
    let mut all = Vec::new();
    for round in &cell.rounds {
        for seed in 1..=SEEDS {
            let figures = run_round(case, &profile, round, &guest, seed)
                .map_err(|message| Failure::new(format!("case {}: {message}", case.name)))?;
            all.push(figures);
        }
    }
    Ok(all)
}

fn run_round(
    case: &SmpCase,
    profile: &Profile,
    round: &Round,
    guest: &Guest,
    seed: u64,
) -> std::result::Result<Figures, String> {
    let mut loaded = case.loaded()?;
    let conditions = &round.conditions;
    let said = settle_cgroups(&mut loaded, profile);
    if let Some(error) = said.iter().find(|one| one.severity == Severity::Error) {
        return Err(error.message.clone());
    }
    take_jobs(&mut loaded, &round.figures, &guest.costs);
    take_calls(&mut loaded, guest.system_call_ns);
    let latency_ns = guest.costs.interrupts.wakeup_ns + guest.costs.context_switch_ns;
    let mut early = EarlyStarts { next_ns: 0, latency_ns };
    take_wakeups(&mut loaded, &conditions.threads, &mut early);
    take_places(&mut loaded, &conditions.threads);
    let names: Vec<String> = loaded.workload.tasks.iter().map(|task| task.name.clone()).collect();
    for background in &conditions.background {
        add_background(&mut loaded.workload, background, &guest.costs, &mut early);
    }
    let preemption = if profile.lazy_preemption { Preemption::Lazy } else { Preemption::Voluntary };
    let config = MachineConfig {
        profile: *profile,
        features: profile.features,
        base_slice_ns: None,
        cpus: case.cpus,
        hz: HZ,
        smp: slicewise_sched::SmpConfig::default(),
        tick_phase_ns: conditions.tick_phase_ns % TICK_NS,
        tick_skew_ns: conditions.tick_skew_ns,
        preemption,
        costs: guest.costs,
        speed: slicewise_machine::SpeedModel::default(),
        nohz_full: CpuSet::Inline(0),
        seed,
        duration_ns: conditions.end_ns,
    };
    let sink = Listener::new(&names, conditions.begin_ns, conditions.end_ns, case.cpus);
    loaded.workload.stuck_is_end = true;
    let mut machine =
        Machine::new(&config, &loaded.workload, sink).map_err(|error| error.to_string())?;
    machine.run().map_err(|error| error.to_string())?;
    machine.finish();
    Ok(machine.into_sink().figures())
}

/// The period of a program's timer, if it is a job a period: with one step of work.
pub(super) fn period_ns(program: &Program) -> Option<u64> {
    let mut runs = program.ops.iter().filter(|op| matches!(op, Op::Run { .. }));
    runs.next().filter(|_| runs.next().is_none())?;
    program.ops.iter().find_map(|op| match op {
        Op::Timer { period_ns, .. } => Some(*period_ns),
        _ => None,
    })
}

/// A job of a periodic thread takes what it took on the kernel: by instructions, work takes as long as
/// CPUs are busy.
fn take_jobs(loaded: &mut Loaded, kernel: &Figures, costs: &Costs) {
    let workload = &mut loaded.workload;
    for index in 0..workload.tasks.len() {
        let task = &workload.tasks[index];
        let Some(measured) = kernel.tasks.get(&task.name) else { continue };
        let mut program = workload.programs[task.program as usize].clone();
        let Some(period_ns) = period_ns(&program) else { continue };
        let jobs = (kernel.window_ns / period_ns).max(1);
        // The switch to it is in it.
        let job_ns = (measured.ran_ns / jobs).saturating_sub(costs.context_switch_ns);
        for op in &mut program.ops {
            if let Op::Run { work, .. } = op {
                *work = Dist::Constant(job_ns);
            }
        }
        workload.tasks[index].program = workload.programs.len() as u32;
        workload.programs.push(program);
    }
}

/// Threads sleep until the begin on the CPUs where they did: they are let go there before they sleep.
fn take_places(loaded: &mut Loaded, threads: &[Thread]) {
    let workload = &mut loaded.workload;
    for index in 0..workload.tasks.len() {
        let task = &mut workload.tasks[index];
        let thread = threads.iter().find(|thread| thread.group == task.name);
        let Some(cpu) = thread.and_then(|thread| thread.slept_on) else { continue };
        let own = std::mem::replace(&mut task.affinity, CpuSet::of([CpuId(cpu)]));
        prepend(workload, index as u32, Op::SetAffinity(own));
    }
}

/// Turns Slicewise's stream into figures of a window.
struct Listener {
    names: Vec<String>,
    begin_ns: u64,
    end_ns: u64,
    /// By slot: the thread of the case.
    slots: Vec<Option<usize>>,
    tasks: Vec<Task>,
    /// By CPU: who runs, and since when.
    running: Vec<Option<(Slot, u64)>>,
    busy_ns: Vec<u64>,
}

impl Listener {
    fn new(names: &[String], begin_ns: u64, end_ns: u64, cpus: u32) -> Self {
        Self {
            names: names.to_vec(),
            begin_ns,
            end_ns,
            slots: Vec::new(),
            tasks: vec![Task::default(); names.len()],
            running: vec![None; cpus as usize],
            busy_ns: vec![0; cpus as usize],
        }
    }

    fn thread(&self, slot: Slot) -> Option<usize> {
        self.slots.get(slot.index()).copied().flatten()
    }

    fn stop(&mut self, cpu: usize, now_ns: u64) {
        let Some((slot, since_ns)) = self.running[cpu].take() else { return };
        let ran_ns = now_ns.min(self.end_ns).saturating_sub(since_ns.max(self.begin_ns));
        self.busy_ns[cpu] += ran_ns;
        if let Some(thread) = self.thread(slot) {
            self.tasks[thread].ran_ns += ran_ns;
        }
    }

    fn figures(self) -> Figures {
        let window_ns = self.end_ns - self.begin_ns;
        let idle = self.busy_ns.iter().map(|busy_ns| 1.0 - *busy_ns as f64 / window_ns as f64);
        Figures {
            window_ns,
            idle: idle.collect(),
            tasks: self.names.into_iter().zip(self.tasks).collect(),
        }
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
        match event {
            Event::Switch { cpu, next, .. } => {
                self.stop(cpu.index(), now_ns);
                self.running[cpu.index()] = next.map(|next| (next, now_ns));
            }
            Event::Migrate { task, .. } if (self.begin_ns..self.end_ns).contains(&now_ns) => {
                if let Some(thread) = self.thread(*task) {
                    self.tasks[thread].migrations += 1;
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, now_ns: u64) {
        for cpu in 0..self.running.len() {
            self.stop(cpu, now_ns);
        }
    }
}
