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
mod calls;
mod case;
mod failure;
mod fidelity;
mod figures;
mod groups;
mod guest;
mod host;
mod initramfs;
mod kernels;
mod load;
mod measure;
mod page;
mod qemu;
mod recording;
mod rt;
mod rtapp_log;
mod shadow;
mod simulate;
mod smp;
mod table;
mod tools;
mod truth;
mod verdict;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::cache::Cache;
use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::truth::Cell;

/// Ticks a second of Debian's kernels.
const HZ: u32 = 250;
/// A tick.
const TICK_NS: u64 = 1_000_000_000 / HZ as u64;

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
    /// Run cases on the kernels, keep what is needed as the truth, and write docs/fidelity.md.
    Fidelity(Fidelity),
    /// Run cases with cgroups on the kernels, keep what their files said as the truth, and write
    /// docs/fidelity-groups.md.
    Groups(Groups),
    /// Run real-time cases on the kernels, keep who ran when as the truth, and write
    /// docs/fidelity-rt.md.
    Rt(Rt),
    /// Run cases with several CPUs on the kernels, by QEMU's clock and by the host's, keep who got what as
    /// the truth, and write docs/fidelity-smp.md.
    Smp(Smp),
    /// Run a case on the kernel of this machine, and in Slicewise (needs root and trace-cmd).
    Host {
        /// Name of a case, or a case file.
        name: String,
        /// Profile to compare with [default: the one of the running kernel's series].
        #[arg(long)]
        profile: Option<String>,
    },
    /// Run a scenario with real threads, here and now: what the guest does.
    #[command(hide = true)]
    Load {
        /// The scenario.
        file: PathBuf,
        /// How long.
        #[arg(long, default_value_t = 0)]
        seconds: u64,
        /// And so much longer.
        #[arg(long, default_value_t = 0)]
        milliseconds: u64,
        /// Only the tasks of this cgroup; `/` is the root.
        #[arg(long)]
        group: Option<String>,
        /// Turns of the loop in a ms [default: measured].
        #[arg(long)]
        turns: Option<u64>,
        /// A file that gets `0` at the end: `tracing_on`.
        #[arg(long)]
        stop_trace: Option<PathBuf>,
        /// When it begins, in ns of the monotonic clock.
        #[arg(long)]
        begin: Option<u64>,
        /// Where the kernel's accounts of the threads go.
        #[arg(long)]
        accounts: Option<PathBuf>,
        /// A file that gets `1` shortly before the end.
        #[arg(long)]
        late_event: Option<PathBuf>,
    },
    /// Do scripts of scheduling system calls on the kernels, and keep what they said as the truth of
    /// slicewise-syscalls.
    Calls {
        /// A script of one's own: prints what came of it.
        file: Option<PathBuf>,
        /// CPUs of the machine [default: 1, 2 and 4 one after the other].
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=8))]
        cpus: Option<u32>,
        /// Seeds the random calls.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Do the steps of a script, here and now: what the guest does.
    #[command(hide = true)]
    CallsDirect {
        /// The script.
        file: PathBuf,
    },
    /// A task of a script.
    #[command(hide = true)]
    CallWorker {
        /// User, effective user, limits of priority and nice value, whether to keep capabilities.
        words: Vec<String>,
    },
    /// A child of a task of a script.
    #[command(hide = true)]
    CallReport,
    /// Measure how many turns of the load's loop take a ms.
    #[command(hide = true)]
    Calibrate,
    /// Write what the files of cgroups read to a file.
    #[command(hide = true)]
    Snapshot {
        /// Where to.
        out: PathBuf,
        /// Paths of cgroups.
        groups: Vec<String>,
    },
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
    /// Fail (exit code 1) if a limit is not kept.
    #[arg(long)]
    check: bool,
    /// A cost of the guest in the simulation, to see what a figure owes to it: `call=1800`.
    #[arg(long, value_name = "NAME=NS")]
    cost: Vec<String>,
}

#[derive(Args, Debug)]
struct Groups {
    #[command(flatten)]
    selection: Selection,
    /// Use results that are in the cache already.
    #[arg(long)]
    reuse: bool,
    /// Run nothing: compare Slicewise with the truth in the repository.
    #[arg(long)]
    recorded: bool,
    /// Where the cases are.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/cases-groups"))]
    directory: PathBuf,
    /// The page to write.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fidelity-groups.md"))]
    page: PathBuf,
}

