//! A deadline entity: its budget, its absolute deadline, and the rules of the constant bandwidth
//! server that change them (classes.md C.4 to C.8). Pure: queues and timers are the scheduler's.

use super::DlParams;
use crate::ordered::before;

/// Whose entity it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// A task, by slot.
    Task(u32),
    /// The fair server of its CPU.
    Server,
    /// A task that has ended or has another policy, whose bandwidth is still held.
    Gone,
}

/// What a fair server is doing (classes.md C.10), beside being throttled or queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ServerState {
    /// It counts what fair tasks get.
    pub(crate) active: bool,
    /// Its timer is set to when its budget just fits before its deadline.
    pub(crate) armed: bool,
    /// Fair tasks were starving: it does not wait for the end of its period any more.
    pub(crate) running: bool,
    /// Its CPU was idle for a whole budget (7.x).
    pub(crate) idle: bool,
}

/// A deadline entity.
#[derive(Clone, Debug)]
pub(crate) struct DlEntity {
    pub(crate) owner: Owner,
    /// Whose bandwidth counts, and where its timers are.
    pub(crate) cpu: u32,
    /// What was asked for.
    pub(crate) params: DlParams,
    /// What someone lends who waits for this task (priority inheritance).
    pub(crate) lent: Option<DlParams>,
    /// Bandwidth of `params`, as its CPU counts it; 0 for one that is only lent.
    pub(crate) bandwidth: u64,
    /// What it holds of its root domain's bandwidth.
    pub(crate) admitted: u64,
    /// The root domain that gave it.
    pub(crate) domain: u32,
    /// Budget left, ns.
    pub(crate) runtime: i64,
    /// Absolute deadline, ns.
    pub(crate) deadline: u64,
    /// Waits for its replenishment.
    pub(crate) throttled: bool,
    /// Has given the rest of its budget away.
    pub(crate) yielded: bool,
    /// Its bandwidth belongs to its CPU.
    pub(crate) attached: bool,
    /// And counts as active there.
    pub(crate) active: bool,
    /// Asleep, but active until its zero-lag time.
    pub(crate) non_contending: bool,
    /// In the queue of its CPU.
    pub(crate) queued: bool,
    /// Place among equal deadlines.
    pub(crate) seq: u64,
    /// When it is replenished, its place among timers of that time, and their CPU.
    pub(crate) replenish_at: Option<(u64, u64, u32)>,
    /// When its bandwidth stops being active, likewise.
    pub(crate) zero_lag: Option<(u64, u64, u32)>,
    pub(crate) server: ServerState,
}

impl DlEntity {
    pub(crate) fn new(owner: Owner, cpu: u32, params: DlParams) -> Self {
        Self {
            owner,
            cpu,
            params,
            lent: None,
            bandwidth: params.bandwidth(),
            admitted: 0,
            domain: 0,
            runtime: 0,
            deadline: 0,
            throttled: false,
            yielded: false,
            attached: false,
            active: false,
            non_contending: false,
            queued: false,
            seq: 0,
            replenish_at: None,
            zero_lag: None,
            server: ServerState::default(),
        }
    }

    #[inline]
    pub(crate) fn is_server(&self) -> bool {
        self.owner == Owner::Server
    }

    /// The parameters in force: who has inherited runs by those of the donor.
    #[inline]
    pub(crate) fn in_force(&self) -> DlParams {
        self.lent.unwrap_or(self.params)
    }

    /// A full budget and a deadline, both from now on.
    pub(crate) fn start_period(&mut self, now_ns: u64) {
        let params = self.in_force();
        self.deadline = now_ns.wrapping_add(params.deadline_ns);
        self.runtime = params.runtime_ns as i64;
    }

    /// The next period begins; of several if the debt is large, the first that leaves a budget
    /// (C.4).
    pub(crate) fn replenish(&mut self, now_ns: u64) {
        let params = self.in_force();
        if self.params.deadline_ns == 0 {
            // No deadline task itself: it has what it is lent, from now on.
            self.start_period(now_ns);
        } else {
            if self.yielded && self.runtime > 0 {
                self.runtime = 0;
            }
            if self.runtime <= 0 && params.runtime_ns > 0 {
                let debt = self.runtime.unsigned_abs();
                let periods = debt / params.runtime_ns + 1;
                let time = params.period().wrapping_mul(periods);
                self.deadline = self.deadline.wrapping_add(time);
                self.runtime = (params.runtime_ns.saturating_mul(periods) - debt) as i64;
            }
            if before(self.deadline, now_ns) {
                self.start_period(now_ns);
            }
        }
        (self.yielded, self.throttled) = (false, false);
    }

    /// When the next period begins.
    #[inline]
    pub(crate) fn next_period_ns(&self) -> u64 {
        let params = self.in_force();
        self.deadline.wrapping_sub(params.deadline_ns).wrapping_add(params.period())
    }

    /// Whether running the rest of the budget up to the deadline would be more than the entity's
    /// share of that time. In units of 1024 ns, as the kernel multiplies.
    pub(crate) fn overflows(&self, now_ns: u64) -> bool {
        let params = self.in_force();
        let left = ((params.deadline_ns >> 10) as i64).wrapping_mul(self.runtime >> 10);
        let until = (self.deadline.wrapping_sub(now_ns) >> 10) as i64;
        let right = until.wrapping_mul((params.runtime_ns >> 10) as i64);
        right.wrapping_sub(left) < 0
    }

    /// A task without a reserve wakes between its deadline and its next period, of a constrained
    /// entity (C.5, step 1).
    pub(crate) fn wakes_between_periods(&self, now_ns: u64) -> bool {
        !self.in_force().is_implicit()
            && before(self.deadline, now_ns)
            && before(now_ns, self.next_period_ns())
    }

