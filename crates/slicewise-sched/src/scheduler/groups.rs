//! The fair class where there are task groups (fair.md D.1, D.2; up to 7.2).
//!
//! A group has a queue on each CPU its tasks were on, and an entity that stands for this queue in
//! the queue of the parent group on that CPU. Every level runs the algorithm of the profile by
//! itself. As long as there are no groups, none of this is in use.
//!
//! Group entities take slots of the task arena, so that queues name tasks and groups alike.
//!
//! From 7.3 on all tasks are in the root queue, and groups only give them their weights: what differs
//! then is in `flat`.
//!
//! *Simplification, group averages*: a group's queue has the load average its queued weight gives
//! over time, and tasks that come or go bring or take theirs; what they change for the entity of
//! the group in the queue above (fair.md D.4) shows only as time passes.

mod flat;
mod realtime;
mod throttle;

use self::realtime::RtGroups;
use core::hint::cold_path;

use super::{Cpu, Resched, Scheduler};
use crate::bandwidth::Bandwidth;
use crate::fair::{Algorithm, CfsOuter, Dequeue, Enqueue, Entity, FairParams, FairQueue, Wakeup};
use crate::pelt::{LoadAverage, Signals};
use crate::profile::{FairRules, RtRules, WakeupRule};
use crate::rt::RtEntity;
use crate::task::{PolicyKind, ROOT, State, Task, Tasks};
use crate::weight::{Load, scale_down};
use crate::{
    Attr, Class, CpuId, CpuSet, Error, GroupId, GroupLoad, Output, Policy, Rule, Shares, TaskId,
    Throttling,
};

/// Shares of a group with `cpu.idle` (A.3).
const IDLE_SHARES: u64 = 3;
/// A CPU publishes its load at most this often, where the profile says so (D.2).
const PUBLISH_NS: u64 = 1_000_000;

/// What the counts of a root queue are off by from the tasks of its CPU.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Below {
    pub(super) queued: i32,
    pub(super) runnable: i32,
}

/// A queue: the root's of a CPU, or that of a group there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Level {
    pub(super) cpu: u32,
    /// In [`Groups::queues`], or [`ROOT`].
    pub(super) queue: u32,
}

#[derive(Clone, Debug)]
struct Group {
    parent: u32,
    shares: Shares,
    idle: bool,
    /// Its queue on each CPU, or [`ROOT`] where it has none yet.
    queues: Vec<u32>,
    /// Σ of the load averages its CPUs have published.
    total_load: u64,
    /// Σ of the averages of how many were runnable, published likewise.
    total_runnable: u64,
    bandwidth: Option<Box<Bandwidth>>,
    /// When its timers are armed for: period, slack.
    timers: [Option<u64>; 2],
    /// What `cpu.stat.local` reads.
    throttled_local_ns: u64,
}

impl Group {
    fn effective_shares(&self) -> Shares {
        if self.idle { Shares::from_shares(IDLE_SHARES) } else { self.shares }
    }
}

/// The queue of a group on a CPU.
#[derive(Clone, Debug)]
struct GroupQueue {
    group: u32,
    cpu: u32,
    /// The queue its entity is in.
    parent: u32,
    depth: u32,
    /// The queues whose parent this is, those of older groups first.
    children: Vec<u32>,
    /// Which of the CPU's queues it is, in [`Groups::on_cpu`].
    place: u32,
    /// The slot of its entity.
    entity: u32,
    fair: FairQueue,
    /// Where all tasks are in the root queue: Σ of the weights of who would be in this one.
    flat_weight: u64,
    /// There, whether the parent's sum has this queue's entity.
    counts_in_parent: bool,
    /// Tasks queued here or below, and of those the ones not delayed.
    nr_queued: u32,
    nr_runnable: u32,
    /// Throttled queues from here to the root.
    throttle_count: u32,
    /// Since when this stop counts for `cpu.stat.local`, if it does yet.
    stopped_ns: Option<u64>,
    /// Tasks taken off while it was throttled; the last one goes on first.
    parked: Vec<u32>,
    average: LoadAverage,
    /// What of the average is in the group's total.
    published: u64,
    published_runnable: u64,
    published_ns: u64,
}

/// All groups but the root.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    list: Vec<Group>,
    queues: Vec<GroupQueue>,
    /// By CPU: the queues of groups there.
    on_cpu: Vec<Vec<u32>>,
    /// By CPU: a bit for each of its queues, set where something is queued. Thousands of groups that
    /// once ran on a CPU must not slow down the search for the few that wait there.
    occupied: Vec<Vec<u64>>,
    /// Room for the queues below a group, and for those still to be looked at; kept to allocate
    /// nothing.
    subtree: [Vec<u32>; 2],
    /// Room for the two chains of a switch, kept to allocate nothing.
    chains: [Vec<(Level, u32)>; 2],
    /// Real-time queues and limits of groups, where the kernel has them.
    rt: Option<Box<RtGroups>>,
}

impl Groups {
    /// Whether there are groups.
    #[inline(always)]
    pub(super) fn any(&self) -> bool {
        if self.list.is_empty() {
            return false;
        }
        // What is done with groups is kept out of the way of all else.
        cold_path();
        true
    }

    /// Only the root.
    pub(super) fn new(rules: &RtRules, cpus: u32) -> Self {
        let rt = rules.rt_group_sched.then(|| Box::new(RtGroups::new(rules, cpus)));
        Self { rt, ..Self::default() }
    }

    /// Whether groups have real-time queues (RT_GROUP_SCHED).
    #[inline(always)]
    pub(super) fn has_rt(&self) -> bool {
        self.rt.is_some()
    }

    /// The index of a group.
    pub(super) fn find(&self, group: GroupId) -> Result<u32, Error> {
        if group.index() < self.list.len() { Ok(group.0) } else { Err(Error::NoSuchGroup(group)) }
    }

    /// The fair queue of a level.
    pub(super) fn fair<'q>(&'q self, root: &'q FairQueue, level: Level) -> &'q FairQueue {
        match self.queues.get(level.queue as usize) {
            Some(queue) => &queue.fair,
            None => root,
        }
    }

