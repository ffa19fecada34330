//! cgroup v2: partitions, local and remote, and how changes move through the groups.
//!
//! A *local* partition takes its CPUs from its parent, a partition itself. A *remote* one is below
//! members and takes them from the root group; `cpuset.cpus.exclusive` of all groups between hands
//! them down. A partition that cannot be one any more stays what it asks for and is invalid, until
//! something comes by that lets it be valid again.

use slicewise_sched::CpuSet;

use super::{
    BootConflict, CpusetWhy, Cpusets, NODES_POSSIBLE, NONE, OldCpus, Partition, Reason, list,
    refused, stripped,
};
use crate::{Errno, Refused};

impl Cpusets {
    // What follows from the states of the groups.

    /// What partitions have of the root group's CPUs.
    pub(super) fn taken_from_root(&self) -> CpuSet {
        let own =
            self.sets.iter().skip(1).filter(|set| {
                set.exists && set.is_partition() && (set.is_remote || set.parent == 0)
            });
        own.fold(NONE, |taken, set| taken.or(&set.granted))
    }

    /// The CPUs of isolated partitions.
    pub(super) fn isolated_by_partitions(&self) -> CpuSet {
        let mut isolated = NONE;
        for at in self.subtree(0).into_iter().skip(1) {
            let set = &self.sets[at];
            if !set.is_partition() {
                continue;
            }
            isolated = match set.partition {
                Partition::Isolated => isolated.or(&set.granted),
                _ => isolated.minus(&set.granted),
            };
        }
        isolated
    }

    /// What its CPUs as a partition are, or what it hands down of exclusive CPUs as a member.
    fn grant(&self, at: usize) -> CpuSet {
        let set = &self.sets[at];
        let own = if set.is_partition() { set.claimed() } else { &set.exclusive };
        self.grantable(at, own)
    }

    /// What of these CPUs a group could have for itself.
    fn grantable(&self, at: usize, wanted: &CpuSet) -> CpuSet {
        let parent = &self.sets[self.sets[at].parent];
        let granted = wanted.and(&parent.granted);
        if !self.rules.siblings_share {
            return granted;
        }
        parent.children.iter().filter(|other| **other != at).fold(granted, |left, other| {
            let other = &self.sets[*other];
            let left = left.minus(&other.exclusive);
            if other.is_partition() { left.minus(&other.granted) } else { left }
        })
    }

    fn handed_to_partitions(&self, at: usize) -> CpuSet {
        let children = self.sets[at].children.iter().map(|child| &self.sets[*child]);
        let own = children.filter(|child| child.is_partition() && !child.is_remote);
        own.fold(NONE, |taken, child| taken.or(&child.granted))
    }

    fn effective_of(&self, at: usize) -> CpuSet {
        let set = &self.sets[at];
        if at == 0 {
            return self.online.minus(&self.taken_from_root());
        }
        if !set.is_partition() {
            return self.member_effective(at);
        }
        set.granted.and(&self.online).minus(&self.handed_to_partitions(at))
    }

    /// Whether tasks would have no CPU if a partition had these of its parent's.
    fn leaves_nothing(&self, at: usize, wanted: &CpuSet) -> bool {
        let parent = self.sets[at].parent;
        (self.sets[parent].effective.is_subset_of(wanted) && self.is_populated(parent, Some(at)))
            || (!wanted.intersects(&self.online) && self.is_populated(at, None))
    }

    /// Whether groups beside each other claim the same CPUs, if `at` had these.
    fn conflicts(&self, at: usize, cpus: &CpuSet, exclusive: &CpuSet, as_partition: bool) -> bool {
        self.sets[self.sets[at].parent]
            .children
            .iter()
            .any(|other| *other != at && self.conflict(*other, cpus, exclusive, as_partition))
    }

