//! Traces for <https://ui.perfetto.dev>: the events as Perfetto's own recorder writes those of ftrace, so that the
//! viewer draws its scheduling tracks.
//!
//! Events are bundled by CPU. They are written in rounds: all events of a round come before all of the next, so
//! that who reads on needs to keep one round only. Times are those of the trace, which the viewer takes for
//! nanoseconds since boot. Names and processes of tasks are told as far as the trace knows processes; `perf`'s notes of
//! forks and new names become `task_newtask` and `task_rename`. Its notes of ends are left out: a task still leaves
//! its CPU after them.

mod proto;

use std::io::{self, Write};

use prost::Message as _;
use slicewise_analysis::{ThreadId, Threads};
use slicewise_ftrace::{Comm, Event, Kind, Other, Value, Wakeup};

use self::proto::{
    Field, FieldValue, FtraceEvent, FtraceEventBundle, Generic, Process, ProcessTree,
    SchedMigrateTask, SchedPiSetprio, SchedProcessExec, SchedProcessExit, SchedProcessFork,
    SchedSwitch, SchedWakeup, TaskNewtask, TaskRename, Thread, Trace, TracePacket, What,
};
use crate::names::{current_pid, event_name, hex, state_bits, timer_name};

/// Events that are bundled at a time.
const EVENTS_A_ROUND: usize = 4096;
/// All packets are of one sequence; any number but 0.
const SEQUENCE: u32 = 1;
/// The flag of clone(2) that makes a thread and not a process.
const CLONE_THREAD: u64 = 0x1_0000;

/// Such a trace in the making.
#[derive(Debug)]
pub(crate) struct Perfetto<W> {
    out: W,
    /// By CPU.
    bundles: Vec<FtraceEventBundle>,
    events: usize,
    round_ns: u64,
    tree: ProcessTree,
    /// By task: what was told of it last.
    told: Vec<Option<(i32, Option<Comm>)>>,
}

