//! The groups of a machine: files that look at each other.

use slicewise_sched::bandwidth::LimitError;
use slicewise_sched::rt_group::{self, RtLimit, RtLimitError};

use crate::{Clamp, File, Refused, Rules, Settings, Version, Why};

/// A group of a [`Tree`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId(usize);

#[derive(Clone, Debug)]
struct Group {
    /// Always an earlier one; the root is its own.
    parent: usize,
    settings: Settings,
}

/// All groups of a machine under one interface and kernel.
#[derive(Clone, Debug)]
pub struct Tree {
    version: Version,
    rules: Rules,
    groups: Vec<Group>,
}

impl Tree {
    /// The root group.
    pub const ROOT: GroupId = GroupId(0);

    /// The root alone.
    pub fn new(version: Version, rules: Rules) -> Self {
        let settings = rules.rt_group_sched.map_or_else(Settings::default, Settings::with_rt_limit);
        let root = Group { parent: 0, settings };
        Self { version, rules, groups: vec![root] }
    }

    /// A new group in another; `None` if that does not exist.
    pub fn add(&mut self, parent: GroupId) -> Option<GroupId> {
        self.groups.get(parent.0)?;
        self.groups.push(Group { parent: parent.0, settings: Settings::default() });
        Some(GroupId(self.groups.len() - 1))
    }

    /// A group's settings; `None` if it does not exist.
    pub fn settings(&self, group: GroupId) -> Option<&Settings> {
        self.groups.get(group.0).map(|group| &group.settings)
    }

    /// The group a group is in; `None` for the root.
    pub fn parent(&self, group: GroupId) -> Option<GroupId> {
        let parent = self.groups.get(group.0)?.parent;
        (group != Self::ROOT).then_some(GroupId(parent))
    }

    fn exists(&self, group: GroupId, file: File) -> bool {
        match group {
            Self::ROOT => file.exists_in_root(self.version, &self.rules),
            GroupId(other) => other < self.groups.len() && file.exists(self.version, &self.rules),
        }
    }

    /// A write(2) of this text to a group's file. Nothing changes if it is refused.
    ///
    /// v1 refuses a quota, period or burst with which a group would have more CPU than the nearest
    /// limited group above it, in either direction; v2 enforces each level and lets them be. Real-time
    /// limits are checked as [`rt_group::check`] says; there are no tasks here.
    ///
    /// # Errors
    /// What the kernel refuses; `ENOENT` for a group or file that does not exist.
    pub fn write(&mut self, group: GroupId, file: File, text: &[u8]) -> Result<(), Refused> {
        if !self.exists(group, file) {
            return Err(Refused::NO_FILE);
        }
        let rt = matches!(file, File::RtPeriodUs | File::RtRuntimeUs);
        if group == Self::ROOT && !rt {
            if text.is_empty() {
                return Ok(());
            }
            Settings::check_text(file, text, &self.rules)?;
            return Err(Refused::invalid(Why::Root));
        }
        let Some(before) = self.settings(group).copied() else { return Err(Refused::NO_FILE) };
        let after = before.after_write(file, text, &self.rules)?;
        let limits = matches!(file, File::CfsQuotaUs | File::CfsPeriodUs | File::CfsBurstUs);
        if limits && after != before && !self.may_have(group, &after) {
            return Err(Refused::invalid(Why::Limit(LimitError::Hierarchy)));
        }
        if rt && !text.is_empty() {
            self.check_rt(group, after.rt_limit())
                .map_err(|error| Refused::invalid(Why::RtLimit(error)))?;
        }
        if let Some(group) = self.groups.get_mut(group.0) {
            group.settings = after;
        }
        Ok(())
    }

    /// What a group's file reads.
    ///
    /// # Errors
    /// `ENOENT` for a group or file that does not exist.
    pub fn read(&self, group: GroupId, file: File) -> Result<String, Refused> {
        match self.settings(group) {
            Some(settings) if self.exists(group, file) => Ok(settings.read(file, &self.rules)),
            _ => Err(Refused::NO_FILE),
        }
    }

    fn check_rt(&self, changed: GroupId, limit: RtLimit) -> Result<(), RtLimitError> {
        let number = |group: usize| (group as u32).checked_sub(1);
        let limits =
            self.groups.iter().map(|group| (number(group.parent), group.settings.rt_limit()));
        let root = self.groups.first().map_or(limit, |root| root.settings.rt_limit());
        let changed = (number(changed.0), limit);
        rt_group::check(limits.skip(1), root, self.rules.rt_group_sched, changed, false)
    }

    /// Whether with these settings of one group no group has more CPU than those above it.
    fn may_have(&self, changed: GroupId, settings: &Settings) -> bool {
        // Of each group, what it or the nearest limited group above it has. Parents come first.
        let mut ratios: Vec<Option<u64>> = Vec::with_capacity(self.groups.len());
        for (number, group) in self.groups.iter().enumerate() {
            let own = if number == changed.0 { settings } else { &group.settings };
            let above = ratios.get(group.parent).copied().flatten();
            let ratio = match (own.limit().ratio(), above) {
                (Some(own), Some(above)) if own > above => return false,
                (own, above) => own.or(above),
            };
            ratios.push(ratio);
        }
        true
    }

