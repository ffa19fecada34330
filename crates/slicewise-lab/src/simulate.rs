//! The same case in Slicewise.

use serde_json::{Map, Value, json};
use slicewise_machine::{Costs, Machine, MachineConfig, Preemption};
use slicewise_sched::Profile;
use slicewise_trace::{Event, Left, Sink, Slot, TaskInfo};
use slicewise_workload::{Format, apply_set, load};

use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::figures::Figures;

/// Ticks a second of Debian's kernels.
const HZ: u32 = 250;
/// The trace of a real kernel ends that much before rt-app does.
const TAIL_NS: u64 = 300_000_000;

/// Runs the case with a kernel's profile. `demand_us` replaces the `run` of tasks, by name.
pub(crate) fn run(case: &Case, series: &str, demand_us: &[(String, u64)]) -> Result<Figures> {
    let profile = Profile::named(series)
        .ok_or_else(|| Failure::new(format!("there is no profile for kernel {series}")))?;
    let mut all: Option<Figures> = None;
    for run in 0..case.runs {
        let figures = run_once(case, &profile, demand_us, run)?;
        match &mut all {
            Some(all) => all.merge(&figures),
            None => all = Some(figures),
        }
    }
    all.ok_or_else(|| Failure::new(format!("case {}: no runs", case.name)))
}

fn run_once(
    case: &Case,
    profile: &Profile,
    demand_us: &[(String, u64)],
    run: u32,
) -> Result<Figures> {
    let wrong = |message: String| Failure::new(format!("case {}: {message}", case.name));
    let mut workload = case.workload().map_err(wrong)?;
    for (name, demand) in demand_us {
        if let Some(value) = workload.pointer_mut(&format!("/tasks/{name}/run")) {
            *value = json!(demand);
        }
    }
    if case.runs > 1 {
        spread(&mut workload, u64::from(case.spread_us), u64::from(run));
    }
    let mut loaded = load(&workload.to_string(), Format::RtApp).map_err(|diagnostics| {
        wrong(diagnostics.first().map_or_else(String::new, |d| d.message.clone()))
    })?;
    for set in &case.set {
        apply_set(&mut loaded, set).map_err(|message| wrong(format!("set {set}: {message}")))?;
    }
    let mut features = profile.features;
    for word in &loaded.settings.features {
        features.set(word).map_err(wrong)?;
    }
    let preemption = if profile.lazy_preemption { Preemption::Lazy } else { Preemption::Full };
    let config = MachineConfig {
        profile: *profile,
        features,
        base_slice_ns: loaded.settings.base_slice_ns,
        cpus: case.cpus,
        hz: loaded.settings.hz.unwrap_or(HZ),
        tick_phase_ns: loaded.settings.tick_phase_ns.unwrap_or_else(|| tick_phase_ns(case, run)),
        tick_skew_ns: loaded.settings.tick_skew_ns.unwrap_or(0),
        preemption: loaded.settings.preemption.unwrap_or(preemption),
        costs: loaded.settings.costs.over(Costs::default()),
        seed: u64::from(run) + 1,
        duration_ns: u64::from(case.duration_s) * 1_000_000_000,
    };
    let begin_ns = u64::from(case.warmup_ms) * 1_000_000;
    let names = case.groups();
    let figures = Figures::new(&names, begin_ns, config.duration_ns - TAIL_NS);
    let sink = Listener { figures, names };
    let mut machine =
        Machine::new(&config, &loaded.workload, sink).map_err(|error| wrong(error.to_string()))?;
    machine.run().map_err(|error| wrong(error.to_string()))?;
    machine.finish();
    Ok(machine.into_sink().figures)
}

/// When the first tick is: nothing ties a real kernel's ticks to the workload's timers, so several
/// runs divide a tick's length between them.
fn tick_phase_ns(case: &Case, run: u32) -> u64 {
    1_000_000_000 / u64::from(HZ) * u64::from(run) / u64::from(case.runs)
}

/// Puts the instances of endless tasks (`loop` -1, no timer) at different starts. Which, only the
/// number of the run decides.
fn spread(workload: &mut Value, spread_us: u64, run: u64) {
    let Some(tasks) = workload.get_mut("tasks").and_then(Value::as_object_mut) else { return };
    let mut random = run.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut draw = || {
        // xorshift64: starts need no better one.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % spread_us.max(1)
    };
    let mut spread = Map::new();
    for (name, task) in std::mem::take(tasks) {
        let endless = task.get("loop").and_then(Value::as_i64) == Some(-1)
            && task.get("timer").is_none()
            && task.get("phases").is_none();
        if !endless {
            spread.insert(name, task);
            continue;
        }
        let instances = task.get("instance").and_then(Value::as_u64).unwrap_or(1);
        for instance in 0..instances {
            let mut one = task.clone();
            one["instance"] = json!(1);
            one["delay"] = json!(draw() + 1);
            spread.insert(format!("{name}-{instance}"), one);
        }
    }
    *tasks = spread;
}

/// Turns Slicewise's stream into switches and wakeups.
struct Listener {
    figures: Figures,
    names: Vec<String>,
}

/// `hog` and `hog-3` are threads of `hog`.
fn group_of(names: &[String], task: &str) -> Option<usize> {
    names.iter().position(|name| name == task).or_else(|| {
        let (base, number) = task.rsplit_once('-')?;
        number.parse::<u32>().ok()?;
        names.iter().position(|name| name == base)
    })
}

/// Slots begin at 0, which stands for idle in a trace.
fn id(slot: Slot) -> u32 {
    slot.0 + 1
}

impl Sink for Listener {
    fn task(&mut self, _: u64, info: &TaskInfo) {
        if let Some(group) = group_of(&self.names, &info.name) {
            self.figures.thread(id(info.slot), group);
        }
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        match event {
            Event::Wakeup { task, .. } => self.figures.wakeup(now_ns, id(*task)),
            Event::Switch { cpu, prev, next, left, .. } => {
                let voluntary = matches!(left, Left::Blocked | Left::Exited);
                let (prev, next) = (prev.map_or(0, id), next.map_or(0, id));
                self.figures.switch(now_ns, cpu.0 as usize, prev, voluntary, next);
            }
            _ => {}
        }
    }

    fn finish(&mut self, now_ns: u64) {
        self.figures.finish(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::{group_of, run};
    use crate::case;

    #[test]
    fn instances_belong_to_their_task() {
        let names = ["a-1".to_owned(), "hog".to_owned()];
        assert_eq!(group_of(&names, "a-1"), Some(0));
        assert_eq!(group_of(&names, "hog-12"), Some(1));
        assert_eq!(group_of(&names, "hog-x"), None);
    }

    #[test]
    fn every_case_in_the_repository_runs_on_every_profile() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        for mut case in case::select(&directory, &[]).unwrap() {
            case.runs = case.runs.min(2);
            for series in crate::kernels::SERIES {
                let figures = run(&case, series, &[]).unwrap();
                let cpu_ns: u64 = figures.groups.iter().map(|group| group.cpu_ns).sum();
                assert!(cpu_ns > figures.window_ns / 2, "{} on {series}", case.name);
            }
        }
    }
}
