//! `slicewise why`: what tasks of a recording waited for, and what to try.

use std::collections::BTreeMap;

use rayon::prelude::*;
use slicewise_analysis::{
    Begun, ByCause, Cause, ExplainedWait, TaskGroups, TaskPattern, ThreadId, Threads,
};
use slicewise_replay::{Replayed, TaskDelays};
use slicewise_report::{
    WhyCause, WhyPart, WhyReport, WhyTask, WhyTrial, WhyWait, WhyWho, render_why,
};
use slicewise_sched::{CpuSet, FairRules, Profile};

use crate::args::{OutputFormat, WhyArgs};
use crate::failure::{Failure, printable};
use crate::jobs::with_jobs;
use crate::output::{print, print_json, stdout_style};
use crate::replay::{Conditions, Recorded};

/// Causes of less than this part of the waiting are worth no trial.
const TRIED_SHARE: f64 = 0.1;
/// Who had the CPU: so many are kept for each cause.
const WHO_KEPT: usize = 5;
/// Tasks are named one by one up to here.
const NAMED_MAX: usize = 8;
/// Waiting is to be shorter by this part for a trial to help.
const HELPS: f64 = 0.9;
/// The kernel's numbers of fair priorities.
const PRIO_NICE_0: i32 = 120;
const PRIO_FAIR_FIRST: i32 = 100;

/// Whose waits.
enum Asked {
    Tasks(Vec<TaskPattern>),
    Group(String),
}

impl Asked {
    fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("group/") {
            return Ok(Self::Group(path.trim_matches('/').to_owned()));
        }
        // A number can be one of a task or of a process.
        let patterns = match text.parse::<i32>() {
            Ok(number) if number > 0 => {
                vec![TaskPattern::Task(number), TaskPattern::Process(number)]
            }
            _ => {
                let one = TaskPattern::parse(text)
                    .map_err(|what| Failure::plain(format!("{text}: {what}")))?;
                vec![one]
            }
        };
        Ok(Self::Tasks(patterns))
    }

    fn is(&self, groups: &mut TaskGroups, threads: &Threads, task: ThreadId) -> bool {
        let thread = &threads[task];
        match self {
            Self::Tasks(patterns) => {
                let name = thread.comm.map(|comm| comm.to_text()).unwrap_or_default();
                patterns.iter().any(|pattern| pattern.is(thread.tid, thread.tgid, &name))
            }
            Self::Group(asked) => groups.path(threads, task).is_some_and(|path| {
                path.strip_prefix(asked.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }),
        }
    }
}

/// What is kept of the waits.
#[derive(Default)]
struct Kept {
    lengths_ns: Vec<u64>,
    by_cause: ByCause,
    waits_by_cause: BTreeMap<Cause, u64>,
    who: BTreeMap<(Cause, ThreadId), u64>,
    worst: Vec<ExplainedWait>,
    inferred: Vec<(u64, u64)>,
    is_abridged: bool,
}

impl Kept {
    fn take(&mut self, wait: ExplainedWait, worst: usize) {
        self.lengths_ns.push(wait.ns());
        self.by_cause += wait.by_cause;
        for cause in Cause::ALL {
            if wait.by_cause.of(cause) > 0 {
                *self.waits_by_cause.entry(cause).or_default() += 1;
            }
        }
        for part in &wait.parts {
            if let Some(who) = part.who {
                let elsewhere = part.beside_idle_ns;
                *self.who.entry((part.cause, who)).or_default() += part.ns - elsewhere;
                *self.who.entry((Cause::IdleElsewhere, who)).or_default() += elsewhere;
            }
        }
        self.is_abridged |= wait.is_abridged;
        if wait.is_quota_inferred {
            self.inferred.push((wait.from_ns, wait.to_ns));
        }
        if worst == 0 {
            return;
        }
        if self.worst.len() == worst {
            let shortest = (0..worst).min_by_key(|at| self.worst[*at].ns());
            if let Some(at) = shortest.filter(|at| self.worst[*at].ns() < wait.ns()) {
                self.worst[at] = wait;
            }
        } else {
            self.worst.push(wait);
        }
    }
}

