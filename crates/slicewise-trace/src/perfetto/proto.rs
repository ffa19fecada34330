//! The little of protobuf and of Perfetto's messages that the writer needs, encoded by hand.
//!
//! Field numbers are those of `TracePacket`, `TrackDescriptor`, `TrackEvent`, `InternedData`,
//! `ClockSnapshot` in Perfetto's published `.proto` files; they never change.

/// The one packet sequence of a trace. Any number but 0.
const SEQUENCE: u64 = 1;
/// `SEQ_INCREMENTAL_STATE_CLEARED`: interning starts here.
const STATE_CLEARED: u64 = 1;
/// `SEQ_NEEDS_INCREMENTAL_STATE`: the packet uses interned names.
const NEEDS_STATE: u64 = 2;
/// `BUILTIN_CLOCK_BOOTTIME`, the clock `ui.perfetto.dev` takes as the trace's own.
const CLOCK_BOOTTIME: u64 = 6;
const CLOCK_MONOTONIC: u64 = 3;
/// `CounterDescriptor.UNIT_TIME_NS`.
const UNIT_TIME_NS: u64 = 1;
/// `TrackDescriptor.EXPLICIT`: children are sorted by their rank.
const ORDER_EXPLICIT: u64 = 3;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

/// `TrackEvent.Type`.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Begin = 1,
    End = 2,
    Instant = 3,
    Counter = 4,
}

/// What a slice or instant has to do with a flow.
#[derive(Clone, Copy)]
pub(super) enum Flow {
    None,
    Starts(u64),
    Ends(u64),
}

/// A track to be described.
pub(super) struct Track<'a> {
    pub(super) uuid: u64,
    pub(super) parent: Option<u64>,
    pub(super) name: &'a str,
    /// Where it stands among its siblings.
    pub(super) rank: u32,
    /// Holds values in ns instead of slices.
    pub(super) counter: bool,
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3 | VARINT));
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    varint(out, u64::from(field << 3 | BYTES));
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A nested message of any length. Rare packets only: it takes a buffer of its own.
fn message(out: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    bytes(out, field, &inner);
}

/// No packet with an event of bounded fields is longer.
const SHORT_BYTES: usize = 96;

/// A packet with an event of bounded fields, written where it is to stay: room for the longest is
/// made at once, which is faster than asking for room byte by byte.
struct Short<'a> {
    bytes: &'a mut [u8; SHORT_BYTES],
    length: usize,
    /// Where the length of the event in the packet is filled in at the end.
    event_length_at: usize,
}

/// Where the length of the packet is filled in at the end.
const PACKET_LENGTH_AT: usize = 1;

impl<'a> Short<'a> {
    /// Up to and with the type and track of the event.
    #[inline(always)]
    fn new(bytes: &'a mut [u8; SHORT_BYTES], now_ns: u64, kind: Kind, track: u64) -> Self {
        let mut this = Self { bytes, length: 0, event_length_at: 0 };
        this.byte((PACKET << 3 | BYTES) as u8);
        this.byte(0);
        this.number(8, now_ns);
        this.number(10, SEQUENCE);
        this.number(13, NEEDS_STATE);
        this.byte((11 << 3 | BYTES) as u8);
        this.event_length_at = this.length;
        this.byte(0);
        this.number(9, kind as u64);
        this.number(11, track);
        this
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    #[inline(always)]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    #[inline(always)]
    fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field << 3 | VARINT));
        self.varint(value);
    }

    #[inline(always)]
    fn fixed(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field << 3 | FIXED64));
        self.bytes[self.length..self.length + 8].copy_from_slice(&value.to_le_bytes());
        self.length += 8;
    }

    /// Fills the lengths in and returns that of the whole.
    #[inline(always)]
    fn end(self) -> usize {
        // Both fit one byte of a varint: the room is shorter than 128.
        self.bytes[self.event_length_at] = (self.length - self.event_length_at - 1) as u8;
        self.bytes[PACKET_LENGTH_AT] = (self.length - PACKET_LENGTH_AT - 1) as u8;
        self.length
    }
}

