//! What the usual tools would say about a run, gathered while it goes on.

use std::collections::BTreeMap;

use slicewise_sched::{Attr, CpuId, DlParams, Policy, RtPriority};
use slicewise_trace::{Event, GroupInfo, Left, Sink, Slot, TaskInfo};

use crate::{
    CpuReport, DeadlineReport, DelayReport, DeviceReport, Histogram, JobReport, Log2Histogram,
    QueueReport, RtThrottleReport, RunReport, RunqlatRow, SignalReport, SwitchReport, TaskReport,
};

/// Gathers the figures of a [`RunReport`] from a stream.
///
/// A **wait** begins when a task becomes runnable (wakeup or fork) or leaves a CPU although it is
/// runnable (preempted, or yielded), and ends when it gets a CPU, on whichever CPU that is. Every
/// wait that ended is in the task's `sched_delay_ns` and in the `runqlat_us` histogram, also if it
/// took no time. A wait that had not ended with the run is in neither, since how long it would
/// have taken is unknown; it is reported as `unfinished_wait_ns`. A wait cut short by the exit of
/// the waiting task is dropped.
///
/// CPU time counts up to the end of the run. A switch from a task to itself is no switch.
///
/// Tasks that were forked are added up by their template when they exit, so that memory does not
/// grow with the number of forks.
#[derive(Debug, Default)]
pub struct Metrics {
    end_ns: u64,
    tasks: Vec<Task>,
    finished: Vec<Figures>,
    forked: BTreeMap<u32, Figures>,
    cpus: Vec<Cpu>,
    devices: Vec<Device>,
    runqlat_us: Log2Histogram,
    /// Paths of groups, by number.
    groups: Vec<String>,
    /// Of tasks that have one, by name.
    periods: BTreeMap<String, u64>,
}

/// What a run's stream does not say.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RunInfo {
    /// The kernel as users call it.
    pub kernel: String,
    /// The release whose behaviour it is.
    pub release: String,
    /// The seed of the run.
    pub seed: u64,
    /// Fingerprint of the stream, 16 hexadecimal digits.
    pub trace_hash: String,
    /// Ticks a second.
    pub hz: u32,
    /// How many CPUs there are; those that never ran anything are reported too.
    pub cpus: u32,
    /// Names of devices, by number; those that never worked are reported too.
    pub devices: Vec<String>,
    /// Figures of the request queues.
    pub queues: Vec<QueueReport>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// Nobody holds the slot.
    #[default]
    Free,
    Asleep,
    Waiting,
    Running,
}

/// What most events touch comes first.
#[derive(Clone, Debug, Default)]
#[repr(C)]
struct Task {
    since_ns: u64,
    state: State,
    figures: Figures,
    forked_from: Option<u32>,
}

/// What a living task is in the middle of; of several, their sum and the longest wait.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    cpu_time_ns: u64,
    wait_ns: Option<u64>,
}

/// In the root group.
const NO_GROUP: u32 = u32::MAX;

/// What deadline tasks asked for last, and what came of it.
#[derive(Clone, Copy, Debug)]
struct DeadlineFigures {
    params: DlParams,
    throttled: u64,
    misses: u64,
}

/// What is known of few tasks: deadlines of jobs and what was done about overruns.
#[derive(Clone, Copy, Debug, Default)]
struct Promises {
    /// Of tasks that have been deadline tasks.
    deadline: Option<DeadlineFigures>,
    /// Of its jobs; 0 if nothing is known of that.
    period_ns: u64,
    late: u64,
    signals: SignalReport,
}

impl Promises {
    fn merge(&mut self, other: &Self) {
        self.period_ns = self.period_ns.max(other.period_ns);
        self.late += other.late;
        self.signals.sigxcpu += other.signals.sigxcpu;
        self.signals.sigkill += other.signals.sigkill;
        match (&mut self.deadline, &other.deadline) {
            (Some(sum), Some(more)) => {
                sum.throttled += more.throttled;
                sum.misses += more.misses;
            }
            (None, first) => self.deadline = *first,
            (Some(_), None) => {}
        }
    }

    /// A job has taken so long.
    fn job(&mut self, response_ns: u64) {
        self.late += u64::from(self.period_ns > 0 && response_ns > self.period_ns);
        if let Some(deadline) = &mut self.deadline {
            deadline.misses += u64::from(response_ns > deadline.params.deadline_ns);
        }
    }
}

/// The figures of one task or of several.
#[derive(Clone, Debug, Default)]
#[repr(C)]
struct Figures {
    cpu_time_ns: u64,
    voluntary: u64,
    involuntary: u64,
    wakeups: u64,
    migrations: u64,
    /// Apart, since most tasks have none.
    promises: Option<Box<Promises>>,
    delay: Histogram,
    response: Histogram,
    name: String,
    pid: u32,
    group: u32,
    forks: u64,
    policy: &'static str,
    nice: i8,
    priority: Option<u8>,
}

