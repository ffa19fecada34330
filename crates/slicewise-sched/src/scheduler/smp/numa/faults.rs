//! Faults on marked pages: where they move pages, what they say of nodes, and who shares memory.

use super::rules::{self, Pass, Periods, Sharing};
use super::{NS_PER_MS, Numa};
use crate::numa::NumaFault;
use crate::scheduler::Scheduler;
use crate::{CpuId, Error, TaskId};

/// Until it has been through this many passes, a task's own pages come to where it runs at once.
const EARLY_PASSES: u64 = 4;
/// No group and no node.
pub(super) type Maybe = Option<u32>;

/// Faults that concern a node, on shared pages and on private ones: on memory there, and by CPUs
/// there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NodeFaults {
    memory: [u64; 2],
    cpu: [u64; 2],
}

impl NodeFaults {
    pub(super) fn memory(&self) -> u64 {
        self.memory[0] + self.memory[1]
    }

    fn cpu(&self) -> u64 {
        self.cpu[0] + self.cpu[1]
    }

    fn add(&mut self, other: &Self) {
        for kind in 0..2 {
            self.memory[kind] += other.memory[kind];
            self.cpu[kind] += other.cpu[kind];
        }
    }

    fn take(&mut self, other: &Self) {
        for kind in 0..2 {
            self.memory[kind] = self.memory[kind].saturating_sub(other.memory[kind]);
            self.cpu[kind] = self.cpu[kind].saturating_sub(other.cpu[kind]);
        }
    }
}

/// A task whose memory is scanned.
#[derive(Clone, Debug)]
pub(super) struct TaskNuma {
    pub(super) space: u32,
    pub(super) period_ms: u64,
    max_ms: u64,
    /// In terms of its CPU time: since when the next scan is waited for.
    pub(super) stamp_ns: u64,
    pub(super) preferred: Maybe,
    pub(super) group: Maybe,
    /// Passes up to its last placement.
    passes: u64,
    /// Not to try to move before.
    retry_ns: u64,
    pub(super) has_faulted: bool,
    pub(super) by_node: Box<[NodeFaults]>,
    total: u64,
    /// Since the last placement.
    fresh: Box<[NodeFaults]>,
    local: u64,
    remote: u64,
    failed: u64,
    placed_ns: u64,
    ran_ns: u64,
}

impl TaskNuma {
    pub(super) fn new(
        space: u32,
        passes: u64,
        nodes: usize,
        period_ms: u64,
        stamp_ns: u64,
        now_ns: u64,
        ran_ns: u64,
    ) -> Self {
        Self {
            space,
            period_ms,
            max_ms: u64::MAX,
            stamp_ns,
            preferred: None,
            group: None,
            passes,
            retry_ns: 0,
            has_faulted: false,
            by_node: vec![NodeFaults::default(); nodes].into(),
            total: 0,
            fresh: vec![NodeFaults::default(); nodes].into(),
            local: 0,
            remote: 0,
            failed: 0,
            placed_ns: now_ns,
            ran_ns,
        }
    }

    /// Part of its faults that are on memory of a node, in thousandths.
    pub(super) fn weight(&self, node: u32) -> i64 {
        rules::weight(self.by_node[node as usize].memory(), self.total)
    }
}

/// Tasks that share memory.
#[derive(Clone, Debug)]
pub(super) struct Group {
    by_node: Box<[NodeFaults]>,
    total: u64,
    pub(super) tasks: u32,
    /// Nodes with a good part of its faults.
    pub(super) active_nodes: u32,
    most_cpu: u64,
}

impl Group {
    /// Part of its faults that are on memory of a node, in thousandths.
    pub(super) fn weight(&self, node: u32) -> i64 {
        rules::weight(self.by_node[node as usize].memory(), self.total)
    }

    fn is_active(&self, node: u32) -> bool {
        self.by_node[node as usize].cpu() * rules::ACTIVE_FRACTION > self.most_cpu
    }

    fn count_active(&mut self) {
        self.most_cpu = self.by_node.iter().map(NodeFaults::cpu).max().unwrap_or(0);
        let nodes = 0..self.by_node.len() as u32;
        self.active_nodes = nodes.filter(|node| self.is_active(*node)).count() as u32;
    }

