//! The files of `/sys/devices/system` that tell of CPUs, their caches and nodes: as lines of a text, in
//! a tar, or in a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use slicewise_sched::CPUS_MAX;
use slicewise_sched::topology::NODES_MAX;

/// Caches of a CPU that are looked at.
pub(super) const CACHES_MAX: u32 = 10;
/// A file that is longer is not of this kind.
pub(super) const CONTENT_BYTES_MAX: usize = 64 << 10;

pub(super) const OF_ALL: [&str; 8] = [
    "cpu/online",
    "cpu/present",
    "cpu/possible",
    "cpu/isolated",
    "cpu/nohz_full",
    "node/online",
    "cpu_core/cpus",
    "cpu_atom/cpus",
];
pub(super) const OF_CPUS: [&str; 9] = [
    "topology/core_cpus_list",
    "topology/thread_siblings_list",
    "topology/cluster_cpus_list",
    "topology/core_id",
    "topology/die_id",
    "topology/physical_package_id",
    "cpu_capacity",
    "acpi_cppc/highest_perf",
    "topology/cluster_id",
];
pub(super) const OF_CACHES: [&str; 4] = ["level", "type", "size", "shared_cpu_list"];
pub(super) const OF_NODES: [&str; 3] = ["cpulist", "distance", "meminfo"];

/// Files by their paths under `/sys/devices/system` (`cpu_core` and `cpu_atom`: under `/sys/devices`). Only
/// those that tell of the topology are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SysFiles {
    files: BTreeMap<String, String>,
}

impl SysFiles {
    /// Keeps a file, if it is one that counts. Its path may begin anywhere above: what counts is its end.
    pub fn insert(&mut self, path: &str, content: &str) -> bool {
        let Some(path) = known(path) else { return false };
        let content = content.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        if content.len() > CONTENT_BYTES_MAX {
            return false;
        }
        match self.files.get_mut(path) {
            // Further lines of the same file.
            Some(known) if path.ends_with("/meminfo") => {
                if known.len() + content.len() < CONTENT_BYTES_MAX {
                    known.push('\n');
                    known.push_str(content);
                }
            }
            Some(known) => content.clone_into(known),
            None => drop(self.files.insert(path.to_owned(), content.to_owned())),
        }
        true
    }

    /// A file's content, without white space around it.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The CPUs that have a topology, in order.
    pub(super) fn cpus(&self) -> Vec<u32> {
        let number = |path: &String| {
            let (number, rest) = path.strip_prefix("cpu/cpu")?.split_once('/')?;
            rest.starts_with("topology/").then(|| number.parse().ok())?
        };
        self.files.keys().filter_map(number).collect::<BTreeSet<u32>>().into_iter().collect()
    }

    /// The nodes that have files, in order.
    pub(super) fn nodes(&self) -> Vec<u32> {
        let number =
            |path: &String| path.strip_prefix("node/node")?.split_once('/')?.0.parse().ok();
        self.files.keys().filter_map(number).collect::<BTreeSet<u32>>().into_iter().collect()
    }

    /// Reads lines of the form `PATH:CONTENT`, as `grep -r . /sys/devices/system/cpu
    /// /sys/devices/system/node` prints them. Lines that begin with `#` are comments, and lines about
    /// other files are skipped.
    ///
    /// # Errors
    /// If no line tells of a CPU.
    pub fn from_lines(text: &str) -> Result<Self, String> {
        let mut files = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((path, content)) = line.split_once(':') {
                files.insert(path, content);
            }
        }
        if files.is_empty() {
            let message = "no line is of the form PATH:CONTENT with the path of a file of \
                           /sys/devices/system/cpu"
                .to_owned();
            return Err(message);
        }
        Ok(files)
    }

    /// The lines that [`from_lines`](Self::from_lines) reads.
    pub fn to_lines(&self) -> String {
        let mut lines = String::new();
        for (path, content) in &self.files {
            for line in content.lines().chain(content.is_empty().then_some("")) {
                let _ = writeln!(lines, "{path}:{line}");
            }
        }
        lines
    }
}

/// The path as it is kept, of a file that counts.
fn known(path: &str) -> Option<&str> {
    for name in OF_ALL {
        if let Some(before) = path.strip_suffix(name)
            && (before.is_empty() || before.ends_with('/'))
        {
            return Some(&path[before.len()..]);
        }
    }
    let of_cpu = |start: usize| is_known_of_cpu(&path[start + "cpu/cpu".len()..]);
    let of_node = |start: usize| is_known_of_node(&path[start + "node/node".len()..]);
    let start = |what: &str| {
        let start = path.find(what)?;
        (start == 0 || path[..start].ends_with('/')).then_some(start)
    };
    let cpu = start("cpu/cpu").filter(|start| of_cpu(*start));
    let node = start("node/node").filter(|start| of_node(*start));
    cpu.or(node).map(|start| &path[start..])
}

fn is_known_of_cpu(rest: &str) -> bool {
    let Some((number, file)) = rest.split_once('/') else { return false };
    if !is_number_below(number, CPUS_MAX) {
        return false;
    }
    let of_cache = |rest: &str| {
        rest.split_once('/').is_some_and(|(index, file)| {
            is_number_below(index, CACHES_MAX) && OF_CACHES.contains(&file)
        })
    };
    OF_CPUS.contains(&file) || file.strip_prefix("cache/index").is_some_and(of_cache)
}

fn is_known_of_node(rest: &str) -> bool {
    let Some((number, file)) = rest.split_once('/') else { return false };
    is_number_below(number, NODES_MAX) && OF_NODES.contains(&file)
}

/// As the kernel writes numbers: `07` is another file.
fn is_number_below(text: &str, below: u32) -> bool {
    text.parse::<u32>().is_ok_and(|number| number < below && number.to_string() == text)
}
