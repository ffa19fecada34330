//! The topology manager: hints of providers, their merge, and what is admitted.

use super::assign::choices;
use super::topology::NodeTopology;

/// Some NUMA nodes, by their place among those of the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Mask(pub(crate) u64);

impl Mask {
    pub(crate) fn all(nodes: usize) -> Self {
        Self(if nodes >= 64 { u64::MAX } else { (1 << nodes) - 1 })
    }

    pub(crate) fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub(crate) fn contains(self, node: usize) -> bool {
        node < 64 && self.0 >> node & 1 == 1
    }

    pub(crate) fn nodes(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |node| self.contains(*node))
    }
}

/// What a provider could do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hint {
    /// `None` for wherever.
    pub(crate) mask: Option<Mask>,
    pub(crate) preferred: bool,
}

/// The hints of a provider, and what it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Provider {
    /// `8 CPUs`, `2 nvidia.com/gpu`.
    pub(crate) what: String,
    /// None at all: it cannot be done anywhere.
    pub(crate) hints: Vec<Hint>,
    /// How many of it are free at each NUMA node.
    pub(crate) free: Vec<u64>,
}

/// A policy of the topology manager.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TopologyPolicy {
    /// It does nothing.
    #[default]
    None,
    /// Aligns where it can.
    BestEffort,
    /// Rejects what cannot be aligned as well as on an empty node.
    Restricted,
    /// Rejects what does not get all from one NUMA node.
    SingleNumaNode,
}

impl TopologyPolicy {
    /// The policy of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "best-effort" => Self::BestEffort,
            "restricted" => Self::Restricted,
            "single-numa-node" => Self::SingleNumaNode,
            _ => return None,
        })
    }

    /// What the kubelet calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::BestEffort => "best-effort",
            Self::Restricted => "restricted",
            Self::SingleNumaNode => "single-numa-node",
        }
    }
}

/// The most masks a provider's hints are made of: all of 8 NUMA nodes.
const MASKS_MAX: usize = 256;

/// Masks of NUMA nodes, the narrowest first. All of them on nodes of 8; on larger ones, those of few
/// nodes and that of all.
pub(crate) fn masks(nodes: usize) -> Vec<Mask> {
    let mut masks = Vec::new();
    for count in 1..=nodes {
        for choice in choices(nodes, count) {
            if masks.len() == MASKS_MAX {
                masks.push(Mask::all(nodes));
                return masks;
            }
            masks.push(Mask(choice.iter().fold(0, |mask, node| mask | 1 << node)));
        }
    }
    masks
}

/// Hints from how many there are at each NUMA node, and how many are free.
pub(crate) fn hints(
    total: &[u64],
    free: &[u64],
    wanted: u64,
    prefers: impl Fn(Mask, u32) -> bool,
) -> Vec<Hint> {
    let sum = |counts: &[u64], mask: Mask| -> u64 {
        mask.nodes().filter_map(|node| counts.get(node)).sum()
    };
    let masks = masks(total.len());
    let fits = masks.iter().filter(|mask| sum(total, **mask) >= wanted);
    let least = fits.map(|mask| mask.count()).min().unwrap_or(u32::MAX);
    let possible = masks.into_iter().filter(|mask| sum(free, *mask) >= wanted);
    possible.map(|mask| Hint { mask: Some(mask), preferred: prefers(mask, least) }).collect()
}

/// How hints are compared.
pub(crate) struct Merge<'t> {
    pub(crate) topology: &'t NodeTopology,
    pub(crate) policy: TopologyPolicy,
    pub(crate) closest: bool,
}

impl Merge<'_> {
    /// The best that all providers can do together.
    pub(crate) fn merge(&self, providers: &[Provider]) -> Hint {
        let everywhere = Mask::all(self.topology.numa_nodes().len());
        let mut lists: Vec<Vec<Hint>> = Vec::new();
        for provider in providers {
            let mut hints = provider.hints.clone();
            if hints.is_empty() {
                hints.push(Hint { mask: None, preferred: false });
            }
            if self.policy == TopologyPolicy::SingleNumaNode {
                hints.retain(|hint| {
                    hint.preferred && hint.mask.is_none_or(|mask| mask.count() == 1)
                });
            }
            // What is the same to the merge is looked at once.
            hints.dedup();
            lists.push(hints);
        }
        // Of a provider's hints that are not preferred, how narrow the narrowest is.
        let narrowest = |hints: &Vec<Hint>| {
            hints.iter().map(|hint| hint.mask.unwrap_or(everywhere).count()).min()
        };
        let widest_needed = lists.iter().filter_map(narrowest).max().unwrap_or(0);
        let mut best = Hint { mask: Some(everywhere), preferred: false };
        let mut found = false;
        let mut merged = vec![Hint { mask: Some(everywhere), preferred: true }];
        for list in &lists {
            let mut next: Vec<Hint> = Vec::new();
            for one in &merged {
                for other in list {
                    let mask =
                        one.mask.unwrap_or(everywhere).0 & other.mask.unwrap_or(everywhere).0;
                    let hint = Hint {
                        mask: Some(Mask(mask)),
                        preferred: one.preferred && other.preferred,
                    };
                    if mask != 0 && !next.contains(&hint) {
                        next.push(hint);
                    }
                }
            }
            merged = next;
        }
        for hint in merged {
            if !found || self.is_better(hint, best, widest_needed) {
                best = hint;
                found = true;
            }
        }
        if !found {
            return Hint { mask: None, preferred: false };
        }
        if self.policy == TopologyPolicy::SingleNumaNode && best.mask == Some(everywhere) {
            best.mask = None;
        }
        best
    }

    fn is_better(&self, hint: Hint, than: Hint, needed: u32) -> bool {
        let (Some(mask), Some(other)) = (hint.mask, than.mask) else { return false };
        if hint.preferred != than.preferred {
            return hint.preferred;
        }
        if hint.preferred {
            return self.is_narrower(mask, other);
        }
        // Nothing aligned: as near as possible to what the most demanding provider needs.
        let (count, other_count) = (mask.count(), other.count());
        match other_count.cmp(&needed) {
            core::cmp::Ordering::Greater => self.is_narrower(mask, other),
            core::cmp::Ordering::Equal => count == needed && self.is_narrower(mask, other),
            core::cmp::Ordering::Less => {
                count > other_count || (count == other_count && self.is_narrower(mask, other))
            }
        }
    }

    fn is_narrower(&self, mask: Mask, than: Mask) -> bool {
        if mask.count() != than.count() {
            return mask.count() < than.count();
        }
        if self.closest {
            let (near, far) = (self.spread(mask), self.spread(than));
            if near != far {
                return near < far;
            }
        }
        // Lower nodes first.
        mask.0 < than.0
    }

    /// Distances among nodes; the number of nodes is the same where this is compared.
    fn spread(&self, mask: Mask) -> u64 {
        let nodes: Vec<usize> = mask.nodes().collect();
        let pairs = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
        pairs.map(|(from, to)| u64::from(self.topology.distance(from, to))).sum()
    }

    pub(crate) fn admits(&self, best: Hint) -> bool {
        match self.policy {
            TopologyPolicy::None | TopologyPolicy::BestEffort => true,
            TopologyPolicy::Restricted | TopologyPolicy::SingleNumaNode => best.preferred,
        }
    }
}
