//! What happens next: a tournament tree over slots that each have at most one pending time.
//!
//! Arming, re-arming and disarming a slot are the same operation, done in place on the path from
//! its leaf to the root; nothing is ever searched for or left behind.

/// A slot that has no pending time.
const NEVER: u128 = u128::MAX;
/// How many bits of a key number the slot.
const SLOT_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
/// One past the greatest sequence number.
const SEQUENCE_END: u64 = 1 << (64 - SLOT_BITS);

/// The most slots there can be.
pub(crate) const SLOTS_MAX: usize = 1 << SLOT_BITS;

/// Pending events, at most one for every slot. Equal times come in the order they were armed.
///
/// Keys are time (64 bits), sequence number (40), slot (24), so that one comparison of whole keys
/// decides, and the winner knows its slot. Sequence numbers and slots alone tell keys apart.
#[derive(Clone, Debug)]
pub(crate) struct EventQueue {
    /// A complete binary tree of pairs: pair 1 is the final, pair `p` is played between the
    /// winners of pairs `2p` and `2p + 1`; the pairs from `first` on are of slots. Pair 0 has the
    /// winner of the final on its right side.
    pairs: Vec<[u128; 2]>,
    first: usize,
    sequence: u64,
    armed: usize,
}

impl EventQueue {
    /// A queue of at least this many slots, none armed.
    pub(crate) fn new(slots: usize) -> Self {
        let first = slots.div_ceil(2).next_power_of_two();
        Self { pairs: vec![[NEVER; 2]; 2 * first], first, sequence: 0, armed: 0 }
    }

    /// Makes room for slots below `slots`. Pending events stay.
    pub(crate) fn grow(&mut self, slots: usize) {
        if slots <= 2 * self.first {
            return;
        }
        let mut grown = Self::new(slots);
        let old = &self.pairs[self.first..];
        grown.pairs[grown.first..][..old.len()].copy_from_slice(old);
        grown.rebuild();
        (self.pairs, self.first) = (grown.pairs, grown.first);
    }

    fn rebuild(&mut self) {
        for pair in (1..self.pairs.len()).rev() {
            let [left, right] = self.pairs[pair];
            self.pairs[pair / 2][pair % 2] = left.min(right);
        }
    }

    /// Sets the time of a slot, replacing an earlier one. The end of time means never.
    #[inline]
    pub(crate) fn arm(&mut self, slot: usize, time_ns: u64) {
        if time_ns == u64::MAX {
            return self.disarm(slot);
        }
        if self.sequence == SEQUENCE_END {
            self.renumber();
        }
        let low = self.sequence << SLOT_BITS | slot as u64;
        self.sequence += 1;
        self.armed += usize::from(!self.is_armed(slot));
        self.set(slot, u128::from(time_ns) << 64 | u128::from(low));
    }

    /// Takes the time of a slot away.
    #[inline]
    pub(crate) fn disarm(&mut self, slot: usize) {
        if self.is_armed(slot) {
            self.armed -= 1;
            self.set(slot, NEVER);
        }
    }

    /// Whether the slot has a pending time.
    #[inline]
    pub(crate) fn is_armed(&self, slot: usize) -> bool {
        self.pairs[self.first + slot / 2][slot % 2] as u64 != NEVER as u64
    }

    /// How many slots have a pending time.
    #[inline]
    pub(crate) fn armed(&self) -> usize {
        self.armed
    }

    /// The earliest time, and whose it is. The slot stays armed.
    #[inline]
    pub(crate) fn first(&self) -> Option<(u64, usize)> {
        let key = self.pairs[0][1];
        (key != NEVER).then_some(((key >> 64) as u64, (key as u64 & SLOT_MASK) as usize))
    }

    fn set(&mut self, slot: usize, key: u128) {
        let (mut pair, mut side) = (self.first + slot / 2, slot % 2);
        let mut winner = key;
        loop {
            let players = &mut self.pairs[pair];
            if players[side] as u64 == winner as u64 {
                return;
            }
            players[side] = winner;
            if pair == 0 {
                return;
            }
            winner = players[0].min(players[1]);
            side = pair % 2;
            pair /= 2;
        }
    }

    /// Starts sequence numbers anew, keeping the order of all that is pending.
    #[cold]
    fn renumber(&mut self) {
        let slots = self.pairs[self.first..].as_flattened_mut();
        let mut order: Vec<u32> =
            (0..slots.len() as u32).filter(|slot| slots[*slot as usize] != NEVER).collect();
        order.sort_unstable_by_key(|slot| slots[*slot as usize]);
        for (sequence, slot) in order.iter().enumerate() {
            let key = &mut slots[*slot as usize];
            let low = (sequence as u64) << SLOT_BITS | u64::from(*slot);
            *key = *key >> 64 << 64 | u128::from(low);
        }
        self.sequence = order.len() as u64;
        self.rebuild();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut EventQueue) -> Vec<(u64, usize)> {
        let mut all = Vec::new();
        while let Some((time, slot)) = queue.first() {
            all.push((time, slot));
            queue.disarm(slot);
        }
        all
    }

    #[test]
    fn events_come_by_time_and_equal_times_in_the_order_armed() {
        let mut queue = EventQueue::new(5);
        for (slot, time) in [(4, 10), (0, 10), (2, 5), (3, 10), (1, 20)] {
            queue.arm(slot, time);
        }
        assert_eq!(queue.armed(), 5);
        assert_eq!(drain(&mut queue), [(5, 2), (10, 4), (10, 0), (10, 3), (20, 1)]);
        assert_eq!(queue.armed(), 0);
    }

    #[test]
    fn rearming_replaces_and_goes_behind_its_equals() {
        let mut queue = EventQueue::new(3);
        queue.arm(0, 10);
        queue.arm(1, 10);
        queue.arm(0, 10);
        queue.arm(2, 1);
        queue.disarm(2);
        queue.disarm(2);
        assert_eq!(drain(&mut queue), [(10, 1), (10, 0)]);
        queue.arm(0, u64::MAX);
        assert_eq!(queue.first(), None);
    }

    #[test]
    fn growing_and_renumbering_keep_the_order() {
        let mut queue = EventQueue::new(2);
        queue.arm(1, 7);
        queue.arm(0, 7);
        queue.grow(100);
        queue.sequence = SEQUENCE_END - 1;
        queue.arm(99, 7);
        queue.arm(50, 7);
        assert_eq!(drain(&mut queue), [(7, 1), (7, 0), (7, 99), (7, 50)]);
    }

    #[test]
    fn one_slot_is_enough() {
        let mut queue = EventQueue::new(1);
        queue.arm(0, 3);
        assert_eq!(drain(&mut queue), [(3, 0)]);
    }
}
