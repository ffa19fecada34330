//! `slicewise place`: the candidates run, side by side.

use rayon::prelude::*;
use slicewise_place::{
    Focus, Form, Placement, Tasks, emit, figures, focus, order, placements, strip,
};
use slicewise_report::{
    PlaceCandidate, PlaceFigures, PlaceLines, PlaceReport, PlaceRole, render_place,
};
use slicewise_topology::{Machine, format_list};
use slicewise_workload::Loaded;

use crate::args::{EmitArg, PlaceArgs, PlaceFormat};
use crate::failure::Failure;
use crate::jobs::with_jobs;
use crate::output::{print, print_json, stdout_style};
use crate::prepare::{Prepared, override_settings, prepare, read};
use crate::simulate;

const FORMS: [(EmitArg, Form, &str); 4] = [
    (EmitArg::Taskset, Form::Taskset, "taskset"),
    (EmitArg::Numactl, Form::Numactl, "numactl"),
    (EmitArg::Cpuset, Form::Cpuset, "cpuset"),
    (EmitArg::Pod, Form::Pod, "pod"),
];

/// What all candidates have in common.
struct Study {
    loaded: Loaded,
    machine: Machine,
    tasks: Tasks,
    focus: Focus,
    placements: Vec<Placement>,
}

/// `slicewise place`. False if `--check` was asked for and something is better than what is written.
pub(crate) fn place(args: &PlaceArgs) -> Result<bool, Failure> {
    let (name, mut loaded) = read(&args.simulation.file)?;
    let sets: Vec<&str> = args.sets.iter().map(String::as_str).collect();
    let (kernel, seed) = (args.kernel.as_deref(), args.seed.as_deref());
    override_settings(&mut loaded, &args.simulation, kernel, seed, &sets)?;
    let study = study(args, loaded)?;
    let chosen = args.placement.as_deref().map(|name| named(&study, name)).transpose()?;
    // What is written must run; a candidate that cannot is shown as such.
    let prepared: Vec<Result<Prepared, Failure>> =
        study.placements.iter().map(|it| prepared(&study, it, &name)).collect();
    let runs: Vec<Result<PlaceFigures, Failure>> = with_jobs(&args.jobs, || {
        let run = |(at, prepared): (usize, Result<Prepared, Failure>)| {
            let (report, ()) = simulate::report(&prepared?, (), at == 0)?;
            Ok(figures(&report, &study.focus))
        };
        Ok(prepared.into_par_iter().enumerate().with_max_len(1).map(run).collect())
    })?;
    let report = report(args, &study, runs, &name)?;
    let is_written = study.placements.first().is_some_and(|it| it.name == report.best);
    match (args.emit, args.format) {
        (Some(form), _) => {
            let best = study.placements.iter().find(|it| it.name == report.best);
            let placement = chosen.or(best);
            print(&placement.map_or(String::new(), |it| lines(&study, it, form)))?;
        }
        (None, PlaceFormat::Json) => print_json(&report)?,
        (None, PlaceFormat::Text) => print(&render_place(&report, stdout_style()))?,
    }
    Ok(!args.check || is_written)
}

fn study(args: &PlaceArgs, loaded: Loaded) -> Result<Study, Failure> {
    let machine = match &loaded.settings.topology {
        Some(machine) => machine.clone(),
        None => crate::topology::uniform(&loaded)?,
    };
    let gpu_nodes = gpu_nodes(&args.gpu_nodes, &machine)?;
    let tasks = Tasks::of(&loaded, &machine, gpu_nodes.as_deref());
    if gpu_nodes.as_ref().is_some_and(|nodes| nodes.len() != tasks.ranks() as usize) {
        return Err(Failure::with_help(
            format!("--gpu-nodes: {} nodes for {} ranks", args.gpu_nodes.len(), tasks.ranks()),
            "name the node of each rank's GPU, in the order of the ranks",
        ));
    }
    let placements = placements(&loaded, &machine, &tasks);
    let focus = focus(&loaded, &tasks);
    Ok(Study { loaded, machine, tasks, focus, placements })
}

/// Rows of the machine's nodes, by their numbers.
fn gpu_nodes(numbers: &[u32], machine: &Machine) -> Result<Option<Vec<u32>>, Failure> {
    let row = |number: &u32| {
        let row = machine.nodes().iter().position(|node| node.number == *number);
        let has_cpus =
            |row: usize| machine.topology().places().iter().any(|place| place.node as usize == row);
        row.filter(|row| has_cpus(*row)).map(|row| row as u32).ok_or_else(|| {
            let known = format_list(machine.nodes().iter().map(|node| node.number));
            Failure::with_help(
                format!("--gpu-nodes {number}: there is no such node with CPUs"),
                format!("the machine has the nodes {known}"),
            )
        })
    };
    if numbers.is_empty() {
        return Ok(None);
    }
    numbers.iter().map(row).collect::<Result<_, _>>().map(Some)
}

