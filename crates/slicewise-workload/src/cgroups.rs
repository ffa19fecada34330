//! Cgroups as their files say: what is written to each, and what the kernel makes of it.

use std::collections::BTreeMap;
use std::ops::Range;

use slicewise_cgroup::cpuset::CpusetFile;
use slicewise_cgroup::{File, Refused, Rules, Settings, Version, Why};
use slicewise_machine::GroupSpec;
use slicewise_sched::bandwidth::{Limit, LimitError, check_v1_hierarchy};
use slicewise_sched::rt_group::{self, RtLimit, RtLimitError};
use slicewise_sched::{Nice, Profile, Shares};

use crate::cpusets::CpusetWrite;
use crate::diagnostic::{Sink, shorten};
use crate::settings::RtOverrides;

/// The most cgroups a workload may have.
pub const CGROUPS_MAX: usize = 100_000;
/// The most cgroups one may be in.
pub const CGROUP_DEPTH_MAX: usize = 64;
/// How the group of a session is called.
const SESSION_PREFIX: &str = "autogroup-";
/// The longest name of a cgroup, bytes: the kernel's limit for names of files.
const NAME_BYTES_MAX: usize = 255;

/// The cgroups of a workload: a tree, and what is written to the files of each.
///
/// ```
/// use slicewise_cgroup::{File, Rules};
/// use slicewise_workload::Cgroups;
///
/// let mut cgroups = Cgroups::default();
/// let web = cgroups.add("pods/web").unwrap();
/// cgroups.write(web, File::Max, "50000 100000", 0..0);
/// let groups = cgroups.groups(&Rules::named("6.12").unwrap()).unwrap();
/// assert_eq!(groups[web as usize].limit.quota_ns, Some(50_000_000));
/// assert_eq!(groups[web as usize].parent, cgroups.find("pods"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cgroups {
    list: Vec<Cgroup>,
    by_path: BTreeMap<String, u32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Cgroup {
    path: String,
    /// Always an earlier one.
    parent: Option<u32>,
    /// At most one for each file.
    writes: Vec<Write>,
    /// At most one for each cpuset file.
    cpuset_writes: Vec<CpusetWrite>,
    period_phase_ns: Option<u64>,
    /// It is no cgroup, but the task group of a session (autogroup), with its nice value.
    session: Option<Nice>,
}

/// A text that is written to a file, and where it says so.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Write {
    file: File,
    text: String,
    span: Range<usize>,
}

impl Write {
    /// The kernel reads a number of `cpu.max` as far as it goes and takes no offence at what comes
    /// after it: `5000ms` is 5000 us.
    fn ignored_unit(&self) -> Option<CgroupError> {
        if self.file != File::Max {
            return None;
        }
        let digits =
            |word: &str| word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let cut = |word: &&str| (1..word.len()).contains(&digits(word));
        let word = self.text.split_ascii_whitespace().take(2).find(cut)?;
        let message = format!(
            "`cpu.max`: the kernel reads `{}` as {}",
            shorten(word),
            shorten(&word[..digits(word)])
        );
        let help = "its numbers are us, without a unit: \"50000 100000\"".to_owned();
        Some(CgroupError { message, help, span: self.span.clone() })
    }
}

/// Files in the order they are written, whatever the order of the text: with this one, what is a
/// valid state in the end is one at every step.
const ORDER: [File; 13] = [
    File::Idle,
    File::Weight,
    File::WeightNice,
    File::Shares,
    File::CfsPeriodUs,
    File::CfsQuotaUs,
    File::CfsBurstUs,
    File::Max,
    File::MaxBurst,
    File::RtPeriodUs,
    File::RtRuntimeUs,
    File::UclampMin,
    File::UclampMax,
];

/// Something that is wrong with a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CgroupError {
    /// What.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// Where, as it was given to [`Cgroups::write`].
    pub span: Range<usize>,
}

/// The interface a file belongs to, if it is not in both.
fn version_of(file: File) -> Option<Version> {
    match file {
        File::Weight | File::WeightNice | File::Max | File::MaxBurst => Some(Version::V2),
        File::Shares
        | File::CfsQuotaUs
        | File::CfsPeriodUs
        | File::CfsBurstUs
        | File::RtPeriodUs
        | File::RtRuntimeUs => Some(Version::V1),
        File::Idle | File::UclampMin | File::UclampMax => None,
    }
}

