//! Opening a trace, whichever format it has.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::dat::{Dat, MAGIC};
use crate::error::Error;
use crate::event::Event;
use crate::file::{BEGIN_BYTES, TraceFile};
use crate::findings::Findings;
use crate::perf_data::{self, PerfData};
use crate::perfetto::{self, Perfetto};
use crate::text::{self, Text};

/// Which format a trace has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceFormat {
    /// `trace.dat` of trace-cmd. Times are in nanoseconds.
    Dat {
        /// 6 or 7.
        version: u32,
    },
    /// `perf.data` of perf. Times are in nanoseconds.
    PerfData {
        /// Written through a pipe.
        is_pipe: bool,
    },
    /// The text of tracefs' `trace` and `trace_pipe`. Times are in microseconds.
    Text,
    /// The text of `perf script`. Times are in microseconds, or in nanoseconds with `--ns`.
    PerfScript,
    /// The text of `trace-cmd report`. Times are in microseconds, or in nanoseconds with `-t`.
    TraceCmdReport,
    /// Perfetto's protobuf. Times are in nanoseconds.
    Perfetto,
}

/// What a trace says about itself. Of a pipe and of Perfetto's traces, more is known once more was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceInfo {
    /// Its format.
    pub format: TraceFormat,
    /// The CPUs with data; empty for text and `perf.data`, which do not say.
    pub cpus: Vec<u32>,
    /// The recorded machine, as `uname` names it.
    pub uname: Option<String>,
    /// The clock of its times.
    pub clock: Option<String>,
    /// How many CPUs were online, if it says so.
    pub online_cpus: Option<u32>,
}

impl TraceInfo {
    /// Nothing but the format.
    pub(crate) fn new(format: TraceFormat) -> Self {
        Self { format, cpus: Vec::new(), uname: None, clock: None, online_cpus: None }
    }
}

#[derive(Debug)]
enum Source<R: Read> {
    Dat(Box<Dat<R>>),
    PerfData(Box<PerfData<R>>),
    Perfetto(Box<Perfetto<R>>),
    Text(Box<Text<R>>),
}

/// Events of a trace in the order of time.
#[derive(Debug)]
pub struct Reader<R: Read> {
    source: Source<R>,
    findings: Findings,
}

impl Reader<TraceFile> {
    /// Opens a file; it may be a pipe with a name.
    ///
    /// # Errors
    /// If it cannot be read, is damaged before its records, or is of a kind that is not read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::new(TraceFile::open(path)?)
    }
}

/// What the first bytes say.
enum Kind {
    Dat,
    PerfData,
    Perfetto,
    Text(TraceFormat),
}

/// Which format it is, by its content alone.
fn kind_of(begin: &[u8]) -> Result<Kind, Error> {
    if begin.is_empty() {
        return Err(no_trace("there is nothing in it"));
    }
    for (magic, what) in [(MAGIC, "beginning of trace.dat"), (PERF_MAGIC, "head")] {
        if begin.len() < magic.len() && magic.starts_with(begin) {
            let (what, size) = (what.to_owned(), magic.len() as u64);
            return Err(Error::Truncated { offset: 0, what, size, file_bytes: begin.len() as u64 });
        }
    }
    if begin.starts_with(MAGIC) {
        return Ok(Kind::Dat);
    }
    if perf_data::is_magic(begin) {
        return Ok(Kind::PerfData);
    }
    let is_control = |byte: &u8| *byte < b' ' && !b"\t\n\r\x0c\x1b".contains(byte);
    let is_binary = begin.iter().any(is_control);
    if is_binary && perfetto::is_perfetto(begin) {
        return Ok(Kind::Perfetto);
    }
    if let Some(format) = text::format_of(begin) {
        return Ok(Kind::Text(format));
    }
    let first = begin.trim_ascii_start().first();
    match begin {
        [0x1f, 0x8b, ..] => Err(no_trace("it is compressed: unpack it with gunzip")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(no_trace("it is compressed: unpack it with unzstd")),
        [b'P', b'K', 3, 4, ..] => Err(no_trace("it is compressed: unpack it with unzip")),
        _ if is_binary => Err(no_trace("it begins as none of these")),
        _ if matches!(first, Some(b'{' | b'[')) => {
            Err(no_trace("it is JSON, which is for viewers"))
        }
        // Whatever leads up to the first event, which may be longer than this.
        _ => Ok(Kind::Text(TraceFormat::Text)),
    }
}

/// The first bytes of `perf.data`, if it is from a machine like this.
const PERF_MAGIC: &[u8] = b"PERFILE2";

/// Whether a file that begins so has to be read here and there.
pub(crate) fn needs_seeking(begin: &[u8]) -> bool {
    match kind_of(begin) {
        Ok(Kind::Dat) => true,
        Ok(Kind::PerfData) => perf_data::Header::of_pipe(begin).is_none(),
        _ => false,
    }
}

/// That it is no trace, and which are read.
pub(crate) fn no_trace(why: &str) -> Error {
    Error::unsupported(format!(
        "no trace that is read here: {why}; perf.data, trace.dat, the text of tracefs, of `perf script` and of \
         `trace-cmd report`, and Perfetto's protobuf are read"
    ))
}

impl<R: Read + Seek> Reader<R> {
    /// Reads from anything that can be sought in.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn new(mut file: R) -> Result<Self, Error> {
        let mut begin = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        (&mut file).take(BEGIN_BYTES as u64).read_to_end(&mut begin)?;
        file.seek(SeekFrom::Start(0))?;
        let mut findings = Findings::default();
        let source = match kind_of(&begin)? {
            Kind::Dat => Source::Dat(Box::new(Dat::new(file, &mut findings)?)),
            Kind::PerfData => {
                let header = perf_data::Header::of_file(&mut file)?;
                Source::PerfData(Box::new(PerfData::new(header, file, &mut findings)?))
            }
            Kind::Perfetto => Source::Perfetto(Box::new(Perfetto::new(file))),
            Kind::Text(format) => Source::Text(Box::new(Text::new(file, format))),
        };
        Ok(Self { source, findings })
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read on. Damage that can be passed over is only counted.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        let event = match &mut self.source {
            Source::Dat(dat) => dat.next_event(&mut self.findings)?,
            Source::PerfData(perf) => perf.next_event(&mut self.findings)?,
            Source::Perfetto(perfetto) => perfetto.next_event(&mut self.findings)?,
            Source::Text(text) => text.next_event(&mut self.findings)?,
        };
        self.findings.events += u64::from(event.is_some());
        Ok(event)
    }

    /// Bytes of the file that were read so far: how far it is.
    pub fn position(&self) -> u64 {
        match &self.source {
            Source::Dat(dat) => dat.position(),
            Source::PerfData(perf) => perf.position(),
            Source::Perfetto(perfetto) => perfetto.position(),
            Source::Text(text) => text.position(),
        }
    }

    /// What was found wrong so far.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// What the trace says about itself.
    pub fn info(&self) -> &TraceInfo {
        match &self.source {
            Source::Dat(dat) => dat.info(),
            Source::PerfData(perf) => perf.info(),
            Source::Perfetto(perfetto) => perfetto.info(),
            Source::Text(text) => text.info(),
        }
    }
}
