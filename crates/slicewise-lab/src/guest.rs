//! What happens inside the guest: scripts in, one checked archive out.

use std::fmt::Write as _;

use crate::case::Case;
use crate::failure::{Failure, Result};

/// Put before the sum at the end of what the guest sends.
const END: &str = "LAB-END ";

/// The kernel's command line. Without `cryptomgr.notests`, self-tests of the crypto code run for
/// seconds after boot and disturb what is measured.
pub(crate) const COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 tsc=reliable cryptomgr.notests rdinit=/init";

/// The first process: mounts, runs `/case.sh`, sends `/out`, switches off.
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
sh /case.sh > /out/stdout.txt 2>&1
cd /
tar czf /tmp/out.tgz out
{ base64 < /tmp/out.tgz; echo "LAB-END $(wc -c < /tmp/out.tgz) $(md5sum < /tmp/out.tgz | cut -c1-32)"; } > /dev/ttyS1
sync
sleep 1
poweroff -f
"#;

/// What the machine is: always the beginning of a script.
const ABOUT: &str = r#"D=/sys/kernel/debug/sched
T=/sys/kernel/tracing
uname -a
echo "cpus $(nproc)"
[ -r $D/base_slice_ns ] && echo "base_slice_ns $(cat $D/base_slice_ns)"
[ -r $D/features ] && echo "features $(cat $D/features)"
[ -r $D/preempt ] && echo "preempt $(cat $D/preempt)"
echo "autogroup $(cat /proc/sys/kernel/sched_autogroup_enabled 2>/dev/null)"
"#;

/// A script that only says what the machine is.
pub(crate) fn about_script() -> String {
    ABOUT.to_owned()
}

/// The script of a case. All threads of rt-app are in one session: autogroups do not matter.
pub(crate) fn case_script(case: &Case) -> String {
    let mut script = ABOUT.to_owned();
    script.push_str("sleep 2\n");
    for line in &case.before {
        let _ = writeln!(script, "{line}");
    }
    script.push_str(
        "echo 40000 > $T/buffer_size_kb\n\
         for event in sched_switch sched_wakeup sched_wakeup_new sched_migrate_task; do\n\
         echo 1 > $T/events/sched/$event/enable; done\n\
         rt-app /case.json > /out/rt-app.txt 2>&1 &\nRTAPP=$!\nsleep 0.5\n",
    );
    for line in &case.during {
        let _ = writeln!(script, "{line}");
    }
    // 300 ms before rt-app stops its threads, the trace ends and their figures are read.
    let _ = writeln!(script, "sleep {}.2", case.duration_s - 1);
    script.push_str(
        "echo 0 > $T/tracing_on\n\
         for thread in /proc/$RTAPP/task/*; do\n\
         cat $thread/sched > /out/proc-sched-${thread##*/}.txt\n\
         cat $thread/schedstat > /out/proc-schedstat-${thread##*/}.txt; done\n\
         cat $D/debug > /out/sched-debug.txt\n\
         for group in /sys/fs/cgroup /sys/fs/cgroup/*/; do name=$(basename $group)\n\
         for file in cpu.stat cpu.pressure; do\n\
         [ -r $group/$file ] && cat $group/$file > /out/cgroup-$name-$file.txt; done; done\n\
         wait $RTAPP\n\
         cat $T/per_cpu/cpu*/stats > /out/trace-stats.txt\n\
         cat $T/trace > /out/trace.txt\n",
    );
    script
}

/// The archive in what came over the serial port, if all of it did.
pub(crate) fn received(text: &str) -> Result<(Vec<u8>, String)> {
    let cut = || {
        Failure::with_help(
            "the guest sent no complete result",
            "see console.txt beside the results for what its kernel said",
        )
    };
    let (body, end) = text.split_once(END).ok_or_else(cut)?;
    let mut words = end.split_whitespace();
    let size: usize = words.next().and_then(|word| word.parse().ok()).ok_or_else(cut)?;
    let sum = words.next().ok_or_else(cut)?.to_owned();
    let bytes = base64(body)
        .ok_or_else(|| Failure::new("what the guest sent is not base64: the line was disturbed"))?;
    if bytes.len() != size {
        return Err(Failure::new(format!("the guest sent {size} bytes, {} came", bytes.len())));
    }
    Ok((bytes, sum))
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
        assert!(received("c2xpY2U=\r\nLAB-END 6 abc\r\n").is_err());
        let (bytes, sum) = received("c2xpY2U=\r\nLAB-END 5 abc\r\n").unwrap();
        assert_eq!((bytes, sum), (b"slice".to_vec(), "abc".to_owned()));
    }
}
