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
mod lscpu;
mod machine;
mod presets;
mod problem;
mod source;
mod sysfs;
mod toml;

pub use self::toml::{MACHINE_KEYS, from_table, from_toml, named, parse_bytes, to_toml};
pub use layout::layout;
pub use list::{ListError, format_list, parse_list};
pub use lscpu::from_lscpu;
pub use machine::{Cache, CacheKind, Cpu, Kind, LOCAL_LATENCY_NS, Machine, Node, REMOTE_DISTANCE};
pub use presets::{PRESETS, Preset, preset};
pub use problem::Problem;
pub use source::{SourceError, find, host, read_path, read_text};
pub use sysfs::{SysFiles, SysPlace, from_sysfs};
