//! Groups of scenarios: files as keys, the kernel's errors as diagnostics, files with workloads.

#![allow(clippy::unwrap_used, reason = "a test may")]

use slicewise_cgroup::Version;
use slicewise_machine::GroupSpec;
use slicewise_sched::{Profile, Shares};
use slicewise_workload::{
    Diagnostic, Format, Loaded, Rejected, Severity, apply_set, cgroup_rules, line_col, load,
    load_with, settle_cgroups,
};

const HOG: &str = "[[task]]\nname = \"a\"\nhog = true\n";

fn read(text: &str) -> Loaded {
    load(text, Format::Scenario).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

/// The group with these lines; the path is `pods/web`.
fn group(lines: &str) -> GroupSpec {
    let loaded = read(&text(lines));
    loaded.workload.groups[loaded.cgroups.find("pods/web").unwrap() as usize].clone()
}

fn text(lines: &str) -> String {
    format!("[[group]]\npath = \"pods/web\"\n{lines}\n{HOG}")
}

fn errors(text: &str) -> Vec<Diagnostic> {
    let list = load(text, Format::Scenario).expect_err(text);
    list.into_iter().filter(|d| d.severity == Severity::Error).collect()
}

/// One error with these words, and the place of it.
fn check(text: &str, words: &[&str], place: (usize, usize)) {
    let errors = errors(text);
    let said = |d: &Diagnostic| format!("{} / {}", d.message, d.help.clone().unwrap_or_default());
    let found = errors.iter().find(|d| words.iter().all(|word| said(d).contains(word)));
    let Some(found) = found else { panic!("no {words:?} in {errors:#?} of\n{text}") };
    let at = line_col(text, found.span.start);
    assert_eq!((at.line, at.column), place, "{found:?}\n{text}");
}

fn check_group(lines: &str, words: &[&str], place: (usize, usize)) {
    check(&text(lines), words, place);
}

#[test]
fn keys_are_files_and_values_what_one_would_write() {
    let both = "\"cpu.max\" = \"50000 200000\"\n\"cpu.max.burst\" = 25000\n\"cpu.weight\" = 39";
    let web = group(both);
    assert_eq!((web.path.as_str(), web.parent), ("pods/web", Some(0)));
    assert_eq!(web.limit.quota_ns, Some(50_000_000));
    assert_eq!((web.limit.period_ns, web.limit.burst_ns), (200_000_000, 25_000_000));
    assert_eq!((web.shares.shares(), web.idle), (399, false));
    let words = "\"cpu.weight\" = \" 39\\n\"";
    check_group(words, &["`cpu.weight`", "not a whole number", "EINVAL"], (3, 16));
    assert_eq!(group("\"cpu.weight\" = \"39\\n\"").shares, Shares::from_weight(39).unwrap());
    assert_eq!(group("\"cpu.weight.nice\" = -5").shares.shares(), 3121);
    assert_eq!(group("\"cpu.weight\" = 1_000").shares.weight(), 1000);
    assert!(group("\"cpu.idle\" = 1").idle);
    assert_eq!(group("\"cpu.max\" = \"max\"").limit.quota_ns, None);
    assert_eq!(group("\"cpu.max\" = 50000").limit.quota_ns, Some(50_000_000));
}

#[test]
fn v1_files_say_the_same() {
    let lines = "\"cpu.shares\" = 512\n\"cpu.cfs_burst_us\" = 5000\n\"cpu.cfs_quota_us\" = \"20000\"\n\"cpu.cfs_period_us\" = 50000";
    let loaded = read(&text(lines));
    assert_eq!(loaded.cgroups.version(), Version::V1);
    let web = &loaded.workload.groups[1];
    assert_eq!((web.shares.shares(), web.limit.quota_ns), (512, Some(20_000_000)));
    assert_eq!((web.limit.period_ns, web.limit.burst_ns), (50_000_000, 5_000_000));
    assert_eq!(group("\"cpu.shares\" = 1").shares.shares(), 2, "clamped in silence");
    assert_eq!(group("\"cpu.cfs_quota_us\" = -1").limit.quota_ns, None);
    assert_eq!(read(HOG).cgroups.version(), Version::V2, "as long as nothing says otherwise");
}

#[test]
fn dotted_keys_are_the_same_files() {
    assert_eq!(group("cpu.weight = 200\ncpu.max = \"50000 100000\"").shares.weight(), 200);
    assert_eq!(group("cpu.weight.nice = 5").shares.shares(), 335);
    assert_eq!(group("cpu = { idle = 1 }").shares.shares(), 3);
    check_group("cpu.weight = 5\n\"cpu.weight\" = 6", &["`cpu.weight`", "keep one"], (4, 1));
    check_group(
        "cpu.max = \"max\"\ncpu.max.burst = 0",
        &["in quotes", "\"cpu.max.burst\""],
        (4, 5),
    );
}

#[test]
fn parents_are_made_and_may_be_described_later() {
    let text = format!(
        "[[group]]\npath = \"/a/b/c/\"\n[[group]]\npath = \"a\"\n\"cpu.weight\" = 7\n{HOG}group = \"a/b\"\n"
    );
    let loaded = read(&text);
    let paths: Vec<&str> = loaded.workload.groups.iter().map(|g| g.path.as_str()).collect();
    assert_eq!(paths, ["a", "a/b", "a/b/c"]);
    assert_eq!(loaded.workload.groups[0].shares.weight(), 7);
    assert_eq!(loaded.workload.groups[2].parent, Some(1));
    assert_eq!(loaded.workload.tasks[0].group, Some(1));
    assert_eq!(read(&format!("{HOG}group = \"/\"\n")).workload.tasks[0].group, None);
}

#[test]
fn what_the_kernel_refuses_is_shown_with_its_errno_and_what_is_allowed() {
    let cases: [(&str, &[&str]); 12] = [
        ("\"cpu.weight\" = 0", &["a weight of 0", "ERANGE", "1 to 10000"]),
        ("\"cpu.weight\" = 10001", &["10001", "ERANGE"]),
        ("\"cpu.weight.nice\" = 20", &["20", "ERANGE", "-20 to 19"]),
        ("\"cpu.max\" = \"500 100000\"", &["500 us", "EINVAL", "1000 us are the least"]),
        ("\"cpu.max\" = \"50000 500\"", &["500 us", "EINVAL", "1000 to 1000000"]),
        ("\"cpu.max\" = \"1.5\"", &["1 us", "EINVAL"]),
        ("\"cpu.max\" = \"half\"", &["not a quota", "EINVAL", "50000 100000", "max"]),
        ("\"cpu.max\" = \"17592186044416\"", &["too much", "EINVAL", "\"max\""]),
        ("\"cpu.idle\" = 2", &["cpu.idle of 2", "EINVAL", "0 and 1"]),
        ("\"cpu.cfs_quota_us\" = 999", &["999 us", "EINVAL"]),
        ("\"cpu.shares\" = \"many\"", &["not a whole number", "EINVAL"]),
        ("\"cpu.cfs_period_us\" = 1000001", &["1000001 us", "EINVAL"]),
    ];
    for (line, words) in cases {
        let column = line.find('=').unwrap() + 3;
        check_group(line, words, (3, column));
    }
    let burst = "\"cpu.max.burst\" = 30000\n\"cpu.max\" = \"20000 100000\"";
    check_group(burst, &["30000 us", "EINVAL", "0 to the quota, 20000 us"], (3, 19));
    let idle = "\"cpu.weight\" = 5\n\"cpu.idle\" = 1";
    check_group(idle, &["the group is idle", "keep one"], (3, 16));
}

#[test]
fn values_of_other_kinds_are_refused() {
    check_group("\"cpu.idle\" = true", &["a number or a string", "true or false"], (3, 14));
    check_group("\"cpu.max\" = [1, 2]", &["a number or a string", "a list"], (3, 13));
    check_group("\"cpu.max\" = \"\"", &["`cpu.max` is empty", "leave it out"], (3, 13));
    check_group("cpu = 2", &["unknown key `cpu`", "in quotes"], (3, 1));
    check_group("cpu = {}", &["unknown key `cpu`", "in quotes"], (3, 1));
    check_group("\"cpu.max\" = {}", &["empty table", "in quotes"], (3, 13));
    let long = format!("\"cpu.weight\" = {}", "9".repeat(300));
    check_group(&long, &["64 bits", "ERANGE"], (3, 16));
    let long = format!("\"cpu.max\" = \"{}\"", " ".repeat(5000));
    check_group(&long, &["more than 4096 bytes", "E2BIG"], (3, 13));
}

#[test]
fn unknown_keys_and_groups_are_named_with_the_one_that_was_meant() {
    check_group("\"cpu.wieght\" = 5", &["`cpu.wieght`", "`cpu.weight`"], (3, 1));
    check_group("weight = 5", &["`weight`", "`cpu.weight`"], (3, 1));
    check_group("cpu.maxx = 5", &["`cpu.maxx`", "`cpu.max`"], (3, 5));
    check_group("\"cpuset.cpu\" = \"0\"", &["`cpuset.cpu`", "`cpuset.cpus`"], (3, 1));
    check_group("\"memory.max\" = \"1G\"", &["`memory.max`", "allowed: path"], (3, 1));
    let task = |path: &str| format!("[[group]]\npath = \"pods/web\"\n{HOG}group = \"{path}\"\n");
    check(&task("pods/wep"), &["no group `pods/wep`", "`pods/web`"], (6, 9));
    check(&task("elsewhere"), &["no group `elsewhere`", "there are pods, pods/web"], (6, 9));
    check(&format!("{HOG}group = \"x\"\n"), &["no group `x`", "[[group]]"], (4, 9));
    check(&task("a//b"), &["two slashes"], (6, 9));
}

#[test]
fn paths_are_checked() {
    let path = |path: &str| format!("[[group]]\npath = \"{path}\"\n{HOG}");
    check(&path(""), &["the root group is always there"], (2, 8));
    check(&path("/"), &["the root group is always there"], (2, 8));
    check(&path("a/../b"), &["`.` or `..`"], (2, 8));
    check(&path("a=b"), &["a character"], (2, 8));
    check(&path(&"a/".repeat(65)), &["too deep"], (2, 8));
    check(&path(&"a".repeat(256)), &["255 bytes"], (2, 8));
    check(&format!("[[group]]\n{HOG}"), &["no `path`", "pods/web"], (1, 1));
    check(
        &format!("[group]\npath = \"a\"\n{HOG}"),
        &["`group` must be a list", "[[group]]"],
        (1, 1),
    );
    let twice = format!("[[group]]\npath = \"a\"\n[[group]]\npath = \"/a\"\n{HOG}");
    check(&twice, &["already a group `a`", "one `[[group]]`"], (4, 8));
}

#[test]
fn a_scenario_keeps_to_one_version_and_all_that_is_wrong_is_said_at_once() {
    let mixed = format!(
        "[[group]]\npath = \"a\"\n\"cpu.shares\" = 5\n[[group]]\npath = \"b\"\n\"cpu.max\" = \"1 2\"\n\"cpu.weight.nice\" = 99\n\"cpu.idle\" = 7\n{HOG}nice = 40\n"
    );
    check(&mixed, &["`cpu.max` is of cgroup v2", "`cpu.cfs_quota_us`"], (6, 13));
    check(&mixed, &["`cpu.weight.nice` is of cgroup v2", "`cpu.shares`"], (7, 21));
    check(&mixed, &["cpu.idle of 7"], (8, 14));
    check(&mixed, &["`nice` cannot be 40"], (12, 8));
    assert_eq!(errors(&mixed).len(), 4);
}

#[test]
fn wx31_v1_refuses_a_child_with_more_than_its_parent_and_v2_lets_it_be() {
    let v1 = |quota, period| {
        format!(
            "[[group]]\npath = \"a\"\n\"cpu.cfs_quota_us\" = 20000\n[[group]]\npath = \"a/b/c\"\n\"cpu.cfs_quota_us\" = {quota}\n\"cpu.cfs_period_us\" = {period}\n{HOG}"
        )
    };
    check(
        &v1(30_000, 100_000),
        &["no group may have more CPU", "`a` has 20000 us in 100000"],
        (6, 22),
    );
    assert_eq!(read(&v1(40_000, 200_000)).workload.groups[2].limit.quota_ns, Some(40_000_000));
    let v2 = format!(
        "[[group]]\npath = \"a\"\n\"cpu.max\" = 20000\n[[group]]\npath = \"a/b\"\n\"cpu.max\" = 30000\n{HOG}"
    );
    assert_eq!(read(&v2).workload.groups[1].limit.quota_ns, Some(30_000_000));
}

#[test]
fn v2_keeps_processes_out_of_inner_groups_and_v1_does_not() {
    let inner =
        format!("[[group]]\npath = \"a/b\"\n[[group]]\npath = \"a-c\"\n{HOG}group = \"a\"\n");
    let warnings = read(&inner).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("`a` has `a/b` in it"), "{warnings:?}");
    for leaf in ["a/b", "a-c"] {
        let text = inner.replace("group = \"a\"", &format!("group = \"{leaf}\""));
        assert_eq!(read(&text).warnings, [], "{leaf}");
    }
    let v1 = inner.replace("path = \"a/b\"", "path = \"a/b\"\n\"cpu.shares\" = 2");
    assert_eq!(read(&v1).warnings, []);
}

