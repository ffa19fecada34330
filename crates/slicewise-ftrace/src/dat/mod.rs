//! `trace.dat`, as trace-cmd writes it (trace-cmd.dat.v6(5), trace-cmd.dat.v7(5)): what is in the
//! file, and its records in the order of time.

mod header;
mod pages;
mod stream;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Seek};

use self::stream::Stream;
use crate::bytes::Endian;
use crate::error::Error;
use crate::event::Event;
use crate::findings::Findings;
use crate::format::{Formats, Symbols};
use crate::reader::{TraceFormat, TraceInfo};

pub(crate) use self::header::{Header, MAGIC};
pub(crate) use self::pages::read_exact_at;

/// A `trace.dat` being read.
#[derive(Debug)]
pub(crate) struct Dat<R> {
    file: R,
    endian: Endian,
    formats: Formats,
    symbols: Symbols,
    streams: Vec<Stream>,
    /// Time of the next record of each stream that has one; among equals the lower CPU.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    /// The heads are known.
    started: bool,
    info: TraceInfo,
}

impl<R: Read + Seek> Dat<R> {
    pub(crate) fn new(mut file: R, findings: &mut Findings) -> Result<Self, Error> {
        let header = Header::read(&mut file, findings)?;
        let mut streams = Vec::new();
        for data in header.cpus {
            streams.push(Stream::new(data, header.page));
        }
        let info = TraceInfo {
            format: TraceFormat::Dat { version: header.version },
            cpus: streams.iter().map(|stream| stream.cpu).collect(),
            uname: header.uname,
            clock: header.clock,
            online_cpus: None,
        };
        Ok(Self {
            file,
            endian: header.endian,
            formats: header.formats,
            symbols: header.symbols,
            streams,
            heads: BinaryHeap::new(),
            started: false,
            info,
        })
    }

    /// Bytes of records that were read.
    pub(crate) fn position(&self) -> u64 {
        self.streams.iter().map(Stream::position).sum()
    }

    pub(crate) fn info(&self) -> &TraceInfo {
        &self.info
    }

    pub(crate) fn next_event(&mut self, findings: &mut Findings) -> Result<Option<Event>, Error> {
        if !self.started {
            self.started = true;
            for index in 0..self.streams.len() {
                self.advance(index, findings)?;
            }
        }
        loop {
            let Some(&Reverse((time_ns, index))) = self.heads.peek() else { return Ok(None) };
            let stream = &mut self.streams[index];
            let cpu = stream.cpu;
            if let Some(lost) = stream.take_lost() {
                findings.lost_places += 1;
                findings.lost_events += lost.unwrap_or(0);
                return Ok(Some(Event::lost(time_ns, cpu, lost)));
            }
            let event = self.decode(time_ns, index, findings);
            self.heads.pop();
            self.advance(index, findings)?;
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// The record at the head of a stream; `None` if it cannot be understood, which is counted.
    fn decode(&self, time_ns: u64, index: usize, findings: &mut Findings) -> Option<Event> {
        let stream = &self.streams[index];
        let record = stream.record();
        let Some(format) = Formats::id_of(self.endian, record).and_then(|id| self.formats.get(id))
        else {
            findings.unknown_formats += 1;
            return None;
        };
        if format.unexpected {
            findings.unexpected_layout(&format.name);
        }
        let place = (time_ns, stream.cpu);
        match format.decode(self.endian, record, &self.symbols, place) {
            Some(event) => Some(event),
            None => {
                findings.malformed(|| {
                    format!(
                        "CPU {}, at {time_ns} ns: a record of {} bytes is too short for {}",
                        stream.cpu,
                        record.len(),
                        format.name
                    )
                });
                None
            }
        }
    }

    fn advance(&mut self, index: usize, findings: &mut Findings) -> Result<(), Error> {
        if let Some(time_ns) = self.streams[index].advance(&mut self.file, self.endian, findings)? {
            self.heads.push(Reverse((time_ns, index)));
        }
        Ok(())
    }
}
