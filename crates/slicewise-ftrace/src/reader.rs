//! Opening a trace, whichever format it has.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::dat::{Dat, MAGIC};
use crate::error::Error;
use crate::event::Event;
use crate::findings::Findings;
use crate::perf_data::{self, PerfData};
use crate::text::Text;

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
    /// The text of tracefs. Times are in microseconds.
    Text,
}

/// What a trace says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceInfo {
    /// Its format.
    pub format: TraceFormat,
    /// The CPUs with data; empty for text, which does not say.
    pub cpus: Vec<u32>,
    /// The recorded machine, as `uname` names it.
    pub uname: Option<String>,
    /// The clock of its times.
    pub clock: Option<String>,
    /// How many CPUs were online, if it says so.
    pub online_cpus: Option<u32>,
}

#[derive(Debug)]
enum Source<R: Read> {
    Dat(Box<Dat<R>>),
    PerfData(Box<PerfData<R>>),
    Text(Box<Text<R>>),
}

/// Events of a trace in the order of time.
#[derive(Debug)]
pub struct Reader<R: Read> {
    source: Source<R>,
    findings: Findings,
    info: TraceInfo,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read, is damaged before its records, or is of a kind that is not read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::new(BufReader::new(File::open(path)?))
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads from anything that can be sought in.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn new(mut file: R) -> Result<Self, Error> {
        let mut begin = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut begin)?;
        file.seek(SeekFrom::Start(0))?;
        let mut findings = Findings::default();
        if !begin.is_empty() && begin != MAGIC && MAGIC.starts_with(&begin) {
            return Err(Error::Truncated {
                offset: 0,
                what: "beginning of trace.dat".to_owned(),
                size: MAGIC.len() as u64,
                file_bytes: begin.len() as u64,
            });
        }
        let (source, info) = if begin == MAGIC {
            let dat = Dat::new(file, &mut findings)?;
            let info = dat.info().clone();
            (Source::Dat(Box::new(dat)), info)
        } else if perf_data::is_magic(&mut file)? {
            let header = perf_data::Header::of_file(&mut file)?;
            let perf = PerfData::new(header, file, &mut findings)?;
            let info = perf.info().clone();
            (Source::PerfData(Box::new(perf)), info)
        } else {
            let info = TraceInfo {
                format: TraceFormat::Text,
                cpus: Vec::new(),
                uname: None,
                clock: None,
                online_cpus: None,
            };
            (Source::Text(Box::new(Text::new(file))), info)
        };
        Ok(Self { source, findings, info })
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read on. Damage that can be passed over is only counted.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        let event = match &mut self.source {
            Source::Dat(dat) => dat.next_event(&mut self.findings)?,
            Source::PerfData(perf) => perf.next_event(&mut self.findings)?,
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
            Source::Text(text) => text.position(),
        }
    }

    /// What was found wrong so far.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// What the trace says about itself.
    pub fn info(&self) -> &TraceInfo {
        &self.info
    }
}
