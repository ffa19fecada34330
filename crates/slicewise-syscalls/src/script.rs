//! Calls as lines of text: what the lab does on a booted kernel, and what it writes down.
//!
//! ```text
//! t1 spawn uid=1000 rtprio=20 = ok | 0 0 0 0 2800000 0 0 0 0 120
//! t1 setattr self policy=1 prio=10 = ok | 1 0 0 10 0 0 0 0 0 89
//! t0 setattr t1 policy=6 run=10000000 dl=30000000 = ok | 6 0 0 0 10000000 30000000 30000000 0 0 -1 | 401953
//! ```
//!
//! A task is `t` with a number; `self` is pid 0, other numbers are pids nobody has. After ` = ` comes
//! what the call returned; after ` | `, if it has changed, the target as `sched_getattr` tells it
//! (policy, flags, nice, priority, runtime, deadline, period, clamps) with the kernel's priority from
//! `/proc/PID/stat`, and after the next ` | `, if it has changed, the bandwidth reserved in the root
//! domain. Lines with `#` are remarks.

use core::fmt;
use std::collections::BTreeMap;

use slicewise_sched::CpuSet;

use crate::{
    Credentials, Errno, Limits, Pid, Pointer, RawAttr, Refusal, Rules, Sysctl, System, Task,
};

/// The memory a step's `struct sched_attr` lies in: all zeros where nothing else is said.
pub const MEMORY_BYTES: usize = 8192;

/// Whom a call means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// Pid 0.
    Own,
    /// A task of the script.
    Task(u32),
    /// This number.
    Number(i32),
}

/// A system call with its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// The structure, single bytes to set in its memory, and the flags argument.
    SetAttr(Who, Pointer<(RawAttr, Vec<(usize, u8)>)>, u32),
    /// The size and flags arguments.
    GetAttr(Who, Pointer<()>, u32, u32),
    /// Policy and priority.
    SetScheduler(Who, i32, Pointer<i32>),
    /// The policy.
    GetScheduler(Who),
    /// The priority.
    SetParam(Who, Pointer<i32>),
    /// The priority.
    GetParam(Who, Pointer<()>),
    /// The mask.
    SetAffinity(Who, Pointer<Vec<u8>>),
    /// The length of the mask.
    GetAffinity(Who, u32),
    /// Which, who, and the nice value.
    SetPriority(i32, Who, i32),
    /// Which and who.
    GetPriority(i32, Who),
    /// The policy.
    PriorityMax(i32),
    /// The policy.
    PriorityMin(i32),
    /// The interval.
    RrInterval(Who, Pointer<()>),
    /// A child is made, asked for its attributes, and ends.
    Fork,
}

/// A line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A task begins: an ordinary one, allowed everywhere.
    Spawn {
        /// Its number.
        task: u32,
        /// Real and effective user; users other than 0 have no capabilities in use.
        users: (u32, u32),
        /// Keeps the capabilities it could use.
        keeps_capabilities: bool,
        /// Its limits.
        limits: Limits,
    },
    /// A task ends.
    End(u32),
    /// A task calls.
    Call(u32, Call),
    /// The superuser writes to a file.
    Write(Sysctl, String),
    /// The superuser reads a file.
    Read(Sysctl),
}

/// What came of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// 0.
    Done,
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text of a file.
    Text(String),
    /// A task's attributes.
    Attr(Observed),
    /// It failed.
    Failed(Errno),
    /// It failed with `E2BIG`, and this was in `size` afterwards.
    TooBig(u32),
}

