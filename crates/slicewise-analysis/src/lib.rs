//! What `perf sched` and runqlat print, of any scheduler trace: delays by task, every switch with what came
//! before it, histograms of waiting.
//!
//! Analyses take in the events of `slicewise-ftrace` one by one, in the order of time, and keep no more than a
//! few numbers for each task.

mod causes;
mod groups;
mod latency;
mod map;
mod perf_text;
mod rules;
mod runqlat;
mod simulated;
mod threads;
mod timehist;
mod waits;

pub use causes::{ByCause, Cause, ExplainedWait, Explainer, WaitPart};
pub use groups::{GroupRule, TaskGroups, TaskPattern};
pub use latency::{Latency, LatencyOptions, LatencyReport, LatencyRow, Longest, SortKey};
pub use map::{Map, MapOptions};
pub use perf_text::{latency_text, seconds};
pub use rules::Rules;
pub use runqlat::{ByWhom, Runqlat, RunqlatHistogram, RunqlatOptions, runqlat_text};
pub use simulated::{AsRecorded, TakeEvent, play_simulated};
pub use threads::{Naming, Thread, ThreadId, Threads};
pub use timehist::{Timehist, TimehistOptions, TimehistSummary, TimehistTask};
pub use waits::{Begun, Waited, Waits};
