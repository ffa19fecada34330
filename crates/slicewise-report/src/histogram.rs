//! Distributions of durations in little memory.

/// A histogram of durations in ns with a bounded relative error.
///
/// Each power of two is divided into 32 buckets. A quantile is reported as the middle of its
/// bucket, so it is off by at most 1/64 (1.6 %); values below 64 ns are exact, and so are count,
/// sum, least and greatest.
///
/// Up to sixteen values other than 0 are kept as they are, and quantiles are exact. Beyond that,
/// memory grows with the powers of two between the least and the greatest value other than 0, not
/// with the number of values: 32 bytes for each while no bucket holds more than 255 values, then
/// 64, 128, 256. A task whose delays lie between 1 us and 16 ms has 14 of them: 448 bytes at first.
#[derive(Clone, Debug)]
pub struct Histogram {
    count: u64,
    /// 2^64 ns are 584 years of waiting; beyond that it stays there.
    sum_ns: u64,
    /// The greatest there can be while there is no value.
    min_ns: u64,
    max_ns: u64,
    /// How many values are 0: waits often are, and would stretch the octaves down to them.
    zeros: u64,
    /// The octave of the first block of counts; the others follow without gaps.
    octave_first: u32,
    /// How many blocks there are.
    blocks: u32,
    counts: Counts,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            count: 0,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            zeros: 0,
            octave_first: 0,
            blocks: 0,
            counts: Counts::default(),
        }
    }
}

/// The blocks, all with the narrowest counters that hold the greatest count.
#[derive(Clone, Debug)]
enum Counts {
    /// The values themselves.
    Few(Vec<u64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
}

impl Default for Counts {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

/// How many values are kept as they are.
const FEW: usize = 16;

const SUB_BITS: u32 = 5;
const SUB_BUCKETS: usize = 1 << SUB_BITS;

/// Octave 0 holds 0 to 31, octave n holds 2^(n+4) to 2^(n+5) - 1.
#[inline(always)]
fn bucket_of(value: u64) -> (u32, usize) {
    if value < SUB_BUCKETS as u64 {
        return (0, value as usize);
    }
    let exponent = value.ilog2();
    let sub = (value >> (exponent - SUB_BITS)) as usize & (SUB_BUCKETS - 1);
    (exponent - SUB_BITS + 1, sub)
}

/// The middle of a bucket, rounded down: for buckets of one value it is that value.
fn middle(octave: u32, sub: usize) -> u64 {
    if octave == 0 {
        return sub as u64;
    }
    let shift = octave - 1;
    let low = (SUB_BUCKETS as u64 + sub as u64) << shift;
    low + ((1 << shift) - 1) / 2
}

impl Counts {
    #[inline]
    fn get(&self, at: usize) -> u64 {
        match self {
            Self::Few(_) => 0,
            Self::U8(counts) => counts[at].into(),
            Self::U16(counts) => counts[at].into(),
            Self::U32(counts) => counts[at].into(),
            Self::U64(counts) => counts[at],
        }
    }

    /// Whether there was room for one more.
    #[inline(always)]
    fn increment(&mut self, at: usize) -> bool {
        macro_rules! increment {
            ($counts:expr) => {
                match $counts[at].checked_add(1) {
                    Some(count) => {
                        $counts[at] = count;
                        true
                    }
                    None => false,
                }
            };
        }
        // Tests in a row are told ahead better than a jump through a table.
        if let Self::U16(counts) = self {
            increment!(counts)
        } else if let Self::U8(counts) = self {
            increment!(counts)
        } else if let Self::U32(counts) = self {
            increment!(counts)
        } else if let Self::U64(counts) = self {
            // 2^64 values take centuries to record.
            counts[at] = counts[at].saturating_add(1);
            true
        } else {
            true
        }
    }

    #[cold]
    fn widen(&mut self) {
        *self = match std::mem::take(self) {
            Self::Few(_) => Self::U8(Vec::new()),
            Self::U8(counts) => Self::U16(counts.into_iter().map(Into::into).collect()),
            Self::U16(counts) => Self::U32(counts.into_iter().map(Into::into).collect()),
            Self::U32(counts) => Self::U64(counts.into_iter().map(Into::into).collect()),
            Self::U64(counts) => Self::U64(counts),
        };
    }

