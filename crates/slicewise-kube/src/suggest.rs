//! The search for what keeps a target: the smallest limit, the smallest request where others are what
//! a container waits for, the number of threads, the QoS class.
//!
//! Every trial is a whole run of the node with the same seed, so that the answer is the same every
//! time. Limits, requests and exclusive CPUs are found by halving, which takes for granted that more of them
//! is never worse; numbers of threads are tried one by one. No more than [`TRIALS_MAX`] runs are
//! made for a container, and no more than [`CONTAINERS_MAX`] containers are looked at.

use std::collections::BTreeSet;

use rayon::prelude::*;
use slicewise_containers::{Dist, Load, Manifest, Node, Part, Quantity};
use slicewise_report::{
    KubeContainer, KubeNeighbour, KubeReport, KubeSuggestion, KubeTrial, KubeWidth,
};

use crate::answer::{Question, Study};
use crate::error::Error;
use crate::run::Progress;
use crate::target::{Target, TrialView};
use crate::width::{Width, widths};

/// So many containers are looked at, those that miss the target first.
pub const CONTAINERS_MAX: usize = 4;
/// So many runs are made for a container at most.
pub const TRIALS_MAX: u64 = 56;
/// Limits are multiples of this, thousandths of a CPU.
pub const LIMIT_STEP_MILLI: u32 = 100;
/// Numbers of threads that are tried beside those that runtimes would choose.
const THREADS: [u32; 8] = [1, 2, 3, 4, 6, 8, 12, 16];
/// A neighbour's loss below this is not worth a word.
const NEIGHBOUR_NOTABLE: f64 = 1.05;

/// What is changed for a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    /// Its limit, thousandths of a CPU.
    Limit(u32),
    /// What it asks for, thousandths of a CPU: its weight.
    Request(u32),
    /// No limit.
    NoLimit,
    /// Its threads.
    Threads(u32),
    /// Requests are limits.
    Guaranteed,
    /// So many CPUs for itself.
    Exclusive(u32),
}

impl Change {
    fn kind(self) -> &'static str {
        match self {
            Self::Limit(_) => "limit",
            Self::Request(_) => "request",
            Self::Threads(_) => "threads",
            Self::NoLimit | Self::Guaranteed | Self::Exclusive(_) => "qos",
        }
    }

    fn words(self, what: &str) -> String {
        match self {
            Self::Limit(milli) => format!("limit {}", Quantity::milli(milli)),
            Self::Request(milli) => format!("request {}", Quantity::milli(milli)),
            Self::NoLimit => "no limit".to_owned(),
            Self::Threads(1) => format!("1 {}", what.trim_end_matches('s')),
            Self::Threads(count) => format!("{count} {what}"),
            Self::Guaranteed => "Guaranteed: request = limit".to_owned(),
            Self::Exclusive(1) => "Guaranteed, 1 exclusive CPU".to_owned(),
            Self::Exclusive(count) => format!("Guaranteed, {count} exclusive CPUs"),
        }
    }
}

