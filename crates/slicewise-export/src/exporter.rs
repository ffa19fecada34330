//! One writer, whichever the format.

use std::io::{self, Write};

use slicewise_analysis::Threads;
use slicewise_ftrace::Event;

use crate::chrome::Chrome;
use crate::ftrace::Ftrace;
use crate::perfetto::Perfetto;
use crate::table::{Csv, Table};

/// What a trace is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Perfetto's protobuf, with the events as those of ftrace.
    Perfetto,
    /// The JSON of the Trace Event Format.
    Chrome,
    /// Comma-separated values with a line of names (RFC 4180).
    Csv(Table),
    /// Apache Parquet, compressed with zstd.
    #[cfg(feature = "parquet")]
    Parquet(Table),
    /// The text of tracefs' `trace` file. Times are in microseconds, rounded.
    Ftrace,
}

#[derive(Debug)]
enum Inner<W: Write + Send> {
    Perfetto(Perfetto<W>),
    Chrome(Chrome<W>),
    Csv(Box<Csv<W>>),
    #[cfg(feature = "parquet")]
    Parquet(Box<crate::table::Parquet<W>>),
    Ftrace(Ftrace<W>),
}

/// Writes a trace.
#[derive(Debug)]
pub struct Exporter<W: Write + Send>(Inner<W>);

impl<W: Write + Send> Exporter<W> {
    /// Writes the beginning. All formats write in small pieces: `out` should have a buffer.
    ///
    /// # Errors
    /// If `out` cannot be written to.
    pub fn new(format: Format, out: W) -> io::Result<Self> {
        Ok(Self(match format {
            Format::Perfetto => Inner::Perfetto(Perfetto::new(out)),
            Format::Chrome => Inner::Chrome(Chrome::new(out)?),
            Format::Csv(table) => Inner::Csv(Box::new(Csv::new(table, out)?)),
            #[cfg(feature = "parquet")]
            Format::Parquet(table) => {
                Inner::Parquet(Box::new(crate::table::Parquet::new(table, out)?))
            }
            Format::Ftrace => Inner::Ftrace(Ftrace::new(out)?),
        }))
    }

    /// Takes in an event; `threads` must have seen it.
    ///
    /// # Errors
    /// If the output cannot be written to.
    #[inline]
    pub fn event(&mut self, threads: &mut Threads, event: &Event) -> io::Result<()> {
        match &mut self.0 {
            Inner::Perfetto(perfetto) => perfetto.event(threads, event),
            Inner::Chrome(chrome) => chrome.event(threads, event),
            Inner::Csv(csv) => csv.event(threads, event),
            #[cfg(feature = "parquet")]
            Inner::Parquet(parquet) => parquet.event(threads, event),
            Inner::Ftrace(ftrace) => ftrace.event(event),
        }
    }

    /// Closes what is open, writes the end, and gives the output back.
    ///
    /// # Errors
    /// If the output cannot be written to.
    pub fn finish(self, threads: &Threads) -> io::Result<W> {
        let mut out = match self.0 {
            Inner::Perfetto(perfetto) => perfetto.finish()?,
            Inner::Chrome(chrome) => chrome.finish(threads)?,
            Inner::Csv(csv) => csv.finish(threads)?,
            #[cfg(feature = "parquet")]
            Inner::Parquet(parquet) => parquet.finish(threads)?,
            Inner::Ftrace(ftrace) => ftrace.finish(),
        };
        out.flush()?;
        Ok(out)
    }
}
