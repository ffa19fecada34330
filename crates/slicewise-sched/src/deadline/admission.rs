//! How much deadline bandwidth a root domain has, and who gets some of it (classes.md C.2).

use core::fmt;

use super::{DlParams, Fault, to_ratio};
use crate::profile::{GrubRule, RtRules};

const SCHED_CAPACITY: u64 = 1024;

/// Why the kernel does not give a reservation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// `EINVAL`: the parameters make no sense.
    Invalid(Fault),
    /// `EPERM`: the task may not run on all CPUs of the root domain.
    Affinity,
    /// `EBUSY`: not so much bandwidth is left.
    Busy,
    /// `EBUSY`: a deadline task would not be allowed on all CPUs of the root domain any more.
    Shrunk,
    /// `EAGAIN`: a deadline task forks, and its children would be deadline tasks.
    Fork,
}

impl Refusal {
    /// The error's name in C.
    #[must_use]
    pub fn errno(self) -> &'static str {
        match self {
            Self::Invalid(_) => "EINVAL",
            Self::Affinity => "EPERM",
            Self::Busy | Self::Shrunk => "EBUSY",
            Self::Fork => "EAGAIN",
        }
    }

    /// The rule that is broken.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Invalid(fault) => fault.explain(),
            Self::Affinity => "its CPUs are not all CPUs of the root domain",
            Self::Busy => "the bandwidths of all deadline tasks would exceed what may be reserved",
            Self::Shrunk => "a deadline task has to be allowed on all CPUs of the root domain",
            Self::Fork => "a deadline task can fork only with reset-on-fork",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.errno(), self.rule())
    }
}

/// Deadline bandwidth of one root domain, in 2^-20 of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootDomain {
    /// What one CPU may give; `None` is no limit (`sched_rt_runtime_us` -1).
    cap: Option<u64>,
    cpus: u32,
    total: u64,
    /// What each CPU may still reserve, as reclaiming counts it.
    extra: i64,
    /// What reclaiming may use of each CPU at most.
    max: u64,
    /// The inverse of `max`, in 2^-8.
    ratio: u64,
    grub: GrubRule,
}

impl RootDomain {
    /// One with this many CPUs of full capacity, and no deadline entities but the fair servers.
    #[must_use]
    pub fn new(rules: &RtRules, cpus: u32) -> Self {
        let (cap, ratio) = match rules.runtime_us {
            Some(runtime_us) => (
                Some(to_ratio(rules.period_us, runtime_us)),
                to_ratio(runtime_us, rules.period_us) >> 12,
            ),
            None => (None, 256),
        };
        let max = cap.unwrap_or(1 << super::BW_SHIFT);
        let mut domain = Self {
            cap,
            cpus: cpus.max(1),
            total: 0,
            extra: max as i64,
            max,
            ratio,
            grub: rules.grub,
        };
        if let Some(server) = rules.fair_server {
            for _ in 0..cpus {
                let bandwidth = to_ratio(server.period_ns, server.runtime_ns);
                domain.add(bandwidth);
                if server.counted_twice {
                    domain.extra -= (bandwidth / u64::from(cpus)) as i64;
                }
            }
        }
        domain
    }

