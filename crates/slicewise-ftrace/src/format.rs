//! Event formats as tracefs describes them, and records decoded by them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bytes::{Endian, sign_extend};
use crate::event::{
    Comm, Event, Exec, Exit, Fork, HrtimerExpire, Kind, Migrate, Other, PiSetprio, SleepState,
    StatRuntime, Switch, SwitchState, TaskRef, TimerFunction, Value, Wakeup,
};

/// Bits of `common_flags`: in a hardware interrupt; a new pick is due, at once or lazily (the bit
/// of the latter said something else before 6.13, and was never set on x86).
const FLAG_HARDIRQ: u64 = 0x08;
const FLAGS_NEED_RESCHED: u64 = 0x04 | 0x02;
/// `prev_state`: what is left after the letters' bits says that the task was preempted.
const STATE_PREEMPTED: u64 = 0x100;
const STATE_DEAD: u64 = 0x10 | 0x20;
const STATE_STOPPED: u64 = 0x04 | 0x08 | 0x40;
const STATE_LETTERS: u64 = 0xff;
/// By bit.
const STATE_LETTER: &[u8] = b"SDTtXZPI";
/// Text and byte fields longer than this are cut.
const FIELD_BYTES_MAX: usize = 4096;

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FieldKind {
    Signed,
    Unsigned,
    /// Characters in place.
    Text,
    /// 16 bits of offset and 16 bits of length, of text (or bytes) elsewhere in the record; the
    /// offset counts from the record's beginning, or from the end of this field.
    Elsewhere {
        text: bool,
        relative: bool,
    },
    Bytes,
}

/// A field.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Field {
    name: Arc<str>,
    offset: usize,
    size: usize,
    kind: FieldKind,
}

impl Field {
    /// `field:char prev_comm[16]; offset:8; size:16; signed:0;`, with tabs between
    fn parse(line: &str) -> Option<Self> {
        let mut declaration = None;
        let (mut offset, mut size, mut signed) = (None, None, false);
        for part in line.trim().split(';') {
            let (key, value) = match part.trim().split_once(':') {
                Some(pair) => pair,
                None => continue,
            };
            match key {
                "field" | "field special" => declaration = Some(value.trim()),
                "offset" => offset = value.trim().parse().ok(),
                "size" => size = value.trim().parse().ok(),
                "signed" => signed = value.trim() == "1",
                _ => {}
            }
        }
        let (declaration, offset, size) = (declaration?, offset?, size?);
        let elsewhere = declaration.strip_prefix("__data_loc ").map(|rest| (rest, false));
        let elsewhere =
            elsewhere.or_else(|| declaration.strip_prefix("__rel_loc ").map(|rest| (rest, true)));
        let (of_type, name) = declaration.rsplit_once(' ')?;
        let (name, array) = name.split_once('[').map_or((name, false), |(name, _)| (name, true));
        let kind = match elsewhere {
            Some((of, relative)) => FieldKind::Elsewhere { text: of.starts_with("char"), relative },
            None if array && of_type.ends_with("char") => FieldKind::Text,
            None if array || !matches!(size, 1 | 2 | 4 | 8) => FieldKind::Bytes,
            None if signed => FieldKind::Signed,
            None => FieldKind::Unsigned,
        };
        Some(Self { name: Arc::from(name), offset, size, kind })
    }

    #[inline]
    fn unsigned(&self, endian: Endian, record: &[u8]) -> Option<u64> {
        endian.uint(record, self.offset, self.size)
    }

    #[inline]
    fn i32(&self, endian: Endian, record: &[u8]) -> Option<i32> {
        Some(sign_extend(self.unsigned(endian, record)?, self.size) as i32)
    }

