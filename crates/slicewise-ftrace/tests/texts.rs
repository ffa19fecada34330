//! Texts that perf and trace-cmd made of recordings: the same events as in the recordings.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use slicewise_ftrace::{Event, Findings, Kind, Reader, SwitchState, TimerFunction, TraceFormat};

fn read<R: std::io::Read + std::io::Seek>(mut reader: Reader<R>) -> (Vec<Event>, Findings) {
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        events.push(event);
    }
    (events, reader.findings().clone())
}

fn read_text(text: &[u8], format: TraceFormat) -> (Vec<Event>, Findings) {
    let reader = Reader::new(Cursor::new(text.to_vec())).unwrap();
    assert_eq!(reader.info().format, format);
    read(reader)
}

fn count(events: &[Event], is: impl Fn(&Kind) -> bool) -> usize {
    events.iter().filter(|event| is(&event.kind)).count()
}

#[test]
fn a_text_of_perf_script_is_read_line_by_line() {
    let text = include_bytes!("samples/perf_script.txt");
    let (events, findings) = read_text(text, TraceFormat::PerfScript);
    assert!(findings.is_clean(), "{findings:?}");
    assert_eq!(count(&events, |kind| matches!(kind, Kind::Other(_))), 0);
    assert!(count(&events, |kind| matches!(kind, Kind::Switch(_))) > 5);
    assert!(count(&events, |kind| matches!(kind, Kind::Waking(_))) > 2);
    assert_eq!(count(&events, |kind| matches!(kind, Kind::Fork(_))), 2);
    assert!(count(&events, |kind| matches!(kind, Kind::Named(_) | Kind::Cloned(_))) > 3);
    assert_eq!(count(&events, |kind| matches!(kind, Kind::Gone(_))), 2);
    let preempted =
        |kind: &Kind| matches!(kind, Kind::Switch(s) if s.prev_state == SwitchState::Preempted);
    assert!(count(&events, preempted) > 0);
}

#[test]
fn a_text_of_trace_cmd_report_is_read_line_by_line() {
    let text = include_bytes!("samples/trace_cmd_report.txt");
    let (events, findings) = read_text(text, TraceFormat::TraceCmdReport);
    assert!(findings.is_clean(), "{findings:?}");
    // The first line is none.
    assert_eq!(events.len(), text.split(|byte| *byte == b'\n').count() - 2);
    assert!(count(&events, |kind| matches!(kind, Kind::Switch(_))) > 5);
    assert_eq!(count(&events, |kind| matches!(kind, Kind::WakeupNew(_))), 3);
    let letters = events.iter().filter_map(|event| match &event.kind {
        Kind::Switch(switch) => Some(switch.prev_letter),
        _ => None,
    });
    let letters: Vec<u8> = letters.collect();
    // The plugin's `W` is the kernel's `I`.
    assert!(letters.contains(&b'I') && !letters.contains(&b'W'), "{letters:?}");
}

#[test]
fn a_text_of_tracefs_is_read_line_by_line() {
    let text = include_bytes!("samples/tracefs.txt");
    let (events, findings) = read_text(text, TraceFormat::Text);
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).count();
    assert_eq!((events.len(), findings.malformed), (lines, 0));
    assert!(findings.unexpected_layouts.is_empty(), "{findings:?}");
    assert!(count(&events, |kind| matches!(kind, Kind::Switch(_))) > 5);
    assert!(events.iter().all(|event| event.pid.is_some() && event.in_interrupt.is_some()));
}

fn output(command: &mut Command) -> Option<Vec<u8>> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// What texts do not say, or not as exactly, is taken away.
fn plain(events: &[Event], unit_ns: u64, has_states: bool) -> Vec<Event> {
    let plain = |event: &Event| {
        let mut event = event.clone();
        event.time_ns -= event.time_ns % unit_ns;
        (event.tgid, event.in_interrupt, event.need_resched) = (None, None, None);
        match &mut event.kind {
            Kind::Other(other) => {
                other.fields.clear();
                other.system = "".into();
            }
            // libtraceevent's plugin says R for R+.
            Kind::Switch(switch) if !has_states && switch.prev_state == SwitchState::Preempted => {
                switch.prev_state = SwitchState::Runnable;
            }
            // As an address, where fields are printed as they are.
            Kind::HrtimerExpire(timer) if has_states => timer.function = TimerFunction::Other,
            _ => {}
        }
        event
    };
    events.iter().map(plain).collect()
}

