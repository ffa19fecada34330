//! Changing a loaded workload from the command line: `key=value`.

use slicewise_machine::{MemoryNode, RtTimeLimit, Share, TaskSpec};
use slicewise_sched::deadline::PeriodLimits;
use slicewise_sched::topology::NODES_MAX;
use slicewise_sched::{CPUS_MAX, DlParams, Nice, Policy, Profile, RtPriority};

use slicewise_cgroup::{File, Version};

use crate::Loaded;
use crate::cgroups::{parse_path, rules_named};
use crate::cpusets::{BootText, FILES, check_boot, check_text};
use crate::diagnostic::{did_you_mean, shorten};
use crate::scenario::{PolicyWord, check_feature, memory_node, parse_cpu_list, parse_policy};
use crate::settings::{
    HZ_MAX, PREEMPTIONS, SMT_MIN, SpeedOverrides, kernel_names, parse_preemption, share,
};
use crate::units::parse_duration;

const MACHINE_KEYS: [&str; 32] = [
    "cpus",
    "topology",
    "hz",
    "kernel",
    "duration",
    "seed",
    "preemption",
    "features",
    "base_slice",
    "tick_phase",
    "tick_skew",
    "autogroup",
    "sched_rt_runtime_us",
    "sched_rt_period_us",
    "sched_rr_timeslice_ms",
    "rt_group_sched",
    "fair_server_runtime",
    "fair_server_period",
    "isolcpus",
    "nohz_full",
    "costs.context_switch",
    "costs.wakeup",
    "costs.tick",
    "costs.idle_exit",
    "numa_balancing",
    "sched_energy_aware",
    "speed",
    "speed.smt",
    "speed.capacity",
    "speed.warm_up_core",
    "speed.warm_up_llc",
    "speed.memory_bound",
];
const TASK_KEYS: [&str; 16] = [
    "nice",
    "policy",
    "priority",
    "slice",
    "runtime",
    "deadline",
    "period",
    "reclaim",
    "dl_overrun",
    "rttime",
    "memory_node",
    "memory_bound",
    "cpus",
    "start",
    "reset_on_fork",
    "group",
];

/// Every key that [`apply_set`] knows; those of tasks, groups, mutexes and interrupts with `NAME` for the
/// name and `PATH` for the group's path.
pub fn set_keys() -> Vec<String> {
    let machine = MACHINE_KEYS.iter().map(|key| (*key).to_owned());
    let tasks = TASK_KEYS.iter().map(|key| format!("task/NAME.{key}"));
    let groups = File::ALL.iter().map(|file| format!("group/PATH.{}", file.name()));
    let cpusets = FILES.iter().filter_map(|file| file.name(Version::V2));
    let cpusets = cpusets.map(|name| format!("group/PATH.{name}"));
    let mutexes = ["mutex/NAME.priority_inheritance".to_owned()];
    let interrupts = ["interrupt/NAME.cpus".to_owned()];
    machine.chain(tasks).chain(groups).chain(cpusets).chain(mutexes).chain(interrupts).collect()
}

/// Applies one `key=value`: a machine setting, something of a task and its instances
/// (`task/web.nice=5`, `task/web-3.cpus=0-1`), a write to a file of a group
/// (`group/pods/web.cpu.max=50000 100000`), whether a mutex lends priorities
/// (`mutex/bus.priority_inheritance=true`), or where an interrupt goes (`interrupt/nic.cpus=0-3`).
///
/// A policy may come with what belongs to it: `task/web.policy=fifo:50`,
/// `task/web.policy=deadline:2ms/10ms` (runtime and period, or runtime, deadline and period).
///
/// ```
/// use slicewise_workload::{Format, apply_set, load};
///
/// let mut loaded = load("[[task]]\nname = \"burn\"\nhog = true\n", Format::Auto).unwrap();
/// apply_set(&mut loaded, "hz=1000").unwrap();
/// apply_set(&mut loaded, "task/burn.nice=5").unwrap();
/// assert_eq!(loaded.settings.hz, Some(1000));
/// assert_eq!(loaded.workload.tasks[0].attr.nice.get(), 5);
/// assert_eq!(
///     apply_set(&mut loaded, "task/burn.nice=25").unwrap_err(),
///     "`nice` cannot be 25; allowed: -20 to 19"
/// );
/// ```
///
/// # Errors
/// Says what is wrong with the key or the value, and what is allowed. Nothing has changed then.
pub fn apply_set(loaded: &mut Loaded, assignment: &str) -> Result<(), String> {
    let Some((key, value)) = assignment.split_once('=') else {
        let shown = shorten(assignment);
        return Err(format!("`{shown}` is not of the form key=value, such as hz=1000"));
    };
    let (key, value) = (key.trim(), value.trim());
    if let Some(rest) = key.strip_prefix("interrupt/") {
        return set_interrupt(loaded, rest, value);
    }
    match (key.strip_prefix("task/"), key.strip_prefix("group/")) {
        (Some(rest), _) => set_task(loaded, rest, value),
        (_, Some(rest)) => set_group(loaded, rest, value),
        _ => match key.strip_prefix("mutex/") {
            Some(rest) => set_mutex(loaded, rest, value),
            None => set_machine(loaded, key, value),
        },
    }
}

