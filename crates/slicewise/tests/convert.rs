//! `slicewise convert`, `cpudist` and `summary` on recordings of real kernels and of the simulated machine.

#![allow(clippy::print_stderr, reason = "a test that cannot be done says so")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use slicewise_ftrace::{Kind, Reader};

fn slicewise(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_slicewise"));
    command.current_dir(root).args(args).stdin(Stdio::null()).output().expect("it starts")
}

fn text(args: &[&str]) -> String {
    let output = slicewise(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&text(args)).expect("JSON")
}

fn refuses(args: &[&str], says: &[&str]) {
    let output = slicewise(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
    for part in says {
        assert!(error.contains(part), "{args:?}: no `{part}` in {error}");
    }
}

/// Recordings of real kernels.
fn recorded() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../slicewise-shadow/tests/recorded");
    let list = std::fs::read_dir(dir).expect("it is there");
    let mut list: Vec<PathBuf> = list.map(|entry| entry.expect("readable").path()).collect();
    list.retain(|path| path.extension().is_some_and(|ending| ending == "dat"));
    list.sort();
    assert!(list.len() >= 3);
    list
}

/// Switches, wakeups and migrations with times in microseconds.
fn happened(path: &Path) -> Vec<(u64, u32, Option<i32>, Kind)> {
    let mut reader = Reader::open(path).expect("it is a trace");
    let mut list = Vec::new();
    while let Some(event) = reader.next_event().expect("it can be read") {
        if let Kind::Switch(_)
        | Kind::Wakeup(_)
        | Kind::WakeupNew(_)
        | Kind::Waking(_)
        | Kind::Migrate(_) = event.kind
        {
            let us = (event.time_ns + 500) / 1_000;
            // perf has -1 for tasks at their end.
            let pid = match &event.kind {
                Kind::Switch(switch) => Some(switch.prev.pid),
                _ => event.pid.filter(|pid| *pid >= 0),
            };
            list.push((us, event.cpu, pid, event.kind));
        }
    }
    assert_eq!(reader.findings().malformed, 0, "{:?}", reader.findings());
    list
}

#[test]
fn a_recording_is_the_same_as_ftrace_text() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for path in recorded() {
        let to = dir.path().join("t.txt");
        text(&["convert", path.to_str().expect("UTF-8"), to.to_str().expect("UTF-8")]);
        let (before, after) = (happened(&path), happened(&to));
        assert!(before.len() > 100);
        assert!(before == after, "{}", path.display());
    }
}

#[test]
fn a_recording_is_the_same_as_a_perfetto_trace() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for path in recorded() {
        let to = dir.path().join("t.pftrace");
        text(&["convert", path.to_str().expect("UTF-8"), to.to_str().expect("UTF-8")]);
        let (before, after) = (happened(&path), happened(&to));
        assert!(before == after, "{}", path.display());
        // To the nanosecond, which only the figures tell.
        let path = path.to_str().expect("UTF-8");
        let runqlat = |path: &str| json(&["runqlat", "-L", path, "--format", "json"]);
        assert_eq!(runqlat(path), runqlat(to.to_str().expect("UTF-8")));
    }
}

#[test]
fn formats_of_a_recording_tell_of_the_same_runs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = |name: &str| dir.path().join(name).display().to_string();
    for path in recorded() {
        let path = path.to_str().expect("UTF-8");
        let (chrome, events, runs) = (out("t.json"), out("t.csv"), out("runs.csv"));
        text(&["convert", path, &chrome]);
        text(&["convert", path, &events]);
        text(&["convert", path, &runs, "--table", "runs"]);
        let read = |name: &str| std::fs::read_to_string(name).expect("it is there");
        let runs: Vec<String> = read(&runs).lines().skip(1).map(str::to_owned).collect();
        let chrome: serde_json::Value = serde_json::from_str(&read(&chrome)).expect("JSON");
        let on_cpus = chrome["traceEvents"].as_array().expect("a list").iter();
        let on_cpus = on_cpus.filter(|event| event["ph"] == "X" && event["pid"] == 0).count();
        assert_eq!(on_cpus, runs.len());
        // Whoever is told to leave for a task ran; those that run at the end have no end.
        let left = |line: &&str| line.split(',').nth(2) == Some("sched_switch");
        let by_tasks = |line: &&str| left(line) && line.split(',').nth(7) != Some("0");
        let ended = read(&events).lines().filter(by_tasks).count();
        let open = runs.iter().filter(|line| line.split(',').nth(1) == Some("")).count();
        assert_eq!(ended + open, runs.len());
    }
}

