//! Using the CPU without system calls, and sleeping.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::thread::{ClockId, Timespec, clock_nanosleep_relative};

/// Turns of one measurement: short enough that there are some between two ticks, or what ticks take
/// would be taken for work.
const SAMPLE: u64 = 100_000;
const SAMPLES: u32 = 50;

/// Turns the loop.
#[inline(never)]
pub(super) fn turns(count: u64) {
    for turn in 0..count {
        black_box(turn);
    }
}

/// How many turns take 1 ms: the fastest of some measurements, for the others were disturbed.
pub(crate) fn calibrate() -> u64 {
    let fastest = (0..SAMPLES)
        .map(|_| {
            let began = Instant::now();
            turns(SAMPLE);
            began.elapsed()
        })
        .min()
        .unwrap_or(Duration::from_millis(1));
    (SAMPLE * 1_000_000 / (fastest.as_nanos() as u64).max(1)).max(1)
}

/// Sleeps for a while.
pub(super) fn sleep(duration: Duration) {
    let mut left = Timespec {
        tv_sec: duration.as_secs().cast_signed(),
        tv_nsec: i64::from(duration.subsec_nanos()),
    };
    // A signal cuts a sleep short; what is left comes back.
    while let rustix::thread::NanosleepRelativeResult::Interrupted(rest) =
        clock_nanosleep_relative(ClockId::Monotonic, &left)
    {
        left = rest;
    }
}

/// Sleeps until then, or not at all if that has passed.
pub(super) fn sleep_until(then: Instant) {
    if let Some(left) = then.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        sleep(left);
    }
}
