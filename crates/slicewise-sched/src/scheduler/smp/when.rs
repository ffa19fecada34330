//! When CPUs balance: at ticks, on behalf of idle CPUs whose tick has stopped, and before going idle
//! (fair.md G.4, G.8).
//!
//! *Simplifications*: what a kernel does in a softirq right after the tick, or on an idle CPU that it
//! wakes for that, is done at once, and takes no time. Serialized domains are never balanced by two CPUs
//! at once anyway. What newly idle CPUs have found does not fade with time (NI_RATE of 7.2).

use super::super::Scheduler;
use super::busiest::Idleness;
use super::rules::{average_idle, balance_interval, has_time};
use crate::Feature;
use crate::domains::DomainFlags;

/// Without anything to do, idle CPUs are balanced once a minute.
const NOHZ_IDLE_S: u64 = 60;
const COST_FADES_NS: u64 = 1_000_000_000;

impl Scheduler {
    /// The longest time between two balances, in ticks.
    fn longest_interval(&self) -> u64 {
        self.smp.hz * u64::from(self.nr_cpus()) / 10
    }

    /// The tick of a busy CPU.
    pub(in super::super) fn balance_at_tick(&mut self, now_ns: u64, cpu: u32) {
        if self.smp.numa.is_some() {
            self.numa_tick(now_ns, cpu);
        }
        if self.smp.asymmetric {
            self.note_misfit(cpu);
        }
        let ticks = self.smp.ticks(now_ns);
        if ticks >= self.smp.cpus[cpu as usize].next_balance {
            self.balance_domains(now_ns, cpu, Idleness::Busy);
        }
        if self.nohz_is_due(ticks, cpu) {
            self.balance_idle_cpus(now_ns, cpu);
        }
    }

    /// Balances a CPU in all domains whose time has come.
    fn balance_domains(&mut self, now_ns: u64, cpu: u32, idle: Idleness) {
        let ticks = self.smp.ticks(now_ns);
        let longest = self.longest_interval();
        let hz = self.smp.hz;
        let mut idle = idle;
        let mut next = ticks + NOHZ_IDLE_S * hz;
        let mut goes_on = true;
        self.update_capacity(now_ns, cpu);
        for step in 0..self.smp.cpus[cpu as usize].steps.len() {
            if !goes_on {
                break;
            }
            let busy = idle == Idleness::Busy && !self.only_idle_policy(cpu);
            let state = &self.smp.cpus[cpu as usize].steps[step];
            let interval = balance_interval(state.interval_ms, busy, hz, longest);
            if ticks < state.last_balance + interval {
                next = next.min(state.last_balance + interval);
                continue;
            }
            let mut busy_now = busy;
            match self.balance(now_ns, cpu, step, idle) {
                None => goes_on = false,
                Some(0) => {}
                Some(_) => {
                    idle = if self.idles(cpu) { Idleness::Idle } else { Idleness::Busy };
                    busy_now = idle == Idleness::Busy && !self.only_idle_policy(cpu);
                }
            }
            let state = &mut self.smp.cpus[cpu as usize].steps[step];
            state.last_balance = ticks;
            next = next.min(ticks + balance_interval(state.interval_ms, busy_now, hz, longest));
        }
        self.fade_newidle_costs(now_ns, cpu);
        self.smp.cpus[cpu as usize].next_balance = next;
    }

    /// What classes above leave of a CPU's capacity.
    fn update_capacity(&mut self, now_ns: u64, cpu: u32) {
        self.note_above(now_ns, cpu);
        let above = self.util_above(cpu);
        let state = &mut self.smp.cpus[cpu as usize];
        state.capacity = u64::from(state.capacity_orig).saturating_sub(above).max(1) as u32;
    }

