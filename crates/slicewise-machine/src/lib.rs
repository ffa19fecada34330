//! A deterministic simulated machine that drives the scheduler core.

mod config;
mod dist;
mod program;

pub use config::{Costs, MachineConfig, Preemption};
pub use dist::{Dist, EmpiricalBin};
pub use program::{
    Barrier, Device, Mode, Op, OpIndex, Origin, Program, ProgramId, Queue, TaskSpec, TimerMode,
    Workload,
};
