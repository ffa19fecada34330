//! Trace files for <https://ui.perfetto.dev>.
//!
//! | group | track | what it shows |
//! |---|---|---|
//! | CPUs | one a CPU | a slice for each stay of a task, named after the task |
//! | Tasks | one a task | a slice for each state: running, runnable, sleeping |
//! | Tasks | two below each task | counters `vruntime` and `lag`, ns |
//! | Devices | one a device | a slice while it works |
//!
//! A wakeup is an instant on the waker's track and a flow from there to the slice in which the
//! woken task gets the CPU; without a waker it is an instant on the woken task's track.
//!
//! Tasks that are forked over and over share their template's name, which makes the viewer fold
//! their tracks into few rows; they have no counters, which it could not fold.

mod proto;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};

use slicewise_sched::{Attr, CpuId};

use crate::{Event, GroupInfo, Left, Sink, Slot, TaskInfo};
use proto::{Flow, Kind, Track};

/// Packets are gathered up to this many bytes and then written at once.
const BLOCK_BYTES: usize = 256 << 10;
/// The largest packet or pair of packets that events lead to, so that the block never grows.
const SLACK_BYTES: usize = 4 << 10;

/// Writes the stream as a Perfetto trace.
///
/// It writes while the stream comes and keeps only what is open: its memory depends on the number
/// of living tasks and of different names, not on the length of the stream. Errors are kept, and
/// returned by [`PerfettoWriter::finish_writing`].
#[derive(Debug)]
pub struct PerfettoWriter<W: Write> {
    writer: W,
    block: Vec<u8>,
    error: Option<io::Error>,
    now_ns: u64,
    cpus: Vec<Cpu>,
    tasks: Vec<Option<Task>>,
    devices: Vec<Option<bool>>,
    device_names: Vec<String>,
    /// Paths of groups, by number.
    groups: Vec<String>,
    /// Groups that were stopped once, with where: their tracks, and whether they are stopped now.
    stops: BTreeMap<(u32, u32), (u64, bool)>,
    names: BTreeMap<String, u32>,
    name_next: u32,
    flow_next: u64,
}

#[derive(Debug)]
struct Cpu {
    /// Name of the state "running here"; the next is "moves here".
    running_name: u32,
    busy: bool,
}

#[derive(Debug)]
struct Task {
    pid: u32,
    /// Its name; the next two are "wakes" and "forks" it.
    name: u32,
    attr: Attr,
    forked: bool,
    /// A slice of one of its states is open.
    open: bool,
    running: bool,
    counters_described: bool,
    /// A wakeup's flow that has not yet arrived, or 0.
    flow: u64,
}

/// Names every trace has, in this order from 1 on.
const FIXED_NAMES: [&str; 9] = [
    "Runnable",
    "Runnable (preempted)",
    "Runnable (yielded)",
    "Sleeping",
    "Exited",
    "Woken by an interrupt",
    "Started",
    "Busy",
    "Throttled",
];
const RUNNABLE: u32 = 1;
const PREEMPTED: u32 = 2;
const YIELDED: u32 = 3;
const SLEEPING: u32 = 4;
const EXITED: u32 = 5;
const WOKEN: u32 = 6;
const STARTED: u32 = 7;
const BUSY: u32 = 8;
const THROTTLED: u32 = 9;

/// Track ids: four for each pid, so that they are short. What is no task uses the fourth.
mod uuid {
    pub(super) const GROUP_CPUS: u64 = other(0);
    pub(super) const GROUP_TASKS: u64 = other(1);
    pub(super) const GROUP_DEVICES: u64 = other(2);
    pub(super) const GROUP_GROUPS: u64 = other(3);

    const fn other(number: u64) -> u64 {
        number * 4 + 3
    }

    pub(super) fn cpu(cpu: usize) -> u64 {
        other(4 + cpu as u64 * 2)
    }

    pub(super) fn device(device: usize) -> u64 {
        other(5 + device as u64 * 2)
    }

    /// Of a group on a CPU, by the order of their first stops.
    pub(super) fn stop(number: usize) -> u64 {
        other((1 << 34) + number as u64)
    }

    pub(super) fn task(pid: u32) -> u64 {
        u64::from(pid) * 4
    }

    pub(super) fn vruntime(pid: u32) -> u64 {
        task(pid) + 1
    }

    pub(super) fn lag(pid: u32) -> u64 {
        task(pid) + 2
    }
}

