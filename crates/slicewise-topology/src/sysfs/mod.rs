//! The machine as Linux tells it under `/sys/devices/system`.

mod files;
mod partition;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use slicewise_sched::topology::{CAPACITY_MAX, NODES_MAX};

pub use files::SysFiles;
pub use tree::SysPlace;

use crate::machine::{CacheKind, Draft, DraftCache, DraftCpu, DraftNode, Kind};
use crate::{Machine, Problem, parse_list};
use partition::Partition;

/// What went wrong with the first thing that did: a file and what is the matter with it.
type Wrong = String;

/// The machine these files tell of.
///
/// Where files are missing, as little as possible is taken for granted: a CPU without siblings has a core of
/// its own, one without caches a cache of its own core's, one without a node is in node 0.
///
/// # Errors
/// What in them cannot be.
pub fn from_sysfs(files: &SysFiles, name: &str) -> Result<Machine, Problem> {
    let help =
        "the files must be those of one machine at one time: /sys/devices/system/cpu and node";
    Reader { files }
        .draft(name)
        .and_then(Draft::finish)
        .map_err(|message| Problem::of_all(message).help(help))
}

struct Reader<'f> {
    files: &'f SysFiles,
}

impl Reader<'_> {
    fn draft(&self, name: &str) -> Result<Draft, Wrong> {
        let online = self.online()?;
        let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
        let is_online = |cpu: &u32| online.binary_search(cpu).is_ok();
        let offline = self.list("cpu/present")?.unwrap_or_default();
        draft.offline = offline.into_iter().filter(|cpu| !is_online(cpu)).collect();
        let of = |names: &[&str]| self.sets(&online, names);
        let cores = of(&["topology/core_cpus_list", "topology/thread_siblings_list"])?;
        let clusters = of(&["topology/cluster_cpus_list"])?;
        let caches = self.caches(&online)?;
        let llcs = last_level_caches(&caches);
        self.nodes(&mut draft)?;
        let node_of = self.nodes_of_cpus(&draft)?;
        let first_node = draft.nodes.keys().next().copied().unwrap_or(0);
        if let Some(cpu) =
            online.iter().find(|cpu| draft.nodes.len() > 1 && !node_of.contains_key(cpu))
        {
            let note = format!("CPU {cpu} is in no node's list: taken to be in node {first_node}");
            draft.notes.push(note);
        }
        let isolated = self.set("cpu/isolated")?;
        let nohz_full = self.set("cpu/nohz_full")?;
        let kinds = self.kinds()?;
        let own_cores = self.own_cores(&online)?;
        for cpu in &online {
            let core = cores.first(*cpu).or_else(|| own_cores.get(cpu).copied()).unwrap_or(*cpu);
            // A cluster of one core is none.
            let cluster = clusters.set(*cpu).filter(|set| set.len() > 1);
            let cluster = cluster.filter(|set| Some(*set) != cores.set(*cpu));
            draft.cpus.insert(
                *cpu,
                DraftCpu {
                    core,
                    cluster: cluster.map(|set| set[0]),
                    llc: llcs.get(cpu).copied().unwrap_or(core),
                    package: self.id(*cpu, "topology/physical_package_id")?.unwrap_or(0),
                    die: self.id(*cpu, "topology/die_id")?,
                    node: node_of.get(cpu).copied().unwrap_or(first_node),
                    capacity: self.capacity(*cpu)?,
                    packing_priority: self.priority(*cpu)?,
                    kind: kinds.get(cpu).copied(),
                    isolated: isolated.contains(cpu),
                    nohz_full: nohz_full.contains(cpu),
                },
            );
        }
        if llcs.is_empty() {
            draft.notes.push(
                "caches are not known: each core is taken to have its own, as kernels do"
                    .to_owned(),
            );
        }
        let stray = node_of.keys().find(|cpu| !is_online(cpu));
        if let Some(cpu) = stray {
            draft.notes.push(format!("CPU {cpu} is in a node's list, but not online"));
        }
        settle_caches(&mut draft);
        settle_clusters(&mut draft);
        settle_priorities(&mut draft);
        settle_dies(&mut draft);
        draft.caches = caches;
        Ok(draft)
    }

    /// The CPUs that are online, in order.
    fn online(&self) -> Result<Vec<u32>, Wrong> {
        let online = match self.list("cpu/online")? {
            Some(online) => online,
            // Only CPUs that are online have a topology.
            None => self.files.cpus(),
        };
        if online.is_empty() {
            return Err("no CPU is online: cpu/online and cpu/cpu0/topology are missing or empty"
                .to_owned());
        }
        Ok(online)
    }

    fn list(&self, path: &str) -> Result<Option<Vec<u32>>, Wrong> {
        let Some(text) = self.files.get(path) else { return Ok(None) };
        parse_list(text).map(Some).map_err(|error| format!("{path}: {}", error.message))
    }

    fn set(&self, path: &str) -> Result<BTreeSet<u32>, Wrong> {
        Ok(self.list(path)?.unwrap_or_default().into_iter().collect())
    }

    fn number(&self, path: &str) -> Result<Option<i64>, Wrong> {
        let Some(text) = self.files.get(path) else { return Ok(None) };
        let wrong =
            || format!("{path}: `{}` is not a number", slicewise_input::shorten(text.trim()));
        text.trim().parse().map(Some).map_err(|_| wrong())
    }

    /// A number that names something of a CPU; -1 is none.
    fn id(&self, cpu: u32, file: &str) -> Result<Option<u32>, Wrong> {
        let path = format!("cpu/cpu{cpu}/{file}");
        match self.number(&path)? {
            None | Some(-1) => Ok(None),
            Some(id) => {
                u32::try_from(id).map(Some).map_err(|_| format!("{path}: {id} is out of range"))
            }
        }
    }

    /// The lists of CPUs in the first of these files that a CPU has, without those that are offline.
    fn sets(&self, online: &[u32], names: &[&str]) -> Result<Partition, Wrong> {
        let mut partition = Partition::default();
        for cpu in online {
            let path = |name: &str| format!("cpu/cpu{cpu}/{name}");
            let Some(name) = names.iter().find(|name| self.files.get(&path(name)).is_some()) else {
                continue;
            };
            self.tell(&mut partition, *cpu, online, &path(name), name)?;
        }
        Ok(partition)
    }

    /// Has a CPU tell with whom it shares.
    fn tell(
        &self,
        partition: &mut Partition,
        cpu: u32,
        online: &[u32],
        path: &str,
        name: &str,
    ) -> Result<(), Wrong> {
        let mut set = self.list(path)?.unwrap_or_default();
        set.retain(|cpu| online.binary_search(cpu).is_ok());
        if set.binary_search(&cpu).is_err() {
            // Some virtual machines tell nothing at all.
            return if set.is_empty() {
                Ok(())
            } else {
                Err(format!("{path}: the CPU itself is missing"))
            };
        }
        partition
            .tell(cpu, set)
            .map_err(|other| format!("{path} and cpu/cpu{other}/{name} contradict each other"))
    }

    /// Cores by their ids, where there are no lists of siblings: ids are those of a package, or of a die.
    fn own_cores(&self, online: &[u32]) -> Result<BTreeMap<u32, u32>, Wrong> {
        let mut first = BTreeMap::new();
        let mut cores = BTreeMap::new();
        for cpu in online {
            let Some(core) = self.id(*cpu, "topology/core_id")? else { continue };
            let package = self.id(*cpu, "topology/physical_package_id")?;
            let die = self.id(*cpu, "topology/die_id")?;
            cores.insert(*cpu, *first.entry((package, die, core)).or_insert(*cpu));
        }
        Ok(cores)
    }

    fn caches(&self, online: &[u32]) -> Result<Vec<DraftCache>, Wrong> {
        let mut partitions: BTreeMap<(u32, CacheKind), Partition> = BTreeMap::new();
        let mut sizes = BTreeMap::new();
        for cpu in online {
            for index in 0..files::CACHES_MAX {
                let name = |file: &str| format!("cache/index{index}/{file}");
                let path = |file: &str| format!("cpu/cpu{cpu}/{}", name(file));
                let Some(number) = self.number(&path("level"))? else { continue };
                let level = u32::try_from(number).ok().filter(|level| (1..=9).contains(level));
                let wrong = || format!("{}: {number} must be 1 to 9", path("level"));
                let level = level.ok_or_else(wrong)?;
                let kind = match self.files.get(&path("type")) {
                    Some("Data") => CacheKind::Data,
                    Some("Instruction") => CacheKind::Instruction,
                    _ => CacheKind::Unified,
                };
                let partition = partitions.entry((level, kind)).or_default();
                let (list, name) = (path("shared_cpu_list"), name("shared_cpu_list"));
                self.tell(partition, *cpu, online, &list, &name)?;
                let size = self.files.get(&path("size")).and_then(size);
                sizes.entry((level, kind, *cpu)).or_insert(size);
            }
        }
        let of = |((level, kind), partition): ((u32, CacheKind), Partition)| {
            partition.into_sets().map(move |cpus| (level, kind, cpus))
        };
        let cache = |(level, kind, cpus): (u32, CacheKind, Vec<u32>)| {
            let size_bytes = sizes.get(&(level, kind, cpus[0])).copied().flatten();
            DraftCache { level, kind, cpus, size_bytes }
        };
        Ok(partitions.into_iter().flat_map(of).map(cache).collect())
    }

    fn nodes(&self, draft: &mut Draft) -> Result<(), Wrong> {
        let mut numbers = match self.list("node/online")? {
            Some(numbers) => numbers,
            None => self.files.nodes(),
        };
        if numbers.is_empty() {
            numbers = vec![0];
        }
        if let Some(number) = numbers.iter().find(|number| **number >= NODES_MAX) {
            return Err(format!(
                "node/online: there is no node {number}: at most {NODES_MAX} are known"
            ));
        }
        for number in &numbers {
            let memory_bytes =
                self.files.get(&format!("node/node{number}/meminfo")).and_then(mem_total);
            draft.nodes.insert(*number, DraftNode { name: None, memory_bytes });
            let path = format!("node/node{number}/distance");
            let Some(text) = self.files.get(&path) else { continue };
            let row: Result<Vec<u32>, _> = text.split_whitespace().map(str::parse).collect();
            let row = row.map_err(|_| {
                format!("{path}: `{}` are not distances", slicewise_input::shorten(text.trim()))
            })?;
            if row.len() != numbers.len() {
                return Err(format!(
                    "{path}: {} distances, but {} nodes are online",
                    row.len(),
                    numbers.len()
                ));
            }
            draft
                .distances
                .extend(numbers.iter().zip(row).map(|(to, distance)| ((*number, *to), distance)));
        }
        // All or none: a hole in the matrix is no distance of 20.
        let known = draft.distances.len();
        if known > 0 && known < numbers.len() * numbers.len() {
            let lacking =
                numbers.iter().find(|number| !draft.distances.contains_key(&(**number, **number)));
            return Err(format!("node/node{}/distance is missing", lacking.copied().unwrap_or(0)));
        }
        Ok(())
    }

    fn nodes_of_cpus(&self, draft: &Draft) -> Result<BTreeMap<u32, u32>, Wrong> {
        let mut of = BTreeMap::new();
        for node in draft.nodes.keys() {
            let cpus = self.list(&format!("node/node{node}/cpulist"))?.unwrap_or_default();
            for cpu in cpus {
                if let Some(other) = of.insert(cpu, *node) {
                    return Err(format!("CPU {cpu} is in the lists of nodes {other} and {node}"));
                }
            }
        }
        Ok(of)
    }

    fn capacity(&self, cpu: u32) -> Result<u32, Wrong> {
        let path = format!("cpu/cpu{cpu}/cpu_capacity");
        match self.number(&path)? {
            None => Ok(CAPACITY_MAX),
            Some(capacity) => {
                let known = u32::try_from(capacity).ok().filter(|c| (1..=CAPACITY_MAX).contains(c));
                known.ok_or_else(|| format!("{path}: {capacity} must be 1 to {CAPACITY_MAX}"))
            }
        }
    }

    fn priority(&self, cpu: u32) -> Result<Option<i32>, Wrong> {
        let priority = self.number(&format!("cpu/cpu{cpu}/acpi_cppc/highest_perf"))?;
        Ok(priority.and_then(|priority| i32::try_from(priority).ok()))
    }

    /// Where the kernel's drivers tell hybrid cores apart.
    fn kinds(&self) -> Result<BTreeMap<u32, Kind>, Wrong> {
        let of = |path, kind| {
            let cpus = self.list(path)?.unwrap_or_default();
            Ok::<_, Wrong>(cpus.into_iter().map(move |cpu| (cpu, kind)))
        };
        let fast = of("cpu_core/cpus", Kind::Performance)?;
        let small: Vec<_> = of("cpu_atom/cpus", Kind::Efficiency)?.collect();
        // Without small cores there is nothing to tell apart.
        if small.is_empty() { Ok(BTreeMap::new()) } else { Ok(fast.chain(small).collect()) }
    }
}

