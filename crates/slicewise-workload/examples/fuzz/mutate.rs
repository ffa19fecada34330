//! Structure-aware mutation of workload files, and what must hold for whatever comes out.

use std::time::{Duration, Instant};

use slicewise_machine::{Op, Workload};
use slicewise_sched::Profile;
use slicewise_workload::{
    Diagnostic, Format, OPS_MAX, Rejected, Severity, Sources, TASKS_MAX, apply_set,
    check_against_machine, load_with, settle_cgroups, settle_cpusets,
};

/// What the mutations start from.
pub(crate) const SCENARIOS: &[&str] = &[
    include_str!("../../tests/fixtures/full.toml"),
    "[[task]]\nname = \"a\"\nhog = true\n",
    include_str!("../../tests/fixtures/groups-v2.toml"),
    include_str!("../../tests/fixtures/cpusets.toml"),
    include_str!("../../tests/fixtures/groups-v1.toml"),
    "[[task]]\nname = \"a\"\ncount = 3\nperiodic = { run = \"1ms\", period = \"4ms\" }\n",
];

/// Likewise, rt-app.
pub(crate) const RT_APP: &[&str] = &[
    include_str!("../../tests/fixtures/events.json"),
    include_str!("../../tests/fixtures/pingpong.json"),
    include_str!("../../tests/fixtures/deadline.json"),
    "{\"tasks\":{\"a\":{\"run\":1,\"sleep\":1}}}",
];

/// Numbers at the edges of types and limits.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "25",
    "-21",
    "99",
    "100",
    "2147483647",
    "2147483648",
    "-2147483648",
    "1000000",
    "1000001",
    "1000000000",
    "9223372036854775807",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "1e308",
    "1e999",
    "-0.0",
    "nan",
    "inf",
    "0x7f",
    "1_000",
    "0.1",
];

/// Words that mean something somewhere.
const WORDS: &[&str] = &[
    "task",
    "[[task]]",
    "program",
    "loop",
    "run",
    "sleep",
    "suspend",
    "resume",
    "\"forever\"",
    "\"10ms\"",
    "\"1.5us\"",
    "\"10\"",
    "\"99999h\"",
    "true",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "=",
    ":",
    ",",
    "\n",
    "template = true",
    "count = 3",
    "nice = 5",
    "\"unique\"",
    "\"timer\"",
    "\"ref\"",
    "\"phases\"",
    "\"instance\"",
    "\"loop\"",
    "null",
    "/*",
    "*/",
    "//",
    "#",
    "\\u0000",
    "\u{feff}",
    "é",
    "SCHED_DEADLINE",
    "\"fifo\"",
    "dist",
    "\"empirical\"",
    "values",
    "\"0-8191\"",
    "barrier",
    "[[group]]",
    "path = \"pods/web\"",
    "group = \"pods/web\"",
    "\"cpu.max\" = \"50000 100000\"",
    "cpu.max.burst = 1",
    "\"max\"",
    "\"cpu.weight\" =",
    "cpu.weight.nice",
    "\"cpu.cfs_quota_us\" = -1",
    "\"cpu.idle\" = 1",
    "\"cpu.uclamp.max\" = 12.5",
    "workload = \"web.json\"",
    "pods/",
];

const SETS: &[&str] = &[
    "group/web.cpuset.cpus=2-3",
    "group/rt/loop.cpuset.cpus.partition=root",
    "isolcpus=1-2",
    "nohz_full=N",
    "hz=1000",
    "cpus=0",
    "cpus=2",
    "kernel=6.6",
    "task/a.nice=5",
    "task/worker.policy=fifo",
    "task/worker-1.priority=50",
    "task/ticker.cpus=0-1",
    "features=NO_RUN_TO_PARITY,x",
    "=",
    "",
    "task/",
    "task/.",
    "task/a.slice=none",
    "duration=0",
    "costs.tick=1us",
    "base_slice=3ms",
    "group/pods/web.cpu.max=50000 100000",
    "group/pods.cpu.weight=10000",
    "group/pods/web.cpu.shares=2",
    "group/pods.cpu.max.burst=18446744073709551615",
    "group/.cpu.idle=1",
    "group/",
    "task/a.group=pods/web",
    "task/a.group=/",
];

