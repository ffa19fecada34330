//! Several CPUs: load averages, where tasks wake and start, and how they are balanced among
//! scheduling domains (fair.md G).
//!
//! | what | where |
//! |---|---|
//! | averages of tasks and queues | [`load`] |
//! | the arithmetic, without state | [`rules`] |
//! | wakeups: the waker's CPU or the previous one, and an idle one near it | [`wake`] |
//! | of CPUs where a wakee fits, the one that costs the least energy | [`energy`] |
//! | forks and execs: the idlest group, the idlest CPU | [`fork`] |
//! | which group of a domain is the busiest, and what to move | [`busiest`] |
//! | moving it, now or by pushing a running task away | [`pull`] |
//! | how important each CPU's work is, for real-time tasks | [`priorities`] |
//! | NUMA balancing: tasks and memory that follow each other | [`numa`] |
//! | when: at ticks, for idle CPUs whose tick has stopped, before going idle | [`when`] |
//!
//! On one CPU nothing of this is in use.

mod busiest;
mod energy;
mod fork;
pub(super) mod load;
mod numa;
mod priorities;
mod pull;
mod rules;
pub(super) mod wake;
mod when;

use core::fmt;

use self::busiest::Scratch;
use self::numa::Numa;
use self::priorities::Priorities;
use self::rules::NewidleOdds;
use super::{Cpu, Scheduler};
use crate::domains::{Domain, DomainFlags, DomainLink, Domains, packing_priority};
use crate::energy::EnergyModel;
use crate::mask::CpuMask;
use crate::numa::NumaConfig;
use crate::profile::IntervalRule;
use crate::topology::Topology;
use crate::{CpuId, CpuSet, Error, TaskId};

/// How long a CPU is taken to stay idle before it has ever been.
const AVG_IDLE_START_NS: u64 = 1_000_000;
/// The capacity of a CPU of a machine that was not described.
const FULL: u32 = 1024;

/// What balancing depends on beside the kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct SmpConfig {
    /// The machine; `None` is so many alike CPUs with one last-level cache.
    pub topology: Option<Topology>,
    /// The sets of CPUs that are balanced among each other (cpuset partitions); CPUs in none are
    /// isolated. `None` is one set with all.
    pub partitions: Option<Vec<CpuSet>>,
    /// debugfs `migration_cost_ns`: a task that ran less than that ago has a warm cache. -1 is for
    /// ever, 0 never.
    pub migration_cost_ns: i64,
    /// debugfs `nr_migrate`: how many tasks a balance looks at.
    pub nr_migrate: u32,
    /// What looking at one CPU costs a CPU that is about to idle, ns. The kernel measures the time of
    /// each search and does not begin what would take longer than the CPU usually idles; a core without
    /// a clock has to be told.
    pub newidle_cpu_ns: u64,
    /// Seeds the throws of NI_RANDOM.
    pub seed: u64,
    /// NUMA balancing (`kernel.numa_balancing`), and its tunables; `None` is off. Without effect on one
    /// node, and for tasks whose memory nobody tells of ([`numa`](crate::numa)).
    pub numa: Option<NumaConfig>,
    /// What CPUs draw: tasks wake where that costs the least energy (`sched_energy_aware`). `None`, or
    /// where CPUs are alike or the model is of another machine: it does not matter.
    pub energy: Option<EnergyModel>,
}

impl Default for SmpConfig {
    fn default() -> Self {
        Self {
            topology: None,
            partitions: None,
            migration_cost_ns: 500_000,
            nr_migrate: 32,
            newidle_cpu_ns: 100,
            seed: 0,
            numa: None,
            energy: None,
        }
    }
}

/// Why a machine cannot be balanced as configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopologySize {
    /// CPUs of the topology.
    pub topology: u32,
    /// CPUs of the machine.
    pub cpus: u32,
}

impl fmt::Display for TopologySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topology, cpus } = self;
        write!(f, "the topology is of {topology} CPUs, the machine has {cpus}")
    }
}

/// A CPU's place in a domain: when it balanced there last, and how that went.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    last_balance: u64,
    interval_ms: u32,
    nr_failed: u32,
    /// The longest search of a newly idle CPU, ns, and when it was last let fade.
    newidle_cost_ns: u64,
    cost_faded_ns: u64,
    odds: NewidleOdds,
}