/// Which CPUs an interrupt comes to.
fn set_interrupt(loaded: &mut Loaded, rest: &str, value: &str) -> Result<(), String> {
    let Some(name) = rest.strip_suffix(".cpus") else {
        let shown = shorten(rest);
        return Err(format!("`interrupt/{shown}` says nothing to set; add .cpus"));
    };
    let cpus = cpu_set(value)?;
    let sources = &mut loaded.workload.interrupts;
    let Some(at) = sources.iter().position(|source| source.name == name) else {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let help = did_you_mean(name, &names);
        return Err(format!("there is no interrupt `{}`; {}", shorten(name), shorten(&help)));
    };
    sources[at].cpus = cpus.clone();
    if let Some((set, _)) = loaded.interrupted.get_mut(at) {
        *set = cpus;
    }
    Ok(())
}

fn cpu_set(value: &str) -> Result<slicewise_sched::CpuSet, String> {
    match value {
        "all" => Ok(slicewise_sched::CpuSet::All),
        _ => parse_cpu_list(value).map_err(|problem| format!("`cpus`: {problem}")),
    }
}

fn set_mutex(loaded: &mut Loaded, rest: &str, value: &str) -> Result<(), String> {
    let Some(name) = rest.strip_suffix(".priority_inheritance") else {
        let shown = shorten(rest);
        return Err(format!("`mutex/{shown}` says nothing to set; add .priority_inheritance"));
    };
    let inherits = boolean("priority_inheritance", value)?;
    let mutexes = &mut loaded.workload.mutexes;
    match mutexes.iter_mut().find(|mutex| mutex.name == name) {
        Some(mutex) => {
            mutex.inherits = inherits;
            Ok(())
        }
        None => {
            let names: Vec<&str> = mutexes.iter().map(|mutex| mutex.name.as_str()).collect();
            let help = did_you_mean(name, &names);
            Err(format!("there is no mutex `{}`; {}", shorten(name), shorten(&help)))
        }
    }
}

/// A write to a file of a group, instead of what the scenario writes to it.
fn set_group(loaded: &mut Loaded, rest: &str, value: &str) -> Result<(), String> {
    let named = |file: &File| rest.strip_suffix(file.name())?.strip_suffix('.').map(|p| (p, *file));
    let cpuset = FILES.iter().find_map(|file| {
        let name = file.name(Version::V2)?;
        rest.strip_suffix(name)?.strip_suffix('.').map(|path| (path, *file, name))
    });
    if let Some((path, file, name)) = cpuset {
        let Some(group) = loaded.cgroups.find(path) else {
            let help = did_you_mean(path, &loaded.cgroups.paths());
            return Err(format!("there is no group `{}`; {}", shorten(path), shorten(&help)));
        };
        check_text(file, value).map_err(|refused| format!("`{name}`: {refused}"))?;
        loaded.cgroups.write_cpuset(group, file, value, 0..0);
        return Ok(());
    }
    let Some((path, file)) = File::ALL.iter().find_map(named) else {
        let files = File::ALL.map(File::name);
        let shown = shorten(rest);
        return Err(format!("`group/{shown}` names no file; add one of .{}", files.join(", .")));
    };
    let Some(group) = loaded.cgroups.find(path) else {
        let help = did_you_mean(path, &loaded.cgroups.paths());
        return Err(format!("there is no group `{}`; {}", shorten(path), shorten(&help)));
    };
    if let Some(message) = loaded.cgroups.conflict(file) {
        return Err(message);
    }
    let mut changed = loaded.cgroups.clone();
    changed.write(group, file, value, 0..0);
    let kernel = loaded.settings.kernel.as_deref().unwrap_or(crate::scenario::KERNEL_DEFAULT);
    let groups = changed.groups(&rules_named(kernel, loaded.settings.rt)).map_err(|errors| {
        errors.first().map_or(String::new(), |error| format!("{}; {}", error.message, error.help))
    })?;
    loaded.cgroups = changed;
    loaded.workload.groups = groups;
    Ok(())
}

