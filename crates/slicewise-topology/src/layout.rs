//! Regular machines in a few letters: `2s:4n:2l:8c:2t`.
//!
//! Each part is a number and a letter, and says how many of something each of the one before has: sockets
//! (packages), memory nodes, last-level caches, clusters (`k`), cores, threads. What is left out is one.

use slicewise_sched::CPUS_MAX;

use crate::machine::{CacheKind, Draft, DraftCache, DraftCpu, DraftNode};
use crate::{Machine, Problem};

const LETTERS: [(char, &str); 6] = [
    ('s', "sockets"),
    ('n', "memory nodes of a socket"),
    ('l', "last-level caches of a node"),
    ('k', "clusters of a cache"),
    ('c', "cores"),
    ('t', "threads of a core"),
];
const HELP: &str = "a layout is such as 2s:24c:2t: 2 sockets of 24 cores of 2 threads; parts in this order, \
                    all optional: s sockets, n memory nodes, l last-level caches, k clusters, c cores, \
                    t threads";
/// Threads of a core: no more are built.
const THREADS_MAX: u32 = 8;

/// Distances between the nodes of a socket, and between those of different ones where sockets have
/// several: what AMD's firmware says with NPS4.
const WITHIN_SOCKET: u32 = 12;
const BETWEEN_SOCKETS_OF_NODES: u32 = 32;
/// Between sockets of one node each: what most firmware says.
const BETWEEN_SOCKETS: u32 = 21;

/// How many of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    counts: [u32; 6],
    clustered: bool,
}

/// Whether a text is meant to be a layout, well or badly.
pub(crate) fn looks_like_layout(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && !text.contains(['/', '.', '\\'])
        && text.contains(|c: char| c.is_ascii_alphabetic())
}

impl Layout {
    /// Reads it. Places are bytes of the text.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let mut counts = [1; 6];
        let mut clustered = false;
        let mut next = 0;
        let mut start = 0;
        for part in text.split(':') {
            let span = start..start + part.len();
            start += part.len() + 1;
            let (at, count) = parse_part(part, next).map_err(|message| {
                let column = text[..span.start].chars().count() + 1;
                let message = format!("{message} (column {column})");
                Problem::error(span.clone(), message).help(HELP)
            })?;
            counts[at] = count;
            clustered |= at == 3;
            next = at + 1;
        }
        let layout = Self { counts, clustered };
        let cpus = layout.counts.iter().map(|count| u64::from(*count)).product::<u64>();
        if cpus > u64::from(CPUS_MAX) {
            let message = format!("{cpus} CPUs are too many: allowed are 1 to {CPUS_MAX}");
            return Err(Problem::error(0..text.len(), message));
        }
        Ok(layout)
    }

    /// The machine. First come the first threads of all cores, then the second ones, as firmware of most
    /// x86 machines numbers them.
    pub(crate) fn draft(self, name: &str) -> Draft {
        let [sockets, nodes, llcs, clusters, cores, threads] = self.counts;
        let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
        let cores_per_llc = clusters * cores;
        let total = sockets * nodes * llcs * cores_per_llc;
        for number in 0..total * threads {
            let core = number % total;
            let llc = core / cores_per_llc;
            let node = llc / llcs;
            let cpu = DraftCpu {
                cluster: self.clustered.then_some(core / cores),
                llc,
                package: node / nodes,
                node,
                ..DraftCpu::alone(core)
            };
            draft.cpus.insert(number, cpu);
        }
        for node in 0..sockets * nodes {
            draft.nodes.insert(node, DraftNode::default());
        }
        for (from, to) in
            (0..sockets * nodes).flat_map(|a| (0..sockets * nodes).map(move |b| (a, b)))
        {
            let distance = match (from == to, from / nodes == to / nodes, nodes > 1) {
                (true, ..) => 10,
                (_, true, _) => WITHIN_SOCKET,
                (_, _, true) => BETWEEN_SOCKETS_OF_NODES,
                _ => BETWEEN_SOCKETS,
            };
            draft.distances.insert((from, to), distance);
        }
        draft
    }
}

