//! The system the calls act on: tasks, root domains, sysctls.

use std::collections::BTreeMap;

use slicewise_sched::deadline::{PeriodLimits, RootDomain, to_ratio};
use slicewise_sched::{Attr, CpuId, CpuSet, RtRules};

use crate::refusal::{Refusal, Rule};
use crate::rules::Rules;
use crate::sysctl::Sysctls;
use crate::task::{Pid, Task};

/// What a call has changed that a scheduler has to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A task's policy, nice value, priority, slice or reservation.
    Attr {
        /// Whose.
        pid: Pid,
        /// All of them, as they are now.
        attr: Attr,
    },
    /// The CPUs a task may use.
    Affinity {
        /// Whose.
        pid: Pid,
        /// All that are left after its cpuset's.
        cpus: CpuSet,
    },
    /// What may be reserved for deadline tasks.
    RtBandwidth {
        /// `sched_rt_runtime_us`; `None` is no limit.
        runtime_us: Option<u64>,
        /// `sched_rt_period_us`.
        period_us: u64,
    },
}

/// A root domain: CPUs among which deadline tasks are admitted together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    /// Its CPUs.
    pub span: CpuSet,
    /// How many these are.
    pub cpus: u32,
    bandwidth: RootDomain,
}

impl Domain {
    fn new(rules: &RtRules, span: CpuSet, cpus: u32) -> Self {
        Self { span, cpus, bandwidth: RootDomain::new(rules, cpus) }
    }

    /// What may be reserved, in 2^-20 of a CPU; `None` without a limit.
    pub fn limit(&self) -> Option<u64> {
        self.bandwidth.limit()
    }

    /// What is reserved, in 2^-20 of a CPU, fair servers and tasks that have only just left included.
    pub fn total(&self) -> u64 {
        self.bandwidth.total()
    }

    pub(crate) fn bandwidth(&self) -> &RootDomain {
        &self.bandwidth
    }

    pub(crate) fn exchange(&mut self, old: u64, new: u64) {
        self.bandwidth.replace(old, new);
    }

    /// What is reserved is counted anew.
    pub(crate) fn recount(&mut self, rules: &RtRules, tasks: u64, servers: bool) {
        let fair_server = rules.fair_server.filter(|_| servers);
        self.bandwidth = RootDomain::new(&RtRules { fair_server, ..*rules }, self.cpus);
        self.bandwidth.replace(0, tasks);
    }

    /// Other sysctls: what is reserved stays.
    pub(crate) fn rebuild(&mut self, rules: &RtRules) {
        let fresh = RtRules { fair_server: None, ..*rules };
        let total = self.total();
        self.bandwidth = RootDomain::new(&fresh, self.cpus);
        self.bandwidth.replace(0, total);
    }
}

/// Bandwidth of a task that is no deadline task any more, before its zero-lag time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Leaving {
    pub(crate) domain: usize,
    pub(crate) bandwidth: u64,
}

/// Tasks, CPUs and settings, and what the kernel in question makes of calls.
///
/// The methods named after system calls take the caller's number first. What they return is what
/// the program gets; a refused call has changed nothing, except that `setpriority` of several tasks
/// reports the last error and changes the others. [`take_changes`](Self::take_changes) says what a
/// scheduler has to be told.
#[derive(Clone, PartialEq, Debug)]
pub struct System {
    pub(crate) rules: Rules,
    cpus: u32,
    pub(crate) domains: Vec<Domain>,
    pub(crate) tasks: BTreeMap<Pid, Task>,
    pub(crate) leaving: BTreeMap<Pid, Leaving>,
    pub(crate) sysctls: Sysctls,
    pub(crate) changes: Vec<Change>,
    /// The slice of tasks without one of their own, ns.
    pub base_slice_ns: u64,
}

impl System {
    /// A system with its CPUs in one root domain, defaults everywhere, and no task.
    pub fn new(rules: Rules, cpus: u32) -> Self {
        let cpus = cpus.clamp(1, slicewise_sched::CPUS_MAX);
        let span = CpuSet::of((0..cpus).map(CpuId));
        Self {
            domains: vec![Domain::new(&rules.rt, span, cpus)],
            tasks: BTreeMap::new(),
            leaving: BTreeMap::new(),
            sysctls: Sysctls::new(&rules),
            changes: Vec::new(),
            base_slice_ns: rules.default_slice_ns(cpus),
            rules,
            cpus,
        }
    }

    /// The kernel's rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many CPUs there are and may be.
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// The settings.
    pub fn sysctls(&self) -> &Sysctls {
        &self.sysctls
    }

    /// The root domains.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// Takes CPUs out of the first root domain into one of their own, as a cpuset partition does, and
    /// says its number. Nothing may be reserved yet.
    pub fn partition(&mut self, span: &CpuSet) -> usize {
        let all = || (0..self.cpus).map(CpuId);
        let first = self.domains.first().map(|domain| domain.span.clone()).unwrap_or_default();
        let inside = CpuSet::of(all().filter(|cpu| span.contains(*cpu) && first.contains(*cpu)));
        let left = CpuSet::of(all().filter(|cpu| !span.contains(*cpu) && first.contains(*cpu)));
        let rules = self.rt_rules();
        let counts = [left.count_within(self.cpus), inside.count_within(self.cpus)];
        if let Some(domain) = self.domains.first_mut() {
            *domain = Domain::new(&rules, left, counts[0]);
        }
        self.domains.push(Domain::new(&rules, inside, counts[1]));
        self.domains.len() - 1
    }