#[test]
fn files_a_kernel_is_built_without_are_ignored_with_a_warning() {
    let mut loaded = read(&text("\"cpu.uclamp.min\" = 12.5\n\"cpu.uclamp.max\" = \"max\""));
    let warnings = settle_cgroups(&mut loaded, &Profile::named("6.12").unwrap());
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|d| d.severity == Severity::Warning), "{warnings:?}");
    assert!(settle_cgroups(&mut loaded, &Profile::named("7.2").unwrap()).is_empty());
    check_group("\"cpu.uclamp.min\" = 100.1", &["not 0 to 100", "ERANGE"], (3, 20));
}

#[test]
fn the_kernel_that_runs_decides_what_its_files_take() {
    // 2^64 us: too much for 6.12, which takes the low bits in ns, and `max` for 7.2.
    let huge = text("\"cpu.max\" = \"18446744073709551615\"");
    let kernel = |name: &str| Profile::named(name).unwrap();
    let mut loaded = read(&huge.replace("[[group]]", "[machine]\nkernel = \"7.2\"\n[[group]]"));
    assert_eq!(loaded.workload.groups[1].limit.quota_ns, None);
    let diagnostics = settle_cgroups(&mut loaded, &kernel("6.12"));
    assert!(diagnostics.iter().any(|d| d.severity == Severity::Error), "{diagnostics:?}");
    assert!(settle_cgroups(&mut loaded, &kernel("7.2")).is_empty());
}