impl<W: Write> PerfettoWriter<W> {
    /// Writes to `writer`, in blocks of 256 KiB: it needs no buffer of its own.
    pub fn new(writer: W) -> Self {
        let mut this = Self {
            writer,
            block: Vec::with_capacity(BLOCK_BYTES + SLACK_BYTES),
            error: None,
            now_ns: 0,
            cpus: Vec::new(),
            tasks: Vec::new(),
            devices: Vec::new(),
            device_names: Vec::new(),
            groups: Vec::new(),
            stops: BTreeMap::new(),
            names: BTreeMap::new(),
            name_next: FIXED_NAMES.len() as u32 + 1,
            flow_next: 1,
        };
        proto::start(&mut this.block);
        let names: Vec<_> = (1..).zip(FIXED_NAMES).collect();
        proto::names(&mut this.block, &names);
        this.describe(uuid::GROUP_CPUS, None, "CPUs", 0);
        this.describe(uuid::GROUP_TASKS, None, "Tasks", 1);
        this
    }

    /// Names for devices, by their number; others are called `device N`.
    #[must_use]
    pub fn device_names(mut self, names: Vec<String>) -> Self {
        self.device_names = names;
        self
    }

    /// Closes what is open, writes what is left, and says whether everything could be written.
    pub fn finish_writing(mut self) -> io::Result<W> {
        self.close_all();
        self.write_block();
        if let Some(error) = self.error {
            return Err(error);
        }
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn describe(&mut self, uuid: u64, parent: Option<u64>, name: &str, rank: u32) {
        proto::track(&mut self.block, &Track { uuid, parent, name, rank, counter: false });
    }

    /// Names that get numbers one after the other; the first is returned.
    fn intern(&mut self, names: &[String]) -> u32 {
        let first = self.name_next;
        let numbered: Vec<_> = (first..).zip(names.iter().map(String::as_str)).collect();
        proto::names(&mut self.block, &numbered);
        self.name_next += names.len() as u32;
        first
    }

    fn task_name(&mut self, name: &str) -> u32 {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let first =
            self.intern(&[name.to_owned(), format!("Wakes {name}"), format!("Forks {name}")]);
        self.names.insert(name.to_owned(), first);
        first
    }

    fn see_cpu(&mut self, cpu: CpuId) {
        while self.cpus.len() <= cpu.index() {
            let number = self.cpus.len();
            let name = format!("CPU {number}");
            self.describe(uuid::cpu(number), Some(uuid::GROUP_CPUS), &name, number as u32);
            let running_name = self
                .intern(&[format!("Running on CPU {number}"), format!("Moves to CPU {number}")]);
            self.cpus.push(Cpu { running_name, busy: false });
        }
    }

    #[inline]
    fn emit(&mut self, kind: Kind, track: u64, name: u32, flow: Flow) {
        proto::event(&mut self.block, self.now_ns, kind, track, name, flow);
    }

    #[inline]
    fn end_state(&mut self, slot: Slot) {
        if let Some(Some(task)) = self.tasks.get_mut(slot.index())
            && task.open
        {
            task.open = false;
            task.running = false;
            let track = uuid::task(task.pid);
            self.emit(Kind::End, track, 0, Flow::None);
        }
    }

    #[inline]
    fn begin_state(&mut self, slot: Slot, name: u32, running: bool) {
        if let Some(Some(task)) = self.tasks.get_mut(slot.index()) {
            task.open = true;
            task.running = running;
            let track = uuid::task(task.pid);
            let mut flow = Flow::None;
            if running && task.flow != 0 {
                flow = Flow::Ends(task.flow);
                task.flow = 0;
            }
            self.emit(Kind::Begin, track, name, flow);
        }
    }

    fn switch(&mut self, cpu: CpuId, prev: Option<Slot>, left: Left, next: Option<Slot>) {
        if prev.is_some() && prev == next {
            return;
        }
        self.see_cpu(cpu);
        let track = uuid::cpu(cpu.index());
        if std::mem::take(&mut self.cpus[cpu.index()].busy) {
            self.emit(Kind::End, track, 0, Flow::None);
        }
        if let Some(prev) = prev {
            self.end_state(prev);
            match left {
                Left::Preempted => self.begin_state(prev, PREEMPTED, false),
                Left::Yielded => self.begin_state(prev, YIELDED, false),
                Left::Blocked => self.begin_state(prev, SLEEPING, false),
                Left::Exited | Left::Idle => {}
            }
        }
        let Some(next) = next else { return };
        self.end_state(next);
        self.begin_state(next, self.cpus[cpu.index()].running_name, true);
        if let Some(Some(task)) = self.tasks.get(next.index()) {
            let name = task.name;
            self.cpus[cpu.index()].busy = true;
            self.emit(Kind::Begin, track, name, Flow::None);
        }
    }

    fn wakeup(&mut self, slot: Slot, waker: Option<Slot>, new: bool) {
        let Some(Some(task)) = self.tasks.get(slot.index()) else { return };
        if task.running {
            return;
        }
        let (track, name, in_flight) = (uuid::task(task.pid), task.name, task.flow != 0);
        self.end_state(slot);
        let waker = waker.and_then(|waker| self.tasks.get(waker.index())?.as_ref());
        if let Some(waker) = waker {
            let waker_track = uuid::task(waker.pid);
            // A flow that has not arrived goes on; a second one would have no end.
            let flow = if in_flight { Flow::None } else { Flow::Starts(self.flow_next) };
            self.emit(Kind::Instant, waker_track, name + if new { 2 } else { 1 }, flow);
            if let (false, Some(Some(task))) = (in_flight, self.tasks.get_mut(slot.index())) {
                task.flow = self.flow_next;
                self.flow_next += 1;
            }
        } else {
            self.emit(Kind::Instant, track, if new { STARTED } else { WOKEN }, Flow::None);
        }
        self.begin_state(slot, RUNNABLE, false);
    }

    fn migrate(&mut self, slot: Slot, to: CpuId) {
        self.see_cpu(to);
        if let Some(Some(task)) = self.tasks.get(slot.index()) {
            let (track, name) = (uuid::task(task.pid), self.cpus[to.index()].running_name + 1);
            self.emit(Kind::Instant, track, name, Flow::None);
        }
    }

    fn values(&mut self, slot: Slot, vruntime_ns: u64, lag_ns: i64) {
        let Some(Some(task)) = self.tasks.get_mut(slot.index()) else { return };
        if task.forked {
            return;
        }
        let pid = task.pid;
        if !std::mem::replace(&mut task.counters_described, true) {
            let parent = Some(uuid::task(pid));
            let tracks = [(uuid::vruntime(pid), "vruntime"), (uuid::lag(pid), "lag")];
            for (rank, (uuid, name)) in (0..).zip(tracks) {
                let track = Track { uuid, parent, name, rank, counter: true };
                proto::track(&mut self.block, &track);
            }
        }
        // Perfetto's counters are signed; virtual runtimes above 2^63 ns do not come up.
        let vruntime_ns = i64::try_from(vruntime_ns).unwrap_or(i64::MAX);
        proto::counter(&mut self.block, self.now_ns, uuid::vruntime(pid), vruntime_ns);
        proto::counter(&mut self.block, self.now_ns, uuid::lag(pid), lag_ns);
    }

    fn exit(&mut self, slot: Slot) {
        self.end_state(slot);
        if let Some(Some(task)) = self.tasks.get_mut(slot.index()).map(Option::take) {
            self.emit(Kind::Instant, uuid::task(task.pid), EXITED, Flow::None);
        }
    }

    fn device(&mut self, device: u32, busy: bool) {
        let index = device as usize;
        if self.devices.iter().all(Option::is_none) {
            self.describe(uuid::GROUP_DEVICES, None, "Devices", 2);
        }
        if self.devices.len() <= index {
            self.devices.resize(index + 1, None);
        }
        if self.devices[index].is_none() {
            let name = match self.device_names.get(index) {
                Some(name) => name.clone(),
                None => format!("device {device}"),
            };
            self.describe(uuid::device(index), Some(uuid::GROUP_DEVICES), &name, device);
        }
        if self.devices[index].unwrap_or(false) != busy {
            let kind = if busy { Kind::Begin } else { Kind::End };
            self.emit(kind, uuid::device(index), if busy { BUSY } else { 0 }, Flow::None);
        }
        self.devices[index] = Some(busy);
    }

    /// A group on a CPU has a track from its first stop on.
    fn throttle(&mut self, group: u32, cpu: CpuId, stops: bool) {
        let number = self.stops.len();
        if number == 0 {
            self.describe(uuid::GROUP_GROUPS, None, "Groups", 3);
        }
        if !self.stops.contains_key(&(group, cpu.0)) {
            let path = self.groups.get(group as usize).map_or("group", String::as_str);
            let name = format!("{path} on CPU {cpu}");
            let uuid = uuid::stop(number);
            self.stops.insert((group, cpu.0), (uuid, false));
            self.describe(uuid, Some(uuid::GROUP_GROUPS), &name, group);
        }
        let Some((uuid, stopped)) = self.stops.get_mut(&(group, cpu.0)) else { return };
        if std::mem::replace(stopped, stops) != stops {
            let (kind, name) = if stops { (Kind::Begin, THROTTLED) } else { (Kind::End, 0) };
            let uuid = *uuid;
            self.emit(kind, uuid, name, Flow::None);
        }
    }

    fn changed(&mut self, slot: Slot) {
        if let Some(Some(task)) = self.tasks.get(slot.index()) {
            let mut text = format!("Now {}, nice {}", task.attr.policy, task.attr.nice.get());
            if let Some(slice_ns) = task.attr.slice_ns {
                text.push_str(&format!(", slice {slice_ns} ns"));
            }
            proto::remark(&mut self.block, self.now_ns, uuid::task(task.pid), &text);
        }
    }

    fn close_all(&mut self) {
        for cpu in 0..self.cpus.len() {
            if std::mem::take(&mut self.cpus[cpu].busy) {
                self.emit(Kind::End, uuid::cpu(cpu), 0, Flow::None);
            }
        }
        for slot in 0..self.tasks.len() {
            self.end_state(Slot(slot as u32));
        }
        for device in 0..self.devices.len() {
            if self.devices[device] == Some(true) {
                self.devices[device] = Some(false);
                self.emit(Kind::End, uuid::device(device), 0, Flow::None);
            }
        }
        for (uuid, _) in std::mem::take(&mut self.stops).into_values().filter(|stop| stop.1) {
            self.emit(Kind::End, uuid, 0, Flow::None);
        }
    }

    #[inline]
    fn write_if_full(&mut self) {
        if self.block.len() >= BLOCK_BYTES {
            self.write_block();
        }
    }

    #[cold]
    fn write_block(&mut self) {
        if self.error.is_none()
            && let Err(error) = self.writer.write_all(&self.block)
        {
            self.error = Some(error);
        }
        self.block.clear();
    }
}

impl<W: Write> Sink for PerfettoWriter<W> {
    fn group(&mut self, _: u64, info: &GroupInfo) {
        self.groups.push(info.path.clone());
    }

