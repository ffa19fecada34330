//! Why there is no answer.

use slicewise_containers::TreeError;
use slicewise_machine::{RunError, SetupError};

/// Why there is no answer.
#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The node cannot hold what the input says.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// More than a machine can run.
    #[error("the loads have more than {} threads", crate::THREADS_MAX)]
    TooManyThreads,
    /// The machine refuses them.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A run could not go on.
    #[error(transparent)]
    Run(#[from] Box<RunError>),
}
