//! A short run of the fuzzer, the same every time.

#[path = "../examples/fuzz/mutate.rs"]
mod mutate;

use mutate::{COMMANDS, MANIFESTS, Random, check, input};

fn run(corpus: &[&str], is_command: bool, inputs: u32) {
    let mut random = Random::new(1);
    let (mut loaded, mut groups) = (0, 0);
    for _ in 0..inputs {
        let text = input(&mut random, corpus);
        let outcome = check(&mut random, &text, is_command);
        loaded += u32::from(outcome.loaded);
        groups += u32::from(outcome.groups > 0);
        // Unoptimised and beside other tests: only what hangs is caught here.
        assert!(outcome.took.as_secs() < 20, "it took {:?}", outcome.took);
    }
    assert!(loaded > inputs / 20, "only {loaded} inputs were right: the fuzzer tests too little");
    assert!(groups > inputs / 40, "only {groups} inputs made a tree");
}

#[test]
fn no_manifest_makes_the_reader_panic() {
    run(MANIFESTS, false, 1500);
}

#[test]
fn no_command_makes_the_reader_panic() {
    run(COMMANDS, true, 1500);
}

#[test]
fn what_the_mutations_start_from_is_right() {
    let mut random = Random::new(1);
    for text in MANIFESTS {
        assert!(check(&mut random, text, false).loaded, "{text}");
    }
    for text in COMMANDS {
        assert!(check(&mut random, text, true).loaded, "{text}");
    }
}
