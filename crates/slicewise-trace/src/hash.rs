//! A fingerprint of a stream: equal streams have equal fingerprints, on every platform and in
//! every release.
//!
//! # The algorithm, frozen
//!
//! The stream becomes 64-bit words, in order. Each word `w` changes the state `h` by
//!
//! ```text
//! h = rotate_left((h xor w) * K, 29)        K = 0x9E3779B97F4A7C15
//! ```
//!
//! For a given word a step is a permutation of the states, and for a given state it is a
//! permutation of the words, because `K` is odd. So two streams of the same words but one always
//! have different fingerprints. A step is one multiplication, which keeps the cost of an event at
//! a few nanoseconds. [`TraceHash::value`] spreads the state once more, so that the digits printed
//! all depend on the last words too.
//!
//! Every event is a time word, a head word that says which event it is, and the words of its
//! fields; the head word determines how many words follow, so no two streams make the same words.

use crate::event::policy_numbers;
use crate::{Event, GroupInfo, Sink, Slot, TaskInfo};
use slicewise_sched::{Attr, Policy};

/// 2^64 divided by the golden ratio, made odd: its multiples spread well.
const K: u64 = 0x9E37_79B9_7F4A_7C15;
/// Where an empty stream starts.
const START: u64 = 0x736C_6963_6577_6973;

/// Folds everything it is told into 64 bits.
///
/// [`Event::Values`] and [`Event::Loop`] are left out: whether they are sent depends on who else
/// listens, and asking for a trace or for logs must not change the fingerprint of a run.
///
/// # Examples
///
/// ```
/// use slicewise_trace::{Event, Sink, Slot, TraceHash};
///
/// let mut hash = TraceHash::new();
/// hash.event(1_000, &Event::Exit { task: Slot(0) });
/// hash.finish(2_000);
/// assert_eq!(hash.to_string(), "93b598b1cbfc7155");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceHash {
    state: u64,
}

impl Default for TraceHash {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints the value as 16 hexadecimal digits.
impl std::fmt::Display for TraceHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.value())
    }
}

impl TraceHash {
    /// The fingerprint of a stream of which nothing has been seen.
    pub fn new() -> Self {
        Self { state: START }
    }

    /// The fingerprint of all that was seen so far. Print it as 16 hexadecimal digits, as
    /// `Display` does.
    pub fn value(&self) -> u64 {
        let mut value = self.state;
        value = (value ^ (value >> 32)).wrapping_mul(K);
        value = (value ^ (value >> 29)).wrapping_mul(K);
        value ^ (value >> 32)
    }

    #[inline(always)]
    fn word(&mut self, word: u64) {
        self.state = (self.state ^ word).wrapping_mul(K).rotate_left(29);
    }

    fn text(&mut self, text: &str) {
        self.word(text.len() as u64);
        for chunk in text.as_bytes().chunks(8) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(bytes));
        }
    }

    fn attr(&mut self, attr: &Attr) {
        let (policy, priority) = policy_numbers(attr.policy);
        let [nice] = attr.nice.get().to_le_bytes();
        let bytes = [
            policy,
            priority,
            nice,
            u8::from(attr.reset_on_fork),
            u8::from(attr.slice_ns.is_some()),
            0,
            0,
            0,
        ];
        self.word(u64::from_le_bytes(bytes));
        self.word(attr.slice_ns.unwrap_or(0));
        if let Policy::Deadline(params) = attr.policy {
            self.word(params.runtime_ns);
            self.word(params.deadline_ns);
            self.word(params.period_ns);
            self.word(u64::from(params.reclaim) | u64::from(params.overrun_signal) << 1);
        }
    }
}

/// What the low byte of a head word says.
mod head {
    pub(super) const TASK: u64 = 1;
    pub(super) const WAKEUP: u64 = 2;
    pub(super) const SWITCH: u64 = 3;
    pub(super) const MIGRATE: u64 = 4;
    pub(super) const CHANGED: u64 = 5;
    pub(super) const EXIT: u64 = 6;
    pub(super) const RESPONSE: u64 = 7;
    pub(super) const DEVICE: u64 = 9;
    pub(super) const END: u64 = 10;
    pub(super) const GROUP: u64 = 11;
    pub(super) const THROTTLE: u64 = 12;
    pub(super) const BUDGET: u64 = 13;
    pub(super) const RT_THROTTLE: u64 = 14;
    pub(super) const SIGNAL: u64 = 15;
}