/// A task as it is seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Observed {
    /// What `sched_getattr` told.
    pub attr: RawAttr,
    /// Field 18 of `/proc/PID/stat` plus 100.
    pub prio: i32,
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RawAttr { policy, flags, nice, priority, runtime, deadline, .. } = self.attr;
        let RawAttr { period, util_min, util_max, .. } = self.attr;
        write!(f, "{policy} {flags} {nice} {priority} {runtime} {deadline} {period} ")?;
        write!(f, "{util_min} {util_max} {}", self.prio)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("ok"),
            Self::Number(number) => write!(f, "ok {number}"),
            Self::Bytes(bytes) => {
                f.write_str("ok ")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Text(text) => write!(f, "ok {}", text.trim_end()),
            Self::Attr(observed) => write!(f, "ok {observed}"),
            Self::Failed(errno) => write!(f, "{errno}"),
            Self::TooBig(size) => write!(f, "E2BIG {size}"),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("self"),
            Self::Task(task) => write!(f, "t{task}"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// A pointer, and what it leads to in its own words.
struct Shown<'a, T>(&'a Pointer<T>);

impl<T: fmt::Display> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Pointer::Null => f.write_str("null"),
            Pointer::Bad => f.write_str("bad"),
            Pointer::To(value) => value.fmt(f),
        }
    }
}

fn shown_good(pointer: &Pointer<()>) -> &'static str {
    match pointer {
        Pointer::Null => " null",
        Pointer::Bad => " bad",
        Pointer::To(()) => "",
    }
}

const ATTR_KEYS: [&str; 10] =
    ["size", "policy", "sflags", "nice", "prio", "run", "dl", "per", "umin", "umax"];

fn attr_values(attr: &RawAttr) -> [i128; 10] {
    [
        attr.size.into(),
        attr.policy.into(),
        attr.flags.into(),
        attr.nice.into(),
        attr.priority.into(),
        attr.runtime.into(),
        attr.deadline.into(),
        attr.period.into(),
        attr.util_min.into(),
        attr.util_max.into(),
    ]
}

