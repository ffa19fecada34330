use super::*;
use crate::topology::CpuPlace;

/// Packages of caches of cores of threads; a node each cache, or one for all.
fn machine(packages: u32, caches: u32, cores: u32, threads: u32, nodes: bool) -> Topology {
    let per_cache = cores * threads;
    let cpus = packages * caches * per_cache;
    let places = (0..cpus).map(|cpu| {
        let llc = cpu / per_cache;
        let package = llc / caches;
        let node = if nodes { package } else { 0 };
        CpuPlace { llc, package, node, ..CpuPlace::alone(cpu / threads) }
    });
    let count = if nodes { packages } else { 1 };
    let distances =
        (0..count).map(|from| (0..count).map(|to| if from == to { 10 } else { 20 }).collect());
    Topology::new(places.collect(), distances.collect()).unwrap()
}

fn all(topology: &Topology) -> Domains {
    Domains::new(topology, &[CpuMask::all(topology.nr_cpus())])
}

fn chain(domains: &Domains, cpu: u32) -> Vec<(String, Vec<u32>)> {
    domains.of(cpu).map(|(_, d)| (d.level.to_string(), d.span.iter().collect())).collect()
}

#[test]
fn levels_that_add_nothing_are_left_out() {
    let domains = all(&machine(1, 1, 4, 1, true));
    assert_eq!(chain(&domains, 2), [("MC".to_owned(), vec![0, 1, 2, 3])]);
    let (_, domain) = domains.of(0).next().unwrap();
    assert_eq!(domain.groups.len(), 4);
    assert!(domain.groups.iter().all(|group| group.flags == DomainFlags::NONE), "single CPUs");
    assert!(chain(&all(&machine(1, 1, 1, 1, true)), 0).is_empty(), "one CPU balances nothing");
}

#[test]
fn two_sockets_of_two_caches_with_siblings_have_four_levels() {
    let domains = all(&machine(2, 2, 2, 2, true));
    let names: Vec<String> = chain(&domains, 5).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["SMT", "MC", "PKG", "NUMA"]);
    let (link, smt) = domains.of(5).next().unwrap();
    assert_eq!((smt.span.iter().collect::<Vec<_>>(), link.local_group), (vec![4, 5], 1));
    assert_eq!(
        (smt.imbalance_pct, smt.cache_nice_tries, smt.min_interval_ms(IntervalRule::Span)),
        (110, 0, 2)
    );
    let numa = domains.of(5).next_back().unwrap().1;
    assert_eq!((numa.groups.len(), numa.groups[0].cores, numa.groups[0].weight), (2, 4, 8));
    assert_eq!(numa.imb_numa_nr, 2, "two caches a node, and no wider domain");
    assert_eq!(domains.llcs.len(), 4);
}

#[test]
fn wx41_a_node_of_sixteen_cpus_with_one_cache_lets_two_run_together() {
    let domains = all(&machine(2, 1, 16, 1, true));
    let numa = domains.of(0).next_back().unwrap().1;
    assert_eq!(numa.level, DomainLevel::Numa(1));
    assert!(numa.groups[0].flags.has(DomainFlags::PREFER_SIBLING), "of the node below");
    let node = &machine(2, 1, 16, 1, true);
    let (_, cache) = all(node).of(0).next().map(|(link, d)| (*link, d.clone())).unwrap();
    assert_eq!((cache.level, cache.weight), (DomainLevel::Cache, 16));
}

#[test]
fn isolated_cpus_have_no_domains_and_partitions_none_in_common() {
    let topology = machine(1, 1, 8, 1, true);
    let of = |cpus: &[u32]| {
        let mut mask = CpuMask::none(8);
        cpus.iter().for_each(|cpu| mask.insert(*cpu));
        mask
    };
    let domains = Domains::new(&topology, &[of(&[0, 1, 2]), of(&[2, 4, 5])]);
    assert_eq!(chain(&domains, 1), [("MC".to_owned(), vec![0, 1, 2])]);
    assert_eq!(chain(&domains, 4), [("MC".to_owned(), vec![4, 5])], "2 is in the first");
    assert!(chain(&domains, 3).is_empty());
    assert_eq!(domains.partitions, 2 + 3);
    assert_ne!(domains.partition[3], domains.partition[6]);
    assert_eq!(domains.llcs.len(), 2 + 3, "an isolated CPU shares its cache with nobody");
}

#[test]
fn slow_cpus_are_told_from_fast_ones() {
    let place = |core: u32| CpuPlace {
        cluster: Some(core / 4),
        capacity: if core < 4 { 446 } else { 1024 },
        ..CpuPlace::alone(core)
    };
    let topology = Topology::new((0..8).map(place).collect(), vec![vec![10]]).unwrap();
    let domains = all(&topology);
    let flags: Vec<DomainFlags> = domains.of(0).map(|(_, domain)| domain.flags).collect();
    assert!(!flags[0].has(DomainFlags::ASYM_CPUCAPACITY), "a cluster of alike CPUs");
    assert!(!flags[0].has(DomainFlags::PREFER_SIBLING), "work is not spread where CPUs differ");
    assert!(flags[1].has(DomainFlags::ASYM_CPUCAPACITY_FULL));
}

#[test]
fn nodes_in_a_line_see_their_neighbours_first() {
    let place = |cpu: u32| CpuPlace { node: cpu, llc: cpu, package: cpu, ..CpuPlace::alone(cpu) };
    let row = |from: u32| (0..4).map(|to: u32| 10 + 10 * from.abs_diff(to)).collect();
    let topology = Topology::new((0..4).map(place).collect(), (0..4).map(row).collect()).unwrap();
    let domains = all(&topology);
    let spans: Vec<Vec<u32>> = chain(&domains, 1).into_iter().map(|(_, span)| span).collect();
    assert_eq!(spans, [vec![0, 1, 2], vec![0, 1, 2, 3]]);
    let spans: Vec<Vec<u32>> = chain(&domains, 3).into_iter().map(|(_, span)| span).collect();
    assert_eq!(spans, [vec![2, 3], vec![1, 2, 3], vec![0, 1, 2, 3]]);
    let far = domains.of(3).next_back().unwrap().1;
    assert!(!far.flags.has(DomainFlags::WAKE_AFFINE), "40 is too far to wake over");
}
