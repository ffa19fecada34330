//! What the kernel would say: parameter checks and admission of `SCHED_DEADLINE` in its own
//! arithmetic, per kernel version (classes.md A.9, B.4, C.1, C.2). `SCHED_FIFO` and `SCHED_RR` are
//! never refused for lack of time.

/// Fraction bits of a bandwidth.
const BW_SHIFT: u32 = 20;
const SCHED_CAPACITY: u64 = 1024;
/// Runtimes are counted in units of about a microsecond: less than one is refused.
pub const RUNTIME_MIN_NS: u64 = 1024;
/// `sched_deadline_period_min_us`.
pub const PERIOD_MIN_NS: u64 = 100_000;
/// `sched_deadline_period_max_us`.
pub const PERIOD_MAX_NS: u64 = 4_194_304_000;

/// The rules of one kernel version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelRules {
    /// What users call it: `6.12`.
    pub name: &'static str,
    /// `sched_rt_runtime_us`, at its default.
    pub rt_runtime_us: u64,
    /// `sched_rt_period_us`, at its default.
    pub rt_period_us: u64,
    /// The fair server of each CPU: runtime and period, ns. It takes part in admission.
    pub fair_server_ns: Option<(u64, u64)>,
    /// FIFO and RR tasks are stopped when they have used their runtime (without group scheduling).
    pub rt_throttling: bool,
}

const FAIR_SERVER: Option<(u64, u64)> = Some((50_000_000, 1_000_000_000));

const V6_1: KernelRules = KernelRules {
    name: "6.1",
    rt_runtime_us: 950_000,
    rt_period_us: 1_000_000,
    fair_server_ns: None,
    rt_throttling: true,
};
const V6_12: KernelRules =
    KernelRules { name: "6.12", fair_server_ns: FAIR_SERVER, rt_throttling: false, ..V6_1 };

impl KernelRules {
    /// The versions known, oldest first.
    pub const ALL: [KernelRules; 5] = [
        V6_1,
        KernelRules { name: "6.6", ..V6_1 },
        V6_12,
        KernelRules { name: "6.18", ..V6_12 },
        KernelRules { name: "7.2", rt_runtime_us: 1_000_000, ..V6_12 },
    ];

    /// The version of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rules| rules.name == name)
    }

    /// The share of a CPU that may be reserved, in 2⁻²⁰.
    pub fn cap(&self) -> u64 {
        to_ratio(self.rt_period_us, self.rt_runtime_us)
    }

    /// What a CPU's fair server has reserved before anyone else, in 2⁻²⁰.
    pub fn fair_server(&self) -> u64 {
        self.fair_server_ns.map_or(0, |(runtime, period)| to_ratio(period, runtime))
    }
}

/// The kernel's bandwidth: runtime/period in 2⁻²⁰, rounded down.
pub fn to_ratio(period: u64, runtime: u64) -> u64 {
    if period == 0 {
        return 0;
    }
    ((u128::from(runtime) << BW_SHIFT) / u128::from(period)).min(u128::from(u64::MAX)) as u64
}

/// Why a system call fails.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Errno {
    /// The parameters make no sense.
    Einval,
    /// The task may not run on all CPUs of its root domain.
    Eperm,
    /// Not enough bandwidth is left.
    Ebusy,
}

impl Errno {
    /// Its name in C.
    pub fn name(self) -> &'static str {
        match self {
            Self::Einval => "EINVAL",
            Self::Eperm => "EPERM",
            Self::Ebusy => "EBUSY",
        }
    }
}

/// What `sched_setattr` is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// `sched_runtime`, ns.
    pub runtime_ns: u64,
    /// `sched_deadline`, ns.
    pub deadline_ns: u64,
    /// `sched_period`, ns; 0 stands for the deadline.
    pub period_ns: u64,
    /// The task may run on every CPU of its root domain.
    pub everywhere: bool,
}

impl Reservation {
    /// The period in force.
    pub fn period(&self) -> u64 {
        if self.period_ns == 0 { self.deadline_ns } else { self.period_ns }
    }

    /// Its bandwidth in 2⁻²⁰.
    pub fn bandwidth(&self) -> u64 {
        to_ratio(self.period(), self.runtime_ns)
    }

