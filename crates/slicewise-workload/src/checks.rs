//! Programs that could never work, found without running them.

use std::collections::BTreeMap;
use std::ops::Range;

use slicewise_machine::{Dist, Op};

use crate::diagnostic::{Severity, Sink, shorten};
use crate::draft::{Draft, Roster, Shared};
use crate::units::show_ns;

/// A loop that does more than this many steps in no time would look like a hang.
const INSTANT_STEPS_MAX: u64 = 1_000_000;

/// Reports what can never finish. `waits` is how bad it is to wait for something that never
/// happens: rt-app simply waits until the end of the run.
pub(crate) fn check(
    drafts: &[Draft],
    roster: &Roster,
    shared: &Shared,
    waits: Severity,
    sink: &mut Sink,
) {
    for draft in drafts {
        check_locks(draft, shared, sink);
        check_instant_loops(draft, sink);
    }
    let mut report = |span: Range<usize>, message: String, help: String| match waits {
        Severity::Error => sink.error_help(span, message, help),
        Severity::Warning => sink.warn(span, message, help),
    };
    check_conditions(drafts, shared, &mut report);
    check_suspends(drafts, roster, shared, &mut report);
    check_unused(drafts, roster, shared, sink);
}

fn ops(draft: &Draft) -> impl Iterator<Item = (&Op, Range<usize>)> {
    draft.code.ops.iter().zip(draft.code.spans.iter().map(|span| span.start..span.end))
}

fn check_conditions(
    drafts: &[Draft],
    shared: &Shared,
    report: &mut impl FnMut(Range<usize>, String, String),
) {
    let mut signalled = BTreeMap::new();
    for (op, _) in drafts.iter().flat_map(ops) {
        if let Op::Signal(condition) | Op::Broadcast(condition) = op {
            signalled.insert(*condition, ());
        }
    }
    let mut reported = BTreeMap::new();
    for (op, span) in drafts.iter().flat_map(ops) {
        if let Op::Wait { condition, .. } = op
            && !signalled.contains_key(condition)
            && reported.insert(*condition, ()).is_none()
        {
            let name = shorten(shared.conditions.name(*condition));
            let help = format!("let another task signal `{name}`, or remove the wait");
            report(span, format!("nobody ever signals `{name}`: this waits for ever"), help);
        }
    }
}

fn check_suspends(
    drafts: &[Draft],
    roster: &Roster,
    shared: &Shared,
    report: &mut impl FnMut(Range<usize>, String, String),
) {
    // By group: which other task, if any, resumes it.
    let mut resumed = vec![false; drafts.len()];
    for (resumer, draft) in drafts.iter().enumerate() {
        for (op, _) in ops(draft) {
            if let Op::Resume(task) = op {
                let at = roster.groups.partition_point(|group| group.first + group.count <= *task);
                let alone = at == resumer && draft.count == 1 && !draft.template;
                if at < resumed.len() && !alone {
                    resumed[at] = true;
                }
            }
        }
    }
    for task in shared.interrupts.iter().flat_map(|(source, _)| &source.wakes) {
        let at = roster.groups.partition_point(|group| group.first + group.count <= *task);
        if let Some(resumed) = resumed.get_mut(at) {
            *resumed = true;
        }
    }
    for (draft, resumed) in drafts.iter().zip(resumed) {
        let suspend = ops(draft).find(|(op, _)| matches!(op, Op::Suspend));
        if let (Some((_, span)), false) = (suspend, resumed) {
            let name = shorten(&draft.name);
            let help = format!("let another task do `resume = \"{name}\"`, or remove the suspend");
            report(span, format!("no other task ever resumes `{name}`: this waits for ever"), help);
        }
    }
}

fn check_unused(drafts: &[Draft], roster: &Roster, shared: &Shared, sink: &mut Sink) {
    let mut forked = BTreeMap::new();
    let mut received = vec![false; shared.queues.len()];
    for (op, _) in drafts.iter().flat_map(ops) {
        match op {
            Op::Fork(task) => {
                forked.insert(*task, ());
            }
            Op::Receive(queue) => received[*queue as usize] = true,
            _ => {}
        }
    }
    for (draft, group) in drafts.iter().zip(&roster.groups) {
        if group.template && !forked.contains_key(&group.first) {
            let message = format!("nobody forks the template `{}`", shorten(&group.name));
            sink.warn(draft.span.clone(), message, "let a task do `fork = \"…\"`, or remove it");
        }
    }
    for (queue, received) in shared.queues.iter().zip(received) {
        if !received {
            let message = format!("no task serves the queue `{}`", shorten(&queue.name));
            sink.warn(0..0, message, "let a task do `serve = \"…\"`");
        }
    }
}

