use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

fn limit_ms(quota: u64, period: u64, burst: u64) -> Limit {
    Limit { quota_ns: Some(quota * MS), period_ns: period * MS, burst_ns: burst * MS }
}

/// A hog in user mode on each CPU, ticks of `tick_ns`; what the group used.
struct Hogs {
    group: Bandwidth,
    tick_ns: u64,
    now_ns: u64,
    used_ns: u64,
    log: Vec<(u64, i64, u64)>,
}

impl Hogs {
    fn new(limit: Limit, cpus: u32, tick_ns: u64) -> Self {
        let mut group = Bandwidth::new(limit, cpus, 0).unwrap();
        group.set_limit(0, limit).unwrap();
        Self { group, tick_ns, now_ns: 0, used_ns: 0, log: Vec::new() }
    }

    /// Runs to this time: periods end before the tick at the same moment.
    fn run_until(&mut self, end_ns: u64) {
        while self.now_ns < end_ns {
            self.now_ns += self.tick_ns;
            if self.group.period_timer_ns().is_some_and(|at| at <= self.now_ns) {
                self.group.on_period_timer(self.now_ns);
            }
            for cpu in 0..self.group.cpus.len() as u32 {
                self.tick(cpu);
            }
        }
    }

    fn tick(&mut self, cpu: u32) {
        if self.group.is_throttled(cpu) {
            return;
        }
        // One let go at this very tick has not run yet.
        let since_ns = self.now_ns - self.tick_ns;
        let released_now =
            self.group.remaining_ns(cpu) == 1 && self.now_ns.is_multiple_of(100 * MS);
        if released_now {
            return;
        }
        self.used_ns += self.now_ns - since_ns;
        if self.group.charge(self.now_ns, cpu, self.now_ns - since_ns, true) == Charge::Exhausted {
            self.group.out_of_runtime(self.now_ns, cpu, true);
        }
        let entry = (self.now_ns / MS, self.group.remaining_ns(cpu), self.group.runtime_ns());
        self.log.push(entry);
    }

    fn at(&self, ms: u64) -> (i64, u64) {
        let entry = self.log.iter().find(|(at, ..)| *at == ms).expect("it ran then");
        (entry.1, entry.2)
    }
}

#[test]
fn wx28_a_hog_gets_twenty_of_a_hundred_milliseconds() {
    let mut hogs = Hogs::new(limit_ms(20, 100, 0), 1, 4 * MS);
    hogs.run_until(300 * MS);
    assert_eq!(hogs.at(4), (5_000_000, 11_000_001));
    assert_eq!(hogs.at(12), (5_000_000, 3_000_001));
    assert_eq!(hogs.at(20), (1, 0));
    assert_eq!(hogs.at(24), (-3_999_999, 0), "throttled");
    assert_eq!(hogs.at(104), (5_000_000, 7_000_001));
    assert_eq!(hogs.at(112), (4_000_001, 0));
    assert_eq!(hogs.at(120), (-3_999_999, 0), "throttled");
    let stats = hogs.group.stats();
    assert_eq!((stats.nr_periods, stats.nr_throttled), (3, 3));
    assert_eq!(stats.throttled_ns, 236 * MS);
    let mut hogs = Hogs::new(limit_ms(20, 100, 0), 1, MS);
    hogs.run_until(200 * MS);
    let stops: Vec<u64> = hogs.log.iter().filter(|(_, left, _)| *left <= 0).map(|e| e.0).collect();
    assert_eq!(stops, [21, 120]);
}

#[test]
fn wx29_saved_quota_is_a_burst_when_it_is_used() {
    let mut group = Bandwidth::new(limit_ms(50, 100, 30), 1, 0).unwrap();
    (group.runtime_ns, group.snapshot_ns) = (50 * MS, 50 * MS);
    let mut refill_after = |used_ms: u64| {
        group.runtime_ns -= used_ms * MS;
        group.refill();
        (group.runtime_ns / MS, group.stats.nr_bursts, group.stats.burst_ns / MS)
    };
    assert_eq!(refill_after(20), (80, 0, 0));
    assert_eq!(refill_after(80), (50, 1, 30));
    assert_eq!(refill_after(10), (80, 1, 30));
    assert_eq!(refill_after(60), (70, 2, 40));
}

