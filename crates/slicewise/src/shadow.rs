//! `slicewise shadow`: a recorded kernel trace against the core.

use slicewise_ftrace::Reader;
use slicewise_sched::{CPUS_MAX, Profile};
use slicewise_shadow::{RulePolicy, ShadowConfig, ShadowError, TaskRule, render, replay, survey};
use slicewise_workload::parse_duration_ns;

use crate::args::{OutputFormat, ShadowArgs};
use crate::failure::Failure;
use crate::output::{print, print_json};

/// `slicewise shadow`.
pub(crate) fn shadow(args: &ShadowArgs) -> Result<(), Failure> {
    let config = config(args)?;
    let shown = args.trace.display();
    let of_trace = |error: ShadowError| {
        let message = format!("{shown}: {error}");
        match error.help() {
            Some(help) if matches!(error, ShadowError::NoHz) => {
                Failure::with_help(message, format!("give --hz: {help}"))
            }
            Some(help) => Failure::with_help(message, help),
            None => Failure::plain(message),
        }
    };
    let open = || Reader::open(&args.trace).map_err(|error| of_trace(error.into()));
    let survey = survey(&mut open()?).map_err(of_trace)?;
    let cpus = config.cpus.unwrap_or(0).max(survey.cpus);
    if cpus > CPUS_MAX {
        let message = format!("{shown}: {cpus} CPUs; at most {CPUS_MAX} are known");
        return Err(Failure::plain(message));
    }
    if let Some(cpu) = config.cpu.filter(|cpu| *cpu >= cpus) {
        let message = format!("--cpu {cpu}: the trace has CPUs 0 to {}", cpus - 1);
        return Err(Failure::plain(message));
    }
    let report = replay(&mut open()?, &survey, &config).map_err(of_trace)?;
    match args.format {
        OutputFormat::Json => print_json(&report),
        OutputFormat::Table => print(&render(&report)),
    }
}

fn config(args: &ShadowArgs) -> Result<ShadowConfig, Failure> {
    let Some(profile) = Profile::named(&args.kernel) else {
        let known: Vec<_> = Profile::ALL.iter().map(|profile| profile.name).collect();
        return Err(Failure::with_help(
            format!("--kernel {}: no profile for this kernel", args.kernel),
            format!("take one of {}", known.join(", ")),
        ));
    };
    let mut config = ShadowConfig::new(profile);
    for feature in &args.features {
        config
            .features
            .set(feature)
            .map_err(|message| Failure::plain(format!("--feature {feature}: {message}")))?;
    }
    let duration = |option: &str, text: &str| {
        parse_duration_ns(text)
            .map_err(|message| Failure::plain(format!("{option} {text}: {message}")))
    };
    config.warm_up_ns = duration("--warm-up", &args.warm_up)?;
    if let Some(slice) = &args.base_slice {
        config.base_slice_ns = Some(duration("--base-slice", slice)?);
    }
    (config.cpu, config.cpus, config.hz) = (args.cpu, args.cpus, args.hz);
    config.divergences = args.divergences;
    for rule in &args.tasks {
        let rule = task_rule(rule)
            .map_err(|message| Failure::plain(format!("--task {rule}: {message}")))?;
        config.tasks.push(rule);
    }
    Ok(config)
}

/// `name=key=value,key=value`. The name may have `=` in it.
fn task_rule(text: &str) -> Result<TaskRule, String> {
    let key_at = ["=policy=", "=slice="].iter().filter_map(|key| text.find(key)).min();
    let Some(at) = key_at.filter(|at| *at > 0) else {
        return Err("NAME=policy=VALUE or NAME=slice=TIME is wanted".to_owned());
    };
    let mut rule = TaskRule { name: text[..at].to_owned(), policy: None, slice_ns: None };
    for part in text[at + 1..].split(',') {
        match part.split_once('=') {
            Some(("policy", "batch")) => rule.policy = Some(RulePolicy::Batch),
            Some(("policy", "idle")) => rule.policy = Some(RulePolicy::Idle),
            Some(("policy", "rr")) => rule.policy = Some(RulePolicy::Rr),
            Some(("policy", other)) => {
                return Err(format!(
                    "policy `{other}`; allowed: batch, idle, rr (all others follow from the \
                     recorded priority)"
                ));
            }
            Some(("slice", slice)) => {
                rule.slice_ns =
                    Some(parse_duration_ns(slice).map_err(|message| format!("slice: {message}"))?);
            }
            _ => return Err(format!("`{part}`; allowed: policy=VALUE and slice=TIME")),
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::task_rule;
    use slicewise_shadow::RulePolicy;

    #[test]
    fn rules_of_tasks_are_read() {
        let rule = task_rule("a=b=policy=rr,slice=1ms").unwrap();
        assert_eq!((rule.name.as_str(), rule.policy), ("a=b", Some(RulePolicy::Rr)));
        assert_eq!(rule.slice_ns, Some(1_000_000));
        assert!(task_rule("a").is_err());
        assert!(task_rule("a=policy=fifo").unwrap_err().contains("allowed: batch, idle, rr"));
        assert!(task_rule("a=slice=1ms,x").unwrap_err().contains("allowed"));
    }
}
