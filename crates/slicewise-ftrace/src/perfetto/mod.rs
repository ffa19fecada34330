//! Perfetto's protobuf traces: what they have of ftrace.
//!
//! Packets are read one at a time. Each bundle of ftrace events is of one CPU: Perfetto's service empties the buffers
//! of all CPUs one after the other, and then again. A bundle of a lower CPU than the one before begins a
//! new round. At the end of a round, everything is there that is older than the newest event of the round before
//! and than the newest of each CPU that had something in this round (of a full buffer, only a part is read in one
//! round). Up to there events are sorted and delivered: memory is bounded by about three rounds, and by
//! a number of events, whatever the file says. What comes later than that is delivered late, and counted.

mod compact;
mod event;
mod packets;
mod parts;
mod wire;

use std::io::Read;

use self::compact::Compact;
use self::event::{Events, FLAG_HARDIRQ, FLAGS_NEED_RESCHED, Why};
use self::packets::Packets;
use self::parts::{Part, Parts};
use self::wire::{Fields, Value};
use crate::error::Error;
use crate::event::{Comm, Event, Kind, Named, TaskRef};
use crate::findings::Findings;
use crate::order::Held;
use crate::reader::{TraceFormat, TraceInfo};

/// Fields of `TracePacket`.
const FTRACE_EVENTS: u32 = 1;
const PROCESS_TREE: u32 = 2;
const TIMESTAMP: u32 = 8;
const PROCESS_STATS: u32 = 9;
const FTRACE_STATS: u32 = 34;
const PREVIOUS_PACKET_DROPPED: u32 = 42;
const SYSTEM_INFO: u32 = 45;
const COMPRESSED: u32 = 50;
const COMPRESSED_ZSTD: u32 = 133;

/// Fields of `FtraceEventBundle`.
const CPU: u32 = 1;
const EVENT: u32 = 2;
const LOST_EVENTS: u32 = 3;
const COMPACT_SCHED: u32 = 4;
const FTRACE_CLOCK: u32 = 5;
const ERROR: u32 = 8;
const DESCRIPTOR: u32 = 11;

/// `clone_flags`: a thread of the same process.
const CLONE_THREAD: u64 = 0x1_0000;
/// CPU numbers beyond this are no CPU numbers.
const CPUS_MAX: u64 = 1 << 16;
/// What a compressed packet may grow to.
const UNPACKED_BYTES_MAX: usize = 64 << 20;
/// The kernel has no more tasks at a time.
const TASKS_MAX: usize = 1 << 22;

/// What is known of a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    /// The newest event of this round.
    newest_ns: Option<u64>,
    /// Who runs there; `None` if it is not known, as at the beginning and behind gaps.
    running: Option<TaskRef>,
    /// It had a bundle.
    is_known: bool,
    /// A gap was found and not told, as there was no event behind it.
    is_lost: bool,
    /// Gaps of all CPUs that were told for this one.
    gaps_told: u64,
    /// Events that the kernel had dropped when the recording began.
    dropped_before: Option<u64>,
}

/// A Perfetto trace being read.
#[derive(Debug)]
pub(crate) struct Perfetto<R> {
    packets: Packets<R>,
    /// What a compressed packet holds: packets, too.
    unpacked: Vec<u8>,
    unpacked_at: usize,
    state: State,
    at_end: bool,
}

/// What the packets said so far.
#[derive(Debug)]
struct State {
    events: Events,
    compact: Compact,
    info: TraceInfo,
    held: Held,
    cpus: Vec<Cpu>,
    /// Those that had events in this round.
    in_round: Vec<usize>,
    last_cpu: usize,
    /// The newest event up to the end of the round before.
    round_ns: u64,
    /// A round has ended: up to here, everything is there.
    due_ns: Option<u64>,
    /// By task: its process; 0 if nobody said.
    tgids: Vec<i32>,
    /// Gaps so far that are of all CPUs: packets that were dropped.
    gaps: u64,
    has_ftrace: bool,
}

/// Whether a file that begins so is one of these.
pub(crate) fn is_perfetto(begin: &[u8]) -> bool {
    packets::are_packets(begin)
}

impl<R: Read> Perfetto<R> {
    pub(crate) fn new(file: R) -> Self {
        let state = State {
            events: Events::new(),
            compact: Compact::default(),
            info: TraceInfo::new(TraceFormat::Perfetto),
            held: Held::default(),
            cpus: Vec::new(),
            in_round: Vec::new(),
            last_cpu: 0,
            round_ns: 0,
            due_ns: None,
            tgids: Vec::new(),
            gaps: 0,
            has_ftrace: false,
        };
        let packets = Packets::new(file);
        Self { packets, unpacked: Vec::new(), unpacked_at: 0, state, at_end: false }
    }

