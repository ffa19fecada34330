//! CFS bandwidth control of one group: quota, period and burst, the share of it each CPU holds, and
//! the timers that hand it out again (fair.md E).
//!
//! A state machine of its own, without queues: who owns the queues tells it what ran
//! ([`Bandwidth::charge`]), asks whether a CPU has to stop ([`Bandwidth::out_of_runtime`]), and stops
//! or lets go the CPUs it names. Time is the owner's.

use std::collections::VecDeque;

/// Runtime a CPU takes from the group at once, ns.
pub const SLICE_NS: u64 = 5_000_000;
/// Runtime an idle CPU keeps, ns.
const KEPT_NS: i64 = 1_000_000;
/// How long returned runtime waits to be handed out, ns.
const SLACK_NS: u64 = 5_000_000;
/// A refill closer than this makes handing out needless, ns.
const SLACK_REFRESH_NS: u64 = 2_000_000;
/// Shortest and longest period, ns; the quota has the same minimum.
const PERIOD_NS_MIN: u64 = 1_000_000;
const PERIOD_NS_MAX: u64 = 1_000_000_000;
/// The greatest quota and burst together, ns: 2^44 - 1 us.
const RUNTIME_NS_MAX: u64 = ((1 << 44) - 1) * 1000;
/// Periods handled in one go from which on the period counts as too short.
const PERIODS_AT_ONCE: u32 = 3;

/// What `cpu.max` and `cpu.max.burst` say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// CPU time in a period, ns, all CPUs together; `None` is `max`.
    pub quota_ns: Option<u64>,
    /// The period, ns.
    pub period_ns: u64,
    /// How much unused quota may be saved up, ns.
    pub burst_ns: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self { quota_ns: None, period_ns: 100_000_000, burst_ns: 0 }
    }
}

/// Why the kernel refuses a limit, always with `EINVAL` (E.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitError {
    /// The period is not 1 ms to 1 s.
    Period(u64),
    /// The quota is below 1 ms.
    QuotaTooSmall(u64),
    /// The quota, or quota and burst together, are above 2^44 - 1 us.
    TooLarge(u64),
    /// The burst is above the quota.
    BurstAboveQuota(u64),
    /// v1 only: more CPU than the nearest limited ancestor has, or less than a descendant.
    Hierarchy,
}

impl core::fmt::Display for LimitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let us = |ns: &u64| ns / 1000;
        match self {
            Self::Period(ns) => {
                write!(f, "a period of {} us: must be 1000 to 1000000", us(ns))
            }
            Self::QuotaTooSmall(ns) => {
                write!(f, "a quota of {} us: must be 1000 or more", us(ns))
            }
            Self::TooLarge(ns) => write!(f, "{} us of quota and burst are too much", us(ns)),
            Self::BurstAboveQuota(ns) => {
                write!(f, "a burst of {} us: must not be above the quota", us(ns))
            }
            Self::Hierarchy => {
                f.write_str("no group may have more CPU than the limited group it is in")
            }
        }
    }
}

impl core::error::Error for LimitError {}

impl Limit {
    /// Checks what the kernel checks, in its order.
    ///
    /// # Errors
    /// What it refuses with `EINVAL`.
    pub fn check(&self) -> Result<(), LimitError> {
        let quota_ns = self.quota_ns.unwrap_or(u64::MAX);
        if quota_ns < PERIOD_NS_MIN {
            return Err(LimitError::QuotaTooSmall(quota_ns));
        }
        if !(PERIOD_NS_MIN..=PERIOD_NS_MAX).contains(&self.period_ns) {
            return Err(LimitError::Period(self.period_ns));
        }
        let Some(quota_ns) = self.quota_ns else { return Ok(()) };
        if quota_ns > RUNTIME_NS_MAX {
            return Err(LimitError::TooLarge(quota_ns));
        }
        if self.burst_ns > quota_ns {
            return Err(LimitError::BurstAboveQuota(self.burst_ns));
        }
        let together = quota_ns.saturating_add(self.burst_ns);
        if together > RUNTIME_NS_MAX {
            return Err(LimitError::TooLarge(together));
        }
        Ok(())
    }

    /// CPUs' worth of quota in the fixed point of 2^20 that v1 compares in a hierarchy; `None`
    /// without a limit.
    pub fn ratio(&self) -> Option<u64> {
        let (quota_us, period_us) = (self.quota_ns? / 1000, self.period_ns / 1000);
        Some(((u128::from(quota_us) << 20) / u128::from(period_us.max(1))) as u64)
    }
}

/// v1: whether a group of this limit may be in a group whose nearest limit is `ancestor` (E.1).
///
/// # Errors
/// If it would have more CPU than the ancestor.
pub fn check_v1_hierarchy(child: &Limit, ancestor: &Limit) -> Result<(), LimitError> {
    match (child.ratio(), ancestor.ratio()) {
        (Some(child), Some(ancestor)) if child > ancestor => Err(LimitError::Hierarchy),
        _ => Ok(()),
    }
}

