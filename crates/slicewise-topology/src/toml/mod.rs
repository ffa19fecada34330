//! Machines written by hand, and saved: TOML.

mod fields;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};
use slicewise_sched::CPUS_MAX;
use slicewise_sched::energy::{CapacityState, PerfDomain};
use slicewise_sched::topology::{CAPACITY_MAX, NODES_MAX};

use crate::layout::{Layout, looks_like_layout};
use crate::machine::{CacheKind, Draft, DraftCache, DraftCpu, DraftNode, Kind};
use crate::{Machine, PRESETS, Problem, format_list};
use fields::Fields;

pub use write::to_toml;

/// The keys of a machine.
pub const MACHINE_KEYS: &[&str] = &[
    "name",
    "layout",
    "cpus",
    "cores",
    "clusters",
    "llcs",
    "dies",
    "packages",
    "nodes",
    "memory",
    "distances",
    "latencies_ns",
    "capacities",
    "packing",
    "performance_cpus",
    "efficiency_cpus",
    "isolated",
    "nohz_full",
    "offline",
    "caches",
    "energy",
];
const NODE_KEYS: &[&str] = &["cpus", "memory", "name", "number"];
const ENERGY_KEYS: &[&str] = &["cpus", "states"];
const CACHE_KEYS: &[&str] = &["level", "kind", "size", "cpus"];
/// A text that is longer describes no machine.
pub(crate) const TEXT_BYTES_MAX: usize = 8 << 20;

type Value<'t> = Spanned<DeValue<'t>>;

/// The machine of a text in TOML. The keys are those of [`from_table`].
///
/// # Errors
/// Everything wrong with it.
pub fn from_toml(text: &str, name: &str) -> Result<Machine, Vec<Problem>> {
    if text.len() > TEXT_BYTES_MAX {
        let message =
            format!("the text has {} bytes: at most {TEXT_BYTES_MAX} are read", text.len());
        return Err(vec![Problem::of_all(message)]);
    }
    let (document, problems) = DeTable::parse_recoverable(text);
    if !problems.is_empty() {
        let problem = |error: &::toml::de::Error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            Problem::error(span, slicewise_input::shorten(error.message()))
        };
        return Err(problems.iter().take(PROBLEMS_MAX).map(problem).collect());
    }
    from_table(document.get_ref(), 0..text.len().min(1), name)
}

/// More than these are not told.
const PROBLEMS_MAX: usize = 50;

/// The machine of a table, such as `[machine.topology]` of a scenario. `span` is where the table is.
///
/// Sets of CPUs are lists as the kernel's (`"0-3,8"`). `layout`, or `cpus` (how many, or which), comes
/// first; `cores`, `clusters`, `llcs`, `dies`, `packages` say which CPUs share one, each as a list of
/// sets; `nodes` has a table for each memory node. What is left out is as the layout has it; with `cpus`, each CPU
/// is a core, and all share one package, node and cache (one cache for each package, where there are several).
///
/// # Errors
/// Everything wrong with it.
pub fn from_table(
    table: &DeTable<'_>,
    span: Range<usize>,
    name: &str,
) -> Result<Machine, Vec<Problem>> {
    let mut problems = Vec::new();
    let fields = Fields::new(table, span.clone(), "a machine", MACHINE_KEYS, &mut problems);
    let mut reader = Reader { problems, draft: Draft::default() };
    let complete = reader.read(&fields, name);
    let Reader { mut problems, draft } = reader;
    problems.sort_by_key(|problem| problem.span.start);
    problems.truncate(PROBLEMS_MAX);
    if complete.is_none() || !problems.is_empty() {
        if problems.is_empty() {
            problems.push(Problem::error(span, "the table describes no machine"));
        }
        return Err(problems);
    }
    draft.finish().map_err(|message| vec![Problem::error(span, message)])
}

struct Reader {
    problems: Vec<Problem>,
    draft: Draft,
}

impl Reader {
    fn wrong(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        if self.problems.len() <= PROBLEMS_MAX {
            self.problems.push(Problem::error(span, message).help(help));
        }
    }

