//! The guest's part: the cases of a boot, one after the other, and in each round a trace of what is not
//! the load's.

use std::fmt::Write as _;

use super::{Alike, PROCESS_MS, QUIET_MS, SmpCase};
use crate::guest::{HEAD, MARK};
use crate::initramfs::LOAD_PROGRAM;

const CGROUPS: &str = "/sys/fs/cgroup";

/// By how much a round's load begins elsewhere between two ticks than that of the round before.
const SHIFT_NS: u32 = 1_300_000;

/// What is recorded: who else ran, and who moved.
const EVENTS: [&str; 4] = [
    "sched/sched_switch",
    "sched/sched_wakeup",
    "sched/sched_wakeup_new",
    "sched/sched_migrate_task",
];
/// What is recorded at the end only, for where the ticks are.
const LATE_EVENT: &str = "timer/hrtimer_expire_entry";

/// Switches but those from one of the load's threads to another: they are many, and recording them
/// takes time.
fn filter(alike: &[Alike]) -> String {
    let is_own = |side: &str| {
        let names = alike.iter().map(|alike| match alike.tasks.len() {
            1 => format!("{side}_comm == \"{}\"", alike.name),
            _ => format!("{side}_comm ~ \"{}-*\"", alike.name),
        });
        names.collect::<Vec<String>>().join(" || ")
    };
    format!("!({}) || !({})", is_own("prev"), is_own("next"))
}

/// What the guest does.
pub(super) fn script(cases: &[&SmpCase]) -> Result<String, String> {
    let mut script = HEAD.to_owned();
    script.push_str("echo > $T/set_event\n");
    for event in EVENTS {
        let _ = writeln!(script, "echo 1 > $T/events/{event}/enable");
    }
    script.push_str("sleep 2\n{ about\n");
    let _ = writeln!(script, "TURNS=$({LOAD_PROGRAM} calibrate)\necho turns_per_ms $TURNS");
    for case in cases {
        let groups = case.groups()?;
        for group in &groups {
            let _ = writeln!(script, "mkdir {CGROUPS}/{group} || echo 'refused: {group}'");
        }
        let name = &case.name;
        let filter = filter(&case.alike()?);
        let quiet_ms = QUIET_MS + PROCESS_MS * groups.len() as u32;
        for round in 0..case.rounds {
            // Begins are the same way from a multiple of a tick's length, and so from the ticks.
            let _ = write!(
                script,
                "mkdir -p /out/{name}/{round}; cd /out/{name}/{round}\n\
                 echo 0 > $T/tracing_on; echo > $T/trace; echo 0 > $T/events/{LATE_EVENT}/enable\n\
                 echo '{filter}' > $T/events/sched/sched_switch/filter || echo 'refused: filter'\n\
                 echo 1 > $T/tracing_on\n\
                 read UP REST < /proc/uptime\n\
                 MS=$(( (${{UP%.*}} * 1000 + 1${{UP#*.}} * 10 - 1000 + {quiet_ms}) / 4 * 4 ))\n\
                 BEGIN=$(( MS * 1000000 + {} ))\n\
                 echo '{MARK}{name} {round} begin' > /dev/ttyS1\n",
                round * SHIFT_NS
            );
            let load = format!(
                "{LOAD_PROGRAM} load /cases/{name}.toml --milliseconds {} --turns $TURNS \
                 --begin $BEGIN",
                case.duration_ms
            );
            for (number, group) in groups.iter().enumerate() {
                let _ = writeln!(
                    script,
                    "sh -c \"echo \\$\\$ > {CGROUPS}/{group}/cgroup.procs; exec {load} \
                     --group {group} --accounts accounts-{number}.txt\" > load-{number}.txt 2>&1 &"
                );
            }
            let rest = if groups.is_empty() { "" } else { " --group /" };
            let _ = write!(
                script,
                "{load}{rest} --accounts accounts.txt \
                 --late-event $T/events/{LATE_EVENT}/enable --stop-trace $T/tracing_on \
                 > load.txt 2>&1\n\
                 echo '{MARK}{name} {round} end' > /dev/ttyS1\n\
                 wait\n\
                 cat $T/trace > trace.txt\n"
            );
        }
        for group in &groups {
            let _ = writeln!(script, "rmdir {CGROUPS}/{group}");
        }
    }
    let _ = writeln!(script, "}} > /tmp/stdout.txt 2>&1");
    let _ = writeln!(script, "mv /tmp/stdout.txt /out/\nsend smp");
    Ok(script)
}
