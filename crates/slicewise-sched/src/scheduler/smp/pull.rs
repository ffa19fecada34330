//! Moving tasks from a busy CPU to one that balances (fair.md G.7).
//!
//! *Simplifications*: delayed tasks stay where they are; a running task is pushed away by the CPU's next
//! pick, which a kernel's stopper thread, itself a switch, does.

use std::collections::VecDeque;

use super::super::{Resched, Scheduler};
use super::busiest::{Balance, Idleness, Migration};
use super::load::Member;
use super::{Push, Smp};
use crate::domains::DomainFlags;
use crate::fair::{Dequeue, Enqueue, Wakeup};
use crate::task::State;
use crate::{Class, CpuId};

/// No balance waits longer than that because of affinities, ms.
const PINNED_INTERVAL_MS: u32 = 512;
/// A batch.
const BATCH: u32 = 32;

/// What a round of detaching met.
#[derive(Clone, Copy, Debug)]
struct Met {
    /// Every task seen may not run at the destination.
    all_pinned: bool,
    /// Some may not.
    some_pinned: bool,
    /// One of those may run elsewhere in the destination's group.
    other_dst: Option<u32>,
}

impl Scheduler {
    /// Balances a CPU in one of its domains. How many tasks have moved; `None` if it is not this CPU's
    /// turn, nor that of any wider domain.
    pub(super) fn balance(
        &mut self,
        now_ns: u64,
        dst: u32,
        step: usize,
        idle: Idleness,
    ) -> Option<u32> {
        let number = self.smp.link(dst, step).0.domain as usize;
        {
            let Smp { scratch, domains, .. } = &mut self.smp;
            scratch.cpus.copy_from(&domains.list[number].span);
        }
        let mut dst = dst;
        let own = dst;
        loop {
            if !self.should_balance(dst, step, idle) {
                return if dst == own { None } else { Some(0) };
            }
            let Some(mut balance) = self.find_busiest_group(dst, step, idle) else {
                self.note_balanced(own, step, idle, false);
                return Some(0);
            };
            let Some(src) = self.find_busiest_cpu(&balance).filter(|src| *src != dst) else {
                self.note_balanced(own, step, idle, false);
                return Some(0);
            };
            let mut met = Met { all_pinned: false, some_pinned: false, other_dst: None };
            let mut moved = 0;
            if self.rq(src).nr_running() > 1 {
                met.all_pinned = true;
                moved = self.move_tasks(now_ns, src, &mut balance, &mut met);
                // Those that may not run here may next door.
                while balance.imbalance > 0
                    && let Some(other) = met.other_dst.take()
                {
                    self.smp.scratch.cpus.remove(dst);
                    dst = other;
                    balance.dst = other;
                    moved += self.move_tasks(now_ns, src, &mut balance, &mut met);
                }
                self.note_pinned(own, step, met.some_pinned && balance.imbalance > 0);
                if met.all_pinned {
                    self.smp.scratch.cpus.remove(src);
                    let (link, domain) = self.smp.link(own, step);
                    let group = &domain.groups[link.local_group as usize].cpus;
                    if !self.smp.scratch.cpus.is_subset(group) {
                        dst = own;
                        continue;
                    }
                    self.note_balanced(own, step, idle, true);
                    return Some(0);
                }
            }
            self.note_result(own, step, src, &balance, moved);
            return Some(moved);
        }
    }

    /// Whether it is this CPU that balances for its group: an idle one if there is one.
    fn should_balance(&self, dst: u32, step: usize, idle: Idleness) -> bool {
        let (link, domain) = self.smp.link(dst, step);
        if !self.smp.scratch.cpus.contains(dst) {
            return false;
        }
        if idle == Idleness::Newly {
            return self.rq(dst).nr_running() == 0;
        }
        let group = &domain.groups[link.local_group as usize];
        let mut on_busy_core = None;
        let smt = domain.flags.has(DomainFlags::SHARE_CPUCAPACITY);
        for cpu in group.balancers.iter().filter(|cpu| self.smp.scratch.cpus.contains(*cpu)) {
            if !self.idles(cpu) {
                continue;
            }
            if self.profile.smp.whole_cores_first && !smt {
                let siblings = self.smp.siblings(cpu);
                if !siblings.iter().all(|sibling| self.idles(*sibling)) {
                    on_busy_core = on_busy_core.or(Some(cpu));
                    continue;
                }
            }
            return cpu == dst;
        }
        let elected = on_busy_core.or_else(|| group.balancers.first());
        elected == Some(dst)
    }

