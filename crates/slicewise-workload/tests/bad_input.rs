//! Whatever is wrong with an input is said with the offending value, what is allowed, and a fix.

#![allow(clippy::unwrap_used, reason = "a test may")]

use slicewise_workload::{
    Diagnostic, Format, LoadFileError, ReadError, Severity, line_col, load, load_file, read_text,
};

fn errors(text: &str) -> Vec<Diagnostic> {
    let result = load(text, Format::Auto);
    let list = result.expect_err(text);
    list.into_iter().filter(|d| d.severity == Severity::Error).collect()
}

/// One error with this in its message and help, at this place.
fn check(text: &str, message: &str, help: &str, place: (usize, usize)) {
    let errors = errors(text);
    let found = errors.iter().find(|d| d.message.contains(message));
    let Some(found) = found else { panic!("no `{message}` in {errors:#?} of\n{text}") };
    let helped = found.help.clone().unwrap_or_default();
    assert!(helped.contains(help), "`{helped}` lacks `{help}`\n{text}");
    let at = line_col(text, found.span.start);
    assert_eq!((at.line, at.column), place, "{found:?}\n{text}");
}

/// A task with these lines.
fn task(lines: &str) -> String {
    format!("[[task]]\nname = \"a\"\n{lines}\n")
}

fn check_task(lines: &str, message: &str, help: &str, place: (usize, usize)) {
    check(&task(lines), message, help, place);
}

fn check_step(step: &str, message: &str, help: &str) {
    let text = task(&format!("program = [{{ run = \"1ms\" }}, {step}]"));
    let errors = errors(&text);
    let found = errors.iter().find(|d| d.message.contains(message));
    let Some(found) = found else { panic!("no `{message}` in {errors:#?} of\n{text}") };
    let helped = found.help.clone().unwrap_or_default();
    assert!(helped.contains(help), "`{helped}` lacks `{help}`\n{text}");
}

#[test]
fn an_unknown_key_is_named_with_the_key_that_was_meant() {
    check_task("hog = true\nnicee = 3", "unknown key `nicee` in a task", "`nice`", (4, 1));
    check("[machin]\ncpus = 1\n", "unknown key `machin`", "`machine`", (1, 2));
    check("[machine]\ncpu = 1\n", "unknown key `cpu` in [machine]", "`cpus`", (2, 1));
    check_step("{ sleeep = \"1ms\" }", "unknown key `sleeep` in a step", "`sleep`");
    let text = "[machine.costs]\nswitch = \"1us\"\n";
    check(text, "unknown key `switch`", "context_switch, wakeup, tick", (2, 1));
}

fn check_at(lines: &str, message: &str, help: &str, column: usize) {
    check_task(lines, message, help, (3, column));
}

#[test]
fn a_missing_unit_is_shown_with_the_fix() {
    check_at("program = [{ run = 2 }]", "`run` has no unit: 2", "run = \"2ms\"", 20);
    check_at("program = [{ run = \"2\" }]", "`2` has no unit", "`2ms`", 20);
    check_at("program = [{ run = 1.5 }]", "`run` has no unit: 1.5", "\"1.5ms\"", 20);
}

#[test]
fn numbers_out_of_range_name_the_range() {
    check_task("hog = true\nnice = 25", "`nice` cannot be 25", "-20 to 19", (4, 8));
    let fifo = |priority| format!("hog = true\npolicy = \"fifo\"\npriority = {priority}");
    check_task(&fifo(0), "`priority` cannot be 0", "1 to 99", (5, 12));
    check_task(&fifo(100), "`priority` cannot be 100", "1 to 99", (5, 12));
    check("[machine]\ncpus = 0\n", "`cpus` cannot be 0", "1 to 8192", (2, 8));
    check("[machine]\nhz = -1\n", "`hz` cannot be -1", "1 to 10000", (2, 6));
    let huge = "9".repeat(200);
    check(&format!("[machine]\ncpus = {huge}\n"), "`cpus` cannot be 999", "1 to 8192", (2, 8));
    check("[machine]\nduration = \"9e9h\"\n", "not a unit", "ns, us", (2, 12));
    let long = "[machine]\nduration = \"99999999999999h\"\n";
    check(long, "longer than a year", "8760h", (2, 12));
    check("[machine]\nduration = \"0s\"\n", "`duration` cannot be zero", "10ms", (2, 12));
    check_task("hog = true\nslice = \"0ms\"", "`slice` cannot be zero", "0.1ms to 100ms", (4, 9));
}

