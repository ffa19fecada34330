//! The stream as a `.swtrace` file.

use std::io::{self, Write};

use slicewise_sched::{Attr, Policy};

use super::{BLOCK_BYTES, MAGIC, NAME_BYTES_MAX, VERSION, kind};
use crate::event::policy_numbers;
use crate::{Event, GroupInfo, Sink, Slot, TaskInfo};

/// More than the longest record without its name: twelve numbers of ten bytes at most.
const RECORD_BYTES: usize = 128;
/// Where a block is kept: what is beyond [`BLOCK_BYTES`] is room for the last record.
const ROOM_BYTES: usize = BLOCK_BYTES + RECORD_BYTES + NAME_BYTES_MAX;

/// Gaps from here on get a record of their own: 16 times a gap must fit 64 bits.
const GAP_NS_MAX: u64 = 1 << 59;

/// Writes the stream to a file of Slicewise's own format (see the module's documentation in the
/// source, and `docs/output.md`).
///
/// It writes while the stream comes, and its memory does not grow. Errors are kept, and returned by
/// [`RecordingWriter::finish_writing`].
#[derive(Debug)]
pub struct RecordingWriter<W: Write> {
    writer: W,
    /// Always of [`ROOM_BYTES`]; `used` of them are the block so far.
    block: Vec<u8>,
    used: usize,
    error: Option<io::Error>,
    now_ns: u64,
}

#[inline]
fn or_none(slot: Option<Slot>) -> u64 {
    slot.map_or(0, |slot| u64::from(slot.0) + 1)
}

/// A number below 2^28 as LEB128 in the low bytes of a word, and how many bytes it takes.
#[inline(always)]
fn leb128(value: u32) -> (u64, u32) {
    let value = u64::from(value);
    let spread = value & 0x7f
        | (value & 0x7f << 7) << 1
        | (value & 0x7f << 14) << 2
        | (value & 0x7f << 21) << 3;
    let bytes = (value | 1).ilog2() / 7 + 1;
    // All but the last byte say that there are more.
    (spread | 0x80_8080 & ((1 << (8 * (bytes - 1))) - 1), bytes)
}

impl<W: Write> RecordingWriter<W> {
    /// Writes to `writer`, in blocks: it needs no buffer of its own. Devices are called by these
    /// names, in the order of their numbers.
    pub fn new(writer: W, devices: &[String]) -> Self {
        let block = vec![0; ROOM_BYTES];
        let mut this = Self { writer, block, used: 0, error: None, now_ns: 0 };
        let start = this.writer.write_all(MAGIC);
        let start = start.and_then(|()| this.writer.write_all(&VERSION.to_le_bytes()));
        this.error = start.err();
        this.begin(0, kind::NAMES);
        this.put(devices.len() as u64);
        for name in devices {
            this.put_name(name);
            // A block of names alone: the room is made for the longest block of events.
            let more = this.used + RECORD_BYTES + NAME_BYTES_MAX;
            this.block.resize(this.block.len().max(more), 0);
        }
        this.end();
        this
    }

    /// Writes what is left, and says whether everything could be written.
    ///
    /// # Errors
    /// The first error of the underlying writer.
    pub fn finish_writing(mut self) -> io::Result<W> {
        self.write_block();
        if let Some(error) = self.error {
            return Err(error);
        }
        self.writer.flush()?;
        Ok(self.writer)
    }

    /// Begins a record at this time. There is always room for one.
    fn begin(&mut self, now_ns: u64, kind: u64) {
        let gap_ns = now_ns.saturating_sub(self.now_ns);
        self.now_ns = self.now_ns.max(now_ns);
        if gap_ns < GAP_NS_MAX {
            self.put(gap_ns << 4 | kind);
        } else {
            self.put(kind::TIME);
            self.put(gap_ns);
            self.put(kind);
        }
    }

    /// Writes a record of three numbers, nearly always in one go of eight bytes: small numbers, not
    /// long after the record before.
    #[inline(never)]
    fn record(&mut self, now_ns: u64, kind: u64, numbers: [u64; 3]) {
        let gap_ns = now_ns.wrapping_sub(self.now_ns);
        let [a, b, c] = numbers;
        if gap_ns < 1 << 24
            && (a | b | c) < 0x80
            && let Some(place) = self.block.get_mut(self.used..self.used + 8)
        {
            self.now_ns = now_ns;
            let (head, bytes) = leb128((gap_ns << 4 | kind) as u32);
            let word = head | (a | b << 8 | c << 16) << (8 * bytes);
            place.copy_from_slice(&word.to_le_bytes());
            self.used += bytes as usize + 3;
        } else {
            self.begin(now_ns, kind);
            numbers.into_iter().for_each(|number| self.put(number));
        }
        if self.used >= BLOCK_BYTES {
            self.write_block();
        }
    }

    /// The same for a response, whose time is longer.
    #[inline(never)]
    fn response(&mut self, now_ns: u64, slot: u64, response_ns: u64) {
        let gap_ns = now_ns.wrapping_sub(self.now_ns);
        if gap_ns < 1 << 24
            && slot < 0x80
            && response_ns < 1 << 28
            && let Some(place) = self.block.get_mut(self.used..self.used + 16)
        {
            self.now_ns = now_ns;
            let (head, head_bytes) = leb128((gap_ns << 4 | kind::RESPONSE) as u32);
            let (tail, tail_bytes) = leb128(response_ns as u32);
            let start = head | slot << (8 * head_bytes);
            place[..8].copy_from_slice(&start.to_le_bytes());
            let at = head_bytes as usize + 1;
            place[at..at + 8].copy_from_slice(&tail.to_le_bytes());
            self.used += at + tail_bytes as usize;
        } else {
            self.begin(now_ns, kind::RESPONSE);
            self.put(slot);
            self.put(response_ns);
        }
        if self.used >= BLOCK_BYTES {
            self.write_block();
        }
    }