/// What a CPU knows for balancing.
#[derive(Clone, Debug)]
struct CpuSmp {
    /// As in the chain of domains.
    steps: Box<[Step]>,
    /// Capacity as built, and what classes above leave of it.
    capacity_orig: u32,
    capacity: u32,
    /// In ticks.
    next_balance: u64,
    /// Since when it idles; 0 if it does not.
    idle_since_ns: u64,
    avg_idle_ns: u64,
    max_newidle_cost_ns: u64,
    /// Load of its running task, if that needs a faster CPU.
    misfit_load: u64,
    /// Where a running task of this CPU is to be pushed to.
    push_to: Option<Push>,
    priority: i64,
    node: u32,
}

/// A balance that takes a task away from the CPU it runs on.
#[derive(Clone, Copy, Debug)]
struct Push {
    to: u32,
    /// The step of the CPU that asked, whose failures are over once it is done.
    step: u32,
}

/// A last-level cache.
#[derive(Clone, Copy, Debug)]
struct Llc {
    size: u32,
    has_idle_core: bool,
    /// How many CPUs a wakeup looks at (SIS_UTIL).
    nr_idle_scan: u32,
    nr_busy: u32,
}

/// Among whom tasks are balanced, and how that has gone so far.
#[derive(Clone, Debug)]
pub(super) struct Smp {
    domains: Domains,
    cpus: Vec<CpuSmp>,
    llcs: Vec<Llc>,
    /// By CPU: the root domain, that of its partition; all isolated CPUs are in one.
    root_domain: Vec<u32>,
    /// By group of each domain: a balance failed because tasks may not run elsewhere.
    imbalanced: Vec<Box<[bool]>>,
    /// By partition: some CPU has someone waiting.
    overloaded: Vec<bool>,
    /// CPUs with two or more queued.
    crowded: CpuMask,
    /// In ticks.
    nohz_next_balance: u64,
    /// CPUs with a task to push away.
    pub(super) nr_pushes: u32,
    has_smt: bool,
    asymmetric: bool,
    packs: bool,
    ticks_ns: u64,
    hz: u64,
    migration_cost_ns: i64,
    nr_migrate: u32,
    newidle_cpu_ns: u64,
    intervals: IntervalRule,
    /// Of the throws.
    random: u64,
    scratch: Scratch,
    priorities: Priorities,
    pub(super) numa: Option<Box<Numa>>,
    energy: Option<Box<EnergyModel>>,
}

impl Smp {
    pub(super) fn new(
        config: &SmpConfig,
        intervals: IntervalRule,
        cpus: u32,
        hz: u32,
    ) -> Result<Self, TopologySize> {
        let uniform = || Topology::uniform(cpus).map_err(|_| TopologySize { topology: 0, cpus });
        let made;
        let topology = match &config.topology {
            Some(topology) if topology.nr_cpus() != cpus => {
                return Err(TopologySize { topology: topology.nr_cpus(), cpus });
            }
            Some(topology) => topology,
            None => {
                made = uniform()?;
                &made
            }
        };
        let partitions = match &config.partitions {
            None => vec![CpuMask::all(cpus)],
            Some(sets) => sets.iter().map(|set| CpuMask::of_set(set, cpus)).collect(),
        };
        let domains = match cpus {
            1 => Domains::new(topology, &[]),
            _ => Domains::new(topology, &partitions),
        };
        let steps = |cpu: u32| {
            let chain = domains.of(cpu);
            chain
                .map(|(_, domain)| {
                    let interval_ms = domain.min_interval_ms(intervals);
                    Step { interval_ms, ..Step::default() }
                })
                .collect()
        };
        let states = topology.places().iter().zip(0..).map(|(place, cpu)| CpuSmp {
            steps: steps(cpu),
            capacity_orig: place.capacity,
            capacity: place.capacity,
            next_balance: 0,
            idle_since_ns: 0,
            avg_idle_ns: AVG_IDLE_START_NS,
            max_newidle_cost_ns: config.migration_cost_ns.max(0) as u64,
            misfit_load: 0,
            push_to: None,
            priority: packing_priority(topology, cpu),
            node: place.node,
        });
        let llcs = domains.llcs.iter().map(|span| Llc {
            size: span.count(),
            has_idle_core: true,
            nr_idle_scan: span.count(),
            nr_busy: 0,
        });
        // A partition's CPUs come before those in none, which are numbered on.
        let isolated = |cpu: u32| cpus > 1 && !partitions.iter().any(|set| set.contains(cpu));
        let first = (0..cpus).find(|cpu| isolated(*cpu));
        let shared = first.map_or(0, |cpu| domains.partition[cpu as usize]);
        let root_domain = (0..cpus).map(|cpu| match isolated(cpu) {
            true => shared,
            false => domains.partition[cpu as usize],
        });
        let root_domain: Vec<u32> = root_domain.collect();
        let partitions = domains.partitions as usize;
        Ok(Self {
            root_domain,
            cpus: states.collect(),
            llcs: llcs.collect(),
            imbalanced: domains.list.iter().map(|d| vec![false; d.groups.len()].into()).collect(),
            overloaded: vec![false; partitions],
            crowded: CpuMask::none(cpus),
            nohz_next_balance: 0,
            nr_pushes: 0,
            has_smt: domains.cores.iter().any(|core| core.len() > 1),
            asymmetric: topology.is_asymmetric(),
            packs: topology.places().iter().any(|place| place.packing_priority.is_some()),
            ticks_ns: 1_000_000_000 / u64::from(hz.max(1)),
            hz: hz.into(),
            migration_cost_ns: config.migration_cost_ns,
            nr_migrate: config.nr_migrate,
            newidle_cpu_ns: config.newidle_cpu_ns,
            intervals,
            random: config.seed ^ 0x9e37_79b9_7f4a_7c15,
            scratch: Scratch::new(cpus),
            priorities: Priorities::new(cpus),
            numa: config.numa.and_then(|numa| Numa::new(numa, topology, hz)),
            energy: energy_model(config.energy.as_ref(), topology).map(Box::new),
            domains,
        })
    }

