//! What holds for any text and any order of writes.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use slicewise_cgroup::{Clamp, File, GroupId, Rules, Tree, TriggerRequest, Version};

/// Texts near what the files take.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![0..300_000_u64, Just(1000), Just(10_000), any::<u64>()];
    let word = prop_oneof![
        number.clone().prop_map(|number| number.to_string()),
        (-30..30_i64).prop_map(|number| number.to_string()),
        (0..110_u64, 0..1000_u64).prop_map(|(whole, part)| format!("{whole}.{part}")),
        number.prop_map(|number| format!("{number:#x}")),
        Just("max".to_owned()),
        Just("some".to_owned()),
    ];
    let line = proptest::collection::vec(word, 1..4).prop_map(|words| words.join(" ").into_bytes());
    prop_oneof![
        4 => line.clone(),
        4 => line.prop_map(|mut line| { line.push(b'\n'); line }),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    (0..Rules::ALL.len()).prop_map(|number| Rules::ALL[number])
}

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1), Just(Version::V2)]
}

/// A tree with a root and some groups, and the groups.
fn tree(version: Version, rules: Rules, parents: &[usize]) -> (Tree, Vec<GroupId>) {
    let mut tree = Tree::new(version, rules);
    let mut groups = vec![Tree::ROOT];
    for parent in parents {
        groups.push(tree.add(groups[parent % groups.len()]).unwrap());
    }
    (tree, groups)
}

proptest! {
    #[test]
    fn what_is_refused_changes_nothing_and_what_is_read_can_be_written_back(
        version in versions(),
        rules in rules(),
        writes in proptest::collection::vec((0..4_usize, 0..11_usize, texts()), 1..60),
    ) {
        let (mut tree, groups) = tree(version, rules, &[0, 1, 1]);
        for (group, file, text) in writes {
            let (group, file) = (groups[group], File::ALL[file]);
            let before = *tree.settings(group).unwrap();
            if tree.write(group, file, &text).is_err() {
                prop_assert_eq!(tree.settings(group).unwrap(), &before);
                continue;
            }
            if group == Tree::ROOT {
                // Taken without being refused: nothing was written.
                prop_assert!(text.is_empty());
                continue;
            }
            let reads = tree.read(group, file).unwrap();
            let settings = *tree.settings(group).unwrap();
            if settings.is_idle() && matches!(file, File::Weight | File::WeightNice | File::Shares) {
                continue;
            }
            prop_assert_eq!(tree.write(group, file, reads.as_bytes()), Ok(()), "{:?}", reads);
            prop_assert_eq!(tree.read(group, file).unwrap(), reads);
        }
    }

    #[test]
    fn on_v1_no_group_ever_has_more_quota_than_the_nearest_limited_group_above(
        rules in rules(),
        parents in proptest::collection::vec(0..8_usize, 1..8),
        writes in proptest::collection::vec((1..9_usize, 0..2_usize, 1_000..1_000_000_i64), 1..80),
    ) {
        let (mut tree, groups) = tree(Version::V1, rules, &parents);
        for (group, file, value) in writes {
            let file = [File::CfsQuotaUs, File::CfsPeriodUs][file];
            let group = groups[1 + group % (groups.len() - 1)];
            let value = if value % 7 == 0 && file == File::CfsQuotaUs { -1 } else { value };
            let _ = tree.write(group, file, value.to_string().as_bytes());
        }
        for group in &groups {
            let Some(own) = tree.settings(*group).unwrap().limit().ratio() else { continue };
            let mut above = tree.parent(*group);
            while let Some(ancestor) = above {
                if let Some(ratio) = tree.settings(ancestor).unwrap().limit().ratio() {
                    prop_assert!(own <= ratio);
                }
                above = tree.parent(ancestor);
            }
        }
    }

    #[test]
    fn clamps_in_force_narrow_downwards_and_the_minimum_is_never_above_the_maximum(
        parents in proptest::collection::vec(0..8_usize, 1..8),
        writes in proptest::collection::vec((1..9_usize, any::<bool>(), 0..10_500_u64), 0..40),
        system in (0..=1024_u16, 0..=1024_u16),
    ) {
        let rules = Rules::named("7.2").unwrap();
        let (mut tree, groups) = tree(Version::V2, rules, &parents);
        for (group, min, centi) in writes {
            let file = if min { File::UclampMin } else { File::UclampMax };
            let text = format!("{}.{:02}", centi / 100, centi % 100);
            let _ = tree.write(groups[1 + group % (groups.len() - 1)], file, text.as_bytes());
        }
        let system = Clamp { min: system.0.min(system.1), max: system.1 };
        for group in &groups {
            let own = tree.effective_clamp(*group, system).unwrap();
            prop_assert!(own.min <= own.max);
            if let Some(parent) = tree.parent(*group) {
                let above = tree.effective_clamp(parent, system).unwrap();
                prop_assert!(own.min <= above.min && own.max <= above.max);
            }
            let task = Clamp::UNREQUESTED.of_task(Some(own), system);
            prop_assert_eq!(task, Clamp { min: own.min, max: own.max });
        }
    }

    #[test]
    fn any_trigger_that_is_taken_can_come_true(
        text in prop_oneof![
            texts(),
            (0..5_000_000_u32, 0..11_000_000_u32)
                .prop_map(|(threshold, window)| format!("some {threshold} {window}\n").into_bytes()),
        ],
        rules in rules(),
        privileged in any::<bool>(),
    ) {
        if let Ok(request) = TriggerRequest::parse(&text, &rules, privileged) {
            prop_assert!(0 < request.threshold_us && request.threshold_us <= request.window_us);
            prop_assert!(request.window_us <= 10_000_000);
        }
        let _ = TriggerRequest::parse_proc(&text, &rules, privileged);
    }
}