    /// The domain is balanced, or nobody may move: the next time comes later.
    fn note_balanced(&mut self, dst: u32, step: usize, idle: Idleness, all_pinned: bool) {
        if !all_pinned {
            self.note_pinned(dst, step, false);
        }
        let max_ms = 2 * self.smp.link(dst, step).1.min_interval_ms(self.smp.intervals);
        let state = &mut self.smp.cpus[dst as usize].steps[step];
        state.nr_failed = 0;
        if idle == Idleness::Newly {
            return;
        }
        if state.interval_ms < max_ms || all_pinned && state.interval_ms < PINNED_INTERVAL_MS {
            state.interval_ms *= 2;
        }
    }

    /// Tells the domain above whether affinities have kept this one from being balanced.
    fn note_pinned(&mut self, dst: u32, step: usize, pinned: bool) {
        if let Some(above) = self.smp.domains.chains[dst as usize].get(step + 1) {
            let marks = &mut self.smp.imbalanced[above.domain as usize];
            if let Some(mark) = marks.get_mut(above.local_group as usize) {
                *mark = pinned;
            }
        }
    }

    fn note_result(&mut self, dst: u32, step: usize, src: u32, balance: &Balance, moved: u32) {
        let min_ms = self.smp.link(dst, step).1.min_interval_ms(self.smp.intervals);
        if moved > 0 {
            let state = &mut self.smp.cpus[dst as usize].steps[step];
            (state.nr_failed, state.interval_ms) = (0, min_ms);
            return;
        }
        let state = &mut self.smp.cpus[dst as usize].steps[step];
        if balance.idle != Idleness::Newly && balance.migration != Migration::Misfit {
            state.nr_failed = state.nr_failed.saturating_add(1);
        }
        let nr_failed = state.nr_failed;
        if self.needs_push(src, balance, nr_failed) {
            let movable = self.rq(src).current.is_some_and(|running| self.allows(running, dst));
            if !movable {
                return;
            }
            let state = &mut self.smp.cpus[dst as usize].steps[step];
            state.interval_ms = min_ms;
            if self.smp.cpus[src as usize].push_to.is_none() {
                self.smp.cpus[src as usize].push_to = Some(Push { to: dst, step: step as u32 });
                self.smp.nr_pushes += 1;
                // A stopper runs whatever else was planned.
                self.request_resched(src, Resched::Now);
            }
        } else {
            self.smp.cpus[dst as usize].steps[step].interval_ms = min_ms;
        }
    }

    /// Whether the running task has to be taken away (active balance).
    fn needs_push(&self, src: u32, balance: &Balance, nr_failed: u32) -> bool {
        let (_, domain) = self.smp.link(balance.dst, balance.step);
        let idle = balance.idle != Idleness::Busy;
        if idle
            && domain.flags.has(DomainFlags::ASYM_PACKING)
            && self.smp.fills_first(balance.dst, src)
        {
            return true;
        }
        if balance.migration == Migration::Tasks && nr_failed > domain.cache_nice_tries + 2 {
            return true;
        }
        let pct = u64::from(domain.imbalance_pct);
        if idle
            && self.nr_balanced(src) == 1
            && self.has_reduced_capacity(src, domain)
            && self.smp.capacity_left(src) * pct < self.smp.capacity_left(balance.dst) * 100
        {
            return true;
        }
        balance.migration == Migration::Misfit
    }

