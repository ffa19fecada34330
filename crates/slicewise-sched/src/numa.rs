//! NUMA balancing: memory and tasks that follow each other (fair.md G.11). What a host and the core
//! tell each other.
//!
//! The core knows no memory. A host makes an address space ([`Scheduler::numa_space`]) and says which
//! tasks live in it ([`Scheduler::numa_join`]). From then on:
//!
//! 1. At a tick the core asks for a scan ([`Output::NumaScan`]): the next part of the address space is
//!    to be marked, so that the next access to each marked page faults. The host says what it did
//!    ([`Scheduler::numa_scanned`]).
//! 2. On each such fault the host asks whether the page moves to the node of the CPU
//!    ([`Scheduler::numa_fault`]). The core counts it.
//! 3. Once a scan has been all round, counts choose the node a task prefers, and the core moves it
//!    there, or has it swap places with another ([`Output::Migrated`]).
//!
//! [`Scheduler::numa_space`]: crate::Scheduler::numa_space
//! [`Scheduler::numa_join`]: crate::Scheduler::numa_join
//! [`Scheduler::numa_scanned`]: crate::Scheduler::numa_scanned
//! [`Scheduler::numa_fault`]: crate::Scheduler::numa_fault
//! [`Output::NumaScan`]: crate::Output::NumaScan
//! [`Output::Migrated`]: crate::Output::Migrated

use crate::TaskId;

/// Tunables of NUMA balancing (debugfs `sched/numa_balancing`); the default is every kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NumaConfig {
    /// `scan_delay_ms`: a new address space is left alone for so long.
    pub scan_delay_ms: u32,
    /// `scan_period_min_ms`: no two passes over the memory of a task in less.
    pub scan_period_min_ms: u32,
    /// `scan_period_max_ms`.
    pub scan_period_max_ms: u32,
    /// `scan_size_mb`: how much one scan marks, MiB.
    pub scan_size_mb: u32,
}

impl Default for NumaConfig {
    fn default() -> Self {
        Self {
            scan_delay_ms: 1_000,
            scan_period_min_ms: 1_000,
            scan_period_max_ms: 60_000,
            scan_size_mb: 256,
        }
    }
}

/// An address space: the memory of a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NumaSpace(pub(crate) u32);

/// What a host did when it was asked for a scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NumaScan {
    /// Pages of 4 KiB the address space has in memory.
    pub resident_pages: u64,
    /// The scan has come to the end of the address space: the next one begins at its start.
    pub wrapped: bool,
    /// CPU time it took, ns: scans take at most 1/32 of a task's time.
    pub took_ns: u64,
}

/// An access to a page that a scan had marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NumaFault {
    /// The node the page is on.
    pub node: u32,
    /// Who faulted on it the last time, and the node of the CPU that did; `None` if nobody has.
    pub last: Option<(TaskId, u32)>,
    /// Pages of 4 KiB it is: 512 for a huge one.
    pub pages: u32,
    /// It can move: there is room.
    pub movable: bool,
}

/// What is known of a task.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NumaView {
    /// Where it should run, if its faults have told yet.
    pub preferred_node: Option<u32>,
    /// Time between two scans, ms of its CPU time.
    pub scan_period_ms: u64,
    /// Faults on memory of each node, older ones counting half for each pass since.
    pub faults: Vec<u64>,
    /// Tasks that share memory have one number.
    pub group: Option<u32>,
}

/// What was done on a machine so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NumaCounts {
    /// Pages of 4 KiB that faulted.
    pub faults: u64,
    /// Of those, on the node of the CPU that accessed them.
    pub local_faults: u64,
    /// Pages of 4 KiB that moved.
    pub pages_migrated: u64,
    /// Tasks that moved towards their memory, those that were swapped not counted.
    pub task_moves: u64,
    /// Pairs of tasks that have swapped CPUs.
    pub task_swaps: u64,
}
