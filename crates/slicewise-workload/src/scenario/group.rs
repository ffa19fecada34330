//! `[[group]]`: cgroups, with keys named as their files.

use std::ops::Range;

use slicewise_cgroup::{File, Version};
use slicewise_sched::Nice;
use toml::de::{DeTable, DeValue};

use super::Reader;
use super::fields::{Fields, Value, duration, wrong_kind};
use crate::cgroups::parse_path;
use crate::cpusets::file_named;
use crate::diagnostic::{Sink, did_you_mean, shorten, suggest};
use crate::merge::Merge;
use crate::{Inputs, Parts, rtapp};

/// The keys a group may have; `cpu` holds the files where they are spelt as dotted keys.
pub(super) const GROUP_KEYS: &[&str] = &[
    "path",
    "workload",
    "period_phase",
    "cpu",
    "cpu.weight",
    "cpu.weight.nice",
    "cpu.max",
    "cpu.max.burst",
    "cpu.idle",
    "cpu.uclamp.min",
    "cpu.uclamp.max",
    "cpu.shares",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.cfs_burst_us",
    "cpu.rt_runtime_us",
    "cpu.rt_period_us",
    "cpuset",
    "cpuset.cpus",
    "cpuset.cpus.exclusive",
    "cpuset.cpus.partition",
    "cpuset.mems",
];

/// The keys a session may have.
pub(super) const SESSION_KEYS: &[&str] = &["name", "nice"];

/// How to spell the name of a file.
const QUOTE_HELP: &str = "write the name of a file in quotes: \"cpu.max\" = \"50000 100000\"";

/// A file that a group says is a workload of its own.
pub(super) struct Included<'t> {
    pub(super) group: u32,
    pub(super) file: &'t str,
    pub(super) span: Range<usize>,
}

/// A key of a group, with the parts of a dotted one joined.
struct Entry<'t> {
    name: String,
    key: Range<usize>,
    value: &'t Value<'t>,
}

/// The entries of a table and of tables in it, in the order of the text.
fn flatten<'t>(table: &'t DeTable<'t>, prefix: &str, entries: &mut Vec<Entry<'t>>) {
    for (key, value) in table {
        let name = match prefix {
            "" => key.get_ref().to_string(),
            _ => format!("{prefix}.{}", key.get_ref()),
        };
        // A name that is too long for any key is not looked into.
        match value.get_ref().as_table().filter(|_| name.len() < 64) {
            Some(inner) if !inner.is_empty() => flatten(inner, &name, entries),
            _ => entries.push(Entry { name, key: key.span(), value }),
        }
    }
    if prefix.is_empty() {
        entries.sort_by_key(|entry| entry.key.start);
    }
}

