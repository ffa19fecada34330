//! The queue of waiting fair tasks: ordered by a virtual time, and able to say in O(log n) who is
//! the first of those whose virtual runtime is low enough.
//!
//! A B+ tree. Every inner node keeps, for each child, the least virtual runtime and the shortest
//! and longest slice below it. The kernel answers the same questions with an augmented red-black
//! tree; the shape of the tree is not observable, the order and the answers are. With up to
//! [`NODE_MAX`] tasks the whole queue is one sorted array, which is what real runqueues mostly are.
//!
//! Who wakes often runs at once, and would be put into the tree only to be taken out again. So the
//! entry added last as one that has woken stays beside the tree until another one comes.

use core::hint::cold_path;

/// Entries of a leaf and children of an inner node, at most.
const NODE_MAX: usize = 32;
/// Inner levels at most: with nodes at least half full after a split, more than enough for 2^32.
const HEIGHT_MAX: usize = 12;

/// A waiting task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// What the queue is ordered by; compared with wrap-around.
    pub(crate) key: u64,
    /// Among equal keys, earlier insertions come first.
    pub(crate) seq: u64,
    pub(crate) vruntime: u64,
    pub(crate) slice: u64,
    pub(crate) entity: u32,
}

/// What an inner node knows of a subtree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Summary {
    pub(crate) min_vruntime: u64,
    pub(crate) min_slice: u64,
    pub(crate) max_slice: u64,
}

impl Summary {
    fn of(entry: &Entry) -> Self {
        Self { min_vruntime: entry.vruntime, min_slice: entry.slice, max_slice: entry.slice }
    }

