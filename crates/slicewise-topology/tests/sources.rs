//! One machine, however it is told.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::Path;

use proptest::prelude::*;
use slicewise_sched::topology::CpuPlace;
use slicewise_topology::{
    Machine, PRESETS, SysFiles, SysPlace, find, from_lscpu, from_sysfs, from_toml, layout,
    read_path, read_text, to_toml,
};
use support::{cases, directory, snapshot};

/// With numbers in the order of CPUs: two texts may name the same core differently.
fn places(machine: &Machine) -> Vec<CpuPlace> {
    fn dense(next: &mut Vec<u32>, id: u32) -> u32 {
        let at = next.iter().position(|known| *known == id);
        at.unwrap_or_else(|| {
            next.push(id);
            next.len() - 1
        }) as u32
    }
    let [mut cores, mut clusters, mut llcs, mut packages] = [const { Vec::new() }; 4];
    let place = |place: &CpuPlace| CpuPlace {
        core: dense(&mut cores, place.core),
        cluster: place.cluster.map(|cluster| dense(&mut clusters, cluster)),
        llc: dense(&mut llcs, place.llc),
        package: dense(&mut packages, place.package),
        ..*place
    };
    machine.topology().places().iter().map(place).collect()
}

fn check_saved(machine: &Machine) {
    let saved = to_toml(machine);
    let read =
        from_toml(&saved, "other").unwrap_or_else(|problems| panic!("{problems:#?}\n{saved}"));
    assert_eq!(places(&read), places(machine), "{saved}");
    assert_eq!(read.name(), machine.name());
    assert_eq!(read.offline(), machine.offline());
    assert_eq!(read.nodes(), machine.nodes());
    assert_eq!(read.caches(), machine.caches());
    assert_eq!(read.energy(), machine.energy());
    assert_eq!(read.latencies_ns(), machine.latencies_ns());
    let known = |machine: &Machine| {
        let cpus = machine.cpus().iter();
        cpus.map(|cpu| (cpu.number, cpu.kind, cpu.isolated, cpu.nohz_full, cpu.die.is_some()))
            .collect::<Vec<_>>()
    };
    assert_eq!(known(&read), known(machine));
    // Saved once more, it is the same text but for the notes.
    let settled = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(settled(&to_toml(&read)), settled(&saved));
}

#[test]
fn a_saved_preset_is_the_same_machine() {
    for preset in PRESETS {
        check_saved(&preset.machine());
    }
}

