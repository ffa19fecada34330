//! The figures of a case, by the same rules for a real kernel and for Slicewise.
//!
//! Both are turned into switches and wakeups of threads; from there on there is one code. Threads
//! are added up by the name of their task in the rt-app file. Only the window counts; a latency
//! belongs to it when the thread got its CPU inside.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slicewise_report::Histogram;

use crate::simulate::{CONTEXT_SWITCH_NS, TICK_COST_NS};

/// What is known about the threads of one task of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) cpu_ns: u64,
    pub(crate) voluntary: u64,
    /// Made way for another thread of the case.
    pub(crate) involuntary: u64,
    /// Made way for a thread that is not of the case: a kernel thread, mostly.
    pub(crate) disturbed: u64,
    /// From wakeup to CPU; waits after a preemption are not in it.
    pub(crate) latency: Histogram,
    /// CPU time from a wakeup to the next sleep.
    pub(crate) job: Histogram,
    jobs: Vec<Job>,
}

/// From a wakeup to the next sleep.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Job {
    /// CPU time of all of it.
    run_ns: u64,
    /// Of it, what interrupts and coming back after a preemption cost.
    overhead_ns: u64,
    /// CPU time without overhead until each wakeup of another thread of the case.
    wakes_ns: Vec<u64>,
}

impl Job {
    fn own_ns(&self) -> u64 {
        self.run_ns.saturating_sub(self.overhead_ns)
    }
}

impl Group {
    /// What a job takes without preemptions and interrupts: the mean of the whole ones.
    fn demand_ns(&self) -> u64 {
        mean(self.whole_jobs().map(Job::own_ns))
    }

    /// Those between a tenth of the median and one and a half of it. Shorter ones are sleeps before the
    /// work has begun, such as a thread's first wait for the others; longer ones are two in one: whoever
    /// comes too late for the next expiry, or finds the others there already, does not sleep.
    fn whole_jobs(&self) -> impl Iterator<Item = &Job> + Clone {
        let median_ns = self.job.quantile_ns(500);
        let whole = median_ns / 10..=median_ns + median_ns / 2;
        self.jobs.iter().filter(move |job| whole.contains(&job.run_ns))
    }

    /// How much of its CPU time a job has used when it wakes the first other thread, the second, and so
    /// on: the means of those jobs that wake as many as most do.
    fn wakes_ns(&self) -> Vec<u64> {
        let mut jobs_by_wakes: BTreeMap<usize, u64> = BTreeMap::new();
        for job in self.whole_jobs() {
            *jobs_by_wakes.entry(job.wakes_ns.len()).or_default() += 1;
        }
        let usual = jobs_by_wakes.into_iter().max_by_key(|(_, jobs)| *jobs);
        let count = usual.map_or(0, |(wakes, _)| wakes);
        let jobs = self.whole_jobs().filter(|job| job.wakes_ns.len() == count);
        (0..count).map(|wake| mean(jobs.clone().map(|job| job.wakes_ns[wake]))).collect()
    }
}

fn mean(values: impl Iterator<Item = u64>) -> u64 {
    let (count, sum) = values.fold((0_u64, 0), |(count, sum), value| (count + 1, sum + value));
    sum / count.max(1)
}

#[derive(Clone, Debug)]
struct Thread {
    id: u32,
    group: usize,
    woken_ns: Option<u64>,
    job: Job,
    /// The job began inside the window.
    whole: bool,
}

/// Gathers figures between two times.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) groups: Vec<Group>,
    threads: Vec<Thread>,
    begin_ns: u64,
    end_ns: u64,
    /// Time in the window, over all runs that were merged.
    pub(crate) window_ns: u64,
    /// By CPU: who runs, and since when.
    running: Vec<Option<(u32, u64)>>,
}

impl Figures {
    /// Nothing seen.
    pub(crate) fn new(names: &[String], begin_ns: u64, end_ns: u64) -> Self {
        let group = |name: &String| Group { name: name.clone(), ..Group::default() };
        Self {
            groups: names.iter().map(group).collect(),
            threads: Vec::new(),
            begin_ns,
            end_ns,
            window_ns: end_ns.saturating_sub(begin_ns),
            running: Vec::new(),
        }
    }

    /// A thread belongs to the task with this index.
    pub(crate) fn thread(&mut self, id: u32, group: usize) {
        // Announced again when its attributes change.
        if self.threads.iter().any(|thread| thread.id == id && thread.group == group) {
            return;
        }
        self.threads.retain(|thread| thread.id != id);
        self.threads.push(Thread { id, group, woken_ns: None, job: Job::default(), whole: false });
    }

