//! Responses and verdicts, CPU by CPU, and for tasks that may use any CPU.

use std::cmp::Reverse;

use crate::budget::Budget;
use crate::check::{CoreVerdict, Settled, TaskVerdict, bounds, bounds_apply};
use crate::cpu::{Core, all};
use crate::edf::{Demand, processor_demand, response_times};
use crate::fixed::Response;
use crate::global::{Carried, GlobalTask, global_response_ns, passes_gfb, tardiness_bound_ns};
use crate::model::{Load, Policy};
use crate::ratio;
use crate::schedule::{Entry, Rank, Schedule};

/// Steps for looking for a counterexample on several CPUs.
const REFUTATION_WORK: u64 = 5_000_000;

struct Run<'a, 's> {
    settled: &'a Settled<'s>,
    tasks: &'a mut [TaskVerdict],
    budget: &'a mut Budget,
    extra: &'a mut Budget,
    part: u64,
}

pub(crate) fn analyse(
    settled: &Settled<'_>,
    tasks: &mut [TaskVerdict],
    budget: &mut Budget,
    extra: &mut Budget,
    part: u64,
) -> Vec<CoreVerdict> {
    let mut run = Run { settled, tasks, budget, extra, part };
    let cores = settled.cores();
    let several = settled.set.cpus > 1;
    let mut verdicts: Vec<CoreVerdict> =
        cores.iter().map(|core| run.verdict(Some(*core))).collect();
    for verdict in &mut verdicts {
        verdict.demand = run.deadline_tasks(verdict.core.unwrap_or(0));
    }
    if several {
        let (edf, fixed) = settled.members(None);
        if !edf.is_empty() || !fixed.is_empty() {
            let mut verdict = run.verdict(None);
            run.global_deadline_tasks(&edf, &mut verdict);
            verdicts.push(verdict);
        }
    }
    run.fixed_tasks();
    run.too_small_reservations();
    run.unknowns();
    for verdict in &mut verdicts {
        verdict.meets = all(verdict.tasks.iter().map(|at| run.tasks[*at].meets));
    }
    verdicts
}

impl Run<'_, '_> {
    fn verdict(&self, core: Option<u32>) -> CoreVerdict {
        let (edf, fixed) = self.settled.members(core);
        let mut tasks = [edf, fixed].concat();
        tasks.sort_unstable();
        let cpus = if core.is_some() { 1 } else { self.settled.set.cpus };
        let loads: Vec<Load> = tasks.iter().map(|at| self.settled.load(*at)).collect();
        let (liu_layland_ppb, liu_layland, hyperbolic) = bounds(self.settled, &tasks);
        CoreVerdict {
            core,
            cpus,
            fits: ratio::fits(&loads, u64::from(cpus)),
            liu_layland_ppb,
            liu_layland,
            hyperbolic,
            bounds_apply: core.is_some() && bounds_apply(self.settled, &tasks),
            tasks,
            demand: None,
            gfb: None,
            tardiness_ns: None,
            meets: None,
        }
    }

    fn note(&mut self, at: usize, note: impl Into<String>) {
        self.tasks[at].note.get_or_insert_with(|| note.into());
    }

    /// EDF on one CPU.
    fn deadline_tasks(&mut self, core: u32) -> Option<Demand> {
        let (model, edf, _) = self.settled.core(core);
        if edf.is_empty() {
            return None;
        }
        let mut part = self.budget.part(self.part);
        let demand = processor_demand(&model.edf, &mut part);
        self.budget.give_back(part);
        let mut part = self.extra.part(self.extra.left() / 3);
        let responses = response_times(&model.edf, &mut part);
        self.extra.give_back(part);
        for (place, (at, response)) in edf.iter().zip(responses).enumerate() {
            let task = &model.edf[place];
            let verdict = &mut self.tasks[*at];
            verdict.response_bound_ns = response;
            verdict.exact = response.is_some();
            verdict.meets = match (demand, response) {
                (Demand::Overload, _) => Some(false),
                (Demand::Fits, _) => Some(true),
                (_, Some(response)) => Some(response <= task.deadline_ns),
                // The interval that is too short for its demand holds jobs of these tasks only.
                (Demand::Exceeds { interval_ns, .. }, None) => {
                    let from_ready = task.deadline_ns.saturating_sub(task.load.jitter_ns);
                    (from_ready <= interval_ns).then_some(false)
                }
                (Demand::Undecided, None) => None,
            };
            if verdict.response_bound_ns.is_none() && verdict.meets == Some(true) {
                // What the demand test proves is as good a bound as any.
                verdict.response_bound_ns = Some(task.deadline_ns);
            }
            if verdict.meets.is_none() {
                self.note(*at, "not decided: the work allowed for the demand test was not enough");
            } else if demand == Demand::Overload {
                self.note(*at, "the deadline tasks need more than the CPU");
            }
        }
        Some(demand)
    }

