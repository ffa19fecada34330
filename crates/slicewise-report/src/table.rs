//! The figures of one run, for people.

use crate::text::{
    Cell, Column, Paint, Table, bar, duration, duration_inline, percent, shown_name, shown_path,
};
use crate::{CgroupFile, DelayReport, GroupReport, RunReport, RunqlatRow, Style, TaskReport};

const BAR_COLUMNS: usize = 10;
const CPU_BAR_COLUMNS: usize = 30;

/// The run as text: what it was, a table of tasks, the CPUs, devices and queues if there are any,
/// the histogram of waits for a CPU, and what the reader should know.
///
/// CPU is the share of one CPU in percent, as `top` prints it.
pub fn render_run(report: &RunReport, style: Style) -> String {
    let mut parts = vec![head(report), tasks(report, style)];
    if !report.groups.is_empty() {
        parts.push(groups(report, style));
    }
    parts.push(deadline_tasks(report, style));
    parts.push(signals(report, style));
    parts.push(cpus(report, style));
    parts.push(crate::memory::memory(report, style));
    if !report.devices.is_empty() {
        parts.push(devices(report, style));
    }
    if !report.queues.is_empty() {
        parts.push(queues(report, style));
    }
    if !report.runqlat_us.is_empty() {
        let title = style.paint(Paint::Heading, "Waits for a CPU");
        parts.push(format!("{title}\n{}", render_runqlat(&report.runqlat_us, "usecs")));
    }
    let remarks = remarks(report, style);
    if !remarks.is_empty() {
        parts.push(remarks);
    }
    parts.extend(report.cgroup_files.iter().map(|file| cgroup_file(file, style)));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn head(report: &RunReport) -> String {
    let cpus = match report.cpus.len() {
        1 => "1 CPU".to_owned(),
        cpus => format!("{cpus} CPUs"),
    };
    format!(
        "Linux {} (as of {}), {cpus}, {} Hz, {} simulated, seed {}, trace {}\n",
        report.kernel,
        report.release,
        report.hz,
        duration_inline(report.simulated_ns),
        report.seed,
        report.trace_hash,
    )
}

/// Policy with what matters about it: a nice value that is not 0, or the priority.
pub(crate) fn policy(policy: &str, nice: i8, priority: Option<u8>) -> String {
    let short = policy.strip_prefix("SCHED_").unwrap_or(policy);
    match priority {
        Some(priority) => format!("{short} {priority}"),
        None if nice != 0 => format!("{short} nice {nice}"),
        None => short.to_owned(),
    }
}

fn tasks(report: &RunReport, style: Style) -> String {
    let mut columns = vec![Column::left("TASK"), Column::right("PID").expendable(5)];
    let grouped = report.tasks.iter().any(|task| task.group.is_some());
    if grouped {
        columns.push(Column::left("GROUP").expendable(2));
    }
    columns.extend([
        Column::left("POLICY"),
        Column::right("CPU"),
        Column::left("").expendable(6).paint(Paint::Bar),
        Column::right("VOL").group("switches").expendable(3),
        Column::right("INVOL").group("switches").expendable(3),
        Column::right("WAKEUPS").expendable(7),
        Column::right("MIGR").expendable(4),
    ]);
    columns.extend(delay_columns("sched delay"));
    let responses = report.tasks.iter().any(|task| task.response_ns.count > 0);
    if responses {
        columns.extend(delay_columns("response"));
    }
    // A column of noughts would say little: it is there if a job was late.
    let late = report.tasks.iter().any(|task| task.jobs.is_some_and(|jobs| jobs.late > 0));
    if late {
        columns.push(Column::right("LATE").group("response"));
    }
    let mut table = Table::new(columns);
    for task in &report.tasks {
        let mut row = task_row(task, grouped, responses);
        if late {
            row.push(counted(task.jobs.map(|jobs| jobs.late)));
        }
        table.row(row);
    }
    table.render(style)
}

/// How often something bad happened.
fn counted(count: Option<u64>) -> Cell {
    match count {
        None => Cell::painted("-", Paint::Faint),
        Some(0) => "0".into(),
        Some(count) => Cell::painted(count.to_string(), Paint::Bad),
    }
}

/// What deadline tasks reserve, and how it went.
fn deadline_tasks(report: &RunReport, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("DEADLINE TASK"),
        Column::right("RUNTIME").group("reserved"),
        Column::right("DEADLINE").group("reserved"),
        Column::right("PERIOD").group("reserved"),
        Column::right("THROTTLED"),
        Column::right("JOBS"),
        Column::right("MISSED"),
    ]);
    let mut any = false;
    for task in &report.tasks {
        let Some(deadline) = &task.deadline else { continue };
        any = true;
        let jobs = task.response_ns.count;
        let dash = || Cell::painted("-", Paint::Faint);
        table.row(vec![
            shown_name(&task.label()).into(),
            duration(deadline.runtime_ns).into(),
            duration(deadline.deadline_ns).into(),
            duration(deadline.period_ns).into(),
            deadline.throttled.to_string().into(),
            if jobs == 0 { dash() } else { jobs.to_string().into() },
            counted((jobs > 0).then_some(deadline.misses)),
        ]);
    }
    if any { table.render(style) } else { String::new() }
}

