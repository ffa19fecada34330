//! Fuzzing the files: `cargo run --release --example fuzz -p slicewise-cgroup -- --seconds 600
//! --seed 1`.
//!
//! Random texts are written to random files of a tree of groups, and of cpusets, and read as boot
//! parameters. A panic, a refused write that
//! changes something, or a text that does not read back is a finding. The same seed gives the same
//! inputs.

#![allow(clippy::print_stdout, reason = "an example for the terminal")]

use std::time::{Duration, Instant};

use slicewise_cgroup::cpuset::{Boot, CpusetFile, CpusetMachine, Cpusets};
use slicewise_cgroup::{File, Rules, Tree, TriggerRequest, Version};

const SEEDS: &[&str] = &[
    "100\n",
    "10000",
    "0x10",
    "-20\n",
    "19",
    "1",
    "0",
    "max",
    "max 100000\n",
    "50000 100000\n",
    "17592186044415 1000000",
    "18446744073709551615",
    "33.33\n",
    "100.00",
    "-0.5",
    "5.123456789",
    "some 150000 2000000\n",
    "full 1 10000000",
    "-1",
    "0-3",
    "0-7:2/4",
    "2-N",
    "all",
    "root",
    "isolated\n",
    "member",
    "isolcpus=domain,managed_irq,4-7",
    "nohz_full=1-3 maxcpus=4",
];
const BYTES: &[u8] = b"0123456789 \n\t\0x+-.,:/NmaX\xa0";

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

fn text(random: &mut Random) -> Vec<u8> {
    let mut text = SEEDS[random.next(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..random.next(5) {
        let at = random.next(text.len() + 1);
        let byte = BYTES[random.next(BYTES.len())];
        match random.next(5) {
            0 if at < text.len() => text[at] = byte,
            1 if at < text.len() => drop(text.remove(at)),
            2 => {
                let times = 1 + random.next(50);
                text.splice(at..at, std::iter::repeat_n(byte, times));
            }
            3 => text.extend_from_slice(SEEDS[random.next(SEEDS.len())].as_bytes()),
            _ => text.insert(at, byte),
        }
    }
    text
}

/// So many writes to a tree; how many were taken.
fn one_tree(random: &mut Random, writes: u64) -> u64 {
    let rules = Rules::ALL[random.next(Rules::ALL.len())];
    let version = [Version::V1, Version::V2][random.next(2)];
    let mut tree = Tree::new(version, rules);
    let mut groups = vec![Tree::ROOT];
    for _ in 0..random.next(6) {
        groups.extend(tree.add(groups[random.next(groups.len())]));
    }
    let mut taken = 0;
    for _ in 0..writes {
        let (group, file) =
            (groups[random.next(groups.len())], File::ALL[random.next(File::ALL.len())]);
        let text = text(random);
        let _ = TriggerRequest::parse(&text, &rules, random.next(2) == 0);
        let _ = TriggerRequest::parse_proc(&text, &rules, random.next(2) == 0);
        let before = tree.settings(group).copied();
        match tree.write(group, file, &text) {
            Ok(()) => {
                taken += 1;
                assert!(tree.read(group, file).is_ok_and(|text| text.ends_with('\n')));
            }
            Err(refused) => {
                assert_eq!(tree.settings(group).copied(), before, "{refused}");
            }
        }
    }
    taken
}

/// So many writes to cpusets; how many were taken.
fn one_machine(random: &mut Random, writes: u64) -> u64 {
    let rules = Rules::ALL[random.next(Rules::ALL.len())];
    let version = [Version::V1, Version::V2][random.next(2)];
    let machine = CpusetMachine { cpus: 1 + random.next(100) as u32, nodes: 2 };
    let line = String::from_utf8_lossy(&text(random)).into_owned();
    let boot = Boot::parse(&line, machine.cpus).unwrap_or_default();
    let mut model = Cpusets::new(version, &rules, machine, boot);
    let task = model.spawn();
    let mut taken = 0;
    for _ in 0..writes {
        let groups: Vec<_> = model.groups().collect();
        let group = groups[random.next(groups.len())];
        let done = match random.next(12) {
            0 if groups.len() < 12 => model.mkdir(group).map(drop),
            1 => model.rmdir(group),
            2 => model.attach(task, group),
            3 => model.offline(slicewise_sched::CpuId(random.next(100) as u32)),
            4 => model.online(slicewise_sched::CpuId(random.next(100) as u32)),
            _ => {
                let file = CpusetFile::ALL[random.next(CpusetFile::ALL.len())];
                model.write(group, file, &text(random))
            }
        };
        taken += u64::from(done.is_ok());
        assert!(model.mask(task).is_some_and(|mask| !mask.is_empty()));
    }
    taken
}

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    let (seconds, seed) = (argument("--seconds", 10), argument("--seed", 1));
    let mut random = Random(seed);
    let begin = Instant::now();
    let (mut writes, mut taken) = (0, 0);
    while begin.elapsed() < Duration::from_secs(seconds) {
        taken += one_tree(&mut random, 1000) + one_machine(&mut random, 1000);
        writes += 2000;
    }
    println!("{writes} writes, {taken} taken");
}