/// The last-level cache of each CPU that has caches, by its first CPU: the one of the highest level.
fn last_level_caches(caches: &[DraftCache]) -> BTreeMap<u32, u32> {
    let shared = |cache: &&DraftCache| cache.kind != CacheKind::Instruction && cache.level > 1;
    let mut by_level: Vec<&DraftCache> = caches.iter().filter(shared).collect();
    by_level.sort_by_key(|cache| cache.level);
    let of = |cache: &&DraftCache| {
        let first = cache.cpus[0];
        cache.cpus.iter().map(move |cpu| (*cpu, first)).collect::<Vec<_>>()
    };
    by_level.iter().flat_map(of).collect()
}

/// Packages share no cache. Kernels on Arm that are told of none make one up for all CPUs, and balance
/// within packages; there, a cluster that is all of a cache is none.
fn settle_caches(draft: &mut Draft) {
    let mut first_of: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for (number, cpu) in &mut draft.cpus {
        cpu.llc = *first_of.entry((cpu.llc, cpu.package)).or_insert(*number);
    }
    // Only x86 tells dies.
    if draft.cpus.values().any(|cpu| cpu.die.is_some()) {
        return;
    }
    let mut clusters: BTreeMap<u32, BTreeSet<Option<u32>>> = BTreeMap::new();
    for cpu in draft.cpus.values() {
        clusters.entry(cpu.llc).or_default().insert(cpu.cluster);
    }
    for cpu in draft.cpus.values_mut().filter(|cpu| clusters[&cpu.llc].len() == 1) {
        cpu.cluster = None;
    }
}

