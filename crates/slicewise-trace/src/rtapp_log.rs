//! rt-app's per-thread log files, byte for byte in the layout of rt-app 1.0, so that scripts
//! written for its logs read ours.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use slicewise_sched::{Attr, Policy};

use crate::{Event, LoopRecord, Sink, Slot, TaskInfo};

const COLUMNS: &str = "#idx     perf      run   period           start             end          \
                       rel_st      slack c_duration   c_period     wu_lat\n";

/// Lines are kept in memory up to this many bytes a file, then appended.
const BYTES_PER_FILE_MAX: usize = 64 << 10;
/// And up to this many bytes in all files together.
const BYTES_TOTAL_MAX: usize = 8 << 20;

/// Writes a log file for every task that ends at least one loop of a phase.
///
/// The file of a task is `<basename>-<name>-<idx>.log`, as rt-app names it: `idx` is the number of
/// the thread in the whole file ([`LoopRecord::index`]), also printed in the first column. Tasks
/// with the same name and number share a file. Characters of a name that would lead to another
/// directory are replaced by `_`.
///
/// Times are in µs, rounded to nearest as rt-app does. The clock of the machine begins with the
/// run, so the columns `start` and `rel_st` are the same. rt-app's `perf` counts turns of its
/// calibrated loop; see [`RtAppLogs::loop_ns`].
///
/// Lines are gathered in memory and appended in blocks; never more than one file is open.
#[derive(Debug)]
pub struct RtAppLogs {
    dir: PathBuf,
    basename: String,
    loop_ns: u64,
    /// By number: the names of the thread objects, where they differ from the tasks' own.
    thread_names: BTreeMap<u32, String>,
    files: Vec<LogFile>,
    /// Files by task name and number.
    by_name: BTreeMap<(String, u32), usize>,
    /// Who holds a slot, and the file it writes to.
    tasks: Vec<Option<LogTask>>,
    buffered_bytes: usize,
    error: Option<io::Error>,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    buffer: Vec<u8>,
    created: bool,
}

#[derive(Debug)]
struct LogTask {
    name: String,
    /// What it was at the start: rt-app writes the head of a log once.
    attr: Attr,
    /// The last number it logged with, and the file of that.
    file: Option<(u32, usize)>,
}

impl RtAppLogs {
    /// Makes `dir` if there is none. Files that are there already are overwritten when the task of
    /// their name ends its first loop.
    pub fn create(dir: impl AsRef<Path>, basename: impl Into<String>) -> io::Result<Self> {
        fs::create_dir_all(dir.as_ref())?;
        Ok(Self {
            dir: dir.as_ref().to_owned(),
            basename: plain_file_name(&basename.into()),
            loop_ns: 1,
            thread_names: BTreeMap::new(),
            files: Vec::new(),
            by_name: BTreeMap::new(),
            tasks: Vec::new(),
            buffered_bytes: 0,
            error: None,
        })
    }

    /// How long one turn of rt-app's loop takes, in ns (`calibration` in its `global` object):
    /// column `perf` is the work divided by this. 1 if never said, 0 counts as 1.
    #[must_use]
    pub fn loop_ns(mut self, loop_ns: u64) -> Self {
        self.loop_ns = loop_ns.max(1);
        self
    }

    /// What rt-app calls the threads, by their number: all instances of a thread object have its
    /// name. Tasks that are not in here go by their own names.
    #[must_use]
    pub fn thread_names(mut self, names: impl IntoIterator<Item = (u32, String)>) -> Self {
        self.thread_names = names.into_iter().collect();
        self
    }

