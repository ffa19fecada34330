//! What a trace carries: a first pass.

use std::collections::HashMap;
use std::io::{Read, Seek};

use slicewise_ftrace::{Kind, Other, Reader, Switch, SwitchState, TaskRef, TimerFunction};

use crate::ShadowError;
use crate::gaps::{Gaps, Slept};

/// Tick rates that kernels are built with.
const RATES_HZ: [u32; 4] = [100, 250, 300, 1000];
/// Intervals and phases are counted in as many classes.
const CLASSES: usize = 200;
/// A phase is believed if so much of what is counted is within two classes, in percent.
const SHARE_PERCENT_MIN: u64 = 40;
/// Changes of attributes that are remembered.
const CHANGES_MAX: usize = 1 << 16;
/// An inferred tick comes so much before what it caused, ns.
const LEAD_NS: u64 = 5_000;

/// Where the ticks are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ticks {
    /// In the trace.
    Recorded,
    /// Every 1/HZ from this time on.
    Inferred {
        /// The first, by the trace's clock.
        first_ns: u64,
    },
    /// Nowhere to be seen.
    Unknown,
}

/// What a trace carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survey {
    /// Time of the first event.
    pub first_ns: u64,
    /// Time of the last.
    pub last_ns: u64,
    /// One more than the highest CPU number.
    pub cpus: u32,
    /// `sched_switch` events.
    pub switches: u64,
    /// There are charges (`sched_stat_runtime`).
    pub has_charges: bool,
    /// There are expiries of the slice timer.
    pub has_hrticks: bool,
    /// Where the ticks are.
    pub ticks: Ticks,
    /// Ticks a second, if that can be told.
    pub hz: Option<u32>,
    /// There are system calls that change attributes.
    pub(crate) has_attribute_calls: bool,
    /// Tasks that left a CPU with another priority or name than they had come with: by pid and the
    /// time they came.
    pub(crate) changes: HashMap<(i32, u64), TaskRef>,
    /// Who went to sleep where events are missing.
    pub(crate) slept: Slept,
}

/// A system call that changes policy, priority or nice value.
pub(crate) fn is_attribute_call(other: &Other) -> bool {
    let call = other.name.strip_prefix("sys_exit_").or(other.name.strip_prefix("sys_enter_"));
    matches!(call, Some("setpriority" | "sched_setattr" | "sched_setscheduler" | "sched_setparam"))
}

/// A probe on a function of the tick: the name of such an event has it in it.
pub(crate) fn is_tick(other: &Other) -> bool {
    ["task_tick_fair", "sched_tick", "scheduler_tick"].iter().any(|name| other.name.contains(name))
        && !other.name.contains("exit")
}

/// A probe on a function of `sched_yield`, or the system call.
pub(crate) fn is_yield(other: &Other) -> bool {
    ["sched_yield", "yield_task_fair"].iter().any(|name| other.name.contains(name))
        && !other.name.contains("exit")
}

/// Finds out what a trace carries. The reader is at its end afterwards.
///
/// # Errors
/// If it cannot be read, or has no switches.
pub fn survey<R: Read + Seek>(reader: &mut Reader<R>) -> Result<Survey, ShadowError> {
    let mut counts = Counts::default();
    while let Some(event) = reader.next_event()? {
        counts.first_ns.get_or_insert(event.time_ns);
        counts.last_ns = counts.last_ns.max(event.time_ns);
        counts.cpus = counts.cpus.max(event.cpu.saturating_add(1));
        match &event.kind {
            Kind::Switch(switch) => {
                counts.switches += 1;
                counts.switch(event.cpu, event.time_ns, switch);
                counts.gaps.switch(event.cpu, event.time_ns, switch);
                let replaced =
                    matches!(switch.prev_state, SwitchState::Runnable | SwitchState::Preempted)
                        && switch.prev.pid != 0;
                if replaced {
                    counts.hint(event.time_ns);
                }
            }
            Kind::Wakeup(wakeup) | Kind::WakeupNew(wakeup) => {
                counts.gaps.wakeup(wakeup.task.pid, wakeup.target_cpu);
            }
            Kind::StatRuntime(stat) => {
                counts.has_charges = true;
                counts.gaps.charge(event.cpu, event.time_ns, stat);
                if event.in_interrupt == Some(true) {
                    counts.hint(event.time_ns);
                }
            }
            Kind::HrtimerExpire(timer) => match timer.function {
                TimerFunction::Tick => counts.tick(event.cpu, event.time_ns),
                TimerFunction::HrTick => counts.has_hrticks = true,
                TimerFunction::Other => {}
            },
            Kind::Other(other) if is_attribute_call(other) => counts.has_attribute_calls = true,
            Kind::Other(other) if is_tick(other) => counts.tick(event.cpu, event.time_ns),
            _ => {}
        }
    }
    counts.conclude()
}

