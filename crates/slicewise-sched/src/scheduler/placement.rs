//! Which CPU: on fork, on wakeup, for tasks that may not stay, and for real-time and deadline tasks
//! that wait while another CPU does less important work.
//!
//! Fair tasks are placed and balanced by the rules in [`super::smp`] (fair.md G). Real-time and deadline
//! tasks go where the least important work runs, within their partition, and CPUs that run out of such
//! work pull it (classes.md B.5, B.6, C.9). Nothing else in the crate chooses a CPU.
//!
//! *Simplifications*: new real-time tasks start on the CPU with the fewest runnable tasks, as does
//! whoever may not stay where it is and finds no idle CPU. With RT_GROUP_SCHED, pulls go by affinity, not by
//! partition.

use super::smp::wake::Waking;
use super::{Resched, Scheduler};
use crate::deadline::entity::Owner;
use crate::fair::{Dequeue, Enqueue};
use crate::mask::CpuMask;
use crate::ordered::before;
use crate::{Attr, Class, CpuId, CpuSet, Error};

/// Idle CPUs, a bit each.
#[derive(Clone, Debug)]
pub(super) struct IdleCpus {
    words: Vec<u64>,
    count: u32,
}

impl IdleCpus {
    pub(super) fn all(cpus: u32) -> Self {
        let mut words = vec![u64::MAX; cpus.div_ceil(64) as usize];
        if let Some(last) = words.last_mut()
            && !cpus.is_multiple_of(64)
        {
            *last = (1 << (cpus % 64)) - 1;
        }
        Self { words, count: cpus }
    }

    /// Whether that is new.
    #[inline]
    pub(super) fn set(&mut self, cpu: u32, idle: bool) -> bool {
        let (word, bit) = (&mut self.words[(cpu / 64) as usize], cpu % 64);
        let was = *word >> bit & 1 == 1;
        if was != idle {
            *word ^= 1 << bit;
            self.count = if idle { self.count + 1 } else { self.count - 1 };
        }
        was != idle
    }

    /// How many.
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Whether all of these idle.
    pub(super) fn has_all(&self, cpus: &CpuMask) -> bool {
        self.words.iter().enumerate().all(|(at, idle)| cpus.word(at) & !idle == 0)
    }

    /// The first from `from` on, without going round.
    pub(super) fn next_from(&self, from: u32) -> Option<u32> {
        let start = (from / 64) as usize;
        (start..self.words.len()).find_map(|word| {
            let mask = if word == start { u64::MAX << (from % 64) } else { u64::MAX };
            let bits = self.words[word] & mask;
            (bits != 0).then(|| word as u32 * 64 + bits.trailing_zeros())
        })
    }

    #[inline]
    pub(super) fn contains(&self, cpu: u32) -> bool {
        self.words[(cpu / 64) as usize] >> (cpu % 64) & 1 == 1
    }

    /// The first idle allowed CPU from `from` on, going round.
    #[inline]
    fn first_from(&self, from: u32, allowed: &CpuSet) -> Option<u32> {
        if self.count == 0 { None } else { self.scan_from(from, allowed) }
    }

    #[inline(never)]
    fn scan_from(&self, from: u32, allowed: &CpuSet) -> Option<u32> {
        let words = self.words.len();
        let start = (from / 64) as usize;
        for step in 0..=words {
            let word = (start + step) % words;
            let mut bits = self.words[word] & allowed.word(word);
            if step == 0 {
                bits &= u64::MAX << (from % 64);
            }
            if bits != 0 {
                return Some(word as u32 * 64 + bits.trailing_zeros());
            }
        }
        None
    }
}

impl Scheduler {
    /// Where a new task starts.
    pub(super) fn select_fork_cpu(
        &self,
        attr: &Attr,
        allowed: &CpuSet,
        parent_cpu: u32,
    ) -> Result<u32, Error> {
        if allowed.first_within(self.nr_cpus()).is_none() {
            return Err(Error::NoAllowedCpu);
        }
        if self.nr_cpus() == 1 {
            return Ok(0);
        }
        if attr.policy.class() == Class::Fair
            && let Some(cpu) = self.select_fork_fair(parent_cpu, allowed)
        {
            return Ok(cpu);
        }
        self.least_loaded(parent_cpu, allowed).ok_or(Error::NoAllowedCpu)
    }