/// A head word: kind in byte 0, flags in byte 1, reason in byte 2, a number in the upper half.
#[inline(always)]
fn head_word(kind: u64, flags: u64, reason: u64, number: u32) -> u64 {
    kind | flags << 8 | reason << 16 | u64::from(number) << 32
}

#[inline(always)]
fn slot_or_zero(slot: Option<Slot>) -> u64 {
    slot.map_or(0, |slot| u64::from(slot.0))
}

impl Sink for TraceHash {
    fn group(&mut self, now_ns: u64, info: &GroupInfo) {
        self.word(now_ns);
        let flags = u64::from(info.parent.is_some());
        self.word(head_word(head::GROUP, flags, 0, info.group));
        self.word(info.parent.unwrap_or(0).into());
        self.text(&info.path);
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.word(now_ns);
        let flags = u64::from(info.forked_from.is_some()) | u64::from(info.group.is_some()) << 1;
        self.word(head_word(head::TASK, flags, 0, info.slot.0));
        self.word(u64::from(info.pid) | u64::from(info.forked_from.unwrap_or(0)) << 32);
        // Tasks of the root make the words they made before there were groups.
        if let Some(group) = info.group {
            self.word(group.into());
        }
        self.text(&info.name);
        self.attr(&info.attr);
    }

    #[inline(always)]
    fn event(&mut self, now_ns: u64, event: &Event) {
        if let Event::Values { .. } | Event::Loop { .. } = event {
            return;
        }
        self.word(now_ns);
        match *event {
            Event::Wakeup { task, cpu, waker, new } => {
                let flags = u64::from(waker.is_some()) | u64::from(new) << 1;
                self.word(head_word(head::WAKEUP, flags, 0, cpu.0));
                self.word(u64::from(task.0) | slot_or_zero(waker) << 32);
            }
            Event::Switch { cpu, prev, left, next } => {
                let flags = u64::from(prev.is_some()) | u64::from(next.is_some()) << 1;
                self.word(head_word(head::SWITCH, flags, left.number(), cpu.0));
                self.word(slot_or_zero(prev) | slot_or_zero(next) << 32);
            }
            Event::Migrate { task, from, to } => {
                self.word(head_word(head::MIGRATE, 0, 0, task.0));
                self.word(u64::from(from.0) | u64::from(to.0) << 32);
            }
            Event::Changed { task } => self.word(head_word(head::CHANGED, 0, 0, task.0)),
            Event::Exit { task } => self.word(head_word(head::EXIT, 0, 0, task.0)),
            Event::Response { task, response_ns } => {
                self.word(head_word(head::RESPONSE, 0, 0, task.0));
                self.word(response_ns);
            }
            Event::Device { device, busy } => {
                self.word(head_word(head::DEVICE, u64::from(busy), 0, device));
            }
            Event::Throttle { group, cpu, stops } => {
                self.word(head_word(head::THROTTLE, u64::from(stops), 0, group));
                self.word(cpu.0.into());
            }
            Event::Budget { task, cpu, stops } => {
                self.word(head_word(head::BUDGET, u64::from(stops), 0, cpu.0));
                self.word(task.0.into());
            }
            Event::RtThrottle { group, cpu, stops } => {
                let flags = u64::from(stops) | u64::from(group.is_some()) << 1;
                self.word(head_word(head::RT_THROTTLE, flags, 0, cpu.0));
                if let Some(group) = group {
                    self.word(group.into());
                }
            }
            Event::Signal { task, kills } => {
                self.word(head_word(head::SIGNAL, u64::from(kills), 0, task.0));
            }
            Event::Values { .. } | Event::Loop { .. } => {}
        }
    }

