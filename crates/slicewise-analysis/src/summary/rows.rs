//! Rows: tasks, or whatever they are gathered by, and who made whom wait. Both are bounded: what came to least is
//! added up in a row for all others.

use rustc_hash::FxHashMap;
use slicewise_ftrace::Comm;
use slicewise_report::{Histogram, SummaryLeft, SwitchReport};

use super::bins::Bins;
use crate::threads::ThreadId;

/// More rows are folded to half of that.
const ROWS_MAX: usize = 8192;
/// More pairs of waiter and runner are folded to half of that.
const PAIRS_MAX: usize = 1 << 16;

/// What makes a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    Task(ThreadId),
    /// A process; or a task whose process is not known, by its number.
    Process(i32),
    Comm(Comm),
    /// By its place in the list of paths.
    Group(u32),
    /// Tasks whose group the trace does not tell.
    NoGroup,
    /// All that were folded.
    Others,
    /// Only in the way of others.
    Idle,
    Unknown,
}

/// A row that is there now. Numbers are given again, which the second number tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct RowId {
    index: u32,
    given: u32,
}

impl RowId {
    pub(super) const OTHERS: Self = Self { index: 0, given: 0 };
    pub(super) const IDLE: Self = Self { index: 1, given: 0 };
    pub(super) const UNKNOWN: Self = Self { index: 2, given: 0 };
}

/// Figures of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) tasks: u64,
    pub(super) run_ns: u64,
    pub(super) bins: Bins,
    pub(super) wakeups: u64,
    pub(super) switches: SwitchReport,
    pub(super) left: SummaryLeft,
    /// As migration events say, and as runs on other CPUs than before show.
    pub(super) migrations: u64,
    pub(super) cpu_changes: u64,
    pub(super) delays: Histogram,
}

impl Row {
    /// How much it matters.
    pub(super) fn weight(&self) -> u64 {
        self.run_ns.saturating_add(self.delays.sum_ns())
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.run_ns += other.run_ns;
        self.bins.merge(&other.bins);
        self.wakeups += other.wakeups;
        self.switches.voluntary += other.switches.voluntary;
        self.switches.involuntary += other.switches.involuntary;
        let SummaryLeft {
            slept,
            exited,
            preempted_by_wakeup,
            slice_over,
            yielded,
            to_idle,
            otherwise,
        } = other.left;
        self.left.slept += slept;
        self.left.exited += exited;
        self.left.preempted_by_wakeup += preempted_by_wakeup;
        self.left.slice_over += slice_over;
        self.left.yielded += yielded;
        self.left.to_idle += to_idle;
        self.left.otherwise += otherwise;
        self.migrations += other.migrations;
        self.cpu_changes += other.cpu_changes;
        self.delays.merge(&other.delays);
    }
}

/// A waiter and a runner.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pair {
    pub(super) wait_ns: u64,
    pub(super) preemptions: u64,
}

/// All rows.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    rows: Vec<(Key, u32, Row)>,
    by_key: FxHashMap<Key, RowId>,
    free: Vec<u32>,
    pairs: FxHashMap<(RowId, RowId), Pair>,
}

impl Default for Rows {
    fn default() -> Self {
        let special = [Key::Others, Key::Idle, Key::Unknown];
        Self {
            rows: special.into_iter().map(|key| (key, 0, Row::default())).collect(),
            by_key: FxHashMap::default(),
            free: Vec::new(),
            pairs: FxHashMap::default(),
        }
    }
}

impl Rows {
    /// The row of a key; makes one where there is none.
    pub(super) fn of(&mut self, key: Key) -> RowId {
        if let Some(&found) = self.by_key.get(&key) {
            return found;
        }
        if self.by_key.len() >= ROWS_MAX {
            self.fold_rows();
        }
        let id = match self.free.pop() {
            Some(index) => {
                let (own, given, row) = &mut self.rows[index as usize];
                (*own, *row) = (key, Row::default());
                RowId { index, given: *given }
            }
            None => {
                self.rows.push((key, 0, Row::default()));
                RowId { index: self.rows.len() as u32 - 1, given: 0 }
            }
        };
        self.by_key.insert(key, id);
        id
    }

    /// Whether it was not folded since.
    pub(super) fn is_there(&self, id: RowId) -> bool {
        self.rows[id.index as usize].1 == id.given
    }

    pub(super) fn key(&self, id: RowId) -> Key {
        self.rows[id.index as usize].0
    }

    pub(super) fn row(&self, id: RowId) -> &Row {
        &self.rows[id.index as usize].2
    }

