//! `slicewise cpudist`.

use slicewise_analysis::{ByWhom, Cpudist, CpudistOptions};

use super::{Trace, runqlat::print_distributions};
use crate::args::CpudistArgs;
use crate::failure::Failure;

/// `slicewise cpudist`.
pub(crate) fn cpudist(args: &CpudistArgs) -> Result<(), Failure> {
    let by = ByWhom::chosen(args.pids, args.tids);
    let options = CpudistOptions { off_cpu: args.offcpu, ms: args.milliseconds, by, pid: args.pid };
    let mut cpudist = Cpudist::new(options);
    let threads = Trace::open_as(&args.trace)?.each(|threads, event| {
        cpudist.event(threads, event);
        Ok(())
    })?;
    let nobody = if args.offcpu { "nobody came back" } else { "nobody ran" };
    print_distributions(&cpudist.distributions(&threads), by, args.format, nobody)
}
