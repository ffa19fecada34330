//! `perf.data`, as `perf record` and `perf sched record` write it (perf.data-file-format in the kernel's
//! tools/perf/Documentation; perf_event_open(2) for the records): in a file or through a pipe, also
//! compressed.
//!
//! Records come in the order in which `perf` emptied its buffers, CPU after CPU. It marks rounds: at the end of
//! one, everything is there that is older than the newest of the round before. Up to there events are sorted
//! and delivered, so memory is bounded by two rounds.

mod attr;
mod header;
mod input;
mod sample;

use std::io::Read;
use std::ops::Range;

use self::attr::Attrs;
pub(crate) use self::header::Header;
use self::input::{Input, Step};
use self::sample::Id;
use crate::bytes::Endian;
use crate::dat;
use crate::error::Error;
use crate::event::{Cloned, Comm, Event, Gone, Kind, Named};
use crate::findings::Findings;
use crate::format::{Formats, Symbols};
use crate::order::Held;
use crate::reader::{TraceFormat, TraceInfo};

/// Kinds of records: of the kernel, and of `perf` itself.
const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const FORK: u32 = 7;
const SAMPLE: u32 = 9;
const LOST_SAMPLES: u32 = 13;
const HEADER_ATTR: u32 = 64;
const TRACING_DATA: u32 = 66;
const FINISHED_ROUND: u32 = 68;
const HEADER_FEATURE: u32 = 80;

/// `misc` of a COMM record: it is because of an exec.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// Before a record's content.
const HEAD: usize = 8;
/// CPU numbers beyond this are no CPU numbers.
const CPUS_MAX: u32 = 1 << 16;
/// Formats are no larger than this.
const TRACING_DATA_BYTES_MAX: u64 = 64 << 20;

/// A `perf.data` being read.
#[derive(Debug)]
pub(crate) struct PerfData<R> {
    input: Input<R>,
    endian: Endian,
    attrs: Attrs,
    formats: Formats,
    /// The order of bytes of raw data: that of the recorded machine.
    raw_endian: Endian,
    symbols: Symbols,
    info: TraceInfo,
    held: Held,
    /// The newest of the round before: up to there everything is here.
    due_ns: u64,
    /// Events that were lost, as it was said where, and in all.
    lost: u64,
    lost_in_all: u64,
    at_end: bool,
}

impl<R: Read> PerfData<R> {
    /// Reads on behind the header; in a pipe, the rest of what there is to know comes as records.
    pub(crate) fn new(header: Header, file: R, findings: &mut Findings) -> Result<Self, Error> {
        let mut perf = Self {
            input: Input::new(file, header.endian, header.data_offset, header.data_bytes),
            endian: header.endian,
            attrs: header.attrs,
            formats: Formats::default(),
            raw_endian: header.endian,
            symbols: Symbols::default(),
            info: TraceInfo {
                format: TraceFormat::PerfData { is_pipe: header.is_pipe },
                cpus: Vec::new(),
                uname: header.uname,
                clock: None,
                online_cpus: header.online_cpus,
            },
            held: Held::default(),
            due_ns: 0,
            lost: 0,
            lost_in_all: 0,
            at_end: false,
        };
        if !header.is_pipe {
            let Some(bytes) = header.tracing_data else {
                return Err(no_tracepoints());
            };
            perf.tracing_data(&bytes, findings)?;
        }
        Ok(perf)
    }

    pub(crate) fn info(&self) -> &TraceInfo {
        &self.info
    }

    /// Bytes of the file that were read.
    pub(crate) fn position(&self) -> u64 {
        self.input.position()
    }