    /// Takes tasks off `src` and puts them on the destination. How many.
    fn move_tasks(&mut self, now_ns: u64, src: u32, balance: &mut Balance, met: &mut Met) -> u32 {
        let mut taken = core::mem::take(&mut self.smp.scratch.taken);
        let mut listed = core::mem::take(&mut self.smp.scratch.listed);
        self.list_by_age(src, &mut listed);
        self.detach_tasks(now_ns, src, balance, met, &listed, &mut taken);
        self.smp.scratch.listed = listed;
        let moved = taken.len() as u32;
        for slot in taken.drain(..) {
            self.attach_moved(now_ns, slot, src, balance.dst);
        }
        self.smp.scratch.taken = taken;
        moved
    }

    fn attach_moved(&mut self, now_ns: u64, slot: u32, from: u32, to: u32) {
        self.tasks.slots[slot as usize].cpu = to;
        self.push_migrated(slot, from, to);
        self.activate(now_ns, to, slot, Enqueue::Migrated);
        self.check_preempt(now_ns, to, slot, Wakeup::default());
    }

    /// From who has waited longest since it ran to who has run last.
    fn detach_tasks(
        &mut self,
        now_ns: u64,
        src: u32,
        balance: &mut Balance,
        met: &mut Met,
        members: &[Member],
        taken: &mut Vec<u32>,
    ) {
        let listed = self.rq(src).nr_running();
        let most = self.smp.nr_migrate.max(1).min(listed);
        let mut looked = 0;
        for slot in members.iter().map(|member| member.slot) {
            if balance.imbalance == 0 {
                return;
            }
            if balance.idle != Idleness::Busy && self.rq(src).nr_running() <= 1 {
                return;
            }
            if !self.is_listed_here(slot, src) {
                self.unlist(slot);
                continue;
            }
            looked += 1;
            if looked > most && !met.all_pinned || looked > listed.max(BATCH) {
                return;
            }
            if self.can_migrate(now_ns, slot, src, balance, met)
                && let Some(amount) = self.amount_of(slot, balance)
            {
                balance.imbalance = balance.imbalance.saturating_sub(amount);
                self.deactivate(now_ns, src, slot, Dequeue::Move);
                taken.push(slot);
                // A preemptible kernel wants the newly idle CPU to get to work.
                if balance.idle == Idleness::Newly {
                    return;
                }
                continue;
            }
            self.renew(slot, src);
        }
    }

    fn is_listed_here(&self, slot: u32, cpu: u32) -> bool {
        let task = &self.tasks.slots[slot as usize];
        task.cpu == cpu
            && task.class == Class::Fair
            && !task.parked
            && self.entities[slot as usize].on_rq
            && matches!(task.state, State::Runnable | State::Sleeping | State::Exiting)
    }

    /// What moving a task does to the imbalance; `None` if it is more than that.
    fn amount_of(&self, slot: u32, balance: &Balance) -> Option<u64> {
        let failed = balance.nr_failed.min(63);
        match balance.migration {
            Migration::Load => {
                let load = self.task_load(slot).max(1);
                (load >> failed <= balance.imbalance).then_some(load)
            }
            Migration::Util => {
                let util = self.task_util(slot);
                (util >> failed <= balance.imbalance).then_some(util.max(1))
            }
            Migration::Tasks => Some(1),
            Migration::Misfit => {
                let src = self.tasks.slots[slot as usize].cpu;
                let fits = super::rules::fits(self.task_util(slot), self.smp.capacity_left(src));
                (!fits).then_some(balance.imbalance)
            }
        }
    }