    /// What was a thread's is somebody else's now: slots are used again.
    pub(crate) fn forget(&mut self, id: u32) {
        self.threads.retain(|thread| thread.id != id);
    }

    fn find(&mut self, id: u32) -> Option<&mut Thread> {
        self.threads.iter_mut().find(|thread| thread.id == id)
    }

    /// A thread became runnable. `waker` is the CPU whose thread did it, if one did.
    pub(crate) fn wakeup(&mut self, now_ns: u64, id: u32, waker: Option<usize>) {
        let begun = now_ns >= self.begin_ns;
        let running = waker.and_then(|cpu| self.running.get(cpu).copied().flatten());
        if self.find(id).is_some()
            && let Some((waker, since_ns)) = running
            && let Some(waker) = self.find(waker)
        {
            waker.job.wakes_ns.push(waker.job.own_ns() + (now_ns - since_ns));
        }
        if let Some(thread) = self.find(id) {
            // A second wakeup before it ran changes nothing.
            if thread.woken_ns.is_none() {
                thread.woken_ns = Some(now_ns);
                thread.job = Job::default();
                thread.whole = begun;
            }
        }
    }

    /// An interrupt of the scheduler's came: a tick or a slice timer.
    pub(crate) fn interrupt(&mut self, cpu: usize) {
        let running = self.running.get(cpu).copied().flatten();
        if let Some(thread) = running.and_then(|(id, _)| self.find(id)) {
            thread.job.overhead_ns += TICK_COST_NS;
        }
    }

    /// A CPU went from one thread to another; threads that nobody named are left out.
    pub(crate) fn switch(
        &mut self,
        now_ns: u64,
        cpu: usize,
        prev: u32,
        voluntary: bool,
        next: u32,
    ) {
        if self.running.len() <= cpu {
            self.running.resize(cpu + 1, None);
        }
        let next_is_ours = self.threads.iter().any(|thread| thread.id == next);
        let inside = (self.begin_ns..=self.end_ns).contains(&now_ns);
        let (begin_ns, end_ns) = (self.begin_ns, self.end_ns);
        if let Some((id, since_ns)) = self.running[cpu].take()
            && id == prev
            && let Some(at) = self.threads.iter().position(|thread| thread.id == id)
        {
            let thread = &mut self.threads[at];
            let group = &mut self.groups[thread.group];
            thread.job.run_ns += now_ns - since_ns;
            if !voluntary {
                thread.job.overhead_ns += CONTEXT_SWITCH_NS;
            }
            group.cpu_ns += now_ns.min(end_ns).saturating_sub(since_ns.max(begin_ns));
            if inside {
                match (voluntary, next_is_ours) {
                    (true, _) => group.voluntary += 1,
                    (false, true) => group.involuntary += 1,
                    (false, false) => group.disturbed += 1,
                }
                if voluntary && thread.whole {
                    group.job.record(thread.job.run_ns);
                    group.jobs.push(core::mem::take(&mut thread.job));
                }
            }
        }
        self.running[cpu] = Some((next, now_ns));
        if let Some(at) = self.threads.iter().position(|thread| thread.id == next) {
            let thread = &mut self.threads[at];
            if let Some(woken_ns) = thread.woken_ns.take()
                && inside
            {
                self.groups[thread.group].latency.record(now_ns - woken_ns);
            }
        }
    }

    /// The end: who runs has run up to here.
    pub(crate) fn finish(&mut self, now_ns: u64) {
        for cpu in 0..self.running.len() {
            if let Some((id, since_ns)) = self.running[cpu].take()
                && let Some(thread) = self.threads.iter().find(|thread| thread.id == id)
            {
                let ran = now_ns.min(self.end_ns).saturating_sub(since_ns.max(self.begin_ns));
                self.groups[thread.group].cpu_ns += ran;
            }
        }
    }

    /// Adds another run of the same case.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.window_ns += other.window_ns;
        for (group, other) in self.groups.iter_mut().zip(&other.groups) {
            group.cpu_ns += other.cpu_ns;
            group.voluntary += other.voluntary;
            group.involuntary += other.involuntary;
            group.disturbed += other.disturbed;
            group.latency.merge(&other.latency);
            group.job.merge(&other.job);
            group.jobs.extend_from_slice(&other.jobs);
        }
    }
}

