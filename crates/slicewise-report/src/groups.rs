//! What groups used, how long their quotas stopped them, and the pressure they were under.

use slicewise_sched::CpuId;
use slicewise_sched::bandwidth::{BandwidthStats, Limit};
use slicewise_sched::psi::{self, CpuPressure, Line, Pressure, Resource};
use slicewise_trace::{Event, GroupInfo, Sink, Slot, TaskInfo};

use crate::{GroupReport, PressureReport};

/// Gathers the figures of groups from a stream.
///
/// Pressure is that of [`psi`]: a task is runnable from its wakeup until it goes to sleep, a quota
/// that keeps it off the CPU included. Averages are brought up to date each 2 s and a tick, and
/// totals at the end as well, as a read of the file would do it.
///
/// `cpu.stat.local` counts from the first moment at which a group is stopped on a CPU, by its own
/// quota or by one above, has a task there that wants to run, and none that runs; and until it goes
/// on (fair.md E.7, E.8). Stops that have not ended are not in it, as on the kernel.
#[derive(Debug)]
pub struct GroupMeter {
    now_ns: u64,
    cpus: u32,
    hz: u32,
    groups: Vec<Group>,
    system: Node,
    /// By slot.
    tasks: Vec<Task>,
    next_sample_ns: u64,
}

/// What the stream does not say of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupFacts {
    /// As `cpu.weight` reads.
    pub weight: u64,
    /// `cpu.idle`.
    pub idle: bool,
    /// Quota, period and burst at the end.
    pub limit: Limit,
    /// What its quota did.
    pub bandwidth: BandwidthStats,
    /// CPU time in the kernel, of groups below too, ns.
    pub system_ns: u64,
    /// CPU time in user mode with a nice value above 0, of groups below too, ns.
    pub nice_ns: u64,
}

/// What the stream says of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupFigures {
    /// Its path below the root.
    pub path: String,
    /// CPU time, of groups below too, ns.
    pub usage_ns: u64,
    /// How long it was stopped by its own quota or one above, all CPUs added up, ns.
    pub local_throttled_ns: u64,
    /// Pressure on the CPU: some task waited.
    pub some: Line,
    /// No task got on.
    pub full: Line,
}

#[derive(Debug)]
struct Group {
    path: String,
    parent: Option<u32>,
    /// Groups in this one.
    children: Vec<u32>,
    /// CPU time of its own tasks.
    usage_ns: u64,
    local_throttled_ns: u64,
    node: Node,
}

/// The pressure on a group or on the system; nothing is kept until the first task comes.
#[derive(Debug, Default)]
struct Node {
    cells: Vec<Cell>,
    pressure: Option<Pressure>,
}

/// A group on a CPU.
#[derive(Clone, Debug, Default)]
struct Cell {
    pressure: CpuPressure,
    on_cpu: bool,
    /// How many quotas stop it here: its own, and those above.
    stops: u32,
    /// Since when that counts.
    stopped_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Task {
    group: Option<u32>,
    cpu: u32,
    state: psi::Task,
    since_ns: u64,
}

impl Cell {
    fn change(&mut self, now_ns: u64, from: psi::Task, to: psi::Task) {
        self.pressure.change(now_ns, from, to);
        self.on_cpu = to.on_cpu || (self.on_cpu && !from.on_cpu);
        self.check_stop(now_ns);
    }

    fn check_stop(&mut self, now_ns: u64) {
        let held_up = self.stops > 0 && !self.on_cpu && self.pressure.runnable() > 0;
        if held_up && self.stopped_ns.is_none() {
            self.stopped_ns = Some(now_ns);
        }
    }

    /// A quota stops the group here, or lets it go on; how long it was stopped if that is over.
    fn count_stop(&mut self, now_ns: u64, stops: bool) -> u64 {
        if stops {
            self.stops += 1;
            self.check_stop(now_ns);
            return 0;
        }
        self.stops = self.stops.saturating_sub(1);
        if self.stops > 0 {
            return 0;
        }
        self.stopped_ns.take().map_or(0, |since_ns| now_ns - since_ns)
    }
}

impl Node {
    fn cell(&mut self, cpu: u32, cpus: u32, hz: u32) -> Option<&mut Cell> {
        if self.cells.is_empty() {
            self.cells = vec![Cell::default(); cpus as usize];
            self.pressure = Some(Pressure::new(0, cpus, hz));
        }
        self.cells.get_mut(cpu as usize)
    }

    fn sample(&mut self, now_ns: u64) {
        if let Some(pressure) = &mut self.pressure {
            pressure.sample(now_ns, self.cells.iter().map(|cell| &cell.pressure));
        }
    }

