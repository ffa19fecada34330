//! Seeded fuzzing of both formats:
//! `cargo run --release -p slicewise-containers --example fuzz -- yaml|docker --seconds N --seed S`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mutate::{COMMANDS, MANIFESTS, Random, check, input};

/// An input that takes longer is a finding, …
const INPUT_TIME_MAX: Duration = Duration::from_secs(1);

/// … and so is more memory than this at any time, KiB.
const MEMORY_KIB_MAX: u64 = 2 << 20;

struct Options {
    is_command: Option<bool>,
    seconds: u64,
    seed: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { is_command: None, seconds: 60, seed: 1 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = |what: &str| -> Result<u64, String> {
            let value = words.next().ok_or(format!("{what} needs a number"))?;
            value.parse().map_err(|_| format!("{what}: `{value}` is not a number"))
        };
        match word.as_str() {
            "yaml" => options.is_command = Some(false),
            "docker" => options.is_command = Some(true),
            "--seconds" => options.seconds = number("--seconds")?,
            "--seed" => options.seed = number("--seed")?,
            _ => return Err(format!("unknown word `{word}`; yaml|docker --seconds N --seed S")),
        }
    }
    Ok(options)
}

/// The most memory this process ever had, where the system says so.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn main() -> ExitCode {
    let options = options().and_then(|options| match options.is_command {
        Some(is_command) => Ok((options, is_command)),
        None => Err("say yaml or docker".to_owned()),
    });
    let (options, is_command) = match options {
        Ok(options) => options,
        Err(message) => {
            eprintln!("fuzz: {message}");
            return ExitCode::from(2);
        }
    };
    let (corpus, extension) = if is_command { (COMMANDS, "sh") } else { (MANIFESTS, "yaml") };
    println!("{extension}, seed {}, {} s", options.seed, options.seconds);
    let mut random = Random::new(options.seed);
    let begin = Instant::now();
    let (mut count, mut loaded, mut groups, mut slowest) = (0_u64, 0_u64, 0_u64, Duration::ZERO);
    while begin.elapsed() < Duration::from_secs(options.seconds) {
        let text = input(&mut random, corpus);
        count += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&mut random, &text, is_command)));
        let finding = match outcome {
            Err(_) => Some("a panic".to_owned()),
            Ok(outcome) => {
                loaded += u64::from(outcome.loaded);
                groups += u64::from(outcome.groups);
                slowest = slowest.max(outcome.took);
                (outcome.took > INPUT_TIME_MAX).then(|| format!("it took {:?}", outcome.took))
            }
        };
        let memory = (memory_kib() > MEMORY_KIB_MAX).then(|| "too much memory".to_owned());
        if let Some(finding) = finding.or(memory) {
            let path = format!("fuzz-finding-{}-{count}.{extension}", options.seed);
            if let Err(error) = std::fs::write(&path, &text) {
                eprintln!("fuzz: cannot write {path}: {error}");
            }
            println!("finding after {count} inputs: {finding}; the input is in {path}");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "{count} inputs, {loaded} of them right, {groups} groups, slowest {slowest:?}, memory {} \
         MiB: no finding",
        memory_kib() >> 10
    );
    ExitCode::SUCCESS
}
