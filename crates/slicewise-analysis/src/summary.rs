//! What a trace comes to, by task or by whatever tasks have in common: CPU time, delays, why they left their CPUs, and
//! who made whom wait.
//!
//! A task that waits is on the queue of a CPU: where it was woken to (`sched_wakeup`; of `sched_waking`, which comes
//! before the choice, where it was), where it was taken off, where it was moved to (`sched_migrate_task`). Whoever has
//! that CPU meanwhile makes it wait. Time on CPUs is counted from switch to switch; what a CPU did before its first
//! switch from its first event on. Gaps are counted as unknown.
//!
//! Memory depends on the number of tasks, not on the length of the trace: delays are in histograms, time is in bins that
//! get wider, and of rows and pairs those that matter least are added up.

mod bins;
mod report;
mod rows;

use slicewise_ftrace::{Event, Kind, Switch, SwitchState, Value};
use slicewise_report::{Histogram, SummaryReport};

use self::bins::Bins;
use self::rows::{Key, RowId, Rows};
use crate::threads::{ThreadId, Threads};

/// A charge that belongs to a switch is not longer before it.
const CHARGED_BEFORE_NS: u64 = 20_000;

/// What makes a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SummaryBy {
    /// A task.
    Task,
    /// A process; where the trace does not tell processes, a task.
    Process,
    /// All tasks of a name.
    #[default]
    Comm,
    /// A cgroup, as far as `cgroup_attach_task` events and forks tell who is in it.
    Cgroup,
}

impl SummaryBy {
    /// `task`, `process`, `comm`, `cgroup`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Process => "process",
            Self::Comm => "comm",
            Self::Cgroup => "cgroup",
        }
    }
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SummaryOptions {
    /// What makes a row.
    pub by: SummaryBy,
    /// How many rows; the rest is added up.
    pub top: usize,
    /// Only from then, ns.
    pub from_ns: Option<u64>,
    /// Only up to then, ns.
    pub to_ns: Option<u64>,
    /// Only what happens on these CPUs.
    pub cpus: Option<Vec<u32>>,
}

