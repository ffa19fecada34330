//! `slicewise k8s`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use slicewise_containers::{
    CgroupVersion, CpuList, Driver, Manifest, Node, NodeCpu, NodeDevice, NodeTopology,
    NodeTopologyError, Quantity, Severity, Source, StaticPolicy, TopologyPolicy, WeightFormula,
    docker_run, load,
};
use slicewise_kube::{Error, Question, Settings, Study, TRIALS_MAX, Target, parse_share};
use slicewise_report::{KubeReport, render_kube};
use slicewise_sched::{Profile, Topology};
use slicewise_topology::Machine;
use slicewise_workload::{Sources, parse_duration_ns};

use crate::args::{
    CgroupArg, CpuManagerArg, DriverArg, FormulaArg, K8sArgs, NodeArgs, OutputFormat,
};
use crate::failure::{Failure, printable, render};
use crate::jobs::with_jobs;
use crate::output::{print, print_json, stdout_style};
use crate::trace_file::TraceFile;

/// CPUs of a node nobody says anything about.
const CPUS_DEFAULT: u32 = 16;
/// Runs shorter than this show no progress.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// `slicewise k8s`. True if there are no findings.
pub(crate) fn k8s(args: &K8sArgs) -> Result<bool, Failure> {
    let (manifest, input) = read(args)?;
    let mut node = Node::new(0);
    node.apply(&manifest.node);
    let machine = machine(&args.node)?;
    let cpus_assumed = override_node(&mut node, &args.node, machine.as_ref())?;
    let topology = machine.map(|machine| machine.topology().clone());
    let question = question(args, &node, topology, cpus_assumed)?;
    let study = Study::new(&manifest, &node).map_err(refused)?;
    let report = with_jobs(&args.jobs, || {
        let mut report = answer(args, &study, &question, &input)?;
        report.remarks.extend(skipped(&manifest));
        if args.suggest {
            suggest(args, &study, &question, &mut report)?;
        }
        Ok(report)
    })?;
    match args.format {
        OutputFormat::Json => print_json(&report)?,
        OutputFormat::Table => print(&render_kube(&report, stdout_style()))?,
    }
    Ok(report.findings.is_empty())
}

/// Reads all inputs, and the name of the first file.
fn read(args: &K8sArgs) -> Result<(Manifest, PathBuf), Failure> {
    let files: Vec<&PathBuf> = args.files.iter().chain(&args.filenames).collect();
    if files.is_empty() && args.docker_run.is_empty() {
        return Err(Failure::with_help(
            "nothing to read",
            "name a manifest or a Compose file, `-` for standard input, or give --docker-run",
        ));
    }
    let mut sources = Vec::new();
    for file in &files {
        sources.push(open(file)?);
    }
    let mut manifest = Manifest::default();
    if !sources.is_empty() {
        manifest = load(&sources).map_err(|list| shown(&sources, &list))?;
        warn(&sources, &manifest);
    }
    for command in &args.docker_run {
        let source = [Source::new("--docker-run", command)];
        let more = docker_run(command).map_err(|list| shown(&source, &list))?;
        warn(&source, &more);
        manifest.standalone.extend(more.standalone);
    }
    Ok((manifest, files.first().map(|file| file.to_path_buf()).unwrap_or_default()))
}

fn open(file: &Path) -> Result<Source, Failure> {
    let source = if file.as_os_str() == "-" {
        if std::io::stdin().is_terminal() {
            return Err(Failure::plain("standard input is a terminal: pipe a manifest into it"));
        }
        Source::read(std::io::stdin().lock(), "<standard input>")
    } else {
        Source::open(file)
    };
    source.map_err(|error| Failure::plain(error.to_string()))
}

/// Diagnostics with the lines they are about, file by file.
fn rendered(sources: &[Source], list: &[slicewise_containers::Diagnostic]) -> String {
    let mut text = String::new();
    for (number, source) in sources.iter().enumerate() {
        let diagnostics: Vec<slicewise_workload::Diagnostic> = list
            .iter()
            .filter(|diagnostic| diagnostic.file == number)
            .map(|diagnostic| slicewise_workload::Diagnostic {
                severity: match diagnostic.severity {
                    Severity::Error => slicewise_workload::Severity::Error,
                    Severity::Warning => slicewise_workload::Severity::Warning,
                },
                message: diagnostic.message.clone(),
                span: diagnostic.span.clone(),
                help: diagnostic.help.clone(),
            })
            .collect();
        let texts = Sources::new(source.text.clone());
        text.push_str(&render(&source.name, &texts, &diagnostics));
    }
    text
}

