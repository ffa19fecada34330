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

const TASK_TABLES: &[&str] = &[
    include_str!("../../../examples/rt/robot-arm.toml"),
    include_str!("../../../examples/rt/camera-deadline.toml"),
];

#[test]
fn no_text_makes_the_task_set_reader_panic() {
    let mut random = Random::new(1);
    let mut loaded = 0;
    for corpus in [TASK_TABLES, SCENARIOS, RT_APP] {
        for _ in 0..700 {
            let text = input(&mut random, corpus);
            if let Ok(set) = slicewise_workload::load_rt(&text, Format::Auto) {
                loaded += 1;
                assert_eq!(set.set.fault(), None, "{text}");
                assert_eq!(set.origins.len(), set.set.tasks.len());
            }
        }
    }
    assert!(loaded > 50, "only {loaded} inputs were task sets: the test tests too little");
}
