//! NUMA balancing: which node a task prefers, by faults on memory of each, and how it gets there
//! (fair.md G.11).
//!
//! | what | where |
//! |---|---|
//! | the arithmetic, without state | [`rules`] |
//! | faults, what they say of nodes, and tasks that share memory | [`faults`] |
//! | moving a task to a node, or swapping it with another | [`migrate`] |
//!
//! There is no [`Numa`] on a machine with one node, or where the host has not asked for it: that is all
//! other code tests.
//!
//! *Simplifications*: nodes count as equally far from each other, wherever faults are weighed (a kernel
//! lets nodes near a node count too where distances have more than two values). Tasks of another class
//! are never swapped with. A task's first placement takes the time it has run since it joined for what
//! the kernel takes its load average for. New tasks have no preferred node, so forks do not look at it.

mod faults;
mod migrate;
mod rules;

use self::faults::{Group, TaskNuma};
use self::migrate::Order;
use super::busiest::{Balance, Idleness};
use crate::domains::DomainFlags;
use crate::mask::CpuMask;
use crate::numa::{NumaConfig, NumaCounts, NumaScan, NumaSpace, NumaView};
use crate::scheduler::Scheduler;
use crate::topology::Topology;
use crate::{Class, CpuId, Error, Output, TaskId};

const NS_PER_MS: u64 = 1_000_000;
/// Of a task's time, one part in so many may be scans.
const SCAN_SHARE: u64 = 32;

/// An address space.
#[derive(Clone, Copy, Debug)]
struct Space {
    next_scan_ns: u64,
    /// Passes over all of it.
    passes: u64,
    resident_pages: u64,
    tasks: u32,
    alive: bool,
}

/// All that NUMA balancing knows.
#[derive(Clone, Debug)]
pub(in super::super) struct Numa {
    config: NumaConfig,
    tick_ns: u64,
    /// CPUs of each node.
    nodes: Box<[CpuMask]>,
    /// For each node, the nearest that has CPUs.
    nearest: Box<[u32]>,
    spaces: Vec<Space>,
    free_spaces: Vec<u32>,
    /// By slot.
    tasks: Vec<Option<Box<TaskNuma>>>,
    groups: Vec<Option<Group>>,
    orders: Vec<Order>,
    counts: NumaCounts,
}

impl Numa {
    /// Nothing on one node.
    pub(super) fn new(config: NumaConfig, topology: &Topology, hz: u32) -> Option<Box<Self>> {
        let nodes = topology.nr_nodes();
        if nodes < 2 {
            return None;
        }
        let mut masks = vec![CpuMask::none(topology.nr_cpus()); nodes as usize];
        for (cpu, place) in (0..).zip(topology.places()) {
            masks[place.node as usize].insert(cpu);
        }
        let distance = |from, to| topology.distance(from, to).unwrap_or(u32::MAX);
        let nearest = |from: u32| {
            let with_cpus = (0..nodes).filter(|to| !masks[*to as usize].is_empty());
            with_cpus.min_by_key(|to| distance(from, *to)).unwrap_or(from)
        };
        let nearest = (0..nodes).map(nearest).collect();
        Some(Box::new(Self {
            config,
            tick_ns: 1_000_000_000 / u64::from(hz.max(1)),
            nodes: masks.into(),
            nearest,
            spaces: Vec::new(),
            free_spaces: Vec::new(),
            tasks: Vec::new(),
            groups: Vec::new(),
            orders: Vec::new(),
            counts: NumaCounts::default(),
        }))
    }

    fn task(&self, slot: u32) -> Option<&TaskNuma> {
        self.tasks.get(slot as usize)?.as_deref()
    }

    fn task_mut(&mut self, slot: u32) -> Option<&mut TaskNuma> {
        self.tasks.get_mut(slot as usize)?.as_deref_mut()
    }
}

impl Scheduler {
    /// A new address space; `None` where there is no NUMA balancing: it was not asked for
    /// ([`SmpConfig::numa`](crate::SmpConfig::numa)), or there is one node.
    pub fn numa_space(&mut self, now_ns: u64) -> Option<NumaSpace> {
        let now_ns = self.advance(now_ns);
        let numa = self.smp.numa.as_deref_mut()?;
        let space = Space {
            next_scan_ns: now_ns.saturating_add(u64::from(numa.config.scan_delay_ms) * NS_PER_MS),
            passes: 0,
            resident_pages: 0,
            tasks: 0,
            alive: true,
        };
        Some(NumaSpace(match numa.free_spaces.pop() {
            Some(number) => {
                numa.spaces[number as usize] = space;
                number
            }
            None => {
                numa.spaces.push(space);
                numa.spaces.len() as u32 - 1
            }
        }))
    }