impl<W: Write> Perfetto<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            bundles: Vec::new(),
            events: 0,
            round_ns: 0,
            tree: ProcessTree::default(),
            told: Vec::new(),
        }
    }

    pub(crate) fn event(&mut self, threads: &mut Threads, event: &Event) -> io::Result<()> {
        self.tell(threads, event);
        if self.events == 0 {
            self.round_ns = event.time_ns;
        }
        if let Kind::Lost(_) = event.kind {
            // A bundle begins after the gap.
            self.flush()?;
            self.bundle(event.cpu).lost_events = Some(true);
            return Ok(());
        }
        let Some((pid, what)) = what(threads, event) else { return Ok(()) };
        let of_ftrace = FtraceEvent {
            timestamp: Some(event.time_ns),
            pid: pid.map(i32::cast_unsigned),
            event: Some(what),
        };
        self.bundle(event.cpu).event.push(of_ftrace);
        self.events += 1;
        if self.events >= EVENTS_A_ROUND { self.flush() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.out)
    }

    fn bundle(&mut self, cpu: u32) -> &mut FtraceEventBundle {
        let index = cpu as usize;
        while self.bundles.len() <= index {
            let cpu = self.bundles.len() as u32;
            self.bundles.push(FtraceEventBundle { cpu: Some(cpu), ..FtraceEventBundle::default() });
        }
        &mut self.bundles[index]
    }

    /// Notes what is new of the tasks of an event.
    fn tell(&mut self, threads: &mut Threads, event: &Event) {
        if let (Some(pid), Some(tgid)) = (event.pid, event.tgid)
            && pid > 0
        {
            let task = threads.find_or_add(pid, tgid);
            self.tell_task(threads, task);
        }
        match &event.kind {
            Kind::Switch(switch) => {
                for task in [&switch.prev, &switch.next] {
                    let task = threads.of(task);
                    self.tell_task(threads, task);
                }
            }
            Kind::Wakeup(wakeup) | Kind::WakeupNew(wakeup) | Kind::Waking(wakeup) => {
                let task = threads.of(&wakeup.task);
                self.tell_task(threads, task);
            }
            Kind::Named(named) => {
                let task = threads.find_or_add(named.pid, named.tgid);
                self.tell_task(threads, task);
            }
            _ => {}
        }
    }

    /// Notes what is new of a task whose process is known.
    fn tell_task(&mut self, threads: &Threads, task: ThreadId) {
        let (index, thread) = (task.index(), &threads[task]);
        if self.told.len() <= index {
            self.told.resize(index + 1, None);
        }
        let now = (thread.tgid, thread.comm);
        if self.told[index] == Some(now) || thread.tgid <= 0 || thread.tid <= 0 {
            return;
        }
        self.told[index] = Some(now);
        if thread.tid == thread.tgid {
            let ppid = threads.get(thread.parent).map(|parent| threads[parent].tgid);
            self.tree.processes.push(Process {
                pid: Some(thread.tgid),
                ppid: ppid.filter(|ppid| *ppid > 0),
                cmdline: vec![thread.name()],
            });
        }
        self.tree.threads.push(Thread {
            tid: Some(thread.tid),
            name: Some(thread.name()),
            tgid: Some(thread.tgid),
        });
    }

    /// Writes a round.
    fn flush(&mut self) -> io::Result<()> {
        let mut trace = Trace::default();
        let mut put = |packet: TracePacket| {
            let trusted_packet_sequence_id = Some(SEQUENCE);
            trace.packet.push(TracePacket { trusted_packet_sequence_id, ..packet });
        };
        if !self.tree.threads.is_empty() {
            let process_tree = Some(std::mem::take(&mut self.tree));
            let timestamp = Some(self.round_ns);
            put(TracePacket { process_tree, timestamp, ..TracePacket::default() });
        }
        for bundle in &mut self.bundles {
            let empty = FtraceEventBundle { cpu: bundle.cpu, ..FtraceEventBundle::default() };
            if *bundle != empty {
                let ftrace_events = Some(std::mem::replace(bundle, empty));
                put(TracePacket { ftrace_events, ..TracePacket::default() });
            }
        }
        self.events = 0;
        self.out.write_all(&trace.encode_to_vec())
    }
}

