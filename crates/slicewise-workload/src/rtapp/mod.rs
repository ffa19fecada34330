//! rt-app JSON, as rt-app 1.0 and workgen read it (docs/rt-app.md says where this differs).

mod event;
mod text;
mod thread;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged;

use crate::diagnostic::{Severity, Sink, did_you_mean, shorten};
use crate::draft::{Code, Draft, Numbering, OPS_MAX, Roster, Shared, build, set_timer_modes};
use crate::{Cgroups, Parts, Settings, checks};
use text::{Completed, kind, whole};

/// What writing a KiB of memory (`mem`) costs, ns: 20 GB/s, which is what filling a buffer of the
/// default 4 MB takes a current server core with it in its cache.
pub const MEM_NS_PER_KIB: u64 = 50;

/// What writing a KiB to a device (`iorun`) costs, ns: 2 GB/s, a copy into the page cache
/// with its bookkeeping. A real device that is waited for is slower.
pub const IO_NS_PER_KIB: u64 = 500;

/// What a write to `/dev/null` costs, ns: the system call alone, whatever its size.
pub const NULL_WRITE_NS: u64 = 500;

const ROOT_KEYS: &[&str] = &["tasks", "resources", "global"];
const GLOBAL_KEYS: &[&str] = &[
    "duration",
    "calibration",
    "default_policy",
    "pi_enabled",
    "lock_pages",
    "logdir",
    "log_basename",
    "log_size",
    "ftrace",
    "gnuplot",
    "io_device",
    "mem_buffer_size",
    "cumulative_slack",
];

/// What rt-app can count: it reads all numbers as C's `int`.
const INT_MAX: i128 = i32::MAX as i128;

struct Reader<'s, 't> {
    sink: &'s mut Sink,
    completed: &'t Completed<'t>,
    shared: Shared,
    roster: Roster,
    ops_left: usize,
    settings: Settings,
    default_policy: String,
    mem_buffer_bytes: u64,
    io_to_null: bool,
    /// Timers that some event calls absolute, by owner (all tasks, or one group) and name.
    absolute: BTreeSet<(Option<usize>, String)>,
    suspends: Suspends,
}

/// Who suspends on which names. rt-app's suspend is a wait on a condition of that name.
#[derive(Default)]
struct Suspends {
    /// Groups by name.
    groups: BTreeMap<String, BTreeSet<usize>>,
    /// Names by group.
    names: BTreeMap<usize, BTreeSet<String>>,
    /// Names that also are a mutex or condition of other events.
    explicit: BTreeSet<String>,
}

impl Suspends {
    /// Whether a task that suspends on this name can be resumed as a task: it waits for nothing
    /// else, and nothing else touches the condition.
    fn is_plain(&self, name: &str) -> bool {
        !self.explicit.contains(name)
            && self.groups.get(name).is_none_or(|groups| {
                groups.iter().all(|group| self.names.get(group).is_some_and(|n| n.len() == 1))
            })
    }
}

pub(crate) fn read(text: &str, sink: &mut Sink) -> Option<Parts> {
    let completed = Completed::new(text);
    let root = text::parse(&completed, sink)?;
    let mut reader = Reader {
        sink,
        completed: &completed,
        shared: Shared::default(),
        roster: Roster::default(),
        ops_left: OPS_MAX,
        settings: Settings::default(),
        default_policy: "SCHED_OTHER".to_owned(),
        mem_buffer_bytes: 4 << 20,
        io_to_null: true,
        absolute: BTreeSet::new(),
        suspends: Suspends::default(),
    };
    let parts = reader.document(&root)?;
    Some(parts)
}

