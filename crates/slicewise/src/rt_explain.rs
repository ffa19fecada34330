//! `slicewise rt explain`: which rule a scheduling system call broke.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use slicewise_rtcheck::Policy as Checked;
use slicewise_sched::{CPUS_MAX, CpuId, CpuSet, DlParams, Nice};
use slicewise_syscalls::{
    CallName, Credentials, Errno, Limits, Pid, Pointer, RawAttr, Recount, Refusal, RtGroup, Rule,
    Rules, Sysctl, System, Task, candidates, flags, policy, which,
};
use slicewise_workload::{LoadFileError, load_rt_file, parse_duration_ns};

use crate::args::{CallArg, OutputFormat, RtExplainArgs};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::prepare::KERNEL_DEFAULT;

/// What is printed.
#[derive(Serialize, Debug)]
struct Explanation {
    /// The error that was asked about.
    errno: &'static str,
    /// The system call.
    call: &'static str,
    kernel: KernelPart,
    /// The parameters lead to that error.
    explained: bool,
    /// What the model says to the call.
    verdict: Verdict,
    /// Where the parameters do not lead to the error: the rules that give it.
    candidates: Vec<Candidate>,
    remarks: Vec<String>,
}

#[derive(Serialize, Debug)]
struct KernelPart {
    profile: &'static str,
    uclamp: bool,
    sched_ext: bool,
    rt_group_sched: bool,
}

#[derive(Serialize, Debug)]
struct Verdict {
    /// `null` if the call succeeds.
    errno: Option<&'static str>,
    rule: Option<&'static str>,
    words: Option<&'static str>,
    detail: Option<String>,
    facts: BTreeMap<&'static str, i128>,
    fix: Option<&'static str>,
    /// What exactly would be allowed instead.
    instead: Option<String>,
}

#[derive(Serialize, Debug)]
struct Candidate {
    rule: &'static str,
    words: &'static str,
    test: Option<&'static str>,
    fix: &'static str,
}

/// The caller and the target in the model.
const CALLER: Pid = 1;
const TARGET: Pid = 2;
/// The first of those that have reservations already.
const OTHERS: Pid = 1000;
/// Where no task is.
const NOBODY: Pid = 999_999;

/// Explains an error. True if the parameters lead to it.
pub(crate) fn explain(args: &RtExplainArgs) -> Result<bool, Failure> {
    let errno = asked_errno(&args.errno)?;
    let rules = rules(args)?;
    let call = call_of(args, errno);
    let asked = Asked::read(args)?;
    let mut system = system(args, rules, call, &asked)?;
    let fresh = system.clone();
    let result = do_call(&mut system, args, call, &asked);
    let refused = result.as_ref().err();
    let explained = refused.is_some_and(|refusal| refusal.errno() == errno);
    let shown = |rule: Rule| Candidate {
        rule: rule.id(),
        words: rule.words(),
        test: rule.test(),
        fix: rule.fix(),
    };
    let others = match explained {
        true => Vec::new(),
        false => candidates(errno, call, &rules).into_iter().map(shown).collect(),
    };
    let explanation = Explanation {
        errno: errno.name(),
        call: call.name(),
        kernel: KernelPart {
            profile: rules.name,
            uclamp: rules.build.uclamp,
            sched_ext: rules.build.ext,
            rt_group_sched: rules.build.rt_group_sched,
        },
        explained,
        verdict: Verdict {
            errno: refused.map(|refusal| refusal.errno().name()),
            rule: refused.map(|refusal| refusal.rule.id()),
            words: refused.map(|refusal| refusal.rule.words()),
            detail: refused.map(|refusal| refusal.detail.clone()),
            facts: refused
                .map(|refusal| refusal.facts.iter().copied().collect())
                .unwrap_or_default(),
            fix: refused.map(|refusal| refusal.rule.fix()),
            instead: refused.and_then(|refusal| instead(refusal, &asked)),
        },
        candidates: others,
        remarks: remarks(&fresh, args, call, &asked, refused),
    };
    match args.format {
        OutputFormat::Json => print_json(&explanation)?,
        OutputFormat::Table => print(&text(&explanation, errno))?,
    }
    Ok(explained)
}

