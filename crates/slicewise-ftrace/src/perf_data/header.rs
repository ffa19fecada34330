//! The head of a file, and what stands behind its records.

use std::io::{Read, Seek, SeekFrom};

use super::TRACING_DATA_BYTES_MAX;
use super::attr::Attrs;
use crate::bytes::Endian;
use crate::dat::read_exact_at;
use crate::error::Error;

/// How a file begins, with bytes in the order of the machine it is from.
pub(crate) const MAGIC: &[u8] = b"PERFILE2";
pub(crate) const MAGIC_SWAPPED: &[u8] = b"2ELIFREP";

/// Features: parts behind the records, each with a bit that says whether it is there.
const FEATURE_TRACING_DATA: u32 = 1;
pub(super) const FEATURE_OSRELEASE: u32 = 4;
/// How many CPUs there are, and how many of them are online.
const FEATURE_NRCPUS: u32 = 7;
const FEATURES: u32 = 256;

/// Of the head of a pipe, and of the shortest head of a file.
const PIPE_HEAD_BYTES: u64 = 16;
const FILE_HEAD_BYTES: usize = 104;
/// Descriptions of events take no more than this.
const ATTRS_BYTES_MAX: u64 = 16 << 20;
const IDS_BYTES_MAX: u64 = 8 << 20;
const TEXT_BYTES_MAX: u64 = 1 << 12;

/// What is known before the first record.
#[derive(Debug)]
pub(crate) struct Header {
    pub(super) endian: Endian,
    pub(super) is_pipe: bool,
    pub(super) data_offset: u64,
    /// `None` in a pipe: up to its end.
    pub(super) data_bytes: Option<u64>,
    pub(super) attrs: Attrs,
    pub(super) tracing_data: Option<Vec<u8>>,
    pub(super) uname: Option<String>,
    pub(super) online_cpus: Option<u32>,
}

/// The order of bytes, by the first eight.
pub(crate) fn endian_of(magic: &[u8]) -> Option<Endian> {
    match magic {
        MAGIC => Some(Endian::Little),
        MAGIC_SWAPPED => Some(Endian::Big),
        _ => None,
    }
}

impl Header {
    /// The head of what comes through a pipe; `head` are the 16 bytes it has.
    pub(crate) fn of_pipe(head: &[u8]) -> Option<Self> {
        let endian = endian_of(head.get(..8)?)?;
        (endian.u64(head, 8)? == PIPE_HEAD_BYTES).then(|| Self {
            endian,
            is_pipe: true,
            data_offset: PIPE_HEAD_BYTES,
            data_bytes: None,
            attrs: Attrs::default(),
            tracing_data: None,
            uname: None,
            online_cpus: None,
        })
    }

