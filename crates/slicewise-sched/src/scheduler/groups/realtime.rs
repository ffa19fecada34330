//! The real-time class where groups have real-time queues and limits of their own (kernels built with
//! RT_GROUP_SCHED; classes.md B.2, B.4).
//!
//! On each CPU a group has the 100 lists of the class, and an entity on the list of its parent that
//! its best task's priority says. The pick goes down from the root. What a task runs is charged to its
//! group and to all above it; a group that has had more than its runtime leaves its parent's lists
//! until one of its periods is over, and is not on them while it has nobody to run. The entity is the
//! same slot as in the fair class.
//!
//! Whenever a task comes or goes, the entities above it leave their lists and join them anew, at the
//! tail: their priorities may be others now.
//!
//! *Simplification*: what waits is pushed and pulled in the order of priorities, and among equals
//! those of older queues first; a kernel keeps a list ordered by when they began to wait.

use std::collections::BTreeSet;

use super::{Level, Resched, Scheduler};
use crate::profile::RtRules;
use crate::rt::{Position, RtQueue};
use crate::rt_group::check;
use crate::task::{ROOT, State, Task};
use crate::{Attr, Class, CpuId, Error, GroupId, Output, RtLimit, RtLimitError, Timer};

/// The real-time side of a group on a CPU, but for its lists.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// What its tasks have used of the period.
    time_ns: u64,
    /// They have used more than they may.
    throttled: bool,
    /// Tasks that could run here and below: those of throttled groups below are not among them.
    nr_running: u32,
    /// Entities queued here that someone lends a priority to.
    nr_boosted: u32,
}

impl Account {
    /// Whether nobody runs: who is boosted takes all others along.
    fn is_stopped(&self) -> bool {
        self.throttled && self.nr_boosted == 0
    }
}

/// A group's queue on a CPU; that of the root is the CPU's own.
#[derive(Clone, Debug)]
struct Queue {
    lists: RtQueue,
    account: Account,
}

/// What is the same on all CPUs.
#[derive(Clone, Copy, Debug)]
struct Group {
    limit: RtLimit,
    /// Where the timer is, and when it goes off next.
    timer: Option<(u32, u64)>,
    /// Of a session (autogroup): its real-time tasks are the root's.
    of_root: bool,
}

impl Group {
    fn new(limit: RtLimit) -> Self {
        Self { limit, timer: None, of_root: false }
    }
}

/// Real-time queues and limits of all groups, the root included.
#[derive(Clone, Debug)]
pub(super) struct RtGroups {
    /// What the sysctls say; `None` if they limit nothing, and nobody is ever stopped.
    system: Option<RtLimit>,
    root: Group,
    list: Vec<Group>,
    /// By the number of the queue in the fair class; perhaps not yet as many.
    queues: Vec<Queue>,
    /// By CPU.
    roots: Vec<Account>,
    /// Queued tasks that someone lends a priority to.
    boosted: BTreeSet<u32>,
    /// Timers by CPU: when they are due, and whose they are ([`ROOT`] for the root).
    timers: BTreeSet<(u32, u64, u32)>,
    /// By CPU: when the host's timer goes off.
    armed: Vec<Option<u64>>,
    /// Room for a task and the entities above it, kept to allocate nothing.
    chain: Vec<(u32, Level)>,
}

impl RtGroups {
    pub(super) fn new(rules: &RtRules, cpus: u32) -> Self {
        let period_ns = rules.period_us.saturating_mul(1000);
        let system = rules.runtime_us.map(|runtime_us| RtLimit {
            runtime_ns: Some(runtime_us.saturating_mul(1000)),
            period_ns,
        });
        let unlimited = RtLimit { runtime_ns: None, period_ns };
        Self {
            system,
            root: Group::new(system.unwrap_or(unlimited)),
            list: Vec::new(),
            queues: Vec::new(),
            roots: vec![Account::default(); cpus as usize],
            boosted: BTreeSet::new(),
            timers: BTreeSet::new(),
            armed: vec![None; cpus as usize],
            chain: Vec::new(),
        }
    }

