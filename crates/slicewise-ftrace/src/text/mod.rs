//! The text of tracefs' `trace` and `trace_pipe` files.

mod line;

use std::io::{BufRead, BufReader, Read};

use self::line::Line;
use crate::error::Error;
use crate::event::Event;
use crate::findings::Findings;

/// A longer line is malformed; what is beyond is passed over.
const LINE_BYTES_MAX: u64 = 1 << 16;
/// CPU numbers beyond this are no CPU numbers.
pub(super) const CPUS_MAX: u32 = 1 << 16;

/// A text being read.
#[derive(Debug)]
pub(crate) struct Text<R: Read> {
    file: BufReader<R>,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
    /// By CPU: the latest time.
    last_ns: Vec<u64>,
    /// A gap was announced before the first event of this CPU: time comes with the next event.
    lost: Vec<(u32, Option<u64>)>,
    /// Waits until the gap before it was delivered.
    held: Option<Event>,
}

impl<R: Read> Text<R> {
    pub(crate) fn new(file: R) -> Self {
        Self {
            file: BufReader::new(file),
            line: Vec::new(),
            number: 0,
            bytes: 0,
            last_ns: Vec::new(),
            lost: Vec::new(),
            held: None,
        }
    }

    /// Bytes that were read.
    pub(crate) fn position(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn next_event(&mut self, findings: &mut Findings) -> Result<Option<Event>, Error> {
        if let Some(event) = self.held.take() {
            return Ok(Some(event));
        }
        while self.read_line(findings)? {
            let line = String::from_utf8_lossy(&self.line);
            let number = self.number;
            match Line::parse(&line) {
                Line::Nothing => {}
                Line::Head { lost } => findings.overwritten_events += lost,
                Line::Lost { cpu, count } => {
                    findings.lost_places += 1;
                    findings.lost_events += count.unwrap_or(0);
                    self.lost.push((cpu, count));
                }
                Line::Event { event, unexpected } => {
                    if let Some(name) = unexpected {
                        findings.unexpected_layout(&name);
                    }
                    return Ok(Some(self.deliver(event, findings)));
                }
                Line::Malformed => findings.malformed(|| {
                    let shown: String = line.chars().take(80).collect();
                    format!("line {number}: `{}`", shown.trim_end())
                }),
            }
        }
        Ok(None)
    }

    fn deliver(&mut self, event: Event, findings: &mut Findings) -> Event {
        let index = event.cpu as usize;
        if self.last_ns.len() <= index {
            self.last_ns.resize(index + 1, 0);
        }
        findings.backwards += u64::from(event.time_ns < self.last_ns[index]);
        self.last_ns[index] = event.time_ns;
        let gap = self.lost.iter().position(|(cpu, _)| *cpu == event.cpu);
        let Some(gap) = gap else { return event };
        let (cpu, count) = self.lost.swap_remove(gap);
        let lost = Event::lost(event.time_ns, cpu, count);
        self.held = Some(event);
        lost
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
        }
        Ok(true)
    }

    fn skip_to_line_end(&mut self) -> Result<(), Error> {
        loop {
            let buffer = self.file.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    self.file.consume(at + 1);
                    return Ok(());
                }
                None => {
                    let all = buffer.len();
                    self.file.consume(all);
                }
            }
        }
    }
}
