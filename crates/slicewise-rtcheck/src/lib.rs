//! Does a real-time task set meet its deadlines on Linux, and would the kernel let it start?
//!
//! [`check`] answers for a [`TaskSet`]: exact responses under fixed priorities ([`fixed`]), the
//! processor-demand test under EDF ([`edf`]), sufficient tests for tasks that may use several CPUs
//! ([`global`]), and beside it what the kernel would admit in its own arithmetic ([`kernel`]).
//! [`worst_case`] draws the worst case; [`assign`] finds priorities.
//!
//! All decisions are made in integers: nanoseconds, 128 bits in between, big integers where a sum
//! of fractions touches its limit. Work is bounded: hostile numbers lead to "not decided", never to
//! a hang. No I/O, clock, threads or globals; the kernel's own arithmetic is `slicewise-sched`'s.
//!
//! ```
//! use slicewise_rtcheck::{KernelRules, Task, TaskSet, check};
//!
//! let ms = 1_000_000;
//! let mut control = Task::new("control", 10 * ms, 30 * ms);
//! let mut vision = Task::new("vision", 12 * ms, 50 * ms);
//! (control.priority, vision.priority) = (Some(60), Some(50));
//! let set = TaskSet::new(vec![control, vision]);
//!
//! let analysis = check(&set, &KernelRules::named("6.12").unwrap()).unwrap();
//! assert_eq!(analysis.schedulable, Some(true));
//! assert_eq!(analysis.tasks[1].response_bound_ns, Some(22 * ms));
//! ```

pub mod assign;
mod big;
mod budget;
mod check;
mod commands;
mod cpu;
mod domain;
pub mod edf;
pub mod fixed;
pub mod global;
pub mod kernel;
mod model;
mod ratio;
mod schedule;
mod slack;
mod timeline;
mod verdict;
mod words;

pub use assign::Assignment;
pub use budget::Budget;
pub use check::{Analysis, CoreVerdict, Suggestion, TaskVerdict, check};
pub use commands::{chrt_line, systemd_lines};
pub use edf::Demand;
pub use kernel::{Errno, KernelRules};
pub use model::{CPUS_MAX, DURATION_MAX_NS, Load, Policy, TASKS_MAX, Task, TaskSet, UnknownTask};
pub use ratio::{liu_layland_bound_ppb, passes_hyperbolic, passes_liu_layland};
pub use schedule::Stretch;
pub use timeline::{Timeline, most_critical, worst_case};
pub use verdict::{KernelVerdict, SafetyNet};
pub use words::show_ns;