    fn conflict(
        &self,
        other: usize,
        cpus: &CpuSet,
        exclusive: &CpuSet,
        as_partition: bool,
    ) -> bool {
        let other = &self.sets[other];
        if self.rules.siblings_share {
            return exclusive.intersects(&other.exclusive)
                || (other.is_partition() && exclusive.intersects(&other.granted))
                || (!as_partition && !other.cpus.is_empty() && other.cpus.is_subset_of(exclusive));
        }
        let claimed = if exclusive.is_empty() { cpus } else { exclusive };
        if as_partition || other.is_partition() {
            return claimed.intersects(other.claimed());
        }
        let swallows =
            |cpus: &CpuSet, exclusive: &CpuSet| !cpus.is_empty() && cpus.is_subset_of(exclusive);
        exclusive.intersects(&other.exclusive)
            || swallows(cpus, &other.exclusive)
            || swallows(&other.cpus, exclusive)
    }

    fn has_remote_below(&self, at: usize) -> bool {
        self.subtree(at).into_iter().skip(1).any(|below| {
            let set = &self.sets[below];
            set.is_partition() && set.is_remote
        })
    }

    /// Whether isolation at boot forbids a partition of these CPUs.
    fn conflicts_with_boot(&self, partition: Partition, cpus: &CpuSet) -> bool {
        let applies = match self.rules.boot_conflict {
            BootConflict::None => false,
            BootConflict::Any => true,
            BootConflict::Root => partition == Partition::Root,
        };
        applies && cpus.intersects(&self.boot.isolated_domain)
    }

    // Steps.

    /// The parent has, at once and whatever it was computed from, what a local partition gives back.
    fn give_back(&mut self, at: usize) {
        let set = &self.sets[at];
        if set.is_remote || !set.is_valid {
            return;
        }
        let parent = set.parent;
        let above = &self.sets[parent];
        let back = set.granted.and(&above.granted).and(&self.online);
        let effective = above.effective.or(&back);
        self.set_effective(parent, effective);
    }

    fn set_effective(&mut self, at: usize, effective: CpuSet) {
        if self.sets[at].effective != effective {
            self.sets[at].effective = effective;
            // The root group's tasks are told when all is done.
            if at != 0 {
                self.update_tasks(at);
            }
        }
    }

    fn invalidate(&mut self, at: usize, reason: Option<Reason>) {
        self.give_back(at);
        let set = &mut self.sets[at];
        set.is_valid = false;
        set.is_remote = false;
        set.reason = reason;
    }

    fn validate(&mut self, at: usize, is_remote: bool) {
        self.give_back(at);
        let set = &mut self.sets[at];
        self.are_domains_stale |= !set.is_valid;
        set.is_valid = true;
        set.is_remote = is_remote;
        set.reason = None;
        self.regrant(at);
        let set = &self.sets[at];
        if !is_remote {
            let parent = set.parent;
            let effective = self.sets[parent].effective.minus(&set.granted);
            self.set_effective(parent, effective);
        }
    }

    fn regrant(&mut self, at: usize) {
        self.sets[at].granted = self.grant(at);
    }

    /// A group stops being a partition; what is below it goes on by itself.
    pub(super) fn become_member(&mut self, at: usize) {
        let was_remote = self.sets[at].is_remote;
        self.give_back(at);
        let set = &mut self.sets[at];
        set.partition = Partition::Member;
        set.is_valid = false;
        set.is_remote = false;
        set.reason = None;
        self.regrant(at);
        self.settle(at, was_remote, true);
    }

    /// Takes over a changed state of a group: above it, beside it, below it.
    fn settle(&mut self, at: usize, from_root: bool, force: bool) {
        if !from_root {
            self.walk(at, force.then_some(at));
            self.walk_siblings(at);
            if self.effective_of(0) == self.sets[0].effective {
                return;
            }
        }
        // Remote partitions take from the root and give back to it.
        for _ in 0..2 {
            self.walk(0, Some(at));
        }
    }