/// A cluster that is more than a cache, or parts of two, is none.
fn settle_clusters(draft: &mut Draft) {
    let mut llc_of: BTreeMap<u32, u32> = BTreeMap::new();
    let mut torn = BTreeSet::new();
    for cpu in draft.cpus.values() {
        let Some(cluster) = cpu.cluster else { continue };
        if *llc_of.entry(cluster).or_insert(cpu.llc) != cpu.llc {
            torn.insert(cluster);
        }
    }
    for cpu in draft.cpus.values_mut() {
        cpu.cluster = cpu.cluster.filter(|cluster| !torn.contains(cluster));
    }
    if !torn.is_empty() {
        draft.notes.push("clusters larger than the last-level cache are left out".to_owned());
    }
}

/// Priorities count only where they differ.
fn settle_priorities(draft: &mut Draft) {
    let priorities: BTreeSet<_> = draft.cpus.values().map(|cpu| cpu.packing_priority).collect();
    if priorities.len() < 2 || priorities.contains(&None) {
        for cpu in draft.cpus.values_mut() {
            cpu.packing_priority = None;
        }
    } else {
        draft.notes.push(
            "packing priorities are firmware's highest_perf: a kernel goes by them only if its driver \
             says so (sched_itmt_enabled)"
                .to_owned(),
        );
    }
}

/// Dies are told only where a package has several.
fn settle_dies(draft: &mut Draft) {
    let mut dies: BTreeMap<u32, BTreeSet<Option<u32>>> = BTreeMap::new();
    for cpu in draft.cpus.values() {
        dies.entry(cpu.package).or_default().insert(cpu.die);
    }
    let unknown = draft.cpus.values().any(|cpu| cpu.die.is_none());
    if unknown || dies.values().all(|dies| dies.len() == 1) {
        for cpu in draft.cpus.values_mut() {
            cpu.die = None;
        }
    }
}

/// `32K`, `16384K`, `8M`: bytes.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "kB" => 10,
        "M" | "MB" => 20,
        "G" | "GB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Of `Node 0 MemTotal: 475996 kB`: bytes.
fn mem_total(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("MemTotal:"))?;
    let (_, rest) = line.split_once("MemTotal:")?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
