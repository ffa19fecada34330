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
use crate::fair::Past;
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

/// A fair task of a CPU.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Member {
    /// Grows with the time it came or began to run last.
    stamp: u64,
    pub(super) slot: u32,
}

/// A CPU's averages, and its fair tasks.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(in super::super) struct CpuLoad {
    average: LoadAverage,
    /// Σ of the estimates of tasks queued.
    estimate: u64,
    /// Fair tasks that are queued here, in no order, and some that have been.
    members: Vec<Member>,
}

/// Whether averages are kept, and in which order tasks have run.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Loads {
    on: bool,
    stamp: u64,
}

impl Loads {
    pub(in super::super) fn new(cpus: u32, flat: bool) -> Self {
        Self { on: cpus > 1 || flat, stamp: 0 }
    }

    /// Whether averages matter.
    #[inline(always)]
    pub(in super::super) fn on(&self) -> bool {
        self.on
    }

    /// The task has come to this CPU, or begins to run there. False if it is not in its list yet.
    #[inline(always)]
    pub(in super::super) fn enlist(&mut self, load: &mut CpuLoad, past: &Past, cpu: u32) -> bool {
        self.stamp += 1;
        match load.members.get_mut(past.place as usize) {
            Some(member) if past.list == cpu => {
                member.stamp = self.stamp;
                true
            }
            _ => false,
        }
    }
}

impl Scheduler {
    /// To the end of its CPU's list.
    #[inline]
    fn enlist(&mut self, slot: u32, cpu: u32) {
        let past = &self.entities[slot as usize].past;
        if !self.loads.enlist(&mut self.cpus[cpu as usize].load, past, cpu) {
            self.enlist_anew(slot, cpu);
        }
    }

    /// Into the list of another CPU.
    #[inline(never)]
    pub(in super::super) fn enlist_anew(&mut self, slot: u32, cpu: u32) {
        self.unlist(slot);
        let members = &mut self.cpus[cpu as usize].load.members;
        let past = &mut self.entities[slot as usize].past;
        (past.list, past.place) = (cpu, members.len() as u32);
        members.push(Member { stamp: self.loads.stamp, slot });
    }

    /// Makes room for so many tasks, evenly spread.
    pub(in super::super) fn reserve_lists(&mut self, tasks: usize) {
        if self.loads.on {
            let each = tasks.div_ceil(self.cpus.len());
            for rq in &mut self.cpus {
                let members = &mut rq.load.members;
                members.reserve_exact(each.saturating_sub(members.len()));
            }
        }
    }

    /// Off the list it is in, if any.
    pub(in super::super) fn unlist(&mut self, slot: u32) {
        let Some(entity) = self.entities.get_mut(slot as usize) else { return };
        let list = core::mem::replace(&mut entity.past.list, NONE);
        let place = entity.past.place;
        let Some(rq) = self.cpus.get_mut(list as usize) else { return };
        rq.load.members.swap_remove(place as usize);
        if let Some(moved) = rq.load.members.get(place as usize) {
            self.entities[moved.slot as usize].past.place = place;
        }
    }

    /// Fair tasks of a CPU, in no order; some may have left its queue since.
    pub(super) fn listed(&self, cpu: u32) -> &[Member] {
        &self.cpus[cpu as usize].load.members
    }

    /// Fair tasks of a CPU, who has waited longest since it ran first. Tasks that have left their queue
    /// since may still be here.
    pub(super) fn list_by_age(&self, cpu: u32, list: &mut Vec<Member>) {
        list.clear();
        list.extend_from_slice(self.listed(cpu));
        list.sort_unstable_by_key(|member| member.stamp);
    }

    /// A task that was looked at goes to the end.
    pub(super) fn renew(&mut self, slot: u32, cpu: u32) {
        self.enlist(slot, cpu);
    }