#[test]
fn assignments_write_to_files_and_move_tasks() {
    let mut loaded = read(&text("\"cpu.max\" = \"50000 100000\"\n\"cpu.weight.nice\" = 5"));
    let mut set = |assignment: &str| apply_set(&mut loaded, assignment);
    set("group/pods/web.cpu.max=20000 40000").unwrap();
    set("group/pods.cpu.weight=7").unwrap();
    set("group/pods/web.cpu.weight=300").unwrap();
    set("task/a.group=pods/web").unwrap();
    let said = |result: Result<(), String>, words: &[&str]| {
        let message = result.unwrap_err();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    said(set("group/pods/web.cpu.max=10 40000"), &["`cpu.max`", "10 us", "EINVAL", "least"]);
    said(set("group/pods/wep.cpu.max=max"), &["no group `pods/wep`", "`pods/web`"]);
    said(set("group/pods/web.cpu.mx=max"), &["names no file", ".cpu.max"]);
    said(set("group/pods.cpu.shares=5"), &["`cpu.shares` is of cgroup v1", "`cpu.weight`"]);
    said(set("task/a.group=pots"), &["no group `pots`", "`pods`"]);
    let web = &loaded.workload.groups[1];
    assert_eq!((web.limit.quota_ns, web.limit.period_ns), (Some(20_000_000), 40_000_000));
    assert_eq!((web.shares.weight(), loaded.workload.groups[0].shares.weight()), (300, 7));
    assert_eq!(loaded.workload.tasks[0].group, Some(1));
    apply_set(&mut loaded, "task/a.group=/").unwrap();
    assert_eq!(loaded.workload.tasks[0].group, None);
}

/// Reads with these files beside the scenario.
fn with_files(text: &str, files: &[(&str, &str)]) -> Result<Loaded, Rejected> {
    load_with(text, Format::Scenario, &mut |name| {
        let found = files.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| (*text).to_owned()).ok_or(format!("cannot read {name}: not there"))
    })
}

