//! What happens inside the guest: scripts in, one checked archive out.

use std::fmt::Write as _;

use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::initramfs::LOAD_PROGRAM;

/// Before the name of a case whose results follow, after its size and sum, and at the end of all.
const BEGIN: &str = "LAB-BEGIN ";
const END: &str = "LAB-END ";
const DONE: &str = "LAB-DONE";
/// Instead of results: not all CPUs came up.
pub(crate) const CPUS_MISSING: &str = "LAB-CPUS-MISSING";
/// Before the name of a moment at which the host is to read its own accounts.
pub(crate) const MARK: &str = "LAB-MARK ";

/// The kernel's command line. Without `cryptomgr.notests`, self-tests of the crypto code run for
/// seconds after boot and disturb what is measured. With huge pages, khugepaged holds the memory
/// lock of a load while it waits for the CPU behind it: threads were seen to sleep for seconds.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 tsc=reliable \
     cryptomgr.notests transparent_hugepage=never rdinit=/init";

/// How much of the trace a CPU's ring buffer holds.
const BUFFER_MIB: u32 = 60;

/// The kernel's command line, with which it records from boot: a replay then sees every task's
/// birth, and no task has a lag that it does not know.
pub(crate) fn command_line(cpus: u32) -> String {
    // Those of system calls, switched on so early, record nothing on 6.18: the script does it.
    let early = EVENTS.iter().filter(|event| !event.starts_with("syscalls:"));
    let events = early.copied().collect::<Vec<&str>>().join(",");
    // What the kernel does not know, the first process finds in its environment.
    format!("{COMMAND_LINE} LAB_CPUS={cpus} trace_buf_size={BUFFER_MIB}M trace_event={events}")
}

/// The first process: mounts, runs `/run.sh`, switches off.
pub(crate) const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/lab:/bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
echo "+cpu +cpuset" > /sys/fs/cgroup/cgroup.subtree_control
if [ "$(nproc)" = "${LAB_CPUS:-1}" ]; then
sh /run.sh
echo LAB-DONE > /dev/ttyS1
else
echo LAB-CPUS-MISSING > /dev/ttyS1
fi
sync
sleep 1
poweroff -f
"#;

/// What every script begins with: where things are, and how results are sent.
pub(crate) const HEAD: &str = r#"D=/sys/kernel/debug/sched
T=/sys/kernel/tracing
about() {
uname -a
echo "cpus $(nproc)"
[ -r $D/base_slice_ns ] && echo "base_slice_ns $(cat $D/base_slice_ns)"
[ -r $D/features ] && echo "features $(cat $D/features)"
[ -r $D/preempt ] && echo "preempt $(cat $D/preempt)"
echo "autogroup $(cat /proc/sys/kernel/sched_autogroup_enabled 2>/dev/null)"
echo "rt_runtime_us $(cat /proc/sys/kernel/sched_rt_runtime_us)"
}
send() {
cd /
tar czf /tmp/out.tgz -C /out .
{ echo "LAB-BEGIN $1"; base64 < /tmp/out.tgz
echo "LAB-END $(wc -c < /tmp/out.tgz) $(md5sum < /tmp/out.tgz | cut -c1-32)"; } > /dev/ttyS1
rm -rf /out /tmp/out.tgz
mkdir /out
}
"#;

/// Events of the kernel that are recorded: what happened, and what a replay of the scheduler's
/// decisions needs.
pub(crate) const EVENTS: &[&str] = &[
    "sched:sched_switch",
    "sched:sched_wakeup",
    "sched:sched_wakeup_new",
    "sched:sched_waking",
    "sched:sched_migrate_task",
    "sched:sched_process_fork",
    "sched:sched_process_exec",
    "sched:sched_process_exit",
    "sched:sched_stat_runtime",
    "sched:sched_pi_setprio",
    "sched:sched_wait_task",
    "timer:hrtimer_expire_entry",
    "syscalls:sys_enter_sched_yield",
    "syscalls:sys_enter_sched_setattr",
    "syscalls:sys_enter_sched_setscheduler",
    "syscalls:sys_enter_sched_setaffinity",
    "syscalls:sys_enter_setpriority",
];

