//! Cgroup trees from manifests.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{read, show, shown};
use slicewise_containers::{
    CgroupVersion, CpuList, CpuManagerError, Driver, Group, Node, QosClass, Quantity, Source,
    StaticPolicy, TreeError, WeightFormula, load, tree,
};

/// A pod with containers of these resources.
fn pod(name: &str, containers: &[&str]) -> String {
    let mut text =
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n");
    for (number, resources) in containers.iter().enumerate() {
        text += &format!("  - {{name: c{number}, resources: {{{resources}}}}}\n");
    }
    text + "---\n"
}

fn cgroupfs(cpus: u32) -> Node {
    Node { driver: Driver::Cgroupfs, ..Node::new(cpus) }
}

/// The group whose path ends so.
fn group(text: &str, node: &Node, end: &str) -> Group {
    let manifest = read(text);
    let tree = tree(&manifest, node).unwrap();
    let found = tree.groups.iter().find(|group| group.path.ends_with(end));
    found.unwrap_or_else(|| panic!("no {end} in\n{}", show(&tree))).clone()
}

#[test]
fn a_node_has_a_branch_for_each_class_and_both_drivers_name_it_their_way() {
    let text = pod("guaranteed", &["limits: {cpu: 2, memory: 1Gi}"])
        + &pod("some-burst", &["requests: {cpu: 250m}, limits: {cpu: 1}", "requests: {cpu: 250m}"])
        + &pod("best", &[""]);
    let node = Node { kube_reserved: Quantity::milli(500), ..Node::new(8) };
    insta::assert_snapshot!("classes_systemd", shown(&text, &node));
    let node = Node { driver: Driver::Cgroupfs, ..node };
    insta::assert_snapshot!("classes_cgroupfs", shown(&text, &node));
}

#[test]
fn the_examples_become_these_trees() {
    for (name, text) in [
        ("go-api", include_str!("../../../examples/k8s/go-api.yaml")),
        (
            "training",
            concat!(
                include_str!("../../../examples/k8s/training.yaml"),
                include_str!("fixtures/static-kubelet.yaml")
            ),
        ),
        ("noisy-neighbour", include_str!("../../../examples/k8s/noisy-neighbour.yaml")),
    ] {
        insta::assert_snapshot!(format!("example_{name}"), shown(text, &Node::new(16)));
    }
}

#[test]
fn a_container_weighs_what_its_runtimes_formula_says() {
    let text = pod("a", &["requests: {cpu: 1}"]);
    let weights = |node: &Node| {
        let manifest = read(&text);
        tree(&manifest, node).unwrap().groups.iter().map(|it| it.weight).collect::<Vec<_>>()
    };
    // kubepods of 8 CPUs, besteffort, burstable, the pod, the container.
    assert_eq!(weights(&Node::new(8)), [313, 1, 39, 39, 100]);
    let old = Node { runtime_formula: WeightFormula::Linear, ..Node::new(8) };
    assert_eq!(weights(&old), [313, 1, 39, 39, 39]);
    let new = Node { kubelet_formula: WeightFormula::Curved, ..Node::new(8) };
    assert_eq!(weights(&new), [532, 1, 100, 100, 100]);
    assert_eq!(weights(&Node::new(64))[0], 2500);
}

#[test]
fn on_cgroup_v1_the_shares_are_the_kernels_weight() {
    let text = pod("a", &["requests: {cpu: 500m}"]);
    let v1 = Node { cgroups: CgroupVersion::V1, ..cgroupfs(8) };
    assert_eq!(group(&text, &v1, "/c0").kernel_weight, 512);
    // 59 of cpu.weight is 604 of the kernel's.
    assert_eq!(group(&text, &cgroupfs(8), "/c0").kernel_weight, 604);
}

