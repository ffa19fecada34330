//! `[[memory]]`, and what tasks say of theirs.

use slicewise_machine::{MemoryNode, MemorySpec, Share, TaskMemory, TaskPages};
use slicewise_sched::topology::NODES_MAX;
use toml::de::DeValue;

use super::Reader;
use super::fields::{Fields, Value};
use crate::diagnostic::{did_you_mean, shorten};
use crate::settings::share;

pub(super) const MEMORY_KEYS: &[&str] = &["name", "size", "node"];

/// What a node may be.
const NODE_HELP: &str = "allowed: the number of a node, \"first-touch\", \"interleave\"";
/// How fast a task walks through its memory where it does not say, bytes a second.
const RATE_DEFAULT: u64 = 1 << 30;
/// How much of its accesses are to shared memory, of a task that has some of its own.
const PART_DEFAULT: f64 = 0.5;

/// The words for where memory is, beside numbers of nodes.
pub(crate) fn memory_node(word: &str) -> Option<MemoryNode> {
    match word {
        "first-touch" => Some(MemoryNode::FirstTouch),
        "interleave" => Some(MemoryNode::Interleave),
        _ => None,
    }
}

impl Reader<'_, '_> {
    /// Memory that tasks share.
    pub(super) fn shared_memory<'t>(&mut self, entry: &'t Value<'t>) -> Option<()> {
        let fields = Fields::of(self.sink, entry, "a memory", MEMORY_KEYS)?;
        let name = fields.get("name").and_then(|name| name.get_ref().as_str());
        let known = self.shared.memories.iter().any(|memory| Some(memory.name.as_str()) == name);
        let help = "say how much there is: `size = \"4GiB\"`";
        fields.need(self.sink, "size", "the memory", help);
        let bytes = self.amount(&fields, "size", "\"4GiB\"");
        let node = self.node(&fields, "node").unwrap_or_default();
        let name = self.own_name(&fields, "a memory", known)?.to_owned();
        self.shared.memories.push(MemorySpec { name, bytes: bytes.unwrap_or(1), node });
        Some(())
    }

    /// Where a task's memory is, how much there is, and how much that matters.
    pub(super) fn memory(&mut self, fields: &Fields<'_>) -> TaskMemory {
        let bound = fields.float(self.sink, "memory_bound", 0.0..=1.0).map(share);
        let node = self.node(fields, "memory_node").unwrap_or_default();
        TaskMemory { node, bound, pages: self.pages(fields) }
    }

    fn pages(&mut self, fields: &Fields<'_>) -> Option<TaskPages> {
        let bytes = self.amount(fields, "memory", "\"4GiB\"");
        let rate = self.rate(fields);
        let shared = self.memory_named(fields);
        let part = fields.float(self.sink, "shared_part", 0.0..=1.0);
        let alone = |key: &str, needs: &str, span, reader: &mut Self| {
            let message = format!("`{key}` without {needs} says nothing");
            reader.sink.error_help(span, message, format!("add {needs}, or remove `{key}`"));
        };
        let some = fields.get("memory").is_some() || fields.get("shared_memory").is_some();
        if let Some(value) = fields.get("memory_rate").filter(|_| !some) {
            alone("memory_rate", "`memory` or `shared_memory`", value.span(), self);
        }
        if let Some(value) = fields.get("shared_part")
            && fields.get("shared_memory").is_none()
        {
            alone("shared_part", "`shared_memory`", value.span(), self);
        }
        if let Some(value) = fields.get("memory")
            && fields.boolean_is_true("template")
        {
            let message = "a template has memory of its own";
            let help = "what is forked can only share: use `shared_memory`";
            self.sink.error_help(value.span(), message, help);
        }
        if !some {
            return None;
        }
        let shared_part = match (part, bytes) {
            (Some(part), _) => share(part),
            (None, Some(_)) => share(PART_DEFAULT),
            (None, None) => Share::FULL,
        };
        let rate = rate.unwrap_or(RATE_DEFAULT);
        Some(TaskPages { bytes: bytes.unwrap_or(0), rate, shared, shared_part })
    }

    /// The memory a task shares, by its name.
    fn memory_named(&mut self, fields: &Fields<'_>) -> Option<u32> {
        let (name, span) = fields.string(self.sink, "shared_memory")?;
        let memories = &self.shared.memories;
        if let Some(found) = memories.iter().position(|memory| memory.name == name) {
            return Some(found as u32);
        }
        let message = format!("`shared_memory`: there is no memory `{}`", shorten(name));
        let names: Vec<&str> = memories.iter().map(|memory| memory.name.as_str()).collect();
        let help = match names.is_empty() {
            true => "add one:\n[[memory]]\nname = \"heap\"\nsize = \"4GiB\"".to_owned(),
            false => did_you_mean(name, &names),
        };
        self.sink.error_help(span, message, help);
        None
    }

    fn node(&mut self, fields: &Fields<'_>, key: &str) -> Option<MemoryNode> {
        let Some(DeValue::String(_)) = fields.get(key).map(|value| value.get_ref()) else {
            let node = fields.integer(self.sink, key, 0..i128::from(NODES_MAX));
            return node.map(|(node, _)| MemoryNode::Node(node as u32));
        };
        let (word, span) = fields.string(self.sink, key)?;
        let node = memory_node(word);
        if node.is_none() {
            let message = format!("unknown `{key}` `{}`", shorten(word));
            self.sink.error_help(span, message, NODE_HELP);
        }
        node
    }

    /// An amount of memory, more than none.
    fn amount(&mut self, fields: &Fields<'_>, key: &str, example: &str) -> Option<u64> {
        let (text, span) = fields.string(self.sink, key)?;
        let bytes = slicewise_topology::parse_bytes(text).filter(|bytes| *bytes > 0);
        if bytes.is_none() {
            let message = format!("`{key}` of `{}` is no amount of memory", shorten(text));
            let help = format!("a whole number with B, KiB, MiB, GiB or TiB, such as {example}");
            self.sink.error_help(span, message, help);
        }
        bytes
    }

    /// `2GiB/s`: bytes a second.
    fn rate(&mut self, fields: &Fields<'_>) -> Option<u64> {
        let (text, span) = fields.string(self.sink, "memory_rate")?;
        let bytes = text.trim().strip_suffix("/s").and_then(slicewise_topology::parse_bytes);
        if bytes.is_none() {
            let message = format!("`memory_rate` of `{}` is no rate", shorten(text));
            let help = "an amount of memory a second, such as \"2GiB/s\"";
            self.sink.error_help(span, message, help);
        }
        bytes
    }
}
