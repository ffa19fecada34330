//! The same case in Slicewise, under the conditions the kernel met.
//!
//! Given to the simulation: when ticks come, when threads start and timers expire, what else ran
//! (kernel threads, by the times they were woken and the CPU time they used), and, where the case
//! says so, how long a job takes. Nothing of what the scheduler decides is.

use slicewise_machine::{
    Costs, Dist, Interrupts, Machine, MachineConfig, Mode, Op, Origin, Preemption, Program,
    TaskSpec, TimerMode, TimerSpec, Workload,
};
use slicewise_sched::{Attr, CpuId, CpuSet, Nice, Policy, Profile, RtPriority};
use slicewise_trace::{Event, Left, Sink, Slot, TaskInfo};
use slicewise_workload::Loaded;

use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::figures::{Figures, GroupSummary, Summary};
use crate::kernels::profile_of;
use crate::truth::{Background, Cell, Conditions};
use crate::{HZ, TICK_NS};

/// How late the slice timer of a guest is, from the end of a slice until the kernel has charged the
/// task: measured on 7.2, the median over some 20,000 slices (a tenth is above 11 us, a tenth below
/// 10.4 us).
pub(crate) const SLICE_TIMER_NS: u64 = 10_700;

/// From the charge in an interrupt to the charge of the pick it asks for, in a guest: medians on 6.18
/// and 7.2, of ticks that wake nobody, of slice timers, and of timers that wake one thread. Eight in
/// ten slice timers take between 3.82 and 4.18 us.
pub(crate) const INTERRUPTS: Interrupts =
    Interrupts { tick_ns: 4_650, slice_timer_ns: 4_150, wakeup_ns: 8_500, spread_ns: 400 };

/// The simulation is run so often: interrupts spread a little, and it is no one draw that is compared.
pub(crate) const SEEDS: u64 = 5;

/// From the pick of a thread that was woken to its own wakeup of another, in a guest, by kernel: medians
/// of ping-pong and messaging. What the switch and the system call do not explain is the wakeup's.
pub(crate) const PICK_TO_WAKEUP_NS: [(&str, u64); 4] =
    [("6.1", 10_900), ("6.12", 12_000), ("6.18", 13_200), ("7.2", 14_900)];

/// From a wakeup of another thread to the end of the system call, in a guest: between the medians to
/// the sleep after it less the call for that (4.4 to 7.2 us), and to a pick at its end (7.1 to 9.0).
pub(crate) const WAKEUP_RETURN_NS: u64 = 6_000;

/// What a switch costs the task that comes, and an interrupt who runs, in a guest: measured with
/// tasks that yield after 300 us of work, without an interrupt (310.8 us from pick to pick), with a
/// tick in between (8.4 us more), and preempted by the slice timer (16.2 us more).
pub(crate) const CONTEXT_SWITCH_NS: u64 = 7_800;
pub(crate) const TICK_COST_NS: u64 = 8_400;

/// From a thread's own code to the scheduler, in a guest: of a yield, by the same measurement; from
/// pick to sleep, it and a switch take 10.9 us on 6.18.
pub(crate) const SYSTEM_CALL_NS: u64 = 2_800;

/// What a guest's machine costs, and the seed of what spreads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest {
    pub(crate) costs: Costs,
    pub(crate) system_call_ns: u64,
    /// The first seed, and how many.
    seed: u64,
    seeds: u64,
}

impl Guest {
    /// As measured with this kernel; the host's are taken to be those of the newest.
    pub(crate) fn of(series: &str) -> Self {
        let newest = PICK_TO_WAKEUP_NS.last();
        let measured = PICK_TO_WAKEUP_NS.iter().find(|(name, _)| *name == series).or(newest);
        let pick_to_wakeup_ns = measured.map_or(0, |(_, ns)| *ns);
        let costs = Costs {
            context_switch_ns: CONTEXT_SWITCH_NS,
            tick_ns: TICK_COST_NS,
            slice_timer_ns: SLICE_TIMER_NS,
            wakeup_ns: pick_to_wakeup_ns.saturating_sub(CONTEXT_SWITCH_NS + SYSTEM_CALL_NS),
            wakeup_return_ns: WAKEUP_RETURN_NS,
            // Measured with the interrupts.
            idle_exit_ns: 0,
            interrupts: INTERRUPTS,
        };
        Self { costs, system_call_ns: SYSTEM_CALL_NS, seed: 1, seeds: SEEDS }
    }