    /// Utilisation of a CPU by fair tasks, and as estimated of those queued.
    pub(super) fn utils_of_cpu(&self, cpu: u32) -> (u64, u64) {
        let load = &self.cpus[cpu as usize].load;
        (load.average.util_avg(), load.estimate)
    }

    /// The same of a task.
    pub(super) fn utils_of_task(&self, slot: u32) -> (u64, u64) {
        let past = &self.entities[slot as usize].past;
        (past.average.util_avg(), past.estimate.into())
    }

    /// Whether a task is part of its CPU's averages.
    pub(super) fn is_counted(&self, slot: u32) -> bool {
        self.entities[slot as usize].past.counted != NOWHERE
    }
}

fn number_of(level: Level) -> u32 {
    if level.queue == ROOT { counted_at_root(level.cpu) } else { level.queue }
}

/// What [`Past::counted`] is for tasks that count in a CPU's root queue.
#[inline]
pub(in super::super) fn counted_at_root(cpu: u32) -> u32 {
    ROOT_OF | cpu
}

impl Cpu {
    /// Brings the averages of the root queue up to now, before what is queued there changes.
    #[inline(always)]
    pub(in super::super) fn update_load(&mut self, now_ns: u64) {
        let Self { fair, below, load, .. } = self;
        let signals = || Signals {
            load: scale_down(fair.load_weight()),
            runnable: fair.nr_runnable.wrapping_add_signed(below.runnable).into(),
            running: fair.curr().is_some(),
        };
        load.average.update_with(now_ns, || 1, signals);
    }
}

impl CpuLoad {
    /// The estimate of a task that is queued here.
    #[inline(always)]
    pub(in super::super) fn join_estimate(&mut self, past: &mut Past) {
        if !core::mem::replace(&mut past.estimated, true) {
            self.estimate += u64::from(past.estimate);
        }
    }

    /// The task is not queued any more, or asleep.
    #[inline(always)]
    pub(in super::super) fn leave_estimate(&mut self, past: &mut Past) {
        if core::mem::replace(&mut past.estimated, false) {
            self.estimate = self.estimate.saturating_sub(past.estimate.into());
        }
    }
}

impl Scheduler {
    /// The averages of a CPU's root queue.
    #[inline]
    pub(in super::super) fn update_root_load(&mut self, now_ns: u64, cpu: u32) {
        self.cpus[cpu as usize].update_load(now_ns);
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
        if !self.loads.on {
            return;
        }
        if self.is_flat() {
            core::hint::cold_path();
            let weight = self.own_weight(slot);
            self.entities[slot as usize].update_past(now_ns, running, |_| weight);
        } else {
            self.entities[slot as usize].update_past(now_ns, running, |load| load.weight);
        }
    }

    /// A task is about to be queued on this level.
    #[inline]
    pub(in super::super) fn load_arrives(&mut self, now_ns: u64, slot: u32, level: Level) {
        if !self.loads.on {
            return;
        }
        let counted = self.entities[slot as usize].past.counted;
        self.update_level_load(now_ns, level);
        if counted == number_of(level) {
            self.note_load(now_ns, slot);
        } else {
            self.attach_load(now_ns, slot, level);
        }
        let load = &mut self.cpus[level.cpu as usize].load;
        load.join_estimate(&mut self.entities[slot as usize].past);
        self.enlist(slot, level.cpu);
    }

    /// A task begins to count on this level, and no longer where it did.
    #[inline(never)]
    fn attach_load(&mut self, now_ns: u64, slot: u32, level: Level) {
        self.detach_load(now_ns, slot);
        let weight = scale_down(self.own_weight(slot));
        let Past { mut average, begun, .. } = self.entities[slot as usize].past;
        if !begun {
            let root = self.cpus[level.cpu as usize].load.average;
            let queue = self.groups.average_of(level).unwrap_or(root);
            let capacity = self.smp.capacity_of(level.cpu);
            average = LoadAverage::of_new_task(now_ns, weight, &queue, capacity);
        }
        match self.groups.average_of_mut(level) {
            Some(queue) => {
                queue.attach(&mut average, weight);
                self.publish_level(now_ns, level);
                let part = self.part_of_load(level, average.load_avg());
                let root = &mut self.cpus[level.cpu as usize].load.average;
                root.shift(part as i64, average.runnable_avg() as i64, average.util_avg() as i64);
            }
            None => self.cpus[level.cpu as usize].load.average.attach(&mut average, weight),
        }
        let past = &mut self.entities[slot as usize].past;
        (past.average, past.counted, past.begun) = (average, number_of(level), true);
    }

