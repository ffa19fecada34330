//! Makes small Perfetto traces for tests and fuzzing.

use std::io::Write as _;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A message, field by field.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn number(mut self, field: u32, value: i64) -> Self {
        varint(&mut self.0, u64::from(field << 3));
        varint(&mut self.0, value as u64);
        self
    }

    pub(crate) fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        varint(&mut self.0, u64::from(field << 3 | 2));
        varint(&mut self.0, bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub(crate) fn message(self, field: u32, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    fn packed(self, field: u32, numbers: &[i64]) -> Self {
        let mut bytes = Vec::new();
        numbers.iter().for_each(|number| varint(&mut bytes, *number as u64));
        self.bytes(field, &bytes)
    }
}

fn new() -> Message {
    Message::default()
}

/// A `FtraceEvent` with its payload.
pub(crate) fn event(time_ns: u64, pid: i32, field: u32, payload: &Message) -> Message {
    new().number(1, time_ns as i64).number(2, pid.into()).message(field, payload)
}

/// `sched_switch`; who comes runs `prev` before.
pub(crate) fn switch(time_ns: u64, prev: i32, state: i64, next: i32) -> Message {
    let payload = new()
        .bytes(1, format!("task{prev}").as_bytes())
        .number(2, prev.into())
        .number(3, 120)
        .number(4, state)
        .bytes(5, format!("task{next}").as_bytes())
        .number(6, next.into())
        .number(7, 120);
    event(time_ns, prev, 4, &payload)
}

/// `sched_waking` (20), `sched_wakeup` (17) or `sched_wakeup_new` (114).
pub(crate) fn wakeup(time_ns: u64, by: i32, field: u32, pid: i32, cpu: u32) -> Message {
    let payload = new()
        .bytes(1, format!("task{pid}").as_bytes())
        .number(2, pid.into())
        .number(3, 120)
        .number(4, 1)
        .number(5, cpu.into());
    event(time_ns, by, field, &payload)
}

/// A bundle of events of a CPU, as a packet.
pub(crate) fn bundle(cpu: u32, is_lost: bool, events: &[Message]) -> Message {
    let mut bundle = new().number(1, cpu.into());
    for event in events {
        bundle = bundle.message(2, event);
    }
    if is_lost {
        bundle = bundle.number(3, 1);
    }
    new().message(1, &bundle).number(10, 7)
}

/// The same with compact events only: switches as time, state, who comes; wakeups as time, who, where.
pub(crate) fn compact(
    cpu: u32,
    switches: &[(i64, i64, i32)],
    wakings: &[(i64, i32, u32)],
    flags: Option<i64>,
) -> Message {
    let mut names: Vec<i32> = switches.iter().map(|(.., next)| *next).collect();
    names.extend(wakings.iter().map(|(_, pid, _)| *pid));
    names.sort_unstable();
    names.dedup();
    let name = |pid: i32| names.binary_search(&pid).map_or(-1, |at| at as i64);
    let deltas = |times: Vec<i64>| -> Vec<i64> {
        let before = [0].into_iter().chain(times.iter().copied());
        times.iter().zip(before).map(|(time, before)| time - before).collect()
    };
    let column = |of: &dyn Fn(&(i64, i64, i32)) -> i64| switches.iter().map(of).collect::<Vec<_>>();
    let waking = |of: &dyn Fn(&(i64, i32, u32)) -> i64| wakings.iter().map(of).collect::<Vec<_>>();
    let mut compact = new()
        .packed(1, &deltas(column(&|switch| switch.0)))
        .packed(2, &column(&|switch| switch.1))
        .packed(3, &column(&|switch| switch.2.into()))
        .packed(4, &column(&|_| 120))
        .packed(6, &column(&|switch| name(switch.2)))
        .packed(7, &deltas(waking(&|waking| waking.0)))
        .packed(8, &waking(&|waking| waking.1.into()))
        .packed(9, &waking(&|waking| waking.2.into()))
        .packed(10, &waking(&|_| 120))
        .packed(11, &waking(&|waking| name(waking.1)));
    for pid in &names {
        compact = compact.bytes(5, format!("task{pid}").as_bytes());
    }
    if let Some(flags) = flags {
        compact = compact.packed(12, &waking(&|_| flags));
    }
    let bundle = new().number(1, cpu.into()).message(4, &compact);
    new().message(1, &bundle).number(10, 7)
}

/// A process with its threads, as a packet.
pub(crate) fn process_tree(time_ns: u64, pid: i32, threads: &[(i32, &str)]) -> Message {
    let process = new().number(1, pid.into()).number(2, 1).bytes(3, b"/bin/program");
    let mut tree = new().message(1, &process);
    for (tid, name) in threads {
        let thread = new().number(1, (*tid).into()).bytes(2, name.as_bytes()).number(3, pid.into());
        tree = tree.message(2, &thread);
    }
    new().message(2, &tree).number(8, time_ns as i64).number(10, 8)
}

/// What the kernel dropped on two CPUs; phase 1 is the beginning, 2 the end.
pub(crate) fn stats(phase: i64, dropped: [i64; 2]) -> Message {
    let mut stats = new().number(1, phase);
    for (cpu, dropped) in (0..).zip(dropped) {
        stats = stats.message(2, &new().number(1, cpu).number(3, dropped));
    }
    new().message(34, &stats)
}

/// Who recorded it.
pub(crate) fn system_info() -> Message {
    let name = new().bytes(1, b"Linux").bytes(2, b"#1 SMP").bytes(3, b"6.12.0").bytes(4, b"x86_64");
    new().message(45, &new().message(1, &name).number(8, 2))
}

/// Packets as a file.
pub(crate) fn file(packets: &[Message]) -> Vec<u8> {
    packets.iter().fold(new(), |file, packet| file.message(1, packet)).0
}

/// Packets inside a compressed one.
pub(crate) fn compressed(packets: &[Message], zstd: bool) -> Message {
    let bytes = file(packets);
    if zstd {
        let packed = zstd::stream::encode_all(bytes.as_slice(), 3).unwrap_or_default();
        return new().bytes(133, &packed);
    }
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    let _ = encoder.write_all(&bytes);
    new().bytes(50, &encoder.finish().unwrap_or_default())
}

/// Two CPUs in three rounds, with everything that is read.
pub(crate) fn sample() -> Vec<Message> {
    let stat = new()
        .bytes(1, b"sched_stat_runtime")
        .message(2, &new().bytes(1, b"comm").bytes(3, b"task2"))
        .message(2, &new().bytes(1, b"pid").number(4, 2))
        .message(2, &new().bytes(1, b"runtime").number(5, 500));
    let described = new()
        .bytes(1, b"my_event")
        .message(2, &new().bytes(1, b"name").number(3, 1).number(4, 1).number(5, 9))
        .message(2, &new().bytes(1, b"value").number(3, 2).number(4, 1).number(5, 3));
    let descriptor = new().number(1, 70_000).message(2, &described).bytes(3, b"mine");
    let mine = event(3_200, 2, 70_000, &new().bytes(1, b"x").number(2, -4));
    let descriptors = new().message(1, &new().number(1, 0).message(11, &descriptor));
    let newtask = new().number(1, 9).bytes(2, b"task2").number(3, 0x1_0000);
    vec![
        system_info(),
        stats(1, [3, 5]),
        bundle(
            0,
            true,
            &[switch(1_000, 1, 1, 2), wakeup(1_500, 2, 20, 3, 1), wakeup(1_700, 2, 17, 3, 1)],
        ),
        bundle(1, false, &[switch(1_800, 0, 0, 3), switch(2_000, 3, 256, 4)]),
        process_tree(2_500, 2, &[(3, "thread3")]),
        descriptors,
        bundle(
            0,
            false,
            &[
                event(3_000, 2, 327, &stat),
                mine,
                event(3_300, 2, 235, &newtask),
                switch(3_500, 2, 32, 0),
            ],
        ),
        bundle(1, true, &[wakeup(4_000, 4, 114, 9, 1)]),
        bundle(0, false, &[event(5_000, 0, 24, &new().number(1, 3))]),
        bundle(1, false, &[switch(5_100, 4, 1, 9)]),
        stats(2, [3, 12]),
    ]
}

/// The same kind of thing with compact events.
pub(crate) fn compact_sample() -> Vec<Message> {
    vec![
        stats(1, [0, 0]),
        compact(0, &[(1_000, 1, 2), (2_000, 0, 3)], &[(1_500, 5, 1)], None),
        compact(1, &[(1_600, 2, 5), (2_500, 256, 6)], &[(1_700, 7, 0), (2_600, 8, 0)], Some(0x8)),
        compact(0, &[(3_000, 1, 7)], &[], None),
        compact(1, &[(3_100, 1, 0)], &[], None),
    ]
}
