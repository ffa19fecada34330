//! Reads recorded kernel traces as a stream of typed scheduler events, in the order of time.
//!
//! The formats: `perf.data` of perf, `trace.dat` of trace-cmd (versions 6 and 7), and Perfetto's protobuf, all in
//! nanoseconds; and the text of tracefs' `trace` and `trace_pipe` files, of `perf script`, and of `trace-cmd
//! report`, mostly in microseconds. [`Reader::open`] finds out by the content which it is. [`TraceFile`] reads
//! them through pipes, too.
//!
//! The layout of events is read from the file, never assumed: it moves between kernels (Perfetto has fixed messages
//! of its own). Memory is
//! bounded by the number of CPUs, the size of their buffers and of the format descriptions, not by the length of
//! the trace. Whatever is lost, cut off, out of order or not understood is counted in [`Findings`] and,
//! where it has a place, reported there as an event: nothing is skipped in silence.
//!
//! ```
//! use slicewise_ftrace::{Kind, Reader};
//!
//! let text = b"  a-1 [000] d..2. 3.25: sched_wakeup: comm=b pid=2 prio=120 target_cpu=000\n";
//! let mut reader = Reader::new(std::io::Cursor::new(&text[..])).unwrap();
//! let event = reader.next_event().unwrap().unwrap();
//! assert_eq!(event.time_ns, 3_250_000_000);
//! assert!(matches!(event.kind, Kind::Wakeup(wakeup) if wakeup.task.pid == 2));
//! assert!(reader.next_event().unwrap().is_none());
//! assert!(reader.findings().is_clean());
//! ```

mod bytes;
mod dat;
mod error;
mod event;
mod file;
mod findings;
mod format;
mod order;
mod perf_data;
mod perfetto;
mod reader;
mod text;

pub use error::Error;
pub use event::{
    Cloned, Comm, Event, Exec, Exit, Fork, Gone, HrtimerExpire, Kind, Migrate, Named, Other,
    PiSetprio, SleepState, StatRuntime, Switch, SwitchState, TaskRef, TimerFunction, Value, Wakeup,
};
pub use file::TraceFile;
pub use findings::Findings;
pub use reader::{Reader, TraceFormat, TraceInfo};
