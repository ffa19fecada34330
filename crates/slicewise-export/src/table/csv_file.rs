//! Comma-separated values (RFC 4180): a line of names, then a line for each row. What is not there is empty; fields
//! with commas, quotes or ends of lines are quoted.

use std::io::{self, Write};

use slicewise_analysis::Threads;
use slicewise_ftrace::Event;

use super::{Cell, Rows, Table};

/// Such a file in the making.
#[derive(Debug)]
pub(crate) struct Csv<W: Write> {
    out: csv::Writer<W>,
    rows: Rows,
    /// Of the field that is being put together.
    digits: Vec<u8>,
}

impl<W: Write> Csv<W> {
    pub(crate) fn new(table: Table, out: W) -> io::Result<Self> {
        let (mut out, rows) = (csv::Writer::from_writer(out), Rows::new(table));
        out.write_record(rows.columns().iter().map(|column| column.name))?;
        Ok(Self { out, rows, digits: Vec::new() })
    }

    pub(crate) fn event(&mut self, threads: &mut Threads, event: &Event) -> io::Result<()> {
        let Self { out, rows, digits } = self;
        rows.event(threads, event, |row| write_row(out, digits, row))
    }

    pub(crate) fn finish(mut self, threads: &Threads) -> io::Result<W> {
        let Self { out, rows, digits } = &mut self;
        rows.finish(threads, |row| write_row(out, digits, row))?;
        self.out.into_inner().map_err(|error| error.into_error())
    }
}

fn write_row<W: Write>(
    out: &mut csv::Writer<W>,
    digits: &mut Vec<u8>,
    row: &[Cell<'_>],
) -> io::Result<()> {
    for cell in row {
        match cell {
            Cell::Null => out.write_field("")?,
            Cell::Number(number) => {
                digits.clear();
                write!(digits, "{number}")?;
                out.write_field(&*digits)?;
            }
            Cell::Text(text) => out.write_field(&**text)?,
        }
    }
    out.write_record(None::<&[u8]>).map_err(io::Error::from)
}