    pub(super) fn add_group(&mut self) {
        self.list.push(Group::new(RtLimit::default()));
    }

    /// `number` is [`ROOT`] for the root.
    fn group(&self, number: u32) -> &Group {
        self.list.get(number as usize).unwrap_or(&self.root)
    }

    fn group_mut(&mut self, number: u32) -> &mut Group {
        self.list.get_mut(number as usize).unwrap_or(&mut self.root)
    }

    fn account(&self, level: Level) -> Account {
        match self.queues.get(level.queue as usize) {
            Some(queue) => queue.account,
            None if level.queue == ROOT => self.roots[level.cpu as usize],
            None => Account::default(),
        }
    }

    fn account_mut(&mut self, level: Level) -> &mut Account {
        match self.queues.get_mut(level.queue as usize) {
            Some(queue) => &mut queue.account,
            None => &mut self.roots[level.cpu as usize],
        }
    }
}

impl Scheduler {
    /// Sets the real-time runtime and period of a group, or of the root (`None`):
    /// `cpu.rt_runtime_us`, `cpu.rt_period_us`. What has been used of the period stays used.
    ///
    /// # Errors
    /// If the group does not exist, the kernel would refuse it, or it has no such limits.
    pub fn set_rt_limit(&mut self, group: Option<GroupId>, limit: RtLimit) -> Result<(), Error> {
        let number = group.map(|group| self.groups.find(group)).transpose()?;
        let Some(rt) = &self.groups.rt else { return Err(Error::RtLimit(RtLimitError::NotBuilt)) };
        let parents = self.groups.list.iter().map(|group| group.parent);
        let groups = parents
            .zip(&rt.list)
            .map(|(parent, group)| ((parent != ROOT).then_some(parent), group.limit));
        let has_tasks = limit.is_none() && self.has_rt_tasks(number.unwrap_or(ROOT));
        check(groups, rt.root.limit, rt.system, (number, limit), has_tasks)
            .map_err(Error::RtLimit)?;
        if let Some(rt) = &mut self.groups.rt {
            rt.group_mut(number.unwrap_or(ROOT)).limit = limit;
        }
        Ok(())
    }

    /// Makes a group one of a session (autogroup): its real-time tasks are queued in the root, and
    /// its own limit means nothing. To be said before it has any.
    ///
    /// # Errors
    /// If the group does not exist.
    pub fn set_rt_of_root(&mut self, group: GroupId) -> Result<(), Error> {
        let number = self.groups.find(group)?;
        if let Some(rt) = &mut self.groups.rt {
            rt.group_mut(number).of_root = true;
        }
        Ok(())
    }

    /// The real-time runtime and period of a group, or of the root; `None` if the kernel has no such
    /// limits, or the group does not exist.
    pub fn rt_limit(&self, group: Option<GroupId>) -> Option<RtLimit> {
        let number = group.map_or(Ok(ROOT), |group| self.groups.find(group)).ok()?;
        Some(self.groups.rt.as_ref()?.group(number).limit)
    }

    fn has_rt_tasks(&self, group: u32) -> bool {
        self.tasks.slots.iter().any(|task| {
            matches!(task.state, State::Runnable | State::Sleeping | State::Exiting)
                && task.group == group
                && task.class == Class::Rt
        })
    }

    /// Whether a task of this group may have these attributes (classes.md A.9, row 19).
    pub(in crate::scheduler) fn check_rt_group(
        &self,
        group: u32,
        attr: &Attr,
    ) -> Result<(), Error> {
        let Some(rt) = &self.groups.rt else { return Ok(()) };
        let group = rt.group(group);
        let refused = attr.policy.class() == Class::Rt
            && rt.system.is_some()
            && group.limit.is_none()
            && !group.of_root;
        if refused { Err(Error::RtLimit(RtLimitError::NoPolicy)) } else { Ok(()) }
    }