    fn lines(&self) -> (Line, Line) {
        let lines =
            |pressure: &Pressure| (pressure.some(Resource::Cpu), pressure.full(Resource::Cpu));
        self.pressure.as_ref().map(lines).unwrap_or_default()
    }
}

impl GroupMeter {
    /// Nothing seen, on a machine of so many CPUs with so many ticks a second.
    pub fn new(cpus: u32, hz: u32) -> Self {
        Self {
            now_ns: 0,
            cpus,
            hz,
            groups: Vec::new(),
            system: Node::default(),
            tasks: Vec::new(),
            next_sample_ns: Pressure::new(0, 0, hz).period_ns(),
        }
    }

    /// The figures up to the end of the stream, by group.
    pub fn figures(&self) -> Vec<GroupFigures> {
        let mut usage_ns: Vec<u64> = self.groups.iter().map(|group| group.usage_ns).collect();
        for task in self.tasks.iter().filter(|task| task.state.on_cpu) {
            let own = task.group.and_then(|group| usage_ns.get_mut(group as usize));
            if let Some(usage_ns) = own {
                *usage_ns += self.now_ns - task.since_ns;
            }
        }
        // Groups come after those they are in.
        for (index, group) in self.groups.iter().enumerate().rev() {
            let own_ns = usage_ns[index];
            if let Some(above) = group.parent.and_then(|parent| usage_ns.get_mut(parent as usize)) {
                *above += own_ns;
            }
        }
        let figures = |(group, usage_ns): (&Group, u64)| {
            let (some, full) = group.node.lines();
            let (path, local_throttled_ns) = (group.path.clone(), group.local_throttled_ns);
            GroupFigures { path, usage_ns, local_throttled_ns, some, full }
        };
        self.groups.iter().zip(usage_ns).map(figures).collect()
    }

    /// The pressure on the system's CPUs: some task waited. Full pressure means nothing there, and
    /// the kernel prints zeros.
    pub fn system_pressure(&self) -> Line {
        self.system.lines().0
    }

    /// The groups of a report; `facts` in the order of the groups.
    pub fn report(&self, facts: &[GroupFacts]) -> Vec<GroupReport> {
        let report = |(figures, facts): (GroupFigures, &GroupFacts)| {
            GroupReport::new(&figures, facts, self.now_ns)
        };
        self.figures().into_iter().zip(facts).map(report).collect()
    }

    fn sample(&mut self, now_ns: u64) {
        self.system.sample(now_ns);
        self.groups.iter_mut().for_each(|group| group.node.sample(now_ns));
    }

    #[inline]
    fn advance(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while self.now_ns >= self.next_sample_ns {
            let at_ns = self.next_sample_ns;
            self.sample(at_ns);
            self.next_sample_ns = at_ns.saturating_add(Pressure::new(0, 0, self.hz).period_ns());
        }
    }

    fn task_mut(&mut self, slot: Slot) -> Option<&mut Task> {
        self.tasks.get_mut(slot.index())
    }

    /// A task is in another state, or on another CPU, from now on.
    fn set(&mut self, slot: Slot, cpu: CpuId, state: psi::Task) {
        let now_ns = self.now_ns;
        let Some(task) = self.task_mut(slot) else { return };
        let before =
            core::mem::replace(task, Task { cpu: cpu.0, state, since_ns: now_ns, ..*task });
        if before.state.on_cpu
            && let Some(group) = before.group.and_then(|group| self.groups.get_mut(group as usize))
        {
            group.usage_ns += now_ns - before.since_ns;
        }
        if before.cpu == cpu.0 {
            self.change(before.group, cpu.0, before.state, state);
        } else {
            self.change(before.group, before.cpu, before.state, psi::Task::SLEEPS);
            self.change(before.group, cpu.0, psi::Task::SLEEPS, state);
        }
    }

    /// The same for a group, those above it, and the system.
    fn change(&mut self, mut group: Option<u32>, cpu: u32, from: psi::Task, to: psi::Task) {
        if from == to {
            return;
        }
        let Self { now_ns, cpus, hz, .. } = *self;
        while let Some(found) = group.and_then(|group| self.groups.get_mut(group as usize)) {
            if let Some(cell) = found.node.cell(cpu, cpus, hz) {
                cell.change(now_ns, from, to);
            }
            group = found.parent;
        }
        if let Some(cell) = self.system.cell(cpu, cpus, hz) {
            cell.change(now_ns, from, to);
        }
    }

