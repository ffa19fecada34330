//! Who belongs together: cgroups where the trace (or its reader) says so, else processes.

use rustc_hash::{FxHashMap, FxHashSet};
use slicewise_ftrace::{Event, Kind, Value};

use crate::threads::{ThreadId, Threads};

/// The event with which the simulated machine says that a group stops on a CPU, or goes on.
pub(crate) const GROUP_THROTTLE: &str = "group_throttle";
/// The event with which a kernel (and the simulated machine) says that a task is in a cgroup.
pub(crate) const CGROUP_ATTACH: &str = "cgroup_attach_task";
/// Groups that are processes are numbered from here on.
const PROCESSES: u64 = 1 << 32;
/// And those of tasks whose process is not known.
const TASKS: u64 = 1 << 33;

/// Which tasks are meant: `name`, `begin*`, `pid:12` for a process, `tid:12` for a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskPattern {
    /// Of this name.
    Name(String),
    /// Whose names begin so.
    Begins(String),
    /// Threads of this process.
    Process(i32),
    /// This task.
    Task(i32),
}

impl TaskPattern {
    /// Reads one.
    ///
    /// ```
    /// use slicewise_analysis::TaskPattern;
    ///
    /// assert_eq!(TaskPattern::parse("pid:812"), Ok(TaskPattern::Process(812)));
    /// assert!(TaskPattern::parse("postgres").unwrap().is(7, 812, "postgres"));
    /// assert!(TaskPattern::parse("pid:x").is_err());
    /// ```
    ///
    /// # Errors
    /// Says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = |word: &str| {
            let wrong =
                || format!("`{word}` is no number of a task; write pid:812, tid:812 or a name");
            word.parse::<i32>().ok().filter(|number| *number > 0).ok_or_else(wrong)
        };
        match (text.strip_prefix("pid:"), text.strip_prefix("tid:"), text.strip_suffix('*')) {
            (Some(word), _, _) => number(word).map(Self::Process),
            (_, Some(word), _) => number(word).map(Self::Task),
            (_, _, Some(begin)) => Ok(Self::Begins(begin.to_owned())),
            _ if text.is_empty() => Err("no task is named".to_owned()),
            _ => Ok(Self::Name(text.to_owned())),
        }
    }

    /// Whether a task is meant. Kernels keep 15 bytes of a name.
    pub fn is(&self, tid: i32, tgid: i32, comm: &str) -> bool {
        match self {
            Self::Name(name) => {
                comm == name || (name.len() > 15 && comm.as_bytes() == &name.as_bytes()[..15])
            }
            Self::Begins(begin) => comm.starts_with(begin.as_str()),
            Self::Process(pid) => tgid == *pid,
            Self::Task(number) => tid == *number,
        }
    }
}

/// A group and who is in it: what a trace does not say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRule {
    /// The group's path.
    pub path: String,
    /// Who.
    pub tasks: Vec<TaskPattern>,
}

impl GroupRule {
    /// Reads `path=task,task`.
    ///
    /// # Errors
    /// Says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (path, tasks) = text.split_once('=').ok_or_else(|| {
            format!("`{text}` is not of the form PATH=TASKS, such as web=nginx,pid:812")
        })?;
        let tasks = tasks.split(',').map(TaskPattern::parse).collect::<Result<_, _>>()?;
        Ok(Self { path: path.trim_matches('/').to_owned(), tasks })
    }

    /// Whether a task is in it.
    pub fn has(&self, tid: i32, tgid: i32, comm: &str) -> bool {
        self.tasks.iter().any(|pattern| pattern.is(tid, tgid, comm))
    }
}

/// Who belongs together.
#[derive(Clone, Debug, Default)]
pub struct TaskGroups {
    rules: Vec<GroupRule>,
    paths: Vec<String>,
    by_path: FxHashMap<String, u32>,
    by_thread: Vec<Option<u32>>,
    by_rule: FxHashMap<ThreadId, Option<u32>>,
    stopped: FxHashSet<(u32, u32)>,
    knows_quotas: bool,
}

impl TaskGroups {
    /// By these rules, and by what events say.
    pub fn new(rules: Vec<GroupRule>) -> Self {
        Self { rules, ..Self::default() }
    }

