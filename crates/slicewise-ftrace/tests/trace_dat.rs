//! trace.dat files, made to the letter of their description.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Cursor;

use slicewise_ftrace::{Error, Event, Findings, Kind, Reader};

mod build;

use build::{sample, version_6, version_7};

fn read(file: Vec<u8>) -> (Vec<Event>, Findings) {
    let mut reader = Reader::new(Cursor::new(file)).unwrap();
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        events.push(event);
    }
    (events, reader.findings().clone())
}

fn all_kinds() -> Vec<Vec<u8>> {
    let mut files = vec![version_6(&sample())];
    files.extend(["none", "zlib", "zstd"].map(|codec| version_7(codec, &sample())));
    files
}

#[test]
fn all_versions_and_compressions_give_the_same_events_in_the_order_of_time() {
    for file in all_kinds() {
        let (events, findings) = read(file);
        let seen: Vec<(u64, u32, i32)> = events
            .iter()
            .map(|event| match &event.kind {
                Kind::Wakeup(wakeup) => (event.time_ns, event.cpu, wakeup.task.pid),
                Kind::Lost(count) => (event.time_ns, event.cpu, -(count.unwrap() as i32)),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            seen,
            [
                (1_000, 0, 10),
                (1_200, 1, 20),
                (1_500, 0, 11),
                (1_501 + (1 << 30), 0, 12),
                (2_000_000_003, 1, 21),
                (3_000_000_000, 0, -7),
                (3_000_000_000, 0, 13),
                (3_000_000_007, 0, 14),
            ]
        );
        assert_eq!((findings.lost_events, findings.lost_places), (7, 1));
        assert_eq!((findings.unknown_formats, findings.backwards), (1, 0));
        assert!(!findings.is_clean());
    }
}

#[test]
fn events_overwritten_before_the_beginning_are_told_apart_from_lost_ones() {
    let (_, findings) = read(version_6(&sample()));
    assert_eq!(findings.overwritten_events, 5);
}

#[test]
fn a_file_cut_off_anywhere_is_refused_or_marked_as_truncated() {
    let whole = read(version_6(&sample())).0.len();
    for file in all_kinds() {
        for len in (0..file.len()).step_by(13) {
            let Ok(mut reader) = Reader::new(Cursor::new(file[..len].to_vec())) else { continue };
            let mut events = 0;
            let complete = loop {
                match reader.next_event() {
                    Ok(Some(_)) => events += 1,
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            let findings = reader.findings();
            assert!(
                !complete
                    || events == whole
                    || findings.truncated
                    || findings.malformed > 0
                    || len < 13,
                "cut at {len} of {}: {events} events, {findings:?}",
                file.len()
            );
        }
    }
}

#[test]
fn what_is_not_read_is_named() {
    let mut file = version_6(&sample());
    file[10] = b'5';
    let Err(error) = Reader::new(Cursor::new(file)) else { panic!("version 5 is not read") };
    assert_eq!(error.to_string(), "trace.dat version 5: versions 6 and 7 are read");

    let mut file = version_7("zstd", &sample());
    file[18..22].copy_from_slice(b"lzma");
    let Err(error) = Reader::new(Cursor::new(file)) else { panic!("lzma is not read") };
    assert!(error.to_string().contains("`lzma`"), "{error}");

    let mut file = version_6(&sample());
    file.truncate(30);
    let Err(error) = Reader::new(Cursor::new(file)) else { panic!("too short") };
    assert!(matches!(error, Error::Truncated { file_bytes: 30, .. }), "{error}");
}

#[test]
fn a_cut_off_file_is_named_by_where_it_ends_and_what_is_missing() {
    let cut = |file: &[u8], len: usize| match Reader::new(Cursor::new(file[..len].to_vec())) {
        Ok(_) => panic!("{len} bytes are enough?"),
        Err(error) => (error.to_string(), error.help()),
    };
    let file = version_7("zstd", &sample());
    let (message, help) = cut(&file, 5);
    assert_eq!(
        message,
        "byte 0: beginning of trace.dat of 10 bytes expected, but the file ends at byte 5"
    );
    assert!(help.unwrap().contains("copy it again"));
    let (message, _) = cut(&file, 40);
    assert!(message.contains(": head of a section of 16 bytes expected"), "{message}");
    assert!(message.ends_with("but the file ends at byte 40"), "{message}");
}
