//! Threads and phases.

use jsonc_parser::ast::{Object, ObjectProp, Value};
use slicewise_machine::{Op, TaskMemory};
use slicewise_sched::deadline::{Fault, PeriodLimits};
use slicewise_sched::{Attr, CPUS_MAX, CpuId, CpuSet, DlParams, Nice, Policy, RtPriority};

use super::event::{EVENTS, event_of};
use super::{INT_MAX, Reader};
use crate::diagnostic::{did_you_mean, shorten};
use crate::draft::{Code, Draft};

const SCHED_KEYS: &[&str] = &[
    "policy",
    "priority",
    "dl-runtime",
    "dl-period",
    "dl-deadline",
    "cpus",
    "util_min",
    "util_max",
    "nodes_membind",
    "taskgroup",
];
const THREAD_KEYS: &[&str] = &["instance", "delay", "loop", "phases"];

/// What files for rt-app before 1.0 have.
const OLD_KEYS: &[&str] = &["exec", "lock_order", "resources", "period", "deadline"];

/// rt-app's real-time priority if the file gives none.
const RT_PRIORITY_DEFAULT: i64 = 10;

const POLICIES: &[&str] =
    &["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_FIFO", "SCHED_RR", "SCHED_DEADLINE"];

impl<'t> Reader<'_, 't> {
    pub(super) fn threads(&mut self, threads: &Object<'t>) -> Vec<Draft> {
        let mut listed = Vec::new();
        for property in &threads.properties {
            if let Some(thread) = self.object(property, "an object that describes a thread")
                && self.enlist(property, thread)
            {
                listed.push((property, thread));
            }
        }
        let forked = self.survey(&listed);
        let mut drafts: Vec<Draft> = Vec::new();
        for (group, (property, thread)) in listed.iter().enumerate() {
            drafts.push(self.thread(group, property, thread));
        }
        // A thread that both starts by itself and is forked needs a template beside it.
        for (at, (property, thread)) in forked {
            let group = drafts.len();
            // Forks are no parties of barriers: the second reading must not count them again.
            let parties = self.shared.parties.clone();
            let mut draft = self.thread(at, property, thread);
            self.shared.parties = parties;
            let absolute = self.absolute.iter().filter(|(owner, _)| *owner == Some(at));
            let copied: Vec<_> = absolute.map(|(_, name)| (Some(group), name.clone())).collect();
            self.absolute.extend(copied);
            draft.name = self.roster.groups[group].name.clone();
            (draft.count, draft.template) = (1, true);
            drafts.push(draft);
        }
        drafts
    }

    fn enlist(&mut self, property: &ObjectProp<'t>, thread: &Object<'t>) -> bool {
        let instance = thread.properties.iter().rfind(|p| p.name.as_str() == "instance");
        let count = match instance {
            None => 1,
            Some(instance) => match self.integer(instance, 0, INT_MAX) {
                Some(count) => count as u32,
                None => return false,
            },
        };
        let span = self.key_span(property);
        self.roster.add(self.sink, property.name.as_str(), span, count.max(1), count == 0)
    }

    /// Looks through all events once for what has to be known before the first is read: who
    /// suspends on what, and who is forked without being a template.
    fn survey<'a>(
        &mut self,
        listed: &[(&'a ObjectProp<'t>, &'a Object<'t>)],
    ) -> Vec<(usize, (&'a ObjectProp<'t>, &'a Object<'t>))> {
        let mut forked = std::collections::BTreeSet::new();
        for (group, (property, thread)) in listed.iter().enumerate() {
            for event in events(thread) {
                let name = match &event.value {
                    Value::StringLit(literal) => literal.value.as_ref(),
                    _ => "",
                };
                match event_of(event.name.as_str()) {
                    Some("suspend") => {
                        let name = if name.is_empty() { property.name.as_str() } else { name };
                        let groups = self.suspends.groups.entry(name.to_owned()).or_default();
                        groups.insert(group);
                        let names = self.suspends.names.entry(group).or_default();
                        names.insert(name.to_owned());
                    }
                    Some("lock" | "unlock" | "signal" | "broad") => {
                        self.suspends.explicit.insert(name.to_owned());
                    }
                    Some("wait" | "sync") => {
                        let object = event.value.as_object();
                        for literal in ["ref", "mutex"].iter().filter_map(|k| object?.get_string(k))
                        {
                            self.suspends.explicit.insert(literal.value.to_string());
                        }
                    }
                    Some("fork") => {
                        forked.insert(name.to_owned());
                    }
                    _ => {}
                }
            }
        }
        let mut templates = Vec::new();
        for (at, entry) in listed.iter().enumerate() {
            let name = entry.0.name.as_str();
            if !self.roster.groups[at].template && forked.contains(name) {
                let span = self.key_span(entry.0);
                if self.roster.add(self.sink, &format!("{name}-fork"), span, 1, true) {
                    templates.push((at, *entry));
                }
            }
        }
        templates
    }

    fn thread(&mut self, group: usize, property: &ObjectProp<'t>, thread: &Object<'t>) -> Draft {
        let name = property.name.as_str().to_owned();
        let span = self.key_span(property);
        let phases = thread.properties.iter().rfind(|p| p.name.as_str() == "phases");
        self.check_keys(&name, thread, phases.is_some());
        let attr = self.attr(thread, None).unwrap_or_default();
        let cpus = self.cpus(thread);
        let delay = find(thread, "delay");
        let delay_us = delay.and_then(|p| self.integer(p, -INT_MAX, INT_MAX)).unwrap_or(0);
        let mut code = self.code();
        let phases: Vec<(&ObjectProp<'t>, &Object<'t>)> = match phases {
            Some(phases) => self.phases(phases),
            None => vec![(property, thread)],
        };
        let single = find(thread, "phases").is_none();
        if single && let Some(property) = find(thread, "loop") {
            self.warn_restart(property);
        }
        let rounds = if single { None } else { self.rounds(thread, None, true) };
        let sets: Vec<Option<CpuSet>> = match single {
            true => vec![None; phases.len()],
            false => phases.iter().map(|(_, phase)| self.cpus(phase)).collect(),
        };
        let pinned = sets.iter().any(Option::is_some);
        let home = cpus.unwrap_or_default();
        let begin = code.begin(rounds, &span);
        let mut current = attr;
        for ((property, phase), set) in phases.iter().zip(&sets) {
            if pinned {
                let set = set.as_ref().unwrap_or(&home).clone();
                code.push(Op::SetAffinity(set), &self.key_span(property));
            }
            if !single && let Some(attr) = self.attr(phase, Some(current)) {
                current = attr;
                code.push(Op::SetAttr(attr), &self.key_span(property));
            }
            self.phase(group, property, phase, &mut code);
        }
        code.end(begin, &span);
        self.ops_left = code.budget();
        let roster = &self.roster.groups[group];
        Draft {
            name,
            span,
            count: roster.count,
            template: roster.template,
            attr,
            affinity: sets.first().cloned().flatten().unwrap_or(home),
            start_ns: delay_us.max(0) as u64 * 1000,
            group: None,
            rttime: None,
            memory: TaskMemory::default(),
            code,
        }
    }

    fn phases<'a>(
        &mut self,
        property: &'a ObjectProp<'t>,
    ) -> Vec<(&'a ObjectProp<'t>, &'a Object<'t>)> {
        let Some(phases) = self.object(property, "an object of phases") else { return Vec::new() };
        if phases.properties.is_empty() {
            let help = "add a phase: `\"phase0\": { \"run\": 1000 }`";
            self.sink.error_help(self.span(phases), "`phases` is empty", help);
        }
        let mut list = Vec::new();
        for property in &phases.properties {
            if let Some(phase) = self.object(property, "an object that describes a phase") {
                self.check_keys(property.name.as_str(), phase, false);
                list.push((property, phase));
            }
        }
        list
    }

    /// Reports keys that are neither events nor known.
    fn check_keys(&mut self, name: &str, object: &Object<'t>, has_phases: bool) {
        let known: Vec<&str> = SCHED_KEYS.iter().chain(THREAD_KEYS).copied().collect();
        let words: Vec<&str> = known.iter().chain(EVENTS).copied().collect();
        let events =
            object.properties.iter().filter(|p| event_of(p.name.as_str()).is_some()).count();
        let old = object.properties.iter().find(|p| OLD_KEYS.contains(&p.name.as_str()));
        if let Some(old) = old
            && (events == 0 || find(object, "lock_order").is_some())
            && !has_phases
        {
            let key = old.name.as_str();
            let message = format!("`{key}` in `{}` is of rt-app before 1.0", shorten(name));
            let help = "rt-app 1.0 ignores it; describe the thread with events: `run`, `timer`, …";
            self.sink.error_help(self.key_span(old), message, help);
            return;
        }
        let mut seen = std::collections::BTreeSet::new();
        for property in &object.properties {
            let key = property.name.as_str();
            if known.contains(&key) && !seen.insert(key) {
                let message = format!("`{key}` is given twice: the last one counts");
                self.sink.warn(self.key_span(property), message, "remove the other");
            }
            match key {
                "util_min" | "util_max" | "nodes_membind" | "taskgroup" => {
                    let message = format!("`{key}` is not simulated");
                    self.sink.warn(self.key_span(property), message, "it is ignored");
                }
                _ if event_of(key).is_some() && has_phases => {
                    let message = format!("`{}` beside `phases` is ignored", shorten(key));
                    self.sink.warn(self.key_span(property), message, "move it into a phase");
                }
                _ if event_of(key).is_some() || known.contains(&key) => {}
                _ => {
                    let what = format!("`{}`", shorten(name));
                    self.unknown(property, key, &what, &words);
                }
            }
        }
    }

    fn phase(
        &mut self,
        group: usize,
        property: &ObjectProp<'t>,
        phase: &Object<'t>,
        code: &mut Code,
    ) {
        let span = self.key_span(property);
        let rounds = self.rounds(phase, Some(1), false);
        let begin = code.begin(rounds, &span);
        code.push(Op::LogBegin, &span);
        let mut events = 0;
        for event in &phase.properties {
            if let Some(kind) = event_of(event.name.as_str()) {
                events += 1;
                self.event(group, kind, event, code);
            }
        }
        if events == 0 {
            let message = format!("`{}` has no events", shorten(property.name.as_str()));
            let help = format!("add some of: {}", EVENTS.join(", "));
            self.sink.error_help(span.clone(), message, help);
        }
        code.push(Op::LogEnd { cumulative_slack: self.settings.cumulative_slack }, &span);
        code.end(begin, &span);
    }

    /// Without phases, rt-app 1.0 takes `loop` for the phase's and then starts over, for ever.
    fn warn_restart(&mut self, property: &ObjectProp<'t>) {
        let literal = property.value.as_number_lit();
        if literal.and_then(super::text::whole).is_some_and(|rounds| rounds > 0) {
            let message =
                "rt-app 1.0 repeats a thread without `phases` for ever, whatever its `loop`";
            let help = "to end after these rounds, put the events into `phases`";
            self.sink.warn(self.span(property), message, help);
        }
    }

    /// `loop`: how often; below zero is for ever.
    fn rounds(&mut self, object: &Object<'t>, default: Option<u64>, thread: bool) -> Option<u64> {
        let Some(property) = find(object, "loop") else { return default };
        let Some(rounds) = self.integer(property, -INT_MAX, INT_MAX) else { return default };
        if rounds == 0 {
            let message = match thread {
                true => "`loop` 0: the thread ends at once",
                false => "`loop` 0: the phase repeats for ever, as in rt-app",
            };
            let help = "write -1 for ever, or 1 or more";
            self.sink.warn(self.span(&property.value), message, help);
            return thread.then_some(0);
        }
        u64::try_from(rounds).ok()
    }

    /// The scheduling attributes an object asks for. A thread (`before` is `None`) always has
    /// some; a phase only if it names one.
    fn attr(&mut self, object: &Object<'t>, before: Option<Attr>) -> Option<Attr> {
        let (policy, priority) = (find(object, "policy"), find(object, "priority"));
        let dl = ["dl-runtime", "dl-period", "dl-deadline"];
        let times: Vec<Option<i64>> = dl
            .iter()
            .map(|key| find(object, key).and_then(|p| self.integer(p, 0, INT_MAX)))
            .collect();
        if before.is_some() && policy.is_none() && priority.is_none() && times[0].is_none() {
            return None;
        }
        let word = match (policy, before) {
            (Some(policy), _) => self.string(policy)?.to_owned(),
            (None, Some(before)) => before.policy.name().to_owned(),
            (None, None) => self.default_policy.clone(),
        };
        let mut attr = before.unwrap_or_default();
        if let Some(runtime_us) = times[0].filter(|us| *us > 0) {
            attr.slice_ns = Some(runtime_us as u64 * 1000);
        }
        match word.as_str() {
            "SCHED_OTHER" | "SCHED_BATCH" | "SCHED_IDLE" => {
                let nice = priority.map_or(Some(0), |p| self.integer(p, -20, 19));
                if priority.is_some() || before.is_none() || policy.is_some() {
                    attr.nice = nice.and_then(Nice::new)?;
                }
                attr.policy = match word.as_str() {
                    "SCHED_BATCH" => Policy::Batch,
                    "SCHED_IDLE" => Policy::Idle,
                    _ => Policy::Normal,
                };
            }
            "SCHED_FIFO" | "SCHED_RR" => {
                let number = priority.map_or(Some(RT_PRIORITY_DEFAULT), |p| self.integer(p, 1, 99));
                let rt = RtPriority::new(number?)?;
                attr.slice_ns = None;
                attr.policy = if word == "SCHED_FIFO" { Policy::Fifo(rt) } else { Policy::Rr(rt) };
            }
            "SCHED_DEADLINE" => {
                attr.slice_ns = None;
                attr.policy = match (self.dl_params(object, &times), attr.policy) {
                    (Some(params), _) => Policy::Deadline(params),
                    (None, policy) => policy,
                };
            }
            _ => {
                self.no_policy(&word, object, policy);
                return None;
            }
        }
        Some(attr)
    }

    /// What a SCHED_DEADLINE thread or phase reserves: without a period, its runtime; without a
    /// deadline, its period.
    fn dl_params(&mut self, object: &Object<'t>, times_us: &[Option<i64>]) -> Option<DlParams> {
        let ns = |us: i64| us.max(0) as u64 * 1000;
        let Some(runtime_ns) = times_us[0].filter(|us| *us > 0).map(ns) else {
            let message = "a SCHED_DEADLINE thread needs `dl-runtime` and `dl-period`";
            let help = "in microseconds: `\"dl-runtime\": 5000, \"dl-period\": 10000`";
            self.sink.error_help(self.span(object), message, help);
            return None;
        };
        let period_ns = times_us[1].filter(|us| *us > 0).map_or(runtime_ns, ns);
        let deadline_ns = times_us[2].filter(|us| *us > 0).map_or(period_ns, ns);
        let params = DlParams { runtime_ns, deadline_ns, period_ns, ..DlParams::default() };
        if let Err(fault) = params.check(PeriodLimits::default()) {
            let key = match fault {
                Fault::RuntimeTooShort | Fault::RuntimeAfterDeadline => "dl-runtime",
                Fault::NoDeadline | Fault::DeadlineAfterPeriod => "dl-deadline",
                _ => "dl-period",
            };
            let span = find(object, key).map_or_else(|| self.span(object), |p| self.span(&p.value));
            let message = format!("the kernel refuses these parameters (EINVAL): {fault}");
            let help =
                "allowed: 1.024 us <= runtime <= deadline <= period, period 100 us to 4.194304 s";
            self.sink.error_help(span, message, help);
            return None;
        }
        Some(params)
    }

    fn no_policy(&mut self, word: &str, object: &Object<'t>, policy: Option<&ObjectProp<'t>>) {
        let span = policy.map_or_else(|| self.span(object), |policy| self.span(&policy.value));
        let message = format!("unknown policy `{}`", shorten(word));
        self.sink.error_help(span, message, did_you_mean(word, POLICIES));
    }

    fn cpus(&mut self, object: &Object<'t>) -> Option<CpuSet> {
        let property = find(object, "cpus")?;
        let Value::Array(array) = &property.value else {
            self.wrong(property, "an array of CPU numbers");
            return None;
        };
        let mut list = Vec::new();
        for element in &array.elements {
            let number = element.as_number_lit().and_then(super::text::whole);
            match number.and_then(|number| u32::try_from(number).ok()) {
                Some(number) if number < CPUS_MAX => list.push(CpuId(number)),
                _ => {
                    let help = format!("allowed: 0 to {}", CPUS_MAX - 1);
                    self.sink.error_help(self.span(element), "`cpus` must list CPU numbers", help);
                    return None;
                }
            }
        }
        if list.is_empty() {
            let message = "`cpus` is empty: the thread could run nowhere";
            self.sink.error_help(self.span(array), message, "name at least one CPU");
            return None;
        }
        Some(CpuSet::of(list))
    }
}

/// The last property of that name: what a JSON library leaves of several.
fn find<'a, 't>(object: &'a Object<'t>, key: &str) -> Option<&'a ObjectProp<'t>> {
    object.properties.iter().rfind(|property| property.name.as_str() == key)
}

/// Every event of a thread, whatever its phase.
fn events<'a, 't>(thread: &'a Object<'t>) -> impl Iterator<Item = &'a ObjectProp<'t>> {
    let phases = find(thread, "phases").and_then(|phases| phases.value.as_object());
    let inside = phases.into_iter().flat_map(|phases| &phases.properties);
    let inside = inside.filter_map(|phase| phase.value.as_object()).flat_map(|p| &p.properties);
    let outside = phases.is_none().then_some(&thread.properties).into_iter().flatten();
    inside.chain(outside).filter(|property| event_of(property.name.as_str()).is_some())
}
