//! The fields of a bundle; where they are damaged, up to the next event that makes sense.

use super::wire::{Fields, Value, varint};
use super::{EVENT, FTRACE_CLOCK, LOST_EVENTS};

/// The tag of an event in a bundle, and that of the time it begins with.
const EVENT_TAG: u8 = 2 << 3 | 2;
const TIME_TAG: u8 = 1 << 3;
/// No event is shorter.
const EVENT_BYTES_MIN: usize = 4;
/// So many events of a bundle are looked into once they turned out to make no sense: those behind have to be
/// what they seem, or else some bundles would take for ever.
const RETRIES_MAX: u32 = 1000;
/// Fields of bundles have numbers below this.
const FIELD_MAX: u32 = 1 << 12;

/// A part of a bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part<'b> {
    Field(u32, Value<'b>),
    /// Bytes that make no sense, and were passed over.
    Damage,
}

/// The parts of a bundle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'b> {
    rest: &'b [u8],
    /// The same before the last part.
    before: &'b [u8],
    retries: u32,
}

impl<'b> Parts<'b> {
    pub(super) fn new(bundle: &'b [u8]) -> Self {
        Self { rest: bundle, before: bundle, retries: 0 }
    }

    /// The last part turned out to make no sense: goes on within it.
    pub(super) fn was_damage(&mut self) {
        if self.retries < RETRIES_MAX {
            self.retries += 1;
            self.rest = next_event(self.before);
        }
    }
}

impl<'b> Iterator for Parts<'b> {
    type Item = Part<'b>;

    #[inline]
    fn next(&mut self) -> Option<Part<'b>> {
        if self.rest.is_empty() {
            return None;
        }
        self.before = self.rest;
        let mut fields = Fields::new(self.rest);
        if let Some(Ok((number, value))) = fields.next() {
            let has_kind = match number {
                EVENT => value.bytes().is_some(),
                LOST_EVENTS | FTRACE_CLOCK => value.number().is_some(),
                _ => number < FIELD_MAX,
            };
            if has_kind {
                self.rest = fields.rest();
                return Some(Part::Field(number, value));
            }
        }
        self.rest = next_event(self.rest);
        Some(Part::Damage)
    }
}

/// From the next place on where an event begins, and another behind it, or something else that a bundle has.
fn next_event(bundle: &[u8]) -> &[u8] {
    let begins = |at: usize| -> Option<usize> {
        let (EVENT_TAG, rest) = bundle.get(at..)?.split_first().map(|(tag, rest)| (*tag, rest))?
        else {
            return None;
        };
        let (size, content) = varint(rest)?;
        let size = usize::try_from(size).ok().filter(|size| *size <= content.len())?;
        let is_event = size >= EVENT_BYTES_MIN && content[0] == TIME_TAG;
        is_event.then(|| bundle.len() - content.len() + size)
    };
    let tags = memchr::memchr_iter(EVENT_TAG, bundle.get(1..).unwrap_or(&[]));
    let mut starts = tags.map(|at| at + 1).filter(|at| {
        begins(*at).is_some_and(|end| {
            let other = |tag: &u8| *tag != EVENT_TAG && (1..=11).contains(&(*tag >> 3));
            bundle.get(end).is_none_or(other) || begins(end).is_some()
        })
    });
    starts.next().map_or(&[], |at| &bundle[at..])
}

#[cfg(test)]
mod tests {
    use super::{Part, Parts};
    use crate::perfetto::wire::Value;

    #[test]
    fn behind_damage_it_goes_on_with_the_next_event() {
        let event = [0x12, 4, 8, 5, 0x10, 1];
        let mut bundle = [&[8, 1][..], &event, &event, &event, &event].concat();
        let count = |bundle: &[u8]| {
            let events =
                Parts::new(bundle).filter(|p| matches!(p, Part::Field(2, Value::Bytes(_))));
            (events.count(), Parts::new(bundle).filter(|part| *part == Part::Damage).count())
        };
        assert_eq!(count(&bundle), (4, 0));
        // The tag of the second becomes one of a group.
        bundle[8] = 0x13;
        assert_eq!(count(&bundle), (3, 1));
        // Its length goes beyond the end.
        (bundle[8], bundle[9]) = (0x12, 0x7f);
        assert_eq!(count(&bundle), (3, 1));
    }

    #[test]
    fn an_event_that_swallowed_others_is_looked_into() {
        let event = [0x12, 4, 8, 5, 0x10, 1];
        let mut bundle = [event, event, event].concat();
        bundle[1] = 10;
        let mut parts = Parts::new(&bundle);
        assert_eq!(parts.next(), Some(Part::Field(2, Value::Bytes(&bundle[2..12]))));
        parts.was_damage();
        assert_eq!(parts.count(), 2);
    }
}