    fn bytes<'r>(&self, endian: Endian, record: &'r [u8]) -> Option<&'r [u8]> {
        match self.kind {
            FieldKind::Elsewhere { relative, .. } => {
                let place = endian.u32(record, self.offset)?;
                let from = if relative { self.offset + 4 } else { 0 };
                let at = from + (place & 0xffff) as usize;
                record.get(at..at + (place >> 16) as usize)
            }
            _ => record.get(self.offset..self.offset.checked_add(self.size)?),
        }
    }

    #[inline]
    fn comm(&self, endian: Endian, record: &[u8]) -> Option<Comm> {
        self.bytes(endian, record).map(Comm::new)
    }

    fn value(&self, endian: Endian, record: &[u8]) -> Option<Value> {
        Some(match self.kind {
            FieldKind::Signed => {
                Value::Signed(sign_extend(self.unsigned(endian, record)?, self.size))
            }
            FieldKind::Unsigned => Value::Unsigned(self.unsigned(endian, record)?),
            FieldKind::Text | FieldKind::Elsewhere { text: true, .. } => {
                let bytes = self.bytes(endian, record)?;
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                let bytes = &bytes[..end.min(FIELD_BYTES_MAX)];
                Value::Text(String::from_utf8_lossy(bytes).into_owned())
            }
            FieldKind::Bytes | FieldKind::Elsewhere { text: false, .. } => {
                let bytes = self.bytes(endian, record)?;
                Value::Bytes(bytes[..bytes.len().min(FIELD_BYTES_MAX)].to_vec())
            }
        })
    }
}

/// Where the fields of a task reference are.
#[derive(Clone, Debug)]
struct TaskFields {
    pid: Field,
    comm: Field,
    prio: Field,
}

impl TaskFields {
    #[inline]
    fn read(&self, endian: Endian, record: &[u8]) -> Option<TaskRef> {
        Some(TaskRef {
            pid: self.pid.i32(endian, record)?,
            comm: self.comm.comm(endian, record)?,
            prio: self.prio.i32(endian, record)?,
        })
    }
}

/// Where the fields of an event of interest are; the names of the variants are those of [`Kind`].
#[derive(Clone, Debug)]
enum Decoder {
    Switch { prev: TaskFields, state: Field, next: TaskFields },
    Wakeup { task: TaskFields, cpu: Field, make: fn(Wakeup) -> Kind },
    Fork { parent: Field, child: Field, comm: Field },
    Exec { pid: Field, old_pid: Field },
    Exit { task: TaskFields },
    Migrate { task: TaskFields, from: Field, to: Field },
    StatRuntime { pid: Field, comm: Field, runtime: Field, vruntime: Option<Field> },
    PiSetprio { pid: Field, comm: Field, old: Field, new: Field },
    HrtimerExpire { function: Field },
    Other,
}

/// One event's format.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) system: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) id: u32,
    /// `common_pid` and `common_flags`.
    common_pid: Option<Field>,
    common_flags: Option<Field>,
    fields: Vec<Field>,
    decoder: Decoder,
    /// An event of interest whose fields are not as expected.
    pub(crate) unexpected: bool,
}

impl Format {
    /// What tracefs has in an event's `format` file.
    pub(crate) fn parse(system: &str, text: &str) -> Option<Self> {
        let (mut name, mut id) = (None, None);
        let (mut common_pid, mut common_flags, mut fields) = (None, None, Vec::new());
        for line in text.lines() {
            if let Some(value) = line.strip_prefix("name:") {
                name = Some(value.trim());
            } else if let Some(value) = line.strip_prefix("ID:") {
                id = value.trim().parse().ok();
            } else if line.trim_start().starts_with("field") {
                let field = Field::parse(line)?;
                match &*field.name {
                    "common_pid" => common_pid = Some(field),
                    "common_flags" => common_flags = Some(field),
                    name if name.starts_with("common_") => {}
                    _ => fields.push(field),
                }
            } else if line.starts_with("print fmt:") {
                break;
            }
        }
        let mut format = Self {
            system: Arc::from(system),
            name: Arc::from(name?),
            id: id?,
            common_pid,
            common_flags,
            fields,
            decoder: Decoder::Other,
            unexpected: false,
        };
        if matches!(system, "sched" | "timer") && OF_INTEREST.contains(&&*format.name) {
            match format.decoder() {
                Some(decoder) => format.decoder = decoder,
                None => format.unexpected = true,
            }
        }
        Some(format)
    }

    fn field(&self, name: &str) -> Option<Field> {
        self.fields.iter().find(|field| &*field.name == name).cloned()
    }

    fn task(&self, prefix: &str) -> Option<TaskFields> {
        Some(TaskFields {
            pid: self.field(&format!("{prefix}pid"))?,
            comm: self.field(&format!("{prefix}comm"))?,
            prio: self.field(&format!("{prefix}prio"))?,
        })
    }

