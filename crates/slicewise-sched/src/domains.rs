//! Scheduling domains: among which CPUs tasks are balanced, and in which steps (fair.md G.1).
//!
//! Every CPU has a chain of domains, each with a wider span than the one below: its core's siblings,
//! its cluster, its last-level cache, its package or node, and the nodes within each distance. A
//! domain's groups are the spans of the domains below; balancing evens out groups. Levels that add
//! nothing to the one below are left out, as in kernels.
//!
//! CPUs of different partitions (cpusets) have no domain in common, isolated ones have none.

use core::fmt;
use std::collections::BTreeMap;

use crate::mask::CpuMask;
use crate::profile::IntervalRule;
use crate::topology::{LOCAL_DISTANCE, Topology};

/// What CPUs of a domain share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DomainLevel {
    /// A core: SMT siblings.
    Smt,
    /// A cluster of cores.
    Cluster,
    /// The last-level cache.
    Cache,
    /// A package, or all of a memory node.
    Package,
    /// A memory node, where a package has several.
    Node,
    /// All nodes within the n-th of the distances there are, the local one not counted.
    Numa(u8),
}

impl fmt::Display for DomainLevel {
    /// As kernels name them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smt => "SMT",
            Self::Cluster => "CLS",
            Self::Cache => "MC",
            Self::Package => "PKG",
            Self::Node => "NODE",
            Self::Numa(_) => "NUMA",
        })
    }
}

/// What is done in a domain, and what its CPUs share.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct DomainFlags(u16);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)+) => {
        impl DomainFlags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)+
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, stringify!($name))),+];
        }
    };
}

flags! {
    /// A CPU about to idle looks for work.
    BALANCE_NEWIDLE = 0;
    /// An exec may move.
    BALANCE_EXEC = 1;
    /// A fork may move.
    BALANCE_FORK = 2;
    /// A wakeup may go to the waker's CPU.
    WAKE_AFFINE = 3;
    /// CPUs differ in capacity.
    ASYM_CPUCAPACITY = 4;
    /// All capacities of the machine are here.
    ASYM_CPUCAPACITY_FULL = 5;
    /// Siblings of a core.
    SHARE_CPUCAPACITY = 6;
    /// A cluster.
    CLUSTER = 7;
    /// One last-level cache.
    SHARE_LLC = 8;
    /// One balances at a time.
    SERIALIZE = 9;
    /// CPUs with high priority fill up first.
    ASYM_PACKING = 10;
    /// Where this is a group of a wider domain, tasks are spread evenly over such groups.
    PREFER_SIBLING = 11;
    /// Several nodes.
    NUMA = 12;
}

impl DomainFlags {
    const NONE: Self = Self(0);

    /// Whether one of these is set.
    #[inline]
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for DomainFlags {
    /// As debugfs prints them, without the `SD_`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.has(*flag) {
                write!(f, "{separator}{name}")?;
                separator = " ";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DomainFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainFlags({self})")
    }
}

/// A part of a domain, between which it balances.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainGroup {
    /// Its CPUs. Those of other groups may overlap where there are several distances.
    pub cpus: CpuMask,
    /// Those that balance for it.
    pub balancers: CpuMask,
    /// The flags of the domain below whose span it is.
    pub flags: DomainFlags,
    /// How many CPUs.
    pub weight: u32,
    /// How many cores.
    pub cores: u32,
    /// The CPU that fills up first.
    pub preferred_cpu: u32,
}

/// A domain, the same for all CPUs that have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    /// What its CPUs share.
    pub level: DomainLevel,
    /// Its CPUs.
    pub span: CpuMask,
    /// How many.
    pub weight: u32,
    /// How many there would be if all CPUs were in one partition.
    pub whole_weight: u32,
    /// What is done here.
    pub flags: DomainFlags,
    /// An imbalance below this, in percent, is none.
    pub imbalance_pct: u32,
    /// How often balancing must fail before tasks with warm caches move.
    pub cache_nice_tries: u32,
    /// How many running tasks make a node full enough to be evened out.
    pub imb_numa_nr: u32,
    /// In the order in which they are looked at, starting with a CPU's own and going round.
    pub groups: Vec<DomainGroup>,
}

impl Domain {
    /// Shortest time between two balances of an idle CPU, ms. The longest is twice that, and a busy CPU
    /// takes 16 times as long.
    pub fn min_interval_ms(&self, of: IntervalRule) -> u32 {
        match of {
            IntervalRule::WholeSpan => self.whole_weight,
            IntervalRule::Span => self.weight,
        }
    }
}

