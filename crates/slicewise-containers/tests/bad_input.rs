//! What is wrong with an input is said with its line, a caret and a fix.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{lines, problems, read, render};
use slicewise_containers::{Diagnostic, Severity, SkipReason, Source, docker_run, load};

fn deployment(resources: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: api\nspec:\n  template:\n    \
         spec:\n      containers:\n      - name: api\n        resources:\n{resources}"
    )
}

fn docker(command: &str) -> String {
    let sources = [Source::new("command", command)];
    match docker_run(command) {
        Err(list) => render(&sources, &list),
        Ok(manifest) => render(&sources, &manifest.warnings),
    }
}

#[test]
fn bad_quantities_and_limits_are_shown_together() {
    let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: a}
  spec:
    containers:
    - name: two-points
      resources: {limits: {cpu: 1.5.2}}
    - name: millions
      resources: {limits: {cpu: 500M}}
    - name: exponent
      resources: {requests: {cpu: 2e3m}}
    - name: upside-down
      resources:
        limits: {cpu: 500m, memory: 64Mi}
        requests: {cpu: 1, memory: 128Mi}
    - name: tiny
      resources: {limits: {cpu: 5m}}
    - name: fine
      resources: {requests: {cpu: 0.5m}}
    - name: octal
      resources: {requests: {cpu: 010}}
    - name: bytes
      resources: {limits: {memory: 64MB}}
    - name: typo
      resources: {limit: {cpu: 1}}
    - name: other-typo
      resources: {limits: {cpus: 1}}
    - name: negative
      resources: {limits: {cpu: -1}}
    - name: empty
      resources: {limits: {cpu: }}
";
    insta::assert_snapshot!("quantities", problems("pod.yaml", text));
}

#[test]
fn broken_yaml_is_shown_where_it_breaks() {
    let text = "a: [1,\n---\nkind: Pod\n\tmetadata: {}\n---\nreplicas: {{ .Values.replicas }}\n---\nx: \"abc\n";
    insta::assert_snapshot!("yaml", problems("broken.yaml", text));
}

#[test]
fn objects_without_what_they_need_say_so() {
    let text = "\
kind: Deployment
apiVersion: apps/v1
metadata: {name: no-spec}
---
kind: Deployment
apiVersion: apps/v1
metadata: {name: no-template}
spec: {replicas: -1}
---
apiVersion: v1
metadata: {name: no-kind}
---
just a text
---
kind: Pod
apiVersion: v1
metadata: {name: Bad_Name}
spec: {containers: [{name: a}]}
---
kind: Pod
apiVersion: v1
metadata: {name: no-containers}
spec: {}
---
kind: Pod
apiVersion: v1
metadata: {name: twins}
spec: {containers: [{name: a}, {name: a}, {name: B}, {image: x}]}
---
kind: Job
apiVersion: batch/v1
metadata: {name: many}
spec: {parallelism: 1000000, template: {spec: {containers: [{name: a}]}}}
";
    insta::assert_snapshot!("objects", problems("objects.yaml", text));
}

#[test]
fn a_bad_load_is_shown_inside_its_annotation() {
    let text = "\
apiVersion: v1
kind: Pod
metadata:
  name: a
  annotations:
    slicewise.dev/load: |
      api:
        requests: {rate: 200, service: 5, workers: 0}
      aip:
        batch: {threads: 1}
      both:
        batch: {thread: 1}
        launch: {cpu: 1ms}
      drawn:
        requests:
          rate: 10/s
          interarrival: 1ms
          service: {dist: expo, mean: 1ms}
          workers: 1
      nothing: {}
spec:
  containers: [{name: api}, {name: both}, {name: drawn}, {name: nothing}]
";
    insta::assert_snapshot!("load", problems("load.yaml", text));
}

#[test]
fn a_load_for_nobody_is_an_error() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: api}
spec: {containers: [{name: api}]}
---
apiVersion: slicewise.dev/v1
kind: Load
target: pod/apu
load: {api: {batch: {threads: 1}}}
---
apiVersion: slicewise.dev/v1
kind: Load
target: Pod/api
load: {app: {batch: {threads: 1}}}
---
apiVersion: slicewise.dev/v1
kind: Load
target: api
load: {batch: {threads: 1}}
---
apiVersion: slicewise.dev/v1
kind: Loud
";
    insta::assert_snapshot!("overlay", problems("overlay.yaml", text));
}

