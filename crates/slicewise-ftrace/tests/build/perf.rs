//! Makes small perf.data files for tests and fuzzing: as a file, through a pipe, compressed.

use std::io::Write as _;

use super::{PAGE, WAKEUP, formats, header_info};

/// `sample_type`: IP, TID, TIME, CPU, PERIOD, RAW, IDENTIFIER, as `perf sched record` has it.
const SAMPLE_TYPE: u64 = 0x1_0587;
const SAMPLE_ID_ALL: u64 = 1 << 18;
const EVENT_ID: u64 = 77;

fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(misc.to_le_bytes());
    bytes.extend((8 + body.len() as u16).to_le_bytes());
    bytes.extend(body);
    bytes
}

fn trailer(pid: i32, time_ns: u64, cpu: u32) -> Vec<u8> {
    let mut bytes = pid.to_le_bytes().to_vec();
    bytes.extend(pid.to_le_bytes());
    bytes.extend(time_ns.to_le_bytes());
    bytes.extend(u64::from(cpu).to_le_bytes());
    bytes.extend(EVENT_ID.to_le_bytes());
    bytes
}

/// A wakeup of `pid`.
pub(crate) fn wakeup(time_ns: u64, cpu: u32, pid: i32) -> Vec<u8> {
    let mut raw = vec![7, 0, 0, 0];
    raw.extend(1_i32.to_le_bytes());
    raw.extend(b"task\0\0\0\0\0\0\0\0\0\0\0\0");
    raw.extend(pid.to_le_bytes());
    raw.extend(120_i32.to_le_bytes());
    raw.extend((cpu as i32).to_le_bytes());
    // Size and data together are a multiple of eight.
    raw.resize((raw.len() + 4).next_multiple_of(8) - 4, 0);
    let mut body = EVENT_ID.to_le_bytes().to_vec();
    body.extend(0_u64.to_le_bytes());
    body.extend(3_i32.to_le_bytes());
    body.extend(4_i32.to_le_bytes());
    body.extend(time_ns.to_le_bytes());
    body.extend(u64::from(cpu).to_le_bytes());
    body.extend(1_u64.to_le_bytes());
    body.extend((raw.len() as u32).to_le_bytes());
    body.extend(raw);
    record(9, 0, &body)
}

/// A task is named, by an exec.
pub(crate) fn named(time_ns: u64, pid: i32, comm: &[u8; 8]) -> Vec<u8> {
    let mut body = pid.to_le_bytes().to_vec();
    body.extend(pid.to_le_bytes());
    body.extend(comm);
    body.extend(trailer(pid, time_ns, 0));
    record(3, 1 << 13, &body)
}

/// A task is made by another.
pub(crate) fn cloned(time_ns: u64, pid: i32, parent: i32) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [pid, parent, pid, parent] {
        body.extend(number.to_le_bytes());
    }
    body.extend(time_ns.to_le_bytes());
    body.extend(trailer(parent, time_ns, 0));
    record(7, 0, &body)
}

/// So many events are missing.
pub(crate) fn lost(time_ns: u64, cpu: u32, count: u64) -> Vec<u8> {
    let mut body = EVENT_ID.to_le_bytes().to_vec();
    body.extend(count.to_le_bytes());
    body.extend(trailer(0, time_ns, cpu));
    record(2, 0, &body)
}

/// So many samples of an event are missing in all, as perf itself sums it up.
pub(crate) fn lost_in_all(count: u64) -> Vec<u8> {
    let mut body = count.to_le_bytes().to_vec();
    body.extend(trailer(0, 0, 0));
    record(13, 0, &body)
}

/// The end of a round.
pub(crate) fn round() -> Vec<u8> {
    record(68, 0, &[])
}

fn attr() -> Vec<u8> {
    let mut attr = 2_u32.to_le_bytes().to_vec();
    attr.extend(128_u32.to_le_bytes());
    for word in [7, 1, SAMPLE_TYPE, 0, SAMPLE_ID_ALL] {
        attr.extend(u64::to_le_bytes(word));
    }
    attr.resize(128, 0);
    attr
}

