//! The Linux CPU scheduler as a pure state machine: events in, decisions out.
mod attr;
mod cpuset;
mod feature;
mod host;
mod id;
mod profile;
mod scheduler;
mod view;

pub use attr::{Attr, Class, Nice, Policy, RtPriority};
pub use cpuset::{CPUS_MAX, CpuSet};
pub use feature::{Feature, Features};
pub use host::{Error, Input, Output, Rule, Spawn, Switch, Timer, Wake};
pub use id::{CpuId, TaskId};
pub use profile::{
    CfsRules, EevdfRules, FairRules, Inflation, LagLimit, Profile, Protection, Reweight,
    WakeupRule, YieldRule, ZeroPoint,
};
pub use scheduler::{ConfigError, SchedConfig, Scheduler};
pub use view::{Candidate, Decision, FairView, QueueView};
