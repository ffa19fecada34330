//! What a node does with its containers.
//!
//! [`map`] makes a workload of the cgroups that manifests turn into
//! ([`slicewise_containers::tree`]), [`run`] runs it on the simulated machine and counts what
//! happened to each container.

mod answer;
mod error;
mod mapping;
mod measure;
mod quantile;
mod run;
mod suggest;
mod target;
mod width;

pub use answer::{Question, Study};
pub use error::Error;
pub use mapping::{Identity, Mapped, MappedPart, Mapping, THREADS_MAX, map};
pub use measure::{Figures, Measure, PartFigures};
pub use quantile::{mean_ns, quantile_ns};
pub use run::{Outcome, Progress, Settings, Way, run};
pub use suggest::{CONTAINERS_MAX, LIMIT_STEP_MILLI, TRIALS_MAX};
pub use target::{Quantile, Target, parse_share};
pub use width::{Width, widths};