    /// The averages of a group's queue; `None` at the root.
    #[inline]
    pub(super) fn average_of(&self, level: Level) -> Option<LoadAverage> {
        self.queues.get(level.queue as usize).map(|queue| queue.average)
    }

    #[inline]
    pub(super) fn average_of_mut(&mut self, level: Level) -> Option<&mut LoadAverage> {
        self.queues.get_mut(level.queue as usize).map(|queue| &mut queue.average)
    }

    /// The CPU of a queue.
    pub(super) fn cpu_of(&self, queue: u32) -> u32 {
        self.queues.get(queue as usize).map_or(0, |queue| queue.cpu)
    }

    /// How many entities a group has queued on a CPU; `None` at the root, or where it never was.
    pub(super) fn nr_queued_on(&self, group: u32, cpu: u32) -> Option<u32> {
        let queue = *self.list.get(group as usize)?.queues.get(cpu as usize)?;
        self.queues.get(queue as usize).map(|queue| queue.fair.nr_queued)
    }

    /// Whether a group, or one it is in, is throttled on a CPU.
    pub(super) fn throttled_on(&self, group: u32, cpu: u32) -> bool {
        let queues = self.list.get(group as usize).map(|group| group.queues[cpu as usize]);
        let queue = queues.and_then(|queue| self.queues.get(queue as usize));
        queue.is_some_and(|queue| queue.throttle_count > 0)
    }

