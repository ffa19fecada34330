//! What the simulated machine did, as a kernel would have recorded it.

use std::io::Read;

use rustc_hash::FxHashMap;
use slicewise_ftrace::{
    Comm, Event, Kind, Migrate, Other, SleepState, StatRuntime, Switch, SwitchState, TaskRef,
    Value, Wakeup,
};
use slicewise_sched::{CpuId, Policy};
use slicewise_trace::{
    Event as Simulated, GroupInfo, Left, RecordingError, RecordingReader, Sink, Slot, TaskInfo,
};

use crate::groups::{CGROUP_ATTACH, GROUP_THROTTLE};

/// The idle task's name; kernels add the CPU.
const IDLE: &[u8] = b"swapper";
/// The kernel's priority numbers: of deadline tasks, of stop tasks, of nice 0.
const PRIO_DEADLINE: i32 = -1;
const PRIO_STOP: i32 = 0;
const PRIO_RT_HIGHEST: i32 = 99;
const PRIO_NICE_0: i32 = 120;

/// Reads a recording of the simulated machine and tells `each` its events as a kernel's tracepoints would; see
/// [`KernelView`].
///
/// # Errors
/// If the recording is damaged.
pub fn play_simulated<R: Read>(
    reader: RecordingReader<R>,
    each: impl FnMut(&Event),
) -> Result<(), RecordingError> {
    reader.play(&mut AsRecorded::new(each))
}