    fn read(&mut self, fields: &Fields<'_, '_>, name: &str) -> Option<()> {
        self.base(fields, name)?;
        if let Some(name) = self.string(fields, "name") {
            name.0.clone_into(&mut self.draft.name);
        }
        if let Some(sets) = self.sets(fields, "cores", false) {
            for (set, _) in &sets {
                for cpu in set {
                    self.cpu(*cpu, |draft| draft.core = set[0]);
                }
            }
        }
        if let Some(sets) = self.sets(fields, "clusters", false) {
            self.each(&sets, |cpu, at| cpu.cluster = Some(at));
        }
        let packages = self.sets(fields, "packages", true);
        if let Some(sets) = &packages {
            self.each(sets, |cpu, at| cpu.package = at);
        }
        match (self.sets(fields, "llcs", true), packages) {
            (Some(sets), _) => self.each(&sets, |cpu, at| cpu.llc = at),
            (None, Some(sets)) if fields.get("llcs").is_none() => {
                self.each(&sets, |cpu, at| cpu.llc = at);
            }
            _ => {}
        }
        if let Some(sets) = self.sets(fields, "dies", true) {
            self.each(&sets, |cpu, at| cpu.die = Some(at));
        }
        self.nodes(fields);
        self.matrices(fields);
        self.flags(fields);
        self.caches(fields);
        self.energy(fields);
        Some(())
    }

    /// `layout` or `cpus`.
    fn base(&mut self, fields: &Fields<'_, '_>, name: &str) -> Option<()> {
        match (fields.get("layout"), fields.get("cpus")) {
            (Some(layout), None) => {
                let (text, span) = self.string(fields, "layout")?;
                match Layout::parse(text) {
                    Ok(layout) => self.draft = layout.draft(name),
                    Err(problem) => {
                        let help = problem.help.unwrap_or_default();
                        self.wrong(span, format!("`layout`: {}", problem.message), help);
                        return None;
                    }
                }
                debug_assert!(layout.get_ref().is_str());
            }
            (None, Some(value)) => {
                let cpus = match value.get_ref().as_integer() {
                    Some(_) => {
                        let count = self.integer(value, "cpus", 1..=i64::from(CPUS_MAX))?;
                        (0..count as u32).collect()
                    }
                    None => self.set(value, "cpus")?,
                };
                self.draft.name = name.to_owned();
                self.draft.cpus = cpus.iter().map(|cpu| (*cpu, DraftCpu::alone(*cpu))).collect();
            }
            (None, None) => {
                let help = "say `layout = \"2s:24c:2t\"`, or `cpus = 8` and what they share";
                self.wrong(
                    fields.span.clone(),
                    "the machine has neither `layout` nor `cpus`",
                    help,
                );
                return None;
            }
            (Some(_), Some(cpus)) => {
                self.wrong(
                    cpus.span(),
                    "the machine has both `layout` and `cpus`",
                    "keep one of them",
                );
                return None;
            }
        }
        Some(())
    }

    fn cpu(&mut self, cpu: u32, change: impl FnOnce(&mut DraftCpu)) {
        if let Some(cpu) = self.draft.cpus.get_mut(&cpu) {
            change(cpu);
        }
    }

    /// Changes all CPUs of sets, which know which set they are.
    fn each(&mut self, sets: &[(Vec<u32>, Range<usize>)], change: impl Fn(&mut DraftCpu, u32)) {
        for (at, (set, _)) in (0..).zip(sets) {
            for cpu in set {
                self.cpu(*cpu, |draft| change(draft, at));
            }
        }
    }

