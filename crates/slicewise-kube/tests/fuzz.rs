//! Manifests as the containers' fuzzer makes them, run and searched: nothing panics.

#![allow(clippy::unwrap_used, reason = "a test may")]

use slicewise_containers::{Node, Source, docker_run, load};
use slicewise_kube::{Question, Settings, Study, Target};
use slicewise_report::{Style, render_kube};
use slicewise_sched::Profile;

#[path = "../../slicewise-containers/examples/fuzz/mutate.rs"]
#[allow(dead_code, reason = "the reader's own checks are made elsewhere")]
mod mutate;

use mutate::{COMMANDS, MANIFESTS, Random, input};

/// Larger ones only take longer.
const TASKS_MAX: usize = 500;
const GROUPS_MAX: usize = 2_000;

/// Whether something ran.
fn answers(text: &str, is_command: bool, number: u32) -> bool {
    let read = if is_command { docker_run(text) } else { load(&[Source::new("fuzz", text)]) };
    let Ok(manifest) = read else { return false };
    let mut node = Node::new(4);
    node.apply(&manifest.node);
    node.cpus = node.cpus.clamp(1, 64);
    let Ok(study) = Study::new(&manifest, &node) else { return false };
    let workload = &study.mapping().workload;
    if workload.tasks.len() > TASKS_MAX || study.mapping().groups.len() > GROUPS_MAX {
        return false;
    }
    let kernels = ["6.1", "6.6", "6.12", "6.18", "7.2"];
    let settings = Settings {
        profile: Profile::named(kernels[number as usize % kernels.len()]).unwrap(),
        cpus: node.cpus,
        topology: None,
        hz: 250,
        duration_ns: 5_000_000,
        seed: 1,
    };
    let question = Question {
        settings,
        cpus_assumed: false,
        throttled_share_max: 0.01,
        target: Some(Target::Throttled(0.01)),
        quick: number.is_multiple_of(3),
    };
    // A load that takes no time at all, over and over, is an error of the run.
    let Ok((mut report, ())) = study.answer(&question, (), &|_| {}) else { return false };
    let target = Target::Throttled(0.01);
    let rows = study.candidates(&report, &target, None);
    if number.is_multiple_of(10)
        && let Ok(found) = study.suggest(&question, &report, &target, &rows, &|_| {})
    {
        report.suggestions = found;
    }
    assert!(!render_kube(&report, Style { color: true, width: 60 }).is_empty());
    serde_json::to_string(&report).unwrap();
    !workload.tasks.is_empty()
}

fn run(corpus: &[&str], is_command: bool, inputs: u32) {
    let mut random = Random::new(1);
    let ran: u32 = (0..inputs)
        .map(|number| u32::from(answers(&input(&mut random, corpus), is_command, number)))
        .sum();
    assert!(ran > inputs / 100, "only {ran} inputs ran");
}

#[test]
fn no_manifest_makes_the_answers_panic() {
    run(MANIFESTS, false, 600);
}

#[test]
fn no_command_makes_the_answers_panic() {
    run(COMMANDS, true, 600);
}
