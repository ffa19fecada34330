//! `[[task]]`: who the tasks are.

use std::ops::Range;

use slicewise_machine::{Dist, Mode, Op, RtTimeLimit, TimerMode};
use slicewise_sched::deadline::{Fault, PeriodLimits};
use slicewise_sched::{Attr, DlParams, Nice, Policy, RtPriority};
use toml::de::DeValue;

use super::Reader;
use super::fields::{Fields, Value, cpus, dist, wrong_kind};
use crate::diagnostic::{did_you_mean, shorten};
use crate::draft::{Code, Draft, LocalTimer};
use crate::units::show_ns;

pub(super) const TASK_KEYS: &[&str] = &[
    "name",
    "count",
    "template",
    "policy",
    "nice",
    "priority",
    "slice",
    "runtime",
    "deadline",
    "period",
    "reclaim",
    "dl_overrun",
    "rttime",
    "memory",
    "memory_node",
    "memory_bound",
    "memory_rate",
    "shared_memory",
    "shared_part",
    "cpus",
    "start",
    "group",
    "session",
    "reset_on_fork",
    "loop",
    "program",
    "phases",
    "hog",
    "periodic",
];
pub(super) const DL_KEYS: [&str; 5] = ["runtime", "deadline", "period", "reclaim", "dl_overrun"];
const RTTIME_KEYS: &[&str] = &["soft", "hard"];
pub(super) const PHASE_KEYS: &[&str] = &["name", "loop", "program"];
pub(super) const PERIODIC_KEYS: &[&str] = &["run", "period", "mode", "kernel"];

/// The most rounds of a loop; beyond this it is "for ever" that is meant.
pub(super) const LOOP_MAX: i128 = 1 << 53;

const BEHAVIOURS: [&str; 4] = ["program", "phases", "hog", "periodic"];

/// The kernel's limits for a task's own slice.
const SLICE_NS: std::ops::RangeInclusive<u64> = 100_000..=100_000_000;

