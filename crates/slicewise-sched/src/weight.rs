//! Nice values as weights, and time divided by weight: the kernel's integer arithmetic (fair.md A).

use crate::{Nice, Policy};

/// Weight of nice 0 at the 20-bit scale that entities store.
pub(crate) const NICE_0_LOAD: u64 = 1 << 20;

/// Weight of a `SCHED_IDLE` task, unscaled.
const IDLE_WEIGHT: u64 = 3;
const IDLE_INVERSE: u32 = 1_431_655_765;

/// Weights by nice + 20, unscaled. Neighbours differ by about 1.25.
#[rustfmt::skip]
const NICE_TO_WEIGHT: [u64; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916,
     9548,  7620,  6100,  4904,  3906,  3121,  2501,  1991,  1586,  1277,
     1024,   820,   655,   526,   423,   335,   272,   215,   172,   137,
      110,    87,    70,    56,    45,    36,    29,    23,    18,    15,
];

/// 2^32 / weight, rounded as the kernel's table has it (not always downwards).
#[rustfmt::skip]
const NICE_TO_INVERSE: [u32; 40] = [
        48388,     59856,     76040,     92818,    118348,
       147320,    184698,    229616,    287308,    360437,
       449829,    563644,    704093,    875809,   1099582,
      1376151,   1717300,   2157191,   2708050,   3363326,
      4194304,   5237765,   6557202,   8165337,  10153587,
     12820798,  15790321,  19976592,  24970740,  31350126,
     39045157,  49367440,  61356676,  76695844,  95443717,
    119304647, 148102320, 186737708, 238609294, 286331153,
];

/// Weight of a nice value, unscaled.
pub(crate) fn nice_weight(nice: Nice) -> u64 {
    NICE_TO_WEIGHT[(nice.get() + 20) as usize]
}

/// A weight at the 20-bit scale with the inverse that divides by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Load {
    pub(crate) weight: u64,
    pub(crate) inverse: u32,
}

impl Load {
    /// The weight a task has from its policy and nice value (A.1): the inverse is the table's.
    pub(crate) fn of(policy: Policy, nice: Nice) -> Self {
        if matches!(policy, Policy::Idle) {
            return Self { weight: IDLE_WEIGHT << 10, inverse: IDLE_INVERSE };
        }
        let index = (nice.get() + 20) as usize;
        Self { weight: NICE_TO_WEIGHT[index] << 10, inverse: NICE_TO_INVERSE[index] }
    }

    /// A weight that was set or summed: the inverse is computed.
    pub(crate) fn summed(weight: u64) -> Self {
        let scaled = scale_down(weight);
        let inverse = if scaled == 0 {
            u32::MAX
        } else if scaled >= u64::from(u32::MAX) {
            1
        } else {
            (u64::from(u32::MAX) / scaled) as u32
        };
        Self { weight, inverse }
    }
}

/// From the 20-bit scale to the 10-bit one; never below 2 unless 0.
#[inline]
pub(crate) fn scale_down(weight: u64) -> u64 {
    if weight == 0 { 0 } else { (weight >> 10).max(2) }
}

/// `delta · weight / load` by the inverse, as kernels up to 6.18 compute it (A.2).
#[inline]
pub(crate) fn scaled_division(delta_ns: u64, weight: u64, load: Load) -> u64 {
    let mut fact = scale_down(weight);
    let mut shift = 32;
    shrink(&mut fact, &mut shift);
    fact *= u64::from(load.inverse);
    shrink(&mut fact, &mut shift);
    ((u128::from(delta_ns) * u128::from(fact)) >> shift) as u64
}

/// Keeps a factor within 32 bits by giving up low bits.
#[inline]
fn shrink(fact: &mut u64, shift: &mut u32) {
    let high = (*fact >> 32) as u32;
    let bits = u32::BITS - high.leading_zeros();
    // Only weights beyond any there are would go below zero.
    *shift = shift.saturating_sub(bits);
    *fact >>= bits;
}

/// `delta · weight / load` in full, as kernels from 7.2 compute it.
#[inline]
pub(crate) fn exact_division(delta_ns: u64, weight: u64, load_weight: u64) -> u64 {
    match delta_ns.checked_mul(weight) {
        Some(product) => product / load_weight.max(1),
        None => wide_division(delta_ns, weight, load_weight),
    }
}

#[cold]
fn wide_division(delta_ns: u64, weight: u64, load_weight: u64) -> u64 {
    let wide = u128::from(delta_ns) * u128::from(weight) / u128::from(load_weight.max(1));
    u64::try_from(wide).unwrap_or(u64::MAX)
}

