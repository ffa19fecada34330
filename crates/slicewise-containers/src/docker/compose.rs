//! Compose files.

use crate::diagnostic::{Sink, Span, shorten};
use crate::fields::{integer, map};
use crate::load::{self, LOAD_COMPOSE_KEY};
use crate::model::{Manifest, Standalone};
use crate::units::parse_duration;
use crate::yaml::{Key, Map, Node};

use super::{Cpu, cgroup_parent, is_container_name};

/// Whether a document is a Compose file.
pub(crate) fn is_compose(document: &Map<'_>) -> bool {
    let has = |key: &str| document.get_or_null(key).is_some();
    has("services") && !has("kind") && !has("apiVersion")
}

/// Reads a Compose file; `project` is what it is called if it has no name.
pub(crate) fn read(sink: &mut Sink, document: &Map<'_>, project: &str, manifest: &mut Manifest) {
    let name = document.get("name").and_then(|name| name.as_scalar());
    let name = name.map(|name| name.text.to_string()).filter(|name| is_container_name(name));
    let project = name.unwrap_or_else(|| {
        let stem = project.rsplit('/').next().unwrap_or(project);
        let stem = stem.split('.').next().unwrap_or(stem).to_lowercase();
        if is_container_name(&stem) { stem } else { "compose".to_owned() }
    });
    for key in document.keys().filter(|key| key.name == "include") {
        sink.warn(key.span, "`include` is not followed", "name the other files, too");
    }
    let Some((services, _)) = map(sink, document, "services") else { return };
    for (key, node) in &services.entries {
        if let Some(container) = service(sink, key, node, &project) {
            manifest.standalone.push(container);
        }
    }
}

fn service(sink: &mut Sink, key: &Key<'_>, node: &Node<'_>, project: &str) -> Option<Standalone> {
    let Some(fields) = node.as_map() else {
        let message = format!("a service must be a map, not {}", node.kind());
        sink.error(node.span, message, "write `image: nginx` below it, say");
        return None;
    };
    if !is_container_name(&key.name) {
        let message = format!("`{}` is no name for a service", shorten(&key.name));
        sink.error(key.span, message, "allowed: a-z, A-Z, 0-9, `-`, `_` and `.`");
        return None;
    }
    let mut cpu = Cpu::default();
    with(sink, fields, "cpus", |sink, text, span| cpu.cpus(sink, "cpus", text, span));
    with(sink, fields, "cpu_shares", |sink, text, span| {
        cpu.shares(sink, "cpu_shares", text, span);
    });
    with(sink, fields, "cpu_quota", |sink, text, span| {
        cpu.quota(sink, "cpu_quota", &in_us(text), span);
    });
    with(sink, fields, "cpu_period", |sink, text, span| {
        cpu.period(sink, "cpu_period", &in_us(text), span);
    });
    with(sink, fields, "cpuset", |sink, text, span| cpu.cpuset(sink, "cpuset", text, span));
    let mut parent = None;
    with(sink, fields, "cgroup_parent", |sink, text, span| {
        parent = cgroup_parent(sink, "cgroup_parent", text, span);
    });
    for name in ["cpu_count", "cpu_percent", "cpu_rt_period", "cpu_rt_runtime", "extends"] {
        if let Some(key) = fields.keys().find(|key| key.name == name) {
            sink.warn(key.span, format!("`{name}` is not read: it is ignored"), "");
        }
    }
    let mut copies = match fields.get("scale") {
        Some(_) => integer(sink, fields, "scale", 0..=100_000),
        None => Some(1),
    };
    if let Some((deploy, _)) = map(sink, fields, "deploy") {
        if deploy.get("replicas").is_some() {
            copies = integer(sink, deploy, "replicas", 0..=100_000);
        }
        deployed(sink, deploy, fields, &mut cpu);
    }
    let load = match fields.get(LOAD_COMPOSE_KEY) {
        Some(node) => load::read(sink, node),
        None => None,
    };
    let own = crate::fields::text(sink, fields, "container_name");
    let own = own.filter(|(name, _)| is_container_name(name)).map(|(name, _)| name.to_owned());
    let is_numbered = own.is_none();
    let name = own.unwrap_or_else(|| format!("{project}-{}", key.name));
    let copies = u32::try_from(copies?).ok()?;
    let place = sink.place(key.span);
    let checked = cpu.check(sink);
    (copies > 0).then_some(Standalone {
        name,
        copies,
        is_numbered,
        shares: checked.shares,
        quota_us: checked.quota_us,
        period_us: checked.period_us,
        cpuset: checked.cpuset,
        cgroup_parent: parent,
        load,
        place,
    })
}

/// `deploy.resources`: limits are limits, reservations mean something to Swarm only.
fn deployed(sink: &mut Sink, deploy: &Map<'_>, fields: &Map<'_>, cpu: &mut Cpu) {
    let Some((resources, _)) = map(sink, deploy, "resources") else { return };
    if let Some((limits, _)) = map(sink, resources, "limits") {
        with(sink, limits, "cpus", |sink, text, span| {
            let before = cpu.cpus;
            cpu.cpus(sink, "deploy.resources.limits.cpus", text, span);
            if let (Some((before, _)), Some((now, _))) = (before, cpu.cpus)
                && before != now
            {
                let message = format!("`cpus` is {before} and the limit in `deploy` is {now}");
                sink.error(span, message, "Compose refuses two different values: keep one");
            }
        });
    }
    if let Some((reservations, _)) = map(sink, resources, "reservations")
        && let Some(key) = reservations.keys().find(|key| key.name == "cpus")
        && fields.get("cpu_shares").is_none()
    {
        let message = "`reservations.cpus` places containers in a swarm, and sets no weight";
        sink.warn(key.span, message, "write `cpu_shares: 512` for half the default weight");
    }
}

/// `50ms` or microseconds.
fn in_us(text: &str) -> String {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match parse_duration(text) {
        Ok(ns) if !is_number => (ns / 1_000).to_string(),
        _ => text.to_owned(),
    }
}

/// The text of a value, with `${NAME:-default}` being its default.
fn with(sink: &mut Sink, map: &Map<'_>, key: &str, mut set: impl FnMut(&mut Sink, &str, Span)) {
    let Some(node) = map.get(key) else { return };
    let Some(scalar) = node.as_scalar() else {
        crate::fields::wrong_kind(sink, key, node, "a text or a number");
        return;
    };
    let text = scalar.text.as_ref();
    let Some(variable) = text.strip_prefix('$') else {
        set(sink, text, node.span);
        return;
    };
    let braced = variable.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let default = braced.and_then(|inner| {
        let at = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
        let rest = &inner[at..];
        rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-'))
    });
    match default {
        Some(default) => {
            let message = format!("`{}` is taken as `{}`", shorten(text), shorten(default));
            sink.warn(node.span, message, "the environment is not looked at");
            set(sink, default, node.span);
        }
        None => {
            let message = format!("`{}` has no value here", shorten(text));
            let help = format!("the environment is not looked at: write `{key}: ${{NAME:-1}}`");
            sink.error(node.span, message, help);
        }
    }
}
