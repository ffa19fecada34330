//! Linux's scheduling system calls as functions on a model of the system.
//!
//! A [`System`] has tasks, root domains and sysctls; its methods are the calls, named as in their
//! manual pages: every check in the kernel's order, every error number, per kernel version
//! ([`Rules`]). A [`Refusal`] also says which rule was broken, which the kernel does not. What a call
//! has changed, for a scheduler to be told, comes from [`System::take_changes`].
//!
//! Truth: `truth/` has what booted kernels said to the same calls, line by line ([`script`]).
//!
//! Time does not pass here. Bandwidth of a task that leaves `SCHED_DEADLINE` stays reserved until the
//! host says that its zero-lag time is reached: [`System::zero_lag`].
//!
//! ```
//! use slicewise_syscalls::{Credentials, Errno, Pointer, RawAttr, Rule, Rules, System, Task, policy};
//!
//! let mut system = System::new(Rules::named("6.12").unwrap(), 2);
//! system.insert(1, Task::new(Credentials::ROOT));
//! system.insert(2, Task::new(Credentials::user(1000)));
//! let ms = 1_000_000;
//! let attr = RawAttr {
//!     size: 56,
//!     policy: policy::DEADLINE,
//!     runtime: 10 * ms,
//!     deadline: 30 * ms,
//!     period: 30 * ms,
//!     ..RawAttr::default()
//! };
//! let bytes = attr.to_bytes();
//! assert_eq!(system.sched_setattr(1, 2, Pointer::To(&bytes), 0), Ok(()));
//! // The user itself may not, whatever its limits.
//! let refusal = system.sched_setattr(2, 0, Pointer::To(&bytes), 0).unwrap_err();
//! assert_eq!((refusal.errno(), refusal.rule), (Errno::EPERM, Rule::DeadlineNotAllowed));
//! ```

mod affinity;
mod errno;
mod explain;
mod fork;
mod get;
mod nice;
mod permission;
pub mod raw;
mod refusal;
mod rules;
pub mod script;
mod set;
mod sysctl;
mod system;
mod task;

pub use errno::Errno;
pub use explain::{CallName, candidates};
pub use get::AttrOut;
pub use nice::which;
pub use raw::{RawAttr, flags};
pub use refusal::{Refusal, Rule};
pub use rules::{Build, Recount, Rules};
pub use set::Pointer;
pub use sysctl::{Sysctl, Sysctls};
pub use system::{Change, Domain, System};
pub use task::{CAP_SYS_NICE, Clamp, Credentials, Limits, Pid, RtGroup, Task, policy};