    fn finish(&mut self, now_ns: u64) {
        self.word(now_ns);
        self.word(head_word(head::END, 0, 0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Left;
    use slicewise_sched::{CpuId, Nice, Policy, RtPriority};

    fn stream() -> Vec<(u64, Event)> {
        let (a, b, cpu) = (Slot(0), Slot(1), CpuId(1));
        vec![
            (0, Event::Wakeup { task: a, cpu, waker: None, new: true }),
            (0, Event::Switch { cpu, prev: None, left: Left::Idle, next: Some(a) }),
            (5, Event::Wakeup { task: b, cpu, waker: Some(a), new: false }),
            (6, Event::Switch { cpu, prev: Some(a), left: Left::Preempted, next: Some(b) }),
            (7, Event::Migrate { task: a, from: cpu, to: CpuId(0) }),
            (7, Event::Changed { task: b }),
            (8, Event::Response { task: b, response_ns: 3 }),
            (9, Event::Device { device: 0, busy: true }),
            (10, Event::Exit { task: b }),
        ]
    }

    fn info() -> TaskInfo {
        let policy = Policy::Fifo(RtPriority::new(50).unwrap());
        let attr = Attr { policy, nice: Nice::MIN, slice_ns: Some(1), reset_on_fork: true };
        let name = "a long name".into();
        TaskInfo { slot: Slot(0), pid: 7, name, attr, forked_from: Some(2), group: None }
    }

    fn hash(info: &TaskInfo, events: &[(u64, Event)]) -> u64 {
        let mut hash = TraceHash::new();
        hash.task(0, info);
        for (at, event) in events {
            hash.event(*at, event);
        }
        hash.finish(11);
        hash.value()
    }

    #[test]
    fn values_never_change_between_releases() {
        assert_eq!(format!("{:016x}", TraceHash::new().value()), "a11037e85929644e");
        assert_eq!(format!("{:016x}", hash(&info(), &stream())), "0a356a8e1b093aab");
    }

    #[test]
    fn order_and_time_count() {
        let base = hash(&info(), &stream());
        let mut swapped = stream();
        swapped.swap(4, 5);
        let mut later = stream();
        later[8].0 = 11;
        assert_ne!(hash(&info(), &swapped), base);
        assert_ne!(hash(&info(), &later), base);
    }

    #[test]
    fn every_part_of_a_task_counts() {
        let base = hash(&info(), &stream());
        let changes: [fn(&mut TaskInfo); 10] = [
            |info| info.group = Some(0),
            |info| info.slot = Slot(1),
            |info| info.pid = 8,
            |info| info.name.push('\0'),
            |info| info.attr.policy = Policy::Rr(RtPriority::new(50).unwrap()),
            |info| info.attr.policy = Policy::Fifo(RtPriority::new(51).unwrap()),
            |info| info.attr.nice = Nice::MAX,
            |info| info.attr.slice_ns = None,
            |info| info.attr.reset_on_fork = false,
            |info| info.forked_from = None,
        ];
        for change in changes {
            let mut other = info();
            change(&mut other);
            assert_ne!(hash(&other, &stream()), base, "{other:?}");
        }
    }

    #[test]
    fn groups_and_their_stops_count() {
        let group = |group, parent, path: &str| GroupInfo { group, parent, path: path.into() };
        let of = |info: &GroupInfo, event: Option<Event>| {
            let mut hash = TraceHash::new();
            hash.group(0, info);
            event.iter().for_each(|event| hash.event(1, event));
            hash.value()
        };
        let throttle = |group, cpu, stops| Event::Throttle { group, cpu: CpuId(cpu), stops };
        let streams = [
            of(&group(0, None, "a"), None),
            of(&group(0, None, "b"), None),
            of(&group(1, None, "a"), None),
            of(&group(1, Some(0), "a"), None),
            of(&group(0, None, "a"), Some(throttle(0, 0, true))),
            of(&group(0, None, "a"), Some(throttle(0, 0, false))),
            of(&group(0, None, "a"), Some(throttle(0, 1, true))),
            of(&group(0, None, "a"), Some(throttle(1, 0, true))),
        ];
        for (at, one) in streams.iter().enumerate() {
            assert!(streams[..at].iter().all(|other| other != one), "{at}");
        }
        assert_eq!(format!("{:016x}", streams[4]), "6241dd095a4053e3", "for ever");
    }

    #[test]
    fn slot_zero_is_not_the_idle_task() {
        let switch = |prev| Event::Switch { cpu: CpuId(0), prev, left: Left::Idle, next: None };
        assert_ne!(
            hash(&info(), &[(0, switch(None))]),
            hash(&info(), &[(0, switch(Some(Slot(0))))])
        );
    }

    #[test]
    fn listeners_that_ask_for_values_or_loops_change_nothing() {
        let mut with_values = stream();
        let values = Event::Values { task: Slot(0), cpu: CpuId(0), vruntime_ns: 1, lag_ns: -1 };
        with_values.insert(3, (5, values));
        let record = crate::LoopRecord::default();
        with_values.insert(5, (6, Event::Loop { task: Slot(0), record }));
        assert_eq!(hash(&info(), &with_values), hash(&info(), &stream()));
    }
}
