//! Nodes with containers whose figures can be worked out by hand, and what always holds.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use slicewise_containers::{Manifest, Node, Source, load};
use slicewise_kube::{Mapping, Outcome, Question, Settings, Study, Target, Way, run};
use slicewise_report::{KubeContainer, KubeReport};
use slicewise_sched::Profile;

const MS: u64 = 1_000_000;

fn manifest(text: &str) -> Manifest {
    load(&[Source::new("test.yaml", text)]).unwrap()
}

/// A pod of one container with a load.
fn pod(name: &str, resources: &str, load: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations:
    slicewise.dev/load: |
      {name}: {load}
spec:
  containers:
  - name: {name}
    resources: {resources}
---
"
    )
}

fn settings(kernel: &str, cpus: u32, duration_ns: u64) -> Settings {
    let profile = Profile::named(kernel).unwrap();
    Settings { profile, cpus, topology: None, hz: 1000, duration_ns, seed: 1 }
}

fn question(kernel: &str, cpus: u32, seconds: u64) -> Question {
    Question {
        settings: settings(kernel, cpus, seconds * 1000 * MS),
        cpus_assumed: false,
        throttled_share_max: 0.01,
        target: None,
        quick: false,
    }
}

fn answer_on(kernel: &str, text: &str, node: &Node, seconds: u64) -> KubeReport {
    let manifest = manifest(text);
    let study = Study::new(&manifest, node).unwrap();
    let question = question(kernel, node.cpus, seconds);
    study.answer(&question, (), &|_| {}).unwrap().0
}

fn answer(text: &str, cpus: u32, seconds: u64) -> KubeReport {
    answer_on("6.12", text, &Node::new(cpus), seconds)
}

fn named<'r>(report: &'r KubeReport, label: &str) -> &'r KubeContainer {
    report.workloads.iter().find(|it| it.label == label).unwrap()
}

/// Case 51: k threads that never stop use up a quota of Q after Q/k, and stand still for the rest of
/// the period P: P - Q/k, up to a tick and what of 5 ms slices lies on the CPUs.
#[test]
fn a_hit_stops_threads_for_the_period_less_the_quota_over_the_cpus() {
    for (limit, cpus, stall_ms) in [
        ("4", 8, 50.0),
        ("4", 16, 75.0),
        ("2", 8, 75.0),
        ("2", 16, 87.5),
        ("2", 24, 91.67),
        ("0.5", 1, 50.0),
        ("0.5", 8, 93.75),
    ] {
        for kernel in ["6.1", "6.12", "7.2"] {
            // Outside of a pod: there is one quota only.
            let text = format!(
                "services:\n  hog: {{image: hog, cpus: {limit}, x-slicewise-load: {{batch: {{threads: {cpus}}}}}}}\n"
            );
            let report = answer_on(kernel, &text, &Node::new(cpus), 5);
            let hog = &report.containers[0];
            let median_ms = hog.stalls.p50_ns as f64 / 1e6;
            let what = format!("{kernel}, limit {limit}, {cpus} threads: {median_ms} ms");
            assert!((median_ms - stall_ms).abs() <= 6.0, "{what}, not {stall_ms}");
            assert!(hog.throttled_share > 0.95, "{what}, {}", hog.throttled_share);
        }
    }
}

/// From 6.3 on every group's periods begin at a time of their own: the quota of a pod and that of its
/// only container stop it at different times, each for a part, and together for as long.
#[test]
fn a_pod_and_its_container_share_the_stop_where_their_periods_differ() {
    let text = pod("hog", "{limits: {cpu: 4}}", "{batch: {threads: 8}}");
    for kernel in ["6.1", "6.12", "7.2"] {
        let report = answer_on(kernel, &text, &Node::new(8), 5);
        let hog = named(&report, "hog");
        let stopped_share = hog.wait.quota_ns as f64 / (8 * report.simulated_ns) as f64;
        assert!((stopped_share - 0.5).abs() < 0.03, "{kernel}: {stopped_share}");
        let median_ms = hog.stalls.p50_ns / MS;
        assert_eq!(median_ms < 40, kernel != "6.1", "{kernel}: {median_ms} ms");
    }
}

