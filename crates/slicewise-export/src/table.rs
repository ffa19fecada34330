//! Tables: a row for each event, or for each run of a task.

mod csv_file;
mod events;
#[cfg(feature = "parquet")]
mod parquet_file;
mod runs;

use std::borrow::Cow;

use slicewise_analysis::Threads;
use slicewise_ftrace::Event;

pub(crate) use self::csv_file::Csv;
#[cfg(feature = "parquet")]
pub(crate) use self::parquet_file::Parquet;
use self::runs::Runs;

/// Which table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Table {
    /// A row for each event of the trace.
    #[default]
    Events,
    /// A row for each run of a task on a CPU, with the wait before it. The idle task has none.
    Runs,
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holds {
    /// Signed 64-bit numbers; what is beyond stays at the greatest.
    Number,
    Text,
}

/// A column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) holds: Holds,
}

const fn number(name: &'static str) -> Column {
    Column { name, holds: Holds::Number }
}

const fn text(name: &'static str) -> Column {
    Column { name, holds: Holds::Text }
}

/// A field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cell<'a> {
    /// The event has no such field, or the trace does not say.
    Null,
    Number(i64),
    Text(Cow<'a, str>),
}

impl From<i32> for Cell<'_> {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Cell<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Cell<'_> {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Cell<'_> {
    fn from(is: bool) -> Self {
        Self::Number(is.into())
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Makes rows of events.
#[derive(Debug)]
pub(crate) enum Rows {
    Events,
    Runs(Runs),
}

impl Rows {
    pub(crate) fn new(table: Table) -> Self {
        match table {
            Table::Events => Self::Events,
            Table::Runs => Self::Runs(Runs::default()),
        }
    }

    pub(crate) fn columns(&self) -> &'static [Column] {
        match self {
            Self::Events => &events::COLUMNS,
            Self::Runs(_) => &runs::COLUMNS,
        }
    }

    /// Hands the row that an event makes, if it makes one, to `take`.
    pub(crate) fn event<E>(
        &mut self,
        threads: &mut Threads,
        event: &Event,
        take: impl FnOnce(&[Cell<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Events => take(&events::row(threads, event)),
            Self::Runs(runs) => match runs.event(threads, event) {
                Some(run) => take(&run.row(threads)),
                None => Ok(()),
            },
        }
    }

    /// Hands what is open to `take`.
    pub(crate) fn finish<E>(
        &mut self,
        threads: &Threads,
        mut take: impl FnMut(&[Cell<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Events => Ok(()),
            Self::Runs(runs) => runs.open().iter().try_for_each(|run| take(&run.row(threads))),
        }
    }
}
