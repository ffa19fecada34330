//! What holds for cpusets after any operations.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use slicewise_cgroup::cpuset::{Boot, CpusetFile, CpusetId, CpusetMachine, Cpusets};
use slicewise_cgroup::{Rules, Version};
use slicewise_sched::{CpuId, CpuSet};

const MACHINE: CpusetMachine = CpusetMachine { cpus: 8, nodes: 2 };

#[derive(Clone, Debug)]
enum Op {
    Mkdir(usize),
    Rmdir(usize),
    Write(usize, usize, String),
    Spawn,
    Attach(usize, usize),
    Affinity(usize, u64),
    Hotplug(u32, bool),
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0..8_u32, 0..4_u32).prop_map(|(low, more)| format!("{low}-{}\n", (low + more).min(7))),
        1 => Just("\n".to_owned()),
        4 => Just("root".to_owned()),
        3 => Just("isolated\n".to_owned()),
        2 => Just("member".to_owned()),
        1 => Just("0\n".to_owned()),
        1 => Just("1\n".to_owned()),
        1 => "[0-9,:/N-]{0,8}",
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..8_usize).prop_map(Op::Mkdir),
        1 => (0..8_usize).prop_map(Op::Rmdir),
        9 => (0..8_usize, 0..11_usize, texts()).prop_map(|(at, file, text)| Op::Write(at, file, text)),
        1 => Just(Op::Spawn),
        2 => (0..4_usize, 0..8_usize).prop_map(|(task, at)| Op::Attach(task, at)),
        1 => (0..4_usize, 1..256_u64).prop_map(|(task, mask)| Op::Affinity(task, mask)),
        2 => (0..8_u32, any::<bool>()).prop_map(|(cpu, on)| Op::Hotplug(cpu, on)),
    ]
}

fn worlds() -> impl Strategy<Value = (Version, Rules)> {
    (any::<bool>(), 0..Rules::ALL.len())
        .prop_map(|(v2, rules)| (if v2 { Version::V2 } else { Version::V1 }, Rules::ALL[rules]))
}

fn perform(
    model: &mut Cpusets,
    tasks: &mut Vec<slicewise_cgroup::cpuset::CpusetTask>,
    op: &Op,
) -> bool {
    let groups: Vec<CpusetId> = model.groups().collect();
    let group = |at: usize| groups[at % groups.len()];
    match op {
        Op::Mkdir(at) if groups.len() < 8 => model.mkdir(group(*at)).is_ok(),
        Op::Rmdir(at) => model.rmdir(group(*at)).is_ok(),
        Op::Write(at, file, text) => {
            model.write(group(*at), CpusetFile::ALL[*file], text.as_bytes()).is_ok()
        }
        Op::Spawn if tasks.len() < 4 => {
            tasks.push(model.spawn());
            true
        }
        Op::Attach(task, at) if !tasks.is_empty() => {
            model.attach(tasks[task % tasks.len()], group(*at)).is_ok()
        }
        Op::Affinity(task, mask) if !tasks.is_empty() => {
            model.set_affinity(tasks[task % tasks.len()], &CpuSet::Inline(*mask)).is_ok()
        }
        Op::Hotplug(cpu, true) => model.online(CpuId(*cpu)).is_ok(),
        Op::Hotplug(cpu, false) => model.offline(CpuId(*cpu)).is_ok(),
        _ => true,
    }
}