/// One step of a CPU's chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DomainLink {
    /// In [`Domains::list`].
    pub domain: u32,
    /// The CPU's own group there.
    pub local_group: u32,
}

/// All domains of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domains {
    /// Every domain, once.
    pub list: Vec<Domain>,
    /// By CPU: from the narrowest to the widest.
    pub chains: Vec<Box<[DomainLink]>>,
    /// By CPU: the partition it is in; CPUs of different partitions never exchange tasks.
    pub partition: Vec<u32>,
    /// How many partitions.
    pub partitions: u32,
    /// By CPU: its last-level cache, numbered from 0 (a CPU without domains has one of its own).
    pub llc: Vec<u32>,
    /// The CPUs of each last-level cache.
    pub llcs: Vec<CpuMask>,
    /// By CPU: its core, numbered from 0.
    pub core: Vec<u32>,
    /// The CPUs of each core.
    pub cores: Vec<Vec<u32>>,
}

/// A domain of one CPU before useless levels are left out.
#[derive(Clone)]
struct Draft {
    span: CpuMask,
    whole_weight: u32,
    flags: DomainFlags,
    imbalance_pct: u32,
    cache_nice_tries: u32,
    imb_numa_nr: u32,
}

struct Builder<'t> {
    topology: &'t Topology,
    levels: Vec<DomainLevel>,
    distances: Vec<u32>,
    /// By CPU, by level; empty for CPUs not in the partition.
    drafts: Vec<Vec<Draft>>,
}

impl Domains {
    /// The domains of a machine whose CPUs are balanced within each of `partitions`. CPUs in none of
    /// them are isolated. A CPU in two belongs to the first.
    pub fn new(topology: &Topology, partitions: &[CpuMask]) -> Self {
        let cpus = topology.nr_cpus();
        let mut domains = Self {
            list: Vec::new(),
            chains: vec![Box::default(); cpus as usize],
            partition: vec![u32::MAX; cpus as usize],
            ..Self::default()
        };
        let mut taken = CpuMask::none(cpus);
        for partition in partitions {
            let mut span = CpuMask::none(cpus);
            span.join(partition);
            span.subtract(&taken);
            taken.join(&span);
            if !span.is_empty() {
                domains.add_partition(topology, &span);
            }
        }
        for cpu in 0..cpus {
            if domains.partition[cpu as usize] == u32::MAX {
                domains.partition[cpu as usize] = domains.partitions;
                domains.partitions += 1;
            }
        }
        domains.number_cores(topology);
        domains.number_caches(cpus);
        domains
    }

    /// The domains of a CPU, from the narrowest to the widest.
    pub fn of(&self, cpu: u32) -> impl DoubleEndedIterator<Item = (&DomainLink, &Domain)> {
        let chain = self.chains.get(cpu as usize).map_or(&[][..], |chain| &chain[..]);
        chain.iter().map(|link| (link, &self.list[link.domain as usize]))
    }

    fn add_partition(&mut self, topology: &Topology, span: &CpuMask) {
        let builder = Builder::new(topology, span);
        let mut known: BTreeMap<(usize, CpuMask, u32), u32> = BTreeMap::new();
        for cpu in span.iter() {
            self.partition[cpu as usize] = self.partitions;
            let mut chain = Vec::new();
            for (level, draft) in builder.kept(cpu) {
                // Groups that overlap depend on where one looks from.
                let numa = matches!(builder.levels[level], DomainLevel::Numa(_));
                let from = if numa { builder.topology.places()[cpu as usize].node } else { 0 };
                let key = (level, draft.span.clone(), from);
                let number = *known.entry(key).or_insert_with(|| {
                    self.list.push(builder.domain(cpu, level, draft.clone()));
                    self.list.len() as u32 - 1
                });
                let groups = &self.list[number as usize].groups;
                let local = groups.iter().position(|group| group.cpus.contains(cpu));
                chain.push(DomainLink { domain: number, local_group: local.unwrap_or(0) as u32 });
            }
            self.chains[cpu as usize] = chain.into_boxed_slice();
        }
        self.partitions += 1;
    }

    fn number_cores(&mut self, topology: &Topology) {
        let mut numbers = BTreeMap::new();
        for (cpu, place) in topology.places().iter().enumerate() {
            let next = numbers.len() as u32;
            let core = *numbers.entry(place.core).or_insert(next);
            if core as usize == self.cores.len() {
                self.cores.push(Vec::new());
            }
            self.cores[core as usize].push(cpu as u32);
            self.core.push(core);
        }
    }

