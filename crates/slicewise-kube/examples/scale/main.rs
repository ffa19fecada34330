//! How long a node with many pods takes: `cargo run --release -p slicewise-kube --example scale`.
//! With `--print`, the manifest itself, to be given to `slicewise k8s`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program to be looked at")]

use std::time::Instant;

use slicewise_containers::{Node, Source, load};
use slicewise_kube::{Settings, Study, Way, run};
use slicewise_sched::Profile;

mod pods;

fn main() {
    let text = pods::manifest(1000);
    if std::env::args().any(|argument| argument == "--print") {
        print!("{text}");
        return;
    }
    let began = Instant::now();
    let manifest = load(&[Source::new("pods.yaml", text)]).unwrap();
    let study = Study::new(&manifest, &Node::new(64)).unwrap();
    println!("read: {:.2} s", began.elapsed().as_secs_f64());
    for kernel in ["6.1", "6.12", "7.2"] {
        let settings = Settings {
            profile: Profile::named(kernel).unwrap(),
            cpus: 64,
            topology: None,
            hz: 250,
            duration_ns: 10_000_000_000,
            seed: 1,
        };
        let began = Instant::now();
        let (outcome, ()) = run(study.mapping(), &settings, Way::AsItIs, (), &|_| {}).unwrap();
        println!(
            "Linux {kernel}, 1000 pods, 64 CPUs, 10 s: {:.2} s, {} events",
            began.elapsed().as_secs_f64(),
            outcome.events
        );
    }
}
