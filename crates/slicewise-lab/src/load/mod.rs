//! The load program: runs a Slicewise scenario with real threads.
//!
//! rt-app has no slices of one's own, no forks and no SCHED_IDLE; scenarios have. In the guest, the
//! lab's own binary reads the same scenario text that Slicewise simulates, so that there is one
//! description of the load and no second format. Work is a calibrated loop without system calls:
//! asking for one's CPU time would make the kernel account for the thread and so disturb what is
//! measured.

mod accounts;
mod snapshot;
mod spin;
mod thread;

pub(crate) use snapshot::snapshot;
pub(crate) use spin::calibrate;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::Builder;
use std::time::{Duration, Instant};

use slicewise_lab_sys::PiMutex;
use slicewise_machine::{Dist, MutexSpec, Op, TaskSpec, Workload};

use crate::failure::{Failure, Result};

/// How long after the calibration the load begins: every thread is there and sleeps by then.
/// No round number: a deadline thread's first period is over by then, and not at just that moment.
const LEAD: Duration = Duration::from_millis(137);
/// `comm` has 15 bytes; threads are found by it.
const STACK_BYTES: usize = 64 * 1024;

/// How long before the load's begin accounts are read: all threads of the load sleep then.
const BEFORE: Duration = Duration::from_millis(20);
/// How long an event is recorded that is recorded at the end only.
const LATE: Duration = Duration::from_millis(30);

/// When a load begins, and what is done at its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// When the load begins, by the monotonic clock; soon, if nothing is said.
    pub(crate) begin_ns: Option<u64>,
    /// Where the threads' accounts go, of shortly before the begin and of the end.
    pub(crate) accounts: Option<PathBuf>,
    /// A file that gets `1` after that, for a moment: an event's `enable`.
    pub(crate) late_event: Option<PathBuf>,
    /// A file that gets `0` at the end: `tracing_on`.
    pub(crate) stop_trace: Option<PathBuf>,
}

/// A barrier, a suspended thread's place, anything one waits at: a generation that moves on.
#[derive(Debug, Default)]
struct Gate {
    /// Generation, and how many have arrived in it.
    state: Mutex<(u64, u32)>,
    moved: Condvar,
}

