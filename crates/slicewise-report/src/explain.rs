//! Why the scheduler picked whom it picked, in a form a student can follow.

use serde::Serialize;
use slicewise_sched::{Candidate, Class, Decision, FairView, Policy, RtPriority, Rule, TaskId};

use crate::Style;
use crate::table::policy;
use crate::text::{
    Cell, Column, Paint, Table, duration, duration_inline, shown_name, signed_duration,
};

/// A decision as plain values, with the reasons.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ExplainReport {
    /// Which CPU was free to choose.
    pub cpu: u32,
    /// The moment asked about.
    pub at_ns: u64,
    /// When the decision in force at that moment was made. All figures are of this time.
    pub decided_at_ns: u64,
    /// Who got the CPU; `None` is idle.
    pub picked: Option<String>,
    /// The rule that decided, in one word: `earliest_deadline`.
    pub rule: &'static str,
    /// The rule in a sentence.
    pub reason: String,
    /// EEVDF: the weighted average of virtual runtimes, V.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_vruntime_ns: Option<i64>,
    /// CFS: the monotonic minimum of virtual runtimes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_vruntime_ns: Option<i64>,
    /// Sleepers the pick came upon first: their debt was paid, and they left the queue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_paid: Vec<String>,
    /// Everyone who could have been picked, in the order the classes look at them.
    pub candidates: Vec<ExplainedCandidate>,
}

/// One candidate.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ExplainedCandidate {
    /// Its name.
    pub name: String,
    /// It got the CPU.
    pub picked: bool,
    /// It had the CPU before.
    pub current: bool,
    /// The class it is queued in: `fair`.
    pub class: &'static str,
    /// Its policy: `SCHED_OTHER`.
    pub policy: &'static str,
    /// Its nice value.
    pub nice: i8,
    /// Its priority, real-time policies only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Deadline tasks: absolute deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dl_deadline_ns: Option<u64>,
    /// Deadline tasks: budget left when it was last charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dl_runtime_left_ns: Option<i64>,
    /// What the fair class knows of it.
    #[serde(flatten)]
    pub fair: Option<ExplainedFair>,
    /// Why it was picked, or why not.
    pub why: String,
}

/// What the fair class knows of a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ExplainedFair {
    /// Weight as the kernel's tables have it: 1024 for nice 0.
    pub weight: u64,
    /// Virtual runtime.
    pub vruntime_ns: i64,
    /// The same minus the average (EEVDF) or the minimum (CFS).
    pub relative_vruntime_ns: i64,
    /// EEVDF: virtual time it is owed; negative when it has had too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_ns: Option<i64>,
    /// EEVDF: it has had no more than its share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eligible: Option<bool>,
    /// EEVDF: virtual deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ns: Option<i64>,
    /// EEVDF: the same minus the average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_deadline_ns: Option<i64>,
    /// Slice in real time.
    pub slice_ns: u64,
    /// The slice is the task's own wish.
    pub custom_slice: bool,
    /// Running, and safe from earlier deadlines for now.
    pub protected: bool,
    /// Asleep; queued only until its debt is paid.
    pub delayed: bool,
}

impl ExplainReport {
    /// Explains a decision; `names` says what tasks are called.
    pub fn new(decision: &Decision, names: &dyn Fn(TaskId) -> String, at_ns: u64) -> Self {
        let queue = &decision.queue;
        let winner = decision
            .picked
            .and_then(|picked| queue.candidates.iter().find(|other| other.task == picked));
        let reference = queue.average_vruntime_ns.or(queue.min_vruntime_ns).unwrap_or(0);
        let name = decision.picked.map(names);
        let throttled = |candidate: &Candidate| {
            queue.rt_throttled
                && candidate.class == Class::Rt
                && decision.picked != Some(candidate.task)
        };
        let group_throttled = |candidate: &Candidate| {
            candidate.rt_group_throttled && decision.picked != Some(candidate.task)
        };
        let explained = |candidate: &Candidate| ExplainedCandidate {
            name: names(candidate.task),
            picked: decision.picked == Some(candidate.task),
            current: candidate.current,
            class: candidate.class.name(),
            policy: candidate.attr.policy.name(),
            nice: candidate.attr.nice.get(),
            priority: priority(candidate.attr.policy),
            dl_deadline_ns: candidate.deadline.map(|view| view.deadline_ns),
            dl_runtime_left_ns: candidate.deadline.map(|view| view.runtime_left_ns),
            fair: candidate.fair.as_ref().map(|fair| ExplainedFair::new(fair, reference)),
            why: match winner {
                Some(winner) if winner.task == candidate.task => decision.rule.explain().to_owned(),
                Some(_) if throttled(candidate) => rt_throttled(),
                Some(_) if group_throttled(candidate) => rt_group_throttled(),
                Some(winner) => {
                    why_not(candidate, winner, decision.rule, name.as_deref().unwrap_or_default())
                }
                None if is_delayed(candidate) => asleep(),
                None if throttled(candidate) => rt_throttled(),
                None if group_throttled(candidate) => rt_group_throttled(),
                None => "was left in the queue".to_owned(),
            },
        };
        Self {
            cpu: queue.cpu.0,
            at_ns,
            decided_at_ns: queue.at_ns,
            left_paid: decision.paid.iter().map(|task| names(*task)).collect(),
            rule: rule_name(decision.rule),
            reason: reason(decision.rule, name.as_deref()),
            picked: name.clone(),
            average_vruntime_ns: queue.average_vruntime_ns,
            min_vruntime_ns: queue.min_vruntime_ns,
            candidates: queue.candidates.iter().map(explained).collect(),
        }
    }
}

