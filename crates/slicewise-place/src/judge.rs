//! What a run says of a placement, and which of several is best.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use slicewise_report::{PlaceFigures, RunReport};
use slicewise_sched::CpuSet;
use slicewise_topology::Machine;
use slicewise_workload::Loaded;

use crate::placements::{Placement, cores};
use crate::roles::{Role, Tasks, nodes_with_cpus};

/// What a workload is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Focus {
    /// The role of these tasks; `None` if all are as good.
    pub role: Option<Role>,
    /// Their names.
    pub names: BTreeSet<String>,
}

/// The tasks that a workload is about: those that launch, else real-time ones, else those that answer
/// requests, else all.
pub fn focus(loaded: &Loaded, tasks: &Tasks) -> Focus {
    let role = [Role::Launch, Role::RealTime, Role::Serving].into_iter().find(|it| tasks.any(*it));
    let all = loaded.workload.tasks.iter().zip(&tasks.tasks);
    let concerned = all.filter(|(_, task)| role.is_none_or(|role| role == task.role));
    Focus { role, names: concerned.map(|(spec, _)| spec.name.clone()).collect() }
}

/// The figures of a run that placements are judged by. Of several tasks the worst counts.
pub fn figures(report: &RunReport, focus: &Focus) -> PlaceFigures {
    let concerned = || report.tasks.iter().filter(|task| focus.names.contains(&task.name));
    let with_jobs = || concerned().filter(|task| task.response_ns.count > 0);
    let worst = |of: fn(&slicewise_report::TaskReport) -> u64| with_jobs().map(of).max();
    let busy_ns: u64 = report.cpus.iter().map(|cpu| cpu.busy_ns).sum();
    let cpu_ns = report.simulated_ns as f64 * report.cpus.len() as f64;
    let device_ns: u64 = report.devices.iter().map(|device| device.busy_ns).sum();
    let devices_ns = report.simulated_ns as f64 * report.devices.len() as f64;
    let others = report.tasks.iter().filter(|task| !focus.names.contains(&task.name));
    PlaceFigures {
        device_busy_share: (devices_ns > 0.0).then(|| device_ns as f64 / devices_ns),
        responses: concerned().map(|task| task.response_ns.count).sum(),
        response_p50_ns: worst(|task| task.response_ns.p50),
        response_p99_ns: worst(|task| task.response_ns.p99),
        response_max_ns: worst(|task| task.response_ns.max),
        // Who waits to the end has waited so long at least.
        sched_delay_p99_ns: concerned()
            .map(|task| task.sched_delay_ns.p99.max(task.unfinished_wait_ns.unwrap_or(0)))
            .max()
            .unwrap_or(0),
        migrations: report.tasks.iter().map(|task| task.migrations).sum(),
        cpu_busy_share: if cpu_ns > 0.0 { busy_ns as f64 / cpu_ns } else { 0.0 },
        others_cpu_time_ns: others.map(|task| task.cpu_time_ns).sum(),
        trace_hash: report.trace_hash.clone(),
    }
}

/// Two significant digits: figures of one seed say no more.
fn rounded(value: u64) -> u64 {
    let mut unit: u64 = 1;
    while value / unit >= 100 {
        unit *= 10;
    }
    (value / unit + u64::from(value % unit * 2 >= unit && unit > 1)) * unit
}

/// The placements from the best to the worst: where launching is what counts, the one that keeps devices
/// busiest, in whole per cent; then the shorter p99 of responses, the shorter p99 of waits, more CPU time for
/// the others, fewer migrations, each by two digits. Of equals the first comes first. Those that could not be run are last.
pub fn order(figures: &[Option<PlaceFigures>], focus: &Focus) -> Vec<usize> {
    let key = |at: &usize| {
        figures[*at].as_ref().map(|it| {
            let busy = it.device_busy_share.filter(|_| focus.role == Some(Role::Launch));
            let percent = busy.map_or(0, |share| (share * 100.0).round() as u64);
            let response = it.response_p99_ns.map_or(u64::MAX, rounded);
            let others = Reverse(rounded(it.others_cpu_time_ns));
            let delay = rounded(it.sched_delay_p99_ns);
            (Reverse(percent), response, delay, others, rounded(it.migrations))
        })
    };
    let mut order: Vec<usize> = (0..figures.len()).collect();
    // Stable: equals stay in their order.
    order.sort_by_key(|at| (figures[*at].is_none(), key(at)));
    order
}

