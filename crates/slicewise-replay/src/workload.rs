//! From scripts to programs for the simulated machine.

use rustc_hash::FxHashMap;
use slicewise_analysis::{AsRecorded, ByCause, Explainer, Naming, TakeEvent, Threads};
use slicewise_machine::{
    Dist, Mode, Op, Origin, Program, Semaphore, TaskMemory, TaskSpec, Workload,
};
use slicewise_sched::{Attr, CpuSet, Nice, Policy, Profile, RtPriority};
use slicewise_trace::{Event, Sink, TaskInfo};
use slicewise_workload::{Cgroups, CostOverrides, Group, Loaded, Settings};

use crate::delays::{DelayMeter, TaskDelays};
use crate::rebuild::Rebuilt;
use crate::script::{Script, ScriptId, Step};

/// Before the stretch begins, those that sleep then go to sleep.
const LEAD_NS: u64 = 10_000_000;
/// How much longer than the recording a replay may take.
const LONGER: u64 = 4;
/// The kernel's numbers: of real-time priority 99, of nice 0.
const PRIO_RT_HIGHEST: i32 = 99;
const PRIO_NICE_0: i32 = 120;
const PRIO_FAIR_FIRST: i32 = 100;

/// What scripts are to run on.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkloadOptions {
    /// The name of the kernel's profile.
    pub kernel: String,
    /// How many CPUs.
    pub cpus: u32,
    /// Ticks a second, if they are known.
    pub hz: Option<u32>,
}

/// The profile for a kernel's release (`6.12.117+deb13-cloud-amd64`): the latest that is not newer, or the first
/// of all.
///
/// ```
/// use slicewise_replay::profile_of_release;
///
/// assert_eq!(profile_of_release("6.12.117+deb13-cloud-amd64").name, "6.12");
/// assert_eq!(profile_of_release("6.18.20").name, "6.18.15");
/// assert_eq!(profile_of_release("5.10.0-30-amd64").name, "6.1");
/// ```
pub fn profile_of_release(release: &str) -> Profile {
    let numbers = |text: &str| -> Vec<u64> {
        let digits = text.split(|c: char| !c.is_ascii_digit()).take(3);
        digits.map_while(|word| word.parse().ok()).collect()
    };
    let wanted = numbers(release);
    let known = Profile::ALL.iter().filter(|profile| numbers(profile.name) <= wanted);
    *known.max_by_key(|profile| numbers(profile.name)).unwrap_or(&Profile::ALL[0])
}

fn attr_of(prio: i32) -> Attr {
    let mut attr = Attr::default();
    if prio >= PRIO_FAIR_FIRST {
        attr.nice = Nice::new(i64::from(prio - PRIO_NICE_0)).unwrap_or_default();
    } else if let Some(priority) =
        RtPriority::new(i64::from(PRIO_RT_HIGHEST - prio.max(0))).or(RtPriority::new(1))
    {
        attr.policy = Policy::Fifo(priority);
    }
    attr
}

fn constant(ns: u64) -> Dist {
    Dist::Constant(ns)
}

/// The task is as it was recorded: whoever set something of it wants that to last.
fn program(script: &Script, own: u32, never: u32, spec_of: &[u32]) -> Program {
    let mut ops = Vec::with_capacity(script.steps.len() + 1);
    let relative = script.outside.is_relative();
    for step in &script.steps {
        ops.push(match *step {
            Step::Run(ns) => Op::Run { work: constant(ns), mode: Mode::User },
            Step::Wake(other) => Op::SemPost(other),
            Step::Fork(other) => Op::Fork(spec_of[other as usize]),
            Step::Wait => Op::SemWait(own),
            Step::Outside { from_ns, to_ns } if relative && from_ns > 0 => {
                Op::Sleep { duration: constant(to_ns.saturating_sub(from_ns)) }
            }
            Step::Outside { to_ns, .. } => Op::SleepUntil { at_ns: to_ns.saturating_add(LEAD_NS) },
            Step::Priority(prio) => Op::SetAttr(attr_of(prio)),
            Step::Exit => Op::Exit,
            Step::Nothing => continue,
        });
    }
    if !matches!(script.steps.last(), Some(Step::Exit)) {
        // What it did afterwards was not recorded.
        ops.push(Op::SemWait(never));
    }
    Program { ops }
}