impl Reader<'_, '_> {
    pub(super) fn tasks<'t>(&mut self, entries: &[&'t Value<'t>]) -> Vec<Draft> {
        let mut listed = Vec::new();
        for entry in entries {
            let Some(fields) = Fields::of(self.sink, entry, "a task", TASK_KEYS) else { continue };
            if let Some(known) = self.enlist(&fields) {
                listed.push((fields, known));
            }
        }
        let mut drafts = Vec::new();
        for (at, (fields, span)) in listed.into_iter().enumerate() {
            let group = self.roster.groups[at].clone();
            let attr = self.attr(&fields, Attr::default(), "the task");
            let affinity = fields.get("cpus").and_then(|value| cpus(self.sink, "cpus", value));
            let start = fields.duration(self.sink, "start");
            let rttime = self.rttime(&fields);
            let memory = self.memory(&fields);
            let cgroup = self.group_of_task(&fields);
            self.start_attr = attr;
            let code = self.behaviour(&fields, &group.name);
            self.ops_left = code.budget();
            drafts.push(Draft {
                name: group.name,
                span,
                count: group.count,
                template: group.template,
                attr,
                affinity: affinity.unwrap_or_default(),
                start_ns: start.map_or(0, |(ns, _)| ns),
                group: cgroup,
                rttime,
                memory,
                code,
            });
        }
        drafts
    }

    /// Enters a task into the roster, and says where its name is.
    fn enlist(&mut self, fields: &Fields<'_>) -> Option<Range<usize>> {
        fields.need(self.sink, "name", "the task", "give it one: `name = \"…\"`");
        let count = match fields.get("count") {
            None => Some(1),
            Some(_) => self.count(fields),
        };
        let template = fields.boolean(self.sink, "template").unwrap_or(false);
        let (name, span) = fields.string(self.sink, "name")?;
        if template && fields.get("count").is_some() {
            let message = format!("the template `{}` has a `count`", shorten(name));
            let help = "a template is forked as often as `fork` says: remove `count`";
            self.sink.error_help(span.clone(), message, help);
        }
        self.roster.add(self.sink, name, span.clone(), count?, template).then_some(span)
    }

    fn count(&mut self, fields: &Fields<'_>) -> Option<u32> {
        let most = i128::from(crate::TASKS_MAX);
        fields.integer(self.sink, "count", 1..most + 1).map(|(count, _)| count as u32)
    }

    /// Policy, nice, priority and slice, on top of what held before.
    pub(super) fn attr(&mut self, fields: &Fields<'_>, before: Attr, what: &str) -> Attr {
        let mut attr = before;
        if let Some((nice, _)) = fields.integer(self.sink, "nice", -20..20) {
            attr.nice = Nice::new(nice as i64).unwrap_or_default();
        }
        attr.policy = self.policy(fields, before.policy, what);
        if let Some((ns, span)) = fields.duration(self.sink, "slice") {
            attr.slice_ns = self.slice(ns, span);
        }
        if let Some(reset) = fields.boolean(self.sink, "reset_on_fork") {
            attr.reset_on_fork = reset;
        }
        attr
    }

    /// `RLIMIT_RTTIME`: one limit, or a soft and a hard one.
    fn rttime(&mut self, fields: &Fields<'_>) -> Option<RtTimeLimit> {
        let value = fields.get("rttime")?;
        let us = |ns: u64| ns / 1000;
        if value.get_ref().as_table().is_none() {
            let ns = fields.positive_duration(self.sink, "rttime")?;
            return Some(RtTimeLimit { soft_us: us(ns), hard_us: us(ns) });
        }
        let limits = Fields::of(self.sink, value, "`rttime`", RTTIME_KEYS)?;
        let soft_ns = limits.positive_duration(self.sink, "soft");
        let hard_ns = limits.positive_duration(self.sink, "hard");
        let limit = RtTimeLimit {
            soft_us: us(soft_ns.or(hard_ns)?),
            hard_us: hard_ns.map_or(u64::MAX, us),
        };
        if limit.soft_us > limit.hard_us {
            let message = "the soft limit of `rttime` is above the hard one";
            self.sink.error_help(value.span(), message, "the kernel refuses that: EINVAL");
        }
        Some(limit)
    }

    /// Runtime, deadline and period of a deadline task, on top of what it had.
    fn dl_params(&mut self, fields: &Fields<'_>, before: Policy, what: &str) -> Option<DlParams> {
        let before = match before {
            Policy::Deadline(params) => Some(params),
            _ => None,
        };
        let mut time = |key| fields.positive_duration(self.sink, key);
        let (runtime, deadline, period) = (time("runtime"), time("deadline"), time("period"));
        let reclaim = fields.boolean(self.sink, "reclaim");
        let overrun = fields.boolean(self.sink, "dl_overrun");
        let had = before.unwrap_or_default();
        let wanted = |key: &str| fields.get(key).is_some();
        if before.is_none() && (!wanted("runtime") || !wanted("deadline") && !wanted("period")) {
            let message = format!("{what} needs `runtime` and `period` for policy deadline");
            let help = "add for instance `runtime = \"5ms\"` and `period = \"20ms\"`; \
                        `deadline` is the period if it is not given";
            self.sink.error_help(fields.span.clone(), message, help);
            return None;
        }
        let period_ns = period.or(deadline).unwrap_or(had.period());
        let deadline_ns = deadline.or(period).unwrap_or(had.deadline_ns);
        let params = DlParams {
            runtime_ns: runtime.unwrap_or(had.runtime_ns),
            deadline_ns,
            period_ns,
            reclaim: reclaim.unwrap_or(had.reclaim),
            overrun_signal: overrun.unwrap_or(had.overrun_signal),
        };
        // What was not understood has been complained of already.
        let read = (!wanted("runtime") || runtime.is_some())
            && (!wanted("deadline") || deadline.is_some())
            && (!wanted("period") || period.is_some());
        if let (true, Err(fault)) = (read, params.check(PeriodLimits::default())) {
            let at = match fault {
                Fault::RuntimeTooShort | Fault::RuntimeAfterDeadline => "runtime",
                Fault::NoDeadline | Fault::DeadlineAfterPeriod => "deadline",
                _ => "period",
            };
            let span = fields.get(at).map_or(fields.span.clone(), |value| value.span());
            let message = format!("the kernel refuses these parameters (EINVAL): {fault}");
            let help =
                "allowed: 1024ns <= runtime <= deadline <= period, period 0.1ms to 4194.304ms";
            self.sink.error_help(span, message, help);
        }
        Some(params)
    }

    fn no_dl_keys(&mut self, fields: &Fields<'_>) {
        for key in DL_KEYS {
            if let Some(value) = fields.get(key) {
                let message = format!("`{key}` is only for policy deadline");
                let help = "add `policy = \"deadline\"`, or remove it";
                self.sink.error_help(value.span(), message, help);
            }
        }
    }

    fn policy(&mut self, fields: &Fields<'_>, before: Policy, what: &str) -> Policy {
        let word = fields.get("policy").and_then(|value| value.get_ref().as_str());
        let deadline = match word.map(parse_policy) {
            Some(Ok(word)) => matches!(word, PolicyWord::Deadline),
            Some(Err(_)) => false,
            None => matches!(before, Policy::Deadline(_)),
        };
        if deadline {
            if let Some(value) = fields.get("priority") {
                let message = "`priority` means nothing to SCHED_DEADLINE";
                let help = "remove it: the earliest deadline goes first";
                self.sink.error_help(value.span(), message, help);
            }
            let params = self.dl_params(fields, before, what);
            return params.map_or(before, Policy::Deadline);
        }
        self.no_dl_keys(fields);
        let priority = fields.integer(self.sink, "priority", 1..100);
        let priority_span = fields.get("priority").map(|value| value.span());
        let rt = priority.and_then(|(number, _)| RtPriority::new(number as i64));
        let Some((word, span)) = fields.string(self.sink, "policy") else {
            return match (before, rt) {
                (Policy::Fifo(_), Some(rt)) => Policy::Fifo(rt),
                (Policy::Rr(_), Some(rt)) => Policy::Rr(rt),
                _ => {
                    if let Some(span) = priority_span {
                        let message = format!("{what} has a `priority` but no real-time policy");
                        let help = "add `policy = \"fifo\"` or \"rr\"; others have `nice`";
                        self.sink.error_help(span, message, help);
                    }
                    before
                }
            };
        };
        let real_time = match parse_policy(word) {
            Ok(PolicyWord::Fair(policy)) => {
                if let Some(span) = priority_span {
                    let message = format!("`priority` means nothing to {}", policy.name());
                    self.sink.error_help(span, message, "use `nice`, or policy fifo or rr");
                }
                return policy;
            }
            Ok(PolicyWord::RealTime(policy)) => policy,
            Ok(PolicyWord::Deadline) => return before,
            Err((message, help)) => {
                self.sink.error_help(span, message, help);
                return before;
            }
        };
        if priority_span.is_none() {
            let help = "add `priority = 50`: 1 is lowest, 99 highest";
            self.sink.error_help(
                span,
                format!("{what} needs a `priority` for policy {word}"),
                help,
            );
        }
        rt.map_or(before, real_time)
    }

    fn slice(&mut self, ns: u64, span: Range<usize>) -> Option<u64> {
        if ns == 0 {
            self.sink.error_help(span, "`slice` cannot be zero", "allowed: 0.1ms to 100ms");
            return None;
        }
        if !SLICE_NS.contains(&ns) {
            let message = format!("the kernel cuts a slice of {} to 0.1ms … 100ms", show_ns(ns));
            self.sink.warn(span, message, "write a slice within these limits");
        }
        Some(ns)
    }

    /// What the task does: one of four ways to say it.
    fn behaviour(&mut self, fields: &Fields<'_>, name: &str) -> Code {
        let mut code = self.code();
        let said: Vec<&str> = BEHAVIOURS.into_iter().filter(|k| fields.get(k).is_some()).collect();
        let what = shorten(name);
        let [behaviour] = said[..] else {
            let message = match said.len() {
                0 => format!("task `{what}` does nothing"),
                _ => format!("task `{what}` says in {} ways what it does", said.len()),
            };
            let help = "say one of `program`, `phases`, `hog` and `periodic`";
            self.sink.error_help(fields.span.clone(), message, help);
            return code;
        };
        let rounds = self.rounds(fields, None);
        let Some(value) = fields.get(behaviour) else { return code };
        let span = value.span();
        match behaviour {
            "hog" => {
                fields.truth(self.sink, "hog");
                if let Some(value) = fields.get("loop") {
                    self.sink.error_help(value.span(), "a hog does not loop", "remove `loop`");
                }
                code.push(Op::RunForever, &span);
            }
            "periodic" => {
                let begin = code.begin(rounds, &span);
                self.periodic(value, &mut code);
                code.end(begin, &span);
            }
            "program" => {
                let begin = code.begin(rounds, &span);
                self.program(value, "program", &mut code);
                code.end(begin, &span);
            }
            _ => {
                let begin = code.begin(rounds, &span);
                self.phases(value, &mut code);
                code.end(begin, &span);
            }
        }
        code
    }

    fn rounds(&mut self, fields: &Fields<'_>, default: Option<u64>) -> Option<u64> {
        let rounds = fields.integer(self.sink, "loop", 1..LOOP_MAX);
        rounds.map_or(default, |(rounds, _)| Some(rounds as u64))
    }

    fn phases<'t>(&mut self, value: &'t Value<'t>, code: &mut Code) {
        let DeValue::Array(phases) = value.get_ref() else {
            return wrong_kind(self.sink, "phases", value, "a list of phases");
        };
        if phases.is_empty() {
            self.sink.error_help(value.span(), "`phases` is empty", "add `{ program = [...] }`");
        }
        for phase in phases.iter() {
            let Some(fields) = Fields::of(self.sink, phase, "a phase", PHASE_KEYS) else {
                continue;
            };
            fields.need(self.sink, "program", "the phase", "add `program = [{ run = \"1ms\" }]`");
            fields.name(self.sink, "name");
            let rounds = self.rounds(&fields, Some(1));
            let Some(program) = fields.get("program") else { continue };
            let begin = code.begin(rounds, &phase.span());
            self.program(program, "program", code);
            code.end(begin, &phase.span());
        }
    }

    fn periodic<'t>(&mut self, value: &'t Value<'t>, code: &mut Code) -> Option<()> {
        let fields = Fields::of(self.sink, value, "`periodic`", PERIODIC_KEYS)?;
        for key in ["run", "period"] {
            let help = "write `periodic = { run = \"2ms\", period = \"10ms\" }`";
            fields.need(self.sink, key, "`periodic`", help);
        }
        let work = fields.get("run").and_then(|value| dist(self.sink, "run", value));
        let mode = self.timer_mode(&fields, TimerMode::Absolute);
        let kernel = fields.boolean(self.sink, "kernel").unwrap_or(false);
        let period_ns = fields.positive_duration(self.sink, "period")?;
        let span = value.span();
        if let Some(Dist::Constant(run_ns)) = work
            && run_ns > period_ns
        {
            let message = format!("it runs {} every {}", show_ns(run_ns), show_ns(period_ns));
            self.sink.warn(span.clone(), message, "no CPU can do that: it falls behind for ever");
        }
        let run_mode = if kernel { Mode::Kernel } else { Mode::User };
        code.push(Op::Run { work: work?, mode: run_mode }, &span);
        let timer = code.timer(LocalTimer { name: "periodic".to_owned(), shared: None });
        code.push(Op::Timer { timer, period_ns, mode }, &span);
        Some(())
    }

    pub(super) fn timer_mode(&mut self, fields: &Fields<'_>, default: TimerMode) -> TimerMode {
        match fields.string(self.sink, "mode") {
            None => default,
            Some(("absolute", _)) => TimerMode::Absolute,
            Some(("relative", _)) => TimerMode::Relative,
            Some((word, span)) => {
                let message = format!("unknown timer mode `{}`", shorten(word));
                self.sink.error_help(span, message, "allowed: absolute, relative");
                default
            }
        }
    }
}

/// A policy by its name.
pub(crate) enum PolicyWord {
    /// It has no priority.
    Fair(Policy),
    /// It needs one.
    RealTime(fn(RtPriority) -> Policy),
    /// It needs runtime and period.
    Deadline,
}

/// The names of the policies, short and as in `sched(7)`.
pub(crate) fn parse_policy(word: &str) -> Result<PolicyWord, (String, String)> {
    const WORDS: [&str; 6] = ["other", "batch", "idle", "fifo", "rr", "deadline"];
    let lower = word.to_ascii_lowercase();
    let short = lower.strip_prefix("sched_").unwrap_or(&lower);
    Ok(match short {
        "other" | "normal" => PolicyWord::Fair(Policy::Normal),
        "batch" => PolicyWord::Fair(Policy::Batch),
        "idle" => PolicyWord::Fair(Policy::Idle),
        "fifo" => PolicyWord::RealTime(Policy::Fifo),
        "rr" => PolicyWord::RealTime(Policy::Rr),
        "deadline" => PolicyWord::Deadline,
        _ => {
            let message = format!("unknown policy `{}`", shorten(word));
            return Err((message, did_you_mean(short, &WORDS)));
        }
    })
}
