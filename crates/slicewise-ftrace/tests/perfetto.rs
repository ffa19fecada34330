//! Perfetto traces, made to the letter of the published protos.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Cursor;

use slicewise_ftrace::{
    Error, Event, Findings, Kind, Reader, SwitchState, TimerFunction, TraceFile, TraceFormat, Value,
};

mod build;

use build::perfetto::{self, Message, bundle, compact, event, file, switch, wakeup};

fn read(packets: &[Message]) -> (Vec<Event>, Findings) {
    read_bytes(file(packets))
}

fn read_bytes(bytes: Vec<u8>) -> (Vec<Event>, Findings) {
    let mut reader = Reader::new(Cursor::new(bytes)).unwrap();
    assert_eq!(reader.info().format, TraceFormat::Perfetto);
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        events.push(event);
    }
    (events, reader.findings().clone())
}

/// Time, CPU, who ran, and what in short.
fn seen(events: &[Event]) -> Vec<(u64, u32, Option<i32>, String)> {
    let what = |event: &Event| match &event.kind {
        Kind::Switch(switch) => {
            format!("{}>{} {}", switch.prev.pid, switch.next.pid, char::from(switch.prev_letter))
        }
        Kind::Wakeup(wakeup) => format!("wakeup {}", wakeup.task.pid),
        Kind::WakeupNew(wakeup) => format!("new {}", wakeup.task.pid),
        Kind::Waking(wakeup) => format!("waking {}@{}", wakeup.task.pid, wakeup.target_cpu),
        Kind::StatRuntime(stat) => format!("ran {} {}", stat.pid, stat.runtime_ns),
        Kind::Named(named) => format!("{}/{} {}", named.tgid, named.pid, named.comm),
        Kind::Lost(_) => "lost".to_owned(),
        Kind::Other(other) => format!("{}:{}", other.system, other.name),
        other => format!("{other:?}"),
    };
    events.iter().map(|event| (event.time_ns, event.cpu, event.pid, what(event))).collect()
}

fn owned(expected: &[(u64, u32, Option<i32>, &str)]) -> Vec<(u64, u32, Option<i32>, String)> {
    expected.iter().map(|(time, cpu, pid, what)| (*time, *cpu, *pid, (*what).to_owned())).collect()
}

#[test]
fn events_of_all_cpus_come_in_the_order_of_time() {
    let expected = owned(&[
        (1_000, 0, Some(1), "1>2 S"),
        (1_500, 0, Some(2), "waking 3@1"),
        (1_700, 0, Some(2), "wakeup 3"),
        (1_800, 1, Some(0), "0>3 R"),
        (2_000, 1, Some(3), "3>4 R"),
        (2_000, 0, None, "2/3 thread3"),
        (3_000, 0, Some(2), "ran 2 500"),
        (3_200, 0, Some(2), "mine:my_event"),
        (3_300, 0, Some(2), "task:task_newtask"),
        (3_500, 0, Some(2), "2>0 Z"),
        (4_000, 1, None, "lost"),
        (4_000, 1, Some(4), "new 9"),
        (5_000, 0, Some(0), "irq:softirq_entry"),
        (5_100, 1, Some(4), "4>9 S"),
    ]);
    let packets = perfetto::sample();
    let mut files = vec![file(&packets)];
    // The same in one compressed packet, in several, and unpacked behind packed.
    for zstd in [false, true] {
        files.push(file(&[perfetto::compressed(&packets, zstd)]));
        let halves = packets.chunks(3).map(|some| perfetto::compressed(some, zstd));
        files.push(file(&halves.collect::<Vec<_>>()));
        let mut mixed = vec![perfetto::compressed(&packets[..4], zstd)];
        mixed.extend_from_slice(&packets[4..]);
        files.push(file(&mixed));
    }
    for bytes in files {
        let (events, findings) = read_bytes(bytes);
        assert_eq!(seen(&events), expected);
        assert_eq!((findings.lost_places, findings.lost_events), (1, 7));
        assert_eq!((findings.malformed, findings.backwards, findings.unknown_formats), (0, 0, 0));
        assert!(!findings.truncated);
    }
}

#[test]
fn what_the_trace_says_of_itself_is_told_once_it_was_read() {
    let mut reader = Reader::new(Cursor::new(file(&perfetto::sample()))).unwrap();
    while reader.next_event().unwrap().is_some() {}
    let info = reader.info();
    assert_eq!(info.cpus, [0, 1]);
    assert_eq!(info.online_cpus, Some(2));
    assert_eq!(info.clock.as_deref(), Some("boot"));
    assert_eq!(info.uname.as_deref(), Some("Linux 6.12.0 #1 SMP x86_64"));
}

