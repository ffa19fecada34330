//! From events to scripts.

use rustc_hash::FxHashMap;
use slicewise_analysis::{GroupRule, TaskGroups, ThreadId, Threads};
use slicewise_ftrace::{Event, Kind, Switch, SwitchState, TaskRef};
use slicewise_sched::{CpuId, CpuSet};

use crate::outside::{Outside, recognise};
use crate::script::{Script, ScriptId, Step};

/// The most steps all scripts together have. What comes after is left out.
pub const STEPS_MAX: usize = 6_000_000;
/// A task that only ever ran on one CPU is taken for bound to it if it got it at least so often…
const BOUND_RUNS_MIN: u64 = 20;
/// … and waited for it so often while another CPU was idle, for so long.
const BOUND_WAITS_MIN: u64 = 3;
const BOUND_WAIT_NS_MIN: u64 = 1_000_000;
/// Samples of how long idle CPUs take; more are not needed.
const IDLE_EXITS_MAX: usize = 100_000;

/// What was rebuilt.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// The tasks, in the order in which the trace first has them.
    pub scripts: Vec<Script>,
    /// When the stretch began and ended, ns of the trace's clock.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
    /// It ends before the trace does: there are more steps than [`STEPS_MAX`].
    pub is_cut: bool,
    /// How many CPUs the trace has events of, counted from 0.
    pub cpus: u32,
    /// How long an idle CPU took from a wakeup until the task ran, in the middle of all, ns.
    pub idle_exit_ns: Option<u64>,
    /// Wakeups by tasks.
    pub woken_by_tasks: u64,
    /// Wakeups from outside.
    pub woken_from_outside: u64,
    /// Tasks that ran again though nobody was seen to wake them.
    pub unseen_wakeups: u64,
    /// Who is who, by the trace's numbers: the last that had each.
    pub by_tid: FxHashMap<i32, ScriptId>,
    /// The same by the index of [`ThreadId`]; the last may be missing.
    pub by_thread: Vec<Option<ScriptId>>,
}

impl Rebuilt {
    /// How long the stretch is, ns.
    pub fn length_ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }
}

/// Where a task is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing is known of it yet.
    Unknown,
    /// On a CPU, counted up to this time.
    Running { counted_ns: u64 },
    /// Waits for a CPU.
    Runnable,
    /// Sleeps.
    Asleep { from_ns: u64, is_device: bool },
    /// Ended.
    Gone,
}

struct Building {
    script: Script,
    state: State,
    /// CPU time since the last step.
    burst_ns: u64,
    prio: i32,
    is_lent: bool,
    device_sleeps: usize,
    /// Who woke it while it had a CPU: a step of theirs, which counts only if it goes to sleep without being
    /// woken again.
    early: Option<Early>,
    cpu: u32,
    on_one_cpu: bool,
    runs: u64,
    /// When it began to wait, and how long another CPU has been idle since then.
    waits_since_ns: u64,
    waits_beside_idle: u64,
    is_born: bool,
}

#[derive(Clone, Copy, Debug)]
enum Early {
    /// This step of this task.
    Step(usize, usize),
    /// An interrupt did, then.
    Outside(u64),
}

#[derive(Clone, Copy, Default)]
struct Cpu {
    running: Option<usize>,
    idle_since_ns: Option<u64>,
    /// A switch was seen there.
    has_switched: bool,
}

/// Rebuilds scripts from the events of a trace, in the order of time.
pub struct Rebuilder {
    tasks: Vec<Building>,
    by_thread: Vec<Option<usize>>,
    cpus: Vec<Cpu>,
    from_ns: Option<u64>,
    last_ns: u64,
    steps: usize,
    is_cut: bool,
    by_waking: bool,
    idle_exits: Vec<u64>,
    woken_by_tasks: u64,
    woken_from_outside: u64,
    unseen_wakeups: u64,
    groups: TaskGroups,
}

impl Rebuilder {
    /// Nothing yet. `groups` say what the trace does not.
    pub fn new(groups: Vec<GroupRule>) -> Self {
        Self {
            groups: TaskGroups::new(groups),
            tasks: Vec::new(),
            by_thread: Vec::new(),
            cpus: Vec::new(),
            from_ns: None,
            last_ns: 0,
            steps: 0,
            is_cut: false,
            by_waking: false,
            idle_exits: Vec::new(),
            woken_by_tasks: 0,
            woken_from_outside: 0,
            unseen_wakeups: 0,
        }
    }

