//! Scheduling delay by task: what `perf sched latency` prints.
//!
//! A delay begins with the wakeup, or when the task is taken off its CPU though it could go on, and ends when
//! it has a CPU again (perf-sched(1)). Run time is what `sched_stat_runtime` charges.

use serde::Serialize;
use slicewise_ftrace::{Event, Kind, SwitchState};

use crate::rules::Rules;
use crate::threads::{ThreadId, Threads};

/// By what tasks are sorted; more of it comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SortKey {
    /// Mean delay.
    Average,
    /// Longest delay.
    Max,
    /// Times it got a CPU after a delay.
    Switches,
    /// Time on CPUs.
    Runtime,
}

impl SortKey {
    /// The order that counts if nobody says otherwise.
    pub const DEFAULT: [Self; 4] = [Self::Average, Self::Max, Self::Switches, Self::Runtime];

    /// `avg`, `max`, `switch`, `runtime`.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "avg" => Self::Average,
            "max" => Self::Max,
            "switch" | "switches" => Self::Switches,
            "runtime" => Self::Runtime,
            _ => return None,
        })
    }
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LatencyOptions {
    /// What counts as a delay.
    pub rules: Rules,
    /// Each task by itself, and not those of one name together.
    pub by_pid: bool,
    /// Only delays that end on this CPU, and run time there.
    pub cpu: Option<u32>,
    /// The order of rows.
    pub sort: Vec<SortKey>,
}

impl Default for LatencyOptions {
    fn default() -> Self {
        Self { rules: Rules::All, by_pid: false, cpu: None, sort: SortKey::DEFAULT.to_vec() }
    }
}

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Doing {
    /// Nothing is known of it yet.
    #[default]
    Unknown,
    /// It sleeps since then.
    Sleeping { since_ns: u64 },
    /// It waits for a CPU since then.
    Waiting { since_ns: u64 },
    /// It has got its CPU.
    Ran,
}

/// A task's sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sums {
    is_known: bool,
    doing: Doing,
    runtime_ns: u64,
    delays: u64,
    delay_ns: u64,
    max: Longest,
}

/// The longest delay.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug, Default)]
pub struct Longest {
    /// How long.
    pub delay_ns: u64,
    /// When it began.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
}

/// A row: a task, or all of one name.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct LatencyRow {
    /// Its name.
    pub comm: String,
    /// Its number, of one of them if there are several.
    pub pid: i32,
    /// How many tasks it is.
    pub tasks: u64,
    /// Time on CPUs.
    pub runtime_ns: u64,
    /// Delays that ended.
    pub delays: u64,
    /// Their sum.
    pub delay_ns: u64,
    /// The longest.
    pub max: Longest,
}

impl LatencyRow {
    /// The mean delay, ns.
    pub fn mean_ns(&self) -> u64 {
        self.delay_ns.checked_div(self.delays).unwrap_or(0)
    }

    fn key(&self, by: SortKey) -> u64 {
        match by {
            SortKey::Average => self.mean_ns(),
            SortKey::Max => self.max.delay_ns,
            SortKey::Switches => self.delays,
            SortKey::Runtime => self.runtime_ns,
        }
    }
}

/// All rows, and what was odd.
#[derive(Clone, PartialEq, Eq, Serialize, Debug, Default)]
pub struct LatencyReport {
    /// By task or by name, sorted.
    pub rows: Vec<LatencyRow>,
    /// Of all rows.
    pub total_runtime_ns: u64,
    /// Of all rows.
    pub total_delays: u64,
    /// Wakeups that were looked at.
    pub wakeups: u64,
    /// Wakeups before the sleep they end.
    pub unordered_wakeups: u64,
    /// Switches away from a task that was not the current one.
    pub context_switch_bugs: u64,
    /// Events that are missing, as far as it is known.
    pub lost_events: u64,
    /// Places where events are missing.
    pub lost_chunks: u64,
    /// Events in all.
    pub events: u64,
}

/// Takes in a trace.
#[derive(Clone, Debug)]
pub struct Latency {
    options: LatencyOptions,
    sums: Vec<Sums>,
    current: Vec<Option<i32>>,
    /// Wakeups are told by `sched_waking`; `sched_wakeup` is not looked at then.
    by_waking: bool,
    report: LatencyReport,
}

impl Latency {
    /// Nothing yet.
    pub fn new(options: LatencyOptions) -> Self {
        Self {
            options,
            sums: Vec::new(),
            current: Vec::new(),
            by_waking: false,
            report: LatencyReport::default(),
        }
    }

