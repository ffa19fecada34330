//! Kubernetes objects: which of them make pods, and how many.

mod kubelet;
mod overlay;
mod pod;
mod resources;

use std::collections::{HashMap, HashSet};

use crate::diagnostic::{Place, Sink, Span, shorten, suggest};
use crate::fields::{boolean, integer, list, map, quiet_text};
use crate::load::LOAD_ANNOTATION;
use crate::model::{Kind, Manifest, SkipReason, Skipped, Workload};
use crate::yaml::{Map, Node};

pub use resources::QosClass;

/// The API group and version of our own documents.
pub const LOAD_API_VERSION: &str = "slicewise.dev/v1";

/// How deep lists of lists are read.
const LIST_DEPTH_MAX: usize = 4;

/// The most pods one object can ask for.
pub const REPLICAS_MAX: u64 = 100_000;

/// Kinds that are common and make no pods: nobody misspelt them.
const OTHER_KINDS: &[&str] = &[
    "Service",
    "ConfigMap",
    "Secret",
    "Ingress",
    "Namespace",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "StorageClass",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PodTemplate",
    "HorizontalPodAutoscaler",
    "VerticalPodAutoscaler",
    "LimitRange",
    "ResourceQuota",
    "PriorityClass",
    "RuntimeClass",
    "CustomResourceDefinition",
    "Endpoints",
    "EndpointSlice",
    "Event",
    "Lease",
    "Node",
];

/// Reads Kubernetes documents, one after the other.
#[derive(Default)]
pub(crate) struct Reader {
    found: Vec<Found>,
    overlays: Vec<overlay::Overlay>,
}

/// A workload, and to whom it belongs.
struct Found {
    workload: Workload,
    owner: Option<(String, String)>,
}

/// What tells objects apart: namespace, kind, name.
type Id = (String, String, String);

impl Reader {
    /// A document, or an item of a list.
    pub(crate) fn object(
        &mut self,
        sink: &mut Sink,
        source: &str,
        node: &Node<'_>,
        manifest: &mut Manifest,
    ) {
        self.nested(sink, source, node, manifest, 0);
    }

    fn nested(
        &mut self,
        sink: &mut Sink,
        source: &str,
        node: &Node<'_>,
        manifest: &mut Manifest,
        depth: usize,
    ) {
        let Some(object) = node.as_map() else {
            let message = format!("an object must be a map, not {}", node.kind());
            sink.error(node.span, message, "begin with `apiVersion:` and `kind:`");
            return;
        };
        let Some((kind, kind_span)) = crate::fields::text(sink, object, "kind") else {
            if object.get("kind").is_none() {
                let help = "say what it is: `kind: Deployment`";
                sink.error(node.span, "the object has no `kind`", help);
            }
            return;
        };
        let version = quiet_text(object, "apiVersion").unwrap_or_default();
        if version.starts_with("slicewise.dev/") {
            self.ours(sink, object, (version, kind), kind_span);
            return;
        }
        if let Some(of) = kind.strip_suffix("List").filter(|_| object.get("items").is_some()) {
            if depth == LIST_DEPTH_MAX {
                sink.error(kind_span, "lists are nested too deep", "4 levels are read");
                return;
            }
            for item in list(sink, object, "items") {
                // Typed lists may leave out what their items are.
                if item.as_map().is_some_and(|map| map.get("kind").is_none()) && !of.is_empty() {
                    self.typed(sink, source, (of, kind_span, version), item, manifest);
                } else {
                    self.nested(sink, source, item, manifest, depth + 1);
                }
            }
            return;
        }
        self.typed(sink, source, (kind, kind_span, version), node, manifest);
    }

    fn typed(
        &mut self,
        sink: &mut Sink,
        source: &str,
        (kind, kind_span, version): (&str, Span, &str),
        node: &Node<'_>,
        manifest: &mut Manifest,
    ) {
        let Some(object) = node.as_map() else { return };
        let place = sink.place(kind_span);
        let name = map(sink, object, "metadata").and_then(|(metadata, _)| {
            quiet_text(metadata, "name").or_else(|| quiet_text(metadata, "generateName"))
        });
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let skip = |why| Skipped {
            kind: shorten(kind),
            name: shorten(name.unwrap_or_default()),
            why,
            place,
        };
        if kind == "KubeletConfiguration" && group == "kubelet.config.k8s.io" {
            kubelet::configuration(sink, object, &mut manifest.node);
            return;
        }
        let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
        let Some(known) = known.filter(|known| is_group_of(*known, group)) else {
            if kind == "Node" && group.is_empty() && manifest.node.cpus.is_none() {
                kubelet::node(sink, object, &mut manifest.node);
                return;
            }
            if known.is_none() && !OTHER_KINDS.contains(&kind) {
                let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                if let Some(close) = suggest(kind, &names) {
                    let message = format!("unknown kind `{}`: it is skipped", shorten(kind));
                    sink.warn(kind_span, message, format!("did you mean `{close}`?"));
                }
            }
            manifest.skipped.push(skip(SkipReason::Kind));
            return;
        };
        match workload(sink, source, known, object, place) {
            Err(Some(why)) => manifest.skipped.push(skip(why)),
            Err(None) => {}
            Ok(found) => self.found.push(found),
        }
    }

