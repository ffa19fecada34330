//! The text of tracefs' `trace` file.
//!
//! Everything that is not understood is counted; nothing is skipped in silence.

/// One event that matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `sched_switch`.
    Switch {
        prev: u32,
        prev_comm: String,
        voluntary: bool,
        exited: bool,
        next: u32,
        next_comm: String,
    },
    /// `sched_wakeup` and `sched_wakeup_new`.
    Wakeup { pid: u32 },
    /// `sched_migrate_task`.
    Migrate,
}

/// An event with its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) now_ns: u64,
    pub(crate) cpu: u32,
    pub(crate) kind: Kind,
}

/// What a trace lacks or has too much of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Doubts {
    /// Events the ring buffer has lost.
    pub(crate) lost: u64,
    /// Lines that are no event.
    pub(crate) malformed: u64,
    /// Events of other kinds.
    pub(crate) unknown: u64,
    /// Events earlier than the one before on the same CPU.
    pub(crate) backwards: u64,
    /// The last line has no end.
    pub(crate) truncated: bool,
}

impl Doubts {
    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// A trace that was read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Trace {
    pub(crate) records: Vec<Record>,
    pub(crate) doubts: Doubts,
}

/// Reads a trace.
pub(crate) fn parse(text: &str) -> Trace {
    let mut trace = Trace::default();
    let doubts = &mut trace.doubts;
    let mut last: Vec<u64> = Vec::new();
    doubts.truncated = !text.is_empty() && !text.ends_with('\n');
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(comment) = line.strip_prefix('#') {
            doubts.lost += lost_in_head(comment);
            continue;
        }
        if let Some(lost) = lost_on_the_way(line) {
            doubts.lost += lost;
            continue;
        }
        let Some((cpu, now_ns, name, fields)) = split(line) else {
            doubts.malformed += 1;
            continue;
        };
        let kind = match name {
            "sched_switch" => switch(fields),
            "sched_wakeup" | "sched_wakeup_new" => wakeup(fields),
            "sched_migrate_task" => Some(Kind::Migrate),
            _ => {
                doubts.unknown += 1;
                continue;
            }
        };
        let Some(kind) = kind else {
            doubts.malformed += 1;
            continue;
        };
        let index = cpu as usize;
        if last.len() <= index {
            last.resize(index + 1, 0);
        }
        if now_ns < last[index] {
            doubts.backwards += 1;
        }
        last[index] = now_ns;
        trace.records.push(Record { now_ns, cpu, kind });
    }
    trace
}

/// `# entries-in-buffer/entries-written: 1650/1700   #P:1`
fn lost_in_head(comment: &str) -> u64 {
    let numbers = || {
        let rest = comment.trim().strip_prefix("entries-in-buffer/entries-written:")?;
        let (kept, written) = rest.split_whitespace().next()?.split_once('/')?;
        Some(written.parse::<u64>().ok()?.saturating_sub(kept.parse().ok()?))
    };
    numbers().unwrap_or(0)
}

/// `CPU:0 [LOST 123 EVENTS]`, or without a number.
fn lost_on_the_way(line: &str) -> Option<u64> {
    let (_, rest) = line.trim().strip_prefix("CPU:")?.split_once("[LOST ")?;
    Some(rest.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(1))
}

/// CPU, time, name and fields of `   comm-pid   [000] d..2.  3.253569: sched_switch: …`. The name
/// of the task may have anything in it: the first place that fits is taken.
fn split(line: &str) -> Option<(u32, u64, &str, &str)> {
    line.match_indices(" [").find_map(|(at, _)| {
        let (cpu, rest) = line[at + 2..].split_once("] ")?;
        let cpu = cpu.parse().ok().filter(|cpu| *cpu < 4096)?;
        let rest = rest.trim_start();
        // The column of flags can be switched off.
        let (first, after) = rest.split_once(' ')?;
        let (time, rest) = match time_ns(first) {
            Some(time) => (time, after),
            None => {
                let (second, after) = after.trim_start().split_once(' ')?;
                (time_ns(second)?, after)
            }
        };
        let (name, fields) = rest.trim_start().split_once(": ")?;
        Some((cpu, time, name, fields))
    })
}