    /// The first check of its parameters that fails.
    pub fn fault(&self) -> Option<&'static str> {
        let (period, top) = (self.period(), 1_u64 << 63);
        if self.deadline_ns == 0 {
            Some("the deadline is 0")
        } else if self.runtime_ns < RUNTIME_MIN_NS {
            Some("the runtime is below 1024 ns")
        } else if self.deadline_ns & top != 0 || period & top != 0 {
            Some("the deadline or the period has its highest bit set")
        } else if period < self.deadline_ns {
            Some("the deadline is longer than the period")
        } else if self.deadline_ns < self.runtime_ns {
            Some("the runtime is longer than the deadline")
        } else if period < PERIOD_MIN_NS {
            Some("the period is below 100 us (sched_deadline_period_min_us)")
        } else if period > PERIOD_MAX_NS {
            Some("the period is above 4.194304 s (sched_deadline_period_max_us)")
        } else {
            None
        }
    }
}

/// Why the kernel refuses a reservation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The error.
    pub errno: Errno,
    /// The rule that is broken.
    pub rule: &'static str,
}

/// Deadline bandwidth of one root domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootDomain {
    limit: u64,
    total: u64,
}

impl RootDomain {
    /// One with this many CPUs of full capacity and no deadline task yet.
    pub fn new(rules: &KernelRules, cpus: u32) -> Self {
        let capacity = SCHED_CAPACITY * u64::from(cpus);
        Self {
            limit: rules.cap() * capacity / SCHED_CAPACITY,
            total: rules.fair_server() * u64::from(cpus),
        }
    }

    /// What may be reserved in all, in 2⁻²⁰ of a CPU.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What is reserved, fair servers included, in 2⁻²⁰ of a CPU.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// A task asks to become a deadline task.
    ///
    /// # Errors
    /// If the kernel would refuse; nothing changes then.
    pub fn admit(&mut self, reservation: &Reservation) -> Result<(), Refusal> {
        self.replace(0, reservation)
    }