fn asked_errno(text: &str) -> Result<Errno, Failure> {
    let named = Errno::named(text);
    named.or_else(|| text.parse().ok().and_then(Errno::numbered)).ok_or_else(|| {
        let known = Errno::ALL.map(Errno::name).join(", ");
        Failure::with_help(
            format!("`{text}` is no error of a scheduling system call"),
            format!("the errors are {known}"),
        )
    })
}

fn rules(args: &RtExplainArgs) -> Result<Rules, Failure> {
    let kernel = args.kernel.as_deref().unwrap_or(KERNEL_DEFAULT);
    let mut rules = Rules::named(kernel).ok_or_else(|| {
        Failure::with_help(
            format!("there is no profile for kernel `{kernel}`"),
            format!("the kernels are {}", Rules::NAMES.join(", ")),
        )
    })?;
    rules.build.rt_group_sched = args.group_rt_runtime_us.is_some();
    Ok(rules)
}

fn call_of(args: &RtExplainArgs, errno: Errno) -> CallName {
    match (args.call, errno) {
        (Some(CallArg::Setattr), _) => CallName::SetAttr,
        (Some(CallArg::Setscheduler), _) => CallName::SetScheduler,
        (Some(CallArg::Setparam), _) => CallName::SetParam,
        (Some(CallArg::Setaffinity), _) => CallName::SetAffinity,
        (Some(CallArg::Setpriority), _) | (None, Errno::EACCES) => CallName::SetPriority,
        (Some(CallArg::Fork), _) | (None, Errno::EAGAIN) => CallName::Fork,
        (None, _) => CallName::SetAttr,
    }
}

/// The arguments of the call, in numbers.
#[derive(Debug)]
struct Asked {
    policy: u32,
    priority: u32,
    nice: i32,
    flags: u64,
    size: u32,
    params: DlParams,
    affinity: CpuSet,
    cpus: u32,
    others: Vec<DlParams>,
}

impl Asked {
    fn read(args: &RtExplainArgs) -> Result<Self, Failure> {
        let time = |name: &str, text: &Option<String>| match text {
            None => Ok(0),
            Some(text) => duration(name, text),
        };
        let params = DlParams {
            runtime_ns: time("--runtime", &args.runtime)?,
            deadline_ns: time("--deadline", &args.deadline)?,
            period_ns: time("--period", &args.period)?,
            ..DlParams::default()
        };
        let policy = match &args.policy {
            Some(text) => policy_number("--policy", text)?,
            None if params != DlParams::default() => policy::DEADLINE,
            None if args.priority.is_some() => policy::FIFO,
            None => policy::OTHER,
        };
        // As chrt does it: what is not said follows from what is.
        let deadline_ns = match (policy == policy::DEADLINE, &args.deadline) {
            (true, None) => params.period_ns,
            _ => params.deadline_ns,
        };
        let (affinity, cpus) = affinity(args.cpus.as_deref())?;
        let others = match &args.others {
            Some(text) => reservations(text)?,
            None => Vec::new(),
        };
        Ok(Self {
            policy,
            priority: args.priority.unwrap_or(0).cast_unsigned(),
            nice: args.nice.unwrap_or(0),
            flags: sched_flags(args.flags.as_deref())?,
            size: args.size.unwrap_or(slicewise_syscalls::raw::ATTR_SIZE),
            params: DlParams { deadline_ns, ..params },
            affinity,
            cpus,
            others,
        })
    }
}

fn duration(name: &str, text: &str) -> Result<u64, Failure> {
    // chrt takes plain numbers of ns.
    if let Ok(ns) = text.parse() {
        return Ok(ns);
    }
    parse_duration_ns(text).map_err(|message| Failure::plain(format!("{name} {text}: {message}")))
}