    pub(crate) fn info(&self) -> &TraceInfo {
        &self.state.info
    }

    /// Bytes of the file that were read.
    pub(crate) fn position(&self) -> u64 {
        self.packets.position()
    }

    pub(crate) fn next_event(&mut self, findings: &mut Findings) -> Result<Option<Event>, Error> {
        loop {
            if let Some(mut event) = self.state.held.pop() {
                self.state.tell_process(&mut event);
                return Ok(Some(event));
            }
            if self.at_end {
                return Ok(None);
            }
            self.state.held.forget_delivered();
            self.fill(findings)?;
        }
    }

    /// Reads until something is due.
    fn fill(&mut self, findings: &mut Findings) -> Result<(), Error> {
        loop {
            let position = self.packets.position();
            let packed = if self.unpacked_at < self.unpacked.len() {
                let rest = &self.unpacked[self.unpacked_at..];
                let Some((packet, size)) = packets::first(rest) else {
                    findings.malformed(|| {
                        format!("near byte {position}: a compressed packet holds no packets")
                    });
                    self.unpacked_at = self.unpacked.len();
                    continue;
                };
                self.unpacked_at += size;
                // Compressed packets hold none that are compressed.
                self.state.packet(packet, findings).map(|_| None)
            } else if let Some(packet) = self.packets.next(findings)? {
                let bytes = self.packets.bytes(packet);
                let packed = self.state.packet(bytes, findings);
                packed.map(|packed| packed.map(|(codec, bytes)| unpack(codec, bytes)))
            } else {
                self.at_end = true;
                if !self.state.has_ftrace {
                    return Err(no_ftrace());
                }
                self.state.held.release(u64::MAX, findings);
                return Ok(());
            };
            match packed {
                None => findings.malformed(|| format!("near byte {position}: a damaged packet")),
                Some(None) => {}
                Some(Some((unpacked, why))) => {
                    (self.unpacked, self.unpacked_at) = (unpacked, 0);
                    if let Some(why) = why {
                        findings.malformed(|| {
                            format!("near byte {position}: a compressed packet: {why}")
                        });
                    }
                }
            }
            let held = &mut self.state.held;
            if let Some(due_ns) = self.state.due_ns.take()
                && held.is_worth_a_look()
            {
                held.release(due_ns, findings);
            }
            if held.is_ready() || held.release_if_full(findings) {
                return Ok(());
            }
        }
    }
}

/// How a packet is compressed.
#[derive(Clone, Copy, Debug)]
enum Codec {
    Deflate,
    Zstd,
}

/// What can be unpacked of a compressed packet, and why not all of it.
fn unpack(codec: Codec, packed: &[u8]) -> (Vec<u8>, Option<String>) {
    let mut unpacked = Vec::new();
    let limit = UNPACKED_BYTES_MAX as u64 + 1;
    let result = match codec {
        Codec::Deflate => {
            flate2::read::ZlibDecoder::new(packed).take(limit).read_to_end(&mut unpacked)
        }
        Codec::Zstd => zstd::stream::read::Decoder::with_buffer(packed)
            .and_then(|decoder| decoder.take(limit).read_to_end(&mut unpacked)),
    };
    let why = match result {
        Err(error) => Some(error.to_string()),
        Ok(_) if unpacked.len() > UNPACKED_BYTES_MAX => {
            unpacked.clear();
            Some(format!("more than {UNPACKED_BYTES_MAX} bytes"))
        }
        Ok(_) => None,
    };
    (unpacked, why)
}

