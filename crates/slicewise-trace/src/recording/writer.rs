//! The stream as a `.swtrace` file.

use std::io::{self, Write};

use slicewise_sched::{Attr, Policy};

use super::{BLOCK_BYTES, MAGIC, NAME_BYTES_MAX, VERSION, kind};
use crate::{Event, Left, Sink, Slot, TaskInfo};

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

#[inline]
fn left_number(left: Left) -> u64 {
    match left {
        Left::Preempted => 0,
        Left::Yielded => 1,
        Left::Blocked => 2,
        Left::Exited => 3,
        Left::Idle => 4,
    }
}

fn policy_numbers(policy: Policy) -> (u64, u64) {
    match policy {
        Policy::Normal => (0, 0),
        Policy::Batch => (1, 0),
        Policy::Idle => (2, 0),
        Policy::Fifo(priority) => (3, priority.get().into()),
        Policy::Rr(priority) => (4, priority.get().into()),
        Policy::Stop => (5, 0),
    }
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
    #[inline]
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

    #[inline]
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

    fn put_attr(&mut self, attr: &Attr) {
        let (policy, priority) = policy_numbers(attr.policy);
        self.put(policy);
        self.put(priority);
        self.put((i64::from(attr.nice.get()) + 20) as u64);
        self.put(u64::from(attr.reset_on_fork) | u64::from(attr.slice_ns.is_some()) << 1);
        self.put(attr.slice_ns.unwrap_or(0));
    }
}

impl<W: Write> Sink for RecordingWriter<W> {
    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.begin(now_ns, kind::TASK);
        self.put(info.slot.0.into());
        self.put(info.pid.into());
        self.put(info.forked_from.map_or(0, |template| u64::from(template) + 1));
        self.put_attr(&info.attr);
        self.put_name(&info.name);
        self.end();
    }

    #[inline(always)]
    fn event(&mut self, now_ns: u64, event: &Event) {
        match *event {
            Event::Switch { cpu, prev, left, next } => {
                self.begin(now_ns, kind::SWITCH);
                self.put(u64::from(cpu.0) << 3 | left_number(left));
                self.put(or_none(prev));
                self.put(or_none(next));
            }
            Event::Wakeup { task, cpu, waker, new } => {
                self.begin(now_ns, kind::WAKEUP);
                self.put(task.0.into());
                self.put(u64::from(cpu.0) << 1 | u64::from(new));
                self.put(or_none(waker));
            }
            Event::Response { task, response_ns } => {
                self.begin(now_ns, kind::RESPONSE);
                self.put(task.0.into());
                self.put(response_ns);
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
            Event::Values { .. } | Event::Loop { .. } => return,
        }
        self.end();
    }

    fn finish(&mut self, now_ns: u64) {
        self.begin(now_ns, kind::END);
        self.end();
    }
}
