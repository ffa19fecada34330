//! Real-time throttling (classes.md B.4; up to 6.11): FIFO and RR tasks of a CPU may use so much of
//! every period, and are stopped for the rest of it. With RT_GROUP_SCHED it is the groups that are
//! stopped, the root among them: see `groups/realtime.rs`.

use super::{Resched, Scheduler};
use crate::profile::RtRules;
use crate::{Class, CpuId, Output, Timer};

/// The limit, and its timer, of all CPUs.
#[derive(Clone, Copy, Debug)]
pub(super) struct RtBandwidth {
    runtime_ns: u64,
    period_ns: u64,
    /// Where the timer is, and when it goes off next.
    timer: Option<(u32, u64)>,
}

impl RtBandwidth {
    /// `None` if these rules never stop anyone.
    pub(super) fn new(rules: &RtRules) -> Option<Self> {
        let (runtime_us, period_us) = (rules.runtime_us?, rules.period_us);
        (rules.throttling && !rules.rt_group_sched && runtime_us < period_us).then_some(Self {
            runtime_ns: runtime_us.saturating_mul(1000),
            period_ns: period_us.saturating_mul(1000),
            timer: None,
        })
    }
}

impl Scheduler {
    /// Whether anyone counts what real-time tasks use.
    #[inline]
    pub(super) fn limits_rt(&self) -> bool {
        self.rt_bandwidth.is_some() || self.groups.has_rt()
    }

    /// A real-time task is queued: periods are counted from the first on.
    pub(super) fn start_rt_period(&mut self, now_ns: u64, cpu: u32) {
        let Some(limit) = &mut self.rt_bandwidth else { return };
        if limit.timer.is_none() {
            let at_ns = now_ns.saturating_add(limit.period_ns);
            limit.timer = Some((cpu, at_ns));
            self.outputs.push(Output::ArmTimer { cpu: CpuId(cpu), timer: Timer::RtPeriod, at_ns });
        }
    }

    /// Real-time or deadline tasks have run for so long.
    pub(super) fn charge_rt(&mut self, cpu: u32, class: Class, delta_ns: u64) {
        if self.groups.has_rt() {
            return self.charge_rt_in_groups(cpu, class, delta_ns);
        }
        let Some(limit) = self.rt_bandwidth else { return };
        let rq = &mut self.cpus[cpu as usize];
        if class == Class::Deadline && limit.timer.is_none() && rq.rt_time_ns >= limit.runtime_ns {
            return;
        }
        rq.rt_time_ns = rq.rt_time_ns.saturating_add(delta_ns);
        if class == Class::Rt && !rq.rt_throttled && rq.rt_time_ns > limit.runtime_ns {
            rq.rt_throttled = true;
            self.note_priority(cpu);
            self.outputs.push(Output::RtThrottled { group: None, cpu: CpuId(cpu), stops: true });
            self.request_resched(cpu, Resched::Now);
        }
    }

    /// A period is over.
    pub(super) fn rt_period_ends(&mut self, now_ns: u64, cpu: u32) {
        if self.groups.has_rt() {
            return self.rt_group_periods_end(now_ns, cpu);
        }
        let Some(limit) = self.rt_bandwidth else { return };
        let Some((timer_cpu, at_ns)) = limit.timer else { return };
        if now_ns < at_ns {
            return;
        }
        let periods = (now_ns - at_ns) / limit.period_ns.max(1) + 1;
        let refill_ns = limit.runtime_ns.saturating_mul(periods);
        let mut idle = true;
        for cpu in 0..self.nr_cpus() {
            let rq = &mut self.cpus[cpu as usize];
            rq.rt_time_ns = rq.rt_time_ns.saturating_sub(refill_ns);
            idle &= rq.rt_time_ns == 0 && rq.rt.nr_queued == 0;
            if rq.rt_throttled && rq.rt_time_ns < limit.runtime_ns {
                rq.rt_throttled = false;
                let queued = rq.rt.nr_queued > 0;
                self.note_priority(cpu);
                self.outputs.push(Output::RtThrottled {
                    group: None,
                    cpu: CpuId(cpu),
                    stops: false,
                });
                if queued {
                    self.note_idle(cpu, false);
                    self.request_resched(cpu, Resched::Now);
                }
            }
        }
        let next_ns = at_ns.saturating_add(limit.period_ns.saturating_mul(periods));
        let timer = (!idle).then_some((timer_cpu, next_ns));
        self.rt_bandwidth = Some(RtBandwidth { timer, ..limit });
        if timer.is_some() {
            self.outputs.push(Output::ArmTimer {
                cpu: CpuId(timer_cpu),
                timer: Timer::RtPeriod,
                at_ns: next_ns,
            });
        }
    }
}