    fn join(self, other: Self) -> Self {
        Self {
            min_vruntime: earlier(self.min_vruntime, other.min_vruntime),
            min_slice: self.min_slice.min(other.min_slice),
            max_slice: self.max_slice.max(other.max_slice),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Child {
    /// No entry below has a smaller (key, seq).
    key: u64,
    seq: u64,
    summary: Summary,
    node: u32,
}

/// Whether virtual time `a` is before `b` (fair.md 0.4).
#[inline]
pub(crate) fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

/// The earlier of two virtual times.
#[inline]
pub(crate) fn earlier(a: u64, b: u64) -> u64 {
    if before(b, a) { b } else { a }
}

#[inline]
fn ordered_before(key: u64, seq: u64, other_key: u64, other_seq: u64) -> bool {
    if key == other_key { seq < other_seq } else { before(key, other_key) }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    node: u32,
    child: u32,
}

/// The queue. What small ones need comes first.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct Ordered {
    /// An entry that is not in the tree.
    beside: Option<Entry>,
    leaves: Vec<Vec<Entry>>,
    /// Inner levels above the leaves.
    height: usize,
    /// Entries in the tree.
    len: usize,
    root: u32,
    inners: Vec<Vec<Child>>,
    free_leaves: Vec<u32>,
    free_inners: Vec<u32>,
}

/// The first of two entries.
#[inline(always)]
fn first_of<'q>(a: Option<&'q Entry>, b: Option<&'q Entry>) -> Option<&'q Entry> {
    match (a, b) {
        (Some(a), Some(b)) if ordered_before(b.key, b.seq, a.key, a.seq) => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}

impl Ordered {
    #[inline]
    fn leaf(&self, node: u32) -> &[Entry] {
        self.leaves.get(node as usize).map_or(&[], Vec::as_slice)
    }

    /// The first entry.
    #[inline(always)]
    pub(crate) fn first(&self) -> Option<&Entry> {
        let in_tree = if self.height > 0 {
            cold_path();
            self.first_below()
        } else {
            self.leaf(self.root).first()
        };
        first_of(in_tree, self.beside.as_ref())
    }

    #[inline(never)]
    fn first_below(&self) -> Option<&Entry> {
        let mut node = self.root;
        for _ in 0..self.height {
            node = self.inners[node as usize][0].node;
        }
        self.leaf(node).first()
    }

    /// The first entry whose virtual runtime passes. What passes must pass for every earlier
    /// virtual runtime too.
    #[inline(always)]
    pub(crate) fn first_passing(&self, passes: impl Fn(u64) -> bool) -> Option<&Entry> {
        let beside = self.beside.as_ref().filter(|entry| passes(entry.vruntime));
        let in_tree = if self.height > 0 {
            cold_path();
            self.first_passing_below(passes)
        } else {
            self.leaf(self.root).iter().find(|entry| passes(entry.vruntime))
        };
        first_of(in_tree, beside)
    }

    #[inline(never)]
    fn first_passing_below(&self, passes: impl Fn(u64) -> bool) -> Option<&Entry> {
        let mut node = self.root;
        for _ in 0..self.height {
            let children = &self.inners[node as usize];
            node = children.iter().find(|child| passes(child.summary.min_vruntime))?.node;
        }
        self.leaf(node).iter().find(|entry| passes(entry.vruntime))
    }

    /// What is known of all entries; `None` if there are none.
    #[inline]
    pub(crate) fn summary(&self) -> Option<Summary> {
        let in_tree = if self.height == 0 {
            summary_of_leaf(self.leaf(self.root))
        } else {
            self.summary_of_inner(self.root)
        };
        match (in_tree, self.beside.as_ref().map(Summary::of)) {
            (Some(a), Some(b)) => Some(a.join(b)),
            (a, b) => a.or(b),
        }
    }

    /// The least virtual runtime of all entries; `None` if there are none.
    #[inline]
    pub(crate) fn least_vruntime(&self) -> Option<u64> {
        let in_tree = if self.height > 0 {
            self.summary_of_inner(self.root).map(|summary| summary.min_vruntime)
        } else {
            let vruntimes = self.leaf(self.root).iter().map(|entry| entry.vruntime);
            vruntimes.reduce(earlier)
        };
        match (in_tree, &self.beside) {
            (Some(least), Some(beside)) => Some(earlier(least, beside.vruntime)),
            (least, beside) => least.or(beside.as_ref().map(|beside| beside.vruntime)),
        }
    }

    #[inline(never)]
    fn summary_of_inner(&self, node: u32) -> Option<Summary> {
        self.inners[node as usize].iter().map(|child| child.summary).reduce(Summary::join)
    }

    /// All entries, first to last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let (mut in_tree, mut beside) = (self.iter_tree().peekable(), self.beside.as_ref());
        core::iter::from_fn(move || {
            let first = first_of(in_tree.peek().copied(), beside)?;
            if beside == Some(first) { beside.take() } else { in_tree.next() }
        })
    }

    fn iter_tree(&self) -> Iter<'_> {
        let mut iter =
            Iter { queue: self, stack: [(0, 0); HEIGHT_MAX], leaf: self.leaf(self.root).iter() };
        if self.height > 0 {
            iter.stack[0] = (self.root, 0);
            iter.descend(0);
        }
        iter
    }

    /// Adds an entry. Its (key, seq) must be new.
    #[inline(always)]
    pub(crate) fn insert(&mut self, entry: Entry) {
        let Entry { key, seq, vruntime, slice, entity } = entry;
        self.insert_in_tree(key, seq, vruntime, slice, entity);
    }

    /// The fields one by one: see [`insert_into_leaf`].
    #[inline(never)]
    fn insert_in_tree(&mut self, key: u64, seq: u64, vruntime: u64, slice: u64, entity: u32) {
        if self.height == 0
            && let Some(leaf) = self.leaves.get_mut(self.root as usize)
            && leaf.len() < NODE_MAX.min(leaf.capacity())
        {
            insert_into_leaf(leaf, Entry { key, seq, vruntime, slice, entity });
            self.len += 1;
        } else {
            self.insert_anywhere(key, seq, vruntime, slice, entity);
        }
    }

    #[inline(never)]
    fn insert_anywhere(&mut self, key: u64, seq: u64, vruntime: u64, slice: u64, entity: u32) {
        self.insert_below(Entry { key, seq, vruntime, slice, entity });
    }

    /// Adds an entry that may well be the next to be taken out.
    #[inline(always)]
    pub(crate) fn insert_beside(&mut self, entry: Entry) {
        if self.beside.is_some() {
            self.put_into_tree();
        }
        self.beside = Some(entry);
    }

    #[inline(never)]
    fn put_into_tree(&mut self) {
        if let Some(entry) = self.beside.take() {
            self.insert(entry);
        }
    }

    #[inline]
    fn insert_below(&mut self, entry: Entry) {
        if self.leaves.is_empty() {
            self.leaves.push(Vec::with_capacity(NODE_MAX / 4));
        }
        let mut path = [Step { node: 0, child: 0 }; HEIGHT_MAX];
        let mut node = self.root;
        for step in path.iter_mut().take(self.height) {
            let children = &mut self.inners[node as usize];
            let at = child_of(children, entry.key, entry.seq);
            let child = &mut children[at];
            if ordered_before(entry.key, entry.seq, child.key, child.seq) {
                (child.key, child.seq) = (entry.key, entry.seq);
            }
            child.summary = child.summary.join(Summary::of(&entry));
            *step = Step { node, child: at as u32 };
            node = child.node;
        }
        let leaf = &mut self.leaves[node as usize];
        insert_into_leaf(leaf, entry);
        self.len += 1;
        if leaf.len() > NODE_MAX {
            self.split(&path, node);
        }
    }

    #[cold]
    fn split(&mut self, path: &[Step; HEIGHT_MAX], leaf: u32) {
        let new_leaf = split_node(&mut self.leaves, &mut self.free_leaves, leaf);
        let upper = self.leaf(new_leaf);
        let (Some(first), Some(summary)) = (upper.first(), summary_of_leaf(upper)) else { return };
        let mut right = Child { key: first.key, seq: first.seq, summary, node: new_leaf };
        let mut left = leaf;
        let mut left_summary = summary_of_leaf(self.leaf(leaf));
        for step in path[..self.height].iter().rev() {
            let children = &mut self.inners[step.node as usize];
            if let Some(summary) = left_summary {
                children[step.child as usize].summary = summary;
            }
            children.insert(step.child as usize + 1, right);
            if children.len() <= NODE_MAX {
                return;
            }
            let node = split_node(&mut self.inners, &mut self.free_inners, step.node);
            let Child { key, seq, .. } = self.inners[node as usize][0];
            let Some(summary) = self.summary_of_inner(node) else { return };
            right = Child { key, seq, summary, node };
            left = step.node;
            left_summary = self.summary_of_inner(left);
        }
        // The root itself was split: a new root over both halves.
        let (Some(summary), (key, seq)) = (left_summary, self.first_key(left)) else { return };
        let root = take_node(&mut self.inners, &mut self.free_inners);
        self.inners[root as usize].extend([Child { key, seq, summary, node: left }, right]);
        self.root = root;
        self.height += 1;
    }

    fn first_key(&self, node: u32) -> (u64, u64) {
        if self.height == 0 {
            self.leaf(node).first().map_or((0, 0), |entry| (entry.key, entry.seq))
        } else {
            self.inners[node as usize].first().map_or((0, 0), |child| (child.key, child.seq))
        }
    }

    /// Takes out the entry with this (key, seq). Whether there was one.
    #[inline(always)]
    pub(crate) fn remove(&mut self, key: u64, seq: u64) -> bool {
        if let Some(beside) = &self.beside
            && (beside.key, beside.seq) == (key, seq)
        {
            self.beside = None;
            return true;
        }
        self.remove_from_tree(key, seq)
    }

    #[inline(never)]
    fn remove_from_tree(&mut self, key: u64, seq: u64) -> bool {
        if self.height > 0 {
            return self.remove_below(key, seq);
        }
        let Some(leaf) = self.leaves.get_mut(self.root as usize) else { return false };
        let found = remove_from_leaf(leaf, key, seq).is_some();
        self.len -= usize::from(found);
        found
    }

    #[inline(never)]
    fn remove_below(&mut self, key: u64, seq: u64) -> bool {
        let mut path = [Step { node: 0, child: 0 }; HEIGHT_MAX];
        let mut node = self.root;
        for step in path.iter_mut().take(self.height) {
            let children = &self.inners[node as usize];
            let at = child_of(children, key, seq);
            *step = Step { node, child: at as u32 };
            node = children[at].node;
        }
        let Some(leaf) = self.leaves.get_mut(node as usize) else { return false };
        let Some(removed) = remove_from_leaf(leaf, key, seq) else { return false };
        self.len -= 1;
        self.removed_below(&path, node, &removed);
        true
    }

    /// Puts the inner nodes right after `removed` has left a leaf.
    fn removed_below(&mut self, path: &[Step; HEIGHT_MAX], leaf: u32, removed: &Entry) {
        if self.leaves[leaf as usize].is_empty() {
            self.drop_empty_leaf(path, leaf);
            return;
        }
        let gone = Summary::of(removed);
        let mut below = None;
        for step in path[..self.height].iter().rev() {
            let old = self.inners[step.node as usize][step.child as usize].summary;
            let touched = old.min_vruntime == gone.min_vruntime
                || old.min_slice == gone.min_slice
                || old.max_slice == gone.max_slice;
            if !touched {
                break;
            }
            let fresh = match below {
                None => summary_of_leaf(self.leaf(leaf)),
                Some(node) => self.summary_of_inner(node),
            };
            let Some(fresh) = fresh else { break };
            if fresh == old {
                break;
            }
            self.inners[step.node as usize][step.child as usize].summary = fresh;
            below = Some(step.node);
        }
        self.merge_leaf(path[self.height - 1]);
    }

    /// Joins a thin leaf with its right neighbour, so that thin leaves do not pile up.
    fn merge_leaf(&mut self, step: Step) {
        let children = &self.inners[step.node as usize];
        let at = step.child as usize;
        let Some(next) = children.get(at + 1).map(|child| child.node) else { return };
        let this = children[at].node;
        let joined = self.leaves[this as usize].len() + self.leaves[next as usize].len();
        if joined > NODE_MAX / 4 {
            return;
        }
        let mut moved = core::mem::take(&mut self.leaves[next as usize]);
        self.leaves[this as usize].append(&mut moved);
        self.leaves[next as usize] = moved;
        self.free_leaves.push(next);
        let children = &mut self.inners[step.node as usize];
        let right = children.remove(at + 1);
        children[at].summary = children[at].summary.join(right.summary);
        self.shrink_root();
    }

    #[cold]
    fn drop_empty_leaf(&mut self, path: &[Step; HEIGHT_MAX], leaf: u32) {
        self.free_leaves.push(leaf);
        let mut emptied = true;
        let mut below = leaf;
        for (level, step) in path[..self.height].iter().enumerate().rev() {
            if emptied {
                self.inners[step.node as usize].remove(step.child as usize);
                emptied = self.inners[step.node as usize].is_empty() && level > 0;
                if emptied {
                    self.free_inners.push(step.node);
                }
            } else if let Some(fresh) = self.summary_of_inner(below) {
                self.inners[step.node as usize][step.child as usize].summary = fresh;
            }
            below = step.node;
        }
        self.shrink_root();
    }

    /// A root with one child gives way to it; an empty one to an empty leaf.
    fn shrink_root(&mut self) {
        while self.height > 0 && self.inners[self.root as usize].len() <= 1 {
            let old = self.root;
            match self.inners[old as usize].pop() {
                Some(child) => {
                    self.root = child.node;
                    self.height -= 1;
                }
                None => {
                    self.root = take_node(&mut self.leaves, &mut self.free_leaves);
                    self.height = 0;
                }
            }
            self.free_inners.push(old);
        }
    }
}

/// Entries of the tree in order.
struct Iter<'q> {
    queue: &'q Ordered,
    /// For each inner level from the root: the node, and which child we are in.
    stack: [(u32, u32); HEIGHT_MAX],
    leaf: core::slice::Iter<'q, Entry>,
}