    /// Takes in an event; `threads` must have seen it.
    #[inline]
    pub fn event(&mut self, threads: &mut Threads, event: &Event) {
        let now_ns = event.time_ns;
        self.report.events += 1;
        match &event.kind {
            Kind::Switch(switch) => {
                let cpu = event.cpu as usize;
                if self.current.len() <= cpu {
                    self.current.resize(cpu + 1, None);
                }
                let bug = self.current[cpu].is_some_and(|current| current != switch.prev.pid);
                self.report.context_switch_bugs += u64::from(bug);
                self.current[cpu] = Some(switch.next.pid);
                let counts = self.counts(event.cpu);
                let runnable = match switch.prev_state {
                    SwitchState::Runnable => true,
                    SwitchState::Preempted => self.options.rules == Rules::All,
                    _ => false,
                };
                let prev = threads.of(&switch.prev);
                self.of(prev).leaves(now_ns, runnable);
                let next = threads.of(&switch.next);
                let sums = self.of(next);
                if sums.doing == Doing::Unknown {
                    // Not heard of before: it was waiting for an unknown time.
                    sums.leaves(now_ns, true);
                }
                sums.comes(now_ns, counts);
            }
            Kind::StatRuntime(stat) => {
                let counts = self.counts(event.cpu);
                let task = threads.find_or_add(stat.pid, -1);
                let sums = self.of(task);
                if sums.doing == Doing::Unknown {
                    sums.leaves(now_ns, true);
                }
                if counts {
                    sums.runtime_ns = sums.runtime_ns.saturating_add(stat.runtime_ns);
                }
            }
            Kind::Waking(wakeup) if self.options.rules == Rules::All => {
                self.by_waking = true;
                let task = threads.of(&wakeup.task);
                self.wakeup(task, now_ns);
            }
            Kind::Wakeup(wakeup) if !self.by_waking => {
                let task = threads.of(&wakeup.task);
                self.wakeup(task, now_ns);
            }
            Kind::WakeupNew(wakeup) => {
                let task = threads.of(&wakeup.task);
                self.wakeup(task, now_ns);
            }
            Kind::Lost(count) => {
                self.report.lost_chunks += 1;
                self.report.lost_events += count.unwrap_or(0);
            }
            _ => {}
        }
    }

    #[inline]
    fn of(&mut self, task: ThreadId) -> &mut Sums {
        let index = task.index();
        if self.sums.len() <= index {
            self.sums.resize(index + 1, Sums::default());
        }
        let sums = &mut self.sums[index];
        sums.is_known = true;
        sums
    }

    /// Whether what ends on this CPU counts.
    fn counts(&self, cpu: u32) -> bool {
        self.options.cpu.is_none_or(|only| only == cpu)
    }

    #[inline]
    fn wakeup(&mut self, task: ThreadId, now_ns: u64) {
        let sums = self.of(task);
        if sums.doing == Doing::Unknown {
            sums.doing = Doing::Sleeping { since_ns: now_ns };
        }
        // It may be woken while it is still on its CPU, or in a queue: then nothing begins.
        let Doing::Sleeping { since_ns } = sums.doing else { return };
        self.report.wakeups += 1;
        if since_ns > now_ns {
            self.report.unordered_wakeups += 1;
            return;
        }
        self.of(task).doing = Doing::Waiting { since_ns: now_ns };
    }

    /// The rows.
    pub fn report(&self, threads: &Threads) -> LatencyReport {
        let mut known: Vec<(usize, &Sums)> =
            self.sums.iter().enumerate().filter(|(_, sums)| sums.is_known).collect();
        known.sort_by_key(|(index, _)| (threads.all()[*index].tid, *index));
        let mut rows: Vec<LatencyRow> = Vec::new();
        let mut by_name: rustc_hash::FxHashMap<String, usize> = Default::default();
        for (index, sums) in known {
            let thread = &threads.all()[index];
            let row = LatencyRow {
                comm: thread.name(),
                pid: thread.tid,
                tasks: 1,
                runtime_ns: sums.runtime_ns,
                delays: sums.delays,
                delay_ns: sums.delay_ns,
                max: sums.max,
            };
            if !self.options.by_pid {
                let at = *by_name.entry(row.comm.clone()).or_insert(rows.len());
                if let Some(known) = rows.get_mut(at) {
                    known.tasks += 1;
                    known.runtime_ns = known.runtime_ns.saturating_add(row.runtime_ns);
                    known.delays += row.delays;
                    known.delay_ns += row.delay_ns;
                    if row.max.delay_ns > known.max.delay_ns {
                        known.max = row.max;
                    }
                    continue;
                }
            }
            rows.push(row);
        }
        // What is equal stays in the order of names, from the last, or of numbers.
        if !self.options.by_pid {
            rows.sort_by(|one, other| other.comm.cmp(&one.comm));
        }
        // Idle tasks do not wait, and who had no delay has no mean.
        rows.retain(|row| row.delays > 0 && row.comm != "swapper");
        rows.sort_by(|one, other| {
            let keys = |row: &LatencyRow| {
                self.options.sort.iter().map(|by| row.key(*by)).collect::<Vec<u64>>()
            };
            keys(other).cmp(&keys(one))
        });
        LatencyReport {
            total_runtime_ns: rows.iter().fold(0, |sum, row| sum.saturating_add(row.runtime_ns)),
            total_delays: rows.iter().map(|row| row.delays).sum(),
            rows,
            ..self.report.clone()
        }
    }
}

impl Sums {
    #[inline]
    fn leaves(&mut self, now_ns: u64, runnable: bool) {
        self.doing = match runnable {
            true => Doing::Waiting { since_ns: now_ns },
            false => Doing::Sleeping { since_ns: now_ns },
        };
    }

    #[inline]
    fn comes(&mut self, now_ns: u64, counts: bool) {
        let Doing::Waiting { since_ns } = self.doing else { return };
        self.doing = Doing::Ran;
        let Some(delay_ns) = now_ns.checked_sub(since_ns).filter(|_| counts) else { return };
        self.delays += 1;
        self.delay_ns += delay_ns;
        if delay_ns > self.max.delay_ns {
            self.max = Longest { delay_ns, start_ns: since_ns, end_ns: now_ns };
        }
    }
}
