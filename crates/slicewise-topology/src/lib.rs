//! Machines as a scheduler sees them: which CPUs share a core, a cache, a package, a memory node, how far
//! nodes are apart and how fast CPUs are; and what only people and models want to know of them.
//!
//! A [`Machine`] comes from a preset by name, a few letters ([`layout()`]), what Linux says under
//! `/sys/devices/system` here or elsewhere ([`from_sysfs`]), what `lscpu` prints, or a text in TOML.
//! [`read_path`] tells which. All texts are untrusted: what is wrong comes back as [`Problem`]s.
//!
//! ```
//! let machine = slicewise_topology::preset("two-socket").unwrap().machine();
//! assert_eq!(machine.topology().nr_cpus(), 96);
//! assert_eq!(machine.latencies_ns()[0], [80, 150]);
//! ```
//!
//! `truth/` has what real kernels made of a few dozen machines.

mod layout;
mod list;
mod machine;
mod presets;
mod problem;
mod sysfs;

pub use layout::layout;
pub use list::{ListError, format_list, parse_list};
pub use machine::{Cache, CacheKind, Cpu, Kind, LOCAL_LATENCY_NS, Machine, Node, REMOTE_DISTANCE};
pub use presets::{PRESETS, Preset, preset};
pub use problem::Problem;
pub use sysfs::{SysFiles, SysFilesError, SysPlace, from_sysfs};