    /// A task lives in this address space from now on. The space ends with its last task.
    ///
    /// # Errors
    /// If the task is unknown. A space that is unknown, or no more, is ignored.
    pub fn numa_join(&mut self, task: TaskId, space: NumaSpace) -> Result<(), Error> {
        let slot = self.tasks.find(task)?;
        self.numa_leave(slot);
        let now_ns = self.now_ns;
        let ran_ns = self.entities[slot as usize].sum_exec;
        let Some(numa) = self.smp.numa.as_deref_mut() else { return Ok(()) };
        let nodes = numa.nodes.len();
        let delay_ms = u64::from(numa.config.scan_delay_ms);
        let Some(place) = numa.spaces.get_mut(space.0 as usize).filter(|space| space.alive) else {
            return Ok(());
        };
        place.tasks += 1;
        // Threads take turns: each begins later than those before.
        let stamp_ns = match place.tasks {
            1 => 0,
            tasks => {
                let delay_ms =
                    (delay_ms * u64::from(tasks)).min(u64::from(numa.config.scan_period_max_ms));
                ran_ns + delay_ms * NS_PER_MS + 2 * numa.tick_ns
            }
        };
        let known = TaskNuma::new(space.0, place.passes, nodes, delay_ms, stamp_ns, now_ns, ran_ns);
        if numa.tasks.len() <= slot as usize {
            numa.tasks.resize_with(slot as usize + 1, || None);
        }
        numa.tasks[slot as usize] = Some(Box::new(known));
        Ok(())
    }

    /// The task has ended, or moves to another space.
    #[cold]
    pub(in super::super) fn numa_leave(&mut self, slot: u32) {
        let Some(numa) = self.smp.numa.as_deref_mut() else { return };
        let Some(task) = numa.tasks.get_mut(slot as usize).and_then(Option::take) else { return };
        numa.leave_group(&task);
        if let Some(space) = numa.spaces.get_mut(task.space as usize) {
            space.tasks -= 1;
            if space.tasks == 0 {
                space.alive = false;
                numa.free_spaces.push(task.space);
            }
        }
    }

    /// What was done so far.
    pub fn numa_counts(&self) -> NumaCounts {
        self.smp.numa.as_deref().map_or_else(NumaCounts::default, |numa| numa.counts)
    }

    /// What is known of a task; `None` if it has no address space.
    pub fn numa_view(&self, task: TaskId) -> Option<NumaView> {
        let slot = self.tasks.find(task).ok()?;
        let known = self.smp.numa.as_deref()?.task(slot)?;
        Some(NumaView {
            preferred_node: known.preferred,
            scan_period_ms: known.period_ms,
            faults: known.by_node.iter().map(|node| node.memory()).collect(),
            group: known.group,
        })
    }

    /// The tick of a CPU: whether the memory of the task that runs is to be scanned.
    #[cold]
    pub(super) fn numa_tick(&mut self, now_ns: u64, cpu: u32) {
        let Some(slot) = self.cpus[cpu as usize].current else { return };
        if self.tasks.slots[slot as usize].class != Class::Fair {
            return;
        }
        let ran_ns = self.entities[slot as usize].sum_exec;
        let Some(numa) = self.smp.numa.as_deref_mut() else { return };
        let Some(task) = numa.task(slot) else { return };
        if ran_ns <= task.stamp_ns.saturating_add(task.period_ms * NS_PER_MS) {
            return;
        }
        let first = task.stamp_ns == 0;
        let start_ms = numa.start_period_ms(task);
        let (space, tick_ns) = (task.space as usize, numa.tick_ns);
        let Some(task) = numa.tasks[slot as usize].as_deref_mut() else { return };
        if first {
            task.period_ms = start_ms;
        }
        task.stamp_ns = task.stamp_ns.saturating_add(task.period_ms * NS_PER_MS);
        let Some(space) = numa.spaces.get_mut(space) else { return };
        if now_ns < space.next_scan_ns {
            return;
        }
        space.next_scan_ns = now_ns.saturating_add(task.period_ms * NS_PER_MS);
        // Others get their turn first.
        task.stamp_ns = task.stamp_ns.saturating_add(2 * tick_ns);
        let task = self.tasks.id(slot);
        self.outputs.push(Output::NumaScan { task });
    }

