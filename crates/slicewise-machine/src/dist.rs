//! Durations: constant, or drawn from a seeded distribution.

use crate::rng::Rng;

/// A duration in ns, constant or drawn anew at every use.
#[derive(Clone, Debug, PartialEq)]
pub enum Dist {
    /// Always this long.
    Constant(u64),
    /// Every whole ns from the first to the second, both included, equally often.
    Uniform(u64, u64),
    /// Exponential with this mean: the gaps of a Poisson process.
    Exponential {
        /// Mean, ns.
        mean_ns: f64,
    },
    /// Log-normal: the logarithm is normal around `ln(median)`.
    LogNormal {
        /// Half of all values are below, ns.
        median_ns: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Pareto: a heavy tail.
    Pareto {
        /// The smallest value, ns.
        scale_ns: f64,
        /// Tail index: smaller is heavier.
        shape: f64,
        /// Values above are cut to this, ns.
        max_ns: u64,
    },
    /// One of these values, each as often as its weight says.
    Empirical(std::sync::Arc<[EmpiricalBin]>),
}

/// A value of an empirical distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmpiricalBin {
    /// The value, ns.
    pub value_ns: u64,
    /// The sum of the weights of this and all earlier bins.
    pub cumulative_weight: u64,
}

/// The longest duration a distribution gives: 146 years. Longer ones are cut.
const LONGEST_NS: u64 = 1 << 62;

impl Dist {
    /// What is wrong with the parameters, if anything.
    pub fn fault(&self) -> Option<&'static str> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        match self {
            Self::Uniform(low, high) if low > high => Some("the lower bound is above the upper"),
            Self::Exponential { mean_ns } if !not_negative(*mean_ns) => {
                Some("the mean is not a number of 0 or more")
            }
            Self::LogNormal { median_ns, .. } if !not_negative(*median_ns) => {
                Some("the median is not a number of 0 or more")
            }
            Self::LogNormal { sigma, .. } if !not_negative(*sigma) => {
                Some("sigma is not a number of 0 or more")
            }
            Self::Pareto { scale_ns, .. } if !not_negative(*scale_ns) => {
                Some("the scale is not a number of 0 or more")
            }
            Self::Pareto { shape, .. } if !positive(*shape) => {
                Some("the shape is not a number above 0")
            }
            Self::Empirical(bins) if bins.last().is_none_or(|bin| bin.cumulative_weight == 0) => {
                Some("there is no value with a weight")
            }
            Self::Empirical(bins)
                if bins.windows(2).any(|w| w[0].cumulative_weight > w[1].cumulative_weight) =>
            {
                Some("cumulative weights fall")
            }
            _ => None,
        }
    }

    /// Draws one duration, ns.
    #[inline]
    pub(crate) fn sample(&self, rng: &mut Rng) -> u64 {
        match self {
            Self::Constant(ns) => *ns,
            _ => self.draw(rng),
        }
    }

    fn draw(&self, rng: &mut Rng) -> u64 {
        match self {
            Self::Constant(ns) => *ns,
            Self::Uniform(low, high) => match high.saturating_sub(*low).checked_add(1) {
                Some(values) => low + rng.below(values),
                None => rng.next_u64(),
            },
            Self::Exponential { mean_ns } => whole_ns(-mean_ns * libm::log(rng.unit())),
            Self::LogNormal { median_ns, sigma } => {
                whole_ns(median_ns * libm::exp(sigma * normal(rng)))
            }
            Self::Pareto { scale_ns, shape, max_ns } => {
                whole_ns(scale_ns * libm::pow(rng.unit(), -1.0 / shape)).min(*max_ns)
            }
            Self::Empirical(bins) => {
                let total = bins.last().map_or(0, |bin| bin.cumulative_weight);
                let drawn = rng.below(total);
                let bin = bins.partition_point(|bin| bin.cumulative_weight <= drawn);
                bins.get(bin).map_or(0, |bin| bin.value_ns)
            }
        }
    }
}

/// The nearest whole ns: 0 for anything that is no positive number.
fn whole_ns(ns: f64) -> u64 {
    // A float cast saturates and makes NaN 0.
    (libm::round(ns) as u64).min(LONGEST_NS)
}

