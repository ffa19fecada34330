//! Who is who in a trace: names and processes of tasks, as they change.

use rustc_hash::FxHashMap;
use slicewise_ftrace::{Cloned, Comm, Event, Gone, Kind, Named, TaskRef, Value};

use crate::groups::CGROUP_ATTACH;

/// A task of a trace. A number that is given again after an exit is another task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId(u32);

impl ThreadId {
    /// The task with this index.
    pub fn at(index: usize) -> Self {
        Self(index as u32)
    }

    /// As an index into side arrays.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thread {
    /// Its number; −1 where the trace only says that it was gone.
    pub tid: i32,
    /// Its process; −1 if unknown.
    pub tgid: i32,
    /// Who made it; −1 if unknown.
    pub parent: i32,
    /// Its name; `None` if nobody said.
    pub comm: Option<Comm>,
    /// Its end was seen.
    pub is_gone: bool,
}

impl Thread {
    /// Its name; `:12` if it has none.
    pub fn name(&self) -> String {
        match self.comm {
            Some(comm) => comm.to_text(),
            None => format!(":{}", self.tid),
        }
    }

    /// Whether it is the idle task.
    pub fn is_idle(&self) -> bool {
        self.tid == 0
    }
}

/// All tasks of a trace so far.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    all: Vec<Thread>,
    by_tid: FxHashMap<i32, ThreadId>,
    naming: Naming,
}

/// Where names of tasks are from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Naming {
    /// From fields of events: nothing else has them.
    #[default]
    Events,
    /// From records of their own, as `perf` writes them, and from fields of events for those that these records
    /// leave out.
    Records,
    /// From records of their own only, as `perf` prints them.
    RecordsOnly,
}

impl Threads {
    /// Nobody but the idle task.
    pub fn new(naming: Naming) -> Self {
        let mut threads = Self { naming, ..Self::default() };
        let idle = threads.find_or_add(0, 0);
        threads.all[idle.index()].comm = Some(Comm::new(b"swapper"));
        threads
    }

    /// Those that were ever there, by index.
    pub fn all(&self) -> &[Thread] {
        &self.all
    }

    /// Whoever has the number now.
    pub fn get(&self, tid: i32) -> Option<ThreadId> {
        self.by_tid.get(&tid).copied()
    }

    /// Whoever has the number now, whether or not it was heard of; `tgid` is −1 if unknown.
    #[inline]
    pub fn find_or_add(&mut self, tid: i32, tgid: i32) -> ThreadId {
        if let Some(&found) = self.by_tid.get(&tid) {
            let thread = &mut self.all[found.index()];
            if thread.tgid == -1 {
                thread.tgid = tgid;
            }
            return found;
        }
        self.add(tid, tgid)
    }

    #[cold]
    fn add(&mut self, tid: i32, tgid: i32) -> ThreadId {
        let id = ThreadId(self.all.len() as u32);
        self.all.push(Thread { tid, tgid, parent: -1, comm: None, is_gone: false });
        self.by_tid.insert(tid, id);
        id
    }

    /// The task of an event's field.
    #[inline]
    pub fn of(&mut self, task: &TaskRef) -> ThreadId {
        let id = self.find_or_add(task.pid, -1);
        let comm = &mut self.all[id.index()].comm;
        let takes = match self.naming {
            Naming::Events => task.pid != 0,
            Naming::Records => comm.is_none(),
            Naming::RecordsOnly => false,
        };
        if takes {
            *comm = Some(task.comm);
        }
        id
    }

    /// The task of a wakeup's or a migration's fields, as `perf sched timehist` finds it: where it was not
    /// heard of before, it never gets a process.
    #[inline]
    pub(crate) fn told(&mut self, task: &TaskRef) -> ThreadId {
        match self.naming {
            Naming::RecordsOnly => self.find_or_add(task.pid, 0),
            _ => self.of(task),
        }
    }

    /// Takes in what an event says of tasks as such. All events of a trace have to come by.
    #[inline]
    pub fn event(&mut self, event: &Event) {
        match &event.kind {
            Kind::Named(Named { pid, tgid, comm, .. }) => {
                let id = self.find_or_add(*pid, *tgid);
                self.all[id.index()].comm = Some(*comm);
            }
            Kind::Cloned(cloned) => self.cloned(cloned),
            Kind::Gone(Gone { pid, tgid }) => {
                let id = self.find_or_add(*pid, *tgid);
                self.all[id.index()].is_gone = true;
            }
            Kind::Fork(fork) if self.naming == Naming::Events => {
                // Whether it is a thread or a process is not said.
                let parent = self.find_or_add(fork.parent, -1);
                self.by_tid.remove(&fork.child);
                let child = self.find_or_add(fork.child, -1);
                let comm = self.all[parent.index()].comm.unwrap_or(fork.child_comm);
                let child = &mut self.all[child.index()];
                (child.parent, child.comm) = (fork.parent, Some(comm));
            }
            Kind::Exit(exit) if self.naming == Naming::Events => {
                let id = self.of(&exit.task);
                self.all[id.index()].is_gone = true;
            }
            Kind::Other(other) if &*other.name == CGROUP_ATTACH => {
                // It may be the first that is heard of it.
                let pid = other.field("pid").and_then(Value::as_i64);
                if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
                    self.find_or_add(pid, -1);
                }
            }
            _ => {}
        }
    }

    fn cloned(&mut self, cloned: &Cloned) {
        let mut parent = self.find_or_add(cloned.parent, cloned.parent_tgid);
        if self.all[parent.index()].tgid != cloned.parent_tgid {
            // The records of its end and of its successor's beginning were lost.
            self.by_tid.remove(&cloned.parent);
            parent = self.find_or_add(cloned.parent, cloned.parent_tgid);
        }
        self.by_tid.remove(&cloned.pid);
        let child = self.find_or_add(cloned.pid, cloned.tgid);
        let comm = self.all[parent.index()].comm;
        let child = &mut self.all[child.index()];
        (child.parent, child.comm) = (cloned.parent, comm);
    }
}

impl std::ops::Index<ThreadId> for Threads {
    type Output = Thread;

    #[inline]
    fn index(&self, id: ThreadId) -> &Thread {
        &self.all[id.index()]
    }
}
