//! sched_setaffinity(2), sched_getaffinity(2).

use slicewise_sched::{CpuId, CpuSet};

use crate::permission::{may_touch, security};
use crate::refusal::{Refusal, Rule};
use crate::set::{Pointer, bad_address};
use crate::system::{Change, System};
use crate::task::Pid;

impl System {
    /// Bytes of a mask of the kernel's: as many longs as there may be CPUs.
    fn mask_bytes(&self) -> u32 {
        self.cpus().div_ceil(64) * 8
    }

    /// CPUs of a mask in memory. Short masks end in zeros, and of long ones the end is not looked at.
    fn cpus_of(&self, mask: &[u8]) -> CpuSet {
        let known = mask.len().min(self.mask_bytes() as usize);
        let bits = mask[..known].iter().enumerate().flat_map(|(at, byte)| {
            (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at as u32 * 8 + bit)
        });
        CpuSet::of(bits.filter(|cpu| *cpu < self.cpus()).map(CpuId))
    }

    fn both(&self, one: &CpuSet, other: &CpuSet) -> CpuSet {
        let in_both = |cpu: &CpuId| one.contains(*cpu) && other.contains(*cpu);
        CpuSet::of((0..self.cpus()).map(CpuId).filter(in_both))
    }

    /// `sched_setaffinity(pid, len, mask)`; the mask is as long as `len` says. On little-endian
    /// machines, bit n of byte m is CPU 8 m + n.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn sched_setaffinity(
        &mut self,
        caller: Pid,
        pid: Pid,
        mask: Pointer<&[u8]>,
    ) -> Result<(), Refusal> {
        let asked = match mask {
            Pointer::To(mask) => self.cpus_of(mask),
            Pointer::Null | Pointer::Bad => return Err(bad_address()),
        };
        let target = self.resolve(caller, pid)?;
        let task = self.found(target)?;
        if task.fixed_cpus {
            return Err(Refusal::new(Rule::FixedAffinity, format!("thread {target}")));
        }
        let by = self.found(caller)?;
        may_touch(by, task)?;
        security(by, task)?;
        let cpus = self.both(&asked, &task.cpuset);
        if task.is_deadline() && self.admission_control() && !self.covers(&cpus, task.domain) {
            let detail = format!(
                "{} CPUs asked for, and not all {} of the root domain among them",
                cpus.count_within(self.cpus()),
                self.domains.get(task.domain).map_or(0, |domain| domain.cpus)
            );
            return Err(Refusal::new(Rule::DeadlineAffinity, detail));
        }
        if cpus.count_within(self.cpus()) == 0 {
            let detail = format!("CPUs 0 to {} are there", self.cpus() - 1);
            return Err(Refusal::new(Rule::NoUsableCpu, detail));
        }
        if let Some(task) = self.tasks.get_mut(&target)
            && task.cpus != cpus
        {
            task.cpus = cpus.clone();
            self.changes.push(Change::Affinity { pid: target, cpus });
        }
        Ok(())
    }

    /// `sched_getaffinity(pid, len, mask)`: the bytes that are written; their number is what the
    /// system call returns.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn sched_getaffinity(
        &self,
        caller: Pid,
        pid: Pid,
        len: u32,
        mask: Pointer<()>,
    ) -> Result<Vec<u8>, Refusal> {
        if u64::from(len) * 8 < u64::from(self.cpus()) {
            let detail = format!("{len} bytes, and {} CPUs", self.cpus());
            return Err(Refusal::new(Rule::MaskTooShort, detail));
        }
        if !len.is_multiple_of(8) {
            return Err(Refusal::new(Rule::MaskUneven, format!("{len} bytes")));
        }
        let task = self.found(self.resolve(caller, pid)?)?;
        if matches!(mask, Pointer::Null | Pointer::Bad) {
            return Err(bad_address());
        }
        let bytes = len.min(self.mask_bytes());
        let byte = |at: u32| {
            let has = |bit: &u32| {
                let cpu = at * 8 + bit;
                cpu < self.cpus() && task.cpus.contains(CpuId(cpu))
            };
            (0..8).filter(has).fold(0_u8, |byte, bit| byte | 1 << bit)
        };
        Ok((0..bytes).map(byte).collect())
    }
}