impl State {
    /// A `TracePacket`. `None` if it is damaged; what it holds if it is a compressed one.
    fn packet<'b>(
        &mut self,
        bytes: &'b [u8],
        findings: &mut Findings,
    ) -> Option<Option<(Codec, &'b [u8])>> {
        let (mut time_ns, mut is_gap, mut packed) = (None, false, None);
        // What stands before damage is taken.
        for field in Fields::new(bytes).map_while(Result::ok) {
            match field {
                (TIMESTAMP, value) => time_ns = value.number(),
                (PREVIOUS_PACKET_DROPPED, value) => is_gap = value.number() != Some(0),
                (COMPRESSED, value) => packed = Some((Codec::Deflate, value.bytes()?)),
                (COMPRESSED_ZSTD, value) => packed = Some((Codec::Zstd, value.bytes()?)),
                _ => {}
            }
        }
        for field in Fields::new(bytes) {
            match field.ok()? {
                (FTRACE_EVENTS, value) => self.bundle(value.bytes()?, is_gap, findings),
                (PROCESS_TREE, value) => self.process_tree(value.bytes()?, time_ns)?,
                (PROCESS_STATS, value) => self.process_stats(value.bytes()?)?,
                (FTRACE_STATS, value) => self.ftrace_stats(value.bytes()?, findings)?,
                (SYSTEM_INFO, value) => self.system_info(value.bytes()?)?,
                _ => {}
            }
        }
        Some(packed)
    }

    /// A `FtraceEventBundle`: events of one CPU.
    fn bundle(&mut self, bytes: &[u8], is_gap: bool, findings: &mut Findings) {
        let (mut number, mut is_lost, mut clock, mut first_ns) = (0, false, 0, None);
        self.compact.clear();
        for part in Parts::new(bytes) {
            let Part::Field(field, value) = part else { continue };
            match (field, value) {
                (CPU, Value::Number(value)) => number = value,
                (LOST_EVENTS, value) => is_lost = value.number() != Some(0),
                (FTRACE_CLOCK, Value::Number(value)) => clock = value,
                // Pages that could not be read.
                (ERROR, _) => is_lost = true,
                (COMPACT_SCHED, Value::Bytes(columns)) => {
                    let read = self.compact.read(columns);
                    if read.is_none() {
                        findings.malformed(|| format!("CPU {number}: damaged compact events"));
                    }
                }
                (EVENT, Value::Bytes(event)) if first_ns.is_none() => {
                    first_ns = event::time_ns(event);
                }
                (DESCRIPTOR, Value::Bytes(descriptor)) => {
                    let described = self.events.describe(descriptor);
                    if described.is_none() {
                        findings.malformed(|| "the description of an event is damaged".to_owned());
                    }
                }
                _ => {}
            }
        }
        if number >= CPUS_MAX {
            findings
                .malformed(|| format!("a bundle of CPU {number}; below {CPUS_MAX} are possible"));
            return;
        }
        self.has_ftrace = true;
        self.gaps += u64::from(is_gap);
        let clock = match clock {
            0 => "boot",
            2 => "global",
            3 => "local",
            4 => "mono_raw",
            _ => "unknown",
        };
        self.info.clock.get_or_insert_with(|| clock.to_owned());
        let index = number as usize;
        self.begin_bundle(index);
        let first_ns = [first_ns, self.compact.first_ns()].into_iter().flatten().min();
        self.gap(index, is_lost, first_ns, findings);
        let mut parts = Parts::new(bytes);
        while let Some(part) = parts.next() {
            match part {
                Part::Field(EVENT, Value::Bytes(event)) => {
                    if !self.event(index, event, findings) {
                        parts.was_damage();
                    }
                }
                Part::Field(..) => {}
                Part::Damage => {
                    findings.malformed(|| format!("CPU {index}: a bundle of events is damaged"));
                }
            }
        }
        self.compact_events(index, findings);
    }

    /// Ends the round if this bundle is of the next one.
    fn begin_bundle(&mut self, index: usize) {
        if self.cpus.len() <= index {
            self.cpus.resize(index + 1, Cpu::default());
        }
        let number = index as u32;
        if let Err(at) = self.info.cpus.binary_search(&number) {
            self.info.cpus.insert(at, number);
        }
        if index < self.last_cpu {
            let cpus = &mut self.cpus;
            let of_cpus = self.in_round.drain(..).filter_map(|at| cpus[at].newest_ns.take()).min();
            self.due_ns = Some(of_cpus.map_or(self.round_ns, |newest| newest.min(self.round_ns)));
            self.round_ns = self.held.take_newest_of_round_ns().unwrap_or(self.round_ns);
        }
        self.last_cpu = index;
    }

    /// Tells a gap before a bundle. The first one of a CPU has nothing before it.
    fn gap(&mut self, index: usize, is_lost: bool, at_ns: Option<u64>, findings: &mut Findings) {
        let cpu = &mut self.cpus[index];
        cpu.is_lost |= cpu.is_known && (is_lost || cpu.gaps_told < self.gaps);
        cpu.is_known = true;
        cpu.gaps_told = self.gaps;
        if let Some(at_ns) = at_ns
            && std::mem::take(&mut cpu.is_lost)
        {
            cpu.running = None;
            findings.lost_places += 1;
            self.push(index, Event::lost(at_ns, index as u32, None));
        }
    }

    fn push(&mut self, index: usize, event: Event) {
        match &mut self.cpus[index].newest_ns {
            Some(newest) => *newest = event.time_ns.max(*newest),
            none => {
                *none = Some(event.time_ns);
                self.in_round.push(index);
            }
        }
        self.held.push(event);
    }

    /// An event; whether its bytes are one.
    fn event(&mut self, index: usize, bytes: &[u8], findings: &mut Findings) -> bool {
        let Some(read) = self.events.read(bytes) else {
            findings.malformed(|| format!("CPU {index}: an event makes no sense"));
            return false;
        };
        let kind = match read.kind {
            Ok(kind) => kind,
            Err(Why::Unknown) => {
                findings.unknown_formats += 1;
                return true;
            }
            Err(Why::Malformed) => {
                let time_ns = read.time_ns;
                findings.malformed(|| format!("CPU {index}, at {time_ns} ns: a damaged event"));
                return false;
            }
        };
        if let Kind::Switch(switch) = &kind {
            self.cpus[index].running = Some(switch.next);
        }
        let (time_ns, cpu, pid) = (read.time_ns, index as u32, read.pid);
        let flag = |mask: u64| read.flags.map(|flags| flags & mask != 0);
        let (in_interrupt, need_resched) = (flag(FLAG_HARDIRQ), flag(FLAGS_NEED_RESCHED));
        self.push(index, Event { time_ns, cpu, pid, tgid: None, in_interrupt, need_resched, kind });
        true
    }

    /// Switches have only who comes: who leaves is whoever came before.
    fn compact_events(&mut self, index: usize, findings: &mut Findings) {
        while let Some(next) = self.compact.next() {
            let running = self.cpus[index].running;
            let mut event = Event {
                time_ns: next.time_ns,
                cpu: index as u32,
                pid: running.map(|task| task.pid),
                tgid: None,
                in_interrupt: None,
                need_resched: None,
                kind: Kind::Lost(None),
            };
            match next.what {
                compact::What::Switch { prev_state, next } => {
                    self.cpus[index].running = Some(next);
                    event.kind = compact::switch(running, prev_state, next, &mut self.events);
                }
                compact::What::Waking { wakeup, flags } => {
                    event.kind = Kind::Waking(wakeup);
                    event.in_interrupt = flags.map(|flags| flags & FLAG_HARDIRQ != 0);
                    event.need_resched = flags.map(|flags| flags & FLAGS_NEED_RESCHED != 0);
                }
            }
            self.push(index, event);
        }
        if self.compact.left_out > 0 {
            let left_out = self.compact.left_out;
            findings.malformed(|| format!("CPU {index}: {left_out} compact events lack parts"));
        }
    }

    /// Says whose thread the task is that ran, and learns from what happens to tasks.
    fn tell_process(&mut self, event: &mut Event) {
        if let Some(pid) = event.pid
            && let Some(tgid @ 1..) = self.tgid(pid)
        {
            event.tgid = Some(tgid);
        }
        match &event.kind {
            // A number that is free again may be given to a thread of another process.
            Kind::Switch(switch) if switch.prev_state == crate::SwitchState::Dead => {
                self.set_tgid(switch.prev.pid, 0);
            }
            Kind::Other(other) if &*other.name == "task_newtask" => {
                let number = |name| other.field(name).and_then(crate::Value::as_u64);
                if let Some((pid, flags)) = number("pid").zip(number("clone_flags")) {
                    let tgid = match flags & CLONE_THREAD {
                        0 => pid as i32,
                        _ => event.tgid.unwrap_or(0),
                    };
                    self.set_tgid(pid as i32, tgid);
                }
            }
            _ => {}
        }
    }

    fn tgid(&self, pid: i32) -> Option<i32> {
        self.tgids.get(usize::try_from(pid).ok()?).copied()
    }

    fn set_tgid(&mut self, pid: i32, tgid: i32) {
        let Some(index) = usize::try_from(pid).ok().filter(|pid| *pid < TASKS_MAX) else { return };
        if index >= self.tgids.len() {
            self.tgids.resize((index + 1).next_power_of_two(), 0);
        }
        self.tgids[index] = tgid;
    }

    /// A `ProcessTree`: processes and threads that came up in events before it.
    fn process_tree(&mut self, bytes: &[u8], time_ns: Option<u64>) -> Option<()> {
        for field in Fields::new(bytes) {
            let (number, value) = field.ok()?;
            let (pid, tgid, name) = match number {
                1 => {
                    let process = value.bytes()?;
                    let parts = wire::first::<9>(process)?;
                    let pid = parts[0]?.number()? as i32;
                    // Otherwise it is how it was called, not its name.
                    let is_comm = parts[8].and_then(Value::number) == Some(1);
                    (pid, pid, parts[2].filter(|_| is_comm))
                }
                2 => {
                    let [tid, name, tgid] = wire::first::<3>(value.bytes()?)?;
                    (tid?.number()? as i32, tgid?.number()? as i32, name)
                }
                _ => continue,
            };
            self.set_tgid(pid, tgid);
            let name = name.and_then(Value::bytes).filter(|name| !name.is_empty());
            if let Some(name) = name {
                // It is of now, and as likely to come before the events of now as behind them.
                let (from, to) = (self.held.delivered_ns(), self.held.newest_ns());
                let time_ns = time_ns.unwrap_or(from).min(to).max(from);
                let kind = Kind::Named(Named { pid, tgid, comm: Comm::new(name), is_exec: false });
                let (cpu, pid) = (0, None);
                let (in_interrupt, need_resched) = (None, None);
                let tgid = None;
                self.held.push(Event { time_ns, cpu, pid, tgid, in_interrupt, need_resched, kind });
            }
        }
        Some(())
    }

    /// A `ProcessStats`: which threads a process has.
    fn process_stats(&mut self, bytes: &[u8]) -> Option<()> {
        for field in Fields::new(bytes) {
            let (1, value) = field.ok()? else { continue };
            let process = value.bytes()?;
            let [pid] = wire::first::<1>(process)?;
            let Some(pid) = pid.and_then(Value::number) else { continue };
            self.set_tgid(pid as i32, pid as i32);
            for field in Fields::new(process) {
                let (11, value) = field.ok()? else { continue };
                let [tid] = wire::first::<1>(value.bytes()?)?;
                if let Some(tid) = tid.and_then(Value::number) {
                    self.set_tgid(tid as i32, pid as i32);
                }
            }
        }
        Some(())
    }

    /// A `FtraceStats`: what the kernel dropped, at the beginning of the recording (1) and at its end (2).
    fn ftrace_stats(&mut self, bytes: &[u8], findings: &mut Findings) -> Option<()> {
        let [phase] = wire::first::<1>(bytes)?;
        let phase = phase.and_then(Value::number);
        let mut cpus = 0;
        for field in Fields::new(bytes) {
            let (2, value) = field.ok()? else { continue };
            let [cpu, _, overrun, commit_overrun, _, _, _, dropped] =
                wire::first::<8>(value.bytes()?)?;
            let number = |value: Option<Value<'_>>| value.and_then(Value::number).unwrap_or(0);
            let index = number(cpu);
            if index >= CPUS_MAX {
                continue;
            }
            cpus += 1;
            let index = index as usize;
            if self.cpus.len() <= index {
                self.cpus.resize(index + 1, Cpu::default());
            }
            let parts = [overrun, commit_overrun, dropped].map(number);
            let dropped = parts.into_iter().fold(0, u64::saturating_add);
            let before = &mut self.cpus[index].dropped_before;
            match (phase, *before) {
                (Some(1), _) => *before = Some(dropped),
                (Some(2), Some(before)) => {
                    let during = dropped.saturating_sub(before);
                    findings.lost_events = findings.lost_events.saturating_add(during);
                }
                _ => {}
            }
        }
        if cpus > 0 && self.info.online_cpus.is_none() {
            self.info.online_cpus = Some(cpus);
        }
        Some(())
    }

    fn system_info(&mut self, bytes: &[u8]) -> Option<()> {
        let [utsname, _, _, _, _, _, _, cpus] = wire::first::<8>(bytes)?;
        if let Some(cpus) = cpus.and_then(Value::number).and_then(|cpus| u32::try_from(cpus).ok()) {
            self.info.online_cpus = Some(cpus);
        }
        let [system, version, release, machine] = wire::first::<4>(utsname?.bytes()?)?;
        let words = [system, release, version, machine].into_iter().flatten();
        let words = words.filter_map(Value::bytes).map(event::text_of).collect::<Vec<_>>();
        self.info.uname = Some(words.join(" "));
        Some(())
    }
}

fn no_ftrace() -> Error {
    Error::unsupported(
        "the Perfetto trace has no ftrace events, so nothing of scheduling: record with the data \
         source `linux.ftrace` and its events `sched/sched_switch`, `sched/sched_waking`; what \
         `slicewise run --trace OUT.pftrace` writes is to be looked at only, take OUT.swtrace",
    )
}
