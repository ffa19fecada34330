//! From CPU quantities to what stands in cgroup files.
//!
//! Sources: the kubelet's and the OCI runtimes' conversions (specification F.4), the kernel's
//! `cpu` controller (F.1, F.2). All times are µs, as in the files.

/// The fewest shares a group can have.
pub const SHARES_MIN: u64 = 2;

/// The most shares a group can have.
pub const SHARES_MAX: u64 = 262_144;

/// The kernel's default shares, and what one CPU of request is worth.
pub const SHARES_DEFAULT: u64 = 1024;

/// The default of `cpu.weight`.
pub const WEIGHT_DEFAULT: u64 = 100;

/// The period of a quota unless somebody says otherwise, µs.
pub const PERIOD_DEFAULT_US: u64 = 100_000;

/// The least quota and period the kernel takes, µs.
pub const QUOTA_MIN_US: u64 = 1_000;

/// The longest period the kernel takes, µs.
pub const PERIOD_MAX_US: u64 = 1_000_000;

/// The largest quota the kernel takes, µs.
pub const QUOTA_MAX_US: u64 = (1 << 44) - 1;

/// How a runtime turns `cpu.shares` into `cpu.weight` on cgroup v2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WeightFormula {
    /// A straight line from 2 shares (weight 1) to 262,144 (10,000): runc before 1.3.2, crun before
    /// 1.23, and the kubelet's own cgroups (`kubepods`, QoS classes, pods) as of mid-2026. A request
    /// of one CPU becomes 39, where the default of the rest of the system is 100.
    Linear,
    /// A curve through 2 (1), 1024 (100) and 262,144 (10,000): runc from 1.3.2, crun from 1.23.
    Curved,
}

impl WeightFormula {
    /// `cpu.weight` for so many shares. 0 shares are "not set" and give the default, 100.
    ///
    /// ```
    /// use slicewise_containers::WeightFormula;
    /// assert_eq!(WeightFormula::Linear.weight(1024), 39);
    /// assert_eq!(WeightFormula::Curved.weight(1024), 100);
    /// ```
    pub fn weight(self, shares: u64) -> u64 {
        if shares == 0 {
            return WEIGHT_DEFAULT;
        }
        let shares = shares.clamp(SHARES_MIN, SHARES_MAX);
        match self {
            Self::Linear => 1 + (shares - SHARES_MIN) * 9_999 / (SHARES_MAX - SHARES_MIN),
            Self::Curved if shares == SHARES_MIN => 1,
            Self::Curved if shares == SHARES_MAX => 10_000,
            Self::Curved => {
                let log = libm::log2(shares as f64);
                let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
                libm::ceil(libm::pow(10.0, exponent)) as u64
            }
        }
    }
}

/// `cpu.shares` for a CPU request, in thousandths of a CPU.
pub fn shares_of_milli(milli: u64) -> u64 {
    (u128::from(milli) * 1024 / 1000).clamp(u128::from(SHARES_MIN), u128::from(SHARES_MAX)) as u64
}

/// The quota for a CPU limit, in thousandths of a CPU; `None` for no limit (0).
///
/// It is never below 1 ms, the least the kernel takes: a limit under 10m gives more than it says.
pub fn quota_of_milli(milli: u64, period_us: u64) -> Option<u64> {
    let quota = u128::from(milli) * u128::from(period_us) / 1000;
    let most = u128::from(QUOTA_MAX_US);
    (milli > 0).then(|| quota.clamp(u128::from(QUOTA_MIN_US), most) as u64)
}

/// A quota after systemd, which keeps whole per cents of a CPU: rounded up to the next.
///
/// ```
/// // 155m: 15.5 ms a period become 16 ms.
/// assert_eq!(slicewise_containers::systemd_quota(15_500, 100_000), 16_000);
/// ```
pub fn systemd_quota(quota_us: u64, period_us: u64) -> u64 {
    const PER_CENT_US: u128 = 10_000;
    if period_us == 0 {
        return quota_us;
    }
    let (quota, period) = (u128::from(quota_us), u128::from(period_us));
    let per_second = (quota * 1_000_000 / period).div_ceil(PER_CENT_US) * PER_CENT_US;
    (per_second * period / 1_000_000).min(u128::from(QUOTA_MAX_US)) as u64
}

/// The kernel's own weight for `cpu.weight`: 1024 for 100.
pub fn kernel_weight(weight: u64) -> u64 {
    (weight.clamp(1, 10_000) * 1024 + 50) / 100
}

