//! Text: of tracefs' `trace` and `trace_pipe` files, of `perf script`, and of `trace-cmd report`.
//!
//! All three have an event on each line, whose head says who ran, where and when. One reader takes them all,
//! line by line, so that a text may also be a part of another, or what `grep` left of it.

mod fields;
mod head;
mod line;
mod words;

use std::io::{BufRead, BufReader, Read};

use self::head::Dialect;
use self::line::{Line, Lines};
use crate::error::Error;
use crate::event::{Event, Kind};
use crate::findings::Findings;
use crate::reader::{TraceFormat, TraceInfo, no_trace};

/// A longer line is malformed; what is beyond is passed over.
const LINE_BYTES_MAX: u64 = 1 << 16;
/// So many bytes are read at once.
const CHUNK: usize = 1 << 17;
/// CPU numbers beyond this are no CPU numbers.
pub(super) const CPUS_MAX: u32 = 1 << 16;

/// What is known of a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    /// The latest time.
    last_ns: u64,
    /// A gap was announced: its time comes with the next event of this CPU.
    lost: Option<Option<u64>>,
}

/// A text being read.
#[derive(Debug)]
pub(crate) struct Text<R: Read> {
    file: BufReader<R>,
    lines: Lines,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
    info: TraceInfo,
    /// Some line was one of a trace.
    is_trace: bool,
    cpus: Vec<Cpu>,
    /// Waits until the gap before it was delivered.
    held: Option<Event>,
}

impl<R: Read> Text<R> {
    pub(crate) fn new(file: R, format: TraceFormat) -> Self {
        Self {
            file: BufReader::with_capacity(CHUNK, file),
            lines: Lines::default(),
            line: Vec::new(),
            number: 0,
            bytes: 0,
            info: TraceInfo::new(format),
            is_trace: false,
            cpus: Vec::new(),
            held: None,
        }
    }

    /// Bytes that were read.
    pub(crate) fn position(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn info(&self) -> &TraceInfo {
        &self.info
    }

    pub(crate) fn next_event(&mut self, findings: &mut Findings) -> Result<Option<Event>, Error> {
        if let Some(event) = self.held.take() {
            return Ok(Some(event));
        }
        while self.read_line(findings)? {
            match self.lines.parse(&self.line) {
                Line::Nothing => {}
                Line::Begin(_) => self.is_trace = true,
                Line::Head { lost } => {
                    self.is_trace = true;
                    findings.overwritten_events = findings.overwritten_events.saturating_add(lost);
                }
                Line::Lost { cpu, count } => {
                    self.is_trace = true;
                    count_lost(count, findings);
                    let gap = &mut self.cpu(cpu).lost;
                    // Two gaps without an event between them are one.
                    *gap = Some(match *gap {
                        Some(before) => before.zip(count).map(|(a, b)| a.saturating_add(b)),
                        None => count,
                    });
                }
                Line::Event { event, unexpected, .. } => {
                    self.is_trace = true;
                    if let Some(name) = unexpected {
                        findings.unexpected_layout(&name);
                    }
                    if let Kind::Lost(count) = event.kind {
                        count_lost(count, findings);
                    }
                    return Ok(Some(self.deliver(event, findings)));
                }
                Line::Malformed => {
                    let (number, line) = (self.number, &self.line);
                    findings.malformed(|| {
                        let line = String::from_utf8_lossy(&line[..line.len().min(400)]);
                        let shown: String = line.chars().take(80).collect();
                        format!("line {number}: `{}`", shown.trim_end())
                    });
                }
            }
        }
        if findings.malformed > 0 && !self.is_trace {
            return Err(no_trace("no line of it is one of a trace"));
        }
        Ok(None)
    }

    fn cpu(&mut self, number: u32) -> &mut Cpu {
        let index = number as usize;
        if self.cpus.len() <= index {
            self.cpus.resize(index + 1, Cpu::default());
        }
        &mut self.cpus[index]
    }

    fn deliver(&mut self, event: Event, findings: &mut Findings) -> Event {
        let (number, time_ns) = (event.cpu, event.time_ns);
        let cpu = self.cpu(number);
        // Time 0 is no time: it says what was there before.
        if time_ns > 0 {
            findings.backwards += u64::from(time_ns < cpu.last_ns);
            cpu.last_ns = time_ns;
        }
        match cpu.lost.take() {
            None => event,
            Some(count) => {
                self.held = Some(event);
                Event::lost(time_ns, number, count)
            }
        }
    }

    /// The next line into `self.line`, without its end; `false` at the end of the file.
    fn read_line(&mut self, findings: &mut Findings) -> Result<bool, Error> {
        self.line.clear();
        let read = (&mut self.file).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        self.bytes += read as u64;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if (read as u64) < LINE_BYTES_MAX {
            findings.truncated = true;
        } else {
            self.skip_to_line_end()?;
            self.line.clear();
            let number = self.number;
            findings.malformed(|| format!("line {number}: longer than {LINE_BYTES_MAX} bytes"));
        }
        Ok(true)
    }

    fn skip_to_line_end(&mut self) -> Result<(), Error> {
        loop {
            let buffer = self.file.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let (used, is_end) = match memchr::memchr(b'\n', buffer) {
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            };
            self.file.consume(used);
            self.bytes += used as u64;
            if is_end {
                return Ok(());
            }
        }
    }
}

fn count_lost(count: Option<u64>, findings: &mut Findings) {
    findings.lost_places += 1;
    findings.lost_events = findings.lost_events.saturating_add(count.unwrap_or(0));
}

/// Whose text it is, by its first lines; `None` if none of them is one of a trace.
pub(crate) fn format_of(begin: &[u8]) -> Option<TraceFormat> {
    let mut lines = Lines::default();
    begin.split(|byte| *byte == b'\n').find_map(|line| {
        let dialect = match lines.parse(line) {
            Line::Begin(dialect) => dialect?,
            Line::Event { dialect, .. } => dialect,
            Line::Head { .. } => Dialect::Tracefs,
            _ => return None,
        };
        Some(match dialect {
            Dialect::Tracefs => TraceFormat::Text,
            Dialect::TraceCmd => TraceFormat::TraceCmdReport,
            Dialect::Perf => TraceFormat::PerfScript,
        })
    })
}