    fn add(&mut self, at: usize, more: u64) {
        let sum = self.get(at).saturating_add(more);
        loop {
            match self {
                Self::U8(counts) if sum <= u8::MAX.into() => return counts[at] = sum as u8,
                Self::U16(counts) if sum <= u16::MAX.into() => return counts[at] = sum as u16,
                Self::U32(counts) if sum <= u32::MAX.into() => return counts[at] = sum as u32,
                Self::U64(counts) => return counts[at] = sum,
                _ => self.widen(),
            }
        }
    }

    /// Makes room for this many blocks before and after those there are.
    #[cold]
    fn grow(&mut self, before: usize, after: usize) {
        macro_rules! insert {
            ($counts:expr) => {{
                let length = $counts.len();
                $counts.reserve_exact((before + after) * SUB_BUCKETS);
                $counts.resize(length + (before + after) * SUB_BUCKETS, 0);
                $counts.copy_within(..length, before * SUB_BUCKETS);
                $counts[..before * SUB_BUCKETS].fill(0);
            }};
        }
        match self {
            Self::Few(_) => {}
            Self::U8(counts) => insert!(counts),
            Self::U16(counts) => insert!(counts),
            Self::U32(counts) => insert!(counts),
            Self::U64(counts) => insert!(counts),
        }
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            Self::Few(_) => 0,
            Self::U8(counts) => counts.len(),
            Self::U16(counts) => counts.len(),
            Self::U32(counts) => counts.len(),
            Self::U64(counts) => counts.len(),
        }
    }

    fn clear(&mut self) {
        match self {
            Self::Few(values) => values.clear(),
            Self::U8(counts) => counts.clear(),
            Self::U16(counts) => counts.clear(),
            Self::U32(counts) => counts.clear(),
            Self::U64(counts) => counts.clear(),
        }
    }
}

impl Histogram {
    /// Nothing recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The least value; 0 if there is none.
    pub fn min_ns(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min_ns }
    }

    /// The greatest value; 0 if there is none.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The mean, rounded down; 0 if there are no values.
    pub fn mean_ns(&self) -> u64 {
        self.sum_ns.checked_div(self.count).unwrap_or(0)
    }

    /// Adds a value.
    #[inline(always)]
    pub fn record(&mut self, value_ns: u64) {
        // Branches that are nearly never taken are cheaper here than minimum and maximum.
        if value_ns < self.min_ns {
            self.min_ns = value_ns;
        }
        if value_ns > self.max_ns {
            self.max_ns = value_ns;
        }
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(value_ns);
        if value_ns == 0 {
            self.zeros += 1;
        } else {
            self.file_inlined(value_ns);
        }
    }

    /// Puts a value other than 0 where it belongs.
    fn file(&mut self, value_ns: u64) {
        self.file_inlined(value_ns);
    }

    #[inline(always)]
    fn file_inlined(&mut self, value_ns: u64) {
        let (octave, sub) = bucket_of(value_ns);
        let block = octave.wrapping_sub(self.octave_first);
        if block >= self.blocks || !self.counts.increment(block as usize * SUB_BUCKETS + sub) {
            self.file_with_room(value_ns);
        }
    }

    /// As [`file`](Self::file), while values are few or there is no counter that can take it.
    #[cold]
    fn file_with_room(&mut self, value_ns: u64) {
        if let Counts::Few(values) = &mut self.counts {
            if values.len() < FEW {
                values.push(value_ns);
                return;
            }
            self.spread();
        }
        let (octave, sub) = bucket_of(value_ns);
        let at = self.block_of(octave) + sub;
        while !self.counts.increment(at) {
            self.counts.widen();
        }
    }

    /// From values to buckets.
    #[cold]
    fn spread(&mut self) {
        if let Counts::Few(values) = &mut self.counts {
            let values = std::mem::take(values);
            self.counts = Counts::U8(Vec::new());
            values.into_iter().for_each(|value_ns| self.file(value_ns));
        }
    }

    /// Where the counts of an octave begin; makes room for them if they are new.
    fn block_of(&mut self, octave: u32) -> usize {
        if octave.wrapping_sub(self.octave_first) >= self.blocks {
            self.reach(octave);
        }
        (octave - self.octave_first) as usize * SUB_BUCKETS
    }

