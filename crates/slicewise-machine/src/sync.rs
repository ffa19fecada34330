//! Waiting for one another: wait queues, mutexes, condition variables, barriers, suspension.

use slicewise_trace::Sink;

use crate::error::{Done, Holder, RunError, Waiting, WaitsFor};
use crate::machine::Machine;
use crate::task::{NONE, Then};

/// Tasks that wait for the same thing, first come first served; linked through the tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitQueue {
    pub(crate) first: u32,
    last: u32,
    pub(crate) length: u32,
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self { first: NONE, last: NONE, length: 0 }
    }
}

/// Who holds a mutex. The process id tells a task that has exited from the next in its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    pub(crate) slot: u32,
    pub(crate) pid: u32,
    pub(crate) spec: u32,
}

/// Where the wait queues of each kind begin in the list of all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueMap {
    pub(crate) conditions: u32,
    pub(crate) barriers: u32,
    pub(crate) suspended: u32,
    pub(crate) receivers: u32,
    pub(crate) rooms: u32,
    pub(crate) syncs: u32,
    pub(crate) semaphores: u32,
    pub(crate) end: u32,
}

impl QueueMap {
    pub(crate) fn new(workload: &crate::Workload) -> Self {
        let mut end = workload.mutexes.len() as u32;
        let mut take = |count: usize| {
            let begin = end;
            end += count as u32;
            begin
        };
        let conditions = take(workload.conditions.len());
        let barriers = take(workload.barriers.len());
        let suspended = take(workload.tasks.len());
        let receivers = take(workload.queues.len());
        let rooms = take(workload.devices.len());
        let syncs = take(workload.devices.len());
        let semaphores = take(workload.semaphores.len());
        Self { conditions, barriers, suspended, receivers, rooms, syncs, semaphores, end }
    }
}