fn set_machine(loaded: &mut Loaded, key: &str, value: &str) -> Result<(), String> {
    let settings = &mut loaded.settings;
    match key {
        "cpus" => {
            let cpus = number(key, value, 1, i128::from(CPUS_MAX))? as u32;
            let of_topology =
                settings.topology.as_ref().map(|machine| machine.topology().nr_cpus());
            if let Some(count) = of_topology.filter(|count| *count != cpus) {
                return Err(format!("`cpus` cannot be {cpus}: the topology has {count} CPUs"));
            }
            settings.cpus = Some(cpus);
        }
        "topology" => {
            let machine =
                slicewise_topology::named(value).map_err(|problem| match problem.help {
                    Some(help) => format!("{}; {help}", problem.message),
                    None => problem.message,
                })?;
            settings.set_topology(machine);
        }
        "hz" => settings.hz = Some(number(key, value, 1, i128::from(HZ_MAX))? as u32),
        "seed" => settings.seed = Some(number(key, value, 0, i128::from(u64::MAX))? as u64),
        "kernel" => {
            if Profile::named(value).is_none() {
                let names = kernel_names().join(", ");
                let shown = shorten(value);
                return Err(format!("there is no profile for kernel `{shown}`; allowed: {names}"));
            }
            settings.kernel = Some(value.to_owned());
        }
        "duration" => settings.duration_ns = Some(positive(key, value)?),
        "preemption" => {
            let unknown = || {
                let shown = shorten(value);
                let all = PREEMPTIONS.join(", ");
                format!("unknown preemption model `{shown}`; allowed: {all}")
            };
            settings.preemption = Some(parse_preemption(value).ok_or_else(unknown)?);
        }
        "features" => {
            let words: Vec<&str> =
                value.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty()).collect();
            for word in &words {
                check_feature(word).map_err(|(message, help)| format!("{message}; {help}"))?;
            }
            settings.features.extend(words.into_iter().map(str::to_owned));
        }
        "base_slice" => settings.base_slice_ns = Some(positive(key, value)?),
        "tick_phase" => settings.tick_phase_ns = Some(duration(key, value)?),
        "isolcpus" | "nohz_full" => {
            check_boot(key, value, CPUS_MAX + 1).map_err(|error| error.to_string())?;
            let said = Some(BootText { text: value.to_owned(), span: 0..0 });
            match key {
                "isolcpus" => settings.isolcpus = said,
                _ => settings.nohz_full = said,
            }
        }
        "autogroup" => settings.autogroup = Some(boolean(key, value)?),
        "rt_group_sched" => settings.rt.group_sched = Some(boolean(key, value)?),
        "tick_skew" => settings.tick_skew_ns = Some(duration(key, value)?),
        "sched_rt_runtime_us" => {
            let us = number(key, value, -1, i128::from(i32::MAX))?;
            settings.rt.runtime_us = Some(u64::try_from(us).ok());
        }
        "sched_rt_period_us" => {
            settings.rt.period_us = Some(number(key, value, 1, i128::from(i32::MAX))? as u64);
        }
        "sched_rr_timeslice_ms" => {
            settings.rt.rr_timeslice_ms = Some(number(key, value, 1, 1_000_000)? as u32);
        }
        "fair_server_runtime" => {
            settings.rt.fair_server_runtime_ns = Some(duration(key, value)?);
        }
        "fair_server_period" => settings.rt.fair_server_period_ns = Some(positive(key, value)?),
        "costs.context_switch" => settings.costs.context_switch_ns = Some(duration(key, value)?),
        "costs.wakeup" => settings.costs.wakeup_ns = Some(duration(key, value)?),
        "numa_balancing" => settings.numa_balancing = Some(boolean(key, value)?),
        "sched_energy_aware" => settings.energy_aware = Some(boolean(key, value)?),
        "speed" => {
            // False is what it was without a word about it.
            settings.speed = match boolean(key, value)? {
                true => SpeedOverrides { typical: true, ..settings.speed },
                false => SpeedOverrides::default(),
            };
        }
        "speed.smt" => settings.speed.smt = Some(part(key, value, SMT_MIN)?),
        "speed.capacity" => settings.speed.capacity = Some(boolean(key, value)?),
        "speed.warm_up_core" => settings.speed.warm_up_core_ns = Some(duration(key, value)?),
        "speed.warm_up_llc" => settings.speed.warm_up_llc_ns = Some(duration(key, value)?),
        "speed.memory_bound" => settings.speed.memory_bound = Some(part(key, value, 0.0)?),
        "costs.idle_exit" => settings.costs.idle_exit_ns = Some(duration(key, value)?),
        "costs.tick" => settings.costs.tick_ns = Some(duration(key, value)?),
        _ => {
            let keys = set_keys();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            return Err(format!("unknown key `{}`; {}", shorten(key), did_you_mean(key, &keys)));
        }
    }
    Ok(())
}