#[test]
fn bad_docker_flags_are_shown_in_the_command() {
    let mut text = String::new();
    for command in [
        "docker run --cpus 1.5.2 --cpu-quota 500 --cpu-period 10 nginx",
        "docker run --cpus=500m --cpu-shares x --cpuset-cpus 3-1 nginx",
        "docker run --cpus 2 --cpu-quota 50000 --cpu-period=50000 nginx",
        "docker run --cpus 0.001 --cpu-share 512 nginx",
        "docker run -it --rm -c 1000000 --cgroup-parent ../../x nginx",
        "docker run --name 'a",
        "docker run --cpus 1",
        "docker run --label 'slicewise.dev/load={batch: {threads: none}}' nginx",
    ] {
        text += &docker(command);
    }
    insta::assert_snapshot!("docker", text);
}

#[test]
fn a_bad_compose_file_is_shown_the_same_way() {
    let text = "\
services:
  a: {cpus: 1.5.2, cpu_shares: many}
  b:
    cpus: 2
    deploy: {resources: {limits: {cpus: '1'}, reservations: {cpus: '0.5'}}}
  c: {cpu_quota: 500, cpu_period: 2s}
  d: {cpus: $CPUS}
  e: {cpus: '${CPUS:-0.5}', extends: a}
  f: {x-slicewise-load: {batch: {threads: 0}}}
";
    insta::assert_snapshot!("compose", problems("compose.yaml", text));
}

#[test]
fn a_bad_kubelet_configuration_is_shown_the_same_way() {
    let text = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: system
cpuManagerPolicy: statik
cpuManagerPolicyOptions: {align-by-sockets: \"true\", full-pcpus-only: maybe}
topologyManagerPolicy: best
topologyManagerPolicyOptions: {max-allowable-numa-nodes: \"4\"}
reservedSystemCPUs: 0-
kubeReserved: {cpu: 1x}
cpuCFSQuota: 1
cpuCFSQuotaPeriod: 10ms
systemReservedCgroup: /system.slice
";
    insta::assert_snapshot!("kubelet", problems("kubelet.yaml", text));
}

#[test]
fn what_is_skipped_is_counted_and_never_silent() {
    let text = "\
{apiVersion: v1, kind: Service, metadata: {name: s}}
---
{apiVersion: apps/v1, kind: Deploymnet, metadata: {name: d}}
---
{apiVersion: serving.knative.dev/v1, kind: Deployment, metadata: {name: k}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done}, spec: {}, status: {phase: Succeeded}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: none}, spec: {replicas: 0, template: {spec: {containers: [{name: a}]}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, ownerReferences: [{controller: true, kind: ReplicaSet, name: r}]}, spec: {containers: [{name: a}]}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: r}, spec: {template: {spec: {containers: [{name: a}]}}}}
";
    let manifest = load(&[Source::new("all.yaml", text)]).unwrap();
    let skipped: Vec<(&str, &str, SkipReason)> = manifest
        .skipped
        .iter()
        .map(|it| (it.kind.as_str(), it.name.as_str(), it.why.clone()))
        .collect();
    let owner = "ReplicaSet/r".to_owned();
    assert_eq!(
        skipped,
        [
            ("Service", "s", SkipReason::Kind),
            ("Deploymnet", "d", SkipReason::Kind),
            ("Deployment", "k", SkipReason::Kind),
            ("Pod", "done", SkipReason::Ended),
            ("Deployment", "none", SkipReason::Nothing),
            ("Pod", "a", SkipReason::Owned { owner }),
        ]
    );
    assert_eq!(manifest.workloads.len(), 1);
    let warnings: Vec<&str> = manifest.warnings.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(warnings, ["unknown kind `Deploymnet`: it is skipped"]);
    let nothing = problems("s.yaml", "{apiVersion: v1, kind: Service, metadata: {name: s}}");
    assert!(nothing.contains("nothing in the input runs: 1 objects are skipped"), "{nothing}");
    assert!(problems("e.yaml", "").contains("there is nothing in the input"));
}

