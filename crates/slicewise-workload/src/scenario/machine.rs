//! `[machine]`.

use std::ops::Range;

use slicewise_sched::{CPUS_MAX, Profile};
use toml::de::DeValue;

use super::Reader;
use super::fields::{Fields, wrong_kind};
use crate::cpusets::{BootText, check_boot};
use crate::diagnostic::{shorten, suggest};
use crate::settings::{
    CostOverrides, HZ_MAX, PREEMPTIONS, RtOverrides, SMT_MIN, Settings, SpeedOverrides,
    kernel_names, parse_preemption, share,
};

pub(super) const MACHINE_KEYS: &[&str] = &[
    "cpus",
    "topology",
    "hz",
    "kernel",
    "duration",
    "seed",
    "preemption",
    "features",
    "base_slice",
    "tick_phase",
    "tick_skew",
    "autogroup",
    "sched_rt_runtime_us",
    "sched_rt_period_us",
    "sched_rr_timeslice_ms",
    "rt_group_sched",
    "fair_server_runtime",
    "fair_server_period",
    "isolcpus",
    "nohz_full",
    "numa_balancing",
    "sched_energy_aware",
    "costs",
    "speed",
];
pub(super) const SPEED_KEYS: &[&str] =
    &["typical", "smt", "capacity", "warm_up_core", "warm_up_llc", "memory_bound"];
pub(super) const COST_KEYS: &[&str] = &["context_switch", "wakeup", "tick", "idle_exit"];