/// Signals for too much CPU time, of those who got any.
fn signals(report: &RunReport, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("SIGNALLED"),
        Column::right("SIGXCPU"),
        Column::right("SIGKILL"),
    ]);
    let mut any = false;
    for task in &report.tasks {
        let Some(signals) = &task.signals else { continue };
        any = true;
        table.row(vec![
            shown_name(&task.label()).into(),
            signals.sigxcpu.to_string().into(),
            counted(Some(signals.sigkill)),
        ]);
    }
    if any { table.render(style) } else { String::new() }
}

fn delay_columns(group: &'static str) -> [Column; 4] {
    [
        Column::right("MEAN").group(group).expendable(8),
        Column::right("P50").group(group).expendable(2),
        Column::right("P99").group(group).expendable(1),
        Column::right("MAX").group(group),
    ]
}

fn task_row(task: &TaskReport, grouped: bool, responses: bool) -> Vec<Cell> {
    let mut cells: Vec<Cell> = vec![shown_name(&task.label()).into(), task.pid.to_string().into()];
    if grouped {
        cells.push(shown_path(task.group.as_deref().unwrap_or("/")).into());
    }
    let figures: [Cell; 7] = [
        policy(&task.policy, task.nice, task.priority).into(),
        percent(task.share).into(),
        bar(task.share, BAR_COLUMNS).into(),
        task.switches.voluntary.to_string().into(),
        task.switches.involuntary.to_string().into(),
        task.wakeups.to_string().into(),
        task.migrations.to_string().into(),
    ];
    cells.extend(figures);
    cells.extend(delay_cells(&task.sched_delay_ns));
    if responses {
        cells.extend(delay_cells(&task.response_ns));
    }
    cells
}

