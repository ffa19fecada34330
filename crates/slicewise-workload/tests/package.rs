//! The files that come with rt-app, where its package is installed.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::path::{Path, PathBuf};

use slicewise_workload::{LoadFileError, Severity, load_file};

const PACKAGE: &str = "/usr/share/doc/rt-app";

/// Files that are no workload for rt-app 1.0 either, and what the error says.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("taskset.json", "of rt-app before 1.0"),
    ("merge/global.json", "no `tasks`"),
    ("merge/resources.json", "no `tasks`"),
    ("merge/thread0.json", "of rt-app before 1.0"),
    ("merge/thread1.json", "of rt-app before 1.0"),
    ("merge/thread2.json", "of rt-app before 1.0"),
    ("merge/thread3.json", "of rt-app before 1.0"),
];

fn json_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            json_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

#[test]
fn every_example_of_the_package_loads_but_for_the_named_exceptions() {
    if !Path::new(PACKAGE).is_dir() {
        return;
    }
    let mut files = Vec::new();
    json_files(Path::new(PACKAGE), &mut files);
    files.sort();
    assert!(files.len() >= 20, "{files:?}");
    for path in files {
        let exception = EXCEPTIONS.iter().find(|(name, _)| path.ends_with(name));
        match (load_file(&path), exception) {
            (Ok(loaded), None) => assert!(!loaded.workload.tasks.is_empty(), "{path:?}"),
            (Err(LoadFileError::Invalid { diagnostics, .. }), Some((_, message))) => {
                let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error);
                let messages: Vec<&str> = errors.map(|d| d.message.as_str()).collect();
                assert!(messages.iter().any(|m| m.contains(message)), "{path:?}: {messages:?}");
            }
            (result, exception) => panic!("{path:?}: {result:#?}, exception: {exception:?}"),
        }
    }
}
