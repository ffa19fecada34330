//! `slicewise place` as its users meet it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn slicewise(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slicewise"))
        .args(line.split(' '))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .stdin(Stdio::null())
        .output()
        .expect("the command starts")
}

fn text(line: &str) -> String {
    let output = slicewise(line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is text")
}

const TRAINING: &str = "place examples/place/training-two-sockets.toml --duration 500ms";

#[test]
fn ranks_with_cores_of_their_own_beat_loaders_everywhere() {
    for kernel in ["6.1", "6.12", "7.2"] {
        let line = format!("{TRAINING} --kernel {kernel} --format json");
        let report: Value = serde_json::from_str(&text(&line)).expect("JSON");
        let best = report["best"].as_str().expect("a name");
        assert!(best.starts_with("own core"), "{kernel}: {best}");
        let candidates = report["candidates"].as_array().expect("candidates");
        let figures = |name: &str| {
            &candidates.iter().find(|it| it["name"] == name).expect("it is there")["figures"]
        };
        let p99 = |name: &str| figures(name)["response_p99_ns"].as_u64().expect("ns");
        assert!(p99(best) < p99("as written"), "{kernel}");
        let mut ranks: Vec<u64> = candidates.iter().filter_map(|it| it["rank"].as_u64()).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, (1..=candidates.len() as u64).collect::<Vec<_>>());
        assert_eq!(report["lines"].as_array().map(Vec::len), Some(4));
    }
}

#[test]
fn the_number_of_jobs_changes_no_byte() {
    for format in ["text", "json"] {
        let one = text(&format!("{TRAINING} --format {format} --jobs 1"));
        for jobs in [2, 3] {
            let more = text(&format!("{TRAINING} --format {format} --jobs {jobs}"));
            assert!(one == more, "{jobs} jobs, {format}");
        }
    }
}

#[test]
fn what_is_emitted_is_the_best_placement_or_the_one_that_is_named() {
    let best = text(&format!("{TRAINING} --emit taskset"));
    assert!(best.contains("taskset -c 0 COMMAND  # rank0-launch, rank0-nccl\n"), "{best}");
    let by_node = text(&format!("{TRAINING} --emit numactl --placement by-node"));
    assert!(by_node.contains("numactl --cpunodebind=1 --membind=1 COMMAND"), "{by_node}");
    let free = text(&format!("{TRAINING} --emit cpuset --placement as-written"));
    assert!(free.contains("nothing to bind"), "{free}");
}

#[test]
fn check_tells_by_its_status_whether_something_is_better() {
    assert_eq!(slicewise(&format!("{TRAINING} --check")).status.code(), Some(1));
    let lonely = "place examples/nice-levels.toml --duration 100ms --check";
    assert_eq!(slicewise(lonely).status.code(), Some(0));
}

#[test]
fn bad_nodes_and_names_are_refused_with_what_there_is() {
    for (more, words) in [
        ("--gpu-nodes 0,7", "the machine has the nodes 0-1"),
        ("--gpu-nodes 0", "1 nodes for 2 ranks"),
        ("--emit pod --placement best", "as-written, by-node, own-core"),
        ("--placement by-node", "--emit"),
        ("--topology nonsense", "nonsense"),
    ] {
        let output = slicewise(&format!("{TRAINING} {more}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more}: {stderr}");
        assert!(output.stdout.is_empty() && stderr.contains(words), "{more}: {stderr}");
    }
}
