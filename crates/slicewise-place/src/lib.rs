//! Where the tasks of a workload may run.
//!
//! [`Tasks::of`] tells what each task is for, [`placements`] builds the candidates for a machine,
//! [`Placement::apply`] makes a workload one of them, [`figures`] and [`order`] judge the runs, and
//! [`emit`] writes the lines that make a machine do the same.
//!
//! **Architecture invariant**: nothing runs here. The caller runs the candidates, as many at once as it
//! likes: they know nothing of each other.
//!
//! ```
//! use slicewise_place::{Tasks, placements};
//! use slicewise_workload::{Format, load};
//!
//! let text = "
//!     [[task]]
//!     name = \"rank0-launch\"
//!     periodic = { run = \"1ms\", period = \"4ms\" }
//!     [[task]]
//!     name = \"rank0-loader\"
//!     count = 8
//!     hog = true
//! ";
//! let loaded = load(text, Format::Scenario).unwrap();
//! let machine = slicewise_topology::layout("8c:2t").unwrap();
//! let tasks = Tasks::of(&loaded, &machine, None);
//! let names: Vec<&str> = placements(&loaded, &machine, &tasks).iter().map(|it| it.name).collect();
//! assert_eq!(names, ["as written", "own core", "one thread per core"]);
//! ```

mod emit;
mod judge;
mod placements;
mod roles;

pub use emit::{Form, emit};
pub use judge::{Focus, figures, focus, order, strip};
pub use placements::{Placement, placements};
pub use roles::{Role, Task, Tasks};
