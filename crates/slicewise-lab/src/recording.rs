//! What a trace of a real kernel says about a case: who ran when, when ticks came, what else ran.

use std::collections::BTreeMap;
use std::path::Path;

use slicewise_ftrace::{Findings, Kind, Reader, SwitchState, TimerFunction};

use crate::TICK_NS;
use crate::failure::{Failure, Result};
use crate::figures::Figures;
use crate::truth::{Background, Conditions, Stint, Thread};

/// `comm` has 15 bytes.
const COMM_BYTES: usize = 15;
/// The simulation begins this long before the first thread of the case.
const LEAD_NS: u64 = 20_000_000;

/// Timers that expire so close together expire in one interrupt.
const COALESCED_NS: u64 = 5_000;

/// What a timer's interrupt wakes, it has woken by then.
const INTERRUPT_NS: u64 = 50_000;

/// After the last thread was made, all sleep by then.
const SETTLED_NS: u64 = 20_000_000;

/// A timer's wakeups are spread no further.
const JITTER_NS: u64 = 500_000;

/// A switch or a wakeup.
#[derive(Clone, Copy, Debug)]
enum What {
    Switch {
        prev: u32,
        voluntary: bool,
        dead: bool,
        next: u32,
    },
    /// If it came in or right after a timer's interrupt, when that began.
    Wakeup {
        pid: u32,
        interrupt_ns: Option<u64>,
    },
    /// A tick or a slice timer.
    Interrupt,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    now_ns: u64,
    cpu: u32,
    what: What,
}

/// A trace as far as it matters here.
#[derive(Debug)]
pub(crate) struct Recording {
    records: Vec<Record>,
    /// By pid: all names it had, and its kernel priority, both as last seen.
    tasks: BTreeMap<u32, (String, i32)>,
    /// The last tick of each CPU: early in a boot they come at other times.
    ticks_ns: BTreeMap<u32, u64>,
    pub(crate) findings: Findings,
}

/// What a recording says about a case.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) figures: Figures,
    pub(crate) conditions: Conditions,
    /// Where the window begins, by the trace's clock.
    pub(crate) begin_ns: u64,
}

/// What [`Recording::watch`] finds. Times are from the simulation's begin.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) conditions: Conditions,
    pub(crate) switches: Vec<Switched>,
}

/// Who ran; idle is nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ran {
    /// By its place in the list of names.
    Thread(usize),
    Other,
}

/// A CPU went from one to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switched {
    pub(crate) now_ns: u64,
    pub(crate) cpu: u32,
    pub(crate) prev: Option<Ran>,
    pub(crate) voluntary: bool,
    pub(crate) next: Option<Ran>,
}

/// What the names of a case's threads are.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    pub(crate) names: Vec<String>,
    /// By name: whether its threads are made by forks, on the way.
    pub(crate) templates: Vec<bool>,
    /// By name: the period of its timer, if it has one.
    pub(crate) periods_ns: Vec<Option<u64>>,
}

impl Groups {
    /// `hog` and `hog-3` are threads of `hog`; the kernel keeps 15 bytes of a name.
    pub(crate) fn of_comm(&self, comm: &str) -> Option<usize> {
        let cut = |name: &str| {
            let mut end = name.len().min(COMM_BYTES);
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name[..end].to_owned()
        };
        self.names.iter().position(|name| cut(name) == comm).or_else(|| {
            let (base, number) = comm.rsplit_once('-')?;
            number.parse::<u32>().ok()?;
            self.names.iter().position(|name| name == base)
        })
    }
}

