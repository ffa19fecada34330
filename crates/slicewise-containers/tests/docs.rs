//! Every example of the documentation is read, and makes a tree.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{read, shown};
use slicewise_containers::{Node, docker_run, tree};

fn snippets<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

fn page() -> String {
    let path = format!("{}/../../docs/kubernetes.md", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_manifest_in_the_documentation_is_read() {
    let page = page();
    let snippets = snippets(&page, "yaml");
    assert!(snippets.len() >= 4, "{}", snippets.len());
    for snippet in snippets {
        assert!(!shown(snippet, &Node::new(8)).is_empty(), "{snippet}");
    }
}

#[test]
fn every_command_in_the_documentation_is_read() {
    let page = page();
    let snippets = snippets(&page, "sh");
    assert!(!snippets.is_empty());
    for snippet in snippets {
        let manifest = docker_run(snippet).unwrap();
        assert_eq!(manifest.warnings, []);
        tree(&manifest, &Node::new(8)).unwrap();
    }
}

#[test]
fn every_example_file_is_read() {
    let directory = format!("{}/../../examples/k8s", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let manifest = read(&text);
        assert!(manifest.workloads.iter().all(|it| it.pod.running().all(|c| c.load.is_some())));
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn the_table_of_the_documentation_is_what_is_computed() {
    use slicewise_containers::{WeightFormula, quota_of_milli, shares_of_milli};
    let page = page();
    let row = |line: &&str| line.starts_with("| `") && line.contains("m` |");
    let mut rows = 0;
    for line in page.lines().filter(row) {
        let cells: Vec<&str> = line.split('|').map(|it| it.trim().trim_matches('`')).collect();
        let milli: u64 = cells[1].trim_end_matches('m').parse().unwrap();
        let shares = shares_of_milli(milli);
        let quota = quota_of_milli(milli, 100_000).map_or("none".to_owned(), |it| it.to_string());
        let expected = [
            shares.to_string(),
            WeightFormula::Linear.weight(shares).to_string(),
            WeightFormula::Curved.weight(shares).to_string(),
            quota,
        ];
        assert_eq!(&cells[2..6], &expected, "{line}");
        rows += 1;
    }
    assert!(rows >= 8, "{rows}");
}
