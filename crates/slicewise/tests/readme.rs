//! What the README and the docs show is what the command prints.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The words of a command line, as a shell takes them apart: what is within quotes is one.
fn words_of(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (part, text) in line.split('"').enumerate() {
        let quoted = part % 2 == 1;
        if quoted {
            words.push(text.to_owned());
        } else {
            words.extend(text.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Runs a command line of a document and returns what it prints.
fn output_of(line: &str) -> String {
    let mut words = words_of(line).into_iter();
    assert_eq!(words.next().as_deref(), Some("slicewise"), "only our own commands: {line}");
    let output = Command::new(env!("CARGO_BIN_EXE_slicewise"))
        .args(words)
        .current_dir(root())
        .env_remove("COLUMNS")
        .output()
        .expect("the command starts");
    // A check may well find something.
    let finds = line.starts_with("slicewise rt ") || line.starts_with("slicewise k8s");
    let fine = output.status.success() || finds && output.status.code() == Some(1);
    assert!(fine, "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is text")
}

/// The document with the output of every `console` block brought up to date.
fn refreshed(text: &str) -> String {
    let mut fresh = String::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
            fresh.push_str(line);
        } else if !in_block {
            fresh.push_str(line);
        } else if let Some(command) = line.strip_prefix("$ ") {
            fresh.push_str(line);
            fresh.push('\n');
            fresh.push_str(output_of(command).trim_end());
        } else {
            continue;
        }
        fresh.push('\n');
    }
    fresh
}

#[test]
fn the_readme_shows_what_the_commands_print() {
    shows_what_is_printed("README.md");
}

#[test]
fn the_real_time_page_shows_what_the_commands_print() {
    shows_what_is_printed("docs/realtime.md");
}

#[test]
fn the_page_on_system_calls_shows_what_the_commands_print() {
    shows_what_is_printed("docs/syscalls.md");
}

#[test]
fn the_page_on_groups_shows_what_the_commands_print() {
    shows_what_is_printed("docs/cgroups.md");
}

#[test]
fn the_page_on_topologies_shows_what_the_commands_print() {
    shows_what_is_printed("docs/topology.md");
}

#[test]
fn the_page_on_kubernetes_shows_what_the_commands_print() {
    shows_what_is_printed("docs/kubernetes.md");
}

#[test]
fn the_page_on_cpusets_shows_what_the_commands_print() {
    shows_what_is_printed("docs/cpusets.md");
}

#[test]
fn the_page_on_placements_shows_what_the_commands_print() {
    shows_what_is_printed("docs/place.md");
}

#[test]
fn the_page_on_traces_shows_what_the_commands_print() {
    shows_what_is_printed("docs/traces.md");
}

#[test]
fn the_page_on_why_and_what_if_shows_what_the_commands_print() {
    shows_what_is_printed("docs/whatif.md");
}

#[test]
fn the_pages_of_scenarios_show_what_the_commands_print() {
    let mut pages = 0;
    for entry in std::fs::read_dir(root().join("docs/scenarios")).expect("there are pages") {
        let name = entry.expect("readable").file_name();
        shows_what_is_printed(&format!("docs/scenarios/{}", name.to_string_lossy()));
        pages += 1;
    }
    assert!(pages >= 5);
}

fn shows_what_is_printed(name: &str) {
    let path = root().join(name);
    let text = std::fs::read_to_string(&path).expect("it is there");
    let fresh = refreshed(&text);
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, &fresh).expect("it can be written");
        return;
    }
    assert!(
        text == fresh,
        "{name} is out of date; UPDATE_README=1 cargo test -p slicewise rewrites it"
    );
}

#[test]
fn every_command_in_an_examples_first_comment_works() {
    let mut commands = 0;
    let list = |folder: &str| std::fs::read_dir(root().join(folder)).expect("there are examples");
    let folders = ["examples", "examples/rt", "examples/k8s", "examples/place"];
    for entry in folders.into_iter().flat_map(list) {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(text.starts_with("# "), "{}: begins with its question", path.display());
        let comment: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(comment.contains('?'), "{}: asks a question", path.display());
        for line in text.lines().filter_map(|line| line.strip_prefix("#     ")) {
            let short = if line.starts_with("slicewise rt ") { "" } else { " --duration 200ms" };
            assert!(!output_of(&format!("{line}{short}")).is_empty());
            commands += 1;
        }
    }
    assert!(commands >= 4);
}