    fn string<'t>(
        &mut self,
        fields: &Fields<'t, '_>,
        key: &str,
    ) -> Option<(&'t str, Range<usize>)> {
        let value = fields.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some((text, value.span())),
            None => {
                self.wrong(value.span(), format!("`{key}` must be a string"), "put it in quotes");
                None
            }
        }
    }

    fn integer(
        &mut self,
        value: &Value<'_>,
        key: &str,
        allowed: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
        if let Some(number) = number.filter(|number| allowed.contains(number)) {
            return Some(number);
        }
        let message = format!("`{key}` must be a whole number");
        self.wrong(
            value.span(),
            message,
            format!("allowed: {} to {}", allowed.start(), allowed.end()),
        );
        None
    }

    /// A list of CPUs; the machine may not have them.
    fn set(&mut self, value: &Value<'_>, key: &str) -> Option<Vec<u32>> {
        let Some(text) = value.get_ref().as_str() else {
            let message = format!("`{key}` must be a list of CPUs");
            self.wrong(value.span(), message, "write it as a string such as \"0-3,8\"");
            return None;
        };
        match crate::parse_list(text) {
            Ok(cpus) => Some(cpus),
            Err(error) => {
                self.wrong(
                    value.span(),
                    format!("`{key}`: {}", error.message),
                    "such as \"0-3,8\"",
                );
                None
            }
        }
    }

    /// A list of CPUs that the machine has.
    fn known_set(&mut self, value: &Value<'_>, key: &str) -> Option<Vec<u32>> {
        let cpus = self.set(value, key)?;
        if let Some(cpu) = cpus.iter().find(|cpu| !self.draft.cpus.contains_key(cpu)) {
            let known = format_list(self.draft.cpus.keys().copied());
            let message = format!("`{key}`: the machine has no CPU {cpu}");
            self.wrong(value.span(), message, format!("it has {known}"));
            return None;
        }
        Some(cpus)
    }

    /// Sets of CPUs that do not overlap, and have all CPUs where they must.
    fn sets(
        &mut self,
        fields: &Fields<'_, '_>,
        key: &str,
        all: bool,
    ) -> Option<Vec<(Vec<u32>, Range<usize>)>> {
        let value = fields.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            let help = format!("such as {key} = [\"0-3\", \"4-7\"]");
            self.wrong(value.span(), format!("`{key}` must be a list of lists of CPUs"), help);
            return None;
        };
        let mut owner: BTreeMap<u32, usize> = BTreeMap::new();
        let mut sets: Vec<(Vec<u32>, Range<usize>)> = Vec::new();
        for entry in array.iter() {
            let set = self.known_set(entry, key)?;
            if set.is_empty() {
                self.wrong(
                    entry.span(),
                    format!("`{key}` has an empty set"),
                    "name CPUs, or leave it out",
                );
                return None;
            }
            for cpu in &set {
                if owner.insert(*cpu, sets.len()).is_some() {
                    let message = format!("`{key}`: CPU {cpu} is in two sets");
                    self.wrong(entry.span(), message, "each CPU can be in one");
                    return None;
                }
            }
            sets.push((set, entry.span()));
        }
        let missing = self.draft.cpus.keys().find(|cpu| !owner.contains_key(cpu)).copied();
        if let Some(cpu) = missing.filter(|_| all) {
            self.wrong(
                value.span(),
                format!("`{key}`: CPU {cpu} is in no set"),
                "each CPU must be in one",
            );
            return None;
        }
        Some(sets)
    }

    fn nodes(&mut self, fields: &Fields<'_, '_>) -> Option<()> {
        if let Some(value) = fields.get("memory") {
            let bytes = self.bytes(value, "memory");
            if self.draft.nodes.is_empty() {
                self.draft.nodes.insert(0, DraftNode::default());
            }
            self.draft.nodes.values_mut().for_each(|node| node.memory_bytes = bytes);
        }
        let value = fields.get("nodes")?;
        let Some(array) = value.get_ref().as_array() else {
            let help = "such as nodes = [{ cpus = \"0-3\", memory = \"64GiB\" }]";
            self.wrong(value.span(), "`nodes` must be a list of tables", help);
            return None;
        };
        if array.is_empty() || array.len() > NODES_MAX as usize {
            let message = format!("`nodes` has {} entries", array.len());
            self.wrong(value.span(), message, format!("allowed: 1 to {NODES_MAX}"));
            return None;
        }
        let before = std::mem::take(&mut self.draft.nodes);
        let mut owner: BTreeMap<u32, u32> = BTreeMap::new();
        let mut said = false;
        for (at, entry) in (0..).zip(array.iter()) {
            said |= self.node(at, entry, before.values().nth(at as usize), &mut owner)?;
        }
        if said {
            let missing = self.draft.cpus.keys().find(|cpu| !owner.contains_key(cpu)).copied();
            if let Some(cpu) = missing {
                let message = format!("`nodes`: CPU {cpu} is in no node");
                self.wrong(value.span(), message, "each CPU must be in one");
            }
            for (cpu, node) in owner {
                self.cpu(cpu, |cpu| cpu.node = node);
            }
            // Those of the layout are between other nodes.
            self.draft.distances.clear();
        } else if array.len() != before.len().max(1) {
            let message = format!(
                "`nodes` has {} entries, but the layout has {} nodes",
                array.len(),
                before.len()
            );
            self.wrong(value.span(), message, "say which CPUs each has: `cpus = \"0-3\"`");
        }
        Some(())
    }

    /// Whether it says which CPUs it has.
    fn node(
        &mut self,
        at: u32,
        entry: &Value<'_>,
        before: Option<&DraftNode>,
        owner: &mut BTreeMap<u32, u32>,
    ) -> Option<bool> {
        let Some(table) = entry.get_ref().as_table() else {
            self.wrong(entry.span(), "a node must be a table", "such as { cpus = \"0-3\" }");
            return None;
        };
        let fields = Fields::new(table, entry.span(), "a node", NODE_KEYS, &mut self.problems);
        let number = match fields.get("number") {
            Some(value) => self.integer(value, "number", 0..=i64::from(NODES_MAX) - 1)? as u32,
            None => at,
        };
        let memory_bytes = match fields.get("memory") {
            Some(value) => self.bytes(value, "memory"),
            None => before.and_then(|node| node.memory_bytes),
        };
        let name = self.string(&fields, "name").map(|(name, _)| name.to_owned());
        if self.draft.nodes.insert(number, DraftNode { name, memory_bytes }).is_some() {
            self.wrong(
                entry.span(),
                format!("there are two nodes {number}"),
                "give each its own `number`",
            );
            return None;
        }
        let Some(value) = fields.get("cpus") else { return Some(false) };
        for cpu in self.known_set(value, "cpus")? {
            if owner.insert(cpu, number).is_some() {
                let message = format!("CPU {cpu} is in two nodes");
                self.wrong(value.span(), message, "each CPU can be in one");
                return None;
            }
        }
        Some(true)
    }

    /// A square of numbers, a row for each node.
    fn matrices(&mut self, fields: &Fields<'_, '_>) {
        if let Some(matrix) = self.matrix(fields, "distances", 10..=254) {
            self.draft.distances = matrix;
        }
        if let Some(matrix) = self.matrix(fields, "latencies_ns", 1..=1_000_000) {
            self.draft.latencies_ns = matrix;
        }
    }

    fn matrix(
        &mut self,
        fields: &Fields<'_, '_>,
        key: &str,
        allowed: std::ops::RangeInclusive<i64>,
    ) -> Option<BTreeMap<(u32, u32), u32>> {
        let value = fields.get(key)?;
        let numbers: Vec<u32> = match self.draft.nodes.is_empty() {
            true => vec![0],
            false => self.draft.nodes.keys().copied().collect(),
        };
        let nodes = numbers.len();
        let rows = value.get_ref().as_array().filter(|rows| rows.len() == nodes);
        let Some(rows) = rows else {
            let message = format!("`{key}` must have a row for each of {nodes} nodes");
            self.wrong(value.span(), message, "such as [[10, 21], [21, 10]]");
            return None;
        };
        let mut matrix = BTreeMap::new();
        for (from, row) in numbers.iter().zip(rows.iter()) {
            let Some(cells) = row.get_ref().as_array().filter(|cells| cells.len() == nodes) else {
                let message = format!("`{key}`: the row of node {from} must have {nodes} numbers");
                self.wrong(row.span(), message, "one for each node");
                return None;
            };
            for (to, cell) in numbers.iter().zip(cells.iter()) {
                let number = self.integer(cell, key, allowed.clone())? as u32;
                if key == "distances" && (from == to) != (number == 10) {
                    let message = format!("`distances`: node {from} is {number} from node {to}");
                    let help = "a node is 10 from itself, and 11 to 254 from others";
                    self.wrong(cell.span(), message, help);
                    return None;
                }
                matrix.insert((*from, *to), number);
            }
        }
        Some(matrix)
    }

    fn flags(&mut self, fields: &Fields<'_, '_>) {
        let capacities = self.by_set(fields, "capacities", 1..=i64::from(CAPACITY_MAX));
        for (cpu, capacity) in capacities {
            self.cpu(cpu, |cpu| cpu.capacity = capacity as u32);
        }
        for (cpu, priority) in self.by_set(fields, "packing", -1_000_000..=1_000_000) {
            self.cpu(cpu, |cpu| cpu.packing_priority = Some(priority as i32));
        }
        type Mark = fn(&mut DraftCpu);
        let marks: [(&str, Mark); 4] = [
            ("performance_cpus", |cpu| cpu.kind = Some(Kind::Performance)),
            ("efficiency_cpus", |cpu| cpu.kind = Some(Kind::Efficiency)),
            ("isolated", |cpu| cpu.isolated = true),
            ("nohz_full", |cpu| cpu.nohz_full = true),
        ];
        for (key, mark) in marks {
            let Some(value) = fields.get(key) else { continue };
            for cpu in self.known_set(value, key).unwrap_or_default() {
                self.cpu(cpu, mark);
            }
        }
        let Some(value) = fields.get("offline") else { return };
        self.draft.offline = self.set(value, "offline").unwrap_or_default();
        let offline = std::mem::take(&mut self.draft.offline);
        if let Some(cpu) = offline.iter().find(|cpu| self.draft.cpus.contains_key(cpu)) {
            let message = format!("CPU {cpu} is offline, but `cpus` or the layout has it");
            self.wrong(value.span(), message, "with `cpus`, list those that are online");
        }
        self.draft.offline = offline;
    }

    /// `{ "0-3" = 462 }`.
    fn by_set(
        &mut self,
        fields: &Fields<'_, '_>,
        key: &str,
        allowed: std::ops::RangeInclusive<i64>,
    ) -> Vec<(u32, i64)> {
        let Some(value) = fields.get(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            let help = format!("such as {key} = {{ \"0-3\" = {} }}", allowed.end());
            self.wrong(value.span(), format!("`{key}` must be a table by lists of CPUs"), help);
            return Vec::new();
        };
        let mut by_cpu = Vec::new();
        for (set, number) in table.iter() {
            let as_value = Spanned::new(set.span(), DeValue::String(set.get_ref().clone()));
            let Some(cpus) = self.known_set(&as_value, key) else { continue };
            let Some(number) = self.integer(number, key, allowed.clone()) else { continue };
            by_cpu.extend(cpus.into_iter().map(|cpu| (cpu, number)));
            if by_cpu.len() > CPUS_MAX as usize {
                self.wrong(set.span(), format!("`{key}` names CPUs often"), "name each once");
                return Vec::new();
            }
        }
        by_cpu
    }

    /// `energy`: CPUs that change frequency together, and what they can do and draw at each.
    fn energy(&mut self, fields: &Fields<'_, '_>) -> Option<()> {
        const HELP: &str = "such as energy = [{ cpus = \"0-3\", states = [[223, 40], [446, 150]] }]: \
                            capacity and power, slowest first";
        let value = fields.get("energy")?;
        let Some(array) = value.get_ref().as_array().filter(|array| array.len() <= CACHES_MAX)
        else {
            self.wrong(
                value.span(),
                format!("`energy` must be a list of at most {CACHES_MAX} tables"),
                HELP,
            );
            return None;
        };
        for entry in array.iter() {
            let Some(table) = entry.get_ref().as_table() else {
                self.wrong(entry.span(), "an entry of `energy` must be a table", HELP);
                continue;
            };
            let fields = Fields::new(
                table,
                entry.span(),
                "an entry of `energy`",
                ENERGY_KEYS,
                &mut self.problems,
            );
            let (Some(cpus), Some(states)) = (fields.get("cpus"), fields.get("states")) else {
                self.wrong(entry.span(), "an entry of `energy` needs `cpus` and `states`", HELP);
                continue;
            };
            let cpus = self.known_set(cpus, "cpus");
            let states = self.states(states, HELP);
            if let (Some(cpus), Some(states)) = (cpus, states) {
                self.draft.energy.push(PerfDomain { cpus, states });
            }
        }
        if !self.draft.energy.is_empty() && self.draft.energy_model().is_err() {
            let message = "`energy` is of another machine";
            let help = "each CPU must be in one entry, whose states rise to its capacity";
            self.wrong(value.span(), message, help);
        }
        Some(())
    }

    fn states(&mut self, value: &Value<'_>, help: &str) -> Option<Vec<CapacityState>> {
        let pairs =
            value.get_ref().as_array().filter(|array| (1..=STATES_MAX).contains(&array.len()));
        let Some(pairs) = pairs else {
            let message = format!("`states` must be a list of 1 to {STATES_MAX} pairs");
            self.wrong(value.span(), message, help);
            return None;
        };
        let mut states: Vec<CapacityState> = Vec::new();
        for pair in pairs.iter() {
            let numbers = pair.get_ref().as_array().filter(|pair| pair.len() == 2);
            let Some([capacity, power]) = numbers.and_then(|pair| pair.get(0..2)) else {
                self.wrong(pair.span(), "a state must be a pair of numbers", help);
                return None;
            };
            let capacity = self.integer(capacity, "capacity", 1..=i64::from(CAPACITY_MAX))?;
            let power = self.integer(power, "power", 0..=i64::from(POWER_MAX))?;
            let state = CapacityState { capacity: capacity as u32, power: power as u32 };
            if states.last().is_some_and(|last| last.capacity >= state.capacity) {
                let message = format!("a state of capacity {capacity} does not follow");
                self.wrong(pair.span(), message, "list states slowest first, each once");
                return None;
            }
            states.push(state);
        }
        Some(states)
    }

    fn caches(&mut self, fields: &Fields<'_, '_>) -> Option<()> {
        let value = fields.get("caches")?;
        let Some(array) = value.get_ref().as_array().filter(|array| array.len() <= CACHES_MAX)
        else {
            let help =
                "such as caches = [{ level = 2, size = \"2MiB\", cpus = [\"0-3\", \"4-7\"] }]";
            self.wrong(
                value.span(),
                format!("`caches` must be a list of at most {CACHES_MAX} tables"),
                help,
            );
            return None;
        };
        for entry in array.iter() {
            let Some(table) = entry.get_ref().as_table() else {
                self.wrong(
                    entry.span(),
                    "a cache must be a table",
                    "such as { level = 2, cpus = [\"0-3\"] }",
                );
                continue;
            };
            let fields =
                Fields::new(table, entry.span(), "a cache", CACHE_KEYS, &mut self.problems);
            self.cache(&fields);
        }
        Some(())
    }

    fn cache(&mut self, fields: &Fields<'_, '_>) -> Option<()> {
        let Some(level) = fields.get("level") else {
            self.wrong(fields.span.clone(), "the cache has no `level`", "such as level = 2");
            return None;
        };
        let level = self.integer(level, "level", 1..=9)? as u32;
        let kind = match self.string(fields, "kind") {
            None => CacheKind::Unified,
            Some(("data", _)) => CacheKind::Data,
            Some(("instruction", _)) => CacheKind::Instruction,
            Some(("unified", _)) => CacheKind::Unified,
            Some((other, span)) => {
                let message = format!("`kind`: unknown `{}`", slicewise_input::shorten(other));
                self.wrong(span, message, "allowed: data, instruction, unified");
                return None;
            }
        };
        let size_bytes = fields.get("size").and_then(|value| self.bytes(value, "size"));
        for (cpus, _) in self.sets(fields, "cpus", false)? {
            self.draft.caches.push(DraftCache { level, kind, cpus, size_bytes });
        }
        Some(())
    }

    /// `64GiB`: bytes.
    fn bytes(&mut self, value: &Value<'_>, key: &str) -> Option<u64> {
        let bytes = value.get_ref().as_str().and_then(parse_bytes);
        if bytes.is_none() {
            let message = format!("`{key}` must be an amount of memory");
            self.wrong(value.span(), message, "such as \"64GiB\", \"512MiB\" or \"32KiB\"");
        }
        bytes
    }
}

