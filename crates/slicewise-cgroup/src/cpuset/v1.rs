//! cgroup v1: what a group has is what is written, within its parent's.

use slicewise_sched::CpuSet;

use super::{CpusetFile, CpusetWhy, Cpusets, NODES_POSSIBLE, NONE, list, refused, stripped};
use crate::number::unsigned;
use crate::{Errno, Refused};

impl Cpusets {
    pub(super) fn write_v1(
        &mut self,
        at: usize,
        file: CpusetFile,
        text: &[u8],
    ) -> Result<(), Refused> {
        match file {
            CpusetFile::Cpus => {
                if at == 0 {
                    return Err(refused(Errno::EACCES, CpusetWhy::Root));
                }
                let cpus = list(text, self.machine.cpus)?;
                if !cpus.is_subset_of(&self.sets[0].cpus) {
                    return Err(refused(Errno::EINVAL, CpusetWhy::NotThere));
                }
                self.change_v1(at, |set| set.cpus = cpus)
            }
            CpusetFile::Mems => {
                if at == 0 {
                    return Err(refused(Errno::EACCES, CpusetWhy::Root));
                }
                let mems = list(text, NODES_POSSIBLE)?;
                if !mems.is_subset_of(&self.sets[0].mems) {
                    return Err(refused(Errno::EINVAL, CpusetWhy::NotThere));
                }
                self.change_v1(at, |set| set.mems = mems)
            }
            _ => {
                let on = unsigned(stripped(text)).map_err(|error| match error.errno {
                    Errno::EINVAL => refused(Errno::EINVAL, CpusetWhy::NotAFlag),
                    _ => error,
                })? != 0;
                self.change_v1(at, |set| match file {
                    CpusetFile::CpuExclusive => set.cpu_exclusive = on,
                    CpusetFile::MemExclusive => set.mem_exclusive = on,
                    _ => set.load_balance = on,
                })
            }
        }
    }

    fn change_v1(
        &mut self,
        at: usize,
        change: impl FnOnce(&mut super::Set),
    ) -> Result<(), Refused> {
        let before = self.sets[at].clone();
        let mut after = before.clone();
        change(&mut after);
        self.check_v1(at, &before, &after)?;
        self.sets[at] = after;
        for below in self.subtree(at) {
            if below != 0 {
                self.refresh_v1(below);
            }
        }
        Ok(())
    }

    fn check_v1(&self, at: usize, before: &super::Set, after: &super::Set) -> Result<(), Refused> {
        let fits = |small: &super::Set, large: &super::Set| {
            small.cpus.is_subset_of(&large.cpus)
                && small.mems.is_subset_of(&large.mems)
                && small.cpu_exclusive <= large.cpu_exclusive
                && small.mem_exclusive <= large.mem_exclusive
        };
        if before.children.iter().any(|child| !fits(&self.sets[*child], after)) {
            return Err(refused(Errno::EBUSY, CpusetWhy::Children));
        }
        if at == 0 {
            return Ok(());
        }
        let parent = &self.sets[before.parent];
        if !fits(after, parent) {
            return Err(refused(Errno::EACCES, CpusetWhy::Parent));
        }
        for other in parent.children.iter().filter(|other| **other != at) {
            let other = &self.sets[*other];
            let cpus = after.cpu_exclusive || other.cpu_exclusive;
            let mems = after.mem_exclusive || other.mem_exclusive;
            if (cpus && after.cpus.intersects(&other.cpus))
                || (mems && after.mems.intersects(&other.mems))
            {
                return Err(refused(Errno::EINVAL, CpusetWhy::Siblings));
            }
        }
        let loses = |before: &CpuSet, after: &CpuSet| !before.is_empty() && after.is_empty();
        if (loses(&before.cpus, &after.cpus) || loses(&before.mems, &after.mems))
            && self.subtree(at).into_iter().any(|below| self.has_tasks(below))
        {
            return Err(refused(Errno::ENOSPC, CpusetWhy::NoRoom));
        }
        Ok(())
    }

    fn refresh_v1(&mut self, at: usize) {
        let above = &self.sets[self.sets[at].parent];
        let effective = self.sets[at].cpus.and(&above.effective);
        let mems = self.sets[at].mems.and(&above.mems_effective);
        let set = &mut self.sets[at];
        let changed = set.effective != effective;
        set.effective = effective;
        set.mems_effective = mems;
        if changed {
            self.update_tasks(at);
        }
    }

    /// CPUs that go offline are lost for good; tasks of a group that has none left move up.
    pub(super) fn hotplug_v1(&mut self) {
        let online = self.online.clone();
        self.sets[0].effective = online.clone();
        self.sets[0].cpus = online.clone();
        for at in self.subtree(0).into_iter().skip(1) {
            let set = &mut self.sets[at];
            set.cpus = set.cpus.and(&online);
            set.effective = set.effective.and(&online);
            self.update_tasks(at);
            if self.sets[at].cpus.is_empty() && self.has_tasks(at) {
                let mut to = self.sets[at].parent;
                while to != 0 && self.sets[to].cpus.is_empty() {
                    to = self.sets[to].parent;
                }
                self.move_all(at, to);
            }
        }
    }

    /// Balanced groups whose CPUs overlap are one.
    pub(super) fn domains_v1(&self) -> Vec<CpuSet> {
        let isolated = &self.boot.isolated_domain;
        if self.sets[0].load_balance {
            return vec![self.online.minus(isolated)];
        }
        let mut domains: Vec<CpuSet> = Vec::new();
        for set in self.sets.iter().skip(1).filter(|set| set.exists && set.load_balance) {
            let mut joined = set.effective.minus(isolated);
            domains.retain(|domain| {
                let overlaps = domain.intersects(&joined);
                if overlaps {
                    joined = joined.or(domain);
                }
                !overlaps
            });
            if joined != NONE {
                domains.push(joined);
            }
        }
        domains
    }
}
