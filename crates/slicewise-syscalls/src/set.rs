//! Setting a policy: sched_setattr(2), sched_setscheduler(2), sched_setparam(2), in the order of
//! classes.md A.9.

use slicewise_sched::deadline::Fault;
use slicewise_sched::{DlParams, Nice};

use crate::permission::{Asked, may_schedule, security};
use crate::raw::{RawAttr, flags};
use crate::refusal::{Refusal, Rule};
use crate::system::{Leaving, System};
use crate::task::{CLAMPS_NONE, Clamp, Pid, Task, policy};

/// A pointer argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pointer<T> {
    /// NULL.
    Null,
    /// Memory that is not the caller's.
    Bad,
    /// What it leads to.
    To(T),
}

impl<T> Pointer<T> {
    pub(crate) fn null_checked(self) -> Result<Option<T>, Refusal> {
        match self {
            Self::Null => Err(Refusal::new(Rule::NullPointer, "it is NULL")),
            Self::Bad => Ok(None),
            Self::To(value) => Ok(Some(value)),
        }
    }
}

pub(crate) fn bad_address() -> Refusal {
    Refusal::new(Rule::BadAddress, "nothing can be read or written there")
}

pub(crate) fn not_negative(pid: Pid) -> Result<(), Refusal> {
    match pid {
        0.. => Ok(()),
        _ => Err(Refusal::new(Rule::NegativePid, format!("pid is {pid}"))),
    }
}

/// What all three calls come down to.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// `None` keeps the policy, and with it reset-on-fork.
    policy: Option<u32>,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: i32,
    util_max: i32,
}

impl Request {
    fn params(&self) -> DlParams {
        DlParams {
            runtime_ns: self.runtime,
            deadline_ns: self.deadline,
            period_ns: self.period,
            reclaim: self.flags & flags::RECLAIM != 0,
            overrun_signal: self.flags & flags::DL_OVERRUN != 0,
        }
    }

    /// What `SCHED_FLAG_KEEP_PARAMS` fills in: only what the task's policy has.
    fn keep(&mut self, task: &Task, slice_ns: u64) {
        match task.policy {
            policy::DEADLINE => {
                let DlParams { runtime_ns, deadline_ns, period_ns, reclaim, overrun_signal } =
                    task.deadline;
                (self.runtime, self.deadline, self.period) = (runtime_ns, deadline_ns, period_ns);
                self.priority = task.rt_priority;
                self.flags &= !flags::DEADLINE;
                self.flags |= if reclaim { flags::RECLAIM } else { 0 };
                self.flags |= if overrun_signal { flags::DL_OVERRUN } else { 0 };
            }
            policy if policy::is_rt(policy) => self.priority = task.rt_priority,
            _ => {
                self.nice = task.nice.get().into();
                self.runtime = if slice_ns > 0 { slice_ns } else { self.runtime };
            }
        }
    }
}

impl System {
    /// `sched_setattr(pid, attr, flags)`. `attr` is the memory from there on that can be read.
    ///
    /// # Errors
    /// The rule that is broken. See [`Refusal::size_written`] for what `E2BIG` writes back.
    pub fn sched_setattr(
        &mut self,
        caller: Pid,
        pid: Pid,
        attr: Pointer<&[u8]>,
        call_flags: u32,
    ) -> Result<(), Refusal> {
        let memory = attr.null_checked()?;
        not_negative(pid)?;
        if call_flags != 0 {
            return Err(Refusal::new(Rule::CallFlags, format!("flags is {call_flags:#x}")));
        }
        let raw = RawAttr::read(memory.ok_or_else(bad_address)?)?;
        let number = raw.policy.cast_signed();
        if number < 0 {
            return Err(Refusal::new(Rule::NegativePolicy, format!("policy is {number}")));
        }
        let keeps_policy = raw.flags & flags::KEEP_POLICY != 0;
        let target = self.resolve(caller, pid)?;
        let mut request = Request {
            policy: (!keeps_policy).then_some(raw.policy),
            flags: raw.flags,
            nice: raw.nice.clamp(-20, 19),
            priority: raw.priority,
            runtime: raw.runtime,
            deadline: raw.deadline,
            period: raw.period,
            util_min: raw.util_min.cast_signed(),
            util_max: raw.util_max.cast_signed(),
        };
        if raw.flags & flags::KEEP_PARAMS != 0 {
            let task = self.found(target)?;
            request.keep(task, self.slice_told(task));
        }
        self.set(caller, target, request)
    }