fn write_attr(f: &mut fmt::Formatter<'_>, attr: &RawAttr) -> fmt::Result {
    for (key, value) in ATTR_KEYS.iter().zip(attr_values(attr)) {
        let usual = if *key == "size" { 56 } else { 0 };
        if value != usual {
            write!(f, " {key}={value}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAttr(who, attr, flags) => {
                write!(f, "setattr {who}")?;
                if *flags != 0 {
                    write!(f, " flags={flags}")?;
                }
                match attr {
                    Pointer::Null => f.write_str(" null"),
                    Pointer::Bad => f.write_str(" bad"),
                    Pointer::To((attr, bytes)) => {
                        write_attr(f, attr)?;
                        bytes.iter().try_for_each(|(at, byte)| write!(f, " at={at}:{byte}"))
                    }
                }
            }
            Self::GetAttr(who, pointer, size, flags) => {
                write!(f, "getattr {who} {size} {flags}{}", shown_good(pointer))
            }
            Self::SetScheduler(who, policy, param) => {
                write!(f, "setscheduler {who} {policy} {}", Shown(param))
            }
            Self::GetScheduler(who) => write!(f, "getscheduler {who}"),
            Self::SetParam(who, param) => write!(f, "setparam {who} {}", Shown(param)),
            Self::GetParam(who, pointer) => write!(f, "getparam {who}{}", shown_good(pointer)),
            Self::SetAffinity(who, Pointer::To(mask)) => {
                write!(f, "setaffinity {who} x")?;
                mask.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::SetAffinity(who, _) => write!(f, "setaffinity {who} bad"),
            Self::GetAffinity(who, len) => write!(f, "getaffinity {who} {len}"),
            Self::SetPriority(which, who, nice) => {
                write!(f, "setpriority {which} {who} {nice}")
            }
            Self::GetPriority(which, who) => write!(f, "getpriority {which} {who}"),
            Self::PriorityMax(policy) => write!(f, "priority_max {policy}"),
            Self::PriorityMin(policy) => write!(f, "priority_min {policy}"),
            Self::RrInterval(who, pointer) => {
                write!(f, "rr_get_interval {who}{}", shown_good(pointer))
            }
            Self::Fork => f.write_str("fork"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn { task, users, keeps_capabilities, limits } => {
                write!(f, "t{task} spawn uid={}", users.0)?;
                if users.1 != users.0 {
                    write!(f, " euid={}", users.1)?;
                }
                if limits.rtprio != 0 {
                    write!(f, " rtprio={}", limits.rtprio)?;
                }
                if limits.nice != 0 {
                    write!(f, " nice={}", limits.nice)?;
                }
                f.write_str(if *keeps_capabilities { " keepcaps" } else { "" })
            }
            Self::End(task) => write!(f, "t{task} end"),
            Self::Call(task, call) => write!(f, "t{task} {call}"),
            Self::Write(file, text) => write!(f, "write {} {text}", file.name()),
            Self::Read(file) => write!(f, "read {}", file.name()),
        }
    }
}

/// A number in a line.
fn num<T: TryFrom<i128>>(word: Option<&str>) -> Result<T, String> {
    let word = word.ok_or("a number is missing")?;
    let number: i128 = word.parse().map_err(|_| format!("`{word}` is not a number"))?;
    T::try_from(number).map_err(|_| format!("{word} is out of range"))
}

fn task_number(word: &str) -> Result<u32, String> {
    num(word.strip_prefix('t').or(Some(word)))
}

fn who(word: Option<&str>) -> Result<Who, String> {
    match word {
        Some("self") => Ok(Who::Own),
        Some(word) if word.starts_with('t') => Ok(Who::Task(task_number(word)?)),
        word => Ok(Who::Number(num(word)?)),
    }
}

fn pointer<T>(
    word: Option<&str>,
    value: impl FnOnce(Option<&str>) -> Result<T, String>,
) -> Result<Pointer<T>, String> {
    match word {
        Some("null") => Ok(Pointer::Null),
        Some("bad") => Ok(Pointer::Bad),
        word => Ok(Pointer::To(value(word)?)),
    }
}

fn good(word: Option<&str>) -> Result<Pointer<()>, String> {
    pointer(word, |word| word.map_or(Ok(()), |word| Err(format!("`{word}` is not known"))))
}

fn parse_attr(who: Who, words: &mut dyn Iterator<Item = &str>) -> Result<Call, String> {
    let mut values: [i128; 10] = [0; 10];
    values[0] = 56;
    let (mut bytes, mut flags) = (Vec::new(), 0);
    for word in words {
        match word.split_once('=') {
            None if word == "null" => return Ok(Call::SetAttr(who, Pointer::Null, flags)),
            None if word == "bad" => return Ok(Call::SetAttr(who, Pointer::Bad, flags)),
            Some(("flags", value)) => flags = num(Some(value))?,
            Some(("at", value)) => {
                let (at, byte) = value.split_once(':').ok_or("at=OFFSET:BYTE")?;
                let at: usize = num(Some(at))?;
                if at >= MEMORY_BYTES {
                    return Err(format!("there are {MEMORY_BYTES} bytes, and {at} is beyond"));
                }
                bytes.push((at, num(Some(byte))?));
            }
            Some((key, value)) => {
                let known = ATTR_KEYS.iter().position(|known| *known == key);
                values[known.ok_or_else(|| format!("`{key}` is not known"))?] = num(Some(value))?;
            }
            None => return Err(format!("`{word}` is not known")),
        }
    }
    fn of<T: TryFrom<i128>>(value: i128) -> Result<T, String> {
        T::try_from(value).map_err(|_| format!("{value} is out of range"))
    }
    let attr = RawAttr {
        size: of(values[0])?,
        policy: of(values[1])?,
        flags: of(values[2])?,
        nice: of(values[3])?,
        priority: of(values[4])?,
        runtime: of(values[5])?,
        deadline: of(values[6])?,
        period: of(values[7])?,
        util_min: of(values[8])?,
        util_max: of(values[9])?,
    };
    Ok(Call::SetAttr(who, Pointer::To((attr, bytes)), flags))
}

fn parse_mask(word: Option<&str>) -> Result<Vec<u8>, String> {
    let digits = word.and_then(|word| word.strip_prefix('x')).ok_or("a mask begins with x")?;
    let byte = |pair: &[u8]| {
        let pair = core::str::from_utf8(pair).map_err(|_| "not a mask")?;
        u8::from_str_radix(pair, 16).map_err(|_| format!("`{pair}` is not a byte"))
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

fn parse_call(words: &mut dyn Iterator<Item = &str>) -> Result<Call, String> {
    let call = match words.next() {
        Some("setattr") => {
            let who = who(words.next())?;
            return parse_attr(who, words);
        }
        Some("getattr") => {
            let (who, size, flags) = (who(words.next())?, num(words.next())?, num(words.next())?);
            Call::GetAttr(who, good(words.next())?, size, flags)
        }
        Some("setscheduler") => {
            let (who, policy) = (who(words.next())?, num(words.next())?);
            Call::SetScheduler(who, policy, pointer(words.next(), num)?)
        }
        Some("getscheduler") => Call::GetScheduler(who(words.next())?),
        Some("setparam") => Call::SetParam(who(words.next())?, pointer(words.next(), num)?),
        Some("getparam") => Call::GetParam(who(words.next())?, good(words.next())?),
        Some("setaffinity") => {
            Call::SetAffinity(who(words.next())?, pointer(words.next(), parse_mask)?)
        }
        Some("getaffinity") => Call::GetAffinity(who(words.next())?, num(words.next())?),
        Some("setpriority") => {
            Call::SetPriority(num(words.next())?, who(words.next())?, num(words.next())?)
        }
        Some("getpriority") => Call::GetPriority(num(words.next())?, who(words.next())?),
        Some("priority_max") => Call::PriorityMax(num(words.next())?),
        Some("priority_min") => Call::PriorityMin(num(words.next())?),
        Some("rr_get_interval") => Call::RrInterval(who(words.next())?, good(words.next())?),
        Some("fork") => Call::Fork,
        other => return Err(format!("{other:?} is no call")),
    };
    match words.next() {
        None => Ok(call),
        Some(word) => Err(format!("`{word}` is too much")),
    }
}

impl core::str::FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let file = |word: Option<&str>| {
            let name = word.ok_or("a file is missing")?;
            Sysctl::named(name).ok_or_else(|| format!("there is no file `{name}`"))
        };
        match words.next() {
            Some("write") => {
                let file = file(words.next())?;
                let text = words.collect::<Vec<&str>>().join(" ");
                Ok(Self::Write(file, text))
            }
            Some("read") => Ok(Self::Read(file(words.next())?)),
            Some(word) => {
                let task = task_number(word)?;
                let mut rest = words.clone();
                match rest.next() {
                    Some("spawn") => parse_spawn(task, rest),
                    Some("end") => Ok(Self::End(task)),
                    _ => Ok(Self::Call(task, parse_call(&mut words)?)),
                }
            }
            None => Err("an empty line".to_owned()),
        }
    }
}

fn parse_spawn<'a>(task: u32, words: impl Iterator<Item = &'a str>) -> Result<Step, String> {
    let (mut uid, mut euid, mut limits, mut keeps) = (0, None, Limits::default(), false);
    for word in words {
        match word.split_once('=') {
            Some(("uid", value)) => uid = num(Some(value))?,
            Some(("euid", value)) => euid = Some(num(Some(value))?),
            Some(("rtprio", value)) => limits.rtprio = num(Some(value))?,
            Some(("nice", value)) => limits.nice = num(Some(value))?,
            None if word == "keepcaps" => keeps = true,
            _ => return Err(format!("`{word}` is not known")),
        }
    }
    let users = (uid, euid.unwrap_or(uid));
    Ok(Step::Spawn { task, users, keeps_capabilities: keeps, limits })
}

/// A line of a recording: the step and what followed ` = `. `None` for remarks and empty lines.
///
/// # Errors
/// What is wrong with the line.
pub fn parse_line(line: &str) -> Result<Option<(Step, &str)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (step, after) = line.split_once(" = ").unwrap_or((line, ""));
    Ok(Some((step.parse()?, after)))
}