/// Two CPUs, the second stopped; the pool has `pool_ns`, the first CPU `remaining_ns`.
fn slack_scene(remaining_ns: i64, refill_in_ns: u64) -> Bandwidth {
    let mut group = Bandwidth::new(limit_ms(20, 100, 0), 2, 0).unwrap();
    group.period_timer_ns = Some(1_000 * MS + refill_in_ns);
    group.cpus[0].remaining_ns = remaining_ns;
    group.cpus[1].remaining_ns = -1;
    assert!(group.out_of_runtime(990 * MS, 1, true));
    group.runtime_ns = 2_500_000;
    group
}

#[test]
fn wx30_an_idle_cpu_returns_what_it_has_above_a_millisecond() {
    let mut group = slack_scene(4_200_000, 30 * MS);
    group.give_back(1_000 * MS, 0);
    assert_eq!((group.remaining_ns(0), group.runtime_ns()), (1_000_000, 5_700_000));
    assert_eq!(group.slack_timer_ns(), Some(1_005 * MS));
    assert_eq!(group.on_slack_timer(1_005 * MS), [1]);
    assert_eq!(group.stats().throttled_ns, 15 * MS);
    let mut group = slack_scene(4_200_000, 6 * MS);
    group.give_back(1_000 * MS, 0);
    assert_eq!(group.slack_timer_ns(), None, "the refill is near");
    let mut group = slack_scene(900_000, 30 * MS);
    group.give_back(1_000 * MS, 0);
    assert_eq!((group.remaining_ns(0), group.runtime_ns()), (900_000, 2_500_000));
}

#[test]
fn wx31_v1_refuses_more_than_the_parent_has() {
    let parent = limit_ms(20, 100, 0);
    let refused = Err(LimitError::Hierarchy);
    assert_eq!(check_v1_hierarchy(&limit_ms(30, 100, 0), &parent), refused);
    assert_eq!(limit_ms(40, 200, 0).ratio(), Some(209_715));
    assert_eq!(check_v1_hierarchy(&limit_ms(40, 200, 0), &parent), Ok(()));
    assert_eq!(check_v1_hierarchy(&Limit::default(), &parent), Ok(()));
}

#[test]
fn wx32_a_period_too_short_to_be_kept_doubles_up_to_a_second() {
    let mut group = Bandwidth::new(limit_ms(1, 1, 0), 1, 0).unwrap();
    group.ensure_period_timer(0);
    let mut count = 0;
    for late in 1..=4 {
        // The time goes on while the callback runs.
        group.idle = false;
        assert!(group.period(late * 10 * MS, &mut count, &mut Vec::new()));
    }
    assert_eq!(group.limit(), limit_ms(2, 2, 0));
    group.limit = limit_ms(512, 512, 0);
    group.lengthen_period();
    assert_eq!(group.limit(), limit_ms(512, 512, 0), "1.024 s is refused");
}

#[test]
fn wx33_the_timer_stops_after_an_idle_period_and_starts_on_the_same_grid() {
    let mut group = Bandwidth::new(limit_ms(20, 100, 0), 1, 0).unwrap();
    group.set_limit(0, limit_ms(20, 100, 0)).unwrap();
    assert_eq!(group.charge(50 * MS, 0, MS, true), Charge::Goes);
    group.give_back(50 * MS, 0);
    assert_eq!(group.remaining_ns(0), 1_000_000);
    group.on_period_timer(100 * MS);
    assert_eq!(group.period_timer_ns(), Some(200 * MS));
    group.on_period_timer(200 * MS);
    assert_eq!((group.period_timer_ns(), group.stats().nr_periods), (None, 2));
    assert_eq!(group.charge(1_234 * MS, 0, 500_000, true), Charge::Goes, "from what it kept");
    assert_eq!(group.period_timer_ns(), None);
    assert_eq!(group.charge(1_235 * MS, 0, 600_000, true), Charge::Goes);
    assert_eq!(group.period_timer_ns(), Some(1_300 * MS));
}

