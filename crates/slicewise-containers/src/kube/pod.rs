//! Pod specifications.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::{Place, Sink, Span, shorten};
use crate::fields::{list, map, quantity, quiet_text, text, wrong_kind};
use crate::load::{self, Load};
use crate::model::{Container, Pod, Resources, Role};
use crate::quantity::Quantity;
use crate::yaml::{Map, Node};

/// The most containers in a pod.
const CONTAINERS_MAX: usize = 1000;

/// The CPUs no machine has.
const CPUS_MAX: u32 = crate::cpus::CPUS_MAX;

/// Reads a pod; `here` is where to say what is missing.
pub(super) fn read(
    sink: &mut Sink,
    source: &str,
    spec: &Map<'_>,
    annotation: Option<&Node<'_>>,
    here: Span,
) -> Option<Pod> {
    let mut loads = Loads::of(sink, source, annotation);
    let mut names = HashSet::new();
    let mut complete = true;
    let mut read_all = |sink: &mut Sink, key: &str, init: bool| -> Vec<Container> {
        let nodes = list(sink, spec, key);
        if nodes.len() > CONTAINERS_MAX {
            let help = format!("{CONTAINERS_MAX} are the most");
            sink.error(nodes[CONTAINERS_MAX].span, "a pod has too many containers", help);
        }
        let mut containers = Vec::new();
        for node in nodes.iter().take(CONTAINERS_MAX) {
            match container(sink, node, init, &mut loads) {
                Some(container) if !names.insert(container.name.clone()) => {
                    let message = format!("two containers are called `{}`", container.name);
                    sink.at(container.place, |sink, span| sink.error(span, message, "rename one"));
                    complete = false;
                }
                Some(container) => containers.push(container),
                None => complete = false,
            }
        }
        containers
    };
    let init = read_all(sink, "initContainers", true);
    let containers = read_all(sink, "containers", false);
    if list(sink, spec, "containers").is_empty() {
        sink.error(here, "the pod has no containers", "");
        return None;
    }
    loads.report_rest(sink, &names);
    let overhead = map(sink, spec, "overhead").and_then(|(overhead, _)| {
        let node = overhead.get("cpu")?;
        cpus(sink, "overhead.cpu", node)
    });
    let mut pod =
        Pod { containers, init, resources: None, overhead_cpu: overhead.unwrap_or(Quantity::ZERO) };
    if spec.get("resources").is_some() {
        pod_level(sink, spec, &mut pod)?;
    }
    complete.then_some(pod)
}

fn container(sink: &mut Sink, node: &Node<'_>, init: bool, loads: &mut Loads) -> Option<Container> {
    let Some(fields) = node.as_map() else {
        let message = format!("a container must be a map, not {}", node.kind());
        sink.error(node.span, message, "begin with `- name: api`");
        return None;
    };
    let Some((name, span)) = text(sink, fields, "name") else {
        if fields.get("name").is_none() {
            sink.error(node.span, "the container has no name", "write `name: api`");
        }
        return None;
    };
    let fits = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        let message = format!("`{}` is no name for a container", shorten(name));
        sink.error(span, message, "allowed: a-z, 0-9 and `-`, 63 at most");
        return None;
    }
    let always = quiet_text(fields, "restartPolicy") == Some("Always");
    let role = match (init, always) {
        (false, _) => Role::Main,
        (true, false) => Role::Init,
        (true, true) => Role::Sidecar,
    };
    let resources = resources(sink, fields)?;
    let devices = devices(sink, fields)?;
    let load = loads.take(name);
    let (name, place) = (name.to_owned(), sink.place(span));
    Some(Container { name, role, resources, devices, load, place })
}

/// `resources` of a container; requests that are missing become the limits.
fn resources(sink: &mut Sink, fields: &Map<'_>) -> Option<Resources> {
    let mut resources = read_resources(sink, fields)?;
    resources.cpu_request = resources.cpu_request.or(resources.cpu_limit);
    resources.memory_request = resources.memory_request.or(resources.memory_limit);
    Some(resources)
}

