//! What holds whatever is called.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use slicewise_syscalls::script::{Replay, Step, parse_line};
use slicewise_syscalls::{Credentials, Pid, Pointer, RawAttr, Rule, Rules, System, Task, policy};

fn kernel() -> impl Strategy<Value = Rules> {
    prop::sample::select(Rules::NAMES.to_vec()).prop_map(|name| Rules::named(name).unwrap())
}

/// Attributes most of which are nearly acceptable.
fn attr() -> impl Strategy<Value = RawAttr> {
    let time = prop_oneof![
        4 => 1_000_u64..200_000_000,
        1 => prop::sample::select(vec![0, 1023, 1024, 99_999, 100_000, 4_194_304_001, 1 << 63]),
    ];
    let sched_flags = prop_oneof![4 => Just(0_u64), 4 => 0_u64..128, 1 => any::<u64>()];
    let number = prop::sample::select(vec![0, 1, 2, 3, 4, 5, 6, 6, 6, 7, u32::MAX]);
    let (nice, priority) = (-25_i32..25, prop_oneof![3 => Just(0_u32), 1 => 0_u32..101]);
    let clamps = (any::<u16>(), any::<u32>());
    (number, sched_flags, nice, priority, [time.clone(), time.clone(), time], clamps).prop_map(
        |(number, flags, nice, priority, [runtime, deadline, period], (util_min, util_max))| {
            RawAttr {
                size: 56,
                policy: number,
                flags,
                nice,
                priority,
                runtime,
                deadline,
                period,
                util_min: util_min.into(),
                util_max,
            }
        },
    )
}

const TASKS: Pid = 6;

fn system(rules: Rules, cpus: u32) -> System {
    let mut system = System::new(rules, cpus);
    system.insert(1, Task::new(Credentials::ROOT));
    for pid in 2..=TASKS {
        system.insert(pid, Task::new(Credentials::user(1000 + pid.cast_unsigned() % 2)));
    }
    system.take_changes();
    system
}

/// What tasks have reserved.
fn reserved(system: &System) -> u64 {
    system.tasks().map(|(_, task)| task.bandwidth()).sum()
}

proptest! {
    #[test]
    fn any_bytes_at_any_size_are_refused_or_taken_and_a_refused_call_changes_nothing(
        rules in kernel(),
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        size in prop_oneof![Just(None), (0_u32..130).prop_map(Some)],
        pid in -2..10,
        caller in 1..=TASKS,
    ) {
        let mut bytes = bytes;
        if let (Some(size), Some(first)) = (size, bytes.get_mut(..4)) {
            first.copy_from_slice(&size.to_ne_bytes());
        }
        let mut system = system(rules, 2);
        let before = system.clone();
        if let Err(refusal) = system.sched_setattr(caller, pid, Pointer::To(&bytes), 0) {
            prop_assert_eq!(&system, &before, "{}", refusal);
            let big = matches!(refusal.rule, Rule::AttrSize | Rule::AttrTail);
            prop_assert_eq!(refusal.size_written().is_some(), big);
        }
    }

    #[test]
    fn what_is_reserved_is_the_sum_of_what_tasks_have_and_never_above_the_limit(
        rules in kernel(),
        cpus in 1_u32..5,
        calls in prop::collection::vec((1..=TASKS, attr(), any::<bool>()), 1..60),
    ) {
        let mut system = system(rules, cpus);
        let servers = system.domains()[0].total();
        for (pid, attr, settled) in calls {
            // Who keeps its parameters and asks for SCHED_DEADLINE reserves without having it.
            let attr = RawAttr { flags: attr.flags & !0x10, ..attr };
            let before = system.clone();
            let bytes = attr.to_bytes();
            let result = system.sched_setattr(1, pid, Pointer::To(&bytes), 0);
            if result.is_err() {
                prop_assert_eq!(&system, &before);
            }
            let domain = &system.domains()[0];
            prop_assert!(domain.total() <= domain.limit().unwrap());
            prop_assert!(domain.total() >= servers + reserved(&system));
            if settled {
                let leaving: Vec<Pid> = system.leaving().collect();
                leaving.into_iter().for_each(|pid| system.zero_lag(pid));
                prop_assert_eq!(system.domains()[0].total(), servers + reserved(&system));
            }
        }
        (1..=TASKS).for_each(|pid| system.exit(pid));
        (1..=TASKS).for_each(|pid| system.zero_lag(pid));
        prop_assert_eq!(system.domains()[0].total(), servers);
    }

    #[test]
    fn what_getattr_tells_can_be_set_again_and_changes_nothing_that_shows(
        rules in kernel(),
        first in attr(),
    ) {
        let mut system = system(rules, 2);
        let _ = system.sched_setattr(1, 2, Pointer::To(&first.to_bytes()), 0);
        let told = system.attr_of(system.task(2).unwrap());
        let prio = system.task(2).unwrap().prio;
        prop_assert_eq!(system.sched_setattr(1, 2, Pointer::To(&told.to_bytes()), 0), Ok(()));
        prop_assert_eq!(system.attr_of(system.task(2).unwrap()), told);
        // SCHED_IDLE: the first request's nice value is not told.
        prop_assert!(told.policy == policy::IDLE || system.task(2).unwrap().prio == prio);
    }

    #[test]
    fn a_user_without_capabilities_never_gets_beyond_its_limits(
        rules in kernel(),
        calls in prop::collection::vec((0..=TASKS, attr(), 0..4), 1..40),
        rtprio in 0_u64..100,
        nice in 0_u64..41,
    ) {
        let mut system = system(rules, 2);
        for pid in 2..=TASKS {
            let task = system.task_mut(pid).unwrap();
            (task.limits.rtprio, task.limits.nice) = (rtprio, nice);
        }
        for (pid, attr, call) in calls {
            let priority = Pointer::To(attr.priority.cast_signed());
            let number = attr.policy.cast_signed();
            let _ = match call {
                0 => system.sched_setattr(2, pid, Pointer::To(&attr.to_bytes()), 0),
                1 => system.sched_setscheduler(2, pid, number, priority),
                2 => system.sched_setparam(2, pid, priority),
                _ => system.setpriority(2, 0, pid, attr.nice),
            };
        }
        for (pid, task) in system.tasks() {
            prop_assert!(task.policy != policy::DEADLINE);
            prop_assert!(u64::from(task.rt_priority) <= rtprio);
            prop_assert!(task.nice.get() >= 0 || 20 - i64::from(task.nice.get()) <= nice as i64);
            if task.credentials.uid != system.task(2).unwrap().credentials.uid {
                prop_assert_eq!(task.policy, 0, "{}", pid);
            }
        }
    }

    #[test]
    fn lines_of_any_text_are_steps_or_errors_and_steps_print_as_they_read(text in "[ -~]{0,60}") {
        if let Ok(Some((step, _))) = parse_line(&text) {
            let again: Step = step.to_string().parse().unwrap();
            prop_assert_eq!(&again, &step);
            Replay::new(Rules::named("6.12").unwrap(), 2).perform(&step);
        }
    }
}
