//! `[[interrupt]]`: what devices take from CPUs.

use slicewise_machine::{Delivery, Dist, InterruptSource};

use super::Reader;
use super::fields::{Fields, Value, cpus, dist};
use crate::diagnostic::{did_you_mean, shorten};

pub(super) const INTERRUPT_KEYS: &[&str] =
    &["name", "cpus", "delivery", "interarrival", "rate", "duration", "start", "wakes"];

/// The words for where interrupts go that may go to several CPUs.
const DELIVERIES: [(&str, Delivery); 2] =
    [("first", Delivery::First), ("round-robin", Delivery::RoundRobin)];

impl Reader<'_, '_> {
    /// A source of interrupts. All tasks are known already.
    pub(super) fn interrupt<'t>(&mut self, entry: &'t Value<'t>) -> Option<()> {
        let fields = Fields::of(self.sink, entry, "an interrupt", INTERRUPT_KEYS)?;
        let name = fields.get("name").and_then(|name| name.get_ref().as_str());
        let known =
            self.shared.interrupts.iter().any(|(known, _)| Some(known.name.as_str()) == name);
        let interarrival = self.interarrival(&fields, "the interrupt", "interrupts");
        let help = "say how long one takes: `duration = \"20us\"`";
        fields.need(self.sink, "duration", "the interrupt", help);
        let duration = fields.get("duration").and_then(|value| dist(self.sink, "duration", value));
        let affinity =
            fields.get("cpus").map(|value| (cpus(self.sink, "cpus", value), value.span()));
        let delivery = self.delivery(&fields);
        let start_ns = fields.duration(self.sink, "start").map_or(0, |(ns, _)| ns);
        let wakes = self.woken(&fields);
        let name = self.own_name(&fields, "an interrupt", known)?.to_owned();
        let span = affinity.as_ref().map_or(fields.span.clone(), |(_, span)| span.clone());
        let source = InterruptSource {
            name,
            cpus: affinity.and_then(|(set, _)| set).unwrap_or_default(),
            delivery,
            interarrival: interarrival.unwrap_or(Dist::Constant(1_000_000)),
            duration: duration.unwrap_or(Dist::Constant(0)),
            start_ns,
            wakes,
        };
        self.shared.interrupts.push((source, span));
        Some(())
    }

    fn delivery(&mut self, fields: &Fields<'_>) -> Delivery {
        let Some((word, span)) = fields.string(self.sink, "delivery") else {
            return Delivery::default();
        };
        let found = DELIVERIES.iter().find(|(known, _)| *known == word);
        if found.is_none() {
            let message = format!("unknown `delivery` `{}`", shorten(word));
            let help = "allowed: \"first\" (of `cpus`), \"round-robin\" (one after the other)";
            self.sink.error_help(span, message, help);
        }
        found.map_or(Delivery::default(), |(_, delivery)| *delivery)
    }

    /// The tasks it resumes.
    fn woken(&mut self, fields: &Fields<'_>) -> Vec<u32> {
        let Some((name, span)) = fields.string(self.sink, "wakes") else { return Vec::new() };
        match self.roster.find(name) {
            Some((tasks, _)) => tasks.collect(),
            None => {
                let message = format!("`wakes`: there is no task `{}`", shorten(name));
                self.sink.error_help(span, message, did_you_mean(name, &self.roster.names()));
                Vec::new()
            }
        }
    }
}