/// The kernel's own weight for `cpu.shares` of cgroup v1.
pub fn kernel_shares(shares: u64) -> u64 {
    shares.clamp(SHARES_MIN, SHARES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// milliCPU, shares, weight of the line, weight of the curve, quota.
    const TABLE: &[(u64, u64, u64, u64, Option<u64>)] = &[
        (0, 2, 1, 1, None),
        (1, 2, 1, 1, Some(1_000)),
        (10, 10, 1, 4, Some(1_000)),
        (50, 51, 2, 11, Some(5_000)),
        (100, 102, 4, 17, Some(10_000)),
        (250, 256, 10, 35, Some(25_000)),
        (500, 512, 20, 59, Some(50_000)),
        (1_000, 1_024, 39, 100, Some(100_000)),
        (1_500, 1_536, 59, 138, Some(150_000)),
        (2_000, 2_048, 79, 174, Some(200_000)),
        (4_000, 4_096, 157, 303, Some(400_000)),
        (8_000, 8_192, 313, 532, Some(800_000)),
        (64_000, 65_536, 2_500, 3_023, Some(6_400_000)),
    ];

    #[test]
    fn case_17_the_conversion_table_is_exact_in_every_row() {
        for (milli, shares, linear, curved, quota) in TABLE {
            assert_eq!(shares_of_milli(*milli), *shares, "{milli}m");
            assert_eq!(WeightFormula::Linear.weight(*shares), *linear, "{milli}m");
            assert_eq!(WeightFormula::Curved.weight(*shares), *curved, "{milli}m");
            assert_eq!(quota_of_milli(*milli, PERIOD_DEFAULT_US), *quota, "{milli}m");
        }
        assert_eq!(
            (WeightFormula::Linear.weight(2000), WeightFormula::Curved.weight(2000)),
            (77, 170)
        );
    }

    #[test]
    fn both_formulas_keep_to_the_range_of_the_file() {
        for formula in [WeightFormula::Linear, WeightFormula::Curved] {
            assert_eq!(formula.weight(0), 100);
            assert_eq!((formula.weight(1), formula.weight(2)), (1, 1));
            assert_eq!((formula.weight(SHARES_MAX), formula.weight(u64::MAX)), (10_000, 10_000));
        }
        assert_eq!(shares_of_milli(u64::MAX), SHARES_MAX);
        assert_eq!(quota_of_milli(u64::MAX, PERIOD_MAX_US), Some(QUOTA_MAX_US));
    }

    #[test]
    fn systemd_keeps_whole_per_cents_of_a_cpu() {
        for (quota, period, rounded) in [
            (15_500, 100_000, 16_000),
            (16_000, 100_000, 16_000),
            (1_000, 100_000, 1_000),
            (1_001, 100_000, 2_000),
            (200_000, 100_000, 200_000),
            (5_000, 10_000, 5_000),
            (5_001, 10_000, 5_100),
            (7, 0, 7),
        ] {
            assert_eq!(systemd_quota(quota, period), rounded, "{quota} of {period}");
        }
    }

    #[test]
    fn the_weight_file_becomes_the_kernels_weight() {
        for (weight, kernel) in [
            (1, 10),
            (10, 102),
            (39, 399),
            (50, 512),
            (59, 604),
            (100, 1024),
            (150, 1536),
            (313, 3205),
            (10_000, 102_400),
        ] {
            assert_eq!(kernel_weight(weight), kernel, "{weight}");
        }
        assert_eq!((kernel_shares(0), kernel_shares(262_145)), (2, 262_144));
    }

    proptest! {
        #[test]
        fn more_shares_never_weigh_less(a in 2_u64..=SHARES_MAX, b in 2_u64..=SHARES_MAX) {
            let (less, more) = (a.min(b), a.max(b));
            for formula in [WeightFormula::Linear, WeightFormula::Curved] {
                prop_assert!(formula.weight(less) <= formula.weight(more));
                prop_assert!((1..=10_000).contains(&formula.weight(a)));
            }
        }

        #[test]
        fn systemd_adds_less_than_a_per_cent(quota in 1_000_u64..100_000_000, period in 1_000_u64..=1_000_000) {
            let rounded = systemd_quota(quota, period);
            // Down by less than 1 us when the per cents are no whole us, up by less than a per cent.
            prop_assert!(rounded + 1 >= quota);
            prop_assert!(rounded <= quota + period / 100 + 1);
        }
    }
}