#[derive(Clone, Debug, Default)]
struct Cpu {
    busy_ns: u64,
    switches: u64,
    busy_since_ns: Option<u64>,
    rt_throttled: RtThrottleReport,
    rt_throttled_since_ns: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Device {
    busy_ns: u64,
    busy_since_ns: Option<u64>,
}

/// The element, made if it is not there. Indices are small and dense.
#[inline(always)]
fn grown<T: Default + Clone>(elements: &mut Vec<T>, index: usize) -> &mut T {
    if index >= elements.len() {
        grow(elements, index);
    }
    &mut elements[index]
}

#[cold]
fn grow<T: Default + Clone>(elements: &mut Vec<T>, index: usize) {
    elements.resize(index + 1, T::default());
}

impl Metrics {
    /// Nothing seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing seen; jobs of the tasks with these names are late if they take longer than this many
    /// ns.
    pub fn with_periods(periods: impl IntoIterator<Item = (String, u64)>) -> Self {
        Self { periods: periods.into_iter().collect(), ..Self::default() }
    }

    /// The figures up to the last event, or the end if [`Sink::finish`] was called.
    pub fn report(&self, info: RunInfo) -> RunReport {
        let mut rows = self.task_reports();
        rows.sort_by_key(|row| row.pid);
        let cpus = self.cpus.len().max(info.cpus as usize);
        let runqlat_us =
            self.runqlat_us.rows().map(|(low, high, count)| RunqlatRow { low, high, count });
        RunReport {
            kernel: info.kernel,
            release: info.release,
            seed: info.seed,
            simulated_ns: self.end_ns,
            trace_hash: info.trace_hash,
            hz: info.hz,
            tasks: rows,
            groups: Vec::new(),
            pressure: None,
            memory: None,
            cgroup_files: Vec::new(),
            cpus: (0..cpus).map(|cpu| self.cpu_report(cpu)).collect(),
            runqlat_us: runqlat_us.collect(),
            devices: self.device_reports(&info.devices),
            queues: info.queues,
            warnings: info.warnings,
        }
    }

    /// Finished tasks, living tasks with their open interval closed, sums of forks.
    fn task_reports(&self) -> Vec<TaskReport> {
        let end_ns = self.end_ns;
        let report = |figures: &Figures, open| TaskReport {
            group: self.groups.get(figures.group as usize).cloned(),
            ..figures.report(end_ns, open)
        };
        let mut rows: Vec<TaskReport> =
            self.finished.iter().map(|figures| report(figures, Open::default())).collect();
        let mut forked = self.forked.clone();
        let mut open_forked: BTreeMap<u32, Open> = BTreeMap::new();
        for task in self.tasks.iter().filter(|task| task.state != State::Free) {
            let open = task.open(end_ns);
            match task.forked_from {
                None => rows.push(report(&task.figures, open)),
                Some(template) => {
                    forked.entry(template).or_default().merge(&task.figures);
                    let sum = open_forked.entry(template).or_default();
                    sum.cpu_time_ns += open.cpu_time_ns;
                    sum.wait_ns = sum.wait_ns.max(open.wait_ns);
                }
            }
        }
        let open = |template: &u32| open_forked.get(template).copied().unwrap_or_default();
        rows.extend(forked.iter().map(|(template, sum)| report(sum, open(template))));
        rows
    }

    fn cpu_report(&self, number: usize) -> CpuReport {
        let cpu = self.cpus.get(number).cloned().unwrap_or_default();
        let open_ns = cpu.busy_since_ns.map_or(0, |since_ns| self.end_ns - since_ns);
        let busy_ns = cpu.busy_ns + open_ns;
        CpuReport {
            cpu: number as u32,
            busy_ns,
            idle_ns: self.end_ns.saturating_sub(busy_ns),
            switches: cpu.switches,
            rt_throttled: (cpu.rt_throttled.count > 0).then(|| {
                let open_ns =
                    cpu.rt_throttled_since_ns.map_or(0, |since_ns| self.end_ns - since_ns);
                let RtThrottleReport { count, time_ns } = cpu.rt_throttled;
                RtThrottleReport { count, time_ns: time_ns + open_ns }
            }),
            interrupted: None,
        }
    }

    fn device_reports(&self, names: &[String]) -> Vec<DeviceReport> {
        let report = |number: usize| {
            let device = self.devices.get(number).cloned().unwrap_or_default();
            let open_ns = device.busy_since_ns.map_or(0, |since_ns| self.end_ns - since_ns);
            let name = names.get(number).cloned().unwrap_or_else(|| format!("device {number}"));
            DeviceReport { name, busy_ns: device.busy_ns + open_ns }
        };
        (0..self.devices.len().max(names.len())).map(report).collect()
    }