impl Default for SummaryOptions {
    fn default() -> Self {
        Self { by: SummaryBy::default(), top: 10, from_ns: None, to_ns: None, cpus: None }
    }
}

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Doing {
    #[default]
    Unknown,
    Asleep,
    Running,
    Waiting {
        since_ns: u64,
        woken: bool,
        /// The queue it is on, and since when.
        cpu: u32,
        joined_ns: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Task {
    doing: Doing,
    row: RowId,
    key: Key,
    last_cpu: Option<u32>,
    group: Option<u32>,
}

#[derive(Clone, Debug, Default)]
struct Cpu {
    /// Since when the stretch goes on that is not counted yet.
    since_ns: Option<u64>,
    /// Who has it; `None` is not known.
    current: Option<ThreadId>,
    /// When its switch was.
    came_ns: u64,
    last_event_ns: u64,
    /// The running task called `sched_yield`.
    yields: bool,
    /// When the running task was charged last without a pick being due, as far as the trace says.
    charged_unasked_ns: Option<u64>,
    /// A pick is due since it came.
    is_asked: bool,
    waiters: Vec<ThreadId>,
    known_ns: u64,
    busy_ns: u64,
    switches: u64,
    bins: Bins,
}

/// Takes in a trace.
#[derive(Clone, Debug)]
pub struct Summary {
    options: SummaryOptions,
    cpus: Vec<Cpu>,
    tasks: Vec<Option<Task>>,
    rows: Rows,
    delays: Histogram,
    /// Paths of cgroups.
    groups: Vec<String>,
    /// Events of the trace and of the stretch.
    first_ns: Option<u64>,
    last_ns: u64,
    events: u64,
    lost_events: u64,
    gaps: u64,
    migration_events: u64,
    /// Waits that ended on another CPU than the task was thought to be queued on.
    misplaced: u64,
}

impl Summary {
    /// Nothing yet.
    pub fn new(options: SummaryOptions) -> Self {
        Self {
            options,
            cpus: Vec::new(),
            tasks: Vec::new(),
            rows: Rows::default(),
            delays: Histogram::new(),
            groups: Vec::new(),
            first_ns: None,
            last_ns: 0,
            events: 0,
            lost_events: 0,
            gaps: 0,
            migration_events: 0,
            misplaced: 0,
        }
    }

    /// Takes in an event; `threads` must have seen it.
    pub fn event(&mut self, threads: &mut Threads, event: &Event) {
        // Names of those that were there before have no time.
        if let Kind::Named(_) | Kind::Cloned(_) | Kind::Gone(_) = event.kind {
            if let Kind::Cloned(cloned) = event.kind {
                self.inherit(threads, cloned.parent, cloned.pid);
            }
            return;
        }
        let (now_ns, cpu) = (event.time_ns, event.cpu as usize);
        self.first_ns.get_or_insert(now_ns);
        self.last_ns = self.last_ns.max(now_ns);
        self.events += u64::from(self.counts_at(now_ns));
        self.see_cpu(cpu);
        self.cpus[cpu].since_ns.get_or_insert(now_ns);
        match &event.kind {
            Kind::Switch(switch) => self.switch(threads, event, switch),
            Kind::Waking(wakeup) | Kind::Wakeup(wakeup) | Kind::WakeupNew(wakeup) => {
                let task = threads.of(&wakeup.task);
                self.wakeup(threads, now_ns, task, wakeup.target_cpu);
            }
            Kind::Migrate(migrate) => {
                let task = threads.of(&migrate.task);
                let row = self.row_of(threads, task);
                self.migration_events += 1;
                if self.counts_at(now_ns) && self.wants(migrate.to) {
                    self.rows.row_mut(row).migrations += 1;
                }
                self.moved(threads, now_ns, task, migrate.to);
            }
            Kind::Fork(fork) => self.inherit(threads, fork.parent, fork.child),
            Kind::Lost(count) => self.gap(threads, event, *count),
            Kind::Other(other) if &*other.name == "cgroup_attach_task" => {
                let path = other.field("dst_path");
                let pid = other.field("pid").and_then(Value::as_i64);
                if let (Some(Value::Text(path)), Some(pid)) = (path, pid)
                    && let Ok(pid) = i32::try_from(pid)
                {
                    self.attach(threads, pid, path);
                }
            }
            Kind::Other(other) if other.name.contains("sched_yield") => {
                self.cpus[cpu].yields = true;
            }
            _ => {}
        }
        let cpu = &mut self.cpus[cpu];
        cpu.last_event_ns = now_ns;
        if let Kind::Switch(_) = event.kind {
            (cpu.charged_unasked_ns, cpu.is_asked) = (None, false);
        } else if event.need_resched == Some(true) {
            cpu.is_asked = true;
        } else if let (Kind::StatRuntime(_), Some(false)) = (&event.kind, event.need_resched) {
            cpu.charged_unasked_ns = Some(now_ns);
        }
    }

    /// The figures; what goes on is counted up to the end.
    pub fn report(mut self, threads: &Threads) -> SummaryReport {
        for cpu in 0..self.cpus.len() {
            let runner = self.cpus[cpu].current;
            self.advance(threads, cpu, self.last_ns, runner);
        }
        report::of(&self, threads)
    }

    fn counts_at(&self, now_ns: u64) -> bool {
        self.options.from_ns.is_none_or(|from| now_ns >= from)
            && self.options.to_ns.is_none_or(|to| now_ns <= to)
    }

    fn wants(&self, cpu: u32) -> bool {
        self.options.cpus.as_ref().is_none_or(|cpus| cpus.contains(&cpu))
    }

    /// Where the stretch that is looked at begins.
    fn begin_ns(&self) -> u64 {
        let first_ns = self.first_ns.unwrap_or(0);
        self.options.from_ns.map_or(first_ns, |from| from.max(first_ns))
    }

    fn end_ns(&self) -> u64 {
        self.options.to_ns.map_or(self.last_ns, |to| to.min(self.last_ns)).max(self.begin_ns())
    }

    /// The part of a stretch that is looked at.
    fn within(&self, from_ns: u64, to_ns: u64) -> (u64, u64) {
        let from_ns = from_ns.max(self.begin_ns());
        let to_ns = self.options.to_ns.map_or(to_ns, |to| to_ns.min(to));
        (from_ns, to_ns.max(from_ns))
    }

    fn see_cpu(&mut self, cpu: usize) {
        if self.cpus.len() <= cpu {
            self.cpus.resize(cpu + 1, Cpu::default());
        }
    }

    fn task(&mut self, task: ThreadId) -> &mut Task {
        let index = task.index();
        if self.tasks.len() <= index {
            self.tasks.resize(index + 1, None);
        }
        self.tasks[index].get_or_insert(Task {
            doing: Doing::Unknown,
            row: RowId::UNKNOWN,
            key: Key::Unknown,
            last_cpu: None,
            group: None,
        })
    }

    /// The row of a task as it is now: names and processes come to be known, and change.
    fn row_of(&mut self, threads: &Threads, id: ThreadId) -> RowId {
        let thread = &threads[id];
        if thread.tid == 0 {
            return RowId::IDLE;
        }
        let by = self.options.by;
        let Task { key: known, row, group, .. } = *self.task(id);
        let key = match by {
            SummaryBy::Task => Key::Task(id),
            SummaryBy::Process if thread.tgid > 0 => Key::Process(thread.tgid),
            SummaryBy::Process => Key::Process(thread.tid),
            SummaryBy::Comm => Key::Comm(thread.comm.unwrap_or_default()),
            SummaryBy::Cgroup => group.map_or(Key::NoGroup, Key::Group),
        };
        if known == key && self.rows.is_there(row) {
            return row;
        }
        let row = self.rows.of(key);
        self.rows.row_mut(row).tasks += 1;
        let task = self.task(id);
        (task.key, task.row) = (key, row);
        row
    }

    fn attach(&mut self, threads: &mut Threads, pid: i32, path: &str) {
        let known = self.groups.iter().position(|known| known == path);
        let group = known.unwrap_or_else(|| {
            self.groups.push(path.to_owned());
            self.groups.len() - 1
        });
        let task = threads.find_or_add(pid, -1);
        self.task(task).group = Some(group as u32);
    }

    fn inherit(&mut self, threads: &mut Threads, parent: i32, child: i32) {
        let (parent, child) = (threads.find_or_add(parent, -1), threads.find_or_add(child, -1));
        let group = self.task(parent).group;
        let task = self.task(child);
        task.group = task.group.or(group);
    }

    /// Counts what a CPU did since it was last looked at: `runner` had it.
    fn advance(&mut self, threads: &Threads, cpu: usize, now_ns: u64, runner: Option<ThreadId>) {
        let since_ns = self.cpus[cpu].since_ns.replace(now_ns).unwrap_or(now_ns);
        if !self.wants(cpu as u32) {
            return;
        }
        let (from_ns, to_ns) = self.within(since_ns, now_ns);
        let ran_ns = to_ns - from_ns;
        let row = runner.map_or(RowId::UNKNOWN, |runner| self.row_of(threads, runner));
        if ran_ns > 0 && row != RowId::UNKNOWN {
            let begin_ns = self.begin_ns();
            self.cpus[cpu].known_ns += ran_ns;
            if row != RowId::IDLE {
                let (from_ns, to_ns) = (from_ns - begin_ns, to_ns - begin_ns);
                let of_cpu = &mut self.cpus[cpu];
                of_cpu.busy_ns += ran_ns;
                of_cpu.bins.add(from_ns, to_ns);
                let row = self.rows.row_mut(row);
                row.run_ns += ran_ns;
                row.bins.add(from_ns, to_ns);
            }
        }
        let waiters = std::mem::take(&mut self.cpus[cpu].waiters);
        for waiter in &waiters {
            self.waited(threads, *waiter, since_ns, now_ns, row);
        }
        self.cpus[cpu].waiters = waiters;
    }

    /// A task waited while somebody had its CPU, as far as it was there already.
    fn waited(
        &mut self,
        threads: &Threads,
        waiter: ThreadId,
        from_ns: u64,
        to_ns: u64,
        runner: RowId,
    ) {
        let Doing::Waiting { joined_ns, .. } = self.task(waiter).doing else { return };
        let (from_ns, to_ns) = self.within(from_ns.max(joined_ns), to_ns);
        if to_ns > from_ns {
            let waiter = self.row_of(threads, waiter);
            self.rows.pair(waiter, runner).wait_ns += to_ns - from_ns;
        }
    }

    /// A task comes to a CPU's queue.
    fn join(&mut self, task: ThreadId, cpu: u32) {
        self.see_cpu(cpu as usize);
        self.cpus[cpu as usize].waiters.push(task);
    }

    /// A task leaves its queue; whoever has the CPU has made it wait up to now.
    fn leave(&mut self, threads: &Threads, now_ns: u64, task: ThreadId, cpu: u32) {
        let of_cpu = &mut self.cpus[cpu as usize];
        let Some(at) = of_cpu.waiters.iter().position(|waiter| *waiter == task) else { return };
        of_cpu.waiters.swap_remove(at);
        let (since_ns, current) = (of_cpu.since_ns, of_cpu.current);
        if self.wants(cpu) {
            let runner = current.map_or(RowId::UNKNOWN, |current| self.row_of(threads, current));
            self.waited(threads, task, since_ns.unwrap_or(now_ns), now_ns, runner);
        }
    }

    fn wakeup(&mut self, threads: &Threads, now_ns: u64, task: ThreadId, cpu: u32) {
        match self.task(task).doing {
            Doing::Running => {}
            Doing::Waiting { .. } => self.moved(threads, now_ns, task, cpu),
            Doing::Unknown | Doing::Asleep => {
                let doing =
                    Doing::Waiting { since_ns: now_ns, woken: true, cpu, joined_ns: now_ns };
                self.task(task).doing = doing;
                self.join(task, cpu);
                let row = self.row_of(threads, task);
                if self.counts_at(now_ns) && self.wants(cpu) {
                    self.rows.row_mut(row).wakeups += 1;
                }
            }
        }
    }

    /// A task that waits goes to another queue.
    fn moved(&mut self, threads: &Threads, now_ns: u64, task: ThreadId, to: u32) {
        let Doing::Waiting { since_ns, woken, cpu, .. } = self.task(task).doing else { return };
        if cpu == to {
            return;
        }
        self.leave(threads, now_ns, task, cpu);
        self.task(task).doing = Doing::Waiting { since_ns, woken, cpu: to, joined_ns: now_ns };
        self.join(task, to);
    }

    fn switch(&mut self, threads: &mut Threads, event: &Event, switch: &Switch) {
        let (cpu, now_ns) = (event.cpu as usize, event.time_ns);
        let (prev, next) = (threads.of(&switch.prev), threads.of(&switch.next));
        let counts = self.counts_at(now_ns) && self.wants(event.cpu);
        // Before its first switch the CPU was the task's that leaves it now. If somebody else was seen to come, events
        // are missing.
        let current = self.cpus[cpu].current;
        let runner = (current.is_none() || current == Some(prev)).then_some(prev);
        self.advance(threads, cpu, now_ns, runner);
        self.cpus[cpu].switches += u64::from(counts);
        if switch.prev.pid != 0 {
            let row = self.row_of(threads, prev);
            let goes_on =
                matches!(switch.prev_state, SwitchState::Runnable | SwitchState::Preempted);
            if counts {
                self.left(threads, (cpu, now_ns), switch, row, next);
            }
            let task = self.task(prev);
            task.last_cpu = Some(event.cpu);
            let doing = match goes_on {
                true => {
                    let (cpu, joined_ns) = (event.cpu, now_ns);
                    Doing::Waiting { since_ns: now_ns, woken: false, cpu, joined_ns }
                }
                false => Doing::Asleep,
            };
            let before = std::mem::replace(&mut task.doing, doing);
            if let Doing::Waiting { cpu, .. } = before {
                // It was not seen to come; it cannot have waited.
                self.cpus[cpu as usize].waiters.retain(|waiter| *waiter != prev);
            }
            if goes_on {
                self.join(prev, event.cpu);
            }
        }
        if switch.next.pid != 0 {
            self.comes(threads, event, next);
        }
        let of_cpu = &mut self.cpus[cpu];
        (of_cpu.current, of_cpu.came_ns, of_cpu.yields) = (Some(next), now_ns, false);
    }

    /// A task gets its CPU.
    fn comes(&mut self, threads: &Threads, event: &Event, task: ThreadId) {
        let now_ns = event.time_ns;
        let row = self.row_of(threads, task);
        if let Doing::Waiting { since_ns, cpu, .. } = self.task(task).doing {
            // What its CPU did up to now was counted with the switch.
            self.cpus[cpu as usize].waiters.retain(|waiter| *waiter != task);
            self.misplaced += u64::from(cpu != event.cpu);
            if self.counts_at(now_ns) && self.wants(event.cpu) {
                let delay_ns = now_ns.saturating_sub(since_ns);
                self.rows.row_mut(row).delays.record(delay_ns);
                self.delays.record(delay_ns);
            }
        }
        let counts = self.counts_at(now_ns) && self.wants(event.cpu);
        let of_task = self.task(task);
        of_task.doing = Doing::Running;
        let moved = of_task.last_cpu.is_some_and(|last| last != event.cpu);
        of_task.last_cpu = Some(event.cpu);
        self.rows.row_mut(row).cpu_changes += u64::from(moved && counts);
    }

    /// Counts why a task left.
    fn left(
        &mut self,
        threads: &Threads,
        (cpu, now_ns): (usize, u64),
        switch: &Switch,
        row: RowId,
        next: ThreadId,
    ) {
        let of_cpu = &self.cpus[cpu];
        let (came_ns, known) = (of_cpu.came_ns, of_cpu.current.is_some());
        // Whoever leaves is charged on the way; without a pick that is due it leaves by itself.
        let charged_ns = of_cpu.charged_unasked_ns.filter(|_| !of_cpu.is_asked);
        let unasked =
            charged_ns.is_some_and(|at_ns| now_ns.saturating_sub(at_ns) <= CHARGED_BEFORE_NS);
        let yielded = of_cpu.yields || (switch.prev_state == SwitchState::Runnable && unasked);
        let next_row = self.row_of(threads, next);
        let next_doing = self.task(next).doing;
        let figures = self.rows.row_mut(row);
        match switch.prev_state {
            SwitchState::Asleep(_) => {
                figures.left.slept += 1;
                figures.switches.voluntary += 1;
                return;
            }
            SwitchState::Dead => {
                figures.left.exited += 1;
                figures.switches.voluntary += 1;
                return;
            }
            SwitchState::Runnable | SwitchState::Preempted => {}
        }
        figures.switches.involuntary += 1;
        if yielded {
            figures.left.yielded += 1;
            return;
        }
        if switch.next.pid == 0 {
            figures.left.to_idle += 1;
            return;
        }
        match next_doing {
            Doing::Waiting { since_ns, woken: true, .. } if known && since_ns >= came_ns => {
                figures.left.preempted_by_wakeup += 1;
            }
            Doing::Waiting { joined_ns, .. } if known && joined_ns <= came_ns => {
                figures.left.slice_over += 1;
            }
            _ => figures.left.otherwise += 1,
        }
        self.rows.pair(row, next_row).preemptions += 1;
    }

    /// Events are missing: who ran before need not be who runs after.
    fn gap(&mut self, threads: &Threads, event: &Event, count: Option<u64>) {
        self.gaps += 1;
        self.lost_events = self.lost_events.saturating_add(count.unwrap_or(0));
        let cpu = event.cpu as usize;
        let (last_ns, current) = (self.cpus[cpu].last_event_ns, self.cpus[cpu].current);
        if last_ns > 0 {
            self.advance(threads, cpu, last_ns, current);
        }
        self.advance(threads, cpu, event.time_ns, None);
        self.cpus[cpu].current = None;
    }
}
