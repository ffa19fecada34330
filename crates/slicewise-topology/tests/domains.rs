//! The core's scheduling domains beside those of real kernels (`truth/`).

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use slicewise_sched::Profile;
use slicewise_sched::domains::{Domain, DomainGroup, Domains};
use slicewise_sched::mask::CpuMask;
use slicewise_sched::topology::{CpuPlace, Topology};
use slicewise_topology::{SysFiles, from_sysfs};
use support::{KERNELS, cases, domains, root_domains, snapshot};

/// A machine's domains, told in the kernel's numbers of CPUs.
struct Ours {
    numbers: Vec<u32>,
    domains: Domains,
}

impl Ours {
    fn of(case: &str, kernel: &str) -> Self {
        let files = SysFiles::from_lines(&snapshot(case, kernel)).unwrap();
        let machine = from_sysfs(&files, case).unwrap();
        let topology: &Topology = &match (case.starts_with("arm-"), kernel) {
            // Debian builds these without SCHED_CLUSTER.
            (true, "6.1" | "6.12") => without_clusters(machine.topology()),
            _ => machine.topology().clone(),
        };
        let numbers: Vec<u32> = machine.cpus().iter().map(|cpu| cpu.number).collect();
        // Those made later have taken CPUs from those made before.
        // The partition of these two is an isolated one.
        let isolated = |number: &u32| case.ends_with("-isolated") && [2, 3].contains(number);
        let roots = root_domains(case, kernel).into_iter().rev().map(|span| {
            let at = |number: &u32| numbers.iter().position(|own| own == number);
            let balanced = span.iter().filter(|number| !isolated(number));
            let mut mask = CpuMask::none(topology.nr_cpus());
            mask.extend(balanced.filter_map(at).map(|at| at as u32));
            mask
        });
        let roots: Vec<CpuMask> = roots.collect();
        // Kernels know the processor, sysfs does not tell.
        let zen = if case.starts_with("amd-") { 32 } else { topology.reclaim_distance() };
        let domains = Domains::new(&topology.clone().with_reclaim_distance(zen), &roots);
        Self { numbers, domains }
    }

    fn told(&self, cpus: &CpuMask) -> Vec<u32> {
        let mut cpus: Vec<u32> = cpus.iter().map(|cpu| self.numbers[cpu as usize]).collect();
        cpus.sort_unstable();
        cpus
    }

    fn group(&self, group: &DomainGroup) -> (Vec<u32>, Option<Vec<u32>>) {
        let span = self.told(&group.cpus);
        let balancers = self.told(&group.balancers);
        let mask = (balancers != span).then_some(balancers);
        (span, mask)
    }

    fn groups(&self, domain: &Domain, local: u32) -> Vec<(Vec<u32>, Option<Vec<u32>>)> {
        let groups = domain.groups.len();
        let order = (0..groups).map(|step| (local as usize + step) % groups);
        order.map(|at| self.group(&domain.groups[at])).collect()
    }
}

fn without_clusters(topology: &Topology) -> Topology {
    let places = topology.places().iter().map(|place| CpuPlace { cluster: None, ..*place });
    let nodes = 0..topology.nr_nodes();
    let row = |from| nodes.clone().filter_map(|to| topology.distance(from, to)).collect();
    Topology::new(places.collect(), nodes.clone().map(row).collect()).unwrap()
}

fn words(text: String) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_cpu_has_the_domains_real_kernels_give_it() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (case, kernel) in cases().iter().flat_map(|case| KERNELS.map(|kernel| (case, kernel))) {
        let ours = Ours::of(case, kernel);
        let theirs = domains(case, kernel);
        for (at, number) in ours.numbers.iter().enumerate() {
            let own: Vec<_> = ours.domains.of(at as u32).collect();
            let real: Vec<_> = theirs.iter().filter(|domain| domain.cpu == *number).collect();
            if own.len() != real.len() {
                let spans = |spans: Vec<Vec<u32>>| format!("{spans:?}");
                wrong.push(format!(
                    "{case} {kernel} CPU {number}: {} but {}",
                    spans(own.iter().map(|(_, domain)| ours.told(&domain.span)).collect()),
                    spans(real.iter().map(|domain| domain.span.clone()).collect()),
                ));
                continue;
            }
            for ((link, own), real) in own.into_iter().zip(real) {
                compared += 1;
                let name = if real.name == "DIE" { "PKG" } else { &real.name };
                // What 6.1 calls it.
                let flags = match kernel {
                    "6.1" => own.flags.to_string().replace("SHARE_LLC", "SHARE_PKG_RESOURCES"),
                    _ => own.flags.to_string(),
                };
                let flags = words(flags);
                // Decides nothing, and is gone in 6.18 and 7.2.
                let told = |flags: &[String]| -> Vec<String> {
                    flags.iter().filter(|flag| *flag != "OVERLAP").cloned().collect()
                };
                let intervals = Profile::named(kernel).unwrap().smp.intervals;
                let groups = ours.groups(own, link.local_group);
                let local = &own.groups[link.local_group as usize];
                let mut differs = Vec::new();
                let mut check = |what: &str, own: String, real: String| {
                    if own != real {
                        differs.push(format!("{what} {own} but {real}"));
                    }
                };
                check("name", own.level.to_string(), name.to_owned());
                check("span", format!("{:?}", ours.told(&own.span)), format!("{:?}", real.span));
                check("flags", format!("{flags:?}"), format!("{:?}", told(&real.flags)));
                check("pct", own.imbalance_pct.to_string(), real.imbalance_pct.to_string());
                check("tries", own.cache_nice_tries.to_string(), real.cache_nice_tries.to_string());
                // 6.12 counts some CPUs that are about to go offline.
                let in_between = (case.as_str(), kernel) == ("2s-2c-2t-offline", "6.12");
                if !in_between {
                    let interval_ms = own.min_interval_ms(intervals);
                    check("interval", interval_ms.to_string(), real.min_interval_ms.to_string());
                }
                check("groups", format!("{groups:?}"), format!("{:?}", real.groups));
                if let Some(real) = &real.groups_flags {
                    let own = words(local.flags.to_string());
                    check("flags of groups", format!("{own:?}"), format!("{:?}", told(real)));
                }
                if !differs.is_empty() {
                    wrong.push(format!(
                        "{case} {kernel} CPU {number} {name}: {}",
                        differs.join("; ")
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}
