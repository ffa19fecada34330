//! The answers: figures of the runs, put together by container.

use std::collections::BTreeMap;

use rayon::prelude::*;
use slicewise_containers::{
    CgroupVersion, DeviceGrant, Driver, GroupKind, Manifest, Node, Note, Part, WeightFormula,
};
use slicewise_report::{
    Histogram, KubeBaseline, KubeContainer, KubeFinding, KubeLaunch, KubeNode, KubeOther, KubePart,
    KubeQuota, KubeReport, KubeRequests, KubeSaturated, KubeService, KubeTimes, KubeWait,
};
use slicewise_sched::CpuSet;
use slicewise_sched::bandwidth::BandwidthStats;
use slicewise_trace::Sink;

use crate::error::Error;
use crate::mapping::{Mapping, map};
use crate::measure::Figures;
use crate::quantile::quantile_ns;
use crate::run::{Outcome, Progress, Settings, Way, run};
use crate::target::Target;

/// So many pods at most are run alone, for comparison.
const ALONE_MAX: usize = 16;
/// So many others are named that a container waited for.
const OTHERS_MAX: usize = 5;

/// What is asked of a node.
#[derive(Clone, Debug)]
pub struct Question {
    /// How to run it.
    pub settings: Settings,
    /// Nobody said how many CPUs the node has.
    pub cpus_assumed: bool,
    /// Part of the periods that may be throttled without being a finding.
    pub throttled_share_max: f64,
    /// What each container has to keep; a finding where it does not.
    pub target: Option<Target>,
    /// No runs to compare with: without limits, and alone.
    pub quick: bool,
}

/// A node with its containers.
#[derive(Clone, Debug)]
pub struct Study<'m> {
    pub(crate) manifest: &'m Manifest,
    pub(crate) node: Node,
    pub(crate) mapping: Mapping,
    notes: Vec<Note>,
    devices: Vec<DeviceGrant>,
}

impl<'m> Study<'m> {
    /// Puts what was read on a node.
    ///
    /// # Errors
    /// If the node cannot hold it.
    pub fn new(manifest: &'m Manifest, node: &Node) -> Result<Self, Error> {
        let tree = slicewise_containers::tree(manifest, node)?;
        let mapping = map(manifest, node, &tree)?;
        let (notes, devices) = (tree.notes, tree.devices);
        Ok(Self { manifest, node: node.clone(), mapping, notes, devices })
    }

    /// What runs on the machine.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The runs it takes to answer, that of the node as it is first.
    pub fn ways(&self, question: &Question) -> Vec<Way> {
        let mut ways = vec![Way::AsItIs];
        let mapping = &self.mapping;
        if question.quick || mapping.workload.tasks.is_empty() {
            return ways;
        }
        let has_quota = mapping.workload.groups.iter().any(|it| it.limit.quota_ns.is_some());
        if has_quota {
            ways.push(Way::WithoutQuotas);
        }
        let mut pods: Vec<(Option<usize>, &str)> = Vec::new();
        let mut alone = Vec::new();
        for (index, it) in mapping.containers.iter().enumerate() {
            let pod = (it.identity.workload, it.identity.object.as_str());
            if !it.parts.is_empty() && pods.len() <= ALONE_MAX && !pods.contains(&pod) {
                pods.push(pod);
                alone.push(Way::Alone(index));
            }
        }
        if pods.len() <= ALONE_MAX && !self.is_alone() {
            ways.extend(alone);
        }
        ways
    }

    /// Whether the node without quotas is what a pod has to itself: there is one pod only, and it may
    /// go everywhere.
    fn is_alone(&self) -> bool {
        let mut tasks = self.mapping.workload.tasks.iter();
        self.is_one_pod() && tasks.all(|it| it.affinity == CpuSet::All)
    }

    /// Whether all that has a load is in one pod.
    fn is_one_pod(&self) -> bool {
        let mut pods = self
            .mapping
            .containers
            .iter()
            .filter(|it| !it.parts.is_empty())
            .map(|it| (it.identity.workload, &it.identity.object, it.identity.copy));
        let first = pods.next();
        pods.all(|pod| Some(pod) == first)
    }