const WEB: &str = r#"{ "tasks": {
    "worker": { "instance": 2, "lock": "m", "run": 1000, "unlock": "m", "resume": "other" },
    "other": { "suspend": "other", "run": 10, "timer": { "ref": "t", "period": 5000 } } },
  "global": { "duration": 3 } }"#;

const DB: &str = r#"{ "tasks": { "worker": { "lock": "m", "run": 2000, "unlock": "m", "sleep": 10 } },
  "global": { "duration": 5 } }"#;

fn two_files() -> &'static str {
    "[[group]]\npath = \"web\"\nworkload = \"web.json\"\n[[group]]\npath = \"db\"\nworkload = \"db.json\"\n"
}

#[test]
fn one_rt_app_file_per_group_is_one_scenario() {
    let text = format!("{}{HOG}program = []\n", two_files()).replace("program = []\n", "");
    let loaded = with_files(&text, &[("web.json", WEB), ("db.json", DB)]).unwrap();
    let workload = &loaded.workload;
    let tasks: Vec<(&str, Option<u32>)> =
        workload.tasks.iter().map(|task| (task.name.as_str(), task.group)).collect();
    let (web, db) = (Some(0), Some(1));
    let wanted =
        [("a", None), ("worker-0", web), ("worker-1", web), ("other", web), ("worker", db)];
    assert_eq!(tasks, wanted);
    // Threads of all files are numbered on.
    let numbers: Vec<u32> = workload.tasks[1..].iter().map(|task| task.index).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert_eq!(loaded.settings.duration_ns, Some(5_000_000_000), "the longest");
    // Mutexes of the same name are two: the files are two processes.
    assert_eq!(workload.mutexes.iter().filter(|mutex| mutex.name == "m").count(), 2);
    let ops =
        |task: usize| format!("{:?}", workload.programs[workload.tasks[task].program as usize]);
    assert!(ops(1).contains("Lock(0)") && ops(1).contains("Resume(3)"), "{}", ops(1));
    assert!(!ops(4).contains("Lock(0)"), "{}", ops(4));
    assert!(workload.stuck_is_end, "as rt-app: what waits for ever is no mistake");
    // Places are of the file the thing is in.
    let origin = workload.tasks[4].origin;
    let place = loaded.sources.find(origin.start..origin.end);
    assert_eq!((place.name, &place.text[place.span]), (Some("db.json"), "\"worker\""));
}

