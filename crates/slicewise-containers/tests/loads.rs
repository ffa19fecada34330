//! Loads, Docker and Compose that are right.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{read, shown};
use slicewise_containers::{
    Batch, CpuList, Dist, Launch, Load, Node, Part, Requests, docker_run, line_col,
};

fn pod_with(load: &str) -> String {
    let load: String = load.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    slicewise.dev/load: \
         |\n{load}spec: {{containers: [{{name: c}}]}}\n"
    )
}

fn parts(load: &str) -> Vec<Part> {
    let manifest = read(&pod_with(load));
    manifest.workloads[0].pod.containers[0].load.clone().unwrap().parts
}

#[test]
fn every_kind_of_load_becomes_its_part() {
    let load = "\
c:
- requests: {rate: 200/s, service: {dist: exponential, mean: 5ms}, workers: 16, depth: 100}
- requests: {interarrival: 10ms, service: 1ms, workers: 2}
- batch: {}
- batch: {threads: 8, run: {dist: uniform, min: 1ms, max: 2ms}, sleep: 1ms}
- launch: {cpu: 40us, work: 200us}
- launch: {threads: 2, device: gpu1, kernels: 40, cpu: {dist: empirical, values: [[1ms, 90], [2ms, 10]]}, work: 0, depth: 8}
";
    let ms = 1_000_000;
    assert_eq!(
        parts(load),
        [
            Part::Requests(Requests {
                arrivals: Dist::Exponential { mean_ns: 5e6 },
                service: Dist::Exponential { mean_ns: 5e6 },
                workers: 16,
                depth: Some(100),
            }),
            Part::Requests(Requests {
                arrivals: Dist::Constant(10 * ms),
                service: Dist::Constant(ms),
                workers: 2,
                depth: None,
            }),
            Part::Batch(Batch { threads: 1, run: None, sleep: None, together: false }),
            Part::Batch(Batch {
                threads: 8,
                run: Some(Dist::Uniform(ms, 2 * ms)),
                sleep: Some(Dist::Constant(ms)),
                together: false,
            }),
            Part::Launch(Launch {
                threads: 1,
                device: "gpu".to_owned(),
                kernels: 1,
                cpu: Dist::Constant(40_000),
                work: Dist::Constant(200_000),
                depth: None,
            }),
            Part::Launch(Launch {
                threads: 2,
                device: "gpu1".to_owned(),
                kernels: 40,
                cpu: Dist::Empirical(vec![(ms, 90), (2 * ms, 10)]),
                work: Dist::Constant(0),
                depth: Some(8),
            }),
        ]
    );
    let drawn = "c: {batch: {run: {dist: pareto, min: 1us, shape: 1.5, max: 1ms}, sleep: {dist: lognormal, median: 1ms, sigma: 0.5}}}";
    assert_eq!(
        parts(drawn),
        [Part::Batch(Batch {
            threads: 1,
            run: Some(Dist::Pareto { scale_ns: 1e3, shape: 1.5, max_ns: ms }),
            sleep: Some(Dist::LogNormal { median_ns: 1e6, sigma: 0.5 }),
            together: false,
        })]
    );
}

#[test]
fn a_load_knows_its_place_in_the_file() {
    let text = pod_with("c:\n  batch: {}");
    let load: Load = read(&text).workloads[0].pod.containers[0].load.clone().unwrap();
    let place = line_col(&text, load.place.start as usize);
    assert_eq!((place.line, place.column), (8, 9), "{load:?}");
    assert_eq!(&text[load.place.start as usize..load.place.end as usize], "batch: {}");
}

#[test]
fn the_pod_template_wins_over_its_owner_and_a_document_over_both() {
    let deployment = |outer: &str, inner: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a{outer}}}\nspec:\n  template:\n    \
         metadata: {{name: x{inner}}}\n    spec: {{containers: [{{name: c}}]}}\n"
        )
    };
    let note = |threads: u32| {
        format!(", annotations: {{slicewise.dev/load: 'c: {{batch: {{threads: {threads}}}}}'}}")
    };
    let threads = |text: &str| match read(text).workloads[0].pod.containers[0]
        .load
        .clone()
        .unwrap()
        .parts[..]
    {
        [Part::Batch(Batch { threads, .. })] => threads,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(threads(&deployment(&note(1), "")), 1);
    assert_eq!(threads(&deployment(&note(1), &note(2))), 2);
    for target in ["Deployment/a", "deploy/a", "deployments/a", "default/Deployment/a"] {
        let overlay = format!(
            "---\napiVersion: slicewise.dev/v1\nkind: Load\ntarget: {target}\nload: {{c: {{batch: {{threads: 3}}}}}}\n"
        );
        assert_eq!(threads(&(deployment(&note(1), &note(2)) + &overlay)), 3, "{target}");
    }
}

#[test]
fn docker_flags_mean_what_the_daemon_makes_of_them() {
    let cpu = |command: &str| {
        let it = docker_run(command).unwrap().standalone.remove(0);
        (it.name, it.shares, it.quota_us, it.period_us, it.cpuset)
    };
    let name = |name: &str| name.to_owned();
    assert_eq!(cpu("nginx"), (name("nginx"), None, None, 100_000, None));
    assert_eq!(
        cpu(
            "docker run -dit --rm -p 80:80 -e A=B --name web --cpus=1.5 -c512 reg.io/x/nginx:1 sh -c 'x'"
        ),
        (name("web"), Some(512), Some(150_000), 100_000, None)
    );
    assert_eq!(
        cpu(
            "podman run --cpu-period 50000 --cpu-quota=25000 \\\n  --cpuset-cpus '0-1,3' img@sha256:x"
        ),
        (name("img"), None, Some(25_000), 50_000, Some(CpuList::parse("0-1,3").unwrap()))
    );
    assert_eq!(
        cpu("docker run --cpu-quota -1 --cpus 0 -c 0 x"),
        (name("x"), None, None, 100_000, None)
    );
    // The flags of what runs inside are not Docker's.
    assert_eq!(cpu("docker run x --cpus 99999").2, None);
    assert_eq!(cpu("docker run --cpus 0.01 x").2, Some(1_000));
    let load = "docker run --label 'slicewise.dev/load={batch: {threads: 4}}' x";
    let load = docker_run(load).unwrap().standalone.remove(0).load.unwrap();
    assert_eq!(
        load.parts,
        [Part::Batch(Batch { threads: 4, run: None, sleep: None, together: false })]
    );
}

#[test]
fn compose_services_become_containers() {
    let text = "\
name: shop
x-small: &small {cpus: 0.5, cpu_shares: 512}
services:
  web:
    <<: *small
    deploy: {replicas: 2}
    x-slicewise-load: {requests: {rate: 50/s, service: 2ms, workers: 4}}
  db: {cpu_quota: 50ms, cpu_period: 50000, cpuset: 0-1, cgroup_parent: big-db.slice}
  cache:
    container_name: cache
    deploy: {resources: {limits: {cpus: '0.155'}}}
  off: {scale: 0}
";
    insta::assert_snapshot!("compose", shown(text, &Node::new(4)));
    assert!(read(text).standalone[0].load.is_some());
}
