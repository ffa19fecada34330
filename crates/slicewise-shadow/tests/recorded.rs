//! Traces of real kernels, recorded from boot, one CPU: the core makes every pick the kernel made.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use slicewise_ftrace::Reader;
use slicewise_sched::Profile;
use slicewise_shadow::{Clock, ShadowConfig, ShadowReport, TickSource, render, replay, survey};

fn shadow(file: &str, kernel: &str) -> ShadowReport {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(file);
    let survey = survey(&mut Reader::open(&path).unwrap()).unwrap();
    let mut config = ShadowConfig::new(Profile::named(kernel).unwrap());
    // The first seconds are the boot, where the kernel switches events on and off.
    config.warm_up_ns = 5_000_000_000;
    replay(&mut Reader::open(&path).unwrap(), &survey, &config).unwrap()
}

fn every_pick_agrees(report: &ShadowReport, picks: u64) {
    assert_eq!((report.total.picks, report.total.agreed), (picks, picks), "{}", render(report));
    assert_eq!(report.missed_preemptions, 0);
    assert!(report.divergences.is_empty());
    assert_eq!(report.differs_for.times, 0);
    assert_eq!(
        (report.hz, report.ticks, report.clock),
        (250, TickSource::Recorded, Clock::Charges)
    );
    assert_eq!((report.excluded.unannounced, report.excluded.inconsistent), (0, 0));
    assert_eq!((report.lost_places, report.malformed, report.unmarked_gaps), (0, 0, 0));
}

#[test]
fn nice_0_beside_nice_1_on_6_1() {
    let report = shadow("nice01-6.1.dat", "6.1");
    every_pick_agrees(&report, 904);
    assert_eq!(report.unasked_preemptions, 0);
    // 6.1 records virtual runtimes: they are the same to the ns.
    let vruntime = report.values.vruntime.unwrap();
    assert_eq!(vruntime.max_ns, 0);
    assert!(vruntime.compared > 1_000);
}

#[test]
fn a_periodic_thread_among_hogs_on_6_12() {
    let report = shadow("periodic-6.12.dat", "6.12");
    every_pick_agrees(&report, 1107);
    assert_eq!(report.unasked_preemptions, 0);
}

#[test]
fn four_nice_values_on_7_2() {
    let report = shadow("nicemix-7.2.dat", "7.2");
    every_pick_agrees(&report, 2351);
    let hrtick = report.hrtick.unwrap();
    assert_eq!((hrtick.fired, hrtick.as_asked, hrtick.missing), (1467, 1467, 0));
}

#[test]
fn another_kernel_s_rules_do_not_agree() {
    let report = shadow("periodic-6.12.dat", "6.1");
    assert!(report.total.agreed < report.total.picks * 9 / 10, "{}", render(&report));
    assert_eq!(report.divergences.len(), 10);
    assert!(render(&report).contains("C> "));
}
