//! How fast programs get on: siblings of a core, slower CPUs, cold caches, remote memory.
//!
//! Work of a program is CPU time on the fastest CPU, alone on its core, with warm caches and local
//! memory. With a [`SpeedModel`], a ns of CPU time gives less than a ns of work. What the scheduler
//! charges is CPU time, and stays so.
//!
//! A task's speed is a product of three shares:
//!
//! | share | of what | example |
//! |---|---|---|
//! | [`smt`](SpeedModel::smt) | another sibling of the core runs something | 0.6 |
//! | [`capacity`](SpeedModel::capacity) | the CPU is slower than the fastest | 446/1024 |
//! | memory | latency 150 ns instead of 80 on 30 % of the time: 1 / (0.7 + 0.3 · 150/80) | 0.792 |
//!
//! It changes whenever one of them does. Progress is counted exactly: in 2⁻²⁰ of a ns, with nothing
//! rounded away between two changes. After a move to another core a task first has to do some work
//! that is not its own ([`WarmUp`]).
//!
//! *Simplifications.* Siblings slow each other by the same share, whatever they run. A task that stays
//! on its core finds its caches as it left them, whoever ran there meanwhile. Memory of no
//! size stays where it was put; what has [pages](crate::TaskPages) may move. What the machine itself costs (switches, wakeups, ticks,
//! interrupts) takes the same time everywhere.

use slicewise_sched::topology::{CAPACITY_MAX, Topology};
use slicewise_trace::Sink;

use crate::error::SetupError;
use crate::machine::Machine;
use crate::pages::has_pages;
use crate::program::{MemoryNode, Workload};
use crate::task::{NONE, Span, TaskDetail};

/// A part of a whole, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Share(u32);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// All of it.
    pub const FULL: Self = Self(1_000_000);

    /// So many millionths; `None` if that is more than all.
    pub const fn from_ppm(ppm: u32) -> Option<Self> {
        if ppm <= Self::FULL.0 { Some(Self(ppm)) } else { None }
    }

    /// In millionths, 0 to 1,000,000.
    pub const fn ppm(self) -> u32 {
        self.0
    }
}

/// What scans for NUMA balancing and the faults they cause cost whoever runs, ns of work, for each
/// huge page of 2 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageCosts {
    /// A fault.
    pub fault_ns: u64,
    /// Moving the page to another node.
    pub move_ns: u64,
    /// Looking at it in a scan.
    pub scan_ns: u64,
}

/// Latency of memory of the own node where nobody says another, ns.
const LOCAL_NS: u32 = 80;
/// The same of other nodes.
const REMOTE_NS: u32 = 150;

/// What slows programs down. The default is nothing: work takes as much CPU time everywhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SpeedModel {
    /// The speed of each of two siblings of a core that both run something. Of k siblings each has
    /// 2/k of it: more than two get no more done together than two. `None`: siblings do not slow each
    /// other.
    pub smt: Option<Share>,
    /// CPUs are as fast as their capacity says.
    pub capacity: bool,
    /// What moves between cores cost.
    pub warm_up: WarmUp,
    /// How much of their time with local memory tasks spend waiting for it, where they do not say.
    pub memory_bound: Share,
    /// How long CPUs of each node (row) wait for memory of each, ns. Empty: 80 for the own node, 150
    /// for others.
    pub latencies_ns: Vec<Vec<u32>>,
    /// What NUMA balancing costs.
    pub pages: PageCosts,
}

/// Extra work after a move to another core, ns of CPU time on the fastest CPU. It never adds up to
/// more than one move costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WarmUp {
    /// To a core with the same last-level cache.
    pub core_ns: u64,
    /// To one with another.
    pub llc_ns: u64,
}

impl SpeedModel {
    /// Round figures of the right size, not measurements of yours.
    ///
    /// Siblings: 0.6 each. Two get 1.2 of one done together; Intel told of 1.16 to 1.28 for servers
    /// when it introduced SMT (Marr and others, Intel Technology Journal 6(1), 2002), and kernels
    /// long took it to be 1178/1024 = 1.15.
    ///
    /// Warm-up: 5 us within a last-level cache: 768 lines of a 48 KiB L1 and some of the L2, at a few ns
    /// each. 50 us beyond: half of the 16,384 lines of a 1 MiB L2 from memory, 80 ns each, about a
    /// dozen at a time.
    ///
    /// Pages: 2 us for a fault, 500 us for moving 2 MiB (a copy at 4 GiB/s), 0.1 us for each page a scan
    /// looks at.
    pub fn typical() -> Self {
        Self {
            smt: Some(Share(600_000)),
            capacity: true,
            warm_up: WarmUp { core_ns: 5_000, llc_ns: 50_000 },
            pages: PageCosts { fault_ns: 2_000, move_ns: 500_000, scan_ns: 100 },
            ..Self::default()
        }
    }