    /// A real-time task moves to another group.
    pub(super) fn change_rt_group(
        &mut self,
        now_ns: u64,
        slot: u32,
        group: u32,
    ) -> Result<(), Error> {
        if let Some(rt) = &self.groups.rt
            && rt.group(group).limit.is_none()
            && !rt.group(group).of_root
        {
            return Err(Error::RtLimit(RtLimitError::NoEntry));
        }
        let cpu = self.tasks.slots[slot as usize].cpu;
        let running = self.cpus[cpu as usize].current == Some(slot);
        if !self.tasks.slots[slot as usize].rt.queued {
            self.tasks.slots[slot as usize].group = group;
            return Ok(());
        }
        if running {
            self.charge_current(now_ns, cpu);
        }
        self.dequeue_rt_in_groups(slot);
        self.tasks.slots[slot as usize].group = group;
        self.enqueue_rt_in_groups(cpu, slot, Position::Tail);
        self.note_idle(cpu, false);
        if running || self.best_rt_preempts(Level { cpu, queue: ROOT }) {
            self.request_resched(cpu, Resched::Now);
        }
        Ok(())
    }

    /// The level whose lists an entity is on, or would be if its queue exists.
    fn rt_level_of(&self, slot: u32) -> Level {
        let task = &self.tasks.slots[slot as usize];
        let of_root = |rt: &RtGroups| task.state != State::Group && rt.group(task.group).of_root;
        if self.groups.rt.as_deref().is_some_and(of_root) {
            return Level { cpu: task.cpu, queue: ROOT };
        }
        self.home_of(slot)
    }

    /// Has the queues ready that a task would be in on this CPU.
    fn make_rt_queues(&mut self, slot: u32, cpu: u32) {
        let group = self.tasks.slots[slot as usize].group;
        if group != ROOT {
            self.queue_of(group, cpu);
        }
        let queues = self.groups.queues.len();
        if let Some(rt) = &mut self.groups.rt {
            let new = || Queue { lists: RtQueue::new(), account: Account::default() };
            rt.queues.resize_with(queues, new);
        }
    }

    /// An entity and those above it. Goes back with [`Self::keep_rt_chain`].
    fn take_rt_chain(&mut self, slot: u32) -> Vec<(u32, Level)> {
        let mut chain =
            self.groups.rt.as_mut().map_or_else(Vec::new, |rt| core::mem::take(&mut rt.chain));
        chain.clear();
        let mut next = Some((slot, self.rt_level_of(slot)));
        while let Some((entity, level)) = next {
            chain.push((entity, level));
            next = self.groups.above(level);
        }
        chain
    }

    fn keep_rt_chain(&mut self, chain: Vec<(u32, Level)>) {
        if let Some(rt) = &mut self.groups.rt {
            rt.chain = chain;
        }
    }

    fn rt_lists(&self, level: Level) -> &RtQueue {
        let queues = self.groups.rt.as_deref().and_then(|rt| rt.queues.get(level.queue as usize));
        queues.map_or(&self.cpus[level.cpu as usize].rt, |queue| &queue.lists)
    }

    fn with_rt_lists<R>(
        &mut self,
        level: Level,
        act: impl FnOnce(&mut RtQueue, &mut [Task]) -> R,
    ) -> R {
        let queues =
            self.groups.rt.as_deref_mut().and_then(|rt| rt.queues.get_mut(level.queue as usize));
        let lists = queues.map_or(&mut self.cpus[level.cpu as usize].rt, |queue| &mut queue.lists);
        act(lists, &mut self.tasks.slots)
    }

    fn rt_account(&self, level: Level) -> Account {
        self.groups.rt.as_deref().map_or_else(Account::default, |rt| rt.account(level))
    }

    fn change_rt_account(&mut self, level: Level, change: impl FnOnce(&mut Account)) {
        if let Some(rt) = &mut self.groups.rt {
            change(rt.account_mut(level));
        }
    }

