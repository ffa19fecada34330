//! `slicewise k8s` as its users meet it: answers, findings, errors, the plugin of `kubectl`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run_as(program: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(root())
        .env_remove("COLUMNS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // Who does not read standard input may be gone already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn k8s(args: &[&str], input: &str) -> Output {
    let all: Vec<&str> = ["k8s"].iter().chain(args).copied().collect();
    run_as(Path::new(env!("CARGO_BIN_EXE_slicewise")), &all, input)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The report, and the exit status.
fn report(args: &[&str], input: &str) -> (Value, Option<i32>) {
    let all: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
    let output = k8s(&all, input);
    let value = serde_json::from_slice(&output.stdout);
    (value.unwrap_or_else(|_| panic!("{args:?}: {}", text(&output.stderr))), output.status.code())
}

fn refuses(args: &[&str], input: &str, words: &[&str]) {
    let output = k8s(args, input);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    for word in words {
        assert!(stderr.contains(word), "{args:?} should say `{word}`:\n{stderr}");
    }
}

const HOG: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: hog
  annotations:
    slicewise.dev/load: |
      hog: {batch: {threads: 8}}
spec:
  containers:
  - name: hog
    resources: {limits: {cpu: 4}}
";

#[test]
fn a_throttled_container_is_a_finding_and_the_threshold_can_be_set() {
    let (found, status) = report(&["-", "--cpus", "8", "--duration", "2s"], HOG);
    assert_eq!(status, Some(1));
    assert_eq!(found["findings"][0]["rule"], "throttled");
    let hog = &found["containers"][0];
    assert_eq!(hog["qos_class"], "Burstable");
    assert_eq!(hog["quota"]["quota_ns"], 400_000_000);
    assert_eq!(hog["quota"]["is_own"], true);
    assert_eq!(hog["limit_cpus"], 4.0);
    let (found, status) =
        report(&["-", "--cpus", "8", "--duration", "2s", "--max-throttled", "100%"], HOG);
    assert_eq!((status, found["findings"].as_array().map(Vec::len)), (Some(0), Some(0)));
}

#[test]
fn the_same_question_has_the_same_answer() {
    let args = ["k8s", "examples/k8s/noisy-neighbour.yaml", "--cpus", "4", "--duration", "1s"];
    let program = Path::new(env!("CARGO_BIN_EXE_slicewise"));
    let first = run_as(program, &args, "");
    assert_eq!(first.stdout, run_as(program, &args, "").stdout);
}

#[test]
fn kubectl_finds_it_as_a_plugin_under_another_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let plugin = dir.path().join(format!("kubectl-slicewise{}", std::env::consts::EXE_SUFFIX));
    std::fs::copy(env!("CARGO_BIN_EXE_slicewise"), &plugin).expect("it can be copied");
    let args = ["-f", "-", "--cpus", "8", "--duration", "1s", "-o", "json"];
    let output = run_as(&plugin, &args, HOG);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let plain = k8s(&args, HOG);
    assert_eq!(output.stdout, plain.stdout);
    let help = text(&run_as(&plugin, &["--help"], "").stdout);
    assert!(help.contains("Usage: kubectl slicewise"), "{help}");
}

#[test]
fn several_problems_are_shown_with_their_lines_and_hints() {
    let bad = HOG.replace("cpu: 4", "cpu: 1.5.2").replace("threads: 8", "threads: none");
    let words =
        ["<standard input>:11:", "1.5.2", "^^^^^", "<standard input>:7:", "`threads`", "help"];
    refuses(&["-"], &bad, &words);
    refuses(&["-", "examples/k8s/compose.yaml"], &bad, &["1.5.2"]);
}

#[test]
fn bad_options_are_refused_with_what_is_allowed() {
    refuses(&[], "", &["nothing to read", "--docker-run"]);
    refuses(&["-", "--kernel", "5.4"], HOG, &["5.4", "the kernels are 6.1"]);
    refuses(&["-", "--target", "p98=1ms"], HOG, &["--target p98=1ms", "p99=20ms"]);
    refuses(&["-", "--target", "p99=20"], HOG, &["unit"]);
    refuses(&["-", "--max-throttled", "1"], HOG, &["--max-throttled", "1%"]);
    refuses(&["-", "--full-pcpus-only"], HOG, &["--cpu-manager static"]);
    refuses(&["-", "--cpu-manager", "static"], HOG, &["reservation"]);
    refuses(&["-", "--reserved", "500M"], HOG, &["500M"]);
    refuses(&["-", "--quota-period", "10us"], HOG, &["period"]);
    refuses(&["-", "--hz", "0"], HOG, &["--hz", "1..=10000"]);
    refuses(&["/nowhere.yaml"], "", &["/nowhere.yaml"]);
    refuses(&["-", "--cpus", "0"], HOG, &["0"]);
}