    fn reach(&mut self, octave: u32) {
        if self.blocks == 0 {
            self.octave_first = octave;
        }
        let before = self.octave_first.saturating_sub(octave);
        let after = (octave + 1).saturating_sub(self.octave_first + self.blocks);
        self.counts.grow(before as usize, after as usize);
        self.octave_first -= before;
        self.blocks += before + after;
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.zeros += other.zeros;
        if let Counts::Few(values) = &other.counts {
            values.iter().for_each(|value_ns| self.file(*value_ns));
            return;
        }
        self.spread();
        for (octave, sub, count) in other.buckets() {
            let at = self.block_of(octave) + sub;
            self.counts.add(at, count);
        }
    }

    /// Forgets all values and keeps the memory for new ones.
    pub fn clear(&mut self) {
        self.counts.clear();
        let counts = std::mem::take(&mut self.counts);
        *self = Self { counts, ..Self::default() };
    }

    /// Non-empty buckets other than that of 0, in ascending order.
    fn buckets(&self) -> impl Iterator<Item = (u32, usize, u64)> {
        (0..self.counts.len())
            .map(|at| {
                let octave = self.octave_first + (at / SUB_BUCKETS) as u32;
                (octave, at % SUB_BUCKETS, self.counts.get(at))
            })
            .filter(|(_, _, count)| *count > 0)
    }

    /// The quantile of this many thousandths, by nearest rank: of `n` values in ascending order
    /// it is number `ceil(n * per_mille / 1000)`, counted from 1. It is a value that occurred (as
    /// far as buckets tell), never one in between. 0 gives the least and 1000 the greatest; with
    /// no values it is 0. More than 1000 counts as 1000.
    pub fn quantile_ns(&self, per_mille: u32) -> u64 {
        let ranks = u128::from(self.count) * u128::from(per_mille.min(1000));
        let rank = ranks.div_ceil(1000) as u64;
        if rank <= 1 {
            return self.min_ns();
        }
        if rank == self.count {
            return self.max_ns;
        }
        let mut seen = self.zeros;
        if seen >= rank {
            return 0;
        }
        if let Counts::Few(values) = &self.counts {
            let mut values = values.clone();
            values.sort_unstable();
            return values.get((rank - seen - 1) as usize).copied().unwrap_or(self.max_ns);
        }
        for (octave, sub, count) in self.buckets() {
            seen += count;
            if seen >= rank {
                return middle(octave, sub).clamp(self.min_ns, self.max_ns);
            }
        }
        self.max_ns
    }
}

/// A histogram by powers of two, as bcc's tools print: 0 to 1, 2 to 3, 4 to 7, and so on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log2Histogram {
    counts: [u64; 64],
}

impl Default for Log2Histogram {
    fn default() -> Self {
        Self { counts: [0; 64] }
    }
}

