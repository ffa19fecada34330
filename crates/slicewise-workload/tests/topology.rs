//! `[machine] topology` in scenarios.

#![allow(clippy::unwrap_used, reason = "a test may")]

use slicewise_workload::{Diagnostic, Format, Loaded, Severity, apply_set, load, load_in};

const TASK: &str = "[[task]]\nname = \"burn\"\nhog = true\n";

fn loaded(machine: &str) -> Result<Loaded, Vec<Diagnostic>> {
    load(&format!("{machine}\n{TASK}"), Format::Scenario)
}

/// The first message, its help, and the text it is about.
fn refused(machine: &str) -> (String, String, String) {
    let text = format!("{machine}\n{TASK}");
    let diagnostics = load(&text, Format::Scenario).unwrap_err();
    let first = &diagnostics[0];
    let at = text[first.span.clone()].to_owned();
    (first.message.clone(), first.help.clone().unwrap_or_default(), at)
}

#[test]
fn the_topology_says_how_many_cpus_there_are() {
    for machine in [
        "[machine]\ntopology = \"two-socket\"",
        "[machine]\ntopology = \"2s:24c:2t\"",
        "[machine]\ntopology = \"two-socket\"\ncpus = 96",
        "[machine.topology]\nlayout = \"2s:48c\"",
        "[machine.topology]\ncpus = 96\npackages = [\"0-47\", \"48-95\"]",
    ] {
        let settings = loaded(machine).unwrap().settings;
        assert_eq!(settings.cpus, Some(96), "{machine}");
        assert_eq!(settings.topology.unwrap().topology().nr_cpus(), 96, "{machine}");
    }
    assert_eq!(loaded("[machine]\ncpus = 4").unwrap().settings.topology, None);
}

#[test]
fn a_wrong_topology_is_told_at_its_place() {
    for (machine, message, help, at) in [
        (
            "[machine]\ncpus = 4\ntopology = \"two-socket\"",
            "`cpus` is 4, but the topology has 96 CPUs",
            "leave `cpus` out: the topology says how many there are",
            "4",
        ),
        (
            "[machine]\ntopology = \"two-sockets\"",
            "`topology`: there is no machine `two-sockets`",
            "did you mean `two-socket`?",
            "\"two-sockets\"",
        ),
        (
            "[machine]\ntopology = 96",
            "`topology` must be a preset, a layout such as \"2s:24c:2t\", a file, or a table, not a number",
            "",
            "96",
        ),
        (
            "[machine.topology]\ncpus = 8\nllcs = [\"0-3\"]",
            "`llcs`: CPU 4 is in no set",
            "each CPU must be in one",
            "[\"0-3\"]",
        ),
        (
            "[machine.topology]\ncpus = 8\nllc = []",
            "unknown key `llc` in a machine",
            "did you mean `llcs`?",
            "llc",
        ),
    ] {
        let (found, found_help, found_at) = refused(machine);
        assert_eq!((found.as_str(), found_at.as_str()), (message, at), "{machine}");
        assert!(help.is_empty() || found_help == help, "{machine}: {found_help}");
    }
}

#[test]
fn a_topology_may_be_in_a_file_and_its_mistakes_are_shown_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    std::fs::write(&path, "cpus = 8\ncores = [\"0,4\", \"1,5\", \"2,6\", \"3,7\"]\n").unwrap();
    let text = format!("[machine]\ntopology = \"node.toml\"\n{TASK}");
    let read = load_in(&text, Format::Scenario, directory.path()).unwrap();
    let topology = read.settings.topology.unwrap();
    assert_eq!(topology.topology().places()[4].core, topology.topology().places()[0].core);
    std::fs::write(&path, "cpus = 8\ncores = [\"0,9\"]\n").unwrap();
    let rejected = load_in(&text, Format::Scenario, directory.path()).unwrap_err();
    let messages: Vec<(&str, Option<&str>)> = rejected
        .diagnostics
        .iter()
        .map(|found| (found.message.as_str(), rejected.sources.find(found.span.clone()).name))
        .collect();
    assert_eq!(
        messages,
        [
            ("`topology`: `node.toml` describes no machine", None),
            ("`cores`: the machine has no CPU 9", Some("node.toml"))
        ]
    );
    let text = format!("[machine]\ntopology = \"none.toml\"\n{TASK}");
    assert!(load_in(&text, Format::Scenario, directory.path()).is_err());
}

#[test]
fn cpus_that_get_other_numbers_are_warned_of() {
    let read = loaded("[machine.topology]\ncpus = \"0,2\"\noffline = \"1\"").unwrap();
    assert_eq!(read.settings.cpus, Some(2));
    assert_eq!(read.warnings[0].severity, Severity::Warning);
    assert!(read.warnings[0].message.contains("numbered anew"), "{}", read.warnings[0].message);
}

#[test]
fn the_command_line_may_set_another_topology_but_not_other_cpus() {
    let mut read = loaded("[machine]\ncpus = 4").unwrap();
    apply_set(&mut read, "topology=nps4").unwrap();
    assert_eq!(read.settings.cpus, Some(256));
    let refused = apply_set(&mut read, "cpus=8").unwrap_err();
    assert_eq!(refused, "`cpus` cannot be 8: the topology has 256 CPUs");
    let refused = apply_set(&mut read, "topology=nps5").unwrap_err();
    assert_eq!(refused, "there is no machine `nps5`; did you mean `nps4`?");
}