    /// What a CPU can do as built.
    #[inline]
    pub(super) fn capacity_of(&self, cpu: u32) -> u64 {
        self.cpus.get(cpu as usize).map_or(FULL, |cpu| cpu.capacity_orig).into()
    }

    /// What classes above the fair one leave of it.
    fn capacity_left(&self, cpu: u32) -> u64 {
        self.cpus[cpu as usize].capacity.into()
    }

    /// Whether two CPUs have one last-level cache.
    #[inline]
    fn share_cache(&self, one: u32, other: u32) -> bool {
        self.domains.llc[one as usize] == self.domains.llc[other as usize]
    }

    /// Whether two CPUs have the same memory node.
    pub(super) fn same_node(&self, one: u32, other: u32) -> bool {
        self.cpus[one as usize].node == self.cpus[other as usize].node
    }

    /// The memory node of a CPU.
    fn node(&self, cpu: u32) -> u32 {
        self.cpus[cpu as usize].node
    }

    /// The root domain of a CPU: what deadline tasks are admitted to.
    pub(super) fn root_domain(&self, cpu: u32) -> u32 {
        self.root_domain[cpu as usize]
    }

    /// How many CPUs each has; none, for numbers that are not used.
    pub(super) fn root_domain_sizes(&self) -> Vec<u32> {
        let domains = self.root_domain.iter().max().map_or(0, |most| most + 1);
        let size = |domain| self.root_domain.iter().filter(|of| **of == domain).count() as u32;
        (0..domains).map(size).collect()
    }

    fn llc(&self, cpu: u32) -> &Llc {
        &self.llcs[self.domains.llc[cpu as usize] as usize]
    }

    fn llc_mut(&mut self, cpu: u32) -> &mut Llc {
        &mut self.llcs[self.domains.llc[cpu as usize] as usize]
    }

    /// The CPUs of a core.
    fn siblings(&self, cpu: u32) -> &[u32] {
        &self.domains.cores[self.domains.core[cpu as usize] as usize]
    }

    fn link(&self, cpu: u32, step: usize) -> (DomainLink, &Domain) {
        let link = self.domains.chains[cpu as usize][step];
        (link, &self.domains.list[link.domain as usize])
    }

    fn partition(&self, cpu: u32) -> usize {
        self.domains.partition[cpu as usize] as usize
    }

    /// The lowest domain of a CPU with a flag, that has another CPU too.
    fn step_with(&self, cpu: u32, flag: DomainFlags, other: Option<u32>) -> Option<usize> {
        self.domains.of(cpu).position(|(_, domain)| {
            domain.flags.has(flag) && other.is_none_or(|other| domain.span.contains(other))
        })
    }

