//! Fuzzing the readers: `cargo run --release --example fuzz -p slicewise-topology -- --seconds 600
//! --seed 1`.
//!
//! Texts that describe machines (sysfs lines, lscpu's outputs, TOML, layouts, tars) are changed at random
//! and read. A panic, a machine that does not read back the same once saved, or a place outside of the
//! text is a finding. The same seed gives the same inputs.

#![allow(clippy::print_stdout, reason = "an example for the terminal")]

use std::time::{Duration, Instant};

use slicewise_topology::{
    Machine, PRESETS, SysFiles, from_sysfs, from_toml, named, parse_list, read_text, to_toml,
};

const PIECES: &[&str] = &[
    "0-3",
    "4-7",
    "0",
    "1",
    "-1",
    "8191",
    "8192",
    "1000000000",
    "0-8191",
    "(null)",
    "10 20\n",
    "10 20",
    "20 10",
    "cpu/cpu1/topology/core_cpus_list:",
    "cpu/cpu0/cache/index3/shared_cpu_list:0-7\n",
    "cpu/online:0-7\n",
    "node/node1/distance:",
    "node/node1/cpulist:4-7\n",
    "\0",
    "\n",
    ",",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "=",
    ":",
    "\\u0000",
    "cores = [\"0-1\"]\n",
    "clusters = [\"0-3\"]\n",
    "llcs = [\"0-3\", \"4-7\"]\n",
    "packages = [\"0-7\"]\n",
    "nodes = [{ cpus = \"0-3\" }, { cpus = \"4-7\" }]\n",
    "distances = [[10, 20], [20, 10]]\n",
    "2s",
    "4n",
    "8c",
    "2t",
    "capacities = { \"0\" = 512 }\n",
    "layout = \"2s:4c\"\n",
    "cpus = 8\n",
    "\"cpu\": 1",
    "\"l1d:l1i:l2:l3\": \"0:0:0:0\"",
    "{\"field\": \"Thread(s) per core:\", \"data\": \"2\"}",
    "# CPU,Core,Socket,Node,,L1d,L1i,L2,L3\n",
    "é",
];
const LSCPU: &str = r#"{"lscpu": [{"field": "On-line CPU(s) list:", "data": "0-7"},
    {"field": "Thread(s) per core:", "data": "2"}, {"field": "Socket(s):", "data": "2"},
    {"field": "L3 cache:", "data": "32 MiB (2 instances)"}, {"field": "NUMA node0 CPU(s):", "data": "0-3"},
    {"field": "NUMA node1 CPU(s):", "data": "4-7"}]}"#;
const ROWS: &str = r#"{"cpus": [{"cpu": 0, "node": 0, "socket": 0, "core": 0, "l1d:l1i:l2:l3": "0:0:0:0", "online": true},
    {"cpu": 1, "node": 0, "socket": 0, "core": 0, "l1d:l1i:l2:l3": "0:0:0:0", "online": true}]}"#;
const PARSABLE: &str = "# The following is the parsable format\n# CPU,Core,Socket,Node,,L1d,L1i,L2,L3\n\
                        0,0,0,0,,0,0,0,0\n1,1,0,0,,1,1,1,0\n2,2,1,1,,2,2,2,1\n";
const TABLE: &str =
    "CPU NODE SOCKET CORE L1d:L1i:L2:L3 ONLINE\n  0    0      0    0 0:0:0:0          yes\n";

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

fn seeds() -> Vec<String> {
    let mut seeds: Vec<String> =
        PRESETS.iter().take(4).map(|preset| to_toml(&preset.machine())).collect();
    seeds.extend([LSCPU, ROWS, PARSABLE, TABLE, "2s:4n:2l:8c:2t"].map(str::to_owned));
    let truth = concat!(env!("CARGO_MANIFEST_DIR"), "/truth");
    let entries = std::fs::read_dir(truth).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sysfs"));
    paths.sort();
    // Small ones: more of them are tried in the time there is.
    let texts = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    seeds.extend(texts.filter(|text| text.len() < 8000));
    seeds
}

fn changed(random: &mut Random, seed: &str) -> String {
    let mut text = seed.as_bytes().to_vec();
    for _ in 0..1 + random.next(6) {
        let at = random.next(text.len() + 1);
        let piece = PIECES[random.next(PIECES.len())].as_bytes();
        match random.next(6) {
            0 if at < text.len() => text[at] = b" 0123456789,-:\n\"[]{}"[random.next(20)],
            1 => text.truncate(at.max(1)),
            2 => {
                let end = (at + random.next(40)).min(text.len());
                text.drain(at..end);
            }
            3 => {
                let times = 1 + random.next(30);
                for _ in 0..times {
                    text.splice(at..at, piece.iter().copied());
                }
            }
            4 => {
                // Another line's content: contradictions.
                let lines: Vec<Vec<u8>> =
                    text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let mut line = lines[random.next(lines.len())].clone();
                line.push(b'\n');
                let at = text
                    .iter()
                    .skip(at)
                    .position(|byte| *byte == b'\n')
                    .map_or(0, |next| at + next + 1);
                text.splice(at..at, line);
            }
            _ => drop(text.splice(at..at, piece.iter().copied())),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn check(machine: &Machine) {
    let saved = to_toml(machine);
    let read = from_toml(&saved, "other");
    let read = read.unwrap_or_else(|problems| panic!("{problems:?}\n{saved}"));
    assert_eq!(read.topology().nr_cpus(), machine.topology().nr_cpus(), "{saved}");
    assert_eq!(read.nodes(), machine.nodes(), "{saved}");
    assert_eq!(read.caches(), machine.caches(), "{saved}");
}

/// Whether it was a machine.
fn one(random: &mut Random, seeds: &[String]) -> bool {
    let seed = &seeds[random.next(seeds.len())];
    let text = changed(random, seed);
    let _ = parse_list(&text);
    let _ = named(&text);
    let _ = SysFiles::from_tar(text.as_bytes());
    if let Ok(files) = SysFiles::from_lines(&text) {
        let again = SysFiles::from_lines(&files.to_lines());
        assert_eq!(again.as_ref(), Ok(&files));
        let _ = from_sysfs(&files, "x");
    }
    match read_text(&text, "x") {
        Ok(machine) => {
            check(&machine);
            true
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(problem.span.start <= problem.span.end, "{text}");
            }
            false
        }
    }
}

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    let (seconds, seed) = (argument("--seconds", 10), argument("--seed", 1));
    let seeds = seeds();
    let mut random = Random(seed);
    let begin = Instant::now();
    let (mut texts, mut machines) = (0_u64, 0_u64);
    while begin.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..100 {
            machines += u64::from(one(&mut random, &seeds));
            texts += 1;
        }
    }
    println!("{texts} texts, {machines} machines");
}
