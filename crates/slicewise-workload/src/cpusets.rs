//! The cpuset files of a scenario's groups, and the boot parameters beside them: which CPUs each task
//! may use, and which of them the scheduler balances among each other.

use std::ops::Range;

use slicewise_cgroup::cpuset::{
    Boot, BootError, CpusetFile, CpusetId, CpusetMachine, CpusetWhy, Cpusets,
};
use slicewise_cgroup::{Refused, Version, Why};
use slicewise_sched::{CpuSet, Profile};

use crate::cgroups::rules_of;
use crate::diagnostic::{Sink, shorten};
use crate::{Diagnostic, Loaded};

/// The cpuset files that groups may have.
pub(crate) const FILES: [CpusetFile; 4] =
    [CpusetFile::Mems, CpusetFile::Cpus, CpusetFile::CpusExclusive, CpusetFile::CpusPartition];

/// The most groups with cpuset files of their own.
pub const CPUSETS_MAX: usize = 1000;

/// How the CPUs of the machine are divided, for the scheduler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuPartitions {
    /// Sets of CPUs that are balanced among each other; no two overlap. Empty if nothing was said:
    /// then all CPUs are one.
    pub domains: Vec<CpuSet>,
    /// CPUs in none of them: tasks come and go only by their affinity.
    pub isolated: CpuSet,
    /// CPUs whose tick stops while at most one task is runnable (`nohz_full=`).
    pub nohz_full: CpuSet,
}

impl Default for CpuPartitions {
    /// Nothing was said: no CPU is isolated or without ticks.
    fn default() -> Self {
        let (isolated, nohz_full) = (CpuSet::of([]), CpuSet::of([]));
        Self { domains: Vec::new(), isolated, nohz_full }
    }
}

/// A boot parameter's value, and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootText {
    /// The value, as behind `isolcpus=`.
    pub text: String,
    /// Where it says so.
    pub span: Range<usize>,
}

/// A text that is written to a cpuset file, and where it says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CpusetWrite {
    pub(crate) file: CpusetFile,
    pub(crate) text: String,
    pub(crate) span: Range<usize>,
}

/// The file of this name, if groups may have it.
pub(crate) fn file_named(name: &str) -> Option<CpusetFile> {
    CpusetFile::named(name, Version::V2).filter(|file| FILES.contains(file))
}

/// What is wrong with a boot parameter, for a machine of so many CPUs.
pub(crate) fn check_boot(key: &str, text: &str, cpus: u32) -> Result<(), BootError> {
    let mut boot = Boot::none();
    match key {
        "isolcpus" => boot.isolcpus(text, cpus),
        _ => boot.set_nohz_full(text, cpus),
    }
}

/// Has the kernel of this profile make of cpuset files and boot parameters what it makes of them on a
/// machine of so many CPUs: tasks' affinities become what is left to them, and
/// [`Loaded::cpu_partitions`] what the scheduler needs to know. Partitions are made after all lists
/// are written, outer groups first.
///
/// Affinities that programs set on the way are not cut to their cpusets; one that would be gets a
/// warning.
///
/// The diagnostics are errors for what the kernel refuses, for invalid partitions and for tasks
/// without a CPU.
pub fn settle_cpusets(loaded: &mut Loaded, profile: &Profile, cpus: u32) -> Vec<Diagnostic> {
    let mut sink = Sink::default();
    let said = loaded.cgroups.cpuset_writes().any(|(_, writes)| !writes.is_empty());
    let boot_said = loaded.settings.isolcpus.is_some() || loaded.settings.nohz_full.is_some();
    if !said && !boot_said {
        loaded.cpu_partitions = CpuPartitions::default();
        return Vec::new();
    }
    let Some(boot) = boot(loaded, cpus, &mut sink) else { return sink.finish(&loaded.sources) };
    let version = loaded.cgroups.version();
    let machine = CpusetMachine { cpus, nodes: 1 };
    let mut model = Cpusets::new(version, &rules_of(profile), machine, boot.clone());
    let ids = write_files(loaded, &mut model, &mut sink);
    loaded.cpu_partitions = CpuPartitions {
        domains: model.sched_domains().to_vec(),
        isolated: model.isolated(),
        nohz_full: boot.nohz_full.clone(),
    };
    limit_tasks(loaded, &model, &ids, &boot, &mut sink);
    sink.finish(&loaded.sources)
}

fn boot(loaded: &Loaded, cpus: u32, sink: &mut Sink) -> Option<Boot> {
    let mut boot = Boot::none();
    let mut complete = true;
    let mut tell = |said: &BootText, result: Result<(), BootError>| {
        if let Err(error) = result {
            let help = "as on the kernel's command line: `isolcpus=domain,2-3`, `nohz_full=2-3`";
            sink.error_help(said.span.clone(), error.to_string(), help);
            complete = false;
        }
    };
    if let Some(said) = &loaded.settings.isolcpus {
        tell(said, boot.isolcpus(&said.text, cpus));
    }
    if let Some(said) = &loaded.settings.nohz_full {
        tell(said, boot.set_nohz_full(&said.text, cpus));
    }
    complete.then_some(boot)
}