fn parse_part(part: &str, next: usize) -> Result<(usize, u32), String> {
    let shown = slicewise_input::shorten(part);
    let digits = part.bytes().take_while(u8::is_ascii_digit).count();
    let (count, letter) = part.split_at(digits);
    let mut letters = letter.chars();
    let (Some(letter), None, false) = (letters.next(), letters.next(), count.is_empty()) else {
        return Err(format!("`{shown}` is not a number and a letter"));
    };
    let Some(at) = LETTERS.iter().position(|(known, _)| *known == letter) else {
        return Err(format!("`{shown}`: unknown letter `{}`", letter.escape_default()));
    };
    let what = LETTERS[at].1;
    if at < next {
        let last = LETTERS[next - 1].1;
        return Err(match at + 1 == next {
            true => format!("`{shown}`: {what} are given twice"),
            false => format!("`{shown}`: {what} come before {last}"),
        });
    }
    let max = if letter == 't' { THREADS_MAX } else { CPUS_MAX };
    match count.parse::<u32>() {
        Ok(count) if (1..=max).contains(&count) => Ok((at, count)),
        _ => Err(format!("`{shown}`: there can be 1 to {max} {what}")),
    }
}

/// The machine of a layout.
///
/// ```
/// let machine = slicewise_topology::layout("2s:24c:2t").unwrap();
/// assert_eq!(machine.topology().nr_cpus(), 96);
/// // CPU 48 is the second thread of CPU 0's core.
/// let places = machine.topology().places();
/// assert_eq!(places[48].core, places[0].core);
///
/// let error = slicewise_topology::layout("2s:24x").unwrap_err();
/// assert_eq!(error.message, "`24x`: unknown letter `x` (column 4)");
/// ```
///
/// # Errors
/// The first part that is none, with its place.
pub fn layout(text: &str) -> Result<Machine, Problem> {
    Layout::parse(text)?
        .draft(text)
        .finish()
        .map_err(|message| Problem::error(0..text.len(), message))
}

/// Adds the caches of everybody: level, KiB, and who shares one.
pub(crate) fn add_caches(
    draft: &mut Draft,
    level: u32,
    kind: CacheKind,
    kib: u64,
    shared: impl Fn(&DraftCpu) -> u32,
) {
    let mut by_key: std::collections::BTreeMap<u32, Vec<u32>> = std::collections::BTreeMap::new();
    for (number, cpu) in &draft.cpus {
        by_key.entry(shared(cpu)).or_default().push(*number);
    }
    let cache = |cpus| DraftCache { level, kind, size_bytes: Some(kib << 10), cpus };
    draft.caches.extend(by_key.into_values().map(cache));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_that_is_none_is_refused_at_its_column() {
        for (text, message) in [
            ("", "`` is not a number and a letter (column 1)"),
            ("2s:", "`` is not a number and a letter (column 4)"),
            ("s:2c", "`s` is not a number and a letter (column 1)"),
            ("2s:4cores", "`4cores` is not a number and a letter (column 4)"),
            ("2s:0c", "`0c`: there can be 1 to 8192 cores (column 4)"),
            ("4c:2s", "`2s`: sockets come before cores (column 4)"),
            ("2s:2s", "`2s`: sockets are given twice (column 4)"),
            ("4c:9t", "`9t`: there can be 1 to 8 threads of a core (column 4)"),
            ("99999999999c", "`99999999999c`: there can be 1 to 8192 cores (column 1)"),
            ("2s:8192c", "16384 CPUs are too many: allowed are 1 to 8192"),
            ("2s:4µ", "`4µ`: unknown letter `\\u{b5}` (column 4)"),
        ] {
            assert_eq!(Layout::parse(text).unwrap_err().message, message, "{text}");
        }
    }

    #[test]
    fn each_part_is_of_the_one_before() {
        let machine = layout("2s:2n:2l:3k:4c:2t").unwrap();
        let places = machine.topology().places();
        let distinct = |key: &dyn Fn(&slicewise_sched::topology::CpuPlace) -> u32| {
            let mut keys: Vec<u32> = places.iter().map(key).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.len()
        };
        assert_eq!(places.len(), 2 * 2 * 2 * 3 * 4 * 2);
        assert_eq!(distinct(&|place| place.package), 2);
        assert_eq!(distinct(&|place| place.node), 4);
        assert_eq!(distinct(&|place| place.llc), 8);
        assert_eq!(distinct(&|place| place.cluster.unwrap()), 24);
        assert_eq!(distinct(&|place| place.core), 96);
        assert_eq!(machine.topology().distance(0, 1), Some(12));
        assert_eq!(machine.topology().distance(0, 2), Some(32));
    }
}
