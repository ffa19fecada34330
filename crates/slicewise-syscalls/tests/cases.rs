//! Worked examples of the specification (W2 to W7, cases 91 and 92) and the table of A.9, row by row.

#![allow(clippy::unwrap_used, reason = "a test")]

use slicewise_sched::{CpuId, CpuSet};
use slicewise_syscalls::{
    Build, Change, Credentials, Errno, Limits, Pid, Pointer, RawAttr, Refusal, RtGroup, Rule,
    Rules, Sysctl, System, Task, flags, policy, which,
};

const MS: u64 = 1_000_000;
const ROOT: Pid = 1;
const USER: Pid = 2;
const OTHER_USER: Pid = 3;

/// Root, a user, another user, and tasks 10 to 39 of root.
fn system(kernel: &str, cpus: u32) -> System {
    with(Rules::named(kernel).unwrap(), cpus)
}

fn with(rules: Rules, cpus: u32) -> System {
    let mut system = System::new(rules, cpus);
    system.insert(ROOT, Task::new(Credentials::ROOT));
    system.insert(USER, Task::new(Credentials::user(1000)));
    system.insert(OTHER_USER, Task::new(Credentials::user(1001)));
    for pid in 10..40 {
        system.insert(pid, Task::new(Credentials::ROOT));
    }
    system
}

/// The kernel the worked examples were measured on: neither clamps nor sched_ext.
fn measured() -> System {
    let rules = Rules::named("6.18").unwrap();
    let build = Build { uclamp: false, ext: false, rt_group_sched: true, hz: 250 };
    with(Rules { build, ..rules }, 2)
}

fn of(number: u32) -> RawAttr {
    RawAttr { size: 56, policy: number, ..RawAttr::default() }
}

fn deadline(runtime: u64, deadline: u64, period: u64) -> RawAttr {
    RawAttr { runtime, deadline, period, ..of(policy::DEADLINE) }
}

fn rt(number: u32, priority: u32) -> RawAttr {
    RawAttr { priority, ..of(number) }
}

fn set(system: &mut System, by: Pid, pid: Pid, attr: &RawAttr) -> Result<(), Refusal> {
    system.sched_setattr(by, pid, Pointer::To(&attr.to_bytes()), 0)
}

fn rule(result: Result<(), Refusal>) -> Option<Rule> {
    result.err().map(|refusal| refusal.rule)
}

fn errno(result: Result<(), Refusal>) -> Option<Errno> {
    result.err().map(|refusal| refusal.errno())
}

/// The structure in more memory than it needs, with one byte set.
fn memory(size: u32, at: usize, byte: u8) -> Vec<u8> {
    let mut memory = vec![0; 4200];
    memory[..4].copy_from_slice(&size.to_ne_bytes());
    if at > 0 {
        memory[at] = byte;
    }
    memory
}

#[test]
fn w1_the_priority_of_proc_stat_follows_the_policy() {
    let mut system = system("6.12", 1);
    let mut prio = |attr: &RawAttr| {
        set(&mut system, ROOT, 10, attr).unwrap();
        system.task(10).unwrap().prio - 100
    };
    assert_eq!(prio(&rt(policy::FIFO, 1)), -2);
    assert_eq!(prio(&rt(policy::FIFO, 99)), -100);
    assert_eq!(prio(&deadline(MS, 10 * MS, 10 * MS)), -101);
    assert_eq!(prio(&RawAttr { nice: -20, ..of(policy::OTHER) }), 0);
    assert_eq!(prio(&RawAttr { nice: 19, ..of(policy::OTHER) }), 39);
}

#[test]
fn a2_idle_takes_its_priority_from_the_request_and_keeps_its_nice_value() {
    let mut system = system("6.18", 1);
    let stat = |system: &System| {
        let task = system.task(10).unwrap();
        (task.prio - 100, task.nice.get())
    };
    set(&mut system, ROOT, 10, &RawAttr { nice: 7, ..of(policy::OTHER) }).unwrap();
    set(&mut system, ROOT, 10, &of(policy::IDLE)).unwrap();
    assert_eq!(stat(&system), (20, 7));
    system.setpriority(ROOT, which::PROCESS, 10, 9).unwrap();
    assert_eq!(stat(&system), (29, 9));
    set(&mut system, ROOT, 10, &RawAttr { nice: 7, ..of(policy::OTHER) }).unwrap();
    system.sched_setscheduler(ROOT, 10, 5, Pointer::To(0)).unwrap();
    assert_eq!(stat(&system), (27, 7));
}

#[test]
fn w2_the_vector_of_errors_measured_on_6_18() {
    let mut system = measured();
    let mut ask = |attr: &RawAttr| errno(set(&mut system, ROOT, 10, attr));
    let invalid = Some(Errno::EINVAL);
    assert_eq!(ask(&rt(policy::OTHER, 1)), invalid);
    for number in [4, 7, 8] {
        assert_eq!(ask(&of(number)), invalid, "policy {number}");
    }
    assert_eq!(ask(&rt(policy::FIFO, 0)), invalid);
    assert_eq!(ask(&rt(policy::FIFO, 100)), invalid);
    assert_eq!(ask(&RawAttr { flags: 0x80, ..of(0) }), invalid);
    assert_eq!(ask(&RawAttr { size: 48, flags: flags::UTIL_CLAMP_MIN, ..of(0) }), invalid);
    let clamp = RawAttr { flags: flags::UTIL_CLAMP_MIN, ..of(0) };
    assert_eq!(ask(&clamp), Some(Errno::EOPNOTSUPP));
    assert_eq!(ask(&RawAttr { nice: 100, ..of(0) }), None);
    assert_eq!(system.task(10).unwrap().nice.get(), 19);
    set(&mut system, ROOT, 10, &RawAttr { nice: -100, ..of(0) }).unwrap();
    assert_eq!(system.task(10).unwrap().nice.get(), -20);
    let bytes = of(0).to_bytes();
    let mut call = |pid, flags| errno(system.sched_setattr(ROOT, pid, Pointer::To(&bytes), flags));
    assert_eq!(call(10, 1), invalid);
    assert_eq!(call(-1, 0), invalid);
    assert_eq!(call(999_999, 0), Some(Errno::ESRCH));
}