fn words(cause: Cause) -> (&'static str, char) {
    match cause {
        Cause::Quota => ("its own quota", 'Q'),
        Cause::SameGroup => ("others of its group", 's'),
        Cause::OtherGroup => ("other groups", 'o'),
        Cause::RealTime => ("real-time tasks", 'R'),
        Cause::Deadline => ("deadline tasks", 'D'),
        Cause::KernelThread => ("kernel threads", 'k'),
        Cause::Interrupt => ("interrupts", 'i'),
        Cause::IdleExit => ("its idle CPU to come", '.'),
        Cause::IdleElsewhere => ("its CPU, while another was idle", 'e'),
        Cause::Unknown => ("nobody known", '?'),
    }
}

/// `slicewise why`.
pub(crate) fn why(args: &WhyArgs) -> Result<(), Failure> {
    let asked = Asked::parse(&args.task)?;
    let mut kept = Kept::default();
    let recorded = Recorded::read(&args.recorded, |groups, threads, wait| {
        if asked.is(groups, threads, wait.task) {
            kept.take(wait, args.worst);
        }
    })?;
    let mut groups = recorded.groups.clone();
    let threads = recorded.threads.all().len();
    let wanted: Vec<usize> = (0..threads)
        .filter(|at| asked.is(&mut groups, &recorded.threads, ThreadId::at(*at)))
        .filter_map(|at| recorded.script_of(ThreadId::at(at)))
        .collect();
    if wanted.is_empty() {
        return Err(nobody(args, &recorded));
    }
    kept.worst.sort_by_key(|wait| (std::cmp::Reverse(wait.ns()), wait.from_ns));
    kept.lengths_ns.sort_unstable();
    let mut report = report(args, &recorded, &kept, &wanted);
    let trials = trials(&recorded, &kept, &wanted);
    if !args.no_simulation && !trials.is_empty() {
        simulate(args, &recorded, &wanted, &trials, &mut report)?;
    }
    match args.format {
        OutputFormat::Json => print_json(&report),
        OutputFormat::Table => {
            report.file = printable(&report.file);
            print(&render_why(&report, stdout_style()))
        }
    }
}

fn nobody(args: &WhyArgs, recorded: &Recorded) -> Failure {
    let message = format!("{}: no task of {} is meant", args.task, recorded.name);
    let mut waited: BTreeMap<&str, u64> = BTreeMap::new();
    for (script, delays) in recorded.rebuilt.scripts.iter().zip(&recorded.delays) {
        *waited.entry(&script.comm).or_default() += delays.waited_ns();
    }
    let mut names: Vec<(&str, u64)> = waited.into_iter().collect();
    names.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    let mut names: Vec<String> =
        names.into_iter().take(6).map(|(name, _)| printable(name)).collect();
    names.extend(recorded.groups.paths().iter().take(6).map(|path| format!("group/{path}")));
    Failure::with_help(message, format!("those that waited most are {}", names.join(", ")))
}