    /// To change it; what was folded is the others.
    pub(super) fn row_mut(&mut self, id: RowId) -> &mut Row {
        let index = if self.is_there(id) { id.index } else { 0 };
        &mut self.rows[index as usize].2
    }

    pub(super) fn pair(&mut self, waiter: RowId, runner: RowId) -> &mut Pair {
        let there = |id: RowId| if self.is_there(id) { id } else { RowId::OTHERS };
        let pair = (there(waiter), there(runner));
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&pair) {
            self.fold_pairs();
        }
        self.pairs.entry(pair).or_default()
    }

    /// All that have a key, those that matter most first.
    pub(super) fn ranked(&self) -> Vec<RowId> {
        let mut ids: Vec<RowId> = Vec::with_capacity(self.by_key.len());
        for (index, (key, given, _)) in self.rows.iter().enumerate() {
            let id = RowId { index: index as u32, given: *given };
            if self.by_key.get(key) == Some(&id) {
                ids.push(id);
            }
        }
        ids.sort_by_key(|id| (std::cmp::Reverse(self.row(*id).weight()), id.index));
        ids
    }

    /// All pairs, in the order of rows.
    pub(super) fn pairs(&self) -> Vec<((RowId, RowId), Pair)> {
        let mut pairs: Vec<_> = self.pairs.iter().map(|(ids, pair)| (*ids, *pair)).collect();
        pairs.sort_by_key(|((waiter, runner), _)| (waiter.index, runner.index));
        pairs
    }

    #[cold]
    fn fold_rows(&mut self) {
        for id in self.ranked().split_off(ROWS_MAX / 2) {
            let (key, given, row) = &mut self.rows[id.index as usize];
            self.by_key.remove(key);
            *given += 1;
            let row = std::mem::take(row);
            self.rows[0].2.merge(&row);
            self.free.push(id.index);
        }
        for ((waiter, runner), pair) in self.pairs() {
            if !self.is_there(waiter) || !self.is_there(runner) {
                self.pairs.remove(&(waiter, runner));
                let into = self.pair(waiter, runner);
                into.wait_ns += pair.wait_ns;
                into.preemptions += pair.preemptions;
            }
        }
    }

    /// What is in the way least becomes others.
    #[cold]
    fn fold_pairs(&mut self) {
        let mut pairs = self.pairs();
        pairs.sort_by_key(|(ids, pair)| (pair.wait_ns, ids.0.index, ids.1.index));
        pairs.truncate(pairs.len() / 2);
        for ((waiter, runner), pair) in pairs {
            if runner == RowId::OTHERS {
                continue;
            }
            self.pairs.remove(&(waiter, runner));
            let into = self.pairs.entry((waiter, RowId::OTHERS)).or_default();
            into.wait_ns += pair.wait_ns;
            into.preemptions += pair.preemptions;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, PAIRS_MAX, ROWS_MAX, RowId, Rows};

    #[test]
    fn the_least_rows_become_others_and_nothing_is_lost() {
        let mut rows = Rows::default();
        for number in 0..ROWS_MAX as i32 + 1 {
            let id = rows.of(Key::Process(number));
            rows.row_mut(id).run_ns = number as u64;
            rows.pair(id, RowId::IDLE).wait_ns += 1;
        }
        assert!(rows.by_key.len() <= ROWS_MAX / 2 + 1);
        let total: u64 = rows.rows.iter().map(|(_, _, row)| row.run_ns).sum();
        assert_eq!(total, (0..=ROWS_MAX as u64).sum::<u64>());
        let waits: u64 = rows.pairs().iter().map(|(_, pair)| pair.wait_ns).sum();
        assert_eq!(waits, ROWS_MAX as u64 + 1);
        // The greatest are there still, and a folded one begins anew.
        assert_eq!(rows.row(rows.ranked()[1]).run_ns, ROWS_MAX as u64 - 1);
        let again = rows.of(Key::Process(1));
        assert_eq!(rows.row(again).run_ns, 0);
    }

    #[test]
    fn the_rarest_pairs_become_others_and_nothing_is_lost() {
        let mut rows = Rows::default();
        let ids: Vec<RowId> = (0..300).map(|number| rows.of(Key::Process(number))).collect();
        let mut total = 0;
        for (waiter, runner) in (0..300 * 300).map(|pair| (pair / 300, pair % 300)) {
            total += (waiter * runner) as u64;
            rows.pair(ids[waiter], ids[runner]).wait_ns += (waiter * runner) as u64;
            assert!(rows.pairs.len() <= PAIRS_MAX);
        }
        assert_eq!(rows.pairs().iter().map(|(_, pair)| pair.wait_ns).sum::<u64>(), total);
    }
}
