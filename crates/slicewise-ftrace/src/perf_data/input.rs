//! Records out of a file, also out of its compressed parts; damage is passed over.

use std::io::Read;
use std::ops::Range;

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use crate::bytes::Endian;
use crate::error::Error;
use crate::findings::Findings;

/// Records of the kernel have small numbers, those of `perf` from 64 on. A few more than are known.
const KERNEL_KINDS: Range<u32> = 1..32;
const PERF_KINDS: Range<u32> = 64..96;
const COMPRESSED: u32 = 81;
const COMPRESSED_WITH_SIZE: u32 = 83;
const AUXTRACE: u32 = 71;

const HEAD: usize = 8;
/// So many bytes are read at once.
const CHUNK: usize = 1 << 18;
/// Records in a row that have to make sense before they are believed again after damage.
const BELIEVED: usize = 3;
/// What a compressed record may grow to.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// What comes next.
pub(super) enum Step {
    /// A record: its place in the window, see [`Input::bytes`].
    Record(Range<usize>),
    End,
}

/// The records, one after the other.
pub(super) struct Input<R> {
    file: R,
    endian: Endian,
    /// Bytes of the file that are still to be read; `None`: up to its end.
    left: Option<u64>,
    position: u64,
    outer: Window,
    /// What compressed records hold: a stream of records of its own.
    inner: Window,
    decoder: Option<Decoder<'static>>,
    from_inner: bool,
    at_end: bool,
}

impl<R> std::fmt::Debug for Input<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("position", &self.position).finish_non_exhaustive()
    }
}

/// Bytes that were read and are not used up.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    at: usize,
}

impl Window {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn make_room(&mut self) {
        self.bytes.drain(..self.at);
        self.at = 0;
    }

    /// The size of the record at the front, if it makes sense; `None` if there is not all of it.
    fn record(&self, endian: Endian) -> Option<Result<usize, ()>> {
        let rest = self.rest();
        let size = match size_of(endian, rest)? {
            Ok(size) => size,
            Err(()) => return Some(Err(())),
        };
        (rest.len() >= size).then_some(Ok(size))
    }

    /// Passes over what makes no sense, up to where several records in a row do. How many bytes.
    fn resync(&mut self, endian: Endian) -> usize {
        let rest = self.rest();
        // Records of perf's own may end at any multiple of four bytes, and those behind them begin there.
        let believed = |start: usize| {
            let mut at = start;
            for _ in 0..BELIEVED {
                match rest.get(at..).and_then(|rest| size_of(endian, rest)) {
                    Some(Ok(size)) => at += size,
                    Some(Err(())) => return false,
                    // Not to be seen from here.
                    None => return true,
                }
            }
            true
        };
        let starts = (4..rest.len()).step_by(4);
        let skipped = starts.into_iter().find(|start| believed(*start)).unwrap_or(rest.len());
        self.at += skipped;
        skipped
    }
}

/// The size a record's head says it has; `None` if the head is not all there.
fn size_of(endian: Endian, bytes: &[u8]) -> Option<Result<usize, ()>> {
    let kind = endian.u32(bytes, 0)?;
    let size = endian.uint(bytes, 6, 2)? as usize;
    // The kernel pads its own.
    let makes_sense = size >= HEAD
        && (PERF_KINDS.contains(&kind) || KERNEL_KINDS.contains(&kind) && size.is_multiple_of(8));
    Some(if makes_sense { Ok(size) } else { Err(()) })
}

impl<R: Read> Input<R> {
    /// `file` stands at `position`, where the records begin.
    pub(super) fn new(file: R, endian: Endian, position: u64, left: Option<u64>) -> Self {
        Self {
            file,
            endian,
            left,
            position,
            outer: Window::default(),
            inner: Window::default(),
            decoder: None,
            from_inner: false,
            at_end: false,
        }
    }

    /// Bytes of the file that were used up.
    pub(super) fn position(&self) -> u64 {
        self.position - self.outer.rest().len() as u64
    }

    /// The bytes of the record that came last.
    #[inline]
    pub(super) fn bytes(&self, record: Range<usize>) -> &[u8] {
        let window = if self.from_inner { &self.inner } else { &self.outer };
        &window.bytes[record]
    }

    /// Kind and `misc` of a record.
    #[inline]
    pub(super) fn head(&self, record: &Range<usize>) -> Option<(u32, u16)> {
        let bytes = self.bytes(record.clone());
        Some((self.endian.u32(bytes, 0)?, self.endian.uint(bytes, 4, 2)? as u16))
    }

