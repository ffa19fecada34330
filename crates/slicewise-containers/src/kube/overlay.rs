//! `kind: Load`: loads for containers of objects in other documents.

use std::collections::HashMap;

use crate::diagnostic::{ALLOWED_MAX, Place, Sink, Span, shorten};
use crate::fields::{only, text};
use crate::load::{self, Load};
use crate::model::{Kind, Manifest, Standalone, Workload};
use crate::yaml::Map;

/// Loads, and for whom.
pub(super) struct Overlay {
    target: Target,
    place: Place,
    loads: Vec<(String, Place, Option<Load>)>,
}

#[derive(PartialEq, Eq, Hash)]
enum Target {
    Workload { namespace: String, kind: Kind, name: String },
    Standalone { name: String },
}

const TARGET_HELP: &str = "write `target: Deployment/api`, `target: prod/Deployment/api` with a \
                           namespace, or `target: Container/web` for a container of Compose";

pub(super) fn read(sink: &mut Sink, object: &Map<'_>, here: Span) -> Option<Overlay> {
    only(sink, object, "a Load", &["apiVersion", "kind", "metadata", "target", "load"]);
    let Some((words, span)) = text(sink, object, "target") else {
        if object.get("target").is_none() {
            sink.error(here, "the Load has no `target`", TARGET_HELP);
        }
        return None;
    };
    let target = target(words);
    if target.is_none() {
        sink.error(span, format!("`{}` is no target", shorten(words)), TARGET_HELP);
    }
    let Some(node) = object.get("load") else {
        let help = "write `load:` and below it `api: {requests: …}`";
        sink.error(here, "the Load has no `load`", help);
        return None;
    };
    let loads = load::read_by_container(sink, node);
    Some(Overlay { target: target?, place: sink.place(span), loads })
}

fn target(words: &str) -> Option<Target> {
    let mut parts = words.rsplitn(3, '/');
    let (name, kind) = (parts.next()?.to_owned(), parts.next()?.to_lowercase());
    let namespace = parts.next().unwrap_or("default").to_owned();
    if name.is_empty() || namespace.is_empty() {
        return None;
    }
    if kind == "container" {
        return Some(Target::Standalone { name });
    }
    let is_it = |known: &Kind| {
        let known_name = known.name().to_lowercase();
        kind == known_name || kind == known.short() || kind.strip_suffix('s') == Some(&known_name)
    };
    let kind = Kind::ALL.into_iter().find(is_it)?;
    Some(Target::Workload { namespace, kind, name })
}

/// Gives the loads to their containers.
pub(super) fn apply_all(sink: &mut Sink, overlays: Vec<Overlay>, manifest: &mut Manifest) {
    let workload = |(at, it): (usize, &Workload)| {
        let target = Target::Workload {
            namespace: it.namespace.clone(),
            kind: it.kind,
            name: it.name.clone(),
        };
        (target, at)
    };
    let standalone =
        |(at, it): (usize, &Standalone)| (Target::Standalone { name: it.name.clone() }, at);
    let mut index: HashMap<Target, usize> =
        manifest.workloads.iter().enumerate().map(workload).collect();
    index.extend(manifest.standalone.iter().enumerate().map(standalone));
    for overlay in overlays {
        let Some(at) = index.get(&overlay.target).copied() else {
            missing(sink, &overlay, manifest);
            continue;
        };
        for (container, place, load) in overlay.loads {
            match overlay.target {
                Target::Standalone { .. } => {
                    let it = &mut manifest.standalone[at];
                    match it.name == container {
                        true => it.load = load,
                        false => unknown(sink, place, &container, [it.name.as_str()].into_iter()),
                    }
                }
                Target::Workload { .. } => {
                    let pod = &mut manifest.workloads[at].pod;
                    let mut all = pod.containers.iter_mut().chain(&mut pod.init);
                    if let Some(found) = all.find(|it| it.name == container) {
                        found.load = load;
                    } else {
                        let all = pod.containers.iter().chain(&pod.init);
                        unknown(sink, place, &container, all.map(|it| it.name.as_str()));
                    }
                }
            }
        }
    }
}

fn show_workload(it: &Workload) -> String {
    show(&it.namespace, it.kind, &it.name)
}

fn show(namespace: &str, kind: Kind, name: &str) -> String {
    match namespace {
        "default" => format!("{}/{name}", kind.name()),
        _ => format!("{namespace}/{}/{name}", kind.name()),
    }
}

impl Target {
    fn show(&self) -> String {
        match self {
            Self::Workload { namespace, kind, name } => show(namespace, *kind, name),
            Self::Standalone { name } => format!("Container/{name}"),
        }
    }
}

fn missing(sink: &mut Sink, overlay: &Overlay, manifest: &Manifest) {
    let target = overlay.target.show();
    let all = manifest.workloads.iter().map(show_workload);
    let all = all.chain(manifest.standalone.iter().map(|it| format!("Container/{}", it.name)));
    let names: Vec<String> = all.take(if sink.is_full() { 0 } else { ALLOWED_MAX }).collect();
    let message = format!("there is no `{}` in the input", shorten(&target));
    let help = match names[..] {
        [] => "name the file it is in, too".to_owned(),
        _ => sink.hint(&target, names.iter().map(String::as_str)),
    };
    sink.at(overlay.place, |sink, span| sink.error(span, message, help));
}

fn unknown<'a>(
    sink: &mut Sink,
    place: Place,
    container: &str,
    names: impl Iterator<Item = &'a str>,
) {
    let message = format!("the target has no container `{}`", shorten(container));
    let help = sink.hint(container, names);
    sink.at(place, |sink, span| sink.error(span, message, help));
}
