//! The `slicewise` command.
//!
//! Reads workloads, runs them on the simulated machine, and shows the reports. Everything it knows
//! about scheduling, formats and figures is in the libraries; here are only the command line, the
//! files and the terminal.

mod args;
mod cgroup_files;
mod commands;
mod failure;
mod jobs;
mod k8s;
mod kubelet_state;
mod output;
mod place;
mod prepare;
mod replay;
mod rt;
mod rt_explain;
mod shadow;
mod simulate;
mod topology;
mod trace_file;
mod traces;
mod whatif;
mod why;

use std::process::ExitCode;

use clap::Parser;

/// The name under which `kubectl` finds a plugin.
const PLUGIN_NAME: &str = "kubectl-slicewise";

fn main() -> ExitCode {
    let outcome = match is_plugin() {
        true => args::KubectlArgs::try_parse().map(|args| k8s::k8s(&args.k8s)),
        false => args::Args::try_parse().map(|args| run(&args.command)),
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
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

/// Whether `kubectl` calls: the command is found under the name of its plugin.
fn is_plugin() -> bool {
    let name = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&name).file_stem().is_some_and(|stem| stem == PLUGIN_NAME)
}

/// True if there are no findings.
fn run(command: &args::Command) -> Result<bool, failure::Failure> {
    match command {
        args::Command::Run(run) => commands::run(run).map(|()| true),
        args::Command::Compare(compare) => commands::compare(compare).map(|()| true),
        args::Command::Explain(explain) => commands::explain(explain).map(|()| true),
        args::Command::Convert(args) => traces::convert(args).map(|()| true),
        args::Command::Rt(args::RtCommand::Check(check)) => rt::check(check),
        args::Command::Rt(args::RtCommand::Explain(asked)) => rt_explain::explain(asked),
        args::Command::K8s(args) => k8s::k8s(args),
        args::Command::Shadow(shadow) => shadow::shadow(shadow).map(|()| true),
        args::Command::Latency(args) => traces::latency(args).map(|()| true),
        args::Command::Timehist(args) => traces::timehist(args).map(|()| true),
        args::Command::Map(args) => traces::map(args).map(|()| true),
        args::Command::Runqlat(args) => traces::runqlat(args).map(|()| true),
        args::Command::Runqslower(args) => traces::runqslower(args).map(|()| true),
        args::Command::Why(args) => why::why(args).map(|()| true),
        args::Command::Whatif(args) => whatif::whatif(args).map(|()| true),
        args::Command::Cpudist(args) => traces::cpudist(args).map(|()| true),
        args::Command::Summary(args) => traces::summary(args).map(|()| true),
        args::Command::Topology(args) => topology::topology(args),
        args::Command::Place(args) => place::place(args),
        args::Command::Kernels(kernels) => commands::kernels(kernels).map(|()| true),
        args::Command::Schema => output::print(&slicewise_workload::schema_json()).map(|()| true),
    }
}
