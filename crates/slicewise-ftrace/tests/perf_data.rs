//! perf.data files, made to the letter of their description.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Cursor;

use slicewise_ftrace::{Error, Event, Findings, Kind, Reader, TraceFormat};

mod build;

use build::perf;

fn read(file: Vec<u8>) -> (Vec<Event>, Findings) {
    let mut reader = Reader::new(Cursor::new(file)).unwrap();
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        events.push(event);
    }
    (events, reader.findings().clone())
}

/// Time, CPU and what tells an event from others.
fn seen(events: &[Event]) -> Vec<(u64, u32, i64)> {
    let what = |event: &Event| match &event.kind {
        Kind::Wakeup(wakeup) => i64::from(wakeup.task.pid),
        Kind::Named(named) => 1000 + i64::from(named.pid),
        Kind::Cloned(cloned) => 2000 + i64::from(cloned.pid),
        Kind::Lost(count) => -(count.unwrap() as i64),
        other => panic!("{other:?}"),
    };
    events.iter().map(|event| (event.time_ns, event.cpu, what(event))).collect()
}

const IN_ORDER: [(u64, u32, i64); 9] = [
    (0, 0, 1010),
    (1_000, 0, 10),
    (2_000, 1, 20),
    (3_000, 0, 11),
    (3_500, 0, 2012),
    (4_000, 1, 21),
    (5_000, 0, 12),
    (6_000, 1, -9),
    (7_000, 1, 22),
];

#[test]
fn files_pipes_and_compressed_ones_give_the_same_events_in_the_order_of_time() {
    let sample = perf::sample();
    let mut files = vec![perf::file(&sample), perf::pipe(&sample)];
    // Also where records are torn apart.
    for piece in [7, 100, 1 << 12] {
        files.push(perf::file(&perf::compressed(&sample, piece)));
        files.push(perf::pipe(&perf::compressed(&sample, piece)));
    }
    for file in files {
        let (events, findings) = read(file);
        assert_eq!(seen(&events), IN_ORDER);
        assert_eq!((findings.lost_events, findings.lost_places), (9, 1));
        assert_eq!((findings.malformed, findings.backwards, findings.truncated), (0, 0, false));
    }
}

#[test]
fn who_ran_and_what_the_file_says_of_itself_is_told() {
    let mut reader = Reader::new(Cursor::new(perf::file(&perf::sample()))).unwrap();
    assert_eq!(reader.info().format, TraceFormat::PerfData { is_pipe: false });
    assert_eq!(reader.info().uname.as_deref(), Some("6.12.0"));
    assert_eq!(reader.info().online_cpus, Some(2));
    let named = reader.next_event().unwrap().unwrap();
    let Kind::Named(named) = named.kind else { panic!("{named:?}") };
    assert_eq!((named.comm.to_text().as_str(), named.is_exec), ("first", true));
    let wakeup = reader.next_event().unwrap().unwrap();
    assert_eq!((wakeup.tgid, wakeup.pid), (Some(3), Some(4)));
}

#[test]
fn what_comes_in_the_next_round_may_be_older_than_what_came_in_this_one() {
    // A wakeup of the second round is older than the newest of the first: it is not late.
    let records = [
        perf::wakeup(5_000, 0, 1),
        perf::round(),
        perf::wakeup(4_000, 1, 2),
        perf::round(),
        perf::wakeup(6_000, 0, 3),
    ];
    let (events, findings) = read(perf::file(&records.concat()));
    assert_eq!(seen(&events), [(4_000, 1, 2), (5_000, 0, 1), (6_000, 0, 3)]);
    assert_eq!(findings.backwards, 0);
}

#[test]
fn damage_is_passed_over_up_to_records_that_make_sense_again() {
    let mut damaged = perf::wakeup(1_000, 0, 1);
    // A size that is none.
    damaged[6..8].copy_from_slice(&3_u16.to_le_bytes());
    let records = [
        perf::wakeup(500, 0, 5),
        damaged,
        perf::wakeup(2_000, 0, 2),
        perf::wakeup(3_000, 0, 3),
        perf::wakeup(4_000, 0, 4),
    ];
    let (events, findings) = read(perf::file(&records.concat()));
    assert_eq!(seen(&events), [(500, 0, 5), (2_000, 0, 2), (3_000, 0, 3), (4_000, 0, 4)]);
    assert_eq!(findings.malformed, 1);
    assert!(findings.first_malformed.unwrap().contains("are no records"));
}

#[test]
fn a_file_that_ends_early_gives_what_it_has() {
    let whole = perf::pipe(&perf::sample());
    let mut most = 0;
    for len in 0..whole.len() {
        let Ok(mut reader) = Reader::new(Cursor::new(whole[..len].to_vec())) else { continue };
        let mut count = 0;
        while let Ok(Some(_)) = reader.next_event() {
            count += 1;
        }
        assert!(count >= most || count == 0, "{len}: {count} events, {most} with less");
        most = most.max(count);
    }
    assert_eq!(most, IN_ORDER.len() - 1);
}

#[test]
fn every_flipped_byte_is_survived() {
    let whole = perf::file(&perf::sample());
    for at in 0..whole.len() {
        let mut file = whole.clone();
        file[at] ^= 0xff;
        let Ok(mut reader) = Reader::new(Cursor::new(file)) else { continue };
        while let Ok(Some(_)) = reader.next_event() {}
    }
}

#[test]
fn a_file_without_tracepoints_says_how_to_record_them() {
    let mut file = perf::file(&perf::sample());
    // No tracing data.
    file[72] &= !(1 << 1);
    let error = Reader::new(Cursor::new(file)).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what } if what.contains("perf sched record")));
}

#[test]
fn what_perf_sums_up_at_its_end_is_not_counted_twice_and_is_no_gap() {
    let records = [
        perf::wakeup(1_000, 0, 1),
        perf::lost(2_000, 0, 9),
        perf::wakeup(3_000, 0, 2),
        perf::round(),
        perf::lost_in_all(7),
        perf::lost_in_all(5),
    ];
    let (events, findings) = read(perf::file(&records.concat()));
    assert_eq!(seen(&events), [(1_000, 0, 1), (2_000, 0, -9), (3_000, 0, 2)]);
    assert_eq!((findings.lost_events, findings.lost_places), (12, 1));
}
