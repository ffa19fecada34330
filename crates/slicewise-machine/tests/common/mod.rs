//! A sink that keeps everything, and short ways to write workloads.
#![allow(dead_code, reason = "each test file uses its own part")]

use slicewise_machine::{
    Costs, Dist, Machine, MachineConfig, Mode, Op, Origin, Preemption, Program, RunError,
    RunSummary, TaskSpec, Workload,
};
use slicewise_sched::{Attr, CpuId, CpuSet, Policy, Profile, RtPriority};
use slicewise_trace::{Event, GroupInfo, Left, LoopRecord, Sink, Slot, TaskInfo};

pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1_000_000_000;

/// When, on which CPU, who left, why, who came.
pub(crate) type Switched = (u64, u32, Option<u32>, Left, Option<u32>);

/// Keeps the whole stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recorder {
    pub(crate) groups: Vec<GroupInfo>,
    pub(crate) tasks: Vec<(u64, TaskInfo)>,
    pub(crate) events: Vec<(u64, Event)>,
    pub(crate) finished: Option<u64>,
}

impl Sink for Recorder {
    fn group(&mut self, _: u64, info: &GroupInfo) {
        self.groups.push(info.clone());
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.tasks.push((now_ns, info.clone()));
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        if let Some((last, _)) = self.events.last() {
            assert!(*last <= now_ns, "time went back");
        }
        self.events.push((now_ns, *event));
    }

    fn wants_loops(&self) -> bool {
        true
    }

    fn wants_values(&self) -> bool {
        true
    }

    fn finish(&mut self, now_ns: u64) {
        assert_eq!(self.finished.replace(now_ns), None);
    }
}

impl Recorder {
    /// All context switches.
    pub(crate) fn switches(&self) -> Vec<Switched> {
        let switch = |(at, event): &(u64, Event)| match event {
            Event::Switch { cpu, prev, left, next } => {
                Some((*at, cpu.0, prev.map(|s| s.0), *left, next.map(|s| s.0)))
            }
            _ => None,
        };
        self.events.iter().filter_map(switch).collect()
    }

    /// When tasks got a CPU, by slot.
    pub(crate) fn gets(&self, task: u32) -> Vec<u64> {
        let came = self.switches().into_iter().filter(|switch| switch.4 == Some(task));
        came.map(|switch| switch.0).collect()
    }

    /// When and why tasks left a CPU, by slot.
    pub(crate) fn leaves(&self, task: u32) -> Vec<(u64, Left)> {
        let left = self.switches().into_iter().filter(|switch| switch.2 == Some(task));
        left.map(|switch| (switch.0, switch.3)).collect()
    }

    pub(crate) fn wakeups(&self, who: u32) -> Vec<(u64, Option<u32>)> {
        let wakeup = |(at, event): &(u64, Event)| match event {
            Event::Wakeup { task, waker, new: false, .. } if task.0 == who => {
                Some((*at, waker.map(|s| s.0)))
            }
            _ => None,
        };
        self.events.iter().filter_map(wakeup).collect()
    }

    pub(crate) fn responses(&self, who: u32) -> Vec<(u64, u64)> {
        let response = |(at, event): &(u64, Event)| match event {
            Event::Response { task, response_ns } if task.0 == who => Some((*at, *response_ns)),
            _ => None,
        };
        self.events.iter().filter_map(response).collect()
    }

    pub(crate) fn loops(&self, who: u32) -> Vec<LoopRecord> {
        let record = |(_, event): &(u64, Event)| match event {
            Event::Loop { task, record } if task.0 == who => Some(*record),
            _ => None,
        };
        self.events.iter().filter_map(record).collect()
    }

    pub(crate) fn exits(&self) -> Vec<(u64, u32)> {
        let exit = |(at, event): &(u64, Event)| match event {
            Event::Exit { task } => Some((*at, task.0)),
            _ => None,
        };
        self.events.iter().filter_map(exit).collect()
    }

    pub(crate) fn devices(&self) -> Vec<(u64, u32, bool)> {
        let device = |(at, event): &(u64, Event)| match event {
            Event::Device { device, busy } => Some((*at, *device, *busy)),
            _ => None,
        };
        self.events.iter().filter_map(device).collect()
    }

