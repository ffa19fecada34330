//! Time by when it was, in a fixed number of bins: their width doubles when they no longer suffice.

/// How many bins there are.
pub(super) const BINS: usize = 64;
/// The least width is 2^10 ns.
const SHIFT_LEAST: u32 = 10;

/// Nanoseconds by bin. Widths are powers of two, so that any two sets of bins with one origin can be brought to
/// the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Bins {
    shift: u32,
    ns: Vec<u64>,
}

impl Default for Bins {
    fn default() -> Self {
        Self { shift: SHIFT_LEAST, ns: Vec::new() }
    }
}

impl Bins {
    /// The width of a bin that suffices up to `end_ns` after the origin, as a power of two.
    pub(super) fn shift_for(end_ns: u64) -> u32 {
        (SHIFT_LEAST..64).find(|shift| end_ns.div_ceil(1 << shift) <= BINS as u64).unwrap_or(63)
    }

    /// Makes bins as wide as that, if they are not wider.
    pub(super) fn widen(&mut self, shift: u32) {
        while self.shift < shift {
            self.shift += 1;
            let half = self.ns.len().div_ceil(2);
            for at in 0..half {
                let pair = self.ns[at * 2] + self.ns.get(at * 2 + 1).copied().unwrap_or(0);
                self.ns[at] = pair;
            }
            self.ns.truncate(half);
        }
    }

    /// Adds a stretch, from the origin on.
    pub(super) fn add(&mut self, from_ns: u64, to_ns: u64) {
        if to_ns <= from_ns {
            return;
        }
        self.widen(Self::shift_for(to_ns));
        let (first, last) = (from_ns >> self.shift, (to_ns - 1) >> self.shift);
        if self.ns.len() <= last as usize {
            self.ns.resize(last as usize + 1, 0);
        }
        for bin in first..=last {
            let begin_ns = from_ns.max(bin << self.shift);
            let end_ns = to_ns.min((bin << self.shift).saturating_add(1 << self.shift));
            self.ns[bin as usize] += end_ns - begin_ns;
        }
    }

    /// Adds another's.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        self.widen(other.shift);
        other.widen(self.shift);
        if self.ns.len() < other.ns.len() {
            self.ns.resize(other.ns.len(), 0);
        }
        for (own, more) in self.ns.iter_mut().zip(&other.ns) {
            *own += more;
        }
    }

    /// The share of time by bin of so wide bins, up to `end_ns` after the origin; the last bin may be cut short.
    pub(super) fn shares(&self, shift: u32, end_ns: u64) -> Vec<f64> {
        let mut bins = self.clone();
        bins.widen(shift);
        let width = 1_u64 << shift;
        let share = |at: u64| {
            let within = width.min(end_ns - at * width);
            let ns = bins.ns.get(at as usize).copied().unwrap_or(0);
            ns as f64 / within as f64
        };
        (0..end_ns.div_ceil(width)).map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{BINS, Bins};

    #[test]
    fn bins_get_wider_and_lose_nothing() {
        let mut bins = Bins::default();
        bins.add(0, 1024);
        bins.add(2048, 2048 + 512);
        assert_eq!(bins.ns, [1024, 0, 512]);
        bins.add(1 << 20, (1 << 20) + 7);
        assert_eq!(bins.ns.iter().sum::<u64>(), 1024 + 512 + 7);
        assert!(bins.ns.len() <= BINS);
        assert_eq!(bins.shift, Bins::shift_for((1 << 20) + 7));
    }

    #[test]
    fn a_stretch_is_divided_among_the_bins_it_crosses() {
        let mut bins = Bins::default();
        bins.add(512, 3 * 1024 + 1);
        assert_eq!(bins.ns, [512, 1024, 1024, 1]);
        assert_eq!(bins.shares(10, 3 * 1024 + 2), [0.5, 1.0, 1.0, 0.5]);
        assert_eq!(bins.shares(11, 4096), [0.75, 1025.0 / 2048.0]);
    }

    #[test]
    fn bins_of_different_widths_add_up() {
        let (mut narrow, mut wide) = (Bins::default(), Bins::default());
        narrow.add(0, 1000);
        wide.add(0, 1 << 30);
        narrow.merge(&wide);
        assert_eq!(narrow.ns.iter().sum::<u64>(), (1 << 30) + 1000);
        assert_eq!(narrow.shift, wide.shift);
    }
}
