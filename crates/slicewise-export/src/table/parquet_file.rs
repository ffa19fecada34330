//! Apache Parquet: columns compressed with zstd, in groups of so many rows that one fits memory easily.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use slicewise_analysis::Threads;
use slicewise_ftrace::Event;

use super::{Cell, Column, Holds, Rows, Table};

/// Rows of a group: some 20 MB at most while it is put together.
const ROWS_A_GROUP: usize = 1 << 16;

/// The values of a column, and for each row whether it has one.
#[derive(Debug)]
enum Values {
    Numbers(Vec<i64>),
    Texts(Vec<ByteArray>),
}

/// Such a file in the making.
#[derive(Debug)]
pub(crate) struct Parquet<W: Write + Send> {
    out: SerializedFileWriter<W>,
    rows: Rows,
    group: Group,
}

#[derive(Debug, Default)]
struct Group {
    columns: Vec<(Values, Vec<i16>)>,
    rows: usize,
}

impl Group {
    fn new(columns: &[Column]) -> Self {
        let values = |column: &Column| match column.holds {
            Holds::Number => Values::Numbers(Vec::new()),
            Holds::Text => Values::Texts(Vec::new()),
        };
        let columns = columns.iter().map(|column| (values(column), Vec::new())).collect();
        Self { columns, rows: 0 }
    }

    fn push(&mut self, row: &[Cell<'_>]) {
        for ((values, levels), cell) in self.columns.iter_mut().zip(row) {
            let there = match (values, cell) {
                (Values::Numbers(numbers), Cell::Number(number)) => {
                    numbers.push(*number);
                    true
                }
                (Values::Texts(texts), Cell::Text(text)) => {
                    texts.push(ByteArray::from(&**text));
                    true
                }
                _ => false,
            };
            levels.push(i16::from(there));
        }
        self.rows += 1;
    }

    fn clear(&mut self) {
        for (values, levels) in &mut self.columns {
            match values {
                Values::Numbers(numbers) => numbers.clear(),
                Values::Texts(texts) => texts.clear(),
            }
            levels.clear();
        }
        self.rows = 0;
    }
}

impl<W: Write + Send> Parquet<W> {
    pub(crate) fn new(table: Table, out: W) -> io::Result<Self> {
        let rows = Rows::new(table);
        let columns = rows.columns();
        let schema = schema(columns).map_err(failed)?;
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_created_by(format!("slicewise {}", env!("CARGO_PKG_VERSION")))
            .build();
        let out = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))
            .map_err(failed)?;
        Ok(Self { out, rows, group: Group::new(columns) })
    }

    pub(crate) fn event(&mut self, threads: &mut Threads, event: &Event) -> io::Result<()> {
        let Self { out, rows, group } = self;
        rows.event(threads, event, |row| take(out, group, row))
    }

    pub(crate) fn finish(mut self, threads: &Threads) -> io::Result<W> {
        let Self { out, rows, group } = &mut self;
        rows.finish(threads, |row| take(out, group, row))?;
        write_group(out, group)?;
        self.out.into_inner().map_err(failed)
    }
}

fn schema(columns: &[Column]) -> Result<Type, ParquetError> {
    let field = |column: &Column| {
        let (physical, logical) = match column.holds {
            Holds::Number => (Physical::INT64, None),
            Holds::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        Type::primitive_type_builder(column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("trace").with_fields(fields).build()
}

fn take<W: Write + Send>(
    out: &mut SerializedFileWriter<W>,
    group: &mut Group,
    row: &[Cell<'_>],
) -> io::Result<()> {
    group.push(row);
    if group.rows >= ROWS_A_GROUP { write_group(out, group) } else { Ok(()) }
}

fn write_group<W: Write + Send>(
    out: &mut SerializedFileWriter<W>,
    group: &mut Group,
) -> io::Result<()> {
    if group.rows == 0 {
        return Ok(());
    }
    let mut write = || -> Result<(), ParquetError> {
        let mut rows = out.next_row_group()?;
        for (values, levels) in &group.columns {
            let Some(mut column) = rows.next_column()? else { break };
            match values {
                Values::Numbers(numbers) => {
                    column.typed::<Int64Type>().write_batch(numbers, Some(levels), None)?;
                }
                Values::Texts(texts) => {
                    column.typed::<ByteArrayType>().write_batch(texts, Some(levels), None)?;
                }
            }
            column.close()?;
        }
        rows.close()?;
        Ok(())
    };
    write().map_err(failed)?;
    group.clear();
    Ok(())
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}