#[test]
fn the_process_of_a_task_is_known_from_the_tree_and_from_its_making() {
    let (events, _) = read(&perfetto::sample());
    let tgid = |time_ns: u64, pid: i32| {
        let event = events.iter().find(|e| e.time_ns == time_ns && e.pid == Some(pid)).unwrap();
        event.tgid
    };
    // The tree comes behind these events, but before they are delivered.
    assert_eq!(tgid(2_000, 3), Some(2));
    assert_eq!(tgid(3_000, 2), Some(2));
    assert_eq!(tgid(4_000, 4), None);
}

#[test]
fn compact_switches_are_from_whoever_came_before() {
    let (events, findings) = read(&perfetto::compact_sample());
    let expected = owned(&[
        // Nobody knows who had the CPU.
        (1_000, 0, None, "sched:sched_switch"),
        (1_500, 0, Some(2), "waking 5@1"),
        (1_600, 1, None, "sched:sched_switch"),
        (1_700, 1, Some(5), "waking 7@0"),
        (2_000, 0, Some(2), "2>3 R"),
        (2_500, 1, Some(5), "5>6 R"),
        (2_600, 1, Some(6), "waking 8@0"),
        (3_000, 0, Some(3), "3>7 S"),
        (3_100, 1, Some(6), "6>0 S"),
    ]);
    assert_eq!(seen(&events), expected);
    assert!(findings.is_clean(), "{findings:?}");
    let Kind::Switch(switch) = &events[5].kind else { panic!("a switch") };
    assert_eq!(switch.prev_state, SwitchState::Preempted);
    assert_eq!((switch.prev.comm.to_text(), switch.prev.prio), ("task5".to_owned(), 120));
    assert_eq!(events[1].in_interrupt, None);
    assert_eq!(events[3].in_interrupt, Some(true));
    let Kind::Other(other) = &events[0].kind else { panic!("a switch without its beginning") };
    assert_eq!(other.field("next_pid"), Some(&Value::Signed(2)));
}

#[test]
fn behind_a_gap_it_is_not_known_who_had_the_cpu() {
    let lost = {
        let mut packet = compact(0, &[(3_000, 1, 7)], &[], None).0;
        // The flag of lost events goes into the bundle, which is the first field of the packet.
        let end = 2 + usize::from(packet[1]);
        packet[1] += 2;
        packet.splice(end..end, [3 << 3, 1]);
        Message(packet)
    };
    let (events, findings) = read(&[compact(0, &[(1_000, 1, 2)], &[], None), lost]);
    let expected = owned(&[
        (1_000, 0, None, "sched:sched_switch"),
        (3_000, 0, None, "lost"),
        (3_000, 0, None, "sched:sched_switch"),
    ]);
    assert_eq!((seen(&events), findings.lost_places), (expected, 1));
}

#[test]
fn a_dropped_packet_is_a_gap_of_every_cpu_that_had_events() {
    let w = |time_ns: u64| wakeup(time_ns, 1, 20, 1, 0);
    // `previous_packet_dropped`, first where nothing was before.
    let behind_gap = |cpu, time_ns| bundle(cpu, false, &[w(time_ns)]).number(42, 1);
    let packets = [
        behind_gap(0, 1_000),
        bundle(1, false, &[w(1_100)]),
        behind_gap(0, 2_000),
        bundle(1, false, &[w(2_100)]),
        bundle(2, false, &[w(2_200)]),
        bundle(0, false, &[w(3_000)]),
    ];
    let (events, findings) = read(&packets);
    let lost = events.iter().filter(|event| matches!(event.kind, Kind::Lost(_)));
    let lost: Vec<(u64, u32)> = lost.map(|event| (event.time_ns, event.cpu)).collect();
    assert_eq!((lost, findings.lost_places), (vec![(2_000, 0), (2_100, 1)], 2));
}

