//! Machines by name.

use slicewise_sched::energy::{CapacityState, PerfDomain};

use crate::Machine;
use crate::layout::{Layout, add_caches};
use crate::machine::{CacheKind, Draft, DraftCpu, Kind};

/// A machine that is known by name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    /// What it is, in half a line.
    pub about: &'static str,
    build: fn(&str) -> Draft,
}

impl Preset {
    /// The machine.
    pub fn machine(&self) -> Machine {
        // A test builds them all.
        (self.build)(self.name).finish().unwrap_or_else(|error| unreachable!("{error}"))
    }
}

const GIB: u64 = 1 << 30;

/// All of them, smallest first.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "big-little",
        about: "4 small and 4 big cores, each kind with a cache of its own (Arm)",
        build: big_little,
    },
    Preset {
        name: "laptop-hybrid",
        about: "6 P cores of 2 threads, 8 E cores in clusters of 4 (Intel)",
        build: laptop_hybrid,
    },
    Preset {
        name: "one-socket",
        about: "16 cores of 2 threads, one cache, one memory node",
        build: one_socket,
    },
    Preset {
        name: "two-socket",
        about: "2 nodes of 48 CPUs and 192 GiB; memory 80 ns here, 150 ns there",
        build: two_socket,
    },
    Preset {
        name: "nps4",
        about: "2 sockets of 4 nodes each, caches of 8 cores of 2 threads (AMD, NPS4)",
        build: nps4,
    },
    Preset {
        name: "large-512",
        about: "512 CPUs: 2 sockets, 8 nodes, 32 caches of 8 cores of 2 threads",
        build: large_512,
    },
    Preset {
        name: "large-1024",
        about: "1,024 CPUs: 4 sockets, 16 nodes, 64 caches of 8 cores of 2 threads",
        build: large_1024,
    },
];

/// The preset of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

fn regular(name: &str, layout: &str) -> Draft {
    Layout::parse(layout).unwrap_or_else(|problem| unreachable!("{}", problem.message)).draft(name)
}

fn with_memory(mut draft: Draft, gib: u64) -> Draft {
    for node in draft.nodes.values_mut() {
        node.memory_bytes = Some(gib * GIB);
    }
    draft
}

/// Figures of caches are those of machines that are sold; nothing but drawings uses them.
fn with_caches(mut draft: Draft, l1_kib: u64, l2_kib: u64, l3_kib: u64) -> Draft {
    add_caches(&mut draft, 1, CacheKind::Data, l1_kib, |cpu| cpu.core);
    add_caches(&mut draft, 2, CacheKind::Unified, l2_kib, |cpu| cpu.core);
    add_caches(&mut draft, 3, CacheKind::Unified, l3_kib, |cpu| cpu.llc);
    draft
}

fn one_socket(name: &str) -> Draft {
    with_caches(with_memory(regular(name, "1s:16c:2t"), 64), 32, 1024, 64 << 10)
}

fn two_socket(name: &str) -> Draft {
    let mut draft = with_caches(with_memory(regular(name, "2s:48c"), 192), 48, 2048, 96 << 10);
    draft.latencies_ns = [((0, 0), 80), ((0, 1), 150), ((1, 0), 150), ((1, 1), 80)].into();
    draft
}

fn nps4(name: &str) -> Draft {
    with_caches(with_memory(regular(name, "2s:4n:2l:8c:2t"), 64), 32, 512, 32 << 10)
}

fn large_512(name: &str) -> Draft {
    with_caches(with_memory(regular(name, "2s:4n:4l:8c:2t"), 192), 32, 1024, 32 << 10)
}

fn large_1024(name: &str) -> Draft {
    with_caches(with_memory(regular(name, "4s:4n:4l:8c:2t"), 192), 32, 1024, 32 << 10)
}

/// Capacity and power, mW, of a small core: 110 uW for each MHz and V² (of its device tree), at 533, 999,
/// 1402, 1709 and 1844 MHz and 0.7 to 1.1 V. Figures of the right size, not measurements.
const SMALL_STATES: [(u32, u32); 5] = [(133, 29), (250, 70), (351, 125), (428, 188), (462, 245)];
/// The same of a big one: 550 uW, at 903, 1421, 1805, 2112 and 2362 MHz.
const BIG_STATES: [(u32, u32); 5] = [(391, 243), (616, 500), (782, 804), (915, 1162), (1024, 1572)];

