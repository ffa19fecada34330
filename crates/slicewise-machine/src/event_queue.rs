//! What happens next: a radix queue over slots that each have at most one pending time.
//!
//! Time only goes forward, so a pending time is filed by the highest digit in which it differs from
//! the time of the last event: near events in fine buckets, far ones in coarse buckets. The first
//! event is in the first bucket that is not empty; when it is taken, the rest of its bucket is filed
//! again, finer. Arming and disarming are O(1), and an event is filed at most once for each digit of
//! a time. Nothing is allocated after the start.
//!
//! A slot that is put off stays in its bucket, however late it is due then: it is filed anew when the
//! bucket's turn comes. Slice timers are put off at each switch and seldom fire.
//!
//! Times in a bucket of the finest digit are equal. Its slots are put in order once, when its turn comes:
//! the ticks of many CPUs are due together.

use core::cmp::Reverse;
use core::hint::cold_path;

/// Digits of a time, the finest first: where each begins, in bits. Any would do; with these, what is
/// due within 16 ms goes to buckets of 16 us, where it is mostly alone, and all buckets have a bit in
/// 64 words.
const SHIFTS: [u32; LEVELS] = [0, 6, 14, 24, 34, 43, 52, 61];
const LEVELS: usize = 8;
const BUCKETS: usize = 64 * 64;

/// The buckets of one digit.
#[derive(Clone, Copy)]
struct Level {
    shift: u32,
    /// The values of the digit less one.
    mask: u16,
    /// The bucket of value 0.
    first: u16,
}

const LEVEL_TABLE: [Level; LEVELS] = {
    let mut levels = [Level { shift: 0, mask: 0, first: 0 }; LEVELS];
    let (mut level, mut first) = (0, 0);
    while level < LEVELS {
        let end = if level + 1 < LEVELS { SHIFTS[level + 1] } else { u64::BITS };
        let values = 1 << (end - SHIFTS[level]);
        levels[level] = Level { shift: SHIFTS[level], mask: values - 1, first };
        // Each begins with a word of its own.
        first += if values < 64 { 64 } else { values };
        level += 1;
    }
    assert!(first as usize <= BUCKETS);
    levels
};

/// The digit each bit of a time belongs to.
const OF_BIT: [Level; 64] = {
    let mut of = [LEVEL_TABLE[0]; 64];
    let mut bit = 0;
    while bit < 64 {
        let mut level = LEVELS - 1;
        while SHIFTS[level] as usize > bit {
            level -= 1;
        }
        of[bit] = LEVEL_TABLE[level];
        bit += 1;
    }
    of
};

/// The digit each word of buckets belongs to.
const OF_WORD: [Level; 64] = {
    let mut of = [LEVEL_TABLE[LEVELS - 1]; 64];
    let mut word = 0;
    while word < 64 {
        let mut level = LEVELS - 1;
        while LEVEL_TABLE[level].first as usize > word * 64 {
            level -= 1;
        }
        of[word] = LEVEL_TABLE[level];
        word += 1;
    }
    of
};

impl Level {
    /// The bucket of this time.
    #[inline(always)]
    fn bucket(self, time_ns: u64) -> u32 {
        u32::from(self.first) + u32::from((time_ns >> self.shift) as u16 & self.mask)
    }

    #[inline(always)]
    fn of(bucket: u32) -> Self {
        OF_WORD[bucket as usize / 64 % 64]
    }

    /// How far a bucket is from that of `now_ns`, in buckets.
    #[inline(always)]
    fn distance(self, bucket: u32, now_ns: u64) -> u64 {
        let digit = (bucket as u16).wrapping_sub(self.first);
        u64::from(digit.wrapping_sub((now_ns >> self.shift) as u16) & self.mask)
    }
}

/// No slot; no bucket.
const NONE: u32 = u32::MAX;
/// Not a bucket: the slot is among those that are due.
const DUE: u32 = BUCKETS as u32;
/// Beside the number of a bucket: the slot is due later than the bucket is for.
const LATER: u32 = 1 << 31;

/// The most slots there can be.
pub(crate) const SLOTS_MAX: usize = 1 << 24;

