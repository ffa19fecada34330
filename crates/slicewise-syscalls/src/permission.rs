//! Who may do what to whom (classes.md A.9).

use crate::refusal::{Refusal, Rule};
use crate::task::{Task, policy};

/// What is asked for, as far as permissions look at it.
pub(crate) struct Asked {
    pub(crate) policy: u32,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) reset_on_fork: bool,
    /// Nice values count under this policy.
    pub(crate) fair: bool,
}

/// `RLIMIT_NICE` of the target allows this nice value.
fn limit_allows(target: &Task, nice: i32) -> bool {
    i64::from(20 - nice) <= i64::try_from(target.limits.nice).unwrap_or(i64::MAX)
}

fn nice_refused(rule: Rule, target: &Task, nice: i32) -> Refusal {
    let (from, limit) = (target.nice.get(), target.limits.nice);
    let detail = format!(
        "nice {from} to {nice} needs RLIMIT_NICE of {}, and that of the target is {limit}",
        20 - nice
    );
    Refusal::new(rule, detail)
        .fact("nice", nice.into())
        .fact("nice_before", from.into())
        .fact("rlimit_nice", limit.into())
}

/// The first rule a caller without `CAP_SYS_NICE` would break.
fn needs_capability(caller: &Task, target: &Task, asked: &Asked) -> Option<Refusal> {
    let (nice_now, limit) = (i32::from(target.nice.get()), target.limits.rtprio);
    if asked.fair && asked.nice < nice_now && !limit_allows(target, asked.nice) {
        return Some(nice_refused(Rule::NiceNotAllowed, target, asked.nice));
    }
    if policy::is_rt(asked.policy) {
        let facts = |refusal: Refusal| {
            refusal.fact("priority", asked.priority.into()).fact("rlimit_rtprio", limit.into())
        };
        if asked.policy != target.policy && limit == 0 {
            let detail = format!(
                "{} to {}, and RLIMIT_RTPRIO of the target is 0",
                policy::name(target.policy),
                policy::name(asked.policy)
            );
            return Some(facts(Refusal::new(Rule::RtPolicyNotAllowed, detail)));
        }
        if asked.priority > target.rt_priority && u64::from(asked.priority) > limit {
            let detail = format!(
                "priority {} to {}, and RLIMIT_RTPRIO of the target is {limit}",
                target.rt_priority, asked.priority
            );
            return Some(facts(Refusal::new(Rule::RtPriorityNotAllowed, detail)));
        }
    }
    if asked.policy == policy::DEADLINE {
        let detail = format!("user {} asks without CAP_SYS_NICE", caller.credentials.euid);
        return Some(Refusal::new(Rule::DeadlineNotAllowed, detail));
    }
    if target.policy == policy::IDLE
        && asked.policy != policy::IDLE
        && !limit_allows(target, nice_now)
    {
        let detail = format!(
            "nice {nice_now} needs RLIMIT_NICE of {}, and that of the target is {}",
            20 - nice_now,
            target.limits.nice
        );
        return Some(Refusal::new(Rule::IdleStays, detail));
    }
    if let Some(refusal) = not_owner(caller, target) {
        return Some(refusal);
    }
    (target.reset_on_fork && !asked.reset_on_fork)
        .then(|| Refusal::new(Rule::ResetOnForkStays, "the target has it, the request has not"))
}

fn not_owner(caller: &Task, target: &Task) -> Option<Refusal> {
    let (of, to) = (caller.credentials, target.credentials);
    (of.euid != to.uid && of.euid != to.euid).then(|| {
        let detail = format!(
            "effective user {} of the caller, users {} and {} of the target",
            of.euid, to.uid, to.euid
        );
        Refusal::new(Rule::NotOwner, detail)
    })
}

/// Whether a policy may be set, row 12 of the table.
pub(crate) fn may_schedule(caller: &Task, target: &Task, asked: &Asked) -> Result<(), Refusal> {
    match needs_capability(caller, target, asked) {
        Some(refusal) if !caller.credentials.may_nice() => Err(refusal),
        _ => Ok(()),
    }
}

/// What the security module every kernel has asks, row 14: nobody touches the more capable.
pub(crate) fn security(caller: &Task, target: &Task) -> Result<(), Refusal> {
    let more = target.credentials.permitted & !caller.credentials.permitted;
    if more != 0 && !caller.credentials.may_nice() {
        let detail = format!("capabilities {more:#x} of the target are not the caller's");
        return Err(Refusal::new(Rule::MoreCapable, detail));
    }
    Ok(())
}

/// Whether the caller's user may act on the target, or has `CAP_SYS_NICE`.
pub(crate) fn may_touch(caller: &Task, target: &Task) -> Result<(), Refusal> {
    match not_owner(caller, target) {
        Some(refusal) if !caller.credentials.may_nice() => Err(refusal),
        _ => Ok(()),
    }
}

/// Whether a nice value may be set, by setpriority(2) or nice(2).
pub(crate) fn may_renice(
    caller: &Task,
    target: &Task,
    nice: i32,
    rule: Rule,
) -> Result<(), Refusal> {
    let lower = nice < i32::from(target.nice.get());
    if lower && !limit_allows(target, nice) && !caller.credentials.may_nice() {
        return Err(nice_refused(rule, target, nice));
    }
    Ok(())
}