    /// The host has done the scan it was asked for.
    ///
    /// # Errors
    /// If the task is unknown.
    pub fn numa_scanned(&mut self, now_ns: u64, task: TaskId, scan: NumaScan) -> Result<(), Error> {
        self.advance(now_ns);
        let slot = self.tasks.find(task)?;
        let Some(numa) = self.smp.numa.as_deref_mut() else { return Ok(()) };
        let Some(known) = numa.task_mut(slot) else { return Ok(()) };
        known.stamp_ns = known.stamp_ns.saturating_add(SCAN_SHARE.saturating_mul(scan.took_ns));
        let space = known.space as usize;
        if let Some(space) = numa.spaces.get_mut(space) {
            space.resident_pages = scan.resident_pages;
            space.passes += u64::from(scan.wrapped);
        }
        Ok(())
    }

    /// Tasks queued on a CPU that prefer some node, and those whose it is.
    fn numa_queued(&self, numa: &Numa, cpu: u32) -> (u32, u32) {
        let node = self.smp.node(cpu);
        let (mut known, mut home) = (0, 0);
        for slot in self.listed(cpu).iter().map(|member| member.slot) {
            if !self.entities[slot as usize].on_rq {
                continue;
            }
            if let Some(preferred) = numa.task(slot).and_then(|task| task.preferred) {
                known += 1;
                home += u32::from(preferred == node);
            }
        }
        (known, home)
    }

    /// Who may be moved away with the least harm: the lower the better.
    fn numa_queue_kind(&self, numa: &Numa, cpus: impl Iterator<Item = u32>) -> u32 {
        let (mut running, mut known, mut home) = (0, 0, 0);
        for cpu in cpus {
            let (cpu_known, cpu_home) = self.numa_queued(numa, cpu);
            running += self.nr_balanced(cpu);
            known += cpu_known;
            home += cpu_home;
        }
        match () {
            // Somebody who prefers no node.
            () if running > known => 0,
            // Somebody who prefers another.
            () if running > home => 1,
            () => 2,
        }
    }

    /// Where a balance between nodes takes from a group, how well placed the tasks of the whole group
    /// are: it spares queues whose are better (G.7).
    pub(super) fn numa_group_kind(&self, balance: &Balance) -> Option<u32> {
        let numa = self.smp.numa.as_deref()?;
        let (_, domain) = self.smp.link(balance.dst, balance.step);
        if !domain.flags.has(DomainFlags::NUMA) {
            return None;
        }
        let group = domain.groups[balance.busiest].cpus.iter();
        let group = group.filter(|cpu| self.smp.scratch.cpus.contains(*cpu));
        Some(self.numa_queue_kind(numa, group))
    }

    /// Whether its queue is spared, in a group that is placed like this.
    #[cold]
    pub(super) fn numa_spares(&self, cpu: u32, group_kind: u32) -> bool {
        let numa = self.smp.numa.as_deref();
        numa.is_some_and(|numa| self.numa_queue_kind(numa, core::iter::once(cpu)) > group_kind)
    }

    /// Whether a balance takes a task away from its memory (`Some(true)`), or towards it; `None` if
    /// memory says nothing (G.7).
    pub(super) fn numa_degrades(&self, slot: u32, src: u32, balance: &Balance) -> Option<bool> {
        let numa = self.smp.numa.as_deref()?;
        let task = numa.task(slot).filter(|task| task.has_faulted)?;
        let (_, domain) = self.smp.link(balance.dst, balance.step);
        let (from, to) = (self.smp.node(src), self.smp.node(balance.dst));
        if from == to || !domain.flags.has(DomainFlags::NUMA) {
            return None;
        }
        if task.preferred == Some(from) {
            let (_, home) = self.numa_queued(numa, src);
            return (self.nr_balanced(src) > home).then_some(true);
        }
        if task.preferred == Some(to) {
            return Some(false);
        }
        // A CPU that idles is worse than memory that is far.
        if balance.idle != Idleness::Busy {
            return None;
        }
        let weight = |node| match task.group.and_then(|group| numa.group(group)) {
            Some(group) => group.weight(node),
            None => task.weight(node),
        };
        match weight(from) - weight(to) {
            0 => None,
            more => Some(more > 0),
        }
    }

    /// The allowed CPUs of a node that are balanced with this one.
    fn numa_cpus<'a>(
        &'a self,
        numa: &'a Numa,
        slot: u32,
        src: u32,
        node: u32,
    ) -> impl Iterator<Item = u32> + 'a {
        let partition = self.smp.partition(src);
        let cpus = numa.nodes[node as usize].iter();
        cpus.filter(move |cpu| {
            self.smp.partition(*cpu) == partition
                && self.tasks.slots[slot as usize].affinity.contains(CpuId(*cpu))
        })
    }
}