/// Two clusters of four that share nothing but memory, as on a HiKey 960.
fn big_little(name: &str) -> Draft {
    let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
    for number in 0..8 {
        let big = number >= 4;
        let cpu = DraftCpu {
            llc: u32::from(big),
            capacity: if big { 1024 } else { 462 },
            kind: Some(if big { Kind::Performance } else { Kind::Efficiency }),
            ..DraftCpu::alone(number)
        };
        draft.cpus.insert(number, cpu);
    }
    let domain = |cpus: std::ops::Range<u32>, states: &[(u32, u32)]| PerfDomain {
        cpus: cpus.collect(),
        states: states
            .iter()
            .map(|(capacity, power)| CapacityState { capacity: *capacity, power: *power })
            .collect(),
    };
    draft.energy = vec![domain(0..4, &SMALL_STATES), domain(4..8, &BIG_STATES)];
    draft.nodes.entry(0).or_default().memory_bytes = Some(4 * GIB);
    add_caches(&mut draft, 1, CacheKind::Data, 32, |cpu| cpu.core);
    add_caches(&mut draft, 2, CacheKind::Unified, 1024, |cpu| cpu.llc);
    draft
}

/// P cores first, siblings side by side, as firmware numbers them. Priorities are such as firmware
/// gives (the highest performance of a core).
fn laptop_hybrid(name: &str) -> Draft {
    const P_CPUS: u32 = 12;
    let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
    for number in 0..20 {
        let cpu = match number < P_CPUS {
            true => DraftCpu {
                packing_priority: Some(60),
                kind: Some(Kind::Performance),
                ..DraftCpu::alone(number / 2)
            },
            false => DraftCpu {
                cluster: Some((number - P_CPUS) / 4),
                capacity: 608,
                packing_priority: Some(38),
                kind: Some(Kind::Efficiency),
                ..DraftCpu::alone(number - P_CPUS / 2)
            },
        };
        draft.cpus.insert(number, cpu);
    }
    draft.nodes.entry(0).or_default().memory_bytes = Some(16 * GIB);
    add_caches(&mut draft, 1, CacheKind::Data, 48, |cpu| cpu.core);
    // A cluster's cache is larger than a P core's.
    add_caches(&mut draft, 2, CacheKind::Unified, 1280, |cpu| match cpu.cluster {
        Some(cluster) => 1000 + cluster,
        None => cpu.core,
    });
    for cache in draft.caches.iter_mut().filter(|cache| cache.level == 2 && cache.cpus.len() == 4) {
        cache.size_bytes = Some(2048 << 10);
    }
    add_caches(&mut draft, 3, CacheKind::Unified, 24 << 10, |cpu| cpu.llc);
    draft.notes.push(
        "a kernel that has SMT on tells P and E cores apart by packing priorities alone, and takes all to be \
         of one capacity"
            .to_owned(),
    );
    draft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_machine() {
        let sizes: Vec<u32> =
            PRESETS.iter().map(|preset| preset.machine().topology().nr_cpus()).collect();
        assert_eq!(sizes, [8, 20, 32, 96, 256, 512, 1024]);
        assert!(PRESETS.iter().all(|preset| preset.machine().name() == preset.name));
    }

    #[test]
    fn two_sockets_have_the_latencies_that_were_measured() {
        let machine = preset("two-socket").unwrap().machine();
        assert_eq!(machine.latencies_ns(), [[80, 150], [150, 80]]);
        assert!(!machine.latencies_are_derived());
        let memory: u64 = machine.nodes().iter().filter_map(|node| node.memory_bytes).sum();
        assert_eq!(memory, 384 * GIB);
    }

    #[test]
    fn latencies_follow_from_distances_where_nobody_says_another() {
        let machine = preset("nps4").unwrap().machine();
        assert_eq!(machine.latencies_ns()[0][..5], [80, 96, 96, 96, 256]);
        assert!(machine.latencies_are_derived());
    }
}