fn groups(report: &RunReport, style: Style) -> String {
    let mut columns = vec![
        Column::left("GROUP"),
        Column::right("WEIGHT").expendable(3),
        Column::right("CPU"),
        Column::left("").expendable(5).paint(Paint::Bar),
    ];
    let limited = report.groups.iter().any(|group| group.quota_ns.is_some());
    let bursts = report.groups.iter().any(|group| group.nr_bursts > 0);
    if limited {
        columns.extend([
            Column::right("LIMIT"),
            Column::right("PERIODS").group("throttled").expendable(2),
            Column::right("").group("throttled"),
            Column::left("").group("throttled").expendable(4).paint(Paint::Bar),
            Column::right("TIME").group("throttled").expendable(1),
        ]);
    }
    if bursts {
        columns.push(Column::right("BURSTS").expendable(6));
    }
    columns.push(Column::right("SOME").group("pressure").expendable(1));
    columns.push(Column::right("FULL").group("pressure").expendable(1));
    let mut table = Table::new(columns);
    for group in &report.groups {
        let mut cells = vec![
            shown_path(&group.path).into(),
            if group.idle { "idle".into() } else { group.weight.to_string().into() },
            percent(group.share).into(),
            bar(group.share, BAR_COLUMNS).into(),
        ];
        if limited {
            cells.extend(limit_cells(group));
        }
        if bursts {
            cells.push(group.nr_bursts.to_string().into());
        }
        let of_run = |ns| percent(share_of(ns, report.simulated_ns)).into();
        cells.push(of_run(group.pressure.some_total_ns));
        cells.push(of_run(group.pressure.full_total_ns));
        table.row(cells);
    }
    table.render(style)
}

/// The limit, and in how many periods and for how long it stopped the group.
fn limit_cells(group: &GroupReport) -> [Cell; 5] {
    let dash = || Cell::painted("-", Paint::Faint);
    let Some(quota_ns) = group.quota_ns else {
        return [dash(), dash(), dash(), "".into(), dash()];
    };
    let part = group.throttled_part();
    let throttled = match group.nr_throttled {
        0 => Cell::from(percent(part)),
        _ => Cell::painted(percent(part), Paint::Bad),
    };
    [
        format!("{} / {}", duration_inline(quota_ns), duration_inline(group.period_ns)).into(),
        format!("{} of {}", group.nr_throttled, group.nr_periods).into(),
        throttled,
        bar(part, BAR_COLUMNS).into(),
        duration(group.throttled_ns).into(),
    ]
}

/// A file below a line with its name, as `head` shows several.
fn cgroup_file(file: &CgroupFile, style: Style) -> String {
    let shown: String = file.path.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let title = style.paint(Paint::Heading, &format!("==> {shown} <=="));
    format!("{title}\n{}", file.text)
}

/// Nothing measured is shown as a dash: it is not a delay of 0.
fn delay_cells(delay: &DelayReport) -> [Cell; 4] {
    [delay.mean, delay.p50, delay.p99, delay.max].map(|ns| match delay.count {
        0 => Cell::painted("-", Paint::Faint),
        _ => duration(ns).into(),
    })
}

fn share_of(part_ns: u64, whole_ns: u64) -> f64 {
    if whole_ns == 0 { 0.0 } else { part_ns as f64 / whole_ns as f64 }
}

fn cpus(report: &RunReport, style: Style) -> String {
    let mut columns = vec![
        Column::right("CPU"),
        Column::right("BUSY"),
        Column::left("").expendable(1).paint(Paint::Bar),
        Column::right("IDLE TIME"),
        Column::right("SWITCHES"),
    ];
    let throttled = report.cpus.iter().any(|cpu| cpu.rt_throttled.is_some());
    if throttled {
        columns.push(Column::right("TIMES").group("RT throttled"));
        columns.push(Column::right("TIME").group("RT throttled"));
    }
    let interrupted = report.cpus.iter().any(|cpu| cpu.interrupted.is_some());
    if interrupted {
        columns.push(Column::right("TICKS/S").group("interrupted"));
        columns.push(Column::right("DEVICES/S").group("interrupted"));
        columns.push(Column::right("BY DEVICES").group("interrupted"));
    }
    let mut table = Table::new(columns);
    for cpu in &report.cpus {
        let share = share_of(cpu.busy_ns, report.simulated_ns);
        let mut row = vec![
            cpu.cpu.to_string().into(),
            percent(share).into(),
            format!("{:<CPU_BAR_COLUMNS$}", bar(share, CPU_BAR_COLUMNS)).into(),
            duration(cpu.idle_ns).into(),
            cpu.switches.to_string().into(),
        ];
        if throttled {
            let stops = cpu.rt_throttled.unwrap_or_default();
            row.push(stops.count.to_string().into());
            row.push(duration(stops.time_ns).into());
        }
        if interrupted {
            let by = cpu.interrupted.unwrap_or_default();
            let a_second = |count: u64| count as f64 * 1e9 / report.simulated_ns.max(1) as f64;
            row.push(format!("{:.1}", a_second(by.ticks)).into());
            row.push(format!("{:.1}", a_second(by.interrupts)).into());
            row.push(duration(by.interrupt_ns).into());
        }
        table.row(row);
    }
    table.render(style)
}