    /// Whether there is no room for more; events are of no use any more.
    pub fn is_full(&self) -> bool {
        self.is_cut
    }

    /// Takes in an event. `threads` must have seen it.
    pub fn event(&mut self, threads: &mut Threads, event: &Event) {
        if self.is_cut {
            return;
        }
        if self.steps >= STEPS_MAX {
            self.is_cut = true;
            return;
        }
        let is_of_scheduler = matches!(
            event.kind,
            Kind::Switch(_) | Kind::Waking(_) | Kind::Wakeup(_) | Kind::WakeupNew(_)
        );
        if !is_of_scheduler && self.from_ns.is_none() {
            self.groups.event(threads, event);
            return;
        }
        let from_ns = *self.from_ns.get_or_insert(event.time_ns);
        // Times never go back here, whatever the trace's do.
        self.last_ns = self.last_ns.max(event.time_ns.saturating_sub(from_ns));
        let now_ns = self.last_ns;
        match &event.kind {
            Kind::Switch(switch) => self.switch(threads, event.cpu, now_ns, switch),
            Kind::Waking(wakeup) => {
                self.by_waking = true;
                self.woken(threads, event, now_ns, &wakeup.task);
            }
            Kind::Wakeup(wakeup) if !self.by_waking => {
                self.woken(threads, event, now_ns, &wakeup.task);
            }
            Kind::WakeupNew(wakeup) => self.born(threads, event, now_ns, &wakeup.task),
            Kind::PiSetprio(lent) => {
                if let Some(task) = threads.get(lent.pid).and_then(|id| self.known(id)) {
                    let task = &mut self.tasks[task];
                    task.is_lent = lent.new_prio != task.prio;
                }
            }
            Kind::Lost(_) => {
                if let Some(cpu) = self.cpus.get_mut(event.cpu as usize) {
                    cpu.idle_since_ns = None;
                    if let Some(task) = cpu.running.take() {
                        self.leave(task, now_ns);
                        self.tasks[task].state = State::Unknown;
                    }
                }
            }
            Kind::Other(_) => self.groups.event(threads, event),
            _ => {}
        }
    }

    fn known(&self, id: ThreadId) -> Option<usize> {
        self.by_thread.get(id.index()).copied().flatten()
    }

    fn of(&mut self, threads: &mut Threads, task: &TaskRef) -> usize {
        let id = threads.of(task);
        if self.by_thread.len() <= id.index() {
            self.by_thread.resize(id.index() + 1, None);
        }
        let thread = &threads[id];
        if let Some(known) = self.by_thread[id.index()] {
            if thread
                .comm
                .is_some_and(|comm| comm.as_bytes() != self.tasks[known].script.comm.as_bytes())
            {
                self.tasks[known].script.comm = thread.name();
            }
            return known;
        }
        let script = Script {
            tid: thread.tid,
            tgid: thread.tgid,
            comm: thread.name(),
            group: None,
            prio: task.prio,
            is_forked: false,
            begins_runnable: false,
            affinity: CpuSet::All,
            outside: Outside::None,
            steps: Vec::new(),
            wakeups: 0,
            cpu_ns: 0,
        };
        self.tasks.push(Building {
            script,
            state: State::Unknown,
            burst_ns: 0,
            prio: task.prio,
            is_lent: false,
            device_sleeps: 0,
            early: None,
            cpu: u32::MAX,
            on_one_cpu: true,
            runs: 0,
            waits_since_ns: 0,
            waits_beside_idle: 0,
            is_born: false,
        });
        let index = self.tasks.len() - 1;
        self.by_thread[id.index()] = Some(index);
        index
    }

    fn cpu(&mut self, cpu: u32) -> &mut Cpu {
        let index = cpu as usize;
        if self.cpus.len() <= index {
            self.cpus.resize(index + 1, Cpu::default());
        }
        &mut self.cpus[index]
    }

