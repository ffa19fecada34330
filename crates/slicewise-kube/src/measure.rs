//! What happened to each container, gathered from the event stream.
//!
//! A thread that wants to run and does not **waits**. While a group it is in is stopped by its quota
//! on the thread's CPU, the wait is the quota's, and the whole stretch is one **stall** of that
//! thread. All other waiting is charged, moment by moment, to whoever has the CPU then: the same
//! container, another one, or nobody (the machine's own costs, a CPU about to pick).

use std::collections::{BTreeMap, HashMap};

use slicewise_containers::Part;
use slicewise_report::Histogram;
use slicewise_sched::CpuId;
use slicewise_trace::{Event, GroupInfo, Left, LoopRecord, Sink, Slot, TaskInfo};

use crate::mapping::Mapping;

/// What happened to a container, or to several together.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// CPU time, ns.
    pub cpu_ns: u64,
    /// Time its threads waited because a quota had stopped them, ns, added up.
    pub quota_ns: u64,
    /// Time its threads waited for others of the same container, ns, added up.
    pub same_ns: u64,
    /// Time its threads waited for other containers, ns, added up, by container.
    pub others_ns: BTreeMap<u32, u64>,
    /// Time its threads waited although nobody had the CPU, ns, added up.
    pub nobody_ns: u64,
    /// Stalls, ns each.
    pub stalls: Histogram,
    /// By part of the load.
    pub parts: Vec<PartFigures>,
}

/// What happened to a part of a load.
#[derive(Clone, Debug, Default)]
pub struct PartFigures {
    /// Requests from arrival to answer, jobs from wakeup to sleep, steps from begin to end; ns each.
    pub durations: Histogram,
}

impl Figures {
    /// Adds those of another container. Those it waited for keep their numbers.
    pub fn merge(&mut self, other: &Self) {
        self.cpu_ns += other.cpu_ns;
        self.quota_ns += other.quota_ns;
        self.same_ns += other.same_ns;
        self.nobody_ns += other.nobody_ns;
        for (container, ns) in &other.others_ns {
            *self.others_ns.entry(*container).or_insert(0) += ns;
        }
        self.stalls.merge(&other.stalls);
        if self.parts.len() < other.parts.len() {
            self.parts.resize(other.parts.len(), PartFigures::default());
        }
        for (own, other) in self.parts.iter_mut().zip(&other.parts) {
            own.durations.merge(&other.durations);
        }
    }

    /// All waiting, ns, added up.
    pub fn wait_ns(&self) -> u64 {
        self.quota_ns + self.same_ns + self.nobody_ns + self.others_ns.values().sum::<u64>()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Asleep,
    Waiting,
    Running,
    /// Waiting, and stopped since then.
    Stopped(u64),
}

#[derive(Clone, Copy, Debug)]
struct Thread {
    container: u32,
    part: u32,
    /// Its steps count, not its jobs.
    in_steps: bool,
    group: u32,
    cpu: u32,
    state: State,
}

#[derive(Clone, Debug, Default)]
struct Cpu {
    /// Whose thread runs.
    runs: Option<u32>,
    since_ns: u64,
    /// Since when somebody has run, for CPU time.
    began_ns: u64,
    /// How many threads of which container wait here, not stopped.
    waiting: Vec<(u32, u32)>,
}

/// Gathers [`Figures`] for every container of a [`Mapping`].
#[derive(Debug)]
pub struct Measure {
    cpus: Vec<Cpu>,
    threads: Vec<Option<Thread>>,
    /// By name: container and part, and whether its steps count.
    known: HashMap<String, (u32, u32, bool)>,
    /// By group: those it is in, itself first.
    above: Vec<Vec<u32>>,
    /// By group: threads in it or below.
    members: Vec<Vec<Slot>>,
    /// By group and CPU.
    stopped: Vec<bool>,
    containers: Vec<Figures>,
    devices: Vec<Device>,
    end_ns: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Device {
    busy_ns: u64,
    since_ns: Option<u64>,
}

impl Measure {
    /// For a run of `mapping` on so many CPUs.
    pub fn new(mapping: &Mapping, cpus: u32) -> Self {
        let mut known = HashMap::with_capacity(mapping.workload.tasks.len());
        let mut containers = Vec::with_capacity(mapping.containers.len());
        for (index, container) in (0..).zip(&mapping.containers) {
            for (number, part) in (0..).zip(&container.parts) {
                for task in &mapping.workload.tasks[part.tasks.clone()] {
                    let in_steps = match &part.part {
                        Part::Launch(_) => true,
                        Part::Batch(batch) => batch.together,
                        _ => false,
                    };
                    known.insert(task.name.clone(), (index, number, in_steps));
                }
            }
            let parts = vec![PartFigures::default(); container.parts.len()];
            containers.push(Figures { parts, ..Figures::default() });
        }
        Self {
            cpus: vec![Cpu::default(); cpus as usize],
            threads: Vec::new(),
            known,
            above: Vec::new(),
            members: Vec::new(),
            stopped: Vec::new(),
            containers,
            devices: vec![Device::default(); mapping.workload.devices.len()],
            end_ns: 0,
        }
    }

