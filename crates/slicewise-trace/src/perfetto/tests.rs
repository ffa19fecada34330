//! Decodes what the writer wrote, with messages declared here from Perfetto's published fields,
//! and checks what a viewer relies on.

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;
use prost::Message;
use slicewise_sched::CpuId;

#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<TracePacket>,
}

#[derive(Clone, PartialEq, Message)]
struct TracePacket {
    #[prost(message, optional, tag = "6")]
    clock_snapshot: Option<ClockSnapshot>,
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(message, optional, tag = "12")]
    interned_data: Option<InternedData>,
    #[prost(uint32, optional, tag = "13")]
    sequence_flags: Option<u32>,
    #[prost(message, optional, tag = "59")]
    trace_packet_defaults: Option<TracePacketDefaults>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct ClockSnapshot {
    #[prost(message, repeated, tag = "1")]
    clocks: Vec<Clock>,
    #[prost(int32, optional, tag = "2")]
    primary_trace_clock: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Clock {
    #[prost(uint32, optional, tag = "1")]
    clock_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    timestamp: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct TracePacketDefaults {
    #[prost(uint32, optional, tag = "58")]
    timestamp_clock_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct InternedData {
    #[prost(message, repeated, tag = "2")]
    event_names: Vec<EventName>,
}

#[derive(Clone, PartialEq, Message)]
struct EventName {
    #[prost(uint64, optional, tag = "1")]
    iid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    counter: Option<CounterDescriptor>,
    #[prost(int32, optional, tag = "11")]
    child_ordering: Option<i32>,
    #[prost(int32, optional, tag = "12")]
    sibling_order_rank: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct CounterDescriptor {
    #[prost(int32, optional, tag = "3")]
    unit: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(int32, optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "10")]
    name_iid: Option<u64>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(int64, optional, tag = "30")]
    counter_value: Option<i64>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    terminating_flow_ids: Vec<u64>,
}

const BEGIN: i32 = 1;
const END: i32 = 2;
const INSTANT: i32 = 3;
const COUNTER: i32 = 4;

/// What a viewer knows while it reads, checked packet by packet.
#[derive(Default)]
struct Viewer {
    last_ns: u64,
    tracks: BTreeMap<u64, TrackDescriptor>,
    names: BTreeMap<u64, String>,
    open: BTreeMap<u64, u64>,
    flows: Vec<u64>,
    lines: Vec<String>,
}

impl Viewer {
    fn packet(&mut self, packet: TracePacket) {
        assert_eq!(packet.trusted_packet_sequence_id, Some(1));
        if let Some(at) = packet.timestamp {
            assert!(at >= self.last_ns, "time goes back");
            self.last_ns = at;
        }
        for name in packet.interned_data.into_iter().flat_map(|data| data.event_names) {
            let old = self.names.insert(name.iid.unwrap(), name.name.unwrap());
            assert_eq!(old, None, "a number is given once");
        }
        if let Some(track) = packet.track_descriptor {
            if let Some(parent) = track.parent_uuid {
                assert!(self.tracks.contains_key(&parent), "parents come first");
            }
            self.tracks.insert(track.uuid.unwrap(), track);
        }
        if let Some(event) = packet.track_event {
            assert_eq!(packet.sequence_flags, Some(2));
            self.event(event);
        }
    }

    fn event(&mut self, event: TrackEvent) {
        let uuid = event.track_uuid.unwrap();
        let track = self.tracks.get(&uuid).expect("tracks are described before use");
        let track_name = track.name.clone().unwrap();
        let name = match (event.name_iid, event.name) {
            (Some(iid), None) => self.names[&iid].clone(),
            (None, name) => name.unwrap_or_default(),
            (Some(_), Some(_)) => panic!("two names"),
        };
        assert_eq!(track.counter.is_some(), event.r#type == Some(COUNTER));
        let open = self.open.entry(uuid).or_default();
        let what = match event.r#type.unwrap() {
            BEGIN => {
                *open += 1;
                assert_eq!(*open, 1, "states do not nest");
                format!("[ {name}")
            }
            END => {
                *open = open.checked_sub(1).expect("an end has a begin");
                "]".into()
            }
            INSTANT => format!("! {name}"),
            COUNTER => format!("= {}", event.counter_value.unwrap()),
            other => panic!("type {other}"),
        };
        let mut line = format!("{:>4} {track_name}: {what}", self.last_ns);
        for flow in event.flow_ids {
            assert!(!self.flows.contains(&flow), "a flow starts once");
            self.flows.push(flow);
            line.push_str(&format!(" ({flow}>"));
        }
        for flow in event.terminating_flow_ids {
            let at = self.flows.iter().position(|id| *id == flow);
            self.flows.remove(at.expect("a flow that ends has started"));
            line.push_str(&format!(" >{flow})"));
        }
        self.lines.push(line);
    }
}

fn view(bytes: &[u8]) -> Viewer {
    let trace = Trace::decode(bytes).unwrap();
    let first = trace.packet[0].clock_snapshot.as_ref().unwrap();
    assert_eq!(first.primary_trace_clock, Some(6));
    assert_eq!(first.clocks[0].clock_id, Some(6));
    assert_eq!(trace.packet[1].sequence_flags, Some(1));
    let defaults = trace.packet[1].trace_packet_defaults.as_ref().unwrap();
    assert_eq!(defaults.timestamp_clock_id, Some(6));
    let mut viewer = Viewer::default();
    for packet in trace.packet {
        viewer.packet(packet);
    }
    assert!(viewer.open.values().all(|open| *open == 0), "every begin has an end");
    viewer
}

fn info(slot: u32, pid: u32, name: &str) -> TaskInfo {
    TaskInfo {
        slot: Slot(slot),
        pid,
        name: name.into(),
        attr: Attr::default(),
        forked_from: None,
        group: None,
    }
}

fn wakeup(task: u32, waker: Option<u32>, new: bool) -> Event {
    Event::Wakeup { task: Slot(task), cpu: CpuId(0), waker: waker.map(Slot), new }
}

fn switch(prev: Option<u32>, left: Left, next: Option<u32>) -> Event {
    Event::Switch { cpu: CpuId(0), prev: prev.map(Slot), left, next: next.map(Slot) }
}

fn check(events: &[(u64, Event)], expected: &[&str]) {
    let mut writer = PerfettoWriter::new(Vec::new()).device_names(vec!["gpu".into()]);
    writer.group(0, &GroupInfo { group: 0, parent: None, path: "pods".into() });
    writer.group(0, &GroupInfo { group: 1, parent: Some(0), path: "pods/web".into() });
    writer.task(0, &info(0, 1, "a"));
    writer.task(0, &info(1, 2, "b"));
    for (at, event) in events {
        writer.event(*at, event);
    }
    writer.finish(100);
    let viewer = view(&writer.finish_writing().unwrap());
    assert_eq!(viewer.lines, expected, "got {:#?}", viewer.lines);
}

#[test]
fn a_wakeup_is_a_flow_from_the_waker_to_the_slice_in_which_the_woken_runs() {
    check(
        &[
            (0, wakeup(0, None, true)),
            (0, switch(None, Left::Idle, Some(0))),
            (5, wakeup(1, Some(0), false)),
            (9, switch(Some(0), Left::Preempted, Some(1))),
        ],
        &[
            "   0 a 1: ! Started",
            "   0 a 1: [ Runnable",
            "   0 a 1: ]",
            "   0 a 1: [ Running on CPU 0",
            "   0 CPU 0: [ a",
            "   5 a 1: ! Wakes b (1>",
            "   5 b 2: [ Runnable",
            "   9 CPU 0: ]",
            "   9 a 1: ]",
            "   9 a 1: [ Runnable (preempted)",
            "   9 b 2: ]",
            "   9 b 2: [ Running on CPU 0 >1)",
            "   9 CPU 0: [ b",
            " 100 CPU 0: ]",
            " 100 a 1: ]",
            " 100 b 2: ]",
        ],
    );
}

#[test]
fn a_wakeup_without_waker_is_an_instant_on_the_woken() {
    check(
        &[
            (1, switch(None, Left::Idle, Some(0))),
            (2, switch(Some(0), Left::Blocked, None)),
            (3, wakeup(0, None, false)),
        ],
        &[
            "   1 a 1: [ Running on CPU 0",
            "   1 CPU 0: [ a",
            "   2 CPU 0: ]",
            "   2 a 1: ]",
            "   2 a 1: [ Sleeping",
            "   3 a 1: ]",
            "   3 a 1: ! Woken by an interrupt",
            "   3 a 1: [ Runnable",
            " 100 a 1: ]",
        ],
    );
}

#[test]
fn an_exit_closes_the_task() {
    check(
        &[
            (1, switch(None, Left::Idle, Some(0))),
            (2, switch(Some(0), Left::Exited, None)),
            (2, Event::Exit { task: Slot(0) }),
        ],
        &[
            "   1 a 1: [ Running on CPU 0",
            "   1 CPU 0: [ a",
            "   2 CPU 0: ]",
            "   2 a 1: ]",
            "   2 a 1: ! Exited",
        ],
    );
}

#[test]
fn counters_migrations_changes_and_devices_have_their_marks() {
    let values =
        |vruntime_ns, lag_ns| Event::Values { task: Slot(0), cpu: CpuId(0), vruntime_ns, lag_ns };
    check(
        &[
            (1, values(500, -3)),
            (2, values(700, 4)),
            (3, Event::Migrate { task: Slot(0), from: CpuId(0), to: CpuId(1) }),
            (4, Event::Changed { task: Slot(0) }),
            (5, Event::Device { device: 0, busy: true }),
            (6, Event::Device { device: 1, busy: true }),
            (7, Event::Device { device: 0, busy: false }),
        ],
        &[
            "   1 vruntime: = 500",
            "   1 lag: = -3",
            "   2 vruntime: = 700",
            "   2 lag: = 4",
            "   3 a 1: ! Moves to CPU 1",
            "   4 a 1: ! Now SCHED_OTHER, nice 0",
            "   5 gpu: [ Busy",
            "   6 device 1: [ Busy",
            "   7 gpu: ]",
            " 100 device 1: ]",
        ],
    );
}

#[test]
fn a_group_has_a_track_on_each_cpu_where_it_was_stopped() {
    let throttle = |group, cpu, stops| Event::Throttle { group, cpu: CpuId(cpu), stops };
    check(
        &[
            (3, throttle(1, 2, true)),
            (4, throttle(0, 0, true)),
            (4, throttle(1, 2, true)),
            (5, throttle(1, 2, false)),
            (6, throttle(1, 2, true)),
        ],
        &[
            "   3 pods/web on CPU 2: [ Throttled",
            "   4 pods on CPU 0: [ Throttled",
            "   5 pods/web on CPU 2: ]",
            "   6 pods/web on CPU 2: [ Throttled",
            " 100 pods on CPU 0: ]",
            " 100 pods/web on CPU 2: ]",
        ],
    );
}

#[test]
fn names_are_interned_once() {
    let mut writer = PerfettoWriter::new(Vec::new());
    for pid in 1..100 {
        let forked = TaskInfo { forked_from: Some(0), ..info(0, pid, "fork") };
        writer.task(0, &forked);
        writer.event(0, &Event::Exit { task: Slot(0) });
    }
    let viewer = view(&writer.finish_writing().unwrap());
    assert_eq!(viewer.names.values().filter(|name| *name == "fork").count(), 1);
    assert_eq!(viewer.tracks.values().filter(|track| track.name() == "fork").count(), 99);
}

/// Fails after so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_is_kept_and_returned_at_the_end() {
    let mut writer = PerfettoWriter::new(Full(300 << 10));
    writer.task(0, &info(0, 1, "a"));
    for at in 0..20_000 {
        writer.event(at, &switch(None, Left::Idle, Some(0)));
        writer.event(at, &switch(Some(0), Left::Blocked, None));
    }
    assert_eq!(writer.finish_writing().err().unwrap().kind(), io::ErrorKind::StorageFull);
}

fn any_event() -> impl Strategy<Value = Event> {
    let slot = || (0u32..5).prop_map(Slot);
    let maybe = move || proptest::option::of(slot());
    let cpu = || (0u32..3).prop_map(CpuId);
    let left = prop_oneof![
        Just(Left::Preempted),
        Just(Left::Yielded),
        Just(Left::Blocked),
        Just(Left::Exited),
        Just(Left::Idle)
    ];
    prop_oneof![
        (slot(), cpu(), maybe(), any::<bool>()).prop_map(|(task, cpu, waker, new)| Event::Wakeup {
            task,
            cpu,
            waker,
            new
        }),
        (cpu(), maybe(), left, maybe()).prop_map(|(cpu, prev, left, next)| Event::Switch {
            cpu,
            prev,
            left,
            next
        }),
        (slot(), cpu(), cpu()).prop_map(|(task, from, to)| Event::Migrate { task, from, to }),
        slot().prop_map(|task| Event::Exit { task }),
        (slot(), any::<u64>(), any::<i64>()).prop_map(|(task, vruntime_ns, lag_ns)| {
            Event::Values { task, cpu: CpuId(0), vruntime_ns, lag_ns }
        }),
        (0u32..3, any::<bool>()).prop_map(|(device, busy)| Event::Device { device, busy }),
        (0u32..3, 0u32..3, any::<bool>()).prop_map(|(group, cpu, stops)| Event::Throttle {
            group,
            cpu: CpuId(cpu),
            stops
        }),
    ]
}

proptest! {
    /// Sources differ and traces lose events: whatever comes, the file stays well formed.
    #[test]
    fn any_stream_makes_a_well_formed_file(
        events in proptest::collection::vec((0u64..u64::MAX / 512, any_event()), 0..200),
        pids in proptest::collection::vec(1u32.., 10),
    ) {
        let mut writer = PerfettoWriter::new(Vec::new());
        let mut now_ns = 0;
        for (step, (pause, event)) in events.into_iter().enumerate() {
            now_ns += pause;
            if step % 20 < 4 {
                let slot = step % 5;
                writer.task(now_ns, &info(slot as u32, pids[step % 10], "x"));
            }
            writer.event(now_ns, &event);
        }
        view(&writer.finish_writing().unwrap());
    }
}