/// An event as Perfetto has it, and the task that ran.
fn what(threads: &Threads, event: &Event) -> Option<(Option<i32>, What)> {
    let what = match &event.kind {
        Kind::Switch(switch) => {
            let (prev, next) = (&switch.prev, &switch.next);
            What::SchedSwitch(SchedSwitch {
                prev_comm: Some(prev.comm.to_text()),
                prev_pid: Some(prev.pid),
                prev_prio: Some(prev.prio),
                prev_state: Some(state_bits(switch)),
                next_comm: Some(next.comm.to_text()),
                next_pid: Some(next.pid),
                next_prio: Some(next.prio),
            })
        }
        Kind::Wakeup(wakeup) => What::SchedWakeup(wakeup_of(wakeup)),
        Kind::WakeupNew(wakeup) => What::SchedWakeupNew(wakeup_of(wakeup)),
        Kind::Waking(wakeup) => What::SchedWaking(wakeup_of(wakeup)),
        Kind::Fork(fork) => What::SchedProcessFork(SchedProcessFork {
            // A new task has the name of its parent.
            parent_comm: Some(fork.child_comm.to_text()),
            parent_pid: Some(fork.parent),
            child_comm: Some(fork.child_comm.to_text()),
            child_pid: Some(fork.child),
        }),
        Kind::Exec(exec) => What::SchedProcessExec(SchedProcessExec {
            pid: Some(exec.pid),
            old_pid: Some(exec.old_pid),
        }),
        Kind::Exit(exit) => What::SchedProcessExit(SchedProcessExit {
            comm: Some(exit.task.comm.to_text()),
            pid: Some(exit.task.pid),
            tgid: threads.get(exit.task.pid).map(|task| threads[task].tgid).filter(|it| *it > 0),
            prio: Some(exit.task.prio),
        }),
        Kind::Migrate(migrate) => What::SchedMigrateTask(SchedMigrateTask {
            comm: Some(migrate.task.comm.to_text()),
            pid: Some(migrate.task.pid),
            prio: Some(migrate.task.prio),
            orig_cpu: Some(migrate.from.cast_signed()),
            dest_cpu: Some(migrate.to.cast_signed()),
        }),
        Kind::PiSetprio(pi) => What::SchedPiSetprio(SchedPiSetprio {
            comm: Some(pi.comm.to_text()),
            newprio: Some(pi.new_prio),
            oldprio: Some(pi.old_prio),
            pid: Some(pi.pid),
        }),
        Kind::StatRuntime(stat) => {
            let mut fields = vec![
                text_field("comm", stat.comm.to_text()),
                int_field("pid", stat.pid.into()),
                uint_field("runtime", stat.runtime_ns),
            ];
            fields.extend(stat.vruntime_ns.map(|ns| uint_field("vruntime", ns)));
            generic(event, fields)
        }
        Kind::HrtimerExpire(expire) => {
            generic(event, vec![text_field("function", timer_name(expire.function).to_owned())])
        }
        // Names of those that were there before have no time, and are in the tree of processes.
        Kind::Named(named) if event.time_ns > 0 => {
            let what = What::TaskRename(TaskRename {
                pid: Some(named.pid),
                newcomm: Some(named.comm.to_text()),
            });
            return Some((Some(named.pid), what));
        }
        Kind::Cloned(cloned) if event.time_ns > 0 => {
            let comm = threads.get(cloned.pid).map(|task| threads[task].name());
            let is_thread = cloned.tgid == cloned.parent_tgid;
            let what = What::TaskNewtask(TaskNewtask {
                pid: Some(cloned.pid),
                comm,
                clone_flags: Some(if is_thread { CLONE_THREAD } else { 0 }),
            });
            return Some((Some(cloned.parent), what));
        }
        Kind::Other(other) => other_of(other),
        Kind::Named(_) | Kind::Cloned(_) | Kind::Gone(_) | Kind::Lost(_) => return None,
    };
    Some((current_pid(event), what))
}

fn wakeup_of(wakeup: &Wakeup) -> SchedWakeup {
    SchedWakeup {
        comm: Some(wakeup.task.comm.to_text()),
        pid: Some(wakeup.task.pid),
        prio: Some(wakeup.task.prio),
        success: Some(1),
        target_cpu: Some(wakeup.target_cpu.cast_signed()),
    }
}

fn generic(event: &Event, field: Vec<Field>) -> What {
    What::Generic(Generic { event_name: Some(event_name(&event.kind).to_owned()), field })
}

fn other_of(other: &Other) -> What {
    let field = |(name, value): &(std::sync::Arc<str>, Value)| match value {
        Value::Signed(number) => int_field(name, *number),
        Value::Unsigned(number) => uint_field(name, *number),
        Value::Text(text) => text_field(name, text.clone()),
        Value::Bytes(bytes) => text_field(name, hex(bytes)),
    };
    What::Generic(Generic {
        event_name: Some(other.name.to_string()),
        field: other.fields.iter().map(field).collect(),
    })
}

fn text_field(name: &str, value: String) -> Field {
    Field { name: Some(name.to_owned()), value: Some(FieldValue::Str(value)) }
}

fn int_field(name: &str, value: i64) -> Field {
    Field { name: Some(name.to_owned()), value: Some(FieldValue::Int(value)) }
}

fn uint_field(name: &str, value: u64) -> Field {
    Field { name: Some(name.to_owned()), value: Some(FieldValue::Uint(value)) }
}