/// `resources` as written.
fn read_resources(sink: &mut Sink, fields: &Map<'_>) -> Option<Resources> {
    let mut result = Resources::default();
    if let Some(key) = fields.keys().find(|key| matches!(&*key.name, "resource" | "ressources")) {
        let message = format!("unknown key `{}`: it would be ignored", key.name);
        sink.error(key.span, message, "did you mean `resources`?");
        return None;
    }
    let Some(node) = fields.get("resources") else { return Some(result) };
    let Some(section) = node.as_map() else {
        wrong_kind(sink, "resources", node, "a map with `requests` and `limits`");
        return None;
    };
    crate::fields::only(sink, section, "`resources`", &["requests", "limits", "claims"]);
    let requests = amounts(sink, section, "requests");
    let limits = amounts(sink, section, "limits");
    let (request, request_memory) = requests?;
    let (limit, limit_memory) = limits?;
    for (what, request, limit) in
        [("cpu", &request, &limit), ("memory", &request_memory, &limit_memory)]
    {
        if let (Some(request), Some(limit)) = (request, limit)
            && request.quantity > limit.quantity
        {
            let (more, most) = (&request.shown, &limit.shown);
            let message = format!("the {what} request `{more}` is above the limit `{most}`");
            let help =
                format!("a request is at most the limit: write `{most}`, or raise the limit");
            sink.error(request.span, message, help);
        }
    }
    if let Some(Amount { quantity: limit, span, .. }) = limit
        && !limit.is_zero()
        && limit.as_milli() < 10
    {
        let message = format!(
            "the cpu limit {limit} is a quota of {} us in 100 ms, less than the kernel's least",
            limit.as_nano() / 10_000
        );
        sink.warn(
            span,
            message,
            "the kubelet raises it to 1 ms, as for `10m`: write `10m` or more",
        );
    }
    let value = |amount: Option<Amount>| amount.map(|amount| amount.quantity);
    result.cpu_request = value(request);
    result.cpu_limit = value(limit);
    result.memory_request = value(request_memory);
    result.memory_limit = value(limit_memory);
    Some(result)
}

/// Extended resources of a container: whole numbers, requests as limits.
fn devices(sink: &mut Sink, fields: &Map<'_>) -> Option<Vec<(String, u64)>> {
    let mut devices: Vec<(String, u64)> = Vec::new();
    let Some(section) = fields.get("resources").and_then(Node::as_map) else {
        return Some(devices);
    };
    for key in ["limits", "requests"] {
        let Some(amounts) = section.get(key).and_then(Node::as_map) else { continue };
        for (name, node) in &amounts.entries {
            let own = name.name.split_once('/').is_some_and(|(domain, _)| {
                domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io")
            });
            if !own || devices.iter().any(|(known, _)| *known == name.name) {
                continue;
            }
            let amount = quantity(sink, &format!("{key}.{}", shorten(&name.name)), node)?;
            let milli = amount.as_milli();
            if !milli.is_multiple_of(1000) {
                let message = format!("`{}`: {amount} is no whole number", shorten(&name.name));
                sink.error(node.span, message, "devices are given away whole");
                return None;
            }
            devices.push((name.name.to_string(), milli / 1000));
        }
    }
    Some(devices)
}

/// A quantity as it is written.
struct Amount {
    quantity: Quantity,
    shown: String,
    span: Span,
}

/// CPUs and bytes of `requests` or `limits`; `None` if something is wrong.
fn amounts(
    sink: &mut Sink,
    section: &Map<'_>,
    key: &str,
) -> Option<(Option<Amount>, Option<Amount>)> {
    let Some((map, _)) = map(sink, section, key) else {
        return section.get(key).is_none().then_some((None, None));
    };
    for name in map.keys() {
        if let "cpus" | "CPU" | "Cpu" | "mem" | "Memory" = name.name.as_ref() {
            let message = format!("`{}` is no resource the kubelet knows", name.name);
            let better = if name.name.to_lowercase().starts_with('c') { "cpu" } else { "memory" };
            sink.error(name.span, message, format!("did you mean `{better}`?"));
        } else if !name.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let message = format!("`{}` is no resource", shorten(&name.name));
            sink.error(name.span, message, "is it behind a decimal comma? write `1.5`");
        }
    }
    let amount = |node: &Node<'_>, quantity: Option<Quantity>| {
        let shown = node.as_scalar().map(|scalar| shorten(&scalar.text)).unwrap_or_default();
        quantity.map(|quantity| Amount { quantity, shown, span: node.span })
    };
    let cpu = map.get_or_null("cpu").map(|node| {
        let quantity = cpus(sink, &format!("{key}.cpu"), node);
        amount(node, quantity)
    });
    let memory = map.get_or_null("memory").map(|node| {
        let quantity = quantity(sink, &format!("{key}.memory"), node);
        amount(node, quantity)
    });
    // What is written and wrong is not what is left out.
    let wrong = matches!(cpu, Some(None)) || matches!(memory, Some(None));
    (!wrong).then(|| (cpu.flatten(), memory.flatten()))
}