#[test]
fn a_problem_says_which_of_several_files_it_is_in() {
    let good = Source::new("good.yaml", deployment("          limits: {cpu: 1}\n"));
    let bad =
        Source::new("bad.yaml", deployment("          limits: {cpu: 1,5}\n").replace("api", "b"));
    let list: Vec<Diagnostic> = load(&[good.clone(), bad]).unwrap_err();
    assert_eq!((list[0].file, list.len()), (1, 1), "{list:?}");
    let list = load(&[good.clone(), good]).unwrap_err();
    assert_eq!((list[0].file, list[0].message.as_str()), (1, "Deployment `api` is there twice"));
}

#[test]
fn kubectls_lists_and_json_are_read() {
    let pod = |name: &str| {
        format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{name}\",\"uid\":\"0a-1b\"}},\
         \"spec\":{{\"nodeName\":\"n\",\"containers\":[{{\"name\":\"c\",\"resources\":{{\"limits\":{{\"cpu\":\"2\"}}}}}}]}}}}"
        )
    };
    let json = format!(
        "{{\"apiVersion\":\"v1\",\"items\":[{},{}],\"kind\":\"List\"}}",
        pod("a"),
        pod("b")
    );
    assert_eq!(read(&json).workloads.len(), 2);
    let typed = "{apiVersion: v1, kind: PodList, items: [{metadata: {name: a}, spec: {containers: [{name: c}]}}]}";
    assert_eq!(read(typed).workloads[0].name, "a");
    let uid = read(&pod("a")).workloads[0].uid.clone();
    assert_eq!(uid.as_deref(), Some("0a-1b"));
}

#[test]
fn a_place_is_the_offending_value() {
    let text = deployment("          limits: {cpu: 1.5.2}\n          requests: {cpu: 1x}\n");
    assert_eq!(
        lines(&text),
        [
            "11:25 `limits.cpu`: `1.5.2` has two decimal points",
            "12:27 `requests.cpu`: `1x` has the unknown suffix `x`",
        ]
    );
}

#[test]
fn a_hundred_problems_are_shown_and_the_rest_counted() {
    let containers: String = (0..150)
        .map(|i| format!("  - {{name: c{i}, resources: {{limits: {{cpu: 1x{i}}}}}}}\n"))
        .collect();
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n{containers}"
    );
    let list = load(&[Source::new("many.yaml", text)]).unwrap_err();
    assert_eq!(list.len(), 101);
    assert!(list[100].message.contains("50 more problems"), "{:?}", list[100]);
    assert!(list.iter().all(|d| d.severity == Severity::Error));
}

/// Endless lines of all kinds, as large as a test can be.
#[test]
fn endless_lines_are_read_or_refused() {
    let long = "a".repeat(4 << 20);
    for text in [
        long.clone(),
        format!("\"{long}\""),
        format!("\"{long}"),
        format!("'{long}': 1"),
        format!("{long}: 1"),
        format!("# {long}"),
        format!("a: {long}"),
        format!("a: |\n  {long}"),
        format!("&{long} a"),
        format!("*{long}"),
        format!("!{long} a"),
        format!("%{long}"),
        " ".repeat(4 << 20),
        "\t".repeat(4 << 20),
        "\n".repeat(4 << 20),
        "-".repeat(4 << 20),
        "---\n".repeat(1 << 18),
        "[1,2,3,".repeat(1 << 18),
        "? ".repeat(1 << 18),
        "\u{feff}".repeat(1 << 18),
        format!("kind: {long}"),
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {long}}}\nspec: {{containers: [{{name: a}}]}}"
        ),
        deployment(&format!("          limits: {{cpu: {long}}}\n")),
        deployment(&format!("          limits: {{{long}: 1}}\n          {long}: 1\n")),
    ] {
        let list = match load(&[Source::new("long.yaml", text)]) {
            Ok(manifest) => manifest.warnings,
            Err(list) => list,
        };
        for problem in list {
            assert!(problem.message.len() < 1000, "{} bytes", problem.message.len());
            assert!(problem.help.is_none_or(|help| help.len() < 2000));
        }
    }
}

#[test]
fn a_thousand_pods_are_read_whole() {
    let text: String = (0..1000)
        .map(|i| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{i}}}\nspec:\n  containers:\n  - name: \
                 c\n    resources: {{requests: {{cpu: 10m}}, limits: {{cpu: 100m}}}}\n---\n"
            )
        })
        .collect();
    assert_eq!(read(&text).workloads.len(), 1000);
}
