//! The guest's part: cgroups are made, loads started in them, and their files read twice.

use std::fmt::Write as _;

use super::GroupCase;
use crate::guest::HEAD;
use crate::initramfs::LOAD_PROGRAM;

const CGROUPS: &str = "/sys/fs/cgroup";

/// The files of the case, by path in the guest.
pub(super) fn files(case: &GroupCase) -> Result<Vec<(String, String)>, String> {
    let mut files = vec![(format!("cases/{}.toml", case.name), case.scenario.clone())];
    for name in case.files.keys() {
        files.push((format!("cases/{name}"), case.file(name)?));
    }
    Ok(files)
}

/// What the guest does.
pub(super) fn script(case: &GroupCase) -> Result<String, String> {
    let groups = case.cgroups()?;
    let mut script = HEAD.to_owned();
    script.push_str("sleep 2\n{ about\nmkdir /out/0; cd /out/0\n");
    let _ = writeln!(script, "export TURNS=$({LOAD_PROGRAM} calibrate)\necho turns_per_ms $TURNS");
    for group in &groups {
        let path = &group.path;
        if let Some((parent, _)) = path.rsplit_once('/') {
            let _ = writeln!(script, "echo +cpu > {CGROUPS}/{parent}/cgroup.subtree_control");
        }
        let _ = writeln!(script, "mkdir {CGROUPS}/{path}");
        for (file, text) in &group.writes {
            let _ = writeln!(
                script,
                "echo '{text}' > {CGROUPS}/{path}/{file} || echo 'cannot write {path}/{file}'"
            );
        }
    }
    let loaded = case.loaded()?;
    let has_own_tasks = |path: &str| {
        loaded.workload.tasks.iter().any(|task| {
            let of = task.group.and_then(|group| loaded.workload.groups.get(group as usize));
            of.map_or("", |group| &group.path) == path
        })
    };
    let own = format!(
        "{LOAD_PROGRAM} load /cases/{}.toml --seconds {} --turns $TURNS",
        case.name,
        case.duration_s()
    );
    for group in &groups {
        let path = &group.path;
        let enter = format!("echo $$ > {CGROUPS}/{path}/cgroup.procs");
        if let Some(file) = &group.workload {
            let _ = writeln!(script, "sh -c '{enter}; exec rt-app /cases/{file}' > /dev/null &");
        } else if has_own_tasks(path) {
            let _ = writeln!(script, "sh -c '{enter}; exec {own} --group {path}' &");
        }
    }
    if has_own_tasks("") {
        let _ = writeln!(script, "{own} --group / &");
    }
    let paths: Vec<&str> = groups.iter().map(|group| group.path.as_str()).collect();
    let snapshot =
        |name: &str| format!("chrt -f 90 {LOAD_PROGRAM} snapshot {name} {}", paths.join(" "));
    let _ = writeln!(script, "{}", seconds(case.warmup_ms));
    let _ = writeln!(script, "{}", snapshot("before.txt"));
    let _ = writeln!(script, "{}", seconds(case.measured_ms));
    let _ = writeln!(script, "{}", snapshot("after.txt"));
    let _ = writeln!(script, "}} > /tmp/stdout.txt 2>&1");
    let _ = writeln!(script, "mv /tmp/stdout.txt /out/0/\nsend groups-{}", case.name);
    Ok(script)
}

fn seconds(ms: u32) -> String {
    format!("sleep {}.{:03}", ms / 1000, ms % 1000)
}
