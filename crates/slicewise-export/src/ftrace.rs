//! The text of tracefs' `trace` file.
//!
//! What such a text has no place for is left out: what perf notes of tasks beside tracepoints, the names of files
//! that are executed (the readers do not keep them), the addresses of timers. Other events are written as
//! `name=value` in the order of their fields: their own way of printing is not known.

use std::io::{self, Write};

use slicewise_ftrace::{Comm, Event, Kind, Other, TaskRef, Value, Wakeup};

use crate::names::{current_pid, event_name, hex, state_text, timer_name};

const HEAD: &str = "\
# tracer: nop
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
";

/// Such a text in the making.
#[derive(Debug)]
pub(crate) struct Ftrace<W> {
    out: W,
    line: Vec<u8>,
    /// By CPU: who came last, as far as it was seen.
    current: Vec<Option<TaskRef>>,
}

impl<W: Write> Ftrace<W> {
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(HEAD.as_bytes())?;
        Ok(Self { out, line: Vec::new(), current: Vec::new() })
    }

    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        self.line.clear();
        match &event.kind {
            Kind::Named(_) | Kind::Cloned(_) | Kind::Gone(_) => return Ok(()),
            Kind::Lost(count) => match count {
                Some(count) => writeln!(self.line, "CPU:{} [LOST {count} EVENTS]", event.cpu)?,
                None => writeln!(self.line, "CPU:{} [LOST EVENTS]", event.cpu)?,
            },
            kind => {
                self.head(event)?;
                self.fields(event, kind)?;
                self.line.push(b'\n');
            }
        }
        if let Kind::Switch(switch) = &event.kind {
            let cpu = event.cpu as usize;
            if self.current.len() <= cpu {
                self.current.resize(cpu + 1, None);
            }
            self.current[cpu] = Some(switch.next);
        }
        self.out.write_all(&self.line)
    }

    pub(crate) fn finish(self) -> W {
        self.out
    }

    /// The name of the task that ran, if it was seen coming.
    fn current_comm(&self, event: &Event, pid: i32) -> Option<Comm> {
        if let Kind::Switch(switch) = &event.kind
            && switch.prev.pid == pid
        {
            return Some(switch.prev.comm);
        }
        let current = self.current.get(event.cpu as usize).copied().flatten()?;
        (current.pid == pid).then_some(current.comm)
    }

    /// `          name-12      [000] d..2.     3.253569: sched_switch: `
    fn head(&mut self, event: &Event) -> io::Result<()> {
        let pid = current_pid(event);
        let comm = match pid {
            Some(0) => Some(Comm::new(b"<idle>")),
            Some(pid) => self.current_comm(event, pid),
            None => None,
        };
        let name = printable(&comm.unwrap_or(Comm::new(b"<...>")));
        let line = &mut self.line;
        match pid {
            Some(pid) => write!(line, "{name:>16}-{pid:<7} ")?,
            None => write!(line, "{name:>16}-{:<7} ", "?")?,
        }
        if let Some(tgid @ 0..) = event.tgid {
            write!(line, "({tgid:7}) ")?;
        }
        write!(line, "[{:03}] ", event.cpu)?;
        // Without the column nobody takes what is not known for false.
        if event.in_interrupt.is_some() || event.need_resched.is_some() {
            let resched = if event.need_resched == Some(true) { 'N' } else { '.' };
            let interrupt = if event.in_interrupt == Some(true) { 'h' } else { '.' };
            write!(line, ".{resched}{interrupt}.. ")?;
        }
        let us = event.time_ns / 1_000 + u64::from(event.time_ns % 1_000 >= 500);
        write!(line, "{:5}.{:06}: ", us / 1_000_000, us % 1_000_000)?;
        let name: String = event_name(&event.kind).chars().map(|c| plain(c, ':')).collect();
        write!(line, "{name}: ")
    }

    fn fields(&mut self, event: &Event, kind: &Kind) -> io::Result<()> {
        let parent_comm = match kind {
            Kind::Fork(fork) => self.current_comm(event, fork.parent).unwrap_or(fork.child_comm),
            _ => Comm::default(),
        };
        let line = &mut self.line;
        match kind {
            Kind::Switch(switch) => {
                let (prev, next) = (&switch.prev, &switch.next);
                write!(
                    line,
                    "prev_comm={} prev_pid={} prev_prio={} prev_state={} ==> next_comm={} \
                     next_pid={} next_prio={}",
                    printable(&prev.comm),
                    prev.pid,
                    prev.prio,
                    state_text(switch),
                    printable(&next.comm),
                    next.pid,
                    next.prio
                )
            }
            Kind::Wakeup(wakeup) | Kind::WakeupNew(wakeup) | Kind::Waking(wakeup) => {
                let Wakeup { task, target_cpu } = wakeup;
                write_task(line, task)?;
                write!(line, " target_cpu={target_cpu:03}")
            }
            Kind::Fork(fork) => write!(
                line,
                "comm={} pid={} child_comm={} child_pid={}",
                printable(&parent_comm),
                fork.parent,
                printable(&fork.child_comm),
                fork.child
            ),
            Kind::Exec(exec) => {
                write!(line, "filename=? pid={} old_pid={}", exec.pid, exec.old_pid)
            }
            Kind::Exit(exit) => write_task(line, &exit.task),
            Kind::Migrate(migrate) => {
                write_task(line, &migrate.task)?;
                write!(line, " orig_cpu={} dest_cpu={}", migrate.from, migrate.to)
            }
            Kind::StatRuntime(stat) => {
                let comm = printable(&stat.comm);
                write!(line, "comm={comm} pid={} runtime={} [ns]", stat.pid, stat.runtime_ns)?;
                match stat.vruntime_ns {
                    Some(vruntime_ns) => write!(line, " vruntime={vruntime_ns} [ns]"),
                    None => Ok(()),
                }
            }
            Kind::PiSetprio(pi) => write!(
                line,
                "comm={} pid={} oldprio={} newprio={}",
                printable(&pi.comm),
                pi.pid,
                pi.old_prio,
                pi.new_prio
            ),
            Kind::HrtimerExpire(expire) => {
                let function = timer_name(expire.function);
                write!(line, "hrtimer=? function={function} now={}", event.time_ns)
            }
            Kind::Other(other) => write_other(line, other),
            Kind::Named(_) | Kind::Cloned(_) | Kind::Gone(_) | Kind::Lost(_) => Ok(()),
        }
    }
}

