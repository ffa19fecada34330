//! Quotas of groups (fair.md E): what runs is charged, and a group that has used up its quota stops.
//!
//! [`Bandwidth`] says when; this says what happens then, in both of the kernel's ways
//! ([`Throttling`]): the group's entity leaves its queue, or each task is parked when it returns to
//! user mode.

use super::{Level, fair_at};
use crate::bandwidth::{Bandwidth, Charge, Limit};
use crate::fair::{Dequeue, Enqueue, Wakeup};
use crate::scheduler::{Resched, Scheduler};
use crate::task::{ROOT, Task};
use crate::{Class, CpuId, Error, Feature, GroupId, GroupTimer, Output, Throttling};

impl Scheduler {
    /// Sets quota, period and burst of a group (`cpu.max`, `cpu.max.burst`). `phase_ns` is a point
    /// of the grid its periods are on: random for each group from 6.3 on.
    ///
    /// # Errors
    /// If the group does not exist or the kernel refuses the limit.
    pub fn set_group_limit(
        &mut self,
        now_ns: u64,
        group: GroupId,
        limit: Limit,
        phase_ns: u64,
    ) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let index = self.groups.find(group)?;
        let cpus = self.nr_cpus();
        let found = &mut self.groups.list[index as usize];
        if found.bandwidth.is_none() {
            let mut none =
                Bandwidth::new(Limit::default(), cpus, phase_ns).map_err(Error::Limit)?;
            none.set_slices_expire(self.params.has(Feature::CFS_SLICE_EXPIRY));
            found.bandwidth = Some(Box::new(none));
        }
        let Some(bandwidth) = &mut found.bandwidth else { return Ok(()) };
        let stopped = bandwidth.set_limit(now_ns, limit).map_err(Error::Limit)?;
        for cpu in stopped {
            self.release(now_ns, index, cpu);
        }
        self.sync_timers(index);
        Ok(())
    }

    /// The quota of a group and its counters; `None` if it never had a limit.
    pub fn group_bandwidth(&self, group: GroupId) -> Option<&Bandwidth> {
        self.groups.list.get(group.index())?.bandwidth.as_deref()
    }

    /// How long the group, or one it is in, was stopped while it had something to run, added up
    /// over its CPUs, ns (`cpu.stat.local`). Stops under way are not in it.
    pub fn group_throttled_local_ns(&self, group: GroupId) -> u64 {
        self.groups.list.get(group.index()).map_or(0, |group| group.throttled_local_ns)
    }

    /// A timer of a group has fired.
    ///
    /// # Errors
    /// If the group does not exist.
    pub fn group_timer_fired(
        &mut self,
        now_ns: u64,
        group: GroupId,
        timer: GroupTimer,
    ) -> Result<(), Error> {
        let now_ns = self.advance(now_ns);
        let index = self.groups.find(group)?;
        let found = &mut self.groups.list[index as usize];
        let Some(bandwidth) = &mut found.bandwidth else { return Ok(()) };
        let released = match timer {
            GroupTimer::Period => {
                found.timers[0] = None;
                bandwidth.on_period_timer(now_ns)
            }
            GroupTimer::Slack => {
                found.timers[1] = None;
                bandwidth.on_slack_timer(now_ns)
            }
        };
        for cpu in released {
            self.release(now_ns, index, cpu);
        }
        self.sync_timers(index);
        Ok(())
    }

    /// The running task is in user mode: if its group is throttled, it is parked, and
    /// [`schedule`](Self::schedule) must follow. Whether it was; never, where nobody runs any more.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn return_to_user(&mut self, now_ns: u64, cpu: CpuId) -> Result<bool, Error> {
        let now_ns = self.advance(now_ns);
        self.check_cpu(cpu)?;
        let Some(slot) = self.cpus[cpu.index()].current else { return Ok(false) };
        let level = self.home_of(slot);
        let fair = self.tasks.slots[slot as usize].class == Class::Fair;
        if !fair
            || level.queue == ROOT
            || !self.is_throttled(level)
            || self.profile.throttling != Throttling::Task
            || !self.entities[slot as usize].on_rq
        {
            return Ok(false);
        }
        self.park(now_ns, slot, level);
        Ok(true)
    }

    /// Takes a task off a throttled queue until it goes on.
    fn park(&mut self, now_ns: u64, slot: u32, level: Level) {
        self.dequeue_in_groups(now_ns, level.cpu, slot, Dequeue::Throttle);
        self.tasks.slots[slot as usize].parked = true;
        self.groups.queues[level.queue as usize].parked.push(slot);
        let mut number = level.queue;
        while let Some(queue) = self.groups.queues.get_mut(number as usize) {
            if queue.throttle_count > 0 {
                queue.stopped_ns.get_or_insert(now_ns);
            }
            let group = &mut self.groups.list[queue.group as usize];
            if let Some(bandwidth) = &mut group.bandwidth {
                bandwidth.stop_counts(now_ns, level.cpu);
            }
            number = queue.parent;
        }
    }

    /// A parked task no longer waits for its group. Whether it did.
    pub(in crate::scheduler) fn leave_parked(&mut self, slot: u32) -> bool {
        if !core::mem::replace(&mut self.tasks.slots[slot as usize].parked, false) {
            return false;
        }
        let level = self.home_of(slot);
        if let Some(queue) = self.groups.queues.get_mut(level.queue as usize) {
            queue.parked.retain(|other| *other != slot);
        }
        true
    }

    /// Changes where a task belongs: one that is parked is put back for that time, and parked again
    /// if its new group is throttled too.
    pub(in crate::scheduler) fn while_unparked(
        &mut self,
        now_ns: u64,
        slot: u32,
        act: impl FnOnce(&mut Self),
    ) {
        if !self.tasks.slots[slot as usize].parked {
            return act(self);
        }
        self.leave_parked(slot);
        let cpu = self.tasks.slots[slot as usize].cpu;
        self.activate(now_ns, cpu, slot, Enqueue::Wakeup);
        act(self);
        let Task { cpu, class, .. } = self.tasks.slots[slot as usize];
        let level = self.home_of(slot);
        if self.cpus[cpu as usize].current != Some(slot)
            && class == Class::Fair
            && self.is_throttled(level)
        {
            self.park(now_ns, slot, level);
        } else {
            self.check_preempt(now_ns, cpu, slot, Wakeup::default());
        }
    }

    /// Whether a queue or one above it is throttled.
    #[inline]
    pub(super) fn is_throttled(&self, level: Level) -> bool {
        self.groups.queues.get(level.queue as usize).is_some_and(|queue| queue.throttle_count > 0)
    }

    /// Whether the queue itself is throttled, and its entity is therefore on no queue.
    pub(super) fn cuts_off(&self, level: Level) -> bool {
        self.profile.throttling == Throttling::Group
            && self.groups.queues.get(level.queue as usize).is_some_and(|queue| {
                let bandwidth = self.groups.list[queue.group as usize].bandwidth.as_ref();
                bandwidth.is_some_and(|bandwidth| bandwidth.is_throttled(queue.cpu))
            })
    }

    /// Whether a pick that comes to this queue looks at its quota: always for tasks, and for groups
    /// where someone of it runs.
    pub(super) fn throttles_in_pick(&self, level: Level) -> bool {
        self.groups.queues.get(level.queue as usize).is_some_and(|queue| {
            self.profile.throttling == Throttling::Task || queue.fair.curr().is_some()
        })
    }

    fn bandwidth_of(&mut self, level: Level) -> Option<(u32, &mut Bandwidth)> {
        let group = self.groups.queues.get(level.queue as usize)?.group;
        let bandwidth = self.groups.list[group as usize].bandwidth.as_deref_mut()?;
        Some((group, bandwidth))
    }

    /// E.4.
    pub(super) fn charge_quota(&mut self, level: Level, ran_ns: u64) {
        let now_ns = self.now_ns;
        let runs = self.runs_in(level);
        let Some((group, bandwidth)) = self.bandwidth_of(level) else { return };
        let charge = bandwidth.charge(now_ns, level.cpu, ran_ns, runs);
        self.sync_timers(group);
        if charge == Charge::Goes {
            return;
        }
        if !self.is_flat() {
            self.request_resched(level.cpu, Resched::Now);
        } else if self.throttle_if_out(now_ns, level) {
            self.outputs.push(Output::Park { cpu: CpuId(level.cpu) });
        }
    }

    /// The first of a queue where nobody runs: E.6.
    pub(super) fn throttle_first_queued(&mut self, now_ns: u64, level: Level) {
        let first = match self.groups.queues.get(level.queue as usize) {
            Some(queue) if self.is_flat() => queue.nr_queued == 1,
            Some(queue) => queue.fair.nr_queued == 1,
            None => return,
        };
        if !first || self.runs_in(level) {
            return;
        }
        if self.is_throttled(level) && self.profile.throttling == Throttling::Group {
            self.groups.queues[level.queue as usize].stopped_ns.get_or_insert(now_ns);
        }
        let Some((group, bandwidth)) = self.bandwidth_of(level) else { return };
        if bandwidth.is_throttled(level.cpu) {
            // Stopped while nobody was queued: from now on somebody is.
            bandwidth.stop_counts(now_ns, level.cpu);
            return;
        }
        bandwidth.charge(now_ns, level.cpu, 0, false);
        self.sync_timers(group);
        self.throttle_if_out(now_ns, level);
    }

    /// E.6: stops the group on this CPU if there is no runtime left. Whether it did.
    pub(super) fn throttle_if_out(&mut self, now_ns: u64, level: Level) -> bool {
        let by_group = self.profile.throttling == Throttling::Group;
        // 6.1 counts from the stop on, even if nobody is queued.
        let at_once = !self.profile.is_eevdf();
        let queued = at_once || fair_at(&mut self.cpus, &mut self.groups, level).nr_queued > 0;
        let Some((group, bandwidth)) = self.bandwidth_of(level) else { return false };
        let out = bandwidth.out_of_runtime(now_ns, level.cpu, by_group && queued);
        self.sync_timers(group);
        if !out {
            return false;
        }
        self.tell_throttled(group, level.cpu, true);
        self.count_throttled(now_ns, level, true);
        if by_group {
            self.take_group_off(now_ns, level);
        }
        true
    }

    /// Counts a throttled queue for everyone below it too.
    fn count_throttled(&mut self, now_ns: u64, level: Level, begins: bool) {
        let subtree = self.groups.take_subtree(level.queue);
        for number in &subtree {
            let queue = &mut self.groups.queues[*number as usize];
            if begins {
                queue.throttle_count += 1;
                if self.profile.throttling == Throttling::Group && queue.fair.nr_queued > 0 {
                    queue.stopped_ns.get_or_insert(now_ns);
                }
                continue;
            }
            queue.throttle_count = queue.throttle_count.saturating_sub(1);
            if queue.throttle_count == 0
                && let Some(since_ns) = queue.stopped_ns.take()
            {
                let group = &mut self.groups.list[queue.group as usize];
                group.throttled_local_ns += now_ns.saturating_sub(since_ns);
            }
        }
        self.groups.subtree[0] = subtree;
    }

    /// E.7: the entity leaves, and with it everyone below.
    fn take_group_off(&mut self, now_ns: u64, level: Level) {
        let queue = &self.groups.queues[level.queue as usize];
        let (queued, runnable) = (queue.nr_queued as i32, queue.nr_runnable as i32);
        let Some((entity, above)) = self.groups.above(level) else { return };
        if !self.entities[entity as usize].on_rq {
            return;
        }
        self.dequeue_in_groups(now_ns, level.cpu, entity, Dequeue::Throttle);
        self.count_from(above, (-queued, -runnable));
    }

    /// E.10: a group goes on, on a CPU.
    fn release(&mut self, now_ns: u64, group: u32, cpu: u32) {
        self.tell_throttled(group, cpu, false);
        let queue = self.groups.list[group as usize].queues[cpu as usize];
        let level = Level { cpu, queue };
        if queue == ROOT {
            return;
        }
        self.count_throttled(now_ns, level, false);
        match self.profile.throttling {
            Throttling::Group => self.put_group_back(now_ns, level),
            Throttling::Task => self.unpark(now_ns, level),
        }
        let rq = &self.cpus[cpu as usize];
        if rq.current.is_none() && rq.nr_running() > 0 {
            self.request_resched(cpu, Resched::Now);
        }
    }

    fn put_group_back(&mut self, now_ns: u64, level: Level) {
        let queue = &self.groups.queues[level.queue as usize];
        let (queued, runnable) = (queue.nr_queued as i32, queue.nr_runnable as i32);
        let someone = queue.fair.nr_queued > 0;
        let Some((entity, above)) = self.groups.above(level) else { return };
        if !someone || self.entities[entity as usize].on_rq {
            return;
        }
        self.enqueue_up(now_ns, entity, above, Enqueue::Wakeup, (queued, runnable));
    }

    /// All tasks on a level and below whose groups are throttled no longer: those of newer groups
    /// first, those in a group before its own, and of a group the last parked first (seen on 6.18.15
    /// and 7.2.12).
    fn unpark(&mut self, now_ns: u64, level: Level) {
        let subtree = self.groups.take_subtree(level.queue);
        for number in subtree.iter().rev() {
            let number = *number as usize;
            if self.groups.queues[number].throttle_count > 0 {
                continue;
            }
            while let Some(slot) = self.groups.queues[number].parked.pop() {
                self.tasks.slots[slot as usize].parked = false;
                self.activate(now_ns, level.cpu, slot, Enqueue::Wakeup);
            }
        }
        self.groups.subtree[0] = subtree;
    }

    fn tell_throttled(&mut self, group: u32, cpu: u32, stops: bool) {
        let (group, cpu) = (GroupId(group), CpuId(cpu));
        self.outputs.push(Output::Throttled { group, cpu, stops });
    }

    /// E.11.
    pub(super) fn give_back(&mut self, now_ns: u64, level: Level) {
        if let Some((group, bandwidth)) = self.bandwidth_of(level) {
            bandwidth.give_back(now_ns, level.cpu);
            self.sync_timers(group);
        }
    }

    /// Tells the host of timers that have changed.
    fn sync_timers(&mut self, group: u32) {
        let found = &mut self.groups.list[group as usize];
        let Some(bandwidth) = &found.bandwidth else { return };
        let wanted = [bandwidth.period_timer_ns(), bandwidth.slack_timer_ns()];
        for (at, timer) in [GroupTimer::Period, GroupTimer::Slack].into_iter().enumerate() {
            if found.timers[at] == wanted[at] {
                continue;
            }
            found.timers[at] = wanted[at];
            let group = GroupId(group);
            self.outputs.push(match wanted[at] {
                Some(at_ns) => Output::ArmGroupTimer { group, timer, at_ns },
                None => Output::DisarmGroupTimer { group, timer },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{GroupId, Profile, SchedConfig, Scheduler, SmpConfig, Spawn};

    /// Seen on 6.18.15 and 7.2.12 with three groups in one that is throttled.
    #[test]
    fn newer_groups_go_on_first_and_a_group_after_those_in_it() {
        let profile = Profile::named("6.18").unwrap();
        let features = profile.features;
        let config = SchedConfig {
            profile,
            features,
            base_slice_ns: None,
            cpus: 1,
            hz: 250,
            smp: SmpConfig::default(),
        };
        let mut sched = Scheduler::new(&config).unwrap();
        let outer = sched.create_group(None).unwrap();
        let [one, two] = [(); 2].map(|()| sched.create_group(Some(outer)).unwrap());
        let in_one = sched.create_group(Some(one)).unwrap();
        // Queues are made when tasks come: here the newest group's first.
        for group in [two, in_one, one, outer] {
            sched.spawn(0, Spawn { group: Some(group), ..Spawn::default() }).unwrap();
        }
        let queue = sched.groups.list[outer.index()].queues[0];
        let mut order = sched.groups.take_subtree(queue);
        order.reverse();
        let groups: Vec<GroupId> =
            order.iter().map(|at| GroupId(sched.groups.queues[*at as usize].group)).collect();
        assert_eq!(groups, [two, in_one, one, outer]);
    }
}
