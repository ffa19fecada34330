//! The CPU manager's state file, `/var/lib/kubelet/cpu_manager_state`.
//!
//! Only read: its checksum depends on how a kubelet's Go types print, which is nobody's interface.

use std::collections::BTreeMap;

use super::topology::NodeTopology;
use crate::cpus::CpuList;
use crate::diagnostic::{Diagnostic, Sink, shorten};
use crate::fields::{map, quiet_text, text};
use crate::source::FILE_BYTES_MAX;
use crate::yaml;

/// What a kubelet says its containers have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CpuManagerState {
    /// `none` or `static`.
    pub policy: String,
    /// The CPUs of everyone else.
    pub default_cpus: CpuList,
    /// Containers with CPUs of their own.
    pub entries: Vec<StateEntry>,
}

/// A container with CPUs of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateEntry {
    /// The pod's identity.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// Its CPUs.
    pub cpus: CpuList,
}

/// What is odd about a state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateProblem {
    /// Two have the same CPUs for themselves.
    #[error("CPUs {cpus} are of both {one} and {other}")]
    Shared {
        /// `pod/container`.
        one: String,
        /// `pod/container`.
        other: String,
        /// Which CPUs.
        cpus: CpuList,
    },
    /// Exclusive CPUs are in the shared pool as well.
    #[error("CPUs {cpus} of {of} are in the shared pool too")]
    InPool {
        /// `pod/container`.
        of: String,
        /// Which CPUs.
        cpus: CpuList,
    },
    /// CPUs that the node does not have.
    #[error("CPUs {cpus} of {of} are not there")]
    NotThere {
        /// `pod/container`, or the shared pool.
        of: String,
        /// Which CPUs.
        cpus: CpuList,
    },
    /// A container is on more NUMA nodes than it needs.
    #[error("{of} has CPUs {cpus} on NUMA nodes {nodes}, and would fit on {needed}")]
    Scattered {
        /// `pod/container`.
        of: String,
        /// Which CPUs.
        cpus: CpuList,
        /// How many nodes.
        nodes: usize,
        /// How many it needs.
        needed: usize,
    },
}

impl CpuManagerState {
    /// Reads the file's text.
    ///
    /// # Errors
    /// Everything wrong with it, with places.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut sink = Sink::default();
        let mut state = None;
        if text.len() as u64 > FILE_BYTES_MAX {
            let help = format!("{FILE_BYTES_MAX} bytes are the most");
            sink.error(Default::default(), "the text is too long", help);
        } else {
            yaml::documents(text, &mut sink, |document, sink| {
                if state.is_none() && !document.is_null() {
                    state = Some(read(sink, &document));
                }
            });
        }
        if state.is_none() && !sink.has_errors() {
            let help = "it is the kubelet's cpu_manager_state: a JSON object";
            sink.error(Default::default(), "there is nothing in the text", help);
        }
        let has_errors = sink.has_errors();
        let list = sink.finish(&[text]);
        if has_errors { Err(list) } else { Ok(state.unwrap_or_default()) }
    }

    /// What is odd about it on a node of this topology.
    pub fn problems(&self, topology: &NodeTopology) -> Vec<StateProblem> {
        let mut problems = Vec::new();
        let all = topology.all();
        let name = |entry: &StateEntry| format!("{}/{}", entry.pod, entry.container);
        let both = |one: &CpuList, other: &CpuList| one.without(&one.without(other));
        let pool = std::iter::once(("the shared pool".to_owned(), &self.default_cpus));
        for (of, cpus) in pool.chain(self.entries.iter().map(|it| (name(it), &it.cpus))) {
            let cpus = cpus.without(&all);
            if !cpus.is_empty() {
                problems.push(StateProblem::NotThere { of, cpus });
            }
        }
        for (number, entry) in self.entries.iter().enumerate() {
            let cpus = both(&entry.cpus, &self.default_cpus);
            if !cpus.is_empty() {
                problems.push(StateProblem::InPool { of: name(entry), cpus });
            }
            for other in &self.entries[..number] {
                let cpus = both(&entry.cpus, &other.cpus);
                if !cpus.is_empty() {
                    let (one, other) = (name(other), name(entry));
                    problems.push(StateProblem::Shared { one, other, cpus });
                }
            }
            let nodes = topology.numa_nodes_of(&entry.cpus).len();
            let needed = nodes_needed(topology, entry.cpus.len());
            if nodes > needed {
                let (of, cpus) = (name(entry), entry.cpus.clone());
                problems.push(StateProblem::Scattered { of, cpus, nodes, needed });
            }
        }
        problems
    }
}