    fn task(&mut self, now_ns: u64, info: &TaskInfo) {
        self.now_ns = self.now_ns.max(now_ns);
        if self.tasks.len() <= info.slot.index() {
            self.tasks.resize_with(info.slot.index() + 1, || None);
        }
        let name = self.task_name(&info.name);
        let held_by_other =
            |task: &Option<Task>| task.as_ref().is_some_and(|task| task.pid != info.pid);
        if held_by_other(&self.tasks[info.slot.index()]) {
            self.end_state(info.slot);
        }
        let known = self.tasks[info.slot.index()].as_ref();
        if known.is_none_or(|task| task.pid != info.pid || task.name != name) {
            let forked = info.forked_from.is_some();
            let pid = info.pid;
            let shown = if forked { info.name.clone() } else { format!("{} {pid}", info.name) };
            self.describe(uuid::task(pid), Some(uuid::GROUP_TASKS), &shown, pid);
        }
        match &mut self.tasks[info.slot.index()] {
            Some(task) if task.pid == info.pid => {
                task.name = name;
                task.attr = info.attr;
            }
            place => {
                *place = Some(Task {
                    pid: info.pid,
                    name,
                    attr: info.attr,
                    forked: info.forked_from.is_some(),
                    open: false,
                    running: false,
                    counters_described: false,
                    flow: 0,
                });
            }
        }
        self.write_if_full();
    }

    #[inline]
    fn event(&mut self, now_ns: u64, event: &Event) {
        self.now_ns = self.now_ns.max(now_ns);
        match *event {
            Event::Wakeup { task, waker, new, .. } => self.wakeup(task, waker, new),
            Event::Switch { cpu, prev, left, next } => self.switch(cpu, prev, left, next),
            Event::Migrate { task, to, .. } => self.migrate(task, to),
            Event::Changed { task } => self.changed(task),
            Event::Exit { task } => self.exit(task),
            Event::Values { task, vruntime_ns, lag_ns, .. } => {
                self.values(task, vruntime_ns, lag_ns);
            }
            Event::Device { device, busy } => self.device(device, busy),
            Event::Throttle { group, cpu, stops } => self.throttle(group, cpu, stops),
            Event::RtThrottle { group: Some(group), cpu, stops } => {
                self.throttle(group, cpu, stops)
            }
            Event::Response { .. }
            | Event::Loop { .. }
            | Event::Budget { .. }
            | Event::RtThrottle { group: None, .. }
            | Event::Signal { .. } => return,
        }
        self.write_if_full();
    }

    fn wants_values(&self) -> bool {
        true
    }

    fn finish(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        self.close_all();
    }
}
