//! Programs: lists of steps, each a table with one thing to do.

use std::ops::Range;

use slicewise_machine::{Dist, Mode, Op, TimerMode};
use slicewise_sched::Attr;
use toml::de::DeValue;

use super::Reader;
use super::fields::{Fields, Value, cpus, dist, wrong_kind};
use crate::diagnostic::{did_you_mean, shorten};
use crate::draft::{Code, LocalTimer};

/// What a step can do.
pub(super) const STEP_KEYS: &[&str] = &[
    "run",
    "spin",
    "sleep",
    "timer",
    "lock",
    "unlock",
    "wait",
    "signal",
    "broadcast",
    "sync",
    "barrier",
    "suspend",
    "resume",
    "yield",
    "fork",
    "receive",
    "serve",
    "reply",
    "submit",
    "synchronize",
    "set",
    "loop",
    "exit",
];
/// What else `run` may say.
pub(super) const RUN_KEYS: &[&str] = &["kernel"];
pub(super) const TIMER_KEYS: &[&str] = &["period", "mode", "name"];
pub(super) const WAIT_KEYS: &[&str] = &["condition", "mutex"];
pub(super) const SUBMIT_KEYS: &[&str] = &["device", "work"];
pub(super) const SET_KEYS: &[&str] = &[
    "nice",
    "policy",
    "priority",
    "slice",
    "runtime",
    "deadline",
    "period",
    "reclaim",
    "dl_overrun",
    "cpus",
    "reset_on_fork",
];
pub(super) const LOOP_KEYS: &[&str] = &["count", "body"];

/// How deep loops may nest in each other.
const DEPTH_MAX: usize = 32;

/// What is known of a program at one place.
#[derive(Default)]
struct Scope {
    /// The queue whose request is being served, since an explicit `receive`.
    open: Option<u32>,
    depth: usize,
}

