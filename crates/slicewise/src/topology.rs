//! `slicewise topology`: machines, drawn.

use std::path::Path;

use slicewise_report::{TaskPlaces, TopologyReport, render_topology, topology_svg};
use slicewise_sched::CpuSet;
use slicewise_topology::{Machine, PRESETS, Problem, SourceError, find, host, to_toml};
use slicewise_workload::{Diagnostic, Loaded, Sources};

use crate::args::{TopologyArgs, TopologyFormat};
use crate::failure::Failure;
use crate::kubelet_state;
use crate::output::{WholeFile, print, print_json, stdout_style};
use crate::prepare::read;

/// The word that asks for a list, not for a machine.
const LIST: &str = "list";
/// Kinds of tasks that are shown; more are no drawing.
const PLACES_MAX: usize = 500;

/// `slicewise topology`. True if there are no findings.
pub(crate) fn topology(args: &TopologyArgs) -> Result<bool, Failure> {
    if args.machine.as_deref() == Some(LIST) && args.scenario.is_none() {
        return list(args.format).map(|()| true);
    }
    let (machine, mut tasks) = machine_and_tasks(args)?;
    let mut findings = Vec::new();
    if let Some(path) = &args.cpu_manager_state {
        let (containers, odd) = kubelet_state::read(path, &machine)?;
        tasks.extend(containers);
        findings = odd;
    }
    if let Some(path) = &args.save {
        save(&machine, path, args.machine.as_deref())?;
    }
    match args.format {
        TopologyFormat::Text => {
            print(&render_topology(&machine, &tasks, &findings, stdout_style()))?;
        }
        TopologyFormat::Json => print_json(&TopologyReport::new(&machine, &tasks, &findings))?,
        TopologyFormat::Svg => print(&topology_svg(&machine, &tasks))?,
    }
    Ok(findings.is_empty())
}

/// The presets.
fn list(format: TopologyFormat) -> Result<(), Failure> {
    match format {
        TopologyFormat::Text => {
            let columns = PRESETS.iter().map(|preset| preset.name.len()).max().unwrap_or(0);
            let line = |preset: &slicewise_topology::Preset| {
                format!("{:columns$}  {}\n", preset.name, preset.about)
            };
            print(&PRESETS.iter().map(line).collect::<String>())
        }
        TopologyFormat::Json => {
            let preset = |preset: &slicewise_topology::Preset| {
                let cpus = preset.machine().topology().nr_cpus();
                serde_json::json!({ "name": preset.name, "about": preset.about, "cpus": cpus })
            };
            print_json(&PRESETS.iter().map(preset).collect::<Vec<_>>())
        }
        TopologyFormat::Svg => {
            Err(Failure::with_help("a list is no drawing", "take --format text or json"))
        }
    }
}

/// The machine that is named, or the scenario's; and the scenario's tasks.
fn machine_and_tasks(args: &TopologyArgs) -> Result<(Machine, Vec<TaskPlaces>), Failure> {
    // A scenario alone brings its machine with it.
    let (word, scenario) = match (&args.machine, &args.scenario) {
        (Some(word), None) if !args.host && is_scenario(Path::new(word)) => {
            (None, Some(Path::new(word)))
        }
        (word, scenario) => (word.as_deref(), scenario.as_deref()),
    };
    if args.host && word.is_some() && scenario.is_none() {
        // With --host, the only name is that of a scenario.
        return with_scenario(Some(this_machine()?), word.map(Path::new));
    }
    let machine = match (args.host, word) {
        (true, Some(_)) => {
            let help = "--host is a machine, too: give one of them, and a scenario";
            return Err(Failure::with_help("there are two machines", help));
        }
        (true, None) => Some(this_machine()?),
        (false, Some(word)) => Some(machine(word)?),
        (false, None) => None,
    };
    with_scenario(machine, scenario)
}

