//! `CompactSched`: switches and wakeups of a bundle as columns, with names by number and times as differences.

use super::event::Events;
use super::wire::{self, Fields};
use crate::event::{Comm, Kind, Other, Switch, TaskRef, Value, Wakeup};
use crate::format;

/// The columns' field numbers.
const SWITCH_TIME: usize = 1;
const SWITCH_PREV_STATE: usize = 2;
const SWITCH_NEXT_PID: usize = 3;
const SWITCH_NEXT_PRIO: usize = 4;
const NAMES: u32 = 5;
const SWITCH_NEXT_COMM: usize = 6;
const WAKING_TIME: usize = 7;
const WAKING_PID: usize = 8;
const WAKING_CPU: usize = 9;
const WAKING_PRIO: usize = 10;
const WAKING_COMM: usize = 11;
const WAKING_FLAGS: usize = 12;

/// The columns of one bundle, and how far they were read.
#[derive(Debug, Default)]
pub(super) struct Compact {
    columns: [Vec<u64>; WAKING_FLAGS + 1],
    names: Vec<Comm>,
    switches: Progress,
    wakings: Progress,
    /// Events whose parts are not all there.
    pub(super) left_out: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    next: usize,
    count: usize,
    /// Of the next one.
    time_ns: u64,
}

/// An event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) time_ns: u64,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Switch { prev_state: u64, next: TaskRef },
    Waking { wakeup: Wakeup, flags: Option<u64> },
}

impl Compact {
    pub(super) fn clear(&mut self) {
        self.columns.iter_mut().for_each(Vec::clear);
        self.names.clear();
        (self.switches, self.wakings) = (Progress::default(), Progress::default());
        self.left_out = 0;
    }

    /// Takes in the columns; `None` if they are damaged, what was there before the damage stays.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let mut read = || {
            for field in Fields::new(bytes) {
                let (number, value) = field.ok()?;
                if number == NAMES {
                    self.names.push(Comm::new(value.bytes()?));
                } else if let Some(column) = self.columns.get_mut(number as usize) {
                    wire::numbers(value, column)?;
                }
            }
            Some(())
        };
        let result = read();
        self.switches = self.progress(
            SWITCH_TIME,
            &[SWITCH_PREV_STATE, SWITCH_NEXT_PID, SWITCH_NEXT_PRIO, SWITCH_NEXT_COMM],
        );
        // Flags came later than the other columns.
        self.wakings =
            self.progress(WAKING_TIME, &[WAKING_PID, WAKING_CPU, WAKING_PRIO, WAKING_COMM]);
        result
    }

    fn progress(&mut self, time: usize, others: &[usize]) -> Progress {
        let sizes = others.iter().map(|column| self.columns[*column].len());
        let sizes = sizes.chain([self.columns[time].len()]);
        let (least, most) = sizes.fold((usize::MAX, 0), |(a, b), n| (a.min(n), b.max(n)));
        self.left_out += most - least;
        let time_ns = self.columns[time].first().copied().unwrap_or(0);
        Progress { next: 0, count: least, time_ns }
    }

    /// The time of the first event.
    pub(super) fn first_ns(&self) -> Option<u64> {
        let both = [self.switches, self.wakings].into_iter();
        both.filter(|one| one.count > 0).map(|one| one.time_ns).min()
    }

    /// The next event in the order of time.
    pub(super) fn next(&mut self) -> Option<Next> {
        loop {
            let has_switch = self.switches.next < self.switches.count;
            let has_waking = self.wakings.next < self.wakings.count;
            let is_switch = match (has_switch, has_waking) {
                (false, false) => return None,
                (true, true) => self.switches.time_ns < self.wakings.time_ns,
                (has_switch, _) => has_switch,
            };
            let columns = &self.columns;
            let (progress, times) = match is_switch {
                true => (&mut self.switches, &columns[SWITCH_TIME]),
                false => (&mut self.wakings, &columns[WAKING_TIME]),
            };
            let (at, time_ns) = (progress.next, progress.time_ns);
            progress.next += 1;
            let delta_ns = times.get(progress.next).copied().unwrap_or(0);
            progress.time_ns = time_ns.wrapping_add(delta_ns);
            let name = match is_switch {
                true => columns[SWITCH_NEXT_COMM][at],
                false => columns[WAKING_COMM][at],
            };
            let Some(&comm) = usize::try_from(name).ok().and_then(|name| self.names.get(name))
            else {
                self.left_out += 1;
                continue;
            };
            let what = match is_switch {
                true => What::Switch {
                    prev_state: columns[SWITCH_PREV_STATE][at],
                    next: TaskRef {
                        pid: columns[SWITCH_NEXT_PID][at] as i32,
                        comm,
                        prio: columns[SWITCH_NEXT_PRIO][at] as i32,
                    },
                },
                false => What::Waking {
                    wakeup: Wakeup {
                        task: TaskRef {
                            pid: columns[WAKING_PID][at] as i32,
                            comm,
                            prio: columns[WAKING_PRIO][at] as i32,
                        },
                        target_cpu: columns[WAKING_CPU][at] as u32,
                    },
                    flags: columns[WAKING_FLAGS].get(at).copied(),
                },
            };
            return Some(Next { time_ns, what });
        }
    }
}

/// A switch. Where it is not known who left, as for the first of a CPU and behind gaps, it is an event with
/// the fields that are there: nothing is made up.
pub(super) fn switch(
    prev: Option<TaskRef>,
    prev_state: u64,
    next: TaskRef,
    events: &mut Events,
) -> Kind {
    let Some(prev) = prev else {
        let fields = vec![
            (events.name(b"prev_state"), Value::Signed(prev_state as i64)),
            (events.name(b"next_comm"), Value::Text(next.comm.to_text())),
            (events.name(b"next_pid"), Value::Signed(next.pid.into())),
            (events.name(b"next_prio"), Value::Signed(next.prio.into())),
        ];
        return Kind::Other(Other {
            system: events.name(b"sched"),
            name: events.name(b"sched_switch"),
            fields,
        });
    };
    Kind::Switch(Switch {
        prev,
        prev_state: format::state_of(prev_state),
        prev_letter: format::letter_of(prev_state),
        next,
    })
}
