//! What a container does: the `load` section.
//!
//! A load is one part or a list of parts. Durations, rates and distributions are spelt as in
//! scenario files, so that a part becomes tasks, a queue or a device of a scenario one to one.

use crate::diagnostic::{Place, Sink, Span, did_you_mean, shorten};
use crate::fields::{only, wrong_kind};
use crate::units::{BadUnit, parse_duration, parse_rate, show_ns};
use crate::yaml::{self, Map, Node};

/// The annotation of a pod template that holds the loads of its containers.
pub const LOAD_ANNOTATION: &str = "slicewise.dev/load";

/// The key of a Compose service that holds its load.
pub const LOAD_COMPOSE_KEY: &str = "x-slicewise-load";

/// The most threads one part of a load can have.
pub const THREADS_MAX: u32 = 100_000;

/// The most parts a load can have.
pub const PARTS_MAX: usize = 64;

/// What a container does.
#[derive(Clone, PartialEq, Debug)]
pub struct Load {
    /// All of these at once.
    pub parts: Vec<Part>,
    /// Where it is written.
    pub place: Place,
}

/// A kind of work.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Part {
    /// Requests from outside, served by a pool of workers.
    Requests(Requests),
    /// Threads that compute, with pauses or without.
    Batch(Batch),
    /// Threads that hand work to a device, step by step.
    Launch(Launch),
}

/// Requests that arrive whether or not anyone is ready for them: an open loop.
#[derive(Clone, PartialEq, Debug)]
pub struct Requests {
    /// Time between arrivals.
    pub arrivals: Dist,
    /// CPU time a request needs.
    pub service: Dist,
    /// Threads that serve them, as `GOMAXPROCS` or a pool size says.
    pub workers: u32,
    /// How many may wait; further ones are dropped. `None`: as many as a queue can hold.
    pub depth: Option<u32>,
}

/// Threads that compute.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// How many.
    pub threads: u32,
    /// How long each computes before it pauses; `None`: for ever, a hog.
    pub run: Option<Dist>,
    /// How long it pauses; `None`: not at all.
    pub sleep: Option<Dist>,
    /// They begin each round together, when the last of them has come: a parallel loop, the helpers
    /// of a garbage collector.
    pub together: bool,
}

/// Threads that launch kernels on a device and wait for them at the end of each step.
#[derive(Clone, PartialEq, Debug)]
pub struct Launch {
    /// How many threads do so.
    pub threads: u32,
    /// The device's name; containers of one pod that name the same device share it.
    pub device: String,
    /// Launches in a step.
    pub kernels: u32,
    /// CPU time of a launch.
    pub cpu: Dist,
    /// Device time of a launch.
    pub work: Dist,
    /// How many launches may be pending before the launching thread waits; `None`: any number.
    pub depth: Option<u32>,
}