fn set_task(loaded: &mut Loaded, rest: &str, value: &str) -> Result<(), String> {
    let Some((name, key)) = rest.rsplit_once('.') else {
        let shown = shorten(rest);
        let keys = TASK_KEYS.join(", ");
        return Err(format!("`task/{shown}` says nothing to set; add one of .{keys}"));
    };
    let tasks = tasks_named(loaded, name);
    if tasks.is_empty() {
        let names: Vec<&str> = loaded.groups.iter().map(|group| group.name.as_str()).collect();
        return Err(format!(
            "there is no task `{}`; {}",
            shorten(name),
            did_you_mean(name, &names)
        ));
    }
    let change = match key {
        "group" => Change::Group(group_named(loaded, value)?),
        _ => change(key, value)?,
    };
    // All or nothing: a priority fits some instances and not others.
    let mut attrs = Vec::with_capacity(tasks.len());
    for task in &tasks {
        let mut spec = loaded.workload.tasks[*task].clone();
        change.apply(&mut spec)?;
        attrs.push(spec);
    }
    for (task, spec) in tasks.into_iter().zip(attrs) {
        loaded.workload.tasks[task] = spec;
    }
    Ok(())
}

/// All tasks of a description, or of several with the same name in files of their own; else one
/// instance.
fn tasks_named(loaded: &Loaded, name: &str) -> Vec<usize> {
    let described = loaded.groups.iter().filter(|tasks| tasks.name == name);
    let all: Vec<usize> = described
        .flat_map(|tasks| tasks.first as usize..(tasks.first + tasks.count) as usize)
        .collect();
    if !all.is_empty() {
        return all;
    }
    loaded.workload.tasks.iter().position(|task| task.name == name).into_iter().collect()
}

/// The group of a path; `None` is the root.
fn group_named(loaded: &Loaded, path: &str) -> Result<Option<u32>, String> {
    let shown = shorten(path);
    if parse_path(path).map_err(|what| format!("the path `{shown}` {what}"))?.is_empty() {
        return Ok(None);
    }
    let unknown = || {
        let help = did_you_mean(path, &loaded.cgroups.paths());
        format!("there is no group `{shown}`; {}", shorten(&help))
    };
    loaded.cgroups.find(path).map(Some).ok_or_else(unknown)
}

enum Change {
    Nice(Nice),
    Policy(PolicyWord, Option<RtPriority>),
    Reserve(DlParams),
    Priority(RtPriority),
    Slice(Option<u64>),
    Runtime(u64),
    Deadline(u64),
    Period(u64),
    Reclaim(bool),
    Overrun(bool),
    RtTime(RtTimeLimit),
    MemoryNode(MemoryNode),
    MemoryBound(Share),
    Cpus(slicewise_sched::CpuSet),
    Start(u64),
    ResetOnFork(bool),
    Group(Option<u32>),
}

