//! setpriority(2), getpriority(2), nice(2).

use slicewise_sched::Nice;

use crate::permission::{may_renice, may_touch, security};
use crate::refusal::{Refusal, Rule};
use crate::system::System;
use crate::task::Pid;

/// `which` of setpriority(2).
pub mod which {
    /// One thread; 0 is the caller.
    pub const PROCESS: i32 = 0;
    /// A process group; 0 is the caller's.
    pub const PGRP: i32 = 1;
    /// All of a real user; 0 is the caller's.
    pub const USER: i32 = 2;
}

impl System {
    fn meant(&self, caller: Pid, which: i32, who: i32) -> Result<Vec<Pid>, Refusal> {
        let by = self.found(caller)?;
        let pids: Vec<Pid> = match which {
            which::PROCESS => return Ok(vec![self.resolve(caller, who)?]),
            which::PGRP => {
                let group = if who == 0 { by.pgrp } else { who };
                self.tasks().filter(|(_, task)| task.pgrp == group).map(|(pid, _)| pid).collect()
            }
            which::USER => {
                let user = if who == 0 { by.credentials.uid } else { who.cast_unsigned() };
                let theirs = self.tasks().filter(|(_, task)| task.credentials.uid == user);
                theirs.map(|(pid, _)| pid).collect()
            }
            _ => return Err(Refusal::new(Rule::UnknownWhich, format!("which is {which}"))),
        };
        match pids.is_empty() {
            true => Err(Refusal::new(Rule::NoSuchTask, format!("which {which}, who {who}"))),
            false => Ok(pids),
        }
    }

    /// `setpriority(which, who, nice)`.
    ///
    /// # Errors
    /// The rule that was broken last; tasks for which none was broken have changed.
    pub fn setpriority(
        &mut self,
        caller: Pid,
        which: i32,
        who: i32,
        nice: i32,
    ) -> Result<(), Refusal> {
        let nice = Nice::new(nice.clamp(-20, 19).into()).unwrap_or_default();
        let mut result = Ok(());
        for pid in self.meant(caller, which, who)? {
            if let Err(refusal) = self.renice(caller, pid, nice) {
                result = Err(refusal);
            }
        }
        result
    }

    fn renice(&mut self, caller: Pid, target: Pid, nice: Nice) -> Result<(), Refusal> {
        let (by, task) = (self.found(caller)?, self.found(target)?);
        may_touch(by, task)?;
        may_renice(by, task, nice.get().into(), Rule::NiceLowered)?;
        security(by, task)?;
        self.store_nice(target, nice);
        Ok(())
    }

    fn store_nice(&mut self, target: Pid, nice: Nice) {
        if let Some(task) = self.tasks.get_mut(&target)
            && task.nice != nice
        {
            task.renice(nice);
            self.note_attr(target);
        }
    }

    /// `getpriority(which, who)` as the system call returns it: 20 minus the lowest nice value.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn getpriority(&self, caller: Pid, which: i32, who: i32) -> Result<i32, Refusal> {
        let pids = self.meant(caller, which, who)?;
        let nice = |pid: &Pid| self.task(*pid).map(|task| i32::from(task.nice.get()));
        Ok(20 - pids.iter().filter_map(nice).min().unwrap_or(0))
    }

    /// `nice(increment)`, the system call of 32-bit machines; the C library's nice(3) elsewhere is made
    /// of getpriority(2) and setpriority(2) and fails with the same error. Not held against a kernel.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn nice(&mut self, caller: Pid, increment: i32) -> Result<(), Refusal> {
        let task = self.found(caller)?;
        let sum = i32::from(task.nice.get()) + increment.clamp(-40, 40);
        let nice = Nice::new(sum.clamp(-20, 19).into()).unwrap_or_default();
        if increment < 0 {
            may_renice(task, task, nice.get().into(), Rule::NiceNotAllowed)?;
        }
        self.store_nice(caller, nice);
        Ok(())
    }
}
