//! What is wrong is said, with its place and what to do.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::Write as _;
use std::path::Path;

use slicewise_topology::{SourceError, find, read_path, read_text};

/// Message, help, and the text at the place.
fn refused(text: &str) -> Vec<(String, String, String)> {
    let problems = read_text(text, "x").unwrap_err();
    assert!(!problems.is_empty());
    let shown = |problem: slicewise_topology::Problem| {
        let at = text.get(problem.span).unwrap_or("?").to_owned();
        (problem.message, problem.help.unwrap_or_default(), at)
    };
    problems.into_iter().map(shown).collect()
}

#[test]
fn mistakes_in_a_hand_written_machine_are_told_at_their_places() {
    for (text, message, help, at) in [
        ("cpu = 4", "unknown key `cpu` in a machine", "did you mean `cpus`?", "cpu"),
        (
            "name = \"x\"",
            "the machine has neither `layout` nor `cpus`",
            "say `layout = \"2s:24c:2t\"`, or `cpus = 8` and what they share",
            "n",
        ),
        (
            "cpus = 4\nlayout = \"4c\"",
            "the machine has both `layout` and `cpus`",
            "keep one of them",
            "4",
        ),
        ("cpus = 1000000000", "`cpus` must be a whole number", "allowed: 1 to 8192", "1000000000"),
        (
            "cpus = \"0-1000000000\"",
            "`cpus`: there is no CPU 1000000000: CPUs are numbered 0 to 8191",
            "such as \"0-3,8\"",
            "\"0-1000000000\"",
        ),
        ("layout = \"2x\"", "`layout`: `2x`: unknown letter `x` (column 1)", "", "\"2x\""),
        (
            "cpus = 4\ncores = [\"0,1\", \"1,2\"]",
            "`cores`: CPU 1 is in two sets",
            "each CPU can be in one",
            "\"1,2\"",
        ),
        (
            "cpus = 4\nllcs = [\"0-2\"]",
            "`llcs`: CPU 3 is in no set",
            "each CPU must be in one",
            "[\"0-2\"]",
        ),
        (
            "cpus = 2\nenergy = [{ cpus = \"0\", states = [[1024, 5]] }]",
            "`energy` is of another machine",
            "each CPU must be in one entry, whose states rise to its capacity",
            "[{ cpus = \"0\", states = [[1024, 5]] }]",
        ),
        (
            "cpus = 2\nenergy = [{ cpus = \"0-1\", states = [[1024, 5], [512, 9]] }]",
            "a state of capacity 512 does not follow",
            "list states slowest first, each once",
            "[512, 9]",
        ),
        (
            "cpus = 2\nenergy = [{ cpus = \"0-1\" }]",
            "an entry of `energy` needs `cpus` and `states`",
            "such as energy = [{ cpus = \"0-3\", states = [[223, 40], [446, 150]] }]: capacity and power, slowest first",
            "{ cpus = \"0-1\" }",
        ),
        (
            "cpus = 4\npackages = [\"0-4\"]",
            "`packages`: the machine has no CPU 4",
            "it has 0-3",
            "\"0-4\"",
        ),
        (
            "cpus = 4\ncores = [\"\"]",
            "`cores` has an empty set",
            "name CPUs, or leave it out",
            "\"\"",
        ),
        (
            "cpus = 4\ncores = 2",
            "`cores` must be a list of lists of CPUs",
            "such as cores = [\"0-3\", \"4-7\"]",
            "2",
        ),
        (
            "layout = \"2s:2c\"\ndistances = [[10, 21]]",
            "`distances` must have a row for each of 2 nodes",
            "such as [[10, 21], [21, 10]]",
            "[[10, 21]]",
        ),
        (
            "layout = \"2s:2c\"\ndistances = [[10, 21], [21]]",
            "`distances`: the row of node 1 must have 2 numbers",
            "one for each node",
            "[21]",
        ),
        (
            "layout = \"2s:2c\"\ndistances = [[10, 10], [21, 10]]",
            "`distances`: node 0 is 10 from node 1",
            "a node is 10 from itself, and 11 to 254 from others",
            "10",
        ),
        (
            "layout = \"2s:2c\"\ndistances = [[10, 300], [21, 10]]",
            "`distances` must be a whole number",
            "allowed: 10 to 254",
            "300",
        ),
        (
            "cpus = 2\ncapacities = { \"0\" = 2000 }",
            "`capacities` must be a whole number",
            "allowed: 1 to 1024",
            "2000",
        ),
        (
            "cpus = 2\ncapacities = { \"0-9\" = 512 }",
            "`capacities`: the machine has no CPU 2",
            "it has 0-1",
            "\"0-9\"",
        ),
        (
            "cpus = 2\nisolated = 1",
            "`isolated` must be a list of CPUs",
            "write it as a string such as \"0-3,8\"",
            "1",
        ),
        (
            "cpus = 2\noffline = \"1\"",
            "CPU 1 is offline, but `cpus` or the layout has it",
            "with `cpus`, list those that are online",
            "\"1\"",
        ),
        (
            "cpus = 2\nnodes = [{ cpus = \"0\" }]",
            "`nodes`: CPU 1 is in no node",
            "each CPU must be in one",
            "[{ cpus = \"0\" }]",
        ),
        (
            "cpus = 2\nnodes = [{ cpu = \"0\" }]",
            "unknown key `cpu` in a node",
            "did you mean `cpus`?",
            "cpu",
        ),
        (
            "cpus = 2\nnodes = [{ cpus = \"0-1\", memory = 3 }]",
            "`memory` must be an amount of memory",
            "such as \"64GiB\", \"512MiB\" or \"32KiB\"",
            "3",
        ),
        (
            "cpus = 2\ncaches = [{ level = 20 }]",
            "`level` must be a whole number",
            "allowed: 1 to 9",
            "20",
        ),
        (
            "cpus = 2\ncores = [\"0-1\"]\ncapacities = { \"0\" = 512 }",
            "CPUs 0 and 1 share a core, but not the capacity",
            "",
            "c",
        ),
    ] {
        let found = refused(text);
        let (found_message, found_help, found_at) = &found[0];
        assert_eq!(found_message, message, "{text}");
        assert!(help.is_empty() || found_help == help, "{text}: {found_help}");
        assert_eq!(found_at, at, "{text}");
    }
}

