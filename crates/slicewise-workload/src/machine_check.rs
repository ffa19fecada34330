//! Whether a workload fits the machine it is to run on: known only once all settings are merged.

use std::collections::BTreeSet;

use slicewise_machine::Preemption;
use slicewise_sched::{Class, CpuSet, FairRules, Profile};

use crate::diagnostic::{Sink, shorten};
use crate::{Diagnostic, Loaded};

/// What does not fit a machine with this many CPUs and this kernel: errors for what cannot run at
/// all, warnings for what the kernel ignores.
pub fn check_against_machine(loaded: &Loaded, cpus: u32, profile: &Profile) -> Vec<Diagnostic> {
    let mut sink = Sink::default();
    for group in &loaded.groups {
        let tasks = &loaded.workload.tasks[group.first as usize..][..group.count as usize];
        // Instances differ only where `apply_set` named one; one report a group is enough.
        let stray = tasks.iter().find(|task| beyond(&task.affinity, cpus).is_some());
        if let Some(task) = stray {
            let message =
                format!("task `{}` may run on CPUs {}", shorten(&task.name), task.affinity);
            report_affinity(
                &mut sink,
                &task.affinity,
                cpus,
                task.origin.start..task.origin.end,
                message,
            );
        }
        if let Some(task) = tasks.iter().find(|task| task.attr.slice_ns.is_some()) {
            check_slice(&mut sink, profile, task.origin.start..task.origin.end);
        }
    }
    for (set, span) in &loaded.affinities {
        if beyond(set, cpus).is_some() {
            report_affinity(
                &mut sink,
                set,
                cpus,
                span.clone(),
                format!("CPUs {set} are asked for"),
            );
        }
    }
    for (set, span) in &loaded.interrupted {
        let message = format!("CPUs {set} are interrupted");
        report_affinity(&mut sink, set, cpus, span.clone(), message);
    }
    for span in &loaded.slices {
        check_slice(&mut sink, profile, span.clone());
    }
    let mut features = profile.features;
    for word in &loaded.settings.features {
        if let Err(message) = features.set(word) {
            let help =
                format!("kernel {} was chosen; choose another or drop the word", profile.name);
            sink.error_help(loaded.features_span.clone(), message, help);
        }
    }
    if loaded.settings.preemption == Some(Preemption::Lazy) && !profile.lazy_preemption {
        let message = format!("kernel {} has no lazy preemption", profile.name);
        sink.warn(0..0, message, "it behaves as `full` there");
    }
    sink.finish(&loaded.sources)
}

/// Real-time tasks in groups that can have none: their first `sched_setscheduler` would fail.
pub(crate) fn check_rt_groups(loaded: &Loaded, profile: &Profile, sink: &mut Sink) {
    if !profile.rt.rt_group_sched || profile.rt.runtime_us.is_none() {
        return;
    }
    for tasks in &loaded.groups {
        let tasks = &loaded.workload.tasks[tasks.first as usize..][..tasks.count as usize];
        let refused = tasks.iter().find_map(|task| {
            let group = loaded.workload.groups.get(task.group? as usize)?;
            let refused =
                task.attr.policy.class() == Class::Rt && group.rt.is_none() && !group.session;
            refused.then_some((task, group))
        });
        let Some((task, group)) = refused else { continue };
        let message = format!(
            "task `{}` cannot be {} in `{}`: the group's real-time runtime is 0 (EPERM)",
            shorten(&task.name),
            task.attr.policy.name(),
            shorten(&group.path)
        );
        let help = "give the group some, and those it is in: \"cpu.rt_runtime_us\" = 100000";
        sink.error_help(task.origin.start..task.origin.end, message, help);
    }
}

/// The lowest CPU of the set that the machine does not have.
fn beyond(set: &CpuSet, cpus: u32) -> Option<u32> {
    if matches!(set, CpuSet::All) {
        return None;
    }
    (cpus..slicewise_sched::CPUS_MAX).find(|cpu| set.contains(slicewise_sched::CpuId(*cpu)))
}

fn report_affinity(
    sink: &mut Sink,
    set: &CpuSet,
    cpus: u32,
    span: std::ops::Range<usize>,
    message: String,
) {
    let Some(cpu) = beyond(set, cpus) else { return };
    let last = cpus.saturating_sub(1);
    let message = format!("{message}, but there is no CPU {cpu}: the machine has {cpus}");
    sink.error_help(span, message, format!("name CPUs 0 to {last}, or set `cpus` to {}", cpu + 1));
}

fn check_slice(sink: &mut Sink, profile: &Profile, span: std::ops::Range<usize>) {
    if !matches!(profile.fair, FairRules::Eevdf(rules) if rules.custom_slice) {
        let custom = |p: &&Profile| matches!(p.fair, FairRules::Eevdf(r) if r.custom_slice);
        let names: BTreeSet<&str> = Profile::ALL.iter().filter(custom).map(|p| p.name).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let message = format!("kernel {} ignores slices of single tasks", profile.name);
        sink.warn(span, message, format!("kernels that know them: {}", names.join(", ")));
    }
}