    fn put(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.put_byte(value as u8);
    }

    #[inline(always)]
    fn put_byte(&mut self, byte: u8) {
        if let Some(place) = self.block.get_mut(self.used) {
            *place = byte;
            self.used += 1;
        }
    }

    fn put_name(&mut self, name: &str) {
        let mut end = name.len().min(NAME_BYTES_MAX);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        self.put(end as u64);
        name.as_bytes()[..end].iter().for_each(|byte| self.put_byte(*byte));
    }

    #[inline]
    fn end(&mut self) {
        if self.used >= BLOCK_BYTES {
            self.write_block();
        }
    }

    fn write_block(&mut self) {
        let block = &self.block[..std::mem::take(&mut self.used)];
        if block.is_empty() {
            return;
        }
        let length = block.len() as u32;
        let sum = crc32fast::hash(block);
        if self.error.is_none() {
            let written = self
                .writer
                .write_all(&length.to_le_bytes())
                .and_then(|()| self.writer.write_all(&sum.to_le_bytes()))
                .and_then(|()| self.writer.write_all(block));
            self.error = written.err();
        }
    }

    fn put_attr(&mut self, attr: &Attr, group: Option<u32>) {
        let (policy, priority) = policy_numbers(attr.policy);
        self.put(policy.into());
        self.put(priority.into());
        self.put((i64::from(attr.nice.get()) + 20) as u64);
        let flags = u64::from(attr.reset_on_fork) | u64::from(attr.slice_ns.is_some()) << 1;
        self.put(flags | u64::from(group.is_some()) << 2);
        self.put(attr.slice_ns.unwrap_or(0));
        if let Some(group) = group {
            self.put(group.into());
        }
        if let Policy::Deadline(params) = attr.policy {
            self.put(params.runtime_ns);
            self.put(params.deadline_ns);
            self.put(params.period_ns);
            self.put(u64::from(params.reclaim) | u64::from(params.overrun_signal) << 1);
        }
    }
}

impl<W: Write> Sink for RecordingWriter<W> {
    fn group(&mut self, now_ns: u64, info: &GroupInfo) {
        self.begin(now_ns, kind::GROUP);
        self.put(info.parent.map_or(0, |parent| u64::from(parent) + 1));
        self.put_name(&info.path);
        self.end();
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.begin(now_ns, kind::TASK);
        self.put(info.slot.0.into());
        self.put(info.pid.into());
        self.put(info.forked_from.map_or(0, |template| u64::from(template) + 1));
        self.put_attr(&info.attr, info.group);
        self.put_name(&info.name);
        self.end();
    }

    #[inline(always)]
    fn event(&mut self, now_ns: u64, event: &Event) {
        match *event {
            Event::Switch { cpu, prev, left, next } => {
                let cpu = u64::from(cpu.0) << 3 | left.number();
                return self.record(now_ns, kind::SWITCH, [cpu, or_none(prev), or_none(next)]);
            }
            Event::Wakeup { task, cpu, waker, new } => {
                let cpu = u64::from(cpu.0) << 1 | u64::from(new);
                let numbers = [task.0.into(), cpu, or_none(waker)];
                return self.record(now_ns, kind::WAKEUP, numbers);
            }
            Event::Response { task, response_ns } => {
                return self.response(now_ns, task.0.into(), response_ns);
            }
            Event::Migrate { task, from, to } => {
                self.begin(now_ns, kind::MIGRATE);
                self.put(task.0.into());
                self.put(from.0.into());
                self.put(to.0.into());
            }
            Event::Changed { task } => {
                self.begin(now_ns, kind::CHANGED);
                self.put(task.0.into());
            }
            Event::Exit { task } => {
                self.begin(now_ns, kind::EXIT);
                self.put(task.0.into());
            }
            Event::Device { device, busy } => {
                self.begin(now_ns, kind::DEVICE);
                self.put(u64::from(device) << 1 | u64::from(busy));
            }
            Event::Throttle { group, cpu, stops } => {
                self.begin(now_ns, kind::THROTTLE);
                self.put(group.into());
                self.put(u64::from(cpu.0) << 1 | u64::from(stops));
            }
            Event::Budget { task, cpu, stops } => {
                self.begin(now_ns, kind::LIMIT);
                self.put(0);
                self.put(task.0.into());
                self.put(u64::from(cpu.0) << 1 | u64::from(stops));
            }
            Event::RtThrottle { group, cpu, stops } => {
                self.begin(now_ns, kind::LIMIT);
                self.put(if group.is_some() { 3 } else { 1 });
                if let Some(group) = group {
                    self.put(group.into());
                }
                self.put(u64::from(cpu.0) << 1 | u64::from(stops));
            }
            Event::Signal { task, kills } => {
                self.begin(now_ns, kind::LIMIT);
                self.put(2);
                self.put(u64::from(task.0) << 1 | u64::from(kills));
            }
            Event::Values { .. } | Event::Loop { .. } => return,
        }
        self.end();
    }

    fn finish(&mut self, now_ns: u64) {
        self.begin(now_ns, kind::END);
        self.end();
    }
}
