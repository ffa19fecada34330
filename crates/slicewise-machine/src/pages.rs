//! Memory as a model: which node its pages are on, who accesses them, and what scans for NUMA balancing
//! do to it.
//!
//! Memory is in huge pages of 2 MiB. Each task walks round its own and round the memory it shares, as
//! fast as its [`TaskPages`] say, while it has a CPU. A page that nobody has touched comes to be on
//! the node of the CPU that does. Where there is NUMA balancing
//! ([`SmpConfig::numa`](slicewise_sched::SmpConfig::numa)), scans mark pages, the next access to each
//! faults, and the core decides whether the page moves to the node of the CPU.
//!
//! Tasks that share a memory are threads of one process; all others are processes of their own. Pages
//! of a process with one thread that are on its node are not marked (seen on 6.1.192: after its memory has
//! come to a task, scans go on and mark nothing).
//!
//! *Simplifications.* Accesses since the last look are made at the next tick of the CPU, or when the
//! task gets the CPU the next time. Nodes never fill up, no page moves for any other reason. Scans of
//! 6.12 and later leave out areas that a thread has not used lately; here none does.

use core::mem;

use slicewise_sched::numa::{NumaCounts, NumaFault, NumaScan, NumaSpace};
use slicewise_sched::{CpuId, TaskId, Topology};
use slicewise_trace::Sink;

use crate::config::MachineConfig;
use crate::error::{Done, SetupError};
use crate::machine::Machine;
use crate::program::{MemoryNode, TaskPages, Workload};
use crate::speed::Share;
use crate::task::NONE;

/// A huge page.
pub(crate) const PAGE_BYTES: u64 = 2 << 20;
/// The pages of 4 KiB it stands for.
const SMALL_PAGES: u32 = 512;
/// The most memory of all tasks together: 16 TiB.
const PAGES_MAX: u64 = 1 << 23;
/// A scan looks at no more than so many times what it is to mark.
const LOOKED_AT: u64 = 8;
/// No node: nobody has touched the page.
const NOWHERE: u16 = u16::MAX;

#[derive(Clone, Copy, Debug)]
struct Page {
    node: u16,
    marked: bool,
    /// Who faulted here the last time, and on which node.
    last: Option<(TaskId, u16)>,
}

/// Memory of a task, or that tasks share.
#[derive(Clone, Debug)]
struct Pool {
    pages: Vec<Page>,
    by_node: Vec<u64>,
    marked: u64,
    /// Where whoever starts next begins.
    users: u64,
}

impl Pool {
    fn new(bytes: u64, node: MemoryNode, nodes: u32) -> Self {
        let pages = bytes.div_ceil(PAGE_BYTES);
        let mut by_node = vec![0; nodes as usize];
        let page = |at: u64| {
            let node = match node {
                MemoryNode::FirstTouch => NOWHERE,
                MemoryNode::Node(node) => node as u16,
                MemoryNode::Interleave => (at % u64::from(nodes)) as u16,
            };
            if let Some(count) = by_node.get_mut(usize::from(node)) {
                *count += 1;
            }
            Page { node, marked: false, last: None }
        };
        Self { pages: (0..pages).map(page).collect(), by_node, marked: 0, users: 0 }
    }

    fn resident(&self) -> u64 {
        self.by_node.iter().sum()
    }

    fn is_quiet(&self) -> bool {
        self.marked == 0 && self.resident() == self.pages.len() as u64
    }
}

/// How a task goes through a memory.
#[derive(Clone, Copy, Debug)]
struct Walk {
    pool: u32,
    at: u64,
    /// Bytes of the page under way, in parts of a byte: see [`Walk::pages`].
    carry: u128,
    rate: u64,
    part: Share,
}

impl Walk {
    /// Whole pages walked over in a time.
    fn pages(&mut self, time_ns: u64) -> u64 {
        const UNIT: u128 = 1_000_000_000 * 1_000_000 * PAGE_BYTES as u128;
        let walked = u128::from(time_ns) * u128::from(self.rate) * u128::from(self.part.ppm());
        let total = self.carry + walked;
        self.carry = total % UNIT;
        u64::try_from(total / UNIT).unwrap_or(u64::MAX)
    }
}