#[test]
fn four_threads_cannot_exceed_four_cpus() {
    let text = pod("hog", "{limits: {cpu: 4}}", "{batch: {threads: 4}}");
    let report = answer(&text, 8, 5);
    let hog = named(&report, "hog");
    assert!(hog.used_cpus > 3.9, "{}", hog.used_cpus);
    assert!(hog.wait.quota_ns < 5_000 * MS / 20, "{}", hog.wait.quota_ns);
}

/// Case 14: the groups share, not the threads.
#[test]
fn three_threads_and_one_get_the_same_in_equal_pods() {
    for kernel in ["6.1", "6.6", "6.12", "6.18", "7.2"] {
        let request = "{requests: {cpu: 250m}}";
        let text = pod("three", request, "{batch: {threads: 3}}")
            + &pod("one", request, "{batch: {threads: 1}}");
        let report = answer_on(kernel, &text, &Node::new(1), 10);
        for label in ["three", "one"] {
            let used = named(&report, label).used_cpus;
            assert!((used - 0.5).abs() < 0.01, "{kernel} {label}: {used}");
            assert_eq!(named(&report, label).saturated.share, 0.5);
        }
    }
}

/// Case 66: who stays below its limit is never stopped.
#[test]
fn a_burn_below_the_limit_takes_as_long_as_it_is() {
    let text = pod("burn", "{limits: {cpu: 200m}}", "{batch: {run: 5ms, sleep: 995ms}}");
    for kernel in ["6.1", "6.12", "7.2"] {
        let report = answer_on(kernel, &text, &Node::new(8), 20);
        let burn = named(&report, "burn");
        assert_eq!((burn.nr_throttled, burn.parts[0].durations.count), (0, 20), "{kernel}");
        assert!(burn.parts[0].durations.max_ns < 5_100_000, "{kernel}: {burn:?}");
    }
}

/// Case 67, the direction: without the limit the tail is a fraction of what it was.
#[test]
fn without_a_limit_the_tail_is_short() {
    let load = "{requests: {interarrival: {dist: pareto, min: 5ms, shape: 1.3, max: 1s}, \
                service: {dist: lognormal, median: 5ms, sigma: 0.8}, workers: 4}}";
    let report = answer(&pod("web", "{limits: {cpu: 500m}}", load), 4, 30);
    let part = &named(&report, "web").parts[0];
    let without = part.without_limits.unwrap().durations;
    assert!(part.durations.p99_ns > 3 * without.p99_ns, "{part:?}");
    let service = part.service.unwrap();
    assert!(without.p50_ns < service.p50_ns * 2, "{part:?}");
}

/// The same, for a device that is fed by a thread beside eight that compute: 60 % against 92 % of
/// bare metal was reported.
#[test]
fn a_device_starves_when_the_quota_stops_the_thread_that_feeds_it() {
    let loads = "
      - launch: {kernels: 40, cpu: 40us, work: 200us}
      - batch: {threads: 8, run: {dist: lognormal, median: 12ms, sigma: 0.5}, sleep: 3ms}";
    let limited = pod("train", "{limits: {cpu: 4, memory: 1Gi}}", loads);
    let busy = |report: &KubeReport| {
        let part = named(report, "train").parts[0].clone();
        let best = part.alone.or(part.without_limits).and_then(|it| it.device_busy_share);
        (part.launch.unwrap().device_busy_share, best)
    };
    let (with_limit, bare) = busy(&answer(&limited, 16, 10));
    assert!((0.5..0.75).contains(&with_limit), "{with_limit}");
    assert!(bare.unwrap() > 0.98, "{bare:?}");
    let (free, _) =
        busy(&answer(&pod("train", "{requests: {cpu: 4, memory: 1Gi}}", loads), 16, 10));
    assert!(free > 0.98, "{free}");
    // Exclusive CPUs end the throttling, not the want of CPUs: eight threads and the one that
    // launches share four.
    let mut node = Node::new(16);
    node.static_cpus = Some(Default::default());
    node.kube_reserved = slicewise_containers::Quantity::units(1);
    let report = answer_on("6.12", &limited, &node, 10);
    assert_eq!(named(&report, "train").exclusive_cpus.as_deref(), Some("1-4"));
    assert_eq!(named(&report, "train").wait.quota_ns, 0);
    let (exclusive, _) = busy(&report);
    assert!(with_limit < exclusive && exclusive < free, "{with_limit} {exclusive} {free}");
}

