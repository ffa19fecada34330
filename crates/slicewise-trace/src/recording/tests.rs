use proptest::prelude::*;
use slicewise_sched::{Attr, CpuId, DlParams, Nice, Policy, RtPriority};

use super::*;
use crate::{Event, GroupInfo, Left, Sink, Slot, TaskInfo, TraceHash};

/// Everything a sink is told, as text.
#[derive(Default)]
struct Told(Vec<String>);

impl Sink for Told {
    fn group(&mut self, now_ns: u64, info: &GroupInfo) {
        self.0.push(format!("{now_ns} {info:?}"));
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.0.push(format!("{now_ns} {info:?}"));
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        self.0.push(format!("{now_ns} {event:?}"));
    }

    fn finish(&mut self, now_ns: u64) {
        self.0.push(format!("{now_ns} end"));
    }
}

fn info(slot: u32, name: &str) -> TaskInfo {
    let policy = Policy::Rr(RtPriority::new(99).unwrap());
    let attr = Attr { policy, nice: Nice::MIN, slice_ns: Some(100_000), reset_on_fork: true };
    TaskInfo {
        slot: Slot(slot),
        pid: 7 + slot,
        name: name.into(),
        attr,
        forked_from: Some(2),
        group: None,
    }
}

/// Every kind of record, long and short numbers, and a gap beyond 2^59 ns.
fn tell(sink: &mut impl Sink) {
    let (a, b, cpu) = (Slot(0), Slot(1), CpuId(8191));
    sink.group(0, &GroupInfo { group: 0, parent: None, path: "pods".into() });
    sink.group(0, &GroupInfo { group: 1, parent: Some(0), path: "pods/wéb".into() });
    sink.task(0, &info(0, "a name of letters: ä"));
    sink.task(0, &TaskInfo { attr: Attr::default(), forked_from: None, ..info(1, "") });
    let params = DlParams {
        runtime_ns: 10,
        deadline_ns: u64::MAX,
        period_ns: 0,
        reclaim: true,
        overrun_signal: false,
    };
    let attr = Attr { policy: Policy::Deadline(params), ..Attr::default() };
    sink.task(0, &TaskInfo { attr, ..info(2, "deadline") });
    // The slots between are of groups.
    sink.task(0, &TaskInfo { group: Some(1), ..info(200, "in a group") });
    let events = [
        (0, Event::Wakeup { task: a, cpu, waker: None, new: true }),
        (1, Event::Switch { cpu, prev: None, left: Left::Idle, next: Some(a) }),
        (5, Event::Wakeup { task: b, cpu: CpuId(0), waker: Some(a), new: false }),
        (1 << 60, Event::Switch { cpu, prev: Some(a), left: Left::Preempted, next: Some(b) }),
        ((1 << 60) + 7, Event::Migrate { task: a, from: cpu, to: CpuId(0) }),
        ((1 << 60) + 7, Event::Changed { task: b }),
        ((1 << 60) + 8, Event::Response { task: b, response_ns: u64::MAX }),
        ((1 << 60) + 9, Event::Device { device: 1, busy: true }),
        ((1 << 60) + 9, Event::Budget { task: Slot(2), cpu, stops: true }),
        ((1 << 60) + 9, Event::Budget { task: Slot(2), cpu: CpuId(0), stops: false }),
        ((1 << 60) + 9, Event::RtThrottle { group: None, cpu, stops: true }),
        ((1 << 60) + 9, Event::RtThrottle { group: Some(1), cpu: CpuId(0), stops: false }),
        ((1 << 60) + 9, Event::Signal { task: Slot(2), kills: false }),
        ((1 << 60) + 9, Event::Signal { task: a, kills: true }),
        ((1 << 60) + 9, Event::Throttle { group: 1, cpu, stops: true }),
        ((1 << 60) + 9, Event::Throttle { group: 0, cpu: CpuId(0), stops: false }),
        ((1 << 60) + 9, Event::Switch { cpu, prev: Some(b), left: Left::Exited, next: None }),
        ((1 << 60) + 9, Event::Exit { task: b }),
    ];
    events.iter().for_each(|(at, event)| sink.event(*at, event));
    sink.finish(u64::MAX);
}

fn devices() -> Vec<String> {
    vec!["gpu0".to_owned(), "gpu1".to_owned()]
}

fn recording() -> Vec<u8> {
    let mut writer = RecordingWriter::new(Vec::new(), &devices());
    tell(&mut writer);
    writer.finish_writing().unwrap()
}

fn play(bytes: &[u8]) -> (Vec<String>, Result<(), RecordingError>) {
    let mut told = Told::default();
    let played = RecordingReader::new(bytes).and_then(|reader| reader.play(&mut told));
    (told.0, played)
}

#[test]
fn what_is_read_is_what_was_written() {
    let mut expected = Told::default();
    tell(&mut expected);
    let (told, played) = play(&recording());
    played.unwrap();
    assert_eq!(told, expected.0);
    let bytes = recording();
    let mut reader = RecordingReader::new(bytes.as_slice()).unwrap();
    assert_eq!(reader.device_names().unwrap(), devices());
    assert_eq!(reader.device_names().unwrap(), devices(), "asking twice changes nothing");
    let mut hash = TraceHash::new();
    reader.play(&mut hash).unwrap();
    let mut direct = TraceHash::new();
    tell(&mut direct);
    assert_eq!(hash, direct);
}