    fn decoder(&self) -> Option<Decoder> {
        let wakeup = |make| {
            Some(Decoder::Wakeup { task: self.task("")?, cpu: self.field("target_cpu")?, make })
        };
        match &*self.name {
            "sched_switch" => Some(Decoder::Switch {
                prev: self.task("prev_")?,
                state: self.field("prev_state")?,
                next: self.task("next_")?,
            }),
            "sched_wakeup" => wakeup(Kind::Wakeup),
            "sched_wakeup_new" => wakeup(Kind::WakeupNew),
            "sched_waking" => wakeup(Kind::Waking),
            "sched_process_fork" => Some(Decoder::Fork {
                parent: self.field("parent_pid")?,
                child: self.field("child_pid")?,
                comm: self.field("child_comm")?,
            }),
            "sched_process_exec" => {
                Some(Decoder::Exec { pid: self.field("pid")?, old_pid: self.field("old_pid")? })
            }
            "sched_process_exit" => Some(Decoder::Exit { task: self.task("")? }),
            "sched_migrate_task" => Some(Decoder::Migrate {
                task: self.task("")?,
                from: self.field("orig_cpu")?,
                to: self.field("dest_cpu")?,
            }),
            "sched_stat_runtime" => Some(Decoder::StatRuntime {
                pid: self.field("pid")?,
                comm: self.field("comm")?,
                runtime: self.field("runtime")?,
                vruntime: self.field("vruntime"),
            }),
            "sched_pi_setprio" => Some(Decoder::PiSetprio {
                pid: self.field("pid")?,
                comm: self.field("comm")?,
                old: self.field("oldprio")?,
                new: self.field("newprio")?,
            }),
            "hrtimer_expire_entry" => {
                Some(Decoder::HrtimerExpire { function: self.field("function")? })
            }
            _ => None,
        }
    }

    /// A record as an event.
    pub(crate) fn decode(
        &self,
        endian: Endian,
        record: &[u8],
        symbols: &Symbols,
        (time_ns, cpu): (u64, u32),
    ) -> Option<Event> {
        let pid = self.common_pid.as_ref().and_then(|field| field.i32(endian, record));
        let flags = self.common_flags.as_ref().and_then(|field| field.unsigned(endian, record));
        let kind = self.kind(endian, record, symbols)?;
        let flag = |mask: u64| flags.map(|flags| flags & mask != 0);
        let (in_interrupt, need_resched) = (flag(FLAG_HARDIRQ), flag(FLAGS_NEED_RESCHED));
        Some(Event { time_ns, cpu, pid, tgid: None, in_interrupt, need_resched, kind })
    }

    fn kind(&self, endian: Endian, record: &[u8], symbols: &Symbols) -> Option<Kind> {
        let i32_of = |field: &Field| field.i32(endian, record);
        let u32_of = |field: &Field| field.i32(endian, record).map(|value| value as u32);
        Some(match &self.decoder {
            Decoder::Switch { prev, state, next } => {
                let bits = state.unsigned(endian, record)?;
                Kind::Switch(Switch {
                    prev: prev.read(endian, record)?,
                    prev_state: state_of(bits),
                    prev_letter: letter_of(bits),
                    next: next.read(endian, record)?,
                })
            }
            Decoder::Wakeup { task, cpu, make } => {
                make(Wakeup { task: task.read(endian, record)?, target_cpu: u32_of(cpu)? })
            }
            Decoder::Fork { parent, child, comm } => Kind::Fork(Fork {
                parent: i32_of(parent)?,
                child: i32_of(child)?,
                child_comm: comm.comm(endian, record)?,
            }),
            Decoder::Exec { pid, old_pid } => {
                Kind::Exec(Exec { pid: i32_of(pid)?, old_pid: i32_of(old_pid)? })
            }
            Decoder::Exit { task } => Kind::Exit(Exit { task: task.read(endian, record)? }),
            Decoder::Migrate { task, from, to } => Kind::Migrate(Migrate {
                task: task.read(endian, record)?,
                from: u32_of(from)?,
                to: u32_of(to)?,
            }),
            Decoder::StatRuntime { pid, comm, runtime, vruntime } => {
                Kind::StatRuntime(StatRuntime {
                    pid: i32_of(pid)?,
                    comm: comm.comm(endian, record)?,
                    runtime_ns: runtime.unsigned(endian, record)?,
                    vruntime_ns: match vruntime {
                        Some(field) => Some(field.unsigned(endian, record)?),
                        None => None,
                    },
                })
            }
            Decoder::PiSetprio { pid, comm, old, new } => Kind::PiSetprio(PiSetprio {
                pid: i32_of(pid)?,
                comm: comm.comm(endian, record)?,
                old_prio: i32_of(old)?,
                new_prio: i32_of(new)?,
            }),
            Decoder::HrtimerExpire { function } => Kind::HrtimerExpire(HrtimerExpire {
                function: symbols.function(function.unsigned(endian, record)?),
            }),
            Decoder::Other => {
                let mut fields = Vec::with_capacity(self.fields.len());
                for field in &self.fields {
                    fields.push((Arc::clone(&field.name), field.value(endian, record)?));
                }
                let (system, name) = (Arc::clone(&self.system), Arc::clone(&self.name));
                Kind::Other(Other { system, name, fields })
            }
        })
    }
}

