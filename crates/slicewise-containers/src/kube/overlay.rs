//! `kind: Load`: loads for containers of objects in other documents.

use crate::diagnostic::{Place, Sink, Span, did_you_mean, shorten};
use crate::fields::{only, text};
use crate::load::{self, Load};
use crate::model::{Kind, Manifest};
use crate::yaml::Map;

/// Loads, and for whom.
pub(super) struct Overlay {
    target: Target,
    place: Place,
    loads: Vec<(String, Place, Option<Load>)>,
}

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
pub(super) fn apply(sink: &mut Sink, overlay: Overlay, manifest: &mut Manifest) {
    match &overlay.target {
        Target::Standalone { name } => {
            let found = manifest.standalone.iter_mut().find(|it| it.name == *name);
            if let Some(standalone) = found {
                for (container, place, load) in overlay.loads {
                    if container == standalone.name {
                        standalone.load = load;
                    } else {
                        unknown(sink, place, &container, &[&standalone.name]);
                    }
                }
                return;
            }
            let names: Vec<&str> = manifest.standalone.iter().map(|it| it.name.as_str()).collect();
            missing(sink, overlay.place, name, &names);
        }
        Target::Workload { namespace, kind, name } => {
            let found = manifest
                .workloads
                .iter_mut()
                .find(|it| it.namespace == *namespace && it.kind == *kind && it.name == *name);
            let Some(workload) = found else {
                let show = |namespace: &str, kind: Kind, name: &str| {
                    let at = if namespace == "default" { "" } else { namespace };
                    let slash = if at.is_empty() { "" } else { "/" };
                    format!("{at}{slash}{}/{name}", kind.name())
                };
                let names: Vec<String> = manifest
                    .workloads
                    .iter()
                    .map(|it| show(&it.namespace, it.kind, &it.name))
                    .collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                missing(sink, overlay.place, &show(namespace, *kind, name), &names);
                return;
            };
            for (container, place, load) in overlay.loads {
                let pod = &mut workload.pod;
                let mut all = pod.containers.iter_mut().chain(&mut pod.init);
                if let Some(found) = all.find(|it| it.name == container) {
                    found.load = load;
                } else {
                    let all = pod.containers.iter().chain(&pod.init);
                    let names: Vec<&str> = all.map(|it| it.name.as_str()).collect();
                    unknown(sink, place, &container, &names);
                }
            }
        }
    }
}

fn missing(sink: &mut Sink, place: Place, target: &str, names: &[&str]) {
    let message = format!("there is no `{}` in the input", shorten(target));
    let help = match names {
        [] => "name the file it is in, too".to_owned(),
        _ => did_you_mean(target, names),
    };
    sink.at(place, |sink, span| sink.error(span, message, help));
}

fn unknown(sink: &mut Sink, place: Place, container: &str, names: &[&str]) {
    let message = format!("the target has no container `{}`", shorten(container));
    let help = did_you_mean(container, names);
    sink.at(place, |sink, span| sink.error(span, message, help));
}