#[test]
fn the_scenario_says_how_long_if_it_says_anything() {
    let text = format!("[machine]\nduration = \"1s\"\n{}", two_files());
    let loaded = with_files(&text, &[("web.json", WEB), ("db.json", DB)]).unwrap();
    assert_eq!(loaded.settings.duration_ns, Some(1_000_000_000));
    assert_eq!(loaded.workload.tasks.len(), 4, "no tasks of its own are needed");
}

#[test]
fn names_of_several_files_mean_the_tasks_of_all() {
    let mut loaded = with_files(two_files(), &[("web.json", WEB), ("db.json", DB)]).unwrap();
    apply_set(&mut loaded, "task/worker.nice=5").unwrap();
    let nice: Vec<i8> = loaded.workload.tasks.iter().map(|task| task.attr.nice.get()).collect();
    assert_eq!(nice, [5, 5, 0, 5]);
    apply_set(&mut loaded, "task/worker-1.nice=7").unwrap();
    assert_eq!(loaded.workload.tasks[1].attr.nice.get(), 7);
}

#[test]
fn mistakes_in_a_file_are_shown_there_and_a_missing_file_where_it_is_named() {
    let bad = "{ \"tasks\": { \"a\": { \"rum\": 5, \"priority\": 99 } } }";
    let Rejected { sources, diagnostics } =
        with_files(two_files(), &[("web.json", bad)]).unwrap_err();
    let shown: Vec<(Option<&str>, &str)> = diagnostics
        .iter()
        .map(|d| {
            let place = sources.find(d.span.clone());
            (place.name, &place.text[place.span])
        })
        .collect();
    assert!(shown.contains(&(None, "\"db.json\"")), "{diagnostics:#?}");
    assert!(shown.iter().any(|(name, _)| *name == Some("web.json")), "{diagnostics:#?}");
    assert!(diagnostics.iter().any(|d| d.message.contains("not there")), "{diagnostics:#?}");
    let none = load(two_files(), Format::Scenario).unwrap_err();
    assert!(none[0].message.contains("there are no files here"), "{none:?}");
    check("[[group]]\npath = \"a\"\nworkload = 5\n", &["`workload` must be"], (3, 12));
    let control = "[[group]]\npath = \"a\"\nworkload = \"a\\u0000b\"\n";
    check(control, &["no name of a file"], (3, 12));
}