/// What `cpu.stat` counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BandwidthStats {
    /// Periods in which the group was active.
    pub nr_periods: u64,
    /// Of those, with a CPU that had to stop.
    pub nr_throttled: u64,
    /// How long CPUs were stopped, added up, ns.
    pub throttled_ns: u64,
    /// Periods in which saved quota was used.
    pub nr_bursts: u64,
    /// How much of it, ns.
    pub burst_ns: u64,
}

/// What a CPU has of the group's quota.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct CpuRuntime {
    remaining_ns: i64,
    throttled: bool,
    /// Since when its stop counts, if it does yet.
    stopped_ns: Option<u64>,
    /// The refill its runtime is from.
    refill: u64,
}

/// The bandwidth of one group.
#[derive(Clone, Debug)]
pub struct Bandwidth {
    limit: Limit,
    slice_ns: u64,
    /// Where the grid of periods begins.
    phase_ns: u64,
    /// What is left to hand out.
    runtime_ns: u64,
    /// What it was after the last refill.
    snapshot_ns: u64,
    idle: bool,
    period_timer_ns: Option<u64>,
    slack_timer_ns: Option<u64>,
    cpus: Vec<CpuRuntime>,
    /// CPUs that are stopped, the longest first.
    throttled: VecDeque<u32>,
    stats: BandwidthStats,
    /// How many refills there were.
    refills: u64,
    slices_expire: bool,
}

/// What came of a charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Charge {
    /// There is runtime left.
    Goes,
    /// There is none: the CPU has to choose again.
    Exhausted,
}

impl Bandwidth {
    /// A group that may run on CPUs 0 to `cpus` - 1, without runtime until its first refill.
    ///
    /// `phase_ns` is a point of the grid its periods are on; random for each group from 6.3 on.
    ///
    /// # Errors
    /// If the kernel refuses the limit.
    pub fn new(limit: Limit, cpus: u32, phase_ns: u64) -> Result<Self, LimitError> {
        limit.check()?;
        let cpu = CpuRuntime { remaining_ns: 0, throttled: false, stopped_ns: None, refill: 0 };
        Ok(Self {
            limit,
            slice_ns: SLICE_NS,
            phase_ns,
            runtime_ns: 0,
            snapshot_ns: 0,
            idle: false,
            period_timer_ns: None,
            slack_timer_ns: None,
            cpus: vec![cpu; cpus as usize],
            throttled: VecDeque::with_capacity(cpus as usize),
            stats: BandwidthStats::default(),
            refills: 0,
            slices_expire: false,
        })
    }

    /// Whether what a CPU holds is lost at the next refill: the defect of kernels before 5.4
    /// ([`Feature::CFS_SLICE_EXPIRY`](crate::Feature::CFS_SLICE_EXPIRY)).
    pub fn set_slices_expire(&mut self, on: bool) {
        self.slices_expire = on;
    }

    /// The limit in force; the kernel doubles it when the period is too short to be kept.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// The counters so far. Stops under way are not in them.
    pub fn stats(&self) -> BandwidthStats {
        self.stats
    }

    /// When [`on_period_timer`](Self::on_period_timer) is to be called.
    pub fn period_timer_ns(&self) -> Option<u64> {
        self.period_timer_ns
    }

    /// When [`on_slack_timer`](Self::on_slack_timer) is to be called.
    pub fn slack_timer_ns(&self) -> Option<u64> {
        self.slack_timer_ns
    }

    /// What is left to hand out, ns.
    pub fn runtime_ns(&self) -> u64 {
        self.runtime_ns
    }

    /// What a CPU has, ns; negative when it ran too long.
    pub fn remaining_ns(&self, cpu: u32) -> i64 {
        self.cpus.get(cpu as usize).map_or(0, |cpu| cpu.remaining_ns)
    }

    /// Whether the group is stopped on a CPU.
    pub fn is_throttled(&self, cpu: u32) -> bool {
        self.cpus.get(cpu as usize).is_some_and(|cpu| cpu.throttled)
    }

    /// A write to one of the files (E.1): the group gets one refill at once, and every CPU goes on
    /// with 1 ns. Returns the CPUs that were stopped.
    ///
    /// # Errors
    /// If the kernel refuses it; nothing changes.
    pub fn set_limit(&mut self, now_ns: u64, limit: Limit) -> Result<Vec<u32>, LimitError> {
        limit.check()?;
        self.limit = limit;
        self.refill();
        if self.limit.quota_ns.is_some() {
            self.ensure_period_timer(now_ns);
        }
        let stopped: Vec<u32> = self.throttled.drain(..).collect();
        for cpu in &stopped {
            self.end_stop(now_ns, *cpu);
        }
        self.cpus.iter_mut().for_each(|cpu| cpu.remaining_ns = 1);
        Ok(stopped)
    }

