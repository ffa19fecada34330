//! What happens next: a radix queue over slots that each have at most one pending time.
//!
//! Time only goes forward, so a pending time is filed by the highest digit in which it differs from
//! the time of the last event: near events in fine buckets, far ones in coarse buckets. The first
//! event is in the first bucket that is not empty; when it is taken, the rest of its bucket is filed
//! again, finer. Arming and disarming are O(1), and an event is filed at most once for each digit of
//! a time. Nothing is allocated after the start.

/// Digits of a time, the finest first: where each begins, in bits. Any would do; with these, what is
/// due within 16 ms goes to buckets of 16 us, where it is mostly alone.
const SHIFTS: [u32; LEVELS] = [0, 6, 14, 24, 34, 44, 54];
const LEVELS: usize = 7;
/// The most values a digit has, and words of bits for them. Digits are cut off at this many values,
/// and may show bits of the next one: those are the same in all times of a level.
const DIGITS: usize = 1 << 10;
const WORDS: usize = DIGITS / 64;

/// The digit each bit of a time belongs to.
const LEVEL_OF_BIT: [u8; 64] = {
    let mut levels = [0; 64];
    let mut bit = 0;
    while bit < 64 {
        let mut level = LEVELS - 1;
        while SHIFTS[level] as usize > bit {
            level -= 1;
        }
        levels[bit] = level as u8;
        bit += 1;
    }
    levels
};

/// No slot; no bucket.
const NONE: u32 = u32::MAX;

/// The most slots there can be.
pub(crate) const SLOTS_MAX: usize = 1 << 24;

/// A slot, as a link of the list of its bucket.
#[derive(Clone, Copy, Debug)]
struct Link {
    time_ns: u64,
    next: u32,
    previous: u32,
    /// [`NONE`] while not armed.
    bucket: u32,
}

const UNARMED: Link = Link { time_ns: 0, next: NONE, previous: NONE, bucket: NONE };

/// A list of slots in the order they were armed.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    first: u32,
    last: u32,
}

const EMPTY: Bucket = Bucket { first: NONE, last: NONE };

/// Pending events, at most one for every slot. Equal times come in the order they were armed: they
/// are always in the same bucket, and filing a bucket again keeps its order.
#[derive(Clone, Debug)]
pub(crate) struct EventQueue {
    links: Vec<Link>,
    /// By level and digit.
    buckets: Vec<Bucket>,
    /// A bit for every bucket that is not empty.
    used: [[u64; WORDS]; LEVELS],
    /// A bit for every word of those that is not 0.
    words: [u32; LEVELS],
    /// A bit for every level that is not empty.
    levels: u32,
    armed: usize,
    /// When the last event was.
    now_ns: u64,
}

impl EventQueue {
    /// A queue of at least this many slots, none armed.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            links: vec![UNARMED; slots],
            buckets: vec![EMPTY; LEVELS * DIGITS],
            used: [[0; WORDS]; LEVELS],
            words: [0; LEVELS],
            levels: 0,
            armed: 0,
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
    pub(crate) fn arm(&mut self, slot: usize, time_ns: u64) -> bool {
        let was_armed = self.is_armed(slot);
        if was_armed {
            self.unlink(slot);
        }
        if time_ns != u64::MAX {
            self.armed += 1;
            self.file(slot, time_ns.max(self.now_ns));
        }
        was_armed
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
        let (level, digit) = self.first_bucket()?;
        Some(self.links[self.earliest_of(level, digit) as usize].time_ns)
    }

    /// Takes the first event, if it is not after this time, and disarms its slot.
    #[inline(always)]
    pub(crate) fn take_until(&mut self, until_ns: u64) -> Option<(u64, usize)> {
        let (level, digit) = self.first_bucket()?;
        let Bucket { first, last } = self.buckets[level * DIGITS + digit];
        if first == last {
            let link = &mut self.links[first as usize];
            let time_ns = link.time_ns;
            if time_ns > until_ns {
                return None;
            }
            link.bucket = NONE;
            self.armed -= 1;
            self.now_ns = time_ns;
            self.empty(level, digit);
            return Some((time_ns, first as usize));
        }
        self.take_of_several(level, digit, until_ns)
    }