    fn push(&mut self, task: usize, step: Step) -> usize {
        self.steps += 1;
        let steps = &mut self.tasks[task].script.steps;
        steps.push(step);
        steps.len() - 1
    }

    /// Counts the CPU time of a running task up to now.
    fn count(&mut self, task: usize, now_ns: u64) {
        let task = &mut self.tasks[task];
        if let State::Running { counted_ns } = &mut task.state {
            let ns = now_ns.saturating_sub(*counted_ns);
            task.burst_ns += ns;
            task.script.cpu_ns += ns;
            *counted_ns = now_ns;
        }
    }

    /// A burst ends here: what comes next happens at this point.
    fn cut_burst(&mut self, task: usize, now_ns: u64) {
        self.count(task, now_ns);
        let ns = std::mem::take(&mut self.tasks[task].burst_ns);
        if ns > 0 {
            self.push(task, Step::Run(ns));
        }
    }

    /// A task is no longer seen: what it did until now stays.
    fn leave(&mut self, task: usize, now_ns: u64) {
        self.cut_burst(task, now_ns);
    }

    fn switch(&mut self, threads: &mut Threads, cpu: u32, now_ns: u64, switch: &Switch) {
        let began = self.cpu(cpu).running.take();
        let is_first = !std::mem::replace(&mut self.cpu(cpu).has_switched, true);
        if switch.prev.pid != 0 {
            let prev = self.of(threads, &switch.prev);
            if let Some(other) = began.filter(|task| *task != prev) {
                // A switch is missing.
                self.leave(other, now_ns);
                self.tasks[other].state = State::Unknown;
            }
            self.put(prev, now_ns, switch, is_first);
        } else if let Some(other) = began {
            self.leave(other, now_ns);
            self.tasks[other].state = State::Unknown;
        }
        if switch.next.pid == 0 {
            self.cpu(cpu).idle_since_ns = Some(now_ns);
            return;
        }
        let next = self.of(threads, &switch.next);
        let was_idle = self.cpu(cpu).idle_since_ns.take();
        self.cpu(cpu).running = Some(next);
        self.pick(next, cpu, now_ns, &switch.next, was_idle);
    }

    /// A task leaves its CPU, in the first switch there or in a later one.
    fn put(&mut self, prev: usize, now_ns: u64, switch: &Switch, is_first: bool) {
        if self.tasks[prev].state == State::Unknown {
            // It ran from the beginning, or came where events are missing.
            let is_new = self.tasks[prev].script.steps.is_empty() && self.tasks[prev].runs == 0;
            self.tasks[prev].script.begins_runnable |= is_new;
            let counted_ns = if is_first && is_new { 0 } else { now_ns };
            self.tasks[prev].state = State::Running { counted_ns };
        }
        match switch.prev_state {
            SwitchState::Runnable | SwitchState::Preempted => {
                self.count(prev, now_ns);
                self.tasks[prev].state = State::Runnable;
                self.tasks[prev].waits_since_ns = now_ns;
                self.forget_early(prev);
            }
            SwitchState::Dead => {
                self.cut_burst(prev, now_ns);
                self.forget_early(prev);
                self.push(prev, Step::Exit);
                self.tasks[prev].state = State::Gone;
            }
            SwitchState::Asleep(_) => {
                self.cut_burst(prev, now_ns);
                let is_device = switch.prev_letter == b'D';
                self.tasks[prev].state = State::Asleep { from_ns: now_ns, is_device };
            }
        }
    }