    /// Whether the running task needs a faster CPU.
    fn note_misfit(&mut self, cpu: u32) {
        let running = self
            .rq(cpu)
            .current
            .filter(|slot| self.tasks.slots[*slot as usize].class == crate::Class::Fair);
        let load = match running {
            Some(slot)
                if !super::rules::fits(self.task_util(slot), self.smp.capacity_left(cpu))
                    && self.smp.has_faster(cpu) =>
            {
                self.task_load(slot).max(1)
            }
            _ => 0,
        };
        self.smp.cpus[cpu as usize].misfit_load = load;
    }

    /// When idle CPUs are balanced next, in ticks.
    #[cfg(test)]
    pub(in super::super) fn nohz_next_balance(&self) -> u64 {
        self.smp.nohz_next_balance
    }

    /// Whether the tick of a busy CPU has to see to idle ones.
    fn nohz_is_due(&self, ticks: u64, cpu: u32) -> bool {
        if self.idle.count() == 0 || ticks < self.smp.nohz_next_balance {
            return false;
        }
        if self.rq(cpu).nr_running() >= 2 {
            return true;
        }
        let chain = self.smp.domains.of(cpu);
        if let Some((_, domain)) = chain.into_iter().next()
            && self.nr_balanced(cpu) >= 1
            && self.has_reduced_capacity(cpu, domain)
        {
            return true;
        }
        if self.smp.packs
            && let Some(step) = self.smp.step_with(cpu, DomainFlags::ASYM_PACKING, None)
        {
            let (_, domain) = self.smp.link(cpu, step);
            let mut idle = domain.span.iter().filter(|other| self.idles(*other));
            if idle.any(|other| self.smp.fills_first(other, cpu)) {
                return true;
            }
        }
        if self.smp.asymmetric {
            // Caches do not count where CPUs differ.
            return self.smp.cpus[cpu as usize].misfit_load > 0;
        }
        self.smp.llc(cpu).nr_busy > 1
    }

    /// Balances all idle CPUs on their behalf, from the one after the first idle one on.
    fn balance_idle_cpus(&mut self, now_ns: u64, kicker: u32) {
        let ticks = self.smp.ticks(now_ns);
        self.smp.nohz_next_balance = ticks + 1;
        let cpus = self.nr_cpus();
        let Some(first) = self.idle.next_from(0).filter(|first| *first != kicker) else { return };
        let mut next = ticks + NOHZ_IDLE_S * self.smp.hz;
        let mut cpu = first;
        let mut wrapped = false;
        loop {
            // The CPU that does this comes last, and does no more if it has got work.
            let following = self.idle.next_from(cpu + 1).filter(|_| cpu + 1 < cpus);
            cpu = match following {
                Some(following) => following,
                None if wrapped => break,
                None => {
                    wrapped = true;
                    match self.idle.next_from(0) {
                        Some(first) => first,
                        None => break,
                    }
                }
            };
            if wrapped && cpu > first {
                break;
            }
            if !self.idles(first) {
                return;
            }
            if ticks >= self.smp.cpus[cpu as usize].next_balance {
                self.age_idle_load(now_ns, cpu);
                self.balance_domains(now_ns, cpu, Idleness::Idle);
            }
            next = next.min(self.smp.cpus[cpu as usize].next_balance);
            if wrapped && cpu == first {
                break;
            }
        }
        self.smp.nohz_next_balance = next.max(ticks + 1);
    }

