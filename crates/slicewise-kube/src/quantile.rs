//! Quantiles of the durations a load names: how long a request takes if it never waits.

use slicewise_containers::Dist;

/// The duration that `per_mille` in 1000 draws do not exceed, ns.
///
/// ```
/// use slicewise_containers::Dist;
/// use slicewise_kube::quantile_ns;
///
/// assert_eq!(quantile_ns(&Dist::Constant(5), 990), 5);
/// // The 99th percentile of an exponential distribution is ln 100 times its mean.
/// assert_eq!(quantile_ns(&Dist::Exponential { mean_ns: 1e6 }, 990), 4_605_170);
/// ```
pub fn quantile_ns(dist: &Dist, per_mille: u32) -> u64 {
    let p = f64::from(per_mille.min(999)) / 1000.0;
    match dist {
        Dist::Constant(ns) => *ns,
        Dist::Uniform(min, max) => min + ((max - min) as f64 * p).round() as u64,
        Dist::Exponential { mean_ns } => (-mean_ns * libm::log1p(-p)).round() as u64,
        Dist::LogNormal { median_ns, sigma } => {
            (median_ns * libm::exp(sigma * normal_quantile(p))).round() as u64
        }
        Dist::Pareto { scale_ns, shape, max_ns } => {
            let value = scale_ns * libm::pow(1.0 - p, -1.0 / shape);
            // Values above the greatest are cut to it.
            (value.round() as u64).min(*max_ns)
        }
        Dist::Empirical(values) => empirical(values, per_mille.min(999)),
    }
}

/// The mean, ns. Of a Pareto distribution: with its tail cut off, as it is drawn.
pub fn mean_ns(dist: &Dist) -> f64 {
    match dist {
        Dist::Constant(ns) => *ns as f64,
        Dist::Uniform(min, max) => (*min as f64 + *max as f64) / 2.0,
        Dist::Exponential { mean_ns } => *mean_ns,
        Dist::LogNormal { median_ns, sigma } => median_ns * libm::exp(sigma * sigma / 2.0),
        Dist::Pareto { scale_ns, shape, max_ns } => {
            // The area under the survival function, up to where it is cut.
            let ratio = scale_ns / (*max_ns as f64).max(*scale_ns);
            let tail = match (shape - 1.0).abs() < 1e-9 {
                true => -libm::log(ratio),
                false => (1.0 - libm::pow(ratio, shape - 1.0)) / (shape - 1.0),
            };
            scale_ns * (1.0 + tail)
        }
        Dist::Empirical(values) => {
            let weight: f64 = values.iter().map(|(_, weight)| *weight as f64).sum();
            values.iter().map(|(ns, w)| *ns as f64 * *w as f64).sum::<f64>() / weight.max(1.0)
        }
    }
}

fn empirical(values: &[(u64, u64)], per_mille: u32) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let total: u128 = sorted.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let rank = (total * u128::from(per_mille)).div_ceil(1000).max(1);
    let mut seen = 0_u128;
    for (value, weight) in &sorted {
        seen += u128::from(*weight);
        if seen >= rank {
            return *value;
        }
    }
    sorted.last().map_or(0, |(value, _)| *value)
}

/// Where the standard normal distribution reaches `p`, by halving: 60 steps leave nothing that a
/// nanosecond could tell.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0_f64, 9.0_f64);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if 0.5 * libm::erfc(-middle / core::f64::consts::SQRT_2) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Standard normal: 99 % at 2.326348, 99.9 % at 3.090232.
        assert!((normal_quantile(0.99) - 2.326_347_9).abs() < 1e-6);
        assert!((normal_quantile(0.999) - 3.090_232_3).abs() < 1e-6);
        let dist = Dist::LogNormal { median_ns: 1e6, sigma: 1.0 };
        assert_eq!(quantile_ns(&dist, 500), 1_000_000);
        assert_eq!(quantile_ns(&Dist::Uniform(100, 200), 500), 150);
        // A tail index of 1: the 99th percentile is a hundred times the least value.
        let dist = Dist::Pareto { scale_ns: 10.0, shape: 1.0, max_ns: 5_000 };
        assert_eq!((quantile_ns(&dist, 990), quantile_ns(&dist, 999)), (1_000, 5_000));
        let dist = Dist::Empirical(vec![(9, 1), (1, 98), (5, 1)]);
        assert_eq!([500, 980, 990, 999].map(|p| quantile_ns(&dist, p)), [1, 1, 5, 9]);
    }

    #[test]
    fn means_are_the_areas_under_the_tails() {
        assert_eq!(mean_ns(&Dist::Uniform(1, 3)), 2.0);
        assert_eq!(mean_ns(&Dist::Empirical(vec![(1, 3), (5, 1)])), 2.0);
        // Shape 2 from 10: mean 20 without a cut.
        let far = Dist::Pareto { scale_ns: 10.0, shape: 2.0, max_ns: u64::MAX };
        assert!((mean_ns(&far) - 20.0).abs() < 1e-3);
        let cut = Dist::Pareto { scale_ns: 10.0, shape: 2.0, max_ns: 20 };
        assert!((mean_ns(&cut) - 15.0).abs() < 1e-9);
    }
}
