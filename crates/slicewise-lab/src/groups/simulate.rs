//! The same groups in Slicewise: run to both moments, as the files were read at both.

use slicewise_machine::{Costs, Machine, MachineConfig, Preemption};
use slicewise_report::GroupMeter;
use slicewise_sched::Profile;
use slicewise_workload::{Severity, settle_cgroups};

use super::figures::GroupFigures;
use super::{Cell, Figures, GroupCase};
use crate::HZ;
use crate::failure::{Failure, Result};
use crate::kernels::profile_of;
use crate::simulate::Guest;

/// What the groups of a case do under the profile of a cell's kernel.
pub(crate) fn run(case: &GroupCase, cell: &Cell) -> Result<Figures> {
    let profile = profile_of(&cell.series, &cell.package)?;
    let begin_ns = u64::from(case.warmup_ms) * 1_000_000;
    let until = |ns: u64| {
        run_until(case, &profile, Guest::of(&cell.series).costs, ns)
            .map_err(|message| Failure::new(format!("case {}: {message}", case.name)))
    };
    let before = until(begin_ns)?;
    let after = until(begin_ns + cell.kernel.elapsed_us * 1_000)?;
    Ok(after.since(&before))
}

fn run_until(
    case: &GroupCase,
    profile: &Profile,
    costs: Costs,
    duration_ns: u64,
) -> std::result::Result<Figures, String> {
    let mut loaded = case.loaded()?;
    let said = settle_cgroups(&mut loaded, profile);
    if let Some(error) = said.iter().find(|one| one.severity == Severity::Error) {
        return Err(error.message.clone());
    }
    let preemption = if profile.lazy_preemption { Preemption::Lazy } else { Preemption::Voluntary };
    let config = MachineConfig {
        profile: *profile,
        features: profile.features,
        base_slice_ns: None,
        cpus: case.cpus,
        hz: HZ,
        smp: slicewise_sched::SmpConfig::default(),
        tick_phase_ns: 0,
        tick_skew_ns: 0,
        preemption,
        costs,
        speed: slicewise_machine::SpeedModel::default(),
        nohz_full: slicewise_sched::CpuSet::Inline(0),
        seed: 1,
        duration_ns,
    };
    let mut meter = GroupMeter::new(case.cpus, HZ);
    let mut machine =
        Machine::new(&config, &loaded.workload, &mut meter).map_err(|error| error.to_string())?;
    let summary = machine.run().map_err(|error| error.to_string())?;
    drop(machine);
    let groups = meter.figures().into_iter().zip(&summary.groups).map(|(seen, counted)| {
        let stats = counted.bandwidth;
        let figures = GroupFigures {
            usage_us: seen.usage_ns / 1_000,
            nr_periods: stats.nr_periods,
            nr_throttled: stats.nr_throttled,
            throttled_us: stats.throttled_ns / 1_000,
            nr_bursts: stats.nr_bursts,
            burst_us: stats.burst_ns / 1_000,
            throttled_local_us: seen.local_throttled_ns / 1_000,
            some_us: seen.some.total_ns / 1_000,
            full_us: seen.full.total_ns / 1_000,
        };
        (seen.path, figures)
    });
    Ok(Figures { elapsed_us: duration_ns / 1_000, groups: groups.collect() })
}
