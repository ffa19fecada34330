//! Cpusets and boot parameters in scenarios: what they leave to tasks and tell the scheduler.

#![allow(clippy::unwrap_used, reason = "a test")]

use slicewise_sched::{CpuSet, Profile};
use slicewise_workload::{Diagnostic, Format, Loaded, apply_set, load, settle_cpusets};

fn settled(text: &str, kernel: &str) -> (Loaded, Vec<Diagnostic>) {
    let mut loaded = load(text, Format::Scenario).unwrap();
    let cpus = loaded.settings.cpus.unwrap_or(8);
    let said = settle_cpusets(&mut loaded, &Profile::named(kernel).unwrap(), cpus);
    (loaded, said)
}

fn task(name: &str, more: &str) -> String {
    format!("[[task]]\nname = \"{name}\"\n{more}\nprogram = [{{ run = \"1ms\" }}]\n")
}

fn shown(sets: &[CpuSet]) -> Vec<String> {
    sets.iter().map(ToString::to_string).collect()
}

fn affinities(loaded: &Loaded) -> Vec<String> {
    let sets: Vec<CpuSet> =
        loaded.workload.tasks.iter().map(|task| task.affinity.clone()).collect();
    shown(&sets)
}

#[test]
fn a_partition_takes_its_cpus_from_everyone_else() {
    let text = format!(
        "[machine]\ncpus = 8\n[[group]]\npath = \"rt\"\n\"cpuset.cpus\" = \"6-7\"\n\
         \"cpuset.cpus.partition\" = \"isolated\"\n[[group]]\npath = \"web\"\ncpuset.cpus = \"0-3\"\n{}{}{}{}",
        task("loop", "group = \"rt\""),
        task("web", "group = \"web\""),
        task("pinned", "group = \"web\"\ncpus = \"2-7\""),
        task("other", ""),
    );
    let (loaded, said) = settled(&text, "6.12");
    assert_eq!(said, []);
    assert_eq!(affinities(&loaded), ["6-7", "0-3", "2-3", "0-5"]);
    assert_eq!(shown(&loaded.cpu_partitions.domains), ["0-5"]);
    assert_eq!(loaded.cpu_partitions.isolated.to_string(), "6-7");
}

#[test]
fn isolcpus_keeps_out_whoever_does_not_name_the_cpus() {
    let text = format!(
        "[machine]\ncpus = 4\nisolcpus = \"managed_irq,domain,2-3\"\nnohz_full = \"3\"\n{}{}",
        task("plain", ""),
        task("pinned", "cpus = \"3\""),
    );
    let (mut loaded, said) = settled(&text, "6.12");
    assert_eq!(said, []);
    assert_eq!(affinities(&loaded), ["0-1", "3"]);
    let partitions = &loaded.cpu_partitions;
    assert_eq!(shown(&partitions.domains), ["0-1"]);
    assert_eq!(
        (partitions.isolated.to_string(), partitions.nohz_full.to_string()),
        ("2-3".into(), "3".into())
    );
    apply_set(&mut loaded, "isolcpus=1").unwrap();
    assert!(apply_set(&mut loaded, "isolcpus=1-").unwrap_err().contains("a number is missing"));
    assert!(settle_cpusets(&mut loaded, &Profile::named("6.12").unwrap(), 4).is_empty());
    assert_eq!(loaded.cpu_partitions.isolated.to_string(), "1");
}

#[test]
fn a_remote_partition_needs_a_kernel_that_has_them() {
    let text = format!(
        "[machine]\ncpus = 8\n[[group]]\npath = \"a\"\n\"cpuset.cpus.exclusive\" = \"4-7\"\n\
         [[group]]\npath = \"a/b\"\n\"cpuset.cpus.exclusive\" = \"6-7\"\n\
         \"cpuset.cpus.partition\" = \"root\"\n{}",
        task("t", "group = \"a/b\"")
    );
    let (loaded, said) = settled(&text, "6.12");
    assert_eq!(said, []);
    assert_eq!(shown(&loaded.cpu_partitions.domains), ["0-5", "6-7"]);
    let (_, said) = settled(&text, "6.1");
    assert!(said[0].message.contains("there is no such file"), "{}", said[0].message);
    assert_eq!(said[0].help.as_deref(), Some("Linux 6.7 and later have it"));
}

