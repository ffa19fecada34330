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
/// Least ratio of time, and greatest of peak memory.
const SPEED_TARGET: f64 = 3.0;
const MEMORY_TARGET: f64 = 0.5;

/// What a command took.
#[derive(Clone, Copy)]
struct Took {
    elapsed_s: f64,
    cpu_s: f64,
    kib: f64,
}

impl Took {
    /// The better of two in time, the worse in memory.
    fn and(self, other: Self) -> Self {
        Self {
            elapsed_s: self.elapsed_s.min(other.elapsed_s),
            cpu_s: self.cpu_s.min(other.cpu_s),
            kib: self.kib.max(other.kib),
        }
    }
}

/// As GNU time tells.
fn measured(program: &str, args: &[&str], file: &Path) -> Option<Took> {
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%e %U %S %M", program]).args(args).arg(file);
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let words: Vec<f64> =
        text.lines().last()?.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [elapsed_s, user_s, system_s, kib] = words[..] else { return None };
    output.status.success().then_some(Took { elapsed_s, cpu_s: user_s + system_s, kib })
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
        let mut least: Option<(Took, Took)> = None;
        for _ in 0..ROUNDS {
            let own = measured(env!("CARGO_BIN_EXE_slicewise"), &[view], &file);
            let perf = measured("perf", &["sched", view, "-i"], &file);
            let (Some(own), Some(perf)) = (own, perf) else {
                println!("  {view}: skipped, perf or GNU time is not installed");
                return;
            };
            least = Some(least.map_or((own, perf), |(a, b)| (a.and(own), b.and(perf))));
        }
        let Some((ours, theirs)) = least else { return };
        println!(
            "  {view}: perf sched {:.2} s and {:.0} MiB, slicewise {:.2} s and {:.0} MiB: {:.1} times as fast \
             (target {SPEED_TARGET}), {:.2} of the memory (target at most {MEMORY_TARGET}); CPU time {:.2} s and \
             {:.2} s",
            theirs.elapsed_s,
            theirs.kib / 1024.0,
            ours.elapsed_s,
            ours.kib / 1024.0,
            theirs.elapsed_s / ours.elapsed_s,
            ours.kib / theirs.kib,
            theirs.cpu_s,
            ours.cpu_s,
        );
    }
}