    /// Where a sleeper wakes up.
    #[inline(always)]
    pub(super) fn select_wake_cpu(&mut self, now_ns: u64, waking: Waking) -> u32 {
        let Waking { slot, prev, .. } = waking;
        if self.cpus.len() == 1 {
            return prev;
        }
        let task = &self.tasks.slots[slot as usize];
        if waking.this == prev
            && matches!(task.affinity, CpuSet::All)
            && task.class == Class::Fair
            && self.wakes_at_home(prev)
        {
            self.wake_at_home(now_ns, slot, prev);
            return prev;
        }
        self.select_wake_cpu_of_many(now_ns, waking, slot, prev)
    }

    #[inline(never)]
    fn select_wake_cpu_of_many(
        &mut self,
        now_ns: u64,
        waking: Waking,
        slot: u32,
        prev: u32,
    ) -> u32 {
        let task = &self.tasks.slots[slot as usize];
        let prev_allowed = task.affinity.contains(CpuId(prev));
        let only = match task.affinity {
            CpuSet::All => None,
            ref some => some.only_within(self.nr_cpus()),
        };
        if let Some(only) = only {
            return only;
        }
        match task.class {
            Class::Rt => return self.select_wake_cpu_rt(waking, prev_allowed),
            Class::Deadline => return self.select_wake_cpu_dl(waking, prev_allowed),
            Class::Fair => {}
            _ => return prev,
        }
        let cpu = self.select_wake_fair(now_ns, waking);
        if self.tasks.slots[slot as usize].affinity.contains(CpuId(cpu)) {
            return cpu;
        }
        self.allowed_near(slot, cpu).unwrap_or(prev)
    }

    /// An allowed CPU where a task must go that may not be where it should: the first of the same
    /// memory node, else the first there is.
    fn allowed_near(&self, slot: u32, cpu: u32) -> Option<u32> {
        let affinity = &self.tasks.slots[slot as usize].affinity;
        let near = (0..self.nr_cpus())
            .filter(|other| affinity.contains(CpuId(*other)))
            .find(|other| self.smp.same_node(cpu, *other));
        near.or_else(|| affinity.first_within(self.nr_cpus()).map(|first| first.0))
    }

    /// classes.md B.5: stay unless something at least as important runs there.
    #[inline(never)]
    fn select_wake_cpu_rt(&self, waking: Waking, prev_allowed: bool) -> u32 {
        let Waking { slot, prev: prev_cpu, this, .. } = waking;
        let prio = self.rt_prio(slot);
        let rq = &self.cpus[prev_cpu as usize];
        let blocked = rq.current.is_some_and(|current| {
            let class = self.tasks.slots[current as usize].class;
            class < Class::Rt || class == Class::Rt && self.rt_prio(current) <= prio
        });
        if prev_allowed && !blocked {
            return prev_cpu;
        }
        match self.find_lowest_rt(slot, prev_cpu, this) {
            Some(cpu) => cpu,
            None if prev_allowed => prev_cpu,
            None => {
                let allowed = &self.tasks.slots[slot as usize].affinity;
                self.least_loaded(prev_cpu, allowed).unwrap_or(prev_cpu)
            }
        }
    }

    /// The other allowed CPU whose best real-time work is the least important, and less important
    /// than this task (classes.md B.5, cpupri; the first such CPU).
    pub(super) fn find_lowest_rt(&self, slot: u32, cpu: u32, this: u32) -> Option<u32> {
        let allowed = &self.tasks.slots[slot as usize].affinity;
        let prio = self.rt_prio(slot);
        if self.nr_cpus() == 1 {
            return None;
        }
        if !self.groups.has_rt() {
            return self.find_lowest(prio, cpu, this, allowed).filter(|found| *found != cpu);
        }
        let mut lowest: Option<(u8, u32)> = None;
        for other in (0..self.nr_cpus()).filter(|other| *other != cpu) {
            let rq = &self.cpus[other as usize];
            let free = rq.stop.is_empty() && rq.dl.nr_queued == 0;
            let level = if free { rq.rt.best().unwrap_or(100) } else { 0 };
            let better = lowest.is_none_or(|(best, _)| level > best);
            if level > prio && better && allowed.contains(CpuId(other)) {
                lowest = Some((level, other));
            }
        }
        lowest.map(|(_, other)| other)
    }