#[derive(Args, Debug)]
struct Rt {
    #[command(flatten)]
    selection: Selection,
    /// Use results that are in the cache already.
    #[arg(long)]
    reuse: bool,
    /// Run nothing: compare Slicewise with the truth in the repository.
    #[arg(long)]
    recorded: bool,
    /// Print both sides' runs of the selected cases instead of writing the page.
    #[arg(long)]
    show: bool,
    /// Where the cases are.
    #[arg(long, default_value = rt::page::CASES)]
    directory: PathBuf,
    /// The page to write.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fidelity-rt.md"))]
    page: PathBuf,
}

#[derive(Args, Debug)]
struct Smp {
    #[command(flatten)]
    selection: Selection,
    /// Use results that are in the cache already.
    #[arg(long)]
    reuse: bool,
    /// Run nothing: compare Slicewise with the truth in the repository.
    #[arg(long)]
    recorded: bool,
    /// Run by this clock only.
    #[arg(long)]
    clock: Option<smp::ClockKind>,
    /// Where the cases are.
    #[arg(long, default_value = smp::page::CASES)]
    directory: PathBuf,
    /// The page to write.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fidelity-smp.md"))]
    page: PathBuf,
}

#[derive(Args, Debug)]
struct Fidelity {
    #[command(flatten)]
    comparison: Comparison,
    /// Run nothing: compare Slicewise with the truth in the repository.
    #[arg(long)]
    recorded: bool,
    /// The page to write.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fidelity.md"))]
    page: PathBuf,
    /// Where the truth is.
    #[arg(long, default_value = truth::DIRECTORY)]
    truth: PathBuf,
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
        Ok(0) => ExitCode::SUCCESS,
        Ok(short) => {
            let _ = writeln!(std::io::stderr(), "{short} limits are not kept");
            ExitCode::from(1)
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::from(2)
        }
    }
}

