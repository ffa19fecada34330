//! Files of every format, cut off, with flipped bytes, with times that jump: what can be read is read, and the
//! rest counted.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;
use std::io::Cursor;

use slicewise_ftrace::{Error, Findings, Kind, Reader, TraceFile};

mod build;

use build::{Page, perf, perfetto, version_6, version_7};

/// Events in each file, on two CPUs.
const EVENTS: u64 = 1_000;

fn times() -> impl Iterator<Item = (u64, u32, i32)> {
    (0..EVENTS).map(|at| (1_000_000 + at * 1_000, (at % 2) as u32, 100 + (at % 7) as i32))
}

fn of_perf() -> Vec<u8> {
    let mut records = Vec::new();
    for (time_ns, cpu, pid) in times() {
        records.extend(perf::wakeup(time_ns, cpu, pid));
        if time_ns % 50_000 == 0 {
            records.extend(perf::round());
        }
    }
    records
}

fn pages() -> Vec<Vec<Page>> {
    let of = |of_cpu: u32| {
        let mut pages = Vec::new();
        let times: Vec<_> = times().filter(|(_, cpu, _)| *cpu == of_cpu).collect();
        for some in times.chunks(50) {
            let page =
                some.iter().enumerate().fold(Page::new(some[0].0), |page, (at, (.., pid))| {
                    page.wakeup(if at == 0 { 0 } else { 2_000 }, *pid)
                });
            pages.push(page);
        }
        pages
    };
    vec![of(0), of(1)]
}

fn text(line: impl Fn(u64, u32, i32) -> String) -> Vec<u8> {
    let lines = times().map(|(time_ns, cpu, pid)| line(time_ns / 1_000, cpu, pid));
    lines.collect::<String>().into_bytes()
}

fn packets() -> Vec<perfetto::Message> {
    let times: Vec<_> = times().collect();
    let mut packets = Vec::new();
    for some in times.chunks(40) {
        for of_cpu in 0..2 {
            let of_cpu = some.iter().filter(|(_, cpu, _)| *cpu == of_cpu);
            let events: Vec<_> = of_cpu
                .clone()
                .map(|(time, cpu, pid)| perfetto::wakeup(*time, 1, 20, *pid, *cpu))
                .collect();
            let cpu = of_cpu.map(|(_, cpu, _)| *cpu).next().unwrap();
            packets.push(perfetto::bundle(cpu, false, &events));
        }
    }
    packets
}

/// A file of each kind, and whether its parts stand for themselves.
fn files() -> Vec<(&'static str, Vec<u8>, bool)> {
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let tracefs = text(|us, cpu, pid| {
        let mut line = format!("          task-{:<6}  [{cpu:03}] d..2. {:>12}: ", 1, seconds(us));
        let _ = writeln!(line, "sched_waking: comm=task pid={pid} prio=120 target_cpu=000");
        line
    });
    let script = text(|us, cpu, pid| {
        let mut line = format!("            task {:5} [{cpu:03}] {:>12}: ", 1, seconds(us));
        let _ =
            writeln!(line, "      sched:sched_waking: comm=task pid={pid} prio=120 target_cpu=000");
        line
    });
    let report = text(|us, cpu, pid| {
        let mut line = format!("            task-{:<5} [{cpu:03}] {:>12}: ", 1, seconds(us));
        let _ = writeln!(line, "sched_wakeup:         task:{pid} [120] CPU:000");
        line
    });
    vec![
        ("perf.data", perf::file(&of_perf()), true),
        ("perf.data of a pipe", perf::pipe(&of_perf()), true),
        // One stream of compressed data, which does not go on behind damage.
        ("compressed perf.data", perf::file(&perf::compressed(&of_perf(), 4_000)), false),
        ("trace.dat 6", version_6(&pages()), true),
        ("trace.dat 7", version_7("none", &pages()), true),
        ("trace.dat 7, zstd", version_7("zstd", &pages()), false),
        ("trace.dat 7, zlib", version_7("zlib", &pages()), false),
        ("tracefs", tracefs, true),
        ("perf script", script, true),
        ("trace-cmd report", report, true),
        ("perfetto", perfetto::file(&packets()), true),
    ]
}

/// Events, what was found, and why it did not go on, if it did not.
fn read(bytes: Vec<u8>) -> (Vec<u64>, Findings, Option<Error>) {
    let mut reader = match Reader::new(Cursor::new(bytes)) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Findings::default(), Some(error)),
    };
    let mut times = Vec::new();
    loop {
        match reader.next_event() {
            Ok(Some(event)) => times.push(event.time_ns),
            Ok(None) => return (times, reader.findings().clone(), None),
            Err(error) => return (times, reader.findings().clone(), Some(error)),
        }
    }
}