    fn number_caches(&mut self, cpus: u32) {
        let mut numbers = BTreeMap::new();
        for cpu in 0..cpus {
            let shared =
                self.of(cpu).rev().find(|(_, domain)| domain.flags.has(DomainFlags::SHARE_LLC));
            let span = match shared {
                Some((_, domain)) => domain.span.clone(),
                None => {
                    let mut own = CpuMask::none(cpus);
                    own.insert(cpu);
                    own
                }
            };
            let next = self.llcs.len() as u32;
            let llc = *numbers.entry(span.clone()).or_insert(next);
            if llc == next {
                self.llcs.push(span);
            }
            self.llc.push(llc);
        }
    }
}

impl<'t> Builder<'t> {
    fn new(topology: &'t Topology, cpus: &CpuMask) -> Self {
        let places = topology.places();
        let mut builder = Self {
            topology,
            levels: Vec::new(),
            distances: distances(topology),
            drafts: vec![Vec::new(); places.len()],
        };
        // Where a package has several nodes, nothing is said about packages.
        let split = places.iter().any(|one| {
            places.iter().any(|other| one.package == other.package && one.node != other.node)
        });
        builder.levels.push(DomainLevel::Smt);
        builder.levels.push(DomainLevel::Cluster);
        builder.levels.push(DomainLevel::Cache);
        if !split {
            builder.levels.push(DomainLevel::Package);
        }
        builder.levels.push(DomainLevel::Node);
        let further = 1..builder.distances.len().min(usize::from(u8::MAX));
        builder.levels.extend(further.map(|level| DomainLevel::Numa(level as u8)));
        for cpu in cpus.iter() {
            builder.drafts[cpu as usize] = builder.drafts_of(cpu, cpus);
        }
        builder
    }

    /// The CPUs of a level, from a CPU's view.
    fn span(&self, level: DomainLevel, cpu: u32, cpus: &CpuMask) -> CpuMask {
        let places = self.topology.places();
        let own = &places[cpu as usize];
        let mut span = CpuMask::none(places.len() as u32);
        for other in cpus.iter() {
            let place = &places[other as usize];
            let within = match level {
                DomainLevel::Smt => place.core == own.core,
                DomainLevel::Cluster => {
                    place.core == own.core || own.cluster.is_some() && place.cluster == own.cluster
                }
                DomainLevel::Cache => place.llc == own.llc && place.node == own.node,
                DomainLevel::Package | DomainLevel::Node => place.node == own.node,
                DomainLevel::Numa(level) => {
                    let within = self.distances[usize::from(level)];
                    self.topology.distance(own.node, place.node).is_some_and(|far| far <= within)
                }
            };
            if within {
                span.insert(other);
            }
        }
        span
    }

    fn drafts_of(&self, cpu: u32, cpus: &CpuMask) -> Vec<Draft> {
        let mut drafts: Vec<Draft> = Vec::new();
        let all_cpus = CpuMask::all(self.topology.nr_cpus());
        for level in self.levels.iter().copied() {
            let span = self.span(level, cpu, cpus);
            let all = span == *cpus;
            let whole_weight = match all_cpus == *cpus {
                true => span.count(),
                false => self.span(level, cpu, &all_cpus).count(),
            };
            let mut draft = self.draft(level, span, whole_weight);
            draft.flags = draft.flags.with(self.asymmetry(&draft.span, cpus));
            if draft.flags.has(DomainFlags::ASYM_CPUCAPACITY)
                && let Some(child) = drafts.last_mut()
            {
                child.flags = child.flags.without(DomainFlags::PREFER_SIBLING);
            }
            drafts.push(draft);
            if all {
                break;
            }
        }
        allow_imbalance(&mut drafts);
        drafts
    }

