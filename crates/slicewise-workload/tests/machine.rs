//! Speed, memory and interrupts in scenarios.

#![allow(clippy::unwrap_used, reason = "a test")]

use slicewise_machine::{Delivery, Dist, MemoryNode, Share, SpeedModel, TaskMemory, WarmUp};
use slicewise_sched::Profile;
use slicewise_workload::{
    Diagnostic, Format, Loaded, SpeedOverrides, apply_set, check_against_machine, load,
    settle_cpusets,
};

const TASK: &str = "[[task]]\nname = \"a\"\nhog = true\n";

fn read(text: &str) -> Loaded {
    load(text, Format::Scenario).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problems(text: &str) -> Vec<Diagnostic> {
    load(text, Format::Scenario).unwrap_err()
}

fn share(ppm: u32) -> Share {
    Share::from_ppm(ppm).unwrap()
}

#[test]
fn nothing_slows_programs_unless_the_scenario_says_so() {
    assert_eq!(read(TASK).settings.speed.model(None), SpeedModel::default());
}

#[test]
fn speed_is_typical_or_what_is_given() {
    let model = |machine: &str| read(&format!("{machine}\n{TASK}")).settings.speed.model(None);
    assert_eq!(model("[machine]\nspeed = true"), SpeedModel::typical());
    assert_eq!(model("[machine]\nspeed = false"), SpeedModel::default());
    let only = SpeedModel { smt: Some(share(700_000)), ..SpeedModel::default() };
    assert_eq!(model("[machine.speed]\nsmt = 0.7"), only);
    let changed = SpeedModel {
        capacity: false,
        warm_up: WarmUp { llc_ns: 30_000, ..SpeedModel::typical().warm_up },
        memory_bound: share(250_000),
        ..SpeedModel::typical()
    };
    let text = "[machine.speed]\ntypical = true\ncapacity = false\nwarm_up_llc = \"30us\"\n\
                memory_bound = 0.25";
    assert_eq!(model(text), changed);
}

#[test]
fn latencies_are_those_of_the_topology() {
    let text = format!("[machine]\ntopology = \"2s:2c\"\nspeed = true\n{TASK}");
    let settings = read(&text).settings;
    let model = settings.speed.model(settings.topology.as_ref());
    assert_eq!(model.latencies_ns, settings.topology.unwrap().latencies_ns());
}

#[test]
fn tasks_say_where_their_memory_is() {
    let memory = |keys: &str| read(&format!("{TASK}{keys}")).workload.tasks[0].memory;
    assert_eq!(memory(""), TaskMemory::default());
    for (word, node) in [
        ("1", MemoryNode::Node(1)),
        ("\"interleave\"", MemoryNode::Interleave),
        ("\"first-touch\"", MemoryNode::FirstTouch),
    ] {
        let bound = Some(share(400_000));
        let keys = format!("memory_node = {word}\nmemory_bound = 0.4\n");
        assert_eq!(memory(&keys), TaskMemory { node, bound, pages: None });
    }
}

#[test]
fn assignments_reach_speed_and_memory() {
    let mut loaded = read(TASK);
    for assignment in [
        "speed=true",
        "speed.smt=0.5",
        "speed.capacity=false",
        "speed.warm_up_core=1us",
        "speed.warm_up_llc=2us",
        "speed.memory_bound=0.1",
        "task/a.memory_node=3",
        "task/a.memory_bound=1",
    ] {
        apply_set(&mut loaded, assignment).unwrap_or_else(|e| panic!("{assignment}: {e}"));
    }
    let model = SpeedModel {
        smt: Some(share(500_000)),
        capacity: false,
        warm_up: WarmUp { core_ns: 1_000, llc_ns: 2_000 },
        memory_bound: share(100_000),
        latencies_ns: Vec::new(),
        pages: SpeedModel::typical().pages,
    };
    assert_eq!(loaded.settings.speed.model(None), model);
    let memory = TaskMemory { node: MemoryNode::Node(3), bound: Some(Share::FULL), pages: None };
    assert_eq!(loaded.workload.tasks[0].memory, memory);
    apply_set(&mut loaded, "task/a.memory_node=interleave").unwrap();
    apply_set(&mut loaded, "speed=false").unwrap();
    assert_eq!(loaded.workload.tasks[0].memory.node, MemoryNode::Interleave);
    assert_eq!(loaded.settings.speed, SpeedOverrides::default());
    for (assignment, message) in [
        ("speed.smt=0", "`speed.smt` cannot be 0; allowed: 0.01 to 1"),
        ("speed.smt=NaN", "allowed: 0.01 to 1"),
        ("speed=maybe", "allowed: true, false"),
        ("task/a.memory_node=far", "allowed: 0 to 1023, \"first-touch\", \"interleave\""),
        ("task/a.memory_bound=1.5", "allowed: 0 to 1"),
    ] {
        let error = apply_set(&mut loaded, assignment).unwrap_err();
        assert!(error.contains(message), "{assignment}: {error}");
    }
}

#[test]
fn interrupts_say_when_where_how_long_and_whom_they_wake() {
    let text = "[[interrupt]]\nname = \"nic\"\ncpus = \"1-2\"\ndelivery = \"round-robin\"\n\
                rate = \"1000/s\"\nduration = { dist = \"uniform\", min = \"5us\", max = \"9us\" }\n\
                start = \"1ms\"\nwakes = \"rx\"\n\
                [[task]]\nname = \"rx\"\ncount = 2\nprogram = [{ suspend = true }]\n";
    let loaded = read(text);
    let [source] = &loaded.workload.interrupts[..] else { panic!() };
    assert_eq!((source.name.as_str(), source.cpus.to_string()), ("nic", "1-2".to_owned()));
    assert_eq!(source.delivery, Delivery::RoundRobin);
    assert_eq!(source.interarrival, Dist::Exponential { mean_ns: 1e6 });
    assert_eq!(source.duration, Dist::Uniform(5_000, 9_000));
    assert_eq!((source.start_ns, &source.wakes[..]), (1_000_000, &[0, 1][..]));
    let mut moved = loaded.clone();
    apply_set(&mut moved, "interrupt/nic.cpus=0").unwrap();
    let kernel = Profile::named("6.12").unwrap();
    assert_eq!(check_against_machine(&moved, 2, &kernel), []);
    let error = apply_set(&mut moved, "interrupt/nc.cpus=0").unwrap_err();
    assert!(error.contains("did you mean `nic`?"), "{error}");
    let stray = check_against_machine(&loaded, 2, &kernel);
    let message = "CPUs 1-2 are interrupted, but there is no CPU 2: the machine has 2";
    assert_eq!(stray.iter().map(|d| d.message.as_str()).collect::<Vec<_>>(), [message]);
    assert_eq!(&text[stray[0].span.clone()], "\"1-2\"");
}

#[test]
fn everything_wrong_with_interrupts_and_speed_is_told_at_once() {
    let text = format!(
        "{TASK}memory_node = \"far\"\nmemory_bound = 2\n[machine.speed]\nsmt = 0\nsmtt = 1\n\
         [[interrupt]]\nname = \"x\"\nrate = \"5/s\"\ninterarrival = \"5ms\"\nduration = \"1us\"\n\
         [[interrupt]]\nname = \"x\"\nwakes = \"b\"\ndelivery = \"rond-robin\"\n"
    );
    let found: Vec<String> = problems(&text).into_iter().map(|d| d.message).collect();
    for wanted in [
        "unknown `memory_node` `far`",
        "`memory_bound` cannot be 2",
        "`smt` cannot be 0",
        "unknown key `smtt` in [machine.speed]",
        "the interrupt has both `rate` and `interarrival`",
        "the interrupt has neither `rate` nor `interarrival`",
        "the interrupt has no `duration`",
        "there is already an interrupt named `x`",
        "`wakes`: there is no task `b`",
        "unknown `delivery` `rond-robin`",
    ] {
        assert!(found.iter().any(|message| message == wanted), "{wanted}: {found:#?}");
    }
}

#[test]
fn where_nothing_is_said_no_cpu_is_isolated_or_without_ticks() {
    let mut loaded = read(TASK);
    assert_eq!(settle_cpusets(&mut loaded, &Profile::named("6.12").unwrap(), 4), []);
    assert!(loaded.cpu_partitions.isolated.is_empty());
    assert!(loaded.cpu_partitions.nohz_full.is_empty());
}

#[test]
fn tasks_have_memory_of_a_size_of_their_own_and_shared() {
    let heap = "[[memory]]\nname = \"heap\"\nsize = \"1GiB\"\nnode = 1\n";
    let pages =
        |keys: &str| read(&format!("{heap}{TASK}{keys}")).workload.tasks[0].memory.pages.unwrap();
    let part = |ppm| Share::from_ppm(ppm).unwrap();
    let own = pages("memory = \"64MiB\"");
    assert_eq!((own.bytes, own.rate, own.shared), (64 << 20, 1 << 30, None));
    let both = pages("memory = \"64MiB\"\nshared_memory = \"heap\"\nmemory_rate = \"3 MiB/s\"");
    assert_eq!((both.rate, both.shared, both.shared_part), (3 << 20, Some(0), part(500_000)));
    let shared = pages("shared_memory = \"heap\"");
    assert_eq!((shared.bytes, shared.shared_part), (0, Share::FULL));
    let some = pages("shared_memory = \"heap\"\nshared_part = 0.25");
    assert_eq!(some.shared_part, part(250_000));
    let memory = &read(&format!("{heap}{TASK}")).workload.memories[0];
    assert_eq!((memory.bytes, memory.node), (1 << 30, MemoryNode::Node(1)));
}

#[test]
fn balancing_of_memory_is_a_setting() {
    let mut loaded = read(&format!("[machine]\nnuma_balancing = false\n{TASK}"));
    assert_eq!(loaded.settings.numa_balancing, Some(false));
    apply_set(&mut loaded, "numa_balancing=true").unwrap();
    assert_eq!(loaded.settings.numa_balancing, Some(true));
}

#[test]
fn mistakes_about_memory_are_named_with_what_is_allowed() {
    let text = format!(
        "[[memory]]\nname = \"heap\"\nsize = \"lots\"\nnode = \"near\"\n\
         [[memory]]\nname = \"heap\"\n\
         {TASK}memory = \"0MiB\"\nmemory_rate = \"1GiB\"\nshared_memory = \"haep\"\n\
         [[task]]\nname = \"b\"\nhog = true\nmemory_rate = \"1GiB/s\"\nshared_part = 0.5\n\
         [[task]]\nname = \"c\"\nhog = true\ntemplate = true\nmemory = \"1GiB\"\n"
    );
    let problems = load(&text, Format::Scenario).unwrap_err();
    let shown: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.message, problem.help.as_deref().unwrap_or("")))
        .collect();
    for wanted in [
        "`size` of `lots` is no amount of memory: a whole number with B, KiB, MiB, GiB or TiB, such as \"4GiB\"",
        "unknown `node` `near`: allowed: the number of a node, \"first-touch\", \"interleave\"",
        "there is already a memory named `heap`",
        "`memory` of `0MiB` is no amount of memory",
        "`memory_rate` of `1GiB` is no rate: an amount of memory a second, such as \"2GiB/s\"",
        "`shared_memory`: there is no memory `haep`: did you mean `heap`?",
        "`memory_rate` without `memory` or `shared_memory` says nothing",
        "`shared_part` without `shared_memory` says nothing",
        "a template has memory of its own: what is forked can only share: use `shared_memory`",
    ] {
        assert!(shown.iter().any(|line| line.contains(wanted)), "{wanted}\n{shown:#?}");
    }
}

#[test]
fn a_machine_may_have_an_energy_model_and_not_use_it() {
    let mut loaded = read(&format!("[machine]\ntopology = \"big-little\"\n{TASK}"));
    let model = loaded.settings.topology.as_ref().unwrap().energy().unwrap();
    assert_eq!(model.domains.len(), 2);
    assert_eq!(loaded.settings.energy_aware, None);
    apply_set(&mut loaded, "sched_energy_aware=false").unwrap();
    assert_eq!(loaded.settings.energy_aware, Some(false));
}
