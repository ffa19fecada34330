//! Brings the workload of another file into a scenario's: its indices and places move.

use std::ops::Range;

use slicewise_machine::{Op, Origin, Workload};

use crate::Parts;
use crate::draft::{OPS_MAX, TASKS_MAX};

/// Where the other file's things begin among those there already.
struct Base {
    tasks: u32,
    programs: u32,
    mutexes: u32,
    conditions: u32,
    barriers: u32,
    timers: u32,
    devices: u32,
    queues: u32,
    memories: u32,
    semaphores: u32,
}

impl Base {
    fn of(workload: &Workload) -> Self {
        Self {
            tasks: workload.tasks.len() as u32,
            programs: workload.programs.len() as u32,
            mutexes: workload.mutexes.len() as u32,
            conditions: workload.conditions.len() as u32,
            barriers: workload.barriers.len() as u32,
            timers: workload.timers.len() as u32,
            devices: workload.devices.len() as u32,
            queues: workload.queues.len() as u32,
            memories: workload.memories.len() as u32,
            semaphores: workload.semaphores.len() as u32,
        }
    }

    fn shift(&self, op: &mut Op) {
        match op {
            Op::Timer { timer, .. } => *timer += self.timers,
            Op::Lock(mutex) | Op::Unlock(mutex) => *mutex += self.mutexes,
            Op::Wait { condition, mutex } => {
                *condition += self.conditions;
                *mutex += self.mutexes;
            }
            Op::Signal(condition) | Op::Broadcast(condition) => *condition += self.conditions,
            Op::Barrier(barrier) => *barrier += self.barriers,
            Op::SemWait(semaphore) | Op::SemPost(semaphore) => *semaphore += self.semaphores,
            Op::Resume(task) | Op::Fork(task) => *task += self.tasks,
            Op::Receive(queue) => *queue += self.queues,
            Op::Submit { device, .. } | Op::Synchronize(device) => *device += self.devices,
            Op::Run { .. }
            | Op::RunUntil { .. }
            | Op::RunForever
            | Op::Sleep { .. }
            | Op::SleepUntil { .. }
            | Op::Suspend
            | Op::Yield
            | Op::Serve
            | Op::Reply
            | Op::SetAttr(_)
            | Op::SetAffinity(_)
            | Op::LoopBegin { .. }
            | Op::LoopEnd { .. }
            | Op::LogBegin
            | Op::LogEnd { .. }
            | Op::Exit => {}
        }
    }
}

/// A scenario that takes in other files.
pub(crate) struct Merge<'p> {
    into: &'p mut Parts,
    /// Threads of the files so far: they are numbered on, as the names of their logs say.
    threads: u32,
    /// Operations of all programs so far.
    ops: usize,
    /// The longest any of the files wants to run.
    duration_ns: Option<u64>,
}

impl<'p> Merge<'p> {
    pub(crate) fn new(into: &'p mut Parts) -> Self {
        let ops = operations(&into.workload);
        Self { into, threads: 0, ops, duration_ns: None }
    }

    /// Adds what another file holds: its tasks start in `group`, and its text begins at `start` of
    /// the space of offsets. Nothing it names is the same as anything of that name elsewhere: every
    /// file is a process of its own.
    ///
    /// # Errors
    /// If there would be more than a workload may have.
    pub(crate) fn add(&mut self, other: Parts, group: u32, start: usize) -> Result<(), String> {
        let Self { into, threads, ops, duration_ns } = self;
        let workload = &mut into.workload;
        if workload.tasks.len() + other.workload.tasks.len() > TASKS_MAX as usize {
            return Err(format!("with this file there are more than {TASKS_MAX} tasks"));
        }
        *ops += operations(&other.workload);
        if *ops > OPS_MAX {
            return Err(format!("with this file there are more than {OPS_MAX} operations"));
        }
        let base = Base::of(workload);
        let first_thread = *threads;
        for mut task in other.workload.tasks {
            task.program += base.programs;
            task.index += first_thread;
            task.group = Some(group);
            if let Some(shared) = task.memory.pages.as_mut().and_then(|it| it.shared.as_mut()) {
                *shared += base.memories;
            }
            task.origin = Origin { start: task.origin.start + start, end: task.origin.end + start };
            *threads += u32::from(!task.template);
            workload.tasks.push(task);
        }
        for mut program in other.workload.programs {
            program.ops.iter_mut().for_each(|op| base.shift(op));
            workload.programs.push(program);
        }
        workload.mutexes.extend(other.workload.mutexes);
        workload.conditions.extend(other.workload.conditions);
        workload.barriers.extend(other.workload.barriers);
        workload.semaphores.extend(other.workload.semaphores);
        workload.timers.extend(other.workload.timers);
        workload.devices.extend(other.workload.devices);
        workload.queues.extend(other.workload.queues);
        workload.memories.extend(other.workload.memories);
        workload.stuck_is_end |= other.workload.stuck_is_end;
        let moved = |span: Range<usize>| span.start + start..span.end + start;
        into.groups.extend(other.groups.into_iter().map(|mut tasks| {
            tasks.first += base.tasks;
            tasks
        }));
        into.affinities.extend(other.affinities.into_iter().map(|(set, span)| (set, moved(span))));
        into.slices.extend(other.slices.into_iter().map(moved));
        let settings = &mut into.settings;
        settings.log_basename = settings.log_basename.take().or(other.settings.log_basename);
        settings.rtapp_loop_ns = settings.rtapp_loop_ns.or(other.settings.rtapp_loop_ns);
        *duration_ns = (*duration_ns).max(other.settings.duration_ns);
        Ok(())
    }

    /// The run lasts as long as the longest of the files, unless the scenario says how long.
    pub(crate) fn finish(self) {
        let settings = &mut self.into.settings;
        settings.duration_ns = settings.duration_ns.or(self.duration_ns);
    }
}

fn operations(workload: &Workload) -> usize {
    workload.programs.iter().map(|program| program.ops.len()).sum()
}
