//! The Linux CPU scheduler as a pure state machine: events in, decisions out.

#![forbid(unsafe_code)]

mod attr;
pub mod bandwidth;
mod cgroup_weight;
mod cpuset;
pub mod deadline;
pub mod domains;
pub mod energy;
mod fair;
mod feature;
pub mod host;
mod id;
pub mod mask;
pub mod numa;
mod ordered;
pub mod pelt;
mod profile;
pub mod psi;
mod rt;
pub mod rt_group;
mod scheduler;
mod task;
pub mod topology;
mod view;
mod weight;

pub use attr::{Attr, Class, Nice, Policy, RtPriority};
pub use cgroup_weight::{GroupLoad, Shares};
pub use cpuset::{CPUS_MAX, CpuSet};
pub use deadline::DlParams;
pub use feature::{Feature, Features};
pub use host::{Error, GroupTimer, Input, Output, Rule, Spawn, Switch, Timer, Wake};
pub use id::{CpuId, GroupId, TaskId};
pub use profile::{
    CfsRules, EevdfRules, FairRules, FairServerRules, GroupQueueing, GroupWeight, GrubRule,
    Inflation, IntervalRule, LagLimit, Profile, Protection, Reweight, RtRules, SiblingRule,
    SmpRules, Throttling, WakeupRule, YieldRule, ZeroPoint,
};
pub use rt_group::{RtLimit, RtLimitError};
pub use scheduler::{ConfigError, SchedConfig, Scheduler, SmpConfig};
pub use topology::{CpuPlace, Topology};
pub use view::{Candidate, DeadlineView, Decision, FairView, QueueView};
