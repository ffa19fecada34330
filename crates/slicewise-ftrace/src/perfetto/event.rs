//! One ftrace event. The numbers are those of `FtraceEvent` and its messages in Perfetto's published protos;
//! they never change.

use std::collections::HashMap;
use std::sync::Arc;

use super::wire::{self, Fields, Value as Wire};
use crate::event::{
    Comm, Exec, Exit, Fork, HrtimerExpire, Kind, Migrate, Other, PiSetprio, StatRuntime, Switch,
    TaskRef, TimerFunction, Value, Wakeup,
};
use crate::format;

const TIMESTAMP: u32 = 1;
const PID: u32 = 2;
const COMMON_FLAGS: u32 = 5;
const GENERIC: u32 = 327;

/// Bits of `common_flags`, as in the kernel's records.
pub(super) const FLAG_HARDIRQ: u64 = 0x08;
pub(super) const FLAGS_NEED_RESCHED: u64 = 0x04 | 0x02;

/// Names are cut here.
const NAME_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 4096;
const FIELDS_MAX: usize = 64;
const DESCRIPTORS_MAX: usize = 4096;
const NAMES_MAX: usize = 4096;

/// How a field of an event without a type of its own is to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Signed,
    Unsigned,
    Text,
}
use Shape::{Signed, Text, Unsigned};

/// Events that are handed on with their fields by name: number, group, name, and fields in the order of their
/// numbers, from 1 on.
type Known = (u32, &'static str, &'static str, &'static [(&'static str, Shape)]);
const KNOWN: &[Known] = &[
    (3, "ftrace", "print", &[("ip", Unsigned), ("buf", Text)]),
    (11, "power", "cpu_frequency", &[("state", Unsigned), ("cpu_id", Unsigned)]),
    (13, "power", "cpu_idle", &[("state", Unsigned), ("cpu_id", Unsigned)]),
    (
        18,
        "sched",
        "sched_blocked_reason",
        &[("pid", Signed), ("caller", Unsigned), ("io_wait", Unsigned)],
    ),
    (
        19,
        "sched",
        "sched_cpu_hotplug",
        &[("affected_cpu", Signed), ("error", Signed), ("status", Signed)],
    ),
    (21, "ipi", "ipi_entry", &[("reason", Text)]),
    (22, "ipi", "ipi_exit", &[("reason", Text)]),
    (23, "ipi", "ipi_raise", &[("target_cpus", Unsigned), ("reason", Text)]),
    (24, "irq", "softirq_entry", &[("vec", Unsigned)]),
    (25, "irq", "softirq_exit", &[("vec", Unsigned)]),
    (26, "irq", "softirq_raise", &[("vec", Unsigned)]),
    (36, "irq", "irq_handler_entry", &[("irq", Signed), ("name", Text), ("handler", Unsigned)]),
    (37, "irq", "irq_handler_exit", &[("irq", Signed), ("ret", Signed)]),
    (
        67,
        "cgroup",
        "cgroup_attach_task",
        &[
            ("dst_root", Signed),
            ("dst_id", Signed),
            ("pid", Signed),
            ("comm", Text),
            ("cname", Text),
            ("dst_level", Signed),
            ("dst_path", Text),
        ],
    ),
    (
        235,
        "task",
        "task_newtask",
        &[("pid", Signed), ("comm", Text), ("clone_flags", Unsigned), ("oom_score_adj", Signed)],
    ),
    (
        236,
        "task",
        "task_rename",
        &[("pid", Signed), ("oldcomm", Text), ("newcomm", Text), ("oom_score_adj", Signed)],
    ),
    (240, "sched", "sched_process_free", &[("comm", Text), ("pid", Signed), ("prio", Signed)]),
    (241, "sched", "sched_process_hang", &[("comm", Text), ("pid", Signed)]),
    (242, "sched", "sched_process_wait", &[("comm", Text), ("pid", Signed), ("prio", Signed)]),
    (329, "raw_syscalls", "sys_enter", &[("id", Signed)]),
    (330, "raw_syscalls", "sys_exit", &[("id", Signed), ("ret", Signed)]),
    (
        551,
        "timer",
        "hrtimer_start",
        &[
            ("hrtimer", Unsigned),
            ("function", Unsigned),
            ("expires", Signed),
            ("softexpires", Signed),
            ("mode", Unsigned),
        ],
    ),
    (552, "timer", "hrtimer_cancel", &[("hrtimer", Unsigned)]),
    (554, "timer", "hrtimer_expire_exit", &[("hrtimer", Unsigned)]),
    (
        555,
        "timer",
        "timer_start",
        &[
            ("timer", Unsigned),
            ("function", Unsigned),
            ("expires", Unsigned),
            ("now", Unsigned),
            ("deferrable", Unsigned),
            ("flags", Unsigned),
            ("bucket_expiry", Unsigned),
        ],
    ),
    (556, "timer", "timer_cancel", &[("timer", Unsigned)]),
    (
        557,
        "timer",
        "timer_expire_entry",
        &[("timer", Unsigned), ("now", Unsigned), ("function", Unsigned), ("baseclk", Unsigned)],
    ),
    (558, "timer", "timer_expire_exit", &[("timer", Unsigned)]),
    (559, "irq_vectors", "local_timer_entry", &[("vector", Signed)]),
    (560, "irq_vectors", "local_timer_exit", &[("vector", Signed)]),
];

