//! A machine as nested units, in the order of CPUs.

use std::collections::BTreeMap;

use slicewise_topology::{CacheKind, Kind, Machine};

/// Numbers from 0 for what a topology only tells apart, by the first CPU of each.
pub(super) struct Ids {
    pub(super) cores: Vec<u32>,
    pub(super) clusters: Vec<Option<u32>>,
    pub(super) llcs: Vec<u32>,
    pub(super) packages: Vec<u32>,
}

impl Ids {
    pub(super) fn new(machine: &Machine) -> Self {
        let places = machine.topology().places();
        let dense = |of: &mut dyn FnMut(usize) -> Option<u32>| {
            let mut known = BTreeMap::new();
            let mut id = |raw: u32| {
                let next = known.len() as u32;
                *known.entry(raw).or_insert(next)
            };
            (0..places.len()).map(|at| of(at).map(&mut id)).collect::<Vec<Option<u32>>>()
        };
        let all = |ids: Vec<Option<u32>>| ids.into_iter().map(Option::unwrap_or_default).collect();
        Self {
            cores: all(dense(&mut |at| Some(places[at].core))),
            clusters: dense(&mut |at| places[at].cluster),
            llcs: all(dense(&mut |at| Some(places[at].llc))),
            packages: all(dense(&mut |at| Some(places[at].package))),
        }
    }
}

/// CPUs of one package and one node.
pub(super) struct Area {
    pub(super) package: u32,
    /// The row of the node.
    pub(super) node: u32,
    pub(super) parts: Vec<Part>,
}

/// A last-level cache, or what is of it in an area.
pub(super) struct Part {
    /// The highest level and the size, where they are known.
    pub(super) level: Option<u32>,
    pub(super) size_bytes: Option<u64>,
    pub(super) rows: Vec<Row>,
}

/// Cores alike, of one cluster if they are in any.
pub(super) struct Row {
    pub(super) kind: Option<Kind>,
    pub(super) cluster: Option<u32>,
    pub(super) capacity: u32,
    pub(super) priority: Option<i32>,
    /// Each as its CPUs: indices of the topology.
    pub(super) cores: Vec<Vec<usize>>,
}

impl Part {
    pub(super) fn cpus(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.iter().flat_map(|row| row.cores.iter().flatten().copied())
    }

    pub(super) fn cores(&self) -> usize {
        self.rows.iter().map(|row| row.cores.len()).sum()
    }

    /// What makes parts alike.
    pub(super) fn shape(&self) -> Shape {
        let of_row = |row: &Row| {
            let threads = row.cores.iter().map(Vec::len).max().unwrap_or(0);
            (row.kind.map(|kind| kind == Kind::Performance), row.capacity, row.cores.len(), threads)
        };
        Shape { cache: (self.level, self.size_bytes), rows: self.rows.iter().map(of_row).collect() }
    }

    /// `L3 32 MiB`.
    pub(super) fn label(&self) -> String {
        match (self.level, self.size_bytes) {
            (Some(level), Some(size)) => format!("L{level} {}", super::bytes(size)),
            (Some(level), None) => format!("L{level}"),
            _ => "cache".to_owned(),
        }
    }
}

/// What parts alike have in common.
#[derive(PartialEq, Eq)]
pub(super) struct Shape {
    cache: (Option<u32>, Option<u64>),
    rows: Vec<(Option<bool>, u32, usize, usize)>,
}

/// The machine's areas, by their first CPUs.
pub(super) fn areas(machine: &Machine) -> Vec<Area> {
    let ids = Ids::new(machine);
    let places = machine.topology().places();
    let last_level = last_level(machine);
    let mut areas: Vec<Area> = Vec::new();
    let mut area_of: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let mut part_of: BTreeMap<(usize, u32), usize> = BTreeMap::new();
    type RowKey = (usize, usize, Option<u32>, Option<bool>, u32, Option<i32>);
    let mut row_of: BTreeMap<RowKey, usize> = BTreeMap::new();
    let mut core_of: BTreeMap<u32, (usize, usize, usize, usize)> = BTreeMap::new();
    for (at, place) in places.iter().enumerate() {
        if let Some((area, part, row, core)) = core_of.get(&ids.cores[at]) {
            areas[*area].parts[*part].rows[*row].cores[*core].push(at);
            continue;
        }
        let (package, node) = (ids.packages[at], place.node);
        let area = *area_of.entry((package, node)).or_insert_with(|| {
            areas.push(Area { package, node, parts: Vec::new() });
            areas.len() - 1
        });
        let parts = &mut areas[area].parts;
        let part = *part_of.entry((area, ids.llcs[at])).or_insert_with(|| {
            let (level, size_bytes) = last_level[at];
            parts.push(Part { level, size_bytes, rows: Vec::new() });
            parts.len() - 1
        });
        let kind = machine.cpus()[at].kind;
        let key = (
            area,
            part,
            ids.clusters[at],
            kind.map(|kind| kind == Kind::Performance),
            place.capacity,
            place.packing_priority,
        );
        let rows = &mut parts[part].rows;
        let row = *row_of.entry(key).or_insert_with(|| {
            rows.push(Row {
                kind,
                cluster: ids.clusters[at],
                capacity: place.capacity,
                priority: place.packing_priority,
                cores: Vec::new(),
            });
            rows.len() - 1
        });
        rows[row].cores.push(vec![at]);
        core_of.insert(ids.cores[at], (area, part, row, rows[row].cores.len() - 1));
    }
    areas
}

/// Level and size of each CPU's last cache that is shared.
fn last_level(machine: &Machine) -> Vec<(Option<u32>, Option<u64>)> {
    let mut last = vec![(None, None); machine.cpus().len()];
    // They come lowest first.
    let shared = machine.caches().iter().filter(|cache| cache.kind != CacheKind::Instruction);
    for cache in shared.filter(|cache| cache.level > 1) {
        for cpu in &cache.cpus {
            last[cpu.index()] = (Some(cache.level), cache.size_bytes);
        }
    }
    last
}
