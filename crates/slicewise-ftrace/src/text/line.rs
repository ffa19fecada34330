//! One line.

use std::collections::HashMap;
use std::sync::Arc;

use super::CPUS_MAX;
use super::fields::{self, Plugin};
use super::head::{Dialect, Head};
use super::words::number;
use crate::event::{Cloned, Comm, Event, Gone, Kind, Named, Other, Value};

/// Names of events and fields that are kept, so that they are the same in all events.
const NAMES_MAX: usize = 4096;
/// Fields of an event of no interest; what is beyond is left out.
const FIELDS_MAX: usize = 64;

/// What a line is.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Line {
    /// A comment, a part of a call chain, or empty.
    Nothing,
    /// What such a text begins with, and nothing else.
    Begin(Option<Dialect>),
    /// `# entries-in-buffer/entries-written: 1650/1700   #P:1`: events that were overwritten.
    Head { lost: u64 },
    /// `CPU:0 [LOST 123 EVENTS]`, or without a number; or as trace-cmd has it.
    Lost { cpu: u32, count: Option<u64> },
    /// An event; with its name if it is known but has unexpected fields.
    Event { event: Event, unexpected: Option<String>, dialect: Dialect },
    /// None of these.
    Malformed,
}

/// What was learnt of the lines so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    plugin: Plugin,
    names: HashMap<Box<[u8]>, Arc<str>>,
    no_system: Option<Arc<str>>,
}

impl Lines {
    pub(super) fn parse(&mut self, line: &[u8]) -> Line {
        let trimmed = line.trim_ascii();
        // Call chains of `perf script -g` are indented by a tab, stacks of ftrace by an arrow.
        if trimmed.is_empty() || line.starts_with(b"\t") || trimmed.starts_with(b"=> ") {
            return Line::Nothing;
        }
        if let Some(comment) = line.strip_prefix(b"#") {
            return of_comment(comment.trim_ascii());
        }
        if let Some(head) = Head::parse(line) {
            return self.event(&head).unwrap_or(Line::Malformed);
        }
        if let Some((cpu, count)) = lost(trimmed) {
            return Line::Lost { cpu, count };
        }
        if trimmed.starts_with(b"##### CPU ") && trimmed.ends_with(b"buffer started ####") {
            return Line::Begin(Some(Dialect::Tracefs));
        }
        let value = |key: &[u8]| trimmed.strip_prefix(key).and_then(number::<u32>);
        if value(b"cpus=").or(value(b"version = ")).is_some() {
            return Line::Begin(Some(Dialect::TraceCmd));
        }
        if trimmed.starts_with(b"CPU ") && trimmed.ends_with(b" is empty") {
            return Line::Begin(Some(Dialect::TraceCmd));
        }
        Line::Malformed
    }

    fn event(&mut self, head: &Head<'_>) -> Option<Line> {
        if head.is_sample {
            return Some(Line::Nothing);
        }
        let (mut kind, mut unexpected) = (None, None);
        if let Some(record) = head.name.strip_prefix(b"PERF_RECORD_") {
            match perf_record(record, head.fields) {
                Some(of_record) => kind = Some(of_record),
                None => return Some(Line::Nothing),
            }
        } else if let Some(known) = fields::kind(head.name, head.fields, &mut self.plugin) {
            kind = known;
            if kind.is_none() {
                unexpected = Some(String::from_utf8_lossy(head.name).into_owned());
            }
        }
        let kind = kind.unwrap_or_else(|| Kind::Other(self.other(head)));
        let flag = |at: usize| head.flags.and_then(|flags| flags.get(at));
        let in_interrupt = flag(2).map(|letter| b"hHzZ".contains(letter));
        // One letter for each set of flags: at once, lazily, by the preemption count.
        let need_resched = flag(1).map(|letter| b"NnBbLl".contains(letter));
        let (time_ns, cpu, pid, tgid) = (head.time_ns, head.cpu, head.pid, head.tgid);
        let event = Event { time_ns, cpu, pid, tgid, in_interrupt, need_resched, kind };
        Some(Line::Event { event, unexpected, dialect: head.dialect })
    }

    /// Any event: words of the form `name=value`.
    fn other(&mut self, head: &Head<'_>) -> Other {
        let system = match head.system {
            b"" => Arc::clone(self.no_system.get_or_insert_with(|| Arc::from(""))),
            system => self.name(system),
        };
        let name = self.name(head.name);
        let mut fields = Vec::new();
        for word in head.fields.split(|byte| byte.is_ascii_whitespace()).take(FIELDS_MAX) {
            if let Some(equals) = memchr::memchr(b'=', word) {
                let value = value_of(&word[equals + 1..]);
                fields.push((self.name(&word[..equals]), value));
            }
        }
        Other { system, name, fields }
    }

