//! What placements claim, over machines and workloads at random, and what is written for them.

use proptest::prelude::*;
use slicewise_place::{Form, Placement, Role, Tasks, emit, focus, placements, strip};
use slicewise_sched::{CpuId, CpuSet, Policy};
use slicewise_topology::{Machine, layout, parse_list};
use slicewise_workload::{Format, Loaded, load};

fn workload(ranks: u32, loaders: u32, real_time: u32, others: u32) -> Loaded {
    let mut text = String::from("[[task]]\nname = \"shell\"\nhog = true\n");
    for rank in 0..ranks {
        text.push_str(&format!(
            "[[device]]\nname = \"gpu{rank}\"\n\
             [[task]]\nname = \"rank{rank}-main\"\nprogram = [{{ run = \"1ms\" }}, \
             {{ submit = {{ device = \"gpu{rank}\", work = \"1ms\" }} }}, \
             {{ synchronize = \"gpu{rank}\" }}]\n\
             [[task]]\nname = \"rank{rank}-nccl\"\ncount = 2\nhog = true\n"
        ));
        if loaders > 0 {
            text.push_str(&format!(
                "[[task]]\nname = \"rank{rank}-loader\"\ncount = {loaders}\nhog = true\n"
            ));
        }
    }
    for number in 0..real_time {
        text.push_str(&format!(
            "[[task]]\nname = \"control{number}\"\npolicy = \"fifo\"\npriority = 50\n\
             periodic = {{ run = \"1ms\", period = \"10ms\" }}\n"
        ));
    }
    if others > 0 {
        text.push_str(&format!("[[task]]\nname = \"batch\"\ncount = {others}\nhog = true\n"));
    }
    load(&text, Format::Scenario).expect("a workload")
}

fn machines() -> impl Strategy<Value = Machine> {
    (1..3_u32, 1..4_u32, 1..3_u32, 1..9_u32, 1..4_u32)
        .prop_map(|(s, n, l, c, t)| layout(&format!("{s}s:{n}n:{l}l:{c}c:{t}t")).expect("a layout"))
}

/// The lists that lines name, each with the names behind `#`.
fn read_back(text: &str, machine: &Machine) -> Vec<(Vec<u32>, String)> {
    let node_cpus = |list: &str| -> Vec<u32> {
        let nodes = parse_list(list).expect("a list of nodes");
        machine.numbers(|_, place| nodes.contains(&machine.nodes()[place.node as usize].number))
    };
    let mut found: Vec<(Vec<u32>, String)> = Vec::new();
    let mut who = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((_, names)) = line.split_once("# ") {
            who = names.to_owned();
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["taskset", "-c", list, ..] => {
                found.push((parse_list(list).expect("as it was written"), who.clone()))
            }
            ["numactl", cpus, ..] => {
                let (option, list) = cpus.split_once('=').expect("as it was written");
                let cpus = match option {
                    "--physcpubind" => parse_list(list).expect("as it was written"),
                    "--cpunodebind" => node_cpus(list),
                    other => panic!("{other}"),
                };
                found.push((cpus, who.clone()));
            }
            ["echo", list, ">", file] if file.ends_with("/cpuset.cpus") => {
                found.push((parse_list(list).expect("as it was written"), who.clone()));
            }
            _ => {}
        }
    }
    found
}

fn numbers(mask: &CpuSet, machine: &Machine) -> Vec<u32> {
    let cpus = (0..).map(CpuId).zip(machine.cpus());
    cpus.filter(|(cpu, _)| mask.contains(*cpu)).map(|(_, cpu)| cpu.number).collect()
}

