//! Why tasks waited: each wait split by what had the CPU meanwhile.

use rustc_hash::{FxHashMap, FxHashSet};
use slicewise_ftrace::{Event, Kind, SwitchState, TaskRef};

use crate::groups::TaskGroups;
use crate::threads::{ThreadId, Threads};
use crate::waits::Begun;

/// An idle CPU takes a task that may run there sooner than this: a task that waits longer on one is
/// not let run.
const STOPPED_NS_MIN: u64 = 1_000_000;
/// Parts of one wait that are kept; more are put together.
const PARTS_MAX: usize = 48;
/// The kernel's number of the first fair priority.
const PRIO_FAIR_FIRST: i32 = 100;
/// The process of all kernel threads but itself.
const KTHREADD: i32 = 2;

/// What a wait is due to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// Its group had used up its quota (or its real-time tasks their part of the period): it was not let run.
    Quota,
    /// A task of its own group ran.
    SameGroup,
    /// A task of another group ran.
    OtherGroup,
    /// A FIFO or RR task ran.
    RealTime,
    /// A deadline task ran.
    Deadline,
    /// A kernel thread ran.
    KernelThread,
    /// Its CPU was in an interrupt.
    Interrupt,
    /// Its CPU was idle: it had to be told and to come out of its idle state.
    IdleExit,
    /// Its CPU was busy, but another was idle.
    IdleElsewhere,
    /// The trace does not say who ran.
    Unknown,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Quota,
        Self::SameGroup,
        Self::OtherGroup,
        Self::RealTime,
        Self::Deadline,
        Self::KernelThread,
        Self::Interrupt,
        Self::IdleElsewhere,
        Self::IdleExit,
        Self::Unknown,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quota => "own_quota",
            Self::SameGroup => "same_group",
            Self::OtherGroup => "other_group",
            Self::RealTime => "real_time",
            Self::Deadline => "deadline",
            Self::KernelThread => "kernel_thread",
            Self::Interrupt => "interrupt",
            Self::IdleExit => "idle_exit",
            Self::IdleElsewhere => "idle_elsewhere",
            Self::Unknown => "unknown",
        }
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|cause| *cause == self).unwrap_or(0)
    }
}

/// Time by cause, ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ByCause([u64; Cause::ALL.len()]);

impl ByCause {
    /// Of one cause.
    pub fn of(&self, cause: Cause) -> u64 {
        self.0[cause.index()]
    }

    /// Of all.
    pub fn total_ns(&self) -> u64 {
        self.0.iter().sum()
    }

    /// What there is most of, if there is anything.
    pub fn most(&self) -> Option<(Cause, u64)> {
        let all = Cause::ALL.into_iter().map(|cause| (cause, self.of(cause)));
        // The first of equals.
        all.rev().max_by_key(|(_, ns)| *ns).filter(|(_, ns)| *ns > 0)
    }

    pub(crate) fn add(&mut self, cause: Cause, ns: u64) {
        self.0[cause.index()] += ns;
    }
}

impl std::ops::AddAssign for ByCause {
    fn add_assign(&mut self, other: Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
    }
}

/// A part of a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitPart {
    /// On which CPU's queue the task was.
    pub cpu: u32,
    /// Who ran there; `None` if nobody did, or nobody knows.
    pub who: Option<ThreadId>,
    /// What it is due to.
    pub cause: Cause,
    /// How long, ns.
    pub ns: u64,
    /// So much of it while another CPU was idle, ns.
    pub beside_idle_ns: u64,
}

/// A wait, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExplainedWait {
    /// Who waited.
    pub task: ThreadId,
    /// How it began.
    pub begun: Begun,
    /// When, ns of the trace's clock.
    pub from_ns: u64,
    /// When the task got a CPU.
    pub to_ns: u64,
    /// Where it got it.
    pub cpu: u32,
    /// What happened meanwhile, in order.
    pub parts: Vec<WaitPart>,
    /// There were more parts; the shortest are put together.
    pub is_abridged: bool,
    /// The quota is not in the trace, but nothing else explains that the task did not run on an idle CPU.
    pub is_quota_inferred: bool,
    /// The time by cause.
    pub by_cause: ByCause,
}

impl ExplainedWait {
    /// How long it was.
    pub fn ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }
}

#[derive(Clone, Debug)]
struct Waiting {
    begun: Begun,
    from_ns: u64,
    cpu: u32,
    /// Up to here the parts go.
    counted_ns: u64,
    /// How long any CPU had been idle by then.
    idle_clock_ns: u64,
    parts: Vec<WaitPart>,
    is_abridged: bool,
}

#[derive(Clone, Debug, Default)]
struct Cpu {
    /// Who runs; `None` is nobody known.
    running: Option<(ThreadId, i32)>,
    is_idle: bool,
    /// Interrupts within interrupts.
    irq_depth: u32,
    /// Tasks that are explained and wait here.
    waiters: Vec<ThreadId>,
}

