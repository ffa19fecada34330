//! Reading a recording, beside `perf sched` on the same file, in turns:
//!
//!     perf sched record -m 4096 -o big.data -- hackbench -g 4 -l 100000
//!     cargo bench -p slicewise --bench traces -- big.data
//!
//! Needs perf and GNU time. Without a file it says so and does nothing.

#![expect(clippy::print_stdout, reason = "printing figures is what a bench is for")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROUNDS: usize = 3;
/// Least ratio of CPU time, and greatest of peak memory.
const SPEED_TARGET: f64 = 3.0;
const MEMORY_TARGET: f64 = 0.5;

/// CPU seconds and peak KiB of a command, as GNU time tells.
fn measured(program: &str, args: &[&str], file: &Path) -> Option<(f64, f64)> {
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%U %S %M", program]).args(args).arg(file);
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let words: Vec<f64> =
        text.lines().last()?.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, system, kib] = words[..] else { return None };
    output.status.success().then_some((user + system, kib))
}

fn main() {
    let file = std::env::args().skip(1).find(|word| !word.starts_with('-')).map(PathBuf::from);
    // Benches run in the directory of their package.
    let file = file.map(|file| match file.is_absolute() {
        true => file,
        false => Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file),
    });
    let Some((file, bytes)) =
        file.and_then(|file| Some((file.clone(), std::fs::metadata(file).ok()?.len())))
    else {
        println!("traces: skipped, name a perf.data of `perf sched record`");
        return;
    };
    println!("reading {} MiB, least of {ROUNDS}, in turns", bytes >> 20);
    for view in ["latency", "timehist"] {
        let (mut ours, mut theirs) = ((f64::INFINITY, 0.0_f64), (f64::INFINITY, 0.0_f64));
        for _ in 0..ROUNDS {
            let own = measured(env!("CARGO_BIN_EXE_slicewise"), &[view], &file);
            let perf = measured("perf", &["sched", view, "-i"], &file);
            let (Some(own), Some(perf)) = (own, perf) else {
                println!("  {view}: skipped, perf or GNU time is not installed");
                return;
            };
            ours = (ours.0.min(own.0), ours.1.max(own.1));
            theirs = (theirs.0.min(perf.0), theirs.1.max(perf.1));
        }
        println!(
            "  {view}: perf sched {:.2} s and {:.0} MiB, slicewise {:.2} s and {:.0} MiB: {:.1} times as fast \
             (target {SPEED_TARGET}), {:.2} of the memory (target at most {MEMORY_TARGET})",
            theirs.0,
            theirs.1 / 1024.0,
            ours.0,
            ours.1 / 1024.0,
            theirs.0 / ours.0,
            ours.1 / theirs.1
        );
    }
}
