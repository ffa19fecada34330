//! The files that are only read: `cpu.stat`, `cpu.stat.local` and `cpu.pressure`, byte for byte.

use core::fmt::Write as _;

use slicewise_sched::bandwidth::BandwidthStats;
use slicewise_sched::psi::Line;

use crate::{Rules, Version};

/// The figures of a group's `cpu.stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuStat {
    /// CPU time of the group and those below, us.
    pub usage_us: u64,
    /// Of it in user mode, us.
    pub user_us: u64,
    /// Of it in the kernel, us.
    pub system_us: u64,
    /// Of it by tasks with a nice value above 0, us.
    pub nice_us: u64,
    /// The group's own limit; `None` on v2 where the controller is not enabled.
    pub bandwidth: Option<BandwidthStats>,
    /// v1 with `kernel.sched_schedstats` only: how long tasks waited, ns.
    pub wait_sum_ns: Option<u64>,
}

impl CpuStat {
    /// What `cpu.stat` reads. The lines of core scheduling (CONFIG_SCHED_CORE) are not there.
    pub fn text(&self, version: Version, rules: &Rules) -> String {
        match version {
            Version::V1 => self.v1(),
            Version::V2 => self.v2(rules),
        }
    }

    fn v1(&self) -> String {
        let stats = self.bandwidth.unwrap_or_default();
        let mut text = String::new();
        line(&mut text, "nr_periods", stats.nr_periods);
        line(&mut text, "nr_throttled", stats.nr_throttled);
        line(&mut text, "throttled_time", stats.throttled_ns);
        if let Some(wait_sum_ns) = self.wait_sum_ns {
            line(&mut text, "wait_sum", wait_sum_ns);
        }
        line(&mut text, "nr_bursts", stats.nr_bursts);
        line(&mut text, "burst_time", stats.burst_ns);
        text
    }

    fn v2(&self, rules: &Rules) -> String {
        let mut text = String::new();
        line(&mut text, "usage_usec", self.usage_us);
        line(&mut text, "user_usec", self.user_us);
        line(&mut text, "system_usec", self.system_us);
        if rules.nice_usec {
            line(&mut text, "nice_usec", self.nice_us);
        }
        if let Some(stats) = self.bandwidth {
            line(&mut text, "nr_periods", stats.nr_periods);
            line(&mut text, "nr_throttled", stats.nr_throttled);
            line(&mut text, "throttled_usec", stats.throttled_ns / 1000);
            line(&mut text, "nr_bursts", stats.nr_bursts);
            line(&mut text, "burst_usec", stats.burst_ns / 1000);
        }
        text
    }
}

fn line(text: &mut String, key: &str, value: u64) {
    let _ = writeln!(text, "{key} {value}");
}

/// What `cpu.stat.local` reads: how long the group's queues were throttled, by its own limit or one
/// above, all CPUs added up. `None` on kernels without the file.
pub fn local_stat(throttled_ns: u64, version: Version, rules: &Rules) -> Option<String> {
    rules.stat_local.then(|| match version {
        Version::V1 => format!("throttled_time {throttled_ns}\n"),
        Version::V2 => format!("throttled_usec {}\n", throttled_ns / 1000),
    })
}

/// What `cpu.pressure` and `/proc/pressure/cpu` read. For the system and the root group, `full` is
/// [`Line::default`].
pub fn pressure(some: &Line, full: &Line) -> String {
    format!("some {some}\nfull {full}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(name: &str) -> Rules {
        Rules::named(name).unwrap()
    }

    /// A hog under 20 of 100 ms for 10 s.
    fn limited(usage_us: u64, throttled_ns: u64) -> CpuStat {
        let bandwidth = BandwidthStats {
            nr_periods: 100,
            nr_throttled: 100,
            throttled_ns,
            ..Default::default()
        };
        CpuStat { usage_us, user_us: usage_us, bandwidth: Some(bandwidth), ..CpuStat::default() }
    }

    #[test]
    fn v2_statistics_read_as_on_6_1() {
        let stat = limited(2_023_664, 7_927_526_999);
        let expected = "usage_usec 2023664\nuser_usec 2023664\nsystem_usec 0\nnr_periods 100\n\
                        nr_throttled 100\nthrottled_usec 7927526\nnr_bursts 0\nburst_usec 0\n";
        assert_eq!(stat.text(Version::V2, &rules("6.1")), expected);
        assert_eq!(local_stat(7_927_526_999, Version::V2, &rules("6.1")), None);
    }

    #[test]
    fn v2_statistics_read_as_on_7_2() {
        let stat = limited(2_019_736, 7_984_279_000);
        let expected = "usage_usec 2019736\nuser_usec 2019736\nsystem_usec 0\nnice_usec 0\n\
                        nr_periods 100\nnr_throttled 100\nthrottled_usec 7984279\nnr_bursts 0\n\
                        burst_usec 0\n";
        assert_eq!(stat.text(Version::V2, &rules("7.2")), expected);
        let local = local_stat(7_984_279_000, Version::V2, &rules("7.2"));
        assert_eq!(local.as_deref(), Some("throttled_usec 7984279\n"));
    }

    #[test]
    fn v2_without_the_controller_has_no_lines_of_the_limit() {
        let stat = CpuStat { bandwidth: None, ..limited(7, 0) };
        let expected = "usage_usec 7\nuser_usec 7\nsystem_usec 0\nnice_usec 0\n";
        assert_eq!(stat.text(Version::V2, &rules("7.2")), expected);
    }

    #[test]
    fn v1_statistics_are_in_ns() {
        let bandwidth = BandwidthStats {
            nr_periods: 1,
            nr_throttled: 2,
            throttled_ns: 3,
            nr_bursts: 4,
            burst_ns: 5,
        };
        let mut stat = CpuStat { bandwidth: Some(bandwidth), ..CpuStat::default() };
        let expected =
            "nr_periods 1\nnr_throttled 2\nthrottled_time 3\nnr_bursts 4\nburst_time 5\n";
        assert_eq!(stat.text(Version::V1, &rules("6.12")), expected);
        stat.wait_sum_ns = Some(6);
        let expected = "nr_periods 1\nnr_throttled 2\nthrottled_time 3\nwait_sum 6\nnr_bursts 4\n\
                        burst_time 5\n";
        assert_eq!(stat.text(Version::V1, &rules("6.12")), expected);
        let local = local_stat(3, Version::V1, &rules("6.12"));
        assert_eq!(local.as_deref(), Some("throttled_time 3\n"));
    }
}