/// Frequencies of a CPU.
const STATES_MAX: usize = 256;
/// 1 kW in mW.
const POWER_MAX: u32 = 1_000_000;
/// Entries of `caches`: one for each level, kind and size is enough.
const CACHES_MAX: usize = 1000;

/// An amount of memory as people write it: a whole number with B, KiB, MiB, GiB or TiB.
///
/// ```
/// assert_eq!(slicewise_topology::parse_bytes("64 KiB"), Some(65_536));
/// assert_eq!(slicewise_topology::parse_bytes("64k"), None);
/// ```
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The machine of a word: a preset's name, or a layout.
///
/// ```
/// let error = slicewise_topology::named("two-sockets").unwrap_err();
/// assert_eq!(error.message, "there is no machine `two-sockets`");
/// assert_eq!(error.help.as_deref(), Some("did you mean `two-socket`?"));
/// ```
///
/// # Errors
/// If it is neither, or a layout with a mistake.
pub fn named(word: &str) -> Result<Machine, Problem> {
    if let Some(preset) = crate::preset(word) {
        return Ok(preset.machine());
    }
    if looks_like_layout(word) {
        return crate::layout(word);
    }
    let names = PRESETS.iter().map(|preset| preset.name);
    let help = match slicewise_input::closest(word, names.clone()) {
        Some(close) => format!("did you mean `{close}`?"),
        None => {
            let names: Vec<&str> = names.collect();
            format!("presets: {}; or a layout such as 2s:24c:2t, or a file", names.join(", "))
        }
    };
    let message = format!("there is no machine `{}`", slicewise_input::shorten(word));
    Err(Problem::error(0..word.len(), message).help(help))
}
