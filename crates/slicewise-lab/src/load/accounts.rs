//! What the kernel has counted of this process's threads and of the CPUs, at one moment.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Now, by the monotonic clock.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// A moment of the monotonic clock; now, if it has passed.
pub(super) fn instant(at_ns: u64) -> Instant {
    Instant::now() + Duration::from_nanos(at_ns.saturating_sub(now_ns()))
}

/// `clock NS`, then `task CPU_NS MIGRATIONS NAME` for each thread of this process, then
/// `cpu NUMBER BUSY IDLE` for each CPU, in hundredths of a second.
pub(super) fn read() -> String {
    let mut text = format!("clock {}\n", now_ns());
    for entry in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let of = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let ran = of("schedstat");
        let ran = ran.split(' ').next().unwrap_or("0");
        let sched = of("sched");
        let moved = sched.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == "se.nr_migrations").then(|| value.trim().to_owned())
        });
        let _ = write!(text, "task {ran} {} {}", moved.unwrap_or_default(), of("comm"));
    }
    let stat = fs::read_to_string(Path::new("/proc/stat")).unwrap_or_default();
    for line in stat.lines() {
        let mut words = line.split_whitespace();
        let number = words.next().and_then(|word| word.strip_prefix("cpu")?.parse::<u32>().ok());
        let Some(number) = number else { continue };
        // User, nice, system, idle, waiting for a disk, interrupts, softirqs, stolen.
        let times: Vec<u64> = words.map(|word| word.parse().unwrap_or(0)).collect();
        let sum = |at: &[usize]| at.iter().filter_map(|at| times.get(*at)).sum::<u64>();
        let _ = writeln!(text, "cpu {number} {} {}", sum(&[0, 1, 2, 5, 6]), sum(&[3, 4]));
    }
    text
}