impl<S: Sink> Machine<'_, S> {
    /// Puts a task at the end of a wait queue.
    pub(crate) fn join(&mut self, queue: u32, task: u32) {
        let waiter = &mut self.tasks[task as usize];
        (waiter.next_waiter, waiter.waits_in) = (NONE, queue);
        let waiters = &mut self.waits[queue as usize];
        let last = core::mem::replace(&mut waiters.last, task);
        waiters.length += 1;
        if last == NONE {
            waiters.first = task;
        } else {
            self.tasks[last as usize].next_waiter = task;
        }
    }

    /// Puts a task into a wait queue behind another, or in front of all.
    pub(crate) fn join_after(&mut self, queue: u32, before: u32, task: u32) {
        let waiters = &mut self.waits[queue as usize];
        let next = match before {
            NONE => core::mem::replace(&mut waiters.first, task),
            before => core::mem::replace(&mut self.tasks[before as usize].next_waiter, task),
        };
        waiters.length += 1;
        if next == NONE {
            waiters.last = task;
        }
        let waiter = &mut self.tasks[task as usize];
        (waiter.next_waiter, waiter.waits_in) = (next, queue);
    }

    /// Takes the first task out of a wait queue.
    pub(crate) fn leave_first(&mut self, queue: u32) -> Option<u32> {
        let waiters = &mut self.waits[queue as usize];
        let task = waiters.first;
        if task == NONE {
            return None;
        }
        let waiter = &mut self.tasks[task as usize];
        waiter.waits_in = NONE;
        waiters.first = waiter.next_waiter;
        waiters.length -= 1;
        if waiters.first == NONE {
            waiters.last = NONE;
        }
        Some(task)
    }

    /// Takes any task out of the wait queue it is in; `before` is the one in front of it.
    pub(crate) fn leave_after(&mut self, queue: u32, before: u32) -> Option<u32> {
        if before == NONE {
            return self.leave_first(queue);
        }
        let task = self.tasks[before as usize].next_waiter;
        if task == NONE {
            return None;
        }
        self.tasks[task as usize].waits_in = NONE;
        let next = self.tasks[task as usize].next_waiter;
        self.tasks[before as usize].next_waiter = next;
        let waiters = &mut self.waits[queue as usize];
        waiters.length -= 1;
        if next == NONE {
            waiters.last = before;
        }
        Some(task)
    }

    /// Begins to wake the first `count` waiters, each at its cost, and then goes on with `after`.
    pub(crate) fn begin_wakes(&mut self, task: u32, queue: u32, count: u32, after: Then) {
        let cost = self.costs.wakeup_ns;
        let detail = &mut self.details[task as usize];
        let task = &mut self.tasks[task as usize];
        if count == 0 {
            task.then = after;
            return;
        }
        (detail.wake_queue, detail.wakes_left) = (queue, count);
        task.kernel = true;
        task.after_wakes = after;
        task.then = Then::Wake;
        task.left = cost;
    }

    /// One wakeup of the series takes effect.
    pub(crate) fn wake_next(&mut self, task: u32) -> Done {
        let detail = &mut self.details[task as usize];
        detail.wakes_left -= 1;
        let (queue, wakes_left) = (detail.wake_queue, detail.wakes_left);
        let waker = &mut self.tasks[task as usize];
        if wakes_left == 0 {
            waker.then = waker.after_wakes;
            waker.left = self.costs.wakeup_return_ns;
        } else {
            waker.left = self.costs.wakeup_ns;
        }
        let woken = self.leave_first(queue);
        if (queue as usize) < self.owners.len() {
            // Handed over: nobody can come in between.
            self.owners[queue as usize] = woken.map(|slot| self.owner(slot));
            if self.inherits(queue) {
                self.pass_on(queue, task, woken)?;
            }
        }
        match woken {
            Some(woken) if self.tasks[woken as usize].blocked => self.wake(woken, Some(task)),
            Some(woken) => {
                self.tasks[woken as usize].woken_early = true;
                Ok(())
            }
            None => {
                // Two posted at once, and there was one waiter only.
                if queue >= self.map.semaphores {
                    self.semaphores[(queue - self.map.semaphores) as usize] += 1;
                }
                Ok(())
            }
        }
    }

    fn owner(&self, slot: u32) -> Owner {
        let detail = &self.details[slot as usize];
        Owner { slot, pid: detail.pid, spec: detail.spec }
    }

    /// Takes a mutex or waits for it.
    pub(crate) fn lock(&mut self, cpu: u32, task: u32, mutex: u32) -> Done {
        let Some(owner) = self.owners[mutex as usize] else {
            self.owners[mutex as usize] = Some(self.owner(task));
            if self.inherits(mutex) {
                self.held.entry(task).or_default().push(mutex);
            }
            return Ok(());
        };
        if self.inherits(mutex) {
            self.join_by_priority(mutex, task);
            self.check_deadlock(task, owner)?;
            self.lend_along(owner.slot)?;
        } else {
            self.join(mutex, task);
            self.check_deadlock(task, owner)?;
        }
        self.block(cpu, task)
    }

    fn check_deadlock(&self, task: u32, owner: Owner) -> Done {
        let mut next = owner;
        // Chains that do not close end at a task that waits for no mutex. A chain that runs into a
        // circle it is no part of cannot be: the circle would have been reported.
        loop {
            if next.slot == task && self.details[task as usize].pid == next.pid {
                break;
            }
            let holder = &self.tasks[next.slot as usize];
            let waits_in = holder.waits_in as usize;
            let pid = self.details[next.slot as usize].pid;
            if pid != next.pid || !holder.blocked || waits_in >= self.owners.len() {
                return Ok(());
            }
            match self.owners[waits_in] {
                Some(owner) => next = owner,
                None => return Ok(()),
            }
        }
        let mut cycle = vec![self.waiting(task)];
        let mut member = owner.slot;
        while member != task {
            cycle.push(self.waiting(member));
            let held = self.tasks[member as usize].waits_in as usize;
            match self.owners.get(held).copied().flatten() {
                Some(owner) => member = owner.slot,
                None => break,
            }
        }
        Err(Box::new(RunError::Deadlock { at_ns: self.now, cycle }))
    }

    /// Whether the task holds the mutex; an error for its user if not.
    pub(crate) fn check_held(&self, task: u32, mutex: u32, what: &str) -> Done {
        if self.owners[mutex as usize] == Some(self.owner(task)) {
            return Ok(());
        }
        let name = &self.workload.mutexes[mutex as usize].name;
        Err(self.misuse(task, format!("{what} mutex `{name}` without holding it")))
    }

    /// Gives a mutex back; goes on with `after`.
    pub(crate) fn unlock(&mut self, task: u32, mutex: u32, after: Then) {
        if self.waits[mutex as usize].length == 0 {
            self.owners[mutex as usize] = None;
            self.tasks[task as usize].then = after;
            if self.inherits(mutex) {
                self.lets_go(mutex, task);
            }
        } else {
            self.begin_wakes(task, mutex, 1, after);
        }
    }

    /// Arrives at a barrier.
    pub(crate) fn arrive(&mut self, cpu: u32, task: u32, barrier: u32) -> Done {
        let parties = self.workload.barriers[barrier as usize].parties;
        let queue = self.map.barriers + barrier;
        let arrived = &mut self.arrived[barrier as usize];
        *arrived += 1;
        if *arrived == parties {
            *arrived = 0;
            self.begin_wakes(task, queue, parties - 1, Then::EndCall);
            return Ok(());
        }
        self.join(queue, task);
        self.block(cpu, task)
    }

    /// Takes a semaphore or waits for a post.
    pub(crate) fn take_semaphore(&mut self, cpu: u32, task: u32, semaphore: u32) -> Done {
        if let Some(less) = self.semaphores[semaphore as usize].checked_sub(1) {
            self.semaphores[semaphore as usize] = less;
            return Ok(());
        }
        self.join(self.map.semaphores + semaphore, task);
        self.block(cpu, task)
    }

    /// Posts a semaphore.
    pub(crate) fn post_semaphore(&mut self, task: u32, semaphore: u32) {
        let queue = self.map.semaphores + semaphore;
        if self.waits[queue as usize].length == 0 {
            let value = &mut self.semaphores[semaphore as usize];
            *value = value.saturating_add(1);
            return;
        }
        self.begin_wakes(task, queue, 1, Then::EndCall);
    }

    /// A task, what it waits for, and who holds that.
    pub(crate) fn waiting(&self, slot: u32) -> Waiting {
        let task = &self.tasks[slot as usize];
        let detail = &self.details[slot as usize];
        let spec = &self.workload.tasks[detail.spec as usize];
        let owner = self.owners.get(task.waits_in as usize).copied().flatten();
        let held_by = owner.map(|owner| {
            let spec = &self.workload.tasks[owner.spec as usize];
            let holder = &self.tasks[owner.slot as usize];
            let pid = self.details[owner.slot as usize].pid;
            let exited = !holder.alive || pid != owner.pid;
            Holder { task: spec.name.clone(), pid: owner.pid, origin: spec.origin, exited }
        });
        let waits_for = self.waits_for(task.waits_in);
        Waiting {
            task: spec.name.clone(),
            pid: detail.pid,
            origin: spec.origin,
            waits_for,
            held_by,
        }
    }

    fn waits_for(&self, queue: u32) -> WaitsFor {
        let (workload, map) = (&self.workload, &self.map);
        let mutexes = workload.mutexes.len() as u32;
        let name = |list: &[String], begin: u32| list[(queue - begin) as usize].clone();
        let device = |begin: u32| workload.devices[(queue - begin) as usize].name.clone();
        match queue {
            _ if queue >= map.end => WaitsFor::Time,
            _ if queue >= map.semaphores => {
                let semaphore = (queue - map.semaphores) as usize;
                WaitsFor::Semaphore(workload.semaphores[semaphore].name.clone())
            }
            _ if queue >= map.syncs => WaitsFor::Device(device(map.syncs)),
            _ if queue >= map.rooms => WaitsFor::DeviceRoom(device(map.rooms)),
            _ if queue >= map.receivers => {
                let queue = (queue - map.receivers) as usize;
                WaitsFor::Request(workload.queues[queue].name.clone())
            }
            _ if queue >= map.suspended => WaitsFor::Resume,
            _ if queue >= map.barriers => {
                let barrier = (queue - map.barriers) as usize;
                WaitsFor::Barrier(workload.barriers[barrier].name.clone())
            }
            _ if queue >= mutexes => WaitsFor::Condition(name(&workload.conditions, mutexes)),
            _ => WaitsFor::Mutex(workload.mutexes[queue as usize].name.clone()),
        }
    }
}