/// Follows the locks a task holds through its program.
fn check_locks(draft: &Draft, shared: &Shared, sink: &mut Sink) {
    let mut held = BTreeMap::new();
    if let Err((at, message, help)) = walk_locks(draft, 0..draft.code.ops.len(), &mut held, shared)
    {
        let span = draft.code.spans[at];
        sink.error_help(span.start..span.end, message, help);
        return;
    }
    if let Some((mutex, at)) = held.into_iter().next() {
        let span = draft.code.spans[at];
        let name = shorten(shared.mutexes.name(mutex));
        let message = format!("`{}` ends with mutex `{name}` locked", shorten(&draft.name));
        sink.warn(span.start..span.end, message, "whoever waits for it waits for ever: unlock it");
    }
}

type LockProblem = (usize, String, String);

fn walk_locks(
    draft: &Draft,
    range: Range<usize>,
    held: &mut BTreeMap<u32, usize>,
    shared: &Shared,
) -> Result<(), LockProblem> {
    let mut at = range.start;
    while at < range.end {
        if let Some((message, help)) = lock_step(&draft.code.ops[at], at, held, shared) {
            return Err((at, message, help));
        }
        match &draft.code.ops[at] {
            Op::LoopBegin { count, end } => {
                let end = (*end as usize).max(at);
                let before: Vec<u32> = held.keys().copied().collect();
                if *count != Some(0) {
                    walk_locks(draft, at + 1..end, held, shared)?;
                }
                // A round that leaves other locks held than it found trips over them in the next.
                if !matches!(count, Some(0 | 1)) && !held.keys().eq(&before) {
                    walk_locks(draft, at + 1..end, held, shared)?;
                }
                if count.is_none() {
                    held.clear();
                    return Ok(());
                }
                at = end;
            }
            Op::Exit => return Ok(()),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// What one operation does to the locks, or why it cannot.
fn lock_step(
    op: &Op,
    at: usize,
    held: &mut BTreeMap<u32, usize>,
    shared: &Shared,
) -> Option<(String, String)> {
    let name = |mutex: &u32| shorten(shared.mutexes.name(*mutex));
    let lock_first = |mutex: &u32| format!("`lock` `{}` first", name(mutex));
    match op {
        Op::Lock(mutex) => held.insert(*mutex, at).map(|_| {
            let message = format!("mutex `{}` is already locked by this task", name(mutex));
            let help = "mutexes are not recursive: this waits for itself; unlock it first";
            (message, help.to_owned())
        }),
        Op::Unlock(mutex) if held.remove(mutex).is_none() => {
            let message = format!("mutex `{}` is not locked by this task here", name(mutex));
            Some((message, lock_first(mutex)))
        }
        Op::Wait { mutex, .. } if !held.contains_key(mutex) => {
            let message = format!("mutex `{}` must be locked to wait", name(mutex));
            Some((message, lock_first(mutex)))
        }
        _ => None,
    }
}

/// Whether a step can make simulated time pass.
fn takes_time(op: &Op) -> bool {
    match op {
        Op::Run { work: dist, .. }
        | Op::RunUntil { elapsed: dist }
        | Op::Sleep { duration: dist } => !matches!(dist, Dist::Constant(0) | Dist::Uniform(_, 0)),
        Op::Timer { period_ns, .. } => *period_ns > 0,
        Op::RunForever
        | Op::Wait { .. }
        | Op::Barrier(_)
        | Op::Suspend
        | Op::Receive(_)
        | Op::Exit => true,
        _ => false,
    }
}

fn check_instant_loops(draft: &Draft, sink: &mut Sink) {
    // Steps that pass in no time, by loop: innermost loops end first, so their sums are known.
    let mut open: Vec<(usize, Option<u64>, u64, bool)> = Vec::new();
    for (at, op) in draft.code.ops.iter().enumerate() {
        match op {
            Op::LoopBegin { count, .. } => open.push((at, *count, 0, false)),
            Op::LoopEnd { .. } => {
                let Some((begin, count, steps, timed)) = open.pop() else { continue };
                let steps = steps.saturating_add(1).saturating_mul(count.unwrap_or(u64::MAX));
                if !timed && steps > INSTANT_STEPS_MAX {
                    let span = draft.code.spans[begin];
                    let message = format!(
                        "`{}` loops {} without using any time",
                        shorten(&draft.name),
                        count.map_or("for ever".to_owned(), |count| format!("{count} times"))
                    );
                    let help = format!(
                        "nothing in the loop runs, sleeps or waits: add `run` or `sleep`, say {}",
                        show_ns(1_000_000)
                    );
                    sink.error_help(span.start..span.end, message, help);
                    return;
                }
                if let Some((_, _, outer, outer_timed)) = open.last_mut() {
                    *outer = outer.saturating_add(steps);
                    *outer_timed |= timed && count != Some(0);
                }
            }
            _ => {
                if let Some((_, _, steps, timed)) = open.last_mut() {
                    *steps = steps.saturating_add(1);
                    *timed |= takes_time(op);
                }
            }
        }
    }
}
