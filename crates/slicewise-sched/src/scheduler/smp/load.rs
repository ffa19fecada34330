//! Load averages of tasks and queues: when they are brought up to date, and where tasks count
//! (fair.md F).
//!
//! Kept where something depends on them: on several CPUs, and for flat groups.
//!
//! *Simplifications*: a task that leaves a CPU while asleep is taken out of that CPU's averages at
//! once, not at its next update. Entities of groups have no averages of their own: of what a task brings
//! to its group, or takes away, the utilisation shows in the CPU's at once and the load by the group's
//! part of it (fair.md D.3, D.4 keep averages on every level).

use super::super::groups::Level;
use super::super::{Cpu, Scheduler};
use crate::pelt::{LoadAverage, Signals};
use crate::task::ROOT;
use crate::weight::scale_down;
use crate::{Class, Feature};

/// Counted nowhere.
const NOWHERE: u32 = u32::MAX;
/// Added to a CPU: its root queue. Numbers of groups' queues are below.
const ROOT_OF: u32 = 1 << 31;
/// No list.
const NONE: u32 = u32::MAX;
/// Estimates of utilisation ignore differences below 1 %.
const ESTIMATE_MARGIN: u64 = 10;
/// An idle CPU's averages are aged when they are older than that.
const BLOCKED_NS: u64 = 32_000_000;

/// What is known of a task's past.
#[derive(Clone, Debug)]
pub(in super::super) struct TaskLoad {
    average: LoadAverage,
    /// Whose average it is part of: a group's queue, a CPU's root queue, or nobody's.
    counted: u32,
    /// What it may use when it wakes (util_est).
    estimate: u32,
    /// Its averages go back to its start.
    begun: bool,
    /// They have changed since the estimate was made.
    changed: bool,
    /// Its estimate is part of its CPU's.
    estimated: bool,
    /// In the list of its CPU, most recently run first.
    list: u32,
    newer: u32,
    older: u32,
    /// How often it has woken another task than the last time, halved every second (G.2).
    pub(super) flips: u32,
    pub(super) last_wakee: u32,
    pub(super) flips_ns: u64,
    /// Where it was before its previous CPU (G.2).
    pub(super) recent_cpu: u32,
}

impl TaskLoad {
    pub(in super::super) fn new() -> Self {
        Self {
            average: LoadAverage::default(),
            counted: NOWHERE,
            estimate: 0,
            begun: false,
            changed: false,
            estimated: false,
            list: NONE,
            newer: NONE,
            older: NONE,
            flips: 0,
            last_wakee: NONE,
            flips_ns: 0,
            recent_cpu: NONE,
        }
    }
}

/// A CPU's averages, and its fair tasks.
#[derive(Clone, Debug)]
pub(in super::super) struct CpuLoad {
    average: LoadAverage,
    /// Utilisation by real-time and deadline tasks.
    above: LoadAverage,
    /// Σ of the estimates of tasks queued.
    estimate: u64,
    newest: u32,
    oldest: u32,
}

/// All averages.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Loads {
    on: bool,
    /// By slot.
    pub(super) tasks: Vec<TaskLoad>,
    cpus: Vec<CpuLoad>,
}

impl Loads {
    pub(in super::super) fn new(cpus: u32, flat: bool) -> Self {
        let on = cpus > 1 || flat;
        let cpu = CpuLoad {
            average: LoadAverage::default(),
            above: LoadAverage::default(),
            estimate: 0,
            newest: NONE,
            oldest: NONE,
        };
        Self { on, tasks: Vec::new(), cpus: if on { vec![cpu; cpus as usize] } else { Vec::new() } }
    }

    /// Whether averages matter.
    #[inline(always)]
    pub(in super::super) fn on(&self) -> bool {
        self.on
    }

    /// The slot belongs to a new task.
    pub(in super::super) fn begin(&mut self, slot: u32) {
        if !self.on {
            return;
        }
        self.unlist(slot);
        if self.tasks.len() <= slot as usize {
            self.tasks.resize(slot as usize + 1, TaskLoad::new());
        }
        self.tasks[slot as usize] = TaskLoad::new();
    }

    /// Makes room.
    pub(in super::super) fn reserve(&mut self, tasks: usize) {
        if self.on {
            self.tasks.reserve(tasks.saturating_sub(self.tasks.len()));
        }
    }

    /// To the head of its CPU's list.
    #[inline]
    fn enlist(&mut self, slot: u32, cpu: u32) {
        if self.cpus[cpu as usize].newest == slot {
            return;
        }
        self.unlist(slot);
        let list = &mut self.cpus[cpu as usize];
        let second = core::mem::replace(&mut list.newest, slot);
        match self.tasks.get_mut(second as usize) {
            Some(task) => task.newer = slot,
            None => list.oldest = slot,
        }
        let task = &mut self.tasks[slot as usize];
        (task.list, task.newer, task.older) = (cpu, NONE, second);
    }

