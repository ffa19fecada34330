//! Cases: a question, an rt-app workload, and what goes with it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Result};

/// What rt-app is told that one turn of its loop takes: right for `-icount shift=1` on one CPU.
const CALIBRATION_NS: u64 = 376;
/// Where rt-app writes its logs in the guest.
const LOG_DIRECTORY: &str = "/out";
const LOG_BASENAME: &str = "rt";

/// One case file.
#[derive(Clone, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The file's name without its extension.
    #[serde(skip)]
    pub(crate) name: String,
    /// What the case answers.
    pub(crate) question: String,
    /// The `tasks` (and perhaps `resources`) of an rt-app file; the lab fills in `global`.
    pub(crate) rtapp: String,
    /// How long the workload runs.
    #[serde(default = "duration_default")]
    pub(crate) duration_s: u32,
    /// How much of the beginning is not measured.
    #[serde(default = "warmup_default")]
    pub(crate) warmup_ms: u32,
    /// CPUs of the machine.
    #[serde(default = "cpus_default")]
    pub(crate) cpus: u32,
    /// Kernels it makes sense on; all if none is named.
    #[serde(default)]
    pub(crate) kernels: Vec<String>,
    /// Shell lines in the guest before rt-app starts (cgroups, features).
    #[serde(default)]
    pub(crate) before: Vec<String>,
    /// Shell lines in the guest half a second after rt-app has started (`chrt`, `taskset`); `$RTAPP`
    /// is its process.
    #[serde(default)]
    pub(crate) during: Vec<String>,
    /// What the simulator is told instead of those lines: `slicewise run --set`.
    #[serde(default)]
    pub(crate) set: Vec<String>,
    /// Simulated runs. Above 1, endless tasks start at different times up to `spread_us`, ticks come
    /// at different times, and the figures are of all runs together: where nobody sleeps, what the
    /// start has put between tasks stays for ever, and a real kernel's start is not ours.
    #[serde(default = "runs_default")]
    pub(crate) runs: u32,
    /// See `runs`.
    #[serde(default = "spread_default")]
    pub(crate) spread_us: u32,
    /// Periodic tasks are simulated with the CPU time a job took on the real kernel, rather than
    /// with what the file asks for: rt-app's own work and the kernel's come on top.
    #[serde(default)]
    pub(crate) measured_demand: bool,
}

fn duration_default() -> u32 {
    10
}

fn warmup_default() -> u32 {
    1000
}

fn cpus_default() -> u32 {
    1
}

fn runs_default() -> u32 {
    1
}

fn spread_default() -> u32 {
    3000
}

impl Case {
    /// Reads a case file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(&text, &name).map_err(|message| {
            Failure::with_help(
                format!("{}: {message}", path.display()),
                "a case has `question`, `rtapp` and the keys of case.rs",
            )
        })
    }

    fn parse(text: &str, name: &str) -> std::result::Result<Self, String> {
        let mut case: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        name.clone_into(&mut case.name);
        if case.duration_s == 0 || case.duration_s > 600 {
            return Err(format!("duration_s is {}; allowed: 1 to 600", case.duration_s));
        }
        // The trace ends 300 ms before rt-app does.
        if case.warmup_ms + 500 >= case.duration_s * 1000 {
            return Err(format!("warmup_ms is {}: nothing would be measured", case.warmup_ms));
        }
        if case.cpus == 0 || case.cpus > 8 {
            return Err(format!("cpus is {}; allowed: 1 to 8", case.cpus));
        }
        if case.runs == 0 || case.runs > 1000 {
            return Err(format!("runs is {}; allowed: 1 to 1000", case.runs));
        }
        let groups = case.workload()?;
        if groups.get("tasks").and_then(Value::as_object).is_none_or(Map::is_empty) {
            return Err("`rtapp` has no `tasks`".to_owned());
        }
        Ok(case)
    }

    /// The rt-app file as the lab runs it.
    pub(crate) fn workload(&self) -> std::result::Result<Value, String> {
        let mut workload: Value =
            serde_json::from_str(&self.rtapp).map_err(|error| format!("rtapp: {error}"))?;
        let object = workload.as_object_mut().ok_or("rtapp: not an object")?;
        if object.contains_key("global") {
            return Err("rtapp: `global` is the lab's: set duration_s, cpus and so on".to_owned());
        }
        object.insert(
            "global".to_owned(),
            json!({
                "duration": self.duration_s,
                "calibration": CALIBRATION_NS,
                "default_policy": "SCHED_OTHER",
                "lock_pages": false,
                "logdir": LOG_DIRECTORY,
                "log_basename": LOG_BASENAME,
                "log_size": 4,
                "ftrace": false,
                "gnuplot": false
            }),
        );
        Ok(workload)
    }

    /// The names of the tasks, in the file's order (serde_json keeps them sorted).
    pub(crate) fn groups(&self) -> Vec<String> {
        let Ok(workload) = self.workload() else { return Vec::new() };
        let tasks = workload.get("tasks").and_then(Value::as_object);
        tasks.map(|tasks| tasks.keys().cloned().collect()).unwrap_or_default()
    }

    /// The kernels of the command line that the case is for.
    pub(crate) fn applies_to(&self, series: &str) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|kernel| kernel == series)
    }
}

/// All case files of a directory, or the named ones: a path, or a name in the directory.
pub(crate) fn select(directory: &Path, named: &[String]) -> Result<Vec<Case>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    if named.is_empty() {
        let listing =
            fs::read_dir(directory).map_err(|error| Failure::file("list", directory, &error))?;
        paths.extend(
            listing
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "toml")),
        );
        paths.sort();
    }
    for name in named {
        let in_directory = directory.join(format!("{name}.toml"));
        paths.push(if in_directory.is_file() { in_directory } else { PathBuf::from(name) });
    }
    paths.iter().map(|path| Case::load(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::Case;

    const TEXT: &str = "question = \"?\"\nrtapp = '{\"tasks\":{\"b\":{\"run\":10}}}'\n";

    #[test]
    fn a_case_gets_its_global_part_from_the_lab() {
        let case = Case::parse(TEXT, "x").unwrap();
        let workload = case.workload().unwrap();
        assert_eq!(workload["global"]["duration"], 10);
        assert_eq!(case.groups(), ["b"]);
        assert!(case.applies_to("6.1"));
    }

    #[test]
    fn what_is_wrong_with_a_case_is_named() {
        let of = |more: &str| Case::parse(&format!("{TEXT}{more}"), "x").unwrap_err();
        assert!(of("durationn = 3").contains("durationn"));
        assert_eq!(of("duration_s = 0"), "duration_s is 0; allowed: 1 to 600");
        assert!(of("duration_s = 1").contains("nothing would be measured"));
        let text = "question = \"?\"\nrtapp = '{\"global\":{},\"tasks\":{}}'\n";
        assert!(Case::parse(text, "x").unwrap_err().contains("`global` is the lab's"));
    }

    #[test]
    fn every_case_in_the_repository_can_be_read() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let cases = super::select(&directory, &[]).unwrap();
        assert!(cases.len() >= 6);
    }
}
