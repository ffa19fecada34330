//! What went wrong, and how it is shown: file, line, column, the offending text, a fix.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use slicewise_machine::{Origin, RunError, SetupError};
use slicewise_sched::deadline::Refusal;
use slicewise_workload::{Diagnostic, Located, Severity, Sources, line_col};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Problems in an input, with the places.
    Input {
        /// The input's name.
        name: String,
        /// Its text, and those of the files it names.
        sources: Sources,
        /// What is wrong.
        diagnostics: Vec<Diagnostic>,
    },
    /// Problems in inputs, shown with their places already.
    Shown(String),
    /// Anything that has no place in an input.
    Plain {
        /// What went wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// Standard output or a file could not be written.
    Output(std::io::Error, String),
}

impl Failure {
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self::Plain { message: printable(&message.into()), help: None }
    }

    pub(crate) fn with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Plain { message: printable(&message.into()), help: Some(help.into()) }
    }

    /// Whoever reads our output has had enough: no failure.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error, _) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// What went wrong first, in a line.
    pub(crate) fn brief(&self) -> String {
        let text = match self {
            Self::Input { diagnostics, .. } => {
                let errors = |it: &&Diagnostic| it.severity == Severity::Error;
                diagnostics.iter().find(errors).map_or(String::new(), |it| it.message.clone())
            }
            Self::Shown(text) => text.lines().next().unwrap_or_default().to_owned(),
            Self::Plain { message, .. } => message.clone(),
            Self::Output(error, name) => format!("{name}: {error}"),
        };
        printable(&text).replace('\n', " ")
    }

    /// Prints it to standard error.
    pub(crate) fn report(&self) {
        let text = match self {
            Self::Input { name, sources, diagnostics } => render(name, sources, diagnostics),
            Self::Shown(text) => text.clone(),
            Self::Plain { message, help } => {
                let mut text = format!("error: {message}\n");
                if let Some(help) = help {
                    let _ = writeln!(text, "help: {help}");
                }
                text
            }
            Self::Output(error, name) => {
                format!("error: cannot write {}: {error}\n", printable(name))
            }
        };
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// The text without control characters, which could play tricks on a terminal.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// Shows diagnostics with the lines they are about. Colour only where someone looks.
pub(crate) fn render(name: &str, sources: &Sources, diagnostics: &[Diagnostic]) -> String {
    let renderer =
        if crate::output::stderr_style().color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let message = diagnostic.message.as_str();
        let Located { name: included, text: source, span } = sources.find(diagnostic.span.clone());
        let name = &text_name(name, included);
        if !shows_well(source, &span) {
            let place = line_col(source, span.start);
            let word = match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let _ = writeln!(text, "{word}: {message}");
            let _ = writeln!(text, "  --> {name}:{}:{}", place.line, place.column);
            if let Some(help) = &diagnostic.help {
                let _ = writeln!(text, "  = help: {help}");
            }
            text.push('\n');
            continue;
        }
        let snippet =
            Snippet::source(source).path(name).annotation(AnnotationKind::Primary.span(span));
        let mut group: Group<'_> = level.primary_title(message).element(snippet);
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let _ = writeln!(text, "{}\n", renderer.render(&[group]));
    }
    text
}

/// What messages call a text: the input's name, or that of a file it names, seen from where the
/// input is.
fn text_name(input: &str, included: Option<&str>) -> String {
    printable(&match included {
        Some(included) => Path::new(input).with_file_name(included).display().to_string(),
        None => input.to_owned(),
    })
}

/// A place as messages show it: `web.toml:3:1`.
pub(crate) fn shown_place(input: &str, sources: &Sources, offset: usize) -> String {
    let Located { name, text, span } = sources.find(offset..offset);
    let place = line_col(text, span.start);
    format!("{}:{}:{}", text_name(input, name), place.line, place.column)
}

/// Whether the lines around the place are fit to be printed: not endless ones.
fn shows_well(source: &str, span: &std::ops::Range<usize>) -> bool {
    const LINE_BYTES_MAX: usize = 400;
    const SPAN_BYTES_MAX: usize = 2_000;
    if source.is_empty() || span.len() > SPAN_BYTES_MAX {
        return false;
    }
    let start = source[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = source[span.end..].find('\n').map_or(source.len(), |at| span.end + at);
    source[start..end].lines().all(|line| line.len() <= LINE_BYTES_MAX)
}

/// A run that could not go on, at the places of the tasks it is about.
pub(crate) fn run_error(error: &RunError, name: &str, sources: &Sources) -> Failure {
    let at = |origin: Origin, message: String, help: &str| Diagnostic {
        severity: Severity::Error,
        message,
        span: origin.start..origin.end,
        help: (!help.is_empty()).then(|| help.to_owned()),
    };
    let diagnostics = match error {
        RunError::NoProgress { origin, .. } => {
            vec![at(*origin, error.to_string(), "let its loop run or sleep for some time")]
        }
        RunError::Deadlock { cycle, .. } => {
            let help = "take the mutexes in the same order everywhere";
            cycle.iter().take(1).map(|w| at(w.origin, error.to_string(), help)).collect()
        }
        RunError::Stuck { waiting, .. } => {
            let help = "let another task signal, resume or unlock it, or let it sleep instead";
            waiting.iter().take(1).map(|w| at(w.origin, error.to_string(), help)).collect()
        }
        RunError::Misuse { origin, .. } => vec![at(*origin, error.to_string(), "")],
        RunError::TooManyTasks { origin, .. } => {
            vec![at(*origin, error.to_string(), "let the forked tasks end, or fork less often")]
        }
        RunError::Refused { origin, refusal, .. } => {
            vec![at(*origin, error.to_string(), refusal_help(*refusal))]
        }
        RunError::RtRefused { origin, .. } => {
            let help = "give its group, and those it is in, `\"cpu.rt_runtime_us\"`";
            vec![at(*origin, error.to_string(), help)]
        }
        RunError::Scheduler { .. } => Vec::new(),
    };
    if diagnostics.is_empty() {
        return Failure::with_help(
            error.to_string(),
            "this is a defect of slicewise: please report it",
        );
    }
    Failure::Input { name: name.to_owned(), sources: sources.clone(), diagnostics }
}

fn refusal_help(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Busy => {
            "`rt check` shows who reserves what; `sched_rt_runtime_us = -1` switches admission off"
        }
        Refusal::Affinity | Refusal::Shrunk => {
            "remove its `cpus`, or set `sched_rt_runtime_us = -1`: then it is not checked"
        }
        Refusal::Fork => "add `reset_on_fork = true` to the task that forks",
        Refusal::Invalid(_) => "allowed: 1024 ns <= runtime <= deadline <= period",
    }
}

/// A machine that could not be built.
pub(crate) fn setup_error(error: &SetupError, name: &str, sources: &Sources) -> Failure {
    match error {
        SetupError::Task { origin, .. } => Failure::Input {
            name: name.to_owned(),
            sources: sources.clone(),
            diagnostics: vec![Diagnostic {
                severity: Severity::Error,
                message: error.to_string(),
                span: origin.start..origin.end,
                help: None,
            }],
        },
        _ => Failure::plain(format!("{name}: {error}")),
    }
}