/// The file of the other interface that says the same, if there is one.
fn counterpart(file: File) -> &'static str {
    match file {
        File::RtPeriodUs | File::RtRuntimeUs => "",
        File::Weight | File::WeightNice => "cpu.shares",
        File::Max => "cpu.cfs_quota_us` and `cpu.cfs_period_us",
        File::MaxBurst => "cpu.cfs_burst_us",
        File::Shares => "cpu.weight",
        File::CfsQuotaUs | File::CfsPeriodUs => "cpu.max",
        File::CfsBurstUs => "cpu.max.burst",
        File::Idle | File::UclampMin | File::UclampMax => file.name(),
    }
}

/// The path without slashes around it, if it can be one of a cgroup.
///
/// # Errors
/// Says what is wrong with it; empty is the root.
pub(crate) fn parse_path(path: &str) -> Result<&str, &'static str> {
    let bare = path.trim_matches('/');
    if bare.is_empty() {
        return Ok(bare);
    }
    let names: Vec<&str> = bare.split('/').collect();
    if names.len() > CGROUP_DEPTH_MAX {
        return Err("is too deep: 64 levels are the most");
    }
    for name in names {
        if name.is_empty() {
            return Err("has two slashes in a row");
        }
        if name == "." || name == ".." {
            return Err("has a `.` or `..`: name the group from the root");
        }
        if name.len() > NAME_BYTES_MAX {
            return Err("has a name of more than 255 bytes");
        }
        if name.chars().any(|c| c.is_control() || c == '=') {
            return Err("has a character that group names cannot have");
        }
    }
    Ok(bare)
}

impl Cgroups {
    /// How many there are, the root not counted.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is only the root.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The cgroup of this path, made with those above it if it is not there. Its number is that in
    /// [`Workload::groups`](slicewise_machine::Workload::groups).
    ///
    /// # Errors
    /// If this is no path of a cgroup, or there are too many.
    pub fn add(&mut self, path: &str) -> Result<u32, String> {
        let bare =
            parse_path(path).map_err(|what| format!("the path `{}` {what}", shorten(path)))?;
        if bare.is_empty() {
            return Err("the root group is always there and has no settings".to_owned());
        }
        let mut parent = None;
        let ends = bare.match_indices('/').map(|(at, _)| at).chain([bare.len()]);
        for end in ends {
            let path = &bare[..end];
            parent = Some(match self.by_path.get(path) {
                Some(known) => *known,
                None => {
                    if self.list.len() >= CGROUPS_MAX {
                        return Err(format!("there are more than {CGROUPS_MAX} groups"));
                    }
                    let number = self.list.len() as u32;
                    self.list.push(Cgroup { path: path.to_owned(), parent, ..Cgroup::default() });
                    self.by_path.insert(path.to_owned(), number);
                    number
                }
            });
        }
        parent.ok_or_else(String::new)
    }

    /// The task group of a session (autogroup), made if there is none yet: no cgroup, but scheduled as
    /// one below the root with the weight of a nice value.
    ///
    /// # Errors
    /// If the name is none, a cgroup is called like that, or there are too many.
    pub fn add_session(&mut self, name: &str) -> Result<u32, String> {
        let path = format!("{SESSION_PREFIX}{name}");
        if name.is_empty() || name.contains('/') {
            return Err(format!("`{}` is no name of a session", shorten(name)));
        }
        if let Some(known) = self.find(&path) {
            return match self.is_session(known) {
                true => Ok(known),
                false => Err(format!("there is a group `{}`", shorten(&path))),
            };
        }
        let number = self.add(&path)?;
        self.set_session_nice(number, Nice::default());
        Ok(number)
    }

    /// What is written to `/proc/PID/autogroup`.
    pub fn set_session_nice(&mut self, group: u32, nice: Nice) {
        if let Some(group) = self.list.get_mut(group as usize) {
            group.session = Some(nice);
        }
    }

    /// The group of a session.
    pub(crate) fn find_session(&self, name: &str) -> Option<u32> {
        let found = self.find(&format!("{SESSION_PREFIX}{name}"))?;
        self.is_session(found).then_some(found)
    }

    /// Whether this is the task group of a session, not a cgroup.
    pub fn is_session(&self, group: u32) -> bool {
        self.list.get(group as usize).is_some_and(|group| group.session.is_some())
    }

    /// The number of the cgroup of this path.
    pub fn find(&self, path: &str) -> Option<u32> {
        self.by_path.get(path.trim_matches('/')).copied()
    }

    /// The path of a cgroup.
    pub fn path(&self, group: u32) -> Option<&str> {
        Some(&self.list.get(group as usize)?.path)
    }