/// Finds out why tasks waited.
#[derive(Clone, Debug, Default)]
pub struct Explainer {
    groups: TaskGroups,
    by_waking: bool,
    cpus: Vec<Cpu>,
    waiting: FxHashMap<ThreadId, Waiting>,
    running: Vec<bool>,
    /// Groups of which a task was taken off a CPU that then was idle.
    stopped_groups: FxHashSet<u64>,
    idle_cpus: u32,
    /// How long at least one CPU has been idle, up to `idle_since_ns` or still going on.
    idle_clock_ns: u64,
    idle_since_ns: u64,
}

impl Explainer {
    /// Nothing yet.
    pub fn new(groups: TaskGroups) -> Self {
        Self { groups, ..Self::default() }
    }

    /// Who belongs together.
    pub fn groups(&mut self) -> &mut TaskGroups {
        &mut self.groups
    }

    /// Takes in an event; the wait that it ends, if `wanted` says so of its task. `threads` must have seen it.
    pub fn event(
        &mut self,
        threads: &mut Threads,
        event: &Event,
        mut wanted: impl FnMut(&Threads, ThreadId) -> bool,
    ) -> Option<ExplainedWait> {
        let now_ns = event.time_ns;
        match &event.kind {
            Kind::Switch(switch) => {
                let (prev, next) = (threads.of(&switch.prev), threads.of(&switch.next));
                self.count_cpu(threads, event.cpu, now_ns);
                let goes_on =
                    matches!(switch.prev_state, SwitchState::Runnable | SwitchState::Preempted);
                if switch.prev.pid != 0 {
                    self.set_running(prev, false);
                    if goes_on && switch.next.pid == 0 {
                        let group = self.groups.group(threads, prev);
                        self.stopped_groups.insert(group);
                    }
                    if goes_on && wanted(threads, prev) {
                        self.begin(prev, event.cpu, now_ns, Begun::Preempted);
                    }
                }
                let ended = match switch.next.pid {
                    0 => None,
                    _ => {
                        self.set_running(next, true);
                        self.end(threads, next, event.cpu, now_ns)
                    }
                };
                self.set_idle(event.cpu, switch.next.pid == 0, now_ns);
                let cpu = self.cpu(event.cpu);
                cpu.running = (switch.next.pid != 0).then_some((next, switch.next.prio));
                ended
            }
            Kind::Waking(wakeup) => {
                self.by_waking = true;
                self.woken(threads, &wakeup.task, wakeup.target_cpu, now_ns, Begun::Wakeup, wanted);
                None
            }
            Kind::Wakeup(wakeup) => {
                if self.by_waking {
                    // Where it was put, where the waking only says where it was.
                    let task = threads.of(&wakeup.task);
                    self.moves(threads, task, wakeup.target_cpu, now_ns);
                } else {
                    let cpu = wakeup.target_cpu;
                    self.woken(threads, &wakeup.task, cpu, now_ns, Begun::Wakeup, wanted);
                }
                None
            }
            Kind::WakeupNew(wakeup) => {
                self.woken(threads, &wakeup.task, wakeup.target_cpu, now_ns, Begun::New, wanted);
                None
            }
            Kind::Migrate(migrate) => {
                let task = threads.of(&migrate.task);
                self.moves(threads, task, migrate.to, now_ns);
                None
            }
            Kind::Lost(_) => {
                self.count_cpu(threads, event.cpu, now_ns);
                self.set_idle(event.cpu, false, now_ns);
                let cpu = self.cpu(event.cpu);
                (cpu.running, cpu.irq_depth) = (None, 0);
                None
            }
            Kind::Other(other) => {
                if let Some(cpu) = TaskGroups::changes(event) {
                    self.count_cpu(threads, cpu, now_ns);
                }
                self.groups.event(threads, event);
                let enters = match &*other.name {
                    "irq_handler_entry" | "softirq_entry" => true,
                    "irq_handler_exit" | "softirq_exit" => false,
                    name if name.ends_with("_entry") && is_vector(&other.system, name) => true,
                    name if name.ends_with("_exit") && is_vector(&other.system, name) => false,
                    _ => return None,
                };
                self.count_cpu(threads, event.cpu, now_ns);
                let cpu = self.cpu(event.cpu);
                cpu.irq_depth =
                    if enters { cpu.irq_depth + 1 } else { cpu.irq_depth.saturating_sub(1) };
                None
            }
            _ => None,
        }
    }

    fn cpu(&mut self, cpu: u32) -> &mut Cpu {
        let index = cpu as usize;
        if self.cpus.len() <= index {
            self.cpus.resize(index + 1, Cpu::default());
        }
        &mut self.cpus[index]
    }