#[test]
fn w2_sizes_are_taken_from_48_bytes_to_a_page_if_the_rest_is_clear() {
    let mut system = measured();
    let mut ask = |size, at, byte| {
        let result = system.sched_setattr(ROOT, 10, Pointer::To(&memory(size, at, byte)), 0);
        result.err().map(|refusal| (refusal.errno(), refusal.size_written()))
    };
    for size in [0, 48, 49, 55, 56, 57, 4096] {
        assert_eq!(ask(size, 0, 0), None, "{size}");
    }
    let too_big = Some((Errno::E2BIG, Some(56)));
    for size in [1, 47, 4097, u32::MAX] {
        assert_eq!(ask(size, 0, 0), too_big, "{size}");
    }
    assert_eq!(ask(64, 57, 1), too_big);
    assert_eq!(ask(64, 63, 1), too_big);
    assert_eq!(ask(64, 64, 1), None);
    assert_eq!(ask(4096, 4095, 7), too_big);
}

#[test]
fn w3_slices_are_clamped_and_zero_restores_the_default() {
    let mut system = system("6.18", 2);
    let mut slice = |runtime| {
        set(&mut system, ROOT, 10, &RawAttr { runtime, ..of(0) }).unwrap();
        let out = system.sched_getattr(ROOT, 10, Pointer::To(()), 56, 0).unwrap();
        RawAttr::from_bytes(&out.bytes).runtime
    };
    assert_eq!(slice(3_000_000), 3_000_000);
    assert_eq!(slice(1), 100_000);
    assert_eq!(slice(1_000_000_000), 100_000_000);
    assert_eq!(slice(0), 1_400_000);
}

#[test]
fn w3_kernels_before_6_12_know_no_slices() {
    let mut system = system("6.1", 2);
    set(&mut system, ROOT, 10, &RawAttr { runtime: 3 * MS, ..of(0) }).unwrap();
    let out = system.sched_getattr(ROOT, 10, Pointer::To(()), 56, 0).unwrap();
    assert_eq!(RawAttr::from_bytes(&out.bytes).runtime, 0);
}

#[test]
fn w5_and_case_92_deadline_parameters_are_checked_before_anything_of_the_task() {
    let mut system = system("6.18", 2);
    let cases = [
        (1023, MS, MS, Some(Rule::RuntimeTooShort)),
        (1024, MS, MS, None),
        (MS, 0, 10 * MS, Some(Rule::DeadlineZero)),
        (2 * MS, MS, 10 * MS, Some(Rule::RuntimeAfterDeadline)),
        (MS, 10 * MS, 5 * MS, Some(Rule::DeadlineAfterPeriod)),
        (MS, 10 * MS, 0, None),
        (2000, 99_999, 99_999, Some(Rule::PeriodTooShort)),
        (2000, 100_000, 100_000, None),
        (MS, 10 * MS, 4_194_304_000, None),
        (MS, 10 * MS, 4_194_304_001, Some(Rule::PeriodTooLong)),
        (MS, 10 * MS, 4_200_000_000, Some(Rule::PeriodTooLong)),
        (MS, 1 << 63, 1 << 63, Some(Rule::TimeTooLong)),
        (10 * MS, 30 * MS, 30 * MS, None),
    ];
    for (runtime, relative, period, broken) in cases {
        let attr = deadline(runtime, relative, period);
        assert_eq!(rule(set(&mut system, ROOT, 10, &attr)), broken, "{attr:?}");
        // Even for those who may not reserve anything.
        let of_user = broken.or(Some(Rule::DeadlineNotAllowed));
        assert_eq!(rule(set(&mut system, USER, 0, &attr)), of_user, "{attr:?}");
    }
    let priority = RawAttr { priority: 1, ..deadline(MS, 10 * MS, 10 * MS) };
    assert_eq!(rule(set(&mut system, ROOT, 10, &priority)), Some(Rule::PriorityNotTaken));
    let both = RawAttr { flags: 6, ..deadline(MS, 10 * MS, 0) };
    assert_eq!(rule(set(&mut system, ROOT, 10, &both)), None);
    let told = system.attr_of(system.task(10).unwrap());
    assert_eq!((told.period, told.flags), (10 * MS, 6));
}

