//! One group's settings, and what its files do to them.

use slicewise_sched::bandwidth::Limit;
use slicewise_sched::{Nice, RtLimit, Shares};

use crate::number::{self, Scanner};
use crate::{Clamp, MaxUnits, Percent, Refused, Rules, Why};

/// Which cgroup interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// `cpu.shares`, `cpu.cfs_quota_us` and their like.
    V1,
    /// `cpu.weight`, `cpu.max` and their like.
    V2,
}

/// A file of the CPU controller that can be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum File {
    /// v2 `cpu.weight`.
    Weight,
    /// v2 `cpu.weight.nice`.
    WeightNice,
    /// v2 `cpu.max`.
    Max,
    /// v2 `cpu.max.burst`.
    MaxBurst,
    /// v1 `cpu.shares`.
    Shares,
    /// v1 `cpu.cfs_quota_us`.
    CfsQuotaUs,
    /// v1 `cpu.cfs_period_us`.
    CfsPeriodUs,
    /// v1 `cpu.cfs_burst_us`.
    CfsBurstUs,
    /// v1 `cpu.rt_period_us`, of kernels with RT_GROUP_SCHED.
    RtPeriodUs,
    /// v1 `cpu.rt_runtime_us`, likewise.
    RtRuntimeUs,
    /// `cpu.idle`, both.
    Idle,
    /// `cpu.uclamp.min`, both.
    UclampMin,
    /// `cpu.uclamp.max`, both.
    UclampMax,
}

impl File {
    /// All of them.
    pub const ALL: [File; 13] = [
        Self::Weight,
        Self::WeightNice,
        Self::Max,
        Self::MaxBurst,
        Self::Shares,
        Self::CfsQuotaUs,
        Self::CfsPeriodUs,
        Self::CfsBurstUs,
        Self::RtPeriodUs,
        Self::RtRuntimeUs,
        Self::Idle,
        Self::UclampMin,
        Self::UclampMax,
    ];

    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weight => "cpu.weight",
            Self::WeightNice => "cpu.weight.nice",
            Self::Max => "cpu.max",
            Self::MaxBurst => "cpu.max.burst",
            Self::Shares => "cpu.shares",
            Self::CfsQuotaUs => "cpu.cfs_quota_us",
            Self::CfsPeriodUs => "cpu.cfs_period_us",
            Self::CfsBurstUs => "cpu.cfs_burst_us",
            Self::RtPeriodUs => "cpu.rt_period_us",
            Self::RtRuntimeUs => "cpu.rt_runtime_us",
            Self::Idle => "cpu.idle",
            Self::UclampMin => "cpu.uclamp.min",
            Self::UclampMax => "cpu.uclamp.max",
        }
    }

    /// The file of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }

    /// Whether groups other than the root have it.
    pub fn exists(self, version: Version, rules: &Rules) -> bool {
        match self {
            Self::Weight | Self::WeightNice | Self::Max | Self::MaxBurst => version == Version::V2,
            Self::Shares | Self::CfsQuotaUs | Self::CfsPeriodUs | Self::CfsBurstUs => {
                version == Version::V1
            }
            Self::RtPeriodUs | Self::RtRuntimeUs => {
                version == Version::V1 && rules.rt_group_sched.is_some()
            }
            Self::Idle => true,
            Self::UclampMin | Self::UclampMax => rules.uclamp,
        }
    }

    /// Whether the root group has it: some of v1, where they read as the defaults, but for the
    /// real-time ones, which can be written.
    pub fn exists_in_root(self, version: Version, rules: &Rules) -> bool {
        let clamps = matches!(self, Self::UclampMin | Self::UclampMax);
        version == Version::V1 && !clamps && self.exists(version, rules)
    }
}

/// What a write asks for, once its text is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Shares(Shares),
    Idle(bool),
    Limit(Limit),
    Rt(RtLimit),
    UclampMin(Percent),
    UclampMax(Percent),
}

/// The settings of one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    shares: Shares,
    idle: bool,
    limit: Limit,
    rt: RtLimit,
    uclamp_min: Percent,
    uclamp_max: Percent,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shares: Shares::default(),
            idle: false,
            limit: Limit::default(),
            rt: RtLimit::default(),
            uclamp_min: Percent::default(),
            uclamp_max: Percent::MAX,
        }
    }
}

impl Settings {
    /// Shares of an idle group.
    const IDLE_SHARES: u64 = 3;

    /// The weight: 3 of an idle group.
    pub fn shares(&self) -> Shares {
        self.shares
    }

    /// `cpu.idle`.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// Quota, period and burst.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// `cpu.rt_runtime_us` and `cpu.rt_period_us`.
    pub fn rt_limit(&self) -> RtLimit {
        self.rt
    }

    pub(crate) fn with_rt_limit(rt: RtLimit) -> Self {
        Self { rt, ..Self::default() }
    }

    /// `cpu.uclamp.min` and `.max`, as they were written.
    pub fn uclamp(&self) -> (Percent, Percent) {
        (self.uclamp_min, self.uclamp_max)
    }

