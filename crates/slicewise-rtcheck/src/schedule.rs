//! The schedule that follows when everything is released together: for drawing the worst case,
//! and for refuting sets on several CPUs by an example.

use crate::budget::Budget;
use crate::model::Load;

/// More stretches than this are not recorded.
pub(crate) const STRETCHES_MAX: usize = 20_000;

/// How a task competes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rank {
    /// By absolute deadline, before all fixed priorities.
    Deadline,
    /// By priority.
    Fixed(u8),
    /// Nothing can take the CPU from it: a section that blocks.
    Holds,
}

/// A task of a schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) load: Load,
    pub(crate) deadline_ns: u64,
    pub(crate) rank: Rank,
    /// When its first job is ready.
    pub(crate) first_ns: u64,
    /// It has only this one job.
    pub(crate) once: bool,
}

/// A time a task had a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Index of the task.
    pub task: usize,
    /// From, ns after the critical instant.
    pub start_ns: u64,
    /// To, ns.
    pub end_ns: u64,
}

/// A job of a schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Job {
    /// Index of the task.
    pub(crate) task: usize,
    /// When it was ready, ns.
    pub(crate) ready_ns: u64,
    /// Its nominal release: jitter before `ready_ns` for the first job.
    pub(crate) release_ns: i128,
    /// By when it must be done, ns.
    pub(crate) due_ns: i128,
    /// When it was done; `None` if the schedule ends before.
    pub(crate) end_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Number of the job that is worked on.
    job: u64,
    /// Number of the next one to become ready.
    next: u64,
    left_ns: u64,
}

pub(crate) struct Schedule<'e> {
    entries: &'e [Entry],
    states: Vec<State>,
    now: u64,
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) jobs: Vec<Job>,
    cpus: usize,
    record: bool,
}

/// Why a schedule ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// As asked.
    Done,
    /// Too long to be followed.
    Cut,
}

impl<'e> Schedule<'e> {
    pub(crate) fn new(entries: &'e [Entry], cpus: u32, record: bool) -> Self {
        let state = |entry: &Entry| State { job: 0, next: 0, left_ns: entry.load.wcet_ns };
        Self {
            entries,
            states: entries.iter().map(state).collect(),
            now: 0,
            stretches: Vec::new(),
            jobs: Vec::new(),
            cpus: cpus as usize,
            record,
        }
    }

    fn ready_ns(&self, task: usize, job: u64) -> Option<u64> {
        let entry = &self.entries[task];
        if entry.once && job > 0 {
            return None;
        }
        let later = job.checked_mul(entry.load.period_ns)?;
        entry.first_ns.checked_add(later.saturating_sub(entry.load.jitter_ns))
    }

    /// How many jobs of a task have become ready.
    fn come_by_now(&self, task: usize) -> u64 {
        let entry = &self.entries[task];
        match self.now.checked_sub(entry.first_ns) {
            None => 0,
            Some(_) if entry.once => 1,
            Some(since_ns) => {
                since_ns.saturating_add(entry.load.jitter_ns) / entry.load.period_ns + 1
            }
        }
    }

    fn job(&self, task: usize, number: u64, end_ns: Option<u64>) -> Job {
        let entry = &self.entries[task];
        let release_ns = i128::from(entry.first_ns) - i128::from(entry.load.jitter_ns)
            + i128::from(number) * i128::from(entry.load.period_ns);
        let due_ns = release_ns + i128::from(entry.deadline_ns);
        let ready_ns = self.ready_ns(task, number).unwrap_or(u64::MAX);
        Job { task, ready_ns, release_ns, due_ns, end_ns }
    }

    /// Runs until `stop` says so of a job that has just ended, or until nothing is ready before
    /// `until_ns`, or until a job is late (if `until_late`).
    pub(crate) fn run(
        &mut self,
        until_ns: u64,
        until_late: bool,
        stop: impl Fn(&Job) -> bool,
        budget: &mut Budget,
    ) -> Ended {
        loop {
            if !budget.spend(2 * self.entries.len()) || self.stretches.len() >= STRETCHES_MAX {
                return Ended::Cut;
            }
            let mut next_ns = u64::MAX;
            let mut ready: Vec<usize> = Vec::new();
            for task in 0..self.entries.len() {
                self.states[task].next = self.come_by_now(task);
                if let Some(ready_ns) = self.ready_ns(task, self.states[task].next) {
                    next_ns = next_ns.min(ready_ns);
                }
                if self.states[task].job < self.states[task].next {
                    ready.push(task);
                }
            }
            if self.now >= until_ns || (ready.is_empty() && next_ns >= until_ns) {
                return Ended::Done;
            }
            ready.sort_by_key(|task| self.order(*task));
            ready.truncate(self.cpus);
            let done_ns = ready.iter().map(|task| self.now + self.states[*task].left_ns).min();
            let then_ns = next_ns.min(done_ns.unwrap_or(u64::MAX)).min(until_ns);
            let mut over = false;
            for task in ready {
                over |= self.advance(task, then_ns, until_late, &stop);
            }
            self.now = then_ns;
            if over {
                return Ended::Done;
            }
        }
    }