    /// The queue an entity stands for.
    fn rt_child_of(&self, entity: u32) -> Option<Level> {
        let queue = self.child_of(entity)?;
        Some(Level { cpu: self.tasks.slots[entity as usize].cpu, queue })
    }

    /// How many tasks an entity brings, and whether it is boosted.
    fn rt_brings(&self, entity: u32) -> (u32, bool) {
        match self.rt_child_of(entity) {
            Some(child) => {
                let account = self.rt_account(child);
                (account.nr_running, account.nr_boosted > 0)
            }
            None => (1, self.groups.rt.as_deref().is_some_and(|rt| rt.boosted.contains(&entity))),
        }
    }

    /// Onto its list, unless it is a group that has nobody to run.
    fn attach_rt(&mut self, entity: u32, level: Level, position: Position) {
        let (tasks, boosted) = self.rt_brings(entity);
        let prio = match self.rt_child_of(entity) {
            Some(child) if tasks == 0 || self.rt_account(child).is_stopped() => return,
            Some(child) => self.rt_lists(child).best().unwrap_or(99),
            None => self.rt_prio(entity),
        };
        self.with_rt_lists(level, |lists, slots| lists.enqueue(slots, entity, prio, position));
        self.change_rt_account(level, |account| {
            account.nr_running += tasks;
            account.nr_boosted += u32::from(boosted);
        });
        self.start_rt_group_period(level);
    }

    /// The entities of a chain leave their lists, from the root down.
    fn detach_rt_chain(&mut self, chain: &[(u32, Level)]) {
        for (entity, level) in chain.iter().rev() {
            if !self.tasks.slots[*entity as usize].rt.queued {
                continue;
            }
            let (tasks, boosted) = self.rt_brings(*entity);
            self.with_rt_lists(*level, |lists, slots| lists.dequeue(slots, *entity));
            self.change_rt_account(*level, |account| {
                account.nr_running -= tasks;
                account.nr_boosted -= u32::from(boosted);
            });
        }
    }

    /// What the rest of the scheduler reads of a CPU's root.
    fn refresh_rt_root(&mut self, cpu: u32) {
        let root = self.rt_account(Level { cpu, queue: ROOT });
        let rq = &mut self.cpus[cpu as usize];
        rq.rt_throttled = root.is_stopped();
        rq.rt_below = root.nr_running as i32 - rq.rt.nr_queued as i32;
    }

    fn enqueue_rt_entity(&mut self, entity: u32, position: Position) {
        let chain = self.take_rt_chain(entity);
        self.detach_rt_chain(&chain);
        for (entity, level) in &chain {
            self.attach_rt(*entity, *level, position);
        }
        self.refresh_rt_root(self.tasks.slots[entity as usize].cpu);
        self.keep_rt_chain(chain);
    }

    fn dequeue_rt_entity(&mut self, entity: u32) {
        let chain = self.take_rt_chain(entity);
        self.detach_rt_chain(&chain);
        for (entity, level) in chain.iter().skip(1) {
            self.attach_rt(*entity, *level, Position::Tail);
        }
        self.refresh_rt_root(self.tasks.slots[entity as usize].cpu);
        self.keep_rt_chain(chain);
    }

    pub(in crate::scheduler) fn enqueue_rt_in_groups(
        &mut self,
        cpu: u32,
        slot: u32,
        position: Position,
    ) {
        self.make_rt_queues(slot, cpu);
        let task = &self.tasks.slots[slot as usize];
        let own = self.attr_of(slot).policy.kernel_prio(task.nice);
        if i32::from(task.prio) != own
            && let Some(rt) = &mut self.groups.rt
        {
            rt.boosted.insert(slot);
        }
        self.enqueue_rt_entity(slot, position);
    }

    pub(in crate::scheduler) fn dequeue_rt_in_groups(&mut self, slot: u32) {
        self.dequeue_rt_entity(slot);
        if let Some(rt) = &mut self.groups.rt {
            rt.boosted.remove(&slot);
        }
    }