#[test]
fn w6_admission_on_two_cpus_is_exact_to_the_last_unit() {
    let mut system = system("6.18", 2);
    let total = |system: &System| system.domains()[0].total();
    assert_eq!((system.domains()[0].limit(), total(&system)), (Some(1_992_294), 104_856));
    set(&mut system, ROOT, 10, &deadline(10 * MS, 10 * MS, 10 * MS)).unwrap();
    assert_eq!(total(&system), 1_153_432);
    let second = |runtime| deadline(runtime, 1000 * MS, 1000 * MS);
    let refusal = set(&mut system, ROOT, 11, &second(800_002_100)).unwrap_err();
    assert_eq!(refusal.errno(), Errno::EBUSY);
    assert!(refusal.facts.contains(&("bandwidth_asked", 838_863)), "{refusal:?}");
    set(&mut system, ROOT, 11, &second(800_001_145)).unwrap();
    assert_eq!(total(&system), 1_992_294);
    let refused = rule(set(&mut system, ROOT, 12, &second(1100)));
    assert_eq!(refused, Some(Rule::BandwidthExceeded));
}

#[test]
fn w6_and_case_91_how_many_tenths_and_twentieths_fit() {
    let fit = |kernel: &str, cpus: u32, runtime: u64| {
        let mut system = system(kernel, cpus);
        let attr = deadline(runtime, 100 * MS, 100 * MS);
        (100..200)
            .take_while(|pid| {
                system.insert(*pid, Task::new(Credentials::ROOT));
                set(&mut system, ROOT, *pid, &attr).is_ok()
            })
            .count()
    };
    assert_eq!((fit("6.12", 1, 10 * MS), fit("6.18", 2, 10 * MS)), (9, 18));
    assert_eq!(fit("7.2", 1, 10 * MS), 9);
    assert_eq!((fit("6.18", 2, 5 * MS), fit("6.18", 2, 30 * MS)), (36, 6));
    assert_eq!(fit("6.1", 2, 5 * MS), 38);
}

#[test]
fn case_91_three_thirds_of_a_frame_fit_one_cpu_by_rounding_down() {
    let mut system = system("6.12", 1);
    for pid in 10..13 {
        set(&mut system, ROOT, pid, &deadline(10 * MS, 33_333_333, 33_333_333)).unwrap();
    }
    let domain = &system.domains()[0];
    assert_eq!((domain.total() - 52_428, domain.limit().unwrap() - 52_428), (943_716, 943_719));
}

#[test]
fn case_92_density_does_not_count_in_admission() {
    let mut system = system("6.18", 2);
    for pid in 10..14 {
        set(&mut system, ROOT, pid, &deadline(9 * MS, 10 * MS, 1000 * MS)).unwrap();
    }
}

#[test]
fn case_92_priorities_have_the_ranges_posix_tells() {
    let system = system("6.18", 1);
    for (number, range) in [(0, 0), (1, 99), (2, 99), (3, 0), (5, 0), (6, 0), (7, 0)] {
        assert_eq!(system.sched_get_priority_max(number), Ok(range), "{number}");
    }
    assert_eq!(system.sched_get_priority_min(1), Ok(1));
    let refused = |number| system.sched_get_priority_min(number).unwrap_err().errno();
    assert_eq!((refused(4), refused(-1)), (Errno::EINVAL, Errno::EINVAL));
    assert!(self::system("6.1", 1).sched_get_priority_max(7).is_err());
}

#[test]
fn case_92_the_real_time_sysctls_refuse_what_makes_no_sense() {
    let mut system = system("6.18", 1);
    let mut write = |file, text: &str| errno(system.write_sysctl(file, text));
    let invalid = Some(Errno::EINVAL);
    assert_eq!(write(Sysctl::RtPeriod, "0"), invalid);
    assert_eq!(write(Sysctl::RtPeriod, "-1"), invalid);
    assert_eq!(write(Sysctl::RtRuntime, "-2"), invalid);
    assert_eq!(write(Sysctl::RtRuntime, "1000001"), invalid);
    assert_eq!(write(Sysctl::RtRuntime, "x"), invalid);
    assert_eq!(write(Sysctl::RtRuntime, "-1"), None);
    assert_eq!(write(Sysctl::RtRuntime, "1000000"), None);
    // The fair server alone would not fit.
    assert_eq!(write(Sysctl::RtRuntime, "49000"), Some(Errno::EBUSY));
    assert_eq!(system.read_sysctl(Sysctl::RtRuntime), "1000000\n");
}

#[test]
fn case_92_round_robin_intervals_follow_the_sysctl_in_whole_ticks() {
    let mut system = system("6.18", 1);
    set(&mut system, ROOT, 10, &rt(policy::RR, 5)).unwrap();
    let interval = |system: &System, pid| {
        system.sched_rr_get_interval(ROOT, pid, Pointer::To(())).map_err(|r| r.errno())
    };
    assert_eq!(interval(&system, 10), Ok(100 * MS));
    for (text, ns) in [("10", 12 * MS), ("1", 4 * MS), ("0", 100 * MS), ("-7", 100 * MS)] {
        system.write_sysctl(Sysctl::RrTimeslice, text).unwrap();
        assert_eq!(interval(&system, 10), Ok(ns), "{text}");
    }
    assert_eq!(system.read_sysctl(Sysctl::RrTimeslice), "100\n");
    set(&mut system, ROOT, 10, &rt(policy::FIFO, 5)).unwrap();
    assert_eq!(interval(&system, 10), Ok(0));
    // A slice of less than a tick.
    assert_eq!(interval(&system, 11), Ok(0));
    set(&mut system, ROOT, 11, &RawAttr { runtime: 9 * MS, ..of(0) }).unwrap();
    assert_eq!(interval(&system, 11), Ok(8 * MS));
    assert_eq!(
        (interval(&system, -1), interval(&system, 999)),
        (Err(Errno::EINVAL), Err(Errno::ESRCH))
    );
}

