//! The kubelet's CPU, device and topology managers: who gets which CPUs and devices for itself, and
//! which pods are refused.
//!
//! *Not modelled*: the memory manager, so that memory gives no hints; plugins' own preferences among
//! devices; `max-allowable-numa-nodes` above what [`NUMA_NODES_MAX`] allows. The orders are those of
//! the specification F.5 and Kubernetes' documentation; no kubelet was run beside them.

mod assign;
mod hints;
mod manager;
mod state;
mod topology;

pub use hints::TopologyPolicy;
pub use manager::CpuManagerError;
pub(crate) use manager::{Granted, Manager, Refused};
pub use state::{CpuManagerState, StateEntry, StateProblem};
pub use topology::{NUMA_NODES_MAX, NodeCpu, NodeDevice, NodeTopology, NodeTopologyError};
