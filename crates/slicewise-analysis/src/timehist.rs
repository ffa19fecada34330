//! Every switch with what came before it: what `perf sched timehist` prints.
//!
//! A line stands for the run of a task that just ended on its CPU: how long it ran, how long it had been
//! runnable before (`sch delay`), and how long before that it was off its CPU (`wait time`), as perf-sched(1)
//! has it.

mod line;
mod summary;

use std::io::{self, Write};
use std::ops::RangeInclusive;

use slicewise_ftrace::{Event, Kind, Switch, SwitchState};

use self::line::Line;
pub use self::summary::{TimehistSummary, TimehistTask};
use crate::rules::Rules;
use crate::threads::{ThreadId, Threads};

/// Columns for a task's name and numbers, at least.
const TASK_COLUMNS: usize = 30;

/// What to print, with `perf`'s names of the options.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TimehistOptions {
    /// What counts as a delay.
    pub rules: Rules,
    /// `-w`: wakeups, too.
    pub wakeups: bool,
    /// `-M`: migrations, too.
    pub migrations: bool,
    /// `-n`: who comes next.
    pub next: bool,
    /// `-V`: a column for each CPU.
    pub cpu_visual: bool,
    /// `--state`: how the task left.
    pub state: bool,
    /// `-s`: no lines, only the summary.
    pub summary_only: bool,
    /// Only from then, ns.
    pub from_ns: Option<u64>,
    /// Only up to then, ns.
    pub to_ns: Option<u64>,
    /// Only these CPUs.
    pub cpus: Option<Vec<RangeInclusive<u32>>>,
    /// Only tasks of these names; of these processes; with these numbers.
    pub comms: Vec<String>,
    /// See `comms`.
    pub pids: Vec<i32>,
    /// See `comms`.
    pub tids: Vec<i32>,
}

/// What is known of a task.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Past {
    /// Since when it is runnable, if it is.
    runnable_since_ns: Option<u64>,
    /// When it was last taken off a CPU, and with which letter.
    left: Option<(u64, u8)>,
    /// Of the run that ended last.
    run_ns: u64,
    delay_ns: u64,
    wait: Wait,
    /// Of all runs.
    runs: Runs,
    migrations: u64,
}

/// How long a task was off its CPU, by what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Wait {
    preempted_ns: u64,
    uninterruptible_ns: u64,
    asleep_ns: u64,
}

impl Wait {
    fn total_ns(self) -> u64 {
        self.preempted_ns + self.uninterruptible_ns + self.asleep_ns
    }
}

/// Figures of runs, as they come: mean and variance after Welford.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Runs {
    count: u64,
    total_ns: u64,
    min_ns: u64,
    max_ns: u64,
    mean: f64,
    squares: f64,
}

impl Default for Runs {
    fn default() -> Self {
        Self { count: 0, total_ns: 0, min_ns: u64::MAX, max_ns: 0, mean: 0.0, squares: 0.0 }
    }
}

impl Runs {
    #[inline]
    fn add(&mut self, ns: u64) {
        self.count += 1;
        self.total_ns += ns;
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        let off = ns as f64 - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (ns as f64 - self.mean);
    }

    /// The standard error of the mean, in per cent of it.
    fn deviation_percent(&self) -> f64 {
        if self.count < 2 || self.mean == 0.0 {
            return 0.0;
        }
        let variance = self.squares / (self.count - 1) as f64;
        100.0 * (variance / self.count as f64).sqrt() / self.mean
    }
}

/// Takes in a trace and prints it.
#[derive(Debug)]
pub struct Timehist<W> {
    options: TimehistOptions,
    out: W,
    line: Line,
    tasks: Vec<Past>,
    /// By CPU: its idle task, and the last switch there.
    idle: Vec<Past>,
    switched_at_ns: Vec<Option<u64>>,
    cpus_seen: u32,
    by_waking: bool,
    task_columns: usize,
    first_ns: Option<u64>,
    last_ns: u64,
    skipped: u64,
}

/// Whose run it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    Task(ThreadId),
    Idle(u32),
}