    /// Writes what is left and says whether everything could be written.
    pub fn finish_writing(mut self) -> io::Result<()> {
        self.flush_all();
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn record(&mut self, slot: Slot, record: &LoopRecord) {
        if self.error.is_some() {
            return;
        }
        let Some(file) = self.file_of(slot, record.index) else { return };
        let buffer = &mut self.files[file].buffer;
        let before = buffer.len();
        write_line(buffer, record, self.loop_ns);
        self.buffered_bytes += buffer.len() - before;
        if self.buffered_bytes > BYTES_TOTAL_MAX {
            self.flush_all();
        } else if self.files[file].buffer.len() > BYTES_PER_FILE_MAX {
            self.flush(file);
        }
    }

    fn file_of(&mut self, slot: Slot, index: u32) -> Option<usize> {
        let task = self.tasks.get_mut(slot.index())?.as_mut()?;
        if let Some((known, file)) = task.file
            && known == index
        {
            return Some(file);
        }
        let file = *self.by_name.entry((task.name.clone(), index)).or_insert_with(|| {
            let name = plain_file_name(self.thread_names.get(&index).unwrap_or(&task.name));
            let path = self.dir.join(format!("{}-{name}-{index}.log", self.basename));
            let buffer = head(task.attr).into_bytes();
            self.buffered_bytes += buffer.len();
            self.files.push(LogFile { path, buffer, created: false });
            self.files.len() - 1
        });
        task.file = Some((index, file));
        Some(file)
    }

    fn flush_all(&mut self) {
        for file in 0..self.files.len() {
            self.flush(file);
        }
    }

    fn flush(&mut self, file: usize) {
        let file = &mut self.files[file];
        if file.buffer.is_empty() || self.error.is_some() {
            return;
        }
        if let Err(error) = file.append() {
            let text = format!("could not write {}: {error}", file.path.display());
            self.error = Some(io::Error::new(error.kind(), text));
        }
        self.buffered_bytes -= file.buffer.len();
        // Gives the memory back: with many tasks most files are written to rarely.
        file.buffer = Vec::new();
    }
}

impl LogFile {
    fn append(&mut self) -> io::Result<()> {
        let mut file = if self.created {
            File::options().append(true).open(&self.path)?
        } else {
            File::create(&self.path)?
        };
        self.created = true;
        file.write_all(&self.buffer)
    }
}

impl Sink for RtAppLogs {
    fn wants_loops(&self) -> bool {
        true
    }

    fn task(&mut self, _: u64, info: &TaskInfo) {
        if self.tasks.len() <= info.slot.index() {
            self.tasks.resize_with(info.slot.index() + 1, || None);
        }
        let task = &mut self.tasks[info.slot.index()];
        if task.is_none() {
            *task = Some(LogTask { name: info.name.clone(), attr: info.attr, file: None });
        }
    }