/// Symbols whose addresses events carry.
const SYMBOLS: &[&str] = &["hrtick", "tick_nohz_handler", "tick_sched_timer"];

/// A script that only says what the machine is.
pub(crate) fn about_script() -> String {
    format!("{HEAD}about > /out/stdout.txt 2>&1\nsend boot\n")
}

/// A script that runs one round of a case, on a kernel that records since it was booted.
pub(crate) fn round_script(case: &Case, round: u32) -> String {
    let mut script = HEAD.to_owned();
    enable_events(&mut script);
    // All of the symbols would be read and packed at the end. Regular expressions take seconds here.
    script.push_str("grep -F");
    for symbol in SYMBOLS {
        let _ = write!(script, " -e ' {symbol}'");
    }
    script.push_str(" /proc/kallsyms > /tmp/symbols\n");
    script.push_str("mount -o bind /tmp/symbols /proc/kallsyms\nsleep 2\n{ about\n");
    script.push_str(&round_commands(case, round, "/out", &case.command("/cases"), Start::Boot));
    let _ = writeln!(script, "}} > /tmp/stdout.txt 2>&1");
    let _ = writeln!(script, "mv /tmp/stdout.txt /out/{round}/\nsend {}", case.name);
    script
}

/// A script that runs a case on the machine the lab runs on.
pub(crate) fn host_script(case: &Case, directory: &str, program: &str) -> String {
    let mut script = HEAD.to_owned();
    // The command names the load program; here it is not in the path.
    let command = case.command(directory).replace(LOAD_PROGRAM, program);
    let _ = writeln!(script, "{{ about");
    for round in 0..case.rounds {
        script.push_str(&round_commands(case, round, directory, &command, Start::Load));
    }
    let _ = writeln!(script, "}} > {directory}/stdout.txt 2>&1");
    script
}

/// Since when the trace is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// The kernel's command line says so.
    Boot,
    /// From shortly before the load.
    Load,
}

/// Starts recording.
fn start_recording(script: &mut String) {
    let _ = write!(script, "trace-cmd start -q -b {}", BUFFER_MIB * 1000);
    for event in EVENTS {
        let _ = write!(script, " -e {event}");
    }
    // Where trace-cmd may not (it wants the function tracer too), tracefs is used as it is.
    let _ = write!(
        script,
        " || {{ echo trace-cmd start failed; RAW=1\necho {} > $T/buffer_size_kb\n",
        BUFFER_MIB * 1000
    );
    enable_events(script);
    script.push_str("echo 1 > $T/tracing_on; }\nsleep 0.2\n");
}

fn enable_events(script: &mut String) {
    for event in EVENTS {
        let _ = writeln!(script, "echo 1 > $T/events/{}/enable", event.replace(':', "/"));
    }
}

/// trace-cmd reads the formats of all events there are, which takes seconds: it is shown those in use.
fn few_formats(script: &mut String) {
    script.push_str("mkdir -p /tmp/events/ftrace; cd $T/events\n");
    script.push_str("cp header_page header_event /tmp/events/; cp -r ftrace /tmp/events/\n");
    for event in EVENTS {
        let event = event.replace(':', "/");
        let _ = writeln!(
            script,
            "mkdir -p /tmp/events/{event}; cp {event}/format /tmp/events/{event}/"
        );
    }
    script.push_str("cd - > /dev/null; mount -o bind /tmp/events $T/events\n");
}

