//! `KubeletConfiguration`, and what a `Node` object says about itself.

use crate::cgroup::{PERIOD_MAX_US, QUOTA_MIN_US};
use crate::cpus::CpuList;
use crate::diagnostic::{Sink, did_you_mean, shorten};
use crate::fields::{boolean, list, map, quiet_text, text};
use crate::kubelet::TopologyPolicy;
use crate::node::{Driver, NodeSettings};
use crate::units::parse_duration;
use crate::yaml::Map;

use super::pod::cpus;

/// Keys that would change the tree in ways that are not modelled.
const NOT_MODELLED: &[&str] =
    &["cgroupRoot", "systemReservedCgroup", "kubeReservedCgroup", "memoryManagerPolicy"];

pub(super) fn configuration(sink: &mut Sink, object: &Map<'_>, node: &mut NodeSettings) {
    if let Some((policy, span)) = text(sink, object, "cpuManagerPolicy") {
        match policy {
            "none" => node.static_cpus = Some(false),
            "static" => node.static_cpus = Some(true),
            _ => {
                let message = format!("unknown `cpuManagerPolicy` `{}`", shorten(policy));
                sink.error(span, message, did_you_mean(policy, &["none", "static"]));
            }
        }
    }
    policy_options(sink, object, node);
    topology_manager(sink, object, node);
    for (key, slot) in
        [("kubeReserved", &mut node.kube_reserved), ("systemReserved", &mut node.system_reserved)]
    {
        let reserved = map(sink, object, key).and_then(|(map, _)| map.get("cpu"));
        if let Some(amount) = reserved.and_then(|it| cpus(sink, &format!("{key}.cpu"), it)) {
            *slot = Some(amount);
        }
    }
    if let Some((words, span)) = text(sink, object, "reservedSystemCPUs")
        && !words.is_empty()
    {
        match CpuList::parse(words) {
            Ok(cpus) => node.reserved_cpus = Some(cpus),
            Err(problem) => {
                let help = "write a list such as `0-1,8`";
                sink.error(span, format!("`reservedSystemCPUs`: {problem}"), help);
            }
        }
    }
    node.cfs_quota = boolean(sink, object, "cpuCFSQuota").or(node.cfs_quota);
    if let Some((words, span)) = text(sink, object, "cgroupDriver") {
        match words {
            "systemd" => node.driver = Some(Driver::Systemd),
            "cgroupfs" => node.driver = Some(Driver::Cgroupfs),
            _ => {
                let message = format!("unknown `cgroupDriver` `{}`", shorten(words));
                sink.error(span, message, did_you_mean(words, &["systemd", "cgroupfs"]));
            }
        }
    }
    let gates = map(sink, object, "featureGates").map(|(gates, _)| gates);
    if let Some(gates) = gates
        && let Some(on) = boolean(sink, gates, "DisableCPUQuotaWithExclusiveCPUs")
    {
        node.quota_with_exclusive_cpus = Some(!on);
    }
    period(sink, object, gates, node);
    let enforced = list(sink, object, "enforceNodeAllocatable");
    if object.get("enforceNodeAllocatable").is_some() {
        let is_pods = |it: &crate::yaml::Node<'_>| {
            it.as_scalar().is_some_and(|scalar| scalar.text.as_ref() == "pods")
        };
        node.enforce_allocatable = Some(enforced.iter().any(is_pods));
    }
    if let Some(false) = boolean(sink, object, "cgroupsPerQOS")
        && let Some(it) = object.get("cgroupsPerQOS")
    {
        let message = "`cgroupsPerQOS: false` is not modelled: pods are put below `kubepods`";
        sink.warn(it.span, message, "");
    }
    for key in object.keys().filter(|key| NOT_MODELLED.contains(&key.name.as_ref())) {
        sink.warn(key.span, format!("`{}` is not modelled: it is ignored", key.name), "");
    }
}

fn policy_options(sink: &mut Sink, object: &Map<'_>, node: &mut NodeSettings) {
    let Some((options, _)) = map(sink, object, "cpuManagerPolicyOptions") else { return };
    for (key, value) in &options.entries {
        let on = match value.as_scalar().map(|scalar| scalar.text.as_ref()) {
            Some("true") => true,
            Some("false") => false,
            _ => {
                let message = format!("`{}` must be \"true\" or \"false\"", shorten(&key.name));
                sink.error(value.span, message, "");
                continue;
            }
        };
        match key.name.as_ref() {
            "full-pcpus-only" => node.full_pcpus_only = Some(on),
            "strict-cpu-reservation" => node.strict_cpu_reservation = Some(on),
            "distribute-cpus-across-numa" => node.distribute_cpus_across_numa = Some(on),
            "align-by-socket" => node.align_by_socket = Some(on),
            "distribute-cpus-across-cores" => node.distribute_cpus_across_cores = Some(on),
            "prefer-align-cpus-by-uncorecache" => node.prefer_align_cpus_by_uncorecache = Some(on),
            other if on => {
                let message = format!("`{}` is not modelled: it is ignored", shorten(other));
                sink.warn(key.span, message, "");
            }
            _ => {}
        }
    }
}