    /// A task gets a CPU.
    fn pick(&mut self, next: usize, cpu: u32, now_ns: u64, task: &TaskRef, was_idle: Option<u64>) {
        match self.tasks[next].state {
            State::Asleep { from_ns, is_device } => {
                self.wakes_unseen(next, from_ns, is_device, now_ns)
            }
            State::Unknown
                if self.tasks[next].script.steps.is_empty() && self.tasks[next].runs == 0 =>
            {
                self.tasks[next].script.begins_runnable = true;
            }
            _ => {}
        }
        let waited_since_ns = self.tasks[next].waits_since_ns;
        let was_runnable = self.tasks[next].state == State::Runnable;
        // Another CPU had nothing to do all the while.
        let long = now_ns.saturating_sub(waited_since_ns) >= BOUND_WAIT_NS_MIN;
        let beside_idle = was_runnable
            && long
            && was_idle.is_none()
            && self
                .cpus
                .iter()
                .any(|cpu| cpu.idle_since_ns.is_some_and(|since| since <= waited_since_ns));
        if was_runnable
            && was_idle.is_some_and(|since| since < waited_since_ns)
            && self.idle_exits.len() < IDLE_EXITS_MAX
        {
            self.idle_exits.push(now_ns - waited_since_ns);
        }
        let building = &mut self.tasks[next];
        building.waits_beside_idle += u64::from(beside_idle);
        building.on_one_cpu &= building.cpu == cpu || building.cpu == u32::MAX;
        building.cpu = cpu;
        building.runs += 1;
        building.state = State::Running { counted_ns: now_ns };
        if !building.is_lent && building.prio != task.prio {
            building.prio = task.prio;
            let earlier = std::mem::take(&mut building.burst_ns);
            if earlier > 0 {
                self.push(next, Step::Run(earlier));
            }
            self.push(next, Step::Priority(task.prio));
        }
    }

    /// It slept and runs: somebody woke it early, or unseen.
    fn wakes_unseen(&mut self, task: usize, from_ns: u64, is_device: bool, now_ns: u64) {
        match self.tasks[task].early.take() {
            Some(Early::Step(..)) => {
                self.woken_by_tasks += 1;
                self.push(task, Step::Wait);
            }
            Some(Early::Outside(at_ns)) => {
                self.woken_from_outside += 1;
                self.push(task, Step::Outside { from_ns, to_ns: at_ns.max(from_ns) });
            }
            None => {
                self.unseen_wakeups += 1;
                self.woken_outside(task, from_ns, is_device, now_ns);
            }
        }
        self.tasks[task].script.wakeups += 1;
        self.tasks[task].waits_since_ns = now_ns;
    }

    fn woken_outside(&mut self, task: usize, from_ns: u64, is_device: bool, to_ns: u64) {
        self.woken_from_outside += 1;
        self.tasks[task].device_sleeps += usize::from(is_device);
        self.push(task, Step::Outside { from_ns, to_ns });
    }

    /// Whoever woke it while it ran had no need to.
    fn forget_early(&mut self, task: usize) {
        if let Some(Early::Step(waker, step)) = self.tasks[task].early.take() {
            self.tasks[waker].script.steps[step] = Step::Nothing;
        }
    }

    /// The task that does something at this moment, if it is one and no interrupt.
    fn actor(&self, threads: &Threads, event: &Event, but: usize) -> Option<usize> {
        if event.in_interrupt == Some(true) {
            return None;
        }
        let pid = event.pid.filter(|pid| *pid > 0)?;
        let actor = self.known(threads.get(pid)?)?;
        let runs = matches!(self.tasks[actor].state, State::Running { .. });
        (runs && actor != but).then_some(actor)
    }

    fn woken(&mut self, threads: &mut Threads, event: &Event, now_ns: u64, task: &TaskRef) {
        if task.pid == 0 {
            return;
        }
        let woken = self.of(threads, task);
        let actor = self.actor(threads, event, woken);
        match self.tasks[woken].state {
            State::Asleep { from_ns, is_device } => {
                // Who woke it before it slept did so in vain.
                self.forget_early(woken);
                self.wakes(woken, from_ns, is_device, actor, now_ns);
            }
            State::Unknown => {
                // It slept from the beginning, or from where events are missing.
                self.wakes(woken, 0, false, actor, now_ns);
            }
            State::Running { .. } => {
                self.forget_early(woken);
                let early = match actor {
                    Some(actor) => {
                        self.cut_burst(actor, now_ns);
                        let step = self.push(actor, Step::Wake(woken as ScriptId));
                        Early::Step(actor, step)
                    }
                    None => Early::Outside(now_ns),
                };
                self.tasks[woken].early = Some(early);
                return;
            }
            State::Runnable | State::Gone => return,
        }
        self.tasks[woken].state = State::Runnable;
        self.tasks[woken].waits_since_ns = now_ns;
        self.tasks[woken].script.wakeups += 1;
    }

