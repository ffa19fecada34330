//! Structure-aware mutation of manifests, and what must hold for whatever comes out.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use slicewise_containers::{
    CgroupVersion, CpuManagerState, Diagnostic, Driver, Manifest, Node, NodeDevice, NodeTopology,
    QUOTA_MIN_US, Severity, Source, StaticPolicy, TopologyPolicy, WeightFormula, docker_run, load,
    tree,
};

/// What the mutations start from.
pub(crate) const MANIFESTS: &[&str] = &[
    include_str!("../../../../examples/k8s/go-api.yaml"),
    concat!(
        include_str!("../../../../examples/k8s/training.yaml"),
        include_str!("../../tests/fixtures/static-kubelet.yaml")
    ),
    include_str!("../../../../examples/k8s/noisy-neighbour.yaml"),
    include_str!("../../tests/fixtures/full.yaml"),
    include_str!("../../tests/fixtures/compose.yaml"),
    "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c}]}}",
];

/// Likewise, commands.
pub(crate) const COMMANDS: &[&str] = &[
    "docker run -dit --rm -p 80:80 --name web --cpus=1.5 -c512 reg.io/x/nginx:1 sh -c 'x'",
    "podman run --cpu-period 50000 --cpu-quota=25000 \\\n --cpuset-cpus '0-1,3' img",
    "docker run --label 'slicewise.dev/load={batch: {threads: 4}}' --cgroup-parent a-b.slice x",
];

/// Numbers and quantities at the edges of types and limits.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "5m",
    "10m",
    "155m",
    "500m",
    "500M",
    "1.5",
    "1.5.2",
    "2e3",
    "2e3m",
    "1e-9",
    "0.1n",
    "8192",
    "8193",
    "100000",
    "100001",
    "1000000",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e999",
    "7Ei",
    "8Ei",
    "-0.0",
    ".nan",
    ".inf",
    "0x7f",
    "010",
    "1_000",
    "64Mi",
    "1000",
    "999",
];

