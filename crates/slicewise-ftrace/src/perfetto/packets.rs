//! Packets out of a file, one after the other; damage is passed over.
//!
//! A trace is nothing but packets: a tag, a length, and as many bytes. There is no mark to find them by again once a
//! length is wrong, so a packet is taken for one if it begins as packets do and another stands behind it.

use std::io::Read;
use std::ops::Range;

use super::wire::{Fields, varint};
use crate::error::Error;
use crate::findings::Findings;

/// The tag of `Trace.packet`.
const TAG: u8 = 1 << 3 | 2;
/// So many bytes are read at once.
const CHUNK: usize = 1 << 18;
/// Packets are no larger than this; those of Perfetto have less than a megabyte.
pub(super) const PACKET_BYTES_MAX: usize = 4 << 20;
/// Of a packet, so many fields are looked at to tell whether it is one.
const FIELDS_SEEN: usize = 32;
/// Packets in a row that have to make sense before they are believed again after damage.
const BELIEVED: usize = 3;
/// Field numbers of `TracePacket` are below this.
const FIELD_MAX: u32 = 1 << 13;

/// The packets of a file.
pub(super) struct Packets<R> {
    file: R,
    bytes: Vec<u8>,
    at: usize,
    read: u64,
    at_end: bool,
}

impl<R> std::fmt::Debug for Packets<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").field("read", &self.read).finish_non_exhaustive()
    }
}

/// What stands at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Found {
    /// A packet, whose content is here.
    Packet(Range<usize>),
    /// The bytes end before it does, or before its length.
    Cut,
    /// No packet.
    Nothing,
}

/// What the bytes at a place say they are, whatever stands behind them.
fn look(bytes: &[u8], at: usize) -> Found {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Found::Cut };
    if rest[0] != TAG {
        return Found::Nothing;
    }
    let Some((size, content)) = varint(&rest[1..]) else {
        return if rest.len() > 10 { Found::Nothing } else { Found::Cut };
    };
    let Ok(size @ 0..=PACKET_BYTES_MAX) = usize::try_from(size) else { return Found::Nothing };
    let here = &content[..content.len().min(size)];
    if !begins_as_packet(here, here.len() == size) {
        return Found::Nothing;
    }
    if content.len() < size {
        return Found::Cut;
    }
    let from = bytes.len() - content.len();
    Found::Packet(from..from + size)
}

/// Whether the first fields are such as packets have.
fn begins_as_packet(content: &[u8], is_whole: bool) -> bool {
    for field in Fields::new(content).take(FIELDS_SEEN) {
        match field {
            Ok((number, value)) => {
                // Of those that nearly every packet has one, the kind is known.
                let is_message = matches!(number, 1 | 2 | 6 | 9 | 11 | 12 | 50 | 59 | 60 | 133);
                let is_number = matches!(number, 3 | 8 | 10 | 13 | 58 | 79);
                if number >= FIELD_MAX
                    || is_message && value.bytes().is_none()
                    || is_number && value.number().is_none()
                {
                    return false;
                }
            }
            Err(_) => return !is_whole,
        }
    }
    true
}

/// Whether a file that begins so has packets; what is damaged later on does not matter.
pub(super) fn are_packets(begin: &[u8]) -> bool {
    match look(begin, 0) {
        Found::Packet(_) => true,
        Found::Cut => begin.len() > 2,
        Found::Nothing => false,
    }
}

/// The first packet of what was unpacked: its content, and how many bytes it takes in all.
pub(super) fn first(bytes: &[u8]) -> Option<(&[u8], usize)> {
    match look(bytes, 0) {
        Found::Packet(packet) => Some((&bytes[packet.clone()], packet.end)),
        Found::Cut | Found::Nothing => None,
    }
}

impl<R: Read> Packets<R> {
    pub(super) fn new(file: R) -> Self {
        Self { file, bytes: Vec::new(), at: 0, read: 0, at_end: false }
    }

    /// Bytes of the file that were used up.
    pub(super) fn position(&self) -> u64 {
        self.read - (self.bytes.len() - self.at) as u64
    }

    pub(super) fn bytes(&self, packet: Range<usize>) -> &[u8] {
        &self.bytes[packet]
    }

    /// The content of the next packet; `None` at the end.
    pub(super) fn next(&mut self, findings: &mut Findings) -> Result<Option<Range<usize>>, Error> {
        loop {
            match look(&self.bytes, self.at) {
                Found::Packet(packet) => {
                    if packet.end == self.bytes.len() && !self.at_end {
                        // What stands behind it is to be seen.
                        self.read()?;
                    } else if self.is_believed(&packet) {
                        self.at = packet.end;
                        return Ok(Some(packet));
                    } else {
                        self.resync(findings)?;
                    }
                }
                Found::Cut if !self.at_end => self.read()?,
                Found::Cut => {
                    let rest = self.bytes.len() - self.at;
                    if rest == 0 {
                        return Ok(None);
                    }
                    // The file was cut off, or a length is wrong and there are packets in it.
                    match self.find_behind() {
                        Some(at) => self.skip_to(at, findings),
                        None => {
                            findings.truncated = true;
                            self.at = self.bytes.len();
                        }
                    }
                }
                Found::Nothing => self.resync(findings)?,
            }
        }
    }

    /// Another packet stands behind it, or the end; or else it is whole in itself, and what is behind it damaged.
    fn is_believed(&self, packet: &Range<usize>) -> bool {
        match self.bytes.get(packet.end) {
            None | Some(&TAG) => true,
            Some(_) => {
                let mut fields = Fields::new(&self.bytes[packet.clone()]);
                !packet.is_empty()
                    && fields.by_ref().take(FIELDS_SEEN).all(|field| field.is_ok())
                    && fields.next().is_none()
            }
        }
    }

    fn read(&mut self) -> Result<(), Error> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let read = (&mut self.file).take(CHUNK as u64).read_to_end(&mut self.bytes)?;
        self.read += read as u64;
        self.at_end = read < CHUNK;
        Ok(())
    }

    /// Passes over what makes no sense, up to where several packets in a row do.
    fn resync(&mut self, findings: &mut Findings) -> Result<(), Error> {
        // Enough to find some in.
        while self.bytes.len() - self.at < 4 * CHUNK && !self.at_end {
            self.read()?;
        }
        let found = self.find_behind().unwrap_or(self.bytes.len());
        self.skip_to(found, findings);
        Ok(())
    }

    fn skip_to(&mut self, at: usize, findings: &mut Findings) {
        let (position, skipped) = (self.position(), at - self.at);
        findings.malformed(|| format!("byte {position}: {skipped} bytes are no packets"));
        self.at = at;
    }

    /// The next place from which on several packets follow each other, or some up to the end.
    fn find_behind(&self) -> Option<usize> {
        let from = self.at + 1;
        let tags = memchr::memchr_iter(TAG, self.bytes.get(from..)?);
        tags.map(|tag| from + tag).find(|start| {
            let mut at = *start;
            for _ in 0..BELIEVED {
                match look(&self.bytes, at) {
                    Found::Packet(packet) if !packet.is_empty() => at = packet.end,
                    _ => return false,
                }
                if at == self.bytes.len() && self.at_end {
                    return true;
                }
            }
            true
        })
    }
}
