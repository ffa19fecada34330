//! Task tables: TOML with the worst case of every task.

use std::collections::BTreeMap;
use std::ops::Range;

use slicewise_rtcheck::{CPUS_MAX, Policy, TASKS_MAX, Task, TaskSet};
use toml::de::{DeTable, DeValue};

use super::LoadedRt;
use crate::diagnostic::{Sink, did_you_mean, shorten};
use crate::scenario::fields::{Fields, Value, wrong_kind};
use crate::scenario::toml_document;
use crate::settings::kernel_names;

const TABLE_KEYS: &[&str] = &["title", "question", "machine", "priorities", "task"];
const MACHINE_KEYS: &[&str] = &["cpus", "kernel", "context_switch"];
const TASK_KEYS: &[&str] = &[
    "name", "policy", "wcet", "period", "deadline", "priority", "core", "blocking", "jitter",
    "runtime",
];
/// Only scenarios' tasks have these.
const SCENARIO_KEYS: &[&str] = &["program", "phases", "hog", "periodic"];
const POLICIES: &[&str] = &["fifo", "rr", "deadline"];

pub(super) fn read(text: &str, sink: &mut Sink) -> Option<LoadedRt> {
    let document = toml_document(text, sink)?;
    document_of(document.get_ref(), 0..text.len().min(1), sink)
}

/// Whether a text is a scenario: its tasks say what they do, not how long it takes.
pub(super) fn is_scenario(text: &str) -> bool {
    let (document, problems) = DeTable::parse_recoverable(text);
    let tasks = document.get_ref().get("task").and_then(|tasks| tasks.get_ref().as_array());
    let tables = tasks.into_iter().flat_map(|tasks| tasks.iter());
    let mut keys = tables.filter_map(|task| task.get_ref().as_table()).flat_map(DeTable::keys);
    problems.is_empty() && keys.any(|key| SCENARIO_KEYS.contains(&key.get_ref().as_ref()))
}

fn document_of<'t>(
    table: &'t DeTable<'t>,
    span: Range<usize>,
    sink: &mut Sink,
) -> Option<LoadedRt> {
    let fields = Fields::new(sink, table, span, "the task table", TABLE_KEYS);
    let title = fields.string(sink, "title").map(|(text, _)| text.to_owned());
    fields.string(sink, "question");
    let machine = machine(&fields, sink);
    let band = fields.string(sink, "priorities").and_then(|(text, at)| band(text, at, sink));
    let entries: &[Value<'t>] = match fields.get("task").map(|value| (value, value.get_ref())) {
        None => &[],
        Some((_, DeValue::Array(array))) => array,
        Some((value, _)) => {
            sink.error_help(value.span(), "`task` must be a list of tables", "write `[[task]]`");
            &[]
        }
    };
    if entries.is_empty() {
        let help = "add one:\n[[task]]\nname = \"control\"\nwcet = \"2ms\"\nperiod = \"10ms\"\npriority = 50";
        sink.error_help(fields.span.clone(), "the table has no tasks", help);
    }
    if entries.len() > TASKS_MAX {
        let message = format!("{} tasks are more than can be analysed", entries.len());
        sink.error_help(fields.span.clone(), message, format!("{TASKS_MAX} at most"));
        return None;
    }
    let (mut tasks, mut origins, mut cores) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = BTreeMap::new();
    for entry in entries {
        let Some(fields) = Fields::of(sink, entry, "a task", TASK_KEYS) else { continue };
        let Some(task) = task(&fields, sink) else { continue };
        if names.insert(task.name.clone(), ()).is_some() {
            let span = fields.get("name").map_or(entry.span(), |name| name.span());
            let message = format!("there is already a task named `{}`", shorten(&task.name));
            sink.error_help(span, message, "give each a name of its own");
        }
        cores.push(fields.get("core").map_or(entry.span(), |core| core.span()));
        origins.push(entry.span());
        tasks.push(task);
    }
    all_or_no_priorities(&tasks, &origins, sink);
    let highest = tasks.iter().filter_map(|task| task.core).max();
    let cpus = machine.cpus.unwrap_or_else(|| highest.map_or(1, |core| core + 1));
    for (task, span) in tasks.iter().zip(cores) {
        if let Some(core) = task.core.filter(|core| *core >= cpus) {
            let message = format!("there is no CPU {core}: the machine has {cpus}");
            sink.error_help(span, message, format!("cores are 0 to {}", cpus - 1));
        }
    }
    if sink.has_errors() {
        return None;
    }
    let set = TaskSet {
        cpus,
        context_switch_ns: machine.context_switch_ns,
        band: band.unwrap_or((1, 99)),
        ..TaskSet::new(tasks)
    };
    Some(LoadedRt {
        set,
        origins,
        kernel: machine.kernel,
        title,
        ordinary: Vec::new(),
        warnings: Vec::new(),
        sources: crate::Sources::default(),
    })
}

#[derive(Default)]
struct Machine {
    cpus: Option<u32>,
    kernel: Option<String>,
    context_switch_ns: u64,
}