    /// The group ran for so long on a CPU (E.4). `current` says that something of it still runs.
    pub fn charge(&mut self, now_ns: u64, cpu: u32, ran_ns: u64, current: bool) -> Charge {
        if self.limit.quota_ns.is_none() {
            return Charge::Goes;
        }
        let Some(state) = self.cpus.get_mut(cpu as usize) else { return Charge::Goes };
        let ran_ns = i64::try_from(ran_ns).unwrap_or(i64::MAX);
        state.remaining_ns = state.remaining_ns.saturating_sub(ran_ns);
        if self.slices_expire && state.refill != self.refills {
            state.remaining_ns = state.remaining_ns.min(0);
        }
        if state.remaining_ns > 0 || state.throttled {
            return Charge::Goes;
        }
        let slice_ns = self.slice_ns;
        if self.acquire(now_ns, cpu, slice_ns) || !current {
            Charge::Goes
        } else {
            Charge::Exhausted
        }
    }

    /// Whether a CPU that is about to put its task back, to pick (6.18), or to queue its first one
    /// has to stop now (E.6); if so, it counts as stopped. `counts` says that the time of the stop
    /// counts from now: always up to 6.17 where tasks are queued, else from
    /// [`stop_counts`](Self::stop_counts) on.
    pub fn out_of_runtime(&mut self, now_ns: u64, cpu: u32, counts: bool) -> bool {
        if self.limit.quota_ns.is_none() || self.remaining_ns(cpu) > 0 || self.is_throttled(cpu) {
            return false;
        }
        if self.acquire(now_ns, cpu, 1) {
            return false;
        }
        let Some(state) = self.cpus.get_mut(cpu as usize) else { return false };
        state.throttled = true;
        state.stopped_ns = counts.then_some(now_ns);
        self.throttled.push_back(cpu);
        true
    }

    /// The time of a stop counts from now on, if it did not yet: the first task was parked.
    pub fn stop_counts(&mut self, now_ns: u64, cpu: u32) {
        if let Some(state) = self.cpus.get_mut(cpu as usize)
            && state.throttled
        {
            state.stopped_ns.get_or_insert(now_ns);
        }
    }

    /// The last task of the group has left a CPU: what it holds above 1 ms goes back (E.11).
    pub fn give_back(&mut self, now_ns: u64, cpu: u32) {
        if self.limit.quota_ns.is_none() {
            return;
        }
        let Some(state) = self.cpus.get_mut(cpu as usize) else { return };
        let excess_ns = state.remaining_ns.saturating_sub(KEPT_NS);
        if excess_ns <= 0 {
            return;
        }
        state.remaining_ns = KEPT_NS;
        if self.slices_expire && state.refill != self.refills {
            return;
        }
        self.runtime_ns = self.runtime_ns.saturating_add(excess_ns as u64);
        let worth_it = self.runtime_ns > self.slice_ns && !self.throttled.is_empty();
        let refill_soon = self.refill_within(now_ns, SLACK_NS + SLACK_REFRESH_NS);
        if worth_it && !refill_soon && self.slack_timer_ns.is_none() {
            self.slack_timer_ns = Some(now_ns.saturating_add(SLACK_NS));
        }
    }

    /// The slack timer has fired. Returns the CPUs that go on.
    pub fn on_slack_timer(&mut self, now_ns: u64) -> Vec<u32> {
        self.slack_timer_ns = None;
        if self.refill_within(now_ns, SLACK_REFRESH_NS) || self.runtime_ns <= self.slice_ns {
            return Vec::new();
        }
        let mut released = Vec::new();
        self.distribute(now_ns, &mut released);
        released
    }

    /// The period timer has fired (E.9). Returns the CPUs that go on. The timer is armed again, or
    /// not after two periods without use.
    pub fn on_period_timer(&mut self, now_ns: u64) -> Vec<u32> {
        let mut released = Vec::new();
        let mut count = 0;
        while self.period(now_ns, &mut count, &mut released) {}
        released
    }

    /// One round of the period timer's work; false when there is no more.
    fn period(&mut self, now_ns: u64, count: &mut u32, released: &mut Vec<u32>) -> bool {
        let Some(due_ns) = self.period_timer_ns else { return false };
        if now_ns < due_ns {
            return false;
        }
        let overrun = (now_ns - due_ns) / self.limit.period_ns + 1;
        self.period_timer_ns =
            Some(due_ns.saturating_add(overrun.saturating_mul(self.limit.period_ns)));
        *count += 1;
        if *count > PERIODS_AT_ONCE {
            self.lengthen_period();
            *count = 0;
        }
        let go_on = self.end_of_period(now_ns, overrun, released);
        if !go_on {
            self.period_timer_ns = None;
        }
        go_on
    }

