//! The guest's part: does the steps of a script with processes of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use slicewise_lab_sys::calls::{self as raw, Address, MEMORY_BYTES};
use slicewise_syscalls::script::{
    Call, Journal, Observed, Outcome, Step, Who, counts_bandwidth, memory, parse_line, subject,
    written,
};
use slicewise_syscalls::{Errno, Pointer, RawAttr, policy};

use crate::failure::{Failure, Result};

fn broken(what: &str, error: &io::Error) -> Failure {
    Failure::new(format!("{what}: {error}"))
}

/// So long it takes at most until somebody who leaves has paid its debt, on a slow machine.
const PERIODS_OF_DEBT: u32 = 20;

/// The size the structure has in kernels that are recorded.
const ATTR_BYTES: u32 = 56;

fn errno(number: i32) -> String {
    Errno::numbered(number).map_or_else(|| format!("errno {number}"), |errno| errno.to_string())
}

/// A task as the kernel shows it.
fn observed(pid: i32) -> Option<Observed> {
    let mut bytes = Box::new([0_u8; MEMORY_BYTES]);
    raw::sched_getattr(pid, Address::Of(&mut bytes), ATTR_BYTES, 0).ok()?;
    let name = if pid == 0 { "self".to_owned() } else { pid.to_string() };
    let stat = fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
    // Behind the name, which may have anything in it, field 3 is the first.
    let (_, after) = stat.rsplit_once(')')?;
    let prio: i32 = after.split_whitespace().nth(15)?.parse().ok()?;
    Some(Observed { attr: RawAttr::from_bytes(&bytes[..]), prio: prio + 100 })
}

/// What a child of a task prints.
pub(crate) fn report() -> Result<()> {
    let observed = observed(0).ok_or_else(|| Failure::new("cannot see itself"))?;
    crate::say(&format!("{}\n", Outcome::Attr(observed)))
}

/// One task: becomes who it is to be, then does calls as they come in and says what they return.
pub(crate) fn worker(words: &[String]) -> Result<()> {
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok());
    let (Some(uid), Some(euid), Some(rtprio), Some(nice), Some(keep)) =
        (number(0), number(1), number(2), number(3), number(4))
    else {
        return Err(Failure::new("needs UID EUID RTPRIO NICE KEEP"));
    };
    raw::ignore_overruns();
    raw::limit(rtprio.into(), nice.into()).map_err(|error| broken("limits", &error))?;
    raw::become_user(uid, euid, keep == 1).map_err(|error| broken("user", &error))?;
    crate::say("ready\n")?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| broken("standard input", &error))?;
        let step: Step = line.parse().map_err(Failure::new)?;
        let Step::Call(_, call) = step else { return Err(Failure::new("only calls")) };
        crate::say(&format!("{}\n", perform(&call)))?;
    }
    Ok(())
}

fn perform(call: &Call) -> String {
    let number = |who: &Who| match who {
        Who::Own => 0,
        // The director has put in the pid.
        Who::Task(number) => number.cast_signed(),
        Who::Number(number) => *number,
    };
    let done = |result: std::result::Result<i64, i32>| match result {
        Ok(_) => Outcome::Done.to_string(),
        Err(number) => errno(number),
    };
    let valued = |result: std::result::Result<i64, i32>| match result {
        Ok(value) => Outcome::Number(value).to_string(),
        Err(number) => errno(number),
    };
    match call {
        Call::SetAttr(who, attr, flags) => set_attr(number(who), attr, *flags),
        Call::GetAttr(who, pointer, size, flags) => {
            let mut bytes = Box::new([0xaa_u8; MEMORY_BYTES]);
            let address = match pointer {
                Pointer::Null => Address::Null,
                Pointer::Bad => Address::Bad,
                Pointer::To(()) => Address::Of(&mut *bytes),
            };
            match raw::sched_getattr(number(who), address, *size, *flags) {
                Ok(_) => Outcome::Bytes(written(&bytes[..])).to_string(),
                Err(number) => errno(number),
            }
        }
        Call::SetScheduler(who, policy, param) => {
            with_param(param, |param| done(raw::sched_setscheduler(number(who), *policy, param)))
        }
        Call::GetScheduler(who) => valued(raw::sched_getscheduler(number(who))),
        Call::SetParam(who, param) => {
            with_param(param, |param| done(raw::sched_setparam(number(who), param)))
        }
        Call::GetParam(who, pointer) => {
            let mut value = -1;
            let address = match pointer {
                Pointer::Null => Address::Null,
                Pointer::Bad => Address::Bad,
                Pointer::To(()) => Address::Of(&mut value),
            };
            let result = raw::sched_getparam(number(who), address);
            valued(result.map(|_| i64::from(value)))
        }
        Call::SetAffinity(who, mask) => {
            let mask = match mask {
                Pointer::To(mask) => Some(mask.as_slice()),
                Pointer::Null | Pointer::Bad => None,
            };
            done(raw::sched_setaffinity(number(who), mask))
        }
        Call::GetAffinity(who, len) => {
            let mut mask = Box::new([0_u8; MEMORY_BYTES]);
            match raw::sched_getaffinity(number(who), *len, &mut mask) {
                Ok(bytes) => Outcome::Bytes(mask[..bytes as usize].to_vec()).to_string(),
                Err(number) => errno(number),
            }
        }
        Call::SetPriority(which, who, nice) => done(raw::setpriority(*which, number(who), *nice)),
        Call::GetPriority(which, who) => valued(raw::getpriority(*which, number(who))),
        Call::PriorityMax(policy) => valued(raw::sched_get_priority_max(*policy)),
        Call::PriorityMin(policy) => valued(raw::sched_get_priority_min(*policy)),
        Call::RrInterval(who, pointer) => {
            let mut interval = [0; 2];
            let address = match pointer {
                Pointer::Null => Address::Null,
                Pointer::Bad => Address::Bad,
                Pointer::To(()) => Address::Of(&mut interval),
            };
            let result = raw::sched_rr_get_interval(number(who), address);
            valued(result.map(|_| interval[0] * 1_000_000_000 + interval[1]))
        }
        Call::Fork => fork(),
    }
}

