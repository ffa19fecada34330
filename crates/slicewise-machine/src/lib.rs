//! A deterministic simulated machine that drives the scheduler core.
//!
//! A [`Workload`] of programs runs on a [`Machine`] as a [`MachineConfig`] describes it; all that
//! happens goes to a [`Sink`](slicewise_trace::Sink). Nothing depends on anything but these inputs
//! and the seed.

mod compile;
mod config;
mod device;
mod dist;
mod error;
mod event_queue;
mod groups;
mod inherit;
mod interp;
mod interrupt;
mod irq;
mod lifecycle;
mod machine;
mod pages;
mod program;
mod requests;
mod rng;
mod speed;
mod summary;
mod sync;
mod task;

pub use config::{Costs, Interrupts, MachineConfig, Preemption};
pub use dist::{Dist, EmpiricalBin};
pub use error::{Holder, RunError, SetupError, Waiting, WaitsFor};
pub use groups::GROUP_QUEUES_MAX;
pub use irq::{Delivery, InterruptSource};
pub use machine::{Machine, TASKS_MAX};
pub use pages::{MemorySummaries, MemorySummary};
pub use program::{
    Barrier, Device, GroupSpec, MemoryNode, MemorySpec, Mode, MutexSpec, Op, OpIndex, Origin,
    Program, ProgramId, Queue, RtTimeLimit, Semaphore, TaskMemory, TaskPages, TaskSpec, TimerMode,
    TimerSpec, Workload,
};
pub use speed::{PageCosts, Share, SpeedModel, WarmUp};
pub use summary::{CpuSummary, End, GroupSummary, QueueSummary, RunSummary};
