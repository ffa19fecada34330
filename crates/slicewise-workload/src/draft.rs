//! Tasks as both formats produce them, and how they become a [`Workload`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use slicewise_machine::{
    Barrier, Device, InterruptSource, MemorySpec, MutexSpec, Op, OpIndex, Origin, Program, Queue,
    RtTimeLimit, TaskMemory, TaskSpec, TimerMode, TimerSpec, Workload,
};
use slicewise_sched::{Attr, CpuSet};

use crate::diagnostic::{Sink, shorten};

/// The most tasks and templates a workload may have.
pub const TASKS_MAX: u32 = 1_000_000;

/// The most operations all programs may have together.
pub const OPS_MAX: usize = 10_000_000;

/// The longest name of anything, in bytes.
pub(crate) const NAME_MAX: usize = 200;

/// Tasks made from one description in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name in the file. A single task has this name; several have `NAME-0`, `NAME-1`, ….
    pub name: String,
    /// Index of its first task in [`Workload::tasks`].
    pub first: u32,
    /// How many tasks.
    pub count: u32,
    /// Made only by forks.
    pub template: bool,
}

/// Names that become indices in the order of their first use.
#[derive(Default, Debug)]
pub(crate) struct Names {
    list: Vec<String>,
    index: BTreeMap<String, u32>,
}

impl Names {
    pub(crate) fn intern(&mut self, name: &str) -> u32 {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        let index = self.list.len() as u32;
        self.list.push(name.to_owned());
        self.index.insert(name.to_owned(), index);
        index
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.index.get(name).copied()
    }

    pub(crate) fn name(&self, index: u32) -> &str {
        &self.list[index as usize]
    }
}

/// What tasks share.
#[derive(Default, Debug)]
pub(crate) struct Shared {
    pub(crate) mutexes: Names,
    /// Of those, the ones that lend priorities.
    pub(crate) inheriting: BTreeSet<u32>,
    /// All mutexes do.
    pub(crate) all_inherit: bool,
    pub(crate) conditions: Names,
    pub(crate) barriers: Names,
    /// Parties by barrier, where the file says so, and where it does.
    pub(crate) parties: BTreeMap<u32, (u32, Range<usize>)>,
    pub(crate) timers: Names,
    pub(crate) devices: Vec<Device>,
    pub(crate) queues: Vec<Queue>,
    /// Sources of interrupts, and where each says which CPUs.
    pub(crate) interrupts: Vec<(InterruptSource, Range<usize>)>,
    pub(crate) memories: Vec<MemorySpec>,
}

/// A timer of a program: shared by all that name it, or a new one for every instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LocalTimer {
    pub(crate) name: String,
    pub(crate) shared: Option<u32>,
}

/// A program under construction.
#[derive(Default, Debug)]
pub(crate) struct Code {
    pub(crate) ops: Vec<Op>,
    /// Where each operation was written.
    pub(crate) spans: Vec<Origin>,
    pub(crate) timers: Vec<LocalTimer>,
    /// How many operations there may still be; 0 is reported once at the end.
    budget: usize,
}

impl Code {
    pub(crate) fn new(budget: usize) -> Self {
        Self { budget, ..Self::default() }
    }

    pub(crate) fn push(&mut self, op: Op, span: &Range<usize>) {
        if self.budget == 0 {
            return;
        }
        self.budget -= 1;
        self.ops.push(op);
        self.spans.push(Origin { start: span.start, end: span.end });
    }

    pub(crate) fn begin(&mut self, count: Option<u64>, span: &Range<usize>) -> usize {
        let begin = self.ops.len();
        self.push(Op::LoopBegin { count, end: 0 }, span);
        begin
    }

    pub(crate) fn end(&mut self, begin: usize, span: &Range<usize>) {
        let at = self.ops.len() as OpIndex;
        self.push(Op::LoopEnd { begin: begin as OpIndex }, span);
        if let Some(Op::LoopBegin { end, .. }) = self.ops.get_mut(begin) {
            *end = at;
        }
    }