    /// Whether anything may be slower than full speed on this workload.
    fn is_on(&self, workload: &Workload) -> bool {
        let remote = |bound: Share| bound != Share::NONE;
        self.smt.is_some()
            || self.capacity
            || self.warm_up != WarmUp::default()
            || remote(self.memory_bound)
            || workload.tasks.iter().any(|task| task.memory.bound.is_some_and(remote))
            || self.pages != PageCosts::default() && has_pages(workload)
    }

    fn check(&self, topology: &Topology, workload: &Workload) -> Result<(), SetupError> {
        let fault = |what: String| Err(SetupError::Object { name: "speed".to_owned(), what });
        if self.smt.is_some_and(|share| share == Share::NONE) {
            return fault("siblings cannot have no speed at all".to_owned());
        }
        let nodes = topology.nr_nodes() as usize;
        let rows = &self.latencies_ns;
        if !rows.is_empty() && (rows.len() != nodes || rows.iter().any(|row| row.len() != nodes)) {
            return fault(format!("latencies need a row and a column for each of {nodes} nodes"));
        }
        if rows.iter().flatten().any(|latency_ns| *latency_ns == 0) {
            return fault("a latency is 0".to_owned());
        }
        let absent = |node| matches!(node, MemoryNode::Node(node) if node as usize >= nodes);
        match workload.tasks.iter().find(|task| absent(task.memory.node)) {
            Some(task) => Err(SetupError::Task {
                name: task.name.clone(),
                origin: task.origin,
                what: format!("its memory is on a node that does not exist: there are {nodes}"),
            }),
            None => Ok(()),
        }
    }
}

/// Bits of a speed: full speed is 2²⁰.
const SPEED_BITS: u32 = 20;
const FULL: u32 = 1 << SPEED_BITS;

/// How the task that runs on a CPU gets on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Work per CPU time, of 2²⁰; never 0.
    speed: u32,
    /// Work done that is no whole ns yet, in 2⁻²⁰ ns.
    credit: u32,
    /// Work to do before the program gets on, ns.
    debt_ns: u64,
    /// CPU time since the task got the CPU that was no work of its program, ns.
    lost_ns: u64,
}

impl Pace {
    pub(crate) const FULL: Self = Self { speed: FULL, credit: 0, debt_ns: 0, lost_ns: 0 };

    /// Work that is not its own comes before what the task does.
    pub(crate) fn owe(&mut self, work_ns: u64) {
        self.debt_ns = self.debt_ns.saturating_add(work_ns);
    }

    /// The task gets on so fast from now on.
    pub(crate) fn set_speed(&mut self, speed: u32) {
        self.speed = speed;
    }

    /// CPU time and work are the same.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.speed == FULL && self.debt_ns == 0
    }

    #[inline(always)]
    pub(crate) fn in_debt(&self) -> bool {
        self.debt_ns != 0
    }

    /// The CPU time it takes to get so much work done.
    #[inline(always)]
    pub(crate) fn time_for(&self, work_ns: u64) -> u64 {
        if self.is_full() { work_ns } else { self.longer_time_for(work_ns) }
    }

    #[inline(never)]
    fn longer_time_for(&self, work_ns: u64) -> u64 {
        let needed = (u128::from(self.debt_ns) + u128::from(work_ns)) << SPEED_BITS;
        let units = needed.saturating_sub(self.credit.into());
        u64::try_from(units.div_ceil(self.speed.into())).unwrap_or(u64::MAX)
    }

    /// The task had the CPU for so long: what of it was work of its program.
    #[inline(never)]
    pub(crate) fn work_of(&mut self, ran_ns: u64) -> u64 {
        let units = u128::from(ran_ns) * u128::from(self.speed) + u128::from(self.credit);
        self.credit = units as u32 % FULL;
        let done_ns = (units >> SPEED_BITS) as u64;
        let repaid_ns = done_ns.min(self.debt_ns);
        self.debt_ns -= repaid_ns;
        let work_ns = done_ns - repaid_ns;
        self.lost_ns = self.lost_ns.saturating_add(ran_ns - work_ns);
        work_ns
    }
}