    /// EDF on all CPUs.
    fn global_deadline_tasks(&mut self, edf: &[usize], verdict: &mut CoreVerdict) {
        let set = self.settled.set;
        if edf.is_empty() {
            return;
        }
        let pinned = (0..set.tasks.len())
            .find(|at| self.settled.is_deadline(*at) && self.settled.core_of(*at).is_some());
        if let Some(pinned) = pinned {
            let pinned = &self.settled.task(pinned).name;
            let note = format!(
                "deadline tasks with and without a core ({pinned}) are not analysed together"
            );
            for at in edf {
                self.note(*at, note.clone());
            }
            return;
        }
        let model: Vec<GlobalTask> = edf.iter().map(|at| self.global_task(*at)).collect();
        let passes = passes_gfb(&model, set.cpus);
        let tardiness = tardiness_bound_ns(&model, set.cpus);
        (verdict.gfb, verdict.tardiness_ns) = (passes, tardiness);
        let blocked = edf.iter().any(|at| self.settled.task(*at).blocking_ns > 0);
        if passes == Some(true) && !blocked {
            for at in edf {
                let deadline_ns = self.settled.task(*at).deadline_ns;
                let verdict = &mut self.tasks[*at];
                (verdict.meets, verdict.response_bound_ns) = (Some(true), Some(deadline_ns));
            }
            return;
        }
        let late = self.refute(edf, |_| Rank::Deadline);
        let overload = verdict.fits == Some(false);
        for (at, task) in edf.iter().zip(&model) {
            let own = self.settled.task(*at);
            let plain = own.jitter_ns == 0 && !blocked && own.deadline_ns >= own.period_ns;
            let implicit = tardiness.filter(|_| plain);
            let bound = implicit.map(|tardiness| own.period_ns.saturating_add(tardiness));
            let verdict = &mut self.tasks[*at];
            verdict.response_bound_ns = bound;
            verdict.meets = match bound {
                Some(bound) if bound <= own.deadline_ns => Some(true),
                _ if task.wcet_ns > task.deadline_ns || overload => Some(false),
                _ => (late == Some(*at)).then_some(false),
            };
            self.note(
                *at,
                match (late == Some(*at), bound) {
                    (true, _) => "late when all are released together",
                    (_, Some(_)) => "not proven: only how late it can be is bounded",
                    _ => "neither proven nor refuted: the tests for several CPUs are not exact",
                },
            );
        }
    }

    fn global_task(&self, at: usize) -> GlobalTask {
        let (task, load) = (self.settled.task(at), self.settled.load(at));
        GlobalTask {
            wcet_ns: load.wcet_ns,
            period_ns: load.period_ns,
            deadline_ns: task.deadline_ns.saturating_sub(task.jitter_ns),
        }
    }

    /// Runs these tasks alone, released together; the first one that is late, if any is soon.
    fn refute(&mut self, members: &[usize], rank: impl Fn(usize) -> Rank) -> Option<usize> {
        let entry = |at: &usize| Entry {
            load: self.settled.load(*at),
            deadline_ns: self.settled.task(*at).deadline_ns,
            rank: rank(*at),
            first_ns: 0,
            once: false,
        };
        let entries: Vec<Entry> = members.iter().map(entry).collect();
        let mut schedule = Schedule::new(&entries, self.settled.set.cpus, false);
        let mut part = self.extra.part(REFUTATION_WORK);
        schedule.run(1 << 60, true, |_| false, &mut part);
        self.extra.give_back(part);
        schedule.jobs.last().map(|job| members[job.task])
    }