    fn walk_siblings(&mut self, at: usize) {
        let parent = self.sets[at].parent;
        for other in self.sets[parent].children.clone() {
            if other != at && !self.sets[other].is_partition() {
                let before = self.sets[other].effective.clone();
                if self.effective_of(other) != before {
                    self.walk(other, None);
                }
            }
        }
    }

    fn member_effective(&self, at: usize) -> CpuSet {
        let set = &self.sets[at];
        let above = &self.sets[set.parent].effective;
        let own = set.cpus.and(above);
        if own.is_empty() { above.clone() } else { own }
    }

    /// What a partition has that a change above it made valid again: what it had as a member or,
    /// where groups beside it had to be looked at, what came of the last of them. It has what a
    /// partition has only when something else changes.
    fn effective_of_returned(&mut self, at: usize, before: CpuSet) -> CpuSet {
        let parent = self.sets[at].parent;
        let mut effective = before;
        for other in self.sets[parent].children.clone() {
            if other == at || self.sets[other].is_partition() {
                continue;
            }
            effective = self.sets[other].cpus.and(&self.sets[parent].effective);
            if effective != self.sets[other].effective {
                self.walk(other, None);
                effective = self.sets[other].effective.clone();
            }
        }
        effective
    }

    fn refresh(&mut self, at: usize) -> bool {
        let effective = self.effective_of(at);
        let changed = effective != self.sets[at].effective;
        self.sets[at].effective = effective;
        changed
    }

    /// Goes down from a group: validity, grants, effective CPUs, tasks' masks. Members whose CPUs stay
    /// the same are not gone into, nor is what is below them, except towards `forced`.
    fn walk(&mut self, from: usize, forced: Option<usize>) {
        let granted_before = self.sets[from].granted.clone();
        let mut stack = vec![from];
        while let Some(at) = stack.pop() {
            if !self.sets[at].exists {
                continue;
            }
            let before = self.member_effective(at);
            let was_broken = self.sets[at].is_broken();
            if at != from {
                self.revisit(at);
            } else if at != 0 {
                self.regrant(at);
            }
            let is_back = at != from && was_broken && self.sets[at].is_valid;
            let effective = match is_back {
                true => self.effective_of_returned(at, before),
                false => self.effective_of(at),
            };
            let changed = effective != self.sets[at].effective;
            self.sets[at].effective = effective;
            let is_on_path = forced.is_some_and(|forced| self.is_within(forced, at));
            let is_member = self.sets[at].partition == Partition::Member;
            let is_forced = at == from && self.sets[at].granted != granted_before;
            if !changed && !is_on_path && is_member && !is_forced {
                continue;
            }
            self.are_domains_stale |= self.sets[at].is_partition();
            self.update_tasks(at);
            stack.extend(self.sets[at].children.iter().rev());
        }
    }

    /// What a change above does to a group.
    fn revisit(&mut self, at: usize) {
        if self.sets[at].is_remote {
            self.regrant(at);
            let granted = self.sets[at].granted.clone();
            if granted.is_empty()
                || (!granted.intersects(&self.online) && self.is_populated(at, None))
            {
                self.invalidate(at, None);
            } else {
                return;
            }
        }
        let parent = self.sets[at].parent;
        if self.sets[at].partition == Partition::Member {
            self.regrant(at);
            return;
        }
        if !self.sets[parent].is_partition() {
            let reason = match self.sets[parent].is_broken() {
                true => Reason::InvalidParent,
                false => Reason::NotPartition,
            };
            self.invalidate(at, Some(reason));
            self.regrant(at);
            return;
        }
        self.revalidate(at);
        self.regrant(at);
    }

    /// Whether a local partition can go on, or be one again; its parent is one.
    fn revalidate(&mut self, at: usize) {
        let set = &self.sets[at];
        let claimed = set.claimed().clone();
        if claimed.is_empty() || set.reason == Some(Reason::RemoteBelow) {
            return;
        }
        let above = &self.sets[set.parent].granted;
        let reason = if self.leaves_nothing(at, &claimed) {
            Some(Reason::NoCpus)
        } else if !set.is_valid
            && claimed.is_subset_of(above)
            && self.conflicts(at, &set.cpus, &set.exclusive, true)
        {
            Some(Reason::NotExclusive)
        } else {
            None
        };
        match reason {
            Some(_) => self.invalidate(at, reason),
            None => self.validate(at, false),
        }
    }