/// Reads a trace.
pub(crate) fn read(path: &Path) -> Result<Recording> {
    let broken = |error: slicewise_ftrace::Error| {
        Failure::new(format!("cannot read {}: {error}", path.display()))
    };
    let mut reader = Reader::open(path).map_err(broken)?;
    let mut recording = Recording {
        records: Vec::new(),
        tasks: BTreeMap::new(),
        ticks_ns: BTreeMap::new(),
        findings: Findings::default(),
    };
    let mut timer_ticks_ns = BTreeMap::new();
    // By CPU: the last expiry of a timer with nothing but its own doings since.
    let mut interrupts_ns: BTreeMap<u32, u64> = BTreeMap::new();
    while let Some(event) = reader.next_event().map_err(broken)? {
        let now_ns = event.time_ns;
        let what = match &event.kind {
            Kind::Switch(switch) => {
                interrupts_ns.remove(&event.cpu);
                for task in [switch.prev, switch.next] {
                    recording.tasks.insert(task.pid as u32, (task.comm.to_text(), task.prio));
                }
                let asleep = matches!(switch.prev_state, SwitchState::Asleep(_));
                let dead = switch.prev_state == SwitchState::Dead;
                What::Switch {
                    prev: switch.prev.pid as u32,
                    voluntary: asleep || dead,
                    dead,
                    next: switch.next.pid as u32,
                }
            }
            Kind::Wakeup(wakeup) | Kind::WakeupNew(wakeup) => {
                let began = interrupts_ns.get(&event.cpu).copied();
                let interrupt_ns =
                    began.filter(|began_ns| now_ns.saturating_sub(*began_ns) <= INTERRUPT_NS);
                What::Wakeup { pid: wakeup.task.pid as u32, interrupt_ns }
            }
            Kind::HrtimerExpire(timer) => {
                interrupts_ns.insert(event.cpu, now_ns);
                if timer.function == TimerFunction::Tick {
                    timer_ticks_ns.insert(event.cpu, now_ns);
                }
                if timer.function == TimerFunction::Other {
                    continue;
                }
                What::Interrupt
            }
            Kind::Other(other) if &*other.name == "tick" => {
                recording.ticks_ns.insert(event.cpu, now_ns);
                continue;
            }
            _ => continue,
        };
        recording.records.push(Record { now_ns, cpu: event.cpu, what });
    }
    if recording.ticks_ns.is_empty() {
        recording.ticks_ns = timer_ticks_ns;
    }
    recording.findings = reader.findings().clone();
    Ok(recording)
}

impl Recording {
    /// The figures of a case, and the conditions it met. The window begins `warmup_ns` after the
    /// last thread that is there from the start has first run under its name, and ends with the
    /// trace.
    pub(crate) fn figures(
        &self,
        groups: &Groups,
        cpus: u32,
        warmup_ns: u64,
        tick_ns: u64,
    ) -> Option<Measured> {
        let threads = self.threads(groups);
        let from_start = || threads.values().filter(|thread| !groups.templates[thread.group]);
        let first_ns = from_start().map(|thread| thread.first_ns).min()?;
        let last_ns = from_start().map(|thread| thread.first_ns).max()?;
        let begin_ns = last_ns + warmup_ns;
        let end_ns = self.end_ns(|pid| {
            threads.get(&pid).is_some_and(|thread| !groups.templates[thread.group])
        })?;
        let origin_ns = first_ns.saturating_sub(LEAD_NS);
        let mut figures = Figures::new(&groups.names, begin_ns, end_ns);
        for (pid, thread) in &threads {
            figures.thread(*pid, thread.group);
        }
        for record in self.records.iter().take_while(|record| record.now_ns <= end_ns) {
            match record.what {
                What::Switch { prev, voluntary, next, .. } => {
                    figures.switch(record.now_ns, record.cpu as usize, prev, voluntary, next);
                }
                What::Wakeup { pid, interrupt_ns } => {
                    let waker = interrupt_ns.is_none().then_some(record.cpu as usize);
                    figures.wakeup(record.now_ns, pid, waker);
                }
                What::Interrupt => figures.interrupt(record.cpu as usize),
            }
        }
        figures.finish(end_ns);
        let phase_ns = |cpu: u32| {
            let tick = self.ticks_ns.get(&cpu)?;
            Some((tick + tick_ns - origin_ns % tick_ns) % tick_ns)
        };
        let tick_phase_ns = phase_ns(0).unwrap_or(0);
        let conditions = Conditions {
            tick_phase_ns,
            tick_skew_ns: phase_ns(1).map_or(0, |one| (one + tick_ns - tick_phase_ns) % tick_ns),
            begin_ns: begin_ns - origin_ns,
            end_ns: end_ns - origin_ns,
            threads: self.starts(groups, &threads, origin_ns, begin_ns),
            background: self.background(&threads, cpus, origin_ns),
        };
        Some(Measured { figures, conditions, begin_ns })
    }