    /// A document of our own.
    fn ours(
        &mut self,
        sink: &mut Sink,
        object: &Map<'_>,
        (version, kind): (&str, &str),
        span: Span,
    ) {
        if (version, kind) != (LOAD_API_VERSION, "Load") {
            let message = format!("there is no kind `{}` in `{}`", shorten(kind), shorten(version));
            sink.error(span, message, format!("write `kind: Load` with `{LOAD_API_VERSION}`"));
            return;
        }
        if let Some(overlay) = overlay::read(sink, object, span) {
            self.overlays.push(overlay);
        }
    }

    /// Everything was read: overlays are laid over, and what is counted twice goes.
    pub(crate) fn finish(self, sink: &mut Sink, manifest: &mut Manifest) {
        let owned = self.owned();
        for (found, owner) in self.found.into_iter().zip(owned) {
            let Workload { kind, name, place, .. } = &found.workload;
            let (kind, name, place) = (kind.name(), shorten(name), *place);
            match owner {
                Some(owner) => {
                    let why = SkipReason::Owned { owner };
                    manifest.skipped.push(Skipped { kind: kind.to_owned(), name, why, place });
                }
                None => manifest.workloads.push(found.workload),
            }
        }
        report_twins(sink, &manifest.workloads);
        overlay::apply_all(sink, self.overlays, manifest);
    }

    /// For each workload the owner that is in the input too, as `kind/name`.
    fn owned(&self) -> Vec<Option<String>> {
        let id = |found: &Found| -> Id {
            let workload = &found.workload;
            (workload.namespace.clone(), workload.kind.name().to_owned(), workload.name.clone())
        };
        let present: HashSet<Id> = self.found.iter().map(id).collect();
        let owner_of = |found: &Found| -> Option<String> {
            let (kind, name) = found.owner.as_ref()?;
            let id = (found.workload.namespace.clone(), kind.clone(), name.clone());
            // An object that owns itself is one that nobody owns.
            let itself = *kind == found.workload.kind.name() && *name == found.workload.name;
            (!itself && present.contains(&id)).then(|| shorten(&format!("{kind}/{name}")))
        };
        self.found.iter().map(owner_of).collect()
    }
}

/// Two of the same name would be one object in a cluster.
fn report_twins(sink: &mut Sink, workloads: &[Workload]) {
    let mut seen: HashMap<(&str, Kind, &str), Place> = HashMap::new();
    for workload in workloads {
        let id = (workload.namespace.as_str(), workload.kind, workload.name.as_str());
        if seen.insert(id, workload.place).is_some() {
            let kind = workload.kind.name();
            let message = format!("{kind} `{}` is there twice", shorten(&workload.name));
            sink.at(workload.place, |sink, span| {
                sink.error(span, message, "a cluster would keep the last only: remove one");
            });
        }
    }
}

fn is_group_of(kind: Kind, group: &str) -> bool {
    match kind {
        Kind::Pod | Kind::ReplicationController => group.is_empty(),
        Kind::Job | Kind::CronJob => matches!(group, "batch" | ""),
        _ => matches!(group, "apps" | "extensions" | ""),
    }
}