#[test]
fn the_nodes_cpus_come_from_a_node_or_the_command_line_or_are_assumed() {
    let node = format!(
        "{HOG}---\napiVersion: v1\nkind: Node\nmetadata: {{name: n}}\nstatus: {{capacity: {{cpu: \"6\"}}}}\n"
    );
    let quick = ["-", "--quick", "--duration", "100ms"];
    let cpus = |report: &Value| report["node"]["cpus"].as_u64();
    assert_eq!(cpus(&report(&quick, &node).0), Some(6));
    let with = [quick.as_slice(), &["--cpus", "3"]].concat();
    assert_eq!(cpus(&report(&with, &node).0), Some(3));
    let (assumed, _) = report(&quick, HOG);
    assert_eq!(cpus(&assumed), Some(16));
    assert_eq!(assumed["node"]["cpus_assumed"], true);
}

#[test]
fn docker_run_is_read_as_it_is_typed() {
    let command =
        "docker run --name x --cpus 1.5 --label 'slicewise.dev/load={batch: {threads: 4}}' nginx";
    let (found, status) = report(&["--docker-run", command, "--cpus", "4", "--duration", "1s"], "");
    assert_eq!(status, Some(1));
    let x = &found["containers"][0];
    assert_eq!((&x["label"], &x["quota"]["cpus"]), (&"x".into(), &1.5.into()));
    assert!(x.get("qos_class").is_none());
    refuses(&["--docker-run", "docker run --cpus none nginx"], "", &["--docker-run:1:", "none"]);
}

#[test]
fn a_trace_is_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("out.swtrace").display().to_string();
    let output = k8s(&["-", "--cpus", "4", "--duration", "100ms", "--trace", &path], HOG);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(std::fs::metadata(&path).expect("it is there").len() > 100);
}

#[test]
fn what_is_not_counted_and_what_has_no_load_is_said() {
    let service = format!(
        "{}---\napiVersion: v1\nkind: Service\nmetadata: {{name: s}}\n",
        HOG.replace("hog: {batch: {threads: 8}}", "{}")
    );
    let output = k8s(&["-", "--cpus", "4"], &service);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(shown.contains("Service s"), "{shown}");
    assert!(shown.contains("nobody says what 1 of 1 containers do"), "{shown}");
}

#[test]
fn a_pod_that_is_not_admitted_is_a_finding() {
    let pinned = HOG.replace("{limits: {cpu: 4}}", "{limits: {cpu: 4, memory: 1Gi}}");
    let args =
        ["-", "--cpus", "4", "--cpu-manager", "static", "--reserved", "1", "--duration", "1s"];
    let (found, status) = report(&args, &pinned);
    assert_eq!(status, Some(1));
    assert_eq!(found["findings"][0]["rule"], "rejected", "{found}");
}

/// Case 59's widths, and a search whose answers can be reasoned out: eight threads that compute for
/// ever are never throttled with 8 CPUs, and with less they always are.
#[test]
fn suggestions_name_the_smallest_limit_and_what_it_costs() {
    let requests = HOG.replace(
        "hog: {batch: {threads: 8}}",
        "hog: {requests: {interarrival: 100ms, service: 40ms, workers: 8}}",
    );
    // One request in each period: 400 thousandths of a CPU at least.
    let limited = requests.replace("cpu: 4", "cpu: 200m");
    let args = ["-", "--cpus", "8", "--duration", "5s", "--suggest", "--target", "p99=45ms"];
    let (found, status) = report(&args, &limited);
    assert_eq!(status, Some(1));
    let suggestion = &found["suggestions"][0];
    let trials = suggestion["trials"].as_array().expect("trials");
    let best = |kind: &str| {
        let found = trials.iter().find(|it| it["kind"] == kind && it["is_suggested"] == true);
        found.map(|it| it["change"].as_str().unwrap_or_default().to_owned())
    };
    let limit = best("limit").expect("a limit keeps it");
    assert!(["limit 400m", "limit 500m"].contains(&limit.as_str()), "{limit}");
    assert_eq!(best("qos").as_deref(), Some("no limit"));
    assert_eq!(best("threads"), None);
    let widths: Vec<u64> = suggestion["widths"]
        .as_array()
        .expect("widths")
        .iter()
        .filter_map(|it| it["threads"].as_u64())
        .collect();
    assert_eq!(widths, [8, 1, 2, 1]);
    let exclusive = trials.iter().find(|it| it["change"] == "Guaranteed, 1 exclusive CPU");
    assert_eq!(exclusive.map(|it| &it["keeps_target"]), Some(&true.into()), "{trials:#?}");
}

/// The scenarios of the pages, as shapes: nothing here is a digit.
mod scenarios {
    use super::*;