    /// The head of a file; leaves it at its records.
    pub(crate) fn of_file(file: &mut (impl Read + Seek)) -> Result<Self, Error> {
        let head = read_exact_at(file, 0, PIPE_HEAD_BYTES, "head")?;
        if let Some(header) = Self::of_pipe(&head) {
            file.seek(SeekFrom::Start(PIPE_HEAD_BYTES))?;
            return Ok(header);
        }
        let head = read_exact_at(file, 0, FILE_HEAD_BYTES as u64, "head")?;
        let endian = endian_of(&head[..8])
            .ok_or_else(|| Error::malformed(0, "`PERFILE2` expected at the beginning"))?;
        let word = |at: usize| endian.u64(&head, at).unwrap_or(0);
        let (head_bytes, attr_bytes) = (word(8), word(16));
        if head_bytes < FILE_HEAD_BYTES as u64 {
            let what = format!("a head of {head_bytes} bytes; {FILE_HEAD_BYTES} or 16 are known");
            return Err(Error::malformed(8, what));
        }
        let (attrs_offset, attrs_bytes) = (word(24), word(32));
        let (data_offset, data_bytes) = (word(40), word(48));
        if !(64..=4096).contains(&attr_bytes) || attrs_bytes > ATTRS_BYTES_MAX {
            let what = format!(
                "descriptions of events of {attr_bytes} bytes each and {attrs_bytes} in all; 64 to \
                 4096 and at most {ATTRS_BYTES_MAX} are read"
            );
            return Err(Error::malformed(16, what));
        }
        let mut attrs = Attrs::default();
        let list = read_exact_at(file, attrs_offset, attrs_bytes, "descriptions of events")?;
        for attr in list.chunks_exact(attr_bytes as usize) {
            // A place and a size stand behind each: its numbers.
            let (attr, ids) = attr.split_at(attr.len() - 16);
            let (at, size) = (endian.u64(ids, 0).unwrap_or(0), endian.u64(ids, 8).unwrap_or(0));
            if size > IDS_BYTES_MAX {
                let what = format!("{size} bytes of numbers of an event; at most {IDS_BYTES_MAX}");
                return Err(Error::malformed(at, what));
            }
            let ids = read_exact_at(file, at, size, "numbers of an event")?;
            attrs.add(endian, attr, ids.chunks_exact(8).filter_map(|id| endian.u64(id, 0)));
        }
        let mut header = Self {
            endian,
            is_pipe: false,
            data_offset,
            data_bytes: Some(data_bytes),
            attrs,
            tracing_data: None,
            uname: None,
            online_cpus: None,
        };
        header.features(file, &head[72..])?;
        file.seek(SeekFrom::Start(data_offset))?;
        Ok(header)
    }

    fn features(&mut self, file: &mut (impl Read + Seek), bits: &[u8]) -> Result<(), Error> {
        let data_bytes = self.data_bytes.unwrap_or(0);
        if data_bytes == 0 {
            let file_bytes = file.seek(SeekFrom::End(0))?;
            let what = "records".to_owned();
            // perf fills the sizes in when it ends.
            return Err(Error::Truncated { offset: self.data_offset, what, size: 1, file_bytes });
        }
        let mut place = self.data_offset.saturating_add(data_bytes);
        for feature in 0..FEATURES {
            // The bits are words of the recording machine.
            let word = self.endian.u64(bits, feature as usize / 64 * 8).unwrap_or(0);
            if word >> (feature % 64) & 1 == 0 {
                continue;
            }
            let entry = read_exact_at(file, place, 16, "list of features")?;
            place += 16;
            let number = |at| self.endian.u64(&entry, at).unwrap_or(0);
            let (at, size) = (number(0), number(8));
            match feature {
                FEATURE_TRACING_DATA if size <= TRACING_DATA_BYTES_MAX => {
                    self.tracing_data = Some(read_exact_at(file, at, size, "formats of events")?);
                }
                FEATURE_TRACING_DATA => {
                    let what = format!("{size} bytes of formats; at most {TRACING_DATA_BYTES_MAX}");
                    return Err(Error::malformed(at, what));
                }
                FEATURE_OSRELEASE if size <= TEXT_BYTES_MAX => {
                    let bytes = read_exact_at(file, at, size, "release")?;
                    self.uname = text(self.endian, &bytes);
                }
                FEATURE_NRCPUS if size == 8 => {
                    let bytes = read_exact_at(file, at, size, "number of CPUs")?;
                    self.online_cpus = self.endian.u32(&bytes, 4);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A text with its length before it.
fn text(endian: Endian, bytes: &[u8]) -> Option<String> {
    let size = endian.u32(bytes, 0)? as usize;
    let text = bytes.get(4..)?.get(..size)?;
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    Some(String::from_utf8_lossy(&text[..end]).into_owned())
}

/// A feature as it comes through a pipe: its number, and a text, if it is one.
pub(super) fn feature(endian: Endian, body: &[u8]) -> Option<(u32, String)> {
    let number = u32::try_from(endian.u64(body, 0)?).ok()?;
    Some((number, text(endian, body.get(8..)?)?))
}