#[test]
fn a_priority_belongs_to_a_real_time_policy() {
    check_task("hog = true\npolicy = \"rr\"", "needs a `priority`", "priority = 50", (4, 10));
    check_task("hog = true\npriority = 5", "no real-time policy", "fifo", (4, 12));
    let batch = "hog = true\npolicy = \"batch\"\npriority = 5";
    check_task(batch, "means nothing to SCHED_BATCH", "`nice`", (5, 12));
    let deadline = "hog = true\npolicy = \"SCHED_DEADLINE\"\nruntime = \"1ms\"\nperiod = \"5ms\"\n";
    let both = format!("{deadline}priority = 5");
    check_task(&both, "means nothing to SCHED_DEADLINE", "remove it", (7, 12));
    check_task("hog = true\npolicy = \"fife\"", "unknown policy `fife`", "`fifo`", (4, 10));
}

#[test]
fn cpu_lists_name_existing_kinds_of_cpus() {
    check_task("hog = true\ncpus = \"3-1\"", "backwards", "0,2-3", (4, 8));
    check_task("hog = true\ncpus = \"9999\"", "CPU 9999 is beyond", "0,2-3", (4, 8));
    check_task("hog = true\ncpus = []", "could run nowhere", "at least one", (4, 8));
    check_task("hog = true\ncpus = [0, -1]", "must list CPU numbers", "0 to 8191", (4, 12));
    let long = format!("hog = true\ncpus = \"{}\"", "0-8191,".repeat(1000));
    check_task(&long, "longer than 4096 bytes", "0,2-3", (4, 8));
}

#[test]
fn a_kernel_or_feature_that_is_not_known_is_named() {
    check("[machine]\nkernel = \"5.4\"\n", "kernel `5.4`", "6.1, 6.6, 6.12", (2, 10));
    check("[machine]\nkernel = 6.10\n", "must be a string", "", (2, 10));
    let typo = "[machine]\nfeatures = [\"NO_RUN_TO_PARTY\"]\n";
    check(typo, "`NO_RUN_TO_PARTY`", "`NO_RUN_TO_PARITY`", (2, 13));
    check("[machine]\npreemption = \"rt\"\n", "model `rt`", "none, voluntary, full", (2, 14));
}

#[test]
fn periods_and_loops_of_zero_are_refused() {
    check_step("{ timer = { period = \"0ms\" } }", "`period` cannot be zero", "10ms");
    check_task("loop = 0\nprogram = [{ run = \"1ms\" }]", "`loop` cannot be 0", "1 to", (3, 8));
    check_at("periodic = { run = \"1ms\", period = \"0ms\" }", "cannot be zero", "10ms", 36);
}

#[test]
fn a_loop_that_uses_no_time_is_refused() {
    check_at("program = [{ yield = true }]", "loops for ever without using any time", "run", 11);
    let billion = "{ loop = { count = 1000000000, body = [{ yield = true }] } }";
    check_step(billion, "loops 1000000000 times without", "sleep");
    let nested = task(
        "program = [{ run = \"1ms\" }, { loop = { count = 90000, body = [{ loop = { count = 90000, \
         body = [{ signal = \"c\" }] } }] } }]",
    );
    assert!(errors(&nested)[0].message.contains("without using any time"));
}

#[test]
fn a_wait_that_nobody_ends_is_refused() {
    let wait = "program = [{ lock = \"m\" }, { wait = { condition = \"c\", mutex = \"m\" } }, { unlock = \"m\" }]";
    check_at(wait, "nobody ever signals `c`", "signal `c`", 28);
    check_at("program = [{ suspend = true }]", "no other task ever resumes `a`", "resume", 12);
    let own = "program = [{ resume = \"a\" }, { suspend = true }]";
    check_at(own, "no other task ever resumes `a`", "resume", 30);
}

#[test]
fn locks_that_cannot_work_are_refused() {
    let twice = "program = [{ lock = \"m\" }, { lock = \"m\" }]";
    check_at(twice, "`m` is already locked", "unlock it first", 28);
    // The second round of the loop trips over the first.
    let round = "program = [{ lock = \"m\" }, { run = \"1ms\" }]";
    check_at(round, "`m` is already locked", "unlock it first", 12);
    check_step("{ unlock = \"m\" }", "`m` is not locked", "`lock` `m` first");
    let wait = "{ wait = { condition = \"c\", mutex = \"m\" } }, { signal = \"c\" }";
    check_step(wait, "`m` must be locked to wait", "`lock` `m` first");
}