    fn workload<'r>(report: &'r Value, label: &str) -> &'r Value {
        let rows = report["workloads"].as_array().expect("workloads");
        rows.iter().find(|row| row["label"] == label).expect("it is there")
    }

    fn number(value: &Value) -> f64 {
        value.as_f64().expect("a number")
    }

    #[test]
    fn a_training_step_with_a_limit_starves_its_device_on_every_kernel() {
        for kernel in ["6.1", "6.6", "6.12", "6.18", "7.2"] {
            let file = "examples/k8s/training.yaml";
            let args = [file, "--cpus", "16", "--kernel", kernel];
            let busy = |extra: &[&str]| {
                let (report, _) = report(&[args.as_slice(), extra].concat(), "");
                let parts = workload(&report, "train/trainer")["parts"].clone();
                let launch = number(&parts[0]["launch"]["device_busy_share"]);
                (launch, parts[0]["alone"]["device_busy_share"].as_f64())
            };
            let (limited, bare) = busy(&[]);
            let bare = bare.expect("a run without limits");
            let (free, _) = busy(&["--no-cpu-quota"]);
            let (exclusive, _) = busy(&["--cpu-manager", "static", "--reserved", "1"]);
            assert!(limited < 0.8 * bare, "{kernel}: {limited} of {bare}");
            assert!(free > 0.92 * bare, "{kernel}: {free} of {bare}");
            assert!(exclusive > limited, "{kernel}: {exclusive}, {limited}");
        }
    }

    #[test]
    fn a_go_service_with_fewer_threads_has_a_shorter_tail_and_shorter_hits() {
        let of = |file: &str| {
            let (report, status) = report(&[file, "--cpus", "16", "--duration", "60s"], "");
            assert_eq!(status, Some(1));
            let api = workload(&report, "api").clone();
            let p99 = number(&api["parts"][0]["durations"]["p99_ns"]);
            let free = number(&api["parts"][0]["without_limits"]["durations"]["p99_ns"]);
            (p99, free, number(&api["stalls"]["max_ns"]))
        };
        let (sixteen, free, longest) = of("examples/k8s/go-api.yaml");
        let (two, _, longest_of_two) = of("examples/k8s/go-api-gomaxprocs-2.yaml");
        assert!(sixteen > 1.5 * free, "{sixteen}, {free} without a limit");
        assert!(two < 0.8 * sixteen, "{two} with two, {sixteen} with sixteen");
        assert!(longest_of_two < 0.8 * longest, "{longest_of_two}, {longest}");
    }

    #[test]
    fn three_threads_get_what_one_gets() {
        for kernel in ["6.1", "6.12", "7.2"] {
            let file = "examples/k8s/three-against-one.yaml";
            let (report, status) = report(&[file, "--cpus", "1", "--kernel", kernel], "");
            assert_eq!(status, Some(0));
            for label in ["three", "one"] {
                let used = number(&workload(&report, label)["used_cpus"]);
                assert!((used - 0.5).abs() < 0.01, "{kernel}, {label}: {used}");
            }
        }
    }

    #[test]
    fn the_noisy_neighbour_is_the_one_with_the_larger_request() {
        for kernel in ["6.1", "6.12", "7.2"] {
            let file = "examples/k8s/noisy-neighbour.yaml";
            let (report, _) = report(&[file, "--cpus", "4", "--kernel", kernel], "");
            let web = workload(&report, "web");
            assert_eq!(web["wait"]["quota_ns"], 0);
            // On 6.1 those without a request, who weigh next to nothing, take as much.
            let others = web["wait"]["others"].as_array().expect("others");
            let of = |label: &str| {
                let found = others.iter().find(|it| it["container"] == label);
                found.map_or(0.0, |it| number(&it["wait_ns"]))
            };
            let least = if kernel == "6.1" { 0.5 } else { 5.0 };
            assert!(of("indexer") > least * of("batch"), "{kernel}: {others:?}");
            let part = &web["parts"][0];
            let (full, alone) =
                (&part["durations"]["p99_ns"], &part["alone"]["durations"]["p99_ns"]);
            assert!(number(full) > 1.5 * number(alone), "{kernel}: {full}, {alone} alone");
        }
    }

    #[test]
    fn a_burst_shortens_the_tail_and_no_limit_ends_it() {
        let throttled = |set: &str| {
            let file = "examples/groups-burst.toml";
            let args = ["run", file, "--format", "json", "--set", set];
            let output = run_as(Path::new(env!("CARGO_BIN_EXE_slicewise")), &args, "");
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            number(&report["groups"][0]["nr_throttled"])
        };
        let limit = throttled("group/web.cpu.max.burst=0");
        let burst = throttled("group/web.cpu.max.burst=50000");
        assert!(burst < 0.8 * limit && burst > 0.0, "{burst} with a burst, {limit} without");
        assert_eq!(throttled("group/web.cpu.max=max"), 0.0);
    }
}