#[test]
fn what_a_kernel_would_not_do_is_an_error_with_its_reason() {
    let group = |keys: &str| format!("[machine]\ncpus = 4\n[[group]]\npath = \"g\"\n{keys}\n");
    for (text, message, help) in [
        (
            group("\"cpuset.cpus\" = \"2-9\"") + &task("t", ""),
            "`cpuset.cpus`: column 1: 9 is too high: the last is 3 (ERANGE)",
            "name CPUs of the machine",
        ),
        (
            group("\"cpuset.cpus.partition\" = \"root\"") + &task("t", ""),
            "`cpuset.cpus.partition` reads `root invalid (cpuset.cpus and cpuset.cpus.exclusive are empty)`",
            "write cpuset.cpus",
        ),
        (
            group("\"cpuset.cpus\" = \"0-3\"\n\"cpuset.cpus.partition\" = \"isolated\"")
                + &task("t", ""),
            "`cpuset.cpus.partition` reads `isolated invalid (Parent unable to distribute cpu downstream)`",
            "leave the parent a CPU",
        ),
        (
            group("\"cpuset.cpus.partition\" = \"rooot\"") + &task("t", ""),
            "`cpuset.cpus.partition`: must be `member`, `root` or `isolated` (EINVAL)",
            "write it as you would",
        ),
        (
            group("\"cpuset.cpus\" = \"0-1\"") + &task("t", "group = \"g\"\ncpus = \"2\""),
            "task `t` may run on CPUs 2, but only 0-1 are left to its group (EINVAL)",
            "name CPUs of its group",
        ),
        (
            "[machine]\ncpus = 4\nisolcpus = \"2-5\"\n".to_owned() + &task("t", ""),
            "column 1: isolcpus: 5 is too high: the last is 3",
            "as on the kernel's command line",
        ),
    ] {
        let (_, said) = settled(&text, "6.18");
        assert_eq!(said[0].message, message);
        assert!(said[0].help.as_deref().unwrap().contains(help), "{:?}", said[0].help);
        assert!(!said[0].span.is_empty());
    }
    let bad = "[machine]\nisolcpus = \"domian,2\"\n".to_owned() + &task("t", "");
    let errors = load(&bad, Format::Scenario).unwrap_err();
    assert!(errors[0].message.contains("`domian` is no flag"), "{}", errors[0].message);
    let bad = group("\"cpuset.cpu\" = \"0\"") + &task("t", "");
    let errors = load(&bad, Format::Scenario).unwrap_err();
    assert!(errors[0].help.as_deref().unwrap().contains("cpuset.cpus"), "{:?}", errors[0].help);
}

#[test]
fn the_command_line_writes_cpuset_files_as_well() {
    let text = format!(
        "[machine]\ncpus = 4\n[[group]]\npath = \"g\"\n\"cpuset.cpus\" = \"0-1\"\n{}",
        task("t", "group = \"g\"")
    );
    let mut loaded = load(&text, Format::Scenario).unwrap();
    apply_set(&mut loaded, "group/g.cpuset.cpus=2-3").unwrap();
    apply_set(&mut loaded, "group/g.cpuset.cpus.partition=root").unwrap();
    assert!(apply_set(&mut loaded, "group/g.cpuset.cpus=2-x").unwrap_err().contains("column 3"));
    assert!(apply_set(&mut loaded, "group/h.cpuset.cpus=2").unwrap_err().contains("no group"));
    assert!(settle_cpusets(&mut loaded, &Profile::named("7.2").unwrap(), 4).is_empty());
    assert_eq!(affinities(&loaded), ["2-3"]);
    assert_eq!(shown(&loaded.cpu_partitions.domains), ["0-1", "2-3"]);
}

#[test]
fn groups_of_v1_have_what_is_above_them_where_nothing_is_said() {
    let text = format!(
        "[machine]\ncpus = 4\n[[group]]\npath = \"a\"\n\"cpu.shares\" = 512\n\"cpuset.cpus\" = \"0-1\"\n\
         [[group]]\npath = \"b\"\n\"cpu.shares\" = 512\n{}{}",
        task("one", "group = \"a\""),
        task("other", "group = \"b\""),
    );
    let (loaded, said) = settled(&text, "6.1");
    assert_eq!(said, []);
    assert_eq!(affinities(&loaded), ["0-1", "0-3"]);
}

#[test]
fn a_file_with_all_of_it_settles_on_every_kernel_that_has_it() {
    let text = include_str!("fixtures/cpusets.toml");
    for kernel in ["6.12", "6.18", "7.2"] {
        let (loaded, said) = settled(text, kernel);
        assert_eq!(said, [], "{kernel}");
        assert_eq!(affinities(&loaded), ["6", "0-1"], "{kernel}");
        assert_eq!(shown(&loaded.cpu_partitions.domains), ["0-5"]);
    }
}

#[test]
fn more_groups_than_can_be_looked_at_are_an_error() {
    let groups = (0..=slicewise_workload::CPUSETS_MAX)
        .map(|at| format!("[[group]]\npath = \"g{at}\"\n\"cpuset.cpus\" = \"0\"\n"));
    let text = groups.collect::<String>() + &task("t", "");
    let (_, said) = settled(&text, "6.12");
    assert_eq!(said[0].message, "more than 1000 groups have cpuset files");
}