#[test]
fn a_barrier_for_more_tasks_than_come_is_refused() {
    let text = "[[barrier]]\nname = \"b\"\nparties = 3\n[[task]]\nname = \"a\"\ncount = 2\n\
                program = [{ run = \"1ms\" }, { barrier = \"b\" }]\n";
    check(text, "waits for 3 tasks, but only 2 come", "2 or less", (3, 11));
    let zero = "[[barrier]]\nname = \"b\"\nparties = 0\n";
    check(zero, "`parties` cannot be 0", "1 to", (3, 11));
}

#[test]
fn names_that_lead_nowhere_are_refused() {
    check_step("{ serve = \"web\" }", "no queue `web`", "[[queue]]");
    check_step("{ resume = \"b\" }", "no task `b`", "`a`");
    check_step("{ fork = \"a\" }", "no template", "template = true");
    let submit = "{ submit = { device = \"gpu\", work = \"1ms\" } }";
    check_step(submit, "no device `gpu`", "[[device]]");
}

#[test]
fn requests_are_received_before_and_replied_to_after() {
    let queue = "[[queue]]\nname = \"q\"\nrate = \"1/s\"\nservice = \"1ms\"\n";
    let with = |steps: &str| format!("{queue}{}", task(&format!("program = [{steps}]")));
    let received = "{ receive = \"q\" }";
    for (steps, message) in [
        ("{ reply = \"q\" }".to_owned(), "no request from `q` has been received here"),
        (received.to_owned(), "never replied to"),
        (format!("{received}, {received}"), "has no reply yet"),
    ] {
        let errors = errors(&with(&steps));
        assert!(errors.iter().any(|d| d.message.contains(message)), "{steps}: {errors:?}");
    }
    let both = format!("{queue}interarrival = \"1ms\"\n");
    check(&both, "both `rate` and `interarrival`", "one of them", (3, 8));
    let instant = "[[queue]]\nname = \"q\"\ninterarrival = \"0ms\"\nservice = \"1ms\"\n";
    check(instant, "`interarrival` is always zero", "5ms", (3, 16));
}

#[test]
fn a_task_says_once_what_it_does() {
    check_task("nice = 1", "task `a` does nothing", "`program`", (1, 1));
    let twice = "hog = true\nprogram = [{ run = \"1ms\" }]";
    check_task(twice, "in 2 ways", "one of", (1, 1));
    check_step("{ run = \"1ms\", sleep = \"1ms\" }", "two things: `run` and `sleep`", "two steps");
    check_step("{ exit = false }", "`exit` can only be true", "leave it out");
    check_at("program = []", "`program` is empty", "run", 11);
}

#[test]
fn distributions_are_checked() {
    let run = |dist: &str| format!("{{ run = {{ {dist} }} }}");
    for (dist, message) in [
        ("mean = \"1ms\"", "has no `dist`"),
        ("dist = \"exponentail\", mean = \"1ms\"", "unknown distribution `exponentail`"),
        ("dist = \"exponential\"", "has no `mean`"),
        ("dist = \"uniform\", min = \"2ms\", max = \"1ms\"", "`max` 1ms is below `min` 2ms"),
        ("dist = \"lognormal\", median = \"1ms\", sigma = nan", "`sigma` cannot be nan"),
        ("dist = \"pareto\", min = \"1ms\", shape = 0, max = \"2ms\"", "`shape` cannot be 0"),
        ("dist = \"empirical\", values = []", "`values` is empty"),
        ("dist = \"empirical\", values = [[\"1ms\"]]", "needs a weight"),
        ("dist = \"empirical\", values = [[\"1ms\", 0]]", "no weight"),
    ] {
        let errors = errors(&task(&format!("program = [{}]", run(dist))));
        assert!(errors.iter().any(|d| d.message.contains(message)), "{dist}: {errors:?}");
    }
}

#[test]
fn duplicate_names_are_refused_even_if_an_instance_has_one() {
    let two = format!("{}{}", task("hog = true"), task("hog = true"));
    check(&two, "already a task named `a`", "name of its own", (5, 8));
    let instance =
        format!("{}[[task]]\nname = \"a-1\"\nhog = true\n", task("hog = true\ncount = 3"));
    check(&instance, "already a task named `a-1`", "name of its own", (6, 8));
    let json = "{\"tasks\": {\"a\": {\"run\": 1}, \"a\": {\"run\": 2}}}";
    check(json, "already a task named `a`", "name of its own", (1, 29));
}