    /// Tasks that wait in groups' queues of a CPU, in no order of theirs.
    pub(super) fn waiting<'q>(
        &'q self,
        cpu: u32,
        tasks: &'q Tasks,
    ) -> impl Iterator<Item = u32> + 'q {
        let words = self.occupied.get(cpu as usize).into_iter().flatten().enumerate();
        words
            .flat_map(|(at, word)| bits(*word).map(move |bit| at * 64 + bit as usize))
            .map(move |place| &self.queues[self.on_cpu[cpu as usize][place] as usize])
            .filter(|queue| queue.throttle_count == 0)
            .flat_map(|queue| queue.fair.waiting())
            .filter(|slot| tasks.slots[*slot as usize].state != State::Group)
    }

    /// Notes whether something is queued on a level.
    #[inline]
    fn note_occupied(&mut self, level: Level) {
        let Some(queue) = self.queues.get(level.queue as usize) else { return };
        let bit = 1 << (queue.place % 64);
        let words = &mut self.occupied[level.cpu as usize];
        let Some(word) = words.get_mut(queue.place as usize / 64) else { return };
        if queue.fair.nr_queued > 0 {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    /// A queue and all below it: each before those in it, older groups before newer ones. The list
    /// goes back to [`Groups::subtree`].
    fn take_subtree(&mut self, queue: u32) -> Vec<u32> {
        let [mut subtree, mut ahead] = core::mem::take(&mut self.subtree);
        subtree.clear();
        ahead.push(queue);
        while let Some(number) = ahead.pop() {
            subtree.push(number);
            ahead.extend(self.queues[number as usize].children.iter().rev());
        }
        self.subtree[1] = ahead;
        subtree
    }

    fn depth(&self, level: Level) -> u32 {
        self.queues.get(level.queue as usize).map_or(0, |queue| queue.depth)
    }

    /// The entity that stands for a level's queue, and the level it is in.
    pub(super) fn above(&self, level: Level) -> Option<(u32, Level)> {
        let queue = self.queues.get(level.queue as usize)?;
        Some((queue.entity, Level { cpu: queue.cpu, queue: queue.parent }))
    }
}

/// The numbers of the bits that are set, in ascending order.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

fn fair_at<'q>(cpus: &'q mut [Cpu], groups: &'q mut Groups, level: Level) -> &'q mut FairQueue {
    match groups.queues.get_mut(level.queue as usize) {
        Some(queue) => &mut queue.fair,
        None => &mut cpus[level.cpu as usize].fair,
    }
}

impl Scheduler {
    /// Makes a group in another, or in the root (`None`), with the default weight.
    ///
    /// # Errors
    /// If the parent does not exist.
    pub fn create_group(&mut self, parent: Option<GroupId>) -> Result<GroupId, Error> {
        let parent = parent.map_or(Ok(ROOT), |parent| self.groups.find(parent))?;
        let group = self.groups.list.len() as u32;
        self.groups.list.push(Group {
            parent,
            shares: Shares::default(),
            idle: false,
            queues: vec![ROOT; self.cpus.len()],
            total_load: 0,
            total_runnable: 0,
            bandwidth: None,
            timers: [None; 2],
            throttled_local_ns: 0,
        });
        if let Some(rt) = &mut self.groups.rt {
            rt.add_group();
        }
        self.groups.on_cpu.resize(self.cpus.len(), Vec::new());
        self.groups.occupied.resize(self.cpus.len(), Vec::new());
        // What ran before there were groups is charged to none.
        self.cpus.iter_mut().for_each(|cpu| cpu.fair.charged_ns = 0);
        Ok(GroupId(group))
    }

    /// Sets the weight of a group (`cpu.weight`, `cpu.shares`).
    ///
    /// # Errors
    /// If the group does not exist.
    pub fn set_group_shares(
        &mut self,
        now_ns: u64,
        group: GroupId,
        shares: Shares,
    ) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let group = self.groups.find(group)?;
        self.groups.list[group as usize].shares = shares;
        self.reweight_everywhere(now_ns, group);
        Ok(())
    }

    /// Makes a group idle or not (`cpu.idle`): an idle one weighs next to nothing, and everyone else
    /// preempts it. Its weight comes back when it is idle no longer.
    ///
    /// # Errors
    /// If the group does not exist.
    pub fn set_group_idle(&mut self, now_ns: u64, group: GroupId, idle: bool) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let group = self.groups.find(group)?;
        self.groups.list[group as usize].idle = idle;
        for cpu in 0..self.nr_cpus() {
            let queue = self.groups.list[group as usize].queues[cpu as usize];
            if let Some((entity, level)) = self.groups.above(Level { cpu, queue }) {
                if self.is_flat() {
                    self.entities[entity as usize].idle = idle;
                    self.refresh_flat_idle(cpu);
                } else {
                    self.on_level(level, |fair, _, entities| fair.set_idle(entities, entity, idle));
                }
            }
        }
        self.reweight_everywhere(now_ns, group);
        Ok(())
    }

    /// Moves a task to a group, or to the root (`cgroup.procs`).
    ///
    /// # Errors
    /// If the task or the group does not exist, or the group can have no such task.
    pub fn set_group(
        &mut self,
        now_ns: u64,
        task: TaskId,
        group: Option<GroupId>,
    ) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.tasks.find(task)?;
        let group = group.map_or(Ok(ROOT), |group| self.groups.find(group))?;
        let Task { class, group: old, .. } = self.tasks.slots[slot as usize];
        if group == old {
            return Ok(());
        }
        if class == Class::Rt && self.groups.has_rt() {
            return self.change_rt_group(now_ns, slot, group);
        }
        if class != Class::Fair {
            self.tasks.slots[slot as usize].group = group;
            return Ok(());
        }
        self.while_unparked(now_ns, slot, |sched| sched.change_group(now_ns, slot, group));
        Ok(())
    }

    fn change_group(&mut self, now_ns: u64, slot: u32, group: u32) {
        let cpu = self.tasks.slots[slot as usize].cpu;
        if self.entities[slot as usize].delayed {
            self.deactivate(now_ns, cpu, slot, Dequeue::Delayed);
        }
        let queued = self.queued(slot);
        let running = self.cpus[cpu as usize].current == Some(slot);
        if queued {
            self.deactivate(now_ns, cpu, slot, Dequeue::Move);
            if running {
                self.put_prev_fair(now_ns, cpu);
            }
        } else if matches!(self.params.algorithm, Algorithm::Cfs(_)) {
            let level = self.level_on(slot, cpu);
            self.on_level(level, |fair, _, entities| {
                fair.cfs_detach_sleeper(&mut entities[slot as usize]);
            });
        }
        self.detach_load(now_ns, slot);
        self.tasks.slots[slot as usize].group = group;
        if queued {
            self.activate(now_ns, cpu, slot, Enqueue::Restore);
            if running {
                self.set_next_fair(now_ns, cpu, slot);
                self.request_resched(cpu, Resched::Now);
            } else if self.cpus[cpu as usize].current.is_none() {
                // It waited in a throttled group.
                self.request_resched(cpu, Resched::Now);
            }
        } else if matches!(self.params.algorithm, Algorithm::Cfs(_)) {
            let level = self.level_on(slot, cpu);
            self.on_level(level, |fair, _, entities| {
                fair.cfs_join_class(&mut entities[slot as usize]);
            });
        }
    }

    /// The group a task is in; `None` is the root.
    ///
    /// # Errors
    /// If the task does not exist.
    pub fn group_of(&self, task: TaskId) -> Result<Option<GroupId>, Error> {
        let slot = self.tasks.find(task)?;
        let group = self.tasks.slots[slot as usize].group;
        Ok((group != ROOT).then_some(GroupId(group)))
    }

    /// The weight of a group's entity on a CPU, at the 20-bit scale; `None` where none of its tasks
    /// ever was.
    pub fn group_weight(&self, group: GroupId, cpu: CpuId) -> Option<u64> {
        let queue = *self.groups.list.get(group.index())?.queues.get(cpu.index())?;
        let entity = self.groups.queues.get(queue as usize)?.entity;
        Some(self.entities[entity as usize].load.weight)
    }

    /// Whether the slot is the entity of a group.
    #[inline]
    pub(super) fn is_group(&self, slot: u32) -> bool {
        self.tasks.slots[slot as usize].state == State::Group
    }

    /// The queue an entity stands for.
    #[inline]
    fn child_of(&self, entity: u32) -> Option<u32> {
        self.is_group(entity).then(|| self.tasks.slots[entity as usize].group)
    }

    /// The level a task or a group's entity is queued on.
    pub(super) fn level_of(&self, slot: u32) -> Level {
        let home = self.home_of(slot);
        if self.is_flat() { Level { queue: ROOT, ..home } } else { home }
    }

    /// The level of the group a task or a group's entity is in.
    pub(super) fn home_of(&self, slot: u32) -> Level {
        let task = &self.tasks.slots[slot as usize];
        let own = task.group as usize;
        if task.state == State::Group {
            let queue = &self.groups.queues[own];
            return Level { cpu: queue.cpu, queue: queue.parent };
        }
        let group = self.groups.list.get(own);
        let queue = group.map_or(ROOT, |group| group.queues[task.cpu as usize]);
        Level { cpu: task.cpu, queue }
    }

    /// The fair queue a task is, or would be, on.
    pub(super) fn fair_of(&self, slot: u32) -> &FairQueue {
        let level = self.level_of(slot);
        self.groups.fair(&self.cpus[level.cpu as usize].fair, level)
    }

    /// The level a task would be queued on on `cpu`; its queue is made if there is none.
    pub(super) fn level_on(&mut self, slot: u32, cpu: u32) -> Level {
        let group = self.tasks.slots[slot as usize].group;
        let queue = if group == ROOT { ROOT } else { self.queue_of(group, cpu) };
        Level { cpu, queue: if self.is_flat() { ROOT } else { queue } }
    }

    /// The queue of a group on a CPU, with those above it.
    fn queue_of(&mut self, group: u32, cpu: u32) -> u32 {
        // From the group up to the first that has a queue, then down again.
        loop {
            let mut lowest = group;
            loop {
                let Group { parent, ref queues, .. } = self.groups.list[lowest as usize];
                let own = queues[cpu as usize];
                if own != ROOT {
                    if lowest == group {
                        return own;
                    }
                    break;
                }
                let parent_queue = match self.groups.list.get(parent as usize) {
                    None => ROOT,
                    Some(parent) => parent.queues[cpu as usize],
                };
                if parent == ROOT || parent_queue != ROOT {
                    self.add_queue(lowest, cpu, parent_queue);
                    break;
                }
                lowest = parent;
            }
        }
    }

    fn add_queue(&mut self, group: u32, cpu: u32, parent: u32) {
        let number = self.groups.queues.len() as u32;
        let attr = Attr::default();
        let mut entity = Entity::new(Load::of(Policy::Normal, attr.nice), &self.params);
        entity.idle = self.groups.list[group as usize].idle;
        let rt = RtEntity::new(self.rr_ticks);
        let mut task = Task::new(State::Group, cpu, &attr, CpuSet::default(), rt);
        task.group = number;
        let slot = self.tasks.add(task);
        match self.entities.get_mut(slot as usize) {
            Some(place) => *place = entity,
            None => self.entities.push(entity),
        }
        let depth = self.groups.queues.get(parent as usize).map_or(0, |queue| queue.depth) + 1;
        let place = self.groups.on_cpu[cpu as usize].len() as u32;
        let Groups { queues, .. } = &mut self.groups;
        if parent != ROOT {
            let siblings = &queues[parent as usize].children;
            let at = siblings.partition_point(|other| queues[*other as usize].group < group);
            queues[parent as usize].children.insert(at, number);
        }
        self.groups.queues.push(GroupQueue {
            group,
            cpu,
            parent,
            depth,
            children: Vec::new(),
            place,
            entity: slot,
            fair: FairQueue::new(),
            flat_weight: 0,
            counts_in_parent: false,
            nr_queued: 0,
            nr_runnable: 0,
            throttle_count: self
                .groups
                .queues
                .get(parent as usize)
                .map_or(0, |queue| queue.throttle_count),
            stopped_ns: None,
            parked: Vec::new(),
            average: LoadAverage::new(self.now_ns),
            published: 0,
            published_runnable: 0,
            published_ns: 0,
        });
        self.groups.list[group as usize].queues[cpu as usize] = number;
        self.groups.on_cpu[cpu as usize].push(number);
        if place.is_multiple_of(64) {
            self.groups.occupied[cpu as usize].push(0);
        }
    }

    fn on_level<R>(
        &mut self,
        level: Level,
        act: impl FnOnce(&mut FairQueue, &FairParams, &mut [Entity]) -> R,
    ) -> R {
        let fair = fair_at(&mut self.cpus, &mut self.groups, level);
        let curr = fair.curr();
        let done = act(fair, &self.params, &mut self.entities);
        let charged_ns = core::mem::take(&mut fair.charged_ns);
        if charged_ns > 0 {
            if level.queue != ROOT {
                self.charge_quota(level, charged_ns);
            } else if let Some(slot) = curr.filter(|_| self.is_flat()) {
                self.charge_flat(slot, charged_ns);
            }
        }
        done
    }

    pub(super) fn fair_and_entities(&mut self, level: Level) -> (&mut FairQueue, &mut [Entity]) {
        (fair_at(&mut self.cpus, &mut self.groups, level), &mut self.entities)
    }

    /// Turns a level's wish for a new pick into a request to the host.
    pub(super) fn take_level_resched(&mut self, level: Level) {
        let fair = fair_at(&mut self.cpus, &mut self.groups, level);
        if core::mem::replace(&mut fair.resched, false) {
            let lazy = self.profile.lazy_preemption;
            self.request_resched(level.cpu, if lazy { Resched::Lazy } else { Resched::Now });
        }
    }

    /// The level of the task that runs on a CPU; the root for all but fair tasks.
    pub(super) fn running_level(&self, cpu: u32) -> Level {
        let current = self.cpus[cpu as usize].current;
        let fair = current
            .filter(|_| self.groups.any())
            .filter(|slot| self.tasks.slots[*slot as usize].class == Class::Fair);
        fair.map_or(Level { cpu, queue: ROOT }, |slot| self.level_of(slot))
    }

    /// CFS: tells a queue what its slices depend on above it.
    pub(super) fn set_outer(&mut self, level: Level) {
        if !self.groups.any() || self.profile.is_eevdf() {
            return;
        }
        let nr_queued = self.cpus[level.cpu as usize].nr_fair_queued();
        let fair = fair_at(&mut self.cpus, &mut self.groups, level);
        let mut outer = fair.outer.take().unwrap_or_default();
        let CfsOuter { shares, .. } = &mut *outer;
        shares.clear();
        let mut below = level;
        while let Some((entity, above)) = self.groups.above(below) {
            let entity = &self.entities[entity as usize];
            let joining = if entity.on_rq { 0 } else { entity.load.weight };
            let load = self.groups.fair(&self.cpus[above.cpu as usize].fair, above).load_weight();
            shares.push((entity.load.weight, load + joining));
            below = above;
        }
        outer.nr_queued = nr_queued;
        fair_at(&mut self.cpus, &mut self.groups, level).outer = Some(outer);
    }

    /// Adds to the counts of tasks at or below a level: how many, and how many not delayed.
    fn count_at(&mut self, level: Level, (queued, runnable): (i32, i32)) {
        match self.groups.queues.get_mut(level.queue as usize) {
            Some(queue) => {
                queue.nr_queued = queue.nr_queued.wrapping_add_signed(queued);
                queue.nr_runnable = queue.nr_runnable.wrapping_add_signed(runnable);
            }
            None => {
                let below = &mut self.cpus[level.cpu as usize].below;
                below.queued += queued;
                below.runnable += runnable;
            }
        }
    }

    /// The same for a level and all above it, up to where throttling has cut it off.
    fn count_from(&mut self, level: Level, tasks: (i32, i32)) {
        let mut level = level;
        loop {
            self.count_at(level, tasks);
            match self.groups.above(level) {
                Some((_, above)) if !self.cuts_off(level) => level = above,
                _ => return,
            }
        }
    }

    /// Adds to the counts of a task's level and all above it. The root queue counts its own.
    fn count_tasks(&mut self, level: Level, queued: i32, runnable: i32) {
        if level.queue != ROOT {
            self.count_from(level, (queued, runnable));
        }
    }

    /// A group's entity at the root came or went: no task, though the root queue counts it.
    fn count_group(&mut self, entity: u32, level: Level, queued: i32, runnable: i32) {
        if level.queue == ROOT && self.is_group(entity) {
            let below = &mut self.cpus[level.cpu as usize].below;
            below.queued -= queued;
            below.runnable -= runnable;
        }
    }

    /// Onto the queue of its group, and the entities of groups that had nobody queued onto theirs.
    pub(super) fn enqueue_in_groups(&mut self, now_ns: u64, cpu: u32, slot: u32, how: Enqueue) {
        if self.is_flat() {
            return self.enqueue_flat(now_ns, cpu, slot, how);
        }
        let own = self.level_on(slot, cpu);
        self.load_arrives(now_ns, slot, own);
        let count = i32::from(own.queue != ROOT);
        self.enqueue_up(now_ns, slot, own, how, (count, count));
    }

    /// Queues an entity, and those above it that are not. `tasks` are how many tasks it brings, and
    /// how many of them are not delayed; of a task at the root none, which the root queue counts.
    fn enqueue_up(
        &mut self,
        now_ns: u64,
        entity: u32,
        level: Level,
        how: Enqueue,
        tasks: (i32, i32),
    ) {
        let (mut entity, mut level, mut how) = (entity, level, how);
        let mut slice = None;
        loop {
            self.update_average(now_ns, level);
            if self.entities[entity as usize].on_rq {
                if self.entities[entity as usize].delayed {
                    self.wake_delayed_entity(now_ns, entity, level);
                }
                break;
            }
            if let Some(child) = self.child_of(entity) {
                self.reweight_group(now_ns, child);
                if let Some(slice) = slice {
                    self.on_level(level, |fair, _, entities| {
                        fair.set_group_slice(entities, entity, slice);
                    });
                }
            }
            self.on_level(level, |fair, params, entities| {
                fair.enqueue(params, entities, entity, how, now_ns);
            });
            self.groups.note_occupied(level);
            self.take_level_resched(level);
            self.count_group(entity, level, 1, 1);
            self.count_at(level, tasks);
            self.throttle_first_queued(now_ns, level);
            slice = self.shortest_slice(level);
            match self.groups.above(level) {
                Some(above) if !self.cuts_off(level) => (entity, level) = above,
                _ => return,
            }
            how = Enqueue::Wakeup;
        }
        self.count_from(level, tasks);
        self.refresh_from(now_ns, entity, level, slice);
    }

    /// Off its queue, with the entities of groups that have nobody queued any more. Whether the
    /// entity itself has left: a sleeper may be delayed.
    pub(super) fn dequeue_in_groups(
        &mut self,
        now_ns: u64,
        cpu: u32,
        slot: u32,
        how: Dequeue,
    ) -> bool {
        if self.is_flat() {
            return self.dequeue_flat(now_ns, slot, how);
        }
        let own = self.level_of(slot);
        debug_assert_eq!(own.cpu, cpu);
        let was_delayed = self.entities[slot as usize].delayed;
        let is_task = !self.is_group(slot);
        let sleeps = how == Dequeue::Sleep;
        let (mut entity, mut level, mut how) = (slot, own, how);
        if is_task {
            self.load_leaves(now_ns, slot, sleeps);
        }
        let mut slice = None;
        loop {
            self.update_average(now_ns, level);
            let delayed = self.entities[entity as usize].delayed;
            let left = self.on_level(level, |fair, params, entities| {
                fair.dequeue(params, entities, entity, how, now_ns)
            });
            self.groups.note_occupied(level);
            self.take_level_resched(level);
            if !left {
                self.count_group(entity, level, 0, -1);
                if entity == slot {
                    self.count_tasks(own, 0, -1);
                    return false;
                }
                slice = self.shortest_slice(level);
                match self.groups.above(level) {
                    Some(above) if !self.cuts_off(level) => (entity, level) = above,
                    _ => {
                        self.count_left(own, is_task, was_delayed);
                        return true;
                    }
                }
                break;
            }
            self.count_group(entity, level, -1, -i32::from(!delayed));
            let others = self.groups.fair(&self.cpus[level.cpu as usize].fair, level).load_weight();
            if others > 0 {
                slice = self.shortest_slice(level);
            } else {
                self.give_back(now_ns, level);
            }
            match self.groups.above(level) {
                Some(above) if !self.cuts_off(level) => (entity, level) = above,
                _ => {
                    self.count_left(own, is_task, was_delayed);
                    return true;
                }
            }
            if others > 0 {
                if sleeps && !self.is_throttled(level) {
                    self.mark_next_buddies(entity, level);
                }
                break;
            }
            if how != Dequeue::Throttle {
                how = Dequeue::Sleep;
            }
        }
        self.refresh_from(now_ns, entity, level, slice);
        self.count_left(own, is_task, was_delayed);
        true
    }

    fn count_left(&mut self, own: Level, is_task: bool, was_delayed: bool) {
        if is_task {
            self.count_tasks(own, -1, -i32::from(!was_delayed));
        }
    }

    /// An entity that stays queued, and all above it: averages, weights and slices follow what has
    /// changed below.
    fn refresh_from(&mut self, now_ns: u64, entity: u32, level: Level, slice: Option<u64>) {
        let (mut entity, mut level, mut slice) = (entity, level, slice);
        loop {
            self.update_average(now_ns, level);
            if let Some(child) = self.child_of(entity) {
                self.reweight_group(now_ns, child);
            }
            if let Some(slice) = slice {
                self.on_level(level, |fair, _, entities| {
                    fair.set_group_slice(entities, entity, slice);
                });
            }
            slice = self.shortest_slice(level);
            match self.groups.above(level) {
                Some(above) if !self.cuts_off(level) => (entity, level) = above,
                _ => return,
            }
        }
    }

    fn shortest_slice(&self, level: Level) -> Option<u64> {
        let fair = self.groups.fair(&self.cpus[level.cpu as usize].fair, level);
        fair.shortest_queued_slice(&self.params, &self.entities)
    }

    /// The group a sleeper leaves, where others still want to run, is to go on (B.7).
    fn mark_next_buddies(&mut self, entity: u32, level: Level) {
        let (mut entity, mut level) = (entity, level);
        loop {
            let marked = self.on_level(level, |fair, _, entities| fair.mark_next(entities, entity));
            match self.groups.above(level) {
                Some(above) if marked => (entity, level) = above,
                _ => return,
            }
        }
    }

    /// A delayed task is woken: the entities above it are queued already.
    pub(super) fn wake_delayed_in_groups(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        let level = self.level_on(slot, cpu);
        let home = self.home_of(slot);
        self.update_average(now_ns, home);
        self.wake_delayed_entity(now_ns, slot, level);
        if self.is_flat() {
            self.count_flat_runnable(home, 1);
        } else {
            self.count_tasks(home, 0, 1);
        }
    }

    fn wake_delayed_entity(&mut self, now_ns: u64, entity: u32, level: Level) {
        self.on_level(level, |fair, params, entities| {
            if let Algorithm::Eevdf(eevdf) = &params.algorithm {
                fair.eevdf_wake_delayed(params, eevdf, entities, entity, now_ns);
            }
        });
        self.count_group(entity, level, 0, 1);
        self.take_level_resched(level);
    }

    /// From the root down to a task.
    pub(super) fn pick_in_groups(&mut self, now_ns: u64, cpu: u32) -> Option<(u32, Rule)> {
        let mut level = Level { cpu, queue: ROOT };
        loop {
            self.on_level(level, |fair, params, entities| {
                fair.account_queued(params, entities, now_ns);
            });
            if self.throttles_in_pick(level)
                && self.throttle_if_out(now_ns, level)
                && self.profile.throttling == Throttling::Group
            {
                level = Level { cpu, queue: ROOT };
                continue;
            }
            let (entity, rule) =
                self.on_level(level, |fair, params, entities| fair.pick_level(params, entities))?;
            if self.entities[entity as usize].delayed {
                self.dequeue_in_groups(now_ns, cpu, entity, Dequeue::Delayed);
                level = Level { cpu, queue: ROOT };
                continue;
            }
            match self.child_of(entity) {
                Some(queue) => level = Level { cpu, queue },
                None => {
                    if self.is_throttled(self.home_of(entity)) {
                        self.outputs.push(Output::Park { cpu: CpuId(cpu) });
                    }
                    return Some((entity, rule));
                }
            }
        }
    }

    /// Everyone running on a CPU, from the root down.
    fn running_chain(&self, cpu: u32, chain: &mut Vec<(Level, u32)>) {
        chain.clear();
        let mut level = Level { cpu, queue: ROOT };
        let root = &self.cpus[cpu as usize].fair;
        while let Some(entity) = self.groups.fair(root, level).curr() {
            chain.push((level, entity));
            match self.child_of(entity) {
                Some(queue) => level = Level { cpu, queue },
                None => return,
            }
        }
    }

    /// A task and the entities above it, from the root down.
    fn chain_of(&self, slot: u32, chain: &mut Vec<(Level, u32)>) {
        chain.clear();
        let (mut entity, mut level) = (slot, self.level_of(slot));
        chain.push((level, entity));
        while let Some(above) = self.groups.above(level) {
            (entity, level) = above;
            chain.push((level, entity));
        }
        chain.reverse();
    }

    /// Puts back whoever ran and sets the next one running; entities of groups that both are in go
    /// on as if nothing had happened.
    pub(super) fn switch_in_groups(&mut self, now_ns: u64, cpu: u32, next: Option<u32>) {
        let [mut old, mut new] = core::mem::take(&mut self.groups.chains);
        self.running_chain(cpu, &mut old);
        new.clear();
        if let Some(slot) = next
            && self.tasks.slots[slot as usize].class == Class::Fair
        {
            self.chain_of(slot, &mut new);
        }
        let common = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        for (level, entity) in old[common..].iter().rev() {
            if self.entities[*entity as usize].on_rq {
                self.update_average(now_ns, *level);
            }
            self.on_level(*level, |fair, params, entities| {
                fair.put_prev(params, entities, now_ns);
            });
            // The level above still has the group's entity running, and puts it back next.
            self.throttle_if_out(now_ns, *level);
        }
        for (level, entity) in new[common..].iter().rev() {
            self.update_average(now_ns, *level);
            self.on_level(*level, |fair, params, entities| {
                fair.set_next(params, entities, *entity, now_ns);
            });
        }
        if self.is_flat() && new.len() > common {
            self.weigh_flat_current(now_ns, cpu);
        }
        for (level, _) in old.iter().chain(&new) {
            fair_at(&mut self.cpus, &mut self.groups, *level).resched = false;
        }
        self.groups.chains = [old, new];
    }

    /// The fair task that runs is put back, at all levels.
    pub(super) fn put_prev_fair(&mut self, now_ns: u64, cpu: u32) {
        if self.groups.any() {
            self.switch_in_groups(now_ns, cpu, None);
        } else {
            self.cpus[cpu as usize].fair.put_prev(&self.params, &mut self.entities, now_ns);
        }
    }

    /// A fair task starts to run, at all levels.
    pub(super) fn set_next_fair(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        if self.groups.any() {
            self.switch_in_groups(now_ns, cpu, Some(slot));
        } else {
            let fair = &mut self.cpus[cpu as usize].fair;
            fair.set_next(&self.params, &mut self.entities, slot, now_ns);
        }
    }

    /// `sched_yield`, on the task's own level.
    pub(super) fn yield_fair(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        let level = self.level_on(slot, cpu);
        self.on_level(level, |fair, params, entities| fair.yield_curr(params, entities, now_ns));
    }

    /// The tick, from the running task up.
    pub(super) fn tick_in_groups(&mut self, now_ns: u64, cpu: u32) {
        if self.loads.on() {
            self.load_ticks(now_ns, cpu);
        }
        if self.is_flat() {
            self.tick_flat(now_ns, cpu);
        }
        let mut level = self.running_level(cpu);
        loop {
            let curr = self.on_level(level, |fair, params, entities| {
                fair.account(params, entities, now_ns);
                fair.curr()
            });
            self.update_average(now_ns, level);
            if let Some(child) = curr.and_then(|entity| self.child_of(entity)) {
                self.reweight_group(now_ns, child);
            }
            self.set_outer(level);
            self.on_level(level, |fair, params, entities| fair.tick(params, entities, now_ns));
            self.take_level_resched(level);
            match self.groups.above(level) {
                Some((_, above)) => level = above,
                None => return,
            }
        }
    }

    /// Charges everyone running, from the task up.
    pub(super) fn account_in_groups(&mut self, now_ns: u64, cpu: u32) {
        let mut level = self.running_level(cpu);
        loop {
            self.on_level(level, |fair, params, entities| fair.account(params, entities, now_ns));
            self.take_level_resched(level);
            match self.groups.above(level) {
                Some((_, above)) => level = above,
                None => return,
            }
        }
    }

    /// Wakeup preemption: those two are compared that are in the same queue.
    pub(super) fn preempt_in_groups(
        &mut self,
        now_ns: u64,
        cpu: u32,
        current: u32,
        slot: u32,
        wakeup: Wakeup,
    ) {
        let idle = |slot: u32| self.entities[slot as usize].idle;
        let by_policy = match self.profile.fair {
            FairRules::Cfs(_) => true,
            FairRules::Eevdf(rules) => rules.wakeup == WakeupRule::Pick,
        };
        if by_policy && idle(current) && !idle(slot) && !wakeup.resched_pending {
            self.request_resched(cpu, Resched::Now);
            return;
        }
        let (mut running, mut waking) =
            ((current, self.level_of(current)), (slot, self.level_of(slot)));
        while running.1 != waking.1 {
            let (deep, other) = (self.groups.depth(running.1), self.groups.depth(waking.1));
            if deep >= other
                && let Some(above) = self.groups.above(running.1)
            {
                running = above;
            }
            if deep <= other
                && let Some(above) = self.groups.above(waking.1)
            {
                waking = above;
            }
            if deep == 0 && other == 0 {
                // Two CPUs: a task is never compared with one of another.
                return;
            }
        }
        if self.is_throttled(self.home_of(slot)) {
            return;
        }
        let normal = self.tasks.slots[slot as usize].policy == PolicyKind::Normal;
        let wakeup = Wakeup { normal: Some(normal), ..wakeup };
        let (entity, level) = waking;
        let buddies = self.on_level(level, |fair, params, entities| {
            let before = fair.buddies();
            fair.wakeup_preempt(params, entities, entity, wakeup, now_ns);
            let after = fair.buddies();
            (before.0 != after.0 && after.0.is_some(), before.1 != after.1 && after.1.is_some())
        });
        self.take_paid(now_ns, level);
        if let Some((entity, above)) = self.groups.above(level) {
            if buddies.0 {
                self.mark_next_buddies(entity, above);
            }
            if buddies.1 {
                self.mark_last_buddies(entity, above);
            }
        }
        self.take_level_resched(level);
    }

    fn mark_last_buddies(&mut self, entity: u32, level: Level) {
        let (mut entity, mut level) = (entity, level);
        loop {
            let marked = self.on_level(level, |fair, _, entities| fair.mark_last(entities, entity));
            match self.groups.above(level) {
                Some(above) if marked => (entity, level) = above,
                _ => return,
            }
        }
    }

    /// Delayed entities a preemption test has dequeued are gone for the levels above, too.
    fn take_paid(&mut self, now_ns: u64, level: Level) {
        let fair = fair_at(&mut self.cpus, &mut self.groups, level);
        if fair.paid.is_empty() {
            return;
        }
        let mut paid = core::mem::take(&mut fair.paid);
        for entity in paid.drain(..) {
            if self.is_flat() {
                self.leave_groups(now_ns, entity, self.home_of(entity), true);
            } else if self.is_group(entity) {
                self.count_group(entity, level, -1, 0);
            } else {
                self.count_tasks(level, -1, 0);
            }
        }
        fair_at(&mut self.cpus, &mut self.groups, level).paid = paid;
        let slice = self.shortest_slice(level);
        if let Some((entity, above)) = self.groups.above(level) {
            self.refresh_from(now_ns, entity, above, slice);
        }
    }

    /// The weight of a group's entity follows the group's shares and its load here (D.2).
    fn reweight_group(&mut self, now_ns: u64, queue: u32) {
        let GroupQueue { group, ref fair, flat_weight, average, published, .. } =
            self.groups.queues[queue as usize];
        let queued_weight = scale_down(fair.load_weight() + flat_weight);
        let group = &self.groups.list[group as usize];
        let load = GroupLoad {
            queued_weight,
            load_avg: average.load_avg(),
            published,
            total: group.total_load,
        };
        let Some(weight) = load.part_of(self.scaled_shares(group)) else { return };
        let cpu = self.groups.queues[queue as usize].cpu;
        let Some((entity, level)) = self.groups.above(Level { cpu, queue }) else { return };
        if self.is_flat() {
            self.reweigh_flat_group(queue, weight);
        } else if self.entities[entity as usize].load.weight != weight {
            self.on_level(level, |fair, params, entities| {
                fair.reweight(params, entities, entity, Load::summed(weight), now_ns);
            });
            self.take_level_resched(level);
        }
    }

    fn reweight_everywhere(&mut self, now_ns: u64, group: u32) {
        for cpu in 0..self.nr_cpus() {
            let queue = self.groups.list[group as usize].queues[cpu as usize];
            let own = Level { cpu, queue };
            if self.is_flat() {
                self.refresh_flat(now_ns, own);
            } else if let Some((entity, level)) = self.groups.above(own) {
                self.update_average(now_ns, own);
                self.refresh_from(now_ns, entity, level, None);
            }
        }
    }

    /// Whether averages matter: on one CPU a group's part of its shares is all of them.
    #[inline]
    fn keeps_averages(&self) -> bool {
        self.loads.on() && self.groups.any()
    }

    /// Brings the average of a group's queue up to now, and publishes it.
    pub(super) fn update_average(&mut self, now_ns: u64, level: Level) {
        if !self.keeps_averages() {
            return;
        }
        let running = self.runs_in(level);
        let Some(queue) = self.groups.queues.get_mut(level.queue as usize) else { return };
        let signals = Signals {
            load: scale_down(queue.fair.load_weight() + queue.flat_weight),
            runnable: queue.nr_runnable.into(),
            running,
        };
        if queue.average.update(now_ns, 1, signals) {
            self.publish(now_ns, level.queue);
        }
    }

    /// D.2: only what has changed by more than a 64th, and not too often.
    fn publish(&mut self, now_ns: u64, queue: u32) {
        let limited = self.profile.group_load_rate_limited;
        let queue = &mut self.groups.queues[queue as usize];
        if limited && now_ns.saturating_sub(queue.published_ns) < PUBLISH_NS {
            return;
        }
        let (load, published) = (queue.average.load_avg(), queue.published);
        let runnable = queue.average.runnable_avg();
        if runnable.abs_diff(queue.published_runnable) > queue.published_runnable / 64 {
            let group = &mut self.groups.list[queue.group as usize];
            group.total_runnable =
                (group.total_runnable + runnable).saturating_sub(queue.published_runnable);
            queue.published_runnable = runnable;
            queue.published_ns = now_ns;
        }
        if load.abs_diff(published) > published / 64 {
            let group = &mut self.groups.list[queue.group as usize];
            group.total_load = (group.total_load + load).saturating_sub(published);
            queue.published = load;
            queue.published_ns = now_ns;
        }
    }

    /// As [`publish`](Self::publish); nothing is published of the root.
    pub(super) fn publish_level(&mut self, now_ns: u64, level: Level) {
        if level.queue != ROOT {
            self.publish(now_ns, level.queue);
        }
    }
}

