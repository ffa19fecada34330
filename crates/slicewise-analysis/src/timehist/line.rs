//! Lines, put together byte by byte: a large trace has millions.

use std::io::{self, Write};

use slicewise_ftrace::{Event, Switch};

use super::{Timehist, TimehistOptions, Whose, letter_of};
use crate::threads::{Thread, ThreadId, Threads};

/// A line that is being put together.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    /// A task's name and numbers.
    task: Vec<u8>,
}

impl Line {
    fn clear(&mut self) {
        self.bytes.clear();
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn spaces(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, b' ');
    }

    /// A number on the right of so many columns.
    fn number(&mut self, number: u64, columns: usize, fill: u8) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let digits = &digits[at..];
        self.bytes.resize(self.bytes.len() + columns.saturating_sub(digits.len()), fill);
        self.bytes.extend_from_slice(digits);
    }

    /// Seconds with microseconds, on the right of 15 columns, and the CPU.
    fn head(&mut self, t_ns: u64, cpu: u32) {
        self.clear();
        self.number(t_ns / 1_000_000_000, 8, b' ');
        self.bytes.push(b'.');
        self.number(t_ns % 1_000_000_000 / 1_000, 6, b'0');
        self.text(" [");
        self.number(cpu.into(), 4, b'0');
        self.text("] ");
    }

    /// Milliseconds with microseconds, and a space.
    pub(super) fn time(&mut self, ns: u64, columns: usize) {
        self.number(ns / 1_000_000, columns, b' ');
        self.bytes.push(b'.');
        self.number(ns % 1_000_000 / 1_000, 3, b'0');
        self.bytes.push(b' ');
    }

    /// A column for each CPU with a letter at one.
    fn visual(&mut self, cpus: u32, at: u32, letter: u8) {
        self.bytes.push(b' ');
        let from = self.bytes.len();
        self.spaces(visual_columns(cpus));
        if let Some(byte) = self.bytes.get_mut(from + at as usize) {
            *byte = letter;
        }
        self.bytes.push(b' ');
    }

    /// `name[tid]`, `name[tid/pid]`; how long it is.
    fn name(&mut self, thread: &Thread) -> usize {
        self.task.clear();
        match &thread.comm {
            Some(comm) => push_printable(&mut self.task, comm.as_bytes()),
            None => {
                let _ = write!(self.task, ":{}", thread.tid);
            }
        }
        if thread.tgid != 0 {
            // What is not known is left out.
            let _ = match thread.tid == thread.tgid || thread.tgid == -1 {
                true => write!(self.task, "[{}]", thread.tid),
                false => write!(self.task, "[{}/{}]", thread.tid, thread.tgid),
            };
        }
        self.task.len()
    }

    /// What was put together last as a name, on the left of so many columns.
    fn put_name(&mut self, columns: usize) {
        self.bytes.extend_from_slice(&self.task);
        self.spaces(columns.saturating_sub(self.task.len()));
    }
}

fn push_printable(bytes: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|byte| (b' '..0x7f).contains(byte)) {
        bytes.extend_from_slice(text);
    } else {
        let shown = String::from_utf8_lossy(text);
        let shown = shown.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
        bytes.extend_from_slice(shown.collect::<String>().as_bytes());
    }
}

/// perf draws one column more than there are CPUs.
fn visual_columns(cpus: u32) -> usize {
    cpus as usize + 1
}

pub(super) fn header(
    options: &TimehistOptions,
    cpus: u32,
    columns: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let visual = |fill: &dyn Fn(u32) -> char| match options.cpu_visual {
        true => format!(" {} ", (0..visual_columns(cpus) as u32).map(fill).collect::<String>()),
        false => String::new(),
    };
    let digit = |cpu: u32| char::from_digit(cpu % 16, 16).unwrap_or(' ');
    let state = |word: &str| if options.state { format!("  {word:>5}") } else { String::new() };
    let dashes = |columns: usize| "-".repeat(columns);
    writeln!(
        out,
        "{:>15} {:>6} {} {:<columns$}  {:>9}  {:>9}  {:>9}{}",
        "time",
        "cpu",
        visual(&digit),
        "task name",
        "wait time",
        "sch delay",
        "run time",
        state("state"),
    )?;
    writeln!(
        out,
        "{:>15} {:>6} {} {:<columns$}  {:>9}  {:>9}  {:>9}{}",
        "",
        "",
        visual(&|_| ' '),
        "[tid/pid]",
        "(msec)",
        "(msec)",
        "(msec)",
        state(""),
    )?;
    writeln!(
        out,
        "{} {} {} {}  {}  {}  {}{}",
        dashes(15),
        dashes(6),
        visual(&|_| '-'),
        dashes(columns),
        dashes(9),
        dashes(9),
        dashes(9),
        if options.state { format!("  {}", dashes(5)) } else { String::new() },
    )
}

