//! Does the steps of a truth table to a real kernel and prints the table with what came of them:
//! `cargo run -p slicewise-cgroup --example record -- /sys/fs/cgroup/lab < truth/v2-6.12.txt`.
//!
//! The directory must exist and be a cgroup of its own (with `+cpu` enabled in it for v2): groups
//! are made and removed in it, and limits are set. Each line of a table is a step; what follows
//! ` = ` in the input is ignored.

#![allow(clippy::print_stdout, reason = "an example for the terminal")]

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::Path;

#[path = "../tests/table/mod.rs"]
#[allow(unreachable_pub, reason = "an example and a test share it")]
mod table;

use table::{Step, parse_step, quoted};

fn name_of(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(1) => "EPERM",
        Some(2) => "ENOENT",
        Some(7) => "E2BIG",
        Some(13) => "EACCES",
        Some(16) => "EBUSY",
        Some(17) => "EEXIST",
        Some(22) => "EINVAL",
        Some(34) => "ERANGE",
        Some(75) => "EOVERFLOW",
        Some(95) => "EOPNOTSUPP",
        other => return format!("errno {other:?}"),
    };
    name.to_owned()
}

/// One write(2), as the kernel takes it: a second one would be a second setting.
fn write_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let written = file.write(bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(io::Error::other(format!("{written} bytes"))) }
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn done(result: io::Result<()>) -> String {
    result.map_or_else(|error| name_of(&error), |()| "ok".to_owned())
}

fn perform(root: &Path, step: &Step) -> String {
    match step {
        Step::Group(group) => done(fs::create_dir(root.join(group))),
        Step::Remove(group) => done(fs::remove_dir(root.join(group))),
        Step::Write(group, file, bytes) => done(write_once(&root.join(group).join(file), bytes)),
        Step::Read(group, file) => read_whole(&root.join(group).join(file))
            .map_or_else(|error| name_of(&error), |bytes| quoted(&bytes)),
    }
}

fn main() {
    let root = std::env::args().nth(1).unwrap_or_else(|| "/sys/fs/cgroup/lab".to_owned());
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match parse_step(&line) {
            Some((step, _)) => {
                let text = line.split_once(" = ").map_or(line.as_str(), |(text, _)| text);
                println!("{text} = {}", perform(Path::new(&root), &step));
            }
            None => println!("{line}"),
        }
    }
}
