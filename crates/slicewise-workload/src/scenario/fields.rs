//! Typed access to TOML tables that reports what does not fit, with its place.

use std::ops::Range;

use slicewise_machine::{Dist, EmpiricalBin};
use slicewise_sched::{CPUS_MAX, CpuId, CpuSet};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Sink, did_you_mean, shorten};
use crate::units::{BadUnit, parse_duration, show_ns};

pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// A table whose keys are all known, or reported.
pub(crate) struct Fields<'t> {
    table: &'t DeTable<'t>,
    /// Where the table is.
    pub(crate) span: Range<usize>,
}

/// What a value is, with an article.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(crate) fn wrong_kind(sink: &mut Sink, key: &str, value: &Value<'_>, wanted: &str) {
    let found = kind(value.get_ref());
    sink.error(value.span(), format!("`{key}` must be {wanted}, not {found}"));
}

impl<'t> Fields<'t> {
    /// The table in `value`; `what` and `keys` say what it is and may hold.
    pub(crate) fn of(
        sink: &mut Sink,
        value: &'t Value<'t>,
        what: &str,
        keys: &[&str],
    ) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            let found = kind(value.get_ref());
            sink.error(value.span(), format!("{what} must be a table, not {found}"));
            return None;
        };
        Some(Self::new(sink, table, value.span(), what, keys))
    }

    pub(crate) fn new(
        sink: &mut Sink,
        table: &'t DeTable<'t>,
        span: Range<usize>,
        what: &str,
        keys: &[&str],
    ) -> Self {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !keys.contains(&name) {
                let message = format!("unknown key `{}` in {what}", shorten(name));
                sink.error_help(key.span(), message, did_you_mean(name, keys));
            }
        }
        Self { table, span }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'t Value<'t>> {
        self.table.get(key)
    }

    /// The keys there are, in the order of the text.
    pub(crate) fn present(&self) -> Vec<&'t str> {
        let mut keys: Vec<_> = self.table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        keys.into_iter().map(|key| key.get_ref().as_ref()).collect()
    }

    pub(crate) fn string(&self, sink: &mut Sink, key: &str) -> Option<(&'t str, Range<usize>)> {
        let value = self.get(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            wrong_kind(sink, key, value, "a string");
        }
        Some((text?, value.span()))
    }

    /// A name of something: not empty, not too long.
    pub(crate) fn name(&self, sink: &mut Sink, key: &str) -> Option<(&'t str, Range<usize>)> {
        let (name, span) = self.string(sink, key)?;
        if let Err(problem) = crate::draft::check_name(name) {
            let message = format!("the name `{}` {problem}", shorten(name));
            sink.error_help(span, message, crate::draft::NAME_HELP);
            return None;
        }
        Some((name, span))
    }

    pub(crate) fn boolean(&self, sink: &mut Sink, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        if value.get_ref().as_bool().is_none() {
            wrong_kind(sink, key, value, "true or false");
        }
        value.get_ref().as_bool()
    }

    /// Whether the key is there and true, whatever else may be wrong with it.
    pub(crate) fn boolean_is_true(&self, key: &str) -> bool {
        self.get(key).and_then(|value| value.get_ref().as_bool()) == Some(true)
    }

    /// `key = true`, the only thing that may be said of some steps.
    pub(crate) fn truth(&self, sink: &mut Sink, key: &str) {
        if let Some(false) = self.boolean(sink, key) {
            let span = self.get(key).map_or(0..0, Spanned::span);
            sink.error_help(span, format!("`{key}` can only be true"), "leave it out instead");
        }
    }

    pub(crate) fn integer(
        &self,
        sink: &mut Sink,
        key: &str,
        allowed: Range<i128>,
    ) -> Option<(i128, Range<usize>)> {
        let value = self.get(key)?;
        let range = format!("{} to {}", allowed.start, allowed.end - 1);
        let Some(integer) = value.get_ref().as_integer() else {
            wrong_kind(sink, key, value, &format!("a whole number from {range}"));
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX);
        if !allowed.contains(&number) {
            let shown = shorten(&integer.to_string());
            let message = format!("`{key}` cannot be {shown}");
            sink.error_help(value.span(), message, format!("allowed: {range}"));
            return None;
        }
        Some((number, value.span()))
    }

    pub(crate) fn float(
        &self,
        sink: &mut Sink,
        key: &str,
        allowed: std::ops::RangeInclusive<f64>,
    ) -> Option<f64> {
        let value = self.get(key)?;
        let text = match value.get_ref() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) => integer.as_str(),
            _ => {
                wrong_kind(sink, key, value, "a number");
                return None;
            }
        };
        match text.parse::<f64>() {
            Ok(number) if allowed.contains(&number) => Some(number),
            _ => {
                let help = format!("allowed: {} to {}", allowed.start(), allowed.end());
                let message = format!("`{key}` cannot be {}", shorten(text));
                sink.error_help(value.span(), message, help);
                None
            }
        }
    }

    pub(crate) fn duration(&self, sink: &mut Sink, key: &str) -> Option<(u64, Range<usize>)> {
        let value = self.get(key)?;
        Some((duration(sink, key, value)?, value.span()))
    }

    pub(crate) fn positive_duration(&self, sink: &mut Sink, key: &str) -> Option<u64> {
        let (ns, span) = self.duration(sink, key)?;
        if ns == 0 {
            sink.error_help(
                span,
                format!("`{key}` cannot be zero"),
                "write a duration like `10ms`",
            );
            return None;
        }
        Some(ns)
    }

    /// A mandatory key that is missing is reported.
    pub(crate) fn need(&self, sink: &mut Sink, key: &str, what: &str, help: &str) {
        if self.get(key).is_none() {
            sink.error_help(self.span.clone(), format!("{what} has no `{key}`"), help);
        }
    }
}

