//! Pressure stall information: how much of the time tasks wanted a CPU and did not have it
//! (classes.md E).
//!
//! A resource is under *some* pressure while at least one task waits for it, and under *full*
//! pressure while tasks wait and none gets on. [`CpuPressure`] tells how long that was so for one
//! group on one CPU; [`Pressure`] brings the CPUs of a group together, as the files print it:
//!
//! ```
//! use slicewise_sched::psi::{CpuPressure, Pressure, Resource, Task};
//!
//! let mut cpu = CpuPressure::new(0);
//! cpu.change(0, Task::SLEEPS, Task::ON_CPU);
//! cpu.change(0, Task::SLEEPS, Task::QUEUED);
//! let mut group = Pressure::new(0, 1, 250);
//! group.sample(2_004_000_000, [&cpu]);
//! assert_eq!(group.some(Resource::Cpu).to_string(), "avg10=18.11 avg60=3.27 avg300=0.68 total=2004000");
//! assert_eq!(group.full(Resource::Cpu).total_us(), 0);
//! ```
//!
//! Who owns the queues walks from a task's group up to the root, which stands for the system, and
//! calls [`CpuPressure::change`] for each with what the task was and is now: O(depth), no
//! allocation. Where one runnable task takes the CPU over from another, the walks may stop at the
//! first group both are in: nothing changes from there on.
//!
//! - A task that a quota keeps off the CPU stays [queued](Task::QUEUED), however its kernel does
//!   it: its group is under full pressure then.
//! - A task whose dequeue is delayed sleeps.
//! - The idle task counts nowhere; every other one counts, kernel threads too.
//! - A task that moves to another CPU sleeps on the old one and is what it is on the new one.
//!
//! Not here: pressure by interrupts (`irq.pressure`), as interrupts take no time.

use core::fmt;

/// What a task counts as.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Task {
    /// It wants to run or does.
    pub runnable: bool,
    /// It has the CPU.
    pub on_cpu: bool,
    /// It sleeps until a device is done.
    pub io_wait: bool,
    /// It is held up by lack of memory, whether it sleeps, waits or runs.
    pub memory_stall: bool,
}

impl Task {
    /// Not runnable, for no reason that counts.
    pub const SLEEPS: Self =
        Self { runnable: false, on_cpu: false, io_wait: false, memory_stall: false };
    /// Waiting for the CPU; also while a quota keeps it off.
    pub const QUEUED: Self = Self { runnable: true, ..Self::SLEEPS };
    /// On the CPU.
    pub const ON_CPU: Self = Self { on_cpu: true, ..Self::QUEUED };
    /// Sleeping until a device is done.
    pub const IO_WAIT: Self = Self { io_wait: true, ..Self::SLEEPS };
}

/// What there can be pressure for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Resource {
    /// `io.pressure`.
    Io,
    /// `memory.pressure`.
    Memory,
    /// `cpu.pressure`.
    Cpu,
}

impl Resource {
    fn some(self) -> usize {
        match self {
            Self::Io => IO_SOME,
            Self::Memory => MEMORY_SOME,
            Self::Cpu => CPU_SOME,
        }
    }
}

// States of a group on a CPU; full is next to some.
const IO_SOME: usize = 0;
const IO_FULL: usize = 1;
const MEMORY_SOME: usize = 2;
const MEMORY_FULL: usize = 3;
const CPU_SOME: usize = 4;
const CPU_FULL: usize = 5;
const NON_IDLE: usize = 6;
/// States that are reported.
const REPORTED: usize = NON_IDLE;
const STATES: usize = 7;

/// The pressure on one group on one CPU: who is in which state, and how long each state of the
/// group has lasted in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuPressure {
    runnable: u32,
    io_wait: u32,
    stalled: u32,
    /// Of the stalled ones, those that are runnable.
    stalled_runnable: u32,
    /// A task of the group has the CPU.
    on_cpu: bool,
    /// And that task is held up by lack of memory.
    on_cpu_stalled: bool,
    since_ns: u64,
    times_ns: [u64; STATES],
}