/// Events with a type of their own.
const OF_INTEREST: &[&str] = &[
    "sched_switch",
    "sched_wakeup",
    "sched_wakeup_new",
    "sched_waking",
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "sched_migrate_task",
    "sched_stat_runtime",
    "sched_pi_setprio",
    "hrtimer_expire_entry",
];

/// `prev_state` as the kernel stores it: bits for the letters S, D, T, t, X, Z, P, I, and one for
/// preempted.
pub(crate) fn state_of(state: u64) -> SwitchState {
    if state & STATE_PREEMPTED != 0 {
        SwitchState::Preempted
    } else if state & STATE_DEAD != 0 {
        SwitchState::Dead
    } else if state & STATE_STOPPED != 0 {
        SwitchState::Asleep(SleepState::Stopped)
    } else if state & STATE_LETTERS != 0 {
        SwitchState::Asleep(SleepState::Waiting)
    } else {
        SwitchState::Runnable
    }
}

/// The letter of the lowest bit.
pub(crate) fn letter_of(state: u64) -> u8 {
    let bit = (state & STATE_LETTERS).trailing_zeros() as usize;
    STATE_LETTER.get(bit).copied().unwrap_or(b'R')
}

/// The function of a timer by its name.
pub(crate) fn timer_function(name: &str) -> TimerFunction {
    match name {
        "tick_sched_timer" | "tick_nohz_handler" => TimerFunction::Tick,
        "hrtick" => TimerFunction::HrTick,
        _ => TimerFunction::Other,
    }
}

/// The addresses of the few functions that matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Symbols {
    by_address: HashMap<u64, TimerFunction>,
}

impl Symbols {
    /// A line of `/proc/kallsyms`: `ffffffff810f8c40 t hrtick`.
    pub(crate) fn line(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        let function = timer_function(name);
        // Addresses are 0 where the reader of the file was not allowed to see them.
        if function != TimerFunction::Other
            && let Ok(address @ 1..) = u64::from_str_radix(address, 16)
        {
            self.by_address.insert(address, function);
        }
    }

    fn function(&self, address: u64) -> TimerFunction {
        self.by_address.get(&address).copied().unwrap_or(TimerFunction::Other)
    }
}

/// Fields of tracefs' `header_page`: name, offset and size in bytes.
pub(crate) fn layout(text: &str) -> Vec<(String, usize, usize)> {
    let fields = text.lines().filter_map(Field::parse);
    fields.map(|field| (field.name.to_string(), field.offset, field.size)).collect()
}

/// All formats of a trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Formats {
    /// By number; numbers are 16 bits wide, and most small.
    by_id: Vec<Option<Box<Format>>>,
}