    /// Another cgroup in this one, if there is any.
    pub(crate) fn child(&self, group: u32) -> Option<&str> {
        // Those below come right after it in this order, but for names that begin as its does.
        let below = format!("{}/", self.path(group)?);
        let (path, _) = self.by_path.range(below.clone()..).next()?;
        path.starts_with(&below).then_some(path)
    }

    /// All paths, in alphabetical order.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.by_path.keys().map(String::as_str).collect()
    }

    /// Has a text written to a file of a cgroup, instead of what was before. `span` is where a
    /// problem with it will be reported.
    pub fn write(&mut self, group: u32, file: File, text: impl Into<String>, span: Range<usize>) {
        let Some(group) = self.list.get_mut(group as usize) else { return };
        // One weight, whichever way it is said.
        let same = |other: File| match (file, other) {
            (File::Weight, File::WeightNice) | (File::WeightNice, File::Weight) => true,
            _ => file == other,
        };
        group.writes.retain(|write| !same(write.file));
        group.writes.push(Write { file, text: text.into(), span });
    }

    /// Has a text written to a cpuset file of a cgroup, instead of what was before.
    pub fn write_cpuset(
        &mut self,
        group: u32,
        file: CpusetFile,
        text: impl Into<String>,
        span: Range<usize>,
    ) {
        let Some(group) = self.list.get_mut(group as usize) else { return };
        group.cpuset_writes.retain(|write| write.file != file);
        group.cpuset_writes.push(CpusetWrite { file, text: text.into(), span });
    }

    /// What is written to cpuset files, by group.
    pub(crate) fn cpuset_writes(&self) -> impl Iterator<Item = (u32, &[CpusetWrite])> {
        (0..).zip(&self.list).map(|(at, group)| (at, group.cpuset_writes.as_slice()))
    }

    /// The group each group is in; `None` for the root.
    pub(crate) fn parents(&self) -> impl Iterator<Item = Option<u32>> {
        self.list.iter().map(|group| group.parent)
    }

    /// Sets where the grid of a cgroup's periods lies, instead of where the kernel puts it.
    pub fn set_period_phase(&mut self, group: u32, phase_ns: u64) {
        if let Some(group) = self.list.get_mut(group as usize) {
            group.period_phase_ns = Some(phase_ns);
        }
    }

    /// The interface its files are of: v1 if there is one only v1 has.
    pub fn version(&self) -> Version {
        if self.uses(Version::V1) { Version::V1 } else { Version::V2 }
    }

    /// Whether something is written to a file that only this interface has.
    fn uses(&self, version: Version) -> bool {
        let mut writes = self.list.iter().flat_map(|group| &group.writes);
        writes.any(|write| version_of(write.file) == Some(version))
    }

    /// Why a file cannot be written where the others are of the other interface.
    pub(crate) fn conflict(&self, file: File) -> Option<String> {
        let (other, names) = match version_of(file)? {
            Version::V1 => (Version::V2, ["v1", "v2"]),
            Version::V2 => (Version::V1, ["v2", "v1"]),
        };
        let [own, others] = names;
        let name = file.name();
        let same = match counterpart(file) {
            "" => "there is no such thing there".to_owned(),
            same => format!("there it is `{same}`"),
        };
        self.uses(other)
            .then(|| format!("`{name}` is of cgroup {own}, but other keys are of {others}; {same}"))
    }

    /// What a kernel with these rules makes of all the writes, those to outer groups first.
    ///
    /// # Errors
    /// What it refuses.
    pub fn groups(&self, rules: &Rules) -> Result<Vec<GroupSpec>, Vec<CgroupError>> {
        let (groups, problems) = self.settle(rules);
        let errors: Vec<_> =
            problems.into_iter().filter(|(fatal, _)| *fatal).map(|p| p.1).collect();
        if errors.is_empty() { Ok(groups) } else { Err(errors) }
    }

    /// The same; problems are reported to `sink`, what the kernel does without as warnings.
    pub(crate) fn report(&self, rules: &Rules, sink: &mut Sink) -> Vec<GroupSpec> {
        let (groups, problems) = self.settle(rules);
        for (fatal, CgroupError { message, help, span }) in problems {
            match fatal {
                true => sink.error_help(span, message, help),
                false => sink.warn(span, message, help),
            }
        }
        groups
    }

    /// The groups, and what is wrong with them: errors (`true`) and what is only ignored.
    fn settle(&self, rules: &Rules) -> (Vec<GroupSpec>, Vec<(bool, CgroupError)>) {
        let version = self.version();
        let mut problems = Vec::new();
        let mut settled: Vec<Settings> = Vec::with_capacity(self.list.len());
        for group in &self.list {
            let mut settings = Settings::default();
            let ordered =
                ORDER.iter().flat_map(|file| group.writes.iter().filter(|w| w.file == *file));
            for write in ordered {
                match self.after_write(group, write, &settings, &settled, (version, rules)) {
                    Ok(after) => {
                        settings = after;
                        problems.extend(write.ignored_unit().map(|warning| (false, warning)));
                    }
                    Err(problem) => problems.push(problem),
                }
            }
            settled.push(settings);
        }
        let specs = self.list.iter().zip(&settled).map(|(group, settings)| GroupSpec {
            path: group.path.clone(),
            parent: group.parent,
            shares: group.session.map_or(settings.shares(), Shares::from_nice),
            idle: settings.is_idle(),
            limit: settings.limit(),
            phase_ns: group.period_phase_ns,
            rt: settings.rt_limit(),
            session: group.session.is_some(),
        });
        (specs.collect(), problems)
    }

    fn after_write(
        &self,
        group: &Cgroup,
        write: &Write,
        before: &Settings,
        settled: &[Settings],
        (version, rules): (Version, &Rules),
    ) -> Result<Settings, (bool, CgroupError)> {
        let name = write.file.name();
        let problem = |fatal, message, help| {
            Err((fatal, CgroupError { message, help, span: write.span.clone() }))
        };
        if version_of(write.file).is_some_and(|of| of != version) {
            let message = format!("`{name}` is of cgroup v2, but other keys are of v1");
            let help = format!("on v1 it is `{}`; keep to one of the two", counterpart(write.file));
            return problem(true, message, help);
        }
        if write.text.is_empty() {
            let message = format!("`{name}` is empty: a write of nothing does nothing");
            return problem(true, message, "leave it out".to_owned());
        }
        let after = match before.after_write(write.file, write.text.as_bytes(), rules) {
            Ok(after) => after,
            Err(refused) => {
                let help = help(write.file, &refused, before);
                return problem(true, format!("`{name}`: {refused}"), help);
            }
        };
        let of_rt = matches!(write.file, File::RtPeriodUs | File::RtRuntimeUs);
        if !write.file.exists(version, rules) {
            let message = format!("Linux {} as Debian builds it has no `{name}`", rules.name);
            let help = match of_rt {
                true => {
                    "it is ignored there; `rt_group_sched = true` in [machine] is a kernel that has it"
                }
                false => "it is ignored there; 6.18 and later have it",
            };
            return problem(false, message, help.to_owned());
        }
        if of_rt {
            return match self.check_rt(group, settled, after.rt_limit(), rules) {
                Ok(()) => Ok(after),
                Err((error, help)) => {
                    let errno = slicewise_cgroup::Errno::EINVAL;
                    let refused = Refused { errno, why: Why::RtLimit(error) };
                    problem(true, format!("`{name}`: {refused}"), help)
                }
            };
        }
        if version == Version::V1
            && let Some((path, above)) = self.limited_above(group, settled)
            && let Err(error) = check_v1_hierarchy(&after.limit(), &above)
        {
            let refused =
                Refused { errno: slicewise_cgroup::Errno::EINVAL, why: Why::Limit(error) };
            let (quota, period) = (above.quota_ns.unwrap_or(0) / 1000, above.period_ns / 1000);
            let help = format!(
                "`{}` has {quota} us in {period} us: give it more, or this one less",
                shorten(path)
            );
            return problem(true, format!("`{name}`: {refused}"), help);
        }
        Ok(after)
    }

    /// The kernel's check of a real-time limit against those of the groups above and beside it; those
    /// below come later. What to do is said with the error.
    fn check_rt(
        &self,
        group: &Cgroup,
        settled: &[Settings],
        limit: RtLimit,
        rules: &Rules,
    ) -> Result<(), (RtLimitError, String)> {
        let Some(system) = rules.rt_group_sched else { return Ok(()) };
        let number = settled.len() as u32;
        let before = self.list.iter().zip(settled);
        let limits = before.map(|(group, settings)| (group.parent, settings.rt_limit()));
        let limits = limits.chain([(group.parent, limit)]);
        let checked = rt_group::check(limits, system, Some(system), (Some(number), limit), false);
        checked.map_err(|error| {
            let above = group.parent.and_then(|parent| settled.get(parent as usize));
            let above = above.map_or(system, Settings::rt_limit);
            let path = group.parent.and_then(|parent| self.path(parent));
            let share = |limit: RtLimit| {
                let us = |ns: u64| ns / 1000;
                format!("{} us in {} us", us(limit.runtime_ns.unwrap_or(0)), us(limit.period_ns))
            };
            let help = match (error, path) {
                (RtLimitError::AboveParent, Some(path)) => format!(
                    "`{}` has {}, for all groups in it: give it more, or these less",
                    shorten(path),
                    share(above)
                ),
                (RtLimitError::AboveParent | RtLimitError::AboveSystem, _) => {
                    format!("allowed: a part of the CPU like {} in all", share(system))
                }
                _ => "write us, and a runtime that is not above the period".to_owned(),
            };
            (error, help)
        })
    }

    /// The nearest group above that has a limit.
    fn limited_above(&self, group: &Cgroup, settled: &[Settings]) -> Option<(&str, Limit)> {
        let mut parent = group.parent;
        while let Some(at) = parent {
            let limit = settled.get(at as usize)?.limit();
            let above = self.list.get(at as usize)?;
            if limit.quota_ns.is_some() {
                return Some((&above.path, limit));
            }
            parent = above.parent;
        }
        None
    }
}