    fn set_running(&mut self, task: ThreadId, runs: bool) {
        let index = task.index();
        if self.running.len() <= index {
            self.running.resize(index + 1, false);
        }
        self.running[index] = runs;
    }

    fn set_idle(&mut self, cpu: u32, is_idle: bool, now_ns: u64) {
        let was = std::mem::replace(&mut self.cpu(cpu).is_idle, is_idle);
        if was == is_idle {
            return;
        }
        if is_idle {
            if self.idle_cpus == 0 {
                self.idle_since_ns = now_ns;
            }
            self.idle_cpus += 1;
        } else {
            self.idle_cpus -= 1;
            if self.idle_cpus == 0 {
                self.idle_clock_ns += now_ns.saturating_sub(self.idle_since_ns);
            }
        }
    }

    /// How long at least one CPU has been idle.
    fn idle_clock(&self, now_ns: u64) -> u64 {
        match self.idle_cpus {
            0 => self.idle_clock_ns,
            _ => self.idle_clock_ns + now_ns.saturating_sub(self.idle_since_ns),
        }
    }

    fn woken(
        &mut self,
        threads: &mut Threads,
        task: &TaskRef,
        cpu: u32,
        now_ns: u64,
        begun: Begun,
        mut wanted: impl FnMut(&Threads, ThreadId) -> bool,
    ) {
        let id = threads.of(task);
        let runs = self.running.get(id.index()).copied().unwrap_or(false);
        if !runs && !self.waiting.contains_key(&id) && wanted(threads, id) {
            self.begin(id, cpu, now_ns, begun);
        }
    }

    fn begin(&mut self, task: ThreadId, cpu: u32, now_ns: u64, begun: Begun) {
        let idle_clock_ns = self.idle_clock(now_ns);
        let waiting = Waiting {
            begun,
            from_ns: now_ns,
            cpu,
            counted_ns: now_ns,
            idle_clock_ns,
            parts: Vec::new(),
            is_abridged: false,
        };
        self.waiting.insert(task, waiting);
        self.cpu(cpu).waiters.push(task);
    }

    fn moves(&mut self, threads: &Threads, task: ThreadId, to: u32, now_ns: u64) {
        let Some(from) = self.waiting.get(&task).map(|waiting| waiting.cpu) else { return };
        if from == to {
            return;
        }
        self.count(threads, task, now_ns);
        self.cpu(from).waiters.retain(|waiter| *waiter != task);
        self.cpu(to).waiters.push(task);
        if let Some(waiting) = self.waiting.get_mut(&task) {
            waiting.cpu = to;
        }
    }

    fn count_cpu(&mut self, threads: &Threads, cpu: u32, now_ns: u64) {
        let waiters = std::mem::take(&mut self.cpu(cpu).waiters);
        for task in &waiters {
            self.count(threads, *task, now_ns);
        }
        self.cpu(cpu).waiters = waiters;
    }

    /// What a task waited for up to now.
    fn count(&mut self, threads: &Threads, task: ThreadId, now_ns: u64) {
        let idle_clock_ns = self.idle_clock(now_ns);
        let Some(waiting) = self.waiting.get_mut(&task) else { return };
        let ns = now_ns.saturating_sub(waiting.counted_ns);
        if ns == 0 {
            return;
        }
        let cpu = &self.cpus[waiting.cpu as usize];
        let beside_idle_ns =
            if cpu.is_idle { 0 } else { (idle_clock_ns - waiting.idle_clock_ns).min(ns) };
        (waiting.counted_ns, waiting.idle_clock_ns) = (now_ns, idle_clock_ns);
        let who = cpu.running.map(|(who, _)| who);
        let stopped = self.groups.is_stopped(threads, task, waiting.cpu);
        let cause = match cpu.running {
            _ if stopped == Some(true) => Cause::Quota,
            _ if cpu.irq_depth > 0 => Cause::Interrupt,
            None if cpu.is_idle => Cause::IdleExit,
            None => Cause::Unknown,
            Some((_, ..0)) => Cause::Deadline,
            Some((who, prio)) => {
                let kernel = is_kernel_thread(threads, who);
                match prio < PRIO_FAIR_FIRST {
                    true if kernel => Cause::KernelThread,
                    true => Cause::RealTime,
                    false if kernel => Cause::KernelThread,
                    false => match self.groups.is_together(threads, who, task) {
                        true => Cause::SameGroup,
                        false => Cause::OtherGroup,
                    },
                }
            }
        };
        let part = WaitPart { cpu: waiting.cpu, who, cause, ns, beside_idle_ns };
        if let Some(last) = waiting.parts.last_mut()
            && (last.cpu, last.who, last.cause) == (part.cpu, part.who, part.cause)
        {
            last.ns += ns;
            last.beside_idle_ns += beside_idle_ns;
            return;
        }
        waiting.parts.push(part);
        if waiting.parts.len() > PARTS_MAX {
            waiting.is_abridged = true;
            squeeze(&mut waiting.parts);
        }
    }