#[cfg(test)]
impl Scheduler {
    /// Whether no group above an entity is throttled with everyone in it, and it is not parked.
    pub(super) fn counts_at_root(&self, slot: u32) -> bool {
        let mut level = self.level_of(slot);
        while let Some((_, above)) = self.groups.above(level) {
            if self.cuts_off(level) {
                return false;
            }
            level = above;
        }
        !self.tasks.slots[slot as usize].parked
    }

    /// Whether the counts and sums of every group's queue on a CPU are what its entities say.
    pub(super) fn check_group_queues(
        &self,
        cpu: u32,
    ) -> Result<(), proptest::test_runner::TestCaseError> {
        use proptest::prelude::*;
        for number in self.groups.on_cpu.get(cpu as usize).into_iter().flatten() {
            let queue = &self.groups.queues[*number as usize];
            let entity = &self.entities[queue.entity as usize];
            let word = self.groups.occupied[cpu as usize][queue.place as usize / 64];
            prop_assert_eq!(word >> (queue.place % 64) & 1 == 1, queue.fair.nr_queued > 0);
            if self.is_flat() {
                let level = Level { cpu, queue: *number };
                let in_group = |slot: u32| !self.is_group(slot) && self.home_of(slot) == level;
                let root = &self.cpus[cpu as usize].fair;
                let running = root.curr().filter(|slot| self.entities[*slot as usize].on_rq);
                let tasks = root.waiting().chain(running).filter(|slot| in_group(*slot));
                let own: Vec<u32> = tasks.collect();
                let on_cpu = self.groups.on_cpu[cpu as usize].iter();
                let inner = on_cpu
                    .map(|number| &self.groups.queues[*number as usize])
                    .filter(|inner| inner.parent == *number && inner.nr_queued > 0);
                let groups: Vec<u32> = inner.map(|inner| inner.entity).collect();
                let weight: u64 =
                    own.iter().chain(&groups).map(|slot| self.own_weight(*slot)).sum();
                prop_assert_eq!(queue.flat_weight, weight);
                let below: u32 = groups
                    .iter()
                    .filter_map(|slot| self.child_of(*slot))
                    .map(|child| self.groups.queues[child as usize].nr_queued)
                    .sum();
                prop_assert_eq!(queue.nr_queued, own.len() as u32 + below);
                continue;
            }
            let running = queue.fair.curr().filter(|slot| self.entities[*slot as usize].on_rq);
            let queued: Vec<u32> = queue.fair.waiting().chain(running).collect();
            prop_assert_eq!(queue.fair.nr_queued as usize, queued.len());
            let weight: u64 =
                queued.iter().map(|slot| self.entities[*slot as usize].load.weight).sum();
            prop_assert_eq!(queue.fair.load_weight(), weight);
            // Someone queued below: the entity is queued, and not delayed. Nobody: it is not, or is
            // delayed. Throttled with everyone in it: it is not.
            let cut_off = self.cuts_off(Level { cpu, queue: *number });
            prop_assert_eq!(entity.on_rq && !entity.delayed, !queued.is_empty() && !cut_off);
            for slot in &queued {
                prop_assert_eq!(self.level_of(*slot), Level { cpu, queue: *number });
            }
            let tasks = |slot: &u32| match self.child_of(*slot) {
                Some(child) => {
                    let child = &self.groups.queues[child as usize];
                    (child.nr_queued, child.nr_runnable)
                }
                None => (1, u32::from(!self.entities[*slot as usize].delayed)),
            };
            // A delayed entity's queue is empty.
            let (all, runnable) =
                queued.iter().map(tasks).fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
            prop_assert_eq!((queue.nr_queued, queue.nr_runnable), (all, runnable));
            if self.profile.is_eevdf() && !queued.is_empty() {
                let eligible = queued.iter().any(|slot| queue.fair.eligible(&self.entities, *slot));
                prop_assert!(eligible, "someone is always eligible");
            }
        }
        Ok(())
    }
}