    pub(in crate::scheduler) fn requeue_rt_in_groups(&mut self, slot: u32, position: Position) {
        let chain = self.take_rt_chain(slot);
        for (entity, level) in &chain {
            if self.tasks.slots[*entity as usize].rt.queued {
                self.with_rt_lists(*level, |lists, slots| lists.requeue(slots, *entity, position));
            }
        }
        self.keep_rt_chain(chain);
    }

    pub(in crate::scheduler) fn alone_rt_in_groups(&self, slot: u32) -> bool {
        let mut next = Some((slot, self.rt_level_of(slot)));
        while let Some((entity, level)) = next {
            let queued = self.tasks.slots[entity as usize].rt.queued;
            if queued && !self.rt_lists(level).alone(&self.tasks.slots, entity) {
                return false;
            }
            next = self.groups.above(level);
        }
        true
    }

    /// The task an entity of the root stands for: the first of the first of the first.
    pub(in crate::scheduler) fn rt_leaf(&self, entity: u32) -> u32 {
        let mut entity = entity;
        while let Some(first) = self.rt_child_of(entity).and_then(|at| self.rt_lists(at).first()) {
            entity = first;
        }
        entity
    }

    /// A task's group, or one that is in, is stopped.
    pub(in crate::scheduler) fn rt_throttled_in_group(&self, slot: u32) -> bool {
        if !self.groups.has_rt() {
            return false;
        }
        let mut level = self.rt_level_of(slot);
        loop {
            if self.rt_account(level).is_stopped() {
                return true;
            }
            match self.groups.above(level) {
                Some((_, above)) => level = above,
                None => return false,
            }
        }
    }

    /// All real-time tasks queued on a CPU, those of throttled groups too: the most important first.
    pub(in crate::scheduler) fn rt_tasks_in_groups(&self, cpu: u32) -> Vec<u32> {
        let slots = &self.tasks.slots;
        let root = self.cpus[cpu as usize].rt.iter(slots);
        let numbers = self.groups.on_cpu.get(cpu as usize).into_iter().flatten();
        let queues = self.groups.rt.as_deref().map_or(&[][..], |rt| &rt.queues);
        let below = numbers.filter_map(|number| queues.get(*number as usize));
        let mut tasks: Vec<u32> = root
            .chain(below.flat_map(|queue| queue.lists.iter(slots)))
            .filter(|slot| !self.is_group(*slot))
            .collect();
        tasks.sort_by_key(|slot| slots[*slot as usize].prio);
        tasks
    }

    /// Whether the best task of a level is more important than who runs.
    fn best_rt_preempts(&self, level: Level) -> bool {
        let best = self.rt_lists(level).best().map(i16::from);
        let current = self.cpus[level.cpu as usize].current;
        match (best, current) {
            (Some(best), Some(slot)) => best < self.tasks.slots[slot as usize].prio,
            (best, None) => best.is_some(),
            (None, _) => false,
        }
    }

    /// B.6, pull. A task of a throttled group is taken as well, if something still more important
    /// runs where it is.
    pub(in crate::scheduler) fn pull_rt_in_groups(&mut self, now_ns: u64, cpu: u32, ours: u8) {
        let mut found: Option<(i16, u32)> = None;
        for other in (0..self.nr_cpus()).filter(|other| *other != cpu) {
            let Some(runs) = self.cpus[other as usize].current else { continue };
            let waiting = self.rt_tasks_in_groups(other).into_iter().find(|slot| {
                *slot != runs && self.tasks.slots[*slot as usize].affinity.contains(CpuId(cpu))
            });
            let Some(slot) = waiting else { continue };
            let prio = self.tasks.slots[slot as usize].prio;
            // It is about to run there, or waits for its group's next period.
            let stays = prio < self.tasks.slots[runs as usize].prio;
            if prio < i16::from(ours) && !stays && found.is_none_or(|(best, _)| prio < best) {
                found = Some((prio, slot));
            }
        }
        if let Some((_, slot)) = found {
            self.take_over(now_ns, slot, cpu);
        }
    }