fn change(key: &str, value: &str) -> Result<Change, String> {
    let priority = |text: &str| -> Result<RtPriority, String> {
        let number = number("priority", text, 1, 99)?;
        RtPriority::new(number as i64).ok_or_else(String::new)
    };
    Ok(match key {
        "nice" => Change::Nice(Nice::new(number(key, value, -20, 19)? as i64).unwrap_or_default()),
        "policy" if value.starts_with("deadline:") => Change::Reserve(reservation(value)?),
        "policy" => {
            let (word, rt) = match value.split_once(':') {
                Some((word, rt)) => (word, Some(priority(rt)?)),
                None => (value, None),
            };
            let policy =
                parse_policy(word).map_err(|(message, help)| format!("{message}; {help}"))?;
            Change::Policy(policy, rt)
        }
        "priority" => Change::Priority(priority(value)?),
        "slice" => Change::Slice(match value {
            "none" => None,
            _ => Some(positive(key, value)?),
        }),
        "runtime" => Change::Runtime(positive(key, value)?),
        "deadline" => Change::Deadline(positive(key, value)?),
        "period" => Change::Period(positive(key, value)?),
        "reclaim" => Change::Reclaim(boolean(key, value)?),
        "dl_overrun" => Change::Overrun(boolean(key, value)?),
        "rttime" => {
            let us = positive(key, value)? / 1000;
            Change::RtTime(RtTimeLimit { soft_us: us, hard_us: us })
        }
        "memory_node" => Change::MemoryNode(match memory_node(value) {
            Some(node) => node,
            None => MemoryNode::Node(
                number(key, value, 0, i128::from(NODES_MAX) - 1)
                    .map_err(|message| format!("{message}, \"first-touch\", \"interleave\""))?
                    as u32,
            ),
        }),
        "memory_bound" => Change::MemoryBound(part(key, value, 0.0)?),
        "cpus" => Change::Cpus(cpu_set(value)?),
        "start" => Change::Start(duration(key, value)?),
        "reset_on_fork" => Change::ResetOnFork(boolean(key, value)?),
        _ => {
            let help = did_you_mean(key, &TASK_KEYS);
            return Err(format!("tasks have no `{}` to set; {help}", shorten(key)));
        }
    })
}

/// `deadline:RUNTIME/PERIOD` or `deadline:RUNTIME/DEADLINE/PERIOD`.
fn reservation(value: &str) -> Result<DlParams, String> {
    let parts: Vec<&str> =
        value.split_once(':').map_or("", |(_, rest)| rest).split('/').map(str::trim).collect();
    let params = match parts[..] {
        [runtime, period] => {
            DlParams::implicit(positive("runtime", runtime)?, positive("period", period)?)
        }
        [runtime, deadline, period] => DlParams {
            runtime_ns: positive("runtime", runtime)?,
            deadline_ns: positive("deadline", deadline)?,
            period_ns: positive("period", period)?,
            ..DlParams::default()
        },
        _ => {
            let shown = shorten(value);
            return Err(format!("`{shown}` is not of the form deadline:2ms/10ms, RUNTIME/PERIOD"));
        }
    };
    let refused = |fault| format!("the kernel refuses that reservation (EINVAL): {fault}");
    params.check(PeriodLimits::default()).map_err(refused)?;
    Ok(params)
}

fn dl_change(task: &mut TaskSpec, change: impl FnOnce(&mut DlParams)) -> Result<(), String> {
    let Policy::Deadline(params) = &mut task.attr.policy else {
        let name = shorten(&task.name);
        return Err(format!(
            "task `{name}` is {}, which reserves nothing",
            task.attr.policy.name()
        ));
    };
    change(params);
    params.check(PeriodLimits::default()).map_err(|fault| {
        format!("task `{}`: the kernel refuses that (EINVAL): {fault}", shorten(&task.name))
    })
}