    /// Fixed priorities, from the most to the least important: what is known of a task helps with
    /// those below it.
    fn fixed_tasks(&mut self) {
        let mut order: Vec<usize> =
            (0..self.tasks.len()).filter(|at| !self.settled.is_deadline(*at)).collect();
        order.sort_by_key(|at| Reverse(self.settled.priorities[*at]));
        let visitors = order.iter().any(|at| self.settled.core_of(*at).is_none())
            || (0..self.tasks.len()).any(|at| self.settled.core_of(at).is_none());
        let mut cores: Vec<(u32, Core, Vec<usize>)> = Vec::new();
        for core in self.settled.cores() {
            let (model, _, fixed) = self.settled.core(core);
            cores.push((core, model, fixed));
        }
        for at in &order {
            match self.settled.core_of(*at) {
                Some(core) => {
                    let Ok(place) = cores.binary_search_by_key(&core, |(core, ..)| *core) else {
                        continue;
                    };
                    let (_, model, fixed) = &mut cores[place];
                    let Ok(own) = fixed.binary_search(at) else { continue };
                    if visitors {
                        model.visitors.resize(fixed.len(), Vec::new());
                        model.visitors[own] = self.visitors(*at);
                    }
                    self.pinned_task(*at, own, model);
                }
                None => self.global_task_response(*at),
            }
        }
        self.refute_global(&order);
        self.withdraw(&order);
    }

    fn pinned_task(&mut self, at: usize, own: usize, model: &Core) {
        let mut part = self.budget.part(self.part);
        let response = model.response(own, &mut part);
        self.budget.give_back(part);
        let deadline_ns = self.settled.task(at).deadline_ns;
        let verdict = &mut self.tasks[at];
        verdict.response_bound_ns = response.bound_ns();
        verdict.meets = response.meets(deadline_ns);
        verdict.exact = model.is_exact(own) && response.bound_ns().is_some();
        let note = match response {
            Response::Unbounded => Some("it and what is above it need more than the CPU"),
            Response::Undecided { .. } if verdict.meets.is_none() => {
                Some("not decided: the busy period is too long to be followed")
            }
            Response::Undecided { .. } => Some("late, by how much was not followed to the end"),
            Response::Bound { .. } if !model.is_exact(own) => Some("safe, perhaps not reached"),
            Response::Bound { .. } => None,
        };
        if let Some(note) = note {
            self.note(at, note);
        }
    }

    /// Everything that may run on any CPU and is as important as this task or more.
    fn may_be_before(&self, at: usize, other: usize) -> bool {
        other != at
            && (self.settled.is_deadline(other)
                || self.settled.priorities[other] >= self.settled.priorities[at])
    }

    fn response_or_deadline(&self, at: usize) -> u64 {
        let deadline_ns = self.settled.task(at).deadline_ns;
        self.tasks[at].response_bound_ns.unwrap_or(deadline_ns)
    }

    /// Work that comes in from tasks without a CPU of their own, late by as much as those can wait
    /// elsewhere.
    fn visitors(&self, at: usize) -> Vec<Load> {
        let others = (0..self.tasks.len()).filter(|other| {
            self.settled.core_of(*other).is_none() && self.may_be_before(at, *other)
        });
        let visitor = |other: usize| {
            let load = self.settled.load(other);
            let jitter_ns = self.response_or_deadline(other).saturating_sub(load.wcet_ns);
            Load { jitter_ns, ..load }
        };
        others.map(visitor).collect()
    }

