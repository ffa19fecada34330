//! One decision of each kind.

use super::*;
use slicewise_sched::{
    Attr, CpuId, Nice, Profile, QueueView, RtPriority, SchedConfig, Scheduler, SmpConfig, Spawn,
};

const PLAIN: Style = Style { color: false, width: 120 };

/// Ids come from a scheduler: nobody else can make them.
fn ids() -> Vec<TaskId> {
    let profile = Profile::named("6.12").unwrap();
    let features = profile.features;
    let config = SchedConfig {
        profile,
        features,
        base_slice_ns: None,
        cpus: 1,
        hz: 1000,
        smp: SmpConfig::default(),
    };
    let mut scheduler = Scheduler::new(&config).unwrap();
    (0..4).map(|_| scheduler.spawn(0, Spawn::default()).unwrap()).collect()
}

fn name(task: TaskId) -> String {
    ["hog", "web", "batch", "late"][task.slot()].to_owned()
}

fn eevdf(vruntime_ns: i64, average_ns: i64, deadline_ns: i64) -> FairView {
    let lag_ns = average_ns - vruntime_ns;
    FairView {
        vruntime_ns,
        weight: 1_048_576,
        lag_ns: Some(lag_ns),
        eligible: Some(lag_ns >= 0),
        deadline_ns: Some(deadline_ns),
        slice_ns: 2_800_000,
        custom_slice: false,
        protected: false,
        delayed: false,
    }
}

fn cfs(vruntime_ns: i64) -> FairView {
    let fair = eevdf(vruntime_ns, 0, 0);
    FairView { lag_ns: None, eligible: None, deadline_ns: None, ..fair }
}

fn fair(task: TaskId, fair: FairView) -> Candidate {
    let attr = Attr::default();
    Candidate {
        task,
        attr,
        class: Class::Fair,
        current: false,
        rt_group_throttled: false,
        deadline: None,
        fair: Some(fair),
    }
}

fn rt(task: TaskId, priority: i64) -> Candidate {
    let policy = Policy::Fifo(RtPriority::new(priority).unwrap());
    let attr = Attr { policy, ..Attr::default() };
    Candidate {
        task,
        attr,
        class: Class::Rt,
        current: false,
        rt_group_throttled: false,
        deadline: None,
        fair: None,
    }
}

fn decision(candidates: Vec<Candidate>, picked: Option<TaskId>, rule: Rule) -> Decision {
    let is_eevdf =
        candidates.iter().any(|candidate| candidate.fair.is_some_and(|fair| fair.lag_ns.is_some()));
    let queue = QueueView {
        cpu: CpuId(0),
        at_ns: 12_345_678,
        average_vruntime_ns: is_eevdf.then_some(50_000_000),
        min_vruntime_ns: (!is_eevdf).then_some(40_000_000),
        rt_throttled: false,
        candidates,
    };
    Decision { queue, paid: Vec::new(), picked, rule }
}

fn text(candidates: Vec<Candidate>, picked: Option<TaskId>, rule: Rule) -> String {
    render_explain(&decision(candidates, picked, rule), &name, 12_345_678, PLAIN)
}

