//! How tasks come and go.

use slicewise_sched::{CpuId, Nice, Spawn, TaskId};
use slicewise_trace::{Event, Left, Sink, Slot};

use crate::error::{Done, RunError};
use crate::machine::{Machine, TASKS_MAX};
use crate::rng::{Rng, Stream};
use crate::task::{NONE, Task, TaskDetail, Then};

impl<S: Sink> Machine<'_, S> {
    pub(crate) fn arm_starter(&mut self) {
        let next = self.starts.last().map(|spec| self.workload.tasks[*spec as usize].start_ns);
        // A start at the end of time never happens, but does not hold up the end of the run.
        self.events.arm(self.layout.starter as usize, next.unwrap_or(u64::MAX));
    }

    /// Starts all tasks whose time has come, before any of them executes its program.
    pub(crate) fn start_due(&mut self) -> Done {
        while let Some(spec) = self.starts.last().copied() {
            if self.workload.tasks[spec as usize].start_ns > self.now {
                break;
            }
            self.starts.pop();
            let rng = Rng::stream(self.seed, Stream::Task, u64::from(spec));
            self.spawn(spec, None, rng)?;
        }
        self.arm_starter();
        Ok(())
    }

    /// Makes a task from a template.
    pub(crate) fn fork(&mut self, parent: u32, spec: u32) -> Done {
        let forks = &mut self.forks[spec as usize];
        *forks += 1;
        let index = u64::from(spec) << 32 ^ *forks;
        self.spawn(spec, Some(parent), Rng::stream(self.seed, Stream::Fork, index))
    }

    pub(crate) fn spawn(&mut self, spec: u32, parent: Option<u32>, rng: Rng) -> Done {
        let template = &self.workload.tasks[spec as usize];
        if self.living >= TASKS_MAX || self.next_pid == u32::MAX {
            let (task, origin) = (template.name.clone(), template.origin);
            return Err(Box::new(RunError::TooManyTasks { task, origin, at_ns: self.now }));
        }
        let result = self.sched.spawn(
            self.now,
            Spawn {
                attr: template.attr,
                affinity: self.affinity_of(&template.affinity),
                parent: parent.map(|parent| self.tasks[parent as usize].id),
                cpu: None,
                group: template.group.and_then(|group| self.group_ids.get(group as usize).copied()),
            },
        );
        let id = result.map_err(|error| self.refused_to(spec, error))?;
        let cpu = self.sched.cpu_of(id).unwrap_or(CpuId(0));
        let pid = self.next_pid;
        self.next_pid += 1;
        self.living += 1;
        self.counts.spawned += 1;
        self.fill_slot(id, spec, pid, cpu.0, rng);
        let task = id.slot() as u32;
        let group = self.sched.group_of(id).ok().flatten();
        self.tasks[task as usize].group = group.map_or(NONE, |group| group.index() as u32);
        self.announce(task, parent.map(|_| spec));
        if self.pages.is_some() {
            self.pages_join(task, spec)?;
        }
        self.take_outputs();
        self.emit(Event::Wakeup { task: Slot(task), cpu, waker: parent.map(Slot), new: true });
        self.note_queued(cpu.0);
        self.flush_resched()
    }

    pub(crate) fn fill_slot(&mut self, id: TaskId, spec: u32, pid: u32, cpu: u32, rng: Rng) {
        let program = self.workload.tasks[spec as usize].program as usize;
        let (entry, replies) = (self.code.entries[program], self.code.replies[program]);
        let task = Task::new(id, cpu, entry, replies, self.now);
        let slot = id.slot();
        // Slots between are of groups: nobody ever lives in them.
        while self.tasks.len() <= slot {
            self.tasks.push(Task { alive: false, ..task.clone() });
            self.details.push(TaskDetail::new(spec, pid, rng.clone()));
            self.events.grow(self.layout.task(self.tasks.len() as u32) + 1);
        }
        self.tasks[slot] = task;
        if let Some(speed) = &mut self.speed {
            speed.add_task(slot, spec, self.workload);
        }
        self.details[slot].reset(spec, pid, rng);
    }

    /// Tells the sink who a task is.
    pub(crate) fn announce(&mut self, task: u32, forked_from: Option<u32>) {
        let (state, detail) = (&self.tasks[task as usize], &self.details[task as usize]);
        self.info.slot = Slot(task);
        self.info.pid = detail.pid;
        self.info.name.clone_from(&self.workload.tasks[detail.spec as usize].name);
        self.info.attr = self.sched.attr(state.id).unwrap_or_default();
        self.info.forked_from = forked_from;
        self.info.group = (state.group != NONE).then_some(state.group);
        let state = &mut self.tasks[task as usize];
        state.forked = forked_from.is_some();
        state.nice = self.info.attr.nice > Nice::default();
        self.sink.task(self.now, &self.info);
    }

    /// The running task of `cpu` begins to end; a kernel that preempts may take it off once more.
    pub(crate) fn begin_exit(&mut self, cpu: u32, task: u32) -> Done {
        self.end_job(task);
        let state = &mut self.tasks[task as usize];
        (state.kernel, state.then) = (true, Then::Exit);
        let begun = self.sched.begin_exit(self.now, CpuId(cpu));
        begun.map_err(|error| self.refused(error))?;
        self.take_outputs();
        Ok(())
    }

    /// The running task of `cpu` ends.
    pub(crate) fn exit(&mut self, cpu: u32, task: u32) -> Done {
        let id = self.tasks[task as usize].id;
        self.sched.exit(self.now, id).map_err(|error| self.refused(error))?;
        self.take_outputs();
        self.tasks[task as usize].alive = false;
        if self.signals {
            self.rttime_us.remove(&task);
        }
        if self.any_inherits {
            self.held.remove(&task);
        }
        if self.pages.is_some() {
            self.pages_leave(task);
        }
        self.switch(cpu, Left::Exited)?;
        self.living -= 1;
        self.counts.exited += 1;
        self.emit(Event::Exit { task: Slot(task) });
        Ok(())
    }
}