const POLICIES: [(&str, u32); 7] = [
    ("other", policy::OTHER),
    ("fifo", policy::FIFO),
    ("rr", policy::RR),
    ("batch", policy::BATCH),
    ("idle", policy::IDLE),
    ("deadline", policy::DEADLINE),
    ("ext", policy::EXT),
];

fn policy_number(name: &str, text: &str) -> Result<u32, Failure> {
    let lower = text.to_ascii_lowercase();
    let word = lower.strip_prefix("sched_").unwrap_or(&lower);
    let word = if word == "normal" { "other" } else { word };
    let known = POLICIES.iter().find(|(known, _)| *known == word).map(|(_, number)| *number);
    known.or_else(|| text.parse().ok()).ok_or_else(|| {
        let names = POLICIES.map(|(known, _)| known).join(", ");
        Failure::with_help(
            format!("{name} {text}: there is no such policy"),
            format!("the policies are {names}, or a number"),
        )
    })
}

const FLAGS: [(&str, u64); 7] = [
    ("reset-on-fork", flags::RESET_ON_FORK),
    ("reclaim", flags::RECLAIM),
    ("dl-overrun", flags::DL_OVERRUN),
    ("keep-policy", flags::KEEP_POLICY),
    ("keep-params", flags::KEEP_PARAMS),
    ("util-clamp-min", flags::UTIL_CLAMP_MIN),
    ("util-clamp-max", flags::UTIL_CLAMP_MAX),
];

fn sched_flags(text: Option<&str>) -> Result<u64, Failure> {
    let mut all = 0;
    for word in text.unwrap_or("").split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let known = FLAGS.iter().find(|(known, _)| *known == word).map(|(_, flag)| *flag);
        let number = || match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        };
        all |= known.or_else(number).ok_or_else(|| {
            let names = FLAGS.map(|(known, _)| known).join(", ");
            Failure::with_help(
                format!("--flags {word}: there is no such flag"),
                format!("the flags are {names}, or a number such as 0x01"),
            )
        })?;
    }
    Ok(all)
}

/// `4`, `0-3 of 4`: the CPUs the task may use, and how many there are.
fn affinity(text: Option<&str>) -> Result<(CpuSet, u32), Failure> {
    let text = text.unwrap_or("1");
    let wrong = |message: String| {
        let help = "write how many CPUs there are, or which of how many: `4`, `0-1 of 4`";
        Failure::with_help(format!("--cpus {text}: {message}"), help)
    };
    let (list, count) = match text.split_once(" of ") {
        Some((list, count)) => (Some(list), count),
        None => (None, text),
    };
    let cpus: u32 = match count.trim().parse() {
        Ok(cpus) if (1..=CPUS_MAX).contains(&cpus) => cpus,
        Ok(_) => return Err(wrong(format!("a machine has 1 to {CPUS_MAX} CPUs"))),
        Err(_) => return Err(wrong(format!("`{}` is not a number of CPUs", count.trim()))),
    };
    let set = match list {
        Some(list) => CpuSet::parse_list(list).map_err(wrong)?,
        None => CpuSet::of((0..cpus).map(CpuId)),
    };
    Ok((set, cpus))
}

/// How many reservations may be there.
const OTHERS_MAX: usize = 10_000;