/// Case 54, the shape: a server that always has more to do than it may, on 24 CPUs with a limit of 2.
/// Two threads serve the most, more of them no more, and the tail grows with every one of these. Measured
/// was a closed loop; here requests that find 16 waiting are dropped. DIFFERENCE: the measured tail grew
/// from one thread to two as well, where a real runtime has threads beside its workers. Here one thread
/// is slower than two, and neither is stopped often enough to matter.
#[test]
fn more_threads_than_the_limit_serve_no_more_and_lengthen_the_tail() {
    let mut before = (0, 0);
    let mut served_by_two = 0;
    for threads in [1, 2, 3, 4, 8, 24] {
        let text = format!(
            "services:
  server:
    cpus: 2
    x-slicewise-load:
      requests: {{rate: 60000/s, service: {{dist: exponential, mean: 40us}}, workers: {threads}, depth: 16}}
"
        );
        let report = answer(&text, 24, 3);
        let part = &report.containers[0].parts[0];
        let (served, p999_ns) = (part.requests.unwrap().served, part.durations.p999_ns);
        let falls_short = threads > 2 && p999_ns < before.1;
        assert!(!falls_short, "{threads} threads: {p999_ns} ns after {} ns", before.1);
        match threads {
            1 => {}
            2 => {
                assert!(served * 10 > before.0 * 15, "{served} after {}", before.0);
                served_by_two = served;
            }
            _ => {
                assert!(served * 100 <= served_by_two * 102, "{threads}: {served}, {served_by_two}")
            }
        }
        before = (served, p999_ns);
    }
}

/// Threads that begin together stay so, whatever a quota does to them: rounds of the same threads end
/// when the slowest has ended. Apart, they drift.
#[test]
fn threads_that_begin_together_use_up_the_quota_together_for_ever() {
    let stops = |together: bool| {
        let load =
            format!("{{batch: {{threads: 16, run: 20ms, sleep: 380ms, together: {together}}}}}");
        let report = answer(&pod("gc", "{limits: {cpu: 2}}", &load), 16, 60);
        let gc = named(&report, "gc");
        (gc.wait.quota_ns, gc.parts[0].durations.count)
    };
    let ((together_ns, rounds), (apart_ns, _)) = (stops(true), stops(false));
    // 320 ms of work in a round, 200 ms at once: every round is stopped, for most of a period.
    assert!(together_ns > 2 * apart_ns, "{together_ns}, {apart_ns} apart");
    assert_eq!(rounds % 16, 0, "all threads have as many rounds: {rounds}");
}

#[test]
fn who_waits_for_whom_is_told_by_name() {
    let text = pod("web", "{requests: {cpu: 1}}", "{batch: {threads: 1}}")
        + &pod("batch", "{requests: {cpu: 1}}", "{batch: {threads: 1}}");
    let report = answer(&text, 1, 2);
    let web = named(&report, "web");
    assert_eq!(web.wait.others[0].container, "batch");
    assert_eq!(web.wait.total_ns, web.wait.other_containers_ns + web.wait.nobody_ns);
    assert!(web.wait.other_containers_ns > 900 * MS, "{:?}", web.wait);
}

#[test]
fn a_pods_quota_around_a_container_is_found_and_named() {
    let text = "
apiVersion: v1
kind: Pod
metadata:
  name: p
  annotations:
    slicewise.dev/load: |
      a: {batch: {threads: 4}}
spec:
  resources: {limits: {cpu: 1}, requests: {cpu: 1}}
  containers:
  - name: a
  - name: b
";
    let report = answer(text, 4, 2);
    let a = named(&report, "p/a");
    let quota = a.quota.as_ref().unwrap();
    assert_eq!(quota.cpus, 1.0);
    assert!(a.throttled_share > 0.9);
    assert!(!named(&report, "p/b").has_load);
}

#[test]
fn copies_are_added_up_and_stay_apart() {
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  template:
    metadata:
      annotations:
        slicewise.dev/load: |
          web: {batch: {run: 10ms, sleep: 90ms}}
    spec:
      containers: [{name: web}]
";
    let report = answer(text, 4, 2);
    assert_eq!(report.containers.len(), 3);
    assert_eq!(report.workloads.len(), 1);
    let all = named(&report, "web");
    assert_eq!(all.copies, 3);
    assert_eq!(all.cpu_ns, report.containers.iter().map(|it| it.cpu_ns).sum::<u64>());
    let labels: Vec<&str> = report.containers.iter().map(|it| it.label.as_str()).collect();
    assert_eq!(labels, ["web-0", "web-1", "web-2"]);
}

