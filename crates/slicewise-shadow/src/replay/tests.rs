//! The order of what the core is told, on events made by hand.

use std::collections::HashMap;

use slicewise_ftrace::{
    Comm, Event, HrtimerExpire, Kind, Other, SleepState, StatRuntime, Switch, SwitchState, TaskRef,
    TimerFunction, Wakeup,
};
use slicewise_sched::Profile;

use super::Replay;
use crate::config::ShadowConfig;
use crate::cpu::Pending;
use crate::gaps::Gaps;
use crate::survey::{Survey, Ticks};
use crate::tasks::Doing;

const A: i32 = 10;
const B: i32 = 11;

fn task(pid: i32) -> TaskRef {
    TaskRef { pid, comm: Comm::new(b"x"), prio: 120 }
}

fn event(time_us: u64, kind: Kind) -> Event {
    let (pid, in_interrupt, need_resched) = (None, None, None);
    Event { time_ns: time_us * 1_000, cpu: 0, pid, tgid: None, in_interrupt, need_resched, kind }
}

fn new(pid: i32) -> Kind {
    Kind::WakeupNew(Wakeup { task: task(pid), target_cpu: 0 })
}

fn switch(prev: i32, prev_state: SwitchState, next: i32) -> Switch {
    Switch { prev: task(prev), prev_state, prev_letter: b'R', next: task(next) }
}

fn charge(pid: i32, runtime_us: u64) -> StatRuntime {
    let comm = Comm::new(b"x");
    StatRuntime { pid, comm, runtime_ns: runtime_us * 1_000, vruntime_ns: None }
}

fn survey(slept: HashMap<u64, Vec<i32>>) -> Survey {
    Survey {
        first_ns: 0,
        last_ns: 1_000_000_000,
        cpus: 1,
        switches: 1,
        has_charges: true,
        has_hrticks: true,
        ticks: Ticks::Recorded,
        hz: Some(250),
        has_attribute_calls: false,
        changes: HashMap::new(),
        slept,
    }
}

#[test]
fn a_yield_that_a_tick_came_in_front_of_comes_after_the_tick() {
    let survey = survey(HashMap::new());
    let config = ShadowConfig::new(Profile::named("7.2").unwrap());
    let mut replay = Replay::new(&survey, &config).unwrap();
    let call =
        Other { system: "syscalls".into(), name: "sys_enter_sched_yield".into(), fields: vec![] };
    for kind in [
        new(A),
        new(B),
        Kind::Switch(switch(0, SwitchState::Runnable, A)),
        Kind::Other(call),
        Kind::HrtimerExpire(HrtimerExpire { function: TimerFunction::Tick }),
    ] {
        replay.feed(&event(100, kind)).unwrap();
    }
    assert_eq!(replay.cpus[0].pending, Some(Pending::Tick));
    replay.feed(&event(400, Kind::StatRuntime(charge(A, 300)))).unwrap();
    assert_eq!(replay.cpus[0].pending, Some(Pending::Yield), "the charge was the tick's");
    assert!(!replay.cpus[0].yielded);
    replay.feed(&event(405, Kind::StatRuntime(charge(A, 5)))).unwrap();
    assert_eq!((replay.cpus[0].pending, replay.cpus[0].yielded), (None, true));
}

#[test]
fn who_went_to_sleep_where_events_are_missing_does_not_wait_any_more() {
    // B waits; events are missing from 100 us to 9 ms, in which A was charged for 2 ms alone.
    let mut gaps = Gaps::default();
    gaps.wakeup(A, 0);
    gaps.wakeup(B, 0);
    gaps.switch(0, 100_000, &switch(0, SwitchState::Runnable, A));
    gaps.charge(0, 9_000_000, &charge(A, 2_000));
    gaps.switch(0, 9_100_000, &switch(A, SwitchState::Asleep(SleepState::Waiting), 0));
    let slept = gaps.slept();
    assert_eq!(slept, HashMap::from([(9_000_000, vec![B])]), "the CPU went idle without it");

    let survey = survey(slept);
    let config = ShadowConfig::new(Profile::named("6.12").unwrap());
    let mut replay = Replay::new(&survey, &config).unwrap();
    replay.feed(&event(50, new(A))).unwrap();
    replay.feed(&event(50, new(B))).unwrap();
    replay.feed(&event(100, Kind::Switch(switch(0, SwitchState::Runnable, A)))).unwrap();
    replay.feed(&event(200, Kind::StatRuntime(charge(A, 100)))).unwrap();
    assert_eq!(replay.tasks.get(B).unwrap().doing, Doing::Waiting);
    replay.feed(&event(9_000, Kind::StatRuntime(charge(A, 2_000)))).unwrap();
    assert_eq!(replay.tasks.get(B).unwrap().doing, Doing::Sleeping);
    assert_eq!(replay.judge.stale, 0);
}

#[test]
fn who_is_taken_after_missing_events_had_waited_all_along() {
    let mut gaps = Gaps::default();
    gaps.wakeup(A, 0);
    gaps.wakeup(B, 0);
    gaps.switch(0, 100_000, &switch(0, SwitchState::Runnable, A));
    gaps.charge(0, 9_000_000, &charge(A, 2_000));
    gaps.switch(0, 9_100_000, &switch(A, SwitchState::Runnable, B));
    gaps.switch(0, 9_200_000, &switch(B, SwitchState::Asleep(SleepState::Waiting), A));
    assert_eq!(gaps.slept(), HashMap::new());
    // Charges that fit the time show no gap.
    let mut gaps = Gaps::default();
    gaps.wakeup(B, 0);
    gaps.switch(0, 100_000, &switch(0, SwitchState::Runnable, A));
    gaps.charge(0, 9_000_000, &charge(A, 8_900));
    gaps.wakeup(B, 0);
    assert_eq!(gaps.slept(), HashMap::new());
}