impl CpuPressure {
    /// A group without tasks from now on.
    pub fn new(now_ns: u64) -> Self {
        Self { since_ns: now_ns, ..Self::default() }
    }

    /// A task of the group, or of one below, was `from` until now and is `to` from now on. Time
    /// that goes back counts as none.
    pub fn change(&mut self, now_ns: u64, from: Task, to: Task) {
        self.advance(now_ns);
        count(&mut self.runnable, from.runnable, to.runnable);
        count(&mut self.io_wait, from.io_wait, to.io_wait);
        count(&mut self.stalled, from.memory_stall, to.memory_stall);
        let stalled_runnable = |task: Task| task.memory_stall && task.runnable;
        count(&mut self.stalled_runnable, stalled_runnable(from), stalled_runnable(to));
        if to.on_cpu {
            (self.on_cpu, self.on_cpu_stalled) = (true, to.memory_stall);
        } else if from.on_cpu {
            (self.on_cpu, self.on_cpu_stalled) = (false, false);
        }
    }

    /// How many tasks are runnable.
    pub fn runnable(&self) -> u32 {
        self.runnable
    }

    /// How long some task has waited for the resource in all, up to now, ns.
    pub fn some_ns(&self, now_ns: u64, resource: Resource) -> u64 {
        self.times(now_ns)[resource.some()]
    }

    /// How long no task got on for want of the resource in all, up to now, ns.
    pub fn full_ns(&self, now_ns: u64, resource: Resource) -> u64 {
        self.times(now_ns)[resource.some() + 1]
    }

    /// How long the group had any task that counts, up to now, ns.
    pub fn non_idle_ns(&self, now_ns: u64) -> u64 {
        self.times(now_ns)[NON_IDLE]
    }

    fn advance(&mut self, now_ns: u64) {
        self.times_ns = self.times(now_ns);
        self.since_ns = self.since_ns.max(now_ns);
    }

    fn times(&self, now_ns: u64) -> [u64; STATES] {
        let mut times_ns = self.times_ns;
        let passed_ns = now_ns.saturating_sub(self.since_ns);
        for (time_ns, holds) in times_ns.iter_mut().zip(self.states()) {
            *time_ns = time_ns.saturating_add(if holds { passed_ns } else { 0 });
        }
        times_ns
    }

    /// Which states the group is in (E.2).
    fn states(&self) -> [bool; STATES] {
        let mut states = [false; STATES];
        states[IO_SOME] = self.io_wait > 0;
        states[IO_FULL] = self.io_wait > 0 && self.runnable == 0;
        states[MEMORY_SOME] = self.stalled > 0;
        states[MEMORY_FULL] =
            self.stalled > 0 && self.runnable == self.stalled_runnable || self.on_cpu_stalled;
        states[CPU_SOME] = self.runnable > u32::from(self.on_cpu);
        states[CPU_FULL] = self.runnable > 0 && !self.on_cpu;
        states[NON_IDLE] = self.io_wait > 0 || self.stalled > 0 || self.runnable > 0;
        states
    }
}

fn count(counter: &mut u32, before: bool, after: bool) {
    *counter = counter.saturating_sub(u32::from(before)).saturating_add(u32::from(after));
}

/// 1.00 in the fixed point of the averages.
const ONE: u64 = 1 << 11;
/// exp(-2/10), exp(-2/60) and exp(-2/300) in that fixed point.
const DECAY: [u64; 3] = [1677, 1981, 2034];

/// The averages and the total of one line of a pressure file; displayed as the kernel prints them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// Per cent over 10, 60 and 300 s, in units of 1/2048.
    pub averages: [u64; 3],
    /// All the time there was pressure, ns.
    pub total_ns: u64,
}

impl Line {
    /// An average in hundredths of a per cent, as its two decimals read.
    pub fn centi_percent(average: u64) -> u64 {
        (average >> 11) * 100 + (((average & (ONE - 1)) * 100) >> 11)
    }

