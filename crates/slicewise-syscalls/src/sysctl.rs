//! Writes to the scheduler's files in `/proc/sys/kernel` (classes.md B.1, B.4, C.1).

use crate::refusal::{Refusal, Rule};
use crate::rules::{Recount, Rules};
use crate::system::{Change, System};

/// The settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sysctls {
    /// `sched_rt_runtime_us`; -1 is no limit.
    pub rt_runtime_us: i64,
    /// `sched_rt_period_us`.
    pub rt_period_us: u64,
    /// `sched_rr_timeslice_ms`, as it reads.
    pub rr_timeslice_ms: i64,
    /// The same in ticks.
    pub rr_ticks: u64,
    /// `sched_deadline_period_min_us`.
    pub deadline_period_min_us: u32,
    /// `sched_deadline_period_max_us`.
    pub deadline_period_max_us: u32,
    /// `sched_util_clamp_min_rt_default`.
    pub util_clamp_min_rt_default: u32,
}

const RR_TIMESLICE_MS: i64 = 100;

impl Sysctls {
    pub(crate) fn new(rules: &Rules) -> Self {
        Self {
            rt_runtime_us: rules.rt.runtime_us.map_or(-1, |us| us.min(i64::MAX as u64) as i64),
            rt_period_us: rules.rt.period_us,
            rr_timeslice_ms: RR_TIMESLICE_MS,
            rr_ticks: ticks(RR_TIMESLICE_MS, rules.build.hz),
            deadline_period_min_us: 100,
            deadline_period_max_us: 1 << 22,
            util_clamp_min_rt_default: 1024,
        }
    }
}

/// A time in whole ticks, rounded up.
fn ticks(ms: i64, hz: u32) -> u64 {
    (ms.max(0).cast_unsigned() * u64::from(hz)).div_ceil(1000)
}

/// A file in `/proc/sys/kernel`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sysctl {
    /// `sched_rt_period_us`.
    RtPeriod,
    /// `sched_rt_runtime_us`.
    RtRuntime,
    /// `sched_rr_timeslice_ms`.
    RrTimeslice,
    /// `sched_deadline_period_min_us`.
    DeadlinePeriodMin,
    /// `sched_deadline_period_max_us`.
    DeadlinePeriodMax,
}

impl Sysctl {
    /// All of them.
    pub const ALL: [Sysctl; 5] = [
        Self::RtPeriod,
        Self::RtRuntime,
        Self::RrTimeslice,
        Self::DeadlinePeriodMin,
        Self::DeadlinePeriodMax,
    ];

    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::RtPeriod => "sched_rt_period_us",
            Self::RtRuntime => "sched_rt_runtime_us",
            Self::RrTimeslice => "sched_rr_timeslice_ms",
            Self::DeadlinePeriodMin => "sched_deadline_period_min_us",
            Self::DeadlinePeriodMax => "sched_deadline_period_max_us",
        }
    }

    /// The file of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }
}

/// A number as these files take it: white space around it, a sign, 0x and 0 as in C.
fn number(text: &str) -> Result<i128, Refusal> {
    let refused = || Refusal::new(Rule::NotANumber, format!("`{}`", text.trim()));
    let trimmed = text.trim();
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, trimmed),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        None => (10, lower.as_str()),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err(refused());
    }
    let value = i128::from_str_radix(digits, base).map_err(|_| refused())?;
    Ok(if negative { -value } else { value })
}

fn within(value: i128, least: i128, most: i128) -> Result<i128, Refusal> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let detail = format!("{value} is not {least} to {most}");
    Err(Refusal::new(Rule::OutOfRange, detail)
        .fact("value", value)
        .fact("least", least)
        .fact("most", most))
}

