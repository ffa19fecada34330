//! A `.swtrace` file as a stream.

use std::io::{self, Read};

use slicewise_sched::{Attr, CPUS_MAX, CpuId, DlParams, Nice, Policy, RtPriority};

use super::{BLOCK_BYTES_MAX, EMPTY_SLOTS_MAX, MAGIC, NAME_BYTES_MAX, VERSION, VERSIONS, kind};
use crate::{Event, GroupInfo, Left, Sink, Slot, TaskInfo};

/// The most devices there can be.
const DEVICES_MAX: u64 = 1 << 20;

/// Why a recording cannot be read (on), and where.
#[derive(Debug)]
pub struct RecordingError {
    /// Bytes from the beginning of the file: of the record or block that is wrong.
    pub offset: u64,
    /// What is wrong there.
    pub fault: RecordingFault,
}

/// What is wrong with a recording.
#[derive(Debug)]
pub enum RecordingFault {
    /// It does not begin as recordings do.
    NotARecording,
    /// A version this reader does not know.
    Version(u32),
    /// The file ends before its end record.
    Truncated,
    /// A block is longer than any that is written.
    BlockLength(u32),
    /// The bytes of a block are not those that were written.
    Checksum,
    /// A record says something that cannot be.
    Record(&'static str),
    /// There is something after the end.
    AfterEnd,
    /// The file cannot be read.
    Io(io::Error),
}

impl std::fmt::Display for RecordingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "byte {}: ", self.offset)?;
        match &self.fault {
            RecordingFault::NotARecording => f.write_str("this is no Slicewise trace"),
            RecordingFault::Version(version) => {
                write!(f, "version {version} of the format; 1, 2 and {VERSION} are known")
            }
            RecordingFault::Truncated => f.write_str("the file ends before the trace does"),
            RecordingFault::BlockLength(length) => {
                write!(f, "a block of {length} bytes; there are none above {BLOCK_BYTES_MAX}")
            }
            RecordingFault::Checksum => f.write_str("the block is damaged: wrong checksum"),
            RecordingFault::Record(what) => f.write_str(what),
            RecordingFault::AfterEnd => f.write_str("bytes after the end of the trace"),
            RecordingFault::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for RecordingError {}

/// Reads a recording, a block at a time.
#[derive(Debug)]
pub struct RecordingReader<R: Read> {
    reader: R,
    block: Vec<u8>,
    /// Where the block begins in the file.
    block_offset: u64,
    /// Where the next block begins.
    offset: u64,
    now_ns: u64,
    device_names: Vec<String>,
    /// By slot: whether a task holds it.
    held: Vec<bool>,
    /// Slots no task has had so far.
    empty: usize,
    /// Groups so far.
    groups: u32,
    ended: bool,
}

/// The records of a block.
struct Cursor<'b> {
    rest: &'b [u8],
}

type Parsed<T> = Result<T, &'static str>;