impl Study<'_> {
    /// Which containers a search would look at: rows of [`KubeReport::workloads`].
    pub fn candidates(
        &self,
        report: &KubeReport,
        target: &Target,
        only: Option<&str>,
    ) -> Vec<usize> {
        let rows = || report.workloads.iter().enumerate();
        let named = |label: &str| match only {
            Some(name) if report.workloads.iter().any(|it| it.label == name) => label == name,
            Some(name) => label.contains(name),
            None => true,
        };
        let concerned = |it: &KubeContainer| named(&it.label) && target.concerns(it);
        let misses = |it: &KubeContainer| target.missed_by(it).is_some() || is_swamped(it);
        let mut chosen: Vec<usize> =
            rows().filter(|(_, it)| concerned(it) && misses(it)).map(|(at, _)| at).collect();
        if chosen.is_empty() {
            // Where all is well, a smaller limit may do.
            let limited = |it: &KubeContainer| it.quota.is_some() || only.is_some();
            chosen =
                rows().filter(|(_, it)| concerned(it) && limited(it)).map(|(at, _)| at).collect();
        }
        chosen.truncate(CONTAINERS_MAX);
        chosen
    }

    /// Searches for each of these rows.
    ///
    /// # Errors
    /// If the machine refuses a trial.
    pub fn suggest(
        &self,
        question: &Question,
        report: &KubeReport,
        target: &Target,
        rows: &[usize],
        progress: &Progress<'_>,
    ) -> Result<Vec<KubeSuggestion>, Error> {
        rows.par_iter()
            .map(|row| {
                let search = Search {
                    study: self,
                    question: Question { quick: true, target: None, ..question.clone() },
                    before: report,
                    row: &report.workloads[*row],
                    target,
                    progress,
                };
                search.suggestion()
            })
            .collect()
    }
}

/// Requests are lost or wait for ever.
fn is_swamped(container: &KubeContainer) -> bool {
    let lost = |it: &slicewise_report::KubePart| it.requests.is_some_and(|it| it.dropped > 0);
    container.parts.iter().any(|part| part.is_overloaded() || lost(part))
}

struct Search<'s, 'm> {
    study: &'s Study<'m>,
    question: Question,
    before: &'s KubeReport,
    row: &'s KubeContainer,
    target: &'s Target,
    progress: &'s Progress<'s>,
}

impl Search<'_, '_> {
    fn suggestion(&self) -> Result<KubeSuggestion, Error> {
        let widths = match self.limit_milli() {
            Some(milli) if self.threads().is_some() => widths(milli, self.study.node.cpus),
            _ => Vec::new(),
        };
        let ((limits, requests), (threads, qos)) = rayon::join(
            || rayon::join(|| self.limits(), || self.requests()),
            || rayon::join(|| self.thread_counts(&widths), || self.classes()),
        );
        let (limits, requests, threads, qos) = (limits?, requests?, threads?, qos?);
        let as_is = self.judge("as it is", "as it is".to_owned(), self.before, 0);
        let mut advice = Vec::new();
        advice.extend(self.limit_advice(&limits));
        advice.extend(self.request_advice(&requests));
        advice.extend(self.thread_advice(&threads));
        advice.extend(self.class_advice(&qos));
        let widths = widths
            .into_iter()
            .map(|Width { runtime, threads: count }| {
                let words = Change::Threads(count).words(self.thread_word());
                let same = count == self.threads().map_or(0, |it| it.1);
                let tried = threads.iter().find(|trial| trial.change == words);
                let trial = tried.or(same.then_some(&as_is)).map(|trial| trial.figures);
                KubeWidth { runtime: runtime.to_owned(), threads: count, trial }
            })
            .collect();
        let mut trials = vec![as_is];
        trials.extend(limits.into_iter().chain(requests).chain(threads).chain(qos));
        Ok(KubeSuggestion {
            container: self.row.label.clone(),
            target: self.target.to_string(),
            widths,
            trials,
            advice,
        })
    }

    /// Its limit, thousandths of a CPU.
    fn limit_milli(&self) -> Option<u32> {
        let cpus = self.row.limit_cpus.or(self.row.quota.as_ref().map(|quota| quota.cpus))?;
        Some((cpus * 1000.0).round() as u32)
    }

    fn parts(&self) -> &[crate::mapping::MappedPart] {
        let containers = &self.study.mapping.containers;
        let of = containers
            .iter()
            .find(|it| it.label_of_all == self.row.label || it.label == self.row.label);
        of.map_or(&[], |it| &it.parts)
    }

