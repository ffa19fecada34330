//! Does the operations of a cpuset table to a real kernel and prints the table with what came of
//! them: `record_cpuset v2 /sys/fs/cgroup < truth/cpuset/v2-6.12.txt`.
//!
//! It must be root on a machine of its own: groups are made and removed, tasks started, CPUs taken
//! offline. The directory is the root of the hierarchy. Results and readings in the input are
//! ignored; comments are kept.

#![allow(clippy::print_stdout, reason = "an example for the terminal")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::thread::{CpuSet, Pid, sched_setaffinity};

#[path = "../tests/cpuset_table/mod.rs"]
#[allow(unreachable_pub, dead_code, reason = "an example and a test share it")]
mod cpuset_table;

use cpuset_table::{Op, Readings, forget, parse_op, reading_line};

const V2_FILES: &[&str] = &[
    "cpus",
    "cpus.effective",
    "cpus.exclusive",
    "cpus.exclusive.effective",
    "cpus.isolated",
    "cpus.partition",
    "mems",
    "mems.effective",
];
const V1_FILES: &[&str] = &[
    "cpus",
    "effective_cpus",
    "cpu_exclusive",
    "mem_exclusive",
    "sched_load_balance",
    "mems",
    "effective_mems",
];

struct Recorder {
    v2: bool,
    root: PathBuf,
    groups: Vec<String>,
    tasks: BTreeMap<String, Child>,
    offline: Vec<u32>,
}

fn name_of(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(1) => "EPERM",
        Some(2) => "ENOENT",
        Some(3) => "ESRCH",
        Some(7) => "E2BIG",
        Some(13) => "EACCES",
        Some(16) => "EBUSY",
        Some(17) => "EEXIST",
        Some(22) => "EINVAL",
        Some(28) => "ENOSPC",
        Some(34) => "ERANGE",
        Some(75) => "EOVERFLOW",
        Some(95) => "EOPNOTSUPP",
        other => return format!("errno {other:?}"),
    };
    name.to_owned()
}

fn done(result: io::Result<()>) -> String {
    result.map_or_else(|error| name_of(&error), |()| "ok".to_owned())
}

/// One write(2): a second one would be a second setting.
fn write_once(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let written = file.write(text.as_bytes())?;
    if written == text.len() { Ok(()) } else { Err(io::Error::other("a short write")) }
}

fn settle() {
    std::thread::sleep(Duration::from_millis(20));
}

impl Recorder {
    fn dir(&self, group: &str) -> PathBuf {
        if group == "." { self.root.clone() } else { self.root.join(group) }
    }

    fn hotplug(&mut self, cpu: u32, online: bool) -> io::Result<()> {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/online");
        write_once(Path::new(&path), if online { "1" } else { "0" })?;
        self.offline.retain(|other| *other != cpu);
        if !online {
            self.offline.push(cpu);
        }
        Ok(())
    }

    fn end(&mut self, task: &str) -> io::Result<()> {
        let Some(mut child) = self.tasks.remove(task) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        child.kill()?;
        child.wait().map(drop)
    }

    fn perform(&mut self, op: &Op) -> io::Result<()> {
        match op {
            Op::Reset => {
                for task in self.tasks.keys().cloned().collect::<Vec<_>>() {
                    self.end(&task)?;
                }
                settle();
                while let Some(group) = self.groups.pop() {
                    fs::remove_dir(self.dir(&group))?;
                }
                for cpu in self.offline.clone() {
                    self.hotplug(cpu, true)?;
                }
                settle();
                Ok(())
            }
            Op::Mkdir(group) => {
                let above = group.rsplit_once('/').map_or(".", |(above, _)| above);
                if self.v2 && above != "." {
                    write_once(&self.dir(above).join("cgroup.subtree_control"), "+cpuset")?;
                }
                fs::create_dir(self.dir(group))?;
                self.groups.push(group.clone());
                Ok(())
            }
            Op::Rmdir(group) => {
                fs::remove_dir(self.dir(group))?;
                self.groups.retain(|other| other != group);
                settle();
                Ok(())
            }
            Op::Write(group, file, text) => {
                let path = self.dir(group).join(format!("cpuset.{file}"));
                write_once(&path, &format!("{text}\n"))
            }
            Op::Spawn(task) => {
                let child = Command::new("/proc/self/exe").arg("sleep").spawn()?;
                self.tasks.insert(task.clone(), child);
                settle();
                Ok(())
            }
            Op::Kill(task) => {
                self.end(task)?;
                settle();
                Ok(())
            }
            Op::Move(task, group) => {
                let Some(child) = self.tasks.get(task) else {
                    return Err(io::Error::from_raw_os_error(3));
                };
                write_once(&self.dir(group).join("cgroup.procs"), &child.id().to_string())
            }
            Op::Affinity(task, list) => {
                let Some(child) = self.tasks.get(task) else {
                    return Err(io::Error::from_raw_os_error(3));
                };
                let mut set = CpuSet::new();
                for part in list.split(',').filter(|part| !part.is_empty()) {
                    let (low, high) = part.split_once('-').unwrap_or((part, part));
                    for cpu in low.parse().unwrap_or(0)..=high.parse::<usize>().unwrap_or(0) {
                        set.set(cpu);
                    }
                }
                let pid = Pid::from_raw(child.id() as i32);
                sched_setaffinity(pid, &set).map_err(Into::into)
            }
            Op::Offline(cpu) => self.hotplug(*cpu, false),
            Op::Online(cpu) => self.hotplug(*cpu, true),
        }
    }

