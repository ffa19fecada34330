//! Events.

use jsonc_parser::ast::{Object, ObjectProp, Value};
use slicewise_machine::{Dist, Mode, Op, TimerMode};

use super::{INT_MAX, IO_NS_PER_KIB, MEM_NS_PER_KIB, NULL_WRITE_NS, Reader};
use crate::diagnostic::{did_you_mean, shorten};
use crate::draft::{Code, LocalTimer};

/// The events rt-app knows by the beginning of their keys; where one begins like another, the
/// longer comes first.
pub(super) const EVENTS: &[&str] = &[
    "lock", "unlock", "wait", "signal", "broad", "sync", "sleep", "runtime", "run", "timer",
    "suspend", "resume", "mem", "iorun", "yield", "barrier", "fork",
];

/// Events of rt-app after 1.0 that are not simulated.
const LATER: &[&str] = &["memrun", "sem_post", "sem_wait"];

const TIMER_KEYS: &[&str] = &["ref", "period", "mode"];
const WAIT_KEYS: &[&str] = &["ref", "mutex"];

/// What rt-app calls a resource without a name.
const UNNAMED: &str = "unknown";

/// Which event a key stands for.
pub(super) fn event_of(key: &str) -> Option<&'static str> {
    if key == "lock_order" {
        // Of rt-app before 1.0; it only begins like an event.
        return None;
    }
    LATER.iter().chain(EVENTS).copied().find(|event| key.starts_with(event))
}