impl Reader<'_, '_> {
    /// Reads all groups; what they include is read later, when their tasks can be added.
    pub(super) fn cgroups<'t>(&mut self, scenario: &Fields<'t>) -> Vec<Included<'t>> {
        let mut included = Vec::new();
        let mut said = std::collections::BTreeSet::new();
        for value in self.list(scenario, "group") {
            let Some(table) = value.get_ref().as_table() else {
                wrong_kind(self.sink, "group", value, "a table");
                continue;
            };
            let mut entries = Vec::new();
            flatten(table, "", &mut entries);
            let Some((group, span)) = self.cgroup_path(&entries, value.span()) else { continue };
            if !said.insert(group) {
                let path = shorten(self.cgroups.path(group).unwrap_or_default());
                let message = format!("there is already a group `{path}`");
                self.sink.error_help(span, message, "put all its settings into one `[[group]]`");
                continue;
            }
            self.cgroup_entries(group, &entries, &mut included);
        }
        included
    }

    /// The group an entry is about, and where it says so.
    fn cgroup_path(
        &mut self,
        entries: &[Entry<'_>],
        whole: Range<usize>,
    ) -> Option<(u32, Range<usize>)> {
        let Some(entry) = entries.iter().find(|entry| entry.name == "path") else {
            let help = "give it one, from the root: `path = \"pods/web\"`";
            self.sink.error_help(whole, "the group has no `path`", help);
            return None;
        };
        let Some(path) = entry.value.get_ref().as_str() else {
            wrong_kind(self.sink, "path", entry.value, "a string such as \"pods/web\"");
            return None;
        };
        let span = entry.value.span();
        match self.cgroups.add(path) {
            Ok(group) => Some((group, span)),
            Err(message) => {
                let help = "a path has names between slashes: `pods/web`";
                self.sink.error_help(span, message, help);
                None
            }
        }
    }

    fn cgroup_entries<'t>(
        &mut self,
        group: u32,
        entries: &[Entry<'t>],
        included: &mut Vec<Included<'t>>,
    ) {
        let mut written: Vec<&str> = Vec::new();
        for entry in entries {
            let (name, value) = (entry.name.as_str(), entry.value);
            match name {
                "path" => {}
                "workload" => match value.get_ref().as_str() {
                    Some(file) => included.push(Included { group, file, span: value.span() }),
                    None => wrong_kind(self.sink, name, value, "the name of an rt-app file"),
                },
                "period_phase" => {
                    if let Some(phase_ns) = duration(self.sink, name, value) {
                        self.cgroups.set_period_phase(group, phase_ns);
                    }
                }
                _ => {
                    if let Some(file) = file_named(name) {
                        if let Some(text) = file_text(self.sink, name, value) {
                            self.cgroups.write_cpuset(group, file, text, value.span());
                        }
                        continue;
                    }
                    let Some(file) = File::named(name) else {
                        unknown(self.sink, entry);
                        continue;
                    };
                    let Some(text) = file_text(self.sink, name, value) else { continue };
                    if let Some(other) = written.iter().find(|other| says_the_same(name, other)) {
                        let message = format!("the group has both `{other}` and `{name}`");
                        self.sink.error_help(entry.key.clone(), message, "keep one of them");
                        continue;
                    }
                    written.push(name);
                    self.cgroups.write(group, file, text, value.span());
                }
            }
        }
    }

    /// `[[session]]`.
    pub(super) fn sessions(&mut self, scenario: &Fields<'_>) {
        for value in self.list(scenario, "session") {
            let Some(fields) = Fields::of(self.sink, value, "a session", SESSION_KEYS) else {
                continue;
            };
            let nice = fields.integer(self.sink, "nice", -20..20).map_or(0, |(nice, _)| nice);
            let name = fields.get("name").and_then(|name| name.get_ref().as_str());
            let known = name.is_some_and(|name| self.cgroups.find_session(name).is_some());
            let Some(name) = self.own_name(&fields, "a session", known) else { continue };
            if let Some(group) = self.session(name, value.span()) {
                self.cgroups.set_session_nice(group, Nice::new(nice as i64).unwrap_or_default());
            }
        }
    }

    /// The group of a session, made if there is none yet.
    fn session(&mut self, name: &str, span: Range<usize>) -> Option<u32> {
        let added = self.cgroups.add_session(name);
        added
            .map_err(|message| {
                let help = "a session's name is one word, such as \"shell\"";
                self.sink.error_help(span, message, help);
            })
            .ok()
    }

    /// The group a task says it is in, by itself or by its session; `None` is the root.
    pub(super) fn group_of_task(&mut self, fields: &Fields<'_>) -> Option<u32> {
        if let Some((name, span)) = fields.string(self.sink, "session") {
            if fields.get("group").is_some() {
                let message = "the task has both `group` and `session`";
                let help = "a task in a group is not in its session's: keep one of them";
                self.sink.error_help(span, message, help);
                return None;
            }
            return self.session(name, span);
        }
        let (path, span) = fields.string(self.sink, "group")?;
        match parse_path(path) {
            Ok("") => return None,
            Ok(_) => {}
            Err(what) => {
                let message = format!("the path `{}` {what}", shorten(path));
                self.sink.error_help(span, message, "name a group by the `path` it has");
                return None;
            }
        }
        let found = self.cgroups.find(path);
        if let Some(group) = found {
            self.check_is_leaf(group, &span);
        } else {
            let message = format!("there is no group `{}`", shorten(path));
            let help = if self.sink.has_room() { self.nearest_group(path) } else { String::new() };
            self.sink.error_help(span, message, help);
        }
        found
    }

    /// v2 keeps tasks out of groups that have groups with the controller in them.
    pub(super) fn check_is_leaf(&mut self, group: u32, span: &Range<usize>) {
        let v2 = self.cgroups.version() == Version::V2;
        if let Some(child) = self.cgroups.child(group).filter(|_| v2) {
            let path = self.cgroups.path(group).unwrap_or_default();
            let message = format!(
                "`{}` has `{}` in it: cgroup v2 lets no process be in it too (EBUSY)",
                shorten(path),
                shorten(child)
            );
            self.sink.warn(span.clone(), message, "put the task into a group of its own below it");
        }
    }

    /// The help for a group that is not there.
    fn nearest_group(&self, path: &str) -> String {
        let paths = self.cgroups.paths();
        match suggest(path, &paths) {
            Some(near) => format!("did you mean `{near}`?"),
            None if paths.is_empty() => {
                format!("add it: [[group]] with path = \"{}\"", shorten(path))
            }
            None => format!("there are {}", shorten(&paths.join(", "))),
        }
    }

    /// Reads the files groups name, and adds their tasks.
    pub(super) fn include(&mut self, included: Vec<Included<'_>>, parts: &mut Parts) {
        let mut merge = Merge::new(parts);
        for Included { group, file, span } in included {
            let text = match named(self.inputs, file) {
                Ok(text) => text,
                Err(message) => {
                    let help = "`workload` is a file beside the scenario, in rt-app's JSON";
                    self.sink.error_help(span, message, help);
                    continue;
                }
            };
            let mut sink = Sink::default();
            let read = match crate::has_sane_size(&text, &mut sink) {
                true => rtapp::read(&text, &mut sink),
                false => None,
            };
            let failed = sink.has_errors();
            let start = self.inputs.sources.add(file, text);
            self.sink.take_over(sink, start);
            if failed {
                continue;
            }
            if let Some(Err(message)) = read.map(|parts| merge.add(parts, group, start)) {
                self.sink.error_help(span, message, "leave some out");
                break;
            }
        }
        merge.finish();
    }
}

