//! The event stream every source of scheduling events speaks, and the file formats it is written
//! in.
//!
//! A source (the simulated machine, a trace file, a live kernel) announces tasks and events to a
//! [`Sink`]; analyses and writers are sinks. The stream is the only thing sources and analyses
//! know of each other.

mod event;
mod hash;
mod perfetto;
pub mod recording;
mod rtapp_log;

pub use event::{Event, GroupInfo, Left, LoopRecord, Sink, Slot, TaskInfo};
pub use hash::TraceHash;
pub use perfetto::PerfettoWriter;
pub use recording::{RecordingError, RecordingReader, RecordingWriter};
pub use rtapp_log::RtAppLogs;