    /// The total as it is printed, us.
    pub fn total_us(&self) -> u64 {
        self.total_ns / 1000
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, average) in ["avg10", "avg60", "avg300"].into_iter().zip(self.averages) {
            let centi = Self::centi_percent(average);
            write!(f, "{name}={}.{:02} ", centi / 100, centi % 100)?;
        }
        write!(f, "total={}", self.total_us())
    }
}

/// The pressure on one group, all CPUs together (E.3).
#[derive(Clone, Debug)]
pub struct Pressure {
    hz: u64,
    /// Per CPU, what of its times is in the totals.
    sampled: Vec<[u64; STATES]>,
    lines: [Line; REPORTED],
    /// What of the totals is in the averages.
    averaged_ns: [u64; REPORTED],
    updated_ns: u64,
    next_update_ns: u64,
}

impl Pressure {
    /// A group without tasks on CPUs 0 to `cpus` - 1, with `hz` ticks a second, 1 to 10^6.
    pub fn new(now_ns: u64, cpus: u32, hz: u32) -> Self {
        let mut new = Self {
            hz: u64::from(hz.clamp(1, 1_000_000)),
            sampled: vec![[0; STATES]; cpus as usize],
            lines: [Line::default(); REPORTED],
            averaged_ns: [0; REPORTED],
            updated_ns: now_ns,
            next_update_ns: 0,
        };
        new.next_update_ns = now_ns.saturating_add(new.period_ns());
        new
    }

    /// How often the averages are updated: each 2 s and a tick.
    pub fn period_ns(&self) -> u64 {
        let tick_ns = 1_000_000_000 / self.hz;
        (2 * self.hz + 1) * tick_ns
    }

    /// When the averages are updated next. The kernel's worker samples a tick later, rounded up to
    /// a tick, as long as the group is not idle; a read of the file samples as well.
    pub fn next_update_ns(&self) -> u64 {
        self.next_update_ns
    }

    /// Takes in what the CPUs have seen since the last sample, and brings the averages up to date
    /// if a period is over. `cpus` are those of the group, in order; what is beyond the number this
    /// was made for is not looked at.
    ///
    /// A CPU counts by how long it was not idle since the last sample, in whole ticks: less than
    /// a tick is nothing.
    pub fn sample<'a>(&mut self, now_ns: u64, cpus: impl IntoIterator<Item = &'a CpuPressure>) {
        let mut sums = [0_u128; REPORTED];
        let mut ticks_sum = 0_u64;
        for (seen, cpu) in self.sampled.iter_mut().zip(cpus) {
            let times_ns = cpu.times(now_ns);
            let passed_ns = |state: usize| times_ns[state].saturating_sub(seen[state]);
            let ticks = ticks(passed_ns(NON_IDLE), self.hz);
            ticks_sum = ticks_sum.saturating_add(ticks);
            for (state, sum) in sums.iter_mut().enumerate() {
                *sum = sum.saturating_add(u128::from(passed_ns(state)) * u128::from(ticks));
            }
            *seen = times_ns;
        }
        for (line, sum) in self.lines.iter_mut().zip(sums) {
            let weighted_ns = u64::try_from(sum / u128::from(ticks_sum.max(1)));
            line.total_ns = line.total_ns.saturating_add(weighted_ns.unwrap_or(u64::MAX));
        }
        if now_ns >= self.next_update_ns {
            self.update_averages(now_ns);
        }
    }

    /// Some task waits for the resource: the line the file calls `some`.
    pub fn some(&self, resource: Resource) -> Line {
        self.lines[resource.some()]
    }

    /// No task gets on for want of the resource: the line `full` of a group's file. For the system
    /// as a whole, full pressure on the CPU means nothing, and the kernel (all of 6.1 to 7.2)
    /// prints zeros: take [`Line::default`] there.
    pub fn full(&self, resource: Resource) -> Line {
        self.lines[resource.some() + 1]
    }

    fn update_averages(&mut self, now_ns: u64) {
        let period_ns = self.period_ns();
        let missed = (now_ns - self.next_update_ns) / period_ns;
        self.next_update_ns =
            self.next_update_ns.saturating_add((missed + 1).saturating_mul(period_ns));
        // Whole periods without an update were idle ones.
        let span_ns = (now_ns - self.updated_ns).saturating_sub(missed * period_ns);
        self.updated_ns = now_ns;
        for (line, averaged_ns) in self.lines.iter_mut().zip(&mut self.averaged_ns) {
            // What is more than the time that passed is left for the next update.
            let pressure_ns = (line.total_ns - *averaged_ns).min(span_ns);
            *averaged_ns += pressure_ns;
            let percent = u128::from(pressure_ns) * 100 / u128::from(span_ns.max(1));
            for (average, decay) in line.averages.iter_mut().zip(DECAY) {
                if missed > 0 {
                    *average = averaged(*average, power(decay, missed), 0);
                }
                *average = averaged(*average, decay, percent as u64 * ONE);
            }
        }
    }
}