/// A file with deadline tasks, or a list such as `10ms/100ms,5ms/20ms/50msx3`.
fn reservations(text: &str) -> Result<Vec<DlParams>, Failure> {
    let path = Path::new(text);
    if path.is_file() {
        return match load_rt_file(path) {
            Ok(loaded) => {
                let tasks = loaded.set.tasks.iter();
                let deadline = tasks.filter(|task| task.policy == Checked::Deadline);
                let params = deadline.map(|task| DlParams {
                    runtime_ns: task.reserved_ns(),
                    deadline_ns: task.deadline_ns,
                    period_ns: task.period_ns,
                    ..DlParams::default()
                });
                Ok(params.collect())
            }
            Err(LoadFileError::Invalid { sources, diagnostics }) => {
                Err(Failure::Input { name: text.to_owned(), sources, diagnostics })
            }
            Err(error) => Err(Failure::plain(error.to_string())),
        };
    }
    let wrong = |part: &str, message: &str| {
        Failure::with_help(
            format!("--others {part}: {message}"),
            "name a file with deadline tasks, or write RUNTIME/PERIOD or RUNTIME/DEADLINE/PERIOD, \
             several with commas, `x3` behind one for three of it: 10ms/100ms,5ms/20ms/50msx3",
        )
    };
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (one, times) = match part.rsplit_once('x') {
            Some((one, times)) => {
                (one, times.parse().map_err(|_| wrong(part, "no number behind the x"))?)
            }
            None => (part, 1_usize),
        };
        let times_read: Result<Vec<u64>, Failure> =
            one.split('/').map(|word| duration("--others", word)).collect();
        let params = match times_read?[..] {
            [runtime_ns, period_ns] => DlParams::implicit(runtime_ns, period_ns),
            [runtime_ns, deadline_ns, period_ns] => {
                DlParams { runtime_ns, deadline_ns, period_ns, ..DlParams::default() }
            }
            _ => return Err(wrong(part, "not two or three times")),
        };
        if times > OTHERS_MAX || all.len() + times > OTHERS_MAX {
            return Err(wrong(part, "more than 10000 reservations"));
        }
        all.extend(std::iter::repeat_n(params, times));
    }
    Ok(all)
}

/// The system before the call.
fn system(
    args: &RtExplainArgs,
    rules: Rules,
    call: CallName,
    asked: &Asked,
) -> Result<System, Failure> {
    let mut system = System::new(rules, asked.cpus);
    system.insert(OTHERS, Task::new(Credentials::ROOT));
    if let Some(us) = args.rt_runtime_us {
        let written = system.write_sysctl(Sysctl::RtRuntime, &us.to_string());
        written.map_err(|refusal| {
            Failure::plain(format!("--rt-runtime-us {us}: the kernel refuses it: {refusal}"))
        })?;
    }
    let user = |uid: u32, capable: bool| match (uid, capable) {
        (_, true) => Credentials { uid, euid: uid, ..Credentials::ROOT },
        (_, false) => Credentials::user(uid),
    };
    let uid = args.uid.unwrap_or(0);
    let capable = match args.cap_sys_nice {
        Some(capable) => capable,
        None => uid == 0,
    };
    system.insert(CALLER, Task::new(user(uid, capable)));
    let target_uid = args.target_uid.unwrap_or(uid);
    let limits =
        Limits { nice: args.rlimit_nice.unwrap_or(0), rtprio: args.rlimit_rtprio.unwrap_or(0) };
    let affinity = match call {
        CallName::SetAffinity => CpuSet::of((0..asked.cpus).map(CpuId)),
        _ => asked.affinity.clone(),
    };
    let group = args.group_rt_runtime_us.map(|runtime_us| RtGroup { runtime_us });
    let credentials = match target_uid == uid {
        true => user(uid, capable),
        false => user(target_uid, target_uid == 0),
    };
    let nice = Nice::new(args.from_nice.unwrap_or(0).into()).unwrap_or_default();
    let target = Task { limits, group, nice, ..Task::new(credentials) };
    system.insert(TARGET, target);
    for (at, params) in asked.others.iter().enumerate() {
        let pid = OTHERS + 1 + Pid::try_from(at).unwrap_or(0);
        system.insert(pid, Task::new(Credentials::ROOT));
        let bytes = deadline_attr(params, 0).to_bytes();
        system.sched_setattr(OTHERS, pid, Pointer::To(&bytes), 0).map_err(|refusal| {
            Failure::plain(format!("--others: number {} is refused itself: {refusal}", at + 1))
        })?;
    }
    prepare_target(&mut system, args, call, asked)?;
    if let Some(task) = system.task_mut(TARGET) {
        task.cpus = affinity;
    }
    Ok(system)
}

