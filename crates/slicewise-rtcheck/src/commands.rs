//! How to start a task with its parameters: `chrt` lines and systemd settings.

use crate::model::{Policy, Task};

/// A word of a shell command line.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./+=:@,".contains(c);
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with('-') {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The `chrt` options of a task.
fn chrt(task: &Task, priority: u8) -> String {
    match task.policy {
        Policy::Fifo => format!("chrt -f {priority}"),
        Policy::Rr => format!("chrt -r {priority}"),
        // The priority 0 may be left out from util-linux 2.42 on.
        Policy::Deadline => format!(
            "chrt -d -T {} -D {} -P {} 0",
            task.reserved_ns(),
            task.deadline_ns,
            task.period_ns
        ),
    }
}

/// A command line that starts the program of the task's name with the task's parameters.
pub fn chrt_line(task: &Task, priority: u8) -> String {
    let program = quoted(&task.name);
    let chrt = chrt(task, priority);
    match (task.policy, task.core) {
        // A deadline task must be allowed on every CPU of its root domain.
        (Policy::Deadline, _) | (_, None) => format!("{chrt} {program}"),
        (_, Some(core)) => format!("taskset -c {core} {chrt} {program}"),
    }
}

/// The lines for the `[Service]` section of a unit. systemd has no deadline policy: there, `chrt`
/// starts the program.
pub fn systemd_lines(task: &Task, priority: u8) -> Vec<String> {
    let word = match task.policy {
        Policy::Fifo => "fifo",
        Policy::Rr => "rr",
        Policy::Deadline => {
            let name = task.name.replace(|c: char| c.is_control() || c == '%', "_");
            return vec![format!(
                "ExecStart=/usr/bin/{} /usr/bin/{}",
                chrt(task, 0),
                quoted(&name)
            )];
        }
    };
    let mut lines =
        vec![format!("CPUSchedulingPolicy={word}"), format!("CPUSchedulingPriority={priority}")];
    lines.extend(task.core.map(|core| format!("CPUAffinity={core}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_priorities_and_cores_become_chrt_taskset_and_unit_lines() {
        let mut task = Task::new("controlsd", 1, 10);
        assert_eq!(chrt_line(&task, 53), "chrt -f 53 controlsd");
        task.core = Some(2);
        assert_eq!(chrt_line(&task, 53), "taskset -c 2 chrt -f 53 controlsd");
        let lines = ["CPUSchedulingPolicy=fifo", "CPUSchedulingPriority=53", "CPUAffinity=2"];
        assert_eq!(systemd_lines(&task, 53), lines);
        task.policy = Policy::Rr;
        assert_eq!(chrt_line(&task, 9), "taskset -c 2 chrt -r 9 controlsd");
    }

    #[test]
    fn reservations_become_chrt_lines_in_nanoseconds() {
        let mut task = Task::new("modeld", 10_000_000, 33_333_333);
        task.policy = Policy::Deadline;
        let line = "chrt -d -T 10000000 -D 33333333 -P 33333333 0 modeld";
        assert_eq!(chrt_line(&task, 0), line);
        task.runtime_ns = Some(12_000_000);
        let start =
            "ExecStart=/usr/bin/chrt -d -T 12000000 -D 33333333 -P 33333333 0 /usr/bin/modeld";
        assert_eq!(systemd_lines(&task, 0), [start]);
    }

    #[test]
    fn a_name_cannot_become_a_command() {
        assert_eq!(quoted("a; rm -rf ~"), "'a; rm -rf ~'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("-x"), "'-x'");
        assert_eq!(quoted(""), "''");
    }
}
