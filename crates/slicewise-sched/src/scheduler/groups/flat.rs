//! Flat groups (fair.md D.5; 7.3, from the text alone): all tasks of a CPU are in its root queue, each
//! with the weight its groups leave it there. Groups keep weights, counts, averages and quotas.
//!
//! A task's weight in the root queue is up to date when it is queued, when it gets the CPU and at
//! its own ticks; while it waits it keeps the one it came with.

use super::{Group, GroupQueue, Level};
use crate::fair::{Dequeue, Enqueue, FairQueue};
use crate::profile::{GroupQueueing, GroupWeight};
use crate::scheduler::Scheduler;
use crate::task::{PolicyKind, ROOT};
use crate::weight::Load;

/// The weight of nice 0.
const ONE: u64 = 1 << 20;
/// The most shares times CPUs may come to (mode `max`): nice -20.
const CPUS_WEIGHT_MAX: u64 = 88_761 << 10;

impl Scheduler {
    #[inline]
    pub(in super::super) fn is_flat(&self) -> bool {
        matches!(self.profile.groups, GroupQueueing::Flat(_))
    }

    /// The weight a task has in its own group; of a group's entity, in its parent.
    pub(in super::super) fn own_weight(&self, slot: u32) -> u64 {
        if self.is_flat() && !self.is_group(slot) {
            core::hint::cold_path();
            return self.tasks.slots[slot as usize].load().weight;
        }
        self.entities[slot as usize].load.weight
    }

    /// Whether a task of this group, or of one below, has the CPU.
    pub(super) fn runs_in(&self, level: Level) -> bool {
        if !self.is_flat() {
            let root = &self.cpus[level.cpu as usize].fair;
            return self.groups.fair(root, level).curr().is_some();
        }
        let mut at = match self.cpus[level.cpu as usize].fair.curr() {
            Some(slot) => self.home_of(slot),
            None => return false,
        };
        while at != level {
            match self.groups.above(at) {
                Some((_, above)) => at = above,
                None => return false,
            }
        }
        true
    }

    /// The shares of a group that its CPUs part, on the 20-bit scale.
    pub(super) fn scaled_shares(&self, group: &Group) -> u64 {
        let shares = group.effective_shares().shares() << 10;
        let GroupQueueing::Flat(mode) = self.profile.groups else { return shares };
        let cpus = u64::from(self.nr_cpus());
        let tasks = (group.total_runnable >> 10).max(1);
        match mode {
            GroupWeight::Up | GroupWeight::Smp => shares,
            GroupWeight::Concurrency => shares.saturating_mul(tasks.min(cpus)),
            GroupWeight::Cpus => shares.saturating_mul(cpus).min(CPUS_WEIGHT_MAX),
            GroupWeight::Tasks => shares.saturating_mul(tasks),
        }
    }

    /// The weight of a group's entity here has changed.
    pub(super) fn reweigh_flat_group(&mut self, queue: u32, weight: u64) {
        let GroupQueue { entity, parent, counts_in_parent, .. } =
            self.groups.queues[queue as usize];
        let entity = entity as usize;
        let weight = match self.profile.groups {
            GroupQueueing::Flat(GroupWeight::Up) => {
                let group = self.groups.queues[queue as usize].group;
                self.scaled_shares(&self.groups.list[group as usize])
            }
            _ => weight,
        };
        let old = self.entities[entity].load.weight;
        self.entities[entity].set_load(Load::summed(weight), &self.params);
        if counts_in_parent && let Some(parent) = self.groups.queues.get_mut(parent as usize) {
            parent.flat_weight = (parent.flat_weight + weight).saturating_sub(old);
        }
    }

    /// Who in a group's tasks is idle has changed.
    pub(super) fn refresh_flat_idle(&mut self, cpu: u32) {
        let root = &self.cpus[cpu as usize].fair;
        let running = root.curr().filter(|slot| self.entities[*slot as usize].on_rq);
        let queued: Vec<u32> = root.waiting().chain(running).collect();
        for slot in queued {
            let (_, idle) = self.flat_load(slot);
            let root = &mut self.cpus[cpu as usize].fair;
            root.set_idle(&mut self.entities, slot, idle);
        }
    }

    /// Averages and weights of a group and of those it is in.
    pub(super) fn refresh_flat(&mut self, now_ns: u64, level: Level) {
        let mut level = level;
        while level.queue != ROOT {
            self.update_average(now_ns, level);
            self.reweight_group(now_ns, level.queue);
            match self.groups.above(level) {
                Some((_, above)) => level = above,
                None => return,
            }
        }
    }

    /// What a task weighs in the root queue, and whether one of its groups makes it idle.
    fn flat_load(&self, slot: u32) -> (u64, bool) {
        let mut idle = self.tasks.slots[slot as usize].policy == PolicyKind::Idle;
        let mut flat = ONE;
        let (mut weight, mut level) = (self.own_weight(slot), self.home_of(slot));
        while let Some(queue) = self.groups.queues.get(level.queue as usize) {
            flat = part(flat, weight, queue.flat_weight);
            let entity = &self.entities[queue.entity as usize];
            idle |= entity.idle;
            weight = entity.load.weight;
            level = Level { cpu: level.cpu, queue: queue.parent };
        }
        (part(flat, weight, ONE).max(2), idle)
    }

    /// As [`Load`]: a task in no group has its own, with the exact inverse.
    fn flat_load_of(&self, slot: u32) -> (Load, bool) {
        let (weight, idle) = self.flat_load(slot);
        let own = self.tasks.slots[slot as usize].load();
        (if weight == own.weight { own } else { Load::summed(weight) }, idle)
    }

