//! Kernel beside Slicewise, and the limits the difference has to keep.
//!
//! The limits are those of the project's plan and the same for every cell: none is tuned.

use slicewise_sched::{Feature, Profile};

use crate::TICK_NS;
use crate::case::Case;
use crate::figures::{GroupSummary, Summary};

/// CPU share: half a percentage point.
const SHARE_POINTS: f64 = 0.5;
/// Involuntary switches: 5 %, or 3.
const SWITCHES_PART: f64 = 0.05;
const SWITCHES_COUNT: f64 = 3.0;
/// Wakeup latency: 10 %, or a tick, or 0.5 ms where the kernel runs HRTICK.
const LATENCY_PART: f64 = 0.10;
const LATENCY_HRTICK_NS: u64 = 500_000;

/// What a row is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Figure {
    Share,
    Voluntary,
    Involuntary,
    Disturbed,
    LatencyP50,
    LatencyP99,
    LatencyMax,
    JobP50,
}

impl Figure {
    pub(crate) const ALL: [Self; 8] = [
        Self::Share,
        Self::Voluntary,
        Self::Involuntary,
        Self::Disturbed,
        Self::LatencyP50,
        Self::LatencyP99,
        Self::LatencyMax,
        Self::JobP50,
    ];

    /// As tables and the file of causes call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Share => "CPU share",
            Self::Voluntary => "voluntary switches",
            Self::Involuntary => "involuntary switches",
            Self::Disturbed => "… for other threads",
            Self::LatencyP50 => "wakeup latency p50",
            Self::LatencyP99 => "wakeup latency p99",
            Self::LatencyMax => "wakeup latency max",
            Self::JobP50 => "CPU of a job p50",
        }
    }

    fn is_latency(self) -> bool {
        matches!(self, Self::LatencyP50 | Self::LatencyP99 | Self::LatencyMax)
    }

    fn of(self, summary: &Summary, group: &GroupSummary) -> Option<f64> {
        let us = |count: u64, ns: u64| (count > 0).then_some(ns as f64 / 1e3);
        let latency = group.latency;
        match self {
            Self::Share => Some(100.0 * group.cpu_ns as f64 / (summary.window_ns.max(1)) as f64),
            Self::Voluntary => Some(group.voluntary as f64),
            Self::Involuntary => Some((group.involuntary + group.disturbed) as f64),
            Self::Disturbed => Some(group.disturbed as f64),
            Self::LatencyP50 => us(latency.count, latency.p50_ns),
            Self::LatencyP99 => us(latency.count, latency.p99_ns),
            Self::LatencyMax => us(latency.count, latency.max_ns),
            Self::JobP50 => us(group.job.count, group.job.p50_ns),
        }
    }

    /// How far apart the two may be; `None` where nothing is demanded.
    fn limit(self, kernel: f64, hrtick: bool) -> Option<f64> {
        match self {
            Self::Share => Some(SHARE_POINTS),
            Self::Involuntary => Some((SWITCHES_PART * kernel).max(SWITCHES_COUNT)),
            Self::LatencyP50 | Self::LatencyP99 => {
                let least_ns = if hrtick { LATENCY_HRTICK_NS } else { TICK_NS };
                Some((LATENCY_PART * kernel).max(least_ns as f64 / 1e3))
            }
            _ => None,
        }
    }

    /// The value as text.
    pub(crate) fn value(self, value: Option<f64>) -> String {
        match (value, self) {
            (None, _) => "-".to_owned(),
            (Some(value), Self::Share) => format!("{value:.2} %"),
            (Some(value), Self::Voluntary | Self::Involuntary | Self::Disturbed) => {
                format!("{value:.0}")
            }
            (Some(value), _) if value >= 10_000.0 => format!("{:.2} ms", value / 1e3),
            (Some(value), _) => format!("{value:.0} us"),
        }
    }
}

/// A figure of both sides.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Row {
    pub(crate) task: String,
    pub(crate) figure: Figure,
    pub(crate) kernel: Option<f64>,
    pub(crate) slicewise: Option<f64>,
    /// Whether the limit is kept; `None` where there is none.
    pub(crate) met: Option<bool>,
}

impl Row {
    /// The difference as text.
    pub(crate) fn error(&self) -> String {
        let (Some(kernel), Some(slicewise)) = (self.kernel, self.slicewise) else {
            return if self.kernel == self.slicewise {
                String::new()
            } else {
                "missing".to_owned()
            };
        };
        let difference = slicewise - kernel;
        match self.figure {
            Figure::Share => format!("{difference:+.2} points"),
            Figure::Voluntary | Figure::Involuntary | Figure::Disturbed => {
                match kernel.abs() > f64::EPSILON {
                    true => format!("{difference:+.0} ({:+.1} %)", 100.0 * difference / kernel),
                    false => format!("{difference:+.0}"),
                }
            }
            _ => format!("{difference:+.0} us"),
        }
    }
}