impl ExplainedFair {
    fn new(fair: &FairView, reference_ns: i64) -> Self {
        let relative = |ns: i64| ns.wrapping_sub(reference_ns);
        Self {
            weight: fair.weight >> 10,
            vruntime_ns: fair.vruntime_ns,
            relative_vruntime_ns: relative(fair.vruntime_ns),
            lag_ns: fair.lag_ns,
            eligible: fair.eligible,
            deadline_ns: fair.deadline_ns,
            relative_deadline_ns: fair.deadline_ns.map(relative),
            slice_ns: fair.slice_ns,
            custom_slice: fair.custom_slice,
            protected: fair.protected,
            delayed: fair.delayed,
        }
    }
}

fn priority(policy: Policy) -> Option<u8> {
    policy.rt_priority().map(RtPriority::get)
}

fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::Idle => "idle",
        Rule::StopClass => "stop_class",
        Rule::DlDeadline => "dl_deadline",
        Rule::FairServer => "fair_server",
        Rule::RtPriority => "rt_priority",
        Rule::OnlyTask => "only_task",
        Rule::NextBuddy => "next_buddy",
        Rule::LastBuddy => "last_buddy",
        Rule::Protected => "protected",
        Rule::EarliestDeadline => "earliest_deadline",
        Rule::CurrentDeadline => "current_deadline",
        Rule::LeastVruntime => "least_vruntime",
        Rule::SecondVruntime => "second_vruntime",
        Rule::Host => "host",
    }
}

fn reason(rule: Rule, picked: Option<&str>) -> String {
    match picked {
        Some(name) => format!("{name} gets the CPU: {}.", rule.explain()),
        None => format!("The CPU goes idle: {}.", rule.explain()),
    }
}

fn is_delayed(candidate: &Candidate) -> bool {
    candidate.fair.is_some_and(|fair| fair.delayed)
}

fn asleep() -> String {
    "asleep, queued only until its debt is paid".to_owned()
}

/// One reason why a candidate lost against the winner.
fn why_not(candidate: &Candidate, winner: &Candidate, rule: Rule, winner_name: &str) -> String {
    if rule == Rule::Host {
        return "the host chose otherwise".to_owned();
    }
    if rule == Rule::FairServer && candidate.class < Class::Fair {
        return "it is the turn of the fair server, for tasks that were starving".to_owned();
    }
    if candidate.class != winner.class {
        let (class, winning) = (candidate.class.name(), winner.class.name());
        return if candidate.class > winner.class {
            format!("its class, {class}, comes after {winning}")
        } else {
            format!("its class, {class}, comes before {winning}, but it could not run now")
        };
    }
    match (candidate.class, candidate.fair, winner.fair) {
        (Class::Rt, ..) => rt_why_not(candidate, winner),
        (Class::Deadline, ..) => dl_why_not(candidate, winner, winner_name),
        (Class::Fair, Some(fair), Some(winning)) => {
            if fair.delayed {
                asleep()
            } else if fair.eligible.is_some() {
                eevdf_why_not(&fair, &winning, rule, winner_name)
            } else {
                cfs_why_not(&fair, &winning, rule, winner_name)
            }
        }
        _ => format!("behind {winner_name} in the queue"),
    }
}

fn rt_why_not(candidate: &Candidate, winner: &Candidate) -> String {
    let of = |candidate: &Candidate| priority(candidate.attr.policy).unwrap_or(0);
    let (own, winning) = (of(candidate), of(winner));
    if own < winning {
        format!("priority {own} is lower than {winning}")
    } else {
        format!("same priority {own}, but further back in its list")
    }
}