#[test]
fn every_kernel_has_rules_for_its_files() {
    for profile in Profile::ALL {
        let rules = cgroup_rules(profile);
        let known = profile.name.starts_with(rules.name);
        assert!(known || profile.experimental, "{}: {}", profile.name, rules.name);
    }
}

#[test]
fn each_session_is_a_group_of_one_task_of_its_nice_value() {
    let text = "[[session]]\nname = \"build\"\nnice = 5\n\
        [[task]]\nname = \"cc\"\ncount = 2\nsession = \"build\"\nhog = true\n\
        [[task]]\nname = \"ed\"\nsession = \"desktop\"\nhog = true\n\
        [[task]]\nname = \"init\"\nhog = true\n";
    let mut loaded = read(text);
    let groups = &loaded.workload.groups;
    let of = |at: usize| loaded.workload.tasks[at].group.map(|group| &groups[group as usize]);
    let found = [0, 1, 2].map(|at| of(at).map(|g| (g.path.as_str(), g.shares.shares(), g.parent)));
    let build = Some(("autogroup-build", 335, None));
    assert_eq!(found, [build, build, Some(("autogroup-desktop", 1024, None))]);
    assert_eq!(of(3), None);
    apply_set(&mut loaded, "autogroup=false").unwrap();
    settle_cgroups(&mut loaded, &slicewise_sched::Profile::named("6.12").unwrap());
    assert!(loaded.workload.tasks.iter().all(|task| task.group.is_none()));
    assert!(apply_set(&mut loaded, "autogroup=2").unwrap_err().contains("allowed: true, false"));
}

#[test]
fn sessions_are_checked() {
    let both = "[[group]]\npath = \"g\"\n[[task]]\nname = \"a\"\ngroup = \"g\"\nsession = \"s\"\nhog = true";
    check(both, &["both `group` and `session`"], (6, 11));
    check(
        "[[task]]\nname = \"a\"\nsession = \"x/y\"\nhog = true",
        &["no name of a session"],
        (3, 11),
    );
    let taken =
        "[[group]]\npath = \"autogroup-s\"\n[[task]]\nname = \"a\"\nsession = \"s\"\nhog = true";
    check(taken, &["there is a group `autogroup-s`"], (5, 11));
    let twice =
        "[[session]]\nname = \"s\"\n[[session]]\nname = \"s\"\n[[task]]\nname = \"a\"\nhog = true";
    check(twice, &["already a session"], (4, 8));
    let nice = "[[session]]\nname = \"s\"\nnice = 20\n[[task]]\nname = \"a\"\nhog = true";
    check(nice, &["nice"], (3, 8));
}

#[test]
fn what_the_kernel_leaves_out_of_a_number_is_said() {
    let profile = slicewise_sched::Profile::named("6.12").unwrap();
    for (value, said) in [
        ("50000us 100000", Some("reads `50000us` as 50000")),
        ("5000ms 100000", Some("reads `5000ms` as 5000")),
        ("50000 100000us", Some("reads `100000us` as 100000")),
        ("50000 100000", None),
        ("max", None),
    ] {
        let mut loaded = read(&text(&format!("\"cpu.max\" = \"{value}\"")));
        let warnings = settle_cgroups(&mut loaded, &profile);
        assert!(warnings.iter().all(|one| one.severity == Severity::Warning), "{warnings:?}");
        let found = warnings.iter().map(|one| one.message.as_str()).find(|m| m.contains("reads"));
        assert_eq!(found.is_some(), said.is_some(), "{value}");
        assert!(said.is_none_or(|said| found.is_some_and(|m| m.contains(said))), "{found:?}");
    }
}

const RT_MACHINE: &str = "[machine]\nrt_group_sched = true\n";

fn rt_group(path: &str, lines: &str) -> String {
    format!("[[group]]\npath = \"{path}\"\n{lines}\n")
}