impl<W: Write> Timehist<W> {
    /// Nothing yet. `cpus` is how many there are, if the trace says so.
    pub fn new(options: TimehistOptions, cpus: Option<u32>, out: W) -> Self {
        Self {
            options,
            out,
            line: Line::default(),
            tasks: Vec::new(),
            idle: Vec::new(),
            switched_at_ns: Vec::new(),
            cpus_seen: cpus.unwrap_or(0),
            by_waking: false,
            task_columns: TASK_COLUMNS,
            first_ns: None,
            last_ns: 0,
            skipped: 0,
        }
    }

    /// Prints the head of the table.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(&mut self) -> io::Result<()> {
        if self.options.summary_only {
            return Ok(());
        }
        line::header(&self.options, self.cpus_seen, self.task_columns, &mut self.out)
    }

    /// Takes in an event; `threads` must have seen it.
    ///
    /// # Errors
    /// If a line cannot be written.
    #[inline]
    pub fn event(&mut self, threads: &mut Threads, event: &Event) -> io::Result<()> {
        self.cpus_seen = self.cpus_seen.max(event.cpu + 1);
        match &event.kind {
            Kind::Switch(switch) => self.switch(threads, event, switch),
            Kind::Waking(wakeup) => {
                self.by_waking = true;
                let task = threads.told(&wakeup.task);
                self.wakeup(threads, event, task)
            }
            Kind::Wakeup(wakeup) if !self.by_waking => {
                let task = threads.told(&wakeup.task);
                self.wakeup(threads, event, task)
            }
            Kind::WakeupNew(wakeup) => {
                let task = threads.told(&wakeup.task);
                self.wakeup(threads, event, task)
            }
            Kind::Migrate(migrate) if self.options.migrations => {
                let task = threads.told(&migrate.task);
                self.migration(threads, event, task, (migrate.from, migrate.to))
            }
            Kind::Lost(Some(lost)) => {
                if self.options.summary_only {
                    return Ok(());
                }
                let at = crate::perf_text::seconds(event.time_ns);
                writeln!(self.out, "{at:>15} lost {lost} events on cpu {}", event.cpu)
            }
            _ => Ok(()),
        }
    }

    fn switch(&mut self, threads: &mut Threads, event: &Event, switch: &Switch) -> io::Result<()> {
        let (cpu, t_ns) = (event.cpu as usize, event.time_ns);
        if self.switched_at_ns.len() <= cpu {
            self.switched_at_ns.resize(cpu + 1, None);
            self.idle.resize(cpu + 1, Past::default());
        }
        let next = threads.of(&switch.next);
        let whose = match switch.prev.pid {
            0 => Whose::Idle(event.cpu),
            _ => {
                let prev = threads.of(&switch.prev);
                // perf notes who ran when the record was made, and -1 for those at their end.
                Whose::Task(match (event.pid, event.tgid) {
                    (Some(tid), Some(tgid)) => threads.find_or_add(tid, tgid),
                    _ => prev,
                })
            }
        };
        let before_ns = self.switched_at_ns[cpu].replace(t_ns);
        if self.is_filtered(threads, whose) {
            self.skipped += 1;
            self.spans(t_ns);
            return Ok(());
        }
        let (from_ns, to_ns) = (self.options.from_ns, self.options.to_ns);
        let too_early = from_ns.is_some_and(|from| from > t_ns);
        let too_late = to_ns.zip(before_ns).is_some_and(|(to, before)| before > to);
        if !too_early && !too_late {
            // A run across the border counts as far as it is within.
            let before_ns = before_ns.map(|before| before.max(from_ns.unwrap_or(0)));
            let until_ns = to_ns.map_or(t_ns, |to| t_ns.min(to));
            let wanted = self.wants_cpu(event.cpu);
            let past = self.past(whose);
            if wanted {
                past.ran(until_ns, before_ns);
            }
            if wanted && !self.options.summary_only {
                self.print_switch(threads, event, until_ns, whose, (switch, next))?;
            }
        }
        self.spans(t_ns);
        let rules = self.options.rules;
        let (letter, begins) = (letter_of(rules, switch), rules == Rules::All);
        let past = self.past(whose);
        past.left = Some((t_ns, letter));
        past.runnable_since_ns = (letter == b'R' && begins).then_some(t_ns);
        Ok(())
    }

    /// The stretch that is looked at.
    fn spans(&mut self, t_ns: u64) {
        if self.first_ns.is_none() && self.options.from_ns.is_none_or(|from| t_ns >= from) {
            self.first_ns = Some(t_ns);
        }
        if self.options.to_ns.is_none_or(|to| t_ns <= to) {
            self.last_ns = t_ns;
        }
    }

    fn wakeup(&mut self, threads: &mut Threads, event: &Event, task: ThreadId) -> io::Result<()> {
        let past = self.past(Whose::Task(task));
        past.runnable_since_ns.get_or_insert(event.time_ns);
        if !self.options.wakeups || self.options.summary_only || !self.in_time(event.time_ns) {
            return Ok(());
        }
        let waker = self.current(threads, event);
        if self.is_filtered(threads, Whose::Task(waker))
            && self.is_filtered(threads, Whose::Task(task))
        {
            return Ok(());
        }
        self.print_wakeup(threads, event, waker, task)
    }

    fn migration(
        &mut self,
        threads: &mut Threads,
        event: &Event,
        task: ThreadId,
        way: (u32, u32),
    ) -> io::Result<()> {
        self.past(Whose::Task(task)).migrations += 1;
        if self.options.summary_only || !self.in_time(event.time_ns) {
            return Ok(());
        }
        let current = self.current(threads, event);
        if self.is_filtered(threads, Whose::Task(current))
            && self.is_filtered(threads, Whose::Task(task))
        {
            return Ok(());
        }
        self.print_migration(threads, event, current, task, way)
    }

    /// Who ran when a record was made.
    fn current(&self, threads: &mut Threads, event: &Event) -> ThreadId {
        threads.find_or_add(event.pid.unwrap_or(-1), event.tgid.unwrap_or(-1))
    }

    fn in_time(&self, t_ns: u64) -> bool {
        self.options.from_ns.is_none_or(|from| t_ns >= from)
            && self.options.to_ns.is_none_or(|to| t_ns <= to)
    }

    fn wants_cpu(&self, cpu: u32) -> bool {
        let within =
            |cpus: &Vec<RangeInclusive<u32>>| cpus.iter().any(|range| range.contains(&cpu));
        self.options.cpus.as_ref().is_none_or(within)
    }

    fn is_filtered(&self, threads: &Threads, whose: Whose) -> bool {
        let options = &self.options;
        if options.comms.is_empty() && options.pids.is_empty() && options.tids.is_empty() {
            return false;
        }
        let Whose::Task(task) = whose else { return true };
        let thread = &threads[task];
        let named = |comms: &[String]| comms.is_empty() || comms.contains(&thread.name());
        let among = |list: &[i32], id: i32| list.is_empty() || list.contains(&id);
        !(named(&options.comms)
            && among(&options.pids, thread.tgid)
            && among(&options.tids, thread.tid))
    }

    #[inline]
    fn past(&mut self, whose: Whose) -> &mut Past {
        match whose {
            Whose::Idle(cpu) => &mut self.idle[cpu as usize],
            Whose::Task(task) => {
                let index = task.index();
                if self.tasks.len() <= index {
                    self.tasks.resize(index + 1, Past::default());
                }
                &mut self.tasks[index]
            }
        }
    }

    /// The figures of all tasks.
    pub fn summary(&self, threads: &Threads) -> TimehistSummary {
        summary::of(self, threads)
    }

    /// Gives the output back.
    pub fn into_inner(self) -> W {
        self.out
    }
}

/// How a task left its CPU.
fn letter_of(rules: Rules, switch: &Switch) -> u8 {
    rules.letter(switch.prev_letter, switch.prev_state == SwitchState::Preempted)
}

impl Past {
    /// A run ends at `t_ns`; when it began, if that was seen.
    #[inline]
    fn ran(&mut self, t_ns: u64, before_ns: Option<u64>) {
        (self.run_ns, self.delay_ns, self.wait) = (0, 0, Wait::default());
        if let Some(before_ns) = before_ns {
            self.run_ns = t_ns.saturating_sub(before_ns);
            let since_ns = self.runnable_since_ns.unwrap_or(before_ns);
            self.delay_ns = before_ns.saturating_sub(since_ns);
            if let Some((left_ns, letter)) = self.left {
                let off_ns = before_ns.saturating_sub(left_ns);
                match letter {
                    b'R' => self.wait.preempted_ns = off_ns,
                    b'D' => self.wait.uninterruptible_ns = off_ns,
                    _ => self.wait.asleep_ns = off_ns,
                }
            }
        }
        self.runs.add(self.run_ns);
    }
}