impl Iter<'_> {
    /// Goes to the leaf under the current child of `level`.
    fn descend(&mut self, level: usize) {
        for level in level..self.queue.height {
            let (node, child) = self.stack[level];
            let below = self.queue.inners[node as usize][child as usize].node;
            if level + 1 == self.queue.height {
                self.leaf = self.queue.leaf(below).iter();
            } else {
                self.stack[level + 1] = (below, 0);
            }
        }
    }
}

impl<'q> Iterator for Iter<'q> {
    type Item = &'q Entry;

    fn next(&mut self) -> Option<&'q Entry> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Some(entry);
            }
            let level = (0..self.queue.height).rev().find(|level| {
                let (node, child) = self.stack[*level];
                child as usize + 1 < self.queue.inners[node as usize].len()
            })?;
            self.stack[level].1 += 1;
            self.descend(level);
        }
    }
}

/// Up to so many entries are looked through one by one.
const FEW: usize = 8;

/// Puts an entry in its place, from the end: most come late.
#[inline(always)]
fn insert_into_leaf(leaf: &mut Vec<Entry>, entry: Entry) {
    let goes_before = |other: &Entry| ordered_before(entry.key, entry.seq, other.key, other.seq);
    if let Some(far) = leaf.len().checked_sub(FEW)
        && leaf.get(far).is_some_and(goes_before)
    {
        return insert_far(leaf, far, entry);
    }
    leaf.push(entry);
    let entries = leaf.as_mut_slice();
    let last = entries.len() - 1;
    let mut at = last;
    while at > 0 {
        let earlier = entries[at - 1];
        if !goes_before(&earlier) {
            break;
        }
        entries[at] = earlier;
        at -= 1;
    }
    if at == last {
        return;
    }
    // Field by field, so that they come from registers: an entry is not read in one go that has just
    // been written field by field, which makes a processor wait.
    let Entry { key, seq, vruntime, slice, entity } = entry;
    let place = &mut entries[at];
    place.key = key;
    place.seq = seq;
    place.vruntime = vruntime;
    place.slice = slice;
    place.entity = entity;
}

