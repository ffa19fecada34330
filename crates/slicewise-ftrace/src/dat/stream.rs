//! The records of one CPU's ring buffer.

use std::io::{Read, Seek};
use std::ops::Range;

use super::pages::{CpuData, Pages};
use crate::bytes::Endian;
use crate::error::Error;
use crate::findings::Findings;

/// Flags and size in a page's `commit` field.
const MISSED_EVENTS: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;
const COMMIT_SIZE: u64 = (1 << 27) - 1;

/// `type_len` of what is no record.
const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;
const DELTA_BITS: u32 = 27;
/// An absolute time has 59 bits; the upper ones are those of the time before.
const TIME_STAMP_BITS: u32 = 59;

/// Where things are in a page, and how large one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PageLayout {
    pub(super) size: usize,
    pub(super) time: usize,
    pub(super) commit: usize,
    pub(super) commit_size: usize,
    pub(super) data: usize,
}

/// The records of one CPU.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) cpu: u32,
    layout: PageLayout,
    pages: Pages,
    page: Vec<u8>,
    /// What is still to be read of the page's data.
    rest: Range<usize>,
    time_ns: u64,
    record: Range<usize>,
    pages_read: u64,
    lost: Option<Option<u64>>,
    last_ns: u64,
}

/// What is next in a page.
enum Step {
    Record(Range<usize>),
    Again,
    EndOfPage,
    Malformed,
}

impl Stream {
    pub(super) fn new(data: CpuData, layout: PageLayout) -> Self {
        Self {
            cpu: data.cpu,
            layout,
            pages: Pages::new(data, layout.size),
            page: Vec::new(),
            rest: 0..0,
            time_ns: 0,
            record: 0..0,
            pages_read: 0,
            lost: None,
            last_ns: 0,
        }
    }

    /// Bytes that were read.
    pub(super) fn position(&self) -> u64 {
        self.pages.position()
    }

    /// The record at the head.
    pub(super) fn record(&self) -> &[u8] {
        &self.page[self.record.clone()]
    }

    /// Whether events were lost before the head; how many, if it is known.
    pub(super) fn take_lost(&mut self) -> Option<Option<u64>> {
        self.lost.take()
    }

    /// Goes to the next record and returns its time; `None` at the end.
    pub(super) fn advance(
        &mut self,
        file: &mut (impl Read + Seek),
        endian: Endian,
        findings: &mut Findings,
    ) -> Result<Option<u64>, Error> {
        loop {
            if self.rest.is_empty() && !self.next_page(file, endian, findings)? {
                return Ok(None);
            }
            match self.step(endian) {
                Step::Record(record) => {
                    self.record = record;
                    findings.backwards += u64::from(self.time_ns < self.last_ns);
                    self.last_ns = self.time_ns;
                    return Ok(Some(self.time_ns));
                }
                Step::Again => {}
                Step::EndOfPage => self.rest = 0..0,
                Step::Malformed => {
                    let (cpu, page, at) = (self.cpu, self.pages_read, self.rest.start);
                    findings.malformed(|| {
                        format!("CPU {cpu}, page {page}, byte {at}: a record beyond the page's end")
                    });
                    self.rest = 0..0;
                }
            }
        }
    }

    fn next_page(
        &mut self,
        file: &mut (impl Read + Seek),
        endian: Endian,
        findings: &mut Findings,
    ) -> Result<bool, Error> {
        if !self.pages.next(file, endian, &mut self.page, findings)? {
            return Ok(false);
        }
        self.pages_read += 1;
        let PageLayout { time, commit, commit_size, data, .. } = self.layout;
        let head = endian.u64(&self.page, time).zip(endian.uint(&self.page, commit, commit_size));
        let Some((time_ns, commit)) = head else {
            findings.truncated = true;
            self.rest = 0..0;
            return Ok(true);
        };
        let end = data + (commit & COMMIT_SIZE) as usize;
        if end > self.page.len() {
            let (cpu, page, size) = (self.cpu, self.pages_read, commit & COMMIT_SIZE);
            findings.malformed(|| {
                format!("CPU {cpu}, page {page}: says it holds {size} bytes, more than a page")
            });
            self.rest = 0..0;
            return Ok(true);
        }
        self.time_ns = time_ns;
        self.rest = data..end;
        // Before the first page nothing can be missing: the recording begins there.
        if commit & MISSED_EVENTS != 0 && self.pages_read > 1 {
            let stored = commit & MISSED_STORED != 0;
            let count = stored.then(|| endian.u64(&self.page, end)).flatten();
            // Two gaps without a record between them are one.
            self.lost = Some(match self.lost.flatten() {
                Some(before) => count.map(|count| before.saturating_add(count)),
                None => count,
            });
        }
        Ok(true)
    }

    fn step(&mut self, endian: Endian) -> Step {
        let at = self.rest.start;
        let data = &self.page[..self.rest.end];
        let Some(head) = endian.u32(data, at) else { return Step::Malformed };
        let (type_len, delta) = match endian {
            Endian::Little => (head & 0x1f, head >> 5),
            Endian::Big => (head >> DELTA_BITS, head & ((1 << DELTA_BITS) - 1)),
        };
        let delta = u64::from(delta);
        if type_len == PADDING && delta == 0 {
            return Step::EndOfPage;
        }
        let (from, len) = if (1..PADDING).contains(&type_len) {
            (at + 4, type_len as usize * 4)
        } else {
            let Some(word) = endian.u32(data, at + 4) else { return Step::Malformed };
            let word = u64::from(word);
            match type_len {
                TIME_EXTEND => {
                    self.time_ns = self.time_ns.wrapping_add((word << DELTA_BITS) + delta);
                    self.rest.start = at + 8;
                    return Step::Again;
                }
                TIME_STAMP => {
                    let kept = self.time_ns >> TIME_STAMP_BITS << TIME_STAMP_BITS;
                    self.time_ns = kept | ((word << DELTA_BITS) + delta);
                    self.rest.start = at + 8;
                    return Step::Again;
                }
                // The length counts its own four bytes.
                _ => match (word as usize).checked_sub(4) {
                    Some(len) => (at + 8, len),
                    None => return Step::Malformed,
                },
            }
        };
        if from + len > self.rest.end {
            return Step::Malformed;
        }
        self.time_ns = self.time_ns.wrapping_add(delta);
        self.rest.start = from + len;
        if type_len == PADDING {
            return Step::Again;
        }
        Step::Record(from..from + len)
    }
}
