//! Recorded loads, rebuilt and run again: what `slicewise whatif` and `slicewise why` have in common.

use slicewise_analysis::{
    ByCause, ExplainedWait, Explainer, GroupRule, TaskGroups, ThreadId, Threads,
};
use slicewise_ftrace::Event;
use slicewise_replay::{
    DelayMeter, Rebuilder, Rebuilt, ReplayError, Replayed, SimulatedDelays, TaskDelays,
    WorkloadOptions, fit_to_cpus, keep_attributes, profile_of_release, workload,
};
use slicewise_workload::{Loaded, apply_set};

use crate::args::RecordedArgs;
use crate::failure::Failure;
use crate::prepare::{KERNEL_DEFAULT, Prepared, prepare};
use crate::simulate;
use crate::traces::{Trace, stretch};

/// Ticks a second when nobody says how many.
const HZ_DEFAULT: u32 = 250;

/// A recorded load.
pub(crate) struct Recorded {
    /// The file.
    pub(crate) name: String,
    /// The kernel's release, if the trace says so.
    pub(crate) release: Option<String>,
    pub(crate) rebuilt: Rebuilt,
    pub(crate) threads: Threads,
    pub(crate) groups: TaskGroups,
    /// By script.
    pub(crate) delays: Vec<TaskDelays>,
    /// By script.
    pub(crate) causes: Vec<ByCause>,
    /// Under the conditions under which it was recorded.
    pub(crate) loaded: Loaded,
}

/// What one way to run it differs in from the recording.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) kernel: Option<&'a str>,
    pub(crate) cpus: Option<&'a str>,
    pub(crate) topology: Option<&'a str>,
    pub(crate) sets: Vec<&'a str>,
}

impl Conditions<'_> {
    /// In words.
    pub(crate) fn words(&self) -> Vec<String> {
        let named = [("kernel", self.kernel), ("cpus", self.cpus), ("topology", self.topology)];
        let named = named.iter().filter_map(|(key, value)| value.map(|it| format!("{key}={it}")));
        named.chain(self.sets.iter().map(|set| (*set).to_owned())).collect()
    }
}