/// Whole ticks in so many ns.
fn ticks(ns: u64, hz: u64) -> u64 {
    u64::try_from(u128::from(ns) * u128::from(hz) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// One step of an average towards `active`, rounded upwards while it rises.
fn averaged(average: u64, decay: u64, active: u64) -> u64 {
    let round = if active >= average { ONE - 1 } else { 0 };
    (average * decay + active * (ONE - decay) + round) / ONE
}

/// `base` to the power of `exponent` in the fixed point of the averages, each product rounded.
fn power(mut base: u64, mut exponent: u64) -> u64 {
    let product = |x: u64, y: u64| (x * y + ONE / 2) >> 11;
    let mut result = ONE;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = product(result, base);
        }
        exponent >>= 1;
        base = product(base, base);
    }
    result
}

/// Watches a total and tells when it grows too fast: what a write of
/// `some 150000 1000000` to a pressure file asks for (E.4).
///
/// The kernel looks ten times a window while there is pressure, or each 2 s for who has no
/// privilege. Not checked on a real kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trigger {
    threshold_ns: u64,
    window_ns: u64,
    window_start_ns: u64,
    total_at_start_ns: u64,
    /// Growth in the window before.
    growth_before_ns: u64,
    seen_ns: u64,
    last_event_ns: Option<u64>,
    pending: bool,
}

impl Trigger {
    /// Begins to watch a total that is `total_ns` now; the window lasts 1 ns at least.
    pub fn new(now_ns: u64, total_ns: u64, threshold_ns: u64, window_ns: u64) -> Self {
        Self {
            threshold_ns,
            window_ns: window_ns.max(1),
            window_start_ns: now_ns,
            total_at_start_ns: total_ns,
            growth_before_ns: 0,
            seen_ns: total_ns,
            last_event_ns: None,
            pending: false,
        }
    }

    /// The total now; whether there is an event. One a window at most: another that is due is
    /// told later.
    pub fn update(&mut self, now_ns: u64, total_ns: u64) -> bool {
        if total_ns != self.seen_ns {
            self.seen_ns = total_ns;
            let growth_ns = self.growth(now_ns, total_ns);
            self.pending |= growth_ns >= self.threshold_ns;
        }
        let allowed = self
            .last_event_ns
            .is_none_or(|last_ns| now_ns.saturating_sub(last_ns) >= self.window_ns);
        if !(self.pending && allowed) {
            return false;
        }
        self.pending = false;
        self.last_event_ns = Some(now_ns);
        true
    }

    /// Growth in the last window, as far as it is over guessed from the one before.
    fn growth(&mut self, now_ns: u64, total_ns: u64) -> u64 {
        let elapsed_ns = now_ns.saturating_sub(self.window_start_ns);
        let growth_ns = total_ns.saturating_sub(self.total_at_start_ns);
        if elapsed_ns > self.window_ns {
            self.window_start_ns = now_ns;
            self.total_at_start_ns = total_ns;
            self.growth_before_ns = growth_ns;
            return growth_ns;
        }
        let left_ns = u128::from(self.window_ns - elapsed_ns);
        let before = u128::from(self.growth_before_ns) * left_ns / u128::from(self.window_ns);
        growth_ns.saturating_add(u64::try_from(before).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
