//! Cases: a question, an rt-app workload, and what goes with it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;
use slicewise_machine::Op;
use slicewise_workload::{Format, Group, Loaded, apply_set, load};

use crate::failure::{Failure, Result};
use crate::initramfs::LOAD_PROGRAM;

/// What rt-app is told that one turn of its loop takes: right for `-icount shift=1` on one CPU.
const CALIBRATION_NS: u64 = 376;
/// Where rt-app writes its logs: the round's directory.
const LOG_DIRECTORY: &str = ".";
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
    /// The load: the `tasks` (and perhaps `resources`) of an rt-app file; the lab fills in `global`.
    #[serde(default)]
    pub(crate) rtapp: Option<String>,
    /// Or the load: a Slicewise scenario without `[machine]`, which the lab's own load program runs.
    #[serde(default)]
    pub(crate) scenario: Option<String>,
    /// Or the load: a command of the guest, which is not simulated, only shadowed. `threads` says
    /// what its threads are called.
    #[serde(default)]
    pub(crate) command: Option<String>,
    /// See `command`.
    #[serde(default)]
    pub(crate) threads: Vec<String>,
    /// How long the load runs.
    #[serde(default = "duration_default")]
    pub(crate) duration_s: u32,
    /// How much of the beginning is not measured.
    #[serde(default = "warmup_default")]
    pub(crate) warmup_ms: u32,
    /// How often it is run on each kernel, each time after a boot of its own and with the load's start
    /// at another place between two ticks. The figures of all rounds are taken together.
    #[serde(default = "rounds_default")]
    pub(crate) rounds: u32,
    /// CPUs of the machine.
    #[serde(default = "cpus_default")]
    pub(crate) cpus: u32,
    /// Kernels it makes sense on; all if none is named.
    #[serde(default)]
    pub(crate) kernels: Vec<String>,
    /// Shell lines in the guest before the load starts (cgroups, features).
    #[serde(default)]
    pub(crate) before: Vec<String>,
    /// Shell lines in the guest half a second after the load has started (`chrt`, `taskset`); `$LOAD`
    /// is its process.
    #[serde(default)]
    pub(crate) during: Vec<String>,
    /// Shell lines in the guest after the load has ended.
    #[serde(default)]
    pub(crate) after: Vec<String>,
    /// What the simulator is told instead of those lines: `slicewise run --set`.
    #[serde(default)]
    pub(crate) set: Vec<String>,
    /// Tasks with one `run` step are simulated with the CPU time a job took on the real kernel,
    /// rather than with what the file asks for: rt-app's own work and the kernel's come on top.
    #[serde(default)]
    pub(crate) measured_demand: bool,
}

fn duration_default() -> u32 {
    3
}

fn warmup_default() -> u32 {
    500
}

fn cpus_default() -> u32 {
    1
}

