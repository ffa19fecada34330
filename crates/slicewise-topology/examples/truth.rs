//! What a guest printed (`truth/collect.sh`) as the two texts of `truth/`:
//! `cargo run -p slicewise-topology --example truth -- RAW KERNEL CASE DIRECTORY`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a tool for developers")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The lines of a part of the text.
fn part<'t>(text: &'t str, name: &str) -> impl Iterator<Item = &'t str> {
    let head = format!("@@{name}");
    let mut lines = text.lines().skip_while(move |line| *line != head);
    lines.next();
    lines.take_while(|line| !line.starts_with("@@"))
}

/// What a reader of topologies may want to know; the rest is left out to keep the texts short.
fn is_kept(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    if path.contains("/cache/index1/") || path.contains("/acpi_cppc/") {
        return false;
    }
    if path.contains("/cache/") {
        return ["level", "type", "size", "shared_cpu_list"].contains(&name);
    }
    if path.contains("/topology/") {
        return [
            "core_id",
            "physical_package_id",
            "die_id",
            "cluster_id",
            "core_cpus_list",
            "cluster_cpus_list",
        ]
        .contains(&name);
    }
    !["cpumap", "kernel_max", "uevent"].contains(&name)
}

fn sysfs(text: &str) -> String {
    let mut kept = String::new();
    for line in part(text, "SYS") {
        if is_kept(line.split_once(':').unwrap().0) {
            writeln!(kept, "{}", line.trim_end()).unwrap();
        }
    }
    kept
}

/// The last attachment of each CPU: spans and groups of its domains, lowest first.
type Attached = BTreeMap<u32, Vec<(String, String, String)>>;

/// From the messages of `sched_verbose`.
fn attached(text: &str) -> (Attached, Vec<String>) {
    let mut attached = Attached::new();
    let mut roots = Vec::new();
    let mut cpu = None;
    for line in part(text, "DMESG") {
        let Some((_, message)) = line.split_once("] ") else { continue };
        let message = message.trim();
        if let Some(rest) = message.strip_prefix("CPU") {
            let Some((number, what)) = rest.split_once(" attaching ") else { continue };
            let number: u32 = number.parse().unwrap();
            cpu = Some(number);
            attached.insert(number, Vec::new());
            assert!(what.contains("sched-domain"), "{message}");
        } else if let Some(rest) = message.strip_prefix("domain-") {
            let span = word_after(rest, "span=");
            let level = word_after(rest, "level=");
            attached.get_mut(&cpu.unwrap()).unwrap().push((level, span, String::new()));
        } else if let Some(rest) = message.strip_prefix("groups:") {
            let mut groups = Vec::new();
            for group in rest.split('{').skip(1) {
                let mut shown = word_after(group, "span=");
                if group.contains("mask=") {
                    shown = format!("{shown}/{}", word_after(group, "mask="));
                }
                groups.push(shown);
            }
            attached.get_mut(&cpu.unwrap()).unwrap().last_mut().unwrap().2 = groups.join(" ");
        } else if let Some(rest) = message.strip_prefix("root domain span: ") {
            roots.push(rest.split(' ').next().unwrap().to_owned());
        }
    }
    (attached, roots)
}

fn word_after(text: &str, key: &str) -> String {
    let (_, rest) = text.split_once(key).unwrap_or_else(|| panic!("{text}: no {key}"));
    rest.split([' ', '}']).next().unwrap().to_owned()
}

