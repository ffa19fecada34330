//! How many simulations run at once. Runs know nothing of each other, so the number changes nothing
//! but the time it takes.

use rayon::ThreadPoolBuilder;

use crate::args::JobsArgs;
use crate::failure::Failure;

/// Does this work on as many threads as was asked for; everything within that is parallel is so on
/// them alone.
pub(crate) fn with_jobs<T: Send>(
    args: &JobsArgs,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let Some(jobs) = args.jobs else { return work() };
    let pool = ThreadPoolBuilder::new()
        .num_threads(jobs as usize)
        .build()
        .map_err(|error| Failure::plain(format!("--jobs {jobs}: {error}")))?;
    pool.install(work)
}
