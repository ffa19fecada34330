//! `slicewise why` and `slicewise whatif` on recordings of the simulated machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const LIMITED: &str = r#"
[machine]
cpus = 2
kernel = "6.12"
duration = "4s"

[[group]]
path = "web"
"cpu.max" = "40000 100000"

[[task]]
name = "worker"
count = 3
group = "web"
periodic = { run = "8ms", period = "40ms" }

[[task]]
name = "batch"
hog = true
"#;

fn slicewise(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slicewise"));
    command.current_dir(dir).args(args).stdin(Stdio::null()).output().expect("it starts")
}

fn json(dir: &Path, args: &[&str]) -> serde_json::Value {
    let output = slicewise(dir, &[args, &["--format", "json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A directory with the recording `t.swtrace` of a scenario.
fn recorded(scenario: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_owned();
    std::fs::write(path.join("s.toml"), scenario).expect("a file");
    let run = slicewise(&path, &["run", "s.toml", "--trace", "t.swtrace"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    (dir, path)
}

#[test]
fn waits_for_a_quota_are_told_from_waits_for_others_and_no_limit_helps() {
    let (_keep, dir) = recorded(LIMITED);
    let limit = ["--recorded", "group/web.cpu.max=40000 100000"];
    let why = json(&dir, &[&["why", "t.swtrace", "group/web"][..], &limit].concat());
    assert_eq!(why["tasks"].as_array().map(Vec::len), Some(3));
    assert_eq!(why["causes"][0]["cause"], "own_quota");
    let share = why["causes"][0]["share"].as_f64().unwrap_or(0.0);
    assert!(share > 0.5, "{share}");
    let parts = why["causes"].as_array().into_iter().flatten();
    let sum: u64 = parts.filter_map(|cause| cause["ns"].as_u64()).sum();
    assert_eq!(why["waited_ns"].as_u64(), Some(sum));
    let best = &why["next"][0];
    assert_eq!(best["what"], "no limit for web");
    assert_eq!(best["helps"], true);
}

#[test]
fn a_replay_under_the_same_conditions_does_what_was_recorded() {
    let (_keep, dir) = recorded(LIMITED);
    let limit = ["--recorded", "group/web.cpu.max=40000 100000"];
    let whatif = json(&dir, &[&["whatif", "t.swtrace"][..], &limit].concat());
    let error = &whatif["replay_error"];
    assert_eq!(error["tasks_close"], error["tasks"], "{error}");
    let tasks = whatif["tasks"].as_array().cloned().unwrap_or_default();
    assert_eq!(tasks.len(), 4);
    for task in tasks {
        let cpu = |which: &str| task[which]["cpu_ns"].as_f64().unwrap_or(0.0);
        // A replay goes on until all that was recorded is done.
        assert!((cpu("before") / cpu("recorded") - 1.0).abs() < 0.01, "{task}");
    }
}

#[test]
fn other_conditions_change_what_they_should() {
    let (_keep, dir) = recorded(LIMITED);
    let limit = ["--recorded", "group/web.cpu.max=40000 100000"];
    let without = ["--set", "group/web.cpu.max=max", "--task", "worker*"];
    let args = [&["whatif", "t.swtrace"][..], &limit, &without].concat();
    let whatif = json(&dir, &args);
    assert_eq!(whatif["changes"][0], "group/web.cpu.max=max");
    let worker = &whatif["tasks"][0];
    let waited = |which: &str| worker[which]["waited_ns"].as_u64().unwrap_or(0);
    assert!(waited("after") * 2 < waited("before"), "{worker}");
}

#[test]
fn the_same_recording_has_the_same_answer() {
    let (_keep, dir) = recorded(LIMITED);
    let ask = |jobs: &str| {
        slicewise(&dir, &["why", "t.swtrace", "worker*", "--jobs", jobs, "--format", "json"]).stdout
    };
    assert_eq!(ask("1"), ask("2"));
}

#[test]
fn what_cannot_be_answered_says_why_and_what_to_write() {
    let (_keep, dir) = recorded(LIMITED);
    for (args, says) in [
        (vec!["why", "t.swtrace", "nobody"], "those that waited most are"),
        (vec!["why", "t.swtrace", "pid:x"], "write pid:812, tid:812 or a name"),
        (vec!["why", "nowhere", "x"], "cannot read nowhere"),
        (vec!["whatif", "t.swtrace", "--kernel", "5.4"], "there is no profile for kernel `5.4`"),
        (vec!["whatif", "t.swtrace", "--cpus", "0"], "`cpus` cannot be 0"),
        (vec!["whatif", "t.swtrace", "--set", "task/batch.nic=1"], "did you mean `nice`?"),
        (vec!["whatif", "t.swtrace", "--set", "task/bach.nice=1"], "did you mean `batch`?"),
        (vec!["whatif", "t.swtrace", "--group", "web"], "PATH=TASKS"),
        (vec!["whatif", "t.swtrace", "--time", "9,"], "no switches or wakeups in that stretch"),
        (vec!["whatif", "t.swtrace", "--task", "nobody"], "no task of the trace is meant"),
    ] {
        let output = slicewise(&dir, &args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
}