fn rt_throttled() -> String {
    "real-time tasks have used up what they may of this period (RT throttling)".to_owned()
}

fn rt_group_throttled() -> String {
    "its group, or one that is in, has used up its real-time runtime of this period \
     (cpu.rt_runtime_us)"
        .to_owned()
}

fn dl_why_not(candidate: &Candidate, winner: &Candidate, winner_name: &str) -> String {
    let (Some(own), Some(winning)) = (candidate.deadline, winner.deadline) else {
        return format!("behind {winner_name} in the queue");
    };
    match own.deadline_ns.saturating_sub(winning.deadline_ns) {
        0 => format!("same deadline, but {winner_name} was queued first"),
        apart_ns => format!("its deadline is {} later", duration_inline(apart_ns)),
    }
}

fn eevdf_why_not(fair: &FairView, winner: &FairView, rule: Rule, winner_name: &str) -> String {
    if fair.eligible == Some(false) {
        let ahead_ns = fair.lag_ns.unwrap_or(0).unsigned_abs();
        return format!("not eligible: {} ahead of the average", duration_inline(ahead_ns));
    }
    if matches!(rule, Rule::NextBuddy | Rule::LastBuddy) {
        return format!("eligible, but {winner_name} is the buddy");
    }
    let (Some(own_ns), Some(winning_ns)) = (fair.deadline_ns, winner.deadline_ns) else {
        return format!("behind {winner_name} in the queue");
    };
    let apart = duration_inline(own_ns.abs_diff(winning_ns));
    if own_ns > winning_ns {
        return format!("eligible, but its deadline is {apart} later");
    }
    match rule {
        Rule::Protected if own_ns == winning_ns => {
            format!("same deadline, and {winner_name} is protected")
        }
        Rule::Protected => {
            format!("its deadline is {apart} earlier, but {winner_name} is protected")
        }
        _ if own_ns == winning_ns => format!("same deadline, but {winner_name} comes first"),
        _ => format!("its deadline is {apart} earlier, but {winner_name} was chosen"),
    }
}

fn cfs_why_not(fair: &FairView, winner: &FairView, rule: Rule, winner_name: &str) -> String {
    let apart = duration_inline(fair.vruntime_ns.abs_diff(winner.vruntime_ns));
    if fair.vruntime_ns > winner.vruntime_ns {
        return format!("its virtual runtime is {apart} greater");
    }
    match rule {
        Rule::SecondVruntime => "least virtual runtime, but it has just yielded".to_owned(),
        Rule::NextBuddy | Rule::LastBuddy => {
            format!("its virtual runtime is {apart} less, but {winner_name} is the buddy")
        }
        _ if fair.vruntime_ns == winner.vruntime_ns => {
            format!("same virtual runtime, but {winner_name} comes first")
        }
        _ => format!("its virtual runtime is {apart} less, but {winner_name} was chosen"),
    }
}

/// A decision as text: the queue, a line for each candidate with the reason, and the rule.
pub fn render_explain(
    decision: &Decision,
    names: &dyn Fn(TaskId) -> String,
    at_ns: u64,
    style: Style,
) -> String {
    let report = ExplainReport::new(decision, names, at_ns);
    let decided_at = exact_ms(i64::try_from(report.decided_at_ns).unwrap_or(i64::MAX));
    let mut out = format!("CPU {}, decided at {decided_at}", report.cpu);
    if report.at_ns != report.decided_at_ns {
        let at = exact_ms(i64::try_from(report.at_ns).unwrap_or(i64::MAX));
        out.push_str(&format!(", in force at {at}"));
    }
    out.push('\n');
    if report.candidates.iter().any(|candidate| candidate.fair.is_some()) {
        if let Some(average_ns) = report.average_vruntime_ns {
            let average = exact_ms(average_ns);
            out.push_str(&format!("V, the weighted average of virtual runtimes: {average}\n"));
        } else if let Some(min_ns) = report.min_vruntime_ns {
            out.push_str(&format!("the minimum of virtual runtimes: {}\n", exact_ms(min_ns)));
        }
    }
    if !report.candidates.is_empty() {
        out.push('\n');
        out.push_str(&table(&report).render(style));
    }
    out.push('\n');
    for name in &report.left_paid {
        let name = shown_name(name);
        out.push_str(&format!("{name} was asleep, owes nothing any more, and left the queue.\n"));
    }
    out.push_str(&style.paint(Paint::Heading, &shown_sentence(&report.reason)));
    out.push('\n');
    for loser in report.candidates.iter().filter(|candidate| !candidate.picked) {
        out.push_str(&format!("  {}: {}.\n", shown_name(&loser.name), shown_sentence(&loser.why)));
    }
    out
}