    fn name(&mut self, name: &[u8]) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(String::from_utf8_lossy(name));
        if self.names.len() < NAMES_MAX {
            self.names.insert(Box::from(name), Arc::clone(&new));
        }
        new
    }
}

fn of_comment(comment: &[u8]) -> Line {
    if comment.starts_with(b"tracer:") {
        return Line::Begin(Some(Dialect::Tracefs));
    }
    if comment.starts_with(b"captured on") || comment.starts_with(b"cmdline : ") {
        return Line::Begin(Some(Dialect::Perf));
    }
    match overwritten(comment) {
        Some(lost @ 1..) => Line::Head { lost },
        Some(0) => Line::Begin(Some(Dialect::Tracefs)),
        None => Line::Nothing,
    }
}

fn overwritten(comment: &[u8]) -> Option<u64> {
    let rest = comment.strip_prefix(b"entries-in-buffer/entries-written:")?;
    let word = rest.trim_ascii().split(|byte| *byte == b' ').next()?;
    let slash = memchr::memchr(b'/', word)?;
    Some(number::<u64>(&word[slash + 1..])?.saturating_sub(number(&word[..slash])?))
}

/// `CPU:1 [LOST 12 EVENTS]` of tracefs, `CPU:1 [12 EVENTS DROPPED]` of trace-cmd; the number may be missing.
fn lost(line: &[u8]) -> Option<(u32, Option<u64>)> {
    let rest = line.strip_prefix(b"CPU:")?;
    let space = memchr::memchr(b' ', rest)?;
    let cpu = number(&rest[..space]).filter(|cpu| *cpu < CPUS_MAX)?;
    let inner = rest[space..].trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    let count = match inner.strip_prefix(b"LOST ") {
        Some(rest) => rest.strip_suffix(b"EVENTS")?,
        None => inner.strip_suffix(b"EVENTS DROPPED")?,
    };
    Some((cpu, number(count.trim_ascii())))
}

/// What `perf script --show-task-events` and `--show-lost-events` say.
fn perf_record(name: &[u8], fields: &[u8]) -> Option<Kind> {
    match name {
        // ` exec: comm:10/12` or `: comm:10/12`, process first
        b"COMM" => {
            let exec = fields.strip_prefix(b" exec");
            let text = exec.unwrap_or(fields).strip_prefix(b": ")?;
            let colon = memchr::memrchr(b':', text)?;
            let (tgid, pid) = pair(&text[colon + 1..], b'/')?;
            let comm = Comm::new(&text[..colon]);
            Some(Kind::Named(Named { pid, tgid, comm, is_exec: exec.is_some() }))
        }
        // `(10:12):(10:11)`: process and task, and their parents
        b"FORK" | b"EXIT" => {
            let inner = fields.strip_prefix(b"(")?.strip_suffix(b")")?;
            let colon = inner.windows(3).position(|three| three == b"):(")?;
            let (tgid, pid) = pair(&inner[..colon], b':')?;
            let (parent_tgid, parent) = pair(&inner[colon + 3..], b':')?;
            Some(match name {
                b"FORK" => Kind::Cloned(Cloned { pid, tgid, parent, parent_tgid }),
                _ => Kind::Gone(Gone { pid, tgid }),
            })
        }
        // `: id:5 lost:12`, ` lost 12`: the number comes last
        b"LOST" | b"LOST_SAMPLES" => {
            let end = fields.trim_ascii_end();
            let start = end.iter().rposition(|byte| !byte.is_ascii_digit())?;
            Some(Kind::Lost(number(&end[start + 1..])))
        }
        _ => None,
    }
}

fn pair(text: &[u8], by: u8) -> Option<(i32, i32)> {
    let at = memchr::memrchr(by, text)?;
    Some((number(&text[..at])?, number(&text[at + 1..])?))
}

fn value_of(text: &[u8]) -> Value {
    if let Some(value) = number(text) {
        return Value::Unsigned(value);
    }
    if let Some(value) = number(text) {
        return Value::Signed(value);
    }
    let inner = text.strip_prefix(b"\"").unwrap_or(text);
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    Value::Text(String::from_utf8_lossy(inner).into_owned())
}

#[cfg(test)]
mod tests;
