//! The fair server: what keeps fair tasks from starving behind real-time ones (classes.md C.10; 6.12
//! and later).
//!
//! Every CPU has one, a deadline entity that owns no task. It watches what fair tasks get anyway. If
//! that is too little, it stands among the deadline tasks with what is missing, as late as it can, and
//! when it is picked, the fair class chooses.

use super::Scheduler;
use super::deadline::Due;
use crate::CpuId;
use crate::deadline::DlParams;
use crate::deadline::entity::{DlEntity, Owner, ServerState};
use crate::ordered::before;
use crate::profile::FairServerRules;

/// A server whose timer comes earlier than that before it has to act has been served meanwhile.
const FORWARD_MIN_NS: u64 = 1_000_000;

impl Scheduler {
    /// Gives every CPU its server.
    pub(super) fn add_servers(&mut self, rules: FairServerRules) {
        let params = DlParams::implicit(rules.runtime_ns, rules.period_ns);
        for cpu in 0..self.nr_cpus() {
            let mut entity = DlEntity::new(Owner::Server, cpu, params);
            // Its bandwidth belongs to the CPU from the start, and is active when it is.
            (entity.attached, entity.runtime) = (true, 0);
            self.cpus[cpu as usize].dl.this_bw += entity.bandwidth;
            self.cpus[cpu as usize].server = self.deadlines.add(entity);
        }
    }

    /// A fair task is queued where none was.
    #[inline]
    pub(super) fn fair_arrives(&mut self, now_ns: u64, cpu: u32) {
        let rq = &self.cpus[cpu as usize];
        if rq.has_server() && !rq.server_active {
            self.start_server(now_ns, cpu);
        }
    }

    #[cold]
    fn start_server(&mut self, now_ns: u64, cpu: u32) {
        self.charge_idle(now_ns, cpu);
        let number = self.cpus[cpu as usize].server;
        self.cpus[cpu as usize].server_active = true;
        self.contend(number, cpu);
        let entity = &mut self.deadlines.entities[number as usize];
        entity.server.active = true;
        let running = entity.server.running;
        if entity.deadline == 0 {
            entity.start_period(now_ns);
        } else {
            entity.wake(now_ns, false, running);
        }
        if !running {
            (entity.throttled, entity.server.armed) = (true, true);
        }
        self.queue_server(now_ns, cpu, number);
    }

    /// Waits for the right moment, or stands in line if it has come.
    fn queue_server(&mut self, now_ns: u64, cpu: u32, number: u32) {
        let entity = &self.deadlines.entities[number as usize];
        if entity.throttled {
            let at_ns = match entity.server.armed {
                true => entity.zero_laxity_ns(),
                false => entity.next_period_ns(),
            };
            if before(now_ns, at_ns) {
                self.start_timer(number, Due::Replenish, at_ns);
                return;
            }
        }
        self.deadlines.entities[number as usize].throttled = false;
        self.insert_dl(cpu, number);
        self.check_preempt_dl(cpu, number);
    }

    /// Fair tasks of this CPU have run since the server was last told.
    #[inline(always)]
    pub(super) fn tell_server(&mut self, now_ns: u64, cpu: u32) {
        let rq = &mut self.cpus[cpu as usize];
        if !rq.server_active {
            return;
        }
        let Some(slot) = rq.current else { return };
        let Some(entity) = self.entities.get(slot as usize) else { return };
        let delta_ns = entity.sum_exec.wrapping_sub(rq.server_mark);
        if delta_ns > 0 && self.tasks.slots[slot as usize].class == crate::Class::Fair {
            rq.server_mark = entity.sum_exec;
            self.charge_server(now_ns, cpu, delta_ns);
        }
    }

    #[inline(always)]
    fn charge_server(&mut self, now_ns: u64, cpu: u32, delta_ns: u64) {
        let number = self.cpus[cpu as usize].server;
        let entity = &mut self.deadlines.entities[number as usize];
        entity.runtime = entity.runtime.saturating_sub_unsigned(delta_ns);
        entity.server.idle = false;
        if entity.runtime <= 0 {
            self.end_server_budget(now_ns, cpu);
        }
    }

    #[cold]
    pub(super) fn end_server_budget(&mut self, now_ns: u64, cpu: u32) {
        let number = self.cpus[cpu as usize].server;
        if self.deadlines.entities[number as usize].throttled {
            // Served without its help: it need not act in this period.
            self.defer_server(now_ns, cpu, number);
        } else {
            self.throttle_dl(now_ns, cpu, number);
        }
    }