/// A duration in ns, constant or drawn anew at every use. As in scenario files.
#[derive(Clone, PartialEq, Debug)]
pub enum Dist {
    /// Always this long.
    Constant(u64),
    /// Every whole ns from the first to the second, equally often.
    Uniform(u64, u64),
    /// Exponential with this mean: the gaps of a Poisson process.
    Exponential {
        /// Mean, ns.
        mean_ns: f64,
    },
    /// Log-normal: the logarithm is normal around `ln(median)`.
    LogNormal {
        /// Half of all values are below, ns.
        median_ns: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Pareto: a heavy tail.
    Pareto {
        /// The smallest value, ns.
        scale_ns: f64,
        /// Tail index: smaller is heavier.
        shape: f64,
        /// Values above are cut to this, ns.
        max_ns: u64,
    },
    /// One of these values, ns, each as often as its weight says.
    Empirical(Vec<(u64, u64)>),
}

const KINDS: &[&str] = &["requests", "batch", "launch"];

/// A load: a part, or a list of parts.
pub(crate) fn read(sink: &mut Sink, node: &Node<'_>) -> Option<Load> {
    let place = sink.place(node.span);
    let list = node.as_list().unwrap_or(std::slice::from_ref(node));
    if list.is_empty() {
        sink.error(
            node.span,
            "the load is empty",
            format!("a part has one of: {}", KINDS.join(", ")),
        );
        return None;
    }
    if list.len() > PARTS_MAX {
        let help = format!("a load has {PARTS_MAX} parts at most");
        sink.error(node.span, format!("the load has {} parts", list.len()), help);
        return None;
    }
    let parts: Vec<Option<Part>> = list.iter().map(|node| part(sink, node)).collect();
    let parts: Option<Vec<Part>> = parts.into_iter().collect();
    parts.map(|parts| Load { parts, place })
}

/// Loads by container: the text of an annotation.
pub(crate) fn read_annotation(
    sink: &mut Sink,
    source: &str,
    node: &Node<'_>,
) -> Vec<(String, Place, Option<Load>)> {
    let mut loads = Vec::new();
    let Some(scalar) = node.as_scalar() else {
        // `kubectl` refuses it, but it is clear what is meant.
        let message = format!("the annotation `{LOAD_ANNOTATION}` must be a text");
        sink.error(node.span, message, format!("write `{LOAD_ANNOTATION}: |` and indent the rest"));
        return loads;
    };
    sink.within(node.origin(source), |sink| {
        let mut count = 0;
        yaml::documents(&scalar.text, sink, |document, sink| {
            count += 1;
            if count == 1 {
                loads = read_by_container(sink, &document);
            } else {
                let help = "remove the `---`";
                sink.error(document.span, "an annotation holds one document", help);
            }
        });
    });
    loads
}

/// A map from containers to loads.
pub(crate) fn read_by_container(
    sink: &mut Sink,
    node: &Node<'_>,
) -> Vec<(String, Place, Option<Load>)> {
    let Some(map) = node.as_map() else {
        let message = format!("the load must be a map, not {}", node.kind());
        sink.error(node.span, message, "name the container first: `api: {batch: {threads: 1}}`");
        return Vec::new();
    };
    let read = |(key, node): &(yaml::Key<'_>, Node<'_>)| {
        let place = sink.place(key.span);
        if KINDS.contains(&key.name.as_ref())
            && node
                .as_map()
                .is_some_and(|map| !map.keys().any(|key| KINDS.contains(&key.name.as_ref())))
        {
            let message = format!("`{}` stands where a container's name is expected", key.name);
            let help = format!("name the container first: `api: {{{}: …}}`", key.name);
            sink.error(key.span, message, help);
            return (key.name.to_string(), place, None);
        }
        (key.name.to_string(), place, self::read(sink, node))
    };
    map.entries.iter().map(read).collect()
}

fn part(sink: &mut Sink, node: &Node<'_>) -> Option<Part> {
    let Some(map) = node.as_map() else {
        let message = format!("a part of a load must be a map, not {}", node.kind());
        sink.error(node.span, message, "write `batch: {threads: 4}`, say");
        return None;
    };
    only(sink, map, "a load", KINDS);
    let mut found = map.entries.iter().filter(|(key, _)| KINDS.contains(&key.name.as_ref()));
    let Some((key, value)) = found.next() else {
        if map.entries.is_empty() {
            let help = format!("a part has one of: {}", KINDS.join(", "));
            sink.error(node.span, "the part is empty", help);
        }
        return None;
    };
    if let Some((other, _)) = found.next() {
        let message = format!("the part does two things: `{}` and `{}`", key.name, other.name);
        sink.error(other.span, message, "write a list of parts: `- requests: …`, `- batch: …`");
        return None;
    }
    let Some(fields) = value.as_map() else {
        wrong_kind(sink, &key.name, value, "a map");
        return None;
    };
    let fields = Fields { map: fields, span: key.span };
    match key.name.as_ref() {
        "requests" => requests(sink, &fields).map(Part::Requests),
        "batch" => batch(sink, &fields).map(Part::Batch),
        _ => launch(sink, &fields).map(Part::Launch),
    }
}

fn requests(sink: &mut Sink, fields: &Fields<'_, '_>) -> Option<Requests> {
    only(sink, fields.map, "`requests`", &["rate", "interarrival", "service", "workers", "depth"]);
    let rate = fields.get("rate").map(|node| (node, fields.rate(sink, node)));
    let gaps = fields.get("interarrival").map(|node| (node, dist(sink, "interarrival", node)));
    let arrivals = match (rate, gaps) {
        (Some((_, rate)), None) => rate.map(|mean_ns| Dist::Exponential { mean_ns }),
        (None, Some((node, gaps))) => {
            if gaps == Some(Dist::Constant(0)) {
                sink.error(node.span, "`interarrival` cannot be zero", "write a duration: `5ms`");
            }
            gaps.filter(|gaps| *gaps != Dist::Constant(0))
        }
        (Some(_), Some((node, _))) => {
            let message = "`rate` and `interarrival` exclude each other";
            sink.error(node.span, message, "keep one of the two");
            None
        }
        (None, None) => {
            let help = "say how often they come: `rate: 200/s`, or `interarrival: 5ms`";
            sink.error(fields.span, "`requests` has no `rate`", help);
            None
        }
    };
    let service = fields.needed_dist(sink, "service", "`requests`", "`service: 2ms`");
    let workers = match fields.get("workers") {
        None => {
            let help = "say how many threads serve them, as GOMAXPROCS does: `workers: 4`";
            sink.error(fields.span, "`requests` has no `workers`", help);
            None
        }
        Some(_) => fields.number(sink, "workers", THREADS_MAX),
    };
    let depth = fields.number(sink, "depth", u32::MAX);
    Some(Requests { arrivals: arrivals?, service: service?, workers: workers?, depth })
}

fn batch(sink: &mut Sink, fields: &Fields<'_, '_>) -> Option<Batch> {
    only(sink, fields.map, "`batch`", &["threads", "run", "sleep", "together"]);
    let threads = fields.threads(sink);
    let run = fields.get("run").map(|node| (node, dist(sink, "run", node)));
    let sleep = fields.get("sleep").map(|node| (node, dist(sink, "sleep", node)));
    let together = crate::fields::boolean(sink, fields.map, "together");
    if let (None, Some(node), Some(true)) = (&run, fields.get("together"), together) {
        let help = "say how long a round is: `run: 10ms`";
        sink.error(node.span, "`batch` has `together` but no `run`", help);
        return None;
    }
    if let (None, Some((node, _))) = (&run, &sleep) {
        let help = "say how long it computes before it sleeps: `run: 10ms`";
        sink.error(node.span, "`batch` has `sleep` but no `run`", help);
        return None;
    }
    if let (Some((node, Some(Dist::Constant(0)))), None | Some((_, Some(Dist::Constant(0))))) =
        (&run, &sleep)
    {
        sink.error(
            node.span,
            "`batch` takes no time at all",
            "write how long it runs: `run: 10ms`",
        );
        return None;
    }
    let run = run.map(|(_, dist)| dist);
    let sleep = sleep.map(|(_, dist)| dist);
    // A part that is written and wrong is not a part that is left out.
    if run == Some(None) || sleep == Some(None) {
        return None;
    }
    let together = together.unwrap_or(false);
    Some(Batch { threads: threads?, run: run.flatten(), sleep: sleep.flatten(), together })
}

fn launch(sink: &mut Sink, fields: &Fields<'_, '_>) -> Option<Launch> {
    let keys = ["threads", "device", "kernels", "cpu", "work", "depth"];
    only(sink, fields.map, "`launch`", &keys);
    let threads = fields.threads(sink);
    let device = match fields.get("device").map(|node| (node, node.as_scalar())) {
        Some((_, Some(scalar))) if (1..=64).contains(&scalar.text.len()) => {
            Some(scalar.text.to_string())
        }
        Some((node, _)) => {
            sink.error(node.span, "`device` must be a name", "write `device: gpu`");
            None
        }
        None => Some("gpu".to_owned()),
    };
    let kernels = match fields.get("kernels") {
        Some(_) => fields.number(sink, "kernels", 1_000_000),
        None => Some(1),
    };
    let cpu = fields.needed_dist(sink, "cpu", "`launch`", "`cpu: 40us`, its CPU time");
    let work = fields.needed_dist(sink, "work", "`launch`", "`work: 200us`, its device time");
    let depth = fields.number(sink, "depth", u32::MAX);
    let launch = Launch {
        threads: threads?,
        device: device?,
        kernels: kernels?,
        cpu: cpu?,
        work: work?,
        depth,
    };
    if launch.cpu == Dist::Constant(0) && launch.work == Dist::Constant(0) {
        sink.error(fields.span, "`launch` takes no time at all", "give `cpu` or `work` a duration");
        return None;
    }
    Some(launch)
}

/// A map of a load, and where to say what is missing in it.
struct Fields<'n, 't> {
    map: &'n Map<'t>,
    span: Span,
}

impl<'n, 't> Fields<'n, 't> {
    fn get(&self, key: &str) -> Option<&'n Node<'t>> {
        self.map.get_or_null(key)
    }

