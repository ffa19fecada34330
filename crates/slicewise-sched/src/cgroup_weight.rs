//! cgroup CPU weights in their three spellings: `cpu.shares` (v1), `cpu.weight` and
//! `cpu.weight.nice` (v2), as the kernel converts them (fair.md A.3).

use crate::Nice;
use crate::weight::nice_weight;

/// `cpu.shares` the kernel keeps, at most and at least.
const SHARES: core::ops::RangeInclusive<u64> = 2..=262_144;

/// A cgroup's weight as the scheduler keeps it: unscaled shares, 1024 by default.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Shares(u64);

impl Default for Shares {
    fn default() -> Self {
        Self(1024)
    }
}

impl Shares {
    /// A write to `cpu.shares`: clamped to 2 to 262144.
    pub fn from_shares(shares: u64) -> Self {
        Self(shares.clamp(*SHARES.start(), *SHARES.end()))
    }

    /// A write to `cpu.weight`; `None` (`ERANGE`) outside 1 to 10000.
    pub fn from_weight(weight: u64) -> Option<Self> {
        (1..=10_000).contains(&weight).then(|| Self::from_shares((weight * 1024 + 50) / 100))
    }

    /// A write to `cpu.weight.nice`.
    pub fn from_nice(nice: Nice) -> Self {
        Self::from_shares(nice_weight(nice))
    }

    /// What `cpu.shares` reads.
    pub fn shares(self) -> u64 {
        self.0
    }

    /// What `cpu.weight` reads.
    pub fn weight(self) -> u64 {
        ((self.0 * 100 + 512) / 1024).clamp(1, 10_000)
    }

    /// What `cpu.weight.nice` reads: the nice value whose weight is nearest, the lower of two.
    pub fn nice(self) -> Nice {
        let distance = |nice: Nice| nice_weight(nice).abs_diff(self.0);
        let mut nearest = Nice::MIN;
        for next in (-19..=19).filter_map(Nice::new) {
            if distance(next) >= distance(nearest) {
                break;
            }
            nearest = next;
        }
        nearest
    }
}

/// The load of a group, as the weight of its entity on one CPU depends on it (fair.md D.2). All
/// weights are unscaled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupLoad {
    /// Σ of the weights queued in the group on this CPU.
    pub queued_weight: u64,
    /// The load average of the group's queue on this CPU.
    pub load_avg: u64,
    /// What this CPU has published of that into `total`.
    pub published: u64,
    /// Σ of what all CPUs have published.
    pub total: u64,
}

impl GroupLoad {
    /// The weight of the group's entity on this CPU, on the 20-bit scale: its part of the group's
    /// shares, by load. With nothing queued the weight stays what it was: `None`.
    pub fn entity_weight(&self, shares: Shares) -> Option<u64> {
        self.part_of(shares.shares() << 10)
    }

    /// The same for shares on the 20-bit scale that have been multiplied before (fair.md D.5).
    pub(crate) fn part_of(&self, scaled: u64) -> Option<u64> {
        if self.queued_weight == 0 {
            return None;
        }
        let load = self.queued_weight.max(self.load_avg);
        let all = self.total.saturating_sub(self.published).saturating_add(load);
        let part = u128::from(scaled) * u128::from(load) / u128::from(all.max(1));
        // The least weight is 2 of the fine scale: next to nothing.
        Some(u64::try_from(part).unwrap_or(u64::MAX).clamp(2, scaled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice(value: i64) -> Nice {
        Nice::new(value).unwrap()
    }

    #[test]
    fn wx4_weights_read_back_through_shares() {
        let fifty = Shares::from_weight(50).unwrap();
        assert_eq!((fifty.shares(), fifty.nice().get()), (512, 3));
        let best = Shares::from_nice(Nice::MIN);
        assert_eq!((best.shares(), best.weight()), (88_761, 8_668));
        assert_eq!([5, 19, -5].map(|n| Shares::from_nice(nice(n)).weight()), [33, 1, 305]);
    }

    #[test]
    fn wx25_a_group_weighs_on_each_cpu_by_its_load_there() {
        let weight = |queued_weight, load_avg, published, total| {
            let load = GroupLoad { queued_weight, load_avg, published, total };
            load.entity_weight(Shares::default())
        };
        assert_eq!(weight(1024, 1024, 1024, 2048), Some(524_288), "a hog on each of two CPUs");
        assert_eq!(weight(1024, 0, 0, 1024), Some(524_288), "a CPU that has just begun");
        assert_eq!(weight(2048, 2048, 2048, 2048), Some(1_048_576), "all on one CPU");
        assert_eq!(weight(3072, 3072, 3072, 4096), Some(786_432));
        assert_eq!(weight(1024, 1024, 1024, 4096), Some(262_144));
        assert_eq!(weight(0, 500, 500, 1000), None, "nobody queued: unchanged");
        assert_eq!(weight(u64::MAX, u64::MAX, 0, u64::MAX), Some(1_048_576));
    }

    #[test]
    fn case_6_cgroup_weights_as_kernel_weights_and_nice_values() {
        for (weight, shares) in [
            (1, 10),
            (10, 102),
            (39, 399),
            (50, 512),
            (100, 1024),
            (150, 1536),
            (313, 3205),
            (10_000, 102_400),
        ] {
            assert_eq!(Shares::from_weight(weight).unwrap().shares(), shares);
        }
        for (value, weight) in [
            (-20, 8668),
            (-10, 932),
            (-5, 305),
            (0, 100),
            (1, 80),
            (5, 33),
            (10, 11),
            (15, 4),
            (19, 1),
        ] {
            assert_eq!(Shares::from_nice(nice(value)).weight(), weight, "nice {value}");
        }
    }

    #[test]
    fn a3_table_of_weights_shares_and_nice_values() {
        for (weight, shares, value) in [
            (1, 10, 19),
            (2, 20, 18),
            (50, 512, 3),
            (100, 1024, 0),
            (200, 2048, -3),
            (500, 5120, -7),
            (1000, 10_240, -10),
            (10_000, 102_400, -20),
        ] {
            let got = Shares::from_weight(weight).unwrap();
            assert_eq!((got.shares(), i64::from(got.nice().get())), (shares, value));
            assert_eq!(got.weight(), weight);
        }
        assert_eq!((Shares::from_weight(0), Shares::from_weight(10_001)), (None, None));
        assert_eq!(Shares::from_shares(1).shares(), 2);
        assert_eq!(Shares::from_shares(u64::MAX).shares(), 262_144);
    }
}