    /// The wakeup rule for an entity that is not throttled (C.5). `revised` asks for the revised rule
    /// whatever the deadline (deferred servers).
    pub(crate) fn wake(&mut self, now_ns: u64, boosted: bool, revised: bool) {
        if !before(self.deadline, now_ns) && !self.overflows(now_ns) {
            return;
        }
        let constrained = !self.in_force().is_implicit() || revised;
        if constrained && !before(self.deadline, now_ns) && !boosted {
            let laxity = self.deadline.wrapping_sub(now_ns);
            let density = u128::from(self.params.density());
            self.runtime = ((density * u128::from(laxity)) >> super::BW_SHIFT) as i64;
        } else {
            self.start_period(now_ns);
        }
    }

    /// When the share of a sleeper is used up by the time that has passed (C.6).
    pub(crate) fn zero_lag_ns(&self) -> u64 {
        let runtime = i128::from(self.params.runtime_ns.max(1));
        let owed = i128::from(self.runtime) * i128::from(self.params.period()) / runtime;
        self.deadline.wrapping_sub(owed as u64)
    }

    /// When a deferred server has to begin to use up its budget by its deadline.
    pub(crate) fn zero_laxity_ns(&self) -> u64 {
        self.deadline.wrapping_sub(self.runtime.max(0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Released at 0, with this much of its budget left.
    fn released(runtime: u64, deadline: u64, period: u64, left: i64) -> DlEntity {
        let params = DlParams {
            runtime_ns: runtime * MS,
            deadline_ns: deadline * MS,
            period_ns: period * MS,
            ..DlParams::default()
        };
        let mut entity = DlEntity::new(Owner::Task(0), 0, params);
        entity.start_period(0);
        entity.runtime = left * MS as i64;
        entity
    }

    fn woken(mut entity: DlEntity, now_ns: u64) -> (u64, i64) {
        entity.wake(now_ns, false, false);
        (entity.deadline, entity.runtime)
    }

    #[test]
    fn w9_a_sleeper_keeps_its_deadline_as_long_as_its_budget_fits_its_share() {
        let slept = || released(10, 100, 100, 5);
        assert_eq!(woken(slept(), 40 * MS), (100 * MS, 5 * MS as i64));
        assert_eq!(woken(slept(), 50 * MS), (100 * MS, 5 * MS as i64));
        assert_eq!(woken(slept(), 50 * MS + MS / 2), (150 * MS + MS / 2, 10 * MS as i64));
        assert_eq!(woken(slept(), 120 * MS), (220 * MS, 10 * MS as i64));
    }

    #[test]
    fn w10_a_constrained_sleeper_gets_what_fits_before_its_deadline() {
        assert_eq!(woken(released(10, 50, 100, 8), 30 * MS), (50 * MS, 3_999_996));
    }

    #[test]
    fn w11_a_constrained_task_waits_for_its_next_period_after_its_deadline() {
        let mut late = released(10, 50, 100, 8);
        assert!(late.wakes_between_periods(60 * MS));
        assert!(!late.wakes_between_periods(40 * MS) && !late.wakes_between_periods(100 * MS));
        late.runtime = 0;
        late.replenish(100 * MS);
        assert_eq!((late.deadline, late.runtime), (150 * MS, 10 * MS as i64));
    }

    #[test]
    fn case_90_a_budget_beyond_the_share_is_reset() {
        let mut entity = released(10, 33, 33, 6);
        entity.deadline = 15 * MS;
        entity.wake(0, false, false);
        assert_eq!((entity.deadline, entity.runtime), (33 * MS, 10 * MS as i64));
    }

    #[test]
    fn w12_zero_lag_is_where_the_rest_of_the_budget_would_have_been_used_at_the_share() {
        assert_eq!(released(10, 100, 100, 5).zero_lag_ns(), 50 * MS);
        // Debt moves it beyond the deadline.
        assert_eq!(released(10, 100, 100, -2).zero_lag_ns(), 120 * MS);
    }

    #[test]
    fn w8_debt_is_paid_from_the_next_budget() {
        let mut entity = released(10, 100, 100, -2);
        entity.replenish(100 * MS);
        assert_eq!((entity.deadline, entity.runtime), (200 * MS, 8 * MS as i64));
        entity.runtime = -25 * MS as i64;
        entity.replenish(200 * MS);
        assert_eq!((entity.deadline, entity.runtime), (500 * MS, 5 * MS as i64));
    }

    #[test]
    fn w14_what_a_yield_leaves_is_lost() {
        let mut entity = released(10, 100, 100, 7);
        (entity.yielded, entity.throttled) = (true, true);
        entity.replenish(100 * MS);
        assert_eq!((entity.deadline, entity.runtime), (200 * MS, 10 * MS as i64));
        assert!(!entity.yielded && !entity.throttled);
    }

    #[test]
    fn a_replenishment_that_comes_too_late_starts_anew() {
        let mut entity = released(10, 100, 100, 0);
        entity.replenish(350 * MS);
        assert_eq!((entity.deadline, entity.runtime), (450 * MS, 10 * MS as i64));
    }

    #[test]
    fn a_boosted_task_runs_by_what_it_is_lent() {
        let mut entity = DlEntity::new(Owner::Task(0), 0, DlParams::default());
        entity.lent = Some(DlParams::implicit(5 * MS, 20 * MS));
        entity.replenish(7 * MS);
        assert_eq!((entity.deadline, entity.runtime), (27 * MS, 5 * MS as i64));
    }
}
