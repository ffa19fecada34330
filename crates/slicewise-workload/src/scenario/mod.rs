//! Slicewise scenarios: TOML.

pub(crate) mod fields;
mod group;
mod interrupt;
mod machine;
mod memory;
mod program;
mod schema;
mod task;
mod topology;

use std::ops::Range;

use slicewise_machine::{Device, Dist, Queue};
use slicewise_sched::Attr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Severity, Sink, shorten};
use crate::draft::{Code, Numbering, OPS_MAX, Roster, Shared, build};
use crate::{CgroupError, Cgroups, Inputs, Parts, cgroups, checks};
pub(crate) use fields::parse_cpu_list;
use fields::{Fields, Value, dist, wrong_kind};
use group::Included;
pub(crate) use machine::check_feature;
pub(crate) use memory::memory_node;
pub use schema::schema_json;
pub(crate) use task::{PolicyWord, parse_policy};

const SCENARIO_KEYS: &[&str] = &[
    "title",
    "question",
    "machine",
    "group",
    "session",
    "task",
    "device",
    "queue",
    "barrier",
    "mutex",
    "interrupt",
    "memory",
];
/// How many requests may wait where nobody says: enough for every queue that is ever served again,
/// and a bound on memory for those that are not.
const QUEUE_DEPTH_DEFAULT: u32 = 1_000_000;

/// The kernel whose rules hold for the files of groups where nobody has chosen one yet.
pub(crate) const KERNEL_DEFAULT: &str = "6.12";

const DEVICE_KEYS: &[&str] = &["name", "depth"];
const QUEUE_KEYS: &[&str] =
    &["name", "interarrival", "rate", "service", "requests", "depth", "start"];
const BARRIER_KEYS: &[&str] = &["name", "parties"];
const MUTEX_KEYS: &[&str] = &["name", "priority_inheritance"];

/// What the tables of a scenario need to know of each other.
struct Reader<'s, 'r> {
    sink: &'s mut Sink,
    inputs: &'s mut Inputs<'r>,
    cgroups: Cgroups,
    shared: Shared,
    roster: Roster,
    ops_left: usize,
    /// How the task whose program is being read starts: what `set` builds on.
    start_attr: Attr,
}

/// The text as TOML, if it is.
pub(crate) fn toml_document<'t>(text: &'t str, sink: &mut Sink) -> Option<Spanned<DeTable<'t>>> {
    let (document, problems) = DeTable::parse_recoverable(text);
    for problem in problems {
        let span = problem.span().unwrap_or(text.len()..text.len());
        let message = shorten(problem.message());
        if message.contains("with a dotted key") {
            let help = "a name with dots can be one key in quotes: \"cpu.max.burst\" = 10000";
            sink.error_help(span, message, help);
        } else {
            sink.error(span, message);
        }
    }
    if sink.has_errors() {
        // What the parser made up to recover would only lead to more complaints.
        return None;
    }
    Some(document)
}

pub(crate) fn read(text: &str, inputs: &mut Inputs<'_>, sink: &mut Sink) -> Option<Parts> {
    let document = toml_document(text, sink)?;
    let mut reader = Reader {
        sink,
        inputs,
        cgroups: Cgroups::default(),
        shared: Shared::default(),
        roster: Roster::default(),
        ops_left: OPS_MAX,
        start_attr: Attr::default(),
    };
    reader.document(document.get_ref(), 0..text.len().min(1))
}

