//! What a kubelet's CPU manager says its containers have.

use std::path::Path;

use slicewise_containers::{CpuList, CpuManagerState, Source};
use slicewise_report::TaskPlaces;
use slicewise_sched::{CpuId, CpuSet};
use slicewise_topology::Machine;

use crate::failure::{Failure, printable};
use crate::k8s::{node_topology, shown};

/// Reads a `cpu_manager_state`: who has which CPUs of the machine, and what is odd about it.
pub(crate) fn read(
    path: &Path,
    machine: &Machine,
) -> Result<(Vec<TaskPlaces>, Vec<String>), Failure> {
    let source = Source::open(path).map_err(|error| Failure::plain(error.to_string()))?;
    let state = CpuManagerState::parse(&source.text)
        .map_err(|list| shown(std::slice::from_ref(&source), &list))?;
    // The kubelet's numbers are the machine's own.
    let topology = node_topology(machine, |at| machine.cpus()[at].number).map_err(|error| {
        Failure::plain(format!("{}: no node of a cluster is like it: {error}", machine.name()))
    })?;
    let set = |cpus: &CpuList| {
        let places = (0..).map(CpuId).zip(machine.cpus());
        CpuSet::of(places.filter(|(_, cpu)| cpus.contains(cpu.number)).map(|(at, _)| at))
    };
    let pool = (!state.default_cpus.is_empty()).then(|| TaskPlaces {
        name: "shared pool".to_owned(),
        tasks: 1,
        cpus: set(&state.default_cpus),
    });
    let own = state.entries.iter().map(|entry| TaskPlaces {
        name: printable(&format!("{}/{}", entry.pod, entry.container)),
        tasks: 1,
        cpus: set(&entry.cpus),
    });
    let problems = state.problems(&topology);
    let findings = problems.iter().map(|problem| printable(&problem.to_string()));
    Ok((pool.into_iter().chain(own).collect(), findings.collect()))
}