    /// A task counts nowhere any more: it moves, changes group or class, or has ended.
    pub(in super::super) fn detach_load(&mut self, now_ns: u64, slot: u32) {
        let counted = self.entities[slot as usize].past.counted;
        if counted == NOWHERE {
            return;
        }
        self.leave_estimate(slot);
        self.unlist(slot);
        let weight = scale_down(self.own_weight(slot));
        let level = match counted & ROOT_OF != 0 {
            true => Level { cpu: counted & !ROOT_OF, queue: ROOT },
            false => Level { cpu: self.groups.cpu_of(counted), queue: counted },
        };
        self.update_level_load(now_ns, level);
        if !self.entities[slot as usize].on_rq {
            self.note_load(now_ns, slot);
        }
        let past = &mut self.entities[slot as usize].past;
        past.counted = NOWHERE;
        let average = past.average;
        let part = self.part_of_load(level, average.load_avg());
        match self.groups.average_of_mut(level) {
            Some(queue) => {
                queue.detach(&average, weight);
                self.publish_level(now_ns, level);
                let root = &mut self.cpus[level.cpu as usize].load.average;
                root.shift(
                    -(part as i64),
                    -(average.runnable_avg() as i64),
                    -(average.util_avg() as i64),
                );
            }
            None => self.cpus[level.cpu as usize].load.average.detach(&average, weight),
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
            self.entities[slot as usize].past.estimate_again();
        }
    }

    #[inline]
    fn leave_estimate(&mut self, slot: u32) {
        let cpu = self.tasks.slots[slot as usize].cpu;
        let past = &mut self.entities[slot as usize].past;
        self.cpus[cpu as usize].load.leave_estimate(past);
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
            self.enlist(slot, cpu);
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
        self.cpus[cpu as usize].load_above.update(now_ns, 1, signals);
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
        let average = &self.cpus[cpu as usize].load.average;
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
        self.cpus[cpu as usize].load.average.load_avg()
    }

    pub(super) fn cpu_runnable(&self, cpu: u32) -> u64 {
        self.cpus[cpu as usize].load.average.runnable_avg()
    }

    /// Utilisation of a CPU by its fair tasks, as estimated.
    pub(super) fn cpu_util(&self, cpu: u32) -> u64 {
        let load = &self.cpus[cpu as usize].load;
        load.average.util_avg().max(load.estimate).min(self.smp.capacity_of(cpu))
    }

    /// Utilisation of a CPU by classes above the fair one.
    pub(super) fn util_above(&self, cpu: u32) -> u64 {
        self.cpus[cpu as usize].load_above.util_avg()
    }

    /// The load of a task as it counts on its CPU (fair.md D.3).
    pub(super) fn task_load(&self, slot: u32) -> u64 {
        let load = self.entities[slot as usize].past.average.load_avg();
        if self.groups.any() { self.part_of_load(self.home_of(slot), load) } else { load }
    }

    /// The utilisation of a task, as estimated.
    pub(super) fn task_util(&self, slot: u32) -> u64 {
        let past = &self.entities[slot as usize].past;
        past.average.util_avg().max(past.estimate.into())
    }
}

impl Past {
    /// A task goes to sleep: what it may use next time (F.7).
    #[inline(always)]
    pub(in super::super) fn estimate_again(&mut self) {
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