#[test]
fn too_many_tasks_name_the_limit() {
    check_task("hog = true\ncount = 1000000000", "cannot be 1000000000", "1000000", (4, 9));
    let text = format!(
        "{}[[task]]\nname = \"b\"\ncount = 1\nhog = true\n",
        task("hog = true\ncount = 1000000")
    );
    check(&text, "1000001 tasks are too many", "1000000 tasks at most", (6, 8));
    let json = "{\"tasks\": {\"a\": {\"instance\": 1000000000, \"run\": 1}}}";
    check(json, "1000000000 tasks are too many", "1000000 tasks at most", (1, 12));
}

#[test]
fn truncated_files_are_errors_at_their_end() {
    for text in ["[[task]]\nname = \"a", "[[task", "[[task]]\nprogram = [{ run = \"1ms\" }"] {
        assert!(!errors(text).is_empty(), "{text}");
    }
    for text in ["{\"tasks\": {\"a\": {\"run\": 1", "{\"tasks\": {\"a", "{", "{\"tasks\": /* "] {
        let errors = errors(text);
        assert!(!errors.is_empty(), "{text}");
    }
}

#[test]
fn files_without_a_workload_say_so() {
    assert!(errors("")[0].message.contains("no tasks"));
    assert!(errors("title = \"x\"\n")[0].help.clone().unwrap().contains("[[task]]"));
    check("{\"global\": {\"duration\": 5}}", "no `tasks`", "merge", (1, 1));
    check("{\"tasks\": {}}", "`tasks` is empty", "run", (1, 11));
    let only = "[[task]]\nname = \"t\"\ntemplate = true\nhog = true\n";
    check(only, "every task is a template", "remove `template`", (2, 8));
    assert!(load("[]", Format::RtApp).unwrap_err()[0].message.contains("no JSON object"));
}