/// All rows of a cell.
///
/// A task that never sleeps by its program has no wakeup latency to compare: the few times that it
/// slept on the kernel (in rt-app, when it writes its log) are shown, and nothing is demanded.
pub(crate) fn rows(case: &Case, series: &str, kernel: &Summary, slicewise: &Summary) -> Vec<Row> {
    let sleepers = case.sleepers();
    let hrtick =
        Profile::named(series).is_some_and(|profile| profile.features.has(Feature::HRTICK));
    let mut rows = Vec::new();
    for real in &kernel.groups {
        let nothing = GroupSummary::default();
        let ours = slicewise.groups.iter().find(|ours| ours.name == real.name).unwrap_or(&nothing);
        for figure in Figure::ALL {
            let kernel = figure.of(kernel, real);
            let slicewise = figure.of(slicewise, ours);
            if kernel.is_none() && slicewise.is_none() {
                continue;
            }
            let applies =
                case.command.is_none() && (!figure.is_latency() || sleepers.contains(&real.name));
            let limit = figure.limit(kernel.unwrap_or(0.0), hrtick).filter(|_| applies);
            let met = limit.map(|limit| match (kernel, slicewise) {
                (Some(kernel), Some(slicewise)) => (slicewise - kernel).abs() <= limit,
                _ => false,
            });
            rows.push(Row { task: real.name.clone(), figure, kernel, slicewise, met });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::{Figure, rows};
    use crate::case::Case;
    use crate::figures::{GroupSummary, Quantiles, Summary};

    fn summary(cpu_ns: u64, involuntary: u64, p99_ns: u64) -> Summary {
        let latency = Quantiles { count: 9, mean_ns: 0, p50_ns: 0, p99_ns, max_ns: p99_ns };
        let name = "a".to_owned();
        let group = GroupSummary { name, cpu_ns, involuntary, latency, ..GroupSummary::default() };
        Summary { window_ns: 1_000_000_000, groups: vec![group] }
    }

    fn met(series: &str, figure: Figure, kernel: &Summary, ours: &Summary) -> Option<bool> {
        let text = "question = \"?\"\nscenario = '''\n[[task]]\nname = \"a\"\nprogram = [{ run = \"1ms\" }, \
                    { sleep = \"1ms\" }]\n'''\n";
        let case = Case::parse(text, "x").unwrap();
        let rows = rows(&case, series, kernel, ours);
        rows.iter().find(|row| row.figure == figure).and_then(|row| row.met)
    }

    #[test]
    fn a_share_may_be_half_a_point_off() {
        let kernel = summary(500_000_000, 0, 0);
        let ours = |cpu_ns| summary(cpu_ns, 0, 0);
        assert_eq!(met("6.12", Figure::Share, &kernel, &ours(504_900_000)), Some(true));
        assert_eq!(met("6.12", Figure::Share, &kernel, &ours(505_100_000)), Some(false));
    }

    #[test]
    fn switches_may_be_three_or_five_percent_off() {
        let of = |count| summary(0, count, 0);
        assert_eq!(met("6.12", Figure::Involuntary, &of(10), &of(13)), Some(true));
        assert_eq!(met("6.12", Figure::Involuntary, &of(10), &of(14)), Some(false));
        assert_eq!(met("6.12", Figure::Involuntary, &of(1000), &of(950)), Some(true));
        assert_eq!(met("6.12", Figure::Involuntary, &of(1000), &of(949)), Some(false));
        assert_eq!(met("6.12", Figure::Voluntary, &of(1000), &of(949)), None);
    }

    #[test]
    fn latency_may_be_a_tick_off_or_half_a_millisecond_with_hrtick() {
        let of = |ns| summary(0, 0, ns);
        assert_eq!(met("6.12", Figure::LatencyP99, &of(0), &of(4_000_000)), Some(true));
        assert_eq!(met("6.12", Figure::LatencyP99, &of(0), &of(4_001_000)), Some(false));
        assert_eq!(met("7.2", Figure::LatencyP99, &of(0), &of(501_000)), Some(false));
        assert_eq!(met("7.2", Figure::LatencyP99, &of(9_000_000), &of(9_800_000)), Some(true));
    }
}