    fn judged_also(&self, at: usize) -> Option<CpuSet> {
        let set = &self.sets[at];
        match self.rules.judges_also {
            OldCpus::None => None,
            OldCpus::Granted => Some(set.granted.clone()),
            OldCpus::Claimed => Some(set.claimed().clone()),
        }
    }

    fn conflict_reason(&self) -> Option<Reason> {
        self.rules.exclusive_reason.then_some(Reason::NotExclusive)
    }

    // Writes.

    pub(super) fn write_cpus(&mut self, at: usize, text: &[u8]) -> Result<(), Refused> {
        let cpus = list(text, self.machine.cpus)?;
        let set = &self.sets[at];
        if cpus == set.cpus {
            return Ok(());
        }
        if cpus.is_empty() && !set.cpus.is_empty() && self.is_in_use(at) {
            return Err(refused(Errno::ENOSPC, CpusetWhy::NoRoom));
        }
        self.check_bandwidth(at, &cpus)?;
        let was_remote = set.is_remote;
        let conflict = self.conflicts(at, &cpus, &set.exclusive, set.is_partition());
        let with_partition = conflict && self.invalidate_siblings(at, &cpus);
        let before = self.judged_also(at);
        let force = conflict || self.sets[at].partition != Partition::Member;
        self.sets[at].cpus = cpus;
        match conflict && !with_partition && self.sets[at].is_valid {
            true => self.invalidate(at, self.conflict_reason()),
            false => self.after_change(at, conflict, before.as_ref(), false),
        }
        self.settle(at, was_remote || self.sets[at].is_remote, force);
        Ok(())
    }

    /// Each CPU's fair server is admitted deadline bandwidth: it must fit on the CPUs that are left
    /// to a partition.
    fn check_bandwidth(&self, at: usize, cpus: &CpuSet) -> Result<(), Refused> {
        let set = &self.sets[at];
        let count = |cpus: &CpuSet| cpus.iter().count();
        if self.rules.fair_server
            && set.is_partition()
            && !set.cpus.is_empty()
            && 95 * count(cpus) < 5 * count(&set.cpus)
        {
            return Err(refused(Errno::EBUSY, CpusetWhy::Bandwidth));
        }
        Ok(())
    }

    /// Partitions beside a group lose to its new CPUs; whether there are such.
    fn invalidate_siblings(&mut self, at: usize, cpus: &CpuSet) -> bool {
        let mut found = false;
        let parent = self.sets[at].parent;
        let exclusive = self.sets[at].exclusive.clone();
        let claimed = if exclusive.is_empty() { cpus.clone() } else { exclusive };
        for other in self.sets[parent].children.clone() {
            let set = &self.sets[other];
            if other != at && set.is_partition() && set.granted.intersects(&claimed) {
                self.invalidate(other, self.conflict_reason());
                found = true;
            }
        }
        found
    }