/// What the files of the kernel a profile is of do; the newest kernel's if it is not known.
pub fn rules_of(profile: &Profile) -> Rules {
    let rt = profile.rt;
    let system = RtLimit {
        runtime_ns: rt.runtime_us.map(|runtime_us| runtime_us.saturating_mul(1000)),
        period_ns: rt.period_us.saturating_mul(1000),
    };
    let rt_group_sched = rt.rt_group_sched.then_some(system);
    Rules { rt_group_sched, ..series_rules(profile.name) }
}

/// The same by its name, with what a workload says of the kernel.
pub(crate) fn rules_named(kernel: &str, rt: RtOverrides) -> Rules {
    match Profile::named(kernel) {
        Some(profile) => rules_of(&Profile { rt: rt.over(profile.rt), ..profile }),
        None => series_rules(kernel),
    }
}

/// The rules of the newest kernel.
pub(crate) fn newest_rules() -> Rules {
    Rules::ALL[Rules::ALL.len() - 1]
}

fn series_rules(kernel: &str) -> Rules {
    let name = Profile::named(kernel).map_or(kernel, |profile| profile.name);
    // `6.18.15` is of the series `6.18`.
    let of_series = |rules: &&Rules| {
        name.strip_prefix(rules.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    Rules::ALL.iter().find(of_series).copied().unwrap_or(Rules::ALL[Rules::ALL.len() - 1])
}

/// What to write instead of what the kernel refuses.
fn help(file: File, refused: &Refused, before: &Settings) -> String {
    match refused.why {
        Why::Weight(_) => "allowed: 1 to 10000; 100 is the default".to_owned(),
        Why::Nice(_) => "allowed: -20 to 19; 0 is the default".to_owned(),
        Why::Idle(_) => "allowed: 0 and 1".to_owned(),
        Why::WeightOfIdle => format!("keep one of `cpu.idle` and `{}`", file.name()),
        Why::NotAQuota => {
            "write the quota and perhaps the period in us: \"50000 100000\" is half a CPU; or \"max\""
                .to_owned()
        }
        Why::NotAPercentage | Why::Percentage => "allowed: 0 to 100, or \"max\"".to_owned(),
        Why::Limit(LimitError::QuotaTooSmall(_)) => {
            "1000 us are the least; with a longer period they are as little".to_owned()
        }
        Why::Limit(LimitError::Period(_)) => {
            "allowed: 1000 to 1000000 us; 100000 is the default".to_owned()
        }
        Why::Limit(LimitError::BurstAboveQuota(_)) => {
            let quota_us = before.limit().quota_ns.unwrap_or(0) / 1000;
            format!("allowed: 0 to the quota, {quota_us} us")
        }
        Why::Limit(LimitError::TooLarge(_)) | Why::TooManyMicroseconds(_) => match file {
            File::Max => "for no limit write \"max\"".to_owned(),
            File::CfsQuotaUs => "for no limit write -1".to_owned(),
            _ => "quota and burst together are 17592186044415 us at most".to_owned(),
        },
        Why::RtLimit(RtLimitError::NoPeriod) => "1000000 us is the default".to_owned(),
        Why::RtLimit(_) => {
            let period_us = before.rt_limit().period_ns / 1000;
            format!("allowed: 0 to the period, {period_us} us, and -1")
        }
        _ => "write it as you would to the file: a whole number".to_owned(),
    }
}