    pub(super) fn enqueue_flat(&mut self, now_ns: u64, cpu: u32, slot: u32, how: Enqueue) {
        self.level_on(slot, cpu);
        let home = Level { cpu, ..self.home_of(slot) };
        self.load_arrives(now_ns, slot, home);
        let weight = self.own_weight(slot);
        let mut level = home;
        while level.queue != ROOT {
            self.update_average(now_ns, level);
            let queue = &mut self.groups.queues[level.queue as usize];
            queue.nr_queued += 1;
            queue.nr_runnable += 1;
            if level == home {
                queue.flat_weight += weight;
            }
            let parent = queue.parent;
            self.reweight_group(now_ns, level.queue);
            self.count_in_parent(level.queue, true);
            self.throttle_first_queued(now_ns, level);
            level = Level { cpu, queue: parent };
        }
        let (load, idle) = self.flat_load_of(slot);
        FairQueue::reweight_off_queue(&self.params, &mut self.entities, slot, load);
        self.entities[slot as usize].idle = idle;
        let root = Level { cpu, queue: ROOT };
        self.on_level(root, |fair, params, entities| {
            fair.enqueue(params, entities, slot, how, now_ns);
        });
        self.take_level_resched(root);
    }

    pub(super) fn dequeue_flat(&mut self, now_ns: u64, slot: u32, how: Dequeue) -> bool {
        let home = self.home_of(slot);
        let was_delayed = self.entities[slot as usize].delayed;
        self.load_leaves(now_ns, slot, how == Dequeue::Sleep);
        let root = Level { queue: ROOT, ..home };
        let left = self.on_level(root, |fair, params, entities| {
            fair.dequeue(params, entities, slot, how, now_ns)
        });
        self.take_level_resched(root);
        if !left {
            self.count_flat_runnable(home, -1);
            return false;
        }
        self.leave_groups(now_ns, slot, home, was_delayed);
        true
    }

    /// A task of this group has become delayed, or is no longer.
    pub(super) fn count_flat_runnable(&mut self, home: Level, change: i32) {
        let mut number = home.queue;
        while let Some(queue) = self.groups.queues.get_mut(number as usize) {
            queue.nr_runnable = queue.nr_runnable.saturating_add_signed(change);
            number = queue.parent;
        }
    }

    /// A task that has left the root queue is counted out of its groups.
    pub(super) fn leave_groups(&mut self, now_ns: u64, slot: u32, home: Level, was_delayed: bool) {
        let weight = self.own_weight(slot);
        let mut level = home;
        while level.queue != ROOT {
            self.update_average(now_ns, level);
            let queue = &mut self.groups.queues[level.queue as usize];
            queue.nr_queued = queue.nr_queued.saturating_sub(1);
            queue.nr_runnable = queue.nr_runnable.saturating_sub(u32::from(!was_delayed));
            if level == home {
                queue.flat_weight = queue.flat_weight.saturating_sub(weight);
            }
            let (parent, empty) = (queue.parent, queue.nr_queued == 0);
            self.reweight_group(now_ns, level.queue);
            if empty {
                self.count_in_parent(level.queue, false);
                self.give_back(now_ns, level);
            }
            level = Level { queue: parent, ..level };
        }
    }

    /// The weight of a group's entity is part of its parent's while somebody is queued in it.
    fn count_in_parent(&mut self, queue: u32, counts: bool) {
        let queue = &mut self.groups.queues[queue as usize];
        let before = core::mem::replace(&mut queue.counts_in_parent, counts);
        let (weight, parent) = (self.entities[queue.entity as usize].load.weight, queue.parent);
        let Some(parent) = self.groups.queues.get_mut(parent as usize) else { return };
        match (before, counts) {
            (false, true) => parent.flat_weight += weight,
            (true, false) => parent.flat_weight = parent.flat_weight.saturating_sub(weight),
            _ => {}
        }
    }

    /// A task has run: each of its groups pays.
    pub(super) fn charge_flat(&mut self, slot: u32, ran_ns: u64) {
        let mut level = self.home_of(slot);
        while level.queue != ROOT {
            self.charge_quota(level, ran_ns);
            let Some((_, above)) = self.groups.above(level) else { return };
            level = above;
        }
    }

    /// The tick of the running task: its groups' averages and weights, and its own.
    pub(super) fn tick_flat(&mut self, now_ns: u64, cpu: u32) {
        let Some(slot) = self.cpus[cpu as usize].fair.curr() else { return };
        self.refresh_flat(now_ns, self.home_of(slot));
        self.weigh_flat_current(now_ns, cpu);
    }

    /// The running task gets the weight its groups leave it now.
    pub(super) fn weigh_flat_current(&mut self, now_ns: u64, cpu: u32) {
        let Some(slot) = self.cpus[cpu as usize].fair.curr() else { return };
        if !self.entities[slot as usize].on_rq {
            return;
        }
        let (load, _) = self.flat_load_of(slot);
        if self.entities[slot as usize].load.weight != load.weight {
            let root = Level { cpu, queue: ROOT };
            self.on_level(root, |fair, params, entities| {
                fair.reweight(params, entities, slot, load, now_ns);
            });
            self.take_level_resched(root);
        }
    }
}

/// One step of the way up: what of `flat` is left to a weight that is part of `all`.
fn part(flat: u64, weight: u64, all: u64) -> u64 {
    let part = u128::from(flat) * u128::from(weight) / u128::from(all.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{ONE, part};

    #[test]
    fn wx27_the_weight_of_nice_5_beside_nice_0_in_a_group_of_2048() {
        let (nice_0, nice_5) = (1 << 20, 343_040);
        let in_group = part(ONE, nice_5, nice_0 + nice_5);
        assert_eq!(part(in_group, 2048 << 10, ONE), 516_956);
    }
}
