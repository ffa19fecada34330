//! The same trace.dat, read by us and by `trace-cmd report`: every event, with its time, its CPU and
//! its fields.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use slicewise_ftrace::{
    Event, HrtimerExpire, Kind, Reader, SleepState, SwitchState, TaskRef, TimerFunction, Value,
};

/// Recordings as trace-cmd wrote them on real kernels.
fn recordings() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../slicewise-lab/truth/traces");
    let listing = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A line of `trace-cmd report -t`: `comm-pid [cpu] seconds.nanoseconds: name: fields`.
struct Line {
    pid: i32,
    cpu: u32,
    time_ns: u64,
    name: String,
    fields: String,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        // A name may have anything in it, but hardly a bracket with three digits.
        let open = line.match_indices(" [").map(|(at, _)| at).find(|at| {
            let digits = line[at + 2..].split(']').next().unwrap_or("");
            digits.len() >= 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
        })?;
        let (cpu, rest) = line[open + 2..].split_once(']')?;
        let (time, rest) = rest.trim_start().split_once(": ")?;
        let (seconds, fraction) = time.split_once('.')?;
        assert_eq!(fraction.len(), 9, "{line}");
        let (name, fields) = rest.trim_start().split_once(':')?;
        Some(Self {
            pid: line[..open].trim_end().rsplit_once('-')?.1.parse().ok()?,
            cpu: cpu.parse().ok()?,
            time_ns: seconds.trim().parse::<u64>().ok()? * 1_000_000_000
                + fraction.parse::<u64>().ok()?,
            name: name.to_owned(),
            fields: format!(" {} ", fields.trim()),
        })
    }

    /// The value of a field: up to the next key, or to the end.
    fn text(&self, key: &str, next: Option<&str>) -> &str {
        let key = format!(" {key}=");
        let at = self.fields.find(&key).unwrap_or_else(|| panic!("no{key}in {}", self.fields));
        let rest = &self.fields[at + key.len()..];
        let end = next.and_then(|next| rest.find(&format!(" {next}="))).unwrap_or(rest.len());
        rest[..end].trim()
    }

    fn number(&self, key: &str) -> i64 {
        let text = self.text(key, None);
        let word = text.split([' ', ',']).next().unwrap();
        number(word).unwrap_or_else(|| panic!("{key} in {}", self.fields))
    }

    /// Name, pid and priority, whose keys begin with `prefix`.
    fn is_task(&self, prefix: &str, task: &TaskRef) {
        let key = |name: &str| format!("{prefix}{name}");
        assert_eq!(task.comm.to_text(), self.text(&key("comm"), Some(&key("pid"))));
        assert_eq!(i64::from(task.pid), self.number(&key("pid")));
        assert_eq!(i64::from(task.prio), self.number(&key("prio")));
    }
}

/// Decimal or hexadecimal.
fn number(word: &str) -> Option<i64> {
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|value| value as i64),
        None => word.parse().ok().or_else(|| word.parse::<u64>().ok().map(|value| value as i64)),
    }
}

/// What the bits of `prev_state` mean, by the format of the event.
fn state_of(bits: i64) -> SwitchState {
    match bits & 0xff {
        _ if bits & 0x100 != 0 => SwitchState::Preempted,
        0 => SwitchState::Runnable,
        bits if bits & 0x30 != 0 => SwitchState::Dead,
        bits if bits & 0x4c != 0 => SwitchState::Asleep(SleepState::Stopped),
        _ => SwitchState::Asleep(SleepState::Waiting),
    }
}

