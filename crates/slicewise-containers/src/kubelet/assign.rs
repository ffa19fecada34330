//! Which of the free CPUs a container gets: the static policy's orders.
//!
//! *Packed* takes the largest units that are wholly free and no larger than what is asked for: NUMA
//! nodes and sockets, caches where they are to be kept together, cores, and then single threads of
//! cores that are in use already. *Spread* takes a thread of each core in turn. *Distributed* divides
//! a request evenly among as few NUMA nodes as can give it. Lower numbers win ties.

use std::collections::{BTreeMap, BTreeSet};

use super::topology::{NodeCpu, NodeTopology};
use crate::cpus::CpuList;

/// The most ways of choosing NUMA nodes that are looked at.
const CHOICES_MAX: usize = 4096;

/// What of the policy's options the orders depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Order {
    pub(crate) whole_cores: bool,
    pub(crate) across_numa: bool,
    pub(crate) across_cores: bool,
    pub(crate) align_uncore: bool,
}

type Key = fn(&NodeCpu) -> u32;

/// So many of the free CPUs; `None` if there are not enough.
pub(crate) fn assign(
    topology: &NodeTopology,
    free: &CpuList,
    wanted: u32,
    order: Order,
) -> Option<CpuList> {
    if wanted as usize > free.len() {
        return None;
    }
    if order.across_numa
        && let Some(cpus) = distributed(topology, free, wanted, order)
    {
        return Some(cpus);
    }
    Some(packed(topology, free, wanted, order))
}

struct Packing<'t> {
    topology: &'t NodeTopology,
    free: BTreeSet<NodeCpu>,
    taken: BTreeSet<u32>,
    wanted: usize,
}

impl Packing<'_> {
    fn missing(&self) -> usize {
        self.wanted - self.taken.len()
    }

    fn take(&mut self, cpus: &[NodeCpu]) {
        for cpu in cpus {
            self.free.remove(cpu);
            self.taken.insert(cpu.cpu);
        }
    }

    /// Units with the free CPUs in them, and whether those are all of theirs.
    fn units(&self, key: Key) -> BTreeMap<u32, (Vec<NodeCpu>, bool)> {
        let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
        for cpu in self.topology.cpus() {
            *sizes.entry(key(cpu)).or_default() += 1;
        }
        let mut units: BTreeMap<u32, Vec<NodeCpu>> = BTreeMap::new();
        for cpu in &self.free {
            units.entry(key(cpu)).or_default().push(*cpu);
        }
        let whole = |unit: &u32, cpus: &Vec<NodeCpu>| sizes.get(unit) == Some(&cpus.len());
        units.into_iter().map(|(unit, cpus)| (unit, (cpus.clone(), whole(&unit, &cpus)))).collect()
    }

    fn take_whole(&mut self, key: Key) {
        let units = self.units(key);
        for cpus in units.into_values().filter(|(_, whole)| *whole).map(|(cpus, _)| cpus) {
            if cpus.len() <= self.missing() {
                self.take(&cpus);
            }
        }
    }

    /// A cache that has enough, if what is left is less than a whole one.
    fn take_part_of_cache(&mut self) {
        let missing = self.missing();
        let units = self.units(|cpu| cpu.uncore);
        let fits = units.into_values().map(|(cpus, _)| cpus).filter(|cpus| cpus.len() >= missing);
        if missing > 0
            && let Some(cpus) = fits.min_by_key(Vec::len)
        {
            let within: CpuList = cpus.iter().map(|cpu| cpu.cpu).collect();
            let order = Order::default();
            let part = packed(self.topology, &within, missing as u32, order);
            let part: Vec<NodeCpu> = self.topology.places(&part).copied().collect();
            self.take(&part);
        }
    }

    /// Free CPUs, those of units with the fewest free ones first.
    fn fullest_first(&self) -> Vec<NodeCpu> {
        let count = |key: Key| {
            let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
            for cpu in &self.free {
                *counts.entry(key(cpu)).or_default() += 1;
            }
            counts
        };
        let keys: [Key; 3] =
            match self.topology.count(|cpu| cpu.socket) >= self.topology.count(|cpu| cpu.numa) {
                true => [|cpu| cpu.numa, |cpu| cpu.socket, |cpu| cpu.core],
                false => [|cpu| cpu.socket, |cpu| cpu.numa, |cpu| cpu.core],
            };
        let counts = keys.map(count);
        let mut cpus: Vec<NodeCpu> = self.free.iter().copied().collect();
        cpus.sort_by_key(|cpu| {
            let at = |level: usize| {
                let unit = keys[level](cpu);
                (counts[level].get(&unit).copied().unwrap_or(0), unit)
            };
            (at(0), at(1), at(2), cpu.cpu)
        });
        cpus
    }

    fn take_cores(&mut self) {
        let threads = self.topology.threads_per_core() as usize;
        let whole = self.units(|cpu| cpu.core);
        let mut seen = BTreeSet::new();
        for cpu in self.fullest_first() {
            if self.missing() < threads {
                return;
            }
            if seen.insert(cpu.core)
                && let Some((cpus, true)) = whole.get(&cpu.core)
                && cpus.len() <= self.missing()
            {
                self.take(cpus);
            }
        }
    }

    fn take_threads(&mut self, spread: bool) {
        let mut cpus = self.fullest_first();
        if spread {
            // The first thread of each core, then the second of each.
            let mut threads: BTreeMap<u32, usize> = BTreeMap::new();
            let mut rounds: Vec<(usize, usize, NodeCpu)> = Vec::new();
            for (at, cpu) in cpus.iter().enumerate() {
                let round = threads.entry(cpu.core).or_default();
                rounds.push((*round, at, *cpu));
                *round += 1;
            }
            rounds.sort_unstable();
            cpus = rounds.into_iter().map(|(_, _, cpu)| cpu).collect();
        }
        let missing = self.missing();
        cpus.truncate(missing);
        self.take(&cpus);
    }
}