    #[inline]
    fn event(&mut self, _: u64, event: &Event) {
        match event {
            Event::Loop { task, record } => self.record(*task, record),
            Event::Exit { task } => {
                if let Some(task) = self.tasks.get_mut(task.index()) {
                    *task = None;
                }
            }
            _ => {}
        }
    }
}

fn head(attr: Attr) -> String {
    let priority = match attr.policy {
        Policy::Fifo(priority) | Policy::Rr(priority) => i32::from(priority.get()),
        Policy::Normal | Policy::Batch | Policy::Idle => i32::from(attr.nice.get()),
        Policy::Stop | Policy::Deadline(_) => 0,
    };
    format!("# Policy : {} priority : {priority}\n{COLUMNS}", attr.policy.name())
}

fn write_line(buffer: &mut Vec<u8>, record: &LoopRecord, loop_ns: u64) {
    let start_us = to_us(record.start_ns);
    let slack_us = i128::from(to_us(record.slack_ns.unsigned_abs()));
    // Writing to memory cannot fail.
    let _ = writeln!(
        buffer,
        "{:4} {:8} {:8} {:8} {:15} {:15} {:15} {:10} {:10} {:10} {:10}",
        record.index,
        record.work_ns / loop_ns,
        to_us(record.run_ns),
        to_us(record.end_ns.saturating_sub(record.start_ns)),
        start_us,
        to_us(record.end_ns),
        start_us,
        if record.slack_ns < 0 { -slack_us } else { slack_us },
        to_us(record.configured_run_ns),
        to_us(record.configured_period_ns),
        to_us(record.wakeup_latency_ns),
    );
}

/// To the nearest µs, half away from zero, as C's `round` does.
fn to_us(ns: u64) -> u64 {
    ns / 1000 + u64::from(ns % 1000 >= 500)
}

fn plain_file_name(name: &str) -> String {
    name.replace(['/', '\\', '\0'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use slicewise_sched::{Nice, RtPriority};

    fn info(slot: u32, name: &str, attr: Attr) -> TaskInfo {
        TaskInfo {
            slot: Slot(slot),
            pid: slot + 1,
            name: name.into(),
            attr,
            forked_from: None,
            group: None,
        }
    }

    fn nice(nice: i64) -> Attr {
        Attr { nice: Nice::new(nice).unwrap(), ..Attr::default() }
    }

    /// The third line of a log that rt-app 1.0 wrote for `"run": 1000, "runtime": 3000` and a
    /// timer of 500 µs that it could not keep.
    fn overrun() -> LoopRecord {
        LoopRecord {
            index: 2,
            work_ns: 9_896_000,
            run_ns: 3_424_000,
            start_ns: 1_779_606_945_000,
            end_ns: 1_779_610_369_000,
            slack_ns: -7_839_000,
            configured_run_ns: 4_000_000,
            configured_period_ns: 500_000,
            wakeup_latency_ns: 0,
        }
    }

    fn read(dir: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(dir.path().join(name)).unwrap()
    }

    #[test]
    fn a_log_is_what_rt_app_writes() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = RtAppLogs::create(dir.path(), "lb").unwrap().loop_ns(100);
        logs.task(0, &info(0, "beta", nice(5)));
        logs.event(0, &Event::Loop { task: Slot(0), record: overrun() });
        logs.finish_writing().unwrap();
        // rt-app's clock does not start with the run; that its rel_st was 5244 is the only
        // difference.
        let expected = "# Policy : SCHED_OTHER priority : 5\n\
            #idx     perf      run   period           start             end          rel_st      \
            slack c_duration   c_period     wu_lat\n   2    98960     3424     3424      \
            1779606945      1779610369      1779606945      -7839       4000        500          0\n";
        assert_eq!(read(&dir, "lb-beta-2.log"), expected);
    }

    #[test]
    fn times_are_rounded_to_the_nearest_microsecond() {
        assert_eq!([0, 499, 500, 1_499, 1_500].map(to_us), [0, 0, 1, 1, 2]);
    }

    #[test]
    fn the_head_has_the_priority_of_real_time_and_the_nice_value_of_others() {
        let fifo = Attr { policy: Policy::Fifo(RtPriority::new(7).unwrap()), ..nice(3) };
        assert!(head(fifo).starts_with("# Policy : SCHED_FIFO priority : 7\n"));
        assert!(head(nice(-3)).starts_with("# Policy : SCHED_OTHER priority : -3\n"));
    }

    #[test]
    fn tasks_of_one_name_and_number_share_a_file_and_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = RtAppLogs::create(dir.path(), "rt-app").unwrap();
        for _ in 0..2 {
            logs.task(0, &info(0, "fork", nice(0)));
            logs.event(0, &Event::Loop { task: Slot(0), record: overrun() });
            logs.event(0, &Event::Exit { task: Slot(0) });
        }
        logs.task(0, &info(0, "other", nice(0)));
        logs.event(0, &Event::Loop { task: Slot(0), record: overrun() });
        logs.finish_writing().unwrap();
        assert_eq!(read(&dir, "rt-app-fork-2.log").lines().count(), 4);
        assert_eq!(read(&dir, "rt-app-other-2.log").lines().count(), 3);
    }

    #[test]
    fn long_logs_are_written_in_parts_and_old_files_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("rt-app-a-2.log"), "old").unwrap();
        let mut logs = RtAppLogs::create(dir.path(), "rt-app").unwrap();
        logs.task(0, &info(0, "a", nice(0)));
        for _ in 0..2_000 {
            logs.event(0, &Event::Loop { task: Slot(0), record: overrun() });
        }
        assert!(read(&dir, "rt-app-a-2.log").lines().count() > 500);
        logs.finish_writing().unwrap();
        let text = read(&dir, "rt-app-a-2.log");
        assert_eq!(text.lines().count(), 2_002);
        assert!(text.starts_with("# Policy"));
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = RtAppLogs::create(dir.path(), "rt-app").unwrap();
        logs.task(0, &info(0, "../../x", nice(0)));
        logs.event(0, &Event::Loop { task: Slot(0), record: overrun() });
        logs.finish_writing().unwrap();
        assert_eq!(read(&dir, "rt-app-.._.._x-2.log").lines().count(), 3);
    }

    #[test]
    fn an_error_is_kept_and_returned_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = RtAppLogs::create(dir.path().join("gone"), "rt-app").unwrap();
        fs::remove_dir(dir.path().join("gone")).unwrap();
        logs.task(0, &info(0, "a", nice(0)));
        logs.event(0, &Event::Loop { task: Slot(0), record: overrun() });
        let error = logs.finish_writing().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("could not write "));
    }
}