    /// The first event, where its bucket has others too.
    #[inline(never)]
    fn take_of_several(
        &mut self,
        level: usize,
        digit: usize,
        until_ns: u64,
    ) -> Option<(u64, usize)> {
        let slot = self.earliest_of(level, digit) as usize;
        let time_ns = self.links[slot].time_ns;
        if time_ns > until_ns {
            return None;
        }
        self.unlink(slot);
        self.now_ns = time_ns;
        if level > 0 {
            self.file_again(level, digit);
        }
        Some((time_ns, slot))
    }

    /// Level and digit of the first bucket that is not empty.
    #[inline]
    fn first_bucket(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        let word = self.words[level].trailing_zeros() as usize % WORDS;
        Some((level, word * 64 + self.used[level][word].trailing_zeros() as usize))
    }

    /// The earliest slot of a bucket; of equals the one armed first.
    fn earliest_of(&self, level: usize, digit: usize) -> u32 {
        let first = self.buckets[level * DIGITS + digit].first;
        // Times in a bucket of the finest level are equal.
        if level == 0 {
            return first;
        }
        let mut earliest = (first, self.links[first as usize].time_ns);
        let mut slot = self.links[first as usize].next;
        while slot != NONE {
            let Link { time_ns, next, .. } = self.links[slot as usize];
            if time_ns < earliest.1 {
                earliest = (slot, time_ns);
            }
            slot = next;
        }
        earliest.0
    }

    /// Puts a slot at the end of the bucket of its time.
    #[inline]
    fn file(&mut self, slot: usize, time_ns: u64) {
        // The lowest bit makes equal times differ in the finest digit.
        let highest = ((time_ns ^ self.now_ns) | 1).ilog2();
        let level = usize::from(LEVEL_OF_BIT[highest as usize]);
        let digit = (time_ns >> SHIFTS[level]) as usize % DIGITS;
        let number = level * DIGITS + digit;
        let bucket = &mut self.buckets[number];
        let previous = core::mem::replace(&mut bucket.last, slot as u32);
        if previous == NONE {
            bucket.first = slot as u32;
            self.used[level][digit / 64] |= 1 << (digit % 64);
            self.words[level] |= 1 << (digit / 64);
            self.levels |= 1 << level;
        } else {
            self.links[previous as usize].next = slot as u32;
        }
        self.links[slot] = Link { time_ns, next: NONE, previous, bucket: number as u32 };
    }

    /// Takes an armed slot out of its bucket.
    #[inline]
    fn unlink(&mut self, slot: usize) {
        let Link { next, previous, bucket, .. } = self.links[slot];
        self.links[slot].bucket = NONE;
        self.armed -= 1;
        let (level, digit) = (bucket as usize / DIGITS, bucket as usize % DIGITS);
        if next == previous {
            // Both are none: it was alone.
            self.empty(level, digit);
            return;
        }
        match next {
            NONE => self.buckets[bucket as usize].last = previous,
            next => self.links[next as usize].previous = previous,
        }
        match previous {
            NONE => self.buckets[bucket as usize].first = next,
            previous => self.links[previous as usize].next = next,
        }
    }

    #[inline]
    fn empty(&mut self, level: usize, digit: usize) {
        self.buckets[level * DIGITS + digit] = EMPTY;
        let word = &mut self.used[level][digit / 64];
        *word &= !(1 << (digit % 64));
        if *word == 0 {
            self.words[level] &= !(1 << (digit / 64));
            if self.words[level] == 0 {
                self.levels &= !(1 << level);
            }
        }
    }

    /// Files what is left in the bucket of the event just taken, nearer now than it was.
    fn file_again(&mut self, level: usize, digit: usize) {
        let mut slot = self.buckets[level * DIGITS + digit].first;
        self.empty(level, digit);
        while slot != NONE {
            let Link { time_ns, next, .. } = self.links[slot as usize];
            self.file(slot as usize, time_ns);
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
