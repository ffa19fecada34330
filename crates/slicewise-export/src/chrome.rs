//! The JSON of the Trace Event Format, as `chrome://tracing` and others read it.
//!
//! | process | tracks | what they show |
//! |---|---|---|
//! | `CPUs` (0) | one a CPU | a slice for each stay of a task |
//! | one for each process | one a task | `Running` and `Runnable`; nothing while it sleeps |
//!
//! A wakeup is a flow from the waker's slice to that in which the woken task gets its CPU; without a waker (an
//! interrupt came while the CPU was idle) it is an instant on the task's own track. A task whose process the trace
//! does not tell is shown as a process of its own. A task that ran already when its CPU's first event was recorded
//! is taken to have run since then.

use std::io::{self, Write};

use rustc_hash::FxHashSet;
use slicewise_analysis::{ThreadId, Threads};
use slicewise_ftrace::{Comm, Event, Kind, Switch, SwitchState, Wakeup};

use crate::names::state_text;

/// The process of the CPUs' tracks: no task has this number but the idle ones, which have no tracks.
const CPUS: i32 = 0;

/// Such a trace in the making.
#[derive(Debug)]
pub(crate) struct Chrome<W> {
    out: W,
    /// Of the event that is being put together.
    line: Vec<u8>,
    is_first: bool,
    last_ns: u64,
    cpus: Vec<Cpu>,
    tasks: Vec<Task>,
    processes: FxHashSet<i32>,
    flow_next: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    is_named: bool,
    /// Its first event, or its last before a gap.
    first_ns: Option<u64>,
    /// Who runs there, since when.
    current: Option<(ThreadId, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Task {
    /// The process of its track, once it has one.
    process: Option<i32>,
    name: Option<Comm>,
    runnable_since_ns: Option<u64>,
    is_running: bool,
    /// A wakeup's flow that has not arrived.
    flow: Option<u64>,
}

impl<W: Write> Chrome<W> {
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        let mut this = Self {
            out,
            line: Vec::new(),
            is_first: true,
            last_ns: 0,
            cpus: Vec::new(),
            tasks: Vec::new(),
            processes: FxHashSet::default(),
            flow_next: 1,
        };
        this.metadata("process_name", CPUS, None, |line| text(line, "name", "CPUs"))?;
        this.metadata("process_sort_index", CPUS, None, |line| write!(line, "\"sort_index\":-1"))?;
        Ok(this)
    }

    pub(crate) fn event(&mut self, threads: &mut Threads, event: &Event) -> io::Result<()> {
        // Time 0 is no time: such events say what was there before.
        if event.time_ns == 0 && matches!(event.kind, Kind::Named(_)) {
            return Ok(());
        }
        self.last_ns = self.last_ns.max(event.time_ns);
        let cpu = event.cpu as usize;
        if self.cpus.len() <= cpu {
            self.cpus.resize(cpu + 1, Cpu::default());
        }
        self.cpus[cpu].first_ns.get_or_insert(event.time_ns);
        match &event.kind {
            Kind::Switch(switch) => self.switch(threads, event, switch),
            Kind::Wakeup(wakeup) | Kind::WakeupNew(wakeup) | Kind::Waking(wakeup) => {
                self.wakeup(threads, event, wakeup)
            }
            Kind::Lost(_) => {
                // Who ran before the gap need not be who runs after it.
                if let Some((task, since_ns)) = self.cpus[cpu].current.take() {
                    self.ran(threads, event.cpu, task, since_ns, event.time_ns, None)?;
                }
                self.cpus[cpu].first_ns = Some(event.time_ns);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Closes what is open.
    pub(crate) fn finish(mut self, threads: &Threads) -> io::Result<W> {
        for cpu in 0..self.cpus.len() {
            if let Some((task, since_ns)) = self.cpus[cpu].current.take() {
                self.ran(threads, cpu as u32, task, since_ns, self.last_ns, None)?;
            }
        }
        for (index, thread) in threads.all().iter().enumerate() {
            let since_ns = self.tasks.get_mut(index).and_then(|task| task.runnable_since_ns.take());
            if let (Some(since_ns), Some(task)) = (since_ns, threads.get(thread.tid))
                && task.index() == index
            {
                self.waited(threads, task, since_ns, self.last_ns)?;
            }
        }
        self.out.write_all(b"\n]}\n")?;
        Ok(self.out)
    }

    fn switch(&mut self, threads: &mut Threads, event: &Event, switch: &Switch) -> io::Result<()> {
        let (cpu, now_ns) = (event.cpu as usize, event.time_ns);
        let (prev, next) = (threads.of(&switch.prev), threads.of(&switch.next));
        let current = self.cpus[cpu].current.take();
        if switch.prev.pid != 0 {
            let since_ns = match current {
                Some((task, since_ns)) if task == prev => since_ns,
                _ => self.cpus[cpu].first_ns.unwrap_or(now_ns),
            };
            self.ran(threads, event.cpu, prev, since_ns, now_ns, Some(switch))?;
            let goes_on =
                matches!(switch.prev_state, SwitchState::Runnable | SwitchState::Preempted);
            let task = self.task(prev);
            task.is_running = false;
            task.runnable_since_ns = goes_on.then_some(now_ns);
        }
        self.cpus[cpu].first_ns = Some(now_ns);
        if switch.next.pid != 0 {
            self.cpus[cpu].current = Some((next, now_ns));
            let task = self.task(next);
            task.is_running = true;
            let (since_ns, flow) = (task.runnable_since_ns.take(), task.flow.take());
            if let Some(since_ns) = since_ns {
                self.waited(threads, next, since_ns, now_ns)?;
            }
            if let Some(flow) = flow {
                let process = self.see(threads, next)?;
                self.begin("f", "wakeup", now_ns, process, threads[next].tid)?;
                write!(self.line, ",\"cat\":\"wakeup\",\"id\":{flow},\"bp\":\"e\"}}")?;
                self.put()?;
            }
        }
        Ok(())
    }

    fn wakeup(&mut self, threads: &mut Threads, event: &Event, wakeup: &Wakeup) -> io::Result<()> {
        let woken = threads.of(&wakeup.task);
        let now_ns = event.time_ns;
        let task = self.task(woken);
        if task.is_running || task.runnable_since_ns.is_some() {
            return Ok(());
        }
        task.runnable_since_ns = Some(now_ns);
        let waker = self.cpus[event.cpu as usize].current.map(|(task, _)| task);
        let Some(waker) = waker.filter(|waker| *waker != woken) else {
            let process = self.see(threads, woken)?;
            self.begin("i", "woken", now_ns, process, threads[woken].tid)?;
            write!(self.line, ",\"s\":\"t\",\"args\":{{\"on_cpu\":{}}}}}", event.cpu)?;
            return self.put();
        };
        let flow = self.flow_next;
        self.flow_next += 1;
        self.task(woken).flow = Some(flow);
        let process = self.see(threads, waker)?;
        self.begin("s", "wakeup", now_ns, process, threads[waker].tid)?;
        write!(self.line, ",\"cat\":\"wakeup\",\"id\":{flow}}}")?;
        self.put()
    }

    /// The slices of a run, on the CPU's track and on the task's.
    fn ran(
        &mut self,
        threads: &Threads,
        cpu: u32,
        task: ThreadId,
        since_ns: u64,
        now_ns: u64,
        left: Option<&Switch>,
    ) -> io::Result<()> {
        let thread = &threads[task];
        if !std::mem::replace(&mut self.cpus[cpu as usize].is_named, true) {
            let name = format!("CPU {cpu}");
            self.metadata("thread_name", CPUS, Some(i64::from(cpu)), |line| {
                text(line, "name", &name)
            })?;
        }
        let process = self.see(threads, task)?;
        self.begin("X", &thread.name(), since_ns, CPUS, i64::from(cpu))?;
        self.duration(since_ns, now_ns)?;
        write!(self.line, ",\"args\":{{\"tid\":{},\"pid\":{process}", thread.tid)?;
        if let Some(switch) = left {
            let state = state_text(switch);
            write!(self.line, ",\"prio\":{},\"left\":\"{state}\"", switch.prev.prio)?;
        }
        self.line.extend_from_slice(b"}}");
        self.put()?;
        self.begin("X", "Running", since_ns, process, i64::from(thread.tid))?;
        self.duration(since_ns, now_ns)?;
        write!(self.line, ",\"cname\":\"thread_state_running\",\"args\":{{\"cpu\":{cpu}}}}}")?;
        self.put()
    }

    /// The slice of a wait.
    fn waited(
        &mut self,
        threads: &Threads,
        task: ThreadId,
        since_ns: u64,
        now_ns: u64,
    ) -> io::Result<()> {
        let process = self.see(threads, task)?;
        self.begin("X", "Runnable", since_ns, process, i64::from(threads[task].tid))?;
        self.duration(since_ns, now_ns)?;
        self.line.extend_from_slice(b",\"cname\":\"thread_state_runnable\"}");
        self.put()
    }

    fn task(&mut self, task: ThreadId) -> &mut Task {
        let index = task.index();
        if self.tasks.len() <= index {
            self.tasks.resize(index + 1, Task::default());
        }
        &mut self.tasks[index]
    }

    /// Names a task's track where that is new; the process it is in.
    fn see(&mut self, threads: &Threads, id: ThreadId) -> io::Result<i32> {
        let thread = &threads[id];
        let task = self.task(id);
        let process =
            *task.process.get_or_insert(if thread.tgid > 0 { thread.tgid } else { thread.tid });
        let renamed = task.name != Some(thread.comm.unwrap_or_default());
        task.name = Some(thread.comm.unwrap_or_default());
        let is_new = self.processes.insert(process);
        if is_new || (renamed && thread.tid == process) {
            let leader = threads.get(process).map(|leader| &threads[leader]);
            let name = leader.filter(|leader| leader.comm.is_some()).unwrap_or(thread).name();
            self.metadata("process_name", process, None, |line| text(line, "name", &name))?;
        }
        if renamed {
            let name = thread.name();
            let tid = Some(i64::from(thread.tid));
            self.metadata("thread_name", process, tid, |line| text(line, "name", &name))?;
        }
        Ok(process)
    }

    fn metadata(
        &mut self,
        what: &str,
        process: i32,
        tid: Option<i64>,
        args: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        // It may come up while another event is put together.
        let mut line = Vec::with_capacity(96);
        write!(line, "{{\"ph\":\"M\",\"name\":\"{what}\",\"pid\":{process}")?;
        if let Some(tid) = tid {
            write!(line, ",\"tid\":{tid}")?;
        }
        line.extend_from_slice(b",\"args\":{");
        args(&mut line)?;
        line.extend_from_slice(b"}}");
        let other = std::mem::replace(&mut self.line, line);
        self.put()?;
        self.line = other;
        Ok(())
    }

    /// Up to the place and the time.
    fn begin(
        &mut self,
        phase: &str,
        name: &str,
        at_ns: u64,
        process: i32,
        tid: impl Into<i64>,
    ) -> io::Result<()> {
        let tid: i64 = tid.into();
        self.line.clear();
        write!(self.line, "{{\"ph\":\"{phase}\",\"pid\":{process},\"tid\":{tid},")?;
        text(&mut self.line, "name", name)?;
        self.line.extend_from_slice(b",\"ts\":");
        us(&mut self.line, at_ns)
    }

    fn duration(&mut self, since_ns: u64, now_ns: u64) -> io::Result<()> {
        self.line.extend_from_slice(b",\"dur\":");
        us(&mut self.line, now_ns.saturating_sub(since_ns))
    }

    fn put(&mut self) -> io::Result<()> {
        let separator: &[u8] = if self.is_first { b"\n" } else { b",\n" };
        self.is_first = false;
        self.out.write_all(separator)?;
        self.out.write_all(&self.line)
    }
}

/// Microseconds with three places: nanoseconds.
fn us(line: &mut Vec<u8>, ns: u64) -> io::Result<()> {
    write!(line, "{}.{:03}", ns / 1_000, ns % 1_000)
}

fn text(line: &mut Vec<u8>, key: &str, value: &str) -> io::Result<()> {
    write!(line, "\"{key}\":")?;
    serde_json::to_writer(line, value).map_err(io::Error::from)
}
