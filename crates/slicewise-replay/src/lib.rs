//! Rebuilds what tasks did from a scheduler trace, so that it can run again under other conditions.
//!
//! A trace says when each task ran, when it slept, and who woke it. [`Rebuilder`] makes a [`Script`] for each
//! task of that: so much CPU time, then wake this one, then sleep until woken. [`workload`] turns the
//! scripts into programs for the simulated machine, and [`DelayMeter`] measures recordings and simulations by the
//! same rules, so that they can be compared ([`ReplayError`]).
//!
//! # What is kept, and what is not
//!
//! * A burst of CPU time is as long as it was, interrupts included; preemptions do not end it.
//! * A wakeup by a running task is a post of a semaphore of the woken task's own, at the same point of the
//!   waker's program. A post that comes too early is kept, as programs look before they sleep.
//! * A wakeup from outside (an interrupt, or a waker the trace does not know) comes at the time it was recorded at,
//!   if the task's wakeups are periodic ([`Outside::Periodic`]) or arrivals ([`Outside::Arrival`]), or so long after the
//!   task went to sleep as it did then, if it sleeps for a time of its own choice ([`Outside::Sleep`]) or for a
//!   device ([`Outside::Device`]).
//! * A priority that changes is changed at the same point, unless it was only lent.
//! * `sched_yield` looks like preemption in a trace, and is taken for it.
//! * Locks are not seen as such: whoever waited for a lock waits for the task that woke it then, even if under
//!   other conditions another would have had the lock.
//! * Deadline tasks run as FIFO tasks of the highest priority: their reservations are not in the trace.

mod compare;
mod delays;
mod outside;
mod rebuild;
mod script;
mod workload;

pub use compare::{ReplayError, TaskComparison};
pub use delays::{DelayMeter, TaskDelays};
pub use outside::Outside;
pub use rebuild::{Rebuilder, Rebuilt, STEPS_MAX};
pub use script::{Script, ScriptId, Step};
pub use workload::{
    Replayed, SimulatedDelays, WorkloadOptions, fit_to_cpus, keep_attributes, profile_of_release,
    workload,
};
