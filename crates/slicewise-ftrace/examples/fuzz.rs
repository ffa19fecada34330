//! Fuzzing the trace readers: `cargo run --release --example fuzz -p slicewise-ftrace -- --seconds
//! 600 --seed 1 --format perf_script`.
//!
//! Damaged files are read to their end; the formats are `perf_data`, `trace_dat`, `ftrace_text`, `perf_script`,
//! `trace_cmd_report`, `perfetto`, and without `--format` all of them. `--file PATH`, which may be given more than
//! once, adds a recording of one's own to start from. A panic or a read that never ends is a finding; errors and counted
//! findings are what is wanted. The same seed gives the same inputs.

#![allow(clippy::print_stdout, reason = "an example for the terminal")]

use std::io::Cursor;
use std::time::{Duration, Instant};

use slicewise_ftrace::{Reader, TraceFile};

#[path = "../tests/build/mod.rs"]
mod build;

const TEXT: &str = "# entries-in-buffer/entries-written: 3/5   #P:1
          <idle>-0       [000] d..2.     3.820278: sched_wakeup: comm=rcu preempt pid=15 prio=120 target_cpu=000
CPU:0 [LOST 12 EVENTS]
     kworker/0:1-11      [000] d..2.     3.824368: sched_switch: prev_comm=kworker/0:1 prev_pid=11 prev_prio=120 prev_state=D ==> next_comm=rt-app next_pid=108 next_prio=120
          rt-app-108     [000] dnh2.     3.825368: sched_stat_runtime: comm=rt-app pid=108 runtime=12 [ns] vruntime=13 [ns]
          rt-app-108     (    108) [000] d..2.     3.825368: put: (put_prev+0x4/0x9) pid=108 vr=-5 fl=0x10
";
const PERF_SCRIPT: &str = include_str!("../tests/samples/perf_script.txt");
const TRACE_CMD_REPORT: &str = include_str!("../tests/samples/trace_cmd_report.txt");

const FORMATS: [&str; 6] =
    ["perf_data", "trace_dat", "ftrace_text", "perf_script", "trace_cmd_report", "perfetto"];

/// Files to begin with.
fn seeds(format: &str) -> Vec<Vec<u8>> {
    match format {
        "perf_data" => vec![
            build::perf::file(&build::perf::sample()),
            build::perf::pipe(&build::perf::sample()),
            build::perf::file(&build::perf::compressed(&build::perf::sample(), 200)),
        ],
        "trace_dat" => vec![
            build::version_6(&build::sample()),
            build::version_7("none", &build::sample()),
            build::version_7("zlib", &build::sample()),
            build::version_7("zstd", &build::sample()),
        ],
        "ftrace_text" => vec![TEXT.as_bytes().to_vec()],
        "perf_script" => vec![PERF_SCRIPT.as_bytes().to_vec()],
        "trace_cmd_report" => vec![TRACE_CMD_REPORT.as_bytes().to_vec()],
        "perfetto" => {
            let (plain, compact) = (build::perfetto::sample(), build::perfetto::compact_sample());
            let mut packed = plain.clone();
            packed.push(build::perfetto::compressed(&compact, false));
            packed.push(build::perfetto::compressed(&plain, true));
            [plain, compact, packed].iter().map(|packets| build::perfetto::file(packets)).collect()
        }
        _ => Vec::new(),
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    }
}

/// Words that mean something to the readers of texts.
const WORDS: [&str; 16] = [
    " ==> ",
    "=",
    ":",
    "[000]",
    "[",
    "]",
    "-",
    "/",
    "PERF_RECORD_COMM: ",
    "sched_switch: ",
    " 1.000001: ",
    "CPU:0 [LOST EVENTS]\n",
    "\n",
    "\t",
    "pid=",
    "0x",
];

fn damage(random: &mut Random, file: &mut Vec<u8>) {
    // Every other time not in the head, without which nothing else is looked at.
    let head = [0, file.len() / 2][random.next(2)];
    for _ in 0..1 + random.next(8) {
        if file.len() <= head {
            return;
        }
        let at = head + random.next(file.len() - head);
        match random.next(8) {
            0 => file[at] ^= 1 << random.next(8),
            1 => file[at] = [0, 1, 0x7f, 0x80, 0xff][random.next(5)],
            2 => file.truncate(at),
            3 => {
                let end = (at + random.next(64)).min(file.len());
                file.drain(at..end);
            }
            4 => {
                let from = random.next(file.len());
                let end = (from + random.next(64)).min(file.len());
                let piece = file[from..end].to_vec();
                file.splice(at..at, piece);
            }
            5 => {
                let end = (at + 4).min(file.len());
                file[at..end].fill([0, 0xff][random.next(2)]);
            }
            6 => {
                let end = (at + 8).min(file.len());
                let value = (random.next(usize::MAX) as u64 >> random.next(64)).to_le_bytes();
                file[at..end].copy_from_slice(&value[..end - at]);
            }
            _ => {
                let word = WORDS[random.next(WORDS.len())];
                file.splice(at..at, word.bytes());
            }
        }
    }
}

/// The values of an argument that may be given more than once.
fn arguments(name: &str) -> Vec<String> {
    let all: Vec<String> = std::env::args().collect();
    let pairs = all.windows(2).filter(|pair| pair[0] == name);
    pairs.map(|pair| pair[1].clone()).collect()
}

fn argument(name: &str, default: u64) -> u64 {
    arguments(name).first().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    let (seconds, seed) = (argument("--seconds", 10), argument("--seed", 1));
    let formats = arguments("--format");
    let chosen = |format: &&&str| formats.is_empty() || formats.iter().any(|name| name == **format);
    let mut seeds: Vec<Vec<u8>> = FORMATS.iter().filter(chosen).flat_map(|f| seeds(f)).collect();
    assert!(!seeds.is_empty(), "--format: one of {FORMATS:?}");
    let own = arguments("--file").into_iter().filter_map(|path| std::fs::read(path).ok());
    seeds.extend(own);
    let mut random = Random(seed);
    let begin = Instant::now();
    let (mut inputs, mut opened, mut events) = (0_u64, 0_u64, 0_u64);
    let mut slowest = Duration::ZERO;
    while begin.elapsed() < Duration::from_secs(seconds) {
        let mut file = seeds[random.next(seeds.len())].clone();
        damage(&mut random, &mut file);
        let limit = 1_000 + file.len() as u64;
        let one = Instant::now();
        let mut read = 0;
        // Also as it comes through a pipe.
        if random.next(16) == 0 {
            let reader = TraceFile::of_stream(Cursor::new(file)).map(Reader::new);
            if let Ok(Ok(mut reader)) = reader {
                opened += 1;
                while let Ok(Some(_)) = reader.next_event() {
                    read += 1;
                    assert!(read < limit * 64, "input {inputs} of seed {seed} does not end");
                }
            }
        } else if let Ok(mut reader) = Reader::new(Cursor::new(file)) {
            opened += 1;
            while let Ok(Some(_)) = reader.next_event() {
                read += 1;
                assert!(read < limit * 64, "input {inputs} of seed {seed} does not end");
            }
        }
        events += read;
        slowest = slowest.max(one.elapsed());
        inputs += 1;
    }
    println!("{inputs} inputs, {opened} opened, {events} events, slowest {slowest:?}");
}
