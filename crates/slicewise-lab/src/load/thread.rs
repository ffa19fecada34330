//! One thread: its attributes, then its program step by step.

use std::io::Write as _;
use std::num::NonZeroU64;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::thread::CpuSet as RealCpuSet;
use slicewise_lab_sys::{Deadline, ThreadAttr};
use slicewise_machine::{Dist, Op, TimerMode};
use slicewise_sched::{Attr, CpuId, CpuSet, Policy};

use super::{Gate, Lock, Shared, spin};

/// Where a thread is in its program.
struct Thread<'a> {
    shared: &'a Arc<Shared>,
    task: usize,
    began: Instant,
    /// Last expiries, by timer.
    timers: Vec<Option<Instant>>,
    guards: Vec<Option<MutexGuard<'static, ()>>>,
    /// Begin of the loop, turns left.
    loops: Vec<(usize, Option<u64>)>,
}

/// The thread's life.
pub(super) fn run(shared: &Arc<Shared>, task: usize) {
    let spec = &shared.workload.tasks[task];
    pin(&spec.affinity);
    // Sleeps of fair threads may end 50 us late otherwise, which nothing here is about.
    if let Err(error) = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN)) {
        complain(&format!("prctl: {error}"));
    }
    // Nothing is called for what threads have anyway: a call makes the scheduler take a thread off its
    // queue and put it back.
    if spec.attr != Attr::default() {
        set(spec.attr);
    }
    // Periods count from when the thread is to begin, however long it then waits for a CPU.
    let began = if spec.template {
        Instant::now()
    } else {
        let then = shared.begin + Duration::from_nanos(spec.start_ns);
        spin::sleep_until(then);
        then
    };
    let mut thread = Thread {
        shared,
        task,
        began,
        timers: vec![None; shared.workload.timers.len()],
        guards: shared.workload.mutexes.iter().map(|_| None).collect(),
        loops: Vec::new(),
    };
    let ops = &shared.workload.programs[spec.program as usize].ops;
    let mut at = 0;
    while let Some(next) = ops.get(at).and_then(|op| thread.step(op, at)) {
        at = next;
    }
}

impl Thread<'_> {
    /// Does a step; which comes next, `None` at the end.
    fn step(&mut self, op: &Op, at: usize) -> Option<usize> {
        let shared = self.shared;
        match op {
            Op::Run { work, .. } => {
                spin::turns(nanoseconds(work) * shared.turns_per_ms / 1_000_000)
            }
            Op::RunUntil { elapsed } => {
                let end = Instant::now() + Duration::from_nanos(nanoseconds(elapsed));
                // The clock is read without a system call.
                while Instant::now() < end {
                    spin::turns(shared.turns_per_ms / 1_000);
                }
            }
            Op::RunForever => loop {
                spin::turns(u64::MAX);
            },
            Op::Sleep { duration } => spin::sleep(Duration::from_nanos(nanoseconds(duration))),
            Op::Timer { timer, period_ns, mode } => self.timer(*timer, *period_ns, *mode),
            Op::Lock(mutex) => match shared.mutexes[*mutex as usize] {
                Lock::Plain(plain) => {
                    let guard = plain.lock().unwrap_or_else(PoisonError::into_inner);
                    self.guards[*mutex as usize] = Some(guard);
                }
                Lock::Inheriting(inheriting) => done("lock", inheriting.lock()),
            },
            Op::Unlock(mutex) => match shared.mutexes[*mutex as usize] {
                Lock::Plain(_) => self.guards[*mutex as usize] = None,
                Lock::Inheriting(inheriting) => done("unlock", inheriting.unlock()),
            },
            Op::Wait { condition, mutex } => {
                let guard = self.guards[*mutex as usize].take()?;
                let guard = shared.conditions[*condition as usize].wait(guard);
                self.guards[*mutex as usize] = Some(guard.unwrap_or_else(PoisonError::into_inner));
            }
            Op::Signal(condition) => shared.conditions[*condition as usize].notify_one(),
            Op::Broadcast(condition) => shared.conditions[*condition as usize].notify_all(),
            Op::Barrier(barrier) => {
                let parties = shared.workload.barriers[*barrier as usize].parties;
                shared.barriers[*barrier as usize].meet(parties);
            }
            Op::Suspend => shared.suspended[self.task].wait(),
            Op::Resume(task) => shared.suspended[*task as usize].open(),
            Op::Yield => std::thread::yield_now(),
            Op::Fork(task) => {
                let index = *task as usize;
                if let Err(failure) = super::start(shared, index, &shared.workload.tasks[index]) {
                    complain(&failure.to_string());
                }
            }
            Op::SetAttr(attr) => set(*attr),
            Op::SetAffinity(cpus) => pin(cpus),
            Op::LoopBegin { count: Some(0), end } => return Some(*end as usize + 1),
            Op::LoopBegin { count, .. } => self.loops.push((at, *count)),
            Op::LoopEnd { .. } => {
                let (begin, left) = self.loops.last_mut()?;
                match left {
                    Some(1) => {
                        self.loops.pop();
                    }
                    Some(left) => {
                        *left -= 1;
                        return Some(*begin + 1);
                    }
                    None => return Some(*begin + 1),
                }
            }
            Op::LogBegin | Op::LogEnd { .. } => {}
            // What is left was refused before any thread began.
            _ => return None,
        }
        Some(at + 1)
    }

    /// As in the simulated machine: the first period begins with the thread; who comes too late
    /// does not sleep, and in relative mode starts a new period.
    fn timer(&mut self, timer: u32, period_ns: u64, mode: TimerMode) {
        let last = &mut self.timers[timer as usize];
        let expiry = last.unwrap_or(self.began) + Duration::from_nanos(period_ns);
        let now = Instant::now();
        *last = Some(if now > expiry && mode == TimerMode::Relative { now } else { expiry });
        spin::sleep_until(expiry);
    }
}

