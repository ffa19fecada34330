//! Tables of cpusets recorded on real kernels, replayed.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use slicewise_cgroup::cpuset::{Boot, CpusetFile, CpusetId, CpusetMachine, CpusetTask, Cpusets};
use slicewise_cgroup::{Errno, Refused, Rules, Version};
use slicewise_sched::{CpuId, CpuSet};

#[allow(unreachable_pub, dead_code, reason = "an example and a test share it")]
mod cpuset_table;

use cpuset_table::{Op, Readings, apply_reading, forget, parse_op};

const MACHINE: CpusetMachine = CpusetMachine { cpus: 8, nodes: 2 };

struct Replay {
    version: Version,
    rules: Rules,
    boot: Boot,
    model: Cpusets,
    groups: BTreeMap<String, CpusetId>,
    tasks: BTreeMap<String, CpusetTask>,
}

fn done<T>(result: Result<T, Refused>) -> String {
    result.map_or_else(|refused| refused.errno.to_string(), |_| "ok".to_owned())
}

impl Replay {
    fn new(version: Version, rules: Rules, boot: Boot) -> Self {
        let model = Cpusets::new(version, &rules, MACHINE, boot.clone());
        let groups = BTreeMap::from([(".".to_owned(), Cpusets::ROOT)]);
        Self { version, rules, boot, model, groups, tasks: BTreeMap::new() }
    }

    fn perform(&mut self, op: &Op) -> String {
        let model = &mut self.model;
        let group = |path: &str| self.groups.get(path).copied();
        match op {
            Op::Reset => {
                *self = Self::new(self.version, self.rules, self.boot.clone());
                "ok".to_owned()
            }
            Op::Mkdir(path) => {
                let above = path.rsplit_once('/').map_or(".", |(above, _)| above);
                let Some(above) = group(above) else { return "ENOENT".to_owned() };
                if group(path).is_some() {
                    return "EEXIST".to_owned();
                }
                let made = model.mkdir(above);
                if let Ok(made) = &made {
                    self.groups.insert(path.clone(), *made);
                }
                done(made)
            }
            Op::Rmdir(path) => {
                let Some(id) = group(path) else { return "ENOENT".to_owned() };
                let removed = model.rmdir(id);
                if removed.is_ok() {
                    self.groups.remove(path);
                }
                done(removed)
            }
            Op::Write(path, file, text) => {
                let Some(id) = group(path) else { return "ENOENT".to_owned() };
                let file = CpusetFile::named(&format!("cpuset.{file}"), self.version);
                let Some(file) = file else { return "ENOENT".to_owned() };
                done(model.write(id, file, format!("{text}\n").as_bytes()))
            }
            Op::Spawn(task) => {
                self.tasks.insert(task.clone(), model.spawn());
                "ok".to_owned()
            }
            Op::Kill(task) => {
                model.exit(self.tasks.remove(task).unwrap());
                "ok".to_owned()
            }
            Op::Move(task, path) => {
                let Some(id) = group(path) else { return "ENOENT".to_owned() };
                let Some(task) = self.tasks.get(task) else { return Errno::ESRCH.to_string() };
                done(model.attach(*task, id))
            }
            Op::Affinity(task, list) => {
                let Some(task) = self.tasks.get(task) else { return Errno::ESRCH.to_string() };
                done(model.set_affinity(*task, &CpuSet::parse_list(list).unwrap()))
            }
            Op::Offline(cpu) => done(model.offline(CpuId(*cpu))),
            Op::Online(cpu) => done(model.online(CpuId(*cpu))),
        }
    }

    fn readings(&self) -> Readings {
        let mut readings = Readings::new();
        for (path, id) in &self.groups {
            for file in CpusetFile::ALL {
                if let Ok(text) = self.model.read(*id, file) {
                    let name = file.name(self.version).unwrap().trim_start_matches("cpuset.");
                    readings.insert(format!("{path} {name}"), text.trim_end().to_owned());
                }
            }
        }
        for (name, task) in &self.tasks {
            readings.insert(format!("task {name}"), self.model.mask(*task).unwrap().to_string());
        }
        readings.insert("sys online".to_owned(), self.model.online_cpus().to_string());
        // A domain of one CPU cannot be told from none.
        let list =
            |set: &CpuSet| set.iter().map(|cpu| cpu.0.to_string()).collect::<Vec<_>>().join(",");
        let domains = self.model.sched_domains();
        let wide: Vec<String> =
            domains.iter().filter(|set| set.iter().count() > 1).map(list).collect();
        readings.insert("domains".to_owned(), wide.join(" "));
        readings
    }
}

#[derive(Default)]
struct Outcome {
    steps: usize,
    agreeing: usize,
    episodes: usize,
    /// The first difference of each episode that has one.
    differences: Vec<String>,
}

