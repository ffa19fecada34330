//! Real-time cases: who ran from when to when, on a kernel and in Slicewise.
//!
//! FIFO and RR, deadline tasks, real-time throttling and the fair server are about budgets and gaps,
//! which means and quantiles hide. Each uninterrupted run of each thread is kept as the kernel made it,
//! and compared with the simulation's one by one.

mod guest;
pub(crate) mod page;
mod runs;
mod simulate;
pub(crate) mod truth;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use slicewise_workload::{Format, Loaded, apply_set, load};

use crate::cache::Cache;
use crate::failure::{Failure, Result};
use crate::{apt, case, qemu};

pub(crate) use simulate::take_wakeups;
pub(crate) use truth::RtCell;

/// How long nothing happens before the load begins: the simulation starts here, and who is not of the
/// case but ran meanwhile is simulated too, so that the fair server and the period of real-time
/// throttling are where they are on the kernel.
const QUIET_MS: u32 = 3_000;

/// One case file.
#[derive(Clone, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct RtCase {
    /// The file's name without its extension.
    #[serde(skip)]
    pub(crate) name: String,
    /// What the case answers.
    pub(crate) question: String,
    /// A Slicewise scenario without `[machine]`, which the lab's load program runs.
    pub(crate) scenario: String,
    /// CPUs of the machine.
    #[serde(default = "one")]
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
    /// Shell lines in the guest before the load starts.
    #[serde(default)]
    pub(crate) before: Vec<String>,
    /// What the simulator is told instead of them: `slicewise run --set`.
    #[serde(default)]
    pub(crate) set: Vec<String>,
}

fn one() -> u32 {
    1
}

fn duration_default() -> u32 {
    1_000
}

fn rounds_default() -> u32 {
    2
}

impl RtCase {
    fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let broken = |message: String| {
            Failure::with_help(
                format!("{}: {message}", path.display()),
                "a case has `question`, `scenario` and the keys of rt.rs",
            )
        };
        let mut case: Self = toml::from_str(&text).map_err(|error| broken(error.to_string()))?;
        case.name = name;
        if case.cpus == 0 || case.cpus > 8 {
            return Err(broken(format!("cpus is {}; allowed: 1 to 8", case.cpus)));
        }
        if case.duration_ms < 10 || case.duration_ms > 60_000 {
            return Err(broken("duration_ms is 10 to 60000".to_owned()));
        }
        if case.rounds == 0 || case.rounds > 20 {
            return Err(broken(format!("rounds is {}; allowed: 1 to 20", case.rounds)));
        }
        case.loaded().map_err(broken)?;
        Ok(case)
    }

    /// The load as Slicewise reads it.
    pub(crate) fn loaded(&self) -> std::result::Result<Loaded, String> {
        let mut loaded = load(&self.scenario, Format::Scenario).map_err(|diagnostics| {
            diagnostics.first().map_or_else(String::new, |first| first.message.clone())
        })?;
        for set in &self.set {
            apply_set(&mut loaded, set).map_err(|message| format!("set {set}: {message}"))?;
        }
        Ok(loaded)
    }

    /// The names of its threads, in the file's order.
    fn threads(&self) -> std::result::Result<Vec<String>, String> {
        Ok(self.loaded()?.workload.tasks.into_iter().map(|task| task.name).collect())
    }

    fn applies_to(&self, series: &str) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|kernel| kernel == series)
    }
}

/// All cases of a directory, or the named ones.
pub(crate) fn select(directory: &Path, named: &[String]) -> Result<Vec<RtCase>> {
    case::files(directory, named)?.iter().map(|path| RtCase::load(path)).collect()
}

/// Runs cases on kernels, or takes what is in the cache, and hands over what the kernel did. Cases that
/// change nothing of the kernel's settings share a boot.
pub(crate) fn on_kernels(
    cache: &Cache,
    cases: &[RtCase],
    kernels: &[&'static str],
    reuse: bool,
    mut work: impl FnMut(&RtCase, RtCell) -> Result<()>,
) -> Result<()> {
    for series in kernels {
        let results = |case: &RtCase| cache.results(&format!("rt-{}", case.name), series);
        let cases: Vec<&RtCase> = cases.iter().filter(|case| case.applies_to(series)).collect();
        let mut boots: BTreeMap<(u32, &[String]), Vec<&RtCase>> = BTreeMap::new();
        for case in &cases {
            if !(reuse && results(case).join("package.txt").is_file()) {
                boots.entry((case.cpus, &case.before)).or_default().push(case);
            }
        }
        for ((cpus, before), together) in boots {
            let kernel = apt::fetch(cache, series)?;
            let round_s = |case: &&RtCase| u64::from(QUIET_MS + case.duration_ms) / 1_000 + 3;
            let rounds = together.iter().map(|case| u64::from(case.rounds) * round_s(case));
            let seconds = rounds.sum::<u64>() + 5;
            let file =
                |case: &&RtCase| (format!("cases/{}.toml", case.name), case.scenario.clone());
            let files: Vec<(String, String)> = together.iter().map(file).collect();
            let script = guest::script(&together, before);
            let all = cache.results("rt-boot", series);
            qemu::run_script(&kernel, &files, &script, cpus, seconds, &all)?;
            for case in together {
                take(&all, &case.name, &results(case))?;
            }
        }
        for case in cases {
            work(case, truth::read(case, series, &results(case))?)?;
        }
    }
    Ok(())
}

/// Moves what came back of one case to its own place.
fn take(all: &Path, case: &str, own: &Path) -> Result<()> {
    let failed = |error: &std::io::Error| Failure::file("move", own, error);
    if own.exists() {
        fs::remove_dir_all(own).map_err(|error| failed(&error))?;
    }
    fs::rename(all.join(case), own).map_err(|error| failed(&error))?;
    for file in ["stdout.txt", "package.txt"] {
        fs::copy(all.join(file), own.join(file)).map_err(|error| failed(&error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_in_the_repository_can_be_read() {
        let cases = select(Path::new(page::CASES), &[]).unwrap();
        assert!(cases.len() >= 20);
        for case in cases {
            assert!(!case.threads().unwrap().is_empty(), "{}", case.name);
        }
    }
}