    fn global_task_response(&mut self, at: usize) {
        let own = self.settled.task(at);
        let others = (0..self.tasks.len()).filter(|other| self.may_be_before(at, *other));
        let carried: Vec<Carried> = others
            .map(|other| Carried {
                load: self.settled.load(other),
                response_ns: self.response_or_deadline(other),
            })
            .collect();
        let (deadline_ns, blocking_ns) = (own.deadline_ns, own.blocking_ns);
        let (load, cpus) = (self.settled.load(at), self.settled.set.cpus);
        let mut part = self.budget.part(self.part);
        let response =
            global_response_ns(load, deadline_ns, blocking_ns, &carried, cpus, &mut part);
        self.budget.give_back(part);
        let verdict = &mut self.tasks[at];
        verdict.response_bound_ns = response;
        verdict.meets = response.map(|_| true);
        if load.wcet_ns + blocking_ns + load.jitter_ns > deadline_ns {
            verdict.meets = Some(false);
        }
        self.note(
            at,
            match response {
                Some(_) => "safe, perhaps not reached",
                None => "neither proven nor refuted: the tests for several CPUs are not exact",
            },
        );
    }

    /// A set that has no task with a CPU of its own can be refuted by an example.
    fn refute_global(&mut self, order: &[usize]) {
        let everywhere = (0..self.tasks.len()).all(|at| self.settled.core_of(at).is_none());
        let open = order.iter().any(|at| self.tasks[*at].meets.is_none());
        if !everywhere || !open || self.settled.set.cpus < 2 {
            return;
        }
        let all: Vec<usize> = (0..self.tasks.len()).collect();
        let rank = |at: usize| match self.settled.is_deadline(at) {
            true => Rank::Deadline,
            false => Rank::Fixed(self.settled.priorities[at]),
        };
        let ranks: Vec<Rank> = all.iter().map(|at| rank(*at)).collect();
        if let Some(late) = self.refute(&all, |at| ranks[at]) {
            let verdict = &mut self.tasks[late];
            verdict.meets = Some(false);
            verdict.note = Some("late when all are released together".to_owned());
        }
    }

    /// Bounds that used others' deadlines as their responses hold only if those are met.
    fn withdraw(&mut self, order: &[usize]) {
        if self.settled.set.cpus == 1 {
            return;
        }
        loop {
            let mut changed = false;
            for at in order {
                let relied = (0..self.tasks.len()).find(|other| self.relies_in_vain(*at, *other));
                if let Some(relied) = relied
                    && self.tasks[*at].meets == Some(true)
                {
                    let note = format!("no bound is known for {}", self.settled.task(relied).name);
                    self.undecided(*at, note);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// The bound of `at` takes the other's deadline for its response, but that is not proven.
    fn relies_in_vain(&self, at: usize, other: usize) -> bool {
        let elsewhere = self.settled.core_of(at).is_none() || self.settled.core_of(other).is_none();
        let equal = !self.settled.is_deadline(other)
            && self.settled.priorities[other] == self.settled.priorities[at];
        let known = self.tasks[other].response_bound_ns.is_some() && !equal;
        let met = self.tasks[other].meets == Some(true);
        elsewhere && self.may_be_before(at, other) && !known && !met
    }

    fn undecided(&mut self, at: usize, note: String) {
        let verdict = &mut self.tasks[at];
        (verdict.meets, verdict.response_bound_ns) = (None, None);
        (verdict.exact, verdict.note) = (false, Some(note));
    }

    /// A reservation that is too small stops its task before a job is done.
    fn too_small_reservations(&mut self) {
        for at in 0..self.tasks.len() {
            let task = self.settled.task(at);
            if self.settled.is_deadline(at) && task.reserved_ns() < task.wcet_ns {
                self.undecided(at, "its reservation is smaller than its work".to_owned());
                self.tasks[at].meets = Some(false);
            }
        }
    }

    /// What a task of unknown demand could delay is not known either.
    fn unknowns(&mut self) {
        for at in 0..self.tasks.len() {
            let own_core = self.settled.core_of(at);
            let in_the_way = self.settled.set.unknown.iter().find(|unknown| {
                let same = self.settled.set.cpus == 1
                    || own_core.is_none()
                    || unknown.core.is_none()
                    || unknown.core == own_core;
                let before = unknown.policy == Policy::Deadline
                    || !self.settled.is_deadline(at)
                        && unknown.priority.unwrap_or(99) >= self.settled.priorities[at];
                same && before
            });
            if let Some(unknown) = in_the_way
                && self.tasks[at].meets != Some(false)
            {
                let note = format!("{} may delay it, and its demand is not known", unknown.name);
                self.undecided(at, note);
            }
        }
    }
}