    /// The program's number for a timer.
    pub(crate) fn timer(&mut self, timer: LocalTimer) -> u32 {
        if let Some(at) = self.timers.iter().position(|known| *known == timer) {
            return at as u32;
        }
        self.timers.push(timer);
        self.timers.len() as u32 - 1
    }

    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    /// The program with the timers' numbers in the workload.
    fn program(&self, numbers: &[u32]) -> Program {
        let mut ops = self.ops.clone();
        for op in &mut ops {
            if let Op::Timer { timer, .. } = op {
                *timer = numbers[*timer as usize];
            }
        }
        Program { ops }
    }
}

/// One description of tasks.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    pub(crate) count: u32,
    pub(crate) template: bool,
    pub(crate) attr: Attr,
    pub(crate) affinity: CpuSet,
    pub(crate) start_ns: u64,
    /// In [`Workload::groups`].
    pub(crate) group: Option<u32>,
    pub(crate) rttime: Option<RtTimeLimit>,
    pub(crate) memory: TaskMemory,
    pub(crate) code: Code,
}

/// The names and numbers of all tasks, known before the first program is read.
#[derive(Default, Debug)]
pub(crate) struct Roster {
    pub(crate) groups: Vec<Group>,
    by_name: BTreeMap<String, usize>,
    total: u32,
}

impl Roster {
    /// Adds tasks. Reports a bad name, a duplicate, and too many tasks; the group is then left out.
    pub(crate) fn add(
        &mut self,
        sink: &mut Sink,
        name: &str,
        span: Range<usize>,
        count: u32,
        template: bool,
    ) -> bool {
        if let Err(problem) = check_name(name) {
            sink.error_help(
                span,
                format!("the task name `{}` {problem}", shorten(name)),
                NAME_HELP,
            );
            return false;
        }
        if self.by_name.contains_key(name) || self.find(name).is_some() {
            let message = format!("there is already a task named `{}`", shorten(name));
            sink.error_help(span, message, "give every task a name of its own");
            return false;
        }
        let total = u64::from(self.total) + u64::from(count);
        if total > u64::from(TASKS_MAX) {
            let message = format!("{total} tasks are too many");
            sink.error_help(span, message, format!("a workload has {TASKS_MAX} tasks at most"));
            return false;
        }
        self.by_name.insert(name.to_owned(), self.groups.len());
        self.groups.push(Group { name: name.to_owned(), first: self.total, count, template });
        self.total = total as u32;
        true
    }

    /// The tasks of that name: a group, or one instance `NAME-3`.
    pub(crate) fn find(&self, name: &str) -> Option<(Range<u32>, bool)> {
        if let Some(at) = self.by_name.get(name) {
            let group = &self.groups[*at];
            return Some((group.first..group.first + group.count, group.template));
        }
        let (base, number) = name.rsplit_once('-')?;
        let group = &self.groups[*self.by_name.get(base)?];
        let number: u32 = number.parse().ok()?;
        let spelled = number.to_string().len() + base.len() + 1 == name.len();
        let at = group.first + number.min(group.count);
        (spelled && group.count > 1 && number < group.count).then_some((at..at + 1, group.template))
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.groups.iter().map(|group| group.name.as_str()).collect()
    }
}

/// What to do about a bad name.
pub(crate) const NAME_HELP: &str =
    "a name has 1 to 200 bytes, no control characters, no `/` and no `=`";

/// Names go into file names, tables and `--set`: some characters would break there.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.len() > NAME_MAX {
        return Err("is too long");
    }
    if name.chars().any(|c| c.is_control() || c == '/' || c == '=') {
        return Err("has a character that names cannot have");
    }
    Ok(())
}

/// How [`TaskSpec::index`] counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Numbering {
    /// Among the instances of a group.
    PerGroup,
    /// Among all tasks there are from the start, as rt-app's log does.
    Global,
}