    /// B.6, push: where a real-time task runs, whoever waits goes where less important work runs,
    /// those of throttled groups too.
    pub(in crate::scheduler) fn push_rt_in_groups(&mut self, now_ns: u64, cpu: u32) {
        let Some(runs) = self.cpus[cpu as usize].current else { return };
        let Task { class, prio, .. } = self.tasks.slots[runs as usize];
        if self.nr_cpus() == 1 || class != Class::Rt {
            return;
        }
        for slot in self.rt_tasks_in_groups(cpu).into_iter().filter(|slot| *slot != runs) {
            let Some(to) = self.find_lowest_rt(slot, cpu, cpu) else { continue };
            // More important than who runs: it waits for its group's next period, and all go on
            // waiting.
            if self.tasks.slots[slot as usize].prio < prio {
                return;
            }
            self.move_waiting(now_ns, slot, to);
        }
    }

    /// Real-time or deadline tasks have run for so long.
    pub(in crate::scheduler) fn charge_rt_in_groups(
        &mut self,
        cpu: u32,
        class: Class,
        delta_ns: u64,
    ) {
        let Some(rt) = &mut self.groups.rt else { return };
        if rt.system.is_none() {
            return;
        }
        if class == Class::Deadline {
            let limit = rt.root.limit;
            let counts = rt.root.timer.is_some();
            let root = &mut rt.roots[cpu as usize];
            if counts || limit.runtime_ns.is_none_or(|runtime_ns| root.time_ns < runtime_ns) {
                root.time_ns = root.time_ns.saturating_add(delta_ns);
            }
            return;
        }
        let Some(slot) = self.cpus[cpu as usize].current else { return };
        let mut level = self.rt_level_of(slot);
        loop {
            if self.charge_rt_level(level, delta_ns) {
                self.request_resched(cpu, Resched::Now);
                self.start_rt_group_period(level);
            }
            match self.groups.above(level) {
                Some((_, above)) => level = above,
                None => return,
            }
        }
    }

    /// Whether the level's tasks have to stop.
    fn charge_rt_level(&mut self, level: Level, delta_ns: u64) -> bool {
        let group = self.rt_group_of(level);
        let Some(rt) = &mut self.groups.rt else { return false };
        let limit = rt.group(group).limit;
        let Some(runtime_ns) = limit.runtime_ns else { return false };
        let account = rt.account_mut(level);
        account.time_ns = account.time_ns.saturating_add(delta_ns);
        if account.throttled {
            return account.is_stopped();
        }
        if limit.never_stops() || account.time_ns <= runtime_ns {
            return false;
        }
        if runtime_ns == 0 {
            // Only lent priorities get here; there is nothing a period could give back.
            account.time_ns = 0;
            return false;
        }
        account.throttled = true;
        let stops = account.is_stopped();
        self.tell_rt_throttled(level, true);
        if stops {
            match self.groups.above(level) {
                None => self.refresh_rt_root(level.cpu),
                Some((entity, _)) => self.dequeue_rt_entity(entity),
            }
        }
        stops
    }

    /// The group whose queue a level is; [`ROOT`] for the root.
    fn rt_group_of(&self, level: Level) -> u32 {
        self.groups.queues.get(level.queue as usize).map_or(ROOT, |queue| queue.group)
    }

    fn tell_rt_throttled(&mut self, level: Level, stops: bool) {
        let group = self.rt_group_of(level);
        let group = (group != ROOT).then_some(GroupId(group));
        self.outputs.push(Output::RtThrottled { group, cpu: CpuId(level.cpu), stops });
    }

