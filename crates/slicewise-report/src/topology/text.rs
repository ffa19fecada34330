//! A machine for terminals.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use slicewise_sched::CpuId;
use slicewise_topology::{Kind, Machine, format_list};

use super::tree::{Area, Ids, Part, Row, areas};
use super::{TaskPlaces, bytes, count};
use crate::Style;
use crate::text::{Paint, shown_name};

/// Machines of more CPUs are shown by their caches, not core by core.
const CPUS_DRAWN_MAX: usize = 128;
/// More nodes than this, and each node's distances are told in a line.
const MATRIX_NODES_MAX: usize = 16;
/// Between cells, and between a label and what it labels.
const GAP: usize = 2;

/// The machine as text, with what may run where if there are tasks, and what is odd about that.
pub fn render_topology(
    machine: &Machine,
    tasks: &[TaskPlaces],
    findings: &[String],
    style: Style,
) -> String {
    let areas = areas(machine);
    let mut text = header(machine, style);
    let drawing = Drawing { machine, style };
    let titles = areas.iter().any(|area| !drawing.title(area).is_empty());
    let folded = machine.cpus().len() > CPUS_DRAWN_MAX;
    let mut before: Option<&Area> = None;
    for area in &areas {
        // Folded, the nodes of a package stand together.
        if !folded || before.is_none_or(|before| before.package != area.package) {
            text.push('\n');
        }
        before = Some(area);
        match folded {
            true => drawing.folded(area, &areas, &mut text),
            false => {
                if titles {
                    let title = drawing.title(area);
                    let _ = writeln!(text, "{}", style.paint(Paint::Heading, &title));
                }
                drawing.cores(area, &areas, &mut text);
            }
        }
    }
    drawing.legend(&mut text);
    drawing.capacities(&mut text);
    drawing.nodes_without_cpus(&mut text);
    drawing.matrices(&mut text);
    drawing.tasks(tasks, &mut text);
    let gap = if findings.is_empty() { "" } else { "\n" };
    text.push_str(gap);
    let remarks = |head, list: &[String], text: &mut String| {
        for words in list {
            let shown = words.chars().map(|c| if c.is_control() { '?' } else { c });
            wrap(text, head, &shown.collect::<String>(), style.width);
        }
    };
    remarks("finding: ", findings, &mut text);
    remarks("note: ", machine.notes(), &mut text);
    text
}

/// `nps4: 256 CPUs, 128 cores, …`.
fn header(machine: &Machine, style: Style) -> String {
    let ids = Ids::new(machine);
    let number = |ids: &[u32]| ids.iter().max().map_or(0, |most| *most as usize + 1);
    let clusters: Vec<u32> = ids.clusters.iter().flatten().copied().collect();
    let mut parts = vec![
        count(machine.cpus().len(), "CPU", "CPUs"),
        count(number(&ids.cores), "core", "cores"),
        count(number(&ids.llcs), "LLC", "LLCs"),
        count(machine.nodes().len(), "node", "nodes"),
        count(number(&ids.packages), "package", "packages"),
    ];
    if !clusters.is_empty() {
        parts.insert(2, count(number(&clusters), "cluster", "clusters"));
    }
    let memory: Option<u64> = machine
        .nodes()
        .iter()
        .map(|node| node.memory_bytes)
        .try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?));
    if let Some(memory) = memory {
        parts.push(bytes(memory));
    }
    let name = format!("{}: ", shown_name(machine.name()));
    let mut text = String::new();
    // A number stays with what it counts.
    let words = parts.join(", ").replace(' ', "\u{a0}").replace(",\u{a0}", ", ");
    wrap(&mut text, &name, &words, style.width);
    let text = text.replace('\u{a0}', " ");
    text.replacen(&name, &style.paint(Paint::Heading, &name), 1)
}

struct Drawing<'m> {
    machine: &'m Machine,
    style: Style,
}

/// A piece of a line: its text, and how many columns it takes.
struct Cell {
    text: String,
    columns: usize,
}