fn deadline_attr(params: &DlParams, sched_flags: u64) -> RawAttr {
    RawAttr {
        size: slicewise_syscalls::raw::ATTR_SIZE,
        policy: policy::DEADLINE,
        flags: sched_flags,
        runtime: params.runtime_ns,
        deadline: params.deadline_ns,
        period: params.period_ns,
        ..RawAttr::default()
    }
}

/// The policy the target has before the call.
fn prepare_target(
    system: &mut System,
    args: &RtExplainArgs,
    call: CallName,
    asked: &Asked,
) -> Result<(), Failure> {
    let from = match (&args.from, call) {
        (Some(text), _) => policy_number("--from", text)?,
        // These calls leave the policy as it is: --policy says what it is.
        (None, CallName::SetAffinity | CallName::Fork) => asked.policy,
        (None, CallName::SetParam) => asked.policy,
        _ => return Ok(()),
    };
    let attr = match from {
        policy::DEADLINE => deadline_attr(&asked.params, asked.flags & flags::RESET_ON_FORK),
        _ => RawAttr {
            size: slicewise_syscalls::raw::ATTR_SIZE,
            policy: from,
            flags: asked.flags & flags::RESET_ON_FORK,
            nice: args.from_nice.unwrap_or(0),
            priority: match from {
                policy::FIFO | policy::RR => args.from_priority.unwrap_or(1),
                _ => 0,
            },
            ..RawAttr::default()
        },
    };
    let result = system.sched_setattr(OTHERS, TARGET, Pointer::To(&attr.to_bytes()), 0);
    result.map_err(|refusal| {
        let help = "say with --from what the task's policy was before the call, or complete it";
        let name = policy::name(from);
        Failure::with_help(format!("the task cannot be {name} before the call: {refusal}"), help)
    })
}

fn do_call(
    system: &mut System,
    args: &RtExplainArgs,
    call: CallName,
    asked: &Asked,
) -> Result<(), Refusal> {
    let target = if args.no_such_task { NOBODY } else { TARGET };
    match call {
        CallName::SetAttr => {
            let params = asked.params;
            let attr = RawAttr {
                size: asked.size,
                policy: asked.policy,
                flags: asked.flags,
                nice: asked.nice,
                priority: asked.priority,
                runtime: params.runtime_ns,
                deadline: params.deadline_ns,
                period: params.period_ns,
                util_min: args.util_min.unwrap_or(0),
                util_max: args.util_max.unwrap_or(1024),
            };
            let mut bytes = attr.to_bytes().to_vec();
            // The rest of a larger structure is clear.
            bytes.resize(bytes.len().max(asked.size.min(1 << 16) as usize), 0);
            system.sched_setattr(CALLER, target, Pointer::To(&bytes), 0)
        }
        CallName::SetScheduler => {
            let reset = asked.flags & flags::RESET_ON_FORK != 0;
            let number = asked.policy | if reset { policy::RESET_ON_FORK } else { 0 };
            let priority = Pointer::To(asked.priority.cast_signed());
            system.sched_setscheduler(CALLER, target, number.cast_signed(), priority)
        }
        CallName::SetParam => {
            let priority = Pointer::To(asked.priority.cast_signed());
            system.sched_setparam(CALLER, target, priority)
        }
        CallName::SetAffinity => {
            let byte = |at: u32| {
                let has = |bit: &u32| asked.affinity.contains(CpuId(at * 8 + bit));
                (0..8).filter(has).fold(0_u8, |byte, bit| byte | 1 << bit)
            };
            let mask: Vec<u8> = (0..CPUS_MAX / 8).map(byte).collect();
            system.sched_setaffinity(CALLER, target, Pointer::To(&mask))
        }
        CallName::SetPriority => system.setpriority(CALLER, which::PROCESS, target, asked.nice),
        CallName::Fork => system.fork(target, Pid::MAX),
    }
}