#[test]
fn a_quota_with_systemd_is_rounded_up_to_whole_per_cents() {
    let text = pod("a", &["requests: {cpu: 100m}, limits: {cpu: 155m}"]);
    assert_eq!(group(&text, &Node::new(8), "c0.scope").quota_us, Some(16_000));
    assert_eq!(group(&text, &cgroupfs(8), "/c0").quota_us, Some(15_500));
    let exact = Node { systemd_rounds: false, ..Node::new(8) };
    assert_eq!(group(&text, &exact, "c0.scope").quota_us, Some(15_500));
}

#[test]
fn a_pod_has_a_quota_only_if_every_container_has_a_limit() {
    let text = pod("a", &["requests: {cpu: 100m}, limits: {cpu: 200m}", ""]);
    let pod_group = group(&text, &cgroupfs(8), ":a");
    assert_eq!((pod_group.shares, pod_group.quota_us), (Some(102), None));
    assert_eq!(group(&text, &cgroupfs(8), "/c0").quota_us, Some(20_000));
    assert_eq!(group(&text, &cgroupfs(8), "/c1").quota_us, None);
    let both = pod("a", &["limits: {cpu: 200m}", "limits: {cpu: 300m}"]);
    assert_eq!(group(&both, &cgroupfs(8), ":a").quota_us, Some(50_000));
}

#[test]
fn the_burstable_class_weighs_the_sum_of_its_requests() {
    let text = pod("a", &["requests: {cpu: 250m}"]) + &pod("b", &["requests: {cpu: 250m}"]);
    let class = group(&text, &cgroupfs(8), "/burstable");
    assert_eq!((class.shares, class.weight), (Some(512), 20));
    let copies = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: 4, \
                  template: {spec: {containers: [{name: c, resources: {requests: {cpu: 250m}}}]}}}";
    assert_eq!(group(copies, &cgroupfs(8), "/burstable").shares, Some(1024));
}

#[test]
fn init_containers_count_by_their_peak_and_sidecars_go_on() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  overhead: {cpu: 50m}
  initContainers:
  - {name: early, resources: {requests: {cpu: 700m}}}
  - {name: mesh, restartPolicy: Always, resources: {requests: {cpu: 200m}}}
  - {name: late, resources: {requests: {cpu: 600m}}}
  containers:
  - {name: main, resources: {requests: {cpu: 400m}}}
";
    // early: 700m; late beside mesh: 800m; main and mesh: 600m. And the overhead.
    let manifest = read(text);
    assert_eq!(manifest.workloads[0].pod.cpu_request(), Quantity::milli(850));
    let tree = tree(&manifest, &cgroupfs(8)).unwrap();
    let names: Vec<&str> = tree.containers.iter().map(|it| it.name).collect();
    assert_eq!(names, ["main", "mesh"]);
}

#[test]
fn the_class_of_a_pod_follows_its_resources() {
    use QosClass::{BestEffort, Burstable, Guaranteed};
    for (containers, class) in [
        (vec!["limits: {cpu: 1, memory: 1Gi}"], Guaranteed),
        (vec!["limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}"], Guaranteed),
        (vec!["limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}"], Burstable),
        (vec!["limits: {cpu: 1}"], Burstable),
        (vec!["requests: {memory: 1Gi}"], Burstable),
        (vec!["limits: {cpu: 1, memory: 1Gi}", ""], Burstable),
        (vec!["requests: {cpu: 0, memory: 0}"], BestEffort),
        (vec!["limits: {nvidia.com/gpu: 1}"], BestEffort),
        (vec!["", ""], BestEffort),
    ] {
        let manifest = read(&pod("a", &containers));
        assert_eq!(manifest.workloads[0].pod.qos_class(), class, "{containers:?}");
    }
}

#[test]
fn pod_level_resources_decide_class_weight_and_quota() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 1Gi}}
  containers:
  - {name: own, resources: {limits: {cpu: 500m}}}
  - {name: none}