/// Expands instances and resolves timers. The drafts are those of the roster's groups, in order.
pub(crate) fn build(
    drafts: &[Draft],
    shared: Shared,
    numbering: Numbering,
    sink: &mut Sink,
) -> Option<Workload> {
    let needed: usize = drafts.iter().map(|draft| draft.code.ops.len()).sum();
    if needed > OPS_MAX || drafts.iter().any(|draft| draft.code.budget == 0) {
        let span = drafts.first().map_or(0..0, |draft| draft.span.clone());
        let message = "the programs of all tasks together are too long";
        sink.error_help(span, message, format!("{OPS_MAX} operations are the most there can be"));
        return None;
    }
    let barriers = barriers(drafts, &shared, sink);
    let mut workload = Workload {
        mutexes: (0..)
            .zip(shared.mutexes.list)
            .map(|(index, name)| MutexSpec {
                name,
                inherits: shared.all_inherit || shared.inheriting.contains(&index),
            })
            .collect(),
        conditions: shared.conditions.list,
        timers: shared
            .timers
            .list
            .into_iter()
            .map(|name| TimerSpec { name, shared: true })
            .collect(),
        devices: shared.devices,
        queues: shared.queues,
        memories: shared.memories,
        interrupts: shared.interrupts.into_iter().map(|(source, _)| source).collect(),
        barriers,
        ..Workload::default()
    };
    let mut number = 0;
    for draft in drafts {
        let program = workload.programs.len() as u32;
        add_program(&mut workload, draft);
        for instance in 0..draft.count {
            let name = match draft.count {
                1 => draft.name.clone(),
                _ => format!("{}-{instance}", draft.name),
            };
            let index = if numbering == Numbering::Global { number } else { instance };
            number += u32::from(!draft.template);
            workload.tasks.push(TaskSpec {
                name,
                program,
                attr: draft.attr,
                affinity: draft.affinity.clone(),
                start_ns: draft.start_ns,
                group: draft.group,
                rttime: draft.rttime,
                memory: draft.memory,
                template: draft.template,
                index,
                origin: Origin { start: draft.span.start, end: draft.span.end },
            });
        }
    }
    Some(workload)
}

fn add_program(workload: &mut Workload, draft: &Draft) {
    let mut numbers = Vec::with_capacity(draft.code.timers.len());
    for timer in &draft.code.timers {
        numbers.push(timer.shared.unwrap_or_else(|| {
            let name = format!("{}/{}", draft.name, timer.name);
            workload.timers.push(TimerSpec { name, shared: false });
            workload.timers.len() as u32 - 1
        }));
    }
    workload.programs.push(draft.code.program(&numbers));
}

/// Barriers with their parties: those given, or every task that meets there.
fn barriers(drafts: &[Draft], shared: &Shared, sink: &mut Sink) -> Vec<Barrier> {
    let mut list = Vec::new();
    for (barrier, name) in (0..).zip(&shared.barriers.list) {
        let meets = |draft: &&Draft| {
            draft.code.ops.iter().any(|op| matches!(op, Op::Barrier(b) if *b == barrier))
        };
        let from_start =
            drafts.iter().filter(|d| !d.template).filter(meets).map(|draft| draft.count).sum();
        let forked = drafts.iter().any(|draft| draft.template && meets(&draft));
        let (parties, span) = match shared.parties.get(&barrier) {
            Some((parties, span)) => (*parties, span.clone()),
            None => (from_start, 0..0),
        };
        if parties == 0 || (forked && span.is_empty()) {
            let message =
                format!("how many tasks meet at barrier `{}` is not known", shorten(name));
            let help = "only forked tasks meet there: say `[[barrier]]` with `parties`";
            sink.error_help(span.clone(), message, help);
        } else if parties > from_start && !forked {
            let name = shorten(name);
            let message =
                format!("barrier `{name}` waits for {parties} tasks, but only {from_start} come");
            sink.error_help(span, message, format!("set `parties` to {from_start} or less"));
        }
        list.push(Barrier { name: name.clone(), parties });
    }
    list
}

/// Makes every use of a timer absolute if one is, as rt-app does: there the mode is the timer's.
pub(crate) fn set_timer_modes(drafts: &mut [Draft], absolute: impl Fn(&LocalTimer) -> bool) {
    for draft in drafts {
        let modes: Vec<bool> = draft.code.timers.iter().map(&absolute).collect();
        for op in &mut draft.code.ops {
            if let Op::Timer { timer, mode, .. } = op {
                *mode = match modes[*timer as usize] {
                    true => TimerMode::Absolute,
                    false => TimerMode::Relative,
                };
            }
        }
    }
}
