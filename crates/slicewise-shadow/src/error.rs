//! Why a trace cannot be replayed.

use slicewise_sched::ConfigError;

/// Why a trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] slicewise_ftrace::Error),
    /// The core cannot be built for such a machine.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The trace has nothing to replay.
    #[error("the trace has no sched_switch events: record at least sched_switch and sched_wakeup")]
    NoSwitches,
    /// Nobody knows how long a tick is.
    #[error("the tick rate cannot be told from the trace: name it")]
    NoHz,
    /// The core refused an event: a defect of the replay.
    #[error("at {at_ns} ns: {error}")]
    Core {
        /// When, by the trace's clock.
        at_ns: u64,
        /// What the core said.
        error: slicewise_sched::Error,
    },
}

impl ShadowError {
    /// What to do about it, if anything can be said.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Trace(error) => error.help(),
            Self::NoHz => Some("CONFIG_HZ of the recorded kernel, often 250 or 1000"),
            Self::Core { .. } => Some("this is a defect of slicewise: please report it"),
            Self::Config(_) | Self::NoSwitches => None,
        }
    }
}