/// A task that has memory.
#[derive(Clone, Debug)]
struct Accessor {
    spec: u32,
    /// Its own memory, and what it shares.
    walks: [Option<Walk>; 2],
    space: u32,
    /// Since when it has the CPU; time on it that was not looked at yet.
    since_ns: Option<u64>,
    unseen_ns: u64,
}

/// A process.
#[derive(Clone, Debug, Default)]
struct Space {
    core: Option<NumaSpace>,
    pools: Vec<u32>,
    threads: u32,
    /// How many pages of all its pools, in order, the next scan leaves out.
    offset: u64,
}

/// What became of memory, and of accesses to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemorySummary {
    /// Of the tasks' own memory, bytes on each node; of those that have ended, at their end.
    pub on_node: Vec<u64>,
    /// Bytes accessed, own and shared.
    pub accessed: u64,
    /// Of those, on the node of the CPU.
    pub local: u64,
    /// Pages of 4 KiB that faulted because a scan had marked them.
    pub faults: u64,
    /// Of those, on the node of the CPU.
    pub local_faults: u64,
    /// Pages of 4 KiB that its faults have moved.
    pub migrated: u64,
    /// The node the task prefers; of several tasks that of the last.
    pub preferred_node: Option<u32>,
}

/// What became of all memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemorySummaries {
    /// By task of the workload.
    pub tasks: Vec<MemorySummary>,
    /// By memory of the workload: bytes on each node.
    pub shared: Vec<Vec<u64>>,
    /// What NUMA balancing did.
    pub numa: NumaCounts,
}

/// All memory there is.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    /// Of each CPU.
    node: Vec<u32>,
    nodes: u32,
    scan_pages: u64,
    /// Those of the workload's memories come first.
    pools: Vec<Pool>,
    /// Those of the workload's memories come first.
    spaces: Vec<Space>,
    free_pools: Vec<u32>,
    free_spaces: Vec<u32>,
    /// By slot.
    tasks: Vec<Option<Box<Accessor>>>,
    /// By task of the workload.
    did: Vec<MemorySummary>,
}

/// Whether any task has memory.
pub(crate) fn has_pages(workload: &Workload) -> bool {
    workload.tasks.iter().any(|task| task.memory.pages.is_some())
}

impl Pages {
    pub(crate) fn new(
        config: &MachineConfig,
        workload: &Workload,
    ) -> Result<Option<Box<Self>>, SetupError> {
        if !has_pages(workload) {
            return Ok(None);
        }
        let uniform;
        let topology = match &config.smp.topology {
            Some(topology) => topology,
            None => {
                let cpus = config.cpus;
                uniform = Topology::uniform(cpus).map_err(|_| SetupError::TooMany("CPUs"))?;
                &uniform
            }
        };
        let nodes = topology.nr_nodes();
        check(workload, nodes)?;
        let shared = workload.memories.iter();
        let scan_mb = config.smp.numa.unwrap_or_default().scan_size_mb;
        Ok(Some(Box::new(Self {
            node: topology.places().iter().map(|place| place.node).collect(),
            nodes,
            scan_pages: ((u64::from(scan_mb) << 20) / PAGE_BYTES).max(1),
            pools: shared.map(|it| Pool::new(it.bytes, it.node, nodes)).collect(),
            spaces: (0..workload.memories.len() as u32)
                .map(|pool| Space { pools: vec![pool], ..Space::default() })
                .collect(),
            free_pools: Vec::new(),
            free_spaces: Vec::new(),
            tasks: Vec::new(),
            did: vec![
                MemorySummary { on_node: vec![0; nodes as usize], ..MemorySummary::default() };
                workload.tasks.len()
            ],
        })))
    }

    fn accessor(&mut self, task: u32) -> Option<&mut Accessor> {
        self.tasks.get_mut(task as usize)?.as_deref_mut()
    }

