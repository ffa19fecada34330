//! A node with a thousand pods.

#![allow(clippy::unwrap_used, reason = "a test may")]

use slicewise_containers::{Node, Source, load};
use slicewise_kube::{Question, Settings, Study};
use slicewise_sched::Profile;

#[path = "../examples/scale/pods.rs"]
mod pods;

#[test]
fn a_thousand_pods_are_read_and_all_of_them_run() {
    let manifest = load(&[Source::new("pods.yaml", pods::manifest(1000))]).unwrap();
    let study = Study::new(&manifest, &Node::new(64)).unwrap();
    let settings = Settings {
        profile: Profile::named("6.12").unwrap(),
        cpus: 64,
        topology: None,
        hz: 250,
        duration_ns: 500_000_000,
        seed: 1,
    };
    let question = Question {
        settings,
        cpus_assumed: false,
        throttled_share_max: 0.01,
        target: None,
        quick: true,
    };
    let (report, ()) = study.answer(&question, (), &|_| {}).unwrap();
    assert_eq!(report.containers.len(), 1000);
    assert!(report.containers.iter().all(|it| it.cpu_ns > 0));
    let used: u64 = report.containers.iter().map(|it| it.cpu_ns).sum();
    let busy = report.node.busy_share * 64.0 * report.simulated_ns as f64;
    assert!((used as f64 - busy).abs() < 1e3, "{used} {busy}");
}