    /// Whether a task may and should move to the destination.
    fn can_migrate(
        &self,
        now_ns: u64,
        slot: u32,
        src: u32,
        balance: &Balance,
        met: &mut Met,
    ) -> bool {
        let entity = &self.entities[slot as usize];
        if entity.delayed || self.tasks.slots[slot as usize].state != State::Runnable {
            return false;
        }
        if self.groups.any()
            && self.groups.throttled_on(self.tasks.slots[slot as usize].group, balance.dst)
        {
            return false;
        }
        if self.profile.smp.ineligible_stay
            && balance.nr_failed == 0
            && self.waits_beyond_lag(slot, balance.dst)
        {
            return false;
        }
        if !self.allows(slot, balance.dst) {
            met.some_pinned = true;
            if balance.idle != Idleness::Newly && met.other_dst.is_none() {
                let (link, domain) = self.smp.link(balance.dst, balance.step);
                let group = &domain.groups[link.local_group as usize].cpus;
                let affinity = &self.tasks.slots[slot as usize].affinity;
                let mut others = group.iter().filter(|cpu| affinity.contains(CpuId(*cpu)));
                met.other_dst = others.find(|cpu| self.smp.scratch.cpus.contains(*cpu));
            }
            return false;
        }
        met.all_pinned = false;
        if self.rq(src).current == Some(slot) {
            return false;
        }
        let (_, domain) = self.smp.link(balance.dst, balance.step);
        if balance.nr_failed <= domain.cache_nice_tries
            && let Some(degrades) = self.numa_degrades(slot, src, balance)
        {
            return !degrades;
        }
        balance.nr_failed > domain.cache_nice_tries
            || !self.is_hot(now_ns, slot, domain.flags.has(DomainFlags::SHARE_CPUCAPACITY))
    }

    /// The task has had more than its share, and would have to compete where it goes (6.18 and later).
    fn waits_beyond_lag(&self, slot: u32, dst: u32) -> bool {
        if !self.profile.is_eevdf() {
            return false;
        }
        let level = self.level_of(slot);
        let group = self.tasks.slots[slot as usize].group;
        let root = (group == crate::task::ROOT).then(|| self.rq(dst).fair.nr_queued);
        let queued = self.groups.nr_queued_on(group, dst).or(root).unwrap_or(0);
        let fair = self.groups.fair(&self.rq(level.cpu).fair, level);
        queued > 0 && !fair.eligible(&self.entities, slot)
    }

    /// Whether its cache is taken to be warm.
    fn is_hot(&self, now_ns: u64, slot: u32, siblings: bool) -> bool {
        if self.entities[slot as usize].idle || siblings {
            return false;
        }
        match self.smp.migration_cost_ns {
            -1 => true,
            0 => false,
            cost_ns => {
                let ran_ns = self.entities[slot as usize].exec_start;
                // 0: it has not run since it came.
                ran_ns > 0 && (now_ns.wrapping_sub(ran_ns) as i64) < cost_ns
            }
        }
    }

    /// Whether a balance over cores would leave a task alone because it has just run.
    #[cfg(test)]
    pub(in super::super) fn hot_for_test(&self, now_ns: u64, slot: u32) -> bool {
        self.is_hot(now_ns, slot, false)
    }

    /// Before a pick: a balance has asked for the running task, or another that is queued here.
    #[cold]
    pub(in super::super) fn push_away(&mut self, now_ns: u64, cpu: u32) {
        self.numa_obey(now_ns, cpu);
        let Some(push) = self.smp.cpus[cpu as usize].push_to.take() else { return };
        self.smp.nr_pushes -= 1;
        if self.rq(cpu).nr_running() == 0 || cpu == push.to {
            return;
        }
        let current = self.rq(cpu).current;
        if let Some(running) = current
            && self.tasks.slots[running as usize].class == Class::Fair
            && self.queued(running)
        {
            self.put_prev_fair(now_ns, cpu);
        }
        let mut left = self.rq(cpu).nr_running() + BATCH;
        let mut listed = Vec::new();
        self.list_by_age(cpu, &mut listed);
        let mut listed: VecDeque<u32> = listed.iter().map(|member| member.slot).collect();
        while left > 0
            && let Some(slot) = listed.pop_front()
        {
            if !self.is_listed_here(slot, cpu) {
                self.unlist(slot);
                continue;
            }
            left -= 1;
            let runnable = self.tasks.slots[slot as usize].state == State::Runnable;
            if runnable && !self.entities[slot as usize].delayed && self.allows(slot, push.to) {
                self.move_waiting(now_ns, slot, push.to);
                let steps = &mut self.smp.cpus[push.to as usize].steps;
                if let Some(step) = steps.get_mut(push.step as usize) {
                    step.nr_failed = 0;
                }
                return;
            }
            self.renew(slot, cpu);
            listed.push_back(slot);
        }
    }
}
