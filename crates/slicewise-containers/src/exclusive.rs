//! The CPU manager's static policy: who gets which CPUs for itself.
//!
//! *Simplified topology*: all cores are alike and near each other (one socket, one NUMA node, one
//! cache), so that the manager's packed order is whole cores first and then single threads of cores
//! that are in use already; lower numbers win.

use std::collections::BTreeSet;

use crate::cpus::CpuList;
use crate::node::{Node, StaticPolicy};
use crate::quantity::Quantity;

/// The state of the CPU manager.
#[derive(Clone, Debug)]
pub(crate) struct CpuManager {
    policy: StaticPolicy,
    threads: u32,
    cores: u32,
    reserved: CpuList,
    /// CPUs nobody has for itself, without the reserved ones.
    free: CpuList,
}

/// Why a node cannot have the static policy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuManagerError {
    /// The kubelet refuses to start without.
    #[error(
        "the static CPU manager needs a reservation: reserve CPUs for the kubelet or the system"
    )]
    NothingReserved,
    /// More is reserved than there is.
    #[error("{reserved} CPUs are reserved, of {cpus}")]
    TooMuchReserved {
        /// How many.
        reserved: u64,
        /// Of how many.
        cpus: u32,
    },
    /// A reserved CPU is not there.
    #[error("CPU {cpu} is reserved, but the node has {cpus} CPUs")]
    NoSuchCpu {
        /// Which.
        cpu: u32,
        /// Of how many.
        cpus: u32,
    },
    /// Not every core has all its threads.
    #[error("{cpus} CPUs are not cores of {threads} threads each")]
    Threads {
        /// How many CPUs.
        cpus: u32,
        /// How many threads a core.
        threads: u32,
    },
}

/// Why a pod with exclusive CPUs is not admitted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Refused {
    NotEnough { wanted: u32, free: u32 },
    NoWholeCores { wanted: u32, threads: u32 },
}

impl CpuManager {
    pub(crate) fn new(node: &Node, policy: StaticPolicy) -> Result<Self, CpuManagerError> {
        let (cpus, threads) = (node.cpus, node.threads_per_core);
        if threads == 0 || cpus == 0 || !cpus.is_multiple_of(threads) {
            return Err(CpuManagerError::Threads { cpus, threads });
        }
        let mut manager = Self {
            policy,
            threads,
            cores: cpus / threads,
            reserved: CpuList::default(),
            free: CpuList::first(cpus),
        };
        manager.reserved = match &node.reserved_cpus {
            Some(list) => match list.last() {
                Some(cpu) if cpu >= cpus => return Err(CpuManagerError::NoSuchCpu { cpu, cpus }),
                _ => list.clone(),
            },
            None => {
                let reserved = node.kube_reserved.plus(node.system_reserved);
                let count = reserved.as_milli().div_ceil(1000);
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                manager
                    .pick(count)
                    .ok_or(CpuManagerError::TooMuchReserved { reserved: u64::from(count), cpus })?
            }
        };
        if manager.reserved.is_empty() {
            return Err(CpuManagerError::NothingReserved);
        }
        manager.free = manager.free.without(&manager.reserved);
        Ok(manager)
    }

    /// CPUs for a container, if it is one that gets any.
    pub(crate) fn wanted(request: Quantity) -> u32 {
        let milli = request.as_milli();
        match milli % 1000 {
            0 => u32::try_from(milli / 1000).unwrap_or(u32::MAX),
            _ => 0,
        }
    }

    /// Takes CPUs out of the shared pool.
    pub(crate) fn take(&mut self, wanted: u32) -> Result<CpuList, Refused> {
        if self.policy.full_pcpus_only && !wanted.is_multiple_of(self.threads) {
            return Err(Refused::NoWholeCores { wanted, threads: self.threads });
        }
        let free = u32::try_from(self.free.len()).unwrap_or(u32::MAX);
        let taken = self.pick(wanted).ok_or(Refused::NotEnough { wanted, free })?;
        self.free = self.free.without(&taken);
        Ok(taken)
    }

