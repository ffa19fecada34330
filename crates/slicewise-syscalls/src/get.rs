//! Asking for a policy and what belongs to it.

use crate::raw::{ATTR_SIZE, ATTR_SIZE_FIRST, ATTR_SIZE_MAX, RawAttr, flags};
use crate::refusal::{Refusal, Rule};
use crate::set::{Pointer, bad_address, not_negative};
use crate::system::System;
use crate::task::{Pid, Task, policy};

/// What `sched_getattr` writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttrOut {
    /// The bytes from the beginning of the caller's structure on.
    pub bytes: Vec<u8>,
    /// How many bytes behind them are set to 0.
    pub cleared: u32,
    /// Flag 1 was given (7.x): in place of `sched_runtime` and `sched_deadline` the program gets what
    /// is left of the budget and the absolute deadline, which the scheduler knows.
    pub budget_asked: bool,
}

impl System {
    /// The slice `sched_getattr` tells of a fair task; 0 where it tells none.
    pub(crate) fn slice_told(&self, task: &Task) -> u64 {
        match self.rules.slices {
            true => task.slice_ns.unwrap_or(self.base_slice_ns),
            false => 0,
        }
    }

    /// A task as `sched_getattr` tells it, all 56 bytes of it.
    pub fn attr_of(&self, task: &Task) -> RawAttr {
        let mut attr = RawAttr {
            size: ATTR_SIZE,
            policy: task.policy,
            flags: if task.reset_on_fork { flags::RESET_ON_FORK } else { 0 },
            ..RawAttr::default()
        };
        match task.policy {
            policy::DEADLINE => {
                let params = task.deadline;
                attr.runtime = params.runtime_ns;
                attr.deadline = params.deadline_ns;
                attr.period = params.period();
                attr.flags |= if params.reclaim { flags::RECLAIM } else { 0 };
                attr.flags |= if params.overrun_signal { flags::DL_OVERRUN } else { 0 };
            }
            policy if policy::is_rt(policy) => attr.priority = task.rt_priority,
            _ => {
                attr.nice = task.nice.get().into();
                attr.runtime = self.slice_told(task);
            }
        }
        if self.rules.build.uclamp {
            attr.util_min = task.clamps[0].value;
            attr.util_max = task.clamps[1].value;
        }
        attr
    }

    /// `sched_getattr(pid, attr, size, flags)`.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn sched_getattr(
        &self,
        caller: Pid,
        pid: Pid,
        attr: Pointer<()>,
        size: u32,
        call_flags: u32,
    ) -> Result<AttrOut, Refusal> {
        let good = attr.null_checked()?;
        not_negative(pid)?;
        if !(ATTR_SIZE_FIRST..=ATTR_SIZE_MAX).contains(&size) {
            return Err(Refusal::new(Rule::GetAttrSize, format!("size is {size}")));
        }
        let budget = self.rules.tells_budget && call_flags == 1;
        let bad_flags = || Refusal::new(Rule::CallFlags, format!("flags is {call_flags:#x}"));
        if call_flags != 0 && !budget {
            return Err(bad_flags());
        }
        let task = self.found(self.resolve(caller, pid)?)?;
        if budget && !task.is_deadline() {
            return Err(bad_flags());
        }
        good.ok_or_else(bad_address)?;
        let known = size.min(ATTR_SIZE);
        let bytes = RawAttr { size: known, ..self.attr_of(task) }.to_bytes();
        let cleared = if self.rules.clears_beyond { size - known } else { 0 };
        Ok(AttrOut { bytes: bytes[..known as usize].to_vec(), cleared, budget_asked: budget })
    }

    /// `sched_getscheduler(pid)`: the policy, with 0x40000000 for reset-on-fork.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn sched_getscheduler(&self, caller: Pid, pid: Pid) -> Result<u32, Refusal> {
        not_negative(pid)?;
        let task = self.found(self.resolve(caller, pid)?)?;
        Ok(task.policy | if task.reset_on_fork { policy::RESET_ON_FORK } else { 0 })
    }

    /// `sched_getparam(pid, param)`: the priority, 0 for policies without one.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn sched_getparam(
        &self,
        caller: Pid,
        pid: Pid,
        param: Pointer<()>,
    ) -> Result<u32, Refusal> {
        let good = param.null_checked()?;
        not_negative(pid)?;
        let task = self.found(self.resolve(caller, pid)?)?;
        good.ok_or_else(bad_address)?;
        Ok(if policy::is_rt(task.policy) { task.rt_priority } else { 0 })
    }

    /// `sched_get_priority_max(policy)`.
    ///
    /// # Errors
    /// If there is no such policy.
    pub fn sched_get_priority_max(&self, number: i32) -> Result<u32, Refusal> {
        self.priority_range(number).map(|range| range.1)
    }

    /// `sched_get_priority_min(policy)`.
    ///
    /// # Errors
    /// If there is no such policy.
    pub fn sched_get_priority_min(&self, number: i32) -> Result<u32, Refusal> {
        self.priority_range(number).map(|range| range.0)
    }

    fn priority_range(&self, number: i32) -> Result<(u32, u32), Refusal> {
        match number {
            1 | 2 => Ok((1, 99)),
            0 | 3 | 5 | 6 => Ok((0, 0)),
            7 if self.rules.range_of_ext => Ok((0, 0)),
            _ => Err(Refusal::new(Rule::UnknownPolicy, format!("policy is {number}"))),
        }
    }

    /// `sched_rr_get_interval(pid, interval)`, in ns: the slice of `SCHED_RR`, 0 for `SCHED_FIFO` and
    /// `SCHED_DEADLINE`, and the slice of fair tasks in whole ticks.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn sched_rr_get_interval(
        &self,
        caller: Pid,
        pid: Pid,
        interval: Pointer<()>,
    ) -> Result<u64, Refusal> {
        not_negative(pid)?;
        let task = self.found(self.resolve(caller, pid)?)?;
        let tick_ns = 1_000_000_000 / u64::from(self.rules.build.hz.max(1));
        let ticks = match task.policy {
            policy::RR => self.sysctls.rr_ticks,
            policy::FIFO | policy::DEADLINE => 0,
            _ if task.cpu_without_fair => 0,
            _ if self.rules.slices => self.slice_told(task) / tick_ns,
            _ => task.cfs_slice_ns / tick_ns,
        };
        match interval {
            Pointer::To(()) => Ok(ticks * tick_ns),
            Pointer::Null | Pointer::Bad => Err(bad_address()),
        }
    }
}