#[test]
fn a_saved_snapshot_is_the_same_machine() {
    for case in cases() {
        let files = SysFiles::from_lines(&snapshot(&case, "7.2")).unwrap();
        check_saved(&from_sysfs(&files, &case).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_saved_layout_is_the_same_machine(
        sockets in 1_u32..4, nodes in 1_u32..4, llcs in 1_u32..3, clusters in 1_u32..3, cores in 1_u32..4, threads in 1_u32..3
    ) {
        let text = format!("{sockets}s:{nodes}n:{llcs}l:{clusters}k:{cores}c:{threads}t");
        let machine = layout(&text).unwrap();
        prop_assert_eq!(
            machine.topology().nr_cpus(),
            sockets * nodes * llcs * clusters * cores * threads
        );
        check_saved(&machine);
    }
}

/// Writes the files of a snapshot below a directory.
fn write_tree(lines: &str, root: &Path) {
    for line in lines.lines() {
        let (path, content) = line.split_once(':').unwrap();
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{content}\n")).unwrap();
    }
}

#[test]
fn a_directory_a_tar_and_lines_tell_the_same() {
    let lines = snapshot("2n-2s-2c-2t", "7.2");
    let of_lines = read_text(&lines, "x").unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("x");
    let system = root.join("sys/devices/system");
    write_tree(&lines, &system);
    for below in ["", "sys", "sys/devices", "sys/devices/system"] {
        let place = SysPlace::Directory(root.join(below));
        let files = place.read().unwrap_or_else(|error| panic!("{below}: {error}"));
        assert_eq!(from_sysfs(&files, "x").unwrap(), of_lines);
    }
    // tar stores files of sysfs with the 4,096 bytes they are said to have.
    let mut tar = tar::Builder::new(Vec::new());
    for line in lines.lines() {
        let (path, content) = line.split_once(':').unwrap();
        let mut padded = format!("{content}\n").into_bytes();
        padded.resize(4096, 0);
        let mut header = tar::Header::new_ustar();
        header.set_size(4096);
        header.set_mode(0o444);
        header.set_cksum();
        tar.append_data(&mut header, format!("sys/devices/system/{path}"), padded.as_slice())
            .unwrap();
    }
    let path = temporary.path().join("x.tar");
    std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
    assert_eq!(read_path(&path).unwrap(), of_lines);
    // And with the whole path, as grep prints it.
    let full = lines.replace("cpu/cpu", "/sys/devices/system/cpu/cpu");
    assert_eq!(read_text(&full, "x").unwrap(), of_lines);
}

#[test]
fn lscpu_tells_cpu_by_cpu_what_sysfs_does() {
    // As `lscpu -p` and `lscpu -J -e` would print this machine.
    let machine = layout("2s:3c:2t").unwrap();
    let mut parsable = "# The following is the parsable format, which can be fed to other\n\
                        # CPU,Core,Socket,Node,,L1d,L1i,L2,L3\n"
        .to_owned();
    let mut table = "CPU NODE SOCKET CORE L1d:L1i:L2:L3 ONLINE MAXMHZ\n".to_owned();
    let mut json = Vec::new();
    for (cpu, place) in machine.topology().places().iter().enumerate() {
        let CpuPlace { core, package, node, llc, .. } = place;
        parsable += &format!("{cpu},{core},{package},{node},,{core},{core},{core},{llc}\n");
        table += &format!("{cpu} {node} {package} {core} {core}:{core}:{core}:{llc} yes 2800.0\n");
        json.push(format!(
            r#"{{"cpu": {cpu}, "node": {node}, "socket": {package}, "core": {core}, "l1d:l1i:l2:l3": "{core}:{core}:{core}:{llc}", "online": true, "new": null}}"#
        ));
    }
    let json = format!(r#"{{"cpus": [{}]}}"#, json.join(","));
    // Old versions put numbers in quotes.
    let old = json.replace("\"cpu\": 0", "\"cpu\": \"0\"").replace("true", "\"yes\"");
    for text in [parsable, table, json, old] {
        let read = read_text(&text, "x").unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        assert_eq!(places(&read), places(&machine), "{text}");
        assert_eq!(read.topology().nr_nodes(), 2);
    }
}

#[test]
fn lscpu_without_rows_is_enough_for_a_usual_machine() {
    let text = r#"{"lscpu": [
        {"field": "CPU(s):", "data": "96", "children": [{"field": "On-line CPU(s) list:", "data": "0-95"}]},
        {"field": "Thread(s) per core:", "data": "2"},
        {"field": "Socket(s):", "data": "2"},
        {"field": "L3:", "data": "64 MiB (2 instances)"},
        {"field": "NUMA node0 CPU(s):", "data": "0-23,48-71"},
        {"field": "NUMA node1 CPU(s):", "data": "24-47,72-95"}]}"#;
    let read = from_lscpu(text, "x").unwrap();
    assert_eq!(places(&read), places(&layout("2s:24c:2t").unwrap()));
    assert!(read.notes().iter().any(|note| note.contains("does not say which CPUs share a core")));
}

#[test]
fn offline_cpus_leave_holes_and_those_left_are_numbered_anew() {
    let files = SysFiles::from_lines(&snapshot("2s-2c-2t-offline", "7.2")).unwrap();
    let machine = from_sysfs(&files, "x").unwrap();
    assert_eq!(machine.offline(), [3, 5]);
    assert_eq!(machine.topology().nr_cpus(), 6);
    let numbers: Vec<u32> = machine.cpus().iter().map(|cpu| cpu.number).collect();
    assert_eq!(numbers, [0, 1, 2, 4, 6, 7]);
    assert!(machine.is_renumbered());
    assert!(
        machine.notes().iter().any(|note| note.contains("numbered 0 to 5")),
        "{:?}",
        machine.notes()
    );
}

#[test]
fn packages_share_no_cache_and_a_cluster_that_is_all_of_one_is_none_on_arm() {
    let read = |case: &str| {
        let files = SysFiles::from_lines(&snapshot(case, "7.2")).unwrap();
        places(&from_sysfs(&files, case).unwrap())
    };
    let sets = |places: &[CpuPlace]| -> Vec<(u32, Option<u32>)> {
        places.iter().step_by(4).map(|place| (place.llc, place.cluster)).collect()
    };
    assert_eq!(sets(&read("arm-2s-4c-capacities")), [(0, None), (1, None)]);
    assert_eq!(sets(&read("arm-2k-4c-capacities")), [(0, Some(0)), (0, Some(1))]);
    let capacities: Vec<u32> =
        read("arm-1s-8c-three-capacities").iter().map(|place| place.capacity).collect();
    assert_eq!(capacities, [250, 250, 250, 250, 760, 760, 760, 1024]);
}

#[test]
fn isolated_and_tickless_cpus_are_known() {
    let files = SysFiles::from_lines(&snapshot("1s-4c-2t-nohz-full", "7.2")).unwrap();
    let machine = from_sysfs(&files, "x").unwrap();
    assert_eq!(machine.numbers(|cpu, _| cpu.isolated), [6, 7]);
    assert_eq!(machine.numbers(|cpu, _| cpu.nohz_full), [5, 6, 7]);
}

#[test]
fn a_name_is_a_preset_before_it_is_a_file() {
    assert_eq!(find("nps4", &directory()).unwrap().topology().nr_cpus(), 256);
    assert_eq!(find("2s:4c", &directory()).unwrap().topology().nr_cpus(), 8);
    assert_eq!(find("1s-8c.sysfs", &directory()).unwrap().topology().nr_cpus(), 8);
}
