//! What stands before an event's fields: who ran, where, when, and the event's name.
//!
//! ```text
//!   comm-12    (  10) [003] d..2.  3.253569: sched_switch: …      tracefs; group and flags can be off
//!   comm-12    [003]    3.253569: sched_switch:         …         trace-cmd report
//! comm-12        3d..2.    3.253569: sched_switch:         …      trace-cmd report -l
//!   comm   12 [003]    3.253569:       sched:sched_switch: …      perf script; `10/12` with the process
//!   comm   12   3    3.253569:       sched:sched_switch: …        perf script -L
//! ```

use memchr::{memchr_iter, memrchr};

use super::CPUS_MAX;
use super::words::number;

/// Whose layout a line has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    Tracefs,
    TraceCmd,
    Perf,
}

/// The place of an event, and what follows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head<'l> {
    pub(super) time_ns: u64,
    pub(super) cpu: u32,
    pub(super) pid: Option<i32>,
    pub(super) tgid: Option<i32>,
    pub(super) flags: Option<&'l [u8]>,
    /// Empty where the line does not say.
    pub(super) system: &'l [u8],
    pub(super) name: &'l [u8],
    pub(super) fields: &'l [u8],
    /// A sample of a counter, not of a tracepoint.
    pub(super) is_sample: bool,
    pub(super) dialect: Dialect,
}

impl<'l> Head<'l> {
    /// The name of a task may have anything in it: the first place that fits is taken.
    pub(super) fn parse(line: &'l [u8]) -> Option<Self> {
        memchr_iter(b':', line).find_map(|colon| {
            if colon == 0 || !line[colon - 1].is_ascii_digit() || line.get(colon + 1) != Some(&b' ')
            {
                return None;
            }
            let is_of_time = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
            let start = line[..colon].iter().rposition(|byte| !is_of_time(byte))?;
            if !line[start].is_ascii_whitespace() {
                return None;
            }
            let time_ns = time_ns(&line[start + 1..colon])?;
            let Place { cpu, flags, who } = place(line[..start].trim_ascii_end())?;
            let what = What::parse(line[colon + 1..].trim_ascii_start())?;
            let is_latency = flags.is_some_and(is_glued);
            let dialect = match (what.is_of_perf, what.is_padded || is_latency) {
                (true, _) => Dialect::Perf,
                (false, true) => Dialect::TraceCmd,
                (false, false) => Dialect::Tracefs,
            };
            let (pid, tgid) = match dialect {
                Dialect::Perf => of_perf(who),
                _ => of_ftrace(who),
            };
            let What { system, name, fields, is_sample, .. } = what;
            let flags = flags.map(|flags| &flags[leading_digits(flags)..]);
            Some(Self { time_ns, cpu, pid, tgid, flags, system, name, fields, is_sample, dialect })
        })
    }
}

/// What happened, not yet understood.
struct What<'l> {
    system: &'l [u8],
    name: &'l [u8],
    fields: &'l [u8],
    is_of_perf: bool,
    is_sample: bool,
    /// There is more than one space behind the name.
    is_padded: bool,
}

impl<'l> What<'l> {
    fn parse(rest: &'l [u8]) -> Option<Self> {
        if rest.starts_with(b"PERF_RECORD_") {
            // These have parentheses or more words before a colon.
            let end = rest.iter().position(|byte| b" (:".contains(byte)).unwrap_or(rest.len());
            let (name, fields) = rest.split_at(end);
            let of_perf = Self {
                system: b"",
                name,
                fields,
                is_of_perf: true,
                is_sample: false,
                is_padded: false,
            };
            return Some(of_perf);
        }
        let (mut word, mut after) = word(rest);
        let has_period = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        if has_period {
            (word, after) = self::word(after.trim_ascii_start());
        }
        let fields = after.trim_ascii();
        let is_padded = after.starts_with(b"  ") && after.len() > 2;
        let (is_of_perf, is_sample) = (has_period, has_period);
        let whole = Self { system: b"", name: word, fields, is_of_perf, is_sample, is_padded };
        if let Some(name) = word.strip_suffix(b":") {
            let Some(colon) = name.iter().position(|byte| *byte == b':') else {
                let is_call = name.starts_with(b"sys_") && name.contains(&b'(');
                let end = if is_call { name.iter().position(|b| *b == b'(')? } else { name.len() };
                return (!name.is_empty()).then_some(Self { name: &name[..end], ..whole });
            };
            let (system, name) = (&name[..colon], &name[colon + 1..]);
            // What is behind the name says how it was recorded.
            let end = name.iter().position(|byte| b":/".contains(byte)).unwrap_or(name.len());
            let name = &name[..end];
            // `cycles:P`: in which modes it counts.
            let is_sample = name.iter().all(|letter| b"ukhGHpPSDeWb".contains(letter));
            return Some(Self { system, name, is_of_perf: true, is_sample, ..whole });
        }
        if word.starts_with(b"sys_") && (word.contains(&b'(') || fields.starts_with(b"->")) {
            // System calls have layouts of their own.
            let end = word.iter().position(|byte| *byte == b'(').unwrap_or(word.len());
            return Some(Self { name: &word[..end], ..whole });
        }
        if fields.starts_with(b"<-") || word.starts_with(b"<stack") {
            // Of the function tracer, and what led to an event.
            return Some(Self { name: b"function", fields: rest, ..whole });
        }
        None
    }
}