/// As the kernel prints: whole ms, a point, six digits.
fn exact_ms(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    format!("{sign}{}.{:06} ms", ns / 1_000_000, ns % 1_000_000)
}

/// Sentences hold names: no control characters.
fn shown_sentence(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn table(report: &ExplainReport) -> Table {
    let fair = report.candidates.iter().any(|candidate| candidate.fair.is_some());
    let eevdf = report
        .candidates
        .iter()
        .any(|candidate| candidate.fair.is_some_and(|fair| fair.eligible.is_some()));
    let deadline = report.candidates.iter().any(|candidate| candidate.dl_deadline_ns.is_some());
    let relative = if eevdf { "relative to V" } else { "relative to minimum" };
    let mut columns =
        vec![Column::left("").paint(Paint::Good), Column::left("TASK"), Column::left("POLICY")];
    if deadline {
        columns.push(Column::right("DL DEADLINE"));
        columns.push(Column::right("BUDGET LEFT"));
    }
    if fair {
        columns.push(Column::right("WEIGHT").expendable(2));
        columns.push(Column::right("SLICE"));
        columns.push(Column::right("VRUNTIME").expendable(3));
    }
    if eevdf {
        columns.push(Column::right("LAG").expendable(1));
        columns.push(Column::left("ELIGIBLE"));
    }
    if fair {
        columns.push(Column::right("VRUNTIME").group(relative));
    }
    if eevdf {
        columns.push(Column::right("DEADLINE").group(relative));
    }
    columns.push(Column::left(""));
    let mut table = Table::new(columns);
    for candidate in &report.candidates {
        table.row(row(candidate, deadline, fair, eevdf));
    }
    table
}

fn row(candidate: &ExplainedCandidate, deadline: bool, fair: bool, eevdf: bool) -> Vec<Cell> {
    let name = shown_name(&candidate.name);
    let name = match candidate.picked {
        true => Cell::painted(name, Paint::Good),
        false => Cell::from(name),
    };
    let mut cells = vec![
        (if candidate.picked { "=>" } else { "" }).into(),
        name,
        policy(candidate.policy, candidate.nice, candidate.priority).into(),
    ];
    let view = candidate.fair;
    let dash = || Cell::painted("-", Paint::Faint);
    let cell = |text: Option<String>| text.map_or_else(dash, Cell::from);
    if deadline {
        let at = candidate.dl_deadline_ns.and_then(|ns| i64::try_from(ns).ok());
        cells.push(cell(at.map(exact_ms)));
        cells.push(cell(candidate.dl_runtime_left_ns.map(|ns| signed_duration(ns.into()))));
    }
    if fair {
        cells.push(cell(view.map(|view| view.weight.to_string())));
        let star = |custom: bool| if custom { "*" } else { "" };
        let slice =
            view.map(|view| format!("{}{}", star(view.custom_slice), duration(view.slice_ns)));
        cells.push(cell(slice));
        cells.push(cell(view.map(|view| exact_ms(view.vruntime_ns))));
    }
    if eevdf {
        let lag = view.and_then(|view| view.lag_ns);
        cells.push(cell(lag.map(|lag_ns| signed_duration(lag_ns.into()))));
        cells.push(match view.and_then(|view| view.eligible) {
            Some(true) => Cell::painted("yes", Paint::Good),
            Some(false) => Cell::painted("no", Paint::Bad),
            None => dash(),
        });
    }
    if fair {
        cells.push(cell(view.map(|view| signed_duration(view.relative_vruntime_ns.into()))));
    }
    if eevdf {
        let deadline = view.and_then(|view| view.relative_deadline_ns);
        cells.push(cell(deadline.map(|ns| signed_duration(ns.into()))));
    }
    let marks = [
        (candidate.current, "had the CPU"),
        (view.is_some_and(|view| view.protected), "protected"),
        (view.is_some_and(|view| view.delayed), "asleep"),
        (view.is_some_and(|view| view.custom_slice), "*own slice"),
    ];
    let marks: Vec<&str> =
        marks.iter().filter(|(holds, _)| *holds).map(|(_, text)| *text).collect();
    cells.push(Cell::painted(marks.join(", "), Paint::Faint));
    cells
}

#[cfg(test)]
mod tests;