    /// Runs the node and says what happened; `more` gets the events of the run as it is.
    ///
    /// # Errors
    /// If the machine refuses it.
    pub fn answer<S: Sink + Send>(
        &self,
        question: &Question,
        more: S,
        progress: &Progress<'_>,
    ) -> Result<(KubeReport, S), Error> {
        let ways = self.ways(question);
        let settings = &question.settings;
        let (first, others) = rayon::join(
            || run(&self.mapping, settings, Way::AsItIs, more, progress),
            || {
                let compared = ways[1..].par_iter().map(|way| {
                    let (outcome, ()) = run(&self.mapping, settings, *way, (), progress)?;
                    Ok((*way, outcome))
                });
                compared.collect::<Result<Vec<(Way, Outcome)>, Error>>()
            },
        );
        let ((outcome, more), others) = (first?, others?);
        Ok((self.report(question, &outcome, &others), more))
    }

    fn report(
        &self,
        question: &Question,
        outcome: &Outcome,
        others: &[(Way, Outcome)],
    ) -> KubeReport {
        let writer = Writer { study: self, outcome, others, saturated: self.saturated() };
        let indices = 0..self.mapping.containers.len();
        let containers: Vec<KubeContainer> =
            indices.clone().map(|index| writer.container(&[index])).collect();
        let mut families: Vec<Vec<usize>> = Vec::new();
        let mut known = BTreeMap::new();
        for index in indices {
            let family = self.mapping.containers[index].identity.family();
            let at = *known.entry(family).or_insert_with(|| {
                families.push(Vec::new());
                families.len() - 1
            });
            families[at].push(index);
        }
        let workloads: Vec<KubeContainer> =
            families.iter().map(|copies| writer.container(copies)).collect();
        let settings = &question.settings;
        let mut report = KubeReport {
            kernel: settings.profile.name.to_owned(),
            release: settings.profile.release.to_owned(),
            hz: settings.hz,
            seed: settings.seed,
            simulated_ns: outcome.simulated_ns,
            trace_hash: format!("{:016x}", outcome.trace_hash),
            node: self.describe_node(question, outcome),
            findings: Vec::new(),
            workloads,
            containers,
            suggestions: Vec::new(),
            remarks: self.remarks(question),
        };
        report.findings = self.findings(question, &report.workloads);
        report
    }

    fn describe_node(&self, question: &Question, outcome: &Outcome) -> KubeNode {
        let node = &self.node;
        let requested: u64 = self
            .manifest
            .workloads
            .iter()
            .map(|it| it.pod.cpu_request().as_milli().saturating_mul(u64::from(it.copies)))
            .sum();
        let busy: u64 = outcome.cpu_busy_ns.iter().sum();
        let all = outcome.simulated_ns.saturating_mul(u64::from(node.cpus));
        KubeNode {
            cpus: node.cpus,
            cpus_assumed: question.cpus_assumed,
            allocatable_cpus: node.allocatable().as_milli() as f64 / 1000.0,
            requested_cpus: requested as f64 / 1000.0,
            cgroup_version: match node.cgroups {
                CgroupVersion::V1 => "v1",
                CgroupVersion::V2 => "v2",
            }
            .to_owned(),
            cgroup_driver: match node.driver {
                Driver::Systemd => "systemd",
                Driver::Cgroupfs => "cgroupfs",
            }
            .to_owned(),
            weight_formula: match node.runtime_formula {
                WeightFormula::Linear => "old",
                WeightFormula::Curved => "new",
            }
            .to_owned(),
            quota_period_ns: node.period_us * 1000,
            static_cpu_manager: node.static_cpus.is_some(),
            busy_share: if all == 0 { 0.0 } else { busy as f64 / all as f64 },
        }
    }

    fn remarks(&self, question: &Question) -> Vec<String> {
        let mut remarks: Vec<String> = self.notes.iter().map(ToString::to_string).collect();
        let without = self.mapping.containers.iter().filter(|it| it.parts.is_empty()).count();
        if without > 0 {
            let count = self.mapping.containers.len();
            remarks.push(format!(
                "nobody says what {without} of {count} containers do, so they do nothing: give them \
                 a load in the annotation slicewise.dev/load, or in a document of kind Load"
            ));
        }
        if question.settings.profile.experimental {
            remarks.push("this kernel's profile is experimental".to_owned());
        }
        remarks
    }

