//! Commands that look at traces: opening them, reading them on, what they have in common.

mod convert;
mod cpudist;
mod latency;
mod map;
mod runqlat;
mod runqslower;
mod summary;
mod timehist;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use slicewise_analysis::{Naming, Rules, Threads, play_simulated};
use slicewise_ftrace::{Event, Findings, Reader, TraceFile, TraceFormat};
use slicewise_sched::{CPUS_MAX, CpuId, CpuSet};
use slicewise_trace::RecordingReader;

pub(crate) use self::convert::convert;
pub(crate) use self::cpudist::cpudist;
pub(crate) use self::latency::latency;
pub(crate) use self::map::map;
pub(crate) use self::runqlat::runqlat;
pub(crate) use self::runqslower::runqslower;
pub(crate) use self::summary::summary;
pub(crate) use self::timehist::timehist;
use crate::args::TraceArgs;
use crate::failure::{Failure, printable};

/// How traces of the simulated machine begin.
const SIMULATED_MAGIC: &[u8] = slicewise_trace::recording::MAGIC;
/// Reading that takes no longer than this shows no progress.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);
/// Events between looks at the clock.
const EVENTS_A_LOOK: u64 = 1 << 16;
/// Events that are handed from the thread that reads to the one that looks, and how many such heaps may wait.
const BATCH_EVENTS: usize = 2048;
const BATCHES: usize = 4;
/// Bytes that are written at once.
const OUT_BYTES: usize = 1 << 16;

/// A trace that was opened.
pub(crate) struct Trace {
    name: String,
    bytes: Option<u64>,
    rules: Rules,
    /// Lines are printed while it is read: on a terminal that is progress enough.
    prints_lines: bool,
    source: Source,
}

enum Source {
    Kernel(Box<Reader<TraceFile>>),
    Simulated(RecordingReader<TraceFile>),
}

impl Trace {
    /// Opens a trace.
    pub(crate) fn open(args: &TraceArgs) -> Result<Self, Failure> {
        Ok(Self { rules: rules(args), ..Self::open_as(&args.trace)? })
    }

    /// A trace by our own rules.
    fn open_as(path: &Path) -> Result<Self, Failure> {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { "standard input".into() } else { path.display().to_string() };
        let file = if is_stdin { stdin() } else { TraceFile::open(path) };
        let file = file.map_err(|error| Failure::plain(format!("cannot read {name}: {error}")))?;
        let bytes = file.bytes();
        let source = if file.begin().starts_with(SIMULATED_MAGIC) {
            let reader = RecordingReader::new(file)
                .map_err(|error| Failure::plain(format!("{name}: {error}")))?;
            Source::Simulated(reader)
        } else {
            let reader = Reader::new(file).map_err(|error| of_trace(&name, &error))?;
            Source::Kernel(Box::new(reader))
        };
        Ok(Self { name, bytes, rules: Rules::All, prints_lines: false, source })
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The release of the kernel that was recorded, if the trace says so.
    pub(crate) fn release(&self) -> Option<String> {
        let Source::Kernel(reader) = &self.source else { return None };
        let uname = reader.info().uname.as_deref()?;
        let is_release = |word: &&str| {
            let mut parts = word.split('.');
            let number = |part: Option<&str>| {
                part.is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()))
            };
            number(parts.next()) && number(parts.next())
        };
        uname.split_whitespace().find(is_release).map(str::to_owned)
    }

    /// How many CPUs were online, if the trace says so.
    pub(crate) fn online_cpus(&self) -> Option<u32> {
        match &self.source {
            Source::Kernel(reader) => reader.info().online_cpus,
            Source::Simulated(_) => None,
        }
    }

    fn printing_lines(self) -> Self {
        Self { prints_lines: true, ..self }
    }

    /// Hands every event to `each`, with who is who by then, and says what the trace lacks.
    pub(crate) fn each(
        self,
        each: impl FnMut(&mut Threads, &Event) -> io::Result<()>,
    ) -> Result<Threads, Failure> {
        self.each_to("standard output", each)
    }

    /// The same where `each` writes to something else.
    fn each_to(
        self,
        output: &str,
        mut each: impl FnMut(&mut Threads, &Event) -> io::Result<()>,
    ) -> Result<Threads, Failure> {
        let written = |error| Failure::Output(error, output.to_owned());
        match self.source {
            Source::Simulated(reader) => {
                let mut threads = Threads::new(Naming::Events);
                let mut broken = Ok(());
                let played = play_simulated(reader, |event| {
                    threads.event(event);
                    if broken.is_ok() {
                        broken = each(&mut threads, event);
                    }
                });
                broken.map_err(written)?;
                played.map_err(|error| Failure::plain(format!("{}: {error}", self.name)))?;
                Ok(threads)
            }
            Source::Kernel(mut reader) => {
                let naming = match (reader.info().format, self.rules) {
                    (TraceFormat::PerfData { .. }, Rules::Perf6_1) => Naming::RecordsOnly,
                    (TraceFormat::PerfData { .. }, Rules::All) => Naming::Records,
                    _ => Naming::Events,
                };
                let mut threads = Threads::new(naming);
                let mut progress = Progress::new(self.bytes, self.prints_lines);
                if self.bytes.is_some() {
                    let mut take = |event: &Event| {
                        threads.event(event);
                        each(&mut threads, event).map_err(written)
                    };
                    let reader = read_ahead(*reader, &self.name, &mut progress, &mut take)?;
                    progress.finish();
                    remark(&self.name, reader.findings());
                    return Ok(threads);
                }
                // What comes through a pipe is told of when it comes.
                let next = |reader: &mut Reader<TraceFile>| {
                    reader.next_event().map_err(|error| of_trace(&self.name, &error))
                };
                while let Some(event) = next(&mut reader)? {
                    threads.event(&event);
                    each(&mut threads, &event).map_err(written)?;
                    progress.event(|| reader.position());
                }
                progress.finish();
                remark(&self.name, reader.findings());
                Ok(threads)
            }
        }
    }
}

