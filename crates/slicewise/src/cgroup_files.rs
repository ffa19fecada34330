//! The files of cgroups that are only read, as a program on the kernel would find them at the end of
//! the run.

use slicewise_cgroup::{CpuStat, Version, local_stat, pressure};
use slicewise_report::{CgroupFile, GroupFacts, GroupFigures, GroupMeter};
use slicewise_sched::psi::Line;
use slicewise_workload::cgroup_rules;

use crate::prepare::Prepared;

/// `cpu.stat`, `cpu.stat.local` and `cpu.pressure` of each group, as far as its kernel and its
/// version of cgroups have them, and the pressure on the system.
pub(crate) fn read(
    prepared: &Prepared,
    meter: &GroupMeter,
    facts: &[GroupFacts],
) -> Vec<CgroupFile> {
    let version = prepared.loaded.cgroups.version();
    let rules = cgroup_rules(&prepared.config.profile);
    let mut files = Vec::new();
    for (at, (figures, facts)) in meter.figures().iter().zip(facts).enumerate() {
        // The groups of sessions have no files.
        if prepared.loaded.cgroups.is_session(at as u32) {
            continue;
        }
        let mut file = |name: &str, text| {
            files.push(CgroupFile { path: format!("{}/{name}", figures.path), text });
        };
        file("cpu.stat", cpu_stat(figures, facts).text(version, &rules));
        if let Some(text) = local_stat(figures.local_throttled_ns, version, &rules) {
            file("cpu.stat.local", text);
        }
        // v1 has pressure of the whole system alone.
        if version == Version::V2 {
            file("cpu.pressure", pressure(&figures.some, &figures.full));
        }
    }
    let text = pressure(&meter.system_pressure(), &Line::default());
    files.push(CgroupFile { path: "/proc/pressure/cpu".to_owned(), text });
    files
}

fn cpu_stat(figures: &GroupFigures, facts: &GroupFacts) -> CpuStat {
    CpuStat {
        usage_us: figures.usage_ns / 1000,
        user_us: figures.usage_ns.saturating_sub(facts.system_ns) / 1000,
        system_us: facts.system_ns / 1000,
        nice_us: facts.nice_ns / 1000,
        bandwidth: Some(facts.bandwidth),
        wait_sum_ns: None,
    }
}