fn tracing_data() -> Vec<u8> {
    assert!(WAKEUP.contains("ID: 7"));
    let mut bytes = b"\x17\x08\x44tracing0.6\0".to_vec();
    bytes.extend([0, 8]);
    bytes.extend((PAGE as u32).to_le_bytes());
    bytes.extend(header_info());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(formats());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes
}

/// A file with these records.
pub(crate) fn file(records: &[u8]) -> Vec<u8> {
    let mut file = b"PERFILE2".to_vec();
    let (attrs_at, ids_at) = (104, 104 + 144);
    let data_at = ids_at + 8;
    // Of tracing data, release, and number of CPUs.
    let features: u64 = 1 << 1 | 1 << 4 | 1 << 7;
    for word in [104, 144, attrs_at, 144, data_at, records.len() as u64, 0, 0, features, 0, 0, 0] {
        file.extend(word.to_le_bytes());
    }
    file.resize(attrs_at as usize, 0);
    file.extend(attr());
    file.extend(u64::to_le_bytes(ids_at));
    file.extend(8_u64.to_le_bytes());
    file.extend(EVENT_ID.to_le_bytes());
    file.extend(records);
    let mut release = 8_u32.to_le_bytes().to_vec();
    release.extend(b"6.12.0\0\0");
    let mut cpus = 4_u32.to_le_bytes().to_vec();
    cpus.extend(2_u32.to_le_bytes());
    let parts = [tracing_data(), release, cpus];
    let mut at = file.len() as u64 + 16 * parts.len() as u64;
    for part in &parts {
        file.extend(at.to_le_bytes());
        file.extend((part.len() as u64).to_le_bytes());
        at += part.len() as u64;
    }
    file.extend(parts.concat());
    file
}

/// The same as it comes through a pipe.
pub(crate) fn pipe(records: &[u8]) -> Vec<u8> {
    let mut file = b"PERFILE2".to_vec();
    file.extend(16_u64.to_le_bytes());
    let mut body = attr();
    body.extend(EVENT_ID.to_le_bytes());
    file.extend(record(64, 0, &body));
    // Features are not padded.
    let mut release = 4_u64.to_le_bytes().to_vec();
    release.extend(8_u32.to_le_bytes());
    release.extend(b"6.12.0\0\0");
    file.extend(record(80, 0, &release));
    let mut data = tracing_data();
    data.resize(data.len().next_multiple_of(8), 0);
    let mut body = (data.len() as u32).to_le_bytes().to_vec();
    body.extend(0_u32.to_le_bytes());
    file.extend(record(66, 0, &body));
    file.extend(data);
    file.extend(records);
    file
}

/// Records packed into compressed ones of so many bytes each, all in one stream.
pub(crate) fn compressed(records: &[u8], piece: usize) -> Vec<u8> {
    let mut packed = Vec::new();
    let Ok(mut encoder) = zstd::stream::write::Encoder::new(Vec::new(), 3) else { return packed };
    for piece in records.chunks(piece.max(1)) {
        let _ = encoder.write_all(piece).and_then(|()| encoder.flush());
        packed.extend(record(81, 0, encoder.get_ref()));
        encoder.get_mut().clear();
    }
    packed
}

/// Two CPUs, whose buffers were emptied one after the other, in two rounds.
pub(crate) fn sample() -> Vec<u8> {
    [
        named(0, 10, b"first\0\0\0"),
        wakeup(1_000, 0, 10),
        wakeup(3_000, 0, 11),
        wakeup(2_000, 1, 20),
        round(),
        cloned(3_500, 12, 10),
        wakeup(5_000, 0, 12),
        wakeup(4_000, 1, 21),
        lost(6_000, 1, 9),
        round(),
        wakeup(7_000, 1, 22),
    ]
    .concat()
}