    /// By container.
    pub fn containers(&self) -> &[Figures] {
        &self.containers
    }

    /// How long each device worked, ns.
    pub fn device_busy_ns(&self) -> Vec<u64> {
        self.devices.iter().map(|device| device.busy_ns).collect()
    }

    fn is_stopped(&self, group: u32, cpu: u32) -> bool {
        let Some(above) = self.above.get(group as usize) else { return false };
        above.iter().any(|group| self.stopped[self.place(*group, cpu)])
    }

    fn place(&self, group: u32, cpu: u32) -> usize {
        group as usize * self.cpus.len() + cpu as usize
    }

    /// Charges what those waiting on a CPU have waited since the last time.
    fn settle(&mut self, now_ns: u64, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        let elapsed_ns = now_ns - state.since_ns;
        state.since_ns = now_ns;
        if elapsed_ns == 0 {
            return;
        }
        for (container, count) in &state.waiting {
            let figures = &mut self.containers[*container as usize];
            let ns = elapsed_ns * u64::from(*count);
            match state.runs {
                None => figures.nobody_ns += ns,
                Some(other) if other == *container => figures.same_ns += ns,
                Some(other) => *figures.others_ns.entry(other).or_insert(0) += ns,
            }
        }
    }

    fn begin_wait(&mut self, now_ns: u64, slot: Slot, cpu: u32) {
        let Some(Some(thread)) = self.threads.get(slot.index()).copied() else { return };
        let state = match self.is_stopped(thread.group, cpu) {
            true => State::Stopped(now_ns),
            false => {
                let waiting = &mut self.cpus[cpu as usize].waiting;
                match waiting.iter_mut().find(|(container, _)| *container == thread.container) {
                    Some((_, count)) => *count += 1,
                    None => waiting.push((thread.container, 1)),
                }
                State::Waiting
            }
        };
        self.threads[slot.index()] = Some(Thread { cpu, state, ..thread });
    }

    /// Ends whatever wait the thread is in. The CPU it waits on must be settled.
    fn end_wait(&mut self, now_ns: u64, slot: Slot) {
        let Some(Some(thread)) = self.threads.get_mut(slot.index()) else { return };
        let state = std::mem::take(&mut thread.state);
        match state {
            State::Stopped(since_ns) => {
                let figures = &mut self.containers[thread.container as usize];
                figures.quota_ns += now_ns - since_ns;
                figures.stalls.record(now_ns - since_ns);
            }
            State::Waiting => {
                let waiting = &mut self.cpus[thread.cpu as usize].waiting;
                let at = waiting.iter().position(|(container, _)| *container == thread.container);
                if let Some(at) = at {
                    waiting[at].1 -= 1;
                    if waiting[at].1 == 0 {
                        waiting.swap_remove(at);
                    }
                }
            }
            State::Asleep | State::Running => {}
        }
    }

    fn switch(&mut self, now_ns: u64, cpu: u32, prev: Option<Slot>, next: Option<Slot>, on: bool) {
        self.settle(now_ns, cpu);
        self.charge_cpu(now_ns, cpu);
        if let Some(slot) = prev {
            if let Some(Some(thread)) = self.threads.get_mut(slot.index()) {
                thread.state = State::Asleep;
            }
            if on {
                self.begin_wait(now_ns, slot, cpu);
            }
        }
        let mut runs = None;
        if let Some(slot) = next {
            // It may have been pulled here from where it waited.
            if let Some(Some(thread)) = self.threads.get(slot.index()).copied() {
                self.settle(now_ns, thread.cpu);
                runs = Some(thread.container);
            }
            self.end_wait(now_ns, slot);
            if let Some(Some(thread)) = self.threads.get_mut(slot.index()) {
                (thread.cpu, thread.state) = (cpu, State::Running);
            }
        }
        self.cpus[cpu as usize].runs = runs;
    }

    fn charge_cpu(&mut self, now_ns: u64, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        let elapsed_ns = now_ns - state.began_ns;
        state.began_ns = now_ns;
        if let Some(container) = state.runs {
            self.containers[container as usize].cpu_ns += elapsed_ns;
        }
    }

    fn migrate(&mut self, now_ns: u64, slot: Slot, from: u32, to: u32) {
        let Some(Some(thread)) = self.threads.get(slot.index()).copied() else { return };
        match thread.state {
            State::Waiting | State::Stopped(_) => {
                self.settle(now_ns, from);
                self.settle(now_ns, to);
                let goes_on =
                    matches!(thread.state, State::Stopped(_)) && self.is_stopped(thread.group, to);
                if goes_on {
                    // One stall, wherever it is.
                    self.threads[slot.index()] = Some(Thread { cpu: to, ..thread });
                } else {
                    self.end_wait(now_ns, slot);
                    self.begin_wait(now_ns, slot, to);
                }
            }
            State::Asleep | State::Running => {
                self.threads[slot.index()] = Some(Thread { cpu: to, ..thread });
            }
        }
    }

