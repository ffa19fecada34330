//! The kubelet's topology manager on nodes with GPUs: who is admitted, with what, and why not.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use slicewise_containers::{
    CpuList, Node, NodeDevice, NodeTopology, Source, StaticPolicy, TopologyPolicy, load, tree,
};

/// Two NUMA nodes of 8 CPUs each (0-7, 8-15), GPUs 0 and 1 at the first, 2 and 3 at the second.
fn node(policy: TopologyPolicy) -> Node {
    let mut node = Node::new(16);
    node.topology = NodeTopology::regular(2, 1, 1, 8, 1);
    node.reserved_cpus = Some(CpuList::parse("0").unwrap());
    node.static_cpus = Some(StaticPolicy::default());
    node.topology_manager.policy = policy;
    node.devices = (0..4).map(|id| gpu(id, Some(id / 2))).collect();
    node
}

fn gpu(id: u32, numa: Option<u32>) -> NodeDevice {
    NodeDevice { resource: "nvidia.com/gpu".to_owned(), id: format!("gpu{id}"), numa }
}

/// A manifest of pods with containers of so many CPUs and GPUs.
fn manifest(pods: &[&[(u32, u32)]]) -> String {
    let mut text = String::new();
    for (number, containers) in pods.iter().enumerate() {
        text += &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}}}\nspec:\n  containers:\n"
        );
        for (at, (cpus, gpus)) in containers.iter().enumerate() {
            text += &format!(
                "  - name: c{at}\n    resources:\n      limits: {{cpu: {cpus}, memory: 1Gi, nvidia.com/gpu: {gpus}}}\n"
            );
        }
        text += "---\n";
    }
    text
}

/// A line for each container with what it has, and for each pod that is not admitted.
fn placed(node: &Node, pods: &[&[(u32, u32)]]) -> String {
    let manifest = load(&[Source::new("pods.yaml", manifest(pods))]).unwrap();
    let tree = tree(&manifest, node).unwrap();
    let mut lines = Vec::new();
    for (number, container) in tree.containers.iter().enumerate() {
        let pod = &manifest.workloads[container.workload.unwrap()].name;
        let cpus = match container.is_exclusive {
            true => tree.groups[container.group].cpuset.as_ref().unwrap().to_string(),
            false => "shared".to_owned(),
        };
        let own = tree.devices.iter().filter(|it| it.container == number);
        let ids: Vec<&str> = own.flat_map(|it| it.ids.iter().map(String::as_str)).collect();
        lines.push(format!("{pod}/{}: {cpus} {}", container.name, ids.join(",")).trim().to_owned());
    }
    let refused = tree.notes.iter().map(ToString::to_string);
    lines.extend(refused.filter(|note| note.contains("not admitted")));
    lines.join("\n")
}

#[test]
fn without_a_policy_cpus_and_gpus_may_be_apart() {
    assert_eq!(
        placed(&node(TopologyPolicy::None), &[&[(4, 0)], &[(6, 1)]]),
        "p0/c0: 1-4\np1/c0: 5-7,8-10 gpu0".replace("5-7,8-10", "5-10")
    );
}

#[test]
fn best_effort_puts_cpus_where_the_gpus_are_and_admits_what_cannot() {
    let node = node(TopologyPolicy::BestEffort);
    assert_eq!(
        placed(&node, &[&[(4, 2)], &[(4, 1)], &[(7, 1)]]),
        "p0/c0: 1-4 gpu0,gpu1\np1/c0: 8-11 gpu2\np2/c0: 5-7,12-15 gpu3"
    );
}

#[test]
fn single_numa_node_says_which_node_lacks_what() {
    let node = node(TopologyPolicy::SingleNumaNode);
    assert_eq!(
        placed(&node, &[&[(4, 0)], &[(4, 2)], &[(4, 2)], &[(1, 2)]]),
        "p0/c0: 1-4\n\
         p1/c0: 8-11 gpu2,gpu3\n\
         p3/c0: 5 gpu0,gpu1\n\
         default/Pod/p2 is not admitted: TopologyAffinityError (single-numa-node): container c0: \
         4 CPUs fit well at node 1 (free: 3 at node 0, 4 at node 1); 2 nvidia.com/gpu fit well at \
         node 0 (free: 2 at node 0, 0 at node 1)"
    );
}

