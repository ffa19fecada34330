//! What is written, and that other programs can read it, whatever the events are.

#![allow(clippy::unwrap_used, reason = "tests")]

mod events;

use std::collections::BTreeSet;
use std::io::Cursor;

use proptest::prelude::*;
use slicewise_analysis::{Naming, Threads};
use slicewise_export::{Exporter, Format, Table};
use slicewise_ftrace::{Event, Kind, Reader};

/// `a` is woken by `b` while that has the CPU, and by an interrupt on another CPU later; at the end it runs and
/// somebody waits.
const TRACE: &str = "
          <idle>-0       [000] d..2.     0.001000: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=b \"q\", x next_pid=8 next_prio=120
               b-8       [000] dN.2.     0.002000: sched_waking: comm=a pid=7 prio=120 target_cpu=000
               b-8       [000] dN.2.     0.002001: sched_wakeup: comm=a pid=7 prio=120 target_cpu=000
               b-8       [000] d..2.     0.005000: sched_stat_runtime: comm=b \"q\", x pid=8 runtime=4000000 [ns]
               b-8       [000] d..2.     0.005000: sched_switch: prev_comm=b \"q\", x prev_pid=8 prev_prio=120 prev_state=R+ ==> next_comm=a next_pid=7 next_prio=120
CPU:1 [LOST 3 EVENTS]
          <idle>-0       [001] d.h2.     0.006000: sched_migrate_task: comm=b \"q\", x pid=8 prio=120 orig_cpu=0 dest_cpu=1
          <idle>-0       [001] d..2.     0.006500: sched_switch: prev_comm=swapper/1 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=b \"q\", x next_pid=8 next_prio=120
               a-7       [000] d..2.     0.009000: sched_switch: prev_comm=a prev_pid=7 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120
          <idle>-0       [000] d.h2.     0.009500: sched_waking: comm=a pid=7 prio=120 target_cpu=000
          <idle>-0       [000] d..2.     0.009600: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=a next_pid=7 next_prio=120
               a-7       [000] d..2.     0.010000: sched_wakeup_new: comm=c pid=9 prio=120 target_cpu=000
";

fn read(text: &[u8]) -> Vec<Event> {
    let mut reader = Reader::new(Cursor::new(text)).unwrap();
    let events = std::iter::from_fn(|| reader.next_event().unwrap()).collect();
    assert_eq!(reader.findings().malformed, 0, "{:?}", reader.findings());
    events
}

fn export(format: Format, events: &[Event]) -> Vec<u8> {
    let mut threads = Threads::new(Naming::Records);
    let mut exporter = Exporter::new(format, Vec::new()).unwrap();
    for event in events {
        threads.event(event);
        exporter.event(&mut threads, event).unwrap();
    }
    exporter.finish(&threads).unwrap()
}

fn text(format: Format) -> String {
    String::from_utf8(export(format, &read(TRACE.as_bytes()))).unwrap()
}

#[test]
fn ftrace_text_is_laid_out_as_by_tracefs() {
    insta::assert_snapshot!(text(Format::Ftrace));
}

#[test]
fn ftrace_text_is_the_same_again_when_it_is_read_and_written() {
    let once = text(Format::Ftrace);
    let again = export(Format::Ftrace, &read(once.as_bytes()));
    assert_eq!(String::from_utf8(again).unwrap(), once);
}

#[test]
fn a_row_of_csv_is_an_event() {
    insta::assert_snapshot!(text(Format::Csv(Table::Events)));
}

#[test]
fn a_row_of_runs_has_the_wait_before_the_run_and_who_came_next() {
    insta::assert_snapshot!(text(Format::Csv(Table::Runs)));
}

#[test]
fn chrome_json_has_tracks_for_cpus_and_tasks_and_flows_for_wakeups() {
    insta::assert_snapshot!(text(Format::Chrome));
}

#[test]
fn microseconds_are_rounded_to_the_nearest() {
    let mut event = read(TRACE.as_bytes()).remove(0);
    for (time_ns, us) in [(1_499, 1_000), (1_500, 2_000), (999_999_500, 1_000_000_000)] {
        event.time_ns = time_ns;
        let back = read(&export(Format::Ftrace, std::slice::from_ref(&event)));
        assert_eq!(back[0].time_ns, us);
    }
}