/// `3.253569:`, in seconds.
fn time_ns(word: &str) -> Option<u64> {
    let (seconds, fraction) = word.strip_suffix(':')?.split_once('.')?;
    let digits = fraction.len();
    if digits == 0 || digits > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u64 = fraction.parse().ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction * 10_u64.pow(9 - digits as u32))
}

/// `… prev_comm=a prev_pid=1 prev_prio=120 prev_state=S ==> next_comm=b next_pid=2 next_prio=120`
fn switch(fields: &str) -> Option<Kind> {
    let (left, right) = fields.rsplit_once(" ==> next_comm=")?;
    let (prev_comm, rest) = left.strip_prefix("prev_comm=")?.rsplit_once(" prev_pid=")?;
    let mut words = rest.split(' ');
    let prev = words.next()?.parse().ok()?;
    let state = words.find_map(|word| word.strip_prefix("prev_state="))?;
    let (next_comm, rest) = right.rsplit_once(" next_pid=")?;
    let next = rest.split(' ').next()?.parse().ok()?;
    Some(Kind::Switch {
        prev,
        prev_comm: prev_comm.to_owned(),
        voluntary: !state.starts_with('R'),
        exited: state.starts_with(['X', 'Z']),
        next,
        next_comm: next_comm.to_owned(),
    })
}

fn wakeup(fields: &str) -> Option<Kind> {
    let (_, rest) = fields.rsplit_once(" pid=")?;
    Some(Kind::Wakeup { pid: rest.split(' ').next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::{Kind, parse};

    const TEXT: &str = "\
# tracer: nop
#
# entries-in-buffer/entries-written: 3/5   #P:1
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
          rt-app-108     [000] dls4.     3.820278: sched_wakeup: comm=rcu preempt pid=15 prio=120 target_cpu=000
     kworker/0:1-11      [000] d..2.     3.824368: sched_switch: prev_comm=kworker/0:1 prev_pid=11 prev_prio=120 prev_state=D ==> next_comm=rt-app next_pid=108 next_prio=120
          rt-app-108     [000] d..2.     3.825368: sched_switch: prev_comm=rt-app prev_pid=108 prev_prio=120 prev_state=R+ ==> next_comm=a [000] b next_pid=9 next_prio=120
";

    #[test]
    fn switches_and_wakeups_are_read() {
        let trace = parse(TEXT);
        assert_eq!(trace.doubts.lost, 2);
        assert_eq!(trace.records.len(), 3);
        assert_eq!(trace.records[0].now_ns, 3_820_278_000);
        assert_eq!(trace.records[0].kind, Kind::Wakeup { pid: 15 });
        let Kind::Switch { prev, voluntary, next, next_comm, .. } = &trace.records[2].kind else {
            panic!("not a switch");
        };
        assert_eq!((*prev, *voluntary, *next, next_comm.as_str()), (108, false, 9, "a [000] b"));
    }

    #[test]
    fn a_task_may_be_called_like_a_trace() {
        let line = "x [001] y-7     [000] d..2.     1.5: sched_wakeup: comm=a pid=2 pid=3 prio=1 target_cpu=000\n";
        let trace = parse(line);
        assert_eq!(trace.records[0].cpu, 0);
        assert_eq!(trace.records[0].now_ns, 1_500_000_000);
        assert_eq!(trace.records[0].kind, Kind::Wakeup { pid: 3 });
    }

    #[test]
    fn what_is_not_understood_is_counted() {
        let trace = parse(&format!(
            "{TEXT}CPU:0 [LOST 12 EVENTS]\nnonsense\n \
             a-1 [000] d... 4.0: sched_stat_runtime: comm=a pid=1\n \
             a-1 [000] d... 3.0: sched_wakeup: comm=a pid=1 prio=1\n \
             a-1 [000] d... 5.0: sched_switch: prev_comm=a prev_p"
        ));
        let doubts = trace.doubts;
        assert_eq!(
            (doubts.lost, doubts.malformed, doubts.unknown, doubts.backwards, doubts.truncated),
            (14, 2, 1, 1, true)
        );
        assert!(!doubts.is_empty());
        assert!(parse("").doubts.is_empty());
    }
}