fn permille(sorted: &[u64], permille: usize) -> Option<u64> {
    let rank = (sorted.len() * permille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied()
}

fn report(args: &WhyArgs, recorded: &Recorded, kept: &Kept, wanted: &[usize]) -> WhyReport {
    let threads = &recorded.threads;
    let total_ns = kept.by_cause.total_ns();
    let causes = Cause::ALL.into_iter().filter(|cause| kept.by_cause.of(*cause) > 0);
    let mut causes: Vec<WhyCause> = causes
        .map(|cause| {
            let ns = kept.by_cause.of(cause);
            let mut names: BTreeMap<String, u64> = BTreeMap::new();
            for ((_, who), ns) in
                kept.who.range((cause, ThreadId::at(0))..).take_while(|((of, _), _)| *of == cause)
            {
                *names.entry(who_name(recorded, *who)).or_default() += ns;
            }
            let mut who: Vec<WhyWho> = names
                .into_iter()
                .filter(|(_, ns)| *ns > 0)
                .map(|(name, ns)| WhyWho { name, ns })
                .collect();
            who.sort_by_key(|who| std::cmp::Reverse(who.ns));
            who.truncate(WHO_KEPT);
            WhyCause {
                cause: cause.name().to_owned(),
                text: words(cause).0.to_owned(),
                ns,
                share: ns as f64 / total_ns.max(1) as f64,
                waits: kept.waits_by_cause.get(&cause).copied().unwrap_or(0),
                who,
            }
        })
        .collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.ns));
    let worst = kept.worst.iter().map(|wait| WhyWait {
        task: threads[wait.task].name(),
        from_ns: wait.from_ns,
        ns: wait.ns(),
        begun: match wait.begun {
            Begun::Wakeup => "wakeup",
            Begun::New => "fork",
            Begun::Preempted => "preempted",
        }
        .to_owned(),
        cpu: wait.cpu,
        parts: wait
            .parts
            .iter()
            .map(|part| WhyPart {
                cause: part.cause.name().to_owned(),
                letter: words(part.cause).1,
                who: part.who.map(|who| format!("{}-{}", threads[who].name(), threads[who].tid)),
                cpu: part.cpu,
                ns: part.ns,
                beside_idle_ns: part.beside_idle_ns,
            })
            .collect(),
    });
    let tasks = wanted.iter().map(|at| {
        let script = &recorded.rebuilt.scripts[*at];
        WhyTask {
            name: script.comm.clone(),
            tid: script.tid,
            pid: (script.tgid > 0).then_some(script.tgid),
        }
    });
    let mut report = WhyReport {
        file: recorded.name.clone(),
        asked: args.task.clone(),
        tasks: tasks.collect(),
        length_ns: recorded.rebuilt.length_ns(),
        cpu_ns: wanted.iter().map(|at| recorded.delays[*at].cpu_ns).sum(),
        waits: kept.lengths_ns.len() as u64,
        waited_ns: total_ns,
        p50_ns: permille(&kept.lengths_ns, 500),
        p99_ns: permille(&kept.lengths_ns, 990),
        max_ns: kept.lengths_ns.last().copied(),
        worst: worst.collect(),
        causes,
        ..WhyReport::default()
    };
    report.verdict = verdict(&report, kept);
    report.notes = notes(recorded, kept, wanted);
    report
}

/// The name of who had the CPU, with the group if there is one.
fn who_name(recorded: &Recorded, who: ThreadId) -> String {
    let name = recorded.threads[who].name();
    let script = recorded.script_of(who).map(|at| &recorded.rebuilt.scripts[at]);
    match script.and_then(|script| script.group.as_deref()) {
        Some(group) => format!("{name} ({group})"),
        None => name,
    }
}

/// What comes out, in words.
fn verdict(report: &WhyReport, kept: &Kept) -> String {
    let Some(first) = report.causes.first() else {
        return "It never waited for a CPU.".to_owned();
    };
    let runnable = report.cpu_ns + report.waited_ns;
    let part = report.waited_ns as f64 / runnable.max(1) as f64;
    let mut text = format!(
        "Of the time in which {} could have run, {:.1} % was spent waiting for a CPU.",
        if report.tasks.len() == 1 { "it" } else { "they" },
        part * 100.0
    );
    let whose = |cause: &WhyCause| match cause.who.first() {
        Some(who) if cause.ns > 0 => {
            let part = who.ns as f64 * 100.0 / cause.ns as f64;
            format!(", most of all {} ({part:.0} % of that)", printable(&who.name))
        }
        _ => String::new(),
    };
    let sentence = |cause: &WhyCause| match cause.cause.as_str() {
        "own_quota" => " went by because the group had used up its quota".to_owned(),
        "same_group" => format!(" went to others of the same group{}", whose(cause)),
        "other_group" => format!(" went to other groups{}", whose(cause)),
        "real_time" => format!(" went to real-time tasks{}", whose(cause)),
        "deadline" => format!(" went to deadline tasks{}", whose(cause)),
        "kernel_thread" => format!(" went to kernel threads{}", whose(cause)),
        "interrupt" => " went to interrupts".to_owned(),
        "idle_elsewhere" => {
            format!(" went by on a busy CPU while another was idle{}", whose(cause))
        }
        "idle_exit" => {
            " is what idle CPUs took to begin: deep idle states, or a hypervisor that had them"
                .to_owned()
        }
        _ => " cannot be told from the trace".to_owned(),
    };
    for (at, cause) in report.causes.iter().take(2).enumerate() {
        if at == 0 || cause.share >= 0.2 {
            text.push_str(&format!(
                " {:.0} % of the waiting{}.",
                cause.share * 100.0,
                sentence(cause)
            ));
        }
    }
    if first.cause == "own_quota" && !kept.inferred.is_empty() {
        text.push_str(
            " The trace does not have the quota: that is inferred from tasks that could run and did not, on CPUs \
             with nothing else to do.",
        );
        if let Some(period_ns) = grid(&kept.inferred) {
            text.push_str(&format!(
                " These waits end on a grid of {} ms, as quotas do.",
                period_ns / 1_000_000
            ));
        }
    }
    text
}

