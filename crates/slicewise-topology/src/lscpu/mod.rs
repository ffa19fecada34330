//! What `lscpu` prints: `-J -e`, `-e` and `-p` tell of each CPU; `-J` alone tells of the machine as a
//! whole.

mod summary;

use std::collections::BTreeMap;

use serde_json::Value;
use slicewise_sched::CPUS_MAX;
use slicewise_sched::topology::{CAPACITY_MAX, NODES_MAX};

use crate::machine::{CacheKind, Draft, DraftCache, DraftCpu};
use crate::{Machine, Problem};

/// A text that is longer is not lscpu's.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// What a row tells of a CPU.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Row {
    cpu: u32,
    offline: bool,
    core: Option<u32>,
    socket: Option<u32>,
    node: Option<u32>,
    /// By column: `L1d`, `L2`.
    caches: Vec<(String, u32)>,
}

/// The machine of what `lscpu` printed.
///
/// # Errors
/// If it is nothing of the kind, or cannot be.
pub fn from_lscpu(text: &str, name: &str) -> Result<Machine, Problem> {
    if text.len() > TEXT_BYTES_MAX {
        let message =
            format!("the text has {} bytes: at most {TEXT_BYTES_MAX} are read", text.len());
        return Err(Problem::of_all(message));
    }
    let (rows, notes) = match text.trim_start().starts_with('{') {
        true => json(text)?,
        false => (table(text)?, Vec::new()),
    };
    let mut draft = draft(rows, name)?;
    draft.notes.splice(0..0, notes);
    draft.notes.push("lscpu does not tell how much memory a node has".to_owned());
    draft.finish().map_err(Problem::of_all)
}

fn json(text: &str) -> Result<(Vec<Row>, Vec<String>), Problem> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let offset = text
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum::<usize>()
            + error.column().saturating_sub(1);
        Problem::error(offset..offset, slicewise_input::shorten(&error.to_string()))
    })?;
    if let Some(cpus) = value.get("cpus").and_then(Value::as_array) {
        let rows: Result<Vec<Row>, String> =
            cpus.iter().take(CPUS_MAX as usize + 1).map(json_row).collect();
        return rows.map(|rows| (rows, Vec::new())).map_err(Problem::of_all);
    }
    if let Some(fields) = value.get("lscpu").and_then(Value::as_array) {
        return summary::rows(fields).map_err(|message| {
            Problem::of_all(message).help("`lscpu -J -e` tells more, CPU by CPU")
        });
    }
    let help = "write it with `lscpu -J -e > machine.json`";
    Err(Problem::of_all("the JSON has neither `cpus` nor `lscpu`").help(help))
}

fn json_row(entry: &Value) -> Result<Row, String> {
    let Some(entry) = entry.as_object() else { return Err("a CPU is not an object".to_owned()) };
    let cells = entry.iter().map(|(key, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        (key.clone(), text)
    });
    row(cells)
}

/// The lines of `-p` and `-e`, with a line that names the columns before.
fn table(text: &str) -> Result<Vec<Row>, Problem> {
    let mut columns: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let span = offset..offset + line.trim_end().len();
        offset += line.len();
        let line = line.trim();
        let names = line.strip_prefix('#').unwrap_or(line).trim();
        if names.to_uppercase().starts_with("CPU") {
            columns = cells(names).iter().map(|name| (*name).to_owned()).collect();
        } else if !line.is_empty() && !line.starts_with('#') {
            if columns.is_empty() {
                let help = "lscpu -p and lscpu -e print the names of columns first: keep that line";
                return Err(Problem::error(span, "no line before names the columns").help(help));
            }
            let cells = cells(line);
            let cells = columns.iter().cloned().zip(cells.iter().map(|cell| (*cell).to_owned()));
            rows.push(row(cells).map_err(|message| Problem::error(span.clone(), message))?);
            if rows.len() > CPUS_MAX as usize {
                return Err(Problem::error(span, format!("there are more than {CPUS_MAX} CPUs")));
            }
        }
    }
    Ok(rows)
}

/// Of a line of `-p` (commas) or `-e` (spaces).
fn cells(line: &str) -> Vec<&str> {
    const CELLS_MAX: usize = 64;
    match line.contains(',') {
        true => line.split(',').map(str::trim).take(CELLS_MAX).collect(),
        false => line.split_whitespace().take(CELLS_MAX).collect(),
    }
}

