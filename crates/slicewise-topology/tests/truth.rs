//! What real kernels made of machines (`truth/`).

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use slicewise_sched::topology::CpuPlace;
use slicewise_topology::{SysFiles, from_sysfs};
use support::{KERNELS, cases, domains, root_domains, snapshot};

#[test]
fn every_recording_is_whole_and_of_one_piece() {
    assert_eq!(cases().len(), 30);
    for (case, kernel) in cases().iter().flat_map(|case| KERNELS.map(|kernel| (case, kernel))) {
        let roots = root_domains(case, kernel);
        assert!(!roots.is_empty(), "{case} {kernel}");
        let domains = domains(case, kernel);
        for domain in &domains {
            let shown = format!("{case} {kernel}: {domain:?}");
            assert!(domain.span.contains(&domain.cpu), "{shown}");
            // The groups cover the span, and the CPU is in the first of them.
            let mut covered: Vec<u32> =
                domain.groups.iter().flat_map(|(span, _)| span.clone()).collect();
            covered.sort_unstable();
            covered.dedup();
            let covers = case != "2n-asymmetric" || domain.name != "NUMA";
            assert!(!covers || covered == domain.span, "{shown}");
            assert!(domain.groups[0].0.contains(&domain.cpu), "{shown}");
            assert_eq!(domain.groups_flags.is_none(), kernel == "6.1", "{shown}");
        }
        // Of one CPU, domains grow.
        for pair in domains.windows(2).filter(|pair| pair[0].cpu == pair[1].cpu) {
            assert_eq!(pair[0].level + 1, pair[1].level);
            assert!(pair[0].span.iter().all(|cpu| pair[1].span.contains(cpu)));
        }
    }
}

#[test]
fn every_snapshot_of_a_real_kernel_is_a_machine() {
    for (case, kernel) in cases().iter().flat_map(|case| KERNELS.map(|kernel| (case, kernel))) {
        let files = SysFiles::from_lines(&snapshot(case, kernel)).unwrap();
        let machine =
            from_sysfs(&files, case).unwrap_or_else(|problem| panic!("{case}: {problem:?}"));
        let places = machine.topology().places();
        // What a kernel balances between siblings is a core, and what it takes to share a
        // cache does so.
        let of_number = |number: &u32| {
            let at = machine.cpus().iter().position(|cpu| cpu.number == *number);
            places[at.unwrap_or_else(|| panic!("{case}: CPU {number}"))]
        };
        for domain in domains(case, kernel) {
            let own = of_number(&domain.cpu);
            let alike = |same: &dyn Fn(&CpuPlace) -> bool| {
                domain.span.iter().all(|cpu| same(&of_number(cpu)))
            };
            match domain.name.as_str() {
                "SMT" => assert!(alike(&|place| place.core == own.core), "{case} {domain:?}"),
                "MC" => assert!(alike(&|place| place.llc == own.llc), "{case} {domain:?}"),
                "PKG" | "DIE" => {
                    assert!(alike(&|place| place.node == own.node), "{case} {domain:?}")
                }
                _ => {}
            }
        }
    }
}