    /// `NAME=NS`: another cost, to see what a figure owes to it.
    pub(crate) fn set(&mut self, word: &str) -> Result<()> {
        let allowed = "NAME=NS with one of switch, tick, slice-timer, call, wakeup, return, \
                       pick-tick, pick-slice, pick-wakeup, spread; or seed=N, seeds=N";
        let wrong = || Failure::with_help(format!("no such cost: {word}"), allowed);
        let (name, value) = word.split_once('=').ok_or_else(wrong)?;
        let place = match name {
            "switch" => &mut self.costs.context_switch_ns,
            "tick" => &mut self.costs.tick_ns,
            "slice-timer" => &mut self.costs.slice_timer_ns,
            "call" => &mut self.system_call_ns,
            "wakeup" => &mut self.costs.wakeup_ns,
            "return" => &mut self.costs.wakeup_return_ns,
            "pick-tick" => &mut self.costs.interrupts.tick_ns,
            "pick-slice" => &mut self.costs.interrupts.slice_timer_ns,
            "pick-wakeup" => &mut self.costs.interrupts.wakeup_ns,
            "spread" => &mut self.costs.interrupts.spread_ns,
            "seed" => &mut self.seed,
            "seeds" => &mut self.seeds,
            _ => return Err(wrong()),
        };
        *place = value.parse().map_err(|_| wrong())?;
        Ok(())
    }
}

/// Whether jobs take what they took on the kernel. Not where threads wait for one another: who comes
/// last wakes the others and goes on, so that what a job is depends on who was first.
fn takes_demand(case: &Case, loaded: &Loaded) -> bool {
    let meets = |op: &Op| matches!(op, Op::Barrier(_));
    let programs = &loaded.workload.programs;
    case.measured_demand && !programs.iter().any(|program| program.ops.iter().any(meets))
}

/// Runs every round of a cell, with several seeds; the figures of all rounds together, the mean of the
/// seeds.
pub(crate) fn run(case: &Case, cell: &Cell, guest: &Guest) -> Result<Summary> {
    let profile = profile_of(&cell.series, &cell.package)?;
    let mut all: Option<Figures> = None;
    for round in &cell.rounds {
        for seed in guest.seed..guest.seed.saturating_add(guest.seeds) {
            let guest = Guest { seed, ..*guest };
            let figures = run_round(case, &profile, cell, round, &guest)
                .map_err(|message| Failure::new(format!("case {}: {message}", case.name)))?;
            match &mut all {
                Some(all) => all.merge(&figures),
                None => all = Some(figures),
            }
        }
    }
    let mut all = all.ok_or_else(|| Failure::new(format!("case {}: no rounds", case.name)))?;
    all.divide(guest.seeds);
    Ok(Summary::from(&all))
}