fn row(cells: impl Iterator<Item = (String, String)>) -> Result<Row, String> {
    let mut row = Row::default();
    let mut cpu = None;
    for (column, cell) in cells {
        let column = column.to_lowercase();
        // "-" and nothing: not known, or offline.
        let number = |max: u32| match cell.trim() {
            "" | "-" => Ok(None),
            text => match text.parse::<u32>() {
                Ok(number) if number < max => Ok(Some(number)),
                _ => {
                    let shown = slicewise_input::shorten(text);
                    Err(format!(
                        "column {}: `{shown}` must be 0 to {}",
                        column.to_uppercase(),
                        max - 1
                    ))
                }
            },
        };
        match column.as_str() {
            "cpu" => cpu = number(CPUS_MAX)?,
            "core" => row.core = number(ID_MAX)?,
            "socket" => row.socket = number(ID_MAX)?,
            "node" => row.node = number(NODES_MAX)?,
            "online" => row.offline = matches!(cell.to_lowercase().as_str(), "no" | "n" | "false"),
            _ if column.starts_with('l') && column.contains(':') => {
                for (name, id) in column.split(':').zip(cell.split(':')) {
                    row.caches.extend(id.trim().parse().ok().map(|id: u32| (name.to_owned(), id)));
                }
            }
            _ if is_cache(&column) => {
                row.caches.extend(cell.trim().parse().ok().map(|id: u32| (column.clone(), id)));
            }
            _ => {}
        }
        row.caches.truncate(16);
    }
    row.cpu = cpu.ok_or("there is no column CPU, or it is empty")?;
    Ok(row)
}

/// Names of cores and packages are below this.
const ID_MAX: u32 = 1 << 20;

fn is_cache(column: &str) -> bool {
    let mut chars = column.chars();
    chars.next() == Some('l')
        && chars.next().is_some_and(|c| c.is_ascii_digit())
        && column.len() <= 3
}

/// Of `l2` or `l1d`.
fn level_and_kind(column: &str) -> Option<(u32, CacheKind)> {
    let level = column.chars().nth(1)?.to_digit(10).filter(|level| (1..=9).contains(level))?;
    let kind = match column.chars().nth(2) {
        Some('i') => CacheKind::Instruction,
        Some('d') => CacheKind::Data,
        _ => CacheKind::Unified,
    };
    Some((level, kind))
}

fn draft(rows: Vec<Row>, name: &str) -> Result<Draft, Problem> {
    let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
    let mut caches: BTreeMap<(u32, CacheKind, u32), Vec<u32>> = BTreeMap::new();
    let mut cores = BTreeMap::new();
    let mut nodes = 0;
    for row in rows {
        if row.offline {
            draft.offline.push(row.cpu);
            continue;
        }
        let package = row.socket.unwrap_or(0);
        let core = match row.core {
            Some(core) => *cores.entry((package, core)).or_insert(row.cpu),
            None => row.cpu,
        };
        let node = row.node.unwrap_or(0);
        nodes = nodes.max(node);
        draft.nodes.entry(node).or_default();
        for (column, id) in row.caches {
            let Some((level, kind)) = level_and_kind(&column) else { continue };
            caches.entry((level, kind, id)).or_default().push(row.cpu);
        }
        let cpu = DraftCpu {
            core,
            // Filled in below where caches are known.
            llc: core,
            package,
            node,
            capacity: CAPACITY_MAX,
            ..DraftCpu::alone(row.cpu)
        };
        if draft.cpus.insert(row.cpu, cpu).is_some() {
            return Err(Problem::of_all(format!("CPU {} is listed twice", row.cpu)));
        }
    }
    draft.offline.sort_unstable();
    draft.offline.dedup();
    let last = caches
        .keys()
        .filter(|(_, kind, _)| *kind != CacheKind::Instruction)
        .map(|(level, ..)| *level);
    match last.max().filter(|level| *level > 1) {
        Some(last) => {
            for cpus in
                caches.iter().filter(|((level, ..), _)| *level == last).map(|(_, cpus)| cpus)
            {
                let first = cpus.iter().min().copied().unwrap_or(0);
                for cpu in cpus {
                    if let Some(cpu) = draft.cpus.get_mut(cpu) {
                        cpu.llc = first;
                    }
                }
            }
        }
        None => {
            draft
                .notes
                .push("caches are not known: those of a package are taken to share one".to_owned());
            for cpu in draft.cpus.values_mut() {
                cpu.llc = cpu.package;
            }
        }
    }
    draft.caches = caches
        .into_iter()
        .map(|((level, kind, _), mut cpus)| {
            cpus.sort_unstable();
            cpus.dedup();
            DraftCache { level, kind, cpus, size_bytes: None }
        })
        .collect();
    if draft.cpus.is_empty() {
        return Err(Problem::of_all("no CPU is listed")
            .help("lscpu -J -e, lscpu -J, lscpu -e and lscpu -p are read"));
    }
    Ok(draft)
}