/// When a `FtraceEvent` was.
pub(super) fn time_ns(bytes: &[u8]) -> Option<u64> {
    let [time_ns] = wire::first::<1>(bytes)?;
    time_ns?.number()
}

/// An event, and what stands before it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) time_ns: u64,
    pub(super) pid: Option<i32>,
    pub(super) flags: Option<u64>,
    pub(super) kind: Result<Kind, Why>,
}

/// Why there is no event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// It is of a kind that is not known here, nor described in the file.
    Unknown,
    /// It makes no sense.
    Malformed,
}

/// An event that the file describes.
#[derive(Debug)]
struct Descriptor {
    system: Arc<str>,
    name: Arc<str>,
    fields: Vec<(u32, Arc<str>, Shape)>,
}

/// What is known of events.
#[derive(Debug)]
pub(super) struct Events {
    known: HashMap<u32, Descriptor>,
    /// Those the file describes.
    described: HashMap<u32, Descriptor>,
    names: HashMap<Box<[u8]>, Arc<str>>,
}

impl Events {
    pub(super) fn new() -> Self {
        let known = KNOWN.iter().map(|(number, system, name, fields)| {
            let fields =
                (1..).zip(*fields).map(|(at, (name, shape))| (at, Arc::from(*name), *shape));
            let (system, name) = (Arc::from(*system), Arc::from(*name));
            (*number, Descriptor { system, name, fields: fields.collect() })
        });
        Self { known: known.collect(), described: HashMap::new(), names: HashMap::new() }
    }

    /// A `GenericEventDescriptor`: the number of the event's field, its group, and a `DescriptorProto`.
    pub(super) fn describe(&mut self, bytes: &[u8]) -> Option<()> {
        let [number, message, group] = wire::first::<3>(bytes)?;
        let (message, group) = (message?.bytes()?, group.and_then(Wire::bytes));
        let number = u32::try_from(number?.number()?).ok()?;
        if self.described.len() >= DESCRIPTORS_MAX {
            return None;
        }
        let mut name = None;
        let mut fields = Vec::new();
        for field in Fields::new(message) {
            match field.ok()? {
                (1, value) => name = value.bytes(),
                (2, value) if fields.len() < FIELDS_MAX => {
                    let [name, _, number, _, kind] = wire::first::<5>(value.bytes()?)?;
                    let shape = match kind?.number()? {
                        9 | 12 => Text,
                        // Those with a sign: int64, int32, sfixed, enum.
                        3 | 5 | 14..=16 => Signed,
                        _ => Unsigned,
                    };
                    let number = u32::try_from(number?.number()?).ok()?;
                    fields.push((number, self.name(name?.bytes()?), shape));
                }
                _ => {}
            }
        }
        let (system, name) = (self.name(group.unwrap_or(b"")), self.name(name?));
        self.described.insert(number, Descriptor { system, name, fields });
        Some(())
    }