/// The period on whose grid the ends of waits are, if there is one.
fn grid(waits: &[(u64, u64)]) -> Option<u64> {
    const PERIODS_MS: [u64; 9] = [1000, 500, 250, 200, 100, 50, 25, 20, 10];
    let mut ends: Vec<u64> = waits.iter().map(|(_, to)| *to).collect();
    ends.sort_unstable();
    // Tasks of a group go on together.
    ends.dedup_by(|later, earlier| later.abs_diff(*earlier) < 2_000_000);
    let gaps: Vec<u64> = ends.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if gaps.len() < 3 {
        return None;
    }
    PERIODS_MS.into_iter().map(|ms| ms * 1_000_000).find(|period| {
        let on = |gap: &&u64| {
            let rest = **gap % period;
            **gap > period / 2 && rest.min(period - rest) < 1_500_000
        };
        gaps.iter().filter(on).count() * 10 >= gaps.len() * 8
    })
}

fn notes(recorded: &Recorded, kept: &Kept, wanted: &[usize]) -> Vec<String> {
    let mut notes = Vec::new();
    let scripts = &recorded.rebuilt.scripts;
    if recorded.rebuilt.is_cut {
        notes.push(format!(
            "only the beginning of the trace was looked at, {} steps: choose a stretch with --time",
            slicewise_replay::STEPS_MAX
        ));
    }
    let has_groups = scripts.iter().any(|script| script.group.is_some());
    let split = kept.by_cause.of(Cause::SameGroup) + kept.by_cause.of(Cause::OtherGroup);
    if !has_groups && split > 0 {
        notes.push(
            "the trace does not say who is in which cgroup: groups are processes here; --group says it"
                .to_owned(),
        );
    }
    if kept.by_cause.of(Cause::IdleElsewhere) > 0 {
        let bound = wanted.iter().any(|at| scripts[*at].affinity != CpuSet::All);
        notes.push(match bound {
            true => {
                "it seems to be bound to its CPU: it never ran elsewhere, though others were idle"
                    .to_owned()
            }
            false => "whether it may run on the CPUs that were idle is not in the trace".to_owned(),
        });
    }
    if kept.is_abridged {
        notes.push("of waits with very many parts, short neighbours are put together".to_owned());
    }
    notes
}

/// Something to try.
struct Trial {
    what: String,
    how: String,
    kernel: Option<String>,
    cpus: Option<String>,
    sets: Vec<String>,
}

impl Trial {
    fn setting(what: impl Into<String>, how: impl Into<String>, sets: Vec<String>) -> Self {
        Self { what: what.into(), how: how.into(), kernel: None, cpus: None, sets }
    }

    fn conditions(&self) -> Conditions<'_> {
        Conditions {
            kernel: self.kernel.as_deref(),
            cpus: self.cpus.as_deref(),
            topology: None,
            sets: self.sets.iter().map(String::as_str).collect(),
        }
    }

    fn options(&self) -> String {
        let kernel = self.kernel.iter().map(|it| format!("--kernel {it}"));
        let cpus = self.cpus.iter().map(|it| format!("--cpus {it}"));
        let sets = self.sets.iter().map(|it| format!("--set '{it}'"));
        kernel.chain(cpus).chain(sets).collect::<Vec<_>>().join(" ")
    }
}