#[test]
fn eevdf_shows_who_is_eligible_and_whose_deadline_is_first() {
    let ids = ids();
    let hog =
        Candidate { current: true, ..fair(ids[0], eevdf(51_500_000, 50_000_000, 54_300_000)) };
    let own = eevdf(49_000_000, 50_000_000, 49_500_000);
    let web = fair(ids[1], FairView { custom_slice: true, slice_ns: 500_000, ..own });
    let mut batch = fair(ids[2], eevdf(49_500_000, 50_000_000, 62_000_000));
    batch.attr.nice = Nice::new(5).unwrap();
    let delayed = FairView { delayed: true, ..eevdf(50_100_000, 50_000_000, 53_000_000) };
    let late = fair(ids[3], delayed);
    let out = text(vec![hog, web, batch, late], Some(ids[1]), Rule::EarliestDeadline);
    insta::assert_snapshot!(out, @r"
        CPU 0, decided at 12.345678 ms
        V, the weighted average of virtual runtimes: 50.000000 ms

                                                                                    ──relative to V───
            TASK   POLICY        WEIGHT    SLICE      VRUNTIME       LAG  ELIGIBLE  VRUNTIME  DEADLINE
            hog    OTHER           1024  2.80 ms  51.500000 ms  -1.50 ms  no        +1.50 ms  +4.30 ms  had the CPU
        =>  web    OTHER           1024  *500 us  49.000000 ms  +1.00 ms  yes       -1.00 ms   -500 us  *own slice
            batch  OTHER nice 5    1024  2.80 ms  49.500000 ms   +500 us  yes        -500 us  +12.0 ms
            late   OTHER           1024  2.80 ms  50.100000 ms   -100 us  no         +100 us  +3.00 ms  asleep

        web gets the CPU: earliest virtual deadline among the eligible.
          hog: not eligible: 1.50 ms ahead of the average.
          batch: eligible, but its deadline is 12.5 ms later.
          late: asleep, queued only until its debt is paid.
        ");
}

#[test]
fn a_protected_task_stays_although_a_deadline_is_earlier() {
    let ids = ids();
    let protected = FairView { protected: true, ..eevdf(49_900_000, 50_000_000, 52_000_000) };
    let hog = Candidate { current: true, ..fair(ids[0], protected) };
    let web = fair(ids[1], eevdf(49_000_000, 50_000_000, 51_000_000));
    let out = text(vec![hog, web], Some(ids[0]), Rule::Protected);
    insta::assert_snapshot!(out, @r"
        CPU 0, decided at 12.345678 ms
        V, the weighted average of virtual runtimes: 50.000000 ms

                                                                             ──relative to V───
            TASK  POLICY  WEIGHT    SLICE      VRUNTIME       LAG  ELIGIBLE  VRUNTIME  DEADLINE
        =>  hog   OTHER     1024  2.80 ms  49.900000 ms   +100 us  yes        -100 us  +2.00 ms  had the CPU, protected
            web   OTHER     1024  2.80 ms  49.000000 ms  +1.00 ms  yes       -1.00 ms  +1.00 ms

        hog gets the CPU: running, eligible, and its slice protection still holds.
          web: its deadline is 1.00 ms earlier, but hog is protected.
        ");
}

#[test]
fn cfs_shows_virtual_runtimes() {
    let ids = ids();
    let hog = Candidate { current: true, ..fair(ids[0], cfs(47_000_000)) };
    let out = text(vec![hog, fair(ids[1], cfs(40_000_000))], Some(ids[1]), Rule::LeastVruntime);
    insta::assert_snapshot!(out, @r"
        CPU 0, decided at 12.345678 ms
        the minimum of virtual runtimes: 40.000000 ms

                                                         relative to minimum
            TASK  POLICY  WEIGHT    SLICE      VRUNTIME             VRUNTIME
            hog   OTHER     1024  2.80 ms  47.000000 ms             +7.00 ms  had the CPU
        =>  web   OTHER     1024  2.80 ms  40.000000 ms                 0 ns

        web gets the CPU: least virtual runtime.
          hog: its virtual runtime is 7.00 ms greater.
        ");
}

#[test]
fn cfs_says_who_had_to_stand_back() {
    let ids = ids();
    let queue = || vec![fair(ids[0], cfs(40_000_000)), fair(ids[1], cfs(41_000_000))];
    let why = |rule| {
        let decision = decision(queue(), Some(ids[1]), rule);
        ExplainReport::new(&decision, &name, 0).candidates[0].why.clone()
    };
    assert_eq!(why(Rule::SecondVruntime), "least virtual runtime, but it has just yielded");
    assert_eq!(why(Rule::NextBuddy), "its virtual runtime is 1.00 ms less, but web is the buddy");
}

#[test]
fn real_time_goes_by_priority_and_before_fair() {
    let ids = ids();
    let hog = fair(ids[0], eevdf(49_000_000, 50_000_000, 51_000_000));
    let out = text(
        vec![rt(ids[1], 50), rt(ids[2], 50), rt(ids[3], 10), hog],
        Some(ids[1]),
        Rule::RtPriority,
    );
    insta::assert_snapshot!(out, @r"
        CPU 0, decided at 12.345678 ms
        V, the weighted average of virtual runtimes: 50.000000 ms

                                                                               ──relative to V───
            TASK   POLICY   WEIGHT    SLICE      VRUNTIME       LAG  ELIGIBLE  VRUNTIME  DEADLINE
        =>  web    FIFO 50       -        -             -         -  -                -         -
            batch  FIFO 50       -        -             -         -  -                -         -
            late   FIFO 10       -        -             -         -  -                -         -
            hog    OTHER      1024  2.80 ms  49.000000 ms  +1.00 ms  yes       -1.00 ms  +1.00 ms

        web gets the CPU: highest real-time priority, first in its list.
          batch: same priority 50, but further back in its list.
          late: priority 10 is lower than 50.
          hog: its class, fair, comes after rt.
        ");
}

#[test]
fn an_empty_queue_is_idle() {
    insta::assert_snapshot!(text(vec![], None, Rule::Idle), @r"
        CPU 0, decided at 12.345678 ms

        The CPU goes idle: nothing is runnable.
        ");
}

#[test]
fn the_wire_names_are_a_contract() {
    let ids = ids();
    let hog = fair(ids[0], eevdf(49_000_000, 50_000_000, 51_000_000));
    let decision = decision(vec![rt(ids[1], 50), hog], Some(ids[1]), Rule::RtPriority);
    let report = ExplainReport::new(&decision, &name, 12_345_678);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap(), @r#"
        {
          "cpu": 0,
          "at_ns": 12345678,
          "decided_at_ns": 12345678,
          "picked": "web",
          "rule": "rt_priority",
          "reason": "web gets the CPU: highest real-time priority, first in its list.",
          "average_vruntime_ns": 50000000,
          "candidates": [
            {
              "name": "web",
              "picked": true,
              "current": false,
              "class": "rt",
              "policy": "SCHED_FIFO",
              "nice": 0,
              "priority": 50,
              "why": "highest real-time priority, first in its list"
            },
            {
              "name": "hog",
              "picked": false,
              "current": false,
              "class": "fair",
              "policy": "SCHED_OTHER",
              "nice": 0,
              "weight": 1024,
              "vruntime_ns": 49000000,
              "relative_vruntime_ns": -1000000,
              "lag_ns": 1000000,
              "eligible": true,
              "deadline_ns": 51000000,
              "relative_deadline_ns": 1000000,
              "slice_ns": 2800000,
              "custom_slice": false,
              "protected": false,
              "delayed": false,
              "why": "its class, fair, comes after rt"
            }
          ]
        }
        "#);
}