impl Formats {
    pub(crate) fn insert(&mut self, format: Format) {
        let id = format.id as usize;
        if id > usize::from(u16::MAX) {
            return;
        }
        if self.by_id.len() <= id {
            self.by_id.resize(id + 1, None);
        }
        self.by_id[id] = Some(Box::new(format));
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Format> {
        self.by_id.get(id as usize)?.as_deref()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The number of the event a record is of.
    #[inline]
    pub(crate) fn id_of(endian: Endian, record: &[u8]) -> Option<u32> {
        // `common_type` is the first field of every event.
        endian.uint(record, 0, 2).map(|id| id as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::{FieldKind, Format, Symbols, state_of};
    use crate::bytes::Endian;
    use crate::event::{Kind, SleepState, SwitchState, TimerFunction, Value};

    const STAT: &str = "name: sched_stat_runtime
ID: 363
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:__data_loc char[] comm;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;
\tfield:u64 runtime;\toffset:16;\tsize:8;\tsigned:0;

print fmt: \"comm=%s\", field:x
";

    fn record() -> Vec<u8> {
        let mut record = vec![0; 32];
        record[..2].copy_from_slice(&363_u16.to_le_bytes());
        record[2] = 8;
        record[4..8].copy_from_slice(&7_i32.to_le_bytes());
        record[8..12].copy_from_slice(&(4_u32 << 16 | 24).to_le_bytes());
        record[12..16].copy_from_slice(&7_i32.to_le_bytes());
        record[16..24].copy_from_slice(&1234_u64.to_le_bytes());
        record[24..28].copy_from_slice(b"hog\0");
        record
    }

    #[test]
    fn fields_are_found_where_the_format_says() {
        let format = Format::parse("sched", STAT).unwrap();
        let event = format.decode(Endian::Little, &record(), &Symbols::default(), (5, 1)).unwrap();
        assert_eq!((event.pid, event.time_ns, event.cpu), (Some(7), 5, 1));
        assert_eq!((event.in_interrupt, event.need_resched), (Some(true), Some(false)));
        let Kind::StatRuntime(stat) = event.kind else { panic!("{event:?}") };
        assert_eq!((stat.pid, stat.runtime_ns, stat.vruntime_ns), (7, 1234, None));
        assert_eq!(stat.comm.to_text(), "hog");
    }

    #[test]
    fn an_event_of_another_group_is_generic() {
        let format = Format::parse("sw", STAT).unwrap();
        let event = format.decode(Endian::Little, &record(), &Symbols::default(), (0, 0)).unwrap();
        let Kind::Other(other) = event.kind else { panic!("{event:?}") };
        assert_eq!(other.field("comm"), Some(&Value::Text("hog".to_owned())));
        assert_eq!(other.field("runtime").and_then(Value::as_u64), Some(1234));
    }

    #[test]
    fn a_record_too_short_for_its_format_is_refused() {
        let format = Format::parse("sched", STAT).unwrap();
        let mut record = record();
        record.truncate(20);
        assert!(format.decode(Endian::Little, &record, &Symbols::default(), (0, 0)).is_none());
        let mut record = self::record();
        record[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(format.decode(Endian::Little, &record, &Symbols::default(), (0, 0)).is_none());
    }

    #[test]
    fn a_known_event_without_its_fields_is_unexpected() {
        let format = Format::parse("sched", &STAT.replace("u64 runtime", "u64 ran")).unwrap();
        assert!(format.unexpected);
    }

    #[test]
    fn kinds_of_fields_come_from_their_declarations() {
        let kind = |line: &str| super::Field::parse(line).unwrap().kind;
        assert_eq!(kind("field:char a[16]; offset:8; size:16; signed:0;"), FieldKind::Text);
        assert_eq!(kind("field:long b; offset:8; size:8; signed:1;"), FieldKind::Signed);
        assert_eq!(
            kind("field:unsigned long args[6]; offset:16; size:48; signed:0;"),
            FieldKind::Bytes
        );
        assert_eq!(
            kind("field:__rel_loc char[] c; offset:8; size:4; signed:0;"),
            FieldKind::Elsewhere { text: true, relative: true }
        );
    }

    #[test]
    fn states_are_decoded() {
        assert_eq!(state_of(0), SwitchState::Runnable);
        assert_eq!(state_of(0x100), SwitchState::Preempted);
        assert_eq!(state_of(0x101), SwitchState::Preempted);
        assert_eq!(state_of(1), SwitchState::Asleep(SleepState::Waiting));
        assert_eq!(state_of(0x80), SwitchState::Asleep(SleepState::Waiting));
        assert_eq!(state_of(0x40), SwitchState::Asleep(SleepState::Stopped));
        assert_eq!(state_of(0x20), SwitchState::Dead);
    }

    #[test]
    fn symbols_name_the_tick_and_the_slice_timer() {
        let mut symbols = Symbols::default();
        symbols.line("ffffffff810f8c40 t hrtick");
        symbols.line("0000000000000000 t tick_nohz_handler");
        assert_eq!(symbols.function(0xffff_ffff_810f_8c40), TimerFunction::HrTick);
        assert_eq!(symbols.function(0), TimerFunction::Other);
    }
}
