//! The tables of what cpusets did on real kernels: an operation a line with its result, and below it,
//! indented, every reading that it changed.
//!
//! ```text
//! mkdir a = ok
//!   a cpus.effective : 0-7
//! write a cpus 0-3 = ok
//!   a cpus : 0-3
//!   a cpus.effective : 0-3
//! spawn t = ok
//! move t a = ok
//!   task t : 0-3
//! offline 3 = ok
//! ```
//!
//! `write G F` without a text writes an empty line. `reset` kills all tasks, removes all groups and
//! brings all CPUs back. Readings of what is gone are gone, empty ones have no value.
//! `boot PARAMETERS` says how the kernel was booted.

use std::collections::BTreeMap;

/// An operation of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Everything as it was after boot.
    Reset,
    /// Makes a group.
    Mkdir(String),
    /// Removes a group.
    Rmdir(String),
    /// Writes a text and a newline to a file of a group, `cpus` for `cpuset.cpus`.
    Write(String, String, String),
    /// Starts a task in the root group.
    Spawn(String),
    /// Ends a task.
    Kill(String),
    /// Moves a task into a group.
    Move(String, String),
    /// sched_setaffinity(2) of a task to a list of CPUs.
    Affinity(String, String),
    /// Takes a CPU offline.
    Offline(u32),
    /// Brings a CPU back.
    Online(u32),
}

/// An operation of a line and its result; `None` for comments, readings and the like.
pub fn parse_op(line: &str) -> Option<(Op, &str)> {
    if line.starts_with([' ', '#']) || line.trim().is_empty() {
        return None;
    }
    let (text, result) = line.rsplit_once(" = ").unwrap_or((line, ""));
    let words: Vec<&str> = text.split(' ').collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default().to_owned();
    let number = || word(1).parse().expect("a CPU");
    let op = match words[0] {
        "reset" => Op::Reset,
        "mkdir" => Op::Mkdir(word(1)),
        "rmdir" => Op::Rmdir(word(1)),
        "write" => Op::Write(word(1), word(2), words.get(3..).unwrap_or_default().join(" ")),
        "spawn" => Op::Spawn(word(1)),
        "kill" => Op::Kill(word(1)),
        "move" => Op::Move(word(1), word(2)),
        "affinity" => Op::Affinity(word(1), word(2)),
        "offline" => Op::Offline(number()),
        "online" => Op::Online(number()),
        "boot" => return None,
        other => panic!("not known: {other}"),
    };
    Some((op, result))
}

/// What is read: `a cpus.effective`, `task t`, `domains`.
pub type Readings = BTreeMap<String, String>;

/// A line of a reading.
pub fn reading_line(name: &str, value: &str) -> String {
    format!("  {name} : {value}").trim_end().to_owned()
}

/// Takes out what an operation makes go away: of that, a table has no lines.
pub fn forget(op: &Op, readings: &mut Readings) {
    let is_gone = |name: &str| match op {
        Op::Reset => !name.starts_with(['.', 's', 'd']),
        Op::Rmdir(path) => name.strip_prefix(path.as_str()).is_some_and(|it| it.starts_with(' ')),
        Op::Kill(task) => name.strip_prefix("task ") == Some(task),
        _ => false,
    };
    readings.retain(|name, _| !is_gone(name));
}

/// Takes over what a line says of a reading.
pub fn apply_reading(line: &str, readings: &mut Readings) {
    let Some((name, value)) = line.trim_start().split_once(" :") else { return };
    readings.insert(name.to_owned(), value.trim_start().to_owned());
}