fn packed(topology: &NodeTopology, free: &CpuList, wanted: u32, order: Order) -> CpuList {
    let free = topology.places(free).copied().collect();
    let mut packing = Packing { topology, free, taken: BTreeSet::new(), wanted: wanted as usize };
    if !order.across_cores {
        let numa_first = topology.count(|cpu| cpu.socket) >= topology.count(|cpu| cpu.numa);
        let levels: [Key; 2] = match numa_first {
            true => [|cpu| cpu.numa, |cpu| cpu.socket],
            false => [|cpu| cpu.socket, |cpu| cpu.numa],
        };
        for level in levels {
            packing.take_whole(level);
        }
        if order.align_uncore {
            packing.take_whole(|cpu| cpu.uncore);
            packing.take_part_of_cache();
        }
        packing.take_cores();
    }
    packing.take_threads(order.across_cores);
    packing.taken.into_iter().collect()
}

/// Evenly among as few NUMA nodes as can give it; `None` if none can.
fn distributed(
    topology: &NodeTopology,
    free: &CpuList,
    wanted: u32,
    order: Order,
) -> Option<CpuList> {
    let group = if order.whole_cores { topology.threads_per_core() } else { 1 };
    if !wanted.is_multiple_of(group) {
        return None;
    }
    let mut by_node: BTreeMap<u32, CpuList> = BTreeMap::new();
    for node in topology.numa_nodes() {
        let own = topology.places(free).filter(|cpu| cpu.numa == *node).map(|cpu| cpu.cpu);
        by_node.insert(*node, own.collect());
    }
    let nodes: Vec<(u32, u64)> =
        by_node.iter().map(|(node, cpus)| (*node, cpus.len() as u64)).collect();
    for count in 1..=nodes.len() as u32 {
        // So many groups for each node, and the rest for the ones that have most.
        let groups = wanted / group;
        let (each, rest) = (groups / count * group, groups % count);
        let mut best: Option<(u64, Vec<u32>)> = None;
        for choice in choices(nodes.len(), count as usize) {
            let total: u64 = choice.iter().map(|at| nodes[*at].1).sum();
            let gives = |at: &usize| nodes[*at].1 >= u64::from(each);
            if total < u64::from(wanted) || !choice.iter().all(gives) {
                continue;
            }
            let Some(amounts) = amounts(&nodes, &choice, each, rest, group) else { continue };
            // What is left should be as even as possible: sums are equal, so squares tell.
            let left = nodes.iter().enumerate().map(|(at, (_, free))| {
                let taken = choice.iter().position(|other| *other == at);
                free - taken.map_or(0, |taken| u64::from(amounts[taken]))
            });
            let unevenness: u64 = left.map(|left| left * left).sum();
            let mut all = vec![0; nodes.len()];
            for (at, amount) in choice.iter().zip(&amounts) {
                all[*at] = *amount;
            }
            if best.as_ref().is_none_or(|(least, _)| unevenness < *least) {
                best = Some((unevenness, all));
            }
        }
        if let Some((_, amounts)) = best {
            let parts = nodes.iter().zip(amounts).map(|((node, _), amount)| {
                let within = &by_node[node];
                packed(topology, within, amount, order)
            });
            return Some(parts.fold(CpuList::default(), |all, part| all.with(&part)));
        }
    }
    None
}

/// How many CPUs each chosen node gives.
fn amounts(
    nodes: &[(u32, u64)],
    choice: &[usize],
    each: u32,
    rest: u32,
    group: u32,
) -> Option<Vec<u32>> {
    let mut amounts = vec![each; choice.len()];
    let mut order: Vec<usize> = (0..choice.len()).collect();
    order.sort_by_key(|at| (core::cmp::Reverse(nodes[choice[*at]].1), choice[*at]));
    let mut rest = rest;
    for at in order {
        if rest > 0 && u64::from(amounts[at] + group) <= nodes[choice[at]].1 {
            amounts[at] += group;
            rest -= 1;
        }
    }
    (rest == 0).then_some(amounts)
}

/// Ways of choosing `count` of `0..all`, the lowest first; a bounded number of them.
pub(crate) fn choices(all: usize, count: usize) -> Vec<Vec<usize>> {
    let mut result = Vec::new();
    let mut choice: Vec<usize> = (0..count).collect();
    while count <= all && result.len() < CHOICES_MAX {
        result.push(choice.clone());
        let Some(at) = (0..count).rev().find(|at| choice[*at] < all - count + at) else { break };
        choice[at] += 1;
        for later in at + 1..count {
            choice[later] = choice[later - 1] + 1;
        }
    }
    result
}
