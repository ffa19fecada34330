//! Utilisations compared exactly: fixed-point intervals first, big integers where those touch the
//! limit. No floating point.

use std::collections::BTreeMap;

use crate::big::Big;
use crate::model::Load;

/// Fraction bits of an interval's ends.
pub(crate) const BITS: u32 = 56;
pub(crate) const ONE: u128 = 1 << BITS;

/// More different denominators than this are not multiplied out.
const DENOMINATORS_MAX: usize = 3_000;

/// A sum of fractions, enclosed: in units of 2⁻⁵⁶.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Interval {
    pub(crate) low: u128,
    pub(crate) high: u128,
}

impl Interval {
    /// `numerator` below 2^71.
    pub(crate) fn add(&mut self, numerator: u128, denominator: u64) {
        let scaled = numerator << BITS;
        self.low += scaled / u128::from(denominator);
        self.high += scaled.div_ceil(u128::from(denominator));
    }
}

pub(crate) fn utilisation(loads: &[Load]) -> Interval {
    let mut sum = Interval::default();
    for load in loads {
        sum.add(u128::from(load.wcet_ns), load.period_ns);
    }
    sum
}

/// Whether Σ numerator/denominator ≤ limit; `None` if that cannot be told with bounded effort.
pub(crate) fn sum_at_most(terms: &[(u128, u64)], limit: u64) -> Option<bool> {
    let mut sum = Interval::default();
    for (numerator, denominator) in terms {
        sum.add(*numerator, *denominator);
    }
    let limit_scaled = u128::from(limit) << BITS;
    if sum.high <= limit_scaled {
        return Some(true);
    }
    if sum.low > limit_scaled {
        return Some(false);
    }
    exact_sum_at_most(terms, limit)
}

fn exact_sum_at_most(terms: &[(u128, u64)], limit: u64) -> Option<bool> {
    let mut by_denominator: BTreeMap<u64, u128> = BTreeMap::new();
    for (numerator, denominator) in terms {
        let divisor = gcd(*numerator, u128::from(*denominator));
        let denominator = (u128::from(*denominator) / divisor) as u64;
        *by_denominator.entry(denominator).or_default() += numerator / divisor;
    }
    if by_denominator.len() > DENOMINATORS_MAX {
        return None;
    }
    let (mut numerator, mut denominator) = (Big::of(0), Big::of(1));
    for (den, num) in by_denominator {
        numerator = numerator.times(den).plus(&denominator.times_u128(num));
        denominator = denominator.times(den);
    }
    Some(numerator <= denominator.times(limit))
}

fn gcd(a: u128, b: u128) -> u128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

/// The least common multiple of the periods, unless it is beyond the limit.
pub(crate) fn hyperperiod_ns(loads: &[Load], limit_ns: u128) -> Option<u64> {
    let mut all = 1_u128;
    for load in loads {
        let period = u128::from(load.period_ns);
        all = all / gcd(all, period) * period;
        if all > limit_ns {
            return None;
        }
    }
    u64::try_from(all).ok()
}

/// Whether the loads need at most this many CPUs in the long run.
pub(crate) fn fits(loads: &[Load], cpus: u64) -> Option<bool> {
    let terms: Vec<(u128, u64)> =
        loads.iter().map(|load| (u128::from(load.wcet_ns), load.period_ns)).collect();
    sum_at_most(&terms, cpus)
}

/// Fraction bits of the factors of a product.
const PRODUCT_BITS: u32 = 60;
const PRODUCT_ONE: u128 = 1 << PRODUCT_BITS;
/// Products only have to be told from 2: beyond 4 they stay there.
const PRODUCT_MAX: u128 = 4 * PRODUCT_ONE;

fn product_down(a: u128, b: u128) -> u128 {
    ((a * b) >> PRODUCT_BITS).min(PRODUCT_MAX)
}

fn product_up(a: u128, b: u128) -> u128 {
    (a * b).div_ceil(PRODUCT_ONE).min(PRODUCT_MAX)
}

fn power(base: u128, exponent: u64, product: fn(u128, u128) -> u128) -> u128 {
    let (mut base, mut exponent, mut result) = (base.min(PRODUCT_MAX), exponent, PRODUCT_ONE);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = product(result, base);
        }
        base = product(base, base);
        exponent >>= 1;
    }
    result
}

/// Liu and Layland's test for rate-monotonic priorities: U ≤ n(2^(1/n) − 1), that is
/// (1 + U/n)ⁿ ≤ 2. `None` if U is within 2⁻⁵⁰ of the bound.
pub fn passes_liu_layland(loads: &[Load]) -> Option<bool> {
    let count = loads.len() as u64;
    if count <= 1 {
        return fits(loads, 1);
    }
    let sum = utilisation(loads);
    let shift = PRODUCT_BITS - BITS;
    let base = |utilisation: u128| (utilisation.min(4 * ONE) << shift) / u128::from(count);
    if power(PRODUCT_ONE + base(sum.high) + 1, count, product_up) <= 2 * PRODUCT_ONE {
        return Some(true);
    }
    let low = power(PRODUCT_ONE + base(sum.low), count, product_down);
    (low > 2 * PRODUCT_ONE).then_some(false)
}