/// What would be allowed, in the numbers of this call.
fn instead(refusal: &Refusal, asked: &Asked) -> Option<String> {
    let fact = |name: &str| {
        refusal.facts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    };
    match refusal.rule {
        Rule::BandwidthExceeded => {
            let left =
                fact("bandwidth_limit")? - fact("bandwidth_total")? + fact("bandwidth_before")?;
            let period = i128::from(asked.params.period());
            // The longest runtime whose bandwidth is still no more than what is left.
            let most = (((left + 1) * period) - 1).max(0) >> 20;
            if left <= 0 || most < 1024 {
                return Some("nothing is left for a reservation of this period".to_owned());
            }
            let most = u64::try_from(most).ok()?.min(asked.params.deadline_ns);
            Some(format!("a runtime of up to {most} ns fits into this period"))
        }
        _ => None,
    }
}

fn remarks(
    fresh: &System,
    args: &RtExplainArgs,
    call: CallName,
    asked: &Asked,
    refused: Option<&Refusal>,
) -> Vec<String> {
    let mut remarks = Vec::new();
    let deadline = asked.policy == policy::DEADLINE && call == CallName::SetAttr;
    if deadline && fresh.rules().recount == Recount::Tasks {
        let mut read = fresh.clone();
        read.read_sysctl(Sysctl::RtRuntime);
        let then = do_call(&mut read, args, call, asked);
        let differs = then.as_ref().err().map(|then| then.rule) != refused.map(|now| now.rule);
        if differs {
            let verdict = then.err().map_or("it succeeds", |_| "it fails");
            remarks.push(format!(
                "On this kernel {verdict} once anybody has read or written sched_rt_runtime_us or \
                 sched_rt_period_us: the fair servers' share is forgotten then."
            ));
        }
    }
    if deadline && refused.is_some_and(|refusal| refusal.rule == Rule::BandwidthExceeded) {
        remarks.push(
            "What a sleeping task had reserved when another process took SCHED_DEADLINE away from it \
             stays in the sum; --others may name it as well."
                .to_owned(),
        );
    }
    if refused.is_none() && asked.others.is_empty() && deadline {
        remarks
            .push("No other reservations were named: --others 10ms/100ms,… or a file.".to_owned());
    }
    remarks
}

fn text(explanation: &Explanation, errno: Errno) -> String {
    let mut text = String::new();
    let Explanation { call, kernel, verdict, .. } = explanation;
    let line = |text: &mut String, key: &str, value: &str| {
        let _ = writeln!(text, "  {key:<8} {value}");
    };
    match verdict.errno {
        Some(got) if explanation.explained => {
            let _ = writeln!(
                text,
                "{call} fails with {got} ({}) on Linux {}: {}.",
                errno.message(),
                kernel.profile,
                verdict.words.unwrap_or("")
            );
        }
        Some(got) => {
            let _ = writeln!(
                text,
                "With these parameters {call} fails on Linux {}, but with {got}: {}.",
                kernel.profile,
                verdict.words.unwrap_or("")
            );
        }
        None => {
            let _ = writeln!(
                text,
                "With these parameters {call} succeeds on Linux {}.",
                kernel.profile
            );
        }
    }
    if verdict.errno.is_some() {
        line(&mut text, "rule", verdict.rule.unwrap_or(""));
        line(&mut text, "here", verdict.detail.as_deref().unwrap_or(""));
        line(&mut text, "change", verdict.fix.unwrap_or(""));
        if let Some(instead) = &verdict.instead {
            line(&mut text, "", instead);
        }
    }
    if !explanation.explained {
        let name = errno.name();
        if explanation.candidates.is_empty() {
            let _ = writeln!(text, "\nNo rule of {call} gives {name} on this kernel.");
        } else {
            let _ = writeln!(text, "\nWhat gives {name} for {call} on this kernel:");
        }
        for candidate in &explanation.candidates {
            let _ = writeln!(text, "\n{}: {}", candidate.rule, candidate.words);
            if let Some(test) = candidate.test {
                line(&mut text, "see", test);
            }
            line(&mut text, "change", candidate.fix);
        }
        let filters = "seccomp filters and security modules can refuse any call with any error.";
        let _ = writeln!(text, "\nBesides, {filters}");
    }
    for remark in &explanation.remarks {
        let _ = writeln!(text, "\n{remark}");
    }
    text
}
