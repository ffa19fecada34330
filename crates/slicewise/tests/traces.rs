//! `slicewise latency` and `timehist` beside `perf sched` on a recording made here and now.

#![allow(clippy::print_stderr, reason = "a test that cannot be done says so")]

use std::path::Path;
use std::process::{Command, Stdio};

fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Of the perf whose layout and rules are known.
fn perf_is_known() -> bool {
    let version = output(Command::new("perf").arg("--version")).unwrap_or_default();
    let known = version.starts_with("perf version 6.1.");
    if !known {
        eprintln!("SKIPPED: perf 6.1 is not installed");
    }
    known
}

/// Records some switching; `None` where that is not allowed.
fn record(path: &Path, options: &[&str]) -> Option<()> {
    let events = "sched:sched_switch,sched:sched_wakeup,sched:sched_wakeup_new,\
                  sched:sched_stat_runtime,sched:sched_migrate_task,sched:sched_process_fork";
    let mut perf = Command::new("perf");
    perf.args(options).arg("-o").arg(path);
    if options.first() == Some(&"record") {
        perf.args(["-a", "-c", "1", "-e", events]);
    }
    let load = "for i in 1 2 3 4 5 6 7 8; do sleep 0.01 & done; wait";
    let recorded = output(perf.args(["--", "sh", "-c", load]).stderr(Stdio::null()));
    if recorded.is_none() {
        eprintln!("SKIPPED: perf may not record here");
    }
    recorded.map(|_| ())
}

#[test]
fn every_line_is_that_of_perf_sched_on_the_same_file() {
    if !perf_is_known() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    // As `perf sched record` does it, with wakeups of the other kind, and compressed.
    let ways: [&[&str]; 3] = [&["sched", "record"], &["record"], &["sched", "record", "-z"]];
    for (number, way) in ways.into_iter().enumerate() {
        let path = dir.path().join(format!("{number}.data"));
        if record(&path, way).is_none() {
            continue;
        }
        for view in [
            "latency",
            "latency -p",
            "latency -s max,switch",
            "timehist",
            "timehist -wMn --state",
            "timehist -V",
            "timehist -S",
            "map",
            "map --compact",
        ] {
            let words: Vec<&str> = view.split(' ').collect();
            let theirs =
                output(Command::new("perf").arg("sched").args(&words).arg("-i").arg(&path));
            let mut ours = Command::new(env!("CARGO_BIN_EXE_slicewise"));
            let ours = output(ours.args(&words).args(["--as-perf", "6.1"]).arg(&path));
            let (ours, theirs) = (ours.expect("it prints"), theirs.expect("perf prints"));
            assert!(theirs.lines().count() > 5, "{view}: perf printed nothing: {theirs}");
            let (mut ours, mut theirs): (Vec<&str>, Vec<&str>) =
                (ours.lines().collect(), theirs.lines().collect());
            if view == "latency -p" {
                // perf orders tasks of one number and equal figures by where they are in its memory.
                ours.sort_unstable();
                theirs.sort_unstable();
            }
            for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                assert_eq!(ours, theirs, "{view}, {way:?}, line {number}");
            }
            assert_eq!(ours.len(), theirs.len(), "{view}, {way:?}");
        }
    }
}

#[test]
fn what_is_no_trace_is_refused() {
    let slicewise = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slicewise"));
        let output = command.args(args).stdin(Stdio::null()).output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("short.data");
    std::fs::write(&path, b"PERFILE2\x68\0").expect("a file");
    let path = path.to_str().expect("UTF-8");
    for (args, says) in [
        (vec!["latency", "nowhere.data"], "cannot read nowhere.data"),
        (vec!["latency", path], "but the file ends at byte 10"),
        (vec!["latency", path, "--sort", "age"], "the keys are avg, max, switch, runtime"),
        (vec!["timehist", path, "--time", "1s"], "ends at byte 10"),
        (vec!["timehist", path, "--as-perf", "7"], "invalid value '7'"),
        (vec!["runqlat", "-"], "standard input: no trace that is read here"),
    ] {
        let (code, text) = slicewise(&args);
        assert_eq!(code, Some(2), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
}

#[test]
fn a_simulated_trace_is_looked_at_like_a_recorded_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let trace = dir.path().join("t.swtrace");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let slicewise = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slicewise"));
        command.current_dir(&root);
        command
    };
    let run = ["run", "examples/nice-levels.toml", "--duration", "2s", "--format", "json"];
    let run = output(slicewise().args(run).arg("--trace").arg(&trace)).expect("it runs");
    let run: serde_json::Value = serde_json::from_str(&run).expect("JSON");
    let args = ["latency", "--format", "json"];
    let seen = output(slicewise().args(args).arg(&trace)).expect("it reads");
    let seen: serde_json::Value = serde_json::from_str(&seen).expect("JSON");
    let empty = Vec::new();
    let tasks = run["tasks"].as_array().unwrap_or(&empty);
    assert!(!tasks.is_empty());
    for task in tasks {
        let row = seen["rows"]
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["comm"] == task["name"]));
        let row = row.expect("a row for each task");
        assert_eq!(row["max"]["delay_ns"], task["sched_delay_ns"]["max"], "{}", task["name"]);
        assert_eq!(row["delays"], task["sched_delay_ns"]["count"], "{}", task["name"]);
    }
}

#[test]
fn what_comes_through_a_pipe_is_what_the_file_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let slicewise = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slicewise"));
        command.args(args).current_dir(&root);
        command
    };
    let simulated = dir.path().join("t.swtrace");
    let run = ["run", "examples/nice-levels.toml", "--duration", "200ms", "--trace"];
    output(slicewise(&run).arg(&simulated)).expect("it runs");
    let of_ftrace = root.join("crates/slicewise-ftrace/tests/samples");
    let recorded = root.join("crates/slicewise-lab/truth/traces/nice-0-5-7.2.dat");
    let mut paths = vec![simulated, recorded];
    for name in ["perf_script.txt", "trace_cmd_report.txt", "tracefs.txt", "perfetto.bin"] {
        paths.push(of_ftrace.join(name));
    }
    for path in paths {
        let of_file = output(slicewise(&["latency"]).arg(&path)).expect("it reads the file");
        assert!(of_file.lines().count() > 5, "{}: {of_file}", path.display());
        let mut child = slicewise(&["latency", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        let mut file = std::fs::File::open(&path).expect("the trace");
        std::io::copy(&mut file, &mut pipe).expect("it reads all of it");
        drop(pipe);
        let piped = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&piped.stdout), of_file, "{}", path.display());
        // Standard input may as well be a file.
        let mut command = slicewise(&["latency", "-"]);
        let file = std::fs::File::open(&path).expect("the trace");
        let redirected = command.stdin(file).output().expect("it reads");
        assert_eq!(String::from_utf8_lossy(&redirected.stdout), of_file, "{}", path.display());
    }
}