    /// A CPU that is slow to come out of its idle state looks the same as one that may not run the task, but for
    /// this: it does not take a task off that could go on, to be idle.
    fn seems_stopped(&mut self, threads: &Threads, wait: &ExplainedWait) -> bool {
        let idle = |part: Option<&WaitPart>| part.is_some_and(|it| it.cause == Cause::IdleExit);
        let was_taken_off = wait.begun == Begun::Preempted && idle(wait.parts.first());
        let group = self.groups.group(threads, wait.task);
        was_taken_off || (self.stopped_groups.contains(&group) && idle(wait.parts.last()))
    }

    fn end(
        &mut self,
        threads: &Threads,
        task: ThreadId,
        cpu: u32,
        now_ns: u64,
    ) -> Option<ExplainedWait> {
        // On whichever CPU it was: that of this event is counted already.
        self.count(threads, task, now_ns);
        let waiting = self.waiting.remove(&task)?;
        self.cpu(waiting.cpu).waiters.retain(|waiter| *waiter != task);
        let mut wait = ExplainedWait {
            task,
            begun: waiting.begun,
            from_ns: waiting.from_ns,
            to_ns: now_ns,
            cpu,
            parts: waiting.parts,
            is_abridged: waiting.is_abridged,
            is_quota_inferred: false,
            by_cause: ByCause::default(),
        };
        let known = self.groups.is_stopped(threads, task, cpu).is_some();
        let idle = |part: &&WaitPart| part.cause == Cause::IdleExit;
        let idle_ns: u64 = wait.parts.iter().filter(idle).map(|part| part.ns).sum();
        if !known && idle_ns >= STOPPED_NS_MIN && self.seems_stopped(threads, &wait) {
            // It could run, its CPU had nothing else to do, and it did not run.
            wait.is_quota_inferred = true;
            for part in &mut wait.parts {
                (part.cause, part.beside_idle_ns) = (Cause::Quota, 0);
            }
        }
        for part in &wait.parts {
            let elsewhere_ns = match part.cause {
                // Of no use to who may not run.
                Cause::Quota | Cause::IdleExit => 0,
                _ => part.beside_idle_ns,
            };
            wait.by_cause.add(part.cause, part.ns - elsewhere_ns);
            wait.by_cause.add(Cause::IdleElsewhere, elsewhere_ns);
        }
        Some(wait)
    }
}

/// Puts the two neighbours together that are the shortest.
fn squeeze(parts: &mut Vec<WaitPart>) {
    let pair = |at: usize| parts[at].ns + parts[at + 1].ns;
    let Some(at) = (0..parts.len() - 1).min_by_key(|at| pair(*at)) else { return };
    let gone = parts.remove(at + 1);
    let kept = &mut parts[at];
    if gone.ns > kept.ns {
        (kept.cpu, kept.who, kept.cause) = (gone.cpu, gone.who, gone.cause);
    }
    kept.ns += gone.ns;
    kept.beside_idle_ns += gone.beside_idle_ns;
}

/// Interrupt vectors have an event each: `local_timer_entry`.
fn is_vector(system: &str, name: &str) -> bool {
    let vectors = [
        "local_timer",
        "reschedule",
        "call_function",
        "call_function_single",
        "irq_work",
        "spurious_apic",
        "error_apic",
        "thermal_apic",
        "x86_platform_ipi",
        "deferred_error_apic",
        "threshold_apic",
    ];
    let vector = name.strip_suffix("_entry").or(name.strip_suffix("_exit")).unwrap_or(name);
    (system == "irq_vectors" || system.is_empty()) && vectors.contains(&vector)
}

/// Whether a task is a thread of the kernel, as far as one can tell: a child of `kthreadd`, or one of its
/// names.
pub(crate) fn is_kernel_thread(threads: &Threads, task: ThreadId) -> bool {
    let thread = &threads[task];
    if thread.parent == KTHREADD || thread.tid == KTHREADD {
        return true;
    }
    let Some(comm) = thread.comm else { return false };
    let name = comm.as_bytes();
    let begins = [
        &b"kworker/"[..],
        b"ksoftirqd/",
        b"migration/",
        b"rcu_",
        b"rcuc/",
        b"rcuog/",
        b"rcuop/",
        b"cpuhp/",
        b"irq/",
        b"kswapd",
        b"kcompactd",
        b"khugepaged",
        b"kthreadd",
        b"jbd2/",
        b"idle_inject/",
        b"irq_work/",
        b"backlog_napi/",
        b"kdamond",
        b"ktimers/",
    ];
    begins.iter().any(|begin| name.starts_with(begin))
}