/// The fewest NUMA nodes with so many CPUs.
fn nodes_needed(topology: &NodeTopology, wanted: usize) -> usize {
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    for cpu in topology.cpus() {
        *sizes.entry(cpu.numa).or_default() += 1;
    }
    let mut sizes: Vec<usize> = sizes.into_values().collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    let mut sum = 0;
    let enough = sizes.iter().position(|size| {
        sum += size;
        sum >= wanted
    });
    enough.map_or(sizes.len(), |last| last + 1)
}

fn read(sink: &mut Sink, document: &yaml::Node<'_>) -> CpuManagerState {
    let mut state = CpuManagerState::default();
    let Some(object) = document.as_map() else {
        let message = format!("a state is an object, not {}", document.kind());
        sink.error(document.span, message, "it is the kubelet's cpu_manager_state");
        return state;
    };
    match text(sink, object, "policyName") {
        Some((policy @ ("none" | "static"), _)) => state.policy = policy.to_owned(),
        Some((other, span)) => {
            let message = format!("unknown policy `{}`", shorten(other));
            sink.error(span, message, "allowed: none, static");
        }
        None => sink.error(document.span, "there is no `policyName`", "is it another file?"),
    }
    if let Some((words, span)) = text(sink, object, "defaultCpuSet")
        && !words.is_empty()
    {
        match CpuList::parse(words) {
            Ok(cpus) => state.default_cpus = cpus,
            Err(problem) => sink.error(span, format!("`defaultCpuSet`: {problem}"), ""),
        }
    }
    let Some((pods, _)) = map(sink, object, "entries") else { return state };
    for (pod, containers) in &pods.entries {
        let Some(containers) = containers.as_map() else {
            sink.error(containers.span, "a pod's entry is an object of its containers", "");
            continue;
        };
        for (container, cpus) in &containers.entries {
            let words = quiet_text(containers, &container.name).unwrap_or_default();
            match CpuList::parse(words) {
                Ok(cpus) => state.entries.push(StateEntry {
                    pod: pod.name.to_string(),
                    container: container.name.to_string(),
                    cpus,
                }),
                Err(problem) => {
                    let message = format!("CPUs of `{}`: {problem}", shorten(&container.name));
                    sink.error(cpus.span, message, "write a list such as `2-3`");
                }
            }
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelets_state_is_read_and_held_against_the_topology() {
        let text = r#"{"policyName":"static","defaultCpuSet":"0-1,6","entries":{
            "uid-a":{"gpu":"2-5"},"uid-b":{"side":"6-7","x":"7-8"}},"checksum":353318871}"#;
        let state = CpuManagerState::parse(text).unwrap();
        assert_eq!(state.policy, "static");
        assert_eq!(state.entries[0].cpus.to_string(), "2-5");
        let topology = NodeTopology::regular(2, 1, 1, 4, 1).unwrap();
        let said: Vec<String> = state.problems(&topology).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "CPUs 8 of uid-b/x are not there",
                "uid-a/gpu has CPUs 2-5 on NUMA nodes 2, and would fit on 1",
                "CPUs 6 of uid-b/side are in the shared pool too",
                "CPUs 7 are of both uid-b/side and uid-b/x",
            ]
        );
    }

    #[test]
    fn what_is_no_state_is_said_with_its_place() {
        for (text, said) in [
            ("", "there is nothing in the text"),
            ("[1]", "a state is an object, not a list"),
            ("{}", "there is no `policyName`"),
            (r#"{"policyName":"dynamic"}"#, "unknown policy `dynamic`"),
            (r#"{"policyName":"static","defaultCpuSet":"3-1"}"#, "`defaultCpuSet`: the range"),
            (r#"{"policyName":"static","entries":{"a":{"b":"x"}}}"#, "CPUs of `b`: `x` is no CPU"),
        ] {
            let errors = CpuManagerState::parse(text).unwrap_err();
            assert!(errors[0].message.starts_with(said), "{text}: {}", errors[0].message);
        }
    }
}