fn with_scenario(
    machine: Option<Machine>,
    scenario: Option<&Path>,
) -> Result<(Machine, Vec<TaskPlaces>), Failure> {
    let Some(path) = scenario else {
        let machine = machine.ok_or_else(|| {
            let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
            let help = format!(
                "name one of {}, a layout such as 2s:24c:2t, a file, or --host",
                names.join(", ")
            );
            Failure::with_help("which machine?", help)
        })?;
        return Ok((machine, Vec::new()));
    };
    let (name, loaded) = read(path)?;
    let machine = match machine.or_else(|| loaded.settings.topology.clone()) {
        Some(machine) => machine,
        None => uniform(&loaded)?,
    };
    let cpus = machine.topology().nr_cpus();
    let tasks = places(&loaded)?;
    let beyond = |set: &CpuSet| match set {
        CpuSet::All => false,
        set => set.count_within(slicewise_sched::CPUS_MAX) > set.count_within(cpus),
    };
    if let Some(tasks) = tasks.iter().find(|tasks| beyond(&tasks.cpus)) {
        let message = format!(
            "{name}: task `{}` may run on CPUs {}, but {} has CPUs 0 to {}",
            tasks.name,
            tasks.cpus,
            machine.name(),
            cpus - 1
        );
        return Err(Failure::with_help(message, "draw it on a larger machine"));
    }
    Ok((machine, tasks))
}

/// The machine of a scenario that says no more than how many CPUs there are.
pub(crate) fn uniform(loaded: &Loaded) -> Result<Machine, Failure> {
    let cpus = crate::prepare::cpus_of(loaded);
    let machine = slicewise_topology::layout(&format!("{cpus}c"));
    machine
        .map(|machine| machine.with_name("the scenario's machine"))
        .map_err(|problem| Failure::plain(problem.message))
}

/// Tasks by their descriptions in the file, and by where they may run.
fn places(loaded: &Loaded) -> Result<Vec<TaskPlaces>, Failure> {
    let mut places: Vec<TaskPlaces> = Vec::new();
    for group in &loaded.groups {
        let first = places.len();
        for task in &loaded.workload.tasks[group.first as usize..][..group.count as usize] {
            match places[first..].iter_mut().find(|known| known.cpus == task.affinity) {
                Some(known) => known.tasks += 1,
                None => {
                    let (name, cpus) = (group.name.clone(), task.affinity.clone());
                    places.push(TaskPlaces { name, tasks: 1, cpus });
                }
            }
            if places.len() > PLACES_MAX {
                let message = format!("tasks have more than {PLACES_MAX} different sets of CPUs");
                return Err(Failure::with_help(message, "draw the machine without them"));
            }
        }
    }
    Ok(places)
}

/// Whether a file is a scenario, as far as its text shows: it has tasks or groups.
fn is_scenario(path: &Path) -> bool {
    if path.extension().is_none_or(|extension| extension != "toml") {
        return false;
    }
    let text = slicewise_workload::read_text(
        match std::fs::File::open(path) {
            Ok(file) => file,
            Err(_) => return false,
        },
        "",
    );
    let table = |line: &str| line.starts_with("[[task]]") || line.starts_with("[[group]]");
    text.is_ok_and(|text| text.lines().any(table))
}

/// The machine that a user names.
pub(crate) fn machine(word: &str) -> Result<Machine, Failure> {
    find(word, Path::new("")).map_err(|error| failure(error, word))
}

fn this_machine() -> Result<Machine, Failure> {
    host().map_err(|error| failure(error, "/sys/devices/system"))
}

fn failure(error: SourceError, word: &str) -> Failure {
    let diagnostic = |problem: Problem| Diagnostic {
        severity: problem.severity,
        message: problem.message,
        span: problem.span,
        help: problem.help,
    };
    let plain = |problem: Problem| match problem.help {
        Some(help) => Failure::with_help(problem.message, help),
        None => Failure::plain(problem.message),
    };
    match error {
        SourceError::Name(problem) => plain(problem),
        SourceError::Read(message) => Failure::plain(message),
        SourceError::Invalid { text, mut problems } if text.is_empty() && problems.len() == 1 => {
            let problem = problems.remove(0);
            plain(Problem { message: format!("{word}: {}", problem.message), ..problem })
        }
        SourceError::Invalid { text, problems } => Failure::Input {
            name: word.to_owned(),
            sources: Sources::new(text),
            diagnostics: problems.into_iter().map(diagnostic).collect(),
        },
        other => Failure::plain(format!("{word}: {other:?}")),
    }
}

/// Writes the machine to a file that reads back the same.
fn save(machine: &Machine, path: &Path, input: Option<&str>) -> Result<(), Failure> {
    use std::io::Write as _;
    let input = input.map_or(Path::new(""), Path::new);
    let (whole, mut file) = WholeFile::create(path, input)?;
    file.write_all(to_toml(machine).as_bytes())
        .map_err(|error| Failure::Output(error, path.display().to_string()))?;
    whole.commit(&file)
}