#[test]
fn real_time_limits_of_groups_are_keys_where_the_kernel_has_them() {
    let lines = "\"cpu.rt_runtime_us\" = 20000\n\"cpu.rt_period_us\" = 100000";
    let loaded = read(&[RT_MACHINE, &rt_group("a", lines), HOG].concat());
    assert_eq!(loaded.settings.rt.group_sched, Some(true));
    assert_eq!(loaded.cgroups.version(), Version::V1);
    let limit = loaded.workload.groups[0].rt;
    assert_eq!((limit.runtime_ns, limit.period_ns), (Some(20_000_000), 100_000_000));
    let dotted = "cpu.rt_runtime_us = 20000";
    let loaded = read(&[RT_MACHINE, &rt_group("a", dotted), HOG].concat());
    assert_eq!(loaded.workload.groups[0].rt.runtime_ns, Some(20_000_000));

    let mut plain = read(&[&rt_group("a", lines), HOG].concat());
    let warnings = settle_cgroups(&mut plain, &Profile::named("6.12").unwrap());
    assert!(warnings[0].message.contains("Debian builds it has no `cpu.rt_"), "{warnings:?}");
    assert!(warnings[0].help.as_deref().unwrap().contains("rt_group_sched = true"));
    assert!(plain.workload.groups[0].rt.is_none(), "ignored");
    apply_set(&mut plain, "rt_group_sched=true").unwrap();
    assert!(settle_cgroups(&mut plain, &Profile::named("6.12").unwrap()).is_empty());
    assert_eq!(plain.workload.groups[0].rt.runtime_ns, Some(20_000_000));
    assert!(apply_set(&mut plain, "rt_group_sched=2").unwrap_err().contains("true, false"));
    apply_set(&mut plain, "group/a.cpu.rt_runtime_us=30000").unwrap();
    let too_much = apply_set(&mut plain, "group/a.cpu.rt_runtime_us=100000").unwrap_err();
    assert!(too_much.contains("sched_rt_runtime_us"), "{too_much}");
}

#[test]
fn what_the_kernel_refuses_of_real_time_limits_is_an_error_with_its_place() {
    let check_rt = |groups: String, words: &[&str], place: (usize, usize)| {
        check(&[RT_MACHINE, &groups, HOG].concat(), words, place);
    };
    let runtime = |us: i64| format!("\"cpu.rt_runtime_us\" = {us}");
    let one = |us: i64| rt_group("a", &runtime(us));
    check_rt(one(950_001), &["EINVAL", "sched_rt_runtime_us", "950000 us in 1000000"], (5, 23));
    check_rt(one(-1), &["EINVAL", "sched_rt_runtime_us"], (5, 23));
    check_rt(one(1_000_001), &["more than the period", "0 to the period, 1000000 us"], (5, 23));
    check_rt(rt_group("a", "\"cpu.rt_period_us\" = 0"), &["period of 0", "1000000"], (5, 22));
    let inner = [one(300_000), rt_group("a/b", &runtime(300_001))].concat();
    check_rt(inner, &["EINVAL", "`a` has 300000 us in 1000000 us"], (8, 23));
    let without = [one(0), rt_group("a/b", &runtime(1000))].concat();
    check_rt(without, &["EINVAL", "`a` has 0 us"], (8, 23));
    let together = [one(500_000), rt_group("b", &runtime(450_001))].concat();
    check_rt(together, &["EINVAL", "than the parent"], (8, 23));
    let mixed = rt_group("a", &format!("{}\n\"cpu.weight\" = 100", runtime(1000)));
    check_rt(mixed, &["cgroup v2", "cpu.shares"], (6, 16));
}

#[test]
fn real_time_tasks_of_a_group_without_runtime_are_refused() {
    let task =
        "[[task]]\nname = \"a\"\ngroup = \"g\"\npolicy = \"fifo\"\npriority = 5\nhog = true\n";
    let text = [RT_MACHINE, &rt_group("g", "\"cpu.shares\" = 512"), task].concat();
    let mut loaded = read(&text);
    let errors = settle_cgroups(&mut loaded, &Profile::named("6.18").unwrap());
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].severity, Severity::Error);
    assert!(errors[0].message.contains("`a` cannot be SCHED_FIFO in `g`"), "{errors:?}");
    assert!(errors[0].message.contains("EPERM"), "{errors:?}");
    assert_eq!(line_col(&text, errors[0].span.start).line, 7);
    // A session's are in the root; without limits for the system, nobody looks.
    let session = task.replace("group", "session");
    let mut loaded = read(&[RT_MACHINE, &session].concat());
    assert!(settle_cgroups(&mut loaded, &Profile::named("6.18").unwrap()).is_empty());
    let mut loaded = read(&text);
    apply_set(&mut loaded, "sched_rt_runtime_us=-1").unwrap();
    assert!(settle_cgroups(&mut loaded, &Profile::named("6.18").unwrap()).is_empty());
}