/// Takes in events one by one.
pub trait TakeEvent {
    /// The next.
    fn take(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> TakeEvent for F {
    fn take(&mut self, event: &Event) {
        self(event);
    }
}

/// A sink that tells `each` what a kernel would have recorded; see [`KernelView`].
#[derive(Debug)]
pub struct AsRecorded<F> {
    each: F,
    view: KernelView,
}

impl<F: TakeEvent> AsRecorded<F> {
    /// Nothing yet.
    pub fn new(each: F) -> Self {
        Self { each, view: KernelView::default() }
    }

    /// Who was told.
    pub fn into_inner(self) -> F {
        self.each
    }
}

impl<F: TakeEvent> Sink for AsRecorded<F> {
    fn group(&mut self, _: u64, info: &GroupInfo) {
        self.view.group(info);
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.view.task(now_ns, info, |event| self.each.take(event));
    }

    fn event(&mut self, now_ns: u64, event: &Simulated) {
        self.view.event(now_ns, event, |event| self.each.take(event));
    }
}

/// The stream of the simulated machine, seen as a kernel would have recorded it. A run is charged in one
/// `sched_stat_runtime` at its end. That a task is in a group is a `cgroup_attach_task`.
#[derive(Debug, Default)]
pub struct KernelView {
    tasks: FxHashMap<Slot, (TaskRef, Option<u32>)>,
    /// Paths of groups, by number.
    groups: Vec<String>,
    /// By CPU: since when its task runs.
    since_ns: Vec<u64>,
}

impl KernelView {
    fn who(&self, slot: Option<Slot>) -> TaskRef {
        let idle = TaskRef { pid: 0, comm: Comm::new(IDLE), prio: PRIO_NICE_0 };
        slot.and_then(|slot| self.tasks.get(&slot)).map_or(idle, |(task, _)| *task)
    }

    /// There is a group.
    pub fn group(&mut self, info: &GroupInfo) {
        self.groups.push(info.path.clone());
    }

    /// A task appeared or changed its attributes.
    pub fn task(&mut self, now_ns: u64, info: &TaskInfo, each: impl FnMut(&Event)) {
        let prio = match info.attr.policy {
            Policy::Deadline(_) => PRIO_DEADLINE,
            Policy::Stop => PRIO_STOP,
            Policy::Fifo(priority) | Policy::Rr(priority) => {
                PRIO_RT_HIGHEST - i32::from(priority.get())
            }
            _ => PRIO_NICE_0 + i32::from(info.attr.nice.get()),
        };
        let task = TaskRef { pid: info.pid as i32, comm: Comm::new(info.name.as_bytes()), prio };
        let before = self.tasks.insert(info.slot, (task, info.group));
        let known = before.filter(|(before, _)| before.pid == task.pid);
        // Who was never in a group need not be told to be in the root.
        if known.map_or(info.group.is_some(), |(_, group)| group != info.group) {
            let path = info.group.and_then(|group| self.groups.get(group as usize));
            let path = path.map_or("/".to_owned(), |path| format!("/{path}"));
            attach(now_ns, &task, path, each);
        }
    }

    /// Something happened.
    pub fn event(&mut self, now_ns: u64, event: &Simulated, mut each: impl FnMut(&Event)) {
        match *event {
            Simulated::Wakeup { task, cpu, waker, new } => {
                let waker = self.who(waker).pid;
                let wakeup = Wakeup { task: self.who(Some(task)), target_cpu: cpu.0 };
                let kind = if new { Kind::WakeupNew(wakeup) } else { Kind::Wakeup(wakeup) };
                each(&event_of(now_ns, cpu, waker, kind));
            }
            Simulated::Switch { cpu, prev, left, next } => {
                if self.since_ns.len() <= cpu.index() {
                    self.since_ns.resize(cpu.index() + 1, 0);
                }
                let since_ns = std::mem::replace(&mut self.since_ns[cpu.index()], now_ns);
                let (prev, next) = (self.who(prev), self.who(next));
                if prev.pid != 0 {
                    let TaskRef { pid, comm, .. } = prev;
                    let runtime_ns = now_ns - since_ns;
                    let stat = StatRuntime { pid, comm, runtime_ns, vruntime_ns: None };
                    let charged = Event {
                        // Whoever is taken off its CPU was asked for before, which tells it from a yield.
                        need_resched: Some(left == Left::Preempted),
                        ..event_of(now_ns, cpu, pid, Kind::StatRuntime(stat))
                    };
                    each(&charged);
                }
                let (prev_state, prev_letter) = match left {
                    Left::Preempted => (SwitchState::Preempted, b'R'),
                    Left::Yielded | Left::Idle => (SwitchState::Runnable, b'R'),
                    Left::Blocked => (SwitchState::Asleep(SleepState::Waiting), b'S'),
                    Left::Exited => (SwitchState::Dead, b'X'),
                };
                let switch = Switch { prev, prev_state, prev_letter, next };
                each(&event_of(now_ns, cpu, prev.pid, Kind::Switch(switch)));
            }
            Simulated::Migrate { task, from, to } => {
                let task = self.who(Some(task));
                let migrate = Migrate { task, from: from.0, to: to.0 };
                each(&event_of(now_ns, to, 0, Kind::Migrate(migrate)));
            }
            Simulated::Throttle { group, cpu, stops } => {
                let Some(path) = self.groups.get(group as usize) else { return };
                let fields = vec![
                    ("path".into(), Value::Text(path.clone())),
                    ("stops".into(), Value::Unsigned(stops.into())),
                ];
                let other =
                    Other { system: "slicewise".into(), name: GROUP_THROTTLE.into(), fields };
                each(&event_of(now_ns, cpu, 0, Kind::Other(other)));
            }
            Simulated::Exit { task } => {
                self.tasks.remove(&task);
            }
            _ => {}
        }
    }
}

fn event_of(time_ns: u64, cpu: CpuId, pid: i32, kind: Kind) -> Event {
    let (pid, tgid) = (Some(pid), Some(pid));
    Event { time_ns, cpu: cpu.0, pid, tgid, in_interrupt: None, need_resched: None, kind }
}

/// `cgroup_attach_task`, with the fields that matter.
fn attach(time_ns: u64, task: &TaskRef, path: String, mut each: impl FnMut(&Event)) {
    let fields = vec![
        ("dst_path".into(), Value::Text(path)),
        ("comm".into(), Value::Text(task.comm.to_text())),
        ("pid".into(), Value::Signed(task.pid.into())),
    ];
    let other = Other { system: "cgroup".into(), name: CGROUP_ATTACH.into(), fields };
    // Who did it is not known.
    let event = event_of(time_ns, CpuId(0), 0, Kind::Other(other));
    each(&Event { pid: None, tgid: None, ..event });
}
