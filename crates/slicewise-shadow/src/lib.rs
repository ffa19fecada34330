//! Shadow mode: a real kernel's recorded events are replayed through the scheduler core, and each
//! time the kernel chose a task the core is asked whom it would have chosen.
//!
//! Two passes over a trace: [`survey`] finds out what it carries (ticks, charges, how many CPUs),
//! [`replay`] feeds it to the core and gives a [`ShadowReport`].
//!
//! ```no_run
//! use slicewise_ftrace::Reader;
//! use slicewise_sched::Profile;
//! use slicewise_shadow::{ShadowConfig, replay, survey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = std::path::Path::new("trace.dat");
//! let survey = survey(&mut Reader::open(path)?)?;
//! let config = ShadowConfig::new(Profile::named("6.12").ok_or("no such kernel")?);
//! let report = replay(&mut Reader::open(path)?, &survey, &config)?;
//! println!("{} of {} picks agree", report.total.agreed, report.total.picks);
//! # Ok(())
//! # }
//! ```
//!
//! The core is never corrected from values the kernel recorded: after the start state is learnt it
//! runs free. What it is told is what happened (who was woken, blocked, forked, ended, moved) and
//! when the kernel charged the running task; who runs next is set to what the kernel chose, after
//! the core was asked.

mod config;
mod cpu;
mod error;
mod gaps;
mod judge;
mod render;
mod replay;
mod report;
mod survey;
mod tasks;

pub use config::{RulePolicy, ShadowConfig, TaskRule};
pub use error::ShadowError;
pub use render::render;
pub use replay::replay;
pub use report::{
    Agreement, Clock, DiffersFor, Divergence, Excluded, HrtickReport, PickKind, QueuedTask,
    ShadowReport, TaskName, TickSource, ValueErrors, Values,
};
pub use survey::{Survey, Ticks, survey};
