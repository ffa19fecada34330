//! `lscpu -J`: counts, and the lists of nodes. Who is whose sibling has to be guessed.

use std::collections::BTreeMap;

use serde_json::Value;
use slicewise_sched::CPUS_MAX;

use super::Row;
use crate::parse_list;

/// Fields by name, those inside of others included.
fn collect(fields: &[Value], into: &mut BTreeMap<String, String>) {
    const FIELDS_MAX: usize = 10_000;
    for field in fields {
        let name = field.get("field").and_then(Value::as_str).unwrap_or_default();
        let data = field.get("data").and_then(Value::as_str).unwrap_or_default();
        if into.len() < FIELDS_MAX {
            into.insert(name.trim_end_matches(':').to_owned(), data.to_owned());
        }
        if let Some(children) = field.get("children").and_then(Value::as_array) {
            collect(children, into);
        }
    }
}

/// CPU by CPU, and what was guessed.
pub(super) fn rows(fields: &[Value]) -> Result<(Vec<Row>, Vec<String>), String> {
    let mut by_name = BTreeMap::new();
    collect(fields, &mut by_name);
    let list = |name: &str, text: &str| {
        parse_list(text).map_err(|error| format!("`{name}`: {}", error.message))
    };
    let online = match by_name.get("On-line CPU(s) list") {
        Some(text) => list("On-line CPU(s) list", text)?,
        None => {
            let count = count(&by_name, "CPU(s)")
                .ok_or("neither `On-line CPU(s) list` nor `CPU(s)` is there")?;
            (0..count).collect()
        }
    };
    let threads = count(&by_name, "Thread(s) per core").unwrap_or(1);
    let sockets = count(&by_name, "Socket(s)").unwrap_or(1);
    let mut nodes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (name, text) in &by_name {
        let number = name.strip_prefix("NUMA node").and_then(|rest| rest.strip_suffix(" CPU(s)"));
        let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
        nodes.insert(number, list(name, text)?);
    }
    if nodes.is_empty() {
        nodes.insert(0, online.clone());
    }
    let virtual_machine = by_name.contains_key("Hypervisor vendor");
    let by_core = cores(&nodes, threads, virtual_machine);
    let nr_cores = by_core.last().map_or(0, |(_, _, core)| core + 1);
    let llcs = last_level_caches(&by_name).unwrap_or(sockets).min(nr_cores.max(1));
    let mut rows: Vec<Row> = by_core
        .into_iter()
        .map(|(cpu, node, core)| Row {
            cpu,
            offline: false,
            core: Some(core),
            socket: Some(share(core, nr_cores, sockets)),
            node: Some(node),
            caches: vec![("l3".to_owned(), share(core, nr_cores, llcs))],
        })
        .collect();
    rows.sort_by_key(|row| row.cpu);
    if rows.iter().map(|row| row.cpu).collect::<Vec<_>>() != online {
        return Err("the lists of nodes and `On-line CPU(s) list` differ".to_owned());
    }
    let mut notes = Vec::new();
    if threads > 1 || llcs > 1 {
        notes.push(
            "this lscpu output does not say which CPUs share a core or a cache: taken to be as usual; `lscpu -J \
             -e` says"
                .to_owned(),
        );
    }
    Ok((rows, notes))
}

fn count(by_name: &BTreeMap<String, String>, name: &str) -> Option<u32> {
    by_name.get(name)?.trim().parse().ok().filter(|count| (1..=CPUS_MAX).contains(count))
}

/// CPU, node and core. Cores are numbered node by node.
fn cores(
    nodes: &BTreeMap<u32, Vec<u32>>,
    threads: u32,
    virtual_machine: bool,
) -> Vec<(u32, u32, u32)> {
    let mut all = Vec::new();
    let mut first_core = 0;
    for (node, cpus) in nodes {
        let count = cpus.len() as u32;
        let cores = count.div_ceil(threads);
        let runs = 1 + cpus.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() as u32;
        // A node of 0-23,48-71 has the second threads behind all first ones. On real machines that
        // is usual; in virtual ones siblings are neighbours.
        let apart = runs == threads || runs == 1 && nodes.len() == 1 && !virtual_machine;
        for (at, cpu) in (0..).zip(cpus) {
            let core = if apart { at % cores } else { at / threads };
            all.push((*cpu, *node, first_core + core));
        }
        first_core += cores;
    }
    all
}

/// Which of so many equal parts it is in.
fn share(at: u32, of: u32, parts: u32) -> u32 {
    (u64::from(at) * u64::from(parts) / u64::from(of.max(1))) as u32
}

/// How many caches of the highest level there are: `32 MiB (2 instances)`.
fn last_level_caches(by_name: &BTreeMap<String, String>) -> Option<u32> {
    let of_level = |level: u32| {
        let name = [format!("L{level} cache"), format!("L{level}")];
        let data = name.iter().find_map(|name| by_name.get(name))?;
        let (_, rest) = data.split_once('(')?;
        rest.split(' ').next()?.parse().ok().filter(|count| (1..=CPUS_MAX).contains(count))
    };
    (2..=4).rev().find_map(of_level)
}