    fn findings(&self, question: &Question, workloads: &[KubeContainer]) -> Vec<KubeFinding> {
        let mut findings = Vec::new();
        let most = question.throttled_share_max;
        for it in workloads {
            let mut add = |rule: &str, message: String| {
                let (rule, container) = (rule.to_owned(), it.label.clone());
                findings.push(KubeFinding { rule, container, message });
            };
            if it.throttled_share > most {
                add(
                    "throttled",
                    format!(
                        "throttled in {:.1} % of periods, more than {} %",
                        it.throttled_share * 100.0,
                        most * 100.0
                    ),
                );
            }
            for part in &it.parts {
                if let Some(requests) = part.requests.filter(|it| it.dropped > 0) {
                    add(
                        "dropped",
                        format!(
                            "{} of {} requests found the queue full",
                            requests.dropped, requests.arrived
                        ),
                    );
                }
                if part.is_overloaded() {
                    add("overloaded", "requests come faster than they are served".to_owned());
                }
            }
            if let Some(target) = &question.target
                && let Some(message) = target.missed_by(it)
            {
                add("target", message);
            }
        }
        for note in &self.notes {
            if let Note::Rejected { pod, why } = note {
                let (rule, container) = ("rejected".to_owned(), pod.clone());
                findings.push(KubeFinding {
                    rule,
                    container,
                    message: format!("not admitted: {why}"),
                });
            }
        }
        findings
    }

    /// What each container gets when all want all they can get: by weight, level by level, among
    /// those that have containers at all. Who has CPUs for itself takes no part.
    fn saturated(&self) -> Vec<KubeSaturated> {
        let groups = &self.mapping.groups;
        let mut counts = vec![false; groups.len()];
        let mut exclusive = 0;
        for it in &self.mapping.containers {
            match &it.exclusive {
                Some(cpus) => exclusive += cpus.len(),
                None => counts[it.group] = true,
            }
        }
        for at in (0..groups.len()).rev() {
            if let Some(parent) = groups[at].parent.filter(|_| counts[at]) {
                counts[parent] = true;
            }
        }
        let mut siblings: BTreeMap<Option<usize>, u64> = BTreeMap::new();
        for (group, _) in groups.iter().zip(&counts).filter(|(_, counts)| **counts) {
            *siblings.entry(group.parent).or_insert(0) += group.kernel_weight;
        }
        let pool = self.node.cpus as usize - exclusive.min(self.node.cpus as usize);
        // Parents come before their children.
        let mut shares = vec![0.0_f64; groups.len()];
        let mut most = vec![f64::INFINITY; groups.len()];
        for at in 0..groups.len() {
            let group = &groups[at];
            let above =
                group.parent.map_or((1.0, f64::INFINITY), |parent| (shares[parent], most[parent]));
            let all = siblings.get(&group.parent).copied().unwrap_or(0).max(1);
            shares[at] = above.0 * group.kernel_weight as f64 / all as f64;
            let quota = group
                .quota_us
                .map_or(f64::INFINITY, |quota| quota as f64 / group.period_us.max(1) as f64);
            most[at] = above.1.min(quota);
        }
        let of = |it: &crate::mapping::Mapped| match &it.exclusive {
            Some(cpus) => {
                KubeSaturated { share: 0.0, cpus: (cpus.len() as f64).min(most[it.group]) }
            }
            None => KubeSaturated {
                share: shares[it.group],
                cpus: (shares[it.group] * pool as f64).min(most[it.group]),
            },
        };
        self.mapping.containers.iter().map(of).collect()
    }
}

/// Makes reports of containers.
struct Writer<'a> {
    study: &'a Study<'a>,
    outcome: &'a Outcome,
    others: &'a [(Way, Outcome)],
    saturated: Vec<KubeSaturated>,
}

