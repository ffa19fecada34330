//! Tables recorded on real kernels, replayed.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use slicewise_cgroup::{
    CpuStat, File, GroupId, Refused, Rules, Tree, TriggerRequest, Version, local_stat, pressure,
};
use slicewise_sched::psi::Line;

#[allow(unreachable_pub, reason = "an example and a test share it")]
mod table;

use table::{Step, parse_step, quoted};

struct Replay {
    version: Version,
    rules: Rules,
    tree: Tree,
    groups: BTreeMap<String, GroupId>,
}

fn done(result: Result<(), Refused>) -> String {
    result.map_or_else(|refused| refused.errno.to_string(), |()| "ok".to_owned())
}

fn text(result: Result<String, Refused>) -> String {
    result.map_or_else(|refused| refused.errno.to_string(), |text| quoted(text.as_bytes()))
}

impl Replay {
    fn new(version: Version, rules: Rules) -> Self {
        let groups = BTreeMap::from([(".".to_owned(), Tree::ROOT)]);
        Self { version, rules, tree: Tree::new(version, rules), groups }
    }

    fn group(&mut self, path: &str) -> String {
        let above = path.rsplit_once('/').map_or(".", |(above, _)| above);
        let group = self.tree.add(self.groups[above]).unwrap();
        self.groups.insert(path.to_owned(), group);
        "ok".to_owned()
    }

    fn write(&mut self, group: &str, name: &str, bytes: &[u8]) -> String {
        match (name, File::named(name)) {
            (_, Some(file)) => done(self.tree.write(self.groups[group], file, bytes)),
            ("cpu.pressure", _) if bytes.is_empty() => "ok".to_owned(),
            ("cpu.pressure", _) => {
                done(TriggerRequest::parse(bytes, &self.rules, true).map(|_| ()))
            }
            // Read-only.
            ("cpu.stat", _) => "EINVAL".to_owned(),
            ("cgroup.subtree_control", _) => "ok".to_owned(),
            other => panic!("not known: {other:?}"),
        }
    }

    fn read(&self, group: &str, name: &str) -> String {
        let stat = CpuStat { bandwidth: Some(Default::default()), ..CpuStat::default() };
        match (name, File::named(name)) {
            (_, Some(file)) => text(self.tree.read(self.groups[group], file)),
            ("cpu.stat", _) => quoted(stat.text(self.version, &self.rules).as_bytes()),
            ("cpu.stat.local", _) => {
                text(local_stat(0, self.version, &self.rules).ok_or(Refused {
                    errno: slicewise_cgroup::Errno::ENOENT,
                    why: slicewise_cgroup::Why::NoFile,
                }))
            }
            ("cpu.pressure", _) => quoted(pressure(&Line::default(), &Line::default()).as_bytes()),
            ("cgroup.subtree_control", _) => quoted(b"cpu\n"),
            other => panic!("not known: {other:?}"),
        }
    }
}

/// What differs, and how many steps there are.
fn replay(path: &Path) -> (Vec<String>, usize) {
    let name = path.file_stem().unwrap().to_string_lossy();
    let (version, kernel) = name.split_once('-').unwrap();
    let version = if version == "v1" { Version::V1 } else { Version::V2 };
    let mut replay = Replay::new(version, Rules::named(kernel).unwrap());
    let (mut differences, mut steps) = (Vec::new(), 0);
    for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
        let Some((step, truth)) = parse_step(line) else { continue };
        let got = match step {
            Step::Group(path) => replay.group(&path),
            Step::Remove(_) => "ok".to_owned(),
            Step::Write(group, file, bytes) => replay.write(&group, &file, &bytes),
            Step::Read(group, file) => replay.read(&group, &file),
        };
        steps += 1;
        if got != truth {
            differences.push(format!("{name}:{}: {line}\n    got {got}", number + 1));
        }
    }
    (differences, steps)
}

#[test]
fn files_do_what_they_did_on_real_kernels() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/truth");
    // Other tables can be held against the rules as well.
    let other = std::env::var("SLICEWISE_CGROUP_TRUTH");
    let mut tables = 0;
    for entry in fs::read_dir(other.as_deref().unwrap_or(own)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Cpusets have tables of their own.
            continue;
        }
        let (differences, steps) = replay(&path);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert!(steps > 500);
        tables += 1;
    }
    assert!(tables == 8 || other.is_ok());
}
