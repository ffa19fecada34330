//! Counting.

use std::collections::BTreeMap;

use crate::report::{
    Agreement, DiffersFor, Divergence, Excluded, HrtickReport, PickKind, ValueErrors,
};

/// Errors and durations kept for percentiles; beyond, every second is dropped, again and again.
const SAMPLES_MAX: usize = 1 << 16;

/// Numbers of which percentiles are wanted, thinned evenly once there are many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    kept: Vec<u64>,
    every: u64,
    count: u64,
    sum: u64,
    max: u64,
}

impl Samples {
    pub(crate) fn add(&mut self, value: u64) {
        let every = self.every.max(1);
        if self.count.is_multiple_of(every) {
            self.kept.push(value);
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
        if self.kept.len() >= SAMPLES_MAX {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every = every * 2;
        }
    }

    fn percentile(&mut self, percent: usize) -> u64 {
        self.kept.sort_unstable();
        let rank = (self.kept.len() * percent).div_ceil(100).max(1) - 1;
        self.kept.get(rank).copied().unwrap_or(0)
    }

    pub(crate) fn differs_for(&mut self) -> DiffersFor {
        DiffersFor {
            times: self.count,
            total_ns: self.sum,
            p50_ns: self.percentile(50),
            max_ns: self.max,
        }
    }

    pub(crate) fn value_errors(&mut self) -> Option<ValueErrors> {
        (self.count > 0).then(|| ValueErrors {
            compared: self.count,
            p50_ns: self.percentile(50),
            p99_ns: self.percentile(99),
            max_ns: self.max,
        })
    }
}

/// All that is counted during a replay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judge {
    pub(crate) total: Agreement,
    pub(crate) by_kind: BTreeMap<PickKind, Agreement>,
    pub(crate) missed: u64,
    pub(crate) unasked: u64,
    pub(crate) unmarked_gaps: u64,
    pub(crate) stale: u64,
    pub(crate) excluded: Excluded,
    pub(crate) differs: Samples,
    pub(crate) hrtick: HrtickReport,
    pub(crate) vruntime: Samples,
    pub(crate) deadline: Samples,
    pub(crate) divergences: Vec<Divergence>,
}

impl Judge {
    pub(crate) fn pick(&mut self, kind: PickKind, agreed: bool, choice: bool) {
        self.total.count(agreed, choice);
        self.by_kind.entry(kind).or_default().count(agreed, choice);
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn percentiles_survive_thinning() {
        let mut samples = Samples::default();
        (1..=1_000_000_u64).for_each(|value| samples.add(value));
        let errors = samples.value_errors().unwrap();
        assert_eq!((errors.compared, errors.max_ns), (1_000_000, 1_000_000));
        assert!(errors.p50_ns.abs_diff(500_000) < 100, "{}", errors.p50_ns);
        assert!(errors.p99_ns.abs_diff(990_000) < 100, "{}", errors.p99_ns);
    }
}