fn rounds_default() -> u32 {
    1
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

    pub(crate) fn parse(text: &str, name: &str) -> std::result::Result<Self, String> {
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
        if case.rounds == 0 || case.rounds > 20 {
            return Err(format!("rounds is {}; allowed: 1 to 20", case.rounds));
        }
        let loads = [&case.rtapp, &case.scenario, &case.command];
        if loads.iter().filter(|load| load.is_some()).count() != 1 {
            return Err("a case has one of `rtapp`, `scenario` and `command`".to_owned());
        }
        if case.command.is_some() == case.threads.is_empty() {
            return Err("`threads` goes with `command`: the names of its threads".to_owned());
        }
        if case.command.is_none() {
            case.loaded()?;
        }
        Ok(case)
    }

    /// The load's file as the guest gets it: its name and its text.
    pub(crate) fn file(&self) -> std::result::Result<Option<(String, String)>, String> {
        if let Some(text) = &self.scenario {
            return Ok(Some((format!("{}.toml", self.name), text.clone())));
        }
        let Some(text) = &self.rtapp else { return Ok(None) };
        let workload = rtapp_text(text, self.duration_s)?;
        Ok(Some((format!("{}.json", self.name), workload)))
    }

    /// The shell command that runs the load.
    /// Its file is in `directory`.
    pub(crate) fn command(&self, directory: &str) -> String {
        let name = &self.name;
        match (&self.command, &self.rtapp) {
            (Some(command), _) => command.clone(),
            (None, Some(_)) => format!("rt-app {directory}/{name}.json"),
            (None, None) => {
                format!("{LOAD_PROGRAM} load {directory}/{name}.toml --seconds {}", self.duration_s)
            }
        }
    }

    /// The load as Slicewise reads it, with its `set`; an error for a command.
    pub(crate) fn loaded(&self) -> std::result::Result<Loaded, String> {
        let (_, text) = self.file()?.ok_or("a command is not simulated")?;
        let format = if self.rtapp.is_some() { Format::RtApp } else { Format::Scenario };
        let mut loaded = load(&text, format).map_err(|diagnostics| {
            diagnostics.first().map_or_else(String::new, |first| first.message.clone())
        })?;
        for set in &self.set {
            apply_set(&mut loaded, set).map_err(|message| format!("set {set}: {message}"))?;
        }
        Ok(loaded)
    }

    /// The names of the load's tasks, in the file's order. `hog-0` and `hog-1` belong to `hog`.
    pub(crate) fn groups(&self) -> Vec<String> {
        match self.loaded() {
            Ok(loaded) => loaded.groups.iter().map(|group| group.name.clone()).collect(),
            Err(_) => self.threads.clone(),
        }
    }

    /// The names of the tasks whose programs sleep or wait.
    pub(crate) fn sleepers(&self) -> Vec<String> {
        let Ok(loaded) = self.loaded() else { return self.threads.clone() };
        let workload = &loaded.workload;
        let sleeps = |group: &&Group| {
            let program = workload.tasks[group.first as usize].program;
            workload.programs[program as usize].ops.iter().any(|op| {
                matches!(
                    op,
                    Op::Sleep { .. }
                        | Op::Timer { .. }
                        | Op::Lock(_)
                        | Op::Wait { .. }
                        | Op::Barrier(_)
                        | Op::Suspend
                )
            })
        };
        loaded.groups.iter().filter(sleeps).map(|group| group.name.clone()).collect()
    }

    /// The kernels of the command line that the case is for.
    pub(crate) fn applies_to(&self, series: &str) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|kernel| kernel == series)
    }
}

/// What rt-app runs: the file with the part that is the lab's.
pub(crate) fn rtapp_text(text: &str, duration_s: u32) -> std::result::Result<String, String> {
    let (head, tail) = text.split_once('{').ok_or("rtapp: not a JSON object")?;
    if text.contains("\"global\"") {
        return Err("rtapp: `global` is the lab's: set duration_s, cpus and so on".to_owned());
    }
    let global = json!({
        "duration": duration_s,
        "calibration": CALIBRATION_NS,
        "default_policy": "SCHED_OTHER",
        "lock_pages": false,
        "logdir": LOG_DIRECTORY,
        "log_basename": LOG_BASENAME,
        "log_size": 4,
        "ftrace": false,
        "gnuplot": false
    });
    // As text: a JSON map would lose keys that appear twice, which rt-app allows.
    Ok(format!("{head}{{ \"global\": {global}, {tail}"))
}

/// All case files of a directory, or the named ones: a path, or a name in the directory.
pub(crate) fn files(directory: &Path, named: &[String]) -> Result<Vec<PathBuf>> {
    if named.is_empty() {
        let listing =
            fs::read_dir(directory).map_err(|error| Failure::file("list", directory, &error))?;
        let toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
        let mut paths: Vec<PathBuf> =
            listing.flatten().map(|entry| entry.path()).filter(toml).collect();
        paths.sort();
        return Ok(paths);
    }
    let path = |name: &String| {
        let in_directory = directory.join(format!("{name}.toml"));
        if in_directory.is_file() { in_directory } else { PathBuf::from(name) }
    };
    Ok(named.iter().map(path).collect())
}

/// Those cases.
pub(crate) fn select(directory: &Path, named: &[String]) -> Result<Vec<Case>> {
    files(directory, named)?.iter().map(|path| Case::load(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::Case;

    const TEXT: &str = "question = \"?\"\nrtapp = '{\"tasks\":{\"b\":{\"run\":10}}}'\n";

    #[test]
    fn a_case_gets_its_global_part_from_the_lab() {
        let case = Case::parse(TEXT, "x").unwrap();
        let (name, text) = case.file().unwrap().unwrap();
        assert_eq!(name, "x.json");
        assert!(text.contains("\"duration\":3"));
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
        assert!(cases.len() >= 24);
    }
}
