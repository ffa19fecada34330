//! What real kernels made of machines (`truth/`).

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::{KERNELS, cases, domains, root_domains};

#[test]
fn every_recording_is_whole_and_of_one_piece() {
    assert!(cases().len() >= 7);
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
            assert_eq!(covered, domain.span, "{shown}");
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