#[test]
fn names_that_would_be_the_same_are_spelt_out() {
    let one = pod("web", "{}", "{batch: {run: 1ms, sleep: 9ms}}");
    let other = one.replace("name: web\n  annotations", "name: web\n  namespace: b\n  annotations");
    let report = answer(&(one + &other), 2, 1);
    let labels: Vec<&str> = report.workloads.iter().map(|it| it.label.as_str()).collect();
    assert_eq!(labels, ["default/web", "b/web"]);
    assert!(report.workloads.iter().all(|it| it.cpu_ns > 0), "each has its own figures");
}

#[test]
fn weights_alone_decide_when_all_are_busy_and_quotas_still_hold() {
    let hog = |name: &str, resources: &str| pod(name, resources, "{batch: {threads: 4}}");
    let text = hog("small", "{requests: {cpu: 1}}")
        + &hog("big", "{requests: {cpu: 1}, limits: {cpu: 1}}");
    let report = answer(&text, 4, 1);
    let (small, big) = (named(&report, "small"), named(&report, "big"));
    assert_eq!((small.saturated.share, big.saturated.share), (0.5, 0.5));
    assert_eq!((small.saturated.cpus, big.saturated.cpus), (2.0, 1.0));
}

#[test]
fn alone_draws_the_same_requests() {
    let load = "{requests: {rate: 50/s, service: {dist: exponential, mean: 2ms}, workers: 2}}";
    let text = pod("a", "{}", load) + &pod("b", "{}", load);
    let manifest = manifest(&text);
    let study = Study::new(&manifest, &Node::new(8)).unwrap();
    let settings = settings("6.12", 8, 2_000 * MS);
    let ran = |way| run(study.mapping(), &settings, way, (), &|_| {}).unwrap().0;
    let (both, alone) = (ran(Way::AsItIs), ran(Way::Alone(1)));
    assert_eq!(both.queues[1].arrived, alone.queues[1].arrived);
    assert_eq!(alone.queues[0].arrived, 0);
    assert_eq!(alone.containers[0].cpu_ns, 0);
}

/// Every path in a JSON value, list members under `[]`.
fn paths(value: &serde_json::Value, at: &str, found: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, inner)| paths(inner, &format!("{at}.{key}"), found));
        }
        serde_json::Value::Array(list) => {
            list.iter().for_each(|inner| paths(inner, &format!("{at}[]"), found));
        }
        _ => {
            found.insert(at.to_owned());
        }
    }
}

#[test]
fn the_field_names_of_the_json_are_a_contract() {
    let text = pod(
        "web",
        "{requests: {cpu: 100m}, limits: {cpu: 200m}}",
        "
      - requests: {rate: 50/s, service: 4ms, workers: 4}
      - launch: {cpu: 1ms, work: 1ms}
      - batch: {run: 1ms, sleep: 9ms}",
    ) + &pod("batch", "{}", "{batch: {threads: 2}}")
        + &pod("pinned", "{limits: {cpu: 1, memory: 1Gi}}", "{batch: {run: 5ms, sleep: 5ms}}");
    let manifest = manifest(&text);
    let mut node = Node::new(2);
    node.static_cpus = Some(Default::default());
    node.kube_reserved = slicewise_containers::Quantity::milli(500);
    let study = Study::new(&manifest, &node).unwrap();
    let question = question("6.12", 2, 1);
    let (mut report, ()) = study.answer(&question, (), &|_| {}).unwrap();
    let target = Target::Throttled(0.01);
    let rows = study.candidates(&report, &target, None);
    report.suggestions = study.suggest(&question, &report, &target, &rows, &|_| {}).unwrap();
    let value = serde_json::to_value(&report).unwrap();
    let mut found = std::collections::BTreeSet::new();
    paths(&value, "", &mut found);
    // Containers and workloads have the same fields.
    found.retain(|path| !path.starts_with(".workloads[]"));
    insta::assert_snapshot!(found.into_iter().collect::<Vec<_>>().join("\n"));
    let again: KubeReport = serde_json::from_value(value).unwrap();
    assert_eq!(again, report);
}