pub(crate) fn shown(sources: &[Source], list: &[slicewise_containers::Diagnostic]) -> Failure {
    Failure::Shown(rendered(sources, list))
}

/// Warnings go to standard error: the answer is for pipes.
fn warn(sources: &[Source], manifest: &Manifest) {
    if !manifest.warnings.is_empty() {
        Failure::Shown(rendered(sources, &manifest.warnings)).report();
    }
}

/// What was read and does not run.
fn skipped(manifest: &Manifest) -> Option<String> {
    const NAMED: usize = 5;
    let names: Vec<String> = manifest
        .skipped
        .iter()
        .take(NAMED)
        .map(|it| format!("{} {} ({})", it.kind, it.name, it.why))
        .collect();
    let more = match manifest.skipped.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!("not counted: {}{more}", names.join(", "));
    (!names.is_empty()).then(|| printable(&text).replace('\n', " "))
}

/// Applies the command line. Whether the number of CPUs is a guess.
fn override_node(
    node: &mut Node,
    args: &NodeArgs,
    machine: Option<&Machine>,
) -> Result<bool, Failure> {
    let bad = |option: &str, value: &str, message: String| {
        Failure::plain(format!("{option} {value}: {message}"))
    };
    if let Some(cpus) = args.cpus {
        node.cpus = cpus;
    }
    if let Some(machine) = machine {
        let refused = |error: NodeTopologyError| {
            bad("--topology", args.topology.as_deref().unwrap_or_default(), error.to_string())
        };
        node.cpus = machine.topology().nr_cpus();
        node.topology = Some(node_topology(machine, |at| at as u32).map_err(refused)?);
    }
    for text in &args.devices {
        let devices = devices_of(text).map_err(|error| bad("--devices", text, error))?;
        node.devices.extend(devices);
    }
    let assumed = node.cpus == 0;
    if assumed {
        node.cpus = CPUS_DEFAULT;
    }
    if let Some(threads) = args.threads_per_core {
        node.threads_per_core = threads;
    }
    if args.name.is_some() {
        node.only_pods_of.clone_from(&args.name);
    }
    if let Some(text) = &args.reserved {
        let parsed = Quantity::parse(text);
        node.kube_reserved = parsed.map_err(|error| {
            bad("--reserved", text, format!("{}; {}", error.message, error.help))
        })?;
        node.system_reserved = Quantity::ZERO;
        if node.allocatable().is_zero() {
            return Err(bad("--reserved", text, format!("the node has {} CPUs", node.cpus)));
        }
    }
    if let Some(text) = &args.reserved_cpus {
        let list = CpuList::parse(text).map_err(|error| bad("--reserved-cpus", text, error))?;
        node.reserved_cpus = Some(list);
    }
    match args.cpu_manager {
        Some(CpuManagerArg::Static) => {
            node.static_cpus.get_or_insert_default();
        }
        Some(CpuManagerArg::None) => node.static_cpus = None,
        None => {}
    }
    let options = [
        ("--full-pcpus-only", args.full_pcpus_only),
        ("--strict-cpu-reservation", args.strict_cpu_reservation),
        ("--quota-with-exclusive-cpus", args.quota_with_exclusive_cpus),
    ];
    for option in &args.cpu_manager_options {
        let Some(policy) = &mut node.static_cpus else {
            let help = "add --cpu-manager static";
            let message = "--cpu-manager-options: there is no CPU manager".to_owned();
            return Err(Failure::with_help(message, help));
        };
        let Some(slot) = policy.option(option) else {
            let known = StaticPolicy::OPTIONS.join(", ");
            return Err(Failure::with_help(
                format!("--cpu-manager-options {option}: there is no such option"),
                format!("the options are {known}"),
            ));
        };
        *slot = true;
    }
    if let Some(word) = &args.topology_manager_policy {
        node.topology_manager.policy = TopologyPolicy::named(word).ok_or_else(|| {
            let known = "none, best-effort, restricted, single-numa-node";
            let message = format!("--topology-manager-policy {word}: there is no such policy");
            Failure::with_help(message, format!("the policies are {known}"))
        })?;
    }
    match args.topology_manager_scope.as_deref() {
        None => {}
        Some("container") => node.topology_manager.is_pod_scope = false,
        Some("pod") => node.topology_manager.is_pod_scope = true,
        Some(word) => {
            let message = format!("--topology-manager-scope {word}: there is no such scope");
            return Err(Failure::with_help(message, "the scopes are container, pod"));
        }
    }
    match (&mut node.static_cpus, options.iter().find(|(_, given)| *given)) {
        (None, Some((option, _))) => {
            let help = "add --cpu-manager static";
            return Err(Failure::with_help(format!("{option}: there is no CPU manager"), help));
        }
        (Some(policy), _) => {
            policy.full_pcpus_only |= args.full_pcpus_only;
            policy.strict_cpu_reservation |= args.strict_cpu_reservation;
            policy.quota_with_exclusive_cpus |= args.quota_with_exclusive_cpus;
        }
        (None, None) => {}
    }
    node.cfs_quota &= !args.no_cpu_quota;
    if let Some(text) = &args.quota_period {
        let ns = parse_duration_ns(text).map_err(|error| bad("--quota-period", text, error))?;
        node.period_us = ns / 1000;
    }
    match args.cgroup {
        Some(CgroupArg::V1) => node.cgroups = CgroupVersion::V1,
        Some(CgroupArg::V2) => node.cgroups = CgroupVersion::V2,
        None => {}
    }
    match args.cgroup_driver {
        Some(DriverArg::Systemd) => node.driver = Driver::Systemd,
        Some(DriverArg::Cgroupfs) => node.driver = Driver::Cgroupfs,
        None => {}
    }
    node.systemd_rounds &= !args.exact_quota;
    let formula = |formula: FormulaArg| match formula {
        FormulaArg::Old => WeightFormula::Linear,
        FormulaArg::New => WeightFormula::Curved,
    };
    if let Some(chosen) = args.weight_formula {
        node.runtime_formula = formula(chosen);
    }
    if let Some(chosen) = args.kubelet_weight_formula {
        node.kubelet_formula = formula(chosen);
    }
    Ok(assumed)
}

