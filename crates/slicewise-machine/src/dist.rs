//! Durations: constant, or drawn from a seeded distribution.

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