/// A workload, or why there is none; `None` if that was reported.
fn workload(
    sink: &mut Sink,
    source: &str,
    kind: Kind,
    object: &Map<'_>,
    place: Place,
) -> Result<Found, Option<SkipReason>> {
    let here = Span { start: place.start, end: place.end };
    let metadata = map(sink, object, "metadata").map(|(metadata, _)| metadata);
    let name = metadata.and_then(|metadata| {
        quiet_text(metadata, "name").or_else(|| quiet_text(metadata, "generateName"))
    });
    let Some(name) = name.filter(|name| is_name(name)) else {
        let message = match name {
            None => format!("the {} has no name", kind.name()),
            Some(name) => format!("`{}` is no name", shorten(name)),
        };
        sink.error(here, message, "write `metadata: {name: api}`: a-z, 0-9, `-` and `.`");
        return Err(None);
    };
    let owner = metadata.and_then(|metadata| controller(metadata));
    let namespace = metadata.and_then(|metadata| quiet_text(metadata, "namespace"));
    let namespace = namespace.filter(|name| is_name(name)).unwrap_or("default");
    if kind == Kind::Pod
        && let Some(phase) = object.get("status").and_then(|status| status.as_map())
        && matches!(quiet_text(phase, "phase"), Some("Succeeded" | "Failed"))
    {
        return Err(Some(SkipReason::Ended));
    }
    let Some((mut spec, _)) = map(sink, object, "spec") else {
        if object.get("spec").is_none() {
            sink.error(here, format!("the {} has no `spec`", kind.name()), "");
        }
        return Err(None);
    };
    let mut suspended = boolean(sink, spec, "suspend") == Some(true);
    if kind == Kind::CronJob {
        // A cron job that is suspended starts no jobs.
        let (template, _) = needed(sink, spec, "jobTemplate", here).ok_or(None)?;
        spec = needed(sink, template, "spec", here).ok_or(None)?.0;
        suspended |= boolean(sink, spec, "suspend") == Some(true);
    }
    let copies = copies(sink, kind, spec);
    let annotations = metadata.and_then(load_annotation);
    let (pod_spec, annotation) = if kind == Kind::Pod {
        (spec, annotations)
    } else {
        let (template, _) = needed(sink, spec, "template", here).ok_or(None)?;
        let inner = map(sink, template, "metadata").and_then(|(inner, _)| load_annotation(inner));
        (needed(sink, template, "spec", here).ok_or(None)?.0, inner.or(annotations))
    };
    let pod = pod::read(sink, source, pod_spec, annotation, here);
    let (Some(copies), Some(pod)) = (copies, pod) else { return Err(None) };
    if copies == 0 || suspended {
        return Err(Some(SkipReason::Nothing));
    }
    let uid = metadata.and_then(|metadata| quiet_text(metadata, "uid"));
    let is_uid = |uid: &&str| {
        (1..=64).contains(&uid.len())
            && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let workload = Workload {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.filter(is_uid).filter(|_| kind == Kind::Pod).map(str::to_owned),
        node_name: quiet_text(pod_spec, "nodeName").map(str::to_owned),
        copies,
        pod,
        place,
    };
    Ok(Found { workload, owner })
}

/// The names of Kubernetes: they become directories.
fn is_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn needed<'n, 't>(
    sink: &mut Sink,
    parent: &'n Map<'t>,
    key: &str,
    here: Span,
) -> Option<(&'n Map<'t>, Span)> {
    if parent.get(key).is_none() {
        sink.error(here, format!("it has no `{key}`"), "");
    }
    map(sink, parent, key)
}

fn copies(sink: &mut Sink, kind: Kind, spec: &Map<'_>) -> Option<u32> {
    let mut number = |key: &str| match spec.get(key) {
        None => Some(1),
        Some(_) => integer(sink, spec, key, 0..=REPLICAS_MAX),
    };
    let copies = match kind {
        Kind::Pod | Kind::DaemonSet => Some(1),
        Kind::Job | Kind::CronJob => {
            // Never more at once than are to be completed.
            let parallelism = number("parallelism");
            let completions = spec.get("completions").map(|_| number("completions"));
            parallelism.map(|most| most.min(completions.flatten().unwrap_or(u64::MAX)))
        }
        _ => number("replicas"),
    };
    copies.and_then(|copies| u32::try_from(copies).ok())
}

fn load_annotation<'n, 't>(metadata: &'n Map<'t>) -> Option<&'n Node<'t>> {
    metadata.get("annotations")?.as_map()?.get(LOAD_ANNOTATION)
}

/// Kind and name of what controls an object.
fn controller(metadata: &Map<'_>) -> Option<(String, String)> {
    let owners = metadata.get("ownerReferences")?.as_list()?;
    let mut owners = owners.iter().filter_map(Node::as_map);
    let owner = owners.find(|owner| quiet_text(owner, "controller") == Some("true"))?;
    Some((quiet_text(owner, "kind")?.to_owned(), quiet_text(owner, "name")?.to_owned()))
}
