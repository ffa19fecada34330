//! Docker: the flags of `docker run`, and Compose files.
//!
//! Both set the same things: `cpus` is a limit that becomes a quota of 100 ms; `cpu_quota` and
//! `cpu_period` are the kernel's own; `cpu_shares` is a weight; `cpuset` is where it may run. The
//! daemon refuses `cpus` together with a quota or a period.

pub(crate) mod compose;
mod run;

use crate::cgroup::{PERIOD_DEFAULT_US, PERIOD_MAX_US, QUOTA_MAX_US, QUOTA_MIN_US};
use crate::cpus::{CPUS_MAX, CpuList};
use crate::diagnostic::{Sink, Span, shorten};
use crate::quantity::Quantity;

pub use run::docker_run;

/// What was set, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    cpus: Option<(Quantity, Span)>,
    shares: Option<u64>,
    quota: Option<(Option<u64>, Span)>,
    period: Option<(u64, Span)>,
    cpuset: Option<CpuList>,
}

/// Shares, quota, period and CPUs.
pub(crate) struct Checked {
    pub(crate) shares: Option<u64>,
    pub(crate) quota_us: Option<u64>,
    pub(crate) period_us: u64,
    pub(crate) cpuset: Option<CpuList>,
}

impl Cpu {
    /// A number of CPUs such as `1.5`.
    pub(crate) fn cpus(&mut self, sink: &mut Sink, what: &str, text: &str, span: Span) {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let parsed = Quantity::parse(text).ok().filter(|_| plain);
        let Some(cpus) = parsed else {
            let message = format!("`{what}` cannot be `{}`", shorten(text));
            let help = match text.strip_suffix('m').and_then(|_| Quantity::parse(text).ok()) {
                Some(cpus) => {
                    let milli = cpus.as_milli();
                    let digits = format!("{}.{:03}", milli / 1000, milli % 1000);
                    let digits = digits.trim_end_matches('0').trim_end_matches('.');
                    format!("Docker knows no thousandths: write `{digits}`")
                }
                None => "write a number of CPUs: `0.5`, `2`".to_owned(),
            };
            sink.error(span, message, help);
            return;
        };
        if cpus > Quantity::units(CPUS_MAX) {
            let message = format!("`{what}` cannot be `{}`", shorten(text));
            sink.error(span, message, format!("{CPUS_MAX} CPUs are the most"));
            return;
        }
        if cpus.is_zero() {
            // The daemon takes it for "not set".
            return;
        }
        if cpus < Quantity::milli(10) {
            let message = format!("`{what}` of {cpus} CPUs is a quota of less than 1 ms");
            sink.error(span, message, "0.01 is the least the kernel takes");
            return;
        }
        self.cpus = Some((cpus, span));
    }

    pub(crate) fn shares(&mut self, sink: &mut Sink, what: &str, text: &str, span: Span) {
        match text.parse::<u64>() {
            // The daemon takes 0 for "not set".
            Ok(0) => {}
            Ok(shares) => {
                if !(2..=262_144).contains(&shares) {
                    let message = format!("`{what}` of {shares} is beyond what the kernel has");
                    sink.warn(span, message, "2 to 262144: it counts as the nearest of these");
                }
                self.shares = Some(shares.clamp(2, 262_144));
            }
            Err(_) => {
                let message = format!("`{what}` cannot be `{}`", shorten(text));
                sink.error(span, message, "write a whole number; 1024 is the default");
            }
        }
    }

    /// µs, or a duration where the format has them.
    pub(crate) fn quota(&mut self, sink: &mut Sink, what: &str, text: &str, span: Span) {
        let quota = match text.parse::<i64>() {
            Ok(number) if number <= 0 => None,
            Ok(number) => Some(number.unsigned_abs()),
            Err(_) => {
                let message = format!("`{what}` cannot be `{}`", shorten(text));
                sink.error(span, message, "write microseconds: `50000` is 50 ms in a period");
                return;
            }
        };
        match quota {
            Some(quota) if quota < QUOTA_MIN_US => {
                let message = format!("`{what}` of {quota} us is less than 1 ms");
                sink.error(span, message, "1000 is the least the kernel takes");
            }
            Some(quota) if quota > QUOTA_MAX_US => {
                let message = format!("`{what}` of {quota} us is more than the kernel takes");
                sink.error(span, message, format!("{QUOTA_MAX_US} is the most; -1 is no limit"));
            }
            quota => self.quota = Some((quota, span)),
        }
    }

    pub(crate) fn period(&mut self, sink: &mut Sink, what: &str, text: &str, span: Span) {
        match text.parse::<u64>() {
            Ok(0) => {}
            Ok(period) if (QUOTA_MIN_US..=PERIOD_MAX_US).contains(&period) => {
                self.period = Some((period, span));
            }
            _ => {
                let message = format!("`{what}` cannot be `{}`", shorten(text));
                sink.error(span, message, "write microseconds, 1000 to 1000000 (1 ms to 1 s)");
            }
        }
    }

    pub(crate) fn cpuset(&mut self, sink: &mut Sink, what: &str, text: &str, span: Span) {
        if text.is_empty() {
            return;
        }
        match CpuList::parse(text) {
            Ok(cpus) => self.cpuset = Some(cpus),
            Err(problem) => {
                sink.error(span, format!("`{what}`: {problem}"), "write a list such as `0-3,8`");
            }
        }
    }

    /// What the daemon makes of it.
    pub(crate) fn check(self, sink: &mut Sink) -> Checked {
        if let (Some(_), Some((_, span))) = (self.cpus, self.quota) {
            let message = "a number of CPUs and a quota exclude each other";
            sink.error(span, message, "the daemon refuses both together: keep one");
        }
        if let (Some(_), Some((_, span))) = (self.cpus, self.period) {
            let message = "a number of CPUs and a period exclude each other";
            sink.error(span, message, "the daemon refuses both together: keep one");
        }
        let period_us = self.period.map_or(PERIOD_DEFAULT_US, |(period, _)| period);
        let quota_us = match self.cpus {
            Some((cpus, _)) => {
                let quota = cpus.as_nano() * i128::from(PERIOD_DEFAULT_US) / 1_000_000_000;
                u64::try_from(quota).ok()
            }
            None => self.quota.and_then(|(quota, _)| quota),
        };
        Checked { shares: self.shares, quota_us, period_us, cpuset: self.cpuset }
    }
}

/// Whether a cgroup may be called so: it becomes a path.
fn is_cgroup(name: &str) -> bool {
    let name = name.trim_matches('/');
    (1..=255).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:@/".contains(&b))
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !name.starts_with('-')
        && !name.contains("--")
}

/// The cgroup a container is put into, or nothing if that is no name for one.
pub(crate) fn cgroup_parent(sink: &mut Sink, what: &str, text: &str, span: Span) -> Option<String> {
    if !is_cgroup(text) {
        let message = format!("`{what}` cannot be `{}`", shorten(text));
        sink.error(span, message, "write a slice or a path: `batch.slice`, `/batch/night`");
        return None;
    }
    Some(text.to_owned())
}

/// Whether Docker would take it as a container's name.
pub(crate) fn is_container_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}