#[test]
fn bombs_are_refused_in_little_time_and_stack() {
    for text in [
        "[".repeat(100_000),
        format!("{{\"tasks\": {}", "{\"a\":".repeat(100_000)),
        format!("{{\"tasks\": {}", "[".repeat(100_000)),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{ a = ".repeat(100_000)),
        format!("{} = 1", vec!["a"; 50_000].join(".")),
        "[[task]]\n".repeat(100_000),
        "\n".repeat(5_000_000),
    ] {
        assert!(!errors(&text).is_empty());
    }
    let mut nested = "{ run = \"1ms\" }".to_owned();
    for _ in 0..34 {
        nested = format!("{{ loop = {{ body = [{nested}] }} }}");
    }
    let errors = errors(&task(&format!("program = [{nested}]")));
    assert!(errors.iter().any(|d| d.message.contains("recursion depth")));
}

#[test]
fn several_mistakes_are_reported_at_once_in_their_order() {
    let text = "[machine]\ncpus = 0\nhz = \"fast\"\n[[task]]\nname = \"a\"\nnice = 25\nhog = 1\n";
    let messages: Vec<String> = errors(text).into_iter().map(|d| d.message).collect();
    assert_eq!(
        messages,
        [
            "`cpus` cannot be 0",
            "`hz` must be a whole number from 1 to 10000, not a string",
            "`nice` cannot be 25",
            "`hog` must be true or false, not a number",
        ]
    );
}

#[test]
fn a_thousand_mistakes_are_cut_to_a_readable_number() {
    let text = "[[task]]\nnicee = 1\n".repeat(1000);
    let errors = errors(&text);
    assert!(errors.len() <= 101, "{}", errors.len());
    assert!(errors.last().unwrap().message.contains("more problems"));
}

#[test]
fn rt_app_values_are_checked_as_rt_app_does_or_stricter() {
    let thread = |inside: &str| format!("{{\"tasks\": {{\"a\": {{{inside}}}}}}}");
    for (inside, message, help) in [
        ("\"run\": 1, \"priority\": 25", "`priority` cannot be 25", "-20 to 19"),
        ("\"run\": 1, \"policy\": \"SCHED_FIFO\", \"priority\": 0", "cannot be 0", "1 to 99"),
        ("\"run\": 1, \"policy\": \"SCHED_RR\", \"priority\": 100", "cannot be 100", "1 to 99"),
        ("\"run\": 1, \"policy\": \"SCHED_WILD\"", "unknown policy `SCHED_WILD`", "SCHED_"),
        ("\"run\": -5", "`run` cannot be -5", "0 to 2147483647"),
        ("\"run\": 2147483648", "`run` cannot be 2147483648", "0 to 2147483647"),
        ("\"sleep\": 1.5", "`sleep` cannot be 1.5", "whole number"),
        ("\"run\": \"x\"", "`run` must be a whole number, not a string", ""),
        ("\"run\": 1, \"cpus\": [8192]", "must list CPU numbers", "0 to 8191"),
        ("\"run\": 1, \"cpus\": []", "could run nowhere", "at least one"),
        ("\"loop\": 1", "`a` has no events", "run"),
        ("\"phases\": {}", "`phases` is empty", "phase"),
        ("\"loop\": -1, \"yield\": \"\"", "without using any time", "run"),
        ("\"run\": 1, \"fork\": \"b\"", "there is no thread `b`", "a"),
        ("\"run\": 1, \"memrun\": {}", "after 1.0", "`mem`"),
        ("\"lock\": \"m\", \"run\": 1", "already locked", "unlock"),
        (
            "\"run\": 1, \"timer\": {\"period\": 1, \"mode\": \"odd\"}",
            "timer mode `odd`",
            "absolute",
        ),
    ] {
        let errors = errors(&thread(inside));
        let found = errors.iter().find(|d| d.message.contains(message));
        let Some(found) = found else { panic!("{inside}: {errors:?}") };
        assert!(found.help.clone().unwrap_or_default().contains(help), "{inside}: {found:?}");
    }
}

#[test]
fn rt_app_reservations_that_the_kernel_refuses_are_refused_with_the_reason() {
    let good = include_str!("fixtures/deadline.json");
    assert!(load(good, Format::Auto).is_ok());
    for (from, to, fault) in [
        ("\"dl-runtime\": 2000", "\"dl-runtime\": 9000", "the runtime is longer than the deadline"),
        (
            "\"dl-deadline\": 8000",
            "\"dl-deadline\": 18000",
            "the deadline is longer than the period",
        ),
        ("\"dl-period\": 10000", "\"dl-period\": 5000000", "the period is above 4.194304 s"),
        ("\"dl-runtime\": 2000,", "", "needs `dl-runtime`"),
    ] {
        let errors = errors(&good.replace(from, to));
        assert_eq!(errors.len(), 1, "{to}: {errors:#?}");
        assert!(errors[0].message.contains(fault), "{to}: {errors:#?}");
    }
}

#[test]
fn a_deadline_task_says_what_it_reserves_and_others_do_not() {
    let task = |keys: &str| format!("hog = true\npolicy = \"deadline\"\n{keys}");
    check_task(&task(""), "needs `runtime` and `period`", "runtime = \"5ms\"", (1, 1));
    let long = task("runtime = \"6ms\"\nperiod = \"5ms\"");
    check_task(&long, "the runtime is longer than the deadline", "runtime <= deadline", (5, 11));
    let late = task("runtime = \"1ms\"\nperiod = \"5ms\"\ndeadline = \"6ms\"");
    check_task(&late, "the deadline is longer than the period", "deadline <= period", (7, 12));
    let rare = task("runtime = \"1ms\"\nperiod = \"5s\"");
    check_task(&rare, "the period is above 4.194304 s", "4194.304ms", (6, 10));
    let other = "hog = true\nruntime = \"1ms\"";
    check_task(other, "`runtime` is only for policy deadline", "policy = \"deadline\"", (4, 11));
    let limits = "hog = true\nrttime = { soft = \"2s\", hard = \"1s\" }";
    check_task(limits, "above the hard one", "EINVAL", (4, 10));
    check("[machine]\nsched_rt_runtime_us = 1000001\n", "more than the period", "-1", (2, 23));
}

#[test]
fn a_huge_file_is_refused_without_reading_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("huge.json");
    // A hole: a gigabyte that takes no space.
    std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let error = load_file(&path).unwrap_err();
    assert!(matches!(error, LoadFileError::Read(ReadError::TooLarge { .. })), "{error}");
    let endless = read_text(std::io::repeat(b'a'), "a pipe").unwrap_err();
    assert!(endless.to_string().contains("a pipe is larger than 67108864 bytes"), "{endless}");
}

#[test]
fn directories_missing_files_and_binaries_have_errors_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let message = load_file(directory.path()).unwrap_err().to_string();
    assert!(message.contains("is a directory"), "{message}");
    let message = load_file(&directory.path().join("none.toml")).unwrap_err().to_string();
    assert!(message.contains("cannot read") && message.contains("none.toml"), "{message}");
    let path = directory.path().join("binary.toml");
    std::fs::write(&path, b"title = 1\n\xff\xfe").unwrap();
    let message = load_file(&path).unwrap_err().to_string();
    assert!(message.contains("not UTF-8 text: line 2"), "{message}");
    std::fs::write(&path, b"\0\0\0\0").unwrap();
    assert!(load_file(&path).is_err());
}