/// Hands every event to `take` while another thread reads on, and gives the reader back at its end.
fn read_ahead(
    mut reader: Reader<TraceFile>,
    name: &str,
    progress: &mut Progress,
    take: &mut dyn FnMut(&Event) -> Result<(), Failure>,
) -> Result<Reader<TraceFile>, Failure> {
    let (full, batches) = mpsc::sync_channel::<(Vec<Event>, u64)>(BATCHES);
    // Batches that were looked at are filled again.
    let (empty, used) = mpsc::channel::<Vec<Event>>();
    let (reader, read) = std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            loop {
                let mut events = used.try_recv().unwrap_or_default();
                let end = loop {
                    match reader.next_event() {
                        Ok(Some(event)) => events.push(event),
                        Ok(None) => break Some(Ok(())),
                        Err(error) => break Some(Err(error)),
                    }
                    if events.len() >= BATCH_EVENTS {
                        break None;
                    }
                };
                // Nobody takes them any more if that has failed.
                let is_taken = full.send((events, reader.position())).is_ok();
                match end {
                    Some(end) => return (reader, end),
                    None if !is_taken => return (reader, Ok(())),
                    None => {}
                }
            }
        });
        for (mut events, position) in batches {
            for event in &events {
                take(event)?;
                progress.event(|| position);
            }
            events.clear();
            // The reader may be at its end.
            let _ = empty.send(events);
        }
        let gone = |_| Failure::plain(format!("{name}: the thread that reads it has died"));
        reading.join().map_err(gone)
    })?;
    read.map_err(|error| of_trace(name, &error))?;
    Ok(reader)
}