/// What the lines say for each form is what the placement has, for everyone who is bound.
fn lines_say_what_masks_are(
    placement: &Placement,
    loaded: &Loaded,
    machine: &Machine,
    tasks: &Tasks,
) {
    let all = machine.topology().nr_cpus() as usize;
    let mut expected: Vec<Vec<u32>> = Vec::new();
    for mask in &placement.masks {
        let cpus = numbers(mask, machine);
        if cpus.len() < all && !expected.contains(&cpus) {
            expected.push(cpus);
        }
    }
    expected.sort();
    for form in [Form::Taskset, Form::Numactl, Form::Cpuset] {
        let text = emit(form, placement, loaded, machine, tasks);
        let read = read_back(&text, machine);
        let mut cpus: Vec<Vec<u32>> = read.iter().map(|(cpus, _)| cpus.clone()).collect();
        cpus.sort();
        assert_eq!(cpus, expected, "{form:?}:\n{text}");
        // And by name, where the line names a description of the file alone.
        for group in &loaded.groups {
            for (cpus, who) in &read {
                if who.split(", ").any(|name| name == group.name) {
                    let mask = &placement.masks[group.first as usize];
                    assert_eq!(cpus, &numbers(mask, machine), "{}: {text}", group.name);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn sets_that_are_to_be_alone_overlap_with_no_other_and_nobody_is_without_a_cpu(
        machine in machines(),
        ranks in 0..5_u32,
        loaders in 0..4_u32,
        real_time in 0..4_u32,
        others in 0..3_u32,
    ) {
        let loaded = workload(ranks, loaders, real_time, others);
        let tasks = Tasks::of(&loaded, &machine, None);
        prop_assert_eq!(tasks.ranks(), ranks);
        let cpus = machine.topology().nr_cpus();
        for placement in placements(&loaded, &machine, &tasks) {
            prop_assert_eq!(placement.masks.len(), loaded.workload.tasks.len());
            for mask in &placement.masks {
                prop_assert!(mask.count_within(cpus) > 0, "{}", placement.name);
            }
            for alone in &placement.exclusive {
                for other in 0..placement.masks.len() {
                    let shared = placement.masks[*alone].intersects(&placement.masks[other]);
                    // Those of one rank share their set; isolated cores may be shared if there are
                    // too few of them.
                    let may_share = placement.exclusive.contains(&other);
                    prop_assert!(may_share || !shared, "{}: {alone} and {other}", placement.name);
                    let of_other_ranks = tasks.tasks[*alone].rank != tasks.tasks[other].rank;
                    prop_assert!(!of_other_ranks || !shared, "{}: ranks", placement.name);
                }
            }
            if placement.name == "by node" || placement.name.starts_with("own") {
                for (at, task) in tasks.tasks.iter().enumerate() {
                    let Some(rank) = task.rank else { continue };
                    let node = tasks.nodes[rank as usize];
                    for cpu in (0..cpus).map(CpuId).filter(|cpu| placement.masks[at].contains(*cpu)) {
                        let place = machine.topology().place(cpu).expect("as it was written");
                        prop_assert_eq!(place.node, node, "{}: task {}", placement.name, at);
                    }
                }
            }
            lines_say_what_masks_are(&placement, &loaded, &machine, &tasks);
            let strip = strip(&loaded, &machine, &placement, &tasks, &focus(&loaded, &tasks));
            prop_assert!(strip.chars().count() <= 64, "{strip}");
        }
    }
}

#[test]
fn ranks_are_told_by_order_where_no_name_has_a_number() {
    let text = "
        [[device]]
        name = \"gpu\"
        [[task]]
        name = \"launch\"
        count = 2
        program = [{ run = \"1ms\" }, { submit = { device = \"gpu\", work = \"1ms\" } }]
        [[task]]
        name = \"loader\"
        count = 6
        hog = true
        [[task]]
        name = \"logger\"
        hog = true
    ";
    let loaded = load(text, Format::Scenario).expect("as it was written");
    let machine = layout("2s:4c").expect("as it was written");
    let tasks = Tasks::of(&loaded, &machine, None);
    let ranks: Vec<Option<u32>> = tasks.tasks.iter().map(|task| task.rank).collect();
    let (zero, one) = (Some(0), Some(1));
    assert_eq!(ranks, [zero, one, zero, zero, zero, one, one, one, None]);
    assert_eq!(tasks.nodes, [0, 1]);
    assert_eq!(Tasks::of(&loaded, &machine, Some(&[1, 0])).nodes, [1, 0]);
    assert_eq!(tasks.tasks[2].role, Role::Loader);
}

#[test]
fn deadline_tasks_are_left_alone_and_so_is_who_would_have_to_be_alone() {
    let text = "
        [[task]]
        name = \"control\"
        policy = \"deadline\"
        runtime = \"1ms\"
        period = \"10ms\"
        periodic = { run = \"1ms\", period = \"10ms\" }
        [[task]]
        name = \"loop\"
        policy = \"fifo\"
        priority = 10
        periodic = { run = \"1ms\", period = \"10ms\" }
        [[task]]
        name = \"batch\"
        hog = true
    ";
    let loaded = load(text, Format::Scenario).expect("as it was written");
    let machine = layout("4c:2t").expect("as it was written");
    let tasks = Tasks::of(&loaded, &machine, None);
    assert!(matches!(loaded.workload.tasks[0].attr.policy, Policy::Deadline(_)));
    for placement in placements(&loaded, &machine, &tasks) {
        assert_eq!(placement.masks[0], CpuSet::All, "{}", placement.name);
        assert!(placement.exclusive.is_empty(), "{}", placement.name);
    }
}

#[test]
fn pods_ask_for_whole_cores_and_leave_some_to_the_system() {
    let loaded = workload(4, 2, 0, 0);
    let machine = layout("2s:8c:2t").expect("as it was written");
    let tasks = Tasks::of(&loaded, &machine, None);
    let all = placements(&loaded, &machine, &tasks);
    let by_node = all.iter().find(|it| it.name == "by node").expect("as it was written");
    let text = emit(Form::Pod, by_node, &loaded, &machine, &tasks);
    let asked: Vec<u32> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("requests: { cpu: "))
        .map(|rest| rest.split(',').next().expect("as it was written").parse().unwrap())
        .collect();
    // 32 CPUs, 2 of them the system's, two ranks on each node, in whole cores.
    assert_eq!(asked, [6, 6, 8, 8]);
    assert!(text.contains("topologyManagerPolicy: single-numa-node"), "{text}");
    assert!(text.contains("reservedSystemCPUs: \"0,16\""), "{text}");
}