impl Reader<'_, '_> {
    pub(super) fn machine<'t>(&mut self, scenario: &Fields<'t>) -> (Settings, Range<usize>) {
        let mut settings = Settings::default();
        let mut features_span = 0..0;
        let Some(value) = scenario.get("machine") else { return (settings, features_span) };
        let Some(fields) = Fields::of(self.sink, value, "[machine]", MACHINE_KEYS) else {
            return (settings, features_span);
        };
        let integer = |reader: &mut Self, key, allowed| fields.integer(reader.sink, key, allowed);
        let cpus = integer(self, "cpus", 1..i128::from(CPUS_MAX) + 1);
        settings.topology = self.topology(&fields, cpus.as_ref());
        let of_topology = settings.topology.as_ref().map(|machine| machine.topology().nr_cpus());
        settings.cpus = of_topology.or(cpus.map(|(n, _)| n as u32));
        settings.hz = integer(self, "hz", 1..i128::from(HZ_MAX) + 1).map(|(n, _)| n as u32);
        settings.seed = integer(self, "seed", 0..i128::from(u64::MAX) + 1).map(|(n, _)| n as u64);
        settings.duration_ns = fields.positive_duration(self.sink, "duration");
        settings.base_slice_ns = fields.positive_duration(self.sink, "base_slice");
        settings.tick_phase_ns = fields.duration(self.sink, "tick_phase").map(|(ns, _)| ns);
        settings.tick_skew_ns = fields.duration(self.sink, "tick_skew").map(|(ns, _)| ns);
        settings.kernel = self.kernel(&fields);
        settings.autogroup = fields.boolean(self.sink, "autogroup");
        if let Some((word, span)) = fields.string(self.sink, "preemption") {
            settings.preemption = parse_preemption(word);
            if settings.preemption.is_none() {
                let message = format!("unknown preemption model `{}`", shorten(word));
                let help = format!("allowed: {}", PREEMPTIONS.join(", "));
                self.sink.error_help(span, message, help);
            }
        }
        if let Some(value) = fields.get("features") {
            features_span = value.span();
            settings.features = self.features(value);
        }
        settings.rt = self.rt_settings(&fields);
        settings.isolcpus = self.boot_text(&fields, "isolcpus");
        settings.nohz_full = self.boot_text(&fields, "nohz_full");
        settings.numa_balancing = fields.boolean(self.sink, "numa_balancing");
        settings.energy_aware = fields.boolean(self.sink, "sched_energy_aware");
        settings.costs = self.costs(&fields).unwrap_or_default();
        settings.speed = self.speed(&fields).unwrap_or_default();
        (settings, features_span)
    }

    /// CPUs as on the kernel's command line; how many there are is not known yet.
    fn boot_text(&mut self, fields: &Fields<'_>, key: &str) -> Option<BootText> {
        let (text, span) = fields.string(self.sink, key)?;
        if let Err(error) = check_boot(key, text, CPUS_MAX + 1) {
            let help = "as on the kernel's command line: \"2-3\", and for isolcpus \"domain,2-3\"";
            self.sink.error_help(span, error.to_string(), help);
            return None;
        }
        Some(BootText { text: text.to_owned(), span })
    }

    fn rt_settings(&mut self, fields: &Fields<'_>) -> RtOverrides {
        let us_max = i128::from(i32::MAX) + 1;
        let runtime = fields.integer(self.sink, "sched_rt_runtime_us", -1..us_max);
        let period = fields.integer(self.sink, "sched_rt_period_us", 1..us_max);
        let slice = fields.integer(self.sink, "sched_rr_timeslice_ms", 1..1_000_001);
        let rt = RtOverrides {
            runtime_us: runtime.as_ref().map(|(us, _)| u64::try_from(*us).ok()),
            period_us: period.map(|(us, _)| us as u64),
            rr_timeslice_ms: slice.map(|(ms, _)| ms as u32),
            fair_server_runtime_ns: fields
                .duration(self.sink, "fair_server_runtime")
                .map(|(ns, _)| ns),
            group_sched: fields.boolean(self.sink, "rt_group_sched"),
            fair_server_period_ns: fields.positive_duration(self.sink, "fair_server_period"),
        };
        let period_us = rt.period_us.unwrap_or(1_000_000);
        if let (Some((us, span)), Some(Some(runtime_us))) = (runtime, rt.runtime_us)
            && runtime_us > period_us
        {
            let message = format!("`sched_rt_runtime_us` of {us} is more than the period");
            let help = format!("the kernel refuses that (EINVAL): at most {period_us}, or -1");
            self.sink.error_help(span, message, help);
        }
        rt
    }

    fn kernel<'t>(&mut self, fields: &Fields<'t>) -> Option<String> {
        let value = fields.get("kernel")?;
        let Some(name) = value.get_ref().as_str() else {
            // 6.10 would be read as 6.1.
            wrong_kind(self.sink, "kernel", value, "a string such as \"6.12\"");
            return None;
        };
        if Profile::named(name).is_none() {
            let message = format!("there is no profile for kernel `{}`", shorten(name));
            let help = format!("allowed: {}", kernel_names().join(", "));
            self.sink.error_help(value.span(), message, help);
            return None;
        }
        Some(name.to_owned())
    }

    fn features<'t>(&mut self, value: &'t super::Value<'t>) -> Vec<String> {
        let DeValue::Array(array) = value.get_ref() else {
            let wanted = "a list such as [\"NO_RUN_TO_PARITY\"]";
            wrong_kind(self.sink, "features", value, wanted);
            return Vec::new();
        };
        let mut words = Vec::new();
        for word in array.iter() {
            let Some(text) = word.get_ref().as_str() else {
                wrong_kind(self.sink, "features", word, "a list of strings");
                continue;
            };
            match check_feature(text) {
                Ok(()) => words.push(text.trim().to_owned()),
                Err((message, help)) => self.sink.error_help(word.span(), message, help),
            }
        }
        words
    }

    /// `speed = true`, or a table.
    fn speed<'t>(&mut self, machine: &Fields<'t>) -> Option<SpeedOverrides> {
        let value = machine.get("speed")?;
        if let Some(typical) = value.get_ref().as_bool() {
            return Some(SpeedOverrides { typical, ..SpeedOverrides::default() });
        }
        if value.get_ref().as_table().is_none() {
            wrong_kind(self.sink, "speed", value, "true, or a table such as { smt = 0.6 }");
            return None;
        }
        let fields = Fields::of(self.sink, value, "[machine.speed]", SPEED_KEYS)?;
        let mut time = |key| fields.duration(self.sink, key).map(|(ns, _)| ns);
        let (warm_up_core_ns, warm_up_llc_ns) = (time("warm_up_core"), time("warm_up_llc"));
        Some(SpeedOverrides {
            typical: fields.boolean(self.sink, "typical").unwrap_or(false),
            smt: fields.float(self.sink, "smt", SMT_MIN..=1.0).map(share),
            capacity: fields.boolean(self.sink, "capacity"),
            warm_up_core_ns,
            warm_up_llc_ns,
            memory_bound: fields.float(self.sink, "memory_bound", 0.0..=1.0).map(share),
        })
    }

    fn costs<'t>(&mut self, machine: &Fields<'t>) -> Option<CostOverrides> {
        let value = machine.get("costs")?;
        let fields = Fields::of(self.sink, value, "[machine.costs]", COST_KEYS)?;
        let mut cost = |key| fields.duration(self.sink, key).map(|(ns, _)| ns);
        Some(CostOverrides {
            context_switch_ns: cost("context_switch"),
            wakeup_ns: cost("wakeup"),
            tick_ns: cost("tick"),
            idle_exit_ns: cost("idle_exit"),
        })
    }
}

/// Whether any kernel has this switch.
pub(crate) fn check_feature(word: &str) -> Result<(), (String, String)> {
    let word = word.trim();
    let name = word.strip_prefix("NO_").unwrap_or(word);
    let known: Vec<&str> = slicewise_sched::Feature::ALL.iter().map(|f| f.name()).collect();
    if known.contains(&name) {
        return Ok(());
    }
    let no = &word[..word.len() - name.len()];
    let help = match suggest(name, &known) {
        Some(close) => format!("did you mean `{no}{close}`?"),
        None => format!("allowed, with NO_ before it to switch it off: {}", known.join(", ")),
    };
    Err((format!("no kernel has a feature `{}`", shorten(word)), help))
}
