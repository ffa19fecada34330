//! `docker run` and `podman run`: the command as it is typed.

use std::borrow::Cow;

use crate::diagnostic::{Diagnostic, Origin, Place, Sink, Span, shorten, suggest};
use crate::load::{self, LOAD_ANNOTATION, Load};
use crate::model::{Manifest, Standalone};
use crate::yaml;

use super::{Cpu, cgroup_parent, is_container_name};

/// The longest command that is read, bytes.
const COMMAND_BYTES_MAX: usize = 1 << 20;

/// Flags that take no value.
const SWITCHES: &[&str] = &[
    "detach",
    "disable-content-trust",
    "help",
    "init",
    "interactive",
    "no-healthcheck",
    "oom-kill-disable",
    "privileged",
    "publish-all",
    "quiet",
    "read-only",
    "rm",
    "sig-proxy",
    "tty",
    "use-api-socket",
    "replace",
];

/// One-letter flags that take no value.
const SHORT_SWITCHES: &[char] = &['d', 'i', 't', 'P', 'q'];

/// Flags about CPUs.
const CPU_FLAGS: &[&str] = &[
    "cpus",
    "cpu-shares",
    "cpu-quota",
    "cpu-period",
    "cpuset-cpus",
    "cpuset-mems",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-count",
    "cpu-percent",
    "cgroup-parent",
];

/// Reads a `docker run` command, with or without its first words.
///
/// A load can be given as a label: `--label 'slicewise.dev/load={batch: {threads: 4}}'`.
///
/// # Errors
/// Everything wrong with the command, in its order; [`Diagnostic::file`] is 0.
///
/// ```
/// let manifest = slicewise_containers::docker_run("docker run --cpus 1.5 -c 512 nginx").unwrap();
/// let container = &manifest.standalone[0];
/// assert_eq!((container.quota_us, container.shares), (Some(150_000), Some(512)));
/// ```
pub fn docker_run(command: &str) -> Result<Manifest, Vec<Diagnostic>> {
    let mut sink = Sink::default();
    let mut manifest = Manifest::default();
    if command.len() > COMMAND_BYTES_MAX {
        let message = format!("the command has {} bytes", command.len());
        sink.error(Span::default(), message, format!("{COMMAND_BYTES_MAX} are the most"));
    } else if let Some(container) = read(command, &mut sink) {
        manifest.standalone.push(container);
    }
    let has_errors = sink.has_errors() || manifest.standalone.is_empty();
    let list = sink.finish(&[command]);
    if has_errors {
        return Err(list);
    }
    manifest.warnings = list;
    Ok(manifest)
}

struct Word<'t> {
    text: Cow<'t, str>,
    span: Span,
}

#[derive(Default)]
struct Flags {
    cpu: Cpu,
    name: Option<String>,
    parent: Option<String>,
    load: Option<Load>,
}

fn read(command: &str, sink: &mut Sink) -> Option<Standalone> {
    let words = split(command, sink)?;
    let mut at = 0;
    for known in [&["docker", "podman", "nerdctl"][..], &["container"], &["run", "create"]] {
        if words.get(at).is_some_and(|word| known.contains(&word.text.as_ref())) {
            at += 1;
        }
    }
    let mut flags = Flags::default();
    let image = loop {
        let Some(word) = words.get(at) else {
            let end = Span::new(command.len(), command.len());
            sink.error(end, "the command names no image", "write it behind the flags");
            return None;
        };
        at += 1;
        let text = word.text.as_ref();
        if text == "--" {
            break words.get(at);
        }
        if !text.starts_with('-') || text == "-" {
            break Some(word);
        }
        let (flag, given) = match text.strip_prefix("--") {
            Some(long) => match long.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (long.to_owned(), None),
            },
            None => match short(&text[1..]) {
                None => continue,
                Some((flag, rest)) => (flag, (!rest.is_empty()).then(|| rest.to_owned())),
            },
        };
        if SWITCHES.contains(&flag.as_str()) {
            continue;
        }
        let (value, span) = match given {
            Some(value) => {
                let start = (word.span.end as usize).saturating_sub(value.len());
                let exact = command.get(start..word.span.end as usize) == Some(value.as_str());
                let span = if exact { Span::new(start, start + value.len()) } else { word.span };
                (value, span)
            }
            None => {
                let Some(next) = words.get(at) else {
                    let message = format!("`--{}` has no value", shorten(&flag));
                    sink.error(word.span, message, "");
                    return None;
                };
                at += 1;
                (next.text.to_string(), next.span)
            }
        };
        flags.set(sink, &flag, word.span, &value, span);
    };
    let Some(image) = image else {
        let end = Span::new(command.len(), command.len());
        sink.error(end, "the command names no image", "write it behind the flags");
        return None;
    };
    let checked = flags.cpu.check(sink);
    let name = flags.name.unwrap_or_else(|| image_name(&image.text));
    Some(Standalone {
        name,
        copies: 1,
        is_numbered: false,
        shares: checked.shares,
        quota_us: checked.quota_us,
        period_us: checked.period_us,
        cpuset: checked.cpuset,
        cgroup_parent: flags.parent,
        load: flags.load,
        place: Place { file: 0, start: image.span.start, end: image.span.end },
    })
}