fn devices(report: &RunReport, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("DEVICE"),
        Column::right("BUSY"),
        Column::left("").expendable(1).paint(Paint::Bar),
        Column::right("BUSY TIME"),
    ]);
    for device in &report.devices {
        let share = share_of(device.busy_ns, report.simulated_ns);
        table.row(vec![
            shown_name(&device.name).into(),
            percent(share).into(),
            format!("{:<CPU_BAR_COLUMNS$}", bar(share, CPU_BAR_COLUMNS)).into(),
            duration(device.busy_ns).into(),
        ]);
    }
    table.render(style)
}

fn queues(report: &RunReport, style: Style) -> String {
    let mut table = Table::new(vec![
        Column::left("QUEUE"),
        Column::right("ARRIVED"),
        Column::right("SERVED"),
        Column::right("DROPPED"),
    ]);
    for queue in &report.queues {
        let dropped = match queue.dropped {
            0 => Cell::from("0"),
            dropped => Cell::painted(dropped.to_string(), Paint::Bad),
        };
        table.row(vec![
            shown_name(&queue.name).into(),
            queue.arrived.to_string().into(),
            queue.served.to_string().into(),
            dropped,
        ]);
    }
    table.render(style)
}

/// A histogram in the layout of bcc's `runqlat`: what reads that reads this.
/// `unit` is `usecs` or `msecs`.
pub fn render_runqlat(rows: &[RunqlatRow], unit: &str) -> String {
    // bcc gives wide numbers more room, and takes it from the bars.
    let wide = rows.len() > 32;
    let (number, label, stars) = if wide { (20, 29, 20) } else { (10, 19, 40) };
    let indent = if wide { 15 } else { 5 };
    let most = rows.iter().map(|row| row.count).max().unwrap_or(0).max(1);
    let blank = "";
    let mut out = format!("{blank:indent$}{:<label$} : count     distribution\n", unit);
    for row in rows {
        let full = (row.count as u128 * stars as u128 / u128::from(most)) as usize;
        out.push_str(&format!(
            "{:number$} -> {:<number$} : {:<8} |{:<stars$}|\n",
            row.low,
            row.high,
            row.count,
            "*".repeat(full),
        ));
    }
    out
}

