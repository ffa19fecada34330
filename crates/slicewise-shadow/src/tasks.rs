//! Tasks of the trace and tasks of the core.

use std::collections::{BTreeMap, HashMap};

use slicewise_ftrace::{Comm, TaskRef};
use slicewise_sched::{Attr, Nice, Policy, RtPriority, TaskId};

use crate::config::{RulePolicy, TaskRule};
use crate::report::TaskName;

/// What a task is doing, by the trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    Running,
    Waiting,
    Sleeping,
}

/// A task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) id: TaskId,
    pub(crate) comm: Comm,
    pub(crate) prio: i32,
    pub(crate) cpu: u32,
    pub(crate) doing: Doing,
    /// Of a class the core does not have. The core sees it as a task of the stop class that is
    /// there only while it runs.
    pub(crate) other_class: bool,
    /// A fair task: the kernel records its charges.
    pub(crate) fair: bool,
}

/// All tasks that live.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    by_pid: BTreeMap<i32, Known>,
    pid_of: HashMap<TaskId, i32>,
}

impl Tasks {
    pub(crate) fn get(&self, pid: i32) -> Option<&Known> {
        self.by_pid.get(&pid)
    }

    pub(crate) fn get_mut(&mut self, pid: i32) -> Option<&mut Known> {
        self.by_pid.get_mut(&pid)
    }

    pub(crate) fn insert(&mut self, pid: i32, known: Known) {
        if let Some(before) = self.by_pid.insert(pid, known) {
            self.pid_of.remove(&before.id);
        }
        self.pid_of.insert(known.id, pid);
    }

    pub(crate) fn remove(&mut self, pid: i32) {
        if let Some(known) = self.by_pid.remove(&pid) {
            self.pid_of.remove(&known.id);
        }
    }

    /// Tasks that run or wait on a CPU.
    pub(crate) fn on_queue(&self, cpu: u32) -> Vec<(i32, TaskId)> {
        let there = self
            .by_pid
            .iter()
            .filter(|(_, known)| known.cpu == cpu && known.doing != Doing::Sleeping);
        there.map(|(pid, known)| (*pid, known.id)).collect()
    }

    /// The pid of a task of the core, 0 for none.
    pub(crate) fn pid(&self, task: Option<TaskId>) -> i32 {
        task.and_then(|task| self.pid_of.get(&task).copied()).unwrap_or(0)
    }

    pub(crate) fn name(&self, pid: i32) -> TaskName {
        let comm = match self.by_pid.get(&pid) {
            Some(known) => known.comm.to_text(),
            None => "idle".to_owned(),
        };
        TaskName { pid, comm }
    }
}

/// Policy, nice and slice of a task, as far as priority, name and rules tell; whether it is of a
/// class the core does not have.
pub(crate) fn attr_of(task: &TaskRef, rules: &[TaskRule]) -> (Attr, bool) {
    let rule = rules.iter().find(|rule| {
        rule.name.as_bytes() == task.comm.as_bytes()
            || rule.name.parse::<i32>().is_ok_and(|pid| pid == task.pid)
    });
    let policy = rule.and_then(|rule| rule.policy);
    let mut attr = Attr { slice_ns: rule.and_then(|rule| rule.slice_ns), ..Attr::default() };
    let mut other_class = false;
    let rt_priority = RtPriority::new(99 - i64::from(task.prio));
    attr.policy = match (task.prio, rt_priority) {
        // Every CPU's stopper is `migration/N`, of the highest priority.
        (0, _) if task.comm.as_bytes().starts_with(b"migration/") => Policy::Stop,
        (_, Some(priority)) => match policy {
            Some(RulePolicy::Rr) => Policy::Rr(priority),
            _ => Policy::Fifo(priority),
        },
        (100..=139, _) => {
            attr.nice = Nice::new(i64::from(task.prio) - 120).unwrap_or_default();
            match policy {
                Some(RulePolicy::Batch) => Policy::Batch,
                Some(RulePolicy::Idle) => Policy::Idle,
                _ => Policy::Normal,
            }
        }
        _ => {
            other_class = true;
            Policy::Stop
        }
    };
    (attr, other_class)
}