/// A mutex of the load: guards are kept over steps, so that they live as long as the process.
#[derive(Clone, Copy, Debug)]
enum Lock {
    Plain(&'static Mutex<()>),
    /// Its owner inherits the priority of who waits.
    Inheriting(&'static PiMutex),
}

impl Lock {
    fn of(spec: &MutexSpec) -> Result<Self> {
        if !spec.inherits {
            return Ok(Self::Plain(Box::leak(Box::new(Mutex::new(())))));
        }
        let mutex = PiMutex::leaked();
        let mutex = mutex.map_err(|error| Failure::new(format!("cannot make a mutex: {error}")))?;
        Ok(Self::Inheriting(mutex))
    }
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    workload: Workload,
    /// Turns of the loop that take 1 ms.
    turns_per_ms: u64,
    begin: Instant,
    mutexes: Vec<Lock>,
    conditions: Vec<Condvar>,
    barriers: Vec<Gate>,
    /// By task.
    suspended: Vec<Gate>,
}

/// Runs the tasks of a workload for a while, as threads of this process: all, or those of one group
/// (`/` is the root). What turns of the loop take is measured, unless it is given.
pub(crate) fn run(
    workload: Workload,
    duration: Duration,
    group: Option<&str>,
    turns_per_ms: Option<u64>,
    ending: Ending,
) -> Result<()> {
    refuse(&workload)?;
    let begin = ending.begin_ns.map_or_else(|| Instant::now() + LEAD, accounts::instant);
    slicewise_lab_sys::ignore_sigxcpu();
    let turns_per_ms = turns_per_ms.unwrap_or_else(spin::calibrate);
    let wanted = |task: &TaskSpec| {
        let of = task.group.and_then(|at| workload.groups.get(at as usize));
        let path = of.map_or("", |group| &group.path);
        group.is_none_or(|group| group.trim_matches('/') == path)
    };
    let wanted: Vec<bool> = workload.tasks.iter().map(wanted).collect();
    let shared = Arc::new(Shared {
        turns_per_ms,
        begin,
        mutexes: workload.mutexes.iter().map(Lock::of).collect::<Result<_>>()?,
        conditions: workload.conditions.iter().map(|_| Condvar::new()).collect(),
        barriers: workload.barriers.iter().map(|_| Gate::default()).collect(),
        suspended: workload.tasks.iter().map(|_| Gate::default()).collect(),
        workload,
    });
    for (index, task) in shared.workload.tasks.iter().enumerate() {
        if wanted[index] && !task.template {
            start(&shared, index, task)?;
        }
    }
    if ending.stop_trace.is_some() || ending.accounts.is_some() {
        return end(ending, shared.begin, duration);
    }
    spin::sleep_until(shared.begin + duration);
    // Threads end with the process, wherever they are.
    Ok(())
}

/// Reads accounts and ends the recording and the process, from a thread that nobody of the load but
/// deadline tasks can keep waiting. Not this one: what it did before belongs to the fair class.
fn end(ending: Ending, begin: Instant, duration: Duration) -> Result<()> {
    let Ending { stop_trace, accounts, late_event, .. } = ending;
    let open = |path: PathBuf| {
        let file = OpenOptions::new().write(true).open(&path);
        file.map_err(|error| Failure::file("write", &path, &error))
    };
    let mut stop = stop_trace.map(open).transpose()?;
    let mut late = late_event.map(open).transpose()?;
    let watch = Builder::new().name("watch".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        thread::set_highest();
        let before = accounts.as_ref().map(|_| {
            spin::sleep_until(begin.checked_sub(BEFORE).unwrap_or(begin));
            accounts::read()
        });
        spin::sleep_until(begin + duration);
        if let (Some(path), Some(before)) = (accounts, before) {
            let text = format!("== before\n{before}== after\n{}", accounts::read());
            if let Err(error) = std::fs::write(&path, text) {
                thread::complain(&Failure::file("write", &path, &error).to_string());
            }
        }
        if let Some(file) = &mut late {
            let _ = file.write_all(b"1");
            spin::sleep(LATE);
        }
        if let Some(file) = &mut stop {
            let _ = file.write_all(b"0");
        }
        std::process::exit(0)
    });
    let watch = watch.map_err(|error| Failure::new(format!("cannot make a thread: {error}")))?;
    watch.join().map_err(|_| Failure::new("the thread that ends the recording failed"))
}

/// Makes a thread for a task.
fn start(shared: &Arc<Shared>, index: usize, task: &TaskSpec) -> Result<()> {
    let own = Arc::clone(shared);
    Builder::new()
        .name(task.name.clone())
        .stack_size(STACK_BYTES)
        .spawn(move || thread::run(&own, index))
        .map(drop)
        .map_err(|error| Failure::new(format!("cannot make a thread for {}: {error}", task.name)))
}

/// What this program cannot do.
fn refuse(workload: &Workload) -> Result<()> {
    let cannot = |what: &str| {
        Err(Failure::with_help(
            format!("the load program cannot do {what}"),
            "it knows run, spin, sleep, timer, locks, conditions, barriers, suspend, resume, \
             yield, fork, set, loop and exit, with constant durations",
        ))
    };
    for op in workload.programs.iter().flat_map(|program| &program.ops) {
        match op {
            Op::Run { work: dist, .. }
            | Op::RunUntil { elapsed: dist }
            | Op::Sleep { duration: dist }
                if !matches!(dist, Dist::Constant(_)) =>
            {
                return cannot("random durations");
            }
            Op::Receive(_) | Op::Serve | Op::Reply => return cannot("request queues"),
            Op::Submit { .. } | Op::Synchronize(_) => return cannot("devices"),
            Op::Wait { mutex, .. } if workload.mutexes[*mutex as usize].inherits => {
                return cannot("conditions with mutexes that inherit");
            }
            _ => {}
        }
    }
    if workload.timers.iter().any(|timer| timer.shared) {
        return cannot("timers that tasks share");
    }
    Ok(())
}