/// The memory of a step's `struct sched_attr`.
pub fn memory(attr: &RawAttr, bytes: &[(usize, u8)]) -> Vec<u8> {
    let mut memory = vec![0; MEMORY_BYTES];
    let known = attr.to_bytes();
    memory[..known.len()].copy_from_slice(&known);
    for (at, byte) in bytes {
        if let Some(place) = memory.get_mut(*at) {
            *place = *byte;
        }
    }
    memory
}

/// Whom a step is about: who is looked at afterwards.
pub fn subject(step: &Step) -> Option<u32> {
    let (by, who) = match step {
        Step::Spawn { task, .. } => return Some(*task),
        Step::End(_) | Step::Write(..) | Step::Read(_) => return None,
        Step::Call(by, call) => match call {
            Call::SetAttr(who, ..)
            | Call::SetScheduler(who, ..)
            | Call::SetParam(who, _)
            | Call::SetAffinity(who, _)
            | Call::SetPriority(0, who, _) => (by, who),
            Call::SetPriority(..) => return Some(*by),
            _ => return None,
        },
    };
    match who {
        Who::Own => Some(*by),
        Who::Task(task) => Some(*task),
        Who::Number(_) => None,
    }
}

/// Whether a recording looks at what is reserved after the step.
pub fn counts_bandwidth(step: &Step) -> bool {
    subject(step).is_some() || matches!(step, Step::Write(..) | Step::End(_))
}