impl Drawing<'_> {
    /// `package 0, node 1, 64 GiB`; nothing on a machine that has one of each.
    fn title(&self, area: &Area) -> String {
        let nodes = self.machine.nodes();
        let node = &nodes[area.node as usize];
        let mut parts = Vec::new();
        let places = self.machine.topology().places();
        if places.iter().any(|place| place.package != places[0].package) {
            parts.push(format!("package {}", area.package));
        }
        if nodes.len() > 1 {
            parts.push(format!("node {}", node.number));
            parts.extend(node.name.as_deref().map(shown_name));
            parts.extend(node.memory_bytes.map(bytes));
        }
        parts.join(", ")
    }

    /// A CPU's number with its marks.
    fn cpu(&self, at: usize) -> String {
        let cpu = &self.machine.cpus()[at];
        let isolated = if cpu.isolated { "i" } else { "" };
        let nohz_full = if cpu.nohz_full { "n" } else { "" };
        format!("{}{isolated}{nohz_full}", cpu.number)
    }

    fn core(&self, row: &Row, cpus: &[usize]) -> Cell {
        let text = cpus.iter().map(|at| self.cpu(*at)).collect::<Vec<_>>().join(",");
        let special = cpus.iter().any(|at| {
            let cpu = &self.machine.cpus()[*at];
            cpu.isolated || cpu.nohz_full
        });
        let paint = match row.kind {
            _ if special => Some(Paint::Notable),
            Some(Kind::Efficiency) => Some(Paint::Good),
            Some(Kind::Performance) => Some(Paint::Bar),
            None => None,
        };
        let columns = text.chars().count();
        let text = paint.map_or(text.clone(), |paint| self.style.paint(paint, &text));
        Cell { text, columns }
    }

    /// Core by core, one line or more for each cache and cluster.
    fn cores(&self, area: &Area, all: &[Area], text: &mut String) {
        let parts = || all.iter().flat_map(|area| &area.parts);
        let rows = || parts().flat_map(|part| part.rows.iter());
        let cache_columns = parts().map(|part| part.label().len()).max().unwrap_or(0);
        let row_columns = rows().map(|row| row_label(row).len()).max().unwrap_or(0);
        let cells = || rows().flat_map(|row| row.cores.iter().map(|core| self.core(row, core)));
        let cell_columns = cells().map(|cell| cell.columns).max().unwrap_or(1);
        let single = rows().all(|row| row.cores.iter().all(|core| core.len() == 1));
        for part in &area.parts {
            for (at, row) in part.rows.iter().enumerate() {
                let cache = if at == 0 { part.label() } else { String::new() };
                let mut head = format!("  {cache:cache_columns$}");
                if row_columns > 0 {
                    let _ = write!(head, "  {:row_columns$}", row_label(row));
                }
                let cells = row.cores.iter().map(|core| {
                    let Cell { text, columns } = self.core(row, core);
                    let padding = " ".repeat(cell_columns - columns);
                    match single {
                        true => format!("{padding}{text}"),
                        false => format!("{text}{padding}"),
                    }
                });
                grid(text, &head, cells, cell_columns, self.style);
            }
        }
    }

    /// Who has which capacity and priority, where they differ.
    fn capacities(&self, text: &mut String) {
        let topology = self.machine.topology();
        let mut alike: BTreeMap<(u32, Option<i32>), Vec<u32>> = BTreeMap::new();
        for (cpu, place) in self.machine.cpus().iter().zip(topology.places()) {
            alike.entry((place.capacity, place.packing_priority)).or_default().push(cpu.number);
        }
        if alike.len() < 2 {
            return;
        }
        text.push('\n');
        for ((capacity, priority), cpus) in alike.into_iter().rev() {
            let priority =
                priority.map_or(String::new(), |priority| format!(", packing priority {priority}"));
            let head = format!("  capacity {capacity:>4}{priority}: CPUs ");
            wrap(text, &head, &format_list(cpus), self.style.width);
        }
    }

    /// Cache by cache: those alike share a line, with the CPUs of each.
    fn folded(&self, area: &Area, all: &[Area], text: &mut String) {
        let numbers = |part: &Part| {
            let mut cpus: Vec<u32> = part.cpus().map(|at| self.machine.cpus()[at].number).collect();
            cpus.sort_unstable();
            format_list(cpus)
        };
        let parts = all.iter().flat_map(|area| &area.parts);
        let widest = parts.map(|part| numbers(part).len()).max().unwrap_or(1);
        let columns = widest.min(self.style.width / 4);
        let mut rest = area.parts.as_slice();
        let mut title = self.title(area);
        while let Some(first) = rest.first() {
            let alike = rest.iter().take_while(|part| part.shape() == first.shape()).count();
            let (now, later) = rest.split_at(alike);
            rest = later;
            let cpus = first.cpus().count();
            let threads = match cpus == first.cores() {
                true => String::new(),
                false => format!(", {}", count(cpus, "CPU", "CPUs")),
            };
            let cores = count(first.cores(), "core", "cores");
            let painted = match title.is_empty() {
                true => String::new(),
                false => format!("{}: ", self.style.paint(Paint::Heading, &title)),
            };
            title.clear();
            let each = if alike > 1 { " each" } else { "" };
            let _ =
                writeln!(text, "{painted}{alike} x {} of {cores}{threads}{each}", first.label());
            if now.iter().any(|part| numbers(part).len() > columns) {
                for part in now {
                    wrap(text, "    ", &numbers(part), self.style.width);
                }
                continue;
            }
            let cells = now.iter().map(|part| format!("{:columns$}", numbers(part)));
            grid(text, "  ", cells, columns, self.style);
        }
        let marked = |name: &str, is: &dyn Fn(usize) -> bool| {
            let cpus = area.parts.iter().flat_map(Part::cpus).filter(|at| is(*at));
            let mut cpus: Vec<u32> = cpus.map(|at| self.machine.cpus()[at].number).collect();
            cpus.sort_unstable();
            let shown = format!("  {name} {}", format_list(cpus.iter().copied()));
            (!cpus.is_empty()).then(|| self.style.paint(Paint::Notable, &shown))
        };
        let of = |at: usize| &self.machine.cpus()[at];
        let isolated = marked("isolated", &|at| of(at).isolated);
        let nohz_full = marked("nohz_full", &|at| of(at).nohz_full);
        for line in [isolated, nohz_full].into_iter().flatten() {
            let _ = writeln!(text, "{line}");
        }
    }

    fn legend(&self, text: &mut String) {
        let cpus = self.machine.cpus();
        let mut parts = Vec::new();
        if cpus.len() <= CPUS_DRAWN_MAX {
            if cpus.iter().any(|cpu| cpu.isolated) {
                parts.push("i isolated");
            }
            if cpus.iter().any(|cpu| cpu.nohz_full) {
                parts.push("n nohz_full");
            }
        }
        let offline = format_list(self.machine.offline().iter().copied());
        let offline = (!offline.is_empty()).then(|| format!("offline: {offline}"));
        parts.extend(offline.as_deref());
        if !parts.is_empty() {
            wrap(text, "\n  ", &parts.join(", "), self.style.width);
        }
    }

    /// Nodes that only have memory.
    fn nodes_without_cpus(&self, text: &mut String) {
        let places = self.machine.topology().places();
        for (row, node) in self.machine.nodes().iter().enumerate() {
            if places.iter().any(|place| place.node as usize == row) {
                continue;
            }
            let mut title = format!("node {}", node.number);
            for part in
                node.name.as_deref().map(shown_name).into_iter().chain(node.memory_bytes.map(bytes))
            {
                let _ = write!(title, ", {part}");
            }
            let _ = writeln!(text, "\n{}, no CPUs", self.style.paint(Paint::Heading, &title));
        }
    }

    /// Distances and latencies, side by side where there is room.
    fn matrices(&self, text: &mut String) {
        let nodes = self.machine.nodes();
        if nodes.len() < 2 {
            return;
        }
        let distance = |from: usize, to: usize| {
            self.machine.topology().distance(from as u32, to as u32).unwrap_or_default()
        };
        let latency = |from: usize, to: usize| self.machine.latencies_ns()[from][to];
        let derived = self.machine.latencies_are_derived();
        let title = if derived { "latency, ns (from the distances)" } else { "latency, ns" };
        let latencies = self.matrix(title, &latency);
        let distances = self.matrix("distance", &distance);
        let columns =
            |lines: &[String]| lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        text.push('\n');
        let beside = columns(&latencies) + 2 * GAP;
        if beside + columns(&distances) <= self.style.width && latencies.len() == distances.len() {
            for (left, right) in latencies.iter().zip(&distances) {
                let _ = writeln!(text, "{}", format!("{left:beside$}{right}").trim_end());
            }
        } else {
            for line in latencies.iter().chain([&String::new()]).chain(&distances) {
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
    }

    fn matrix(&self, title: &str, of: &dyn Fn(usize, usize) -> u32) -> Vec<String> {
        let numbers: Vec<String> =
            self.machine.nodes().iter().map(|node| node.number.to_string()).collect();
        let all = 0..numbers.len();
        let cells = || all.clone().flat_map(|from| all.clone().map(move |to| of(from, to)));
        let number = cells().max().unwrap_or(0).to_string().len();
        let columns = GAP + number.max(numbers.iter().map(String::len).max().unwrap_or(1));
        let head = "node".len() + 1 + numbers.iter().map(String::len).max().unwrap_or(1);
        let wide = 2 + head + numbers.len() * columns > self.style.width;
        if wide || numbers.len() > MATRIX_NODES_MAX {
            return self.profiles(title, of);
        }
        let line = |name: String, cells: Vec<String>| {
            let cells: String = cells.iter().map(|cell| format!("{cell:>columns$}")).collect();
            format!("  {name:head$}{cells}")
        };
        let mut lines = vec![title.to_owned(), line("from".to_owned(), numbers.clone())];
        for from in all.clone() {
            let cells = all.clone().map(|to| of(from, to).to_string()).collect();
            lines.push(line(format!("node {}", numbers[from]), cells));
        }
        lines
    }

    /// How many nodes are how far, for machines of many nodes: those alike in a line.
    fn profiles(&self, title: &str, of: &dyn Fn(usize, usize) -> u32) -> Vec<String> {
        let all = 0..self.machine.nodes().len();
        let mut alike: BTreeMap<Vec<(u32, usize)>, Vec<u32>> = BTreeMap::new();
        for from in all.clone() {
            let mut far: BTreeMap<u32, usize> = BTreeMap::new();
            for to in all.clone() {
                *far.entry(of(from, to)).or_default() += 1;
            }
            alike
                .entry(far.into_iter().collect())
                .or_default()
                .push(self.machine.nodes()[from].number);
        }
        let mut lines = vec![title.to_owned()];
        for (far, nodes) in alike {
            let far: Vec<String> = far
                .iter()
                .map(|(value, nodes)| format!("{value} to {}", count(*nodes, "node", "nodes")))
                .collect();
            lines.push(format!("  from {}: {}", format_list(nodes), far.join(", ")));
        }
        lines
    }

    /// Which tasks may run where, and which CPUs have which pinned tasks.
    fn tasks(&self, tasks: &[TaskPlaces], text: &mut String) {
        if tasks.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n{}", self.style.paint(Paint::Heading, "what may run where"));
        let name = |tasks: &TaskPlaces| match tasks.tasks {
            1 => shown_name(&tasks.name),
            many => format!("{} x {many}", shown_name(&tasks.name)),
        };
        let columns = tasks.iter().map(|tasks| name(tasks).chars().count()).max().unwrap_or(0);
        for tasks in tasks {
            let head = format!("  {:columns$}  ", name(tasks));
            match tasks.is_pinned(self.machine) {
                true => {
                    let list = format_list(tasks.numbers(self.machine));
                    wrap(
                        text,
                        &head,
                        &format!("{list}  ({})", self.extent(tasks)),
                        self.style.width,
                    );
                }
                false => {
                    let all = self.style.paint(Paint::Faint, "all CPUs");
                    let _ = writeln!(text, "{head}{all}");
                }
            }
        }
        self.pins(tasks, text);
    }

    /// Of how many cores, caches and nodes the CPUs are.
    fn extent(&self, tasks: &TaskPlaces) -> String {
        let places = self.machine.topology().places();
        let cpus = (0..).map(CpuId).zip(places).filter(|(cpu, _)| tasks.cpus.contains(*cpu));
        let places: Vec<_> = cpus.map(|(_, place)| place).collect();
        let distinct = |of: &dyn Fn(usize) -> u32| {
            let mut ids: Vec<u32> = (0..places.len()).map(of).collect();
            ids.sort_unstable();
            ids.dedup();
            ids.len()
        };
        [
            count(places.len(), "CPU", "CPUs"),
            count(distinct(&|at| places[at].core), "core", "cores"),
            count(distinct(&|at| places[at].llc), "cache", "caches"),
            count(distinct(&|at| places[at].node), "node", "nodes"),
        ]
        .join(", ")
    }

    /// CPUs with the same pinned tasks in a line.
    fn pins(&self, tasks: &[TaskPlaces], text: &mut String) {
        let pinned: Vec<&TaskPlaces> =
            tasks.iter().filter(|tasks| tasks.is_pinned(self.machine)).collect();
        if pinned.is_empty() {
            return;
        }
        let mut alike: Vec<(Vec<usize>, Vec<u32>)> = Vec::new();
        let mut known: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for (cpu, known_as) in (0..).map(CpuId).zip(self.machine.cpus()) {
            let here: Vec<usize> =
                (0..pinned.len()).filter(|at| pinned[*at].cpus.contains(cpu)).collect();
            let at = *known.entry(here.clone()).or_insert_with(|| {
                alike.push((here, Vec::new()));
                alike.len() - 1
            });
            alike[at].1.push(known_as.number);
        }
        let _ = writeln!(text, "\n{}", self.style.paint(Paint::Heading, "who is pinned to a CPU"));
        let lists: Vec<String> =
            alike.iter().map(|(_, cpus)| format_list(cpus.iter().copied())).collect();
        let columns = lists.iter().map(String::len).max().unwrap_or(0).min(self.style.width / 3);
        for ((here, _), list) in alike.iter().zip(&lists) {
            let names: Vec<String> = here.iter().map(|at| shown_name(&pinned[*at].name)).collect();
            let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
            wrap(text, &format!("  {list:columns$}  "), &names, self.style.width);
        }
    }
}

/// `P cores`, `E cores 1`: with the cluster where there is one.
fn row_label(row: &Row) -> String {
    let kind = match row.kind {
        Some(Kind::Performance) => "P cores",
        Some(Kind::Efficiency) => "E cores",
        None => "",
    };
    match (kind, row.cluster) {
        (kind, None) => kind.to_owned(),
        ("", Some(cluster)) => format!("cluster {cluster}"),
        (kind, Some(cluster)) => format!("{kind}, cluster {cluster}"),
    }
}

/// Cells of one width in as many lines as they take, after a head on the first.
fn grid(
    text: &mut String,
    head: &str,
    cells: impl Iterator<Item = String>,
    cell_columns: usize,
    style: Style,
) {
    let indent = head.chars().count();
    let in_line = (style.width.saturating_sub(indent) / (cell_columns + GAP)).max(1);
    let cells: Vec<String> = cells.collect();
    for (line, cells) in cells.chunks(in_line).enumerate() {
        let start = if line == 0 { head.to_owned() } else { " ".repeat(indent) };
        let cells: String = cells.iter().map(|cell| format!("  {cell}")).collect();
        let _ = writeln!(text, "{}", format!("{start}{cells}").trim_end());
    }
}

/// Words in lines that fit, each under the first. Lists of CPUs are broken at commas where they must be.
fn wrap(text: &mut String, head: &str, words: &str, width: usize) {
    let indent = head.trim_start_matches('\n').chars().count();
    let room = width.saturating_sub(indent).max(20);
    let mut line = String::new();
    text.push_str(head);
    let mut broken = false;
    let mut put = |line: &mut String, broken: &mut bool| {
        if *broken {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str(line.trim_end());
        text.push('\n');
        line.clear();
        *broken = true;
    };
    for piece in words.split_inclusive([' ', ',']) {
        if !line.is_empty() && line.chars().count() + piece.trim_end().chars().count() > room {
            put(&mut line, &mut broken);
        }
        line.push_str(piece);
    }
    put(&mut line, &mut broken);
}
