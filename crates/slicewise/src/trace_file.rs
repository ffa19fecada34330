//! Trace files, in the format their name asks for.

use std::fs::File;
use std::path::Path;

use slicewise_trace::{
    Event, GroupInfo, PerfettoWriter, RecordingError, RecordingReader, RecordingWriter, Sink,
    TaskInfo,
};

use crate::failure::Failure;
use crate::output::WholeFile;

/// The ending of Slicewise's own traces; any other is written for Perfetto.
const OWN_ENDING: &str = "swtrace";

/// A trace in the making: a file that is either whole in the end or not there.
pub(crate) struct TraceFile {
    whole: WholeFile,
    name: String,
    format: Format,
}

enum Format {
    Perfetto(Box<PerfettoWriter<File>>),
    Recording(Box<RecordingWriter<File>>),
}

impl TraceFile {
    /// Begins a trace; `input` is what must not be overwritten.
    pub(crate) fn create(
        path: &Path,
        input: &Path,
        device_names: Vec<String>,
    ) -> Result<Self, Failure> {
        let (whole, file) = WholeFile::create(path, input)?;
        let own = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(OWN_ENDING));
        let format = if own {
            Format::Recording(Box::new(RecordingWriter::new(file, &device_names)))
        } else {
            let writer = PerfettoWriter::new(file).device_names(device_names);
            Format::Perfetto(Box::new(writer))
        };
        Ok(Self { whole, name: path.display().to_string(), format })
    }

    /// Writes what is left and gives the file its name.
    pub(crate) fn finish_writing(self) -> Result<(), Failure> {
        let written = match self.format {
            Format::Perfetto(writer) => writer.finish_writing(),
            Format::Recording(writer) => writer.finish_writing(),
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
        }
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        match &mut self.format {
            Format::Perfetto(writer) => writer.task(now_ns, info),
            Format::Recording(writer) => writer.task(now_ns, info),
        }
    }

    #[inline(always)]
    fn event(&mut self, now_ns: u64, event: &Event) {
        match &mut self.format {
            Format::Recording(writer) => writer.event(now_ns, event),
            Format::Perfetto(writer) => writer.event(now_ns, event),
        }
    }

    fn wants_values(&self) -> bool {
        match &self.format {
            Format::Perfetto(writer) => writer.wants_values(),
            Format::Recording(writer) => writer.wants_values(),
        }
    }

    fn finish(&mut self, now_ns: u64) {
        match &mut self.format {
            Format::Perfetto(writer) => writer.finish(now_ns),
            Format::Recording(writer) => writer.finish(now_ns),
        }
    }
}

/// `slicewise convert`: a trace of our own in another format.
pub(crate) fn convert(input: &Path, output: &Path) -> Result<(), Failure> {
    let shown = input.display();
    let file = File::open(input)
        .map_err(|error| Failure::plain(format!("cannot read {shown}: {error}")))?;
    let unreadable = |error: RecordingError| {
        let help = format!("`slicewise run FILE --trace OUT.{OWN_ENDING}` writes traces to read");
        Failure::with_help(format!("{shown}: {error}"), help)
    };
    let mut reader = RecordingReader::new(file).map_err(unreadable)?;
    let device_names = reader.device_names().map_err(unreadable)?.to_vec();
    let mut trace = TraceFile::create(output, input, device_names)?;
    reader.play(&mut trace).map_err(unreadable)?;
    trace.finish_writing()
}
