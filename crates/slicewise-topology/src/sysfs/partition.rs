//! Sets of CPUs that must not overlap.

use std::collections::BTreeMap;

/// Who shares something: told CPU by CPU, in order, and all that share it must tell the same. No more
/// is kept than one entry for each CPU, whatever is told.
#[derive(Default)]
pub(super) struct Partition {
    /// By the first CPU.
    sets: BTreeMap<u32, Vec<u32>>,
    /// The first CPU of everybody's set.
    first_of: BTreeMap<u32, u32>,
}

impl Partition {
    /// A CPU says with whom it shares. CPUs must come in order.
    ///
    /// # Errors
    /// The CPU that said otherwise before, or that did not say so.
    pub(super) fn tell(&mut self, cpu: u32, set: Vec<u32>) -> Result<(), u32> {
        let first = set.first().copied().unwrap_or(cpu);
        if first != cpu {
            return if self.sets.get(&first) == Some(&set) { Ok(()) } else { Err(first) };
        }
        // Who comes later cannot have been named yet.
        if let Some(other) = set.iter().find_map(|member| self.first_of.get(member)) {
            return Err(*other);
        }
        self.first_of.extend(set.iter().map(|member| (*member, cpu)));
        self.sets.insert(cpu, set);
        Ok(())
    }

    /// The first CPU of a CPU's set.
    pub(super) fn first(&self, cpu: u32) -> Option<u32> {
        self.first_of.get(&cpu).copied()
    }

    /// A CPU's set.
    pub(super) fn set(&self, cpu: u32) -> Option<&[u32]> {
        self.sets.get(&self.first(cpu)?).map(Vec::as_slice)
    }

    /// All sets, by their first CPUs.
    pub(super) fn into_sets(self) -> impl Iterator<Item = Vec<u32>> {
        self.sets.into_values()
    }
}
