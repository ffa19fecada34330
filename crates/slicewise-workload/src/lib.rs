//! Workload formats: Slicewise scenarios (TOML) and rt-app JSON.
//!
//! [`load`] turns a text into a [`Loaded`]: a checked [`Workload`] and the [`Settings`] the file
//! asks for. It does no IO, prints nothing and never panics; what is wrong comes back as
//! [`Diagnostic`]s with byte ranges, several at once. [`load_file`] reads a file first.
//!
//! ```
//! use slicewise_workload::{Format, load};
//!
//! let loaded = load("[[task]]\nname = \"burn\"\nhog = true\n", Format::Auto).unwrap();
//! assert_eq!(loaded.workload.tasks[0].name, "burn");
//!
//! let errors = load("[[task]]\nname = \"burn\"\nnicee = 5\nhog = true\n", Format::Auto).unwrap_err();
//! assert_eq!(errors[0].message, "unknown key `nicee` in a task");
//! assert_eq!(errors[0].help.as_deref(), Some("did you mean `nice`?"));
//! ```

mod cgroups;
mod checks;
mod cpusets;
mod diagnostic;
mod draft;
mod file;
mod jobs;
mod machine_check;
mod merge;
mod rt;
mod rtapp;
mod scenario;
mod set;
mod settings;
mod sources;
mod units;

use slicewise_machine::Workload;

pub use cgroups::{CGROUP_DEPTH_MAX, CGROUPS_MAX, CgroupError, Cgroups, rules_of as cgroup_rules};
pub use cpusets::{BootText, CPUSETS_MAX, CpuPartitions, settle_cpusets};
pub use diagnostic::{Diagnostic, LineCol, Severity, line_col};
pub use draft::{Group, OPS_MAX, TASKS_MAX};
pub use file::{FILE_BYTES_MAX, LoadFileError, ReadError, load_file, load_in, read_text};
pub use jobs::job_periods;
pub use machine_check::check_against_machine;
pub use rt::{LoadedRt, load_rt, load_rt_file, load_rt_in};
pub use rtapp::{IO_NS_PER_KIB, MEM_NS_PER_KIB, NULL_WRITE_NS};
pub use scenario::schema_json;
pub use set::{apply_set, set_keys};
pub use settings::{CostOverrides, Settings, SpeedOverrides};
pub use sources::{Located, Sources};

/// What a text is written in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Format {
    /// Told from the text, or by [`load_file`] from the file's extension.
    #[default]
    Auto,
    /// A Slicewise scenario, TOML.
    Scenario,
    /// rt-app JSON.
    RtApp,
}

impl Format {
    /// The format of a file with this name, [`Format::Auto`] if the name does not tell.
    pub fn of_path(path: &std::path::Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Self::Scenario,
            Some("json" | "jsonc") => Self::RtApp,
            _ => Self::Auto,
        }
    }

    fn of_text(text: &str) -> Self {
        match text.trim_start_matches('\u{feff}').trim_start().as_bytes().first() {
            Some(b'{' | b'/') => Self::RtApp,
            _ => Self::Scenario,
        }
    }
}

/// A workload that was read and checked.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the machine runs.
    pub workload: Workload,
    /// What the file says about the machine.
    pub settings: Settings,
    /// What may not be as its author meant.
    pub warnings: Vec<Diagnostic>,
    /// The format it was in, never [`Format::Auto`].
    pub format: Format,
    /// The scenario's title.
    pub title: Option<String>,
    /// The question the scenario answers.
    pub question: Option<String>,
    /// The tasks by their descriptions in the file.
    pub groups: Vec<Group>,
    /// Its cgroups, by their files. [`Workload::groups`] is what a kernel makes of them:
    /// [`settle_cgroups`] for another kernel.
    pub cgroups: Cgroups,
    /// How its CPUs are divided, by what [`settle_cpusets`] made of the cpuset files.
    pub cpu_partitions: CpuPartitions,
    /// The texts it was read from; all byte ranges point into them.
    pub sources: Sources,
    /// CPU sets that programs ask for on the way, and where.
    affinities: Vec<Affinity>,
    /// CPU sets of interrupts, and where.
    interrupted: Vec<Affinity>,
    /// Slices that programs ask for on the way, and where.
    slices: Vec<std::ops::Range<usize>>,
    /// Where the file says which features to flip.
    features_span: std::ops::Range<usize>,
}