/// The node's hardware, if somebody says what it is.
fn machine(args: &NodeArgs) -> Result<Option<Machine>, Failure> {
    let Some(word) = &args.topology else { return Ok(None) };
    let parts: Vec<&str> = word.split('x').collect();
    let is_count = |part: &&str| part.parse::<u32>().is_ok_and(|count| count > 0);
    let machine = match parts[..] {
        // 2x1x1x16x2: the same as 2s:1n:1l:16c:2t.
        [sockets, nodes, caches, cores, threads] if parts.iter().all(is_count) => {
            let layout = format!("{sockets}s:{nodes}n:{caches}l:{cores}c:{threads}t");
            crate::topology::machine(&layout)?
        }
        _ => crate::topology::machine(word)?,
    };
    Ok(Some(machine))
}

/// What the kubelet knows of a machine, with the numbers CPUs are to have.
pub(crate) fn node_topology(
    machine: &Machine,
    number: impl Fn(usize) -> u32,
) -> Result<NodeTopology, NodeTopologyError> {
    let topology = machine.topology();
    let cpus = topology.places().iter().enumerate().map(|(at, place)| NodeCpu {
        cpu: number(at),
        core: place.core,
        uncore: place.llc,
        socket: place.package,
        numa: place.node,
    });
    let node = NodeTopology::new(cpus.collect())?;
    let distance = |from: &u32, to: &u32| topology.distance(*from, *to).unwrap_or(u32::MAX);
    let row = |from: &u32| node.numa_nodes().iter().map(|to| distance(from, to)).collect();
    let distances = node.numa_nodes().iter().map(row).collect();
    node.with_distances(distances)
}

/// `nvidia.com/gpu=0,0,1,1`.
fn devices_of(text: &str) -> Result<Vec<NodeDevice>, String> {
    const DEVICES_MAX: usize = 4096;
    let Some((resource, nodes)) = text.split_once('=').filter(|(name, _)| name.contains('/'))
    else {
        return Err("write a resource and the NUMA node of each: nvidia.com/gpu=0,0,1,1".to_owned());
    };
    let short = resource.rsplit('/').next().unwrap_or(resource);
    let nodes: Vec<&str> = nodes.split(',').map(str::trim).collect();
    if nodes.len() > DEVICES_MAX {
        return Err(format!("{DEVICES_MAX} devices are the most"));
    }
    let device = |(number, node): (usize, &&str)| {
        let numa = match *node {
            "-" => None,
            node => Some(node.parse().map_err(|_| format!("`{node}` is no NUMA node"))?),
        };
        let id = format!("{short}{number}");
        Ok(NodeDevice { resource: resource.to_owned(), id, numa })
    };
    nodes.iter().enumerate().map(device).collect()
}