    /// classes.md C.9: stay unless a deadline task runs there that has to go on.
    fn select_wake_cpu_dl(&self, waking: Waking, prev_allowed: bool) -> u32 {
        let Waking { slot, prev: prev_cpu, this, .. } = waking;
        let deadline = self.absolute_deadline(slot);
        let blocked = self.cpus[prev_cpu as usize].current.is_some_and(|current| {
            let task = &self.tasks.slots[current as usize];
            task.class < Class::Deadline
                || task.class == Class::Deadline
                    && !before(deadline, self.absolute_deadline(current))
        });
        if prev_allowed && !blocked {
            return prev_cpu;
        }
        match self.find_later_dl(slot, prev_cpu, this) {
            Some(cpu) => cpu,
            None if prev_allowed => prev_cpu,
            None => {
                let allowed = &self.tasks.slots[slot as usize].affinity;
                self.least_loaded(prev_cpu, allowed).unwrap_or(prev_cpu)
            }
        }
    }

    fn absolute_deadline(&self, slot: u32) -> u64 {
        let number = self.tasks.slots[slot as usize].dl;
        self.deadlines.entities.get(number as usize).map_or(u64::MAX, |entity| entity.deadline)
    }

    /// Another allowed CPU where this task would be first: one without deadline tasks, else the one
    /// whose earliest deadline is the latest, if that is later than the task's (classes.md C.9,
    /// cpudl).
    pub(super) fn find_later_dl(&self, slot: u32, cpu: u32, this: u32) -> Option<u32> {
        let allowed = &self.tasks.slots[slot as usize].affinity;
        let deadline = self.absolute_deadline(slot);
        if self.nr_cpus() == 1 {
            return None;
        }
        if let Some(free) = self.find_free_of_deadlines(cpu, this, allowed) {
            return Some(free);
        }
        let mut latest: Option<(u64, u32)> = None;
        for other in self.smp.busy_above().iter().filter(|other| *other != cpu) {
            let rq = &self.cpus[other as usize];
            if !allowed.contains(CpuId(other))
                || !rq.stop.is_empty()
                || !self.smp.same_partition(cpu, other)
            {
                continue;
            }
            let Some(first) = rq.dl.first() else { continue };
            let earliest = self.deadlines.entities[first as usize].deadline;
            let later = latest.is_none_or(|(found, _)| before(found, earliest));
            if before(deadline, earliest) && later {
                latest = Some((earliest, other));
            }
        }
        latest.map(|(_, other)| other)
    }

    /// A CPU takes over the deadline task that waits longest elsewhere, if that is to go before its
    /// own (classes.md C.9, pull).
    pub(super) fn pull_dl(&mut self, now_ns: u64, cpu: u32) {
        if self.nr_cpus() == 1 {
            return;
        }
        let entities = &self.deadlines.entities;
        let ours =
            self.cpus[cpu as usize].dl.first().map(|first| entities[first as usize].deadline);
        let mut found: Option<(u64, u32)> = None;
        for other in self.smp.busy_above().iter().filter(|other| *other != cpu) {
            let rq = &self.cpus[other as usize];
            if rq.dl.nr_tasks == 0 || !self.smp.same_partition(cpu, other) {
                continue;
            }
            let waiting = rq.dl.iter().find_map(|number| match entities[number as usize].owner {
                Owner::Task(slot)
                    if rq.current != Some(slot)
                        && self.tasks.slots[slot as usize].affinity.contains(CpuId(cpu)) =>
                {
                    Some((number, slot))
                }
                _ => None,
            });
            let Some((number, slot)) = waiting else { continue };
            // It is about to run there.
            if rq.dl.first() == Some(number) && rq.stop.is_empty() {
                continue;
            }
            let deadline = entities[number as usize].deadline;
            if ours.is_none_or(|ours| before(deadline, ours))
                && found.is_none_or(|(earliest, _)| before(deadline, earliest))
            {
                found = Some((deadline, slot));
            }
        }
        if let Some((_, slot)) = found {
            self.take_over(now_ns, slot, cpu);
        }
    }

