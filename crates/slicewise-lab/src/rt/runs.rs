//! Runs: who had a CPU from when to when.

use serde::{Deserialize, Serialize};

/// Whom a CPU went to, or came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    /// A thread of the case, by its number.
    Thread(usize),
    /// Nobody.
    Idle,
    /// A kernel thread, or whoever else is not of the case.
    Other,
}

/// A thread had a CPU from `begin` to `end`. Who is not of the case may have come between; another
/// thread of the case, a sleep or an idle CPU ends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// From the load's begin.
    #[serde(rename = "b")]
    pub(crate) begin_ns: u64,
    #[serde(rename = "e")]
    pub(crate) end_ns: u64,
    #[serde(rename = "c", default, skip_serializing_if = "is_zero")]
    pub(crate) cpu: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Run {
    pub(crate) fn length_ns(self) -> u64 {
        self.end_ns.saturating_sub(self.begin_ns)
    }
}

#[derive(Clone, Copy, Debug)]
struct Open {
    run: Run,
    /// It has no CPU now, but nobody of the case has come in its place.
    waits: bool,
}

/// Turns switches into runs.
#[derive(Debug)]
pub(super) struct Runs {
    begin_ns: u64,
    end_ns: u64,
    open: Vec<Option<Open>>,
    done: Vec<Vec<Run>>,
}

impl Runs {
    /// Of so many threads, in a window: what began before it is left out, and what goes on after it is
    /// cut.
    pub(super) fn new(threads: usize, begin_ns: u64, end_ns: u64) -> Self {
        Self { begin_ns, end_ns, open: vec![None; threads], done: vec![Vec::new(); threads] }
    }

    /// A CPU went from one to another.
    pub(super) fn switch(&mut self, now_ns: u64, cpu: u32, prev: Who, voluntary: bool, next: Who) {
        if now_ns > self.end_ns {
            return;
        }
        if let Who::Thread(thread) = prev {
            if let Some(open) = self.open.get_mut(thread).and_then(Option::as_mut) {
                open.run.end_ns = now_ns;
                open.waits = true;
            }
            if voluntary {
                self.close(thread);
            }
        }
        if next == Who::Other {
            return;
        }
        for thread in 0..self.open.len() {
            let waits = self.open[thread].is_some_and(|open| open.waits && open.run.cpu == cpu);
            if waits && next != Who::Thread(thread) {
                self.close(thread);
            }
        }
        if let Who::Thread(thread) = next {
            if self
                .open
                .get(thread)
                .is_some_and(|open| open.is_some_and(|open| open.run.cpu != cpu))
            {
                self.close(thread);
            }
            let run = Run { begin_ns: now_ns, end_ns: now_ns, cpu };
            if let Some(place) = self.open.get_mut(thread) {
                place.get_or_insert(Open { run, waits: false }).waits = false;
            }
        }
    }

    fn close(&mut self, thread: usize) {
        let Some(open) = self.open.get_mut(thread).and_then(Option::take) else { return };
        let Run { begin_ns, end_ns, cpu } = open.run;
        if let Some(begin_ns) = begin_ns.checked_sub(self.begin_ns) {
            let end_ns = end_ns.min(self.end_ns).saturating_sub(self.begin_ns);
            self.done[thread].push(Run { begin_ns, end_ns, cpu });
        }
    }

    /// The runs of each thread. Who runs has run to the end of the window.
    pub(super) fn finish(mut self) -> Vec<Vec<Run>> {
        for thread in 0..self.open.len() {
            if let Some(open) = self.open[thread].as_mut().filter(|open| !open.waits) {
                open.run.end_ns = self.end_ns;
            }
            self.close(thread);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(begin_ns: u64, end_ns: u64) -> Run {
        Run { begin_ns, end_ns, cpu: 0 }
    }

    #[test]
    fn a_run_goes_on_over_who_is_not_of_the_case_and_ends_with_idle_sleep_and_others() {
        let (a, b) = (Who::Thread(0), Who::Thread(1));
        let mut runs = Runs::new(2, 10, 100);
        // Begins before the window.
        runs.switch(5, 0, Who::Idle, true, b);
        runs.switch(12, 0, b, false, a);
        runs.switch(15, 0, a, false, Who::Other);
        runs.switch(16, 0, Who::Other, true, a);
        runs.switch(20, 0, a, false, Who::Other);
        runs.switch(21, 0, Who::Other, true, Who::Idle);
        runs.switch(30, 0, Who::Idle, true, a);
        runs.switch(40, 0, a, true, Who::Other);
        runs.switch(41, 0, Who::Other, true, a);
        runs.switch(50, 0, a, false, b);
        runs.switch(60, 0, b, false, a);
        let done = runs.finish();
        assert_eq!(done[0], [run(2, 10), run(20, 30), run(31, 40), run(50, 90)]);
        assert_eq!(done[1], [run(40, 50)]);
    }

    #[test]
    fn a_move_to_another_cpu_is_another_run() {
        let mut runs = Runs::new(1, 0, 100);
        runs.switch(10, 0, Who::Idle, true, Who::Thread(0));
        runs.switch(20, 0, Who::Thread(0), false, Who::Other);
        runs.switch(25, 1, Who::Idle, true, Who::Thread(0));
        let done = runs.finish();
        assert_eq!(done[0], [run(10, 20), Run { begin_ns: 25, end_ns: 100, cpu: 1 }]);
    }
}
