//! The `slicewise` command.
//!
//! Reads workloads, runs them on the simulated machine, and shows the reports. Everything it knows
//! about scheduling, formats and figures is in the libraries; here are only the command line, the
//! files and the terminal.

mod args;
mod cgroup_files;
mod commands;
mod failure;
mod output;
mod prepare;
mod rt;
mod shadow;
mod simulate;
mod trace_file;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // True if there are no findings.
    let outcome = match &args.command {
        args::Command::Run(run) => commands::run(run).map(|()| true),
        args::Command::Compare(compare) => commands::compare(compare).map(|()| true),
        args::Command::Explain(explain) => commands::explain(explain).map(|()| true),
        args::Command::Convert(convert) => {
            trace_file::convert(&convert.input, &convert.output).map(|()| true)
        }
        args::Command::Rt(args::RtCommand::Check(check)) => rt::check(check),
        args::Command::Shadow(shadow) => shadow::shadow(shadow).map(|()| true),
        args::Command::Kernels(kernels) => commands::kernels(kernels).map(|()| true),
        args::Command::Schema => output::print(&slicewise_workload::schema_json()).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(2)
        }
    }
}