    /// A group's periods begin with the first that is queued in it, and what is left of old times
    /// gets one runtime less at once.
    fn start_rt_group_period(&mut self, level: Level) {
        let number = self.rt_group_of(level);
        let now_ns = self.now_ns;
        let Some(rt) = &self.groups.rt else { return };
        let Group { limit, timer, .. } = *rt.group(number);
        let (Some(_), Some(runtime_ns), None) = (rt.system, limit.runtime_ns, timer) else {
            return;
        };
        for cpu in 0..self.nr_cpus() {
            if let Some(level) = self.rt_queue_on(number, cpu) {
                self.change_rt_account(level, |account| {
                    account.time_ns = account.time_ns.saturating_sub(runtime_ns);
                });
            }
        }
        let at_ns = now_ns.saturating_add(limit.period_ns);
        if let Some(rt) = &mut self.groups.rt {
            rt.group_mut(number).timer = Some((level.cpu, at_ns));
            rt.timers.insert((level.cpu, at_ns, number));
        }
        self.arm_rt_group_timer(level.cpu);
    }

    /// The queue of a group on a CPU, if it ever had a real-time task there.
    fn rt_queue_on(&self, group: u32, cpu: u32) -> Option<Level> {
        let Some(group) = self.groups.list.get(group as usize) else {
            return Some(Level { cpu, queue: ROOT });
        };
        let queue = group.queues[cpu as usize];
        let made = self.groups.rt.as_deref().map_or(0, |rt| rt.queues.len());
        ((queue as usize) < made).then_some(Level { cpu, queue })
    }

    /// Has the host's timer go off for the first of the groups' that are on this CPU.
    fn arm_rt_group_timer(&mut self, cpu: u32) {
        let Some(rt) = &mut self.groups.rt else { return };
        let first = rt.timers.range((cpu, 0, 0)..).next();
        let first = first.filter(|(of, ..)| *of == cpu).map(|(_, at_ns, _)| *at_ns);
        if core::mem::replace(&mut rt.armed[cpu as usize], first) == first {
            return;
        }
        let (cpu, timer) = (CpuId(cpu), Timer::RtPeriod);
        self.outputs.push(match first {
            Some(at_ns) => Output::ArmTimer { cpu, timer, at_ns },
            None => Output::DisarmTimer { cpu, timer },
        });
    }

    /// Periods of some groups are over.
    pub(in crate::scheduler) fn rt_group_periods_end(&mut self, now_ns: u64, cpu: u32) {
        if let Some(rt) = &mut self.groups.rt {
            rt.armed[cpu as usize] = None;
        }
        while let Some(rt) = &mut self.groups.rt {
            let first = rt.timers.range((cpu, 0, 0)..(cpu, now_ns.saturating_add(1), 0)).next();
            let Some((_, at_ns, number)) = first.copied() else { break };
            rt.timers.remove(&(cpu, at_ns, number));
            let period_ns = rt.group(number).limit.period_ns.max(1);
            let periods = (now_ns - at_ns) / period_ns + 1;
            let goes_on = self.refill_rt_group(number, periods);
            let next_ns = at_ns.saturating_add(period_ns.saturating_mul(periods));
            if let Some(rt) = &mut self.groups.rt {
                rt.group_mut(number).timer = goes_on.then_some((cpu, next_ns));
                if goes_on {
                    rt.timers.insert((cpu, next_ns, number));
                }
            }
        }
        self.arm_rt_group_timer(cpu);
    }