/// `-it`, `-c512`, `-c 512`: the flag with a value, and the value if it is there.
fn short(letters: &str) -> Option<(String, &str)> {
    for (at, letter) in letters.char_indices() {
        if SHORT_SWITCHES.contains(&letter) {
            continue;
        }
        let rest = &letters[at + letter.len_utf8()..];
        let rest = rest.strip_prefix('=').unwrap_or(rest);
        let flag = match letter {
            'c' => "cpu-shares".to_owned(),
            'l' => "label".to_owned(),
            other => other.to_string(),
        };
        return Some((flag, rest));
    }
    None
}

impl Flags {
    fn set(&mut self, sink: &mut Sink, flag: &str, flag_span: Span, value: &str, span: Span) {
        let what = format!("--{flag}");
        match flag {
            "cpus" => self.cpu.cpus(sink, &what, value, span),
            "cpu-shares" => self.cpu.shares(sink, &what, value, span),
            "cpu-quota" => self.cpu.quota(sink, &what, value, span),
            "cpu-period" => self.cpu.period(sink, &what, value, span),
            "cpuset-cpus" => self.cpu.cpuset(sink, &what, value, span),
            "cgroup-parent" => self.parent = cgroup_parent(sink, &what, value, span),
            "cpu-rt-period" | "cpu-rt-runtime" | "cpu-count" | "cpu-percent" => {
                sink.warn(flag_span, format!("`{what}` is not modelled: it is ignored"), "");
            }
            "name" if is_container_name(value) => self.name = Some(value.to_owned()),
            "name" => {
                let message = format!("`{}` is no name for a container", shorten(value));
                sink.error(span, message, "allowed: a-z, A-Z, 0-9, `-`, `_` and `.`");
            }
            "label" => {
                if let Some((LOAD_ANNOTATION, text)) = value.split_once('=') {
                    self.load = read_load(sink, text, span);
                }
            }
            _ if flag.starts_with("cpu") && !CPU_FLAGS.contains(&flag) => {
                let message = format!("unknown flag `{}`", shorten(&what));
                let help = match suggest(flag, CPU_FLAGS) {
                    Some(close) => format!("did you mean `--{close}`?"),
                    None => format!("allowed: --{}", CPU_FLAGS.join(", --")),
                };
                sink.error(flag_span, message, help);
            }
            _ => {
                if let Some(close) = suggest(flag, &CPU_FLAGS[..5]).filter(|_| flag.len() > 3) {
                    let message = format!("`{}` is not read", shorten(&what));
                    sink.warn(flag_span, message, format!("did you mean `--{close}`?"));
                }
            }
        }
    }
}

/// A load in a label.
fn read_load(sink: &mut Sink, text: &str, span: Span) -> Option<Load> {
    let mut load = None;
    sink.within(Origin::Whole(span), |sink| {
        yaml::documents(text, sink, |document, sink| load = load::read(sink, &document));
    });
    load
}

/// `registry/team/nginx:1.25@sha256:…` without a name of its own is `nginx`.
fn image_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let name = last.split([':', '@']).next().unwrap_or(last);
    if is_container_name(name) { name.to_owned() } else { "container".to_owned() }
}

/// Words as a shell would make them: quotes, backslashes, lines that go on.
fn split<'t>(command: &'t str, sink: &mut Sink) -> Option<Vec<Word<'t>>> {
    let mut words = Vec::new();
    let mut chars = command.char_indices().peekable();
    loop {
        while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some(&(start, first)) = chars.peek() else { return Some(words) };
        if first == '#' {
            while chars.next_if(|(_, c)| *c != '\n').is_some() {}
            continue;
        }
        let mut text = String::new();
        let mut quote: Option<(usize, char)> = None;
        let mut end = command.len();
        let mut lone_newline = false;
        while let Some(&(at, c)) = chars.peek() {
            if quote.is_none() && c.is_whitespace() {
                end = at;
                break;
            }
            chars.next();
            match (quote, c) {
                (Some((_, open)), _) if c == open => quote = None,
                (None, '\'' | '"') => quote = Some((at, c)),
                (None | Some((_, '"')), '\\') => match chars.next() {
                    Some((_, '\n')) | None => lone_newline = text.is_empty(),
                    Some((_, next)) => text.push(next),
                },
                _ => text.push(c),
            }
        }
        if let Some((at, _)) = quote {
            sink.error(Span::new(at, at + 1), "the quote is never closed", "");
            return None;
        }
        if !(lone_newline && text.is_empty()) {
            words.push(Word { text: Cow::Owned(text), span: Span::new(start, end) });
        }
    }
}
