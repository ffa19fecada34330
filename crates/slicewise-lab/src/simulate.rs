//! The same case in Slicewise, under the conditions the kernel met.
//!
//! Given to the simulation: when ticks come, when threads start and timers expire, what else ran
//! (kernel threads, by the times they were woken and the CPU time they used), and, where the case
//! says so, how long a job takes. Nothing of what the scheduler decides is.

use slicewise_machine::{
    Costs, Dist, Machine, MachineConfig, Op, Origin, Preemption, Program, TaskSpec, TimerMode,
    TimerSpec, Workload,
};
use slicewise_sched::{Attr, CpuId, CpuSet, Nice, Policy, Profile, RtPriority};
use slicewise_trace::{Event, Left, Sink, Slot, TaskInfo};
use slicewise_workload::Loaded;

use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::figures::{Figures, Summary};
use crate::kernels::profile_of;
use crate::truth::{Background, Cell, Conditions};
use crate::{HZ, TICK_NS};

/// How late the slice timer of a guest is, from the end of a slice until the kernel has charged the
/// task: measured on 7.2 with two busy loops, as the median of what a stint has more than was left of its slice.
pub(crate) const SLICE_TIMER_NS: u64 = 12_100;

/// What a switch costs the task that comes, in a guest: measured on 7.2 with tasks that yield after
/// 300 us of work, and have used 311 us.
const CONTEXT_SWITCH_NS: u64 = 11_000;

/// Runs every round of a cell; the figures of all together.
pub(crate) fn run(case: &Case, cell: &Cell, slice_timer_ns: u64) -> Result<Summary> {
    let profile = profile_of(&cell.series, &cell.package)?;
    let mut all: Option<Figures> = None;
    for round in &cell.rounds {
        let figures = run_round(case, &profile, cell, round, slice_timer_ns)
            .map_err(|message| Failure::new(format!("case {}: {message}", case.name)))?;
        match &mut all {
            Some(all) => all.merge(&figures),
            None => all = Some(figures),
        }
    }
    all.as_ref()
        .map(Summary::from)
        .ok_or_else(|| Failure::new(format!("case {}: no rounds", case.name)))
}

fn run_round(
    case: &Case,
    profile: &Profile,
    cell: &Cell,
    round: &Conditions,
    slice_timer_ns: u64,
) -> std::result::Result<Figures, String> {
    let mut loaded = case.loaded()?;
    if case.measured_demand {
        take_demand(&mut loaded, &cell.kernel);
    }
    take_starts(case, &mut loaded, round);
    let mut features = profile.features;
    for word in &loaded.settings.features {
        features.set(word)?;
    }
    for background in &round.background {
        add_background(&mut loaded.workload, background);
    }
    let preemption = if profile.lazy_preemption { Preemption::Lazy } else { Preemption::Full };
    let config = MachineConfig {
        profile: *profile,
        features,
        base_slice_ns: loaded.settings.base_slice_ns,
        cpus: case.cpus,
        hz: loaded.settings.hz.unwrap_or(HZ),
        tick_phase_ns: round.tick_phase_ns % TICK_NS,
        tick_skew_ns: round.tick_skew_ns,
        preemption: loaded.settings.preemption.unwrap_or(preemption),
        costs: Costs {
            // What switches cost is in the measured demand already.
            context_switch_ns: if case.measured_demand { 0 } else { CONTEXT_SWITCH_NS },
            slice_timer_ns,
            ..Costs::NONE
        },
        seed: 1,
        duration_ns: round.end_ns,
    };
    let names = case.groups();
    let figures = Figures::new(&names, round.begin_ns, round.end_ns);
    let sink = Listener { figures, names };
    loaded.workload.stuck_is_end = true;
    let mut machine =
        Machine::new(&config, &loaded.workload, sink).map_err(|error| error.to_string())?;
    machine.run().map_err(|error| error.to_string())?;
    machine.finish();
    Ok(machine.into_sink().figures)
}

/// A job of a program with one `run` step takes what it took on the kernel.
fn take_demand(loaded: &mut Loaded, kernel: &Summary) {
    for group in &loaded.groups {
        let measured = kernel.groups.iter().find(|measured| measured.name == group.name);
        let Some(measured) = measured.filter(|measured| measured.job.count > 0) else { continue };
        let program = loaded.workload.tasks[group.first as usize].program as usize;
        let ops = &mut loaded.workload.programs[program].ops;
        let mut runs: Vec<&mut Dist> = ops
            .iter_mut()
            .filter_map(|op| if let Op::Run { work, .. } = op { Some(work) } else { None })
            .collect();
        if let [work] = runs.as_mut_slice() {
            **work = Dist::Constant(measured.demand_ns);
        }
    }
}

