//! What a trace is read from: a file, or whatever comes through a pipe.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::reader::needs_seeking;

/// So many bytes at the beginning tell which format it is.
pub(crate) const BEGIN_BYTES: usize = 1 << 16;

/// A trace to be read: a file, or a pipe.
///
/// Pipes are read as they come, in bounded memory. The two formats that have to be read here and there
/// (`trace.dat`, and `perf.data` that was not itself written through a pipe) are first copied to an unnamed
/// file in the directory for temporary files (`TMPDIR`).
pub struct TraceFile {
    begin: Vec<u8>,
    bytes: Option<u64>,
    source: Source,
}

enum Source {
    File(BufReader<File>),
    /// What was read of it to see what it is, and the rest.
    Stream {
        begin: Cursor<Vec<u8>>,
        rest: Box<dyn Read + Send>,
        /// There is no way back.
        is_beyond: bool,
    },
}

impl fmt::Debug for TraceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceFile").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl TraceFile {
    /// Opens a file; it may be a pipe with a name.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// An open file, from its beginning; or a pipe, from where it is.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(mut file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Self::of_stream(file);
        }
        file.seek(SeekFrom::Start(0))?;
        Self::of_file(file, metadata.len())
    }

    fn of_file(mut file: File, bytes: u64) -> io::Result<Self> {
        let begin = begin_of(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { begin, bytes: Some(bytes), source: Source::File(BufReader::new(file)) })
    }

    /// Anything that can be read once.
    ///
    /// # Errors
    /// If it cannot be read, or a copy is needed and cannot be written.
    pub fn of_stream(mut rest: impl Read + Send + 'static) -> io::Result<Self> {
        let begin = begin_of(&mut rest)?;
        if needs_seeking(&begin) {
            let mut copy = tempfile::tempfile()?;
            copy.write_all(&begin)?;
            let bytes = begin.len() as u64 + io::copy(&mut rest, &mut copy)?;
            copy.seek(SeekFrom::Start(0))?;
            return Self::of_file(copy, bytes);
        }
        let source = Source::Stream {
            begin: Cursor::new(begin.clone()),
            rest: Box::new(rest),
            is_beyond: false,
        };
        Ok(Self { begin, bytes: None, source })
    }

    /// How it begins: all of it, or some ten thousand bytes.
    pub fn begin(&self) -> &[u8] {
        &self.begin
    }

    /// How many bytes there are; a pipe does not say.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }
}

fn begin_of(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    file.take(BEGIN_BYTES as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

impl Read for TraceFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::File(file) => file.read(into),
            Source::Stream { begin, rest, is_beyond } => match begin.read(into)? {
                0 => {
                    let read = rest.read(into)?;
                    *is_beyond |= read > 0;
                    Ok(read)
                }
                read => Ok(read),
            },
        }
    }
}

/// Of a pipe, only what was read to see what it is can be sought in, and only before anything else is read.
impl Seek for TraceFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match (&mut self.source, to) {
            (Source::File(file), _) => file.seek(to),
            (Source::Stream { begin, is_beyond: false, .. }, SeekFrom::Start(at))
                if at <= begin.get_ref().len() as u64 =>
            {
                begin.seek(to)
            }
            _ => Err(io::Error::new(
                io::ErrorKind::NotSeekable,
                "it comes through a pipe, and what is behind can only be reached in a file",
            )),
        }
    }
}