    /// The same as utilisation: what the group requests.
    pub fn clamp(&self) -> Clamp {
        Clamp { min: self.uclamp_min.value(), max: self.uclamp_max.value() }
    }

    /// These settings after a write, in a group that is not the root. v1's checks of quotas, and of real-time
    /// limits, against each other are not done here but in [`Tree`](crate::Tree).
    ///
    /// A write of nothing does nothing. More than 4096 bytes are `E2BIG`; what follows a NUL is not
    /// looked at.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn after_write(&self, file: File, text: &[u8], rules: &Rules) -> Result<Self, Refused> {
        if text.is_empty() {
            return Ok(*self);
        }
        let mut after = *self;
        match self.change(file, text, rules)? {
            Change::Shares(_) if self.idle => return Err(Refused::invalid(Why::WeightOfIdle)),
            Change::Shares(shares) => after.shares = shares,
            // Writing what it is already changes nothing, the shares neither.
            Change::Idle(idle) if idle == self.idle => {}
            Change::Idle(idle) => {
                after.idle = idle;
                after.shares =
                    if idle { Shares::from_shares(Self::IDLE_SHARES) } else { Shares::default() };
            }
            Change::Limit(limit) => {
                limit.check().map_err(|error| Refused::invalid(Why::Limit(error)))?;
                after.limit = limit;
            }
            Change::Rt(limit) => {
                limit.check().map_err(|error| Refused::invalid(Why::RtLimit(error)))?;
                after.rt = limit;
            }
            Change::UclampMin(percent) => after.uclamp_min = percent,
            Change::UclampMax(percent) => after.uclamp_max = percent,
        }
        Ok(after)
    }

    /// What a text asks for, without regard to what the group is.
    pub(crate) fn check_text(file: File, text: &[u8], rules: &Rules) -> Result<(), Refused> {
        Self::default().change(file, text, rules).map(|_| ())
    }

    fn change(&self, file: File, text: &[u8], rules: &Rules) -> Result<Change, Refused> {
        if text.len() > 4096 {
            return Err(Refused { errno: crate::Errno::E2BIG, why: Why::TooLong });
        }
        let text = number::until_nul(text);
        let limit = self.limit;
        Ok(match file {
            File::Weight => {
                let weight = number::unsigned(text)?;
                let shares = Shares::from_weight(weight);
                Change::Shares(shares.ok_or(Refused::range(Why::Weight(weight)))?)
            }
            File::WeightNice => {
                let nice = number::signed(text)?;
                let known = Nice::new(nice).ok_or(Refused::range(Why::Nice(nice)))?;
                Change::Shares(Shares::from_nice(known))
            }
            File::Shares => Change::Shares(Shares::from_shares(number::unsigned(text)?)),
            File::Idle => match number::signed(text)? {
                0 => Change::Idle(false),
                1 => Change::Idle(true),
                other => return Err(Refused::invalid(Why::Idle(other))),
            },
            File::Max => Change::Limit(self.max(text, rules)?),
            File::CfsQuotaUs => {
                let quota_us = number::signed(text)?;
                let quota_ns = u64::try_from(quota_us).ok().map(from_us).transpose()?;
                Change::Limit(Limit { quota_ns, ..limit })
            }
            File::CfsPeriodUs => {
                Change::Limit(Limit { period_ns: from_us(number::unsigned(text)?)?, ..limit })
            }
            File::MaxBurst | File::CfsBurstUs => {
                Change::Limit(Limit { burst_ns: from_us(number::unsigned(text)?)?, ..limit })
            }
            File::RtPeriodUs => {
                let period_ns = from_us(number::unsigned(text)?)?;
                Change::Rt(RtLimit { period_ns, ..self.rt })
            }
            File::RtRuntimeUs => {
                let runtime_us = number::signed(text)?;
                let runtime_ns = u64::try_from(runtime_us).ok().map(from_us).transpose()?;
                Change::Rt(RtLimit { runtime_ns, ..self.rt })
            }
            File::UclampMin => Change::UclampMin(Percent::parse(text, rules.overflow)?),
            File::UclampMax => Change::UclampMax(Percent::parse(text, rules.overflow)?),
        })
    }

    /// `QUOTA [PERIOD]`, scanned loosely: the quota is what digits a word of up to 20 bytes begins
    /// with, and a period that is no number is as if it were not there.
    fn max(&self, text: &[u8], rules: &Rules) -> Result<Limit, Refused> {
        let not_one = Refused::invalid(Why::NotAQuota);
        let in_ns = |us: u64| match rules.max_units {
            MaxUnits::Nanoseconds => us.wrapping_mul(1000),
            MaxUnits::Microseconds => us.saturating_mul(1000),
        };
        let mut scanner = Scanner::new(text, rules.overflow);
        let word = scanner.word(20).ok_or(not_one)?;
        let period_ns = scanner.unsigned().map_or(self.limit.period_ns, in_ns);
        let quota_ns = match Scanner::new(word, rules.overflow).unsigned() {
            Some(u64::MAX) if rules.max_units == MaxUnits::Microseconds => None,
            Some(quota_us) => Some(in_ns(quota_us)),
            None if word == b"max" => None,
            None => return Err(not_one),
        };
        Ok(Limit { quota_ns, period_ns, ..self.limit })
    }

    /// What a file reads.
    pub fn read(&self, file: File, rules: &Rules) -> String {
        let us = |ns: u64| ns / 1000;
        let quota = |unlimited: &str| {
            self.limit.quota_ns.map_or(unlimited.to_owned(), |ns| us(ns).to_string())
        };
        match file {
            File::Weight if self.idle && rules.idle_weighs_0 => "0\n".to_owned(),
            File::Weight => format!("{}\n", self.shares.weight()),
            File::WeightNice => format!("{}\n", self.shares.nice().get()),
            File::Max => format!("{} {}\n", quota("max"), us(self.limit.period_ns)),
            File::MaxBurst | File::CfsBurstUs => format!("{}\n", us(self.limit.burst_ns)),
            File::Shares => format!("{}\n", self.shares.shares()),
            File::CfsQuotaUs => format!("{}\n", quota("-1")),
            File::CfsPeriodUs => format!("{}\n", us(self.limit.period_ns)),
            File::RtPeriodUs => format!("{}\n", us(self.rt.period_ns)),
            File::RtRuntimeUs => {
                format!("{}\n", self.rt.runtime_ns.map_or("-1".to_owned(), |ns| us(ns).to_string()))
            }
            File::Idle => format!("{}\n", u8::from(self.idle)),
            File::UclampMin => format!("{}\n", self.uclamp_min),
            File::UclampMax => format!("{}\n", self.uclamp_max),
        }
    }
}