#[test]
fn with_the_old_defect_what_a_cpu_kept_is_lost_at_the_end_of_the_period() {
    for (expires, left_ns) in [(false, MS as i64 - 200_000), (true, 5 * MS as i64)] {
        let mut group = Bandwidth::new(limit_ms(10, 100, 0), 2, 0).unwrap();
        group.set_slices_expire(expires);
        group.set_limit(0, limit_ms(10, 100, 0)).unwrap();
        group.charge(0, 0, 300_000, true);
        group.give_back(0, 0);
        assert_eq!(group.remaining_ns(0), MS as i64);
        group.on_period_timer(100 * MS);
        let before = group.runtime_ns();
        group.charge(101 * MS, 0, 200_000, true);
        assert_eq!(group.remaining_ns(0), left_ns);
        let taken = before - group.runtime_ns();
        assert_eq!(taken, if expires { 5 * MS } else { 0 }, "a slice is taken in its place");
        group.on_period_timer(200 * MS);
        let before = group.runtime_ns();
        group.give_back(201 * MS, 0);
        assert_eq!(group.runtime_ns(), before, "what is from before is not given back");
    }
}

#[test]
fn case_61_what_the_kernel_refuses() {
    let refused = |limit: Limit| limit.check().unwrap_err();
    let us = |quota: u64, period: u64, burst: u64| Limit {
        quota_ns: Some(quota * 1000),
        period_ns: period * 1000,
        burst_ns: burst * 1000,
    };
    assert_eq!(refused(us(999, 100_000, 0)), LimitError::QuotaTooSmall(999_000));
    assert_eq!(refused(us(1000, 999, 0)), LimitError::Period(999_000));
    assert_eq!(refused(us(1000, 1_000_001, 0)), LimitError::Period(1_000_001_000));
    assert_eq!(refused(us(1000, 100_000, 1001)), LimitError::BurstAboveQuota(1_001_000));
    assert_eq!(refused(us(1 << 44, 100_000, 0)), LimitError::TooLarge((1 << 44) * 1000));
    let most = (1 << 44) - 1;
    assert_eq!(refused(us(most, 100_000, 1)), LimitError::TooLarge((1 << 44) * 1000));
    for fine in [us(1000, 1000, 0), us(1000, 1_000_000, 1000), us(most, 100_000, 0)] {
        assert_eq!(fine.check(), Ok(()));
    }
    assert_eq!(Limit::default().check(), Ok(()));
}

#[test]
fn case_62_quota_over_period_is_what_hogs_get() {
    for (quota, period, cpus, expected) in
        [(250, 250, 2, 1.0), (1000, 500, 4, 2.0), (10, 50, 1, 0.2)]
    {
        let mut hogs = Hogs::new(limit_ms(quota, period, 0), cpus, MS);
        hogs.run_until(10_000 * MS);
        let used = hogs.used_ns as f64 / hogs.now_ns as f64;
        assert!((used - expected).abs() < 0.02 * expected + 0.005, "{quota}/{period}: {used}");
    }
}

proptest! {
    /// Handed out in a period is never more than quota and burst, whatever CPUs do; what runs can
    /// be more only by what each CPU overdraws between two charges.
    #[test]
    fn no_more_is_handed_out_than_there_is(
        quota in 1..200_u64,
        burst in 0..200_u64,
        steps in proptest::collection::vec((0..4_u32, 0..12_000_000_u64, 0..8_000_000_u64, any::<bool>()), 1..400),
    ) {
        let limit = limit_ms(quota, 100, burst.min(quota));
        let mut group = Bandwidth::new(limit, 4, 7 * MS).unwrap();
        group.set_limit(0, limit).unwrap();
        let (mut now_ns, mut used_ns, mut refills) = (0_u64, 0_u64, 1_u64);
        for (cpu, ran_ns, pause_ns, leaves) in steps {
            now_ns += pause_ns;
            while let Some(due_ns) = group.period_timer_ns().filter(|at| *at <= now_ns) {
                group.on_period_timer(due_ns);
                refills += 1;
            }
            if group.slack_timer_ns().is_some_and(|at| at <= now_ns) {
                group.on_slack_timer(now_ns);
            }
            if group.is_throttled(cpu) {
                continue;
            }
            used_ns += ran_ns;
            if group.charge(now_ns, cpu, ran_ns, true) == Charge::Exhausted {
                prop_assert!(group.out_of_runtime(now_ns, cpu, true));
                prop_assert!(group.period_timer_ns().is_some(), "it will go on");
            } else if leaves {
                group.give_back(now_ns, cpu);
            }
        }
        let held: i64 = (0..4).map(|cpu| group.remaining_ns(cpu)).sum();
        let paid = i128::from(used_ns) + i128::from(held);
        // Each CPU began with 1 ns.
        prop_assert!(paid <= i128::from(refills * quota * MS) + 4);
    }
}