    #[inline]
    fn living(&mut self, slot: Slot) -> Option<&mut Task> {
        self.tasks.get_mut(slot.index()).filter(|task| task.state != State::Free)
    }

    #[inline(always)]
    fn switch(&mut self, now: u64, cpu: CpuId, prev: Option<Slot>, left: Left, next: Option<Slot>) {
        if prev == next {
            return;
        }
        let cpu = grown(&mut self.cpus, cpu.index());
        cpu.switches += 1;
        if let Some(since_ns) = cpu.busy_since_ns.take() {
            cpu.busy_ns += now - since_ns;
        }
        cpu.busy_since_ns = next.map(|_| now);
        if let Some(task) = prev.and_then(|prev| self.living(prev)) {
            task.leave(now, left);
        }
        let Some(task) = next.and_then(|next| self.living(next)) else { return };
        if task.state == State::Waiting {
            let wait_ns = now - task.since_ns;
            task.figures.delay.record(wait_ns);
            task.run(now);
            self.runqlat_us.record(wait_ns / 1000);
        } else {
            task.run(now);
        }
    }

    fn exit(&mut self, now: u64, slot: Slot) {
        let Some(task) = self.living(slot) else { return };
        if task.state == State::Running {
            task.figures.cpu_time_ns += now - task.since_ns;
        }
        task.state = State::Free;
        match task.forked_from {
            Some(template) => {
                let task = &mut self.tasks[slot.index()];
                self.forked.entry(template).or_default().merge(&task.figures);
                // Kept for the next task in this slot: forks then allocate nothing.
                task.figures.clear();
            }
            None => {
                let figures = std::mem::take(&mut task.figures);
                self.finished.push(figures);
            }
        }
    }

    fn rt_throttle(&mut self, now: u64, cpu: CpuId, stops: bool) {
        let cpu = grown(&mut self.cpus, cpu.index());
        if let Some(since_ns) = cpu.rt_throttled_since_ns.take() {
            cpu.rt_throttled.time_ns += now - since_ns;
        } else {
            cpu.rt_throttled.count += u64::from(stops);
        }
        cpu.rt_throttled_since_ns = stops.then_some(now);
    }

    fn device(&mut self, now: u64, device: u32, busy: bool) {
        let device = grown(&mut self.devices, device as usize);
        if let Some(since_ns) = device.busy_since_ns.take() {
            device.busy_ns += now - since_ns;
        }
        device.busy_since_ns = busy.then_some(now);
    }
}

impl Task {
    #[inline]
    fn run(&mut self, now: u64) {
        self.state = State::Running;
        self.since_ns = now;
    }

    #[inline]
    fn leave(&mut self, now: u64, left: Left) {
        if self.state == State::Running {
            self.figures.cpu_time_ns += now - self.since_ns;
        }
        if left.voluntary() {
            self.figures.voluntary += 1;
            self.state = State::Asleep;
        } else {
            self.figures.involuntary += 1;
            self.state = State::Waiting;
        }
        self.since_ns = now;
    }

    /// What would be added if the run ended now.
    fn open(&self, end_ns: u64) -> Open {
        let since_ns = end_ns - self.since_ns;
        match self.state {
            State::Running => Open { cpu_time_ns: since_ns, wait_ns: None },
            State::Waiting => Open { cpu_time_ns: 0, wait_ns: Some(since_ns) },
            State::Asleep | State::Free => Open::default(),
        }
    }
}

impl Figures {
    fn merge(&mut self, other: &Self) {
        if self.forks == 0 {
            self.name.clone_from(&other.name);
            self.pid = other.pid;
            self.group = other.group;
            (self.policy, self.nice, self.priority) = (other.policy, other.nice, other.priority);
        }
        self.pid = self.pid.min(other.pid);
        self.forks += other.forks;
        self.cpu_time_ns += other.cpu_time_ns;
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
        self.wakeups += other.wakeups;
        self.migrations += other.migrations;
        self.delay.merge(&other.delay);
        self.response.merge(&other.response);
        if let Some(more) = &other.promises {
            self.promises.get_or_insert_default().merge(more);
        }
    }

    fn clear(&mut self) {
        let mut delay = std::mem::take(&mut self.delay);
        let mut response = std::mem::take(&mut self.response);
        delay.clear();
        response.clear();
        *self = Self { delay, response, ..Self::default() };
    }