";
    assert_eq!(group(text, &cgroupfs(8), ":a").shares, Some(1024));
    assert_eq!(group(text, &cgroupfs(8), ":a").quota_us, Some(200_000));
    assert_eq!(group(text, &cgroupfs(8), "/own").quota_us, Some(50_000));
    // Without a limit of its own a container is held to the pod's.
    assert_eq!(group(text, &cgroupfs(8), "/none").quota_us, Some(200_000));
    assert_eq!(read(text).workloads[0].pod.qos_class(), QosClass::Burstable);
}

#[test]
fn a_request_of_zero_counts_even_beside_a_limit() {
    let text = pod("a", &["requests: {cpu: 0}, limits: {cpu: 1}"]);
    assert_eq!(group(&text, &cgroupfs(8), "/c0").shares, Some(2));
    let text = pod("a", &["limits: {cpu: 1}"]);
    assert_eq!(group(&text, &cgroupfs(8), "/c0").shares, Some(1024));
}

#[test]
fn without_cfs_quota_limits_do_not_limit() {
    let text = pod("a", &["limits: {cpu: 1, memory: 1Gi}"]);
    let node = Node { cfs_quota: false, ..cgroupfs(8) };
    assert_eq!(group(&text, &node, "/c0").quota_us, None);
    assert_eq!(group(&text, &node, ":a").quota_us, None);
    let node = Node { period_us: 10_000, ..cgroupfs(8) };
    assert_eq!(group(&text, &node, "/c0").quota_us, Some(10_000));
    assert_eq!(group(&text, &node, "/c0").period_us, 10_000);
}

fn exclusive(policy: StaticPolicy) -> Node {
    let static_cpus = Some(policy);
    Node { static_cpus, kube_reserved: Quantity::units(1), ..cgroupfs(8) }
}

#[test]
fn exclusive_cpus_are_for_whole_cpus_of_guaranteed_pods() {
    let text = pod("two", &["limits: {cpu: 2, memory: 1Gi}"])
        + &pod("half", &["limits: {cpu: 1500m, memory: 1Gi}"])
        + &pod("burst", &["requests: {cpu: 2}"])
        + &pod("mixed", &["limits: {cpu: 1, memory: 1Gi}", "limits: {cpu: 500m, memory: 1Gi}"]);
    insta::assert_snapshot!("exclusive", shown(&text, &exclusive(StaticPolicy::default())));
}

#[test]
fn exclusive_cpus_lose_their_quota_since_kubelet_1_33_only() {
    let text = pod("mixed", &["limits: {cpu: 1, memory: 1Gi}", "limits: {cpu: 500m, memory: 1Gi}"]);
    let quotas = |node: &Node| ["/c0", "/c1", ":mixed"].map(|end| group(&text, node, end).quota_us);
    assert_eq!(quotas(&exclusive(StaticPolicy::default())), [None, Some(50_000), None]);
    let before = StaticPolicy { quota_with_exclusive_cpus: true, ..StaticPolicy::default() };
    let all = [Some(100_000), Some(50_000), Some(150_000)];
    assert_eq!(quotas(&exclusive(before)), all);
}

#[test]
fn a_pod_that_finds_no_cpus_is_named_and_takes_none() {
    let text = pod("big", &["limits: {cpu: 4, memory: 1Gi}", "limits: {cpu: 4, memory: 1Gi}"])
        + &pod("small", &["limits: {cpu: 7, memory: 1Gi}"]);
    let manifest = read(&text);
    let tree = tree(&manifest, &exclusive(StaticPolicy::default())).unwrap();
    assert_eq!(tree.notes.len(), 1, "{:?}", tree.notes);
    let note = tree.notes[0].to_string();
    assert!(note.contains("default/Pod/big is not admitted: it needs 4 CPUs"), "{note}");
    assert_eq!(tree.groups.last().unwrap().cpuset, Some(CpuList::parse("1-7").unwrap()));
}