#[test]
fn standard_output_takes_texts_and_refuses_the_rest() {
    let path = &recorded()[0];
    let path = path.to_str().expect("UTF-8");
    assert!(text(&["convert", path, "-", "--to", "csv"]).starts_with("time_ns,cpu,event,"));
    assert!(text(&["convert", path, "-", "--to", "ftrace"]).starts_with("# tracer: nop\n"));
    refuses(&["convert", path, "-", "--to", "perfetto"], &["no text for `-`", "--to csv"]);
    refuses(&["convert", path, "-"], &["its ending names no format", "--to names one"]);
}

#[test]
fn what_cannot_be_converted_is_refused_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = |name: &str| dir.path().join(name).display().to_string();
    let path = &recorded()[0];
    let path = path.to_str().expect("UTF-8");
    refuses(&["convert", path, &out("t.cvs")], &["t.cvs: its ending names no format", ".csv"]);
    refuses(&["convert", path, &out("t.json"), "--table", "runs"], &["--table is for CSV"]);
    refuses(&["convert", path, &out("t.swtrace")], &["what the simulated machine did"]);
    refuses(&["convert", "README.md", &out("t.csv")], &["README.md: no trace that is read here"]);
    let empty = out("empty.txt");
    std::fs::write(&empty, "# tracer: nop\n").expect("it can be written");
    refuses(&["convert", &empty, &out("t.csv")], &["empty.txt: there are no events in it"]);
    refuses(&["convert", "nowhere.dat", &out("t.csv")], &["cannot read nowhere.dat"]);
    let copy = out("copy.txt");
    text(&["convert", path, &copy]);
    refuses(&["convert", &copy, &copy], &["is the input"]);
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 2);
    refuses(&["convert", path, "/dev/full", "--to", "csv"], &["cannot write /dev/full"]);
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_says_how_to_get_it_where_it_was_not_built_in() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let to = dir.path().join("t.parquet").display().to_string();
    let path = &recorded()[0];
    refuses(
        &["convert", path.to_str().expect("UTF-8"), &to],
        &["built without Parquet", "--features parquet"],
    );
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_written_with_a_footer() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let to = dir.path().join("t.parquet").display().to_string();
    for table in ["events", "runs"] {
        let path = &recorded()[0];
        text(&["convert", path.to_str().expect("UTF-8"), &to, "--table", table]);
        let bytes = std::fs::read(&to).expect("it is there");
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    }
}

#[test]
fn a_run_writes_the_same_as_its_own_trace_converted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = |name: &str| dir.path().join(name).display().to_string();
    let own = out("own.swtrace");
    let run = |to: &str| {
        text(&["run", "examples/groups-burst.toml", "--duration", "300ms", "--trace", to]);
    };
    run(&own);
    for ending in ["json", "csv", "txt"] {
        let (live, later) = (out(&format!("live.{ending}")), out(&format!("later.{ending}")));
        run(&live);
        text(&["convert", &own, &later]);
        let read = |name: &str| std::fs::read(name).expect("it is there");
        assert!(read(&live).len() > 10_000);
        assert!(read(&live) == read(&later), "{ending}");
    }
}

#[test]
fn a_simulated_trace_has_the_same_delays_for_perfettos_scheduling_tracks() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = |name: &str| dir.path().join(name).display().to_string();
    let (own, to) = (out("own.swtrace"), out("own.pftrace"));
    text(&["run", "examples/nice-levels.toml", "--duration", "1s", "--trace", &own]);
    text(&["convert", &own, &to, "--to", "perfetto-ftrace"]);
    let runqlat = |path: &str| json(&["runqlat", "-L", path, "--format", "json"]);
    assert_eq!(runqlat(&own), runqlat(&to));
}