fn run_round(
    case: &Case,
    profile: &Profile,
    cell: &Cell,
    round: &Conditions,
    guest: &Guest,
) -> std::result::Result<Figures, String> {
    let mut loaded = case.loaded()?;
    let costs = guest.costs;
    if takes_demand(case, &loaded) {
        take_demand(&mut loaded, &cell.kernel, &costs);
    } else {
        take_calls(&mut loaded, guest.system_call_ns);
    }
    let latency_ns = costs.interrupts.wakeup_ns + costs.context_switch_ns;
    let mut early = EarlyStarts { next_ns: 0, latency_ns };
    take_starts(case, &mut loaded, round, &mut early);
    let mut features = profile.features;
    for word in &loaded.settings.features {
        features.set(word)?;
    }
    for background in &round.background {
        add_background(&mut loaded.workload, background, &costs, &mut early);
    }
    // Debian's: `/sys/kernel/debug/sched/preempt` says so in the guest.
    let preemption = if profile.lazy_preemption { Preemption::Lazy } else { Preemption::Voluntary };
    let config = MachineConfig {
        profile: *profile,
        features,
        base_slice_ns: loaded.settings.base_slice_ns,
        cpus: case.cpus,
        hz: loaded.settings.hz.unwrap_or(HZ),
        smp: slicewise_sched::SmpConfig::default(),
        tick_phase_ns: round.tick_phase_ns % TICK_NS,
        tick_skew_ns: round.tick_skew_ns,
        preemption: loaded.settings.preemption.unwrap_or(preemption),
        costs,
        speed: slicewise_machine::SpeedModel::default(),
        nohz_full: slicewise_sched::CpuSet::Inline(0),
        seed: guest.seed,
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
fn take_demand(loaded: &mut Loaded, kernel: &Summary, costs: &Costs) {
    for group in &loaded.groups {
        let measured = kernel.groups.iter().find(|measured| measured.name == group.name);
        let Some(measured) = measured.filter(|measured| measured.job.count > 0) else { continue };
        let program = loaded.workload.tasks[group.first as usize].program as usize;
        let ops = &mut loaded.workload.programs[program].ops;
        let is_run = |op: &Op| matches!(op, Op::Run { .. });
        let Some(run) = ops.iter().position(is_run) else { continue };
        if ops.iter().filter(|op| is_run(op)).count() == 1 {
            spread_demand(ops, run, measured, costs);
        }
    }
}

/// System calls take time before they do what they are for.
pub(crate) fn take_calls(loaded: &mut Loaded, system_call_ns: u64) {
    for program in &mut loaded.workload.programs {
        let calls = |op: &Op| matches!(op, Op::Barrier(_) | Op::Yield | Op::Timer { .. });
        for at in (0..program.ops.len()).rev() {
            if calls(&program.ops[at]) {
                let work = Dist::Constant(system_call_ns);
                insert(&mut program.ops, at, Op::Run { work, mode: Mode::Kernel });
            }
        }
    }
}

/// What a job takes, before, between and after the threads it makes.
fn spread_demand(ops: &mut Vec<Op>, run: usize, measured: &GroupSummary, costs: &Costs) {
    let wakes = |op: &Op| matches!(op, Op::Fork(_));
    // The switch to it is the first part of a job.
    let (mut at, mut spent_ns) = (run, costs.context_switch_ns);
    for (nth, wake_ns) in measured.wakes_ns.iter().enumerate() {
        let Some(next) = (at + 1..ops.len()).find(|at| wakes(&ops[*at])) else { break };
        let work = Dist::Constant(wake_ns.saturating_sub(spent_ns + costs.wakeup_ns));
        let step = Op::Run { work, mode: Default::default() };
        if nth == 0 {
            ops[run] = step;
            at = next;
        } else {
            insert(ops, next, step);
            at = next + 1;
        }
        spent_ns = wake_ns + costs.wakeup_return_ns;
    }
    let rest = Dist::Constant(measured.demand_ns.saturating_sub(spent_ns));
    let step = Op::Run { work: rest, mode: Default::default() };
    if at == run {
        ops[run] = step;
    } else {
        insert(ops, at + 1, step);
    }
}

/// Puts a step before the one at `at`.
fn insert(ops: &mut Vec<Op>, at: usize, op: Op) {
    let shift = |index: &mut u32| *index += u32::from(*index as usize >= at);
    for op in ops.iter_mut() {
        match op {
            Op::LoopBegin { end, .. } => shift(end),
            Op::LoopEnd { begin } => shift(begin),
            _ => {}
        }
    }
    ops.insert(at, op);
}

/// Tasks that sleep until a given time start before the load, one after the other on an idle machine:
/// timers count from when a task has begun, and so that is known.
#[derive(Debug)]
pub(crate) struct EarlyStarts {
    pub(crate) next_ns: u64,
    /// From its start until a task begins.
    pub(crate) latency_ns: u64,
}

impl EarlyStarts {
    /// Long enough for one to begin and go to sleep.
    const APART_NS: u64 = 100_000;

    /// When a task starts, and when it begins.
    pub(crate) fn take(&mut self) -> (u64, u64) {
        let start_ns = self.next_ns;
        self.next_ns += Self::APART_NS;
        (start_ns, start_ns + self.latency_ns)
    }
}

/// Threads start, and their timers expire, when they did on the kernel. A task with a timer starts
/// early and waits for its first expiry: so that no wait at its start moves it. Threads of the load
/// program sleep first, until all are there.
fn take_starts(case: &Case, loaded: &mut Loaded, round: &Conditions, early: &mut EarlyStarts) {
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
            let priority = task.attr.policy.rt_priority();
            let behind_ns = priority.map_or(0, |priority| 99 - u64::from(priority.get()));
            match (own_timer, thread.expiry_ns, thread.woken_ns) {
                (Some((timer, mode)), Some(expiry_ns), _) => {
                    let (start_ns, begin_ns) = early.take();
                    let period_ns = (expiry_ns + behind_ns).saturating_sub(begin_ns);
                    task.start_ns = start_ns;
                    prepend(workload, index, Op::Timer { timer, period_ns, mode });
                }
                (None, _, Some(woken_ns)) if case.scenario.is_some() => {
                    let timer = workload.timers.len() as u32;
                    let name = format!("start of {}", task.name);
                    let (start_ns, begin_ns) = early.take();
                    let period_ns = woken_ns.saturating_sub(begin_ns);
                    task.start_ns = start_ns;
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
pub(crate) fn prepend(workload: &mut Workload, task: u32, op: Op) {
    let task = &mut workload.tasks[task as usize];
    let mut program = workload.programs[task.program as usize].clone();
    insert(&mut program.ops, 0, op);
    task.program = workload.programs.len() as u32;
    workload.programs.push(program);
}

/// A kernel thread, or whoever else ran: woken when it was, runs as long as it did.
pub(crate) fn add_background(
    workload: &mut Workload,
    background: &Background,
    costs: &Costs,
    early: &mut EarlyStarts,
) {
    let timer = workload.timers.len() as u32;
    let name = format!("~{}-{}", background.comm, workload.tasks.len());
    workload.timers.push(TimerSpec { name: name.clone(), shared: false });
    let mut ops = Vec::with_capacity(background.stints.len() * 2);
    let (start_ns, mut last_ns) = early.take();
    for stint in &background.stints {
        let period_ns = stint.woken_ns.saturating_sub(last_ns);
        last_ns = last_ns.max(stint.woken_ns);
        ops.push(Op::Timer { timer, period_ns, mode: TimerMode::Absolute });
        // A switch is in it.
        let run_ns = stint.run_ns.saturating_sub(costs.context_switch_ns);
        ops.push(Op::Run { work: Dist::Constant(run_ns), mode: Default::default() });
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
        start_ns,
        group: None,
        template: false,
        rttime: None,
        memory: slicewise_machine::TaskMemory::default(),
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
            Event::Wakeup { task, .. } => self.figures.wakeup(now_ns, id(*task), None),
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
    use slicewise_machine::{Costs, Dist, Mode, Op};

    use super::{Guest, group_of, spread_demand};
    use crate::figures::GroupSummary;

    #[test]
    fn a_cost_is_set_by_name_and_others_are_refused_with_what_there_is() {
        let mut guest = Guest::of("6.12");
        guest.set("call=1800").unwrap();
        guest.set("pick-slice=0").unwrap();
        assert_eq!((guest.system_call_ns, guest.costs.interrupts.slice_timer_ns), (1_800, 0));
        for wrong in ["call", "call=", "call=-1", "calls=1"] {
            let error = guest.set(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("pick-wakeup"), "{error}");
        }
    }

    #[test]
    fn a_job_is_split_where_it_makes_threads_and_loops_stay_what_they_were() {
        let run = |ns| Op::Run { work: Dist::Constant(ns), mode: Mode::User };
        let mut ops = vec![
            Op::LoopBegin { count: None, end: 4 },
            run(1),
            Op::Fork(0),
            Op::Fork(0),
            Op::LoopEnd { begin: 0 },
        ];
        let measured = GroupSummary {
            demand_ns: 400_000,
            wakes_ns: vec![100_000, 250_000],
            ..GroupSummary::default()
        };
        let costs = Costs {
            context_switch_ns: 7_000,
            wakeup_ns: 2_000,
            wakeup_return_ns: 6_000,
            ..Costs::NONE
        };
        spread_demand(&mut ops, 1, &measured, &costs);
        let wanted = [
            Op::LoopBegin { count: None, end: 6 },
            run(91_000),
            Op::Fork(0),
            run(142_000),
            Op::Fork(0),
            run(144_000),
            Op::LoopEnd { begin: 0 },
        ];
        assert_eq!(format!("{ops:?}"), format!("{wanted:?}"));
    }

    #[test]
    fn instances_belong_to_their_task() {
        let names = ["a-1".to_owned(), "hog".to_owned()];
        assert_eq!(group_of(&names, "a-1"), Some(0));
        assert_eq!(group_of(&names, "hog-12"), Some(1));
        assert_eq!(group_of(&names, "hog-x"), None);
    }
}