#[test]
fn a_kubelet_configuration_sets_up_the_node() {
    let text = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
cpuManagerPolicy: static
cpuManagerPolicyOptions: {full-pcpus-only: \"true\", strict-cpu-reservation: \"true\"}
reservedSystemCPUs: 0,4
systemReserved: {cpu: 1500m}
cpuCFSQuotaPeriod: 20ms
featureGates: {CustomCPUCFSQuotaPeriod: true, DisableCPUQuotaWithExclusiveCPUs: false}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {capacity: {cpu: \"8\"}}
---
"
    .to_owned()
        + &pod("a", &["limits: {cpu: 2, memory: 1Gi}"]);
    let node = Node { threads_per_core: 2, ..Node::new(1) };
    insta::assert_snapshot!("kubelet", shown(&text, &node));
}

#[test]
fn more_requests_than_allocatable_are_noted() {
    let manifest = read(&pod("a", &["requests: {cpu: 3}, limits: {cpu: 9}"]));
    let node = Node { kube_reserved: Quantity::units(2), ..Node::new(4) };
    let notes: Vec<String> =
        tree(&manifest, &node).unwrap().notes.iter().map(ToString::to_string).collect();
    assert!(
        notes.iter().any(|note| note.contains("ask for 3 CPUs, but 2 are allocatable")),
        "{notes:?}"
    );
    assert!(notes.iter().any(|note| note.contains("limit of 9 CPUs is above the 4")), "{notes:?}");
}

#[test]
fn pods_of_other_nodes_are_left_out_when_a_node_is_named() {
    let text = pod("a", &[""]).replace("spec:", "spec:\n  nodeName: n1")
        + &pod("b", &[""]).replace("spec:", "spec:\n  nodeName: n2");
    let manifest = read(&text);
    let notes = |node: &Node| tree(&manifest, node).unwrap().notes[0].to_string();
    assert_eq!(notes(&Node::new(2)), "the pods run on 2 nodes, and are all put on one: n1, n2");
    let here = Node { only_pods_of: Some("n2".to_owned()), ..Node::new(2) };
    assert_eq!(notes(&here), "1 pods of other nodes are left out");
    assert_eq!(tree(&manifest, &here).unwrap().containers.len(), 1);
}

#[test]
fn what_cannot_be_a_tree_says_why() {
    let manifest = read(&pod("a", &[""]));
    let error = |node: Node| tree(&manifest, &node).unwrap_err();
    assert_eq!(error(Node::new(0)), TreeError::NoCpus);
    assert_eq!(error(Node { period_us: 1, ..Node::new(1) }), TreeError::Period { period_us: 1 });
    let bare = Node { static_cpus: Some(StaticPolicy::default()), ..Node::new(4) };
    assert_eq!(error(bare), TreeError::CpuManager(CpuManagerError::NothingReserved));
    let deployment = |name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{replicas: \
         60000, template: {{spec: {{containers: [{{name: c}}]}}}}}}\n---\n"
        )
    };
    let manifest = read(&(deployment("a") + &deployment("b")));
    let error = tree(&manifest, &Node::new(1)).unwrap_err();
    assert_eq!(error, TreeError::TooManyPods { pods: 120_000 });
}

#[test]
fn no_two_groups_have_one_path() {
    let twins = "services: {a: {container_name: x}}\n---\nname: y\nservices: {b: {}}\n";
    let manifest = load(&[Source::new("c.yaml", twins)]).unwrap();
    assert_eq!(tree(&manifest, &Node::new(1)).unwrap().containers.len(), 2);
    let again =
        [Source::new("c.yaml", "services: {a: {}}"), Source::new("c.yml", "services: {a: {}}")];
    let manifest = load(&again).unwrap();
    let error = tree(&manifest, &Node::new(1)).unwrap_err();
    let path = "/system.slice/docker-c-a-1.scope".to_owned();
    assert_eq!(error, TreeError::SameGroup { path });
}
