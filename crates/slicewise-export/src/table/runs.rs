//! A row for each run.

use slicewise_analysis::{ThreadId, Threads};
use slicewise_ftrace::{Event, Kind, Switch, SwitchState, TaskRef};

use super::{Cell, Column, number, text};
use crate::names::state_text;

pub(super) const COLUMNS: [Column; 14] = [
    number("start_ns"),
    number("end_ns"),
    number("cpu"),
    number("tid"),
    number("tgid"),
    text("comm"),
    number("prio"),
    number("wait_ns"),
    number("sched_delay_ns"),
    number("run_ns"),
    text("left_state"),
    number("next_tid"),
    text("next_comm"),
    number("migrated_from"),
];

/// A run of a task on a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    id: ThreadId,
    task: TaskRef,
    cpu: u32,
    /// `None` if it ran before the trace began, or since some time in a gap.
    start_ns: Option<u64>,
    /// Off its CPU before that, and since when runnable; `None` if that was not seen.
    wait_ns: Option<u64>,
    delay_ns: Option<u64>,
    /// Where it ran before, if that was another CPU.
    migrated_from: Option<u32>,
    /// `None` if it runs when the trace ends.
    end: Option<(u64, &'static str, TaskRef)>,
}

impl Run {
    pub(super) fn row(&self, threads: &Threads) -> [Cell<'static>; COLUMNS.len()] {
        let tgid = Some(threads[self.id].tgid).filter(|tgid| *tgid > 0);
        let end_ns = self.end.map(|(end_ns, ..)| end_ns);
        let run_ns = self.start_ns.zip(end_ns).map(|(start, end)| end.saturating_sub(start));
        [
            self.start_ns.into(),
            end_ns.into(),
            self.cpu.into(),
            self.task.pid.into(),
            tgid.into(),
            self.task.comm.to_text().into(),
            self.task.prio.into(),
            self.wait_ns.into(),
            self.delay_ns.into(),
            run_ns.into(),
            self.end.map(|(_, state, _)| state).into(),
            self.end.map(|(.., next)| next.pid).into(),
            self.end.map(|(.., next)| next.comm.to_text()).into(),
            self.migrated_from.into(),
        ]
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Past {
    is_running: bool,
    runnable_since_ns: Option<u64>,
    left_ns: Option<u64>,
    last_cpu: Option<u32>,
}

/// Finds runs.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// By CPU.
    current: Vec<Option<Run>>,
    /// By task.
    past: Vec<Past>,
}

impl Runs {
    /// Takes in an event; the run that it ends.
    pub(super) fn event(&mut self, threads: &mut Threads, event: &Event) -> Option<Run> {
        let cpu = event.cpu as usize;
        match &event.kind {
            Kind::Switch(switch) => self.switch(threads, event, switch),
            Kind::Wakeup(wakeup) | Kind::WakeupNew(wakeup) | Kind::Waking(wakeup) => {
                let past = self.past(threads.of(&wakeup.task));
                if !past.is_running {
                    past.runnable_since_ns.get_or_insert(event.time_ns);
                }
                None
            }
            Kind::Lost(_) => {
                // Who ran before the gap need not be who runs after it.
                *self.current.get_mut(cpu)? = None;
                None
            }
            _ => None,
        }
    }

    fn switch(&mut self, threads: &mut Threads, event: &Event, switch: &Switch) -> Option<Run> {
        let (cpu, now_ns) = (event.cpu as usize, event.time_ns);
        if self.current.len() <= cpu {
            self.current.resize(cpu + 1, None);
        }
        let (prev, next) = (threads.of(&switch.prev), threads.of(&switch.next));
        let current = self.current[cpu].take().filter(|run| run.id == prev);
        let mut ended = None;
        if switch.prev.pid != 0 {
            let unseen = Run {
                id: prev,
                task: switch.prev,
                cpu: event.cpu,
                start_ns: None,
                wait_ns: None,
                delay_ns: None,
                migrated_from: None,
                end: None,
            };
            // The name may have changed while it ran.
            let run = Run { task: switch.prev, ..current.unwrap_or(unseen) };
            ended = Some(Run { end: Some((now_ns, state_text(switch), switch.next)), ..run });
            let goes_on =
                matches!(switch.prev_state, SwitchState::Runnable | SwitchState::Preempted);
            *self.past(prev) = Past {
                is_running: false,
                runnable_since_ns: goes_on.then_some(now_ns),
                left_ns: Some(now_ns),
                last_cpu: Some(event.cpu),
            };
        }
        if switch.next.pid != 0 {
            let past = self.past(next);
            past.is_running = true;
            let since = |ns: u64| now_ns.saturating_sub(ns);
            self.current[cpu] = Some(Run {
                id: next,
                task: switch.next,
                cpu: event.cpu,
                start_ns: Some(now_ns),
                wait_ns: past.left_ns.map(since),
                delay_ns: past.runnable_since_ns.take().map(since),
                migrated_from: past.last_cpu.filter(|last| *last != event.cpu),
                end: None,
            });
        }
        ended
    }

    /// Runs that go on.
    pub(super) fn open(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.current).into_iter().flatten().collect()
    }

    fn past(&mut self, task: ThreadId) -> &mut Past {
        let index = task.index();
        if self.past.len() <= index {
            self.past.resize(index + 1, Past::default());
        }
        &mut self.past[index]
    }
}