#[test]
fn a_cpu_that_was_read_only_in_part_holds_up_the_others() {
    let w = |time_ns: u64, pid: i32| wakeup(time_ns, 1, 20, pid, 0);
    let packets = [
        // CPU 0 had more than is read in one round: the rest comes in the next two.
        bundle(0, false, &[w(1_000, 1), w(2_000, 2)]),
        bundle(1, false, &[w(1_500, 3), w(9_000, 4)]),
        bundle(0, false, &[w(3_000, 5), w(4_000, 6)]),
        bundle(1, false, &[w(9_500, 7)]),
        bundle(0, false, &[w(5_000, 8), w(9_600, 9)]),
        bundle(1, false, &[w(9_900, 10)]),
    ];
    let (events, findings) = read(&packets);
    let times: Vec<u64> = events.iter().map(|event| event.time_ns).collect();
    assert_eq!(times, [1_000, 1_500, 2_000, 3_000, 4_000, 5_000, 9_000, 9_500, 9_600, 9_900]);
    assert_eq!(findings.backwards, 0);
}

#[test]
fn what_comes_too_late_is_delivered_late_and_counted() {
    let w = |time_ns: u64| wakeup(time_ns, 1, 20, 1, 0);
    let mut packets = Vec::new();
    for round in 1..10 {
        packets.push(bundle(0, false, &[w(round * 1_000)]));
        packets.push(bundle(1, false, &[w(round * 1_000 + 500)]));
    }
    // Out of a past that was delivered long ago.
    packets.push(bundle(0, false, &[w(1_200)]));
    let (events, findings) = read(&packets);
    assert_eq!((events.len(), findings.backwards), (19, 1));
    assert!(events.iter().any(|event| event.time_ns == 1_200));
}

#[test]
fn one_time_far_off_holds_up_nothing_but_itself() {
    let w = |time_ns: u64| wakeup(time_ns, 1, 20, 1, 0);
    let mut packets = Vec::new();
    for round in 1..10 {
        let far = if round == 3 { 1 << 60 } else { round * 1_000 + 10 };
        packets.push(bundle(0, false, &[w(round * 1_000), w(far)]));
        packets.push(bundle(1, false, &[w(round * 1_000 + 500)]));
    }
    let (events, findings) = read(&packets);
    assert_eq!((events.len(), findings.backwards), (27, 0));
    assert_eq!(events.last().map(|event| event.time_ns), Some(1 << 60));
}

#[test]
fn events_that_nobody_describes_are_counted() {
    let strange = event(1_500, 1, 41, &Message::default().number(1, 5));
    let (events, findings) =
        read(&[bundle(0, false, &[switch(1_000, 1, 1, 2), strange, switch(2_000, 2, 1, 1)])]);
    assert_eq!((events.len(), findings.unknown_formats, findings.malformed), (2, 1, 0));
}

#[test]
fn other_events_of_scheduling_have_their_types() {
    let text = |message: Message, field: u32, text: &str| message.bytes(field, text.as_bytes());
    let new = Message::default;
    let migrate =
        text(new(), 1, "a").number(2, 7).number(3, 120).number(4, 0).number(5, 3).number(6, 1);
    let fork = text(text(new().number(2, 7), 1, "a"), 3, "b").number(4, 8);
    let exec = text(new().number(2, 8).number(3, 8), 1, "/bin/b");
    let exit = text(new().number(2, 8).number(3, 7).number(4, 120), 1, "b");
    let setprio = text(new().number(2, -1).number(3, 120).number(4, 8), 1, "b");
    let timer = new().number(1, -1).number(2, 5).number(3, -4096);
    // In the general message, where the name may be there.
    let function = text(text(new(), 1, "function"), 3, "hrtick");
    let named_timer = text(new(), 1, "hrtimer_expire_entry").message(2, &function);
    let events = [
        event(1, 7, 491, &migrate),
        event(2, 7, 239, &fork),
        event(3, 8, 237, &exec),
        event(4, 8, 353, &setprio),
        event(5, 8, 553, &timer),
        event(6, 8, 238, &exit),
        event(7, 8, 327, &named_timer),
    ];
    let (events, findings) = read(&[bundle(0, false, &events)]);
    assert!(findings.is_clean(), "{findings:?}");
    let kinds: Vec<&Kind> = events.iter().map(|event| &event.kind).collect();
    assert!(matches!(kinds[0], Kind::Migrate(m) if (m.task.pid, m.from, m.to) == (7, 0, 3)));
    assert!(matches!(kinds[1], Kind::Fork(f) if (f.parent, f.child) == (7, 8)));
    assert!(matches!(kinds[2], Kind::Exec(e) if (e.pid, e.old_pid) == (8, 8)));
    assert!(
        matches!(kinds[3], Kind::PiSetprio(p) if (p.pid, p.old_prio, p.new_prio) == (8, 120, -1))
    );
    assert!(matches!(kinds[4], Kind::HrtimerExpire(t) if t.function == TimerFunction::Other));
    assert!(matches!(kinds[5], Kind::Exit(e) if (e.task.pid, e.task.prio) == (8, 120)));
    assert!(matches!(kinds[6], Kind::HrtimerExpire(t) if t.function == TimerFunction::HrTick));
}

