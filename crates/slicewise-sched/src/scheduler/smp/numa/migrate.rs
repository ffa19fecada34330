//! Moving a task to a node: onto an idle CPU there, or by a swap with who runs there.

use super::Numa;
use super::rules::{NodeLoad, Swap, less_even, worth_a_swap};
use crate::domains::DomainFlags;
use crate::fair::Entity;
use crate::scheduler::smp::rules::numa_imbalance;
use crate::scheduler::{Resched, Scheduler};
use crate::task::State;
use crate::{Class, CpuId, TaskId};

/// A task is to leave a CPU at its next pick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    task: TaskId,
    from: u32,
    to: u32,
}

/// What the CPUs of a node do, in sum.
#[derive(Clone, Copy, Debug, Default)]
struct NodeStats {
    load: u64,
    runnable: u64,
    util: u64,
    running: u32,
    capacity: u64,
    weight: u32,
    has_spare: bool,
    idle_cpu: Option<u32>,
}

/// A search for a better place.
#[derive(Clone, Copy, Debug)]
struct Search {
    slot: u32,
    src: u32,
    from: u32,
    imbalance_pct: u64,
    imb_numa_nr: u32,
    here: NodeStats,
    best: Option<Best>,
}

/// The best so far.
#[derive(Clone, Copy, Debug)]
struct Best {
    cpu: u32,
    /// Who makes room there.
    partner: Option<u32>,
    gain: i64,
}

/// A node as a place for the task.
#[derive(Clone, Copy, Debug)]
struct Aim {
    node: u32,
    there: NodeStats,
    /// What the task, or its group, gains there.
    gain: i64,
    /// The nodes allow it to come without anybody making room.
    may_move: bool,
}

impl Scheduler {
    /// A task that runs looks for a place on the node it prefers, or on another that is better than
    /// its own.
    pub(super) fn numa_migrate(&mut self, slot: u32, preferred: u32) {
        let src = self.tasks.slots[slot as usize].cpu;
        let Some(step) = self.smp.step_with(src, DomainFlags::NUMA, None) else {
            // Its CPUs are of one node: that will have to do.
            let node = self.smp.node(src);
            self.numa_prefer(slot, node);
            return;
        };
        let best = self.numa_best(slot, src, preferred, step);
        if self.numa_group_of(slot).is_some() {
            let node = self.smp.node(best.map_or(src, |best| best.cpu));
            self.numa_prefer(slot, node);
        }
        let Some(Best { cpu, partner, .. }) = best else { return };
        self.numa_order(slot, src, cpu);
        if let Some(partner) = partner {
            self.numa_order(partner, cpu, src);
        }
        if let Some(numa) = self.smp.numa.as_deref_mut() {
            let counts = &mut numa.counts;
            *(if partner.is_some() { &mut counts.task_swaps } else { &mut counts.task_moves }) += 1;
        }
    }

    fn numa_prefer(&mut self, slot: u32, node: u32) {
        if let Some(task) = self.smp.numa.as_deref_mut().and_then(|numa| numa.task_mut(slot)) {
            task.preferred = Some(node);
        }
    }

    fn numa_group_of(&self, slot: u32) -> Option<u32> {
        self.smp.numa.as_deref()?.task(slot)?.group
    }

    /// What a task's own faults, and those of its group, say for one node over another.
    fn numa_gains(&self, numa: &Numa, slot: u32, from: u32, to: u32) -> (i64, i64) {
        let Some(task) = numa.task(slot) else { return (0, 0) };
        let own = task.weight(to) - task.weight(from);
        let group = task.group.and_then(|group| numa.group(group));
        (own, group.map_or(own, |group| group.weight(to) - group.weight(from)))
    }

