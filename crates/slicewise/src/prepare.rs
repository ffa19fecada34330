//! From a file and the command line to a machine that can run.

use std::io::IsTerminal;
use std::path::Path;

use slicewise_machine::{Costs, MachineConfig, Preemption};
use slicewise_sched::numa::NumaConfig;
use slicewise_sched::{CPUS_MAX, CpuId, CpuSet, Profile, SmpConfig};
use slicewise_workload::{
    CpuPartitions, Diagnostic, Format, LoadFileError, Loaded, Rejected, Severity, apply_set,
    check_against_machine, load_file, load_in, read_text, settle_cgroups, settle_cpusets,
};

use crate::args::SimulationArgs;
use crate::failure::{Failure, shown_place};

/// The kernel when nobody names one.
pub(crate) const KERNEL_DEFAULT: &str = "6.12";
const HZ_DEFAULT: u32 = 250;
const DURATION_NS_DEFAULT: u64 = 10_000_000_000;
const SEED_DEFAULT: u64 = 1;

/// A workload with the machine it runs on.
pub(crate) struct Prepared {
    /// What messages call the input.
    pub(crate) name: String,
    pub(crate) loaded: Loaded,
    pub(crate) config: MachineConfig,
    /// For the report.
    pub(crate) warnings: Vec<String>,
    /// The report is to hold the files of cgroups.
    pub(crate) cgroup_files: bool,
}

/// Reads the input. Problems come with their places.
pub(crate) fn read(file: &Path) -> Result<(String, Loaded), Failure> {
    if file.as_os_str() == "-" {
        let name = "<standard input>".to_owned();
        if std::io::stdin().is_terminal() {
            return Err(Failure::plain("standard input is a terminal: pipe a workload into it"));
        }
        let source = read_text(std::io::stdin().lock(), &name)
            .map_err(|error| Failure::plain(error.to_string()))?;
        return match load_in(&source, Format::Auto, Path::new("")) {
            Ok(loaded) => Ok((name, loaded)),
            Err(Rejected { sources, diagnostics }) => {
                Err(Failure::Input { name, sources, diagnostics })
            }
        };
    }
    let name = file.display().to_string();
    match load_file(file) {
        Ok(loaded) => Ok((name, loaded)),
        Err(LoadFileError::Invalid { sources, diagnostics }) => {
            Err(Failure::Input { name, sources, diagnostics })
        }
        Err(error) => Err(Failure::plain(error.to_string())),
    }
}

/// Applies what the command line says on top of the file: `key=value` each.
pub(crate) fn override_settings(
    loaded: &mut Loaded,
    simulation: &SimulationArgs,
    kernel: Option<&str>,
    seed: Option<&str>,
    sets: &[&str],
) -> Result<(), Failure> {
    // First: the number of CPUs follows from it.
    if let Some(word) = &simulation.topology {
        loaded.settings.set_topology(crate::topology::machine(word)?);
    }
    let options = [
        ("--cpus", "cpus", simulation.cpus.as_deref()),
        ("--duration", "duration", simulation.duration.as_deref()),
        ("--hz", "hz", simulation.hz.as_deref()),
        ("--kernel", "kernel", kernel),
        ("--seed", "seed", seed),
    ];
    for (option, key, value) in options {
        if let Some(value) = value {
            apply_set(loaded, &format!("{key}={value}"))
                .map_err(|message| Failure::plain(format!("{option} {value}: {message}")))?;
        }
    }
    for set in sets {
        apply_set(loaded, set)
            .map_err(|message| Failure::plain(format!("--set {set}: {message}")))?;
    }
    Ok(())
}