    /// What may be reserved in all; `None` without a limit.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        let capacity = SCHED_CAPACITY * u64::from(self.cpus);
        self.cap.map(|cap| (u128::from(cap) * u128::from(capacity) / 1024) as u64)
    }

    /// What is reserved, fair servers included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// A task that has `old` (0 for one that is no deadline task) asks for these parameters.
    /// Nothing changes; [`replace`](Self::replace) does it.
    ///
    /// # Errors
    /// If the kernel would refuse.
    pub fn check(&self, old: u64, params: &DlParams) -> Result<(), Refusal> {
        let new = params.bandwidth();
        match self.limit() {
            Some(limit) if new != old => {
                let total = self.total.saturating_sub(old).saturating_add(new);
                if total > limit { Err(Refusal::Busy) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Bandwidth changes hands, unchecked.
    pub fn replace(&mut self, old: u64, new: u64) {
        if old > 0 {
            self.total = self.total.saturating_sub(old);
            self.extra = self.extra.saturating_add_unsigned(old / u64::from(self.cpus));
        }
        if new > 0 {
            self.add(new);
        }
    }

    fn add(&mut self, bandwidth: u64) {
        self.total = self.total.saturating_add(bandwidth);
        self.extra = self.extra.saturating_sub_unsigned(bandwidth / u64::from(self.cpus));
    }

    /// What a reclaiming entity of this bandwidth is charged for `delta_ns` of running, on a CPU with
    /// `this` of bandwidth in all, `running` of it active (GRUB, classes.md C.6).
    #[must_use]
    pub(crate) fn reclaimed(&self, delta_ns: u64, bandwidth: u64, this: u64, running: u64) -> u64 {
        let inactive = this.saturating_sub(running) as i64;
        let spoken_for = inactive.saturating_add(self.extra);
        let left_of = |whole: i64| whole.saturating_sub(spoken_for).max(0) as u64;
        let of_limit = |share: u64| (u128::from(share) * u128::from(self.ratio)) >> 8;
        let scaled = match self.grub {
            GrubRule::OfCpu => of_limit(bandwidth).max(left_of(1 << super::BW_SHIFT).into()),
            GrubRule::OfLimit => of_limit(bandwidth.max(left_of(self.max as i64))),
        };
        ((u128::from(delta_ns) * scaled) >> super::BW_SHIFT).min(u128::from(u64::MAX)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    const MS: u64 = 1_000_000;

    fn domain(kernel: &str, cpus: u32) -> RootDomain {
        RootDomain::new(&Profile::named(kernel).unwrap().rt, cpus)
    }

    fn admit(domain: &mut RootDomain, params: DlParams) -> Result<(), Refusal> {
        domain.check(0, &params)?;
        domain.replace(0, params.bandwidth());
        Ok(())
    }

    #[test]
    fn w6_admission_is_exact_to_the_last_unit() {
        let mut two = domain("6.18", 2);
        assert_eq!((two.limit(), two.total()), (Some(1_992_294), 104_856));
        assert_eq!(admit(&mut two, DlParams::implicit(10 * MS, 10 * MS)), Ok(()));
        let refused = DlParams::implicit(800_002_100, 1_000 * MS);
        assert_eq!(admit(&mut two, refused), Err(Refusal::Busy));
        assert_eq!(admit(&mut two, DlParams::implicit(800_001_145, 1_000 * MS)), Ok(()));
        assert_eq!(two.total(), 1_992_294);
        assert_eq!(admit(&mut two, DlParams::implicit(1_024, 1_000 * MS)), Err(Refusal::Busy));
    }

    #[test]
    fn case_91_a_cpu_with_a_fair_server_takes_nine_tenths_of_itself() {
        let tenth = DlParams::implicit(10 * MS, 100 * MS);
        for (kernel, cpus, fit) in [("6.12", 1, 9), ("6.18", 2, 18), ("6.1", 2, 19), ("7.2", 1, 9)]
        {
            let mut domain = domain(kernel, cpus);
            let admitted = (0..100).take_while(|_| admit(&mut domain, tenth).is_ok()).count();
            assert_eq!(admitted, fit, "{kernel} with {cpus} CPUs");
        }
    }

    #[test]
    fn a_changed_reservation_counts_only_for_what_it_grows() {
        let mut one = domain("6.12", 1);
        let half = DlParams::implicit(50 * MS, 100 * MS);
        assert_eq!(admit(&mut one, half), Ok(()));
        let more = DlParams::implicit(90 * MS, 100 * MS);
        assert_eq!(one.check(half.bandwidth(), &more), Ok(()));
        assert_eq!(one.check(0, &more), Err(Refusal::Busy));
        one.replace(half.bandwidth(), 0);
        assert_eq!(one, domain("6.12", 1));
    }

    #[test]
    fn w13_reclaiming_stretches_the_budget_by_what_nobody_uses() {
        let no_server = RtRules { fair_server: None, ..Profile::named("6.12").unwrap().rt };
        let half = 524_288;
        let mut alone = RootDomain::new(&no_server, 1);
        alone.replace(0, half);
        assert_eq!(alone.reclaimed(10 * MS, half, half, half), 5_253_906);

        let mut server = domain("6.18", 1);
        server.replace(0, half);
        assert_eq!(server.reclaimed(10 * MS, half, half + 52_428, half), 5_253_906);
        assert_eq!(server.reclaimed(10 * MS, half, half + 52_428, half + 52_428), 5_779_285);

        let mut two = RootDomain::new(&no_server, 1);
        let tenth = 104_857;
        two.replace(0, half);
        two.replace(0, tenth);
        assert_eq!(two.reclaimed(10 * MS, tenth, half + tenth, half + tenth), 6_304_674);
        assert_eq!(two.reclaimed(10 * MS, tenth, half + tenth, tenth), 1_050_767);
    }

    #[test]
    fn reclaiming_on_booted_kernels() {
        // 100 ms in 400 ms, alone on a CPU: how long it ran in a period, ms.
        for (kernel, ran_ms) in [("6.1", 333.3), ("6.12", 271.9), ("6.18", 317.2), ("7.2", 333.3)] {
            let mut domain = domain(kernel, 1);
            let quarter = DlParams::implicit(100 * MS, 400 * MS).bandwidth();
            domain.replace(0, quarter);
            let server = Profile::named(kernel).unwrap().rt.fair_server.map_or(0, |_| 52_428);
            let charged = domain.reclaimed(1_000 * MS, quarter, quarter + server, quarter + server);
            let runs_ms = 100.0 * 1e9 / charged as f64;
            assert!((runs_ms - ran_ms).abs() < 0.1, "{kernel}: {runs_ms}");
        }
    }
}
