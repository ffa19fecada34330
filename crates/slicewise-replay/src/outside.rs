//! Wakeups from outside: timers recognised as timers.

use crate::script::Step;

/// How wakeups from outside come to a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Outside {
    /// There are none.
    #[default]
    None,
    /// On a grid of this period (or of multiples of it): an absolute timer.
    Periodic {
        /// ns.
        period_ns: u64,
    },
    /// So long after the task went to sleep, always about the same: a relative timer.
    Sleep {
        /// The time in the middle of all, ns.
        typical_ns: u64,
    },
    /// So long after the task went to sleep, in uninterruptible sleep: a device.
    Device,
    /// At times of their own: packets, input, timers of no pattern.
    Arrival,
}

impl Outside {
    /// Whether sleeps last as long as they did, however late they begin.
    pub fn is_relative(self) -> bool {
        matches!(self, Self::Sleep { .. } | Self::Device)
    }
}

/// Fewer wakeups than this have no pattern.
const PATTERN_MIN: usize = 4;
/// This many of a hundred have to follow it.
const FOLLOW_PERCENT: usize = 80;
/// How far off they may be: a part of the period, and at least so many ns.
const TOLERANCE_PART: u64 = 50;
const TOLERANCE_MIN_NS: u64 = 60_000;
/// Sleeps shorter than this follow no pattern worth the name.
const PATTERN_NS_MIN: u64 = 50_000;

fn tolerance_ns(of_ns: u64) -> u64 {
    (of_ns / TOLERANCE_PART).max(TOLERANCE_MIN_NS.min(of_ns / 4))
}

/// The number in the middle.
fn median(numbers: &mut [u64]) -> Option<u64> {
    let middle = numbers.len() / 2;
    (!numbers.is_empty()).then(|| *numbers.select_nth_unstable(middle).1)
}

fn most(all: usize, follow: usize) -> bool {
    follow * 100 >= all * FOLLOW_PERCENT
}

/// Tells by a task's steps; `device_sleeps` is how many of its sleeps until a wakeup from outside were
/// uninterruptible.
pub(crate) fn recognise(steps: &[Step], device_sleeps: usize) -> Outside {
    let sleeps: Vec<(u64, u64)> = steps
        .iter()
        .filter_map(|step| match step {
            // The first has no beginning.
            Step::Outside { from_ns: 0, .. } => None,
            Step::Outside { from_ns, to_ns } => Some((*from_ns, *to_ns)),
            _ => None,
        })
        .collect();
    if sleeps.is_empty() {
        let any = steps.iter().any(|step| matches!(step, Step::Outside { .. }));
        return if any { Outside::Arrival } else { Outside::None };
    }
    if sleeps.len() >= PATTERN_MIN {
        let mut gaps: Vec<u64> = sleeps.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        let mut lengths: Vec<u64> = sleeps.iter().map(|(from, to)| to - from).collect();
        let period_ns = median(&mut gaps).unwrap_or(0);
        let typical_ns = median(&mut lengths).unwrap_or(0);
        let on_grid = |gap: u64| {
            let periods = ((gap + period_ns / 2) / period_ns).max(1);
            gap.abs_diff(periods * period_ns) <= tolerance_ns(period_ns)
        };
        let grid = match period_ns >= PATTERN_NS_MIN {
            true => gaps.iter().filter(|gap| on_grid(**gap)).count(),
            false => 0,
        };
        let close = |length: u64| length.abs_diff(typical_ns) <= tolerance_ns(typical_ns);
        let alike = match typical_ns >= PATTERN_NS_MIN {
            true => lengths.iter().filter(|length| close(**length)).count(),
            false => 0,
        };
        // A short burst and a constant sleep look periodic, too: what is the more regular is it.
        let spread = |numbers: &[u64], of: u64| -> u64 {
            let mut off: Vec<u64> = numbers.iter().map(|number| number.abs_diff(of)).collect();
            median(&mut off).unwrap_or(0)
        };
        let periodic = most(gaps.len(), grid);
        let constant = most(lengths.len(), alike);
        if constant && (!periodic || spread(&lengths, typical_ns) <= spread(&gaps, period_ns)) {
            return Outside::Sleep { typical_ns };
        }
        if periodic {
            return Outside::Periodic { period_ns };
        }
    }
    if device_sleeps * 2 > sleeps.len() { Outside::Device } else { Outside::Arrival }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn sleeps(times: impl IntoIterator<Item = (u64, u64)>) -> Vec<Step> {
        times.into_iter().map(|(from_ns, to_ns)| Step::Outside { from_ns, to_ns }).collect()
    }

    #[test]
    fn wakeups_on_a_grid_are_a_periodic_timer_whatever_the_bursts() {
        // Bursts of 1 to 4 ms; one period is missed.
        let steps = sleeps(
            (1..20)
                .filter(|n| *n != 7)
                .map(|n| (n * 10 * MS - (6 + n % 4) * MS, n * 10 * MS + n * 300)),
        );
        let Outside::Periodic { period_ns } = recognise(&steps, 0) else { panic!("no timer") };
        assert!(period_ns.abs_diff(10 * MS) < MS / 100);
    }

    #[test]
    fn sleeps_of_one_length_are_a_relative_timer_whatever_the_bursts() {
        let mut now = MS;
        let steps = sleeps((0..20).map(|n| {
            let from = now + (1 + n * n % 7) * MS;
            now = from + 5 * MS + n * 200;
            (from, now)
        }));
        assert!(
            matches!(recognise(&steps, 0), Outside::Sleep { typical_ns } if typical_ns / MS == 5)
        );
    }

    #[test]
    fn what_follows_no_pattern_arrives_or_comes_from_a_device() {
        let steps =
            sleeps((1..20).map(|n| (n * 10 * MS, n * 10 * MS + (n * n * 7919 % 9 + 1) * MS)));
        assert_eq!(recognise(&steps, 0), Outside::Arrival);
        assert_eq!(recognise(&steps, 15), Outside::Device);
        assert_eq!(recognise(&[Step::Run(1), Step::Wait], 0), Outside::None);
    }
}