    fn draft(&self, level: DomainLevel, span: CpuMask, whole_weight: u32) -> Draft {
        use DomainFlags as F;
        let usual = F::BALANCE_NEWIDLE
            .with(F::BALANCE_EXEC)
            .with(F::BALANCE_FORK)
            .with(F::WAKE_AFFINE)
            .with(F::PREFER_SIBLING);
        let packs = self.topology.places().iter().any(|place| place.packing_priority.is_some());
        let packing = if packs { F::ASYM_PACKING } else { F::NONE };
        let (flags, imbalance_pct, cache_nice_tries) = match level {
            DomainLevel::Smt => (usual.with(F::SHARE_CPUCAPACITY).with(F::SHARE_LLC), 110, 0),
            DomainLevel::Cluster => {
                (usual.with(F::CLUSTER).with(F::SHARE_LLC).with(packing), 117, 1)
            }
            DomainLevel::Cache => (usual.with(F::SHARE_LLC).with(packing), 117, 1),
            DomainLevel::Package => (usual.with(packing), 117, 1),
            DomainLevel::Node => (usual, 117, 1),
            DomainLevel::Numa(level) => {
                let near = usual.without(F::PREFER_SIBLING).with(F::NUMA).with(F::SERIALIZE);
                let stays = F::BALANCE_EXEC.with(F::BALANCE_FORK).with(F::WAKE_AFFINE);
                let far = self.distances[usize::from(level)] > self.topology.reclaim_distance();
                (if far { near.without(stays) } else { near }, 117, 2)
            }
        };
        Draft { span, whole_weight, flags, imbalance_pct, cache_nice_tries, imb_numa_nr: 0 }
    }

    fn asymmetry(&self, span: &CpuMask, cpus: &CpuMask) -> DomainFlags {
        let capacities = |mask: &CpuMask| {
            let mut all: Vec<u32> =
                mask.iter().map(|cpu| self.topology.places()[cpu as usize].capacity).collect();
            all.sort_unstable();
            all.dedup();
            all.len()
        };
        if !self.topology.is_asymmetric() || capacities(span) < 2 {
            return DomainFlags::NONE;
        }
        let asymmetric = DomainFlags::ASYM_CPUCAPACITY;
        match capacities(span) == capacities(cpus) {
            true => asymmetric.with(DomainFlags::ASYM_CPUCAPACITY_FULL),
            false => asymmetric,
        }
    }

    /// The levels of a CPU that say something the one below does not.
    fn kept(&self, cpu: u32) -> Vec<(usize, Draft)> {
        let mut kept: Vec<(usize, Draft)> = Vec::new();
        for (level, draft) in self.drafts[cpu as usize].iter().enumerate() {
            match kept.last_mut() {
                Some((_, below)) if below.span == draft.span => {
                    // One group: all that is left to do there is to attract wakeups.
                    let attracts = DomainFlags::WAKE_AFFINE;
                    if draft.flags.has(attracts) && !below.flags.has(attracts) {
                        kept.push((level, draft.clone()));
                        continue;
                    }
                    if draft.flags.has(DomainFlags::PREFER_SIBLING) {
                        below.flags = below.flags.with(DomainFlags::PREFER_SIBLING);
                    }
                }
                _ => kept.push((level, draft.clone())),
            }
        }
        kept.retain(|(_, draft)| draft.span.count() > 1);
        kept
    }

    /// The domain of a CPU at a level.
    fn domain(&self, cpu: u32, level: usize, draft: Draft) -> Domain {
        let mut groups = match self.levels[level] {
            DomainLevel::Numa(_) => self.overlapping_groups(cpu, level, &draft.span),
            _ => self.disjoint_groups(level, &draft.span),
        };
        for group in &mut groups {
            group.flags = self.flags_below(level, &group.cpus);
        }
        Domain {
            level: self.levels[level],
            weight: draft.span.count(),
            whole_weight: draft.whole_weight,
            flags: draft.flags,
            imbalance_pct: draft.imbalance_pct,
            cache_nice_tries: draft.cache_nice_tries,
            imb_numa_nr: draft.imb_numa_nr,
            groups,
            span: draft.span,
        }
    }

    /// The flags of the widest domain below a level that a group's CPUs have; a single CPU has none.
    fn flags_below(&self, level: usize, cpus: &CpuMask) -> DomainFlags {
        let Some(cpu) = cpus.first() else { return DomainFlags::NONE };
        let kept = self.kept(cpu);
        let below = kept.iter().rev().find(|(at, _)| *at < level);
        below.map_or(DomainFlags::NONE, |(_, draft)| draft.flags)
    }