    /// Adds a task, or puts another in its place.
    pub fn insert(&mut self, pid: Pid, task: Task) {
        self.exit(pid);
        self.zero_lag(pid);
        let (domain, bandwidth) = (task.domain, task.bandwidth());
        if let Some(domain) = self.domains.get_mut(domain) {
            domain.exchange(0, bandwidth);
        }
        self.tasks.insert(pid, task);
    }

    /// A task.
    pub fn task(&self, pid: Pid) -> Option<&Task> {
        self.tasks.get(&pid)
    }

    /// A task, to change what no system call of this library changes: limits, credentials, groups.
    /// Policy and reservation are not to be changed here.
    pub fn task_mut(&mut self, pid: Pid) -> Option<&mut Task> {
        self.tasks.get_mut(&pid)
    }

    /// The tasks.
    pub fn tasks(&self) -> impl Iterator<Item = (Pid, &Task)> {
        self.tasks.iter().map(|(pid, task)| (*pid, task))
    }

    /// A task ends. What it has reserved stays reserved until [`zero_lag`](Self::zero_lag).
    pub fn exit(&mut self, pid: Pid) {
        if let Some(task) = self.tasks.remove(&pid) {
            let bandwidth = task.bandwidth();
            if task.is_deadline() {
                self.leaving.insert(pid, Leaving { domain: task.domain, bandwidth });
            }
        }
    }

    /// The zero-lag time of a task that has left `SCHED_DEADLINE` is reached: what it had reserved is
    /// free. When that is, the scheduler knows: d - q P / Q for a budget q left at deadline d
    /// (classes.md C.2, C.6).
    ///
    /// One that is [inactive](Task::inactive) when somebody else takes its policy away never gives
    /// its bandwidth back, unless the root domains are made anew. Seen on 6.1, 6.12, 6.18 and 7.2.
    pub fn zero_lag(&mut self, pid: Pid) {
        if let Some(Leaving { domain, bandwidth }) = self.leaving.remove(&pid)
            && let Some(domain) = self.domains.get_mut(domain)
        {
            domain.exchange(bandwidth, 0);
        }
    }

    /// Who has left `SCHED_DEADLINE` and still holds bandwidth.
    pub fn leaving(&self) -> impl Iterator<Item = Pid> {
        self.leaving.keys().copied()
    }

    /// What has changed since this was called last, oldest first.
    pub fn take_changes(&mut self) -> Vec<Change> {
        core::mem::take(&mut self.changes)
    }

    /// The number a call means: 0 is the caller.
    pub(crate) fn resolve(&self, caller: Pid, pid: Pid) -> Result<Pid, Refusal> {
        let number = if pid == 0 { caller } else { pid };
        match self.tasks.contains_key(&number) {
            true => Ok(number),
            false => Err(Refusal::new(Rule::NoSuchTask, format!("no thread {number}"))),
        }
    }

    pub(crate) fn found(&self, pid: Pid) -> Result<&Task, Refusal> {
        let none = || Refusal::new(Rule::NoSuchTask, format!("no thread {pid}"));
        self.tasks.get(&pid).ok_or_else(none)
    }

    pub(crate) fn note_attr(&mut self, pid: Pid) {
        if let Some(task) = self.tasks.get(&pid) {
            self.changes.push(Change::Attr { pid, attr: task.attr() });
        }
    }

    /// Real-time bandwidth as the sysctls have it now.
    pub(crate) fn rt_rules(&self) -> RtRules {
        RtRules {
            runtime_us: u64::try_from(self.sysctls.rt_runtime_us).ok(),
            period_us: self.sysctls.rt_period_us,
            ..self.rules.rt
        }
    }

    pub(crate) fn period_limits(&self) -> PeriodLimits {
        PeriodLimits {
            min_ns: u64::from(self.sysctls.deadline_period_min_us) * 1000,
            max_ns: u64::from(self.sysctls.deadline_period_max_us) * 1000,
        }
    }

    /// Reservations are limited at all.
    pub(crate) fn admission_control(&self) -> bool {
        self.sysctls.rt_runtime_us >= 0
    }

    /// What one CPU may give under other settings.
    pub(crate) fn cap(runtime_us: i64, period_us: u64) -> u64 {
        let whole = 1 << slicewise_sched::deadline::BW_SHIFT;
        u64::try_from(runtime_us).map_or(whole, |runtime_us| to_ratio(period_us, runtime_us))
    }

    /// Whether `cpus` has all CPUs of a root domain.
    pub(crate) fn covers(&self, cpus: &CpuSet, domain: usize) -> bool {
        let Some(domain) = self.domains.get(domain) else { return false };
        let words = self.cpus.div_ceil(64) as usize;
        (0..words).all(|word| domain.span.word(word) & !cpus.word(word) == 0)
    }
}