    /// `sched_setscheduler(pid, policy, param)`. The nice value and a slice stay.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn sched_setscheduler(
        &mut self,
        caller: Pid,
        pid: Pid,
        number: i32,
        priority: Pointer<i32>,
    ) -> Result<(), Refusal> {
        if number < 0 {
            return Err(Refusal::new(Rule::NegativePolicy, format!("policy is {number}")));
        }
        self.set_legacy(caller, pid, Some(number.cast_unsigned()), priority)
    }

    /// `sched_setparam(pid, param)`. The policy stays.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn sched_setparam(
        &mut self,
        caller: Pid,
        pid: Pid,
        priority: Pointer<i32>,
    ) -> Result<(), Refusal> {
        self.set_legacy(caller, pid, None, priority)
    }

    fn set_legacy(
        &mut self,
        caller: Pid,
        pid: Pid,
        number: Option<u32>,
        priority: Pointer<i32>,
    ) -> Result<(), Refusal> {
        let priority = priority.null_checked()?;
        not_negative(pid)?;
        let priority = priority.ok_or_else(bad_address)?;
        let target = self.resolve(caller, pid)?;
        let task = self.found(target)?;
        let reset = number.is_some_and(|number| number & policy::RESET_ON_FORK != 0);
        let request = Request {
            policy: number.map(|number| number & !policy::RESET_ON_FORK),
            flags: if reset { flags::RESET_ON_FORK } else { 0 },
            nice: task.nice.get().into(),
            priority: priority.cast_unsigned(),
            runtime: task.slice_ns.unwrap_or(0),
            deadline: 0,
            period: 0,
            util_min: 0,
            util_max: 0,
        };
        self.set(caller, target, request)
    }

    /// Nice values and slices count under this policy.
    fn is_fair(&self, number: u32) -> bool {
        match number {
            policy::OTHER | policy::BATCH => true,
            policy::EXT => self.rules.build.ext,
            _ => false,
        }
    }

    fn set(&mut self, caller: Pid, target: Pid, request: Request) -> Result<(), Refusal> {
        let task = self.found(target)?;
        let number = request.policy.unwrap_or(task.policy);
        let reset_on_fork = match request.policy {
            Some(_) => request.flags & flags::RESET_ON_FORK != 0,
            None => task.reset_on_fork,
        };
        self.check_values(number, &request)?;
        let asked = Asked {
            policy: number,
            nice: request.nice,
            priority: request.priority,
            reset_on_fork,
            fair: self.is_fair(number),
        };
        let by = self.found(caller)?;
        may_schedule(by, task, &asked)?;
        if request.flags & flags::SUGOV != 0 {
            let detail = format!("sched_flags is {:#x}", request.flags);
            return Err(Refusal::new(Rule::InternalFlag, detail));
        }
        security(by, task)?;
        self.check_clamps(task, &request)?;
        if task.stopper {
            return Err(Refusal::new(Rule::StopTask, format!("thread {target}")));
        }
        if number == policy::EXT && task.policy != policy::EXT && task.ext_disallowed {
            return Err(Refusal::new(Rule::ExtDisallowed, format!("thread {target}")));
        }
        if !self.would_change(task, number, &request) {
            if let Some(task) = self.tasks.get_mut(&target)
                && task.reset_on_fork != reset_on_fork
            {
                task.reset_on_fork = reset_on_fork;
                self.note_attr(target);
            }
            return Ok(());
        }
        self.check_resources(target, number, &request)?;
        self.apply(target, number, reset_on_fork, &request);
        Ok(())
    }

    /// Rows 7 to 11.
    fn check_values(&self, number: u32, request: &Request) -> Result<(), Refusal> {
        match number {
            policy::EXT if !self.rules.build.ext => {
                return Err(Refusal::new(Rule::PolicyNotBuilt, "policy is 7, SCHED_EXT"));
            }
            0..=3 | 5..=7 => {}
            _ => return Err(Refusal::new(Rule::UnknownPolicy, format!("policy is {number}"))),
        }
        let unknown = request.flags & !(flags::ALL | flags::SUGOV);
        if unknown != 0 {
            let detail = format!("sched_flags is {:#x}, of which {unknown:#x}", request.flags);
            return Err(Refusal::new(Rule::UnknownFlags, detail));
        }
        let priority = request.priority;
        let told = |rule, detail| {
            Err(Refusal::new(rule, detail).fact("priority", priority.cast_signed().into()))
        };
        if priority > 99 {
            return told(Rule::PriorityTooHigh, format!("priority is {}", priority.cast_signed()));
        }
        if number == policy::DEADLINE {
            self.check_params(&request.params())?;
        }
        match (policy::is_rt(number), priority) {
            (true, 0) => {
                told(Rule::PriorityNeeded, format!("{} with priority 0", policy::name(number)))
            }
            (false, 1..) => told(
                Rule::PriorityNotTaken,
                format!("{} with priority {priority}", policy::name(number)),
            ),
            _ => Ok(()),
        }
    }

    fn check_params(&self, params: &DlParams) -> Result<(), Refusal> {
        let limits = self.period_limits();
        let Err(fault) = params.check(limits) else { return Ok(()) };
        let (runtime, deadline, period) = (params.runtime_ns, params.deadline_ns, params.period());
        let (rule, detail) = match fault {
            Fault::NoDeadline => (Rule::DeadlineZero, "sched_deadline is 0".to_owned()),
            Fault::RuntimeTooShort => (Rule::RuntimeTooShort, format!("runtime is {runtime} ns")),
            Fault::TopBit => {
                (Rule::TimeTooLong, format!("deadline {deadline} ns, period {period} ns"))
            }
            Fault::DeadlineAfterPeriod => {
                (Rule::DeadlineAfterPeriod, format!("deadline {deadline} ns, period {period} ns"))
            }
            Fault::RuntimeAfterDeadline => (
                Rule::RuntimeAfterDeadline,
                format!("runtime {runtime} ns, deadline {deadline} ns"),
            ),
            Fault::PeriodTooShort => {
                (Rule::PeriodTooShort, format!("period {period} ns, least {} ns", limits.min_ns))
            }
            Fault::PeriodTooLong => {
                (Rule::PeriodTooLong, format!("period {period} ns, most {} ns", limits.max_ns))
            }
        };
        Err(Refusal::new(rule, detail)
            .fact("runtime_ns", runtime.into())
            .fact("deadline_ns", deadline.into())
            .fact("period_ns", period.into()))
    }

    /// Row 15. Values are signed, and -1 asks for the default.
    fn check_clamps(&self, task: &Task, request: &Request) -> Result<(), Refusal> {
        if request.flags & flags::UTIL_CLAMP == 0 {
            return Ok(());
        }
        if !self.rules.build.uclamp {
            let detail = format!("Linux {} without CONFIG_UCLAMP_TASK", self.rules.name);
            return Err(Refusal::new(Rule::ClampNotBuilt, detail));
        }
        let mut ends = [0, 0];
        for (at, value) in [request.util_min, request.util_max].into_iter().enumerate() {
            ends[at] = task.clamps[at].value.cast_signed();
            if request.flags & (flags::UTIL_CLAMP_MIN << at) != 0 {
                ends[at] = value;
                if value > 1024 {
                    return Err(Refusal::new(Rule::ClampRange, format!("a clamp of {value}")));
                }
            }
        }
        if ends[0] != -1 && ends[1] != -1 && ends[0] > ends[1] {
            let detail = format!("from {} to {}", ends[0], ends[1]);
            return Err(Refusal::new(Rule::ClampOrder, detail));
        }
        Ok(())
    }

    /// Row 18.
    fn would_change(&self, task: &Task, number: u32, request: &Request) -> bool {
        if number != task.policy || request.flags & flags::UTIL_CLAMP != 0 {
            return true;
        }
        if self.is_fair(number) {
            let slice = self.slice_told(task);
            return request.nice != i32::from(task.nice.get())
                || self.rules.slices && request.runtime != slice;
        }
        match number {
            policy::DEADLINE => {
                let now = task.deadline;
                now.period_ns != request.period
                    || DlParams { period_ns: 0, ..now }
                        != DlParams { period_ns: 0, ..request.params() }
            }
            number if policy::is_rt(number) => request.priority != task.rt_priority,
            _ => false,
        }
    }

    /// Rows 19 to 21.
    fn check_resources(&self, target: Pid, number: u32, request: &Request) -> Result<(), Refusal> {
        let task = self.found(target)?;
        if self.rules.build.rt_group_sched
            && self.admission_control()
            && policy::is_rt(number)
            && task.group.is_some_and(|group| group.runtime_us == 0)
        {
            let detail = format!("thread {target}");
            return Err(Refusal::new(Rule::GroupWithoutRuntime, detail));
        }
        if number != policy::DEADLINE {
            return Ok(());
        }
        let Some(domain) = self.domains.get(task.domain) else { return Ok(()) };
        if self.admission_control() {
            if !self.covers(&task.cpus, task.domain) {
                let has = task.cpus.count_within(self.cpus());
                let detail = format!(
                    "{has} CPUs of the task, {} CPUs of the root domain, some of which are not \
                     among them",
                    domain.cpus
                );
                return Err(Refusal::new(Rule::AffinityNotWhole, detail)
                    .fact("cpus", has.into())
                    .fact("domain_cpus", domain.cpus.into()));
            }
            if domain.limit() == Some(0) {
                let detail = "sched_rt_runtime_us is 0";
                return Err(Refusal::new(Rule::NoDeadlineBandwidth, detail));
            }
        }
        let params = request.params();
        let (old, new) = (task.bandwidth(), params.bandwidth());
        if domain.bandwidth().check(old, &params).is_ok() {
            return Ok(());
        }
        let (total, limit) = (domain.total(), domain.limit().unwrap_or(u64::MAX));
        let whole = 1_048_576;
        let detail = format!(
            "{new}/{whole} of a CPU more with {} of {limit} in use on {} CPU{}",
            total.saturating_sub(old),
            domain.cpus,
            if domain.cpus == 1 { "" } else { "s" }
        );
        Err(Refusal::new(Rule::BandwidthExceeded, detail)
            .fact("bandwidth_asked", new.into())
            .fact("bandwidth_before", old.into())
            .fact("bandwidth_total", total.into())
            .fact("bandwidth_limit", limit.into())
            .fact("domain_cpus", domain.cpus.into()))
    }

    /// Everything is allowed: it happens.
    fn apply(&mut self, target: Pid, number: u32, reset_on_fork: bool, request: &Request) {
        let keeps = request.flags & flags::KEEP_PARAMS != 0;
        self.exchange_bandwidth(target, number, request);
        let slices = self.rules.slices;
        let fair = self.is_fair(number);
        let rt_default = self.sysctls.util_clamp_min_rt_default;
        let Some(task) = self.tasks.get_mut(&target) else { return };
        task.reset_on_fork = reset_on_fork;
        let nice = Nice::new(request.nice.into()).unwrap_or_default();
        if !keeps {
            task.policy = number;
            if number == policy::DEADLINE {
                let params = request.params();
                task.deadline = DlParams { period_ns: params.period(), ..params };
            } else if fair {
                task.nice = nice;
                if slices {
                    let asked = request.runtime;
                    task.slice_ns = (asked > 0).then(|| asked.clamp(100_000, 100_000_000));
                }
            }
            task.rt_priority = request.priority;
            task.normal_prio = Task::prio_of(number, task.rt_priority, task.nice);
            // By the nice value of the request, which SCHED_IDLE does not keep (classes.md A.2).
            task.prio = Task::prio_of(number, request.priority, nice);
        }
        set_clamps(task, request, rt_default);
        self.note_attr(target);
    }

    /// Reserves and releases. Who leaves holds its bandwidth until its zero-lag time, or for ever.
    fn exchange_bandwidth(&mut self, target: Pid, number: u32, request: &Request) {
        let Some(task) = self.tasks.get(&target) else { return };
        let (at, old) = (task.domain, task.bandwidth());
        let leaves = task.is_deadline() && !task.inactive;
        let Some(domain) = self.domains.get_mut(at) else { return };
        if number == policy::DEADLINE {
            domain.exchange(old, request.params().bandwidth());
            // Back before its zero-lag time: checked with the old bandwidth still there, then rid of
            // it.
            self.zero_lag(target);
        } else if leaves {
            self.leaving.insert(target, Leaving { domain: at, bandwidth: old });
        }
    }
}

/// Clamps that nobody has set follow the policy; those of the request are set or reset.
fn set_clamps(task: &mut Task, request: &Request, rt_default: u32) {
    let asked = request.flags & flags::UTIL_CLAMP;
    for (at, value) in [request.util_min, request.util_max].into_iter().enumerate() {
        let meant = request.flags & (flags::UTIL_CLAMP_MIN << at) != 0;
        let clamp = &mut task.clamps[at];
        if asked == 0 && !clamp.user_defined || meant && value == -1 {
            *clamp = CLAMPS_NONE[at];
            if at == 0 && (0..100).contains(&task.prio) {
                clamp.value = rt_default;
            }
        } else if meant {
            // The kernel keeps 11 bits.
            *clamp = Clamp { value: value.cast_unsigned() & 0x7ff, user_defined: true };
        }
    }
}
