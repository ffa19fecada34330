//! Reading `truth/*.domains`.

#![allow(dead_code, clippy::unwrap_used, reason = "each test takes what it needs")]

use std::path::PathBuf;

/// A domain of a CPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Domain {
    pub(crate) cpu: u32,
    /// From 0, the lowest.
    pub(crate) level: u32,
    pub(crate) name: String,
    pub(crate) span: Vec<u32>,
    /// Without `SD_`, in the kernel's order.
    pub(crate) flags: Vec<String>,
    pub(crate) min_interval_ms: u32,
    pub(crate) max_interval_ms: u32,
    pub(crate) busy_factor: u32,
    pub(crate) imbalance_pct: u32,
    pub(crate) cache_nice_tries: u32,
    /// In the order the CPU goes through them: span, and the mask of those that may balance where it
    /// is another.
    pub(crate) groups: Vec<(Vec<u32>, Option<Vec<u32>>)>,
    /// `None` where the kernel does not tell.
    pub(crate) groups_flags: Option<Vec<String>>,
}

/// The kernels that were recorded.
pub(crate) const KERNELS: [&str; 3] = ["6.1", "6.12", "7.2"];

pub(crate) fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/truth"))
}

/// The names of all cases, sorted.
pub(crate) fn cases() -> Vec<String> {
    let names = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name());
    let case =
        |name: std::ffi::OsString| name.to_str()?.strip_suffix(".7.2.domains").map(str::to_owned);
    let mut cases: Vec<String> = names.filter_map(case).collect();
    cases.sort();
    cases
}

/// The snapshot of a case, as this kernel shows it.
pub(crate) fn snapshot(case: &str, kernel: &str) -> String {
    let own = directory().join(format!("{case}.{kernel}.sysfs"));
    std::fs::read_to_string(&own)
        .or_else(|_| std::fs::read_to_string(directory().join(format!("{case}.sysfs"))))
        .unwrap()
}

/// All domains of a case, CPU by CPU and lowest first; none of a CPU that has none.
pub(crate) fn domains(case: &str, kernel: &str) -> Vec<Domain> {
    let text =
        std::fs::read_to_string(directory().join(format!("{case}.{kernel}.domains"))).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(domain).collect()
}

/// The spans of the root domains, in the order they were made.
pub(crate) fn root_domains(case: &str, kernel: &str) -> Vec<Vec<u32>> {
    let text =
        std::fs::read_to_string(directory().join(format!("{case}.{kernel}.domains"))).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("# root domain ")).map(list).collect()
}

fn domain(line: &str) -> Domain {
    let mut parts = line.split(" | ");
    let words: Vec<&str> = parts.next().unwrap().split(' ').collect();
    let number = |at: usize| words[at].parse::<u32>().unwrap();
    assert_eq!(words.len(), 10, "{line}");
    let group = |text: &str| match text.split_once('/') {
        Some((span, mask)) => (list(span), Some(list(mask))),
        None => (list(text), None),
    };
    Domain {
        cpu: number(0),
        level: number(1),
        name: words[2].to_owned(),
        span: list(words[3]),
        flags: flags(words[4]),
        min_interval_ms: number(5),
        max_interval_ms: number(6),
        busy_factor: number(7),
        imbalance_pct: number(8),
        cache_nice_tries: number(9),
        groups: parts.next().unwrap().split(' ').map(group).collect(),
        groups_flags: parts.next().map(flags),
    }
}

fn flags(text: &str) -> Vec<String> {
    text.split(',').filter(|flag| *flag != "-").map(str::to_owned).collect()
}

fn list(text: &str) -> Vec<u32> {
    let range = |range: &str| match range.split_once('-') {
        Some((first, last)) => first.parse().unwrap()..=last.parse().unwrap(),
        None => range.parse().unwrap()..=range.parse().unwrap(),
    };
    text.split(',').flat_map(range).collect()
}