    fn wakes(
        &mut self,
        woken: usize,
        from_ns: u64,
        is_device: bool,
        actor: Option<usize>,
        now_ns: u64,
    ) {
        match actor {
            Some(actor) => {
                self.cut_burst(actor, now_ns);
                self.push(actor, Step::Wake(woken as ScriptId));
                self.push(woken, Step::Wait);
                self.woken_by_tasks += 1;
            }
            None => self.woken_outside(woken, from_ns, is_device, now_ns),
        }
    }

    fn born(&mut self, threads: &mut Threads, event: &Event, now_ns: u64, task: &TaskRef) {
        let child = self.of(threads, task);
        if self.tasks[child].state != State::Unknown || self.tasks[child].is_born {
            return;
        }
        match self.actor(threads, event, child) {
            Some(parent) => {
                self.cut_burst(parent, now_ns);
                self.push(parent, Step::Fork(child as ScriptId));
                self.tasks[child].script.is_forked = true;
            }
            // Whoever made it, it begins then.
            None if now_ns > 0 => {
                self.push(child, Step::Outside { from_ns: 0, to_ns: now_ns });
            }
            None => self.tasks[child].script.begins_runnable = true,
        }
        let building = &mut self.tasks[child];
        building.is_born = true;
        building.state = State::Runnable;
        building.waits_since_ns = now_ns;
        building.script.wakeups += 1;
    }

    /// The scripts of all tasks.
    pub fn finish(mut self, threads: &Threads) -> Rebuilt {
        let now_ns = self.last_ns;
        for task in 0..self.tasks.len() {
            self.cut_burst(task, now_ns);
            // Nobody knows whether it would have been needed.
            self.forget_early(task);
        }
        for (index, thread) in self.by_thread.iter().enumerate() {
            if let Some(task) = thread {
                let path = self.groups.path(threads, ThreadId::at(index));
                self.tasks[*task].script.group = path.map(str::to_owned);
            }
        }
        let mut by_tid = FxHashMap::default();
        let cpus = self.cpus.len() as u32;
        let mut scripts = Vec::with_capacity(self.tasks.len());
        for (index, building) in self.tasks.into_iter().enumerate() {
            let mut script = building.script;
            by_tid.insert(script.tid, index as ScriptId);
            if let Some(id) = threads.get(script.tid)
                && script.tgid == -1
            {
                script.tgid = threads[id].tgid;
            }
            script.outside = recognise(&script.steps, building.device_sleeps);
            let bound = bound_by_name(&script.comm).or_else(|| {
                let bound = building.on_one_cpu
                    && building.runs >= BOUND_RUNS_MIN
                    && building.waits_beside_idle >= BOUND_WAITS_MIN;
                bound.then_some(building.cpu)
            });
            if let Some(cpu) = bound.filter(|cpu| *cpu < cpus) {
                script.affinity = CpuSet::one(CpuId(cpu));
            }
            scripts.push(script);
        }
        let from_ns = self.from_ns.unwrap_or(0);
        let middle = self.idle_exits.len() / 2;
        let idle_exit_ns =
            (!self.idle_exits.is_empty()).then(|| *self.idle_exits.select_nth_unstable(middle).1);
        Rebuilt {
            scripts,
            from_ns,
            to_ns: from_ns + self.last_ns,
            is_cut: self.is_cut,
            cpus,
            idle_exit_ns,
            woken_by_tasks: self.woken_by_tasks,
            woken_from_outside: self.woken_from_outside,
            unseen_wakeups: self.unseen_wakeups,
            by_tid,
            by_thread: self.by_thread.into_iter().map(|it| it.map(|it| it as ScriptId)).collect(),
        }
    }
}

/// Kernel threads that belong to a CPU have its number in their names.
fn bound_by_name(comm: &str) -> Option<u32> {
    let (name, rest) = comm.split_once('/')?;
    let per_cpu = [
        "kworker",
        "ksoftirqd",
        "migration",
        "cpuhp",
        "idle_inject",
        "rcuc",
        "rcuop",
        "irq_work",
        "backlog_napi",
    ];
    if !per_cpu.contains(&name) {
        return None;
    }
    // `kworker/u8:1` belongs to no CPU.
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests;