    /// The number of tasks queued on a CPU may have changed.
    #[inline(always)]
    pub(super) fn note_crowd(&mut self, rq: &mut Cpu, cpu: u32) {
        let crowded = rq.nr_fair_queued() >= 2 || rq.nr_running() >= 2;
        if core::mem::replace(&mut rq.crowded, crowded) != crowded {
            self.note_crowd_change(cpu, crowded);
        }
        // A balance may have found otherwise since.
        if crowded
            && let Some(partition) = self.domains.partition.get(cpu as usize)
            && let Some(overloaded) = self.overloaded.get_mut(*partition as usize)
        {
            *overloaded = true;
        }
    }

    #[inline(never)]
    fn note_crowd_change(&mut self, cpu: u32, crowded: bool) {
        if crowded {
            self.crowded.insert(cpu);
        } else {
            self.crowded.remove(cpu);
        }
    }

    /// Ticks since time 0.
    fn ticks(&self, now_ns: u64) -> u64 {
        now_ns / self.ticks_ns
    }

    /// A number of 0 to 1023.
    fn throw(&mut self) -> u32 {
        // xorshift64*: no more is needed to take one chance in so many.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 54) as u32
    }

    /// Whether one CPU fills up before another.
    fn fills_first(&self, one: u32, other: u32) -> bool {
        self.cpus[one as usize].priority > self.cpus[other as usize].priority
    }
}

/// The model, if it is of this machine and makes a difference there.
fn energy_model(model: Option<&EnergyModel>, topology: &Topology) -> Option<EnergyModel> {
    let capacities: Vec<u32> = topology.places().iter().map(|place| place.capacity).collect();
    model.filter(|model| topology.is_asymmetric() && model.fits(&capacities)).cloned()
}

impl Scheduler {
    /// The domains tasks are balanced in.
    pub fn domains(&self) -> &Domains {
        &self.smp.domains
    }

    /// How much of the fastest CPU a task is taken to use, of 1024; 0 where that is not kept: on one
    /// CPU.
    ///
    /// # Errors
    /// If the task does not exist.
    pub fn util_of(&self, task: TaskId) -> Result<u64, Error> {
        let slot = self.tasks.find(task)?;
        Ok(if self.loads.on() { self.task_util(slot) } else { 0 })
    }

    /// Nothing runs here and nothing is queued.
    #[inline]
    fn idles(&self, cpu: u32) -> bool {
        self.idle.contains(cpu)
    }

    /// All that is queued here has policy IDLE.
    #[inline]
    fn only_idle_policy(&self, cpu: u32) -> bool {
        let rq = &self.cpus[cpu as usize];
        rq.fair.nr_queued > 0 && rq.fair.all_idle() && rq.nr_above_fair() == 0
    }

    /// A task that wakes or starts would run here at once.
    #[inline]
    fn is_free(&self, cpu: u32) -> bool {
        self.idles(cpu) || self.only_idle_policy(cpu)
    }

    fn allows(&self, slot: u32, cpu: u32) -> bool {
        self.tasks.slots[slot as usize].affinity.contains(CpuId(cpu))
    }

    /// The number of fair tasks queued here that a balance counts.
    fn nr_balanced(&self, cpu: u32) -> u32 {
        let rq = &self.cpus[cpu as usize];
        match self.profile.smp.counts_delayed {
            true => rq.nr_fair_queued(),
            false => rq.nr_fair_runnable(),
        }
    }

    /// The number of tasks queued on a CPU may have changed.
    #[inline]
    pub(super) fn note_crowd(&mut self, cpu: u32) {
        if self.loads.on() {
            self.smp.note_crowd(&mut self.cpus[cpu as usize], cpu);
        }
    }

    /// A CPU goes idle, or stops being so.
    #[inline]
    pub(super) fn note_idle(&mut self, cpu: u32, idle: bool) {
        if !self.idle.set(cpu, idle) || !self.loads.on() {
            return;
        }
        let llc = self.smp.llc_mut(cpu);
        llc.nr_busy = if idle { llc.nr_busy.saturating_sub(1) } else { llc.nr_busy + 1 };
        if idle && self.smp.has_smt && !self.smp.llc(cpu).has_idle_core {
            let all = self.smp.siblings(cpu).iter().all(|sibling| self.idles(*sibling));
            if all {
                self.smp.llc_mut(cpu).has_idle_core = true;
            }
        }
    }

    fn rq(&self, cpu: u32) -> &Cpu {
        &self.cpus[cpu as usize]
    }
}