    /// A new period, in which it waits again.
    #[cold]
    fn defer_server(&mut self, now_ns: u64, cpu: u32, number: u32) {
        let entity = &mut self.deadlines.entities[number as usize];
        entity.server = ServerState { running: false, armed: true, ..entity.server };
        entity.throttled = true;
        entity.start_period(now_ns);
        self.queue_server(now_ns, cpu, number);
    }

    /// A fair task that wants to run on is taken off. A moment always passes between the end of the server's budget and
    /// this, and in it the task has run without the server's help: so it waits again. (Seen as bursts
    /// 950 ms after the end of the last, not a second after its beginning.)
    #[inline(always)]
    pub(super) fn fair_put(&mut self, now_ns: u64, cpu: u32, slot: u32) {
        self.tell_server(now_ns, cpu);
        let rq = &self.cpus[cpu as usize];
        if rq.server_active && self.entities[slot as usize].on_rq {
            let number = rq.server;
            let entity = &self.deadlines.entities[number as usize];
            if entity.throttled && !entity.server.armed && entity.runtime <= 0 {
                self.defer_server(now_ns, cpu, number);
            }
        }
    }

    /// The CPU has been idle since `exec_start_ns`: that counts as service, fair tasks could have run.
    pub(super) fn charge_idle(&mut self, now_ns: u64, cpu: u32) {
        let rq = &mut self.cpus[cpu as usize];
        if rq.current.is_some() || !rq.has_server() {
            return;
        }
        let idle_ns = now_ns.saturating_sub(rq.exec_start_ns);
        rq.exec_start_ns = now_ns;
        let number = rq.server;
        let entity = &mut self.deadlines.entities[number as usize];
        let waits_idle = self.profile.rt.fair_server.is_some_and(|rules| rules.waits_idle);
        if entity.runtime < 0 || waits_idle && (!entity.server.active || entity.server.idle) {
            return;
        }
        entity.runtime = entity.runtime.saturating_sub_unsigned(idle_ns);
        if waits_idle {
            if entity.runtime <= 0 && entity.throttled {
                entity.server.idle = true;
                self.defer_server(now_ns, cpu, number);
            }
        } else if entity.runtime < 0 {
            entity.runtime = 0;
            entity.server.running = false;
        }
    }

    /// The server's timer: it is time to act, or the next period has begun.
    pub(super) fn server_due(&mut self, now_ns: u64, cpu: u32, number: u32) {
        let idle = self.cpus[cpu as usize].current.is_none();
        if idle {
            self.charge_idle(now_ns, cpu);
        }
        let entity = &mut self.deadlines.entities[number as usize];
        if !entity.throttled {
            return;
        }
        if idle && entity.server.idle && self.cpus[cpu as usize].nr_fair_queued() == 0 {
            self.stop_server(now_ns, cpu);
            return;
        }
        if entity.server.armed {
            let at_ns = entity.zero_laxity_ns();
            if before(now_ns, at_ns.wrapping_sub(FORWARD_MIN_NS)) {
                self.start_timer(number, Due::Replenish, at_ns);
                return;
            }
            entity.server.running = true;
            if entity.overflows(now_ns) {
                entity.start_period(now_ns);
            }
        }
        entity.replenish(now_ns);
        entity.server.armed = false;
        self.insert_dl(cpu, number);
        self.check_preempt_dl(cpu, number);
    }

    /// It was picked, and there is no fair task.
    pub(super) fn stop_server(&mut self, now_ns: u64, cpu: u32) {
        let number = self.cpus[cpu as usize].server;
        self.cpus[cpu as usize].server_active = false;
        self.remove_dl(cpu, number);
        self.stop_timer(number, Due::Replenish);
        let entity = &mut self.deadlines.entities[number as usize];
        entity.server = ServerState { running: entity.server.running, ..ServerState::default() };
        entity.throttled = false;
        self.stop_contending(now_ns, number);
    }

    /// The server's state, for views: budget left, deadline, and whether it stands in line.
    pub fn fair_server(&self, cpu: CpuId) -> Option<(i64, u64, bool)> {
        let rq = self.cpus.get(cpu.index())?;
        let entity = self.deadlines.entities.get(rq.server as usize)?;
        rq.has_server().then_some((entity.runtime, entity.deadline, entity.queued))
    }
}
