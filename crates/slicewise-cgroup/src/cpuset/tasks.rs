//! Tasks in cpusets: where they may move, and the mask they run with.

use slicewise_sched::CpuSet;

use super::{CpusetId, CpusetWhy, Cpusets, refused};
use crate::{Errno, Refused};

/// A task of [`Cpusets`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CpusetTask(usize);

#[derive(Clone, Debug)]
pub(super) struct Task {
    group: usize,
    exists: bool,
    /// What it asked for by sched_setaffinity(2).
    requested: Option<CpuSet>,
    mask: CpuSet,
}

impl Cpusets {
    /// A new task in the root group.
    pub fn spawn(&mut self) -> CpusetTask {
        self.spawn_with(&self.root_mask.clone())
    }

    /// A new task in the root group, of a parent with this mask: fork(2) hands it on.
    pub fn spawn_with(&mut self, mask: &CpuSet) -> CpusetTask {
        let mask = mask.and(&CpuSet::first(self.machine.cpus));
        let mask = if mask.is_empty() { self.root_mask.clone() } else { mask };
        self.tasks.push(Task { group: 0, exists: true, requested: None, mask });
        CpusetTask(self.tasks.len() - 1)
    }

    /// Ends a task.
    pub fn exit(&mut self, task: CpusetTask) {
        if let Some(task) = self.tasks.get_mut(task.0) {
            task.exists = false;
        }
    }

    fn task(&self, task: CpusetTask) -> Result<&Task, Refused> {
        let found = self.tasks.get(task.0).filter(|task| task.exists);
        found.ok_or_else(|| refused(Errno::ESRCH, CpusetWhy::NoTask))
    }

    /// The CPUs a task may run on: `Cpus_allowed_list` of `/proc/PID/status`.
    pub fn mask(&self, task: CpusetTask) -> Option<&CpuSet> {
        self.task(task).ok().map(|task| &task.mask)
    }

    /// The group a task is in.
    pub fn group_of(&self, task: CpusetTask) -> Option<CpusetId> {
        self.task(task).ok().map(|task| CpusetId(task.group))
    }

    /// Writes the task to `cgroup.procs` of a group.
    ///
    /// # Errors
    /// `ENOSPC` where the group has no CPUs or memory; `EBUSY` and `EOPNOTSUPP` where v2 wants tasks
    /// only in groups without groups; `ESRCH` and `ENOENT` for what does not exist.
    pub fn attach(&mut self, task: CpusetTask, group: CpusetId) -> Result<(), Refused> {
        let to = self.existing(group)?;
        let from = self.task(task)?.group;
        if self.is_v2() {
            if !self.is_valid_domain(to) {
                return Err(refused(Errno::EOPNOTSUPP, CpusetWhy::InvalidDomain));
            }
            let below = &self.sets[to];
            if to != 0 && below.hands_down && self.has_tasks_below(to) {
                return Err(refused(Errno::EBUSY, CpusetWhy::InternalProcess));
            }
        }
        if from == to {
            return Ok(());
        }
        let set = &self.sets[to];
        let (cpus, mems) = match self.is_v2() {
            true => (&set.effective, &set.mems_effective),
            false => (&set.cpus, &set.mems),
        };
        if cpus.is_empty() || mems.is_empty() {
            return Err(refused(Errno::ENOSPC, CpusetWhy::NoRoom));
        }
        self.tasks[task.0].group = to;
        // v2 lets be what does not change, with CPUs in the mask that went offline.
        let (old, new) = (&self.sets[from], &self.sets[to]);
        let is_same = old.effective == new.effective && old.mems_effective == new.mems_effective;
        if to == 0 && !self.rules.root_masks_have_offline_cpus {
            self.tasks[task.0].mask = CpuSet::first(self.machine.cpus);
        } else if !(self.is_v2() && is_same && self.rules.attach_keeps_same) {
            self.set_mask(task.0);
        }
        Ok(())
    }