/// Liu and Layland's bound for that many tasks, in 10⁻⁹, rounded to the nearest.
pub fn liu_layland_bound_ppb(count: usize) -> u64 {
    let count = (count.max(1)) as u64;
    // The greatest x with (1 + x)ⁿ ≤ 2.
    let (mut low, mut high) = (0, PRODUCT_ONE);
    while high - low > 1 {
        let middle = (low + high) / 2;
        let fits = power(PRODUCT_ONE + middle, count, product_up) <= 2 * PRODUCT_ONE;
        if fits { low = middle } else { high = middle }
    }
    if count == 1 {
        low = high;
    }
    ((low * u128::from(count) * 1_000_000_000 + PRODUCT_ONE / 2) >> PRODUCT_BITS) as u64
}

/// The hyperbolic test for rate-monotonic priorities: ∏(Uᵢ + 1) ≤ 2 (Bini, Buttazzo).
pub fn passes_hyperbolic(loads: &[Load]) -> Option<bool> {
    let (mut low, mut high) = (PRODUCT_ONE, PRODUCT_ONE);
    for load in loads {
        let scaled = u128::from(load.wcet_ns) << PRODUCT_BITS;
        let part = (scaled / u128::from(load.period_ns)).min(PRODUCT_MAX);
        low = product_down(low, (PRODUCT_ONE + part).min(PRODUCT_MAX));
        high = product_up(high, (PRODUCT_ONE + part + 1).min(PRODUCT_MAX));
    }
    if high <= 2 * PRODUCT_ONE {
        return Some(true);
    }
    if low > 2 * PRODUCT_ONE {
        return Some(false);
    }
    if loads.len() > DENOMINATORS_MAX {
        return None;
    }
    let (mut product, mut limit) = (Big::of(1), Big::of(2));
    for load in loads {
        product = product.times(load.wcet_ns + load.period_ns);
        limit = limit.times(load.period_ns);
    }
    Some(product <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(pairs: &[(u64, u64)]) -> Vec<Load> {
        let load = |(wcet_ns, period_ns): &(u64, u64)| Load {
            wcet_ns: *wcet_ns,
            period_ns: *period_ns,
            jitter_ns: 0,
        };
        pairs.iter().map(load).collect()
    }

    #[test]
    fn case_86_liu_layland_bounds_for_one_to_six_tasks() {
        let bounds: Vec<u64> = (1..=6).map(liu_layland_bound_ppb).collect();
        let micro: Vec<u64> = bounds.iter().map(|ppb| (ppb + 500) / 1000).collect();
        assert_eq!(micro, [1_000_000, 828_427, 779_763, 756_828, 743_492, 734_772]);
        // ln 2 from above.
        assert_eq!(liu_layland_bound_ppb(10_000) / 1000, 693_171);
    }

    #[test]
    fn a_sum_that_is_exactly_the_limit_is_told_from_one_a_hair_above() {
        assert_eq!(fits(&loads(&[(1, 3), (1, 3), (1, 3)]), 1), Some(true));
        assert_eq!(fits(&loads(&[(1, 2), (1, 3), (1, 6)]), 1), Some(true));
        // 1/3 + (2·10^16 + 1)/(3·10^16): above 1 by 3·10^-17, less than the intervals resolve.
        let year = 30_000_000_000_000_000;
        assert_eq!(fits(&loads(&[(1, 3), (20_000_000_000_000_001, year)]), 1), Some(false));
        assert_eq!(fits(&loads(&[(1, 3), (20_000_000_000_000_000, year)]), 1), Some(true));
        assert_eq!(fits(&loads(&[(1, 3), (19_999_999_999_999_999, year)]), 1), Some(true));
    }

    #[test]
    fn the_hyperbolic_test_is_exact_at_its_bound() {
        // 4/3 · 3/2 = 2.
        assert_eq!(passes_hyperbolic(&loads(&[(1, 3), (1, 2)])), Some(true));
        assert_eq!(
            passes_hyperbolic(&loads(&[(1_000_000_001, 3_000_000_000), (1, 2)])),
            Some(false)
        );
        assert_eq!(passes_hyperbolic(&loads(&[(1, 1)])), Some(true));
        assert_eq!(passes_hyperbolic(&loads(&[(9, 1), (9, 1), (9, 1)])), Some(false));
    }

    #[test]
    fn liu_layland_tells_a_part_in_ten_million_apart() {
        // 2(√2 − 1) = 0.828427124…
        assert_eq!(passes_liu_layland(&loads(&[(4_142_135, 10_000_000); 2])), Some(true));
        assert_eq!(passes_liu_layland(&loads(&[(4_142_136, 10_000_000); 2])), Some(false));
        assert_eq!(passes_liu_layland(&loads(&[(1, 1)])), Some(true));
        assert_eq!(passes_liu_layland(&loads(&[(5, 1), (5, 1)])), Some(false));
    }
}