/// One round of a case. All threads of a load are in one session: autogroups do not matter.
fn round_commands(case: &Case, round: u32, out: &str, command: &str, start: Start) -> String {
    let mut script = format!("mkdir {out}/{round}; cd {out}/{round}\n");
    // Between rounds, what the load does is shifted against the tick.
    let _ = writeln!(script, "sleep 1.{:03}", 7 * round % 1000);
    for line in &case.before {
        let _ = writeln!(script, "{line}");
    }
    if start == Start::Load {
        start_recording(&mut script);
    }
    let _ = writeln!(script, "{command} > load.txt 2>&1 &\nLOAD=$!\nsleep 0.5");
    for line in &case.during {
        let _ = writeln!(script, "{line}");
    }
    // Before the load's threads are stopped, the trace ends and their figures are read.
    let _ = writeln!(script, "sleep {}.2", case.duration_s - 1);
    script.push_str(
        "echo 0 > $T/tracing_on\n\
         for thread in /proc/$LOAD/task/*; do\n\
         cat $thread/sched > proc-sched-${thread##*/}.txt\n\
         cat $thread/schedstat > proc-schedstat-${thread##*/}.txt; done 2>/dev/null\n\
         cat $D/debug > sched-debug.txt\n\
         for group in /sys/fs/cgroup /sys/fs/cgroup/*/; do name=$(basename $group)\n\
         for file in cpu.stat cpu.pressure; do\n\
         [ -r $group/$file ] && cat $group/$file > cgroup-$name-$file.txt; done; done\n\
         wait $LOAD\n",
    );
    if start == Start::Boot {
        few_formats(&mut script);
    }
    script.push_str(
        "[ \"$RAW\" ] && cat $T/trace > trace.txt || \
         trace-cmd extract -o trace.dat > extract.txt 2>&1 || echo trace-cmd extract failed\n\
         cat $T/per_cpu/cpu*/stats > trace-stats.txt\n\
         echo > $T/set_event\n\
         echo > $T/trace\n",
    );
    for line in &case.after {
        let _ = writeln!(script, "{line}");
    }
    script
}

/// What came back: the archive and its sum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Parcel {
    pub(crate) archive: Vec<u8>,
    pub(crate) md5: String,
}

/// The archive in what came over the serial port.
pub(crate) fn received(text: &str) -> Result<Parcel> {
    let cut = || {
        Failure::with_help(
            "the guest sent no complete result",
            "see console.txt beside the results for what its kernel said",
        )
    };
    let (_, after) = text.split_once(BEGIN).ok_or_else(cut)?;
    let (_, after) = after.split_once('\n').ok_or_else(cut)?;
    let (body, after) = after.split_once(END).ok_or_else(cut)?;
    let (end, rest) = after.split_once('\n').ok_or_else(cut)?;
    let mut words = end.split_whitespace();
    let size: usize = words.next().and_then(|word| word.parse().ok()).ok_or_else(cut)?;
    let md5 = words.next().ok_or_else(cut)?.to_owned();
    let archive = base64(body)
        .ok_or_else(|| Failure::new("what the guest sent is not base64: the line was disturbed"))?;
    if archive.len() != size {
        return Err(Failure::new(format!("the guest sent {size} bytes, {} came", archive.len())));
    }
    if rest.contains(DONE) { Ok(Parcel { archive, md5 }) } else { Err(cut()) }
}

/// Decodes base64, white space ignored.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut ended) = (0_u32, 0_u32, false);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                ended = true;
                continue;
            }
            _ => return None,
        };
        if ended {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{base64, received};

    #[test]
    fn base64_is_decoded_over_line_ends() {
        assert_eq!(base64("c2xp\r\nY2U=\r\n"), Some(b"slice".to_vec()));
        assert_eq!(base64("c2xp!"), None);
        assert_eq!(base64("Yg==c2xp"), None);
    }

    #[test]
    fn a_result_that_was_cut_off_is_refused() {
        assert!(received("c2xpY2U=").is_err());
        assert!(received("LAB-BEGIN a\r\nc2xpY2U=\r\nLAB-END 6 abc\r\nLAB-DONE\r\n").is_err());
        let one = "LAB-BEGIN a\r\nc2xpY2U=\r\nLAB-END 5 abc\r\n";
        assert!(received(one).is_err(), "not done");
        let parcel = received(&format!("{one}LAB-DONE\r\n")).unwrap();
        assert_eq!((parcel.archive.as_slice(), parcel.md5.as_str()), (&b"slice"[..], "abc"));
    }
}