impl Reader<'_, '_> {
    pub(super) fn program<'t>(&mut self, value: &'t Value<'t>, key: &str, code: &mut Code) {
        self.steps(value, key, code, &mut Scope::default());
    }

    fn steps<'t>(&mut self, value: &'t Value<'t>, key: &str, code: &mut Code, scope: &mut Scope) {
        let DeValue::Array(steps) = value.get_ref() else {
            return wrong_kind(self.sink, key, value, "a list of steps");
        };
        if steps.is_empty() {
            let help = "add a step such as `{ run = \"2ms\" }`";
            self.sink.error_help(value.span(), format!("`{key}` is empty"), help);
        }
        let before = scope.open;
        for step in steps.iter() {
            self.step(step, code, scope);
        }
        if scope.open != before {
            let message = match scope.open {
                Some(queue) => {
                    let name = shorten(&self.shared.queues[queue as usize].name);
                    format!("a request received from `{name}` is never replied to")
                }
                None => {
                    "a request is replied to elsewhere than in the list that received it".into()
                }
            };
            let help = "put `receive` and `reply` into the same list";
            self.sink.error_help(value.span(), message, help);
            scope.open = before;
        }
    }

    fn step<'t>(&mut self, step: &'t Value<'t>, code: &mut Code, scope: &mut Scope) -> Option<()> {
        let keys: Vec<&str> = STEP_KEYS.iter().chain(RUN_KEYS).copied().collect();
        let fields = Fields::of(self.sink, step, "a step", &keys)?;
        let acts: Vec<&str> =
            fields.present().into_iter().filter(|key| STEP_KEYS.contains(key)).collect();
        let span = step.span();
        let act = match acts[..] {
            [act] => act,
            [] => {
                if !self.sink.has_errors() {
                    let help = format!("a step has one of: {}", STEP_KEYS.join(", "));
                    self.sink.error_help(span, "the step does nothing", help);
                }
                return None;
            }
            [first, second, ..] => {
                let message = format!("the step does two things: `{first}` and `{second}`");
                let help = format!("write two steps: `{{ {first} = … }}, {{ {second} = … }}`");
                self.sink.error_help(span, message, help);
                return None;
            }
        };
        if act != "run" && fields.get("kernel").is_some() {
            self.sink.error(span.clone(), "`kernel` goes with `run` only");
        }
        match act {
            "run" | "spin" | "sleep" | "timer" => self.timed(&fields, act, code, &span),
            "lock" | "unlock" | "signal" | "broadcast" | "wait" | "sync" | "barrier" => {
                self.locking(&fields, act, code, &span)
            }
            "receive" | "serve" | "reply" => self.request(&fields, act, code, scope, &span),
            "submit" | "synchronize" => self.device_work(&fields, act, code, &span),
            "set" => self.set(&fields, code, &span),
            "loop" => self.inner_loop(&fields, code, scope, &span),
            _ => self.tasking(&fields, act, code, &span),
        }
    }

    /// Steps that use or spend time.
    fn timed<'t>(
        &mut self,
        fields: &Fields<'t>,
        act: &str,
        code: &mut Code,
        span: &Range<usize>,
    ) -> Option<()> {
        let value = fields.get(act)?;
        if act == "timer" {
            return self.timer(value, code, span);
        }
        if act == "run" && value.get_ref().as_str() == Some("forever") {
            if fields.boolean(self.sink, "kernel") == Some(true) {
                let message = "no system call runs for ever";
                self.sink.error_help(span.clone(), message, "remove `kernel`");
            }
            code.push(Op::RunForever, span);
            return Some(());
        }
        let kernel = fields.boolean(self.sink, "kernel").unwrap_or(false);
        let dist: Dist = dist(self.sink, act, value)?;
        let mode = if kernel { Mode::Kernel } else { Mode::User };
        code.push(
            match act {
                "run" => Op::Run { work: dist, mode },
                "spin" => Op::RunUntil { elapsed: dist },
                _ => Op::Sleep { duration: dist },
            },
            span,
        );
        Some(())
    }

    fn timer<'t>(
        &mut self,
        value: &'t Value<'t>,
        code: &mut Code,
        span: &Range<usize>,
    ) -> Option<()> {
        let fields = Fields::of(self.sink, value, "`timer`", TIMER_KEYS)?;
        fields.need(self.sink, "period", "the timer", "write `timer = { period = \"10ms\" }`");
        let mode = self.timer_mode(&fields, TimerMode::Absolute);
        let name = fields.name(self.sink, "name").map_or("timer", |(name, _)| name).to_owned();
        let period_ns = fields.positive_duration(self.sink, "period")?;
        let timer = code.timer(LocalTimer { name, shared: None });
        code.push(Op::Timer { timer, period_ns, mode }, span);
        Some(())
    }

    /// Mutexes, conditions and barriers: they exist by being named.
    fn locking<'t>(
        &mut self,
        fields: &Fields<'t>,
        act: &str,
        code: &mut Code,
        span: &Range<usize>,
    ) -> Option<()> {
        if matches!(act, "wait" | "sync") {
            let what = format!("`{act}`");
            let fields = Fields::of(self.sink, fields.get(act)?, &what, WAIT_KEYS)?;
            for key in WAIT_KEYS {
                let help = format!("write `{act} = {{ condition = \"c\", mutex = \"m\" }}`");
                fields.need(self.sink, key, &what, &help);
            }
            let condition = fields.name(self.sink, "condition");
            let mutex = fields.name(self.sink, "mutex");
            let condition = self.shared.conditions.intern(condition?.0);
            let mutex = self.shared.mutexes.intern(mutex?.0);
            if act == "sync" {
                code.push(Op::Signal(condition), span);
            }
            code.push(Op::Wait { condition, mutex }, span);
            return Some(());
        }
        let (name, _) = fields.name(self.sink, act)?;
        code.push(
            match act {
                "lock" => Op::Lock(self.shared.mutexes.intern(name)),
                "unlock" => Op::Unlock(self.shared.mutexes.intern(name)),
                "signal" => Op::Signal(self.shared.conditions.intern(name)),
                "broadcast" => Op::Broadcast(self.shared.conditions.intern(name)),
                _ => Op::Barrier(self.shared.barriers.intern(name)),
            },
            span,
        );
        Some(())
    }

    /// Steps about tasks, this one or others.
    fn tasking<'t>(
        &mut self,
        fields: &Fields<'t>,
        act: &str,
        code: &mut Code,
        span: &Range<usize>,
    ) -> Option<()> {
        match act {
            "suspend" | "yield" | "exit" => {
                fields.truth(self.sink, act);
                code.push(
                    match act {
                        "suspend" => Op::Suspend,
                        "yield" => Op::Yield,
                        _ => Op::Exit,
                    },
                    span,
                );
                return Some(());
            }
            _ => {}
        }
        let (name, at) = fields.string(self.sink, act)?;
        let Some((tasks, template)) = self.roster.find(name) else {
            let message = format!("`{act}`: there is no task `{}`", shorten(name));
            self.sink.error_help(at, message, did_you_mean(name, &self.roster.names()));
            return None;
        };
        if act == "fork" && !template {
            let message = format!("`fork`: the task `{}` is no template", shorten(name));
            self.sink.error_help(at, message, "add `template = true` to it");
            return None;
        }
        for task in tasks {
            code.push(if act == "fork" { Op::Fork(task) } else { Op::Resume(task) }, span);
        }
        Some(())
    }

    fn request<'t>(
        &mut self,
        fields: &Fields<'t>,
        act: &str,
        code: &mut Code,
        scope: &mut Scope,
        span: &Range<usize>,
    ) -> Option<()> {
        let (name, at) = fields.string(self.sink, act)?;
        let known = self.shared.queues.iter().position(|queue| queue.name == name);
        let Some(queue) = known.map(|queue| queue as u32) else {
            let names: Vec<&str> = self.shared.queues.iter().map(|q| q.name.as_str()).collect();
            let message = format!("`{act}`: there is no queue `{}`", shorten(name));
            let help = match names[..] {
                [] => "add one: `[[queue]]` with `name`, `rate` and `service`".to_owned(),
                _ => did_you_mean(name, &names),
            };
            self.sink.error_help(at, message, help);
            return None;
        };
        let shown = shorten(name);
        match (act, scope.open) {
            ("receive", None) => {
                scope.open = Some(queue);
                code.push(Op::Receive(queue), span);
            }
            ("receive", Some(_)) => {
                let message = "the request received before has no reply yet";
                self.sink.error_help(at, message, "`reply` to it first");
            }
            ("serve", Some(open)) if open == queue => code.push(Op::Serve, span),
            ("serve", None) => {
                code.push(Op::Receive(queue), span);
                code.push(Op::Serve, span);
                code.push(Op::Reply, span);
            }
            ("reply", Some(open)) if open == queue => {
                scope.open = None;
                code.push(Op::Reply, span);
            }
            (_, open) => {
                let message = match open {
                    Some(_) => format!("the request at hand is not from `{shown}`"),
                    None => format!("no request from `{shown}` has been received here"),
                };
                self.sink.error_help(at, message, format!("put `receive = \"{shown}\"` before it"));
            }
        }
        Some(())
    }

    fn device_work<'t>(
        &mut self,
        fields: &Fields<'t>,
        act: &str,
        code: &mut Code,
        span: &Range<usize>,
    ) -> Option<()> {
        let (name, work) = if act == "submit" {
            let fields = Fields::of(self.sink, fields.get(act)?, "`submit`", SUBMIT_KEYS)?;
            for key in SUBMIT_KEYS {
                let help = "write `submit = { device = \"gpu\", work = \"2ms\" }`";
                fields.need(self.sink, key, "`submit`", help);
            }
            let work = fields.get("work").and_then(|value| dist(self.sink, "work", value));
            (fields.string(self.sink, "device")?, work)
        } else {
            (fields.string(self.sink, act)?, None)
        };
        let (name, at) = name;
        let known = self.shared.devices.iter().position(|device| device.name == name);
        let Some(device) = known.map(|device| device as u32) else {
            let names: Vec<&str> = self.shared.devices.iter().map(|d| d.name.as_str()).collect();
            let message = format!("`{act}`: there is no device `{}`", shorten(name));
            let help = match names[..] {
                [] => "add one: `[[device]]` with `name`".to_owned(),
                _ => did_you_mean(name, &names),
            };
            self.sink.error_help(at, message, help);
            return None;
        };
        code.push(
            match act {
                "submit" => Op::Submit { device, work: work? },
                _ => Op::Synchronize(device),
            },
            span,
        );
        Some(())
    }

    /// Changes what is named; everything else stays as it was.
    fn set<'t>(&mut self, step: &Fields<'t>, code: &mut Code, span: &Range<usize>) -> Option<()> {
        let fields = Fields::of(self.sink, step.get("set")?, "`set`", SET_KEYS)?;
        if fields.present().is_empty() {
            let help = format!("say what: {}", SET_KEYS.join(", "));
            self.sink.error_help(span.clone(), "`set` changes nothing", help);
        }
        if let Some(value) = fields.get("cpus")
            && let Some(set) = cpus(self.sink, "cpus", value)
        {
            code.push(Op::SetAffinity(set), span);
        }
        if fields.present().iter().any(|key| *key != "cpus") {
            let before = self.attr_before(code);
            let attr = self.attr(&fields, before, "`set`");
            code.push(Op::SetAttr(attr), span);
        }
        Some(())
    }

    /// What the last `set` of the program left, or what the task started with.
    fn attr_before(&self, code: &Code) -> Attr {
        let last = code.ops.iter().rev().find_map(|op| match op {
            Op::SetAttr(attr) => Some(*attr),
            _ => None,
        });
        last.unwrap_or(self.start_attr)
    }

    fn inner_loop<'t>(
        &mut self,
        step: &Fields<'t>,
        code: &mut Code,
        scope: &mut Scope,
        span: &Range<usize>,
    ) -> Option<()> {
        let fields = Fields::of(self.sink, step.get("loop")?, "`loop`", LOOP_KEYS)?;
        fields.need(self.sink, "body", "`loop`", "write `loop = { count = 3, body = [...] }`");
        let count = fields.integer(self.sink, "count", 1..super::task::LOOP_MAX);
        let body = fields.get("body")?;
        if scope.depth == DEPTH_MAX {
            let message = "loops are nested too deep";
            self.sink.error_help(span.clone(), message, format!("{DEPTH_MAX} deep at most"));
            return None;
        }
        scope.depth += 1;
        let begin = code.begin(count.map(|(count, _)| count as u64), span);
        self.steps(body, "body", code, scope);
        code.end(begin, span);
        scope.depth -= 1;
        Some(())
    }
}
