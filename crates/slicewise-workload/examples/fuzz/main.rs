//! Seeded fuzzing of both formats:
//! `cargo run --release -p slicewise-workload --example fuzz -- toml|rtapp --seconds N --seed S`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mutate::{RT_APP, Random, SCENARIOS, check, input};
use slicewise_workload::Format;

/// An input that takes longer is a finding, …
const INPUT_TIME_MAX: Duration = Duration::from_secs(1);

/// … but a million tasks asked for in a few bytes may take their time.
const TASK_TIME_MAX: Duration = Duration::from_micros(4);

/// More memory than this at any time is a finding, KiB.
const MEMORY_KIB_MAX: u64 = 3 << 20;

struct Options {
    format: Format,
    seconds: u64,
    seed: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { format: Format::Auto, seconds: 60, seed: 1 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = |what: &str| -> Result<u64, String> {
            let value = words.next().ok_or(format!("{what} needs a number"))?;
            value.parse().map_err(|_| format!("{what}: `{value}` is not a number"))
        };
        match word.as_str() {
            "toml" => options.format = Format::Scenario,
            "rtapp" => options.format = Format::RtApp,
            "--seconds" => options.seconds = number("--seconds")?,
            "--seed" => options.seed = number("--seed")?,
            _ => return Err(format!("unknown word `{word}`; toml|rtapp --seconds N --seed S")),
        }
    }
    if options.format == Format::Auto {
        return Err("say toml or rtapp".to_owned());
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
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("fuzz: {message}");
            return ExitCode::from(2);
        }
    };
    let (corpus, extension) = match options.format {
        Format::RtApp => (RT_APP, "json"),
        _ => (SCENARIOS, "toml"),
    };
    println!("{:?}, seed {}, {} s", options.format, options.seed, options.seconds);
    let mut random = Random::new(options.seed);
    let begin = Instant::now();
    let (mut count, mut loaded, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    while begin.elapsed() < Duration::from_secs(options.seconds) {
        let text = input(&mut random, corpus);
        count += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&mut random, &text, options.format)));
        let finding = match outcome {
            Err(_) => Some("a panic".to_owned()),
            Ok(outcome) => {
                loaded += u64::from(outcome.loaded);
                slowest = slowest.max(outcome.took);
                (outcome.took > INPUT_TIME_MAX + TASK_TIME_MAX * outcome.tasks)
                    .then(|| format!("it took {:?}", outcome.took))
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
        "{count} inputs, {loaded} of them workloads, slowest {slowest:?}, memory {} MiB: no finding",
        memory_kib() >> 10
    );
    ExitCode::SUCCESS
}