    /// The next record.
    pub(super) fn advance(&mut self, findings: &mut Findings) -> Result<Step, Error> {
        loop {
            match self.inner.record(self.endian) {
                Some(Ok(size)) => {
                    let at = self.inner.at;
                    self.inner.at += size;
                    self.from_inner = true;
                    return Ok(Step::Record(at..at + size));
                }
                Some(Err(())) => {
                    let (position, skipped) = (self.position(), self.inner.resync(self.endian));
                    findings.malformed(|| {
                        format!("before byte {position}: {skipped} unpacked bytes are no records")
                    });
                    continue;
                }
                None => {}
            }
            match self.outer.record(self.endian) {
                Some(Ok(size)) => {
                    let at = self.outer.at;
                    self.outer.at += size;
                    self.from_inner = false;
                    let record = at..at + size;
                    match self.head(&record).map(|(kind, _)| kind) {
                        Some(COMPRESSED) => self.unpack(at + HEAD..at + size, findings),
                        Some(COMPRESSED_WITH_SIZE) => {
                            let stated = self.endian.u64(&self.outer.bytes[record], HEAD);
                            let packed = usize::try_from(stated.unwrap_or(0)).unwrap_or(0);
                            let from = at + 2 * HEAD;
                            self.unpack(from..(from + packed.min(size)).min(at + size), findings);
                        }
                        Some(AUXTRACE) => {
                            let bytes = self.endian.u64(&self.outer.bytes[record], HEAD);
                            self.skip(bytes.unwrap_or(0))?;
                        }
                        _ => return Ok(Step::Record(record)),
                    }
                }
                Some(Err(())) => {
                    let position = self.position();
                    let skipped = self.outer.resync(self.endian);
                    findings
                        .malformed(|| format!("byte {position}: {skipped} bytes are no records"));
                }
                None if self.at_end => {
                    let rest = self.outer.rest().len() + self.inner.rest().len();
                    findings.truncated |= rest > 0 || self.left.is_some_and(|left| left > 0);
                    return Ok(Step::End);
                }
                None => self.read()?,
            }
        }
    }

    /// Reads more of the file.
    fn read(&mut self) -> Result<(), Error> {
        self.outer.make_room();
        let before = self.outer.bytes.len();
        let wanted = self.left.map_or(CHUNK as u64, |left| left.min(CHUNK as u64));
        let read = (&mut self.file).take(wanted).read_to_end(&mut self.outer.bytes)?;
        debug_assert_eq!(self.outer.bytes.len(), before + read);
        self.position += read as u64;
        if let Some(left) = &mut self.left {
            *left -= read as u64;
        }
        self.at_end = (read as u64) < CHUNK as u64;
        Ok(())
    }

    /// So many bytes that follow a record and are none.
    pub(super) fn take(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        while self.outer.rest().len() < size && !self.at_end {
            self.read()?;
        }
        let there = self.outer.rest().len().min(size);
        let taken = self.outer.rest()[..there].to_vec();
        self.outer.at += there;
        Ok(taken)
    }

    fn skip(&mut self, mut size: u64) -> Result<(), Error> {
        loop {
            let there = (self.outer.rest().len() as u64).min(size);
            self.outer.at += there as usize;
            size -= there;
            if size == 0 || self.at_end {
                return Ok(());
            }
            self.read()?;
        }
    }

    /// All compressed records are one stream, in which every record is a piece that ends at a border.
    fn unpack(&mut self, packed: Range<usize>, findings: &mut Findings) {
        self.inner.make_room();
        let position = self.position();
        let packed = &self.outer.bytes[packed];
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => match Decoder::new() {
                Ok(decoder) => none.insert(decoder),
                Err(_) => return,
            },
        };
        let before = self.inner.bytes.len();
        let mut input = InBuffer::around(packed);
        let mut piece = vec![0; 1 << 16];
        let mut damage = None;
        loop {
            let mut output = OutBuffer::around(piece.as_mut_slice());
            if let Err(error) = decoder.run(&mut input, &mut output) {
                damage = Some(error.to_string());
                break;
            }
            let got = output.pos();
            self.inner.bytes.extend_from_slice(&piece[..got]);
            let is_full = got == piece.len();
            if self.inner.bytes.len() - before > UNPACKED_BYTES_MAX {
                damage = Some(format!("more than {UNPACKED_BYTES_MAX} bytes out of one record"));
                break;
            }
            if input.pos() >= packed.len() && !is_full {
                break;
            }
            if got == 0 && input.pos() < packed.len() {
                damage = Some("the stream does not go on".to_owned());
                break;
            }
        }
        if let Some(why) = damage {
            findings.malformed(|| format!("before byte {position}: compressed records: {why}"));
            // The stream is broken; what begins anew may be read again.
            self.decoder = None;
            self.inner = Window::default();
        }
    }
}