    fn report(&self, end_ns: u64, open: Open) -> TaskReport {
        let cpu_time_ns = self.cpu_time_ns + open.cpu_time_ns;
        let promises = self.promises.as_deref().copied().unwrap_or_default();
        TaskReport {
            name: self.name.clone(),
            pid: self.pid,
            group: None,
            forks: (self.forks > 0).then_some(self.forks),
            policy: self.policy.to_owned(),
            nice: self.nice,
            priority: self.priority,
            deadline: promises.deadline.map(|figures| DeadlineReport {
                runtime_ns: figures.params.runtime_ns,
                deadline_ns: figures.params.deadline_ns,
                period_ns: figures.params.period(),
                throttled: figures.throttled,
                misses: figures.misses,
            }),
            jobs: (promises.period_ns > 0)
                .then_some(JobReport { period_ns: promises.period_ns, late: promises.late }),
            signals: (promises.signals != SignalReport::default()).then_some(promises.signals),
            cpu_time_ns,
            share: if end_ns == 0 { 0.0 } else { cpu_time_ns as f64 / end_ns as f64 },
            wakeups: self.wakeups,
            migrations: self.migrations,
            switches: SwitchReport { voluntary: self.voluntary, involuntary: self.involuntary },
            sched_delay_ns: DelayReport::of(&self.delay),
            response_ns: DelayReport::of(&self.response),
            unfinished_wait_ns: open.wait_ns,
        }
    }
}

impl DelayReport {
    /// The figures of a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            mean: histogram.mean_ns(),
            p50: histogram.quantile_ns(500),
            p99: histogram.quantile_ns(990),
            max: histogram.max_ns(),
        }
    }
}

impl Sink for Metrics {
    fn group(&mut self, _: u64, info: &GroupInfo) {
        self.groups.push(info.path.clone());
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.end_ns = self.end_ns.max(now_ns);
        let held = grown(&mut self.tasks, info.slot.index());
        if held.state != State::Free && held.figures.pid != info.pid {
            // The stream lost the exit of the task that was here.
            self.exit(self.end_ns, info.slot);
        }
        let task = &mut self.tasks[info.slot.index()];
        if task.state == State::Free {
            task.state = State::Asleep;
            task.since_ns = self.end_ns;
            task.forked_from = info.forked_from;
            task.figures.forks = u64::from(info.forked_from.is_some());
            task.figures.pid = info.pid;
            if let Some(period_ns) = self.periods.get(&info.name) {
                task.figures.promises.get_or_insert_default().period_ns = *period_ns;
            }
        }
        task.figures.name.clone_from(&info.name);
        let Attr { policy, nice, .. } = info.attr;
        task.figures.policy = policy.name();
        task.figures.nice = nice.get();
        task.figures.priority = policy.rt_priority().map(RtPriority::get);
        if let Policy::Deadline(params) = policy {
            let new = DeadlineFigures { params, throttled: 0, misses: 0 };
            let promises = task.figures.promises.get_or_insert_default();
            promises.deadline.get_or_insert(new).params = params;
        }
        task.figures.group = info.group.unwrap_or(NO_GROUP);
    }

    #[inline(always)]
    fn event(&mut self, now_ns: u64, event: &Event) {
        // A stream whose time goes back would be a bug of its source; intervals stay positive.
        let now = self.end_ns.max(now_ns);
        self.end_ns = now;
        match *event {
            Event::Switch { cpu, prev, left, next } => self.switch(now, cpu, prev, left, next),
            Event::Wakeup { task, new, .. } => {
                if let Some(task) = self.living(task)
                    && task.state == State::Asleep
                {
                    task.figures.wakeups += u64::from(!new);
                    task.state = State::Waiting;
                    task.since_ns = now;
                }
            }
            Event::Migrate { task, .. } => {
                if let Some(task) = self.living(task) {
                    task.figures.migrations += 1;
                }
            }
            Event::Response { task, response_ns } => {
                if let Some(task) = self.living(task) {
                    let figures = &mut task.figures;
                    figures.response.record(response_ns);
                    if let Some(promises) = &mut figures.promises {
                        promises.job(response_ns);
                    }
                }
            }
            Event::Exit { task } => self.exit(now, task),
            Event::Device { device, busy } => self.device(now, device, busy),
            Event::Budget { task, stops: true, .. } => {
                if let Some(task) = self.living(task)
                    && let Some(promises) = &mut task.figures.promises
                    && let Some(deadline) = &mut promises.deadline
                {
                    deadline.throttled += 1;
                }
            }
            Event::RtThrottle { group: None, cpu, stops } => self.rt_throttle(now, cpu, stops),
            Event::Signal { task, kills } => {
                if let Some(task) = self.living(task) {
                    let signals = &mut task.figures.promises.get_or_insert_default().signals;
                    *if kills { &mut signals.sigkill } else { &mut signals.sigxcpu } += 1;
                }
            }
            Event::Throttle { .. }
            | Event::RtThrottle { .. }
            | Event::Budget { .. }
            | Event::Changed { .. }
            | Event::Loop { .. }
            | Event::Values { .. } => {}
        }
    }

    fn finish(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.max(now_ns);
    }
}

#[cfg(test)]
mod tests;