/// The same, where it goes before number `far`.
#[inline(never)]
fn insert_far(leaf: &mut Vec<Entry>, far: usize, entry: Entry) {
    let at = leaf[..far]
        .partition_point(|other| !ordered_before(entry.key, entry.seq, other.key, other.seq));
    leaf.insert(at, entry);
}

/// Of a queue's entries, no two have the same sequence number.
#[inline]
fn remove_from_leaf(leaf: &mut Vec<Entry>, key: u64, seq: u64) -> Option<Entry> {
    if leaf.len() > FEW {
        return remove_from_full_leaf(leaf, key, seq);
    }
    let mut at = 0;
    let removed = loop {
        let entry = leaf.get(at)?;
        if entry.seq == seq {
            break *entry;
        }
        at += 1;
    };
    while let Some(next) = leaf.get(at + 1) {
        leaf[at] = *next;
        at += 1;
    }
    leaf.truncate(at);
    Some(removed)
}

#[inline(never)]
fn remove_from_full_leaf(leaf: &mut Vec<Entry>, key: u64, seq: u64) -> Option<Entry> {
    let at = leaf.partition_point(|entry| ordered_before(entry.key, entry.seq, key, seq));
    leaf.get(at).is_some_and(|entry| entry.seq == seq).then(|| leaf.remove(at))
}