/// Up to the first space, and the rest.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()))
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())
}

/// The CPU and the flags are one word.
fn is_glued(flags: &[u8]) -> bool {
    flags.first().is_some_and(u8::is_ascii_digit)
}

/// The CPU, the flags if there are some, and what stands before.
struct Place<'l> {
    cpu: u32,
    flags: Option<&'l [u8]>,
    who: &'l [u8],
}

fn place(text: &[u8]) -> Option<Place<'_>> {
    let last_word = |text: &'_ [u8]| memrchr(b' ', text).map_or(0, |space| space + 1);
    let at = last_word(text);
    let (before, last) = text.split_at(at);
    if let Some(cpu) = in_brackets(last) {
        return Some(Place { cpu, flags: None, who: before });
    }
    let digits = leading_digits(last);
    if digits > 0 {
        let cpu = number(&last[..digits]).filter(|cpu| *cpu < CPUS_MAX)?;
        return match last.len() - digits {
            0 => Some(Place { cpu, flags: None, who: before }),
            // As many as there are columns of flags, or more.
            4.. => Some(Place { cpu, flags: Some(last), who: before }),
            _ => None,
        };
    }
    let before = before.trim_ascii_end();
    let (before, cpu) = before.split_at(last_word(before));
    Some(Place { cpu: in_brackets(cpu)?, flags: Some(last), who: before })
}

/// `[003]`
fn in_brackets(word: &[u8]) -> Option<u32> {
    let cpu = word.strip_prefix(b"[")?.strip_suffix(b"]")?;
    number(cpu).filter(|cpu| *cpu < CPUS_MAX)
}

/// `   comm-12` or `   comm-12   (  10)`: the task, and its process.
fn of_ftrace(who: &[u8]) -> (Option<i32>, Option<i32>) {
    let who = who.trim_ascii_end();
    let group = who.strip_suffix(b")").and_then(|rest| Some((rest, memrchr(b'(', rest)?)));
    let (task, tgid) = match group {
        Some((rest, open)) => {
            (rest[..open].trim_ascii_end(), number(rest[open + 1..].trim_ascii()))
        }
        None => (who, None),
    };
    let pid = memrchr(b'-', task).and_then(|dash| number(&task[dash + 1..]));
    (pid, tgid)
}

/// `  comm   12` or `  comm   10/12`.
fn of_perf(who: &[u8]) -> (Option<i32>, Option<i32>) {
    let who = who.trim_ascii_end();
    let last = &who[memrchr(b' ', who).map_or(0, |space| space + 1)..];
    match memrchr(b'/', last) {
        Some(slash) => (number(&last[slash + 1..]), number(&last[..slash])),
        None => (number(last), None),
    }
}

/// `3.253569`, in seconds.
fn time_ns(word: &[u8]) -> Option<u64> {
    let dot = memchr::memchr(b'.', word)?;
    let (seconds, fraction) = (&word[..dot], &word[dot + 1..]);
    if !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let unit = 10_u64.pow(9 - fraction.len() as u32);
    let fraction: u64 = number(fraction)?;
    number::<u64>(seconds)?.checked_mul(1_000_000_000)?.checked_add(fraction * unit)
}
