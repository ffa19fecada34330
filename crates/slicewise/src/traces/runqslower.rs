//! `slicewise runqslower`.

use std::io::{self, BufWriter, Write};

use slicewise_analysis::{Waits, seconds};

use super::{OUT_BYTES, Trace, rules};
use crate::args::RunqslowerArgs;
use crate::failure::{Failure, printable};

/// `slicewise runqslower`.
pub(crate) fn runqslower(args: &RunqslowerArgs) -> Result<(), Failure> {
    let min_ns = args.min_us.saturating_mul(1000);
    let mut waits = Waits::new(rules(&args.trace));
    let mut out = BufWriter::with_capacity(OUT_BYTES, io::stdout().lock());
    let written = |error| Failure::Output(error, "standard output".to_owned());
    let previous = if args.previous {
        format!(" {:16} {:<6}", "PREV COMM", "PREV TID")
    } else {
        String::new()
    };
    writeln!(out, "{:>15} {:16} {:<7} {:>14}{previous}", "TIME", "COMM", "TID", "LAT(us)")
        .map_err(written)?;
    Trace::open(&args.trace)?.printing_lines().each(|threads, event| {
        let Some(waited) = waits.event(threads, event) else { return Ok(()) };
        let thread = &threads[waited.task];
        if waited.ns() <= min_ns
            || args.pid.is_some_and(|pid| thread.tgid != pid)
            || args.tid.is_some_and(|tid| thread.tid != tid)
        {
            return Ok(());
        }
        let (at, lat) = (seconds(waited.to_ns), waited.ns() / 1000);
        write!(out, "{at:>15} {:16} {:<7} {lat:>14}", printable(&thread.name()), thread.tid)?;
        if args.previous {
            let prev = &threads[waited.prev];
            write!(out, " {:16} {:<6}", printable(&prev.name()), prev.tid)?;
        }
        writeln!(out)
    })?;
    out.flush().map_err(written)
}
