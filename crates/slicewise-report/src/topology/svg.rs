//! A machine as a figure: boxes in boxes, in one SVG that needs nothing else and suits light and dark pages.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use slicewise_sched::CpuId;
use slicewise_topology::{Kind, Machine};

use super::tree::{Area, Part, Row, areas};
use super::{TaskPlaces, bytes, count};
use crate::text::shown_name;

const CPU_WIDTH: u32 = 38;
const CPU_HEIGHT: u32 = 22;
const GAP: u32 = 6;
const PADDING: u32 = 8;
const TITLE: u32 = 18;
const MARGIN: u32 = 16;
/// Cores side by side.
const CORES_IN_LINE: usize = 8;
/// Areas side by side take no more than this.
const WIDTH_MAX: u32 = 1400;

/// Colours for sets of pinned tasks; more of them share.
const COLORS: usize = 6;

const STYLE: &str = "\
text{font:12px ui-monospace,monospace;fill:#222}\
.title{font-weight:bold;font-size:15px}.faint{fill:#666}\
.area{fill:none;stroke:#888}.cache{fill:#8881;stroke:#8886}.core{fill:#8882;stroke:none}\
.cpu{fill:#dfe7f2;stroke:#5b7aa6}.efficiency{fill:#dff0e0;stroke:#5a9160}\
.performance{fill:#d5e3f8;stroke:#3f6db3}.isolated{stroke-dasharray:3 2;stroke-width:1.6}\
.pin0{fill:#ffdf9e}.pin1{fill:#f7c4c4}.pin2{fill:#c9e9c4}.pin3{fill:#d9c9f2}.pin4{fill:#bfe6ea}\
.pin5{fill:#e2d2bd}.number{text-anchor:middle}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.faint{fill:#999}.cpu{fill:#2b3a50}\
.efficiency{fill:#26402a}.performance{fill:#243f68}.pin0{fill:#6b5216}\
.pin1{fill:#6e2f33}.pin2{fill:#2c5c2c}.pin3{fill:#4b3a70}.pin4{fill:#1f5a60}.pin5{fill:#5a4730}}";

/// A box that is laid out: its size, and what to draw at a place.
struct Block {
    width: u32,
    height: u32,
    draw: String,
}

/// The machine as SVG, and who is pinned where if there are tasks.
pub fn topology_svg(machine: &Machine, tasks: &[TaskPlaces]) -> String {
    let mut figure = Figure { machine, tasks, pins: Vec::new() };
    figure.pins = figure.sets_of_pins();
    let blocks: Vec<Block> = areas(machine).iter().map(|area| figure.area(area)).collect();
    let in_line =
        blocks.iter().map(|block| block.width + GAP).max().map_or(1, |width| WIDTH_MAX / width);
    let mut body = flow(blocks, in_line.max(1) as usize);
    if !figure.pins.is_empty() {
        body = flow(vec![body, figure.legend()], 1);
    }
    let lines = figure.lines();
    let title =
        format!("{}: {}", shown_name(machine.name()), count(machine.cpus().len(), "CPU", "CPUs"));
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0) as u32;
    let width = body.width.max(columns * 8).max(title.chars().count() as u32 * 10) + 2 * MARGIN;
    let top = MARGIN + 26;
    let height = top + body.height + lines.len() as u32 * 17 + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n",
        escaped(&title)
    );
    let _ = writeln!(
        svg,
        "<text class=\"title\" x=\"{MARGIN}\" y=\"{}\">{}</text>",
        MARGIN + 12,
        escaped(&title)
    );
    let _ = writeln!(svg, "<g transform=\"translate({MARGIN},{top})\">\n{}</g>", body.draw);
    for (at, line) in (0..).zip(&lines) {
        let y = top + body.height + MARGIN + 12 + at * 17;
        let _ = writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{y}\" xml:space=\"preserve\">{}</text>",
            escaped(line)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Blocks from left to right in lines of so many, each line below the last.
fn flow(blocks: Vec<Block>, in_line: usize) -> Block {
    let mut draw = String::new();
    let (mut width, mut y) = (0, 0);
    let mut rest = blocks.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut x, mut height) = (0, 0);
        for block in rest.by_ref().take(in_line) {
            let _ = writeln!(draw, "<g transform=\"translate({x},{y})\">{}</g>", block.draw);
            x += block.width + GAP;
            height = height.max(block.height);
        }
        width = width.max(x.saturating_sub(GAP));
        y += height + GAP;
    }
    Block { width, height: y.saturating_sub(GAP), draw }
}

