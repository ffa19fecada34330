use slicewise_sched::{CpuId, CpuSet};
use slicewise_topology::{Machine, PRESETS, from_toml, preset};

use super::*;
use crate::Style;

fn drawn(machine: &Machine, tasks: &[TaskPlaces], width: usize) -> String {
    render_topology(machine, tasks, &[], Style { color: false, width })
}

fn of(name: &str) -> Machine {
    preset(name).unwrap().machine()
}

fn pinned(name: &str, tasks: u32, cpus: std::ops::Range<u32>) -> TaskPlaces {
    TaskPlaces { name: name.to_owned(), tasks, cpus: CpuSet::of(cpus.map(CpuId)) }
}

#[test]
fn a_hybrid_machine_shows_its_kinds_of_cores() {
    insta::assert_snapshot!(drawn(&of("laptop-hybrid"), &[], 80));
}

#[test]
fn two_sockets_show_their_latencies() {
    insta::assert_snapshot!(drawn(&of("two-socket"), &[], 80));
}

#[test]
fn five_hundred_cpus_fold_to_their_caches() {
    insta::assert_snapshot!(drawn(&of("large-512"), &[], 80));
}

#[test]
fn a_wide_terminal_is_used() {
    insta::assert_snapshot!(drawn(&of("large-512"), &[], 200));
}

#[test]
fn tasks_show_where_they_may_run_and_cpus_who_is_pinned_to_them() {
    let tasks = [
        pinned("rank", 4, 0..4),
        pinned("loader", 8, 2..6),
        TaskPlaces { name: "other".to_owned(), tasks: 1, cpus: CpuSet::All },
    ];
    insta::assert_snapshot!(drawn(&of("big-little"), &tasks, 80));
}

#[test]
fn isolated_tickless_and_offline_cpus_are_marked() {
    let text = "name = \"edge\"\ncpus = \"0-5,7\"\ncores = [\"0,1\", \"2,3\", \"4,5\"]\noffline = \"6\"\n\
                isolated = \"4-5\"\nnohz_full = \"5,7\"\n\
                nodes = [{ cpus = \"0-3\", memory = \"8GiB\" }, { cpus = \"4-5,7\", name = \"fast\" }, \
                { memory = \"64GiB\", name = \"CXL\" }]\n";
    insta::assert_snapshot!(drawn(&from_toml(text, "x").unwrap(), &[], 80));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for preset in PRESETS {
        for width in [80, 100, 200] {
            let text = drawn(&preset.machine(), &[pinned("all of one", 3, 1..7)], width);
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{} at {width}: {line}", preset.name);
            }
        }
    }
}

#[test]
fn the_json_has_units_in_its_names_and_both_numbers_of_a_cpu() {
    let text = "cpus = \"0,2\"\noffline = \"1\"\nmemory = \"1GiB\"\n";
    let machine = from_toml(text, "two of three").unwrap();
    let report = TopologyReport::new(&machine, &[pinned("a", 1, 1..2)], &[]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}

#[test]
fn a_figure_is_whole_and_harmless_whatever_names_say() {
    let machine = of("big-little").with_name("</svg><script>&\u{7}");
    let svg = topology_svg(&machine, &[pinned("<b>", 1, 0..1)]);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("</svg>").count(), 1);
    assert!(!svg.contains("<script") && !svg.contains("<b>") && !svg.contains('\u{7}'));
    assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
    assert_eq!(svg.matches("class=\"number\"").count(), 8);
}

#[test]
fn each_set_of_pinned_tasks_has_its_colour_in_a_figure() {
    let tasks = [pinned("rank", 4, 0..4), pinned("loader", 8, 2..6)];
    let svg = topology_svg(&of("big-little"), &tasks);
    // Twice two CPUs with a part of the legend each, and two CPUs of nobody.
    for color in ["pin0", "pin1", "pin2"] {
        assert_eq!(svg.matches(&format!(" {color}\"")).count(), 3, "{color}");
    }
    assert!(svg.contains("rank, loader</text>"));
}

#[test]
fn amounts_of_memory_are_short() {
    for (amount, shown) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (32 << 10, "32 KiB"),
        (1280 << 10, "1.3 MiB"),
        (1536 << 30, "1.5 TiB"),
        (u64::MAX, "16777216 TiB"),
    ] {
        assert_eq!(bytes(amount), shown);
    }
}