    /// Off the list it is in, if any.
    #[inline]
    fn unlist(&mut self, slot: u32) {
        let Some(task) = self.tasks.get_mut(slot as usize) else { return };
        if task.list == NONE {
            return;
        }
        let (cpu, newer, older) = (task.list, task.newer, task.older);
        (task.list, task.newer, task.older) = (NONE, NONE, NONE);
        match self.tasks.get_mut(newer as usize) {
            Some(task) => task.older = older,
            None => self.cpus[cpu as usize].newest = older,
        }
        match self.tasks.get_mut(older as usize) {
            Some(task) => task.newer = newer,
            None => self.cpus[cpu as usize].oldest = newer,
        }
    }

    /// Who has waited longest since it ran on a CPU. Tasks that have left their queue since may
    /// still be here.
    pub(super) fn oldest(&self, cpu: u32) -> Option<u32> {
        let slot = self.cpus.get(cpu as usize)?.oldest;
        (slot != NONE).then_some(slot)
    }

    /// Fair tasks of a CPU; some may have left its queue since.
    pub(super) fn listed(&self, cpu: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.oldest(cpu);
        core::iter::from_fn(move || {
            let slot = next?;
            let newer = self.tasks[slot as usize].newer;
            next = (newer != NONE).then_some(newer);
            Some(slot)
        })
    }

    /// Utilisation of a CPU by fair tasks, and as estimated of those queued.
    pub(super) fn utils_of_cpu(&self, cpu: u32) -> (u64, u64) {
        let load = &self.cpus[cpu as usize];
        (load.average.util_avg(), load.estimate)
    }

    /// The same of a task.
    pub(super) fn utils_of_task(&self, slot: u32) -> (u64, u64) {
        let task = &self.tasks[slot as usize];
        (task.average.util_avg(), task.estimate.into())
    }

    /// Whether a task is part of its CPU's averages.
    pub(super) fn is_counted(&self, slot: u32) -> bool {
        self.counted_on(slot).is_some()
    }

    /// A task that was looked at goes to the head.
    pub(super) fn renew(&mut self, slot: u32, cpu: u32) {
        self.enlist(slot, cpu);
    }

    /// A task in the list is no longer queued.
    pub(super) fn drop_listed(&mut self, slot: u32) {
        self.unlist(slot);
    }

    fn counted_on(&self, slot: u32) -> Option<u32> {
        let counted = self.tasks.get(slot as usize)?.counted;
        (counted != NOWHERE).then_some(counted)
    }
}

fn number_of(level: Level) -> u32 {
    if level.queue == ROOT { ROOT_OF | level.cpu } else { level.queue }
}

fn root_signals(rq: &Cpu) -> Signals {
    Signals {
        load: scale_down(rq.fair.load_weight()),
        runnable: rq.nr_fair_runnable().into(),
        running: rq.fair.curr().is_some(),
    }
}

impl Scheduler {
    /// The averages of a CPU's root queue.
    #[inline]
    pub(in super::super) fn update_root_load(&mut self, now_ns: u64, cpu: u32) {
        let load = &mut self.loads.cpus[cpu as usize];
        if !load.average.is_current(now_ns) {
            load.average.update(now_ns, 1, root_signals(&self.cpus[cpu as usize]));
        }
    }

    /// Brings a task up to now, before what it does changes.
    #[inline]
    pub(in super::super) fn note_load(&mut self, now_ns: u64, slot: u32) {
        let cpu = self.tasks.slots[slot as usize].cpu;
        let running = self.cpus[cpu as usize].current == Some(slot);
        self.note_load_of(now_ns, slot, running);
    }

    /// The same, where it is known whether the task has been running, if it is queued.
    #[inline]
    fn note_load_of(&mut self, now_ns: u64, slot: u32, running: bool) {
        let Some(task) = self.loads.tasks.get(slot as usize) else { return };
        if task.average.is_current(now_ns) {
            return;
        }
        let weight = scale_down(self.own_weight(slot));
        let entity = &self.entities[slot as usize];
        let signals = Signals {
            load: u64::from(entity.on_rq),
            runnable: u64::from(entity.on_rq && !entity.delayed),
            running: entity.on_rq && running,
        };
        let task = &mut self.loads.tasks[slot as usize];
        task.changed |= task.average.update(now_ns, weight, signals);
    }