    /// How much of its accesses go to each node, of no fixed sum; empty while nothing is touched.
    pub(crate) fn shares(&self, task: u32) -> Option<Vec<u64>> {
        let accessor = self.tasks.get(task as usize)?.as_deref()?;
        let mut shares = vec![0_u64; self.nodes as usize];
        for walk in accessor.walks.iter().flatten() {
            let pool = &self.pools[walk.pool as usize];
            let resident = u128::from(pool.resident());
            for (share, pages) in shares.iter_mut().zip(&pool.by_node) {
                let part = (u128::from(*pages) * u128::from(walk.part.ppm())) << 10;
                *share += part.checked_div(resident).unwrap_or(0) as u64;
            }
        }
        Some(shares)
    }

    /// Whether a task accesses a pool.
    fn uses(&self, task: u32, pool: u32) -> bool {
        let accessor = self.tasks.get(task as usize).and_then(Option::as_deref);
        accessor.is_some_and(|it| it.walks.iter().flatten().any(|walk| walk.pool == pool))
    }

    /// Marks the next part of a process's memory.
    fn scan(&mut self, space: u32, node: u32) -> (u64, NumaScan) {
        let alone = self.spaces[space as usize].threads <= 1;
        let numbers = mem::take(&mut self.spaces[space as usize].pools);
        let mut left_out = mem::take(&mut self.spaces[space as usize].offset);
        let (mut marked, mut looked) = (0, 0);
        let mut resident = 0;
        let begin = left_out;
        let mut stopped = false;
        for number in &numbers {
            let pool = &mut self.pools[*number as usize];
            resident += pool.resident();
            let skipped = left_out.min(pool.pages.len() as u64);
            left_out -= skipped;
            for page in &mut pool.pages[skipped as usize..] {
                if marked >= self.scan_pages || looked >= LOOKED_AT * self.scan_pages {
                    stopped = true;
                    break;
                }
                looked += 1;
                let stays = alone && u32::from(page.node) == node;
                if page.node != NOWHERE && !page.marked && !stays {
                    page.marked = true;
                    pool.marked += 1;
                    marked += 1;
                }
            }
        }
        let state = &mut self.spaces[space as usize];
        state.pools = numbers;
        state.offset = if stopped { begin + looked } else { 0 };
        let resident_pages = resident * u64::from(SMALL_PAGES);
        (looked, NumaScan { resident_pages, wrapped: !stopped, took_ns: 0 })
    }
}

/// All that cannot be.
fn check(workload: &Workload, nodes: u32) -> Result<(), SetupError> {
    let absent = |node| matches!(node, MemoryNode::Node(node) if node >= nodes);
    let missing = format!("its memory is on a node that does not exist: there are {nodes}");
    for memory in &workload.memories {
        let fault =
            |what: &str| Err(SetupError::Object { name: memory.name.clone(), what: what.into() });
        if absent(memory.node) {
            return fault(&missing);
        }
        if memory.bytes == 0 {
            return fault("it has no memory");
        }
    }
    let pages = |bytes: u64| bytes.div_ceil(PAGE_BYTES);
    let mut total: u64 = workload.memories.iter().map(|memory| pages(memory.bytes)).sum();
    for task in &workload.tasks {
        let Some(own) = &task.memory.pages else { continue };
        let fault = |what: &str| {
            let (name, origin) = (task.name.clone(), task.origin);
            Err(SetupError::Task { name, origin, what: what.to_owned() })
        };
        if absent(task.memory.node) {
            return fault(&missing);
        }
        if own.shared.is_some_and(|shared| shared as usize >= workload.memories.len()) {
            return fault("the memory it shares does not exist");
        }
        if own.bytes > 0 && task.template {
            return fault("what is forked cannot have memory of its own, only shared memory");
        }
        total = total.saturating_add(pages(own.bytes));
    }
    match total > PAGES_MAX {
        true => Err(SetupError::Object {
            name: "memory".to_owned(),
            what: format!("more than {} TiB in all", (PAGES_MAX * PAGE_BYTES) >> 40),
        }),
        false => Ok(()),
    }
}

