//! System calls on booted kernels: scripts of calls, done by processes in the guest, written down for
//! `slicewise-syscalls` to be held against.

mod generate;
pub(crate) mod guest;

use std::fs;
use std::path::Path;

use crate::cache::Cache;
use crate::failure::{Failure, Result};
use crate::guest::HEAD;
use crate::initramfs::LOAD_PROGRAM;
use crate::{apt, qemu};

/// Where recordings are kept.
pub(crate) const DIRECTORY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../slicewise-syscalls/truth");

/// Machines of these sizes are booted.
const CPUS: [u32; 3] = [1, 2, 4];

/// How long scripts may take in the guest.
const SECONDS: u64 = 60;

/// Does scripts on kernels and keeps what came of them.
pub(crate) fn record(
    cache: &Cache,
    kernels: &[&'static str],
    cpus: Option<u32>,
    seed: u64,
) -> Result<()> {
    let sizes = cpus.map_or(CPUS.to_vec(), |cpus| vec![cpus]);
    for series in kernels {
        for cpus in sizes.iter().copied() {
            let script = generate::script(series, cpus, seed)?;
            let text = on_kernel(cache, series, cpus, &script)?;
            let path = Path::new(DIRECTORY).join(format!("{series}-{cpus}.txt"));
            fs::create_dir_all(DIRECTORY)
                .map_err(|error| Failure::file("create", Path::new(DIRECTORY), &error))?;
            fs::write(&path, text).map_err(|error| Failure::file("write", &path, &error))?;
            crate::say(&format!("{}\n", path.display()))?;
        }
    }
    Ok(())
}

/// Does a script of one's own, and prints what came of it.
pub(crate) fn try_out(
    cache: &Cache,
    kernels: &[&'static str],
    cpus: Option<u32>,
    path: &Path,
) -> Result<()> {
    let script = crate::text(path)?;
    for series in kernels {
        for cpus in cpus.map_or(CPUS.to_vec(), |cpus| vec![cpus]) {
            crate::say(&on_kernel(cache, series, cpus, &script)?)?;
        }
    }
    Ok(())
}

fn on_kernel(cache: &Cache, series: &str, cpus: u32, script: &str) -> Result<String> {
    let results = cache.results(&format!("calls-{cpus}"), series);
    let kernel = apt::fetch(cache, series)?;
    let files = [("calls.txt".to_owned(), script.to_owned())];
    let commands = format!(
        "{HEAD}sleep 2\nmkdir -p /out/0\nnproc > /out/0/cpus.txt\n{LOAD_PROGRAM} calls-direct /calls.txt > /out/0/calls.txt \
         2> /out/0/stderr.txt\necho $? > /out/0/status.txt\nsend calls\n"
    );
    // By instructions, one of four CPUs did not come up on 6.12. On a busy host, that happens so too.
    let clock = match cpus > 2 || cpus > 1 && series == "6.1" {
        true => qemu::Clock::Host,
        false => qemu::Clock::Instructions,
    };
    qemu::run_script_by(&kernel, &files, &commands, cpus, SECONDS, clock, &results)?;
    let out = results.join("0");
    let status = crate::text(&out.join("status.txt"))?;
    if status.trim() != "0" {
        let said = crate::text(&out.join("stderr.txt"))?;
        return Err(Failure::new(format!(
            "the guest ended with {}: {}",
            status.trim(),
            said.trim()
        )));
    }
    let online = crate::text(&out.join("cpus.txt"))?;
    if online.trim() != cpus.to_string() {
        return Err(Failure::new(format!("{} of {cpus} CPUs came up on {series}", online.trim())));
    }
    let head = format!("# Linux {series}: {}, {cpus} CPUs\n", kernel.package.trim());
    Ok(head + &crate::text(&out.join("calls.txt"))?)
}