    /// A group has other CPUs: whether it still is, or now is, a partition. It claimed `before`.
    fn after_change(
        &mut self,
        at: usize,
        conflict: bool,
        before: Option<&CpuSet>,
        of_exclusive: bool,
    ) {
        let set = &self.sets[at];
        if set.partition == Partition::Member || (conflict && !set.is_valid) {
            return;
        }
        let parent_is_partition = self.sets[set.parent].is_partition();
        let wanted = self.grantable(at, set.claimed());
        let lost = set.granted.minus(&wanted);
        let nothing = self.leaves_nothing(at, &wanted)
            || before.is_some_and(|before| self.leaves_nothing(at, before));
        if set.claimed().is_empty() && !set.is_valid && !self.rules.exclusive {
            return;
        }
        let reason = if set.claimed().is_empty() {
            Some(Reason::Empty)
        } else if conflict
            || (wanted.is_empty() && (set.is_valid || of_exclusive || self.rules.judges_cpus))
        {
            Some(Reason::InvalidCpus)
        } else if set.is_remote {
            self.remote_problem(at, &wanted)
        } else if nothing && (!set.is_valid || !lost.intersects(&self.online)) {
            Some(Reason::NoCpus)
        } else {
            None
        };
        self.are_domains_stale |= set.is_valid;
        match reason {
            Some(_) => self.invalidate(at, reason),
            None if self.sets[at].is_remote => self.regrant(at),
            None if parent_is_partition => self.validate(at, false),
            None => {}
        }
    }

    fn remote_problem(&self, at: usize, wanted: &CpuSet) -> Option<Reason> {
        let own = match self.sets[at].is_remote {
            true => self.sets[at].granted.clone(),
            false => NONE,
        };
        let added = wanted.minus(&own);
        let is_impossible = wanted.is_empty()
            || added.intersects(&self.taken_from_root())
            || self.sets[0].effective.or(&own).is_subset_of(wanted);
        is_impossible.then_some(Reason::InvalidCpus)
    }

    pub(super) fn write_exclusive(&mut self, at: usize, text: &[u8]) -> Result<(), Refused> {
        let exclusive = list(text, self.machine.cpus)?;
        if exclusive == self.sets[at].exclusive {
            return Ok(());
        }
        let set = &self.sets[at];
        if self.conflicts(at, &NONE, &exclusive, set.is_partition()) {
            return Err(refused(Errno::EINVAL, CpusetWhy::Siblings));
        }
        let was_remote = set.is_remote;
        let before = self.judged_also(at);
        let force = set.partition != Partition::Member;
        self.sets[at].exclusive = exclusive;
        self.after_change(at, false, before.as_ref(), true);
        self.settle(at, was_remote || self.sets[at].is_remote, force);
        Ok(())
    }

    pub(super) fn write_partition(&mut self, at: usize, text: &[u8]) -> Result<(), Refused> {
        let partition = match stripped(text) {
            b"member" => Partition::Member,
            b"root" => Partition::Root,
            b"isolated" => Partition::Isolated,
            _ => return Err(refused(Errno::EINVAL, CpusetWhy::NotAPartition)),
        };
        let set = &self.sets[at];
        if partition == set.partition && (set.is_valid || partition == Partition::Member) {
            return Ok(());
        }
        let set = &self.sets[at];
        self.are_domains_stale = set.is_partition();
        if partition == Partition::Member {
            self.become_member(at);
            return Ok(());
        }
        if set.is_broken() && !self.rules.write_revives {
            self.sets[at].partition = partition;
            return Ok(());
        }
        if set.is_partition() {
            // Between root and isolated.
            let (granted, was_remote) = (set.granted.clone(), set.is_remote);
            self.sets[at].partition = partition;
            if self.rules.switch_checks_boot && self.conflicts_with_boot(partition, &granted) {
                self.invalidate(at, Some(Reason::Housekeeping));
                self.settle(at, was_remote, true);
            }
            return Ok(());
        }
        let is_remote = !self.sets[set.parent].is_partition() && self.rules.exclusive;
        let problem = self.enable_problem(at, partition, is_remote);
        self.sets[at].partition = partition;
        match problem {
            Some(reason) => self.invalidate(at, Some(reason)),
            None => self.validate(at, is_remote),
        }
        self.settle(at, is_remote && problem.is_none(), true);
        Ok(())
    }