impl Reader<'_, '_> {
    fn document<'t>(&mut self, table: &'t DeTable<'t>, span: Range<usize>) -> Option<Parts> {
        let fields = Fields::new(self.sink, table, span, "the scenario", SCENARIO_KEYS);
        let title = fields.string(self.sink, "title").map(|(text, _)| text.to_owned());
        let question = fields.string(self.sink, "question").map(|(text, _)| text.to_owned());
        let (settings, features_span) = self.machine(&fields);
        for entry in self.list(&fields, "device") {
            self.device(entry);
        }
        for entry in self.list(&fields, "queue") {
            self.queue(entry);
        }
        for entry in self.list(&fields, "barrier") {
            self.barrier(entry);
        }
        for entry in self.list(&fields, "mutex") {
            self.mutex(entry);
        }
        for entry in self.list(&fields, "memory") {
            self.shared_memory(entry);
        }
        let included = self.cgroups(&fields);
        self.sessions(&fields);
        for Included { group, span, .. } in &included {
            self.check_is_leaf(*group, span);
        }
        let tasks = self.list(&fields, "task");
        if tasks.is_empty() && included.is_empty() {
            let help = "add one:\n[[task]]\nname = \"burn\"\nhog = true";
            self.sink.error_help(fields.span.clone(), "the scenario has no tasks", help);
        }
        let drafts = self.tasks(&tasks);
        for entry in self.list(&fields, "interrupt") {
            self.interrupt(entry);
        }
        let kernel = settings.kernel.as_deref().unwrap_or(KERNEL_DEFAULT);
        let rules = cgroups::rules_named(kernel, settings.rt);
        let groups = self.cgroups.groups(&rules).unwrap_or_else(|errors| {
            for CgroupError { message, help, span } in errors {
                self.sink.error_help(span, message, help);
            }
            Vec::new()
        });
        let starts = !included.is_empty() || drafts.iter().any(|draft| !draft.template);
        if !self.sink.has_errors() && !starts {
            let message = "every task is a template: nothing would start";
            self.sink.error_help(drafts[0].span.clone(), message, "remove `template` from one");
        }
        if !self.sink.has_errors() {
            checks::check(&drafts, &self.roster, &self.shared, Severity::Error, self.sink);
        }
        if self.sink.has_errors() {
            return None;
        }
        let (affinities, slices) = crate::requests(&drafts);
        let interrupted = crate::interrupted(&self.shared);
        let shared = std::mem::take(&mut self.shared);
        let mut workload = build(&drafts, shared, Numbering::PerGroup, self.sink)?;
        workload.groups = groups;
        let mut parts = Parts {
            workload,
            settings,
            title,
            question,
            groups: std::mem::take(&mut self.roster.groups),
            cgroups: std::mem::take(&mut self.cgroups),
            affinities,
            interrupted,
            slices,
            features_span,
        };
        self.include(included, &mut parts);
        Some(parts)
    }

    /// The entries of `[[key]]`.
    fn list<'t>(&mut self, fields: &Fields<'t>, key: &str) -> Vec<&'t Value<'t>> {
        let Some(value) = fields.get(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => {
                let message = format!("`{key}` must be a list of tables");
                self.sink.error_help(value.span(), message, format!("write `[[{key}]]`"));
                Vec::new()
            }
        }
    }

    /// A name that no other thing of its kind has.
    fn own_name<'t>(&mut self, fields: &Fields<'t>, what: &str, known: bool) -> Option<&'t str> {
        fields.need(self.sink, "name", what, "give it one: `name = \"…\"`");
        let (name, span) = fields.name(self.sink, "name")?;
        if known {
            let message = format!("there is already {what} named `{}`", shorten(name));
            self.sink.error_help(span, message, "give each a name of its own");
            return None;
        }
        Some(name)
    }

    fn device<'t>(&mut self, entry: &'t Value<'t>) -> Option<()> {
        let fields = Fields::of(self.sink, entry, "a device", DEVICE_KEYS)?;
        let name = fields.get("name").and_then(|name| name.get_ref().as_str());
        let known = self.shared.devices.iter().any(|device| Some(device.name.as_str()) == name);
        let depth = fields.integer(self.sink, "depth", 1..i128::from(u32::MAX));
        let name = self.own_name(&fields, "a device", known)?.to_owned();
        let depth = depth.map_or(u32::MAX, |(depth, _)| depth as u32);
        self.shared.devices.push(Device { name, depth });
        Some(())
    }

    fn mutex<'t>(&mut self, entry: &'t Value<'t>) -> Option<()> {
        let fields = Fields::of(self.sink, entry, "a mutex", MUTEX_KEYS)?;
        let name = fields.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or_default();
        let known = self.shared.mutexes.find(name).is_some();
        let inherits = fields.boolean(self.sink, "priority_inheritance");
        let name = self.own_name(&fields, "a mutex", known)?;
        let index = self.shared.mutexes.intern(name);
        if inherits == Some(true) {
            self.shared.inheriting.insert(index);
        }
        Some(())
    }

    fn barrier<'t>(&mut self, entry: &'t Value<'t>) -> Option<()> {
        let fields = Fields::of(self.sink, entry, "a barrier", BARRIER_KEYS)?;
        let name = fields.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or_default();
        let known = self.shared.barriers.find(name).is_some();
        let parties = fields.integer(self.sink, "parties", 1..i128::from(u32::MAX));
        let name = self.own_name(&fields, "a barrier", known)?;
        let index = self.shared.barriers.intern(name);
        if let Some((parties, span)) = parties {
            self.shared.parties.insert(index, (parties as u32, span));
        }
        Some(())
    }

    fn queue<'t>(&mut self, entry: &'t Value<'t>) -> Option<()> {
        let fields = Fields::of(self.sink, entry, "a queue", QUEUE_KEYS)?;
        let name = fields.get("name").and_then(|name| name.get_ref().as_str());
        let known = self.shared.queues.iter().any(|queue| Some(queue.name.as_str()) == name);
        let interarrival = self.interarrival(&fields, "the queue", "requests");
        let help = "say how long a request takes: `service = \"2ms\"`";
        fields.need(self.sink, "service", "the queue", help);
        let service = fields.get("service").and_then(|value| dist(self.sink, "service", value));
        let requests = fields.integer(self.sink, "requests", 1..i128::from(u64::MAX));
        let depth = fields.integer(self.sink, "depth", 1..i128::from(u32::MAX));
        let start_ns = fields.duration(self.sink, "start").map_or(0, |(ns, _)| ns);
        let name = self.own_name(&fields, "a queue", known)?.to_owned();
        self.shared.queues.push(Queue {
            name,
            // Anything will do after an error: the queue only has to be known by its name.
            interarrival: interarrival.unwrap_or(Dist::Constant(1_000_000)),
            service: service.unwrap_or(Dist::Constant(1_000_000)),
            start_ns,
            requests: requests.map(|(requests, _)| requests as u64),
            depth: depth.map_or(QUEUE_DEPTH_DEFAULT, |(depth, _)| depth as u32),
        });
        Some(())
    }

    /// When `arrivals` come to `what`.
    fn interarrival<'t>(
        &mut self,
        fields: &Fields<'t>,
        what: &str,
        arrivals: &str,
    ) -> Option<Dist> {
        match (fields.get("interarrival"), fields.get("rate")) {
            (Some(value), None) => {
                let dist = dist(self.sink, "interarrival", value)?;
                if never_positive(&dist) {
                    let message = format!(
                        "`interarrival` is always zero: {arrivals} would never stop arriving"
                    );
                    self.sink.error_help(value.span(), message, "write a duration like `5ms`");
                    return None;
                }
                Some(dist)
            }
            (None, Some(value)) => {
                let Some(text) = value.get_ref().as_str() else {
                    wrong_kind(self.sink, "rate", value, "a string such as \"200/s\"");
                    return None;
                };
                match crate::units::parse_rate(text) {
                    Ok(mean_ns) => Some(Dist::Exponential { mean_ns }),
                    Err(bad) => {
                        let message = format!("`rate`: {}", bad.message);
                        self.sink.error_help(value.span(), message, bad.help);
                        None
                    }
                }
            }
            (None, None) => {
                let message = format!("{what} has neither `rate` nor `interarrival`");
                let help = format!(
                    "say when {arrivals} arrive: `rate = \"200/s\"` or `interarrival = \"5ms\"`"
                );
                self.sink.error_help(fields.span.clone(), message, help);
                None
            }
            (Some(_), Some(rate)) => {
                let message = format!("{what} has both `rate` and `interarrival`");
                self.sink.error_help(rate.span(), message, "keep one of them");
                None
            }
        }
    }

    fn code(&self) -> Code {
        Code::new(self.ops_left)
    }
}

fn never_positive(dist: &Dist) -> bool {
    match dist {
        Dist::Constant(ns) | Dist::Uniform(_, ns) | Dist::Pareto { max_ns: ns, .. } => *ns == 0,
        Dist::Empirical(bins) => bins.iter().all(|bin| bin.value_ns == 0),
        Dist::Exponential { .. } | Dist::LogNormal { .. } => false,
    }
}
