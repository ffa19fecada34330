//! `slicewise convert`.

use std::io::{self, BufWriter, Read, Write};

use slicewise_export::{Exporter, Format, Table};
use slicewise_trace::{RecordingError, RecordingReader};

use super::{OUT_BYTES, Source, Trace};
use crate::args::{ConvertArgs, ToFormat, ToTable};
use crate::failure::Failure;
use crate::output::WholeFile;
use crate::trace_file::{TraceFile, of_ending, parquet};

/// The endings there are.
const ENDINGS: &str = ".pftrace, .perfetto-trace, .json, .csv, .parquet, .txt, .ftrace, .swtrace";

/// `slicewise convert`.
pub(crate) fn convert(args: &ConvertArgs) -> Result<(), Failure> {
    let to = match (args.to, of_ending(&args.output)) {
        (Some(to), _) => to,
        (None, Some(to)) => to,
        (None, None) => {
            let message = format!("{}: its ending names no format", args.output.display());
            let help = format!("--to names one, or one of these endings: {ENDINGS}");
            return Err(Failure::with_help(message, help));
        }
    };
    let table = match (to, args.table) {
        (ToFormat::Csv | ToFormat::Parquet, Some(ToTable::Runs)) => Table::Runs,
        (ToFormat::Csv | ToFormat::Parquet, _) | (_, None) => Table::Events,
        (_, Some(_)) => {
            return Err(Failure::plain(
                "--table is for CSV and Parquet: other formats are no tables",
            ));
        }
    };
    let trace = Trace::open_as(&args.input)?;
    let trace = match (to, trace) {
        (
            ToFormat::Perfetto | ToFormat::Swtrace,
            Trace { source: Source::Simulated(reader), name, .. },
        ) => return own(reader, &name, args, to),
        (_, trace) => trace,
    };
    let format = match to {
        ToFormat::Swtrace => {
            let message = format!(
                "{}: .swtrace is for what the simulated machine did, not for kernels' traces",
                args.input.display()
            );
            return Err(Failure::plain(message));
        }
        ToFormat::Perfetto | ToFormat::PerfettoFtrace => Format::Perfetto,
        ToFormat::Chrome => Format::Chrome,
        ToFormat::Csv => Format::Csv(table),
        ToFormat::Parquet => parquet(table)?,
        ToFormat::Ftrace => Format::Ftrace,
    };
    if args.output.as_os_str() == "-" {
        if !is_text(format) {
            let help = "name a file, or a text format: --to csv, chrome or ftrace";
            return Err(Failure::with_help("this format is no text for `-`", help));
        }
        export(trace.printing_lines(), format, io::stdout(), "standard output")?;
        return Ok(());
    }
    let (whole, file) = WholeFile::create(&args.output, &args.input)?;
    let file = export(trace, format, file, &args.output.display().to_string())?;
    whole.commit(&file)
}

fn is_text(format: Format) -> bool {
    matches!(format, Format::Chrome | Format::Csv(_) | Format::Ftrace)
}

/// Writes all events.
fn export<W: Write + Send>(trace: Trace, format: Format, out: W, name: &str) -> Result<W, Failure> {
    let failed = |error| Failure::Output(error, name.to_owned());
    let input = trace.name.clone();
    let out = BufWriter::with_capacity(OUT_BYTES, out);
    let mut exporter = Exporter::new(format, out).map_err(failed)?;
    let mut events = 0_u64;
    let threads = trace.each_to(name, |threads, event| {
        events += 1;
        exporter.event(threads, event)
    })?;
    if events == 0 {
        let help = "`slicewise convert --help` says which traces are read";
        return Err(Failure::with_help(format!("{input}: there are no events in it"), help));
    }
    let out = exporter.finish(&threads).map_err(failed)?;
    out.into_inner().map_err(|error| failed(error.into_error()))
}

/// A trace of our own with all that is in it.
fn own<R: Read>(
    mut reader: RecordingReader<R>,
    name: &str,
    args: &ConvertArgs,
    to: ToFormat,
) -> Result<(), Failure> {
    let unreadable = |error: RecordingError| {
        let help = "`slicewise run FILE --trace OUT.swtrace` writes traces to read";
        Failure::with_help(format!("{name}: {error}"), help)
    };
    let device_names = reader.device_names().map_err(unreadable)?.to_vec();
    let mut trace = TraceFile::create_as(to, &args.output, &args.input, device_names)?;
    reader.play(&mut trace).map_err(unreadable)?;
    trace.finish_writing()
}