#[test]
fn w7_affinity_is_eperm_for_who_wants_to_reserve_and_ebusy_for_who_has() {
    let mut system = system("6.18", 2);
    let attr = deadline(10 * MS, 100 * MS, 100 * MS);
    system.sched_setaffinity(ROOT, 10, Pointer::To(&[1])).unwrap();
    let refused = set(&mut system, ROOT, 10, &attr);
    assert_eq!(rule(refused), Some(Rule::AffinityNotWhole));
    assert_eq!(Rule::AffinityNotWhole.errno(), Errno::EPERM);
    set(&mut system, ROOT, 11, &attr).unwrap();
    let refused = system.sched_setaffinity(ROOT, 11, Pointer::To(&[1]));
    assert_eq!(
        (rule(refused), Rule::DeadlineAffinity.errno()),
        (Some(Rule::DeadlineAffinity), Errno::EBUSY)
    );
    assert_eq!(system.sched_setaffinity(ROOT, 11, Pointer::To(&[0xff])), Ok(()));
}

#[test]
fn w7_a_deadline_task_forks_only_with_reset_on_fork() {
    let mut system = system("6.18", 2);
    let attr = deadline(10 * MS, 100 * MS, 100 * MS);
    set(&mut system, ROOT, 10, &attr).unwrap();
    assert_eq!(errno(system.fork(10, 100)), Some(Errno::EAGAIN));
    set(&mut system, ROOT, 10, &RawAttr { flags: flags::RESET_ON_FORK, ..attr }).unwrap();
    system.fork(10, 100).unwrap();
    let child = system.attr_of(system.task(100).unwrap());
    assert_eq!((child.policy, child.nice, child.flags), (0, 0, 0));
}

#[test]
fn w7_a_task_in_an_exclusive_cpuset_needs_the_cpus_of_that_one_only() {
    let mut system = system("6.12", 4);
    let inner = system.partition(&CpuSet::of([CpuId(2), CpuId(3)]));
    let mut task = Task::new(Credentials::ROOT);
    (task.domain, task.cpus) = (inner, CpuSet::of([CpuId(2), CpuId(3)]));
    task.cpuset = task.cpus.clone();
    system.insert(50, task);
    set(&mut system, ROOT, 50, &deadline(10 * MS, 100 * MS, 100 * MS)).unwrap();
    assert_eq!(system.domains()[inner].total(), 2 * 52_428 + 104_857);
    assert_eq!(system.domains()[0].total(), 2 * 52_428);
}

#[test]
fn children_keep_policy_and_clamps_but_lose_them_with_reset_on_fork() {
    let mut system = system("6.18", 2);
    let clamped = RawAttr { flags: flags::UTIL_CLAMP_MIN, util_min: 300, ..rt(policy::RR, 5) };
    set(&mut system, ROOT, 10, &clamped).unwrap();
    system.fork(10, 100).unwrap();
    let child = system.attr_of(system.task(100).unwrap());
    assert_eq!((child.policy, child.priority, child.util_min), (policy::RR, 5, 300));
    let reset = RawAttr { flags: clamped.flags | flags::RESET_ON_FORK, ..clamped };
    set(&mut system, ROOT, 10, &reset).unwrap();
    system.fork(10, 101).unwrap();
    let child = system.attr_of(system.task(101).unwrap());
    assert_eq!((child.policy, child.priority, child.util_min, child.flags), (0, 0, 0, 0));
    // A fair parent's policy stays, and so does a nice value that is not negative.
    for (nice, left) in [(5, 5), (-5, 0)] {
        let batch = RawAttr { nice, flags: flags::RESET_ON_FORK, runtime: 5 * MS, ..of(3) };
        set(&mut system, ROOT, 11, &batch).unwrap();
        system.fork(11, 102).unwrap();
        let child = system.task(102).unwrap();
        assert_eq!((child.policy, child.nice.get(), child.slice_ns), (3, left, None));
    }
}

#[test]
fn a9_row_1_comes_before_all_others_and_asks_for_pointer_pid_and_flags() {
    let mut system = system("6.12", 1);
    let mut call = |pid, attr, flags| rule(system.sched_setattr(ROOT, pid, attr, flags));
    assert_eq!(call(-1, Pointer::Null, 1), Some(Rule::NullPointer));
    assert_eq!(call(-1, Pointer::Bad, 1), Some(Rule::NegativePid));
    assert_eq!(call(999, Pointer::Bad, 1), Some(Rule::CallFlags));
    assert_eq!(call(999, Pointer::Bad, 0), Some(Rule::BadAddress));
}