/// The placement of this name; dashes stand for spaces.
fn named<'a>(study: &'a Study, name: &str) -> Result<&'a Placement, Failure> {
    let dashed = |it: &Placement| it.name.replace(' ', "-");
    study.placements.iter().find(|it| dashed(it) == name.replace(' ', "-")).ok_or_else(|| {
        let known: Vec<String> = study.placements.iter().map(dashed).collect();
        Failure::with_help(
            format!("--placement {name}: there is no such placement here"),
            format!("the placements are {}", known.join(", ")),
        )
    })
}

fn prepared(study: &Study, placement: &Placement, name: &str) -> Result<Prepared, Failure> {
    let mut loaded = study.loaded.clone();
    placement.apply(&mut loaded).map_err(Failure::plain)?;
    prepare(name.to_owned(), loaded)
}

fn lines(study: &Study, placement: &Placement, wanted: EmitArg) -> String {
    let form = FORMS.iter().find(|(arg, _, _)| *arg == wanted);
    let form = form.map_or(Form::Taskset, |(_, form, _)| *form);
    emit(form, placement, &study.loaded, &study.machine, &study.tasks)
}

fn report(
    args: &PlaceArgs,
    study: &Study,
    runs: Vec<Result<PlaceFigures, Failure>>,
    name: &str,
) -> Result<PlaceReport, Failure> {
    let mut outcomes: Vec<(Option<PlaceFigures>, Option<String>)> = Vec::new();
    for (at, run) in runs.into_iter().enumerate() {
        match run {
            Ok(figures) => outcomes.push((Some(figures), None)),
            Err(failure) if at == 0 => return Err(failure),
            Err(failure) => outcomes.push((None, Some(failure.brief()))),
        }
    }
    let figures: Vec<Option<PlaceFigures>> = outcomes.iter().map(|it| it.0.clone()).collect();
    let order = order(&figures, &study.focus);
    let candidate = |at: usize, placement: &Placement| PlaceCandidate {
        name: placement.name.to_owned(),
        about: placement.about.to_owned(),
        rank: order.iter().position(|it| *it == at).map_or(0, |rank| rank as u32 + 1),
        masks: placement.masks_named(&study.loaded, &study.machine),
        isolated_cpus: placement.isolated_list(&study.machine),
        strip: strip(&study.loaded, &study.machine, placement, &study.tasks, &study.focus),
        figures: figures[at].clone(),
        refused: outcomes[at].1.clone(),
    };
    let best = &study.placements[order[0]];
    let lines = FORMS.iter().map(|(arg, _, form)| PlaceLines {
        form: (*form).to_owned(),
        text: lines(study, best, *arg),
    });
    // The settings, with what is taken where nothing is said.
    let config = prepared(study, &study.placements[0], name)?.config;
    let mut report = PlaceReport {
        machine: study.machine.name().to_owned(),
        cpus: config.cpus,
        kernel: config.profile.name.to_owned(),
        release: config.profile.release.to_owned(),
        hz: config.hz,
        seed: config.seed,
        simulated_ns: config.duration_ns,
        roles: roles(study),
        focus: study.focus.role.map_or("all", |role| role.name()).to_owned(),
        candidates: study.placements.iter().enumerate().map(|(at, it)| candidate(at, it)).collect(),
        best: best.name.to_owned(),
        lines: lines.collect(),
        notes: notes(args, study),
        verdict: String::new(),
    };
    report.verdict = report.verdict_of();
    Ok(report)
}

fn roles(study: &Study) -> Vec<PlaceRole> {
    let role = |group: &slicewise_workload::Group| {
        let tasks = &study.tasks.tasks[group.first as usize..][..group.count as usize];
        let mut ranks: Vec<u32> = tasks.iter().filter_map(|task| task.rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let row = |rank: &u32| study.tasks.nodes[*rank as usize] as usize;
        let mut nodes: Vec<u32> =
            ranks.iter().map(|rank| study.machine.nodes()[row(rank)].number).collect();
        nodes.sort_unstable();
        nodes.dedup();
        PlaceRole {
            name: group.name.clone(),
            tasks: group.count,
            role: tasks.first().map_or("other", |task| task.role.name()).to_owned(),
            ranks: format_list(ranks),
            nodes: format_list(nodes),
        }
    };
    study.loaded.groups.iter().map(role).collect()
}

fn notes(args: &PlaceArgs, study: &Study) -> Vec<String> {
    let mut notes = Vec::new();
    if study.loaded.settings.topology.is_none() {
        let cpus = study.machine.topology().nr_cpus();
        notes.push(format!(
            "nothing is said of the machine but {cpus} CPUs: they are taken to be alike; \
             --topology or `topology` in [machine] says more"
        ));
    }
    if study.tasks.ranks() > 0 && args.gpu_nodes.is_empty() && study.machine.nodes().len() > 1 {
        notes.push(
            "the GPUs of the ranks are taken to be spread evenly over the nodes; --gpu-nodes says \
             where they are"
                .to_owned(),
        );
    }
    notes
}