fn write_task(line: &mut Vec<u8>, task: &TaskRef) -> io::Result<()> {
    write!(line, "comm={} pid={} prio={}", printable(&task.comm), task.pid, task.prio)
}

fn write_other(line: &mut Vec<u8>, other: &Other) -> io::Result<()> {
    for (at, (name, value)) in other.fields.iter().enumerate() {
        if at > 0 {
            line.push(b' ');
        }
        let name: String = name.chars().map(|c| plain(c, '=')).collect();
        write!(line, "{name}=")?;
        match value {
            Value::Signed(number) => write!(line, "{number}")?,
            Value::Unsigned(number) => write!(line, "{number}")?,
            Value::Text(text) => {
                let text: String =
                    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
                write!(line, "{text}")?;
            }
            Value::Bytes(bytes) => write!(line, "{}", hex(bytes))?,
        }
    }
    Ok(())
}

/// A character of a word that must not have spaces or the mark that ends it.
fn plain(c: char, mark: char) -> char {
    if c.is_control() || c.is_whitespace() || c == mark { '_' } else { c }
}

/// A name that stays on its line, and stays as long as it is: what cannot be shown is a question mark.
fn printable(comm: &Comm) -> String {
    let lossy = String::from_utf8_lossy(comm.as_bytes());
    lossy
        .chars()
        .map(|c| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '?' } else { c })
        .collect()
}