impl System {
    /// What a file reads. Reading changes what is reserved on some kernels: see
    /// [`Rules::recount`](crate::Rules::recount).
    pub fn read_sysctl(&mut self, file: Sysctl) -> String {
        if matches!(file, Sysctl::RtPeriod | Sysctl::RtRuntime) {
            self.recount();
        }
        let settings = &self.sysctls;
        match file {
            Sysctl::RtPeriod => format!("{}\n", settings.rt_period_us),
            Sysctl::RtRuntime => format!("{}\n", settings.rt_runtime_us),
            Sysctl::RrTimeslice => format!("{}\n", settings.rr_timeslice_ms),
            Sysctl::DeadlinePeriodMin => format!("{}\n", settings.deadline_period_min_us),
            Sysctl::DeadlinePeriodMax => format!("{}\n", settings.deadline_period_max_us),
        }
    }

    /// Root domains are made anew.
    fn recount(&mut self) {
        if self.rules.recount == Recount::Never {
            return;
        }
        let rules = self.rt_rules();
        let servers = self.rules.recount == Recount::TasksAndServers;
        self.leaving.clear();
        for (at, domain) in self.domains.iter_mut().enumerate() {
            let here = self.tasks.values().filter(|task| task.domain == at);
            let tasks: u64 = here.map(crate::Task::bandwidth).sum();
            domain.recount(&rules, tasks, servers);
        }
    }

    /// Writes to a file, as the superuser: others cannot open it (`EACCES`). A number is what the text
    /// begins with; nothing may follow it.
    ///
    /// # Errors
    /// The rule that is broken; the value stays.
    pub fn write_sysctl(&mut self, file: Sysctl, text: &str) -> Result<(), Refusal> {
        let result = self.write_value(file, text);
        if matches!(file, Sysctl::RtPeriod | Sysctl::RtRuntime) {
            self.recount();
        }
        result
    }

    fn write_value(&mut self, file: Sysctl, text: &str) -> Result<(), Refusal> {
        const INT: i128 = i32::MAX as i128;
        let value = number(text)?;
        let now = self.sysctls;
        match file {
            Sysctl::RrTimeslice => {
                let value = within(value, -INT - 1, INT)? as i64;
                let ms = if value <= 0 { RR_TIMESLICE_MS } else { value };
                self.sysctls.rr_timeslice_ms = ms;
                self.sysctls.rr_ticks = ticks(ms, self.rules.build.hz);
            }
            Sysctl::DeadlinePeriodMin => {
                let most = now.deadline_period_max_us;
                self.sysctls.deadline_period_min_us = within(value, 0, most.into())? as u32;
            }
            Sysctl::DeadlinePeriodMax => {
                let least = now.deadline_period_min_us;
                let most = u32::MAX.into();
                self.sysctls.deadline_period_max_us = within(value, least.into(), most)? as u32;
            }
            Sysctl::RtPeriod => {
                let period = within(value, 1, INT)? as u64;
                self.set_rt(now.rt_runtime_us, period)?;
            }
            Sysctl::RtRuntime => {
                let runtime = within(value, -1, INT)? as i64;
                self.set_rt(runtime, now.rt_period_us)?;
            }
        }
        Ok(())
    }

    fn set_rt(&mut self, runtime_us: i64, period_us: u64) -> Result<(), Refusal> {
        if runtime_us > 0 && runtime_us.cast_unsigned() > period_us {
            let detail = format!("runtime {runtime_us} us, period {period_us} us");
            return Err(Refusal::new(Rule::RuntimeAbovePeriod, detail));
        }
        let cap = Self::cap(runtime_us, period_us);
        for domain in &self.domains {
            let limit = cap.saturating_mul(domain.cpus.into());
            if limit < domain.total() {
                let detail = format!("{limit} would be left, and {} is reserved", domain.total());
                return Err(Refusal::new(Rule::BelowReserved, detail)
                    .fact("bandwidth_limit", limit.into())
                    .fact("bandwidth_total", domain.total().into()));
            }
        }
        self.sysctls.rt_runtime_us = runtime_us;
        self.sysctls.rt_period_us = period_us;
        let rules = self.rt_rules();
        for domain in &mut self.domains {
            domain.rebuild(&rules);
        }
        let runtime_us = u64::try_from(runtime_us).ok();
        self.changes.push(Change::RtBandwidth { runtime_us, period_us });
        Ok(())
    }
}
