//! `slicewise rt check` as its users meet it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn check(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slicewise"))
        .args(["rt", "check"])
        .args(args)
        .current_dir(root())
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("the command starts")
}

fn file(name: &str, content: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(name);
    std::fs::write(&path, content).expect("it can be written");
    let path = path.display().to_string();
    (dir, path)
}

/// The JSON report, and the exit status.
fn report(name: &str, content: &str, args: &[&str]) -> (Value, Option<i32>) {
    let (_dir, path) = file(name, content);
    let output = check(&[&[path.as_str(), "--format", "json"], args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let value = serde_json::from_slice(&output.stdout);
    (value.unwrap_or_else(|_| panic!("no JSON: {stderr}")), output.status.code())
}

fn refuses(name: &str, content: &str, args: &[&str], words: &[&str]) {
    let (_dir, path) = file(name, content);
    let output = check(&[&[path.as_str()], args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{content}: {stderr}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(stderr.contains(word), "{content} should say `{word}`:\n{stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

fn fifo(name: &str, wcet: u32, period: u32, priority: u32) -> String {
    format!(
        "[[task]]\nname = \"{name}\"\nwcet = \"{wcet}ms\"\nperiod = \"{period}ms\"\npriority = {priority}\n"
    )
}

fn deadline(name: &str, wcet: u32, deadline: u32, period: u32) -> String {
    format!(
        "[[task]]\nname = \"{name}\"\npolicy = \"deadline\"\nwcet = \"{wcet}ms\"\ndeadline = \"{deadline}ms\"\nperiod = \"{period}ms\"\n"
    )
}

fn observed(report: &Value, at: usize) -> Option<u64> {
    report["tasks"][at]["observed_ns"].as_u64()
}

#[test]
fn case_87_the_json_contract_on_a_set_that_misses() {
    let table = fifo("a", 12, 50, 1) + &fifo("b", 10, 40, 2) + &fifo("c", 10, 30, 3);
    let (report, status) = report("t.toml", &table, &[]);
    assert_eq!((status, &report["schedulable"]), (Some(1), &false.into()));
    let bounds: Vec<_> = (0..3).map(|at| &report["tasks"][at]["response_bound_ns"]).collect();
    assert_eq!(bounds, [52_000_000, 20_000_000, 10_000_000]);
    let task = &report["tasks"][0];
    assert_eq!((&task["name"], &task["meets"]), (&"a".into(), &false.into()));
    assert_eq!(task["deadline_ns"], 50_000_000);
    let near =
        |value: &Value, wanted: f64| (value.as_f64().expect("a number") - wanted).abs() < 1e-6;
    assert!(near(&report["utilisation"], 0.24 + 0.25 + 1.0 / 3.0));
    assert!(near(&report["liu_layland"], 0.779_763));
    assert!(near(&report["hyperbolic"], 1.24 * 1.25 * 4.0 / 3.0));
    let kernel = &report["kernel"];
    assert_eq!((&kernel["profile"], &kernel["admitted"]), (&"6.12".into(), &true.into()));
    assert!(kernel["first_refused"].is_null() && kernel["errno"].is_null());
    assert_eq!(report["timeline"]["response_ns"], 52_000_000);
}

#[test]
fn case_91_the_kernels_verdict_depends_on_its_version() {
    let table = deadline("a", 46, 100, 100) + &deadline("b", 46, 100, 100);
    for (kernel, refused) in [("6.1", false), ("6.12", true), ("6.18.35", true), ("7.2", false)] {
        let (report, status) = report("t.toml", &table, &["--kernel", kernel]);
        assert_eq!(status, Some(0), "EDF meets every deadline");
        assert_eq!(report["kernel"]["admitted"], !refused, "{kernel}");
        if refused {
            assert_eq!(report["kernel"]["first_refused"], "b");
            assert_eq!(report["kernel"]["errno"], "EBUSY");
        }
    }
}

#[test]
fn case_89_admitted_is_not_schedulable_and_says_why() {
    let table = deadline("a", 9, 10, 1000) + &deadline("b", 9, 10, 1000);
    let (report, status) = report("t.toml", &table, &[]);
    assert_eq!((status, &report["kernel"]["admitted"]), (Some(1), &true.into()));
    let remark = report["remarks"][0].as_str().expect("a remark");
    assert!(remark.contains("admitted is not schedulable"), "{remark}");
}

#[test]
fn the_table_for_people_shows_verdict_worst_case_and_commands() {
    let table = fifo("a", 12, 50, 1) + &fifo("b", 10, 40, 2) + &fifo("c", 10, 30, 3);
    let (_dir, path) = file("t.toml", &table);
    let output = check(&[&path]);
    let text = String::from_utf8_lossy(&output.stdout);
    for word in
        ["not schedulable", "52.0 ms", "2 ms late", "█", "chrt -f 3 c", "CPUSchedulingPriority=3"]
    {
        assert!(text.contains(word), "{word}:\n{text}");
    }
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn a_simulated_run_comes_to_the_bound_and_never_exceeds_it() {
    let table = fifo("a", 32, 80, 1) + &fifo("b", 5, 40, 2) + &fifo("c", 4, 16, 3);
    let (report, status) = report("t.toml", &table, &["--simulate"]);
    assert_eq!(status, Some(0));
    // Every job runs 1 ns less, and there are 7, 2 and 1 of them until the answer.
    let bounds = [58_000_000, 9_000_000, 4_000_000];
    for (at, jobs) in [7, 2, 1].into_iter().enumerate() {
        assert_eq!(report["tasks"][at]["response_bound_ns"], bounds[at]);
        assert_eq!(observed(&report, at), Some(bounds[at] - jobs));
    }
    // Done at the moment of the fifth release of what is above it: that is in time.
    let tie = fifo("a", 16, 30, 1) + &fifo("b", 1, 5, 2);
    let (report, _) = self::report("t.toml", &tie, &["--simulate"]);
    assert_eq!(report["tasks"][0]["response_bound_ns"], 20_000_000);
    assert_eq!(observed(&report, 0), Some(20_000_000 - 5));
}

#[test]
fn deadline_tasks_come_to_their_bounds_under_edf() {
    // Case 88: rate-monotonic priorities miss, EDF does not.
    let set = deadline("a", 1, 4, 4) + &deadline("b", 2, 6, 6) + &deadline("c", 3, 8, 8);
    for kernel in ["6.1", "7.2"] {
        let (report, status) = report("t.toml", &set, &["--simulate", "--kernel", kernel]);
        assert_eq!(status, Some(0), "{report}");
        for at in 0..3 {
            let (task, observed) = (&report["tasks"][at], observed(&report, at).unwrap());
            assert!(observed <= task["response_bound_ns"].as_u64().unwrap(), "{task}");
            assert!(observed <= task["deadline_ns"].as_u64().unwrap(), "{task}");
        }
    }
    // Case 89: two tasks that the kernel admits, with a density above 1, and in time all the same.
    let set = deadline("long", 50, 50, 100) + &deadline("short", 10, 100, 100);
    let (report, status) = self::report("t.toml", &set, &["--simulate"]);
    assert_eq!(status, Some(0), "{report}");
    let jobs = [50_000_000 - 1, 60_000_000 - 2];
    assert_eq!([0, 1].map(|at| observed(&report, at).unwrap()), jobs);
    // What no kernel takes is analysed, but not run.
    let slow = deadline("slow", 9, 5000, 5000);
    let (report, _) = self::report("t.toml", &slow, &["--simulate"]);
    assert!(report["remarks"].to_string().contains("Not simulated"), "{report}");
}

#[test]
fn worst_cases_are_derived_from_scenarios() {
    let scenario = r#"
[[task]]
name = "loop"
policy = "fifo"
priority = 50
periodic = { run = { dist = "uniform", min = "1ms", max = "3ms" }, period = "10ms" }
[[task]]
name = "steps"
policy = "rr"
priority = 40
program = [{ loop = { count = 3, body = [{ run = "1ms" }] } }, { run = "2ms" }, { timer = { period = "20ms" } }]
[[task]]
name = "batch"
hog = true
"#;
    let (first, status) = report("s.toml", scenario, &[]);
    assert_eq!(status, Some(0), "{first}");
    let tasks = first["tasks"].as_array().expect("tasks");
    let wcets: Vec<_> = tasks.iter().map(|task| &task["wcet_ns"]).collect();
    assert_eq!(wcets, [3_000_000, 5_000_000]);
    assert_eq!(tasks[1]["response_bound_ns"], 8_000_000);
    assert!(first["remarks"].to_string().contains("batch"));
    let sleeper = "[[task]]\nname = \"s\"\npolicy = \"fifo\"\npriority = 60\nprogram = [{ run = \"1ms\" }, { sleep = \"5ms\" }]\n";
    let (second, status) = report("s.toml", &format!("{scenario}{sleeper}"), &[]);
    assert_eq!((status, &second["decided"]), (Some(1), &false.into()));
    assert!(second["unknown"][0]["reason"].as_str().is_some_and(|why| why.contains("sleeps")));
    assert!(second["tasks"][0]["meets"].is_null());
}

#[test]
fn rt_app_reservations_and_loops_are_read() {
    let json = r#"{ "tasks": {
        "dl": { "policy": "SCHED_DEADLINE", "dl-runtime": 2000, "dl-deadline": 5000, "dl-period": 10000,
                "run": 1000, "timer": { "ref": "unique", "period": 10000 } },
        "ff": { "policy": "SCHED_FIFO", "priority": 20, "run": 3000, "timer": { "ref": "unique", "period": 20000 } },
        "other": { "run": 1000, "sleep": 1000 } } }"#;
    let (report, status) = report("w.json", json, &[]);
    assert_eq!(status, Some(0), "{report}");
    let tasks = &report["tasks"];
    assert_eq!(
        (&tasks[0]["wcet_ns"], &tasks[0]["deadline_ns"]),
        (&2_000_000.into(), &5_000_000.into())
    );
    assert_eq!(tasks[1]["response_bound_ns"], 5_000_000);
    assert_eq!(tasks[0]["chrt"], "chrt -d -T 2000000 -D 5000000 -P 10000000 0 dl");
    // rt-app takes the runtime for the period then.
    let without = json.replace("\"dl-period\": 10000,", "");
    refuses("w.json", &without, &[], &["deadline is longer than the period", "w.json:2:"]);
}

#[test]
fn bad_tables_are_refused_with_the_place_and_a_hint() {
    let good = fifo("a", 1, 10, 50);
    let cases: &[(String, &[&str])] = &[
        (String::new(), &["no tasks", "[[task]]"]),
        (good.replace("wcet", "wect"), &["wect", "t.toml:3:1", "did you mean `wcet`"]),
        (good.replace("\"1ms\"", "1"), &["no unit", "t.toml:3:8"]),
        (good.replace("\"1ms\"", "\"0ms\""), &["zero", "t.toml:3:"]),
        (good.replace("\"1ms\"", "\"1 year\""), &["year", "t.toml:3:"]),
        (good.replace("50", "100"), &["100", "1 to 99", "t.toml:5:"]),
        (format!("{good}policy = \"other\"\n"), &["no guarantee", "t.toml:6:"]),
        (format!("{good}policy = \"fito\"\n"), &["did you mean `fifo`"]),
        (format!("{good}policy = \"deadline\"\n"), &["priority", "earliest deadline"]),
        (format!("{good}runtime = \"1ms\"\n"), &["runtime", "SCHED_DEADLINE"]),
        (format!("{good}core = 2\n[machine]\ncpus = 2\n"), &["CPU 2", "t.toml:6:8", "0 to 1"]),
        (format!("{good}{good}"), &["already a task named `a`", "t.toml:7:"]),
        (
            format!("{good}[[task]]\nname = \"b\"\nwcet = \"1ms\"\nperiod = \"2ms\"\n"),
            &["`b` has no `priority`"],
        ),
        (format!("priorities = \"60-51\"\n{good}"), &["60-51", "51-60"]),
        (format!("{good}[machine]\nkernel = \"5.4\"\n"), &["5.4", "6.12"]),
        ("[[task]\n".to_owned(), &["t.toml:1:"]),
        ("[[task]]\nname = \"x\"\nhog = true\n".to_owned(), &["no real-time task"]),
    ];
    for (table, words) in cases {
        refuses("t.toml", table, &[], words);
    }
    refuses("t.toml", &good, &["--kernel", "5.4"], &["5.4", "6.12"]);
    refuses("t.toml", &good, &["--timeline", "z"], &["--timeline z", "the tasks are a"]);
    refuses("t.toml", &good, &["--priorities", "0-9"], &["--priorities 0-9", "51-60"]);
    refuses("t.toml", &good, &["--context-switch", "5"], &["--context-switch 5", "unit"]);
    refuses("t.toml", &good, &["--cpus", "0"], &["0"]);
}

#[test]
fn hostile_numbers_get_an_answer() {
    let task = |name: &str, wcet: u64, period: u64| {
        format!(
            "[[task]]\nname = \"{name}\"\nwcet = \"{wcet}ns\"\nperiod = \"{period}ns\"\npriority = 5\njitter = \"1s\"\n"
        )
    };
    let full = task("a", 500_000_003, 1_000_000_007) + &task("b", 500_000_005, 1_000_000_009);
    let (report, status) = report("t.toml", &full, &[]);
    assert_eq!((status, &report["schedulable"]), (Some(1), &false.into()));
    let over = task("a", 9, 10) + &task("b", 31_535_999_999_999_999, 31_536_000_000_000_000);
    let (_dir, path) = file("t.toml", &over);
    assert_eq!(check(&[&path, "--simulate"]).status.code(), Some(1));
}

fn explain(args: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_slicewise"))
        .args(["rt", "explain"])
        .args(args)
        .current_dir(root())
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("the command starts");
    let text = if output.status.code() == Some(2) { output.stderr } else { output.stdout };
    (String::from_utf8(text).expect("output is text"), output.status.code())
}

/// The error and the rule in the JSON, and the exit status.
fn rule(args: &[&str]) -> (String, String, Option<i32>) {
    let (text, status) = explain(&[args, &["--format", "json"]].concat());
    let report: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let of = |field: &str| report["verdict"][field].as_str().unwrap_or("").to_owned();
    (of("errno"), of("rule"), status)
}

const DEADLINE: [&str; 6] = ["--policy", "deadline", "--runtime", "10ms", "--period", "30ms"];

#[test]
fn an_error_is_explained_by_the_rule_the_parameters_break() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&["EBUSY", "--others", "6ms/10ms"], "EBUSY", "bandwidth-exceeded"),
        (&["16", "--others", "6ms/10ms"], "EBUSY", "bandwidth-exceeded"),
        (&["EPERM", "--cpus", "0-1 of 4"], "EPERM", "affinity-not-whole"),
        (&["eperm", "--uid", "1000", "--rlimit-rtprio", "99"], "EPERM", "deadline-not-allowed"),
        (&["EPERM", "--cap-sys-nice", "false"], "EPERM", "deadline-not-allowed"),
        (&["EPERM", "--kernel", "6.1", "--rt-runtime-us", "0"], "EPERM", "no-deadline-bandwidth"),
        (&["EINVAL", "--deadline", "5ms"], "EINVAL", "runtime-after-deadline"),
        (&["EINVAL", "--deadline", "40ms"], "EINVAL", "deadline-after-period"),
        (&["EINVAL", "--priority", "10"], "EINVAL", "priority-not-taken"),
        (&["EINVAL", "--flags", "0x80"], "EINVAL", "unknown-flags"),
        (&["EINVAL", "--call", "setscheduler"], "EINVAL", "deadline-zero"),
        (&["E2BIG", "--size", "40"], "E2BIG", "attr-size"),
        (&["ESRCH", "--no-such-task"], "ESRCH", "no-such-task"),
        (&["EAGAIN"], "EAGAIN", "deadline-fork"),
        (&["EOPNOTSUPP", "--flags", "util-clamp-min"], "EOPNOTSUPP", "clamp-not-built"),
        (&["EBUSY", "--call", "setaffinity", "--cpus", "0 of 2"], "EBUSY", "deadline-affinity"),
    ];
    for (args, errno, id) in cases {
        let args = [*args, DEADLINE.as_slice()].concat();
        assert_eq!(rule(&args), ((*errno).to_owned(), (*id).to_owned(), Some(0)), "{args:?}");
    }
    let cases: &[(&[&str], &str)] = &[
        (&["EPERM", "--policy", "fifo", "--priority", "5", "--uid", "9"], "rt-policy-not-allowed"),
        (
            &["EPERM", "--policy", "fifo", "--priority", "5", "--group-rt-runtime-us", "0"],
            "group-without-runtime",
        ),
        (&["EPERM", "--nice", "-1", "--uid", "9"], "nice-not-allowed"),
        (&["EPERM", "--policy", "other", "--from", "idle", "--uid", "9"], "idle-stays"),
        (&["EPERM", "--uid", "9", "--target-uid", "8"], "not-owner"),
        (&["EACCES", "--nice", "-1", "--uid", "9"], "nice-lowered"),
        (&["EINVAL", "--policy", "ext"], "policy-not-built"),
        (&["EINVAL", "--call", "setaffinity", "--cpus", "8 of 4"], "no-usable-cpu"),
    ];
    for (args, id) in cases {
        let (_, got, status) = rule(args);
        assert_eq!((got.as_str(), status), (*id, Some(0)), "{args:?}");
    }
}

#[test]
fn parameters_that_do_not_lead_to_the_error_get_the_rules_that_do() {
    let (text, status) = explain(&[["EPERM"].as_slice(), &DEADLINE].concat());
    assert_eq!(status, Some(1));
    for word in [
        "succeeds",
        "deadline-not-allowed",
        "affinity-not-whole",
        "group-without-runtime",
        "CapEff",
    ] {
        assert!(text.contains(word), "{word}:\n{text}");
    }
    let (errno, rule, status) = rule(&["EBUSY", "--policy", "fifo"]);
    assert_eq!((errno.as_str(), rule.as_str(), status), ("EINVAL", "priority-needed", Some(1)));
}

#[test]
fn what_would_fit_is_exact_to_the_nanosecond() {
    let others = ["--policy", "deadline", "--period", "100ms", "--others", "40ms/100ms"];
    let most = |kernel: &str| {
        let args = [&others[..], &["--kernel", kernel, "--format", "json", "--runtime", "99ms"]];
        let (text, _) = explain(&[&["EBUSY"], args.concat().as_slice()].concat());
        let report: Value = serde_json::from_str(&text).expect("JSON");
        let words = report["verdict"]["instead"].as_str().expect("a runtime").to_owned();
        let number: u64 = words.split(' ').find_map(|word| word.parse().ok()).expect("a number");
        number
    };
    for kernel in ["6.1", "6.12", "7.2"] {
        let most = most(kernel);
        let status = |ns: u64| {
            let runtime = ns.to_string();
            rule(&[&["EBUSY", "--kernel", kernel, "--runtime", &runtime], &others[..]].concat()).2
        };
        assert_eq!((status(most), status(most + 1)), (Some(1), Some(0)), "{kernel}: {most}");
    }
}

#[test]
fn reservations_of_others_come_from_files_too() {
    let table = deadline("a", 46, 100, 100) + &fifo("b", 1, 50, 1);
    let (_dir, path) = file("t.toml", &table);
    let args =
        ["EBUSY", "--policy", "deadline", "--runtime", "45ms", "--period", "100ms", "--others"];
    assert_eq!(rule(&[&args[..], &[&path]].concat()).2, Some(0));
    assert_eq!(rule(&[&args[..], &[&path, "--cpus", "2"]].concat()).2, Some(1));
}

#[test]
fn bad_questions_are_refused_with_a_hint() {
    let cases: &[(&[&str], &str)] = &[
        (&["EFOO"], "the errors are EPERM"),
        (&["EPERM", "--policy", "fast"], "the policies are"),
        (&["EPERM", "--kernel", "2.4"], "the kernels are"),
        (&["EPERM", "--runtime", "5 parsecs"], "--runtime"),
        (&["EPERM", "--cpus", "all"], "`0-1 of 4`"),
        (&["EPERM", "--cpus", "0 of 0"], "1 to 8192"),
        (&["EPERM", "--flags", "fast"], "the flags are"),
        (&["EBUSY", "--others", "5ms"], "RUNTIME/PERIOD"),
        (&["EBUSY", "--others", "5ms/10msx99999999"], "more than 10000"),
        (&["EBUSY", "--others", "5ms/10ms,6ms/10ms"], "number 2 is refused itself"),
        (&["EBUSY", "--rt-runtime-us", "-5"], "the kernel refuses it"),
        (&["EPERM", "--call", "fork", "--policy", "deadline"], "before the call"),
    ];
    for (args, word) in cases {
        let (text, status) = explain(args);
        assert_eq!(status, Some(2), "{args:?}: {text}");
        assert!(text.contains(word), "{args:?}: {text}");
    }
}