    /// The conditions that threads of these names met, and all switches from the simulation's begin
    /// on, `lead_ns` before the first of them. The window is for the caller to set. Threads sleep
    /// from when they have been made until all are there.
    pub(crate) fn watch(&self, names: &[String], cpus: u32, lead_ns: u64) -> Option<Watched> {
        let groups = Groups {
            names: names.to_vec(),
            templates: vec![false; names.len()],
            periods_ns: vec![None; names.len()],
        };
        let threads = self.threads(&groups);
        let first_ns = threads.values().map(|thread| thread.first_ns).min()?;
        let last_ns = threads.values().map(|thread| thread.first_ns).max()?;
        let origin_ns = first_ns.saturating_sub(lead_ns);
        let phase_ns = |cpu: u32| {
            let tick = self.ticks_ns.get(&cpu)?;
            Some((tick + TICK_NS - origin_ns % TICK_NS) % TICK_NS)
        };
        let tick_phase_ns = phase_ns(0).unwrap_or(0);
        // By thread: when the interrupt began that woke it, and when it did.
        let woken = |pid: u32| {
            self.records.iter().find_map(|record| match record.what {
                What::Wakeup { pid: woken, interrupt_ns }
                    if woken == pid && record.now_ns > last_ns + SETTLED_NS =>
                {
                    Some((interrupt_ns.unwrap_or(record.now_ns), record.now_ns))
                }
                _ => None,
            })
        };
        let wakes: Vec<Option<(u64, u64)>> = threads.keys().map(|pid| woken(*pid)).collect();
        // Whom one interrupt wakes is awake before anyone gets the CPU: together, one behind the other.
        let together = |(began_ns, now_ns): (u64, u64)| {
            let before =
                wakes.iter().flatten().filter(|(began, now)| *began == began_ns && *now < now_ns);
            began_ns + before.count() as u64 - origin_ns
        };
        let slept_on = |pid: u32, until_ns: u64| {
            let before = self.records.iter().take_while(|record| record.now_ns < until_ns);
            let ran = before.filter(|record| {
                matches!(record.what, What::Switch { prev, next, .. } if [prev, next].contains(&pid))
            });
            ran.last().map(|record| record.cpu)
        };
        let starts = threads.iter().zip(&wakes).map(|((pid, found), wake)| Thread {
            group: names[found.group].clone(),
            start_ns: found.first_ns - origin_ns,
            woken_ns: wake.map(together),
            expiry_ns: None,
            slept_on: wake.and_then(|(began_ns, _)| slept_on(*pid, began_ns)),
        });
        let conditions = Conditions {
            tick_phase_ns,
            tick_skew_ns: phase_ns(1).map_or(0, |one| (one + TICK_NS - tick_phase_ns) % TICK_NS),
            begin_ns: 0,
            end_ns: self.records.last()?.now_ns - origin_ns,
            threads: starts.collect(),
            background: self.background(&threads, cpus, origin_ns),
        };
        let number = |pid: u32| match threads.get(&pid) {
            Some(found) => Some(Ran::Thread(found.group)),
            None => (pid != 0).then_some(Ran::Other),
        };
        let switches = self.records.iter().filter_map(|record| match record.what {
            What::Switch { prev, voluntary, next, .. } if record.now_ns >= origin_ns => {
                Some(Switched {
                    now_ns: record.now_ns - origin_ns,
                    cpu: record.cpu,
                    prev: number(prev),
                    voluntary,
                    next: number(next),
                })
            }
            _ => None,
        });
        Some(Watched { conditions, switches: switches.collect() })
    }

    /// When the recording ends, or the first thread that is there from the start: where real-time
    /// threads keep the script waiting, the load ends before the recording does.
    fn end_ns(&self, from_start: impl Fn(u32) -> bool) -> Option<u64> {
        let ended = self.records.iter().find(|record| {
            matches!(record.what, What::Switch { prev, dead: true, .. } if from_start(prev))
        });
        ended.or(self.records.last()).map(|record| record.now_ns)
    }

    /// The threads of the case: their group is that of the last name they had.
    fn threads(&self, groups: &Groups) -> BTreeMap<u32, Found> {
        let mut threads: BTreeMap<u32, Found> = BTreeMap::new();
        let ours: BTreeMap<u32, usize> = self
            .tasks
            .iter()
            .filter_map(|(pid, (comm, _))| Some((*pid, groups.of_comm(comm)?)))
            .collect();
        for record in &self.records {
            let What::Switch { next, .. } = record.what else { continue };
            if let Some(group) = ours.get(&next) {
                threads.entry(next).or_insert(Found { group: *group, first_ns: record.now_ns });
            }
        }
        threads
    }