/// As many in a line as lines, or a few more.
fn square(count: usize) -> usize {
    (1..=count).find(|side| side * side >= count).unwrap_or(1)
}

/// A block in a frame with a title.
fn framed(inner: Block, class: &str, title: &str) -> Block {
    let head = if title.is_empty() { PADDING } else { TITLE + 4 };
    let width = (inner.width + 2 * PADDING).max(title.chars().count() as u32 * 8 + 2 * PADDING);
    let height = inner.height + head + PADDING;
    let mut draw =
        format!("<rect class=\"{class}\" width=\"{width}\" height=\"{height}\" rx=\"4\"/>");
    if !title.is_empty() {
        let _ = write!(draw, "<text x=\"{PADDING}\" y=\"15\">{}</text>", escaped(title));
    }
    let _ = write!(draw, "<g transform=\"translate({PADDING},{head})\">{}</g>", inner.draw);
    Block { width, height, draw }
}

struct Figure<'m> {
    machine: &'m Machine,
    tasks: &'m [TaskPlaces],
    /// The sets of pinned tasks that CPUs have, by their first CPUs; each is a colour.
    pins: Vec<Vec<usize>>,
}

impl Figure<'_> {
    /// The pinned tasks of a CPU.
    fn pinned(&self, at: usize) -> Vec<usize> {
        let here = |tasks: &TaskPlaces| {
            tasks.is_pinned(self.machine) && tasks.cpus.contains(CpuId(at as u32))
        };
        (0..self.tasks.len()).filter(|task| here(&self.tasks[*task])).collect()
    }

    fn sets_of_pins(&self) -> Vec<Vec<usize>> {
        let mut known = BTreeSet::new();
        let all = (0..self.machine.cpus().len()).map(|at| self.pinned(at));
        all.filter(|pins| !pins.is_empty() && known.insert(pins.clone())).collect()
    }

    fn names(&self, tasks: &[usize]) -> String {
        let names: Vec<String> =
            tasks.iter().map(|task| shown_name(&self.tasks[*task].name)).collect();
        names.join(", ")
    }

    /// What the colours of pins mean.
    fn legend(&self) -> Block {
        let entry = |(color, pins): (usize, &Vec<usize>)| {
            let text = self.names(pins);
            let draw = format!(
                "<rect class=\"cpu pin{}\" width=\"16\" height=\"14\" rx=\"3\"/><text x=\"24\" \
                 y=\"12\">{}</text>",
                color % COLORS,
                escaped(&text)
            );
            Block { width: 24 + text.chars().count() as u32 * 8, height: 14, draw }
        };
        flow(self.pins.iter().enumerate().map(entry).collect(), 1)
    }

    fn area(&self, area: &Area) -> Block {
        let parts: Vec<Block> = area.parts.iter().map(|part| self.part(part)).collect();
        let in_line = square(parts.len());
        let node = &self.machine.nodes()[area.node as usize];
        let mut title = format!("package {}, node {}", area.package, node.number);
        for part in
            node.name.as_deref().map(shown_name).into_iter().chain(node.memory_bytes.map(bytes))
        {
            let _ = write!(title, ", {part}");
        }
        framed(flow(parts, in_line), "area", &title)
    }

    fn part(&self, part: &Part) -> Block {
        let rows = part.rows.iter().map(|row| self.row(row)).collect();
        framed(flow(rows, 1), "cache", &part.label())
    }

    fn row(&self, row: &Row) -> Block {
        let cores: Vec<Block> = row.cores.iter().map(|core| self.core(row, core)).collect();
        let cores = flow(cores, CORES_IN_LINE);
        match row.cluster {
            Some(cluster) => framed(cores, "core", &format!("cluster {cluster}")),
            None => cores,
        }
    }

    fn core(&self, row: &Row, cpus: &[usize]) -> Block {
        let threads = cpus.iter().map(|at| self.cpu(row, *at)).collect();
        let inner = flow(threads, 1);
        match cpus.len() {
            1 => inner,
            _ => {
                let (width, height) = (inner.width + 4, inner.height + 4);
                let draw = format!(
                    "<rect class=\"core\" width=\"{width}\" height=\"{height}\" rx=\"3\"/><g \
                     transform=\"translate(2,2)\">{}</g>",
                    inner.draw
                );
                Block { width, height, draw }
            }
        }
    }

    fn cpu(&self, row: &Row, at: usize) -> Block {
        let cpu = &self.machine.cpus()[at];
        let mut classes = match row.kind {
            Some(Kind::Performance) => "cpu performance".to_owned(),
            Some(Kind::Efficiency) => "cpu efficiency".to_owned(),
            None => "cpu".to_owned(),
        };
        let mut about = vec![format!("CPU {}", cpu.number)];
        if self.machine.topology().is_asymmetric() {
            about.push(format!("capacity {}", row.capacity));
        }
        about.extend(row.priority.map(|priority| format!("packing priority {priority}")));
        if cpu.isolated {
            classes.push_str(" isolated");
            about.push("isolated".to_owned());
        }
        if cpu.nohz_full {
            about.push("nohz_full".to_owned());
        }
        let pinned = self.pinned(at);
        if let Some(color) = self.pins.iter().position(|pins| *pins == pinned) {
            let _ = write!(classes, " pin{}", color % COLORS);
            about.push(format!("pinned: {}", self.names(&pinned)));
        }
        let mark = if cpu.nohz_full { "n" } else { "" };
        let draw = format!(
            "<g><title>{}</title><rect class=\"{classes}\" width=\"{CPU_WIDTH}\" height=\"{CPU_HEIGHT}\" rx=\"3\"/>\
             <text class=\"number\" x=\"{}\" y=\"15\">{}{mark}</text></g>",
            escaped(&about.join(", ")),
            CPU_WIDTH / 2,
            cpu.number
        );
        Block { width: CPU_WIDTH, height: CPU_HEIGHT, draw }
    }

    /// What stands below the drawing.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let cpus = self.machine.cpus();
        if cpus.iter().any(|cpu| cpu.isolated) {
            lines.push("dashed: isolated".to_owned());
        }
        if cpus.iter().any(|cpu| cpu.nohz_full) {
            lines.push("n: nohz_full".to_owned());
        }
        let nodes = self.machine.nodes();
        const NODES_SHOWN_MAX: usize = 16;
        if (2..=NODES_SHOWN_MAX).contains(&nodes.len()) {
            let numbers =
                nodes.iter().map(|node| format!("{:>5}", node.number)).collect::<String>();
            let derived =
                if self.machine.latencies_are_derived() { " (from the distances)" } else { "" };
            lines.push(format!("latency in ns, node to node{derived}"));
            lines.push(format!("     {numbers}"));
            for (node, row) in nodes.iter().zip(self.machine.latencies_ns()) {
                let cells: String = row.iter().map(|ns| format!("{ns:>5}")).collect();
                lines.push(format!("{:>5}{cells}", node.number));
            }
        }
        for tasks in self.tasks.iter().filter(|tasks| tasks.is_pinned(self.machine)) {
            let list = slicewise_topology::format_list(tasks.numbers(self.machine));
            lines.push(format!("{} x {}: CPUs {list}", shown_name(&tasks.name), tasks.tasks));
        }
        lines
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}