/// Times are rounded to the nearest by some and cut by others.
fn are_near(text: &[Event], file: &[Event], unit_ns: u64, what: &str) {
    assert_eq!(text.len(), file.len(), "{what}");
    for (text, file) in text.iter().zip(file) {
        assert!(text.time_ns.abs_diff(file.time_ns) <= unit_ns, "{what}: {text:?}\n{file:?}");
        let mut text = text.clone();
        text.time_ns = file.time_ns;
        assert_eq!(&text, file, "{what}");
    }
}

/// Recordings as trace-cmd wrote them on real kernels.
fn recordings() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../slicewise-lab/truth/traces");
    let listing = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_layout_of_trace_cmd_report_gives_the_events_of_the_recording() {
    for path in recordings() {
        let (of_file, _) = read(Reader::open(&path).unwrap());
        for (options, unit_ns, has_states) in [
            (&[][..], 1_000, false),
            (&["-t"], 1, false),
            (&["-t", "-R"], 1, true),
            (&["-t", "-N"], 1, true),
            (&["-l"], 1_000, false),
            (&["-l", "-t"], 1, false),
        ] {
            let mut command = Command::new("trace-cmd");
            let text = output(command.arg("report").args(options).arg("-i").arg(&path));
            let Some(text) = text.filter(|text| text.len() > 1_000) else {
                eprintln!("SKIPPED: no trace-cmd that can read {}", path.display());
                return;
            };
            let (of_text, findings) = read_text(&text, TraceFormat::TraceCmdReport);
            assert!(findings.is_clean(), "{options:?}: {findings:?}");
            let (text, file) = (plain(&of_text, 1, has_states), plain(&of_file, 1, has_states));
            are_near(&text, &file, unit_ns - 1, &format!("{options:?}"));
        }
    }
}

#[test]
fn every_layout_of_perf_script_gives_the_events_of_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("perf.data");
    let load = "for i in 1 2 3 4 5 6 7 8; do sleep 0.01 & done; wait";
    let mut record = Command::new("perf");
    record.args(["sched", "record", "-o"]).arg(&data).args(["--", "sh", "-c", load]);
    if output(&mut record).is_none() {
        eprintln!("SKIPPED: perf may not record here");
        return;
    }
    let (of_file, _) = read(Reader::open(&data).unwrap());
    let is_of_perf = |event: &Event| {
        matches!(event.kind, Kind::Named(_) | Kind::Cloned(_) | Kind::Gone(_) | Kind::Lost(_))
    };
    let (records, of_file): (Vec<Event>, Vec<Event>) = of_file.into_iter().partition(is_of_perf);
    assert!(of_file.len() > 20 && records.len() > 20);
    let file = plain(&of_file, 1, true);
    for (options, unit_ns) in [
        ("", 1_000),
        ("--ns", 1),
        ("--ns -F comm,pid,tid,cpu,time,event,trace", 1),
        ("--ns -F comm,tid,cpu,time,period,event,trace", 1),
        ("--ns -F tid,cpu,time,event,trace", 1),
        ("--header", 1_000),
        ("-L", 1_000),
        ("--ns --show-task-events", 1),
    ] {
        let mut command = Command::new("perf");
        command.arg("script").args(options.split(' ').filter(|word| !word.is_empty()));
        let text = output(command.arg("-i").arg(&data)).unwrap();
        let (of_text, findings) = read_text(&text, TraceFormat::PerfScript);
        assert_eq!(findings.malformed, 0, "{options}: {findings:?}");
        assert!(findings.unexpected_layouts.is_empty(), "{options}: {findings:?}");
        let (of_records, of_text): (Vec<Event>, Vec<Event>) =
            of_text.into_iter().partition(is_of_perf);
        if options.contains("task") {
            let kinds = |events: &[Event]| {
                let mut kinds: Vec<String> =
                    events.iter().map(|event| format!("{:?}", event.kind)).collect();
                kinds.sort_unstable();
                kinds
            };
            assert_eq!(kinds(&of_records), kinds(&records));
        }
        are_near(&plain(&of_text, 1, true), &file, unit_ns - 1, options);
        // Processes are there if they were asked for.
        if options.contains("pid,tid") {
            let tgids = |events: &[Event]| events.iter().map(|e| e.tgid).collect::<Vec<_>>();
            assert_eq!(tgids(&of_text), tgids(&of_file));
        }
    }
}