/// The CPUs of a mask as the kernel prints it, as a list.
fn list_of_mask(mask: &str) -> String {
    let mut cpus = Vec::new();
    let digits: String = mask.chars().filter(|c| *c != ',').collect();
    for (place, digit) in digits.chars().rev().enumerate() {
        let digit = digit.to_digit(16).unwrap();
        cpus.extend((0..4).filter(|bit| digit >> bit & 1 == 1).map(|bit| place as u32 * 4 + bit));
    }
    let mut list = String::new();
    let mut at = 0;
    while at < cpus.len() {
        let first = at;
        while at + 1 < cpus.len() && cpus[at + 1] == cpus[at] + 1 {
            at += 1;
        }
        let comma = if list.is_empty() { "" } else { "," };
        match first == at {
            true => write!(list, "{comma}{}", cpus[at]).unwrap(),
            false => write!(list, "{comma}{}-{}", cpus[first], cpus[at]).unwrap(),
        }
        at += 1;
    }
    list
}

/// The spans `/proc/schedstat` has, CPU by CPU.
fn schedstat(text: &str) -> BTreeMap<u32, Vec<String>> {
    let mut spans: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut named = false;
    let mut cpu = 0;
    for line in part(text, "STAT") {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "version" {
            named = words[1].parse::<u32>().unwrap() >= 17;
        } else if let Some(number) = words[0].strip_prefix("cpu") {
            cpu = number.parse().unwrap();
            spans.insert(cpu, Vec::new());
        } else {
            let mask = words[if named { 2 } else { 1 }];
            spans.get_mut(&cpu).unwrap().push(list_of_mask(mask));
        }
    }
    spans
}

fn flags(text: &str) -> String {
    let short: Vec<&str> =
        text.split_whitespace().map(|flag| flag.strip_prefix("SD_").unwrap()).collect();
    if short.is_empty() { "-".to_owned() } else { short.join(",") }
}

fn domains(text: &str, kernel: &str) -> String {
    let mut files: BTreeMap<(u32, usize), BTreeMap<&str, &str>> = BTreeMap::new();
    for line in part(text, "DOM") {
        let (path, value) = line.split_once(':').unwrap();
        let mut parts = path.split('/');
        let cpu = parts.next().unwrap().strip_prefix("cpu").unwrap().parse().unwrap();
        let level = parts.next().unwrap().strip_prefix("domain").unwrap().parse().unwrap();
        files.entry((cpu, level)).or_default().insert(parts.next().unwrap(), value);
    }
    let (attached, mut roots) = attached(text);
    let spans = schedstat(text);
    let mut out = format!("# Linux {kernel}\n");
    roots.dedup();
    for root in roots {
        writeln!(out, "# root domain {root}").unwrap();
    }
    for ((cpu, level), files) in &files {
        let (name, span, groups) = &attached[cpu][*level];
        assert_eq!(*span, spans[cpu][*level], "cpu {cpu} domain {level}: dmesg and schedstat");
        // Levels had other names in messages than in debugfs only if a later boot changed them.
        assert_eq!(name, files["name"], "cpu {cpu} domain {level}");
        write!(out, "{cpu} {level} {name} {span} {}", flags(files["flags"])).unwrap();
        for key in
            ["min_interval", "max_interval", "busy_factor", "imbalance_pct", "cache_nice_tries"]
        {
            write!(out, " {}", files[key]).unwrap();
        }
        write!(out, " | {groups}").unwrap();
        if let Some(of_groups) = files.get("groups_flags") {
            write!(out, " | {}", flags(of_groups)).unwrap();
        }
        out.push('\n');
    }
    // A domain that is attached but has no directory would be lost.
    let attached: usize = attached.values().map(Vec::len).sum();
    assert_eq!(attached, files.len(), "domains attached and domains in debugfs");
    out
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [raw, kernel, case, directory] = arguments.as_slice() else {
        eprintln!("RAW KERNEL CASE DIRECTORY are wanted");
        std::process::exit(2);
    };
    let text = std::fs::read_to_string(raw).unwrap();
    assert!(text.contains("@@END"), "{raw} is not whole");
    let write = |kind: &str, text: String| {
        std::fs::write(format!("{directory}/{case}.{kernel}.{kind}"), text).unwrap();
    };
    write("sysfs", sysfs(&text));
    write("domains", domains(&text, kernel));
}
