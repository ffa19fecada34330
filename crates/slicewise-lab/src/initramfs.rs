//! The guest's file system: busybox, the workload programs, their libraries and a script.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::tools;

/// Programs of the guest besides busybox, which must not hide them.
const PROGRAMS: &[&str] = &["chrt", "hackbench", "rt-app", "taskset", "trace-cmd"];
/// What the lab's own program is called in the guest.
pub(crate) const LOAD_PROGRAM: &str = "lab-load";
/// Loaded late, by `pthread_exit`: `ldd` does not name it.
const LATE_LIBRARY: &str = "libgcc_s.so.1";

const FILE: u32 = 0o100_755;
const DIRECTORY: u32 = 0o040_755;

/// An archive in the `newc` format, the one the kernel unpacks.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    /// By path without a leading `/`: mode and content.
    entries: BTreeMap<String, (u32, Vec<u8>)>,
}

impl Archive {
    /// Adds a file and the directories above it.
    pub(crate) fn file(&mut self, path: &str, content: Vec<u8>) {
        let path = path.trim_start_matches('/');
        self.directory(path.rsplit_once('/').map_or("", |(above, _)| above));
        self.entries.insert(path.to_owned(), (FILE, content));
    }

    /// Adds a directory and those above it.
    pub(crate) fn directory(&mut self, path: &str) {
        let mut above = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if !above.is_empty() {
                above.push('/');
            }
            above.push_str(part);
            self.entries.entry(above.clone()).or_insert((DIRECTORY, Vec::new()));
        }
    }

    /// The archive's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Directories sort before what is in them.
        for (number, (path, (mode, content))) in self.entries.iter().enumerate() {
            entry(&mut out, number as u32 + 1, path, *mode, content);
        }
        entry(&mut out, 0, "TRAILER!!!", 0, &[]);
        out
    }
}

fn entry(out: &mut Vec<u8>, number: u32, path: &str, mode: u32, content: &[u8]) {
    let links = if mode & DIRECTORY == DIRECTORY && mode & FILE != FILE { 2 } else { 1 };
    let fields =
        [number, mode, 0, 0, links, 0, content.len() as u32, 0, 0, 0, 0, path.len() as u32 + 1, 0];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Everything but the case: programs and libraries of the host.
pub(crate) fn base() -> Result<Archive> {
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "sys", "tmp", "out", "bin"] {
        archive.directory(directory);
    }
    let busybox = tools::find("busybox")?;
    if !libraries(&busybox)?.is_empty() {
        return Err(Failure::with_help(
            format!("{} is not static", busybox.display()),
            "install the Debian package busybox-static",
        ));
    }
    archive.file("bin/busybox", read(&busybox)?);
    let mut directory_of_libc = None;
    // The lab is its own load program.
    let own = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find the lab's own program: {error}")))?;
    let mut programs = vec![(LOAD_PROGRAM, own)];
    for program in PROGRAMS {
        programs.push((program, tools::find(program)?));
    }
    for (name, path) in programs {
        // Not into /bin: busybox installs its own applets there.
        archive.file(&format!("lab/{name}"), read(&path)?);
        for library in libraries(&path)? {
            if library.file_name().is_some_and(|name| name == "libc.so.6") {
                directory_of_libc = library.parent().map(Path::to_owned);
            }
            archive.file(&library.to_string_lossy(), read(&library)?);
        }
    }
    if let Some(directory) = directory_of_libc {
        let late = directory.join(LATE_LIBRARY);
        if late.exists() {
            archive.file(&late.to_string_lossy(), read(&late)?);
        }
    }
    Ok(archive)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

/// The libraries a program is linked with; none if it is static.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let mut ldd = tools::command("ldd")?;
    ldd.arg(program);
    let output =
        ldd.output().map_err(|error| Failure::new(format!("cannot start ldd: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(line) = text.lines().find(|line| line.contains("not found")) {
        return Err(Failure::new(format!("{}: {}", program.display(), line.trim())));
    }
    Ok(paths_of_ldd(&text))
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn paths_of_ldd(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| {
            let path = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
            let path = path.split_once(" (").map_or(path, |(path, _)| path);
            path.starts_with('/').then(|| PathBuf::from(path))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Archive, paths_of_ldd};

    #[test]
    fn ldd_names_libraries_and_the_loader() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let paths = paths_of_ldd(text);
        assert_eq!(paths.len(), 2);
        assert_eq!(paths[0].to_string_lossy(), "/lib/libc.so.6");
        assert!(paths_of_ldd("\tnot a dynamic executable\n").is_empty());
    }

    #[test]
    fn entries_are_padded_to_four_bytes_and_directories_come_first() {
        let mut archive = Archive::default();
        archive.file("/a/b", b"xyz".to_vec());
        let bytes = archive.bytes();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let (directory, file) = (text.find("a\0").unwrap(), text.find("a/b\0").unwrap());
        assert!(directory < file);
        assert!(text.contains("TRAILER!!!"));
        // 110 bytes of header, then the name.
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[110..112], b"a\0");
    }
}