    fn numa_best(&self, slot: u32, src: u32, preferred: u32, step: usize) -> Option<Best> {
        let numa = self.smp.numa.as_deref()?;
        let (_, domain) = self.smp.link(src, step);
        let mut search = Search {
            slot,
            src,
            from: self.smp.node(src),
            imbalance_pct: 100 + u64::from(domain.imbalance_pct - 100) / 2,
            imb_numa_nr: domain.imb_numa_nr,
            here: NodeStats::default(),
            best: None,
        };
        search.here = self.numa_stats(numa, &search, search.from, false);
        self.numa_search(numa, &mut search, preferred);
        let group = numa.task(slot)?.group.and_then(|group| numa.group(group));
        if search.best.is_none() || group.is_some_and(|group| group.active_nodes > 1) {
            for node in (0..numa.nodes.len() as u32).filter(|node| *node != preferred) {
                let (own, of_group) = self.numa_gains(numa, slot, search.from, node);
                if node == search.from || own < 0 && of_group < 0 {
                    continue;
                }
                self.numa_search(numa, &mut search, node);
            }
        }
        search.best
    }

    fn numa_stats(&self, numa: &Numa, search: &Search, node: u32, find_idle: bool) -> NodeStats {
        let mut stats = NodeStats::default();
        let mut whole_core = false;
        for cpu in numa.nodes[node as usize].iter() {
            stats.weight += 1;
            stats.load += self.cpu_load(cpu);
            stats.runnable += self.cpu_runnable(cpu);
            stats.util += self.cpu_util(cpu);
            stats.running += self.nr_balanced(cpu);
            stats.capacity += self.smp.capacity_left(cpu);
            let wanted = find_idle
                && !whole_core
                && self.idles(cpu)
                && self.numa_allows(search, cpu)
                && !numa.is_awaited(cpu);
            if wanted {
                whole_core = self.smp.siblings(cpu).iter().all(|sibling| self.idles(*sibling));
                if whole_core || stats.idle_cpu.is_none() {
                    stats.idle_cpu = Some(cpu);
                }
            }
        }
        let pct = search.imbalance_pct;
        stats.has_spare = stats.running < stats.weight
            || stats.capacity * pct >= stats.runnable * 100
                && stats.capacity * 100 > stats.util * pct;
        let overloaded = stats.running > stats.weight
            && (stats.capacity * 100 < stats.util * pct
                || stats.capacity * pct < stats.runnable * 100);
        stats.has_spare &= !overloaded;
        stats
    }

    fn numa_allows(&self, search: &Search, cpu: u32) -> bool {
        self.smp.partition(cpu) == self.smp.partition(search.src) && self.allows(search.slot, cpu)
    }

    fn numa_search(&self, numa: &Numa, search: &mut Search, node: u32) {
        let there = self.numa_stats(numa, search, node, true);
        let (own, of_group) = self.numa_gains(numa, search.slot, search.from, node);
        let in_group = numa.task(search.slot).is_some_and(|task| task.group.is_some());
        let gain = if in_group { of_group } else { own };
        let may_move = if there.has_spare {
            let running = there.running + 1;
            let more = running.saturating_sub(search.here.running.saturating_sub(1));
            numa_imbalance(more.into(), running, search.imb_numa_nr) == 0
        } else {
            let load = self.task_load(search.slot) as i64;
            !search.uneven(&there, load)
        };
        if there.has_spare
            && may_move
            && let Some(cpu) = there.idle_cpu
        {
            search.best = Some(Best { cpu, partner: None, gain: 0 });
            return;
        }
        let aim = Aim { node, there, gain, may_move };
        for cpu in self.numa_cpus(numa, search.slot, search.src, node) {
            if self.numa_compare(numa, search, &aim, (cpu, own, of_group)) {
                return;
            }
        }
    }