fn remarks(report: &RunReport, style: Style) -> String {
    let mut lines = Vec::new();
    for task in &report.tasks {
        if let Some(wait_ns) = task.unfinished_wait_ns
            && wait_ns > task.sched_delay_ns.max
        {
            lines.push(format!(
                "{} had been waiting for {} when the run ended; no delay above includes that",
                shown_name(&task.label()),
                duration_inline(wait_ns),
            ));
        }
    }
    lines.extend(report.warnings.iter().cloned());
    let warning = style.paint(Paint::Notable, "warning:");
    lines.into_iter().map(|line| format!("{warning} {line}\n")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        CpuReport, DeadlineReport, DeviceReport, InterruptedReport, JobReport, PressureReport,
        QueueReport, RtThrottleReport, SignalReport, SwitchReport,
    };

    pub(crate) const PLAIN: Style = Style { color: false, width: 160 };

    pub(crate) fn delay(count: u64, p50: u64) -> DelayReport {
        DelayReport { count, mean: p50 + p50 / 8, p50, p99: p50 * 3, max: p50 * 4 + 1 }
    }

    pub(crate) fn task(name: &str, pid: u32, share: f64) -> TaskReport {
        TaskReport {
            deadline: None,
            jobs: None,
            signals: None,
            name: name.into(),
            pid,
            group: None,
            forks: None,
            policy: "SCHED_OTHER".into(),
            nice: 0,
            priority: None,
            cpu_time_ns: (share * 1e10) as u64,
            share,
            wakeups: 120,
            migrations: 3,
            switches: SwitchReport { voluntary: 120, involuntary: 48 },
            sched_delay_ns: delay(168, 52_000),
            response_ns: DelayReport::default(),
            unfinished_wait_ns: None,
        }
    }

    pub(crate) fn group(path: &str) -> GroupReport {
        GroupReport {
            path: path.into(),
            weight: 39,
            idle: false,
            quota_ns: Some(50_000_000),
            period_ns: 100_000_000,
            usage_ns: 4_810_000_000,
            share: 0.481,
            nr_periods: 100,
            nr_throttled: 42,
            throttled_ns: 2_310_000_000,
            local_throttled_ns: 2_310_000_000,
            nr_bursts: 0,
            burst_ns: 0,
            pressure: PressureReport {
                some_total_ns: 3_000_000_000,
                some_avg10: 30.12,
                some_avg60: 5.0,
                some_avg300: 1.0,
                full_total_ns: 2_310_000_000,
                full_avg10: 23.0,
                full_avg60: 4.0,
                full_avg300: 0.5,
            },
        }
    }

    /// A run with groups: one limited, one without tasks of its own, one idle.
    pub(crate) fn grouped_run() -> RunReport {
        let free = GroupReport {
            weight: 100,
            quota_ns: None,
            nr_periods: 0,
            nr_throttled: 0,
            throttled_ns: 0,
            pressure: PressureReport::default(),
            ..group("pods")
        };
        let batch = GroupReport {
            idle: true,
            nr_bursts: 7,
            burst_ns: 70_000_000,
            nr_throttled: 0,
            share: 1.2,
            ..group("batch")
        };
        let mut tasks = run().tasks;
        tasks[0].group = Some("pods/web".into());
        RunReport { tasks, groups: vec![free, group("pods/web"), batch], ..run() }
    }

    pub(crate) fn run() -> RunReport {
        let cpu = |cpu, busy_ns| CpuReport {
            cpu,
            busy_ns,
            idle_ns: 10_000_000_000 - busy_ns,
            switches: 1_234,
            rt_throttled: None,
            interrupted: None,
        };
        let fifo = TaskReport {
            policy: "SCHED_FIFO".into(),
            priority: Some(50),
            response_ns: delay(100, 1_250_000),
            ..task("control", 2, 0.05)
        };
        let forks = TaskReport {
            forks: Some(12),
            nice: 5,
            unfinished_wait_ns: Some(2_500_000_000),
            ..task("cc", 3, 0.72)
        };
        let row = |low, high, count| RunqlatRow { low, high, count };
        RunReport {
            kernel: "6.12".into(),
            release: "6.12.117".into(),
            seed: 42,
            simulated_ns: 10_000_000_000,
            trace_hash: "0123456789abcdef".into(),
            hz: 1000,
            tasks: vec![task("hog", 1, 0.9), fifo, forks],
            groups: vec![],
            pressure: None,
            memory: None,
            cgroup_files: vec![],
            cpus: vec![cpu(0, 10_000_000_000), cpu(1, 6_700_000_000)],
            runqlat_us: vec![row(0, 1, 233), row(2, 3, 742), row(4, 7, 0), row(8, 15, 18)],
            devices: vec![DeviceReport { name: "gpu".into(), busy_ns: 2_500_000_000 }],
            queues: vec![QueueReport { name: "rpc".into(), arrived: 100, served: 97, dropped: 2 }],
            warnings: vec!["throttling is not modelled".into()],
        }
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        insta::assert_snapshot!(render_run(&run(), PLAIN), @r"
        Linux 6.12 (as of 6.12.117), 2 CPUs, 1000 Hz, 10.0 s simulated, seed 42, trace 0123456789abcdef

                                                        ─switches─                 ──────────sched delay───────────  ─────────────response─────────────
        TASK      PID  POLICY           CPU             VOL  INVOL  WAKEUPS  MIGR     MEAN      P50     P99     MAX     MEAN      P50      P99      MAX
        hog         1  OTHER         90.0 %  █████████  120     48      120     3  58.5 us  52.0 us  156 us  208 us        -        -        -        -
        control     2  FIFO 50        5.0 %  ▌          120     48      120     3  58.5 us  52.0 us  156 us  208 us  1.41 ms  1.25 ms  3.75 ms  5.00 ms
        cc (x12)    3  OTHER nice 5  72.0 %  ███████▎   120     48      120     3  58.5 us  52.0 us  156 us  208 us        -        -        -        -

        CPU     BUSY                                  IDLE TIME  SWITCHES
          0  100.0 %  ██████████████████████████████       0 ns      1234
          1   67.0 %  ████████████████████▏             3.30  s      1234

        DEVICE    BUSY                                  BUSY TIME
        gpu     25.0 %  ███████▌                          2.50  s

        QUEUE  ARRIVED  SERVED  DROPPED
        rpc        100      97        2

        Waits for a CPU
             usecs               : count     distribution
                 0 -> 1          : 233      |************                            |
                 2 -> 3          : 742      |****************************************|
                 4 -> 7          : 0        |                                        |
                 8 -> 15         : 18       |                                        |

        warning: cc (x12) had been waiting for 2.50 s when the run ended; no delay above includes that
        warning: throttling is not modelled
        ");
    }

    #[test]
    fn groups_have_a_section_of_their_own_and_tasks_a_column() {
        let mut run = grouped_run();
        let text = "usage_usec 4810000\nuser_usec 4810000\n".to_owned();
        run.cgroup_files = vec![CgroupFile { path: "pods/web/cpu.stat".into(), text }];
        (run.runqlat_us, run.devices, run.queues) = (vec![], vec![], vec![]);
        insta::assert_snapshot!(render_run(&run, PLAIN), @r"
        Linux 6.12 (as of 6.12.117), 2 CPUs, 1000 Hz, 10.0 s simulated, seed 42, trace 0123456789abcdef

                                                                  ─switches─                 ──────────sched delay───────────  ─────────────response─────────────
        TASK      PID  GROUP     POLICY           CPU             VOL  INVOL  WAKEUPS  MIGR     MEAN      P50     P99     MAX     MEAN      P50      P99      MAX
        hog         1  pods/web  OTHER         90.0 %  █████████  120     48      120     3  58.5 us  52.0 us  156 us  208 us        -        -        -        -
        control     2  /         FIFO 50        5.0 %  ▌          120     48      120     3  58.5 us  52.0 us  156 us  208 us  1.41 ms  1.25 ms  3.75 ms  5.00 ms
        cc (x12)    3  /         OTHER nice 5  72.0 %  ███████▎   120     48      120     3  58.5 us  52.0 us  156 us  208 us        -        -        -        -

                                                                 ────────────throttled────────────          ───pressure───
        GROUP     WEIGHT      CPU                         LIMIT    PERIODS                    TIME  BURSTS    SOME    FULL
        pods         100   48.1 %  ████▊                      -          -       -               -       0   0.0 %   0.0 %
        pods/web      39   48.1 %  ████▊       50.0 ms / 100 ms  42 of 100  42.0 %  ████▎  2.31  s       0  30.0 %  23.1 %
        batch       idle  120.0 %  ██████████  50.0 ms / 100 ms   0 of 100   0.0 %         2.31  s       7  30.0 %  23.1 %

        CPU     BUSY                                  IDLE TIME  SWITCHES
          0  100.0 %  ██████████████████████████████       0 ns      1234
          1   67.0 %  ████████████████████▏             3.30  s      1234

        warning: cc (x12) had been waiting for 2.50 s when the run ended; no delay above includes that
        warning: throttling is not modelled

        ==> pods/web/cpu.stat <==
        usage_usec 4810000
        user_usec 4810000
        ");
    }

    /// One whose jobs are late, a deadline task, one that was killed.
    pub(crate) fn real_time_run() -> RunReport {
        let mut run = run();
        let jobs = |late| Some(JobReport { period_ns: 10_000_000, late });
        let reserved = DeadlineReport {
            runtime_ns: 2_000_000,
            deadline_ns: 8_000_000,
            period_ns: 10_000_000,
            throttled: 7,
            misses: 3,
        };
        run.tasks[0].signals = Some(SignalReport { sigxcpu: 4, sigkill: 1 });
        run.tasks[1].jobs = jobs(5);
        let policy = "SCHED_DEADLINE".into();
        run.tasks[2] = TaskReport {
            policy,
            deadline: Some(reserved),
            jobs: jobs(0),
            response_ns: delay(100, 1_250_000),
            ..task("arm", 3, 0.2)
        };
        run.cpus[1].rt_throttled = Some(RtThrottleReport { count: 2, time_ns: 96_000_000 });
        (run.runqlat_us, run.devices, run.queues) = (vec![], vec![], vec![]);
        run
    }

    #[test]
    fn what_interrupts_cpus_is_shown_where_it_was_counted() {
        let mut run = run();
        assert!(!render_run(&run, PLAIN).contains("interrupted"));
        run.cpus[1].interrupted =
            Some(InterruptedReport { ticks: 2_500, interrupts: 15_005, interrupt_ns: 29_000_000 });
        let text = render_run(&run, PLAIN);
        let table = text.lines().skip_while(|line| !line.contains("interrupted"));
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let rows: Vec<Vec<String>> = table.take(4).map(words).collect();
        assert_eq!(rows[1][5..], ["TICKS/S", "DEVICES/S", "BY", "DEVICES"]);
        assert!(rows[3].ends_with(&["250.0", "1500.5", "29.0", "ms"].map(str::to_owned)));
    }

    #[test]
    fn late_jobs_reservations_signals_and_throttling_are_shown_where_there_are_any() {
        insta::assert_snapshot!(render_run(&real_time_run(), PLAIN), @r"
        Linux 6.12 (as of 6.12.117), 2 CPUs, 1000 Hz, 10.0 s simulated, seed 42, trace 0123456789abcdef

                                                   ─switches─                 ──────────sched delay───────────  ────────────────response────────────────
        TASK     PID  POLICY       CPU             VOL  INVOL  WAKEUPS  MIGR     MEAN      P50     P99     MAX     MEAN      P50      P99      MAX  LATE
        hog        1  OTHER     90.0 %  █████████  120     48      120     3  58.5 us  52.0 us  156 us  208 us        -        -        -        -     -
        control    2  FIFO 50    5.0 %  ▌          120     48      120     3  58.5 us  52.0 us  156 us  208 us  1.41 ms  1.25 ms  3.75 ms  5.00 ms     5
        arm        3  DEADLINE  20.0 %  ██         120     48      120     3  58.5 us  52.0 us  156 us  208 us  1.41 ms  1.25 ms  3.75 ms  5.00 ms     0

                       ─────────reserved─────────
        DEADLINE TASK  RUNTIME  DEADLINE   PERIOD  THROTTLED  JOBS  MISSED
        arm            2.00 ms   8.00 ms  10.0 ms          7   100       3

        SIGNALLED  SIGXCPU  SIGKILL
        hog              4        1

                                                                           ─RT throttled─
        CPU     BUSY                                  IDLE TIME  SWITCHES  TIMES     TIME
          0  100.0 %  ██████████████████████████████       0 ns      1234      0     0 ns
          1   67.0 %  ████████████████████▏             3.30  s      1234      2  96.0 ms

        warning: throttling is not modelled
        ");
    }

    #[test]
    fn groups_fit_a_narrow_terminal() {
        let narrow = render_run(&grouped_run(), Style { color: false, width: 60 });
        let groups: Vec<&str> =
            narrow.lines().skip_while(|line| !line.contains("throttled")).take(5).collect();
        insta::assert_snapshot!(groups.join("\n"), @r"
                                             ────throttled────
        GROUP         CPU             LIMIT    PERIODS
        pods       48.1 %                 -          -       -
        pods/web   48.1 %  50.0 ms / 100 ms  42 of 100  42.0 %
        batch     120.0 %  50.0 ms / 100 ms   0 of 100   0.0 %
        ");
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters_most() {
        let narrow = render_run(&run(), Style { color: false, width: 80 });
        let tasks: Vec<&str> = narrow.lines().skip(2).take(5).collect();
        insta::assert_snapshot!(tasks.join("\n"), @r"
                                        ─switches─  ─sched delay──  ────response────
        TASK      POLICY           CPU  VOL  INVOL     P99     MAX      P99      MAX
        hog       OTHER         90.0 %  120     48  156 us  208 us        -        -
        control   FIFO 50        5.0 %  120     48  156 us  208 us  3.75 ms  5.00 ms
        cc (x12)  OTHER nice 5  72.0 %  120     48  156 us  208 us        -        -
        ");
    }

    #[test]
    fn an_empty_run_is_no_special_case() {
        let empty = RunReport {
            simulated_ns: 0,
            tasks: vec![],
            cpus: vec![],
            runqlat_us: vec![],
            devices: vec![],
            queues: vec![],
            warnings: vec![],
            ..run()
        };
        insta::assert_snapshot!(render_run(&empty, PLAIN), @r"
        Linux 6.12 (as of 6.12.117), 0 CPUs, 1000 Hz, 0 ns simulated, seed 42, trace 0123456789abcdef

                                  ─switches─                 ────sched delay────
        TASK  PID  POLICY  CPU    VOL  INVOL  WAKEUPS  MIGR  MEAN  P50  P99  MAX

        CPU  BUSY    IDLE TIME  SWITCHES
        ");
    }

    #[test]
    fn very_long_waits_take_the_wide_layout_of_bcc() {
        let rows: Vec<RunqlatRow> = (0..33)
            .map(|bit| RunqlatRow {
                low: if bit == 0 { 0 } else { 1 << bit },
                high: (2 << bit) - 1,
                count: 1,
            })
            .collect();
        let text = render_runqlat(&rows, "usecs");
        let lines: Vec<&str> = text.lines().collect();
        let head = "               usecs                         : count     distribution";
        let row = "                   0 -> 1                    : 1        |********************|";
        let last = "          4294967296 -> 8589934591           : 1        |********************|";
        assert_eq!([lines[0], lines[1], lines[33]], [head, row, last]);
    }

    #[test]
    fn waits_are_printed_as_bcc_prints_them() {
        // The first rows of the example in bcc's documentation of runqlat.
        let row = |low, high, count| RunqlatRow { low, high, count };
        let text = render_runqlat(
            &[
                row(0, 1, 233),
                row(2, 3, 742),
                row(4, 7, 203),
                row(8, 15, 173),
                row(16, 31, 24),
                row(32, 63, 0),
            ],
            "usecs",
        );
        let expected = [
            "     usecs               : count     distribution",
            "         0 -> 1          : 233      |************                            |",
            "         2 -> 3          : 742      |****************************************|",
            "         4 -> 7          : 203      |**********                              |",
            "         8 -> 15         : 173      |*********                               |",
            "        16 -> 31         : 24       |*                                       |",
            "        32 -> 63         : 0        |                                        |",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