    /// Deadline tasks that wait here go where they would be first (classes.md C.9, push).
    pub(super) fn push_dl(&mut self, now_ns: u64, cpu: u32) {
        if self.cpus[cpu as usize].dl.nr_tasks == 0 || self.nr_cpus() == 1 {
            return;
        }
        loop {
            let rq = &self.cpus[cpu as usize];
            let target = rq.dl.iter().find_map(|number| {
                match self.deadlines.entities[number as usize].owner {
                    Owner::Task(slot) if rq.current != Some(slot) => {
                        self.find_later_dl(slot, cpu, cpu).map(|to| (slot, to))
                    }
                    _ => None,
                }
            });
            let Some((slot, to)) = target else { return };
            let number = self.tasks.slots[slot as usize].dl;
            if rq.dl.first() == Some(number) && rq.stop.is_empty() {
                return self.request_resched(cpu, Resched::Now);
            }
            self.move_waiting(now_ns, slot, to);
        }
    }

    /// The allowed CPU with the fewest runnable tasks; the first from `from` on among equals.
    #[inline(never)]
    fn least_loaded(&self, from: u32, allowed: &CpuSet) -> Option<u32> {
        let cpus = self.nr_cpus();
        (0..cpus)
            .map(|step| (from + step) % cpus)
            .filter(|cpu| allowed.contains(CpuId(*cpu)))
            .min_by_key(|cpu| self.cpus[*cpu as usize].nr_runnable())
    }

    /// Where a task goes that may not stay where it is.
    pub(super) fn fallback_cpu(&self, slot: u32) -> Option<u32> {
        let task = &self.tasks.slots[slot as usize];
        self.idle
            .first_from(task.cpu, &task.affinity)
            .or_else(|| self.least_loaded(task.cpu, &task.affinity))
    }

    /// A CPU whose best real-time work is less important than what another keeps waiting takes
    /// that over (classes.md B.6, pull).
    pub(super) fn pull_before_pick(&mut self, now_ns: u64, cpu: u32) {
        if self.nr_cpus() == 1 {
            return;
        }
        let rq = &self.cpus[cpu as usize];
        if rq.rt_throttled || rq.dl.nr_tasks > 0 {
            return;
        }
        let ours = rq.rt.best().unwrap_or(100);
        if self.groups.has_rt() {
            return self.pull_rt_in_groups(now_ns, cpu, ours);
        }
        let mut found: Option<(u8, u32)> = None;
        for other in self.smp.busy_above().iter().filter(|other| *other != cpu) {
            if !self.smp.same_partition(cpu, other) {
                continue;
            }
            let rq = &self.cpus[other as usize];
            let waiting = rq.rt.iter(&self.tasks.slots).find(|slot| {
                rq.current != Some(*slot)
                    && !rq.rt_throttled
                    && self.tasks.slots[*slot as usize].affinity.contains(CpuId(cpu))
            });
            let Some(slot) = waiting else { continue };
            let level = self.rt_prio(slot);
            let about_to_run = rq.rt.first() == Some(slot) && rq.stop.is_empty();
            if level < ours && !about_to_run && found.is_none_or(|(best, _)| level < best) {
                found = Some((level, slot));
            }
        }
        if let Some((_, slot)) = found {
            self.take_over(now_ns, slot, cpu);
        }
    }

    /// Moves a waiting task here without asking for a reschedule: one is under way.
    pub(super) fn take_over(&mut self, now_ns: u64, slot: u32, to: u32) {
        let from = self.tasks.slots[slot as usize].cpu;
        self.deactivate(now_ns, from, slot, Dequeue::Move);
        self.tasks.slots[slot as usize].cpu = to;
        self.push_migrated(slot, from, to);
        self.activate(now_ns, to, slot, Enqueue::Migrated);
    }

    /// After a switch to a real-time task: those it keeps waiting go where less important work
    /// runs (classes.md B.6, push).
    #[inline]
    pub(super) fn push_rt(&mut self, now_ns: u64, cpu: u32) {
        if self.groups.has_rt() {
            return self.push_rt_in_groups(now_ns, cpu);
        }
        if self.cpus[cpu as usize].rt.nr_queued < 2 || self.nr_cpus() == 1 {
            return;
        }
        loop {
            let rq = &self.cpus[cpu as usize];
            let target = rq
                .rt
                .iter(&self.tasks.slots)
                .filter(|slot| rq.current != Some(*slot))
                .find_map(|slot| self.find_lowest_rt(slot, cpu, cpu).map(|to| (slot, to)));
            let Some((slot, to)) = target else { return };
            self.move_waiting(now_ns, slot, to);
        }
    }
}