fn named(inputs: &mut Inputs<'_>, file: &str) -> Result<String, String> {
    if file.is_empty() || file.chars().any(char::is_control) {
        return Err(format!("`{}` is no name of a file", shorten(file)));
    }
    inputs.read(file)
}

fn says_the_same(one: &str, other: &str) -> bool {
    let weight = |name: &str| name == "cpu.weight" || name == "cpu.weight.nice";
    one == other || (weight(one) && weight(other))
}

/// The text a value is, as one would write it to the file.
fn file_text(sink: &mut Sink, key: &str, value: &Value<'_>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            // Hexadecimal and underscores are TOML's, not the file's. What is too large to be read
            // here is too large for the kernel as well.
            let read = i128::from_str_radix(number.as_str(), number.radix());
            Some(read.map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()))
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Table(_) => {
            sink.error_help(value.span(), format!("`{key}` is an empty table"), QUOTE_HELP);
            None
        }
        _ => {
            wrong_kind(sink, key, value, "a number or a string, as one would write it to the file");
            None
        }
    }
}

fn unknown(sink: &mut Sink, entry: &Entry<'_>) {
    let name = entry.name.as_str();
    let message = format!("unknown key `{}` in a group", shorten(name));
    let keys: Vec<&str> =
        GROUP_KEYS.iter().copied().filter(|key| !matches!(*key, "cpu" | "cpuset")).collect();
    let help = match name {
        "cpu" => QUOTE_HELP.to_owned(),
        "cpuset" => "write the name of a file in quotes: \"cpuset.cpus\" = \"0-3\"".to_owned(),
        "cpus" => "of a group it is `\"cpuset.cpus\" = \"0-3\"`".to_owned(),
        _ => match suggest(&format!("cpu.{name}"), &keys) {
            Some(near) => format!("did you mean `{near}`?"),
            None => did_you_mean(name, &keys),
        },
    };
    sink.error_help(entry.key.clone(), message, help);
}
