//! The interpreter: what each step of a program does.

use slicewise_sched::CpuId;
use slicewise_trace::{Event, Left, LoopRecord, Sink, Slot};
use smallvec::SmallVec;

use crate::compile::{Draw, Step};
use crate::error::Done;
use crate::machine::Machine;
use crate::task::{Span, Then};

/// Steps of all tasks at one moment from which on those of each task are counted.
const SUSPICIOUS_STEPS: u64 = 1_000_000;
/// Steps of one task at one moment that count as endless.
const ENDLESS_STEPS: u32 = 1_000_000;

impl<S: Sink> Machine<'_, S> {
    /// The time the task needed is spent: goes on to whatever comes next.
    #[inline]
    pub(crate) fn step(&mut self, cpu: u32, task: u32) -> Done {
        self.count_step(task)?;
        let state = &mut self.tasks[task as usize];
        state.span = Span::Work;
        state.left = 0;
        match core::mem::replace(&mut state.then, Then::Fetch) {
            Then::Fetch => {}
            Then::EndRun => {
                let was_kernel = core::mem::replace(&mut state.kernel, false);
                if self.wants_loops {
                    self.log_run_end(task);
                }
                // A request to reschedule may have waited for the end of the system call.
                if was_kernel {
                    return Ok(());
                }
            }
            Then::Begin => self.details[task as usize].first_ns = self.now,
            Then::AfterTimer => self.note_wakeup_latency(task, self.now),
            then => {
                state.then = then;
                return self.step_of_call(cpu, task, then);
            }
        }
        self.fetch(cpu, task)
    }

    #[inline(never)]
    fn log_run_end(&mut self, task: u32) {
        if let Some(log) = &mut self.details[task as usize].log {
            log.record.run_ns += self.now.saturating_sub(log.run_started_ns);
        }
    }

    /// The next part of a system call.
    #[inline(never)]
    fn step_of_call(&mut self, cpu: u32, task: u32, then: Then) -> Done {
        let state = &mut self.tasks[task as usize];
        match then {
            Then::EndCall => {
                self.end_call(task);
                Ok(())
            }
            Then::Wake => self.wake_next(task),
            Then::SleepOnCondition => {
                state.then = Then::Reacquire;
                if core::mem::replace(&mut state.woken_early, false) {
                    return Ok(());
                }
                self.block(cpu, task)
            }
            Then::Reacquire => {
                state.then = Then::EndCall;
                let mutex = state.argument;
                self.lock(cpu, task, mutex)
            }
            Then::Fork => {
                state.then = Then::EndCall;
                state.left = self.costs.wakeup_return_ns;
                let spec = state.argument;
                self.fork(task, spec)
            }
            Then::Exit => self.exit(cpu, task),
            Then::Fetch | Then::Begin | Then::EndRun | Then::AfterTimer => Ok(()),
        }
    }

    #[inline]
    fn end_call(&mut self, task: u32) {
        let state = &mut self.tasks[task as usize];
        state.kernel = false;
        state.then = Then::Fetch;
    }

    #[inline]
    fn count_step(&mut self, task: u32) -> Done {
        self.instant_steps += 1;
        if self.instant_steps > SUSPICIOUS_STEPS { self.check_progress(task) } else { Ok(()) }
    }

    #[cold]
    fn check_progress(&mut self, task: u32) -> Done {
        if core::mem::replace(&mut self.idle_steps_at, self.now) != self.now {
            self.idle_steps.clear();
        }
        let idle_steps = self.idle_steps.entry(task).or_default();
        *idle_steps += 1;
        if *idle_steps > ENDLESS_STEPS || self.instant_steps > self.instant_limit() {
            return Err(self.no_progress(task));
        }
        Ok(())
    }

    #[inline(always)]
    fn note_wakeup_latency(&mut self, task: u32, at_ns: u64) {
        if self.wants_loops {
            self.log_wakeup_latency(task, at_ns);
        }
    }

    #[inline(never)]
    fn log_wakeup_latency(&mut self, task: u32, at_ns: u64) {
        let detail = &mut self.details[task as usize];
        if let Some(log) = &mut detail.log {
            log.record.wakeup_latency_ns += at_ns - detail.expiry_ns;
        }
    }

    #[inline]
    fn draw(&mut self, task: u32, draw: Draw) -> u64 {
        match draw {
            Draw::Constant(ns) => ns,
            Draw::Random(dist) => self.draw_random(task, dist),
        }
    }

    #[inline(never)]
    fn draw_random(&mut self, task: u32, dist: u32) -> u64 {
        self.code.dists[dist as usize].sample(&mut self.details[task as usize].rng)
    }

    /// Executes the program up to a step that takes time or concerns others.
    #[inline(always)]
    fn fetch(&mut self, cpu: u32, task: u32) -> Done {
        loop {
            let state = &mut self.tasks[task as usize];
            let step = self.code.steps[state.pc as usize];
            state.pc += 1;
            // The commonest steps first: tests in a row are told ahead better than a jump through
            // a table.
            if let Step::Run { work, kernel } = step {
                self.run_step(task, work, kernel, self.now);
                return Ok(());
            }
            if let Step::Again { to } = step {
                state.pc = to;
                self.count_step(task)?;
                continue;
            }
            if let Step::Timer { timer, absolute, shared, period_ns } = step {
                return self.timer(cpu, task, timer, (absolute, shared), period_ns);
            }
            match step {
                Step::Sleep { duration } => return self.sleep(cpu, task, duration),
                Step::LoopBegin { count, end } => self.begin_loop(task, count, end),
                Step::LoopEnd { begin } => self.end_loop(task, begin),
                Step::LoopForever => {}
                Step::LogBegin => self.begin_log(task, self.now),
                Step::LogEnd { cumulative_slack } => self.end_log(task, cumulative_slack, self.now),
                other => return self.other_step(cpu, task, other),
            }
            self.count_step(task)?;
        }
    }

    /// Executes steps that concern nobody else ahead of time, as if it were `at_ns` already, up to
    /// the next run step. Whether it got there.
    #[inline]
    pub(crate) fn foresee(&mut self, task: u32, at_ns: u64) -> Done<bool> {
        match self.tasks[task as usize].then {
            Then::Fetch => {}
            Then::AfterTimer => {
                self.note_wakeup_latency(task, at_ns);
                self.tasks[task as usize].then = Then::Fetch;
            }
            _ => return Ok(false),
        }
        loop {
            let state = &mut self.tasks[task as usize];
            let step = self.code.steps[state.pc as usize];
            if let Step::Run { work, kernel } = step {
                state.pc += 1;
                self.run_step(task, work, kernel, at_ns);
                return Ok(true);
            }
            if let Step::Again { to } = step {
                state.pc = to;
                self.count_step(task)?;
                continue;
            }
            match step {
                Step::LoopForever => state.pc += 1,
                Step::LoopEnd { begin } => {
                    state.pc += 1;
                    self.end_loop(task, begin);
                }
                Step::LoopBegin { count, end } => {
                    state.pc += 1;
                    self.begin_loop(task, count, end);
                }
                Step::LogBegin => {
                    state.pc += 1;
                    self.begin_log(task, at_ns);
                }
                Step::LogEnd { cumulative_slack } => {
                    state.pc += 1;
                    self.end_log(task, cumulative_slack, at_ns);
                }
                _ => return Ok(false),
            }
            self.count_step(task)?;
        }
    }

    #[inline(never)]
    fn other_step(&mut self, cpu: u32, task: u32, step: Step) -> Done {
        let state = &mut self.tasks[task as usize];
        match step {
            Step::RunUntil { elapsed } => self.run_until_step(task, elapsed),
            Step::RunForever => state.span = Span::Forever,
            Step::Lock(mutex) => return self.lock(cpu, task, mutex),
            Step::Unlock(mutex) => {
                self.check_held(task, mutex, "unlocks")?;
                self.unlock(task, mutex, Then::EndCall);
            }
            Step::Wait { condition, mutex } => {
                self.check_held(task, mutex, "waits with")?;
                self.join(self.map.conditions + condition, task);
                self.tasks[task as usize].argument = mutex;
                self.unlock(task, mutex, Then::SleepOnCondition);
            }
            Step::Signal(condition) => {
                let queue = self.map.conditions + condition;
                let count = self.waits[queue as usize].length.min(1);
                self.begin_wakes(task, queue, count, Then::EndCall);
            }
            Step::Broadcast(condition) => self.wake_all(task, self.map.conditions + condition),
            Step::Barrier(barrier) => return self.arrive(cpu, task, barrier),
            Step::SleepUntil { at_ns } => return self.sleep_until(cpu, task, at_ns),
            Step::SemWait(semaphore) => return self.take_semaphore(cpu, task, semaphore),
            Step::SemPost(semaphore) => self.post_semaphore(task, semaphore),
            Step::Suspend => {
                self.join(self.map.suspended + self.details[task as usize].spec, task);
                return self.block(cpu, task);
            }
            Step::Resume(spec) => self.wake_all(task, self.map.suspended + spec),
            Step::Yield => return self.yield_now(cpu),
            Step::Fork(spec) => {
                state.kernel = true;
                (state.left, state.then, state.argument) = (self.costs.wakeup_ns, Then::Fork, spec);
            }
            Step::Receive(queue) => return self.receive(cpu, task, queue),
            Step::Serve => return self.serve(task),
            Step::Reply => return self.reply(task),
            Step::Submit { device, work } => {
                let work_ns = self.draw(task, work);
                return self.submit(cpu, task, device, work_ns);
            }
            Step::Synchronize(device) => return self.synchronize(cpu, task, device),
            Step::SetAttr(attr) => return self.set_attr(task, attr),
            Step::SetAffinity(affinity) => return self.set_affinity(task, affinity),
            Step::Exit => return self.begin_exit(cpu, task),
            // All others are done in `fetch`.
            _ => {}
        }
        Ok(())
    }

    #[inline(always)]
    fn run_step(&mut self, task: u32, work: Draw, kernel: bool, at_ns: u64) {
        let work_ns = self.draw(task, work);
        if self.wants_loops {
            self.log_run(task, work_ns, at_ns);
        }
        let state = &mut self.tasks[task as usize];
        (state.left, state.then, state.kernel) = (work_ns, Then::EndRun, kernel);
    }

    #[inline(never)]
    fn log_run(&mut self, task: u32, work_ns: u64, at_ns: u64) {
        if let Some(log) = &mut self.details[task as usize].log {
            log.record.work_ns = log.record.work_ns.saturating_add(work_ns);
            log.record.configured_run_ns = log.record.configured_run_ns.saturating_add(work_ns);
            log.run_started_ns = at_ns;
        }
    }

    #[inline(never)]
    fn run_until_step(&mut self, task: u32, elapsed: Draw) {
        let elapsed_ns = self.draw(task, elapsed);
        if let Some(log) = &mut self.details[task as usize].log {
            log.record.configured_run_ns = log.record.configured_run_ns.saturating_add(elapsed_ns);
            log.run_started_ns = self.now;
        }
        let state = &mut self.tasks[task as usize];
        state.span = Span::Until;
        (state.left, state.then) = (self.now.saturating_add(elapsed_ns), Then::EndRun);
    }

    #[inline]
    fn sleep(&mut self, cpu: u32, task: u32, duration: Draw) -> Done {
        let duration_ns = self.draw(task, duration);
        if duration_ns == 0 {
            return Ok(());
        }
        let wake_ns = self.now.saturating_add(duration_ns);
        self.events.arm(self.layout.task(task), wake_ns);
        self.block(cpu, task)
    }

    #[inline(never)]
    fn sleep_until(&mut self, cpu: u32, task: u32, at_ns: u64) -> Done {
        if at_ns > self.now {
            self.events.arm(self.layout.task(task), at_ns);
            return self.block(cpu, task);
        }
        self.end_job(task);
        let state = &mut self.tasks[task as usize];
        (state.job, state.release_ns) = (true, at_ns);
        Ok(())
    }

    /// A periodic timer as in rt-app: the first period begins when its task begins; who comes too
    /// late does not sleep, and in relative mode starts a new period.
    #[inline]
    fn timer(
        &mut self,
        cpu: u32,
        task: u32,
        timer: u32,
        (absolute, shared): (bool, bool),
        period_ns: u64,
    ) -> Done {
        let detail = &mut self.details[task as usize];
        let last_ns = if shared {
            self.timers[timer as usize].get_or_insert(detail.first_ns)
        } else {
            own_expiry(&mut detail.timers, timer, detail.first_ns)
        };
        let expiry_ns = last_ns.saturating_add(period_ns);
        // Too late for this one: the next is due already.
        let late = self.now >= expiry_ns;
        *last_ns = if late && !absolute { self.now } else { expiry_ns };
        let released_ns = *last_ns;
        if !late {
            detail.expiry_ns = expiry_ns;
        }
        if self.wants_loops {
            self.log_slack(task, period_ns, expiry_ns);
        }
        if !late {
            self.tasks[task as usize].then = Then::AfterTimer;
            self.events.arm(self.layout.task(task), expiry_ns);
            return self.block(cpu, task);
        }
        self.end_job(task);
        let state = &mut self.tasks[task as usize];
        (state.job, state.release_ns) = (true, released_ns);
        Ok(())
    }

    #[inline(never)]
    fn log_slack(&mut self, task: u32, period_ns: u64, expiry_ns: u64) {
        let Some(log) = &mut self.details[task as usize].log else { return };
        let slack_ns = if expiry_ns >= self.now {
            i64::try_from(expiry_ns - self.now).unwrap_or(i64::MAX)
        } else {
            i64::try_from(self.now - expiry_ns).map_or(i64::MIN, |late| -late)
        };
        let record = &mut log.record;
        record.configured_period_ns = record.configured_period_ns.saturating_add(period_ns);
        record.slack_ns = slack_ns;
        log.slack_sum = log.slack_sum.saturating_add(slack_ns);
    }

    #[inline(never)]
    fn wake_all(&mut self, task: u32, queue: u32) {
        let count = self.waits[queue as usize].length;
        self.begin_wakes(task, queue, count, Then::EndCall);
    }

    #[inline(never)]
    fn yield_now(&mut self, cpu: u32) -> Done {
        self.sched.yield_now(self.now, CpuId(cpu)).map_err(|error| self.refused(error))?;
        self.take_outputs();
        self.switch(cpu, Left::Yielded)
    }

    #[inline(never)]
    fn set_attr(&mut self, task: u32, attr: u32) -> Done {
        let spec = self.details[task as usize].spec;
        let state = &self.tasks[task as usize];
        let (id, forked_from) = (state.id, state.forked.then_some(spec));
        let attr = self.code.attrs[attr as usize];
        let set = self.sched.set_attr(self.now, id, attr);
        set.map_err(|error| self.refused_to(spec, error))?;
        self.take_outputs();
        self.note_queued(self.tasks[task as usize].cpu);
        self.announce(task, forked_from);
        self.emit(Event::Changed { task: Slot(task) });
        Ok(())
    }

    #[inline(never)]
    fn set_affinity(&mut self, task: u32, affinity: u32) -> Done {
        let id = self.tasks[task as usize].id;
        let affinity = self.code.affinities[affinity as usize].clone();
        let spec = self.details[task as usize].spec;
        let result = self.sched.set_affinity(self.now, id, affinity);
        result.map_err(|error| self.refused_to(spec, error))?;
        self.take_outputs();
        Ok(())
    }

    #[inline(never)]
    fn begin_loop(&mut self, task: u32, count: u64, end: u32) {
        if count == 0 {
            self.tasks[task as usize].pc = end + 1;
        } else {
            self.details[task as usize].loops.push(count);
        }
    }

    #[inline(never)]
    fn end_loop(&mut self, task: u32, begin: u32) {
        let loops = &mut self.details[task as usize].loops;
        let again = match loops.last_mut() {
            Some(left) => {
                *left -= 1;
                *left > 0
            }
            None => false,
        };
        if again {
            self.tasks[task as usize].pc = begin + 1;
        } else {
            loops.pop();
        }
    }

    #[inline(never)]
    fn begin_log(&mut self, task: u32, at_ns: u64) {
        if !self.wants_loops {
            return;
        }
        let index = self.workload.tasks[self.details[task as usize].spec as usize].index;
        let log = self.details[task as usize].log.get_or_insert_default();
        log.record = LoopRecord { index, start_ns: at_ns, ..LoopRecord::default() };
        log.slack_sum = 0;
    }

    #[inline(never)]
    fn end_log(&mut self, task: u32, cumulative_slack: bool, at_ns: u64) {
        let Some(log) = &self.details[task as usize].log else { return };
        let mut record = log.record;
        record.end_ns = at_ns;
        if cumulative_slack {
            record.slack_ns = log.slack_sum;
        }
        self.emit(Event::Loop { task: Slot(task), record });
    }
}

/// When a timer of the task's own expired last; before its first use, when the task began.
#[inline]
fn own_expiry(own: &mut SmallVec<[(u32, u64); 1]>, timer: u32, first_ns: u64) -> &mut u64 {
    let at = match own.iter().position(|(number, _)| *number == timer) {
        Some(at) => at,
        None => {
            own.push((timer, first_ns));
            own.len() - 1
        }
    };
    &mut own[at].1
}
