//! What the simulated machine did, as a kernel would have recorded it.

use std::io::Read;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use slicewise_ftrace::SleepState;
use slicewise_ftrace::{
    Comm, Event, Kind, Migrate, Other, StatRuntime, Switch, SwitchState, TaskRef, Value, Wakeup,
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

/// Reads a recording of the simulated machine and tells `each` its events as a kernel's tracepoints would. A
/// run is charged in one `sched_stat_runtime` at its end.
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

/// Tells `each` what the simulated machine does, as a kernel's tracepoints would. A run is charged in one
/// `sched_stat_runtime` at its end. The numbers of tasks are those of the stream.
#[derive(Debug)]
pub struct AsRecorded<F> {
    each: F,
    tasks: FxHashMap<Slot, TaskRef>,
    /// Paths of groups, by number.
    groups: Vec<Arc<str>>,
    /// By CPU: since when its task runs.
    since_ns: Vec<u64>,
}

impl<F: TakeEvent> AsRecorded<F> {
    /// Nothing yet.
    pub fn new(each: F) -> Self {
        Self { each, tasks: FxHashMap::default(), groups: Vec::new(), since_ns: Vec::new() }
    }

    /// Who was told.
    pub fn into_inner(self) -> F {
        self.each
    }

    fn who(&self, slot: Option<Slot>) -> TaskRef {
        let idle = TaskRef { pid: 0, comm: Comm::new(IDLE), prio: PRIO_NICE_0 };
        slot.and_then(|slot| self.tasks.get(&slot).copied()).unwrap_or(idle)
    }

    fn tell_other(
        &mut self,
        now_ns: u64,
        cpu: CpuId,
        system: &str,
        name: &str,
        fields: Vec<(&str, Value)>,
    ) {
        let fields = fields.into_iter().map(|(name, value)| (Arc::from(name), value)).collect();
        let other = Other { system: Arc::from(system), name: Arc::from(name), fields };
        self.tell(now_ns, cpu, 0, Kind::Other(other));
    }

    fn tell(&mut self, time_ns: u64, cpu: CpuId, pid: i32, kind: Kind) {
        let (pid, tgid) = (Some(pid), Some(pid));
        let event =
            Event { time_ns, cpu: cpu.0, pid, tgid, in_interrupt: None, need_resched: None, kind };
        self.each.take(&event);
    }
}

impl<F: TakeEvent> Sink for AsRecorded<F> {
    fn group(&mut self, _: u64, info: &GroupInfo) {
        self.groups.push(Arc::from(info.path.as_str()));
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        let prio = match info.attr.policy {
            Policy::Deadline(_) => PRIO_DEADLINE,
            Policy::Stop => PRIO_STOP,
            Policy::Fifo(priority) | Policy::Rr(priority) => {
                PRIO_RT_HIGHEST - i32::from(priority.get())
            }
            _ => PRIO_NICE_0 + i32::from(info.attr.nice.get()),
        };
        let task = TaskRef { pid: info.pid as i32, comm: Comm::new(info.name.as_bytes()), prio };
        self.tasks.insert(info.slot, task);
        if let Some(path) = info.group.and_then(|group| self.groups.get(group as usize)) {
            let path = Value::Text(format!("/{path}"));
            let comm = Value::Text(task.comm.to_text());
            let fields = vec![
                ("dst_path", path),
                ("pid", Value::Signed(i64::from(task.pid))),
                ("comm", comm),
            ];
            self.tell_other(now_ns, CpuId(0), "cgroup", CGROUP_ATTACH, fields);
        }
    }

    fn event(&mut self, now_ns: u64, event: &Simulated) {
        match *event {
            Simulated::Wakeup { task, cpu, waker, new } => {
                let waker = self.who(waker).pid;
                let wakeup = Wakeup { task: self.who(Some(task)), target_cpu: cpu.0 };
                let kind = if new { Kind::WakeupNew(wakeup) } else { Kind::Wakeup(wakeup) };
                self.tell(now_ns, cpu, waker, kind);
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
                    self.tell(now_ns, cpu, pid, Kind::StatRuntime(stat));
                }
                let (prev_state, prev_letter) = match left {
                    Left::Preempted => (SwitchState::Preempted, b'R'),
                    Left::Yielded | Left::Idle => (SwitchState::Runnable, b'R'),
                    Left::Blocked => (SwitchState::Asleep(SleepState::Waiting), b'S'),
                    Left::Exited => (SwitchState::Dead, b'X'),
                };
                let switch = Switch { prev, prev_state, prev_letter, next };
                self.tell(now_ns, cpu, prev.pid, Kind::Switch(switch));
            }
            Simulated::Migrate { task, from, to } => {
                let task = self.who(Some(task));
                let migrate = Migrate { task, from: from.0, to: to.0 };
                self.tell(now_ns, to, 0, Kind::Migrate(migrate));
            }
            Simulated::Throttle { group, cpu, stops } => {
                let Some(path) = self.groups.get(group as usize) else { return };
                let fields = vec![
                    ("path", Value::Text(path.to_string())),
                    ("stops", Value::Unsigned(u64::from(stops))),
                ];
                self.tell_other(now_ns, cpu, "slicewise", GROUP_THROTTLE, fields);
            }
            Simulated::Exit { task } => {
                self.tasks.remove(&task);
            }
            _ => {}
        }
    }
}