/// Programs for all scripts, with the machine they were recorded on as far as the trace tells. Tasks of one name
/// can be set together (`task/postgres.nice=5`), and each by its label (`task/postgres-812.nice=5`).
///
/// # Errors
/// If a path of a group is none.
pub fn workload(rebuilt: &Rebuilt, options: &WorkloadOptions) -> Result<Loaded, String> {
    let scripts = &rebuilt.scripts;
    // Tasks of one name stand together.
    let mut order: Vec<ScriptId> = (0..scripts.len() as ScriptId).collect();
    order.sort_by(|a, b| scripts[*a as usize].comm.cmp(&scripts[*b as usize].comm).then(a.cmp(b)));
    let mut spec_of = vec![0; scripts.len()];
    for (spec, script) in order.iter().enumerate() {
        spec_of[*script as usize] = spec as u32;
    }
    let labels = labels(scripts);
    let mut cgroups = Cgroups::default();
    for path in scripts.iter().filter_map(|script| script.group.as_deref()) {
        if cgroups.find(path).is_none() {
            cgroups.add(path)?;
        }
    }
    let mut made = Workload { stuck_is_end: true, ..Workload::default() };
    let semaphore = |name: String| Semaphore { name, value: 0 };
    made.semaphores = labels.iter().map(|label| semaphore(label.clone())).collect();
    let never = made.semaphores.len() as u32;
    made.semaphores.push(semaphore("the end of the recording".to_owned()));
    let mut groups: Vec<Group> = Vec::new();
    for (spec, id) in order.iter().enumerate() {
        let script = &scripts[*id as usize];
        made.programs.push(program(script, *id, never, &spec_of));
        made.tasks.push(TaskSpec {
            name: labels[*id as usize].clone(),
            program: spec as u32,
            attr: attr_of(script.prio),
            affinity: script.affinity.clone(),
            start_ns: if script.begins_runnable { LEAD_NS } else { 0 },
            group: script.group.as_deref().and_then(|path| cgroups.find(path)),
            template: script.is_forked,
            rttime: None,
            memory: TaskMemory::default(),
            index: spec as u32,
            origin: Origin::default(),
        });
        match groups.last_mut().filter(|group| group.name == script.comm) {
            Some(group) => group.count += 1,
            None => groups.push(Group {
                name: script.comm.clone(),
                first: spec as u32,
                count: 1,
                template: false,
            }),
        }
    }
    let settings = Settings {
        kernel: Some(options.kernel.clone()),
        cpus: Some(options.cpus),
        hz: options.hz,
        duration_ns: Some(rebuilt.length_ns().saturating_mul(LONGER).saturating_add(LEAD_NS)),
        // What switches and wakeups cost is in the bursts already.
        costs: CostOverrides {
            context_switch_ns: Some(0),
            wakeup_ns: Some(0),
            tick_ns: Some(0),
            idle_exit_ns: rebuilt.idle_exit_ns,
        },
        ..Settings::default()
    };
    Ok(Loaded::of_parts(made, settings, groups, cgroups))
}

/// Lets tasks that are bound to CPUs which there are not run anywhere.
pub fn fit_to_cpus(loaded: &mut Loaded, cpus: u32) {
    for task in &mut loaded.workload.tasks {
        if task.affinity.count_within(cpus) == 0 {
            task.affinity = CpuSet::All;
        }
    }
}