/// How fast virtual time goes for a weight: real ns to virtual ns.
#[inline(always)]
pub(crate) fn virtual_delta(delta_ns: u64, load: Load, exact: bool) -> u64 {
    if load.weight == NICE_0_LOAD {
        return delta_ns;
    }
    core::hint::cold_path();
    divided(delta_ns, load, exact)
}

/// Out of line: it would be in a dozen places where most weights are that of nice 0.
#[inline(never)]
fn divided(delta_ns: u64, load: Load, exact: bool) -> u64 {
    if exact {
        exact_division(delta_ns, NICE_0_LOAD, load.weight)
    } else {
        scaled_division(delta_ns, NICE_0_LOAD, load)
    }
}

/// 1 + floor(log2(min(cpus, 8))): by how much tunables grow with the number of CPUs (A.5).
pub(crate) fn tunable_factor(cpus: u32) -> u64 {
    u64::from(1 + cpus.clamp(1, 8).ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice(nice: i64) -> Load {
        Load::of(Policy::Normal, Nice::new(nice).unwrap())
    }
    fn idle() -> Load {
        Load::of(Policy::Idle, Nice::default())
    }

    #[test]
    fn case_1_the_forty_weights() {
        #[rustfmt::skip]
        let expected = [
            88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620,
            6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272,
            215, 172, 137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
        ];
        for (value, weight) in (-20..=19).zip(expected) {
            assert_eq!(nice(value).weight, weight << 10, "nice {value}");
        }
    }

    #[test]
    fn wx1_four_milliseconds_of_virtual_time() {
        for (value, expected) in [
            (0, 4_000_000),
            (1, 4_995_121),
            (5, 12_226_865),
            (-5, 1_312_399),
            (19, 273_066_666),
            (-20, 46_146),
        ] {
            assert_eq!(virtual_delta(4_000_000, nice(value), false), expected, "nice {value}");
        }
        assert_eq!(virtual_delta(4_000_000, idle(), false), 1_365_333_333);
    }

    #[test]
    fn wx2_inverse_and_exact_division_differ_by_a_nanosecond() {
        assert_eq!(virtual_delta(2_800_000, nice(5), false), 8_558_806);
        assert_eq!(virtual_delta(2_800_000, nice(5), true), 8_558_805);
        assert_eq!(virtual_delta(2_800_000, nice(-5), false), 918_679);
        assert_eq!(virtual_delta(2_800_000, nice(-5), true), 918_679);
        assert_eq!(virtual_delta(2_800_000, idle(), false), 955_733_333);
        assert_eq!(virtual_delta(2_800_000, idle(), true), 955_733_333);
    }

    #[test]
    fn wx3_the_smallest_group_weight_divides_by_two() {
        assert_eq!(virtual_delta(1_000_000, Load::summed(2), false), 511_999_999);
    }

    #[test]
    fn case_5_ten_milliseconds_of_virtual_time() {
        for (value, expected) in [(0, 10.0), (5, 30.567), (-5, 3.281), (19, 682.667)] {
            let got = virtual_delta(10_000_000, nice(value), false) as f64 / 1e6;
            assert!((got - expected).abs() < 0.0005, "nice {value}: {got}");
        }
    }

    #[test]
    fn case_3_ten_percent_more_or_less_for_each_nice_level() {
        let share = |a: i64, b: i64| {
            let (a, b) = (nice(a).weight as f64, nice(b).weight as f64);
            100.0 * a / (a + b)
        };
        for (a, b, expected) in [
            (10, 11, 55.84),
            (-5, -4, 55.51),
            (0, 1, 55.53),
            (0, 5, 75.35),
            (0, 10, 90.30),
            (0, 19, 98.56),
            (-5, 0, 75.30),
            (-20, 0, 98.86),
            (-20, 19, 99.98),
            (-2, -1, 55.40),
        ] {
            assert!((share(a, b) - expected).abs() < 0.005, "{a} against {b}: {}", share(a, b));
        }
    }

    #[test]
    fn tunables_grow_with_the_logarithm_of_the_cpus_up_to_eight() {
        let factors: Vec<u64> = [1, 2, 3, 4, 7, 8, 64, 512].map(tunable_factor).to_vec();
        assert_eq!(factors, [1, 2, 2, 3, 3, 4, 4, 4]);
    }

    #[test]
    fn enormous_times_neither_overflow_nor_panic() {
        for load in [nice(-20), nice(19), idle(), Load::summed(0), Load::summed(u64::MAX)] {
            for delta in [0, 1, u64::MAX / 2, u64::MAX] {
                virtual_delta(delta, load, false);
                virtual_delta(delta, load, true);
                scaled_division(delta, u64::MAX, load);
            }
        }
    }
}