    fn enable_problem(&self, at: usize, partition: Partition, is_remote: bool) -> Option<Reason> {
        let set = &self.sets[at];
        let parent = &self.sets[set.parent];
        if self.conflicts(at, &set.cpus, &set.exclusive, true) {
            return Some(Reason::NotExclusive);
        }
        if set.claimed().is_empty() {
            return Some(Reason::Empty);
        }
        let wanted = self.grantable(at, set.claimed());
        if is_remote {
            return self.remote_problem(at, &wanted).or_else(|| {
                self.conflicts_with_boot(partition, &wanted).then_some(Reason::Housekeeping)
            });
        }
        if !parent.is_partition() {
            let broken = parent.is_broken();
            return Some(if broken { Reason::InvalidParent } else { Reason::NotPartition });
        }
        if self.has_remote_below(at) {
            return Some(Reason::RemoteBelow);
        }
        if wanted.is_empty() {
            return Some(Reason::InvalidCpus);
        }
        if self.conflicts_with_boot(partition, &wanted) {
            return Some(Reason::Housekeeping);
        }
        self.leaves_nothing(at, &wanted).then_some(Reason::NoCpus)
    }

    /// Whether there are tasks in a group or below it.
    fn is_in_use(&self, at: usize) -> bool {
        self.subtree(at).into_iter().any(|below| self.has_tasks(below))
    }

    pub(super) fn write_mems(&mut self, at: usize, text: &[u8]) -> Result<(), Refused> {
        // The list may name nodes that could be; the group can only have those that are there.
        let mems = list(text, NODES_POSSIBLE)?;
        if !mems.is_subset_of(&self.sets[0].mems) {
            return Err(refused(Errno::EINVAL, CpusetWhy::NotThere));
        }
        if mems.is_empty() && !self.sets[at].mems.is_empty() && self.is_in_use(at) {
            return Err(refused(Errno::ENOSPC, CpusetWhy::NoRoom));
        }
        self.sets[at].mems = mems;
        for below in self.subtree(at) {
            let above = &self.sets[self.sets[below].parent].mems_effective;
            let own = self.sets[below].mems.and(above);
            self.sets[below].mems_effective = if own.is_empty() { above.clone() } else { own };
        }
        Ok(())
    }

    // CPUs coming and going.

    pub(super) fn hotplug_v2(&mut self) {
        self.are_domains_stale = true;
        self.refresh(0);
        for at in self.subtree(0).into_iter().skip(1) {
            self.hotplug_group(at);
        }
    }

    fn hotplug_group(&mut self, at: usize) {
        let parent = self.sets[at].parent;
        let set = &self.sets[at];
        let granted = set.granted.clone();
        if set.is_remote {
            let has_none = !granted.intersects(&self.online) && self.is_populated(at, None);
            if has_none || self.sets[0].effective.is_empty() {
                self.invalidate(at, Some(Reason::Hotplug));
                self.refresh(0);
            }
        } else if set.is_partition() {
            if !self.sets[parent].is_partition() {
                let broken = self.sets[parent].is_broken();
                let reason = if broken { Reason::InvalidParent } else { Reason::NotPartition };
                self.invalidate(at, Some(reason));
            } else if self.leaves_nothing(at, &granted) {
                self.invalidate(at, self.rules.hotplug_reason.then_some(Reason::Hotplug));
            }
        } else if set.is_broken() && self.sets[parent].is_partition() && !set.granted.is_empty() {
            self.revalidate(at);
        }
        if self.refresh(at) {
            self.update_tasks(at);
        }
    }

    // What the scheduler makes of it.

    pub(super) fn domains_v2(&self) -> Vec<CpuSet> {
        let sets = self.sets.iter().filter(|set| set.exists && set.is_partition());
        let balanced = sets.filter(|set| set.partition == Partition::Root);
        let mut domains: Vec<CpuSet> = Vec::new();
        for set in balanced {
            let is_free = set.depth > 0 && !self.rules.isolcpus_in_partitions;
            let cpus = match is_free {
                true => set.effective.clone(),
                false => set.effective.minus(&self.boot.isolated_domain),
            };
            if !domains.contains(&cpus) {
                domains.push(cpus);
            }
        }
        domains
    }
}