/// us of a single number as ns.
fn from_us(us: u64) -> Result<u64, Refused> {
    us.checked_mul(1000).ok_or(Refused::invalid(Why::TooManyMicroseconds(us)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Errno;

    fn rules() -> Rules {
        Rules::named("6.12").unwrap()
    }

    fn write(settings: &mut Settings, file: File, text: &str) -> Result<(), Errno> {
        let after = settings.after_write(file, text.as_bytes(), &rules());
        *settings = after.map_err(|refused| refused.errno)?;
        Ok(())
    }

    #[test]
    fn w29_weights() {
        let mut group = Settings::default();
        for (weight, shares, nice) in
            [(1, 10, 19), (10, 102, 10), (50, 512, 3), (59, 604, 2), (200, 2048, -3)]
        {
            write(&mut group, File::Weight, &format!("{weight}\n")).unwrap();
            assert_eq!(group.shares().shares(), shares);
            assert_eq!(group.read(File::Weight, &rules()), format!("{weight}\n"));
            assert_eq!(group.read(File::WeightNice, &rules()), format!("{nice}\n"));
        }
    }

    #[test]
    fn w29_an_idle_group_has_3_shares_and_none_to_choose() {
        let mut group = Settings::default();
        write(&mut group, File::Idle, "1").unwrap();
        assert_eq!(group.read(File::Shares, &rules()), "3\n");
        assert_eq!(write(&mut group, File::Shares, "512"), Err(Errno::EINVAL));
        write(&mut group, File::Idle, "0").unwrap();
        assert_eq!(group.read(File::Shares, &rules()), "1024\n");
    }

    #[test]
    fn w30_and_case_61_limits() {
        let mut group = Settings::default();
        for (text, result, reads) in [
            ("999", Err(Errno::EINVAL), "max 100000\n"),
            ("1000", Ok(()), "1000 100000\n"),
            ("max", Ok(()), "max 100000\n"),
            ("50000 1000001", Err(Errno::EINVAL), "max 100000\n"),
            ("50000 999", Err(Errno::EINVAL), "max 100000\n"),
            ("200000", Ok(()), "200000 100000\n"),
            ("50000", Ok(()), "50000 100000\n"),
        ] {
            assert_eq!(write(&mut group, File::Max, text), result, "{text}");
            assert_eq!(group.read(File::Max, &rules()), reads);
        }
        assert_eq!(write(&mut group, File::MaxBurst, "50001"), Err(Errno::EINVAL));
        write(&mut group, File::MaxBurst, "50000").unwrap();
        assert_eq!(group.limit().burst_ns, 50_000_000);
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        let group = Settings::default();
        let said = |file: File, text: &str| {
            group.after_write(file, text.as_bytes(), &rules()).unwrap_err().to_string()
        };
        assert_eq!(said(File::Weight, "0"), "a weight of 0: must be 1 to 10000 (ERANGE)");
        assert_eq!(said(File::WeightNice, "20"), "a nice value of 20: must be -20 to 19 (ERANGE)");
        assert_eq!(said(File::Max, "999"), "a quota of 999 us: must be 1000 or more (EINVAL)");
        assert_eq!(said(File::Idle, "yes"), "not a whole number with nothing around it (EINVAL)");
    }
}