    /// sched_setaffinity(2) of a task.
    ///
    /// # Errors
    /// `EINVAL` if none of the CPUs is online and in its cpuset; `ESRCH`.
    pub fn set_affinity(&mut self, task: CpusetTask, mask: &CpuSet) -> Result<(), Refused> {
        let group = self.task(task)?.group;
        let mask = mask.and(&CpuSet::first(self.machine.cpus));
        let usable = mask.and(&self.allowed_in(group));
        if !usable.intersects(&self.online) {
            return Err(refused(Errno::EINVAL, CpusetWhy::EmptyMask));
        }
        let task = &mut self.tasks[task.0];
        task.requested = self.rules.keeps_requested_masks.then_some(mask);
        task.mask = usable;
        Ok(())
    }

    /// What a cpuset leaves its tasks, before what they asked for: any CPU if that were none.
    pub(super) fn allowed_in(&self, group: usize) -> CpuSet {
        let allowed = self.own_allowed_in(group);
        if allowed.is_empty() { CpuSet::first(self.machine.cpus) } else { allowed }
    }

    fn own_allowed_in(&self, group: usize) -> CpuSet {
        if group == 0 && self.rules.root_masks_have_offline_cpus {
            // Offline CPUs stay in the masks of the root group's tasks.
            let all = CpuSet::first(self.machine.cpus);
            return match self.is_v2() {
                true => all.minus(&self.taken_from_root()),
                false => all,
            };
        }
        let mut at = group;
        while at != 0 && !self.sets[at].effective.intersects(&self.online) {
            at = self.sets[at].parent;
        }
        self.sets[at].effective.and(&self.online)
    }

    fn set_mask(&mut self, task: usize) {
        let allowed = self.allowed_in(self.tasks[task].group);
        let task = &mut self.tasks[task];
        let wanted = task.requested.as_ref().map(|mask| mask.and(&allowed));
        task.mask = match wanted {
            Some(mask) if mask.intersects(&self.online) => mask,
            _ => allowed,
        };
    }

    /// A group's effective CPUs changed: so do its tasks' masks.
    pub(super) fn update_tasks(&mut self, group: usize) {
        if group == 0 {
            self.root_mask = self.allowed_in(0);
        }
        for task in 0..self.tasks.len() {
            if self.tasks[task].exists && self.tasks[task].group == group {
                self.set_mask(task);
            }
        }
    }

    pub(super) fn move_all(&mut self, from: usize, to: usize) {
        for task in 0..self.tasks.len() {
            if self.tasks[task].exists && self.tasks[task].group == from {
                self.tasks[task].group = to;
                if to == 0 && !self.rules.root_masks_have_offline_cpus {
                    self.tasks[task].mask = CpuSet::first(self.machine.cpus);
                } else {
                    self.set_mask(task);
                }
            }
        }
    }

    pub(super) fn has_tasks(&self, group: usize) -> bool {
        self.tasks.iter().any(|task| task.exists && task.group == group)
    }

    fn has_tasks_below(&self, group: usize) -> bool {
        let below = |at: usize| at != group && self.is_within(at, group);
        self.tasks.iter().any(|task| task.exists && below(task.group))
    }

    /// No group above it but the root has both tasks and groups that the controller is handed to.
    pub(super) fn is_valid_domain(&self, group: usize) -> bool {
        let mut at = group;
        while at != 0 {
            at = self.sets[at].parent;
            if at != 0 && self.sets[at].hands_down && self.has_tasks(at) {
                return false;
            }
        }
        true
    }

    /// Whether there are tasks in a group, or in groups below it that are no partitions and are not
    /// `except`.
    pub(super) fn is_populated(&self, group: usize, except: Option<usize>) -> bool {
        if group == 0 || self.has_tasks(group) {
            // The root group always has the kernel's own.
            return true;
        }
        self.sets[group].children.iter().any(|child| {
            Some(*child) != except
                && !self.sets[*child].is_partition()
                && self.is_populated(*child, None)
        })
    }
}