/// A small generator of our own: the same seed gives the same inputs for ever (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// One input.
pub(crate) fn input(random: &mut Random, corpus: &[&str]) -> String {
    let mut bytes = random.pick(corpus).as_bytes().to_vec();
    let most = random.below(6);
    for _ in 0..=random.below(most + 1) {
        mutate(random, &mut bytes, corpus);
        bytes.truncate(1 << 16);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, corpus: &[&str]) {
    let at = random.below(bytes.len() + 1);
    match random.below(12) {
        0 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        1 => bytes.truncate(at),
        2 | 3 => replace_token(random, bytes, |byte| byte.is_ascii_digit(), NUMBERS),
        4 => {
            replace_token(random, bytes, |byte| byte.is_ascii_alphanumeric() || byte == b'_', WORDS)
        }
        5 | 6 => {
            let word = random.pick(WORDS);
            bytes.splice(at..at, word.bytes());
        }
        7 => splice_lines(random, bytes, corpus),
        8 => {
            // A section or a line once more, next to itself.
            let (start, end) = lines(random, bytes);
            let copy = bytes[start..end].to_vec();
            bytes.splice(end..end, copy);
        }
        9 => {
            let (start, end) = lines(random, bytes);
            bytes.drain(start..end);
        }
        10 => {
            let nest = random.pick(&["[", "{\"a\":", "{ loop = { body = [", "[["]);
            let deep = nest.repeat(1 << random.below(12));
            bytes.splice(at..at, deep.bytes());
        }
        _ => {
            // Two tokens change places, names with names as often as not.
            let (a, b) = (token(random, bytes), token(random, bytes));
            if a.1 <= b.0 {
                let (first, second) = (bytes[a.0..a.1].to_vec(), bytes[b.0..b.1].to_vec());
                bytes.splice(b.0..b.1, first);
                bytes.splice(a.0..a.1, second);
            }
        }
    }
}

fn token(random: &mut Random, bytes: &[u8]) -> (usize, usize) {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    around(random, bytes, is_word)
}

fn around(random: &mut Random, bytes: &[u8], inside: impl Fn(u8) -> bool) -> (usize, usize) {
    let from = random.below(bytes.len());
    let find = |from: usize| (from..bytes.len()).find(|at| inside(bytes[*at]));
    let Some(start) = find(from).or_else(|| find(0)) else { return (0, 0) };
    let end = (start..bytes.len()).find(|at| !inside(bytes[*at])).unwrap_or(bytes.len());
    (start, end)
}

fn replace_token(
    random: &mut Random,
    bytes: &mut Vec<u8>,
    inside: impl Fn(u8) -> bool,
    words: &[&str],
) {
    let (start, end) = around(random, bytes, inside);
    let word = random.pick(words);
    bytes.splice(start..end, word.bytes());
}

fn lines(random: &mut Random, bytes: &[u8]) -> (usize, usize) {
    let start = random.below(bytes.len());
    let start = bytes[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut end = start;
    for _ in 0..=random.below(8) {
        let more = bytes[end..].iter().position(|byte| *byte == b'\n');
        end = more.map_or(bytes.len(), |more| end + more + 1);
    }
    (start, end)
}

fn splice_lines(random: &mut Random, bytes: &mut Vec<u8>, corpus: &[&str]) {
    let other = random.pick(corpus).as_bytes().to_vec();
    let (from, to) = lines(random, &other);
    let (at, _) = lines(random, bytes);
    bytes.splice(at..at, other[from..to].iter().copied());
}

/// How long one input took, and whether it was a workload.
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    pub(crate) loaded: bool,
    /// The tasks of the workload.
    pub(crate) tasks: u32,
}

/// Loads an input and checks all that must hold. Panics if something does not.
pub(crate) fn check(random: &mut Random, text: &str, format: Format) -> Outcome {
    let begin = Instant::now();
    let result = load_with(text, format, &mut file);
    let sources = match &result {
        Ok(loaded) => loaded.sources.clone(),
        Err(rejected) => rejected.sources.clone(),
    };
    let took = begin.elapsed();
    let loaded = result.is_ok();
    let tasks = result.as_ref().map_or(0, |loaded| loaded.workload.tasks.len() as u32);
    match result {
        Ok(mut loaded) => {
            check_diagnostics(&sources, &loaded.warnings);
            assert!(loaded.warnings.iter().all(|d| d.severity == Severity::Warning));
            check_workload(&loaded.workload);
            for _ in 0..3 {
                let _ = apply_set(&mut loaded, random.pick(SETS));
            }
            check_workload(&loaded.workload);
            for profile in Profile::ALL {
                check_diagnostics(&sources, &check_against_machine(&loaded, 2, profile));
                check_diagnostics(&sources, &settle_cgroups(&mut loaded, profile));
                check_diagnostics(&sources, &settle_cpusets(&mut loaded, profile, 8));
                check_groups(&loaded.workload);
            }
        }
        Err(Rejected { diagnostics, .. }) => {
            check_diagnostics(&sources, &diagnostics);
            assert!(diagnostics.iter().any(|d| d.severity == Severity::Error));
        }
    }
    Outcome { took, loaded, tasks }
}

/// The files there are beside a scenario.
fn file(name: &str) -> Result<String, String> {
    match name {
        "web.json" => Ok(RT_APP[0].to_owned()),
        _ => Err(format!("there is no {} here", name.escape_debug().take(60).collect::<String>())),
    }
}

fn check_groups(workload: &Workload) {
    for (at, group) in workload.groups.iter().enumerate() {
        assert!(group.parent.is_none_or(|parent| (parent as usize) < at), "{group:?}");
        assert!(!group.path.is_empty() && !group.path.starts_with('/'), "{group:?}");
    }
}

fn check_diagnostics(sources: &Sources, diagnostics: &[Diagnostic]) {
    assert!(diagnostics.len() <= 110, "{} diagnostics", diagnostics.len());
    for diagnostic in diagnostics {
        let place = sources.find(diagnostic.span.clone());
        assert_eq!(place.span.len(), diagnostic.span.len(), "bad span: {diagnostic:?}");
        assert!(place.text.get(place.span).is_some(), "bad span: {diagnostic:?}");
        assert!(!diagnostic.message.is_empty());
        assert!(diagnostic.message.len() < 2000, "too long: {diagnostic:?}");
        assert!(!diagnostic.message.contains('\n'), "two lines: {diagnostic:?}");
    }
}

fn check_workload(workload: &Workload) {
    assert!(!workload.tasks.is_empty() && workload.tasks.len() <= TASKS_MAX as usize);
    let ops: usize = workload.programs.iter().map(|program| program.ops.len()).sum();
    assert!(ops <= OPS_MAX, "{ops} operations");
    assert!(workload.tasks.iter().any(|task| !task.template), "nothing starts");
    assert!(workload.barriers.iter().all(|barrier| barrier.parties > 0));
    check_groups(workload);
    for task in &workload.tasks {
        assert!((task.program as usize) < workload.programs.len());
        assert!(task.group.is_none_or(|group| (group as usize) < workload.groups.len()));
    }
    let within = |index: u32, length: usize| assert!((index as usize) < length, "{index} {length}");
    for program in &workload.programs {
        for (at, op) in program.ops.iter().enumerate() {
            match op {
                Op::LoopBegin { end, .. } => match &program.ops[*end as usize] {
                    Op::LoopEnd { begin } => assert_eq!(*begin as usize, at),
                    other => panic!("a loop ends at {other:?}"),
                },
                Op::LoopEnd { begin } => assert!((*begin as usize) < at),
                Op::Timer { timer, .. } => within(*timer, workload.timers.len()),
                Op::Lock(m) | Op::Unlock(m) => within(*m, workload.mutexes.len()),
                Op::Signal(c) | Op::Broadcast(c) => within(*c, workload.conditions.len()),
                Op::Wait { condition, mutex } => {
                    within(*condition, workload.conditions.len());
                    within(*mutex, workload.mutexes.len());
                }
                Op::Barrier(barrier) => within(*barrier, workload.barriers.len()),
                Op::Resume(task) => within(*task, workload.tasks.len()),
                Op::Fork(task) => assert!(workload.tasks[*task as usize].template),
                Op::Receive(queue) => within(*queue, workload.queues.len()),
                Op::Submit { device, .. } | Op::Synchronize(device) => {
                    within(*device, workload.devices.len());
                }
                _ => {}
            }
        }
    }
}