    /// A task is about to be queued on this level.
    #[inline]
    pub(in super::super) fn load_arrives(&mut self, now_ns: u64, slot: u32, level: Level) {
        if !self.loads.on {
            return;
        }
        let counted = self.loads.tasks[slot as usize].counted;
        self.update_level_load(now_ns, level);
        if counted == number_of(level) {
            self.note_load(now_ns, slot);
        } else {
            self.attach_load(now_ns, slot, level);
        }
        let load = &mut self.loads;
        let task = &mut load.tasks[slot as usize];
        if !core::mem::replace(&mut task.estimated, true) {
            load.cpus[level.cpu as usize].estimate += u64::from(task.estimate);
        }
        load.enlist(slot, level.cpu);
    }

    /// A task begins to count on this level, and no longer where it did.
    #[inline(never)]
    fn attach_load(&mut self, now_ns: u64, slot: u32, level: Level) {
        self.detach_load(now_ns, slot);
        let weight = scale_down(self.own_weight(slot));
        let mut average = self.loads.tasks[slot as usize].average;
        if !self.loads.tasks[slot as usize].begun {
            let root = self.loads.cpus[level.cpu as usize].average;
            let queue = self.groups.average_of(level).unwrap_or(root);
            let capacity = self.smp.capacity_of(level.cpu);
            average = LoadAverage::of_new_task(now_ns, weight, &queue, capacity);
        }
        match self.groups.average_of_mut(level) {
            Some(queue) => {
                queue.attach(&mut average, weight);
                self.publish_level(now_ns, level);
                let part = self.part_of_load(level, average.load_avg());
                let root = &mut self.loads.cpus[level.cpu as usize].average;
                root.shift(part as i64, average.runnable_avg() as i64, average.util_avg() as i64);
            }
            None => self.loads.cpus[level.cpu as usize].average.attach(&mut average, weight),
        }
        let task = &mut self.loads.tasks[slot as usize];
        (task.average, task.counted, task.begun) = (average, number_of(level), true);
    }

    /// A task counts nowhere any more: it moves, changes group or class, or has ended.
    pub(in super::super) fn detach_load(&mut self, now_ns: u64, slot: u32) {
        let Some(counted) = self.loads.counted_on(slot) else { return };
        self.leave_estimate(slot);
        self.loads.unlist(slot);
        let weight = scale_down(self.own_weight(slot));
        let level = match counted & ROOT_OF != 0 {
            true => Level { cpu: counted & !ROOT_OF, queue: ROOT },
            false => Level { cpu: self.groups.cpu_of(counted), queue: counted },
        };
        self.update_level_load(now_ns, level);
        if !self.entities[slot as usize].on_rq {
            self.note_load(now_ns, slot);
        }
        let task = &mut self.loads.tasks[slot as usize];
        task.counted = NOWHERE;
        let average = task.average;
        let part = self.part_of_load(level, average.load_avg());
        match self.groups.average_of_mut(level) {
            Some(queue) => {
                queue.detach(&average, weight);
                self.publish_level(now_ns, level);
                let root = &mut self.loads.cpus[level.cpu as usize].average;
                root.shift(
                    -(part as i64),
                    -(average.runnable_avg() as i64),
                    -(average.util_avg() as i64),
                );
            }
            None => self.loads.cpus[level.cpu as usize].average.detach(&average, weight),
        }
    }

    /// A task leaves its queue, or goes to sleep and may stay on it for a while.
    #[inline]
    pub(in super::super) fn load_leaves(&mut self, now_ns: u64, slot: u32, sleeps: bool) {
        if !self.loads.on {
            return;
        }
        self.note_load(now_ns, slot);
        self.leave_estimate(slot);
        if sleeps && self.params.has(Feature::UTIL_EST) {
            self.loads.tasks[slot as usize].estimate_again();
        }
    }

    #[inline]
    fn leave_estimate(&mut self, slot: u32) {
        let cpu = self.tasks.slots[slot as usize].cpu;
        let task = &mut self.loads.tasks[slot as usize];
        if core::mem::replace(&mut task.estimated, false) {
            let sum = &mut self.loads.cpus[cpu as usize].estimate;
            *sum = sum.saturating_sub(task.estimate.into());
        }
    }

    /// A task is no longer queued.
    #[inline]
    pub(in super::super) fn load_left(&mut self, slot: u32) {
        if self.loads.on {
            self.loads.unlist(slot);
        }
    }

    /// Averages before and after a switch, at the root; groups' queues have theirs brought up to
    /// date where they are switched.
    #[inline]
    pub(in super::super) fn load_switches(
        &mut self,
        now_ns: u64,
        cpu: u32,
        prev: Option<u32>,
        next: Option<u32>,
    ) {
        let class = |slot: u32| self.tasks.slots[slot as usize].class;
        let (from, to) = (prev.map(class), next.map(class));
        if from == Some(Class::Fair) || to == Some(Class::Fair) {
            self.update_root_load(now_ns, cpu);
        }
        if let Some(slot) =
            prev.filter(|slot| from == Some(Class::Fair) && self.entities[*slot as usize].on_rq)
        {
            self.note_load_of(now_ns, slot, true);
        }
        if let Some(slot) = next.filter(|_| to == Some(Class::Fair)) {
            self.note_load_of(now_ns, slot, false);
            self.loads.enlist(slot, cpu);
        }
        if from.is_some_and(|class| class < Class::Fair)
            || to.is_some_and(|class| class < Class::Fair)
        {
            self.note_above(now_ns, cpu);
        }
    }

