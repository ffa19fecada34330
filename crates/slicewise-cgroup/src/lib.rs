//! The cgroup files of the CPU and cpuset controllers: what the kernel makes of a text written to them, what it
//! refuses and with which error, and what it prints when they are read. cgroup v2 and v1.
//!
//! ```
//! use slicewise_cgroup::{Errno, File, Rules, Tree, Version};
//!
//! let rules = Rules::named("6.12").unwrap();
//! let mut tree = Tree::new(Version::V2, rules);
//! let web = tree.add(Tree::ROOT).unwrap();
//! tree.write(web, File::Max, b"50000 100000\n").unwrap();
//! tree.write(web, File::Weight, b"39\n").unwrap();
//! assert_eq!(tree.read(web, File::Max).unwrap(), "50000 100000\n");
//! assert_eq!(tree.read(web, File::WeightNice).unwrap(), "4\n");
//! assert_eq!(tree.settings(web).unwrap().shares().shares(), 399);
//!
//! let refused = tree.write(web, File::Max, b"999\n").unwrap_err();
//! assert_eq!(refused.errno, Errno::EINVAL);
//! ```
//!
//! The rules were read off real kernels: the tables in `truth/` hold each write, its error and what
//! the files read afterwards, for Linux 6.1, 6.12, 6.18 and 7.2, and the tests replay them.
//! `examples/record.rs` makes such a table.
//!
//! [`cpuset`] is the other controller that decides where tasks run: which CPUs groups and their tasks
//! may use, and which of them the scheduler balances among each other.
//!
//! Texts are taken as a program's single `write(2)`. Nothing is opened here; names of files come
//! from [`File::named`].

#![forbid(unsafe_code)]

pub mod cpuset;
mod errno;
mod number;
mod rules;
mod settings;
mod stat;
mod tree;
mod trigger;
mod uclamp;

pub use errno::{Errno, Refused, Why};
pub use rules::{MaxUnits, Overflow, Rules};
pub use settings::{File, Settings, Version};
pub use stat::{CpuStat, local_stat, pressure};
pub use tree::{GroupId, Tree};
pub use trigger::{Stall, TriggerRequest};
pub use uclamp::{Clamp, Percent};