/// An empty node: one used before, with its memory, or a new one.
fn take_node<T>(nodes: &mut Vec<Vec<T>>, free: &mut Vec<u32>) -> u32 {
    match free.pop() {
        Some(node) => {
            nodes[node as usize].clear();
            node
        }
        None => {
            nodes.push(Vec::new());
            (nodes.len() - 1) as u32
        }
    }
}

/// Moves the upper half of a node into another.
fn split_node<T: Copy>(nodes: &mut Vec<Vec<T>>, free: &mut Vec<u32>, node: u32) -> u32 {
    let other = take_node(nodes, free);
    let mut upper = core::mem::take(&mut nodes[other as usize]);
    upper.extend_from_slice(&nodes[node as usize][NODE_MAX / 2..]);
    nodes[node as usize].truncate(NODE_MAX / 2);
    nodes[other as usize] = upper;
    other
}

/// The child under which (key, seq) belongs: the last that does not begin after it.
#[inline]
fn child_of(children: &[Child], key: u64, seq: u64) -> usize {
    let (mut low, mut high) = (0, children.len());
    while high - low > 1 {
        let middle = (low + high) / 2;
        if ordered_before(key, seq, children[middle].key, children[middle].seq) {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

#[inline]
fn summary_of_leaf(entries: &[Entry]) -> Option<Summary> {
    let (first, rest) = entries.split_first()?;
    let mut summary = Summary::of(first);
    for entry in rest {
        summary = summary.join(Summary::of(entry));
    }
    Some(summary)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same queue as a plain sorted list.
    #[derive(Default)]
    struct Naive(Vec<Entry>);

    impl Naive {
        fn insert(&mut self, entry: Entry) {
            let at =
                self.0.partition_point(|e| !ordered_before(entry.key, entry.seq, e.key, e.seq));
            self.0.insert(at, entry);
        }

        fn summary(&self) -> Option<Summary> {
            self.0.iter().map(Summary::of).reduce(Summary::join)
        }
    }

    fn check_inside(queue: &Ordered, node: u32, height: usize) -> Summary {
        if height == 0 {
            return summary_of_leaf(queue.leaf(node)).expect("no empty leaf below an inner node");
        }
        let children = &queue.inners[node as usize];
        assert!(!children.is_empty() && children.len() <= NODE_MAX);
        for child in children {
            assert_eq!(check_inside(queue, child.node, height - 1), child.summary);
        }
        queue.summary_of_inner(node).expect("not empty")
    }

    fn agree(queue: &Ordered, naive: &Naive) {
        assert_eq!(queue.len + usize::from(queue.beside.is_some()), naive.0.len());
        assert!(queue.iter().eq(naive.0.iter()));
        assert_eq!(queue.first(), naive.0.first());
        assert_eq!(queue.summary(), naive.summary());
        if queue.height > 0 {
            check_inside(queue, queue.root, queue.height);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_queue_answers_as_a_sorted_list_does(
            base in any::<u64>(),
            ops in prop::collection::vec((0u64..400, 0u64..400, 1u64..5, any::<u32>()), 1..1500),
            grow in 1u32..8,
        ) {
            let (mut queue, mut naive) = (Ordered::default(), Naive::default());
            for (seq, (key, vruntime, slice, dice)) in ops.into_iter().enumerate() {
                if dice % 8 < grow || naive.0.is_empty() {
                    let entry = Entry {
                        key: base.wrapping_add(key),
                        seq: seq as u64,
                        vruntime: base.wrapping_add(vruntime),
                        slice,
                        entity: seq as u32,
                    };
                    if dice & 1 << 31 == 0 {
                        queue.insert(entry);
                    } else {
                        queue.insert_beside(entry);
                    }
                    naive.insert(entry);
                } else {
                    let entry = naive.0.remove(dice as usize / 8 % naive.0.len());
                    prop_assert!(queue.remove(entry.key, entry.seq));
                    prop_assert!(!queue.remove(entry.key, entry.seq));
                }
                let bound = base.wrapping_add(vruntime);
                let passes = |v: u64| !before(bound, v);
                prop_assert_eq!(
                    queue.least_vruntime(),
                    naive.summary().map(|summary| summary.min_vruntime)
                );
                prop_assert_eq!(
                    queue.first_passing(passes),
                    naive.0.iter().find(|e| passes(e.vruntime))
                );
                if seq % 37 == 0 {
                    agree(&queue, &naive);
                }
            }
            agree(&queue, &naive);
            while let Some(entry) = naive.0.pop() {
                prop_assert!(queue.remove(entry.key, entry.seq));
            }
            agree(&queue, &naive);
        }
    }
}