#[test]
fn perf_notes_name_the_processes_of_chrome_tracks() {
    let events = events::with_processes();
    let json = export(Format::Chrome, &events);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let list = json["traceEvents"].as_array().unwrap();
    let named = |what: &str, pid: i32| {
        list.iter()
            .filter(|event| event["name"] == what && event["pid"] == pid)
            .map(|event| event["args"]["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(named("process_name", 40), ["server"]);
    assert_eq!(named("thread_name", 40), ["worker"]);
    assert_eq!(named("process_name", 0), ["CPUs"]);
}

/// Nothing of it is lost: an event that Perfetto has a message for, with all of its fields.
fn is_told_to_perfetto(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Switch(_)
            | Kind::Wakeup(_)
            | Kind::WakeupNew(_)
            | Kind::Waking(_)
            | Kind::Fork(_)
            | Kind::Exec(_)
            | Kind::Exit(_)
            | Kind::Migrate(_)
            | Kind::PiSetprio(_)
    )
}

proptest! {
    #[test]
    fn a_perfetto_trace_reads_back_to_the_same_events(list in events::of_ftrace()) {
        prop_assume!(!list.is_empty());
        let told = |list: &[Event]| {
            let told = list.iter().filter(|event| is_told_to_perfetto(&event.kind));
            let mut told: Vec<_> =
                told.map(|event| (event.time_ns, event.cpu, event.pid, event.kind.clone())).collect();
            // Of what happens at one time on several CPUs, there is no order.
            told.sort_by_key(|(time_ns, cpu, ..)| (*time_ns, *cpu));
            told
        };
        let back = read(&export(Format::Perfetto, &list));
        prop_assert_eq!(told(&back), told(&list));
    }

    #[test]
    fn any_events_give_valid_json_in_which_flows_end_where_they_began_once(
        list in events::anything(),
    ) {
        let json = export(Format::Chrome, &list);
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let mut started = BTreeSet::new();
        for event in json["traceEvents"].as_array().unwrap() {
            prop_assert!(event["pid"].is_i64(), "{event}");
            match event["ph"].as_str().unwrap() {
                "M" => prop_assert!(event["args"].is_object()),
                "X" => prop_assert!(event["dur"].as_f64().unwrap() >= 0.0),
                "i" => {}
                "s" => prop_assert!(started.insert(event["id"].as_u64().unwrap())),
                "f" => prop_assert!(started.remove(&event["id"].as_u64().unwrap())),
                other => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn any_events_give_csv_with_a_row_for_each_and_all_columns(list in events::anything()) {
        let bytes = export(Format::Csv(Table::Events), &list);
        let mut reader = csv::ReaderBuilder::new().from_reader(&bytes[..]);
        let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let place = |name: &str| names.iter().position(|known| known == name).unwrap();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        prop_assert_eq!(rows.len(), list.len());
        for (row, event) in rows.iter().zip(&list) {
            prop_assert_eq!(row[place("time_ns")].parse::<u64>().unwrap(), event.time_ns);
            if let Kind::Switch(switch) = &event.kind {
                prop_assert_eq!(&row[place("comm")], &switch.prev.comm.to_text());
                prop_assert_eq!(row[place("next_pid")].parse::<i32>().unwrap(), switch.next.pid);
            }
            let fields = &row[place("fields")];
            if !fields.is_empty() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(fields).is_ok(), "{}", fields);
            }
        }
    }

    #[test]
    fn runs_on_a_cpu_do_not_overlap_and_last_as_long_as_they_say(list in events::anything()) {
        let bytes = export(Format::Csv(Table::Runs), &list);
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let mut free_ns = std::collections::BTreeMap::<String, u64>::new();
        for row in reader.records().map(Result::unwrap) {
            let number = |at: usize| row[at].parse::<u64>().ok();
            if let (Some(start_ns), Some(end_ns)) = (number(0), number(1)) {
                let free_ns = free_ns.entry(row[2].to_owned()).or_default();
                prop_assert!(start_ns >= *free_ns && end_ns >= start_ns);
                prop_assert_eq!(number(9), Some(end_ns - start_ns));
                *free_ns = end_ns;
            }
            if let (Some(wait_ns), Some(delay_ns)) = (number(7), number(8)) {
                prop_assert!(delay_ns <= wait_ns);
            }
        }
    }

    #[test]
    fn ftrace_text_reads_back_to_the_same_events(list in events::of_ftrace()) {
        let back = read(&export(Format::Ftrace, &list));
        prop_assert_eq!(back, list);
    }

    #[test]
    fn any_events_give_ftrace_text_of_whole_lines(list in events::anything()) {
        let bytes = export(Format::Ftrace, &list);
        let noted = |event: &&Event| matches!(event.kind, Kind::Named(_) | Kind::Cloned(_) | Kind::Gone(_));
        let lines = String::from_utf8(bytes).unwrap().lines().count();
        prop_assert_eq!(lines, 4 + list.iter().filter(|event| !noted(event)).count());
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_has_the_rows_of_csv() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    let events = read(TRACE.as_bytes());
    for table in [Table::Events, Table::Runs] {
        let csv = export(Format::Csv(table), &events);
        let mut csv = csv::Reader::from_reader(&csv[..]);
        let names: Vec<String> = csv.headers().unwrap().iter().map(str::to_owned).collect();
        let path = std::env::temp_dir().join(format!("{table:?}-{}.parquet", std::process::id()));
        std::fs::write(&path, export(Format::Parquet(table), &events)).unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut rows = reader.get_row_iter(None).unwrap();
        for expected in csv.records().map(Result::unwrap) {
            let row = rows.next().unwrap().unwrap();
            let fields = row.get_column_iter().map(|(name, field)| {
                let text = match field {
                    Field::Null => String::new(),
                    Field::Long(number) => number.to_string(),
                    Field::Str(text) => text.clone(),
                    other => panic!("{other:?}"),
                };
                (name.clone(), text)
            });
            let expected = names.iter().cloned().zip(expected.iter().map(str::to_owned));
            assert!(fields.eq(expected));
        }
        assert!(rows.next().is_none());
    }
}

#[cfg(feature = "parquet")]
#[test]
fn a_group_of_parquet_rows_is_bounded() {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    let one = read(TRACE.as_bytes()).remove(0);
    let events = vec![one; (1 << 16) + 3];
    let path = std::env::temp_dir().join(format!("groups-{}.parquet", std::process::id()));
    std::fs::write(&path, export(Format::Parquet(Table::Events), &events)).unwrap();
    let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let groups: Vec<i64> =
        reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [1 << 16, 3]);
}