/// A CPU set a program asks for, and where.
type Affinity = (slicewise_sched::CpuSet, std::ops::Range<usize>);

/// More punctuation than this and the syntax tree alone would take gigabytes.
const TOKENS_MAX: usize = 4_000_000;

/// A text that is no workload, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// The text and the files it names.
    pub sources: Sources,
    /// Everything wrong with them, in their order, warnings included; at least one error.
    pub diagnostics: Vec<Diagnostic>,
}

/// The text, and a way to the files it names.
struct Inputs<'r> {
    sources: Sources,
    read: &'r mut dyn FnMut(&str) -> Result<String, String>,
}

impl Inputs<'_> {
    /// The text of a file.
    fn read(&mut self, name: &str) -> Result<String, String> {
        let text = (self.read)(name)?;
        if (self.sources.bytes() + text.len()) as u64 > FILE_BYTES_MAX {
            let shown = diagnostic::shorten(name);
            return Err(format!("with `{shown}` there are more than {FILE_BYTES_MAX} bytes"));
        }
        Ok(text)
    }
}

impl Loaded {
    /// A workload that was made otherwise than from a text, so that it can be set and prepared like one.
    /// `groups` name its tasks by their descriptions; its cgroups are by the files of `cgroups`, in the order of
    /// [`Workload::groups`].
    pub fn of_parts(
        workload: Workload,
        settings: Settings,
        groups: Vec<Group>,
        cgroups: Cgroups,
    ) -> Self {
        Self {
            workload,
            settings,
            warnings: Vec::new(),
            format: Format::Scenario,
            title: None,
            question: None,
            groups,
            cgroups,
            cpu_partitions: CpuPartitions::default(),
            sources: Sources::new(""),
            affinities: Vec::new(),
            interrupted: Vec::new(),
            slices: Vec::new(),
            features_span: 0..0,
        }
    }
}

/// Reads a workload that names no other files.
///
/// # Errors
/// Everything wrong with the text, in its order, warnings included.
pub fn load(text: &str, format: Format) -> Result<Loaded, Vec<Diagnostic>> {
    load_with(text, format, &mut no_files).map_err(|rejected| rejected.diagnostics)
}

/// For a text without files around it.
fn no_files(name: &str) -> Result<String, String> {
    Err(format!("`{}` cannot be read: there are no files here", diagnostic::shorten(name)))
}

/// Reads a workload; `read` gives the texts of the files it names, or says why it cannot.
///
/// # Errors
/// Everything wrong with the texts.
pub fn load_with(
    text: &str,
    format: Format,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<Loaded, Rejected> {
    let format = if format == Format::Auto { Format::of_text(text) } else { format };
    let mut sink = diagnostic::Sink::default();
    let mut inputs = Inputs { sources: Sources::new(text), read };
    let parts = match has_sane_size(text, &mut sink) {
        true => read_parts(text, format, &mut inputs, &mut sink),
        false => None,
    };
    let sources = inputs.sources;
    match parts {
        Some(parts) if !sink.has_errors() => Ok(finish(parts, format, sources, sink)),
        _ => {
            if !sink.has_errors() {
                sink.error(0..0, "the text holds no workload");
            }
            Err(Rejected { diagnostics: sink.finish(&sources), sources })
        }
    }
}

/// Has the kernel of this profile make of the cgroups' files what it makes of them, and says what
/// it refuses (errors) or does without (warnings).
pub fn settle_cgroups(loaded: &mut Loaded, profile: &slicewise_sched::Profile) -> Vec<Diagnostic> {
    let mut sink = diagnostic::Sink::default();
    let rt = loaded.settings.rt.over(profile.rt);
    let profile = slicewise_sched::Profile { rt, ..*profile };
    let groups = loaded.cgroups.report(&cgroups::rules_of(&profile), &mut sink);
    loaded.workload.groups = groups;
    machine_check::check_rt_groups(loaded, &profile, &mut sink);
    if loaded.settings.autogroup == Some(false) {
        let in_session = |group: Option<u32>| group.is_some_and(|at| loaded.cgroups.is_session(at));
        for task in loaded.workload.tasks.iter_mut().filter(|task| in_session(task.group)) {
            task.group = None;
        }
    }
    sink.finish(&loaded.sources)
}

fn read_parts(
    text: &str,
    format: Format,
    inputs: &mut Inputs<'_>,
    sink: &mut diagnostic::Sink,
) -> Option<Parts> {
    match format {
        Format::RtApp => rtapp::read(text, sink),
        Format::Scenario | Format::Auto => scenario::read(text, inputs, sink),
    }
}

/// Whether a text can be parsed with bounded memory; reports it if not.
fn has_sane_size(text: &str, sink: &mut diagnostic::Sink) -> bool {
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("the text has {} bytes", text.len());
        sink.error_help(0..0, message, format!("{FILE_BYTES_MAX} bytes are the most there can be"));
        return false;
    }
    let is_punctuation =
        |b: &u8| matches!(b, b'[' | b']' | b'{' | b'}' | b',' | b'=' | b':' | b'\n' | b'.' | b'#');
    if text.as_bytes().iter().filter(|byte| is_punctuation(byte)).count() > TOKENS_MAX {
        let help = format!("a workload has {TOKENS_MAX} keys, values and lines at most");
        sink.error_help(0..0, "the text has too many parts", help);
        return false;
    }
    true
}