fn question(
    args: &K8sArgs,
    node: &Node,
    topology: Option<Topology>,
    cpus_assumed: bool,
) -> Result<Question, Failure> {
    let Some(profile) = Profile::named(&args.kernel) else {
        let known: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
        return Err(Failure::with_help(
            format!("--kernel {}: there is no profile for this kernel", args.kernel),
            format!("the kernels are {}", known.join(", ")),
        ));
    };
    let bad = |option: &str, value: &str, message: String| {
        Failure::plain(format!("{option} {value}: {message}"))
    };
    let duration_ns = parse_duration_ns(&args.duration)
        .map_err(|error| bad("--duration", &args.duration, error))?;
    if duration_ns == 0 {
        return Err(bad("--duration", &args.duration, "a run takes some time".to_owned()));
    }
    let throttled_share_max = parse_share(&args.max_throttled)
        .map_err(|error| bad("--max-throttled", &args.max_throttled, error))?;
    let target = match &args.target {
        Some(text) => Some(
            Target::parse(text, parse_duration_ns).map_err(|error| bad("--target", text, error))?,
        ),
        None => None,
    };
    Ok(Question {
        settings: Settings {
            profile,
            cpus: node.cpus,
            topology,
            hz: args.hz,
            duration_ns,
            seed: args.seed,
        },
        cpus_assumed,
        throttled_share_max,
        target,
        quick: args.quick,
    })
}

fn refused(error: Error) -> Failure {
    match &error {
        Error::Run(_) => Failure::with_help(
            error.to_string(),
            "let every part of the loads take some time: a run, a service time, a sleep",
        ),
        _ => Failure::plain(error.to_string()),
    }
}

fn answer(
    args: &K8sArgs,
    study: &Study<'_>,
    question: &Question,
    input: &Path,
) -> Result<KubeReport, Failure> {
    let runs = study.ways(question).len() as u64;
    let bar = Bar::new(runs * question.settings.duration_ns, "simulated");
    let progress = |ns: u64| bar.add(ns);
    let Some(path) = &args.trace else {
        return study.answer(question, (), &progress).map(|(report, ())| report).map_err(refused);
    };
    let devices = study.mapping().workload.devices.iter().map(|device| device.name.clone());
    let trace = TraceFile::create(path, input, devices.collect())?;
    let (report, trace) = study.answer(question, trace, &progress).map_err(refused)?;
    trace.finish_writing()?;
    Ok(report)
}

/// Adds what would keep the target.
fn suggest(
    args: &K8sArgs,
    study: &Study<'_>,
    question: &Question,
    report: &mut KubeReport,
) -> Result<(), Failure> {
    let target = question.target.unwrap_or(Target::Throttled(question.throttled_share_max));
    let only = args.container.as_deref();
    let rows = study.candidates(report, &target, only);
    if rows.is_empty() {
        let name = only.map(|name| format!(" called {}", printable(name))).unwrap_or_default();
        report
            .remarks
            .push(format!("nothing to suggest: no container{name} has a say in {target}"));
        return Ok(());
    }
    let total_ns = rows.len() as u64 * TRIALS_MAX * question.settings.duration_ns;
    let bar = Bar::new(total_ns, "simulated at most");
    let found = study.suggest(question, report, &target, &rows, &|ns| bar.add(ns));
    report.suggestions = found.map_err(refused)?;
    Ok(())
}

/// A progress bar that shows itself when it takes long. Any thread may move it.
struct Bar {
    bar: ProgressBar,
    began: Instant,
    visible: AtomicBool,
}

impl Bar {
    /// For so many ns of simulated time.
    fn new(total_ns: u64, what: &str) -> Self {
        let target = ProgressDrawTarget::hidden();
        let bar = ProgressBar::with_draw_target(Some(total_ns / 1_000_000), target);
        let template = format!("{{bar:40}} {{pos}}/{{len}} ms {what}, {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        Self { bar, began: Instant::now(), visible: AtomicBool::new(false) }
    }

    fn add(&self, ns: u64) {
        self.bar.inc(ns / 1_000_000);
        if self.began.elapsed() > PROGRESS_AFTER && !self.visible.swap(true, Ordering::Relaxed) {
            // Where standard error is no terminal, nothing is drawn.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
