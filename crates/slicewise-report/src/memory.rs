//! Where memory was, and who went to it.

use crate::text::{Cell, Column, Paint, Table, percent, shown_name};
use crate::topology::bytes;
use crate::{MemoryReport, RunReport, Style};

/// More nodes than this are not columns of their own.
const NODES_SHOWN: usize = 8;

/// Memory of tasks and shared memory, by node; empty where there is none.
pub(crate) fn memory(report: &RunReport, style: Style) -> String {
    let Some(memory) = &report.memory else { return String::new() };
    let nodes = nodes(memory).min(NODES_SHOWN);
    let mut columns = vec![Column::left("MEMORY OF")];
    columns
        .extend((0..nodes).map(|node| Column::right(format!("NODE {node}")).group("at the end")));
    columns.push(Column::right("LOCAL"));
    if memory.numa_balancing {
        columns.push(Column::right("ALL").group("faults"));
        columns.push(Column::right("LOCAL").group("faults"));
        columns.push(Column::right("MOVED").group("pages"));
        columns.push(Column::right("PREFERS"));
    }
    let mut table = Table::new(columns);
    let dash = || Cell::painted("-", Paint::Faint);
    let on_nodes = |on: &[u64]| -> Vec<Cell> {
        let of = |node: usize| match on.get(node).copied().unwrap_or(0) {
            0 => dash(),
            some => bytes(some).into(),
        };
        (0..nodes).map(of).collect()
    };
    for task in &memory.tasks {
        let mut row = vec![shown_name(&task.name).into()];
        row.extend(on_nodes(&task.on_node_bytes));
        row.push(if task.accessed_bytes > 0 { percent(task.local_share).into() } else { dash() });
        if memory.numa_balancing {
            row.extend([task.numa_faults, task.numa_faults_local, task.pages_migrated].map(|n| {
                let cell: Cell = n.to_string().into();
                cell
            }));
            row.push(task.preferred_node.map_or_else(dash, |node| format!("node {node}").into()));
        }
        table.row(row);
    }
    for shared in &memory.shared {
        let mut row = vec![format!("{} (shared)", shown_name(&shared.name)).into()];
        row.extend(on_nodes(&shared.on_node_bytes));
        let rest = if memory.numa_balancing { 5 } else { 1 };
        row.extend((0..rest).map(|_| dash()));
        table.row(row);
    }
    let mut text = table.render(style);
    if memory.numa_balancing {
        let count =
            |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        text.push_str(&format!(
            "NUMA balancing: {} towards memory, {} of tasks swapped\n",
            count(memory.task_moves, "move of a task", "moves of tasks"),
            count(memory.task_swaps, "pair", "pairs"),
        ));
    }
    text
}

fn nodes(memory: &MemoryReport) -> usize {
    let tasks = memory.tasks.iter().map(|task| task.on_node_bytes.len());
    tasks.chain(memory.shared.iter().map(|shared| shared.on_node_bytes.len())).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::{PLAIN, run};
    use crate::{SharedMemoryReport, TaskMemoryReport, render_run};

    fn with_memory(numa_balancing: bool) -> RunReport {
        let task = |name: &str, on_node_bytes: Vec<u64>| TaskMemoryReport {
            name: name.to_owned(),
            on_node_bytes,
            accessed_bytes: 10 << 30,
            local_share: 0.875,
            numa_faults: 16_384,
            numa_faults_local: 2_048,
            pages_migrated: 14_336,
            preferred_node: Some(1),
        };
        let fresh = TaskMemoryReport {
            name: "fresh".to_owned(),
            on_node_bytes: vec![0, 0],
            ..TaskMemoryReport::default()
        };
        let heap =
            SharedMemoryReport { name: "heap".to_owned(), on_node_bytes: vec![1 << 30, 3 << 29] };
        let memory = MemoryReport {
            numa_balancing,
            tasks: vec![task("db-0", vec![0, 64 << 20]), fresh],
            shared: vec![heap],
            task_moves: 1,
            task_swaps: 2,
        };
        RunReport { memory: Some(memory), ..run() }
    }

    fn shown(report: &RunReport) -> String {
        let text = render_run(report, PLAIN);
        assert!(text.contains(&memory(report, PLAIN)), "it is part of the whole");
        memory(report, PLAIN)
    }

    #[test]
    fn memory_is_shown_by_node_with_what_balancing_did() {
        insta::assert_snapshot!(shown(&with_memory(true)));
    }

    #[test]
    fn without_balancing_there_are_no_faults_to_show() {
        insta::assert_snapshot!(shown(&with_memory(false)));
    }

    #[test]
    fn without_memory_nothing_is_said_of_it() {
        assert!(!render_run(&run(), PLAIN).contains("MEMORY"));
    }
}