impl<'b> Cursor<'b> {
    #[inline]
    fn number(&mut self) -> Parsed<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some((byte, rest)) = self.rest.split_first() else {
                return Err("a record goes beyond its block");
            };
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number of more than 64 bits")
    }

    fn small(&mut self) -> Parsed<u32> {
        u32::try_from(self.number()?).map_err(|_| "a number of more than 32 bits")
    }

    fn cpu(&mut self, shift: u32) -> Parsed<(CpuId, u64)> {
        let number = self.number()?;
        match u32::try_from(number >> shift) {
            Ok(cpu) if cpu < CPUS_MAX => Ok((CpuId(cpu), number & ((1 << shift) - 1))),
            _ => Err("a CPU beyond the highest there can be"),
        }
    }

    fn name(&mut self) -> Parsed<&'b str> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if length > NAME_BYTES_MAX {
            return Err("a name of more than 4096 bytes");
        }
        let name = self.rest.get(..length).ok_or("a name goes beyond its block")?;
        self.rest = &self.rest[length..];
        std::str::from_utf8(name).map_err(|_| "a name that is not UTF-8")
    }

    fn dl_params(&mut self) -> Parsed<DlParams> {
        let (runtime_ns, deadline_ns) = (self.number()?, self.number()?);
        let (period_ns, flags) = (self.number()?, self.number()?);
        if flags > 3 {
            return Err("flags of a deadline task there are not");
        }
        let (reclaim, overrun_signal) = (flags & 1 != 0, flags & 2 != 0);
        Ok(DlParams { runtime_ns, deadline_ns, period_ns, reclaim, overrun_signal })
    }

    /// Attributes, and the group.
    fn attr(&mut self) -> Parsed<(Attr, Option<u32>)> {
        let (policy, priority) = (self.number()?, self.number()?);
        let priority = || {
            let number = i64::try_from(priority).unwrap_or(i64::MAX);
            RtPriority::new(number).ok_or("a real-time priority that is not 1 to 99")
        };
        let policy = match policy {
            0 => Policy::Normal,
            1 => Policy::Batch,
            2 => Policy::Idle,
            3 => Policy::Fifo(priority()?),
            4 => Policy::Rr(priority()?),
            5 => Policy::Stop,
            6 => Policy::Deadline(DlParams::default()),
            _ => return Err("a policy there is not"),
        };
        let nice = i64::try_from(self.number()?).unwrap_or(i64::MAX).saturating_sub(20);
        let nice = Nice::new(nice).ok_or("a nice value that is not -20 to 19")?;
        let flags = self.number()?;
        let slice_ns = self.number()?;
        if flags > 7 {
            return Err("flags of a task there are not");
        }
        let slice_ns = (flags & 2 != 0).then_some(slice_ns);
        let group = if flags & 4 != 0 { Some(self.small()?) } else { None };
        let policy = match policy {
            Policy::Deadline(_) => Policy::Deadline(self.dl_params()?),
            other => other,
        };
        Ok((Attr { policy, nice, slice_ns, reset_on_fork: flags & 1 != 0 }, group))
    }
}

fn left(number: u64) -> Parsed<Left> {
    match number {
        0 => Ok(Left::Preempted),
        1 => Ok(Left::Yielded),
        2 => Ok(Left::Blocked),
        3 => Ok(Left::Exited),
        4 => Ok(Left::Idle),
        _ => Err("a way to leave a CPU there is not"),
    }
}

impl<R: Read> RecordingReader<R> {
    /// Reads the beginning. `reader` is read in blocks: it needs no buffer.
    ///
    /// # Errors
    /// If this is no recording, or not of a version known here.
    pub fn new(reader: R) -> Result<Self, RecordingError> {
        let mut this = Self {
            reader,
            block: Vec::new(),
            block_offset: 0,
            offset: 0,
            now_ns: 0,
            device_names: Vec::new(),
            held: Vec::new(),
            empty: 0,
            groups: 0,
            ended: false,
        };
        let mut magic = [0; MAGIC.len()];
        let got = this.fill(&mut magic)?;
        if got != magic.len() || &magic != MAGIC {
            return Err(RecordingError { offset: 0, fault: RecordingFault::NotARecording });
        }
        let mut version = [0; 4];
        if this.fill(&mut version)? != 4 {
            return Err(this.error(RecordingFault::Truncated));
        }
        let version = u32::from_le_bytes(version);
        if !VERSIONS.contains(&version) {
            let offset = MAGIC.len() as u64;
            return Err(RecordingError { offset, fault: RecordingFault::Version(version) });
        }
        if !this.read_block()? {
            return Err(this.error(RecordingFault::Truncated));
        }
        Ok(this)
    }

    /// The names of devices, by number.
    ///
    /// # Errors
    /// If the beginning of the recording is damaged.
    pub fn device_names(&mut self) -> Result<&[String], RecordingError> {
        let block = std::mem::take(&mut self.block);
        let mut cursor = Cursor { rest: &block };
        let names = self.names_at(&mut cursor);
        let used = block.len() - cursor.rest.len();
        self.block = block;
        match names {
            Ok(Some(names)) => {
                self.device_names = names;
                self.block.drain(..used);
                self.block_offset += used as u64;
            }
            Ok(None) => {}
            Err(what) => return Err(self.record_error(self.block_offset, what)),
        }
        Ok(&self.device_names)
    }

    /// The names record, if it comes next.
    fn names_at(&self, cursor: &mut Cursor<'_>) -> Parsed<Option<Vec<String>>> {
        let mut ahead = Cursor { rest: cursor.rest };
        if ahead.rest.first() != Some(&(kind::NAMES as u8)) {
            return Ok(None);
        }
        ahead.number()?;
        let count = ahead.number()?;
        if count > DEVICES_MAX {
            return Err("more devices than there can be");
        }
        let names: Parsed<Vec<String>> =
            (0..count).map(|_| ahead.name().map(str::to_owned)).collect();
        cursor.rest = ahead.rest;
        names.map(Some)
    }