    fn shared_and_private(&self) -> (u64, u64) {
        let sum = |kind: usize| self.by_node.iter().map(|node| node.memory[kind]).sum();
        (sum(0), sum(1))
    }

    fn add(&mut self, task: &TaskNuma) {
        for (sum, part) in self.by_node.iter_mut().zip(&task.by_node) {
            sum.add(part);
        }
        self.total += task.total;
        self.tasks += 1;
    }

    fn take(&mut self, task: &TaskNuma) {
        for (sum, part) in self.by_node.iter_mut().zip(&task.by_node) {
            sum.take(part);
        }
        self.total = self.total.saturating_sub(task.total);
        self.tasks -= 1;
    }
}

impl Numa {
    pub(super) fn group(&self, group: u32) -> Option<&Group> {
        self.groups.get(group as usize)?.as_ref()
    }

    fn limits(&self, task: &TaskNuma) -> Periods {
        let pages = self.spaces.get(task.space as usize).map_or(0, |space| space.resident_pages);
        rules::periods(pages, &self.config)
    }

    /// What a period is for a task of a group, at least `min_ms`.
    fn scaled(&self, task: &TaskNuma, period_ms: u64, min_ms: u64) -> u64 {
        let Some(group) = task.group.and_then(|group| self.group(group)) else { return period_ms };
        let (shared, private) = group.shared_and_private();
        rules::scaled_by_group(period_ms, group.tasks, shared, private).max(min_ms)
    }

    /// The period that scans of a task begin with.
    pub(super) fn start_period_ms(&self, task: &TaskNuma) -> u64 {
        let limits = self.limits(task);
        self.scaled(task, limits.min_ms, limits.min_ms)
    }

    /// A group of this task alone.
    fn make_group(&mut self, slot: u32) -> Option<u32> {
        let task = self.task(slot)?;
        let mut group = Group {
            by_node: vec![NodeFaults::default(); self.nodes.len()].into(),
            total: 0,
            tasks: 0,
            active_nodes: 1,
            most_cpu: 0,
        };
        group.add(task);
        let free = self.groups.iter().position(Option::is_none);
        let number = free.unwrap_or(self.groups.len());
        match free {
            Some(free) => self.groups[free] = Some(group),
            None => self.groups.push(Some(group)),
        }
        self.task_mut(slot)?.group = Some(number as u32);
        Some(number as u32)
    }

    /// Its faults are no longer part of its group's.
    pub(super) fn leave_group(&mut self, task: &TaskNuma) {
        let Some(place) = task.group.and_then(|group| self.groups.get_mut(group as usize)) else {
            return;
        };
        if let Some(group) = place {
            group.take(task);
            if group.tasks == 0 {
                *place = None;
            }
        }
    }

    /// A task has met another's page: both are in one group from now on, the larger of theirs. `other`
    /// is who touched it before, if that one runs.
    fn meet(&mut self, slot: u32, other: Option<u32>) -> Option<()> {
        let own = match self.task(slot)?.group {
            Some(group) => group,
            None => self.make_group(slot)?,
        };
        let other = self.task(other?)?;
        let (theirs, same_space) = (other.group?, other.space == self.task(slot)?.space);
        if own == theirs || !same_space {
            return None;
        }
        let (mine, larger) = (self.group(own)?.tasks, self.group(theirs)?.tasks);
        if mine > larger || mine == larger && own < theirs {
            return None;
        }
        let mut task = self.tasks.get_mut(slot as usize)?.take()?;
        self.leave_group(&task);
        if let Some(group) = self.groups.get_mut(theirs as usize)?.as_mut() {
            group.add(&task);
            task.group = Some(theirs);
        }
        self.tasks[slot as usize] = Some(task);
        Some(())
    }