fn set_attr(pid: i32, attr: &Pointer<(RawAttr, Vec<(usize, u8)>)>, flags: u32) -> String {
    let mut bytes = Box::new([0_u8; MEMORY_BYTES]);
    let address = match attr {
        Pointer::Null => Address::Null,
        Pointer::Bad => Address::Bad,
        Pointer::To((attr, changed)) => {
            bytes.copy_from_slice(&memory(attr, changed));
            Address::Of(&mut *bytes)
        }
    };
    match raw::sched_setattr(pid, address, flags) {
        Ok(_) => Outcome::Done.to_string(),
        Err(number) if Errno::numbered(number) == Some(Errno::E2BIG) => {
            Outcome::TooBig(RawAttr::from_bytes(&bytes[..4]).size).to_string()
        }
        Err(number) => errno(number),
    }
}

fn with_param(param: &Pointer<i32>, call: impl FnOnce(Address<&mut i32>) -> String) -> String {
    match param {
        Pointer::Null => call(Address::Null),
        Pointer::Bad => call(Address::Bad),
        Pointer::To(value) => call(Address::Of(&mut { *value })),
    }
}

fn fork() -> String {
    let child = Command::new("/proc/self/exe").arg("call-report").stderr(Stdio::null()).output();
    match child {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => errno(error.raw_os_error().unwrap_or(0)),
    }
}

/// A task of the script.
struct Worker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// As it was seen last.
    last: Option<Observed>,
}