    pub(crate) fn next_event(&mut self, findings: &mut Findings) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.held.pop() {
                return Ok(Some(event));
            }
            if self.at_end {
                return Ok(None);
            }
            self.held.forget_delivered();
            self.fill(findings)?;
        }
    }

    /// Reads until something is due.
    fn fill(&mut self, findings: &mut Findings) -> Result<(), Error> {
        loop {
            match self.input.advance(findings)? {
                Step::Record(record) => {
                    if self.record(record, findings)? {
                        return Ok(());
                    }
                }
                Step::End => {
                    self.at_end = true;
                    if self.formats.is_empty() {
                        return Err(no_tracepoints());
                    }
                    self.held.release(u64::MAX, findings);
                    return Ok(());
                }
            }
            if self.held.release_if_full(findings) {
                return Ok(());
            }
        }
    }

    /// One record; whether something is due now.
    fn record(&mut self, record: Range<usize>, findings: &mut Findings) -> Result<bool, Error> {
        let Some((kind, misc)) = self.input.head(&record) else { return Ok(false) };
        match kind {
            SAMPLE => self.sample(record, findings),
            FINISHED_ROUND => {
                // One time that is far off, by damage or a clock that was set, holds up nothing but itself.
                let newest_ns = self.held.take_newest_of_round_ns();
                let until_ns = newest_ns.map_or(self.due_ns, |newest| newest.min(self.due_ns));
                self.held.release(until_ns, findings);
                self.due_ns = newest_ns.unwrap_or(self.due_ns);
                return Ok(self.held.is_ready());
            }
            COMM => {
                let bytes = self.input.bytes(record);
                let (endian, body) = (self.endian, &bytes[HEAD..]);
                let id = self.attrs.trailer(endian, body);
                let numbers = endian.u32(body, 0).zip(endian.u32(body, 4));
                if let (Some((tgid, pid)), Some(comm)) = (numbers, body.get(8..)) {
                    let named = Named {
                        pid: pid as i32,
                        tgid: tgid as i32,
                        comm: Comm::new(&comm[..comm.len().min(16)]),
                        is_exec: misc & MISC_COMM_EXEC != 0,
                    };
                    self.hold(id, Kind::Named(named));
                }
            }
            FORK | EXIT => {
                let bytes = self.input.bytes(record);
                let (endian, body) = (self.endian, &bytes[HEAD..]);
                let number = |at| endian.u32(body, at).map(|number| number as i32);
                let id = self.attrs.trailer(endian, body);
                if let (Some(tgid), Some(parent_tgid), Some(pid), Some(parent)) =
                    (number(0), number(4), number(8), number(12))
                {
                    // The record has a time of its own, which older `perf` does not repeat.
                    let time_ns = id.time_ns.max(endian.u64(body, 16).unwrap_or(0));
                    let happened = match kind {
                        FORK => Kind::Cloned(Cloned { pid, tgid, parent, parent_tgid }),
                        _ => Kind::Gone(Gone { pid, tgid }),
                    };
                    self.hold(Id { time_ns, ..id }, happened);
                }
            }
            LOST | LOST_SAMPLES => {
                let bytes = self.input.bytes(record);
                let (endian, body) = (self.endian, &bytes[HEAD..]);
                let id = self.attrs.trailer(endian, body);
                let count = endian.u64(body, if kind == LOST { 8 } else { 0 });
                if kind == LOST_SAMPLES && id.time_ns == 0 {
                    // What `perf` sums up at its end, for each event: places are told by the others.
                    self.lost_in_all = self.lost_in_all.saturating_add(count.unwrap_or(0));
                    findings.lost_events = findings.lost_events.max(self.lost_in_all);
                    return Ok(false);
                }
                findings.lost_places += 1;
                self.lost = self.lost.saturating_add(count.unwrap_or(0));
                findings.lost_events = self.lost.max(self.lost_in_all);
                self.hold(id, Kind::Lost(count));
            }
            HEADER_ATTR => {
                let bytes = self.input.bytes(record);
                if !self.attrs.add_record(self.endian, &bytes[HEAD..]) {
                    findings.malformed(|| "the description of an event is damaged".to_owned());
                }
            }
            HEADER_FEATURE => {
                let bytes = self.input.bytes(record);
                if let Some((header::FEATURE_OSRELEASE, text)) =
                    header::feature(self.endian, &bytes[HEAD..])
                {
                    self.info.uname = Some(text);
                }
            }
            TRACING_DATA => {
                let bytes = self.input.bytes(record);
                let size = self.endian.u32(bytes, HEAD).unwrap_or(0).into();
                if size > TRACING_DATA_BYTES_MAX {
                    let what = format!("formats of {size} bytes; at most {TRACING_DATA_BYTES_MAX}");
                    return Err(Error::malformed(self.input.position(), what));
                }
                let bytes = self.input.take(size)?;
                self.tracing_data(&bytes, findings)?;
            }
            // Mappings, throttling and the like say nothing about scheduling.
            _ => {}
        }
        Ok(false)
    }

    fn tracing_data(&mut self, bytes: &[u8], findings: &mut Findings) -> Result<(), Error> {
        let read = dat::Header::tracing_data(bytes, findings);
        (self.raw_endian, self.formats, self.symbols) = read.map_err(|error| match error {
            Error::Malformed { offset, what } => {
                Error::Malformed { offset, what: format!("formats of events: {what}") }
            }
            Error::Truncated { offset, what, .. } => {
                Error::malformed(offset, format!("formats of events: {what}: cut off"))
            }
            other => other,
        })?;
        Ok(())
    }

    fn sample(&mut self, record: Range<usize>, findings: &mut Findings) {
        let bytes = self.input.bytes(record);
        let Some((id, raw)) = self.attrs.sample(self.endian, &bytes[HEAD..]) else {
            let position = self.input.position();
            findings.malformed(|| format!("before byte {position}: a sample without its parts"));
            return;
        };
        if id.cpu >= CPUS_MAX {
            findings
                .malformed(|| format!("a sample of CPU {}; below {CPUS_MAX} are possible", id.cpu));
            return;
        }
        // Samples of hardware counters and the like have no raw data.
        let Some(raw) = raw else { return };
        let Some(format) = Formats::id_of(self.raw_endian, raw).and_then(|id| self.formats.get(id))
        else {
            findings.unknown_formats += 1;
            return;
        };
        if format.unexpected {
            findings.unexpected_layout(&format.name);
        }
        let place = (id.time_ns, id.cpu);
        match format.decode(self.raw_endian, raw, &self.symbols, place) {
            Some(event) => {
                let event = Event { pid: id.pid.or(event.pid), tgid: id.tgid, ..event };
                self.held.push(event);
            }
            None => findings.malformed(|| {
                let (time_ns, cpu) = place;
                let (bytes, name) = (raw.len(), &format.name);
                format!(
                    "CPU {cpu}, at {time_ns} ns: a record of {bytes} bytes is too short for {name}"
                )
            }),
        }
    }

    fn hold(&mut self, id: Id, kind: Kind) {
        self.held.push(Event {
            time_ns: id.time_ns,
            cpu: id.cpu.min(CPUS_MAX - 1),
            pid: id.pid,
            tgid: id.tgid,
            in_interrupt: None,
            need_resched: None,
            kind,
        });
    }
}

/// Whether a file begins as such files do.
pub(crate) fn is_magic(begin: &[u8]) -> bool {
    begin.get(..8).is_some_and(|magic| header::endian_of(magic).is_some())
}

fn no_tracepoints() -> Error {
    Error::unsupported(
        "the file has no tracepoints: record with `perf sched record`, or with `perf record -e \
         'sched:*'`",
    )
}