/// A slot, as a link of the list of its bucket.
#[derive(Clone, Copy, Debug)]
struct Link {
    time_ns: u64,
    next: u32,
    previous: u32,
    /// [`NONE`] while not armed; else the bucket, perhaps with [`LATER`], or [`DUE`].
    bucket: u32,
    /// Tells which of two was armed first.
    turn: u32,
}

const UNARMED: Link = Link { time_ns: 0, next: NONE, previous: NONE, bucket: NONE, turn: 0 };

/// Pending events, at most one for every slot. Equal times come in the order they were armed.
#[derive(Clone, Debug)]
pub(crate) struct EventQueue {
    links: Vec<Link>,
    /// The first slot of each bucket; the others follow in no order.
    buckets: Box<[u32; BUCKETS]>,
    /// A bit for every bucket that is not empty.
    used: [u64; BUCKETS / 64],
    /// A bit for every word of those that is not 0.
    words: u64,
    /// Slots whose time is `now_ns`, the last first: those are before any bucket. One that is no longer
    /// [`DUE`] has been taken away.
    due: Vec<u32>,
    armed: usize,
    /// Of the slot armed last.
    turn: u32,
    /// When the last event was.
    now_ns: u64,
}

impl EventQueue {
    /// A queue of at least this many slots, none armed.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            links: vec![UNARMED; slots],
            buckets: Box::new([NONE; BUCKETS]),
            used: [0; BUCKETS / 64],
            words: 0,
            due: Vec::new(),
            armed: 0,
            turn: 0,
            now_ns: 0,
        }
    }

    /// Makes room for slots below `slots`. Pending events stay.
    pub(crate) fn grow(&mut self, slots: usize) {
        if slots > self.links.len() {
            self.links.resize(slots, UNARMED);
        }
    }

    /// Sets the time of a slot, replacing an earlier one. The end of time means never; what is past
    /// counts as now. Whether there was an earlier one.
    #[inline(always)]
    pub(crate) fn arm(&mut self, slot: usize, time_ns: u64) -> bool {
        let was_armed = self.is_armed(slot);
        match (was_armed, time_ns) {
            (false, u64::MAX) => {}
            (true, u64::MAX) => self.unlink(slot),
            (false, _) => self.arm_idle(slot, time_ns),
            (true, _) => self.arm_again(slot, time_ns),
        }
        was_armed
    }

    /// Sets the time of a slot that is not armed.
    #[inline(never)]
    fn arm_idle(&mut self, slot: usize, time_ns: u64) {
        let turn = self.next_turn();
        self.armed += 1;
        self.file(slot, time_ns.max(self.now_ns), turn);
    }

    /// Sets another time of an armed slot. If it is not before its bucket, the slot stays there.
    #[inline(never)]
    fn arm_again(&mut self, slot: usize, time_ns: u64) {
        let turn = self.next_turn();
        let time_ns = time_ns.max(self.now_ns);
        let link = &mut self.links[slot];
        if link.bucket == DUE {
            cold_path();
            return self.file(slot, time_ns, turn);
        }
        let bucket = link.bucket & !LATER;
        let level = Level::of(bucket);
        let ahead = (time_ns >> level.shift) - (self.now_ns >> level.shift);
        let distance = level.distance(bucket, self.now_ns);
        if ahead >= distance {
            link.bucket = if ahead == distance { bucket } else { bucket | LATER };
            (link.time_ns, link.turn) = (time_ns, turn);
        } else {
            self.take_out(slot);
            self.file(slot, time_ns, turn);
        }
    }

    #[inline(always)]
    fn next_turn(&mut self) -> u32 {
        if self.turn == u32::MAX {
            self.count_turns_anew();
        }
        self.turn += 1;
        self.turn
    }

    /// The turns of all armed slots from 1 on, in the same order.
    #[cold]
    fn count_turns_anew(&mut self) {
        let mut armed: Vec<&mut Link> =
            self.links.iter_mut().filter(|link| link.bucket != NONE).collect();
        armed.sort_unstable_by_key(|link| link.turn);
        self.turn = armed.len() as u32;
        for (turn, link) in (1..).zip(armed) {
            link.turn = turn;
        }
    }

    /// Takes the time of a slot away.
    #[inline]
    pub(crate) fn disarm(&mut self, slot: usize) {
        if self.is_armed(slot) {
            self.unlink(slot);
        }
    }

    /// Whether the slot has a pending time.
    #[inline]
    pub(crate) fn is_armed(&self, slot: usize) -> bool {
        self.links[slot].bucket != NONE
    }

    /// The pending time of a slot.
    #[inline]
    pub(crate) fn time_ns(&self, slot: usize) -> Option<u64> {
        let link = &self.links[slot];
        (link.bucket != NONE).then_some(link.time_ns)
    }

    /// How many slots have a pending time.
    #[inline]
    pub(crate) fn armed(&self) -> usize {
        self.armed
    }

    /// The earliest time, if there is one.
    pub(crate) fn first_ns(&self) -> Option<u64> {
        if self.due.iter().any(|slot| self.links[*slot as usize].bucket == DUE) {
            return Some(self.now_ns);
        }
        let mut times = self.bucket(self.first_bucket()?);
        let mut earliest = u64::MAX;
        match times.all(|link| {
            earliest = earliest.min(link.time_ns);
            link.bucket & LATER == 0
        }) {
            true => Some(earliest),
            // Slots that were put off may be due after those of other buckets.
            false => {
                let armed = self.links.iter().filter(|link| link.bucket != NONE);
                armed.map(|link| link.time_ns).min()
            }
        }
    }

    /// The slots of a bucket.
    fn bucket(&self, bucket: u32) -> impl Iterator<Item = &Link> {
        let first = self.links.get(self.buckets[bucket as usize] as usize);
        core::iter::successors(first, |link| self.links.get(link.next as usize))
    }

    /// Takes the first event, if it is not after this time, and disarms its slot.
    #[inline(always)]
    pub(crate) fn take_until(&mut self, until_ns: u64) -> Option<(u64, usize)> {
        loop {
            if !self.due.is_empty()
                && let Some(taken) = self.take_due(until_ns)
            {
                return taken;
            }
            let bucket = self.first_bucket()?;
            let slot = self.buckets[bucket as usize % BUCKETS] as usize;
            let link = &mut self.links[slot];
            if link.next != NONE {
                match self.take_of_several(bucket, until_ns) {
                    Some(taken) => return taken,
                    None => continue,
                }
            }
            let Link { time_ns, turn, .. } = *link;
            if link.bucket != bucket {
                self.empty(bucket);
                self.file_later(slot, time_ns, turn);
                continue;
            }
            if time_ns > until_ns {
                return None;
            }
            link.bucket = NONE;
            self.armed -= 1;
            self.now_ns = time_ns;
            self.empty(bucket);
            return Some((time_ns, slot));
        }
    }

    /// The first event, where its bucket has others too; `None` if that is not known yet, because
    /// some had been put off and have been filed anew.
    #[inline(never)]
    #[expect(clippy::option_option, reason = "whether it is known, and what it is")]
    fn take_of_several(&mut self, bucket: u32, until_ns: u64) -> Option<Option<(u64, usize)>> {
        let mut earliest: Option<(u64, u32, u32)> = None;
        let mut put_off = false;
        let mut slot = self.buckets[bucket as usize % BUCKETS];
        while let Some(&Link { time_ns, turn, next, bucket, .. }) = self.links.get(slot as usize) {
            if bucket & LATER != 0 {
                self.take_out(slot as usize);
                self.file_later(slot as usize, time_ns, turn);
                put_off = true;
            } else if earliest.is_none_or(|earliest| (time_ns, turn) < (earliest.0, earliest.1)) {
                earliest = Some((time_ns, turn, slot));
            }
            slot = next;
        }
        let (time_ns, _, slot) = earliest?;
        if put_off {
            return None;
        }
        if time_ns > until_ns {
            return Some(None);
        }
        if bucket < LEVEL_TABLE[1].first.into() {
            self.now_ns = time_ns;
            self.list_due(bucket);
            return None;
        }
        self.unlink(slot as usize);
        self.now_ns = time_ns;
        self.file_again(bucket);
        Some(Some((time_ns, slot as usize)))
    }

    /// Puts the slots of a bucket of the finest digit in order.
    fn list_due(&mut self, bucket: u32) {
        let mut slot = self.buckets[bucket as usize % BUCKETS];
        self.empty(bucket);
        while let Some(link) = self.links.get_mut(slot as usize) {
            self.due.push(slot);
            link.bucket = DUE;
            slot = link.next;
        }
        let links = &self.links;
        self.due.sort_unstable_by_key(|slot| Reverse(links[*slot as usize].turn));
    }

    /// The first of those due; `None` if there is none left.
    #[expect(clippy::option_option, reason = "whether there is one, and whether it may be taken")]
    #[inline(never)]
    fn take_due(&mut self, until_ns: u64) -> Option<Option<(u64, usize)>> {
        while let Some(slot) = self.due.pop() {
            let link = &mut self.links[slot as usize];
            if link.bucket != DUE {
                continue;
            }
            if self.now_ns > until_ns {
                self.due.push(slot);
                return Some(None);
            }
            link.bucket = NONE;
            self.armed -= 1;
            return Some(Some((self.now_ns, slot as usize)));
        }
        None
    }

    /// The first bucket that is not empty.
    #[inline(always)]
    fn first_bucket(&self) -> Option<u32> {
        if self.words == 0 {
            return None;
        }
        let word = self.words.trailing_zeros();
        Some(word * 64 + self.used[word as usize % 64].trailing_zeros())
    }

    /// Puts a slot into the bucket of its time.
    #[inline(always)]
    fn file(&mut self, slot: usize, time_ns: u64, turn: u32) {
        // The lowest bit makes equal times differ in the finest digit.
        let highest = ((time_ns ^ self.now_ns) | 1).ilog2();
        let bucket = OF_BIT[highest as usize % 64].bucket(time_ns);
        let first = &mut self.buckets[bucket as usize % BUCKETS];
        let next = core::mem::replace(first, slot as u32);
        match self.links.get_mut(next as usize) {
            Some(next) => next.previous = slot as u32,
            None => {
                let word = bucket / 64 % 64;
                self.used[word as usize] |= 1 << (bucket % 64);
                self.words |= 1 << word;
            }
        }
        self.links[slot] = Link { time_ns, next, previous: NONE, bucket, turn };
    }

    /// As [`file`](Self::file), of a slot that has been filed before.
    #[inline(never)]
    fn file_later(&mut self, slot: usize, time_ns: u64, turn: u32) {
        self.file(slot, time_ns, turn);
    }

    /// Takes the time of an armed slot away.
    #[inline(never)]
    fn unlink(&mut self, slot: usize) {
        self.take_out(slot);
        self.links[slot].bucket = NONE;
        self.armed -= 1;
    }

    /// Takes an armed slot out of its bucket.
    #[inline]
    fn take_out(&mut self, slot: usize) {
        let Link { next, previous, bucket, .. } = self.links[slot];
        if bucket == DUE {
            return;
        }
        let bucket = bucket & !LATER;
        if next == previous {
            // Both are none: it was alone.
            self.empty(bucket);
            return;
        }
        if let Some(next) = self.links.get_mut(next as usize) {
            next.previous = previous;
        }
        match self.links.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.buckets[bucket as usize % BUCKETS] = next,
        }
    }

    #[inline(always)]
    fn empty(&mut self, bucket: u32) {
        self.buckets[bucket as usize % BUCKETS] = NONE;
        let word = &mut self.used[bucket as usize / 64 % 64];
        *word &= !(1 << (bucket % 64));
        if *word == 0 {
            self.words &= !(1 << (bucket / 64 % 64));
        }
    }

    /// Files what is left in the bucket of the event just taken, nearer now than it was.
    fn file_again(&mut self, bucket: u32) {
        let mut slot = self.buckets[bucket as usize % BUCKETS];
        self.empty(bucket);
        while let Some(&Link { time_ns, next, turn, .. }) = self.links.get(slot as usize) {
            self.file_later(slot as usize, time_ns, turn);
            slot = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(queue: &mut EventQueue) -> Vec<(u64, usize)> {
        core::iter::from_fn(|| queue.take_until(u64::MAX)).collect()
    }

    #[test]
    fn events_come_by_time_and_equal_times_in_the_order_armed() {
        let mut queue = EventQueue::new(5);
        for (slot, time) in [(4, 10), (0, 10), (2, 5), (3, 10), (1, 20)] {
            queue.arm(slot, time);
        }
        assert_eq!(queue.armed(), 5);
        assert_eq!(queue.first_ns(), Some(5));
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
        assert_eq!(queue.first_ns(), None);
    }

    #[test]
    fn putting_off_keeps_order_among_equals_and_shows_in_the_first_time() {
        let mut queue = EventQueue::new(4);
        queue.arm(0, 1_000);
        queue.arm(1, 70_000);
        // Past slot 1, beside it, and behind it among equals.
        queue.arm(0, 90_000);
        assert_eq!((queue.first_ns(), queue.time_ns(0)), (Some(70_000), Some(90_000)));
        queue.arm(2, 90_000);
        queue.arm(3, 500);
        queue.arm(3, 90_000);
        assert_eq!(queue.take_until(69_999), None);
        assert_eq!(drain(&mut queue), [(70_000, 1), (90_000, 0), (90_000, 2), (90_000, 3)]);
    }

    #[test]
    fn slots_due_together_can_still_be_taken_away_or_put_off() {
        let mut queue = EventQueue::new(6);
        for slot in 0..6 {
            queue.arm(slot, 10);
        }
        let armed_at = |queue: &EventQueue| (queue.armed(), queue.first_ns());
        assert_eq!(queue.take_until(10), Some((10, 0)));
        assert_eq!(queue.take_until(10), Some((10, 1)));
        queue.disarm(2);
        queue.arm(3, 10);
        queue.arm(4, 12);
        queue.arm(0, 10);
        assert_eq!(armed_at(&queue), (4, Some(10)));
        assert_eq!(queue.take_until(9), None);
        assert_eq!(drain(&mut queue), [(10, 5), (10, 3), (10, 0), (12, 4)]);
        assert_eq!(armed_at(&queue), (0, None));
    }

    #[test]
    fn order_survives_the_end_of_the_count() {
        let mut queue = EventQueue::new(6);
        queue.turn = u32::MAX - 3;
        for slot in [5, 1, 4, 0, 2] {
            queue.arm(slot, 10);
        }
        queue.arm(1, 10);
        assert_eq!(queue.turn, 6);
        assert_eq!(drain(&mut queue), [(10, 5), (10, 4), (10, 0), (10, 2), (10, 1)]);
    }

    #[test]
    fn growing_keeps_what_is_pending() {
        let mut queue = EventQueue::new(2);
        queue.arm(1, 7);
        queue.arm(0, 7);
        queue.grow(100);
        queue.arm(99, 7);
        queue.arm(50, 6);
        assert_eq!(drain(&mut queue), [(6, 50), (7, 1), (7, 0), (7, 99)]);
    }

    #[test]
    fn nothing_after_the_limit_is_taken_and_the_past_is_now() {
        let mut queue = EventQueue::new(3);
        queue.arm(0, 100);
        queue.arm(1, 5_000);
        assert_eq!(queue.take_until(99), None);
        assert_eq!(queue.take_until(100), Some((100, 0)));
        assert_eq!(queue.take_until(4_999), None);
        queue.arm(2, 3);
        assert_eq!(drain(&mut queue), [(100, 2), (5_000, 1)]);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_sorted_list(
            steps in proptest::collection::vec((0..4_u8, 0..20_usize, 0..50_u32, any::<u16>()), 1..300)
        ) {
            let mut queue = EventQueue::new(20);
            // (time, order of arming, slot)
            let mut list: Vec<(u64, usize, usize)> = Vec::new();
            let mut now = 0_u64;
            for (number, (what, slot, shift, offset)) in steps.into_iter().enumerate() {
                match what {
                    0 | 1 => {
                        let time = now + ((u64::from(offset) << shift) >> 8);
                        queue.arm(slot, time);
                        list.retain(|(_, _, other)| *other != slot);
                        list.push((time, number, slot));
                    }
                    2 => {
                        queue.disarm(slot);
                        list.retain(|(_, _, other)| *other != slot);
                    }
                    _ => {
                        list.sort_unstable();
                        let expected = list.first().map(|(time, _, slot)| (*time, *slot));
                        prop_assert_eq!(queue.take_until(u64::MAX), expected);
                        if let Some((time, _)) = expected {
                            now = time;
                            list.remove(0);
                        }
                    }
                }
                prop_assert_eq!(queue.armed(), list.len());
                prop_assert_eq!(queue.first_ns(), list.iter().map(|(time, _, _)| *time).min());
            }
        }
    }
}