/// Takes changes of priority out of the programs of tasks whose attributes are not those of the recording.
pub fn keep_attributes(loaded: &mut Loaded, rebuilt: &Rebuilt) {
    let prios: FxHashMap<String, i32> = labels(&rebuilt.scripts)
        .into_iter()
        .zip(rebuilt.scripts.iter().map(|script| script.prio))
        .collect();
    let Workload { tasks, programs, .. } = &mut loaded.workload;
    for task in tasks {
        if prios.get(&task.name).is_some_and(|prio| attr_of(*prio) != task.attr) {
            let ops = &mut programs[task.program as usize].ops;
            ops.retain(|op| !matches!(op, Op::SetAttr(_)));
        }
    }
}

/// A name for each that no other has.
fn labels(scripts: &[Script]) -> Vec<String> {
    let mut seen: FxHashMap<String, u32> = FxHashMap::default();
    let label = |script: &Script| {
        let label = script.label();
        let count = seen.entry(label.clone()).or_default();
        *count += 1;
        if *count == 1 { label } else { format!("{label}#{count}") }
    };
    scripts.iter().map(label).collect()
}

struct Measuring {
    threads: Threads,
    meter: DelayMeter,
    explainer: Explainer,
    /// By the index of a thread.
    causes: Vec<ByCause>,
}

impl TakeEvent for Measuring {
    fn take(&mut self, event: &slicewise_ftrace::Event) {
        self.threads.event(event);
        self.meter.event(&mut self.threads, event);
        let wait = self.explainer.event(&mut self.threads, event, |_, _| true);
        if let Some(wait) = wait {
            let index = wait.task.index();
            if self.causes.len() <= index {
                self.causes.resize(index + 1, ByCause::default());
            }
            self.causes[index] += wait.by_cause;
        }
    }
}

/// Measures a simulation of scripts by the rules of recordings. A sink of the machine.
pub struct SimulatedDelays {
    telling: AsRecorded<Measuring>,
    by_label: FxHashMap<String, ScriptId>,
    /// By the stream's numbers.
    by_pid: FxHashMap<i32, ScriptId>,
    scripts: usize,
    end_ns: u64,
}

impl SimulatedDelays {
    /// Nothing yet.
    pub fn new(rebuilt: &Rebuilt) -> Self {
        let measuring = Measuring {
            threads: Threads::new(Naming::Events),
            meter: DelayMeter::new(),
            explainer: Explainer::default(),
            causes: Vec::new(),
        };
        Self {
            telling: AsRecorded::new(measuring),
            by_label: labels(&rebuilt.scripts).into_iter().zip(0..).collect(),
            by_pid: FxHashMap::default(),
            scripts: rebuilt.scripts.len(),
            end_ns: 0,
        }
    }

    /// What came of it.
    pub fn finish(self) -> Replayed {
        let Measuring { threads, meter, causes, .. } = self.telling.into_inner();
        let mut replayed = Replayed {
            delays: vec![TaskDelays::default(); self.scripts],
            causes: vec![ByCause::default(); self.scripts],
            end_ns: self.end_ns.saturating_sub(LEAD_NS),
        };
        let script = |tid: i32| self.by_pid.get(&tid).map(|script| *script as usize);
        for (thread, delays) in threads.all().iter().zip(meter.finish(self.end_ns)) {
            if let Some(script) = script(thread.tid) {
                replayed.delays[script] = delays;
            }
        }
        for (thread, causes) in threads.all().iter().zip(causes) {
            if let Some(script) = script(thread.tid) {
                replayed.causes[script] = causes;
            }
        }
        replayed
    }
}

/// What came of a replay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// What each script's task waited and ran.
    pub delays: Vec<TaskDelays>,
    /// What each waited for. Every task is a group of its own.
    pub causes: Vec<ByCause>,
    /// When the last of them was done, ns since the beginning of the stretch.
    pub end_ns: u64,
}

impl Sink for SimulatedDelays {
    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        if let Some(script) = self.by_label.get(&info.name) {
            self.by_pid.insert(info.pid as i32, *script);
        }
        self.telling.task(now_ns, info);
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        if matches!(event, Event::Switch { prev: Some(_), .. }) {
            self.end_ns = now_ns;
        }
        self.telling.event(now_ns, event);
    }
}