    fn disjoint_groups(&self, level: usize, span: &CpuMask) -> Vec<DomainGroup> {
        let mut covered = CpuMask::none(self.topology.nr_cpus());
        let mut groups = Vec::new();
        for cpu in span.iter() {
            if covered.contains(cpu) {
                continue;
            }
            let group = match level.checked_sub(1) {
                Some(below) => {
                    let child = &self.drafts[cpu as usize][below];
                    self.group(child.span.clone(), child.span.clone())
                }
                None => {
                    let mut own = CpuMask::none(self.topology.nr_cpus());
                    own.insert(cpu);
                    self.group(own.clone(), own)
                }
            };
            covered.join(&group.cpus);
            groups.push(group);
        }
        groups
    }

    /// Nodes look at the others each from its own place: groups are what other nodes have below this
    /// level, as far as it is in the span.
    fn overlapping_groups(&self, cpu: u32, level: usize, span: &CpuMask) -> Vec<DomainGroup> {
        let mut covered = CpuMask::none(self.topology.nr_cpus());
        let mut groups = Vec::new();
        for other in span.iter_from(cpu) {
            if covered.contains(other) {
                continue;
            }
            let drafts = &self.drafts[other as usize];
            // A chain ends where it has everything: nodes that see all others further in are in
            // nobody's groups here (distances that differ by direction).
            if level >= drafts.len() {
                continue;
            }
            let mut at = level;
            // From the first whose child lies within the span, down past levels that are all alike.
            while at > 0 && !drafts[at - 1].span.is_subset(span) {
                at -= 1;
            }
            let chosen = &drafts[at.saturating_sub(1)];
            let mut balancers = CpuMask::none(self.topology.nr_cpus());
            for cpu in chosen.span.iter() {
                let drafts = &self.drafts[cpu as usize];
                let below = at.saturating_sub(1).min(drafts.len() - 1);
                if drafts[below].span == chosen.span {
                    balancers.insert(cpu);
                }
            }
            let group = self.group(chosen.span.clone(), balancers);
            covered.join(&group.cpus);
            groups.push(group);
        }
        groups
    }

    fn group(&self, cpus: CpuMask, balancers: CpuMask) -> DomainGroup {
        let places = self.topology.places();
        let mut cores: Vec<u32> = cpus.iter().map(|cpu| places[cpu as usize].core).collect();
        cores.sort_unstable();
        cores.dedup();
        let mut preferred_cpu = cpus.first().unwrap_or(0);
        for cpu in cpus.iter() {
            if packing_priority(self.topology, cpu) > packing_priority(self.topology, preferred_cpu)
            {
                preferred_cpu = cpu;
            }
        }
        DomainGroup {
            weight: cpus.count(),
            cores: cores.len() as u32,
            preferred_cpu,
            cpus,
            balancers,
            flags: DomainFlags::NONE,
        }
    }
}

/// Which of two CPUs fills up first: the one with more. Without priorities, lower numbers first.
pub(crate) fn packing_priority(topology: &Topology, cpu: u32) -> i64 {
    match topology.places().get(cpu as usize).and_then(|place| place.packing_priority) {
        Some(priority) => i64::from(priority),
        None => -i64::from(cpu),
    }
}

/// The distances there are between nodes with CPUs, ascending.
fn distances(topology: &Topology) -> Vec<u32> {
    let mut nodes: Vec<u32> = topology.places().iter().map(|place| place.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut distances: Vec<u32> = nodes
        .iter()
        .flat_map(|from| nodes.iter().filter_map(|to| topology.distance(*from, *to)))
        .collect();
    distances.push(LOCAL_DISTANCE);
    distances.sort_unstable();
    distances.dedup();
    distances
}

/// How full a node may be before its tasks are evened out: by its last-level caches.
fn allow_imbalance(drafts: &mut [Draft]) {
    let mut allowed = 1;
    let mut span_of_first = 0;
    for at in 0..drafts.len() {
        let cache = |draft: &Draft| draft.flags.has(DomainFlags::SHARE_LLC);
        let weight = drafts[at].span.count();
        if at > 0 && !cache(&drafts[at]) && cache(&drafts[at - 1]) {
            let caches = weight / drafts[at - 1].span.count().max(1);
            allowed = if caches == 1 { weight / 8 } else { caches }.max(1);
            let first = drafts[at + 1..].iter().find(|draft| draft.flags.has(DomainFlags::NUMA));
            span_of_first = first.map_or(weight, |numa| numa.span.count());
            drafts[at].imb_numa_nr = allowed;
        } else {
            let factor = weight.checked_div(span_of_first).unwrap_or(1).max(1);
            drafts[at].imb_numa_nr = allowed * factor;
        }
    }
}

#[cfg(test)]
mod tests;