impl<S: Sink> Machine<'_, S> {
    /// A task has come to be.
    #[cold]
    pub(crate) fn pages_join(&mut self, task: u32, spec: u32) -> Done {
        let memory = self.workload.tasks[spec as usize].memory;
        let id = self.tasks[task as usize].id;
        let Some(pages) = self.pages.as_deref_mut() else { return Ok(()) };
        if pages.tasks.len() <= task as usize {
            pages.tasks.resize_with(task as usize + 1, || None);
        }
        pages.tasks[task as usize] = None;
        let Some(TaskPages { bytes, rate, shared, shared_part }) = memory.pages else {
            return Ok(());
        };
        let whole = Share::FULL.ppm();
        let part = if shared.is_some() { shared_part } else { Share::NONE };
        let own_part = Share::from_ppm(whole - part.ppm()).unwrap_or(Share::NONE);
        let walk = |pool: u32, at: u64, part| Walk { pool, at, carry: 0, rate, part };
        let own = (bytes > 0).then(|| {
            let pool = Pool::new(bytes, memory.node, pages.nodes);
            let number = pages.free_pools.pop().unwrap_or(pages.pools.len() as u32);
            match pages.pools.get_mut(number as usize) {
                Some(place) => *place = pool,
                None => pages.pools.push(pool),
            }
            walk(number, 0, own_part)
        });
        let common = shared.map(|number| {
            let pool = &mut pages.pools[number as usize];
            pool.users += 1;
            // Threads are spread over it: each begins where the golden ratio says.
            let at = (pool.users * 0x9e37_79b9) % pool.pages.len().max(1) as u64;
            walk(number, at, part)
        });
        let space = match shared {
            Some(shared) => shared,
            None => {
                let number = pages.free_spaces.pop().unwrap_or(pages.spaces.len() as u32);
                match pages.spaces.get_mut(number as usize) {
                    Some(place) => *place = Space::default(),
                    None => pages.spaces.push(Space::default()),
                }
                number
            }
        };
        let state = &mut pages.spaces[space as usize];
        if state.threads == 0 {
            state.core = self.sched.numa_space(self.now);
            state.offset = 0;
        }
        state.threads += 1;
        state.pools.extend(own.map(|walk| walk.pool));
        let core = state.core;
        pages.tasks[task as usize] = Some(Box::new(Accessor {
            spec,
            walks: [own, common],
            space,
            since_ns: None,
            unseen_ns: 0,
        }));
        match core {
            Some(core) => self.sched.numa_join(id, core).map_err(|error| self.refused(error)),
            None => Ok(()),
        }
    }

    /// A task has ended.
    #[cold]
    pub(crate) fn pages_leave(&mut self, task: u32) {
        let Some(pages) = self.pages.as_deref_mut() else { return };
        let Some(accessor) = pages.tasks.get_mut(task as usize).and_then(Option::take) else {
            return;
        };
        let space = &mut pages.spaces[accessor.space as usize];
        space.threads -= 1;
        if space.threads == 0 && accessor.space as usize >= self.workload.memories.len() {
            pages.free_spaces.push(accessor.space);
        }
        if let [Some(own), _] = accessor.walks {
            space.pools.retain(|pool| *pool != own.pool);
            let pool = mem::replace(
                &mut pages.pools[own.pool as usize],
                Pool::new(0, MemoryNode::FirstTouch, pages.nodes),
            );
            add_pages(&mut pages.did[accessor.spec as usize], &pool);
            pages.free_pools.push(own.pool);
        }
    }

    /// One task leaves a CPU and another has got it.
    #[cold]
    pub(crate) fn pages_switch(&mut self, cpu: u32, prev: u32, next: u32) -> Done {
        let now = self.now;
        let Some(pages) = self.pages.as_deref_mut() else { return Ok(()) };
        if let Some(accessor) = pages.accessor(prev) {
            accessor.unseen_ns += accessor.since_ns.take().map_or(0, |since| now - since);
        }
        let Some(accessor) = pages.accessor(next) else { return Ok(()) };
        accessor.since_ns = Some(now);
        self.access(cpu, next)?;
        self.pages_pace(cpu, next);
        Ok(())
    }

    /// The tick of a CPU.
    #[cold]
    pub(crate) fn pages_tick(&mut self, cpu: u32) -> Done {
        while let Some(task) = self.scans.pop() {
            self.scan_pages(task)?;
        }
        let (task, now) = (self.cpus[cpu as usize].current, self.now);
        let Some(pages) = self.pages.as_deref_mut() else { return Ok(()) };
        let Some(accessor) = pages.accessor(task) else { return Ok(()) };
        let since = accessor.since_ns.replace(now);
        accessor.unseen_ns += since.map_or(0, |since| now - since);
        self.access(cpu, task)
    }

    /// A task has been on a CPU: what it has accessed since the last look.
    fn access(&mut self, cpu: u32, task: u32) -> Done {
        let Some(mut pages) = self.pages.take() else { return Ok(()) };
        let done = self.access_pages(&mut pages, cpu, task);
        self.pages = Some(pages);
        let (changed, cost_ns) = done?;
        for pool in changed.into_iter().flatten() {
            self.pool_changed(pool);
        }
        self.pages_cost(cpu, cost_ns);
        self.take_outputs();
        Ok(())
    }

    fn access_pages(
        &mut self,
        pages: &mut Pages,
        cpu: u32,
        task: u32,
    ) -> Done<([Option<u32>; 2], u64)> {
        let nothing = Ok(([None; 2], 0));
        let Pages { node, pools, tasks, did, .. } = pages;
        let node = node[cpu as usize];
        let Some(accessor) = tasks.get_mut(task as usize).and_then(Option::as_deref_mut) else {
            return nothing;
        };
        let time_ns = mem::take(&mut accessor.unseen_ns);
        if time_ns == 0 {
            return nothing;
        }
        let id = self.tasks[task as usize].id;
        let costs = self.speed.as_deref().map(|speed| speed.page_costs()).unwrap_or_default();
        let did = &mut did[accessor.spec as usize];
        let mut changed = [None; 2];
        let mut cost_ns = 0_u64;
        for (walk, changed) in accessor.walks.iter_mut().zip(&mut changed) {
            let Some(walk) = walk else { continue };
            let pool = &mut pools[walk.pool as usize];
            let walked = walk.pages(time_ns);
            let length = pool.pages.len() as u64;
            // Once round, there is nothing left to find.
            let mut to_find = if pool.is_quiet() { 0 } else { walked.min(length) };
            let mut at = walk.at;
            while to_find > 0 {
                to_find -= 1;
                let page = &mut pool.pages[at as usize];
                at = if at + 1 == length { 0 } else { at + 1 };
                if page.node == NOWHERE {
                    page.node = node as u16;
                    pool.by_node[node as usize] += 1;
                    *changed = Some(walk.pool);
                }
                if !page.marked {
                    continue;
                }
                page.marked = false;
                pool.marked -= 1;
                let last = page.last.replace((id, node as u16));
                let fault = NumaFault {
                    node: page.node.into(),
                    last: last.map(|(task, node)| (task, node.into())),
                    pages: SMALL_PAGES,
                    movable: true,
                };
                let moves = self.sched.numa_fault(self.now, id, fault);
                let moves = moves.map_err(|error| self.refused(error))?;
                did.faults += u64::from(SMALL_PAGES);
                if u32::from(page.node) == node {
                    did.local_faults += u64::from(SMALL_PAGES);
                }
                cost_ns = cost_ns.saturating_add(costs.fault_ns);
                if moves {
                    pool.by_node[usize::from(page.node)] -= 1;
                    pool.by_node[node as usize] += 1;
                    page.node = node as u16;
                    did.migrated += u64::from(SMALL_PAGES);
                    cost_ns = cost_ns.saturating_add(costs.move_ns);
                    *changed = Some(walk.pool);
                }
            }
            walk.at = (walk.at + walked % length.max(1)) % length.max(1);
            let bytes = walked.saturating_mul(PAGE_BYTES);
            let local = u128::from(bytes) * u128::from(pool.by_node[node as usize]);
            did.accessed = did.accessed.saturating_add(bytes);
            let local = local.checked_div(pool.resident().into()).unwrap_or(0);
            did.local = did.local.saturating_add(local as u64);
        }
        Ok((changed, cost_ns))
    }

    /// Time that faults and scans take from the task on a CPU, where the speed model has it.
    fn pages_cost(&mut self, cpu: u32, cost_ns: u64) {
        if cost_ns == 0 || self.speed.is_none() {
            return;
        }
        self.account(cpu);
        self.cpus[cpu as usize].pace.owe(cost_ns);
        if cpu != self.active {
            self.make_ready(cpu);
        }
    }

    /// Pages of a pool are on other nodes than before: whoever accesses it gets on faster or more slowly.
    fn pool_changed(&mut self, pool: u32) {
        if self.speed.is_none() {
            return;
        }
        for cpu in 0..self.cpus.len() as u32 {
            let current = self.cpus[cpu as usize].current;
            if self.pages.as_deref().is_some_and(|pages| pages.uses(current, pool)) {
                self.pages_pace(cpu, current);
            }
        }
    }

    /// Sets the pace of the task on a CPU by where its memory is now.
    fn pages_pace(&mut self, cpu: u32, task: u32) {
        if self.speed.is_none() || task == NONE {
            return;
        }
        self.account(cpu);
        let Some(shares) = self.pages.as_deref().and_then(|pages| pages.shares(task)) else {
            return;
        };
        let Some(speed) = self.speed.as_deref_mut() else { return };
        speed.set_shares(task, shares);
        self.cpus[cpu as usize].pace.set_speed(speed.speed(cpu, task));
        if cpu != self.active {
            self.make_ready(cpu);
        }
    }

    /// The core wants the memory of a task scanned.
    #[cold]
    pub(crate) fn scan_pages(&mut self, id: TaskId) -> Done {
        let task = id.slot() as u32;
        let cpu = self.sched.cpu_of(id).unwrap_or(CpuId(0));
        let Some(pages) = self.pages.as_deref_mut() else { return Ok(()) };
        let node = pages.node[cpu.index()];
        let Some(space) = pages.accessor(task).map(|accessor| accessor.space) else {
            return Ok(());
        };
        let (looked, mut scan) = pages.scan(space, node);
        let costs = self.speed.as_deref().map(|speed| speed.page_costs()).unwrap_or_default();
        scan.took_ns = looked.saturating_mul(costs.scan_ns);
        let scanned = self.sched.numa_scanned(self.now, id, scan);
        scanned.map_err(|error| self.refused(error))?;
        self.pages_cost(cpu.0, scan.took_ns);
        Ok(())
    }

    /// What became of memory; `None` where there is none.
    pub(crate) fn memory_summaries(&self) -> Option<MemorySummaries> {
        let pages = self.pages.as_deref()?;
        let mut tasks = pages.did.clone();
        for (task, accessor) in self.tasks.iter().zip(&pages.tasks) {
            let Some(accessor) = accessor else { continue };
            let did = &mut tasks[accessor.spec as usize];
            if let [Some(own), _] = accessor.walks {
                add_pages(did, &pages.pools[own.pool as usize]);
            }
            did.preferred_node = self.sched.numa_view(task.id).and_then(|view| view.preferred_node);
        }
        let bytes = |pages: &u64| pages * PAGE_BYTES;
        let shared = pages.pools.iter().take(self.workload.memories.len());
        Some(MemorySummaries {
            tasks,
            shared: shared.map(|pool| pool.by_node.iter().map(bytes).collect()).collect(),
            numa: self.sched.numa_counts(),
        })
    }
}

fn add_pages(did: &mut MemorySummary, pool: &Pool) {
    for (sum, pages) in did.on_node.iter_mut().zip(&pool.by_node) {
        *sum += pages * PAGE_BYTES;
    }
}