impl Change {
    fn apply(&self, task: &mut TaskSpec) -> Result<(), String> {
        let had = task.attr.policy.rt_priority();
        match self {
            Change::Nice(nice) => task.attr.nice = *nice,
            Change::Policy(PolicyWord::Fair(policy), None) => task.attr.policy = *policy,
            Change::Policy(PolicyWord::Fair(policy), Some(_)) => {
                return Err(format!("{} has no priority", policy.name()));
            }
            Change::Policy(PolicyWord::RealTime(policy), rt) => {
                // As `chrt` without a priority would have to: the lowest there is.
                let rt = rt.or(had).or(RtPriority::new(1));
                task.attr.policy = rt.map_or(task.attr.policy, policy);
            }
            Change::Policy(PolicyWord::Deadline, _) => {
                if !matches!(task.attr.policy, Policy::Deadline(_)) {
                    return Err(format!(
                        "task `{}` reserves nothing: write deadline:RUNTIME/PERIOD, such as \
                         policy=deadline:2ms/10ms",
                        shorten(&task.name)
                    ));
                }
            }
            Change::Reserve(params) => {
                // What it may do with its reservation stays.
                let flags = match task.attr.policy {
                    Policy::Deadline(had) => had,
                    _ => DlParams::default(),
                };
                let DlParams { reclaim, overrun_signal, .. } = flags;
                task.attr.policy =
                    Policy::Deadline(DlParams { reclaim, overrun_signal, ..*params });
            }
            Change::Reclaim(reclaim) => dl_change(task, |params| params.reclaim = *reclaim)?,
            Change::Overrun(signal) => dl_change(task, |params| params.overrun_signal = *signal)?,
            Change::RtTime(limit) => task.rttime = Some(*limit),
            Change::MemoryNode(node) => task.memory.node = *node,
            Change::MemoryBound(bound) => task.memory.bound = Some(*bound),
            Change::Runtime(ns) => dl_change(task, |params| params.runtime_ns = *ns)?,
            Change::Deadline(ns) => dl_change(task, |params| params.deadline_ns = *ns)?,
            Change::Period(ns) => dl_change(task, |params| {
                // An implicit deadline goes with its period.
                if params.is_implicit() {
                    params.deadline_ns = *ns;
                }
                params.period_ns = *ns;
            })?,
            Change::Priority(rt) => match task.attr.policy {
                Policy::Fifo(_) => task.attr.policy = Policy::Fifo(*rt),
                Policy::Rr(_) => task.attr.policy = Policy::Rr(*rt),
                other => {
                    return Err(format!(
                        "task `{}` is {}, which has no priority; set policy=fifo first, or nice",
                        shorten(&task.name),
                        other.name()
                    ));
                }
            },
            Change::Slice(slice_ns) => task.attr.slice_ns = *slice_ns,
            Change::Cpus(set) => task.affinity = set.clone(),
            Change::Start(start_ns) => task.start_ns = *start_ns,
            Change::ResetOnFork(reset) => task.attr.reset_on_fork = *reset,
            Change::Group(group) => task.group = *group,
        }
        Ok(())
    }
}

fn number(key: &str, value: &str, min: i128, max: i128) -> Result<i128, String> {
    let parsed: Option<i128> = value.parse().ok();
    match parsed {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("`{key}` cannot be {}; allowed: {min} to {max}", shorten(value))),
    }
}

/// A part of 1, at least so much.
fn part(key: &str, value: &str, least: f64) -> Result<Share, String> {
    match value.parse::<f64>() {
        Ok(number) if (least..=1.0).contains(&number) => Ok(share(number)),
        _ => Err(format!("`{key}` cannot be {}; allowed: {least} to 1", shorten(value))),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    let unknown = |_| format!("`{key}` cannot be `{}`; allowed: true, false", shorten(value));
    value.parse().map_err(unknown)
}

fn duration(key: &str, value: &str) -> Result<u64, String> {
    parse_duration(value).map_err(|bad| format!("`{key}`: {}; {}", bad.message, bad.help))
}

fn positive(key: &str, value: &str) -> Result<u64, String> {
    match duration(key, value)? {
        0 => Err(format!("`{key}` cannot be zero; write a duration like 3ms")),
        ns => Ok(ns),
    }
}