    /// A `FtraceEvent`.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Read> {
        let (mut time_ns, mut pid, mut flags, mut payload) = (None, None, None, None);
        for field in Fields::new(bytes) {
            match field.ok()? {
                (TIMESTAMP, value) => time_ns = Some(value.number()?),
                (PID, value) => pid = Some(value.number()?),
                (COMMON_FLAGS, Wire::Number(value)) => flags = Some(value),
                (number, Wire::Bytes(value)) => payload = Some((number, value)),
                _ => {}
            }
        }
        let kind = match payload {
            None => Err(Why::Unknown),
            Some((number, payload)) => self.kind(number, payload),
        };
        Some(Read { time_ns: time_ns?, pid: pid.map(|pid| pid as i32), flags, kind })
    }

    #[inline]
    fn kind(&mut self, number: u32, payload: &[u8]) -> Result<Kind, Why> {
        if let Some(kind) = of_interest(number, payload) {
            return kind.ok_or(Why::Malformed);
        }
        if number == GENERIC
            && let Some(stat) = generic_stat_runtime(payload)
        {
            return Ok(Kind::StatRuntime(stat));
        }
        let other = match number {
            GENERIC => self.generic(payload),
            _ => {
                let descriptor = self.known.get(&number).or_else(|| self.described.get(&number));
                other(descriptor.ok_or(Why::Unknown)?, payload)
            }
        };
        let other = other.ok_or(Why::Malformed)?;
        Ok(typed(&other).unwrap_or(Kind::Other(other)))
    }

    /// A `GenericFtraceEvent`: fields with their names beside them.
    fn generic(&mut self, payload: &[u8]) -> Option<Other> {
        let mut name = None;
        let mut fields = Vec::new();
        for field in Fields::new(payload) {
            match field.ok()? {
                (1, value) => name = value.bytes(),
                (2, value) if fields.len() < FIELDS_MAX => {
                    let [name, _, text, signed, unsigned] = wire::first::<5>(value.bytes()?)?;
                    let value = match (text, signed, unsigned) {
                        (Some(text), ..) => Value::Text(text_of(text.bytes()?)),
                        (_, Some(number), _) => Value::Signed(number.number()? as i64),
                        (.., number) => Value::Unsigned(number.map_or(Some(0), Wire::number)?),
                    };
                    fields.push((self.name(name?.bytes()?), value));
                }
                _ => {}
            }
        }
        Some(Other { system: self.name(b""), name: self.name(name?), fields })
    }

    pub(super) fn name(&mut self, name: &[u8]) -> Arc<str> {
        let name = &name[..name.len().min(NAME_BYTES_MAX)];
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

/// Events with a type of their own. `None` if it is none of them.
#[inline]
fn of_interest(number: u32, payload: &[u8]) -> Option<Option<Kind>> {
    Some(match number {
        4 => message(payload).map(|[prev, pid, prio, state, next, next_pid, next_prio]: [_; 7]| {
            let state = unsigned(state);
            Kind::Switch(Switch {
                prev: task(prev, pid, prio),
                prev_state: format::state_of(state),
                prev_letter: format::letter_of(state),
                next: task(next, next_pid, next_prio),
            })
        }),
        17 => wakeup(payload).map(Kind::Wakeup),
        20 => wakeup(payload).map(Kind::Waking),
        114 => wakeup(payload).map(Kind::WakeupNew),
        237 => message(payload).map(|[_, pid, old_pid]: [_; 3]| {
            Kind::Exec(Exec { pid: signed(pid), old_pid: signed(old_pid) })
        }),
        238 => message(payload)
            .map(|[comm, pid, _, prio]: [_; 4]| Kind::Exit(Exit { task: task(comm, pid, prio) })),
        239 => message(payload).map(|[_, parent, child_comm, child]: [_; 4]| {
            let (parent, child) = (signed(parent), signed(child));
            Kind::Fork(Fork { parent, child, child_comm: comm(child_comm) })
        }),
        353 => message(payload).map(|[name, new, old, pid]: [_; 4]| {
            let (old_prio, new_prio) = (signed(old), signed(new));
            Kind::PiSetprio(PiSetprio { pid: signed(pid), comm: comm(name), old_prio, new_prio })
        }),
        491 => message(payload).map(|[comm, pid, prio, from, to]: [_; 5]| {
            let (from, to) = (signed(from) as u32, signed(to) as u32);
            Kind::Migrate(Migrate { task: task(comm, pid, prio), from, to })
        }),
        // Addresses of functions; their names are not with the event.
        553 => message(payload).map(|[_]: [_; 1]| {
            Kind::HrtimerExpire(HrtimerExpire { function: TimerFunction::Other })
        }),
        _ => return None,
    })
}

#[inline]
fn message<const N: usize>(payload: &[u8]) -> Option<[Option<Wire<'_>>; N]> {
    wire::first(payload)
}

#[inline]
fn wakeup(payload: &[u8]) -> Option<Wakeup> {
    let [comm, pid, prio, _, cpu] = message(payload)?;
    Some(Wakeup { task: task(comm, pid, prio), target_cpu: signed(cpu) as u32 })
}

/// What is not there is 0, as writers may leave it out.
#[inline]
fn unsigned(value: Option<Wire<'_>>) -> u64 {
    value.and_then(Wire::number).unwrap_or(0)
}

#[inline]
fn signed(value: Option<Wire<'_>>) -> i32 {
    unsigned(value) as i32
}

#[inline]
fn comm(value: Option<Wire<'_>>) -> Comm {
    Comm::new(value.and_then(Wire::bytes).unwrap_or(b""))
}

#[inline]
fn task(name: Option<Wire<'_>>, pid: Option<Wire<'_>>, prio: Option<Wire<'_>>) -> TaskRef {
    TaskRef { pid: signed(pid), comm: comm(name), prio: signed(prio) }
}

pub(super) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]).into_owned()
}

