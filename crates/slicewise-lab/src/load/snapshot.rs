//! The files of cgroups at one moment.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use crate::failure::{Failure, Result};

const CGROUPS: &str = "/sys/fs/cgroup";
const FILES: &[&str] = &["cpu.stat", "cpu.stat.local", "cpu.pressure"];

/// Reads the files of all groups at once and writes them to a file: each under a line
/// `== PATH FILE`, after the time in ns.
pub(crate) fn snapshot(out: &Path, groups: &[String]) -> Result<()> {
    let now = clock_gettime(ClockId::Monotonic);
    let now_ns = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    let mut texts = Vec::new();
    for group in groups.iter().map(String::as_str).chain([""]) {
        for file in FILES {
            let path = Path::new(CGROUPS).join(group).join(file);
            // Not every kernel and not the root has all of them.
            if let Ok(text) = fs::read_to_string(&path) {
                texts.push((group, file, text));
            }
        }
    }
    let mut all = format!("clock_ns {now_ns}\n");
    for (group, file, text) in texts {
        let _ = write!(all, "== /{group} {file}\n{text}");
    }
    fs::write(out, all).map_err(|error| Failure::file("write", out, &error))
}