fn report(sink: &mut Sink, key: &str, span: Range<usize>, bad: BadUnit) {
    sink.error_help(span, format!("`{key}`: {}", bad.message), bad.help);
}

pub(crate) fn duration(sink: &mut Sink, key: &str, value: &Value<'_>) -> Option<u64> {
    match value.get_ref() {
        DeValue::String(text) => match parse_duration(text) {
            Ok(ns) => Some(ns),
            Err(bad) => {
                report(sink, key, value.span(), bad);
                None
            }
        },
        DeValue::Integer(number) if number.as_str() == "0" => Some(0),
        DeValue::Integer(_) | DeValue::Float(_) => {
            let number = match value.get_ref() {
                DeValue::Integer(number) => shorten(number.as_str()),
                DeValue::Float(number) => shorten(number.as_str()),
                _ => String::new(),
            };
            let message = format!("`{key}` has no unit: {number}");
            let help = format!("durations are strings with a unit: `{key} = \"{number}ms\"`");
            sink.error_help(value.span(), message, help);
            None
        }
        _ => {
            wrong_kind(sink, key, value, "a duration such as \"10ms\"");
            None
        }
    }
}

/// A list string (`"0,2-3"`) or an array of CPU numbers.
pub(crate) fn cpus(sink: &mut Sink, key: &str, value: &Value<'_>) -> Option<CpuSet> {
    match value.get_ref() {
        DeValue::String(list) => match parse_cpu_list(list) {
            Ok(set) => Some(set),
            Err(problem) => {
                let message = format!("`{key}`: {problem}");
                sink.error_help(value.span(), message, "write a CPU list such as \"0,2-3\"");
                None
            }
        },
        DeValue::Array(array) => {
            let mut list = Vec::new();
            for cpu in array.iter() {
                let number =
                    cpu.get_ref().as_integer().and_then(|n| n.as_str().parse::<u32>().ok());
                match number {
                    Some(number) if number < CPUS_MAX => list.push(CpuId(number)),
                    _ => {
                        let message = format!("`{key}` must list CPU numbers");
                        let help = format!("allowed: 0 to {}", CPUS_MAX - 1);
                        sink.error_help(cpu.span(), message, help);
                        return None;
                    }
                }
            }
            if list.is_empty() {
                let message = format!("`{key}` is empty: the task could run nowhere");
                sink.error_help(value.span(), message, "name at least one CPU, or leave it out");
                return None;
            }
            Some(CpuSet::of(list))
        }
        _ => {
            wrong_kind(sink, key, value, "a CPU list such as \"0,2-3\" or [0, 2, 3]");
            None
        }
    }
}

/// The kernel's list format, at a length that cannot name each CPU thousands of times.
pub(crate) fn parse_cpu_list(list: &str) -> Result<CpuSet, String> {
    const LIST_BYTES_MAX: usize = 4096;
    if list.len() > LIST_BYTES_MAX {
        return Err(format!("the list is longer than {LIST_BYTES_MAX} bytes"));
    }
    CpuSet::parse_list(list).map_err(|problem| shorten(&problem))
}

const DIST_KEYS: &[(&str, &[&str])] = &[
    ("constant", &["dist", "value"]),
    ("uniform", &["dist", "min", "max"]),
    ("exponential", &["dist", "mean"]),
    ("lognormal", &["dist", "median", "sigma"]),
    ("pareto", &["dist", "min", "shape", "max"]),
    ("empirical", &["dist", "values"]),
];