#[test]
fn files_of_older_versions_are_still_read() {
    let mut bytes = with_records(&[kind::END as u8]);
    assert!(play(&bytes).1.is_ok());
    for version in [1, 2] {
        bytes[MAGIC.len()] = version;
        assert!(play(&bytes).1.is_ok());
    }
    for version in [0, 3, 5] {
        bytes[MAGIC.len()] = version;
        let error = play(&bytes).1.unwrap_err().to_string();
        assert!(error.ends_with("1, 2 and 4 are known"), "{error}");
    }
}

#[test]
fn a_few_bytes_do_not_make_many_slots() {
    // A group, then tasks, each with as great a slot as 32 bits hold.
    let group = [kind::GROUP as u8, 0, 1, b'g'];
    let task = [1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0, 0, 0, 20, 0, 0, 0];
    let error = play(&with_records(&[&group[..], &task].concat())).1.unwrap_err();
    assert!(error.to_string().contains("a task slot out of order"), "{error}");
    let near = [1, 5, 1, 0, 0, 0, 20, 0, 0, 0];
    let records = [&group[..], &near, &[kind::END as u8]].concat();
    assert!(play(&with_records(&records)).1.is_ok());
}

#[test]
fn a_long_stream_takes_many_blocks_and_little_room() {
    let mut writer = RecordingWriter::new(Vec::new(), &[]);
    let mut direct = TraceHash::new();
    let tell = |sink: &mut dyn FnMut(u64, &Event)| {
        for i in 0..50_000_u64 {
            let (cpu, task) = (CpuId(i as u32 % 4), Slot(0));
            sink(i * 3_000, &Event::Wakeup { task, cpu, waker: None, new: false });
            let switch = Event::Switch { cpu, prev: None, left: Left::Idle, next: Some(task) };
            sink(i * 3_000 + 1, &switch);
        }
    };
    writer.task(0, &info(0, "t"));
    direct.task(0, &info(0, "t"));
    tell(&mut |at, event| writer.event(at, event));
    tell(&mut |at, event| direct.event(at, event));
    writer.finish(1 << 40);
    direct.finish(1 << 40);
    let bytes = writer.finish_writing().unwrap();
    assert!(bytes.len() < 100_000 * 7, "{} bytes", bytes.len());
    let mut hash = TraceHash::new();
    RecordingReader::new(bytes.as_slice()).unwrap().play(&mut hash).unwrap();
    assert_eq!(hash, direct);
}

#[test]
fn a_file_cut_off_anywhere_is_reported_as_such() {
    let bytes = recording();
    for length in 0..bytes.len() {
        let (_, played) = play(&bytes[..length]);
        let error = played.expect_err("it is not whole");
        match error.fault {
            RecordingFault::Truncated => assert!(length >= MAGIC.len()),
            RecordingFault::NotARecording => assert!(length < MAGIC.len()),
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let bytes = recording();
    for at in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(play(&damaged).1.is_err(), "bit {at}");
    }
}

#[test]
fn what_follows_the_end_is_reported() {
    let mut bytes = recording();
    bytes.extend([1, 0, 0, 0]);
    assert!(matches!(play(&bytes).1.unwrap_err().fault, RecordingFault::Truncated));
    let block = [kind::END as u8];
    bytes.extend([0, 0, 0, 0]);
    let start = bytes.len() - 4;
    bytes[start..].copy_from_slice(&crc32fast::hash(&block).to_le_bytes());
    bytes.extend(block);
    assert!(matches!(play(&bytes).1.unwrap_err().fault, RecordingFault::AfterEnd));
}

/// A file whose checksums are right, whatever its records are.
fn with_records(records: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((records.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(records).to_le_bytes());
    bytes.extend(records);
    bytes
}

#[test]
fn impossible_records_are_refused_with_their_place() {
    let cases: [(&[u8], &str); 10] = [
        (&[0x0f], "a kind of record there is not"),
        (&[0x0c, 0, 0], "a group there is not"),
        (&[0x0b, 1, 0], "a group there is not"),
        (&[0x01, 0, 1, 0, 0, 0, 20, 4, 0, 3, 0], "a group there is not"),
        (&[0x05, 3], "an event of a task there is not"),
        (&[0x01, 5], "a task slot out of order"),
        (&[0x08, 3], "a device without a name"),
        (&[0x03], "a record goes beyond its block"),
        (&[0x00, 0xff, 0xff, 0xff, 0xff, 0x7f], "more devices than there can be"),
        (&[0x03, 0xff, 0xff, 0xff, 0x7f], "a CPU beyond the highest there can be"),
    ];
    for (records, expected) in cases {
        let error = play(&with_records(records)).1.unwrap_err();
        assert_eq!(error.to_string(), format!("byte 28: {expected}"));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(records in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = play(&records);
        let _ = play(&with_records(&records));
    }
}