/// Makes the groups that have cpuset files and those they are in, and writes them; the group in the
/// model for each group: its own, or the nearest above it.
fn write_files(loaded: &Loaded, model: &mut Cpusets, sink: &mut Sink) -> Vec<CpusetId> {
    let parents: Vec<Option<u32>> = loaded.cgroups.parents().collect();
    let mut needed = vec![false; parents.len()];
    let mut own = 0;
    for (group, writes) in loaded.cgroups.cpuset_writes() {
        let Some(first) = writes.first() else { continue };
        own += 1;
        if own > CPUSETS_MAX {
            let message = format!("more than {CPUSETS_MAX} groups have cpuset files");
            sink.error_help(first.span.clone(), message, "leave some out");
            break;
        }
        let mut at = Some(group);
        while let Some(group) = at.filter(|group| !needed[*group as usize]) {
            needed[group as usize] = true;
            at = parents[group as usize];
        }
    }
    let mut ids: Vec<CpusetId> = Vec::new();
    for (parent, needed) in parents.iter().zip(&needed) {
        let above = parent.and_then(|at| ids.get(at as usize).copied()).unwrap_or(Cpusets::ROOT);
        ids.push(if *needed { model.mkdir(above).unwrap_or(above) } else { above });
    }
    if sink.has_errors() {
        return ids;
    }
    let version = loaded.cgroups.version();
    if version == Version::V1 {
        // Where nothing is said, v1's groups have nothing; a scenario's have what is above them.
        let groups: Vec<CpusetId> = model.groups().collect();
        for id in &groups {
            let Some(above) = model.parent(*id) else { continue };
            for file in [CpusetFile::Mems, CpusetFile::Cpus] {
                let text = model.read(above, file).unwrap_or_default();
                let _ = model.write(*id, file, text.as_bytes());
            }
        }
    }
    for files in [&FILES[..3], &FILES[3..]] {
        for (group, writes) in loaded.cgroups.cpuset_writes() {
            let Some(id) = ids.get(group as usize) else { continue };
            let ordered = files.iter().flat_map(|file| writes.iter().filter(|w| w.file == *file));
            for write in ordered {
                write_one(model, *id, write, version, sink);
            }
        }
    }
    ids
}

fn write_one(
    model: &mut Cpusets,
    id: CpusetId,
    write: &CpusetWrite,
    version: Version,
    sink: &mut Sink,
) {
    let name = write.file.name(Version::V2).unwrap_or_default();
    let text = write.text.trim();
    if let Err(refused) = model.write(id, write.file, format!("{text}\n").as_bytes()) {
        let help = match refused.why {
            Why::NoFile if version == Version::V1 => "cgroup v1 has no such file".to_owned(),
            Why::NoFile => "Linux 6.7 and later have it".to_owned(),
            Why::Cpuset(CpusetWhy::List(_) | CpusetWhy::NotThere) => {
                "name CPUs of the machine as in \"0-3,8\"".to_owned()
            }
            _ => "write it as you would to the file".to_owned(),
        };
        sink.error_help(write.span.clone(), format!("`{name}`: {refused}"), help);
        return;
    }
    if write.file == CpusetFile::CpusPartition
        && let Ok(reads) = model.read(id, CpusetFile::CpusPartition)
        && reads.contains("invalid")
    {
        let help = model.partition_reason(id).map_or("", |reason| reason.help());
        sink.error_help(write.span.clone(), format!("`{name}` reads `{}`", reads.trim()), help);
    }
}

/// Tasks may use what is in their affinity and left to their group.
fn limit_tasks(
    loaded: &mut Loaded,
    model: &Cpusets,
    ids: &[CpusetId],
    boot: &Boot,
    sink: &mut Sink,
) {
    let in_root = model.allowed(Cpusets::ROOT).unwrap_or_default();
    for task in &mut loaded.workload.tasks {
        let group = task.group.and_then(|at| ids.get(at as usize).copied());
        let group = group.unwrap_or(Cpusets::ROOT);
        let allowed = model.allowed(group).unwrap_or_else(|| in_root.clone());
        let wanted = match (&task.affinity, group) {
            // What the first process has, and all its children.
            (CpuSet::All, Cpusets::ROOT) => allowed.minus(&boot.isolated_domain),
            (CpuSet::All, _) => allowed.clone(),
            (mask, _) => mask.and(&allowed),
        };
        if wanted.is_empty() {
            let message = format!(
                "task `{}` may run on CPUs {}, but only {allowed} are left to its group (EINVAL)",
                shorten(&task.name),
                task.affinity
            );
            let help = "name CPUs of its group, or none at all";
            sink.error_help(task.origin.start..task.origin.end, message, help);
            continue;
        }
        task.affinity = wanted;
    }
    let limits = ids.iter().filter_map(|id| model.allowed(*id)).chain([in_root]);
    let narrowest = limits.reduce(|all, one| all.and(&one)).unwrap_or_default();
    for (set, span) in &loaded.affinities {
        if !set.is_subset_of(&narrowest) {
            let message = format!("CPUs {set} are asked for, and a cpuset may leave out some");
            let help =
                "affinities that a program sets are not cut to its cpuset here: name CPUs it has";
            sink.warn(span.clone(), message, help);
        }
    }
}

/// Whether the kernel takes a text at all, for `--set`.
pub(crate) fn check_text(file: CpusetFile, text: &str) -> Result<(), Refused> {
    let machine = CpusetMachine { cpus: slicewise_sched::CPUS_MAX, nodes: 1 };
    let rules = crate::cgroups::newest_rules();
    let mut model = Cpusets::new(Version::V2, &rules, machine, Boot::none());
    let group = model.mkdir(Cpusets::ROOT)?;
    model.write(group, file, format!("{}\n", text.trim()).as_bytes())
}