impl Writer<'_> {
    /// One container, or all copies of one.
    fn container(&self, copies: &[usize]) -> KubeContainer {
        let mapping = &self.study.mapping;
        let first = &mapping.containers[copies[0]];
        let identity = &first.identity;
        let group = &mapping.groups[first.group];
        let mut figures = Figures::default();
        for copy in copies {
            figures.merge(&self.outcome.containers[*copy]);
        }
        let simulated_ns = self.outcome.simulated_ns.max(1);
        let cpus = |quantity: slicewise_containers::Quantity| quantity.as_milli() as f64 / 1000.0;
        let is_one = copies.len() == 1;
        let mut container = KubeContainer {
            label: if is_one { first.label.clone() } else { first.label_of_all.clone() },
            namespace: identity.namespace.clone(),
            kind: identity.kind.to_owned(),
            pod: if is_one { identity.pod() } else { identity.object.clone() },
            container: identity.container.clone(),
            copies: copies.len() as u32,
            cgroup: group.path.clone(),
            qos_class: identity.class.map(|class| class.to_string()),
            request_cpus: first.request.map(cpus),
            limit_cpus: first.limit.map(cpus),
            weight: group.weight,
            quota: self.quota(first.group),
            exclusive_cpus: first.exclusive.as_ref().filter(|_| is_one).map(ToString::to_string),
            numa_nodes: self.numa_nodes(first).unwrap_or_default(),
            devices: self.devices(copies),
            saturated: self.saturated[copies[0]],
            has_load: copies.iter().any(|copy| !mapping.containers[*copy].parts.is_empty()),
            cpu_ns: figures.cpu_ns,
            used_cpus: figures.cpu_ns as f64 / simulated_ns as f64,
            stalls: KubeTimes::of(&figures.stalls),
            wait: self.wait(&figures),
            parts: (0..first.parts.len()).map(|part| self.part(copies, part, &figures)).collect(),
            ..KubeContainer::default()
        };
        for copy in copies {
            let Some(stats) = self.throttling(*copy) else { continue };
            container.nr_periods += stats.nr_periods;
            container.nr_throttled += stats.nr_throttled;
            container.throttled_ns += stats.throttled_ns;
        }
        container.settle_throttling();
        container.verdict = container.sentence();
        container
    }

    /// The NUMA nodes of a container's own CPUs, where there are several.
    fn numa_nodes(&self, container: &crate::mapping::Mapped) -> Option<Vec<u32>> {
        let topology = self.study.node.topology.as_ref()?;
        let cpus = container.exclusive.as_ref()?;
        (topology.numa_nodes().len() > 1).then(|| topology.numa_nodes_of(cpus))
    }

    fn devices(&self, copies: &[usize]) -> Vec<String> {
        let own = self.study.devices.iter().filter(|it| copies.contains(&it.container));
        own.flat_map(|it| it.ids.iter().cloned()).collect()
    }

    /// The tightest quota of a group and those around it; its own of several equal ones.
    fn quota(&self, group: usize) -> Option<KubeQuota> {
        let groups = &self.study.mapping.groups;
        let mut tightest: Option<KubeQuota> = None;
        let mut at = Some(group);
        while let Some(index) = at {
            let it = &groups[index];
            if let Some(quota_us) = it.quota_us {
                let cpus = quota_us as f64 / it.period_us.max(1) as f64;
                if tightest.as_ref().is_none_or(|known| cpus < known.cpus) {
                    tightest = Some(KubeQuota {
                        cpus,
                        quota_ns: quota_us * 1000,
                        period_ns: it.period_us * 1000,
                        cgroup: it.path.clone(),
                        is_own: it.kind == GroupKind::Container,
                    });
                }
            }
            at = it.parent;
        }
        tightest
    }

    /// What the quota did that stopped the container most often, its own or one around it.
    fn throttling(&self, container: usize) -> Option<BandwidthStats> {
        let mapping = &self.study.mapping;
        let mut at = mapping.containers[container].machine_group;
        let mut most: Option<BandwidthStats> = None;
        while let Some(group) = at {
            let spec = &mapping.workload.groups[group as usize];
            if spec.limit.quota_ns.is_some()
                && let Some(stats) = self.outcome.bandwidth.get(group as usize)
                && most.is_none_or(|known| stats.nr_throttled > known.nr_throttled)
            {
                most = Some(*stats);
            }
            at = spec.parent;
        }
        most
    }

    fn wait(&self, figures: &Figures) -> KubeWait {
        let containers = &self.study.mapping.containers;
        // Copies of the same pod are others too, under one name.
        let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
        for (other, ns) in &figures.others_ns {
            let name = &containers[*other as usize].label_of_all;
            *by_name.entry(name).or_insert(0) += ns;
        }
        let mut others: Vec<KubeOther> = by_name
            .into_iter()
            .map(|(name, wait_ns)| KubeOther { container: name.to_owned(), wait_ns })
            .collect();
        let other_containers_ns = others.iter().map(|other| other.wait_ns).sum();
        others
            .sort_by(|a, b| b.wait_ns.cmp(&a.wait_ns).then_with(|| a.container.cmp(&b.container)));
        others.truncate(OTHERS_MAX);
        KubeWait {
            total_ns: figures.wait_ns(),
            quota_ns: figures.quota_ns,
            same_container_ns: figures.same_ns,
            other_containers_ns,
            nobody_ns: figures.nobody_ns,
            others,
        }
    }

    fn part(&self, copies: &[usize], index: usize, figures: &Figures) -> KubePart {
        let containers = &self.study.mapping.containers;
        let part = &containers[copies[0]].parts[index];
        let own = figures.parts.get(index).map(|it| KubeTimes::of(&it.durations));
        let mut written = KubePart { durations: own.unwrap_or_default(), ..KubePart::default() };
        match &part.part {
            Part::Requests(requests) => {
                written.kind = "requests".to_owned();
                written.threads = requests.workers;
                let quantile = |per_mille| quantile_ns(&requests.service, per_mille);
                written.service = Some(KubeService {
                    p50_ns: quantile(500),
                    p99_ns: quantile(990),
                    p999_ns: quantile(999),
                });
                written.requests = Some(self.requests(copies, index));
            }
            Part::Launch(launch) => {
                written.kind = "launch".to_owned();
                written.threads = launch.threads;
                let device = launch.device.clone();
                let (steps_per_s, busy) = launches(self.study, self.outcome, copies, index);
                written.launch = Some(KubeLaunch { device, steps_per_s, device_busy_share: busy });
            }
            Part::Batch(batch) => {
                written.kind = "batch".to_owned();
                written.threads = batch.threads;
            }
            _ => {}
        }
        written.without_limits = self.baseline(copies, index, |way| way == Way::WithoutQuotas);
        let alone = |way: Way| match way {
            Way::Alone(container) => {
                let (of, it) = (&containers[container].identity, &containers[copies[0]].identity);
                of.workload == it.workload && of.object == it.object
            }
            _ => false,
        };
        written.alone = match self.others.is_empty() || !self.study.is_alone() {
            true => self.baseline(copies, index, alone),
            false => written.without_limits,
        };
        written
    }

    fn requests(&self, copies: &[usize], index: usize) -> KubeRequests {
        let mut sum = KubeRequests::default();
        for copy in copies {
            let queue =
                self.study.mapping.containers[*copy].parts.get(index).and_then(|it| it.queue);
            let Some(queue) = queue.and_then(|it| self.outcome.queues.get(it as usize)) else {
                continue;
            };
            sum.arrived += queue.arrived;
            sum.served += queue.served;
            sum.dropped += queue.dropped;
        }
        sum.unanswered = sum.arrived.saturating_sub(sum.served + sum.dropped);
        sum
    }

    /// The same part in the first of the other runs of this kind, if there is one.
    fn baseline(
        &self,
        copies: &[usize],
        index: usize,
        wanted: impl Fn(Way) -> bool,
    ) -> Option<KubeBaseline> {
        let (way, outcome) = self.others.iter().find(|(way, _)| wanted(*way))?;
        // Alone, one copy ran: only that counts.
        let ran: Vec<usize> = match way {
            Way::Alone(container) => {
                let copy = self.study.mapping.containers[*container].identity.copy;
                let is_it = |it: &&usize| self.study.mapping.containers[**it].identity.copy == copy;
                copies.iter().filter(is_it).copied().collect()
            }
            _ => copies.to_vec(),
        };
        let mut durations = Histogram::new();
        for copy in &ran {
            if let Some(part) = outcome.containers[*copy].parts.get(index) {
                durations.merge(&part.durations);
            }
        }
        if ran.is_empty() {
            return None;
        }
        let is_launch =
            matches!(self.study.mapping.containers[copies[0]].parts[index].part, Part::Launch(_));
        let (steps, busy) = launches(self.study, outcome, &ran, index);
        // As many copies as there are here, each alone.
        let steps = steps * copies.len() as f64 / ran.len() as f64;
        Some(KubeBaseline {
            durations: KubeTimes::of(&durations),
            steps_per_s: is_launch.then_some(steps),
            device_busy_share: is_launch.then_some(busy),
        })
    }
}

/// Steps a second of all these containers together, and how busy their devices are on average.
fn launches(study: &Study<'_>, outcome: &Outcome, copies: &[usize], index: usize) -> (f64, f64) {
    let simulated_ns = outcome.simulated_ns.max(1) as f64;
    let (mut steps, mut busy_ns) = (0, 0);
    for copy in copies {
        let part = study.mapping.containers[*copy].parts.get(index);
        let figures = &outcome.containers[*copy].parts;
        steps += figures.get(index).map_or(0, |it| it.durations.count());
        let device = part.and_then(|it| it.device);
        let device = device.and_then(|it| outcome.device_busy_ns.get(it as usize));
        busy_ns += device.copied().unwrap_or(0);
    }
    let per_device = busy_ns as f64 / copies.len().max(1) as f64;
    (steps as f64 * 1e9 / simulated_ns, per_device / simulated_ns)
}