#[test]
fn restricted_admits_what_would_not_fit_on_one_node_even_if_it_were_empty() {
    let pods: &[&[(u32, u32)]] = &[&[(10, 3)]];
    // The second node is wholly free and goes first.
    let whole_node = "p0/c0: 1-2,8-15 gpu0,gpu1,gpu2";
    assert_eq!(placed(&node(TopologyPolicy::Restricted), pods), whole_node);
    let refused = placed(&node(TopologyPolicy::SingleNumaNode), pods);
    assert!(refused.contains("TopologyAffinityError"), "{refused}");
}

#[test]
fn the_scope_of_a_pod_keeps_its_containers_together() {
    let mut node = node(TopologyPolicy::SingleNumaNode);
    let pods: &[&[(u32, u32)]] = &[&[(5, 0), (3, 1)]];
    assert_eq!(placed(&node, pods), "p0/c0: 1-5\np0/c1: 8-10 gpu2");
    node.topology_manager.is_pod_scope = true;
    assert_eq!(placed(&node, pods), "p0/c0: 8-12\np0/c1: 13-15 gpu2");
}

#[test]
fn devices_whose_plugin_says_no_node_give_no_hints() {
    let mut node = node(TopologyPolicy::SingleNumaNode);
    node.devices = vec![gpu(0, None)];
    assert_eq!(placed(&node, &[&[(2, 1)]]), "p0/c0: 1-2 gpu0");
}

#[test]
fn a_pod_that_asks_for_more_devices_than_are_free_is_refused() {
    let said = placed(&node(TopologyPolicy::None), &[&[(1, 3)], &[(1, 2)]]);
    assert!(said.ends_with("it needs 2 nvidia.com/gpu, and 1 are free"), "{said}");
}

proptest! {
    #[test]
    fn exclusive_cpus_are_had_once_and_are_as_many_as_asked_for(
        (sockets, nodes, caches, cores, threads) in (1..3_u32, 1..3_u32, 1..3_u32, 1..5_u32, 1..3_u32),
        pods in proptest::collection::vec((1..7_u32, 0..3_u32), 1..8),
        policy in 0..4_usize,
        pod_scope in any::<bool>(),
        (across_numa, by_socket, across_cores, uncore, whole) in any::<(bool, bool, bool, bool, bool)>(),
    ) {
        let topology = NodeTopology::regular(sockets, nodes, caches, cores, threads).unwrap();
        let mut node = Node::new(topology.cpus().len() as u32);
        node.reserved_cpus = Some(CpuList::parse("0").unwrap());
        node.devices = (0..4).map(|id| gpu(id, Some(id % (sockets * nodes)))).collect();
        let policies = ["none", "best-effort", "restricted", "single-numa-node"];
        node.topology_manager.policy = TopologyPolicy::named(policies[policy]).unwrap();
        node.topology_manager.is_pod_scope = pod_scope;
        node.topology = Some(topology.clone());
        node.static_cpus = Some(StaticPolicy {
            full_pcpus_only: whole,
            distribute_cpus_across_numa: across_numa,
            align_by_socket: by_socket,
            distribute_cpus_across_cores: across_cores,
            prefer_align_cpus_by_uncorecache: uncore,
            ..StaticPolicy::default()
        });
        let lists: Vec<[(u32, u32); 1]> = pods.iter().map(|pod| [*pod]).collect();
        let lists: Vec<&[(u32, u32)]> = lists.iter().map(<[_; 1]>::as_slice).collect();
        let manifest = load(&[Source::new("pods.yaml", manifest(&lists))]).unwrap();
        let Ok(tree) = tree(&manifest, &node) else { return Ok(()) };
        let mut seen = CpuList::parse("0").unwrap();
        for container in &tree.containers {
            let wanted = pods[container.workload.unwrap()].0;
            let cpus = tree.groups[container.group].cpuset.clone().unwrap();
            prop_assert_eq!(cpus.len(), wanted as usize);
            prop_assert!(cpus.without(&seen) == cpus && cpus.without(&topology.all()).is_empty());
            seen = seen.with(&cpus);
            if policies[policy] == "single-numa-node" {
                prop_assert_eq!(topology.numa_nodes_of(&cpus).len(), 1);
            }
        }
        let admitted = tree.containers.len();
        let refused = tree.notes.iter().filter(|note| note.to_string().contains("not admitted"));
        prop_assert_eq!(admitted + refused.count(), pods.len());
    }
}
