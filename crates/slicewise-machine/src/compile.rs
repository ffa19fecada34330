//! Checks a workload and turns its programs into flat steps the interpreter can copy.

use slicewise_sched::{Attr, CpuSet};

use crate::{Dist, Mode, Op, SetupError, TimerMode, Workload};

/// A duration as a step has it: small, and constants at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    Constant(u64),
    /// Index in [`Code::dists`].
    Random(u32),
}

/// [`Op`] with everything big moved out. Indices are absolute: a place in [`Code::steps`], a wait
/// queue, a device.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Run {
        work: Draw,
        kernel: bool,
    },
    RunUntil {
        elapsed: Draw,
    },
    RunForever,
    Sleep {
        duration: Draw,
    },
    Timer {
        timer: u32,
        absolute: bool,
        shared: bool,
        period_ns: u64,
    },
    Lock(u32),
    Unlock(u32),
    Wait {
        condition: u32,
        mutex: u32,
    },
    Signal(u32),
    Broadcast(u32),
    Barrier(u32),
    SleepUntil {
        at_ns: u64,
    },
    SemWait(u32),
    SemPost(u32),
    Suspend,
    Resume(u32),
    Yield,
    Fork(u32),
    Receive(u32),
    Serve,
    Reply,
    Submit {
        device: u32,
        work: Draw,
    },
    Synchronize(u32),
    SetAttr(u32),
    SetAffinity(u32),
    LoopBegin {
        count: u64,
        end: u32,
    },
    LoopEnd {
        begin: u32,
    },
    /// The begin of a loop without end: nothing has to be counted.
    LoopForever,
    /// The end of a loop without end.
    Again {
        to: u32,
    },
    LogBegin,
    LogEnd {
        cumulative_slack: bool,
    },
    Exit,
}

/// All programs of a workload, ready to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    /// The programs, one after the other, each ended by an `Exit`.
    pub(crate) steps: Vec<Step>,
    /// Where each program begins in `steps`.
    pub(crate) entries: Vec<u32>,
    /// Whether each program replies to requests: then only replies end jobs.
    pub(crate) replies: Vec<bool>,
    pub(crate) dists: Vec<Dist>,
    pub(crate) attrs: Vec<Attr>,
    pub(crate) affinities: Vec<CpuSet>,
}

impl Code {
    /// Checks everything that could go wrong later, for a machine of this many CPUs. Without
    /// `logs`, the steps that only write logs are left out.
    pub(crate) fn new(workload: &Workload, cpus: u32, logs: bool) -> Result<Self, SetupError> {
        check_objects(workload)?;
        check_tasks(workload, cpus)?;
        let mut code = Self::default();
        for (program, ops) in workload.programs.iter().map(|program| &program.ops).enumerate() {
            let fault = |step, what| SetupError::Step { program, step, what };
            check_loops(ops).map_err(|(step, what)| fault(step, what))?;
            let entry = u32::try_from(code.steps.len() + ops.len())
                .map(|_| code.steps.len() as u32)
                .map_err(|_| SetupError::TooMany("steps"))?;
            code.entries.push(entry);
            code.replies.push(ops.iter().any(|op| matches!(op, Op::Reply)));
            let kept = |op: &Op| logs || !matches!(op, Op::LogBegin | Op::LogEnd { .. });
            let mut places = Vec::with_capacity(ops.len());
            let mut next = entry;
            for op in ops {
                places.push(next);
                next += u32::from(kept(op));
            }
            for (index, op) in ops.iter().enumerate() {
                check_op(op, workload, cpus).map_err(|what| fault(index, what))?;
                if kept(op) {
                    let step = code.step(op, ops, &places, workload);
                    code.steps.push(step);
                }
            }
            code.steps.push(Step::Exit);
        }
        Ok(code)
    }

    fn step(&mut self, op: &Op, ops: &[Op], places: &[u32], workload: &Workload) -> Step {
        match op {
            Op::Run { work, mode } => {
                Step::Run { work: self.draw(work), kernel: *mode == Mode::Kernel }
            }
            Op::RunUntil { elapsed } => Step::RunUntil { elapsed: self.draw(elapsed) },
            Op::RunForever => Step::RunForever,
            Op::Sleep { duration } => Step::Sleep { duration: self.draw(duration) },
            Op::Timer { timer, period_ns, mode } => Step::Timer {
                timer: *timer,
                period_ns: *period_ns,
                absolute: *mode == TimerMode::Absolute,
                shared: workload.timers[*timer as usize].shared,
            },
            Op::Lock(mutex) => Step::Lock(*mutex),
            Op::Unlock(mutex) => Step::Unlock(*mutex),
            Op::Wait { condition, mutex } => Step::Wait { condition: *condition, mutex: *mutex },
            Op::Signal(condition) => Step::Signal(*condition),
            Op::Broadcast(condition) => Step::Broadcast(*condition),
            Op::Barrier(barrier) => Step::Barrier(*barrier),
            Op::SleepUntil { at_ns } => Step::SleepUntil { at_ns: *at_ns },
            Op::SemWait(semaphore) => Step::SemWait(*semaphore),
            Op::SemPost(semaphore) => Step::SemPost(*semaphore),
            Op::Suspend => Step::Suspend,
            Op::Resume(spec) => Step::Resume(*spec),
            Op::Yield => Step::Yield,
            Op::Fork(spec) => Step::Fork(*spec),
            Op::Receive(queue) => Step::Receive(*queue),
            Op::Serve => Step::Serve,
            Op::Reply => Step::Reply,
            Op::Submit { device, work } => Step::Submit { device: *device, work: self.draw(work) },
            Op::Synchronize(device) => Step::Synchronize(*device),
            Op::SetAttr(attr) => {
                self.attrs.push(*attr);
                Step::SetAttr(self.attrs.len() as u32 - 1)
            }
            Op::SetAffinity(affinity) => {
                self.affinities.push(affinity.clone());
                Step::SetAffinity(self.affinities.len() as u32 - 1)
            }
            Op::LoopBegin { count: Some(count), end } => {
                Step::LoopBegin { count: *count, end: places[*end as usize] }
            }
            Op::LoopBegin { count: None, .. } => Step::LoopForever,
            Op::LoopEnd { begin } => match ops.get(*begin as usize) {
                Some(Op::LoopBegin { count: None, .. }) => {
                    Step::Again { to: places[*begin as usize] + 1 }
                }
                _ => Step::LoopEnd { begin: places[*begin as usize] },
            },
            Op::LogBegin => Step::LogBegin,
            Op::LogEnd { cumulative_slack } => Step::LogEnd { cumulative_slack: *cumulative_slack },
            Op::Exit => Step::Exit,
        }
    }