/// Lets `fill` write a short packet at the end of the block and say how long it is.
#[inline(always)]
fn append(out: &mut Vec<u8>, fill: impl FnOnce(&mut [u8; SHORT_BYTES]) -> usize) {
    let start = out.len();
    out.extend_from_slice(&[0; SHORT_BYTES]);
    if let Some(room) = out.last_chunk_mut() {
        let length = fill(room);
        out.truncate(start + length);
    }
}

/// `Trace.packet`.
const PACKET: u32 = 1;

fn sequence(out: &mut Vec<u8>, flags: u64) {
    number(out, 10, SEQUENCE);
    number(out, 13, flags);
}

/// The first packets: what the clock is, and that interning begins.
pub(super) fn start(out: &mut Vec<u8>) {
    message(out, PACKET, |packet| {
        number(packet, 10, SEQUENCE);
        message(packet, 6, |snapshot| {
            for clock in [CLOCK_BOOTTIME, CLOCK_MONOTONIC] {
                message(snapshot, 1, |out| {
                    number(out, 1, clock);
                    number(out, 2, 0);
                });
            }
            number(snapshot, 2, CLOCK_BOOTTIME);
        });
    });
    message(out, PACKET, |packet| {
        sequence(packet, STATE_CLEARED);
        message(packet, 59, |defaults| number(defaults, 58, CLOCK_BOOTTIME));
    });
}

/// Describes a track. Must come before its first event.
pub(super) fn track(out: &mut Vec<u8>, track: &Track<'_>) {
    message(out, PACKET, |packet| {
        sequence(packet, NEEDS_STATE);
        message(packet, 60, |descriptor| {
            number(descriptor, 1, track.uuid);
            bytes(descriptor, 2, track.name.as_bytes());
            if let Some(parent) = track.parent {
                number(descriptor, 5, parent);
            }
            if track.counter {
                message(descriptor, 8, |counter| number(counter, 3, UNIT_TIME_NS));
            }
            number(descriptor, 11, ORDER_EXPLICIT);
            number(descriptor, 12, u64::from(track.rank.min(i32::MAX.cast_unsigned())));
        });
    });
}

/// Gives event names numbers.
pub(super) fn names(out: &mut Vec<u8>, names: &[(u32, &str)]) {
    message(out, PACKET, |packet| {
        sequence(packet, NEEDS_STATE);
        message(packet, 12, |interned| {
            for (iid, name) in names {
                message(interned, 2, |out| {
                    number(out, 1, u64::from(*iid));
                    bytes(out, 2, name.as_bytes());
                });
            }
        });
    });
}

/// An event with an interned name; 0 for none.
#[inline]
pub(super) fn event(out: &mut Vec<u8>, now_ns: u64, kind: Kind, track: u64, name: u32, flow: Flow) {
    append(out, |room| {
        let mut packet = Short::new(room, now_ns, kind, track);
        if name != 0 {
            packet.number(10, u64::from(name));
        }
        match flow {
            Flow::None => {}
            Flow::Starts(id) => packet.fixed(47, id),
            Flow::Ends(id) => packet.fixed(48, id),
        }
        packet.end()
    });
}

/// A value of a counter track.
#[inline]
pub(super) fn counter(out: &mut Vec<u8>, now_ns: u64, track: u64, value: i64) {
    append(out, |room| {
        let mut packet = Short::new(room, now_ns, Kind::Counter, track);
        packet.number(30, value.cast_unsigned());
        packet.end()
    });
}

/// An instant with a name of its own.
pub(super) fn remark(out: &mut Vec<u8>, now_ns: u64, track: u64, text: &str) {
    message(out, PACKET, |packet| {
        number(packet, 8, now_ns);
        sequence(packet, NEEDS_STATE);
        message(packet, 11, |event| {
            number(event, 9, Kind::Instant as u64);
            number(event, 11, track);
            bytes(event, 23, text.as_bytes());
        });
    });
}