/// An event by its description; fields that are not in it are 0, those that are not described left out.
fn other(descriptor: &Descriptor, payload: &[u8]) -> Option<Other> {
    let none = |shape: &Shape| match shape {
        Signed => Value::Signed(0),
        Unsigned => Value::Unsigned(0),
        Text => Value::Text(String::new()),
    };
    let all = descriptor.fields.iter();
    let mut fields: Vec<_> = all.map(|(_, name, shape)| (Arc::clone(name), none(shape))).collect();
    for field in Fields::new(payload) {
        let (number, value) = field.ok()?;
        let at = descriptor.fields.iter().position(|(known, ..)| *known == number);
        let Some(at) = at else { continue };
        fields[at].1 = match (descriptor.fields[at].2, value) {
            (Signed, Wire::Number(number)) => Value::Signed(number as i64),
            (Unsigned, Wire::Number(number)) => Value::Unsigned(number),
            (Text, Wire::Bytes(bytes)) => Value::Text(text_of(bytes)),
            (_, Wire::Bytes(bytes)) => {
                Value::Bytes(bytes[..bytes.len().min(TEXT_BYTES_MAX)].into())
            }
            (Text, Wire::Number(_)) => return None,
        };
    }
    let (system, name) = (Arc::clone(&descriptor.system), Arc::clone(&descriptor.name));
    Some(Other { system, name, fields })
}

/// The most frequent of the events in general messages, without a look at what else there may be.
fn generic_stat_runtime(payload: &[u8]) -> Option<StatRuntime> {
    let mut fields = Fields::new(payload);
    let Some(Ok((1, Wire::Bytes(b"sched_stat_runtime")))) = fields.next() else { return None };
    let (mut comm, mut pid, mut runtime_ns, mut vruntime_ns) = (None, None, None, None);
    for field in fields {
        let (2, Wire::Bytes(field)) = field.ok()? else { return None };
        let [name, _, text, signed, unsigned] = wire::first::<5>(field)?;
        let number = signed.or(unsigned).and_then(Wire::number);
        match name?.bytes()? {
            b"comm" => comm = text?.bytes().map(Comm::new),
            b"pid" => pid = number.map(|pid| pid as i32),
            b"runtime" => runtime_ns = number,
            b"vruntime" => vruntime_ns = number,
            _ => {}
        }
    }
    Some(StatRuntime { pid: pid?, comm: comm?, runtime_ns: runtime_ns?, vruntime_ns })
}

/// Events with a type of their own that come in one of the general messages.
fn typed(other: &Other) -> Option<Kind> {
    if !matches!(&*other.system, "sched" | "timer" | "") {
        return None;
    }
    let number = |name| other.field(name).and_then(Value::as_i64);
    match &*other.name {
        "sched_stat_runtime" => {
            let Some(Value::Text(comm)) = other.field("comm") else { return None };
            Some(Kind::StatRuntime(StatRuntime {
                pid: number("pid")? as i32,
                comm: Comm::new(comm.as_bytes()),
                runtime_ns: number("runtime")? as u64,
                vruntime_ns: number("vruntime").map(|vruntime| vruntime as u64),
            }))
        }
        "hrtimer_expire_entry" => {
            let function = match other.field("function")? {
                Value::Text(name) => format::timer_function(name),
                _ => TimerFunction::Other,
            };
            Some(Kind::HrtimerExpire(HrtimerExpire { function }))
        }
        _ => None,
    }
}
