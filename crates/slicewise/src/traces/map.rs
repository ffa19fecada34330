//! `slicewise map`.

use std::io::{self, BufWriter, Write};

use slicewise_analysis::{Map, MapOptions};

use super::{OUT_BYTES, Trace, cpus};
use crate::args::MapArgs;
use crate::failure::Failure;

/// `slicewise map`.
pub(crate) fn map(args: &MapArgs) -> Result<(), Failure> {
    let trace = Trace::open(&args.trace)?.printing_lines();
    let cpus = cpus("--cpus", args.cpus.as_deref())?;
    let written = |error| Failure::Output(error, "standard output".to_owned());
    let out = BufWriter::with_capacity(OUT_BYTES, io::stdout().lock());
    let options = MapOptions { compact: args.compact, cpus };
    let mut map = Map::new(options, trace.online_cpus(), out);
    trace.each(|threads, event| map.event(threads, event))?;
    map.into_inner().flush().map_err(written)
}