impl Recorded {
    /// Reads a trace and rebuilds its load. `each` gets every wait of the stretch with its causes.
    pub(crate) fn read(
        args: &RecordedArgs,
        mut each: impl FnMut(&mut TaskGroups, &Threads, ExplainedWait),
    ) -> Result<Self, Failure> {
        let rules = args.groups.iter().map(|text| {
            GroupRule::parse(text).map_err(|what| Failure::plain(format!("--group {text}: {what}")))
        });
        let rules: Vec<GroupRule> = rules.collect::<Result<_, _>>()?;
        let (from_ns, to_ns) = match &args.time {
            Some(text) => stretch(text)?,
            None => (None, None),
        };
        let trace = Trace::open(&args.trace)?;
        let name = trace.name().to_owned();
        let (release, online_cpus) = (trace.release(), trace.online_cpus());
        let mut rebuilder = Rebuilder::new(rules.clone());
        let mut meter = DelayMeter::new();
        let mut explainer = Explainer::new(TaskGroups::new(rules));
        let mut causes: Vec<ByCause> = Vec::new();
        let threads = trace.each(|threads, event: &Event| {
            let within = from_ns.is_none_or(|from| event.time_ns >= from)
                && to_ns.is_none_or(|to| event.time_ns < to);
            if !within || rebuilder.is_full() {
                explainer.groups().event(threads, event);
                return Ok(());
            }
            rebuilder.event(threads, event);
            meter.event(threads, event);
            if let Some(wait) = explainer.event(threads, event, |_, _| true) {
                let index = wait.task.index();
                if causes.len() <= index {
                    causes.resize(index + 1, ByCause::default());
                }
                causes[index] += wait.by_cause;
                each(explainer.groups(), threads, wait);
            }
            Ok(())
        })?;
        let rebuilt = rebuilder.finish(&threads);
        if rebuilt.scripts.is_empty() {
            let what = if args.time.is_some() { "in that stretch" } else { "in it" };
            let message = format!("{name}: there are no switches or wakeups {what}");
            let help = "record with `perf sched record`, or `trace-cmd record -e sched`";
            return Err(Failure::with_help(message, help));
        }
        let release_name = release.as_deref().map(profile_of_release);
        let options = WorkloadOptions {
            kernel: release_name.map_or(KERNEL_DEFAULT, |profile| profile.name).to_owned(),
            cpus: rebuilt.cpus.max(online_cpus.unwrap_or(0)),
            hz: Some(HZ_DEFAULT),
        };
        let mut loaded = workload(&rebuilt, &options)
            .map_err(|what| Failure::plain(format!("{name}: {what}")))?;
        for set in &args.recorded {
            apply_set(&mut loaded, set)
                .map_err(|message| Failure::plain(format!("--recorded {set}: {message}")))?;
        }
        keep_attributes(&mut loaded, &rebuilt);
        let scripts = rebuilt.scripts.len();
        let mut recorded = Self {
            name,
            release,
            delays: vec![TaskDelays::default(); scripts],
            causes: vec![ByCause::default(); scripts],
            groups: std::mem::take(explainer.groups()),
            rebuilt,
            threads,
            loaded,
        };
        for (thread, delays) in meter.finish(recorded.rebuilt.to_ns).into_iter().enumerate() {
            if let Some(script) = recorded.script(thread) {
                recorded.delays[script] = delays;
            }
        }
        for (thread, causes) in causes.into_iter().enumerate() {
            if let Some(script) = recorded.script(thread) {
                recorded.causes[script] = causes;
            }
        }
        Ok(recorded)
    }

    /// By the index of a thread.
    fn script(&self, thread: usize) -> Option<usize> {
        let script = self.rebuilt.by_thread.get(thread).copied().flatten();
        script.map(|script| script as usize)
    }

    /// The script of a task.
    pub(crate) fn script_of(&self, task: ThreadId) -> Option<usize> {
        self.script(task.index())
    }

    /// Ready to run under other conditions.
    pub(crate) fn prepared(&self, conditions: &Conditions<'_>) -> Result<Prepared, Failure> {
        let mut loaded = self.loaded.clone();
        if let Some(word) = conditions.topology {
            loaded.settings.set_topology(crate::topology::machine(word)?);
        }
        let options =
            [("--kernel", "kernel", conditions.kernel), ("--cpus", "cpus", conditions.cpus)];
        for (option, key, value) in options {
            if let Some(value) = value {
                apply_set(&mut loaded, &format!("{key}={value}"))
                    .map_err(|message| Failure::plain(format!("{option} {value}: {message}")))?;
            }
        }
        for set in &conditions.sets {
            apply_set(&mut loaded, set)
                .map_err(|message| Failure::plain(format!("--set {set}: {message}")))?;
        }
        let cpus = loaded.settings.cpus.unwrap_or(1);
        fit_to_cpus(&mut loaded, cpus);
        keep_attributes(&mut loaded, &self.rebuilt);
        prepare(self.name.clone(), loaded)
    }

    /// Runs it.
    pub(crate) fn run(&self, prepared: &Prepared, progress: bool) -> Result<Replayed, Failure> {
        let mut machine = simulate::machine(prepared, SimulatedDelays::new(&self.rebuilt))?;
        simulate::run_until(&mut machine, prepared, u64::MAX, progress)?;
        machine.finish();
        Ok(machine.into_sink().finish())
    }

    /// How far a replay is from it.
    pub(crate) fn error(&self, replayed: &Replayed, hz: u32) -> ReplayError {
        ReplayError::new(&self.delays, &replayed.delays, 1_000_000_000 / u64::from(hz.max(1)))
    }
}