/// A standard normal number (Box and Muller; the second one is thrown away, so that every draw
/// takes the same number of random numbers).
fn normal(rng: &mut Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(rng.unit()));
    radius * libm::cos(2.0 * core::f64::consts::PI * rng.unit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(dist: &Dist) -> f64 {
        let mut rng = Rng::new(42);
        let n = 200_000;
        (0..n).map(|_| dist.sample(&mut rng) as f64).sum::<f64>() / f64::from(n)
    }

    fn close(got: f64, want: f64) {
        assert!((got / want - 1.0).abs() < 0.02, "{got} is not about {want}");
    }

    #[test]
    fn means_are_those_of_the_distributions() {
        close(mean(&Dist::Constant(77)), 77.0);
        close(mean(&Dist::Uniform(1_000, 3_000)), 2_000.0);
        close(mean(&Dist::Exponential { mean_ns: 1e6 }), 1e6);
        let sigma = 0.5;
        let log_normal = Dist::LogNormal { median_ns: 1e6, sigma };
        close(mean(&log_normal), 1e6 * (sigma * sigma / 2.0_f64).exp());
        let pareto = Dist::Pareto { scale_ns: 1e6, shape: 4.0, max_ns: u64::MAX };
        close(mean(&pareto), 1e6 * 4.0 / 3.0);
        let bins = [(100, 1), (200, 4)]
            .map(|(value_ns, cumulative_weight)| EmpiricalBin { value_ns, cumulative_weight });
        close(mean(&Dist::Empirical(bins.into())), 175.0);
    }

    #[test]
    fn uniform_reaches_both_ends_and_nothing_else() {
        let mut rng = Rng::new(1);
        let dist = Dist::Uniform(5, 7);
        let mut seen = [0; 3];
        for _ in 0..1_000 {
            seen[dist.sample(&mut rng) as usize - 5] += 1;
        }
        assert!(seen.iter().all(|n| *n > 250));
        Dist::Uniform(0, u64::MAX).sample(&mut rng);
    }

    #[test]
    fn extreme_parameters_are_cut_and_never_overflow() {
        let mut rng = Rng::new(3);
        let extremes = [
            Dist::Exponential { mean_ns: f64::MAX },
            Dist::Exponential { mean_ns: 0.0 },
            Dist::LogNormal { median_ns: 1e300, sigma: 1e300 },
            Dist::LogNormal { median_ns: 0.0, sigma: 1e300 },
            Dist::Pareto { scale_ns: 1e300, shape: 1e-300, max_ns: 5 },
            Dist::Empirical(Vec::new().into()),
        ];
        for dist in &extremes {
            assert!((0..1_000).all(|_| dist.sample(&mut rng) <= LONGEST_NS), "{dist:?}");
        }
        assert!((0..1_000).all(|_| extremes[4].sample(&mut rng) <= 5));
    }

    #[test]
    fn faults_are_found() {
        let faulty = [
            Dist::Uniform(2, 1),
            Dist::Exponential { mean_ns: f64::NAN },
            Dist::Exponential { mean_ns: -1.0 },
            Dist::LogNormal { median_ns: 1.0, sigma: f64::INFINITY },
            Dist::LogNormal { median_ns: f64::NAN, sigma: 1.0 },
            Dist::Pareto { scale_ns: 1.0, shape: 0.0, max_ns: 1 },
            Dist::Pareto { scale_ns: -1.0, shape: 1.0, max_ns: 1 },
            Dist::Empirical(Vec::new().into()),
        ];
        assert!(faulty.iter().all(|dist| dist.fault().is_some()));
        assert_eq!(Dist::Uniform(1, 1).fault(), None);
        assert_eq!(Dist::Constant(0).fault(), None);
    }

    #[test]
    fn draws_are_the_same_everywhere() {
        // Golden values: a change here changes every recorded result.
        let mut rng = Rng::new(2026);
        let exponential = Dist::Exponential { mean_ns: 1e6 };
        let log_normal = Dist::LogNormal { median_ns: 1e6, sigma: 1.0 };
        let pareto = Dist::Pareto { scale_ns: 1e6, shape: 1.5, max_ns: u64::MAX };
        let got =
            [&exponential, &log_normal, &pareto, &exponential].map(|dist| dist.sample(&mut rng));
        assert_eq!(got, GOLDEN);
    }

    const GOLDEN: [u64; 4] = [850_969, 841_064, 1_102_263, 3_499_648];
}
