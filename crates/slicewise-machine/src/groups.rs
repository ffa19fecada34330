//! Groups: made at the start; timers of their quotas, and tasks that their quotas take off a CPU.

use slicewise_sched::{CpuId, GroupId, GroupTimer, Scheduler};
use slicewise_trace::{GroupInfo, Left, Sink};

use crate::error::{Done, SetupError};
use crate::machine::{GROUP_SLOTS, Machine};
use crate::rng::{Rng, Stream};
use crate::summary::GroupSummary;
use crate::task::Task;
use crate::{MachineConfig, Workload};

/// The most queues groups may have: groups times CPUs.
pub const GROUP_QUEUES_MAX: u64 = 1 << 20;

/// From 6.3 on the grid of a group's periods begins somewhere in the first of the default length
/// (fair.md E.9).
const PHASE_NS_MAX: u64 = 100_000_000;

/// CPU time that is not plain user time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupTimes {
    system_ns: u64,
    nice_ns: u64,
}

impl GroupTimes {
    /// A task ran for so long; of it, so much was the machine's own.
    fn count(&mut self, task: &Task, elapsed_ns: u64, overhead_ns: u64) {
        if task.kernel {
            self.system_ns += elapsed_ns;
            return;
        }
        self.system_ns += overhead_ns;
        if task.nice {
            self.nice_ns += elapsed_ns - overhead_ns;
        }
    }
}

/// A task in a group ran for so long. Kept out of the way of machines without groups.
#[inline(never)]
pub(crate) fn count_group_time(
    groups: &mut [GroupTimes],
    task: &Task,
    elapsed_ns: u64,
    overhead_ns: u64,
) {
    if let Some(times) = groups.get_mut(task.group as usize) {
        times.count(task, elapsed_ns, overhead_ns);
    }
}

/// Makes the groups of a workload, in their order.
pub(crate) fn create(
    sched: &mut Scheduler,
    config: &MachineConfig,
    workload: &Workload,
) -> Result<Vec<GroupId>, SetupError> {
    if workload.groups.len() as u64 * u64::from(config.cpus) > GROUP_QUEUES_MAX {
        return Err(SetupError::TooMany("groups for so many CPUs"));
    }
    let mut made: Vec<GroupId> = Vec::with_capacity(workload.groups.len());
    for (index, spec) in (0..).zip(&workload.groups) {
        let wrong = |what: String| SetupError::Object { name: spec.path.clone(), what };
        let parent = match spec.parent {
            None => None,
            Some(parent) => match made.get(parent as usize) {
                Some(parent) => Some(*parent),
                None => return Err(wrong("the group it is in comes later or not at all".into())),
            },
        };
        let refused = |error: slicewise_sched::Error| wrong(error.to_string());
        let group = sched.create_group(parent).map_err(refused)?;
        sched.set_group_shares(0, group, spec.shares).map_err(refused)?;
        if spec.idle {
            sched.set_group_idle(0, group, true).map_err(refused)?;
        }
        if config.profile.rt.rt_group_sched {
            sched.set_rt_limit(Some(group), spec.rt).map_err(refused)?;
            if spec.session {
                sched.set_rt_of_root(group).map_err(refused)?;
            }
        }
        if spec.limit.quota_ns.is_some() {
            let phase_ns =
                spec.phase_ns.unwrap_or_else(|| match config.profile.random_period_phase {
                    true => Rng::stream(config.seed, Stream::Period, index).below(PHASE_NS_MAX),
                    false => 0,
                });
            sched.set_group_limit(0, group, spec.limit, phase_ns).map_err(refused)?;
        }
        made.push(group);
    }
    let absent = |group: Option<u32>| group.is_some_and(|group| group as usize >= made.len());
    match workload.tasks.iter().find(|task| absent(task.group)) {
        Some(task) => Err(SetupError::Task {
            name: task.name.clone(),
            origin: task.origin,
            what: "its group does not exist".to_owned(),
        }),
        None => Ok(made),
    }
}

impl<S: Sink> Machine<'_, S> {
    pub(crate) fn announce_groups(&mut self) {
        for (group, spec) in (0..).zip(&self.workload.groups) {
            let info = GroupInfo { group, parent: spec.parent, path: spec.path.clone() };
            self.sink.group(self.now, &info);
        }
    }

    /// A timer of a group has expired. *Simplification*: its interrupt is always on the first
    /// housekeeping CPU, where a kernel has it on the CPU that began the period.
    pub(crate) fn group_timer(&mut self, slot: u32) -> Done {
        let Some(group) = self.group_ids.get((slot / GROUP_SLOTS) as usize).copied() else {
            return Ok(());
        };
        let timer =
            if slot.is_multiple_of(GROUP_SLOTS) { GroupTimer::Period } else { GroupTimer::Slack };
        self.interrupt_cost(self.housekeeper, self.costs.tick_ns);
        let fired = self.sched.group_timer_fired(self.now, group, timer);
        fired.map_err(|error| self.refused(error))?;
        self.take_outputs();
        self.note_all_queued();
        Ok(())
    }

    /// The task that runs on `cpu` is to be parked: does it, if the task is in user mode. Whether it
    /// did; else it will when the task returns there. The CPU must be accounted.
    pub(crate) fn park(&mut self, cpu: u32) -> Done<bool> {
        let state = &mut self.cpus[cpu as usize];
        let in_user_mode = self.tasks.get(state.current as usize).is_some_and(|task| !task.kernel);
        if !in_user_mode {
            return Ok(false);
        }
        state.park = false;
        let parked = self.sched.return_to_user(self.now, CpuId(cpu));
        let parked = parked.map_err(|error| self.refused(error))?;
        self.take_outputs();
        if parked {
            self.switch(cpu, Left::Preempted)?;
        }
        Ok(parked)
    }

    /// What each group did, those below it included.
    pub(crate) fn group_summaries(&self) -> Vec<GroupSummary> {
        let mut summaries: Vec<GroupSummary> = Vec::with_capacity(self.group_ids.len());
        for ((group, times), spec) in
            self.group_ids.iter().zip(&self.group_times).zip(&self.workload.groups)
        {
            let bandwidth = self.sched.group_bandwidth(*group);
            summaries.push(GroupSummary {
                system_ns: times.system_ns,
                nice_ns: times.nice_ns,
                limit: bandwidth.map_or(spec.limit, |bandwidth| bandwidth.limit()),
                bandwidth: bandwidth.map(|bandwidth| bandwidth.stats()).unwrap_or_default(),
            });
        }
        // Groups come after those they are in.
        for index in (0..summaries.len()).rev() {
            let GroupSummary { system_ns, nice_ns, .. } = summaries[index];
            let parent = self.workload.groups[index].parent;
            if let Some(above) = parent.and_then(|parent| summaries.get_mut(parent as usize)) {
                above.system_ns += system_ns;
                above.nice_ns += nice_ns;
            }
        }
        summaries
    }
}