    fn number(&self, sink: &mut Sink, key: &str, most: u32) -> Option<u32> {
        let number = crate::fields::integer(sink, self.map, key, 1..=u64::from(most))?;
        u32::try_from(number).ok()
    }

    fn threads(&self, sink: &mut Sink) -> Option<u32> {
        match self.map.get("threads") {
            Some(_) => self.number(sink, "threads", THREADS_MAX),
            None => Some(1),
        }
    }

    fn rate(&self, sink: &mut Sink, node: &Node<'_>) -> Option<f64> {
        let Some(scalar) = node.as_scalar() else {
            wrong_kind(sink, "rate", node, "a rate such as `200/s`");
            return None;
        };
        parse_rate(&scalar.text).map_err(|bad| report(sink, "rate", node.span, bad)).ok()
    }

    fn needed_dist(&self, sink: &mut Sink, key: &str, what: &str, example: &str) -> Option<Dist> {
        match self.get(key) {
            Some(node) => dist(sink, key, node),
            None => {
                let message = format!("{what} has no `{key}`");
                sink.error(self.span, message, format!("write {example}"));
                None
            }
        }
    }
}

fn report(sink: &mut Sink, key: &str, span: Span, bad: BadUnit) {
    sink.error(span, format!("`{key}`: {}", bad.message), bad.help);
}

fn duration(sink: &mut Sink, key: &str, node: &Node<'_>) -> Option<u64> {
    let Some(scalar) = node.as_scalar().filter(|_| !node.is_null()) else {
        wrong_kind(sink, key, node, "a duration such as `10ms`");
        return None;
    };
    parse_duration(&scalar.text).map_err(|bad| report(sink, key, node.span, bad)).ok()
}

const DIST_KEYS: &[(&str, &[&str])] = &[
    ("constant", &["dist", "value"]),
    ("uniform", &["dist", "min", "max"]),
    ("exponential", &["dist", "mean"]),
    ("lognormal", &["dist", "median", "sigma"]),
    ("pareto", &["dist", "min", "shape", "max"]),
    ("empirical", &["dist", "values"]),
];

/// A duration, or a map that says how to draw one.
fn dist(sink: &mut Sink, key: &str, node: &Node<'_>) -> Option<Dist> {
    let Some(map) = node.as_map() else {
        return Some(Dist::Constant(duration(sink, key, node)?));
    };
    let names: Vec<&str> = DIST_KEYS.iter().map(|(name, _)| *name).collect();
    let Some((name, span)) = crate::fields::text(sink, map, "dist") else {
        let message = format!("the distribution of `{key}` has no `dist`");
        sink.error(node.span, message, format!("allowed: {}", names.join(", ")));
        return None;
    };
    let Some((name, keys)) = DIST_KEYS.iter().find(|(known, _)| *known == name) else {
        let message = format!("unknown distribution `{}`", shorten(name));
        sink.error(span, message, did_you_mean(name, &names));
        return None;
    };
    let what = format!("the {name} distribution");
    only(sink, map, &what, keys);
    let missing: Vec<&str> = keys.iter().copied().filter(|key| map.get(key).is_none()).collect();
    if !missing.is_empty() {
        let message = format!("{what} has no `{}`", missing.join("` and no `"));
        sink.error(span, message, format!("it needs {}", keys[1..].join(", ")));
        return None;
    }
    named_dist(sink, map, name)
}

fn named_dist(sink: &mut Sink, map: &Map<'_>, name: &str) -> Option<Dist> {
    Some(match name {
        "constant" => Dist::Constant(duration(sink, "value", map.get("value")?)?),
        "uniform" => {
            let (min, max) = range(sink, map)?;
            Dist::Uniform(min, max)
        }
        "exponential" => Dist::Exponential { mean_ns: positive(sink, map, "mean")? as f64 },
        "lognormal" => {
            let median = positive(sink, map, "median");
            let sigma = float(sink, map, "sigma", 0.0..=20.0);
            Dist::LogNormal { median_ns: median? as f64, sigma: sigma? }
        }
        "pareto" => {
            let scale = positive(sink, map, "min");
            let shape = float(sink, map, "shape", 0.01..=1000.0);
            let (_, max_ns) = range(sink, map)?;
            Dist::Pareto { scale_ns: scale? as f64, shape: shape?, max_ns }
        }
        _ => return empirical(sink, map),
    })
}

fn positive(sink: &mut Sink, map: &Map<'_>, key: &str) -> Option<u64> {
    let node = map.get(key)?;
    let ns = duration(sink, key, node)?;
    if ns == 0 {
        sink.error(node.span, format!("`{key}` cannot be zero"), "write a duration like `10ms`");
        return None;
    }
    Some(ns)
}

fn range(sink: &mut Sink, map: &Map<'_>) -> Option<(u64, u64)> {
    let min = duration(sink, "min", map.get("min")?);
    let node = map.get("max")?;
    let max = duration(sink, "max", node);
    let (min, max) = (min?, max?);
    if min > max {
        let message = format!("`max` {} is below `min` {}", show_ns(max), show_ns(min));
        sink.error(node.span, message, "swap them");
        return None;
    }
    Some((min, max))
}

fn float(
    sink: &mut Sink,
    map: &Map<'_>,
    key: &str,
    allowed: std::ops::RangeInclusive<f64>,
) -> Option<f64> {
    let node = map.get(key)?;
    let text = node.as_scalar().map(|scalar| scalar.text.as_ref()).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(number) if allowed.contains(&number) => Some(number),
        _ => {
            let message = format!("`{key}` cannot be `{}`", shorten(text));
            let help = format!("allowed: {} to {}", allowed.start(), allowed.end());
            sink.error(node.span, message, help);
            None
        }
    }
}

fn empirical(sink: &mut Sink, map: &Map<'_>) -> Option<Dist> {
    const WEIGHT_MAX: u64 = 1 << 40;
    const HELP: &str = "list values with weights: `values: [[1ms, 90], [10ms, 10]]`";
    let node = map.get("values")?;
    let Some(list) = node.as_list().filter(|list| !list.is_empty()) else {
        sink.error(node.span, "`values` must be a list of values and weights", HELP);
        return None;
    };
    let mut values = Vec::new();
    for entry in list {
        let Some([value, weight]) = entry.as_list() else {
            sink.error(entry.span, "a value needs a weight", HELP);
            return None;
        };
        let value = duration(sink, "values", value)?;
        let number = weight.as_scalar().and_then(|scalar| scalar.text.parse::<u64>().ok());
        let Some(number) = number.filter(|weight| (1..=WEIGHT_MAX).contains(weight)) else {
            let help = format!("a weight is a whole number from 1 to {WEIGHT_MAX}");
            sink.error(weight.span, "this is no weight", help);
            return None;
        };
        values.push((value, number));
    }
    Some(Dist::Empirical(values))
}
