//! The guest's part: one boot for a case, and in it a trace of each round.

use std::fmt::Write as _;

use super::{QUIET_MS, RtCase};
use crate::guest::HEAD;
use crate::initramfs::LOAD_PROGRAM;

/// By how much a round's load begins elsewhere between two ticks than that of the round before.
const SHIFT_MS: f64 = 1.3;

/// What is recorded. What else the kernel's command line switched on is switched off: it only costs time.
const EVENTS: [&str; 4] = [
    "sched/sched_switch",
    "sched/sched_wakeup",
    "sched/sched_wakeup_new",
    "timer/hrtimer_expire_entry",
];

/// What the guest does: all cases of a boot, one after the other. The load ends the recording itself:
/// where real-time threads keep everybody else waiting, a shell would come too late.
pub(super) fn script(cases: &[&RtCase], before: &[String]) -> String {
    let mut script = HEAD.to_owned();
    script.push_str("echo > $T/set_event\n");
    for event in EVENTS {
        let _ = writeln!(script, "echo 1 > $T/events/{event}/enable");
    }
    script.push_str("sleep 2\n{ about\n");
    let _ = writeln!(script, "export TURNS=$({LOAD_PROGRAM} calibrate)\necho turns_per_ms $TURNS");
    for line in before {
        let _ = writeln!(script, "{line} || echo 'refused: {line}'");
    }
    for case in cases {
        for round in 0..case.rounds {
            let quiet_s = (f64::from(QUIET_MS) + f64::from(round) * SHIFT_MS) / 1_000.0;
            let name = &case.name;
            let _ = write!(
                script,
                "mkdir -p /out/{name}/{round}; cd /out/{name}/{round}\n\
                 echo 0 > $T/tracing_on; echo > $T/trace; echo 1 > $T/tracing_on\n\
                 sleep {quiet_s:.4}\n\
                 {LOAD_PROGRAM} load /cases/{name}.toml --milliseconds {} --turns $TURNS \
                 --stop-trace $T/tracing_on > load.txt 2>&1\n\
                 cat $T/trace > trace.txt\n",
                case.duration_ms
            );
        }
    }
    let _ = writeln!(script, "}} > /tmp/stdout.txt 2>&1");
    let _ = writeln!(script, "mv /tmp/stdout.txt /out/\nsend rt");
    script
}