    /// A CPU about to idle looks for work in its domains. Whether it has any now.
    pub(in super::super) fn balance_newidle(&mut self, now_ns: u64, cpu: u32) -> bool {
        self.smp.cpus[cpu as usize].idle_since_ns = now_ns;
        let ticks = self.smp.ticks(now_ns);
        let hz = self.smp.hz;
        let longest = self.longest_interval();
        let mut next = self.smp.cpus[cpu as usize].next_balance;
        let steps = self.smp.cpus[cpu as usize].steps.len();
        let mut spent_ns = 0;
        let mut pulled = false;
        let overloaded = self.smp.overloaded[self.smp.partition(cpu)];
        let mut alive = steps > 0 && overloaded;
        let avg_idle_ns = self.smp.cpus[cpu as usize].avg_idle_ns;
        for step in 0..steps {
            let state = self.smp.cpus[cpu as usize].steps[step];
            let due = state.last_balance + balance_interval(state.interval_ms, false, hz, longest);
            next = next.min(due);
            if !alive || !has_time(avg_idle_ns, spent_ns, state.newidle_cost_ns) {
                break;
            }
            let (_, domain) = self.smp.link(cpu, step);
            if !domain.flags.has(DomainFlags::BALANCE_NEWIDLE) {
                continue;
            }
            let cost_ns = u64::from(domain.weight) * self.smp.newidle_cpu_ns;
            let worth = if self.params.has(Feature::NI_RANDOM) {
                let thrown = self.smp.throw();
                let odds = &mut self.smp.cpus[cpu as usize].steps[step].odds;
                if !odds.look(thrown) {
                    odds.note(0);
                    continue;
                }
                odds.worth()
            } else {
                1
            };
            let moved = match self.has_crowd(cpu, step) {
                true => self.balance(now_ns, cpu, step, Idleness::Newly),
                // Nobody waits anywhere in this domain: nothing would be found.
                false => Some(0),
            };
            pulled = moved.is_some_and(|moved| moved > 0) || self.rq(cpu).nr_running() > 0;
            let state = &mut self.smp.cpus[cpu as usize].steps[step];
            state.odds.note(worth * u32::from(moved.is_some_and(|moved| moved > 0)));
            if cost_ns > state.newidle_cost_ns {
                (state.newidle_cost_ns, state.cost_faded_ns) = (cost_ns, now_ns);
            }
            spent_ns += cost_ns;
            alive = !pulled && moved.is_some();
        }
        let state = &mut self.smp.cpus[cpu as usize];
        state.max_newidle_cost_ns = state.max_newidle_cost_ns.max(spent_ns);
        if next < state.next_balance {
            state.next_balance = next.max(ticks);
        }
        if pulled {
            state.idle_since_ns = 0;
        }
        pulled
    }

    /// Whether a CPU of a domain has someone waiting, or may have a running task that is better off
    /// elsewhere.
    fn has_crowd(&self, cpu: u32, step: usize) -> bool {
        let (_, domain) = self.smp.link(cpu, step);
        self.smp.asymmetric
            || self.smp.packs
            || (0..self.nr_cpus().div_ceil(64) as usize)
                .any(|word| self.smp.crowded.word(word) & domain.span.word(word) != 0)
    }

    /// A search that was long once is not for ever.
    fn fade_newidle_costs(&mut self, now_ns: u64, cpu: u32) {
        let state = &mut self.smp.cpus[cpu as usize];
        let mut most = 0;
        for step in &mut state.steps {
            if now_ns.saturating_sub(step.cost_faded_ns) > COST_FADES_NS {
                step.newidle_cost_ns = step.newidle_cost_ns * 253 / 256;
                step.cost_faded_ns = now_ns;
            }
            most += step.newidle_cost_ns;
        }
        let floor = self.smp.migration_cost_ns.max(0) as u64;
        state.max_newidle_cost_ns = most.max(floor);
    }

    /// A task wakes on a CPU that idled: for how long.
    #[inline]
    pub(in super::super) fn note_idle_end(&mut self, now_ns: u64, cpu: u32) {
        let state = &mut self.smp.cpus[cpu as usize];
        let since_ns = core::mem::take(&mut state.idle_since_ns);
        if since_ns > 0 {
            let limit_ns = 2 * state.max_newidle_cost_ns;
            let idle_ns = now_ns.saturating_sub(since_ns);
            state.avg_idle_ns = average_idle(state.avg_idle_ns, idle_ns, limit_ns);
        }
    }
}

impl super::Smp {
    /// Whether some CPU of the partition is faster than this.
    fn has_faster(&self, cpu: u32) -> bool {
        let Some((_, widest)) = self.domains.of(cpu).next_back() else { return false };
        let own = self.capacity_of(cpu);
        widest.span.iter().any(|other| self.capacity_of(other) > own)
    }
}