#[test]
fn several_mistakes_are_told_at_once() {
    let found = refused("cpus = 4\ncapacitis = 3\nisolated = 1\nnohz_full = \"9\"");
    let messages: Vec<&str> = found.iter().map(|(message, ..)| message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "unknown key `capacitis` in a machine",
            "`isolated` must be a list of CPUs",
            "`nohz_full`: the machine has no CPU 9"
        ]
    );
}

const TWO_NODES: &str =
    "cpu/online:0-1\nnode/online:0-1\nnode/node0/cpulist:0\nnode/node1/cpulist:1\n";

#[test]
fn contradictions_in_sysfs_are_told_with_the_file() {
    for (lines, message) in [
        (
            "cpu/online:\n",
            "no CPU is online: cpu/online and cpu/cpu0/topology are missing or empty",
        ),
        (
            "cpu/online:0-1000000000\n",
            "cpu/online: there is no CPU 1000000000: CPUs are numbered 0 to 8191",
        ),
        (
            "cpu/online:0-1\ncpu/cpu0/topology/core_cpus_list:0-1\ncpu/cpu1/topology/core_cpus_list:1\n",
            "cpu/cpu1/topology/core_cpus_list and cpu/cpu0/topology/core_cpus_list contradict each other",
        ),
        (
            "cpu/online:0-1\ncpu/cpu0/topology/core_cpus_list:1\n",
            "cpu/cpu0/topology/core_cpus_list: the CPU itself is missing",
        ),
        (
            "cpu/online:0\ncpu/cpu0/topology/core_id:zero\n",
            "cpu/cpu0/topology/core_id: `zero` is not a number",
        ),
        (
            "cpu/online:0\ncpu/cpu0/topology/physical_package_id:-7\n",
            "cpu/cpu0/topology/physical_package_id: -7 is out of range",
        ),
        ("cpu/online:0\ncpu/cpu0/cpu_capacity:0\n", "cpu/cpu0/cpu_capacity: 0 must be 1 to 1024"),
        (
            "cpu/online:0\ncpu/cpu0/cache/index0/level:99\n",
            "cpu/cpu0/cache/index0/level: 99 must be 1 to 9",
        ),
        (
            "cpu/online:0-1\nnode/node0/cpulist:0-1\nnode/node1/cpulist:1\n",
            "CPU 1 is in the lists of nodes 0 and 1",
        ),
        (
            "cpu/online:0\nnode/online:0-1024\n",
            "node/online: there is no node 1024: at most 1024 are known",
        ),
    ] {
        assert_eq!(refused(lines)[0].0, message, "{lines}");
    }
    for (distances, message) in [
        ("node/node0/distance:10 20\n", "node/node1/distance is missing"),
        ("node/node0/distance:10\n", "node/node0/distance: 1 distances, but 2 nodes are online"),
        ("node/node0/distance:10 x\n", "node/node0/distance: `10 x` are not distances"),
        (
            "node/node0/distance:10 0\nnode/node1/distance:20 10\n",
            "node 0 is 0 from node 1: must be 11 to 254",
        ),
        (
            "node/node0/distance:11 20\nnode/node1/distance:20 10\n",
            "node 0 is 11 from itself: must be 10",
        ),
    ] {
        assert_eq!(refused(&format!("{TWO_NODES}{distances}"))[0].0, message, "{distances}");
    }
}

