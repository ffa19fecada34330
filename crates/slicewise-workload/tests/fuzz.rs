//! A short run of the fuzzer, the same every time.

#[path = "../examples/fuzz/mutate.rs"]
mod mutate;

use mutate::{RT_APP, Random, SCENARIOS, check, input};
use slicewise_workload::Format;

fn run(corpus: &[&str], format: Format) {
    let mut random = Random::new(1);
    let mut loaded = 0;
    for _ in 0..1500 {
        let text = input(&mut random, corpus);
        let outcome = check(&mut random, &text, format);
        loaded += u32::from(outcome.loaded);
        // Unoptimised and beside other tests: only what hangs is caught here.
        assert!(outcome.took.as_secs() < 20, "{} tasks took {:?}", outcome.tasks, outcome.took);
    }
    assert!(loaded > 50, "only {loaded} inputs were workloads: the fuzzer tests too little");
}

#[test]
fn no_scenario_makes_the_reader_panic() {
    run(SCENARIOS, Format::Scenario);
}

#[test]
fn no_rt_app_file_makes_the_reader_panic() {
    run(RT_APP, Format::RtApp);
}