impl<W: Write> Timehist<W> {
    /// Puts a name together; the column grows with the longest so far.
    fn name(&mut self, thread: &Thread) {
        self.task_columns = self.task_columns.max(self.line.name(thread));
    }

    pub(super) fn print_switch(
        &mut self,
        threads: &Threads,
        event: &Event,
        t_ns: u64,
        whose: Whose,
        (switch, next): (&Switch, ThreadId),
    ) -> io::Result<()> {
        let is_idle = matches!(whose, Whose::Idle(_));
        self.line.head(t_ns, event.cpu);
        if self.options.cpu_visual {
            self.line.visual(self.cpus_seen, event.cpu, if is_idle { b'i' } else { b's' });
        }
        match whose {
            Whose::Idle(_) => {
                self.line.task.clear();
                self.line.task.extend_from_slice(b"<idle>");
            }
            Whose::Task(task) => self.name(&threads[task]),
        }
        let columns = self.task_columns;
        let past = *self.past(whose);
        let (options, line) = (&self.options, &mut self.line);
        line.spaces(1);
        line.put_name(columns);
        line.spaces(1);
        for ns in [past.wait.total_ns(), past.delay_ns, past.run_ns] {
            line.time(ns, 6);
        }
        if options.state {
            line.spaces(5);
            let letter = if is_idle { b'I' } else { letter_of(options.rules, switch) };
            line.bytes.push(letter);
            line.spaces(1);
        }
        if options.next {
            let thread = &threads[next];
            line.task.clear();
            line.task.extend_from_slice(b"next: ");
            push_printable(&mut line.task, switch.next.comm.as_bytes());
            let _ = write!(line.task, "[{}]", thread.tid);
            line.spaces(1);
            line.put_name(columns);
        }
        if options.wakeups && !options.next {
            line.spaces(2 + columns);
        }
        line.bytes.push(b'\n');
        self.out.write_all(&self.line.bytes)
    }

    /// Up to the column after the times.
    fn event_head(&mut self, event: &Event, current: &Thread, letter: u8) {
        self.line.head(event.time_ns, event.cpu);
        if self.options.cpu_visual {
            self.line.visual(self.cpus_seen, event.cpu, letter);
        }
        self.name(current);
        let columns = self.task_columns;
        let line = &mut self.line;
        line.spaces(1);
        line.put_name(columns);
        line.spaces(35);
    }

    pub(super) fn print_wakeup(
        &mut self,
        threads: &Threads,
        event: &Event,
        waker: ThreadId,
        task: ThreadId,
    ) -> io::Result<()> {
        self.event_head(event, &threads[waker], b' ');
        self.name(&threads[task]);
        self.line.text("awakened: ");
        self.line.put_name(0);
        self.line.bytes.push(b'\n');
        self.out.write_all(&self.line.bytes)
    }

    pub(super) fn print_migration(
        &mut self,
        threads: &Threads,
        event: &Event,
        current: ThreadId,
        task: ThreadId,
        (from, to): (u32, u32),
    ) -> io::Result<()> {
        self.event_head(event, &threads[current], b'm');
        self.name(&threads[task]);
        let line = &mut self.line;
        line.text("migrated: ");
        line.put_name(0);
        line.text(" cpu ");
        line.number(from.into(), 1, b' ');
        line.text(" => ");
        line.number(to.into(), 1, b' ');
        line.bytes.push(b'\n');
        self.out.write_all(&self.line.bytes)
    }
}