#[test]
fn a_trace_without_ftrace_says_how_to_record_it() {
    // A track event, as for viewers.
    let packet = Message::default().number(8, 5).message(11, &Message::default().number(9, 1));
    let mut reader = Reader::new(Cursor::new(file(&[packet]))).unwrap();
    let error = reader.next_event().unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what } if what.contains("linux.ftrace")));
}

#[test]
fn damage_is_passed_over_up_to_packets_that_make_sense_again() {
    let w = |time_ns: u64| wakeup(time_ns, 1, 20, 1, 0);
    let packets: Vec<Message> = (1..20).map(|at| bundle(0, false, &[w(at * 1_000)])).collect();
    let whole = file(&packets);
    let one = whole.len() / packets.len();
    // The tag of a packet, its length, the tag of its bundle, the length of that.
    for byte in 0..4 {
        let mut bytes = whole.clone();
        bytes[5 * one + byte] ^= 0x40;
        let (events, findings) = read_bytes(bytes);
        assert!((17..=18).contains(&events.len()), "{byte}: {} events", events.len());
        assert_eq!(findings.malformed, 1, "{byte}: {findings:?}");
    }
}

#[test]
fn a_packet_that_unpacks_to_too_much_is_refused() {
    let bomb = zstd::stream::encode_all(vec![0; 80 << 20].as_slice(), 1).unwrap();
    let bomb = Message::default().bytes(133, &bomb);
    let (events, findings) = read(&[bundle(0, false, &[switch(1_000, 1, 1, 2)]), bomb]);
    assert_eq!((events.len(), findings.malformed), (1, 1));
    assert!(findings.first_malformed.unwrap().contains("more than 67108864 bytes"));
}

#[test]
fn a_pipe_gives_the_same_events_as_the_file() {
    let bytes = file(&perfetto::sample());
    let pipe = TraceFile::of_stream(Cursor::new(bytes.clone())).unwrap();
    assert_eq!(pipe.bytes(), None);
    let mut reader = Reader::new(pipe).unwrap();
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        events.push(event);
    }
    assert_eq!(seen(&events), seen(&read_bytes(bytes).0));
}

/// The first events of a recording, written by the classes that Google's protobuf makes of Perfetto's own protos:
/// as they are, and as compact events in compressed packets.
#[test]
fn what_others_encoded_gives_the_events_of_the_recording() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let recording = root.join("../slicewise-lab/truth/traces/slice-long-6.12.dat");
    let mut of_recording = Vec::new();
    let mut reader = Reader::open(&recording).unwrap();
    while let Some(event) = reader.next_event().unwrap() {
        of_recording.push(event);
    }
    for (name, is_compact) in [("perfetto.bin", false), ("perfetto_compact.bin", true)] {
        let bytes = std::fs::read(root.join("tests/samples").join(name)).unwrap();
        let (events, findings) = read_bytes(bytes);
        assert!(findings.is_clean(), "{name}: {findings:?}");
        assert_eq!(events.len(), 69, "{name}");
        let mut has_switched = false;
        for (event, mut expected) in events.into_iter().zip(of_recording.clone()) {
            expected.in_interrupt = event.in_interrupt;
            expected.need_resched = event.need_resched;
            match (&event.kind, &mut expected.kind) {
                // Addresses of functions have no names here; probes have fields of the general kind.
                (_, Kind::HrtimerExpire(timer)) => timer.function = TimerFunction::Other,
                (Kind::Other(event), Kind::Other(expected)) => *expected = event.clone(),
                // Who ran first is not known.
                (Kind::Other(_), Kind::Switch(switch)) if is_compact && !has_switched => {
                    assert_eq!(event.pid, None);
                    has_switched = true;
                    let expected = i64::from(switch.next.pid);
                    let Kind::Other(other) = &event.kind else { continue };
                    assert_eq!(other.field("next_pid"), Some(&Value::Signed(expected)));
                    continue;
                }
                // Names are as they were when the task came.
                (Kind::Switch(event), Kind::Switch(expected)) if is_compact => {
                    expected.prev.comm = event.prev.comm;
                }
                (Kind::Waking(_), _) if is_compact && !has_switched => expected.pid = None,
                _ => {}
            }
            assert_eq!(event, expected, "{name}");
        }
    }
}