/// Standard input; a file, if it is one.
fn stdin() -> io::Result<TraceFile> {
    TraceFile::of(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn of_trace(name: &str, error: &slicewise_ftrace::Error) -> Failure {
    let message = format!("{name}: {error}");
    match error.help() {
        Some(help) => Failure::with_help(message, help),
        None => Failure::plain(message),
    }
}

/// Says what a trace lacks, or has that was not understood.
fn remark(name: &str, findings: &Findings) {
    let mut lines: Vec<String> = Vec::new();
    let mut count = |number: u64, what: &str| {
        if number > 0 {
            lines.push(format!("{number} {what}"));
        }
    };
    count(findings.lost_events, "events were lost while it was recorded");
    count(
        findings.overwritten_events,
        "events were overwritten before it was read: it begins late",
    );
    count(findings.backwards, "events come later than others that happened after them");
    count(findings.malformed, "records make no sense and were passed over");
    count(findings.unknown_formats, "records are of events that are not described in the file");
    if findings.lost_places > 0 && findings.lost_events == 0 {
        count(findings.lost_places, "gaps, of events whose number is not known");
    }
    count(findings.other_instances, "other instances are in the file; only the main one is read");
    for (event, number) in &findings.unexpected_layouts {
        count(*number, &format!("events `{event}` have other fields than expected"));
    }
    if findings.truncated {
        lines.push("the file ends before the trace does".to_owned());
    }
    if let Some(first) = &findings.first_malformed {
        lines.push(format!("the first that makes no sense: {first}"));
    }
    let text: String =
        lines.iter().map(|line| format!("note: {name}: {}\n", printable(line))).collect();
    if !text.is_empty() {
        Failure::Shown(text).report();
    }
}

/// Bytes and events, for readings that take their time.
struct Progress {
    /// A pipe does not say how many there will be.
    bytes: Option<u64>,
    events: u64,
    begun: Instant,
    bar: Option<ProgressBar>,
    prints_lines: bool,
}

impl Progress {
    fn new(bytes: Option<u64>, prints_lines: bool) -> Self {
        Self { bytes, events: 0, begun: Instant::now(), bar: None, prints_lines }
    }

    #[inline]
    fn event(&mut self, position: impl Fn() -> u64) {
        self.events += 1;
        if self.events.is_multiple_of(EVENTS_A_LOOK) {
            self.look(position());
        }
    }

    fn look(&mut self, position: u64) {
        if self.bar.is_none() {
            let lines = self.prints_lines && io::stdout().is_terminal();
            if lines || !io::stderr().is_terminal() || self.begun.elapsed() < PROGRESS_AFTER {
                return;
            }
            let style = ProgressStyle::with_template(match self.bytes {
                Some(_) => "{bar:40} {bytes} of {total_bytes}, {msg} events, {eta} left",
                None => "{bytes}, {msg} events",
            });
            let bar = ProgressBar::with_draw_target(self.bytes, ProgressDrawTarget::stderr());
            if let Ok(style) = style {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.set_message(self.events.to_string());
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn rules(args: &TraceArgs) -> Rules {
    match args.as_perf {
        Some(_) => Rules::Perf6_1,
        None => Rules::All,
    }
}

/// A list of CPUs, if there is one.
fn cpus(option: &str, text: Option<&str>) -> Result<Option<Vec<u32>>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let set = CpuSet::parse_list(text)
        .map_err(|message| Failure::plain(format!("{option} {text}: {message}")))?;
    Ok(Some((0..CPUS_MAX).filter(|cpu| set.contains(CpuId(*cpu))).collect()))
}

/// Whether events happen in a stretch, if there is one.
fn within(time: Option<&str>) -> Result<impl Fn(&Event) -> bool, Failure> {
    let (from_ns, to_ns) = match time {
        Some(text) => stretch(text)?,
        None => (None, None),
    };
    Ok(move |event: &Event| {
        from_ns.is_none_or(|from| event.time_ns >= from)
            && to_ns.is_none_or(|to| event.time_ns < to)
    })
}

/// `START,END` in seconds; either may be missing.
pub(crate) fn stretch(text: &str) -> Result<(Option<u64>, Option<u64>), Failure> {
    let one = |word: &str| -> Result<Option<u64>, Failure> {
        let word = word.trim();
        if word.is_empty() {
            return Ok(None);
        }
        let (whole, part) = word.split_once('.').unwrap_or((word, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let ns = || {
            let whole = whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
            let part = format!("{part:0<9}").parse::<u64>().ok()?;
            whole.checked_add(part)
        };
        let valid = digits(whole) && digits(part) && part.len() <= 9;
        let ns = valid.then(ns).flatten().ok_or_else(|| {
            let message = format!("--time {text}: `{word}` is no time");
            Failure::with_help(message, "write seconds of the trace's clock: 50945.95,50945.96")
        })?;
        Ok(Some(ns))
    };
    let (from, to) = text.split_once(',').unwrap_or((text, ""));
    let (from_ns, to_ns) = (one(from)?, one(to)?);
    if from_ns.zip(to_ns).is_some_and(|(from, to)| from > to) {
        return Err(Failure::plain(format!("--time {text}: it ends before it begins")));
    }
    Ok((from_ns, to_ns))
}