fn machine<'t>(fields: &Fields<'t>, sink: &mut Sink) -> Machine {
    let Some(value) = fields.get("machine") else { return Machine::default() };
    let Some(fields) = Fields::of(sink, value, "`machine`", MACHINE_KEYS) else {
        return Machine::default();
    };
    let cpus = fields.integer(sink, "cpus", 1..i128::from(CPUS_MAX) + 1);
    let kernel = fields.string(sink, "kernel").map(|(name, span)| {
        let names = kernel_names();
        if !names.contains(&name) {
            let message = format!("there is no profile for kernel `{}`", shorten(name));
            sink.error_help(span, message, did_you_mean(name, &names));
        }
        name.to_owned()
    });
    let context_switch_ns = fields.duration(sink, "context_switch").map_or(0, |(ns, _)| ns);
    Machine { cpus: cpus.map(|(cpus, _)| cpus as u32), kernel, context_switch_ns }
}

/// `51-60`: the priorities that may be given to tasks.
fn band(text: &str, span: Range<usize>, sink: &mut Sink) -> Option<(u8, u8)> {
    let band = parse_band(text);
    if band.is_none() {
        let message = format!("`{}` is no range of priorities", shorten(text));
        sink.error_help(span, message, "write the lowest and the highest, 1 to 99: `51-60`");
    }
    band
}

pub(crate) fn parse_band(text: &str) -> Option<(u8, u8)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    (1 <= low && low <= high && high <= 99).then_some((low, high))
}

fn task<'t>(fields: &Fields<'t>, sink: &mut Sink) -> Option<Task> {
    for (key, help) in [
        ("name", "give it one: `name = \"…\"`"),
        ("wcet", "its worst-case execution time: `wcet = \"2ms\"`"),
        ("period", "the least time between two releases: `period = \"10ms\"`"),
    ] {
        fields.need(sink, key, "the task", help);
    }
    let name = fields.name(sink, "name");
    let policy = policy(fields, sink);
    let (wcet, period) =
        (fields.positive_duration(sink, "wcet"), fields.positive_duration(sink, "period"));
    let deadline = fields.get("deadline").map(|_| fields.positive_duration(sink, "deadline"));
    let priority = fields.integer(sink, "priority", 1..100);
    let core = fields.integer(sink, "core", 0..i128::from(CPUS_MAX));
    let blocking = fields.duration(sink, "blocking").map_or(0, |(ns, _)| ns);
    let jitter = fields.duration(sink, "jitter").map_or(0, |(ns, _)| ns);
    let runtime = fields.get("runtime").map(|_| fields.positive_duration(sink, "runtime"));
    let policy = policy?;
    if let (Policy::Deadline, Some((_, span))) = (policy, &priority) {
        let message = "`priority` means nothing to SCHED_DEADLINE";
        sink.error_help(span.clone(), message, "remove it: the earliest deadline goes first");
    }
    if let (true, Some(value)) = (policy != Policy::Deadline, fields.get("runtime")) {
        let message = "`runtime` is what SCHED_DEADLINE reserves";
        sink.error_help(value.span(), message, "remove it, or add `policy = \"deadline\"`");
    }
    let (wcet_ns, period_ns) = (wcet?, period?);
    Some(Task {
        policy,
        deadline_ns: deadline.unwrap_or(Some(period_ns))?,
        priority: priority.map(|(priority, _)| priority as u8),
        core: core.map(|(core, _)| core as u32),
        blocking_ns: blocking,
        jitter_ns: jitter,
        runtime_ns: runtime.flatten(),
        ..Task::new(name?.0, wcet_ns, period_ns)
    })
}

fn policy(fields: &Fields<'_>, sink: &mut Sink) -> Option<Policy> {
    let Some(value) = fields.get("policy") else { return Some(Policy::Fifo) };
    let Some(word) = value.get_ref().as_str() else {
        wrong_kind(sink, "policy", value, "a string");
        return None;
    };
    let lower = word.to_ascii_lowercase();
    match lower.strip_prefix("sched_").unwrap_or(&lower) {
        "fifo" => Some(Policy::Fifo),
        "rr" => Some(Policy::Rr),
        "deadline" => Some(Policy::Deadline),
        short => {
            let (message, help) = match short {
                "other" | "normal" | "batch" | "idle" => (
                    format!("`{}` gives no guarantee to analyse", shorten(word)),
                    "leave ordinary tasks out: they cannot delay real-time ones".to_owned(),
                ),
                _ => (format!("unknown policy `{}`", shorten(word)), did_you_mean(short, POLICIES)),
            };
            sink.error_help(value.span(), message, help);
            None
        }
    }
}

fn all_or_no_priorities(tasks: &[Task], origins: &[Range<usize>], sink: &mut Sink) {
    let fixed = || tasks.iter().zip(origins).filter(|(task, _)| task.policy != Policy::Deadline);
    let given = fixed().find(|(task, _)| task.priority.is_some());
    for (task, span) in fixed().filter(|(task, _)| task.priority.is_none()) {
        if let Some((given, _)) = given {
            let (name, given) = (shorten(&task.name), shorten(&given.name));
            let message = format!("`{name}` has no `priority`, but `{given}` has one");
            let help = "give one to every task, 1 to 99, or to none: then they are found for you";
            sink.error_help(span.clone(), message, help);
        }
    }
}