    /// The utilisation clamps in force for a group: what it requests, within what is in force above
    /// it; in the root, what the system allows. `None` if the group does not exist.
    pub fn effective_clamp(&self, group: GroupId, system: Clamp) -> Option<Clamp> {
        self.groups.get(group.0)?;
        let mut path = Vec::new();
        let mut at = group;
        while let Some(parent) = self.parent(at) {
            path.push(at);
            at = parent;
        }
        let request = |group: &GroupId| self.settings(*group).map(Settings::clamp);
        Some(path.iter().rev().filter_map(request).fold(system, |parent, own| own.in_group(parent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Errno;

    /// Writes to the groups `r`, `r/a` and `r/b` of a host with 6.18.44, RT_GROUP_SCHED and cgroup v1,
    /// 21 November 2026, in this order: what they returned and what the file read then.
    const HOST: &str = "\
        a rt_runtime_us 10000 EINVAL 0
        r rt_runtime_us 950001 EINVAL 0
        r rt_runtime_us 950000 ok 950000
        r rt_runtime_us -1 EINVAL 950000
        r rt_runtime_us -5 EINVAL 950000
        r rt_runtime_us 1000001 EINVAL 950000
        r rt_runtime_us 5x EINVAL 950000
        r rt_runtime_us 0x10 ok 16
        r rt_runtime_us 500000 ok 500000
        a rt_runtime_us 300000 ok 300000
        b rt_runtime_us 200001 ok 200001
        b rt_runtime_us 200000 ok 200000
        r rt_runtime_us 499999 EINVAL 500000
        r rt_runtime_us 0 EINVAL 500000
        r rt_period_us 2000000 EINVAL 1000000
        b rt_period_us 0 EINVAL 1000000
        b rt_period_us 100000 EINVAL 1000000
        b rt_period_us 200000 EINVAL 1000000
        b rt_period_us -1 EINVAL 1000000
        b rt_period_us 2000000 ok 2000000
        b rt_runtime_us 1 ok 1
        b rt_period_us 18446744073709552 EINVAL 2000000
        b rt_period_us 18446744073709551 ok 18446744073709551
        b rt_runtime_us 17592186044 ok 17592186044
        b rt_runtime_us 17592186045 EINVAL 17592186044
        b rt_runtime_us 9223372036854775807 EINVAL 17592186044
        b rt_runtime_us 18446744073709552 EINVAL 17592186044
        b rt_period_us 1000000 EINVAL 18446744073709551
        b rt_runtime_us 0 ok 0
        b rt_runtime_us 5000 ok 5000
        b rt_period_us 5000 EINVAL 18446744073709551
        b rt_period_us 1 EINVAL 18446744073709551
        / rt_runtime_us 0 EINVAL 950000
        / rt_runtime_us 400000 EINVAL 950000
        / rt_runtime_us 950001 EINVAL 950000
        / rt_runtime_us 950000 ok 950000";

    fn with_rt_groups() -> Rules {
        let system = RtLimit { runtime_ns: Some(950_000_000), period_ns: 1_000_000_000 };
        Rules { rt_group_sched: Some(system), ..Rules::named("6.18").unwrap() }
    }

    #[test]
    fn real_time_files_do_what_they_did_on_a_kernel_with_them() {
        let mut tree = Tree::new(Version::V1, with_rt_groups());
        let r = tree.add(Tree::ROOT).unwrap();
        let [a, b] = [(); 2].map(|()| tree.add(r).unwrap());
        for line in HOST.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [group, file, text, result, reads] = words[..] else { panic!("{line}") };
            let group = match group {
                "r" => r,
                "a" => a,
                "b" => b,
                _ => Tree::ROOT,
            };
            let file = File::named(&format!("cpu.{file}")).unwrap();
            let done = tree.write(group, file, text.as_bytes());
            let errno = done.map_or_else(|refused| refused.errno.name(), |()| "ok");
            assert_eq!(
                (errno, tree.read(group, file).unwrap().trim_end()),
                (result, reads),
                "{line}"
            );
        }
        assert_eq!(tree.write(r, File::RtRuntimeUs, b""), Ok(()));
    }

    #[test]
    fn real_time_files_are_v1s_and_only_where_they_are_built_in() {
        let plain = Rules::named("6.18").unwrap();
        for (version, rules, there) in [
            (Version::V1, with_rt_groups(), true),
            (Version::V2, with_rt_groups(), false),
            (Version::V1, plain, false),
        ] {
            let tree = Tree::new(version, rules);
            let read = tree.read(Tree::ROOT, File::RtPeriodUs);
            assert_eq!(read.is_ok(), there);
            assert!(there || read.is_err_and(|refused| refused.errno == Errno::ENOENT));
        }
    }
}