    fn readings(&self) -> Readings {
        let mut readings = Readings::new();
        let files = if self.v2 { V2_FILES } else { V1_FILES };
        for group in self.groups.iter().map(String::as_str).chain(["."]) {
            for file in files {
                let path = self.dir(group).join(format!("cpuset.{file}"));
                if let Ok(text) = fs::read_to_string(path) {
                    readings.insert(format!("{group} {file}"), text.trim_end().to_owned());
                }
            }
        }
        for (task, child) in &self.tasks {
            let status =
                fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            readings.insert(format!("task {task}"), list.unwrap_or("?").trim().to_owned());
        }
        for file in ["isolated", "nohz_full", "online"] {
            let text = fs::read_to_string(format!("/sys/devices/system/cpu/{file}"));
            readings.insert(format!("sys {file}"), text.unwrap_or_default().trim().to_owned());
        }
        readings.insert("domains".to_owned(), domains());
        readings
    }
}

/// The sets of CPUs that are balanced among each other, of two or more: the widest domain of each
/// CPU in `/proc/schedstat`.
fn domains() -> String {
    let text = fs::read_to_string("/proc/schedstat").unwrap_or_default();
    let mut sets: Vec<u64> = Vec::new();
    let mut widest = 0;
    for line in text.lines().chain(["cpu"]) {
        if line.starts_with("cpu") {
            if widest != 0 && !sets.contains(&widest) {
                sets.push(widest);
            }
            widest = 0;
        } else if line.starts_with("domain") {
            let mask = line.split(' ').find_map(|word| {
                let hex = word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
                // The name of a domain comes before its mask in newer kernels, and has other letters.
                hex.then(|| u64::from_str_radix(word, 16).ok()).flatten()
            });
            widest |= mask.unwrap_or(0);
        }
    }
    let list = |set: &u64| {
        let cpus = (0..64).filter(|cpu| set >> cpu & 1 == 1).map(|cpu: u32| cpu.to_string());
        cpus.collect::<Vec<_>>().join(",")
    };
    sets.sort_by_key(|set| set.trailing_zeros());
    sets.iter().map(list).collect::<Vec<_>>().join(" ")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "sleep") {
        loop {
            std::thread::park();
        }
    }
    let [version, root] = &arguments[..] else { panic!("record_cpuset v1|v2 DIRECTORY") };
    let mut recorder = Recorder {
        v2: version == "v2",
        root: PathBuf::from(root),
        groups: Vec::new(),
        tasks: BTreeMap::new(),
        offline: Vec::new(),
    };
    let mut before = Readings::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let Some((op, _)) = parse_op(&line) else {
            if !line.starts_with(' ') {
                println!("{line}");
            }
            continue;
        };
        let text = line.rsplit_once(" = ").map_or(line.as_str(), |(text, _)| text);
        let result = done(recorder.perform(&op));
        println!("{text} = {result}");
        if result == "ok" {
            forget(&op, &mut before);
        }
        if matches!(op, Op::Offline(_) | Op::Online(_)) || !recorder.v2 {
            settle();
        }
        let mut now = recorder.readings();
        // What the kernel does later than at once: until two readings say the same.
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(2));
            let again = recorder.readings();
            if again == now {
                break;
            }
            now = again;
        }
        for (name, value) in &now {
            if before.get(name) != Some(value) {
                println!("{}", reading_line(name, value));
            }
        }
        before = now;
    }
}
