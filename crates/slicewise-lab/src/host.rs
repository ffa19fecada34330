//! A case on the kernel the lab itself runs on.

use std::fs;
use std::path::Path;

use slicewise_sched::Profile;

use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::{case, guest, measure, say, simulate, table, tools};

/// A file that makes rt-app measure what one turn of its loop takes. That takes seconds: it is done
/// before the case, not in it.
const CALIBRATE: &str = r#"{ "tasks": { "x": { "loop": 1, "run": 1 } },
  "global": { "duration": 1, "calibration": "CPU0", "default_policy": "SCHED_OTHER",
              "lock_pages": false, "ftrace": false, "gnuplot": false } }"#;

/// Runs a case here and in Slicewise, side by side.
pub(crate) fn run(cases: &Path, name: &str, profile: Option<&str>) -> Result<()> {
    let case = &case::select(cases, &[name.to_owned()])?[0];
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_err(|error| Failure::file("read", Path::new("/proc/sys/kernel/osrelease"), &error))?;
    let release = release.trim();
    let series = profile.unwrap_or_else(|| series_of(release));
    if Profile::named(series).is_none() {
        let known: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
        return Err(Failure::with_help(
            format!("there is no profile for this kernel, {release}"),
            format!("name the nearest with --profile: {}", known.join(", ")),
        ));
    }
    let autogroup = fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled");
    if autogroup.is_ok_and(|value| value.trim() == "1") {
        say("Autogroups are on: sessions share this machine's CPUs before their tasks do, which \
             Slicewise does not know.\nTo compare like with like: sysctl kernel.sched_autogroup_enabled=0\n\n")?;
    }
    let directory = std::env::temp_dir().join(format!("slicewise-lab-{}", std::process::id()));
    fs::create_dir_all(&directory).map_err(|error| Failure::file("create", &directory, &error))?;
    let done = in_directory(case, series, release, &directory);
    if done.is_ok() {
        fs::remove_dir_all(&directory)
            .map_err(|error| Failure::file("remove", &directory, &error))?;
    }
    done
}

fn in_directory(case: &Case, series: &str, release: &str, directory: &Path) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| Failure::file("write", &path, &error))
    };
    for tool in ["trace-cmd", "rt-app"] {
        tools::find(tool)?;
    }
    let file =
        case.file().map_err(|message| Failure::new(format!("case {}: {message}", case.name)))?;
    if let Some((name, text)) = file {
        let text = match case.rtapp {
            Some(_) => {
                write("calibrate.json", CALIBRATE)?;
                let loop_ns = calibrate(&directory.join("calibrate.json"))?;
                text.replace("\"calibration\":376", &format!("\"calibration\":{loop_ns}"))
            }
            None => text,
        };
        write(&name, &text)?;
    }
    let own = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find the lab's own program: {error}")))?;
    let place = directory.to_string_lossy();
    write("run.sh", &guest::host_script(case, &place, &own.to_string_lossy()))?;
    write("package.txt", release)?;
    let mut shell = tools::command("sh")?;
    shell.arg(directory.join("run.sh"));
    tools::output_of(shell)?;
    let cell = measure::read(case, series, directory).map_err(|failure| {
        let said = fs::read_to_string(directory.join("stdout.txt")).unwrap_or_default();
        Failure::with_help(
            format!("{failure}\n  {}", said.lines().last().unwrap_or_default()),
            format!("tracing needs root and a tracefs that can be written; see {place}"),
        )
    })?;
    let ours = match case.command {
        Some(_) => None,
        None => Some(simulate::run(case, &cell, &simulate::Guest::of(&cell.series))?),
    };
    say(&format!("{}\n", table::render(case, &cell, ours.as_ref())))
}

/// What rt-app says one turn of its loop takes here, ns.
fn calibrate(file: &Path) -> Result<u64> {
    let mut rtapp = tools::command("rt-app")?;
    rtapp.arg(file).current_dir(file.parent().unwrap_or(Path::new("/")));
    let output =
        rtapp.output().map_err(|error| Failure::new(format!("cannot start rt-app: {error}")))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    calibration_of(&said)
        .ok_or_else(|| Failure::new(format!("rt-app did not say its pLoad: {}", said.trim())))
}

/// `[rt-app] <notice> pLoad = 37ns : calib_cpu 0`
fn calibration_of(said: &str) -> Option<u64> {
    let (_, after) = said.split_once("pLoad = ")?;
    after.split_once("ns")?.0.trim().parse().ok()
}

/// `6.18` of `6.18.44-amd64`.
fn series_of(release: &str) -> &str {
    let end = release.match_indices('.').nth(1).map_or(release.len(), |(at, _)| at);
    &release[..end]
}

#[cfg(test)]
mod tests {
    #[test]
    fn rt_apps_calibration_is_read() {
        let said = "[rt-app] <notice> pLoad = 37ns : calib_cpu 0\n";
        assert_eq!(super::calibration_of(said), Some(37));
        assert_eq!(super::calibration_of("pLoad"), None);
    }

    #[test]
    fn the_series_is_the_first_two_numbers() {
        assert_eq!(super::series_of("6.18.44-amd64"), "6.18");
        assert_eq!(super::series_of("7.2"), "7.2");
    }
}