impl Figures {
    /// The mean of so many runs that were merged.
    pub(crate) fn divide(&mut self, runs: u64) {
        let mean = |sum: &mut u64| *sum = (*sum + runs / 2) / runs.max(1);
        mean(&mut self.window_ns);
        for group in &mut self.groups {
            mean(&mut group.cpu_ns);
            mean(&mut group.voluntary);
            mean(&mut group.involuntary);
            mean(&mut group.disturbed);
        }
    }
}

/// The figures as they are compared and kept.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Time that was measured, all rounds together.
    pub(crate) window_ns: u64,
    pub(crate) groups: Vec<GroupSummary>,
}

/// The threads of one task of the file.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct GroupSummary {
    pub(crate) name: String,
    pub(crate) cpu_ns: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) disturbed: u64,
    pub(crate) latency: Quantiles,
    pub(crate) job: Quantiles,
    /// What the simulation is given as the length of a job.
    #[serde(default)]
    pub(crate) demand_ns: u64,
    /// After how much of it a job wakes other threads of the case.
    #[serde(default)]
    pub(crate) wakes_ns: Vec<u64>,
}

/// What is kept of a histogram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) mean_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

impl From<&Histogram> for Quantiles {
    fn from(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            mean_ns: histogram.mean_ns(),
            p50_ns: histogram.quantile_ns(500),
            p99_ns: histogram.quantile_ns(990),
            max_ns: histogram.max_ns(),
        }
    }
}

impl From<&Figures> for Summary {
    fn from(figures: &Figures) -> Self {
        let group = |group: &Group| GroupSummary {
            name: group.name.clone(),
            cpu_ns: group.cpu_ns,
            voluntary: group.voluntary,
            involuntary: group.involuntary,
            disturbed: group.disturbed,
            latency: Quantiles::from(&group.latency),
            job: Quantiles::from(&group.job),
            demand_ns: group.demand_ns(),
            wakes_ns: group.wakes_ns(),
        };
        Self { window_ns: figures.window_ns, groups: figures.groups.iter().map(group).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn making_way_for_a_kernel_thread_is_counted_apart() {
        let mut figures = Figures::new(&["a".into(), "b".into()], 0, 9_000);
        figures.thread(1, 0);
        figures.thread(2, 1);
        figures.switch(1_000, 0, 0, true, 1);
        figures.switch(2_000, 0, 1, false, 77);
        figures.switch(3_000, 0, 77, true, 1);
        figures.switch(4_000, 0, 1, false, 2);
        let a = &figures.groups[0];
        assert_eq!((a.involuntary, a.disturbed, a.cpu_ns), (1, 1, 2_000));
    }

    #[test]
    fn the_mean_of_runs_is_their_sum_divided_and_rounded() {
        let run = |switches: u64| {
            let mut figures = Figures::new(&["a".into(), "b".into()], 0, 10_000);
            figures.thread(1, 0);
            figures.thread(2, 1);
            for at in 0..=switches {
                let (prev, next) = if at % 2 == 0 { (2, 1) } else { (1, 2) };
                figures.switch(at * 1_000, 0, prev, false, next);
            }
            figures.finish(10_000);
            figures
        };
        let mut all = run(4);
        all.merge(&run(7));
        all.divide(2);
        // 2 and 4 times it made way; 6 and 4 us it ran.
        assert_eq!((all.groups[0].involuntary, all.groups[0].cpu_ns), (3, 6_000));
        assert_eq!((all.groups[1].involuntary, all.window_ns), (3, 10_000));
    }

    #[test]
    fn a_latency_is_from_wakeup_to_cpu_and_not_from_preemption() {
        let mut figures = Figures::new(&["a".into(), "hog".into()], 1_000, 9_000);
        figures.thread(1, 0);
        figures.thread(2, 1);
        figures.switch(500, 0, 0, true, 2);
        figures.wakeup(1_200, 1, None);
        figures.switch(1_500, 0, 2, false, 1);
        figures.switch(2_500, 0, 1, false, 2);
        figures.switch(3_500, 0, 2, false, 1);
        figures.switch(4_000, 0, 1, true, 2);
        figures.finish(20_000);
        let (a, hog) = (&figures.groups[0], &figures.groups[1]);
        assert_eq!((a.cpu_ns, a.voluntary, a.involuntary), (1_500, 1, 1));
        assert_eq!((a.latency.count(), a.latency.max_ns()), (1, 300));
        assert_eq!(a.job.max_ns(), 1_500);
        // From the window's beginning, and to its end.
        assert_eq!(hog.cpu_ns, 500 + 1_000 + 5_000);
    }
}
