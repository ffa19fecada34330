//! Looking inside without changing anything.

use super::Scheduler;
use crate::deadline::entity::Owner;
use crate::{
    Attr, Candidate, Class, CpuId, DeadlineView, Decision, Error, FairRules, FairView, QueueView,
    TaskId, ZeroPoint,
};

impl Scheduler {
    /// Who runs on a CPU.
    #[inline]
    pub fn current(&self, cpu: CpuId) -> Option<TaskId> {
        self.cpus.get(cpu.index())?.current.map(|slot| self.tasks.id(slot))
    }

    /// Whether a CPU runs nothing and has nothing queued.
    pub fn is_idle(&self, cpu: CpuId) -> bool {
        self.cpus.get(cpu.index()).is_some_and(|rq| rq.current.is_none() && rq.nr_running() == 0)
    }

    /// How many tasks of a CPU want to run, the running one included.
    pub fn nr_runnable(&self, cpu: CpuId) -> u32 {
        self.cpus.get(cpu.index()).map_or(0, super::Cpu::nr_runnable)
    }

    /// What the task asked for.
    pub fn attr(&self, task: TaskId) -> Option<Attr> {
        let slot = self.tasks.find(task).ok()?;
        Some(self.attr_of(slot))
    }

    /// The CPU a task runs on, waits for, or last ran on.
    pub fn cpu_of(&self, task: TaskId) -> Option<CpuId> {
        let slot = self.tasks.find(task).ok()?;
        Some(CpuId(self.tasks.slots[slot as usize].cpu))
    }

    /// Virtual runtime and lag, virtual ns, of a fair task as of its last accounting. The lag of a
    /// task that is not queued is what it took along; CFS has none.
    #[inline]
    pub fn fair_values(&self, task: TaskId) -> Option<(u64, i64)> {
        let slot = self.tasks.find(task).ok()?;
        let found = &self.tasks.slots[slot as usize];
        if found.class != Class::Fair {
            return None;
        }
        let entity = &self.entities[slot as usize];
        let lag = match self.profile.fair {
            FairRules::Cfs(_) => 0,
            FairRules::Eevdf(_) if entity.on_rq => {
                let fair = self.fair_of(slot);
                fair.average_vruntime().wrapping_sub(entity.vruntime) as i64
            }
            FairRules::Eevdf(_) => entity.vlag,
        };
        Some((entity.vruntime, lag))
    }

