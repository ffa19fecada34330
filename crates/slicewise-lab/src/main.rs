//! Real kernels as the referee.
//!
//! A development tool, not published. It fetches Debian's kernels with the machine's own apt
//! configuration, boots them under QEMU with a clock that counts instructions, runs a case there
//! and in Slicewise, and puts the figures side by side.
//!
//! ```text
//! cargo run --release -p slicewise-lab -- fetch
//! cargo run --release -p slicewise-lab -- boot --kernel 7.2
//! cargo run --release -p slicewise-lab -- run nice-0-5 --kernel 6.12
//! cargo run --release -p slicewise-lab -- compare --kernel 6.1,6.12
//! ```

mod apt;
mod cache;
mod case;
mod failure;
mod figures;
mod ftrace;
mod guest;
mod initramfs;
mod kernels;
mod measure;
mod qemu;
mod rtapp_log;
mod simulate;
mod table;
mod tools;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::cache::Cache;
use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::measure::Measured;

/// Real kernels as the referee: the same case on Debian's kernels and in Slicewise.
#[derive(Parser, Debug)]
struct Arguments {
    /// Where kernels and results are kept [default: $XDG_CACHE_HOME/slicewise-lab or target/lab].
    #[arg(long, global = true)]
    cache: Option<PathBuf>,
    /// Kernels, such as 6.12,7.2 [default: all].
    #[arg(long, global = true, value_delimiter = ',')]
    kernel: Vec<String>,
    /// Where cases are.
    #[arg(long, global = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/cases"))]
    cases: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Bring the kernels into the cache.
    Fetch,
    /// Boot each kernel and say what it is.
    Boot,
    /// Run cases on the kernels; results stay in the cache.
    Run(Selection),
    /// Run cases on the kernels and in Slicewise, side by side.
    Compare(Comparison),
}

#[derive(Args, Debug)]
struct Selection {
    /// Names of cases, or case files [default: all].
    names: Vec<String>,
}

#[derive(Args, Debug)]
struct Comparison {
    #[command(flatten)]
    selection: Selection,
    /// Use results that are in the cache already.
    #[arg(long)]
    reuse: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let cache = Cache::open(arguments.cache.as_deref())?;
    let kernels = kernels::chosen(&arguments.kernel)?;
    match &arguments.command {
        Command::Fetch => {
            for series in kernels {
                let kernel = apt::fetch(&cache, series)?;
                say(&format!("{series:<6} {}\n", kernel.package))?;
            }
            Ok(())
        }
        Command::Boot => {
            for series in kernels {
                let kernel = apt::fetch(&cache, series)?;
                let out = cache.results("boot", series);
                qemu::boot(&kernel, initramfs::base()?, &guest::about_script(), None, &out)?;
                say(&format!("{}\n{}\n", kernel.package, text(&out.join("stdout.txt"))?))?;
            }
            Ok(())
        }
        Command::Run(selection) => {
            each(&arguments.cases, &selection.names, &kernels, |case, series| {
                let measured = on_kernel(&cache, case, series, false)?;
                say(&format!(
                    "{} on {}: {}\n{}",
                    case.name,
                    measured.package.trim(),
                    cache.results(&case.name, series).display(),
                    table::doubts(&measured)
                ))
            })
        }
        Command::Compare(comparison) => {
            let Comparison { selection, reuse } = comparison;
            each(&arguments.cases, &selection.names, &kernels, |case, series| {
                let measured = on_kernel(&cache, case, series, *reuse)?;
                let demand_us = demand(case, &measured);
                let ours = simulate::run(case, series, &demand_us)?;
                say(&format!("{}\n", table::render(case, series, &measured, &ours)))
            })
        }
    }
}

/// Every selected case on every kernel it is for.
fn each(
    cases: &Path,
    names: &[String],
    kernels: &[&'static str],
    mut work: impl FnMut(&Case, &str) -> Result<()>,
) -> Result<()> {
    for case in case::select(cases, names)? {
        for series in kernels.iter().filter(|series| case.applies_to(series)) {
            work(&case, series)?;
        }
    }
    Ok(())
}

/// Runs a case on a kernel, or takes what is there, and reads the results.
fn on_kernel(cache: &Cache, case: &Case, series: &str, reuse: bool) -> Result<Measured> {
    let out = cache.results(&case.name, series);
    if !(reuse && out.join("package.txt").is_file()) {
        let kernel = apt::fetch(cache, series)?;
        let script = guest::case_script(case);
        qemu::boot(&kernel, initramfs::base()?, &script, Some(case), &out)?;
    }
    measure::read(case, &out)
}

/// What a job of each task took on the kernel, if the case wants it to be simulated so.
fn demand(case: &Case, measured: &Measured) -> Vec<(String, u64)> {
    if !case.measured_demand {
        return Vec::new();
    }
    let groups = measured.figures.groups.iter().filter(|group| group.job.count() > 0);
    groups.map(|group| (group.name.clone(), group.job.quantile_ns(500) / 1000)).collect()
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))
}

/// Prints to standard output.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(format!("cannot write standard output: {error}")))
}