    /// Plays the whole stream to a sink, the end included.
    ///
    /// # Errors
    /// If the recording is damaged or incomplete. What was read before has been played.
    pub fn play(mut self, sink: &mut impl Sink) -> Result<(), RecordingError> {
        self.device_names()?;
        loop {
            let block = std::mem::take(&mut self.block);
            let mut cursor = Cursor { rest: &block };
            while !cursor.rest.is_empty() {
                let at = self.block_offset + (block.len() - cursor.rest.len()) as u64;
                if self.ended {
                    return Err(RecordingError { offset: at, fault: RecordingFault::AfterEnd });
                }
                self.play_record(&mut cursor, sink).map_err(|what| self.record_error(at, what))?;
            }
            self.block = block;
            let more = self.read_block()?;
            match (more, self.ended) {
                (true, false) => {}
                (true, true) => return Err(self.error(RecordingFault::AfterEnd)),
                (false, true) => return Ok(()),
                (false, false) => return Err(self.error(RecordingFault::Truncated)),
            }
        }
    }

    fn play_record(&mut self, cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Parsed<()> {
        let head = cursor.number()?;
        self.pass(head >> 4)?;
        let event = match head & 15 {
            kind::NAMES => return Err("names of devices after the beginning"),
            kind::TASK => {
                let info = self.task_info(cursor)?;
                sink.task(self.now_ns, &info);
                return Ok(());
            }
            kind::GROUP => {
                let info = self.group_info(cursor)?;
                sink.group(self.now_ns, &info);
                return Ok(());
            }
            kind::THROTTLE => {
                let group = self.group(cursor.small()?)?;
                let (cpu, stops) = cursor.cpu(1)?;
                Event::Throttle { group, cpu, stops: stops == 1 }
            }
            kind::LIMIT => match cursor.number()? {
                0 => {
                    let task = self.slot(cursor)?;
                    let (cpu, stops) = cursor.cpu(1)?;
                    Event::Budget { task, cpu, stops: stops == 1 }
                }
                1 => {
                    let (cpu, stops) = cursor.cpu(1)?;
                    Event::RtThrottle { group: None, cpu, stops: stops == 1 }
                }
                3 => {
                    let group = Some(self.group(cursor.small()?)?);
                    let (cpu, stops) = cursor.cpu(1)?;
                    Event::RtThrottle { group, cpu, stops: stops == 1 }
                }
                2 => {
                    let number = cursor.number()?;
                    Event::Signal { task: self.living(number >> 1)?, kills: number & 1 == 1 }
                }
                _ => return Err("a limit there is not"),
            },
            kind::WAKEUP => {
                let task = self.slot(cursor)?;
                let (cpu, new) = cursor.cpu(1)?;
                let waker = self.slot_or_none(cursor)?;
                Event::Wakeup { task, cpu, waker, new: new == 1 }
            }
            kind::SWITCH => {
                let (cpu, how) = cursor.cpu(3)?;
                let prev = self.slot_or_none(cursor)?;
                let next = self.slot_or_none(cursor)?;
                Event::Switch { cpu, prev, left: left(how)?, next }
            }
            kind::MIGRATE => {
                let task = self.slot(cursor)?;
                let (from, _) = cursor.cpu(0)?;
                let (to, _) = cursor.cpu(0)?;
                Event::Migrate { task, from, to }
            }
            kind::CHANGED => Event::Changed { task: self.slot(cursor)? },
            kind::EXIT => {
                let task = self.slot(cursor)?;
                self.held[task.index()] = false;
                Event::Exit { task }
            }
            kind::RESPONSE => {
                Event::Response { task: self.slot(cursor)?, response_ns: cursor.number()? }
            }
            kind::DEVICE => {
                let number = cursor.number()?;
                let device = u32::try_from(number >> 1).unwrap_or(u32::MAX);
                if device as usize >= self.device_names.len() {
                    return Err("a device without a name");
                }
                Event::Device { device, busy: number & 1 == 1 }
            }
            kind::END => {
                self.ended = true;
                sink.finish(self.now_ns);
                return Ok(());
            }
            kind::TIME => {
                let gap_ns = cursor.number()?;
                return self.pass(gap_ns);
            }
            _ => return Err("a kind of record there is not"),
        };
        sink.event(self.now_ns, &event);
        Ok(())
    }

    fn pass(&mut self, gap_ns: u64) -> Parsed<()> {
        self.now_ns = self.now_ns.checked_add(gap_ns).ok_or("a time beyond 64 bits")?;
        Ok(())
    }

    fn task_info(&mut self, cursor: &mut Cursor<'_>) -> Parsed<TaskInfo> {
        let slot = cursor.small()?;
        // Slots are dense but for those of groups: whoever keeps tables by slot needs little more
        // than the file has tasks.
        let index = slot as usize;
        let gap = index.saturating_sub(self.held.len());
        let gaps_max = if self.groups > 0 { EMPTY_SLOTS_MAX } else { 0 };
        if self.empty + gap > gaps_max {
            return Err("a task slot out of order");
        }
        self.empty += gap;
        if index >= self.held.len() {
            self.held.resize(index + 1, false);
        }
        self.held[index] = true;
        let pid = cursor.small()?;
        let forked_from = match cursor.number()? {
            0 => None,
            more => Some(u32::try_from(more - 1).map_err(|_| "a template beyond 32 bits")?),
        };
        let (attr, group) = cursor.attr()?;
        let group = group.map(|group| self.group(group)).transpose()?;
        let name = cursor.name()?.to_owned();
        Ok(TaskInfo { slot: Slot(slot), pid, name, attr, forked_from, group })
    }

    fn group_info(&mut self, cursor: &mut Cursor<'_>) -> Parsed<GroupInfo> {
        let parent = match cursor.number()? {
            0 => None,
            more => Some(self.group(u32::try_from(more - 1).unwrap_or(u32::MAX))?),
        };
        let path = cursor.name()?.to_owned();
        let group = self.groups;
        self.groups = group.checked_add(1).ok_or("more groups than there can be")?;
        Ok(GroupInfo { group, parent, path })
    }

    /// A group there is.
    fn group(&self, group: u32) -> Parsed<u32> {
        if group < self.groups { Ok(group) } else { Err("a group there is not") }
    }

    #[inline]
    fn slot(&self, cursor: &mut Cursor<'_>) -> Parsed<Slot> {
        self.living(cursor.number()?)
    }

    #[inline]
    fn slot_or_none(&self, cursor: &mut Cursor<'_>) -> Parsed<Option<Slot>> {
        match cursor.number()? {
            0 => Ok(None),
            more => self.living(more - 1).map(Some),
        }
    }

    #[inline]
    fn living(&self, slot: u64) -> Parsed<Slot> {
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        match self.held.get(index) {
            Some(true) => Ok(Slot(index as u32)),
            _ => Err("an event of a task there is not"),
        }
    }

    /// Reads the next block; false at the end of the file.
    fn read_block(&mut self) -> Result<bool, RecordingError> {
        self.block.clear();
        let began = self.offset;
        let mut head = [0; 8];
        match self.fill(&mut head)? {
            0 => return Ok(false),
            8 => {}
            _ => return Err(self.error(RecordingFault::Truncated)),
        }
        let [a, b, c, d, sum @ ..] = head;
        let (length, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(sum));
        if length > BLOCK_BYTES_MAX {
            return Err(RecordingError {
                offset: began,
                fault: RecordingFault::BlockLength(length),
            });
        }
        self.block_offset = self.offset;
        // Room is made as bytes come: a length alone takes no memory.
        let got = self.reader.by_ref().take(length.into()).read_to_end(&mut self.block);
        let got = got.map_err(|error| self.error(RecordingFault::Io(error)))?;
        self.offset += got as u64;
        if got as u64 != u64::from(length) {
            return Err(self.error(RecordingFault::Truncated));
        }
        if crc32fast::hash(&self.block) != sum {
            return Err(RecordingError { offset: began, fault: RecordingFault::Checksum });
        }
        Ok(true)
    }

    /// Fills the buffer as far as the file goes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, RecordingError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(RecordingFault::Io(error))),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    fn error(&self, fault: RecordingFault) -> RecordingError {
        RecordingError { offset: self.offset, fault }
    }

    fn record_error(&self, offset: u64, what: &'static str) -> RecordingError {
        RecordingError { offset, fault: RecordingFault::Record(what) }
    }
}