/// So many columns a drawing of masks has at most, about.
const CELLS_MAX: usize = 48;
/// Machines of more nodes are drawn as one.
const NODES_MAX: usize = 16;

/// The CPUs drawn small, nodes between bars: who may run there. `█` everyone, `c` only tasks that a
/// placement wants alone (or the [`Focus`], where it claims nothing), `w` only others, `▒` some of both, `▀` one
/// thread of each core, `·` nobody. Where a column stands for several cores, the first of `c ▒ w ▀ █ ·` is
/// shown.
pub fn strip(
    loaded: &Loaded,
    machine: &Machine,
    placement: &Placement,
    tasks: &Tasks,
    focus: &Focus,
) -> String {
    const FIRST: [char; 6] = ['c', '▒', 'w', '▀', '█', '·'];
    let mut known: BTreeMap<(bool, Vec<u64>), &CpuSet> = BTreeMap::new();
    let words = machine.topology().nr_cpus().div_ceil(64) as usize;
    let mut last = None;
    let mut alone = vec![false; tasks.tasks.len()];
    for at in &placement.exclusive {
        alone[*at] = true;
    }
    for (at, mask) in placement.masks.iter().enumerate() {
        let is_alone = match placement.exclusive.is_empty() {
            true => focus.names.contains(&loaded.workload.tasks[at].name),
            false => alone[at],
        };
        // Most tasks are as the one before.
        if last != Some((is_alone, mask)) {
            known.insert((is_alone, (0..words).map(|word| mask.word(word)).collect()), mask);
            last = Some((is_alone, mask));
        }
    }
    let kinds: Vec<(bool, &CpuSet)> =
        known.iter().map(|((is_alone, _), mask)| (*is_alone, *mask)).collect();
    let symbol = |core: &Vec<slicewise_sched::CpuId>| {
        let on = |cpu| kinds.iter().filter(move |(_, mask)| mask.contains(cpu));
        let used = core.iter().filter(|cpu| on(**cpu).next().is_some()).count();
        let first: Vec<_> = core.iter().flat_map(|cpu| on(*cpu)).collect();
        let everyone = kinds.iter().all(|kind| first.contains(&kind));
        match (first.iter().any(|it| it.0), first.iter().any(|it| !it.0)) {
            (false, false) => '·',
            _ if everyone && used < core.len() => '▀',
            _ if everyone => '█',
            (true, true) => '▒',
            (true, false) => 'c',
            (false, true) => 'w',
        }
    };
    let nodes = nodes_with_cpus(machine);
    let parts: Vec<_> = match nodes.len() {
        0..=NODES_MAX => nodes.iter().map(|node| cores(machine, Some(*node))).collect(),
        _ => vec![cores(machine, None)],
    };
    let columns = CELLS_MAX / parts.len();
    let part = |cores: &Vec<_>| {
        let cells = cores.len().min(columns).max(1);
        let cell = |at: usize| {
            let of = &cores[at * cores.len() / cells..(at + 1) * cores.len() / cells];
            let shown: Vec<char> = of.iter().map(symbol).collect();
            FIRST.into_iter().find(|first| shown.contains(first)).unwrap_or('·')
        };
        (0..cells).map(cell).collect::<String>()
    };
    parts.iter().map(part).collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(p99: u64, busy: f64, migrations: u64) -> Option<PlaceFigures> {
        Some(PlaceFigures {
            device_busy_share: Some(busy),
            response_p99_ns: Some(p99),
            migrations,
            ..PlaceFigures::default()
        })
    }

    #[test]
    fn busy_devices_count_first_then_tails_then_migrations_and_equals_stay_in_order() {
        let launch = Focus { role: Some(Role::Launch), names: BTreeSet::new() };
        let serving = Focus { role: Some(Role::Serving), names: BTreeSet::new() };
        let runs = [run(1000, 0.90, 5), None, run(2000, 0.99, 5), run(1001, 0.90, 4)];
        assert_eq!(order(&runs, &launch), [2, 3, 0, 1]);
        assert_eq!(order(&runs, &serving), [3, 0, 2, 1]);
        let same = [run(1000, 0.9, 5), run(1004, 0.904, 5)];
        assert_eq!(order(&same, &launch), [0, 1]);
    }

    #[test]
    fn two_digits_are_kept() {
        let of = [0, 7, 99, 104, 105, 9_949, 9_950].map(rounded);
        assert_eq!(of, [0, 7, 99, 100, 110, 9_900, 10_000]);
        assert_eq!(rounded(u64::MAX), 18 * 10_u64.pow(18), "nothing overflows");
    }
}