fn topology_manager(sink: &mut Sink, object: &Map<'_>, node: &mut NodeSettings) {
    const POLICIES: &[&str] = &["none", "best-effort", "restricted", "single-numa-node"];
    if let Some((words, span)) = text(sink, object, "topologyManagerPolicy") {
        node.topology_policy = TopologyPolicy::named(words);
        if node.topology_policy.is_none() {
            let message = format!("unknown `topologyManagerPolicy` `{}`", shorten(words));
            sink.error(span, message, did_you_mean(words, POLICIES));
        }
    }
    if let Some((words, span)) = text(sink, object, "topologyManagerScope") {
        match words {
            "container" => node.topology_pod_scope = Some(false),
            "pod" => node.topology_pod_scope = Some(true),
            _ => {
                let message = format!("unknown `topologyManagerScope` `{}`", shorten(words));
                sink.error(span, message, did_you_mean(words, &["container", "pod"]));
            }
        }
    }
    let Some((options, _)) = map(sink, object, "topologyManagerPolicyOptions") else { return };
    for (key, value) in &options.entries {
        let words = value.as_scalar().map(|scalar| scalar.text.as_ref()).unwrap_or_default();
        match (key.name.as_ref(), words) {
            ("prefer-closest-numa-nodes", "true" | "false") => {
                node.prefer_closest_numa_nodes = Some(words == "true");
            }
            ("max-allowable-numa-nodes", number) => match number.parse::<u32>() {
                Ok(number @ 8..) => node.max_allowable_numa_nodes = Some(number),
                _ => {
                    let message = format!("`max-allowable-numa-nodes` of `{}`", shorten(number));
                    sink.error(value.span, message, "a number of 8 or more");
                }
            },
            ("prefer-closest-numa-nodes", _) => {
                let message = format!("`{}` must be \"true\" or \"false\"", shorten(&key.name));
                sink.error(value.span, message, "");
            }
            (other, _) => {
                let message = format!("`{}` is not modelled: it is ignored", shorten(other));
                sink.warn(key.span, message, "");
            }
        }
    }
}

/// `cpuCFSQuotaPeriod`, which the kubelet takes only with its feature gate.
fn period(sink: &mut Sink, object: &Map<'_>, gates: Option<&Map<'_>>, node: &mut NodeSettings) {
    let Some((words, span)) = text(sink, object, "cpuCFSQuotaPeriod") else { return };
    let period_us = match parse_duration(words) {
        Ok(ns) => ns / 1_000,
        Err(bad) => {
            sink.error(span, format!("`cpuCFSQuotaPeriod`: {}", bad.message), bad.help);
            return;
        }
    };
    if !(QUOTA_MIN_US..=PERIOD_MAX_US).contains(&period_us) {
        let message = format!("`cpuCFSQuotaPeriod` cannot be `{}`", shorten(words));
        sink.error(span, message, "allowed: 1ms to 1s");
        return;
    }
    let gate = gates.and_then(|gates| quiet_text(gates, "CustomCPUCFSQuotaPeriod"));
    if period_us != crate::cgroup::PERIOD_DEFAULT_US && gate != Some("true") {
        let message = "the kubelet takes another `cpuCFSQuotaPeriod` than 100ms only with its gate";
        sink.error(span, message, "add `featureGates: {CustomCPUCFSQuotaPeriod: true}`");
        return;
    }
    node.period_us = Some(period_us);
}

/// A node's own capacity.
pub(super) fn node(sink: &mut Sink, object: &Map<'_>, settings: &mut NodeSettings) {
    let metadata = object.get("metadata").and_then(|it| it.as_map());
    settings.name = metadata.and_then(|it| quiet_text(it, "name")).map(str::to_owned);
    let capacity = map(sink, object, "status").and_then(|(it, _)| map(sink, it, "capacity"));
    let Some(node) = capacity.and_then(|(it, _)| it.get("cpu")) else { return };
    let Some(quantity) = cpus(sink, "capacity.cpu", node) else { return };
    let count = quantity.as_milli() / 1000;
    settings.cpus = u32::try_from(count).ok().filter(|count| *count > 0);
}