/// Threads start, and their timers expire, when they did on the kernel. A task with a timer starts
/// at 0, on an idle machine, and waits for its first expiry: so that no wait at its start moves it.
/// Threads of the load program sleep first, until all are there.
fn take_starts(case: &Case, loaded: &mut Loaded, round: &Conditions) {
    for group in loaded.groups.iter().filter(|group| !group.template) {
        let threads = round.threads.iter().filter(|thread| thread.group == group.name);
        for (thread, index) in threads.zip(group.first..group.first + group.count) {
            let workload = &mut loaded.workload;
            let task = &mut workload.tasks[index as usize];
            task.start_ns = thread.start_ns;
            let program = &workload.programs[task.program as usize];
            let own_timer = program.ops.iter().find_map(|op| match op {
                Op::Timer { timer, mode, .. } => Some((*timer, *mode)),
                _ => None,
            });
            // One interrupt wakes all whose timers expire together, before anyone gets the CPU. The
            // machine takes them one by one: the one that will run first comes first.
            let behind_ns = match task.attr.policy {
                Policy::Fifo(priority) | Policy::Rr(priority) => 99 - u64::from(priority.get()),
                _ => 0,
            };
            match (own_timer, thread.expiry_ns, thread.woken_ns) {
                (Some((timer, mode)), Some(expiry_ns), _) => {
                    let period_ns = expiry_ns + behind_ns;
                    task.start_ns = 0;
                    prepend(workload, index, Op::Timer { timer, period_ns, mode });
                }
                (None, _, Some(woken_ns)) if case.scenario.is_some() => {
                    let timer = workload.timers.len() as u32;
                    let name = format!("start of {}", task.name);
                    let period_ns = woken_ns.saturating_sub(task.start_ns);
                    workload.timers.push(TimerSpec { name, shared: false });
                    let mode = TimerMode::Absolute;
                    prepend(workload, index, Op::Timer { timer, period_ns, mode });
                }
                _ => {}
            }
        }
    }
}

/// Gives a task a program of its own that begins with a step more.
fn prepend(workload: &mut Workload, task: u32, op: Op) {
    let task = &mut workload.tasks[task as usize];
    let mut program = workload.programs[task.program as usize].clone();
    for op in &mut program.ops {
        match op {
            Op::LoopBegin { end, .. } => *end += 1,
            Op::LoopEnd { begin } => *begin += 1,
            _ => {}
        }
    }
    program.ops.insert(0, op);
    task.program = workload.programs.len() as u32;
    workload.programs.push(program);
}

/// A kernel thread, or whoever else ran: woken when it was, runs as long as it did.
fn add_background(workload: &mut Workload, background: &Background) {
    let timer = workload.timers.len() as u32;
    let name = format!("~{}-{}", background.comm, workload.tasks.len());
    workload.timers.push(TimerSpec { name: name.clone(), shared: false });
    let mut ops = Vec::with_capacity(background.stints.len() * 2);
    let mut last_ns = 0;
    for stint in &background.stints {
        let period_ns = stint.woken_ns - last_ns;
        last_ns = stint.woken_ns;
        ops.push(Op::Timer { timer, period_ns, mode: TimerMode::Absolute });
        ops.push(Op::Run { work: Dist::Constant(stint.run_ns), mode: Default::default() });
    }
    let policy = match background.prio {
        ..0 => Policy::Stop,
        0 if background.comm.starts_with("migration/") => Policy::Stop,
        prio @ 0..=98 => RtPriority::new(i64::from(99 - prio)).map_or(Policy::Normal, Policy::Fifo),
        _ => Policy::Normal,
    };
    let nice = Nice::new(i64::from(background.prio - 120)).unwrap_or_default();
    workload.tasks.push(TaskSpec {
        name,
        program: workload.programs.len() as u32,
        attr: Attr { policy, nice, ..Attr::default() },
        affinity: CpuSet::of(background.cpus.iter().map(|cpu| CpuId(*cpu))),
        start_ns: 0,
        group: None,
        template: false,
        index: 0,
        origin: Origin::default(),
    });
    workload.programs.push(Program { ops });
}

/// Turns Slicewise's stream into switches and wakeups.
struct Listener {
    figures: Figures,
    names: Vec<String>,
}

/// `hog` and `hog-3` are threads of `hog`.
fn group_of(names: &[String], task: &str) -> Option<usize> {
    names.iter().position(|name| name == task).or_else(|| {
        let (base, number) = task.rsplit_once('-')?;
        number.parse::<u32>().ok()?;
        names.iter().position(|name| name == base)
    })
}

/// Slots begin at 0, which stands for idle in a trace.
fn id(slot: Slot) -> u32 {
    slot.0 + 1
}

impl Sink for Listener {
    fn task(&mut self, _: u64, info: &TaskInfo) {
        match group_of(&self.names, &info.name) {
            Some(group) => self.figures.thread(id(info.slot), group),
            None => self.figures.forget(id(info.slot)),
        }
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        match event {
            Event::Wakeup { task, .. } => self.figures.wakeup(now_ns, id(*task)),
            Event::Switch { cpu, prev, next, left, .. } => {
                let voluntary = matches!(left, Left::Blocked | Left::Exited);
                let (prev, next) = (prev.map_or(0, id), next.map_or(0, id));
                self.figures.switch(now_ns, cpu.0 as usize, prev, voluntary, next);
            }
            _ => {}
        }
    }

    fn finish(&mut self, now_ns: u64) {
        self.figures.finish(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::group_of;

    #[test]
    fn instances_belong_to_their_task() {
        let names = ["a-1".to_owned(), "hog".to_owned()];
        assert_eq!(group_of(&names, "a-1"), Some(0));
        assert_eq!(group_of(&names, "hog-12"), Some(1));
        assert_eq!(group_of(&names, "hog-x"), None);
    }
}