impl Worker {
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.from.read_line(&mut line) {
            Ok(0) => Err(Failure::new("a task has gone")),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => Err(broken("a task says nothing", &error)),
        }
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

#[derive(Default)]
struct Director {
    workers: BTreeMap<u32, Worker>,
    journal: Journal,
    /// Bandwidth when it was looked at last.
    reserved: Option<u64>,
}

/// Does all steps of a file, and prints them with what came of them.
pub(crate) fn direct(path: &Path) -> Result<()> {
    let text = crate::text(path)?;
    let mut director = Director::default();
    for line in text.lines() {
        match parse_line(line).map_err(|error| Failure::new(format!("{line}: {error}")))? {
            None => crate::say(&format!("{line}\n"))?,
            Some((step, _)) => {
                let entry = director.perform(&step)?;
                crate::say(&format!("{step} = {entry}\n"))?;
            }
        }
    }
    let left: Vec<u32> = director.workers.keys().copied().collect();
    left.into_iter().try_for_each(|task| director.end(task).map(|_| ()))
}

impl Director {
    fn perform(&mut self, step: &Step) -> Result<String> {
        let mut left_ns = None;
        let outcome = match step {
            Step::Spawn { task, users, keeps_capabilities, limits } => {
                let keep = u32::from(*keeps_capabilities).to_string();
                let words = [
                    users.0.to_string(),
                    users.1.to_string(),
                    limits.rtprio.to_string(),
                    limits.nice.to_string(),
                    keep,
                ];
                self.spawn(*task, &words)?;
                "ok".to_owned()
            }
            Step::End(task) => {
                left_ns = self.end(*task)?;
                "ok".to_owned()
            }
            Step::Call(by, call) => self.call(*by, call)?,
            Step::Write(file, text) => {
                let written = fs::OpenOptions::new()
                    .write(true)
                    .open(format!("/proc/sys/kernel/{}", file.name()))
                    .and_then(|mut file| file.write(format!("{text}\n").as_bytes()));
                match written {
                    Ok(_) => "ok".to_owned(),
                    Err(error) => errno(error.raw_os_error().unwrap_or(0)),
                }
            }
            Step::Read(file) => {
                match fs::read_to_string(format!("/proc/sys/kernel/{}", file.name())) {
                    Ok(text) => Outcome::Text(text).to_string(),
                    Err(error) => errno(error.raw_os_error().unwrap_or(0)),
                }
            }
        };
        let mut now = None;
        if let Some(worker) = subject(step).and_then(|task| self.workers.get_mut(&task)) {
            now = observed(worker.pid());
            let before = std::mem::replace(&mut worker.last, now);
            let is_deadline = |of: &Observed| of.attr.policy == policy::DEADLINE;
            if now.filter(is_deadline).is_none() {
                left_ns = before.filter(is_deadline).map(|before| before.attr.period);
            }
        }
        if let Step::Call(by, _) = step
            && let Some(by) = self.workers.get(by).and_then(|by| by.last)
            && by.attr.policy == policy::DEADLINE
        {
            // Until the caller, asleep by then, is past its zero-lag time.
            left_ns = left_ns.max(Some(by.attr.period));
        }
        if let Some(period_ns) = left_ns {
            // Until the bandwidth of who has left is free: its zero-lag time is within a period of
            // when its debt is paid.
            let period = Duration::from_nanos(period_ns) + Duration::from_millis(12);
            std::thread::sleep(period);
            let frees = now.is_none_or(|now| now.attr.policy != policy::DEADLINE)
                && !matches!(step, Step::Call(by, _) if subject(step) != Some(*by));
            for _ in 0..PERIODS_OF_DEBT {
                if !frees || reserved() != self.reserved {
                    break;
                }
                std::thread::sleep(period);
            }
        }
        let bandwidth = if counts_bandwidth(step) { reserved() } else { None };
        self.reserved = bandwidth.or(self.reserved);
        Ok(self.journal.entry(step, &outcome, now, bandwidth))
    }

    fn spawn(&mut self, task: u32, words: &[String]) -> Result<()> {
        let mut child = Command::new("/proc/self/exe")
            .arg("call-worker")
            .args(words)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| broken("cannot start a task", &error))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (to, from) = pipes.ok_or_else(|| Failure::new("a task without pipes"))?;
        let mut worker = Worker { child, to, from: BufReader::new(from), last: None };
        match worker.line()?.as_str() {
            "ready" => {
                self.workers.insert(task, worker);
                Ok(())
            }
            other => Err(Failure::new(format!("a task is not ready: {other}"))),
        }
    }

    /// The period of its reservation, if it had one.
    fn end(&mut self, task: u32) -> Result<Option<u64>> {
        let mut worker =
            self.workers.remove(&task).ok_or_else(|| Failure::new(format!("no t{task}")))?;
        let left = worker.last.filter(|last| last.attr.policy == policy::DEADLINE);
        let _ = worker.child.kill();
        worker.child.wait().map_err(|error| broken("a task does not end", &error))?;
        Ok(left.map(|left| left.attr.period))
    }

    fn call(&mut self, by: u32, call: &Call) -> Result<String> {
        let mut call = call.clone();
        let whom = match &mut call {
            Call::SetAttr(who, ..)
            | Call::GetAttr(who, ..)
            | Call::SetScheduler(who, ..)
            | Call::GetScheduler(who)
            | Call::SetParam(who, _)
            | Call::GetParam(who, _)
            | Call::SetAffinity(who, _)
            | Call::GetAffinity(who, _)
            | Call::SetPriority(_, who, _)
            | Call::GetPriority(_, who)
            | Call::RrInterval(who, _) => Some(who),
            Call::PriorityMax(_) | Call::PriorityMin(_) | Call::Fork => None,
        };
        if let Some(who) = whom
            && let Who::Task(task) = who
        {
            let target = self.workers.get(task);
            let target = target.ok_or_else(|| Failure::new(format!("no t{task}")))?;
            *who = Who::Number(target.pid());
        }
        let worker = self.workers.get_mut(&by);
        let worker = worker.ok_or_else(|| Failure::new(format!("no t{by}")))?;
        writeln!(worker.to, "t{by} {call}").map_err(|error| broken("a task is deaf", &error))?;
        worker.line()
    }
}

/// Bandwidth of deadline tasks in the root domain of CPU 0, which the kernel shows in debugfs.
fn reserved() -> Option<u64> {
    let text = fs::read_to_string("/sys/kernel/debug/sched/debug").ok()?;
    let line = text.lines().find(|line| line.contains("dl_bw->total_bw"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}