/// Words that mean something somewhere.
const WORDS: &[&str] = &[
    "kind",
    "Pod",
    "Deployment",
    "CronJob",
    "Load",
    "List",
    "items",
    "Node",
    "spec",
    "template",
    "jobTemplate",
    "containers",
    "initContainers",
    "resources",
    "requests",
    "limits",
    "cpu",
    "memory",
    "restartPolicy: Always",
    "replicas",
    "overhead",
    "annotations",
    "slicewise.dev/load",
    "null",
    "~",
    "true",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    ":",
    ": ",
    "- ",
    "\n",
    "\n---\n",
    "|",
    ">",
    "|2-",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "!!binary ",
    "%YAML 1.2\n",
    "? ",
    "#",
    "\t",
    "\u{feff}",
    "é",
    "\0",
    "{{ .x }}",
    "batch",
    "launch",
    "service",
    "workers",
    "dist",
    "empirical",
    "values",
    "services",
    "cpus",
    "deploy",
    "x-slicewise-load",
    "${A:-1}",
    "--cpus",
    "--cpu-quota",
    "-c",
    "\\",
    "ownerReferences",
    "status",
    "uid",
    "target",
    "default/Pod/a",
    "cpuManagerPolicy",
    "static",
    "kubeReserved",
    "reservedSystemCPUs",
    "0-3,8",
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

    fn flip(&mut self) -> bool {
        self.next() & 1 == 0
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
    match random.below(13) {
        0 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        1 => bytes.truncate(at),
        2..=4 => replace_token(random, bytes, |byte| byte.is_ascii_digit(), NUMBERS),
        5 => {
            replace_token(random, bytes, |byte| byte.is_ascii_alphanumeric() || byte == b'_', WORDS)
        }
        6 | 7 => {
            let word = random.pick(WORDS);
            bytes.splice(at..at, word.bytes());
        }
        8 => splice_lines(random, bytes, corpus),
        9 => {
            // A section or a line once more, next to itself.
            let (start, end) = lines(random, bytes);
            let copy = bytes[start..end].to_vec();
            bytes.splice(end..end, copy);
        }
        10 => {
            let (start, end) = lines(random, bytes);
            bytes.drain(start..end);
        }
        11 => {
            let nest = random.pick(&["[", "{a: ", "- ", "? ", "&a [*a, ", "\n---\n", "'"]);
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

/// How long one input took, and whether it was right.
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    pub(crate) loaded: bool,
    /// The groups of its tree.
    pub(crate) groups: u32,
}

/// Reads an input and checks all that must hold. Panics if something does not.
pub(crate) fn check(random: &mut Random, text: &str, is_command: bool) -> Outcome {
    match CpuManagerState::parse(text) {
        Ok(state) => {
            let topology = NodeTopology::regular(2, 2, 1, 4, 2).expect("a topology");
            assert!(state.problems(&topology).iter().all(|it| !it.to_string().is_empty()));
        }
        Err(diagnostics) => check_diagnostics(text, &diagnostics),
    }
    let begin = Instant::now();
    let result = match is_command {
        true => docker_run(text),
        false => load(&[Source::new("fuzz.yaml", text)]),
    };
    let took = begin.elapsed();
    match result {
        Ok(manifest) => {
            check_diagnostics(text, &manifest.warnings);
            assert!(manifest.warnings.iter().all(|d| d.severity == Severity::Warning));
            let groups = check_tree(random, &manifest);
            Outcome { took, loaded: true, groups }
        }
        Err(diagnostics) => {
            check_diagnostics(text, &diagnostics);
            assert!(diagnostics.iter().any(|d| d.severity == Severity::Error));
            Outcome { took, loaded: false, groups: 0 }
        }
    }
}

fn check_diagnostics(text: &str, diagnostics: &[Diagnostic]) {
    assert!(diagnostics.len() <= 101, "{} diagnostics", diagnostics.len());
    for diagnostic in diagnostics {
        assert_eq!(diagnostic.file, 0);
        assert!(text.get(diagnostic.span.clone()).is_some(), "bad span: {diagnostic:?}");
        assert!(!diagnostic.message.is_empty());
        let lengths = [diagnostic.message.len(), diagnostic.help.as_ref().map_or(0, String::len)];
        assert!(lengths.iter().all(|length| *length < 2000), "too long: {diagnostic:?}");
        let one_line = |text: &str| !text.contains(|c: char| c.is_control());
        assert!(one_line(&diagnostic.message), "two lines: {diagnostic:?}");
        assert!(diagnostic.help.as_deref().is_none_or(one_line), "two lines: {diagnostic:?}");
    }
}

fn some_node(random: &mut Random) -> Node {
    let mut node = Node::new(1 << random.below(7));
    if random.flip() {
        node.driver = Driver::Cgroupfs;
        node.cgroups = CgroupVersion::V1;
        node.runtime_formula = WeightFormula::Linear;
        node.kubelet_formula = WeightFormula::Curved;
    }
    if random.flip() {
        node.kube_reserved = slicewise_containers::Quantity::milli(100);
        node.static_cpus = Some(StaticPolicy {
            full_pcpus_only: random.flip(),
            strict_cpu_reservation: random.flip(),
            quota_with_exclusive_cpus: random.flip(),
            distribute_cpus_across_numa: random.flip(),
            align_by_socket: random.flip(),
            distribute_cpus_across_cores: random.flip(),
            prefer_align_cpus_by_uncorecache: random.flip(),
        });
    }
    if random.flip() {
        let mut count = || 1 + random.below(3) as u32;
        node.topology = NodeTopology::regular(count(), count(), count(), count(), count());
        node.cpus = node.topology.as_ref().map_or(node.cpus, |it| it.cpus().len() as u32);
        let policies = ["none", "best-effort", "restricted", "single-numa-node"];
        let policy = TopologyPolicy::named(policies[random.below(4)]).unwrap_or_default();
        node.topology_manager.policy = policy;
        node.topology_manager.is_pod_scope = random.flip();
        for id in 0..random.below(6) {
            let numa = random.flip().then_some(id as u32 % 3);
            let resource = "nvidia.com/gpu".to_owned();
            node.devices.push(NodeDevice { resource, id: id.to_string(), numa });
        }
    }
    node
}

/// The groups of the tree, if there is one.
fn check_tree(random: &mut Random, manifest: &Manifest) -> u32 {
    let mut node = some_node(random);
    if random.flip() {
        node.apply(&manifest.node);
    }
    let Ok(tree) = tree(manifest, &node) else { return 0 };
    let mut paths = HashSet::new();
    for (index, group) in tree.groups.iter().enumerate() {
        assert!(paths.insert(group.path.as_str()), "twice: {}", group.path);
        assert!(group.path.starts_with('/') && !group.path.contains("//"), "{}", group.path);
        let clean = |c: char| c.is_ascii_graphic() && !matches!(c, '\\' | '"' | '\'');
        assert!(group.path.chars().all(clean), "{:?}", group.path);
        assert!((1..=10_000).contains(&group.weight), "{group:?}");
        assert!((2..=262_144).contains(&group.kernel_weight), "{group:?}");
        assert!(group.quota_us.is_none_or(|quota| quota >= QUOTA_MIN_US), "{group:?}");
        assert!((1_000..=1_000_000).contains(&group.period_us), "{group:?}");
        if let Some(parent) = group.parent {
            assert!(parent < index);
            let above = format!("{}/", tree.groups[parent].path);
            assert!(group.path.starts_with(&above), "{} in {above}", group.path);
        }
        if let Some(cpus) = &group.cpuset {
            assert!(cpus.last().is_none_or(|last| last < node.cpus), "{cpus}");
        }
    }
    let mut taken = HashSet::new();
    for container in &tree.containers {
        if container.is_exclusive {
            let cpus = tree.groups[container.group].cpuset.iter().flat_map(|cpus| cpus.iter());
            for cpu in cpus {
                assert!(taken.insert(cpu), "CPU {cpu} is exclusive twice");
            }
        }
    }
    tree.groups.len() as u32
}
