//! Cases with several CPUs: what each thread got and how often it moved, on a kernel and in Slicewise.
//!
//! No switch among the load's threads is recorded: the kernel's own accounts are read shortly before the
//! load begins and at its end. Each case is run several times, by QEMU's clock and by the host's: what
//! differs from run to run, or from clock to clock, is not the kernel's answer alone.

mod figures;
mod guest;
pub(crate) mod page;
mod simulate;
pub(crate) mod truth;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use slicewise_sched::CpuId;
use slicewise_workload::{Format, Loaded, load};

use crate::cache::Cache;
use crate::failure::{Failure, Result};
use crate::qemu::{self, Clock};
use crate::{apt, case};

pub(crate) use truth::SmpCell;

/// From a round's begin to that of the load: its processes are there by then, however busy the host is.
const QUIET_MS: u32 = 3_000;
/// And for each process more.
const PROCESS_MS: u32 = 5_000;
/// The simulation begins so long before the load's first thread is made.
const LEAD_MS: u32 = 100;
/// Cases of a boot: what is lost if a guest with real threads panics.
const CASES_A_BOOT: usize = 4;
/// How often such a guest is booted before it counts as broken.
const BOOTS: u32 = 4;

/// What the guest's time is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClockKind {
    /// A count of instructions; CPUs take turns.
    Instructions,
    /// The host's; CPUs are threads of the host.
    Free,
}

impl ClockKind {
    pub(crate) const ALL: [Self; 2] = [Self::Instructions, Self::Free];

    fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Free => "free",
        }
    }

    /// 6.1 with more than one CPU does not get through by instructions.
    fn works_on(self, series: &str) -> bool {
        self == Self::Free || series != "6.1"
    }
}

/// One case file.
#[derive(Clone, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct SmpCase {
    /// The file's name without its extension.
    #[serde(skip)]
    pub(crate) name: String,
    /// What the case answers.
    pub(crate) question: String,
    /// A Slicewise scenario without `[machine]`, which the lab's load program runs: a process for each
    /// group.
    pub(crate) scenario: String,
    /// CPUs of the machine.
    pub(crate) cpus: u32,
    /// How long is measured, from the load's begin.
    #[serde(default = "duration_default")]
    pub(crate) duration_ms: u32,
    /// How often it is run, each time at another place between two ticks.
    #[serde(default = "rounds_default")]
    pub(crate) rounds: u32,
    /// Kernels it makes sense on; all if none is named.
    #[serde(default)]
    pub(crate) kernels: Vec<String>,
}

fn duration_default() -> u32 {
    10_000
}

fn rounds_default() -> u32 {
    3
}

/// Tasks of one description, which are alike: their shares are compared by rank.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Alike {
    pub(crate) name: String,
    pub(crate) tasks: Vec<String>,
    /// Bound to one CPU from the begin to the end.
    pub(crate) bound: bool,
    /// They do a job a period. How long that takes is given to the simulation.
    pub(crate) given: bool,
}

impl SmpCase {
    fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let broken = |message: String| {
            Failure::with_help(
                format!("{}: {message}", path.display()),
                "a case has `question`, `scenario`, `cpus` and the other keys of smp.rs",
            )
        };
        let mut case: Self = toml::from_str(&text).map_err(|error| broken(error.to_string()))?;
        case.name = name;
        if case.cpus < 2 || case.cpus > 8 {
            return Err(broken(format!("cpus is {}; allowed: 2 to 8", case.cpus)));
        }
        if case.duration_ms < 100 || case.duration_ms > 60_000 {
            return Err(broken("duration_ms is 100 to 60000".to_owned()));
        }
        if case.rounds == 0 || case.rounds > 20 {
            return Err(broken(format!("rounds is {}; allowed: 1 to 20", case.rounds)));
        }
        case.loaded().map_err(broken)?;
        Ok(case)
    }

    /// The load as Slicewise reads it.
    fn loaded(&self) -> std::result::Result<Loaded, String> {
        load(&self.scenario, Format::Scenario).map_err(|diagnostics| {
            diagnostics.first().map_or_else(String::new, |first| first.message.clone())
        })
    }

    /// The paths of its cgroups.
    fn groups(&self) -> std::result::Result<Vec<String>, String> {
        Ok(self.loaded()?.workload.groups.into_iter().map(|group| group.path).collect())
    }

    /// Its tasks, by their descriptions.
    fn alike(&self) -> std::result::Result<Vec<Alike>, String> {
        let loaded = self.loaded()?;
        let workload = &loaded.workload;
        let alike = |group: &slicewise_workload::Group| {
            let tasks = &workload.tasks[group.first as usize..(group.first + group.count) as usize];
            let program = &workload.programs[tasks[0].program as usize];
            let moves =
                |op: &slicewise_machine::Op| matches!(op, slicewise_machine::Op::SetAffinity(_));
            let own = &tasks[0].affinity;
            let allowed = (0..self.cpus).filter(|cpu| own.contains(CpuId(*cpu))).count();
            Alike {
                name: group.name.clone(),
                bound: allowed == 1 && !program.ops.iter().any(moves),
                given: simulate::period_ns(program).is_some(),
                tasks: tasks.iter().map(|task| task.name.clone()).collect(),
            }
        };
        Ok(loaded.groups.iter().map(alike).collect())
    }

    fn applies_to(&self, series: &str) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|kernel| kernel == series)
    }
}