impl Log2Histogram {
    /// Nothing recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.counts[(value | 1).ilog2() as usize] += 1;
    }

    /// The rows up to the last that is not empty: least and greatest value of the row, and how
    /// many values it has.
    pub fn rows(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let rows = self.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        (0..rows).map(|row| {
            let low = if row == 0 { 0 } else { 1 << row };
            (low, u64::MAX >> (63 - row), self.counts[row])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    /// All that can be told of a histogram, whichever way it keeps its values.
    fn parts(histogram: &Histogram) -> ([u64; 5], Vec<(u32, usize, u64)>) {
        let Histogram { count, sum_ns, min_ns, max_ns, zeros, .. } = *histogram;
        let mut spread = histogram.clone();
        spread.spread();
        ([count, sum_ns, min_ns, max_ns, zeros], spread.buckets().collect())
    }

    #[test]
    fn an_empty_histogram_reports_zeros() {
        let empty = Histogram::new();
        let figures = [empty.count(), empty.min_ns(), empty.max_ns(), empty.mean_ns()];
        assert_eq!(figures, [0; 4]);
        assert_eq!(empty.quantile_ns(990), 0);
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let ten = of(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let quantiles = [0, 1, 100, 101, 500, 501, 900, 901, 990, 1000, 2000];
        let expected = [1, 1, 1, 2, 5, 6, 9, 10, 10, 10, 10];
        assert_eq!(quantiles.map(|p| ten.quantile_ns(p)), expected);
    }

    #[test]
    fn values_below_64_are_exact() {
        let all: Vec<u64> = (0..64).collect();
        let histogram = of(&all);
        for value in all {
            let (octave, sub) = bucket_of(value);
            assert_eq!(middle(octave, sub), value);
        }
        assert_eq!(histogram.quantile_ns(500), 31);
    }

    #[test]
    fn counters_widen_before_they_overflow() {
        let mut histogram = Histogram::new();
        for _ in 0..70_000 {
            histogram.record(5);
        }
        histogram.record(1 << 40);
        assert!(matches!(histogram.counts, Counts::U32(_)));
        assert_eq!(histogram.quantile_ns(999), 5);
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets, [(0, 5, 70_000), (36, 0, 1)]);
    }

    #[test]
    fn a_task_with_ordinary_delays_fits_in_half_a_kilobyte() {
        let mut histogram = Histogram::new();
        for exponent in 10..24 {
            histogram.record(1 << exponent);
            histogram.record((1 << exponent) + 1);
        }
        let Counts::U8(counts) = &histogram.counts else { panic!("few values need no more") };
        assert!(counts.capacity() + size_of::<Histogram>() <= 560, "{}", counts.capacity());
    }

    #[test]
    fn up_to_sixteen_values_quantiles_are_exact() {
        let values: Vec<u64> = (1..=16).map(|i| i * 1_000_003).collect();
        let histogram = of(&values);
        for (rank, value) in (1..).zip(&values) {
            assert_eq!(histogram.quantile_ns(rank * 1000 / 16), *value);
        }
        let mut more = of(&values);
        more.record(17 * 1_000_003);
        let middle = more.quantile_ns(500);
        assert!(middle.abs_diff(9 * 1_000_003) < 9 * 1_000_003 / 60, "{middle}");
        let mut merged = of(&values[..8]);
        merged.merge(&of(&values[8..]));
        assert_eq!(parts(&merged), parts(&histogram));
    }

    #[test]
    fn clearing_forgets_everything() {
        let mut histogram = of(&[7, 1 << 50]);
        histogram.clear();
        assert_eq!(parts(&histogram), parts(&Histogram::new()));
        histogram.record(9);
        assert_eq!(parts(&histogram), parts(&of(&[9])));
    }

    #[test]
    fn log2_rows_are_those_of_bcc() {
        let mut histogram = Log2Histogram::new();
        for value in [0, 1, 2, 3, 4, 7, 8] {
            histogram.record(value);
        }
        let rows: Vec<_> = histogram.rows().collect();
        assert_eq!(rows, [(0, 1, 2), (2, 3, 2), (4, 7, 2), (8, 15, 1)]);
        histogram.record(u64::MAX);
        assert_eq!(histogram.rows().last(), Some((1 << 63, u64::MAX, 1)));
        assert_eq!(Log2Histogram::new().rows().count(), 0);
    }

    proptest! {
        #[test]
        fn a_quantile_is_off_by_at_most_one_64th(
            shifts in proptest::collection::vec((any::<u64>(), 0u32..64), 1..300),
            per_mille in 0u32..=1000,
        ) {
            let mut values: Vec<u64> = shifts.iter().map(|(bits, shift)| bits >> shift).collect();
            let reported = of(&values).quantile_ns(per_mille);
            values.sort_unstable();
            let rank = (values.len() * per_mille as usize).div_ceil(1000).max(1);
            let exact = values[rank - 1];
            prop_assert!(reported.abs_diff(exact) <= exact / 64, "{reported} for {exact}");
        }

        #[test]
        fn merging_is_recording_all(
            a in proptest::collection::vec(prop_oneof![Just(0), 0u64..5_000, 70..80u64], 0..600),
            b in proptest::collection::vec((any::<u64>(), 0u32..64), 0..100),
        ) {
            let b: Vec<u64> = b.iter().map(|(bits, shift)| bits >> shift).collect();
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let mut all = a;
            all.extend(&b);
            let all = of(&all);
            prop_assert_eq!(parts(&merged), parts(&all));
        }
    }
}