    /// A group gets its runtime of so many periods on each CPU. Whether its timer is still needed.
    fn refill_rt_group(&mut self, number: u32, periods: u64) -> bool {
        let Some(rt) = &self.groups.rt else { return false };
        let limit = rt.group(number).limit;
        let runtime_ns = limit.runtime_ns.unwrap_or(u64::MAX);
        let (mut active, mut throttled) = (false, false);
        for cpu in 0..self.nr_cpus() {
            let Some(level) = self.rt_queue_on(number, cpu) else { continue };
            let mut account = self.rt_account(level);
            let charged = account.time_ns > 0;
            account.time_ns = account.time_ns.saturating_sub(runtime_ns.saturating_mul(periods));
            let goes_on = charged && account.throttled && account.time_ns < runtime_ns;
            account.throttled &= !goes_on;
            self.change_rt_account(level, |now| *now = account);
            active |= account.time_ns > 0 || account.nr_running > 0;
            throttled |= account.throttled;
            if goes_on {
                self.tell_rt_throttled(level, false);
                self.release_rt(level);
            }
        }
        let limited = self.groups.rt.as_deref().is_some_and(|rt| rt.system.is_some())
            && limit.runtime_ns.is_some();
        active && (throttled || limited)
    }

    /// A queue is throttled no longer.
    fn release_rt(&mut self, level: Level) {
        match self.groups.above(level) {
            None => self.refresh_rt_root(level.cpu),
            Some((entity, _)) if !self.tasks.slots[entity as usize].rt.queued => {
                self.enqueue_rt_entity(entity, Position::Tail);
            }
            Some(_) => {}
        }
        if self.rt_account(level).nr_running > 0 {
            self.note_idle(level.cpu, false);
            if self.best_rt_preempts(level) {
                self.request_resched(level.cpu, Resched::Now);
            }
        }
    }

    /// What a group's, or the root's, real-time tasks have used of the period on a CPU, as of the
    /// last charge, ns, and whether they are stopped. `None` if the kernel has no such limits or
    /// either does not exist.
    pub fn rt_used(&self, group: Option<GroupId>, cpu: CpuId) -> Option<(u64, bool)> {
        let number = group.map_or(Ok(ROOT), |group| self.groups.find(group)).ok()?;
        self.check_cpu(cpu).ok()?;
        let rt = self.groups.rt.as_deref()?;
        let account = self.rt_queue_on(number, cpu.0).map(|level| rt.account(level));
        let account = account.unwrap_or_default();
        Some((account.time_ns, account.is_stopped()))
    }
}

#[cfg(test)]
impl Scheduler {
    /// Whether counts, lists and entities of all levels say the same.
    pub(in crate::scheduler) fn check_rt_queues(&self) -> Result<(), String> {
        let Some(rt) = self.groups.rt.as_deref() else { return Ok(()) };
        let queues = (0..rt.queues.len() as u32)
            .map(|queue| Level { cpu: self.groups.queues[queue as usize].cpu, queue });
        let roots = (0..self.nr_cpus()).map(|cpu| Level { cpu, queue: ROOT });
        for level in queues.chain(roots) {
            let account = rt.account(level);
            let entities: Vec<u32> = self.rt_lists(level).iter(&self.tasks.slots).collect();
            let brought = entities.iter().map(|entity| self.rt_brings(*entity));
            let (tasks, boosted) = brought.fold((0, 0), |(tasks, boosted), (more, lent)| {
                (tasks + more, boosted + u32::from(lent))
            });
            if (account.nr_running, account.nr_boosted) != (tasks, boosted) {
                return Err(format!("{level:?}: {account:?}, but {tasks} and {boosted}"));
            }
            if let Some(entity) = entities.iter().find(|slot| self.rt_level_of(**slot) != level) {
                return Err(format!("{level:?} has {entity} of another"));
            }
            let may_run = tasks > 0 && !account.is_stopped();
            match self.groups.above(level) {
                Some((entity, _)) => {
                    let slot = &self.tasks.slots[entity as usize];
                    if slot.rt.queued != may_run {
                        return Err(format!("{level:?}: queued {} but {account:?}", !may_run));
                    }
                }
                None => {
                    let rq = &self.cpus[level.cpu as usize];
                    if rq.rt_throttled != account.is_stopped()
                        || i64::from(rq.rt.nr_queued) + i64::from(rq.rt_below) != i64::from(tasks)
                    {
                        return Err(format!("{level:?}: the CPU does not say {account:?}"));
                    }
                }
            }
        }
        Ok(())
    }
}