    /// Whether a page goes to the node of the CPU that accessed it.
    fn page_moves(&self, slot: u32, fault: &NumaFault, to: u32, own: bool) -> Option<bool> {
        let task = self.task(slot)?;
        // Own: nobody else has used it since it was marked the last time.
        if (task.preferred.is_none() || task.passes <= EARLY_PASSES) && own {
            return Some(true);
        }
        if fault.last.is_some_and(|(_, node)| node != to) {
            // Twice from one node, or it might go to and fro.
            return Some(false);
        }
        if fault.last.is_some() && own {
            return Some(true);
        }
        let Some(group) = task.group.and_then(|group| self.group(group)) else { return Some(true) };
        let (src, dst) = (&group.by_node[fault.node as usize], &group.by_node[to as usize]);
        // Of memory, what this task has seen.
        let memory = |node: u32| task.by_node[node as usize].memory();
        Some(rules::shared_page_moves(Sharing {
            cpu_src: src.cpu(),
            cpu_dst: dst.cpu(),
            memory_src: memory(fault.node),
            memory_dst: memory(to),
        }))
    }

    /// After a pass: old faults count half, and the node with the most is preferred.
    fn place(&mut self, now_ns: u64, slot: u32, ran_ns: u64) -> Option<()> {
        let space = self.task(slot)?.space as usize;
        let passes = self.spaces.get(space)?.passes;
        let mut task = self.tasks.get_mut(slot as usize)?.take_if(|task| task.passes != passes)?;
        task.passes = passes;
        let limits = self.limits(&task);
        task.max_ms = self.scaled(&task, limits.max_ms, limits.min_ms);
        let total = task.local + task.remote;
        let passed_ns = now_ns.saturating_sub(task.placed_ns);
        let ran_lately_ns = ran_ns.saturating_sub(task.ran_ns);
        (task.placed_ns, task.ran_ns) = (now_ns, ran_ns);
        let mut group = task.group.and_then(|group| self.groups.get_mut(group as usize)?.as_mut());
        if let Some(group) = &mut group {
            group.take(&task);
        }
        let mut pass =
            Pass { local: task.local, remote: task.remote, failed: task.failed, ..Pass::default() };
        let TaskNuma { by_node, fresh, .. } = &mut *task;
        for (node, fresh) in by_node.iter_mut().zip(fresh.iter_mut()) {
            let fresh = core::mem::take(fresh);
            pass.shared += fresh.memory[0];
            pass.private += fresh.memory[1];
            for kind in 0..2 {
                let ran = rules::by_run_time(fresh.cpu[kind], total, ran_lately_ns, passed_ns);
                node.memory[kind] = rules::decayed(node.memory[kind], fresh.memory[kind]);
                node.cpu[kind] = rules::decayed(node.cpu[kind], ran);
            }
        }
        task.total = task.by_node.iter().map(NodeFaults::memory).sum();
        (task.local, task.remote, task.failed) = (0, 0, 0);
        let by_node = match &mut group {
            Some(group) => {
                group.add(&task);
                group.count_active();
                &group.by_node
            }
            None => &task.by_node,
        };
        let mut most = (0, None);
        for (node, faults) in (0..).zip(by_node) {
            if faults.memory() > most.0 {
                most = (faults.memory(), Some(node));
            }
        }
        if let Some(node) = most.1 {
            task.preferred = self.nearest.get(node as usize).copied();
        }
        match rules::adapt_period(task.period_ms, pass, limits_of(limits, task.max_ms)) {
            Some(period_ms) => task.period_ms = period_ms,
            None => {
                task.period_ms = task.period_ms.saturating_mul(2).min(task.max_ms);
                let next_ns = now_ns.saturating_add(task.period_ms * NS_PER_MS);
                self.spaces[space].next_scan_ns = next_ns;
            }
        }
        self.tasks[slot as usize] = Some(task);
        Some(())
    }

    fn count(&mut self, slot: u32, fault: &NumaFault, counted: Counted) -> Option<()> {
        let Counted { on, by, private, local, migrated, failed } = counted;
        let pages = u64::from(fault.pages);
        self.counts.faults += pages;
        self.counts.local_faults += if fault.node == by { pages } else { 0 };
        self.counts.pages_migrated += if migrated { pages } else { 0 };
        let task = self.task_mut(slot)?;
        task.fresh.get_mut(on as usize)?.memory[usize::from(private)] += pages;
        task.fresh.get_mut(by as usize)?.cpu[usize::from(private)] += pages;
        *(if local { &mut task.local } else { &mut task.remote }) += pages;
        if failed {
            task.failed += pages;
        }
        Some(())
    }
}