/// A number of CPUs there can be.
pub(super) fn cpus(sink: &mut Sink, what: &str, node: &Node<'_>) -> Option<Quantity> {
    let quantity = quantity(sink, what, node)?;
    if quantity > Quantity::units(CPUS_MAX) {
        let text = node.as_scalar().map(|scalar| scalar.text.as_ref()).unwrap_or_default();
        let message = format!("`{what}`: `{}` is {quantity} CPUs", shorten(text));
        let help = match text.strip_suffix('M') {
            Some(number) => format!("`M` is a million; thousandths are `{}m`", shorten(number)),
            None => format!("{CPUS_MAX} are the most; did you mean thousandths, as in `500m`?"),
        };
        sink.error(node.span, message, help);
        return None;
    }
    if !quantity.is_whole_milli() {
        let message = format!("`{what}`: {quantity} is finer than a thousandth of a CPU");
        sink.warn(node.span, message, format!("it counts as `{}m`", quantity.as_milli()));
    }
    Some(quantity)
}

/// `spec.resources`: of the pod as a whole.
fn pod_level(sink: &mut Sink, spec: &Map<'_>, pod: &mut Pod) -> Option<()> {
    let mut own = read_resources(sink, spec)?;
    let here = spec.get("resources").map_or(Span::default(), |node| node.span);
    let sums = pod.sums();
    // Without a request of its own the pod asks for what its containers ask for, or for its limit.
    let default = |own: &mut Option<Quantity>, sum: Option<Quantity>, limit: Option<Quantity>| {
        *own = own.or(sum).or(limit);
    };
    let (cpu_limit, memory_limit) = (own.cpu_limit, own.memory_limit);
    for (what, request, limit, sum) in [
        ("cpu", own.cpu_request, cpu_limit, sums.cpu_request),
        ("memory", own.memory_request, memory_limit, sums.memory_request),
    ] {
        let Some(sum) = sum else { continue };
        if let Some(most) = request.or(limit).filter(|most| *most < sum) {
            let message =
                format!("the containers ask for {sum} of {what}, more than the pod's {most}");
            sink.error(here, message, format!("write `{sum}` or more for the pod"));
        }
    }
    default(&mut own.cpu_request, sums.cpu_request, cpu_limit);
    default(&mut own.memory_request, sums.memory_request, memory_limit);
    for container in pod.containers.iter().chain(&pod.init) {
        if let (Some(limit), Some(most)) = (container.resources.cpu_limit, cpu_limit)
            && limit > most
        {
            let message = format!("the cpu limit {limit} is above the limit of the pod, {most}");
            sink.at(container.place, |sink, span| {
                sink.error(span, message, format!("write `{most}` or less"));
            });
        }
    }
    if own != Resources::default() {
        pod.resources = Some(own);
    }
    Some(())
}

/// The loads of an annotation, by container.
struct Loads {
    loads: HashMap<String, (Place, Option<Load>)>,
}

impl Loads {
    fn of(sink: &mut Sink, source: &str, annotation: Option<&Node<'_>>) -> Self {
        let mut loads = HashMap::new();
        if let Some(node) = annotation {
            for (name, place, load) in load::read_annotation(sink, source, node) {
                loads.insert(name, (place, load));
            }
        }
        Self { loads }
    }

    fn take(&mut self, name: &str) -> Option<Load> {
        self.loads.remove(name).and_then(|(_, load)| load)
    }

    /// Loads of containers that are not there.
    fn report_rest(self, sink: &mut Sink, names: &HashSet<String>) {
        let mut rest: Vec<(String, Place)> =
            self.loads.into_iter().map(|(name, (place, _))| (name, place)).collect();
        rest.sort_by_key(|(_, place)| place.start);
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        for (name, place) in rest {
            let message = format!("the pod has no container `{}`", shorten(&name));
            let help = sink.hint(&name, names.iter().copied());
            sink.at(place, |sink, span| sink.error(span, message, help));
        }
    }
}