/// Writes down what came of steps, without what has not changed.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    seen: BTreeMap<u32, Observed>,
    bandwidth: Option<u64>,
}

impl Journal {
    /// What follows ` = `.
    pub fn entry(
        &mut self,
        step: &Step,
        outcome: &str,
        observed: Option<Observed>,
        bandwidth: Option<u64>,
    ) -> String {
        let mut text = outcome.to_owned();
        let before =
            subject(step).zip(observed).map(|(task, now)| (self.seen.insert(task, now), now));
        let mut after = String::new();
        if let Some((before, now)) = before
            && before != Some(now)
        {
            after = format!(" | {now}");
        }
        if bandwidth.is_some() && bandwidth != self.bandwidth {
            self.bandwidth = bandwidth;
            let after = if after.is_empty() { " |".to_owned() } else { after };
            text.push_str(&after);
            return format!("{text} | {}", bandwidth.unwrap_or(0));
        }
        text.push_str(&after);
        text
    }
}

/// The model doing the steps of a recording.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The system.
    pub system: System,
    journal: Journal,
    /// Why the last step was refused.
    pub refusal: Option<Refusal>,
}

/// The number of a script's task.
fn pid_of(task: u32) -> Pid {
    1_000 + task.min(1_000_000).cast_signed()
}

impl Replay {
    /// A system without tasks.
    pub fn new(rules: Rules, cpus: u32) -> Self {
        Self { system: System::new(rules, cpus), journal: Journal::default(), refusal: None }
    }

    /// Does a step, and says what a recording would say after ` = `. Recordings wait after a step until
    /// whoever has left `SCHED_DEADLINE` or has called under it is past its zero-lag time.
    pub fn perform(&mut self, step: &Step) -> String {
        self.refusal = None;
        let by = if let Step::Call(by, _) = step { Some(pid_of(*by)) } else { None };
        for (pid, task) in &mut self.system.tasks {
            task.inactive = Some(*pid) != by;
        }
        let outcome = self.outcome(step).unwrap_or_else(|refusal| {
            let outcome = match refusal.size_written() {
                Some(size) => Outcome::TooBig(size),
                None => Outcome::Failed(refusal.errno()),
            };
            self.refusal = Some(refusal);
            outcome
        });
        let observed = subject(step).and_then(|task| self.observed(pid_of(task)));
        let leaving: Vec<Pid> = self.system.leaving().collect();
        for pid in leaving {
            self.system.zero_lag(pid);
        }
        let domain = self.system.domains().first().filter(|_| counts_bandwidth(step));
        let bandwidth = domain.map(|domain| domain.total());
        self.journal.entry(step, &outcome.to_string(), observed, bandwidth)
    }

    /// A task of the script.
    pub fn task(&self, number: u32) -> Option<&Task> {
        self.system.task(pid_of(number))
    }

    fn observed(&self, pid: Pid) -> Option<Observed> {
        let task = self.system.task(pid)?;
        Some(Observed { attr: self.system.attr_of(task), prio: task.prio })
    }