#[test]
fn whole_files_are_read_whole() {
    for (name, bytes, _) in files() {
        let (times, findings, error) = read(bytes);
        assert!(error.is_none() && findings.is_clean(), "{name}: {error:?} {findings:?}");
        assert_eq!(times.len() as u64, EVENTS, "{name}");
        assert!(times.is_sorted(), "{name}");
    }
}

#[test]
fn a_pipe_gives_the_same_as_the_file_whatever_the_format() {
    for (name, bytes, _) in files() {
        let (expected, ..) = read(bytes.clone());
        let mut reader = Reader::new(TraceFile::of_stream(Cursor::new(bytes)).unwrap()).unwrap();
        let mut times = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            times.push(event.time_ns);
        }
        assert_eq!(times, expected, "{name}");
    }
}

#[test]
fn a_file_that_was_cut_off_gives_what_it_has_and_says_that_it_was() {
    for (name, bytes, _) in files() {
        let mut most = 0;
        for part in 0..=97 {
            let len = bytes.len() * part / 98;
            let (times, findings, error) = read(bytes[..len].to_vec());
            assert!(times.len() as u64 <= EVENTS, "{name}, {len}");
            assert!(times.len() + 60 >= most || error.is_some(), "{name}, {len}: {}", times.len());
            most = most.max(times.len());
            let is_told = |times: &[u64], findings: &Findings, error: &Option<Error>| {
                let is_whole = times.len() as u64 == EVENTS;
                is_whole || error.is_some() || findings.truncated || findings.malformed > 0
            };
            // Between two records, lines or packets nothing can be noticed; a byte further on it can.
            let told = is_told(&times, &findings, &error) || {
                let (times, findings, error) = read(bytes[..len + 1].to_vec());
                is_told(&times, &findings, &error)
            };
            assert!(told, "{name}, {len}: {findings:?}");
        }
        // Some have what is needed to read them at their end.
        let needs_end = matches!(name, "perf.data" | "compressed perf.data") || name.contains('7');
        assert!(needs_end || most as u64 > EVENTS * 9 / 10, "{name}: {most}");
    }
}

#[test]
fn a_byte_flipped_every_4_kib_costs_a_few_events_and_no_more() {
    for (name, whole, stands_alone) in files() {
        for offset in [0, 1_000, 2_047, 4_095] {
            let mut bytes = whole.clone();
            let mut flips = 0;
            // Not in the head, without which nothing is known.
            for at in (offset + 4_096..bytes.len()).step_by(4_096) {
                bytes[at] ^= 0xff;
                flips += 1;
            }
            assert!(flips > 0 || !stands_alone, "{name} is too short");
            let (times, findings, error) = read(bytes);
            if let Some(error) = error {
                // A flip in what stands at the end, as formats do.
                assert!(times.is_empty(), "{name}, {offset}: {error}");
                continue;
            }
            assert!(times.len() as u64 <= EVENTS + 5, "{name}, {offset}: {}", times.len());
            if stands_alone {
                let lost = EVENTS.saturating_sub(times.len() as u64);
                // At most a page or a packet for each.
                assert!(lost <= flips * 50, "{name}, {offset}: {lost} lost by {flips} flips");
            } else {
                let told = findings.malformed > 0 || findings.truncated;
                assert!(told || flips == 0, "{name}, {offset}: {findings:?}");
            }
        }
    }
}

#[test]
fn every_single_flip_at_many_places_is_survived() {
    for (name, whole, _) in files() {
        for at in (0..whole.len()).step_by(whole.len() / 90) {
            for mask in [0xff, 0x80, 0x01] {
                let mut bytes = whole.clone();
                bytes[at] ^= mask;
                let (times, ..) = read(bytes);
                assert!(times.len() as u64 <= EVENTS * 2, "{name}: byte {at}, {}", times.len());
            }
        }
    }
}

#[test]
fn what_comes_out_of_order_is_put_in_order_or_counted() {
    // Text is delivered as it stands there.
    let lines = "  a-1 [000] d..2. 1.000002: sched_waking: comm=b pid=2 prio=120 target_cpu=000
  a-1 [001] d..2. 1.000001: sched_waking: comm=b pid=2 prio=120 target_cpu=000
  a-1 [000] d..2. 1.000001: sched_waking: comm=b pid=2 prio=120 target_cpu=000\n";
    let (times, findings, _) = read(lines.into());
    assert_eq!(times, [1_000_002_000, 1_000_001_000, 1_000_001_000]);
    assert_eq!(findings.backwards, 1);

    let pages = vec![vec![
        Page::new(5_000).wakeup(0, 1).wakeup(10, 2),
        Page::new(3_000).wakeup(0, 3).wakeup(10, 4),
    ]];
    let (times, findings, _) = read(version_6(&pages));
    assert_eq!((times, findings.backwards), (vec![5_000, 5_010, 3_000, 3_010], 1));
}