/// All cases of a directory, or the named ones.
pub(crate) fn select(directory: &Path, named: &[String]) -> Result<Vec<SmpCase>> {
    case::files(directory, named)?.iter().map(|path| SmpCase::load(path)).collect()
}

/// Runs cases on kernels, or takes what is in the cache, and hands over what the kernel counted.
pub(crate) fn on_kernels(
    cache: &Cache,
    cases: &[SmpCase],
    kernels: &[&'static str],
    clocks: &[ClockKind],
    reuse: bool,
    mut work: impl FnMut(SmpCell) -> Result<()>,
) -> Result<()> {
    for series in kernels {
        for clock in clocks.iter().filter(|clock| clock.works_on(series)) {
            let results = |case: &SmpCase| {
                cache.results(&format!("smp-{}-{}", case.name, clock.name()), series)
            };
            let cases: Vec<&SmpCase> =
                cases.iter().filter(|case| case.applies_to(series)).collect();
            let mut boots: BTreeMap<u32, Vec<&SmpCase>> = BTreeMap::new();
            for case in &cases {
                let usable = || truth::read(case, series, *clock, &results(case)).is_ok();
                if !(reuse && usable()) {
                    boots.entry(case.cpus).or_default().push(case);
                }
            }
            for (cpus, wanted) in boots {
                for together in wanted.chunks(CASES_A_BOOT) {
                    let mut left = together.to_vec();
                    let mut boots = 0;
                    while !left.is_empty() {
                        boots += 1;
                        let all = cache.results("smp-boot", series);
                        boot(cache, series, *clock, cpus, &left, &all)?;
                        for case in std::mem::take(&mut left) {
                            take(&all, &case.name, &results(case))?;
                            // A host that was too busy for a moment spoils a case.
                            match truth::read(case, series, *clock, &results(case)) {
                                Ok(cell) => work(cell)?,
                                Err(_) if boots < BOOTS => left.push(case),
                                Err(failure) => return Err(failure),
                            }
                        }
                    }
                }
            }
            if reuse {
                for case in cases {
                    work(truth::read(case, series, *clock, &results(case))?)?;
                }
            }
        }
    }
    Ok(())
}

fn boot(
    cache: &Cache,
    series: &'static str,
    clock: ClockKind,
    cpus: u32,
    together: &[&SmpCase],
    out: &Path,
) -> Result<()> {
    let broken = |message: String| Failure::new(format!("cases on {series}: {message}"));
    let kernel = apt::fetch(cache, series)?;
    let seconds =
        |case: &&SmpCase| u64::from(case.rounds) * u64::from(case.duration_ms / 1_000 + 3);
    let seconds = together.iter().map(seconds).sum::<u64>() + 5;
    let file = |case: &&SmpCase| (format!("cases/{}.toml", case.name), case.scenario.clone());
    let files: Vec<(String, String)> = together.iter().map(file).collect();
    let script = guest::script(together).map_err(broken)?;
    let by = match clock {
        ClockKind::Instructions => Clock::Instructions,
        ClockKind::Free => Clock::Threads,
    };
    let mut boots = 0;
    loop {
        boots += 1;
        match qemu::run_script_by(&kernel, &files, &script, cpus, seconds, by, out) {
            Err(_) if boots < BOOTS => {}
            other => return other,
        }
    }
}

/// Moves what came back of one case to its own place.
fn take(all: &Path, case: &str, own: &Path) -> Result<()> {
    let failed = |error: &std::io::Error| Failure::file("move", own, error);
    if own.exists() {
        fs::remove_dir_all(own).map_err(|error| failed(&error))?;
    }
    fs::rename(all.join(case), own).map_err(|error| failed(&error))?;
    fs::copy(all.join("boot").join(qemu::HOST_TIMES), own.join(qemu::HOST_TIMES))
        .map_err(|error| failed(&error))?;
    for file in ["stdout.txt", "package.txt"] {
        fs::copy(all.join(file), own.join(file)).map_err(|error| failed(&error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_in_the_repository_can_be_read_and_made_in_a_guest() {
        let cases = select(Path::new(page::CASES), &[]).unwrap();
        assert!(cases.len() >= 15);
        for case in &cases {
            assert!(!case.alike().unwrap().is_empty(), "{}", case.name);
            guest::script(&[case]).unwrap();
        }
    }

    #[test]
    fn a_task_is_bound_that_may_use_one_cpu_and_stays_there() {
        let cases = select(Path::new(page::CASES), &["all-pinned-on-2".to_owned()]).unwrap();
        assert!(cases[0].alike().unwrap().iter().all(|alike| alike.bound));
        let cases = select(Path::new(page::CASES), &["spread-4-on-2".to_owned()]).unwrap();
        assert!(cases[0].alike().unwrap().iter().all(|alike| !alike.bound));
    }
}