    /// When each thread that is there from the start began, and when its timer expires.
    fn starts(
        &self,
        groups: &Groups,
        threads: &BTreeMap<u32, Found>,
        origin_ns: u64,
        begin_ns: u64,
    ) -> Vec<Thread> {
        let mut starts = Vec::new();
        for (pid, found) in threads.iter().filter(|(_, found)| !groups.templates[found.group]) {
            let wakeup = |record: &&Record| matches!(record.what, What::Wakeup { pid: woken, .. } if woken == *pid);
            let expiry_ns = groups.periods_ns[found.group].and_then(|period_ns| {
                // Wakeups are some microseconds late, more so where several timers expire in one
                // interrupt: the least late one says when the timer expires, and timers so close
                // together expire together.
                let late_ns = |woken_ns: u64| (woken_ns - found.first_ns) % period_ns;
                let in_window = self.records.iter().filter(|record| record.now_ns >= begin_ns);
                let first_ns = in_window.clone().find(wakeup)?.now_ns;
                let shift_ns = period_ns / 2 + period_ns - late_ns(first_ns);
                let mut shifted_ns: Vec<u64> = in_window
                    .filter(wakeup)
                    .map(|record| (late_ns(record.now_ns) + shift_ns) % period_ns)
                    .collect();
                shifted_ns.sort_unstable();
                // Some wakeups are not the timer's (the end of the load wakes everybody): only those
                // near the median count.
                let near_ns = shifted_ns[shifted_ns.len() / 2].saturating_sub(JITTER_NS);
                let least_ns = shifted_ns.into_iter().find(|shifted_ns| *shifted_ns >= near_ns)?;
                let phase_ns = (least_ns + 2 * period_ns - shift_ns) % period_ns;
                let expiry_ns = found.first_ns + phase_ns - origin_ns;
                Some(expiry_ns / COALESCED_NS * COALESCED_NS)
            });
            let woken =
                self.records.iter().filter(|record| record.now_ns > found.first_ns).find(wakeup);
            starts.push(Thread {
                group: groups.names[found.group].clone(),
                start_ns: found.first_ns - origin_ns,
                woken_ns: woken.map(|record| record.now_ns - origin_ns),
                expiry_ns,
                slept_on: None,
            });
        }
        starts
    }

    /// Everybody who is not of the case: when they were woken, and for how long they ran.
    fn background(
        &self,
        threads: &BTreeMap<u32, Found>,
        cpus: u32,
        origin_ns: u64,
    ) -> Vec<Background> {
        let mut others: BTreeMap<u32, Other> = BTreeMap::new();
        let mut running: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
        let is_other = |pid: u32| pid != 0 && !threads.contains_key(&pid);
        // The host has CPUs that are not the case's.
        let ours = |record: &&Record| record.now_ns >= origin_ns && record.cpu < cpus;
        for record in self.records.iter().filter(ours) {
            let now_ns = record.now_ns - origin_ns;
            match record.what {
                What::Wakeup { pid, interrupt_ns } if is_other(pid) => {
                    // The simulation's interrupts take no time: what one wakes, it wakes at once.
                    let began_ns = interrupt_ns.map(|began_ns| began_ns.saturating_sub(origin_ns));
                    others.entry(pid).or_default().woken(began_ns.unwrap_or(now_ns));
                }
                What::Wakeup { .. } | What::Interrupt => {}
                What::Switch { prev, voluntary, dead, next } => {
                    if is_other(prev) {
                        let other = others.entry(prev).or_default();
                        let since = running.remove(&record.cpu).filter(|(pid, _)| *pid == prev);
                        other.ran(since.map_or(0, |(_, since_ns)| now_ns - since_ns), record.cpu);
                        if voluntary || dead {
                            other.slept();
                        }
                    }
                    if is_other(next) {
                        others.entry(next).or_default().woken(now_ns);
                        running.insert(record.cpu, (next, now_ns));
                    }
                }
            }
        }
        // Who is still awake at the end has run, too.
        others.values_mut().for_each(Other::slept);
        others
            .into_iter()
            .filter(|(_, other)| !other.stints.is_empty())
            .map(|(pid, other)| {
                let (comm, prio) = self.tasks.get(&pid).cloned().unwrap_or_default();
                Background { comm, prio, cpus: other.cpus, stints: other.stints }
            })
            .collect()
    }
}

/// A thread of the case.
#[derive(Clone, Copy, Debug)]
struct Found {
    group: usize,
    first_ns: u64,
}

/// A task that is not of the case.
#[derive(Debug, Default)]
struct Other {
    awake: Option<Stint>,
    cpus: Vec<u32>,
    stints: Vec<Stint>,
}

impl Other {
    fn woken(&mut self, now_ns: u64) {
        self.awake.get_or_insert(Stint { woken_ns: now_ns, run_ns: 0 });
    }

    fn ran(&mut self, run_ns: u64, cpu: u32) {
        if let Some(stint) = &mut self.awake {
            stint.run_ns += run_ns;
        }
        if !self.cpus.contains(&cpu) {
            self.cpus.push(cpu);
        }
    }

    fn slept(&mut self) {
        self.stints.extend(self.awake.take().filter(|stint| stint.run_ns > 0));
    }
}