    fn throttle(&mut self, group: u32, cpu: CpuId, stops: bool) {
        let Self { now_ns, cpus, hz, .. } = *self;
        let mut below = vec![group];
        while let Some(group) = below.pop() {
            let Some(group) = self.groups.get_mut(group as usize) else { continue };
            if let Some(cell) = group.node.cell(cpu.0, cpus, hz) {
                group.local_throttled_ns += cell.count_stop(now_ns, stops);
            }
            below.extend(&group.children);
        }
    }
}

impl Sink for GroupMeter {
    fn group(&mut self, now_ns: u64, info: &GroupInfo) {
        self.advance(now_ns);
        let number = self.groups.len() as u32;
        let parent = info.parent.filter(|parent| *parent < number);
        if let Some(above) = parent.and_then(|parent| self.groups.get_mut(parent as usize)) {
            above.children.push(number);
        }
        self.groups.push(Group {
            path: info.path.clone(),
            parent,
            children: Vec::new(),
            usage_ns: 0,
            local_throttled_ns: 0,
            node: Node::default(),
        });
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.advance(now_ns);
        let index = info.slot.index();
        if index >= self.tasks.len() {
            self.tasks.resize(index + 1, Task::default());
        }
        let Task { group, cpu, state, .. } = self.tasks[index];
        if group == info.group {
            return;
        }
        // It leaves its group, as far as it is counted there, and joins the other.
        self.set(info.slot, CpuId(cpu), psi::Task::SLEEPS);
        self.tasks[index].group = info.group;
        self.set(info.slot, CpuId(cpu), state);
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        use psi::Task as State;
        self.advance(now_ns);
        match *event {
            Event::Wakeup { task, cpu, .. } => {
                if self.task_mut(task).is_some_and(|task| !task.state.runnable) {
                    self.set(task, cpu, State::QUEUED);
                }
            }
            Event::Switch { cpu, prev, left, next } if prev != next => {
                if let Some(prev) = prev {
                    let state = if left.voluntary() { State::SLEEPS } else { State::QUEUED };
                    self.set(prev, cpu, state);
                }
                if let Some(next) = next {
                    self.set(next, cpu, State::ON_CPU);
                }
            }
            Event::Migrate { task, to, .. } => {
                if let Some(Task { state, .. }) = self.task_mut(task).copied() {
                    self.set(task, to, state);
                }
            }
            Event::Exit { task } => {
                if let Some(Task { cpu, .. }) = self.task_mut(task).copied() {
                    self.set(task, CpuId(cpu), State::SLEEPS);
                }
            }
            Event::Throttle { group, cpu, stops } => self.throttle(group, cpu, stops),
            Event::Switch { .. }
            | Event::Budget { .. }
            | Event::RtThrottle { .. }
            | Event::Signal { .. }
            | Event::Changed { .. }
            | Event::Response { .. }
            | Event::Loop { .. }
            | Event::Values { .. }
            | Event::Device { .. } => {}
        }
    }

    fn finish(&mut self, now_ns: u64) {
        self.advance(now_ns);
        self.sample(self.now_ns);
    }
}

impl GroupReport {
    fn new(figures: &GroupFigures, facts: &GroupFacts, simulated_ns: u64) -> Self {
        let bandwidth = facts.bandwidth;
        let share = match simulated_ns {
            0 => 0.0,
            _ => figures.usage_ns as f64 / simulated_ns as f64,
        };
        Self {
            path: figures.path.clone(),
            weight: facts.weight,
            idle: facts.idle,
            quota_ns: facts.limit.quota_ns,
            period_ns: facts.limit.period_ns,
            usage_ns: figures.usage_ns,
            share,
            nr_periods: bandwidth.nr_periods,
            nr_throttled: bandwidth.nr_throttled,
            throttled_ns: bandwidth.throttled_ns,
            local_throttled_ns: figures.local_throttled_ns,
            nr_bursts: bandwidth.nr_bursts,
            burst_ns: bandwidth.burst_ns,
            pressure: PressureReport::new(&figures.some, &figures.full),
        }
    }
}

impl PressureReport {
    /// The two lines of a pressure file.
    pub fn new(some: &Line, full: &Line) -> Self {
        let percent =
            |line: &Line, which: usize| Line::centi_percent(line.averages[which]) as f64 / 100.0;
        Self {
            some_total_ns: some.total_ns,
            some_avg10: percent(some, 0),
            some_avg60: percent(some, 1),
            some_avg300: percent(some, 2),
            full_total_ns: full.total_ns,
            full_avg10: percent(full, 0),
            full_avg60: percent(full, 1),
            full_avg300: percent(full, 2),
        }
    }
}

#[cfg(test)]
mod tests;