    /// CPU time of a slot, from the switches alone.
    pub(crate) fn cpu_time(&self, task: u32) -> u64 {
        let end = self.finished.expect("the stream has ended");
        let mut since = None;
        let mut total = 0;
        for (at, _, prev, _, next) in self.switches() {
            if prev == Some(task) {
                total += at - since.take().expect("it was running");
            }
            if next == Some(task) {
                since = Some(at);
            }
        }
        total + since.map_or(0, |since| end - since)
    }

    /// Busy time of a CPU, from the switches alone.
    pub(crate) fn busy(&self, cpu: u32) -> u64 {
        let end = self.finished.expect("the stream has ended");
        let (mut since, mut total) = (None, 0);
        for (at, on, _, _, next) in self.switches() {
            if on == cpu {
                total += since.map_or(0, |since| at - since);
                since = next.map(|_| at);
            }
        }
        total + since.map_or(0, |since| end - since)
    }
}

/// One CPU, kernel 6.12, 250 Hz, no costs.
pub(crate) fn config(cpus: u32, duration_ns: u64) -> MachineConfig {
    let profile = Profile::named("6.12").expect("a known kernel");
    MachineConfig {
        profile,
        features: profile.features,
        base_slice_ns: None,
        cpus,
        hz: 250,
        smp: slicewise_sched::SmpConfig::default(),
        tick_phase_ns: 0,
        tick_skew_ns: 0,
        preemption: Preemption::Full,
        costs: Costs::NONE,
        speed: slicewise_machine::SpeedModel::default(),
        nohz_full: slicewise_sched::CpuSet::Inline(0),
        seed: 1,
        duration_ns,
    }
}

pub(crate) fn kernel(config: MachineConfig, name: &str) -> MachineConfig {
    let profile = Profile::named(name).expect("a known kernel");
    MachineConfig { profile, features: profile.features, ..config }
}

pub(crate) fn run(ns: u64) -> Op {
    Op::Run { work: Dist::Constant(ns), mode: Mode::User }
}

pub(crate) fn syscall(ns: u64) -> Op {
    Op::Run { work: Dist::Constant(ns), mode: Mode::Kernel }
}

pub(crate) fn sleep(ns: u64) -> Op {
    Op::Sleep { duration: Dist::Constant(ns) }
}

/// The body, over and over.
pub(crate) fn forever(body: Vec<Op>) -> Vec<Op> {
    repeat(None, body)
}

pub(crate) fn repeat(count: Option<u64>, body: Vec<Op>) -> Vec<Op> {
    let end = body.len() as u32 + 1;
    let mut ops = vec![Op::LoopBegin { count, end }];
    ops.extend(body);
    ops.push(Op::LoopEnd { begin: 0 });
    ops
}

/// A workload of tasks with these programs, in this order.
pub(crate) fn workload(programs: Vec<Vec<Op>>) -> Workload {
    let mut workload = Workload::default();
    for (index, ops) in programs.into_iter().enumerate() {
        workload.programs.push(Program { ops });
        workload.tasks.push(TaskSpec {
            name: format!("t{index}"),
            program: index as u32,
            attr: Attr::default(),
            affinity: CpuSet::All,
            start_ns: 0,
            group: None,
            template: false,
            rttime: None,
            memory: slicewise_machine::TaskMemory::default(),
            index: index as u32,
            origin: Origin { start: index, end: index + 1 },
        });
    }
    workload
}

pub(crate) fn fifo(priority: i64) -> Attr {
    let priority = RtPriority::new(priority).expect("1 to 99");
    Attr { policy: Policy::Fifo(priority), ..Attr::default() }
}

pub(crate) fn on(cpu: u32) -> CpuSet {
    CpuSet::one(CpuId(cpu))
}

/// Runs to the end and gives everything back.
pub(crate) fn go(config: &MachineConfig, workload: &Workload) -> (RunSummary, Recorder) {
    match try_go(config, workload) {
        (Ok(summary), recorder) => (summary, recorder),
        (Err(error), _) => panic!("{error}"),
    }
}

pub(crate) fn try_go(
    config: &MachineConfig,
    workload: &Workload,
) -> (Result<RunSummary, RunError>, Recorder) {
    let machine = Machine::new(config, workload, Recorder::default());
    let mut machine = machine.unwrap_or_else(|error| panic!("{error}"));
    let result = machine.run();
    (result, machine.into_sink())
}

pub(crate) fn slot(task: u32) -> Slot {
    Slot(task)
}
