//! The recorded events of a real kernel replayed through the core.

use std::path::Path;

use slicewise_ftrace::Reader;
use slicewise_sched::{Policy, Profile};
use slicewise_shadow::{RulePolicy, ShadowConfig, ShadowReport, TaskRule, replay, survey};

use crate::HZ;
use crate::case::Case;
use crate::truth::Shadow;

/// Replays a trace; what comes before the window is not judged.
pub(crate) fn replay_trace(
    case: &Case,
    profile: Profile,
    path: &Path,
    begin_ns: u64,
) -> Result<ShadowReport, String> {
    let open = || Reader::open(path).map_err(|error| error.to_string());
    let found = survey(&mut open()?).map_err(|error| error.to_string())?;
    let mut config = ShadowConfig::new(profile);
    config.cpus = Some(case.cpus);
    config.hz = Some(HZ);
    config.warm_up_ns = begin_ns.saturating_sub(found.first_ns);
    config.tasks = rules(case);
    replay(&mut open()?, &found, &config).map_err(|error| error.to_string())
}

/// What a trace does not say about the case's threads: policies that share their priorities with
/// others, and slices.
fn rules(case: &Case) -> Vec<TaskRule> {
    let Ok(loaded) = case.loaded() else { return Vec::new() };
    let mut rules = Vec::new();
    for group in &loaded.groups {
        let attr = loaded.workload.tasks[group.first as usize].attr;
        let policy = match attr.policy {
            Policy::Batch => Some(RulePolicy::Batch),
            Policy::Idle => Some(RulePolicy::Idle),
            Policy::Rr(_) => Some(RulePolicy::Rr),
            _ => None,
        };
        if policy.is_none() && attr.slice_ns.is_none() {
            continue;
        }
        // rt-app gives all instances one name, the load program numbers them.
        let numbered = (0..group.count).map(|number| format!("{}-{number}", group.name));
        for name in std::iter::once(group.name.clone()).chain(numbered) {
            rules.push(TaskRule { name, policy, slice_ns: attr.slice_ns });
        }
    }
    rules
}

impl Shadow {
    /// Adds another round.
    pub(crate) fn add(&mut self, report: &ShadowReport) {
        self.picks += report.total.picks;
        self.agreed += report.total.agreed;
        self.with_choice += report.total.with_choice;
        self.with_choice_agreed += report.total.with_choice_agreed;
        for (kind, agreement) in &report.by_kind {
            let sum = self.by_kind.entry(kind.text().to_owned()).or_default();
            sum.0 += agreement.picks;
            sum.1 += agreement.agreed;
        }
    }

    /// In percent, rounded down; `None` without picks.
    pub(crate) fn percent(&self) -> Option<f64> {
        (self.picks > 0).then(|| (self.agreed * 10_000 / self.picks) as f64 / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{TICK_NS, case, measure, recording, truth};

    /// Three recordings of real kernels, whole, as they came back: the least agreement that is wanted
    /// on one CPU must hold for them.
    #[test]
    fn the_core_makes_the_decisions_of_recorded_kernels() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut seen = 0;
        let listing = std::fs::read_dir(Path::new(truth::DIRECTORY).join("traces")).unwrap();
        for path in listing.map(|entry| entry.unwrap().path()) {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let (case, series) = name.rsplit_once('-').unwrap();
            let case = &case::select(&cases, &[case.to_owned()]).unwrap()[0];
            let recorded = recording::read(&path).unwrap();
            assert!(recorded.findings.is_clean(), "{name}: {:?}", recorded.findings);
            let groups = measure::groups(case).unwrap();
            let warmup_ns = u64::from(case.warmup_ms) * 1_000_000;
            let profile = slicewise_sched::Profile::named(series).unwrap();
            let measured = recorded.figures(&groups, 1, warmup_ns, TICK_NS).unwrap();
            let report = super::replay_trace(case, profile, &path, measured.begin_ns).unwrap();
            assert!(report.total.picks > 200, "{name}: {:?}", report.total);
            let percent = report.total.percent().unwrap();
            assert!(percent >= 99.0, "{name}: {percent:.2} % of {} picks", report.total.picks);
            seen += 1;
        }
        assert!(seen >= 3, "{seen} recordings");
    }
}
