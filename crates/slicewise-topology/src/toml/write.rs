//! A machine as a text that reads back the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use slicewise_sched::energy::{CapacityState, PerfDomain};
use slicewise_sched::topology::{CAPACITY_MAX, CpuPlace};

use crate::machine::CacheKind;
use crate::{Cpu, Kind, Machine, Node, format_list};

/// The machine in TOML: what [`from_toml`](crate::from_toml) reads. Notes are comments.
pub fn to_toml(machine: &Machine) -> String {
    let mut text = String::new();
    for note in machine.notes() {
        let _ = writeln!(text, "# {}", note.replace(|c: char| c.is_control(), " "));
    }
    let _ = writeln!(text, "name = {}", quoted(machine.name()));
    let set = |is: &dyn Fn(&Cpu, &CpuPlace) -> bool| quoted(&format_list(machine.numbers(is)));
    let _ = writeln!(text, "cpus = {}", set(&|_, _| true));
    let mut sets = |key: &str, of: &dyn Fn(&Cpu, &CpuPlace) -> Option<u32>, least: usize| {
        let mut by_id: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (cpu, place) in machine.cpus().iter().zip(machine.topology().places()) {
            if let Some(id) = of(cpu, place) {
                by_id.entry(id).or_default().push(cpu.number);
            }
        }
        let mut sets: Vec<Vec<u32>> =
            by_id.into_values().filter(|set| set.len() >= least).collect();
        sets.sort();
        if !sets.is_empty() {
            let _ = writeln!(text, "{key} = {}", lists(&sets));
        }
    };
    sets("cores", &|_, place| Some(place.core), 2);
    sets("clusters", &|_, place| place.cluster, 1);
    sets("llcs", &|_, place| Some(place.llc), 1);
    sets("dies", &|cpu, place| cpu.die.map(|die| place.package << 16 | die & 0xffff), 1);
    sets("packages", &|_, place| Some(place.package), 1);
    if machine.topology().places().iter().any(|place| place.capacity != CAPACITY_MAX) {
        let _ = writeln!(
            text,
            "capacities = {}",
            by_set(machine, |place| Some(i64::from(place.capacity)))
        );
    }
    if machine.topology().places().iter().any(|place| place.packing_priority.is_some()) {
        let _ = writeln!(
            text,
            "packing = {}",
            by_set(machine, |place| place.packing_priority.map(i64::from))
        );
    }
    type Is = fn(&Cpu) -> bool;
    let marks: [(&str, Is); 4] = [
        ("performance_cpus", |cpu| cpu.kind == Some(Kind::Performance)),
        ("efficiency_cpus", |cpu| cpu.kind == Some(Kind::Efficiency)),
        ("isolated", |cpu| cpu.isolated),
        ("nohz_full", |cpu| cpu.nohz_full),
    ];
    for (key, is) in marks {
        if machine.cpus().iter().any(is) {
            let _ = writeln!(text, "{key} = {}", set(&|cpu, _| is(cpu)));
        }
    }
    if !machine.offline().is_empty() {
        let offline = format_list(machine.offline().iter().copied());
        let _ = writeln!(text, "offline = {}", quoted(&offline));
    }
    matrices(machine, &mut text);
    energy(machine, &mut text);
    caches(machine, &mut text);
    nodes(machine, &mut text);
    text
}

fn energy(machine: &Machine, text: &mut String) {
    let Some(model) = machine.energy() else { return };
    let entry = |domain: &PerfDomain| {
        let number = |cpu: &u32| machine.cpus().get(*cpu as usize).map(|cpu| cpu.number);
        let cpus = format_list(domain.cpus.iter().filter_map(number));
        let state = |state: &CapacityState| format!("[{}, {}]", state.capacity, state.power);
        let states: Vec<String> = domain.states.iter().map(state).collect();
        format!("    {{ cpus = {}, states = [{}] }},\n", quoted(&cpus), states.join(", "))
    };
    let entries: String = model.domains.iter().map(entry).collect();
    let _ = write!(text, "energy = [\n{entries}]\n");
}

fn matrices(machine: &Machine, text: &mut String) {
    let topology = machine.topology();
    let nodes = topology.nr_nodes();
    let mut rows = |key: &str, of: &dyn Fn(u32, u32) -> u32| {
        let row = |from| {
            let cells: Vec<String> = (0..nodes).map(|to| of(from, to).to_string()).collect();
            format!("    [{}],\n", cells.join(", "))
        };
        let _ = write!(text, "{key} = [\n{}]\n", (0..nodes).map(row).collect::<String>());
    };
    if nodes > 1 {
        rows("distances", &|from, to| topology.distance(from, to).unwrap_or_default());
    }
    if !machine.latencies_are_derived() {
        rows("latencies_ns", &|from, to| machine.latencies_ns()[from as usize][to as usize]);
    }
}

fn nodes(machine: &Machine, text: &mut String) {
    for (row, node) in (0..).zip(machine.nodes()) {
        let Node { number, name, memory_bytes } = node;
        let cpus = format_list(machine.numbers(|_, place| place.node == row));
        let _ = write!(text, "\n[[nodes]]\nnumber = {number}\ncpus = {}\n", quoted(&cpus));
        if let Some(name) = name {
            let _ = writeln!(text, "name = {}", quoted(name));
        }
        if let Some(bytes) = memory_bytes {
            let _ = writeln!(text, "memory = {}", quoted(&exact_bytes(*bytes)));
        }
    }
}

fn caches(machine: &Machine, text: &mut String) {
    type Alike = (u32, CacheKind, Option<u64>);
    let mut alike: BTreeMap<Alike, Vec<Vec<u32>>> = BTreeMap::new();
    for cache in machine.caches() {
        let cpus = cache.cpus.iter().map(|cpu| machine.cpus()[cpu.index()].number).collect();
        alike.entry((cache.level, cache.kind, cache.size_bytes)).or_default().push(cpus);
    }
    if alike.is_empty() {
        return;
    }
    text.push_str("caches = [\n");
    for ((level, kind, size), sets) in alike {
        let _ = write!(text, "    {{ level = {level}");
        match kind {
            CacheKind::Data => text.push_str(", kind = \"data\""),
            CacheKind::Instruction => text.push_str(", kind = \"instruction\""),
            CacheKind::Unified => {}
        }
        if let Some(bytes) = size {
            let _ = write!(text, ", size = {}", quoted(&exact_bytes(bytes)));
        }
        let _ = writeln!(text, ", cpus = {} }},", lists(&sets));
    }
    text.push_str("]\n");
}

fn lists(sets: &[Vec<u32>]) -> String {
    let shown: Vec<String> =
        sets.iter().map(|set| quoted(&format_list(set.iter().copied()))).collect();
    format!("[{}]", shown.join(", "))
}

fn by_set(machine: &Machine, of: impl Fn(&CpuPlace) -> Option<i64>) -> String {
    let mut by_value: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (cpu, place) in machine.cpus().iter().zip(machine.topology().places()) {
        if let Some(value) = of(place) {
            by_value.entry(value).or_default().push(cpu.number);
        }
    }
    let shown = |(value, cpus): (&i64, &Vec<u32>)| {
        format!("{} = {value}", quoted(&format_list(cpus.iter().copied())))
    };
    format!("{{ {} }}", by_value.iter().map(shown).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    ::toml::Value::String(text.to_owned()).to_string()
}

/// In the largest unit that shows it exactly.
fn exact_bytes(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}