    /// The CPUs of everyone else.
    pub(crate) fn shared(&self) -> CpuList {
        match self.policy.strict_cpu_reservation {
            true => self.free.clone(),
            false => self.free.with(&self.reserved),
        }
    }

    pub(crate) fn policy(&self) -> StaticPolicy {
        self.policy
    }

    /// So many of the free CPUs, in the packed order; `None` if there are not enough.
    fn pick(&self, wanted: u32) -> Option<CpuList> {
        let free = &self.free;
        if u64::from(wanted) > free.len() as u64 {
            return None;
        }
        let siblings = |core: u32| (0..self.threads).map(move |t| core + t * self.cores);
        let free_threads = |core: u32| siblings(core).filter(|cpu| free.contains(*cpu)).count();
        let mut taken: BTreeSet<u32> = BTreeSet::new();
        let missing = |taken: &BTreeSet<u32>| wanted as usize - taken.len();
        for core in (0..self.cores).filter(|core| free_threads(*core) == self.threads as usize) {
            if missing(&taken) < self.threads as usize {
                break;
            }
            taken.extend(siblings(core));
        }
        // Single threads: of the cores with the fewest left.
        let mut rest: Vec<(usize, u32, u32)> = free
            .iter()
            .filter(|cpu| !taken.contains(cpu))
            .map(|cpu| (free_threads(cpu % self.cores), cpu % self.cores, cpu))
            .collect();
        rest.sort_unstable();
        let missing = missing(&taken);
        taken.extend(rest.iter().take(missing).map(|(_, _, cpu)| *cpu));
        Some(taken.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(cpus: u32, threads: u32, reserved: &str, policy: StaticPolicy) -> CpuManager {
        let mut node = Node::new(cpus);
        node.threads_per_core = threads;
        node.kube_reserved = Quantity::parse(reserved).unwrap();
        CpuManager::new(&node, policy).unwrap()
    }

    #[test]
    fn whole_cores_go_first_and_then_threads_of_cores_in_use() {
        // Cores are (0,4) (1,5) (2,6) (3,7); one CPU is reserved: thread 0.
        let mut it = manager(8, 2, "500m", StaticPolicy::default());
        assert_eq!(it.reserved.to_string(), "0");
        assert_eq!(it.take(2).unwrap().to_string(), "1,5");
        assert_eq!(it.take(3).unwrap().to_string(), "2,4,6");
        assert_eq!(it.shared().to_string(), "0,3,7");
        assert_eq!(it.take(3), Err(Refused::NotEnough { wanted: 3, free: 2 }));
        assert_eq!(it.shared().to_string(), "0,3,7");
    }

    #[test]
    fn full_pcpus_only_refuses_halves_of_cores() {
        let policy = StaticPolicy { full_pcpus_only: true, ..StaticPolicy::default() };
        let mut it = manager(8, 2, "2", policy);
        assert_eq!(it.take(3), Err(Refused::NoWholeCores { wanted: 3, threads: 2 }));
        assert_eq!(it.take(4).unwrap().len(), 4);
    }

    #[test]
    fn strict_reservation_keeps_reserved_cpus_out_of_the_pool() {
        let policy = StaticPolicy { strict_cpu_reservation: true, ..StaticPolicy::default() };
        assert_eq!(manager(4, 1, "1", policy).shared().to_string(), "1-3");
        assert_eq!(manager(4, 1, "1", StaticPolicy::default()).shared().to_string(), "0-3");
    }

    #[test]
    fn the_kubelets_conditions_are_checked() {
        let error = |node: &Node| CpuManager::new(node, StaticPolicy::default()).unwrap_err();
        let mut node = Node::new(4);
        assert_eq!(error(&node), CpuManagerError::NothingReserved);
        node.kube_reserved = Quantity::units(5);
        assert_eq!(error(&node), CpuManagerError::TooMuchReserved { reserved: 5, cpus: 4 });
        node.reserved_cpus = Some(CpuList::parse("4").unwrap());
        assert_eq!(error(&node), CpuManagerError::NoSuchCpu { cpu: 4, cpus: 4 });
        node.threads_per_core = 3;
        assert_eq!(error(&node), CpuManagerError::Threads { cpus: 4, threads: 3 });
    }
}