impl Gate {
    /// Waits until all parties are here.
    fn meet(&self, parties: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        if state.1 >= parties {
            *state = (state.0 + 1, 0);
            drop(state);
            self.moved.notify_all();
            return;
        }
        let generation = state.0;
        while state.0 == generation {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until it is opened. An opening that came before is lost.
    fn wait(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = state.0;
        while state.0 == generation {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets those go who wait.
    fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 += 1;
        self.moved.notify_all();
    }
}

/// Constant, or it was refused.
fn nanoseconds(dist: &Dist) -> u64 {
    match dist {
        Dist::Constant(value_ns) => *value_ns,
        _ => 0,
    }
}

/// This thread comes before all others but deadline threads.
pub(super) fn set_highest() {
    let attr = ThreadAttr {
        policy: 1,
        nice: 0,
        priority: 99,
        slice_ns: 0,
        reset_on_fork: false,
        deadline: None,
    };
    if let Err(error) = slicewise_lab_sys::set_own_attr(attr) {
        complain(&format!("sched_setattr: {error}"));
    }
}

/// Attributes of this thread.
fn set(attr: Attr) {
    let policy = match attr.policy {
        Policy::Normal => 0,
        Policy::Fifo(_) => 1,
        Policy::Rr(_) => 2,
        Policy::Batch => 3,
        Policy::Idle => 5,
        Policy::Deadline(_) => 6,
        Policy::Stop => return complain("no thread can be of the stop class"),
    };
    let result = slicewise_lab_sys::set_own_attr(ThreadAttr {
        policy,
        nice: i32::from(attr.nice.get()),
        priority: attr.policy.rt_priority().map_or(0, |priority| u32::from(priority.get())),
        slice_ns: attr.slice_ns.unwrap_or(0),
        reset_on_fork: attr.reset_on_fork,
        deadline: match attr.policy {
            Policy::Deadline(params) => Some(Deadline {
                runtime_ns: params.runtime_ns,
                deadline_ns: params.deadline_ns,
                period_ns: params.period_ns,
                reclaim: params.reclaim,
                overrun_signal: params.overrun_signal,
            }),
            _ => None,
        },
    });
    if let Err(error) = result {
        complain(&format!("sched_setattr: {error}"));
    }
}

/// Pins this thread.
fn pin(cpus: &CpuSet) {
    if *cpus == CpuSet::All {
        return;
    }
    let mut real = RealCpuSet::new();
    for cpu in (0..RealCpuSet::MAX_CPU).filter(|cpu| cpus.contains(CpuId(*cpu as u32))) {
        real.set(cpu);
    }
    if let Err(error) = rustix::thread::sched_setaffinity(None, &real) {
        complain(&format!("sched_setaffinity: {error}"));
    }
}

fn done(what: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        complain(&format!("{what}: {error}"));
    }
}

pub(super) fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "load: {message}");
}