#[test]
fn a_simulated_trace_is_the_same_as_ftrace_text() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = |name: &str| dir.path().join(name).display().to_string();
    let (own, to) = (out("own.swtrace"), out("own.txt"));
    text(&["run", "examples/nice-levels.toml", "--duration", "1s", "--trace", &own]);
    text(&["convert", &own, &to]);
    let latency = |path: &str| json(&["latency", path, "--format", "json"]);
    let (before, after) = (latency(&own), latency(&to));
    let (before, after) = (before["rows"].as_array(), after["rows"].as_array());
    let (before, after) = (before.expect("a list"), after.expect("a list"));
    assert!(!before.is_empty() && before.len() == after.len());
    for row in before {
        let same = after.iter().find(|other| other["comm"] == row["comm"]).expect("its row");
        assert_eq!(row["delays"], same["delays"]);
    }
}

#[test]
fn a_recording_made_here_is_the_same_as_text_and_for_perfetto() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("perf.data");
    let mut perf = Command::new("perf");
    perf.args(["sched", "record", "-o"]).arg(&path).args(["--", "sleep", "0.1"]);
    let recorded = perf.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success());
    if !recorded {
        eprintln!("SKIPPED: perf is not there, or may not record here");
        return;
    }
    for name in ["t.ftrace", "t.perfetto-trace"] {
        let to = dir.path().join(name);
        text(&["convert", path.to_str().expect("UTF-8"), to.to_str().expect("UTF-8")]);
        let (before, after) = (happened(&path), happened(&to));
        assert!(before.len() > 10);
        assert!(before == after, "{name}");
    }
}

#[test]
fn summary_counts_the_waits_that_runqlat_counts() {
    for path in recorded() {
        let path = path.to_str().expect("UTF-8");
        let runqlat = json(&["runqlat", "-L", path, "--format", "json"]);
        let all = ["summary", path, "--by", "task", "--top", "1000", "--format", "json"];
        let summary = json(&all);
        let rows = summary["rows"].as_array().expect("a list");
        let mut compared = 0;
        for task in runqlat.as_array().expect("a list") {
            let counts = task["rows"].as_array().expect("a list").iter();
            let count: u64 = counts.map(|row| row["count"].as_u64().expect("a number")).sum();
            // A number that was given twice is two rows.
            let same = rows.iter().filter(|row| row["tid"] == task["id"]);
            let same = same.map(|row| row["sched_delay_ns"]["count"].as_u64().expect("a number"));
            assert_eq!(same.sum::<u64>(), count, "{path}: {}", task["comm"]);
            compared += 1;
        }
        assert!(compared > 10);
        let shown = text(&["summary", path]);
        assert!(shown.contains("Who made whom wait"), "{shown}");
    }
}

#[test]
fn summary_of_a_simulated_run_tells_its_groups_and_quotas() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let own = dir.path().join("own.swtrace").display().to_string();
    let run = json(&["run", "examples/groups-burst.toml", "--format", "json", "--trace", &own]);
    let summary = json(&["summary", &own, "--by", "cgroup", "--format", "json"]);
    let rows = summary["rows"].as_array().expect("a list");
    for group in run["groups"].as_array().expect("a list") {
        let path = format!("/{}", group["path"].as_str().expect("text"));
        let Some(row) = rows.iter().find(|row| row["name"] == path.as_str()) else { continue };
        let (ran, usage) = (row["run_ns"].as_u64(), group["usage_ns"].as_u64());
        let (ran, usage) = (ran.expect("a number"), usage.expect("a number"));
        assert!(ran.abs_diff(usage) * 100 <= usage, "{path}: {ran} of {usage}");
    }
    assert!(rows.iter().any(|row| row["left"]["to_idle"].as_u64() > Some(0)), "{rows:?}");
}

#[test]
fn cpudist_has_bccs_layout_and_sections() {
    let path = &recorded()[0];
    let path = path.to_str().expect("UTF-8");
    let all = text(&["cpudist", path]);
    assert!(all.starts_with("     usecs               : count     distribution\n"), "{all}");
    let tasks = text(&["cpudist", path, "-O", "-m", "-L"]);
    assert!(tasks.starts_with("tid = "), "{tasks}");
    let rows = json(&["cpudist", path, "--format", "json"]);
    let count: u64 = rows[0]["rows"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["count"].as_u64().expect("a number"))
        .sum();
    // Every run that began and ended in the trace.
    let runs = text(&["convert", path, "-", "--to", "csv", "--table", "runs"]);
    let whole = |line: &&str| line.split(',').take(2).all(|field| !field.is_empty());
    assert_eq!(count, runs.lines().skip(1).filter(whole).count() as u64);
}