#[test]
fn a9_rows_2_to_4_come_before_the_task_is_looked_for() {
    let mut system = system("6.12", 1);
    let mut call = |bytes: &[u8]| rule(system.sched_setattr(ROOT, 999, Pointer::To(bytes), 0));
    assert_eq!(call(&memory(47, 0, 0)), Some(Rule::AttrSize));
    assert_eq!(call(&memory(64, 60, 1)), Some(Rule::AttrTail));
    assert_eq!(call(&[]), Some(Rule::BadAddress));
    assert_eq!(call(&memory(56, 0, 0)[..55]), Some(Rule::BadAddress));
    // The end is checked before all of it is read.
    assert_eq!(call(&memory(64, 60, 1)[..61]), Some(Rule::AttrTail));
    let mut clamp = memory(48, 8, flags::UTIL_CLAMP_MAX as u8);
    assert_eq!(call(&clamp), Some(Rule::ClampNeedsSize));
    clamp[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(call(&clamp), Some(Rule::ClampNeedsSize));
}

#[test]
fn a9_row_5_a_negative_policy_comes_before_a_missing_task_and_row_6_before_row_7() {
    let mut system = system("6.12", 1);
    assert_eq!(rule(set(&mut system, ROOT, 999, &of(1 << 31))), Some(Rule::NegativePolicy));
    assert_eq!(rule(set(&mut system, ROOT, 999, &of(99))), Some(Rule::NoSuchTask));
    assert_eq!(rule(set(&mut system, ROOT, 10, &of(99))), Some(Rule::UnknownPolicy));
}

#[test]
fn a9_rows_7_to_11_come_one_before_the_other() {
    let mut system = system("6.12", 1);
    let mut ask = |attr: RawAttr| rule(set(&mut system, USER, 10, &attr));
    let worst = RawAttr { flags: 0x80, priority: 100, ..deadline(0, 0, 0) };
    assert_eq!(ask(RawAttr { policy: 4, ..worst }), Some(Rule::UnknownPolicy));
    assert_eq!(ask(RawAttr { policy: 7, ..worst }), Some(Rule::PolicyNotBuilt));
    assert_eq!(ask(worst), Some(Rule::UnknownFlags));
    assert_eq!(ask(RawAttr { flags: 0, ..worst }), Some(Rule::PriorityTooHigh));
    assert_eq!(ask(RawAttr { flags: 0, priority: 1, ..worst }), Some(Rule::DeadlineZero));
    let fits = RawAttr { priority: 1, ..deadline(MS, 2 * MS, 0) };
    assert_eq!(ask(fits), Some(Rule::PriorityNotTaken));
    assert_eq!(ask(rt(policy::FIFO, 0)), Some(Rule::PriorityNeeded));
    assert_eq!(ask(deadline(MS, 2 * MS, 0)), Some(Rule::DeadlineNotAllowed));
}

#[test]
fn a9_row_7_sched_ext_is_valid_where_it_is_built_in() {
    assert_eq!(rule(set(&mut system("7.2", 1), ROOT, 10, &of(policy::EXT))), None);
    let refused = rule(set(&mut system("6.1", 1), ROOT, 10, &of(policy::EXT)));
    assert_eq!(refused, Some(Rule::PolicyNotBuilt));
}

#[test]
fn a9_row_12_limits_are_those_of_the_target() {
    let mut system = system("6.12", 1);
    let limit = |system: &mut System, limits| system.task_mut(USER).unwrap().limits = limits;
    let fifo = |priority| rt(policy::FIFO, priority);
    assert_eq!(rule(set(&mut system, USER, 0, &fifo(1))), Some(Rule::RtPolicyNotAllowed));
    set(&mut system, ROOT, USER, &fifo(50)).unwrap();
    assert_eq!(rule(set(&mut system, USER, 0, &fifo(40))), None);
    assert_eq!(rule(set(&mut system, USER, 0, &fifo(41))), Some(Rule::RtPriorityNotAllowed));
    let other = rt(policy::RR, 30);
    assert_eq!(rule(set(&mut system, USER, 0, &other)), Some(Rule::RtPolicyNotAllowed));
    assert_eq!(rule(set(&mut system, USER, 0, &of(0))), None);
    limit(&mut system, Limits { rtprio: 20, nice: 0 });
    assert_eq!(rule(set(&mut system, USER, 0, &fifo(20))), None);
    assert_eq!(rule(set(&mut system, USER, 0, &fifo(21))), Some(Rule::RtPriorityNotAllowed));
}

#[test]
fn a9_row_12_nice_values_fall_as_far_as_rlimit_nice_and_idle_holds_on_to_its_own() {
    let mut system = system("6.12", 1);
    let nice = |number, nice| RawAttr { nice, ..of(number) };
    assert_eq!(rule(set(&mut system, USER, 0, &nice(0, 5))), None);
    assert_eq!(rule(set(&mut system, USER, 0, &nice(0, 4))), Some(Rule::NiceNotAllowed));
    assert_eq!(rule(set(&mut system, USER, 0, &nice(5, 0))), None);
    assert_eq!(rule(set(&mut system, USER, 0, &nice(0, 5))), Some(Rule::IdleStays));
    assert_eq!(rule(set(&mut system, USER, 0, &nice(3, 5))), Some(Rule::IdleStays));
    system.task_mut(USER).unwrap().limits.nice = 25;
    assert_eq!(rule(set(&mut system, USER, 0, &nice(0, -5))), None);
    assert_eq!(rule(set(&mut system, USER, 0, &nice(0, -6))), Some(Rule::NiceNotAllowed));
}

#[test]
fn a9_row_12_deadline_needs_the_capability_and_others_need_the_user() {
    let mut system = system("6.12", 1);
    let attr = deadline(MS, 10 * MS, 10 * MS);
    system.task_mut(USER).unwrap().limits = Limits { nice: 40, rtprio: 99 };
    assert_eq!(rule(set(&mut system, USER, 0, &attr)), Some(Rule::DeadlineNotAllowed));
    assert_eq!(rule(set(&mut system, OTHER_USER, USER, &of(0))), Some(Rule::NotOwner));
    // The effective user of the caller, either user of the target.
    system.task_mut(OTHER_USER).unwrap().credentials.uid = 1000;
    assert_eq!(rule(set(&mut system, USER, OTHER_USER, &of(0))), None);
    assert_eq!(rule(set(&mut system, OTHER_USER, USER, &of(0))), Some(Rule::NotOwner));
}

#[test]
fn a9_row_12_reset_on_fork_is_kept_by_those_who_may_not_take_it_back() {
    let mut system = system("6.12", 1);
    let reset = RawAttr { flags: flags::RESET_ON_FORK, ..of(0) };
    assert_eq!(rule(set(&mut system, USER, 0, &reset)), None);
    assert_eq!(rule(set(&mut system, USER, 0, &of(0))), Some(Rule::ResetOnForkStays));
    let keep = RawAttr { flags: flags::KEEP_POLICY, nice: 3, ..of(0) };
    assert_eq!(rule(set(&mut system, USER, 0, &keep)), None);
    assert!(system.task(USER).unwrap().reset_on_fork);
    assert_eq!(rule(set(&mut system, ROOT, USER, &of(0))), None);
}

#[test]
fn a9_rows_13_and_14_the_kernels_flag_and_the_more_capable_come_after_permission() {
    let mut system = system("6.12", 1);
    let internal = RawAttr { flags: flags::SUGOV, ..of(0) };
    assert_eq!(rule(set(&mut system, USER, 10, &internal)), Some(Rule::NotOwner));
    assert_eq!(rule(set(&mut system, USER, 0, &internal)), Some(Rule::InternalFlag));
    let mut capable = Task::new(Credentials::user(1000));
    capable.credentials.permitted = 1;
    system.insert(50, capable);
    assert_eq!(rule(set(&mut system, USER, 50, &of(0))), Some(Rule::MoreCapable));
    assert_eq!(rule(set(&mut system, 50, USER, &of(0))), None);
}

#[test]
fn a9_row_15_clamps_are_0_to_1024_and_in_order() {
    let mut system = system("7.2", 1);
    let both =
        |util_min, util_max| RawAttr { flags: flags::UTIL_CLAMP, util_min, util_max, ..of(0) };
    let mut ask = |attr: &RawAttr| rule(set(&mut system, ROOT, 10, attr));
    assert_eq!(ask(&both(1024, 1024)), None);
    assert_eq!(ask(&both(1025, 1025)), Some(Rule::ClampRange));
    assert_eq!(ask(&both(500, 499)), Some(Rule::ClampOrder));
    assert_eq!(ask(&both(u32::MAX, u32::MAX)), None);
    let lower = |util_min| RawAttr { flags: flags::UTIL_CLAMP_MIN, util_min, ..of(0) };
    let upper = RawAttr { flags: flags::UTIL_CLAMP_MAX, util_max: 50, ..of(0) };
    assert_eq!(ask(&lower(100)), None);
    assert_eq!(ask(&upper), Some(Rule::ClampOrder));
}

#[test]
fn a9_row_15_a_clamp_below_minus_one_is_taken_and_cut_to_11_bits() {
    // Seen on 6.18.15 and 7.2.12.
    let mut system = system("7.2", 1);
    let mut lower = |value: i32| {
        let util_min = value.cast_unsigned();
        let attr = RawAttr { flags: flags::UTIL_CLAMP_MIN, util_min, ..of(0) };
        set(&mut system, ROOT, 10, &attr).unwrap();
        system.attr_of(system.task(10).unwrap()).util_min
    };
    assert_eq!((lower(-2), lower(i32::MIN)), (2046, 0));
    let util_max = (-2_i32).cast_unsigned();
    let upper = RawAttr { flags: flags::UTIL_CLAMP_MAX, util_max, ..of(0) };
    assert_eq!(rule(set(&mut system, ROOT, 10, &upper)), Some(Rule::ClampOrder));
}

#[test]
fn getattr_takes_flag_1_for_deadline_tasks_on_7_2_only() {
    // Seen on 6.18.15 and 7.2.12.
    for (kernel, of_deadline) in [("6.18", Err(Errno::EINVAL)), ("7.2", Ok(true))] {
        let mut system = system(kernel, 1);
        let ask = |system: &System| {
            let out = system.sched_getattr(ROOT, 10, Pointer::To(()), 56, 1);
            out.map(|out| out.budget_asked).map_err(|refusal| refusal.errno())
        };
        assert_eq!(ask(&system), Err(Errno::EINVAL));
        set(&mut system, ROOT, 10, &deadline(MS, 10 * MS, 10 * MS)).unwrap();
        assert_eq!(ask(&system), of_deadline, "{kernel}");
    }
}

#[test]
fn a13_a_clamp_nobody_has_set_follows_the_policy() {
    let mut system = system("7.2", 1);
    let clamps = |system: &System| {
        let attr = system.attr_of(system.task(10).unwrap());
        (attr.util_min, attr.util_max)
    };
    set(&mut system, ROOT, 10, &rt(policy::FIFO, 5)).unwrap();
    assert_eq!(clamps(&system), (1024, 1024));
    set(&mut system, ROOT, 10, &of(0)).unwrap();
    assert_eq!(clamps(&system), (0, 1024));
    let lower = RawAttr { flags: flags::UTIL_CLAMP_MIN, util_min: 100, ..of(0) };
    set(&mut system, ROOT, 10, &lower).unwrap();
    set(&mut system, ROOT, 10, &rt(policy::FIFO, 5)).unwrap();
    assert_eq!(clamps(&system), (100, 1024));
    let reset = RawAttr { flags: flags::UTIL_CLAMP_MIN, util_min: u32::MAX, ..rt(policy::FIFO, 5) };
    set(&mut system, ROOT, 10, &reset).unwrap();
    assert_eq!(clamps(&system), (1024, 1024));
}

#[test]
fn a9_rows_16_and_17_stoppers_and_barred_tasks() {
    let mut system = system("7.2", 1);
    system.task_mut(10).unwrap().stopper = true;
    assert_eq!(rule(set(&mut system, ROOT, 10, &of(0))), Some(Rule::StopTask));
    system.task_mut(11).unwrap().ext_disallowed = true;
    assert_eq!(rule(set(&mut system, ROOT, 11, &of(policy::EXT))), Some(Rule::ExtDisallowed));
    assert_eq!(Rule::ExtDisallowed.errno(), Errno::EACCES);
    assert_eq!(rule(set(&mut system, ROOT, 11, &of(0))), None);
}

#[test]
fn a9_row_18_who_changes_nothing_needs_no_resources_but_stores_reset_on_fork() {
    let mut system = system("6.12", 2);
    let attr = deadline(10 * MS, 100 * MS, 100 * MS);
    set(&mut system, ROOT, 10, &attr).unwrap();
    // No reservation could be had with these CPUs now.
    system.task_mut(10).unwrap().cpus = CpuSet::one(CpuId(0));
    assert_eq!(rule(set(&mut system, ROOT, 10, &attr)), None);
    let reset = RawAttr { flags: flags::RESET_ON_FORK, ..attr };
    assert_eq!(rule(set(&mut system, ROOT, 10, &reset)), None);
    assert!(system.task(10).unwrap().reset_on_fork);
    let more = deadline(11 * MS, 100 * MS, 100 * MS);
    assert_eq!(rule(set(&mut system, ROOT, 10, &more)), Some(Rule::AffinityNotWhole));
}

#[test]
fn a9_row_19_a_group_without_runtime_has_no_real_time_tasks() {
    let mut system = measured();
    system.task_mut(10).unwrap().group = Some(RtGroup { runtime_us: 0 });
    let fifo = rt(policy::FIFO, 5);
    assert_eq!(rule(set(&mut system, ROOT, 10, &fifo)), Some(Rule::GroupWithoutRuntime));
    assert_eq!(rule(set(&mut system, ROOT, 10, &of(3))), None);
    system.write_sysctl(Sysctl::RtRuntime, "-1").unwrap();
    assert_eq!(rule(set(&mut system, ROOT, 10, &fifo)), None);
    // Kernels without RT_GROUP_SCHED do not ask.
    let mut other = self::system("6.12", 1);
    other.task_mut(10).unwrap().group = Some(RtGroup { runtime_us: 0 });
    assert_eq!(rule(set(&mut other, ROOT, 10, &fifo)), None);
}

#[test]
fn a9_row_20_nothing_can_be_reserved_of_nothing_and_anything_without_a_limit() {
    let mut system = system("6.1", 2);
    let attr = deadline(100 * MS, 100 * MS, 100 * MS);
    system.write_sysctl(Sysctl::RtRuntime, "0").unwrap();
    assert_eq!(rule(set(&mut system, ROOT, 10, &attr)), Some(Rule::NoDeadlineBandwidth));
    system.write_sysctl(Sysctl::RtRuntime, "-1").unwrap();
    system.sched_setaffinity(ROOT, 10, Pointer::To(&[1])).unwrap();
    for pid in 10..20 {
        set(&mut system, ROOT, pid, &attr).unwrap();
    }
    let refused = system.write_sysctl(Sysctl::RtRuntime, "950000");
    assert_eq!(rule(refused), Some(Rule::BelowReserved));
    assert_eq!(system.sysctls().rt_runtime_us, -1);
}

#[test]
fn a9_row_21_a_change_needs_only_the_difference() {
    let mut system = system("6.12", 1);
    set(&mut system, ROOT, 10, &deadline(50 * MS, 100 * MS, 100 * MS)).unwrap();
    let more = deadline(90 * MS, 100 * MS, 100 * MS);
    assert_eq!(rule(set(&mut system, ROOT, 11, &more)), Some(Rule::BandwidthExceeded));
    assert_eq!(rule(set(&mut system, ROOT, 10, &more)), None);
    assert_eq!(system.domains()[0].total(), 52_428 + 943_718);
}

#[test]
fn c2_who_leaves_holds_its_bandwidth_until_its_zero_lag_time() {
    let mut system = system("6.12", 1);
    set(&mut system, ROOT, 10, &deadline(90 * MS, 100 * MS, 100 * MS)).unwrap();
    set(&mut system, ROOT, 10, &of(0)).unwrap();
    let attr = deadline(10 * MS, 100 * MS, 100 * MS);
    assert_eq!(rule(set(&mut system, ROOT, 11, &attr)), Some(Rule::BandwidthExceeded));
    system.zero_lag(10);
    assert_eq!(rule(set(&mut system, ROOT, 11, &attr)), None);
    system.exit(11);
    assert_eq!(system.domains()[0].total(), 52_428 + 104_857);
    system.zero_lag(11);
    assert_eq!(system.domains()[0].total(), 52_428);
}

#[test]
fn what_is_taken_from_a_sleeper_past_its_zero_lag_time_is_never_free_again() {
    // Seen on 6.1.192, 6.12.117, 6.18.15 and 7.2.12.
    let mut system = system("6.1", 1);
    set(&mut system, ROOT, 10, &deadline(10 * MS, 100 * MS, 100 * MS)).unwrap();
    system.task_mut(10).unwrap().inactive = true;
    set(&mut system, ROOT, 10, &of(0)).unwrap();
    system.zero_lag(10);
    assert_eq!(system.domains()[0].total(), 104_857);
    set(&mut system, ROOT, 10, &deadline(20 * MS, 100 * MS, 100 * MS)).unwrap();
    assert_eq!(system.domains()[0].total(), 104_857 + 209_715);
}

#[test]
fn reading_a_sysctl_counts_reservations_anew_and_6_12_forgets_its_fair_servers() {
    let totals = |kernel: &str| {
        let mut system = system(kernel, 2);
        set(&mut system, ROOT, 10, &deadline(10 * MS, 100 * MS, 100 * MS)).unwrap();
        let before = system.domains()[0].total();
        system.read_sysctl(Sysctl::RtPeriod);
        (before, system.domains()[0].total())
    };
    assert_eq!(totals("6.1"), (104_857, 104_857));
    assert_eq!(totals("6.12"), (209_713, 104_857));
    assert_eq!(totals("7.2"), (209_713, 209_713));
}

#[test]
fn keep_params_fills_in_what_the_task_has_but_reserves_what_was_asked() {
    // Seen on 6.12: a fair task that asks so for SCHED_DEADLINE stays fair, and its slice is reserved.
    let mut system = system("6.12", 2);
    let before = system.domains()[0].total();
    let odd = RawAttr { flags: flags::KEEP_PARAMS, ..deadline(MS, 10 * MS, 10 * MS) };
    set(&mut system, ROOT, 10, &odd).unwrap();
    assert_eq!(system.task(10).unwrap().policy, policy::OTHER);
    assert_eq!(system.domains()[0].total() - before, 146_800);
}

#[test]
fn legacy_calls_keep_nice_values_and_slices() {
    let mut system = system("6.18", 2);
    let own = RawAttr { nice: 5, runtime: 7 * MS, ..of(0) };
    set(&mut system, ROOT, 10, &own).unwrap();
    system.sched_setscheduler(ROOT, 10, 1, Pointer::To(7)).unwrap();
    assert_eq!(system.sched_getparam(ROOT, 10, Pointer::To(())), Ok(7));
    system.sched_setparam(ROOT, 10, Pointer::To(9)).unwrap();
    system.sched_setscheduler(ROOT, 10, 0x4000_0000, Pointer::To(0)).unwrap();
    assert_eq!(system.sched_getscheduler(ROOT, 10), Ok(0x4000_0000));
    let told = system.attr_of(system.task(10).unwrap());
    assert_eq!((told.nice, told.runtime, told.flags), (5, 7 * MS, 1));
}

#[test]
fn nice_calls_tell_limits_by_eacces_and_owners_by_eperm() {
    let mut system = system("6.12", 1);
    let mut call = |by, who, nice| errno(system.setpriority(by, which::PROCESS, who, nice));
    assert_eq!(call(USER, 0, 5), None);
    assert_eq!(call(USER, 0, 4), Some(Errno::EACCES));
    assert_eq!(call(USER, OTHER_USER, 5), Some(Errno::EPERM));
    assert_eq!(call(USER, 999, 5), Some(Errno::ESRCH));
    assert_eq!(errno(system.setpriority(ROOT, 3, 0, 0)), Some(Errno::EINVAL));
    assert_eq!(system.getpriority(ROOT, which::USER, 1000), Ok(15));
    assert_eq!(errno(system.nice(USER, -1)), Some(Errno::EPERM));
    assert_eq!(system.nice(USER, 100), Ok(()));
    assert_eq!(system.getpriority(USER, which::PROCESS, 0), Ok(1));
}

#[test]
fn affinity_masks_may_be_short_but_have_to_name_a_cpu_that_is_there() {
    let mut system = system("6.12", 2);
    let mut call =
        |by, pid, mask: &[u8]| rule(system.sched_setaffinity(by, pid, Pointer::To(mask)));
    assert_eq!(call(ROOT, 10, &[]), Some(Rule::NoUsableCpu));
    assert_eq!(call(ROOT, 10, &[0xf0]), Some(Rule::NoUsableCpu));
    assert_eq!(call(ROOT, 10, &[2]), None);
    assert_eq!(call(USER, OTHER_USER, &[0]), Some(Rule::NotOwner));
    assert_eq!(call(ROOT, 999, &[1]), Some(Rule::NoSuchTask));
    let get = |len| system.sched_getaffinity(ROOT, 10, len, Pointer::To(())).map_err(|r| r.rule);
    assert_eq!(get(8), Ok(vec![2, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(get(1024).map(|mask| mask.len()), Ok(8));
    assert_eq!((get(0), get(12)), (Err(Rule::MaskTooShort), Err(Rule::MaskUneven)));
}

#[test]
fn the_scheduler_is_told_what_has_changed_and_nothing_else() {
    let mut system = system("6.12", 2);
    system.take_changes();
    set(&mut system, ROOT, 10, &rt(policy::FIFO, 5)).unwrap();
    set(&mut system, ROOT, 10, &rt(policy::FIFO, 5)).unwrap();
    assert!(set(&mut system, ROOT, 10, &rt(policy::FIFO, 0)).is_err());
    system.sched_setaffinity(ROOT, 10, Pointer::To(&[1])).unwrap();
    let attr = system.task(10).unwrap().attr();
    let cpus = CpuSet::one(CpuId(0));
    let changes = [Change::Attr { pid: 10, attr }, Change::Affinity { pid: 10, cpus }];
    assert_eq!(system.take_changes(), changes);
    assert_eq!(system.take_changes(), []);
}
