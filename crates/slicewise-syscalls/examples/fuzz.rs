//! Fuzzing the calls: `cargo run --release --example fuzz -p slicewise-syscalls -- --seconds 600
//! --seed 1`.
//!
//! Random bytes as `struct sched_attr` of every size, and random other calls, by random tasks. A panic,
//! a refused call that changes something, or more reserved than there is, is a finding. The same seed
//! gives the same calls.

#![allow(clippy::print_stdout, reason = "an example for the terminal")]

use std::time::{Duration, Instant};

use slicewise_syscalls::{Credentials, Pid, Pointer, RawAttr, Rules, System, Task};

struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn next(&mut self, below: u64) -> u64 {
        self.bits() % below.max(1)
    }

    /// A number near something, or anything.
    fn odd(&mut self) -> u64 {
        const NEAR: [u64; 12] =
            [0, 1, 7, 48, 56, 99, 1024, 100_000, 10_000_000, 4_194_304_000, 1 << 31, u64::MAX];
        let near = NEAR[self.next(NEAR.len() as u64) as usize];
        match self.next(4) {
            0 => self.bits(),
            1 => near,
            2 => near.wrapping_add(self.next(5)).wrapping_sub(2),
            _ => self.next(near.max(2)),
        }
    }
}

fn bytes(random: &mut Random) -> Vec<u8> {
    let attr = RawAttr {
        size: [0, 48, 56, 56, 56, 64][random.next(6) as usize],
        policy: random.next(9) as u32,
        flags: if random.next(2) == 0 { 0 } else { random.next(130) },
        nice: random.odd() as i32,
        priority: if random.next(2) == 0 { 0 } else { random.next(102) as u32 },
        runtime: random.odd(),
        deadline: random.odd(),
        period: random.odd(),
        util_min: random.odd() as u32,
        util_max: random.odd() as u32,
    };
    let mut bytes = attr.to_bytes().to_vec();
    bytes.resize(bytes.len() + random.next(20) as usize, 0);
    for _ in 0..random.next(4) {
        let at = random.next(bytes.len() as u64) as usize;
        bytes[at] = random.bits() as u8;
    }
    if random.next(16) == 0 {
        bytes.truncate(random.next(60) as usize);
    }
    bytes
}

const TASKS: u64 = 8;

/// So many calls on one system; how many succeeded.
fn one_system(random: &mut Random, calls: u64) -> u64 {
    let name = Rules::NAMES[random.next(Rules::NAMES.len() as u64) as usize];
    let Some(rules) = Rules::named(name) else { return 0 };
    let mut system = System::new(rules, 1 + random.next(130) as u32);
    for pid in 1..=TASKS {
        let credentials = match pid % 3 {
            0 => Credentials::ROOT,
            user => Credentials::user(1000 + user as u32),
        };
        system.insert(pid as Pid, Task::new(credentials));
    }
    let mut done = 0;
    for _ in 0..calls {
        let (by, pid) = (1 + random.next(TASKS) as Pid, random.next(TASKS + 3) as Pid - 1);
        system.take_changes();
        let before = system.clone();
        let result = match random.next(8) {
            0 => {
                let priority = Pointer::To(random.odd() as i32);
                system.sched_setscheduler(by, pid, random.next(9) as i32, priority)
            }
            1 => system.sched_setparam(by, pid, Pointer::To(random.next(101) as i32)),
            2 => system.sched_setaffinity(by, pid, Pointer::To(&bytes(random))),
            3 => system.setpriority(by, 0, pid, random.odd() as i32),
            4 => system.fork(by, 100).map(|()| system.exit(100)),
            _ => system.sched_setattr(by, pid, Pointer::To(&bytes(random)), 0),
        };
        match result {
            Ok(()) => done += 1,
            Err(refusal) => assert_eq!(system, before, "{refusal}"),
        }
        let domain = &system.domains()[0];
        assert!(domain.limit().is_none_or(|limit| domain.total() <= limit));
        if random.next(4) == 0 {
            let leaving: Vec<Pid> = system.leaving().collect();
            leaving.into_iter().for_each(|pid| system.zero_lag(pid));
        }
    }
    done
}

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    let (seconds, seed) = (argument("--seconds", 10), argument("--seed", 1));
    let mut random = Random(seed);
    let begin = Instant::now();
    let (mut calls, mut done) = (0, 0);
    while begin.elapsed() < Duration::from_secs(seconds) {
        done += one_system(&mut random, 1000);
        calls += 1000;
    }
    println!("{calls} calls, {done} done");
}