    /// Utilisation by classes above the fair one.
    pub(in super::super) fn note_above(&mut self, now_ns: u64, cpu: u32) {
        if !self.loads.on {
            return;
        }
        let current = self.cpus[cpu as usize].current;
        let running = current.is_some_and(|slot| {
            matches!(self.tasks.slots[slot as usize].class, Class::Rt | Class::Deadline)
        });
        let load = u64::from(running);
        let signals = Signals { load, runnable: load, running };
        self.loads.cpus[cpu as usize].above.update(now_ns, 1, signals);
    }

    /// The running task of a CPU at its tick.
    #[inline]
    pub(in super::super) fn load_ticks(&mut self, now_ns: u64, cpu: u32) {
        self.update_root_load(now_ns, cpu);
        if let Some(slot) = self.cpus[cpu as usize].current {
            match self.tasks.slots[slot as usize].class {
                Class::Fair => self.note_load(now_ns, slot),
                _ => self.note_above(now_ns, cpu),
            }
        }
    }

    /// Ages the averages of an idle CPU that nothing else brings up to date (at most every 32 ms).
    pub(super) fn age_idle_load(&mut self, now_ns: u64, cpu: u32) {
        let average = &self.loads.cpus[cpu as usize].average;
        if average.is_older(now_ns, BLOCKED_NS) && self.idle.contains(cpu) {
            self.update_root_load(now_ns, cpu);
            self.note_above(now_ns, cpu);
        }
    }

    /// A level's averages.
    #[inline]
    fn update_level_load(&mut self, now_ns: u64, level: Level) {
        if level.queue != ROOT {
            self.update_average(now_ns, level);
        }
        self.update_root_load(now_ns, level.cpu);
    }

    /// What of a load in a group's queue shows at the root (fair.md D.3).
    pub(super) fn part_of_load(&self, level: Level, load: u64) -> u64 {
        let mut load = load;
        let mut level = level;
        while let Some((entity, above)) = self.groups.above(level) {
            let own = self.groups.average_of(level).map_or(0, |average| average.load_avg());
            let weight = scale_down(self.entities[entity as usize].load.weight);
            // The group's entity weighs that much where it is queued.
            load = load.saturating_mul(weight.min(own.max(1))) / (own + 1);
            level = above;
        }
        load
    }

    /// Load average of the fair tasks of a CPU.
    #[inline]
    pub(super) fn cpu_load(&self, cpu: u32) -> u64 {
        self.loads.cpus[cpu as usize].average.load_avg()
    }

    pub(super) fn cpu_runnable(&self, cpu: u32) -> u64 {
        self.loads.cpus[cpu as usize].average.runnable_avg()
    }

    /// Utilisation of a CPU by its fair tasks, as estimated.
    pub(super) fn cpu_util(&self, cpu: u32) -> u64 {
        let load = &self.loads.cpus[cpu as usize];
        load.average.util_avg().max(load.estimate).min(self.smp.capacity_of(cpu))
    }

    /// Utilisation of a CPU by classes above the fair one.
    pub(super) fn util_above(&self, cpu: u32) -> u64 {
        self.loads.cpus[cpu as usize].above.util_avg()
    }

    /// The load of a task as it counts on its CPU (fair.md D.3).
    pub(super) fn task_load(&self, slot: u32) -> u64 {
        let load = self.loads.tasks[slot as usize].average.load_avg();
        if self.groups.any() { self.part_of_load(self.home_of(slot), load) } else { load }
    }

    /// The utilisation of a task, as estimated.
    pub(super) fn task_util(&self, slot: u32) -> u64 {
        let task = &self.loads.tasks[slot as usize];
        task.average.util_avg().max(task.estimate.into())
    }
}

impl TaskLoad {
    /// A task goes to sleep: what it may use next time (F.7).
    fn estimate_again(&mut self) {
        if !core::mem::replace(&mut self.changed, false) {
            return;
        }
        let (estimate, util) = (u64::from(self.estimate), self.average.util_avg());
        let again = match estimate.checked_sub(util) {
            None | Some(0) => util,
            Some(less) if less < ESTIMATE_MARGIN => estimate,
            Some(_) if util + ESTIMATE_MARGIN < self.average.runnable_avg() => estimate,
            Some(less) => (4 * estimate - less) / 4,
        };
        self.estimate = again as u32;
    }
}