proptest! {
    #[test]
    fn what_is_refused_changes_nothing_and_every_task_has_a_cpu(
        (version, rules) in worlds(),
        ops in proptest::collection::vec(ops(), 1..60),
    ) {
        let mut model = Cpusets::new(version, &rules, MACHINE, Boot::none());
        let mut tasks = Vec::new();
        for op in ops {
            let before = format!("{model:?}");
            if !perform(&mut model, &mut tasks, &op) {
                prop_assert_eq!(format!("{:?}", model), before, "{:?}", op);
            }
            for task in &tasks {
                prop_assert!(!model.mask(*task).unwrap().is_empty(), "{:?}", op);
            }
        }
    }

    #[test]
    fn effective_cpus_are_online_and_members_have_none_that_their_parents_have_not(
        (version, rules) in worlds(),
        ops in proptest::collection::vec(ops(), 1..60),
    ) {
        let mut model = Cpusets::new(version, &rules, MACHINE, Boot::none());
        let mut tasks = Vec::new();
        for op in ops {
            perform(&mut model, &mut tasks, &op);
            for group in model.groups().collect::<Vec<_>>() {
                let effective = model.effective(group).unwrap();
                prop_assert!(effective.is_subset_of(model.online_cpus()), "{:?}", op);
                let is_member = model
                    .read(group, CpusetFile::CpusPartition)
                    .is_ok_and(|text| text == "member\n");
                if let Some(parent) = model.parent(group)
                    && (is_member || version == Version::V1)
                {
                    prop_assert!(effective.is_subset_of(model.effective(parent).unwrap()), "{:?}", op);
                }
            }
        }
    }

    #[test]
    fn exclusive_cpus_of_groups_beside_each_other_never_overlap(
        (_, rules) in worlds(),
        ops in proptest::collection::vec(ops(), 1..60),
    ) {
        let mut model = Cpusets::new(Version::V2, &rules, MACHINE, Boot::none());
        let mut tasks = Vec::new();
        for op in ops {
            perform(&mut model, &mut tasks, &op);
            let list = |group, file| {
                let text: Option<String> = model.read(group, file).ok();
                CpuSet::parse_list(text.unwrap_or_default().trim()).unwrap_or(CpuSet::Inline(0))
            };
            let groups: Vec<CpusetId> = model.groups().skip(1).collect();
            for (number, one) in groups.iter().enumerate() {
                for other in &groups[..number] {
                    if model.parent(*one) == model.parent(*other) {
                        let file = CpusetFile::CpusExclusive;
                        prop_assert!(!list(*one, file).intersects(&list(*other, file)), "{:?}", op);
                    }
                }
            }
        }
    }

    #[test]
    fn domains_are_of_online_cpus_and_with_the_isolated_ones_they_are_all_of_them(
        (version, rules) in worlds(),
        ops in proptest::collection::vec(ops(), 1..60),
    ) {
        let mut model = Cpusets::new(version, &rules, MACHINE, Boot::none());
        let mut tasks = Vec::new();
        for op in ops {
            perform(&mut model, &mut tasks, &op);
            let domains = model.sched_domains().to_vec();
            let all = domains.iter().fold(model.isolated(), |all, domain| all.or(domain));
            prop_assert_eq!(&all, model.online_cpus(), "{:?}", op);
        }
    }

    #[test]
    fn a_partition_that_becomes_a_member_again_leaves_everything_as_it_was(
        rules in 0..Rules::ALL.len(),
        low in 1..7_u32,
        more in 0..3_u32,
        isolated in any::<bool>(),
    ) {
        let mut model = Cpusets::new(Version::V2, &Rules::ALL[rules], MACHINE, Boot::none());
        let task = model.spawn();
        let group = model.mkdir(Cpusets::ROOT).unwrap();
        let cpus = format!("{low}-{}", (low + more).min(7));
        model.write(group, CpusetFile::Cpus, cpus.as_bytes()).unwrap();
        let before = format!("{model:?}");
        let word: &[u8] = if isolated { b"isolated" } else { b"root" };
        model.write(group, CpusetFile::CpusPartition, word).unwrap();
        let taken = model.effective(group).unwrap().clone();
        prop_assert!(!model.effective(Cpusets::ROOT).unwrap().intersects(&taken));
        prop_assert!(!model.mask(task).unwrap().intersects(&taken));
        prop_assert_eq!(model.sched_domains().contains(&taken), !isolated);
        model.write(group, CpusetFile::CpusPartition, b"member").unwrap();
        prop_assert_eq!(format!("{:?}", model), before);
    }
}