/// What is kept of a task while it does not run.
#[derive(Clone, Copy, Debug)]
struct Rested {
    /// Where it ran last; [`NONE`] before its first run.
    cpu: u32,
    /// Where its memory is.
    memory: MemoryNode,
    bound_ppm: u32,
    credit: u32,
    debt_ns: u64,
}

/// A core at work.
#[derive(Clone, Debug, Default)]
struct Core {
    cpus: Vec<u32>,
    /// Those that run a task.
    running: u32,
}

/// The model at work.
#[derive(Clone, Debug)]
pub(crate) struct Speed {
    smt: Option<Share>,
    warm_up: WarmUp,
    memory_bound: Share,
    cores: Vec<Core>,
    /// By CPU.
    core: Vec<u32>,
    llc: Vec<u32>,
    node: Vec<u32>,
    /// Speed of a CPU whose siblings idle.
    alone: Vec<u32>,
    nodes: u32,
    /// Row by row.
    latencies_ns: Vec<u32>,
    /// By slot.
    tasks: Vec<Rested>,
    /// By task of the workload: CPU time that was no work.
    lost_ns: Vec<u64>,
    pages: PageCosts,
    /// By slot: how much of its accesses go to each node, where it has memory of a size.
    shares: Vec<Vec<u64>>,
}

impl Speed {
    /// The model at work, if it slows anything.
    pub(crate) fn new(
        model: &SpeedModel,
        topology: Option<&Topology>,
        cpus: u32,
        workload: &Workload,
    ) -> Result<Option<Box<Self>>, SetupError> {
        let uniform;
        let topology = match topology {
            Some(topology) => topology,
            None => {
                uniform = Topology::uniform(cpus).map_err(|_| SetupError::TooMany("CPUs"))?;
                &uniform
            }
        };
        model.check(topology, workload)?;
        if !model.is_on(workload) {
            return Ok(None);
        }
        let places = topology.places();
        let mut numbers: Vec<u32> = places.iter().map(|place| place.core).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut cores = vec![Core::default(); numbers.len()];
        let mut core = Vec::with_capacity(places.len());
        for (cpu, place) in (0..).zip(places) {
            let index = numbers.partition_point(|number| *number < place.core);
            cores[index].cpus.push(cpu);
            core.push(index as u32);
        }
        let alone = |capacity: u32| match model.capacity {
            true => ((u64::from(capacity) << SPEED_BITS) / u64::from(CAPACITY_MAX)) as u32,
            false => FULL,
        };
        let nodes = topology.nr_nodes();
        let latency = |at: u32| if at / nodes == at % nodes { LOCAL_NS } else { REMOTE_NS };
        Ok(Some(Box::new(Self {
            smt: model.smt,
            warm_up: model.warm_up,
            memory_bound: model.memory_bound,
            cores,
            core,
            llc: places.iter().map(|place| place.llc).collect(),
            node: places.iter().map(|place| place.node).collect(),
            alone: places.iter().map(|place| alone(place.capacity)).collect(),
            nodes,
            latencies_ns: match model.latencies_ns.is_empty() {
                true => (0..nodes * nodes).map(latency).collect(),
                false => model.latencies_ns.iter().flatten().copied().collect(),
            },
            tasks: Vec::new(),
            lost_ns: vec![0; workload.tasks.len()],
            pages: model.pages,
            shares: Vec::new(),
        })))
    }

    /// A task moves into a slot.
    pub(crate) fn add_task(&mut self, slot: usize, spec: u32, workload: &Workload) {
        let memory = workload.tasks[spec as usize].memory;
        let task = Rested {
            cpu: NONE,
            memory: memory.node,
            bound_ppm: memory.bound.unwrap_or(self.memory_bound).ppm(),
            credit: 0,
            debt_ns: 0,
        };
        if self.tasks.len() <= slot {
            self.tasks.resize(slot + 1, task);
        }
        self.tasks[slot] = task;
        if let Some(shares) = self.shares.get_mut(slot) {
            shares.clear();
        }
    }