fn replay(path: &Path) -> Outcome {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut words = name.split('-').skip_while(|word| !word.starts_with('v'));
    let version = if words.next() == Some("v1") { Version::V1 } else { Version::V2 };
    let rules = Rules::named(words.next().unwrap()).unwrap();
    let text = fs::read_to_string(path).unwrap();
    let boot = text.lines().find_map(|line| line.strip_prefix("boot ")).unwrap_or_default();
    let boot = Boot::parse(boot, MACHINE.cpus).unwrap();
    let mut replay = Replay::new(version, rules, boot.clone());
    let mut truth = Readings::new();
    let mut outcome = Outcome::default();
    let lines: Vec<&str> = text.lines().collect();
    let (mut skipping, mut leaked) = (false, false);
    for (number, line) in lines.iter().enumerate() {
        let Some((op, result)) = parse_op(line) else { continue };
        if result == "ok" {
            forget(&op, &mut truth);
        }
        for reading in lines[number + 1..].iter().take_while(|line| line.starts_with(' ')) {
            apply_reading(reading, &mut truth);
        }
        outcome.steps += 1;
        if op == Op::Reset {
            skipping = false;
            outcome.episodes += 1;
        }
        if skipping {
            continue;
        }
        let got = match &op {
            // There the recorder's own mask depends on what happened before, and its children inherit
            // it.
            Op::Spawn(task) if !replay.rules.cpusets.root_masks_have_offline_cpus => {
                let mask = CpuSet::parse_list(&truth[&format!("task {task}")]).unwrap();
                replay.tasks.insert(task.clone(), replay.model.spawn_with(&mask));
                "ok".to_owned()
            }
            _ => replay.perform(&op),
        };
        if op == Op::Reset && truth.get(". sched_load_balance").is_some_and(|flag| flag == "0") {
            // The root group's own flag stays as it was.
            let file = CpusetFile::SchedLoadBalance;
            replay.model.write(Cpusets::ROOT, file, b"0").unwrap();
        }
        if op == Op::Reset {
            let isolated = boot.isolated_domain.to_string();
            leaked = truth.get(". cpus.isolated").is_some_and(|list| *list != isolated);
        }
        let readings = replay.readings();
        let mut wrong = Vec::new();
        if got != result {
            wrong.push(format!("= {got}"));
        }
        for (name, value) in &truth {
            let own = readings.get(name);
            // Kernels may forget to take CPUs out of this list when groups are removed.
            let is_leak = leaked && name == ". cpus.isolated";
            let is_of_boot = matches!(name.as_str(), "sys isolated" | "sys nohz_full");
            if !is_leak && !is_of_boot && own != Some(value) {
                wrong.push(format!("{name}: kernel `{value}`, here `{}`", own.map_or("-", |v| v)));
            }
        }
        if !wrong.is_empty() {
            skipping = true;
            let wrong = wrong.join("\n    ");
            outcome.differences.push(format!("{name}:{}: {line}\n    {wrong}", number + 1));
        } else {
            outcome.agreeing += 1;
        }
    }
    outcome
}

/// Episodes in which the model does not do what the kernel did: the table, the line where they part,
/// and what differs there.
const KNOWN: &str = "truth/cpuset/differs.txt";

#[test]
fn cpusets_do_what_they_did_on_real_kernels() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/truth/cpuset");
    let other = std::env::var("SLICEWISE_CGROUP_TRUTH");
    let mut all = Vec::new();
    let dir = fs::read_dir(other.as_deref().unwrap_or(own)).unwrap();
    let mut paths: Vec<_> = dir.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut tables = 0;
    let mut rows = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "differs" {
            continue;
        }
        let outcome = replay(&path);
        let whole = outcome.episodes - outcome.differences.len();
        rows.push(format!(
            "| {name} | {} of {} | {whole} of {} |",
            outcome.agreeing, outcome.steps, outcome.episodes
        ));
        all.extend(outcome.differences);
        tables += 1;
    }
    if other.is_ok() {
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
    assert_eq!(tables, 13);
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cpusets.md");
    let table = rows.join("\n");
    assert!(
        fs::read_to_string(docs).unwrap().contains(&table),
        "docs/cpusets.md says not:\n{table}"
    );
    let known =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/truth/cpuset/differs.txt"));
    let known = known.unwrap();
    let known: Vec<&str> = known.lines().filter(|line| !line.starts_with('#')).collect();
    let place = |difference: &str| difference.lines().next().unwrap().to_owned();
    let found: Vec<String> = all.iter().map(|difference| place(difference)).collect();
    let new: Vec<&String> = all.iter().filter(|it| !known.contains(&place(it).as_str())).collect();
    assert!(new.is_empty(), "not in {KNOWN}: {new:#?}");
    let gone: Vec<&&str> =
        known.iter().filter(|line| !found.contains(&(**line).to_owned())).collect();
    assert!(gone.is_empty(), "in {KNOWN}, but no difference: {gone:#?}");
}