/// `shown` is the line with symbols instead of addresses.
fn same(event: &Event, line: &Line, shown: &Line) {
    assert_eq!((event.time_ns, event.cpu), (line.time_ns, line.cpu), "{}", line.fields);
    assert_eq!(event.pid, Some(line.pid));
    let name = match &event.kind {
        Kind::Switch(switch) => {
            line.is_task("prev_", &switch.prev);
            line.is_task("next_", &switch.next);
            assert_eq!(switch.prev_state, state_of(line.number("prev_state")), "{}", line.fields);
            "sched_switch"
        }
        Kind::Wakeup(wakeup) | Kind::WakeupNew(wakeup) | Kind::Waking(wakeup) => {
            line.is_task("", &wakeup.task);
            assert_eq!(i64::from(wakeup.target_cpu), line.number("target_cpu"));
            match &event.kind {
                Kind::Wakeup(_) => "sched_wakeup",
                Kind::WakeupNew(_) => "sched_wakeup_new",
                _ => "sched_waking",
            }
        }
        Kind::Fork(fork) => {
            let of_line = (line.number("parent_pid"), line.number("child_pid"));
            assert_eq!((i64::from(fork.parent), i64::from(fork.child)), of_line);
            assert_eq!(fork.child_comm.to_text(), line.text("child_comm", Some("child_pid")));
            "sched_process_fork"
        }
        Kind::Exec(exec) => {
            let of_line = (line.number("pid"), line.number("old_pid"));
            assert_eq!((i64::from(exec.pid), i64::from(exec.old_pid)), of_line);
            "sched_process_exec"
        }
        Kind::Exit(exit) => {
            line.is_task("", &exit.task);
            "sched_process_exit"
        }
        Kind::Migrate(migrate) => {
            line.is_task("", &migrate.task);
            let of_line = (line.number("orig_cpu"), line.number("dest_cpu"));
            assert_eq!((i64::from(migrate.from), i64::from(migrate.to)), of_line);
            "sched_migrate_task"
        }
        Kind::StatRuntime(stat) => {
            assert_eq!(stat.comm.to_text(), line.text("comm", Some("pid")));
            assert_eq!(i64::from(stat.pid), line.number("pid"));
            assert_eq!(stat.runtime_ns as i64, line.number("runtime"));
            assert_eq!(stat.vruntime_ns.is_some(), line.fields.contains(" vruntime="));
            if let Some(vruntime_ns) = stat.vruntime_ns {
                assert_eq!(vruntime_ns as i64, line.number("vruntime"));
            }
            "sched_stat_runtime"
        }
        Kind::PiSetprio(pi) => {
            let of_line = (line.number("pid"), line.number("oldprio"), line.number("newprio"));
            let ours = (i64::from(pi.pid), i64::from(pi.old_prio), i64::from(pi.new_prio));
            assert_eq!(ours, of_line);
            "sched_pi_setprio"
        }
        Kind::HrtimerExpire(HrtimerExpire { function }) => {
            // It names the nearest symbol before, and how far that is.
            let symbol = shown.text("function", None).split(' ').next().unwrap();
            let expected = match symbol {
                "tick_nohz_handler/0x0" | "tick_sched_timer/0x0" => TimerFunction::Tick,
                "hrtick/0x0" => TimerFunction::HrTick,
                _ => TimerFunction::Other,
            };
            assert_eq!(*function, expected, "{}", shown.fields);
            "hrtimer_expire_entry"
        }
        Kind::Other(other) => {
            for (key, value) in &other.fields {
                let is_there = line.fields.contains(&format!(" {key}="));
                if let (Some(value), true) = (value.as_i64(), is_there) {
                    // Formats print some numbers as hexadecimal without saying so.
                    let word = line.text(key, None).split([' ', ',', ')']).next().unwrap();
                    let hexadecimal = i64::from_str_radix(word, 16);
                    let hexadecimal =
                        hexadecimal.or(u64::from_str_radix(word, 16).map(|v| v as i64));
                    let fits = number(word) == Some(value) || hexadecimal == Ok(value);
                    assert!(fits, "{key}={value}: {}", line.fields);
                } else if let (Value::Text(text), true) = (value, is_there) {
                    assert!(line.text(key, None).starts_with(text.trim()), "{}", line.fields);
                }
            }
            &other.name
        }
        Kind::Named(_) | Kind::Cloned(_) | Kind::Gone(_) => panic!("only perf has these"),
        Kind::Lost(_) => panic!("nothing is lost in this recording"),
    };
    assert_eq!(name, line.name);
}

#[test]
fn every_event_is_the_one_that_trace_cmd_reports() {
    let report = |path: &Path, raw: bool| {
        let mut command = Command::new("trace-cmd");
        command.args(["report", "-t"]).args(raw.then_some("-R")).arg("-i").arg(path);
        let output = command.output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(text.lines().filter_map(Line::parse).collect::<Vec<Line>>())
    };
    let mut compared = 0;
    for path in recordings() {
        let Some(lines) = report(&path, true) else {
            eprintln!("SKIPPED: trace-cmd is not installed, nothing was compared with it");
            return;
        };
        if lines.is_empty() {
            eprintln!("SKIPPED: this trace-cmd cannot read {}", path.display());
            continue;
        }
        let shown = report(&path, false).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let mut events = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            events.push(event);
        }
        assert!(reader.findings().is_clean(), "{:?}", reader.findings());
        assert_eq!((events.len(), shown.len()), (lines.len(), lines.len()), "{}", path.display());
        for ((event, line), shown) in events.iter().zip(&lines).zip(&shown) {
            same(event, line, shown);
        }
        compared += events.len();
    }
    eprintln!("{compared} events are the same");
}
