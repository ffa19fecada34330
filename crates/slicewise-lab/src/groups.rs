//! Cases with cgroups: what each group got, what its files said, on a kernel and in Slicewise.
//!
//! No trace is taken: the kernel's own counters are compared. Each group's load is a process of its
//! own in the guest. The files of all groups are read at two moments; figures are the differences.

pub(crate) mod figures;
mod guest;
pub(crate) mod page;
mod simulate;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use slicewise_workload::{Format, Loaded, load_with};

use crate::cache::Cache;
use crate::case::rtapp_text;
use crate::failure::{Failure, Result};
use crate::{apt, case, qemu};

pub(crate) use figures::{Cell, Figures};
pub(crate) use simulate::run as simulate;

/// Between the load's start and its end nothing is cut off.
const MARGIN_S: u32 = 4;

/// One case file.
#[derive(Clone, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupCase {
    /// The file's name without its extension.
    #[serde(skip)]
    pub(crate) name: String,
    /// What the case answers.
    pub(crate) question: String,
    /// A Slicewise scenario without `[machine]`, with groups. Tasks are in groups without groups in
    /// them, as cgroup v2 wants it.
    pub(crate) scenario: String,
    /// The rt-app files it names, without `global`.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// CPUs of the machine.
    #[serde(default = "one")]
    pub(crate) cpus: u32,
    /// How much of the beginning is not measured.
    #[serde(default = "warmup_default")]
    pub(crate) warmup_ms: u32,
    /// How long is measured: 60 periods of 100 ms, if nothing else is said.
    #[serde(default = "measured_default")]
    pub(crate) measured_ms: u32,
    /// Kernels it makes sense on; all if none is named.
    #[serde(default)]
    pub(crate) kernels: Vec<String>,
}

fn one() -> u32 {
    1
}

fn warmup_default() -> u32 {
    2_000
}

fn measured_default() -> u32 {
    6_000
}

/// A cgroup of a case: its path, and what is written to its files, in the order of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GroupFiles {
    pub(crate) path: String,
    pub(crate) writes: Vec<(String, String)>,
    /// The rt-app file that runs in it.
    pub(crate) workload: Option<String>,
}

impl GroupCase {
    fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let broken = |message: String| {
            Failure::with_help(
                format!("{}: {message}", path.display()),
                "a case has `question`, `scenario` and the keys of groups.rs",
            )
        };
        let mut case: Self = toml::from_str(&text).map_err(|error| broken(error.to_string()))?;
        case.name = name;
        if case.cpus == 0 || case.cpus > 8 {
            return Err(broken(format!("cpus is {}; allowed: 1 to 8", case.cpus)));
        }
        if case.measured_ms < 100 || case.measured_ms > 60_000 || case.warmup_ms > 60_000 {
            return Err(broken("measured_ms is 100 to 60000, warmup_ms up to that".to_owned()));
        }
        case.loaded().map_err(broken)?;
        Ok(case)
    }

    /// How long the load runs.
    pub(crate) fn duration_s(&self) -> u32 {
        (self.warmup_ms + self.measured_ms).div_ceil(1000) + MARGIN_S
    }

    /// The text of a file the scenario names.
    pub(crate) fn file(&self, name: &str) -> std::result::Result<String, String> {
        let text = self.files.get(name).ok_or_else(|| format!("no `{name}` in [files]"))?;
        rtapp_text(text, self.duration_s())
    }

    /// The load as Slicewise reads it.
    pub(crate) fn loaded(&self) -> std::result::Result<Loaded, String> {
        load_with(&self.scenario, Format::Scenario, &mut |name| self.file(name)).map_err(
            |rejected| {
                rejected.diagnostics.first().map_or_else(String::new, |first| first.message.clone())
            },
        )
    }

    /// The cgroups as they are made in the guest: parents first.
    pub(crate) fn cgroups(&self) -> std::result::Result<Vec<GroupFiles>, String> {
        let scenario: toml::Table =
            toml::from_str(&self.scenario).map_err(|error| error.to_string())?;
        let mut by_path: BTreeMap<String, GroupFiles> = BTreeMap::new();
        for group in self.loaded()?.workload.groups {
            let files = GroupFiles { path: group.path.clone(), writes: Vec::new(), workload: None };
            by_path.insert(group.path, files);
        }
        let tables = scenario.get("group").and_then(toml::Value::as_array).into_iter().flatten();
        for table in tables.filter_map(toml::Value::as_table) {
            let path = table.get("path").and_then(toml::Value::as_str).unwrap_or("");
            let Some(group) = by_path.get_mut(path) else { continue };
            for (key, value) in table {
                let text = match value {
                    toml::Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                if key.starts_with("cpu.") {
                    group.writes.push((key.clone(), text));
                } else if key == "workload" {
                    group.workload = Some(text);
                } else if key != "path" {
                    return Err(format!("`{key}` of a group cannot be set in the guest"));
                }
            }
            // A burst is checked against the quota that is there.
            group.writes.sort();
        }
        Ok(by_path.into_values().collect())
    }

    fn applies_to(&self, series: &str) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|kernel| kernel == series)
    }
}

/// All cases of a directory, or the named ones.
pub(crate) fn select(directory: &Path, named: &[String]) -> Result<Vec<GroupCase>> {
    case::files(directory, named)?.iter().map(|path| GroupCase::load(path)).collect()
}

/// Runs cases on kernels, or takes what is in the cache, and hands over what the kernel counted.
pub(crate) fn on_kernels(
    cache: &Cache,
    cases: &[GroupCase],
    kernels: &[&'static str],
    reuse: bool,
    mut work: impl FnMut(&GroupCase, Cell) -> Result<()>,
) -> Result<()> {
    for series in kernels {
        for case in cases.iter().filter(|case| case.applies_to(series)) {
            let results = cache.results(&format!("groups-{}", case.name), series);
            let broken = |message: String| {
                Failure::new(format!("case {} on {series}: {message}", case.name))
            };
            if !(reuse && results.join("package.txt").is_file()) {
                let files = guest::files(case).map_err(broken)?;
                let script = guest::script(case).map_err(broken)?;
                let kernel = apt::fetch(cache, series)?;
                let seconds = u64::from(case.duration_s()) + 8;
                qemu::run_script(&kernel, &files, &script, case.cpus, seconds, &results)?;
            }
            work(case, figures::read(case, series, &results)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_in_the_repository_can_be_read_and_made_in_a_guest() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases-groups");
        let cases = select(&directory, &[]).unwrap();
        assert!(cases.len() >= 10);
        for case in cases {
            let groups = case.cgroups().unwrap();
            assert!(!groups.is_empty(), "{}", case.name);
            guest::script(&case).unwrap();
        }
    }
}
