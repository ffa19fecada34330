//! Every example of the documentation is a workload.

#![allow(clippy::unwrap_used, reason = "a test may")]

use slicewise_workload::{Format, load, load_in};

fn snippets<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

fn check(name: &str, language: &str, format: Format, least: usize) {
    let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let snippets = snippets(&text, language);
    assert!(snippets.len() >= least, "{path}: {} snippets", snippets.len());
    for snippet in snippets {
        if let Err(problems) = load(snippet, format) {
            panic!("{path}: {problems:#?}\n{snippet}");
        }
    }
}

#[test]
fn every_scenario_in_the_reference_loads() {
    check("scenario.md", "toml", Format::Scenario, 9);
}

#[test]
fn every_scenario_with_groups_in_the_documentation_loads() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let text = std::fs::read_to_string(format!("{root}/docs/cgroups.md")).unwrap();
    let scenarios = snippets(&text, "toml");
    assert!(scenarios.len() >= 2);
    for scenario in scenarios {
        let examples = format!("{root}/examples");
        let loaded = load_in(scenario, Format::Scenario, examples.as_ref());
        assert!(!loaded.unwrap().workload.groups.is_empty(), "{scenario}");
    }
}

#[test]
fn every_scenario_with_a_topology_in_the_documentation_loads() {
    check("topology.md", "toml", Format::Scenario, 1);
}

#[test]
fn every_scenario_about_the_machine_in_the_documentation_loads() {
    check("machine.md", "toml", Format::Scenario, 2);
}

#[test]
fn the_machine_that_the_documentation_shows_is_that_of_the_example() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let text = std::fs::read_to_string(format!("{root}/docs/topology.md")).unwrap();
    let example =
        std::fs::read_to_string(format!("{root}/examples/machines/edge-box.toml")).unwrap();
    let (_, keys) = example.split_once("name = \"edge box\"\n").unwrap();
    assert!(text.contains(keys));
}

#[test]
fn every_rt_app_example_in_the_documentation_loads() {
    check("rt-app.md", "json", Format::RtApp, 2);
}

#[test]
fn every_task_table_in_the_documentation_loads() {
    let path = format!("{}/../../docs/realtime.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let tables = snippets(&text, "toml");
    assert!(!tables.is_empty());
    for table in tables {
        let loaded = slicewise_workload::load_rt(table, Format::Auto);
        assert!(loaded.is_ok_and(|loaded| loaded.set.tasks.len() == 3), "{table}");
    }
}