/// How many limits are not kept that were asked to be.
fn run(arguments: &Arguments) -> Result<usize> {
    // In the guest there is no place for a cache.
    match &arguments.command {
        Command::Load {
            file,
            seconds,
            milliseconds,
            group,
            turns,
            stop_trace,
            begin,
            accounts,
            late_event,
        } => {
            let beside = file.parent().unwrap_or(Path::new("."));
            let mut read = |name: &str| {
                std::fs::read_to_string(beside.join(name)).map_err(|error| error.to_string())
            };
            let format = slicewise_workload::Format::Scenario;
            let loaded = slicewise_workload::load_with(&text(file)?, format, &mut read);
            let loaded = loaded.map_err(|rejected| {
                let first = rejected.diagnostics.first();
                Failure::new(first.map_or_else(String::new, |first| first.message.clone()))
            })?;
            let duration = std::time::Duration::from_millis(seconds * 1_000 + milliseconds);
            let ending = load::Ending {
                begin_ns: *begin,
                accounts: accounts.clone(),
                late_event: late_event.clone(),
                stop_trace: stop_trace.clone(),
            };
            load::run(loaded.workload, duration, group.as_deref(), *turns, ending)?;
            return Ok(0);
        }
        Command::Calibrate => {
            say(&format!("{}\n", load::calibrate()))?;
            return Ok(0);
        }
        Command::Snapshot { out, groups } => {
            load::snapshot(out, groups)?;
            return Ok(0);
        }
        Command::CallsDirect { file } => {
            calls::guest::direct(file)?;
            return Ok(0);
        }
        Command::CallWorker { words } => {
            calls::guest::worker(words)?;
            return Ok(0);
        }
        Command::CallReport => {
            calls::guest::report()?;
            return Ok(0);
        }
        _ => {}
    }
    let cache = Cache::open(arguments.cache.as_deref())?;
    let kernels = kernels::chosen(&arguments.kernel)?;
    let cases = |names: &[String]| case::select(&arguments.cases, names);
    let mut short = 0;
    match &arguments.command {
        Command::Load { .. }
        | Command::Calibrate
        | Command::Snapshot { .. }
        | Command::CallsDirect { .. }
        | Command::CallWorker { .. }
        | Command::CallReport => Ok(()),
        Command::Calls { file: Some(file), cpus, .. } => {
            calls::try_out(&cache, &kernels, *cpus, file)
        }
        Command::Calls { file: None, cpus, seed } => calls::record(&cache, &kernels, *cpus, *seed),
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
                say(&format!("{}\n{}\n", kernel.package, qemu::about(&cache, &kernel)?))?;
            }
            Ok(())
        }
        Command::Run(selection) => {
            let cases = cases(&selection.names)?;
            on_kernels(&cache, &cases, &kernels, false, |case, cell| {
                say(&format!(
                    "{} on {}: {}\n{}",
                    case.name,
                    cell.package,
                    cache.results(&case.name, &cell.series).display(),
                    table::doubts(cell)
                ))
            })
        }
        Command::Host { name, profile } => host::run(&arguments.cases, name, profile.as_deref()),
        Command::Groups(asked) => {
            if !asked.recorded {
                let cases = groups::select(&asked.directory, &asked.selection.names)?;
                groups::on_kernels(&cache, &cases, &kernels, asked.reuse, |_, cell| {
                    groups::figures::keep(cell)
                })?;
            }
            let compared = groups::page::compare(&asked.directory)?;
            short = groups::page::PAGE.write(&compared, &asked.page)?;
            say(&format!("{short} limits are not kept: {}\n", asked.page.display()))
        }
        Command::Rt(asked) => {
            let names = &asked.selection.names;
            if !asked.recorded {
                let cases = rt::select(&asked.directory, names)?;
                rt::on_kernels(&cache, &cases, &kernels, asked.reuse, |_, cell| {
                    rt::truth::keep(cell)
                })?;
            }
            if asked.show {
                return say(&rt::page::show(&asked.directory, names, &kernels)?).map(|()| 0);
            }
            let compared = rt::page::compare(&asked.directory, &[], kernels::SERIES)?;
            short = rt::page::PAGE.write(&compared, &asked.page)?;
            say(&format!("{short} limits are not kept: {}\n", asked.page.display()))
        }
        Command::Smp(asked) => {
            if !asked.recorded {
                let cases = smp::select(&asked.directory, &asked.selection.names)?;
                let clocks = asked.clock.map_or(smp::ClockKind::ALL.to_vec(), |clock| vec![clock]);
                smp::on_kernels(&cache, &cases, &kernels, &clocks, asked.reuse, smp::truth::keep)?;
            }
            let compared = smp::page::compare(&asked.directory)?;
            short = smp::page::PAGE.write(&compared, &asked.page)?;
            say(&format!("{short} limits are not kept: {}\n", asked.page.display()))
        }
        Command::Fidelity(fidelity) => {
            if !fidelity.recorded {
                let Comparison { selection, reuse, .. } = &fidelity.comparison;
                let cases = cases(&selection.names)?;
                on_kernels(&cache, &cases, &kernels, *reuse, |_, cell| {
                    truth::write(&fidelity.truth, &cell.series, vec![cell.clone()])
                })?;
            }
            let compared = fidelity::compare(&arguments.cases, &fidelity.truth)?;
            fidelity::write(&compared, &fidelity.page, &fidelity.truth)?;
            let short =
                compared.iter().flat_map(|one| &one.rows).filter(|row| row.met == Some(false));
            let met = fidelity::met(&compared).len();
            say(&format!("{met} limits kept, {} not: {}\n", short.count(), fidelity.page.display()))
        }
        Command::Compare(comparison) => {
            let Comparison { selection, reuse, .. } = comparison;
            let cases = cases(&selection.names)?;
            on_kernels(&cache, &cases, &kernels, *reuse, |case, cell| {
                let ours = match case.command {
                    Some(_) => None,
                    None => {
                        let mut guest = simulate::Guest::of(&cell.series);
                        comparison.cost.iter().try_for_each(|word| guest.set(word))?;
                        Some(simulate::run(case, cell, &guest)?)
                    }
                };
                if let Some(ours) = ours.as_ref().filter(|_| comparison.check) {
                    let rows = verdict::rows(case, &cell.series, &cell.kernel, ours);
                    short += rows.iter().filter(|row| row.met == Some(false)).count();
                }
                say(&format!("{}\n", table::render(case, cell, ours.as_ref())))
            })
        }
    }?;
    Ok(short)
}

/// Runs cases on kernels, or takes what is there, and hands over what was measured.
fn on_kernels(
    cache: &Cache,
    cases: &[Case],
    kernels: &[&'static str],
    reuse: bool,
    mut work: impl FnMut(&Case, &Cell) -> Result<()>,
) -> Result<()> {
    for series in kernels {
        let mut cases: Vec<&Case> = cases.iter().filter(|case| case.applies_to(series)).collect();
        cases.sort_by_key(|case| case.cpus);
        for case in cases {
            let results = cache.results(&case.name, series);
            if !(reuse && results.join("package.txt").is_file()) {
                qemu::run(cache, &apt::fetch(cache, series)?, case)?;
            }
            work(case, &measure::read(case, series, &results)?)?;
        }
    }
    Ok(())
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