impl<'t> Reader<'_, 't> {
    pub(super) fn event(
        &mut self,
        group: usize,
        kind: &str,
        event: &ObjectProp<'t>,
        code: &mut Code,
    ) -> Option<()> {
        let span = self.span(event);
        match kind {
            "run" | "runtime" | "sleep" => {
                let us = self.integer(event, 0, INT_MAX)?;
                let dist = Dist::Constant(us as u64 * 1000);
                code.push(
                    match kind {
                        "run" => Op::Run { work: dist, mode: Mode::User },
                        "runtime" => Op::RunUntil { elapsed: dist },
                        _ => Op::Sleep { duration: dist },
                    },
                    &span,
                );
            }
            "mem" | "iorun" => self.bytes(kind, event, code)?,
            "lock" | "unlock" | "signal" | "broad" | "barrier" => {
                let name = self.string(event)?.to_owned();
                self.named(group, kind, &name, event, code);
            }
            "wait" | "sync" => {
                let object = self.object(event, "an object with `ref` and `mutex`")?;
                let (condition, mutex) = (self.part(object, "ref")?, self.part(object, "mutex")?);
                self.check_parts(object, kind, WAIT_KEYS);
                let condition = self.shared.conditions.intern(&condition);
                let mutex = self.shared.mutexes.intern(&mutex);
                if kind == "sync" {
                    code.push(Op::Signal(condition), &span);
                }
                code.push(Op::Wait { condition, mutex }, &span);
            }
            "timer" => self.timer(group, event, code)?,
            "suspend" => self.suspend(group, event, code)?,
            "resume" => self.resume(event, code)?,
            // rt-app does not look at the value.
            "yield" => code.push(Op::Yield, &span),
            "fork" => self.fork(event, code)?,
            later => {
                let message = format!("`{later}` is of rt-app after 1.0 and not simulated");
                let help = match later {
                    "memrun" => "use `mem` or `run`",
                    _ => "use `signal` and `wait` with a mutex",
                };
                self.sink.error_help(self.key_span(event), message, help);
            }
        }
        Some(())
    }

    /// Work that rt-app gives in bytes becomes CPU time.
    fn bytes(&mut self, kind: &str, event: &ObjectProp<'t>, code: &mut Code) -> Option<()> {
        let bytes = self.integer(event, 0, INT_MAX)? as u64;
        let span = self.span(event);
        let (ns, mode, rate) = match kind {
            "mem" => {
                (bytes * MEM_NS_PER_KIB / 1024, Mode::User, format!("{MEM_NS_PER_KIB} ns a KiB"))
            }
            _ if self.io_to_null => {
                let writes = bytes.div_ceil(self.mem_buffer_bytes);
                let rate = format!("{NULL_WRITE_NS} ns a write to /dev/null");
                (writes * NULL_WRITE_NS, Mode::Kernel, rate)
            }
            _ => (bytes * IO_NS_PER_KIB / 1024, Mode::Kernel, format!("{IO_NS_PER_KIB} ns a KiB")),
        };
        let message = format!("`{kind}` is simulated as CPU time, {rate}");
        self.sink.warn(self.key_span(event), message, "measure it and use `run` if it matters");
        let ns = if bytes == 0 { 0 } else { ns.max(1) };
        code.push(Op::Run { work: Dist::Constant(ns), mode }, &span);
        Some(())
    }

    fn named(
        &mut self,
        group: usize,
        kind: &str,
        name: &str,
        event: &ObjectProp<'t>,
        code: &mut Code,
    ) {
        let span = self.span(event);
        let op = match kind {
            "lock" => Op::Lock(self.shared.mutexes.intern(name)),
            "unlock" => Op::Unlock(self.shared.mutexes.intern(name)),
            "signal" => Op::Signal(self.shared.conditions.intern(name)),
            "broad" => Op::Broadcast(self.shared.conditions.intern(name)),
            _ => {
                // rt-app counts mentions, once for every instance of the thread.
                let barrier = self.shared.barriers.intern(name);
                let group = &self.roster.groups[group];
                let more = if group.template { 0 } else { group.count };
                let entry = self.shared.parties.entry(barrier).or_insert((0, span.clone()));
                entry.0 = entry.0.saturating_add(more);
                Op::Barrier(barrier)
            }
        };
        code.push(op, &span);
    }

    /// A string in an event's object.
    fn part(&mut self, object: &Object<'t>, key: &str) -> Option<String> {
        match object.properties.iter().rfind(|property| property.name.as_str() == key) {
            None => Some(UNNAMED.to_owned()),
            Some(property) if matches!(property.value, Value::NullKeyword(_)) => {
                Some(UNNAMED.to_owned())
            }
            Some(property) => self.string(property).map(str::to_owned),
        }
    }

    fn check_parts(&mut self, object: &Object<'t>, kind: &str, keys: &[&str]) {
        for property in &object.properties {
            if !keys.contains(&property.name.as_str()) {
                let name = property.name.as_str();
                self.unknown(property, name, &format!("`{kind}`"), keys);
            }
        }
    }

    fn timer(&mut self, group: usize, event: &ObjectProp<'t>, code: &mut Code) -> Option<()> {
        let object = self.object(event, "an object with `ref` and `period`")?;
        self.check_parts(object, "timer", TIMER_KEYS);
        let name = self.part(object, "ref")?;
        let period = object.properties.iter().rfind(|p| p.name.as_str() == "period");
        let period_us = match period {
            Some(period) => self.integer(period, 0, INT_MAX)?,
            None => 0,
        };
        if period_us == 0 {
            let message = "a timer with period 0 never sleeps";
            self.sink.warn(self.span(event), message, "write `\"period\": 10000`, in microseconds");
        }
        let unique = name.starts_with("unique");
        let mode = object.properties.iter().rfind(|p| p.name.as_str() == "mode");
        if let Some(mode) = mode {
            let word = self.string(mode)?;
            match word {
                "relative" => {}
                _ if word.starts_with("absolute") => {
                    self.absolute.insert((unique.then_some(group), name.clone()));
                }
                _ => {
                    let message = format!("unknown timer mode `{}`", shorten(word));
                    let help = "allowed: relative, absolute";
                    self.sink.error_help(self.span(&mode.value), message, help);
                }
            }
        }
        let shared = (!unique).then(|| self.shared.timers.intern(&name));
        let timer = code.timer(LocalTimer { name, shared });
        let period_ns = period_us as u64 * 1000;
        // The mode is the timer's, not the event's: it is set when all events are known.
        code.push(Op::Timer { timer, period_ns, mode: TimerMode::Relative }, &self.span(event));
        Some(())
    }

    fn suspend(&mut self, group: usize, event: &ObjectProp<'t>, code: &mut Code) -> Option<()> {
        let own = self.roster.groups[group].name.clone();
        let name = match &event.value {
            Value::NullKeyword(_) => own,
            Value::StringLit(literal) if literal.value.is_empty() => own,
            Value::StringLit(literal) => literal.value.to_string(),
            _ => {
                self.wrong(event, "a string");
                return None;
            }
        };
        let span = self.span(event);
        if self.suspends.is_plain(&name) {
            code.push(Op::Suspend, &span);
        } else {
            let condition = self.shared.conditions.intern(&name);
            let mutex = self.shared.mutexes.intern(&name);
            code.push(Op::Lock(mutex), &span);
            code.push(Op::Wait { condition, mutex }, &span);
            code.push(Op::Unlock(mutex), &span);
        }
        Some(())
    }

    fn resume(&mut self, event: &ObjectProp<'t>, code: &mut Code) -> Option<()> {
        let name = self.string(event)?.to_owned();
        let span = self.span(event);
        if !self.suspends.groups.contains_key(&name) && !self.suspends.explicit.contains(&name) {
            let message = format!("`resume`: nobody suspends on `{}`", shorten(&name));
            let names: Vec<&str> = self.suspends.groups.keys().map(String::as_str).collect();
            self.sink.warn(span, message, did_you_mean(&name, &names));
            return Some(());
        }
        if self.suspends.is_plain(&name) {
            let groups = self.suspends.groups.get(&name);
            for group in groups.into_iter().flatten() {
                let group = &self.roster.groups[*group];
                for task in group.first..group.first + group.count {
                    code.push(Op::Resume(task), &span);
                }
                let fork = format!("{}-fork", group.name);
                if let Some((tasks, true)) = self.roster.find(&fork) {
                    code.push(Op::Resume(tasks.start), &span);
                }
            }
        } else {
            let condition = self.shared.conditions.intern(&name);
            let mutex = self.shared.mutexes.intern(&name);
            code.push(Op::Lock(mutex), &span);
            code.push(Op::Broadcast(condition), &span);
            code.push(Op::Unlock(mutex), &span);
        }
        Some(())
    }

    fn fork(&mut self, event: &ObjectProp<'t>, code: &mut Code) -> Option<()> {
        let name = self.string(event)?.to_owned();
        let template = match self.roster.find(&name) {
            Some((tasks, true)) => Some(tasks.start),
            Some(_) => self.roster.find(&format!("{name}-fork")).map(|(tasks, _)| tasks.start),
            None => None,
        };
        let Some(template) = template else {
            let message = format!("`fork`: there is no thread `{}`", shorten(&name));
            let help = did_you_mean(&name, &self.roster.names());
            self.sink.error_help(self.span(&event.value), message, help);
            return None;
        };
        code.push(Op::Fork(template), &self.span(event));
        Some(())
    }
}
