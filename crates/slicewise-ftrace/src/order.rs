//! Events that come CPU by CPU, held back until they can be delivered in the order of time.

use crate::event::{Event, Kind, Value};
use crate::findings::Findings;

/// More events than this are not held back, whatever else is to come. Those with fields of any number and
/// length count as several.
const HELD_MAX: usize = 1 << 20;
/// So many bytes of a field count as an event.
const BYTES_COUNTED: usize = 64;

/// Events that are not delivered yet.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// As they came; and their times and places, in order. Those before `ready` are due.
    events: Vec<Option<Event>>,
    /// Where those that are held on go: rounds are large, and new memory for each costs more than the move.
    spare: Vec<Option<Event>>,
    order: Vec<(u64, u32)>,
    next: usize,
    ready: usize,
    /// Before this round, and in it; 0 if there was none.
    newest_ns: u64,
    newest_of_round_ns: u64,
    delivered_ns: u64,
    /// What events with fields count for besides.
    extra: usize,
    /// How many there were when it was last looked what is due.
    looked_at: usize,
}

/// What an event counts for besides as one.
#[inline]
fn extra(event: &Event) -> usize {
    let Kind::Other(other) = &event.kind else { return 0 };
    let bytes = other.fields.iter().map(|(_, value)| match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Signed(_) | Value::Unsigned(_) => 0,
    });
    bytes.map(|bytes| 1 + bytes / BYTES_COUNTED).sum()
}

impl Held {
    /// Not between [`Held::release`] and [`Held::forget_delivered`].
    #[inline]
    pub(crate) fn push(&mut self, event: Event) {
        debug_assert_eq!(self.ready, 0, "what was due is not forgotten");
        self.newest_of_round_ns = self.newest_of_round_ns.max(event.time_ns);
        self.extra += extra(&event);
        self.events.push(Some(event));
    }

    /// Whether enough came to look again what is due, so that all the looking takes no longer than the reading.
    pub(crate) fn is_worth_a_look(&self) -> bool {
        self.events.len() - self.looked_at >= self.events.len() / 4
    }

    /// The newest time of all that came so far.
    pub(crate) fn newest_ns(&self) -> u64 {
        self.newest_ns.max(self.newest_of_round_ns)
    }

    /// The newest time of all that came since this was last asked.
    pub(crate) fn take_newest_of_round_ns(&mut self) -> Option<u64> {
        let newest_ns = std::mem::take(&mut self.newest_of_round_ns);
        self.newest_ns = self.newest_ns.max(newest_ns);
        (newest_ns > 0).then_some(newest_ns)
    }

    /// What is delivered from now on should not be older than this.
    pub(crate) fn delivered_ns(&self) -> u64 {
        self.delivered_ns
    }

    /// The next event that is due.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Event> {
        if self.next >= self.ready {
            return None;
        }
        let (_, at) = self.order[self.next];
        self.next += 1;
        self.events[at as usize].take()
    }

    /// Whether something is due.
    pub(crate) fn is_ready(&self) -> bool {
        self.next < self.ready
    }

    /// Makes room once everything that was due is delivered.
    pub(crate) fn forget_delivered(&mut self) {
        if self.ready > 0 {
            let late = &self.order[self.ready..];
            let events = &mut self.events;
            self.spare.extend(late.iter().map(|(_, at)| events[*at as usize].take()));
            self.events.clear();
            std::mem::swap(&mut self.events, &mut self.spare);
            self.extra = match self.extra {
                0 => 0,
                _ => self.events.iter().flatten().map(extra).sum(),
            };
        }
        (self.next, self.ready) = (0, 0);
        self.looked_at = self.events.len();
    }

    /// Everything up to a time is due. What is older than what was delivered already comes late.
    pub(crate) fn release(&mut self, until_ns: u64, findings: &mut Findings) {
        let time = |event: &Option<Event>| event.as_ref().map_or(0, |event| event.time_ns);
        self.looked_at = self.events.len();
        self.order.clear();
        self.order.extend(self.events.iter().map(time).zip(0..));
        // Runs of CPUs, each in order: what a merging sort is best at. Equals stay as they came.
        self.order.sort_by_key(|(time_ns, _)| *time_ns);
        self.ready = self.order.partition_point(|(time_ns, _)| *time_ns <= until_ns);
        let due = &self.order[..self.ready];
        // Time 0 is no time: these say what was there before.
        let timed = due.iter().filter(|(time_ns, _)| *time_ns > 0);
        let late = timed.take_while(|(time_ns, _)| *time_ns < self.delivered_ns).count();
        findings.backwards += late as u64;
        if let Some((last_ns, _)) = due.last() {
            self.delivered_ns = self.delivered_ns.max(*last_ns);
        }
    }

    /// If there are too many, because nothing says what is due or what says it is damaged: the older half
    /// cannot wait any longer. Whether something is due now.
    pub(crate) fn release_if_full(&mut self, findings: &mut Findings) -> bool {
        if self.events.len() + self.extra < HELD_MAX || self.events.is_empty() {
            return false;
        }
        let mut times: Vec<u64> = self.events.iter().flatten().map(|event| event.time_ns).collect();
        let half = times.len() / 2;
        let (_, middle, _) = times.select_nth_unstable(half);
        let middle = *middle;
        self.release(middle, findings);
        true
    }
}
