//! Trace files, in the format their name asks for.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use slicewise_analysis::{KernelView, Naming, Threads};
use slicewise_export::{Exporter, Format as ExportFormat, Table};
use slicewise_trace::{Event, GroupInfo, PerfettoWriter, RecordingWriter, Sink, TaskInfo};

use crate::args::ToFormat;
use crate::failure::Failure;
use crate::output::WholeFile;

/// Bytes that are written at once.
const OUT_BYTES: usize = 1 << 16;

/// The format a file's ending asks for.
pub(crate) fn of_ending(path: &Path) -> Option<ToFormat> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match ending.as_str() {
        "pftrace" | "perfetto-trace" => ToFormat::Perfetto,
        "json" => ToFormat::Chrome,
        "csv" => ToFormat::Csv,
        "parquet" => ToFormat::Parquet,
        "txt" | "ftrace" => ToFormat::Ftrace,
        "swtrace" => ToFormat::Swtrace,
        _ => return None,
    })
}

/// Parquet, where it was built in.
pub(crate) fn parquet(table: Table) -> Result<ExportFormat, Failure> {
    #[cfg(feature = "parquet")]
    return Ok(ExportFormat::Parquet(table));
    #[cfg(not(feature = "parquet"))]
    {
        let _ = table;
        Err(Failure::with_help(
            "this slicewise was built without Parquet, which takes long to build",
            "`cargo install --path crates/slicewise --features parquet`, or write .csv, which the \
             same tools read",
        ))
    }
}

/// A trace in the making: a file that is either whole in the end or not there.
pub(crate) struct TraceFile {
    whole: WholeFile,
    name: String,
    format: Format,
}

enum Format {
    Perfetto(Box<PerfettoWriter<File>>),
    Recording(Box<RecordingWriter<File>>),
    Export(Box<Export>),
}

/// What a kernel would have recorded, written while it happens.
struct Export {
    view: KernelView,
    threads: Threads,
    exporter: Exporter<BufWriter<File>>,
    error: Option<io::Error>,
}

impl Export {
    fn new(format: ExportFormat, file: File) -> io::Result<Self> {
        let exporter = Exporter::new(format, BufWriter::with_capacity(OUT_BYTES, file))?;
        let threads = Threads::new(Naming::Events);
        Ok(Self { view: KernelView::default(), threads, exporter, error: None })
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        let Self { view, threads, exporter, error } = self;
        view.task(now_ns, info, each(threads, exporter, error));
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        let Self { view, threads, exporter, error } = self;
        view.event(now_ns, event, each(threads, exporter, error));
    }

    fn finish_writing(self) -> io::Result<File> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let out = self.exporter.finish(&self.threads)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Writes an event, unless that has failed before.
fn each(
    threads: &mut Threads,
    exporter: &mut Exporter<BufWriter<File>>,
    error: &mut Option<io::Error>,
) -> impl FnMut(&slicewise_ftrace::Event) {
    move |event| {
        threads.event(event);
        if error.is_none() {
            *error = exporter.event(threads, event).err();
        }
    }
}

impl TraceFile {
    /// Begins a trace in the format of its ending, or for Perfetto; `input` is what must not be overwritten.
    pub(crate) fn create(
        path: &Path,
        input: &Path,
        device_names: Vec<String>,
    ) -> Result<Self, Failure> {
        let to = of_ending(path).unwrap_or(ToFormat::Perfetto);
        Self::create_as(to, path, input, device_names)
    }

    /// Begins a trace in a format.
    pub(crate) fn create_as(
        to: ToFormat,
        path: &Path,
        input: &Path,
        device_names: Vec<String>,
    ) -> Result<Self, Failure> {
        // Before there is a file.
        let export = match to {
            ToFormat::Perfetto | ToFormat::Swtrace => None,
            ToFormat::PerfettoFtrace => Some(ExportFormat::Perfetto),
            ToFormat::Chrome => Some(ExportFormat::Chrome),
            ToFormat::Csv => Some(ExportFormat::Csv(Table::Events)),
            ToFormat::Parquet => Some(parquet(Table::Events)?),
            ToFormat::Ftrace => Some(ExportFormat::Ftrace),
        };
        let (whole, file) = WholeFile::create(path, input)?;
        let name = path.display().to_string();
        let format = match export {
            Some(format) => {
                let export = Export::new(format, file)
                    .map_err(|error| Failure::Output(error, name.clone()))?;
                Format::Export(Box::new(export))
            }
            None if to == ToFormat::Swtrace => {
                Format::Recording(Box::new(RecordingWriter::new(file, &device_names)))
            }
            None => {
                let writer = PerfettoWriter::new(file).device_names(device_names);
                Format::Perfetto(Box::new(writer))
            }
        };
        Ok(Self { whole, name, format })
    }

    /// Writes what is left and gives the file its name.
    pub(crate) fn finish_writing(self) -> Result<(), Failure> {
        let written = match self.format {
            Format::Perfetto(writer) => writer.finish_writing(),
            Format::Recording(writer) => writer.finish_writing(),
            Format::Export(export) => export.finish_writing(),
        };
        let file = written.map_err(|error| Failure::Output(error, self.name))?;
        self.whole.commit(&file)
    }
}

impl Sink for TraceFile {
    fn group(&mut self, now_ns: u64, info: &GroupInfo) {
        match &mut self.format {
            Format::Perfetto(writer) => writer.group(now_ns, info),
            Format::Recording(writer) => writer.group(now_ns, info),
            Format::Export(export) => export.view.group(info),
        }
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        match &mut self.format {
            Format::Perfetto(writer) => writer.task(now_ns, info),
            Format::Recording(writer) => writer.task(now_ns, info),
            Format::Export(export) => export.task(now_ns, info),
        }
    }

    #[inline(always)]
    fn event(&mut self, now_ns: u64, event: &Event) {
        match &mut self.format {
            Format::Recording(writer) => writer.event(now_ns, event),
            Format::Perfetto(writer) => writer.event(now_ns, event),
            Format::Export(export) => export.event(now_ns, event),
        }
    }

    fn wants_values(&self) -> bool {
        match &self.format {
            Format::Perfetto(writer) => writer.wants_values(),
            Format::Recording(writer) => writer.wants_values(),
            Format::Export(_) => false,
        }
    }

    fn finish(&mut self, now_ns: u64) {
        match &mut self.format {
            Format::Perfetto(writer) => writer.finish(now_ns),
            Format::Recording(writer) => writer.finish(now_ns),
            Format::Export(_) => {}
        }
    }
}
