//! Files in a directory, or in a tar of one.

use std::io::Read;
use std::path::{Path, PathBuf};

use slicewise_sched::CPUS_MAX;
use slicewise_sched::topology::NODES_MAX;

use super::files::{CACHES_MAX, CONTENT_BYTES_MAX, OF_ALL, OF_CACHES, OF_CPUS, OF_NODES, SysFiles};

/// Where the running kernel tells of its machine.
const HOST: &str = "/sys/devices/system";
/// The largest tar that is gone through, bytes.
const TAR_BYTES_MAX: u64 = 2 << 30;

/// Where the files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SysPlace {
    /// This machine's `/sys`.
    Host,
    /// A copy of it: of `/`, `/sys`, `/sys/devices` or `/sys/devices/system`.
    Directory(PathBuf),
}

impl SysPlace {
    /// Reads them. Only files of known names are opened, so that links and pipes in a copy do no harm.
    ///
    /// # Errors
    /// If there are none, as a sentence.
    pub fn read(&self) -> Result<SysFiles, String> {
        let root = match self {
            Self::Host => PathBuf::from(HOST),
            Self::Directory(root) => system_directory(root).ok_or_else(|| {
                format!(
                    "{}: there is no directory `cpu` with CPUs in it, nor sys/devices/system/cpu",
                    root.display()
                )
            })?,
        };
        let mut files = SysFiles::default();
        for name in OF_ALL {
            let path = match name.starts_with("cpu_") {
                true => root.join("..").join(name),
                false => root.join(name),
            };
            keep(&mut files, &path, name);
        }
        for cpu in numbered(&root.join("cpu"), "cpu", CPUS_MAX) {
            let of_cpu = format!("cpu/cpu{cpu}");
            for name in OF_CPUS {
                let name = format!("{of_cpu}/{name}");
                keep(&mut files, &root.join(&name), &name);
            }
            for index in 0..CACHES_MAX {
                for name in OF_CACHES {
                    let name = format!("{of_cpu}/cache/index{index}/{name}");
                    if !keep(&mut files, &root.join(&name), &name) && name.ends_with("level") {
                        break;
                    }
                }
            }
        }
        for node in numbered(&root.join("node"), "node", NODES_MAX) {
            for name in OF_NODES {
                let name = format!("node/node{node}/{name}");
                keep(&mut files, &root.join(&name), &name);
            }
        }
        match files.is_empty() {
            true => Err(format!("{}: no file in it tells of CPUs", root.display())),
            false => Ok(files),
        }
    }
}

/// Where in a copy the directory `cpu` is.
fn system_directory(root: &Path) -> Option<PathBuf> {
    let below = ["", "system", "devices/system", "sys/devices/system"];
    below.iter().map(|below| root.join(below)).find(|path| path.join("cpu").is_dir())
}

/// The numbers of what a directory has of a name with a number, in order.
fn numbered(directory: &Path, name: &str, below: u32) -> Vec<u32> {
    const ENTRIES_MAX: usize = 100_000;
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        let number: u32 = entry.ok()?.file_name().to_str()?.strip_prefix(name)?.parse().ok()?;
        (number < below).then_some(number)
    };
    let mut numbers: Vec<u32> = entries.take(ENTRIES_MAX).filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Keeps a file that can be read; the kernel has no readable ones for some CPUs.
fn keep(files: &mut SysFiles, path: &Path, name: &str) -> bool {
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let Ok(file) = std::fs::File::open(path) else { return false };
    let mut content = Vec::new();
    let read = file.take(CONTENT_BYTES_MAX as u64 + 1).read_to_end(&mut content);
    read.is_ok() && files.insert(name, &String::from_utf8_lossy(&content))
}

impl SysFiles {
    /// Reads a tar of `/sys/devices/system/cpu` and `node`. tar fills files of sysfs up with zeros
    /// to the 4,096 bytes they are said to have.
    ///
    /// # Errors
    /// If it is no tar, or holds no file that tells of CPUs, as a sentence.
    pub fn from_tar(reader: impl Read) -> Result<Self, String> {
        let mut archive = tar::Archive::new(reader.take(TAR_BYTES_MAX));
        let mut files = Self::default();
        let entries = archive.entries().map_err(|error| format!("not a tar: {error}"))?;
        // Raw: extensions for long names are not followed; all names that count are short.
        for entry in entries.raw(true) {
            let mut entry = entry.map_err(|error| format!("not a whole tar: {error}"))?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = entry.path_bytes().into_owned();
            let Ok(path) = std::str::from_utf8(&path) else { continue };
            let mut content = Vec::new();
            let mut file = (&mut entry).take(CONTENT_BYTES_MAX as u64 + 1);
            file.read_to_end(&mut content).map_err(|error| format!("not a whole tar: {error}"))?;
            files.insert(path, &String::from_utf8_lossy(&content));
        }
        match files.is_empty() {
            true => {
                Err("no file in it tells of CPUs: it must hold sys/devices/system/cpu".to_owned())
            }
            false => Ok(files),
        }
    }
}
