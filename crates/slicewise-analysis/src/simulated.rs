//! What the simulated machine did, as a kernel would have recorded it.

use std::io::Read;

use rustc_hash::FxHashMap;
use slicewise_ftrace::SleepState;
use slicewise_ftrace::{
    Comm, Event, Kind, Migrate, StatRuntime, Switch, SwitchState, TaskRef, Wakeup,
};
use slicewise_sched::{CpuId, Policy};
use slicewise_trace::{
    Event as Simulated, Left, RecordingError, RecordingReader, Sink, Slot, TaskInfo,
};

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
    let mut telling = Telling { each, tasks: FxHashMap::default(), since_ns: Vec::new() };
    reader.play(&mut telling)
}

struct Telling<F> {
    each: F,
    tasks: FxHashMap<Slot, TaskRef>,
    /// By CPU: since when its task runs.
    since_ns: Vec<u64>,
}

impl<F: FnMut(&Event)> Telling<F> {
    fn who(&self, slot: Option<Slot>) -> TaskRef {
        let idle = TaskRef { pid: 0, comm: Comm::new(IDLE), prio: PRIO_NICE_0 };
        slot.and_then(|slot| self.tasks.get(&slot).copied()).unwrap_or(idle)
    }

    fn tell(&mut self, time_ns: u64, cpu: CpuId, pid: i32, kind: Kind) {
        let (pid, tgid) = (Some(pid), Some(pid));
        let event =
            Event { time_ns, cpu: cpu.0, pid, tgid, in_interrupt: None, need_resched: None, kind };
        (self.each)(&event);
    }
}

impl<F: FnMut(&Event)> Sink for Telling<F> {
    fn task(&mut self, _: u64, info: &TaskInfo) {
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
            Simulated::Exit { task } => {
                self.tasks.remove(&task);
            }
            _ => {}
        }
    }
}