    pub(crate) fn page_costs(&self) -> PageCosts {
        self.pages
    }

    /// Memory of a task is on these nodes now, in these parts.
    pub(crate) fn set_shares(&mut self, task: u32, shares: Vec<u64>) {
        if self.shares.len() <= task as usize {
            self.shares.resize(task as usize + 1, Vec::new());
        }
        self.shares[task as usize] = shares;
    }

    /// How fast a task gets on where it is now.
    pub(crate) fn speed(&self, cpu: u32, task: u32) -> u32 {
        let cpu = cpu as usize;
        let running = self.cores[self.core[cpu] as usize].running.max(1);
        let shared = match self.smt {
            Some(share) if running > 1 => {
                ((u64::from(share.ppm()) * 2) << SPEED_BITS) / (1_000_000 * u64::from(running))
            }
            _ => FULL.into(),
        };
        let memory = u64::from(self.memory_speed(self.node[cpu], task));
        let product = (u64::from(self.alone[cpu]) * shared) >> SPEED_BITS;
        let product = (product * memory) >> SPEED_BITS;
        (product as u32).max(1)
    }

    /// The share of full speed that a task's memory leaves it.
    fn memory_speed(&self, node: u32, task: u32) -> u32 {
        let Rested { memory, bound_ppm, .. } = self.tasks[task as usize];
        let latency = |to: u32| u128::from(self.latencies_ns[(node * self.nodes + to) as usize]);
        // Latencies are sums over as many nodes as memory is spread over.
        let shares = self.shares.get(task as usize).filter(|shares| !shares.is_empty());
        let (spread, there) = match memory {
            _ if let Some(shares) = shares => {
                let weighted = |(share, to): (&u64, u32)| u128::from(*share) * latency(to);
                let spread = shares.iter().map(|share| u128::from(*share)).sum();
                (spread, shares.iter().zip(0..).map(weighted).sum())
            }
            MemoryNode::Node(to) => (1, latency(to)),
            MemoryNode::Interleave => (self.nodes.into(), (0..self.nodes).map(latency).sum()),
            MemoryNode::FirstTouch => return FULL,
        };
        let local = latency(node) * spread;
        if bound_ppm == 0 || there <= local {
            return FULL;
        }
        let (whole, bound) = (u128::from(Share::FULL.ppm()), u128::from(bound_ppm));
        let slowed = (whole - bound) * local + bound * there;
        (((whole * local) << SPEED_BITS) / slowed) as u32
    }

    /// A task gets a CPU: the pace it begins with there.
    fn begin(&mut self, cpu: u32, task: u32) -> Pace {
        let state = &mut self.tasks[task as usize];
        let last = core::mem::replace(&mut state.cpu, cpu);
        if state.memory == MemoryNode::FirstTouch {
            state.memory = MemoryNode::Node(self.node[cpu as usize]);
        }
        let of = |list: &[u32]| last != NONE && list[last as usize] != list[cpu as usize];
        let cold_ns = match (of(&self.core), of(&self.llc)) {
            (false, _) => 0,
            (true, false) => self.warm_up.core_ns,
            (true, true) => self.warm_up.llc_ns,
        };
        let debt_ns = state.debt_ns.max(cold_ns);
        let credit = state.credit;
        Pace { speed: self.speed(cpu, task), credit, debt_ns, lost_ns: 0 }
    }

    /// A task leaves its CPU.
    fn rest(&mut self, task: u32, spec: u32, pace: Pace) {
        let state = &mut self.tasks[task as usize];
        (state.credit, state.debt_ns) = (pace.credit, pace.debt_ns);
        let lost_ns = &mut self.lost_ns[spec as usize];
        *lost_ns = lost_ns.saturating_add(pace.lost_ns);
    }
}