fn limits_of(limits: Periods, max_ms: u64) -> Periods {
    Periods { min_ms: limits.min_ms, max_ms: max_ms.max(limits.min_ms) }
}

/// How a fault counts.
#[derive(Clone, Copy, Debug)]
struct Counted {
    /// The node the page is on now, and that of the CPU.
    on: u32,
    by: u32,
    private: bool,
    local: bool,
    migrated: bool,
    failed: bool,
}

impl Scheduler {
    /// A running task has accessed a page that a scan had marked. Whether the page moves to the node
    /// of the CPU.
    ///
    /// # Errors
    /// If the task is unknown. A fault of a task without address space, or on a node that does not
    /// exist, counts for nothing.
    pub fn numa_fault(
        &mut self,
        now_ns: u64,
        task: TaskId,
        fault: NumaFault,
    ) -> Result<bool, Error> {
        let now_ns = self.advance(now_ns);
        let slot = self.tasks.find(task)?;
        let cpu = self.tasks.slots[slot as usize].cpu;
        let by = self.smp.node(cpu);
        let nodes = self.smp.numa.as_deref().map_or(0, |numa| numa.nodes.len());
        let last_known = fault.last.is_none_or(|(_, node)| (node as usize) < nodes);
        if fault.node as usize >= nodes || !last_known {
            return Ok(false);
        }
        let last = fault.last.map(|(last, _)| last);
        let own = last.is_none_or(|last| last == task);
        // Who faulted before is only known for sure while it runs.
        let other = last.filter(|_| !own).and_then(|last| self.tasks.find(last).ok());
        let other = other.filter(|other| {
            let cpu = self.tasks.slots[*other as usize].cpu;
            self.cpus[cpu as usize].current == Some(*other)
        });
        let ran_ns = self.entities[slot as usize].sum_exec;
        let Some(numa) = self.smp.numa.as_deref_mut() else { return Ok(false) };
        let wanted = fault.node != by && numa.page_moves(slot, &fault, by, own).unwrap_or(false);
        let Some(known) = numa.task_mut(slot) else { return Ok(false) };
        known.has_faulted = true;
        let migrated = wanted && fault.movable;
        if !own {
            numa.meet(slot, other);
        }
        let mut local = fault.node == by;
        if let Some(known) = numa.task(slot)
            && let Some(group) = known.group.and_then(|group| numa.group(group))
            && !own
            && group.active_nodes > 1
        {
            // Whoever shares memory between nodes has some of it far.
            local |= group.is_active(by) && group.is_active(fault.node);
        }
        let due = numa.task(slot).is_some_and(|known| now_ns > known.retry_ns);
        if due {
            numa.place(now_ns, slot, ran_ns);
            self.numa_go_home(now_ns, slot);
        }
        let on = if migrated { by } else { fault.node };
        let counted =
            Counted { on, by, private: own, local, migrated, failed: wanted && !migrated };
        if let Some(numa) = self.smp.numa.as_deref_mut() {
            numa.count(slot, &fault, counted);
        }
        Ok(migrated)
    }

    /// Tries to move a task to the node it prefers, now and then.
    fn numa_go_home(&mut self, now_ns: u64, slot: u32) {
        let node = self.smp.node(self.tasks.slots[slot as usize].cpu);
        let Some(task) = self.smp.numa.as_deref_mut().and_then(|numa| numa.task_mut(slot)) else {
            return;
        };
        let Some(preferred) = task.preferred else { return };
        let interval_ms = (task.period_ms / 16).min(1000);
        task.retry_ns = now_ns.saturating_add(interval_ms * NS_PER_MS);
        if preferred != node {
            self.numa_migrate(slot, preferred);
        }
    }

    /// A CPU's node, for hosts that place memory.
    pub fn node_of(&self, cpu: CpuId) -> Option<u32> {
        ((cpu.index()) < self.cpus.len()).then(|| self.smp.node(cpu.0))
    }
}
