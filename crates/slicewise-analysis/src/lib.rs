//! What `perf sched` and runqlat print, of any scheduler trace: delays by task, every switch with what came
//! before it, histograms of waiting.
//!
//! Analyses take in the events of `slicewise-ftrace` one by one, in the order of time, and keep no more than a
//! few numbers for each task.

mod causes;
mod cpudist;
mod distribution;
mod groups;
mod latency;
mod map;
mod perf_text;
mod rules;
mod runqlat;
mod simulated;
mod summary;
mod threads;
mod timehist;
mod waits;

pub use causes::{ByCause, Cause, ExplainedWait, Explainer, WaitPart};
pub use cpudist::{Cpudist, CpudistOptions};
pub use distribution::{ByWhom, Distribution, distributions_text};
pub use groups::{GroupRule, TaskGroups, TaskPattern};
pub use latency::{Latency, LatencyOptions, LatencyReport, LatencyRow, Longest, SortKey};
pub use map::{Map, MapOptions};
pub use perf_text::{latency_text, seconds};
pub use rules::Rules;
pub use runqlat::{Runqlat, RunqlatOptions};
pub use simulated::{AsRecorded, KernelView, TakeEvent, play_simulated};
pub use summary::{Summary, SummaryBy, SummaryOptions};
pub use threads::{Naming, Thread, ThreadId, Threads};
pub use timehist::{Timehist, TimehistOptions, TimehistSummary, TimehistTask};
pub use waits::{Begun, Waited, Waits};