#[test]
fn a_target_that_is_missed_is_a_finding() {
    let load = "{requests: {interarrival: 10ms, service: 5ms, workers: 1}}";
    let manifest = manifest(&pod("web", "{}", load));
    let study = Study::new(&manifest, &Node::new(1)).unwrap();
    let mut question = question("6.12", 1, 1);
    let findings =
        |question: &Question| study.answer(question, (), &|_| {}).unwrap().0.findings.len();
    let target = |ns| Some(Target::Response(slicewise_kube::Quantile::P99, ns));
    question.target = target(6 * MS);
    assert_eq!(findings(&question), 0);
    question.target = target(4 * MS);
    assert_eq!(findings(&question), 1);
}

/// Everything a thread does is running, waiting or sleeping: of threads that never sleep, running and
/// waiting is all of the time.
fn check_sums(mapping: &Mapping, outcome: &Outcome) -> Result<(), TestCaseError> {
    let busy: u64 = outcome.cpu_busy_ns.iter().sum();
    let used: u64 = outcome.containers.iter().map(|it| it.cpu_ns).sum();
    prop_assert_eq!(busy, used);
    for (container, figures) in mapping.containers.iter().zip(&outcome.containers) {
        let threads: usize = container.parts.iter().map(|part| part.tasks.len()).sum();
        let all = threads as u64 * outcome.simulated_ns;
        prop_assert!(figures.cpu_ns + figures.wait_ns() <= all);
        let never_sleeps = container.parts.iter().all(|part| match &part.part {
            slicewise_containers::Part::Batch(batch) => batch.sleep.is_none(),
            _ => false,
        });
        if never_sleeps {
            prop_assert_eq!(figures.cpu_ns + figures.wait_ns(), all);
        }
    }
    Ok(())
}

fn any_pod() -> impl Strategy<Value = (String, String)> {
    let loads = prop_oneof![
        (1u32..6).prop_map(|threads| format!("{{batch: {{threads: {threads}}}}}")),
        (1u32..4, 1u32..30, 1u32..30).prop_map(|(threads, run, sleep)| format!(
            "{{batch: {{threads: {threads}, run: {run}ms, sleep: {sleep}ms}}}}"
        )),
        (1u32..5, 20u32..200).prop_map(|(workers, rate)| format!(
            "{{requests: {{rate: {rate}/s, service: {{dist: exponential, mean: 4ms}}, workers: {workers}}}}}"
        )),
        (1u32..3, 1u32..20).prop_map(|(threads, kernels)| format!(
            "{{launch: {{threads: {threads}, kernels: {kernels}, cpu: 50us, work: 100us, depth: 4}}}}"
        )),
    ];
    let resources = prop_oneof![
        Just("{}".to_owned()),
        (1u32..30).prop_map(|limit| format!("{{limits: {{cpu: {}m}}}}", limit * 100)),
        (1u32..30).prop_map(|request| format!("{{requests: {{cpu: {}m}}}}", request * 100)),
        (1u32..4).prop_map(|cpus| format!("{{limits: {{cpu: {cpus}, memory: 1Gi}}}}")),
    ];
    (resources, loads)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn all_time_is_accounted_for_and_nobody_waits_for_itself_alone(
        pods in prop::collection::vec(any_pod(), 1..6),
        kernel in prop::sample::select(vec!["6.1", "6.6", "6.12", "6.18", "7.2"]),
        cpus in 2u32..6,
        is_static in any::<bool>(),
    ) {
        let mut text = String::new();
        for (number, (resources, load)) in pods.iter().enumerate() {
            text.push_str(&pod(&format!("p{number}"), resources, load));
        }
        let manifest = manifest(&text);
        let mut node = Node::new(cpus);
        if is_static {
            node.static_cpus = Some(Default::default());
            node.kube_reserved = slicewise_containers::Quantity::units(1);
        }
        let study = Study::new(&manifest, &node).unwrap();
        let settings = settings(kernel, cpus, 700 * MS);
        let (outcome, ()) = run(study.mapping(), &settings, Way::AsItIs, (), &|_| {}).unwrap();
        check_sums(study.mapping(), &outcome)?;
        let (free, ()) = run(study.mapping(), &settings, Way::WithoutQuotas, (), &|_| {}).unwrap();
        check_sums(study.mapping(), &free)?;
        prop_assert!(free.containers.iter().all(|it| it.quota_ns == 0 && it.stalls.count() == 0));
    }
}