impl<S: Sink> Machine<'_, S> {
    /// One task leaves a CPU and another gets it, or nobody does. The CPU must be accounted.
    #[inline(never)]
    pub(crate) fn change_pace(&mut self, cpu: u32, prev: u32, next: u32) {
        let Some(mut speed) = self.speed.take() else { return };
        let pace = core::mem::replace(&mut self.cpus[cpu as usize].pace, Pace::FULL);
        if let Some(detail) = self.details.get(prev as usize) {
            speed.rest(prev, detail.spec, pace);
        }
        let core = &mut speed.cores[speed.core[cpu as usize] as usize];
        match (prev, next) {
            (NONE, _) => core.running += 1,
            (_, NONE) => core.running -= 1,
            _ => {}
        }
        if next != NONE {
            self.cpus[cpu as usize].pace = speed.begin(cpu, next);
        }
        if speed.smt.is_some() && (prev == NONE || next == NONE) {
            self.change_siblings(&speed, cpu);
        }
        self.speed = Some(speed);
    }

    /// The siblings of a CPU that has begun or ceased to idle get on faster or more slowly from now on.
    fn change_siblings(&mut self, speed: &Speed, cpu: u32) {
        let core = &speed.cores[speed.core[cpu as usize] as usize];
        for sibling in core.cpus.iter().copied().filter(|sibling| *sibling != cpu) {
            let current = self.cpus[sibling as usize].current;
            if current == NONE {
                continue;
            }
            self.account(sibling);
            self.cpus[sibling as usize].pace.speed = speed.speed(sibling, current);
            // The one whose program is being executed is looked at anyway.
            if sibling != self.active && self.tasks[current as usize].span == Span::Work {
                self.make_ready(sibling);
            }
        }
    }

    /// CPU time that was no work, by task of the workload; empty without a model.
    pub(crate) fn lost_times(&self) -> Vec<u64> {
        let Some(speed) = &self.speed else { return Vec::new() };
        let mut lost_ns = speed.lost_ns.clone();
        for cpu in &self.cpus {
            if let Some(TaskDetail { spec, .. }) = self.details.get(cpu.current as usize) {
                let sum_ns = &mut lost_ns[*spec as usize];
                *sum_ns = sum_ns.saturating_add(cpu.pace.lost_ns);
            }
        }
        lost_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_exactly_when_its_time_is_over_however_it_was_cut() {
        // 0.6 of full speed is no whole number of 2⁻²⁰: 629,145.
        let start = Pace { speed: 629_145, credit: 0, debt_ns: 500, lost_ns: 0 };
        let time_ns = start.time_for(10_000);
        assert_eq!(time_ns, (10_500_u64 << 20).div_ceil(629_145));
        let mut whole = start;
        assert_eq!(whole.work_of(time_ns), 10_000);
        let mut pieces = start;
        let sum: u64 = (0..time_ns).map(|_| pieces.work_of(1)).sum();
        assert_eq!((sum, pieces.credit), (10_000, whole.credit));
        assert_eq!(pieces.lost_ns, time_ns - 10_000);
        // A ns earlier it is not done.
        let mut early = start;
        assert_eq!(early.work_of(time_ns - 1), 9_999);
    }

    #[test]
    fn times_too_long_for_any_clock_are_the_end_of_time() {
        let slow = Pace { speed: 1, credit: 0, debt_ns: u64::MAX, lost_ns: 0 };
        assert_eq!(slow.time_for(u64::MAX), u64::MAX);
        assert_eq!(Pace::FULL.time_for(7), 7);
    }

    #[test]
    fn cold_caches_do_not_get_colder() {
        let workload = Workload {
            tasks: vec![crate::TaskSpec {
                name: "t".to_owned(),
                program: 0,
                attr: slicewise_sched::Attr::default(),
                affinity: slicewise_sched::CpuSet::All,
                start_ns: 0,
                group: None,
                template: false,
                rttime: None,
                memory: crate::TaskMemory::default(),
                index: 0,
                origin: crate::Origin::default(),
            }],
            ..Workload::default()
        };
        let model =
            SpeedModel { warm_up: WarmUp { core_ns: 500, llc_ns: 0 }, ..SpeedModel::default() };
        let mut speed = Speed::new(&model, None, 2, &workload).unwrap().unwrap();
        speed.add_task(0, 0, &workload);
        let first = speed.begin(0, 0);
        assert!(first.is_full());
        speed.rest(0, 0, first);
        let mut second = speed.begin(1, 0);
        assert_eq!(second.work_of(200), 0);
        speed.rest(0, 0, second);
        assert_eq!(speed.begin(1, 0).debt_ns, 300, "what is left of it");
        assert_eq!(speed.begin(0, 0).debt_ns, 500, "as after any move");
    }
}