    /// A deadline task with this bandwidth asks for another reservation.
    ///
    /// # Errors
    /// If the kernel would refuse; nothing changes then.
    pub fn replace(&mut self, old: u64, reservation: &Reservation) -> Result<(), Refusal> {
        if let Some(rule) = reservation.fault() {
            return Err(Refusal { errno: Errno::Einval, rule });
        }
        if !reservation.everywhere {
            let rule = "its CPUs are not all CPUs of the root domain";
            return Err(Refusal { errno: Errno::Eperm, rule });
        }
        let new = reservation.bandwidth();
        if new == old {
            return Ok(());
        }
        let total = self.total.saturating_sub(old).saturating_add(new);
        if total > self.limit {
            let rule = "the bandwidths of all deadline tasks would exceed what may be reserved";
            return Err(Refusal { errno: Errno::Ebusy, rule });
        }
        self.total = total;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ask(runtime_ns: u64, deadline_ns: u64, period_ns: u64) -> Reservation {
        Reservation { runtime_ns, deadline_ns, period_ns, everywhere: true }
    }

    fn rules(name: &str) -> KernelRules {
        KernelRules::named(name).unwrap()
    }

    /// How many such reservations fit.
    fn admitted(kernel: &str, cpus: u32, each: Reservation) -> usize {
        let mut domain = RootDomain::new(&rules(kernel), cpus);
        (0..10_000).take_while(|_| domain.admit(&each).is_ok()).count()
    }

    #[test]
    fn w4_ratios_are_rounded_down() {
        let cases = [
            (1_000_000_000, 950_000_000, 996_147),
            (1_000_000_000, 50_000_000, 52_428),
            (10 * MS, MS, 104_857),
            (30 * MS, 10 * MS, 349_525),
            (10 * MS, 9_500_000, 996_147),
            (50 * MS, 10 * MS, 209_715),
        ];
        for (period, runtime, ratio) in cases {
            assert_eq!(to_ratio(period, runtime), ratio);
        }
        assert_eq!(to_ratio(0, 5), 0);
    }

    #[test]
    fn w5_and_case_92_parameter_checks() {
        let cases = [
            (1023, MS, MS, false),
            (1024, MS, MS, true),
            (MS, 0, 10 * MS, false),
            (2 * MS, MS, 10 * MS, false),
            (MS, 10 * MS, 5 * MS, false),
            (MS, 10 * MS, 0, true),
            (2000, 99_999, 99_999, false),
            (2000, 100_000, 100_000, true),
            (MS, 10 * MS, 4_194_304_000, true),
            (MS, 10 * MS, 4_194_304_001, false),
            (MS, 10 * MS, 4_200_000_000, false),
            (MS, 1 << 63, 1 << 63, false),
            (10 * MS, 30 * MS, 30 * MS, true),
        ];
        for (runtime, deadline, period, valid) in cases {
            let fault = ask(runtime, deadline, period).fault();
            assert_eq!(fault.is_none(), valid, "{runtime} {deadline} {period}: {fault:?}");
        }
        assert_eq!(ask(MS, 10 * MS, 0).period(), 10 * MS);
    }

    #[test]
    fn case_91_steps_are_admitted_up_to_90_percent_a_cpu_with_fair_servers() {
        // Case 91: 1.80 on two CPUs with fair servers, 1.90 without.
        let each = ask(5 * MS, 100 * MS, 100 * MS);
        assert_eq!(admitted("6.18", 2, each), 36);
        assert_eq!(admitted("6.12", 2, each), 36);
        assert_eq!(admitted("6.1", 2, each), 38);
        assert_eq!(admitted("7.2", 2, each), 38);
        assert_eq!(admitted("6.12", 2, ask(30 * MS, 100 * MS, 100 * MS)), 6);
        assert_eq!(admitted("6.12", 2, ask(10 * MS, 100 * MS, 100 * MS)), 18);
    }

    #[test]
    fn case_91_three_thirds_of_a_display_frame_fit_one_cpu_by_truncation() {
        let frame = 33_333_333;
        assert_eq!(admitted("6.12", 1, ask(10 * MS, frame, frame)), 3);
        let mut domain = RootDomain::new(&rules("6.12"), 1);
        for _ in 0..3 {
            assert_eq!(domain.admit(&ask(10 * MS, frame, frame)), Ok(()));
        }
        assert_eq!((domain.total() - 52_428, domain.limit() - 52_428), (943_716, 943_719));
    }

    #[test]
    fn w6_admission_on_two_cpus_to_the_last_unit() {
        let mut domain = RootDomain::new(&rules("6.18"), 2);
        assert_eq!((domain.limit(), domain.total()), (1_992_294, 104_856));
        assert_eq!(domain.admit(&ask(10 * MS, 10 * MS, 10 * MS)), Ok(()));
        assert_eq!(domain.total(), 1_153_432);
        let second = |runtime| ask(runtime, 1_000 * MS, 1_000 * MS);
        let refused = domain.admit(&second(800_002_100)).map_err(|refusal| refusal.errno);
        assert_eq!(refused, Err(Errno::Ebusy));
        assert_eq!(domain.admit(&second(800_001_145)), Ok(()));
        assert_eq!(domain.total(), domain.limit());
        let refused = domain.admit(&second(1024)).map_err(|refusal| refusal.errno);
        assert_eq!(refused, Err(Errno::Ebusy));
    }

    #[test]
    fn w6_nine_tenths_fit_one_cpu_and_eighteen_two() {
        let tenth = ask(10 * MS, 100 * MS, 100 * MS);
        assert_eq!(admitted("6.12", 1, tenth), 9);
        assert_eq!(admitted("6.18", 2, tenth), 18);
        assert_eq!(admitted("7.2", 1, tenth), 9);
    }

    #[test]
    fn case_92_affinity_is_eperm_and_bad_parameters_come_first() {
        let mut domain = RootDomain::new(&rules("6.12"), 2);
        let pinned = Reservation { everywhere: false, ..ask(MS, 10 * MS, 10 * MS) };
        assert_eq!(domain.admit(&pinned).map_err(|r| r.errno), Err(Errno::Eperm));
        let both = Reservation { runtime_ns: 1, ..pinned };
        assert_eq!(domain.admit(&both).map_err(|r| r.errno), Err(Errno::Einval));
    }

    #[test]
    fn case_92_density_does_not_count_in_admission() {
        assert!(admitted("6.18", 2, ask(9 * MS, 10 * MS, 1_000 * MS)) >= 4);
    }

    #[test]
    fn a_changed_reservation_only_needs_the_difference() {
        let mut domain = RootDomain::new(&rules("6.12"), 1);
        let (large, larger) = (ask(80 * MS, 100 * MS, 100 * MS), ask(90 * MS, 100 * MS, 100 * MS));
        assert_eq!(domain.admit(&large), Ok(()));
        assert!(domain.admit(&ask(20 * MS, 100 * MS, 100 * MS)).is_err());
        assert_eq!(domain.replace(large.bandwidth(), &larger), Ok(()));
        assert_eq!(domain.total(), 52_428 + larger.bandwidth());
    }
}