/// What a format's reader hands back.
struct Parts {
    workload: Workload,
    settings: Settings,
    title: Option<String>,
    question: Option<String>,
    groups: Vec<Group>,
    cgroups: Cgroups,
    affinities: Vec<Affinity>,
    interrupted: Vec<Affinity>,
    slices: Vec<std::ops::Range<usize>>,
    features_span: std::ops::Range<usize>,
}

fn finish(parts: Parts, format: Format, sources: Sources, sink: diagnostic::Sink) -> Loaded {
    Loaded {
        workload: parts.workload,
        settings: parts.settings,
        warnings: sink.finish(&sources),
        format,
        title: parts.title,
        question: parts.question,
        groups: parts.groups,
        cgroups: parts.cgroups,
        cpu_partitions: CpuPartitions::default(),
        sources,
        affinities: parts.affinities,
        interrupted: parts.interrupted,
        slices: parts.slices,
        features_span: parts.features_span,
    }
}

/// The CPU sets of interrupts.
fn interrupted(shared: &draft::Shared) -> Vec<Affinity> {
    shared.interrupts.iter().map(|(source, span)| (source.cpus.clone(), span.clone())).collect()
}

/// The CPU sets and slices that programs ask for on the way.
fn requests(drafts: &[draft::Draft]) -> (Vec<Affinity>, Vec<std::ops::Range<usize>>) {
    let (mut affinities, mut slices) = (Vec::new(), Vec::new());
    for code in drafts.iter().map(|draft| &draft.code) {
        for (op, span) in code.ops.iter().zip(&code.spans) {
            match op {
                slicewise_machine::Op::SetAffinity(set) => {
                    affinities.push((set.clone(), span.start..span.end));
                }
                slicewise_machine::Op::SetAttr(attr) if attr.slice_ns.is_some() => {
                    slices.push(span.start..span.end);
                }
                _ => {}
            }
        }
    }
    (affinities, slices)
}

/// Reads a duration as scenario files write it (`10ms`, `1.5us`, `2s`), in ns.
///
/// ```
/// assert_eq!(slicewise_workload::parse_duration_ns("12.345ms"), Ok(12_345_000));
/// assert!(slicewise_workload::parse_duration_ns("12").unwrap_err().contains("unit"));
/// ```
///
/// # Errors
/// Says what is wrong and what to write.
pub fn parse_duration_ns(text: &str) -> Result<u64, String> {
    units::parse_duration(text).map_err(|bad| format!("{}; {}", bad.message, bad.help))
}

/// Reads a range of priorities such as `51-60`: the lowest and the highest.
///
/// # Errors
/// Says what to write.
pub fn parse_priorities(text: &str) -> Result<(u8, u8), String> {
    rt::parse_band(text).ok_or_else(|| {
        let shown = diagnostic::shorten(text);
        format!("`{shown}` is no range of priorities; write `51-60`, within 1 to 99")
    })
}