    fn outcome(&mut self, step: &Step) -> Result<Outcome, Refusal> {
        match step {
            Step::Spawn { task, users, keeps_capabilities, limits } => {
                let root = users.0 == 0 || users.1 == 0;
                let permitted = if root || *keeps_capabilities { u64::MAX } else { 0 };
                let effective = if users.1 == 0 { permitted } else { 0 };
                let credentials = Credentials { uid: users.0, euid: users.1, permitted, effective };
                let cpus = CpuSet::All;
                let pgrp = pid_of(*task);
                let fresh = Task { limits: *limits, cpus, pgrp, ..Task::new(credentials) };
                self.system.insert(pgrp, fresh);
                Ok(Outcome::Done)
            }
            Step::End(task) => {
                self.system.exit(pid_of(*task));
                Ok(Outcome::Done)
            }
            Step::Call(by, call) => self.call(pid_of(*by), call),
            Step::Write(file, text) => {
                self.system.write_sysctl(*file, text)?;
                Ok(Outcome::Done)
            }
            Step::Read(file) => Ok(Outcome::Text(self.system.read_sysctl(*file))),
        }
    }

    fn call(&mut self, by: Pid, call: &Call) -> Result<Outcome, Refusal> {
        let system = &mut self.system;
        let number = |who: &Who| match who {
            Who::Own => 0,
            Who::Task(task) => pid_of(*task),
            Who::Number(number) => *number,
        };
        Ok(match call {
            Call::SetAttr(who, attr, flags) => {
                let memory = match attr {
                    Pointer::Null => Pointer::Null,
                    Pointer::Bad => Pointer::Bad,
                    Pointer::To((attr, bytes)) => Pointer::To(memory(attr, bytes)),
                };
                let memory = match &memory {
                    Pointer::Null => Pointer::Null,
                    Pointer::Bad => Pointer::Bad,
                    Pointer::To(memory) => Pointer::To(memory.as_slice()),
                };
                system.sched_setattr(by, number(who), memory, *flags)?;
                Outcome::Done
            }
            Call::GetAttr(who, pointer, size, flags) => {
                let out = system.sched_getattr(by, number(who), pointer.clone(), *size, *flags)?;
                let mut bytes = out.bytes;
                bytes.resize(bytes.len() + out.cleared as usize, 0);
                Outcome::Bytes(written(&bytes))
            }
            Call::SetScheduler(who, policy, param) => {
                system.sched_setscheduler(by, number(who), *policy, param.clone())?;
                Outcome::Done
            }
            Call::GetScheduler(who) => {
                Outcome::Number(system.sched_getscheduler(by, number(who))?.into())
            }
            Call::SetParam(who, param) => {
                system.sched_setparam(by, number(who), param.clone())?;
                Outcome::Done
            }
            Call::GetParam(who, pointer) => {
                Outcome::Number(system.sched_getparam(by, number(who), pointer.clone())?.into())
            }
            Call::SetAffinity(who, mask) => {
                let mask = match mask {
                    Pointer::To(mask) => Pointer::To(mask.as_slice()),
                    Pointer::Null => Pointer::Null,
                    Pointer::Bad => Pointer::Bad,
                };
                system.sched_setaffinity(by, number(who), mask)?;
                Outcome::Done
            }
            Call::GetAffinity(who, len) => {
                Outcome::Bytes(system.sched_getaffinity(by, number(who), *len, Pointer::To(()))?)
            }
            Call::SetPriority(which, who, nice) => {
                system.setpriority(by, *which, number(who), *nice)?;
                Outcome::Done
            }
            Call::GetPriority(which, who) => {
                Outcome::Number(system.getpriority(by, *which, number(who))?.into())
            }
            Call::PriorityMax(policy) => {
                Outcome::Number(system.sched_get_priority_max(*policy)?.into())
            }
            Call::PriorityMin(policy) => {
                Outcome::Number(system.sched_get_priority_min(*policy)?.into())
            }
            Call::RrInterval(who, pointer) => {
                let ns = system.sched_rr_get_interval(by, number(who), pointer.clone())?;
                Outcome::Number(ns.cast_signed())
            }
            Call::Fork => {
                let child = Pid::MAX;
                system.fork(by, child)?;
                let observed = self.observed(child);
                self.system.exit(child);
                observed.map_or(Outcome::Done, Outcome::Attr)
            }
        })
    }
}

/// The end of a structure as a recording has it: the memory was full of 0xaa before, and what is
/// still so at the end is left out.
pub fn written(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != 0xaa).map_or(0, |at| at + 1);
    bytes[..end].to_vec()
}