/// The names under which tasks can be set: those of descriptions that are meant as a whole, else labels.
fn settable(recorded: &Recorded, wanted: &[usize]) -> Vec<String> {
    let scripts = &recorded.rebuilt.scripts;
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (at, script) in scripts.iter().enumerate() {
        let count = counts.entry(&script.comm).or_default();
        count.0 += 1;
        count.1 += usize::from(wanted.contains(&at));
    }
    let whole = |comm: &str| counts.get(comm).is_some_and(|(all, meant)| all == meant);
    let mut names: Vec<String> = wanted
        .iter()
        .map(|at| {
            let script = &scripts[*at];
            if whole(&script.comm) { script.comm.clone() } else { script.label() }
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn trials(recorded: &Recorded, kept: &Kept, wanted: &[usize]) -> Vec<Trial> {
    let total = kept.by_cause.total_ns().max(1) as f64;
    let share = |cause: Cause| kept.by_cause.of(cause) as f64 / total;
    let scripts = &recorded.rebuilt.scripts;
    let names = settable(recorded, wanted);
    let named = names.len() <= NAMED_MAX;
    let tids: Vec<String> =
        wanted.iter().take(NAMED_MAX).map(|at| scripts[*at].tid.to_string()).collect();
    let tids = tids.join(" ");
    let set = |key: &str, value: &str| -> Vec<String> {
        names.iter().map(|name| format!("task/{name}.{key}={value}")).collect()
    };
    let settings = &recorded.loaded.settings;
    let mut trials = Vec::new();
    if share(Cause::Quota) >= TRIED_SHARE {
        for path in limited_groups(recorded, wanted) {
            trials.push(Trial::setting(
                format!("no limit for {path}"),
                format!("echo max > /sys/fs/cgroup/{path}/cpu.max"),
                vec![format!("group/{path}.cpu.max=max")],
            ));
        }
    }
    let crowded = share(Cause::SameGroup)
        + share(Cause::OtherGroup)
        + share(Cause::RealTime)
        + share(Cause::Deadline)
        + share(Cause::KernelThread);
    let cpus = settings.cpus.unwrap_or(1);
    let is_fair = wanted.iter().all(|at| scripts[*at].prio >= PRIO_FAIR_FIRST);
    if share(Cause::RealTime) >= TRIED_SHARE
        && let Some(who) = most_of(recorded, kept, Cause::RealTime)
    {
        trials.push(Trial::setting(
            format!("{} not real-time", scripts[who].comm),
            format!("chrt --other --pid 0 {}", scripts[who].tid),
            vec![format!("task/{}.policy=other", scripts[who].label())],
        ));
    }
    if share(Cause::SameGroup) + share(Cause::OtherGroup) >= TRIED_SHARE && is_fair && named {
        let least = wanted.iter().map(|at| scripts[*at].prio - PRIO_NICE_0).min().unwrap_or(0);
        let nice = (least - 5).max(-20);
        trials.push(Trial::setting(
            format!("nice {nice} for {}", if wanted.len() == 1 { "it" } else { "them" }),
            format!("renice -n {nice} -p {tids}"),
            set("nice", &nice.to_string()),
        ));
        let kernel = settings.kernel.as_deref().and_then(Profile::named);
        let takes_slices = |profile: Profile| match profile.fair {
            FairRules::Eevdf(rules) => rules.custom_slice,
            FairRules::Cfs(_) => false,
        };
        if kernel.is_some_and(takes_slices) {
            trials.push(Trial::setting(
                "a slice of 0.5 ms",
                format!("sched_setattr() with sched_runtime = 500000 for {tids}"),
                set("slice", "0.5ms"),
            ));
        }
        if let Some(who) = most_of(recorded, kept, Cause::OtherGroup)
            && scripts[who].prio >= PRIO_FAIR_FIRST
        {
            let comm = &scripts[who].comm;
            trials.push(Trial::setting(
                format!("nice 10 for {comm}"),
                format!("renice -n 10 -p $(pgrep -x '{comm}')"),
                vec![format!("task/{comm}.nice=10")],
            ));
        }
    }
    if share(Cause::IdleElsewhere) >= TRIED_SHARE
        && named
        && wanted.iter().any(|at| scripts[*at].affinity != CpuSet::All)
    {
        trials.push(Trial::setting(
            "let it run on all CPUs",
            format!("taskset -p -c 0-{} {tids}", cpus.saturating_sub(1)),
            set("cpus", "all"),
        ));
    }
    if crowded >= TRIED_SHARE {
        trials.push(Trial {
            what: format!("{} CPUs", cpus + 1),
            how: String::new(),
            kernel: None,
            cpus: Some((cpus + 1).to_string()),
            sets: Vec::new(),
        });
    }
    let newest = "7.2";
    let is_older =
        settings.kernel.as_deref().is_some_and(|kernel| kernel != newest && kernel != "7.3");
    if is_older && crowded + share(Cause::IdleElsewhere) >= TRIED_SHARE {
        trials.push(Trial {
            what: format!("Linux {newest}"),
            how: String::new(),
            kernel: Some(newest.to_owned()),
            cpus: None,
            sets: Vec::new(),
        });
    }
    trials
}

/// Who it was most of all, of a cause.
fn most_of(recorded: &Recorded, kept: &Kept, cause: Cause) -> Option<usize> {
    let of_cause = kept.who.iter().filter(|((of, _), _)| *of == cause);
    let mut by_comm: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for ((_, who), ns) in of_cause {
        if let Some(at) = recorded.script_of(*who) {
            let entry = by_comm.entry(&recorded.rebuilt.scripts[at].comm).or_insert((0, at));
            entry.0 += ns;
        }
    }
    by_comm.into_values().max_by_key(|(ns, _)| *ns).map(|(_, at)| at)
}

/// The groups of tasks that have a limit.
fn limited_groups(recorded: &Recorded, wanted: &[usize]) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for at in wanted {
        let mut group = recorded.rebuilt.scripts[*at].group.as_deref();
        while let Some(path) = group {
            let found = recorded.loaded.workload.groups.iter().find(|group| group.path == path);
            if found.is_some_and(|group| group.limit.quota_ns.is_some())
                && !paths.iter().any(|it| it == path)
            {
                paths.push(path.to_owned());
            }
            group = path.rsplit_once('/').map(|(above, _)| above);
        }
    }
    paths
}

fn simulate(
    args: &WhyArgs,
    recorded: &Recorded,
    wanted: &[usize],
    trials: &[Trial],
    report: &mut WhyReport,
) -> Result<(), Failure> {
    let same = Trial::setting("", "", Vec::new());
    let all: Vec<&Trial> = std::iter::once(&same).chain(trials).collect();
    let runs: Vec<Result<Replayed, Failure>> = with_jobs(&args.recorded.jobs, || {
        let run = |(at, trial): (usize, &&Trial)| {
            let prepared = recorded.prepared(&trial.conditions())?;
            recorded.run(&prepared, at == 0)
        };
        Ok(all.par_iter().enumerate().with_max_len(1).map(run).collect())
    })?;
    let mut runs = runs.into_iter();
    let Some(before) = runs.next().transpose()? else { return Ok(()) };
    let of = |delays: &[TaskDelays]| -> (Option<u64>, u64, u64) {
        let mut wakeups: Vec<u64> = Vec::new();
        let (mut own, mut others) = (0, 0);
        for (at, delays) in delays.iter().enumerate() {
            if wanted.contains(&at) {
                wakeups.extend(&delays.wakeups_ns);
                own += delays.waited_ns();
            } else {
                others += delays.waited_ns();
            }
        }
        wakeups.sort_unstable();
        (permille(&wakeups, 990), own, others)
    };
    let (before_p99_ns, before_waited_ns, others_before_ns) = of(&before.delays);
    for (trial, run) in trials.iter().zip(runs) {
        let mut told = WhyTrial {
            what: trial.what.clone(),
            whatif: trial.options(),
            how: trial.how.clone(),
            before_p99_ns,
            before_waited_ns,
            others_before_ns,
            ..WhyTrial::default()
        };
        match run {
            Ok(after) => {
                (told.after_p99_ns, told.after_waited_ns, told.others_after_ns) = of(&after.delays);
                let part = |after: u64, before: u64| after as f64 / before.max(1) as f64;
                let waited = part(told.after_waited_ns, before_waited_ns);
                let p99 = told.after_p99_ns.zip(before_p99_ns).map(|(to, from)| part(to, from));
                told.helps = waited < HELPS
                    || (waited < 1.0 / HELPS && p99.is_some_and(|part| part < HELPS));
            }
            Err(failure) => told.failed = Some(failure.brief()),
        }
        report.next.push(told);
    }
    // What helps most comes first.
    report.next.sort_by_key(|trial| (trial.failed.is_some(), !trial.helps, trial.after_waited_ns));
    let (recorded_p99_ns, recorded_waited_ns, _) = of(&recorded.delays);
    let ms = |ns: u64| format!("{:.3} ms", ns as f64 / 1e6);
    report.replay = Some(format!(
        "the simulation under the same conditions: waiting {} (recorded {}), p99 {} (recorded {})",
        ms(before_waited_ns),
        ms(recorded_waited_ns),
        before_p99_ns.map_or("-".to_owned(), ms),
        recorded_p99_ns.map_or("-".to_owned(), ms),
    ));
    Ok(())
}