/// Settles everything that is still open and checks that the workload fits the machine.
pub(crate) fn prepare(name: String, mut loaded: Loaded) -> Result<Prepared, Failure> {
    let settings = loaded.settings.clone();
    let kernel = settings.kernel.as_deref().unwrap_or(KERNEL_DEFAULT);
    let Some(profile) = Profile::named(kernel) else {
        let known: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
        return Err(Failure::with_help(
            format!("there is no profile for kernel `{kernel}`"),
            format!("the kernels are {}", known.join(", ")),
        ));
    };
    let cpus = cpus_of(&loaded);
    let mut features = profile.features;
    let mut diagnostics = check_against_machine(&loaded, cpus, &profile);
    diagnostics.extend(settle_cgroups(&mut loaded, &profile));
    diagnostics.extend(settle_cpusets(&mut loaded, &profile, cpus));
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(Failure::Input { name, sources: loaded.sources, diagnostics });
    }
    for word in &settings.features {
        features.set(word).map_err(Failure::plain)?;
    }
    settings.rt.check(profile.rt).map_err(Failure::plain)?;
    let preemption_default =
        if profile.lazy_preemption { Preemption::Lazy } else { Preemption::Full };
    let config = MachineConfig {
        profile: Profile { rt: settings.rt.over(profile.rt), ..profile },
        features,
        base_slice_ns: settings.base_slice_ns,
        cpus,
        hz: settings.hz.unwrap_or(HZ_DEFAULT),
        smp: SmpConfig {
            topology: settings.topology.as_ref().map(|machine| machine.topology().clone()),
            partitions: partitions(&loaded.cpu_partitions),
            energy: settings
                .topology
                .as_ref()
                .filter(|_| settings.energy_aware.unwrap_or(true))
                .and_then(|machine| machine.energy().cloned()),
            numa: settings.numa_balancing.unwrap_or(true).then(NumaConfig::default),
            ..SmpConfig::default()
        },
        tick_phase_ns: settings.tick_phase_ns.unwrap_or(0),
        tick_skew_ns: settings.tick_skew_ns.unwrap_or(0),
        preemption: settings.preemption.unwrap_or(preemption_default),
        costs: settings.costs.over(Costs::default()),
        speed: settings.speed.model(settings.topology.as_ref()),
        nohz_full: loaded.cpu_partitions.nohz_full.clone(),
        seed: settings.seed.unwrap_or(SEED_DEFAULT),
        duration_ns: settings.duration_ns.unwrap_or(DURATION_NS_DEFAULT),
    };
    let shown = |diagnostic: &Diagnostic| {
        let place = shown_place(&name, &loaded.sources, diagnostic.span.start);
        format!("{place}: {}", diagnostic.message)
    };
    let warnings: Vec<String> = loaded.warnings.iter().chain(&diagnostics).map(shown).collect();
    Ok(Prepared { name, loaded, config, warnings, cgroup_files: false })
}

/// What is balanced among each other; `None` if nothing was said of that.
fn partitions(cpus: &CpuPartitions) -> Option<Vec<CpuSet>> {
    let told = !cpus.domains.is_empty() || !cpus.isolated.is_empty();
    told.then(|| cpus.domains.clone())
}

/// How many CPUs there are.
pub(crate) fn cpus_of(loaded: &Loaded) -> u32 {
    loaded.settings.cpus.unwrap_or_else(|| cpus_needed(loaded))
}

/// One CPU, or as many as it takes for every CPU the workload names to exist.
fn cpus_needed(loaded: &Loaded) -> u32 {
    let highest = |set: &CpuSet| match set {
        CpuSet::All => None,
        set => (0..CPUS_MAX).rev().find(|cpu| set.contains(CpuId(*cpu))),
    };
    let in_tasks = loaded.workload.tasks.iter().filter_map(|task| highest(&task.affinity)).max();
    let programs = loaded.workload.programs.iter().flat_map(|program| &program.ops);
    let in_programs = programs
        .filter_map(|op| match op {
            slicewise_machine::Op::SetAffinity(set) => highest(set),
            _ => None,
        })
        .max();
    let interrupts = loaded.workload.interrupts.iter();
    let in_interrupts = interrupts.filter_map(|source| highest(&source.cpus)).max();
    in_tasks.max(in_programs).max(in_interrupts).map_or(1, |cpu| cpu + 1)
}