    /// Smaller goes first: class, then deadline or priority, then who came first.
    fn order(&self, task: usize) -> (u8, i128, u64, usize) {
        let job = self.job(task, self.states[task].job, None);
        match self.entries[task].rank {
            Rank::Holds => (0, 0, job.ready_ns, task),
            Rank::Deadline => (1, job.due_ns, job.ready_ns, task),
            Rank::Fixed(priority) => (2, -i128::from(priority), job.ready_ns, task),
        }
    }

    /// Gives a task the CPU until then. True if the schedule has come to its end.
    fn advance(
        &mut self,
        task: usize,
        then_ns: u64,
        until_late: bool,
        stop: &impl Fn(&Job) -> bool,
    ) -> bool {
        if self.record {
            match self.stretches.last_mut() {
                Some(last) if last.task == task && last.end_ns == self.now => {
                    last.end_ns = then_ns;
                }
                _ => {
                    let stretch = Stretch { task, start_ns: self.now, end_ns: then_ns };
                    self.stretches.push(stretch);
                }
            }
        }
        let state = self.states[task];
        let left_ns = state.left_ns - (then_ns - self.now);
        if left_ns > 0 {
            self.states[task].left_ns = left_ns;
            return false;
        }
        let job = self.job(task, state.job, Some(then_ns));
        self.states[task] =
            State { job: state.job + 1, left_ns: self.entries[task].load.wcet_ns, ..state };
        let late = until_late && i128::from(then_ns) > job.due_ns;
        if self.record || late {
            self.jobs.push(job);
        }
        late || stop(&job)
    }

    /// Jobs that are ready and not done.
    pub(crate) fn unfinished(&self) -> Vec<Job> {
        let open = |task: usize| {
            let state = self.states[task];
            (state.job..state.next).take(STRETCHES_MAX).map(move |job| self.job(task, job, None))
        };
        (0..self.entries.len()).flat_map(open).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(rank: Rank, wcet_ns: u64, period_ns: u64) -> Entry {
        let load = Load { wcet_ns, period_ns, jitter_ns: 0 };
        Entry { load, deadline_ns: period_ns, rank, first_ns: 0, once: false }
    }

    fn stretches(entries: &[Entry], until_ns: u64) -> Vec<(usize, u64, u64)> {
        let mut schedule = Schedule::new(entries, 1, true);
        let ended = schedule.run(until_ns, false, |_| false, &mut Budget::new(1 << 20));
        assert_eq!(ended, Ended::Done);
        schedule.stretches.iter().map(|s| (s.task, s.start_ns, s.end_ns)).collect()
    }

    #[test]
    fn w15_edf_runs_the_earlier_deadline_first() {
        let a = Entry { deadline_ns: 10, ..entry(Rank::Deadline, 2, 10) };
        let b = entry(Rank::Deadline, 3, 8);
        let c = Entry { first_ns: 9, deadline_ns: 4, once: true, ..entry(Rank::Deadline, 1, 4) };
        assert_eq!(stretches(&[a, b], 13), [(1, 0, 3), (0, 3, 5), (1, 8, 11), (0, 11, 13)]);
        assert_eq!(stretches(&[a, b, c], 12)[2..5], [(1, 8, 9), (2, 9, 10), (1, 10, 12)]);
    }

    #[test]
    fn w16_dhalls_long_task_is_late_on_four_cpus() {
        let light = entry(Rank::Deadline, 1, 999);
        let entries = [light, light, light, light, entry(Rank::Deadline, 1000, 1000)];
        let mut schedule = Schedule::new(&entries, 4, false);
        schedule.run(10_000, true, |_| false, &mut Budget::new(1 << 20));
        let late = schedule.jobs.last().copied().unwrap();
        assert_eq!((late.task, late.end_ns, late.due_ns), (4, Some(1001), 1000));
    }

    #[test]
    fn a_holder_delays_everyone_once() {
        let holder = Entry { once: true, ..entry(Rank::Holds, 4, 1) };
        let entries = [entry(Rank::Fixed(50), 1, 10), holder];
        assert_eq!(stretches(&entries, 12), [(1, 0, 4), (0, 4, 5), (0, 10, 11)]);
    }

    #[test]
    fn the_first_job_is_late_by_its_jitter_and_the_next_is_not() {
        let mut late = entry(Rank::Fixed(1), 1, 10);
        late.load.jitter_ns = 4;
        assert_eq!(stretches(&[late], 20), [(0, 0, 1), (0, 6, 7), (0, 16, 17)]);
    }
}