    /// The queue of a CPU, the running task charged up to its last accounting.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn inspect(&self, cpu: CpuId) -> Result<QueueView, Error> {
        self.check_cpu(cpu)?;
        Ok(self.queue_view(cpu.0))
    }

    /// From now on, keeps (or stops keeping) the last [`Decision`] of this CPU. Costs an
    /// allocation per pick.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn record_decisions(&mut self, cpu: CpuId, on: bool) -> Result<(), Error> {
        self.check_cpu(cpu)?;
        self.cpus[cpu.index()].record = on;
        Ok(())
    }

    /// The last decision kept.
    pub fn last_decision(&self, cpu: CpuId) -> Option<&Decision> {
        self.cpus.get(cpu.index())?.decision.as_deref()
    }

    pub(super) fn queue_view(&self, cpu: u32) -> QueueView {
        let rq = &self.cpus[cpu as usize];
        let mut candidates: Vec<Candidate> = Vec::new();
        candidates.extend(rq.stop.iter().map(|slot| self.candidate(cpu, *slot)));
        let deadlines = &self.deadlines.entities;
        let dl = rq.dl.iter().filter_map(|number| match deadlines[number as usize].owner {
            Owner::Task(slot) => Some(slot),
            _ => None,
        });
        candidates.extend(dl.map(|slot| self.candidate(cpu, slot)));
        if self.groups.has_rt() {
            let rt = self.rt_tasks_in_groups(cpu);
            candidates.extend(rt.into_iter().map(|slot| self.candidate(cpu, slot)));
        } else {
            candidates.extend(rq.rt.iter(&self.tasks.slots).map(|slot| self.candidate(cpu, slot)));
        }
        let running_fair = rq.current.filter(|slot| {
            let task = &self.tasks.slots[*slot as usize];
            task.class == Class::Fair && self.entities[*slot as usize].on_rq
        });
        let grouped = self.groups.any().then(|| self.groups.waiting(cpu, &self.tasks));
        let at_root = rq.fair.waiting().filter(|slot| !self.is_group(*slot));
        let fair = running_fair.into_iter().chain(at_root).chain(grouped.into_iter().flatten());
        candidates.extend(fair.map(|slot| self.candidate(cpu, slot)));
        let (average, minimum) = match self.profile.fair {
            FairRules::Cfs(_) => (None, Some(rq.fair.zero_vruntime() as i64)),
            FairRules::Eevdf(rules) => (
                Some(rq.fair.average_vruntime() as i64),
                (rules.zero_point == ZeroPoint::MinVruntime)
                    .then(|| rq.fair.zero_vruntime() as i64),
            ),
        };
        QueueView {
            cpu: CpuId(cpu),
            at_ns: self.now_ns,
            average_vruntime_ns: average,
            min_vruntime_ns: minimum,
            rt_throttled: rq.rt_throttled,
            candidates,
        }
    }

    fn candidate(&self, cpu: u32, slot: u32) -> Candidate {
        let task = &self.tasks.slots[slot as usize];
        let class = task.class;
        let current = self.cpus[cpu as usize].current == Some(slot);
        Candidate {
            task: self.tasks.id(slot),
            attr: self.attr_of(slot),
            class,
            current,
            rt_group_throttled: class == Class::Rt && self.rt_throttled_in_group(slot),
            deadline: (class == Class::Deadline).then(|| self.deadline_view(slot)),
            fair: (class == Class::Fair).then(|| self.fair_view(slot, current)),
        }
    }

    fn deadline_view(&self, slot: u32) -> DeadlineView {
        let number = self.tasks.slots[slot as usize].dl;
        let entity = self.deadlines.entities.get(number as usize);
        entity.map_or(DeadlineView { deadline_ns: 0, runtime_left_ns: 0 }, |entity| DeadlineView {
            deadline_ns: entity.deadline,
            runtime_left_ns: entity.runtime,
        })
    }

    /// The absolute deadline and the budget left, as of its last accounting, of a task that has any.
    pub fn deadline_values(&self, task: TaskId) -> Option<DeadlineView> {
        let slot = self.tasks.find(task).ok()?;
        (self.tasks.slots[slot as usize].class == Class::Deadline).then(|| self.deadline_view(slot))
    }

    /// Ticks the task has run as a real-time one since it last woke (`RLIMIT_RTTIME` counts them).
    pub fn rt_ticks_run(&self, task: TaskId) -> u32 {
        let found = self.tasks.find(task).ok();
        found.map_or(0, |slot| self.tasks.slots[slot as usize].rt.ticks_run)
    }

    fn fair_view(&self, slot: u32, current: bool) -> FairView {
        let fair = self.fair_of(slot);
        let entity = &self.entities[slot as usize];
        let eevdf = self.profile.is_eevdf();
        let lag = fair.average_vruntime().wrapping_sub(entity.vruntime) as i64;
        FairView {
            vruntime_ns: entity.vruntime as i64,
            weight: entity.load.weight,
            lag_ns: eevdf.then_some(lag),
            eligible: eevdf.then(|| fair.eligible(&self.entities, slot)),
            deadline_ns: eevdf.then_some(entity.deadline as i64),
            slice_ns: fair.slice_of(&self.params, &self.entities, slot),
            custom_slice: entity.custom_slice,
            protected: current && fair.protected(&self.params, &self.entities),
            delayed: entity.delayed,
        }
    }
}
