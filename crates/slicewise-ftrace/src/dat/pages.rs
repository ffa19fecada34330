//! The pages of one CPU's ring buffer, out of the file: as they are, or in compressed chunks.

use std::io::{Read, Seek, SeekFrom};

use crate::bytes::Endian;
use crate::error::Error;
use crate::findings::Findings;

/// Chunks and sections that say they are larger than this when unpacked are refused.
pub(super) const UNPACKED_BYTES_MAX: u64 = 64 << 20;

/// How parts of the file are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Codec {
    None,
    Zlib,
    Zstd,
}

impl Codec {
    /// Exactly `size` bytes out of `packed`.
    pub(super) fn unpack(self, packed: &[u8], size: u64, offset: u64) -> Result<Vec<u8>, Error> {
        if size > UNPACKED_BYTES_MAX {
            return Err(Error::malformed(
                offset,
                format!("a compressed part of {size} bytes; at most {UNPACKED_BYTES_MAX} are read"),
            ));
        }
        let mut unpacked = Vec::new();
        let result = match self {
            Self::None => packed.take(size).read_to_end(&mut unpacked),
            Self::Zlib => {
                flate2::read::ZlibDecoder::new(packed).take(size).read_to_end(&mut unpacked)
            }
            Self::Zstd => zstd::stream::read::Decoder::with_buffer(packed)
                .and_then(|decoder| decoder.take(size).read_to_end(&mut unpacked)),
        };
        match result {
            Ok(_) if unpacked.len() as u64 == size => Ok(unpacked),
            Ok(got) => Err(Error::malformed(
                offset,
                format!("a compressed part unpacks to {got} bytes, not to {size} as it says"),
            )),
            Err(error) => {
                Err(Error::malformed(offset, format!("a compressed part is damaged: {error}")))
            }
        }
    }
}

/// As many of `size` bytes at `offset` as the file has.
pub(super) fn read_at(
    file: &mut (impl Read + Seek),
    offset: u64,
    size: u64,
) -> Result<Vec<u8>, Error> {
    // Offsets beyond what a file can have are refused by some systems; here they are just the end.
    if offset > i64::MAX as u64 {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same, or an error if the file has fewer.
pub(crate) fn read_exact_at(
    file: &mut (impl Read + Seek),
    offset: u64,
    size: u64,
    what: &str,
) -> Result<Vec<u8>, Error> {
    let bytes = read_at(file, offset, size)?;
    if bytes.len() as u64 == size {
        return Ok(bytes);
    }
    let file_bytes = file.seek(SeekFrom::End(0))?;
    Err(Error::Truncated { offset, what: what.to_owned(), size, file_bytes })
}

/// Where one CPU's data is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuData {
    pub(super) cpu: u32,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) codec: Codec,
}

/// The pages of one CPU, one after the other.
#[derive(Debug)]
pub(super) struct Pages {
    codec: Codec,
    page_size: usize,
    begin: u64,
    /// Of the next chunk, or the next page if there is no compression.
    offset: u64,
    end: u64,
    /// Chunks still to come; `None` before their number was read.
    chunks: Option<u32>,
    chunk: Vec<u8>,
    at: usize,
}

impl Pages {
    pub(super) fn new(data: CpuData, page_size: usize) -> Self {
        Self {
            codec: data.codec,
            page_size,
            begin: data.offset,
            offset: data.offset,
            end: data.offset.saturating_add(data.size),
            chunks: None,
            chunk: Vec::new(),
            at: 0,
        }
    }

    /// Bytes of the file that were read.
    pub(super) fn position(&self) -> u64 {
        self.offset - self.begin
    }

    /// Puts the next page into `page`; `false` when there is no more.
    pub(super) fn next(
        &mut self,
        file: &mut (impl Read + Seek),
        endian: Endian,
        page: &mut Vec<u8>,
        findings: &mut Findings,
    ) -> Result<bool, Error> {
        if self.at >= self.chunk.len() {
            self.chunk = match self.codec {
                Codec::None => self.page(file, findings)?,
                _ => self.chunk(file, endian, findings)?,
            };
            self.at = 0;
        }
        if self.chunk.is_empty() {
            return Ok(false);
        }
        let end = self.chunk.len().min(self.at + self.page_size);
        page.clear();
        page.extend_from_slice(&self.chunk[self.at..end]);
        self.at = end;
        Ok(true)
    }

    fn page(
        &mut self,
        file: &mut (impl Read + Seek),
        findings: &mut Findings,
    ) -> Result<Vec<u8>, Error> {
        let size = (self.end - self.offset).min(self.page_size as u64);
        let page = read_at(file, self.offset, size)?;
        if (page.len() as u64) < size {
            findings.truncated = true;
            self.end = self.offset;
        } else {
            self.offset += size;
        }
        Ok(page)
    }

    /// The next chunk unpacked; empty when there is no more or the file ends. Damaged ones are passed over.
    fn chunk(
        &mut self,
        file: &mut (impl Read + Seek),
        endian: Endian,
        findings: &mut Findings,
    ) -> Result<Vec<u8>, Error> {
        if self.end <= self.offset && self.chunks.is_none() {
            return Ok(Vec::new());
        }
        let mut left = match self.chunks {
            Some(left) => left,
            None => {
                let count = endian.u32(&read_at(file, self.offset, 4)?, 0);
                self.offset += 4;
                findings.truncated |= count.is_none();
                count.unwrap_or(0)
            }
        };
        while left > 0 {
            left -= 1;
            self.chunks = Some(left);
            let head = read_at(file, self.offset, 8)?;
            let sizes = endian.u32(&head, 0).zip(endian.u32(&head, 4));
            let Some((packed_size, size)) = sizes else {
                findings.truncated = true;
                break;
            };
            let packed = read_at(file, self.offset + 8, u64::from(packed_size))?;
            if packed.len() < packed_size as usize {
                findings.truncated = true;
                break;
            }
            let chunk = self.codec.unpack(&packed, u64::from(size), self.offset);
            let at = self.offset;
            self.offset += 8 + u64::from(packed_size);
            match chunk {
                Ok(chunk) if !chunk.is_empty() => return Ok(chunk),
                Ok(_) => findings.malformed(|| format!("byte {at}: a chunk of 0 bytes")),
                Err(error) => findings.malformed(|| error.to_string()),
            }
        }
        self.chunks = Some(0);
        Ok(Vec::new())
    }
}