    fn draw(&mut self, dist: &Dist) -> Draw {
        match dist {
            Dist::Constant(ns) => Draw::Constant(*ns),
            _ => {
                self.dists.push(dist.clone());
                Draw::Random(self.dists.len() as u32 - 1)
            }
        }
    }
}

fn check_objects(workload: &Workload) -> Result<(), SetupError> {
    let fault = |name: &str, what: &str| {
        Err(SetupError::Object { name: name.to_owned(), what: what.to_owned() })
    };
    if let Some(barrier) = workload.barriers.iter().find(|barrier| barrier.parties == 0) {
        return fault(&barrier.name, "a barrier needs at least one party");
    }
    if let Some(device) = workload.devices.iter().find(|device| device.depth == 0) {
        return fault(&device.name, "a device needs room for at least one submission");
    }
    for queue in &workload.queues {
        if let Some(what) = queue.interarrival.fault().or(queue.service.fault()) {
            return fault(&queue.name, what);
        }
    }
    Ok(())
}

fn check_tasks(workload: &Workload, cpus: u32) -> Result<(), SetupError> {
    for spec in &workload.tasks {
        let what = if spec.program as usize >= workload.programs.len() {
            "its program does not exist"
        } else if spec.affinity.count_within(cpus) == 0 {
            "none of the CPUs it may run on exists"
        } else {
            continue;
        };
        let (name, what) = (spec.name.clone(), what.to_owned());
        return Err(SetupError::Task { name, origin: spec.origin, what });
    }
    Ok(())
}

/// Loops must nest, and both ends must name each other.
fn check_loops(ops: &[Op]) -> Result<(), (usize, String)> {
    let mut open = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        match op {
            Op::LoopBegin { end, .. } => open.push((index, *end as usize)),
            Op::LoopEnd { begin } if open.pop() != Some((*begin as usize, index)) => {
                return Err((index, "this is not the end of the loop begun last".to_owned()));
            }
            _ => {}
        }
    }
    match open.pop() {
        Some((index, _)) => Err((index, "this loop has no end".to_owned())),
        None => Ok(()),
    }
}

fn check_op(op: &Op, workload: &Workload, cpus: u32) -> Result<(), String> {
    let below = |index: u32, list: usize, what: &str| {
        if (index as usize) < list { Ok(()) } else { Err(format!("{what} {index} does not exist")) }
    };
    let sound = |dist: &Dist| dist.fault().map_or(Ok(()), |what| Err(what.to_owned()));
    match op {
        Op::Run { work: dist, .. }
        | Op::RunUntil { elapsed: dist }
        | Op::Sleep { duration: dist } => sound(dist),
        Op::Timer { timer, .. } => below(*timer, workload.timers.len(), "timer"),
        Op::Lock(mutex) | Op::Unlock(mutex) => below(*mutex, workload.mutexes.len(), "mutex"),
        Op::Wait { condition, mutex } => {
            below(*mutex, workload.mutexes.len(), "mutex")?;
            below(*condition, workload.conditions.len(), "condition")
        }
        Op::Signal(condition) | Op::Broadcast(condition) => {
            below(*condition, workload.conditions.len(), "condition")
        }
        Op::Barrier(barrier) => below(*barrier, workload.barriers.len(), "barrier"),
        Op::SemWait(semaphore) | Op::SemPost(semaphore) => {
            below(*semaphore, workload.semaphores.len(), "semaphore")
        }
        Op::Resume(spec) => below(*spec, workload.tasks.len(), "task"),
        Op::Fork(spec) => below(*spec, workload.tasks.len(), "task"),
        Op::Receive(queue) => below(*queue, workload.queues.len(), "queue"),
        Op::Submit { device, work } => {
            sound(work)?;
            below(*device, workload.devices.len(), "device")
        }
        Op::Synchronize(device) => below(*device, workload.devices.len(), "device"),
        Op::SetAffinity(affinity) if affinity.count_within(cpus) == 0 => {
            Err("none of these CPUs exists".to_owned())
        }
        _ => Ok(()),
    }
}