    /// The path of a task's group, if it is known.
    pub fn path(&mut self, threads: &Threads, task: ThreadId) -> Option<&str> {
        let id = self.id(threads, task)?;
        self.paths.get(id as usize).map(String::as_str)
    }

    /// All paths that were heard of.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// A number for the group of a task; tasks with the same belong together.
    pub fn group(&mut self, threads: &Threads, task: ThreadId) -> u64 {
        match (self.id(threads, task), threads[task].tgid) {
            (Some(id), _) => u64::from(id),
            (None, ..=0) => TASKS | u64::from(threads[task].tid as u32),
            (None, tgid) => PROCESSES | tgid as u64,
        }
    }

    /// Whether tasks are in one group. Where nothing is known of their cgroups, processes of one name are taken
    /// for one group: servers of many processes are.
    pub fn is_together(&mut self, threads: &Threads, one: ThreadId, other: ThreadId) -> bool {
        match (self.id(threads, one), self.id(threads, other)) {
            (None, None) => {
                let (one, other) = (&threads[one], &threads[other]);
                (one.tgid > 0 && one.tgid == other.tgid)
                    || (one.comm.is_some() && one.comm == other.comm)
            }
            (one, other) => one == other,
        }
    }

    /// Whether the task's group, or one it is in, is stopped on a CPU; `None` if that cannot be known.
    pub fn is_stopped(&mut self, threads: &Threads, task: ThreadId, cpu: u32) -> Option<bool> {
        if !self.knows_quotas {
            return None;
        }
        let Some(id) = self.id(threads, task) else { return Some(false) };
        let mut path = self.paths[id as usize].as_str();
        loop {
            let stopped =
                self.by_path.get(path).is_some_and(|id| self.stopped.contains(&(*id, cpu)));
            match path.rsplit_once('/') {
                _ if stopped => return Some(true),
                Some((above, _)) => path = above,
                None => return Some(false),
            }
        }
    }

    /// The CPU on which an event changes who may run, if it does.
    pub(crate) fn changes(event: &Event) -> Option<u32> {
        match &event.kind {
            Kind::Other(other) if &*other.name == GROUP_THROTTLE => Some(event.cpu),
            _ => None,
        }
    }

    /// Takes in what an event says of groups.
    pub fn event(&mut self, threads: &Threads, event: &Event) {
        let Kind::Other(other) = &event.kind else { return };
        let text = |name: &str| match other.field(name) {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        match &*other.name {
            CGROUP_ATTACH => {
                let tid = other.field("pid").and_then(Value::as_i64);
                let task = tid.and_then(|tid| threads.get(i32::try_from(tid).ok()?));
                if let (Some(task), Some(path)) = (task, text("dst_path")) {
                    let id = self.named(path.trim_matches('/'));
                    if self.by_thread.len() <= task.index() {
                        self.by_thread.resize(task.index() + 1, None);
                    }
                    self.by_thread[task.index()] = id;
                }
            }
            GROUP_THROTTLE => {
                self.knows_quotas = true;
                let stops = other.field("stops").and_then(Value::as_u64) == Some(1);
                if let Some(id) = text("path").and_then(|path| self.named(path)) {
                    match stops {
                        true => self.stopped.insert((id, event.cpu)),
                        false => self.stopped.remove(&(id, event.cpu)),
                    };
                }
            }
            _ => {}
        }
    }

    /// The number of a group; the root is none.
    fn named(&mut self, path: &str) -> Option<u32> {
        if path.is_empty() {
            return None;
        }
        if let Some(id) = self.by_path.get(path) {
            return Some(*id);
        }
        let id = self.paths.len() as u32;
        self.paths.push(path.to_owned());
        self.by_path.insert(path.to_owned(), id);
        Some(id)
    }

    fn id(&mut self, threads: &Threads, task: ThreadId) -> Option<u32> {
        if let Some(id) = self.by_thread.get(task.index()).copied().flatten() {
            return Some(id);
        }
        if self.rules.is_empty() {
            return None;
        }
        if let Some(id) = self.by_rule.get(&task) {
            return *id;
        }
        let thread = &threads[task];
        let name = thread.name();
        let rule = self.rules.iter().find(|rule| rule.has(thread.tid, thread.tgid, &name));
        let path = rule.map(|rule| rule.path.clone());
        let id = path.and_then(|path| self.named(&path));
        self.by_rule.insert(task, id);
        id
    }
}