    fn throttle(&mut self, now_ns: u64, group: u32, cpu: u32, stops: bool) {
        let place = self.place(group, cpu);
        let Some(stopped) = self.stopped.get_mut(place) else { return };
        *stopped = stops;
        self.settle(now_ns, cpu);
        let members = std::mem::take(&mut self.members[group as usize]);
        for slot in &members {
            let Some(Some(thread)) = self.threads.get(slot.index()).copied() else { continue };
            if thread.cpu != cpu {
                continue;
            }
            let changes = match thread.state {
                State::Waiting => stops,
                State::Stopped(_) => !stops && !self.is_stopped(thread.group, cpu),
                State::Asleep | State::Running => false,
            };
            if changes {
                self.end_wait(now_ns, *slot);
                self.begin_wait(now_ns, *slot, cpu);
            }
        }
        self.members[group as usize] = members;
    }

    fn finished(&mut self, slot: Slot, duration_ns: u64, is_step: bool) {
        let Some(Some(thread)) = self.threads.get(slot.index()) else { return };
        if thread.in_steps != is_step {
            return;
        }
        let figures = &mut self.containers[thread.container as usize];
        let Some(part) = figures.parts.get_mut(thread.part as usize) else { return };
        part.durations.record(duration_ns);
    }
}

impl Sink for Measure {
    fn group(&mut self, _: u64, info: &GroupInfo) {
        let mut above = vec![info.group];
        if let Some(parent) = info.parent.and_then(|parent| self.above.get(parent as usize)) {
            above.extend(parent);
        }
        self.above.push(above);
        self.members.push(Vec::new());
        self.stopped.resize(self.above.len() * self.cpus.len(), false);
    }

    fn task(&mut self, _: u64, info: &TaskInfo) {
        let index = info.slot.index();
        if index >= self.threads.len() {
            self.threads.resize(index + 1, None);
        }
        let (Some(known), Some(group)) = (self.known.get(&info.name), info.group) else { return };
        if self.threads[index].is_some() {
            return;
        }
        let (container, part, in_steps) = *known;
        let thread = Thread { container, part, in_steps, group, cpu: 0, state: State::Asleep };
        self.threads[index] = Some(thread);
        for group in self.above.get(group as usize).into_iter().flatten() {
            self.members[*group as usize].push(info.slot);
        }
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        match *event {
            Event::Switch { cpu, prev, left, next } => {
                let stays = matches!(left, Left::Preempted | Left::Yielded);
                self.switch(now_ns, cpu.0, prev, next, stays);
            }
            Event::Wakeup { task, cpu: CpuId(cpu), .. } => {
                self.settle(now_ns, cpu);
                self.begin_wait(now_ns, task, cpu);
            }
            Event::Migrate { task, from, to } => self.migrate(now_ns, task, from.0, to.0),
            Event::Throttle { group, cpu, stops } => self.throttle(now_ns, group, cpu.0, stops),
            Event::Response { task, response_ns } => self.finished(task, response_ns, false),
            Event::Loop { task, record: LoopRecord { start_ns, end_ns, .. } } => {
                self.finished(task, end_ns.saturating_sub(start_ns), true);
            }
            Event::Device { device, busy } => {
                let Some(device) = self.devices.get_mut(device as usize) else { return };
                match (device.since_ns, busy) {
                    (None, true) => device.since_ns = Some(now_ns),
                    (Some(since_ns), false) => {
                        device.busy_ns += now_ns - since_ns;
                        device.since_ns = None;
                    }
                    _ => {}
                }
            }
            Event::Changed { .. }
            | Event::Exit { .. }
            | Event::Values { .. }
            | Event::Budget { .. }
            | Event::RtThrottle { .. }
            | Event::Signal { .. } => {}
        }
    }

    fn wants_loops(&self) -> bool {
        true
    }

    fn finish(&mut self, now_ns: u64) {
        self.end_ns = now_ns;
        for cpu in 0..self.cpus.len() as u32 {
            self.settle(now_ns, cpu);
            self.charge_cpu(now_ns, cpu);
        }
        // A stall that had not ended is waiting, but its length is not known.
        for thread in self.threads.iter_mut().flatten() {
            if let State::Stopped(since_ns) = thread.state {
                self.containers[thread.container as usize].quota_ns += now_ns - since_ns;
                thread.state = State::Asleep;
            }
        }
        for device in &mut self.devices {
            if let Some(since_ns) = device.since_ns.take() {
                device.busy_ns += now_ns - since_ns;
            }
        }
    }
}
