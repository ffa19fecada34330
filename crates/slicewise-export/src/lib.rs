//! Writes scheduler traces for other tools.
//!
//! An [`Exporter`] takes in the events of `slicewise-ftrace` one by one, in the order of time, and writes while
//! they come. It keeps what is open: memory depends on the numbers of CPUs and of tasks, not on the length of
//! the trace.
//!
//! | [`Format`] | what it is for |
//! |---|---|
//! | [`Format::Perfetto`] | <https://ui.perfetto.dev>, with the viewer's own scheduling tracks |
//! | [`Format::Chrome`] | viewers of the Trace Event Format: `chrome://tracing`, Speedscope, Perfetto |
//! | [`Format::Csv`] | spreadsheets, scripts; a [`Table`] |
//! | `Format::Parquet` | data frames, DuckDB; a [`Table`]; only with the feature `parquet` |
//! | [`Format::Ftrace`] | whatever reads tracefs' `trace` file |
//!
//! ```
//! use slicewise_analysis::{Naming, Threads};
//! use slicewise_export::{Exporter, Format, Table};
//! use slicewise_ftrace::Reader;
//!
//! let text = b"  a-1 [000] d..2. 3.25: sched_wakeup: comm=b pid=2 prio=120 target_cpu=000\n";
//! let mut reader = Reader::new(std::io::Cursor::new(&text[..])).unwrap();
//! let mut threads = Threads::new(Naming::Events);
//! let mut exporter = Exporter::new(Format::Csv(Table::Events), Vec::new()).unwrap();
//! while let Some(event) = reader.next_event().unwrap() {
//!     threads.event(&event);
//!     exporter.event(&mut threads, &event).unwrap();
//! }
//! let csv = String::from_utf8(exporter.finish(&threads).unwrap()).unwrap();
//! assert!(csv.lines().nth(1).unwrap().starts_with("3250000000,0,sched_wakeup,"));
//! ```

mod chrome;
mod exporter;
mod ftrace;
mod names;
mod perfetto;
mod table;

pub use exporter::{Exporter, Format};
pub use table::Table;
