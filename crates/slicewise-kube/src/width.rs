//! How many threads a runtime starts for a limit.
//!
//! Sources: automaxprocs rounds down and takes 1 at least; Go from 1.25 rounds up, takes 2 at least
//! and no more than there are CPUs; the JVM rounds up. That Go takes 2 at least is from memory.

/// A runtime's choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Width {
    /// Which runtime.
    pub runtime: &'static str,
    /// How many threads.
    pub threads: u32,
}

/// What runtimes choose for a limit of so many thousandths of a CPU on a node with so many CPUs.
///
/// ```
/// use slicewise_kube::widths;
/// let of = |milli| widths(milli, 64).iter().map(|it| it.threads).collect::<Vec<_>>();
/// assert_eq!(of(500), [64, 1, 2, 1]);
/// assert_eq!(of(1500), [64, 1, 2, 2]);
/// assert_eq!(of(2000), [64, 2, 2, 2]);
/// assert_eq!(of(8500), [64, 8, 9, 9]);
/// ```
pub fn widths(limit_milli: u32, cpus: u32) -> Vec<Width> {
    let (floor, ceil) = (limit_milli / 1000, limit_milli.div_ceil(1000));
    let width = |runtime, threads: u32| Width { runtime, threads };
    vec![
        width("Go before 1.25: all CPUs", cpus),
        width("automaxprocs: rounded down, at least 1", floor.max(1)),
        width("Go 1.25: rounded up, at least 2", ceil.max(2).min(cpus.max(1))),
        width("JVM: rounded up", ceil.max(1)),
    ]
}