    /// The part whose threads can be chosen, and how many it has: workers of requests, or else the
    /// threads beside those that launch.
    fn threads(&self) -> Option<(usize, u32)> {
        let parts = self.parts();
        let requests = parts.iter().position(|part| matches!(part.part, Part::Requests(_)));
        let launches = parts.iter().any(|part| matches!(part.part, Part::Launch(_)));
        let batch = || {
            parts.iter().position(|part| matches!(part.part, Part::Batch(_))).filter(|_| launches)
        };
        let at = requests.or_else(batch)?;
        match &parts[at].part {
            Part::Requests(requests) => Some((at, requests.workers)),
            Part::Batch(batch) => Some((at, batch.threads)),
            _ => None,
        }
    }

    fn thread_word(&self) -> &'static str {
        match self.threads().map(|(at, _)| &self.parts()[at].part) {
            Some(Part::Requests(_)) => "workers",
            _ => "batch threads",
        }
    }

    /// Runs the node with a change.
    fn try_out(&self, change: Change) -> Result<KubeTrial, Error> {
        let (mut manifest, mut node) = (self.study.manifest.clone(), self.study.node.clone());
        self.apply(change, &mut manifest, &mut node);
        let study = Study::new(&manifest, &node)?;
        let (after, ()) = study.answer(&self.question, (), self.progress)?;
        let exclusive = match change {
            Change::Exclusive(count) => count * self.row.copies,
            _ => 0,
        };
        Ok(self.judge(change.kind(), change.words(self.thread_word()), &after, exclusive))
    }

    fn judge(
        &self,
        kind: &str,
        change: String,
        after: &KubeReport,
        exclusive_cpus: u32,
    ) -> KubeTrial {
        let row = after.workloads.iter().find(|it| it.label == self.row.label);
        let figures = row.map(|row| TrialView::of(row, self.target)).unwrap_or_default();
        let fine = row.is_some_and(|row| !is_swamped(row) && self.target.missed_by(row).is_none());
        let rejected = after.findings.iter().any(|finding| finding.rule == "rejected");
        let change_of_requests = after.node.requested_cpus - self.before.node.requested_cpus;
        KubeTrial {
            kind: kind.to_owned(),
            change,
            keeps_target: fine && !rejected,
            is_suggested: false,
            figures,
            request_cpus_change: change_of_requests,
            exclusive_cpus,
            neighbour: self.neighbour(after),
        }
    }

    /// The other container whose 99th percentile grows most.
    fn neighbour(&self, after: &KubeReport) -> Option<KubeNeighbour> {
        let p99 = |it: &KubeContainer| {
            it.parts.iter().map(|part| part.durations.p99_ns).max().filter(|ns| *ns > 0)
        };
        let others = self.before.workloads.iter().zip(&after.workloads);
        let grown = others.filter(|(before, after)| {
            before.label == after.label && before.label != self.row.label
        });
        let grown = grown.filter_map(|(before, after)| {
            let (p99_before_ns, p99_after_ns) = (p99(before)?, p99(after)?);
            let growth = p99_after_ns as f64 / p99_before_ns as f64;
            let container = before.label.clone();
            (growth > NEIGHBOUR_NOTABLE)
                .then_some((growth, KubeNeighbour { container, p99_before_ns, p99_after_ns }))
        });
        grown.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, neighbour)| neighbour)
    }

    /// The smallest value that keeps the target, by halving, and all that was tried, in order.
    fn smallest(
        &self,
        least: u32,
        most: u32,
        change: impl Fn(u32) -> Change,
    ) -> Result<Vec<KubeTrial>, Error> {
        let mut tried: Vec<(u32, KubeTrial)> = Vec::new();
        if least > most {
            return Ok(Vec::new());
        }
        let top = self.try_out(change(most))?;
        let mut found = top.keeps_target.then_some(most);
        tried.push((most, top));
        // Below `low` nothing keeps it, at `high` something does.
        let (mut low, mut high) = (least, most);
        while found.is_some() && low < high {
            let middle = low + (high - low) / 2;
            let trial = self.try_out(change(middle))?;
            if trial.keeps_target {
                (high, found) = (middle, Some(middle));
            } else {
                low = middle + 1;
            }
            tried.push((middle, trial));
        }
        tried.sort_by_key(|(value, _)| *value);
        for (value, trial) in &mut tried {
            trial.is_suggested = Some(*value) == found;
        }
        Ok(tried.into_iter().map(|(_, trial)| trial).collect())
    }

    /// Larger requests, where others are what it waits for.
    fn requests(&self) -> Result<Vec<KubeTrial>, Error> {
        let wait = &self.row.wait;
        let is_pod = self.row.qos_class.is_some() && self.row.exclusive_cpus.is_none();
        if !is_pod || wait.other_containers_ns * 2 < wait.total_ns || wait.total_ns == 0 {
            return Ok(Vec::new());
        }
        let step = f64::from(LIMIT_STEP_MILLI) / 1000.0;
        let now = (self.row.request_cpus.unwrap_or(0.0) / step).floor() as u32;
        let steps_per_cpu = 1000 / LIMIT_STEP_MILLI;
        let most = match self.row.limit_cpus {
            Some(limit) => (limit / step).floor() as u32,
            None => self.study.node.cpus.saturating_mul(steps_per_cpu) / self.row.copies.max(1),
        };
        self.smallest(now + 1, most, |steps| Change::Request(steps * LIMIT_STEP_MILLI))
    }

    fn limits(&self) -> Result<Vec<KubeTrial>, Error> {
        if self.row.quota.is_none() {
            return Ok(Vec::new());
        }
        let most = self.study.node.cpus.saturating_mul(1000 / LIMIT_STEP_MILLI);
        self.smallest(1, most, |steps| Change::Limit(steps * LIMIT_STEP_MILLI))
    }

    fn thread_counts(&self, widths: &[Width]) -> Result<Vec<KubeTrial>, Error> {
        let Some((_, current)) = self.threads() else { return Ok(Vec::new()) };
        let mut counts: BTreeSet<u32> = THREADS.into_iter().collect();
        counts.retain(|count| *count <= current.max(self.study.node.cpus));
        counts.extend(widths.iter().map(|width| width.threads));
        counts.remove(&current);
        let counts: Vec<u32> = counts.into_iter().collect();
        let trials = counts.par_iter().map(|count| self.try_out(Change::Threads(*count)));
        let mut trials = trials.collect::<Result<Vec<_>, Error>>()?;
        let mut keep = (0..trials.len()).filter(|at| trials[*at].keeps_target);
        let best = match self.threads().map(|(at, _)| &self.parts()[at].part) {
            // The shortest tail; of equals the fewest.
            Some(Part::Requests(_)) => {
                keep.min_by_key(|at| (trials[*at].figures.durations.p99_ns, *at))
            }
            // What they do is wanted: as many as do no harm.
            _ => keep.next_back(),
        };
        if let Some(best) = best {
            trials[best].is_suggested = true;
        }
        Ok(trials)
    }

    fn classes(&self) -> Result<Vec<KubeTrial>, Error> {
        let mut trials = Vec::new();
        if self.row.quota.is_some() {
            trials.push(self.try_out(Change::NoLimit)?);
        }
        let is_pod = self.row.qos_class.is_some();
        if is_pod
            && self.row.qos_class.as_deref() != Some("Guaranteed")
            && self.limit_milli().is_some()
        {
            trials.push(self.try_out(Change::Guaranteed)?);
        }
        for trial in &mut trials {
            trial.is_suggested = trial.keeps_target;
        }
        if is_pod {
            let room = self.study.node.cpus.saturating_sub(1) / self.row.copies.max(1);
            trials.extend(self.smallest(1, room, Change::Exclusive)?);
        }
        Ok(trials)
    }

    fn apply(&self, change: Change, manifest: &mut Manifest, node: &mut Node) {
        let containers = &self.study.mapping.containers;
        let Some(mapped) = containers
            .iter()
            .find(|it| it.label_of_all == self.row.label || it.label == self.row.label)
        else {
            return;
        };
        let part = self.threads().map(|(at, _)| at);
        let Some(index) = mapped.identity.workload else {
            for it in &mut manifest.standalone {
                if it.name != mapped.identity.container {
                    continue;
                }
                match change {
                    Change::Limit(milli) => {
                        it.quota_us = Some(u64::from(milli) * it.period_us / 1000);
                    }
                    Change::NoLimit => it.quota_us = None,
                    Change::Threads(count) => set_threads(it.load.as_mut(), part, count),
                    Change::Request(_) | Change::Guaranteed | Change::Exclusive(_) => {}
                }
            }
            return;
        };
        let pod = &mut manifest.workloads[index].pod;
        if let (Change::NoLimit, Some(resources)) = (change, &mut pod.resources) {
            resources.cpu_limit = None;
        }
        let guaranteed = matches!(change, Change::Guaranteed | Change::Exclusive(_));
        for it in pod.containers.iter_mut().chain(&mut pod.init) {
            let resources = &mut it.resources;
            if guaranteed {
                // Every container has to have equal requests and limits.
                let cpu = resources.cpu_limit.or(resources.cpu_request);
                let memory = resources.memory_limit.or(resources.memory_request);
                let memory = memory.filter(|it| !it.is_zero()).or(Some(Quantity::units(1 << 30)));
                let cpu =
                    cpu.filter(|it| !it.is_zero()).or(Some(Quantity::milli(LIMIT_STEP_MILLI)));
                (resources.cpu_request, resources.cpu_limit) = (cpu, cpu);
                (resources.memory_request, resources.memory_limit) = (memory, memory);
            }
            if it.name != mapped.identity.container {
                continue;
            }
            match change {
                Change::Limit(milli) => {
                    let limit = Quantity::milli(milli);
                    resources.cpu_limit = Some(limit);
                    resources.cpu_request = resources.cpu_request.map(|it| it.min(limit));
                }
                Change::Request(milli) => resources.cpu_request = Some(Quantity::milli(milli)),
                Change::NoLimit => resources.cpu_limit = None,
                Change::Exclusive(count) => {
                    let cpus = Some(Quantity::units(count));
                    (resources.cpu_request, resources.cpu_limit) = (cpus, cpus);
                }
                Change::Threads(count) => set_threads(it.load.as_mut(), part, count),
                Change::Guaranteed => {}
            }
        }
        if guaranteed {
            // The containers' own say it all; pods with resources of their own get no exclusive CPUs.
            pod.resources = None;
        }
        if matches!(change, Change::Exclusive(_)) {
            node.static_cpus.get_or_insert_default();
            let reserved = node.kube_reserved.plus(node.system_reserved);
            if reserved.is_zero() && node.reserved_cpus.is_none() {
                // The kubelet does not start a CPU manager without a reservation.
                node.kube_reserved = Quantity::units(1);
            }
        }
    }

    fn limit_advice(&self, trials: &[KubeTrial]) -> Option<String> {
        trials.first()?;
        let Some(best) = trials.iter().find(|trial| trial.is_suggested) else {
            let cpus = self.study.node.cpus;
            return Some(format!("Limit: none keeps it, not even {}.", show_cpus(cpus)));
        };
        let now = match self.row.limit_cpus {
            Some(cpus) => format!("it has {}", Quantity::milli((cpus * 1000.0).round() as u32)),
            None => "it has none".to_owned(),
        };
        Some(format!(
            "Limit: {} is the smallest that keeps it, in steps of {LIMIT_STEP_MILLI}m; {now}{}.",
            best.change.trim_start_matches("limit "),
            neighbour(best)
        ))
    }

    fn request_advice(&self, trials: &[KubeTrial]) -> Option<String> {
        trials.first()?;
        Some(match trials.iter().find(|trial| trial.is_suggested) {
            None => "Request: no larger one keeps it.".to_owned(),
            Some(best) => format!(
                "Request: {} is the smallest that keeps it, by its weight{}.",
                best.change.trim_start_matches("request "),
                neighbour(best)
            ),
        })
    }

    fn thread_advice(&self, trials: &[KubeTrial]) -> Option<String> {
        let (_, current) = self.threads()?;
        let word = self.thread_word();
        Some(match trials.iter().find(|trial| trial.is_suggested) {
            None => format!("Threads: no number of {word} that was tried keeps it."),
            Some(best) => format!(
                "Threads: {} instead of {current}, and no other change: p99 {:.1} ms.",
                best.change,
                best.figures.durations.p99_ns as f64 / 1e6
            ),
        })
    }

    fn class_advice(&self, trials: &[KubeTrial]) -> Vec<String> {
        let mut advice = Vec::new();
        for best in trials.iter().filter(|trial| trial.is_suggested) {
            let mut costs = Vec::new();
            if best.request_cpus_change > 0.000_5 {
                costs.push(format!("requests {:.2} CPUs more", best.request_cpus_change));
            }
            if best.exclusive_cpus > 0 {
                let cpus = show_cpus(best.exclusive_cpus);
                costs.push(format!("takes {cpus} from everyone else"));
            }
            let costs = match costs.is_empty() {
                true => "no CPU more is set aside".to_owned(),
                false => costs.join(", "),
            };
            advice.push(format!("QoS: \"{}\" keeps it: {costs}{}.", best.change, neighbour(best)));
        }
        if advice.is_empty() && !trials.is_empty() {
            advice.push("QoS: no class keeps it by itself.".to_owned());
        }
        advice
    }
}