#[derive(Default)]
struct Counts {
    first_ns: Option<u64>,
    last_ns: u64,
    cpus: u32,
    switches: u64,
    has_charges: bool,
    has_hrticks: bool,
    has_attribute_calls: bool,
    changes: HashMap<(i32, u64), TaskRef>,
    /// By CPU: who came last, and when.
    came: HashMap<u32, (TaskRef, u64)>,
    last_tick_ns: Vec<Option<u64>>,
    /// Intervals between ticks of one CPU, by rate.
    intervals: [u64; RATES_HZ.len()],
    nr_ticks: u64,
    /// Moments at which a tick is likely, by rate and phase.
    phases: [Phases; RATES_HZ.len()],
    gaps: Gaps,
}

struct Phases([u64; CLASSES]);

impl Default for Phases {
    fn default() -> Self {
        Self([0; CLASSES])
    }
}

fn period_ns(hz: u32) -> u64 {
    1_000_000_000 / u64::from(hz)
}

impl Counts {
    fn switch(&mut self, cpu: u32, time_ns: u64, switch: &Switch) {
        let Some((came, at_ns)) = self.came.insert(cpu, (switch.next, time_ns)) else { return };
        let left = switch.prev;
        let changed = came.pid == left.pid && left.pid != 0 && came != left;
        if changed && self.changes.len() < CHANGES_MAX {
            self.changes.insert((left.pid, at_ns), left);
        }
    }

    fn tick(&mut self, cpu: u32, time_ns: u64) {
        // More CPUs than the core knows are refused later.
        let index = (cpu as usize).min(1 << 12);
        if self.last_tick_ns.len() <= index {
            self.last_tick_ns.resize(index + 1, None);
        }
        self.nr_ticks += 1;
        let Some(last) = self.last_tick_ns[index].replace(time_ns) else { return };
        let interval = time_ns.saturating_sub(last);
        for (count, hz) in self.intervals.iter_mut().zip(RATES_HZ) {
            let period = period_ns(hz);
            *count += u64::from(interval.abs_diff(period) < period / 10);
        }
    }

    fn hint(&mut self, time_ns: u64) {
        for (phases, hz) in self.phases.iter_mut().zip(RATES_HZ) {
            let period = period_ns(hz);
            let class = (time_ns % period) * CLASSES as u64 / period;
            phases.0[class as usize] += 1;
        }
    }

    fn conclude(self) -> Result<Survey, ShadowError> {
        let (Some(first_ns), 1..) = (self.first_ns, self.switches) else {
            return Err(ShadowError::NoSwitches);
        };
        let (ticks, hz) = if self.nr_ticks > 0 {
            let most = (0..RATES_HZ.len()).max_by_key(|index| self.intervals[*index]);
            let found = most.filter(|index| self.intervals[*index] > 0);
            (Ticks::Recorded, found.map(|index| RATES_HZ[index]))
        } else {
            self.inferred(first_ns)
        };
        Ok(Survey {
            first_ns,
            last_ns: self.last_ns,
            cpus: self.cpus,
            switches: self.switches,
            has_charges: self.has_charges,
            has_hrticks: self.has_hrticks,
            ticks,
            hz,
            has_attribute_calls: self.has_attribute_calls,
            changes: self.changes,
            slept: self.gaps.slept(),
        })
    }

    /// The lowest rate at which the moments have one phase: they have it at multiples, too.
    fn inferred(&self, first_ns: u64) -> (Ticks, Option<u32>) {
        for (phases, hz) in self.phases.iter().zip(RATES_HZ) {
            let all: u64 = phases.0.iter().sum();
            let pair = |class: usize| phases.0[class] + phases.0[(class + 1) % CLASSES];
            let best = (0..CLASSES).max_by_key(|class| (pair(*class), CLASSES - class));
            let Some(best) =
                best.filter(|class| all > 10 && pair(*class) * 100 >= all * SHARE_PERCENT_MIN)
            else {
                continue;
            };
            let period = period_ns(hz);
            let phase = (best as u64 * period / CLASSES as u64).wrapping_sub(LEAD_NS);
            let into = first_ns.wrapping_sub(phase) % period;
            return (Ticks::Inferred { first_ns: first_ns - into }, Some(hz));
        }
        (Ticks::Unknown, None)
    }
}
