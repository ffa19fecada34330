//! Who ran where: what `perf sched map` prints. A column for each CPU, a line for each switch, two letters for each
//! task.

use std::io::{self, Write};

use slicewise_ftrace::{Event, Kind};

use crate::perf_text::seconds;
use crate::threads::{ThreadId, Threads};

/// What to print.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MapOptions {
    /// `--compact`: columns only for CPUs that had a switch, in the order of their first.
    pub compact: bool,
    /// `--cpus`: only these.
    pub cpus: Option<Vec<u32>>,
}

/// Takes in a trace and prints it.
#[derive(Debug)]
pub struct Map<W> {
    options: MapOptions,
    out: W,
    /// By CPU: who is there.
    current: Vec<Option<ThreadId>>,
    /// CPUs in the order of their first switch.
    seen: Vec<u32>,
    columns: u32,
    /// By task: its letters, and whether it was renamed since they were told.
    short: Vec<Option<([u8; 2], bool)>>,
    next: [u8; 2],
    line: Vec<u8>,
}

impl<W: Write> Map<W> {
    /// Nothing yet. `cpus` is how many there are, if the trace says so.
    pub fn new(options: MapOptions, cpus: Option<u32>, out: W) -> Self {
        Self {
            options,
            out,
            current: Vec::new(),
            seen: Vec::new(),
            columns: cpus.unwrap_or(0),
            short: Vec::new(),
            next: *b"A0",
            line: Vec::new(),
        }
    }

    /// Takes in an event; `threads` must have seen it.
    ///
    /// # Errors
    /// If a line cannot be written.
    #[inline]
    pub fn event(&mut self, threads: &mut Threads, event: &Event) -> io::Result<()> {
        match &event.kind {
            Kind::Switch(switch) => {
                let next = threads.of(&switch.next);
                self.switch(threads, event, next)
            }
            Kind::Named(named) => {
                let task = threads.find_or_add(named.pid, named.tgid);
                if let Some(Some((_, renamed))) = self.short.get_mut(task.index()) {
                    *renamed = true;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn switch(&mut self, threads: &Threads, event: &Event, next: ThreadId) -> io::Result<()> {
        let cpu = event.cpu as usize;
        self.columns = self.columns.max(event.cpu + 1);
        if self.current.len() <= cpu {
            self.current.resize(cpu + 1, None);
        }
        let is_first = !self.seen.contains(&event.cpu);
        if is_first {
            self.seen.push(event.cpu);
        }
        self.current[cpu] = Some(next);
        let (letters, told) = self.letters(threads, next);
        self.line.clear();
        self.line.extend_from_slice(b"  ");
        match self.options.compact {
            true => (0..self.seen.len()).for_each(|at| self.column(self.seen[at], event.cpu)),
            false => (0..self.columns).for_each(|column| self.column(column, event.cpu)),
        }
        if self.wants(event.cpu) {
            write!(self.line, "  {:>12} secs ", seconds(event.time_ns))?;
            if told {
                self.line.extend_from_slice(&letters);
                let thread = &threads[next];
                write!(self.line, " => {}:{}", thread.name(), thread.tid)?;
            }
            if self.options.compact && is_first {
                write!(self.line, " (CPU {cpu})")?;
            }
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    fn wants(&self, cpu: u32) -> bool {
        self.options.cpus.as_ref().is_none_or(|cpus| cpus.contains(&cpu))
    }

    fn column(&mut self, cpu: u32, here: u32) {
        if !self.wants(cpu) {
            return;
        }
        self.line.push(if cpu == here { b'*' } else { b' ' });
        let task = self.current.get(cpu as usize).copied().flatten();
        let letters = task.and_then(|task| self.short.get(task.index()).copied().flatten());
        self.line.extend_from_slice(&letters.map_or(*b"  ", |(letters, _)| letters));
        self.line.push(b' ');
    }

    /// A task's letters, and whether they have to be told.
    fn letters(&mut self, threads: &Threads, task: ThreadId) -> ([u8; 2], bool) {
        let index = task.index();
        if self.short.len() <= index {
            self.short.resize(index + 1, None);
        }
        if let Some((letters, renamed)) = &mut self.short[index] {
            return (*letters, std::mem::take(renamed));
        }
        let letters = match threads[task].is_idle() {
            true => *b". ",
            false => {
                let letters = self.next;
                let [letter, digit] = &mut self.next;
                match (*letter, *digit) {
                    (b'Z', b'9') => (*letter, *digit) = (b'A', b'0'),
                    (b'Z', _) => (*letter, *digit) = (b'A', *digit + 1),
                    _ => *letter += 1,
                }
                letters
            }
        };
        self.short[index] = Some((letters, false));
        (letters, true)
    }

    /// Gives the output back.
    pub fn into_inner(self) -> W {
        self.out
    }
}