    /// Whether to go to a CPU, alone or for its task, and whether the search is over.
    fn numa_compare(
        &self,
        numa: &Numa,
        search: &mut Search,
        aim: &Aim,
        (cpu, own, of_group): (u32, i64, i64),
    ) -> bool {
        if numa.is_awaited(cpu) {
            return false;
        }
        let best_gain = search.best.map_or(0, |best| best.gain);
        let alone = |search: &mut Search| {
            let cpu = aim.there.idle_cpu.unwrap_or(cpu);
            search.best = Some(Best { cpu, partner: None, gain: aim.gain });
            // To look on costs more than it brings.
            self.idles(cpu)
        };
        let Some(partner) = self.rq(cpu).current else {
            return aim.may_move && aim.gain >= best_gain && alone(search);
        };
        let running = &self.tasks.slots[partner as usize];
        if running.class != Class::Fair
            || running.state != State::Runnable
            || !running.affinity.contains(CpuId(search.src))
        {
            return false;
        }
        let home = |slot: u32| numa.task(slot).and_then(|task| task.preferred);
        let comes_home = home(partner) == Some(search.from);
        let best_comes_home = search
            .best
            .and_then(|best| best.partner)
            .is_some_and(|best| home(best) == Some(search.from));
        if best_comes_home && !comes_home {
            return false;
        }
        let group = |slot: u32| numa.task(slot).and_then(|task| task.group);
        let (mine, theirs) = (group(search.slot), group(partner));
        let same_group = mine == theirs;
        if same_group && aim.there.has_spare {
            return false;
        }
        // What the partner gains the other way.
        let (partner_own, partner_group) = self.numa_gains(numa, partner, aim.node, search.from);
        let gain = match (same_group, mine.is_some() && theirs.is_some()) {
            (true, _) => own + partner_own,
            (false, true) => of_group + partner_group,
            (false, false) => aim.gain + partner_own,
        };
        let improvement = Swap {
            gain,
            same_group,
            in_group: theirs.is_some(),
            partner_is_home: home(partner) == Some(aim.node),
            partner_comes_home: comes_home,
        }
        .improvement();
        if aim.may_move && aim.gain > improvement && aim.gain > best_gain {
            return alone(search);
        }
        let first_to_come_home = comes_home
            && search.best.is_some_and(|best| best.partner.is_some())
            && !best_comes_home;
        if !first_to_come_home {
            if !worth_a_swap(improvement, best_gain) {
                return false;
            }
            let load = self.task_load(search.slot) as i64 - self.task_load(partner) as i64;
            if load != 0 && search.uneven(&aim.there, load) {
                return false;
            }
        }
        search.best = Some(Best { cpu, partner: Some(partner), gain: improvement });
        !aim.may_move && comes_home
    }

    fn numa_order(&mut self, slot: u32, from: u32, to: u32) {
        let task = self.tasks.id(slot);
        let Some(numa) = self.smp.numa.as_deref_mut() else { return };
        numa.orders.push(Order { task, from, to });
        self.smp.nr_pushes += 1;
        self.request_resched(from, Resched::Now);
    }

    /// Before a pick: tasks that are to leave this CPU do.
    #[cold]
    pub(in super::super) fn numa_obey(&mut self, now_ns: u64, cpu: u32) {
        while let Some(numa) = self.smp.numa.as_deref_mut()
            && let Some(at) = numa.orders.iter().position(|order| order.from == cpu)
        {
            let Order { task, to, .. } = numa.orders.remove(at);
            self.smp.nr_pushes -= 1;
            let Ok(slot) = self.tasks.find(task) else { continue };
            let state = &self.tasks.slots[slot as usize];
            let entity: &Entity = &self.entities[slot as usize];
            let movable = state.cpu == cpu
                && state.state == State::Runnable
                && state.class == Class::Fair
                && !state.parked
                && entity.on_rq
                && !entity.delayed
                && state.affinity.contains(CpuId(to));
            if !movable {
                continue;
            }
            if self.rq(cpu).current == Some(slot) {
                self.put_prev_fair(now_ns, cpu);
            }
            self.move_waiting(now_ns, slot, to);
        }
    }
}

impl Numa {
    /// Somebody is about to come to this CPU.
    fn is_awaited(&self, cpu: u32) -> bool {
        self.orders.iter().any(|order| order.to == cpu)
    }
}

impl Search {
    /// Whether nodes would be less even with so much more load there and less here.
    fn uneven(&self, there: &NodeStats, load: i64) -> bool {
        let side = |stats: &NodeStats, more: i64| NodeLoad {
            before: stats.load as i64,
            after: stats.load as i64 + more,
            capacity: stats.capacity as i64,
        };
        less_even(side(&self.here, -load), side(there, load))
    }
}