/// All keys a distribution may have, for the schema's test.
#[cfg(test)]
pub(crate) fn dist_keys() -> Vec<&'static str> {
    DIST_KEYS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect()
}

/// A duration, or a table that says how to draw one.
pub(crate) fn dist(sink: &mut Sink, key: &str, value: &Value<'_>) -> Option<Dist> {
    let Some(table) = value.get_ref().as_table() else {
        return Some(Dist::Constant(duration(sink, key, value)?));
    };
    let names: Vec<&str> = DIST_KEYS.iter().map(|(name, _)| *name).collect();
    let Some(named) = table.get("dist") else {
        let message = format!("the distribution of `{key}` has no `dist`");
        sink.error_help(value.span(), message, format!("allowed: {}", names.join(", ")));
        return None;
    };
    let name = named.get_ref().as_str().unwrap_or_default();
    let Some((_, keys)) = DIST_KEYS.iter().find(|(known, _)| *known == name) else {
        let message = format!("unknown distribution `{}`", shorten(name));
        sink.error_help(named.span(), message, did_you_mean(name, &names));
        return None;
    };
    let fields = Fields::new(sink, table, value.span(), &format!("the {name} distribution"), keys);
    for key in *keys {
        fields.need(
            sink,
            key,
            &format!("the {name} distribution"),
            &format!("it needs {}", keys.join(", ")),
        );
    }
    named_dist(sink, &fields, name)
}

fn named_dist(sink: &mut Sink, fields: &Fields<'_>, name: &str) -> Option<Dist> {
    Some(match name {
        "constant" => Dist::Constant(fields.duration(sink, "value")?.0),
        "uniform" => {
            let (min, max) = (fields.duration(sink, "min"), fields.duration(sink, "max"));
            let (min, (max, span)) = (min?.0, max?);
            if min > max {
                let message = format!("`max` {} is below `min` {}", show_ns(max), show_ns(min));
                sink.error_help(span, message, "swap them");
                return None;
            }
            Dist::Uniform(min, max)
        }
        "exponential" => {
            Dist::Exponential { mean_ns: fields.positive_duration(sink, "mean")? as f64 }
        }
        "lognormal" => {
            let median = fields.positive_duration(sink, "median");
            let sigma = fields.float(sink, "sigma", 0.0..=20.0);
            Dist::LogNormal { median_ns: median? as f64, sigma: sigma? }
        }
        "pareto" => {
            let min = fields.positive_duration(sink, "min");
            let shape = fields.float(sink, "shape", 0.01..=1000.0);
            let max = fields.duration(sink, "max");
            let (min, (max_ns, span)) = (min?, max?);
            if min > max_ns {
                let message = format!("`max` {} is below `min` {}", show_ns(max_ns), show_ns(min));
                sink.error_help(span, message, "swap them");
                return None;
            }
            Dist::Pareto { scale_ns: min as f64, shape: shape?, max_ns }
        }
        _ => return empirical(sink, fields),
    })
}

const EMPIRICAL_HELP: &str = "list values with weights: `values = [[\"1ms\", 90], [\"10ms\", 10]]`";

fn empirical(sink: &mut Sink, fields: &Fields<'_>) -> Option<Dist> {
    const WEIGHT_MAX: u64 = 1 << 40;
    let value = fields.get("values")?;
    let Some(list) = value.get_ref().as_array() else {
        wrong_kind(sink, "values", value, "a list");
        return None;
    };
    let mut bins = Vec::new();
    let mut cumulative_weight = 0_u64;
    for entry in list.iter() {
        let pair: Vec<&Value<'_>> =
            entry.get_ref().as_array().map(|pair| pair.iter().collect()).unwrap_or_default();
        let [value, weight] = pair[..] else {
            sink.error_help(entry.span(), "a value needs a weight", EMPIRICAL_HELP);
            return None;
        };
        let value_ns = duration(sink, "values", value)?;
        let number = weight.get_ref().as_integer().and_then(|n| n.as_str().parse::<u64>().ok());
        let Some(weight) = number.filter(|weight| (1..=WEIGHT_MAX).contains(weight)) else {
            let help = format!("a weight is a whole number from 1 to {WEIGHT_MAX}");
            sink.error_help(weight.span(), "this is no weight", help);
            return None;
        };
        // At most 4 million entries of at most 2^40: no overflow.
        cumulative_weight += weight;
        bins.push(EmpiricalBin { value_ns, cumulative_weight });
    }
    if bins.is_empty() {
        sink.error_help(value.span(), "`values` is empty", EMPIRICAL_HELP);
        return None;
    }
    Some(Dist::Empirical(bins.into()))
}
