//! `SCHED_DEADLINE`: parameters and their checks, bandwidth and admission, the budget of an entity,
//! and the queue it waits in (classes.md C).
//!
//! A task asks for `runtime` in every `period`, by `deadline` after the period began. The constant
//! bandwidth server turns that into a budget and an absolute deadline at each moment (`entity.rs`);
//! the earliest deadline runs (`queue.rs`). What all tasks ask for together must fit ([`RootDomain`]).

mod admission;
pub(crate) mod entity;
mod params;
pub(crate) mod queue;

pub use admission::{Refusal, RootDomain};
pub use params::{DlParams, Fault, PERIOD_MAX_NS, PERIOD_MIN_NS, PeriodLimits, RUNTIME_MIN_NS};

/// Fraction bits of a bandwidth: 1 CPU is 2^20.
pub const BW_SHIFT: u32 = 20;

/// The kernel's bandwidth: runtime / period in 2^-20 of a CPU, rounded down; 0 for a period of 0.
///
/// ```
/// use slicewise_sched::deadline::to_ratio;
///
/// assert_eq!(to_ratio(1_000_000, 950_000), 996_147);
/// assert_eq!(to_ratio(0, 5), 0);
/// ```
#[must_use]
pub fn to_ratio(period: u64, runtime: u64) -> u64 {
    if period == 0 {
        return 0;
    }
    ((u128::from(runtime) << BW_SHIFT) / u128::from(period)).min(u128::from(u64::MAX)) as u64
}