#[test]
fn what_lscpu_cannot_have_printed_is_refused() {
    for (text, message) in [
        ("{\"cpus\": [{\"node\": 0}]}", "there is no column CPU, or it is empty"),
        ("{\"cpus\": [{\"cpu\": 1000000000}]}", "column CPU: `1000000000` must be 0 to 8191"),
        ("{\"cpus\": [3]}", "a CPU is not an object"),
        ("{\"cpus\": []}", "no CPU is listed"),
        ("{\"cpus\": [{\"cpu\": 1}, {\"cpu\": 1}]}", "CPU 1 is listed twice"),
        ("{\"gpus\": []}", "the JSON has neither `cpus` nor `lscpu`"),
        ("{\"lscpu\": []}", "neither `On-line CPU(s) list` nor `CPU(s)` is there"),
        ("0,0,0,0\n", "no line before names the columns"),
        ("{\"cpus\": [", "EOF while parsing a list at line 1 column 10"),
    ] {
        assert_eq!(refused(text)[0].0, message, "{text}");
    }
    assert!(refused(&"[".repeat(100_000)).len() == 1, "deeply nested");
    assert!(refused(&format!("{{\"cpus\": {}", "[".repeat(100_000))).len() == 1, "deeply nested");
    assert!(!refused(&format!("cpus = {}", "[".repeat(100_000))).is_empty(), "deeply nested");
}

#[test]
fn unknown_names_are_answered_with_the_close_one() {
    let error = |word: &str| match find(word, Path::new("/nowhere")).unwrap_err() {
        SourceError::Name(problem) => (problem.message, problem.help.unwrap()),
        other => panic!("{word}: {other:?}"),
    };
    let (message, help) = error("two-sokcet");
    assert_eq!(message, "there is no machine `two-sokcet`");
    assert_eq!(help, "did you mean `two-socket`?");
    assert!(error("zzz").1.starts_with("presets: big-little, laptop-hybrid, one-socket, "));
    assert_eq!(error("2s:4").0, "`4` is not a number and a letter (column 4)");
    assert!(matches!(find("nowhere.toml", Path::new("/")), Err(SourceError::Read(_))));
}

fn read_error(path: &Path) -> String {
    match read_path(path) {
        Err(SourceError::Read(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_that_are_no_texts_are_refused_before_they_are_read() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("zeros.toml");
    std::fs::write(&path, b"cpus = 4\n\0\xff").unwrap();
    assert!(read_error(&path).contains("is not UTF-8 text: line 2"));
    std::fs::write(&path, b"cpus = 4\n\0").unwrap();
    assert!(
        matches!(read_path(&path), Err(SourceError::Invalid { problems, .. }) if !problems.is_empty())
    );
    // A line of 1 GB: the file is sparse.
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    assert!(read_error(&path).contains("is larger than 67108864 bytes"));
    // A tar that says it goes on for ever.
    let path = temporary.path().join("endless.tar");
    let mut header = tar::Header::new_ustar();
    header.set_path("sys/devices/system/cpu/online").unwrap();
    header.set_size(u64::MAX >> 8);
    header.set_cksum();
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    assert!(!read_error(&path).is_empty());
    assert!(read_error(&temporary.path().join("none")).contains("cannot read"));
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_or_in_circles_do_no_harm() {
    use std::os::unix::fs::symlink;
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path();
    assert!(read_error(root).contains("there is no directory `cpu`"));
    let cpu = root.join("cpu");
    std::fs::create_dir_all(cpu.join("cpu0")).unwrap();
    assert!(read_error(root).contains("no file in it tells of CPUs"));
    std::fs::write(cpu.join("online"), "0-1\n").unwrap();
    // CPU 0's topology is a circle, CPU 1 is the directory it is in, the caches lead to themselves.
    symlink(cpu.join("cpu0/topology"), cpu.join("cpu0/topology")).unwrap();
    symlink(&cpu, cpu.join("cpu1")).unwrap();
    symlink("cache", cpu.join("cpu0/cache")).unwrap();
    symlink(root, root.join("node")).unwrap();
    let machine = read_path(root).unwrap();
    assert_eq!(machine.topology().nr_cpus(), 2);
}