#[test]
fn a_clock_that_jumps_far_ahead_once_does_not_make_the_rest_late() {
    let mut records = Vec::new();
    for round in 1..20 {
        records.extend(perf::wakeup(round * 1_000, 0, 1));
        if round == 5 {
            records.extend(perf::wakeup(1 << 60, 0, 1));
        }
        records.extend(perf::wakeup(round * 1_000 + 500, 1, 1));
        records.extend(perf::round());
    }
    for file in [perf::file(&records), perf::pipe(&records)] {
        let (times, findings, _) = read(file);
        assert_eq!((times.len(), findings.backwards), (39, 0));
        assert!(times.is_sorted());
        assert_eq!(times.last(), Some(&(1 << 60)));
    }
}

#[test]
fn a_clock_that_is_set_back_is_counted_and_goes_on() {
    let mut records = Vec::new();
    for round in 1..20 {
        let base = if round < 10 { 1_000_000 } else { 0 };
        records.extend(perf::wakeup(base + round * 1_000, 0, 1));
        records.extend(perf::wakeup(base + round * 1_000 + 500, 1, 1));
        records.extend(perf::round());
    }
    let (times, findings, error) = read(perf::file(&records));
    assert_eq!((times.len(), error.is_none()), (38, true));
    assert!(findings.backwards > 0, "{findings:?}");
}

#[test]
fn gaps_are_told_where_they_are_in_every_format() {
    let lost = perf::lost(2_000_000, 1, 9);
    let perf = [perf::wakeup(1_000_000, 1, 1), lost, perf::wakeup(3_000_000, 1, 2)].concat();
    let pages =
        vec![vec![Page::new(1_000_000).wakeup(0, 1), Page::new(3_000_000).lost(9).wakeup(0, 2)]];
    let line = |gap: &str| {
        let event = "sched_waking: comm=b pid=2 prio=120 target_cpu=000";
        format!("  a-1 [001] 0.001000: {event}\n{gap}\n  a-1 [001] 0.003000: {event}\n")
    };
    let w = |time_ns: u64| perfetto::wakeup(time_ns, 1, 20, 1, 0);
    let packets =
        [perfetto::bundle(1, false, &[w(1_000_000)]), perfetto::bundle(1, true, &[w(3_000_000)])];
    let files = [
        (perf::file(&perf), 9),
        (version_6(&pages), 9),
        (version_7("zstd", &pages), 9),
        (line("CPU:1 [LOST 9 EVENTS]").into_bytes(), 9),
        (line("CPU:1 [LOST EVENTS]").into_bytes(), 0),
        (line("CPU:1 [9 EVENTS DROPPED]").into_bytes(), 9),
        (line("CPU:1 [EVENTS DROPPED]").into_bytes(), 0),
        (perfetto::file(&packets), 0),
    ];
    for (number, (file, count)) in files.into_iter().enumerate() {
        let mut reader = Reader::new(Cursor::new(file)).unwrap();
        let mut kinds = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            kinds.push(matches!(event.kind, Kind::Lost(_)));
        }
        assert_eq!(kinds, [false, true, false], "file {number}");
        let findings = reader.findings();
        assert_eq!((findings.lost_places, findings.lost_events), (1, count), "file {number}");
        assert!(!findings.is_clean());
    }
}

#[test]
fn what_is_no_trace_is_told_apart_by_its_content() {
    for (bytes, says) in [
        (&b""[..], "there is nothing in it"),
        (b"\x1f\x8b\x08\0", "gunzip"),
        (b"\x28\xb5\x2f\xfd\0", "unzstd"),
        (b"PK\x03\x04\0", "unzip"),
        (b"\x7fELF\x02\x01\x01\0", "begins as none of these"),
        (b"{\"traceEvents\":[]}", "JSON"),
        (b"what is this\nno trace\n", "no line of it is one of a trace"),
    ] {
        let (times, _, error) = read(bytes.to_vec());
        let error = error.unwrap().to_string();
        assert!(times.is_empty() && error.contains(says), "{error}");
        assert!(error.contains("perf script") && error.contains("Perfetto"), "{error}");
    }
}