    /// False if the timer is needed no longer.
    fn end_of_period(&mut self, now_ns: u64, overrun: u64, released: &mut Vec<u32>) -> bool {
        if self.limit.quota_ns.is_none() {
            return false;
        }
        let throttled = !self.throttled.is_empty();
        self.stats.nr_periods += overrun;
        self.refill();
        if self.idle && !throttled {
            return false;
        }
        if !throttled {
            self.idle = true;
            return true;
        }
        self.stats.nr_throttled += overrun;
        self.distribute(now_ns, released);
        self.idle = false;
        true
    }

    /// The period is too short to be kept: it doubles with quota and burst, up to a second.
    fn lengthen_period(&mut self) {
        let doubled = self.limit.period_ns.saturating_mul(2);
        if doubled < PERIOD_NS_MAX {
            self.limit.period_ns = doubled;
            self.limit.quota_ns = self.limit.quota_ns.map(|quota_ns| quota_ns.saturating_mul(2));
            self.limit.burst_ns = self.limit.burst_ns.saturating_mul(2);
        }
    }

    /// E.3.
    fn refill(&mut self) {
        let Some(quota_ns) = self.limit.quota_ns else { return };
        self.refills += 1;
        self.runtime_ns = self.runtime_ns.saturating_add(quota_ns);
        let over_ns = self.snapshot_ns.saturating_sub(self.runtime_ns);
        if over_ns > 0 {
            self.stats.burst_ns += over_ns;
            self.stats.nr_bursts += 1;
        }
        self.runtime_ns = self.runtime_ns.min(quota_ns.saturating_add(self.limit.burst_ns));
        self.snapshot_ns = self.runtime_ns;
    }

    /// E.5: tries to bring what a CPU has up to `target_ns`; whether it has any now.
    fn acquire(&mut self, now_ns: u64, cpu: u32, target_ns: u64) -> bool {
        self.ensure_period_timer(now_ns);
        let Some(state) = self.cpus.get_mut(cpu as usize) else { return false };
        let target_ns = i64::try_from(target_ns).unwrap_or(i64::MAX);
        let need_ns = target_ns.saturating_sub(state.remaining_ns).max(0) as u64;
        if self.runtime_ns > 0 {
            let amount_ns = self.runtime_ns.min(need_ns);
            self.runtime_ns -= amount_ns;
            state.remaining_ns = state.remaining_ns.saturating_add_unsigned(amount_ns);
            state.refill = self.refills;
            self.idle = false;
        }
        state.remaining_ns > 0
    }

    fn ensure_period_timer(&mut self, now_ns: u64) {
        if self.period_timer_ns.is_some() {
            return;
        }
        let period_ns = self.limit.period_ns;
        let offset_ns = self.phase_ns % period_ns;
        // The first point of the grid after now.
        let passed = match now_ns.checked_sub(offset_ns) {
            Some(since_ns) => since_ns / period_ns + 1,
            None => 0,
        };
        self.period_timer_ns = Some(offset_ns.saturating_add(passed.saturating_mul(period_ns)));
    }

    fn refill_within(&self, now_ns: u64, ns: u64) -> bool {
        self.period_timer_ns.is_some_and(|at_ns| at_ns.saturating_sub(now_ns) < ns)
    }

    /// E.10: what was overdrawn is paid back, the longest stopped first; nobody gets more than 1 ns.
    fn distribute(&mut self, now_ns: u64, released: &mut Vec<u32>) {
        for _ in 0..self.throttled.len() {
            if self.runtime_ns == 0 {
                return;
            }
            let Some(cpu) = self.throttled.pop_front() else { return };
            let Some(state) = self.cpus.get_mut(cpu as usize) else { continue };
            let debt_ns = state.remaining_ns.min(0).unsigned_abs().saturating_add(1);
            let amount_ns = debt_ns.min(self.runtime_ns);
            self.runtime_ns -= amount_ns;
            state.remaining_ns = state.remaining_ns.saturating_add_unsigned(amount_ns);
            state.refill = self.refills;
            if state.remaining_ns > 0 {
                self.end_stop(now_ns, cpu);
                released.push(cpu);
            } else {
                self.throttled.push_front(cpu);
                return;
            }
        }
    }

    /// The stop of a CPU, which is off the list, is over.
    fn end_stop(&mut self, now_ns: u64, cpu: u32) {
        let Some(state) = self.cpus.get_mut(cpu as usize) else { return };
        state.throttled = false;
        if let Some(since_ns) = state.stopped_ns.take() {
            self.stats.throttled_ns += now_ns.saturating_sub(since_ns);
        }
    }
}

#[cfg(test)]
mod tests;