fn show_cpus(count: u32) -> String {
    if count == 1 { "1 CPU".to_owned() } else { format!("{count} CPUs") }
}

fn neighbour(trial: &KubeTrial) -> String {
    match &trial.neighbour {
        None => String::new(),
        Some(it) => format!(
            "; {} pays for it: its p99 goes from {:.1} to {:.1} ms",
            it.container,
            it.p99_before_ns as f64 / 1e6,
            it.p99_after_ns as f64 / 1e6
        ),
    }
}

/// Gives a part so many threads. What has as many threads as the workers of requests is as wide as
/// the runtime (the helpers of a garbage collector, say): it gets as many too, and does the same work
/// in all.
fn set_threads(load: Option<&mut Load>, part: Option<usize>, count: u32) {
    let (Some(load), Some(at)) = (load, part) else { return };
    let width = match load.parts.get_mut(at) {
        Some(Part::Requests(requests)) => std::mem::replace(&mut requests.workers, count),
        Some(Part::Batch(batch)) => {
            batch.threads = count;
            return;
        }
        _ => return,
    };
    for part in &mut load.parts {
        if let Part::Batch(batch) = part
            && batch.threads == width
            && width > 1
            && let (Some(run), Some(_)) = (&mut batch.run, &batch.sleep)
        {
            scale(run, f64::from(width) / f64::from(count.max(1)));
            batch.threads = count;
        }
    }
}

/// Makes all durations longer by a factor.
fn scale(dist: &mut Dist, factor: f64) {
    let longer = |ns: &mut u64| *ns = (*ns as f64 * factor).round() as u64;
    match dist {
        Dist::Constant(ns) => longer(ns),
        Dist::Uniform(min, max) => {
            longer(min);
            longer(max);
        }
        Dist::Exponential { mean_ns } => *mean_ns *= factor,
        Dist::LogNormal { median_ns, .. } => *median_ns *= factor,
        Dist::Pareto { scale_ns, max_ns, .. } => {
            *scale_ns *= factor;
            longer(max_ns);
        }
        Dist::Empirical(values) => values.iter_mut().for_each(|(ns, _)| longer(ns)),
    }
}