impl<'t> Reader<'_, 't> {
    fn span(&self, node: &impl Ranged) -> Range<usize> {
        self.completed.original(node.range().start..node.range().end)
    }

    fn key_span(&self, property: &ObjectProp<'_>) -> Range<usize> {
        self.span(&property.name)
    }

    fn document(&mut self, root: &Object<'t>) -> Option<Parts> {
        let mut tasks = None;
        for property in &root.properties {
            match property.name.as_str() {
                "tasks" => tasks = Some(property),
                "global" => self.global(property),
                "resources" => {
                    // Kept by rt-app for old files; resources exist by being named.
                    self.object(property, "an object of resources");
                }
                name => self.unknown(property, name, "the file", ROOT_KEYS),
            }
        }
        let Some(tasks) = tasks else {
            let help = "this may be a part of a workload: merge it with a file that has `tasks`";
            self.sink.error_help(self.span(root), "the file has no `tasks`", help);
            return None;
        };
        let threads = self.object(tasks, "an object of threads")?;
        if threads.properties.is_empty() {
            let help = "add a thread: `\"thread0\": { \"run\": 1000, \"sleep\": 9000 }`";
            self.sink.error_help(self.span(threads), "`tasks` is empty", help);
        }
        let mut drafts = self.threads(threads);
        if self.sink.has_errors() {
            return None;
        }
        let absolute = std::mem::take(&mut self.absolute);
        let groups = drafts.len();
        for group in 0..groups {
            set_timer_modes(&mut drafts[group..=group], |timer| {
                let owner = timer.shared.is_none().then_some(group);
                absolute.contains(&(owner, timer.name.clone()))
            });
        }
        checks::check(&drafts, &self.roster, &self.shared, Severity::Warning, self.sink);
        if self.sink.has_errors() {
            return None;
        }
        self.finish(&drafts)
    }

    fn finish(&mut self, drafts: &[Draft]) -> Option<Parts> {
        if drafts.iter().all(|draft| draft.template) {
            let message = "every thread has `instance` 0: nothing would start";
            self.sink.error_help(drafts[0].span.clone(), message, "set one to 1");
            return None;
        }
        let (affinities, slices) = crate::requests(drafts);
        let shared = std::mem::take(&mut self.shared);
        let mut workload = build(drafts, shared, Numbering::Global, self.sink)?;
        // Threads that wait for ever are nothing special there: the duration ends them.
        workload.stuck_is_end = true;
        Some(Parts {
            workload,
            settings: std::mem::take(&mut self.settings),
            title: None,
            question: None,
            groups: std::mem::take(&mut self.roster.groups),
            cgroups: Cgroups::default(),
            affinities,
            interrupted: Vec::new(),
            slices,
            features_span: 0..0,
        })
    }

    fn unknown(&mut self, property: &ObjectProp<'_>, name: &str, what: &str, keys: &[&str]) {
        let message = format!("unknown key `{}` in {what} is ignored", shorten(name));
        self.sink.warn(self.key_span(property), message, did_you_mean(name, keys));
    }

    fn wrong(&mut self, property: &ObjectProp<'_>, wanted: &str) {
        let name = shorten(property.name.as_str());
        let message = format!("`{name}` must be {wanted}, not {}", kind(&property.value));
        self.sink.error(self.span(&property.value), message);
    }

    fn object<'a>(&mut self, property: &'a ObjectProp<'t>, wanted: &str) -> Option<&'a Object<'t>> {
        let object = property.value.as_object();
        if object.is_none() {
            self.wrong(property, wanted);
        }
        object
    }

    fn boolean(&mut self, property: &ObjectProp<'_>) -> bool {
        match &property.value {
            Value::BooleanLit(literal) => literal.value,
            _ => {
                self.wrong(property, "true or false");
                false
            }
        }
    }

    fn string<'a>(&mut self, property: &'a ObjectProp<'t>) -> Option<&'a str> {
        match &property.value {
            Value::StringLit(literal) => Some(&literal.value),
            _ => {
                self.wrong(property, "a string");
                None
            }
        }
    }

    /// A whole number within limits.
    fn integer(&mut self, property: &ObjectProp<'_>, min: i128, max: i128) -> Option<i64> {
        let Value::NumberLit(literal) = &property.value else {
            self.wrong(property, "a whole number");
            return None;
        };
        match whole(literal) {
            Some(number) if (min..=max).contains(&number) => i64::try_from(number).ok(),
            number => {
                let name = shorten(property.name.as_str());
                let message = format!("`{name}` cannot be {}", shorten(literal.value));
                let help = match number {
                    Some(_) => format!("allowed: {min} to {max}"),
                    None => format!("it must be a whole number, {min} to {max}"),
                };
                self.sink.error_help(self.span(&property.value), message, help);
                None
            }
        }
    }

    fn global(&mut self, property: &ObjectProp<'t>) {
        let Some(global) = self.object(property, "an object") else { return };
        for property in &global.properties {
            match property.name.as_str() {
                "duration" => {
                    let seconds = self.integer(property, -INT_MAX, INT_MAX).unwrap_or(0);
                    self.duration(property, seconds);
                }
                "default_policy" => {
                    if let Some(policy) = self.string(property) {
                        self.default_policy = policy.to_owned();
                    }
                }
                "pi_enabled" => {
                    self.shared.all_inherit = self.boolean(property);
                }
                "cumulative_slack" => self.settings.cumulative_slack = self.boolean(property),
                "logdir" => self.settings.log_dir = self.string(property).map(str::to_owned),
                "log_basename" => {
                    self.settings.log_basename = self.string(property).map(str::to_owned);
                }
                "io_device" => {
                    self.io_to_null = self.string(property).is_none_or(|path| path == "/dev/null");
                }
                "mem_buffer_size" => {
                    let bytes = self.integer(property, 1, INT_MAX).unwrap_or(1);
                    self.mem_buffer_bytes = bytes as u64;
                }
                "lock_pages" | "gnuplot" => {
                    self.boolean(property);
                }
                "ftrace" if matches!(property.value, Value::StringLit(_)) => {}
                "ftrace" => {
                    self.boolean(property);
                }
                "calibration" => match &property.value {
                    // A number is the ns of one turn of the loop; a string has rt-app measure it.
                    Value::NumberLit(number) => {
                        self.settings.rtapp_loop_ns = number.value.parse().ok();
                    }
                    Value::StringLit(_) => {}
                    _ => self.wrong(property, "a string or a number"),
                },
                "log_size" => {
                    if !matches!(property.value, Value::StringLit(_) | Value::NumberLit(_)) {
                        self.wrong(property, "a string or a number");
                    }
                }
                name => self.unknown(property, name, "`global`", GLOBAL_KEYS),
            }
        }
    }

    fn duration(&mut self, property: &ObjectProp<'_>, seconds: i64) {
        // rt-app waits for its threads when this is zero or less.
        let Ok(seconds @ 1..) = u64::try_from(seconds) else { return };
        let ns = seconds.saturating_mul(1_000_000_000);
        if ns > crate::units::DURATION_MAX_NS {
            let message = format!("`duration` cannot be {seconds} seconds");
            let help = "allowed: up to a year, 31536000; -1 for no end";
            self.sink.error_help(self.span(&property.value), message, help);
            return;
        }
        self.settings.duration_ns = Some(ns);
    }

    fn code(&self) -> Code {
        Code::new(self.ops_left)
    }
}
