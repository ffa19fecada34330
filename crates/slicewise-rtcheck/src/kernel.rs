//! What the kernel would say: parameter checks and admission of `SCHED_DEADLINE` in its own
//! arithmetic, per kernel version (classes.md A.9, B.4, C.1, C.2). `SCHED_FIFO` and `SCHED_RR` are
//! never refused for lack of time.

use slicewise_sched::deadline::{self, DlParams, PeriodLimits};
use slicewise_sched::{Profile, RtRules};

pub use slicewise_sched::deadline::{PERIOD_MAX_NS, PERIOD_MIN_NS, RUNTIME_MIN_NS, to_ratio};

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
    /// The same as the core has it.
    pub rt: RtRules,
}

impl KernelRules {
    /// The names of the versions known, oldest first.
    pub const NAMES: [&str; 5] = ["6.1", "6.6", "6.12", "6.18", "7.2"];

    /// The version of this name.
    pub fn named(name: &str) -> Option<Self> {
        let name = Self::NAMES.into_iter().find(|known| *known == name)?;
        let rt = Profile::named(name)?.rt;
        let server = rt.fair_server;
        Some(Self {
            name,
            rt_runtime_us: rt.runtime_us.unwrap_or(rt.period_us),
            rt_period_us: rt.period_us,
            fair_server_ns: server.map(|server| (server.runtime_ns, server.period_ns)),
            rt_throttling: rt.throttling,
            rt,
        })
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
    fn params(&self) -> DlParams {
        DlParams {
            runtime_ns: self.runtime_ns,
            deadline_ns: self.deadline_ns,
            period_ns: self.period_ns,
            ..DlParams::default()
        }
    }

    /// Its bandwidth in 2⁻²⁰.
    pub fn bandwidth(&self) -> u64 {
        self.params().bandwidth()
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
pub struct RootDomain(deadline::RootDomain);

impl RootDomain {
    /// One with this many CPUs of full capacity and no deadline task yet.
    pub fn new(rules: &KernelRules, cpus: u32) -> Self {
        Self(deadline::RootDomain::new(&rules.rt, cpus))
    }

    /// What may be reserved in all, in 2⁻²⁰ of a CPU.
    pub fn limit(&self) -> u64 {
        self.0.limit().unwrap_or(u64::MAX)
    }

    /// What is reserved, fair servers included, in 2⁻²⁰ of a CPU.
    pub fn total(&self) -> u64 {
        self.0.total()
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
        let params = reservation.params();
        let refused = |errno, refusal: deadline::Refusal| Refusal { errno, rule: refusal.rule() };
        let invalid = |fault| refused(Errno::Einval, deadline::Refusal::Invalid(fault));
        params.check(PeriodLimits::default()).map_err(invalid)?;
        if !reservation.everywhere {
            return Err(refused(Errno::Eperm, deadline::Refusal::Affinity));
        }
        let checked = self.0.check(old, &params);
        checked.map_err(|refusal| refused(Errno::Ebusy, refusal))?;
        self.0.replace(old, params.bandwidth());
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
