//! What holds for every node and any pods.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use slicewise_containers::{
    Driver, Group, GroupKind, Node, QosClass, Quantity, Source, StaticPolicy, load,
    shares_of_milli, tree,
};

/// Requests and limits of containers, thousandths; a request is at most the limit.
fn containers() -> impl Strategy<Value = Vec<(Option<u32>, Option<u32>)>> {
    let container = (proptest::option::of(1_u32..=8_000), proptest::option::of(0_u32..=100))
        .prop_map(|(limit, percent)| {
            let request = percent.map(|percent| limit.unwrap_or(1_000) * percent / 100);
            (request, limit)
        });
    proptest::collection::vec(container, 1..4)
}

fn pod(name: usize, containers: &[(Option<u32>, Option<u32>)]) -> String {
    let mut text =
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p{name}}}\nspec:\n  containers:\n");
    for (number, (request, limit)) in containers.iter().enumerate() {
        let line = |what: &str, milli: &Option<u32>| {
            milli.map(|milli| format!("{what}: {{cpu: {milli}m, memory: 1Mi}}"))
        };
        let lines: Vec<String> =
            [line("requests", request), line("limits", limit)].into_iter().flatten().collect();
        text += &format!("  - {{name: c{number}, resources: {{{}}}}}\n", lines.join(", "));
    }
    text + "---\n"
}

fn groups(pods: &[Vec<(Option<u32>, Option<u32>)>], node: &Node) -> Vec<Group> {
    let text: String = pods.iter().enumerate().map(|(name, pod_)| pod(name, pod_)).collect();
    let manifest = load(&[Source::new("p.yaml", text)]).unwrap();
    tree(&manifest, node).unwrap().groups
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The kernel refuses otherwise on cgroup v1.
    #[test]
    fn no_container_may_use_more_than_its_pod(pod in containers(), systemd in any::<bool>(), period_us in 1_000_u64..=1_000_000) {
        let driver = if systemd { Driver::Systemd } else { Driver::Cgroupfs };
        let groups = groups(&[pod], &Node { driver, period_us, ..Node::new(64) });
        for group in groups.iter().filter(|group| group.kind == GroupKind::Container) {
            let above = &groups[group.parent.unwrap()];
            if let Some(most) = above.quota_us {
                prop_assert!(group.quota_us.is_some_and(|quota| quota <= most), "{group:?} {above:?}");
                prop_assert_eq!(group.period_us, above.period_us);
            }
        }
    }

    #[test]
    fn a_class_weighs_what_its_pods_ask_for_whatever_their_order(
        pods in proptest::collection::vec(containers(), 1..6),
    ) {
        let shares = |groups: &[Group]| {
            let class = GroupKind::Qos(QosClass::Burstable);
            groups.iter().find(|group| group.kind == class).unwrap().shares.unwrap()
        };
        let groups_ = groups(&pods, &Node::new(8));
        let mut turned = pods.clone();
        turned.reverse();
        prop_assert_eq!(shares(&groups_), shares(&groups(&turned, &Node::new(8))));
        // By hand: Burstable is who asks for something and is not limited to it everywhere.
        let ask = |(request, limit): &(Option<u32>, Option<u32>)| request.or(*limit).unwrap_or(0);
        let is_burstable = |pod: &&Vec<(Option<u32>, Option<u32>)>| {
            let all = |what: fn(u32, Option<u32>) -> bool| pod.iter().all(|it| what(ask(it), it.1));
            // Memory is asked for wherever anything is written.
            let guaranteed = all(|request, limit| limit == Some(request));
            let nothing = pod.iter().all(|(request, limit)| request.is_none() && limit.is_none());
            !guaranteed && !nothing
        };
        let milli: u32 = pods.iter().filter(is_burstable).flatten().map(ask).sum();
        prop_assert_eq!(shares(&groups_), shares_of_milli(u64::from(milli)));
    }

    #[test]
    fn exclusive_cpus_are_nobody_elses(
        limits in proptest::collection::vec(1_u32..=6_000, 1..12),
        threads in 1_u32..=2, reserved in 1_u32..=3_000, strict in any::<bool>(),
    ) {
        let policy = StaticPolicy { strict_cpu_reservation: strict, ..StaticPolicy::default() };
        let node = Node {
            threads_per_core: threads,
            kube_reserved: Quantity::milli(reserved),
            static_cpus: Some(policy),
            ..Node::new(16)
        };
        // Half of them ask for whole CPUs.
        let round = |(at, milli): (usize, &u32)| if at % 2 == 0 { milli.div_ceil(1000) * 1000 } else { *milli };
        let pods: Vec<_> = limits.iter().enumerate().map(|it| vec![(None, Some(round(it)))]).collect();
        let text: String = pods.iter().enumerate().map(|(name, it)| pod(name, it)).collect();
        let manifest = load(&[Source::new("p.yaml", text)]).unwrap();
        let tree = tree(&manifest, &node).unwrap();
        let mut taken = BTreeSet::new();
        let cpus = |group: usize| tree.groups[group].cpuset.as_ref().unwrap().iter();
        for container in tree.containers.iter().filter(|it| it.is_exclusive) {
            for cpu in cpus(container.group) {
                prop_assert!(taken.insert(cpu), "CPU {} twice", cpu);
                prop_assert!(cpu < 16);
            }
        }
        for container in tree.containers.iter().filter(|it| !it.is_exclusive) {
            prop_assert!(cpus(container.group).all(|cpu| !taken.contains(&cpu)));
        }
        prop_assert!(taken.len() + reserved.div_ceil(1000) as usize <= 16);
    }
}
